//! `postgres.prove`: a restored database holds exactly what its dump's manifest says, and its constraints, indexes and
//! sequences hold too. Reads only; what does not hold fails the step.

use serde_json::{Map, Value, json};

use super::content::{self, Reading, differences};
use super::manifest::{Dumps, Manifest};
use super::server::about;
use crate::clients::Clients;
use crate::clients::postgres::{Held, connect_to, identifier};
use crate::engine::ports::{Armed, Call, Observation, Performed};
use crate::outcome::{ActionError, Difference, FailureClass};
use crate::runbook::catalogue::actions::PostgresProve;

/// Differences named in one message.
const NAMED_MAX: usize = 10;

/// Looks at the manifest and at the database that is to be proved.
pub(crate) async fn observe(
    clients: &Clients,
    _call: &Call,
    with: &PostgresProve,
) -> Result<Observation, ActionError> {
    let manifest = manifest(clients, with)?;
    let found = about(clients, &with.instance, &with.database).await?;
    let mut seen = Observation::new(json!({ "proved": false }), json!({ "proved": true }));
    seen.evidence = vec![format!(
        "{} on {}, {}: against {} of {} tables and {} rows",
        with.database,
        with.instance,
        super::dump::bytes(found.bytes),
        manifest.name,
        manifest.content.tables.len(),
        manifest.rows()
    )];
    seen.differences = vec![Difference {
        what: format!("proof of {}", with.database),
        from: "none".to_owned(),
        to: "every table read and compared".to_owned(),
    }];
    Ok(seen)
}

/// Reads every table, and says what is other than in the manifest.
pub(crate) async fn perform(
    clients: &Clients,
    _armed: &Armed,
    call: &Call,
    with: &PostgresProve,
    seen: &Observation,
) -> Result<Performed, ActionError> {
    let manifest = manifest(clients, with)?;
    let what = format!("read {} on {}", with.database, with.instance);
    let session = connect_to(clients, &with.instance, &with.database).await?;
    let leader = Held::begin(clients, &what, session).await?;
    let snapshot = leader.export(&what).await?;
    let reading = Reading { instance: &with.instance, database: &with.database, jobs: with.jobs };
    let restored = content::read(clients, call, reading, &leader, &snapshot).await?;
    let mut wrong = differences(&manifest.content, &restored);
    wrong.extend(behind(&what, &leader).await?);
    if !wrong.is_empty() {
        return Err(unproved(with, &wrong));
    }
    Ok(Performed {
        after: seen.desired.clone(),
        outputs: outputs(&manifest),
        obligations: Vec::new(),
        notes: vec![format!(
            "{} holds what {} held at {}: {} tables, {} rows, every digest the same",
            with.database,
            manifest.database,
            manifest.taken,
            restored.tables.len(),
            manifest.rows()
        )],
    })
}

fn manifest(clients: &Clients, with: &PostgresProve) -> Result<Manifest, ActionError> {
    let dumps = Dumps::of(clients)?;
    dumps.find(&with.dump)?.ok_or_else(|| {
        let message = format!("the dump {} is not in {}", with.dump, dumps.root().display());
        ActionError::unchanged(FailureClass::NotFound, message)
            .hint("a database is proved by the manifest of the dump it was restored from")
    })
}

/// Returns the sequences that would give out a value its column has already, a line each.
async fn behind(what: &str, leader: &Held) -> Result<Vec<String>, ActionError> {
    let sql = "select sn.nspname::text, s.relname::text, tn.nspname::text, t.relname::text, a.attname::text \
         from pg_class s join pg_namespace sn on sn.oid = s.relnamespace \
         join pg_depend d on d.classid = 'pg_class'::regclass and d.objid = s.oid \
             and d.refclassid = 'pg_class'::regclass and d.refobjsubid > 0 and d.deptype in ('a', 'i') \
         join pg_class t on t.oid = d.refobjid join pg_namespace tn on tn.oid = t.relnamespace \
         join pg_attribute a on a.attrelid = t.oid and a.attnum = d.refobjsubid \
         join pg_sequence q on q.seqrelid = s.oid \
         where s.relkind = 'S' and q.seqincrement > 0 and not q.seqcycle order by 1, 2";
    let unreadable = |error: tokio_postgres::Error| {
        ActionError::unchanged(FailureClass::Internal, format!("{what}: {error}"))
    };
    let mut lines = Vec::new();
    for row in leader.read(what, sql, &[]).await? {
        let mut names = Vec::with_capacity(5);
        for index in 0..5 {
            names.push(row.try_get::<_, String>(index).map_err(unreadable)?);
        }
        let [schema, sequence, of_schema, table, column] = names.as_slice() else { continue };
        let sql = format!(
            "select s.last_value, (select max({}) from {}.{})::int8 from {}.{} s",
            identifier(column),
            identifier(of_schema),
            identifier(table),
            identifier(schema),
            identifier(sequence)
        );
        let row = leader.read_one(what, &sql, &[]).await?;
        let last: i64 = row.try_get(0).map_err(unreadable)?;
        let highest: Option<i64> = row.try_get(1).map_err(unreadable)?;
        if let Some(highest) = highest
            && highest > last
        {
            lines.push(format!(
                "sequence {schema}.{sequence} is at {last}, and {of_schema}.{table}.{column} at {highest}"
            ));
        }
    }
    Ok(lines)
}

fn unproved(with: &PostgresProve, wrong: &[String]) -> ActionError {
    let mut said = wrong.iter().take(NAMED_MAX).cloned().collect::<Vec<_>>().join("; ");
    if wrong.len() > NAMED_MAX {
        said = format!("{said}; and {} more", wrong.len() - NAMED_MAX);
    }
    let message =
        format!("{} on {} is not what {} held: {said}", with.database, with.instance, with.dump);
    ActionError::unchanged(FailureClass::Invalid, message)
        .hint("do not put it into use; restore another dump")
}

fn outputs(manifest: &Manifest) -> Map<String, Value> {
    Map::from_iter([
        ("proved".to_owned(), json!(true)),
        ("rows".to_owned(), json!(manifest.rows())),
        ("taken".to_owned(), json!(manifest.taken.to_string())),
    ])
}
