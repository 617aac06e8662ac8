//! The ways a database may come back, and which steps each of them leaves out.

use serde_json::{Map, Value, json};

use super::{Body, Plan, PlannedStep};
use crate::runbook::catalogue::actions::{ActionName, RecoveryMethod};
use crate::runbook::expression::{self, Scope};

/// Returns the ways for which a step is carried out: those its condition lets through, and those nobody can tell of.
pub(crate) fn of_step(plan: &Plan, step: &PlannedStep) -> Vec<RecoveryMethod> {
    let Some(when) = &step.when else { return RecoveryMethod::ALL.to_vec() };
    let holds = |method: &RecoveryMethod| {
        expression::evaluate_bool(when, &chosen(plan, *method)).unwrap_or(true)
    };
    RecoveryMethod::ALL.into_iter().filter(holds).collect()
}

/// Returns the step that does the same before another, for a way: there is nothing left to do then.
pub(crate) fn done_before<'a>(
    plan: &'a Plan,
    step: &PlannedStep,
    method: RecoveryMethod,
) -> Option<&'a PlannedStep> {
    let mut before = plan.steps.iter().take_while(|other| other.id != step.id);
    before.find(|other| {
        other.changes && other.body == step.body && of_step(plan, other).contains(&method)
    })
}

/// Returns the names as they are once a way was chosen.
fn chosen(plan: &Plan, method: RecoveryMethod) -> Scope {
    let mut scope = Scope::new(&plan.inputs, &plan.estate);
    for step in &plan.steps {
        if let Body::Action { action, .. } = &step.body
            && ActionName::parse(action) == Some(ActionName::RdsChooseRecoveryPoint)
        {
            let outputs = Map::from_iter([
                ("point".to_owned(), json!({ "method": method, "source": "", "target": "" })),
                ("method".to_owned(), json!(method)),
                ("reversible".to_owned(), Value::Bool(method != RecoveryMethod::Promote)),
            ]);
            scope.set_outputs(&step.id.0, outputs);
        }
    }
    scope
}
