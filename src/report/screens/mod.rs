//! The text of questions: pure functions from what is known to a [`Question`] with its lines and pages.
//!
//! Everything fits 80 columns and needs no colour. Asking is the operator's; deciding is the engine's.

pub(crate) mod candidates;
pub(crate) mod go;
pub(crate) mod menu;
mod pages;

use super::text;
use crate::event::{AnswerForm, Question, QuestionKey};
use candidates::{Back, Room};

/// Rows of equivalent commands shown with a question; longer ones are on page `c`, out of the way.
const COMMANDS_ROWS: usize = 3;

/// Letter of the page with the equivalent commands.
pub(crate) const COMMANDS_PAGE: char = 'c';
/// Letter of the page with everything known.
pub(crate) const DETAILS_PAGE: char = 'd';
/// Letter of the page with a message to paste.
pub(crate) const MESSAGE_PAGE: char = 'm';
/// Letter that shows the `go` screen again, as it was.
pub(crate) const SCREEN_PAGE: char = 's';

/// Columns that a question's lines are set in by: what is laid out beforehand has as many fewer.
pub(crate) const MARGIN: usize = 2;

/// Returns a question as it is shown above its prompt.
///
/// The `go` screen is complete as it is; every other question gets its heading, its ways on, its commands and what
/// "no" means.
pub(crate) fn frame(question: &Question, columns: usize, back: Option<&Back>) -> Vec<String> {
    if is_go(question) {
        return question.lines.clone();
    }
    let room = columns.saturating_sub(MARGIN);
    let mut lines = vec![String::new()];
    lines.extend(text::wrap(&format!("? {}", question.title), columns, 2));
    for line in &question.lines {
        // Lines that fit are laid out already.
        if text::width(line) <= room && !line.contains('\n') {
            lines.push(indented(line));
        } else {
            lines.extend(text::block(line, columns, 2));
        }
    }
    match &question.form {
        AnswerForm::Candidates { candidates, loss_max, best } => {
            lines.push(String::new());
            let (best, max) = (best.as_deref(), *loss_max);
            let table = candidates::table(candidates, best, max, back, Room::Screen);
            lines.extend(table.iter().map(|line| indented(line)));
        }
        AnswerForm::Menu { options } => {
            lines.push(String::new());
            lines.extend(menu::lines(options, room).iter().map(|line| indented(line)));
        }
        AnswerForm::YesNo
        | AnswerForm::Type { .. }
        | AnswerForm::Reason
        | AnswerForm::Evidence { .. } => {}
    }
    if commands_fit(question) {
        // A command is for pasting: one line, whatever the width.
        lines.extend(question.commands.iter().map(|line| format!("  {}", text::typed(line))));
    }
    lines.extend(text::wrap(&format!("No means: {}", question.no_means), columns, 2));
    let pages = pages_named(question);
    if !pages.is_empty() {
        lines.push(format!("Also: {pages}"));
    }
    lines
}

fn indented(line: &str) -> String {
    format!("  {}", text::plain(line)).trim_end().to_owned()
}

/// Says whether the equivalent commands take few enough rows to be shown with the question.
fn commands_fit(question: &Question) -> bool {
    let rows = |line: &String| (text::width(line) + 4).div_ceil(text::COLUMNS);
    question.commands.iter().map(rows).sum::<usize>() <= COMMANDS_ROWS
}

/// Says whether this is the `go` screen, which is whole as it is and can be made anew.
pub(crate) const fn is_go(question: &Question) -> bool {
    matches!(question.key, QuestionKey::Go | QuestionKey::Blocked)
}

/// Returns the page a letter calls up.
pub(crate) fn page(question: &Question, letter: char) -> Option<Vec<String>> {
    if letter == SCREEN_PAGE && is_go(question) {
        return Some(question.lines.clone());
    }
    if let Some(page) = question.pages.get(&letter) {
        return Some(page.clone());
    }
    if letter == DETAILS_PAGE {
        return details(question);
    }
    let commands = letter == COMMANDS_PAGE && !commands_fit(question);
    commands.then(|| question.commands.iter().map(|line| text::typed(line)).collect())
}

/// Returns everything known of the ways a question offers; `None` where it offers none.
fn details(question: &Question) -> Option<Vec<String>> {
    match &question.form {
        AnswerForm::Candidates { candidates, loss_max, best } => {
            let best = best.as_deref();
            Some(candidates::table(candidates, best, *loss_max, None, Room::All))
        }
        AnswerForm::Menu { .. }
        | AnswerForm::YesNo
        | AnswerForm::Type { .. }
        | AnswerForm::Reason
        | AnswerForm::Evidence { .. } => None,
    }
}

/// Returns every key that does something at a question besides its answers.
pub(crate) fn keys(question: &Question) -> String {
    let mut keys = pages_named(question);
    if is_go(question) {
        let own = "s screen · r look again · i incident began";
        keys = if keys.is_empty() { own.to_owned() } else { format!("{keys} · {own}") };
    }
    keys
}

/// Returns the pages a question has, each with its letter.
fn pages_named(question: &Question) -> String {
    let mut letters: Vec<char> = question.pages.keys().copied().collect();
    if !commands_fit(question) && !letters.contains(&COMMANDS_PAGE) {
        letters.push(COMMANDS_PAGE);
    }
    if let AnswerForm::Candidates { candidates, .. } = &question.form
        && !letters.contains(&DETAILS_PAGE)
        && candidates::leaves_out(candidates)
    {
        letters.push(DETAILS_PAGE);
    }
    letters.sort_unstable();
    let named = letters.iter().map(|letter| match *letter {
        COMMANDS_PAGE => "c commands".to_owned(),
        DETAILS_PAGE => "d details".to_owned(),
        MESSAGE_PAGE => "m message".to_owned(),
        other => other.to_string(),
    });
    named.collect::<Vec<_>>().join(" · ")
}
