//! The lease: the right to act on an estate, kept in one object of the surviving region's bucket.
//!
//! The object is never deleted, so its epoch only grows. A holder trusts the lease until [`MARGIN`] before its
//! end, everyone else lets it stand until [`MARGIN`] after it: clocks may differ by twice that. Every write is
//! conditional on the version last read, so of several writers one succeeds, and a write whose answer was lost is
//! recognised by its session when the object is read again.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures::FutureExt as _;
use futures::future::BoxFuture;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::lock::Holder;
use super::names::file_name;
use crate::clients::lease_store::{Condition, Found, GetError, LeaseStore, PutError};
use crate::clock::Clock;
use crate::engine::ports::{Lease, LeaseGrant, LeaseRefusal};
use crate::ids::{RunId, StepId};

/// How long a lease lasts unless more was asked for.
const TTL: Duration = Duration::from_secs(60);
/// Difference of clocks allowed for, on either side.
const MARGIN: Duration = Duration::from_secs(10);
/// Writes tried for one question.
const TRIES_MAX: u32 = 6;
/// No try begins later than this after the question: a person is waiting, or a step.
const PATIENCE: Duration = Duration::from_secs(20);
const PAUSE_FIRST: Duration = Duration::from_millis(200);
/// Format of the object.
const FORMAT: u32 = 1;

/// Returns the key of an estate's lease below the prefix of its state bucket.
pub(crate) fn lease_key(prefix: &str, estate: &str) -> String {
    format!("{prefix}/leases/{}.json", file_name(estate))
}

/// What the object says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Document {
    format: u32,
    estate: String,
    run: RunId,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    step: Option<StepId>,
    who: String,
    host: String,
    pid: u32,
    /// Tells this taking of the lease from every other, also of the same run
    session: String,
    since: Timestamp,
    epoch: u64,
    expires_at: Timestamp,
    /// Given back; the object stays so that the epoch does
    released: bool,
}

impl Document {
    /// Says whether the holder itself may rely on it until then.
    fn covers(&self, until: Timestamp) -> bool {
        !self.released && later(until, MARGIN) <= self.expires_at
    }

    /// Says whether nobody can be relying on it any more.
    fn is_over(&self, now: Timestamp) -> bool {
        self.released || now > later(self.expires_at, MARGIN)
    }

    fn text(&self) -> String {
        let holder = Holder {
            run: self.run.clone(),
            step: self.step.clone(),
            who: self.who.clone(),
            host: self.host.clone(),
            pid: self.pid,
            since: self.since,
        };
        let until = self.expires_at.strftime("%Y-%m-%d %H:%M:%S");
        let state = if self.released { "given back" } else { "lease" };
        format!("{holder}; {state} {} until {until} UTC", self.epoch)
    }
}

#[derive(Debug)]
struct Held {
    etag: String,
    document: Document,
}

async fn read(store: &LeaseStore, estate: &str) -> Result<Option<Held>, GetError> {
    let Some(Found { etag, body }) = store.get().await? else { return Ok(None) };
    let place = store.place();
    let not_a_lease = |why: &dyn std::fmt::Display| format!("{place} is not a lease: {why}");
    let document: Document = serde_json::from_slice(&body).map_err(|why| not_a_lease(&why))?;
    if document.format != FORMAT {
        let why = format!("its format {} is another version's", document.format);
        return Err(not_a_lease(&why).into());
    }
    if document.estate != estate {
        return Err(format!("{place} is the lease of estate `{}`", document.estate).into());
    }
    Ok(Some(Held { etag, document }))
}

/// Looks at an estate's lease without taking it: returns who has it, `None` when nobody has.
pub(crate) async fn look(
    store: &LeaseStore,
    estate: &str,
    now: Timestamp,
) -> Result<Option<(RunId, String)>, GetError> {
    let held = read(store, estate).await?.map(|held| held.document);
    let stands = held.filter(|document| !document.is_over(now));
    Ok(stands.map(|document| (document.run.clone(), document.text())))
}

/// What is proved of the right to act, told whenever it changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Proof {
    /// Nobody else acts before this instant
    Until(Timestamp),
    /// A person vouches for being alone
    Vouched,
}

/// Whoever lets changes through; told before the answer to whoever asked for the proof.
pub(crate) type Told = Box<dyn Fn(Proof) + Send + Sync>;

/// The lease of one run in a bucket.
pub(crate) struct SharedLease {
    store: LeaseStore,
    clock: Arc<dyn Clock>,
    estate: String,
    holder: Holder,
    session: String,
    told: Told,
    step: Mutex<Option<StepId>>,
    /// Locked over a whole exchange: steps that ask at the same time share one renewal
    held: tokio::sync::Mutex<Option<Held>>,
}

