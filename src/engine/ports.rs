//! What the engine asks of the world: five traits and the values that cross them.
//!
//! The engine knows no cloud, cluster, terminal or file. Tests implement these with scripts on a manual clock.

use std::sync::Arc;

use futures::future::BoxFuture;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use tokio::sync::mpsc;

use crate::event::{Answer, Question, Record};
use crate::ids::{RunId, StepId};
use crate::outcome::{ActionError, Candidate, CheckReport, Difference, Fidelity, Obligation};
use crate::plan::CheckSpec;

/// Proof that an operator armed this run: every mutating call takes one.
///
/// Minted in `commands` only, after go; a dry run never has one.
#[derive(Debug)]
pub(crate) struct Armed(());

impl Armed {
    /// Mints the token; `tests/architecture.rs` holds that only `commands` calls this outside tests.
    pub(crate) const fn mint() -> Self {
        Self(())
    }
}

/// One step's action with everything resolved.
#[derive(Debug, Clone)]
pub(crate) struct Call {
    pub run: RunId,
    pub step: StepId,
    /// Action name of the catalogue, e.g. `kubernetes.scale`
    pub action: String,
    /// Arguments with every expression evaluated
    pub with: Map<String, Value>,
    /// Counts the times the step was begun anew after a revert; part of the token
    pub generation: u32,
    /// What the operator chose from `Observation::choices`, when there was a choice
    pub choice: Option<Candidate>,
    pub progress: Progress,
}

impl Call {
    /// Returns the idempotency token `run/step/generation`.
    pub(crate) fn token(&self) -> String {
        format!("{}/{}/{}", self.run, self.step, self.generation)
    }
}

/// Ephemeral news of a running step: shown, never journalled, may be dropped.
#[derive(Debug, Clone)]
pub(crate) struct Progress {
    step: StepId,
    sink: mpsc::UnboundedSender<ProgressNote>,
    deadline: Option<Timestamp>,
}

/// One piece of ephemeral news.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct ProgressNote {
    pub step: StepId,
    /// Present state in a few words, e.g. `creating, 3 of 5 ready`
    pub said: String,
    /// Done part, 0 to 1, where it is known
    pub fraction: Option<f32>,
}

impl Progress {
    /// Returns a sender for one step.
    pub(crate) const fn new(step: StepId, sink: mpsc::UnboundedSender<ProgressNote>) -> Self {
        Self { step, sink, deadline: None }
    }

    /// Says when the attempt will be ended: an action that waits ends by itself before, to say why.
    #[must_use]
    pub(crate) const fn until(mut self, deadline: Timestamp) -> Self {
        self.deadline = Some(deadline);
        self
    }

    /// Returns when the attempt will be ended, where that is known.
    pub(crate) const fn deadline(&self) -> Option<Timestamp> {
        self.deadline
    }

    /// Tells how far the step is. Nobody listening is fine.
    pub(crate) fn tell(&self, said: impl Into<String>, fraction: Option<f32>) {
        let note = ProgressNote { step: self.step.clone(), said: said.into(), fraction };
        drop(self.sink.send(note));
    }
}

/// What an action saw, by reads only.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Observation {
    /// Present state in the action's own canonical shape: the before-image. Nothing volatile
    /// (resource versions, timestamps) may be in it, for revert compares it.
    pub live: Value,
    /// State the action will bring about, in the same shape
    pub desired: Value,
    /// The present state is as desired; nothing to do
    pub satisfied: bool,
    /// This run's earlier attempt is still being carried out by the service (adopt it, do not start it again)
    pub under_way: bool,
    pub differences: Vec<Difference>,
    /// Why it cannot be undone, when it cannot
    pub irreversible: Option<String>,
    /// Facts an operator should see, one a line
    pub evidence: Vec<String>,
    /// Ways to choose from; the engine asks, and puts the answer in `Call::choice`
    pub choices: Vec<Candidate>,
    /// The action cannot be done; an operator may go on without it by typing a word
    pub waiver: Option<Waiver>,
    /// A person does it: what to ask them
    pub by_hand: Option<ByHand>,
    /// The live state says whether an earlier attempt took effect; false: only a person can tell
    pub tells: bool,
    /// What perform needs and is no state: resource versions, ids
    pub context: Value,
    /// Equivalent commands a person could type
    pub commands: Vec<String>,
    /// Outputs when already satisfied, for dependents
    pub outputs: Map<String, Value>,
    /// What stays open when already satisfied: what `perform` would have left open, for one whose end was lost
    pub obligations: Vec<Obligation>,
    pub fidelity: Fidelity,
}

impl Observation {
    /// Returns an observation of a state and a desired state, satisfied when they are equal.
    pub(crate) fn new(live: Value, desired: Value) -> Self {
        Self {
            satisfied: live == desired,
            live,
            desired,
            under_way: false,
            differences: Vec::new(),
            irreversible: None,
            evidence: Vec::new(),
            choices: Vec::new(),
            waiver: None,
            by_hand: None,
            tells: true,
            context: Value::Null,
            commands: Vec::new(),
            outputs: Map::new(),
            obligations: Vec::new(),
            fidelity: Fidelity::Observed,
        }
    }
}

