use std::sync::Arc;

use serde_json::json;

use super::*;
use crate::clients::guard::Guard;
use crate::clock::Clock;
use crate::clock::jump::{JumpClock, Pace};
use crate::runbook::problem::Problems;
use crate::sandbox::compare::{Change, differences};
use crate::sandbox::world::{self, World};
use crate::sandbox::{Beginning, Sandbox, lines};

/// A password as it lies about in manifests; no world may have it.
const CANARY: &str = "canary-5f2a9c";

fn shipped() -> World {
    let text = world::shipped("phoenix").expect("it is shipped");
    let mut world = parsed(text).expect("it is sound");
    let manifests = &mut world.clusters.get_mut("us-west-2").expect("a cluster").objects;
    for manifest in manifests {
        if manifest["kind"] == "Secret" {
            let password = crate::mask::base64(CANARY.as_bytes());
            manifest["data"]["password"] = json!(password);
            let annotation = "kubectl.kubernetes.io/last-applied-configuration";
            manifest["metadata"]["annotations"] = json!({ annotation: CANARY });
        }
        if manifest["kind"] == "Deployment" {
            let container = &mut manifest["spec"]["template"]["spec"]["containers"][0];
            container["env"] = json!([{ "name": "PASSWORD", "value": CANARY }]);
            container["args"] = json!(["--password", CANARY]);
        }
    }
    let settings = json!({
        "apiVersion": "v1", "kind": "ConfigMap",
        "metadata": { "name": "settings", "namespace": "phoenix-system" },
        "data": { "api_token": CANARY, "level": "info" },
    });
    let settings = settings.as_object().cloned().expect("a manifest");
    world.clusters.get_mut("us-west-2").expect("a cluster").objects.push(settings);
    world
}

fn parsed(text: &str) -> Result<World, Problems> {
    world::parse("w", text)
}

fn sound(text: &str) -> World {
    parsed(text).unwrap_or_else(|problems| panic!("{}", problems.render(false)))
}

/// Captures a simulated estate by the program's own clients, their guard closed.
fn captured(world: World) -> (Captured, Sandbox) {
    let began = "2026-11-22T02:18:00Z".parse().expect("an instant");
    let clock = JumpClock::at(began, Pace::Max);
    let shared: Arc<dyn Clock> = Arc::new(clock.clone());
    let beginning = Beginning { world, faults: Vec::new(), seed: 7, secret: false };
    let sandbox = Sandbox::begin(beginning, Arc::clone(&shared), None).expect("it begins");
    let estate = Arc::new(sandbox.world().estate.clone());
    let clients = Clients::simulated(estate, Guard::closed(), shared, sandbox.clone());
    let runtime = clock.runtime().expect("a runtime");
    let captured = runtime.block_on(capture(&clients));
    (captured, sandbox)
}

fn healthy() -> World {
    let mut world = shipped();
    world.faults.clear();
    world
}

/// Holds that a file in the tests' folder is this text: `tests/it` rehearses on it.
fn kept(name: &str, text: &str) {
    let path = format!("tests/fixtures/worlds/{name}");
    if std::env::var_os("PHOENIX_DR_WRITE_WORLDS").is_some() {
        std::fs::create_dir_all("tests/fixtures/worlds").expect("a folder");
        std::fs::write(&path, text).expect("written");
        return;
    }
    let known = std::fs::read_to_string(&path).unwrap_or_default();
    let again = "write it anew: PHOENIX_DR_WRITE_WORLDS=1 cargo test --lib capture::";
    assert!(known == text, "{path} is another; {again}");
}

#[test]
fn a_capture_is_a_sound_world_of_everything_that_was_asked() {
    let (captured, sandbox) = captured(healthy());
    let told = sandbox.told();
    assert_eq!(told.left, [""; 0], "nothing was asked that a service does not know");
    let world = captured.world;
    assert!(captured.whole, "{:?}", world.unseen);
    let text = lines::write(&world);
    let read = sound(&text);
    assert_eq!(read.objects.len(), world.objects.len());
    let count = |kind: Kind| read.objects.iter().filter(|object| object.kind == kind).count();
    let counts = [
        (Kind::RdsInstance, 2),
        (Kind::RdsSnapshot, 1),
        (Kind::RdsBackup, 2),
        (Kind::RdsSubnetGroup, 1),
        (Kind::RdsParameterGroup, 1),
        (Kind::Postgres, 2),
        (Kind::Zone, 1),
        (Kind::HealthCheck, 1),
        (Kind::Bucket, 3),
        (Kind::Endpoint, 4),
    ];
    for (kind, wanted) in counts {
        assert_eq!(count(kind), wanted, "{kind:?}");
    }
    assert_eq!(read.account, "123456789012");
    assert!(read.faults.is_empty(), "{:?}", read.faults);
    // What the capture made of it is what the shipped world says, as far as both have it.
    let zone = |world: &World| {
        let zone = world.objects.iter().find(|object| object.kind == Kind::Zone);
        zone.expect("a zone").body.decode().get("ResourceRecordSets").cloned()
    };
    assert_eq!(zone(&read), zone(&shipped()));
    kept("captured.jsonl", &text);
}

