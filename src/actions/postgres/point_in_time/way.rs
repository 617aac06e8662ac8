//! From which backup, and how far: whether the target can be reached is known before anything is made.

use std::path::Path;
use std::time::Duration;

use serde_json::Value;

use crate::actions::postgres::base::{BaseBackup, BaseBackups};
use crate::actions::postgres::bucket::may_pass;
use crate::actions::postgres::shelf::Needed;
use crate::actions::postgres::target::RecoveryTarget;
use crate::actions::postgres::told::Told;
use crate::actions::postgres::wal::{Archive, Lsn, Reach};
use crate::actions::postgres::waldump::{End, Reader};
use crate::clients::Clients;
use crate::clock::within;
use crate::engine::ports::Call;
use crate::outcome::{ActionError, FailureClass};
use crate::runbook::catalogue::actions::PostgresRestorePointInTime;

/// Names of restore points that are told where one was not found.
const NAMED_MAX: usize = 5;
/// Segments that are read for the first commit behind an instant; without it all WAL there is is fetched from a bucket.
const LATER_MAX: usize = 4;
/// How long a restore point is looked for by a look: less than that is given, so that it can say what it did not find out.
const LOOK_LIMIT: Duration = Duration::from_secs(4);

/// What is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Wanted {
    /// The newest one from which the target can be reached, where none is named
    pub backup: Option<String>,
    /// Checksum of the manifest of the one that was looked at, where one was: another may have its name by now
    pub digest: Option<String>,
    pub target: RecoveryTarget,
}

impl Wanted {
    /// Reads the arguments.
    pub(super) fn of(with: &PostgresRestorePointInTime) -> Result<Self, ActionError> {
        let given = with.target.as_deref().filter(|target| !target.is_empty()).unwrap_or("latest");
        let target = given.parse().map_err(|error| {
            ActionError::unchanged(FailureClass::Invalid, format!("argument `target`: {error}"))
        })?;
        let backup = with.backup.clone().filter(|backup| !backup.is_empty());
        Ok(Self { backup, digest: None, target })
    }

    /// Returns what was approved: the backup and the position that were looked at.
    pub(super) fn approved(
        with: &PostgresRestorePointInTime,
        context: &Value,
    ) -> Result<Self, ActionError> {
        let mut wanted = Self::of(with)?;
        if let (Some(backup), Some(Ok(goal))) =
            (context["backup"].as_str(), context["goal"].as_str().map(str::parse::<RecoveryTarget>))
        {
            let digest = context["digest"].as_str().map(str::to_owned);
            wanted = Self { backup: Some(backup.to_owned()), digest, target: goal };
        }
        Ok(wanted)
    }

    /// Says whether a restore from this backup can go to the target, as far as its own end decides that.
    fn is_after(&self, backup: &BaseBackup) -> bool {
        match &self.target {
            RecoveryTarget::Latest | RecoveryTarget::Name(_) => true,
            RecoveryTarget::Time(time) => backup.complete <= *time,
            RecoveryTarget::Lsn(lsn) => backup.needs.end <= *lsn,
        }
    }
}

/// A backup, the log behind it, and a target that it leads to.
#[derive(Debug, Clone)]
pub(super) struct Way {
    pub backup: BaseBackup,
    pub major: u32,
    pub archive: Archive,
    pub reach: Reach,
    /// The target as the server is told it: of `latest` the position, so that a restore that ends before it is seen
    pub goal: RecoveryTarget,
    /// Number of the last segment the restore reads, where that is known
    until: Option<u64>,
    /// How far the log leads, in words
    pub said: String,
}

impl Way {
    /// Finds the backup and holds the target against the log.
    pub(super) async fn find(clients: &Clients, wanted: &Wanted) -> Result<Self, ActionError> {
        let backups = BaseBackups::of(clients)?;
        let backup = chosen(clients, &backups, wanted).await?;
        let archive = Archive::read(clients, &backups.wal).await?;
        if let Some(segment) = backup.incomplete(&archive) {
            return Err(refused(format!(
                "the WAL {segment} that the base backup {} itself needs is missing",
                backup.name
            )));
        }
        let (major, reach) = (backup.major(clients, &archive).await?, archive.reach(&backup.needs));
        let reader = Reader::new(clients, &archive, &backup, (major, reach.size)).await?;
        let Some(end) = reader.end(&reach).await? else {
            return Err(refused(format!(
                "nothing can be read of the WAL behind the base backup {}",
                backup.name
            )));
        };
        let limits = Limits { backup: &backup, reach: &reach, end };
        let goal = limits.goal(&reader, &wanted.target).await?;
        let until = match &goal {
            // A position between two records is reached by the one after it, which may be in the next segment.
            RecoveryTarget::Lsn(lsn) => Some(lsn.0 / reach.size + 1),
            RecoveryTarget::Time(time) if backup.shelf.bucket().is_some() => {
                reader.first_later(&reach, *time, LATER_MAX).await?
            }
            RecoveryTarget::Latest | RecoveryTarget::Name(_) | RecoveryTarget::Time(_) => None,
        };
        let last = end.time.map(|time| format!(", the last commit at {time}")).unwrap_or_default();
        let said = format!("its WAL leads to {}{last}", end.lsn);
        Ok(Self { backup, major, archive: archive.for_restore(), reach, goal, until, said })
    }

