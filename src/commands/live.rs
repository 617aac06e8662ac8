//! Carrying a plan out: a new run, and the composition a resumed one shares with it.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use futures::FutureExt as _;
use futures::future::BoxFuture;
use jiff::Timestamp;
use jiff::tz::TimeZone;
use serde_json::Value;
use tokio::sync::oneshot;

use super::context::{Context, chain, store_error};
use super::rehearsal::Rehearsal;
use super::show::Screen;
use super::typed::{self, Wanted};
use super::{answers, compose, debriefed, drift, dry_run, facts, go, rehearsal, rollback};
use crate::cli::RunFlags;
use crate::clients::Clients;
use crate::clients::guard::Guard;
use crate::clock::said_instant;
use crate::engine::dispatcher::{self, Setup};
use crate::engine::ports::{Armed, Lease};
use crate::engine::state::RunState;
use crate::error::UserError;
use crate::event::{Event, Record, RunSettings};
use crate::exit::Exit;
use crate::ids::RunId;
use crate::journal::lock::{FileLock, Holder, LockError};
use crate::journal::store::{OpenRun, Store};
use crate::operator::scripted::Given;
use crate::operator::terminal::{attended, restore};
use crate::plan::Plan;
use crate::plan::inputs::as_set;
use crate::plan::resolve::resolve;
use crate::report::terminal::{Line, Tone, Weight};
use crate::report::{summary, text};

/// Carries a runbook out, or shows what that would do.
pub(super) fn run(
    context: &Context,
    name: &str,
    inputs: &[(String, String)],
    flags: &RunFlags,
) -> Result<Exit, UserError> {
    dry_run::refuse_without(&flags.how.who)?;
    let rehearsal = rehearsal::staged(context, name, inputs, flags)?;
    let context = rehearsal.as_ref().unwrap_or(context);
    let who = &flags.how.who;
    let interactive = answers::interactive(who);
    let (plan, wanted) =
        planned(context, name, inputs, flags.how.recovery_point.as_deref(), interactive)?;
    if who.dry_run {
        typed::ask_for(context, &wanted)?;
        let point = flags.how.recovery_point.as_deref();
        return dry_run::of_plan(context, &plan, who.detailed_exitcode, point);
    }
    let given = answers::of_run(context, &plan, &flags.how)?;
    answers::refuse_overrides(context, &plan, who)?;
    let store = context.store()?;
    let mut settings = given.settle(answers::settings(&flags.how, None));
    settings.typed.clone_from(&context.typed);
    let now = context.clock.now();
    let incident_started = incident_started(flags, now)?;
    let run = RunId::generate();
    // The lock comes first: what is seen of other runs then stays true.
    let estate_lock = lock_estate(context, &store, &plan, &run)?;
    let superseded = unfinished(context, &store, &plan)?;
    if !settings.interactive {
        demand(context, &plan, &given, settings.confirm_each, incident_started)?;
    }
    typed::ask_for(context, &wanted)?;
    let mut open = store.create_run(&run, now).map_err(|error| store_error(&error))?;
    if let Some(rehearsal) = context.rehearsal() {
        // Its world is there before its first record: a rehearsal that can be read can be taken up.
        rehearsal.sandbox(open.dir.journal().parent())?;
    }
    let first = open.chain.seal(
        Event::RunStarted {
            run: run.clone(),
            mode: context.mode(),
            plan,
            incident_started,
            settings,
            version: env!("CARGO_PKG_VERSION").to_owned(),
            world: context.rehearsal().and_then(|rehearsal| rehearsal.named.clone()),
        },
        now,
    );
    append(&mut open, std::slice::from_ref(&first))?;
    for old in superseded {
        supersede(context, &store, &old, &run)?;
    }
    let state = RunState::start(&first)
        .map_err(|error| UserError::new(Exit::Internal, error.to_string()))?;
    let records = vec![first];
    let opening = Vec::new();
    carry_on(context, Job { open, state, records, opening, consent: None, given, estate_lock })
}

