//! Files of worlds that are empty or were cut short: what is left of one is no mistake in a world, and is not told as
//! many.
//!
//! A file of lines says in its first line how many follow, which is its mark of being whole.

use std::ops::Range;

use serde::Deserialize;
use serde::de::IgnoredAny;

use crate::runbook::problem::Problem;

/// What a first line says of itself.
#[derive(Deserialize)]
struct Head {
    #[serde(default)]
    lines: Option<usize>,
    #[serde(default)]
    captured: Option<IgnoredAny>,
}

/// Returns what is wrong with a text that is not all of a world; none where it seems to be.
pub(super) fn found(name: &str, text: &str, lines: bool) -> Option<Problem> {
    let says = |line: &str| !line.trim().is_empty() && !line.trim_start().starts_with('#');
    if !text.lines().any(says) {
        let message = "the file is empty: there is no world in it";
        let help = format!(
            "capture the estate again: phoenix-dr world capture --out {name} --force; or make a world from the estate \
             file: phoenix-dr COMMAND --rehearse --estate FILE"
        );
        return Some(Problem::at(0..0, message).help(help));
    }
    if lines { of_lines(name, text) } else { of_json(name, text) }
}

fn of_lines(name: &str, text: &str) -> Option<Problem> {
    let end = text.find('\n');
    let first = &text[..end.unwrap_or(text.len())];
    let Ok(head) = serde_json::from_str::<Head>(first) else {
        // A first line of another form is for who reads it to explain, unless there is nothing after it.
        let broken = serde_json::from_str::<IgnoredAny>(first);
        let broken = broken.is_err_and(|error| error.is_eof());
        return (broken && end.is_none())
            .then(|| cut(name, "the world", 1, text.len()..text.len(), "within it"));
    };
    let what = if head.captured.is_some() { "the capture" } else { "the world" };
    let whole = text.trim_end_matches('\n');
    let last = whole.rfind('\n').map_or(0, |end| end + 1);
    // Counted as bytes: a world may have very many lines.
    let number = whole.bytes().filter(|byte| *byte == b'\n').count() + 1;
    let torn = serde_json::from_str::<IgnoredAny>(&whole[last..]);
    if torn.is_err_and(|error| error.is_eof()) {
        return Some(cut(name, what, number, last..whole.len(), "within it"));
    }
    let wanted = head.lines?;
    if number > wanted {
        return None;
    }
    let blank = whole.lines().filter(|line| line.trim().is_empty()).count();
    let follow = number - 1 - blank;
    let missing = format!("after it: {wanted} lines are to follow the first, and {follow} do");
    Some(cut(name, what, number, last..whole.len(), &missing))
}

/// A document of JSON ends with its bracket; where one of YAML ends nobody can say.
fn of_json(name: &str, text: &str) -> Option<Problem> {
    if !text.trim_start().starts_with('{') {
        return None;
    }
    let broken =
        serde_json::from_str::<IgnoredAny>(text).err().filter(serde_json::Error::is_eof)?;
    Some(cut(name, "the world", broken.line(), text.len()..text.len(), "within it"))
}

fn cut(name: &str, what: &str, line: usize, place: Range<usize>, where_in_it: &str) -> Problem {
    let message = format!("{what} was cut short at line {line}, {where_in_it}");
    let help = format!(
        "take a whole copy of it and check that: phoenix-dr world validate {name}; or capture the estate again: \
         phoenix-dr world capture --out {name} --force"
    );
    Problem::at(place, message).help(help)
}

#[cfg(test)]
#[path = "cut_tests.rs"]
mod tests;
