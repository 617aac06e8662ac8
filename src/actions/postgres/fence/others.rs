//! Everybody but the operator, in one database: their sessions, whether they get in, and what no fence of a database
//! reaches.

use serde_json::json;

use super::super::holds::{WRITE, Whose};
use super::access::Known;
use crate::clients::Clients;
use crate::clients::postgres::{Session, Tried, connect, identifier, literal};
use crate::outcome::{ActionError, FailureClass, Obligation};
use crate::runbook::catalogue::actions::PostgresFence;

pub(in crate::actions::postgres) const COUNT: &str = "select count(*)";
pub(in crate::actions::postgres) const TERMINATE: &str = "select pg_terminate_backend(s.pid)";
/// What this program calls itself in a session from before the fence, which is ended as everybody's are.
const FROM_BEFORE: &str = "phoenix-dr, from before the fence";

/// Returns whose sessions in a database are ended: of clients, but not this program's own.
///
/// Nobody but a superuser ends those of superusers: who is none leaves them, and says so. Kinds of sessions are hidden
/// from who may not see them.
pub(in crate::actions::postgres) fn others_in(database: &str) -> String {
    format!(
        "{} and not (r.oid = me.oid and s.application_name = 'phoenix-dr')",
        anybody_in(database)
    )
}

/// Returns whose sessions in databases are ended where nobody may be in them but the session that asks.
pub(in crate::actions::postgres) fn anybody_in(databases: &str) -> String {
    format!(
        "from pg_stat_activity s join pg_roles r on r.oid = s.usesysid, pg_roles me where me.rolname = current_user \
         and s.datname in ({databases}) and s.pid <> pg_backend_pid() \
         and coalesce(s.backend_type, 'client backend') = 'client backend' and (me.rolsuper or not r.rolsuper)"
    )
}

/// Who of all roles gets in: the application's superusers by their login, others by that, the limit and the right to.
fn gets_in(application: &str) -> String {
    format!(
        "r.rolcanlogin and case when r.rolsuper then r.rolname in ({application}) \
         else d.datconnlimit <> 0 and has_database_privilege(r.oid, d.oid, 'CONNECT') end"
    )
}

/// Returns the question whether none of these roles gets into the database it is asked in.
pub(super) fn none_gets_in(application: &str) -> String {
    format!(
        "select not exists (select 1 from pg_roles r, pg_database d where d.datname = current_database() \
         and r.rolname in ({application}) and {})",
        gets_in(application)
    )
}

/// Proves that nobody gets in any more, by what the server itself goes by.
pub(super) async fn kept_out(
    clients: &Clients,
    instance: &str,
    session: &mut Session,
    database: &str,
    roles: &[String],
) -> Result<String, ActionError> {
    let what = format!("read who still gets into {database} on {instance}");
    let listed: Vec<String> = roles.iter().map(|role| literal(role)).collect();
    let sql = format!(
        "select r.rolname::text from pg_roles r, pg_database d where d.datname::text = $1 \
         and r.rolname <> current_user and {} order by 1",
        gets_in(&listed.join(", "))
    );
    let rows = session.read(clients, &what, &sql, &[&database]).await?;
    let still: Vec<String> = rows.iter().filter_map(|row| row.try_get(0).ok()).collect();
    if still.is_empty() {
        return Ok(format!("{} and every other role are kept out of {database}", roles.join(", ")));
    }
    let message = format!("{} still get into {database} on {instance}", still.join(", "));
    Err(ActionError::applied(FailureClass::Conflict, message)
        .hint("find out who changed it; a retry looks anew"))
}

/// A session that began before the fence, as everybody's who is to be kept out.
pub(super) struct Canary(Option<Session>);

impl Canary {
    /// Opens one; where that cannot be, the database is full or damaged and nothing of it is proved that way.
    pub(super) async fn open(clients: &Clients, instance: &str) -> Self {
        let Ok(session) = connect(clients, instance, None).await else { return Self(None) };
        let name = format!("set application_name = {}", literal(FROM_BEFORE));
        let named = session.command(clients, "name a session", &name).await;
        Self(named.is_ok().then_some(session))
    }

    /// Returns how many sessions of the server it is.
    pub(super) fn count(&self) -> i64 {
        i64::from(self.0.is_some())
    }

    /// Proves that a session from before the fence cannot write any more, once sessions have been ended.
    pub(super) async fn prove_dead(
        self,
        clients: &Clients,
        instance: &str,
    ) -> Result<Option<String>, ActionError> {
        let Self(Some(mut session)) = self else { return Ok(None) };
        let what = format!("try a write on {instance} in a session from before the fence");
        match session.attempt(clients, &what, None, WRITE).await {
            Ok(Tried::Worked) => Err(ActionError::applied(
                FailureClass::Conflict,
                format!("{what}: it would have worked; the fence does not hold"),
            )),
            Ok(Tried::Failed(code) | Tried::NotAs(code)) => {
                Ok(Some(format!("a write in a session from before failed with SQLSTATE {code}")))
            }
            // That it was ended has been seen in the server's own list; this is the other end of it.
            Err(_) => Ok(Some("a session from before was ended and cannot write".to_owned())),
        }
    }
}

