//! The rows of experiments as they are stored: compared with what was rebuilt, and written.

use super::experiment::Experiment;
use super::layout::{Column, Field, Layout, unreadable};
use super::own::Begun;
use crate::clients::Clients;
use crate::clients::postgres::{Batch, Parameter, Session, literal};
use crate::outcome::{ActionError, FailureClass};

/// JSON of which the server may make no value, though a column of the type `json` keeps it: the character zero, halves of a
/// pair of surrogates, numbers of too many digits. More than that fits it, such as a backslash before `u0000`.
const NO_VALUE: &str =
    r#"\\u0000|\\u[dD][89a-fA-F]|[0-9]{255}|(^|[^0-9a-zA-Z."-])-?[0-9][0-9.]*[eE][-+]?[0-9]{4}"#;

/// How a row stands to what was rebuilt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Standing {
    /// There is no row
    Missing,
    Same,
    /// These columns differ, by their keys in the estate
    Differs(Vec<String>),
    /// The row knows of events that are later than any the table of events has
    Ahead {
        version: i64,
    },
}

/// Experiments as columns, for `unnest`.
struct Columns(Vec<Vec<Option<String>>>);

impl Columns {
    fn of(layout: &Layout, experiments: &[&Experiment]) -> Self {
        let ids = experiments.iter().map(|one| Some(one.id.clone())).collect();
        let fields = layout.fields.iter();
        let values =
            fields.map(|(field, _)| experiments.iter().map(|one| field.value(one)).collect());
        let last = experiments.iter().map(|one| Some(one.last.to_string())).collect();
        Self(std::iter::once(ids).chain(values).chain([last]).collect())
    }

    fn parameters(&self) -> Vec<Parameter<'_>> {
        self.0.iter().map(|column| column as Parameter<'_>).collect()
    }
}

/// Returns the rebuilt experiments as a table `n`, in the order they are in.
fn rebuilt(layout: &Layout) -> String {
    let keys: Vec<&str> = layout.fields.iter().map(|(field, _)| field.key()).collect();
    let arrays: Vec<String> = (1..=keys.len() + 2).map(|nth| format!("${nth}::text[]")).collect();
    format!(
        "unnest({}) with ordinality as n(id, {}, last_event, nth)",
        arrays.join(", "),
        keys.join(", ")
    )
}

/// Returns a rebuilt value with the type of its column.
fn cast(field: Field, kind: &str) -> String {
    // A column of whole numbers rounds a number, but reads no text of one with a fraction.
    let number = if field == Field::Progress { "::numeric" } else { "" };
    format!("n.{}{number}::{kind}", field.key())
}

/// Returns the condition under which a stored value is another than the rebuilt one.
fn differs((field, column): &(Field, Column)) -> String {
    if field.is_json() {
        let key = field.key();
        return format!("not ({})", same_json(column, &format!("n.{key}")));
    }
    format!("x.{} is distinct from {}", column.name, cast(*field, &column.kind))
}

/// Returns the condition under which a stored value is the same JSON as another, which is a value of the server.
pub(super) fn same_json(column: &Column, other: &str) -> String {
    let stored = format!("x.{}", column.name);
    let values = format!("{stored}::jsonb is not distinct from {other}::jsonb");
    if !column.as_written {
        return values;
    }
    // Such a value is the same only where it is written so: nothing of it is read that could fail.
    format!(
        "case when {stored}::text ~ {} then {stored}::text is not distinct from {other}::text else {values} end",
        literal(NO_VALUE)
    )
}

/// Returns the query that holds stored rows against rebuilt ones.
fn comparison(layout: &Layout) -> String {
    let differing = layout
        .fields
        .iter()
        .map(|pair| format!("case when {} then '{}' end", differs(pair), pair.0.key()));
    let version = layout.fields.iter().find(|(field, _)| *field == Field::Version);
    let version = version.map_or("null", |(_, column)| column.name.as_str());
    format!(
        "select x.{id} is not null, array_remove(array[{}]::text[], null), \
         case when x.{version}::int8 > n.last_event::int8 then x.{version}::int8 end \
         from {} left join {} x on x.{id} = n.id::{} order by n.nth",
        differing.collect::<Vec<_>>().join(", "),
        rebuilt(layout),
        layout.table,
        layout.id.kind,
        id = layout.id.name,
    )
}

fn standing(what: &str, row: &tokio_postgres::Row) -> Result<Standing, ActionError> {
    let read = || -> Result<(bool, Vec<String>, Option<i64>), tokio_postgres::Error> {
        Ok((row.try_get(0)?, row.try_get(1)?, row.try_get(2)?))
    };
    let (there, differing, ahead) = read().map_err(|error| unreadable(what, &error))?;
    Ok(match (there, ahead) {
        (false, _) => Standing::Missing,
        (true, Some(version)) => Standing::Ahead { version },
        (true, None) if differing.is_empty() => Standing::Same,
        (true, None) => Standing::Differs(differing),
    })
}

/// Compares, and changes nothing.
pub(super) async fn compare(
    clients: &Clients,
    session: &mut Session,
    what: &str,
    layout: &Layout,
    experiments: &[&Experiment],
) -> Result<Vec<Standing>, ActionError> {
    let columns = Columns::of(layout, experiments);
    let rows = session.read(clients, what, &comparison(layout), &columns.parameters()).await?;
    rows.iter().map(|row| standing(what, row)).collect()
}

