//! Carrying a plan out: a new run, a resumed one, a dry run.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};
use serde_json::Value;

use super::context::{Context, chain, find_error, store_error};
use super::show::Screen;
use super::{go, observe, preflight};
use crate::actions::Actions;
use crate::checks::Checks;
use crate::cli::{OnFailureArg, ResumeArgs, RunFlags};
use crate::clients::guard::Guard;
use crate::clients::lease_store::LeaseStore;
use crate::clients::{Clients, endpoints};
use crate::engine::dispatcher::{self, Setup};
use crate::engine::ports::{Armed, Lease, Ports};
use crate::engine::state::{RunPhase, RunState};
use crate::error::UserError;
use crate::event::{Event, Mode, OnFailureFlag, Record, RunSettings};
use crate::exit::Exit;
use crate::ids::RunId;
use crate::journal::lease::{LocalLease, SharedLease, lease_key};
use crate::journal::lock::{Holder, LockError};
use crate::journal::store::{Namespace, OpenRun, Store};
use crate::operator::scripted::Given;
use crate::operator::terminal::{TerminalOperator, attended, restore};
use crate::operator::{Chain, needed};
use crate::plan::Plan;
use crate::plan::resolve::resolve;
use crate::report::terminal::Tone;
use crate::report::{plan_view, summary};
use crate::runbook::yaml;
use crate::span::Span;

/// Carries a runbook out, or shows what that would do.
pub(super) fn run(
    context: &Context,
    name: &str,
    inputs: &[(String, String)],
    flags: &RunFlags,
) -> Result<Exit, UserError> {
    let loaded = context.runbook(name)?;
    let estate = context.estate()?;
    let given: BTreeMap<String, Value> =
        inputs.iter().map(|(name, value)| (name.clone(), Value::String(value.clone()))).collect();
    let plan = resolve(&loaded, &estate, &given)
        .map_err(|problems| context.invalid(&problems, Exit::Usage))?
        .choosing(flags.recovery_point.as_deref());
    if flags.dry_run {
        return dry_run(context, &plan, flags);
    }
    let answers = answers(context, &plan, flags)?;
    refuse_overrides(&plan, flags)?;
    let store = context.store()?;
    let superseded = unfinished(&store, &plan)?;
    let settings = settings(flags)?;
    let now = context.clock.now();
    let incident_started = incident_started(flags, now)?;
    let run = RunId::generate();
    let holder = Holder::this_process(&run, now);
    let _estate_lock = store
        .lock_estate(&plan.estate.estate, Namespace::Live, holder)
        .map_err(|error| lock_error(&error))?;
    let mut open = store.create_run(&run, now).map_err(|error| store_error(&error))?;
    let first = open.chain.seal(
        Event::RunStarted {
            run: run.clone(),
            mode: Mode::Live,
            plan: Box::new(plan),
            incident_started,
            settings,
            version: env!("CARGO_PKG_VERSION").to_owned(),
        },
        now,
    );
    append(&mut open, std::slice::from_ref(&first))?;
    for old in superseded {
        super::ledger::give_up(
            context,
            &store,
            &old,
            &format!("superseded by run {run}; it never changed anything"),
        )?;
    }
    let state = RunState::start(&first)
        .map_err(|error| UserError::new(Exit::Internal, error.to_string()))?;
    carry_on(context, open, state, vec![first], Vec::new(), answers)
}

/// Takes a stopped run up again; `back` rolls it back instead of going on.
pub(super) fn resume(context: &Context, given: &ResumeArgs, back: bool) -> Result<Exit, UserError> {
    let store = context.store()?;
    let run = match &given.run {
        Some(text) => store.find(text).map_err(|error| find_error(&error))?,
        None => super::ledger::the_stopped_run(&store)?,
    };
    let now = context.clock.now();
    let mut records = Vec::new();
    let open = store
        .open_run(&run, now, |record| records.push(record))
        .map_err(|error| store_error(&error))?;
    if let Some(torn) = &open.set_aside {
        let said = format!("the journal's last line was not written whole; kept in {torn:?}");
        context.terminal.loud(Tone::Warn, &said);
    }
    let state = RunState::fold(&records).map_err(|error| {
        UserError::new(Exit::Journal, format!("the journal of run {run} does not fold: {error}"))
    })?;
    if state.is_final() {
        let hint = "see what it did: phoenix-dr audit ".to_owned() + run.short();
        return Err(UserError::new(Exit::Usage, format!("run {run} is over")).hint(hint));
    }
    if state.mode != Mode::Live {
        let message = format!("run {run} is a rehearsal and can only be resumed as one");
        return Err(UserError::new(Exit::Usage, message));
    }
    let plan = Arc::clone(&state.plan);
    let answers = answers(context, &plan, &given.flags)?;
    refuse_overrides(&plan, &given.flags)?;
    let _estate_lock = store
        .lock_estate(&plan.estate.estate, Namespace::Live, Holder::this_process(&run, now))
        .map_err(|error| lock_error(&error))?;
    let version = env!("CARGO_PKG_VERSION").to_owned();
    let mut opening = vec![Event::RunResumed { settings: settings(&given.flags)?, version }];
    let rolling = match &state.phase {
        RunPhase::RollingBack { .. } => true,
        RunPhase::Stopped { rolling_back, .. } => rolling_back.is_some(),
        RunPhase::Running | RunPhase::Finished { .. } | RunPhase::Abandoned { .. } => false,
    };
    if back && !rolling {
        opening.push(Event::RollbackStarted { why: "an operator asked for it".to_owned() });
    }
    carry_on(context, open, state, records, opening, answers)
}

