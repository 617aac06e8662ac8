//! What the database can come back from: dumps, base backups with their WAL, and what RDS has, each with what it loses
//! against the incident, its size, a forecast, and whether a restore ever proved it.
//!
//! Reads only. Of what nobody could measure nothing is said, and what could not be looked at is told.

mod own;
mod rds;
mod replica;

use jiff::Timestamp;
use serde::Serialize;

use super::drafts::bytes;
use super::proofs::Proof;
use super::target::RecoveryTarget;
use super::wal::Lsn;
use crate::clients::Clients;
use crate::clock::since;
use crate::estate::types::Database;
use crate::outcome::{ActionError, FailureClass};
use crate::runbook::catalogue::actions::RecoveryPoint;
use crate::span::Span;

/// Restores read and write whole files; about 50 MiB/s, unless the estate has measured its own.
const RESTORE_SECONDS_PER_GIB: u32 = 20;

/// What a recovery point is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum PointKind {
    Dump,
    BaseBackup,
    Replica,
    AutomatedBackup,
    Snapshot,
    /// An instance an earlier run brought up
    Standing,
}

impl PointKind {
    /// Returns the word for it, in outputs and JSON.
    pub(crate) const fn word(self) -> &'static str {
        match self {
            Self::Dump => "dump",
            Self::BaseBackup => "base_backup",
            Self::Replica => "replica",
            Self::AutomatedBackup => "automated_backup",
            Self::Snapshot => "snapshot",
            Self::Standing => "standing",
        }
    }

    /// Says whether it is a copy of pages: damage of a page is in it as well.
    const fn physical(self) -> bool {
        match self {
            Self::Dump => false,
            Self::BaseBackup
            | Self::Replica
            | Self::AutomatedBackup
            | Self::Snapshot
            | Self::Standing => true,
        }
    }
}

/// What of the damage must be expected in a recovery point.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Damage {
    /// It is from before the damage began
    Before,
    /// A dump from after the damage began: all its rows could be read, and wrong ones are in it
    Rows,
    /// A copy of pages from after the damage began
    Same,
}

/// Segments of a gap that are named where all recovery points are shown.
const NAMED_MAX: usize = 3;

impl Damage {
    /// Returns what is to be said of it; `None` where nothing is.
    pub(crate) const fn said(self) -> Option<&'static str> {
        match self {
            Self::Before => None,
            Self::Rows => Some("taken after the damage began: rows that were wrong are in it"),
            Self::Same => Some("carries the same damage unless proven otherwise"),
        }
    }
}

/// One recovery point.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct Point {
    /// What it is chosen by, e.g. `dump:nightly`
    pub id: String,
    pub kind: PointKind,
    pub title: String,
    /// Region of RDS it is in
    #[serde(skip_serializing_if = "Option::is_none")]
    pub region: Option<String>,
    /// Where its files are
    #[serde(skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// The instant its own data is of
    pub taken: Option<Timestamp>,
    pub age: Option<Span>,
    /// The latest instant it can be restored to, where that is another one
    pub until: Option<Timestamp>,
    /// Position in the log that belongs to it
    pub lsn: Option<Lsn>,
    pub loss: Option<Span>,
    pub bytes: Option<u64>,
    /// What its files are held against, e.g. `CRC32C`
    #[serde(skip_serializing_if = "Option::is_none")]
    pub checksums: Option<String>,
    pub forecast: Option<Span>,
    pub proved: Option<Proof>,
    /// What the last proof found to be other than it should be
    #[serde(skip_serializing_if = "Option::is_none")]
    pub disproved: Option<String>,
    pub damage: Damage,
    /// Segments of archived WAL that are missing behind it
    pub missing: Vec<String>,
    /// How far a restore from it would go; as far as its log leads now is a position or an instant, for it is longer later
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "as_text")]
    pub target: Option<RecoveryTarget>,
    /// The archives a base backup is packed in
    #[serde(skip)]
    pub packed: Vec<String>,
    pub unusable: Option<String>,
    /// What `rds.recover` is given
    #[serde(skip_serializing_if = "Option::is_none")]
    pub point: Option<RecoveryPoint>,
    #[serde(skip)]
    pub reversible: bool,
    /// The estate names it and it is not there
    #[serde(skip)]
    pub absent: bool,
}

