//! Random small graphs with random faults, answers and crashes: any prefix of a legal journal folds, none of them
//! leads to an illegal decision, and every run ends explained.

use std::collections::BTreeSet;

use proptest::prelude::*;

use super::runbooks::after;
use super::script::{Fault, Op, World};
use super::*;
use crate::engine::scheduler::{Next, next, rollback_order};
use crate::engine::state::{RunPhase, tolerated};
use crate::engine::step::{RevertStage, Stage};
use crate::event::{Answer, FailureChoice};
use crate::outcome::{Effect, FailureClass, Verdict};

/// Steps of a random plan at most.
const STEPS_MAX: usize = 6;

/// What is drawn for one step.
#[derive(Debug, Clone)]
struct Drawn {
    gate: bool,
    /// Which of the steps before it needs, by bit
    needs: u8,
    point: bool,
    kept: bool,
    critical: bool,
    on_failure: OnFailure,
    typed: bool,
    verified: bool,
    fault: Option<(Op, Fault, u32)>,
    check: Option<(Verdict, u32)>,
    answer: Option<FailureChoice>,
}

fn drawn() -> impl Strategy<Value = Drawn> {
    let fault = prop_oneof![
        Just(Fault::Fail(FailureClass::Denied, Effect::None)),
        Just(Fault::Fail(FailureClass::Invalid, Effect::Applied)),
        Just(Fault::Fail(FailureClass::Throttled, Effect::None)),
        Just(Fault::Fail(FailureClass::Transient, Effect::Unknown)),
        Just(Fault::LostAnswer),
        Just(Fault::LostRequest),
        // Not `Late`: where a look does not show what is, nothing that follows from it can be true.
        Just(Fault::Slow(1)),
        Just(Fault::Foreign),
    ];
    let op = prop_oneof![1 => Just(Op::Observe), 4 => Just(Op::Perform), 2 => Just(Op::Revert)];
    let strike = proptest::option::weighted(0.5, (op, fault, 1..4_u32));
    let verdict = prop_oneof![Just(Verdict::Fails), Just(Verdict::Inconclusive)];
    let check = proptest::option::weighted(0.2, (verdict, 1..12_u32));
    let answer = proptest::option::of(prop_oneof![
        Just(FailureChoice::Retry),
        Just(FailureChoice::Skip),
        Just(FailureChoice::MarkDone),
        Just(FailureChoice::Rollback),
        Just(FailureChoice::Stop),
    ]);
    let on_failure = prop_oneof![
        6 => Just(OnFailure::Ask),
        1 => Just(OnFailure::Rollback),
        1 => Just(OnFailure::Stop),
        1 => Just(OnFailure::Continue),
    ];
    let flags = (
        proptest::bool::weighted(0.2),
        any::<u8>(),
        proptest::bool::weighted(0.2),
        proptest::bool::weighted(0.15),
        proptest::bool::weighted(0.8),
        proptest::bool::weighted(0.2),
        proptest::bool::weighted(0.7),
    );
    (flags, on_failure, strike, check, answer).prop_map(
        |(
            (gate, needs, point, kept, critical, typed, verified),
            on_failure,
            fault,
            check,
            answer,
        )| {
            Drawn {
                gate,
                needs,
                point,
                kept,
                critical,
                on_failure,
                typed,
                verified,
                fault,
                check,
                answer,
            }
        },
    )
}

fn id(i: usize) -> String {
    format!("s{i}")
}

fn planned(i: usize, drawn: &Drawn) -> PlannedStep {
    let needs: Vec<String> = (0..i).filter(|need| drawn.needs >> need & 1 == 1).map(id).collect();
    let needs: Vec<&str> = needs.iter().map(String::as_str).collect();
    let name = id(i);
    let step = if drawn.gate { gate(&name, &needs) } else { action(&name, &needs) };
    let kept = Rollback::None { why: "it stays".to_owned() };
    let typed = Approval::Typed { say: "For good.".to_owned(), word: name };
    PlannedStep {
        point_of_no_return: drawn.point && !drawn.gate,
        rollback: if drawn.kept { kept } else { Rollback::Auto },
        critical: drawn.critical,
        on_failure: drawn.on_failure,
        approve: if drawn.typed && !drawn.gate { typed } else { Approval::Plan },
        verify: if drawn.verified { step.verify.clone() } else { Vec::new() },
        ..step
    }
}

/// Puts a fault for each step and an answer for its first failure into a world.
fn trouble(world: &World, steps: &[Drawn]) {
    for (i, drawn) in steps.iter().enumerate() {
        if let Some((op, fault, times)) = &drawn.fault {
            world.strike(&id(i), *op, fault.clone(), *times);
        }
        if let Some((verdict, times)) = drawn.check {
            let title =
                if drawn.gate { format!("gate {}", id(i)) } else { format!("verify {}", id(i)) };
            world.with(|w| w.failing_checks.insert(title, (verdict, times)));
        }
        if let Some(choice) = drawn.answer {
            let key = QuestionKey::Failure { step: id(i).as_str().into(), failures: 1 };
            let reason = Some("drill".to_owned());
            world.answer(key, Answer::Menu { choice, reason, outputs: Map::new() });
        }
    }
}

