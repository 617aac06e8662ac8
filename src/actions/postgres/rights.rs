//! What the application's roles may do with the tables and sequences of a database, held against another copy of it: a role
//! that gets in and can write somewhere may still lack the one right the application needs.

use std::collections::{BTreeMap, BTreeSet};

use super::content::OWN;
use crate::clients::Clients;
use crate::clients::postgres::{Session, identifier};
use crate::outcome::{ActionError, FailureClass};

/// Names in a message; more are counted.
const SHOWN: usize = 5;

/// Who has rights on what.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Holder {
    role: String,
    relation: Relation,
}

/// A table, view or sequence.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Relation {
    schema: String,
    name: String,
    is_sequence: bool,
    /// The table it is, or whose column the sequence gives values to, as `schema.table`
    table: String,
}

impl Relation {
    fn quoted(&self) -> String {
        format!("{}.{}", identifier(&self.schema), identifier(&self.name))
    }
}

/// What roles may do in a database.
#[derive(Debug)]
pub(in crate::actions) struct Rights {
    of: BTreeMap<Holder, BTreeSet<String>>,
    relations: BTreeSet<Relation>,
}

/// What one database lacks of another's rights.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::actions) struct Lacking {
    /// Which, in words
    pub said: String,
    /// Statements that give them
    pub grants: String,
}

impl Rights {
    /// Reads what roles may do in the session's database. Rights on columns count as well: who has one of them has been given
    /// what the application asks for there. This program's own tables do not count.
    pub(in crate::actions) async fn read(
        clients: &Clients,
        what: &str,
        session: &mut Session,
        roles: &[String],
    ) -> Result<Self, ActionError> {
        let sql = format!(
            "select coalesce(r.rolname::text, ''), n.nspname::text, c.relname::text, c.relkind = 'S', \
                 coalesce(case when c.relkind = 'S' then (select tn.nspname || '.' || t.relname from pg_depend d \
                     join pg_class t on t.oid = d.refobjid join pg_namespace tn on tn.oid = t.relnamespace \
                     where d.classid = 'pg_class'::regclass and d.objid = c.oid and d.refclassid = 'pg_class'::regclass \
                     and d.refobjsubid > 0 and d.deptype in ('a', 'i') limit 1) end, n.nspname || '.' || c.relname), \
                 coalesce(array_remove(case when r.oid is null or not has_schema_privilege(r.oid, n.oid, 'USAGE') then null \
                 when c.relkind = 'S' then array[ \
                     case when has_sequence_privilege(r.oid, c.oid, 'USAGE') then 'usage' end, \
                     case when has_sequence_privilege(r.oid, c.oid, 'SELECT') then 'select' end, \
                     case when has_sequence_privilege(r.oid, c.oid, 'UPDATE') then 'update' end] \
                 else array[ \
                     case when has_any_column_privilege(r.oid, c.oid, 'SELECT') then 'select' end, \
                     case when has_any_column_privilege(r.oid, c.oid, 'INSERT') then 'insert' end, \
                     case when has_any_column_privilege(r.oid, c.oid, 'UPDATE') then 'update' end, \
                     case when has_table_privilege(r.oid, c.oid, 'DELETE') then 'delete' end, \
                     case when has_table_privilege(r.oid, c.oid, 'TRUNCATE') then 'truncate' end] end, null), '{{}}')::text[] \
             from pg_class c join pg_namespace n on n.oid = c.relnamespace \
             left join pg_roles r on r.rolname::text = any($1::text[]) \
             where c.relkind in ('r', 'p', 'v', 'm', 'f', 'S') and c.relpersistence <> 't' \
             and c.relname not like 'phoenix\\_dr\\_%' and {OWN}"
        );
        let rows = session.read(clients, what, &sql, &[&roles]).await?;
        let mut rights = Self { of: BTreeMap::new(), relations: BTreeSet::new() };
        for row in &rows {
            rights.add(row).map_err(|error| {
                ActionError::unchanged(FailureClass::Internal, format!("{what}: {error}"))
            })?;
        }
        Ok(rights)
    }

    fn add(&mut self, row: &tokio_postgres::Row) -> Result<(), tokio_postgres::Error> {
        let (schema, name, is_sequence) = (row.try_get(1)?, row.try_get(2)?, row.try_get(3)?);
        let relation = Relation { schema, name, is_sequence, table: row.try_get(4)? };
        let may: Vec<String> = row.try_get(5)?;
        self.relations.insert(relation.clone());
        if !may.is_empty() {
            let holder = Holder { role: row.try_get(0)?, relation };
            self.of.insert(holder, may.into_iter().collect());
        }
        Ok(())
    }

