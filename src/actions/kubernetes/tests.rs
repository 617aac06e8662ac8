//! Scaling, restarting and applying against a server that behaves, and one that does not.

use serde_json::{Value, json};

use super::fake::{Fake, Fault, deployment_path, settle};
use super::*;
use crate::actions::{observe, perform, revert};
use crate::clients::testing;
use crate::engine::ports::{Armed, Call, Image, Observation, Performed};
use crate::outcome::{Effect, Fidelity};
use crate::runbook::catalogue::actions::ActionName;

pub(super) struct World {
    pub clients: Clients,
    pub armed: Armed,
    pub fake: Fake,
}

/// Returns an armed world with an api of 1 and a gateway of 2 replicas that settle by themselves.
pub(super) async fn world() -> World {
    let world = closed().await;
    world.clients.guard.open(&world.armed);
    world
}

async fn closed() -> World {
    let (clients, fake) = (testing::hasty(json!({})), Fake::default());
    fake.serve(&clients).await;
    fake.deployment("prod", "api", 1);
    fake.deployment("prod", "gateway", 2);
    fake.control(settle);
    World { clients, armed: Armed::mint(), fake }
}

impl World {
    pub(super) async fn look(&self, call: &Call) -> Observation {
        observe(&self.clients, call).await.expect("observed")
    }

    pub(super) async fn act(
        &self,
        call: &Call,
        seen: &Observation,
    ) -> Result<Performed, ActionError> {
        perform(&self.clients, &self.armed, call, seen).await
    }

    async fn undo(&self, call: &Call, before: &Value, ours: &Value) -> Result<(), ActionError> {
        let now = self.look(call).await;
        let image = Image { before: before.clone(), ours: ours.clone(), now };
        revert(&self.clients, &self.armed, call, &image).await
    }

    fn replicas(&self, name: &str) -> i64 {
        self.fake.object(&deployment_path("prod", name))["spec"]["replicas"]
            .as_i64()
            .expect("replicas")
    }

    fn set_replicas(&self, name: &str, count: i32) {
        let path = deployment_path("prod", name);
        let mut object = self.fake.object(&path);
        object["spec"]["replicas"] = json!(count);
        self.fake.put(&path, object);
    }
}

pub(super) fn scale(counts: &[(&str, i32)]) -> Call {
    let workloads: Vec<Value> = counts
        .iter()
        .map(|(name, count)| json!({ "workload": format!("prod/{name}"), "replicas": count }))
        .collect();
    let with = json!({ "region": "us-west-2", "workloads": workloads });
    testing::call(ActionName::KubernetesScale, with).0
}

#[tokio::test]
async fn scales_what_has_less_and_keeps_what_has_more() {
    let world = world().await;
    let call = scale(&[("api", 5), ("gateway", 1)]);
    let seen = world.look(&call).await;
    assert!(!seen.satisfied);
    assert_eq!(
        seen.live,
        json!({ "prod/api": { "replicas": 1 }, "prod/gateway": { "replicas": 2 } })
    );
    assert_eq!(
        seen.desired,
        json!({ "prod/api": { "replicas": 5 }, "prod/gateway": { "replicas": 2 } })
    );
    assert_eq!(seen.differences.len(), 1);
    assert_eq!(
        seen.commands,
        [
            "kubectl --context us-west-2-context -n prod scale deployment/api --replicas=5",
            "kubectl --context us-west-2-context -n prod rollout status deployment/api --timeout=9m30s",
        ]
    );
    let done = world.act(&call, &seen).await.expect("performed");
    assert_eq!(done.after, seen.desired);
    assert_eq!(done.notes, ["prod/api replicas: 1 -> 5"]);
    let changes = world.fake.changes();
    assert_eq!(changes.len(), 1, "{changes:?}");
    assert!(
        changes[0].contains("/deployments/api/scale?") && changes[0].contains("resourceVersion")
    );
    assert!(world.look(&call).await.satisfied);
    world.undo(&call, &seen.live, &done.after).await.expect("reverted");
    assert_eq!((world.replicas("api"), world.replicas("gateway")), (1, 2));
    assert_eq!(world.look(&call).await.live, seen.live);
}

