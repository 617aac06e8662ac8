use serde_json::json;

use super::*;

fn started(before: Value) -> Event {
    Event::StepStarted {
        step: "restore".into(),
        attempt: 1,
        generation: 0,
        token: "run/restore/0".to_owned(),
        before,
        desired: json!({ "exists": true, "run": "R" }),
        digest: String::new(),
        irreversible: None,
        choice: None,
    }
}

/// A step whose first answer was lost, and whose probe found nothing yet.
fn probed_too_early() -> StepState {
    let mut step = StepState { stage: Stage::Ready, ..StepState::default() };
    let error = ActionError::unknown(FailureClass::Transient, "lost");
    let lost = AttemptResult::Failed { error };
    let absent = json!({ "exists": false });
    for event in [
        started(absent.clone()),
        Event::AttemptFinished { step: "restore".into(), attempt: 1, result: lost },
        Event::Probed {
            step: "restore".into(),
            effect: Effect::None,
            live: absent,
            outputs: Map::new(),
            said: String::new(),
        },
    ] {
        step.apply(&event, Timestamp::UNIX_EPOCH).expect("legal");
    }
    step
}

#[test]
fn what_shows_late_is_this_run_s_own_work_and_no_before_image() {
    let mut step = probed_too_early();
    let ours = json!({ "exists": true, "run": "R" });
    step.apply(&started(ours), Timestamp::UNIX_EPOCH).expect("legal");
    assert_eq!(step.before, Some(json!({ "exists": false })), "to be reverted to");
    let mut step = probed_too_early();
    let others = json!({ "exists": true, "run": "S" });
    step.apply(&started(others.clone()), Timestamp::UNIX_EPOCH).expect("legal");
    assert_eq!(step.before, Some(others), "somebody else's is what was there before");
}