/// Composes everything and lets the engine go on from a state.
fn carry_on(
    context: &Context,
    open: OpenRun,
    state: RunState,
    records: Vec<Record>,
    opening: Vec<Event>,
    given: Given,
) -> Result<Exit, UserError> {
    let runtime = context.runtime()?;
    let exit = runtime.block_on(engine(context, open, state, records, opening, given));
    // A prompt that was given up may still be reading keys on its thread.
    runtime.shutdown_background();
    restore();
    exit
}

async fn engine(
    context: &Context,
    open: OpenRun,
    state: RunState,
    records: Vec<Record>,
    opening: Vec<Event>,
    given: Given,
) -> Result<Exit, UserError> {
    let OpenRun { dir, lock, writer, chain, .. } = open;
    let guard = Guard::closed();
    let clients = clients(context, &state.plan, guard.clone(), Some(dir.artifacts()));
    let interactive = state.settings.interactive && attended();
    let ports = ports(context, &clients, &state, given, interactive, lock.holder().clone());
    let signals = crate::signals::listen(restore)
        .map_err(|error| UserError::new(Exit::Internal, format!("listen to signals: {error}")))?;
    let first = records.iter().find(|record| go::starts_run(record)).cloned();
    let first = first.ok_or_else(|| UserError::new(Exit::Internal, "a run without a start"))?;
    let fresh = records.len() == 1;
    let screen = Screen::start(context, if fresh { Vec::new() } else { records.clone() });
    if fresh {
        let shown = dispatcher::Shown::Fact(Box::new(first.clone()));
        drop(screen.shown.send(shown));
    }
    let setup = Setup {
        go: go::builder(ports.clone(), Arc::clone(&clients), first),
        ports,
        journal: Box::new(writer),
        chain,
        opening,
        arm: Box::new(move || {
            let armed = Armed::mint();
            guard.open(&armed);
            armed
        }),
        signals: signals.halt,
        shown: screen.shown.clone(),
        news: screen.news.clone(),
    };
    let run = state.run.clone();
    let (exit, _) = dispatcher::run(setup, state).await;
    screen.finish().await;
    clients.tunnels.close().await;
    if !context.json() {
        // The last lines: what came of it, what is changed, what is open, what to type next.
        let records = super::ledger::read(&dir.journal(), &run)?;
        if let Some(found) = summary::of(&records, context.clock.now()) {
            let columns = context.terminal.columns();
            for line in summary::lines(&found, columns, &TimeZone::system()) {
                context.terminal.out(&line);
            }
        }
    }
    drop(lock);
    Ok(exit)
}

fn ports(
    context: &Context,
    clients: &Arc<Clients>,
    state: &RunState,
    given: Given,
    interactive: bool,
    holder: Holder,
) -> Ports {
    let operator = if interactive {
        let objective = Some((state.incident_started, state.plan.objectives.rto_max));
        let terminal = context.terminal.clone();
        let person = TerminalOperator::new(terminal, Arc::clone(&context.clock), objective);
        Chain::before(given, state.mode, Arc::new(person))
    } else {
        Chain::alone(given, state.mode)
    };
    Ports {
        actions: Arc::new(Actions { clients: Arc::clone(clients) }),
        checks: Arc::new(Checks { clients: Arc::clone(clients) }),
        operator: Arc::new(operator),
        lease: lease(context, clients, holder),
        clock: Arc::clone(&context.clock),
    }
}

