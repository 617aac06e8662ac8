//! Where the time of a run went: to the cloud, to attempts that came to nothing, to people, or to the program itself.
//!
//! Steps run side by side, and a question is open while others go on: each instant counts once, for the first of these
//! that holds. A step is being carried out by an attempt that came to something, or by one that is still under way; an
//! attempt that failed is being made, or is waited after before the next one; a person is being asked; none of these,
//! which leaves looks before a step, gates, checks at the end, pauses, and the program's own work.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;

use super::view::ViewState;
use crate::clock::since;
use crate::event::{Answer, Event, Question, Record, RevertResult};
use crate::ids::StepId;
use crate::outcome::StepEnd;
use crate::span::Span;

/// How the time of a run was spent; the four are all of it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Spent {
    pub people: Duration,
    pub cloud: Duration,
    pub retries: Duration,
    pub program: Duration,
}

type Interval = (Timestamp, Timestamp);

/// A question, from when it was put to its answer, or to when nobody waited for one any more.
#[derive(Debug, Clone)]
pub(super) struct Wait<'a> {
    pub question: &'a Question,
    /// Place of the record that put it last
    pub asked: usize,
    pub since: Timestamp,
    pub until: Timestamp,
    /// Its answer, with the record of it
    pub answer: Option<(&'a Answer, &'a Record)>,
    /// The part in which nothing else went on, counted for no question before it: all of these are the time of people
    pub alone: Duration,
}

/// The times in which steps, or their reverts, were being carried out.
#[derive(Debug, Default)]
struct Carried {
    /// By attempts that came to something, or are under way
    well: Vec<Interval>,
    /// By attempts that failed, up to the next one where there is one
    failed: Vec<Interval>,
}

impl Spent {
    /// Measures a run up to an instant.
    pub(super) fn of(records: &[Record], view: &ViewState, until: Timestamp) -> Self {
        let Carried { well, failed } = carried(records, until);
        let (well, failed) = (union(well), union(failed));
        let length = view.started.map_or(Duration::ZERO, |started| since(started, until));
        let people = waits(records, until).iter().map(|wait| wait.alone).sum();
        let cloud = total(&well);
        let retries = total(&without(&failed, &well));
        let program = length.saturating_sub(people + cloud + retries);
        Self { people, cloud, retries, program }
    }

    /// Returns the four, in the order of the fields, in whole seconds that make up the whole seconds of all of it: what
    /// is lost by cutting them off goes to those that lose most.
    pub(super) fn seconds(self) -> [Span; 4] {
        let parts = [self.people, self.cloud, self.retries, self.program];
        let mut seconds = [0; 4];
        in_seconds(&parts, parts.iter().sum::<Duration>().as_secs(), &mut seconds);
        seconds.map(Span::seconds)
    }
}

/// Cuts lengths to whole seconds that make up `sum`; what is lacking goes to those that lose most.
pub(super) fn in_seconds(parts: &[Duration], sum: u64, seconds: &mut [u64]) {
    for (seconds, part) in seconds.iter_mut().zip(parts) {
        *seconds = part.as_secs();
    }
    let missing = sum.saturating_sub(seconds.iter().sum());
    let mut by_loss: Vec<usize> = (0..parts.len()).collect();
    by_loss.sort_by_key(|part| std::cmp::Reverse(parts[*part].subsec_nanos()));
    by_loss.into_iter().zip(0..missing).for_each(|(part, _)| seconds[part] += 1);
}

/// Returns every question that was put, in the order it was put first.
pub(super) fn waits(records: &[Record], until: Timestamp) -> Vec<Wait<'_>> {
    let mut waits = put(records, until);
    waits.sort_by_key(|wait| wait.since);
    let Carried { well, failed } = carried(records, until);
    let mut taken = union([well, failed].concat());
    for wait in &mut waits {
        let alone = without(&[(wait.since, wait.until)], &taken);
        wait.alone = total(&alone);
        taken = union([taken, alone].concat());
    }
    waits
}

fn put(records: &[Record], until: Timestamp) -> Vec<Wait<'_>> {
    let (mut open, mut all): (Vec<Wait<'_>>, Vec<Wait<'_>>) = (Vec::new(), Vec::new());
    let mut last = until;
    for (asked, record) in records.iter().enumerate() {
        let now = record.time;
        match &record.event {
            Event::Asked { question } => {
                let question: &Question = question;
                match open.iter_mut().find(|wait| wait.question.key == question.key) {
                    // Put anew after a look, it goes on waiting since it was first put.
                    Some(wait) => {
                        wait.question = question;
                        wait.asked = asked;
                    }
                    None => {
                        let (since, alone) = (now, Duration::ZERO);
                        open.push(Wait { question, asked, since, until, answer: None, alone });
                    }
                }
            }
            Event::Decided { question, answer } => {
                let of = |wait: &Wait<'_>| wait.question.key == *question;
                if let Some(at) = open.iter().position(of) {
                    let wait = open.remove(at);
                    all.push(Wait { until: now, answer: Some((answer, record)), ..wait });
                }
            }
            Event::RunStopped { .. } | Event::RunFinished { .. } => {
                all.extend(open.drain(..).map(|wait| Wait { until: now, ..wait }));
            }
            // Of a process that was lost nobody knows until when it asked.
            Event::RunResumed { .. } | Event::RunAbandoned { .. } => {
                all.extend(open.drain(..).map(|wait| Wait { until: last, ..wait }));
            }
            _ => {}
        }
        last = now;
    }
    all.extend(open);
    all
}

