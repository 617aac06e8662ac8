//! Repointing by Secret, ConfigMap and CNAME: what is written, what is left alone, and what a restart proves.

use std::sync::{Arc, Mutex};

use futures::future::BoxFuture;

#[path = "repoint/fenced_tests.rs"]
mod fences;
#[path = "repoint/name_tests.rs"]
mod names;

use super::*;
use crate::actions::kubernetes::fake::{Fake, Fault, deployment_path, settle};
use crate::actions::{observe, perform, revert};
use crate::clients::guard::Guard;
use crate::clients::postgres::testing::{OPERATOR, Server};
use crate::clients::testing;
use crate::clock::{Clock, RealClock};
use crate::runbook::catalogue::actions::ActionName;

const SECRET: &str = "/api/v1/namespaces/prod/secrets/db";
const CONFIG: &str = "/api/v1/namespaces/prod/configmaps/db";

fn call(address: &str) -> Call {
    let with = json!({ "region": "us-west-2", "instance": "replica", "address": address });
    testing::call(ActionName::DatabaseRepoint, with).0
}

fn database(application: Value) -> Value {
    json!({
        "name": "phoenix",
        "primary": { "id": "phoenix-prod", "region": "us-east-1" },
        "recovered": { "id": "phoenix-recovered" },
        "connection": { "user": "dr", "password_from": { "env": "PATH" } },
        "application": application,
    })
}

fn key(port: bool) -> Value {
    let mut key = json!({ "namespace": "prod", "name": "db", "host_key": "host" });
    if port {
        key["port_key"] = json!("port");
    }
    key
}

fn encoded(text: &str) -> Value {
    json!(k8s_openapi::ByteString(text.as_bytes().to_vec()))
}

/// A clock on which pauses between looks pass at once and move the present on; limits of calls stay real.
#[derive(Default)]
struct Quick(Mutex<Duration>);

impl Clock for Quick {
    fn now(&self) -> jiff::Timestamp {
        RealClock.now() + *self.0.lock().expect("not poisoned")
    }

    fn sleep(&self, length: Duration) -> BoxFuture<'static, ()> {
        if length > Duration::from_secs(2) {
            return RealClock.sleep(length);
        }
        *self.0.lock().expect("not poisoned") += length;
        Box::pin(tokio::task::yield_now())
    }
}

/// The database the application is sent to, and the estate's word for it.
async fn replica(application: Value) -> Option<(Server, Value)> {
    let server = Server::start()?;
    server.prepare().await;
    server.sql("postgres", &format!("grant app to {OPERATOR}")).await;
    let mut database = database(application);
    database["addresses"] = json!({
        "replica": server.address.to_string(),
        "phoenix-prod": tcp::tests::closed().to_string(),
    });
    database["connection"] = json!({
        "user": OPERATOR, "password_from": { "file": server.secret() }, "tls": "disable", "application_roles": ["app"],
    });
    Some((server, database))
}

struct World {
    clients: Clients,
    armed: Armed,
    fake: Fake,
}

impl World {
    async fn of(clients: Clients) -> Self {
        let fake = Fake::default();
        fake.serve(&clients).await;
        fake.deployment("prod", "api", 2);
        fake.deployment("prod", "worker", 1);
        fake.put(SECRET, json!({
            "apiVersion": "v1", "kind": "Secret", "metadata": { "name": "db", "namespace": "prod" },
            "data": { "host": encoded("old.example"), "port": encoded("5432"), "password": encoded("hunter2") },
        }));
        fake.put(CONFIG, json!({
            "apiVersion": "v1", "kind": "ConfigMap", "metadata": { "name": "db", "namespace": "prod" },
            "data": { "host": "old.example:5432", "other": "x" },
        }));
        fake.control(settle);
        Self { clients, armed: Armed::mint(), fake }
    }

    async fn new(application: Value) -> Self {
        Self::of(testing::hasty(json!({ "database": database(application) }))).await
    }

    fn told() -> Value {
        json!({ "secret": key(true), "restart": ["prod/api", "prod/worker"] })
    }

    async fn secret() -> Self {
        Self::new(Self::told()).await
    }

    /// The same with a database that can be asked; `None` where PostgreSQL is not installed.
    async fn with_database(application: Value) -> Option<(Self, Server)> {
        let (server, database) = replica(application).await?;
        let estate = Arc::new(testing::estate(json!({ "database": database })));
        let clients = Clients::new(estate, Guard::closed(), Arc::new(Quick::default()));
        let world = Self::of(clients).await;
        world.arm();
        Some((world, server))
    }

    fn arm(&self) {
        self.clients.guard.open(&self.armed);
    }

