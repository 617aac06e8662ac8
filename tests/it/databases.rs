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
    assert!(attempt.contains("a write by a new session failed"), "{attempt}");
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
