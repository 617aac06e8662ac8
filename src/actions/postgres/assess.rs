//! Action `postgres.assess`: what in a database is damaged, and where; by reads only.
//!
//! Damage is a result, not a failure; a connection that is lost is a failure of which nothing is concluded, and what was
//! not read is never called sound. Both tiers do the same work, catalogs first: `quick` in the order of use until its
//! budget is spent, `deep` all of it, with the structure of tables and, where that is asked for, the agreement of indexes.

mod amcheck;
mod conclude;
mod essentials;
mod forecast;
mod large;
mod look;
mod plain;
mod reader;
mod relations;
mod report;
mod scan;
mod search;
mod segments;
mod server;
mod tail;
mod validity;
mod verdict;
mod work;

pub(super) use conclude::unread_yet;

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Write as _;

use serde_json::{Value, json};

use super::disproved;
use crate::actions::artifact::write_whole;
use crate::by_hand;
use crate::clients::Clients;
use crate::clients::postgres::long::SINCE_14;
use crate::clients::postgres::{NoSession, Opening, Session, connect_with, database};
use crate::clock::since;
use crate::engine::ports::{Armed, Call, Observation, Performed};
use crate::estate::types::{Estate, Priority};
use crate::outcome::{ActionError, FailureClass, Obligation, TELLS, WARNS};
use crate::runbook::catalogue::actions::{AssessTier, PostgresAssess};
use crate::span::Span;
use conclude::Subject;
use look::{Look, Seen, look};
use reader::{Shared, Tally, Until};
use relations::{Family, Order, arrange};
use report::{Entry, Report, listed, worst_first};
use server::too_old;
use work::{Assessed, assess_all};

/// Sessions side by side, where the runbook does not say.
const JOBS: u8 = 4;
const JOBS_MAX: u8 = 16;
/// Where the runbook does not say it, the quick tier has this part of the time in which what comes first must be restored:
/// the rest is for the restore.
const SHARE_OF_OBJECTIVE: u32 = 20;
/// And this at least.
const BUDGET_LEAST: Span = Span::minutes(1);
/// Before the step's time is over reading ends, so that what was found is written down.
const MARGIN: Span = Span::seconds(15);
/// What a deep tier says that did not look for it.
const NOT_COMPARED: &str = "tables were not compared with their indexes: a page of zeros, a row that an index lacks, and a \
    value that is compressed in its row and cannot be read do not show; `compare_indexes: true` looks for all of it";
/// Version of the report's JSON.
const FORMAT: u32 = 1;

/// Arguments that hold together.
struct Wanted<'a> {
    with: &'a PostgresAssess,
    database: &'a str,
    jobs: usize,
    /// Of the quick tier
    budget: Option<Span>,
}

/// Returns the arguments as they are meant, or everything that is wrong with them.
fn wanted<'a>(clients: &'a Clients, with: &'a PostgresAssess) -> Result<Wanted<'a>, ActionError> {
    let mut wrong = Vec::new();
    let jobs = with.jobs.unwrap_or(JOBS);
    if jobs == 0 || jobs > JOBS_MAX {
        wrong.push(format!("`jobs` is {jobs}; 1 to {JOBS_MAX} are possible"));
    }
    let budget = match (with.tier, with.budget) {
        (AssessTier::Quick, budget) => Some(budget.unwrap_or_else(|| share(&clients.estate))),
        (AssessTier::Deep, None) => None,
        (AssessTier::Deep, Some(_)) => {
            wrong.push(
                "`budget` is for the quick tier; the step's `timeout` bounds a deep one".to_owned(),
            );
            None
        }
    };
    match (with.tier, with.compare_indexes) {
        (AssessTier::Quick, Some(true)) => {
            wrong.push("`compare_indexes` is for the deep tier".to_owned());
        }
        (AssessTier::Deep, Some(false)) if with.proves => {
            wrong.push("`proves` wants `compare_indexes`; leave that out".to_owned());
        }
        (AssessTier::Quick | AssessTier::Deep, _) => {}
    }
    if with.schemas.as_ref().is_some_and(Vec::is_empty) {
        wrong.push("`schemas` names none; leave it out to assess all".to_owned());
    }
    if wrong.is_empty() {
        let database = with.database.as_deref().unwrap_or(&database(clients)?.name);
        return Ok(Wanted { with, database, jobs: usize::from(jobs), budget });
    }
    let message = format!("postgres.assess: {}", wrong.join("; "));
    Err(ActionError::unchanged(FailureClass::Invalid, message))
}

