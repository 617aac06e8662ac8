//! The last lines of runs that ended in different ways.

use std::sync::Arc;

use super::*;
use crate::event::{Answer, AnswerForm, AttemptResult, QuestionKey, RevertResult, RollbackScope};
use crate::report::fixtures::{
    Script, at, candidates, failure, obligation, question, quorum, run_id, zone,
};

fn approve() -> QuestionKey {
    QuestionKey::Approve { step: "database".into(), digest: "d1".to_owned() }
}

/// DR-001 to its end, with a person who lets it wait for four minutes.
fn restored(exit: u8) -> Script {
    let choice = question(
        QuestionKey::Choice { step: "recovery_point".into(), among: String::new() },
        AnswerForm::Candidates { candidates: candidates(), loss_max: None, best: None },
    );
    let chose = Answer::Chosen { id: "replica".to_owned() };
    Script::started()
        .end("02:18:05", "primary_down", StepEnd::Done)
        .ask("02:18:10", "02:19:10", choice, chose)
        .done("02:19:10", "02:19:10", "recovery_point")
        .event(
            "02:19:12",
            Event::ObligationOpened { step: Some("fence".into()), obligation: obligation() },
        )
        .end("02:19:12", "fence", StepEnd::Waived)
        .end("02:19:12", "restore", StepEnd::Skipped)
        // One minute of the four is spent while capacity is being made.
        .start("02:19:00", "capacity")
        .event(
            "02:21:00",
            Event::Asked { question: Box::new(question(approve(), AnswerForm::YesNo)) },
        )
        .perform("02:22:00", "capacity")
        .end("02:22:00", "capacity", StepEnd::Done)
        .event("02:25:00", Event::Decided { question: approve(), answer: Answer::Yes })
        .done("02:25:00", "02:36:00", "database")
        .done("02:36:00", "02:38:00", "repoint")
        .done("02:38:00", "02:41:00", "traffic")
        .done("02:41:00", "02:44:00", "p1")
        .event("02:44:10", Event::RunVerified { verdict: Verdict::Holds, reports: vec![quorum()] })
        .event("02:44:10", Event::RunFinished { end: RunEnd::WithExceptions, exit })
}

fn text_of(script: &Script) -> String {
    let summary = of(&script.records, at("03:00:00")).expect("a run");
    let lines = lines(&summary, 80, &zone());
    for line in &lines {
        assert!(text::width(line) <= 80, "{line}");
    }
    lines.join("\n")
}

#[test]
fn nothing_is_lost_before_a_database_is_recovered() {
    let whole = restored(7);
    let before = |kind: &str| {
        let at = whole.records.iter().position(|record| match &record.event {
            Event::StepStarted { step, .. } => kind == step.0,
            _ => false,
        });
        let records = whole.records[..at.expect("it begins")].to_vec();
        let stopped = Event::RunStopped { why: "SIGINT".to_owned(), exit: 13 };
        text_of(&Script { records }.event("02:50:00", stopped))
    };
    let chosen = before("database");
    assert!(chosen.contains("Data loss      none yet; chosen: 7 s of 5 min"), "{chosen}");
    let recovered = before("repoint");
    assert!(recovered.contains("Data loss      7 s of 5 min"), "{recovered}");
}

/// Makes a step of a plan one of another kind.
fn made(script: &mut Script, step: &str, action: &str, with: serde_json::Value) {
    let Event::RunStarted { plan, .. } = &mut script.records[0].event else { panic!("first") };
    let steps = &mut Arc::make_mut(plan).steps;
    let planned = steps.iter_mut().find(|planned| planned.id.0 == step).expect("a step");
    let serde_json::Value::Object(with) = with else { panic!("arguments") };
    planned.body = Body::Action { action: action.to_owned(), with };
}

/// A step that finds of when the newest record is.
fn found(script: Script, clock: &str, step: &str, newest: &str, end: StepEnd) -> Script {
    let outputs = serde_json::json!({ "newest": newest }).as_object().cloned();
    let result = AttemptResult::Performed {
        after: serde_json::Value::Null,
        outputs: outputs.expect("outputs"),
        notes: Vec::new(),
    };
    let (step, with) = (StepId::from(step), serde_json::Map::new());
    script
        .event(clock, Event::StepReady { step: step.clone(), with })
        .start(clock, &step.0)
        .event(clock, Event::AttemptFinished { step: step.clone(), attempt: 1, result })
        .end(clock, &step.0, end)
}