fn as_text<S: serde::Serializer>(
    target: &Option<RecoveryTarget>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    match target {
        Some(target) => serializer.collect_str(target),
        None => serializer.serialize_none(),
    }
}

/// What is asked of the recovery points.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Asked<'a> {
    /// When the damage began; now where nobody said
    pub incident: Option<Timestamp>,
    pub now: Timestamp,
    /// Regions in which RDS is asked
    pub regions: Vec<&'a str>,
}

impl Asked<'_> {
    /// Returns what is lost by going back to an instant.
    fn loss(&self, at: Timestamp) -> Span {
        Span(since(at, self.incident.unwrap_or(self.now)))
    }

    /// Says what of the damage is in a copy that was complete at an instant.
    fn damage(&self, kind: PointKind, complete: Timestamp) -> Damage {
        match self.incident {
            Some(incident) if complete > incident && kind.physical() => Damage::Same,
            Some(incident) if complete > incident => Damage::Rows,
            Some(_) | None => Damage::Before,
        }
    }
}

/// What could not be looked at, wholly or in part: there may be better in it than what was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Unread {
    /// What it is called among recovery points, e.g. `base_backups`
    pub id: String,
    pub title: String,
    pub error: ActionError,
}

impl Unread {
    fn dumps(error: ActionError) -> Self {
        Self { id: "dumps".to_owned(), title: "the estate's dumps".to_owned(), error }
    }

    fn base_backups(error: ActionError) -> Self {
        let title = "the estate's base backups".to_owned();
        Self { id: "base_backups".to_owned(), title, error }
    }

    fn rds(region: &str, error: ActionError) -> Self {
        Self { id: format!("rds:{region}"), title: format!("RDS in {region}"), error }
    }
}

/// All recovery points, and what could not be looked at or is none.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub(crate) struct Points {
    /// Those that can be taken first, the least loss first
    pub points: Vec<Point>,
    pub remarks: Vec<String>,
    /// Told among the remarks as well
    #[serde(skip)]
    pub unread: Vec<Unread>,
}

impl Point {
    /// Says why it is not taken unless it is said that it may be; nothing where it was proved and is from before.
    pub(crate) fn doubts(&self) -> Vec<String> {
        let proof = match (&self.proved, &self.disproved) {
            (_, Some(why)) => Some(format!("its last proof failed: {why}")),
            (None, None) => Some("no restore ever proved it".to_owned()),
            (Some(_), None) => None,
        };
        // What nobody could read now may be read by then, and lead beyond the damage.
        let open = self.kind == PointKind::BaseBackup
            && self.target == Some(RecoveryTarget::Latest)
            && self.lsn.is_none();
        let open = open.then(|| {
            "how far its WAL leads is not known: a restore goes as far as it does by then"
                .to_owned()
        });
        self.damage.said().map(str::to_owned).into_iter().chain(open).chain(proof).collect()
    }

    /// Returns what its files are held against, how far it can be restored and what is missing behind it, a line each.
    pub(crate) fn reaches(&self) -> Vec<String> {
        let until = self.until.map(|until| {
            let lsn = self.lsn.map(|lsn| format!(", {lsn}")).unwrap_or_default();
            let log = if self.kind == PointKind::BaseBackup { "its WAL" } else { "it" };
            format!("{log} reaches {}{lsn}", minute(until))
        });
        let missing = (!self.missing.is_empty()).then(|| {
            let named = self.missing.iter().take(NAMED_MAX).cloned().collect::<Vec<_>>().join(", ");
            match self.missing.len().saturating_sub(NAMED_MAX) {
                0 => format!("WAL missing: {named}"),
                more => format!("WAL missing: {named} and {more} more"),
            }
        });
        let checksums = self.checksums.as_ref().map(|kind| format!("checksums: {kind}"));
        checksums.into_iter().chain(until).chain(missing).collect()
    }

