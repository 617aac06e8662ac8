//! `postgres.prove`: a restored database holds exactly what its dump's manifest says, its constraints, indexes and
//! sequences hold too, and what the application cannot do without is answered by true. Reads only; what does not hold fails
//! the step.

use jiff::Timestamp;
use serde_json::{Map, Value, json};

use super::compare::{self, differences};
use super::content::{self, Content, Reading};
use super::manifest::Manifest;
use super::objects::Definitions;
use super::restore::{self, Part};
use super::server::{About, about};
use super::store::Dumps;
use crate::clients::Clients;
use crate::clients::postgres::essentials::{self, Answered};
use crate::clients::postgres::or_say_who_blocks;
use crate::engine::ports::{Armed, Call, Observation, Performed};
use crate::outcome::{ActionError, Difference, FailureClass, WARNS};
use crate::runbook::catalogue::actions::PostgresProve;

/// Differences named in one message.
const NAMED_MAX: usize = 10;

/// Looks at the manifest and at the database that is to be proved.
pub(crate) async fn observe(
    clients: &Clients,
    _call: &Call,
    with: &PostgresProve,
) -> Result<Observation, ActionError> {
    let (_, manifest) = manifest(clients, with).await?;
    limited(clients, with).await?;
    let found = about(clients, &with.instance, &with.database).await?;
    let mut seen = Observation::new(json!({ "proved": false }), json!({ "proved": true }));
    seen.evidence = vec![format!(
        "{} on {}, {}: against {} of {} tables and {} rows",
        with.database,
        with.instance,
        super::drafts::bytes(found.bytes),
        manifest.name,
        manifest.content.tables.len(),
        manifest.rows()
    )];
    seen.differences = vec![Difference {
        what: format!("proof of {}", with.database),
        from: "none".to_owned(),
        to: "every table read and compared".to_owned(),
    }];
    match Part::of(&with.tables, &manifest)? {
        Some(part) => seen.evidence.push(part.said()),
        None => seen.evidence.extend(untold(&manifest, &found)),
    }
    Ok(seen)
}

/// Reads every table, and says what is other than in the manifest.
pub(crate) async fn perform(
    clients: &Clients,
    _armed: &Armed,
    call: &Call,
    with: &PostgresProve,
    seen: &Observation,
) -> Result<Performed, ActionError> {
    let (dumps, manifest) = manifest(clients, with).await?;
    limited(clients, with).await?;
    let found = about(clients, &with.instance, &with.database).await?;
    let restored = content(clients, call, with, &manifest, &found).await?;
    if let Some(part) = Part::of(&with.tables, &manifest)? {
        return match in_part(with, seen, &manifest, &part, &restored) {
            Ok(performed) => Ok(performed),
            Err((why, error)) => {
                Err(void(clients, call, (&dumps, &manifest), Some(&why), error).await)
            }
        };
    }
    let mut wrong = differences(&manifest.content, &restored, definitions(&manifest, &found));
    let differs = !wrong.is_empty();
    call.progress.tell("asking what the application asks", None);
    let name = Some(with.database.as_str());
    let answered = essentials::questions(clients, &with.instance, name).await?;
    wrong.extend(answered.iter().filter_map(Answered::said));
    if !wrong.is_empty() {
        let (why, error) = unproved(with, &wrong);
        // What could not be asked says nothing of the dump.
        let is_wrong = differs || answered.iter().any(Answered::is_wrong);
        let why = is_wrong.then_some(why.as_str());
        return Err(void(clients, call, (&dumps, &manifest), why, error).await);
    }
    let newest = essentials::newest(clients, &with.instance, name).await?;
    let took = restore::took(clients, &with.instance, (&with.database, &with.dump)).await?;
    let kept = dumps.keep_proof(clients, call, &manifest, Ok(took)).await;
    let said = std::iter::once(format!(
        "{} holds what {} held at {}: {} tables, {} rows, every digest the same; {} other objects; the content of large \
             objects and of materialized views is not compared",
        with.database,
        manifest.database,
        manifest.taken,
        restored.tables.len(),
        manifest.rows(),
        manifest.content.objects.as_ref().map_or(0, Vec::len)
    ));
    Ok(Performed {
        after: seen.desired.clone(),
        outputs: outputs(&manifest, newest.as_ref().ok().copied().flatten()),
        obligations: Vec::new(),
        notes: said
            .chain(asked(answered.len()))
            .chain(newest_said(&newest))
            .chain(untold(&manifest, &found))
            .chain(kept)
            .collect(),
    })
}

/// Reads what the restored database holds.
async fn content(
    clients: &Clients,
    call: &Call,
    with: &PostgresProve,
    manifest: &Manifest,
    found: &About,
) -> Result<Content, ActionError> {
    let reading = Reading {
        instance: &with.instance,
        database: &with.database,
        major: found.major(),
        in_recovery: found.in_recovery,
        jobs: with.jobs,
        held_to: manifest.held_to(),
    };
    let what = format!("see who blocks the proof of {} on {}", with.database, with.instance);
    let read = async {
        let (leader, snapshot) = reading.lead(clients).await?;
        let sequences = content::positions(reading, &leader).await?;
        content::read(clients, call, reading, (&leader, &snapshot), sequences).await
    };
    let place = (with.instance.as_str(), with.database.as_str());
    or_say_who_blocks(clients, &what, place, Box::pin(read)).await
}