#[tokio::test]
async fn raises_the_autoscaler_that_owns_a_workload() {
    let world = world().await;
    world.fake.autoscaler("prod", "api-hpa", "api", (1, 3));
    let call = scale(&[("api", 5)]);
    let seen = world.look(&call).await;
    assert_eq!(seen.live, json!({ "prod/api": { "hpa": "api-hpa", "min": 1, "max": 3 } }));
    assert_eq!(seen.desired, json!({ "prod/api": { "hpa": "api-hpa", "min": 5, "max": 5 } }));
    let done = world.act(&call, &seen).await.expect("performed");
    assert_eq!(world.replicas("api"), 5, "by the autoscaler");
    assert!(world.fake.changes().iter().all(|line| line.contains("horizontalpodautoscalers")));
    // What the autoscaler does with the replicas is not part of the state.
    world.set_replicas("api", 9);
    assert_eq!(world.look(&call).await.live, done.after);
    world.undo(&call, &seen.live, &done.after).await.expect("reverted");
    assert_eq!(world.look(&call).await.live, seen.live);
}

#[tokio::test]
async fn an_autoscaled_workload_at_zero_is_started_and_stopped_again() {
    let world = world().await;
    world.set_replicas("api", 0);
    world.fake.autoscaler("prod", "api-hpa", "api", (2, 10));
    let call = scale(&[("api", 2)]);
    let seen = world.look(&call).await;
    assert_eq!(seen.live["prod/api"]["replicas"], json!(0));
    let done = world.act(&call, &seen).await.expect("performed");
    assert_eq!(world.replicas("api"), 2);
    world.undo(&call, &seen.live, &done.after).await.expect("reverted");
    assert_eq!(world.replicas("api"), 0);
}

#[tokio::test]
async fn what_is_scaled_but_not_ready_is_waited_for_only() {
    let world = world().await;
    world.set_replicas("api", 5);
    world.fake.control(|_| {});
    let call = scale(&[("api", 5)]);
    let seen = world.look(&call).await;
    assert!(!seen.satisfied, "its controller has not seen it yet");
    assert_eq!(seen.live, seen.desired);
    assert_eq!(seen.differences[0].what, "prod/api ready");
    world.fake.control(settle);
    world.act(&call, &seen).await.expect("performed");
    assert_eq!(world.fake.changes(), Vec::<String>::new());
}

#[tokio::test]
async fn a_dry_run_is_checked_by_the_server_and_changes_nothing() {
    let world = closed().await;
    world.fake.autoscaler("prod", "api-hpa", "api", (1, 3));
    let call = scale(&[("api", 5), ("gateway", 4)]);
    let seen = world.look(&call).await;
    assert_eq!(seen.fidelity, Fidelity::Validated);
    let tried = world.fake.state().log.iter().filter(|line| line.contains("dryRun=All")).count();
    assert_eq!((tried, world.fake.changes()), (2, Vec::new()));
    assert_eq!((world.replicas("api"), world.replicas("gateway")), (1, 2));
    let refused = world.act(&call, &seen).await.expect_err("the guard is closed");
    assert_eq!((refused.class, refused.effect), (FailureClass::Refused, Effect::None));

    world.fake.state().denied.push("deployments/scale");
    let denied = observe(&world.clients, &call).await.expect_err("not permitted");
    assert_eq!(denied.class, FailureClass::Denied);
    assert!(denied.message.contains("may not patch deployments/scale of apps in namespace prod"));
}