/// The lease in the surviving region's bucket, or this machine's alone where the estate has no shared state.
fn lease(context: &Context, clients: &Arc<Clients>, holder: Holder) -> Arc<dyn Lease> {
    let estate = &clients.estate;
    let Some(state) = &estate.state else { return Arc::new(LocalLease) };
    let (client, region) = (Arc::clone(clients), state.s3.region.clone());
    let source = Arc::new(move || {
        let (client, region) = (Arc::clone(&client), region.clone());
        Box::pin(async move {
            let regional = client.aws.region(&region).await.map_err(|error| error.message)?;
            Ok(regional.s3.clone())
        }) as futures::future::BoxFuture<'static, _>
    });
    let key = lease_key(&state.s3.prefix, &estate.estate);
    let clock = Arc::clone(&context.clock);
    let store = LeaseStore::s3(source, &state.s3.bucket, &key, Arc::clone(&clock));
    Arc::new(SharedLease::new(store, clock, &estate.estate, holder))
}

fn clients(
    context: &Context,
    plan: &Plan,
    guard: Guard,
    artifacts: Option<std::path::PathBuf>,
) -> Arc<Clients> {
    let estate = Arc::new(plan.estate.clone());
    let clients = Clients::new(estate, guard, Arc::clone(&context.clock))
        .knowing(super::ledger::open_obligations(context, &plan.estate.estate));
    let clients = match artifacts {
        Some(directory) => clients.with_artifacts(directory),
        None => clients,
    };
    if let Some(region) = plan.inputs.get("region").and_then(Value::as_str) {
        clients.aws.survive_in(region);
    }
    Arc::new(clients)
}

/// Shows what a run would do from live reads; the guard stays closed.
fn dry_run(context: &Context, plan: &Plan, flags: &RunFlags) -> Result<Exit, UserError> {
    let runtime = context.runtime()?;
    let report = runtime.block_on(async {
        let clients = clients(context, plan, Guard::closed(), None);
        let ports = Ports {
            actions: Arc::new(Actions { clients: Arc::clone(&clients) }),
            checks: Arc::new(Checks { clients: Arc::clone(&clients) }),
            operator: Arc::new(Chain::alone(Given::default(), Mode::DryRun)),
            lease: Arc::new(LocalLease),
            clock: Arc::clone(&context.clock),
        };
        let mut report = observe::plan(plan, &RunId::generate(), &ports).await;
        report.findings = preflight::findings(plan, &clients, &report).await;
        clients.tunnels.close().await;
        report
    });
    runtime.shutdown_background();
    if let Ok(store) = context.store() {
        let facts = serde_json::to_value(&report.steps).unwrap_or_default();
        let estate = &plan.estate.estate;
        let saved = store.save_facts(estate, Namespace::Live, &plan.runbook, report.seen, facts);
        if let Err(error) = saved {
            context
                .terminal
                .loud(Tone::Warn, &format!("what was seen is not saved: {}", chain(&error)));
        }
    }
    if context.json() {
        context.terminal.out(&report.json().to_string());
    } else {
        for line in plan_view::text(&report, context.terminal.columns(), &TimeZone::system()) {
            context.terminal.out(&line);
        }
    }
    Ok(match (report.unmet(), flags.detailed_exitcode && report.changes()) {
        (true, _) => Exit::NotMet,
        (false, true) => Exit::DryRunChanges,
        (false, false) => Exit::Ok,
    })
}

/// Reads the answers given beforehand and, where nobody can be asked, holds that none is missing.
fn answers(context: &Context, plan: &Plan, flags: &RunFlags) -> Result<Given, UserError> {
    let mut given = Given {
        yes: flags.yes,
        approve: flags.approve.iter().cloned().collect(),
        accept_loss: flags.accept_loss.map(crate::operator::scripted::AcceptedLoss::AtMost),
        recovery_point: flags.recovery_point.clone(),
        overrides: flags.overrides.iter().cloned().collect(),
        waive: flags.waive.iter().cloned().collect(),
        answers: BTreeMap::new(),
        by_name_only: std::collections::BTreeSet::new(),
    };
    if let Some(path) = &flags.answers {
        let text = std::fs::read_to_string(path).map_err(|error| {
            UserError::new(Exit::Usage, format!("read the answers `{}`: {error}", path.display()))
        })?;
        let parsed = yaml::parse::<BTreeMap<String, String>>(&path.display().to_string(), &text)
            .map_err(|problems| context.invalid(&problems, Exit::Usage))?;
        given.answers = parsed.value;
    }
    given.guard(plan);
    let problems = given.problems(plan, Mode::Live);
    if !problems.is_empty() {
        return Err(UserError::new(Exit::Usage, problems.join("\n")));
    }
    if !flags.non_interactive && attended() {
        return Ok(given);
    }
    let confirm_each = flags.confirm.is_some();
    let missing = needed::needed(plan, &given, &[], Mode::Live, confirm_each);
    // Only what every run of this plan asks is demanded before anything was looked at.
    let always: Vec<String> = missing.into_iter().filter(|flag| is_certain(flag)).collect();
    if always.is_empty() {
        return Ok(given);
    }
    let mut error =
        UserError::new(Exit::NeedsAnswer, "nobody can be asked here, and answers are missing");
    for flag in always {
        error = error.hint(format!("add {flag}"));
    }
    Err(error)
}

