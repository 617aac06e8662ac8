//! Rebuildings that are cut off, done by two at once, or met by other writers.

use super::*;

/// Whoever writes this experiment waits for a lock the test has, however long that takes.
const STOP: &str = "\
    create function lab.stop() returns trigger language plpgsql set lock_timeout = 0 as $$ \
        begin perform pg_advisory_xact_lock(4711); return new; end $$; \
    create trigger stop before insert or update on lab.experiments for each row when (new.id = 700) \
        execute function lab.stop()";

/// Sessions that wait for that lock.
pub(super) const STOPPED: &str =
    "select count(*)::text from pg_locks where locktype = 'advisory' and not granted";

/// Does something on the server as soon as a statement says this.
pub(super) fn once(sql: &str, said: &str, then: &str) -> String {
    format!(
        "do $once$ begin while ({sql}) <> '{said}' loop perform pg_sleep(0.01), pg_stat_clear_snapshot(); \
         end loop; {then} end $once$"
    )
}

impl Lab {
    /// Waits until a statement says this. The server itself looks, so that what lasts for a moment is not missed.
    pub(super) async fn until(&self, sql: &str, said: &str) {
        self.server.sql("phoenix", &once(sql, said, "")).await;
    }

    pub(super) async fn reverted(&self, call: &Call) -> Result<(), ActionError> {
        let (clients, armed) = self.clients();
        let now = observe(&clients, call).await.expect("observed");
        let image = Image { before: state(None), ours: whole(), now };
        revert(&clients, &armed, call, &image).await
    }

    /// Holds the lock until it is let go, or dropped.
    pub(super) async fn hold(&self) -> tokio_postgres::Client {
        self.server.sql("phoenix", STOP).await;
        let connected = self.server.client("dr", "operator-secret", "phoenix").await;
        let (holder, driver) = connected.expect("connects");
        drop(driver);
        holder.batch_execute("select pg_advisory_lock(4711)").await.expect("held");
        holder
    }
}

#[tokio::test]
async fn what_is_killed_between_its_transactions_goes_on_from_there_and_ends_the_same() {
    let Some(lab) = Lab::open(1200).await else { return };
    lab.harm().await;
    lab.rows().await;
    lab.server.sql("phoenix", "update lab.experiments set name = 'other' where id = 700").await;
    lab.server.sql("postgres", "create database undisturbed template phoenix").await;
    lab.server.sql("postgres", "grant create on database undisturbed to dr").await;
    let with = json!({ "max_corrupt": 100_000 });
    let other = json!({ "max_corrupt": 100_000, "database": "undisturbed" });
    let undisturbed = lab.done("01U", &other).await.expect("rebuilt");
    let expected = lab.report();
    let before = lab.digest().await;
    let holder = lab.hold().await;
    let (clients, armed) = lab.clients();
    let call = call("01A", &with);
    let seen = observe(&clients, &call).await.expect("observed");
    tokio::select! {
        ended = perform(&clients, &armed, &call, &seen) => panic!("it must wait: {ended:?}"),
        () = lab.until(STOPPED, "1") => {}
    }
    drop(holder);
    let backends =
        "select count(*)::text from pg_stat_activity where application_name = 'phoenix-dr'";
    lab.until(backends, "0").await;
    lab.server.sql("phoenix", "drop trigger stop on lab.experiments").await;
    // A part is written, a part is not; the engine takes that for a half-done change of its own.
    let part = observe(&clients, &call).await.expect("observed");
    assert_eq!(part.live, json!({ "begun": true, "whole": null }));
    assert!(!part.satisfied && part.outputs.is_empty(), "{part:?}");
    let come = "select (tally::jsonb ->> 'experiments') || ' through ' || position from phoenix_dr_rebuilds";
    let known = "select count(distinct experiment_id) || ' through ' || max(experiment_id) \
        from lab.experiment_events where experiment_id <= (select position::int8 from phoenix_dr_rebuilds)";
    let come = lab.text(come).await;
    assert!(
        come.starts_with("5") && come.len() == "500 through 500".len(),
        "one transaction is done: {come}"
    );
    assert_eq!(come, lab.text(known).await);
    let performed = perform(&clients, &armed, &call, &part).await.expect("gone on with");
    assert_eq!(lab.wrong().await, "");
    assert_eq!(performed.outputs, undisturbed.outputs, "the same end");
    assert_eq!(lab.report()["findings"], expected["findings"], "and each finding once");
    // All of it is taken back, what the first process wrote as well.
    lab.reverted(&call).await.expect("taken back");
    assert_eq!(lab.digest().await, before);
}

