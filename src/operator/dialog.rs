//! What a person typed at a question, understood. Pure: the terminal only carries text to and fro.

use jiff::Timestamp;
use serde_json::{Map, Value};

use crate::clock::said_instant;
use crate::event::{Answer, AnswerForm, FailureChoice, MenuOption, Question, QuestionKey};
use crate::outcome::Candidate;
use crate::plan::outputs::WantedOutput;
use crate::report::screens::{is_go, keys, menu, page};
use crate::report::words;

/// Wrong words typed at a question before it counts as declined.
const WORDS_MAX: u32 = 3;

/// Inputs that mean nothing before nobody is taken to be there.
const INPUTS_MAX: u32 = 50;

/// A reason shorter than this says nothing to whoever reads the journal.
const REASON_MIN: usize = 8;

/// What to do after an input.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Reply {
    Done(Answer),
    /// Say this, if anything, then prompt again
    Again(Option<String>),
    /// Show these lines as they are, then prompt again
    Page(Vec<String>),
}

/// One question on its way to an answer.
pub(crate) struct Dialog<'a> {
    question: &'a Question,
    stage: Stage,
    wrong: u32,
    inputs: u32,
}

/// Where a question with several parts stands.
enum Stage {
    First,
    /// When the incident began
    Began,
    /// Why a step is skipped, or what shows that it was done by hand
    Reason {
        choice: FailureChoice,
    },
    /// Outputs that later steps use, one after the other
    Outputs {
        reason: String,
        /// Still to be given, the next one first
        wanted: Vec<WantedOutput>,
        outputs: Map<String, Value>,
    },
}

impl<'a> Dialog<'a> {
    /// Returns the beginning of a question.
    pub(crate) const fn new(question: &'a Question) -> Self {
        Self { question, stage: Stage::First, wrong: 0, inputs: 0 }
    }

    /// Returns what stands before the cursor.
    pub(crate) fn prompt(&self) -> String {
        match &self.stage {
            Stage::First => match &self.question.form {
                AnswerForm::YesNo => format!("{} [y/n]", self.asks()),
                AnswerForm::Type { word } => format!("Type {word} to go on, n to decline:"),
                AnswerForm::Reason => "Why? A sentence for the record, n to decline:".into(),
                AnswerForm::Candidates { .. } => "Which? Number or name, n to decline:".into(),
                AnswerForm::Menu { options } => {
                    let letters = options.iter().map(|option| menu::letter(option.choice));
                    let letters: Vec<String> = letters.map(String::from).collect();
                    format!("[{}]", letters.join("/"))
                }
                AnswerForm::Evidence { prompt } => format!("{prompt} (n to decline):"),
            },
            Stage::Began => "When did it begin? 02:05 (UTC) or 15m ago; n keeps it:".into(),
            Stage::Reason { choice: FailureChoice::MarkDone } => {
                "What was done by hand, and what shows it?".into()
            }
            Stage::Reason { .. } => "Why? A sentence for the record:".into(),
            Stage::Outputs { wanted, .. } => {
                let name = wanted.first().map_or("", |output| output.name.as_str());
                format!("Later steps use its output `{name}`; its value:")
            }
        }
    }

    /// Returns what a yes says.
    fn asks(&self) -> &str {
        match &self.question.key {
            QuestionKey::Go | QuestionKey::Blocked | QuestionKey::Rollback => &self.question.title,
            QuestionKey::Manual { .. } => "Is it done?",
            QuestionKey::Credentials { .. } => "Are they renewed?",
            QuestionKey::Approve { .. }
            | QuestionKey::Choice { .. }
            | QuestionKey::Loss { .. }
            | QuestionKey::Override { .. }
            | QuestionKey::Waive { .. }
            | QuestionKey::Failure { .. }
            | QuestionKey::RevertFailure { .. }
            | QuestionKey::Past { .. }
            | QuestionKey::Alone => "Do it?",
        }
    }

    /// Takes one line a person typed.
    pub(crate) fn take(&mut self, typed: &str, now: Timestamp) -> Reply {
        let typed = typed.trim();
        self.inputs += 1;
        if self.inputs > INPUTS_MAX {
            let why = format!("no usable answer in {INPUTS_MAX} tries");
            return Reply::Done(Answer::Nobody { why });
        }
        match std::mem::replace(&mut self.stage, Stage::First) {
            Stage::First => self.first(typed),
            Stage::Began => self.began(typed, now),
            Stage::Reason { choice } => self.reason(choice, typed),
            Stage::Outputs { reason, wanted, outputs } => {
                self.output(reason, wanted, outputs, typed)
            }
        }
    }

    fn first(&mut self, typed: &str) -> Reply {
        // The word itself comes before anything else it might mean.
        if let AnswerForm::Type { word } = &self.question.form
            && typed == word
        {
            return Reply::Done(Answer::Typed { text: word.clone() });
        }
        if is(typed, "n", "no") {
            return Reply::Done(Answer::No);
        }
        if let Some(page) = self.page(typed) {
            return Reply::Page(page);
        }
        match &self.question.form {
            AnswerForm::YesNo if is(typed, "y", "yes") => Reply::Done(Answer::Yes),
            AnswerForm::YesNo if is_go(self.question) && is(typed, "r", "recheck") => {
                Reply::Done(Answer::Recheck)
            }
            AnswerForm::YesNo if is_go(self.question) && is(typed, "i", "incident") => {
                self.stage = Stage::Began;
                Reply::Again(None)
            }
            AnswerForm::YesNo => again(&self.yes_or_no()),
            AnswerForm::Type { word } => self.wrong_word(word),
            AnswerForm::Reason if says_something(typed) => {
                Reply::Done(Answer::Typed { text: typed.to_owned() })
            }
            AnswerForm::Reason => again("Say why, in a sentence; or n to decline."),
            AnswerForm::Evidence { .. } if !typed.is_empty() && !is(typed, "y", "yes") => {
                Reply::Done(Answer::Typed { text: typed.to_owned() })
            }
            AnswerForm::Evidence { prompt } => {
                again(&format!("Wanted: {prompt}; or n to decline."))
            }
            AnswerForm::Candidates { candidates, .. } => candidate(candidates, typed),
            AnswerForm::Menu { options } => self.way(options, typed),
        }
    }

