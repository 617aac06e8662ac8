//! Worlds: captured from a live estate, looked into, compared, rehearsed on without any network.

use serde_json::Value;

use super::decided::{Names, decisions, names};
use super::dr001::live;
use super::estate::fresh;
use super::harness::{BINARY, Folder, Ran, flat, ran};
use super::rehearsal::ANSWERS;

/// Rehearses DR-001 on a world's file.
fn rehearsed(folder: &Folder, world: &str, more: &[&str]) -> Ran {
    let mut arguments = vec!["failover", "--region", "us-west-2", "--rehearse", world];
    arguments.extend(ANSWERS);
    arguments.extend(more);
    folder.run(&arguments)
}

#[test]
fn a_captured_world_is_rehearsed_to_the_same_end() {
    for (name, lost) in [
        ("captured.jsonl", "dark,region=us-east-1"),
        ("pseudonyms.jsonl", "dark,region=us-east-1"),
        ("captured-dark.jsonl", "latency@rds,times=1"),
    ] {
        let folder = Folder::new();
        let world = folder.world(name);
        let ran = rehearsed(&folder, &world, &["--inject", lost]).exits(0);
        let out = flat(&ran.out);
        for said in ["restored and verified", "captured on", "nothing real was touched"] {
            assert!(out.contains(said), "{name}: {said}: {}", ran.out);
        }
        assert!(!out.contains("left the simulation"), "{name}: {}", ran.out);
        assert!(!out.contains("not your estate"), "{name}: {}", ran.out);
    }
    let folder = Folder::new();
    let ran = rehearsed(&folder, &folder.world("captured-dark.jsonl"), &[]).exits(0);
    assert!(ran.out.contains("Not seen") && ran.out.contains("us-east-1"), "{}", ran.out);
    // Nothing is lost in a world where nothing was.
    let folder = Folder::new();
    rehearsed(&folder, &folder.world("captured.jsonl"), &[]).exits(10);
}

#[test]
fn a_rehearsal_on_lines_is_taken_up_again() {
    let folder = Folder::new();
    let world = folder.world("captured-dark.jsonl");
    folder.write("answers.yaml", "go: 'no'\n");
    rehearsed(&folder, &world, &["--answers", "answers.yaml"]).exits(13);
    let (run, _) = folder.journals().remove(0);
    let name = run.file_name().expect("a name").to_string_lossy().into_owned();
    let mut arguments = vec!["resume", name.as_str()];
    arguments.extend(ANSWERS);
    arguments.push("--rehearse");
    let ran = folder.run(&arguments).exits(0);
    assert!(ran.out.contains("restored and verified"), "{}", ran.out);
}

#[test]
fn worlds_are_shown_checked_and_compared() {
    let folder = Folder::new();
    let (whole, dark) = (folder.world("captured.jsonl"), folder.world("captured-dark.jsonl"));
    let ran = folder.run(&["world", "show", &dark]).exits(0);
    for said in ["of rds.instance in us-east-1", "Not seen", "dark,region=us-east-1", "guesses"] {
        assert!(ran.out.contains(said), "{said}: {}", ran.out);
    }
    let ran = folder.run(&["world", "show", "phoenix", "--output", "json"]).exits(0);
    let shown: Value = serde_json::from_str(&ran.out).expect("JSON");
    assert_eq!(shown["format"], "phoenix-dr/world");
    assert_eq!(shown["captured"], Value::Null);
    folder.run(&["world", "validate", &whole]).exits(0);
    let text = std::fs::read_to_string(folder.path().join(&whole)).expect("a world");
    let broken = text.replacen("rds.instance", "rds.instanz", 2);
    folder.write("cut.jsonl", &broken[..broken.len() - 9]);
    let ran = folder.run(&["world", "validate", "cut.jsonl"]).exits(2);
    assert!(ran.err.contains("the capture was cut short at line"), "{}", ran.err);
    assert!(!ran.err.contains("rds.instanz"), "what is left is not looked into: {}", ran.err);
    folder.write("broken.jsonl", &broken);
    let ran = folder.run(&["world", "validate", "broken.jsonl"]).exits(2);
    for said in ["rds.instanz", "did you mean `rds.instance`"] {
        assert!(ran.err.contains(said), "{said}: {}", ran.err);
    }
    let json = ["world", "validate", "broken.jsonl", "--output", "json"];
    let ran = folder.run(&json).exits(2);
    let found: Value = serde_json::from_str(&ran.out).expect("JSON");
    assert_eq!(found["files"][0]["good"], false);
    folder.run(&["world", "diff", &whole, &whole]).exits(0);
    // Of a region that is dark only what the estate file says of it is left.
    let ran = folder.run(&["world", "diff", &whole, &dark]).exits(20);
    for said in [
        "- kubernetes.object Namespace/phoenix-system in us-east-1\n",
        "~ rds.instance phoenix-prod in us-east-1\n",
        "    MultiAZ: true -> nothing\n",
        "~ world phoenix-rehearsal\n",
        "8 differences\n",
    ] {
        assert!(ran.out.contains(said), "{said}: {}", ran.out);
    }
    let ran = folder.run(&["world", "diff", &whole, &dark, "--output", "json"]).exits(20);
    let found: Value = serde_json::from_str(&ran.out).expect("JSON");
    let differences = found["differences"].as_array().expect("a list");
    let part = |of: &Value, name: &str| of[name].as_str().unwrap_or("-").to_owned();
    let told = differences
        .iter()
        .map(|of| ["change", "kind", "region", "id"].map(|name| part(of, name)).join(" "));
    assert_eq!(
        told.collect::<Vec<String>>(),
        [
            "removed kubernetes.object us-east-1 Namespace/monitoring",
            "removed kubernetes.object us-east-1 Namespace/phoenix-system",
            "changed postgres us-east-1 phoenix-prod",
            "changed postgres us-west-2 phoenix-dr-replica",
            "removed rds.automated_backup us-east-1 ab-phoenixprod00000001",
            "changed rds.instance us-east-1 phoenix-prod",
            "changed route53.health_check - 01234567-89ab-cdef-0123-456789abcdef",
            "changed world - phoenix-rehearsal",
        ]
    );
    folder.run(&["world", "show", "nowhere.jsonl"]).exits(2).says("no world `nowhere.jsonl`");
}

