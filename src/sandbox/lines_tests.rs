use super::*;
use crate::sandbox::compare::{Change, differences};
use crate::sandbox::world::{parse, shipped};

fn phoenix() -> World {
    parse("phoenix", shipped("phoenix").expect("it is shipped"))
        .unwrap_or_else(|problems| panic!("{}", problems.render(false)))
}

fn errors(text: &str) -> String {
    parse("w.jsonl", text).expect_err("it is not sound").render(false)
}

#[test]
fn a_world_is_read_back_from_its_lines() {
    let world = phoenix();
    let text = write(&world);
    let read = parse("w.jsonl", &*text).unwrap_or_else(|wrong| panic!("{}", wrong.render(false)));
    assert_eq!(differences(&world, &read), []);
    assert_eq!(write(&read), text);
    let manifests = world.clusters["us-west-2"].objects.len();
    assert_eq!(read.manifests("us-west-2").len(), manifests);
}

#[test]
fn a_manifest_is_found_by_its_name_wherever_a_world_keeps_it() {
    let world = phoenix();
    let read = parse("w.jsonl", write(&world));
    let read = read.unwrap_or_else(|wrong| panic!("{}", wrong.render(false)));
    let all = world.manifests("us-west-2");
    let text = |value: &Value| value.as_str().map(str::to_owned).unwrap_or_default();
    for manifest in &all {
        let (kind, name) = (text(&manifest["kind"]), text(&manifest["metadata"]["name"]));
        let alike = |other: &&Value| {
            other["kind"] == manifest["kind"] && other["metadata"]["name"] == name.as_str()
        };
        let wanted: Vec<Value> = all.iter().filter(alike).cloned().collect();
        for world in [&world, &read] {
            let found: Vec<Value> = world.manifests_called("us-west-2", &kind, &name).collect();
            assert_eq!(found, wanted, "{kind} {name}");
        }
    }
    assert_eq!(read.manifests_called("us-west-2", "Deployment", "nobody").count(), 0);
    assert_eq!(read.manifests_called("us-east-9", "Deployment", "").count(), 0);
}

#[test]
fn every_mistake_is_told_with_its_line() {
    let text = write(&phoenix());
    let broken = text
        .replacen("\"type\":\"postgres\"", "\"type\":\"postgre\"", 1)
        .replacen("\"ports\":[443]", "\"ports\":\"https\"", 1)
        .replacen("\"HealthCheckId\":\"0123", "\"HealthCheckId\":\"x123", 1)
        .replacen("{\"type\":\"s3.bucket\"", "{\"type\":\"s3.bucket\",\"size\":1", 1);
    let said = errors(&broken);
    for part in ["postgre", "ports", "no route53.health_check", "size", "w.jsonl:"] {
        assert!(said.contains(part), "{part}: {said}");
    }
}

#[test]
fn what_was_cut_short_is_noticed() {
    let text = write(&phoenix());
    let last = text.trim_end().rfind('\n').expect("lines");
    assert!(errors(&text[..=last]).contains("the world was cut short at line"));
    let bare = parse("w.jsonl", text.trim_end());
    assert!(bare.is_ok(), "what an editor left the last line's end out of is whole");
    let twice = format!("{text}{}", &text[last + 1..]);
    assert!(errors(&twice).contains("lines are to follow"));
}

#[test]
fn a_line_may_not_be_there_twice_or_belong_to_no_cluster() {
    let text = write(&phoenix());
    let head = text.find('\n').expect("a head");
    let last = text.trim_end().rfind('\n').expect("lines") + 1;
    let counted = text[..head].rfind("\"lines\":").expect("a count");
    let end = counted + text[counted..].find(',').expect("more after it") + 1;
    let open = format!("{}{}", &text[..counted], &text[end..]);
    let line = &text[last..];
    assert!(errors(&format!("{open}{line}")).contains("is there twice"));
    let elsewhere = line.replacen("us-west-2", "us-east-9", 1);
    let said = errors(&format!("{open}{elsewhere}"));
    assert!(said.contains("has no region `us-east-9`"), "{said}");
    assert!(!said.contains("has no cluster"), "one slip is told once: {said}");
    let bare = open.replacen("\"us-east-1\":{},", "", 1);
    assert_ne!(bare, open);
    let elsewhere = line.replacen("us-west-2", "us-east-1", 1);
    assert!(errors(&format!("{bare}{elsewhere}")).contains("has no cluster in `us-east-1`"));
    let other = line.replacen("\"name\":\"", "\"name\":\"x", 1);
    assert!(errors(&format!("{open}{other}")).contains("the id of this manifest is"));
}

#[test]
fn a_manifest_may_not_be_there_twice_in_a_cluster() {
    let world = phoenix();
    let manifest = world.clusters["us-west-2"].objects[0].clone();
    let id = manifest_id(&manifest);
    let refused = |world: &World| {
        let text = serde_json::to_string_pretty(world).expect("JSON, which is YAML as well");
        let said = parse("w.yaml", &*text).expect_err("it is not sound").render(false);
        assert!(
            said.contains(&format!("`{id}` is there twice in the cluster of us-west-2")),
            "{said}"
        );
    };
    let mut own = world.clone();
    own.clusters.get_mut("us-west-2").expect("a cluster").objects.push(manifest.clone());
    refused(&own);
    let mut both = world.clone();
    both.objects.push(WorldObject {
        kind: Kind::Kubernetes,
        region: Some("us-west-2".to_owned()),
        id: id.clone(),
        body: Body::Known(manifest.clone()),
        then: Vec::new(),
    });
    refused(&both);
    // Another region's cluster may have the same.
    let mut elsewhere = world.clone();
    let other = elsewhere.clusters.entry("us-east-1".to_owned()).or_default();
    other.objects = vec![manifest];
    let text = serde_json::to_string(&elsewhere).expect("JSON");
    assert!(parse("w.yaml", &*text).is_ok());
}

#[test]
fn differences_name_what_came_went_and_changed() {
    let before = phoenix();
    let mut after = phoenix();
    let gone = after.objects.pop().expect("objects");
    let bucket = after.objects.iter_mut().find(|object| object.kind == Kind::Bucket);
    let bucket = bucket.expect("a bucket");
    bucket.body = Body::Known(Map::from_iter([("Versioning".to_owned(), "Enabled".into())]));
    let mut added = after.objects[0].clone();
    added.id = "another".to_owned();
    after.objects.push(added);
    let found = differences(&before, &after);
    let of = |id: &str| found.iter().find(|found| found.id == id).map(|found| &found.change);
    assert_eq!(found.len(), 3, "{found:#?}");
    assert_eq!(of(&gone.id), Some(&Change::Removed));
    assert_eq!(of("another"), Some(&Change::Added));
    let changed = of("phoenix-dr-state").expect("it changed");
    assert!(matches!(changed, Change::Changed { fields } if fields[0].field == "Versioning"));
}
