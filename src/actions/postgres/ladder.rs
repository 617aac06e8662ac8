//! What keeps a database from taking writes when PostgreSQL itself cannot be reached, best first: a security group that
//! lets nothing in, the stop of the instance, the end of its writers. Only what is left then is gone without.

use std::time::Duration;

use serde_json::{Map, Value, json};

use super::fence::unfenced;
use super::writers::{self, Writers};
use crate::actions::rds::halt::{self, Halted, Held};
use crate::by_hand;
use crate::clients::Clients;
use crate::clock::within;
use crate::engine::ports::{Call, Image, Observation, Performed};
use crate::outcome::{ActionError, Difference, Effect, FailureClass, Obligation};
use crate::runbook::catalogue::actions::PostgresFence;

/// A region that is lost must not hold up the screen: each service is looked at for so long.
const LOOK_LIMIT: Duration = Duration::from_secs(4);

/// One way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Rung {
    CutOff,
    Stop,
    Writers,
}

impl Rung {
    const ALL: [Self; 3] = [Self::CutOff, Self::Stop, Self::Writers];

    const fn name(self) -> &'static str {
        match self {
            Self::CutOff => "a security group without ingress",
            Self::Stop => "stopping the instance",
            Self::Writers => "ending its writers",
        }
    }

    /// Says who may write where a way is in place and was not brought to its end.
    const fn left_open(self) -> &'static str {
        match self {
            Self::CutOff => {
                "nothing new connects, but sessions from before its security group can still write:"
            }
            Self::Stop => "it was told to stop, and was not seen to:",
            Self::Writers => "its writers were told to end, and were not seen to:",
        }
    }
}

/// Whether the end of its writers counts as a way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Writing {
    Counts,
    /// What takes the database's place asks for it closed, and is not content with nobody known to write
    IsNoFence,
}

/// What the lost region still shows.
struct Found {
    instance: Result<Halted, String>,
    writers: Result<Writers, String>,
    group: Option<String>,
    writing: Writing,
}

/// No way is open.
pub(super) struct Closed {
    /// Why each of them is closed, a line each
    pub why: Vec<String>,
    /// What the region still shows, where it shows anything
    pub live: Option<Value>,
}

/// Looks at what is left of the region.
pub(super) async fn observe(
    clients: &Clients,
    with: &PostgresFence,
    why: &str,
    writing: Writing,
) -> Result<Observation, Closed> {
    let found = Found { writing, ..look(clients, with).await };
    let whole = found.whole();
    let Some(rung) = whole.or(found.open(clients, with).first().copied()) else {
        let closed = |rung: &Rung| {
            let why = found.closed(clients, with, *rung)?;
            Some(format!("{}: {why}", rung.name()))
        };
        let why = Rung::ALL.iter().filter_map(closed).collect();
        let blind = found.instance.is_err() && found.writers.is_err();
        return Err(Closed { why, live: (!blind).then(|| found.shape()) });
    };
    let live = found.shape();
    let mut seen = Observation::new(live.clone(), found.fenced_by(rung));
    seen.satisfied = whole.is_some();
    seen.under_way = whole.is_none() && found.begun() == Some(rung);
    seen.evidence = vec![
        format!("PostgreSQL on {} cannot be made to refuse writes: {why}", with.instance),
        format!("it can be kept from taking them by {}", rung.name()),
    ];
    if !seen.satisfied {
        seen.differences = vec![found.difference(with, rung)];
        seen.commands = found.commands(with, rung);
    }
    Ok(seen)
}

/// Says whether a state is one of this file's.
pub(super) fn is_shape(state: &Value) -> bool {
    state.get("instance").is_some() || state.get("writers").is_some()
}

async fn look(clients: &Clients, with: &PostgresFence) -> Found {
    let database = clients.estate.database.as_ref();
    let group = database.and_then(|database| {
        let primary = &database.primary;
        primary.fence_security_group.clone().filter(|_| primary.id == with.instance)
    });
    let clock = &*clients.clock;
    let (instance, writers) = futures::join!(
        within(clock, LOOK_LIMIT, Box::pin(halt::look(clients, &with.region, &with.instance))),
        within(clock, LOOK_LIMIT, Box::pin(writers::look(clients, &with.region))),
    );
    let said = |error: ActionError| error.message;
    Found {
        instance: instance.map_err(|late| late.to_string()).and_then(|found| found.map_err(said)),
        writers: writers.map_err(|late| late.to_string()).and_then(|found| found.map_err(said)),
        group,
        writing: Writing::Counts,
    }
}

