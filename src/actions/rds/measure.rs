//! Measuring recovery points: what each loses, how long it takes, and whether an earlier run has recovered already.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;

use super::instance::{Instance, Phase, find};
use super::place::{place, prerequisites};
use super::record::OnRecord;
use super::source::{self, Backup, Snapshots};
use super::weigh::{
    backup_candidate, promoted_before, replica_candidate, restored_before, restored_candidate,
    snapshot_candidate,
};
use super::{database, proof};
use crate::clients::Clients;
use crate::clock::since;
use crate::estate::types::DatabaseInstance;
use crate::outcome::{ActionError, Candidate, FailureClass};
use crate::runbook::catalogue::actions::RecoveryPoint;
use crate::span::Span;

/// Looks at one thing before it counts as unreadable: throttling and a lost answer pass, a lossier recovery does not.
const TRIES_MAX: u32 = 4;
const PAUSE: Duration = Duration::from_secs(1);

/// What is there to recover from.
pub(in crate::actions) struct Measured {
    /// Usable ones first, least loss first
    pub candidates: Vec<Candidate>,
    /// Brought up by an earlier run, and nothing has newer data than that
    pub recovered: Option<Recovered>,
    /// The earliest instant the automated backup can be restored to
    pub earliest: Option<Timestamp>,
    /// Snapshots besides the one among the candidates
    pub further: Vec<Candidate>,
    /// What is known of backups and snapshots besides, by the candidates' ids
    pub known: BTreeMap<String, Known>,
    pub evidence: Vec<String>,
}

/// What RDS says of a backup or a snapshot besides what makes it a candidate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::actions) struct Known {
    /// Size of its volume
    pub allocated_gib: u32,
    /// Its ARN, or its name where it has none
    pub arn: String,
    pub on_record: OnRecord,
}

/// An instance an earlier run brought up.
#[derive(Debug, Clone)]
pub(in crate::actions) struct Recovered {
    pub point: RecoveryPoint,
    /// Up to when it has the lost database's data; `None` where nobody knows
    pub at: Option<Timestamp>,
    pub line: String,
}

type Found<T> = Result<Option<T>, ActionError>;

/// What the looks found.
struct Looks {
    replica: Found<Instance>,
    restored: Found<Instance>,
    backup: Found<Backup>,
    snapshots: Result<Snapshots, ActionError>,
}

impl Looks {
    /// Returns what is known of backups and snapshots besides what makes them candidates.
    fn known(&self) -> BTreeMap<String, Known> {
        let backup = self.backup.as_ref().ok().and_then(Option::as_ref).map(|found| {
            let arn = found.own_arn.as_ref().unwrap_or(&found.arn).clone();
            let (allocated_gib, on_record) = (found.allocated_gib, found.on_record.clone());
            ("backup".to_owned(), Known { allocated_gib, arn, on_record })
        });
        let snapshots = self.snapshots.as_ref().ok().into_iter().flat_map(|found| {
            let first = found.first.iter().map(|found| ("snapshot".to_owned(), found));
            let others = found.others.iter().map(|found| (further_id(&found.id), found));
            first.chain(others).map(|(id, found)| {
                let arn = found.arn.as_ref().unwrap_or(&found.id).clone();
                let (allocated_gib, on_record) = (found.allocated_gib, found.on_record.clone());
                (id, Known { allocated_gib, arn, on_record })
            })
        });
        backup.into_iter().chain(snapshots).collect()
    }
}

/// What is asked of the recovery points of a region.
#[derive(Debug, Clone, Copy, Default)]
pub(in crate::actions) struct Sought<'a> {
    /// The one that was named beforehand
    pub wanted: Option<&'a str>,
    /// When the database was damaged, where it was
    pub damaged: Option<Timestamp>,
}

