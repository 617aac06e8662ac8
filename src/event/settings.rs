//! How a process was told to carry a run out.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::ids::StepId;

/// Flags that matter while a run goes on.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct RunSettings {
    pub jobs: usize,
    /// What happens after a failure when nobody can be asked
    pub on_failure: OnFailureFlag,
    /// Ask before every changing step
    pub confirm_each: bool,
    pub interactive: bool,
    /// Steps whose inconclusive gate is overridden, with the reason
    #[serde(default)]
    pub overrides: BTreeMap<String, String>,
    /// What follows these failures was answered beforehand: the step, and which of its failures, from 1
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub failures_answered: BTreeSet<(StepId, u32)>,
    /// The same of reverts that fail
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub reverts_answered: BTreeSet<(StepId, u32)>,
    /// `--recovery-point` of the command that starts or resumes the run: a choice that stands otherwise is made again
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub recovery_point: Option<String>,
    /// What was typed behind the program's name: how to start the same once more
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub typed: Vec<String>,
}

/// `--on-failure`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum OnFailureFlag {
    /// Ask where someone answers; else roll back before a point of no return and stop after one
    Auto,
    Rollback,
    Stop,
}