    /// Returns what of the archived WAL the restore reads.
    fn wal(&self) -> Vec<Needed> {
        self.archive.needed(&self.reach, self.until)
    }

    /// Returns the folders things are brought into from a bucket, each with the bytes that are still to be brought.
    pub(super) fn lacking(&self) -> [(&Path, u64); 2] {
        let backup = self.backup.shelf.lacking(&self.backup.path, &self.backup.stored);
        let wal = self.archive.lacking(&self.wal());
        [(self.backup.shelf.folder(), backup), (self.archive.above(), wal)]
    }

    /// Has the backup and its WAL on this host.
    pub(super) async fn bring(&self, clients: &Clients, call: &Call) -> Result<(), ActionError> {
        let wal = self.wal();
        let all = self.backup.stored.iter().chain(&wal).map(|file| file.bytes).sum();
        let told = Told::step(call, "fetched", all);
        let Self { backup, .. } = self;
        backup.shelf.bring(clients, &backup.path, &backup.stored, &told).await?;
        self.archive.bring(clients, &wal, &told).await
    }

    /// Says whether it is brought from a bucket.
    pub(super) const fn is_fetched(&self) -> bool {
        self.backup.shelf.bucket().is_some()
    }

    /// Has the WAL on this host, for a server that has begun to read it; anew, where the server has ended over it.
    pub(super) async fn bring_wal(&self, clients: &Clients, anew: bool) -> Result<(), ActionError> {
        let mut wal = self.wal();
        if anew {
            self.archive.doubt(&wal);
            // How much of it the target takes may have been taken for less than it is.
            wal = self.archive.needed(&self.reach, None);
        }
        self.archive.bring(clients, &wal, &Told::nobody()).await
    }

    /// Has all of it fetched anew by the next attempt: it may have been altered on this host.
    pub(super) fn doubt(&self) {
        self.backup.shelf.doubt(&self.backup.path, &self.backup.stored);
        self.archive.doubt(&self.wal());
    }

    /// Looks for the restore point in the log, where the target is one, for as long as a look may take: a log may be long.
    pub(super) async fn looked_for(
        &self,
        clients: &Clients,
    ) -> Result<Option<String>, ActionError> {
        let RecoveryTarget::Name(name) = &self.goal else { return Ok(None) };
        let look = Box::pin(self.restore_point(clients));
        Ok(Some(match within(&*clients.clock, LOOK_LIMIT, look).await {
            Ok(found) => found.map(|()| format!("the restore point {name} is in its WAL"))?,
            Err(elapsed) => format!(
                "whether the restore point {name} is in its WAL was not found out ({elapsed}): it is looked for again when \
                 this begins"
            ),
        }))
    }

    /// Makes sure that the restore point is in the log, where the target is one. Reads all of the log.
    pub(super) async fn restore_point(&self, clients: &Clients) -> Result<(), ActionError> {
        let RecoveryTarget::Name(wanted) = &self.goal else { return Ok(()) };
        let read_as = (self.major, self.reach.size);
        let reader = Reader::new(clients, &self.archive, &self.backup, read_as).await?;
        let start = self.backup.needs.start;
        let found = reader.restore_points(&self.reach, start, wanted).await?;
        let found = found.into_iter().find(|point| point.name == *wanted);
        match found {
            Some(point) if point.lsn < self.backup.needs.end => Err(refused(format!(
                "the restore point {wanted} at {} is from before the base backup {} was complete",
                point.lsn, self.backup.name
            ))
            .hint("take an older base backup")),
            Some(_) => Ok(()),
            None => {
                let all = reader.restore_points(&self.reach, start, "").await?;
                let known: Vec<&str> =
                    all.iter().rev().take(NAMED_MAX).map(|point| point.name.as_str()).collect();
                let known = match known.as_slice() {
                    [] => "there are none".to_owned(),
                    known => format!("the last ones are {}", known.join(", ")),
                };
                let gap = self.reach.gap().map(|gap| format!("; the WAL {gap} is missing"));
                Err(refused(format!(
                    "the restore point {wanted} is not in the WAL behind {}{}",
                    self.backup.name,
                    gap.unwrap_or_default()
                ))
                .hint(known))
            }
        }
    }
}

