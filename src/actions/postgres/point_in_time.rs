//! `postgres.restore_point_in_time`: a base backup and archived WAL into a new server on this host, beside the damaged one.
//!
//! What would keep the target from being reached is looked for before anything is made: gaps in the WAL, a target before
//! the backup was complete or behind the end of the log, room. The copy is verified and configured under a name of the
//! attempt's own and becomes the data directory as a whole, with a mark that says whose it is; only then a server is
//! started on it. A server that ends before its target is a failure, whatever `pg_ctl` said.

mod copying;
mod place;
mod server;
mod unused;
mod way;

use serde_json::{Map, Value, json};

use super::base::BaseBackups;
use super::drafts::bytes;
use super::proofs::{Proof, Proved, ProvedBy};
use crate::actions::foresee::Foreseen;
use crate::clients::Clients;
use crate::clients::postgres::{Writable, database, prove_writable, server as ask};
use crate::clock::since;
use crate::engine::ports::{Armed, Call, Observation, Performed};
use crate::estate::own_server::OwnServer;
use crate::outcome::{ActionError, Difference, Effect, FailureClass, WARNS};
use crate::runbook::catalogue::actions::PostgresRestorePointInTime;
use crate::span::Span;
use place::{Mark, Place, State};
use server::{Process, User};
use way::{Wanted, Way};

/// Looks at the data directory that is to be, and where it is not there yet, whether the target can be reached.
pub(crate) async fn observe(
    clients: &Clients,
    call: &Call,
    with: &PostgresRestorePointInTime,
) -> Result<Observation, ActionError> {
    let place = Place::of(own(clients)?, call);
    match place.state()? {
        State::None => fresh(clients, with, &place, State::None.seen()).await,
        State::Draft => fresh(clients, with, &place, State::Draft.seen()).await,
        State::Part(mark) => {
            let mut seen = Observation::new(State::Part(mark.clone()).seen(), State::whole(&mark));
            seen.evidence = vec![format!(
                "{} was made from {}; whether it has reached `{}` is seen when this goes on",
                place.data().display(),
                mark.backup,
                mark.goal
            )];
            Ok(seen)
        }
        State::Whole(mark) => {
            let mut seen = Observation::new(State::whole(&mark), State::whole(&mark));
            let process = Process::of(clients, place.server(), mark.major).await?;
            seen.satisfied = process.running(clients).await?;
            if seen.satisfied {
                seen.outputs = outputs(clients, place.server(), &mark).await?;
            } else {
                seen.evidence = vec!["it was restored, and the server is not running".to_owned()];
            }
            Ok(seen)
        }
        State::Foreign { said } => Err(foreign(&place, &said)),
    }
}

fn foreign(place: &Place<'_>, said: &str) -> ActionError {
    let message =
        format!("{} is there already, and not of this step{said}", place.data().display());
    ActionError::unchanged(FailureClass::Conflict, message).hint(
        "nothing is restored over a data directory: remove it, or name another in `database.recovered.server.data`",
    )
}

async fn fresh(
    clients: &Clients,
    with: &PostgresRestorePointInTime,
    place: &Place<'_>,
    live: Value,
) -> Result<Observation, ActionError> {
    let _held = BaseBackups::of(clients)?.hold().await?;
    let way = Way::find(clients, &Wanted::of(with)?).await?;
    User::of(clients, place.server()).await?.may_read(clients, &way).await?;
    let process = Process::of(clients, place.server(), way.major).await?;
    process.may_run(clients).await?;
    process.nobody_listens(clients).await?;
    let free = place.room(&way)?;
    let mark = place.mark(&way);
    let mut seen = Observation::new(live, State::whole(&mark));
    seen.evidence = vec![
        format!(
            "{} of {:.0}, {}, PostgreSQL {}, checksums: {}",
            way.backup.name,
            way.backup.complete,
            bytes(way.backup.bytes),
            way.major,
            way.backup.checksums
        ),
        way.said.clone(),
        format!("{} free at {}", bytes(free), place.data().display()),
    ];
    let brought = way.lacking().map(|(_, bytes)| bytes).iter().sum();
    if brought > 0 {
        seen.evidence.push(format!("{} to be fetched from {}", bytes(brought), way.backup.place()));
    }
    seen.evidence.extend(way.looked_for(clients).await?);
    seen.differences = vec![Difference {
        what: format!("server at {}", place.server().listen),
        from: "none".to_owned(),
        to: format!("{} up to `{}`", way.backup.name, way.goal),
    }];
    seen.context = json!({
        "backup": way.backup.name, "digest": way.backup.checksum, "goal": way.goal.to_string(),
    });
    seen.commands = crate::by_hand::dumps::point_in_time(
        &clients.estate,
        (&way.backup.name, &way.backup.packed()),
        &way.goal.to_string(),
    );
    Ok(seen)
}

