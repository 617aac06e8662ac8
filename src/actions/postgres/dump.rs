//! `postgres.dump`: a dump of a database with a manifest of exactly what is in it, taken inside the dump's own snapshot.
//!
//! Reads the database and writes to where the estate keeps its dumps. What it writes has a name nobody else uses until the
//! manifest says that it is whole: a dump that was cut off is none, and an attempt that a dead process left running cannot
//! write into this one's.

use std::path::{Path, PathBuf};
use std::time::Duration;

use jiff::Timestamp;
use serde_json::{Map, Value, json};

use super::content::{self, Content, HeldTo, Reading};
use super::drafts::{Draft, bytes, hashed, named, nameless, tidy};
use super::extensions::{self, Extension};
use super::manifest::{FileDigest, Manifest, whole};
use super::properties::{Properties, properties};
use super::server::{About, about, may_read};
use super::store::Dumps;
use crate::by_hand;
use crate::clients::Clients;
use crate::clients::postgres::tools::{Found, Tool, find, restores_on};
use crate::clients::postgres::{Held, connect_to, database, login, or_say_who_blocks, watched_to};
use crate::clients::process::{self, Ended, Program, ProgramEnd, Scrub};
use crate::engine::ports::{Armed, Call, Observation, Performed};
use crate::outcome::{ActionError, Difference, FailureClass};
use crate::runbook::catalogue::actions::PostgresDump;
use crate::sandbox::programs::Purpose;
use crate::shell::line;

/// The engine bounds an attempt by the step's `timeout`; this only ends a program nobody waits for any more. It is longer
/// than a runbook has any database take.
pub(super) const LIMIT: Duration = Duration::from_secs(30 * 24 * 60 * 60);
/// Of gzip's levels this one leaves a dump some percent longer than the usual 6 and takes less than half of its processor time,
/// of a host that has other work as well: rows are read twice, for the dump and for its manifest.
const COMPRESSED: &str = "--compress=3";
/// A table that somebody holds exclusively is waited for this long, in milliseconds.
const LOCK_LIMIT: &str = "--lock-wait-timeout=30000";

/// Looks for the dump, and whether it could be made.
pub(crate) async fn observe(
    clients: &Clients,
    call: &Call,
    with: &PostgresDump,
) -> Result<Observation, ActionError> {
    let dumps = Dumps::of(clients)?;
    let name = named(with.name.as_deref(), call)?;
    let state = |whole: bool| json!({ "dump": name, "whole": whole });
    if let Some(dump) = dumps.find(clients, &name).await? {
        if dump.manifest.token != call.token() {
            let message = format!("a dump named {name} is there already, of another run");
            return Err(ActionError::unchanged(FailureClass::Conflict, message)
                .hint("give this one another `name`"));
        }
        dump.whole()?;
        let mut seen = Observation::new(state(true), state(true));
        seen.outputs = outputs(&dumps, &dump.manifest);
        return Ok(seen);
    }
    dumps.vacant(clients, call, &name).await?;
    let asked = of(clients, with)?;
    let about = about(clients, &with.instance, asked).await?;
    may_read(clients, &with.instance, asked).await?;
    let tool = program(clients, &with.instance, &about).await?;
    let mut seen = Observation::new(state(false), state(true));
    seen.evidence = vec![
        format!("{asked} on {}: {}, {}", with.instance, about.said(), bytes(about.bytes)),
        format!("{} in {}", tool.version, dumps.work().display()),
    ];
    seen.evidence.extend(needed_later(tool.major, about.major()));
    seen.evidence.extend(dumps.room(about.bytes)?);
    seen.differences = vec![Difference {
        what: format!("dump of {asked}"),
        from: "none".to_owned(),
        to: dumps.path(&name),
    }];
    let made_in = dumps.made_in(&name);
    seen.commands = vec![line(&argv(&tool, "SNAPSHOT", &made_in, asked, with.jobs))];
    seen.commands.extend(by_hand::dumps::sent(&clients.estate, &name));
    Ok(seen)
}