impl Found {
    /// Returns why a way is closed; `None` when it is open.
    fn closed(&self, clients: &Clients, with: &PostgresFence, rung: Rung) -> Option<String> {
        if let Some(why) = clients.in_vain.why(&vain(with, rung)) {
            return Some(why);
        }
        match (rung, &self.instance, &self.writers) {
            (Rung::CutOff | Rung::Stop, Err(why), _) | (Rung::Writers, _, Err(why)) => {
                Some(why.clone())
            }
            (Rung::CutOff, Ok(_), _) if self.group.is_none() => {
                Some("the estate names no `database.primary.fence_security_group`".to_owned())
            }
            (Rung::Stop, Ok(found), _) if found.replicas > 0 && !found.stops() => Some(format!(
                "RDS stops no instance that has replicas, and it has {}",
                found.replicas
            )),
            (Rung::Writers, _, Ok(_)) if self.writing == Writing::IsNoFence => Some(
                "whoever else reaches it writes, and nothing takes its place before it is closed"
                    .to_owned(),
            ),
            (Rung::Writers, _, Ok(writers)) if writers.values().all(|replicas| *replicas == 0) => {
                Some(
                    "none of the application's writers has pods there, or the estate names none"
                        .to_owned(),
                )
            }
            (Rung::CutOff | Rung::Stop, Ok(_), _) | (Rung::Writers, _, Ok(_)) => None,
        }
    }

    /// Returns the ways to go, best first: one that was begun and not tried in vain comes before all others.
    fn open(&self, clients: &Clients, with: &PostgresFence) -> Vec<Rung> {
        let is_open = |rung: &Rung| self.closed(clients, with, *rung).is_none();
        let begun = self.begun().filter(is_open);
        let others = Rung::ALL.into_iter().filter(|rung| Some(*rung) != begun && is_open(rung));
        begun.into_iter().chain(others).collect()
    }

    /// Returns the way that is in place, with nothing left to be done.
    fn whole(&self) -> Option<Rung> {
        let instance = self.instance.as_ref().ok()?;
        // That the known writers are gone is no fence.
        let mut fences = [Rung::CutOff, Rung::Stop].into_iter();
        fences.find(|rung| {
            // What was connected before is not ended by the group alone.
            let ended = *rung == Rung::Stop || instance.cut_off;
            ended && self.shown(*rung) == Some(true)
        })
    }

    /// Returns the way that was begun and not brought to its end.
    fn begun(&self) -> Option<Rung> {
        let (instance, group) = (self.instance.as_ref().ok()?, self.group.as_ref());
        if instance.stops() {
            return Some(Rung::Stop);
        }
        group.filter(|group| instance.groups == [group.as_str()]).map(|_| Rung::CutOff)
    }

    /// Says whether what a way brings about is there to be seen; `None` where nothing could be read.
    fn shown(&self, rung: Rung) -> Option<bool> {
        match (rung, &self.instance, &self.writers) {
            (Rung::CutOff, Ok(found), _) => {
                Some(self.group.as_ref().is_some_and(|group| found.is_only_in(group)))
            }
            (Rung::Stop, Ok(found), _) => Some(found.status == "stopped"),
            (Rung::Writers, _, Ok(found)) => Some(found.values().all(|replicas| *replicas == 0)),
            (Rung::CutOff | Rung::Stop, Err(_), _) | (Rung::Writers, _, Err(_)) => None,
        }
    }

    /// Returns what is seen of what a way was to bring about, in words.
    fn said(&self, rung: Rung) -> String {
        match (rung, &self.instance, &self.writers) {
            (Rung::CutOff, Ok(found), _) => format!("security groups: {}", found.said()),
            (Rung::Stop, Ok(found), _) => format!("it is `{}`", found.status),
            (Rung::Writers, _, Ok(writers)) => said(writers),
            (Rung::CutOff | Rung::Stop, Err(why), _) | (Rung::Writers, _, Err(why)) => why.clone(),
        }
    }

    fn shape(&self) -> Value {
        let instance = self.instance.as_ref().ok();
        let instance = instance
            .map(|found| json!({ "stopped": found.stops(), "security_groups": found.groups }));
        json!({ "instance": instance, "writers": self.writers.as_ref().ok() })
    }

    /// Returns the shape once a way has been gone.
    fn fenced_by(&self, rung: Rung) -> Value {
        let mut shape = self.shape();
        match rung {
            Rung::CutOff => shape["instance"]["security_groups"] = json!([self.group]),
            Rung::Stop => shape["instance"]["stopped"] = json!(true),
            Rung::Writers => shape["writers"] = json!(none_of(self.writers.as_ref().ok())),
        }
        shape
    }