    fn pods_for(&self, name: &str) -> Value {
        let object = self.fake.object(&deployment_path("prod", name));
        object["spec"]["template"]["metadata"]["annotations"][MARK].clone()
    }

    async fn undo(&self, call: &Call, before: &Value, ours: &Value) -> Result<(), ActionError> {
        let now = observe(&self.clients, call).await.expect("observed");
        let image = Image { before: before.clone(), ours: ours.clone(), now };
        revert(&self.clients, &self.armed, call, &image).await
    }
}

#[tokio::test]
async fn a_secret_is_written_the_pods_restarted_and_all_of_it_given_back() {
    let Some((world, _server)) = World::with_database(World::told()).await else { return };
    let call = call("new.example:6432");
    let seen = observe(&world.clients, &call).await.expect("observed");
    assert!(!seen.satisfied && !seen.under_way);
    assert_eq!(seen.differences.len(), 4, "{:?}", seen.differences);
    assert!(!json!(seen).to_string().contains("hunter2"), "other keys are not looked at");
    let done = perform(&world.clients, &world.armed, &call, &seen).await.expect("performed");
    let data = world.fake.object(SECRET)["data"].clone();
    assert_eq!(
        data,
        json!({
            "host": encoded("new.example"), "port": encoded("6432"), "password": encoded("hunter2"),
        })
    );
    assert_eq!(world.pods_for("api"), "new.example:6432");
    assert_eq!(world.pods_for("worker"), "new.example:6432");
    let again = observe(&world.clients, &call).await.expect("observed");
    assert!(again.satisfied && again.differences.is_empty(), "{:?}", again.differences);
    assert_eq!(again.live, done.after);

    world.undo(&call, &seen.live, &done.after).await.expect("reverted");
    assert_eq!(world.fake.object(SECRET)["data"]["host"], encoded("old.example"));
    assert_eq!(world.pods_for("api"), Value::Null, "which is one more rollout");
    assert_eq!(observe(&world.clients, &call).await.expect("observed").live, seen.live);
}

#[tokio::test]
async fn taking_it_back_does_not_wait_for_pods_on_a_database_that_may_be_fenced() {
    let Some((world, _server)) = World::with_database(World::told()).await else { return };
    let call = call("new.example:6432");
    let seen = observe(&world.clients, &call).await.expect("observed");
    let done = perform(&world.clients, &world.armed, &call, &seen).await.expect("performed");
    // From here on no pod becomes ready any more.
    world.fake.control(|_| {});
    world.undo(&call, &seen.live, &done.after).await.expect("reverted");
    assert_eq!(world.fake.object(SECRET)["data"]["host"], encoded("old.example"));
    assert_eq!(world.pods_for("worker"), Value::Null, "they are to restart");
}

#[tokio::test]
async fn pods_of_an_earlier_run_are_restarted_although_their_mark_names_the_address() {
    let Some((world, _server)) = World::with_database(World::told()).await else { return };
    let call = call("new.example:6432");
    let first = observe(&world.clients, &call).await.expect("observed");
    perform(&world.clients, &world.armed, &call, &first).await.expect("performed");
    // Somebody leads the application back by hand and leaves the mark.
    let mut secret = world.fake.object(SECRET);
    secret["data"]["host"] = encoded("old.example");
    world.fake.put(SECRET, secret);
    let seen = observe(&world.clients, &call).await.expect("observed");
    assert_eq!(seen.differences.len(), 3, "{:?}", seen.differences);
    perform(&world.clients, &world.armed, &call, &seen).await.expect("performed");
    assert_ne!(world.pods_for("api"), "new.example:6432", "which would be no new rollout");
    let done = observe(&world.clients, &call).await.expect("observed");
    assert!(done.satisfied, "{:?}", done.differences);
}

#[tokio::test]
async fn a_connection_string_is_not_taken_for_a_host() {
    let world = World::secret().await;
    let mut secret = world.fake.object(SECRET);
    secret["data"]["host"] = encoded("postgres://app:hunter2@old.example/phoenix");
    world.fake.put(SECRET, secret);
    let error = observe(&world.clients, &call("new.example:6432")).await.expect_err("refused");
    assert_eq!((error.class, error.effect), (FailureClass::Invalid, Effect::None));
    assert!(!error.to_string().contains("hunter2"), "{error}");
}