/// What writes to a database in spite of its fence, or could.
#[derive(Debug, Default)]
pub(super) struct Unreached {
    /// Roles with sessions that were not ended, their kind, and how many
    sessions: Vec<(String, String, i64)>,
    /// Subscriptions whose changes are applied
    subscriptions: Vec<String>,
    /// Superusers that may log in
    superusers: Vec<String>,
}

/// What is not ended: superusers' sessions where the operator is none, and workers that no client is behind.
const SESSIONS: &str = "select r.rolname::text, coalesce(s.backend_type, 'client backend'), count(*) \
     from pg_stat_activity s join pg_roles r on r.oid = s.usesysid, pg_roles me \
     where me.rolname = current_user and s.datname::text = $1 and s.pid <> pg_backend_pid() \
     and not (r.oid = me.oid and s.application_name = 'phoenix-dr') and not (coalesce(s.backend_type, '') = 'walsender') \
     and (r.rolsuper and not me.rolsuper or coalesce(s.backend_type, 'client backend') <> 'client backend') \
     group by 1, 2 order by 1, 2";
const SUBSCRIPTIONS: &str = "select s.subname::text from pg_subscription s join pg_database d on d.oid = s.subdbid \
     where d.datname::text = $1 and s.subenabled order by 1";
const SUPERUSERS: &str = "select rolname::text from pg_roles where rolsuper and rolcanlogin and rolname <> current_user \
     and rolname::text <> all($1::text[]) and rolname not in ('rdsadmin', 'rdsrepladmin') order by 1";

impl Unreached {
    pub(super) async fn read(
        clients: &Clients,
        instance: &str,
        session: &mut Session,
        database: &str,
        roles: &[String],
    ) -> Result<Self, ActionError> {
        let what = format!("list who else uses {database} on {instance}");
        let mut found = Self::default();
        for row in session.read(clients, &what, SESSIONS, &[&database]).await? {
            if let (Ok(role), Ok(kind), Ok(count)) =
                (row.try_get(0), row.try_get(1), row.try_get(2))
            {
                found.sessions.push((role, kind, count));
            }
        }
        let rows = session.read(clients, &what, SUBSCRIPTIONS, &[&database]).await?;
        found.subscriptions = rows.iter().filter_map(|row| row.try_get(0).ok()).collect();
        let rows = session.read(clients, &what, SUPERUSERS, &[&roles]).await?;
        found.superusers = rows.iter().filter_map(|row| row.try_get(0).ok()).collect();
        Ok(found)
    }

    fn said(&self) -> Option<String> {
        let sessions = self.sessions.iter().map(|(role, kind, count)| match kind.as_str() {
            "client backend" => format!("sessions of {role} ({count})"),
            kind => format!("{kind} of {role} ({count})"),
        });
        let subscriptions =
            self.subscriptions.iter().map(|name| format!("the subscription {name}"));
        let all: Vec<String> = sessions.chain(subscriptions).collect();
        (!all.is_empty()).then(|| all.join(", "))
    }

    /// Says what the fence does not reach, a line each.
    pub(super) fn evidence(&self) -> Vec<String> {
        let open = self.said().map(|said| format!("not ended, and able to write: {said}"));
        let superusers = (!self.superusers.is_empty()).then(|| {
            format!(
                "superusers may still log in (their writes are off by default only): {}",
                self.superusers.join(", ")
            )
        });
        open.into_iter().chain(superusers).collect()
    }

    /// Returns what stays open: what goes on in the database as before the fence.
    pub(super) fn obligation(&self, with: &PostgresFence, known: &Known) -> Option<Obligation> {
        let PostgresFence { instance, region, .. } = with;
        let said = self.said()?;
        let name = &known.name;
        let disable = self
            .subscriptions
            .iter()
            .map(|name| format!("alter subscription {} disable", identifier(name)));
        let end = Whose::All { database: name }.terminate();
        let ways: Vec<String> = disable.chain([end]).collect();
        let sql = format!(
            "select not exists (select 1 from pg_stat_activity where datname = {0} and usename <> {1}) and not exists \
             (select 1 from pg_subscription join pg_database d on d.oid = subdbid where d.datname = {0} and subenabled)",
            literal(name),
            literal(&known.operator)
        );
        Some(Obligation {
            id: format!("open-sessions-{instance}"),
            say: format!("{name} on {instance} is fenced but for {said}"),
            how: format!(
                "as a superuser, see whether they write, and end them: {}",
                ways.join("; ")
            ),
            closed_by: Some(json!({
                "check": "postgres.query",
                "title": format!("nobody else in {name} on {instance}"),
                "with": { "instance": instance, "region": region, "sql": sql },
                "that": "value",
            })),
        })
    }
}
