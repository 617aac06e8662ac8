//! Base backups in the estate's directory, as `pg_basebackup` writes them: a directory each, plain or tar, with its
//! `backup_manifest`. What has none cannot be verified, and is no recovery point.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use serde::Deserialize;
use sha2::{Digest as _, Sha256};

use super::manifest::hex;
use super::wal::{Archive, Lsn, Needs, Own, segment_size};
use crate::clients::Clients;
use crate::clients::postgres::database;
use crate::clients::process::{self, Program, ProgramEnd, Scrub};
use crate::outcome::{ActionError, FailureClass};
use crate::sandbox::programs::Purpose;

/// Characters of a segment's name.
const SEGMENT_NAME: usize = 24;
const MANIFEST: &str = "backup_manifest";
/// File with the major version, in every data directory.
const VERSION: &str = "PG_VERSION";
/// The archives of a backup in tar format, with each ending `pg_basebackup` gives them and this program reads.
const PACKINGS: [&str; 2] = ["tar", "tar.gz"];
/// Time to read the first file of an archive.
const VERSION_LIMIT: std::time::Duration = std::time::Duration::from_secs(60);

/// How a base backup's files are kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Form {
    Plain,
    /// Archives of the data directory and, where it came with the backup, of its WAL
    Tar {
        base: PathBuf,
        wal: Option<PathBuf>,
    },
}

/// One base backup.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct BaseBackup {
    pub name: String,
    pub path: PathBuf,
    pub form: Form,
    /// When its last file was written: by then the copying was as good as over
    pub complete: Timestamp,
    pub needs: Needs,
    /// Bytes of all its files, unpacked
    pub bytes: u64,
    /// The manifest's own checksum: what tells this backup from another of the same name
    pub checksum: String,
    /// What its files are held against, e.g. `CRC32C`
    pub checksums: String,
}

/// `backup_manifest`, as far as it is needed here; `pg_verifybackup` reads all of it.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Manifest {
    files: Vec<ManifestFile>,
    #[serde(rename = "WAL-Ranges")]
    wal: Vec<WalRange>,
    #[serde(rename = "Manifest-Checksum")]
    checksum: String,
}

#[derive(Debug, Deserialize)]
struct ManifestFile {
    /// Left out where it is no UTF-8
    #[serde(rename = "Path", default)]
    path: String,
    #[serde(rename = "Size")]
    size: u64,
    #[serde(rename = "Last-Modified")]
    modified: String,
    /// Left out where the backup was made without checksums
    #[serde(rename = "Checksum-Algorithm", default)]
    algorithm: Option<String>,
}

#[derive(Debug, Deserialize)]
struct WalRange {
    #[serde(rename = "Timeline")]
    timeline: u32,
    #[serde(rename = "Start-LSN")]
    start: String,
    #[serde(rename = "End-LSN")]
    end: String,
}

/// The estate's base backups and their WAL.
#[derive(Debug, Clone)]
pub(super) struct BaseBackups {
    pub root: PathBuf,
    pub wal: PathBuf,
}

impl BaseBackups {
    /// Returns the estate's directories; `None` where it names none.
    pub(super) fn named(clients: &Clients) -> Result<Option<Self>, ActionError> {
        let named = database(clients)?.base_backups.as_ref();
        Ok(named.map(|named| Self {
            root: PathBuf::from(&named.directory),
            wal: PathBuf::from(&named.wal),
        }))
    }

    /// Returns the estate's directories.
    pub(super) fn of(clients: &Clients) -> Result<Self, ActionError> {
        Self::named(clients)?.ok_or_else(|| {
            let message = "the estate does not say where base backups are kept";
            ActionError::unchanged(FailureClass::NotFound, message)
                .hint("name `directory` and `wal` in `database.base_backups` of the estate file")
        })
    }

