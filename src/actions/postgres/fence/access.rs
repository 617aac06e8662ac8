//! What decides who gets into a database, and whether what they begin there may write.
//!
//! The roles belong to the whole server and the database's own means do not: a role loses its login only where nothing of
//! the database holds it. A superuser closes the database by its connection limit, which holds everybody but superusers
//! and is one number to give back. Who is none would lock itself out by that, and takes the right to connect from all
//! others instead.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use crate::clients::Clients;
use crate::clients::postgres::acl::{Acl, Barrier};
use crate::clients::postgres::marks::{Closed, Comment, Note};
use crate::clients::postgres::{LOGINS, READ_ONLY as SETTING, Session, identifier, literal};
use crate::outcome::{ActionError, Difference, FailureClass};

const ON: &str = "on";
const LIMIT: &str = "connection_limit";
const PRIVILEGES: &str = "privileges";
/// The database itself: what has its name may be another one by the time it is to be given back.
const OID: &str = "oid";

/// What decides who gets in and who writes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::actions::postgres) struct Access {
    /// Value of the database's own default, where it has one
    pub setting: Option<String>,
    pub barrier: Barrier,
    /// Roles that the barrier does not hold, and whether they may log in
    pub logins: BTreeMap<String, bool>,
}

/// A database as its server knows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::actions::postgres) struct Known {
    pub name: String,
    pub oid: i64,
    pub owner: String,
    /// Whoever asks, which is the estate's user
    pub operator: String,
    pub in_recovery: bool,
    pub access: Access,
    pub comment: Comment,
}

/// The database's own row, whoever asks, and the server.
const DATABASE: &str = "select pg_get_userbyid(d.datdba)::text, me.rolname::text, me.rolsuper, pg_is_in_recovery(), \
     d.datconnlimit, (select substr(entry, length($2) + 2) from pg_db_role_setting s, unnest(s.setconfig) entry \
         where s.setdatabase = d.oid and s.setrole = 0 and entry like $2 || '=%'), \
     d.oid::int8, coalesce(shobj_description(d.oid, 'pg_database'), '') \
     from pg_database d, pg_roles me where d.datname::text = $1 and me.rolname = current_user";
/// Roles that get in whatever the database says: superusers, and where the operator is none, who has what it has.
const UNHELD: &str = "select r.rolname::text, r.rolcanlogin from pg_roles r, pg_roles me \
     where me.rolname = current_user and r.oid <> me.oid and case when r.rolsuper then r.rolname::text = any($1::text[]) \
     else not me.rolsuper and pg_has_role(r.oid, me.oid, 'USAGE') end";

impl Known {
    /// Reads it from any database of its server.
    pub(in crate::actions::postgres) async fn read(
        clients: &Clients,
        instance: &str,
        session: &mut Session,
        name: &str,
        roles: &[String],
    ) -> Result<Self, ActionError> {
        let what = format!("read who gets into {name} on {instance}");
        let unreadable = |error: tokio_postgres::Error| {
            ActionError::unchanged(FailureClass::Internal, format!("{what}: {error}"))
        };
        let found = session.read(clients, &what, DATABASE, &[&name, &SETTING]).await?;
        let Some(row) = found.first() else {
            let message = format!("{instance} has no database `{name}`");
            return Err(ActionError::unchanged(FailureClass::Invalid, message).hint(
                "compare `database.name` of the estate file with the databases of the server",
            ));
        };
        all_there(clients, &what, instance, session, roles).await?;
        let superuser: bool = row.try_get(2).map_err(unreadable)?;
        let barrier = if superuser {
            Barrier::Limit(row.try_get(4).map_err(unreadable)?)
        } else {
            Barrier::Privileges(Acl::read(clients, &what, session, name).await?)
        };
        let mut logins = BTreeMap::new();
        for row in session.read(clients, &what, UNHELD, &[&roles]).await? {
            let role = row.try_get(0).map_err(unreadable)?;
            logins.insert(role, row.try_get(1).map_err(unreadable)?);
        }
        Ok(Self {
            name: name.to_owned(),
            owner: row.try_get(0).map_err(unreadable)?,
            operator: row.try_get(1).map_err(unreadable)?,
            in_recovery: row.try_get(3).map_err(unreadable)?,
            access: Access { setting: row.try_get(5).map_err(unreadable)?, barrier, logins },
            oid: row.try_get(6).map_err(unreadable)?,
            comment: Comment::read(row.try_get(7).map_err(unreadable)?),
        })
    }

