//! `postgres.analyze`: gathers the planner's statistics of a restored database, which no dump holds.
//!
//! Without them the application's first queries may take for ever. It is a step of its own so that the proof of what was
//! restored can go on beside it. A table it is kept from is told, and fails nothing: what was restored is none the worse.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures::future::try_join_all;
use serde_json::{Map, json};
use tokio_postgres::Row;

use crate::clients::Clients;
use crate::clients::postgres::long::SINCE_14;
use crate::clients::postgres::{Session, connect_to};
use crate::clock::{since, within};
use crate::engine::ports::{Armed, Call, Observation, Performed};
use crate::outcome::{ActionError, Difference, FailureClass, WARNS};
use crate::runbook::catalogue::actions::PostgresAnalyze;

/// Before the step's time is over no more is begun, so that what was not done is told.
const MARGIN: Duration = Duration::from_secs(15);

/// One table, or a partitioned one with all its partitions, which are analyzed with it.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Table {
    /// Schema and name, quoted where they must be
    name: String,
    /// This user may analyze it: what one may not is passed over by the server with no more than a warning
    may: bool,
}

/// Tables without statistics, what takes longest first, as far as that is known without waiting for anybody's lock.
fn listing() -> String {
    let at =
        "coalesce(pg_stat_get_last_analyze_time(c.oid), pg_stat_get_last_autoanalyze_time(c.oid))";
    format!(
        "select format('%I.%I', n.nspname, c.relname), \
             pg_has_role(c.relowner, 'USAGE') or pg_has_role(d.datdba, 'USAGE') \
         from pg_class c join pg_namespace n on n.oid = c.relnamespace \
         join pg_database d on d.datname = current_database() \
         where c.relkind in ('r', 'm', 'p') and not c.relispartition and c.relpersistence <> 't' and c.relispopulated \
         and n.nspname not like 'pg\\_%' and n.nspname <> 'information_schema' and {at} is null \
         and (c.relkind <> 'p' or exists (select 1 from pg_inherits i where i.inhparent = c.oid)) order by c.relkind = 'p' desc, pg_stat_get_live_tuples(c.oid) desc, 1"
    )
}

/// Returns the tables that have no statistics: which this user may analyze, and the others.
async fn without(
    clients: &Clients,
    with: &PostgresAnalyze,
) -> Result<(Vec<Table>, Vec<Table>), ActionError> {
    let what = format!("list the tables of {} on {}", with.database, with.instance);
    let mut session = connect_to(clients, &with.instance, &with.database).await?;
    let rows = session.read(clients, &what, &listing(), &[]).await?;
    let table = |row: &Row| Ok(Table { name: row.try_get(0)?, may: row.try_get(1)? });
    let tables: Result<Vec<Table>, tokio_postgres::Error> = rows.iter().map(table).collect();
    let tables = tables.map_err(|error| {
        ActionError::unchanged(FailureClass::Internal, format!("{what}: {error}"))
    })?;
    Ok(tables.into_iter().partition(|table| table.may))
}

/// Looks which tables have no statistics.
pub(crate) async fn observe(
    clients: &Clients,
    _call: &Call,
    with: &PostgresAnalyze,
) -> Result<Observation, ActionError> {
    let (mine, others) = without(clients, with).await?;
    let mut seen =
        Observation::new(json!({ "analyzed": mine.is_empty() }), json!({ "analyzed": true }));
    if !mine.is_empty() {
        let count = mine.len();
        seen.evidence = vec![format!("{count} tables without statistics")];
        seen.differences = vec![Difference {
            what: format!("statistics of {}", with.database),
            from: format!("none of {count} tables"),
            to: "gathered".to_owned(),
        }];
    }
    seen.evidence.extend(others.iter().map(barred));
    Ok(seen)
}

fn barred(table: &Table) -> String {
    format!("its owner must gather those of {}: analyze {0}", table.name)
}