impl SharedLease {
    /// Returns the lease of a run, not taken yet.
    ///
    /// The caller holds the run's local lock: a lease this run took from this host before is taken again at once.
    /// `told` hears at once that nothing is proved yet.
    pub(crate) fn new(
        store: LeaseStore,
        clock: Arc<dyn Clock>,
        estate: &str,
        holder: Holder,
        told: Told,
    ) -> Self {
        told(Proof::Until(Timestamp::MIN));
        Self {
            told,
            store,
            clock,
            estate: estate.to_owned(),
            holder,
            session: ulid::Ulid::generate().to_string(),
            step: Mutex::default(),
            held: tokio::sync::Mutex::default(),
        }
    }

    fn document(&self, epoch: u64, since: Timestamp, until: Timestamp) -> Document {
        let step = self.step.lock().unwrap_or_else(PoisonError::into_inner).clone();
        Document {
            format: FORMAT,
            estate: self.estate.clone(),
            run: self.holder.run.clone(),
            step,
            who: self.holder.who.clone(),
            host: self.holder.host.clone(),
            pid: self.holder.pid,
            session: self.session.clone(),
            since,
            epoch,
            expires_at: later(self.clock.now(), TTL).max(later(until, MARGIN)),
            released: false,
        }
    }

    /// Says whether an object was written by an earlier process of this run on this host.
    fn is_predecessor(&self, document: &Document) -> bool {
        document.run == self.holder.run && document.host == self.holder.host
    }

    async fn read(&self) -> Result<Option<Held>, String> {
        Ok(read(&self.store, &self.estate).await?)
    }

    async fn write(&self, condition: &Condition, document: &Document) -> Result<String, PutError> {
        let body = serde_json::to_vec_pretty(document);
        self.store.put(condition, body.expect("a document of texts and numbers is JSON")).await
    }

    async fn pause(&self, round: u32) {
        self.clock.sleep(PAUSE_FIRST * 2_u32.pow(round)).await;
    }

    async fn take_it(&self) -> Result<LeaseGrant, LeaseRefusal> {
        let mut held = self.held.lock().await;
        let mut trouble = "other writers were faster each time".to_owned();
        let last_try = later(self.clock.now(), PATIENCE);
        for round in (0..TRIES_MAX).take_while(|_| self.clock.now() <= last_try) {
            let found = match self.read().await {
                Ok(found) => found,
                // Once more and no more: a bucket out of reach takes the whole limit of each call.
                Err(_) if round == 0 => {
                    self.pause(round).await;
                    continue;
                }
                Err(why) => return Err(LeaseRefusal::Unproved { why }),
            };
            let now = self.clock.now();
            let (condition, epoch) = match found {
                None => (Condition::Absent, 1),
                // Written before, and the answer was lost.
                Some(found) if found.document.session == self.session => {
                    if found.document.covers(now) {
                        let epoch = found.document.epoch;
                        self.tell(&found);
                        *held = Some(found);
                        return Ok(self.grant(epoch));
                    }
                    (Condition::Unchanged { etag: found.etag }, found.document.epoch)
                }
                Some(Held { etag, document })
                    if document.is_over(now) || self.is_predecessor(&document) =>
                {
                    (Condition::Unchanged { etag }, document.epoch.saturating_add(1))
                }
                Some(found) => return Err(LeaseRefusal::Held { holder: found.document.text() }),
            };
            let document = self.document(epoch, now, now);
            match self.write(&condition, &document).await {
                Ok(etag) => {
                    let taken = Held { etag, document };
                    self.tell(&taken);
                    *held = Some(taken);
                    return Ok(self.grant(epoch));
                }
                Err(PutError::Refused(why)) => return Err(LeaseRefusal::Unproved { why }),
                // Read again: somebody else wrote, or this write was carried out and its answer lost.
                Err(PutError::NotMet) => {}
                Err(PutError::Conflict) => self.pause(round).await,
                Err(PutError::Unknown(why)) => {
                    trouble = why;
                    self.pause(round).await;
                }
            }
        }
        Err(LeaseRefusal::Unproved { why: trouble })
    }

    fn grant(&self, epoch: u64) -> LeaseGrant {
        LeaseGrant { epoch, place: self.store.place().to_owned() }
    }

    fn tell(&self, held: &Held) {
        let end = held.document.expires_at.checked_sub(MARGIN).unwrap_or(Timestamp::MIN);
        (self.told)(Proof::Until(end));
    }

    /// A proof holds for now, too, when the question was asked some time ago.
    fn proved(&self, held: &Held, until: Timestamp) -> bool {
        held.document.covers(until.max(self.clock.now()))
    }

    async fn assure_it(&self, until: Timestamp) -> Result<(), LeaseRefusal> {
        let mut guard = self.held.lock().await;
        // In place, not taken out: whoever asks may stop waiting, and the lease must not be forgotten with them.
        let Some(held) = guard.as_mut() else {
            return Err(LeaseRefusal::Unproved { why: "the lease was not taken".to_owned() });
        };
        let fresh = later(self.clock.now(), TTL / 2) <= held.document.expires_at;
        if fresh && self.proved(held, until) {
            return Ok(());
        }
        let answer = self.renew(held, until).await;
        if matches!(answer, Err(LeaseRefusal::Lost { .. })) {
            (self.told)(Proof::Until(Timestamp::MIN));
            *guard = None;
        }
        answer
    }

