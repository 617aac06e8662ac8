//! Dumps in a bucket: `PREFIX/NAME.dump/` with the files and `manifest.json`, as in a directory, and `PREFIX/proofs/`.

use std::path::{Path, PathBuf};

use futures::future::join_all;

use super::fetch::{Fetch, Fetched, lacking};
use super::upload::{Upload, foreign};
use super::{DUMP, Dump, Listing, came_up};
use crate::actions::postgres::bucket::{Backups, Below, Objects, may_pass};
use crate::actions::postgres::drafts::{bytes, drafts_in, free, mark};
use crate::actions::postgres::keep::seal;
use crate::actions::postgres::manifest::{
    FORMATS, FileDigest, MANIFEST, Manifest, altered, parsed, read, unreadable,
};
use crate::actions::postgres::proofs::Proofs;
use crate::clients::Clients;
use crate::engine::ports::Call;
use crate::estate::dumps::DumpBucket;
use crate::outcome::{ActionError, FailureClass};

/// Longest manifest read; a table takes about a hundred bytes of it.
const MANIFEST_MAX: u64 = 32 << 20;
/// Dumps that are looked at side by side.
const LOOKS_AT_ONCE: usize = 8;
/// Characters of a manifest's digest in the name of a copy.
const DIGEST_SHOWN: usize = 12;

/// A bucket of dumps.
#[derive(Debug, Clone)]
pub(in crate::actions::postgres) struct Bucket {
    objects: Objects,
    work: PathBuf,
}

impl Bucket {
    pub(super) fn of(at: &DumpBucket) -> Self {
        Self { objects: Objects { at: at.at(), of: Backups::Dumps }, work: PathBuf::from(&at.work) }
    }

    pub(super) fn work(&self) -> &Path {
        &self.work
    }

    pub(super) fn place(&self) -> String {
        self.objects.at.place("")
    }

    pub(super) fn path(&self, name: &str) -> String {
        self.objects.at.place(&folder(name))
    }

    /// Returns where a copy of a dump is: another of the same name has another one.
    pub(super) fn copy(&self, manifest: &Manifest) -> PathBuf {
        let digest = manifest.digest().unwrap_or_default();
        let short: String = digest.chars().take(DIGEST_SHOWN).collect();
        self.work.join(format!("{}-{short}.fetched", manifest.name))
    }

    pub(super) async fn find(
        &self,
        clients: &Clients,
        name: &str,
    ) -> Result<Option<Dump>, ActionError> {
        if name.contains('/') {
            return Ok(None);
        }
        let there = self.objects.below(clients, &folder(name)).await?;
        if !there.objects.contains_key(MANIFEST) {
            return Ok(None);
        }
        let below = format!("{}{MANIFEST}", folder(name));
        let place = self.objects.at.place(&below);
        let text = self.objects.read(clients, &below, MANIFEST_MAX).await?;
        let Some(text) = text else { return Ok(None) };
        let manifest: Manifest = parsed(&text, &place, &FORMATS)?;
        if manifest.name != name {
            let why = format!("it is of the dump `{}`", manifest.name);
            return Err(unreadable(&place, &why));
        }
        // They become names of files on this host.
        if let Some(file) = manifest.files.iter().find(|file| !is_plain(&file.name)) {
            return Err(unreadable(&place, &format!("`{}` is no name of a file", file.name)));
        }
        let wrong: Vec<String> =
            manifest.files.iter().filter_map(|file| differs(file, &there)).collect();
        let wrong = (!wrong.is_empty()).then(|| altered(name, &wrong));
        Ok(Some(Dump { manifest, wrong }))
    }

    pub(super) async fn list(
        &self,
        clients: &Clients,
        database: &str,
    ) -> Result<Listing, ActionError> {
        let below = self.objects.below(clients, "").await?;
        let names = below.folders.iter();
        let names: Vec<&str> =
            names.filter_map(|name| name.trim_end_matches('/').strip_suffix(DUMP)).collect();
        let mut listing = Listing::default();
        for some in names.chunks(LOOKS_AT_ONCE) {
            let found = join_all(some.iter().map(|name| self.find(clients, name))).await;
            for (name, found) in some.iter().zip(found) {
                match found {
                    Ok(Some(dump)) if dump.manifest.database == database => {
                        listing.dumps.push(dump);
                    }
                    Ok(Some(_)) => {}
                    Ok(None) => listing.bare(name),
                    // One that nobody could look at may be the newest.
                    Err(error) if may_pass(&error) => return Err(error),
                    Err(error) => listing.others.push(error.message),
                }
            }
        }
        Ok(listing.sorted())
    }

