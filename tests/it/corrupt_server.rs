//! DR-002 where a base backup is chosen: a server made of it takes over from the one whose pages were overwritten.

use super::corrupt::{allow, damage};
use super::estate::fresh;
use super::harness::of_step;
use super::point_in_time::Place;

const ANSWERS: [&str; 13] = [
    "database",
    "--recovery-point",
    "base:sunday",
    "--unverified",
    "true",
    "--waive",
    "evidence=no-evidence",
    "--approve",
    "repoint",
    "--accept-loss",
    "1d",
    "--yes",
    "--non-interactive",
];

#[test]
fn a_server_made_of_a_base_backup_takes_over_from_a_damaged_one() {
    let estate = fresh(r#"{"primary_up": true}"#);
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
    assert_eq!(place.names(), ["data"]);
    assert_eq!(place.sql(&estate, "select count(*) from experiments"), "500");
    let sessions = "select count(*) > 0 from pg_stat_activity where usename = 'phoenix_app'";
    assert_eq!(place.sql(&estate, sessions), "t", "the application is connected to it");
    // Nobody writes to the damaged one any more, and what it holds is still there.
    let closed = "select has_database_privilege('phoenix_app', 'phoenix', 'CONNECT')";
    assert_eq!(estate.sql("phoenix-prod", closed), false);
    assert!(done.said().contains("no-evidence-phoenix-prod"), "{}", done.said());
    place.clear();
}
