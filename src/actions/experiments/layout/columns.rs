//! The columns of a table: their types, and whether what is wanted of them fits.

use super::{Found, unreadable};
use crate::clients::Clients;
use crate::clients::postgres::Session;
use crate::outcome::ActionError;
use crate::runbook::near;

/// What a column must be able to hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Shape {
    Any,
    Text,
    /// A text, or one of an enum
    Word,
    Number,
    Time,
    Json,
}

impl Shape {
    const fn said(self) -> &'static str {
        match self {
            Self::Any => "anything",
            Self::Text => "text",
            Self::Word => "text or an enum",
            Self::Number => "a number",
            Self::Time => "timestamp with or without time zone",
            Self::Json => "json or jsonb",
        }
    }
}

/// A column as the catalog has it.
pub(super) struct Known {
    name: String,
    /// Its type, ready for a cast: numbers and times are rounded by it as the column itself does it, texts are never cut
    pub kind: String,
    /// The type for people
    said: String,
    category: String,
    /// The type below a domain
    base: String,
    pub generated: bool,
    pub unique: bool,
}

impl Known {
    /// Returns what its values can be compared with: whole numbers and texts of any length are one kind each.
    pub(super) fn family(&self) -> &str {
        match (self.base.as_str(), self.category.as_str()) {
            ("int2" | "int4" | "int8", _) => "a whole number",
            (_, "S") => "a text",
            _ => &self.said,
        }
    }

    /// Says whether it keeps JSON as it is written, whatever that is worth as a value.
    pub(super) fn keeps_as_written(&self) -> bool {
        self.base == "json"
    }

    fn holds(&self, shape: Shape) -> bool {
        let category = self.category.as_str();
        match shape {
            Shape::Any => true,
            Shape::Text => category == "S",
            Shape::Word => ["S", "E"].contains(&category),
            Shape::Number => category == "N",
            Shape::Time => ["timestamp", "timestamptz"].contains(&self.base.as_str()),
            Shape::Json => ["json", "jsonb"].contains(&self.base.as_str()),
        }
    }
}

/// All columns of a table.
pub(super) struct Columns {
    table: String,
    all: Vec<Known>,
}

impl Columns {
    /// Returns a column, where it is there.
    pub(super) fn get_quietly(&self, name: &str) -> Option<&Known> {
        self.all.iter().find(|column| column.name == name)
    }

    /// Returns a column, or says why it will not do. `key` names it in the estate.
    pub(super) fn get(
        &self,
        key: &str,
        name: &str,
        shape: Shape,
        wrong: &mut Vec<String>,
    ) -> Option<&Known> {
        let Some(found) = self.get_quietly(name) else {
            let near = near::hint(name, self.all.iter().map(|column| column.name.as_str()));
            let near = near.map(|near| format!(", {near}")).unwrap_or_default();
            wrong.push(format!("{} has no column {name} (`{key}`){near}", self.table));
            return None;
        };
        if !found.holds(shape) {
            let (table, is, wanted) = (&self.table, &found.said, shape.said());
            wrong.push(format!("{name} of {table} is {is}, {wanted} is wanted"));
        }
        Some(found)
    }
}

/// Reads the columns of a table.
pub(super) async fn columns(
    clients: &Clients,
    session: &mut Session,
    what: &str,
    table: &Found,
) -> Result<Columns, ActionError> {
    // Types are qualified, for not every session finds them by the same path.
    let sql = "select a.attname::text, \
         case when tn.nspname = 'pg_catalog' and t.typcategory <> 'S' then format_type(t.oid, a.atttypmod) \
             else quote_ident(tn.nspname) || '.' || quote_ident(t.typname) end, \
         format_type(t.oid, a.atttypmod), t.typcategory::text, coalesce(b.typname, t.typname)::text, \
         a.attgenerated <> '', \
         exists (select from pg_index i where i.indrelid = a.attrelid and i.indisunique and i.indisvalid \
             and i.indnkeyatts = 1 and i.indkey[0] = a.attnum and i.indpred is null) \
         from pg_attribute a join pg_type t on t.oid = a.atttypid \
         join pg_namespace tn on tn.oid = t.typnamespace left join pg_type b on b.oid = t.typbasetype \
         where a.attrelid = $1 and a.attnum > 0 and not a.attisdropped order by a.attnum";
    let rows = session.read(clients, what, sql, &[&table.oid]).await?;
    let read = |row: &tokio_postgres::Row| -> Result<Known, tokio_postgres::Error> {
        Ok(Known {
            name: row.try_get(0)?,
            kind: row.try_get(1)?,
            said: row.try_get(2)?,
            category: row.try_get(3)?,
            base: row.try_get(4)?,
            generated: row.try_get(5)?,
            unique: row.try_get(6)?,
        })
    };
    let all: Result<Vec<Known>, _> = rows.iter().map(read).collect();
    Ok(Columns { table: table.said(), all: all.map_err(|error| unreadable(what, &error))? })
}
