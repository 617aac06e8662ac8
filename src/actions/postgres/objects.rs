//! What a database has besides rows: indexes, constraints, routines, triggers, views, rules, policies and columns, each by
//! its name and a digest of its definition.
//!
//! Rows may all be back and the database of no use: without its keys it is slow and takes what it must not, without its
//! triggers it does not do what it did. What pg_dump leaves out is left out here: invalid indexes, what extensions bring,
//! and what the server makes by itself for each partition.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::content::OWN;
use super::definition::comparable;
use super::manifest::hex;
use crate::clients::postgres::Held;
use crate::outcome::{ActionError, FailureClass};

/// What kind of object something is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum ObjectKind {
    Aggregate,
    Check,
    Columns,
    Exclusion,
    ForeignKey,
    Function,
    Index,
    MaterializedView,
    Policy,
    PrimaryKey,
    Procedure,
    Rule,
    Trigger,
    Unique,
    View,
}

impl fmt::Display for ObjectKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Aggregate => "aggregate",
            Self::Check => "check constraint",
            Self::Columns => "columns of",
            Self::Exclusion => "exclusion constraint",
            Self::ForeignKey => "foreign key",
            Self::Function => "function",
            Self::Index => "index",
            Self::MaterializedView => "materialized view",
            Self::Policy => "policy",
            Self::PrimaryKey => "primary key",
            Self::Procedure => "procedure",
            Self::Rule => "rule",
            Self::Trigger => "trigger",
            Self::Unique => "unique constraint",
            Self::View => "view",
        })
    }
}

/// One object.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Object {
    pub kind: ObjectKind,
    pub schema: String,
    /// Within its schema; of what belongs to a table, with the table's name before it
    pub name: String,
    /// Of its definition
    pub digest: String,
}

/// Whether definitions can be held against each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Definitions {
    Compared,
    /// Servers of different versions write the same definition in different words
    NamesAlone,
}

/// Lists the objects of a database as `leader` sees them.
pub(super) async fn read(what: &str, leader: &Held) -> Result<Vec<Object>, ActionError> {
    let mut found = Vec::new();
    for (kinds, sql) in statements() {
        for row in leader.read(what, &sql, &[]).await? {
            let object = object(kinds, &row).map_err(|error| {
                ActionError::unchanged(FailureClass::Internal, format!("{what}: {error}"))
            })?;
            found.extend(object);
        }
    }
    found.sort_by(|a, b| (a.kind, &a.schema, &a.name).cmp(&(b.kind, &b.schema, &b.name)));
    Ok(found)
}

/// Letters by which a statement tells the kinds it lists.
type Kinds = &'static [(&'static str, ObjectKind)];

/// Reads one row: its kind, schema, name, definition, and what of that must be the same to the letter; `None` for what is
/// being dropped.
fn object(
    kinds: Kinds,
    row: &tokio_postgres::Row,
) -> Result<Option<Object>, tokio_postgres::Error> {
    let (letter, definition): (String, Option<String>) = (row.try_get(0)?, row.try_get(3)?);
    let verbatim: Option<String> = row.try_get(4)?;
    let kind = kinds.iter().find(|(known, _)| *known == letter).map(|(_, kind)| *kind);
    let (Some(kind), Some(definition)) = (kind, definition) else { return Ok(None) };
    let mut hasher = Sha256::new();
    hasher.update(comparable(&definition));
    hasher.update([0]);
    hasher.update(verbatim.unwrap_or_default());
    let digest = hex(&hasher.finalize());
    Ok(Some(Object { kind, schema: row.try_get(1)?, name: row.try_get(2)?, digest }))
}

/// Where an extension's objects are left out that are in no class of relations.
fn not_of_an_extension(class: &str, oid: &str) -> String {
    format!(
        "not exists (select 1 from pg_depend e where e.classid = '{class}'::regclass and e.objid = {oid} and e.deptype = 'e')"
    )
}

/// The relation something belongs to, and the schema of a relation.
const TABLE: &str = "join pg_class c on c.oid =";
const SCHEMA: &str = "join pg_namespace n on n.oid = c.relnamespace";
/// Schemas of the database itself, of what is no relation
const OWN_SCHEMA: &str = "n.nspname not like 'pg\\_%' and n.nspname <> 'information_schema'";

/// Returns the statements that list the objects, each with the kinds it knows.
fn statements() -> [(Kinds, String); 7] {
    [
        (
            &[
                ("v", ObjectKind::View),
                ("m", ObjectKind::MaterializedView),
                ("i", ObjectKind::Index),
            ],
            relations(),
        ),
        (&[("c", ObjectKind::Columns)], columns()),
        // A column that may not be null is known by its column.
        (
            &[
                ("c", ObjectKind::Check),
                ("f", ObjectKind::ForeignKey),
                ("p", ObjectKind::PrimaryKey),
                ("u", ObjectKind::Unique),
                ("x", ObjectKind::Exclusion),
            ],
            constraints(),
        ),
        (
            &[
                ("a", ObjectKind::Aggregate),
                ("f", ObjectKind::Function),
                ("p", ObjectKind::Procedure),
                ("w", ObjectKind::Function),
            ],
            routines(),
        ),
        (&[("t", ObjectKind::Trigger)], triggers()),
        (&[("r", ObjectKind::Rule)], rules()),
        (&[("p", ObjectKind::Policy)], policies()),
    ]
}

