//! Which backups were proved by a restore, and when: a record beside the backups, in `proofs/`.
//!
//! It lies there and not in the state directory of the host that proved it, so that it goes where the backups go: whoever
//! mounts or copies them elsewhere, for the day this host is gone, has it. It holds the digest of the backup's own
//! manifest, and says nothing of another backup of the same name. Of backups in a bucket it is in the bucket, of base backups in
//! `base-proofs/`.

use std::fs::File;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::bucket::{Backups, Condition, Objects, Written, patiently};
use crate::clients::Clients;
use crate::engine::ports::Call;
use crate::outcome::{ActionError, WARNS};
use crate::span::Span;

/// Folder of the records, in the directory of the backups.
pub(super) const FOLDER: &str = "proofs";
const FORMAT: &str = "phoenix-dr/proof/1";
/// Longest record read.
const PROOF_MAX: u64 = 64 << 10;
/// Times a record is read and written in its place, where others write to it as well.
const WRITES: usize = 3;

/// How a backup was proved.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum ProvedBy {
    /// Every table of a database restored from it was read and compared with its manifest
    Content,
    /// A server was made of it, reached its target and took writes
    Recovery,
    /// All of a server made of it was read by the deep tier, and was sound
    Sound,
}

/// A backup was restored, and was what it should be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Proof {
    pub format: String,
    pub backup: String,
    /// Digest in the backup's own manifest
    pub digest: String,
    pub at: Timestamp,
    pub by: ProvedBy,
    /// The run and the step that proved it
    pub token: String,
    /// How long the restore took, where this program saw it
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub took: Option<Span>,
    /// What was other than it should be: then it is not proved, whatever stood on record before
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failed: Option<String>,
}

/// What was proved, of which backup, by what, and how long that took where it was seen.
#[derive(Debug, Clone, Copy)]
pub(super) struct Proved<'a> {
    pub backup: &'a str,
    /// Digest in the backup's own manifest
    pub digest: &'a str,
    pub by: ProvedBy,
    pub took: Option<Span>,
}

impl Proof {
    /// Returns the record of what a step proved now.
    pub(super) fn of(clients: &Clients, call: &Call, proved: Proved<'_>) -> Self {
        Self {
            format: FORMAT.to_owned(),
            backup: proved.backup.to_owned(),
            digest: proved.digest.to_owned(),
            at: clients.clock.now(),
            by: proved.by,
            token: call.token(),
            took: proved.took,
            failed: None,
        }
    }

    /// Returns it as the record of a proof that failed.
    pub(super) fn failed(self, why: String) -> Self {
        Self { failed: Some(why), took: None, ..self }
    }

    /// Returns what is on record elsewhere of a backup that has no manifest: it is told by its name there.
    pub(super) fn of_elsewhere(
        backup: &str,
        at: Timestamp,
        token: String,
        took: Option<Span>,
    ) -> Self {
        Self {
            format: FORMAT.to_owned(),
            backup: backup.to_owned(),
            digest: String::new(),
            at,
            by: ProvedBy::Recovery,
            token,
            took,
            failed: None,
        }
    }

    /// Reads a record; `None` where it is of another backup of that name, or none at all: what is not known to be proved
    /// is not.
    fn read(text: &[u8], backup: &str, digest: &str) -> Option<Self> {
        let proof: Self = serde_json::from_slice(text).ok()?;
        let same = proof.format == FORMAT && proof.backup == backup && proof.digest == digest;
        same.then_some(proof)
    }

    /// Returns the record as it is written.
    fn text(&self) -> Result<Vec<u8>, serde_json::Error> {
        let mut text = serde_json::to_vec_pretty(self)?;
        text.push(b'\n');
        Ok(text)
    }
}

/// Returns the name of a backup's record, below what the backups lie in.
fn record(backup: &str) -> String {
    format!("{FOLDER}/{backup}.json")
}

/// The records of the backups of one place.
#[derive(Debug, Clone)]
pub(super) enum Proofs {
    Directory(PathBuf),
    Bucket(Objects),
}

impl Proofs {
    /// Returns where a backup's record is, for people.
    fn place(&self, backup: &str) -> String {
        match self {
            Self::Directory(root) => root.join(record(backup)).display().to_string(),
            Self::Bucket(objects) => objects.at.place(&Self::key(objects, backup)),
        }
    }

    /// Returns where a record is in a bucket: dumps may be kept beside base backups, and have the same names.
    fn key(objects: &Objects, backup: &str) -> String {
        match objects.of {
            Backups::Dumps => record(backup),
            Backups::Base => format!("base-{}", record(backup)),
        }
    }

    /// Returns the proof of a backup; `None` also where what is there is no record. An error where it could not be asked for.
    pub(super) async fn find(
        &self,
        clients: &Clients,
        backup: &str,
        digest: &str,
    ) -> Result<Option<Proof>, ActionError> {
        Ok(self.read(clients, backup, digest).await?.0)
    }

