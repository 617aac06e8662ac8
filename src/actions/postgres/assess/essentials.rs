//! What the estate says is essential in the database: where its tables are here, and the newest instant the business wrote.

use std::collections::BTreeSet;
use std::time::Duration;

use super::reader::Until;
use super::relations::Family;
use super::report::Entry;
use crate::clients::Clients;
use crate::clients::postgres::long::{NoRows, STATEMENT_LIMIT};
use crate::clients::postgres::{NoSession, Opening, Session, connect_with, literal};
use crate::clock::since;
use crate::estate::essentials::Essentials;
use crate::outcome::ActionError;
use crate::span::Span;

/// The longest that may be asked for the newest instant. It is asked before anything is read, so that it is part of the
/// budget: a quarter of that at most.
const NEWEST_LIMIT: Duration = Duration::from_secs(30);
/// Where no instant is like this the query gives none, or one that is infinite.
const INSTANT: &str = "YYYY-MM-DD\"T\"HH24:MI:SS.US\"Z\"";

/// Returns what is essential in the estate's database; nothing where it names none.
pub(super) fn of(clients: &Clients) -> Essentials {
    let database = clients.estate.database.as_ref();
    database.map(|database| database.essentials.clone()).unwrap_or_default()
}

/// Marks the families that are essential: a partitioned table has its rows in its partitions. Returns why that could not
/// be found out, where it could not.
pub(super) async fn mark(
    clients: &Clients,
    session: &mut Session,
    essentials: &Essentials,
    families: &mut [Family],
) -> Result<Option<String>, ActionError> {
    if essentials.tables.is_empty() {
        return Ok(None);
    }
    let names: Vec<String> = essentials.tables.iter().map(|name| literal(name)).collect();
    let sql = format!(
        "with recursive part (name, oid) as (select n.nspname || '.' || c.relname, c.oid from pg_class c \
         join pg_namespace n on n.oid = c.relnamespace where n.nspname || '.' || c.relname = any(array[{}]) \
         union all select part.name, i.inhrelid from part join pg_inherits i on i.inhparent = part.oid) \
         select name, oid from part",
        names.join(", ")
    );
    let what = "find the essential tables";
    let rows = match session.read_long(clients, what, &sql, STATEMENT_LIMIT).await {
        Ok(rows) => rows,
        Err(NoRows::Lost(error)) => return Err(error),
        Err(NoRows::Refused(refusal)) => {
            return Ok(Some(format!("{what}: {} ({})", refusal.message, refusal.code)));
        }
    };
    for row in &rows {
        let (Ok(name), Ok(oid)) = (row.try_get::<_, String>(0), row.try_get::<_, u32>(1)) else {
            continue;
        };
        let place = essentials.tables.iter().position(|table| *table == name);
        let family = families.iter_mut().find(|family| family.head.oid == oid);
        if let (Some(place), Some(family)) = (place, family) {
            family.essential.insert(place, name);
        }
    }
    Ok(None)
}

/// Returns the essential tables of which nothing is here: none of that name, or nothing that holds rows. A limit to schemas
/// leaves out those of others.
pub(super) fn missing(
    essentials: &Essentials,
    families: &[Family],
    schemas: Option<&[String]>,
) -> Vec<String> {
    let asked = |table: &str| {
        let schema = table.split('.').next().unwrap_or_default();
        schemas.is_none_or(|schemas| schemas.iter().any(|wanted| wanted == schema))
    };
    let tables = essentials.tables.iter().enumerate();
    tables
        .filter(|(place, table)| {
            asked(table) && !families.iter().any(|family| family.essential.contains_key(place))
        })
        .map(|(_, table)| table.clone())
        .collect()
}

/// Returns the essential tables that were here and of which nothing is left: they were dropped while others were read.
pub(super) fn dropped<'a>(families: &'a [Family], entries: &[Entry]) -> BTreeSet<&'a str> {
    let named = families.iter().flat_map(|family| family.essential.values());
    let left = |name: &&String| {
        !entries.iter().any(|entry| entry.table.is_none() && entry.essential.contains(name))
    };
    named.filter(left).map(String::as_str).collect()
}

/// Asks for the newest instant the business wrote, in a session as any other of the estate's user: the query is the
/// estate's own, and names its tables as the application does. `Err` says why it is not known.
pub(super) async fn newest(
    clients: &Clients,
    (instance, database): (&str, &str),
    sql: &str,
    until: Until,
) -> Result<String, String> {
    let limit = match until.at {
        None => NEWEST_LIMIT,
        Some(at) => NEWEST_LIMIT.min(since(clients.clock.now(), at) / 4),
    };
    if limit < Duration::from_millis(100) {
        return Err("no time was left to ask for it".to_owned());
    }
    let opening = Opening::for_questions(Some(database));
    let mut session = connect_with(clients, instance, None, opening).await.map_err(said)?;
    let sql = sql.trim().trim_end_matches(';');
    // The query's last line may end in a comment.
    let asked = format!(
        "select to_char((({sql}\n))::timestamptz at time zone 'UTC', {})",
        literal(INSTANT)
    );
    let rows = session.read_long(clients, "ask for it", &asked, limit).await;
    let rows = rows.map_err(|no_rows| match no_rows {
        NoRows::Refused(refusal) if refusal.code == "57014" => {
            format!("it was not answered within {}", Span(limit).rounded_up())
        }
        NoRows::Refused(refusal) => format!("{} ({})", refusal.message, refusal.code),
        NoRows::Lost(error) => error.message,
    })?;
    let found = rows.first().and_then(|row| row.try_get::<_, Option<String>>(0).ok().flatten());
    let found = found.ok_or_else(|| "the query gives no instant".to_owned())?;
    let instant = found.parse::<jiff::Timestamp>();
    let instant = instant.map_err(|error| format!("it is `{found}`: {error}"))?;
    Ok(instant.to_string())
}

fn said(error: NoSession) -> String {
    ActionError::from(error).message
}

#[cfg(test)]
mod tests {
    use super::super::relations::tests::relation;
    use super::super::relations::{Kind, families};
    use super::*;

    #[test]
    fn a_table_that_was_not_asked_for_is_not_missing() {
        let mut all = families(vec![relation(1, "app.orders", Kind::Table, None, 1)]);
        all[0].essential.insert(1, "app.orders".to_owned());
        let tables = ["app.items", "app.orders", "audit.log"].map(str::to_owned).to_vec();
        let essentials = Essentials { tables, ..Essentials::default() };
        assert_eq!(missing(&essentials, &all, None), ["app.items", "audit.log"]);
        let app = ["app".to_owned()];
        assert_eq!(missing(&essentials, &all, Some(&app)), ["app.items"]);
    }
}