#[tokio::test]
async fn right_values_with_older_pods_are_not_done() {
    let Some((world, _server)) = World::with_database(World::told()).await else { return };
    let call = call("new.example:6432");
    let first = observe(&world.clients, &call).await.expect("observed");
    // Killed between the Secret and the restart.
    world.fake.state().faults.push_back(("PATCH /apis/apps", Fault::Status(403, "not you")));
    let error = perform(&world.clients, &world.armed, &call, &first).await.expect_err("denied");
    assert_eq!((error.class, error.effect), (FailureClass::Denied, Effect::Applied));
    let seen = observe(&world.clients, &call).await.expect("observed");
    assert!(!seen.satisfied, "nobody has read it yet");
    assert_eq!(seen.live["endpoint"], seen.desired["endpoint"]);
    perform(&world.clients, &world.armed, &call, &seen).await.expect("carried on");
    assert_eq!(world.pods_for("api"), "new.example:6432");
    // Restarted but not rolled out yet: an attempt that is to be carried on, not one that is done.
    world.fake.control(|_| {});
    let path = deployment_path("prod", "api");
    let mut api = world.fake.object(&path);
    api["status"]["availableReplicas"] = json!(1);
    world.fake.put(&path, api);
    let seen = observe(&world.clients, &call).await.expect("observed");
    assert!(seen.under_way && !seen.satisfied && seen.live == seen.desired);
}

#[tokio::test]
async fn a_lost_answer_is_looked_into_and_another_writer_is_a_conflict() {
    let Some((world, _server)) = World::with_database(World::told()).await else { return };
    let call = call("new.example:6432");
    let seen = observe(&world.clients, &call).await.expect("observed");
    world.fake.state().faults.push_back(("PATCH /api/v1", Fault::LostAfter));
    perform(&world.clients, &world.armed, &call, &seen).await.expect("it was written");
    let writes = world.fake.changes().iter().filter(|line| line.contains("/secrets/")).count();
    assert_eq!(writes, 1, "and is not written twice");

    let mut secret = world.fake.object(SECRET);
    secret["data"]["host"] = encoded("theirs.example");
    world.fake.put(SECRET, secret);
    let error = perform(&world.clients, &world.armed, &call, &seen).await.expect_err("theirs");
    assert_eq!((error.class, error.effect), (FailureClass::Conflict, Effect::None));
    let error = world.undo(&call, &seen.live, &seen.desired).await.expect_err("theirs");
    assert_eq!(error.class, FailureClass::Conflict);
    assert_eq!(world.fake.object(SECRET)["data"]["host"], encoded("theirs.example"));
}

#[tokio::test]
async fn a_dry_run_is_checked_by_the_server_and_changes_nothing() {
    let world = World::secret().await;
    let call = call("new.example:6432");
    let seen = observe(&world.clients, &call).await.expect("observed");
    assert_eq!(seen.fidelity, Fidelity::Validated);
    assert_eq!(world.fake.changes(), Vec::<String>::new());
    world.fake.state().denied.push("secrets");
    let error = observe(&world.clients, &call).await.expect_err("denied");
    assert_eq!(error.class, FailureClass::Denied);
    assert!(error.message.contains("patch secrets"), "{error}");
}

#[tokio::test]
async fn a_host_keeps_the_form_it_has() {
    let with_port = World::new(json!({ "config_map": key(false) })).await;
    let seen = observe(&with_port.clients, &call("new.example:6432")).await.expect("observed");
    assert_eq!(seen.desired["endpoint"], json!({ "host": "new.example:6432" }));
    let bare = World::new(json!({ "secret": key(false) })).await;
    let seen = observe(&bare.clients, &call("new.example:6432")).await.expect("observed");
    assert_eq!(seen.desired["endpoint"], json!({ "host": "new.example" }));
    assert!(seen.evidence.iter().any(|line| line.contains("holds no port")), "{:?}", seen.evidence);
}

#[tokio::test]
async fn an_object_that_is_not_there_is_told_with_how_to_see_what_is() {
    for (kind, resource) in [("secret", "secrets"), ("config_map", "configmaps")] {
        let mut named = key(false);
        named["name"] = json!("gone");
        let world = World::new(json!({ kind: named })).await;
        let error = observe(&world.clients, &call("new.example:6432")).await.expect_err("gone");
        assert_eq!(error.class, FailureClass::NotFound);
        let hint = error.hint.unwrap_or_default();
        let look = format!("kubectl --context us-west-2-context -n prod get {resource}; then");
        assert!(hint.contains(&look) && hint.contains("database.application"), "{hint}");
    }
}

#[tokio::test]
async fn an_estate_that_does_not_say_how_is_told_so() {
    for application in [json!({}), json!({ "secret": key(true), "config_map": key(true) })] {
        let world = World::new(application).await;
        let error = observe(&world.clients, &call("new.example:6432")).await.expect_err("unsaid");
        assert!(error.message.contains("exactly one of"), "{error}");
    }
    let world = World::secret().await;
    let error = observe(&world.clients, &call("new.example:port")).await.expect_err("no port");
    assert_eq!(error.class, FailureClass::Invalid);
}

