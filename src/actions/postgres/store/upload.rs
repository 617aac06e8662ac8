//! A dump goes up to the bucket: file by file, resumed where an attempt before came to no end, its manifest last.
//!
//! Files are written where nothing is, or over what this very step wrote before. The first of them claims the name: of two
//! runs that upload under one name, one is refused before it has written anything else.

use std::collections::BTreeMap;
use std::path::Path;

use futures::future::join_all;

use super::came_up;
use super::parts::{Large, PART};
use crate::actions::postgres::bucket::{
    Condition, Head, Marks, Objects, Source, Written, patiently,
};
use crate::actions::postgres::drafts::mark;
use crate::actions::postgres::manifest::{FileDigest, Kept, MANIFEST, Manifest};
use crate::actions::postgres::told::Told;
use crate::clients::Clients;
use crate::engine::ports::Call;
use crate::outcome::{ActionError, Effect, FailureClass};

/// What every dump in directory format has.
const TOC: &str = "toc.dat";
/// Files that are under way at a time.
const AT_ONCE: usize = 8;
/// Looks at an object that somebody else may be writing.
const RACES_MAX: usize = 4;

/// A dump on its way.
pub(super) struct Upload<'a> {
    objects: &'a Objects,
    clients: &'a Clients,
    draft: &'a Path,
    manifest: &'a Manifest,
    /// Where its objects are, below the estate's prefix
    folder: &'a str,
    /// What its objects say who wrote them
    writer: String,
    told: Told<'a>,
}

/// What stands where a file is to be.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Standing {
    Free,
    /// The file, by this step
    Sent,
    /// Something else, by this step
    Old {
        etag: String,
    },
    Foreign,
}

