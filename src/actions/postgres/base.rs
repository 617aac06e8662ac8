//! Base backups in the estate's directory or bucket, as `pg_basebackup` writes them: a folder each, plain or tar, with its
//! `backup_manifest`. What has none cannot be verified, and is no recovery point.

mod listed;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use futures::future::join_all;
use jiff::Timestamp;

use super::bucket::may_pass;
use super::copies::{self, Held};
use super::proofs::Proofs;
use super::shelf::{Inside, Kind, Needed, Shelf};
use super::told::Told;
use super::wal::{Archive, Needs, Own, segment_size};
use crate::clients::Clients;
use crate::clients::postgres::database;
use crate::clients::process::{self, Program, ProgramEnd, Scrub};
use crate::estate::own_server::BaseBackups as At;
use crate::outcome::{ActionError, FailureClass};
use crate::sandbox::programs::Purpose;
use listed::{Manifest, ManifestFile, checksums, instant, manifest, needs};

/// Characters of a segment's name.
const SEGMENT_NAME: usize = 24;
const MANIFEST: &str = "backup_manifest";
/// What names of the log's files begin with.
const WAL: &str = "pg_wal/";
/// A file that `pg_basebackup --write-recovery-conf` writes to after it is in the manifest, and that `pg_verifybackup` does not
/// verify.
const UNVERIFIED: &str = "postgresql.auto.conf";
/// Longest manifest read; a file takes about 170 bytes of it.
const MANIFEST_MAX: u64 = 256 << 20;
/// Looks whether nobody else uses what was brought, and the pause between two.
const ALONE_TRIES: usize = 15;
const ALONE_PAUSE: std::time::Duration = std::time::Duration::from_secs(1);
/// Backups that are looked at side by side.
const LOOKS_AT_ONCE: usize = 8;
/// Files of a backup in a bucket up to which it is looked, for a list, whether all are there: ten pages of a listing.
const LISTED_MAX: usize = 10_000;
/// File with the major version, in every data directory.
const VERSION: &str = "PG_VERSION";
const VERSION_MAX: u64 = 64;
/// The archives of a backup in tar format, with each ending `pg_basebackup` gives them and this program reads.
const PACKINGS: [&str; 2] = ["tar", "tar.gz"];
/// Time to read the first file of an archive.
const VERSION_LIMIT: std::time::Duration = std::time::Duration::from_secs(60);

/// How a base backup's files are kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Form {
    Plain,
    /// Archives of the data directory and, where it came with the backup, of its WAL
    Tar {
        base: PathBuf,
        wal: Option<PathBuf>,
    },
}

/// One base backup.
#[derive(Debug, Clone)]
pub(super) struct BaseBackup {
    pub name: String,
    pub shelf: Shelf,
    /// Where it is on this host, once it is
    pub path: PathBuf,
    pub form: Form,
    /// When its last file was written: by then the copying was as good as over
    pub complete: Timestamp,
    pub needs: Needs,
    /// Bytes of all its files, unpacked
    pub bytes: u64,
    /// The files it is kept as
    pub stored: Vec<Needed>,
    /// The manifest's own checksum: what tells this backup from another of the same name
    pub checksum: String,
    /// What its files are held against, e.g. `CRC32C`
    pub checksums: String,
}

/// The estate's base backups and their WAL.
#[derive(Debug, Clone)]
pub(super) struct BaseBackups {
    bases: Shelf,
    pub wal: Shelf,
}

impl BaseBackups {
    pub(super) fn at(at: &At) -> Self {
        Self { bases: Shelf::of(at, Kind::Bases), wal: Shelf::of(at, Kind::Wal) }
    }

    /// Returns where the estate keeps them.
    pub(super) fn of(clients: &Clients) -> Result<Self, ActionError> {
        database(clients)?.base_backups.as_ref().map(Self::at).ok_or_else(|| {
            let message = "the estate does not say where base backups are kept";
            ActionError::unchanged(FailureClass::NotFound, message)
                .hint("name `directory` and `wal` in `database.base_backups` of the estate file")
        })
    }

    /// Returns where all of them are, for people.
    pub(super) fn place(&self) -> String {
        self.bases.place("")
    }

    /// Returns the records of what was proved of them.
    pub(super) fn proofs(&self) -> Proofs {
        match self.bases.bucket() {
            None => Proofs::Directory(self.bases.folder().to_owned()),
            Some(objects) => Proofs::Bucket(objects.clone()),
        }
    }

    /// Says that what was brought from a bucket is used, for as long as what is returned lives.
    pub(super) async fn hold(&self) -> Result<Vec<Held>, ActionError> {
        let (bases, wal) = (self.bases.hold().await?, self.wal.hold().await?);
        Ok(bases.into_iter().chain(wal).collect())
    }

