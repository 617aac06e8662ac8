//! What belongs to a database itself and is in no archive that is restored into another: how it sorts, what its sessions
//! begin with, who may connect, and whose its objects are.

use serde::{Deserialize, Serialize};

use super::content::OWN;
use crate::clients::Clients;
use crate::clients::postgres::{Session, identifier, literal};
use crate::outcome::{ActionError, FailureClass, WARNS};

/// How a database sorts and compares.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Locale {
    pub encoding: String,
    pub collate: String,
    pub ctype: String,
    /// `c` of the C library, `i` of ICU, `b` of PostgreSQL itself
    pub provider: String,
    /// The provider's own locale and rules, where it is not the C library
    pub name: Option<String>,
    pub rules: Option<String>,
}

impl Locale {
    /// Returns what `create database` is told; an error where a server of that version cannot have it.
    pub(super) fn clause(&self, major: u32) -> Result<String, ActionError> {
        let mut clause = format!(
            "encoding {} lc_collate {} lc_ctype {}",
            literal(&self.encoding),
            literal(&self.collate),
            literal(&self.ctype)
        );
        let name = literal(self.name.as_deref().unwrap_or_default());
        match self.provider.as_str() {
            "c" if major < 15 => {}
            "c" => clause.push_str(" locale_provider libc"),
            "i" if major >= 15 => {
                clause = format!("{clause} locale_provider icu icu_locale {name}");
                if let Some(rules) = &self.rules {
                    clause = format!("{clause} icu_rules {}", literal(rules));
                }
            }
            "b" if major >= 17 => {
                clause = format!("{clause} locale_provider builtin builtin_locale {name}");
            }
            other => {
                let message = format!(
                    "the dumped database sorts by provider `{other}`, which PostgreSQL {major} does not have"
                );
                return Err(ActionError::unchanged(FailureClass::Invalid, message)
                    .hint("restore it on a server of the version it is from, or newer"));
            }
        }
        Ok(clause)
    }
}

/// What a database has besides its objects.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Properties {
    /// What its sessions begin with, of everybody or of one role: `alter database … set`
    pub settings: Vec<Setting>,
    /// Everybody may connect
    pub public: bool,
    /// Most sessions of those who are no superusers, where that is limited
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<i32>,
    /// Roles with a privilege on the database itself
    pub grants: Vec<(String, String)>,
    /// Whose the objects are, where it is not a superuser
    pub owners: Vec<Owner>,
    /// Tables of others whose rows are hidden by policies from all but their owner
    #[serde(default)]
    pub hidden: Vec<String>,
}

/// A setting of a database, or of a role in it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Setting {
    pub role: Option<String>,
    pub name: String,
    pub value: String,
}

/// Whose an object is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Owner {
    pub role: String,
    /// `schema`, `table`, `sequence`, `routine` or `large object`, as `grant` names it
    pub kind: String,
    /// Quoted
    pub object: String,
}

/// Reads how a session's database sorts. Columns that only some versions have are read as JSON.
pub(super) async fn locale(
    clients: &Clients,
    what: &str,
    session: &mut Session,
) -> Result<Locale, ActionError> {
    let sql = "select pg_encoding_to_char(db.encoding)::text, db.datcollate::text, db.datctype::text, \
         coalesce(to_jsonb(db) ->> 'datlocprovider', 'c'), \
         coalesce(to_jsonb(db) ->> 'datlocale', to_jsonb(db) ->> 'daticulocale'), to_jsonb(db) ->> 'daticurules' \
         from pg_database db where db.datname = current_database()";
    let row = session.read_one(clients, what, sql, &[]).await?;
    let read = || -> Result<Locale, tokio_postgres::Error> {
        Ok(Locale {
            encoding: row.try_get(0)?,
            collate: row.try_get(1)?,
            ctype: row.try_get(2)?,
            provider: row.try_get(3)?,
            name: row.try_get(4)?,
            rules: row.try_get(5)?,
        })
    };
    read().map_err(|error| unreadable(what, &error))
}

