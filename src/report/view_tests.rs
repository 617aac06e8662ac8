//! The fold of what is shown, and the forecast made from it.

use std::time::Duration;

use super::*;
use crate::estate::types::Priority;
use crate::outcome::FailureClass;
use crate::plan::PlannedStep;
use crate::report::fixtures::{Script, at, candidates, failure, plan, question};
use crate::report::forecast::{Assume, Network, Outlook};
use crate::span::Span;

fn outlook(view: &ViewState, assume: &Assume, clock: &str) -> Outlook {
    let network = Network::new(view.plan.as_ref().expect("plan"));
    network.outlooks(view, assume, at(clock)).remove(&Priority::P0).expect("P0 steps")
}

fn ahead(earliest: &str, latest: &str) -> Outlook {
    Outlook::Ahead { earliest: at(earliest), latest: at(latest), measured: true }
}

#[test]
fn a_step_goes_through_its_states() {
    let script = Script::started();
    let id = StepId::from("capacity");
    let look = |script: &Script| ViewState::fold(&script.records).steps[&id].clone();
    assert_eq!(look(&script).status, StepStatus::Waiting);
    assert!(!look(&script).in_place());

    let script = script.start("02:20:00", "capacity");
    assert_eq!(look(&script).status, StepStatus::Running);
    assert_eq!(
        look(&script).effect(),
        Effect::Unknown,
        "an open attempt may have changed anything"
    );
    assert!(look(&script).in_place());

    let script = script.perform("02:22:00", "capacity");
    assert_eq!(
        (look(&script).status, look(&script).effect()),
        (StepStatus::Verifying, Effect::Applied)
    );

    let script = script.end("02:23:02", "capacity", StepEnd::Done);
    let seen = look(&script);
    assert_eq!(seen.status, StepStatus::Ended(StepEnd::Done));
    assert_eq!((seen.started, seen.ended), (Some(at("02:20:00")), Some(at("02:23:02"))));

    let step = id.clone();
    let script = script
        .event("02:24:00", Event::RevertStarted { step: step.clone(), attempt: 1 })
        .event("02:24:30", Event::RevertFinished { step, result: RevertResult::Reverted });
    assert_eq!(look(&script).status, StepStatus::Reverted);
    assert!(!look(&script).in_place());
}

#[test]
fn a_failed_attempt_keeps_what_earlier_ones_changed() {
    let retry = ActionError::unchanged(FailureClass::Denied, "no permission");
    let again = Event::AttemptFinished {
        step: "capacity".into(),
        attempt: 2,
        result: AttemptResult::Failed { error: retry },
    };
    let script = Script::started()
        .start("02:20:00", "capacity")
        .fail("02:21:00", "capacity")
        .start("02:21:10", "capacity")
        .event("02:21:20", again);
    let view = ViewState::fold(&script.records);
    assert_eq!(view.steps[&"capacity".into()].effect(), Effect::Applied);
    assert_eq!(view.in_place(), [&StepId::from("capacity")]);

    let probed = Event::Probed {
        step: "capacity".into(),
        effect: Effect::None,
        live: serde_json::Value::Null,
        outputs: serde_json::Map::new(),
        said: "as before".to_owned(),
    };
    let view = ViewState::fold(&script.event("02:22:00", probed).records);
    assert_eq!(view.in_place(), Vec::<&StepId>::new());
}

#[test]
fn steps_that_only_look_are_never_still_changed() {
    let script = Script::started()
        .done("02:19:00", "02:19:10", "recovery_point")
        .done("02:19:10", "02:19:40", "fence");
    let view = ViewState::fold(&script.records);
    assert_eq!(view.in_place(), [&StepId::from("fence")]);
}

