//! DR-002 where a base backup is chosen: a server made of it takes over from the one whose pages were overwritten.

use serde_json::json;

use super::corrupt::{INSTANCE, NOT_MET, allow, application_writes, came_before, damage, settings};
use super::estate::{Estate, Lent, fresh};
use super::harness::of_step;
use super::point_in_time::{Checksums, MAP, Place};

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
    // From before it takes over until all of it was read the proof is pending.
    let pending = "proof-pending-phoenix-on-phoenix-recovered";
    let at = |wanted: &dyn Fn(&serde_json::Value) -> bool| {
        events.iter().position(wanted).expect("it was recorded")
    };
    let opened = at(&|event| {
        event["kind"] == "obligation_opened" && event["obligation"]["id"] == json!(pending)
    });
    let closed = at(&|event| event["kind"] == "obligation_closed" && event["id"] == json!(pending));
    let repointed = at(&|event| event["kind"] == "step_started" && event["step"] == "repoint");
    let read = at(&|event| event["kind"] == "step_started" && event["step"] == "deep");
    assert!(opened < repointed && repointed < read && read < closed, "{opened} {closed}");
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
    assert!(!open.said().contains(pending), "{}", open.said());
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

/// A restore point's name.
const POINT: &str = "before the release";

/// A damaged server with a base backup, a row before a restore point and one after it, and the WAL of all of that archived.
struct Released {
    estate: Lent,
    place: Place,
    /// An instant between the rows
    between: String,
}

/// Returns the arguments of a run for which any loss is accepted: where a name is in time only the log tells.
fn whatever_is_lost<'a>(more: &[&'a str]) -> Vec<&'a str> {
    let answers = ANSWERS.map(|word| if word == "1d" { "unknown" } else { word });
    [&answers[..], more].concat()
}

impl Released {
    fn open() -> Self {
        let estate = fresh(OPTIONS);
        estate.dark("us-east-1.kubernetes", false);
        allow(&estate);
        let place = Place::of(&estate);
        estate.sql(INSTANCE, "insert into pit values (10)");
        let now = r#"select to_char(clock_timestamp() at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"')"#;
        let between = estate.sql(INSTANCE, now).as_str().expect("an instant").to_owned();
        estate.sql(INSTANCE, &format!("select pg_create_restore_point('{POINT}')::text"));
        estate.sql(INSTANCE, "insert into pit values (11)");
        estate.sql(INSTANCE, "insert into pit values (12)");
        place.archive(&estate);
        damage(&estate);
        Self { estate, place, between }
    }

    /// Runs DR-002, which ends with `exit`, up to where the arguments say; holds that of the rows those before it are there
    /// and those after it are not.
    #[track_caller]
    fn goes_back(&self, arguments: &[&str], exit: i32) {
        let folder = self.place.folder(&self.estate);
        folder.run(&whatever_is_lost(arguments)).exits(exit);
        taken_over(&self.estate, &self.place);
        let rows = "select string_agg(id::text, ' ' order by id) from pit";
        assert_eq!(self.place.sql(&self.estate, rows), "1 2 3 10", "{arguments:?}");
        self.place.clear();
    }
}

#[test]
fn what_was_written_after_the_named_restore_point_is_absent_and_what_was_before_is_there() {
    let released = Released::open();
    let target = format!("name {POINT}");
    // Before anything is touched a name that is nowhere in the log is no way.
    let folder = released.place.folder(&released.estate);
    let before = settings(&released.estate);
    let refused = folder.run(&whatever_is_lost(&["--target", "name nowhere"])).exits(NOT_MET);
    assert!(refused.said().contains("nowhere"), "{}", refused.said());
    // Nor is an instant before the backup's own end or behind all there is of the log.
    for (target, said) in [
        ("time 2026-01-01T00:00:00Z", "base:sunday: it was complete only after"),
        ("time 2099-01-01T00:00:00Z", "its WAL ends before"),
    ] {
        let refused = folder.run(&whatever_is_lost(&["--target", target])).exits(NOT_MET);
        assert!(refused.said().contains(said), "{target}: {}", refused.said());
    }
    // Nor is there room for a backup that has more than any disk here: it takes none where it lies.
    released.place.grow(1 << 42);
    let refused = folder.run(&whatever_is_lost(&["--target", &target])).exits(NOT_MET);
    assert!(refused.said().contains(" free, and the restore needs 4096 GiB"), "{}", refused.said());
    assert_eq!(released.place.names(), [""; 0], "nothing was made");
    assert_eq!(settings(&released.estate), before);
    application_writes(&released.estate);
    released.place.grow(MAP);
    released.goes_back(&["--target", &target], 0);
}

#[test]
fn what_was_written_after_the_incident_is_absent_and_a_segment_missing_before_it_is_named_first() {
    let released = Released::open();
    released.goes_back(&["--since", &released.between], 0);
    // The same again without the segment in which the rows are: nothing is touched for what cannot be had.
    released.estate.post("/reset", OPTIONS);
    let place = Place::of(&released.estate);
    released.estate.dark("us-east-1.kubernetes", false);
    allow(&released.estate);
    let segments = {
        released.estate.sql(INSTANCE, "insert into pit values (10)");
        released.estate.sql(INSTANCE, "select pg_switch_wal()::text");
        released.estate.sql(INSTANCE, &format!("select pg_create_restore_point('{POINT}')::text"));
        place.archive(&released.estate)
    };
    let gone = &segments[segments.len() - 2];
    place.lose(gone);
    let folder = place.folder(&released.estate);
    let before = settings(&released.estate);
    let target = format!("name {POINT}");
    let refused = folder.run(&whatever_is_lost(&["--target", &target])).exits(NOT_MET);
    assert!(refused.said().contains(gone), "{gone}: {}", refused.said());
    assert_eq!(place.names(), [""; 0]);
    assert_eq!(settings(&released.estate), before);
}
