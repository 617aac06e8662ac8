//! `postgres.restore`: a dump into a new database beside the damaged one, never over it.
//!
//! Every file is read against the manifest before anything is made. The new database is made under a name of the attempt's
//! own, filled, and gets the wanted name last: so each state a process can be killed in is recognised, and what is begun
//! anew begins with an empty database.

mod archive;
mod granting;
mod owed;
mod part;
mod room;
mod rows;
mod target;

use std::path::Path;

use serde_json::{Map, Value, json};

use super::drafts::bytes;
use super::dump::{LIMIT, class, said};
use super::extensions;
use super::manifest::Manifest;
use super::origin::{Origin, Sorted};
use super::server::{About, NAME_THE_PRIMARY, about};
use super::store::{Dump, Dumps};
use crate::by_hand;
use crate::clients::Clients;
use crate::clients::postgres::marks::Comment;
use crate::clients::postgres::tools::{Found, Tool, find, restores_on};
use crate::clients::postgres::{connect_to, database, identifier, login, watched_to};
use crate::clients::process::{self, Ended, Hearing, Program, ProgramEnd, Scrub};
use crate::engine::ports::{Armed, Call, Observation, Performed};
use crate::outcome::{ActionError, Difference, FailureClass};
use crate::runbook::catalogue::actions::PostgresRestore;
use crate::sandbox::programs::Purpose;
use crate::shell::line;
use crate::span::Span;
use archive::{Archive, Told};
pub(super) use part::Part;
use target::{State, Target, begun, named};

/// The database every server has, to make and drop others from.
pub(super) const MAINTENANCE: &str = "postgres";

/// Looks at the database that is to be, and where it is not there yet, at the dump and the server.
///
/// What this step made can be taken back, or taken over, without the dump, the program and the rights it needed.
pub(crate) async fn observe(
    clients: &Clients,
    call: &Call,
    with: &PostgresRestore,
) -> Result<Observation, ActionError> {
    let target = Target::of(call, with);
    let live = target.state(clients).await?;
    match &live {
        State::None | State::Part(None) => fresh(clients, with, &live).await,
        State::Part(Some(of)) => {
            let mut seen = Observation::new(live.seen(), State::whole(&of.dump));
            seen.evidence = vec![format!("an attempt to restore {} came to no end", of.dump)];
            seen.context = json!({ "dump": of.dump });
            Ok(seen)
        }
        State::Whole(of) => {
            let mut seen = Observation::new(live.seen(), live.seen());
            seen.outputs = outputs(with, &of.dump, &of.taken);
            // Killed before it could say so: it is owed all the same.
            seen.obligations = match with.tables.is_all() {
                true => of.owed.clone(),
                false => vec![rows::owed_still(clients, with, of).await],
            };
            Ok(seen)
        }
        State::Foreign { said } => {
            let message = format!("a database {} is on {} already{said}", with.into, with.instance);
            Err(ActionError::unchanged(FailureClass::Conflict, message)
                .hint("nothing is restored over a database: give `into` another name"))
        }
    }
}

/// Looks at the dump and the server.
async fn fresh(
    clients: &Clients,
    with: &PostgresRestore,
    live: &State,
) -> Result<Observation, ActionError> {
    let server = about(clients, &with.instance, MAINTENANCE).await?;
    let (dumps, dump, others) = chosen(clients, with, server.system.as_deref()).await?;
    dump.whole()?;
    let manifest = &dump.manifest;
    let tool = find(clients, Tool::Restore, manifest.tool).await?;
    fits(clients, with, manifest, &server, &tool)?;
    let left = extensions::left_out(clients, &with.instance, manifest).await?;
    let part = Part::of(&with.tables, manifest)?;
    let room = match live {
        // How much of it is in some tables is not known.
        _ if part.is_some() => None,
        State::None => Some(room::room(clients, &with.instance, manifest.bytes).await?),
        // What an earlier attempt filled the disk with goes first.
        State::Part(_) | State::Whole(_) | State::Foreign { .. } => None,
    };
    let mut seen = Observation::new(live.seen(), State::whole(&manifest.name));
    seen.evidence = vec![format!(
        "{} of {} on {} in {}: {}, {} rows, server {}, as of {}",
        manifest.name,
        manifest.database,
        manifest.instance,
        manifest.region,
        bytes(manifest.bytes),
        manifest.rows(),
        manifest.server_major(),
        manifest.taken
    )];
    seen.evidence.extend(part.as_ref().map(Part::said));
    seen.evidence.extend(room);
    seen.evidence.extend(extensions::said(&left));
    seen.evidence.extend(dumps.stageable(&dump)?);
    seen.evidence.extend(others.iter().map(|other| format!("left out: {other}")));
    seen.differences = vec![Difference {
        what: format!("database {} on {}", with.into, with.instance),
        from: "none".to_owned(),
        to: match &part {
            None => format!("what {} holds", manifest.name),
            Some(part) => format!("the rows {} holds of {}", manifest.name, part.named()),
        },
    }];
    seen.context = json!({ "dump": manifest.name });
    if part.is_some() {
        seen.commands = by_hand::dumps::tables(&clients.estate, &arguments(with, &manifest.name));
        return Ok(seen);
    }
    let folder = dumps.folder(manifest);
    seen.commands =
        by_hand::dumps::brought(&clients.estate, &manifest.name, &folder).into_iter().collect();
    seen.commands.push(line(&argv(&tool, &folder, &with.into, with.jobs, None)));
    Ok(seen)
}

