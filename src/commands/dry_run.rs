//! What would happen, from live reads: of a plan, and of a run that stopped. The guard stays closed.

use std::sync::Arc;

use jiff::tz::TimeZone;

use super::context::{Context, chain};
use super::{compose, observe, preflight, resume, rollback};
use crate::clients::guard::Guard;
use crate::engine::state::RunState;
use crate::error::UserError;
use crate::exit::Exit;
use crate::ids::RunId;
use crate::journal::store::Namespace;
use crate::plan::Plan;
use crate::report::plan_view::{self, DryRunReport};
use crate::report::terminal::Tone;

/// Shows what a run of this plan would do.
pub(super) fn of_plan(
    context: &Context,
    plan: &Arc<Plan>,
    detailed: bool,
) -> Result<Exit, UserError> {
    let report = look(context, plan, None)?;
    show(context, &report, detailed)
}

/// Shows what going on with a run would do: the steps that have not ended, or what is still to be reverted.
pub(super) fn of_run(
    context: &Context,
    state: &RunState,
    detailed: bool,
) -> Result<Exit, UserError> {
    if resume::rolls_back(state) {
        let scope = rollback::scope(state, None)?;
        return rollback::show(context, state, &scope, detailed);
    }
    let report = look(context, &state.plan, Some(state))?;
    show(context, &report, detailed)
}

/// Looks at the estate as preflight does, and saves what was seen.
pub(super) fn look(
    context: &Context,
    plan: &Arc<Plan>,
    state: Option<&RunState>,
) -> Result<DryRunReport, UserError> {
    let runtime = context.runtime()?;
    let report = runtime.block_on(async {
        let clients = compose::clients(context, plan, Guard::closed(), None);
        let ports = compose::looking(context, &clients);
        let run = state.map_or_else(RunId::generate, |state| state.run.clone());
        let mut report = observe::plan(plan, &run, &ports, state).await;
        report.findings = preflight::findings(plan, &clients, &report).await;
        clients.tunnels.close().await;
        report
    });
    runtime.shutdown_background();
    save(context, &report);
    Ok(report)
}

fn save(context: &Context, report: &DryRunReport) {
    let Ok(store) = context.store() else { return };
    let plan = &report.plan;
    let estate = &plan.estate.estate;
    let saved =
        store.save_facts(estate, Namespace::Live, &plan.runbook, report.seen, &report.steps);
    if let Err(error) = saved {
        let said = format!("what was seen is not saved: {}", chain(&error));
        context.terminal.loud(Tone::Warn, &said);
    }
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