/// Reads what a session's database has besides its objects.
pub(super) async fn properties(
    clients: &Clients,
    what: &str,
    session: &mut Session,
) -> Result<Properties, ActionError> {
    let settings = "select r.rolname::text, split_part(entry, '=', 1), substr(entry, strpos(entry, '=') + 1) \
         from pg_db_role_setting s left join pg_roles r on r.oid = s.setrole, unnest(s.setconfig) entry \
         where s.setdatabase = (select oid from pg_database where datname = current_database()) order by 1, 2";
    // Its owner has what others are given: in the restored one he is nobody's owner.
    let grants = "select coalesce(r.rolname::text, ''), acl.privilege_type::text \
         from pg_database db, aclexplode(coalesce(db.datacl, acldefault('d', db.datdba))) acl \
         left join pg_roles r on r.oid = acl.grantee \
         where db.datname = current_database() and not (acl.grantee = db.datdba and r.rolsuper) order by 1, 2";
    let owners = format!(
        "select r.rolname::text, case c.relkind when 'S' then 'sequence' else 'table' end, \
         quote_ident(n.nspname) || '.' || quote_ident(c.relname) \
         from pg_class c join pg_namespace n on n.oid = c.relnamespace join pg_roles r on r.oid = c.relowner \
         where c.relkind in ('r', 'p', 'v', 'm', 'f', 'S') and c.relpersistence <> 't' and not r.rolsuper and {OWN} \
         union all select r.rolname::text, 'schema', quote_ident(n.nspname) from pg_namespace n \
         join pg_roles o on o.oid = n.nspowner join pg_database db on db.datname = current_database() \
         join pg_roles r on r.oid = case o.rolname when 'pg_database_owner' then db.datdba else o.oid end \
         where n.nspname not like 'pg\\_%' and n.nspname <> 'information_schema' and not r.rolsuper \
         union all select r.rolname::text, 'routine', quote_ident(n.nspname) || '.' || quote_ident(p.proname) \
         || '(' || pg_get_function_identity_arguments(p.oid) || ')' \
         from pg_proc p join pg_namespace n on n.oid = p.pronamespace join pg_roles r on r.oid = p.proowner \
         where n.nspname not like 'pg\\_%' and n.nspname <> 'information_schema' and not r.rolsuper \
         and not exists (select 1 from pg_depend d where d.classid = 'pg_proc'::regclass and d.objid = p.oid \
             and d.deptype = 'e') \
         union all select r.rolname::text, 'large object', l.oid::text from pg_largeobject_metadata l \
         join pg_roles r on r.oid = l.lomowner where not r.rolsuper order by 2, 3"
    );
    let unreadable = |error: tokio_postgres::Error| unreadable(what, &error);
    let mut found = Properties::default();
    for row in session.read(clients, what, settings, &[]).await? {
        found.settings.push(Setting {
            role: row.try_get(0).map_err(unreadable)?,
            name: row.try_get(1).map_err(unreadable)?,
            value: row.try_get(2).map_err(unreadable)?,
        });
    }
    for row in session.read(clients, what, grants, &[]).await? {
        let (role, privilege): (String, String) =
            (row.try_get(0).map_err(unreadable)?, row.try_get(1).map_err(unreadable)?);
        match (role.is_empty(), privilege == "CONNECT") {
            (true, true) => found.public = true,
            (true, false) => {}
            (false, _) => found.grants.push((role, privilege)),
        }
    }
    // None at all is what a fence leaves: a restored database that nobody may enter could not be finished.
    let limit = "select datconnlimit from pg_database where datname = current_database() and datconnlimit > 0";
    for row in session.read(clients, what, limit, &[]).await? {
        found.limit = Some(row.try_get(0).map_err(unreadable)?);
    }
    for row in session.read(clients, what, &owners, &[]).await? {
        found.owners.push(Owner {
            role: row.try_get(0).map_err(unreadable)?,
            kind: row.try_get(1).map_err(unreadable)?,
            object: row.try_get(2).map_err(unreadable)?,
        });
    }
    let hidden = "select quote_ident(n.nspname) || '.' || quote_ident(c.relname) from pg_class c \
         join pg_namespace n on n.oid = c.relnamespace join pg_roles r on r.oid = c.relowner \
         where c.relrowsecurity and not c.relforcerowsecurity and not r.rolsuper and not r.rolbypassrls order by 1";
    for row in session.read(clients, what, hidden, &[]).await? {
        found.hidden.push(row.try_get(0).map_err(unreadable)?);
    }
    Ok(found)
}

impl Properties {
    /// Gives a restored database what the dumped one had; returns what could not be given, a line each.
    ///
    /// What was somebody else's belongs to the estate's user now: its former owner gets every privilege instead.
    ///
    /// # Errors
    ///
    /// A lost connection: nothing is concluded from it.
    pub(super) async fn give(
        &self,
        clients: &Clients,
        session: &Session,
        database: &str,
        user: &str,
    ) -> Result<Vec<String>, ActionError> {
        let name = identifier(database);
        let plain = |sql: String| Given { said: sql.clone(), sql };
        let mut all: Vec<Given> =
            self.settings.iter().map(|setting| setting.given(&name)).collect();
        all.extend(
            self.limit.map(|most| plain(format!("alter database {name} connection limit {most}"))),
        );
        for (role, privilege) in self.grants.iter().filter(|(role, _)| role != user) {
            let role = identifier(role);
            all.push(plain(format!("grant {privilege} on database {name} to {role}")));
        }
        for owner in self.owners.iter().filter(|owner| owner.role != user) {
            let role = identifier(&owner.role);
            all.push(plain(format!("grant all on {} {} to {role}", owner.kind, owner.object)));
        }
        let what = format!("give {database} what the dumped database had");
        let mut notes = give(clients, session, &what, &all).await?;
        if let Some(first) = self.hidden.first() {
            let more = self.hidden.len() - 1;
            let others = if more > 0 { format!(" and {more} more") } else { String::new() };
            notes.push(format!(
                "{WARNS}policies hide the rows of {first}{others} from the former owner, whom they did not bind before: \
                 make him its owner again (alter table … owner to …)"
            ));
        }
        Ok(notes)
    }
}