/// Fails where only some tables were restored and the proof is not of these: that the others are empty says nothing of the
/// dump.
async fn limited(clients: &Clients, with: &PostgresProve) -> Result<(), ActionError> {
    let part = restore::part_of(clients, &with.instance, &with.database).await?;
    let others =
        with.tables.names().into_iter().find(|name| !part.iter().any(|known| known == name));
    if part.is_empty() || (others.is_none() && !with.tables.is_all()) {
        return Ok(());
    }
    let (database, instance, part) = (&with.database, &with.instance, part.join(", "));
    let message = format!("{database} on {instance} holds the rows of {part} alone");
    Err(ActionError::unchanged(FailureClass::Invalid, message)
        .hint(format!("prove these: `tables: [{part}]`")))
}

/// Returns what came of a proof of some tables: of the rest of the dump it says nothing, and so it is not kept as one of it.
fn in_part(
    with: &PostgresProve,
    seen: &Observation,
    manifest: &Manifest,
    part: &Part<'_>,
    restored: &Content,
) -> Result<Performed, (String, ActionError)> {
    let wrong = compare::tables_differ(part.tables(), restored);
    if !wrong.is_empty() {
        return Err(unproved(with, &wrong));
    }
    let said = format!(
        "{} holds what {} held at {} in {}: {} rows, every digest the same; nothing else is compared",
        with.database,
        manifest.database,
        manifest.taken,
        part.named(),
        part.rows()
    );
    let mut outputs = outputs(manifest, None);
    outputs.insert("rows".to_owned(), json!(part.rows()));
    let (after, obligations) = (seen.desired.clone(), Vec::new());
    Ok(Performed { after, outputs, obligations, notes: vec![said] })
}

/// Keeps why a dump is not proved in the place of an older proof, for what that says is not so any more; returns the error.
async fn void(
    clients: &Clients,
    call: &Call,
    (dumps, manifest): (&Dumps, &Manifest),
    why: Option<&str>,
    error: ActionError,
) -> ActionError {
    let Some(why) = why else { return error };
    match dumps.keep_proof(clients, call, manifest, Err(why)).await {
        Some(unkept) => ActionError { message: format!("{}; {unkept}", error.message), ..error },
        None => error,
    }
}

/// Says whether definitions can be compared: servers of different versions write the same one in different words.
fn definitions(manifest: &Manifest, found: &About) -> Definitions {
    if manifest.server_major() == found.major() {
        Definitions::Compared
    } else {
        Definitions::NamesAlone
    }
}

/// Says that what the estate has asked of it was answered.
fn asked(count: usize) -> Option<String> {
    let questions = if count == 1 { "question" } else { "questions" };
    (count > 0).then(|| format!("what the application asks is true: {count} {questions}"))
}

/// Says of when the newest record is, or why that is not known: for the proof it need not be.
fn newest_said(newest: &Result<Option<Timestamp>, String>) -> Option<String> {
    match newest {
        Ok(newest) => newest.map(|newest| format!("its newest record is of {newest}")),
        Err(why) => Some(format!("{WARNS}of when its newest record is could not be read: {why}")),
    }
}

/// Says what the proof does not tell.
fn untold(manifest: &Manifest, found: &About) -> Option<String> {
    let said = match (&manifest.content.objects, definitions(manifest, found)) {
        (None, _) => format!(
            "the manifest of {} is of before indexes, constraints, functions, triggers and views were listed: whether \
             they are there is not known",
            manifest.name
        ),
        (Some(_), Definitions::NamesAlone) => format!(
            "indexes, constraints, functions, triggers and views are compared by their names alone: the dump is of \
             PostgreSQL {}, and this is {}",
            manifest.server_major(),
            found.major()
        ),
        (Some(_), Definitions::Compared) => return None,
    };
    Some(format!("{WARNS}{said}"))
}

/// Returns the manifest a database is held against. The dump's files are not needed for that.
async fn manifest(
    clients: &Clients,
    with: &PostgresProve,
) -> Result<(Dumps, Manifest), ActionError> {
    let dumps = Dumps::of(clients)?;
    match dumps.find(clients, &with.dump).await? {
        Some(dump) => Ok((dumps, dump.manifest)),
        None => Err(dumps
            .missing(&format!("the dump {}", with.dump))
            .hint("a database is proved by the manifest of the dump it was restored from")),
    }
}

/// Returns what is wrong, in a few words, and the error that says so.
fn unproved(with: &PostgresProve, wrong: &[String]) -> (String, ActionError) {
    let mut said = wrong.iter().take(NAMED_MAX).cloned().collect::<Vec<_>>().join("; ");
    if wrong.len() > NAMED_MAX {
        said = format!("{said}; and {} more", wrong.len() - NAMED_MAX);
    }
    let message =
        format!("{} on {} is not what {} held: {said}", with.database, with.instance, with.dump);
    let error = ActionError::unchanged(FailureClass::Invalid, message)
        .hint("do not put it into use; restore another dump");
    (said, error)
}

fn outputs(manifest: &Manifest, newest: Option<Timestamp>) -> Map<String, Value> {
    Map::from_iter([
        ("proved".to_owned(), json!(true)),
        ("rows".to_owned(), json!(manifest.rows())),
        ("taken".to_owned(), json!(manifest.taken.to_string())),
        ("newest".to_owned(), json!(newest.map(|at| at.to_string()).unwrap_or_default())),
    ])
}

#[cfg(test)]
#[path = "prove_tests.rs"]
mod tests;