/// Gives up a run that waits and has changed nothing, for one that begins now, and says so.
fn supersede(context: &Context, store: &Store, old: &RunId, new: &RunId) -> Result<(), UserError> {
    let why = format!("superseded by run {new}; it never changed anything");
    super::abandon::give_up(context, store, old, &why)?;
    let (heading, short) = (context.mode().heading(), old.short());
    let real = if context.rehearsal().is_some() { ", and nothing real was touched" } else { "" };
    let said = format!(
        "{heading}run {short}, which waited, is given up for this one: it had changed nothing{real}"
    );
    for line in text::wrap(&said, context.terminal.columns(), 2) {
        context.terminal.line(&Line::new(Weight::Normal, Tone::Warn, line));
    }
    Ok(())
}

/// Reads a runbook and the estate and resolves them; what they were read from is not kept. Returns the secrets as well
/// that are still to be asked for.
fn planned(
    context: &Context,
    name: &str,
    inputs: &[(String, String)],
    recovery_point: Option<&str>,
    interactive: bool,
) -> Result<(Arc<Plan>, Vec<Wanted>), UserError> {
    let loaded = context.runbook(name)?;
    let estate = context.estate()?;
    let mut given: BTreeMap<String, Value> =
        inputs.iter().map(|(name, value)| (name.clone(), Value::String(value.clone()))).collect();
    let wanted = typed::wanted(context, &loaded, &mut given, interactive);
    let plan = resolve(&loaded, &estate, &given).map_err(|mut problems| {
        if !context.inputs_are_flags {
            as_set(&loaded, &mut problems);
        }
        context.invalid(&problems, Exit::Usage)
    })?;
    Ok((Arc::new(plan.choosing(recovery_point)), wanted))
}

/// Where an answer every run needs is missing, looks at the estate and names all that are, before a run begins.
///
/// What only the look shows to be missing is found by the run itself, before go.
fn demand(
    context: &Context,
    plan: &Arc<Plan>,
    given: &Given,
    confirm_each: bool,
    incident_started: Timestamp,
) -> Result<(), UserError> {
    let run = answers::Run { plan, given, mode: context.mode(), state: None };
    if answers::certain(run.missing(confirm_each, &[], false)).is_empty() {
        return Ok(());
    }
    let seen = dry_run::look(context, plan, None, given.recovery_point.as_deref())?;
    // What is as desired already asks nothing: then nothing is missing after all.
    let missing = run.missing(confirm_each, &seen.report.steps, seen.alone);
    if missing.is_empty() {
        return Ok(());
    }
    let mut refusal = answers::refusal(&missing);
    let now = context.clock.now();
    for line in go::offered(&seen.report, &missing, incident_started, now) {
        refusal.message = format!("{}\n{line}", refusal.message);
    }
    // Whoever added the flags alone would be refused for what blocks next.
    Err(answers::beside(refusal, &seen.report.findings))
}

/// A run to be carried on, with everything it takes.
pub(super) struct Job {
    pub open: OpenRun,
    pub state: RunState,
    pub records: Vec<Record>,
    /// Recorded before anything is decided
    pub opening: Vec<Event>,
    /// Asked before anything is recorded; without a yes the run stays as it is
    pub consent: Option<Box<rollback::Consent>>,
    pub given: Given,
    pub estate_lock: FileLock,
}

/// Composes everything and lets the engine go on from a state.
pub(super) fn carry_on(context: &Context, job: Job) -> Result<Exit, UserError> {
    let runtime = context.runtime()?;
    let exit = runtime.block_on(engine(context, job));
    // A prompt that was given up may still be reading keys on its thread.
    runtime.shutdown_background();
    restore();
    exit
}