fn relations() -> String {
    format!(
        "select c.relkind::text, n.nspname::text, c.relname::text, \
             pg_get_viewdef(c.oid) || coalesce(array_to_string(c.reloptions, ' '), ''), null::text \
         from pg_class c {SCHEMA} where c.relkind in ('v', 'm') and {OWN} \
         union all select 'i', n.nspname::text, c.relname::text, pg_get_indexdef(c.oid), null \
         from pg_index i {TABLE} i.indexrelid {SCHEMA} \
         where (i.indisvalid or c.relkind = 'I') and {OWN} and {}",
        not_of_an_extension("pg_class", "i.indrelid")
    )
}

fn columns() -> String {
    format!(
        "select 'c', n.nspname::text, c.relname::text, (select string_agg(concat_ws(' ', quote_ident(a.attname), \
             '::', format_type(a.atttypid, a.atttypmod), case when a.attnotnull then 'not null' end, \
             'identity' || nullif(a.attidentity::text, ''), 'generated' || nullif(a.attgenerated::text, ''), \
             pg_get_expr(d.adbin, d.adrelid)), ', ' order by a.attname collate \"C\") \
             from pg_attribute a left join pg_attrdef d on d.adrelid = a.attrelid and d.adnum = a.attnum \
             where a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped), \
             (select string_agg(format_type(a.atttypid, a.atttypmod), ', ' order by a.attname collate \"C\") \
             from pg_attribute a where a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped) \
         from pg_class c {SCHEMA} where c.relkind in ('r', 'p', 'f') and {OWN}"
    )
}

fn constraints() -> String {
    format!(
        "select k.contype::text, n.nspname::text, c.relname || '.' || k.conname, pg_get_constraintdef(k.oid), null::text \
         from pg_constraint k {TABLE} k.conrelid {SCHEMA} where k.conparentid = 0 and {OWN} \
         union all select k.contype::text, n.nspname::text, t.typname || '.' || k.conname, pg_get_constraintdef(k.oid), \
             null from pg_constraint k join pg_type t on t.oid = k.contypid join pg_namespace n on n.oid = t.typnamespace \
         where {OWN_SCHEMA} and {}",
        not_of_an_extension("pg_type", "t.oid")
    )
}

fn routines() -> String {
    format!(
        "select p.prokind::text, n.nspname::text, \
             p.proname || '(' || pg_get_function_identity_arguments(p.oid) || ')', \
             case p.prokind when 'a' then (select concat_ws(' ', a.aggkind, a.aggtransfn, a.aggfinalfn, a.aggcombinefn, \
                 a.aggmtransfn, a.aggminvtransfn, format_type(a.aggtranstype, null), a.agginitval) \
                 from pg_aggregate a where a.aggfnoid = p.oid) else pg_get_functiondef(p.oid) end, p.prosrc \
         from pg_proc p join pg_namespace n on n.oid = p.pronamespace where {OWN_SCHEMA} and {}",
        not_of_an_extension("pg_proc", "p.oid")
    )
}

fn triggers() -> String {
    format!(
        "select 't', n.nspname::text, c.relname || '.' || t.tgname, \
             pg_get_triggerdef(t.oid) || ' ' || t.tgenabled::text, null::text \
         from pg_trigger t {TABLE} t.tgrelid {SCHEMA} where not t.tgisinternal and t.tgparentid = 0 and {OWN}"
    )
}

fn rules() -> String {
    format!(
        "select 'r', n.nspname::text, c.relname || '.' || r.rulename, pg_get_ruledef(r.oid) || ' ' || r.ev_enabled::text, \
             null::text \
         from pg_rewrite r {TABLE} r.ev_class {SCHEMA} where r.rulename <> '_RETURN' and {OWN}"
    )
}

fn policies() -> String {
    format!(
        "select 'p', n.nspname::text, c.relname || '.' || p.polname, concat_ws(' ', p.polcmd, p.polpermissive, \
             (select string_agg(quote_ident(r.rolname), ', ' order by r.rolname) from pg_roles r where r.oid = any(p.polroles)), \
             pg_get_expr(p.polqual, p.polrelid), 'check', pg_get_expr(p.polwithcheck, p.polrelid)), null::text \
         from pg_policy p {TABLE} p.polrelid {SCHEMA} where {OWN}"
    )
}

/// Says which objects are missing, new, or defined otherwise, a line each.
pub(super) fn differences(
    dumped: &[Object],
    restored: &[Object],
    definitions: Definitions,
) -> Vec<String> {
    fn by_name(objects: &[Object]) -> BTreeMap<(ObjectKind, &str, &str), &Object> {
        objects
            .iter()
            .map(|object| ((object.kind, object.schema.as_str(), object.name.as_str()), object))
            .collect()
    }
    let (then, now) = (by_name(dumped), by_name(restored));
    let said = |(kind, schema, name): &(ObjectKind, &str, &str)| format!("{kind} {schema}.{name}");
    let mut lines = Vec::new();
    for (key, object) in &then {
        match now.get(key) {
            None => lines.push(format!("{} is missing", said(key))),
            Some(other)
                if definitions == Definitions::Compared && other.digest != object.digest =>
            {
                lines.push(format!("{} is defined otherwise than in the dump", said(key)));
            }
            Some(_) => {}
        }
    }
    let new = now.keys().filter(|key| !then.contains_key(*key));
    lines.extend(new.map(|key| format!("{} is not in the dump", said(key))));
    lines
}