/// Returns the time of a quick tier whose runbook names none. Of the objectives an action knows the estate's alone.
fn share(estate: &Estate) -> Span {
    let objective = estate.objectives.get(&Priority::P0);
    let share = objective.map(|objective| Span(objective.rto.0 / SHARE_OF_OBJECTIVE));
    share.unwrap_or(BUDGET_LEAST).max(BUDGET_LEAST)
}

/// Opens a session for reads that take long.
async fn open(clients: &Clients, wanted: &Wanted<'_>) -> Result<Session, NoSession> {
    let opening = Opening::for_long_reads(Some(wanted.database));
    let opened = connect_with(clients, &wanted.with.instance, None, opening).await;
    opened.map_err(|error| match error {
        NoSession::Failed(error) if error.message.contains(SINCE_14) => {
            NoSession::Failed(too_old(&wanted.with.instance))
        }
        other => other,
    })
}

/// Looks what would be read, how much that is and what is missing for it; the reading itself is left to `perform`.
pub(crate) async fn observe(
    clients: &Clients,
    _call: &Call,
    with: &PostgresAssess,
) -> Result<Observation, ActionError> {
    let wanted = wanted(clients, with)?;
    let tier = with.tier;
    let mut seen =
        Observation::new(json!({ "assessed": null }), json!({ "assessed": { "tier": tier } }));
    seen.commands = by_hand::database::assess(
        &clients.estate,
        &with.instance,
        wanted.database,
        with.schemas.as_deref().unwrap_or_default(),
        wanted.jobs,
    );
    let mut session = match open(clients, &wanted).await {
        Ok(session) => session,
        Err(NoSession::Damaged(error)) => {
            seen.evidence = vec![format!("{}: damage lets nobody in", error.message)];
            return Ok(seen);
        }
        Err(other) => return Err(other.into()),
    };
    match look(clients, &mut session, with).await? {
        Look::Damaged { said, .. } => {
            seen.evidence = vec![format!("the catalogs cannot be read: {said}")];
        }
        Look::Seen(mut looked) => {
            let rate = forecast::measure(clients, &mut session, with, &looked).await?;
            seen.evidence = looked.evidence(rate, wanted.jobs, wanted.budget);
            let families = &mut looked.families;
            seen.evidence.extend(doubts_of_tables(clients, &mut session, with, families).await?);
        }
    }
    Ok(seen)
}

/// Reads, and reports what was found.
pub(crate) async fn perform(
    clients: &Clients,
    _armed: &Armed,
    call: &Call,
    with: &PostgresAssess,
    seen: &Observation,
) -> Result<Performed, ActionError> {
    let wanted = wanted(clients, with)?;
    let began = clients.clock.now();
    let mut report = Report {
        format: FORMAT,
        instance: with.instance.clone(),
        tier: with.tier,
        schemas: with.schemas.clone(),
        server: None,
        began: began.to_string(),
        took: Span::default(),
        bytes_read: 0,
        bytes: 0,
        entries: Vec::new(),
        doubts: Vec::new(),
        owed: Vec::new(),
        remarks: Vec::new(),
        counts: BTreeMap::new(),
        newest: None,
    };
    // What is looked at before anything is read costs time, too.
    let until = until(began, wanted.budget, call);
    match open(clients, &wanted).await {
        Ok(session) => read(clients, call, &wanted, until, session, &mut report).await?,
        Err(NoSession::Damaged(error)) => {
            report.entries.push(Entry::of_catalogs(error.message, None));
        }
        Err(other) => return Err(other.into()),
    }
    report.took = Span(since(began, clients.clock.now()));
    worst_first(&mut report.entries);
    let file = keep(clients, call, &report)?;
    let subject = subject(&clients.estate, with, wanted.database);
    let mut obligations: Vec<Obligation> =
        report.damage(&subject, file.as_deref()).into_iter().collect();
    if with.proves {
        obligations.extend(report.pending(&subject));
    }
    let mut notes = notes(&report, file.as_deref());
    if !report.damaged().is_empty() {
        notes.extend(disproved::void(clients, call, (&with.instance, &with.region)).await);
    } else if with.proves && with.database.is_none() && report.is_proved() {
        notes.extend(disproved::confirm(clients, call, &with.instance).await);
    }
    Ok(Performed {
        after: seen.desired.clone(),
        outputs: report.outputs(file.as_deref()),
        obligations,
        notes,
    })
}