impl Setting {
    /// Returns how a database gets it. Its own value is taken on first, for a list is quoted item by item, which only the
    /// server can do; all or nothing is done of it, and its value is told to nobody.
    fn given(&self, database: &str) -> Given {
        let (key, value) = (literal(&self.name), literal(&self.value));
        let whose = match &self.role {
            Some(role) => format!("alter role {} in database {database}", identifier(role)),
            None => format!("alter database {database}"),
        };
        let word = identifier(&self.name);
        Given {
            said: format!("{whose} set {word}"),
            sql: format!(
                "select set_config({key}, {value}, false); {whose} set {word} from current; reset {word}"
            ),
        }
    }
}

/// A statement that gives a restored database something, and how it is told.
pub(super) struct Given {
    pub said: String,
    pub sql: String,
}

/// Carries statements out one by one; returns what could not be done, a line for each reason. A role that is not on the
/// server must not stop a restore, nor take from others what they had.
///
/// # Errors
///
/// A lost connection: nothing is concluded from it.
pub(super) async fn give(
    clients: &Clients,
    session: &Session,
    what: &str,
    all: &[Given],
) -> Result<Vec<String>, ActionError> {
    let failed = tried(clients, session, what, all).await?;
    Ok(failed.iter().map(Failed::said).collect())
}

/// Statements that could not be carried out, for one reason.
pub(super) struct Failed<'a> {
    pub why: String,
    pub those: Vec<&'a Given>,
}

impl Failed<'_> {
    /// Returns it in a line.
    pub(super) fn said(&self) -> String {
        let why = &self.why;
        match self.those.as_slice() {
            [one] => format!("{WARNS}not done: {}: {why}", one.said),
            [first, more @ ..] => {
                format!(
                    "{WARNS}not done: {} and {} more of the same: {why}",
                    first.said,
                    more.len()
                )
            }
            [] => format!("{WARNS}{why}"),
        }
    }
}

/// Carries statements out one by one, as [`give`] does; returns those that failed.
pub(super) async fn tried<'a>(
    clients: &Clients,
    session: &Session,
    what: &str,
    all: &'a [Given],
) -> Result<Vec<Failed<'a>>, ActionError> {
    let mut failed: Vec<Failed<'a>> = Vec::new();
    for given in all {
        let Err(error) = session.command(clients, what, &given.sql).await else { continue };
        if session.is_closed() {
            return Err(error);
        }
        match failed.iter_mut().find(|failed| failed.why == error.message) {
            Some(failed) => failed.those.push(given),
            None => failed.push(Failed { why: error.message, those: vec![given] }),
        }
    }
    Ok(failed)
}

fn unreadable(what: &str, error: &tokio_postgres::Error) -> ActionError {
    ActionError::unchanged(FailureClass::Internal, format!("{what}: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_database_is_made_as_the_dumped_one_sorts_or_not_at_all() {
        let of = |provider: &str, name: Option<&str>| Locale {
            encoding: "UTF8".to_owned(),
            collate: "C".to_owned(),
            ctype: "C".to_owned(),
            provider: provider.to_owned(),
            name: name.map(str::to_owned),
            rules: None,
        };
        let plain = "encoding 'UTF8' lc_collate 'C' lc_ctype 'C'";
        for (provider, name, major, expected) in [
            ("c", None, 14, Some(String::new())),
            ("c", None, 16, Some(" locale_provider libc".to_owned())),
            ("i", Some("de-AT"), 15, Some(" locale_provider icu icu_locale 'de-AT'".to_owned())),
            ("i", Some("de-AT"), 14, None),
            (
                "b",
                Some("C.UTF-8"),
                17,
                Some(" locale_provider builtin builtin_locale 'C.UTF-8'".to_owned()),
            ),
            ("b", Some("C.UTF-8"), 16, None),
        ] {
            let found = of(provider, name).clause(major).ok();
            assert_eq!(found, expected.map(|more| format!("{plain}{more}")), "{provider} {major}");
        }
    }
}