    /// Returns the proof of a backup, and on what condition another record may be written in its place.
    async fn read(
        &self,
        clients: &Clients,
        backup: &str,
        digest: &str,
    ) -> Result<(Option<Proof>, Condition), ActionError> {
        let (text, condition) = match self {
            Self::Directory(root) => {
                (std::fs::read(root.join(record(backup))).ok(), Condition::None)
            }
            Self::Bucket(objects) => {
                let key = Self::key(objects, backup);
                let read = || objects.read_version(clients, &key, PROOF_MAX);
                match patiently(clients, read).await? {
                    None => (None, Condition::Absent),
                    Some((text, Some(etag))) => (Some(text), Condition::Unchanged { etag }),
                    Some((text, None)) => (Some(text), Condition::None),
                }
            }
        };
        Ok((text.and_then(|text| Proof::read(&text, backup, digest)), condition))
    }

    /// Keeps that a server restored from a backup takes writes. What was found damaged stays so: a row that could be written says
    /// nothing of the other pages. And what was once read in full and found sound stays that.
    pub(super) async fn keep_unless_failed(
        &self,
        clients: &Clients,
        proof: &Proof,
    ) -> Option<String> {
        let place = self.place(&proof.backup);
        for _ in 0..WRITES {
            let (known, condition) = match self.read(clients, &proof.backup, &proof.digest).await {
                Ok(known) => known,
                // Over what is not known nothing is written: it may say that the backup is damaged.
                Err(error) => return Some(unkept(&place, &error.message)),
            };
            if let Some(why) = known.as_ref().and_then(|known| known.failed.as_ref()) {
                return Some(format!(
                    "{WARNS}{} does not count as proved: {why}; remove {place} where that had another cause",
                    proof.backup
                ));
            }
            let sound = known.as_ref().is_some_and(|known| known.by == ProvedBy::Sound);
            let next = Proof {
                by: if sound { ProvedBy::Sound } else { proof.by },
                // One that was gone on with did not see all of it.
                took: proof.took.or_else(|| known.and_then(|known| known.took)),
                ..proof.clone()
            };
            match self.write(clients, &next, &condition).await {
                Ok(Written::Done) => return None,
                // What was written meanwhile may say that the backup is damaged.
                Ok(Written::NotMet) => {}
                Err(error) => return Some(unkept(&place, &error)),
            }
        }
        Some(unkept(&place, "others write to it all the time"))
    }

    /// Keeps that what was restored from a backup is damaged, in the place of its proof; returns what is to be told.
    pub(super) async fn void(&self, clients: &Clients, proof: Proof, why: &str) -> String {
        let (backup, place) = (proof.backup.clone(), self.place(&proof.backup));
        match self.write(clients, &proof.failed(why.to_owned()), &Condition::None).await {
            Ok(Written::Done | Written::NotMet) => format!(
                "the base backup {backup}, which it was restored from, does not count as proved any more; where the damage \
                 had another cause, remove {place}"
            ),
            Err(error) => format!(
                "{WARNS}the base backup {backup}, which it was restored from, may still count as proved: {place}: {error}; \
                 remove that file"
            ),
        }
    }

    /// Keeps that a backup was proved; returns what is to be told where it cannot be kept, for the backup is proved all
    /// the same.
    pub(super) async fn keep(&self, clients: &Clients, proof: &Proof) -> Option<String> {
        let error = self.write(clients, proof, &Condition::None).await.err()?;
        Some(unkept(&self.place(&proof.backup), &error))
    }

    /// Writes a record in the place of the one before, in a bucket on a condition; returns why that could not be done.
    async fn write(
        &self,
        clients: &Clients,
        proof: &Proof,
        condition: &Condition,
    ) -> Result<Written, String> {
        let text = proof.text().map_err(|error| error.to_string())?;
        let below = record(&proof.backup);
        match self {
            Self::Directory(root) => {
                let written = write(root, &below, &text).map(|()| Written::Done);
                written.map_err(|error| error.to_string())
            }
            Self::Bucket(objects) => {
                let text = (text.as_slice(), proof.token.as_str());
                let below = Self::key(objects, &proof.backup);
                let written = objects.put_text(clients, &below, text, condition).await;
                written.map_err(|error| error.message)
            }
        }
    }
}

fn write(root: &Path, below: &str, text: &[u8]) -> std::io::Result<()> {
    let (folder, file) = (root.join(FOLDER), root.join(below));
    std::fs::create_dir_all(&folder)?;
    let name = file.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let draft = folder.join(format!(".{name}.{}", std::process::id()));
    let mut out = File::create(&draft)?;
    out.write_all(text)?;
    out.sync_all()?;
    std::fs::rename(&draft, file)?;
    File::open(&folder)?.sync_all()
}

/// Says that a proof stands and its record could not be written.
fn unkept(place: &str, why: &str) -> String {
    format!("that it is proved could not be kept in {place}: {why}")
}