impl<'a> Upload<'a> {
    pub(super) fn new(
        (objects, clients, call): (&'a Objects, &'a Clients, &'a Call),
        (draft, manifest): (&'a Path, &'a Manifest),
        folder: &'a str,
    ) -> Self {
        let (writer, told) = (mark(call), Told::step(call, "uploaded", manifest.stored()));
        Self { objects, clients, draft, manifest, folder, writer, told }
    }

    /// Uploads what is not there yet, then the manifest.
    pub(super) async fn run(&self) -> Result<(), ActionError> {
        self.files().await.map_err(unnamed)?;
        self.name().await
    }

    async fn files(&self) -> Result<(), ActionError> {
        let below = || self.objects.below(self.clients, self.folder);
        let there = patiently(self.clients, below).await?.objects;
        let files = &self.manifest.files;
        let is_claim = |file: &&FileDigest| file.name == TOC;
        let Some(claim) = files.iter().find(is_claim).or(files.first()) else { return Ok(()) };
        self.send(claim, &there).await?;
        let rest = files.iter().filter(|file| *file != claim);
        let (large, small): (Vec<_>, Vec<_>) = rest.partition(|file| file.bytes > PART);
        for some in small.chunks(AT_ONCE) {
            // What is under way when one fails is let arrive.
            let sent = join_all(some.iter().map(|file| self.send(file, &there))).await;
            sent.into_iter().collect::<Result<(), _>>()?;
        }
        // Each of these has several parts under way.
        for file in large {
            self.send(file, &there).await?;
        }
        Ok(())
    }

    /// Brings one file there.
    async fn send(
        &self,
        file: &FileDigest,
        there: &BTreeMap<String, u64>,
    ) -> Result<(), ActionError> {
        let below = format!("{}{}", self.folder, file.name);
        let mut standing = match there.contains_key(&file.name) {
            true => self.standing(&below, file).await?,
            false => Standing::Free,
        };
        for _ in 0..RACES_MAX {
            let condition = match standing {
                Standing::Sent => {
                    self.told.more(file.bytes);
                    return Ok(());
                }
                Standing::Foreign => return Err(self.foreign(&below)),
                Standing::Free => Condition::Absent,
                Standing::Old { etag } => Condition::Unchanged { etag },
            };
            if self.write(&below, file, &condition).await? == Written::Done {
                self.told.more(file.bytes);
                return Ok(());
            }
            standing = self.standing(&below, file).await?;
        }
        let message = format!("{} is written to by somebody else", self.objects.at.place(&below));
        Err(ActionError::unchanged(FailureClass::Conflict, message)
            .hint("give this dump another `name`"))
    }

    async fn write(
        &self,
        below: &str,
        file: &FileDigest,
        condition: &Condition,
    ) -> Result<Written, ActionError> {
        let path = self.draft.join(&file.name);
        let marks = Marks { sha256: &file.sha256, writer: &self.writer };
        // The claim goes up with one request: until the name is this step's, an upload in parts that is found under it may
        // be somebody else's.
        if file.bytes > PART && file.name != TOC {
            let (objects, clients, bytes) = (self.objects, self.clients, file.bytes);
            let large = Large { objects, clients, below, path: &path, bytes, marks };
            return large.send(condition).await;
        }
        let whole = (Source::File(&path, 0, file.bytes), marks);
        patiently(self.clients, || self.objects.put(self.clients, below, whole, condition)).await
    }

    /// Looks at what stands where a file is to be.
    async fn standing(&self, below: &str, file: &FileDigest) -> Result<Standing, ActionError> {
        let found = patiently(self.clients, || self.objects.head(self.clients, below)).await?;
        Ok(match found {
            None => Standing::Free,
            Some(head) if !self.is_ours(&head) => Standing::Foreign,
            Some(head)
                if head.bytes == file.bytes && head.sha256.as_ref() == Some(&file.sha256) =>
            {
                Standing::Sent
            }
            Some(head) => Standing::Old { etag: head.etag },
        })
    }

    fn is_ours(&self, head: &Head) -> bool {
        head.writer.as_ref() == Some(&self.writer)
    }

    fn foreign(&self, below: &str) -> ActionError {
        foreign(&self.manifest.name, &self.objects.at.place(below))
    }

    /// Gives the dump its name: its manifest, where no other is.
    async fn name(&self) -> Result<(), ActionError> {
        let below = format!("{}{MANIFEST}", self.folder);
        let text = Kept::of(self.manifest.clone()).and_then(|kept| kept.text());
        let text = text.map_err(|error| {
            let message = format!("write the manifest of {}: {error}", self.manifest.name);
            ActionError::unchanged(FailureClass::Internal, message)
        })?;
        let put = || {
            let text = (text.as_slice(), self.writer.as_str());
            self.objects.put_text(self.clients, &below, text, &Condition::Absent)
        };
        let put = patiently(self.clients, put).await;
        if put == Ok(Written::Done) {
            return Ok(());
        }
        // The answer to one that was written may have been lost.
        let found = patiently(self.clients, || self.objects.head(self.clients, &below)).await;
        match (put, found) {
            (_, Ok(Some(head))) if self.is_ours(&head) => Ok(()),
            (_, Ok(Some(_))) => Err(came_up(&self.manifest.name)),
            // Nothing has its name: it provably was not written.
            (Err(error), Ok(None)) => Err(ActionError { effect: Effect::None, ..error }),
            (Err(error), Err(_)) | (Ok(_), Err(error)) => Err(error),
            (Ok(_), Ok(None)) => Err(ActionError::unchanged(
                FailureClass::Transient,
                format!("{} was there and is gone", self.objects.at.place(&below)),
            )),
        }
    }
}

/// Returns the error of a name under which somebody else has uploaded files.
pub(super) fn foreign(name: &str, place: &str) -> ActionError {
    let message = format!("{place} is of another upload than this step's, and has no manifest yet");
    ActionError::unchanged(FailureClass::Conflict, message).hint(format!(
        "give this dump another `name`; or, where nobody uploads {name} any more, delete its files"
    ))
}

/// Files without a manifest are no dump, whether they are there or not: as far as the step goes, nothing has changed.
fn unnamed(error: ActionError) -> ActionError {
    let hint = error.hint.unwrap_or_else(|| "retry the step".to_owned());
    let hint = format!("{hint}; what is uploaded is not uploaded again");
    ActionError { effect: Effect::None, hint: Some(hint), ..error }
}
