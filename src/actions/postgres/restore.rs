//! `postgres.restore`: a dump into a new database beside the damaged one, never over it.
//!
//! Every file is read against the manifest before anything is made. The new database gets its name only together with
//! the word of whose it is: it is made under a name of the step's own, marked, then renamed. So each state a process can
//! be killed in is recognised, and what is begun anew begins with an empty database.

mod target;

use std::path::Path;
use std::time::Duration;

use serde_json::{Map, Value, json};

use super::dump::{bytes, said};
use super::manifest::{Dumps, Manifest};
use super::server::{About, about};
use crate::clients::Clients;
use crate::clients::postgres::tools::{Found, Tool, find};
use crate::clients::postgres::{database, identifier, login};
use crate::clients::process::{self, Ended, Program, ProgramEnd, Scrub};
use crate::engine::ports::{Armed, Call, Observation, Performed};
use crate::outcome::{ActionError, Difference, Effect, FailureClass};
use crate::runbook::catalogue::actions::PostgresRestore;
use crate::sandbox::programs::Purpose;
use crate::shell::line;
use target::{State, Target};

/// The engine bounds an attempt by the step's `timeout`; this only ends a program nobody waits for any more.
const LIMIT: Duration = Duration::from_secs(24 * 60 * 60);
/// The database every server has, to make and drop others from.
pub(super) const MAINTENANCE: &str = "postgres";

/// Looks at the dump, the server and the database that is to be.
pub(crate) async fn observe(
    clients: &Clients,
    call: &Call,
    with: &PostgresRestore,
) -> Result<Observation, ActionError> {
    let (dumps, manifest, others) = chosen(clients, with)?;
    dumps.sizes(&manifest)?;
    let server = about(clients, &with.instance, MAINTENANCE).await?;
    fits(clients, with, &manifest, &server)?;
    let tool = find(clients, Tool::Restore, manifest.tool).await?;
    let target = Target::of(call, with);
    let live = target.state(clients).await?;
    let mut seen =
        Observation::new(live.seen(), State::Whole { dump: manifest.name.clone() }.seen());
    match live {
        State::None | State::Part => {}
        State::Whole { .. } => seen.outputs = outputs(with, &manifest),
        State::Foreign { said } => {
            let message = format!("a database {} is on {} already{said}", with.into, with.instance);
            return Err(ActionError::unchanged(FailureClass::Conflict, message)
                .hint("nothing is restored over a database: give `into` another name"));
        }
    }
    seen.evidence = vec![format!(
        "{} of {}, {} rows, server {}, as of {}",
        manifest.name,
        bytes(manifest.bytes),
        manifest.rows(),
        manifest.server_major(),
        manifest.taken
    )];
    seen.evidence.extend(others.iter().map(|other| format!("left out: {other}")));
    seen.differences = vec![Difference {
        what: format!("database {} on {}", with.into, with.instance),
        from: "none".to_owned(),
        to: format!("what {} holds", manifest.name),
    }];
    seen.context = json!({ "dump": manifest.name });
    let folder = dumps.folder(&manifest.name);
    seen.commands = vec![line(&argv(&tool, &folder, &with.into, with.jobs))];
    Ok(seen)
}