    async fn renew(&self, held: &mut Held, until: Timestamp) -> Result<(), LeaseRefusal> {
        let unproved = |why: String| Err(LeaseRefusal::Unproved { why });
        let mut trouble = String::new();
        let last_try = later(self.clock.now(), PATIENCE);
        for round in (0..TRIES_MAX).take_while(|_| self.clock.now() <= last_try) {
            let document = self.document(held.document.epoch, held.document.since, until);
            let condition = Condition::Unchanged { etag: held.etag.clone() };
            match self.write(&condition, &document).await {
                Ok(etag) => {
                    *held = Held { etag, document };
                    self.tell(held);
                    if self.proved(held, until) {
                        return Ok(());
                    }
                    trouble = "renewing took longer than the lease lasts".to_owned();
                    continue;
                }
                // Somebody wrote; only the object says who.
                Err(PutError::NotMet) => match self.read().await {
                    Ok(Some(found)) if self.is_mine(&found) => {
                        self.tell(&found);
                        *held = found;
                    }
                    Ok(found) => return Err(lost(found)),
                    Err(why) => return unproved(why),
                },
                // Until its end nobody else may take it, whether this write was carried out or not.
                Err(PutError::Refused(why)) => {
                    return if self.proved(held, until) { Ok(()) } else { unproved(why) };
                }
                Err(PutError::Conflict) => {
                    trouble = "other writes were under way each time".to_owned();
                    self.pause(round).await;
                }
                Err(PutError::Unknown(why)) => {
                    trouble = why;
                    if !self.proved(held, until) {
                        self.pause(round).await;
                    }
                }
            }
            if self.proved(held, until) {
                return Ok(());
            }
        }
        unproved(trouble)
    }

    fn is_mine(&self, found: &Held) -> bool {
        found.document.session == self.session && !found.document.released
    }

    async fn release_it(&self) {
        let Some(mut held) = self.held.lock().await.take() else { return };
        for round in 0..TRIES_MAX {
            let document = Document { released: true, ..held.document.clone() };
            let condition = Condition::Unchanged { etag: held.etag.clone() };
            match self.write(&condition, &document).await {
                // What cannot be given back ends by itself.
                Ok(_) | Err(PutError::Refused(_)) => return,
                Err(PutError::NotMet) => match self.read().await {
                    Ok(Some(found)) if self.is_mine(&found) => held = found,
                    Ok(_) | Err(_) => return,
                },
                Err(PutError::Conflict | PutError::Unknown(_)) => self.pause(round).await,
            }
        }
    }
}

/// Adds to an instant; objects are written by others, and their instants may be anything.
fn later(instant: Timestamp, length: Duration) -> Timestamp {
    instant.checked_add(length).unwrap_or(Timestamp::MAX)
}

fn lost(found: Option<Held>) -> LeaseRefusal {
    let holder = found.map(|found| found.document.text());
    let nobody = || "nobody: its object was deleted".to_owned();
    LeaseRefusal::Lost { holder: holder.unwrap_or_else(nobody) }
}

impl Lease for SharedLease {
    fn take(&self) -> BoxFuture<'_, Result<LeaseGrant, LeaseRefusal>> {
        self.take_it().boxed()
    }

    fn assure(&self, until: Timestamp) -> BoxFuture<'_, Result<(), LeaseRefusal>> {
        self.assure_it(until).boxed()
    }

    fn vouch(&self) {
        (self.told)(Proof::Vouched);
    }

    fn at_step(&self, step: Option<&StepId>) {
        *self.step.lock().unwrap_or_else(PoisonError::into_inner) = step.cloned();
    }

    fn release(&self) -> BoxFuture<'_, ()> {
        self.release_it().boxed()
    }
}

/// The lease of an estate without shared state: the estate's lock on this machine is all there is.
///
/// The caller holds that lock; nothing is proved about other machines, and the screens say so.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct LocalLease;

impl Lease for LocalLease {
    fn take(&self) -> BoxFuture<'_, Result<LeaseGrant, LeaseRefusal>> {
        // Holders are not counted here.
        let grant = LeaseGrant { epoch: 0, place: "this machine only".to_owned() };
        std::future::ready(Ok(grant)).boxed()
    }

    fn assure(&self, _until: Timestamp) -> BoxFuture<'_, Result<(), LeaseRefusal>> {
        std::future::ready(Ok(())).boxed()
    }

    fn vouch(&self) {}

    fn at_step(&self, _step: Option<&StepId>) {}

    fn release(&self) -> BoxFuture<'_, ()> {
        std::future::ready(()).boxed()
    }
}

#[cfg(test)]
#[path = "lease_tests.rs"]
mod tests;
