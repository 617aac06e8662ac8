//! `postgres.evidence`: the files of a whole server as they are, damage and all, before anything is written to it; on RDS,
//! which has no files for anybody, a snapshot (`rds::evidence`).
//!
//! `pg_basebackup` copies them over a replication connection: pages are read as bytes, so that damaged ones come as they
//! are, and with the log that was written meanwhile the copy can be started. What it writes is a draft until its digests are
//! known; a copy that has its name is whole, and is kept.

mod server;
pub(in crate::actions) mod without;

use std::convert::Infallible;
use std::path::{Path, PathBuf};
use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::drafts::{Draft, bytes, free, hashed, mark, named, nameless, tidy};
use super::dump::{LIMIT, class, said};
use super::keep;
use super::manifest::{self, FileDigest};
use super::server::beside;
use crate::actions::rds;
use crate::clients::Clients;
use crate::clients::postgres::tools::{Found, Tool, find};
use crate::clients::postgres::{database, login, watched};
use crate::clients::process::{self, Program, ProgramEnd, Scrub};
use crate::clock::since;
use crate::engine::ports::{Armed, Call, Observation, Performed};
use crate::outcome::{ActionError, Difference, FailureClass};
use crate::runbook::catalogue::actions::PostgresEvidence;
use crate::sandbox::programs::Purpose;
use crate::shell::line;
use server::Server;
use without::{Lack, down, gone_without};

/// The format this program writes; it reads no other.
const FORMAT: &str = "phoenix-dr/evidence/1";
const EVIDENCE: &str = ".evidence";
const TELL_EVERY: Duration = Duration::from_secs(1);
/// Looks before a server counts as down: one that restarts answers after some seconds.
const TRIES_MAX: u32 = 4;
const PAUSE: Duration = Duration::from_secs(1);
/// A refusal comes sooner than this; what takes longer is silence.
const SILENCE: Duration = Duration::from_secs(1);
/// Where `pg_basebackup` writes what it copied, file by file.
const LIST: &str = "backup_manifest";

/// What is known of one copy.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Manifest {
    format: String,
    name: String,
    /// Token of the step that made it
    token: String,
    instance: String,
    region: String,
    /// When it was begun and when it was whole, by this host's clock
    taken: Timestamp,
    ended: Timestamp,
    /// The server's own system identifier
    system: String,
    in_recovery: bool,
    server_version: u32,
    /// Whether pages carry checksums, by which damage in the copy is found later
    checksums: bool,
    /// The log that belongs to the copy
    log: Vec<Log>,
    files: Vec<FileDigest>,
}

/// A part of the log that is needed to start a copy.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Log {
    #[serde(alias = "Timeline")]
    timeline: u32,
    #[serde(alias = "Start-LSN")]
    from: String,
    #[serde(alias = "End-LSN")]
    to: String,
}

/// The list of `pg_basebackup`, as far as it is needed here.
#[derive(Debug, Deserialize)]
struct List {
    #[serde(rename = "WAL-Ranges")]
    log: Vec<Log>,
}

/// Looks for the copy, and whether it could be made; where it cannot, it may be gone without by the typed word.
pub(crate) async fn observe(
    clients: &Clients,
    call: &Call,
    with: &PostgresEvidence,
) -> Result<Observation, ActionError> {
    if database(clients)?.on_rds() {
        return Box::pin(rds::evidence::observe(clients, call, with)).await;
    }
    let name = named(with.name.as_deref(), call)?;
    let root = root(clients);
    if let Ok(root) = &root
        && let Some(found) = kept(root, &name)?
    {
        return taken(root, &found, call);
    }
    let mut seen = Observation::new(state(&name, false), state(&name, true));
    let server = looked_at(clients, with, root.as_deref().ok(), &name).await?;
    let mut lacking = server.lacking.clone();
    let room = match &root {
        Ok(root) => room(root, server.bytes),
        Err(_) => Ok(None),
    };
    let tool = find(clients, Tool::BaseBackup, server.major()).await;
    for error in [root.as_ref().err(), room.as_ref().err(), tool.as_ref().err()] {
        lacking.extend(error.map(|error| Lack::of(error.clone())));
    }
    if let (Ok(root), Ok(room), Ok(tool), []) = (&root, &room, &tool, lacking.as_slice()) {
        seen.evidence = server.said;
        seen.evidence.push(format!("{} into {}", tool.version, root.display()));
        seen.evidence.extend(room.clone());
        seen.differences = vec![Difference {
            what: format!("copy of {}'s files", with.instance),
            from: "none".to_owned(),
            to: folder(root, &name).display().to_string(),
        }];
        seen.commands = vec![line(&argv(tool, &folder(root, &name), call, server.has_slot))];
        return Ok(seen);
    }
    Ok(gone_without(clients, with, seen, &lacking))
}

