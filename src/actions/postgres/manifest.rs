//! Dumps in the estate's directory, each with a manifest: what was dumped, from where, and the digest of every file. A
//! dump without one, or that is not what it says, is not restored.
//!
//! `NAME.dump/` holds what `pg_dump` wrote and `manifest.json`. It gets its name as a whole, and never over another: what
//! was cut off has no name, and what has one is complete.

use std::fs::File;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::content::Content;
use super::properties::{Locale, Properties};
use crate::clients::Clients;
use crate::clients::postgres::database;
use crate::outcome::{ActionError, FailureClass};

/// The format this program writes.
const FORMAT: &str = "phoenix-dr/dump/2";
/// The formats it reads: the first lists no objects and does not say which system it is of.
const FORMATS: [&str; 2] = ["phoenix-dr/dump/1", FORMAT];
pub(super) const MANIFEST: &str = "manifest.json";
const DUMP: &str = ".dump";

/// What is known of one dump.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Manifest {
    pub format: String,
    pub name: String,
    /// Token of the step that made it
    pub token: String,
    pub instance: String,
    pub region: String,
    /// Which system it is of, as its server says; `None` where it keeps that to itself
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub system: Option<String>,
    pub database: String,
    /// Instant of the snapshot, by the server's clock
    pub taken: Timestamp,
    /// Position of the log just after the snapshot was taken
    pub lsn: String,
    /// The server's version number, e.g. 150008
    pub server_version: u32,
    /// Major version of the `pg_dump` that wrote it
    pub tool: u32,
    pub locale: Locale,
    pub properties: Properties,
    /// Size of the database in bytes
    pub bytes: u64,
    pub files: Vec<FileDigest>,
    pub content: Content,
}

/// One file of a dump.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct FileDigest {
    pub name: String,
    pub bytes: u64,
    pub sha256: String,
}

/// A manifest as it is kept: with a digest of its own, so that a change in it is seen as well.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Kept<M> {
    manifest: M,
    sha256: String,
}

impl<M: Serialize> Kept<M> {
    pub(super) fn of(manifest: M) -> Result<Self, serde_json::Error> {
        Ok(Self { sha256: digest_of(&manifest)?, manifest })
    }
}

/// The estate's directory of dumps.
#[derive(Debug, Clone)]
pub(super) struct Dumps {
    root: PathBuf,
}

impl Dumps {
    /// Returns the estate's directory, which must be there.
    pub(super) fn of(clients: &Clients) -> Result<Self, ActionError> {
        let root = database(clients)?.dumps.as_deref().map(PathBuf::from).ok_or_else(|| {
            let message = "the estate does not say where dumps are kept";
            ActionError::unchanged(FailureClass::NotFound, message)
                .hint("name a directory in `database.dumps` of the estate file")
        })?;
        if !root.is_dir() {
            let message = format!("{} is no directory on this host", root.display());
            return Err(ActionError::unchanged(FailureClass::NotFound, message)
                .hint("it is the estate's `database.dumps`: make it, or mount it, and try again"));
        }
        Ok(Self { root })
    }

    pub(super) fn root(&self) -> &Path {
        &self.root
    }

    /// Returns where a dump's files are.
    pub(super) fn folder(&self, name: &str) -> PathBuf {
        self.root.join(format!("{name}{DUMP}"))
    }

    fn manifest(&self, name: &str) -> PathBuf {
        self.folder(name).join(MANIFEST)
    }

    /// Reads a dump's manifest; `None` where there is none.
    pub(super) fn find(&self, name: &str) -> Result<Option<Manifest>, ActionError> {
        let path = self.manifest(name);
        let Some(manifest) = read::<Manifest>(&self.folder(name), &FORMATS)? else {
            return Ok(None);
        };
        if manifest.name != name {
            let why = format!("it is of the dump `{}`", manifest.name);
            return Err(unreadable(&path, &why));
        }
        Ok(Some(manifest))
    }

    /// Reads the manifest of a draft that is a whole dump of this name, of the step with this token.
    pub(super) fn whole(&self, draft: &Path, name: &str, token: &str) -> Option<Manifest> {
        let found = read::<Manifest>(draft, &FORMATS).ok()??;
        let whole = wrong_sizes(draft, &found.files).is_empty();
        (whole && found.name == name && found.token == token).then_some(found)
    }

    /// Lists the dumps of a database, the newest first, and what is there that is none, with why.
    pub(super) fn list(&self, database: &str) -> Result<(Vec<Manifest>, Vec<String>), ActionError> {
        let failed = |error: io::Error| {
            let message = format!("list {}: {error}", self.root.display());
            ActionError::unchanged(FailureClass::Denied, message)
        };
        let (mut found, mut others) = (Vec::new(), Vec::new());
        for entry in std::fs::read_dir(&self.root).map_err(failed)? {
            let name = entry.map_err(failed)?.file_name().to_string_lossy().into_owned();
            let Some(name) = name.strip_suffix(DUMP) else { continue };
            match self.find(name) {
                Ok(Some(manifest)) if manifest.database == database => found.push(manifest),
                Ok(Some(_)) => {}
                Ok(None) => {
                    others.push(format!("{name} has no manifest: nothing says what is in it"));
                }
                Err(error) => others.push(error.message),
            }
        }
        found.sort_by(|a, b| b.taken.cmp(&a.taken).then_with(|| a.name.cmp(&b.name)));
        others.sort();
        Ok((found, others))
    }