async fn chosen(
    clients: &Clients,
    backups: &BaseBackups,
    wanted: &Wanted,
) -> Result<BaseBackup, ActionError> {
    if let Some(name) = &wanted.backup {
        let found = backups.find(clients, name).await?;
        if wanted.digest.as_ref().is_some_and(|digest| *digest != found.checksum) {
            let message = format!(
                "the base backup {name} is another one by now than the one that was looked at"
            );
            return Err(ActionError::unchanged(FailureClass::Conflict, message).hint(
                "see what is there now: `phoenix-dr recovery-points`; and give each backup a name of its own",
            ));
        }
        return Ok(found);
    }
    let (found, mut others) = backups.list(clients).await?;
    let (known, proofs) = (found.len(), backups.proofs());
    for backup in found.into_iter().filter(|backup| wanted.is_after(backup)) {
        let proof = match proofs.find(clients, &backup.name, &backup.checksum).await {
            Err(error) if may_pass(&error) => return Err(error),
            // Who may not read records knows of none.
            proof => proof.unwrap_or_default(),
        };
        // What a restore has shown to be damaged is taken by its name alone.
        if let Some(why) = proof.and_then(|proof| proof.failed) {
            others.push(format!("{}: its last proof failed: {why}", backup.name));
            continue;
        }
        match backups.find(clients, &backup.name).await {
            Err(error) if !may_pass(&error) => others.push(error.message),
            found => return found,
        }
    }
    let message = format!(
        "none of {known} base backups in {} can be taken by itself for the target `{}`: each was complete later, or its proof failed",
        backups.place(),
        wanted.target
    );
    let error = ActionError::unchanged(FailureClass::NotFound, message);
    Err(match others.as_slice() {
        [] => error.hint("take a later target, or bring an older base backup there"),
        others => {
            error.hint(format!("name one to take it all the same; left out: {}", others.join("; ")))
        }
    })
}

fn refused(message: String) -> ActionError {
    ActionError::unchanged(FailureClass::Invalid, message)
}

/// Between what a target must lie.
struct Limits<'a> {
    backup: &'a BaseBackup,
    reach: &'a Reach,
    end: End,
}

impl Limits<'_> {
    /// Returns the target as the server is told it, or why it cannot be reached.
    async fn goal(
        &self,
        reader: &Reader<'_>,
        target: &RecoveryTarget,
    ) -> Result<RecoveryTarget, ActionError> {
        match target {
            RecoveryTarget::Latest => match self.reach.gap() {
                None => Ok(RecoveryTarget::Lsn(self.end.lsn)),
                Some(gap) => Err(refused(format!(
                    "the WAL {gap} is missing, and later WAL is there: without it the restore ends at {}",
                    self.told()
                ))
                .hint(format!(
                    "bring it there; or, to end before it: target `lsn {}`",
                    self.end.lsn
                ))),
            },
            RecoveryTarget::Lsn(lsn) => self.position(*lsn),
            RecoveryTarget::Time(time) => {
                let needs = &self.backup.needs;
                // Of a server that nobody wrote to meanwhile the log has no commit that would say it.
                if *time < self.backup.complete {
                    let complete = self.backup.complete;
                    return Err(self.before(&format!("at {time}, and the earliest is {complete}")));
                }
                let first =
                    reader.last_commit_between(needs.timeline, needs.start, needs.end).await?;
                if let Some(first) = first.filter(|first| first > time) {
                    return Err(self.before(&format!("at {time}, and the earliest is {first}")));
                }
                match self.end.time {
                    // The server stops at the first commit that is later: there must be one.
                    Some(end) if end > *time => Ok(target.clone()),
                    Some(_) | None => Err(self.behind(&format!("at {time}"))),
                }
            }
            // Where it is, is found by reading all of the log.
            RecoveryTarget::Name(_) => Ok(target.clone()),
        }
    }

    fn position(&self, lsn: Lsn) -> Result<RecoveryTarget, ActionError> {
        // A record that ends the backup may begin before the position that is consistent.
        if lsn < self.backup.needs.end && lsn != self.end.lsn {
            let end = self.backup.needs.end;
            return Err(self.before(&format!("at {lsn}, and the earliest is {end}")));
        }
        if lsn > self.end.lsn {
            return Err(self.behind(&format!("at {lsn}")));
        }
        Ok(RecoveryTarget::Lsn(lsn))
    }

    fn before(&self, said: &str) -> ActionError {
        let name = &self.backup.name;
        refused(format!("the base backup {name} was not complete yet {said}"))
            .hint("take an older base backup, or a later target")
    }

    fn behind(&self, said: &str) -> ActionError {
        let reaches = self.told();
        match self.reach.gap() {
            Some(gap) => refused(format!(
                "the WAL {gap} is missing: without it the restore ends at {reaches}, and the target is {said}"
            ))
            .hint("bring it there, or take an earlier target"),
            None => refused(format!(
                "the target is {said}, and the archived WAL ends at {reaches}"
            ))
            .hint("wait until more is archived, or take the target `latest`"),
        }
    }

    fn told(&self) -> String {
        let time = self.end.time.map(|time| format!(" ({time})")).unwrap_or_default();
        format!("{}{time}", self.end.lsn)
    }
}
