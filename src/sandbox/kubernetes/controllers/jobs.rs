//! Jobs: pods until enough of them have ended well, or too many have not.

use std::sync::Arc;

use jiff::SignedDuration;
use serde_json::{Value, json};

use super::super::delete::{Owned, begin};
use super::super::store::{Key, PODS, Store, controller_of, has_ended, instant, stamp, text};
use super::{condition, counted, events, holds, number, pods};

pub(super) fn reconcile(store: &mut Store, key: &Key) {
    let Some(job) = store.shared(key) else { return };
    if job["metadata"].get("deletionTimestamp").is_some() {
        return;
    }
    if holds(&job, "Complete") || holds(&job, "Failed") {
        outlived(store, key, &job);
        return;
    }
    let uid = text(&job, "/metadata/uid");
    let ours = |key: &Key| {
        let pod = store.get(key).filter(|_| key.0 == PODS)?;
        controller_of(pod).filter(|by| by["uid"] == uid)?;
        store.shared(key)
    };
    let all: Vec<Arc<Value>> = store.owned_by(uid).iter().filter_map(ours).collect();
    let phase = |phase: &str| all.iter().filter(|pod| text(pod, "/status/phase") == phase).count();
    let (succeeded, failed) = (phase("Succeeded"), phase("Failed"));
    let active = all.iter().filter(|pod| !has_ended(pod)).count();
    let suspended = job["spec"]["suspend"] == true;
    let began = instant(&job, "/status/startTime").unwrap_or(store.now);
    let deadline = job["spec"]["activeDeadlineSeconds"].as_i64();
    let deadline = deadline.map(|limit| began + SignedDuration::from_secs(limit));
    let parallel = usize::try_from(number(&job, "/spec/parallelism", 1)).unwrap_or(0);
    let wanted = job["spec"]["completions"].as_u64().and_then(|one| usize::try_from(one).ok());
    let limit = usize::try_from(number(&job, "/spec/backoffLimit", 6)).unwrap_or(0);
    let over = match wanted {
        Some(wanted) => succeeded >= wanted,
        None => succeeded > 0 && active == 0,
    };
    let ended = if over {
        Some((true, "", ""))
    } else if failed > limit {
        Some((false, "BackoffLimitExceeded", "Job has reached the specified backoff limit"))
    } else if deadline.is_some_and(|deadline| deadline <= store.now) {
        Some((false, "DeadlineExceeded", "Job was active longer than specified deadline"))
    } else {
        None
    };
    if let Some(deadline) = deadline {
        store.wake(deadline, key);
    }
    let here = pods::of(store, &job);
    let mut active = active;
    if ended.is_some() || suspended {
        for pod in &here {
            begin(store, pod, Owned::Background, None);
        }
        active = 0;
    } else {
        let left = wanted.map_or(parallel, |wanted| parallel.min(wanted - succeeded));
        for _ in here.len()..left {
            let name = format!("{}-{}", key.2, store.next_suffix());
            pods::make(store, &job, &name, &job["spec"]["template"], &Value::Null);
            active += 1;
        }
    }
    reported(store, key, (active, succeeded, failed), ended);
}

fn reported(
    store: &mut Store,
    key: &Key,
    (active, succeeded, failed): (usize, usize, usize),
    ended: Option<(bool, &str, &str)>,
) {
    let now = store.now;
    let Some(job) = store.shared(key) else { return };
    let began = job["status"].get("startTime").cloned().unwrap_or_else(|| json!(stamp(now)));
    let mut status = json!({ "startTime": began });
    if let Some(conditions) = job["status"].get("conditions") {
        status["conditions"] = conditions.clone();
    }
    counted(&mut status, "active", active);
    counted(&mut status, "succeeded", succeeded);
    counted(&mut status, "failed", failed);
    match ended {
        Some((true, _, _)) => {
            status["completionTime"] = json!(stamp(now));
            condition(&mut status, now, "Complete", (true, "", ""));
            events::tell(store, &job, "Normal", "Completed", "Job completed");
        }
        Some((false, reason, message)) => {
            condition(&mut status, now, "Failed", (true, reason, message));
            events::tell(store, &job, "Warning", reason, message);
        }
        None => {}
    }
    store.report(key, status);
}

/// A Job that has ended may be deleted after a while.
fn outlived(store: &mut Store, key: &Key, job: &Value) {
    let Some(kept) = job["spec"]["ttlSecondsAfterFinished"].as_i64() else { return };
    let ended = instant(job, "/status/completionTime").unwrap_or(store.now);
    let until = ended + SignedDuration::from_secs(kept);
    if until > store.now {
        store.wake(until, key);
    } else {
        begin(store, key, Owned::Background, None);
    }
}