#[test]
fn nothing_is_captured_without_an_estate_or_over_a_file() {
    let folder = Folder::new();
    folder.run(&["world", "capture", "--out", "w.jsonl"]).exits(2).says("no estate file");
    folder.write("w.jsonl", "mine");
    folder.run(&["world", "capture", "--out", "w.jsonl"]).exits(2).says("exists already");
    assert_eq!(std::fs::read_to_string(folder.path().join("w.jsonl")).expect("it"), "mine");
}

#[test]
fn a_capture_changes_nothing_and_its_rehearsal_decides_as_the_live_run() {
    let estate = fresh("{}");
    let folder = estate.folder();
    // The lost region is not seen, and said so.
    let told = folder.run(&["world", "capture", "--out", "world.jsonl"]).exits(7);
    assert!(told.err.contains("not seen: RDS (us-east-1)"), "{}", told.err);
    assert_eq!(estate.mutating(), Vec::<Value>::new());
    folder.run(&["world", "capture", "--out", "world.jsonl"]).exits(2).says("--force");
    let more = ["world", "capture", "--out", "other.jsonl", "--pseudonyms"];
    folder.run(&more).exits(7);
    assert_eq!(estate.mutating(), Vec::<Value>::new());
    let world = std::fs::read_to_string(folder.path().join("world.jsonl")).expect("a world");
    let other = std::fs::read_to_string(folder.path().join("other.jsonl")).expect("a world");
    let password = &folder.environment["PHOENIX_DB_PASSWORD"];
    for secret in [password.as_str(), "not-a-secret-just-a-test"] {
        assert!(!world.contains(secret) && !other.contains(secret));
    }
    for name in ["phoenix-", "phoenix.", "app2", "123456789012", "127.", "experiment-controller"] {
        let at = other.find(name).map(|at| &other[at.saturating_sub(60)..at + 40]);
        assert_eq!(at, None, "{name}");
    }
    // Elsewhere, with no network and nothing of the estate's environment.
    let apart = Folder::new();
    let mut rehearsals = Vec::new();
    let estate_of = |world: &str| {
        let head: Value =
            serde_json::from_str(world.lines().next().expect("a head")).expect("JSON");
        head["estate"].clone()
    };
    // What RDS calls an instance of its own accord is in no estate.
    let identity = |world: &str| {
        let lines = world.lines().map(|line| serde_json::from_str::<Value>(line).expect("JSON"));
        let mut replicas =
            lines.filter(|line| line["type"] == "rds.instance" && line["region"] == "us-west-2");
        replicas.next().expect("the replica")["body"]["DbiResourceId"].clone()
    };
    let mut other_names = names(&estate_of(&other), &estate_of(&world));
    other_names.extend(names(&identity(&other), &identity(&world)));
    for (name, text, put_back) in
        [("world.jsonl", &world, Names::new()), ("other.jsonl", &other, other_names)]
    {
        apart.write(name, text);
        let mut command = std::process::Command::new("unshare");
        command.args(["-n", "--", BINARY, "failover", "--region", "us-west-2", "--rehearse", name]);
        command.args(ANSWERS).current_dir(apart.path()).env_clear().envs(&apart.environment);
        command.stdin(std::process::Stdio::null());
        let ran = ran(command.output().expect("start it")).exits(0);
        assert!(ran.out.contains("restored and verified"), "{}", ran.out);
        rehearsals.push(decisions(&apart, &put_back));
    }
    folder.run(&live(&["--recovery-point", "replica"])).exits(0);
    let lived = decisions(&folder, &Names::new());
    assert_eq!(lived["questions"].as_array().map(Vec::len), Some(10), "{lived:#}");
    assert_eq!(lived["gave"]["recovery_point"]["method"], "promote", "{lived:#}");
    for (name, rehearsed) in ["captured", "under other names"].iter().zip(&rehearsals) {
        for (part, decided) in lived.as_object().expect("parts") {
            assert_eq!(&rehearsed[part], decided, "{name}: {part}");
        }
    }
}

/// A name that leads nowhere in its own world is told before anything begins, by whatever reads the world.
#[test]
fn a_world_whose_estate_names_what_it_does_not_have_is_refused_everywhere() {
    let folder = Folder::new();
    let world = std::fs::read_to_string("src/sandbox/worlds/phoenix.yaml").expect("a world");
    let wrong = world.replacen("subnet_group: phoenix-db-usw2", "subnet_group: phoenix-db-usw3", 1);
    assert_ne!(wrong, world);
    folder.write("w.yaml", &wrong);
    let rehearse = ["failover", "--region", "us-west-2", "--rehearse=w.yaml", "--yes"];
    for arguments in [&["world", "validate", "w.yaml"][..], &["world", "show", "w.yaml"], &rehearse]
    {
        let ran = folder.run(arguments).exits(2);
        for said in [
            "w.yaml:19:",
            "no rds.subnet_group `phoenix-db-usw3` in us-west-2",
            "`phoenix-db-usw2`?",
        ] {
            assert!(ran.err.contains(said), "{said}: {}", ran.err);
        }
        assert!(ran.out.is_empty(), "{}", ran.out);
    }
    assert!(folder.journals().is_empty(), "no rehearsal has begun");
}
