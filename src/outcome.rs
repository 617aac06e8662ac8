//! What can be said of a step, an attempt and a check.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::span::Span;

/// What is known to have changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Effect {
    /// Proved: nothing changed
    None,
    /// Nobody can tell yet; must be probed, never assumed
    Unknown,
    /// Proved: the change was made
    Applied,
}

/// What a check found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Verdict {
    Holds,
    Fails,
    /// The check itself could not tell; neither passed nor failed
    Inconclusive,
}

/// One check's result.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct CheckReport {
    /// Short name a person recognises, e.g. `API healthz`
    pub title: String,
    /// The check's name, e.g. `http`
    pub check: String,
    pub verdict: Verdict,
    /// What was seen, in a few words: `no answer in 3 s`
    pub said: String,
    /// The value seen, for `that` and for the record
    pub value: Value,
    pub at: Timestamp,
    /// Votes of a quorum
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub votes: Vec<CheckReport>,
    /// Said whether this host's control answered in the same round, where there was one
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub control: Option<String>,
}

/// Why an action failed: decides whether a retry can help.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum FailureClass {
    /// The service asked for patience
    Throttled,
    /// A connection, a 5xx, a conflict with another writer that may pass
    Transient,
    /// Permission is missing
    Denied,
    /// Credentials are missing or have expired: renew them, nothing has failed
    Credentials,
    /// The request can never succeed as it is
    Invalid,
    /// Something that must exist does not
    NotFound,
    /// Another writer changed what this run changed
    Conflict,
    /// No capacity for what was asked
    Capacity,
    /// No answer in time
    Timeout,
    /// All the time an attempt has ran out: whether to wait on is for a person to decide
    Overdue,
    /// The guard of a dry run refused it
    Refused,
    /// What the right to make the change rests on, the lease or the gates, was not proved any more when it was to be
    /// requested: nothing has failed, it is proved again
    Unproved,
    /// A look at what was done, or at a gate, told nothing: neither that it holds nor that it does not
    Doubt,
    /// A defect in phoenix-dr
    Internal,
}

impl FailureClass {
    /// Says whether the same call may succeed when tried again by itself.
    pub(crate) const fn retryable(self) -> bool {
        match self {
            Self::Throttled | Self::Transient | Self::Timeout => true,
            Self::Denied
            | Self::Credentials
            | Self::Invalid
            | Self::NotFound
            | Self::Conflict
            | Self::Capacity
            | Self::Overdue
            | Self::Refused
            | Self::Unproved
            | Self::Doubt
            | Self::Internal => false,
        }
    }
}

/// Why an action, or its observation or revert, did not succeed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("{message}")]
pub(crate) struct ActionError {
    pub class: FailureClass,
    /// What is known to have changed in the world because of the call
    pub effect: Effect,
    /// What happened, with the service's own words
    pub message: String,
    /// What an operator can do about it
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
}

impl ActionError {
    /// Returns an error of a call that provably changed nothing.
    pub(crate) fn unchanged(class: FailureClass, message: impl Into<String>) -> Self {
        Self { class, effect: Effect::None, message: message.into(), hint: None }
    }

    /// Returns an error of a call whose effect nobody knows.
    pub(crate) fn unknown(class: FailureClass, message: impl Into<String>) -> Self {
        Self { class, effect: Effect::Unknown, message: message.into(), hint: None }
    }

    /// Returns an error of a call that changed something before it failed.
    pub(crate) fn applied(class: FailureClass, message: impl Into<String>) -> Self {
        Self { class, effect: Effect::Applied, message: message.into(), hint: None }
    }

    /// Adds what an operator can do.
    #[must_use]
    pub(crate) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }
}

/// How far a dry run could look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Fidelity {
    /// A read could not be made
    Unreachable,
    /// The step is known by its text only
    Printed,
    /// Names are resolved
    Resolved,
    /// The live state was read
    Observed,
    /// The provider itself checked the change
    Validated,
}

/// One thing that would change.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Difference {
    /// What changes, e.g. `phoenix-system/phoenix-api replicas`
    pub what: String,
    pub from: String,
    pub to: String,
}

/// One of several ways an operator must choose from, e.g. a recovery point.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Candidate {
    /// Stable name used by flags and the journal, e.g. `replica`
    pub id: String,
    /// What a person reads, e.g. `replica phoenix-dr-replica`
    pub title: String,
    /// Data that would be lost, measured; `None` when it could not be
    pub loss: Option<Span>,
    /// How long it takes, forecast
    pub forecast: Option<Span>,
    pub reversible: bool,
    /// Why it cannot be taken, when it cannot
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unusable: Option<String>,
    /// The estate names it and it is not there: only a person may take another one in its place
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub absent: bool,
    /// What else is known of it, e.g. its age and when a restore last proved it
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<String>,
    /// What speaks against taking it; never left out where it is shown
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub doubts: Vec<String>,
    /// Handed to the step's perform and outputs when chosen
    pub detail: Value,
}

impl Candidate {
    /// Returns the one to take where nobody chooses: the least loss among those that can be taken and whose forecast
    /// meets the longest time allowed. `None` also where one that the estate names is not there: what the estate
    /// says is wrong then, and what it would have said instead is not known.
    pub(crate) fn best(candidates: &[Self], rto_max: Span) -> Option<&Self> {
        if candidates.iter().any(|candidate| candidate.absent) {
            return None;
        }
        candidates
            .iter()
            .filter(|candidate| candidate.unusable.is_none())
            .filter(|candidate| candidate.forecast.is_some_and(|forecast| forecast <= rto_max))
            // A loss nobody could measure is worse than any that was.
            .min_by_key(|candidate| (candidate.loss.is_none(), candidate.loss.unwrap_or_default()))
    }
}

/// How a note begins that is shown to everybody: something is other than whoever reads "done" would think.
pub(crate) const WARNS: &str = "! ";

/// How a note begins that is shown to everybody although nothing is other than expected: the result of a look.
pub(crate) const TELLS: &str = "= ";

/// Something a run leaves open until a check proves it closed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Obligation {
    /// Stable name, e.g. `unfenced-phoenix-prod`
    pub id: String,
    /// What is open and why it matters
    pub say: String,
    /// What closes it, for a person; a line that begins with `$ ` is a command
    pub how: String,
    /// Check (`{check, with, that}` as in a runbook) that proves it closed, where one can
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub closed_by: Option<Value>,
}

/// How a step ended for this run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum StepEnd {
    /// Performed and verified
    Done,
    /// Was as desired already; effect none
    Satisfied,
    /// `when` was false
    Skipped,
    /// An operator skipped it, with a reason
    Omitted,
    /// An operator did it by hand and it verified
    Marked,
    /// An operator accepted to go on without it by a typed word; an obligation is open
    Waived,
    /// Failed for good
    Failed,
    /// Never started because something it needs did not end well, or the run ended
    NotRun,
}

impl StepEnd {
    /// Says whether dependents may start.
    pub(crate) const fn satisfies(self) -> bool {
        match self {
            Self::Done
            | Self::Satisfied
            | Self::Skipped
            | Self::Omitted
            | Self::Marked
            | Self::Waived => true,
            Self::Failed | Self::NotRun => false,
        }
    }
}