/// Gathers them, of what takes longest first, by several sessions side by side, and ends before the step's time does.
pub(crate) async fn perform(
    clients: &Clients,
    _armed: &Armed,
    call: &Call,
    with: &PostgresAnalyze,
    seen: &Observation,
) -> Result<Performed, ActionError> {
    let (mine, others) = without(clients, with).await?;
    let sessions = sessions(clients, with, mine.len()).await?;
    let (next, done) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let workers = sessions.into_iter().map(|session| {
        let (mine, next, done) = (&mine, &next, &done);
        async move {
            let mut kept_from = Vec::new();
            while let Some(table) = mine.get(next.fetch_add(1, Ordering::Relaxed)) {
                let Some(left) = left(clients, call) else {
                    kept_from.push(none(table, "the step's time was over"));
                    continue;
                };
                let gathered = one(clients, &session, table);
                match within(&*clients.clock, left, gathered).await {
                    Ok(gathered) => kept_from.extend(gathered?),
                    // Its session ends with this, and the server its statement.
                    Err(_) => {
                        kept_from.push(none(table, "the step's time was over"));
                        break;
                    }
                }
                let done = done.fetch_add(1, Ordering::Relaxed) + 1;
                call.progress.tell(format!("statistics of {done} of {} tables", mine.len()), None);
            }
            Ok::<_, ActionError>(kept_from)
        }
    });
    let mut kept_from: Vec<String> = try_join_all(workers).await?.concat();
    // Where every session ended in the middle of a table.
    let never = mine.iter().skip(next.load(Ordering::Relaxed));
    kept_from.extend(never.map(|table| none(table, "the step's time was over")));
    let gathered = mine.len() - kept_from.len();
    let told = kept_from.into_iter().chain(others.iter().map(barred));
    let said = format!("statistics of {gathered} tables of {} gathered", with.database);
    Ok(Performed {
        after: seen.desired.clone(),
        outputs: Map::new(),
        obligations: Vec::new(),
        notes: std::iter::once(said).chain(told.map(|told| format!("{WARNS}{told}"))).collect(),
    })
}

/// Opens so many sessions as there is work for; where the server has no room for them, fewer do it.
async fn sessions(
    clients: &Clients,
    with: &PostgresAnalyze,
    tables: usize,
) -> Result<Vec<Session>, ActionError> {
    let mut sessions = Vec::new();
    while sessions.len() < usize::from(with.jobs).min(tables) {
        match connect_to(clients, &with.instance, &with.database).await {
            Ok(session) => sessions.push(session),
            Err(_) if !sessions.is_empty() => break,
            Err(error) => return Err(error.into()),
        }
    }
    for session in &sessions {
        // A process that ends in the middle leaves no statement behind that would hold its table. A server before version 14
        // cannot look for that, and says so.
        let sql = format!("set {SINCE_14} = 2000");
        let set = session.command(clients, "have statements end with their client", &sql).await;
        if let Err(error) = set
            && session.is_closed()
        {
            return Err(error);
        }
    }
    Ok(sessions)
}

/// Returns the time there is for another table; `None` where the step's is as good as over.
fn left(clients: &Clients, call: &Call) -> Option<Duration> {
    let Some(end) = call.progress.deadline().and_then(|at| at.checked_sub(MARGIN).ok()) else {
        return Some(Duration::MAX);
    };
    let left = since(clients.clock.now(), end);
    (!left.is_zero()).then_some(left)
}

/// Gathers those of one table; returns what kept it from that, unless the connection is gone.
async fn one(
    clients: &Clients,
    session: &Session,
    table: &Table,
) -> Result<Option<String>, ActionError> {
    let name = &table.name;
    let what = format!("gather the statistics of {name}");
    match session.command(clients, &what, &format!("analyze {name}")).await {
        Ok(()) => Ok(None),
        Err(error) if session.is_closed() => Err(error),
        Err(error) => Ok(Some(none(table, &error.message))),
    }
}

