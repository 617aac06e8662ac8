//! Asking whether to go: the gates' votes are kept fresh, the incident is dated, what blocks is not gone past.

use tokio::sync::oneshot;

use super::dispatcher::{Go, GoBuilder, Look};
use super::driver::{Halt, Message, Park};
use super::gates::{Gates, passed, unmet};
use crate::event::{Answer, Event, Finding, FindingLevel, Question, QuestionKey};
use crate::outcome::Verdict;

/// Asks until there is an answer. Works on a copy of the state, kept by the same fold.
pub(super) struct Going {
    pub build: GoBuilder,
    /// Looked at again before a yes counts, where their votes are old
    pub gates: Gates,
}

/// Returns what blocks, in a line.
fn blocking(findings: &[Finding]) -> Option<String> {
    let blocking: Vec<String> = findings
        .iter()
        .filter(|finding| finding.level == FindingLevel::Blocking)
        .map(|Finding { about, said, hint, .. }| match hint {
            Some(hint) => format!("{about}: {said}; {hint}"),
            None => format!("{about}: {said}"),
        })
        .collect();
    (!blocking.is_empty()).then(|| blocking.join("; "))
}

impl Going {
    /// Asks. An error parks the run.
    pub(super) async fn ask(mut self) -> Result<(), Park> {
        self.date_by_signal();
        if self.gates.stale() {
            self.gates.look().await?;
        }
        let mut look = Look::Anew;
        loop {
            let go = self.built(look).await?;
            let blocked = blocking(&go.findings);
            if look == Look::Anew {
                self.gates.record(vec![Event::Preflight { findings: go.findings }]);
            }
            if let Some(why) = blocked.clone().filter(|_| !self.gates.state.settings.interactive) {
                return Err(Park::NotMet(why));
            }
            if !self.gates.state.settings.interactive && !go.missing.is_empty() {
                return Err(Park::Missing(go.missing.join(", ")));
            }
            look = Look::Anew;
            match self.put(go.question).await? {
                Answer::Yes if blocked.is_none() => {
                    if self.gates.stale() {
                        self.gates.look().await?;
                    }
                    if unmet(&self.gates.state).is_empty() {
                        return self.goes().await;
                    }
                }
                // Yes to a screen that says it is blocked only looks again.
                Answer::Yes | Answer::Recheck => self.gates.look().await?,
                Answer::Began { at } => {
                    let said = "an operator said so".to_owned();
                    self.gates.record(vec![Event::IncidentDated { at, said }]);
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
        let building = (self.build)(self.gates.state.clone(), look);
        let mut halt = self.gates.halt.clone();
        // Building only reads: dropping it when the run is stopped loses nothing.
        tokio::select! {
            biased;
            _ = halt.wait_for(|halt| *halt != Halt::No) => Err(Park::Halted),
            go = building => Ok(go),
        }
    }

    async fn put(&self, question: Question) -> Result<Answer, Park> {
        let (reply, answered) = oneshot::channel();
        drop(self.gates.post.send(Message::Ask { question: Box::new(question), reply }));
        answered.await.map_err(|_| Park::Halted)
    }

    /// Makes the yes durable. It was not journalled when it was given: the gates had to stand first.
    async fn goes(&mut self) -> Result<(), Park> {
        let yes = Event::Decided { question: QuestionKey::Go, answer: Answer::Yes };
        let (synced, done) = oneshot::channel();
        drop(self.gates.post.send(Message::Record { events: vec![yes], synced: Some(synced) }));
        done.await.map_err(|_| Park::Journal)
    }

    /// Where nobody said when the incident began, it began with the first signal that failed.
    fn date_by_signal(&mut self) {
        if self.gates.state.dated {
            return;
        }
        let reports = passed(&self.gates.state).flat_map(|i| &self.gates.state.steps[i].reports);
        let votes = reports.flat_map(|report| &report.votes);
        let failed = votes.filter(|vote| vote.verdict == Verdict::Holds);
        let Some(first) = failed.min_by_key(|vote| vote.at) else { return };
        let said = format!("the first signal that failed: {}", first.title);
        let at = first.at;
        self.gates.record(vec![Event::IncidentDated { at, said }]);
    }
}
