//! What PostgreSQL says of itself: whether it follows another, how far it is behind, who of the application may log in.

use jiff::Timestamp;
use serde_json::{Value, json};

use super::Part;
use super::fields::{Fields, from};
use crate::clients::Clients;
use crate::clients::postgres::{self, Server, connect, replay_lag, server, usage};
use crate::estate::types::Database;
use crate::outcome::{ActionError, FailureClass};
use crate::sandbox::estate::endpoint;
use crate::sandbox::fault::Service;
use crate::sandbox::world::Kind;

/// System identifier of servers nobody could ask.
const SYSTEM: &str = "7000000000000000000";

pub(super) async fn look(clients: &Clients, seen: &Part) -> Part {
    let mut part = Part::default();
    let Some(database) = &clients.estate.database else { return part };
    let wanted = wanted(database, seen);
    let looks = wanted.iter().map(|(id, region, address)| async move {
        let silent = seen.silent.contains(&(region.clone(), Service::Rds));
        match silent {
            // What lies in a region that does not answer would only be waited for.
            true => Err(ActionError::unchanged(
                FailureClass::Timeout,
                format!("not asked: {region} gives no answer"),
            )),
            false => asked(clients, database, id, region, address.as_deref()).await,
        }
    });
    let found = futures::future::join_all(looks).await;
    let system = found.iter().flatten().find_map(|known| known.system.clone());
    for ((id, region, _), found) in wanted.into_iter().zip(found) {
        let known = found.unwrap_or_else(|error| {
            part.missed(&format!("PostgreSQL of {id}"), Some(&region), &error);
            Known::default()
        });
        part.answers += usize::from(known.answered);
        for (what, why) in known.guesses(&id) {
            part.assumed(&what, Some(&region), why);
        }
        let pods = i64::try_from(seen.pods).unwrap_or(i64::MAX);
        let elsewhere = known.sessions.map(|sessions| sessions.saturating_sub(pods));
        let roles = &database.connection.application_roles;
        let roles = known.roles.unwrap_or_else(|| json_roles(roles));
        let system = known.system.or_else(|| system.clone()).unwrap_or_else(|| SYSTEM.to_owned());
        let body = Fields::default()
            .set("system", Some(system))
            .set("timeline", known.timeline)
            .set("replayed", known.replayed)
            .set("roles", Some(roles))
            .set("read_only", known.read_only)
            .set("sessions", elsewhere.filter(|sessions| *sessions > 0));
        part.add(Kind::Postgres, &region, &id, body.done());
    }
    part
}

/// Returns the instances that are asked, with their regions and addresses.
fn wanted(database: &Database, seen: &Part) -> Vec<(String, String, Option<String>)> {
    let known = [Some(&database.primary), database.replica.as_ref()].into_iter().flatten();
    let mut wanted: Vec<(String, String, Option<String>)> =
        known.map(|known| (known.id.clone(), known.region.clone(), None)).collect();
    let recovered = &database.recovered.id;
    for object in seen.objects.iter().filter(|object| object.kind == Kind::RdsInstance) {
        let region = object.region.clone().unwrap_or_default();
        let address = endpoint(&object.body).map(|(host, port)| format!("{host}:{port}"));
        if let Some(found) = wanted.iter_mut().find(|(id, of, _)| *id == object.id && *of == region)
        {
            found.2 = address;
        } else if object.id == *recovered {
            wanted.push((object.id.clone(), region, address));
        }
    }
    wanted
}

/// What a server said.
#[derive(Debug, Default)]
struct Known {
    answered: bool,
    /// It follows another
    follows: bool,
    system: Option<String>,
    timeline: Option<u32>,
    replayed: Option<String>,
    roles: Option<Value>,
    read_only: Option<String>,
    sessions: Option<i64>,
}

impl Known {
    /// Returns what of a server that answered the world has a guess in the place of.
    fn guesses(&self, id: &str) -> Vec<(String, &'static str)> {
        let mut guesses = Vec::new();
        if self.answered && self.system.is_none() {
            let what = format!("which system PostgreSQL of {id} is");
            guesses.push((what, "it does not say: taken to be the same as the others"));
        }
        if self.follows && self.replayed.is_none() {
            let what = format!("how far behind PostgreSQL of {id} is");
            guesses.push((what, "it does not say: in the world it does not say either"));
        }
        guesses
    }
}

async fn asked(
    clients: &Clients,
    database: &Database,
    id: &str,
    region: &str,
    address: Option<&str>,
) -> Result<Known, ActionError> {
    let Server { lineage, in_recovery, .. } = server(clients, id, address).await?;
    let lag = match in_recovery {
        true => replay_lag(clients, id, region, address).await?,
        false => None,
    };
    let at = Timestamp::UNIX_EPOCH;
    let replayed = lag.map(|lag| from(at, at - lag.duration()));
    let (read_only, roles) = fence(clients, database, id, address).await?;
    let sessions = match in_recovery {
        true => None,
        false => Some(usage(clients, id, address).await?.sessions),
    };
    let timeline = lineage.as_ref().map(|lineage| lineage.timeline);
    let system = lineage.map(|lineage| lineage.system);
    Ok(Known {
        answered: true,
        follows: in_recovery,
        system,
        timeline,
        replayed,
        roles: Some(roles),
        read_only,
        sessions,
    })
}

/// Reads the database's own default and which of the application's roles may log in.
async fn fence(
    clients: &Clients,
    database: &Database,
    id: &str,
    address: Option<&str>,
) -> Result<(Option<String>, Value), ActionError> {
    let mut session = connect(clients, id, address).await?;
    let what = format!("read who may log in to {id}");
    let unreadable = |error: tokio_postgres::Error| {
        ActionError::unchanged(FailureClass::Internal, format!("{what}: {error}"))
    };
    let row =
        session.read_one(clients, &what, postgres::OWN_DEFAULT, &[&postgres::READ_ONLY]).await?;
    let read_only: Option<String> = row.try_get(1).map_err(unreadable)?;
    let wanted = &database.connection.application_roles;
    let mut roles = serde_json::Map::new();
    for row in session.read(clients, &what, postgres::LOGINS, &[wanted]).await? {
        let name: String = row.try_get(0).map_err(unreadable)?;
        let may: bool = row.try_get(1).map_err(unreadable)?;
        roles.insert(name, json!(may));
    }
    Ok((read_only, Value::Object(roles)))
}

fn json_roles(roles: &[String]) -> Value {
    Value::Object(roles.iter().map(|role| (role.clone(), json!(true))).collect())
}