async fn engine(context: &Context, job: Job) -> Result<Exit, UserError> {
    let Job { mut open, state, records, mut opening, consent, given, estate_lock } = job;
    let store = context.memory();
    let guard = Guard::closed();
    let clients =
        compose::clients(context, &state.plan, guard.clone(), Some(open.dir.artifacts()))?;
    compose::learn_secrets(context, &clients, &state.plan).await;
    open.chain = open.chain.masked_by(clients.masks.clone());
    let interactive = settings(&state, &opening).interactive && attended();
    let mut signals = crate::signals::listen(restore)
        .map_err(|error| UserError::new(Exit::Internal, format!("listen to signals: {error}")))?;
    let hung_up = signals.hung_up.clone();
    let operator =
        compose::operator(context, &state, given.clone(), interactive.then_some(hung_up));
    let ports = compose::ports(context, &clients, operator, open.lock.holder().clone());
    if let Some(consent) = consent {
        let run = &state.run;
        opening.extend(rollback::ask(&ports, &mut signals.halt, run, &mut open, *consent).await?);
    }
    let OpenRun { dir, lock, writer, chain, .. } = open;
    let first = records.iter().find(|record| go::starts_run(record)).cloned();
    let first = first.ok_or_else(|| UserError::new(Exit::Internal, "a run without a start"))?;
    let screen = screen(context, &first, records);
    let (lock, estate_lock) = (Arc::new(Mutex::new(lock)), Arc::new(Mutex::new(estate_lock)));
    let at_step = tell(Arc::clone(&ports.lease), [Arc::clone(&lock), Arc::clone(&estate_lock)]);
    let sharing = Sharing::when_armed(context, &clients, &state.plan, store.clone());
    let before = go::Before {
        ports: ports.clone(),
        clients: Arc::clone(&clients),
        first,
        given,
        store,
        estate_file: drift::file(context),
        terminal: context.terminal.clone(),
    };
    let setup = Setup {
        go: go::builder(before),
        ports,
        journal: Box::new(writer),
        chain,
        opening,
        disarm: disarming(guard.clone()),
        at_step,
        arm: arming(guard, sharing.armed),
        signals: signals.halt,
        shown: screen.shown.clone(),
        news: screen.news.clone(),
    };
    let run = state.run.clone();
    // As a task of its own it stands beside the steps it starts: what they tell each other wakes no other thread.
    let (exit, _) = match tokio::spawn(dispatcher::run(setup, state)).await {
        Ok(ended) => ended,
        Err(defect) => return Err(UserError::new(Exit::Internal, format!("the engine: {defect}"))),
    };
    screen.finish().await;
    sharing.done.await;
    clients.tunnels.close().await;
    // What was marked done meanwhile can be recorded once the locks are free, and belongs to what is said of the run.
    drop((lock, estate_lock));
    super::obligations::settle(context, &context.store()?, &run);
    let exit = debriefed::debriefed(context, &dir.journal(), &run, exit)?;
    last_lines(context, &dir.journal(), &run, exit)?;
    Ok(exit)
}

/// Returns how a run goes on: as the command says that takes it up, whoever began it. What a pipeline began, a person may
/// finish at a terminal.
fn settings<'a>(state: &'a RunState, opening: &'a [Event]) -> &'a RunSettings {
    let taken_up = opening.iter().find_map(|event| match event {
        Event::RunResumed { settings, .. } => Some(settings),
        _ => None,
    });
    taken_up.unwrap_or(&state.settings)
}

/// Returns what opens the guard for changes, and tells who waits for that.
fn arming(guard: Guard, mut told: Option<oneshot::Sender<()>>) -> dispatcher::Arm {
    Box::new(move || {
        let armed = Armed::mint();
        guard.open(&armed);
        // A run that shares nothing has nobody listening.
        told.take().map(|told| told.send(()).ok());
        armed
    })
}

fn disarming(guard: Guard) -> dispatcher::Disarm {
    Box::new(move || guard.close())
}

/// Starts showing a run: a new one from its first record, another from what was recorded of it before.
fn screen(context: &Context, first: &Record, records: Vec<Record>) -> Screen {
    if records.len() > 1 {
        return Screen::start(context, records);
    }
    let screen = Screen::start(context, Vec::new());
    drop(screen.shown.send(dispatcher::Shown::Fact(Box::new(first.clone()))));
    screen
}

/// Says what came of it, what is changed, what is open, what to type next: last of all, so that it stays in view.
fn last_lines(context: &Context, journal: &Path, run: &RunId, exit: Exit) -> Result<(), UserError> {
    if context.json() {
        return Ok(());
    }
    let records = super::journals::read(journal, run)?;
    if let Some(mut found) = summary::of(&records, context.clock.now()) {
        if context.rehearsal().is_some_and(Rehearsal::left) {
            found.proves_nothing(exit);
        }
        let lines = summary::lines(&found, context.terminal.columns(), &TimeZone::system());
        if context.rehearsal().is_some() {
            context.terminal.out("");
        }
        context.terminal.out(&lines.join("\n"));
    }
    Ok(())
}

/// Lets whoever is refused by the lease or by a lock read which step is under way.
fn tell(lease: Arc<dyn Lease>, locks: [Arc<Mutex<FileLock>>; 2]) -> dispatcher::AtStep {
    Box::new(move |step| {
        lease.at_step(step);
        for lock in &locks {
            lock.lock().unwrap_or_else(PoisonError::into_inner).at_step(step);
        }
    })
}