/// Makes the data directory, starts a server on it, and waits until it has reached its target and takes writes.
pub(crate) async fn perform(
    clients: &Clients,
    _armed: &Armed,
    call: &Call,
    with: &PostgresRestorePointInTime,
    seen: &Observation,
) -> Result<Performed, ActionError> {
    let (place, backups) = (Place::of(own(clients)?, call), BaseBackups::of(clients)?);
    let (began, held) = (clients.clock.now(), backups.hold().await?);
    let (mark, made) = match place.state()? {
        State::None | State::Draft => (make(clients, call, with, seen, &place).await?, true),
        State::Part(mark) | State::Whole(mark) => (mark, false),
        State::Foreign { said } => return Err(foreign(&place, &said)),
    };
    let process = Process::of(clients, place.server(), mark.major).await.map_err(begun)?;
    let lacks = match !made && process.recovers() {
        true => wal_again(clients, &mark, process.lacked_wal()).await,
        false => None,
    };
    process.start(clients).await.map_err(begun)?;
    let told = process.promoted(clients, call, &mark).await;
    told.map_err(begun)?;
    let outputs = outputs(clients, place.server(), &mark).await.map_err(begun)?;
    let warned = takes_writes(clients, call).await.map_err(begun)?;
    let took = made.then(|| Span(since(began, clients.clock.now())));
    let (backup, digest, by) = (mark.backup.as_str(), mark.digest.as_str(), ProvedBy::Recovery);
    let proof = Proof::of(clients, call, Proved { backup, digest, by, took });
    let kept = backups.proofs().keep_unless_failed(clients, &proof).await;
    // Before it counts as restored: once it does, nobody comes here again.
    let stays = backups.done(clients, held, (backup, digest)).await;
    let standing = unused::standing(clients, &process).await.map_err(begun)?;
    place.restored(&mark, standing).map_err(begun)?;
    place.tidy();
    let said = format!(
        "restored {} up to `{}` into {}: it takes writes at {}",
        mark.backup,
        mark.goal,
        place.data().display(),
        place.server().listen
    );
    let off = format!(
        "{} archives no WAL, waits for no standby and runs no subscription and no pg_cron job: where it is to stay, set archive_mode, \
         synchronous_standby_names, max_logical_replication_workers and cron.launch_active_jobs again (ALTER SYSTEM), and restart it",
        database(clients)?.recovered.id
    );
    Ok(Performed {
        after: State::whole(&mark),
        outputs,
        obligations: Vec::new(),
        notes: [said, off]
            .into_iter()
            .chain(lacks)
            .chain(warned)
            .chain(kept)
            .chain(stays)
            .collect(),
    })
}

/// Has the WAL on this host for a server that was begun by an attempt before, and that another run may have taken from it; returns
/// what is to be told where that cannot be done: what is there may be enough.
async fn wal_again(clients: &Clients, mark: &Mark, anew: bool) -> Option<String> {
    let again = async {
        let target = mark.goal.parse().map_err(|error| {
            let message = format!("the target `{}`: {error}", mark.goal);
            ActionError::unchanged(FailureClass::Invalid, message)
        })?;
        let (backup, digest) = (Some(mark.backup.clone()), Some(mark.digest.clone()));
        let wanted = Wanted { backup, digest, target };
        let way = Way::find(clients, &wanted).await?;
        // Where nothing is fetched the server reads what there is.
        if way.is_fetched() { way.bring_wal(clients, anew).await } else { Ok(()) }
    };
    let error = Box::pin(again).await.err()?;
    Some(format!("{WARNS}whether the server has all of its WAL was not seen: {error}"))
}

