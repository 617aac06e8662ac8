//! The quick look at a database before it is read: what it is, what it holds, and what the role may not read.

use std::collections::BTreeMap;

use super::forecast::{Rate, fits, range};
use super::relations::{Family, Kind, LIST, Relation, families, limited, relation};
use super::report::size;
use super::server::{FACTS, Facts, VERSION, supported};
use crate::clients::Clients;
use crate::clients::postgres::Session;
use crate::clients::postgres::long::{NoRows, Refusal, STATEMENT_LIMIT};
use crate::outcome::{ActionError, FailureClass};
use crate::runbook::catalogue::actions::PostgresAssess;
use crate::runbook::near;
use crate::span::Span;

/// Names in one line of evidence.
const NAMES_SHOWN: usize = 5;

/// What a quick look finds.
pub(super) enum Look {
    Seen(Box<Seen>),
    /// The catalogs themselves cannot be read
    Damaged {
        said: String,
        code: String,
    },
}

/// What a database is and holds.
pub(super) struct Seen {
    pub facts: Facts,
    pub families: Vec<Family>,
}

/// Looks at a database, by its catalogs alone.
pub(super) async fn look(
    clients: &Clients,
    session: &mut Session,
    with: &PostgresAssess,
) -> Result<Look, ActionError> {
    let instance = &with.instance;
    let what = format!("read what {instance} says of itself");
    let internal = |what: &str, why: String| {
        ActionError::unchanged(FailureClass::Internal, format!("{what}: {why}"))
    };
    let rows = match session.read_long(clients, &what, VERSION, STATEMENT_LIMIT).await {
        Ok(rows) => rows,
        Err(no_rows) => return damaged(&what, no_rows),
    };
    let number = rows.first().and_then(|row| row.try_get(0).ok());
    supported(number.ok_or_else(|| internal(&what, "no version".to_owned()))?, instance)?;
    let rows = match session.read_long(clients, &what, FACTS, STATEMENT_LIMIT).await {
        Ok(rows) => rows,
        Err(no_rows) => return damaged(&what, no_rows),
    };
    let row = rows.first().ok_or_else(|| internal(&what, "no row".to_owned()))?;
    let facts = Facts::of(row, instance)?;
    let what = format!("list the relations of {} on {instance}", facts.database);
    let rows = match session.read_long(clients, &what, LIST, STATEMENT_LIMIT).await {
        Ok(rows) => rows,
        Err(no_rows) => return damaged(&what, no_rows),
    };
    let mut found: Vec<Relation> = Vec::new();
    for row in &rows {
        let one = relation(row, &facts).map_err(|error| internal(&what, error.to_string()))?;
        found.extend(one);
    }
    let known: Vec<String> = found.iter().map(|relation| relation.schema.clone()).collect();
    match limited(families(found), with.schemas.as_deref()) {
        Ok(families) => Ok(Look::Seen(Box::new(Seen { facts, families }))),
        Err(missing) => Err(no_schema(&facts, &missing, &known)),
    }
}

/// Says whether catalogs could not be read because they are damaged; else why there is no answer.
fn damaged(what: &str, no_rows: NoRows) -> Result<Look, ActionError> {
    let Refusal { code, message } = match no_rows {
        NoRows::Lost(error) => return Err(error),
        NoRows::Refused(refusal) => refusal,
    };
    let class = match code.as_str() {
        "XX000" | "XX001" | "XX002" | "58030" | "58P01" => {
            return Ok(Look::Damaged { said: message, code });
        }
        "42501" => FailureClass::Denied,
        code if code.starts_with("40") || code.starts_with("5") => FailureClass::Transient,
        _ => FailureClass::Invalid,
    };
    Err(ActionError::unchanged(class, format!("{what}: {message} ({code})")))
}

fn no_schema(facts: &Facts, missing: &[String], known: &[String]) -> ActionError {
    let named: Vec<String> = missing.iter().map(|name| format!("`{name}`")).collect();
    let message = format!(
        "`schemas`: {} of {} is not there, or holds no relation",
        named.join(", "),
        facts.database
    );
    let error = ActionError::unchanged(FailureClass::Invalid, message);
    let meant =
        missing.iter().filter_map(|name| near::nearest(name, known.iter().map(String::as_str)));
    match meant.map(|name| format!("`{name}`")).collect::<Vec<_>>() {
        meant if meant.is_empty() => error.hint("look with: psql -c '\\dn'"),
        meant => error.hint(format!("did you mean {}?", meant.join(", "))),
    }
}

impl Seen {
    /// Returns what an operator should know before it is read, a fact a line.
    pub(super) fn evidence(
        &self,
        rate: Option<Rate>,
        jobs: usize,
        budget: Option<Span>,
    ) -> Vec<String> {
        let mut lines = self.facts.evidence();
        let all: Vec<&Relation> = self.families.iter().flat_map(Family::members).collect();
        let mut kinds: BTreeMap<Kind, usize> = BTreeMap::new();
        for relation in all.iter().filter(|relation| !relation.is_catalog()) {
            *kinds.entry(relation.kind).or_default() += 1;
        }
        let kinds: Vec<String> =
            kinds.iter().map(|(kind, count)| format!("{count} × {}", kind.name())).collect();
        let kinds = if kinds.is_empty() { "nothing".to_owned() } else { kinds.join(", ") };
        let bytes: u64 = self.families.iter().map(Family::bytes).sum();
        lines.push(format!("to be read: {kinds}, and the catalogs; {}", size(bytes)));
        lines.push(match rate {
            Some(rate) => range(bytes, rate, jobs),
            None => "how fast it is read could not be measured".to_owned(),
        });
        lines.extend(rate.zip(budget).map(|(rate, budget)| fits(bytes, rate, jobs, budget)));
        let mut reasons: BTreeMap<&str, Vec<&Relation>> = BTreeMap::new();
        for relation in all {
            if let Some(why) = &relation.barred {
                reasons.entry(why).or_default().push(relation);
            }
        }
        for (why, barred) in reasons {
            lines.push(will_not_be_read(why, &barred));
        }
        lines
    }
}

fn will_not_be_read(why: &str, barred: &[&Relation]) -> String {
    let names: Vec<&str> =
        barred.iter().take(NAMES_SHOWN).map(|relation| relation.name.as_str()).collect();
    let more = barred.len().saturating_sub(NAMES_SHOWN);
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    let bytes: u64 = barred.iter().map(|relation| relation.bytes).sum();
    format!("will not be read: {}{more} ({}): {why}", names.join(", "), size(bytes))
}
