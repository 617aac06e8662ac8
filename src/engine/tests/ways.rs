//! Choices between ways to do the same: what consent covers, and another way after one failed.

use super::runbooks::after;
use super::script::{Fault, Op, World};
use super::*;
use crate::event::{Answer, FailureChoice};
use crate::outcome::{Effect, FailureClass};

fn of(id: &str, needs: &[&str], name: &str, with: serde_json::Value) -> PlannedStep {
    let with = with.as_object().cloned().expect("an object");
    let body = Body::Action { action: name.to_owned(), with };
    PlannedStep { verify: Vec::new(), ..step(id, needs, body) }
}

/// A choice, what is done by it, and what uses that.
fn recovery() -> Plan {
    let point = serde_json::json!({ "point": "${{ steps.choose.outputs.point }}" });
    let told = serde_json::json!({ "address": "${{ steps.recover.outputs.address }}" });
    plan(vec![
        PlannedStep {
            changes: false,
            rollback: Rollback::None { why: "a choice changes nothing".to_owned() },
            ..of("choose", &[], "rds.choose_recovery_point", serde_json::json!({}))
        },
        action("beside", &["choose"]),
        of("recover", &["choose"], "rds.recover", point),
        of("repoint", &["recover"], "database.repoint", told),
    ])
}

fn failed(step: &str, failures: u32) -> QuestionKey {
    QuestionKey::Failure { step: step.into(), failures }
}

fn menu(choice: FailureChoice, outputs: &[(&str, &str)]) -> Answer {
    let outputs = outputs.iter().map(|(name, value)| ((*name).to_owned(), (*value).into()));
    Answer::Menu { choice, reason: Some("drill".to_owned()), outputs: outputs.collect() }
}

fn offered(world: &World, key: &QuestionKey) -> Vec<FailureChoice> {
    let asked = world.asked().into_iter().find(|question| question.key == *key);
    let AnswerForm::Menu { options } = asked.expect("a menu").form else { panic!("not a menu") };
    options.into_iter().map(|option| option.choice).collect()
}

#[test]
fn another_method_takes_back_the_first_and_chooses_among_the_rest() {
    for effect in [Effect::None, Effect::Applied] {
        let world = World::new();
        world.with(|w| w.reversible = true);
        world.strike("recover", Op::Perform, Fault::Fail(FailureClass::Invalid, effect), 1);
        world.answer(failed("recover", 1), menu(FailureChoice::Another, &[]));
        let ran = start(&world, recovery(), settings(true));
        assert!(world.all_hit());
        assert_eq!(ran.exit, Exit::Ok, "{effect:?}");
        let reverts = usize::from(effect == Effect::Applied);
        assert_eq!(world.count("revert recover"), reverts, "{effect:?}");
        assert_eq!(world.count("perform beside"), 1, "what does not rest on the choice stays");
        let choice = ran.step("choose").choice.as_ref().map(|choice| choice.id.as_str());
        assert_eq!(choice, Some("snapshot"), "the one that failed is not taken again");
        assert_eq!(ran.step("recover").generation, 1, "begun anew, it has another token");
        sound::nothing_doubled(&world, "another method");
    }
}

#[test]
fn another_method_is_taken_up_again_after_a_crash_at_each_record() {
    let world = World::new();
    world.with(|w| w.reversible = true);
    world.strike("recover", Op::Perform, Fault::Fail(FailureClass::Invalid, Effect::Applied), 1);
    world.answer(failed("recover", 1), menu(FailureChoice::Another, &[]));
    assert_eq!(start(&world, recovery(), settings(true)).exit, Exit::Ok);
    let whole = world.durable();
    for cut in 1..whole.len() {
        let world = after(&world, &whole, cut).remove(0);
        let ran = resume(&world, settings(true));
        assert_eq!(ran.exit, Exit::Ok, "cut at {cut}");
        sound::nothing_doubled(&world, &format!("cut at {cut}"));
    }
}

