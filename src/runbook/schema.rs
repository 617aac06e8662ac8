//! The runbook file's types, as YAML writes them; nothing is resolved here.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::rehearse::{Rehearse, RehearsedProgram};
use crate::estate::types::{Priority, Severity};
use crate::span::Span;

/// One runbook file.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Runbook {
    /// Id, e.g. DR-001
    pub runbook: String,
    pub title: String,
    /// Name of the command it becomes: `phoenix-dr <command>`
    pub command: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub severity: Option<Severity>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub objectives: Option<Objectives>,
    /// Typed parameters; each becomes a flag of the runbook's command
    #[serde(default)]
    pub inputs: BTreeMap<String, Input>,
    pub steps: Vec<Step>,
    /// Checks at the end that decide "restored"
    #[serde(default)]
    pub verification: Vec<Check>,
    /// What people do in the days after
    #[serde(default)]
    pub follow_ups: Vec<String>,
    /// Stop everything at the first failed step
    #[serde(default)]
    pub fail_fast: bool,
    /// World that comes with the program in which it is rehearsed where none is named; `phoenix` when left out
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub world: Option<String>,
    /// What a rehearsal does in place of programs that checks and steps without a `rehearse` of their own run
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub rehearse: Vec<RehearsedProgram>,
}

/// What the run is measured against.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Objectives {
    pub rto: Span,
    pub rto_max: Span,
    pub rpo: Span,
    pub rpo_max: Span,
}

/// A typed parameter.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Input {
    #[serde(rename = "type")]
    pub kind: InputType,
    /// Used when the flag is not given; may be an expression over `estate` and earlier inputs
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub default: Option<Value>,
    #[serde(default)]
    pub required: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub help: Option<String>,
    /// Values of a `choice`
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub values: Vec<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub min: Option<Value>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max: Option<Value>,
    /// Regular expression a string must match as a whole
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pattern: Option<String>,
}

/// Type of an input.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum InputType {
    String,
    Integer,
    Boolean,
    Duration,
    Region,
    Choice,
    Instant,
    Secret,
}

/// One node of the graph.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Step {
    pub id: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub title: Option<String>,
    /// Heading for the screen and the report; not a barrier
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub phase: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub priority: Option<Priority>,
    /// Service of the estate's table this step restores
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service: Option<String>,
    /// Steps that must have ended well; every step written before when left out
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub needs: Option<Vec<String>>,
    /// Expression; the step is skipped when it is false
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub when: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub approve: Option<Approve>,
    /// What the step changes
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub action: Option<String>,
    /// Arguments of the action
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    pub with: Map<String, Value>,
    /// Observations only: the step is a gate
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub checks: Option<Vec<Check>>,
    /// Checks that prove the action, after it
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub verify: Option<Verify>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rollback: Option<RollbackField>,
    /// Nothing upstream is rolled back automatically once this step has started
    #[serde(default)]
    pub point_of_no_return: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub on_failure: Option<OnFailure>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry: Option<Retry>,
    /// Bounds one attempt's perform
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout: Option<Span>,
    /// How long it usually takes, for forecasts
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub usually: Option<Span>,
    /// False: its failure does not fail the run
    #[serde(default = "yes")]
    pub critical: bool,
    /// What a rehearsal does in place of the step's program
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rehearse: Option<Rehearse>,
}

const fn yes() -> bool {
    true
}

/// When the operator is asked.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub(crate) enum Approve {
    /// `plan`: covered by go; `each`: asked by itself; anything else is the sentence to ask
    Say(String),
    Typed(TypedApproval),
}

/// An approval given by typing a word.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct TypedApproval {
    /// What the operator must know
    pub say: String,
    /// The word to type
    #[serde(rename = "type")]
    pub word: String,
}

/// Verification of a step.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub(crate) enum Verify {
    Checks(Vec<Check>),
    None(Reason),
}

/// `{ none: "why" }`.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Reason {
    pub none: String,
}

/// How a step is rolled back.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub(crate) enum RollbackField {
    /// `auto`: restore the before-image
    Auto(AutoWord),
    None(Reason),
    Action(RollbackAction),
}

/// The word `auto`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum AutoWord {
    Auto,
}

/// An action of its own that undoes the step.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct RollbackAction {
    pub action: String,
    #[serde(default)]
    pub with: Map<String, Value>,
}

/// What happens after a step failed for good.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum OnFailure {
    Ask,
    Rollback,
    Stop,
    Continue,
}

/// Retries of the engine, by class of error.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Retry {
    /// All attempts together, the first included
    #[serde(default = "three")]
    pub attempts: u32,
    /// `2s..30s`: first and longest wait between attempts
    #[serde(default = "backoff")]
    pub backoff: String,
}

impl Retry {
    /// What a backoff looks like.
    pub(crate) const HELP: &str = "write it like 2s..30s: the first and the longest wait";

    /// Returns the first and the longest wait between attempts; none where the text is no backoff.
    pub(crate) fn bounds(&self) -> Option<(Span, Span)> {
        let (first, longest) = self.backoff.split_once("..")?;
        let (first, longest): (Span, Span) = (first.parse().ok()?, longest.parse().ok()?);
        (first <= longest).then_some((first, longest))
    }
}

const fn three() -> u32 {
    3
}

fn backoff() -> String {
    "2s..30s".to_owned()
}

/// One check as a gate, verification or vote writes it.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Check {
    pub check: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub title: Option<String>,
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    pub with: Map<String, Value>,
    /// Expression over `value` that must be true
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub that: Option<String>,
    /// Literal the value must equal
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expect: Option<Value>,
    /// Deadline for it to hold
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub within: Option<Span>,
    /// Pause between two looks
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub every: Option<Span>,
    /// Looks in a row that must hold
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub consecutive: Option<u32>,
    /// How a quorum counts it
    #[serde(default)]
    pub vote: Vote,
}

/// How a quorum counts a check.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Vote {
    #[default]
    Full,
    /// Counts when it holds, is left out when it does not
    Bonus,
}