#[test]
fn the_newest_record_of_what_took_over_says_what_was_lost() {
    let mut script = Script::started();
    // What is looked at before the choice says nothing of what is lost.
    made(&mut script, "fence", "postgres.prove", serde_json::json!({}));
    made(&mut script, "restore", "postgres.prove", serde_json::json!({}));
    made(&mut script, "repoint", "postgres.prove", serde_json::json!({}));
    let choice = question(
        QuestionKey::Choice { step: "recovery_point".into(), among: String::new() },
        AnswerForm::Candidates { candidates: candidates(), loss_max: None, best: None },
    );
    let chose = Answer::Chosen { id: "replica".to_owned() };
    let script = found(script, "02:18:05", "fence", "2026-07-14T02:11:00Z", StepEnd::Done);
    let chosen = Event::StepStarted {
        step: "recovery_point".into(),
        attempt: 1,
        generation: 0,
        token: "t".to_owned(),
        before: serde_json::Value::Null,
        desired: serde_json::Value::Null,
        digest: "d1".to_owned(),
        irreversible: None,
        choice: candidates().into_iter().next(),
    };
    let script = script
        .ask("02:18:10", "02:19:10", choice, chose)
        .event("02:19:10", chosen)
        .perform("02:19:10", "recovery_point")
        .end("02:19:10", "recovery_point", StepEnd::Done)
        .done("02:25:00", "02:36:00", "database");
    let estimated = text_of(&script);
    assert!(
        estimated.contains("Data loss      7 s of 5 min, at most 30 min; replica"),
        "{estimated}"
    );
    // What failed says nothing.
    let script = found(script, "02:37:00", "restore", "2026-07-14T02:00:00Z", StepEnd::Failed);
    assert_eq!(text_of(&script).matches("newest record").count(), 0);
    let script = found(script, "02:38:00", "restore", "2026-07-14T02:03:10Z", StepEnd::Done);
    // What is found once the application writes is not from before the incident.
    let script = found(script, "02:39:00", "repoint", "2026-07-14T02:38:59Z", StepEnd::Done);
    let summary = of(&script.records, at("03:00:00")).expect("a run");
    let loss = summary.loss.expect("a loss");
    let lost = loss_line(&loss);
    assert_eq!(
        lost,
        "9 min of 5 min, at most 30 min, over the objective; replica phoenix-dr-replica; newest record \
         2026-07-14 02:03:10 UTC, 9 min before the incident: at most that is lost; estimated 7 s"
    );
    let told = serde_json::to_value(&loss).expect("JSON");
    assert_eq!(
        (&told["newest"], &told["estimated"]),
        (&"2026-07-14T02:03:10Z".into(), &"7s".into())
    );
}

