//! Where the estate keeps its dumps: a directory of this host, or a bucket. The actions ask [`Dumps`] and do not know which.
//!
//! `NAME.dump/` holds what `pg_dump` wrote and `manifest.json`, in a directory as in a bucket. A dump gets its name as a
//! whole, and never over another's: what was cut off has no name, and what has one is complete.

mod bucket;
mod directory;
mod fetch;
mod parts;
#[cfg(test)]
pub(super) mod testing;
#[cfg(test)]
mod tests;
mod upload;

use std::path::{Path, PathBuf};

use super::drafts::{bytes, free};
use super::manifest::Manifest;
use super::proofs::{Proof, Proofs, Proved, ProvedBy};
use crate::clients::Clients;
use crate::clients::postgres::database;
use crate::engine::ports::Call;
use crate::estate::dumps::DumpsAt;
use crate::outcome::{ActionError, FailureClass};
use crate::span::Span;
use bucket::Bucket;
use directory::Directory;
use fetch::Fetched;

/// How the name of a dump's folder ends.
const DUMP: &str = ".dump";

/// The estate's dumps.
#[derive(Debug, Clone)]
pub(super) enum Dumps {
    Directory(Directory),
    Bucket(Bucket),
}

/// One dump with its manifest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Dump {
    pub manifest: Manifest,
    /// Which of its files are not there, or not as long as the manifest says
    pub wrong: Option<ActionError>,
}

impl Dump {
    /// Fails where a file is not there, or not as long as the manifest says; no content was read for that.
    pub(super) fn whole(&self) -> Result<(), ActionError> {
        self.wrong.clone().map_or(Ok(()), Err)
    }
}

/// The dumps of a database, the newest first, and what is there that is none, with why.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Listing {
    pub dumps: Vec<Dump>,
    pub others: Vec<String>,
}

impl Listing {
    fn sorted(mut self) -> Self {
        let newest =
            |a: &Manifest, b: &Manifest| b.taken.cmp(&a.taken).then_with(|| a.name.cmp(&b.name));
        self.dumps.sort_by(|a, b| newest(&a.manifest, &b.manifest));
        self.others.sort();
        self
    }

    /// Leaves out what has no manifest, aloud.
    fn bare(&mut self, name: &str) {
        self.others.push(format!("{name} has no manifest: nothing says what is in it"));
    }
}

/// The files of a dump on this host, each of which is what its manifest says.
#[derive(Debug)]
pub(super) enum Staged {
    /// Where they are kept anyway
    Kept(PathBuf),
    /// A copy of what is in the bucket
    Fetched(Fetched),
}

impl Staged {
    pub(super) fn folder(&self) -> &Path {
        match self {
            Self::Kept(folder) => folder,
            Self::Fetched(fetched) => fetched.folder(),
        }
    }

    /// Says that nobody needs them any more: a copy is removed. One whose restore failed stays for the next.
    pub(super) async fn done(self) {
        match self {
            Self::Kept(_) => {}
            Self::Fetched(fetched) => fetched.remove().await,
        }
    }
}

impl Dumps {
    /// Returns where the estate keeps dumps; a directory must be there.
    pub(super) fn of(clients: &Clients) -> Result<Self, ActionError> {
        let at = database(clients)?.dumps.as_ref().ok_or_else(|| {
            let message = "the estate does not say where dumps are kept";
            ActionError::unchanged(FailureClass::NotFound, message)
                .hint("name a directory or a bucket in `database.dumps` of the estate file")
        })?;
        let dumps = match at {
            DumpsAt::Directory(root) => Self::Directory(Directory::at(root)),
            DumpsAt::Bucket(bucket) => Self::Bucket(Bucket::of(bucket)),
        };
        match &dumps {
            Self::Directory(_) => dumps.here()?,
            // What is in a bucket is seen from hosts, too, that nothing is fetched to.
            Self::Bucket(_) => {}
        }
        Ok(dumps)
    }

    /// Fails where the directory of this host is none.
    fn here(&self) -> Result<(), ActionError> {
        if self.work().is_dir() {
            return Ok(());
        }
        let message = format!("{} is no directory on this host", self.work().display());
        let hint =
            format!("it is the estate's {}: make it, or mount it, and try again", self.setting());
        Err(ActionError::unchanged(FailureClass::NotFound, message).hint(hint))
    }

    /// Returns the directory of this host that dumps are made in.
    pub(super) fn work(&self) -> &Path {
        match self {
            Self::Directory(directory) => directory.root(),
            Self::Bucket(bucket) => bucket.work(),
        }
    }

