//! What belongs to a database itself and is in no archive that is restored into another: how it sorts, what its sessions
//! begin with, who may connect, and whose its objects are.

use serde::{Deserialize, Serialize};

use super::content::OWN;
use crate::clients::Clients;
use crate::clients::postgres::{Session, identifier, literal};
use crate::outcome::{ActionError, FailureClass};

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
    /// Roles with a privilege on the database itself
    pub grants: Vec<(String, String)>,
    /// Whose the schemas, tables, views and sequences are, where it is not a superuser
    pub owners: Vec<Owner>,
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
    /// `schema`, `table` or `sequence`, as `grant` names it
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
    let grants = "select coalesce(r.rolname::text, ''), acl.privilege_type::text \
         from pg_database db, aclexplode(coalesce(db.datacl, acldefault('d', db.datdba))) acl \
         left join pg_roles r on r.oid = acl.grantee \
         where db.datname = current_database() and acl.grantee <> db.datdba order by 1, 2";
    let owners = format!(
        "select r.rolname::text, case c.relkind when 'S' then 'sequence' else 'table' end, \
         quote_ident(n.nspname) || '.' || quote_ident(c.relname) \
         from pg_class c join pg_namespace n on n.oid = c.relnamespace join pg_roles r on r.oid = c.relowner \
         where c.relkind in ('r', 'p', 'v', 'm', 'f', 'S') and c.relpersistence <> 't' and not r.rolsuper and {OWN} \
         union all select r.rolname::text, 'schema', quote_ident(n.nspname) from pg_namespace n \
         join pg_roles r on r.oid = n.nspowner where n.nspname not like 'pg\\_%' \
         and n.nspname <> 'information_schema' and not r.rolsuper order by 2, 3"
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
    for row in session.read(clients, what, &owners, &[]).await? {
        found.owners.push(Owner {
            role: row.try_get(0).map_err(unreadable)?,
            kind: row.try_get(1).map_err(unreadable)?,
            object: row.try_get(2).map_err(unreadable)?,
        });
    }
    Ok(found)
}

impl Properties {
    /// Gives a restored database what the dumped one had; returns what could not be given, a line each.
    ///
    /// What was somebody else's belongs to the estate's user now: its former owner gets every privilege instead.
    pub(super) async fn give(
        &self,
        clients: &Clients,
        session: &Session,
        database: &str,
        user: &str,
    ) -> Vec<String> {
        let name = identifier(database);
        let mut statements = Vec::new();
        for setting in &self.settings {
            // Its own value is taken on first: a list is quoted item by item, which only the server can do.
            let (key, value) = (literal(&setting.name), literal(&setting.value));
            let whose = match &setting.role {
                Some(role) => format!("alter role {} in database {name}", identifier(role)),
                None => format!("alter database {name}"),
            };
            let key_word = identifier(&setting.name);
            statements.push(format!("select set_config({key}, {value}, false)"));
            statements.push(format!("{whose} set {key_word} from current"));
            statements.push(format!("reset {key_word}"));
        }
        for (role, privilege) in &self.grants {
            statements
                .push(format!("grant {privilege} on database {name} to {}", identifier(role)));
        }
        for owner in self.owners.iter().filter(|owner| owner.role != user) {
            let role = identifier(&owner.role);
            statements.push(format!("grant all on {} {} to {role}", owner.kind, owner.object));
        }
        if self.public {
            statements.push(format!("grant connect, temporary on database {name} to public"));
        }
        let mut notes = Vec::new();
        let what = format!("give {database} what the dumped database had");
        for statement in statements {
            if let Err(error) = session.command(clients, &what, &statement).await {
                notes.push(format!("not done: {statement}: {}", error.message));
            }
        }
        notes
    }
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