#[test]
fn another_method_is_offered_only_while_it_can_be() {
    // The promotion was requested and may have happened: no way leads back.
    let world = World::new();
    world.strike("recover", Op::Perform, Fault::Fail(FailureClass::Invalid, Effect::Applied), 1);
    start(&world, recovery(), settings(true));
    let ways = offered(&world, &failed("recover", 1));
    assert!(!ways.contains(&FailureChoice::Another) && !ways.contains(&FailureChoice::Rollback));

    // What was done cannot be taken back.
    let world = World::new();
    world.with(|w| w.reversible = true);
    world.strike("recover", Op::Perform, Fault::Fail(FailureClass::Invalid, Effect::Applied), 1);
    let mut plan = recovery();
    plan.steps[2].rollback = Rollback::None { why: "it stays".to_owned() };
    start(&world, plan, settings(true));
    assert!(!offered(&world, &failed("recover", 1)).contains(&FailureChoice::Another));

    // It did not fail by the choice.
    let world = World::new();
    world.strike("beside", Op::Perform, Fault::Fail(FailureClass::Invalid, Effect::None), 1);
    start(&world, recovery(), settings(true));
    assert!(!offered(&world, &failed("beside", 1)).contains(&FailureChoice::Another));
}

#[test]
fn a_revert_that_fails_on_the_way_to_another_method_goes_on_with_resume() {
    let world = World::new();
    world.with(|w| w.reversible = true);
    world.strike("recover", Op::Perform, Fault::Fail(FailureClass::Invalid, Effect::Applied), 1);
    world.strike("recover", Op::Revert, Fault::Fail(FailureClass::Denied, Effect::None), 1);
    world.answer(failed("recover", 1), menu(FailureChoice::Another, &[]));
    let key = QuestionKey::RevertFailure { step: "recover".into(), failures: 1 };
    world.answer(key, menu(FailureChoice::Stop, &[]));
    let ran = start(&world, recovery(), settings(true));
    assert!(world.all_hit());
    assert_eq!(ran.exit, Exit::NeedsOperator);
    let ran = resume(&world, settings(true));
    assert_eq!((ran.exit, ran.step("recover").generation), (Exit::Ok, 1));
}

#[test]
fn marking_done_needs_the_outputs_that_are_used() {
    let world = World::new();
    world.strike("recover", Op::Perform, Fault::Fail(FailureClass::Invalid, Effect::None), 1);
    world.answer(failed("recover", 1), menu(FailureChoice::MarkDone, &[]));
    let ran = start(&world, recovery(), settings(true));
    assert_eq!(ran.exit, Exit::NeedsAnswer, "an output is missing");
    let asked = world.asked().into_iter().find(|q| q.key == failed("recover", 1)).expect("a menu");
    let AnswerForm::Menu { options } = asked.form else { panic!("not a menu") };
    let wanted: Vec<Vec<String>> = options
        .into_iter()
        .filter(|option| option.choice == FailureChoice::MarkDone)
        .map(|option| option.outputs.into_iter().map(|output| output.name).collect())
        .collect();
    assert_eq!(wanted, [["address"]]);

    let world = World::new();
    world.strike("recover", Op::Perform, Fault::Fail(FailureClass::Invalid, Effect::None), 1);
    let given = [("address", "db:5432")];
    world.answer(failed("recover", 1), menu(FailureChoice::MarkDone, &given));
    let ran = start(&world, recovery(), settings(true));
    assert_eq!((ran.exit, ran.end("recover")), (Exit::Ok, Some(StepEnd::Marked)));
    assert_eq!(ran.step("repoint").with["address"], "db:5432");
}

