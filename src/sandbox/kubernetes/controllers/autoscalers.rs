//! Autoscalers without a load to measure: they keep their bounds. A workload at zero has its autoscaler switched off.

use serde_json::{Value, json};

use super::super::managers;
use super::super::request::Writer;
use super::super::store::{Key, Store, stamp, text};
use super::{DEPLOYMENTS, REPLICA_SETS, STATEFUL_SETS, condition, events, number};

pub(super) fn reconcile(store: &mut Store, key: &Key) {
    let Some(autoscaler) = store.shared(key) else { return };
    let resource = match text(&autoscaler, "/spec/scaleTargetRef/kind") {
        "Deployment" => DEPLOYMENTS,
        "StatefulSet" => STATEFUL_SETS,
        "ReplicaSet" => REPLICA_SETS,
        _ => return,
    };
    let name = text(&autoscaler, "/spec/scaleTargetRef/name").to_owned();
    let target = (resource.to_owned(), key.1.clone(), name);
    let Some(workload) = store.shared(&target) else { return };
    let (least, most) = (
        number(&autoscaler, "/spec/minReplicas", 1),
        number(&autoscaler, "/spec/maxReplicas", i64::MAX),
    );
    let now = number(&workload, "/spec/replicas", 1);
    let wanted = if now == 0 { 0 } else { now.max(least).min(most) };
    if wanted != now {
        let message = format!(
            "New size: {wanted}; reason: Current number of replicas {}",
            match wanted > now {
                true => "below Spec.MinReplicas",
                false => "above Spec.MaxReplicas",
            }
        );
        events::tell(store, &autoscaler, "Normal", "SuccessfulRescale", &message);
        rescale(store, &target, &workload, wanted);
    }
    let at = store.now;
    store.change(key, |autoscaler| {
        let status = &mut autoscaler["status"];
        status["currentReplicas"] = json!(number(&workload, "/status/replicas", 0));
        status["desiredReplicas"] = json!(wanted);
        if wanted != now {
            status["lastScaleTime"] = json!(stamp(at));
        }
        let able = if wanted == 0 { "ScalingDisabled" } else { "ReadyForNewScale" };
        condition(status, at, "ScalingActive", (wanted != 0, able, ""));
    });
}

/// Sets the replicas as the autoscaler, whose field they are from then on.
fn rescale(store: &mut Store, target: &Key, workload: &Value, wanted: i64) {
    let writer = Writer {
        manager: "kube-controller-manager".to_owned(),
        version: text(workload, "/apiVersion").to_owned(),
        subresource: "scale".to_owned(),
        dry_run: false,
    };
    let now = store.now;
    store.change(target, |object| {
        object["spec"]["replicas"] = json!(wanted);
        let generation = number(object, "/metadata/generation", 1);
        object["metadata"]["generation"] = json!(generation + 1);
        managers::note(Some(workload), object, &writer, false, now);
    });
}