/// Restores, gives back privileges, and gathers the planner's statistics, which no dump holds.
pub(crate) async fn perform(
    clients: &Clients,
    _armed: &Armed,
    call: &Call,
    with: &PostgresRestore,
    seen: &Observation,
) -> Result<Performed, ActionError> {
    let (dumps, manifest) = same(clients, with, seen)?;
    let tool = find(clients, Tool::Restore, manifest.tool).await?;
    call.progress.tell(format!("reading {} against its manifest", manifest.name), None);
    let (reader, read) = (dumps.clone(), manifest.clone());
    let verified = tokio::task::spawn_blocking(move || reader.verify(&read)).await;
    verified.map_err(|error| {
        ActionError::unchanged(FailureClass::Internal, format!("read the dump: {error}"))
    })??;
    let target = Target::of(call, with);
    target.make(clients, &manifest).await?;
    let folder = dumps.folder(&manifest.name);
    call.progress.tell(format!("restoring {} rows", manifest.rows()), None);
    let restored = run(clients, call, with, &argv(&tool, &folder, &with.into, with.jobs)).await;
    let ended = restored.map_err(begun)?;
    if ended.end != ProgramEnd::Exit(0) {
        let message = format!("pg_restore into {}: {}", with.into, said(&ended));
        return Err(begun(
            ActionError::unchanged(FailureClass::Invalid, message)
                .hint("see its whole output in the run's artifacts"),
        ));
    }
    let notes = privileges(clients, call, with, &tool, &folder).await.map_err(begun)?;
    call.progress.tell("gathering statistics", None);
    target.analyze(clients).await.map_err(begun)?;
    target.finish(clients, &manifest).await.map_err(begun)?;
    let head = format!("restored {} into {}: {} rows", manifest.name, with.into, manifest.rows());
    Ok(Performed {
        after: State::Whole { dump: manifest.name.clone() }.seen(),
        outputs: outputs(with, &manifest),
        obligations: Vec::new(),
        notes: std::iter::once(head).chain(notes).collect(),
    })
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

/// From here on there is a database that was not there before.
fn begun(error: ActionError) -> ActionError {
    ActionError { effect: Effect::Applied, ..error }
}

/// Returns the dump that is to be restored, and what was left out of the choice.
fn chosen(
    clients: &Clients,
    with: &PostgresRestore,
) -> Result<(Dumps, Manifest, Vec<String>), ActionError> {
    let dumps = Dumps::of(clients)?;
    if let Some(name) = &with.dump {
        let found = dumps.find(name)?;
        let manifest = found.ok_or_else(|| missing(&dumps, &format!("the dump {name}")))?;
        return Ok((dumps, manifest, Vec::new()));
    }
    let name = &database(clients)?.name;
    let (mut found, others) = dumps.list(name)?;
    if found.is_empty() {
        let error = missing(&dumps, &format!("a dump of {name} with a manifest"));
        return Err(match others.first() {
            Some(other) => error.hint(format!("left out: {other}")),
            None => error,
        });
    }
    Ok((dumps, found.swap_remove(0), others))
}

/// Returns the dump that was looked at: a newer one that came meanwhile is not the one that was approved.
fn same(
    clients: &Clients,
    with: &PostgresRestore,
    seen: &Observation,
) -> Result<(Dumps, Manifest), ActionError> {
    let name = seen.context["dump"].as_str().map(str::to_owned).or_else(|| with.dump.clone());
    let (dumps, manifest, _) = chosen(clients, &PostgresRestore { dump: name, ..with.clone() })?;
    Ok((dumps, manifest))
}

fn missing(dumps: &Dumps, what: &str) -> ActionError {
    let message = format!("{what} is not in {}", dumps.root().display());
    ActionError::unchanged(FailureClass::NotFound, message)
        .hint("see what is there; `database.dumps` of the estate file names the directory")
}

/// Says what about the server is in the way.
fn fits(
    clients: &Clients,
    with: &PostgresRestore,
    manifest: &Manifest,
    server: &About,
) -> Result<(), ActionError> {
    let instance = &with.instance;
    let no = |class, message: String| Err(ActionError::unchanged(class, message));
    if server.in_recovery {
        let message = format!("{instance} is a replica and takes no database of its own");
        return no(FailureClass::Invalid, message);
    }
    if server.major() < manifest.server_major() {
        let (theirs, ours) = (manifest.server_major(), server.major());
        let message =
            format!("the dump is of PostgreSQL {theirs}, and {instance} is older: {ours}");
        return no(FailureClass::Invalid, message);
    }
    if !server.creates {
        let user = &database(clients)?.connection.user;
        let message = format!("{user} may not create databases on {instance}");
        return Err(ActionError::unchanged(FailureClass::Denied, message)
            .hint(format!("as its administrator: alter role {} createdb", identifier(user))));
    }
    Ok(())
}

fn argv(tool: &Found, folder: &Path, into: &str, jobs: u8) -> Vec<String> {
    vec![
        tool.program.clone(),
        "--exit-on-error".to_owned(),
        "--no-owner".to_owned(),
        "--no-privileges".to_owned(),
        "--no-password".to_owned(),
        format!("--jobs={jobs}"),
        format!("--dbname={into}"),
        folder.display().to_string(),
    ]
}

async fn run(
    clients: &Clients,
    call: &Call,
    with: &PostgresRestore,
    argv: &[String],
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
    process::run(clients, &program)
        .await
        .map_err(|error| ActionError::unchanged(FailureClass::Invalid, error.to_string()))
}

/// Gives the roles that are there their privileges back; what could not be given is told, a line each.
///
/// A role that is not on this server must not stop a restore: the data is there, and the application's own query shows
/// whether it is enough.
async fn privileges(
    clients: &Clients,
    call: &Call,
    with: &PostgresRestore,
    tool: &Found,
    folder: &Path,
) -> Result<Vec<String>, ActionError> {
    let kept = clients.artifacts.clone().unwrap_or_else(std::env::temp_dir);
    let list = kept.join(format!("{}-{}.list", call.step, std::process::id()));
    let failed = |error: std::io::Error| {
        let message = format!("write {}: {error}", list.display());
        ActionError::unchanged(FailureClass::Invalid, message)
    };
    let (folder, file) = (folder.display().to_string(), list.display().to_string());
    let listing = [&tool.program, "--list", &format!("--file={file}"), &folder].map(str::to_owned);
    let ended = run(clients, call, with, &listing).await?;
    if ended.end != ProgramEnd::Exit(0) {
        let message = format!("list what is in {folder}: {}", ended.say(LIMIT));
        return Err(ActionError::unchanged(FailureClass::Invalid, message));
    }
    let listed = std::fs::read_to_string(&list).map_err(failed)?;
    let grants: Vec<&str> = listed.lines().filter(|line| is_grant(line)).collect();
    if grants.is_empty() {
        return Ok(Vec::new());
    }
    std::fs::write(&list, grants.join("\n")).map_err(failed)?;
    let into = format!("--dbname={}", with.into);
    let using = format!("--use-list={file}");
    let giving = [&tool.program, "--no-owner", "--no-password", &into, &using, &folder];
    let ended = run(clients, call, with, &giving.map(str::to_owned)).await?;
    Ok(match ended.end {
        ProgramEnd::Exit(0) => Vec::new(),
        ProgramEnd::Exit(_) | ProgramEnd::Signal(_) | ProgramEnd::TimedOut => {
            let said = ended.stderr.lines().filter(|line| line.contains("ERROR:"));
            let notes = said.map(|line| format!("not every privilege was given back: {line}"));
            let notes: Vec<String> = notes.collect();
            if notes.is_empty() { vec![ended.say(LIMIT)] } else { notes }
        }
    })
}

/// Says whether a line of an archive's list is about privileges, e.g. `3340; 0 0 ACL app TABLE orders dr`.
fn is_grant(line: &str) -> bool {
    !line.starts_with(';')
        && matches!(
            line.split_whitespace().skip(3).collect::<Vec<_>>().as_slice(),
            ["ACL", ..] | ["DEFAULT", "ACL", ..]
        )
}

fn outputs(with: &PostgresRestore, manifest: &Manifest) -> Map<String, Value> {
    Map::from_iter([
        ("database".to_owned(), json!(with.into)),
        ("dump".to_owned(), json!(manifest.name)),
        ("taken".to_owned(), json!(manifest.taken.to_string())),
    ])
}