    fn yes_or_no(&self) -> String {
        match keys(self.question) {
            none if none.is_empty() => {
                "Type y for yes or n for no; nothing else counts.".to_owned()
            }
            keys => format!(
                "Type y for yes or n for no; nothing else counts as an answer. Other keys: {keys}."
            ),
        }
    }

    fn began(&mut self, typed: &str, now: Timestamp) -> Reply {
        if typed.is_empty() || is(typed, "n", "no") {
            return again("It stays as it is.");
        }
        match said_instant(typed, now) {
            Ok(at) => Reply::Done(Answer::Began { at }),
            Err(error) => {
                self.stage = Stage::Began;
                again(&error.to_string())
            }
        }
    }

    fn page(&self, typed: &str) -> Option<Vec<String>> {
        let mut letters = typed.chars();
        match (letters.next(), letters.next()) {
            (Some(letter), None) => page(self.question, letter.to_ascii_lowercase()),
            _ => None,
        }
    }

    fn wrong_word(&mut self, word: &str) -> Reply {
        self.wrong += 1;
        if self.wrong >= WORDS_MAX {
            return Reply::Done(Answer::No);
        }
        let left = WORDS_MAX - self.wrong;
        let tries = if left == 1 { "try" } else { "tries" };
        again(&format!("Expected exactly `{word}`; {left} {tries} left, then it counts as no."))
    }

    fn way(&mut self, options: &[MenuOption], typed: &str) -> Reply {
        let chosen = options.iter().find(|option| {
            is(typed, &menu::letter(option.choice).to_string(), words::way(option.choice))
        });
        let Some(option) = chosen else {
            return again("Type one of the letters above; n stops and keeps everything.");
        };
        match option.choice {
            choice @ (FailureChoice::Skip | FailureChoice::MarkDone) => {
                self.stage = Stage::Reason { choice };
                Reply::Again(None)
            }
            choice @ (FailureChoice::Retry
            | FailureChoice::Another
            | FailureChoice::Rollback
            | FailureChoice::Stop) => {
                Reply::Done(Answer::Menu { choice, reason: None, outputs: Map::new() })
            }
        }
    }

    fn reason(&mut self, choice: FailureChoice, typed: &str) -> Reply {
        if is(typed, "n", "no") {
            // Back to the menu: nothing was chosen yet.
            return again("Not chosen.");
        }
        if !says_something(typed) {
            self.stage = Stage::Reason { choice };
            return again("Say it in a sentence; n goes back to the menu.");
        }
        let reason = typed.to_owned();
        let wanted = self.wanted(choice);
        if wanted.is_empty() {
            return Reply::Done(Answer::Menu { choice, reason: Some(reason), outputs: Map::new() });
        }
        self.stage = Stage::Outputs { reason, wanted, outputs: Map::new() };
        Reply::Again(None)
    }

    /// Returns the outputs that must be given with a way on.
    fn wanted(&self, choice: FailureChoice) -> Vec<WantedOutput> {
        let AnswerForm::Menu { options } = &self.question.form else { return Vec::new() };
        let option = options.iter().find(|option| option.choice == choice);
        option.map(|option| option.outputs.clone()).unwrap_or_default()
    }

    fn output(
        &mut self,
        reason: String,
        mut wanted: Vec<WantedOutput>,
        mut outputs: Map<String, Value>,
        typed: &str,
    ) -> Reply {
        if is(typed, "n", "no") {
            return again("Not chosen.");
        }
        let said = match wanted.first().map(|output| output.read(typed)) {
            Some(Ok(value)) => {
                outputs.insert(wanted.remove(0).name, value);
                None
            }
            Some(Err(why)) => Some(format!("{why}; n goes back to the menu.")),
            None => None,
        };
        if wanted.is_empty() {
            let choice = FailureChoice::MarkDone;
            return Reply::Done(Answer::Menu { choice, reason: Some(reason), outputs });
        }
        self.stage = Stage::Outputs { reason, wanted, outputs };
        Reply::Again(said)
    }
}

fn is(typed: &str, letter: &str, word: &str) -> bool {
    typed.eq_ignore_ascii_case(letter) || typed.eq_ignore_ascii_case(word)
}

fn says_something(typed: &str) -> bool {
    typed.chars().count() >= REASON_MIN
}

fn again(said: &str) -> Reply {
    Reply::Again(Some(said.to_owned()))
}

fn candidate(candidates: &[Candidate], typed: &str) -> Reply {
    let by_name = candidates.iter().find(|candidate| candidate.id == typed);
    let by_number = || {
        let number: usize = typed.parse().ok()?;
        candidates.get(number.checked_sub(1)?)
    };
    let Some(candidate) = by_name.or_else(by_number) else {
        let ids: Vec<&str> = candidates.iter().map(|candidate| candidate.id.as_str()).collect();
        return again(&format!("Type a number or one of {}; or n to decline.", ids.join(", ")));
    };
    match &candidate.unusable {
        Some(why) => again(&format!("{} cannot be taken: {why}", candidate.id)),
        None => Reply::Done(Answer::Chosen { id: candidate.id.clone() }),
    }
}

#[cfg(test)]
#[path = "dialog_tests.rs"]
mod tests;
