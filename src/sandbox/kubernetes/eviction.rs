//! Evictions, which disruption budgets may forbid.

use serde_json::{Value, json};

use super::delete::{Owned, begin};
use super::failure::Failure;
use super::request::Asked;
use super::selector::Selector;
use super::store::{Key, PODS, Store, has_ended, text};

const BUDGETS: &str = "policy/v1/poddisruptionbudgets";

/// Evicts a pod, where no budget is against it.
pub(super) fn evict(
    store: &mut Store,
    asked: &Asked,
    name: &str,
    eviction: &Value,
) -> Result<(u16, Value), Failure> {
    let key = asked.key(name);
    let pod = store.get(&key).cloned().ok_or_else(|| Failure::missing(&asked.kind, name))?;
    let budgets: Vec<Value> =
        store.of(BUDGETS, &key.1).map(|(_, budget)| (**budget).clone()).collect();
    for budget in budgets {
        let selector = Selector::of(&budget["spec"]["selector"]);
        let covers = selector.is_some_and(|selector| selector.matches(&pod));
        if !covers || has_ended(&pod) {
            continue;
        }
        let (healthy, least) = standing(store, &key, &budget);
        if healthy <= least {
            return Err(forbidden(&budget, healthy, least));
        }
    }
    let dry_run = asked.writer.dry_run || eviction["deleteOptions"]["dryRun"][0] == "All";
    if !dry_run {
        let grace = eviction["deleteOptions"]["gracePeriodSeconds"].as_u64();
        begin(store, &key, Owned::Background, grace);
    }
    Ok((201, super::status_ok()))
}

/// Returns how many pods of a budget are healthy, and how many must be.
fn standing(store: &Store, key: &Key, budget: &Value) -> (u64, u64) {
    let selector = Selector::of(&budget["spec"]["selector"]).unwrap_or_default();
    let pods = store.of(PODS, &key.1).filter(|(_, pod)| selector.matches(pod) && !has_ended(pod));
    let (mut all, mut healthy) = (0_u64, 0_u64);
    for (_, pod) in pods {
        all += 1;
        let mut conditions = pod["status"]["conditions"].as_array().into_iter().flatten();
        let ready = conditions.any(|one| one["type"] == "Ready" && one["status"] == "True");
        if ready && pod["metadata"].get("deletionTimestamp").is_none() {
            healthy += 1;
        }
    }
    let part = |said: &Value| {
        let percent = said.as_str().and_then(|text| text.strip_suffix('%')?.parse::<u64>().ok());
        said.as_u64().or_else(|| percent.map(|percent| (all * percent).div_ceil(100)))
    };
    let least = part(&budget["spec"]["minAvailable"]);
    let most = part(&budget["spec"]["maxUnavailable"]);
    (healthy, least.or_else(|| most.map(|most| all.saturating_sub(most))).unwrap_or(0))
}

fn forbidden(budget: &Value, healthy: u64, least: u64) -> Failure {
    let message = "Cannot evict pod as it would violate the pod's disruption budget.";
    let name = text(budget, "/metadata/name");
    let cause = json!([{
        "reason": "DisruptionBudget",
        "message": format!("The disruption budget {name} needs {least} healthy pods and has {healthy} currently"),
    }]);
    Failure::new(429, "TooManyRequests", message).with(json!({ "causes": cause }))
}
