//! The tables of experiments and events as they are: found, held against what is wanted of them, and ready to be named in
//! SQL. Everything that is not as it must be is told at once, before anything is read or written.

mod columns;
mod rights;

use super::experiment::Experiment;
use crate::clients::Clients;
use crate::clients::postgres::{Session, database, identifier};
use crate::estate::experiments::Experiments;
use crate::outcome::{ActionError, FailureClass};
use crate::runbook::near;
use columns::{Columns, Known, Shape, columns};

/// A column of an experiment's row that is rebuilt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Field {
    Title,
    State,
    Config,
    Progress,
    Result,
    Error,
    StartedAt,
    EndedAt,
    UpdatedAt,
    Version,
}

impl Field {
    /// Returns its key in the estate, which names it in this program's own tables as well.
    pub(super) const fn key(self) -> &'static str {
        match self {
            Self::Title => "title",
            Self::State => "state",
            Self::Config => "config",
            Self::Progress => "progress",
            Self::Result => "result",
            Self::Error => "error",
            Self::StartedAt => "started_at",
            Self::EndedAt => "ended_at",
            Self::UpdatedAt => "updated_at",
            Self::Version => "version",
        }
    }

    fn parse(key: &str) -> Option<Self> {
        let all = [
            Self::Title,
            Self::State,
            Self::Config,
            Self::Progress,
            Self::Result,
            Self::Error,
            Self::StartedAt,
            Self::EndedAt,
            Self::UpdatedAt,
            Self::Version,
        ];
        all.into_iter().find(|field| field.key() == key)
    }

    const fn shape(self) -> Shape {
        match self {
            Self::Title | Self::Error => Shape::Text,
            Self::State => Shape::Word,
            Self::Config | Self::Result => Shape::Json,
            Self::Progress | Self::Version => Shape::Number,
            Self::StartedAt | Self::EndedAt | Self::UpdatedAt => Shape::Time,
        }
    }

    /// Says whether its values are compared as JSON: `json` itself has no equality.
    pub(super) const fn is_json(self) -> bool {
        matches!(self, Self::Config | Self::Result)
    }

    /// Returns the value of an experiment as SQL reads it.
    pub(super) fn value(self, of: &Experiment) -> Option<String> {
        match self {
            Self::Title => Some(of.title.clone()),
            Self::State => Some(of.state.name().to_owned()),
            Self::Config => of.config.clone(),
            Self::Progress => of.progress.clone(),
            Self::Result => of.result.clone(),
            Self::Error => of.error.clone(),
            Self::StartedAt => of.started_at.map(|at| at.to_string()),
            Self::EndedAt => of.ended_at.map(|at| at.to_string()),
            Self::UpdatedAt => Some(of.updated_at.to_string()),
            Self::Version => Some(of.version.to_string()),
        }
    }
}

/// A column: its name and type, both as SQL takes them anywhere.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Column {
    pub name: String,
    pub kind: String,
    /// Of the type `json`: it keeps what is written, and some of that becomes no value of the server
    pub as_written: bool,
}

/// The table of events; names are as SQL takes them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct EventNames {
    pub table: String,
    pub id: String,
    pub experiment: String,
    pub sequence: String,
    pub kind: String,
    pub payload: String,
    pub at: String,
}

/// Both tables, as they are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Layout {
    /// The table of experiments as SQL takes it
    pub table: String,
    /// The same for people
    pub said: String,
    pub id: Column,
    /// What is rebuilt of a row
    pub fields: Vec<(Field, Column)>,
    pub events: EventNames,
    /// Rows the events' table had when it was last analyzed
    pub events_about: u64,
}

/// A table that was found.
pub(super) struct Found {
    oid: u32,
    schema: String,
    name: String,
    about: u64,
}

impl Found {
    fn said(&self) -> String {
        format!("{}.{}", self.schema, self.name)
    }

    fn quoted(&self) -> String {
        format!("{}.{}", identifier(&self.schema), identifier(&self.name))
    }
}

/// Where the tables are.
#[derive(Debug, Clone, Copy)]
pub(super) struct Place<'a> {
    pub instance: &'a str,
    pub database: &'a str,
}

impl Place<'_> {
    fn what(self) -> String {
        format!("read the tables of experiments in {} on {}", self.database, self.instance)
    }
}

/// Finds the tables, and says everything about them that is in the way.
pub(super) async fn layout(
    clients: &Clients,
    session: &mut Session,
    place: Place<'_>,
    wanted: &Experiments,
) -> Result<Layout, ActionError> {
    rights::writable(clients, session, place).await?;
    let mut wrong = Vec::new();
    let table = find(clients, session, place, &wanted.table.name, &mut wrong).await?;
    let events = find(clients, session, place, &wanted.events.name, &mut wrong).await?;
    let (Some(table), Some(events)) = (table, events) else {
        return Err(refused(place, FailureClass::NotFound, &wrong));
    };
    let own = columns(clients, session, &place.what(), &table).await?;
    let (fields, id) = experiments(&own, &table, wanted, &mut wrong);
    let all = columns(clients, session, &place.what(), &events).await?;
    let family = own.get_quietly(&wanted.table.id).map(Known::family);
    let names = event_names(&all, &events, (wanted, family), &mut wrong);
    if !wrong.is_empty() {
        return Err(refused(place, FailureClass::Invalid, &wrong));
    }
    rights::granted(clients, session, place, [&table, &events]).await?;
    let (said, about) = (table.said(), events.about);
    Ok(Layout { table: table.quoted(), said, id, fields, events: names, events_about: about })
}