#[tokio::test]
async fn what_is_told_is_done_once_the_application_was_seen_to_write_there() {
    let Some((world, server)) = World::with_database(World::told()).await else { return };
    let call = call(&server.address.to_string());
    let seen = observe(&world.clients, &call).await.expect("observed");
    // It would be sent where it does not get in: nothing is told.
    server.sql("postgres", "alter role app nologin").await;
    let error = perform(&world.clients, &world.armed, &call, &seen).await.expect_err("locked");
    assert_eq!((error.class, error.effect), (FailureClass::Invalid, Effect::None), "{error}");
    assert!(error.message.contains("app may not log in"), "{error}");
    assert!(error.hint.expect("a way").contains("alter role \"app\" login"));
    assert_eq!(world.fake.changes(), Vec::<String>::new());
    server.sql("postgres", "alter role app login").await;
    // Whatever else the application meets there is told once it was tried.
    let trap = "create table phoenix_dr_heartbeat (run text primary key, identity text not null, at timestamptz not null); \
         alter table phoenix_dr_heartbeat owner to dr; \
         create function trap() returns trigger language plpgsql as $$ begin \
             if current_user = 'app' then raise exception 'not app' using errcode = 'P7777'; end if; return new; end $$; \
         create trigger trap before insert on phoenix_dr_heartbeat for each row execute function trap()";
    server.sql("phoenix", trap).await;
    let error = perform(&world.clients, &world.armed, &call, &seen).await.expect_err("trapped");
    assert_eq!(error.effect, Effect::Applied, "{error}");
    assert!(error.message.contains("app cannot write to phoenix"), "{error}");
    let again = observe(&world.clients, &call).await.expect("observed");
    assert_eq!(again.live, again.desired);
    assert!(!again.satisfied && again.under_way, "it was told and not proved: {again:?}");
    server.sql("phoenix", "drop trigger trap on phoenix_dr_heartbeat").await;
    let changes = world.fake.changes();
    let done = perform(&world.clients, &world.armed, &call, &again).await.expect("proved");
    assert_eq!(world.fake.changes(), changes, "nothing is told or restarted twice");
    let said = |text: &str| done.notes.iter().any(|line| line.contains(text));
    let way = format!("is read at {}, which Secret prod/db names", server.address);
    assert!(said(&way) && said("app writes to phoenix and reads it"), "{:?}", done.notes);
    assert!(observe(&world.clients, &call).await.expect("observed").satisfied);
}

#[tokio::test]
async fn an_endpoint_that_leads_to_another_server_than_the_one_that_was_restored_is_no_success() {
    let Some((world, _restored)) = World::with_database(World::told()).await else { return };
    let Some(damaged) = Server::start() else { return };
    damaged.prepare().await;
    // The same password everywhere: what tells the two apart is what was written.
    let call = call(&damaged.address.to_string());
    let seen = observe(&world.clients, &call).await.expect("observed");
    let error = perform(&world.clients, &world.armed, &call, &seen).await.expect_err("elsewhere");
    assert_eq!((error.class, error.effect), (FailureClass::Conflict, Effect::Applied), "{error}");
    let said = "Secret prod/db leads the application elsewhere";
    assert!(error.message.contains(said), "{error}");
    let now = observe(&world.clients, &call).await.expect("observed");
    assert!(!now.satisfied, "{now:?}");
}

#[tokio::test]
async fn a_damaged_database_that_is_given_up_stays_open() {
    for (own, how) in [
        (false, "\n$ aws rds delete-db-instance --region us-east-1"),
        (true, "stop it, and remove"),
    ] {
        let Some((server, mut database)) = replica(World::told()).await else { return };
        if own {
            database["evidence"] = json!("/srv/evidence");
        }
        let estate = Arc::new(testing::estate(json!({ "database": database })));
        let clients = Clients::new(estate, Guard::closed(), Arc::new(Quick::default()));
        let world = World::of(clients).await;
        world.arm();
        let mut call = call(&server.address.to_string());
        call.with.insert("damaged".to_owned(), json!("phoenix-prod"));
        let seen = observe(&world.clients, &call).await.expect("observed");
        let done = perform(&world.clients, &world.armed, &call, &seen).await.expect("performed");
        // Nobody answers there: that is said, and bars nothing.
        let unasked = "! whether phoenix-prod is fenced cannot be asked";
        assert!(done.notes.iter().any(|line| line.starts_with(unasked)), "{:?}", done.notes);
        let [open] = done.obligations.as_slice() else { panic!("{:?}", done.obligations) };
        assert_eq!(open.id, "damaged-phoenix-prod");
        assert!(open.how.contains(how), "{open:?}");
        assert_eq!(open.closed_by.is_none(), own, "{open:?}");
        let now = observe(&world.clients, &call).await.expect("observed");
        assert_eq!(now.obligations, done.obligations);
    }
}
