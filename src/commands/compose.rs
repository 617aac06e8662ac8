//! What a run is made of: clients, ports, the lease. The only place where they meet.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde_json::Value;
use tokio::sync::watch;

use super::context::Context;
use super::rehearsing::AtRealTime;
use crate::actions::Actions;
use crate::checks::Checks;
use crate::clients::Clients;
use crate::clients::guard::Guard;
use crate::clients::lease_store::LeaseStore;
use crate::engine::ports::{Lease, Operator, Ports};
use crate::engine::state::RunState;
use crate::error::UserError;
use crate::estate::types::{SecretRef, StateBucket};
use crate::event::Mode;
use crate::exit::Exit;
use crate::journal::facts::facts_key;
use crate::journal::lease::{LocalLease, Proof, SharedLease, lease_key};
use crate::journal::lock::Holder;
use crate::operator::Chain;
use crate::operator::scripted::Given;
use crate::operator::terminal::TerminalOperator;
use crate::plan::{Plan, PlannedStep};
use crate::report::terminal::Tone;
use crate::report::text;
use crate::sandbox::programs::Programs;

/// Returns clients of a plan's estate; the region that takes over is taken to be there.
pub(super) fn clients(
    context: &Context,
    plan: &Plan,
    guard: Guard,
    artifacts: Option<PathBuf>,
) -> Result<Arc<Clients>, UserError> {
    let estate = Arc::new(plan.estate.clone());
    let masks = context.terminal.masker().clone();
    masks.open(serde_json::to_string(plan).unwrap_or_default());
    let clock = Arc::clone(&context.clock);
    let clients = match context.rehearsal() {
        None => Clients::new(estate, guard, clock),
        Some(rehearsal) => {
            let directory = artifacts.as_deref().and_then(Path::parent);
            let sandbox = rehearsal.sandbox(directory)?;
            let said = |step: &PlannedStep| Some((step.id.clone(), step.rehearse.clone()?));
            let steps = plan.steps.iter().filter_map(said).collect();
            let programs = Programs::of(steps, plan.rehearse.clone())
                .map_err(|wrong| UserError::new(Exit::RunbookInvalid, wrong.join("\n")))?;
            Clients { programs, ..Clients::simulated(estate, guard, clock, sandbox) }
        }
    };
    // What earlier runs left open is not asked about again.
    let open = super::ledger::open_obligations(context, &plan.estate.estate);
    let clients = clients.with_masks(masks).knowing(open).of_command(&plan.command);
    let clients = match artifacts {
        Some(directory) => clients.with_artifacts(directory),
        None => clients,
    };
    if let Some(region) = plan.inputs.get("region").and_then(Value::as_str) {
        clients.aws.survive_in(region);
    }
    Ok(Arc::new(clients))
}

/// Returns flags first, then the person at the terminal; without `hung_up` nobody is there.
pub(super) fn operator(
    context: &Context,
    state: &RunState,
    given: Given,
    hung_up: Option<watch::Receiver<bool>>,
) -> Chain {
    let Some(hung_up) = hung_up else { return Chain::alone(given, state.mode) };
    let objective = Some((state.incident_started, state.plan.rto_max()));
    let (terminal, clock) = (context.terminal.clone(), Arc::clone(&context.clock));
    let person = TerminalOperator::new(terminal, clock, objective, hung_up);
    let person: Arc<dyn Operator> = match context.rehearsal() {
        None => Arc::new(person),
        Some(rehearsal) => {
            Arc::new(AtRealTime { clock: rehearsal.clock.clone(), person: Arc::new(person) })
        }
    };
    Chain::before(given, state.mode, person)
}

/// Has the secrets hidden that can be read, and says when one cannot be.
pub(super) async fn learn_secrets(context: &Context, clients: &Clients, plan: &Plan) {
    clients.learn_secrets(&secret_inputs(plan)).await;
    if clients.masks.has_left() {
        let said = "A secret is also a word of the plan or the estate file: it is not hidden.";
        for line in text::wrap(said, context.terminal.columns(), 2) {
            context.terminal.loud(Tone::Warn, &line);
        }
    }
}

/// Returns the references of a plan's secret inputs.
fn secret_inputs(plan: &Plan) -> Vec<SecretRef> {
    let inputs = plan.inputs.values();
    inputs.filter_map(|value| serde_json::from_value(value.clone()).ok()).collect()
}

/// Returns the ports of a run that may change the estate once it is armed.
pub(super) fn ports(
    context: &Context,
    clients: &Arc<Clients>,
    operator: Chain,
    holder: Holder,
) -> Ports {
    Ports {
        actions: Arc::new(Actions { clients: Arc::clone(clients) }),
        checks: Arc::new(Checks { clients: Arc::clone(clients) }),
        operator: Arc::new(operator),
        lease: lease(context, clients, holder),
        clock: Arc::clone(&context.clock),
    }
}

/// Returns ports that only look: nobody is asked, nothing is locked. The clients' guard must stay closed.
pub(super) fn looking(context: &Context, clients: &Arc<Clients>) -> Ports {
    Ports {
        actions: Arc::new(Actions { clients: Arc::clone(clients) }),
        checks: Arc::new(Checks { clients: Arc::clone(clients) }),
        operator: Arc::new(Chain::alone(Given::default(), Mode::DryRun)),
        lease: Arc::new(LocalLease),
        clock: Arc::clone(&context.clock),
    }
}

/// The lease in the surviving region's bucket, or this machine's alone where the estate has no shared state.
fn lease(context: &Context, clients: &Arc<Clients>, holder: Holder) -> Arc<dyn Lease> {
    match lease_store(clients) {
        Some(store) => {
            let (clock, estate) = (Arc::clone(&context.clock), &clients.estate.estate);
            let (guard, timed) = (clients.guard.clone(), Arc::clone(&clock));
            let told = Box::new(move |proof| match proof {
                Proof::Until(end) => guard.proved_until(end, Arc::clone(&timed)),
                Proof::Vouched => guard.vouched(),
            });
            Arc::new(SharedLease::new(store, clock, estate, holder, told))
        }
        None => Arc::new(LocalLease),
    }
}

/// Returns where the estate's lease is kept; `None` without shared state.
pub(super) fn lease_store(clients: &Arc<Clients>) -> Option<LeaseStore> {
    let state = clients.estate.state.as_ref()?;
    Some(object(clients, &state.s3, &lease_key(&state.s3.prefix, &clients.estate.estate)))
}

/// Returns where a runbook's facts are kept; `None` without shared state.
pub(super) fn facts_store(clients: &Arc<Clients>, runbook: &str) -> Option<LeaseStore> {
    let state = clients.estate.state.as_ref()?;
    let key = facts_key(&state.s3.prefix, &clients.estate.estate, runbook);
    Some(object(clients, &state.s3, &key).for_facts())
}

fn object(clients: &Arc<Clients>, place: &StateBucket, key: &str) -> LeaseStore {
    let (client, region) = (Arc::clone(clients), place.region.clone());
    let source = Arc::new(move || {
        let (client, region) = (Arc::clone(&client), region.clone());
        Box::pin(
            async move { client.aws.state_bucket(&region).await.map_err(|error| error.message) },
        ) as futures::future::BoxFuture<'static, _>
    });
    LeaseStore::s3(source, &place.bucket, key, Arc::clone(&clients.clock))
}