#[test]
fn no_secret_is_in_a_capture() {
    let text = lines::write(&captured(healthy()).0.world);
    let encoded = crate::mask::base64(CANARY.as_bytes());
    assert!(!text.contains(CANARY) && !text.contains(&encoded));
    // The keys are kept, and so is the database's address, which is no secret.
    assert!(text.contains("\"password\":\"bGVmdC1vdXQ=\""));
    assert!(text.contains("\"level\":\"info\"") && text.contains("\"api_token\":\"left-out\""));
    assert!(text.contains("\"host\":\"cGhvZW5peC1wcm9kLmMxeDJ5My"));
}

#[test]
fn what_was_captured_is_captured_from_its_rehearsal_again() {
    let first = captured(healthy()).0.world;
    let again = captured(sound(&lines::write(&first))).0.world;
    // How far the replica is behind is rounded up to what has passed while it was looked at.
    let found = differences(&first, &again);
    let fields = |change: &Change| match change {
        Change::Changed { fields } => fields.iter().map(|field| field.field.clone()).collect(),
        Change::Added | Change::Removed => vec!["all of it".to_owned()],
    };
    let told: Vec<String> = found.iter().flat_map(|found| fields(&found.change)).collect();
    assert_eq!(told, ["replayed"], "{found:#?}");
}

#[test]
fn a_region_that_gives_no_answer_is_told_and_dark_in_the_world() {
    let (captured, _) = captured(shipped());
    assert!(!captured.whole);
    let world = sound(&lines::write(&captured.world));
    let faults: Vec<String> = world.faults.iter().map(ToString::to_string).collect();
    assert_eq!(faults, ["dark,region=us-east-1"]);
    let unseen = |what: &str| world.unseen.iter().any(|unseen| unseen.what.contains(what));
    for what in
        ["RDS", "the cluster", "Route 53 zone", "api.us-east-1", "PostgreSQL of phoenix-prod"]
    {
        assert!(unseen(what), "{what}: {:?}", world.unseen);
    }
    // The lost primary stands in the world, so that its connections are silent and not unknown.
    assert!(world.objects.iter().any(|object| object.id == "phoenix-prod"));
    kept("captured-dark.jsonl", &lines::write(&captured.world));
}

#[test]
fn pseudonyms_leave_no_name_and_the_same_world() {
    let plain = captured(healthy()).0.world;
    let before = plain.objects.len();
    let text = lines::write(&pseudonyms::replaced(plain).expect("it is replaced"));
    for original in [
        "phoenix",
        "123456789012",
        "Z0123456789",
        "0123456789AB",
        "198.51.100",
        "203.0.113",
        "sg-0a1b",
        "eks-",
        "experiment",
        "analytics",
        "prometheus",
        "dashboard",
        "c1x2y3",
        "subnet-0a",
        "vpc-0123",
        "01234567-89ab",
        "failed-over",
        "VP Engineering@",
        "incidents",
        "555-010",
        "cGhvZW5peC1wcm9k",
        "7311224466880011223",
    ] {
        assert!(!text.contains(original), "`{original}` is in it");
    }
    let world = sound(&text);
    assert!(world.pseudonyms);
    assert_eq!(world.objects.len(), before);
    assert_eq!(world.estate.services.len(), 9);
    kept("pseudonyms.jsonl", &text);
}

#[test]
fn a_service_that_asks_for_patience_is_asked_again() {
    let mut world = healthy();
    for rule in
        ["throttled@route53,times=3", "throttled@rds,times=2", "throttled@kubernetes,times=2"]
    {
        world.faults.push(rule.parse().expect("a fault"));
    }
    let (captured, sandbox) = captured(world);
    assert!(captured.whole, "{:?}", captured.world.unseen);
    let struck: Vec<u32> = sandbox.told().faults.iter().map(|told| told.struck).collect();
    assert_eq!(struck, [3, 2, 2]);
}

