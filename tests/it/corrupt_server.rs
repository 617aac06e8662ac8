//! DR-002 where a base backup is chosen: a server made of it takes over from the one whose pages were overwritten.

use serde_json::json;

use super::corrupt::{allow, application_writes, came_before, damage, settings};
use super::estate::{Estate, fresh};
use super::harness::of_step;
use super::point_in_time::{Checksums, Place};

const OPTIONS: &str = r#"{"primary_up": true}"#;
/// How a run ends all of whose changes were taken back.
const ROLLED_BACK: i32 = 5;

pub(super) const ANSWERS: [&str; 13] = [
    "database",
    "--recovery-point",
    "base:sunday",
    "--unverified",
    "true",
    "--waive",
    "evidence=no-evidence",
    "--approve",
    "decide,repoint",
    "--accept-loss",
    "1d",
    "--yes",
    "--non-interactive",
];

/// What a resume of it is told.
pub(super) const RESUME: [&str; 10] = [
    "--recovery-point",
    "base:sunday",
    "--waive",
    "evidence=no-evidence",
    "--approve",
    "decide,repoint",
    "--accept-loss",
    "1d",
    "--yes",
    "--non-interactive",
];

/// Holds that the application is on the restored server, and the damaged one closed.
pub(super) fn taken_over(estate: &Estate, place: &Place) {
    assert_eq!(place.names(), ["data"]);
    assert_eq!(place.sql(estate, "select count(*) from experiments"), "500");
    let sessions = "select count(*) > 0 from pg_stat_activity where usename = 'phoenix_app'";
    assert_eq!(place.sql(estate, sessions), "t", "the application is connected to it");
    // Nobody writes to the damaged one any more, and what it holds is still there.
    let closed = "select has_database_privilege('phoenix_app', 'phoenix', 'CONNECT')";
    assert_eq!(estate.sql("phoenix-prod", closed), false);
}

#[test]
fn a_server_made_of_a_base_backup_takes_over_from_a_damaged_one() {
    let estate = fresh(OPTIONS);
    // The primary's cluster: the application that is pointed at the new server runs there.
    estate.dark("us-east-1.kubernetes", false);
    allow(&estate);
    let place = Place::of(&estate);
    damage(&estate);
    let folder = place.folder(&estate);
    folder.run(&[&ANSWERS[..], &["--dry-run"]].concat()).exits(0);
    // What comes long after the restore is looked at before it begins.
    let elsewhere = place.folder(&estate);
    let file = elsewhere.path().join("phoenix-dr.yaml");
    let text = std::fs::read_to_string(&file).expect("the estate file");
    std::fs::write(&file, text.replace("name: phoenix-db", "name: phoenix-db-2")).expect("written");
    let refused = elsewhere.run(&ANSWERS).exits(10);
    assert!(refused.said().contains("phoenix-db-2"), "{}", refused.said());
    assert_eq!(place.names(), [""; 0], "a dry run makes nothing");
    let done = folder.run(&ANSWERS).exits(0);
    let (_, events) = folder.journals().remove(0);
    for step in ["restore", "prove", "cut_over"] {
        assert_eq!(of_step(&events, "step_finished", step)[0]["end"], "skipped", "{step}");
    }
    for step in ["restore_server", "prove_server", "repoint", "application", "deep"] {
        assert_eq!(of_step(&events, "step_finished", step)[0]["end"], "done", "{step}");
    }
    taken_over(&estate, &place);
    // Gone without by the word, which came before the fence and stays open.
    let owed = events.iter().position(|event| {
        event["kind"] == "obligation_opened"
            && event["step"] == "evidence"
            && event["obligation"]["id"] == json!("no-evidence-phoenix-prod")
    });
    let fence =
        events.iter().position(|event| event["kind"] == "step_started" && event["step"] == "fence");
    assert!(owed.expect("it is owed") < fence.expect("it is fenced"));
    came_before(&events, ("step_finished", "evidence"), ("step_started", "fence"));
    let open = folder.run(&[""; 0]);
    assert!(open.said().contains("no-evidence-phoenix-prod"), "{}", open.said());
    assert!(done.said().contains("no-evidence-phoenix-prod"), "{}", done.said());
    place.clear();
}

#[test]
fn a_base_backup_with_the_damage_in_it_is_removed_and_the_database_opened_again() {
    let estate = fresh(OPTIONS);
    estate.dark("us-east-1.kubernetes", false);
    allow(&estate);
    damage(&estate);
    // Nobody looked at what was copied.
    let place = Place::with(&estate, Checksums::NotVerified);
    let folder = place.folder(&estate);
    let before = settings(&estate);
    let ended = folder.run(&ANSWERS).exits(ROLLED_BACK);
    assert!(ended.said().contains("public.experiments"), "{}", ended.said());
    let (_, events) = folder.journals().remove(0);
    assert_eq!(of_step(&events, "step_finished", "restore_server").len(), 1, "it was restored");
    let proved = of_step(&events, "attempt_finished", "prove_server")[0].to_string();
    assert!(proved.contains(r#""damaged_tables":["public.experiments"]"#), "{proved}");
    assert!(of_step(&events, "step_started", "repoint").is_empty(), "and never used");
    assert_eq!(place.names(), [""; 0], "the restored server is removed");
    assert_eq!(settings(&estate), before, "and the damaged database opened as it was");
    application_writes(&estate);
}