#[tokio::test]
async fn every_missing_workload_is_named_at_once() {
    let world = world().await;
    let error = observe(&world.clients, &scale(&[("nope", 1), ("api", 1), ("gone", 1)])).await;
    let error = error.expect_err("two are missing");
    assert_eq!((error.class, error.effect), (FailureClass::NotFound, Effect::None));
    assert!(error.message.contains("prod/nope") && error.message.contains("prod/gone"), "{error}");
    let look = "kubectl --context us-west-2-context -n prod get deployments; then correct";
    assert!(error.hint.as_ref().is_some_and(|hint| hint.matches(look).count() == 1), "{error:?}");
    let (call, _) = testing::call(
        ActionName::KubernetesScale,
        json!({ "region": "us-west-2", "workloads": [{ "workload": "api", "replicas": 1 }] }),
    );
    assert_eq!(
        observe(&world.clients, &call).await.expect_err("no namespace").class,
        FailureClass::Invalid
    );
    let (call, _) = testing::call(
        ActionName::KubernetesScale,
        json!({ "region": "us-west-2", "workloads": [{ "workload": "a/b" }] }),
    );
    let error = observe(&world.clients, &call).await.expect_err("no replicas");
    assert!(error.message.contains("workloads[0]"), "{error}");
}

#[tokio::test]
async fn another_writer_in_between_is_a_conflict_but_a_new_status_is_not() {
    let world = world().await;
    let call = scale(&[("api", 5)]);
    let seen = world.look(&call).await;
    world.set_replicas("api", 3);
    let error = world.act(&call, &seen).await.expect_err("changed by another");
    assert_eq!((error.class, error.effect), (FailureClass::Conflict, Effect::None));
    assert_eq!(world.replicas("api"), 3);

    world.set_replicas("api", 1);
    world
        .fake
        .state()
        .faults
        .push_back(("PATCH", Fault::Status(409, "the object has been modified")));
    world.act(&call, &seen).await.expect("its version moved, its replicas did not");
    assert_eq!(world.replicas("api"), 5);
}

#[tokio::test]
async fn one_that_cannot_be_set_puts_the_others_back() {
    let world = world().await;
    let call = scale(&[("api", 5), ("gateway", 4)]);
    let seen = world.look(&call).await;
    let denied = Fault::Status(403, "User \"dr\" cannot patch resource \"deployments/scale\"");
    world.fake.state().faults.push_back(("gateway/scale", denied));
    let error = world.act(&call, &seen).await.expect_err("denied");
    assert_eq!((error.class, error.effect), (FailureClass::Denied, Effect::None));
    assert!(error.message.contains("deployments/scale"), "{error}");
    assert_eq!((world.replicas("api"), world.replicas("gateway")), (1, 2));
}

/// An autoscaled workload at zero, whose replicas nobody may set.
async fn half_allowed() -> (World, Call, Observation) {
    let world = world().await;
    world.set_replicas("api", 0);
    world.fake.autoscaler("prod", "api-hpa", "api", (1, 3));
    let call = scale(&[("api", 5)]);
    let seen = world.look(&call).await;
    let denied = Fault::Status(403, "User \"dr\" cannot patch resource \"deployments/scale\"");
    world.fake.state().faults.push_back(("api/scale", denied));
    (world, call, seen)
}

#[tokio::test]
async fn a_raised_autoscaler_is_put_back_when_the_replicas_are_refused() {
    let (world, call, seen) = half_allowed().await;
    let error = world.act(&call, &seen).await.expect_err("denied");
    assert_eq!((error.class, error.effect), (FailureClass::Denied, Effect::None), "{error}");
    assert_eq!(world.look(&call).await.live, seen.live);
    // Where that is refused as well, rollback must know that something is left.
    let (world, call, seen) = half_allowed().await;
    let mut scaled = false;
    world.fake.control(move |state| {
        let tried = state.log.last().is_some_and(|line| line.contains("api/scale"));
        if tried && !std::mem::replace(&mut scaled, true) {
            state.faults.push_back(("PATCH", Fault::Status(403, "not any more")));
        }
    });
    let error = world.act(&call, &seen).await.expect_err("denied");
    assert_eq!((error.class, error.effect), (FailureClass::Denied, Effect::Applied), "{error}");
    assert_eq!(world.look(&call).await.live["prod/api"]["min"], 5);
}