    /// Lists the base backups, the newest first, and what is there that is none, with why. Blocks.
    pub(super) fn list(&self) -> Result<(Vec<BaseBackup>, Vec<String>), ActionError> {
        let failed = |error: std::io::Error| {
            let message = format!("list {}: {error}", self.root.display());
            ActionError::unchanged(FailureClass::NotFound, message)
                .hint("it is the estate's `database.base_backups.directory`: make it readable, or mount it")
        };
        let (mut found, mut others) = (Vec::new(), Vec::new());
        for entry in std::fs::read_dir(&self.root).map_err(failed)? {
            let entry = entry.map_err(failed)?;
            let name = entry.file_name().to_string_lossy().into_owned();
            if !entry.path().is_dir() || name.starts_with('.') || name == super::proofs::FOLDER {
                continue;
            }
            match self.find(&name) {
                Ok(backup) => found.push(backup),
                Err(error) => others.push(error.message),
            }
        }
        found.sort_by(|a, b| b.complete.cmp(&a.complete).then_with(|| a.name.cmp(&b.name)));
        others.sort();
        Ok((found, others))
    }

    /// Reads what a base backup's manifest says. Blocks.
    pub(super) fn find(&self, name: &str) -> Result<BaseBackup, ActionError> {
        let path = self.root.join(name);
        let bad = |why: String| {
            let message = format!("the base backup {name} cannot be used: {why}");
            ActionError::unchanged(FailureClass::Invalid, message)
                .hint("take another base backup; see `phoenix-dr recovery-points`")
        };
        if name.is_empty() || name.contains('/') || name.starts_with('.') {
            return Err(bad("that is no name of a directory".to_owned()));
        }
        let file = path.join(MANIFEST);
        let text = std::fs::read_to_string(&file).map_err(|error| match error.kind() {
            std::io::ErrorKind::NotFound if path.is_dir() => {
                bad(format!("it has no {MANIFEST}, so nothing can verify it"))
            }
            _ => bad(format!("{}: {error}", file.display())),
        })?;
        let manifest = manifest(&text).map_err(|why| bad(format!("its {MANIFEST} {why}")))?;
        let form = form(&path).map_err(bad)?;
        let complete = manifest.files.iter().filter_map(|file| instant(&file.modified)).max();
        let complete = complete.ok_or_else(|| bad("its manifest names no file".to_owned()))?;
        if manifest.files.iter().any(|file| file.path == "tablespace_map" && file.size > 0) {
            return Err(bad(
                "it has tablespaces, whose places on this host may be those of the damaged server"
                    .to_owned(),
            ));
        }
        let checksums = checksums(&manifest.files).ok_or_else(|| {
            let why = "its manifest has no checksums, so that a file that was changed could not be told";
            bad(why.to_owned()).hint(format!(
                "take another: pg_basebackup --checkpoint=fast --manifest-checksums=SHA256 --pgdata={}",
                self.root.join("NAME").display()
            ))
        })?;
        let needs = needs(&manifest, &path, &form).map_err(bad)?;
        let bytes = manifest.files.iter().map(|file| file.size).sum();
        let name = name.to_owned();
        let checksum = manifest.checksum;
        Ok(BaseBackup { name, path, form, complete, needs, bytes, checksum, checksums })
    }
}

impl BaseBackup {
    /// Returns the major version of the server it was taken from.
    pub(super) async fn major(&self, clients: &Clients) -> Result<u32, ActionError> {
        let failed = |why: String| {
            let message = format!("read the version of the base backup {}: {why}", self.name);
            ActionError::unchanged(FailureClass::Invalid, message)
        };
        let text = match &self.form {
            Form::Plain => std::fs::read_to_string(self.path.join(VERSION))
                .map_err(|error| failed(error.to_string()))?,
            Form::Tar { base, .. } => {
                let file = format!("--file={}", base.display());
                let argv = ["tar", "--extract", "--to-stdout", "--occurrence=1", &file, VERSION];
                let ended = look(clients, &argv.map(str::to_owned), VERSION_LIMIT).await?;
                if ended.end != ProgramEnd::Exit(0) {
                    return Err(failed(ended.say(VERSION_LIMIT)));
                }
                ended.stdout
            }
        };
        text.trim().parse().map_err(|_| failed(format!("`{}` is none", text.trim())))
    }

    /// Returns the segments of the log the backup itself cannot do without, of which one is missing.
    pub(super) fn incomplete(&self, archive: &Archive) -> Option<String> {
        let reach = archive.reach(&self.needs);
        let last = self.needs.end.0.saturating_sub(1) / reach.size;
        let own = reach.missing.iter().find(|segment| segment.number <= last)?;
        Some(own.name(reach.size))
    }
}

