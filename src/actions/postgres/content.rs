//! What a database holds: rows and a digest of each table, sequences, large objects, all of one snapshot.
//!
//! Taken when a dump is made and again of what was restored from it, the two tell whether everything came back. A digest
//! is made of every row's text, whatever their order: the sum of a 64-bit hash of each.

use std::sync::Mutex;

use futures::future::try_join_all;
use serde::{Deserialize, Serialize};

use super::objects::{self, Object};
use crate::clients::Clients;
use crate::clients::postgres::{Held, connect_to, identifier};
use crate::engine::ports::Call;
use crate::outcome::{ActionError, FailureClass};

/// What one database held at one instant.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Content {
    /// By schema and name
    pub tables: Vec<Table>,
    /// Tables whose rows no dump of a replica holds, as `schema.name`
    #[serde(default)]
    pub unlogged: Vec<String>,
    pub sequences: Vec<Sequence>,
    /// Sequences that were behind their column, as `schema.name`
    #[serde(default)]
    pub behind: Vec<String>,
    pub large_objects: u64,
    /// Indexes that were not valid, as `schema.name`
    pub invalid_indexes: Vec<String>,
    /// Constraints that were never validated, as `schema.table.name`
    pub unvalidated_constraints: Vec<String>,
    /// What there is besides rows; `None` where the manifest is of before this was listed
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub objects: Option<Vec<Object>>,
}

/// One table, or one leaf of a partitioned one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Table {
    pub schema: String,
    pub name: String,
    pub rows: u64,
    /// Sum of the hashes of all rows, decimal
    pub digest: String,
}

impl Table {
    pub(super) fn full_name(&self) -> String {
        format!("{}.{}", self.schema, self.name)
    }
}

/// One sequence.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Sequence {
    pub schema: String,
    pub name: String,
    pub last_value: i64,
    pub is_called: bool,
    /// Which way it moves
    pub increment: i64,
    /// It begins anew at its end: its value tells nothing
    pub cycles: bool,
}

impl Sequence {
    pub(super) fn full_name(&self) -> String {
        format!("{}.{}", self.schema, self.name)
    }

    /// Says whether it would give out again what `dumped` had given out.
    pub(super) fn is_before(&self, dumped: &Self) -> bool {
        if dumped.cycles {
            return false;
        }
        let way = if dumped.increment < 0 { -1 } else { 1 };
        match (i128::from(self.last_value) * way).cmp(&(i128::from(dumped.last_value) * way)) {
            std::cmp::Ordering::Less => true,
            std::cmp::Ordering::Equal => dumped.is_called && !self.is_called,
            std::cmp::Ordering::Greater => false,
        }
    }
}

/// A table still to be read.
struct Waiting {
    schema: String,
    name: String,
    bytes: u64,
    /// Its columns, quoted, in the order of their names: an inherited one may be elsewhere in another database
    columns: String,
    unlogged: bool,
}

/// Relations that belong to the database itself: extensions bring their own.
pub(super) const OWN: &str = "n.nspname not like 'pg\\_%' and n.nspname <> 'information_schema' \
     and not exists (select 1 from pg_depend d where d.classid = 'pg_class'::regclass and d.objid = c.oid \
         and d.deptype = 'e')";

/// Which database is read, and by how many sessions.
#[derive(Clone, Copy)]
pub(super) struct Reading<'a> {
    pub instance: &'a str,
    pub database: &'a str,
    /// Major version of its server
    pub major: u32,
    /// It is a replica's
    pub in_recovery: bool,
    pub jobs: u8,
    pub held_to: HeldTo,
}

/// Which sequences are held against the columns they give values to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum HeldTo {
    /// Those that belong to a column, as of `serial` and identities
    Owners,
    /// Those, too, whose next value is nothing but a column's default
    Defaults,
}

