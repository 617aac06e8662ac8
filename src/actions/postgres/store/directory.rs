//! Dumps in a directory of this host.

use std::io;
use std::path::{Path, PathBuf};

use super::{DUMP, Dump, Listing, came_up};
use crate::actions::postgres::keep;
use crate::actions::postgres::manifest::{
    FORMATS, MANIFEST, Manifest, altered, read, sha256, unreadable, wrong_sizes,
};
use crate::actions::postgres::proofs::Proofs;
use crate::engine::ports::Call;
use crate::outcome::{ActionError, FailureClass};
use crate::parts::one_by_one;

/// A directory of dumps.
#[derive(Debug, Clone)]
pub(in crate::actions::postgres) struct Directory {
    root: PathBuf,
}

impl Directory {
    pub(super) fn at(root: &str) -> Self {
        Self { root: PathBuf::from(root) }
    }

    pub(super) fn root(&self) -> &Path {
        &self.root
    }

    pub(super) fn folder(&self, name: &str) -> PathBuf {
        self.root.join(format!("{name}{DUMP}"))
    }

    pub(super) fn proofs(&self) -> Proofs {
        Proofs::Directory(self.root.clone())
    }

    pub(super) fn find(&self, name: &str) -> Result<Option<Dump>, ActionError> {
        let folder = self.folder(name);
        let Some(manifest) = read::<Manifest>(&folder, &FORMATS)? else {
            return Ok(None);
        };
        if manifest.name != name {
            let why = format!("it is of the dump `{}`", manifest.name);
            return Err(unreadable(&folder.join(MANIFEST).display().to_string(), &why));
        }
        let wrong = wrong_sizes(&folder, &manifest.files);
        let wrong = (!wrong.is_empty()).then(|| altered(name, &wrong));
        Ok(Some(Dump { manifest, wrong }))
    }

    pub(super) fn list(&self, database: &str) -> Result<Listing, ActionError> {
        let failed = |error: io::Error| {
            let message = format!("list {}: {error}", self.root.display());
            ActionError::unchanged(FailureClass::Denied, message)
        };
        let mut listing = Listing::default();
        for entry in std::fs::read_dir(&self.root).map_err(failed)? {
            let name = entry.map_err(failed)?.file_name().to_string_lossy().into_owned();
            let Some(name) = name.strip_suffix(DUMP) else { continue };
            match self.find(name) {
                Ok(Some(dump)) if dump.manifest.database == database => listing.dumps.push(dump),
                Ok(Some(_)) => {}
                Ok(None) => listing.bare(name),
                Err(error) => listing.others.push(error.message),
            }
        }
        Ok(listing.sorted())
    }

    /// Gives a draft its manifest and its name.
    pub(super) async fn keep(&self, draft: &Path, manifest: &Manifest) -> Result<(), ActionError> {
        let name = &manifest.name;
        let kept = keep::keep("the dump", draft, &self.folder(name), manifest).await;
        if kept == Ok(true)
            || self.find(name)?.is_some_and(|known| known.manifest.token == manifest.token)
        {
            return Ok(());
        }
        kept?;
        Err(came_up(name))
    }

    /// Reads every file of a dump against its manifest; returns the folder they are in.
    pub(super) async fn verify(
        &self,
        call: &Call,
        manifest: &Manifest,
    ) -> Result<PathBuf, ActionError> {
        call.progress.tell(format!("reading {} against its manifest", manifest.name), None);
        let folder = self.folder(&manifest.name);
        let (read, of) = (folder.clone(), manifest.clone());
        let wrong = tokio::task::spawn_blocking(move || differing(&read, &of)).await;
        let wrong = wrong.map_err(|error| {
            ActionError::unchanged(FailureClass::Internal, format!("read the dump: {error}"))
        })?;
        if wrong.is_empty() { Ok(folder) } else { Err(altered(&manifest.name, &wrong)) }
    }
}

/// Says which files have other content than was written, a line each. Blocks.
fn differing(folder: &Path, manifest: &Manifest) -> Vec<String> {
    let wrong = one_by_one(&manifest.files, |file| match sha256(&folder.join(&file.name)) {
        Ok(found) if found == file.sha256 => None,
        Ok(_) => Some(format!("{} has other content than was written", file.name)),
        Err(error) => Some(format!("{}: {error}", file.name)),
    });
    wrong.into_iter().flatten().collect()
}
