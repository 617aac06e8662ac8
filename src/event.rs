//! Facts: what is journalled, folded into state, and shown. Also the questions a person is asked.

mod mode;
mod reached;
mod settings;

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::ids::{RunId, StepId};
use crate::outcome::{ActionError, Candidate, CheckReport, Effect, Obligation, StepEnd, Verdict};
use crate::plan::Plan;
use crate::plan::outputs::WantedOutput;
use crate::span::Span;

pub(crate) use mode::{Mode, WorldNamed};
pub(crate) use reached::Reached;
pub(crate) use settings::{OnFailureFlag, RunSettings};

/// A fact with its place in the journal.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Record {
    /// Format of the record, see `journal::FORMAT`
    pub format: u32,
    /// 0 for the first record of a run, without gaps
    pub seq: u64,
    /// Of a rehearsal, virtual time
    pub time: Timestamp,
    /// Of a rehearsal, the machine's time beside it
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub real: Option<Timestamp>,
    /// SHA-256 of the record before, in hex; of the run id for the first
    pub prev: String,
    /// user@host of the process that wrote it
    pub who: String,
    pub event: Event,
}

/// Something that happened. Every state change is one of these, applied by `RunState::apply`.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub(crate) enum Event {
    /// First record: everything a resume needs
    RunStarted {
        run: RunId,
        mode: Mode,
        #[serde(with = "crate::plan::shared")]
        plan: Arc<Plan>,
        /// When the incident began: the RTO clock
        incident_started: Timestamp,
        settings: RunSettings,
        version: String,
        /// Where a rehearsal takes place; runs of the real estate, and older rehearsals, have none
        #[serde(default, skip_serializing_if = "Option::is_none")]
        world: Option<WorldNamed>,
    },
    /// A process took the run up again
    RunResumed {
        settings: RunSettings,
        version: String,
    },
    /// Preflight was made; findings as a person reads them
    Preflight {
        findings: Vec<Finding>,
    },
    /// When the incident began is known better than at the run's start
    IncidentDated {
        at: Timestamp,
        /// Who or what says so
        said: String,
    },
    /// The lease is ours
    LeaseTaken {
        epoch: u64,
        place: String,
    },
    /// An operator vouched for being alone because the lease could not be proved
    LeaseVouched {
        why: String,
        typed: String,
    },
    /// A question was put
    Asked {
        question: Box<Question>,
    },
    /// And answered
    Decided {
        question: QuestionKey,
        answer: Answer,
    },
    /// A step's condition was evaluated and its arguments resolved, once
    StepReady {
        step: StepId,
        with: Map<String, Value>,
    },
    /// A gate was looked at; the last one decides
    GateSeen {
        step: StepId,
        verdict: Verdict,
        reports: Vec<CheckReport>,
    },
    /// A step is about to change the world: synced before it does
    StepStarted {
        step: StepId,
        attempt: u32,
        generation: u32,
        token: String,
        before: Value,
        desired: Value,
        /// Digest of before and desired: what an approval covers
        digest: String,
        irreversible: Option<String>,
        choice: Option<Candidate>,
    },
    /// Its attempt ended
    AttemptFinished {
        step: StepId,
        attempt: u32,
        result: AttemptResult,
    },
    /// What is known of an attempt was found out by a look afterwards
    Probed {
        step: StepId,
        effect: Effect,
        live: Value,
        outputs: Map<String, Value>,
        said: String,
    },
    /// Was as desired already: nothing is performed, and it is never reverted
    StepSatisfied {
        step: StepId,
        outputs: Map<String, Value>,
    },
    /// A person did it by hand; its verification is still made
    StepMarked {
        step: StepId,
        /// How they know that it is done
        evidence: String,
        outputs: Map<String, Value>,
    },
    /// Verification ended
    Verified {
        step: StepId,
        verdict: Verdict,
        reports: Vec<CheckReport>,
    },
    /// An attempt or its verification failed and no retry is left; what happens next is yet to be decided
    StepFailed {
        step: StepId,
        error: ActionError,
    },
    /// The step's result for this run, once
    StepFinished {
        step: StepId,
        end: StepEnd,
        outputs: Map<String, Value>,
        reason: Option<String>,
    },
    /// A failed step is to be tried again by decision; its attempts start anew
    StepReopened {
        step: StepId,
        why: String,
    },
    /// Rollback began
    RollbackStarted {
        why: String,
        #[serde(default, skip_serializing_if = "RollbackScope::is_run")]
        scope: RollbackScope,
    },
    /// What was to be reverted is; the run is not over and can go on forward
    RollbackEnded {
        why: String,
    },
    /// A step is about to be reverted: synced before it is
    RevertStarted {
        step: StepId,
        attempt: u32,
    },
    RevertFinished {
        step: StepId,
        result: RevertResult,
    },
    ObligationOpened {
        step: Option<StepId>,
        obligation: Obligation,
    },
    ObligationClosed {
        id: String,
        said: String,
        /// Only what this run itself left open: it took back what that followed from
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        lapsed: bool,
    },
    /// Checks at the end decided whether the service is restored
    RunVerified {
        verdict: Verdict,
        reports: Vec<CheckReport>,
    },
    /// Stopped for now; `resume` goes on
    RunStopped {
        why: String,
        exit: u8,
    },
    /// Ended for good
    RunFinished {
        end: RunEnd,
        exit: u8,
    },
    /// Given up by a person; reverts nothing
    RunAbandoned {
        reason: String,
        still_changed: Vec<StepId>,
    },
    /// A remark of a person
    Noted {
        step: Option<StepId>,
        text: String,
    },
}

