//! The table of ways to choose from, e.g. recovery points, with what each costs.

use std::time::Duration;

use jiff::Timestamp;

use crate::clock::since;
use crate::outcome::Candidate;
use crate::report::text::{self, about, minutes};
use crate::span::Span;

/// What the time of a candidate is measured against.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Back {
    pub incident_started: Timestamp,
    pub now: Timestamp,
    pub rto_max: Span,
}

impl Back {
    /// Returns how long after the incident began a candidate is carried out.
    fn after(&self, candidate: &Candidate) -> Option<Duration> {
        Some(since(self.incident_started, self.now) + candidate.forecast?.duration())
    }

    /// Returns the table's cell: when the data is back, and whether that is within the longest time allowed.
    fn cell(&self, candidate: &Candidate) -> String {
        let Some(after) = self.after(candidate) else { return "unknown".to_owned() };
        let max = self.rto_max.duration();
        let late = if after > max { " LATE" } else { "" };
        format!("{} of {}{late}", minutes(after), minutes(max))
    }
}

/// Columns of the table, and what is set in below a candidate's row.
const COLUMNS: usize = 78;
const INDENT: usize = 6;
/// Columns an id may take: the row then still fits.
const IDS: usize = 28;
/// Rows of a screen that are left to the candidates: what is around them takes eleven of 24.
const ROWS: usize = 13;

/// What is said where the facts of some did not fit.
const LEFT_OUT: &str = "what else is known of each is on page d";

/// How much room a table has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Room {
    /// The rows of a screen: what is known of the last candidates is left out where it does not fit, and never what speaks
    /// against one
    Screen,
    All,
}

/// What is said below the row of a candidate.
struct Below {
    /// What it is and what is known of it
    facts: Vec<String>,
    /// Why it cannot be taken, or what speaks against it
    against: Vec<String>,
}

impl Below {
    fn of(candidate: &Candidate, ids: usize) -> Self {
        let whole = text::width(&candidate.id) > ids;
        let id = if whole { format!("{}: ", candidate.id) } else { String::new() };
        let title = format!("{id}{}", candidate.title);
        let facts = std::iter::once(title).chain(candidate.notes.iter().cloned());
        let facts = text::block(&facts.collect::<Vec<_>>().join("; "), COLUMNS, INDENT);
        // What cannot be taken says why, in the same words.
        let against = match (&candidate.unusable, candidate.doubts.is_empty()) {
            (Some(why), _) => text::block(&format!("cannot be taken: {why}"), COLUMNS, INDENT),
            (None, true) => Vec::new(),
            (None, false) => {
                text::block(&format!("BUT {}", candidate.doubts.join("; ")), COLUMNS, INDENT)
            }
        };
        Self { facts, against }
    }
}

/// Returns the candidates as a numbered table of at most 78 columns.
pub(crate) fn table(
    candidates: &[Candidate],
    best: Option<&str>,
    loss_max: Option<Span>,
    back: Option<&Back>,
    room: Room,
) -> Vec<String> {
    let ids = candidates.iter().map(|candidate| text::width(&candidate.id)).max();
    let ids = ids.unwrap_or(0).clamp(6, IDS);
    let below: Vec<Below> = candidates.iter().map(|candidate| Below::of(candidate, ids)).collect();
    let kept: usize = below.iter().map(|below| 1 + below.against.len()).sum();
    let mut left = match room {
        Room::Screen => ROWS.saturating_sub(kept),
        Room::All => usize::MAX,
    };
    let mut whole = true;
    let mut lines = vec![line(" ", "", ids, "which", ["loses", "takes", "data back", "undo"])];
    for (at, (candidate, below)) in candidates.iter().zip(below).enumerate() {
        let mark = if best == Some(candidate.id.as_str()) { "*" } else { " " };
        let loss = match candidate.loss {
            Some(loss) if loss_max.is_some_and(|max| loss > max) => format!("{} !", about(loss)),
            Some(loss) => about(loss),
            None => "unknown !".to_owned(),
        };
        let takes = candidate.forecast.map_or("unknown".to_owned(), about);
        let back = back.map(|back| back.cell(candidate)).unwrap_or_default();
        let undo = if candidate.reversible { "yes" } else { "NO" };
        let number = (at + 1).to_string();
        lines.push(line(mark, &number, ids, &candidate.id, [&loss, &takes, &back, undo]));
        if below.facts.len() <= left {
            left -= below.facts.len();
            lines.extend(below.facts);
        } else {
            (left, whole) = (0, false);
        }
        lines.extend(below.against);
    }
    if !whole {
        lines.push(LEFT_OUT.to_owned());
    }
    if let Some(max) = loss_max {
        lines.push(format!("! more than {} is lost: asked about again, to be typed", about(max)));
    }
    if best.is_some() {
        lines.push("* the least loss among those that are back in time".to_owned());
    }
    lines
}

/// Says whether a screen has no room for all that is known of the candidates.
pub(super) fn leaves_out(candidates: &[Candidate]) -> bool {
    table(candidates, None, None, None, Room::Screen).iter().any(|line| line == LEFT_OUT)
}