fn none(table: &Table, why: &str) -> String {
    format!("{} has none: {why}; later: analyze {0}", table.name)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::super::testing::Lab;
    use super::*;
    use crate::actions::observe as look;
    use crate::clients::testing;
    use crate::runbook::catalogue::actions::ActionName;

    fn of(database: &str) -> Value {
        json!({ "instance": "phoenix-prod", "region": "us-east-1", "database": database, "jobs": 3 })
    }

    async fn seen(lab: &Lab, database: &str) -> Observation {
        let (clients, _) = lab.clients();
        let (call, _news) = testing::call(ActionName::PostgresAnalyze, of(database));
        look(&clients, &call).await.expect("seen")
    }

    const WITHOUT: &str = "select count(*)::text from pg_class c left join pg_stat_all_tables s on s.relid = c.oid \
        where c.relnamespace in ('lab'::regnamespace, 'public'::regnamespace) and c.relkind in ('r', 'p') and last_analyze is null";

    #[tokio::test]
    async fn a_restore_leaves_statistics_to_a_step_beside_its_proof() {
        let Some(lab) = Lab::open().await else { return };
        lab.server.sql("postgres", "alter system set autovacuum = off").await;
        lab.server.sql("postgres", "select pg_reload_conf()").await;
        lab.dumped("first").await;
        let restore = json!({
            "instance": "phoenix-prod", "region": "us-east-1", "dump": "first", "into": "copy", "analyze": false,
        });
        lab.done(ActionName::PostgresRestore, restore).await.expect("restored");
        assert_eq!(lab.server.text("copy", WITHOUT).await, "6");
        let before = seen(&lab, "copy").await;
        assert!(!before.satisfied);
        // A partitioned table and its two partitions are one.
        assert!(before.evidence[0].starts_with("4 tables without statistics"), "{before:?}");
        let done = lab.done(ActionName::PostgresAnalyze, of("copy")).await.expect("analyzed");
        assert_eq!(done.notes, ["statistics of 4 tables of copy gathered"]);
        assert_eq!(lab.server.text("copy", WITHOUT).await, "0");
        assert!(seen(&lab, "copy").await.satisfied);
        // Where no step is to do it the restore does.
        lab.restored("first", "second").await.expect("restored");
        assert!(seen(&lab, "second").await.satisfied);
    }

    #[tokio::test]
    async fn what_keeps_it_from_a_table_is_told_and_the_others_are_done() {
        let Some(lab) = Lab::open().await else { return };
        lab.server.sql("phoenix", "create database other").await;
        lab.server.sql("other", "create table mine (n int); create table theirs (n int)").await;
        lab.server.sql("other", "alter table mine owner to dr").await;
        let holder = lab.server.client("dr", "operator-secret", "other").await.expect("connects").0;
        let done = lab.done(ActionName::PostgresAnalyze, of("other")).await.expect("analyzed");
        let barred =
            format!("{WARNS}its owner must gather those of public.theirs: analyze public.theirs");
        assert_eq!(done.notes, ["statistics of 1 tables of other gathered", &barred]);
        assert!(seen(&lab, "other").await.satisfied, "nothing is left that it could do");
        holder.batch_execute("create table more (n int)").await.expect_err("not its schema");
        lab.server.sql("other", "grant create on schema public to dr").await;
        holder
            .batch_execute("create table more (n int); create table free (n int)")
            .await
            .expect("made");
        holder.batch_execute("begin; lock table more").await.expect("locked");
        let done = lab.done(ActionName::PostgresAnalyze, of("other")).await.expect("analyzed");
        assert_eq!(done.notes[0], "statistics of 1 tables of other gathered");
        assert!(done.notes[1].starts_with(&format!("{WARNS}public.more has none: ")), "{done:?}");
        assert!(done.notes[1].ends_with("; later: analyze public.more"), "{done:?}");
    }
}
