//! What a restored server does beside what it was restored for, and that one in use is not removed.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use futures::future::BoxFuture;

use super::*;
use crate::clock::{Clock, RealClock};

/// A clock on which a pause takes a minute and passes at once; time limits are real.
#[derive(Debug, Default)]
struct Minutes(AtomicU64);

impl Clock for Minutes {
    fn now(&self) -> Timestamp {
        RealClock.now() + Duration::from_mins(self.0.load(Ordering::SeqCst))
    }

    fn sleep(&self, length: Duration) -> BoxFuture<'static, ()> {
        if length > Duration::from_secs(1) {
            return RealClock.sleep(length);
        }
        self.0.fetch_add(1, Ordering::SeqCst);
        Box::pin(tokio::task::yield_now())
    }
}

async fn kept(lab: &Lab, clients: &Clients, armed: &Armed) -> ActionError {
    let call = Lab::call("latest");
    let now = observe(clients, &call).await.expect("observed");
    let image = Image { before: State::None.seen(), ours: now.live.clone(), now };
    let error = revert(clients, armed, &call, &image).await.expect_err("it is kept");
    assert_eq!((error.class, error.effect), (FailureClass::Conflict, Effect::None), "{error}");
    assert!(lab.data.join("PG_VERSION").exists(), "{error}");
    error
}

#[tokio::test]
async fn a_server_that_is_used_is_not_removed() {
    let Some(lab) = Lab::open(&[]).await else { return };
    lab.row(1).await;
    lab.restored("latest").await.expect("restored");
    let client = lab.client().await;
    let (clients, armed) = lab.clients();
    let clock = Arc::new(Minutes::default());
    let error = kept(&lab, &Clients { clock, ..clients }, &armed).await;
    assert!(
        error.message.contains("has 1 sessions of dr: what is written there is nowhere else"),
        "{error}"
    );
    client.batch_execute("insert into orders values (2), (3)").await.expect("written");
    drop(client);
    let (clients, armed) = lab.clients();
    let error = kept(&lab, &clients, &armed).await;
    assert!(error.message.contains("had 2 rows changed in phoenix since"), "{error}");
    // Stopped by a reboot, it cannot be asked, and more was written than it had begun with.
    let (clients, armed) = lab.clients();
    let place = Place::of(own(&clients).expect("a place"), &Lab::call("latest"));
    let State::Whole(mark) = place.state().expect("seen") else { panic!("it is whole") };
    let process = Process::of(&clients, place.server(), mark.major).await.expect("programs");
    process.stop(&clients).await.expect("stopped");
    let error = kept(&lab, &clients, &armed).await;
    assert!(error.message.contains("does not run, and was written to since"), "{error}");
    assert!(error.hint.is_some_and(|hint| hint.contains("pg_ctl --pgdata ")));
    // Ended by a crash, it has lost count of the rows.
    process.start(&clients).await.expect("started");
    lab.server.end(&lab.data);
    process.start(&clients).await.expect("started");
    while observe(&clients, &Lab::call("latest")).await.is_err() {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let error = kept(&lab, &clients, &armed).await;
    assert!(error.message.contains("was started again since it was restored, and "), "{error}");
}

#[tokio::test]
async fn a_server_nobody_has_used_is_removed_whether_it_runs_or_not() {
    for stopped in [false, true] {
        let Some(lab) = Lab::open(&[]).await else { return };
        lab.row(1).await;
        lab.restored("latest").await.expect("restored");
        assert_eq!(lab.rows_read().await, [1]);
        if stopped {
            let (clients, _armed) = lab.clients();
            let place = Place::of(own(&clients).expect("a place"), &Lab::call("latest"));
            let State::Whole(mark) = place.state().expect("seen") else { panic!("it is whole") };
            let process = Process::of(&clients, place.server(), mark.major).await.expect("there");
            process.stop(&clients).await.expect("stopped");
        }
        lab.taken_back("latest").await.expect("taken back");
        lab.nothing_made();
    }
}

#[tokio::test]
async fn it_does_nothing_its_primary_did_for_others() {
    let Some(lab) = Lab::open(&[]).await else { return };
    lab.row(1).await;
    // With these each commit waits for a standby, and subscriptions are taken over from the primary.
    let settings = lab.bases.join("sunday/postgresql.auto.conf");
    let text = std::fs::read_to_string(&settings).expect("read");
    let more = "synchronous_standby_names = '*'\nmax_logical_replication_workers = 4\n";
    std::fs::write(&settings, format!("{text}{more}")).expect("written");
    let done = lab.restored("latest").await.expect("it takes writes");
    assert!(
        done.notes.iter().any(|note| note.contains("waits for no standby")),
        "{:?}",
        done.notes
    );
    assert_eq!(lab.rows().await, [1]);
    for (name, value) in
        [("synchronous_standby_names", ""), ("max_logical_replication_workers", "0")]
    {
        let row = lab.client().await.query_one(&format!("show {name}"), &[]).await.expect("read");
        assert_eq!(row.get::<_, &str>(0), value, "{name}");
    }
}

#[tokio::test]
async fn what_is_not_the_backup_that_was_looked_at_is_not_restored() {
    let Some(lab) = Lab::open(&[]).await else { return };
    lab.row(1).await;
    let seen = lab.seen("latest").await.expect("observed");
    let ((clients, armed), call) = (lab.clients(), Lab::call("latest"));
    lab.server.base_backup(&lab.bases.join("monday"), &[]);
    std::fs::rename(lab.bases.join("sunday"), lab.bases.join("saturday")).expect("renamed");
    std::fs::rename(lab.bases.join("monday"), lab.bases.join("sunday")).expect("renamed");
    let error = perform(&clients, &armed, &call, &seen).await.expect_err("another one");
    assert!(error.message.contains("sunday is another one by now"), "{error}");
    assert_eq!((error.class, error.effect), (FailureClass::Conflict, Effect::None));
    lab.nothing_made();
    // Nor is an instant reached that was before a backup that is named, though nobody wrote meanwhile.
    let with = json!({ "backup": "saturday", "target": "time 2001-01-01T00:00:00Z" });
    let (call, _news) = testing::call(ActionName::PostgresRestorePointInTime, with);
    let error = observe(&clients, &call).await.expect_err("before its end");
    assert!(error.message.contains("was not complete yet at 2001-01-01"), "{error}");
}

#[tokio::test]
async fn a_plain_backup_with_a_tablespace_is_none() {
    let Some(lab) = Lab::open(&[]).await else { return };
    let (space, copied) = (lab.server.directory("space"), lab.server.directory("copied"));
    let make = format!("create tablespace space location '{}'", space.display());
    lab.server.sql("postgres", &make).await;
    lab.server.sql("phoenix", "create table spaced (x int) tablespace space").await;
    let mapping = format!("--tablespace-mapping={}={}", space.display(), copied.display());
    lab.server.base_backup(&lab.bases.join("monday"), &[&mapping]);
    lab.row(1).await;
    let with = json!({ "backup": "monday", "target": "latest" });
    let (call, _news) = testing::call(ActionName::PostgresRestorePointInTime, with);
    let error = observe(&lab.clients().0, &call).await.expect_err("it has one");
    assert!(error.message.contains("monday cannot be used: it has tablespaces"), "{error}");
    let done = lab.restored("latest").await.expect("the one before has none");
    assert_eq!(done.outputs["backup"], "sunday");
}