/// A process that is gone carries nothing out; what a service did meanwhile is not on record.
fn carried(records: &[Record], until: Timestamp) -> Carried {
    let mut open: BTreeMap<&StepId, Timestamp> = BTreeMap::new();
    let mut carried = Carried::default();
    let mut last = until;
    for record in records {
        let (now, Carried { well, failed }) = (record.time, &mut carried);
        match &record.event {
            // The attempt before it came to nothing; what was waited since belongs to that one.
            Event::StepStarted { step, .. } => {
                failed.extend(open.insert(step, now).map(|from| (from, now)));
            }
            Event::RevertStarted { step, .. } => {
                well.extend(open.insert(step, now).map(|from| (from, now)));
            }
            Event::StepFailed { step, .. }
            | Event::StepFinished { step, end: StepEnd::Failed, .. }
            | Event::RevertFinished {
                step,
                result: RevertResult::Failed { .. } | RevertResult::Conflict { .. },
            } => {
                failed.extend(open.remove(step).map(|from| (from, now)));
            }
            Event::StepFinished { step, .. } | Event::RevertFinished { step, .. } => {
                well.extend(open.remove(step).map(|from| (from, now)));
            }
            Event::RunStopped { .. } => {
                well.extend(std::mem::take(&mut open).into_values().map(|from| (from, now)));
            }
            Event::RunResumed { .. } | Event::RunAbandoned { .. } => {
                well.extend(std::mem::take(&mut open).into_values().map(|from| (from, last)));
            }
            _ => {}
        }
        last = now;
    }
    carried.well.extend(open.into_values().map(|from| (from, until)));
    carried
}

/// Returns the intervals without overlaps, in order.
fn union(mut intervals: Vec<Interval>) -> Vec<Interval> {
    intervals.sort_unstable();
    let mut joined: Vec<Interval> = Vec::new();
    for (from, to) in intervals {
        match joined.last_mut() {
            Some((_, end)) if from <= *end => *end = (*end).max(to),
            Some(_) | None => joined.push((from, to)),
        }
    }
    joined
}

/// Returns what of `these` lies in none of `those`; both without overlaps and in order.
fn without(these: &[Interval], those: &[Interval]) -> Vec<Interval> {
    let mut left = Vec::new();
    for (mut from, to) in these.iter().copied() {
        for (cut, end) in those.iter().copied() {
            if end <= from || cut >= to {
                continue;
            }
            if cut > from {
                left.push((from, cut));
            }
            from = from.max(end);
        }
        if from < to {
            left.push((from, to));
        }
    }
    left
}