impl HeldTo {
    /// Returns which sequence gives values to which column, by their OIDs and its number.
    fn pairs(self) -> String {
        let owners = "select d.objid as sequence, d.refobjid as relation, d.refobjsubid::int2 as number from pg_depend d \
             where d.classid = 'pg_class'::regclass and d.refclassid = 'pg_class'::regclass and d.refobjsubid > 0 \
             and d.deptype in ('a', 'i')";
        match self {
            Self::Owners => owners.to_owned(),
            // A default that does more with the value tells nothing of where the sequence must be.
            Self::Defaults => format!(
                "{owners} union select d.refobjid, v.adrelid, v.adnum from pg_attrdef v join pg_depend d \
                     on d.classid = 'pg_attrdef'::regclass and d.objid = v.oid and d.refclassid = 'pg_class'::regclass \
                     and d.refobjsubid = 0 \
                 where pg_get_expr(v.adbin, v.adrelid) ~ '^nextval\\(''.*''::regclass\\)$'"
            ),
        }
    }
}

impl Reading<'_> {
    /// Begins a look that holds every table, as the dump's own does a moment later.
    pub(super) async fn lead(self, clients: &Clients) -> Result<(Held, String), ActionError> {
        let what = format!("take a snapshot of {} on {}", self.database, self.instance);
        let mut session = connect_to(clients, self.instance, self.database).await?;
        let sql = format!(
            "select quote_ident(n.nspname) || '.' || quote_ident(c.relname) from pg_class c \
             join pg_namespace n on n.oid = c.relnamespace \
             where c.relkind in ('r', 'p') and c.relpersistence <> 't' and {OWN} order by 1"
        );
        let rows = session.read(clients, &what, &sql, &[]).await?;
        let tables: Result<Vec<String>, _> = rows.iter().map(|row| row.try_get(0)).collect();
        let tables = tables.map_err(|error| unreadable(&what, &error))?;
        let leader = Held::begin(clients, &what, session, self.major, &tables).await?;
        let snapshot = leader.export(&what).await?;
        Ok((leader, snapshot))
    }
}

/// Reads where the sequences are. For a dump that must come before `pg_dump` begins: they move outside of every snapshot,
/// and what the dump has must not be less.
pub(super) async fn positions(
    reading: Reading<'_>,
    leader: &Held,
) -> Result<Vec<Sequence>, ActionError> {
    let what = format!("read the sequences of {} on {}", reading.database, reading.instance);
    sequences(&what, leader, reading.in_recovery).await
}

/// Reads a database's content as `leader` sees it, in parallel sessions that share its snapshot.
pub(super) async fn read(
    clients: &Clients,
    call: &Call,
    reading: Reading<'_>,
    (leader, snapshot): (&Held, &str),
    sequences: Vec<Sequence>,
) -> Result<Content, ActionError> {
    let what = format!("list what is in {} on {}", reading.database, reading.instance);
    let (unlogged, waiting): (Vec<_>, Vec<_>) = waiting(&what, leader)
        .await?
        .into_iter()
        .partition(|table| table.unlogged && reading.in_recovery);
    let unlogged =
        unlogged.iter().map(|table| format!("{}.{}", table.schema, table.name)).collect();
    // Now, while pg_dump reads the same: both ask for definitions as they are, not as they were.
    let objects = objects::read(&what, leader).await?;
    let total: u64 = waiting.iter().map(|table| table.bytes).sum();
    let shared = Shared { queue: Mutex::new(waiting), done: Mutex::new((0, Vec::new())), total };
    let workers =
        (0..reading.jobs.max(1)).map(|_| worker(clients, call, reading, snapshot, &shared));
    try_join_all(workers).await?;
    let mut tables = shared.done.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner).1;
    tables.sort_by(|a: &Table, b| (&a.schema, &a.name).cmp(&(&b.schema, &b.name)));
    Ok(Content {
        tables,
        unlogged,
        behind: behind(&what, leader, reading).await?,
        sequences,
        large_objects: count(&what, leader, "select count(*) from pg_largeobject_metadata").await?,
        invalid_indexes: names(&what, leader, &invalid_indexes()).await?,
        unvalidated_constraints: names(&what, leader, &unvalidated_constraints()).await?,
        objects: Some(objects),
    })
}

/// What the workers share: the tables still to be read, the smallest first, and what was read.
struct Shared {
    queue: Mutex<Vec<Waiting>>,
    done: Mutex<(u64, Vec<Table>)>,
    total: u64,
}