    /// Returns what of the estate names that directory.
    const fn setting(&self) -> &'static str {
        match self {
            Self::Directory(_) => "`database.dumps`",
            Self::Bucket(_) => "`database.dumps.work`",
        }
    }

    /// Returns where all of them are, for people.
    pub(super) fn place(&self) -> String {
        match self {
            Self::Directory(directory) => directory.root().display().to_string(),
            Self::Bucket(bucket) => bucket.place(),
        }
    }

    /// Returns where one of them is, for people and programs.
    pub(super) fn path(&self, name: &str) -> String {
        match self {
            Self::Directory(directory) => directory.folder(name).display().to_string(),
            Self::Bucket(bucket) => bucket.path(name),
        }
    }

    /// Returns where its files are on this host once they are staged, for a command that is shown.
    pub(super) fn folder(&self, manifest: &Manifest) -> PathBuf {
        match self {
            Self::Directory(directory) => directory.folder(&manifest.name),
            Self::Bucket(bucket) => bucket.copy(manifest),
        }
    }

    /// Returns where a dump is made, for a command that is shown.
    pub(super) fn made_in(&self, name: &str) -> PathBuf {
        self.work().join(format!("{name}{DUMP}"))
    }

    /// Returns the error of what is not there.
    pub(super) fn missing(&self, what: &str) -> ActionError {
        let holds = match self {
            Self::Directory(_) => "directory",
            Self::Bucket(_) => "bucket",
        };
        let message = format!("{what} is not in {}", self.place());
        ActionError::unchanged(FailureClass::NotFound, message).hint(format!(
            "see what is there; `database.dumps` of the estate file names the {holds}"
        ))
    }

    /// Reads a dump's manifest and the lengths of its files; `None` where there is no manifest.
    pub(super) async fn find(
        &self,
        clients: &Clients,
        name: &str,
    ) -> Result<Option<Dump>, ActionError> {
        match self {
            Self::Directory(directory) => directory.find(name),
            Self::Bucket(bucket) => bucket.find(clients, name).await,
        }
    }

    /// Lists the dumps of a database.
    pub(super) async fn list(
        &self,
        clients: &Clients,
        database: &str,
    ) -> Result<Listing, ActionError> {
        match self {
            Self::Directory(directory) => directory.list(database),
            Self::Bucket(bucket) => bucket.list(clients, database).await,
        }
    }

    /// Fails where a step could not give a dump this name, as far as reads tell.
    pub(super) async fn vacant(
        &self,
        clients: &Clients,
        call: &Call,
        name: &str,
    ) -> Result<(), ActionError> {
        match self {
            // The name is given last and exclusively: nothing else tells before.
            Self::Directory(_) => Ok(()),
            Self::Bucket(bucket) => {
                self.here()?;
                bucket.vacant(clients, call, name).await
            }
        }
    }

    /// Fails where what takes hours could not be kept afterwards. The run is armed.
    pub(super) async fn prepare(&self, clients: &Clients, name: &str) -> Result<(), ActionError> {
        match self {
            Self::Directory(_) => Ok(()),
            Self::Bucket(bucket) => bucket.prepare(clients, name).await,
        }
    }

    /// Gives what was dumped its manifest and its name, durably and never over another's.
    pub(super) async fn keep(
        &self,
        clients: &Clients,
        call: &Call,
        draft: &Path,
        manifest: &Manifest,
    ) -> Result<(), ActionError> {
        match self {
            Self::Directory(directory) => directory.keep(draft, manifest).await,
            Self::Bucket(bucket) => bucket.keep(clients, call, draft, manifest).await,
        }
    }

    /// Says what restoring a dump takes of this host; an error where there is not enough of it.
    pub(super) fn stageable(&self, dump: &Dump) -> Result<Option<String>, ActionError> {
        match self {
            Self::Directory(_) => Ok(None),
            Self::Bucket(bucket) => {
                self.here()?;
                bucket.stageable(&dump.manifest).map(Some)
            }
        }
    }

    /// Puts a dump's files on this host and holds each against the manifest.
    pub(super) async fn stage(
        &self,
        clients: &Clients,
        call: &Call,
        dump: &Dump,
    ) -> Result<Staged, ActionError> {
        dump.whole()?;
        match self {
            Self::Directory(directory) => {
                directory.verify(call, &dump.manifest).await.map(Staged::Kept)
            }
            Self::Bucket(bucket) => {
                bucket.fetch(clients, call, &dump.manifest).await.map(Staged::Fetched)
            }
        }
    }

    /// Returns the record that a restore proved a dump.
    pub(super) async fn proof(
        &self,
        clients: &Clients,
        manifest: &Manifest,
    ) -> Result<Option<Proof>, ActionError> {
        let Some(digest) = manifest.digest() else { return Ok(None) };
        self.proofs().find(clients, &manifest.name, &digest).await
    }

    fn proofs(&self) -> Proofs {
        match self {
            Self::Directory(directory) => directory.proofs(),
            Self::Bucket(bucket) => bucket.proofs(),
        }
    }

    /// Keeps that a dump was proved, and how long its restore took, or why it was not proved; returns what is to be told where
    /// that cannot be kept.
    pub(super) async fn keep_proof(
        &self,
        clients: &Clients,
        call: &Call,
        manifest: &Manifest,
        outcome: Result<Option<Span>, &str>,
    ) -> Option<String> {
        let (backup, digest, by) = (manifest.name.as_str(), manifest.digest()?, ProvedBy::Content);
        let took = outcome.ok().flatten();
        let proof = Proof::of(clients, call, Proved { backup, digest: &digest, by, took });
        let proof = match outcome {
            Ok(_) => proof,
            Err(why) => proof.failed(why.to_owned()),
        };
        self.proofs().keep(clients, &proof).await
    }

    /// Says how much room there is for a dump; an error where it cannot be enough.
    pub(super) fn room(&self, needed: u64) -> Result<Option<String>, ActionError> {
        // Without an answer the dump itself will tell. What compresses best takes a tenth.
        let Some(free) = free(self.work()) else { return Ok(None) };
        if free < needed / 10 {
            let message = format!(
                "{} has {} free, and the database has {}",
                self.work().display(),
                bytes(free),
                bytes(needed)
            );
            let hint = format!("make room there, or name another directory in {}", self.setting());
            return Err(ActionError::unchanged(FailureClass::Capacity, message).hint(hint));
        }
        Ok(Some(format!("{} free there", bytes(free))))
    }
}

/// Returns the error of a name that another run has given meanwhile.
fn came_up(name: &str) -> ActionError {
    let message = format!("a dump named {name} came up meanwhile, of another run");
    ActionError::unchanged(FailureClass::Conflict, message).hint("give this one another `name`")
}