    /// Says what of a dump's files is not there, or not as long as its manifest says: a look that reads no content.
    pub(super) fn sizes(&self, manifest: &Manifest) -> Result<(), ActionError> {
        let wrong = wrong_sizes(&self.folder(&manifest.name), &manifest.files);
        if wrong.is_empty() { Ok(()) } else { Err(altered(&manifest.name, &wrong)) }
    }

    /// Reads every file of a dump against its manifest. Blocks.
    pub(super) fn verify(&self, manifest: &Manifest) -> Result<(), ActionError> {
        self.sizes(manifest)?;
        let folder = self.folder(&manifest.name);
        let wrong: Vec<String> = manifest
            .files
            .iter()
            .filter_map(|file| match sha256(&folder.join(&file.name)) {
                Ok(found) if found == file.sha256 => None,
                Ok(_) => Some(format!("{} has other content than was written", file.name)),
                Err(error) => Some(format!("{}: {error}", file.name)),
            })
            .collect();
        if wrong.is_empty() { Ok(()) } else { Err(altered(&manifest.name, &wrong)) }
    }
}

/// Reads a manifest of one of some formats; `None` where the folder has none.
pub(super) fn read<M: Serialize + DeserializeOwned>(
    folder: &Path,
    formats: &[&str],
) -> Result<Option<M>, ActionError> {
    let path = folder.join(MANIFEST);
    let text = match std::fs::read(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(unreadable(&path, &error.to_string())),
    };
    let bad = |error: serde_json::Error| unreadable(&path, &error.to_string());
    // A newer format may have fields nobody here knows.
    let found: serde_json::Value = serde_json::from_slice(&text).map_err(bad)?;
    let known = found["manifest"]["format"].as_str().unwrap_or_default();
    if !formats.contains(&known) {
        let formats = formats.join("`, `");
        let why = format!("its format is `{known}`, and this program reads `{formats}`");
        return Err(unreadable(&path, &why));
    }
    let kept: Kept<M> = serde_json::from_slice(&text).map_err(bad)?;
    if digest_of(&kept.manifest).map_err(bad)? != kept.sha256 {
        return Err(unreadable(&path, "it was changed since it was written"));
    }
    Ok(Some(kept.manifest))
}

/// Says which files are not there, or not as long as they were written, a line each.
pub(super) fn wrong_sizes(folder: &Path, files: &[FileDigest]) -> Vec<String> {
    let wrong = |file: &FileDigest| match std::fs::metadata(folder.join(&file.name)) {
        Ok(seen) if seen.len() == file.bytes => None,
        Ok(seen) => {
            Some(format!("{} has {} bytes instead of {}", file.name, seen.len(), file.bytes))
        }
        Err(error) => Some(format!("{}: {error}", file.name)),
    };
    files.iter().filter_map(wrong).collect()
}

impl Manifest {
    /// Returns the format this program writes.
    pub(super) fn format() -> String {
        FORMAT.to_owned()
    }

    /// Returns the major version of the server it was taken from.
    pub(super) const fn server_major(&self) -> u32 {
        self.server_version / 10_000
    }

    /// Returns the digest it is kept with.
    pub(super) fn digest(&self) -> Option<String> {
        digest_of(self).ok()
    }

    /// Returns the bytes of all its files.
    pub(super) fn stored(&self) -> u64 {
        self.files.iter().map(|file| file.bytes).sum()
    }

    /// Returns all rows of all tables.
    pub(super) fn rows(&self) -> u64 {
        self.content.tables.iter().map(|table| table.rows).sum()
    }
}

/// Reads the digests of all files of a directory, by name. Blocks.
pub(super) fn digests(folder: &Path) -> io::Result<Vec<FileDigest>> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        files.push(FileDigest {
            name,
            bytes: entry.metadata()?.len(),
            sha256: sha256(&entry.path())?,
        });
    }
    files.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(files)
}

fn sha256(path: &Path) -> io::Result<String> {
    let mut file = File::open(path)?;
    let (mut hasher, mut buffer) = (Sha256::new(), vec![0; 1 << 18]);
    loop {
        match file.read(&mut buffer)? {
            0 => return Ok(hex(&hasher.finalize())),
            length => hasher.update(&buffer[..length]),
        }
    }
}

fn digest_of<M: Serialize>(manifest: &M) -> Result<String, serde_json::Error> {
    Ok(hex(&Sha256::digest(serde_json::to_vec(manifest)?)))
}

pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn unreadable(path: &Path, why: &str) -> ActionError {
    let message = format!("the manifest {} cannot be believed: {why}", path.display());
    ActionError::unchanged(FailureClass::Invalid, message)
        .hint("take another one; what this one holds is not known")
}

fn altered(name: &str, wrong: &[String]) -> ActionError {
    let message = format!("the dump {name} is not what its manifest says: {}", wrong.join("; "));
    ActionError::unchanged(FailureClass::Invalid, message)
        .hint("take another dump, or another copy of this one; nothing was restored")
}