/// Proves that the new server takes writes, by a row that one connection writes and another reads, and that it is not the
/// damaged one; returns what is to be told of it.
async fn takes_writes(clients: &Clients, call: &Call) -> Result<Vec<String>, ActionError> {
    let database = database(clients)?;
    let (id, region) = (&database.recovered.id, &database.primary.region);
    let Writable { identity: _, lifted_fence, locked } =
        prove_writable(clients, id, region, None, &call.run, None).await?;
    let lifted = lifted_fence
        .then(|| format!("a fence that was in the backup or its WAL was lifted on {id}"));
    let locked = (!locked.is_empty())
        .then(|| format!("{WARNS}{} may not log in to {id}", locked.join(", ")));
    Ok(lifted.into_iter().chain(locked).collect())
}

/// Makes the data directory, of what was looked at: what came meanwhile is not what was approved.
async fn make(
    clients: &Clients,
    call: &Call,
    with: &PostgresRestorePointInTime,
    seen: &Observation,
    place: &Place<'_>,
) -> Result<Mark, ActionError> {
    let wanted = Wanted::approved(with, &seen.context)?;
    let way = Way::find(clients, &wanted).await?;
    let user = User::of(clients, place.server()).await?;
    user.may_read(clients, &way).await?;
    place.tidy();
    place.room(&way)?;
    way.bring(clients, call).await?;
    way.restore_point(clients).await?;
    user.may_read(clients, &way).await?;
    clients.guard.pass(format!("make {}", place.data().display()))?;
    place.make(clients, call, &way, &user).await
}

/// Stops the server and removes its data, and only what this very step made and nobody has written to since.
pub(crate) async fn revert(
    clients: &Clients,
    _armed: &Armed,
    call: &Call,
) -> Result<(), ActionError> {
    let place = Place::of(own(clients)?, call);
    match place.state()? {
        State::None => return Ok(()),
        State::Draft => {}
        State::Part(mark) | State::Whole(mark) => {
            clients.guard.pass(format!("remove {}", place.data().display()))?;
            let process = Process::of(clients, place.server(), mark.major).await?;
            unused::prove(clients, call, (&place, &process), &mark).await?;
            process.stop(clients).await?;
        }
        State::Foreign { said } => return Err(foreign(&place, &said)),
    }
    place.remove().await
}

/// Returns the base backup, and the digest in its manifest, that this run has restored a server from; `None` where it has
/// restored none.
pub(super) fn restored_from(
    server: &OwnServer,
    call: &Call,
) -> Result<Option<(String, String)>, ActionError> {
    Ok(Place::of_run(server, call)?.map(|mark| (mark.backup, mark.digest)))
}

/// Returns what later steps can be looked at with before there is a server.
pub(in crate::actions) fn foreseen(clients: &Clients) -> Option<Foreseen> {
    let id = &database(clients).ok()?.recovered.id;
    Some(Foreseen::unmade(id, &own(clients).ok()?.listen))
}

/// Returns where the estate wants the new server.
fn own(clients: &Clients) -> Result<&OwnServer, ActionError> {
    database(clients)?.recovered.server.as_ref().ok_or_else(|| {
        let message = "the estate does not say where a server is restored";
        ActionError::unchanged(FailureClass::NotFound, message)
            .hint("give `data` and `listen` in `database.recovered.server` of the estate file")
    })
}

/// Returns what later steps use, as the server itself says it.
async fn outputs(
    clients: &Clients,
    server: &OwnServer,
    mark: &Mark,
) -> Result<Map<String, Value>, ActionError> {
    let id = &database(clients)?.recovered.id;
    let found = ask(clients, id, None).await?;
    if found.in_recovery {
        let message = format!("{id} was promoted, and the server at {} was not", server.listen);
        return Err(ActionError::unchanged(FailureClass::Conflict, message).hint(format!(
            "correct `database.addresses.{id}` in the estate file: it leads to another server"
        )));
    }
    Ok(Map::from_iter([
        ("instance".to_owned(), json!(id)),
        ("address".to_owned(), json!(server.listen)),
        ("identity".to_owned(), json!(found.identity())),
        ("backup".to_owned(), json!(mark.backup)),
        ("target".to_owned(), json!(mark.goal)),
    ]))
}

/// From here on there is a data directory that was not there before.
fn begun(error: ActionError) -> ActionError {
    ActionError { effect: Effect::Applied, ..error }
}

#[cfg(test)]
#[path = "point_in_time_tests.rs"]
mod tests;
