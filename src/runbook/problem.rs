//! What is wrong with a file: every problem with its place, printed together with line, column and caret.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use annotate_snippets::{AnnotationKind, Group, Level, Renderer, Snippet};
use serde_json::{Value, json};

/// Problems shown in full; the rest is counted.
const SHOWN_MAX: usize = 50;

/// Places at most this many lines apart are printed in one excerpt.
const NEAR_LINES: usize = 12;

/// Longest part of a line that is printed: a minified file must not fill the screen.
const LINE_MAX: usize = 400;

/// Whether a problem stops everything or only deserves a look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Gravity {
    Error,
    Warning,
}

/// Whose mistake it is; decides the exit code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Origin {
    /// The file that was read
    File,
    /// What the operator gave for an input
    Input,
    /// Something the estate file lacks
    Estate,
}

/// One thing that is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Problem {
    pub gravity: Gravity,
    pub origin: Origin,
    /// Bytes of the file it is about; none when it is about nothing written there
    pub range: Option<Range<usize>>,
    pub message: String,
    /// Words beside the caret, where they say more than the message
    pub label: Option<String>,
    /// Other places that matter, with their words
    pub also: Vec<(Range<usize>, String)>,
    /// What to do about it, or what was probably meant
    pub help: Option<String>,
}

impl Problem {
    /// Returns an error at a place of the file.
    pub(crate) fn at(range: Range<usize>, message: impl Into<String>) -> Self {
        Self {
            gravity: Gravity::Error,
            origin: Origin::File,
            range: Some(range),
            message: message.into(),
            label: None,
            also: Vec::new(),
            help: None,
        }
    }

    /// Returns an error about something that is written nowhere in the file.
    pub(crate) fn nowhere(origin: Origin, message: impl Into<String>) -> Self {
        Self { origin, range: None, ..Self::at(0..0, message) }
    }

    /// Makes it a warning.
    #[must_use]
    pub(crate) fn warning(mut self) -> Self {
        self.gravity = Gravity::Warning;
        self
    }

    /// Says whose mistake it is.
    #[must_use]
    pub(crate) const fn origin(mut self, origin: Origin) -> Self {
        self.origin = origin;
        self
    }

    /// Adds the words beside the caret.
    #[must_use]
    pub(crate) fn label(mut self, label: impl Into<String>) -> Self {
        self.label = Some(label.into());
        self
    }

    /// Adds another place.
    #[must_use]
    pub(crate) fn also(mut self, range: Range<usize>, words: impl Into<String>) -> Self {
        self.also.push((range, words.into()));
        self
    }

    /// Adds what to do about it.
    #[must_use]
    pub(crate) fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }

    /// Adds what to do about it, where there is something.
    #[must_use]
    pub(crate) fn maybe_help(mut self, help: Option<String>) -> Self {
        self.help = help.or(self.help);
        self
    }
}

/// Everything that is wrong with one file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Problems {
    /// Name as the operator knows it
    pub file: String,
    pub source: Arc<str>,
    pub items: Vec<Problem>,
}

/// Returns what is done next where a problem says nothing more apt.
fn again(file: &str, origin: Origin) -> String {
    match origin {
        Origin::File | Origin::Estate => mend(file, "phoenix-dr validate"),
        Origin::Input => {
            "its inputs and what they take: phoenix-dr COMMAND --help, or phoenix-dr show RUNBOOK"
                .to_owned()
        }
    }
}

fn mend(file: &str, command: &str) -> String {
    format!("mend it and check the file again: {command} {file}")
}

/// Returns the line and column of a byte of a text, both from 1.
fn place(source: &str, at: usize) -> (usize, usize) {
    let before = source.get(..at).unwrap_or(source);
    let line = before.rfind('\n').map_or(0, |end| end + 1);
    (before.matches('\n').count() + 1, before[line..].chars().count() + 1)
}

impl Problems {
    /// Returns the problems of a file, in the order of their places.
    pub(crate) fn new(file: impl Into<String>, source: Arc<str>, mut items: Vec<Problem>) -> Self {
        items.sort_by_key(|item| item.range.as_ref().map_or(0, |range| range.start));
        let mut kept: Vec<Problem> = Vec::with_capacity(items.len());
        let file = file.into();
        for mut item in items {
            item.help.get_or_insert_with(|| again(&file, item.origin));
            // The same words at the same place are one problem, found twice.
            if kept.last() != Some(&item) {
                kept.push(item);
            }
        }
        Self { file, source, items: kept }
    }