/// Reads everything at once and measures each candidate.
///
/// # Errors
/// Nothing can be read; or the replica, where it may be wanted, answers and this program is not let in: a lossier
/// recovery must not be taken for that.
pub(in crate::actions) async fn measure(
    clients: &Clients,
    region: &str,
    sought: Sought<'_>,
) -> Result<Measured, ActionError> {
    let database = database(clients)?;
    let named = database.replica.as_ref().filter(|replica| replica.region == region);
    let looks = look(clients, region, named, sought.damaged).await?;
    let earliest = looks.backup.as_ref().ok().and_then(|found| found.as_ref()?.earliest);
    let mut measured = Measured {
        candidates: Vec::new(),
        recovered: None,
        earliest,
        further: Vec::new(),
        known: looks.known(),
        evidence: Vec::new(),
    };
    let standing = latest_standing(&looks);
    match &standing {
        Some(found) if is_newest(found, &looks) => measured.recovered = standing.clone(),
        Some(found) => measured.evidence.push(format!(
            "{}; it is not taken for this recovery: newer data exists, or nobody can tell",
            found.line
        )),
        None => {}
    }
    let now = clients.clock.now();
    if let Some(named) = named {
        let seen = replica_candidate(clients, region, &named.id, &looks.replica).await;
        let may_be_wanted = sought.wanted.is_none_or(|wanted| wanted == seen.candidate.id);
        if let Some(error) = seen.barred.filter(|_| may_be_wanted && measured.recovered.is_none()) {
            return Err(error);
        }
        measured.evidence.push(seen.line);
        measured.candidates.push(seen.candidate);
    }
    measured.candidates.extend(restored_candidate(&looks.restored, now));
    let (unusable, unsure) = place_of_restores(clients, region, &looks.restored).await;
    measured.evidence.extend(unsure);
    let unusable = unusable.as_deref();
    let backup = backup_candidate((database, region), looks.backup.clone(), unusable, now);
    measured.candidates.push(backup);
    let first = looks.snapshots.clone().map(|found| found.first);
    measured.candidates.push(snapshot_candidate(database, first, unusable, now));
    let others = looks.snapshots.iter().flat_map(|found| found.others.clone());
    measured.further.extend(others.map(|found| Candidate {
        id: further_id(&found.id),
        ..snapshot_candidate(database, Ok(Some(found)), unusable, now)
    }));
    if measured.recovered.is_none() {
        used_elsewhere(clients, &looks, &mut measured).await;
    }
    measured.candidates.sort_by_key(|candidate| {
        let loss = candidate.loss.map_or(Duration::MAX, Span::duration);
        (candidate.unusable.is_some(), loss, candidate.forecast)
    });
    Ok(measured)
}

/// Returns what a snapshot is chosen by that is not the first one.
fn further_id(snapshot: &str) -> String {
    format!("snapshot:{snapshot}")
}

/// Looks at everything. One look that fails for good leaves the other candidates; where nothing can be read, nothing is
/// known.
async fn look(
    clients: &Clients,
    region: &str,
    named: Option<&DatabaseInstance>,
    damaged: Option<Timestamp>,
) -> Result<Looks, ActionError> {
    let target = &database(clients)?.recovered.id;
    let (replica, restored, backup, snapshots) = futures::join!(
        patiently(clients, || find_named(clients, region, named)),
        patiently(clients, || find(clients, region, target)),
        patiently(clients, || source::backup(clients, region)),
        patiently(clients, || source::snapshots(clients, region, damaged)),
    );
    let made = 3 + usize::from(named.is_some());
    let failures: Vec<&ActionError> = [
        replica.as_ref().err(),
        restored.as_ref().err(),
        backup.as_ref().err(),
        snapshots.as_ref().err(),
    ]
    .into_iter()
    .flatten()
    .collect();
    let expired = failures.iter().find(|error| error.class == FailureClass::Credentials);
    if let Some(error) = expired.or_else(|| failures.first().filter(|_| failures.len() == made)) {
        return Err((*error).clone());
    }
    Ok(Looks { replica, restored, backup, snapshots })
}

/// Looks again where a look failed in a way that passes.
pub(super) async fn patiently<T, F>(
    clients: &Clients,
    look: impl Fn() -> F,
) -> Result<T, ActionError>
where
    F: Future<Output = Result<T, ActionError>>,
{
    patiently_for(clients, Duration::MAX, look).await
}

