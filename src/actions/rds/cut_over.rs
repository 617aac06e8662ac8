//! `rds.cut_over`: the restored instance takes the damaged one's name, and with it the endpoint the application knows; the
//! damaged one is kept under a dated name.
//!
//! Two renames, minutes each, the damaged instance first. Each instance is followed by RDS's own name of it, which never
//! changes: so at every point in between it is seen what is left, and nothing is requested that is under way.

mod ready;
mod rename;
mod shown;
mod written;

pub(in crate::actions) use ready::{not_asked, still_open};

use serde_json::{Map, Value, json};

use super::applied;
use super::instance::{Instance, Phase, find};
use super::restore::{foreign, ours};
use crate::by_hand;
use crate::clients::Clients;
use crate::engine::ports::{Armed, Call, Image, Observation, Performed};
use crate::outcome::{ActionError, Difference, Effect, FailureClass, Obligation, WARNS};
use crate::runbook::catalogue::actions::RdsCutOver;
use rename::Rename;

/// What `rds.status` calls an instance that is not there any more.
const GONE: &str = "deleted";
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
        if !begun {
            seen.evidence.extend(Box::pin(ready::both(clients, &sides)).await?);
        }
        return Ok(seen);
    }
    // Killed between the names and the proof, or the proof failed: the names alone say nothing of where the endpoint leads.
    if let Some(why) = Box::pin(shown::missing(clients, call, sides.restored)).await {
        seen.evidence.push(why);
        (seen.satisfied, seen.under_way) = (false, true);
        return Ok(seen);
    }
    seen.outputs = outputs(clients, sides.restored, &scene.kept)?;
    seen.obligations = vec![obligation(with, &scene.kept)];
    Ok(seen)
}

/// Returns the renames in their order, as names before and after.
fn moves<'a>(with: &'a RdsCutOver, kept: &'a str) -> [(&'a str, &'a str); 2] {
    [(with.instance.as_str(), kept), (with.restored.as_str(), with.instance.as_str())]
}

/// Gives both instances their names, and proves that the endpoint leads to the restored one and that the application writes there.
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
    if !begun {
        notes.extend(Box::pin(prepared(clients, call, with)).await?);
    }
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
    let proof = Box::pin(shown::proved(clients, call, with, &restored)).await;
    notes.extend(proof.map_err(applied)?);
    Ok(Performed {
        after: seen.desired.clone(),
        outputs: outputs(clients, &restored, &kept).map_err(applied)?,
        obligations: vec![obligation(with, &kept)],
        notes,
    })
}

/// Looks once more before the first rename, and keeps what a way back needs to know. Returns what whoever reads "done" should
/// know, a line each.
async fn prepared(
    clients: &Clients,
    call: &Call,
    with: &RdsCutOver,
) -> Result<Vec<String>, ActionError> {
    let scene = Scene::set(clients, call, with).await?;
    let sides = scene.sides()?;
    if scene.old.is_some() {
        // Requested by an attempt whose end was lost: what had to be kept was kept before.
        return Ok(Vec::new());
    }
    let unasked = ready::both(clients, &sides).await?;
    shown::known(clients, call, with, sides.restored).await?;
    written::note(clients, with, sides.restored).await?;
    Ok(unasked.into_iter().map(|line| format!("{WARNS}{line}")).collect())
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
        how: format!(
            "look into it; once nobody wants it any more, with a last snapshot of it:\n$ {}",
            by_hand::rds::deleted(&with.region, kept).join("\n$ ")
        ),
        closed_by: Some(json!({
            "check": "rds.status",
            "title": format!("{kept} is gone from {}", with.region),
            "with": { "region": with.region, "instance": kept, "states": [GONE] },
        })),
    }
}

/// Gives both instances their names back, and only while nobody uses the restored one under the application's name and nobody
/// has written to it there.
pub(crate) async fn revert(
    clients: &Clients,
    _armed: &Armed,
    call: &Call,
    with: &RdsCutOver,
    image: &Image,
) -> Result<(), ActionError> {
    let scene = Scene::set(clients, call, with).await?;
    let sides = scene.sides()?;
    Box::pin(written::nothing(clients, call, with, sides.restored)).await?;
    let mut begun = false;
    for ((to, from), has) in
        moves(with, &scene.kept).into_iter().zip([&scene.kept, &with.instance]).rev()
    {
        let resource = resource(&image.ours, has)?;
        let turn = Rename { region: &with.region, resource, from, to };
        let done = Box::pin(turn.carried_out(clients, call)).await;
        let found = done.map_err(|error| if begun { whatever(error) } else { error })?;
        // What was under way when the name was taken from it is counted by now, and has no other place.
        if !begun && sides.restored.id == with.instance {
            Box::pin(written::nothing(clients, call, with, &found)).await.map_err(applied)?;
        }
        begun = true;
    }
    Ok(())
}

#[cfg(test)]
mod sql_tests;
#[cfg(test)]
#[path = "cut_over_tests.rs"]
mod tests;
