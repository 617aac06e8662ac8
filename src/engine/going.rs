//! Asking whether to go: the gates' votes are kept fresh, the incident is dated, what blocks is not gone past.

use std::time::Duration;

use futures::future::join_all;
use jiff::Timestamp;
use tokio::sync::{mpsc, oneshot, watch};

use super::dispatcher::{Go, GoBuilder, Look};
use super::driver::{Halt, Message, Park};
use super::ports::Ports;
use super::scheduler::is_prelude;
use super::state::RunState;
use super::verify::{Poller, describe, worst};
use crate::clock::since;
use crate::event::{Answer, Event, Finding, FindingLevel, Question, QuestionKey};
use crate::ids::StepId;
use crate::outcome::{CheckReport, StepEnd, Verdict};
use crate::plan::{Body, CheckSpec};
use crate::runbook::expression::Scope;

/// Votes older than this say nothing about now: before a yes counts, the gates are looked at again.
const STALE: Duration = Duration::from_secs(120);

/// Asks until there is an answer. Works on a copy of the state, kept by the same fold.
pub(super) struct Going {
    pub build: GoBuilder,
    pub ports: Ports,
    pub state: RunState,
    /// Names for the gates' expressions
    pub scope: Scope,
    pub post: mpsc::UnboundedSender<Message>,
    pub halt: watch::Receiver<Halt>,
}

/// Returns what blocks, in a line.
fn blocking(findings: &[Finding]) -> Option<String> {
    let blocking: Vec<String> = findings
        .iter()
        .filter(|finding| finding.level == FindingLevel::Blocking)
        .map(|finding| format!("{}: {}", finding.about, finding.said))
        .collect();
    (!blocking.is_empty()).then(|| blocking.join("; "))
}

/// Returns the gates before go that no longer stand, each with what was seen last. One that was overridden stands
/// while it is in doubt; once it fails it is not met, whatever was said.
pub(crate) fn unmet(state: &RunState) -> Vec<(StepId, String)> {
    let unmet = |i: usize| {
        let seen = &state.steps[i];
        let verdict = worst(&seen.reports);
        let overridden = seen.reason.is_some();
        let stands = match verdict {
            Verdict::Holds => true,
            Verdict::Inconclusive => overridden,
            Verdict::Fails => false,
        };
        (!stands).then(|| (state.plan.steps[i].id.clone(), describe(verdict, &seen.reports)))
    };
    passed(state).filter_map(unmet).collect()
}

/// The gates that guard go and have been passed.
fn passed(state: &RunState) -> impl Iterator<Item = usize> + '_ {
    let done = |i: &usize| state.steps[*i].ended() == Some(StepEnd::Done);
    (0..state.steps.len()).filter(|i| is_prelude(state, *i)).filter(done)
}

impl Going {
    /// Asks. An error parks the run.
    pub(super) async fn ask(mut self) -> Result<(), Park> {
        self.date_by_signal();
        if self.stale() {
            self.look_at_gates().await?;
        }
        let mut look = Look::Anew;
        loop {
            let go = self.built(look).await?;
            let blocked = blocking(&go.findings);
            if look == Look::Anew {
                self.record(vec![Event::Preflight { findings: go.findings }]);
            }
            if let Some(why) = blocked.clone().filter(|_| !self.state.settings.interactive) {
                return Err(Park::NotMet(why));
            }
            if !self.state.settings.interactive && !go.missing.is_empty() {
                return Err(Park::Missing(go.missing.join(", ")));
            }
            look = Look::Anew;
            match self.put(go.question).await? {
                Answer::Yes if blocked.is_none() => {
                    if self.stale() {
                        self.look_at_gates().await?;
                    }
                    if unmet(&self.state).is_empty() {
                        return self.goes().await;
                    }
                }
                // Yes to a screen that says it is blocked only looks again.
                Answer::Yes | Answer::Recheck => self.look_at_gates().await?,
                Answer::Began { at } => {
                    let said = "an operator said so".to_owned();
                    self.record(vec![Event::IncidentDated { at, said }]);
                    look = Look::AsSeen;
                }
                Answer::Missing { flag } => return Err(Park::Missing(flag)),
                Answer::Nobody { why } => return Err(Park::Nobody(why)),
                Answer::No | Answer::Typed { .. } | Answer::Chosen { .. } | Answer::Menu { .. } => {
                    return Err(Park::Declined("the answer to go was no".to_owned()));
                }
            }
        }
    }

    /// Has the question built, unless the run is stopped first.
    async fn built(&mut self, look: Look) -> Result<Go, Park> {
        let building = (self.build)(self.state.clone(), look);
        let mut halt = self.halt.clone();
        // Building only reads: dropping it when the run is stopped loses nothing.
        tokio::select! {
            biased;
            _ = halt.wait_for(|halt| *halt != Halt::No) => Err(Park::Halted),
            go = building => Ok(go),
        }
    }

    async fn put(&self, question: Question) -> Result<Answer, Park> {
        let (reply, answered) = oneshot::channel();
        drop(self.post.send(Message::Ask { question: Box::new(question), reply }));
        answered.await.map_err(|_| Park::Halted)
    }

    /// Makes the yes durable. It was not journalled when it was given: the gates had to stand first.
    async fn goes(&mut self) -> Result<(), Park> {
        let yes = Event::Decided { question: QuestionKey::Go, answer: Answer::Yes };
        let (synced, done) = oneshot::channel();
        drop(self.post.send(Message::Record { events: vec![yes], synced: Some(synced) }));
        done.await.map_err(|_| Park::Journal)
    }

    fn record(&mut self, events: Vec<Event>) {
        let now = self.ports.clock.now();
        for event in &events {
            self.state.apply(event, now).expect("only what may be recorded before go");
        }
        drop(self.post.send(Message::Record { events, synced: None }));
    }

    /// Where nobody said when the incident began, it began with the first signal that failed.
    fn date_by_signal(&mut self) {
        if self.state.dated {
            return;
        }
        let reports = passed(&self.state).flat_map(|i| &self.state.steps[i].reports);
        let votes = reports.flat_map(|report| &report.votes);
        let failed = votes.filter(|vote| vote.verdict == Verdict::Holds);
        let Some(first) = failed.min_by_key(|vote| vote.at) else { return };
        let said = format!("the first signal that failed: {}", first.title);
        let at = first.at;
        self.record(vec![Event::IncidentDated { at, said }]);
    }

    /// Says whether any gate's votes are too old to go by.
    fn stale(&self) -> bool {
        let now = self.ports.clock.now();
        let newest = |reports: &[CheckReport]| reports.iter().map(|report| report.at).max();
        let looked: Vec<Timestamp> =
            passed(&self.state).filter_map(|i| newest(&self.state.steps[i].reports)).collect();
        looked.into_iter().any(|at| since(at, now) > STALE)
    }

    /// Looks at all gates again, at the same time; what was seen is recorded and decides from then on.
    async fn look_at_gates(&mut self) -> Result<(), Park> {
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
}
