//! The same actions against the real API server of the test servers, in a namespace of our own. A task stands for the
//! kubelets and the autoscaler.

use std::sync::Arc;

use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::autoscaling::v1::HorizontalPodAutoscaler;
use k8s_openapi::api::core::v1::{ConfigMap, Namespace, Pod, Secret};
use kube::Client;
use kube::api::{Api, DeleteParams, ListParams, Patch, PatchParams, PostParams};
use serde_json::{Value, json};

use super::*;
use crate::actions::{observe, perform, revert};
use crate::clients::kubernetes::cluster;
use crate::clients::served::Served;
use crate::clients::testing;
use crate::clock::{Clock, RealClock};
use crate::engine::ports::{Armed, Call, Image, Observation, Performed};
use crate::outcome::{Effect, Fidelity};
use crate::runbook::catalogue::actions::ActionName;

struct Real {
    clients: Clients,
    armed: Armed,
    client: Client,
    namespace: String,
    /// The run's artifacts, and the password of what is kept there
    folder: tempfile::TempDir,
    _served: Served,
}

impl Real {
    async fn prepare() -> Option<Self> {
        let served = Served::start(&[])?;
        let known =
            json!({ "context": "eks-us-west-2", "kubeconfig": served.variable("KUBECONFIG") });
        let folder = tempfile::tempdir().expect("a folder");
        let password = folder.path().join("password");
        std::fs::write(&password, "correct horse battery staple").expect("written");
        let clients = testing::clients(json!({
            "clusters": { "us-west-2": known },
            "before_images": { "password_from": { "file": password } },
        }));
        let clients = clients.with_artifacts(folder.path().to_owned());
        let client = cluster(&clients, "us-west-2").await.expect("connects").client.clone();
        let namespace = format!("phoenix-dr-{}", ulid::Ulid::generate().to_string().to_lowercase());
        let real =
            Self { clients, armed: Armed::mint(), client, namespace, folder, _served: served };
        real.clients.guard.open(&real.armed);
        real.make().await;
        Some(real)
    }

    async fn make(&self) {
        let namespace: Namespace = object(json!({ "metadata": { "name": self.namespace } }));
        let all: Api<Namespace> = Api::all(self.client.clone());
        all.create(&PostParams::default(), &namespace).await.expect("namespace");
        for (name, replicas) in [("api", 1), ("gateway", 1)] {
            let labels = json!({ "app": name });
            let deployment: Deployment = object(json!({
                "metadata": { "name": name },
                "spec": {
                    "replicas": replicas,
                    "selector": { "matchLabels": labels },
                    "template": {
                        "metadata": { "labels": labels },
                        "spec": { "containers": [{ "name": "app", "image": "registry.k8s.io/pause:3.9" }] },
                    },
                },
            }));
            self.deployments().create(&PostParams::default(), &deployment).await.expect(name);
        }
        let autoscaler: HorizontalPodAutoscaler = object(json!({
            "metadata": { "name": "gateway-hpa" },
            "spec": {
                "minReplicas": 1, "maxReplicas": 3,
                "scaleTargetRef": { "apiVersion": "apps/v1", "kind": "Deployment", "name": "gateway" },
            },
        }));
        self.autoscalers().create(&PostParams::default(), &autoscaler).await.expect("autoscaler");
    }

    /// Returns clients of an estate that does not say how secrets are kept.
    fn without_kept_images(&self) -> Clients {
        let mut estate = (*self.clients.estate).clone();
        estate.before_images = None;
        let (guard, clock) = (self.clients.guard.clone(), Arc::clone(&self.clients.clock));
        Clients::new(Arc::new(estate), guard, clock)
    }

    fn deployments(&self) -> Api<Deployment> {
        Api::namespaced(self.client.clone(), &self.namespace)
    }

    fn autoscalers(&self) -> Api<HorizontalPodAutoscaler> {
        Api::namespaced(self.client.clone(), &self.namespace)
    }