    /// Names another command that checks the file, where `validate` is for others.
    #[must_use]
    pub(crate) fn checked_by(mut self, command: &str) -> Self {
        for item in &mut self.items {
            if item.help.as_ref() == Some(&again(&self.file, Origin::File)) {
                item.help = Some(mend(&self.file, command));
            }
        }
        self
    }

    /// Leaves out what is done next where nothing more apt is said: whoever tells them as his own says that.
    #[must_use]
    pub(crate) fn without_usual_help(mut self) -> Self {
        for item in &mut self.items {
            let usual = again(&self.file, item.origin);
            item.help = item.help.take().filter(|help| *help != usual);
        }
        self
    }

    /// Takes from those that are told right before these the help these begin with: it is told once, after both.
    pub(crate) fn help_once(&self, before: &mut Self) {
        if let (Some(last), Some(first)) = (before.items.last_mut(), self.items.first()) {
            last.help.take_if(|help| Some(&*help) == first.help.as_ref());
        }
    }

    /// Returns every problem with its line and column, for programs.
    pub(crate) fn json(&self) -> Value {
        let items = self.items.iter().map(|item| {
            let place = item.range.as_ref().map(|range| place(&self.source, range.start));
            let gravity = match item.gravity {
                Gravity::Error => "error",
                Gravity::Warning => "warning",
            };
            json!({ "gravity": gravity, "line": place.map(|(line, _)| line),
                "column": place.map(|(_, column)| column), "message": item.message,
                "help": item.help })
        });
        items.collect()
    }

    /// Says whether anything here must stop what was asked for.
    pub(crate) fn has_errors(&self) -> bool {
        self.items.iter().any(|item| item.gravity == Gravity::Error)
    }

    /// Says whether every error is about what was given or the estate, not about the file itself.
    pub(crate) fn only_usage(&self) -> bool {
        self.items
            .iter()
            .filter(|item| item.gravity == Gravity::Error)
            .all(|item| item.origin != Origin::File)
    }

    /// Returns them as a person reads them.
    pub(crate) fn render(&self, color: bool) -> String {
        let renderer = if color { Renderer::styled() } else { Renderer::plain() };
        let lines = Lines::of(&self.source);
        let mut parts: Vec<String> = self
            .items
            .iter()
            .take(SHOWN_MAX)
            .map(|item| self.render_one(&renderer, &lines, item))
            .collect();
        if self.items.len() > SHOWN_MAX {
            let rest = self.items.len() - SHOWN_MAX;
            parts.push(format!("… and {rest} more problems in {}", self.file));
        }
        parts.join("\n\n")
    }

    fn render_one(&self, renderer: &Renderer, lines: &Lines<'_>, item: &Problem) -> String {
        let level = match item.gravity {
            Gravity::Error => Level::ERROR,
            Gravity::Warning => Level::WARNING,
        };
        let mut group = Group::with_title(level.primary_title(item.message.as_str()));
        if let Some(range) = &item.range {
            // What lies near shares the primary's excerpt; what lies far gets its own.
            let (near, far): (Vec<_>, Vec<_>) =
                item.also.iter().partition(|(also, _)| lines.apart(range, also) <= NEAR_LINES);
            let window = near.iter().fold(lines.line(range), |window, (also, _)| {
                let line = lines.line(also);
                window.start.min(line.start)..window.end.max(line.end)
            });
            let mut snippet = lines.excerpt(&self.file, &window).annotation(
                AnnotationKind::Primary
                    .span(lines.within(range, &window))
                    .label(item.label.as_deref()),
            );
            for (also, words) in near {
                let span = lines.within(also, &window);
                snippet =
                    snippet.annotation(AnnotationKind::Context.span(span).label(words.as_str()));
            }
            group = group.element(snippet);
            for (also, words) in far {
                let window = lines.line(also);
                let span = lines.within(also, &window);
                group = group.element(
                    lines
                        .excerpt(&self.file, &window)
                        .annotation(AnnotationKind::Context.span(span).label(words.as_str())),
                );
            }
        }
        if let Some(help) = &item.help {
            group = group.element(Level::HELP.message(help.as_str()));
        }
        renderer.render(&[group])
    }
}

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.render(false))
    }
}