/// Looks at the server. One that does not answer, however often it is asked, is as good as down: perhaps by its very damage,
/// and then its files are there to be copied by hand, or it is gone without.
async fn looked_at(
    clients: &Clients,
    with: &PostgresEvidence,
    root: Option<&Path>,
    name: &str,
) -> Result<Server, ActionError> {
    let mut tries = 1;
    loop {
        let asked = clients.clock.now();
        let error = match Server::look(clients, with).await {
            Err(error) if error.class.retryable() => error,
            found => return found,
        };
        // What is silent has taken its time already.
        let silent = since(asked, clients.clock.now()) >= SILENCE;
        if tries == TRIES_MAX || silent {
            return Ok(Server { lacking: vec![down(error, root, name)], ..Server::default() });
        }
        clients.clock.sleep(PAUSE * tries).await;
        tries += 1;
    }
}

/// Returns a look at a copy that is there.
fn taken(root: &Path, found: &Manifest, call: &Call) -> Result<Observation, ActionError> {
    if found.token != call.token() {
        let message = format!("evidence named {} is there already, of another run", found.name);
        return Err(ActionError::unchanged(FailureClass::Conflict, message)
            .hint("give this one another `name`"));
    }
    let folder = folder(root, &found.name);
    let wrong = manifest::wrong_sizes(&folder, &found.files);
    if !wrong.is_empty() {
        let message =
            format!("the evidence {} is not as it was taken: {}", found.name, wrong.join("; "));
        return Err(ActionError::unchanged(FailureClass::Invalid, message)
            .hint("find out who changed it; give the step another `name` to take one more"));
    }
    let mut seen = Observation::new(state(&found.name, true), state(&found.name, true));
    seen.outputs = outputs(root, found);
    Ok(seen)
}

/// Copies.
pub(crate) async fn perform(
    clients: &Clients,
    _armed: &Armed,
    call: &Call,
    with: &PostgresEvidence,
) -> Result<Performed, ActionError> {
    if database(clients)?.on_rds() {
        return Box::pin(rds::evidence::perform(clients, call, with)).await;
    }
    let (root, name) = (root(clients)?, named(with.name.as_deref(), call)?);
    // What an earlier attempt of this step took hours for, and could not give its name.
    let (draft, manifest) = match nameless(&root, call, |draft| whole(draft, &name, &call.token()))
    {
        Some(found) => found,
        None => make(clients, call, with, &root, name).await?,
    };
    keep(&root, &draft, &manifest).await?;
    tidy(&root, call);
    Ok(Performed {
        after: state(&manifest.name, true),
        notes: vec![format!(
            "copied {} of {} as they are into {}",
            bytes(size(&manifest.files)),
            with.instance,
            folder(&root, &manifest.name).display()
        )],
        outputs: outputs(&root, &manifest),
        obligations: Vec::new(),
    })
}

/// Makes a copy that lacks its name alone.
async fn make(
    clients: &Clients,
    call: &Call,
    with: &PostgresEvidence,
    root: &Path,
    name: String,
) -> Result<(PathBuf, Manifest), ActionError> {
    let server = Server::look(clients, with).await?;
    let tool = find(clients, Tool::BaseBackup, server.major()).await?;
    room(root, server.bytes)?;
    end_orphans(clients, call, with).await?;
    tidy(root, call);
    let taken = clients.clock.now();
    let draft = Draft::new(root, call, clients);
    let argv = argv(&tool, draft.path(), call, server.has_slot);
    let (log, files) = copy(clients, call, with, &argv, (draft.path(), server.bytes)).await?;
    let manifest = Manifest {
        format: FORMAT.to_owned(),
        name,
        token: call.token(),
        instance: with.instance.clone(),
        region: with.region.clone(),
        taken,
        ended: clients.clock.now(),
        system: server.system,
        in_recovery: server.in_recovery,
        server_version: server.version,
        checksums: server.checksums,
        log,
        files,
    };
    Ok((draft.whole(), manifest))
}

