//! The gates that guard go: whether what they saw still stands, before go and ever after while all can be taken back.
//!
//! A region that was gone when a person said go may be back when the run is taken up again, or when a question has been
//! open for an hour: then fencing or promoting does the harm it was to undo.

use std::time::Duration;

use futures::future::join_all;
use jiff::Timestamp;
use tokio::sync::{mpsc, oneshot, watch};

use super::driver::{Halt, Message, Park};
use super::ports::Ports;
use super::scheduler::is_prelude;
use super::state::RunState;
use super::verify::{Poller, describe, report_lines, worst};
use crate::clock::since;
use crate::event::{Answer, AnswerForm, Event, Question, QuestionKey};
use crate::ids::StepId;
use crate::outcome::{CheckReport, StepEnd, Verdict};
use crate::plan::{Body, CheckSpec};
use crate::runbook::expression::Scope;
use crate::span::Span;

/// Votes older than this say nothing about now.
const STALE: Duration = Duration::from_secs(120);

/// The gates before go and what they saw. Works on a copy of the state, kept by the same fold.
pub(super) struct Gates {
    pub ports: Ports,
    pub state: RunState,
    /// Names for the gates' expressions
    pub scope: Scope,
    pub post: mpsc::UnboundedSender<Message>,
    pub halt: watch::Receiver<Halt>,
}

/// Returns the gates before go that no longer stand, each with what was seen last. One that was overridden stands
/// while it is in doubt; once it fails it is not met, whatever was said.
pub(crate) fn unmet(state: &RunState) -> Vec<(StepId, String)> {
    let said = |i: usize| {
        let reports = &state.steps[i].reports;
        (state.plan.steps[i].id.clone(), describe(worst(reports), reports))
    };
    passed(state).filter(|i| !stands(state, *i)).map(said).collect()
}

fn stands(state: &RunState, i: usize) -> bool {
    let seen = &state.steps[i];
    match worst(&seen.reports) {
        Verdict::Holds => true,
        Verdict::Inconclusive => {
            let step = state.plan.steps[i].id.clone();
            seen.reason.is_some() || state.answers.contains_key(&QuestionKey::Override { step })
        }
        Verdict::Fails => false,
    }
}

/// The gates that guard go and have been passed.
pub(super) fn passed(state: &RunState) -> impl Iterator<Item = usize> + '_ {
    let done = |i: &usize| state.steps[*i].ended() == Some(StepEnd::Done);
    (0..state.steps.len()).filter(|i| is_prelude(state, *i)).filter(done)
}

impl Gates {
    /// Says whether any gate's votes are too old to go by.
    pub(super) fn stale(&self) -> bool {
        let now = self.ports.clock.now();
        let newest = |reports: &[CheckReport]| reports.iter().map(|report| report.at).max();
        let looked: Vec<Timestamp> =
            passed(&self.state).filter_map(|i| newest(&self.state.steps[i].reports)).collect();
        looked.into_iter().any(|at| since(at, now) > STALE)
    }

    /// Looks at all gates again, at the same time; what was seen is recorded and decides from then on.
    pub(super) async fn look(&mut self) -> Result<(), Park> {
        let gates: Vec<(StepId, Vec<CheckSpec>)> = passed(&self.state)
            .filter_map(|i| {
                let step = &self.state.plan.steps[i];
                let Body::Gate { checks } = &step.body else { return None };
                Some((step.id.clone(), checks.clone()))
            })
            .collect();
        let looks = gates.into_iter().map(|(step, checks)| {
            let (ports, halt) = (self.ports.clone(), self.halt.clone());
            let scope = &self.scope;
            async move {
                let mut poller = Poller { ports, halt, progress: None };
                let (verdict, reports) = poller.poll_all(&checks, scope).await?;
                Ok(Event::GateSeen { step, verdict, reports })
            }
        });
        let seen: Result<Vec<Event>, Park> = join_all(looks).await.into_iter().collect();
        self.record(seen?);
        Ok(())
    }

    /// Looks again where the votes are old; parks the run where a gate does not stand any more. Returns what the gates
    /// saw last, in lines.
    ///
    /// After a point of no return there is only forward, whatever the gates say.
    pub(super) async fn stand(mut self) -> Result<Vec<String>, Park> {
        if self.state.past() {
            return Ok(Vec::new());
        }
        // One that had fallen may be standing again.
        if self.stale() || !self.fallen().is_empty() {
            self.look().await?;
        }
        for i in self.fallen() {
            self.override_doubt(i).await?;
        }
        let now = self.ports.clock.now();
        let told = |report: &CheckReport| {
            let mut lines = report_lines(report);
            let age = Duration::from_secs(since(report.at, now).as_secs());
            lines.push(format!("  seen {} ago", Span(age)));
            lines
        };
        let reports = passed(&self.state).flat_map(|i| &self.state.steps[i].reports);
        Ok(reports.flat_map(told).collect())
    }

    fn fallen(&self) -> Vec<usize> {
        passed(&self.state).filter(|i| !stands(&self.state, *i)).collect()
    }

    /// Goes on past a gate in doubt with a reason, given beforehand or typed now; past one that fails not at all.
    async fn override_doubt(&mut self, i: usize) -> Result<(), Park> {
        let planned = &self.state.plan.steps[i];
        let reports = &self.state.steps[i].reports;
        let step = planned.id.clone();
        let verdict = worst(reports);
        let seen = describe(verdict, reports);
        let not_met = || Park::NotMet(format!("`{step}` no longer stands: it {seen}"));
        if verdict == Verdict::Fails {
            return Err(not_met());
        }
        let key = QuestionKey::Override { step: step.clone() };
        if let Some(reason) = self.state.settings.overrides.get(&step.0) {
            let answer = Answer::Typed { text: reason.clone() };
            self.record(vec![Event::Decided { question: key, answer }]);
            return Ok(());
        }
        if !self.state.settings.interactive {
            return Err(not_met());
        }
        let question = Question {
            key,
            title: format!("In doubt since go: {}", planned.title),
            lines: reports.iter().flat_map(report_lines).collect(),
            commands: Vec::new(),
            no_means: "nothing more is changed; the run is saved and can be resumed".to_owned(),
            form: AnswerForm::Reason,
            pages: Default::default(),
        };
        let (reply, answered) = oneshot::channel();
        drop(self.post.send(Message::Ask { question: Box::new(question), reply }));
        match answered.await {
            Ok(Answer::Typed { .. }) => Ok(()),
            Ok(Answer::Nobody { why }) => Err(Park::Nobody(why)),
            Ok(Answer::Missing { flag }) => Err(Park::Missing(flag)),
            Ok(_) => Err(not_met()),
            Err(_) => Err(Park::Halted),
        }
    }

    /// Records what was found, in the run and in the copy.
    pub(super) fn record(&mut self, events: Vec<Event>) {
        let now = self.ports.clock.now();
        for event in &events {
            self.state.apply(event, now).expect("only what may be recorded of a gate");
        }
        drop(self.post.send(Message::Record { events, synced: None }));
    }
}