fn refused(place: Place<'_>, class: FailureClass, wrong: &[String]) -> ActionError {
    let message = format!("{} on {}: {}", place.database, place.instance, wrong.join("; "));
    ActionError::unchanged(class, message)
        .hint("compare `database.experiments` of the estate file with the tables there are")
}

/// Returns the table of that name, found as a session finds it.
async fn find(
    clients: &Clients,
    session: &mut Session,
    place: Place<'_>,
    name: &str,
    wrong: &mut Vec<String>,
) -> Result<Option<Found>, ActionError> {
    let what = place.what();
    // By the catalog itself: a schema that may not be used is told later, with the grant.
    let (schema, table) = match name.split_once('.') {
        Some((schema, table)) => (Some(schema), table),
        None => (None, name),
    };
    let sql = "select c.oid, n.nspname::text, c.relname::text, c.relkind in ('r', 'p'), \
         greatest(c.reltuples, 0)::int8 from pg_class c join pg_namespace n on n.oid = c.relnamespace \
         where c.relname = $1 and case when $2::text is null then pg_table_is_visible(c.oid) else n.nspname = $2 end";
    let rows = session.read(clients, &what, sql, &[&table, &schema]).await?;
    let Some(row) = rows.first() else {
        let others = names(clients, session, place).await?;
        let near = near::hint(name, others.iter().map(String::as_str));
        let near = near.map(|near| format!(", {near}")).unwrap_or_default();
        wrong.push(format!("there is no table {name}{near}"));
        return Ok(None);
    };
    let read = || -> Result<(Found, bool), tokio_postgres::Error> {
        let about: i64 = row.try_get(4)?;
        let found = Found {
            oid: row.try_get(0)?,
            schema: row.try_get(1)?,
            name: row.try_get(2)?,
            about: about.try_into().unwrap_or_default(),
        };
        Ok((found, row.try_get(3)?))
    };
    let (found, is_table) = read().map_err(|error| unreadable(&what, &error))?;
    if !is_table {
        wrong.push(format!("{} is no table", found.said()));
        return Ok(None);
    }
    Ok(Some(found))
}

/// Returns the names of all tables, as a session writes them.
async fn names(
    clients: &Clients,
    session: &mut Session,
    place: Place<'_>,
) -> Result<Vec<String>, ActionError> {
    let sql = "select case when pg_table_is_visible(c.oid) then c.relname::text \
             else n.nspname || '.' || c.relname end \
         from pg_class c join pg_namespace n on n.oid = c.relnamespace \
         where c.relkind in ('r', 'p') and n.nspname not like 'pg\\_%' and n.nspname <> 'information_schema' \
         order by 1";
    let rows = session.read(clients, &place.what(), sql, &[]).await?;
    Ok(rows.iter().filter_map(|row| row.try_get(0).ok()).collect())
}

/// Returns the columns that are rebuilt, and the one that tells experiments apart.
fn experiments(
    all: &Columns,
    table: &Found,
    wanted: &Experiments,
    wrong: &mut Vec<String>,
) -> (Vec<(Field, Column)>, Column) {
    let mut fields = Vec::new();
    let mut id = Column { name: String::new(), kind: String::new(), as_written: false };
    for (key, name) in wanted.table.columns() {
        let Some(name) = name else { continue };
        let field = Field::parse(key);
        let shape = field.map_or(Shape::Any, Field::shape);
        let Some(found) = all.get(key, name, shape, wrong) else { continue };
        let (kind, as_written) = (found.kind.clone(), found.keeps_as_written());
        let column = Column { name: identifier(name), kind, as_written };
        let said = table.said();
        match field {
            Some(field) => {
                if found.generated {
                    wrong.push(format!("{name} of {said} is generated by the server"));
                }
                fields.push((field, column));
            }
            None => {
                if !found.unique {
                    wrong.push(format!(
                        "{name} of {said} has no unique index: an experiment could be there twice"
                    ));
                }
                id = column;
            }
        }
    }
    (fields, id)
}

/// Returns the names of the events' table. `family` is what an experiment's id is.
fn event_names(
    all: &Columns,
    table: &Found,
    (wanted, family): (&Experiments, Option<&str>),
    wrong: &mut Vec<String>,
) -> EventNames {
    let events = &wanted.events;
    for (key, name) in events.columns() {
        let shape = match key {
            "sequence" => Shape::Number,
            "type" => Shape::Word,
            "payload" => Shape::Json,
            "at" => Shape::Time,
            _ => Shape::Any,
        };
        let Some(found) = all.get(key, name, shape, wrong) else { continue };
        if let Some(family) =
            family.filter(|family| key == "experiment" && found.family() != *family)
        {
            let (said, is) = (table.said(), found.family());
            wrong.push(format!("{name} of {said} is {is}, and an experiment's id is {family}"));
        }
    }
    EventNames {
        table: table.quoted(),
        id: identifier(&events.id),
        experiment: identifier(&events.experiment),
        sequence: identifier(&events.sequence),
        kind: identifier(&events.kind),
        payload: identifier(&events.payload),
        at: identifier(&events.at),
    }
}

/// Returns the estate's word on where experiments are.
pub(super) fn wanted(clients: &Clients) -> Result<&Experiments, ActionError> {
    database(clients)?.experiments.as_ref().ok_or_else(|| {
        ActionError::unchanged(FailureClass::NotFound, "the estate has no `database.experiments`")
            .hint("add it to the estate file; `experiments: {}` means the tables of docs/experiments.sql")
    })
}

pub(super) fn unreadable(what: &str, error: &tokio_postgres::Error) -> ActionError {
    ActionError::unchanged(FailureClass::Internal, format!("{what}: {error}"))
}