/// Runs a program that only looks.
pub(super) async fn look(
    clients: &Clients,
    argv: &[String],
    limit: std::time::Duration,
) -> Result<process::Ended, ActionError> {
    let program = Program {
        argv,
        env: &[("TZ".to_owned(), "UTC".to_owned())].into(),
        scrub: Scrub::Connection,
        cwd: None,
        limit,
        artifact: None,
        purpose: Purpose::Look,
    };
    let ended = process::run(clients, &program).await;
    ended.map_err(|error| ActionError::unchanged(FailureClass::Invalid, error.to_string()))
}

/// Reads a manifest and holds it against its own checksum, which is over everything before it.
fn manifest(text: &str) -> Result<Manifest, String> {
    let manifest: Manifest =
        serde_json::from_str(text).map_err(|error| format!("cannot be read: {error}"))?;
    let before = text.rfind("\"Manifest-Checksum\"").map_or(text, |at| &text[..at]);
    if hex(&Sha256::digest(before.as_bytes())) != manifest.checksum {
        return Err("was changed since it was written".to_owned());
    }
    Ok(manifest)
}

/// Returns the kinds of checksums the files have; `None` where one has none: of that `pg_verifybackup` compares the size alone.
fn checksums(files: &[ManifestFile]) -> Option<String> {
    let kinds: Option<BTreeSet<&str>> =
        files.iter().map(|file| file.algorithm.as_deref()).collect();
    Some(kinds?.into_iter().collect::<Vec<_>>().join(", "))
}

fn form(path: &Path) -> Result<Form, String> {
    if path.join(VERSION).is_file() {
        // A copy would have the link, and a server on it would write into what lies behind it.
        return match path.join("pg_wal").is_symlink() {
            true => Err("its pg_wal is a link to another directory".to_owned()),
            false => Ok(Form::Plain),
        };
    }
    let packed = |name: &str| {
        PACKINGS
            .iter()
            .map(|packing| path.join(format!("{name}.{packing}")))
            .find(|file| file.is_file())
    };
    match packed("base") {
        Some(base) => Ok(Form::Tar { base, wal: packed("pg_wal") }),
        None => Err(format!(
            "it holds neither the files of a server nor {}",
            PACKINGS.map(|packing| format!("base.{packing}")).join(" or ")
        )),
    }
}

fn needs(manifest: &Manifest, path: &Path, form: &Form) -> Result<Needs, String> {
    let (Some(first), Some(last)) = (manifest.wal.first(), manifest.wal.last()) else {
        return Err("its manifest does not say which WAL it needs".to_owned());
    };
    if first.timeline != last.timeline {
        return Err("it was taken from a replica while that was promoted".to_owned());
    }
    let lsn = |text: &str| text.parse::<Lsn>().map_err(|error| error.to_string());
    let (timeline, start, end) = (first.timeline, lsn(&first.start)?, lsn(&last.end)?);
    let own = match form {
        Form::Plain => segments(&path.join("pg_wal")),
        // What `pg_basebackup` streams beside the backup is all of this range.
        Form::Tar { wal: Some(_), .. } => Own::Needed,
        Form::Tar { wal: None, .. } => Own::None,
    };
    Ok(Needs { timeline, start, end, own })
}

/// Returns the segments of the log that came as files.
fn segments(directory: &Path) -> Own {
    let entries = std::fs::read_dir(directory).into_iter().flatten().flatten();
    let files: BTreeMap<String, u64> = entries
        .filter_map(|entry| {
            Some((entry.file_name().to_string_lossy().into_owned(), entry.metadata().ok()?.len()))
        })
        .filter(|(name, _)| name.len() == SEGMENT_NAME)
        .collect();
    let size = segment_size(files.values().copied());
    Own::Named { names: files.into_keys().collect(), size }
}

/// Reads a manifest's time, e.g. `2026-11-29 04:41:20 GMT`.
fn instant(text: &str) -> Option<Timestamp> {
    let time: DateTime = text.strip_suffix(" GMT")?.parse().ok()?;
    Some(time.to_zoned(TimeZone::UTC).ok()?.timestamp())
}