#[test]
fn the_choice_and_the_wait_for_it_are_seen() {
    let form = AnswerForm::Candidates {
        candidates: candidates(),
        loss_max: Some(Span::minutes(30)),
        best: None,
    };
    let key = QuestionKey::Choice { step: "recovery_point".into(), among: String::new() };
    let answer = Answer::Chosen { id: "backup".to_owned() };
    let script =
        Script::started().ask("02:18:10", "02:19:40", question(key.clone(), form.clone()), answer);
    let view = ViewState::fold(&script.records);
    assert_eq!(view.chosen.expect("chosen").id, "backup");
    assert_eq!(view.waits, [(at("02:18:10"), at("02:19:40"))]);
    assert!(view.open.is_none());

    let asked = Event::Asked { question: Box::new(question(key, form)) };
    let view = ViewState::fold(&Script::started().event("02:18:10", asked).records);
    assert_eq!(view.open.expect("open").since, at("02:18:10"));
    assert!(view.waits.is_empty(), "a question without an answer has no length yet");
}

#[test]
fn a_point_of_no_return_seals_unless_it_is_proved_to_have_changed_nothing() {
    let start = |effect| {
        let error = ActionError { effect, ..failure() };
        Script::started()
            .event(
                "02:24:00",
                Event::StepStarted {
                    step: "database".into(),
                    attempt: 1,
                    generation: 0,
                    token: String::new(),
                    before: serde_json::Value::Null,
                    desired: serde_json::Value::Null,
                    digest: String::new(),
                    irreversible: Some("a promoted replica cannot follow again".to_owned()),
                    choice: None,
                },
            )
            .event(
                "02:25:00",
                Event::AttemptFinished {
                    step: "database".into(),
                    attempt: 1,
                    result: AttemptResult::Failed { error },
                },
            )
    };
    for (effect, sealed) in
        [(Effect::None, false), (Effect::Unknown, true), (Effect::Applied, true)]
    {
        assert_eq!(ViewState::fold(&start(effect).records).sealed(), sealed, "{effect:?}");
    }
}

#[test]
fn the_forecast_is_the_longest_way_that_is_left() {
    // recovery_point 1m, then fence 30s or restore 40m; database 12m, repoint 2m, traffic 3m.
    let view = ViewState::fold(&Script::started().records);
    assert_eq!(outlook(&view, &Assume::default(), "02:18:00"), ahead("02:38:00", "03:16:00"));

    let mut assume = Assume::default();
    assume.skipped.insert("restore".into());
    assert_eq!(outlook(&view, &assume, "02:18:00"), ahead("02:38:00", "02:38:00"));
    assume.lengths.insert("database".into(), Span::minutes(20));
    assert_eq!(outlook(&view, &assume, "02:18:00"), ahead("02:46:00", "02:46:00"));

    let network = Network::new(&plan());
    let start = network.starts(&view, &assume, &"database".into(), at("02:18:00"));
    assert_eq!(start, Some(at("02:21:00")), "after capacity, the longest of what it needs");
}

#[test]
fn the_forecast_counts_what_is_done_and_how_far_the_rest_is() {
    let script = Script::started()
        .end("02:18:05", "primary_down", StepEnd::Done)
        .done("02:18:10", "02:19:00", "recovery_point")
        .end("02:19:00", "restore", StepEnd::Skipped)
        .done("02:19:00", "02:19:30", "fence")
        .start("02:18:10", "capacity");
    let view = ViewState::fold(&script.records);
    // Capacity usually takes 3 minutes and began at 02:18:10; 17 minutes follow.
    assert_eq!(outlook(&view, &Assume::default(), "02:20:10"), ahead("02:38:10", "02:38:10"));
    // It takes longer than usual: its end is not in the past.
    assert_eq!(outlook(&view, &Assume::default(), "02:30:00"), ahead("02:47:00", "02:47:00"));
}