#[tokio::test]
async fn a_part_can_be_taken_back_and_begun_anew() {
    let Some(lab) = Lab::open(600).await else { return };
    lab.rows().await;
    let before = lab.digest().await;
    // The last transaction cannot be written.
    let never = "alter table lab.experiments add constraint never check (id <> 591) not valid";
    lab.server.sql("phoenix", never).await;
    let (clients, armed) = lab.clients();
    let mut call = call("01A", &json!({}));
    let seen = observe(&clients, &call).await.expect("observed");
    let error = perform(&clients, &armed, &call, &seen).await.expect_err("refused");
    assert!(error.message.contains("violates check constraint \"never\""), "{error}");
    assert_eq!(error.effect, Effect::Applied, "five hundred are written");
    assert_ne!(lab.digest().await, before);
    lab.reverted(&call).await.expect("taken back");
    assert_eq!(lab.digest().await, before);
    lab.server.sql("phoenix", "alter table lab.experiments drop constraint never").await;
    call.generation = 1;
    let seen = observe(&clients, &call).await.expect("observed");
    perform(&clients, &armed, &call, &seen).await.expect("rebuilt");
    assert_eq!(lab.wrong().await, "");
}

#[tokio::test]
async fn what_others_changed_since_is_told_and_stays() {
    let Some(lab) = Lab::open(40).await else { return };
    lab.rows().await;
    lab.done("01A", &json!({})).await.expect("rebuilt");
    let kept = "select md5(string_agg(x::text, '|' order by id)) from lab.experiments x where id in (2, 11)";
    let sql = "update lab.experiments set name = 'theirs' where id = 2; \
        update lab.experiments set progress = 2 where id = 11; delete from lab.experiments where id = 13; \
        update lab.experiments set name = 'not of this step' where id = 5";
    lab.server.sql("phoenix", sql).await;
    let theirs = lab.text(kept).await;
    let call = call("01A", &json!({}));
    let error = lab.reverted(&call).await.expect_err("not all of it");
    assert_eq!((error.class, error.effect), (FailureClass::Conflict, Effect::Applied));
    let said = "9 experiments are as before; 3 were changed by somebody else since they were rebuilt, and stay: 2, 11, 13";
    assert!(error.message.contains(said), "{error}");
    assert_eq!(lab.text(kept).await, theirs);
    // Rows that were lost are lost again, and what was scrambled is scrambled.
    let rows = "select string_agg(id::text, ',' order by id) from lab.experiments \
        where id % 10 = 1 or name = 'scrambled' or name = 'not of this step'";
    assert_eq!(lab.text(rows).await, "3,5,11,23,33");
    // It is known as half taken back; what is as it was written by now is restored the next time.
    let (clients, _armed) = lab.clients();
    let now = observe(&clients, &call).await.expect("observed");
    assert_eq!(now.live, json!({ "begun": true, "whole": null }));
    lab.server
        .sql("phoenix", "update lab.experiments set name = 'experiment 2' where id = 2")
        .await;
    let error = lab.reverted(&call).await.expect_err("two are left");
    assert!(error.message.contains("1 experiments are as before; 2 were"), "{error}");
}

