//! The RDS actions over a scripted region and real PostgreSQL servers: RDS says usable, SQL says proved.

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};

use super::testing::{
    Made, OTHER_RUN, REPLICA, Region, TARGET, WEST, backup, made, region, replica,
};
use super::watch::Watch;
use super::{candidates, drain, instance, promote, proof, recover, restore_snapshot};
use crate::clients::Clients;
use crate::clients::aws::testing::{RUN, Script, call, estate, timed};
use crate::clients::postgres::testing::{OPERATOR, Server};
use crate::clock::{Clock, RealClock};
use crate::engine::ports::{Armed, Call, Image, Observation};
use crate::ids::RunId;
use crate::outcome::{Effect, FailureClass, WARNS};
use crate::runbook::catalogue::actions::{
    ChooseRecoveryPoint, PromoteReplica, Recover, RecoveryPoint, RestoreSnapshot,
};

/// A test that hangs fails after this time.
const LONG: Duration = Duration::from_secs(120);

/// Clients of an estate whose instances are at these addresses, all with the same password.
fn clients(server: &Server, addresses: &Value, known: Region) -> (Clients, Armed, Script) {
    let (script, _) = region(known);
    let estate = estate(|estate| {
        let database = &mut estate["database"];
        database["addresses"] = addresses.clone();
        database["connection"] = json!({
            "user": OPERATOR, "password_from": { "file": server.secret() }, "tls": "disable",
            "application_roles": ["app"],
        });
    });
    let clients = timed(estate, &script, Arc::new(RealClock));
    let armed = Armed::mint();
    clients.guard.open(&armed);
    (clients, armed, script)
}

fn promotion() -> PromoteReplica {
    PromoteReplica { region: WEST.to_owned(), replica: REPLICA.to_owned() }
}

fn standing(id: &str, run: &str) -> Made {
    made(id, &["available"]).tagged("phoenix-dr:run", run)
}

fn only(made: Made) -> Region {
    Region { instances: vec![made], ..Region::default() }
}

#[tokio::test]
async fn a_promotion_is_done_when_sql_has_proved_it() {
    let Some(server) = Server::start() else { return };
    server.prepare().await;
    let addresses = json!({ REPLICA: server.address.to_string() });
    let alone = || only(standing(REPLICA, RUN));
    let (clients, armed, _) = clients(&server, &addresses, alone());
    let (call, _news) = call("rds.promote_replica");
    let seen = promote::observe(&clients, &call, &promotion()).await.expect("seen");
    // Killed between the promotion and its proof: to be carried on, not called done.
    assert!(!seen.satisfied && seen.under_way, "{:?}", seen.evidence);
    assert!(seen.evidence[1].contains("has not proved yet"), "{:?}", seen.evidence);
    let done = promote::perform(&clients, &armed, &call, &promotion(), &seen).await;
    assert_eq!(done.expect("proved").after, json!({ "role": "standalone" }));
    let seen = promote::observe(&clients, &call, &promotion()).await.expect("seen");
    assert!(seen.satisfied && !seen.under_way, "{:?}", seen.evidence);
}

#[tokio::test]
async fn a_promotion_that_led_to_the_same_server_as_before_is_none() {
    let Some(server) = Server::start() else { return };
    server.prepare().await;
    let addresses = json!({ REPLICA: server.address.to_string() });
    let (clients, armed, _) = clients(&server, &addresses, Region::default());
    let (call, _news) = call("rds.promote_replica");
    let now = crate::clients::postgres::server(&clients, REPLICA, None).await.expect("asked");
    let lineage = now.lineage.expect("PostgreSQL tells").to_string();
    let promoted = standing(REPLICA, RUN).tagged("phoenix-dr:lineage", &lineage);
    let (clients, _, _) = self::clients(&server, &addresses, only(promoted));
    clients.guard.open(&armed);
    let seen = promote::observe(&clients, &call, &promotion()).await.expect("seen");
    let error = promote::perform(&clients, &armed, &call, &promotion(), &seen).await;
    let error = error.expect_err("the timeline is the old one");
    assert_eq!((error.class, error.effect), (FailureClass::Conflict, Effect::Applied), "{error}");
    assert!(error.message.contains("timeline"), "{error}");
}

