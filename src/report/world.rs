//! Worlds made readable: what is in one, and what differs between two.

use std::time::Duration;

use jiff::Timestamp;
use serde::Serialize;
use serde_json::Value;

use super::text;
use crate::span::Span;

/// Longest part of a value that is shown.
const VALUE_MAX: usize = 60;

/// What is in a world.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct WorldShown {
    pub format: &'static str,
    pub version: u32,
    pub world: String,
    pub about: Option<String>,
    pub estate: String,
    pub captured: Option<Timestamp>,
    /// The estate file whose names alone it has
    pub made_from: Option<String>,
    /// How long ago it was captured
    pub age: Option<Span>,
    pub pseudonyms: bool,
    pub primary: String,
    pub regions: Vec<String>,
    pub objects: Vec<Counted>,
    pub faults: Vec<String>,
    /// All of its durations were measured
    pub measured: bool,
    pub durations: Lengths,
    pub unseen: Vec<NotSeen>,
}

/// Where a world's durations come from, by their names.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub(crate) struct Lengths {
    /// Given by the world, which says that they were measured
    pub measured: Vec<String>,
    /// Nobody measured them
    pub guessed: Vec<String>,
}

impl Lengths {
    /// Says which were measured.
    pub(crate) fn said(&self) -> String {
        match (self.measured.as_slice(), self.guessed.as_slice()) {
            ([], _) => {
                "guesses, not measured: of AWS's operations and of how pods start".to_owned()
            }
            (_, []) => "measured".to_owned(),
            (measured, guessed) => {
                format!("measured: {}; guesses: {}", measured.join(", "), guessed.join(", "))
            }
        }
    }
}

/// How many objects of a kind a region has.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Counted {
    pub kind: String,
    pub region: Option<String>,
    pub count: usize,
}

/// Something nobody saw.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct NotSeen {
    pub what: String,
    pub region: Option<String>,
    pub why: String,
}

impl NotSeen {
    /// Returns it in a line.
    pub(crate) fn line(&self) -> String {
        match &self.region {
            Some(region) => format!("{} ({region}): {}", self.what, self.why),
            None => format!("{}: {}", self.what, self.why),
        }
    }
}

/// Says when a world was captured.
pub(crate) fn age(captured: Timestamp, age: Duration) -> String {
    format!("captured on {} UTC, {} ago", text::day(captured), text::length(age))
}

/// Returns what is in a world as lines of at most `columns`.
pub(crate) fn lines(shown: &WorldShown, columns: usize) -> Vec<String> {
    let mut rows: Vec<Vec<String>> = Vec::new();
    let mut row = |name: &str, said: String| rows.push(vec![name.to_owned(), said]);
    let about = shown.about.as_deref().map(|about| format!(": {about}")).unwrap_or_default();
    row("World", format!("{}{about}", shown.world));
    row(
        "Estate",
        format!("{}, primary {} of {}", shown.estate, shown.primary, shown.regions.join(", ")),
    );
    let origin = match (shown.captured, shown.age, &shown.made_from) {
        (Some(at), Some(length), _) => age(at, length.0),
        (_, _, Some(file)) => format!("made from the names in {file}"),
        _ => "written by hand".to_owned(),
    };
    row("Origin", if shown.pseudonyms { format!("{origin}; names replaced") } else { origin });
    row("Durations", shown.durations.said());
    for (index, counted) in shown.objects.iter().enumerate() {
        let name = if index == 0 { "Objects" } else { "" };
        let region = counted.region.as_deref().unwrap_or("no region");
        row(name, format!("{} of {} in {region}", counted.count, counted.kind));
    }
    for (index, fault) in shown.faults.iter().enumerate() {
        row(if index == 0 { "Faults" } else { "" }, fault.clone());
    }
    for (index, unseen) in shown.unseen.iter().enumerate() {
        let name = if shown.made_from.is_some() { "Guessed" } else { "Not seen" };
        row(if index == 0 { name } else { "" }, unseen.line());
    }
    text::table(&rows, columns, 0)
}

/// One object that differs.
#[derive(Debug, Clone)]
pub(crate) struct Differs {
    /// `+`, `-` or `~`
    pub sign: char,
    pub kind: String,
    pub region: Option<String>,
    pub id: String,
    /// Fields with their values before and after
    pub fields: Vec<(String, Value, Value)>,
}

/// Returns what differs as lines.
pub(crate) fn difference_lines(found: &[Differs], columns: usize) -> Vec<String> {
    let mut lines = Vec::new();
    for differs in found {
        let region = differs.region.as_deref().map(|region| format!(" in {region}"));
        let head = format!(
            "{} {} {}{}",
            differs.sign,
            differs.kind,
            differs.id,
            region.unwrap_or_default()
        );
        lines.extend(text::wrap(&head, columns, 4));
        for (field, before, after) in &differs.fields {
            let line = format!("{field}: {} -> {}", shown(before), shown(after));
            lines.extend(text::block(&line, columns, 4));
        }
    }
    lines
}

fn shown(value: &Value) -> String {
    match value {
        Value::Null => "nothing".to_owned(),
        Value::String(text) => text::clip(text, VALUE_MAX),
        other => text::clip(&other.to_string(), VALUE_MAX),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_world_says_whose_it_is_and_what_nobody_saw() {
        let unseen = NotSeen {
            what: "RDS".to_owned(),
            region: Some("us-east-1".to_owned()),
            why: "no answer".to_owned(),
        };
        let count = |kind: &str, region: Option<&str>, count| Counted {
            kind: kind.to_owned(),
            region: region.map(str::to_owned),
            count,
        };
        let shown = WorldShown {
            format: "phoenix-dr/world",
            version: 1,
            world: "mine".to_owned(),
            about: None,
            estate: "mine".to_owned(),
            captured: Some("2026-11-20T02:18:00Z".parse().expect("an instant")),
            made_from: None,
            age: Some(Span::minutes(90)),
            pseudonyms: true,
            primary: "us-east-1".to_owned(),
            regions: vec!["us-east-1".to_owned(), "us-west-2".to_owned()],
            objects: vec![
                count("s3.object", Some("us-west-2"), 12),
                count("route53.zone", None, 1),
            ],
            faults: vec!["dark,region=us-east-1".to_owned()],
            measured: false,
            durations: Lengths::default(),
            unseen: vec![unseen],
        };
        let lines = lines(&shown, 80);
        let text = lines.join("\n");
        for said in [
            "captured on 2026-11-20 02:18 UTC, 1h 30m ago; names replaced",
            "12 of s3.object in us-west-2",
            "1 of route53.zone in no region",
            "RDS (us-east-1): no answer",
            "guesses",
            "dark,region=us-east-1",
        ] {
            assert!(text.contains(said), "{said}: {text}");
        }
        assert!(lines.iter().all(|line| text::width(line) <= 80), "{text}");
    }

    #[test]
    fn differences_show_both_values() {
        let found = Differs {
            sign: '~',
            kind: "rds.instance".to_owned(),
            region: Some("us-west-2".to_owned()),
            id: "replica".to_owned(),
            fields: vec![("MultiAZ".to_owned(), Value::Bool(false), Value::Null)],
        };
        let lines = difference_lines(&[found], 80);
        assert_eq!(lines, ["~ rds.instance replica in us-west-2", "    MultiAZ: false -> nothing"]);
    }
}
