//! How a data directory is filled: the backup is copied or unpacked, and every file of the copy held against its manifest.

use std::collections::BTreeMap;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::Path;

use super::way::Way;
use crate::actions::postgres::base::Form;
use crate::actions::postgres::dump::{LIMIT, said};
use crate::actions::postgres::wal::Own;
use crate::by_hand::dumps::FOLDERS;
use crate::clients::Clients;
use crate::clients::postgres::tools::{Tool, find_exact};
use crate::clients::process::{self, Program, ProgramEnd, Scrub};
use crate::engine::ports::Call;
use crate::outcome::{ActionError, FailureClass};
use crate::sandbox::programs::Purpose;

/// Copies or unpacks a backup.
pub(super) async fn copy(
    clients: &Clients,
    call: &Call,
    way: &Way,
    draft: &Path,
) -> Result<(), ActionError> {
    let to = draft.display();
    let unpack = |archive: &Path, to: String| {
        ["tar", "--extract", "--no-same-owner"]
            .map(str::to_owned)
            .into_iter()
            .chain([format!("--file={}", archive.display()), format!("--directory={to}")])
            .collect::<Vec<String>>()
    };
    let commands = match &way.backup.form {
        Form::Plain => {
            let from = format!("{}/.", way.backup.path.display());
            let words =
                ["cp", "--recursive", "--no-dereference", "--preserve=mode,timestamps", "--"];
            let words = words.map(str::to_owned).into_iter();
            vec![words.chain([from, to.to_string()]).collect()]
        }
        Form::Tar { base, wal } => {
            let log = wal.as_ref().map(|wal| unpack(wal, format!("{to}/pg_wal")));
            std::iter::once(unpack(base, to.to_string())).chain(log).collect()
        }
    };
    for argv in commands {
        run(clients, call, &argv).await?;
    }
    Ok(())
}

/// Makes the folders every server has: a bucket has none that is empty, and without them a server does not start.
pub(super) fn folders(draft: &Path) -> std::io::Result<()> {
    FOLDERS.iter().try_for_each(|name| {
        let folder = draft.join(name);
        std::fs::DirBuilder::new().mode(0o700).recursive(true).create(folder)
    })
}

/// Has PostgreSQL's own program hold every file of the copy against the manifest.
pub(super) async fn verify(
    clients: &Clients,
    call: &Call,
    way: &Way,
    draft: &Path,
) -> Result<(), ActionError> {
    let tool = find_exact(clients, Tool::VerifyBackup, way.major).await?;
    let manifest = way.backup.path.join("backup_manifest");
    let mut argv =
        vec![tool.program, "--quiet".to_owned(), format!("--manifest-path={}", manifest.display())];
    let has = match &way.backup.needs.own {
        Own::Needed => true,
        Own::Named { .. } => {
            let first = way.reach.whole.first().map(|segment| segment.name(way.reach.size));
            first.is_some_and(|first| draft.join("pg_wal").join(first).exists())
        }
        Own::None => false,
    };
    if !has {
        argv.push(format!("--wal-directory={}", way.archive.folder().display()));
    }
    argv.push(draft.display().to_string());
    let ended = ended(clients, call, &argv).await?;
    match ended.end {
        ProgramEnd::Exit(0) => return Ok(()),
        ProgramEnd::Exit(_) => {}
        // That says nothing of the files.
        ProgramEnd::Signal(_) | ProgramEnd::TimedOut => return Err(unwell(&argv, &ended)),
    }
    way.doubt();
    let message = format!(
        "the base backup {} is damaged: {}",
        way.backup.name,
        unwell(&argv, &ended).message
    );
    let hint = match way.is_fetched() {
        true => format!(
            "no server was started on it, and `phoenix-dr resume {}` fetches it anew; where that fails as well, take another base backup",
            call.run.0
        ),
        false => "take another base backup; no server was started on this one".to_owned(),
    };
    Err(ActionError::unchanged(FailureClass::Invalid, message).hint(hint))
}

/// Runs a program that must end well.
async fn run(clients: &Clients, call: &Call, argv: &[String]) -> Result<(), ActionError> {
    let ended = ended(clients, call, argv).await?;
    if ended.end == ProgramEnd::Exit(0) { Ok(()) } else { Err(unwell(argv, &ended)) }
}

/// Runs a program to its end.
async fn ended(
    clients: &Clients,
    call: &Call,
    argv: &[String],
) -> Result<process::Ended, ActionError> {
    let program = Program {
        argv,
        env: &BTreeMap::new(),
        scrub: Scrub::Connection,
        cwd: Some("/"),
        limit: LIMIT,
        artifact: clients.artifacts.as_ref().map(|dir| dir.join(format!("{}.log", call.step))),
        purpose: Purpose::Perform(call.step.clone()),
    };
    let ended = process::run(clients, &program).await;
    ended.map_err(|error| ActionError::unchanged(FailureClass::Invalid, error.to_string()))
}

/// Returns the error of a program that did not end well.
fn unwell(argv: &[String], ended: &process::Ended) -> ActionError {
    let class = match ended.stderr.contains("No space left on device") {
        true => FailureClass::Capacity,
        false => FailureClass::Invalid,
    };
    let program = argv.first().map_or("", String::as_str);
    ActionError::unchanged(class, format!("{program}: {}", said(ended)))
}
