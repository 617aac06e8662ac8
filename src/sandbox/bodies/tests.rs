use serde_json::{Value, json};

use super::*;
use crate::runbook::shape::Texts;
use crate::sandbox::lines;
use crate::sandbox::tests::phoenix;
use crate::sandbox::world::{self, Body, WorldObject, resolve_instants};

/// A value somewhere inside a body.
#[derive(Debug, Clone)]
enum Step {
    Key(String),
    First,
}

/// Returns the way a value of a node is most likely meant.
fn way<'a>(schema: &'a Schema, node: &'a Value) -> &'a Value {
    let ways = schema.alternatives(node);
    ways.into_iter().find(|way| way["type"] != "null").expect("one that is not null")
}

fn is(way: &Value, name: &str) -> bool {
    match &way["type"] {
        Value::Array(names) => names.iter().any(|known| known == name),
        known => known == name,
    }
}

/// Returns the least value a node takes.
fn good(schema: &Schema, node: &Value) -> Value {
    let way = way(schema, node);
    let words = way["enum"].as_array().and_then(|words| words.first());
    match way {
        _ if words.is_some() => words.expect("words").clone(),
        _ if way["format"] == "instant" => json!("now-1h"),
        _ if way["format"] == "ip" => json!("192.0.2.1"),
        _ if is(way, "string") => json!("x"),
        _ if is(way, "integer") => way.get("minimum").cloned().unwrap_or_else(|| json!(1)),
        _ if is(way, "boolean") => json!(true),
        _ if is(way, "array") => json!([]),
        _ => {
            let required = way["required"].as_array().into_iter().flatten();
            let names = required.filter_map(Value::as_str);
            names.map(|name| (name.to_owned(), good(schema, &way["properties"][name]))).collect()
        }
    }
}

/// Returns a body that is good but for a value at one place.
fn but(schema: &Schema, node: &Value, at: &[Step], bad: &Value) -> Value {
    let mut value = good(schema, node);
    let way = way(schema, node);
    match at {
        [] => return bad.clone(),
        [Step::First, rest @ ..] => value = json!([but(schema, &way["items"], rest, bad)]),
        [Step::Key(key), rest @ ..] => {
            let node = way["properties"].get(key).unwrap_or(&way["additionalProperties"]);
            value[key] = but(schema, node, rest, bad);
        }
    }
    value
}

/// Returns every place of a schema with a value that is not for it.
fn cases(schema: &Schema, node: &Value, at: &[Step], found: &mut Vec<(Vec<Step>, Value)>) {
    let way = way(schema, node);
    let mut bad = |value: Value| found.push((at.to_vec(), value));
    if is(way, "string") {
        bad(json!(7));
        if way["enum"].is_array() {
            bad(json!("no such word"));
        }
        if way["format"] == "instant" {
            bad(json!("yesterday"));
        }
    } else if is(way, "integer") {
        bad(json!("1"));
        bad(json!(1.5));
        let limit = |key: &str, by: i64| way[key].as_i64().and_then(|limit| limit.checked_add(by));
        limit("minimum", -1)
            .into_iter()
            .chain(limit("maximum", 1))
            .for_each(|over| bad(json!(over)));
    } else if is(way, "boolean") {
        bad(json!("yes"));
    } else if is(way, "array") {
        bad(json!({}));
        let inside = [at, &[Step::First]].concat();
        cases(schema, &way["items"], &inside, found);
    } else if is(way, "object") {
        if !at.is_empty() {
            bad(json!([]));
        }
        for (key, node) in way["properties"].as_object().into_iter().flatten() {
            cases(schema, node, &[at, &[Step::Key(key.clone())]].concat(), found);
        }
        if way["additionalProperties"].is_object() {
            let inside = [at, &[Step::Key("x".to_owned())]].concat();
            cases(schema, &way["additionalProperties"], &inside, found);
        }
    }
}

/// Returns the schema of a kind's body as the documentation has it.
fn documented(kind: Kind) -> Schema {
    let text = std::fs::read_to_string("docs/world.schema.json").expect("the documented schema");
    let whole: Value = serde_json::from_str(&text).expect("JSON");
    let ways = whole["$defs"]["WorldObject"]["allOf"].as_array().expect("a way for each kind");
    let is_it = |way: &&Value| way["if"]["properties"]["type"]["const"] == kind.name();
    let way = ways.iter().find(is_it).unwrap_or_else(|| panic!("none for {}", kind.name()));
    let mut root = way["then"]["properties"]["body"].clone();
    root["$defs"] = whole["$defs"].clone();
    Schema::from_value(root)
}

fn refused(schema: &Schema, body: &Value) -> bool {
    let mut body = body.clone();
    resolve_instants(&mut body, jiff::Timestamp::UNIX_EPOCH);
    !shape::check(schema, &body, Texts::Literal).is_empty()
}

