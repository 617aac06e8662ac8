//! What a wait makes of conditions that say a rollout gave up.

use serde_json::json;

use super::fake::{deployment_path, settle};
use super::tests::{scale, world};
use crate::outcome::{Effect, FailureClass};

#[tokio::test]
async fn a_rollout_that_gave_up_is_not_waited_for() {
    let world = world().await;
    let call = scale(&[("api", 5)]);
    let seen = world.look(&call).await;
    world.fake.control(|state| {
        let path = deployment_path("prod", "api");
        let object = state.objects.get_mut(&path).expect("api");
        object["status"] = json!({
            "observedGeneration": object["metadata"]["generation"], "readyReplicas": 1,
            "conditions": [{ "type": "Progressing", "status": "False",
                "reason": "ProgressDeadlineExceeded", "message": "timed out progressing" }],
        });
    });
    let error = world.act(&call, &seen).await.expect_err("gave up");
    assert_eq!((error.class, error.effect), (FailureClass::Capacity, Effect::Applied));
    assert!(error.message.contains("timed out progressing"));
}

#[tokio::test]
async fn what_an_earlier_rollout_gave_up_about_is_old_news() {
    let world = world().await;
    let call = scale(&[("api", 5)]);
    let seen = world.look(&call).await;
    let mut looks = 0;
    world.fake.control(move |state| {
        looks += 1;
        settle(state);
        let object = state.objects.get_mut(&deployment_path("prod", "api")).expect("api");
        object["status"]["conditions"] = json!([{ "type": "Progressing", "status": "False",
            "reason": "ProgressDeadlineExceeded", "lastUpdateTime": "2020-01-01T00:00:00Z" }]);
        if looks < 4 {
            object["status"]["availableReplicas"] = json!(1);
        }
    });
    world.act(&call, &seen).await.expect("its pods came up");
}
