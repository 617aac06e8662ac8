//! What would happen, from live reads: of a plan, and of a run that stopped. The guard stays closed.

use std::sync::Arc;

use jiff::tz::TimeZone;

use super::context::Context;
use super::observe::Sight;
use super::preflight::{self, Preflight};
use super::{compose, resume, rollback};
use crate::cli::WhoFlags;
use crate::clients::guard::Guard;
use crate::engine::state::RunState;
use crate::error::UserError;
use crate::event::Mode;
use crate::exit::Exit;
use crate::ids::RunId;
use crate::plan::Plan;
use crate::report::plan_view::{self, DryRunReport};

/// Refuses a flag that says something of dry runs alone.
pub(super) fn refuse_without(who: &WhoFlags) -> Result<(), UserError> {
    if who.detailed_exitcode && !who.dry_run {
        return Err(UserError::new(Exit::Usage, "--detailed-exitcode is for dry runs")
            .hint("add --dry-run, and nothing is changed")
            .hint("or leave --detailed-exitcode (and PHOENIX_DR_DETAILED_EXITCODE) out"));
    }
    Ok(())
}

/// Shows what a run of this plan would do.
pub(super) fn of_plan(
    context: &Context,
    plan: &Arc<Plan>,
    detailed: bool,
    point: Option<&str>,
) -> Result<Exit, UserError> {
    let seen = look(context, plan, None, point)?;
    show(context, &seen.report, detailed)
}

/// Shows what going on with a run would do: the steps that have not ended, or what is still to be reverted.
pub(super) fn of_run(
    context: &Context,
    state: &RunState,
    detailed: bool,
    point: Option<&str>,
) -> Result<Exit, UserError> {
    if resume::rolls_back(state) {
        let scope = rollback::scope(state, None)?;
        return rollback::show(context, state, &scope, detailed);
    }
    let seen = look(context, &state.plan, Some(state), point)?;
    show(context, &seen.report, detailed)
}

/// Looks at the estate as a run does before go, and keeps what was seen.
pub(super) fn look(
    context: &Context,
    plan: &Arc<Plan>,
    state: Option<&RunState>,
    point: Option<&str>,
) -> Result<Preflight, UserError> {
    let runtime = context.runtime()?;
    let mode = if context.rehearsal().is_some() { Mode::Rehearsal } else { Mode::DryRun };
    // Without a state directory nothing can be kept, but everything can be looked at.
    let store = context.memory();
    let seen = runtime.block_on(async {
        let clients = compose::clients(context, plan, Guard::closed(), None)?;
        compose::learn_secrets(context, &clients, plan).await;
        let ports = compose::looking(context, &clients);
        let run = state.map_or_else(RunId::generate, |state| state.run.clone());
        let sight = Sight { plan, run: &run, ports: &ports, clients: &clients, state, point };
        let mut seen = preflight::look(&sight, store.as_ref()).await;
        seen.report.mode = mode;
        clients.tunnels.close().await;
        Ok(seen)
    });
    runtime.shutdown_background();
    seen
}

fn show(context: &Context, report: &DryRunReport, detailed: bool) -> Result<Exit, UserError> {
    if context.json() {
        context.terminal.out(&report.json().to_string());
    } else {
        let lines = plan_view::text(report, context.terminal.columns(), &TimeZone::system());
        context.terminal.out(&lines.join("\n"));
    }
    Ok(match (report.unmet(), detailed && report.changes()) {
        (true, _) => Exit::NotMet,
        (false, true) => Exit::DryRunChanges,
        (false, false) => Exit::Ok,
    })
}