async fn worker(
    clients: &Clients,
    call: &Call,
    reading: Reading<'_>,
    snapshot: &str,
    shared: &Shared,
) -> Result<(), ActionError> {
    let what = format!("read {} on {}", reading.database, reading.instance);
    let session = connect_to(clients, reading.instance, reading.database).await?;
    let held = Held::join(clients, &what, session, reading.major, snapshot).await?;
    loop {
        let next = lock(&shared.queue).pop();
        let Some(table) = next else { return Ok(()) };
        let read = digest(&held, &table).await?;
        let mut done = lock(&shared.done);
        done.0 += table.bytes;
        #[expect(clippy::cast_precision_loss, reason = "a fraction for a bar")]
        let fraction = done.0 as f32 / shared.total.max(1) as f32;
        done.1.push(read);
        call.progress.tell(format!("read {} tables", done.1.len()), Some(fraction));
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

/// Lists the tables, the largest last: it is taken first.
async fn waiting(what: &str, leader: &Held) -> Result<Vec<Waiting>, ActionError> {
    let sql = format!(
        "select n.nspname::text, c.relname::text, pg_table_size(c.oid), \
         coalesce((select string_agg(quote_ident(a.attname), ', ' order by a.attname collate \"C\") \
             from pg_attribute a where a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped), ''), \
         c.relpersistence = 'u' \
         from pg_class c join pg_namespace n on n.oid = c.relnamespace \
         where c.relkind = 'r' and c.relpersistence <> 't' and {OWN} order by 3, 1, 2"
    );
    let rows = leader.read(what, &sql, &[]).await?;
    rows.iter()
        .map(|row| {
            let bytes: i64 = row.try_get(2)?;
            let bytes = bytes.try_into().unwrap_or_default();
            Ok(Waiting {
                schema: row.try_get(0)?,
                name: row.try_get(1)?,
                bytes,
                columns: row.try_get(3)?,
                unlogged: row.try_get(4)?,
            })
        })
        .collect::<Result<_, tokio_postgres::Error>>()
        .map_err(|error| unreadable(what, &error))
}

/// Reads one table in full.
async fn digest(held: &Held, table: &Waiting) -> Result<Table, ActionError> {
    let Waiting { schema, name, columns, .. } = table;
    let sql = format!(
        "select count(*), coalesce(sum(hashtextextended(row({columns})::text, 0)), 0)::text from only {}.{}",
        identifier(schema),
        identifier(name)
    );
    let what = format!("read the table {schema}.{name}");
    let found = held.read_one(&what, &sql, &[]).await?;
    let unreadable = |error: tokio_postgres::Error| unreadable(&what, &error);
    let rows: i64 = found.try_get(0).map_err(unreadable)?;
    let digest = found.try_get(1).map_err(unreadable)?;
    let rows = rows.try_into().unwrap_or_default();
    Ok(Table { schema: schema.clone(), name: name.clone(), rows, digest })
}

/// What of sequences can be read: a replica has no rows of unlogged ones.
fn there(in_recovery: bool) -> &'static str {
    if in_recovery { "c.relpersistence = 'p'" } else { "true" }
}

async fn sequences(
    what: &str,
    leader: &Held,
    in_recovery: bool,
) -> Result<Vec<Sequence>, ActionError> {
    let sql = format!(
        "select n.nspname::text, c.relname::text, q.seqincrement, q.seqcycle from pg_class c \
         join pg_namespace n on n.oid = c.relnamespace join pg_sequence q on q.seqrelid = c.oid \
         where c.relkind = 'S' and {} and {OWN} order by 1, 2",
        there(in_recovery)
    );
    let mut found = Vec::new();
    for row in leader.read(what, &sql, &[]).await? {
        let schema: String = row.try_get(0).map_err(|error| unreadable(what, &error))?;
        let name: String = row.try_get(1).map_err(|error| unreadable(what, &error))?;
        let increment = row.try_get(2).map_err(|error| unreadable(what, &error))?;
        let cycles = row.try_get(3).map_err(|error| unreadable(what, &error))?;
        let sql = format!(
            "select last_value, is_called from {}.{}",
            identifier(&schema),
            identifier(&name)
        );
        let what = format!("read the sequence {schema}.{name}");
        let row = leader.read_one(&what, &sql, &[]).await?;
        let last_value = row.try_get(0).map_err(|error| unreadable(&what, &error))?;
        let is_called = row.try_get(1).map_err(|error| unreadable(&what, &error))?;
        found.push(Sequence { schema, name, last_value, is_called, increment, cycles });
    }
    Ok(found)
}

/// Returns the statement that lists which sequence gives values to which column: names of schema and sequence, of schema, table
/// and column.
pub(super) fn columns_of_sequences(held_to: HeldTo, in_recovery: bool) -> String {
    format!(
        "select n.nspname::text, c.relname::text, tn.nspname::text, t.relname::text, a.attname::text \
         from pg_class c join pg_namespace n on n.oid = c.relnamespace join ({}) p on p.sequence = c.oid \
         join pg_class t on t.oid = p.relation join pg_namespace tn on tn.oid = t.relnamespace \
         join pg_attribute a on a.attrelid = t.oid and a.attnum = p.number \
         join pg_sequence q on q.seqrelid = c.oid \
         where c.relkind = 'S' and q.seqincrement > 0 and not q.seqcycle and {} \
         and a.atttypid in ('int2'::regtype, 'int4'::regtype, 'int8'::regtype) and {OWN} order by 1, 2",
        held_to.pairs(),
        // A logged sequence may be that of an unlogged table, which a replica does not have.
        if in_recovery { "c.relpersistence = 'p' and t.relpersistence = 'p'" } else { "true" }
    )
}

/// Returns the statement that says whether a sequence would give out a value its column has already; the names as
/// [`columns_of_sequences`] lists them.
pub(super) fn is_behind([schema, sequence, of_schema, table, column]: [&str; 5]) -> String {
    format!(
        "select coalesce(m.last > s.last_value or (m.last = s.last_value and not s.is_called), false) \
         from (select max({})::int8 as last from {}.{}) m, {}.{} s",
        identifier(column),
        identifier(of_schema),
        identifier(table),
        identifier(schema),
        identifier(sequence)
    )
}

/// Returns the sequences that would give out a value their column has already.
async fn behind(
    what: &str,
    leader: &Held,
    reading: Reading<'_>,
) -> Result<Vec<String>, ActionError> {
    let sql = columns_of_sequences(reading.held_to, reading.in_recovery);
    let mut found = Vec::new();
    for row in leader.read(what, &sql, &[]).await? {
        let mut names = Vec::with_capacity(5);
        for index in 0..5 {
            let name: String = row.try_get(index).map_err(|error| unreadable(what, &error))?;
            names.push(name);
        }
        let [schema, sequence, of_schema, table, column] = names.as_slice() else { continue };
        let sql = is_behind([schema, sequence, of_schema, table, column]);
        let row = leader.read_one(what, &sql, &[]).await?;
        if row.try_get(0).map_err(|error| unreadable(what, &error))? {
            found.push(format!("{schema}.{sequence}"));
            // One that several columns share may be behind more than one of them.
            found.dedup();
        }
    }
    Ok(found)
}

fn invalid_indexes() -> String {
    format!(
        "select n.nspname || '.' || c.relname from pg_index i join pg_class c on c.oid = i.indexrelid \
         join pg_namespace n on n.oid = c.relnamespace where not i.indisvalid and {OWN} order by 1"
    )
}

fn unvalidated_constraints() -> String {
    format!(
        "select n.nspname || '.' || c.relname || '.' || k.conname from pg_constraint k \
         join pg_class c on c.oid = k.conrelid join pg_namespace n on n.oid = c.relnamespace \
         where not k.convalidated and {OWN} order by 1"
    )
}

async fn names(what: &str, leader: &Held, sql: &str) -> Result<Vec<String>, ActionError> {
    let rows = leader.read(what, sql, &[]).await?;
    let names: Result<_, _> = rows.iter().map(|row| row.try_get(0)).collect();
    names.map_err(|error| unreadable(what, &error))
}

async fn count(what: &str, leader: &Held, sql: &str) -> Result<u64, ActionError> {
    let row = leader.read_one(what, sql, &[]).await?;
    let count: i64 = row.try_get(0).map_err(|error| unreadable(what, &error))?;
    Ok(count.try_into().unwrap_or_default())
}

fn unreadable(what: &str, error: &tokio_postgres::Error) -> ActionError {
    ActionError::unchanged(FailureClass::Internal, format!("{what}: {error}"))
}