/// Gives a copy its manifest and its name.
async fn keep(root: &Path, draft: &Path, manifest: &Manifest) -> Result<(), ActionError> {
    let kept = keep::keep("the evidence", draft, &folder(root, &manifest.name), manifest).await;
    let ours = |known: Manifest| known.token == manifest.token;
    if kept == Ok(true) || self::kept(root, &manifest.name)?.is_some_and(ours) {
        return Ok(());
    }
    kept?;
    let message = format!("evidence named {} came up meanwhile, of another run", manifest.name);
    Err(ActionError::unchanged(FailureClass::Conflict, message)
        .hint("give this one another `name`"))
}

/// What was copied is kept: nothing of the estate is other than before.
pub(crate) fn revert(call: &Call) -> Result<(), ActionError> {
    let message = format!("the evidence of the step {} is kept", call.step);
    Err(ActionError::unchanged(FailureClass::Invalid, message)
        .hint("delete it by hand once nobody needs it"))
}

fn root(clients: &Clients) -> Result<PathBuf, ActionError> {
    let root = database(clients)?.evidence.as_deref().map(PathBuf::from).ok_or_else(|| {
        let message = "the estate does not say where evidence is kept";
        ActionError::unchanged(FailureClass::NotFound, message)
            .hint("name a directory in `database.evidence` of the estate file")
    })?;
    if root.is_dir() {
        return Ok(root);
    }
    let message = format!("{} is no directory on this host", root.display());
    Err(ActionError::unchanged(FailureClass::NotFound, message)
        .hint("it is the estate's `database.evidence`: make it, or mount it, and try again"))
}

fn folder(root: &Path, name: &str) -> PathBuf {
    root.join(format!("{name}{EVIDENCE}"))
}

/// Reads the manifest of a copy; `None` where there is none.
fn kept(root: &Path, name: &str) -> Result<Option<Manifest>, ActionError> {
    manifest::read(&folder(root, name), &[FORMAT])
}

/// Reads the manifest of a draft that is a whole copy of this name, of the step with this token.
fn whole(draft: &Path, name: &str, token: &str) -> Option<Manifest> {
    let found = manifest::read::<Manifest>(draft, &[FORMAT]).ok()??;
    let whole = manifest::wrong_sizes(draft, &found.files).is_empty();
    (whole && found.name == name && found.token == token).then_some(found)
}

fn state(name: &str, whole: bool) -> Value {
    json!({ "evidence": name, "whole": whole })
}

/// Says how much room there is; an error where it is not enough for the server's files and the log written meanwhile.
fn room(root: &Path, needed: Option<u64>) -> Result<Option<String>, ActionError> {
    // Without an answer the copying itself will tell.
    let Some(free) = free(root) else { return Ok(None) };
    if let Some(needed) = needed.filter(|needed| free < *needed) {
        let message = format!(
            "{} has {} free, and the server's files have {}",
            root.display(),
            bytes(free),
            bytes(needed)
        );
        return Err(ActionError::unchanged(FailureClass::Capacity, message)
            .hint("make room there, or name another directory in `database.evidence`"));
    }
    Ok(Some(format!("{} free there", bytes(free))))
}

fn argv(tool: &Found, draft: &Path, call: &Call, has_slot: bool) -> Vec<String> {
    let mut argv = vec![
        tool.program.clone(),
        "--format=tar".to_owned(),
        "--wal-method=stream".to_owned(),
        // At once: a spread one lets minutes pass.
        "--checkpoint=fast".to_owned(),
        // Damaged pages are what is wanted; without it they end the copy.
        "--no-verify-checksums".to_owned(),
        "--manifest-checksums=SHA256".to_owned(),
        "--no-password".to_owned(),
        format!("--dbname={}", watched()),
        format!("--label=phoenix-dr {}", call.token()),
        format!("--pgdata={}", draft.display()),
    ];
    if !has_slot {
        argv.push("--no-slot".to_owned());
    }
    argv
}

/// Returns what a copy's connections are called, so that those a dead process left can be told.
fn connections(call: &Call) -> String {
    format!("phoenix-dr {}", mark(call))
}