/// What a rollback takes back.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub(crate) enum RollbackScope {
    /// Everything no point of no return seals
    #[default]
    Run,
    /// One step, sealed or not: an operator typed where traffic and writes then go
    Past { step: StepId },
    /// What was done by a way that failed, so that another one can be chosen
    Another { choosing: StepId },
}

impl RollbackScope {
    const fn is_run(&self) -> bool {
        matches!(self, Self::Run)
    }
}

/// How an attempt ended.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub(crate) enum AttemptResult {
    Performed { after: Value, outputs: Map<String, Value>, notes: Vec<String> },
    Failed { error: ActionError },
}

/// How a revert ended.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub(crate) enum RevertResult {
    Reverted,
    /// The live state was the before-image already
    AlreadyBefore,
    /// Nothing can be reverted, by the runbook's own word
    Kept {
        why: String,
    },
    Failed {
        error: ActionError,
    },
    /// Live state is neither before nor ours: another writer
    Conflict {
        before: Value,
        ours: Value,
        now: Value,
    },
    /// An operator accepted that it stays as it is
    Skipped {
        reason: String,
    },
}

/// How a run ended for good.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum RunEnd {
    Restored,
    WithExceptions,
    RolledBack,
    FailedUnchanged,
    /// Changes are left in place on purpose
    ChangesLeft,
    /// Declined or not met before anything changed
    NotStarted,
}

/// One finding of preflight.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Finding {
    pub level: FindingLevel,
    /// What it is about, e.g. `credentials`, `kubernetes us-west-2`
    pub about: String,
    pub said: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub step: Option<StepId>,
}

impl Finding {
    /// Says whether it keeps a run from starting.
    pub(crate) fn blocks(&self) -> bool {
        self.level == FindingLevel::Blocking
    }
}

/// How much a finding matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum FindingLevel {
    Good,
    Warning,
    /// A P0 step needs it and there is no other way
    Blocking,
}

/// Names a question so that its answer can be found again.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub(crate) enum QuestionKey {
    Go,
    /// Preflight found something that blocks: yes only looks again
    Blocked,
    /// Whether to revert what a stopped run changed
    Rollback,
    /// Valid while the same candidates, named in `among`, can be taken
    Choice {
        step: StepId,
        among: String,
    },
    /// Valid for this candidate, and for no more loss than this; `None` is a loss nobody could measure
    Loss {
        step: StepId,
        candidate: String,
        loss: Option<Span>,
    },
    /// Approval of a step, valid while the digest is
    Approve {
        step: StepId,
        digest: String,
    },
    Override {
        step: StepId,
    },
    Waive {
        step: StepId,
    },
    Failure {
        step: StepId,
        failures: u32,
    },
    RevertFailure {
        step: StepId,
        failures: u32,
    },
    /// Revert one step although a point of no return seals it
    Past {
        step: StepId,
    },
    Manual {
        step: StepId,
    },
    Alone,
    Credentials {
        step: StepId,
    },
}

/// One question to a person, with everything its screen shows.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Question {
    pub key: QuestionKey,
    /// The heading
    pub title: String,
    /// Evidence and consequences, a line each
    pub lines: Vec<String>,
    /// Equivalent commands
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub commands: Vec<String>,
    /// What "no" means
    pub no_means: String,
    pub form: AnswerForm,
    /// Further screens by the key that shows them
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub pages: BTreeMap<char, Vec<String>>,
}

/// How a question is answered.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub(crate) enum AnswerForm {
    YesNo,
    /// This exact word or phrase
    Type {
        word: String,
    },
    /// A sentence saying why, not empty
    Reason,
    Candidates {
        candidates: Vec<Candidate>,
        loss_max: Option<Span>,
        best: Option<String>,
    },
    Menu {
        options: Vec<MenuOption>,
    },
    /// Evidence of something done by hand
    Evidence {
        prompt: String,
    },
}

/// One way on after a failure.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct MenuOption {
    pub choice: FailureChoice,
    /// What it does, in a line
    pub say: String,
    /// Outputs that must be given with it, because later steps use them
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub outputs: Vec<WantedOutput>,
}

/// What an operator may decide after a failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum FailureChoice {
    Retry,
    /// Take back what the chosen way did and choose another one
    Another,
    Skip,
    MarkDone,
    Rollback,
    Stop,
}

/// What came back.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub(crate) enum Answer {
    Yes,
    No,
    Typed {
        text: String,
    },
    Chosen {
        id: String,
    },
    Menu {
        choice: FailureChoice,
        reason: Option<String>,
        outputs: Map<String, Value>,
    },
    /// Look again and put the question anew
    Recheck,
    /// The incident began then; put the question anew
    Began {
        at: Timestamp,
    },
    /// Nobody is there to answer: end of file, no terminal, time ran out
    Nobody {
        why: String,
    },
    /// An answer is needed that no flag gave; names the flag
    Missing {
        flag: String,
    },
}