    fn difference(&self, with: &PostgresFence, rung: Rung) -> Difference {
        let PostgresFence { instance, region, .. } = with;
        match rung {
            Rung::CutOff if self.begun() == Some(rung) => Difference {
                what: format!("RDS {region} {instance} sessions from before its security group"),
                from: "may write".to_owned(),
                to: "ended by a restart".to_owned(),
            },
            Rung::CutOff => Difference {
                what: format!("RDS {region} {instance} security groups"),
                from: self.instance.as_ref().map(Halted::said).unwrap_or_default(),
                to: self.group.clone().unwrap_or_default(),
            },
            Rung::Stop => Difference {
                what: format!("RDS {region} {instance}"),
                from: self.instance.as_ref().map(|found| found.status.clone()).unwrap_or_default(),
                to: "stopped".to_owned(),
            },
            Rung::Writers => Difference {
                what: format!("writers in {region}"),
                from: self.writers.as_ref().map(said).unwrap_or_default(),
                to: "no pods".to_owned(),
            },
        }
    }

    fn commands(&self, with: &PostgresFence, rung: Rung) -> Vec<String> {
        let PostgresFence { instance, region, .. } = with;
        match rung {
            Rung::CutOff => {
                let group = self.group.as_deref().unwrap_or("GROUP");
                let mut lines = by_hand::database::cut_off(instance, region, group);
                // The group stands already: what is left is the restart.
                let done = if self.begun() == Some(rung) { lines.len() - 1 } else { 0 };
                lines.split_off(done)
            }
            Rung::Stop => vec![by_hand::database::stop(instance, region)],
            Rung::Writers => {
                let writers = self.writers.as_ref().ok();
                let names = writers.into_iter().flat_map(Writers::keys);
                let parts = names.filter_map(|name| name.split_once('/'));
                parts
                    .map(|(namespace, name)| {
                        format!("kubectl -n {namespace} scale deployment/{name} --replicas=0")
                    })
                    .collect()
            }
        }
    }
}

fn said(writers: &Writers) -> String {
    let each = writers.iter().map(|(name, replicas)| format!("{name} {replicas}"));
    each.collect::<Vec<_>>().join(", ")
}

fn none_of(writers: Option<&Writers>) -> Writers {
    writers.into_iter().flat_map(Writers::keys).map(|name| (name.clone(), 0)).collect()
}

fn vain(with: &PostgresFence, rung: Rung) -> String {
    format!("{}: {}", with.instance, rung.name())
}

/// What the ways came to that were gone so far.
struct Tried {
    /// Why each of them does not keep everybody out, a line each
    failures: Vec<String>,
    /// Those that are in place all the same, and who may write in spite of them
    partly: Vec<(Rung, String)>,
    /// What all of them together have changed
    effect: Effect,
}

/// Goes one way after the other until one holds. What was tried in vain is not offered again by the next look: then
/// another way is, or the fence is gone without.
pub(super) async fn perform(
    clients: &Clients,
    call: &Call,
    with: &PostgresFence,
) -> Result<Performed, ActionError> {
    let found = look(clients, with).await;
    let mut tried = Tried { failures: Vec::new(), partly: Vec::new(), effect: Effect::None };
    for rung in found.open(clients, with) {
        call.progress.tell(rung.name(), None);
        let why = match go(clients, call, with, &found, rung).await {
            Ok(Held::Whole(notes)) => {
                let now = look(clients, with).await;
                // What could not be read again was as asked for when it was waited for.
                let after = match now.shown(rung) {
                    Some(false) => None,
                    Some(true) => Some(now.shape()),
                    None => Some(found.fenced_by(rung)),
                };
                if let Some(after) = after {
                    return Ok(performed(clients, with, after, rung, (notes, tried)));
                }
                tried.effect = Effect::Applied;
                format!("a look right afterwards showed otherwise: {}", now.said(rung))
            }
            Ok(Held::Partly(why)) => {
                tried.partly.push((rung, format!("{} {why}", rung.left_open())));
                tried.effect = Effect::Applied;
                why
            }
            Err(error) => {
                let lost = format!("{}: an answer was lost", with.instance);
                // Nobody knows whether it was asked for: the next look tells, and goes on with it. Once: a region that
                // loses every answer must not hold up the failover.
                if error.effect == Effect::Unknown && clients.in_vain.why(&lost).is_none() {
                    clients.in_vain.remember(lost, error.message.clone());
                    return Err(error);
                }
                tried.effect = tried.effect.max(error.effect);
                if stands_against_all(rung, &error) {
                    return Err(ActionError { effect: tried.effect, ..error });
                }
                error.to_string()
            }
        };
        clients.in_vain.remember(vain(with, rung), why.clone());
        tried.failures.push(format!("{}: {why}", rung.name()));
    }
    if let Some((rung, _)) = tried.partly.last() {
        let now = look(clients, with).await;
        let after = if now.instance.is_ok() { now.shape() } else { found.fenced_by(*rung) };
        return Ok(partly(clients, with, after, tried));
    }
    let failures = tried.failures.join("; ");
    let message = format!("{} could not be kept from taking writes: {failures}", with.instance);
    Err(ActionError {
        effect: tried.effect,
        ..ActionError::unchanged(FailureClass::Transient, message)
    }
    .hint("the next look offers what is left, and to go on unfenced"))
}