    /// Returns what is known of it besides its loss and how long it takes, for a table that has no columns for it.
    pub(crate) fn facts(&self) -> Vec<String> {
        let age = self.age.map(|age| format!("{} old", coarse(age)));
        let size = self.bytes.map(bytes);
        let proved = self.proved.as_ref().map(|proof| {
            let took = proof.took.map(|took| format!(", which took {}", coarse(took)));
            // Of what is written all the time nobody has restored what came later.
            let word = match self.kind {
                PointKind::AutomatedBackup => "restored",
                PointKind::Dump
                | PointKind::BaseBackup
                | PointKind::Replica
                | PointKind::Snapshot
                | PointKind::Standing => "proved",
            };
            format!("last {word} at {}{}", minute(proof.at), took.unwrap_or_default())
        });
        age.into_iter().chain(size).chain(self.reaches()).chain(proved).collect()
    }
}

/// Returns an instant to the minute, as tables show it.
fn minute(at: Timestamp) -> String {
    at.strftime("%Y-%m-%d %H:%M UTC").to_string()
}

/// Returns a length of time without what nobody needs at a glance.
fn coarse(length: Span) -> Span {
    const MINUTE: u64 = 60;
    match length.duration().as_secs() {
        seconds @ 0..MINUTE => Span::seconds(seconds),
        seconds => Span::seconds(seconds / MINUTE * MINUTE),
    }
}

/// Looks at everything the estate says the database can be restored from.
///
/// # Errors
/// The estate has no database, or nothing of what it names could be looked at.
pub(crate) async fn list(clients: &Clients, asked: &Asked<'_>) -> Result<Points, ActionError> {
    let database = crate::clients::postgres::database(clients)?;
    let mut found = Points::default();
    let mut failures = Vec::new();
    let mut take = |part: Result<Points, Unread>| match part {
        Ok(mut part) => {
            found.points.append(&mut part.points);
            found.remarks.append(&mut part.remarks);
            found.unread.append(&mut part.unread);
        }
        Err(unread) => failures.push(unread),
    };
    if database.dumps.is_some() {
        take(own::dumps(clients, database, asked).await.map_err(Unread::dumps));
    }
    if database.base_backups.is_some() {
        take(own::base_backups(clients, database, asked).await.map_err(Unread::base_backups));
    }
    for region in asked.regions.iter().filter(|_| database.on_rds()) {
        let points = rds::points(clients, region, asked).await;
        take(points.map_err(|error| Unread::rds(region, error)));
    }
    if found.points.is_empty()
        && let Some(unread) = failures.first()
    {
        return Err(unread.error.clone());
    }
    let said = failures.iter().map(|unread| format!("not looked at: {}", unread.error));
    found.remarks.extend(said);
    // Where this identity may not look it never may: that is known, and waiting for it helps nobody.
    failures.retain(|unread| unread.error.class != FailureClass::Denied);
    found.unread.append(&mut failures);
    if found.points.is_empty() && found.remarks.is_empty() {
        let message = "the estate names nothing the database could be restored from";
        return Err(ActionError::unchanged(FailureClass::NotFound, message).hint(
            "name `dumps` or `base_backups` under `database` in the estate file; `phoenix-dr init` shows how",
        ));
    }
    // Last: what no step takes is no reason to say that something was found.
    if let Some(replica) = database.replica.as_ref().filter(|_| !database.on_rds()) {
        let mut replica = replica::point(clients, replica, asked).await;
        found.points.append(&mut replica.points);
        found.remarks.append(&mut replica.remarks);
    }
    for point in found.points.iter_mut().filter(|point| point.damage.said().is_some()) {
        // How much of it is damaged nobody knows, so that nothing is known of what would be lost.
        point.loss = None;
    }
    found.points.sort_by_key(|point| {
        let loss = point.loss.map_or(std::time::Duration::MAX, Span::duration);
        (point.unusable.is_some(), !point.doubts().is_empty(), loss, point.forecast)
    });
    Ok(found)
}

/// Returns how long files of this size take.
fn forecast(database: &Database, bytes: u64) -> Span {
    let per_gib = database.restore_seconds_per_gib.unwrap_or(RESTORE_SECONDS_PER_GIB);
    Span::seconds((bytes.saturating_mul(per_gib.into()) >> 30).max(1))
}