/// How to go on without an action that cannot be done.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Waiver {
    /// Why it cannot be done, and what that risks
    pub why: String,
    /// The word to type, e.g. `unfenced`
    pub word: String,
    /// What stays open
    pub obligation: Obligation,
}

/// Work of a person.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct ByHand {
    /// What to do, a line each
    pub lines: Vec<String>,
    /// What the person must answer with; plain yes or no when absent
    pub evidence: Option<String>,
    /// The run goes on at once and leaves this open
    pub later: Option<Obligation>,
}

/// What an action did.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Performed {
    /// State right after, in the shape of `Observation::live`
    pub after: Value,
    /// Values later steps may use as `steps.ID.outputs.NAME`
    pub outputs: Map<String, Value>,
    /// What stays open because of it
    pub obligations: Vec<Obligation>,
    /// What was done, a line each, for the report
    pub notes: Vec<String>,
}

/// What a revert is given: the journalled states of the step.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Image {
    pub before: Value,
    /// What the run wrote: `after` when known, else the desired state
    pub ours: Value,
    /// Live state as just observed; equals `ours`, the engine has compared
    pub now: Observation,
}

/// Everything that changes the world, by action name.
pub(crate) trait Action: Send + Sync {
    /// Reads the present state. Never changes anything.
    fn observe<'a>(&'a self, call: &'a Call) -> BoxFuture<'a, Result<Observation, ActionError>>;

    /// Brings about `seen.desired`. Idempotent under `call.token()`; called only after a synced `StepStarted`.
    fn perform<'a>(
        &'a self,
        armed: &'a Armed,
        call: &'a Call,
        seen: &'a Observation,
    ) -> BoxFuture<'a, Result<Performed, ActionError>>;

    /// Restores `image.before`; the engine has seen that the live state is what this run wrote.
    fn revert<'a>(
        &'a self,
        armed: &'a Armed,
        call: &'a Call,
        image: &'a Image,
    ) -> BoxFuture<'a, Result<(), ActionError>>;

    /// Returns the names of what earlier steps of the run left open and what was just done has settled.
    fn settles(&self, _call: &Call, _done: &Performed) -> Vec<String> {
        Vec::new()
    }

    /// Returns what stays open where the run goes on without the change, or with no more than somebody's word for it.
    fn without(&self, _call: &Call) -> Option<Obligation> {
        None
    }
}

/// Everything that only looks, by check name.
pub(crate) trait Check: Send + Sync {
    /// Looks once. Never changes anything; its own trouble is `Inconclusive`.
    fn look<'a>(&'a self, spec: &'a CheckSpec) -> BoxFuture<'a, CheckReport>;
}

/// The human, a script in their place, or a refusal.
pub(crate) trait Operator: Send + Sync {
    /// Asks one question. End of file, a lost terminal and a timeout are `Answer::Nobody`, never yes.
    fn ask<'a>(&'a self, question: &'a Question) -> BoxFuture<'a, Answer>;
}

/// Where facts become durable.
pub(crate) trait Journal: Send {
    /// Appends records and syncs them; on return they are durable. The records carry their sequence numbers.
    fn append(&mut self, records: &[Record]) -> Result<(), JournalFailure>;
}

/// The journal cannot be written: nothing may start.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("write the journal: {0}")]
pub(crate) struct JournalFailure(pub(crate) String);

/// The right to act on the estate, where it is shared between machines.
pub(crate) trait Lease: Send + Sync {
    /// Takes the lease, or says who has it.
    fn take(&self) -> BoxFuture<'_, Result<LeaseGrant, LeaseRefusal>>;

    /// Proves the lease is ours until at least `until`, renewing it where needed.
    fn assure(&self, until: Timestamp) -> BoxFuture<'_, Result<(), LeaseRefusal>>;

    /// A person vouches for being alone: from now on changes need no proof.
    fn vouch(&self);

    /// Names the step under way, for whoever is refused from its next renewal on.
    fn at_step(&self, step: Option<&StepId>);

    /// Gives it back.
    fn release(&self) -> BoxFuture<'_, ()>;
}

/// A lease taken.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct LeaseGrant {
    /// Counts the holders; a later holder has a higher one
    pub epoch: u64,
    /// Where it is kept, e.g. `s3://bucket/key`; `this machine only` without shared state
    pub place: String,
}

/// Why the lease is not ours.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub(crate) enum LeaseRefusal {
    /// Another run has it; the text names run, step, who, host and since when
    Held { holder: String },
    /// Ours was lost to another run
    Lost { holder: String },
    /// It cannot be proved either way
    Unproved { why: String },
}

/// The world as one run sees it.
#[derive(Clone)]
pub(crate) struct Ports {
    pub actions: Arc<dyn Action>,
    pub checks: Arc<dyn Check>,
    pub operator: Arc<dyn Operator>,
    pub lease: Arc<dyn Lease>,
    pub clock: Arc<dyn crate::clock::Clock>,
}
