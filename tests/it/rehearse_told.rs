//! What is told of rehearsals afterwards: beside earlier ones, of a world of one's own, and of one that was given up.

use serde_json::Value;

use super::harness::{Folder, Ran, flat};
use super::rehearsal::ANSWERS;

fn rehearsed(folder: &Folder, world: &str, more: &[&str]) -> Ran {
    let mut arguments = vec!["failover", "--region", "us-west-2", world];
    arguments.extend(ANSWERS);
    arguments.extend(more);
    folder.run(&arguments)
}

fn debrief(folder: &Folder, world: &str, more: &[&str]) -> Value {
    let out = rehearsed(folder, world, &[more, &["--output=json"]].concat()).out;
    let found = out.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let mut found = found.filter(|line| line["format"] == "phoenix-dr/debrief");
    found.next_back().expect("a debrief")
}

/// Writes a world of the operator's own: the one that comes with the program, under another name.
pub(crate) fn own_world(folder: &Folder) -> String {
    let text = std::fs::read_to_string("src/sandbox/worlds/phoenix.yaml").expect("a world");
    let text = text.replacen("world: phoenix\n", "world: phoenix-two\n", 1);
    assert!(text.contains("world: phoenix-two"));
    folder.write("mine.yaml", &text).display().to_string()
}

#[test]
fn an_earlier_rehearsal_is_compared_with_where_it_began_alike() {
    let folder = Folder::new();
    rehearsed(&folder, "--rehearse", &["--seed=7"]).exits(0);
    let again = debrief(&folder, "--rehearse", &["--seed=7"]);
    let first = &again["earlier"][0];
    assert_eq!(first["differs"], serde_json::json!([]), "{first:#}");
    assert_eq!((&first["seed"], &first["exit"]), (&7.into(), &0.into()));
    assert_eq!(first["restored"], again["restored"]);
    assert_eq!(first["loss"], again["loss"]);
    assert_eq!(first["faults"], serde_json::json!(["dark,region=us-east-1"]));
    // What flags named beforehand is an answer, and none of what it began with.
    let other = debrief(&folder, "--rehearse", &["--inject=throttled@rds/Describe,times=2"]);
    assert_eq!(other["earlier"][0]["differs"], serde_json::json!(["faults"]));
    own_world(&folder);
    let own = debrief(&folder, "--rehearse=mine.yaml", &[]);
    let differs: Vec<&Value> =
        own["earlier"].as_array().expect("a list").iter().map(|one| &one["differs"]).collect();
    assert_eq!(differs[0], &serde_json::json!(["world", "faults"]));
    assert_eq!(differs[1], &serde_json::json!(["world"]));
    let text = rehearsed(&folder, "--rehearse", &[]).exits(0).out;
    assert!(text.contains("NOT COMPARABLE: another world"), "{text}");
}

#[test]
fn a_world_of_ones_own_is_told_with_its_file_wherever_it_is_told() {
    let folder = Folder::new();
    let file = own_world(&folder);
    let flown = rehearsed(&folder, "--rehearse=mine.yaml", &[]).exits(0);
    // A path is cut where the screen ends.
    let bare = |text: &str| text.split_whitespace().collect::<String>();
    let told = |screen: &str, text: &str| {
        let named = format!("`phoenix-two`of{file}");
        assert!(bare(text).contains(&named), "{screen}: {text}");
    };
    told("the log", &flown.err);
    told("the debrief", &flown.out);
    for command in ["status", "runs", "audit", "report"] {
        told(command, &folder.run(&[command]).exits(0).out);
    }
    let (_, events) = folder.journals().remove(0);
    assert_eq!(events[0]["world"], serde_json::json!({ "name": "phoenix-two", "file": file }));
    let runs = folder.run(&["runs", "--output=json"]).exits(0).out;
    let runs: Value = serde_json::from_str(&runs).expect("JSON");
    assert_eq!(runs["runs"][0]["world"]["file"], file.as_str());
    // The one that comes with the program has no file.
    let folder = Folder::new();
    rehearsed(&folder, "--rehearse", &[]).exits(0);
    let (_, events) = folder.journals().remove(0);
    assert_eq!(events[0]["world"], serde_json::json!({ "name": "phoenix" }));
}

#[test]
fn a_rehearsal_that_waits_is_not_given_up_in_silence() {
    let folder = Folder::new();
    folder.write("answers.yaml", "go: 'no'\n");
    let first = rehearsed(&folder, "--rehearse", &["--answers=answers.yaml"]).exits(13);
    assert!(!first.err.contains("is given up"), "{}", first.err);
    let (waits, _) = folder.journals().remove(0);
    let name = waits.file_name().expect("a name").to_string_lossy().into_owned();
    let short = &name[name.len() - 4..];
    let second = rehearsed(&folder, "--rehearse", &[]).exits(0);
    let said = flat(&second.err);
    let wanted = format!("REHEARSAL: run {short}, which waited, is given up for this one");
    assert!(said.contains(&wanted), "{}", second.err);
    assert!(said.contains("nothing real was touched"), "{}", second.err);
}
