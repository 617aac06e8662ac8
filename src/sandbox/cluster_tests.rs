use std::collections::BTreeSet;
use std::time::Duration;

use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::{Event, Pod};
use kube::Api;
use kube::api::{ListParams, Patch, PatchParams};
use serde_json::json;

use super::super::tests::{Scene, phoenix};
use super::super::{Beginning, Resumed};
use super::*;
use crate::clients::Clients;
use crate::clients::guard::Guard;
use crate::clients::kubernetes::cluster;
use crate::clock::Clock;
use crate::clock::jump::{JumpClock, Pace};
use crate::engine::ports::Armed;

const NAMESPACE: &str = "phoenix-system";
const WORKLOAD: &str = "analytics";

/// Asks for pods of a workload that has none.
async fn wants(clients: &Clients, replicas: u32) {
    let cluster = cluster(clients, "us-west-2").await.expect("a cluster");
    let api: Api<Deployment> = Api::namespaced(cluster.client.clone(), NAMESPACE);
    let patch = Patch::Merge(json!({ "spec": { "replicas": replicas } }));
    api.patch_scale(WORKLOAD, &PatchParams::default(), &patch).await.expect("it is answered");
}

/// Returns how many of its pods run, and what keeps each of the others.
async fn pods(clients: &Clients) -> (usize, Vec<String>) {
    let cluster = cluster(clients, "us-west-2").await.expect("a cluster");
    let api: Api<Pod> = Api::namespaced(cluster.client.clone(), NAMESPACE);
    let selected = ListParams::default().labels(&format!("app={WORKLOAD}"));
    let all = api.list(&selected).await.expect("it is answered").items;
    let status = all.into_iter().filter_map(|pod| pod.status);
    let (running, waiting): (Vec<_>, Vec<_>) =
        status.partition(|status| status.phase.as_deref() == Some("Running"));
    let why = waiting.into_iter().flat_map(|status| {
        assert_eq!(status.phase.as_deref(), Some("Pending"));
        status.conditions.into_iter().flatten().filter(|one| one.type_ == "PodScheduled")
    });
    let why = why.map(|scheduled| {
        assert_eq!(scheduled.reason.as_deref(), Some("Unschedulable"));
        scheduled.message.unwrap_or_default()
    });
    (running.len(), why.collect())
}

/// Returns the names of the pods the scheduler told it had no place for.
async fn told(clients: &Clients) -> BTreeSet<String> {
    let cluster = cluster(clients, "us-west-2").await.expect("a cluster");
    let api: Api<Event> = Api::namespaced(cluster.client.clone(), NAMESPACE);
    let failed = ListParams::default().fields("reason=FailedScheduling");
    let events = api.list(&failed).await.expect("it is answered").items;
    assert!(events.iter().all(|event| {
        let source = event.source.as_ref().and_then(|source| source.component.as_deref());
        event.type_.as_deref() == Some("Warning") && source == Some("default-scheduler")
    }));
    events.into_iter().filter_map(|event| event.involved_object.name).collect()
}

#[test]
fn without_machines_new_pods_wait_until_there_are_some() {
    let scene = Scene::new(&["no_capacity@kubernetes,until=10m,times=2"]);
    let struck = || scene.sandbox.told().faults.last().map(|told| told.struck);
    scene.run(async {
        // What ran before has its place.
        assert_eq!(struck(), Some(0));
        wants(&scene.clients, 3).await;
        scene.clock.sleep(Duration::from_secs(60)).await;
        let (running, waiting) = pods(&scene.clients).await;
        assert_eq!((running, waiting.len()), (1, 2));
        assert!(waiting.iter().all(|why| why.ends_with("nsufficient cpu.")), "{waiting:?}");
        assert_eq!(told(&scene.clients).await.len(), 2);
        // The scheduler looks again when a pod goes, and finds no more than before.
        wants(&scene.clients, 2).await;
        scene.clock.sleep(Duration::from_secs(300)).await;
        assert_eq!(struck(), Some(2));
        scene.clock.sleep(Duration::from_secs(300)).await;
        assert_eq!(pods(&scene.clients).await, (2, Vec::new()), "once there are machines");
        assert_eq!(struck(), Some(2));
    });
}

#[test]
fn one_workload_alone_can_be_without_machines() {
    let named = format!("no_capacity@kubernetes/POST /api/v1/namespaces/{NAMESPACE}/pods/dash");
    let scene = Scene::new(&[&named]);
    scene.run(async {
        wants(&scene.clients, 2).await;
        scene.clock.sleep(Duration::from_secs(60)).await;
        assert_eq!(pods(&scene.clients).await, (2, Vec::new()));
    });
    let never = scene.sandbox.told().faults.last().and_then(|told| told.never.clone());
    assert_eq!(never.map(|never| never.because()), Some("other_operations"));
}

#[test]
fn a_pod_that_waits_for_a_machine_still_waits_when_its_world_is_gone_on_with() {
    let directory = tempfile::tempdir().expect("a directory");
    let clock = JumpClock::at("2026-11-22T02:18:00Z".parse().expect("an instant"), Pace::Max);
    let shared: Arc<dyn Clock> = Arc::new(clock.clone());
    let faults = vec!["no_capacity@kubernetes,until=20m,times=1".parse().expect("a fault")];
    let beginning = Beginning { world: phoenix(), faults, seed: 7, secret: false };
    let sandbox =
        Sandbox::begin(beginning, shared.clone(), Some(directory.path())).expect("it begins");
    let guard = Guard::closed();
    guard.open(&Armed::mint());
    let clients_of = |sandbox: &Sandbox, shared: Arc<dyn Clock>| {
        let estate = Arc::new(sandbox.world().estate.clone());
        Clients::simulated(estate, guard.clone(), shared, sandbox.clone())
    };
    let clients = clients_of(&sandbox, shared);
    clock.runtime().expect("a runtime").block_on(async {
        wants(&clients, 2).await;
        clock.sleep(Duration::from_secs(60)).await;
        assert_eq!(pods(&clients).await.0, 1);
    });
    drop((clients, sandbox));
    let resumed = Resumed::read(directory.path()).expect("it is read");
    let clock = JumpClock::at(resumed.until, Pace::Max);
    let shared: Arc<dyn Clock> = Arc::new(clock.clone());
    let sandbox = Sandbox::go_on(resumed, shared.clone()).expect("it goes on");
    let clients = clients_of(&sandbox, shared);
    clock.runtime().expect("a runtime").block_on(async {
        clock.sleep(Duration::from_secs(300)).await;
        let (running, waiting) = pods(&clients).await;
        assert_eq!((running, waiting.len()), (1, 1));
        // It was struck once; who comes later is not.
        wants(&clients, 3).await;
        clock.sleep(Duration::from_secs(60)).await;
        assert_eq!(pods(&clients).await.0, 2);
        clock.sleep(Duration::from_secs(1200)).await;
        assert_eq!(pods(&clients).await, (3, Vec::new()));
    });
    assert_eq!(sandbox.told().faults.last().map(|told| told.struck), Some(1));
}
