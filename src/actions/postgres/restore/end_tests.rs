//! How a restore ends: its database gets its name with all that belongs to it or not at all, says what it lacks as often as it
//! is looked at, and is dropped after a cut over was taken back.

use std::sync::atomic::Ordering;

use super::super::testing::{Lab, restore_of};
use super::*;
use crate::actions::{observe, perform, revert};
use crate::clients::postgres::testing::{brisk, way};
use crate::clients::testing;
use crate::engine::ports::Image;
use crate::outcome::{Effect, Obligation};
use crate::runbook::catalogue::actions::ActionName;

/// Everybody gets into the restored database.
const OPEN: &str = "select (has_database_privilege('public', 'copy', 'CONNECT') \
     and has_database_privilege('public', 'copy', 'TEMPORARY'))::text";
/// Sessions of this program.
const OURS: &str =
    "select count(*)::text from pg_stat_activity where application_name = 'phoenix-dr'";

fn restoring() -> Call {
    testing::call(ActionName::PostgresRestore, restore_of("first", "copy")).0
}

/// An estate of the lab whose primary is reached by that address.
fn estate(lab: &Lab, address: &str) -> Value {
    let dumps = lab.dumps.path().display().to_string();
    let mut estate = lab.server.estate(&json!({ "dumps": dumps }));
    estate["database"]["primary"]["address"] = json!(address);
    estate
}

#[tokio::test]
async fn a_connection_that_is_lost_anywhere_leaves_the_name_with_all_of_it_or_no_name() {
    let Some(lab) = Lab::open().await else { return };
    lab.dumped("first").await;
    let manifest = lab.manifest("first");
    assert!(manifest.properties.public);
    let (clients, armed) = lab.clients();
    let call = restoring();
    let with: PostgresRestore =
        serde_json::from_value(restore_of("first", "copy")).expect("arguments");
    let target = Target::of(&call, &with);
    let owed = vec![Obligation {
        id: "lacks-copy".to_owned(),
        say: "copy lacks \"it's\\n\" für alle".to_owned(),
        how: "by hand; $ it".to_owned(),
        closed_by: None,
    }];
    let (address, left) = way(lab.server.address, i64::MAX).await;
    let by_way = brisk(estate(&lab, &address.to_string()), &armed);
    let (mut drafts, mut doubts) = (0, 0);
    for words in 0.. {
        let made = target.make(&clients, &manifest, manifest.server_major()).await;
        let (draft, _) = made.expect("made");
        left.store(words, Ordering::SeqCst);
        let end = (clients.clock.now(), owed.as_slice());
        let ended = target.finish(&by_way, &draft, &manifest, end).await;
        let cut = left.load(Ordering::SeqCst) < 0;
        // What was sent before the connection was lost is done by then.
        lab.server.until("postgres", OURS, "0").await;
        let whole = lab.databases().await.contains(&"copy".to_owned());
        let seen = observe(&clients, &call).await.expect("observed");
        assert_eq!(seen.satisfied, whole, "{words}: the look tells the truth");
        if whole {
            assert_eq!(seen.obligations, owed, "{words}");
            assert_eq!(lab.server.text("postgres", OPEN).await, "true", "{words}");
        }
        match ended.map_err(named) {
            Ok(()) => assert!(whole, "{words}"),
            Err(error) => {
                assert_eq!(error.class, FailureClass::Transient, "{words}: {error}");
                let effect = if whole { Effect::Unknown } else { Effect::Applied };
                assert_eq!(error.effect, effect, "{words}: {error}");
                drafts += i32::from(!whole);
                doubts += i32::from(whole);
            }
        }
        if !cut {
            assert!(whole, "nothing was cut");
            break;
        }
        target.remove(&clients).await.expect("taken back");
    }
    assert!(drafts > 15 && doubts > 0, "{drafts} without the name, {doubts} with it");
}