fn incident_started(flags: &RunFlags, now: Timestamp) -> Result<Timestamp, UserError> {
    let Some(text) = &flags.incident_started else { return Ok(now) };
    said_instant(text, now)
        .map_err(|error| UserError::new(Exit::Usage, format!("--incident-started: {error}")))
}

/// Refuses to start beside a run that may have changed something; names those that never did.
///
/// The estate's lock must be held: a run that begins right now would not be seen.
fn unfinished(context: &Context, store: &Store, plan: &Plan) -> Result<Vec<RunId>, UserError> {
    let estate = &plan.estate.estate;
    let found =
        store.unfinished(estate, context.namespace()).map_err(|error| store_error(&error))?;
    if let Some(damaged) = found.unreadable.first() {
        return Err(super::meant::unreadable(damaged));
    }
    let mut superseded = Vec::new();
    for summary in found.runs {
        if super::ledger::nothing_changed(store, &summary.run) {
            superseded.push(summary.run);
            continue;
        }
        let (short, flag) = (summary.run.short(), context.mode().flag());
        let message =
            format!("run {short} of {} on estate `{estate}` is not finished", summary.runbook);
        let mut error = UserError::new(Exit::Held, message)
            .hint(format!("go on with it: phoenix-dr resume {short}{flag}"));
        if super::ledger::revertible(context, store, &summary.run) {
            error = error.hint(format!("or undo it: phoenix-dr rollback {short}{flag}"));
        }
        return Err(error.hint(format!("or give it up: phoenix-dr abandon {short} --reason WHY")));
    }
    Ok(superseded)
}

/// Appends records to a run's journal; on return they are durable.
pub(super) fn append(open: &mut OpenRun, records: &[Record]) -> Result<(), UserError> {
    use crate::engine::ports::Journal;
    open.writer.append(records).map_err(|error| UserError::new(Exit::Journal, error.to_string()))
}

/// Takes the estate's lock on this machine, or names who has it.
pub(super) fn lock_estate(
    context: &Context,
    store: &Store,
    plan: &Plan,
    run: &RunId,
) -> Result<FileLock, UserError> {
    let holder = Holder::this_process(run, context.clock.now());
    store
        .lock_estate(&plan.estate.estate, context.namespace(), holder)
        .map_err(|error| lock_error(&error))
}

fn lock_error(error: &LockError) -> UserError {
    match error {
        LockError::Held { holder, .. } => {
            let short = holder.as_deref().map(|holder| holder.run.short().to_owned());
            let message = format!("another run holds this estate: {}", chain(error));
            let status = format!("see it: phoenix-dr status {}", short.unwrap_or_default());
            UserError::new(Exit::Held, message).hint(status.trim_end())
        }
        LockError::Io { .. } => error.user(),
    }
}

/// Facts are kept in the surviving region once the run may write at all.
struct Sharing {
    /// To be told when the run is armed
    armed: Option<oneshot::Sender<()>>,
    done: BoxFuture<'static, ()>,
}

impl Sharing {
    fn when_armed(
        context: &Context,
        clients: &Arc<Clients>,
        plan: &Arc<Plan>,
        store: Option<Store>,
    ) -> Self {
        let place = compose::facts_store(clients, &plan.runbook);
        let (Some(place), Some(store)) = (place, store) else {
            return Self { armed: None, done: futures::future::ready(()).boxed() };
        };
        let (armed, was_armed) = oneshot::channel();
        let (clients, plan) = (Arc::clone(clients), Arc::clone(plan));
        let task = tokio::spawn(async move {
            match was_armed.await {
                Ok(()) => facts::share(&clients, &place, &store, &plan).await,
                // Nobody said go.
                Err(_) => Ok(()),
            }
        });
        let terminal = context.terminal.clone();
        let done = async move {
            let failed = match task.await {
                Ok(Ok(())) => return,
                Ok(Err(why)) => why,
                Err(failed) => failed.to_string(),
            };
            let said = format!("what was seen is not kept in the shared state: {failed}");
            for line in text::wrap(&said, terminal.columns(), 2) {
                terminal.loud(Tone::Warn, &line);
            }
        };
        Self { armed: Some(armed), done: done.boxed() }
    }
}