#[tokio::test]
async fn lost_answers_are_looked_into() {
    for fault in [Fault::LostAfter, Fault::LostBefore, Fault::Status(503, "busy")] {
        let world = world().await;
        let call = scale(&[("api", 5)]);
        let seen = world.look(&call).await;
        world.fake.state().faults.push_back(("PATCH", fault.clone()));
        world.act(&call, &seen).await.expect("settled by a look");
        assert_eq!(world.replicas("api"), 5, "{fault:?}");
    }
    let world = world().await;
    let call = scale(&[("api", 5)]);
    let seen = world.look(&call).await;
    {
        let mut state = world.fake.state();
        state.faults.push_back(("PATCH", Fault::LostAfter));
    }
    // The look after it fails as well: nobody can tell.
    let lost_looks = {
        let mut patched = false;
        move |state: &mut fake::State| {
            patched |= state.log.last().is_some_and(|line| line.starts_with("PATCH"));
            if patched {
                state.faults.push_back(("GET", Fault::Status(503, "busy")));
            }
        }
    };
    world.fake.control(lost_looks);
    let error = world.act(&call, &seen).await.expect_err("nobody can tell");
    assert_eq!((error.class, error.effect), (FailureClass::Transient, Effect::Unknown));
}

#[tokio::test]
async fn a_controller_that_puts_replicas_back_is_named() {
    let world = world().await;
    let call = scale(&[("api", 5)]);
    let seen = world.look(&call).await;
    world.fake.control(|state| {
        let path = deployment_path("prod", "api");
        if state.objects[&path]["spec"]["replicas"] == json!(5) {
            let mut object = state.objects[&path].clone();
            object["spec"]["replicas"] = json!(1);
            object["metadata"]["managedFields"] = json!([
                { "manager": "phoenix-dr", "operation": "Update", "time": "2026-01-01T00:00:09Z",
                  "fieldsV1": { "f:spec": { "f:replicas": {} } } },
                { "manager": "argocd-controller", "operation": "Apply", "time": "2026-01-01T00:00:05Z",
                  "fieldsV1": { "f:spec": { "f:replicas": {} } } },
                { "manager": "kubectl", "operation": "Update", "time": "2026-01-01T00:00:07Z",
                  "fieldsV1": { "f:spec": { "f:template": {} } } },
            ]);
            state.put(&path, object);
        }
    });
    let error = world.act(&call, &seen).await.expect_err("put back");
    assert_eq!((error.class, error.effect), (FailureClass::Conflict, Effect::Applied));
    assert_eq!(error.message, "argocd-controller put replicas of prod/api back from 5 to 1");
    assert!(error.hint.expect("a hint").contains("argocd-controller"));
}