/// Dumps, and reads every table in the same snapshot beside it.
pub(crate) async fn perform(
    clients: &Clients,
    _armed: &Armed,
    call: &Call,
    with: &PostgresDump,
    _seen: &Observation,
) -> Result<Performed, ActionError> {
    let dumps = Dumps::of(clients)?;
    let name = named(with.name.as_deref(), call)?;
    dumps.prepare(clients, &name).await?;
    // What an earlier attempt of this step took hours for, and could not give its name.
    let nameless = nameless(dumps.work(), call, |draft| whole(draft, &name, &call.token()));
    let (draft, manifest) = match nameless {
        Some(found) => found,
        None => {
            let (asked, making) = (of(clients, with)?, make(clients, call, with, &dumps, name));
            let what = format!("see who blocks the dump of {asked} on {}", with.instance);
            or_say_who_blocks(clients, &what, (&with.instance, asked), Box::pin(making)).await?
        }
    };
    dumps.keep(clients, call, &draft, &manifest).await?;
    tidy(dumps.work(), call);
    let needed = needed_later(manifest.tool, manifest.server_major());
    Ok(Performed {
        after: json!({ "dump": manifest.name, "whole": true }),
        notes: std::iter::once(format!(
            "dumped {}: {} tables, {} rows, {} in {} files, as of {}",
            manifest.database,
            manifest.content.tables.len(),
            manifest.rows(),
            bytes(manifest.stored()),
            manifest.files.len(),
            manifest.taken,
        ))
        .chain(needed)
        .collect(),
        outputs: outputs(&dumps, &manifest),
        obligations: Vec::new(),
    })
}

/// Makes a dump that lacks its name alone.
async fn make(
    clients: &Clients,
    call: &Call,
    with: &PostgresDump,
    dumps: &Dumps,
    name: String,
) -> Result<(PathBuf, Manifest), ActionError> {
    let asked = of(clients, with)?;
    let about = about(clients, &with.instance, asked).await?;
    let tool = program(clients, &with.instance, &about).await?;
    tidy(dumps.work(), call);
    let mut session = connect_to(clients, &with.instance, asked).await?;
    let what = format!("read what {asked} on {} begins with", with.instance);
    let properties = properties(clients, &what, &mut session).await?;
    let (major, in_recovery) = (about.major(), about.in_recovery);
    let (instance, jobs) = (with.instance.as_str(), with.jobs);
    let held_to = HeldTo::Defaults;
    let reading = Reading { instance, database: asked, major, in_recovery, jobs, held_to };
    let (leader, snapshot) = reading.lead(clients).await?;
    let (taken, lsn) = instant(&what, &leader).await?;
    let sequences = content::positions(reading, &leader).await?;
    let extensions = extensions::read(&what, &leader).await?;
    let draft = Draft::new(dumps.work(), call, clients);
    let argv = argv(&tool, &snapshot, draft.path(), asked, with.jobs);
    let ((), content) = futures::try_join!(
        dump(clients, call, with, &argv),
        content::read(clients, call, reading, (&leader, &snapshot), sequences),
    )?;
    drop(leader);
    call.progress.tell("reading the files' digests", None);
    let files = hashed(draft.path().to_owned()).await?;
    let found = Of { name, taken, lsn, files, content, about, properties, extensions, tool };
    Ok((draft.whole(), found.manifest(call, with, asked)))
}

/// A dump that was taken is kept: nothing of the estate is other than before.
pub(crate) fn revert(call: &Call) -> Result<(), ActionError> {
    let message = format!("the dump of the step {} is kept", call.step);
    Err(ActionError::unchanged(FailureClass::Invalid, message)
        .hint("delete it by hand where nobody needs it"))
}

fn of<'a>(clients: &'a Clients, with: &'a PostgresDump) -> Result<&'a str, ActionError> {
    Ok(with.database.as_deref().unwrap_or(&database(clients)?.name))
}

/// Finds the program, the nearest to the server's own version. What it writes must be of use to that server.
async fn program(clients: &Clients, instance: &str, about: &About) -> Result<Found, ActionError> {
    let tool = find(clients, Tool::Dump, about.major()).await?;
    if restores_on(tool.major, about.major()) {
        return Ok(tool);
    }
    let message = format!(
        "what pg_dump {0} writes can never be restored on {instance}: only pg_restore {0} or newer reads it, and that \
         cannot restore on PostgreSQL {1}",
        tool.major,
        about.major()
    );
    Err(ActionError::unchanged(FailureClass::Invalid, message).hint(format!(
        "install pg_dump {0}, e.g. apt-get install postgresql-client-{0}, or name its directory in `database.tools`",
        about.major()
    )))
}

/// Says what a restore will need that is newer than the server: `pg_restore` reads no archive of a newer `pg_dump`.
fn needed_later(tool: u32, server: u32) -> Option<String> {
    (tool > server).then(|| {
        format!(
            "pg_dump is of version {tool}, the server of {server}: a restore needs pg_restore {tool} or newer, that of \
             {server} cannot read this dump"
        )
    })
}

