//! `rds.cut_over`: the restored instance takes the damaged one's name, and with it the endpoint the application knows; the
//! damaged one is kept under a dated name.
//!
//! Two renames, minutes each, the damaged instance first. Each instance is followed by RDS's own name of it, which never
//! changes: so at every point in between it is seen what is left, and nothing is requested that is under way.

use std::time::Duration;

use aws_sdk_rds::types::Filter;
use serde_json::{Map, Value, json};

use super::instance::{Instance, Phase, find, listed};
use super::restore::{foreign, ours};
use super::watch::Watch;
use super::{applied, change_failure, proof, read_failure};
use crate::by_hand;
use crate::clients::Clients;
use crate::clients::postgres::leads_to;
use crate::engine::ports::{Armed, Call, Image, Observation, Performed};
use crate::outcome::{ActionError, Difference, Effect, FailureClass, Obligation};
use crate::runbook::catalogue::actions::RdsCutOver;

/// A rename that RDS has accepted, or may have where the answer was lost, shows within this time.
const SHOWS: Duration = Duration::from_secs(120);
/// A name's new address is known everywhere within this time; that of RDS's names is 5 seconds old at most.
const RESOLVES: Duration = Duration::from_secs(5 * 60);
const PAUSE: Duration = Duration::from_secs(5);
/// Longest name of an instance.
const NAME_MAX: usize = 63;

/// The names, and which instance has each.
struct Scene<'a> {
    with: &'a RdsCutOver,
    kept: String,
    /// Has the name the application uses
    named: Option<Instance>,
    /// Has the name it was restored under
    aside: Option<Instance>,
    /// Has the name the damaged one is kept under
    old: Option<Instance>,
}

/// The two instances, whatever their names are.
struct Sides<'a> {
    damaged: &'a Instance,
    restored: &'a Instance,
}

impl<'a> Scene<'a> {
    async fn set(
        clients: &Clients,
        call: &Call,
        with: &'a RdsCutOver,
    ) -> Result<Self, ActionError> {
        let kept = kept(&with.instance, call);
        let region = &with.region;
        let (named, aside, old) = futures::join!(
            Box::pin(find(clients, region, &with.instance)),
            Box::pin(find(clients, region, &with.restored)),
            Box::pin(find(clients, region, &kept)),
        );
        Ok(Self { with, kept, named: named?, aside: aside?, old: old? })
    }

    /// Tells the instances from each other: no other run uses the name the damaged one is kept under.
    fn sides(&self) -> Result<Sides<'_>, ActionError> {
        let damaged = self.old.as_ref().or(self.named.as_ref());
        let is_other =
            |found: &&Instance| damaged.is_none_or(|it| it.resource_id != found.resource_id);
        let taken = self.named.as_ref().filter(|_| self.old.is_some()).filter(is_other);
        match (damaged, taken.or(self.aside.as_ref())) {
            (Some(damaged), Some(restored)) => Ok(Sides { damaged, restored }),
            // Between its two names an instance may show under neither.
            (Some(_), None) if self.old.is_some() => {
                Err(self.missing(&self.with.restored, FailureClass::Transient))
            }
            (Some(_), None) => Err(self.missing(&self.with.restored, FailureClass::NotFound)),
            (None, _) => Err(self.missing(&self.with.instance, FailureClass::Transient)),
        }
    }

    fn missing(&self, id: &str, class: FailureClass) -> ActionError {
        let message = format!("there is no RDS instance {id} in {}", self.with.region);
        ActionError::unchanged(class, message)
            .hint("one that is being renamed shows again by itself; else compare the names with what RDS has")
    }

    fn live(&self) -> Value {
        self.shape(
            [&self.named, &self.aside, &self.old]
                .map(|found| found.as_ref().map(|found| found.resource_id.as_str())),
        )
    }

    fn desired(&self, sides: &Sides<'_>) -> Value {
        self.shape([
            Some(sides.restored.resource_id.as_str()),
            None,
            Some(sides.damaged.resource_id.as_str()),
        ])
    }

    fn shape(&self, [named, aside, old]: [Option<&str>; 3]) -> Value {
        let names = [&self.with.instance, &self.with.restored, &self.kept];
        let fields = names.into_iter().zip([named, aside, old]);
        Value::Object(fields.map(|(name, has)| (name.clone(), json!(has))).collect())
    }

    fn differences(&self, sides: &Sides<'_>) -> Vec<Difference> {
        let name = |what: &str, from: &str, to: &str| Difference {
            what: format!("RDS {} {what}", self.with.region),
            from: from.to_owned(),
            to: to.to_owned(),
        };
        vec![
            name("the damaged instance", &sides.damaged.id, &self.kept),
            name("the restored instance", &sides.restored.id, &self.with.instance),
        ]
    }
}