#[test]
fn a_guard_that_is_closed_is_all_a_capture_needs() {
    // Denied reads are told one by one; the rest is there.
    let mut world = healthy();
    for rule in ["denied@rds/DescribeDBSnapshots", "denied@kubernetes/GET /api/v1/nodes"] {
        world.faults.push(rule.parse().expect("a fault"));
    }
    let (captured, _) = captured(world);
    assert!(!captured.whole);
    let told: Vec<&str> = captured.world.unseen.iter().map(|unseen| unseen.what.as_str()).collect();
    assert!(told.contains(&"RDS snapshots") && told.contains(&"nodes of the cluster"), "{told:?}");
    let denied =
        captured.world.unseen.iter().filter(|unseen| unseen.why.starts_with("access denied"));
    assert_eq!(denied.count(), 4, "{:?}", captured.world.unseen);
    assert!(captured.world.objects.iter().any(|object| object.kind == Kind::RdsInstance));
    sound(&lines::write(&captured.world));
}

#[test]
fn a_collection_is_read_to_its_last_page() {
    let mut world = healthy();
    let manifests = &mut world.clusters.get_mut("us-west-2").expect("a cluster").objects;
    let map = |number: usize| {
        json!({
            "apiVersion": "v1", "kind": "ConfigMap",
            "metadata": { "name": format!("many-{number:03}"), "namespace": "many" },
        })
    };
    manifests.extend((0..45).map(|number| map(number).as_object().cloned().expect("a manifest")));
    let clock = JumpClock::at("2026-11-22T02:18:00Z".parse().expect("an instant"), Pace::Max);
    let shared: Arc<dyn Clock> = Arc::new(clock.clone());
    let beginning = Beginning { world, faults: Vec::new(), seed: 7, secret: false };
    let sandbox = Sandbox::begin(beginning, Arc::clone(&shared), None).expect("it begins");
    let estate = Arc::new(sandbox.world().estate.clone());
    let clients = Clients::simulated(estate, Guard::closed(), shared, sandbox);
    let found = clock.runtime().expect("a runtime").block_on(async {
        let cluster = crate::clients::kubernetes::cluster(&clients, "us-west-2").await?;
        let path = "/api/v1/namespaces/many/configmaps";
        kubernetes::pages(&clients, &cluster, path, 2).await
    });
    let names = found.unwrap_or_else(|error| panic!("{}", error.message));
    let names: Vec<&str> =
        names.iter().filter_map(|map| map["metadata"]["name"].as_str()).collect();
    assert_eq!((names.len(), names[44]), (45, "many-044"));
}

/// Returns what a capture says it did not see, of which the words begin so.
fn unseen<'c>(captured: &'c Captured, beginning: &str) -> Vec<(&'c str, &'c str)> {
    let unseen = captured.world.unseen.iter().map(|one| (one.what.as_str(), one.why.as_str()));
    unseen.filter(|(what, _)| what.starts_with(beginning)).collect()
}

#[test]
fn what_is_left_out_for_its_length_is_told() {
    let mut world = healthy();
    let manifests = &mut world.clusters.get_mut("us-west-2").expect("a cluster").objects;
    let settings = manifests.iter_mut().find(|manifest| manifest["kind"] == "ConfigMap");
    settings.expect("settings")["data"] = json!({
        "page": "x".repeat(4_097), "edge": "x".repeat(4_096), "api_token": "x".repeat(4_097),
    });
    world.objects.push(WorldObject {
        kind: Kind::S3Object,
        region: Some("us-west-2".to_owned()),
        id: "phoenix-dr-switch/failed-over".to_owned(),
        body: Body::Known(Map::from_iter([
            ("Body".to_owned(), json!("é".repeat(40_000))),
            ("ETag".to_owned(), json!("\"d41d8cd98f00b204e9800998ecf8427e\"")),
            ("LastModified".to_owned(), json!("now-1h")),
            ("Size".to_owned(), json!(80_000)),
        ])),
        then: Vec::new(),
    });
    let (captured, _) = captured(world);
    assert!(captured.whole, "{:?}", captured.world.unseen);
    let cut = "left out: its value is longer than 4096 bytes";
    let wanted = [("key page of ConfigMap phoenix-system/settings", cut)];
    assert_eq!(unseen(&captured, "key "), wanted);
    let wanted = "only its first 65536 bytes were taken";
    assert_eq!(unseen(&captured, "content of")[0].1, wanted);
    let read = sound(&lines::write(&captured.world));
    let manifests = read.manifests("us-west-2");
    let settings = manifests.iter().find(|manifest| manifest["metadata"]["name"] == "settings");
    let data = &settings.expect("settings")["data"];
    assert_eq!((&data["page"], &data["api_token"]), (&json!("left-out"), &json!("left-out")));
    assert_eq!(data["edge"].as_str().map(str::len), Some(4_096));
    let object = read.objects.iter().find(|object| object.kind == Kind::S3Object);
    let body = object.expect("the failover object").body.decode().into_owned();
    assert_eq!(body["Body"].as_str().map(str::len), Some(65_536));
}

