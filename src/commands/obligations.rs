//! What runs have left open: closed by a check that proves it, or by a person's word.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use futures::future::join_all;
use serde::Deserialize;
use serde_json::{Map, Value};

use super::context::{Context, store_error};
use super::journals::{fold, instant, read};
use super::ledger::write;
use crate::checks::Checks;
use crate::clients::guard::Guard;
use crate::clock::within;
use crate::engine::ports::Check as _;
use crate::error::UserError;
use crate::event::Event;
use crate::exit::Exit;
use crate::ids::RunId;
use crate::journal::inbox::{self, Mark};
use crate::journal::listed::Listed;
use crate::journal::lock::Liveness;
use crate::journal::store::{Namespace, RunDir, Store, open_of};
use crate::journal::summary::OpenObligation;
use crate::journal::who::who;
use crate::outcome::Verdict;
use crate::plan::{CheckSpec, Plan};
use crate::report::terminal::Tone;
use crate::runbook::schema::Vote;
use crate::span::Span;

/// All looks of a command together: it must say what is open although the estate cannot be reached.
const LIMIT: Duration = Duration::from_secs(4);

/// Returns what is open on every estate this host has runs of, after what has been proved or marked was closed.
pub(super) fn open(context: &Context, store: &Store) -> Result<Vec<OpenObligation>, UserError> {
    let list = || store.list().map_err(|error| store_error(&error));
    // Every journal is read for a list, so there is another one only where something was recorded since.
    let mut listed = list()?;
    let runs = listed.iter().filter_map(|listed| match listed {
        Listed::Run(summary) => Some(summary.run.clone()),
        Listed::Unreadable(_) => None,
    });
    let settled: Vec<bool> = runs.map(|run| settle(context, store, &run)).collect();
    if settled.contains(&true) {
        listed = list()?;
    }
    let estates: BTreeSet<&str> = listed
        .iter()
        .filter_map(|listed| match listed {
            Listed::Run(summary) => Some(summary.estate.as_str()),
            Listed::Unreadable(_) => None,
        })
        .collect();
    let mut all = Vec::new();
    for estate in estates {
        let found = open_of(&listed, estate, Namespace::Live);
        let proved = prove(context, store, &found);
        all.extend(if proved { open_of(&list()?, estate, Namespace::Live) } else { found });
    }
    Ok(all)
}

/// Makes the checks that can close obligations. True when one was closed.
fn prove(context: &Context, store: &Store, open: &[OpenObligation]) -> bool {
    // Of a run that goes on, only its own process writes the journal.
    let free = |run: &RunId| matches!(store.liveness(run), Ok(Liveness::Free));
    let asked: Vec<(&OpenObligation, CheckSpec)> = open
        .iter()
        .filter(|open| free(&open.run))
        .filter_map(|open| Some((open, spec(open)?)))
        .collect();
    let Some(plan) = asked.first().and_then(|(open, _)| plan_of(store, &open.run)) else {
        return false;
    };
    let Ok(runtime) = context.runtime() else { return false };
    let proofs = runtime.block_on(looks(context, &plan, &asked));
    runtime.shutdown_background();
    let mut closed = false;
    for ((open, _), said) in asked.iter().zip(proofs) {
        let Some(said) = said else { continue };
        match close(context, store, &open.run, &open.obligation.id, said) {
            Ok(()) => closed = true,
            Err(error) => context.terminal.loud(Tone::Warn, &error.message),
        }
    }
    closed
}

/// Looks at all of them at the same time; what is said of those that hold.
async fn looks(
    context: &Context,
    plan: &Plan,
    asked: &[(&OpenObligation, CheckSpec)],
) -> Vec<Option<String>> {
    let Ok(clients) = super::compose::clients(context, plan, Guard::closed(), None) else {
        return Vec::new();
    };
    clients.learn_secrets(&[]).await;
    let checks = Checks { clients: Arc::clone(&clients) };
    let looks = asked.iter().map(|(_, spec)| async {
        let seen = within(&*context.clock, LIMIT, checks.look(spec)).await.ok()?;
        (seen.verdict == Verdict::Holds).then(|| format!("proved by {}: {}", spec.check, seen.said))
    });
    let proofs = join_all(looks).await;
    clients.tunnels.close().await;
    proofs
}