/// Returns what is said of the result: all of it to everybody where not everything is sound, else the result alone.
fn notes(report: &Report, file: Option<&str>) -> Vec<String> {
    let sound = report.is_sound();
    let mut notes = report.notes();
    notes.extend(file.map(|file| format!("report: {file}")));
    for (place, note) in notes.iter_mut().enumerate() {
        match (sound, place) {
            (false, _) => note.insert_str(0, WARNS),
            (true, 0) => note.insert_str(0, TELLS),
            (true, _) => {}
        }
    }
    notes
}

/// Returns the names of what is assessed.
fn subject<'a>(estate: &'a Estate, with: &'a PostgresAssess, database: &'a str) -> Subject<'a> {
    let instance = with.instance.as_str();
    // An expression that gives no name gives an empty one.
    let formerly = with.formerly.as_deref().filter(|name| !name.is_empty());
    let known_as = formerly.unwrap_or(instance);
    Subject { estate, region: &with.region, instance, database, known_as }
}

/// Returns the names of what earlier steps may have left open about a database that is found sound now: that some of it
/// was not read, and that it is damaged. Only the deep tier can take either back, and only with every table compared with its
/// indexes.
pub(crate) fn settled(clients: &Clients, with: &PostgresAssess, done: &Performed) -> Vec<String> {
    let own = clients.estate.database.as_ref().map(|database| database.name.as_str());
    let whole = with.schemas.is_none() && done.outputs.get("sound") == Some(&Value::Bool(true));
    let (true, Some(database)) = (whole, with.database.as_deref().or(own)) else {
        return Vec::new();
    };
    let subject = subject(&clients.estate, with, database);
    match (with.compares(), with.proves) {
        // Damage that shows only where a table is compared with its indexes was not looked for.
        (false, _) => Vec::new(),
        // What no page shows was not looked for.
        (true, false) => vec![subject.id(conclude::DAMAGED)],
        (true, true) => {
            [conclude::PENDING, conclude::DAMAGED].map(|prefix| subject.id(prefix)).to_vec()
        }
    }
}

/// Marks which families are essential; returns what of the essential tables is not there.
async fn doubts_of_tables(
    clients: &Clients,
    session: &mut Session,
    with: &PostgresAssess,
    families: &mut [Family],
) -> Result<Vec<String>, ActionError> {
    let essentials = essentials::of(clients);
    let unknown = essentials::mark(clients, session, &essentials, families).await?;
    if unknown.is_some() {
        return Ok(unknown.into_iter().collect());
    }
    let missing = essentials::missing(&essentials, families, with.schemas.as_deref());
    let said = |table: String| {
        format!(
            "{table}, which the estate calls essential, is not there, or is nothing that holds rows"
        )
    };
    Ok(missing.into_iter().map(said).collect())
}

/// Asks for the newest instant the business wrote, where the estate says how; that it is not known fails nothing.
async fn ask_newest(clients: &Clients, wanted: &Wanted<'_>, until: Until, report: &mut Report) {
    let Some(sql) = &essentials::of(clients).newest else { return };
    let of = (wanted.with.instance.as_str(), wanted.database);
    match essentials::newest(clients, of, sql, until).await {
        Ok(newest) => report.newest = Some(newest),
        Err(why) => {
            let what = "the newest instant the business wrote is not known";
            report.remarks.push(format!("{what}: {why}"));
        }
    }
}

