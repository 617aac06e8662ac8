//! Connections that are lost while experiments are rebuilt: no transaction is half done, and the next attempt goes on.

use std::sync::atomic::Ordering;

use super::resumed::STOPPED;
use super::*;
use crate::clients::postgres::testing::way;

/// Rows that the first transaction does not write.
const REST: &str =
    "select md5(string_agg(x::text, '|' order by id)) from lab.experiments x where id > 500";
const POSITION: &str = "select position from phoenix_dr_rebuilds";

impl Lab {
    /// Rebuilds, and ends a session of it by this condition once it waits to write the experiment 700; lets it go on then.
    async fn cut(&self, run: &str, which: &str) -> ActionError {
        let holder = self.hold().await;
        let (clients, armed) = self.clients();
        let call = call(run, &json!({}));
        let seen = observe(&clients, &call).await.expect("observed");
        let ending = async {
            self.until(STOPPED, "1").await;
            let end = format!(
                "select 1 / count(pg_terminate_backend(pid)) from pg_stat_activity \
                 where application_name = 'phoenix-dr' and {which}"
            );
            self.server.sql("phoenix", &end).await;
            holder.batch_execute("select pg_advisory_unlock(4711)").await.expect("let go");
        };
        let (done, ()) = tokio::join!(perform(&clients, &armed, &call, &seen), ending);
        self.server.sql("phoenix", "drop function lab.stop cascade").await;
        done.expect_err("the connection is lost")
    }

    /// Goes on with a rebuilding that was cut, to its end and back.
    async fn gone_on_with(&self, run: &str, before: &str) {
        let part = call(run, &json!({}));
        let (clients, _armed) = self.clients();
        let seen = observe(&clients, &part).await.expect("observed");
        assert_eq!(seen.live, json!({ "begun": true, "whole": null }));
        let performed = self.done(run, &json!({})).await.expect("gone on with");
        assert_eq!(performed.outputs["experiments"], 1200);
        assert_eq!(self.wrong().await, "");
        self.reverted(&part).await.expect("taken back");
        assert_eq!(self.digest().await, before);
    }
}

#[tokio::test]
async fn what_loses_its_connection_writes_whole_transactions_and_goes_on() {
    let Some(lab) = Lab::open(1200).await else { return };
    lab.rows().await;
    lab.server.sql("phoenix", "update lab.experiments set name = 'other' where id = 700").await;
    let (before, rest) = (lab.digest().await, lab.text(REST).await);
    // In the middle of the second transaction: all of it is gone.
    let error = lab.cut("01A", "wait_event_type = 'Lock'").await;
    assert_eq!((error.class, error.effect), (FailureClass::Transient, Effect::Applied), "{error}");
    assert!(error.message.contains("write rebuilt experiments to lab.experiments"), "{error}");
    assert_eq!((lab.text(POSITION).await.as_str(), lab.text(REST).await), ("500", rest));
    lab.gone_on_with("01A", &before).await;
    // The session that reads, meanwhile: what was read is written.
    let error = lab.cut("01B", "query like 'fetch%'").await;
    assert_eq!((error.class, error.effect), (FailureClass::Transient, Effect::Applied), "{error}");
    assert!(error.message.contains("read the events"), "{error}");
    assert_eq!(lab.text(POSITION).await, "1000");
    lab.gone_on_with("01B", &before).await;
}

#[tokio::test]
async fn a_connection_that_is_lost_anywhere_leaves_all_of_it_or_nothing() {
    let Some(lab) = Lab::open(4).await else { return };
    lab.rows().await;
    // Passwords take more time than all the rest.
    let rules = lab.server.path("pg_hba.conf");
    let text = std::fs::read_to_string(&rules).expect("read").replace("scram-sha-256", "trust");
    std::fs::write(&rules, text).expect("written");
    lab.server.sql("postgres", "select pg_reload_conf()").await;
    let before = lab.digest().await;
    let (clients, armed) = lab.clients();
    let first = call("01", &json!({}));
    let seen = observe(&clients, &first).await.expect("observed");
    perform(&clients, &armed, &first, &seen).await.expect("rebuilt");
    let after = lab.digest().await;
    assert_ne!(after, before);
    lab.reverted(&first).await.expect("taken back");
    for words in 0.. {
        let mut estate = lab.estate();
        let (way, left) = way(lab.server.address, words).await;
        estate["database"]["primary"]["address"] = json!(way.to_string());
        let call = call(&format!("01CUT{words}"), &json!({}));
        let (cut, armed_there) = testing::armed(estate);
        let done = perform(&cut, &armed_there, &call, &seen).await;
        let now = lab.digest().await;
        match &done {
            Err(error) => {
                assert_eq!(error.class, FailureClass::Transient, "{words}: {error}");
                assert!(now == before || now == after, "{words}: {error}");
                assert!(error.effect != Effect::None || now == before, "{words}: {error}");
            }
            Ok(_) => assert_eq!(now, after),
        }
        let look = observe(&clients, &call).await.expect("observed");
        let untold = look.live == state(None);
        assert!(!untold || now == before, "{words}: what is written is known");
        perform(&clients, &armed, &call, &look).await.expect("gone on with");
        assert_eq!(lab.digest().await, after, "{words}");
        lab.reverted(&call).await.expect("taken back");
        assert_eq!(lab.digest().await, before, "{words}");
        if left.load(Ordering::SeqCst) >= 0 {
            done.expect("nothing was cut");
            assert!(words > 40, "only {words} places to cut at");
            return;
        }
    }
}