#[test]
fn a_failure_or_a_rollback_blocks_the_forecast_and_the_end_is_exact() {
    let script = Script::started().start("02:18:10", "capacity").fail("02:20:00", "capacity");
    let view = ViewState::fold(&script.records);
    let by = Outlook::Blocked { by: "capacity".into() };
    assert_eq!(outlook(&view, &Assume::default(), "02:21:00"), by);

    let why = "capacity failed".to_owned();
    let script = Script::started()
        .event("02:21:00", Event::RollbackStarted { why, scope: crate::event::RollbackScope::Run });
    let view = ViewState::fold(&script.records);
    assert!(matches!(outlook(&view, &Assume::default(), "02:21:00"), Outlook::Blocked { .. }));

    let ends = ["primary_down", "recovery_point", "fence", "capacity", "restore", "database"];
    let mut script = Script::started();
    for step in ends {
        script = script.end("02:30:00", step, StepEnd::Done);
    }
    let script = script.end("02:32:00", "repoint", StepEnd::Satisfied).end(
        "02:35:10",
        "traffic",
        StepEnd::Marked,
    );
    let view = ViewState::fold(&script.records);
    let done = Outlook::Done { at: at("02:35:10") };
    assert_eq!(outlook(&view, &Assume::default(), "03:00:00"), done);
}

#[test]
fn a_chain_of_ten_thousand_steps_does_not_overflow() {
    let mut long = plan();
    let step = long.steps[2].clone();
    long.steps = (0..10_000)
        .map(|at| {
            let needs = (at > 0).then(|| StepId(format!("s{}", at - 1))).into_iter().collect();
            PlannedStep { id: StepId(format!("s{at}")), needs, ..step.clone() }
        })
        .collect();
    let script = Script::of(long, Mode::Live);
    let view = ViewState::fold(&script.records);
    let Outlook::Ahead { earliest, .. } = outlook(&view, &Assume::default(), "02:18:00") else {
        panic!("nothing has run")
    };
    assert_eq!(since(at("02:18:00"), earliest), Duration::from_secs(30 * 10_000));
}

#[test]
fn a_run_taken_up_again_has_a_gap_and_no_ending() {
    let stopped = Event::RunStopped { why: "SIGTERM".to_owned(), exit: 13 };
    let script = Script::started().event("02:20:00", stopped);
    let view = ViewState::fold(&script.records);
    assert_eq!(view.ending, Some(Ending::Stopped { why: "SIGTERM".to_owned(), exit: 13 }));
    let settings = match &script.records[0].event {
        Event::RunStarted { settings, .. } => settings.clone(),
        other => panic!("{other:?}"),
    };
    let resumed = Event::RunResumed { settings, version: "0.1.0".to_owned() };
    let view = ViewState::fold(&script.event("02:26:00", resumed).records);
    assert_eq!(view.ending, None);
    assert_eq!(view.gaps, [(at("02:20:00"), at("02:26:00"))]);
}

#[test]
fn a_loss_that_nobody_accepted_is_none_of_the_run_s() {
    let form = AnswerForm::Candidates { candidates: candidates(), loss_max: None, best: None };
    let choice = QuestionKey::Choice { step: "recovery_point".into(), among: String::new() };
    let [candidate, word, flag] = ["backup", "lose 42m", "--accept-loss 42m"].map(str::to_owned);
    let step = "recovery_point".into();
    let loss = QuestionKey::Loss { step, candidate, loss: Some(Span::minutes(42)) };
    for (answer, kept) in [
        (Answer::No, false),
        (Answer::Missing { flag }, false),
        (Answer::Typed { text: word.clone() }, true),
    ] {
        let chosen = Answer::Chosen { id: "backup".to_owned() };
        let asked = question(loss.clone(), AnswerForm::Type { word: word.clone() });
        let script = Script::started()
            .ask("02:18:10", "02:19:40", question(choice.clone(), form.clone()), chosen)
            .ask("02:19:40", "02:19:50", asked, answer.clone());
        let view = ViewState::fold(&script.records);
        assert_eq!(view.chosen.is_some(), kept, "{answer:?}");
    }
}