/// Reads what is to be read, into the report.
async fn read(
    clients: &Clients,
    call: &Call,
    wanted: &Wanted<'_>,
    until: Until,
    mut session: Session,
    report: &mut Report,
) -> Result<(), ActionError> {
    let with = wanted.with;
    let Seen { mut facts, mut families } = match look(clients, &mut session, with).await? {
        Look::Seen(looked) => *looked,
        Look::Damaged { said, code } => {
            report.entries.push(Entry::of_catalogs(said, Some(code)));
            return Ok(());
        }
    };
    report.doubts = doubts_of_tables(clients, &mut session, with, &mut families).await?;
    ask_newest(clients, wanted, until, report).await;
    arrange(
        &mut families,
        match with.tier {
            AssessTier::Quick => Order::ByUse,
            AssessTier::Deep => Order::BySize,
        },
    );
    let sessions = more_sessions(clients, wanted, session, families.len(), report).await?;
    report.bytes = families.iter().map(Family::bytes).sum();
    let tally = Tally::of(report.bytes);
    let began = clients.clock.now();
    let shared = Shared {
        clients,
        progress: &call.progress,
        instance: &with.instance,
        tier: with.tier,
        compares: with.compares(),
        facts: &facts,
        until,
        tally: &tally,
    };
    let (Assessed { entries, gone }, sessions) =
        assess_all(shared, sessions, &families, wanted).await?;
    let dropped = essentials::dropped(&families, &entries);
    let said = |table| format!("{table}, which the estate calls essential, was dropped meanwhile");
    report.doubts.extend(dropped.into_iter().map(said));
    report.entries = entries;
    report.count();
    if !gone.is_empty() {
        let names: Vec<&str> = gone.iter().map(String::as_str).collect();
        report.remarks.push(format!("dropped while this went on: {}", listed(&names)));
    }
    report.bytes_read = tally.read();
    let took = since(began, clients.clock.now());
    if with.tier == AssessTier::Deep && !with.compares() {
        report.remarks.push(NOT_COMPARED.to_owned());
    }
    if with.tier == AssessTier::Quick {
        report.remarks.extend(forecast::of_deep(report.bytes, report.bytes_read, took));
    }
    // What the reading itself met is counted as well.
    if let Some(mut session) = sessions.into_iter().next() {
        report.doubts.extend(facts.count_failures(clients, &mut session, &with.instance).await?);
        if with.proves {
            report.owed = validity::wrong(clients, &mut session, until).await?;
        }
    }
    report.server = Some(facts);
    Ok(())
}

/// Returns when reading ends: when its budget is spent, or shortly before the step's own time is over.
fn until(began: jiff::Timestamp, budget: Option<Span>, call: &Call) -> Until {
    let of_budget = budget.and_then(|budget| Some((began.checked_add(budget.0).ok()?, budget)));
    let of_step = call.progress.deadline().and_then(|at| at.checked_sub(MARGIN.0).ok());
    match (of_budget, of_step) {
        (Some((at, budget)), step) if step.is_none_or(|step| at <= step) => {
            Until { at: Some(at), budget: Some(budget) }
        }
        (_, at) => Until { at, budget: None },
    }
}

/// Opens the other sessions; where the server has no room for them, fewer do the work.
async fn more_sessions(
    clients: &Clients,
    wanted: &Wanted<'_>,
    first: Session,
    families: usize,
    report: &mut Report,
) -> Result<Vec<Session>, ActionError> {
    let mut sessions = vec![first];
    while sessions.len() < wanted.jobs.min(families) {
        match open(clients, wanted).await {
            Ok(session) => sessions.push(session),
            Err(NoSession::Failed(error)) if error.class == FailureClass::Transient => {
                let had = sessions.len();
                report.remarks.push(format!("read by {had} sessions: {}", error.message));
                break;
            }
            Err(other) => return Err(other.into()),
        }
    }
    Ok(sessions)
}

/// Writes the report among the run's artifacts, for programs and for people; returns where the first of them is.
fn keep(clients: &Clients, call: &Call, report: &Report) -> Result<Option<String>, ActionError> {
    let Some(folder) = &clients.artifacts else { return Ok(None) };
    let name = format!("{}-{}.assessment", call.step, call.generation);
    let value = serde_json::to_value(report).map_err(|error| {
        let message = format!("write the report as JSON: {error}");
        ActionError::unchanged(FailureClass::Internal, message)
    })?;
    let (json, text) = (folder.join(format!("{name}.json")), folder.join(format!("{name}.txt")));
    let masked = pretty(&clients.masks.value(value));
    for (path, content) in [(&json, masked), (&text, clients.masks.mask(&report.text()))] {
        let fill = |file: &mut File| file.write_all(content.as_bytes());
        write_whole(path, fill).map_err(|error| {
            let message = format!("write the report {}: {error}", path.display());
            ActionError::unchanged(FailureClass::Internal, message)
                .hint("make room there, or the folder writable, then retry")
        })?;
    }
    Ok(Some(json.display().to_string()))
}

fn pretty(value: &Value) -> String {
    format!("{value:#}\n")
}

#[cfg(test)]
mod tests;