/// Returns an object whose body is only wrong where that body is.
fn object(kind: Kind, number: usize, mut body: Value) -> WorldObject {
    let id = format!("case-{number}");
    let named = match kind {
        Kind::RdsInstance => "DBInstanceIdentifier",
        Kind::RdsSnapshot => "DBSnapshotIdentifier",
        Kind::RdsSubnetGroup => "DBSubnetGroupName",
        Kind::RdsParameterGroup => "DBParameterGroupName",
        Kind::RdsCluster => "DBClusterIdentifier",
        Kind::RdsGlobal => "GlobalClusterIdentifier",
        Kind::SecurityGroup => "GroupId",
        _ => "",
    };
    if !named.is_empty() && body.get(named).is_none_or(Value::is_string) {
        body[named] = json!(id);
    }
    let region = (!kind.is_global()).then(|| "us-west-2".to_owned());
    let body = Body::Known(body.as_object().cloned().expect("a mapping"));
    WorldObject { kind, region, id, body, then: Vec::new() }
}

/// Returns which of some objects are refused for their bodies.
fn refused_bodies(objects: Vec<WorldObject>) -> Vec<bool> {
    let mut world = phoenix();
    let count = objects.len();
    world.clusters.values_mut().for_each(|cluster| cluster.objects.clear());
    let before = world.objects.len();
    world.objects.extend(objects);
    let text = lines::write(&world);
    let problems = world::parse_whole("w.jsonl", &*text).err();
    let starts: Vec<usize> = text.match_indices('\n').map(|(at, _)| at + 1).collect();
    let told: Vec<usize> = problems
        .iter()
        .flat_map(|problems| &problems.items)
        .filter_map(|item| item.range.as_ref().map(|range| range.start))
        .collect();
    let lines = (0..count).map(|i| starts[before + i]..starts[before + i + 1]);
    lines
        .map(|line| {
            let body = line.start + text[line.clone()].find("\"body\":").expect("a body");
            told.iter().any(|at| (body..line.end).contains(at))
        })
        .collect()
}

#[test]
fn what_the_schema_refuses_the_program_refuses_at_each_field() {
    for kind in KINDS {
        let schema = documented(kind);
        let least = good(&schema, schema.root());
        assert!(!refused(&schema, &least), "{}: {least}", kind.name());
        let mut found = Vec::new();
        cases(&schema, schema.root(), &[], &mut found);
        assert!(!found.is_empty(), "{} has fields", kind.name());
        let bodies: Vec<Value> =
            found.iter().map(|(at, bad)| but(&schema, schema.root(), at, bad)).collect();
        for (body, (at, bad)) in bodies.iter().zip(&found) {
            assert!(refused(&schema, body), "the schema takes {bad} at {} {at:?}", kind.name());
        }
        let mut objects = vec![object(kind, 0, least)];
        objects.extend(bodies.into_iter().enumerate().map(|(i, body)| object(kind, i + 1, body)));
        let told = refused_bodies(objects);
        assert!(!told[0], "{}: the least that is good is taken", kind.name());
        for (told, (at, bad)) in told[1..].iter().zip(&found) {
            assert!(told, "the program takes {bad} at {} {at:?}", kind.name());
        }
    }
}

#[test]
fn the_documented_schema_takes_every_world_there_is() {
    let mut worlds = vec![phoenix()];
    for entry in std::fs::read_dir("tests/fixtures/worlds").expect("worlds") {
        let path = entry.expect("a file").path();
        let text = std::fs::read_to_string(&path).expect("a world");
        let read = world::parse_whole("w.jsonl", &*text);
        worlds.push(read.unwrap_or_else(|problems| panic!("{}: {problems}", path.display())));
    }
    assert!(worlds.len() > 3, "the shipped one and the captures");
    for object in worlds.iter().flat_map(|world| &world.objects) {
        if object.kind != Kind::Kubernetes {
            let body = Value::Object(object.body.decode().into_owned());
            assert!(!refused(&documented(object.kind), &body), "{}: {body}", object.id);
        }
    }
}

#[test]
fn every_kind_but_manifests_has_its_fields() {
    let names: Vec<&str> = KINDS.iter().map(|kind| kind.name()).collect();
    let mut all = Kind::names();
    all.retain(|name| !names.contains(&name.as_str()));
    assert_eq!(all, [Kind::Kubernetes.name()]);
}

#[test]
fn the_objects_in_the_documentation_are_good_and_name_every_field_of_the_simulations_own() {
    let text = std::fs::read_to_string("docs/simulation.md").expect("the documentation");
    let begin = text.find("```yaml\n- type: endpoint").expect("an example") + "```yaml\n".len();
    let example = &text[begin..begin + text[begin..].find("```").expect("an end")];
    let parsed = crate::runbook::yaml::parse::<Vec<WorldObject>>("docs", example);
    let objects = parsed.unwrap_or_else(|problems| panic!("{problems}")).value;
    for object in &objects {
        let body = Value::Object(object.body.decode().into_owned());
        assert!(!refused(&documented(object.kind), &body), "{}: {body}", object.id);
    }
    for kind in [Kind::Endpoint, Kind::Postgres] {
        assert!(objects.iter().any(|object| object.kind == kind), "{}", kind.name());
        let schema = documented(kind);
        let root = schema.resolve(schema.root());
        for field in root["properties"].as_object().expect("fields").keys() {
            let written = [format!("    {field}: "), format!("`{field}`")];
            assert!(written.iter().any(|known| text.contains(known)), "{field} is not documented");
        }
    }
    assert!(text.contains("PublicRead"));
}