/// Says whether an error tells nothing of a way but stands against all that is left: the engine mends it, and the next
/// look goes on where this one stopped.
fn stands_against_all(rung: Rung, error: &ActionError) -> bool {
    match (error.class, rung) {
        (FailureClass::Unproved | FailureClass::Refused, _) => true,
        // The cluster of a region that is gone may never take ours again.
        (FailureClass::Credentials, Rung::CutOff | Rung::Stop) => true,
        _ => false,
    }
}

async fn go(
    clients: &Clients,
    call: &Call,
    with: &PostgresFence,
    found: &Found,
    rung: Rung,
) -> Result<Held, ActionError> {
    let PostgresFence { instance, region, .. } = with;
    match (rung, &found.group) {
        (Rung::CutOff, Some(group)) => halt::cut_off(clients, call, region, instance, group).await,
        (Rung::CutOff, None) => Err(ActionError::unchanged(
            FailureClass::Internal,
            "the estate names no security group",
        )),
        (Rung::Stop, _) => halt::stop(clients, call, region, instance).await,
        (Rung::Writers, _) => {
            let none = none_of(found.writers.as_ref().ok());
            let ended = writers::scale(clients, call, region, &none).await;
            ended.map(|()| Held::Whole(Vec::new()))
        }
    }
}

fn performed(
    clients: &Clients,
    with: &PostgresFence,
    after: Value,
    rung: Rung,
    (held, tried): (Vec<String>, Tried),
) -> Performed {
    let PostgresFence { instance, region, .. } = with;
    let mut notes = tried.failures;
    notes.push(format!("{instance} in {region} is kept from taking writes by {}", rung.name()));
    notes.extend(held);
    let obligation = match rung {
        Rung::CutOff => None,
        Rung::Stop => Some(Obligation {
            id: format!("stopped-{instance}"),
            say: format!(
                "{instance} in {region} is stopped, and RDS starts a stopped instance by itself after seven days"
            ),
            how: format!("before that: fence {instance} by SQL, or delete it"),
            closed_by: unfenced(clients, with, String::new()).closed_by,
        }),
        Rung::Writers => {
            let mut say = format!(
                "{instance} in {region} is not fenced: only the application's own workloads there were ended, and whoever else reaches it can write"
            );
            for (_, left) in tried.partly {
                say = format!("{say}; {left}");
            }
            Some(unfenced(clients, with, say))
        }
    };
    Performed { after, outputs: Map::new(), obligations: obligation.into_iter().collect(), notes }
}

/// What is in place and does not keep everybody out stays open: nothing better is left.
fn partly(clients: &Clients, with: &PostgresFence, after: Value, tried: Tried) -> Performed {
    let PostgresFence { instance, region, .. } = with;
    let left: Vec<String> = tried.partly.into_iter().map(|(_, left)| left).collect();
    let say = format!("{instance} in {region} may still take writes: {}", left.join("; "));
    Performed {
        after,
        outputs: Map::new(),
        obligations: vec![unfenced(clients, with, say)],
        notes: tried.failures,
    }
}

/// Gives back what was taken: the groups, the start, the replicas.
pub(super) async fn revert(
    clients: &Clients,
    call: &Call,
    with: &PostgresFence,
    image: &Image,
) -> Result<(), ActionError> {
    let PostgresFence { instance, region, .. } = with;
    let (before, now) = (&image.before, &image.now.live);
    let differs = |part: &str, field: &str| {
        let (was, is) = (&before[part][field], &now[part][field]);
        !was.is_null() && was != is
    };
    let unreadable = |error: serde_json::Error| {
        let message = format!("the before-image of the fence cannot be read: {error}");
        ActionError::unchanged(FailureClass::Internal, message)
    };
    let stopped = differs("instance", "stopped");
    let regrouped = differs("instance", "security_groups");
    if stopped {
        halt::start(clients, region, instance).await?;
    }
    if stopped && regrouped {
        // RDS changes nothing of an instance that is stopped.
        halt::started(clients, call, region, instance).await?;
    }
    if regrouped {
        let groups: Vec<String> =
            serde_json::from_value(before["instance"]["security_groups"].clone())
                .map_err(unreadable)?;
        halt::reconnect(clients, region, instance, &groups).await?;
    }
    if !before["writers"].is_null() && before["writers"] != now["writers"] {
        let writers: Writers =
            serde_json::from_value(before["writers"].clone()).map_err(unreadable)?;
        writers::scale(clients, call, region, &writers).await?;
    }
    Ok(())
}

#[cfg(test)]
#[path = "ladder_tests.rs"]
mod tests;
