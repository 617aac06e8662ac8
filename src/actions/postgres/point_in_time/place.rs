//! The data directory a restore makes. Until it is whole it has a name nobody uses; from its first instant under its own
//! name there is a mark in it that says whose it is.

use std::collections::BTreeMap;
use std::io::{ErrorKind, Write as _};
use std::os::unix::fs::{
    DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _,
};
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use super::begun;
use super::copying::{copy, folders, verify};
use super::server::{User, settings};
use super::way::Way;
use crate::actions::postgres::base::Form;
use crate::actions::postgres::drafts::bytes;
use crate::actions::postgres::keep::give;
use crate::actions::postgres::manifest::hex;
use crate::clients::Clients;
use crate::engine::ports::Call;
use crate::estate::own_server::OwnServer;
use crate::outcome::{ActionError, FailureClass};

const MARK: &str = "phoenix-dr.json";
const FORMAT: &str = "phoenix-dr/restored-server/1";
/// What a server needs beside its files while it replays: as much WAL as it keeps by default.
const WAL_ROOM: u64 = 1 << 30;
/// Bytes of a block that files are said to take: `st_blocks` of stat(2).
const BLOCK: u64 = 512;

/// What a data directory was made of, and by whom.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Mark {
    format: String,
    token: String,
    pub backup: String,
    /// Checksum of the backup's manifest
    pub digest: String,
    /// The target, as the server was told it
    pub goal: String,
    pub major: u32,
    /// It has reached its target and taken a write
    pub restored: bool,
    /// How the server stood when it counted as restored
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<Standing>,
    /// The next transaction's number when nobody was found to have used it, and it was about to be removed
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unused: Option<u64>,
}

/// How a server stands, as far as that tells whether it was written to later.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Standing {
    /// When it was started: with a crash it loses count of what was written
    pub started: String,
    /// Number of the next transaction that writes
    pub next: u64,
}

/// What there is of the data directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum State {
    None,
    /// Attempts of this step that did not come to a whole directory
    Draft,
    /// This step's; whether the server has reached its target was not seen
    Part(Mark),
    /// This step's, restored
    Whole(Mark),
    /// Somebody else's
    Foreign {
        said: String,
    },
}

impl State {
    /// Returns it as a before-image: of one that was begun, a part is as before and a part is this step's.
    pub(super) fn seen(&self) -> Value {
        match self {
            Self::None => json!({ "begun": null, "restored": null }),
            Self::Draft | Self::Part(_) => json!({ "begun": true, "restored": null }),
            Self::Whole(mark) => Self::whole(mark),
            Self::Foreign { .. } => json!({ "begun": "by somebody else", "restored": null }),
        }
    }

    /// Returns the state that is wanted.
    pub(super) fn whole(mark: &Mark) -> Value {
        json!({ "begun": true, "restored": format!("{} up to {}", mark.backup, mark.goal) })
    }
}

/// Where the new server's data is to be.
pub(super) struct Place<'a> {
    server: &'a OwnServer,
    data: PathBuf,
    above: PathBuf,
    /// How the names of this step's attempts begin
    drafts: String,
    token: String,
}

impl<'a> Place<'a> {
    pub(super) fn of(server: &'a OwnServer, call: &Call) -> Self {
        let (data, token) = (PathBuf::from(&server.data), call.token());
        let above = data.parent().map_or_else(|| PathBuf::from("/"), Path::to_owned);
        let short = hex(&Sha256::digest(token.as_bytes())[..8]);
        Self { server, data, above, drafts: format!(".phoenix-dr-{short}-"), token }
    }