    /// Returns the access that is left once the database is fenced.
    pub(in crate::actions::postgres) fn fenced(&self) -> Access {
        let barrier = match &self.access.barrier {
            Barrier::Limit(_) => Barrier::Limit(0),
            Barrier::Privileges(acl) => {
                Barrier::Privileges(acl.with_only(&self.operator, &self.owner))
            }
        };
        let logins = self.access.logins.keys().map(|role| (role.clone(), false)).collect();
        Access { setting: Some(ON.to_owned()), barrier, logins }
    }

    /// Returns the statements that fence it.
    pub(super) fn fence(&self) -> Vec<String> {
        let mut statements = self.setting_to(Some(ON));
        let fenced = self.fenced();
        match &self.access.barrier {
            before if *before == fenced.barrier => {}
            Barrier::Limit(_) => statements.push(self.limit(0)),
            Barrier::Privileges(acl) => {
                statements.extend(acl.close(&self.name, &self.operator, &self.owner));
            }
        }
        statements.extend(self.logins_to(&fenced));
        if !statements.is_empty() {
            statements.push(self.comment.noting(&self.name, &self.taking()));
        }
        statements
    }

    /// Returns the note of a database that is being fenced: what there was, and the logins it takes. Of one that is open,
    /// what was noted of an earlier fence means nothing any more; of one that is half closed, what there was before stays.
    fn taking(&self) -> Note {
        let mut note = self.comment.note.clone();
        if self.access.setting.as_deref() != Some(ON) {
            note = note.without_fence();
        }
        let Access { setting, barrier, .. } = self.access.clone();
        let (setting, barrier) = match note.closed.take() {
            Some(closed) if barrier == self.fenced().barrier => (closed.setting, closed.barrier),
            Some(closed) => (closed.setting, barrier),
            None => (setting, barrier),
        };
        note.closed = Some(Closed { operator: self.operator.clone(), setting, barrier });
        let taken = self.access.logins.iter().filter(|(_, login)| **login).map(|(role, _)| role);
        note.logins.extend(taken.cloned());
        note.logins.sort();
        note.logins.dedup();
        note
    }

    /// Returns the statements that give back what was before.
    pub(super) fn restore(&self, before: &Access) -> Vec<String> {
        let mut statements = self.setting_to(before.setting.as_deref());
        match (&self.access.barrier, &before.barrier) {
            (now, then) if now == then => {}
            (_, Barrier::Limit(then)) => statements.push(self.limit(*then)),
            (Barrier::Privileges(now), Barrier::Privileges(then)) => {
                statements.extend(then.restore(now, &self.name, &self.owner));
            }
            // Told as another's change before it comes to that: the operator is a superuser now and was none.
            (Barrier::Limit(_), Barrier::Privileges(_)) => {}
        }
        statements.extend(self.logins_to(before));
        let note = self.comment.note.without_fence();
        if note != self.comment.note {
            statements.push(self.comment.noting(&self.name, &note));
        }
        statements
    }

    /// Returns an access to this very database in the action's own shape.
    pub(super) fn shape_of(&self, access: &Access) -> Value {
        let mut shape = access.shape();
        shape[OID] = json!(self.oid);
        shape
    }

    fn setting_to(&self, value: Option<&str>) -> Vec<String> {
        if self.access.setting.as_deref() == value {
            return Vec::new();
        }
        let name = identifier(&self.name);
        vec![match value {
            Some(value) => format!("alter database {name} set {SETTING} = {}", literal(value)),
            None => format!("alter database {name} reset {SETTING}"),
        }]
    }

    fn limit(&self, to: i32) -> String {
        format!("alter database {} connection limit {to}", identifier(&self.name))
    }