/// Ends what an attempt of this step left running whose process is gone: it would copy on into what is removed.
async fn end_orphans(
    clients: &Clients,
    call: &Call,
    with: &PostgresEvidence,
) -> Result<(), ActionError> {
    let mut session = beside(clients, &with.instance).await?;
    let what = format!("end earlier copies of {}", with.instance);
    let name = connections(call);
    let sql = "select pg_terminate_backend(pid) from pg_stat_replication \
         where application_name = $1 and usename = current_user";
    session.change(clients, &what, &[(sql.to_owned(), vec![&name])]).await
}

/// Copies, and reads what came of it: the part of the log that belongs to it, and the digests of its files.
async fn copy(
    clients: &Clients,
    call: &Call,
    with: &PostgresEvidence,
    argv: &[String],
    (draft, expected): (&Path, Option<u64>),
) -> Result<(Vec<Log>, Vec<FileDigest>), ActionError> {
    run(clients, call, with, argv, (draft, expected)).await?;
    call.progress.tell("reading the files' digests", None);
    Ok((log(draft)?, hashed(draft.to_owned()).await?))
}

async fn run(
    clients: &Clients,
    call: &Call,
    with: &PostgresEvidence,
    argv: &[String],
    (draft, expected): (&Path, Option<u64>),
) -> Result<(), ActionError> {
    clients.guard.pass(line(argv))?;
    let login = login(clients, &with.instance).await?;
    let mut env = login.env.clone();
    env.insert("PGAPPNAME".to_owned(), connections(call));
    let program = Program {
        argv,
        env: &env,
        scrub: Scrub::Connection,
        cwd: None,
        limit: LIMIT,
        artifact: clients.artifacts.as_ref().map(|dir| dir.join(format!("{}.log", call.step))),
        purpose: Purpose::Perform(call.step.clone()),
    };
    let watching = async {
        loop {
            clients.clock.sleep(TELL_EVERY).await;
            tell(call, written(draft), expected);
        }
    };
    // The watching never ends: it is what is dropped, and it only looked.
    let ran = tokio::select! {
        ran = process::run(clients, &program) => ran,
        never = watching => { let never: Infallible = never; match never {} }
    };
    let ended =
        ran.map_err(|error| ActionError::unchanged(FailureClass::Invalid, error.to_string()))?;
    if ended.end == ProgramEnd::Exit(0) {
        return Ok(());
    }
    let message = format!("pg_basebackup of {}: {}", with.instance, said(&ended));
    Err(ActionError::unchanged(class(&ended), message).hint(
        "nothing was kept of it; where a file cannot be read at all, copy the files of the stopped server by other means",
    ))
}

fn tell(call: &Call, done: u64, expected: Option<u64>) {
    let Some(expected) = expected.filter(|expected| *expected > 0) else {
        return call.progress.tell(format!("{} copied", bytes(done)), None);
    };
    #[expect(clippy::cast_precision_loss, reason = "a part of a bar is no exact number")]
    let part = (done as f32 / expected as f32).min(0.99);
    let said = format!("{} of about {} copied", bytes(done), bytes(expected));
    call.progress.tell(said, Some(part));
}

/// Returns how much of a draft has been written.
fn written(draft: &Path) -> u64 {
    let Ok(entries) = std::fs::read_dir(draft) else { return 0 };
    entries.flatten().filter_map(|entry| entry.metadata().ok()).map(|found| found.len()).sum()
}

/// Reads which part of the log belongs to the copy: without it nothing says that the copy is one.
fn log(draft: &Path) -> Result<Vec<Log>, ActionError> {
    let path = draft.join(LIST);
    let bad = |error: String| {
        let message =
            format!("pg_basebackup ended well and left no list of what it copied: {error}");
        ActionError::unchanged(FailureClass::Internal, message)
    };
    let file = std::fs::File::open(&path).map_err(|error| bad(error.to_string()))?;
    let list: List = serde_json::from_reader(std::io::BufReader::new(file))
        .map_err(|error| bad(error.to_string()))?;
    Ok(list.log)
}

fn size(files: &[FileDigest]) -> u64 {
    files.iter().map(|file| file.bytes).sum()
}

fn outputs(root: &Path, found: &Manifest) -> Map<String, Value> {
    Map::from_iter([
        ("evidence".to_owned(), json!(found.name)),
        ("path".to_owned(), json!(folder(root, &found.name).display().to_string())),
        ("taken".to_owned(), json!(found.taken.to_string())),
        ("bytes".to_owned(), json!(size(&found.files))),
    ])
}

#[cfg(test)]
#[path = "evidence_tests.rs"]
mod tests;