#[tokio::test]
async fn without_capacity_the_pods_reasons_are_told() {
    let world = world().await;
    let call = scale(&[("api", 5)]);
    let seen = world.look(&call).await;
    world.fake.control(|_| {});
    for pod in ["api-5d-1", "api-5d-2"] {
        let conditions = json!([{
            "type": "PodScheduled", "status": "False", "reason": "Unschedulable",
            "message": "0/3 nodes are available: 3 Insufficient cpu.",
        }]);
        world.fake.put(
            &format!("/api/v1/namespaces/prod/pods/{pod}"),
            json!({ "metadata": { "name": pod }, "status": { "phase": "Pending", "conditions": conditions } }),
        );
    }
    world.fake.put(
        "/api/v1/namespaces/prod/events/e1",
        json!({
            "metadata": { "name": "e1" }, "type": "Warning", "reason": "FailedCreate",
            "involvedObject": { "name": "api-5d" }, "message": "exceeded quota: compute",
            "lastTimestamp": "2026-01-01T00:00:00Z",
        }),
    );
    let (mut call, mut told) = {
        let Call { with, .. } = call;
        testing::call(ActionName::KubernetesScale, Value::Object(with))
    };
    let deadline = world.clients.clock.now() + std::time::Duration::from_secs(60);
    call.progress = call.progress.until(deadline);
    let error = world.act(&call, &seen).await.expect_err("no capacity");
    assert_eq!((error.class, error.effect), (FailureClass::Capacity, Effect::Applied));
    assert!(world.clients.clock.now() < deadline, "it ends before the attempt does, to say why");
    for line in [
        "1 of 5 ready in time; waiting for prod/api",
        "prod/api: 2 pods Unschedulable: 0/3 nodes are available: 3 Insufficient cpu.",
        "prod/api: event FailedCreate: exceeded quota: compute",
    ] {
        assert!(error.message.contains(line), "{}", error.message);
    }
    assert!(error.hint.expect("a hint").contains("add nodes"));
    let mut notes = Vec::new();
    while let Ok(note) = told.try_recv() {
        notes.push(note.said);
    }
    assert!(notes.contains(&"1 of 5 ready; 2 Unschedulable".to_owned()), "{notes:?}");
}

#[tokio::test]
async fn revert_leaves_another_writers_value_alone() {
    let world = world().await;
    let call = scale(&[("api", 5), ("gateway", 4)]);
    let seen = world.look(&call).await;
    let done = world.act(&call, &seen).await.expect("performed");
    world.set_replicas("api", 7);
    let error = world.undo(&call, &seen.live, &done.after).await.expect_err("another's");
    assert_eq!((error.class, error.effect), (FailureClass::Conflict, Effect::None));
    assert_eq!((world.replicas("api"), world.replicas("gateway")), (7, 2), "the other is restored");
    world.set_replicas("api", 1);
    let before = world.fake.changes().len();
    world.undo(&call, &seen.live, &done.after).await.expect("as before already");
    assert_eq!(world.fake.changes().len(), before, "nothing is sent for what is as before");
}

#[tokio::test]
async fn a_restart_happens_once_per_token() {
    let world = world().await;
    let with = json!({ "region": "us-west-2", "workloads": ["prod/api", "prod/gateway"] });
    let (call, _told) = testing::call(ActionName::KubernetesRestart, with);
    let seen = world.look(&call).await;
    assert_eq!(seen.live, json!({ "prod/api": null, "prod/gateway": null }));
    world.fake.state().faults.push_back(("PATCH", Fault::LostAfter));
    let done = world.act(&call, &seen).await.expect("performed");
    let template = |world: &World| {
        world.fake.object(&deployment_path("prod", "api"))["spec"]["template"]["metadata"]["annotations"].clone()
    };
    assert_eq!(template(&world)["phoenix-dr/restarted-for"], json!("01RUN/step/0"));
    assert!(template(&world)["kubectl.kubernetes.io/restartedAt"].is_string());
    assert_eq!(world.fake.changes().len(), 2, "one patch each, the lost answer was looked into");
    world.act(&call, &seen).await.expect("performed again");
    assert_eq!(world.fake.changes().len(), 2, "nothing restarts twice");
    assert!(world.look(&call).await.satisfied);
    world.undo(&call, &seen.live, &done.after).await.expect("reverted");
    assert_eq!(template(&world)["phoenix-dr/restarted-for"], Value::Null);
}

