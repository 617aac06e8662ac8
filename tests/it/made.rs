//! Rehearsals in a world made from the names in an estate file, with the network taken away and traps beside every name.

use std::process::{Command, Stdio};

use super::estate::fresh;
use super::harness::{BINARY, Folder, Ran, flat, ran};
use super::rehearsal::ANSWERS;

/// Rehearses DR-001 on an estate file where not even loopback is up.
fn without_a_network(folder: &Folder, file: &str, more: &[&str]) -> Ran {
    let mut command = Command::new("unshare");
    command.args(["-rn", "--", BINARY, "failover", "--region", "us-west-2", "--estate", file]);
    command.arg("--rehearse").args(ANSWERS).args(more).current_dir(folder.path()).env_clear();
    command.envs(&folder.environment).stdin(Stdio::null());
    let ran = ran(command.output().expect("start unshare"));
    assert!(
        !ran.err.starts_with("unshare:"),
        "this host allows no network namespaces, so that nothing is contacted cannot be shown: {}",
        ran.err
    );
    ran
}

/// Returns a command that would leave a file behind.
fn trap(folder: &Folder) -> String {
    format!("[touch, {}]", folder.path().join("sprung").display())
}

#[track_caller]
fn untouched(folder: &Folder) {
    assert!(!folder.path().join("sprung").exists(), "a command of the estate was run");
    let (_, events) = folder.journals().remove(0);
    let told = serde_json::to_string(&events).expect("JSON");
    assert!(!told.contains("touch"), "a command of the estate is in the journal");
}

#[test]
fn the_template_is_rehearsed_on_without_a_network() {
    let folder = Folder::new();
    folder.run(&["init"]).exits(0);
    let text = std::fs::read_to_string(folder.path().join("phoenix-dr.yaml")).expect("a template");
    let trap = trap(&folder);
    let set = [
        ("{ env: PHOENIX_DR_DATABASE_PASSWORD }", format!("{{ command: {trap} }}")),
        (
            "  application:\n",
            format!("  via: {{ command: {trap}, ready: \"127.0.0.1:9\" }}\n  application:\n"),
        ),
        (
            "{ context: eks-us-west-2 }",
            format!(
                "{{ context: eks-us-west-2, via: {{ command: {trap}, ready: \"127.0.0.1:9\" }} }}"
            ),
        ),
    ];
    let text = set.iter().fold(text, |text, (from, to)| {
        assert!(text.contains(from), "{from}");
        text.replacen(from, to, 1)
    });
    folder.write("mine.yaml", &text);
    let ran = without_a_network(&folder, "mine.yaml", &[]).exits(0);
    for said in ["restored and verified", "made from the names in mine.yaml", "Guessed"] {
        assert!(ran.out.contains(said), "{said}: {}", ran.out);
    }
    assert!(!ran.out.contains("left the simulation"), "{}", ran.out);
    for said in ["no secret is read", "guessed: the database: PostgreSQL"] {
        assert!(ran.err.contains(said), "{said}: {}", ran.err);
    }
    untouched(&folder);
    let backup = ["--accept-loss=1h"];
    let failover = text.replace("shape: weighted", "shape: failover");
    folder.write("mine.yaml", &failover.replace("  replica: { id", "  # replica: { id"));
    let ran = without_a_network(&folder, "mine.yaml", &backup);
    let said = flat(&ran.err);
    let ran = ran.exits(10);
    assert!(said.contains("there is no recovery point `replica`"), "{}", ran.err);
    assert!(said.contains("take one of: backup, snapshot"), "{}", ran.err);
    untouched(&folder);
}

#[test]
fn a_live_estates_own_file_is_rehearsed_on_and_the_estate_hears_nothing() {
    let estate = fresh("{}");
    let folder = estate.folder();
    let before = estate.get("/requests").as_array().map_or(0, Vec::len);
    let ran = without_a_network(&folder, "phoenix-dr.yaml", &[]).exits(0);
    assert!(ran.out.contains("restored and verified"), "{}", ran.out);
    assert!(!ran.out.contains("left the simulation"), "{}", ran.out);
    assert!(ran.err.contains("without a failover_object"), "{}", ran.err);
    // Where that is lost as well, a rehearsal says so before anything else would.
    let ran =
        without_a_network(&folder, "phoenix-dr.yaml", &["--inject=dark@route53,region=us-east-1"]);
    assert_eq!(ran.exit, 10, "{}", ran.out);
    // With the network there, it is not used either.
    let mut arguments =
        vec!["failover", "--region", "us-west-2", "--rehearse", "--estate", "phoenix-dr.yaml"];
    arguments.extend(ANSWERS);
    folder.run(&arguments).exits(0);
    assert_eq!(estate.get("/requests").as_array().map_or(0, Vec::len), before);
}

#[test]
fn an_estate_that_lies_about_is_offered_and_not_taken() {
    let folder = Folder::new();
    folder.write("phoenix-dr.yaml", "estate: [broken");
    let mut arguments = vec!["failover", "--region", "us-west-2", "--rehearse"];
    arguments.extend(ANSWERS);
    folder.run(&arguments).exits(0).says("--estate phoenix-dr.yaml");
}