impl std::error::Error for Problems {}

/// Where the lines of a text begin, so that a problem in a large file costs its lines and no more.
struct Lines<'a> {
    text: &'a str,
    starts: Vec<usize>,
}

impl<'a> Lines<'a> {
    fn of(text: &'a str) -> Self {
        let ends = text.bytes().enumerate().filter(|(_, byte)| *byte == b'\n');
        let starts = std::iter::once(0).chain(ends.map(|(at, _)| at + 1)).collect();
        Self { text, starts }
    }

    /// Returns the number, from 0, of the line a byte is in.
    fn number(&self, at: usize) -> usize {
        self.starts.partition_point(|start| *start <= at).saturating_sub(1)
    }

    fn apart(&self, a: &Range<usize>, b: &Range<usize>) -> usize {
        self.number(a.start).abs_diff(self.number(b.start))
    }

    /// Returns the bytes of the line a range begins in, without its end.
    fn line(&self, range: &Range<usize>) -> Range<usize> {
        let number = self.number(range.start.min(self.text.len()));
        let start = self.starts[number];
        let end = self.starts.get(number + 1).copied().unwrap_or(self.text.len());
        let end = start + self.text[start..end].trim_end_matches(['\n', '\r']).len();
        start..end
    }

    /// Returns an excerpt of whole lines.
    fn excerpt(
        &self,
        file: &'a str,
        window: &Range<usize>,
    ) -> Snippet<'a, annotate_snippets::Annotation<'a>> {
        let mut end = window.end;
        if end - window.start > LINE_MAX * NEAR_LINES {
            end = floor(self.text, window.start + LINE_MAX * NEAR_LINES);
        }
        Snippet::source(&self.text[window.start..end])
            .path(file)
            .line_start(self.number(window.start) + 1)
    }

    /// Returns a range relative to an excerpt, cut at the end of its first line: a caret under a whole
    /// mapping says less than one under its beginning.
    fn within(&self, range: &Range<usize>, window: &Range<usize>) -> Range<usize> {
        let line = self.line(range);
        let start = range.start.clamp(line.start, line.end);
        let end = range.end.clamp(start, line.end);
        let limit = floor(self.text, (window.start + LINE_MAX * NEAR_LINES).min(window.end));
        let start = floor(self.text, start).min(limit);
        let end = floor(self.text, end).clamp(start, limit.max(start));
        start - window.start..end - window.start
    }
}

/// Returns the nearest character boundary at or before a byte.
fn floor(text: &str, at: usize) -> usize {
    let mut at = at.min(text.len());
    while !text.is_char_boundary(at) {
        at -= 1;
    }
    at
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problems(source: &str, items: Vec<Problem>) -> Problems {
        Problems::new("a.yaml", source.into(), items)
    }

    #[test]
    fn prints_all_in_order_of_place() {
        let source = "a: 1\nb: two\nc: 3\n";
        let found = problems(
            source,
            vec![
                Problem::at(14..15, "later").help("mend it"),
                Problem::at(8..11, "first").label("here").also(0..1, "because of this"),
            ],
        );
        insta::assert_snapshot!(found.render(false), @r"
        error: first
         --> a.yaml:2:4
          |
        1 | a: 1
          | - because of this
        2 | b: two
          |    ^^^ here
          |
          = help: mend it and check the file again: phoenix-dr validate a.yaml

        error: later
         --> a.yaml:3:3
          |
        3 | c: 3
          |   ^
          |
          = help: mend it
        ");
    }

    #[test]
    fn counts_what_it_does_not_print() {
        let source = "x\n".repeat(60);
        let items = (0..60).map(|i| Problem::at(i * 2..i * 2 + 1, format!("p{i}"))).collect();
        let text = problems(&source, items).render(false);
        assert!(text.contains("p49") && !text.contains("p50"), "{text}");
        assert!(text.ends_with("… and 10 more problems in a.yaml"), "{text}");
    }

    #[test]
    fn any_range_can_be_printed() {
        for source in ["", "é", "a\r\nb", "\n\n", "ä: 'ö\n  ü'"] {
            for start in 0..=source.len() + 2 {
                for end in 0..=source.len() + 2 {
                    let item = Problem::at(start..end, "m").also(end..start, "n");
                    assert!(problems(source, vec![item]).render(false).contains("error: m"));
                }
            }
        }
    }
}