/// Says whether a flag answers something every run asks, whatever the estate looks like.
fn is_certain(flag: &str) -> bool {
    flag.starts_with("--yes") || flag.starts_with("--approve")
}

/// An endpoint override left in the shell would send a real failover to a test server, or a child to another one.
fn refuse_overrides(plan: &Plan, flags: &RunFlags) -> Result<(), UserError> {
    let overrides = endpoints::overrides(&plan.estate);
    if overrides.is_empty() || flags.allow_endpoint_override {
        return Ok(());
    }
    let mut message =
        "an AWS endpoint override is set; a live run does not start with one".to_owned();
    for line in overrides {
        message = format!("{message}\n  {line}");
    }
    Err(UserError::new(Exit::Usage, message)
        .hint("unset it; endpoints the estate needs belong in the estate file")
        .hint("or, knowing what it does: --allow-endpoint-override"))
}

fn settings(flags: &RunFlags) -> Result<RunSettings, UserError> {
    Ok(RunSettings {
        jobs: flags.jobs,
        on_failure: match flags.on_failure {
            OnFailureArg::Auto => OnFailureFlag::Auto,
            OnFailureArg::Rollback => OnFailureFlag::Rollback,
            OnFailureArg::Stop => OnFailureFlag::Stop,
        },
        confirm_each: flags.confirm.is_some(),
        interactive: !flags.non_interactive && attended(),
        overrides: flags.overrides.iter().cloned().collect(),
    })
}

fn incident_started(flags: &RunFlags, now: Timestamp) -> Result<Timestamp, UserError> {
    let Some(text) = &flags.incident_started else { return Ok(now) };
    if let Ok(ago) = text.parse::<Span>() {
        let ago = SignedDuration::try_from(ago.0).unwrap_or_default();
        return Ok(now - ago);
    }
    match text.parse::<Timestamp>() {
        Ok(instant) if instant <= now => Ok(instant),
        Ok(_) => Err(UserError::new(Exit::Usage, "--incident-started lies in the future")),
        Err(_) => {
            Err(UserError::new(Exit::Usage, format!("--incident-started `{text}` is no instant"))
                .hint("write 2026-01-01T02:12:00Z, or how long ago: 15m"))
        }
    }
}

/// Refuses to start beside a run that may have changed something; names those that never did.
fn unfinished(store: &Store, plan: &Plan) -> Result<Vec<RunId>, UserError> {
    let estate = &plan.estate.estate;
    let found = store.unfinished(estate, Namespace::Live).map_err(|error| store_error(&error))?;
    if let Some((name, why)) = found.unreadable.first() {
        let message = format!("run {name} cannot be read and may be unfinished: {}", chain(why));
        return Err(UserError::new(Exit::Journal, message)
            .hint(format!("look at it: phoenix-dr audit {name} --verify")));
    }
    let mut superseded = Vec::new();
    for summary in found.runs {
        if super::ledger::nothing_changed(store, &summary.run) {
            superseded.push(summary.run);
            continue;
        }
        let short = summary.run.short();
        let message =
            format!("run {short} of {} on estate `{estate}` is not finished", summary.runbook);
        return Err(UserError::new(Exit::Held, message)
            .hint(format!("go on with it: phoenix-dr resume {short}"))
            .hint(format!("or undo it: phoenix-dr rollback {short}"))
            .hint(format!("or give it up: phoenix-dr abandon {short} --reason WHY")));
    }
    Ok(superseded)
}

fn append(open: &mut OpenRun, records: &[Record]) -> Result<(), UserError> {
    use crate::engine::ports::Journal;
    open.writer.append(records).map_err(|error| UserError::new(Exit::Journal, error.to_string()))
}

fn lock_error(error: &LockError) -> UserError {
    UserError::new(Exit::Held, format!("another run holds this estate: {}", chain(error)))
        .hint("see it: phoenix-dr status")
}
