//! Recovery points made readable: a table of what each loses, and what is to be known of it.

use jiff::Timestamp;

use super::text::{self, about, day};
use crate::span::Span;

/// One recovery point.
#[derive(Debug, Clone)]
pub(crate) struct PointShown {
    pub id: String,
    pub title: String,
    pub taken: Option<Timestamp>,
    pub age: Option<Span>,
    pub loss: Option<Span>,
    pub size: Option<String>,
    pub forecast: Option<Span>,
    /// When a restore last proved it
    pub proved: Option<Timestamp>,
    pub notes: Vec<String>,
}

/// All of them.
#[derive(Debug, Clone)]
pub(crate) struct PointsShown<'a> {
    pub estate: &'a str,
    /// When the damage began, where that was said
    pub incident: Option<Timestamp>,
    pub now: Timestamp,
    pub points: Vec<PointShown>,
    /// What could not be looked at, and what is there that is no recovery point
    pub remarks: Vec<String>,
}

/// Returns the table as lines of at most `columns`.
pub(crate) fn lines(shown: &PointsShown<'_>, columns: usize) -> Vec<String> {
    let mut lines = Vec::new();
    let against = match shown.incident {
        Some(incident) => format!("loss against {} UTC, when the damage began", day(incident)),
        None => "loss until now; say when the damage began with --incident".to_owned(),
    };
    let head = format!("Recovery points of {} at {} UTC; {against}", shown.estate, day(shown.now));
    lines.extend(text::wrap(&head, columns, 2));
    lines.push(cells(["taken (UTC)", "age", "loses", "size", "takes", "proved (UTC)"]));
    for point in &shown.points {
        lines.extend(text::wrap(&format!("{}: {}", point.id, point.title), columns, 4));
        let span = |span: Option<Span>| span.map_or("unknown".to_owned(), about);
        lines.push(cells([
            &point.taken.map_or("unknown".to_owned(), day),
            &span(point.age),
            &span(point.loss),
            point.size.as_deref().unwrap_or("unknown"),
            &span(point.forecast),
            &point.proved.map_or("never".to_owned(), day),
        ]));
        for note in &point.notes {
            lines.extend(text::block(note, columns, 4));
        }
    }
    if shown.points.is_empty() {
        lines.push("  none".to_owned());
    }
    for remark in &shown.remarks {
        lines.extend(text::wrap(&format!("note: {remark}"), columns, 2));
    }
    if shown.points.iter().any(|point| point.proved.is_none()) {
        let said = "What was never proved by a restore is taken by no runbook that does not say `unverified: true`.";
        lines.extend(text::wrap(said, columns, 2));
    }
    lines
}

fn cells(cells: [&str; 6]) -> String {
    let [taken, age, loss, size, takes, proved] = cells;
    let line = format!("  {taken:<16}  {age:<8}  {loss:<8}  {size:<9}  {takes:<8}  {proved}");
    line.trim_end().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn recovery_points_are_a_table_of_eighty_columns() {
        let at = |text: &str| -> Timestamp { text.parse().expect("an instant") };
        let dump = PointShown {
            id: "dump:nightly".to_owned(),
            title: "dump nightly of phoenix-prod".to_owned(),
            taken: Some(at("2026-11-29T02:00:00Z")),
            age: Some(Span::minutes(160)),
            loss: Some(Span::minutes(130)),
            size: Some("312 MiB".to_owned()),
            forecast: Some(Span::minutes(4)),
            proved: Some(at("2026-11-28T04:10:00Z")),
            notes: Vec::new(),
        };
        let base = PointShown {
            id: "base:sunday".to_owned(),
            title: "base backup sunday and its WAL".to_owned(),
            loss: Some(Span::seconds(0)),
            size: Some("11 GiB".to_owned()),
            proved: None,
            notes: vec![
                "its WAL reaches 2026-11-29 04:31 UTC, 16/B374D848".to_owned(),
                "WAL missing: 000000010000001600000090, 000000010000001600000091".to_owned(),
                "carries the same damage unless proven otherwise".to_owned(),
            ],
            ..dump.clone()
        };
        let shown = PointsShown {
            estate: "phoenix-production",
            incident: Some(at("2026-11-29T04:10:00Z")),
            now: at("2026-11-29T04:40:00Z"),
            points: vec![dump, base],
            remarks: vec!["weekly has no manifest: nothing says what is in it".to_owned()],
        };
        let lines = lines(&shown, 80);
        assert!(lines.iter().all(|line| text::width(line) <= 80), "{lines:#?}");
        insta::assert_snapshot!(lines.join("\n"), @r"
        Recovery points of phoenix-production at 2026-11-29 04:40 UTC; loss against
          2026-11-29 04:10 UTC, when the damage began
          taken (UTC)       age       loses     size       takes     proved (UTC)
        dump:nightly: dump nightly of phoenix-prod
          2026-11-29 02:00  2 h 40    2 h 10    312 MiB    4 min     2026-11-28 04:10
        base:sunday: base backup sunday and its WAL
          2026-11-29 02:00  2 h 40    0 s       11 GiB     4 min     never
            its WAL reaches 2026-11-29 04:31 UTC, 16/B374D848
            WAL missing: 000000010000001600000090, 000000010000001600000091
            carries the same damage unless proven otherwise
        note: weekly has no manifest: nothing says what is in it
        What was never proved by a restore is taken by no runbook that does not say
          `unverified: true`.
        ");
    }

    #[test]
    fn without_an_incident_it_is_asked_for_and_what_is_unknown_is_said() {
        let point = PointShown {
            id: "replica:us-west-2".to_owned(),
            title: "replica".to_owned(),
            taken: None,
            age: None,
            loss: None,
            size: None,
            forecast: None,
            proved: None,
            notes: Vec::new(),
        };
        let now = "2026-11-29T04:40:00Z".parse().expect("an instant");
        let shown =
            PointsShown { estate: "x", incident: None, now, points: vec![point], remarks: vec![] };
        let said = lines(&shown, 80).join("\n");
        assert!(
            said.contains("--incident") && said.contains("unknown   unknown   unknown"),
            "{said}"
        );
        assert!(said.contains("never"), "{said}");
    }
}
