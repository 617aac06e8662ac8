//! `postgres.cut_over`: the restored database takes the name the application uses, and the damaged one is kept under another.
//!
//! Both names change in one transaction, from another database of the server: there is no half of it to be killed in, and
//! the application has one of the two or waits. Who did it, and instead of which database, is noted in the same transaction
//! (`marks`): so a look tells this step's own cut over from anybody's. The damaged one stays fenced and is never dropped.

mod obstacles;
mod scene;

pub(in crate::actions) use obstacles::{is_shut, open_still, was_closed};

use serde_json::{Map, Value, json};

use super::assess::unread_yet;
use super::holds::{Whose, end_sessions};
use super::restore::MAINTENANCE;
use super::roles;
use crate::by_hand;
use crate::clients::Clients;
use crate::clients::postgres::marks::CutOver;
use crate::clients::postgres::{
    Session, Stands, connect_to, database, identifier, literal, prove_writable, stands, usage_of,
};
use crate::engine::ports::{Armed, Call, Image, Observation, Performed};
use crate::estate::types::Estate;
use crate::outcome::{ActionError, Difference, Effect, FailureClass, Obligation, WARNS};
use crate::runbook::catalogue::actions::PostgresCutOver;
use scene::Scene;

/// SQLSTATE of a database that somebody is in.
const IN_USE: &str = "(55006)";
/// How often the names are changed while others come in between.
const TRIES_MAX: u32 = 3;

/// Looks whether this step's cut over has been made, and where it has not, what is in its way.
pub(crate) async fn observe(
    clients: &Clients,
    call: &Call,
    with: &PostgresCutOver,
) -> Result<Observation, ActionError> {
    let mut session = beside(clients, with).await?;
    let scene = Scene::read(clients, call, with, &mut session, None).await?;
    let mut seen = Observation::new(scene.live(), scene.desired());
    seen.context = json!({ "kept": scene.kept });
    if scene.made.is_some() {
        match stands(clients, &with.instance, None, &call.run).await? {
            Stands::Proved => {
                seen.outputs = outputs(&scene);
                seen.obligations = scene.obligations(&clients.estate);
            }
            // Killed between the two: the names are changed, and nobody has written yet.
            Stands::NotYet { why } => {
                seen.satisfied = false;
                seen.under_way = true;
                seen.evidence.push(why);
            }
        }
        return Ok(seen);
    }
    seen.evidence = obstacles::known(clients, &scene, &mut session).await?;
    seen.differences = differences(&scene);
    seen.commands = by_hand::database::cut_over(
        &clients.estate,
        &with.instance,
        &with.restored,
        Some(&scene.kept),
    );
    Ok(seen)
}

/// Changes the names, gives back what the fence took from whole roles, and proves that the application's roles write.
pub(crate) async fn perform(
    clients: &Clients,
    _armed: &Armed,
    call: &Call,
    with: &PostgresCutOver,
    seen: &Observation,
) -> Result<Performed, ActionError> {
    let mut session = beside(clients, with).await?;
    let kept = seen.context["kept"].as_str();
    let scene = Scene::read(clients, call, with, &mut session, kept).await?;
    let mut notes = Vec::new();
    if scene.made.is_none() {
        if scene.live() != seen.live {
            return Err(changed(with, &seen.live, &scene.live()));
        }
        obstacles::none(clients, &scene, &mut session).await?;
        notes.extend(seen.evidence.iter().map(|line| format!("{WARNS}{line}")));
        change_names(clients, call, &scene, &mut session).await?;
    }
    let applied = |error: ActionError| ActionError { effect: Effect::Applied, ..error };
    // Looked at once more: what was made is told apart from what was meant by the OIDs.
    let scene = Scene::read(clients, call, with, &mut session, kept).await.map_err(applied)?;
    if scene.made.is_none() {
        return Err(applied(changed(with, &seen.desired, &scene.live())));
    }
    notes.push(format!("{} has the name {}", with.restored, scene.name));
    notes.extend(proved(clients, call, &scene).await.map_err(applied)?);
    Ok(Performed {
        after: scene.live(),
        outputs: outputs(&scene),
        obligations: scene.obligations(&clients.estate),
        notes,
    })
}

