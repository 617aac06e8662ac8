//! Programs that end in every way, and what is told of them.

use super::*;
use crate::actions::{observe, perform, revert};
use crate::clients::testing;
use crate::outcome::Effect;
use crate::runbook::catalogue::actions::ActionName;

fn call(with: Value) -> Call {
    testing::call(ActionName::CommandRun, with).0
}

fn script(text: &str) -> Value {
    json!(["sh", "-c", text])
}

/// Returns a file in a fresh directory, and its name as the scripts write it.
fn mark() -> (tempfile::TempDir, String) {
    let directory = tempfile::tempdir().expect("a directory");
    let mark = directory.path().join("mark").display().to_string();
    (directory, mark)
}

#[test]
fn a_line_can_be_pasted_into_a_shell() {
    let argv = ["echo", "it's", "a b", "plain-1.2", ""].map(str::to_owned);
    assert_eq!(line(&argv), "echo 'it'\\''s' 'a b' plain-1.2 ''");
}

#[tokio::test]
async fn only_exit_0_is_success() {
    let (clients, armed) = testing::armed(json!({}));
    let good = call(json!({
        "argv": script("echo $GREETING $PHOENIX_DR_TOKEN; pwd"), "env": { "GREETING": "hello" }, "cwd": "/",
    }));
    let seen = observe(&clients, &good).await.expect("observed");
    assert!(!seen.satisfied && !seen.tells, "nothing tells whether it was done");
    let done = perform(&clients, &armed, &good, &seen).await.expect("performed");
    assert_eq!(done.outputs["stdout"], json!(format!("hello {}\n/\n", good.token())));
    assert_eq!((&done.outputs["exit"], &done.after), (&json!(0), &seen.desired));

    for (argv, effect) in [
        (script("echo half done >&2; exit 3"), Effect::Unknown),
        (script("kill -9 $$"), Effect::Unknown),
        (json!(["/nonexistent/program"]), Effect::None),
        (json!([]), Effect::None),
    ] {
        let bad = call(json!({ "argv": argv }));
        let error = perform(&clients, &armed, &bad, &seen).await.expect_err("it did not end well");
        assert_eq!((error.class, error.effect), (FailureClass::Invalid, effect), "{error}");
    }
}

#[tokio::test]
async fn the_guard_keeps_programs_from_running() {
    let (directory, mark) = mark();
    let (armed_clients, armed) = testing::armed(json!({}));
    let clients = testing::clients(json!({}));
    let touch = call(json!({
        "argv": ["touch", mark], "undo": ["touch", mark], "done_when": ["touch", mark],
    }));
    let seen = observe(&clients, &touch).await.expect("observed");
    assert!(!seen.tells && !seen.satisfied, "a dry run asks nothing");
    let error = perform(&clients, &armed, &touch, &seen).await.expect_err("refused");
    assert_eq!((error.class, error.effect), (FailureClass::Refused, Effect::None));
    let image = Image { before: seen.live.clone(), ours: seen.desired.clone(), now: seen.clone() };
    let error = revert(&clients, &armed, &touch, &image).await.expect_err("refused");
    assert_eq!(error.class, FailureClass::Refused);
    assert!(!directory.path().join("mark").exists(), "nothing was run");
    perform(&armed_clients, &armed, &touch, &seen).await.expect("performed");
    assert!(directory.path().join("mark").exists(), "an armed run may");
}