    /// Removes what was brought of a backup and of the WAL, unless another process uses any of it for longer than a look takes;
    /// returns what is to be told then.
    pub(super) async fn done(
        &self,
        clients: &Clients,
        held: Vec<Held>,
        (backup, digest): (&str, &str),
    ) -> Option<String> {
        let copies = [self.bases.backup(backup, digest), self.wal.wal(copies::FETCHED)];
        let mut left = Vec::new();
        for (held, copy) in held.into_iter().zip(copies) {
            let mut alone = held.alone();
            for _ in 0..ALONE_TRIES {
                if alone {
                    break;
                }
                clients.clock.sleep(ALONE_PAUSE).await;
                alone = held.alone();
            }
            let path = copy.parent().unwrap_or(&copy).to_owned();
            let stays = match alone {
                true => {
                    tokio::task::spawn_blocking(move || held.remove(&copy)).await.ok().flatten()
                }
                false => Some(path),
            };
            left.extend(stays.map(|path| path.display().to_string()));
        }
        (!left.is_empty()).then(|| {
            format!(
                "what was fetched stays, for another process uses it or it cannot be removed; once none does: rm -r {}",
                left.join(" ")
            )
        })
    }

    /// Lists the base backups, the newest first, and what is there that is none, with why.
    pub(super) async fn list(
        &self,
        clients: &Clients,
    ) -> Result<(Vec<BaseBackup>, Vec<String>), ActionError> {
        let inside = self.bases.inside(clients, "").await?;
        let is_backup = |name: &&String| !name.starts_with('.') && *name != super::proofs::FOLDER;
        let names: Vec<&String> = inside.folders.iter().filter(is_backup).collect();
        let (mut found, mut others) = (Vec::new(), Vec::new());
        for some in names.chunks(LOOKS_AT_ONCE) {
            let looks = some.iter().map(|name| self.look_at(clients, name, LISTED_MAX));
            for looked in join_all(looks).await {
                match looked {
                    Ok(backup) => found.push(backup),
                    // One that nobody could look at may be the newest.
                    Err(error) if may_pass(&error) => return Err(error),
                    Err(error) => others.push(error.message),
                }
            }
        }
        found.sort_by(|a, b| b.complete.cmp(&a.complete).then_with(|| a.name.cmp(&b.name)));
        others.sort();
        Ok((found, others))
    }

    /// Reads what a base backup's manifest says, and of a bucket whether all of it is there.
    pub(super) async fn find(
        &self,
        clients: &Clients,
        name: &str,
    ) -> Result<BaseBackup, ActionError> {
        self.look_at(clients, name, usize::MAX).await
    }

    /// The same; of a backup with more files than that nobody looks whether all of them are there.
    async fn look_at(
        &self,
        clients: &Clients,
        name: &str,
        most: usize,
    ) -> Result<BaseBackup, ActionError> {
        let bad = |why: String| unusable(name, &why);
        if name.is_empty() || name.contains('/') || name.starts_with('.') {
            return Err(bad("that is no name of a directory".to_owned()));
        }
        let file = format!("{name}/{MANIFEST}");
        let text = match self.bases.text(clients, &file, MANIFEST_MAX).await {
            Ok(Some(text)) => text,
            Ok(None) => return Err(bad(format!("it has no {MANIFEST}, so nothing can verify it"))),
            Err(error) if may_pass(&error) => return Err(error),
            Err(error) => return Err(bad(error.message)),
        };
        let manifest = manifest(&text).map_err(|why| bad(format!("its {MANIFEST} {why}")))?;
        let folder = format!("{name}/");
        let all = match manifest.files.len() <= most {
            true => self.bases.all_inside(clients, &folder).await?,
            false => None,
        };
        let (inside, listed) = match all {
            Some(all) => (all, true),
            None => (self.bases.inside(clients, &folder).await?, false),
        };
        let path = self.bases.backup(name, &manifest.checksum);
        let form = form(&path, &inside).map_err(bad)?;
        let complete = manifest.files.iter().filter_map(|file| instant(&file.modified)).max();
        let complete = complete.ok_or_else(|| bad("its manifest names no file".to_owned()))?;
        if manifest.files.iter().any(ManifestFile::is_of_tablespaces) {
            return Err(bad(
                "it has tablespaces, whose places on this host may be those of the damaged server"
                    .to_owned(),
            ));
        }
        let checksums = checksums(&manifest.files).ok_or_else(|| {
            let why =
                "its manifest has no checksums, so that a file that was changed could not be told";
            bad(why.to_owned()).hint(format!("take another: {}", self.taken_by()))
        })?;
        let stored = match listed {
            true => stored(name, &manifest, &form, &inside).map_err(bad)?,
            false => Vec::new(),
        };
        let own = match &form {
            Form::Plain if listed => own_wal(&inside),
            Form::Plain => self.bases.inside(clients, &format!("{name}/{WAL}")).await?.files,
            Form::Tar { .. } => BTreeMap::new(),
        };
        let needs = needs(&manifest, &form, own).map_err(bad)?;
        let bytes = manifest.files.iter().map(|file| file.size).sum();
        let (name, shelf, checksum) = (name.to_owned(), self.bases.clone(), manifest.checksum);
        Ok(BaseBackup {
            name,
            shelf,
            path,
            form,
            complete,
            needs,
            bytes,
            stored,
            checksum,
            checksums,
        })
    }