/// Gives both their names back, as long as nobody wrote to the restored one under the application's name.
pub(crate) async fn revert(
    clients: &Clients,
    _armed: &Armed,
    call: &Call,
    with: &PostgresCutOver,
    image: &Image,
) -> Result<(), ActionError> {
    let mut session = beside(clients, with).await?;
    let scene = Scene::read(clients, call, with, &mut session, None).await?;
    let Some(made) = &scene.made else { return Ok(()) };
    if scene.oid(&scene.kept).is_none() {
        let message = format!(
            "the damaged database is gone from {}: nothing can take the name {} again",
            with.instance, scene.name
        );
        return Err(ActionError::unchanged(FailureClass::Conflict, message)
            .hint("keep the restored one: skip this step's revert with a reason"));
    }
    unwritten(clients, &scene, made).await?;
    let databases = [scene.name.as_str(), scene.kept.as_str()];
    empty(clients, call, with, &mut session, &databases).await?;
    // What was under way when they were ended is counted by now.
    unwritten(clients, &scene, made).await?;
    let closed = |role: &&String| image.before["logins"][role.as_str()]["login"] == json!(false);
    let logins: Vec<&String> = scene.logins.keys().filter(closed).collect();
    let mut statements = vec![
        rename(&scene.name, &with.restored),
        rename(&scene.kept, &scene.name),
        scene.without_note(),
    ];
    statements.extend(logins.iter().map(|role| format!("alter role {} nologin", identifier(role))));
    bring(clients, &scene, &mut session, statements).await
}

/// Connects beside both databases: nobody may be in one that gets another name, this program included.
async fn beside(clients: &Clients, with: &PostgresCutOver) -> Result<Session, ActionError> {
    let session = connect_to(clients, &with.instance, MAINTENANCE).await;
    session.map_err(|error| {
        let error = ActionError::from(error);
        if error.class == FailureClass::Denied {
            let user = &clients.estate.database.as_ref().map(|known| &known.connection.user);
            let user = user.map_or_else(|| "the estate's user".to_owned(), |user| identifier(user));
            return error.hint(format!(
                "a database gets no other name from within: grant connect on database {MAINTENANCE} to {user}"
            ));
        }
        error
    })
}

fn rename(from: &str, to: &str) -> String {
    format!("alter database {} rename to {}", identifier(from), identifier(to))
}

/// Changes both names in one transaction.
async fn change_names(
    clients: &Clients,
    call: &Call,
    scene: &Scene<'_>,
    session: &mut Session,
) -> Result<(), ActionError> {
    let with = scene.with;
    let (name, restored) = (scene.name.as_str(), with.restored.as_str());
    let written = usage_of(clients, &with.instance, restored).await?.changed_rows;
    let Some(damaged) = scene.oid(name) else {
        return Err(changed(with, &scene.desired(), &scene.live()));
    };
    let made = CutOver { token: call.token(), damaged, written };
    let mut statements =
        vec![rename(name, &scene.kept), rename(restored, name), scene.noting(made)];
    let locked = scene.logins.iter().filter(|(_, login)| !**login);
    statements.extend(locked.map(|(role, _)| format!("alter role {} login", identifier(role))));
    let mut tries = 1;
    loop {
        empty(clients, call, with, session, &[name, restored]).await?;
        call.progress.tell(format!("giving {restored} the name {name}"), None);
        let error = match bring(clients, scene, session, statements.clone()).await {
            Ok(()) => return Ok(()),
            Err(error) => error,
        };
        if !error.message.contains(IN_USE) || error.effect != Effect::None || session.is_closed() {
            return Err(error);
        }
        if tries == TRIES_MAX {
            return Err(obstacles::held(clients, scene, session, error).await);
        }
        tries += 1;
    }
}

/// Ends the sessions in databases.
async fn empty(
    clients: &Clients,
    call: &Call,
    with: &PostgresCutOver,
    session: &mut Session,
    databases: &[&str],
) -> Result<(), ActionError> {
    let whose = Whose::Anybody { databases };
    let ended = end_sessions(clients, call, &with.instance, session, whose).await;
    // Who is sent away comes again: nothing is left of it.
    ended.map(drop).map_err(|error| ActionError { effect: Effect::None, ..error })
}

async fn bring(
    clients: &Clients,
    scene: &Scene<'_>,
    session: &mut Session,
    statements: Vec<String>,
) -> Result<(), ActionError> {
    let statements: Vec<_> = statements.into_iter().map(|sql| (sql, Vec::new())).collect();
    let instance = scene.with.instance.as_str();
    let what = format!("change the names of databases on {instance}");
    let other = (instance, MAINTENANCE);
    session.change_or_say_who_blocks(clients, &what, &statements, other).await
}

