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

/// Returns the candidates as a numbered table of at most 78 columns.
pub(crate) fn table(
    candidates: &[Candidate],
    best: Option<&str>,
    loss_max: Option<Span>,
    back: Option<&Back>,
) -> Vec<String> {
    let ids = candidates.iter().map(|candidate| text::width(&candidate.id)).max();
    let ids = ids.unwrap_or(0).clamp(6, 14);
    let mut lines = vec![line(" ", "", ids, "which", ["loses", "takes", "data back", "undo"])];
    for (at, candidate) in candidates.iter().enumerate() {
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
        lines.push(format!("      {}", text::clip(&candidate.title, 70)));
        if let Some(why) = &candidate.unusable {
            lines.extend(text::block(&format!("cannot be taken: {why}"), 78, 6));
        }
    }
    if let Some(max) = loss_max {
        lines.push(format!("! more than {} is lost: asked about again, to be typed", about(max)));
    }
    if best.is_some() {
        lines.push("* the least loss among those that are back in time".to_owned());
    }
    lines
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

    #[test]
    fn what_cannot_be_said_is_unknown_and_late_is_marked() {
        let mut all = candidates();
        all[0].loss = None;
        all[0].forecast = None;
        let back = Back { rto_max: Span::minutes(30), ..BACK() };
        let lines = table(&all, None, None, Some(&back));
        assert!(lines[1].contains("unknown !"), "{}", lines[1]);
        assert!(lines[1].contains(" unknown   ") && !lines[1].contains("LATE"), "{}", lines[1]);
        assert!(lines[3].contains("0:50 of 0:30 LATE"), "{}", lines[3]);
        assert!(!lines.iter().any(|line| line.starts_with(['*', '!'])), "{lines:?}");
    }
}