/// Compares rows that nobody else may change until the transaction is over.
pub(super) async fn compare_held(
    batch: &Batch<'_>,
    layout: &Layout,
    experiments: &[&Experiment],
) -> Result<Vec<Standing>, ActionError> {
    let ids: Vec<&str> = experiments.iter().map(|one| one.id.as_str()).collect();
    let (id, kind, table) = (&layout.id.name, &layout.id.kind, &layout.table);
    let lock = format!(
        "select from {table} x where x.{id} in (select n.id::{kind} from unnest($1::text[]) n(id)) \
         order by x.{id} for update"
    );
    batch.rows(&lock, &[&ids]).await?;
    compared(batch, layout, experiments).await
}

async fn compared(
    batch: &Batch<'_>,
    layout: &Layout,
    experiments: &[&Experiment],
) -> Result<Vec<Standing>, ActionError> {
    let columns = Columns::of(layout, experiments);
    let rows = batch.rows(&comparison(layout), &columns.parameters()).await?;
    rows.iter().map(|row| standing("compare experiments", row)).collect()
}

/// Writes experiments, with what their rows were before; `existing` have a row, `missing` have none.
pub(super) async fn write(
    batch: &Batch<'_>,
    layout: &Layout,
    begun: &Begun,
    existing: &[&Experiment],
    missing: &[&Experiment],
) -> Result<(), ActionError> {
    let all: Vec<&Experiment> = existing.iter().chain(missing).copied().collect();
    let ids: Vec<&str> = all.iter().map(|one| one.id.as_str()).collect();
    keep(batch, layout, begun, &ids).await?;
    let (id, kind, table) = (&layout.id.name, &layout.id.kind, &layout.table);
    if !existing.is_empty() {
        let set = layout.fields.iter();
        let set =
            set.map(|(field, column)| format!("{} = {}", column.name, cast(*field, &column.kind)));
        let sql = format!(
            "update {table} x set {} from {} where x.{id} = n.id::{kind}",
            set.collect::<Vec<_>>().join(", "),
            rebuilt(layout)
        );
        let columns = Columns::of(layout, existing);
        let written = batch.execute(&sql, &columns.parameters()).await?;
        counted(layout, written, existing.len())?;
    }
    if !missing.is_empty() {
        let names = layout.fields.iter().map(|(_, column)| column.name.clone());
        let values = layout.fields.iter().map(|(field, column)| cast(*field, &column.kind));
        // An identity column would give it another id.
        let sql = format!(
            "insert into {table} ({id}, {}) overriding system value select n.id::{kind}, {} from {}",
            names.collect::<Vec<_>>().join(", "),
            values.collect::<Vec<_>>().join(", "),
            rebuilt(layout)
        );
        let columns = Columns::of(layout, missing);
        let written = batch.execute(&sql, &columns.parameters()).await?;
        counted(layout, written, missing.len())?;
    }
    prove(batch, layout, &all).await?;
    let set = layout.fields.iter();
    let set = set.map(|(field, column)| format!("is_{} = x.{}", field.key(), column.name));
    let sql = format!(
        "update {} i set {} from {table} x where x.{id} = i.id \
         and i.id in (select n.id::{kind} from unnest($1::text[]) n(id))",
        begun.images,
        set.collect::<Vec<_>>().join(", "),
    );
    let kept = batch.execute(&sql, &[&ids]).await?;
    counted(layout, kept, all.len())
}

/// Keeps what rows are before they are written.
async fn keep(
    batch: &Batch<'_>,
    layout: &Layout,
    begun: &Begun,
    ids: &[&str],
) -> Result<(), ActionError> {
    let into = layout.fields.iter().map(|(field, _)| format!("was_{}", field.key()));
    let from = layout.fields.iter().map(|(_, column)| format!("x.{}", column.name));
    let (id, kind) = (&layout.id.name, &layout.id.kind);
    let sql = format!(
        "insert into {} (id, existed, restored, {}) select n.id::{kind}, x.{id} is not null, false, {} \
         from unnest($1::text[]) n(id) left join {} x on x.{id} = n.id::{kind}",
        begun.images,
        into.collect::<Vec<_>>().join(", "),
        from.collect::<Vec<_>>().join(", "),
        layout.table
    );
    let kept = batch.execute(&sql, &[&ids]).await?;
    counted(layout, kept, ids.len())
}

/// Holds that as many rows were written as were to be: a rule or a trigger may have done otherwise.
fn counted(layout: &Layout, written: u64, wanted: usize) -> Result<(), ActionError> {
    if usize::try_from(written) == Ok(wanted) {
        return Ok(());
    }
    let message =
        format!("{} took {written} of {wanted} rows: nothing of them was kept", layout.said);
    Err(ActionError::unchanged(FailureClass::Invalid, message)
        .hint("look for triggers and rules of that table"))
}

/// Holds that the rows are what was rebuilt.
async fn prove(
    batch: &Batch<'_>,
    layout: &Layout,
    experiments: &[&Experiment],
) -> Result<(), ActionError> {
    let standings = compared(batch, layout, experiments).await?;
    let other = experiments.iter().zip(standings).find(|(_, found)| *found != Standing::Same);
    let Some((experiment, found)) = other else { return Ok(()) };
    let (said, hint) = match found {
        Standing::Differs(keys) => {
            let first = keys.first().cloned().unwrap_or_default();
            let hint = format!(
                "a trigger sets it; where that is meant, the estate leaves the column out: \
                 `database.experiments.table.{first}: null`"
            );
            (format!("{} other than they were written", keys.join(", ")), hint)
        }
        Standing::Missing | Standing::Ahead { .. } | Standing::Same => {
            ("no such row".to_owned(), "look for triggers and rules of that table".to_owned())
        }
    };
    let message = format!("{} has {said} for the experiment {}", layout.said, experiment.id);
    Err(ActionError::unchanged(FailureClass::Invalid, message).hint(hint))
}
