//! The fence of a whole database and replicas: nothing is closed on one, and what comes over to one is lifted there.

use serde_json::json;

use super::*;
use crate::actions::postgres::testing::{Lab, restore_of};
use crate::actions::{observe, perform};
use crate::clients::postgres::testing::{Server, brisk};
use crate::clients::postgres::{Stands, Writable, prove_writable, stands};
use crate::clients::testing;
use crate::ids::RunId;
use crate::runbook::catalogue::actions::ActionName;

const PASSWORD: &str = "operator-secret";
const REPLICA: &str = "phoenix-dr-replica";

fn call_of(action: ActionName, more: Value) -> Call {
    let mut with = json!({ "instance": "phoenix-prod", "region": "us-east-1" });
    for (name, value) in more.as_object().into_iter().flatten() {
        with[name.as_str()] = value.clone();
    }
    testing::call(action, with).0
}

fn fence() -> Call {
    call_of(ActionName::PostgresFence, json!({ "scope": "database" }))
}

/// All that a fence could have changed of a server, to the byte.
async fn access(server: &Server) -> String {
    let sql = "select concat_ws(E'\\n', \
         (select string_agg(concat_ws(' ', datname, datacl::text, datconnlimit, shobj_description(oid, 'pg_database')), \
             E'\\n' order by datname) from pg_database), \
         (select string_agg(concat_ws(' ', setdatabase, setrole, setconfig), E'\\n' order by setdatabase, setrole) \
             from pg_db_role_setting), \
         (select string_agg(concat_ws(' ', rolname, rolcanlogin), E'\\n' order by rolname) from pg_roles))";
    server.text("postgres", sql).await
}

/// A server and its replica, which the estate knows.
struct Pair {
    server: Server,
    replica: Server,
    clients: Clients,
    armed: Armed,
}

impl Pair {
    async fn open(more: &str, roles: &[&str]) -> Option<Self> {
        let server = Server::start()?;
        server.prepare().await;
        server
            .sql(
                "postgres",
                "create role heir login password 'operator-secret'; grant dr to heir; grant app to dr; \
                 grant connect on database phoenix to app; alter database phoenix connection limit 7; \
                 alter database phoenix set work_mem = '5MB'; comment on database phoenix is 'theirs'",
            )
            .await;
        server.sql("postgres", more).await;
        let replica = server.replica();
        let mut estate = server.estate(&json!({
            "replica": { "id": REPLICA, "region": "us-west-2" },
            "addresses": { REPLICA: replica.address.to_string() },
        }));
        estate["database"]["connection"]["application_roles"] = json!(roles);
        let armed = Armed::mint();
        let clients = brisk(estate, &armed);
        Some(Self { server, replica, clients, armed })
    }

    /// Closes the database on the primary, and waits until the replica has that.
    async fn fenced(&self) {
        let seen = observe(&self.clients, &fence()).await.expect("observed");
        perform(&self.clients, &self.armed, &fence(), &seen).await.expect("fenced");
        let closed = access(&self.server).await;
        while access(&self.replica).await != closed {
            self.clients.clock.sleep(Duration::from_millis(50)).await;
        }
    }

    /// Proves as soon as the promotion is over.
    async fn proved(&self) -> Writable {
        let run = RunId("01RUN".to_owned());
        loop {
            let proof = prove_writable(&self.clients, REPLICA, "us-west-2", None, &run, None).await;
            match proof {
                Ok(proved) => return proved,
                Err(error) if error.class == FailureClass::Transient => {
                    self.clients.clock.sleep(Duration::from_millis(50)).await;
                }
                Err(error) => panic!("{error:?}"),
            }
        }
    }

    async fn is_lifted_where_it_came_over(&self) {
        let before = access(&self.server).await;
        self.fenced().await;
        let closed = access(&self.server).await;
        assert_ne!(closed, before);
        self.replica.promote();
        let proof = self.proved().await;
        assert!(proof.lifted_fence && proof.locked.is_empty(), "{proof:?}");
        assert_eq!(access(&self.replica).await, before, "what it found is there again");
        let app = self.replica.application().await.expect("the application gets in");
        app.execute("insert into orders values (5)", &[]).await.expect("and writes");
        let run = RunId("01RUN".to_owned());
        assert_eq!(stands(&self.clients, REPLICA, None, &run).await, Ok(Stands::Proved));
        assert!(!self.proved().await.lifted_fence, "there is nothing left to lift");
        assert_eq!(access(&self.server).await, closed, "the damaged one stays closed");
    }
}

