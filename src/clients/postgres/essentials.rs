//! What the application cannot do without, asked of a copy of its database: by reads alone, each for a bounded time.
//!
//! The statements are the estate's own and see names as the application does.

use jiff::Timestamp;
use tokio_postgres::error::SqlState;
use tokio_postgres::types::{FromSql, Type};
use tokio_postgres::{Column, Row};

use super::long::{NoRows, Refusal, STATEMENT_LIMIT};
use super::{Opening, Session, connect_with, database};
use crate::clients::Clients;
use crate::estate::essentials::EssentialQuery;
use crate::outcome::ActionError;

/// How sessions of these questions begin; the server gives up before this side does.
const OPTIONS: &str = "-c statement_timeout=60000 -c lock_timeout=5000 -c default_transaction_read_only=on \
     -c client_connection_check_interval=2000";
/// Microseconds from the Unix epoch to that of PostgreSQL.
const EPOCH: i64 = 946_684_800_000_000;

/// Functions that act although the transaction is read-only; what only asks must not.
pub(crate) const ACTS: [&str; 12] = [
    "pg_promote",
    "pg_terminate_backend",
    "pg_cancel_backend",
    "pg_reload_conf",
    "pg_switch_wal",
    "pg_rotate_logfile",
    "pg_wal_replay_pause",
    "pg_wal_replay_resume",
    "pg_create_restore_point",
    "pg_drop_replication_slot",
    "pg_advisory_lock",
    "dblink",
];

/// Returns the function by which a text would do more than look.
pub(crate) fn acts(sql: &str) -> Option<&'static str> {
    let sql = sql.to_ascii_lowercase();
    ACTS.into_iter().find(|name| sql.contains(name))
}

/// What one question of the application came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Answer {
    True,
    /// It was answered, and not by true, or cannot be answered in this database
    Wrong {
        said: String,
    },
    /// It could not be asked: nothing is known
    Unasked {
        said: String,
    },
}

/// One question and its answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Answered {
    pub title: String,
    pub answer: Answer,
}

impl Answered {
    /// Says whether it was answered, and not by true.
    pub(crate) const fn is_wrong(&self) -> bool {
        matches!(self.answer, Answer::Wrong { .. })
    }

    /// Returns what is other than it must be, with the question's title; `None` where it is true.
    pub(crate) fn said(&self) -> Option<String> {
        match &self.answer {
            Answer::True => None,
            Answer::Wrong { said } => Some(format!("`{}` {said}", self.title)),
            Answer::Unasked { said } => {
                Some(format!("`{}` could not be asked: {said}", self.title))
            }
        }
    }
}

/// Asks a database of an instance everything the estate's application cannot do without; its own where none is named.
///
/// # Errors
///
/// No connection, or one that was lost: nothing is concluded from it.
pub(crate) async fn questions(
    clients: &Clients,
    instance: &str,
    name: Option<&str>,
) -> Result<Vec<Answered>, ActionError> {
    let queries = &database(clients)?.essentials.queries;
    let mut answered = Vec::with_capacity(queries.len());
    if queries.is_empty() {
        return Ok(answered);
    }
    let mut session = open(clients, instance, name).await?;
    for query in queries {
        let answer = ask(clients, instance, &mut session, query).await?;
        answered.push(Answered { title: query.title.clone(), answer });
    }
    Ok(answered)
}

/// Reads of when the newest record of a database is, as the estate asks for it; `None` where it does not, or where there is
/// no record. The text says why it is not known.
///
/// # Errors
///
/// No connection, or one that was lost.
pub(crate) async fn newest(
    clients: &Clients,
    instance: &str,
    name: Option<&str>,
) -> Result<Result<Option<Timestamp>, String>, ActionError> {
    let Some(sql) = &database(clients)?.essentials.newest else { return Ok(Ok(None)) };
    if let Some(function) = acts(sql) {
        return Ok(Err(format!("`{function}` does more than look")));
    }
    let mut session = open(clients, instance, name).await?;
    let what = format!("ask {instance} for the newest record");
    match session.read_long(clients, &what, sql, STATEMENT_LIMIT).await {
        Ok(rows) => Ok(newest_in(&rows)),
        Err(NoRows::Refused(Refusal { message, .. })) => Ok(Err(message)),
        Err(NoRows::Lost(error)) => Err(error),
    }
}

async fn open(
    clients: &Clients,
    instance: &str,
    name: Option<&str>,
) -> Result<Session, ActionError> {
    let opening = Opening { database: name, options: OPTIONS };
    Ok(connect_with(clients, instance, None, opening).await?)
}

async fn ask(
    clients: &Clients,
    instance: &str,
    session: &mut Session,
    query: &EssentialQuery,
) -> Result<Answer, ActionError> {
    if let Some(function) = acts(&query.sql) {
        return Ok(Answer::Unasked { said: format!("`{function}` does more than look") });
    }
    let what = format!("ask {instance}: {}", query.title);
    match session.read_long(clients, &what, &query.sql, STATEMENT_LIMIT).await {
        Ok(rows) => Ok(answer(&rows)),
        Err(NoRows::Refused(refusal)) => Ok(refused(refusal)),
        Err(NoRows::Lost(error)) => Err(error),
    }
}

fn answer(rows: &[Row]) -> Answer {
    let wrong = |said: String| Answer::Wrong { said };
    let [row] = rows else { return wrong(format!("gives {} rows instead of one", rows.len())) };
    match row.try_get::<_, Option<bool>>(0) {
        Ok(Some(true)) => Answer::True,
        Ok(Some(false)) => wrong("is false".to_owned()),
        Ok(None) => wrong("is null".to_owned()),
        Err(_) => {
            let kind = row.columns().first().map(Column::type_);
            let kind = kind.map_or("nothing".to_owned(), |kind| format!("a value of type {kind}"));
            wrong(format!("gives {kind} and not true"))
        }
    }
}

/// Tells what this database cannot answer from what this user, or this server at this moment, cannot.
fn refused(refusal: Refusal) -> Answer {
    let Refusal { code, message } = refusal;
    let denied = [SqlState::INSUFFICIENT_PRIVILEGE, SqlState::FEATURE_NOT_SUPPORTED];
    let passing = ["53", "55", "57", "58", "40"];
    let unasked = denied.iter().any(|known| known.code() == code)
        || passing.iter().any(|class| code.starts_with(class));
    let said = format!("{message} ({code})");
    if unasked {
        Answer::Unasked { said }
    } else {
        Answer::Wrong { said: format!("fails: {said}") }
    }
}

fn newest_in(rows: &[Row]) -> Result<Option<Timestamp>, String> {
    let [row] = rows else { return Err(format!("it gives {} rows instead of one", rows.len())) };
    match row.try_get::<_, Option<Instant>>(0) {
        Ok(found) => Ok(found.map(|Instant(at)| at)),
        Err(error) => Err(format!("it gives no timestamptz: {error}")),
    }
}

/// An instant as PostgreSQL sends it.
struct Instant(Timestamp);

impl<'a> FromSql<'a> for Instant {
    fn from_sql(
        _: &Type,
        bytes: &'a [u8],
    ) -> Result<Self, Box<dyn std::error::Error + Sync + Send>> {
        let micros = i64::from_be_bytes(bytes.try_into()?);
        // The infinities are no instants.
        let micros = micros.checked_add(EPOCH).ok_or("an instant out of range")?;
        Ok(Self(Timestamp::from_microsecond(micros)?))
    }

    fn accepts(kind: &Type) -> bool {
        *kind == Type::TIMESTAMPTZ
    }
}
