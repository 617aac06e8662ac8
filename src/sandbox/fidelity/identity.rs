//! STS: who asks. AWS Health: what happens.

use serde_json::json;

use super::side::Side;
use super::told::{Notes, done, told};

pub(super) async fn ask(side: &Side, notes: &mut Notes) {
    for (region, clients) in [("east", &side.east), ("west", &side.west)] {
        let answer = clients.sts.get_caller_identity().send().await;
        notes.note(
            &format!("sts: who asks, in the {region}"),
            told(&answer, |answer| json!(answer.account())),
        );
    }
    let role = "arn:aws:iam::123456789012:role/operator";
    let assumed = side.west.sts.assume_role().role_arn(role).role_session_name("fidelity").send();
    notes.note(
        "sts: a role is taken",
        told(&assumed.await, |answer| {
            let arn = answer.assumed_role_user().map(|user| user.arn().to_owned());
            let keys =
                answer.credentials().is_some_and(|keys| !keys.secret_access_key().is_empty());
            json!({ "arn": arn, "keys": keys })
        }),
    );
    let nobody =
        side.west.sts.assume_role().role_arn("nobody").role_session_name("fidelity").send();
    notes.note("sts: what is no role is taken", done(&nobody.await));
    if side.health {
        let events = side.east.health.describe_events().send().await;
        notes.note("health: events", told(&events, |found| json!(found.events().len())));
    }
}