fn total(intervals: &[Interval]) -> Duration {
    intervals.iter().map(|(from, to)| since(*from, *to)).sum()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::{Answer, AnswerForm, AttemptResult, QuestionKey};
    use crate::report::fixtures::{Script, at, failure, question};

    fn spent(script: &Script, until: &str) -> Spent {
        Spent::of(&script.records, &ViewState::fold(&script.records), at(until))
    }

    fn seconds(spent: Spent) -> [u64; 4] {
        [spent.people, spent.cloud, spent.retries, spent.program].map(|part| part.as_secs())
    }

    fn asked(script: Script, from: &str, to: &str) -> Script {
        script.ask(from, to, question(QuestionKey::Go, AnswerForm::YesNo), Answer::Yes)
    }

    /// An attempt of which nothing came, though a retry is left.
    fn failed(script: Script, from: &str, to: &str, step: &str) -> Script {
        let result = AttemptResult::Failed { error: failure() };
        let ended = Event::AttemptFinished { step: step.into(), attempt: 1, result };
        script.start(from, step).event(to, ended)
    }

    #[test]
    fn a_question_a_retry_and_a_long_wait_make_up_the_whole() {
        // The run begins at 02:18:00.
        let script = asked(Script::started(), "02:18:20", "02:19:00");
        let script = failed(script, "02:19:10", "02:19:15", "capacity");
        let script =
            script.done("02:19:45", "02:29:45", "capacity").done("02:30:00", "02:31:00", "p1");
        let spent = spent(&script, "02:32:00");
        // Asked 40 s; carried out 10 min and 1 min; 5 s failed and 30 s of waiting; the rest is nobody's.
        assert_eq!(seconds(spent), [40, 660, 35, 20 + 10 + 15 + 60]);
        let whole = since(at("02:18:00"), at("02:32:00"));
        assert_eq!(spent.people + spent.cloud + spent.retries + spent.program, whole);
    }

    #[test]
    fn the_time_of_people_is_that_of_the_questions_one_by_one() {
        // Two questions are open at once, and the second one goes on while a step does; a third one has no answer.
        let key = |step: &str| QuestionKey::Override { step: step.into() };
        let put = |step: &str| Event::Asked {
            question: Box::new(question(key(step), AnswerForm::Reason)),
        };
        let typed = || Answer::Typed { text: "seen it".to_owned() };
        let decided = |step: &str| Event::Decided { question: key(step), answer: typed() };
        let script = Script::started()
            .event("02:20:00", put("one"))
            .event("02:20:30", put("other"))
            .event("02:21:00", decided("one"))
            .start("02:21:30", "capacity")
            .event("02:22:00", decided("other"))
            .end("02:23:00", "capacity", StepEnd::Done)
            .event("02:24:00", put("third"))
            .event("02:24:20", Event::RunStopped { why: "SIGTERM".to_owned(), exit: 13 })
            .event("09:00:00", Event::RunAbandoned { reason: "so".into(), still_changed: vec![] });
        let waits = waits(&script.records, at("09:00:00"));
        let alone: Vec<u64> = waits.iter().map(|wait| wait.alone.as_secs()).collect();
        assert_eq!(alone, [60, 30, 20]);
        let took: Vec<u64> =
            waits.iter().map(|wait| since(wait.since, wait.until).as_secs()).collect();
        assert_eq!(took, [60, 90, 20]);
        assert!(waits[2].answer.is_none());
        assert_eq!(spent(&script, "09:00:00").people.as_secs(), 110);
        // Of a process that was lost the wait is known up to its last record.
        let lost = Script::started().event("02:20:00", put("one")).start("02:20:40", "p1");
        let settings = crate::journal::fixtures::settings();
        let resumed = Event::RunResumed { settings, version: "0".to_owned() };
        let given_up = Event::RunAbandoned { reason: "so".into(), still_changed: vec![] };
        for later in [resumed, given_up] {
            let lost = lost.clone().event("03:00:00", later);
            let spent = spent(&lost, "03:00:00");
            assert_eq!((spent.people.as_secs(), spent.cloud.as_secs()), (40, 0));
        }
    }

    #[test]
    fn what_goes_on_side_by_side_counts_once() {
        // While `fence` fails and is tried again, `capacity` is carried out for a part of it, and a person is asked.
        let script = failed(Script::started(), "02:20:00", "02:20:10", "fence");
        let script = script.start("02:21:00", "capacity");
        let script = asked(script, "02:21:30", "02:24:30");
        let script = script.end("02:22:00", "capacity", StepEnd::Done);
        let script = script.done("02:24:00", "02:25:00", "fence");
        let spent = spent(&script, "02:25:00");
        assert_eq!(spent.cloud.as_secs(), 60 + 60);
        assert_eq!(spent.retries.as_secs(), 60 + 120, "while nothing came to anything");
        assert_eq!(spent.people.as_secs(), 0, "while others went on");
        let whole = since(at("02:18:00"), at("02:25:00"));
        assert_eq!(spent.people + spent.cloud + spent.retries + spent.program, whole);
    }

    #[test]
    fn whole_seconds_make_up_the_whole_too() {
        let part = Duration::from_millis;
        let spent =
            Spent { people: part(900), cloud: part(1_800), retries: part(700), program: part(650) };
        assert_eq!(spent.seconds(), [1, 2, 1, 0].map(Span::seconds));
        let spent = Spent { people: part(400), ..Spent::default() };
        assert_eq!(spent.seconds(), [0, 0, 0, 0].map(Span::seconds));
    }

    #[test]
    fn intervals_join_and_cut() {
        let seconds = |list: &[(u8, u8)]| -> Vec<Interval> {
            let time = |second: &u8| at(&format!("02:00:{second:02}"));
            list.iter().map(|(from, to)| (time(from), time(to))).collect()
        };
        assert_eq!(union(seconds(&[(5, 9), (1, 3), (2, 4), (9, 10)])), seconds(&[(1, 4), (5, 10)]));
        for (these, those, left) in [
            (vec![(0, 10)], vec![(2, 3), (5, 20)], vec![(0, 2), (3, 5)]),
            (vec![(0, 10)], vec![(0, 10)], vec![]),
            (vec![(0, 2), (4, 6)], vec![(1, 5)], vec![(0, 1), (5, 6)]),
            (vec![(3, 5)], vec![(0, 1), (9, 10)], vec![(3, 5)]),
        ] {
            assert_eq!(without(&seconds(&these), &seconds(&those)), seconds(&left));
        }
    }
}