    /// Does what kubelets and the autoscaler do, over and over.
    async fn stand_in(client: Client, namespace: String) {
        let pods: Api<Pod> = Api::namespaced(client.clone(), &namespace);
        let deployments: Api<Deployment> = Api::namespaced(client.clone(), &namespace);
        let autoscalers: Api<HorizontalPodAutoscaler> = Api::namespaced(client, &namespace);
        let ready = Patch::Merge(json!({ "status": {
            "phase": "Running", "conditions": [{ "type": "Ready", "status": "True" }],
        } }));
        let at_once = DeleteParams { grace_period_seconds: Some(0), ..DeleteParams::default() };
        loop {
            for pod in
                pods.list(&ListParams::default()).await.map(|list| list.items).unwrap_or_default()
            {
                let name = pod.metadata.name.unwrap_or_default();
                if pod.metadata.deletion_timestamp.is_some() {
                    drop(pods.delete(&name, &at_once).await);
                } else if pod.status.and_then(|status| status.phase).as_deref() == Some("Pending") {
                    drop(pods.patch_status(&name, &PatchParams::default(), &ready).await);
                }
            }
            let least = autoscalers
                .get("gateway-hpa")
                .await
                .ok()
                .and_then(|found| found.spec?.min_replicas);
            let asked =
                deployments.get("gateway").await.ok().and_then(|found| found.spec?.replicas);
            if let (Some(least), Some(asked)) = (least, asked)
                && asked < least
            {
                let scale = Patch::Merge(json!({ "spec": { "replicas": least } }));
                drop(deployments.patch_scale("gateway", &PatchParams::default(), &scale).await);
            }
            RealClock.sleep(std::time::Duration::from_millis(150)).await;
        }
    }

    fn call(&self, action: ActionName, mut with: Value) -> Call {
        with["region"] = json!("us-west-2");
        testing::call(action, with).0
    }

    async fn look(&self, call: &Call) -> Observation {
        observe(&self.clients, call).await.unwrap_or_else(|error| panic!("{error:?}"))
    }

    async fn act(&self, call: &Call, seen: &Observation) -> Performed {
        let done = perform(&self.clients, &self.armed, call, seen).await;
        done.unwrap_or_else(|error| panic!("{error:?}"))
    }

    /// Performs, finds it done, reverts, and finds what was before.
    async fn there_and_back(&self, call: &Call) {
        let seen = self.look(call).await;
        assert!(!seen.satisfied, "{seen:?}");
        let done = self.act(call, &seen).await;
        let after = self.look(call).await;
        assert!(after.satisfied && after.live == done.after, "{after:?}");
        let image = Image { before: seen.live.clone(), ours: done.after, now: after };
        revert(&self.clients, &self.armed, call, &image)
            .await
            .unwrap_or_else(|error| panic!("{error:?}"));
        assert_eq!(self.look(call).await.live, seen.live);
    }
}

fn object<T: serde::de::DeserializeOwned>(value: Value) -> T {
    serde_json::from_value(value).expect("an object")
}

#[tokio::test]
async fn a_real_server_agrees() {
    let Some(real) = Real::prepare().await else { return };
    let helper = tokio::spawn(Real::stand_in(real.client.clone(), real.namespace.clone()));
    let real = Arc::new(real);
    let workload = |name: &str| format!("{}/{name}", real.namespace);
    let scale = real.call(
        ActionName::KubernetesScale,
        json!({ "workloads": [
            { "workload": workload("api"), "replicas": 3 },
            { "workload": workload("gateway"), "replicas": 5 },
        ] }),
    );
    dry_run(&real, &scale).await;
    real.there_and_back(&scale).await;
    let restart = real.call(
        ActionName::KubernetesRestart,
        json!({ "workloads": [workload("api"), workload("gateway")] }),
    );
    real.there_and_back(&restart).await;
    apply(&real).await;
    apply_secret(&real).await;
    put_back(&real).await;
    helper.abort();
    let all: Api<Namespace> = Api::all(real.client.clone());
    drop(all.delete(&real.namespace, &DeleteParams::default()).await);
}

/// With a closed guard the server checks the change and nothing changes.
async fn dry_run(real: &Real, scale: &Call) {
    let estate = Arc::clone(&real.clients.estate);
    let clock = Arc::clone(&real.clients.clock);
    let closed = Clients::new(estate, crate::clients::guard::Guard::closed(), clock);
    let seen = observe(&closed, scale).await.unwrap_or_else(|error| panic!("{error:?}"));
    assert_eq!(seen.fidelity, Fidelity::Validated);
    assert_eq!(real.look(scale).await.live, seen.live);
    let refused = perform(&closed, &real.armed, scale, &seen).await.expect_err("refused");
    assert_eq!((refused.class, refused.effect), (FailureClass::Refused, Effect::None));
}