/// Restores, gives back privileges and settings, and gathers the planner's statistics, which no dump holds, where no other
/// step does.
pub(crate) async fn perform(
    clients: &Clients,
    _armed: &Armed,
    call: &Call,
    with: &PostgresRestore,
    seen: &Observation,
) -> Result<Performed, ActionError> {
    let began = clients.clock.now();
    let (dumps, dump) = same(clients, with, seen).await?;
    let manifest = &dump.manifest;
    let server = about(clients, &with.instance, MAINTENANCE).await?;
    let tool = find(clients, Tool::Restore, manifest.tool).await?;
    fits(clients, with, manifest, &server, &tool)?;
    let left = extensions::left_out(clients, &with.instance, manifest).await?;
    let part = Part::of(&with.tables, manifest)?;
    // What an earlier attempt filled the disk with goes first.
    if seen.live["begun"].is_null() && part.is_none() {
        room::room(clients, &with.instance, manifest.bytes).await?;
    }
    let staged = dumps.stage(clients, call, &dump).await?;
    let target = Target::of(call, with);
    let (draft, mut notes) = target.make(clients, manifest, server.major()).await?;
    let archive = Archive { tool: &tool, folder: staged.folder() };
    let what = What { manifest, draft: &draft, left: &left, part: part.as_ref() };
    fill(clients, call, with, archive, what).await.map_err(begun)?;
    let mut later = Vec::new();
    // Nobody but its owner ever enters a database of a part.
    if part.is_none() {
        let granted = granting::grant(clients, call, with, archive, (&draft, &left)).await;
        let granted = granted.map_err(begun)?;
        notes.extend(granted.notes);
        later = granted.later;
    }
    if with.analyze {
        call.progress.tell("gathering statistics", None);
        notes.extend(target.analyze(clients, &draft).await.map_err(begun)?);
    }
    notes.extend(target.give(clients, &draft, manifest).await.map_err(begun)?);
    // Of some tables a look finds out by itself what is owed.
    let owed = match &part {
        Some(_) => Vec::new(),
        None => owed::of(with, &notes, (&left, &later)),
    };
    target.finish(clients, &draft, manifest, (began, &owed)).await.map_err(named)?;
    staged.done().await;
    let obligations = match &part {
        Some(part) => vec![rows::owed(clients, with, manifest, part).await],
        None => owed,
    };
    notes.extend(extensions::said(&left));
    let rows = part.as_ref().map_or(manifest.rows(), Part::rows);
    let head = format!("restored {} into {}: {rows} rows", manifest.name, with.into);
    Ok(Performed {
        after: State::whole(&manifest.name),
        outputs: outputs(with, &manifest.name, &manifest.taken.to_string()),
        obligations,
        notes: std::iter::once(head).chain(notes).collect(),
    })
}

/// What is filled with what.
struct What<'a> {
    manifest: &'a Manifest,
    draft: &'a str,
    /// Extensions that are left out
    left: &'a [String],
    part: Option<&'a Part<'a>>,
}