#[test]
fn regions_that_share_a_host_are_captured_and_it_is_told() {
    let mut world = healthy();
    let shared = world.estate.regions["us-east-1"].api.clone();
    world.estate.regions.get_mut("us-west-2").expect("a region").api = shared;
    let (captured, _) = captured(world);
    let told = unseen(&captured, "api at api.us-east-1.phoenix.example");
    assert_eq!(told.len(), 1, "{:?}", captured.world.unseen);
    assert!(told[0].1.contains("api of us-east-1 alone"), "{told:?}");
    sound(&lines::write(&captured.world));
}

#[test]
fn a_replica_of_a_region_that_is_none_of_the_estates_is_captured_and_told() {
    let mut world = healthy();
    let replica = world.objects.iter_mut().find(|object| object.id == "phoenix-dr-replica");
    let replica = replica.expect("a replica");
    let mut body = replica.body.decode().into_owned();
    let source = "arn:aws:rds:eu-west-1:123456789012:db:elsewhere";
    body.insert("ReadReplicaSourceDBInstanceIdentifier".to_owned(), json!(source));
    replica.body = Body::Known(body);
    let (captured, _) = captured(world);
    assert!(captured.whole, "{:?}", captured.world.unseen);
    let told = unseen(&captured, "rds.instance elsewhere");
    assert!(told[0].1.contains("none of the estate's"), "{told:?}");
    sound(&lines::write(&captured.world));
    let replaced = pseudonyms::replaced(captured.world).expect("it is replaced");
    sound(&lines::write(&replaced));
}

#[test]
fn security_groups_of_the_estate_are_in_the_world_and_told_where_nobody_saw_them() {
    let mut world = healthy();
    let instance = world.objects.iter_mut().find(|object| object.id == "phoenix-prod");
    let instance = instance.expect("an instance");
    let mut body = instance.body.decode().into_owned();
    let groups = json!([{ "VpcSecurityGroupId": "sg-0a1b2c3d4e5f60001", "Status": "active" }]);
    body.insert("VpcSecurityGroups".to_owned(), groups);
    instance.body = Body::Known(body);
    let (captured, _) = captured(world);
    let told: Vec<&str> =
        unseen(&captured, "security group").iter().map(|(what, _)| *what).collect();
    assert_eq!(told, ["security group sg-0a1b2c3d4e5f60002"]);
    let world = sound(&lines::write(&captured.world));
    let groups = world.objects.iter().filter(|object| object.kind == Kind::SecurityGroup);
    assert_eq!(groups.count(), 2);
}

/// An estate that names what is not there is captured as it is, told, and can be rehearsed on.
#[test]
fn what_the_estate_names_and_is_not_there_is_told_and_no_mistake_in_the_capture() {
    let mut world = healthy();
    world.objects.retain(|object| object.kind != Kind::RdsSubnetGroup);
    let cluster = world.clusters.get_mut("us-west-2").expect("a cluster");
    cluster.objects.retain(|manifest| manifest["metadata"]["name"] != "dashboard");
    let (captured, _) = captured(world);
    assert!(!captured.whole, "the capture ends as one that lacks something");
    let unserved = |world: &World| {
        let told = world.unseen.iter().filter(|unseen| unseen.is_unserved());
        told.map(|unseen| unseen.what.clone()).collect::<Vec<_>>()
    };
    let wanted = ["Deployment phoenix-system/dashboard", "rds.subnet_group phoenix-db-usw2"];
    assert_eq!(unserved(&captured.world), wanted);
    sound(&lines::write(&captured.world));
    let replaced = pseudonyms::replaced(captured.world).expect("it is replaced");
    let world = sound(&lines::write(&replaced));
    let told = unserved(&world);
    assert!(told.len() == 2 && !told.concat().contains("phoenix"), "{told:?}");
}