#[tokio::test]
async fn apply_creates_changes_and_restores() {
    let world = world().await;
    let core = json!({ "kind": "APIResourceList", "groupVersion": "v1", "resources": [
        { "name": "configmaps", "kind": "ConfigMap", "namespaced": true, "singularName": "", "verbs": ["patch"] },
        { "name": "secrets", "kind": "Secret", "namespaced": true, "singularName": "", "verbs": ["patch"] },
    ] });
    world.fake.state().objects.insert("/api/v1".to_owned(), core);
    let old = "/api/v1/namespaces/prod/configmaps/old";
    let new = "/api/v1/namespaces/prod/configmaps/new";
    world.fake.put(
        old,
        json!({ "apiVersion": "v1", "kind": "ConfigMap",
        "metadata": { "name": "old", "namespace": "prod" }, "data": { "a": "1", "theirs": "x" } }),
    );
    let directory = tempfile::tempdir().expect("directory");
    let file = directory.path().join("manifests.yaml");
    let text = "apiVersion: v1\nkind: ConfigMap\nmetadata: { name: old, namespace: prod }\ndata: { a: '2' }\n---\napiVersion: v1\nkind: ConfigMap\nmetadata: { name: new, namespace: prod }\ndata: { b: '3' }\n";
    std::fs::write(&file, text).expect("written");
    let (call, _told) =
        testing::call(ActionName::KubernetesApply, json!({ "region": "us-west-2", "file": file }));
    let seen = world.look(&call).await;
    assert_eq!(seen.live["v1 ConfigMap prod/new"], Value::Null);
    assert_eq!(
        seen.live["v1 ConfigMap prod/old"]["data"],
        json!({ "a": "1" }),
        "only what the manifest names"
    );
    let done = world.act(&call, &seen).await.expect("performed");
    assert_eq!(done.after, seen.desired);
    assert!(world.look(&call).await.satisfied);
    world.undo(&call, &seen.live, &done.after).await.expect("reverted");
    assert_eq!(world.fake.object(new), Value::Null, "created, so deleted");
    assert_eq!(world.fake.object(old)["data"], json!({ "a": "1", "theirs": "x" }));

    let seen = world.look(&call).await;
    let conflict = Fault::Status(409, "conflict with \"helm\": .data.a");
    world.fake.state().faults.push_back(("PATCH", conflict));
    let error = world.act(&call, &seen).await.expect_err("owned by helm");
    assert_eq!((error.class, error.effect), (FailureClass::Conflict, Effect::None));
    let wrong = json!({ "region": "us-west-2", "file": file, "sha256": "00" });
    let (call, _told) = testing::call(ActionName::KubernetesApply, wrong);
    let error = observe(&world.clients, &call).await.expect_err("another file");
    assert_eq!(error.class, FailureClass::Invalid);
}

#[tokio::test]
async fn apply_keeps_secrets_out_of_its_state() {
    let world = world().await;
    let core = json!({ "kind": "APIResourceList", "groupVersion": "v1", "resources": [
        { "name": "secrets", "kind": "Secret", "namespaced": true, "singularName": "", "verbs": ["patch"] },
    ] });
    world.fake.state().objects.insert("/api/v1".to_owned(), core);
    world.fake.put("/api/v1/namespaces/prod/secrets/s", json!({ "apiVersion": "v1", "kind": "Secret",
        "metadata": { "name": "s", "namespace": "prod" }, "data": { "password": "b2xkLXNlY3JldA==" } }));
    let directory = tempfile::tempdir().expect("directory");
    let file = directory.path().join("secret.yaml");
    let text = "apiVersion: v1\nkind: Secret\nmetadata: { name: s, namespace: prod }\nstringData: { password: new-secret }\n";
    std::fs::write(&file, text).expect("written");
    let (call, _told) =
        testing::call(ActionName::KubernetesApply, json!({ "region": "us-west-2", "file": file }));
    let seen = world.look(&call).await;
    let text = serde_json::to_string(&seen).expect("json");
    for secret in ["b2xkLXNlY3JldA", "old-secret", "new-secret", "bmV3LXNlY3JldA"] {
        assert!(!text.contains(secret), "{text}");
    }
    assert!(seen.irreversible.is_some() && !seen.satisfied);
}
