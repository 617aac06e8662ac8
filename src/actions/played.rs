//! Actions that no world can answer, in a rehearsal: what their step says they would do is done instead.

use serde_json::json;

use crate::clients::{Clients, Network};
use crate::engine::ports::{Call, Observation, Performed};
use crate::estate::types::Database;
use crate::outcome::{ActionError, Difference, FailureClass, Fidelity};
use crate::runbook::catalogue::actions::ActionName;
use crate::runbook::rehearse::{Played, Rehearse};
use crate::sandbox::Sandbox;
use crate::sandbox::programs::Purpose;

/// A step whose action is played as the runbook says.
pub(super) struct Part<'a> {
    sandbox: &'a Sandbox,
    said: &'a Rehearse,
    action: ActionName,
}

/// Says whether an action that copies files takes a snapshot here: on RDS there are no files, and every world has RDS.
fn is_snapshot(clients: &Clients, action: ActionName) -> bool {
    let on_rds = || clients.estate.database.as_ref().is_some_and(Database::on_rds);
    action == ActionName::PostgresEvidence && on_rds()
}

impl<'a> Part<'a> {
    /// Returns the part a step plays; `None` where the action itself is to be asked, of the estate or of the world.
    ///
    /// # Errors
    ///
    /// Where it can neither be asked nor does anything say what it would do: a success that was none would be worse than
    /// an end.
    pub(super) fn of(
        clients: &'a Clients,
        action: ActionName,
        call: &Call,
    ) -> Result<Option<Self>, ActionError> {
        let Network::Simulated(sandbox) = &clients.network else { return Ok(None) };
        if action.plays(&call.with) || is_snapshot(clients, action) {
            return Ok(None);
        }
        if let Some(said) = clients.programs.of_step(&call.step) {
            return Ok(Some(Self { sandbox, said, action }));
        }
        sandbox.left(action.name());
        let name = action.name();
        let message = format!("{name} is not simulated, and its step has no `rehearse`");
        Err(ActionError::unchanged(FailureClass::Invalid, message).hint(
            "say there what it would do (`phoenix-dr validate --rehearsable` lists such steps), or look at it on the estate with --dry-run",
        ))
    }

    /// Looks whether it was played already.
    pub(super) fn observe(&self, call: &Call) -> Observation {
        let state = |done: bool| json!({ "done": done });
        let mut seen = Observation::new(state(self.sandbox.is_done(&call.step)), state(true));
        seen.fidelity = Fidelity::Resolved;
        let name = self.action.name();
        if seen.satisfied {
            seen.outputs.clone_from(&self.said.run.outputs);
        } else {
            seen.differences = vec![Difference {
                what: name.to_owned(),
                from: "not done".to_owned(),
                to: "done".to_owned(),
            }];
        }
        let takes = self.said.run.takes;
        seen.evidence = vec![format!("{name} is played as the runbook says: it takes {takes}.")];
        seen
    }

    /// Plays it; it ends as the runbook says.
    pub(super) async fn perform(
        &self,
        clients: &Clients,
        call: &Call,
        seen: &Observation,
    ) -> Result<Performed, ActionError> {
        self.pass_guard(clients)?;
        self.sandbox.play(&self.said.run, &Purpose::Perform(call.step.clone())).await;
        self.ended(&self.said.run)?;
        Ok(Performed {
            after: seen.desired.clone(),
            outputs: self.said.run.outputs.clone(),
            obligations: Vec::new(),
            notes: vec![format!("played {} as the runbook says", self.action.name())],
        })
    }

    /// Plays what takes it back.
    pub(super) async fn revert(&self, clients: &Clients, call: &Call) -> Result<(), ActionError> {
        self.pass_guard(clients)?;
        let soon = Played::default();
        let undo = self.said.undo.as_ref().unwrap_or(&soon);
        self.sandbox.play(undo, &Purpose::Undo(call.step.clone())).await;
        self.ended(undo)
    }

    /// What only reads asks no guard.
    fn pass_guard(&self, clients: &Clients) -> Result<(), ActionError> {
        if self.action.changes() {
            clients.guard.pass(self.action.name().to_owned())?;
        }
        Ok(())
    }

    fn ended(&self, played: &Played) -> Result<(), ActionError> {
        if played.exit == 0 {
            return Ok(());
        }
        let message = format!(
            "{} fails in this rehearsal: its step's `rehearse` says `exit: {}`",
            self.action.name(),
            played.exit
        );
        let error = match self.action.changes() {
            true => ActionError::unknown(FailureClass::Invalid, message),
            false => ActionError::unchanged(FailureClass::Invalid, message),
        };
        Err(error.hint("answer as you would on the estate, where its own report would stand here"))
    }
}