    /// Returns the commands that take a backup this program can use.
    fn taken_by(&self) -> String {
        let take =
            "pg_basebackup --checkpoint=fast --manifest-checksums=SHA256 --pgdata=".to_owned();
        match self.bases.bucket() {
            None => take + &self.bases.folder().join("NAME").display().to_string(),
            Some(_) => {
                let place = self.bases.place("NAME");
                format!("{take}NAME && aws s3 cp --recursive NAME {place}")
            }
        }
    }
}

fn unusable(name: &str, why: &str) -> ActionError {
    let message = format!("the base backup {name} cannot be used: {why}");
    ActionError::unchanged(FailureClass::Invalid, message)
        .hint("take another base backup; see `phoenix-dr recovery-points`")
}

impl BaseBackup {
    /// Returns where it is kept, for people.
    pub(super) fn place(&self) -> String {
        self.shelf.place(&self.name)
    }

    /// Returns the names of the archives it is packed in; none of a plain one.
    pub(super) fn packed(&self) -> Vec<String> {
        let Form::Tar { base, wal } = &self.form else { return Vec::new() };
        let archives = std::iter::once(base).chain(wal);
        archives.filter_map(|path| Some(path.file_name()?.to_str()?.to_owned())).collect()
    }

    /// Returns the major version of the server it was taken from.
    pub(super) async fn major(
        &self,
        clients: &Clients,
        archive: &Archive,
    ) -> Result<u32, ActionError> {
        let failed = |why: String| {
            let message = format!("read the version of the base backup {}: {why}", self.name);
            ActionError::unchanged(FailureClass::Invalid, message)
        };
        let text = match &self.form {
            Form::Plain => {
                let file = format!("{}/{VERSION}", self.name);
                let text = self.shelf.text(clients, &file, VERSION_MAX).await;
                let text = text.map_err(|error| ActionError {
                    message: failed(error.message.clone()).message,
                    ..error
                })?;
                text.ok_or_else(|| failed(format!("{VERSION} is not there")))?
            }
            // The archive may be large, and is not here yet: the WAL says it as well.
            Form::Tar { .. } if self.shelf.bucket().is_some() => {
                let reach = archive.reach(&self.needs);
                return archive.major(clients, &reach).await?.ok_or_else(|| {
                    failed("no archived WAL says it, as that of PostgreSQL 13 to 18 does".to_owned()).hint(
                        "archive its WAL, or take the backup again without `--format=tar`: it has a file that says it",
                    )
                });
            }
            Form::Tar { base, .. } => {
                let file = format!("--file={}", base.display());
                let argv = ["tar", "--extract", "--to-stdout", "--occurrence=1", &file, VERSION];
                let ended = look(clients, &argv.map(str::to_owned), VERSION_LIMIT).await?;
                if ended.end != ProgramEnd::Exit(0) {
                    return Err(failed(ended.say(VERSION_LIMIT)));
                }
                ended.stdout
            }
        };
        text.trim().parse().map_err(|_| failed(format!("`{}` is none", text.trim())))
    }

    /// Returns the segments of the log the backup itself cannot do without, of which one is missing.
    pub(super) fn incomplete(&self, archive: &Archive) -> Option<String> {
        let reach = archive.reach(&self.needs);
        let last = self.needs.end.0.saturating_sub(1) / reach.size;
        let own = reach.missing.iter().find(|segment| segment.number <= last)?;
        Some(own.name(reach.size))
    }

