//! Whether and how a step can be undone.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::ids::StepId;
use crate::plan::{Body, PlannedStep, Rollback};
use crate::runbook::catalogue::actions::ActionName;
use crate::shell;

/// Whether and how a step can be undone.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub(crate) enum Undo {
    /// It changes nothing
    Nothing,
    /// By itself, from the state before
    Restore,
    /// By deleting the database it restored
    Delete,
    /// By an action of its own
    Action {
        action: String,
    },
    /// By a program of its author
    Command {
        line: String,
    },
    /// A promotion is for good, a restore is not; `promotes` says which is likely, where that can be told
    ByChoice {
        promotes: Option<bool>,
    },
    /// Not by itself, once a step before it that cannot be undone has begun
    Sealed {
        by: StepId,
        promotes: bool,
    },
    /// Nothing is the worse for what stays of it
    Harmless {
        why: String,
    },
    Never {
        why: String,
    },
}

impl Undo {
    /// Returns how a step is undone, given what an observation said.
    pub(crate) fn of(step: &PlannedStep, irreversible: Option<&str>) -> Self {
        if !step.changes {
            return Self::Nothing;
        }
        if let Some(why) = irreversible {
            return Self::Never { why: why.to_owned() };
        }
        match &step.rollback {
            Rollback::Auto if step.point_of_no_return => {
                Self::Never { why: "a point of no return".to_owned() }
            }
            Rollback::Auto => Self::by_itself(step),
            Rollback::None { why } if is_harmless(step) => Self::Harmless { why: why.clone() },
            Rollback::None { why } => Self::Never { why: why.clone() },
            Rollback::Action { action, .. } => Self::Action { action: action.clone() },
        }
    }

    /// A program is undone by the program its author names, everything else from the state before.
    fn by_itself(step: &PlannedStep) -> Self {
        let Body::Action { action, with } = &step.body else { return Self::Restore };
        match ActionName::parse(action) {
            Some(ActionName::CommandRun) => {}
            Some(
                ActionName::RdsRecover
                | ActionName::RdsRestorePointInTime
                | ActionName::RdsRestoreSnapshot,
            ) => return Self::Delete,
            Some(_) | None => return Self::Restore,
        }
        let argv = with.get("undo").and_then(Value::as_array).map(Vec::as_slice);
        let argv: Vec<&str> = argv.unwrap_or_default().iter().filter_map(Value::as_str).collect();
        if argv.is_empty() {
            return Self::Never { why: "it has no `undo`".to_owned() };
        }
        Self::Command { line: shell::line(&argv) }
    }

    /// Says whether what the step does stays once it was begun, as far as can be told.
    pub(crate) const fn is_final(&self) -> bool {
        match self {
            Self::Never { .. } => true,
            Self::ByChoice { promotes } => !matches!(promotes, Some(false)),
            Self::Nothing
            | Self::Harmless { .. }
            | Self::Restore
            | Self::Delete
            | Self::Action { .. }
            | Self::Command { .. }
            | Self::Sealed { .. } => false,
        }
    }

    pub(super) fn say(&self) -> String {
        match self {
            Self::Nothing => "nothing to undo".to_owned(),
            Self::Restore => "restores what was there before".to_owned(),
            Self::Delete => "deletes the database it restored".to_owned(),
            Self::Action { action } => format!("by {action}"),
            Self::Command { line } => format!("by `{line}`"),
            Self::ByChoice { promotes } => {
                let likely = match promotes {
                    Some(true) => " (as things look, it is a promotion)",
                    Some(false) => " (as things look, it is a restore)",
                    None => "",
                };
                format!("promotion: no; restore: yes, it is deleted{likely}")
            }
            Self::Sealed { by, promotes: true } => {
                format!("not by itself once `{by}` is promoted")
            }
            Self::Sealed { by, promotes: false } => {
                format!("not by itself once `{by}` has begun")
            }
            Self::Harmless { why } => format!("need not be: {why}"),
            Self::Never { why } => format!("NO: {why}"),
        }
    }
}

/// Says whether what a step does need not be undone, whatever becomes of the run: statistics go with their tables, and the server gathers
/// them by itself.
fn is_harmless(step: &PlannedStep) -> bool {
    let Body::Action { action, .. } = &step.body else { return false };
    ActionName::parse(action) == Some(ActionName::PostgresAnalyze)
}
