//! The fence of a whole database where it has come over, by replication or in a backup: what of it stands there, and what
//! gives back what it found.
//!
//! What it found is noted behind the database's comment (`marks`), which comes over with it. Only what is still as that
//! fence left it is given back: what somebody changed since is theirs.

use super::acl::{Acl, Barrier};
use super::marks::{Closed, Comment};
use super::{READ_ONLY, Session, identifier, literal};
use crate::clients::{Clients, Network};
use crate::outcome::{ActionError, FailureClass};

/// What decides who gets into a database: its comment, its owner, its connection limit, its own default, and which of all
/// roles may not log in.
const DATABASE: &str = "select coalesce(shobj_description(d.oid, 'pg_database'), ''), pg_get_userbyid(d.datdba)::text, \
     d.datconnlimit, (select substr(entry, length($2) + 2) from pg_db_role_setting s, unnest(s.setconfig) entry \
         where s.setdatabase = d.oid and s.setrole = 0 and entry like $2 || '=%'), \
     array(select rolname::text from pg_roles where not rolcanlogin order by 1) \
     from pg_database d where d.datname::text = $1";

/// A database as it is now.
struct Present {
    owner: String,
    limit: i32,
    setting: Option<String>,
    /// Roles of the server that may not log in
    locked: Vec<String>,
}

/// Returns the statements that lift what stands of it; `None` where nothing of such a fence is noted or stands.
pub(super) async fn lifting(
    clients: &Clients,
    instance: &str,
    session: &mut Session,
    database: &str,
) -> Result<Option<Vec<String>>, ActionError> {
    // No world has privileges: the fences it knows are of roles.
    if let Network::Simulated(_) = clients.network {
        return Ok(None);
    }
    let what = format!("read which fence came over to {instance}");
    let unreadable = |error: tokio_postgres::Error| {
        ActionError::unchanged(FailureClass::Internal, format!("{what}: {error}"))
    };
    let row = session.read_one(clients, &what, DATABASE, &[&database, &READ_ONLY]).await?;
    let comment = Comment::read(row.try_get(0).map_err(unreadable)?);
    let Some(closed) = &comment.note.closed else { return Ok(None) };
    let now = Present {
        owner: row.try_get(1).map_err(unreadable)?,
        limit: row.try_get(2).map_err(unreadable)?,
        setting: row.try_get(3).map_err(unreadable)?,
        locked: row.try_get(4).map_err(unreadable)?,
    };
    let mut statements = now.open(closed, database);
    // What is not given back stays noted: it is what somebody needs who does it by hand.
    let mut left = comment.note.without_fence();
    if let Barrier::Privileges(before) = &closed.barrier {
        let acl = Acl::read(clients, &what, session, database).await?;
        if acl == before.with_only(&closed.operator, &now.owner) && acl != *before {
            statements.extend(before.restore(&acl, database, &now.owner));
        } else if acl != *before {
            left.closed = Some(closed.clone());
        }
    }
    let taken = comment.note.logins.iter().filter(|role| now.locked.contains(role));
    statements.extend(taken.map(|role| format!("alter role {} login", identifier(role))));
    if statements.is_empty() {
        return Ok(None);
    }
    statements.push(comment.noting(database, &left));
    Ok(Some(statements))
}

impl Present {
    /// Returns the statements that give back the database's own default and its connection limit.
    fn open(&self, closed: &Closed, database: &str) -> Vec<String> {
        let name = identifier(database);
        let mut statements = Vec::new();
        if self.setting.as_deref() == Some("on") && closed.setting != self.setting {
            statements.push(match &closed.setting {
                Some(value) => {
                    format!("alter database {name} set {READ_ONLY} = {}", literal(value))
                }
                None => format!("alter database {name} reset {READ_ONLY}"),
            });
        }
        match closed.barrier {
            Barrier::Limit(limit) if self.limit == 0 && limit != 0 => {
                statements.push(format!("alter database {name} connection limit {limit}"));
            }
            Barrier::Limit(_) | Barrier::Privileges(_) => {}
        }
        statements
    }
}