    fn logins_to(&self, to: &Access) -> Vec<String> {
        let changed =
            to.logins.iter().filter(|(role, login)| self.access.logins.get(*role) != Some(login));
        changed
            .map(|(role, login)| {
                let word = if *login { "login" } else { "nologin" };
                format!("alter role {} {word}", identifier(role))
            })
            .collect()
    }

    /// Says what is between the present and the fence.
    pub(in crate::actions::postgres) fn differences(&self, instance: &str) -> Vec<Difference> {
        let fenced = self.fenced();
        let of = |what: &str| format!("{instance} {} {what}", self.name);
        let mut found = Vec::new();
        if self.access.setting != fenced.setting {
            found.push(Difference {
                what: of(SETTING),
                from: self.access.setting.clone().unwrap_or_else(|| "not set".to_owned()),
                to: ON.to_owned(),
            });
        }
        match (&self.access.barrier, &fenced.barrier) {
            (now, then) if now == then => {}
            (Barrier::Limit(now), Barrier::Limit(_)) => found.push(Difference {
                what: of("connection limit"),
                from: if *now < 0 { "none".to_owned() } else { now.to_string() },
                to: "0, superusers alone".to_owned(),
            }),
            (Barrier::Privileges(now), Barrier::Privileges(then)) => found.push(Difference {
                what: of("may connect"),
                from: now.said(),
                to: then.said(),
            }),
            (Barrier::Limit(_), Barrier::Privileges(_))
            | (Barrier::Privileges(_), Barrier::Limit(_)) => {}
        }
        for (role, _) in self.access.logins.iter().filter(|(_, login)| **login) {
            found.push(Difference {
                what: format!("{instance} role {role}"),
                from: "may log in".to_owned(),
                to: "may not".to_owned(),
            });
        }
        found
    }
}

/// Says which of the application's roles are not there, all at once.
async fn all_there(
    clients: &Clients,
    what: &str,
    instance: &str,
    session: &mut Session,
    roles: &[String],
) -> Result<(), ActionError> {
    let rows = session.read(clients, what, LOGINS, &[&roles]).await?;
    let known: Vec<String> = rows.iter().filter_map(|row| row.try_get(0).ok()).collect();
    let missing: Vec<String> = roles
        .iter()
        .filter(|role| !known.contains(*role))
        .map(|role| format!("`{role}`"))
        .collect();
    if missing.is_empty() {
        return Ok(());
    }
    let message = format!("{instance} has no role {}", missing.join(", "));
    Err(ActionError::unchanged(FailureClass::NotFound, message)
        .hint("correct `database.connection.application_roles` in the estate file"))
}

impl Access {
    fn shape(&self) -> Value {
        let roles: Map<String, Value> = self
            .logins
            .iter()
            .map(|(role, login)| (role.clone(), json!({ "login": login })))
            .collect();
        let mut shape = json!({ SETTING: self.setting, "roles": roles });
        match &self.barrier {
            Barrier::Limit(limit) => shape[LIMIT] = json!(limit),
            Barrier::Privileges(acl) => shape[PRIVILEGES] = json!(acl),
        }
        shape
    }

    pub(super) fn of_shape(shape: &Value) -> Result<Self, ActionError> {
        let bad = || {
            let message = format!("{shape} is no access to a database");
            ActionError::unchanged(FailureClass::Internal, message)
        };
        let barrier = match (&shape[LIMIT], &shape[PRIVILEGES]) {
            (Value::Number(limit), Value::Null) => {
                let limit = limit.as_i64().and_then(|limit| i32::try_from(limit).ok());
                Barrier::Limit(limit.ok_or_else(bad)?)
            }
            (Value::Null, acl) => {
                Barrier::Privileges(serde_json::from_value(acl.clone()).map_err(|_| bad())?)
            }
            _ => return Err(bad()),
        };
        let roles = shape["roles"].as_object().ok_or_else(bad)?;
        let mut logins = BTreeMap::new();
        for (role, state) in roles {
            logins.insert(role.clone(), state["login"].as_bool().ok_or_else(bad)?);
        }
        let setting = shape[SETTING].as_str().map(str::to_owned);
        Ok(Self { setting, barrier, logins })
    }
}
