//! Checks `postgres.query`, `postgres.essentials` and `postgres.connections`: what SQL says of an instance, whether the
//! application finds in it what it cannot do without, and who is connected to it.

use serde_json::{Value, json};
use tokio_postgres::types::{FromSql, Kind, Type};

use super::Seen;
use super::kubernetes::{ReadyPod, ready_pods};
use crate::clients::Clients;
use crate::clients::postgres::essentials::{Answered, acts, questions};
use crate::clients::postgres::{connect, leads_to};
use crate::outcome::ActionError;
use crate::runbook::catalogue::checks::{PostgresConnections, PostgresEssentials, PostgresQuery};

/// Reads one value. What it must be is said by `that` or `expect`; a bare one must be true.
pub(super) async fn query(clients: &Clients, with: &PostgresQuery) -> Seen {
    if let Some(name) = acts(&with.sql) {
        return Seen::unclear(format!("`{name}` does more than look"));
    }
    let (value, mistaken) = futures::join!(value(clients, with), mistaken(clients, with));
    match mistaken {
        Ok(None) => {}
        Ok(Some(said)) => return Seen::fails(said, Value::Null),
        Err(error) => return Seen::unclear(error.message),
    }
    match value {
        Ok(Ok(value)) => Seen::holds(format!("{} says {value}", with.instance), value),
        Ok(Err(why)) => Seen::unclear(why),
        Err(error) => Seen::unclear(error.message),
    }
}

/// Asks everything the estate's application cannot do without; holds where the estate names nothing.
pub(super) async fn essentials(clients: &Clients, with: &PostgresEssentials) -> Seen {
    let database = with.database.as_deref();
    match questions(clients, &with.instance, database).await {
        Ok(answered) => judge(&with.instance, &answered),
        Err(error) => Seen::unclear(error.message),
    }
}

/// One wrong answer says more than others that could not be had.
fn judge(instance: &str, answered: &[Answered]) -> Seen {
    let said: Vec<String> = answered.iter().filter_map(Answered::said).collect();
    let value = json!({ "asked": answered.len(), "not_true": said });
    if answered.is_empty() {
        let said =
            "the estate names no questions (`database.essentials.queries`): nothing was asked";
        return Seen::holds(said, value);
    }
    if said.is_empty() {
        let said = format!("{instance} answers all {} of them by true", answered.len());
        return Seen::holds(said, value);
    }
    let said = format!("{instance}: {}", said.join("; "));
    if answered.iter().any(Answered::is_wrong) {
        return Seen::fails(said, value);
    }
    Seen { value, ..Seen::unclear(said) }
}

/// Says which instance the connection leads to by mistake, where it leads to the one it must not.
async fn mistaken(clients: &Clients, with: &PostgresQuery) -> Result<Option<String>, ActionError> {
    let Some(other) = &with.other_than else { return Ok(None) };
    let same = leads_to(clients, &with.instance, other).await?;
    Ok(same.then(|| format!("the connection to {} leads to {other}", with.instance)))
}

async fn value(
    clients: &Clients,
    with: &PostgresQuery,
) -> Result<Result<Value, String>, ActionError> {
    let mut session = connect(clients, &with.instance, None).await?;
    let what = format!("query {} in {}", with.instance, with.region);
    let row = session.read_one(clients, &what, &with.sql, &[]).await?;
    let Some(column) = row.columns().first() else {
        return Ok(Err("the query returns no column".to_owned()));
    };
    let raw: Option<Raw> = match row.try_get(0) {
        Ok(raw) => raw,
        Err(error) => return Ok(Err(error.to_string())),
    };
    let decoded = raw.map_or(Ok(Value::Null), |raw| decode(column.type_(), &raw.0));
    Ok(decoded.map_err(|why| format!("column {}: {why}", column.name())))
}

/// A column's bytes, of whatever type.
struct Raw(Vec<u8>);