/// Fills an empty database with what an archive holds.
async fn fill(
    clients: &Clients,
    call: &Call,
    with: &PostgresRestore,
    archive: Archive<'_>,
    What { manifest, draft, left, part }: What<'_>,
) -> Result<(), ActionError> {
    let items = archive.items(clients, call, with, left, part).await?;
    let rows = part.map_or(manifest.rows(), Part::rows);
    let told = Told::new(&call.progress, rows, items.total, with.jobs);
    let argv = argv(archive.tool, archive.folder, draft, with.jobs, items.list.as_deref());
    let hear = |line: &str| told.hear(line);
    let ended = run(clients, call, with, &argv, Some(&hear)).await?;
    if ended.end == ProgramEnd::Exit(0) {
        return Ok(());
    }
    let message = format!("pg_restore of {}: {}", manifest.name, said(&ended));
    let class = class(&ended);
    let hint = if class == FailureClass::Capacity {
        room::hint(&with.instance, manifest.bytes)
    } else {
        "see its whole output in the run's artifacts".to_owned()
    };
    Err(ActionError::unchanged(class, message).hint(hint))
}

/// Returns how long the restore of a dump into a database took, as that database itself says; `None` where it is of another
/// dump, or nobody noted it.
pub(super) async fn took(
    clients: &Clients,
    instance: &str,
    (database, dump): (&str, &str),
) -> Result<Option<Span>, ActionError> {
    let mut session = connect_to(clients, instance, MAINTENANCE).await?;
    let what = format!("read of which dump {database} on {instance} is");
    let sql = "select coalesce(shobj_description(oid, 'pg_database'), '') from pg_database where datname = $1";
    let row = session.read_one(clients, &what, sql, &[&database]).await?;
    let comment: String = row.try_get(0).map_err(|error| {
        ActionError::unchanged(FailureClass::Internal, format!("{what}: {error}"))
    })?;
    Ok(target::took(&comment, dump))
}

/// Returns the tables whose rows alone were restored into a database, as it says itself; none where all was.
pub(super) async fn part_of(
    clients: &Clients,
    instance: &str,
    database: &str,
) -> Result<Vec<String>, ActionError> {
    let mut session = connect_to(clients, instance, MAINTENANCE).await?;
    let what = format!("read what of a dump {database} on {instance} is");
    let sql = "select coalesce(shobj_description(oid, 'pg_database'), '') from pg_database where datname = $1";
    let rows = session.read(clients, &what, sql, &[&database]).await?;
    let Some(row) = rows.first() else { return Ok(Vec::new()) };
    let comment: String = row.try_get(0).map_err(|error| {
        ActionError::unchanged(FailureClass::Internal, format!("{what}: {error}"))
    })?;
    Ok(Comment::read(&comment).note.part)
}

/// Drops the new database, and only one that this very step made.
pub(crate) async fn revert(
    clients: &Clients,
    _armed: &Armed,
    call: &Call,
    with: &PostgresRestore,
) -> Result<(), ActionError> {
    Target::of(call, with).remove(clients).await
}

/// Returns the dump that is to be restored, and what was left out of the choice; `system` is that of the server it is to
/// be restored on.
async fn chosen(
    clients: &Clients,
    with: &PostgresRestore,
    system: Option<&str>,
) -> Result<(Dumps, Dump, Vec<String>), ActionError> {
    let dumps = Dumps::of(clients)?;
    // An input that was not given is an empty text.
    if let Some(name) = with.dump.as_deref().filter(|name| !name.is_empty()) {
        let found = dumps.find(clients, name).await?;
        let dump = found.ok_or_else(|| dumps.missing(&format!("the dump {name}")))?;
        return Ok((dumps, dump, Vec::new()));
    }
    let database = database(clients)?;
    let mut listing = dumps.list(clients, &database.name).await?;
    let Sorted { own, foreign } = Origin { database, system }.sort(listing.dumps)?;
    listing.others.extend(foreign);
    let (mut newest, mut others) = (None, listing.others);
    for dump in own {
        // What a proof found to be other than it should be is taken by its name alone.
        match dumps.proof(clients, &dump.manifest).await?.and_then(|proof| proof.failed) {
            None => {
                newest = Some(dump);
                break;
            }
            Some(why) => {
                others.push(format!("{}: its last proof failed: {why}", dump.manifest.name))
            }
        }
    }
    let Some(newest) = newest else {
        let error = dumps.missing(&format!("a dump of {} with a manifest", database.name));
        return Err(match others.as_slice() {
            [] => error,
            others => error.hint(format!("left out: {}", others.join("; "))),
        });
    };
    Ok((dumps, newest, others))
}

/// Returns the dump that was looked at: a newer one that came meanwhile is not the one that was approved.
async fn same(
    clients: &Clients,
    with: &PostgresRestore,
    seen: &Observation,
) -> Result<(Dumps, Dump), ActionError> {
    let name = seen.context["dump"].as_str().map(str::to_owned).or_else(|| with.dump.clone());
    let with = PostgresRestore { dump: name, ..with.clone() };
    let (dumps, dump, _) = chosen(clients, &with, None).await?;
    Ok((dumps, dump))
}