/// Looks again where a look failed in a way that passes, as long as less than `limit` has gone by.
pub(super) async fn patiently_for<T, F>(
    clients: &Clients,
    limit: Duration,
    look: impl Fn() -> F,
) -> Result<T, ActionError>
where
    F: Future<Output = Result<T, ActionError>>,
{
    let (began, mut tries) = (clients.clock.now(), 1);
    loop {
        // Each SDK call is a large future: side by side on one stack they would not fit a worker thread's.
        match Box::pin(look()).await {
            Err(error)
                if error.class.retryable()
                    && tries < TRIES_MAX
                    && since(began, clients.clock.now()) < limit =>
            {
                clients.clock.sleep(PAUSE * tries).await;
                tries += 1;
            }
            done => return done,
        }
    }
}

async fn find_named(
    clients: &Clients,
    region: &str,
    named: Option<&DatabaseInstance>,
) -> Found<Instance> {
    match named {
        Some(named) => find(clients, region, &named.id).await,
        None => Ok(None),
    }
}

/// Says whether an instance an earlier run brought up has everything there is: then nothing is left to recover.
///
/// Only what was read counts: a replica that still follows, and whatever could not be read, may have more.
fn is_newest(standing: &Recovered, looks: &Looks) -> bool {
    let (Ok(replica), Ok(_)) = (&looks.replica, &looks.restored) else { return false };
    let (Ok(backup), Ok(snapshots)) = (&looks.backup, &looks.snapshots) else { return false };
    let follows = replica.as_ref().is_some_and(|replica| replica.source.is_some());
    let backup = backup.as_ref().and_then(|found| found.latest);
    let newest = backup.max(snapshots.first.as_ref().map(|found| found.taken));
    !follows && standing.at.is_some_and(|at| newest.is_none_or(|newest| at >= newest))
}

/// Returns the instance an earlier run brought up last. RDS may still be changing it, to protect it for example.
fn latest_standing(looks: &Looks) -> Option<Recovered> {
    let usable = |found: &&Instance| found.source.is_none() && found.phase() != Phase::Bad;
    let replica = looks.replica.as_ref().ok().and_then(Option::as_ref).filter(usable);
    let restored = looks.restored.as_ref().ok().and_then(Option::as_ref).filter(usable);
    [replica.and_then(promoted_before), restored.and_then(restored_before)]
        .into_iter()
        .flatten()
        .max_by_key(|recovered| recovered.at)
}

/// Returns why nothing can be restored, where that is known beforehand, and what could not be looked at.
async fn place_of_restores(
    clients: &Clients,
    region: &str,
    restored: &Found<Instance>,
) -> (Option<String>, Vec<String>) {
    if let Ok(Some(found)) = restored {
        let why = format!("{} exists already: delete it, or name another instance", found.id);
        return (Some(why), Vec::new());
    }
    let looked = match place(clients, region) {
        Ok(place) => prerequisites(clients, region, &place).await,
        Err(error) => Err(error),
    };
    match looked {
        Ok(unsure) => (None, unsure),
        Err(error) => (Some(error.message), Vec::new()),
    }
}

/// Says where the application is seen at work on an instance an earlier run brought up. What it has written there is in
/// no other recovery point, so the loss of taking another one is more than its age: nobody can tell how much.
async fn used_elsewhere(clients: &Clients, looks: &Looks, measured: &mut Measured) {
    let standing = [&looks.replica, &looks.restored].map(|look| look.as_ref().ok()?.as_ref());
    let standing = standing.into_iter().flatten();
    for found in standing.filter(|found| found.source.is_none() && found.run().is_some()) {
        // An instance that does not answer has no sessions to lose.
        let Ok(usage) = proof::usage(clients, found).await else { continue };
        if usage.sessions == 0 {
            continue;
        }
        measured.evidence.push(format!(
            "{} has {} sessions of the application: what they write there is in no other recovery point",
            found.id, usage.sessions
        ));
        let others = |candidate: &&mut Candidate| {
            let point = RecoveryPoint::of(candidate);
            !point.is_ok_and(|point| point.recovered && point.target == found.id)
        };
        let all = measured.candidates.iter_mut().chain(&mut measured.further);
        all.filter(others).for_each(|other| other.loss = None);
    }
}