#[tokio::test]
async fn a_connection_that_leads_elsewhere_is_found_before_the_promotion() {
    let Some(server) = Server::start() else { return };
    server.prepare().await;
    // RDS calls it a replica, and the server at its address takes writes.
    let addresses = json!({ REPLICA: server.address.to_string() });
    let known = Region { backups: backup("2026-11-22T02:12:00Z"), ..only(replica(&["available"])) };
    let (clients, armed, script) = clients(&server, &addresses, known);
    let (call, _news) = call("rds.promote_replica");
    let seen = promote::observe(&clients, &call, &promotion()).await.expect("seen");
    let error = promote::perform(&clients, &armed, &call, &promotion(), &seen).await;
    let error = error.expect_err("not the replica");
    assert_eq!((error.class, error.effect), (FailureClass::Conflict, Effect::None), "{error}");
    assert_eq!(script.count("PromoteReadReplica"), 0);
    let with = ChooseRecoveryPoint { region: WEST.to_owned(), choose: None };
    let seen = candidates::observe(&clients, &call, &with).await.expect("candidates");
    let replica = seen.choices.iter().find(|candidate| candidate.id == "replica").expect("named");
    assert!(
        replica.unusable.as_ref().is_some_and(|why| why.contains("takes writes")),
        "{replica:?}"
    );
}

/// A primary and its replica, of which the first commits what the second has received and not replayed.
async fn behind() -> Option<(Server, Server)> {
    let primary = Server::start()?;
    primary.prepare().await;
    let replica = primary.replica();
    replica.sql("phoenix", "select pg_wal_replay_pause()").await;
    // Asked for is a pause; it is one once the replica says so.
    while replica.text("phoenix", "select pg_get_wal_replay_pause_state()").await != "paused" {
        primary.sql("phoenix", "select txid_current()").await;
    }
    primary.sql("phoenix", "insert into orders select generate_series(1, 1000)").await;
    Some((primary, replica))
}

#[tokio::test]
async fn what_a_reachable_source_has_committed_is_replayed_before_the_promotion() {
    let Some((primary, follower)) = behind().await else { return };
    let addresses = json!({
        "phoenix-prod": primary.address.to_string(),
        REPLICA: follower.address.to_string(),
    });
    let (clients, _armed, _) = clients(&primary, &addresses, only(replica(&["available"])));
    let (call, mut news) = call("rds.promote_replica");
    let watch = Watch::new(&clients, &call, WEST, REPLICA);
    let found = instance::existing(&clients, WEST, REPLICA).await.expect("seen");
    let mut notes = Vec::new();
    let resumed = async {
        let told = news.recv().await.expect("it says what it waits for").said;
        assert!(told.contains("replays what its source committed"), "{told}");
        follower.sql("phoenix", "select pg_wal_replay_resume()").await;
    };
    tokio::join!(drain::drained(&clients, &found, &watch, &mut notes), resumed);
    assert_eq!(notes, [format!("{REPLICA} has replayed all that phoenix-prod committed")]);
    assert_eq!(follower.text("phoenix", "select count(*)::text from orders").await, "1000");
}

#[tokio::test]
async fn a_replica_that_gets_no_further_is_promoted_and_what_it_lacks_is_said() {
    let Some((primary, follower)) = behind().await else { return };
    let addresses = json!({
        "phoenix-prod": primary.address.to_string(),
        REPLICA: follower.address.to_string(),
    });
    let (mut clients, _armed, _) = clients(&primary, &addresses, only(replica(&["available"])));
    clients.clock = Arc::new(Hasty::default());
    let (call, _news) = call("rds.promote_replica");
    let watch = Watch::new(&clients, &call, WEST, REPLICA);
    let found = instance::existing(&clients, WEST, REPLICA).await.expect("seen");
    let mut notes = Vec::new();
    drain::drained(&clients, &found, &watch, &mut notes).await;
    let [note] = notes.as_slice() else { panic!("{notes:?}") };
    assert!(note.starts_with(WARNS) && note.contains("got no further, "), "{note}");
}