fn line(mark: &str, number: &str, ids: usize, id: &str, cells: [&str; 4]) -> String {
    let [loss, takes, back, undo] = cells;
    let id = text::pad(id, ids);
    format!("{mark}{number:>2} {id}  {loss:<10} {takes:<9} {back:<18} {undo}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::{AnswerForm, QuestionKey};
    use crate::report::fixtures::{at, candidates, question};
    use crate::report::screens::frame;

    const BACK: fn() -> Back = || Back {
        incident_started: at("02:12:00"),
        now: at("02:18:09"),
        rto_max: Span::minutes(240),
    };

    #[test]
    fn the_question_with_its_table_reads_like_this() {
        let form = AnswerForm::Candidates {
            candidates: candidates(),
            loss_max: Some(Span::minutes(30)),
            best: Some("replica".to_owned()),
        };
        let mut question = question(
            QuestionKey::Choice { step: "recovery_point".into(), among: String::new() },
            form,
        );
        question.title = "Choose the recovery point".to_owned();
        question.lines = vec!["The primary is not readable: lag is the replica's own.".to_owned()];
        question.commands.clear();
        let lines = frame(&question, 80, Some(&BACK()));
        assert!(lines.len() < 24 && lines.iter().all(|line| text::width(line) <= 80));
        insta::assert_snapshot!(lines.join("\n"), @r#"

    ? Choose the recovery point
      The primary is not readable: lag is the replica's own.

          which     loses      takes     data back          undo
      * 1 replica   7 s        12 min    0:18 of 4:00       NO
            replica phoenix-dr-replica
        2 backup    6 min      44 min    0:50 of 4:00       yes
            automated backup of phoenix-prod
        3 snapshot  2 h 10 !   unknown   unknown            yes
            snapshot phoenix-2026-07-14-00-02
            cannot be taken: status is `creating`, 40 % done
      ! more than 30 min is lost: asked about again, to be typed
      * the least loss among those that are back in time
    No means: nothing is promoted; the run is saved and stops
    "#);
    }

    /// As many as RDS may have, half of them from after the damage began.
    fn many(count: usize) -> Vec<Candidate> {
        let plain = candidates().remove(1);
        let one = |number: usize| Candidate {
            id: format!("snapshot:us-west-2:phoenix-nightly-{number}"),
            title: format!("manual snapshot phoenix-nightly-2026-11-2{number} in us-west-2"),
            notes: vec!["2h40m old".to_owned(), "100 GiB".to_owned()],
            doubts: match number % 2 {
                0 => Vec::new(),
                _ => vec!["carries the same damage unless proven otherwise".to_owned()],
            },
            ..plain.clone()
        };
        (0..count).map(one).collect()
    }

    #[test]
    fn what_speaks_against_a_candidate_is_never_cut_off() {
        for (count, room) in [(2, Room::Screen), (8, Room::Screen), (8, Room::All)] {
            let lines = table(&many(count), None, None, Some(&BACK()), room);
            assert!(lines.iter().all(|line| text::width(line) <= COLUMNS), "{lines:#?}");
            let said = "      BUT carries the same damage unless proven otherwise";
            assert_eq!(lines.iter().filter(|line| *line == said).count(), count / 2, "{lines:#?}");
            let all = lines.iter().filter(|line| line.contains("2h40m old; 100 GiB")).count();
            let page = lines.iter().any(|line| line == LEFT_OUT);
            assert_eq!((all == count, page), (count == 2 || room == Room::All, all < count));
            // An id that is wider than its column is there as a whole, for whoever types it.
            assert!(room == Room::Screen && count > 2 || lines.join("\n").contains("nightly-1: "));
        }
    }

    #[test]
    fn eight_candidates_leave_room_for_the_question_on_a_small_screen() {
        let all = many(8);
        let form = AnswerForm::Candidates {
            candidates: all.clone(),
            loss_max: Some(Span::minutes(30)),
            best: Some(all[0].id.clone()),
        };
        let key = QuestionKey::Choice { step: "recovery_point".into(), among: String::new() };
        let mut question = question(key, form);
        question.lines = vec!["The primary is not readable: lag is the replica's own.".to_owned()];
        question.commands = vec!["aws rds restore-db-instance-from-db-snapshot".to_owned(); 9];
        let lines = frame(&question, 80, Some(&BACK()));
        assert!(lines.len() < 24 && lines.iter().all(|line| text::width(line) <= 80), "{lines:#?}");
        let page = crate::report::screens::page(&question, 'd').expect("all of it");
        assert!(page.iter().filter(|line| line.contains("2h40m old")).count() == 8, "{page:#?}");
        assert!(lines.iter().any(|line| line.contains("d details")), "{lines:#?}");
    }

    #[test]
    fn what_cannot_be_said_is_unknown_and_late_is_marked() {
        let mut all = candidates();
        all[0].loss = None;
        all[0].forecast = None;
        let back = Back { rto_max: Span::minutes(30), ..BACK() };
        let lines = table(&all, None, None, Some(&back), Room::Screen);
        assert!(lines[1].contains("unknown !"), "{}", lines[1]);
        assert!(lines[1].contains(" unknown   ") && !lines[1].contains("LATE"), "{}", lines[1]);
        assert!(lines[3].contains("0:50 of 0:30 LATE"), "{}", lines[3]);
        assert!(!lines.iter().any(|line| line.starts_with(['*', '!'])), "{lines:?}");
    }
}