/// Holds that what the scheduler would do next in a state is allowed.
fn legal(state: &RunState) {
    let none = BTreeSet::new();
    match next(state, &none, false) {
        Next::Start(steps) => {
            assert!(matches!(state.phase, RunPhase::Running));
            assert!(!steps.is_empty() && steps.len() <= state.settings.jobs.max(1));
            for i in steps {
                let (planned, step) = (&state.plan.steps[i], &state.steps[i]);
                assert!(step.ended().is_none(), "{} is started though it ended", planned.id);
                let undecided = matches!(step.stage, Stage::Failed { .. });
                assert!(!undecided || tolerated(planned) || state.settings.interactive);
                for need in &state.graph.needs[i] {
                    let end = state.steps[*need].ended();
                    let goes_on = end.is_some_and(StepEnd::satisfies)
                        || (end == Some(StepEnd::Failed)
                            && state.plan.steps[*need].on_failure == OnFailure::Continue);
                    assert!(goes_on, "{} is started before what it needs", planned.id);
                }
                assert!(state.going() || planned.is_gate(), "{} is started before go", planned.id);
                let acts = state.lease_taken || state.vouched || !state.going();
                assert!(acts || undecided, "{} is started without the lease", planned.id);
            }
        }
        Next::Revert(i) => {
            let RunPhase::RollingBack { scope, .. } = &state.phase else {
                panic!("not rolling back")
            };
            assert!(state.plan.steps[i].changes && state.steps[i].effect != Effect::None);
            assert!(state.lease_taken || state.vouched, "reverted without the lease");
            if !matches!(scope, RollbackScope::Past { .. }) {
                assert!(!state.sealed().contains(&i), "{} is sealed", state.plan.steps[i].id);
                for after in super::super::state::Graph::reach(&state.graph.dependents, i) {
                    let open = rollback_order(state, scope).contains(&after);
                    let failed_first = state.steps[i].ended().is_none();
                    assert!(!open || failed_first, "something that needs it is still in place");
                }
            }
        }
        Next::BeginRollback { why } => {
            assert!(!state.past() && !state.failed.is_empty() && !why.is_empty());
        }
        Next::EndRollback { .. } => assert!(matches!(state.phase, RunPhase::RollingBack { .. })),
        Next::Finish => {
            let undecided = state.failed.iter().any(|i| !tolerated(&state.plan.steps[*i]));
            let rolling = matches!(state.phase, RunPhase::RollingBack { .. });
            assert!(!undecided || rolling || state.is_final());
            assert!(!rolling || state.sealed_changes().is_empty());
        }
        Next::AskGo => assert!(!state.going()),
        Next::TakeLease => assert!(!state.lease_taken && !state.vouched),
        Next::VerifyRun => assert!(state.failed.is_empty()),
        Next::Wait => panic!("nothing runs and nothing is to be waited for"),
        Next::Stop => {
            let revert_failed =
                state.steps.iter().any(|step| matches!(step.revert, RevertStage::Failed(_)));
            let stopped = matches!(state.phase, RunPhase::Stopped { .. });
            let unverified = !matches!(state.restored, None | Some(Verdict::Holds));
            assert!(revert_failed || stopped || unverified || !state.failed.is_empty());
        }
    }
}

/// Folds every prefix of a journal, as it is and taken up again, and looks at what would be decided.
fn every_prefix(records: &[Record], resumed: &RunSettings) {
    for length in 1..=records.len() {
        let state = RunState::fold(&records[..length]).expect("a prefix folds");
        legal(&state);
        if !state.is_final() {
            let mut state = state;
            let event = Event::RunResumed { settings: resumed.clone(), version: "0".to_owned() };
            let time = records[length - 1].time;
            state.apply(&event, time).expect("a run that is not over can be taken up again");
            legal(&state);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_run_of_any_graph_is_sound(
        steps in proptest::collection::vec(drawn(), 1..=STEPS_MAX),
        interactive in any::<bool>(),
        flag in prop_oneof![
            Just(OnFailureFlag::Auto), Just(OnFailureFlag::Rollback), Just(OnFailureFlag::Stop)
        ],
        jobs in 1..4_usize,
        crash in any::<prop::sample::Index>(),
        in_doubt in any::<prop::sample::Index>(),
    ) {
        let settings = RunSettings { on_failure: flag, jobs, ..settings(interactive) };
        let plan = plan(steps.iter().enumerate().map(|(i, drawn)| planned(i, drawn)).collect());
        let world = World::new();
        trouble(&world, &steps);
        start(&world, plan, settings.clone());
        let records = world.durable();
        every_prefix(&records, &settings);
        sound::nothing_doubled(&world, "started");

        // The process is lost after some record; everything is repaired; another one takes the run up.
        let length = crash.index(records.len()) + 1;
        let worlds = after(&world, &records, length);
        let world = &worlds[in_doubt.index(worlds.len())];
        if !RunState::fold(&world.durable()).expect("a prefix folds").is_final() {
            world.forget_answers();
            resume(world, settings.clone());
            every_prefix(&world.durable(), &settings);
            sound::nothing_doubled(world, "taken up again");
        }
    }
}
