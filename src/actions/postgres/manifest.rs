//! The manifest of a dump: what was dumped, from where, and the digest of every file. A dump without one, or that is not
//! what it says, is not restored. Where dumps are kept is [`super::store`]'s business.

use std::fs::File;
use std::io::{self, Read as _};
use std::path::Path;

use jiff::Timestamp;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::content::{Content, HeldTo};
use super::extensions::Extension;
use super::properties::{Locale, Properties};
use crate::outcome::{ActionError, FailureClass};
use crate::parts::one_by_one;

/// The format this program writes.
const FORMAT: &str = "phoenix-dr/dump/3";
/// The formats it reads: the first lists no objects and does not say which system it is of; before the third extensions were
/// not listed, and only sequences that belong to a column were held against it.
pub(super) const FORMATS: [&str; 3] = ["phoenix-dr/dump/1", "phoenix-dr/dump/2", FORMAT];
pub(super) const MANIFEST: &str = "manifest.json";

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
    /// What `create extension` made; `None` where the manifest is of before this was listed
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub extensions: Option<Vec<Extension>>,
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

    /// Returns it as it is written.
    pub(super) fn text(&self) -> Result<Vec<u8>, serde_json::Error> {
        let mut text = serde_json::to_vec_pretty(self)?;
        text.push(b'\n');
        Ok(text)
    }
}

/// Reads a manifest of one of some formats; `None` where the folder has none.
pub(super) fn read<M: Serialize + DeserializeOwned>(
    folder: &Path,
    formats: &[&str],
) -> Result<Option<M>, ActionError> {
    let path = folder.join(MANIFEST);
    let place = path.display().to_string();
    match std::fs::read(&path) {
        Ok(text) => parsed(&text, &place, formats).map(Some),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(unreadable(&place, &error.to_string())),
    }
}

/// Reads the text of a manifest of one of some formats; `place` is where it was found.
pub(super) fn parsed<M: Serialize + DeserializeOwned>(
    text: &[u8],
    place: &str,
    formats: &[&str],
) -> Result<M, ActionError> {
    let bad = |error: serde_json::Error| unreadable(place, &error.to_string());
    // A newer format may have fields nobody here knows.
    let found: serde_json::Value = serde_json::from_slice(text).map_err(bad)?;
    let known = found["manifest"]["format"].as_str().unwrap_or_default();
    if !formats.contains(&known) {
        let formats = formats.join("`, `");
        let why = format!("its format is `{known}`, and this program reads `{formats}`");
        return Err(unreadable(place, &why));
    }
    let kept: Kept<M> = serde_json::from_slice(text).map_err(bad)?;
    if digest_of(&kept.manifest).map_err(bad)? != kept.sha256 {
        return Err(unreadable(place, "it was changed since it was written"));
    }
    Ok(kept.manifest)
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

/// Reads the manifest of a draft that is a whole dump of this name, of the step with this token.
pub(super) fn whole(draft: &Path, name: &str, token: &str) -> Option<Manifest> {
    let found = read::<Manifest>(draft, &FORMATS).ok()??;
    let whole = wrong_sizes(draft, &found.files).is_empty();
    (whole && found.name == name && found.token == token).then_some(found)
}

impl Manifest {
    /// Returns the format this program writes.
    pub(super) fn format() -> String {
        FORMAT.to_owned()
    }

    /// Returns which sequences were held against their columns.
    pub(super) fn held_to(&self) -> HeldTo {
        if self.format == FORMAT { HeldTo::Defaults } else { HeldTo::Owners }
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
    let entries = std::fs::read_dir(folder)?.collect::<io::Result<Vec<_>>>()?;
    let files = one_by_one(&entries, |entry| {
        let name = entry.file_name().to_string_lossy().into_owned();
        let (bytes, sha256) = (entry.metadata()?.len(), sha256(&entry.path())?);
        Ok::<FileDigest, io::Error>(FileDigest { name, bytes, sha256 })
    });
    let mut files = files.into_iter().collect::<io::Result<Vec<_>>>()?;
    files.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(files)
}

/// Reads the digest of a file. Blocks.
pub(super) fn sha256(path: &Path) -> io::Result<String> {
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

/// Says why a manifest is not believed.
pub(super) fn unreadable(place: &str, why: &str) -> ActionError {
    let message = format!("the manifest {place} cannot be believed: {why}");
    ActionError::unchanged(FailureClass::Invalid, message)
        .hint("take another one; what this one holds is not known")
}

/// Says what about the files of a dump is not as its manifest says, a line each.
pub(super) fn altered(name: &str, wrong: &[String]) -> ActionError {
    let message = format!("the dump {name} is not what its manifest says: {}", wrong.join("; "));
    ActionError::unchanged(FailureClass::Invalid, message)
        .hint("take another dump, or another copy of this one; nothing was restored")
}