/// The check that closes an obligation, as its opener wrote it down.
#[derive(Deserialize)]
struct ClosedBy {
    check: String,
    #[serde(default)]
    with: Map<String, Value>,
    #[serde(default)]
    that: Option<String>,
    #[serde(default)]
    expect: Option<Value>,
}

fn spec(open: &OpenObligation) -> Option<CheckSpec> {
    let closed_by = open.obligation.closed_by.clone()?;
    let ClosedBy { check, with, that, expect } = serde_json::from_value(closed_by).ok()?;
    Some(CheckSpec {
        check,
        title: open.obligation.id.clone(),
        with,
        that,
        expect,
        within: Span(LIMIT),
        every: Span(LIMIT),
        consecutive: 1,
        vote: Vote::Full,
    })
}

fn plan_of(store: &Store, run: &RunId) -> Option<Plan> {
    let records = read(&store.dir(run).journal(), run).ok()?;
    match &records.first()?.event {
        Event::RunStarted { plan, .. } => Some((**plan).clone()),
        _ => None,
    }
}

/// Records that an obligation is closed, unless it is already.
pub(super) fn close(
    context: &Context,
    store: &Store,
    run: &RunId,
    id: &str,
    said: String,
) -> Result<(), UserError> {
    let now = context.clock.now();
    let mut records = Vec::new();
    let open = store.open_run(run, now, |record| records.push(record));
    let mut open = open.map_err(|error| store_error(&error))?;
    let state = fold(run, &records)?;
    if !state.obligations.contains_key(id) {
        return Ok(());
    }
    let now = instant(&state, &records, now);
    let mut chain = open.chain.masked_by(context.terminal.masker().clone());
    let record =
        chain.seal(Event::ObligationClosed { id: id.to_owned(), said, lapsed: false }, now);
    write(&mut open.writer, &[record])
}

/// Marks an obligation of a run that goes on: it is recorded when the run ends or stops.
pub(super) fn mark_later(
    context: &Context,
    dir: &RunDir,
    obligation: &str,
    evidence: &str,
) -> Result<(), UserError> {
    let mark = Mark {
        obligation: obligation.to_owned(),
        evidence: evidence.to_owned(),
        who: who(),
        at: context.clock.now(),
    };
    inbox::put(dir, &mark)
        .map_err(|why| UserError::new(Exit::Journal, format!("mark `{obligation}` done: {why}")))
}

/// Records what was marked while the run went on, if nobody carries it out now. True when there was something to record.
pub(super) fn settle(context: &Context, store: &Store, run: &RunId) -> bool {
    let marks = match inbox::list(&store.dir(run)) {
        Ok(marks) if marks.is_empty() => return false,
        Ok(marks) => marks,
        Err(why) => {
            let said =
                format!("what was marked done in run {} is not recorded: {why}", run.short());
            context.terminal.loud(Tone::Warn, &said);
            return false;
        }
    };
    if !matches!(store.liveness(run), Ok(Liveness::Free)) {
        return false;
    }
    for (path, mark) in marks {
        let at = mark.at.strftime("%Y-%m-%d %H:%M");
        let said = format!("{} (marked by {} at {at} UTC)", mark.evidence, mark.who);
        let recorded = close(context, store, run, &mark.obligation, said);
        let removed = recorded.map_err(|error| error.message).and_then(|()| {
            inbox::remove(&path).map_err(|why| format!("remove `{}`: {why}", path.display()))
        });
        if let Err(why) = removed {
            context.terminal.loud(Tone::Warn, &why);
        }
    }
    true
}

/// Returns what waits to be recorded of a run that goes on.
pub(super) fn marked(store: &Store, run: &RunId) -> Vec<Mark> {
    let marks = inbox::list(&store.dir(run)).unwrap_or_default();
    marks.into_iter().map(|(_, mark)| mark).collect()
}