    /// Has one of the segments that came with it on this host.
    pub(super) async fn own_segment(
        &self,
        clients: &Clients,
        segment: &str,
    ) -> Result<PathBuf, ActionError> {
        let at = format!("{WAL}{segment}");
        let mut needed: Vec<Needed> =
            self.stored.iter().filter(|file| file.at == at).cloned().collect();
        if needed.is_empty() && self.shelf.bucket().is_some() {
            let folder = format!("{}/{WAL}", self.name);
            let Inside { files, versions, .. } = self.shelf.inside(clients, &folder).await?;
            needed.extend(files.get(segment).map(|bytes| Needed {
                name: format!("{folder}{segment}"),
                at: at.clone(),
                bytes: *bytes,
                version: versions.get(segment).cloned(),
            }));
        }
        self.shelf.bring(clients, &self.path, &needed, &Told::nobody()).await?;
        Ok(self.path.join(at))
    }

    /// Says whether segments that came with it are files, so that they can be read.
    pub(super) fn has_segment(&self, name: &str) -> bool {
        matches!(&self.needs.own, Own::Named { names, .. } if names.contains(name))
    }
}

/// Runs a program that only looks.
pub(super) async fn look(
    clients: &Clients,
    argv: &[String],
    limit: std::time::Duration,
) -> Result<process::Ended, ActionError> {
    let program = Program {
        argv,
        env: &[("TZ".to_owned(), "UTC".to_owned())].into(),
        scrub: Scrub::Connection,
        cwd: None,
        limit,
        artifact: None,
        purpose: Purpose::Look,
    };
    let ended = process::run(clients, &program).await;
    ended.map_err(|error| ActionError::unchanged(FailureClass::Invalid, error.to_string()))
}

fn form(path: &Path, inside: &Inside) -> Result<Form, String> {
    if inside.files.contains_key(VERSION) {
        // A copy would have the link, and a server on it would write into what lies behind it.
        return match inside.links.contains("pg_wal") {
            true => Err("its pg_wal is a link to another directory".to_owned()),
            false => Ok(Form::Plain),
        };
    }
    let packed = |name: &str| {
        let mut files = PACKINGS.iter().map(|packing| format!("{name}.{packing}"));
        files.find(|file| inside.files.contains_key(file)).map(|file| path.join(file))
    };
    match packed("base") {
        Some(base) => Ok(Form::Tar { base, wal: packed("pg_wal") }),
        None => Err(format!(
            "it holds neither the files of a server nor {}",
            PACKINGS.map(|packing| format!("base.{packing}")).join(" or ")
        )),
    }
}

/// Returns the segments of the log that are among the objects of a backup.
fn own_wal(inside: &Inside) -> BTreeMap<String, u64> {
    let own = inside.files.iter().filter_map(|(name, bytes)| {
        let name = name.strip_prefix(WAL).filter(|name| !name.contains('/'))?;
        Some((name.to_owned(), *bytes))
    });
    own.collect()
}

/// Returns the objects a backup is kept as, by names below the place of all backups; why it is not all there, where it is not: an
/// upload that was broken off leaves the manifest as well.
fn stored(
    name: &str,
    manifest: &Manifest,
    form: &Form,
    inside: &Inside,
) -> Result<Vec<Needed>, String> {
    let file = |below: &str| {
        let (bytes, version) = (*inside.files.get(below)?, inside.versions.get(below).cloned());
        Some(Needed { name: format!("{name}/{below}"), at: below.to_owned(), bytes, version })
    };
    if let Form::Tar { base, wal } = form {
        let archives = std::iter::once(base).chain(wal);
        let names = archives.filter_map(|path| path.file_name()?.to_str());
        return Ok(names.chain([MANIFEST]).filter_map(file).collect());
    }
    let mut stored = Vec::with_capacity(manifest.files.len());
    for listed in &manifest.files {
        // They become names of files on this host.
        if !is_below(&listed.path) {
            return Err(format!("its manifest names the file `{}`", listed.path));
        }
        let Some(found) = file(&listed.path) else {
            return Err(format!(
                "its file {} is not there: it was not uploaded in full",
                listed.path
            ));
        };
        if found.bytes != listed.size && listed.path != UNVERIFIED {
            let (path, bytes, size) = (&listed.path, found.bytes, listed.size);
            return Err(format!("its file {path} has {bytes} bytes instead of {size}"));
        }
        stored.push(found);
    }
    let own = own_wal(inside).into_keys().filter_map(|name| file(&format!("{WAL}{name}")));
    stored.extend(own.chain(file(MANIFEST)));
    Ok(stored)
}

/// Says whether a name is one of a file below a folder, and nothing else.
fn is_below(name: &str) -> bool {
    let plain = |part: &str| !part.is_empty() && part != "." && part != "..";
    !name.contains('\0') && name.split('/').all(plain)
}

/// Returns the segments of the log that came as files.
fn segments(mut files: BTreeMap<String, u64>) -> Own {
    files.retain(|name, _| name.len() == SEGMENT_NAME);
    let size = segment_size(files.values().copied());
    Own::Named { names: files.into_keys().collect(), size }
}
