//! A person at a rehearsal: takes real time, and is told which commands are not for it.

use std::sync::Arc;

use futures::future::BoxFuture;

use crate::clock::jump::JumpClock;
use crate::engine::ports::Operator;
use crate::event::{Answer, Mode, Question};
use crate::report::screens::{COMMANDS_PAGE, is_go};
use crate::report::words::{self, NOT_HERE};

/// A person at a rehearsal: while they are asked, virtual time runs with real time.
pub(super) struct AtRealTime {
    pub clock: JumpClock,
    pub person: Arc<dyn Operator>,
}

impl Operator for AtRealTime {
    fn ask<'a>(&'a self, question: &'a Question) -> BoxFuture<'a, Answer> {
        Box::pin(async move {
            let _held = self.clock.hold();
            self.person.ask(&marked(question)).await
        })
    }
}

/// Returns a question that nobody can take for one of an incident, nor its commands for those of the simulation.
fn marked(question: &Question) -> Question {
    let mut question = question.clone();
    // The screen before go begins with it.
    if !is_go(&question) {
        question.title = format!("{} · {}", question.title, words::mode(Mode::Rehearsal));
    }
    let page = question.pages.get_mut(&COMMANDS_PAGE);
    for commands in page.into_iter().chain([&mut question.commands]) {
        if !commands.is_empty() {
            commands.insert(0, NOT_HERE.to_owned());
        }
    }
    question
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::event::{AnswerForm, QuestionKey};
    use crate::report::{screens, text};

    /// A question about a step, and one about none, of each kind there is.
    fn keys() -> Vec<QuestionKey> {
        let step = || "database".into();
        vec![
            QuestionKey::Go,
            QuestionKey::Blocked,
            QuestionKey::Rollback,
            QuestionKey::Choice { step: step(), among: String::new() },
            QuestionKey::Loss { step: step(), candidate: "replica".to_owned(), loss: None },
            QuestionKey::Approve { step: step(), digest: String::new() },
            QuestionKey::Override { step: step() },
            QuestionKey::Waive { step: step() },
            QuestionKey::Failure { step: step(), failures: 1 },
            QuestionKey::RevertFailure { step: step(), failures: 1 },
            QuestionKey::Past { step: step() },
            QuestionKey::Manual { step: step() },
            QuestionKey::Alone,
            QuestionKey::Credentials { step: step() },
        ]
    }

    #[test]
    fn every_question_of_a_rehearsal_says_that_it_is_one() {
        for key in keys() {
            let question = Question {
                key,
                title: "Do it?".to_owned(),
                lines: vec!["REHEARSAL · estate phoenix".to_owned()],
                commands: Vec::new(),
                no_means: "nothing is changed".to_owned(),
                form: AnswerForm::YesNo,
                pages: BTreeMap::new(),
            };
            let shown = screens::frame(&marked(&question), 80, None);
            let first = shown.iter().find(|line| !line.is_empty()).expect("a line");
            assert!(first.contains("REHEARSAL"), "{:?}: {shown:#?}", question.key);
        }
    }

    #[test]
    fn commands_at_a_rehearsals_question_are_said_to_act_on_the_live_estate() {
        let command = "aws rds promote-read-replica --db-instance-identifier replica".to_owned();
        let question = Question {
            key: QuestionKey::Go,
            title: "Start?".to_owned(),
            lines: Vec::new(),
            commands: Vec::new(),
            no_means: "nothing is changed".to_owned(),
            form: AnswerForm::YesNo,
            pages: BTreeMap::from([
                (COMMANDS_PAGE, vec![command.clone()]),
                ('d', vec!["details".to_owned()]),
            ]),
        };
        let told = marked(&question);
        assert_eq!(told.pages[&COMMANDS_PAGE], [NOT_HERE, &command]);
        assert_eq!(told.pages[&'d'], ["details"]);
        // Those that stand with a question, and those too long for it.
        let failed = QuestionKey::Failure { step: "database".into(), failures: 1 };
        for commands in [vec![command.clone()], vec![command.clone(); 9], Vec::new()] {
            let pages = BTreeMap::new();
            let (key, wanted) = (failed.clone(), !commands.is_empty());
            let told = marked(&Question { key, commands, pages, ..question.clone() });
            let page = screens::page(&told, COMMANDS_PAGE).unwrap_or_default();
            let shown = [screens::frame(&told, 80, None), page].concat();
            let at = |part: &str| shown.iter().position(|line| line.contains(part));
            assert_eq!(at(NOT_HERE).is_some(), wanted, "{shown:#?}");
            assert!(at(NOT_HERE) <= at("promote-read-replica"), "{shown:#?}");
        }
        assert!(text::width(NOT_HERE) + 2 <= 80);
    }
}