    /// Returns what is lacking here of the rights another copy gives, on relations that both have; of those whose table and right
    /// are as wanted.
    pub(in crate::actions) fn lacking(
        &self,
        other: &Self,
        wanted: impl Fn(&str, &str) -> bool,
    ) -> Option<Lacking> {
        let mut found = Vec::new();
        for (holder, rights) in &other.of {
            let has = self.of.get(holder);
            let lacks = |right: &&String| {
                has.is_none_or(|has| !has.contains(*right)) && wanted(&holder.relation.table, right)
            };
            let lacks: Vec<&str> = rights.iter().filter(lacks).map(String::as_str).collect();
            if !lacks.is_empty() && self.relations.contains(&holder.relation) {
                found.push((holder, lacks.join(", ")));
            }
        }
        if found.is_empty() {
            return None;
        }
        let say = |(holder, lacks): &(&Holder, String)| {
            let Relation { schema, name, .. } = &holder.relation;
            format!("{} lacks {lacks} on {schema}.{name}", holder.role)
        };
        let mut said: Vec<String> = found.iter().take(SHOWN).map(say).collect();
        if let more @ 1.. = found.len().saturating_sub(SHOWN) {
            said.push(format!("and {more} more of the kind"));
        }
        Some(Lacking { said: said.join(", "), grants: grants(&found) })
    }
}

/// Returns the statements that give what is lacking; of the schemas as well, without which no right on a table is one.
fn grants(found: &[(&Holder, String)]) -> String {
    let schemas: BTreeSet<(&str, &str)> = found
        .iter()
        .map(|(holder, _)| (holder.relation.schema.as_str(), holder.role.as_str()))
        .collect();
    let mut statements: Vec<String> = schemas
        .iter()
        .map(|(schema, role)| {
            format!("grant usage on schema {} to {}", identifier(schema), identifier(role))
        })
        .collect();
    statements.extend(found.iter().map(|(holder, lacks)| {
        let kind = if holder.relation.is_sequence { "sequence " } else { "" };
        let (relation, role) = (holder.relation.quoted(), identifier(&holder.role));
        format!("grant {lacks} on {kind}{relation} to {role}")
    }));
    statements.join("; ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rights(of: &[(&str, &str, &str)]) -> Rights {
        let mut rights = Rights { of: BTreeMap::new(), relations: BTreeSet::new() };
        for (role, relation, may) in of {
            let (schema, name) = relation.split_once('.').expect("a schema");
            let table = relation.replace("_id_seq", "");
            let is_sequence = name.ends_with("_seq");
            let [schema, name] = [schema, name].map(str::to_owned);
            let relation = Relation { schema, name, is_sequence, table };
            rights.relations.insert(relation.clone());
            let may: BTreeSet<String> = may.split_whitespace().map(str::to_owned).collect();
            if !may.is_empty() {
                rights.of.insert(Holder { role: (*role).to_owned(), relation }, may);
            }
        }
        rights
    }

    #[test]
    fn what_a_copy_lacks_of_the_rights_of_another_is_said_with_what_gives_it() {
        let other = rights(&[
            ("app", "public.a", "select insert"),
            ("app", "s t.c", "select"),
            ("app", "public.a_id_seq", "usage"),
            ("app", "public.gone", "select"),
            ("reader", "public.a", "select"),
        ]);
        let here = rights(&[
            ("app", "public.a", "select"),
            ("app", "s t.c", ""),
            ("app", "public.a_id_seq", ""),
            ("reader", "public.a", "select insert"),
        ]);
        let lacking = here.lacking(&other, |_, _| true).expect("something");
        assert_eq!(
            lacking.said,
            "app lacks insert on public.a, app lacks usage on public.a_id_seq, app lacks select on s t.c"
        );
        assert_eq!(
            lacking.grants,
            "grant usage on schema \"public\" to \"app\"; grant usage on schema \"s t\" to \"app\"; \
             grant insert on \"public\".\"a\" to \"app\"; grant usage on sequence \"public\".\"a_id_seq\" to \"app\"; \
             grant select on \"s t\".\"c\" to \"app\""
        );
        let of_a = here.lacking(&other, |table, _| table == "public.a").expect("something");
        assert!(of_a.said.contains("a_id_seq") && !of_a.said.contains("s t.c"), "{of_a:?}");
        let more = other.lacking(&here, |_, _| true).expect("more");
        assert_eq!(more.said, "reader lacks insert on public.a");
        assert_eq!(here.lacking(&here, |_, _| true), None);
        assert_eq!(other.lacking(&here, |_, right| right != "insert"), None);
    }
}
