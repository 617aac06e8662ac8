//! The text of questions: pure functions from what is known to a [`Question`] with its lines and pages.
//!
//! Everything fits 80 columns and needs no colour. Asking is the operator's; deciding is the engine's.

pub(crate) mod candidates;
pub(crate) mod failure;
pub(crate) mod go;

use super::text;
use crate::event::{Question, QuestionKey};

/// Lines of equivalent commands shown with a question; more are on page `c`.
const COMMANDS_SHOWN: usize = 6;

/// Letter of the page with the equivalent commands.
pub(crate) const COMMANDS_PAGE: char = 'c';
/// Letter of the page with everything known.
pub(crate) const DETAILS_PAGE: char = 'd';
/// Letter of the page with a message to paste.
pub(crate) const MESSAGE_PAGE: char = 'm';

/// Returns a question as it is shown above its prompt.
///
/// The `go` screen is complete as it is; every other question gets its heading, its commands and what "no" means.
pub(crate) fn frame(question: &Question, columns: usize) -> Vec<String> {
    if question.key == QuestionKey::Go {
        return question.lines.clone();
    }
    let mut lines = vec![String::new()];
    lines.extend(text::wrap(&format!("? {}", question.title), columns, 2));
    for line in &question.lines {
        // Lines that fit are laid out already, e.g. a table.
        if text::width(line) <= columns.saturating_sub(2) {
            let line = laid_out(line);
            lines.push(if line.is_empty() { line } else { format!("  {line}") });
        } else {
            lines.extend(text::block(line, columns, 2));
        }
    }
    if question.commands.len() <= COMMANDS_SHOWN {
        for command in &question.commands {
            lines.push(format!("  $ {}", text::plain(command)));
        }
    }
    lines.extend(text::wrap(&format!("No means: {}", question.no_means), columns, 4));
    let pages = pages(question);
    if !pages.is_empty() {
        lines.push(format!("Also: {pages}"));
    }
    lines
}

/// Returns the page a letter calls up.
pub(crate) fn page(question: &Question, letter: char) -> Option<Vec<String>> {
    if let Some(page) = question.pages.get(&letter) {
        return Some(page.clone());
    }
    let commands = letter == COMMANDS_PAGE && question.commands.len() > COMMANDS_SHOWN;
    commands
        .then(|| question.commands.iter().map(|line| format!("$ {}", text::plain(line))).collect())
}

fn pages(question: &Question) -> String {
    let mut letters: Vec<char> = question.pages.keys().copied().collect();
    if question.commands.len() > COMMANDS_SHOWN && !letters.contains(&COMMANDS_PAGE) {
        letters.push(COMMANDS_PAGE);
    }
    let named = letters.iter().map(|letter| match *letter {
        COMMANDS_PAGE => "c commands".to_owned(),
        DETAILS_PAGE => "d details".to_owned(),
        MESSAGE_PAGE => "m message to paste".to_owned(),
        other => other.to_string(),
    });
    named.collect::<Vec<_>>().join(" · ")
}

/// Returns a line with its spaces kept and without control characters.
fn laid_out(line: &str) -> String {
    text::plain(line).trim_end().to_owned()
}