/// Returns the name the damaged instance is kept under: dated, and this run's alone.
fn kept(name: &str, call: &Call) -> String {
    let day = call.run.began().map(|at| at.strftime("-%Y%m%d").to_string()).unwrap_or_default();
    let end = format!("-damaged{day}-{}", call.run.short().to_ascii_lowercase());
    let head: String = name.chars().take(NAME_MAX - end.len()).collect();
    format!("{}{end}", head.trim_end_matches('-'))
}

/// Looks which instance has which name.
pub(crate) async fn observe(
    clients: &Clients,
    call: &Call,
    with: &RdsCutOver,
) -> Result<Observation, ActionError> {
    let scene = Scene::set(clients, call, with).await?;
    let sides = scene.sides()?;
    if !ours(sides.restored, call) {
        return Err(foreign(sides.restored, &with.region));
    }
    let begun = scene.old.is_some();
    for side in [sides.damaged, sides.restored] {
        if side.phase() == Phase::Bad && !begun {
            return Err(side.bad());
        }
    }
    let mut seen = Observation::new(scene.live(), scene.desired(&sides));
    seen.evidence = vec![sides.damaged.line(), sides.restored.line()];
    seen.commands = by_hand::rds::renamed(&with.region, &moves(with, &scene.kept));
    if !seen.satisfied {
        seen.under_way = begun;
        seen.differences = scene.differences(&sides);
        return Ok(seen);
    }
    let usable = sides.restored.phase() == Phase::Usable && sides.restored.endpoint.is_some();
    let elsewhere = match usable {
        true => Box::pin(leads_to(clients, &with.instance, &scene.kept)).await.unwrap_or(true),
        false => true,
    };
    (seen.satisfied, seen.under_way) = (!elsewhere, elsewhere);
    if !elsewhere {
        seen.outputs = outputs(clients, sides.restored, &scene.kept)?;
        seen.obligations = vec![obligation(with, &scene.kept)];
    }
    Ok(seen)
}

/// Returns the renames in their order, as names before and after.
fn moves<'a>(with: &'a RdsCutOver, kept: &'a str) -> [(&'a str, &'a str); 2] {
    [(with.instance.as_str(), kept), (with.restored.as_str(), with.instance.as_str())]
}

/// Gives both instances their names, and proves that the endpoint leads to the restored one.
pub(crate) async fn perform(
    clients: &Clients,
    _armed: &Armed,
    call: &Call,
    with: &RdsCutOver,
    seen: &Observation,
) -> Result<Performed, ActionError> {
    let kept = kept(&with.instance, call);
    let mut begun = seen.under_way;
    let mut notes = Vec::new();
    let mut last = None;
    for ((from, to), has) in moves(with, &kept).into_iter().zip([&kept, &with.instance]) {
        let resource = resource(&seen.desired, has)?;
        let turn = Rename { region: &with.region, resource, from, to };
        let found = Box::pin(turn.carried_out(clients, call)).await;
        let found = found.map_err(|error| if begun { whatever(error) } else { error })?;
        begun = true;
        notes.push(format!("{from} is named {to}"));
        last = Some(found);
    }
    let restored = last.ok_or_else(|| {
        ActionError::applied(FailureClass::Internal, "nothing was given another name")
    })?;
    Box::pin(leads_there(clients, call, with, &kept)).await.map_err(applied)?;
    let watch = Watch::new(clients, call, &with.region, &with.instance);
    let proof = proof::writable(clients, call, &with.region, &restored, None, &watch);
    let proof = Box::pin(proof).await;
    notes.extend(proof.map_err(applied)?);
    Ok(Performed {
        after: seen.desired.clone(),
        outputs: outputs(clients, &restored, &kept).map_err(applied)?,
        obligations: vec![obligation(with, &kept)],
        notes,
    })
}