#[tokio::test]
async fn what_a_superuser_closed_is_opened_where_it_comes_over() {
    let boss = "alter role dr superuser; create role boss superuser login password 'operator-secret'; \
         alter database phoenix set default_transaction_read_only = 'false'";
    let Some(pair) = Pair::open(boss, &["app", "boss"]).await else { return };
    pair.is_lifted_where_it_came_over().await;
    let boss = pair.replica.client("boss", PASSWORD, "phoenix").await;
    boss.expect("its login was taken, and given back there");
}

#[tokio::test]
async fn what_the_owner_closed_is_opened_where_it_comes_over() {
    let Some(pair) = Pair::open("select", &["app"]).await else { return };
    pair.is_lifted_where_it_came_over().await;
    let heir = pair.replica.client("heir", PASSWORD, "phoenix").await;
    heir.expect("its login was taken, and given back there");
}

#[tokio::test]
async fn what_somebody_changed_where_it_came_over_stays_theirs_and_is_named() {
    let Some(pair) = Pair::open("select", &["app"]).await else { return };
    pair.fenced().await;
    pair.replica.promote();
    while pair.replica.text("postgres", "select pg_is_in_recovery()::text").await == "true" {
        pair.clients.clock.sleep(Duration::from_millis(50)).await;
    }
    pair.replica.sql("postgres", "grant connect on database phoenix to heir").await;
    let proof = pair.proved().await;
    assert!(proof.lifted_fence, "its default and its logins are as the fence left them");
    assert_eq!(proof.locked, ["app"], "who may connect is not");
    let noted =
        "select shobj_description(oid, 'pg_database') from pg_database where datname = 'phoenix'";
    let noted = pair.replica.text("postgres", noted).await;
    assert!(
        noted.contains("\"privileges\":[{\"to\":null"),
        "what was there is to be read: {noted}"
    );
}

#[tokio::test]
async fn a_replica_is_refused_where_the_damaged_database_is_to_be_closed() {
    let Some(pair) = Pair::open("create database phoenix_restored owner dr", &["app"]).await else {
        return;
    };
    let before = access(&pair.server).await;
    let mut estate = pair.server.estate(&json!({}));
    let primary = observe(&pair.clients, &fence()).await.expect("observed");
    estate["database"]["primary"]["address"] = json!(pair.replica.address.to_string());
    let clients = brisk(estate, &pair.armed);
    drop(pair.replica.client("postgres", PASSWORD, "postgres").await.expect("it is up"));
    let cut_over = call_of(ActionName::PostgresCutOver, json!({ "restored": "phoenix_restored" }));
    for call in [fence(), cut_over] {
        let error = observe(&clients, &call).await.expect_err("it takes no writes");
        assert_eq!((error.class, error.effect), (FailureClass::Invalid, Effect::None), "{error}");
        let hint = error.hint.expect("what to do");
        for part in ["name the instance that takes writes", "pg_stat_wal_receiver"] {
            assert!(hint.contains(part), "{part}: {hint}");
        }
    }
    // One that became a replica after the look.
    let error = perform(&clients, &pair.armed, &fence(), &primary).await.expect_err("refused");
    assert!(error.message.contains("replays another's writes"), "{error}");
    assert_eq!(access(&pair.server).await, before);
}

#[tokio::test]
async fn a_replica_is_refused_where_a_database_is_to_be_restored() {
    let Some(lab) = Lab::open().await else { return };
    lab.dumped("first").await;
    let standby = lab.server.replica();
    let (clients, _armed) = lab.clients_with(&json!({
        "primary": { "id": "phoenix-prod", "region": "us-east-1", "address": standby.address.to_string() },
    }));
    drop(standby.client("postgres", PASSWORD, "postgres").await.expect("it is up"));
    let with = restore_of("first", "phoenix_restored");
    let call = testing::call(ActionName::PostgresRestore, with).0;
    let error = observe(&clients, &call).await.expect_err("it takes no writes");
    assert!(error.message.contains("is a replica"), "{error}");
    assert!(error.hint.expect("what to do").contains("name the instance that takes writes"));
}
