//! Which backups were proved by a restore, and when: a record beside the backups, in `proofs/`.
//!
//! It lies there and not in the state directory of the host that proved it, so that it goes where the backups go: whoever
//! mounts or copies them elsewhere, for the day this host is gone, has it. It holds the digest of the backup's own
//! manifest, and says nothing of another backup of the same name.

use std::fs::File;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::clients::Clients;
use crate::engine::ports::Call;
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
}

/// The records of one directory of backups.
pub(super) struct Proofs {
    folder: PathBuf,
}

impl Proofs {
    pub(super) fn in_directory(root: &Path) -> Self {
        Self { folder: root.join(FOLDER) }
    }

    fn file(&self, backup: &str) -> PathBuf {
        self.folder.join(format!("{backup}.json"))
    }

    /// Returns the proof of a backup; `None` also where it is of another backup of that name, or cannot be read: what is
    /// not known to be proved is not.
    pub(super) fn find(&self, backup: &str, digest: &str) -> Option<Proof> {
        let text = std::fs::read(self.file(backup)).ok()?;
        let proof: Proof = serde_json::from_slice(&text).ok()?;
        let same = proof.format == FORMAT && proof.backup == backup && proof.digest == digest;
        same.then_some(proof)
    }

    /// Keeps that a backup was proved; returns what is to be told where it cannot be kept, for the backup is proved all
    /// the same.
    pub(super) fn keep(
        &self,
        clients: &Clients,
        call: &Call,
        proved: (&str, &str, ProvedBy, Option<Span>),
    ) -> Option<String> {
        let (backup, digest, by, took) = proved;
        let proof = Proof {
            format: FORMAT.to_owned(),
            backup: backup.to_owned(),
            digest: digest.to_owned(),
            at: clients.clock.now(),
            by,
            token: call.token(),
            took,
        };
        let error = self.write(&proof).err()?;
        let file = self.file(backup);
        Some(format!("that it is proved could not be kept in {}: {error}", file.display()))
    }

    fn write(&self, proof: &Proof) -> std::io::Result<()> {
        std::fs::create_dir_all(&self.folder)?;
        let draft = self.folder.join(format!(".{}.{}", proof.backup, std::process::id()));
        let mut file = File::create(&draft)?;
        serde_json::to_writer_pretty(&mut file, proof)?;
        file.write_all(b"\n")?;
        file.sync_all()?;
        std::fs::rename(&draft, self.file(&proof.backup))?;
        File::open(&self.folder)?.sync_all()
    }
}
