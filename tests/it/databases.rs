//! The old primary still answers while the rest of its region is silent.

use super::dr001::{quick, quick_folder};
use super::estate::{Lent, fresh};
use super::harness::of_step;

/// An estate whose lost region is silent but for its database, where the application still writes.
fn only_the_database_answers(options: &str) -> Lent {
    let estate = fresh(options);
    for endpoint in ["us-east-1.api", "us-east-1.rds", "us-east-1.s3", "us-east-1.sts"] {
        estate.dark(endpoint, true);
    }
    estate
}

#[test]
fn an_old_primary_in_reach_is_fenced_and_a_write_there_fails() {
    let estate = only_the_database_answers(r#"{"primary_up": true, "transition_seconds": 0.3}"#);
    let folder = quick_folder(&estate);
    let ran = folder.run(&quick(&[])).exits(0);
    let (_, events) = folder.journals().remove(0);
    assert_eq!(of_step(&events, "step_finished", "fence")[0]["end"], "done", "{}", ran.err);
    let attempt = of_step(&events, "attempt_finished", "fence")[0].to_string();
    assert!(attempt.contains("a write as phoenix_app failed"), "{attempt}");
    assert!(!ran.out.contains("unfenced-phoenix-prod"), "{}", ran.out);

    let databases = estate.world()["databases"].clone();
    assert_eq!(databases["phoenix-prod"]["application_may_log_in"], false);
    assert_eq!(databases["phoenix-dr-replica"]["application_may_log_in"], true);
    // Asked of the server itself: what was written before the fence is all there is.
    let set = estate
        .sql("phoenix-prod", "select setconfig::text from pg_db_role_setting where setrole = 0");
    assert_eq!(set, "{default_transaction_read_only=on}");
    let sessions = "select count(*) from pg_stat_activity where usename = 'phoenix_app'";
    assert_eq!(estate.sql("phoenix-prod", sessions), 0);
    let written = "select count(*) from experiment_events";
    let prod = estate.sql("phoenix-prod", written);
    assert!(prod.as_u64() <= estate.sql("phoenix-dr-replica", written).as_u64(), "{prod}");
}

#[test]
fn a_recovered_database_that_leads_to_the_old_one_is_not_taken_for_recovered() {
    let options = r#"{"primary_up": true, "restore_only": true, "transition_seconds": 0.3}"#;
    let estate = only_the_database_answers(options);
    let folder = quick_folder(&estate);
    let file = folder.path().join("phoenix-dr.yaml");
    let text = std::fs::read_to_string(&file).expect("the estate file");
    let old = &estate.about("endpoints")["us-east-1.database"];
    let address = format!("{}:{}", old["host"].as_str().expect("a host"), old["port"]);
    // As after a name or a port forward that nobody has changed: the recovered instance's address is the old one's.
    let mapped = format!("database:\n  addresses: {{ phoenix-recovered: '{address}' }}\n");
    assert!(text.contains("database:\n"));
    std::fs::write(&file, text.replacen("database:\n", &mapped, 1)).expect("write");
    let before = estate.world();
    let ran = folder.run(&quick(&["--accept-loss", "1h"]));
    assert_ne!(ran.exit, 0, "{}", ran.out);
    let (_, events) = folder.journals().remove(0);
    let mut failed = events.iter().filter(|event| event["kind"] == "step_failed");
    let why = failed.find(|event| event.to_string().contains("leads to the lost database"));
    assert!(why.is_some(), "that is what it fails by: {}", ran.err);
    for end in of_step(&events, "step_finished", "database") {
        assert_ne!(end["end"], "done", "{}", ran.err);
    }
    for step in ["repoint", "traffic"] {
        assert!(of_step(&events, "step_started", step).is_empty(), "{step}: {}", ran.err);
    }
    let after = estate.world();
    assert_eq!((&after["weights"], &after["secret"]), (&before["weights"], &before["secret"]));
}
