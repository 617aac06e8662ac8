//! Everybody but the operator, in one database: their sessions, whether they get in, and what no fence of a database
//! reaches.

use serde_json::json;

use super::super::holds::Whose;
use super::access::Known;
use crate::clients::Clients;
use crate::clients::postgres::{READ_ONLY, Session, identifier, literal};
use crate::outcome::{ActionError, FailureClass, Obligation};
use crate::runbook::catalogue::actions::PostgresFence;

pub(in crate::actions::postgres) const COUNT: &str = "select count(*)";
pub(in crate::actions::postgres) const TERMINATE: &str = "select pg_terminate_backend(s.pid)";

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
        return Ok(format!(
            "{} and every other role that is no superuser are kept out of {database}",
            roles.join(", ")
        ));
    }
    let message = format!("{} still get into {database} on {instance}", still.join(", "));
    Err(ActionError::applied(FailureClass::Conflict, message)
        .hint("find out who changed it; a retry looks anew"))
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
/// But for the one the server was made with (10 is its OID everywhere): its administrator, and on RDS AWS itself.
const SUPERUSERS: &str = "select rolname::text from pg_roles where rolsuper and rolcanlogin and rolname <> current_user \
     and rolname::text <> all($1::text[]) and oid <> 10 and rolname <> 'rdsrepladmin' order by 1";

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

    /// Returns what stays open: what goes on in the database as before the fence, and who may still come into it.
    pub(super) fn obligations(&self, with: &PostgresFence, known: &Known) -> Vec<Obligation> {
        [self.inside(with, known), self.may_come(with, known)].into_iter().flatten().collect()
    }

    /// Superusers are held by nothing of a database but a default, which they can switch off.
    fn may_come(&self, with: &PostgresFence, known: &Known) -> Option<Obligation> {
        let PostgresFence { instance, region, .. } = with;
        if self.superusers.is_empty() {
            return None;
        }
        let name = &known.name;
        let listed: Vec<String> = self.superusers.iter().map(|role| literal(role)).collect();
        let locks: Vec<String> = self
            .superusers
            .iter()
            .map(|role| format!("alter role {} nologin", identifier(role)))
            .collect();
        // Once the database is open again, or gone, nothing is left to be kept from it.
        let sql = format!(
            "select not exists (select 1 from pg_roles where rolsuper and rolcanlogin and rolname in ({})) or not exists \
             (select 1 from pg_db_role_setting where setdatabase = {} and setrole = 0 and '{READ_ONLY}=on' = any(setconfig))",
            listed.join(", "),
            known.oid
        );
        Some(Obligation {
            id: format!("superusers-{instance}"),
            say: format!(
                "{name} on {instance} is closed to all but superusers: {} may still log in, and write once they say so",
                self.superusers.join(", ")
            ),
            how: format!(
                "see that none of them writes there; what ends it, and whatever else they do on {instance}: {}",
                locks.join("; ")
            ),
            closed_by: Some(json!({
                "check": "postgres.query",
                "title": format!("no other superuser may log in to {instance}"),
                "with": { "instance": instance, "region": region, "sql": sql },
                "that": "value",
            })),
        })
    }

    fn inside(&self, with: &PostgresFence, known: &Known) -> Option<Obligation> {
        let PostgresFence { instance, region, .. } = with;
        let said = self.said()?;
        let name = &known.name;
        let disable = self.subscriptions.iter().map(|one| {
            format!("in {name}, read write: alter subscription {} disable", identifier(one))
        });
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