    pub(super) const fn server(&self) -> &'a OwnServer {
        self.server
    }

    pub(super) fn data(&self) -> &Path {
        &self.data
    }

    /// Returns how the names of this step's attempts begin.
    #[cfg(test)]
    pub(super) fn drafts(&self) -> &str {
        &self.drafts
    }

    /// Returns the mark of what would be made.
    pub(super) fn mark(&self, way: &Way) -> Mark {
        Mark {
            format: FORMAT.to_owned(),
            token: self.token.clone(),
            backup: way.backup.name.clone(),
            digest: way.backup.checksum.clone(),
            goal: way.goal.to_string(),
            major: way.major,
            restored: false,
            since: None,
            unused: None,
        }
    }

    /// Returns the mark of what this run has restored there, by whichever of its steps.
    pub(super) fn of_run(server: &OwnServer, call: &Call) -> Result<Option<Mark>, ActionError> {
        let file = Path::new(&server.data).join(MARK);
        let failed = |why: String| {
            let message =
                format!("read from which backup {} is: {}: {why}", server.data, file.display());
            ActionError::unchanged(FailureClass::Invalid, message)
        };
        let text = match std::fs::read(&file) {
            Ok(text) => text,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(failed(error.to_string())),
        };
        let mark: Mark =
            serde_json::from_slice(&text).map_err(|error| failed(error.to_string()))?;
        let ours = mark.token.split('/').next() == Some(call.run.0.as_str());
        Ok(ours.then_some(mark))
    }

    /// Looks at what is there.
    pub(super) fn state(&self) -> Result<State, ActionError> {
        match std::fs::read(self.data.join(MARK)) {
            Ok(text) => Ok(match serde_json::from_slice::<Mark>(&text) {
                Ok(mark) if mark.token == self.token && mark.restored => State::Whole(mark),
                Ok(mark) if mark.token == self.token => State::Part(mark),
                Ok(mark) => State::Foreign { said: format!(" (of {})", mark.token) },
                Err(error) => State::Foreign { said: format!(" (its mark: {error})") },
            }),
            Err(error) if error.kind() == ErrorKind::NotFound => match self.data.try_exists() {
                Ok(true) => Ok(State::Foreign { said: String::new() }),
                Ok(false) if self.left().is_empty() => Ok(State::None),
                Ok(false) => Ok(State::Draft),
                Err(error) => Err(self.failed("look at", &error)),
            },
            Err(error) => Err(self.failed("look at", &error)),
        }
    }

    fn failed(&self, what: &str, error: &std::io::Error) -> ActionError {
        let message = format!("{what} {}: {error}", self.data.display());
        ActionError::unchanged(FailureClass::Denied, message)
            .hint("it is the estate's `database.recovered.server.data`")
    }

    /// Returns the directories attempts of this step left.
    fn left(&self) -> Vec<PathBuf> {
        let entries = std::fs::read_dir(&self.above).into_iter().flatten().flatten();
        let ours =
            entries.filter(|entry| entry.file_name().to_string_lossy().starts_with(&self.drafts));
        ours.map(|entry| entry.path()).collect()
    }

    /// Removes what attempts of this step left; where that cannot be done, it is in nobody's way.
    pub(super) fn tidy(&self) {
        for draft in self.left() {
            drop(std::fs::remove_dir_all(draft));
        }
    }

    /// Returns how much room there is; an error where it is too little, here or where things are brought from a bucket.
    pub(super) fn room(&self, way: &Way) -> Result<u64, ActionError> {
        let unusable = |path: &Path, error: &std::io::Error| {
            let message = format!("{} cannot be used: {error}", path.display());
            ActionError::unchanged(FailureClass::NotFound, message).hint(
                "make the directory above `database.recovered.server.data`, and those of `database.base_backups`",
            )
        };
        let logged = u64::try_from(way.reach.whole.len()).unwrap_or(u64::MAX);
        let logged = logged.saturating_mul(way.reach.size).min(WAL_ROOM);
        // What attempts have left goes before anything is made.
        let left = self.left().iter().map(|draft| taken(draft)).fold(0, u64::saturating_add);
        let own = way.backup.bytes.saturating_add(logged).saturating_sub(left);
        let own = (self.above.as_path(), own);
        // Folders of one file system take from the same room.
        let mut needed: BTreeMap<u64, (&Path, u64)> = BTreeMap::new();
        for (folder, bytes) in
            std::iter::once(own).chain(way.lacking().into_iter().filter(|(_, bytes)| *bytes > 0))
        {
            let seen = std::fs::metadata(folder).map_err(|error| unusable(folder, &error))?;
            let (_, all) = needed.entry(seen.dev()).or_insert((folder, 0));
            *all = all.saturating_add(bytes);
        }
        let mut room = 0;
        for (folder, needed) in needed.into_values() {
            let found = rustix::fs::statvfs(folder);
            let found = found.map_err(|error| unusable(folder, &error.into()))?;
            let free = found.f_bavail.saturating_mul(found.f_frsize);
            if free < needed {
                let message = format!(
                    "{} has {} free, and the restore needs {}",
                    folder.display(),
                    bytes(free),
                    bytes(needed)
                );
                let setting = match folder == self.above {
                    true => "database.recovered.server.data",
                    false => "database.base_backups",
                };
                return Err(ActionError::unchanged(FailureClass::Capacity, message)
                    .hint(format!("make room there, or name another place in `{setting}`")));
            }
            if folder == self.above {
                room = free;
            }
        }
        Ok(room)
    }

    /// Makes the data directory as a whole: copied, verified, configured, and named last.
    pub(super) async fn make(
        &self,
        clients: &Clients,
        call: &Call,
        way: &Way,
        user: &User,
    ) -> Result<Mark, ActionError> {
        let now = clients.clock.now();
        let draft = self.above.join(format!(
            "{}{}-{}",
            self.drafts,
            std::process::id(),
            now.as_microsecond()
        ));
        let made = self.fill(clients, call, way, user, &draft, now).await;
        match made {
            Ok(mark) => self.name(&draft).map(|()| mark),
            Err(error) => {
                // What is left of it is known by its name, and removed by the next attempt or a rollback.
                drop(std::fs::remove_dir_all(&draft));
                Err(error)
            }
        }
    }

    async fn fill(
        &self,
        clients: &Clients,
        call: &Call,
        way: &Way,
        user: &User,
        draft: &Path,
        now: Timestamp,
    ) -> Result<Mark, ActionError> {
        std::fs::DirBuilder::new()
            .mode(0o700)
            .create(draft)
            .map_err(|error| self.failed("make", &error))?;
        call.progress.tell(format!("copying {}", bytes(way.backup.bytes)), None);
        copy(clients, call, way, draft).await?;
        // It has the mode of what was copied, and no server starts on data others may read.
        std::fs::set_permissions(draft, std::fs::Permissions::from_mode(0o700))
            .map_err(|error| self.failed("make", &error))?;
        if way.backup.form == Form::Plain && way.backup.shelf.bucket().is_some() {
            folders(draft).map_err(|error| self.failed("make", &error))?;
        }
        call.progress.tell("verifying every file of the copy", None);
        verify(clients, call, way, draft).await?;
        let mark = self.mark(way);
        let settings = settings(clients, self.server, way, draft, now).await?;
        let failed = |error: std::io::Error| self.failed("configure", &error);
        // A replica's backup would go on following its primary.
        for name in ["standby.signal", "recovery.signal"] {
            match std::fs::remove_file(draft.join(name)) {
                Err(error) if error.kind() != ErrorKind::NotFound => return Err(failed(error)),
                _ => {}
            }
        }
        for (name, text) in settings {
            append(&draft.join(name), &text).map_err(failed)?;
        }
        append(&draft.join("recovery.signal"), "").map_err(failed)?;
        write_mark(draft, &mark).map_err(failed)?;
        user.give(clients, draft).await?;
        let whole = draft.to_owned();
        let synced = tokio::task::spawn_blocking(move || {
            rustix::fs::syncfs(std::fs::File::open(whole)?).map_err(std::io::Error::from)
        });
        let synced = synced.await.map_err(std::io::Error::other).and_then(|done| done);
        synced.map_err(|error| self.failed("write", &error))?;
        Ok(mark)
    }

    /// Gives the draft its name, never over what came there meanwhile.
    fn name(&self, draft: &Path) -> Result<(), ActionError> {
        let error = match give(draft, &self.data) {
            Ok(true) => return Ok(()),
            Ok(false) => ErrorKind::AlreadyExists.into(),
            // It has its name, and whether that outlives this host is not known.
            Err(error) if !draft.exists() => return Err(begun(self.failed("name", &error))),
            Err(error) => error,
        };
        drop(std::fs::remove_dir_all(draft));
        Err(self.failed("name", &error))
    }

    /// Notes that the server has reached its target, and how it stands.
    pub(super) fn restored(&self, mark: &Mark, now: Standing) -> Result<(), ActionError> {
        let since = mark.since.clone().or(Some(now));
        let mark = Mark { restored: true, since, unused: None, ..mark.clone() };
        write_mark(&self.data, &mark).map_err(|error| self.failed("mark", &error))
    }

    /// Notes that nobody has used it, for whoever goes on once it is stopped. A file system that is full is no reason to keep it.
    pub(super) fn unused(&self, mark: &Mark, next: u64) {
        drop(write_mark(&self.data, &Mark { unused: Some(next), ..mark.clone() }));
    }

    /// Removes what this step made. It loses its name first: a removal that is cut off leaves no half of a server.
    pub(super) async fn remove(&self) -> Result<(), ActionError> {
        if matches!(self.state()?, State::Part(_) | State::Whole(_)) {
            let draft = self.above.join(format!("{}removed", self.drafts));
            if !give(&self.data, &draft).map_err(|error| self.failed("remove", &error))? {
                return Err(self.failed("remove", &ErrorKind::AlreadyExists.into()));
            }
        }
        for draft in self.left() {
            let gone = draft.clone();
            let removed = tokio::task::spawn_blocking(move || std::fs::remove_dir_all(gone)).await;
            let removed = removed.map_err(std::io::Error::other).and_then(|done| done);
            removed.map_err(|error| {
                let message = format!("remove {}: {error}", draft.display());
                ActionError::unknown(FailureClass::Transient, message)
            })?;
        }
        Ok(())
    }
}

/// Returns the room a directory takes, as far as it can be read.
fn taken(directory: &Path) -> u64 {
    let (mut all, mut folders) = (0_u64, vec![directory.to_owned()]);
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
            let Ok(seen) = entry.metadata() else { continue };
            all = all.saturating_add(seen.blocks().saturating_mul(BLOCK));
            if seen.is_dir() {
                folders.push(entry.path());
            }
        }
    }
    all
}

fn append(path: &Path, text: &str) -> std::io::Result<()> {
    let mut file = std::fs::OpenOptions::new().create(true).append(true).mode(0o600).open(path)?;
    file.write_all(text.as_bytes())
}

fn write_mark(directory: &Path, mark: &Mark) -> std::io::Result<()> {
    let beside = directory.join(format!("{MARK}.new"));
    drop(std::fs::remove_file(&beside));
    append(&beside, &format!("{}\n", serde_json::to_string_pretty(mark)?))?;
    std::fs::File::open(&beside)?.sync_all()?;
    std::fs::rename(&beside, directory.join(MARK))?;
    std::fs::File::open(directory)?.sync_all()
}
