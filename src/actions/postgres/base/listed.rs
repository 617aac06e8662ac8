//! What a base backup's own manifest says of it.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use serde::Deserialize;
use sha2::{Digest as _, Sha256};

use super::{Form, segments};
use crate::actions::postgres::manifest::hex;
use crate::actions::postgres::wal::{Lsn, Needs, Own};

/// `backup_manifest`, as far as it is needed here; `pg_verifybackup` reads all of it.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Manifest {
    pub files: Vec<ManifestFile>,
    #[serde(rename = "WAL-Ranges")]
    wal: Vec<WalRange>,
    #[serde(rename = "Manifest-Checksum")]
    pub checksum: String,
}

#[derive(Debug, Deserialize)]
pub(super) struct ManifestFile {
    /// Left out where it is no UTF-8
    #[serde(rename = "Path", default)]
    pub path: String,
    #[serde(rename = "Size")]
    pub size: u64,
    #[serde(rename = "Last-Modified")]
    pub modified: String,
    /// Left out where the backup was made without checksums
    #[serde(rename = "Checksum-Algorithm", default)]
    algorithm: Option<String>,
}

impl ManifestFile {
    /// Says whether it tells of tablespaces: a packed backup has a map of them, a plain one links, which a copy would have as well.
    pub(super) fn is_of_tablespaces(&self) -> bool {
        (self.path == "tablespace_map" && self.size > 0) || self.path.starts_with("pg_tblspc/")
    }
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

/// Reads a manifest and holds it against its own checksum, which is over everything before it.
pub(super) fn manifest(text: &str) -> Result<Manifest, String> {
    let manifest: Manifest =
        serde_json::from_str(text).map_err(|error| format!("cannot be read: {error}"))?;
    let before = text.rfind("\"Manifest-Checksum\"").map_or(text, |at| &text[..at]);
    if hex(&Sha256::digest(before.as_bytes())) != manifest.checksum {
        return Err("was changed since it was written".to_owned());
    }
    Ok(manifest)
}

/// Returns the kinds of checksums the files have; `None` where one has none: of that `pg_verifybackup` compares the size alone.
pub(super) fn checksums(files: &[ManifestFile]) -> Option<String> {
    let kinds: Option<BTreeSet<&str>> =
        files.iter().map(|file| file.algorithm.as_deref()).collect();
    Some(kinds?.into_iter().collect::<Vec<_>>().join(", "))
}

/// Returns what a backup needs of the log to begin with.
pub(super) fn needs(
    manifest: &Manifest,
    form: &Form,
    own: BTreeMap<String, u64>,
) -> Result<Needs, String> {
    let (Some(first), Some(last)) = (manifest.wal.first(), manifest.wal.last()) else {
        return Err("its manifest does not say which WAL it needs".to_owned());
    };
    if first.timeline != last.timeline {
        return Err("it was taken from a replica while that was promoted".to_owned());
    }
    let lsn = |text: &str| text.parse::<Lsn>().map_err(|error| error.to_string());
    let (timeline, start, end) = (first.timeline, lsn(&first.start)?, lsn(&last.end)?);
    let own = match form {
        Form::Plain => segments(own),
        // What `pg_basebackup` streams beside the backup is all of this range.
        Form::Tar { wal: Some(_), .. } => Own::Needed,
        Form::Tar { wal: None, .. } => Own::None,
    };
    Ok(Needs { timeline, start, end, own })
}

/// Reads a manifest's time, e.g. `2026-11-29 04:41:20 GMT`.
pub(super) fn instant(text: &str) -> Option<Timestamp> {
    let time: DateTime = text.strip_suffix(" GMT")?.parse().ok()?;
    Some(time.to_zoned(TimeZone::UTC).ok()?.timestamp())
}