    /// Fails where somebody else has uploaded files under a name that has no manifest yet.
    pub(super) async fn vacant(
        &self,
        clients: &Clients,
        call: &Call,
        name: &str,
    ) -> Result<(), ActionError> {
        let folder = folder(name);
        let there = self.objects.below(clients, &folder).await?;
        let Some((file, _)) = there.objects.last_key_value() else { return Ok(()) };
        let below = format!("{folder}{file}");
        match self.objects.head(clients, &below).await? {
            Some(head) if head.writer.as_ref() != Some(&mark(call)) => {
                Err(foreign(name, &self.objects.at.place(&below)))
            }
            Some(_) | None => Ok(()),
        }
    }

    /// Has the right to write proved before a dump takes hours, and makes room where a dead process left what is in the
    /// bucket.
    pub(super) async fn prepare(&self, clients: &Clients, name: &str) -> Result<(), ActionError> {
        self.objects.may_write(clients, &folder(name)).await?;
        self.sweep(clients).await;
        Ok(())
    }

    pub(super) async fn keep(
        &self,
        clients: &Clients,
        call: &Call,
        draft: &Path,
        manifest: &Manifest,
    ) -> Result<(), ActionError> {
        seal("the dump", draft, manifest).await?;
        match self.find(clients, &manifest.name).await? {
            Some(known) if known.manifest.token == manifest.token => return Ok(()),
            Some(_) => return Err(came_up(&manifest.name)),
            None => {}
        }
        let folder = folder(&manifest.name);
        let with = (&self.objects, clients, call);
        Upload::new(with, (draft, manifest), &folder).run().await
    }

    /// Says what fetching a dump takes; an error where there is no room for it.
    pub(super) fn stageable(&self, manifest: &Manifest) -> Result<String, ActionError> {
        let (all, lacks) = (manifest.stored(), lacking(manifest, &self.copy(manifest)));
        let work = self.work.display();
        match free(&self.work) {
            Some(free) if free < lacks => {
                let message = format!(
                    "{work} has {} free, and fetching {} takes {}",
                    bytes(free),
                    manifest.name,
                    bytes(lacks)
                );
                Err(ActionError::unchanged(FailureClass::Capacity, message)
                    .hint("make room there, or name another directory in `database.dumps.work`"))
            }
            Some(free) => Ok(format!(
                "{} of {} to be fetched into {work}, which has {} free",
                bytes(lacks),
                bytes(all),
                bytes(free)
            )),
            None => Ok(format!("{} of {} to be fetched into {work}", bytes(lacks), bytes(all))),
        }
    }

    pub(super) async fn fetch(
        &self,
        clients: &Clients,
        call: &Call,
        manifest: &Manifest,
    ) -> Result<Fetched, ActionError> {
        self.sweep(clients).await;
        self.stageable(manifest)?;
        let from = folder(&manifest.name);
        let with = (&self.objects, clients, call);
        Fetch::new(with, manifest, &from).run(self.copy(manifest)).await
    }

    pub(super) fn proofs(&self) -> Proofs {
        Proofs::Bucket(self.objects.clone())
    }

    /// Removes what processes that died left in the work directory although it is whole in the bucket. Where that cannot
    /// be told or done, it only takes room.
    async fn sweep(&self, clients: &Clients) {
        for draft in drafts_in(&self.work) {
            let Ok(Some(left)) = read::<Manifest>(&draft, &FORMATS) else { continue };
            match self.find(clients, &left.name).await {
                Ok(Some(dump)) if dump.manifest == left && dump.wrong.is_none() => {
                    drop(tokio::task::spawn_blocking(move || std::fs::remove_dir_all(draft)).await);
                }
                Ok(_) | Err(_) => {}
            }
        }
    }
}

/// Returns where a dump's objects are, below the estate's prefix.
fn folder(name: &str) -> String {
    format!("{name}{DUMP}/")
}

/// Says what about a file is not as its manifest says.
fn differs(file: &FileDigest, there: &Below) -> Option<String> {
    match there.objects.get(&file.name) {
        Some(bytes) if *bytes == file.bytes => None,
        Some(bytes) => Some(format!("{} has {bytes} bytes instead of {}", file.name, file.bytes)),
        None => Some(format!("{} is not there", file.name)),
    }
}

/// Says whether a name is one of a file beside its manifest, and nothing else.
fn is_plain(name: &str) -> bool {
    !name.is_empty() && !name.starts_with('.') && !name.contains(['/', '\0']) && name != MANIFEST
}