fn argv(tool: &Found, snapshot: &str, file: &Path, asked: &str, jobs: u8) -> Vec<String> {
    vec![
        tool.program.clone(),
        "--format=directory".to_owned(),
        COMPRESSED.to_owned(),
        format!("--jobs={jobs}"),
        format!("--snapshot={snapshot}"),
        LOCK_LIMIT.to_owned(),
        "--no-password".to_owned(),
        format!("--file={}", file.display()),
        format!("--dbname={}", watched_to(asked)),
    ]
}

async fn dump(
    clients: &Clients,
    call: &Call,
    with: &PostgresDump,
    argv: &[String],
) -> Result<(), ActionError> {
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
    let ended = process::run(clients, &program)
        .await
        .map_err(|error| ActionError::unchanged(FailureClass::Invalid, error.to_string()))?;
    if ended.end == ProgramEnd::Exit(0) {
        return Ok(());
    }
    let message = format!("pg_dump of {}: {}", with.instance, said(&ended));
    Err(ActionError::unchanged(class(&ended), message)
        .hint("nothing was kept of it; see its whole output in the run's artifacts"))
}

/// Returns what one of PostgreSQL's own programs failed by: what follows its first error is only the end of it.
pub(super) fn said(ended: &Ended) -> String {
    let find = |words: &str| ended.stderr.lines().find(|line| line.contains(words));
    let Some(first) = find("error:") else { return ended.say(LIMIT) };
    // What the server said stands in a line of its own.
    match find("Error message from server:").and_then(|line| line.split_once("server:")) {
        Some((_, server)) => format!("{first}: {}", server.trim()),
        None => first.to_owned(),
    }
}

/// Says whether another try can help one of PostgreSQL's own programs that failed.
pub(super) fn class(ended: &Ended) -> FailureClass {
    let said = |words: &str| ended.stderr.contains(words);
    if said("No space left on device") {
        return FailureClass::Capacity;
    }
    let passing = [
        "connection to server",
        "server closed the connection",
        // By an administrator, or because the server goes down: `pg_basebackup` says no more than the server.
        "terminating connection",
        "shutting down",
        "lock timeout",
        "conflict with recovery",
        // The session that had taken it was lost.
        "invalid snapshot identifier",
    ];
    if passing.iter().any(|words| said(words)) {
        return FailureClass::Transient;
    }
    FailureClass::Invalid
}

/// Returns the snapshot's instant and the log's position. A replica has what it has replayed: the instant is that of the
/// last commit among that, for a clock that runs on says nothing of data that does not come.
async fn instant(what: &str, leader: &Held) -> Result<(Timestamp, String), ActionError> {
    let sql = "select (extract(epoch from case when pg_is_in_recovery() \
             then least(transaction_timestamp(), pg_last_xact_replay_timestamp()) \
             else transaction_timestamp() end) * 1000000)::int8, \
         (case when pg_is_in_recovery() then pg_last_wal_replay_lsn() else pg_current_wal_lsn() end)::text";
    let row = leader.read_one(what, sql, &[]).await?;
    let internal =
        |error: String| ActionError::unchanged(FailureClass::Internal, format!("{what}: {error}"));
    let micros: i64 = row.try_get(0).map_err(|error| internal(error.to_string()))?;
    let lsn = row.try_get(1).map_err(|error| internal(error.to_string()))?;
    let taken = Timestamp::from_microsecond(micros).map_err(|error| internal(error.to_string()))?;
    Ok((taken, lsn))
}

/// What a dump was found to be.
struct Of {
    name: String,
    taken: Timestamp,
    lsn: String,
    files: Vec<FileDigest>,
    content: Content,
    about: About,
    properties: Properties,
    extensions: Vec<Extension>,
    tool: Found,
}

impl Of {
    fn manifest(self, call: &Call, with: &PostgresDump, asked: &str) -> Manifest {
        Manifest {
            format: Manifest::format(),
            name: self.name,
            token: call.token(),
            instance: with.instance.clone(),
            region: with.region.clone(),
            system: self.about.system,
            database: asked.to_owned(),
            taken: self.taken,
            lsn: self.lsn,
            server_version: self.about.version,
            tool: self.tool.major,
            locale: self.about.locale,
            properties: self.properties,
            extensions: Some(self.extensions),
            bytes: self.about.bytes,
            files: self.files,
            content: self.content,
        }
    }
}

fn outputs(dumps: &Dumps, manifest: &Manifest) -> Map<String, Value> {
    Map::from_iter([
        ("dump".to_owned(), json!(manifest.name)),
        ("path".to_owned(), json!(dumps.path(&manifest.name))),
        ("taken".to_owned(), json!(manifest.taken.to_string())),
        ("rows".to_owned(), json!(manifest.rows())),
    ])
}

#[cfg(test)]
#[path = "dump_tests.rs"]
mod tests;