#[tokio::test]
async fn two_processes_of_one_step_do_not_write_side_by_side() {
    let Some(lab) = Lab::open(700).await else { return };
    let (clients, armed) = lab.clients();
    let call = call("01A", &json!({}));
    let seen = observe(&clients, &call).await.expect("observed");
    let holder = lab.hold().await;
    let first = perform(&clients, &armed, &call, &seen);
    let second = async {
        lab.until(STOPPED, "1").await;
        let again = observe(&clients, &call).await.expect("observed");
        let waits =
            "select count(*)::text from pg_locks where locktype = 'transactionid' and not granted";
        let let_go = async {
            let let_go = once(waits, "1", "perform pg_advisory_unlock(4711);");
            holder.batch_execute(&let_go).await.expect("let go");
        };
        tokio::join!(perform(&clients, &armed, &call, &again), let_go).0
    };
    let (first, second) = tokio::join!(first, second);
    first.expect("the first is done");
    let error = second.expect_err("the other gives up");
    assert_eq!(error.class, FailureClass::Conflict, "{error}");
    assert_eq!(lab.wrong().await, "");
    let tally = "select (tally::jsonb ->> 'rebuilt') from phoenix_dr_rebuilds";
    assert_eq!(lab.text(tally).await, "700", "nothing is counted twice");
}

#[tokio::test]
async fn a_look_that_was_cut_short_is_made_whole_before_anything_is_written() {
    let Some(lab) = Lab::open(20).await else { return };
    lab.server
        .sql("phoenix", "update lab.experiment_events set type = 'x' where id % 100 = 7")
        .await;
    let (clients, armed) = lab.clients();
    let place = Place { instance: "phoenix-prod", database: "phoenix" };
    let mut session = source::open(&clients, place).await.expect("opened");
    let known = wanted(&clients).expect("known");
    let layout = layout(&clients, &mut session, place, known).await.expect("found");
    let way = Way { place, layout: &layout, ids: None, first: 1 };
    let call = call("01A", &json!({ "max_corrupt": 7 }));
    let mut findings = Findings::counted(&clients);
    let over = Some(clients.clock.now());
    let looked = pass::look(&clients, &call, way, over, &mut findings).await.expect("looked");
    assert!(!looked.complete && looked.tally == Tally::default(), "{:?}", looked.tally);
    let mut seen = observe(&clients, &call).await.expect("observed");
    assert_eq!(seen.context["complete"], true);
    seen.context = json!({ "complete": false, "corrupt": 0 });
    let error = perform(&clients, &armed, &call, &seen).await.expect_err("there is more");
    assert!(error.message.contains("nothing was written"), "{error}");
    assert_eq!((lab.digest().await.as_str(), lab.own().await.as_str()), ("none", ""));
}

#[tokio::test]
async fn a_new_row_that_others_refer_to_keeps_no_other_from_being_restored() {
    let Some(lab) = Lab::open(30).await else { return };
    lab.rows().await;
    let others = "select md5(string_agg(x::text, '|' order by id)) from lab.experiments x where id % 10 <> 1";
    let before = lab.text(others).await;
    lab.done("01A", &json!({})).await.expect("rebuilt");
    assert_ne!(lab.text(others).await, before);
    let refers = "alter table lab.experiment_events add constraint refers foreign key (experiment_id) \
        references lab.experiments deferrable initially deferred";
    lab.server.sql("phoenix", refers).await;
    let call = call("01A", &json!({}));
    let error = lab.reverted(&call).await.expect_err("the new rows stay");
    assert!(error.message.contains("violates foreign key constraint \"refers\""), "{error}");
    assert!(error.hint.expect("what to do").contains("drop that constraint"));
    assert_eq!(lab.text(others).await, before, "all others are as before");
    lab.server.sql("phoenix", "alter table lab.experiment_events drop constraint refers").await;
    lab.reverted(&call).await.expect("all of it");
    assert_eq!(lab.text("select count(*)::text from lab.experiments where id % 10 = 1").await, "0");
}