/// After the first rename something is changed, whatever the second one's failure says of itself.
fn whatever(error: ActionError) -> ActionError {
    match error.effect {
        Effect::None => applied(error),
        Effect::Unknown | Effect::Applied => error,
    }
}

/// Returns RDS's own name of the instance that is to have a name.
fn resource<'a>(desired: &'a Value, name: &str) -> Result<&'a str, ActionError> {
    desired[name].as_str().ok_or_else(|| {
        let message = format!("the observation does not say which instance is to be named {name}");
        ActionError::unchanged(FailureClass::Internal, message)
    })
}

/// One instance gets another name.
struct Rename<'a> {
    region: &'a str,
    /// RDS's own name of it
    resource: &'a str,
    from: &'a str,
    to: &'a str,
}

impl Rename<'_> {
    /// Requests it unless it was requested, and waits until the instance is usable under its new name.
    async fn carried_out(&self, clients: &Clients, call: &Call) -> Result<Instance, ActionError> {
        let mut watch = Watch::new(clients, call, self.region, self.from);
        // When it was requested, and why that may have been in vain
        let mut asked: Option<(Duration, Option<ActionError>)> = None;
        loop {
            let look = || self.find(clients);
            let found = watch.look_for(look, |found: &Instance| found.status.as_str()).await;
            let found = found.map_err(|error| meaning(asked.as_ref(), error))?;
            let waited = watch.waited();
            let recent = asked.as_ref().is_some_and(|(at, _)| waited - *at <= SHOWS);
            match found {
                Some(found) if found.id == self.to => {
                    watch.tell(&format!("{} as {}", found.status, self.to));
                    match found.phase() {
                        Phase::Bad => return Err(applied(found.bad())),
                        Phase::Usable if found.endpoint.is_some() => return Ok(found),
                        Phase::Usable | Phase::Busy => {}
                    }
                }
                Some(found) if found.id != self.from => return Err(self.foreign(&found)),
                Some(found) if found.phase() == Phase::Busy || recent => watch.tell(&found.status),
                Some(found) if found.phase() == Phase::Bad => {
                    return Err(meaning(asked.as_ref(), found.bad()));
                }
                Some(_) => {
                    if let Some((_, Some(lost))) = asked {
                        return Err(lost);
                    }
                    asked = match Box::pin(self.request(clients)).await {
                        Ok(()) => Some((waited, None)),
                        Err(error) if error.effect == Effect::Unknown => {
                            Some((waited, Some(error)))
                        }
                        // It has become busy since it was looked at.
                        Err(error) if error.class == FailureClass::Transient => {
                            watch.tell(&error.message);
                            asked
                        }
                        Err(error) => return Err(meaning(asked.as_ref(), error)),
                    };
                }
                None if waited <= SHOWS || recent => watch.tell("shows under no name"),
                None => {
                    let message = format!("{} shows under no name any more", self.from);
                    return Err(ActionError::unknown(FailureClass::NotFound, message));
                }
            }
        }
    }

    /// Looks for the instance, whatever it is named.
    async fn find(&self, clients: &Clients) -> Result<Option<Instance>, ActionError> {
        let aws = clients.aws.region(self.region).await?;
        let filter = Filter::builder().name("dbi-resource-id").values(self.resource).build();
        let answer = aws.rds.describe_db_instances().filters(filter).send().await;
        let answer =
            answer.map_err(|error| read_failure("DescribeDBInstances", self.region, &error))?;
        Ok(listed(&answer).into_iter().find(|found| found.resource_id == self.resource))
    }

    async fn request(&self, clients: &Clients) -> Result<(), ActionError> {
        let aws = clients.aws.region(self.region).await?;
        let request = aws.rds.modify_db_instance().db_instance_identifier(self.from);
        let request = request.new_db_instance_identifier(self.to).apply_immediately(true);
        let answer = request.send().await;
        answer.map(drop).map_err(|error| change_failure("ModifyDBInstance", self.region, &error))
    }

    fn foreign(&self, found: &Instance) -> ActionError {
        let message = format!(
            "the instance that was {} is named {} now, and not by this run",
            self.from, found.id
        );
        ActionError::unchanged(FailureClass::Conflict, message)
            .hint("find out who, and name it as before or leave it; nothing else was renamed")
    }
}