/// A clock on which what is waited for between two looks passes at once, and limits on an answer never.
#[derive(Default)]
struct Hasty {
    passed: std::sync::Mutex<Duration>,
}

impl Clock for Hasty {
    fn now(&self) -> jiff::Timestamp {
        RealClock.now() + *self.passed.lock().expect("not poisoned")
    }

    fn sleep(&self, length: Duration) -> futures::future::BoxFuture<'static, ()> {
        if length > Duration::from_secs(1) {
            return Box::pin(std::future::pending());
        }
        *self.passed.lock().expect("not poisoned") += length;
        Box::pin(std::future::ready(()))
    }
}

#[tokio::test]
async fn what_an_earlier_run_left_is_proved_by_that_run_or_by_this_one() {
    let Some(server) = Server::start() else { return };
    server.prepare().await;
    let addresses = json!({ REPLICA: server.address.to_string() });
    let (clients, armed, _) = clients(&server, &addresses, only(standing(REPLICA, OTHER_RUN)));
    let point = RecoveryPoint {
        method: crate::runbook::catalogue::actions::RecoveryMethod::Promote,
        source: REPLICA.to_owned(),
        target: REPLICA.to_owned(),
        recovered: true,
    };
    let with = Recover { region: WEST.to_owned(), point: Some(point), target: None };
    let (call, _news) = call("rds.recover");
    let seen = recover::observe(&clients, &call, &with).await.expect("seen");
    assert!(!seen.satisfied && !seen.under_way, "another run's is taken over with consent");
    assert!(seen.irreversible.is_some());
    let done = recover::perform(&clients, &armed, &call, &with, &seen).await.expect("proved");
    assert_eq!(done.after, seen.live, "nothing of it is reverted");
    assert_eq!(done.outputs["instance"], REPLICA);

    // Had it come to its proof, nothing would be left to do.
    let found = instance::existing(&clients, WEST, REPLICA).await.expect("there");
    let other = RunId(OTHER_RUN.to_owned());
    assert!(proof::missing(&clients, &found, &other).await.is_some());
    let prove = crate::clients::postgres::prove_writable;
    prove(&clients, REPLICA, WEST, None, &other, None).await.expect("proved");
    let seen = recover::observe(&clients, &call, &with).await.expect("seen");
    assert!(seen.satisfied && !seen.under_way, "{:?}", seen.evidence);
}

fn image() -> Image {
    let ours = json!({ "exists": true, "run": RUN });
    let now = Observation::new(ours.clone(), ours.clone());
    Image { before: json!({ "exists": false }), ours, now }
}

#[tokio::test]
async fn a_restore_is_deleted_with_what_is_in_it_only_when_nobody_wrote_there() {
    let Some(server) = Server::start() else { return };
    server.prepare().await;
    let addresses = json!({ TARGET: server.address.to_string() });
    let with = RestoreSnapshot { region: WEST.to_owned(), snapshot: None, target: None };
    let (call, mut news) = call("rds.restore_snapshot");
    let ours = || {
        let mut ours = made(TARGET, &["available"]).ours();
        ours.deletion_protection = false;
        only(ours)
    };
    let app = server.application().await.expect("connects");
    let (used, armed, script) = clients(&server, &addresses, ours());
    // The attempt has no time left to wait for the session to end.
    let hurried = Call { progress: call.progress.clone().until(RealClock.now()), ..call.clone() };
    let error = restore_snapshot::revert(&used, &armed, &hurried, &with, &image()).await;
    let error = error.expect_err("somebody uses it");
    assert_eq!((error.class, error.effect), (FailureClass::Conflict, Effect::None), "{error}");
    assert!(error.message.contains("1 sessions of the application"), "{error}");
    assert_eq!(script.count("DeleteDBInstance"), 0);

    let found = instance::existing(&used, WEST, TARGET).await.expect("there");
    // With time it waits for the application, which was pointed elsewhere just now, to leave.
    let leaving = async {
        while let Some(note) = news.recv().await {
            if note.said.contains("waiting for 1 sessions") {
                return drop(app);
            }
        }
    };
    let image = image();
    let reverting = restore_snapshot::revert(&used, &armed, &call, &with, &image);
    let both = futures::future::join(reverting, leaving);
    let (reverted, ()) = crate::clock::within(&RealClock, LONG, both).await.expect("it waits");
    reverted.expect("deleted once it had left");
    assert_eq!(script.count("DeleteDBInstance"), 1);

    while proof::usage(&used, &found).await.expect("asked").sessions > 0 {
        tokio::task::yield_now().await;
    }
    for (written, skips) in [(false, "true"), (true, "false")] {
        if written {
            server.sql("phoenix", "insert into orders values (1)").await;
            while proof::usage(&used, &found).await.expect("asked").changed_rows == 0 {
                tokio::task::yield_now().await;
            }
        }
        let (clients, armed, script) = clients(&server, &addresses, ours());
        restore_snapshot::revert(&clients, &armed, &call, &with, &image).await.expect("deleted");
        let sent = script.sent();
        let delete = sent.iter().find(|sent| sent.action == "DeleteDBInstance").expect("a delete");
        assert_eq!(delete.field("SkipFinalSnapshot").as_deref(), Some(skips), "written: {written}");
    }
}