#[test]
fn consent_to_a_loss_covers_no_larger_one_and_no_other_candidate() {
    let minutes = Span::minutes;
    for (candidate, before, later, asked_again) in [
        ("replica", Some(minutes(42)), Some(minutes(42)), false),
        ("replica", Some(minutes(42)), Some(minutes(40)), false),
        ("replica", Some(minutes(42)), Some(minutes(50)), true),
        ("replica", Some(minutes(42)), None, true),
        ("backup", Some(minutes(42)), Some(minutes(42)), true),
    ] {
        let world = World::new();
        world.with(|w| w.loss = before);
        start(&world, recovery(), settings(true));
        let accepted = world.durable().iter().position(|record| {
            matches!(record.event, Event::Decided { question: QuestionKey::Loss { .. }, .. })
        });
        let whole = world.durable();
        let world = after(&world, &whole, accepted.expect("it was accepted") + 1).remove(0);
        world.with(|w| {
            w.loss = later;
            // Another set of candidates is another choice.
            w.reversible = candidate == "backup";
        });
        assert_eq!(resume(&world, settings(true)).exit, Exit::ObjectiveMissed);
        let again =
            world.asked().iter().any(|question| matches!(question.key, QuestionKey::Loss { .. }));
        assert_eq!(again, asked_again, "{candidate}: {before:?} then {later:?}");
    }
}

fn loss_of(candidate: &str, loss: Span) -> QuestionKey {
    let (step, candidate) = ("choose".into(), candidate.to_owned());
    QuestionKey::Loss { step, candidate, loss: Some(loss) }
}

fn choices(world: &World) -> Vec<Vec<String>> {
    let usable = |question: Question| match question.form {
        AnswerForm::Candidates { candidates, .. } => Some(
            candidates
                .into_iter()
                .filter(|candidate| candidate.unusable.is_none())
                .map(|candidate| candidate.id)
                .collect(),
        ),
        _ => None,
    };
    world.asked().into_iter().filter_map(usable).collect()
}

fn chosen(ran: &Ran) -> Option<&str> {
    ran.step("choose").choice.as_ref().map(|choice| choice.id.as_str())
}

/// A world in which each recovery point loses more than is allowed.
fn losing() -> World {
    let world = World::new();
    world.with(|w| w.loss = Some(Span::minutes(42)));
    world
}

#[test]
fn what_the_restored_data_says_was_lost_counts_for_more_than_the_estimate() {
    let minutes = Span::minutes;
    for (estimated, before, exit) in [
        (minutes(42), Some(minutes(29)), Exit::Ok),
        (minutes(1), Some(minutes(31)), Exit::ObjectiveMissed),
        (minutes(1), Some(minutes(0)), Exit::Ok),
        (minutes(42), None, Exit::ObjectiveMissed),
        (minutes(1), None, Exit::Ok),
    ] {
        let world = World::new();
        let began = world.clock.now();
        let newest = before.map(|span| began.checked_sub(span.duration()).expect("an instant"));
        world.with(|w| (w.loss, w.newest) = (Some(estimated), newest));
        let mut plan = recovery();
        plan.steps.push(PlannedStep {
            changes: false,
            ..of("prove", &["recover"], "postgres.prove", serde_json::json!({}))
        });
        let ran = start(&world, plan, settings(true));
        assert_eq!(ran.exit, exit, "{estimated} was estimated, {before:?} found");
    }
}

#[test]
fn whoever_refuses_a_loss_chooses_among_the_others() {
    let world = losing();
    world.answer(loss_of("replica", Span::minutes(42)), Answer::No);
    let ran = start(&world, recovery(), settings(true));
    assert_eq!((ran.exit, chosen(&ran)), (Exit::ObjectiveMissed, Some("backup")));
    assert_eq!(
        choices(&world),
        [vec!["replica", "backup", "snapshot"], vec!["backup", "snapshot"]]
    );
    let whole = world.durable();
    for cut in 1..whole.len() {
        let world = after(&world, &whole, cut).remove(0);
        world.with(|w| w.loss = Some(Span::minutes(42)));
        let ran = resume(&world, settings(true));
        let end = (ran.exit, chosen(&ran));
        assert_eq!(end, (Exit::ObjectiveMissed, Some("backup")), "cut at {cut}");
    }
}