/// Proves by the name the application uses that its roles can write and read, and that what is written stays. Returns what
/// was proved, a line each.
async fn proved(
    clients: &Clients,
    call: &Call,
    scene: &Scene<'_>,
) -> Result<Vec<String>, ActionError> {
    let PostgresCutOver { instance, region, .. } = scene.with;
    let mut notes = roles::write(clients, instance, None, &call.run).await?;
    // Last, for it stays: where it is found the roles were proved as well.
    prove_writable(clients, instance, region, None, &call.run, None).await?;
    notes.push(format!(
        "a row {} wrote to {} was read back by another connection",
        database(clients)?.connection.user,
        scene.name
    ));
    Ok(notes)
}

/// Holds that nothing was written under the application's name that would be lost with it.
async fn unwritten(
    clients: &Clients,
    scene: &Scene<'_>,
    made: &CutOver,
) -> Result<(), ActionError> {
    let (name, instance) = (&scene.name, &scene.with.instance);
    let now = usage_of(clients, instance, name).await?.changed_rows;
    if now == made.written {
        return Ok(());
    }
    let said = match now.checked_sub(made.written) {
        Some(rows) if rows > 0 => format!("{rows} rows of {name} were written since the cut over"),
        // Its statistics began anew.
        Some(_) | None => format!("{name} may have been written to since the cut over"),
    };
    let message = format!("{said}, and {} has none of that: it keeps the name", scene.kept);
    Err(ActionError::unchanged(FailureClass::Conflict, message).hint(format!(
        "keep it: skip this step's revert with a reason; on {instance} nothing else has what was written"
    )))
}

fn differences(scene: &Scene<'_>) -> Vec<Difference> {
    let PostgresCutOver { instance, restored, .. } = scene.with;
    let mut found = vec![
        Difference {
            what: format!("{instance} database {}", scene.name),
            from: "the damaged one".to_owned(),
            to: format!("what is {restored} now"),
        },
        Difference {
            what: format!("{instance} database {}", scene.kept),
            from: "none".to_owned(),
            to: "the damaged one, fenced as it is".to_owned(),
        },
    ];
    found.extend(scene.logins.iter().filter(|(_, login)| !**login).map(|(role, _)| Difference {
        what: format!("{instance} role {role}"),
        from: "may not log in".to_owned(),
        to: "may".to_owned(),
    }));
    found
}

fn outputs(scene: &Scene<'_>) -> Map<String, Value> {
    Map::from_iter([
        ("database".to_owned(), json!(scene.name)),
        ("kept".to_owned(), json!(scene.kept)),
    ])
}

impl Scene<'_> {
    /// Returns what stays open: what becomes of the damaged database, and that the other was not read to the end.
    fn obligations(&self, estate: &Estate) -> Vec<Obligation> {
        let PostgresCutOver { instance, region, .. } = self.with;
        let Some(damaged) = self.obligation() else { return Vec::new() };
        vec![damaged, unread_yet(estate, (instance, region), &self.name)]
    }

    /// Returns what stays open: the damaged database, until somebody has no more use for it.
    fn obligation(&self) -> Option<Obligation> {
        let PostgresCutOver { instance, region, .. } = self.with;
        let kept = &self.kept;
        self.oid(kept)?;
        Some(Obligation {
            id: format!("damaged-{kept}"),
            say: format!("the damaged database is kept as {kept} on {instance}, fenced"),
            how: format!(
                "once nobody wants it any more, by hand: drop database {}",
                identifier(kept)
            ),
            closed_by: Some(json!({
                "check": "postgres.query",
                "title": format!("{kept} is gone from {instance}"),
                "with": {
                    "instance": instance,
                    "region": region,
                    "sql": format!(
                        "select not exists (select 1 from pg_database where datname = {})",
                        literal(kept)
                    ),
                },
                "that": "value",
            })),
        })
    }
}

fn changed(with: &PostgresCutOver, expected: &Value, now: &Value) -> ActionError {
    let message = format!(
        "the databases of {} were changed by someone else: expected {expected}, found {now}",
        with.instance
    );
    ActionError::unchanged(FailureClass::Conflict, message)
        .hint("find out who, and what the names stand for now; a retry looks anew")
}

#[cfg(test)]
#[path = "cut_over_tests.rs"]
mod tests;
