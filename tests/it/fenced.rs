//! A region of which only a part is lost: the old primary answers, and is fenced by SQL in a rehearsal as in a live run.

use serde_json::Value;

use super::harness::{Folder, of_step};

const LOST: [&str; 4] =
    ["--inject", "dark@http,region=us-east-1", "--inject", "dark@rds,region=us-east-1"];

/// Nothing is waived: what cannot be fenced ends the rehearsal.
fn rehearsed(folder: &Folder, more: &[&str]) -> super::harness::Ran {
    let world = folder.world("captured.jsonl");
    let mut arguments = vec!["failover", "--region", "us-west-2", "--rehearse", world.as_str()];
    arguments.extend(LOST);
    arguments.extend(["--yes", "--approve=all", "--recovery-point=replica", "--non-interactive"]);
    arguments.extend(["--speed=max", "--on-failure=stop"]);
    arguments.extend(more);
    folder.run(&arguments)
}

#[test]
fn a_primary_that_answers_is_fenced_by_sql_and_a_write_on_it_fails() {
    let folder = Folder::new();
    let ran = rehearsed(&folder, &[]).exits(0);
    assert!(!ran.out.contains("left the simulation"), "{}", ran.out);
    let (_, events) = folder.journals().remove(0);
    let ends = of_step(&events, "step_finished", "fence");
    assert_eq!(ends.len(), 1, "{}", ran.err);
    assert_eq!(ends[0]["end"], "done", "{}", ran.err);
    let after = &of_step(&events, "attempt_finished", "fence")[0];
    let said = after.to_string();
    for role in ["phoenix_dr", "phoenix_app"] {
        let proof = format!("a write as {role} failed with SQLSTATE 25006");
        assert!(said.contains(&proof), "`{proof}` is not in {said}");
    }
    let left_open = events.iter().any(|event| {
        event["kind"] == "obligation_opened" && event.to_string().contains("unfenced-phoenix-prod")
    });
    assert!(!left_open, "what is fenced is not owed: {events:#?}");
    let promoted = of_step(&events, "step_finished", "database");
    assert_eq!(promoted[0]["end"], "done", "{}", ran.err);
    let dark = |event: &&Value| event["kind"] == "waived";
    assert_eq!(events.iter().filter(dark).count(), 0, "nothing was gone without");
}