#[test]
fn a_choice_whose_loss_was_refused_is_made_anew_by_the_next_process() {
    let world = losing();
    world.answer_form_type(Answer::No);
    let ran = start(&world, recovery(), settings(true));
    assert_eq!((ran.exit, choices(&world).len()), (Exit::Stopped, 3), "until none is left");
    assert_eq!(world.count("perform choose"), 0);
    world.forget_answers();
    let ran = resume(&world, settings(true));
    assert_eq!(choices(&world).last().map(Vec::len), Some(3), "all of them can be taken again");
    assert_eq!(chosen(&ran), Some("replica"));
}

#[test]
fn nobody_to_accept_a_loss_leaves_the_choice_as_it_is() {
    let world = losing();
    world.answer_form_type(Answer::Missing { flag: "--accept-loss 42m".to_owned() });
    assert_eq!(start(&world, recovery(), settings(false)).exit, Exit::NeedsAnswer);
    world.forget_answers();
    let ran = resume(&world, settings(false));
    assert_eq!((chosen(&ran), choices(&world).len()), (Some("replica"), 1));
}

/// A process that is told to take the snapshot.
fn naming(world: &World) -> RunSettings {
    let among = "replica,backup,snapshot".to_owned();
    let key = QuestionKey::Choice { step: "choose".into(), among };
    world.answer(key, Answer::Chosen { id: "snapshot".to_owned() });
    RunSettings { recovery_point: Some("snapshot".to_owned()), ..settings(false) }
}

#[test]
fn another_recovery_point_can_be_named_until_one_was_begun() {
    // Before the loss is accepted, and once the choice is made but nothing came of it.
    let world = losing();
    world.answer_form_type(Answer::Missing { flag: "--accept-loss 42m".to_owned() });
    start(&world, recovery(), settings(false));
    world.forget_answers();
    let told = naming(&world);
    let ran = resume(&world, told);
    assert_eq!(chosen(&ran), Some("snapshot"));

    for (effect, taken, begun) in
        [(Effect::None, "snapshot", None), (Effect::Applied, "replica", Some("replica"))]
    {
        let world = World::new();
        world.strike("recover", Op::Perform, Fault::Fail(FailureClass::Invalid, effect), 1);
        world.answer(failed("recover", 1), menu(FailureChoice::Stop, &[]));
        let ran = start(&world, recovery(), settings(true));
        assert_eq!(ran.state.begun_with_another("snapshot"), begun, "{effect:?}");
        assert_eq!(ran.state.begun_with_another("replica"), None, "{effect:?}");
        let told = naming(&world);
        let ran = resume(&world, told);
        assert_eq!(chosen(&ran), Some(taken), "{effect:?}");
        assert_eq!(ran.end("recover"), Some(StepEnd::Done), "{effect:?}");
        sound::nothing_doubled(&world, "another point");
    }
}

#[test]
fn a_loss_is_typed_in_whole_minutes() {
    let world = World::new();
    world.with(|w| w.loss = "2h6m57s303ms".parse().ok());
    start(&world, recovery(), settings(true));
    let asked = world
        .asked()
        .into_iter()
        .find(|question| question.key == loss_of("replica", Span::minutes(127)));
    let AnswerForm::Type { word } = asked.expect("the loss").form else { panic!("not typed") };
    assert_eq!(word, "lose 2h7m");
}

#[test]
fn what_was_named_at_the_start_is_not_what_the_next_process_names() {
    let world = losing();
    world.answer_form_type(Answer::No);
    let bound =
        of("choose", &[], "rds.choose_recovery_point", serde_json::json!({ "choose": "replica" }));
    let mut plan = recovery();
    plan.steps[0].body = bound.body;
    let named = RunSettings { recovery_point: Some("replica".to_owned()), ..settings(true) };
    assert_eq!(start(&world, plan, named).exit, Exit::Stopped);
    world.forget_answers();
    let told = naming(&world);
    let ran = resume(&world, told);
    assert_eq!(ran.step("choose").with["choose"], "snapshot");
    assert_eq!(chosen(&ran), Some("snapshot"));
}