#[tokio::test]
async fn one_that_was_in_use_and_is_busy_since_is_not_deleted() {
    let Some(server) = Server::start() else { return };
    server.prepare().await;
    let addresses = json!({ TARGET: server.address.to_string() });
    let with = RestoreSnapshot { region: WEST.to_owned(), snapshot: None, target: None };
    let mut ours = made(TARGET, &["available", "modifying"]).ours();
    ours.deletion_protection = false;
    let _app = server.application().await.expect("connects");
    let (used, armed, script) = clients(&server, &addresses, only(ours));
    let (call, mut news) = call("rds.restore_snapshot");
    let soon = RealClock.now() + Duration::from_secs(10);
    let bounded = Call { progress: call.progress.clone().until(soon), ..call };
    let error = restore_snapshot::revert(&used, &armed, &bounded, &with, &image()).await;
    let error = error.expect_err("somebody used it");
    assert_eq!((error.class, error.effect), (FailureClass::Conflict, Effect::None), "{error}");
    assert_eq!(script.count("DeleteDBInstance"), 0);
    let mut told = Vec::new();
    while let Ok(note) = news.try_recv() {
        told.push(note.said);
    }
    assert!(told.iter().any(|said| said.contains("modifying")), "it was busy: {told:?}");
}

#[tokio::test]
async fn what_the_application_uses_is_not_left_for_another_recovery_point_silently() {
    let Some(server) = Server::start() else { return };
    server.prepare().await;
    let _app = server.application().await.expect("connects");
    let addresses = json!({ TARGET: server.address.to_string() });
    let leftover = standing(TARGET, OTHER_RUN)
        .tagged("phoenix-dr:source", "own")
        .tagged("phoenix-dr:data-until", "2026-11-20T00:00:00Z");
    let known = Region {
        // Without an endpoint yet, nobody asks it how far behind it is.
        instances: vec![leftover, replica(&["creating"])],
        backups: backup("2026-11-22T02:12:00Z"),
        ..Region::default()
    };
    let (clients, _armed, _) = clients(&server, &addresses, known);
    let (call, _news) = call("rds.choose_recovery_point");
    let with = ChooseRecoveryPoint { region: WEST.to_owned(), choose: None };
    let seen = candidates::observe(&clients, &call, &with).await.expect("candidates");
    assert!(!seen.satisfied);
    assert_eq!(seen.choices[0].id, "recovered", "its loss is the only one that is known");
    let others = seen.choices.iter().filter(|candidate| candidate.id != "recovered");
    assert!(others.into_iter().all(|candidate| candidate.loss.is_none()), "{:?}", seen.choices);
    let said = |line: &String| line.contains("1 sessions of the application");
    assert!(seen.evidence.iter().any(said), "{:?}", seen.evidence);
}