#[tokio::test]
async fn done_when_tells_and_undo_takes_back() {
    let (_directory, mark) = mark();
    let (clients, armed) = testing::armed(json!({}));
    let step = call(json!({
        "argv": ["touch", mark], "done_when": ["test", "-e", mark], "undo": ["rm", mark],
    }));
    let before = observe(&clients, &step).await.expect("observed");
    assert!(before.tells && !before.satisfied && before.differences.len() == 1);
    let done = perform(&clients, &armed, &step, &before).await.expect("performed");
    let now = observe(&clients, &step).await.expect("observed");
    assert!(now.satisfied && now.outputs["exit"] == 0, "a second run has nothing to do");
    let image = Image { before: before.live.clone(), ours: done.after, now };
    revert(&clients, &armed, &step, &image).await.expect("reverted");
    assert_eq!(observe(&clients, &step).await.expect("observed").live, before.live);
    // The file is gone: its second removal fails, and who knows what else it did.
    let error = revert(&clients, &armed, &step, &image).await.expect_err("rm fails");
    assert_eq!(error.effect, Effect::Unknown);

    let bare = call(json!({ "argv": ["true"] }));
    let error = revert(&clients, &armed, &bare, &image).await.expect_err("there is no undo");
    assert_eq!((error.class, error.effect), (FailureClass::Invalid, Effect::None));
    let doubt = call(json!({ "argv": ["true"], "done_when": script("exit 7") }));
    let error = observe(&clients, &doubt).await.expect_err("neither yes nor no");
    assert_eq!((error.class, error.effect), (FailureClass::Transient, Effect::None));
}

#[tokio::test]
async fn a_program_gets_no_credentials_and_its_output_is_kept() {
    let directory = tempfile::tempdir().expect("a directory");
    let (mut clients, armed) = testing::armed(json!({ "database": {
        "name": "phoenix",
        "primary": { "id": "p", "region": "us-east-1" },
        "recovered": { "id": "r" },
        // Set in every process, so that it can be seen to be taken away.
        "connection": { "user": "dr", "password_from": { "env": "CARGO_MANIFEST_DIR" } },
    } }));
    assert!(std::env::var_os("CARGO_MANIFEST_DIR").is_some());
    clients.masks.hide(&secrecy::SecretString::from("hunter2"));
    clients.artifacts = Some(directory.path().to_owned());
    let step = call(json!({ "argv": script("echo [$CARGO_MANIFEST_DIR] hunter2") }));
    let seen = observe(&clients, &step).await.expect("observed");
    let done = perform(&clients, &armed, &step, &seen).await.expect("performed");
    assert_eq!(done.outputs["stdout"], json!("[] ***\n"));
    let kept = std::fs::read_to_string(directory.path().join("step.log")).expect("kept");
    assert_eq!(kept, "[] ***\n");
}

#[tokio::test]
async fn a_dropped_attempt_ends_the_program_and_what_it_started() {
    let (directory, mark) = mark();
    let (clients, armed) = testing::armed(json!({}));
    let text = format!("sleep 600 & echo $! > {mark}.new; mv {mark}.new {mark}; wait");
    let step = call(json!({ "argv": script(&text) }));
    let seen = observe(&clients, &step).await.expect("observed");
    let path = directory.path().join("mark");
    let started = async {
        while !path.exists() {
            tokio::task::yield_now().await;
        }
    };
    // The loser is dropped in the middle of its work: that is what is tried here.
    tokio::select! {
        ended = perform(&clients, &armed, &step, &seen) => panic!("it ended: {ended:?}"),
        () = started => {}
    }
    let child = std::fs::read_to_string(&path).expect("reads");
    let stat = format!("/proc/{}/stat", child.trim());
    // Killed processes are reaped by init in their own time; a zombie no longer runs.
    while std::fs::read_to_string(&stat).is_ok_and(|state| !state.contains(") Z")) {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn a_secret_is_read_when_the_program_starts_and_hidden_in_what_it_says() {
    let directory = tempfile::tempdir().expect("a directory");
    let file = directory.path().join("secret");
    std::fs::write(&file, "c4nary-value\n").expect("write");
    let (clients, armed) = testing::armed(json!({}));
    let with = |file: &str| {
        call(json!({ "argv": script("echo \"it is $S\""), "env": { "S": { "file": file } } }))
    };
    let good = with(&file.display().to_string());
    let seen = observe(&clients, &good).await.expect("observed");
    let done = perform(&clients, &armed, &good, &seen).await.expect("performed");
    assert_eq!(done.outputs["stdout"], json!("it is ***\n"));
    let gone = with("/nonexistent/secret");
    let error = perform(&clients, &armed, &gone, &seen).await.expect_err("nothing was started");
    assert_eq!((error.class, error.effect), (FailureClass::Invalid, Effect::None), "{error}");
    assert!(error.message.contains("variable S") && error.hint.is_some(), "{error}");
}
