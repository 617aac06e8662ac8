//! Whether a fence holds: the application's sessions are ended, a write as each of its roles fails, and whoever else is
//! still connected is named.

use std::time::Duration;

use serde_json::json;

use super::fence::others::{COUNT, TERMINATE, anybody_in, others_in};
use super::state::State;
use crate::clients::Clients;
use crate::clients::postgres::{Session, Tried, connect, database, identifier, literal};
use crate::engine::ports::Call;
use crate::outcome::{ActionError, FailureClass, Obligation};
use crate::runbook::catalogue::actions::PostgresFence;

/// Between two looks at the sessions: a client that reconnects does it within this.
const LOOK_EVERY: Duration = Duration::from_secs(1);
const LOOKS_MAX: u32 = 20;
/// SQLSTATE of a write in a read-only transaction.
pub(super) const READ_ONLY: &str = "25006";
/// A write that leaves nothing behind: it is taken back whatever it says.
pub(super) const WRITE: &str = "create table phoenix_dr_must_fail (x int)";

/// Whose sessions a fence ends.
#[derive(Debug, Clone, Copy)]
pub(super) enum Whose<'a> {
    /// These roles', in every database
    Roles(&'a [String]),
    /// Everybody's in one database, but this program's own
    All { database: &'a str },
    /// Everybody's in these databases, also what earlier processes of this program left
    Anybody { databases: &'a [&'a str] },
}

impl Whose<'_> {
    /// Counts them.
    pub(super) async fn count(
        self,
        clients: &Clients,
        instance: &str,
        session: &mut Session,
    ) -> Result<i64, ActionError> {
        let what = format!("count the sessions of {self} on {instance}");
        let row = match self {
            Self::Roles(roles) => {
                let sql =
                    "select count(*) from pg_stat_activity where usename::text = any($1::text[])";
                session.read_one(clients, &what, sql, &[&roles]).await?
            }
            Self::All { database } => {
                let sql = format!("{COUNT} {}", others_in(literal(database).as_str()));
                session.read_one(clients, &what, &sql, &[]).await?
            }
            Self::Anybody { databases } => {
                let sql = format!("{COUNT} {}", anybody_in(&names(databases)));
                session.read_one(clients, &what, &sql, &[]).await?
            }
        };
        row.try_get(0).map_err(|error| {
            ActionError::unchanged(FailureClass::Internal, format!("{what}: {error}"))
        })
    }

    /// Returns the statement that ends them.
    pub(super) fn terminate(self) -> String {
        match self {
            Self::Roles(roles) => format!(
                "select pg_terminate_backend(pid) from pg_stat_activity where usename in ({})",
                listed(roles)
            ),
            Self::All { database } => format!("{TERMINATE} {}", others_in(&literal(database))),
            Self::Anybody { databases } => {
                format!("{TERMINATE} {}", anybody_in(&names(databases)))
            }
        }
    }
}

impl std::fmt::Display for Whose<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Roles(roles) => write!(f, "{}", roles.join(", ")),
            Self::All { database } => write!(f, "others in {database}"),
            Self::Anybody { databases } => write!(f, "anybody in {}", databases.join(", ")),
        }
    }
}

fn names(databases: &[&str]) -> String {
    databases.iter().map(|name| literal(name)).collect::<Vec<_>>().join(", ")
}

fn listed(roles: &[String]) -> String {
    roles.iter().map(|role| literal(role)).collect::<Vec<_>>().join(", ")
}

/// Ends sessions until two looks in a row find none; returns how many there were at first.
pub(super) async fn end_sessions(
    clients: &Clients,
    call: &Call,
    instance: &str,
    session: &mut Session,
    whose: Whose<'_>,
) -> Result<i64, ActionError> {
    let first = whose.count(clients, instance, session).await?;
    let mut quiet = 0;
    for _ in 0..LOOKS_MAX {
        let left = whose.count(clients, instance, session).await?;
        if left == 0 {
            quiet += 1;
            if quiet == 2 {
                return Ok(first);
            }
        } else {
            quiet = 0;
            call.progress.tell(format!("ending {left} sessions"), None);
            let statement = (whose.terminate(), Vec::new());
            session.change(clients, &format!("end sessions on {instance}"), &[statement]).await?;
        }
        clients.clock.sleep(LOOK_EVERY).await;
    }
    Err(ActionError::applied(
        FailureClass::Transient,
        format!("sessions of {whose} on {instance} do not end"),
    )
    .hint("something still connects as these roles, or a session cannot be interrupted"))
}

/// Proves the fence in a session of its own: the roles may not log in, and a write fails, as this program's own role and
/// as each role of the application. Returns what was proved, a line each.
pub(super) async fn prove(
    clients: &Clients,
    instance: &str,
    roles: &[String],
) -> Result<Vec<String>, ActionError> {
    let mut session = connect(clients, instance, None).await?;
    let state = State::read(clients, instance, &mut session, roles).await?;
    if state != state.fenced() {
        return Err(ActionError::applied(
            FailureClass::Conflict,
            format!("the fence of {instance} did not stay: {}", state.shape()),
        )
        .hint("find out who changed it; a retry looks anew"));
    }
    let Tries { mut proved, untried } = writes_fail(clients, instance, &mut session, roles).await?;
    proved.extend(untried);
    Ok(proved)
}