impl<'a> FromSql<'a> for Raw {
    fn from_sql(
        _: &Type,
        bytes: &'a [u8],
    ) -> Result<Self, Box<dyn std::error::Error + Sync + Send>> {
        Ok(Self(bytes.to_vec()))
    }

    fn accepts(_: &Type) -> bool {
        true
    }
}

/// Returns a value as JSON; instants as RFC 3339 text.
fn decode(kind: &Type, bytes: &[u8]) -> Result<Value, String> {
    fn typed<'a, T: FromSql<'a>>(kind: &Type, bytes: &'a [u8]) -> Result<T, String> {
        T::from_sql(kind, bytes).map_err(|error| error.to_string())
    }
    match *kind {
        Type::BOOL => Ok(json!(typed::<bool>(kind, bytes)?)),
        Type::INT2 => Ok(json!(typed::<i16>(kind, bytes)?)),
        Type::INT4 => Ok(json!(typed::<i32>(kind, bytes)?)),
        Type::INT8 => Ok(json!(typed::<i64>(kind, bytes)?)),
        Type::OID => Ok(json!(typed::<u32>(kind, bytes)?)),
        Type::FLOAT4 => finite(f64::from(typed::<f32>(kind, bytes)?)),
        Type::FLOAT8 => finite(typed::<f64>(kind, bytes)?),
        Type::NUMERIC => numeric(bytes),
        Type::TIMESTAMPTZ | Type::TIMESTAMP => instant(typed_i64(bytes)?, *kind == Type::TIMESTAMP),
        Type::TEXT | Type::VARCHAR | Type::NAME | Type::BPCHAR | Type::UNKNOWN | Type::JSON => {
            let text: &str = typed(&Type::TEXT, bytes)?;
            match *kind {
                Type::JSON => serde_json::from_str(text).map_err(|error| error.to_string()),
                _ => Ok(json!(text)),
            }
        }
        // One byte of version, then text.
        Type::JSONB => serde_json::from_slice(bytes.get(1..).unwrap_or_default())
            .map_err(|error| error.to_string()),
        _ => match kind.kind() {
            Kind::Enum(_) => Ok(json!(String::from_utf8_lossy(bytes))),
            _ => {
                Err(format!("type {kind} is not known here; cast it, as in `::text` or `::float8`"))
            }
        },
    }
}

fn finite(number: f64) -> Result<Value, String> {
    if number.is_finite() { Ok(json!(number)) } else { Err(format!("{number} is no number")) }
}

/// Reads a numeric: a header of four 16-bit words, then digits to the base of 10,000. Whole numbers stay exact.
fn numeric(bytes: &[u8]) -> Result<Value, String> {
    let words: Vec<u16> =
        bytes.chunks_exact(2).map(|word| u16::from_be_bytes([word[0], word[1]])).collect();
    let Some((&[count, weight, sign, scale], digits)) = words.split_first_chunk::<4>() else {
        return Err("a numeric that is cut off".to_owned());
    };
    // The other signs are NaN and the infinities.
    if !matches!(sign, 0 | 0x4000) || digits.len() != usize::from(count) {
        return Err("this numeric is no number".to_owned());
    }
    let weight = i32::from(weight.cast_signed());
    let digit = |place: i32| {
        let index = usize::try_from(weight - place).ok();
        index.and_then(|index| digits.get(index)).copied().unwrap_or(0)
    };
    let group = |place: i32| format!("{:04}", digit(place));
    let whole: String = (0..=weight).rev().map(group).collect();
    let fraction: String = (1..=i32::from(scale.div_ceil(4))).map(|place| group(-place)).collect();
    let minus = if sign == 0x4000 { "-" } else { "" };
    let whole = format!("{minus}0{whole}");
    let fraction = fraction.trim_end_matches('0');
    match whole.parse::<i64>() {
        Ok(number) if fraction.is_empty() => Ok(json!(number)),
        _ => finite(format!("{whole}.{fraction}0").parse().map_err(|_| "a numeric out of range")?),
    }
}

