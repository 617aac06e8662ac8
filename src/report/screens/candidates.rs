//! The table of ways to choose from, e.g. recovery points, with what each costs.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;

use crate::clock::since;
use crate::event::{AnswerForm, Question, QuestionKey};
use crate::ids::StepId;
use crate::outcome::Candidate;
use crate::report::text::{self, about, minutes};
use crate::span::Span;

/// What is known when a way must be chosen.
#[derive(Debug, Clone)]
pub(crate) struct CandidatesView {
    pub step: StepId,
    pub title: String,
    pub candidates: Vec<Candidate>,
    /// Id of the one the program would take
    pub best: Option<String>,
    pub incident_started: Timestamp,
    pub now: Timestamp,
    pub rto_max: Option<Span>,
    /// More loss than this must be typed
    pub loss_max: Option<Span>,
    /// What follows after the choice is carried out, e.g. repoint and traffic
    pub rest: Duration,
}

impl CandidatesView {
    /// Returns when service is back with a candidate, since the incident began.
    pub(crate) fn back_after(&self, candidate: &Candidate) -> Option<Duration> {
        let forecast = candidate.forecast?.duration();
        Some(since(self.incident_started, self.now) + forecast + self.rest)
    }

    /// Says whether a candidate keeps the longest time allowed; `None` when it cannot be said.
    pub(crate) fn in_time(&self, candidate: &Candidate) -> Option<bool> {
        Some(self.back_after(candidate)? <= self.rto_max?.duration())
    }
}

/// Returns the question which way to take.
pub(crate) fn question(view: &CandidatesView) -> Question {
    let mut lines = table(view);
    lines.push(String::new());
    if let Some(max) = view.loss_max {
        lines
            .push(format!("A loss of more than {} is asked about again, to be typed.", about(max)));
    }
    if let Some(best) = &view.best {
        lines.push(format!("The least loss that is back in time: {best} (marked *)"));
    }
    Question {
        key: QuestionKey::Choice { step: view.step.clone() },
        title: view.title.clone(),
        lines,
        commands: Vec::new(),
        no_means: "nothing is chosen; the run is saved and stops".to_owned(),
        form: AnswerForm::Candidates {
            candidates: view.candidates.clone(),
            loss_max: view.loss_max,
            best: view.best.clone(),
        },
        pages: BTreeMap::new(),
    }
}

/// Returns the candidates as a numbered table of at most 78 columns.
pub(crate) fn table(view: &CandidatesView) -> Vec<String> {
    let limit = view.rto_max.map(|max| format!(" of {}", minutes(max.duration())));
    let ids = view.candidates.iter().map(|candidate| text::width(&candidate.id)).max();
    let ids = ids.unwrap_or(0).clamp(6, 14);
    let mut lines = vec![format!(
        "    {}  {:<10} {:<9} {:<16} {}",
        text::fill("which", ids),
        "loses",
        "takes",
        "service back",
        "undo",
    )];
    for (at, candidate) in view.candidates.iter().enumerate() {
        let mark = if view.best.as_ref() == Some(&candidate.id) { '*' } else { ' ' };
        let over = candidate.loss.zip(view.loss_max).is_some_and(|(loss, max)| loss > max);
        let loss = match candidate.loss {
            Some(loss) => format!("{}{}", about(loss), if over { " !" } else { "" }),
            None => "unknown !".to_owned(),
        };
        let takes = candidate.forecast.map_or("unknown".to_owned(), about);
        let back = match (view.back_after(candidate), view.in_time(candidate)) {
            (Some(back), Some(true)) => {
                format!("{}{}", minutes(back), limit.clone().unwrap_or_default())
            }
            (Some(back), Some(false)) => {
                format!("{}{} LATE", minutes(back), limit.clone().unwrap_or_default())
            }
            (Some(back), None) => minutes(back),
            (None, _) => "unknown".to_owned(),
        };
        let undo = if candidate.reversible { "yes" } else { "NO" };
        lines.push(format!(
            "{mark}{:>2} {}  {loss:<10} {takes:<9} {back:<16} {undo}",
            at + 1,
            text::pad(&candidate.id, ids),
        ));
        lines.push(format!("      {}", text::clip(&candidate.title, 70)));
        if let Some(why) = &candidate.unusable {
            lines.extend(text::block(&format!("cannot be taken: {why}"), 78, 6));
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::fixtures::{at, candidates};
    use crate::report::screens::frame;

    fn view() -> CandidatesView {
        CandidatesView {
            step: "recovery_point".into(),
            title: "Which recovery point?".to_owned(),
            candidates: candidates(),
            best: Some("replica".to_owned()),
            incident_started: at("02:12:00"),
            now: at("02:18:09"),
            rto_max: Some(Span::minutes(240)),
            loss_max: Some(Span::minutes(30)),
            rest: Duration::from_secs(300),
        }
    }

    #[test]
    fn the_table_reads_like_this() {
        let lines = frame(&question(&view()), 80);
        assert!(lines.len() < 24 && lines.iter().all(|line| text::width(line) <= 80));
        insta::assert_snapshot!(lines.join("\n"), @r#"

    ? Which recovery point?
          which     loses      takes     service back     undo
      * 1 replica   7 s        12 min    0:23 of 4:00     NO
            replica phoenix-dr-replica
        2 backup    6 min      44 min    0:55 of 4:00     yes
            automated backup of phoenix-prod
        3 snapshot  2 h 10 !   unknown   unknown          yes
            snapshot phoenix-2026-07-14-00-02
            cannot be taken: status is `creating`, 40 % done

      A loss of more than 30 min is asked about again, to be typed.
      The least loss that is back in time: replica (marked *)
    No means: nothing is chosen; the run is saved and stops
    "#);
    }

    #[test]
    fn what_cannot_be_said_is_unknown_and_late_is_marked() {
        let mut view = view();
        view.candidates[0].loss = None;
        view.candidates[0].forecast = None;
        view.rto_max = Some(Span::minutes(30));
        view.best = None;
        let lines = table(&view);
        assert!(lines[1].contains("unknown !") && !lines[1].contains("LATE"), "{}", lines[1]);
        assert!(lines[3].contains("0:55 of 0:30 LATE"), "{}", lines[3]);
        assert_eq!(view.in_time(&view.candidates[0]), None);
        assert_eq!(view.in_time(&view.candidates[1]), Some(false));
    }
}