#[tokio::test]
async fn what_a_restored_database_lacks_is_said_by_every_look_at_it() {
    let Some(lab) = Lab::open().await else { return };
    let more = "create extension amcheck; create role gone; create role lost; \
        grant execute on function bt_index_check(regclass) to dr; \
        grant select on lab.runs to gone; grant update on lab.runs to lost";
    lab.server.sql("phoenix", more).await;
    lab.dumped("first").await;
    lab.server.sql("phoenix", "revoke all on lab.runs from gone, lost").await;
    lab.server.sql("postgres", "drop role gone; drop role lost").await;
    let done = lab.restored("first", "copy").await.expect("restored");
    let ids: Vec<&str> = done.obligations.iter().map(|open| open.id.as_str()).collect();
    assert_eq!(ids, ["lacks-copy", "extensions-copy"]);
    let lacks = &done.obligations[0];
    assert!(lacks.say.ends_with("; and 1 more"), "{lacks:?}");
    let (_, others) = lacks.how.split_once("; the others: not done: ").expect("all of it");
    for role in ["gone", "lost"] {
        assert!(lacks.say.contains(role) != others.contains(role), "{lacks:?}");
    }
    // Whoever gave it its name may have been killed before it could say so.
    let (clients, _armed) = lab.clients();
    for _ in 0..2 {
        let seen = observe(&clients, &restoring()).await.expect("whole");
        assert!(seen.satisfied && seen.outputs == done.outputs, "{seen:?}");
        assert_eq!(seen.obligations, done.obligations);
    }
    // Another step is told whose it is, and no more.
    let another = Call { generation: 1, ..restoring() };
    let error = observe(&clients, &another).await.expect_err("not its own");
    assert!(error.message.contains("already (phoenix-dr 01RUN/step/0 first "), "{error}");
    assert!(!error.message.contains("lacks-copy"), "{error}");
    lab.proved("first", "copy").await.expect("all rows are there");
}

/// Looks, does, and returns what was seen before.
async fn done(clients: &Clients, armed: &Armed, call: &Call) -> Observation {
    let seen = observe(clients, call).await.expect("observed");
    perform(clients, armed, call, &seen).await.expect("done");
    seen
}

async fn taken_back(clients: &Clients, armed: &Armed, call: &Call, before: Value) {
    let now = observe(clients, call).await.expect("observed");
    let image = Image { before, ours: now.live.clone(), now };
    revert(clients, armed, call, &image).await.expect("taken back");
}

#[tokio::test]
async fn what_a_cut_over_wrote_itself_keeps_no_restore_from_being_taken_back() {
    let Some(lab) = Lab::open().await else { return };
    lab.dumped("first").await;
    let (real, armed) = lab.clients();
    let restore = restoring();
    let before = done(&real, &armed, &restore).await;
    let clients = brisk(estate(&lab, &lab.server.address.to_string()), &armed);
    let fence = json!({ "instance": "phoenix-prod", "region": "us-east-1", "scope": "database" });
    done(&clients, &armed, &testing::call(ActionName::PostgresFence, fence).0).await;
    let over = json!({ "instance": "phoenix-prod", "region": "us-east-1", "restored": "copy" });
    let over = testing::call(ActionName::PostgresCutOver, over).0;
    let fenced = done(&clients, &armed, &over).await;
    let beaten = "select (coalesce(sum(n_tup_ins), 0) > 0)::text from pg_stat_user_tables \
        where relname = 'phoenix_dr_heartbeat'";
    lab.server.until("phoenix", beaten, "true").await;
    // Nobody may end the session that asked.
    let gone = "select (count(*) = 0)::text from pg_stat_activity \
        where datname = 'phoenix' and usename = 'postgres'";
    lab.server.until("postgres", gone, "true").await;
    taken_back(&clients, &armed, &over, fenced.live).await;
    assert_eq!(lab.databases().await, ["copy", "phoenix", "postgres"]);
    taken_back(&clients, &armed, &restore, before.live).await;
    assert_eq!(lab.databases().await, ["phoenix", "postgres"], "it is dropped");
}
