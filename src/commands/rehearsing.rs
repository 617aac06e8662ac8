//! A person at a rehearsal: takes real time, and is told which commands are not for it.

use std::sync::Arc;

use futures::future::BoxFuture;

use crate::clock::jump::JumpClock;
use crate::engine::ports::Operator;
use crate::event::{Answer, Question};
use crate::report::screens::COMMANDS_PAGE;

/// Stands above the commands that a question of a rehearsal shows: they are those of the day itself.
const NOT_HERE: &str =
    "# REHEARSAL: in a shell these act on the LIVE estate, not on this simulation";

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

/// Returns a question whose commands nobody can take for those of the simulation.
fn marked(question: &Question) -> Question {
    let mut question = question.clone();
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