/// Returns what a failure says of the effect, once the rename may have been accepted.
fn meaning(asked: Option<&(Duration, Option<ActionError>)>, error: ActionError) -> ActionError {
    match asked {
        None => error,
        Some((_, None)) => applied(error),
        Some((_, Some(_))) => ActionError { effect: Effect::Unknown, ..error },
    }
}

/// Waits until the name's address is that of the restored instance, from here.
async fn leads_there(
    clients: &Clients,
    call: &Call,
    with: &RdsCutOver,
    kept: &str,
) -> Result<(), ActionError> {
    let watch = Watch::new(clients, call, &with.region, &with.instance);
    loop {
        let why = match Box::pin(leads_to(clients, &with.instance, kept)).await {
            Ok(false) => return Ok(()),
            Ok(true) => "still leads to the damaged instance".to_owned(),
            Err(error) if error.class.retryable() => format!("cannot be asked: {error}"),
            Err(error) => return Err(error),
        };
        if watch.waited() >= RESOLVES || !watch.goes_on() {
            let message = format!("the endpoint of {} {why}", with.instance);
            return Err(ActionError::applied(FailureClass::Overdue, message).hint(format!(
                "compare `database.primary.address` and `database.addresses.{}` of the estate file with the endpoint",
                with.instance
            )));
        }
        watch.tell(&why);
        clients.clock.sleep(PAUSE).await;
    }
}

fn outputs(
    clients: &Clients,
    restored: &Instance,
    kept: &str,
) -> Result<Map<String, Value>, ActionError> {
    let mut outputs = restored.outputs(clients).ok_or_else(|| {
        let message = format!("{} has no endpoint", restored.id);
        ActionError::unchanged(FailureClass::Internal, message)
    })?;
    outputs.insert("kept".to_owned(), json!(kept));
    Ok(outputs)
}

fn obligation(with: &RdsCutOver, kept: &str) -> Obligation {
    Obligation {
        id: format!("damaged-{kept}"),
        say: format!(
            "the damaged instance is kept as {kept} in {}, and costs what it did",
            with.region
        ),
        how: format!("look into it, then delete {kept} once nobody wants it any more"),
        closed_by: None,
    }
}

/// Gives both instances their names back, and only while nobody uses the restored one under the application's name.
pub(crate) async fn revert(
    clients: &Clients,
    _armed: &Armed,
    call: &Call,
    with: &RdsCutOver,
    image: &Image,
) -> Result<(), ActionError> {
    let scene = Scene::set(clients, call, with).await?;
    let sides = scene.sides()?;
    if let Ok(usage) = Box::pin(proof::usage(clients, sides.restored)).await
        && usage.sessions > 0
    {
        let message = format!(
            "{} has {} sessions of the application: what they write would be left behind",
            sides.restored.id, usage.sessions
        );
        return Err(ActionError::unchanged(FailureClass::Conflict, message)
            .hint("stop the application first, or leave the names as they are"));
    }
    let mut begun = false;
    for ((to, from), has) in
        moves(with, &scene.kept).into_iter().zip([&scene.kept, &with.instance]).rev()
    {
        let resource = resource(&image.ours, has)?;
        let turn = Rename { region: &with.region, resource, from, to };
        let done = Box::pin(turn.carried_out(clients, call)).await;
        done.map_err(|error| if begun { whatever(error) } else { error })?;
        begun = true;
    }
    Ok(())
}

#[cfg(test)]
#[path = "cut_over_tests.rs"]
mod tests;