/// What tries of writes came to.
#[derive(Debug, Default)]
pub(super) struct Tries {
    /// What was proved, a line each
    pub proved: Vec<String>,
    /// As whom nothing was tried, and why, a line each
    pub untried: Vec<String>,
}

/// Tries a write in a session that began behind the fence, as this program's own role and as each role of the application.
pub(super) async fn writes_fail(
    clients: &Clients,
    instance: &str,
    session: &mut Session,
    roles: &[String],
) -> Result<Tries, ActionError> {
    let user = &database(clients)?.connection.user;
    let mut tries = Tries::default();
    for role in std::iter::once(None).chain(roles.iter().map(|role| Some(role.as_str()))) {
        let name = role.unwrap_or(user);
        let what = format!("try a write on {instance} as {name}");
        match session.attempt(clients, &what, role, WRITE).await? {
            Tried::Failed(code) if code == READ_ONLY => {
                tries.proved.push(format!("a write as {name} failed with SQLSTATE {code}"));
            }
            Tried::Failed(code) => {
                return Err(ActionError::applied(
                    FailureClass::Conflict,
                    format!("{what}: it failed with SQLSTATE {code} instead of {READ_ONLY}"),
                ));
            }
            Tried::NotAs(code) => tries.untried.push(format!(
                "no write was tried as {name} ({code}): grant {} to {}",
                identifier(name),
                identifier(user)
            )),
            Tried::Worked => {
                return Err(ActionError::applied(
                    FailureClass::Conflict,
                    format!("{what}: it would have worked; the fence does not hold"),
                )
                .hint("does its role set default_transaction_read_only by itself? see pg_db_role_setting"));
            }
        }
    }
    Ok(tries)
}

/// Sessions and logins the fence does not reach.
#[derive(Debug, Default)]
pub(super) struct Others {
    /// Roles with sessions, and how many
    sessions: Vec<(String, i64)>,
    /// Roles that may log in
    logins: Vec<String>,
}

impl Others {
    /// Reads who else is connected, and who else may connect.
    pub(super) async fn read(
        clients: &Clients,
        instance: &str,
        session: &mut Session,
        roles: &[String],
    ) -> Result<Self, ActionError> {
        let what = format!("list who else uses {instance}");
        // Kinds of sessions are hidden from who may not see them; whatever is no client has no role.
        let sql = "select usename::text, count(*) from pg_stat_activity \
             where datname = current_database() and usename is not null and usename <> current_user \
             and usename::text <> all($1::text[]) and coalesce(backend_type, 'client backend') = 'client backend' \
             group by 1 order by 1";
        let mut others = Self::default();
        for row in session.read(clients, &what, sql, &[&roles]).await? {
            if let (Ok(role), Ok(count)) = (row.try_get(0), row.try_get(1)) {
                others.sessions.push((role, count));
            }
        }
        let sql = "select rolname::text from pg_roles where rolcanlogin and rolname <> current_user \
             and rolname::text <> all($1::text[]) and rolname not in ('rdsadmin', 'rdsrepladmin') \
             and has_database_privilege(oid, current_database(), 'CONNECT') order by 1";
        let rows = session.read(clients, &what, sql, &[&roles]).await?;
        others.logins = rows.iter().filter_map(|row| row.try_get(0).ok()).collect();
        Ok(others)
    }

    fn said(&self) -> String {
        let each = self.sessions.iter().map(|(role, count)| format!("{role} ({count})"));
        each.collect::<Vec<_>>().join(", ")
    }

    /// Says what the fence does not reach, a line each.
    pub(super) fn evidence(&self) -> Vec<String> {
        let mut lines = Vec::new();
        if !self.sessions.is_empty() {
            lines.push(format!(
                "sessions of other roles are not ended and can write: {}",
                self.said()
            ));
        }
        if !self.logins.is_empty() {
            lines.push(format!(
                "roles that may still log in (their writes are off by default only): {}",
                self.logins.join(", ")
            ));
        }
        lines
    }

    /// Returns what stays open: sessions from before the fence that are not the application's own.
    ///
    /// `session` began before the fence as well: what it can still do, they can.
    pub(super) async fn obligation(
        &self,
        clients: &Clients,
        with: &PostgresFence,
        session: &mut Session,
    ) -> Result<Option<Obligation>, ActionError> {
        let PostgresFence { instance, region, .. } = with;
        if self.sessions.is_empty() {
            return Ok(None);
        }
        let what = format!("try a write on {instance} in a session from before the fence");
        let can = match session.attempt(clients, &what, None, WRITE).await? {
            Tried::Worked => "can still write",
            Tried::Failed(_) | Tried::NotAs(_) => "are still open",
        };
        let roles: Vec<String> = self.sessions.iter().map(|(role, _)| role.clone()).collect();
        let open = format!(
            "from pg_stat_activity where datname = current_database() and usename in ({})",
            listed(&roles)
        );
        Ok(Some(Obligation {
            id: format!("open-sessions-{instance}"),
            say: format!(
                "sessions of {} on {instance} began before the fence and {can}",
                self.said()
            ),
            how: format!(
                "see whether they write, and end them: select pg_terminate_backend(pid) {open}; a role of the \
                 application belongs in `database.connection.application_roles`"
            ),
            closed_by: Some(json!({
                "check": "postgres.query",
                "title": format!("no other sessions on {instance}"),
                "with": {
                    "instance": instance,
                    "region": region,
                    "sql": format!("select not exists (select 1 {open})"),
                },
                "that": "value",
            })),
        }))
    }
}
