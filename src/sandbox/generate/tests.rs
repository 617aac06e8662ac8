use super::*;
use crate::estate::load::parse;
use crate::sandbox::{lines, tests, world as worlds};

fn template() -> String {
    crate::estate::init::template()
}

/// Makes a world of an estate's text, which is held to be sound.
#[track_caller]
fn made(text: &str) -> World {
    let estate = parse("mine.yaml", text).unwrap_or_else(|problems| panic!("{problems}"));
    let world = world(&estate, "mine.yaml");
    let kept = worlds::parse("mine.yaml", lines::write(&world));
    kept.unwrap_or_else(|problems| panic!("{problems}"));
    world
}

fn with(changes: &[(&str, &str)]) -> String {
    changes.iter().fold(template(), |text, (from, to)| {
        assert!(text.contains(from), "{from}");
        text.replace(from, to)
    })
}

fn body(world: &World, kind: Kind, id: &str) -> Value {
    let mut found = world.objects.iter().filter(|object| object.kind == kind && object.id == id);
    let found = found.next().unwrap_or_else(|| panic!("no {} {id}", kind.name()));
    Value::Object(found.body.decode().into_owned())
}

#[test]
fn everything_an_estate_names_is_there() {
    let world = made(&template());
    assert_eq!(world.faults.len(), 1);
    let endpoint = body(&world, Kind::RdsInstance, "phoenix-prod")["Endpoint"].clone();
    assert_eq!(endpoint["Address"], "phoenix-prod.abc.us-east-1.rds.amazonaws.com");
    for bucket in ["phoenix-dr-state", "phoenix-dr-switch", "phoenix-backups-usw2"] {
        body(&world, Kind::Bucket, bucket);
    }
    let zone = body(&world, Kind::Zone, "Z0123456789ABCDEFGHIJ");
    assert_eq!(zone["Name"], "phoenix.example.");
    let weights: Vec<&Value> = [0, 1].map(|i| &zone["ResourceRecordSets"][i]["Weight"]).to_vec();
    assert_eq!(weights, [100, 0]);
    let replicas = |region: &str| -> Vec<i64> {
        let deployments = world.manifests(region);
        let of = deployments.iter().filter(|object| object["kind"] == "Deployment");
        of.filter_map(|object| object["spec"]["replicas"].as_i64()).collect()
    };
    assert_eq!(replicas("us-west-2").iter().sum::<i64>(), 2, "P0 alone is warm");
    assert_eq!(replicas("us-east-1").iter().sum::<i64>(), 16);
    assert!(world.unseen.iter().any(|guess| guess.what == "the database"));
}

#[test]
fn instances_behind_one_way_in_have_a_name_each_and_security_groups_are_there() {
    let world = made(&with(&[
        ("phoenix-prod.abc.us-east-1.rds.amazonaws.com:5432", "db.phoenix.example:15432"),
        ("phoenix-dr-replica.abc.us-west-2.rds.amazonaws.com:5432", "db.phoenix.example:15433"),
    ]));
    let host = |id: &str| body(&world, Kind::RdsInstance, id)["Endpoint"]["Address"].clone();
    assert_eq!(host("phoenix-prod"), "db.phoenix.example");
    assert_eq!(
        host("phoenix-dr-replica"),
        "phoenix-dr-replica.rehearsal.us-west-2.rds.amazonaws.com"
    );
    let groups = &world.estate.regions["us-west-2"].security_groups;
    assert!(!groups.is_empty());
    for group in groups {
        assert_eq!(body(&world, Kind::SecurityGroup, group)["GroupId"], group.as_str());
    }
}

#[test]
fn nothing_that_leads_to_the_real_estate_is_in_a_world() {
    let text = with(&[
        ("{ env: PHOENIX_DR_DATABASE_PASSWORD }", "{ command: [vault, CANARY] }"),
        ("  # via: { command: [ssh, -N, -L", "  via: { command: [CANARY, -N, -L"),
        (
            "  us-west-2: { context: eks-us-west-2 }\n",
            "  us-west-2: { context: eks-us-west-2, kubeconfig: /CANARY, via: { command: [CANARY], ready: \"127.0.0.1:9\" } }\n",
        ),
        (
            "    # endpoints: { rds: \"http://127.0.0.1:5000\"",
            "    endpoints: { rds: \"http://canary:5000\"",
        ),
        ("profile: phoenix-dr }", "profile: CANARY }"),
    ]);
    let text = text.replace("/etc/ssl/rds", "/CANARY");
    let written = lines::write(&made(&text)).to_lowercase();
    let found = written.find("canary").map(|at| &written[at.saturating_sub(80)..at + 20]);
    assert_eq!(found, None);
}

#[test]
fn estates_of_every_shape_make_a_sound_world() {
    let secret = "    secret: { namespace: phoenix-system, name: phoenix-db, host_key: host, port_key: port }\n";
    let cname = "    cname: { zone: Z0123456789ABCDEFGHIJ, name: db.phoenix.example }\n";
    for changes in [
        vec![("shape: weighted", "shape: failover")],
        vec![("type: CNAME", "type: A")],
        vec![("type: CNAME", "type: AAAA")],
        vec![(secret, cname)],
        vec![(secret, "    cname: { zone: ZOTHER, name: db.phoenix.internal }\n")],
        vec![(secret, "    service: { namespace: other, name: db }\n")],
        vec![(secret, "    config_map: { namespace: other, name: db, host_key: H }\n")],
        vec![("phoenix-usw2.elb.us-west-2.amazonaws.com:443", "10.1.2.3")],
        vec![("    load_balancer: phoenix-usw2.elb.us-west-2.amazonaws.com:443\n", "")],
        vec![("selector: app=phoenix-api", "selector: 'tier in (db, x), !odd'")],
        vec![("https://api.us-west-2.phoenix.example", "https://api.us-east-1.phoenix.example:81")],
        vec![("phoenix-system/", "default/")],
        // Nothing of the world answers there; that is told, and the world is sound.
        vec![(
            "    key: failed-over\n",
            "    key: failed-over\n    url: https://switch.phoenix.example/on\n",
        )],
    ] {
        let world = made(&with(&changes));
        // A cluster that does not take its manifests fails here.
        drop(tests::Scene::of(world, &[]));
    }
    let least = "estate: x\nprimary: { region: a }\nregions: { a: { api: 'http://h' }, b: { api: 'http://h' } }\n";
    let world = made(least);
    assert!(world.estate.regions["b"].api.ends_with("rehearsal.invalid"), "hosts are apart");
    drop(tests::Scene::of(world, &[]));
}