fn typed_i64(bytes: &[u8]) -> Result<i64, String> {
    let bytes = bytes.try_into().map_err(|_| "an instant of another length".to_owned())?;
    Ok(i64::from_be_bytes(bytes))
}

/// Returns an instant given as microseconds since 2000-01-01; without a zone it is text without one.
fn instant(micros: i64, zoneless: bool) -> Result<Value, String> {
    const EPOCH_SECONDS: i64 = 946_684_800;
    let since_unix = micros.checked_add(EPOCH_SECONDS * 1_000_000);
    let found = since_unix.and_then(|micros| jiff::Timestamp::from_microsecond(micros).ok());
    let text = found.ok_or("an instant out of range")?.to_string();
    Ok(json!(if zoneless { text.trim_end_matches('Z').to_owned() } else { text }))
}

/// Returns what a bare query's value means: true holds, everything that is no answer fails.
pub(super) fn truth(value: &Value) -> bool {
    !matches!(value, Value::Null | Value::Bool(false))
}

/// Looks which of the application's ready pods hold a connection to the instance.
pub(super) async fn connections(clients: &Clients, with: &PostgresConnections) -> Seen {
    match connected(clients, with).await {
        Ok(seen) => seen,
        Err(error) => Seen::unclear(error.message),
    }
}

async fn connected(clients: &Clients, with: &PostgresConnections) -> Result<Seen, ActionError> {
    let application = clients.estate.database.as_ref().and_then(|known| known.application.as_ref());
    let Some(selector) = application.and_then(|application| application.pods.as_ref()) else {
        return Ok(Seen::unclear("the estate has no `database.application.pods`"));
    };
    let (namespace, labels) = (selector.namespace.as_str(), selector.selector.as_str());
    let pods = ready_pods(clients, &with.region, namespace, labels).await?;
    let mut session = connect(clients, &with.instance, None).await?;
    let what = format!("list the connections of {}", with.instance);
    let sql = "select coalesce(host(client_addr), ''), coalesce(application_name, ''), \
         query = '<insufficient privilege>' \
         from pg_stat_activity where datname = current_database() and pid <> pg_backend_pid() \
         and (backend_type = 'client backend' or backend_type is null)";
    let rows = session.read(clients, &what, sql, &[]).await?;
    let mut peers = Vec::new();
    let mut hidden = false;
    for row in &rows {
        hidden |= row.try_get::<_, bool>(2).unwrap_or(false);
        if let (Ok(address), Ok(name)) = (row.try_get(0), row.try_get(1)) {
            peers.push((address, name));
        }
    }
    Ok(count(with, &pods, &peers, hidden))
}

fn count(
    with: &PostgresConnections,
    pods: &[ReadyPod],
    peers: &[(String, String)],
    hidden: bool,
) -> Seen {
    let is_connected = |pod: &&ReadyPod| {
        peers.iter().any(|(address, name)| {
            pod.address.as_ref().is_some_and(|own| own == address) || *name == pod.name
        })
    };
    let missing: Vec<&str> =
        pods.iter().filter(|pod| !is_connected(pod)).map(|pod| pod.name.as_str()).collect();
    let connected = pods.len() - missing.len();
    let value = json!({ "pods": pods.len(), "connected": connected, "missing": missing });
    let said = format!("{connected} of {} ready pods connected to {}", pods.len(), with.instance);
    let enough = match with.pods {
        Some(least) => u32::try_from(connected).is_ok_and(|count| count >= least),
        None => missing.is_empty(),
    };
    if enough && connected > 0 {
        return Seen::holds(said, value);
    }
    if hidden && !missing.is_empty() {
        let grant =
            "who is connected is hidden from it: grant pg_monitor to `database.connection.user`";
        return Seen { value, ..Seen::unclear(format!("{said}, but {grant}")) };
    }
    Seen::fails(said, value)
}

#[cfg(test)]
#[path = "postgres_tests.rs"]
mod tests;