#[test]
fn a_restored_run_ends_like_this() {
    insta::assert_snapshot!(text_of(&restored(7)), @r#"
    Result         completed with exceptions (exit 7)
                   DR-001 Regional failover · LIVE · estate phoenix · run 7F3A ·
                   02:18 to 02:44 UTC (19:44 PDT)
    Restored       P0 0:29 of 0:30 · P1 0:32 of 1:00 · verified 0:32
    Data loss      7 s of 5 min, at most 30 min; replica phoenix-dr-replica
    Time           0:32 since the incident began: 3m 50s waiting for people, 22m 00s
                   for the cloud
    Not done       fence: Fence the old primary (gone on without it)
    Changed        capacity: Get P0 capacity in us-west-2
                   database: Bring the database up in us-west-2
                   repoint: Point the application at the recovered database
                   traffic: Move traffic to us-west-2
                   p1: Restore P1 services
    Still changed  all of that
    Open           unfenced-phoenix-prod: The old primary phoenix-prod is not fence…
                   how each is closed: phoenix-dr status 7F3A
    Next           phoenix-dr status 7F3A # shows what is open and looks whether it
                   is closed
                   phoenix-dr report 7F3A # writes what happened, for the incident's
                   record
    "#);
}

#[test]
fn a_run_whose_revert_failed_ends_like_this() {
    let reverted = |script: Script, clock: &str, step: &str, result| {
        script
            .event(clock, Event::RevertStarted { step: step.into(), attempt: 1 })
            .event(clock, Event::RevertFinished { step: step.into(), result })
    };
    let script = Script::started()
        .done("02:19:00", "02:19:30", "fence")
        .start("02:19:00", "capacity")
        .fail("02:22:00", "capacity")
        .event(
            "02:23:00",
            Event::RollbackStarted { why: "capacity failed".to_owned(), scope: RollbackScope::Run },
        );
    let conflict = RevertResult::Conflict { before: 1.into(), ours: 5.into(), now: 7.into() };
    let script = reverted(script, "02:23:10", "capacity", conflict);
    let script = reverted(script, "02:23:20", "fence", RevertResult::Reverted)
        .end("02:23:20", "p1", StepEnd::NotRun)
        .event("02:23:30", Event::RunStopped { why: "capacity: not undone".to_owned(), exit: 6 });
    insta::assert_snapshot!(text_of(&script), @r#"
    Result         stopped, can be resumed: capacity: not undone (exit 6)
                   DR-001 Regional failover · LIVE · estate phoenix · run 7F3A ·
                   02:18 to 02:23 UTC (19:23 PDT)
    Restored       P0 NOT · P1 NOT · not verified as a whole
    Time           0:12 since the incident began: 0s waiting for people, 3m 00s for
                   the cloud
    Not done       capacity: Get P0 capacity in us-west-2 (failed: pods of
                   phoenix-system/phoenix-api are not ready: 3 of 5, two are
                   Pending: 0/6 nodes are available,…)
                   p1: Restore P1 services (never started)
    Changed        fence: Fence the old primary (undone since)
                   capacity: Get P0 capacity in us-west-2 (could not be undone)
    Still changed  capacity: Get P0 capacity in us-west-2
    Open           nothing
    Next           phoenix-dr resume 7F3A # goes on with the rollback
                   phoenix-dr status 7F3A # shows where it stands
    "#);
}

#[test]
fn time_for_people_and_for_the_cloud_are_apart() {
    let summary = of(&restored(7).records, at("03:00:00")).expect("a run");
    // 02:18:10-02:19:00 before capacity starts, and 02:22-02:25.
    assert_eq!(summary.waited_for_people, Span::seconds(50 + 180));
    assert_eq!(summary.waited_for_cloud, Span::seconds(180 + 19 * 60));
    assert_eq!(summary.until, at("02:44:10"), "a run that ended does not grow older");
}

#[test]
fn objectives_missed_are_said() {
    let mut script = restored(11);
    let Event::RunStarted { plan, incident_started, .. } = &mut script.records[0].event else {
        panic!("the first record")
    };
    *incident_started = at("01:12:00");
    let plan = Arc::make_mut(plan);
    plan.objectives.rpo = Span::seconds(5);
    plan.objectives.rpo_max = Span::seconds(6);
    let text = text_of(&script).split_whitespace().collect::<Vec<_>>().join(" ");
    for said in ["maximum was exceeded", "P0 1:29 of 0:30 LATE", "MORE THAN ALLOWED"] {
        assert!(text.contains(said), "{said}\n{text}");
    }
}

#[test]
fn the_next_command_fits_how_it_ended() {
    let next = |script: Script| {
        let summary = of(&script.records, at("03:00:00")).expect("a run");
        summary.next.iter().map(|(command, _)| command.clone()).collect::<Vec<_>>()
    };
    let stop = |script: Script| {
        script.event("02:30:00", Event::RunStopped { why: "SIGTERM".to_owned(), exit: 13 })
    };
    let finish = |end| Script::started().event("02:30:00", Event::RunFinished { end, exit: 4 });
    let changed = || Script::started().done("02:19:00", "02:19:30", "fence");
    assert_eq!(
        next(stop(changed())),
        ["phoenix-dr resume 7F3A", "phoenix-dr rollback 7F3A", "phoenix-dr status 7F3A"]
    );
    for (why, command) in [
        ("--yes or --approve database", "phoenix-dr resume 7F3A --approve database"),
        ("--waive fence=unfenced", "phoenix-dr resume 7F3A --waive fence=unfenced"),
        (
            "--recovery-point ID, one of replica, backup",
            "phoenix-dr resume 7F3A --recovery-point ID",
        ),
        ("--answers FILE with `manual.x`: yes or no", "phoenix-dr resume 7F3A --answers FILE"),
        ("another answer for `x` to the answers file: yes", "phoenix-dr resume 7F3A"),
    ] {
        let why = format!("an answer is needed: {why}");
        let script = changed().event("02:30:00", Event::RunStopped { why, exit: 8 });
        assert_eq!(next(script)[0], command);
    }
    // Whoever does not want to lose that much takes another recovery point.
    let why = "an answer is needed: --accept-loss 2h7m".to_owned();
    let script = Script::started().event("02:30:00", Event::RunStopped { why, exit: 8 });
    assert_eq!(
        next(script)[..2],
        ["phoenix-dr resume 7F3A --accept-loss 2h7m", "phoenix-dr resume 7F3A --recovery-point ID"]
    );
    // Nothing to undo, or nothing that may be: resume is all there is.
    assert_eq!(next(stop(Script::started())), ["phoenix-dr resume 7F3A", "phoenix-dr status 7F3A"]);
    let mut sealed = changed().done("02:24:00", "02:25:00", "database");
    let Event::RunStarted { plan, .. } = &mut sealed.records[0].event else { panic!("first") };
    let steps = &mut Arc::make_mut(plan).steps;
    let database = steps.iter_mut().find(|step| step.id.0 == "database").expect("database");
    database.point_of_no_return = true;
    assert_eq!(next(stop(sealed)), ["phoenix-dr resume 7F3A", "phoenix-dr status 7F3A"]);
    // A process that was lost left no ending.
    assert_eq!(next(changed())[0], "phoenix-dr resume 7F3A");
    assert_eq!(
        next(finish(RunEnd::NotStarted)),
        ["phoenix-dr failover --region us-west-2", "phoenix-dr audit 7F3A"]
    );
    let abandoned = Event::RunAbandoned {
        reason: "finished by hand".to_owned(),
        still_changed: vec!["fence".into()],
    };
    let script = changed().event("02:30:00", abandoned);
    assert_eq!(next(script), ["phoenix-dr audit 7F3A"]);
    assert_eq!(next(restored(0)), ["phoenix-dr status 7F3A", "phoenix-dr report 7F3A"]);
}

#[test]
fn no_records_no_summary() {
    assert!(of(&[], at("03:00:00")).is_none());
    assert_eq!(of(&restored(0).records, at("03:00:00")).map(|summary| summary.run), Some(run_id()));
}

#[test]
fn a_long_list_of_steps_leaves_the_next_command_in_view() {
    let mut summary = of(&restored(0).records, at("03:00:00")).expect("a run");
    let step = summary.changed[0].clone();
    summary.changed = vec![step; 1000];
    let lines = lines(&summary, 80, &zone());
    assert!(lines.len() < 60, "{}", lines.len());
    assert!(lines.iter().any(|line| line.contains("and 980 more steps: phoenix-dr status 7F3A")));
}

#[test]
fn a_failed_step_that_was_undone_is_no_change_that_stays() {
    let reverted = RevertResult::Reverted;
    let script = Script::started()
        .start("02:19:00", "capacity")
        .perform("02:20:00", "capacity")
        .event("02:22:00", Event::StepFailed { step: "capacity".into(), error: failure() })
        .event("02:23:00", Event::RevertStarted { step: "capacity".into(), attempt: 1 })
        .event("02:24:00", Event::RevertFinished { step: "capacity".into(), result: reverted })
        .end("02:24:00", "capacity", StepEnd::Failed)
        .event("02:24:01", Event::RunFinished { end: RunEnd::RolledBack, exit: 5 });
    let summary = of(&script.records, at("02:25:00")).expect("a run");
    assert!(summary.still_changed.is_empty(), "{:?}", summary.still_changed);
    assert_eq!(summary.changed[0].said, "undone since");
    assert!(summary.not_done[0].said.starts_with("failed: "), "{:?}", summary.not_done);
}
