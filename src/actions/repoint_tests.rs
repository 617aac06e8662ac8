//! Repointing by Secret, ConfigMap and CNAME: what is written, what is left alone, and what a restart proves.

use std::sync::{Arc, Mutex};

use super::*;
use crate::actions::kubernetes::fake::{Fake, Fault, deployment_path, settle};
use crate::actions::{observe, perform, revert};
use crate::clients::aws::testing::{Reply, Script, guarded};
use crate::clients::testing;
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

    async fn secret() -> Self {
        let restart = ["prod/api", "prod/worker"];
        Self::new(json!({ "secret": key(true), "restart": restart })).await
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
    let world = World::secret().await;
    world.arm();
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
    let world = World::secret().await;
    world.arm();
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
    let world = World::secret().await;
    world.arm();
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
    let world = World::secret().await;
    world.arm();
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
    let world = World::secret().await;
    world.arm();
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
    let error = perform(&world.clients, &world.armed, &call, &seen).await.expect_err("refused");
    assert_eq!((error.class, error.effect), (FailureClass::Refused, Effect::None));
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

/// A private zone whose only record may have a target.
fn zone(target: Option<&'static str>) -> (Script, Arc<Mutex<Option<String>>>) {
    const SPACE: &str = "xmlns=\"https://route53.amazonaws.com/doc/2013-04-01/\"";
    let shared = Arc::new(Mutex::new(target.map(str::to_owned)));
    let inside = Arc::clone(&shared);
    let script = Script::new(move |sent, _| {
        let mut target = inside.lock().expect("not poisoned");
        let set = target.as_ref().map(|target| format!(
            "<ResourceRecordSet><Name>db.internal.</Name><Type>CNAME</Type><TTL>5</TTL><ResourceRecords>\
             <ResourceRecord><Value>{target}</Value></ResourceRecord></ResourceRecords></ResourceRecordSet>"
        ));
        let info = |kind: &str| {
            format!(
                "<{kind}Response {SPACE}><ChangeInfo><Id>/change/C1</Id><Status>INSYNC</Status>\
             <SubmittedAt>2026-11-22T02:18:00Z</SubmittedAt></ChangeInfo></{kind}Response>"
            )
        };
        Reply::Answer(
            200,
            if sent.action.starts_with("GET /2013-04-01/hostedzone/Z9/rrset") {
                format!(
                    "<ListResourceRecordSetsResponse {SPACE}><ResourceRecordSets>{}</ResourceRecordSets>\
                 <IsTruncated>false</IsTruncated><MaxItems>1</MaxItems></ListResourceRecordSetsResponse>",
                    set.unwrap_or_default()
                )
            } else if sent.action.starts_with("GET /2013-04-01/change/C1") {
                info("GetChange")
            } else {
                let value =
                    sent.body.split("<Value>").nth(1).and_then(|rest| rest.split('<').next());
                *target = value.filter(|_| sent.body.contains("UPSERT")).map(str::to_owned);
                info("ChangeResourceRecordSets")
            },
        )
    });
    (script, shared)
}

#[tokio::test]
async fn a_cname_is_moved_and_given_back() {
    for before in [Some("old.example."), None] {
        let (script, target) = zone(before);
        let record = json!({ "zone": "Z9", "name": "db.internal", "ttl": 5 });
        let estate = testing::estate(json!({
            "database": database(json!({ "cname": record, "restart": ["prod/api"] })),
        }));
        let world = World::of(guarded(Arc::new(estate), &script)).await;
        world.arm();
        let call = call("new.example:5432");
        let seen = observe(&world.clients, &call).await.expect("observed");
        let done = perform(&world.clients, &world.armed, &call, &seen).await.expect("performed");
        assert_eq!(target.lock().expect("not poisoned").as_deref(), Some("new.example"));
        assert_eq!(world.pods_for("api"), "new.example:5432");
        assert!(observe(&world.clients, &call).await.expect("observed").satisfied);
        world.undo(&call, &seen.live, &done.after).await.expect("reverted");
        let plain = |name: &str| name.trim_end_matches('.').to_owned();
        assert_eq!(target.lock().expect("not poisoned").clone(), before.map(plain));
    }
}
