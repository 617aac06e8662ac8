//! Restores and proofs whose connection to the server is lost in the middle.

use std::sync::atomic::Ordering;

use serde_json::json;

use super::testing::{Lab, dump_of, restore_of};
use crate::actions::{observe, perform, revert};
use crate::clients::postgres::testing::way;
use crate::clients::testing;
use crate::engine::ports::Image;
use crate::outcome::{Effect, FailureClass};
use crate::runbook::catalogue::actions::ActionName;

/// An index that takes forever in any database but the dumped one, as long as there is a role of this name.
const WAITS: &str = "\
    create function public.waits(n int) returns int immutable language plpgsql as $$ begin \
        if exists (select from pg_roles where rolname = 'waits') and current_database() <> 'phoenix' \
        then perform pg_sleep(3600); end if; return n; end $$; \
    create table public.waiting (n int); insert into public.waiting values (1); \
    create index on public.waiting (public.waits(n))";

/// Ends the session that makes that index: rows and other indexes are there by then.
const END: &str = "select coalesce((select pg_terminate_backend(pid) from pg_stat_activity \
     where wait_event = 'PgSleep' limit 1), false)::text";

#[tokio::test]
async fn a_restore_whose_session_is_ended_is_begun_anew_or_taken_back() {
    let Some(lab) = Lab::open().await else { return };
    lab.server.sql("phoenix", WAITS).await;
    lab.dumped("first").await;
    let (clients, armed) = lab.clients();
    let (call, _news) = testing::call(ActionName::PostgresRestore, restore_of("first", "copy"));
    let before = observe(&clients, &call).await.expect("observed");
    let cut = async || {
        let end = async {
            lab.server.until("postgres", END, "true").await;
        };
        let (restored, ()) = futures::join!(perform(&clients, &armed, &call, &before), end);
        let error = restored.expect_err("its session was ended");
        assert_eq!((error.class, error.effect), (FailureClass::Transient, Effect::Applied));
        assert!(error.message.contains("pg_restore of first: "), "{error}");
        assert!(!lab.databases().await.contains(&"copy".to_owned()), "a part has not its name");
        observe(&clients, &call).await.expect("observed")
    };
    lab.server.sql("postgres", "create role waits").await;
    let part = cut().await;
    assert!(!part.satisfied && part.live["begun"] == true, "{part:?}");
    let image = Image { before: before.live.clone(), ours: part.desired.clone(), now: part };
    revert(&clients, &armed, &call, &image).await.expect("taken back");
    assert_eq!(lab.databases().await, ["phoenix", "postgres"]);
    let part = cut().await;
    lab.server.sql("postgres", "drop role waits").await;
    perform(&clients, &armed, &call, &part).await.expect("restored anew");
    assert_eq!(lab.databases().await, ["copy", "phoenix", "postgres"], "nothing else is left");
    lab.proved("first", "copy").await.expect("whole");
}

#[tokio::test]
async fn a_proof_that_is_cut_off_anywhere_proves_nothing_and_the_next_is_whole() {
    let Some(lab) = Lab::open().await else { return };
    lab.dumped("first").await;
    lab.restored("first", "copy").await.expect("restored");
    let (address, left) = way(lab.server.address, i64::MAX).await;
    let primary =
        json!({ "id": "phoenix-prod", "region": "us-east-1", "address": address.to_string() });
    let (clients, armed) = lab.clients_with(&json!({ "primary": primary }));
    let with = json!({
        "instance": "phoenix-prod", "region": "us-east-1", "database": "copy", "dump": "first", "jobs": 1,
    });
    let (call, _news) = testing::call(ActionName::PostgresProve, with);
    let seen = observe(&clients, &call).await.expect("observed");
    let proofs = || std::fs::read_dir(lab.dumps.path().join("proofs")).map_or(0, Iterator::count);
    // Coprime to the words of one read, so that each word of it has its turn.
    for words in (0..).step_by(3) {
        left.store(words, Ordering::SeqCst);
        let proved = perform(&clients, &armed, &call, &seen).await;
        if left.load(Ordering::SeqCst) >= 0 {
            let proved = proved.expect("nothing was cut");
            assert!(proved.notes[0].contains("every digest the same"), "{:?}", proved.notes);
            assert!(words > 30 && proofs() == 1, "{words} words");
            return;
        }
        match proved {
            // The last word takes leave of the server: all was read by then.
            Ok(_) => std::fs::remove_dir_all(lab.dumps.path().join("proofs")).expect("removed"),
            Err(error) => assert_eq!(
                (error.class, error.effect, proofs()),
                (FailureClass::Transient, Effect::None, 0),
                "{words}: {error}"
            ),
        }
    }
}

#[tokio::test]
async fn a_dump_that_is_cut_off_anywhere_leaves_no_dump_and_the_next_is_whole() {
    let Some(lab) = Lab::open().await else { return };
    let (address, left) = way(lab.server.address, i64::MAX).await;
    let primary =
        json!({ "id": "phoenix-prod", "region": "us-east-1", "address": address.to_string() });
    let (clients, armed) = lab.clients_with(&json!({ "primary": primary }));
    let (call, _news) = testing::call(ActionName::PostgresDump, dump_of("first"));
    let seen = observe(&clients, &call).await.expect("observed");
    let mut cut = 0;
    // Closer together where each word is a question, further apart where they are rows.
    let places = std::iter::successors(Some(0_i64), |words| Some(words + 5 + words / 8));
    for words in places {
        left.store(words, Ordering::SeqCst);
        let dumped = perform(&clients, &armed, &call, &seen).await;
        if left.load(Ordering::SeqCst) >= 0 {
            dumped.expect("nothing was cut");
            assert!(cut > 10, "it was cut {cut} times");
            break;
        }
        match dumped {
            // The last words take leave of the server: all was written by then.
            Ok(_) => std::fs::remove_dir_all(lab.dumps.path().join("first.dump")).expect("removed"),
            Err(error) => {
                let known = (error.class, error.effect);
                assert_eq!(known, (FailureClass::Transient, Effect::None), "{words}: {error}");
                assert!(
                    !lab.names().contains(&"first.dump".to_owned()),
                    "{words}: {:?}",
                    lab.names()
                );
                cut += 1;
            }
        }
    }
    assert_eq!(lab.names(), ["first.dump"], "nothing else is left");
    lab.restored("first", "copy").await.expect("restored");
    lab.proved("first", "copy").await.expect("whole");
}
