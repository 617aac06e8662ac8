//! Which backups were proved by a restore, and when: a record beside the backups, in `proofs/`.
//!
//! It lies there and not in the state directory of the host that proved it, so that it goes where the backups go: whoever
//! mounts or copies them elsewhere, for the day this host is gone, has it. It holds the digest of the backup's own
//! manifest, and says nothing of another backup of the same name. Of backups in a bucket it is in the bucket.

use std::fs::File;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::clients::Clients;
use crate::engine::ports::Call;
use crate::outcome::WARNS;
use crate::span::Span;

/// Folder of the records, in the directory of the backups.
pub(super) const FOLDER: &str = "proofs";
const FORMAT: &str = "phoenix-dr/proof/1";

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
    pub(super) fn read(text: &[u8], backup: &str, digest: &str) -> Option<Self> {
        let proof: Self = serde_json::from_slice(text).ok()?;
        let same = proof.format == FORMAT && proof.backup == backup && proof.digest == digest;
        same.then_some(proof)
    }

    /// Returns the record as it is written.
    pub(super) fn text(&self) -> Result<Vec<u8>, serde_json::Error> {
        let mut text = serde_json::to_vec_pretty(self)?;
        text.push(b'\n');
        Ok(text)
    }
}

/// Returns the name of a backup's record, below what the backups lie in.
pub(super) fn record(backup: &str) -> String {
    format!("{FOLDER}/{backup}.json")
}

/// The records of one directory of backups.
pub(super) struct Proofs {
    root: PathBuf,
}

impl Proofs {
    pub(super) fn in_directory(root: &Path) -> Self {
        Self { root: root.to_owned() }
    }

    fn file(&self, backup: &str) -> PathBuf {
        self.root.join(record(backup))
    }

    /// Returns the proof of a backup; `None` also where it cannot be read.
    pub(super) fn find(&self, backup: &str, digest: &str) -> Option<Proof> {
        Proof::read(&std::fs::read(self.file(backup)).ok()?, backup, digest)
    }

    /// Keeps that a server restored from a backup takes writes. What was found damaged stays so: a row that could be written says
    /// nothing of the other pages. And what was once read in full and found sound stays that.
    pub(super) fn keep_unless_failed(&self, proof: &Proof) -> Option<String> {
        let known = self.find(&proof.backup, &proof.digest);
        let by = known.as_ref().filter(|known| known.by == ProvedBy::Sound).map(|known| known.by);
        match known.and_then(|known| known.failed) {
            None => self.keep(&Proof { by: by.unwrap_or(proof.by), ..proof.clone() }),
            Some(why) => Some(format!(
                "{WARNS}{} does not count as proved: {why}; remove {} where that had another cause",
                proof.backup,
                self.file(&proof.backup).display()
            )),
        }
    }

    /// Keeps that what was restored from a backup is damaged, in the place of its proof; returns what is to be told.
    pub(super) fn void(&self, proof: Proof, why: &str) -> String {
        let (backup, file) = (proof.backup.clone(), self.file(&proof.backup));
        match self.write(&proof.failed(why.to_owned())) {
            Ok(()) => format!(
                "the base backup {backup}, which it was restored from, does not count as proved any more; where the damage \
                 had another cause, remove {}",
                file.display()
            ),
            Err(error) => format!(
                "{WARNS}the base backup {backup}, which it was restored from, may still count as proved: {}: {error}; remove \
                 that file",
                file.display()
            ),
        }
    }

    /// Keeps that a backup was proved; returns what is to be told where it cannot be kept, for the backup is proved all
    /// the same.
    pub(super) fn keep(&self, proof: &Proof) -> Option<String> {
        let error = self.write(proof).err()?;
        Some(unkept(&self.file(&proof.backup).display().to_string(), &error.to_string()))
    }

    fn write(&self, proof: &Proof) -> std::io::Result<()> {
        let folder = self.root.join(FOLDER);
        std::fs::create_dir_all(&folder)?;
        let draft = folder.join(format!(".{}.{}", proof.backup, std::process::id()));
        let mut file = File::create(&draft)?;
        file.write_all(&proof.text()?)?;
        file.sync_all()?;
        std::fs::rename(&draft, self.file(&proof.backup))?;
        File::open(&folder)?.sync_all()
    }
}

/// Says that a proof stands and its record could not be written.
pub(super) fn unkept(place: &str, why: &str) -> String {
    format!("that it is proved could not be kept in {place}: {why}")
}