/// Says what about the server is in the way.
fn fits(
    clients: &Clients,
    with: &PostgresRestore,
    manifest: &Manifest,
    server: &About,
    tool: &Found,
) -> Result<(), ActionError> {
    let instance = &with.instance;
    if server.in_recovery {
        let message = format!("{instance} is a replica and takes no database of its own");
        return Err(ActionError::unchanged(FailureClass::Invalid, message).hint(NAME_THE_PRIMARY));
    }
    if server.major() < manifest.server_major() {
        let (theirs, ours) = (manifest.server_major(), server.major());
        let message =
            format!("the dump is of PostgreSQL {theirs}, and {instance} is older: {ours}");
        return Err(ActionError::unchanged(FailureClass::Invalid, message).hint(format!(
            "restore it on a server of version {theirs} or newer, or take another dump"
        )));
    }
    if !restores_on(tool.major, server.major()) {
        let message = format!(
            "pg_restore {} cannot restore on {instance}, PostgreSQL {}",
            tool.major,
            server.major()
        );
        return Err(ActionError::unchanged(FailureClass::Invalid, message)
            .hint("take dumps with pg_dump 16 or older, or restore on a newer server"));
    }
    manifest.locale.clause(server.major())?;
    if !server.creates {
        let user = &database(clients)?.connection.user;
        let message = format!("{user} may not create databases on {instance}");
        return Err(ActionError::unchanged(FailureClass::Denied, message)
            .hint(format!("as its administrator: alter role {} createdb", identifier(user))));
    }
    Ok(())
}

/// Returns the command that fills a database: with all of an archive, or with what is in a list.
fn argv(tool: &Found, folder: &Path, into: &str, jobs: u8, list: Option<&Path>) -> Vec<String> {
    let mut argv = vec![
        tool.program.clone(),
        "--exit-on-error".to_owned(),
        // How far it is can be told from what it says.
        "--verbose".to_owned(),
        "--no-owner".to_owned(),
        "--no-privileges".to_owned(),
        "--no-tablespaces".to_owned(),
        "--no-subscriptions".to_owned(),
        // A copy beside the original sends nothing to its subscribers; and only a superuser may publish all tables.
        "--no-publications".to_owned(),
        "--no-password".to_owned(),
        format!("--jobs={jobs}"),
        format!("--dbname={}", watched_to(into)),
    ];
    argv.extend(list.map(|list| format!("--use-list={}", list.display())));
    argv.push(folder.display().to_string());
    argv
}

async fn run(
    clients: &Clients,
    call: &Call,
    with: &PostgresRestore,
    argv: &[String],
    told: Option<&(dyn Fn(&str) + Send + Sync)>,
) -> Result<Ended, ActionError> {
    clients.guard.pass(line(argv))?;
    let login = login(clients, &with.instance).await?;
    let program = Program {
        argv,
        env: &login.env,
        scrub: Scrub::Connection,
        cwd: None,
        limit: LIMIT,
        artifact: clients.artifacts.as_ref().map(|dir| dir.join(format!("{}.log", call.step))),
        purpose: Purpose::Perform(call.step.clone()),
    };
    process::run_hearing(clients, &program, Hearing { only: None, told })
        .await
        .map_err(|error| ActionError::unchanged(FailureClass::Invalid, error.to_string()))
}

/// Returns the step's arguments with the dump that was found.
fn arguments(with: &PostgresRestore, dump: &str) -> Map<String, Value> {
    let with = PostgresRestore { dump: Some(dump.to_owned()), ..with.clone() };
    match serde_json::to_value(&with) {
        Ok(Value::Object(arguments)) => arguments,
        Ok(_) | Err(_) => Map::new(),
    }
}

fn outputs(with: &PostgresRestore, dump: &str, taken: &str) -> Map<String, Value> {
    Map::from_iter([
        ("database".to_owned(), json!(with.into)),
        ("dump".to_owned(), json!(dump)),
        ("taken".to_owned(), json!(taken)),
    ])
}

#[cfg(test)]
#[path = "restore_tests.rs"]
mod tests;

#[cfg(test)]
#[path = "restore/end_tests.rs"]
mod end_tests;

#[cfg(test)]
#[path = "restore/part_tests.rs"]
mod part_tests;