async fn apply(real: &Real) {
    let maps: Api<ConfigMap> = Api::namespaced(real.client.clone(), &real.namespace);
    let old: ConfigMap =
        object(json!({ "metadata": { "name": "old" }, "data": { "theirs": "x" } }));
    maps.create(&PostParams::default(), &old).await.expect("made");
    let directory = tempfile::tempdir().expect("directory");
    let file = directory.path().join("manifests.yaml");
    let manifest = |name: &str, key: &str| {
        format!(
            "apiVersion: v1\nkind: ConfigMap\nmetadata: {{ name: {name}, namespace: {} }}\ndata: {{ {key}: y }}\n",
            real.namespace
        )
    };
    std::fs::write(&file, format!("{}---\n{}", manifest("old", "ours"), manifest("new", "ours")))
        .expect("written");
    let call = real.call(ActionName::KubernetesApply, json!({ "file": file }));
    real.there_and_back(&call).await;
    assert!(maps.get_opt("new").await.expect("asked").is_none(), "created, so deleted");
    let old = maps.get("old").await.expect("still there");
    assert_eq!(
        old.data.unwrap_or_default().into_iter().collect::<Vec<_>>(),
        [("theirs".to_owned(), "x".to_owned())]
    );
    // A field another manager owns by server-side apply is a conflict, said by the server's dry run already.
    let owned = json!({ "apiVersion": "v1", "kind": "ConfigMap", "metadata": { "name": "old" }, "data": { "ours": "z" } });
    maps.patch("old", &PatchParams::apply("helm"), &Patch::Apply(&owned)).await.expect("applied");
    let error = observe(&real.clients, &call).await.expect_err("helm owns it");
    assert_eq!((error.class, error.effect), (FailureClass::Conflict, Effect::None));
    assert!(error.message.contains("helm"), "{error}");
}

/// What a Secret held is in no image, and is restored all the same from where it is kept encrypted.
async fn apply_secret(real: &Real) {
    let secrets: Api<Secret> = Api::namespaced(real.client.clone(), &real.namespace);
    // By this program's own manager, as an earlier run of it would have.
    let old = json!({
        "apiVersion": "v1", "kind": "Secret", "metadata": { "name": "login" },
        "stringData": { "password": "hunter2-before" },
    });
    let ours = PatchParams::apply(FIELD_MANAGER);
    secrets.patch("login", &ours, &Patch::Apply(&old)).await.expect("made");
    let file = real.folder.path().join("secret.yaml");
    let manifest = format!(
        "apiVersion: v1\nkind: Secret\nmetadata: {{ name: login, namespace: {} }}\nstringData: {{ password: after }}\n",
        real.namespace
    );
    std::fs::write(&file, manifest).expect("written");
    let call = real.call(ActionName::KubernetesApply, json!({ "file": file }));
    assert_eq!(real.look(&call).await.irreversible, None);
    real.there_and_back(&call).await;
    let data = secrets.get("login").await.expect("there").data.unwrap_or_default();
    assert_eq!(data["password"].0, b"hunter2-before");
    let without = real.without_kept_images();
    let seen = observe(&without, &call).await.unwrap_or_else(|error| panic!("{error:?}"));
    assert!(seen.irreversible.is_some_and(|why| why.contains("`before_images`")));
}

/// A controller that puts replicas back, as GitOps does.
async fn put_back(real: &Real) {
    let call = real.call(
        ActionName::KubernetesScale,
        json!({ "workloads": [{ "workload": format!("{}/api", real.namespace), "replicas": 4 }] }),
    );
    let seen = real.look(&call).await;
    let (deployments, params) = (real.deployments(), PatchParams::apply("gitops").force());
    let wanted = json!({ "apiVersion": "apps/v1", "kind": "Deployment", "metadata": { "name": "api" }, "spec": { "replicas": 1 } });
    let other = tokio::spawn(async move {
        while deployments.get("api").await.ok().and_then(|found| found.spec?.replicas) != Some(4) {
            RealClock.sleep(std::time::Duration::from_millis(20)).await;
        }
        deployments.patch("api", &params, &Patch::Apply(&wanted)).await.expect("put back");
    });
    let error = perform(&real.clients, &real.armed, &call, &seen).await.expect_err("put back");
    other.await.expect("ended");
    assert_eq!((error.class, error.effect), (FailureClass::Conflict, Effect::Applied), "{error}");
    assert!(error.message.starts_with("gitops put replicas of"), "{error}");
}
