//! What is true in an estate, in a form that is equal for equal worlds: the end a run is to reach.

use std::fmt::Write as _;

use serde_json::{Map, Value, json};

use super::estate::Estate;

/// Looks are repeated at most so often until the servers have settled; each look asks all of them and takes a while.
const LOOKS_MAX: usize = 200;

impl Estate {
    /// Returns weights, failover object, workloads, Secret, databases and pods, without what differs between estates.
    ///
    /// Addresses are replaced by the instance they belong to; of pods only the kind and the connection are kept.
    pub(crate) fn world(&self) -> Value {
        let state = self.get("/state");
        json!({
            "weights": state["weights"],
            "switch_present": state["switch_present"],
            "workloads": workloads(&state),
            "secret": instance_at(&state, &state["secret"]["host"], &state["secret"]["port"]),
            "databases": databases(&state),
            "instances": state["instances"],
            "autoscalers": state["autoscalers"],
            "pods": pods(&state),
        })
    }

    /// Returns the world once no pod is on its way to its database any more.
    pub(crate) fn settled(&self) -> Value {
        let mut world = self.world();
        for _ in 0..LOOKS_MAX {
            if !world["pods"].to_string().contains("connected false") {
                return world;
            }
            world = self.world();
        }
        panic!("a pod stays unconnected:\n{world}");
    }

    /// Holds that the world is this one, or settles into it.
    #[track_caller]
    pub(crate) fn settles_into(&self, expected: &Value, context: &str) {
        let mut world = Value::Null;
        for _ in 0..LOOKS_MAX {
            world = self.world();
            if world == *expected {
                return;
            }
        }
        panic!("{context}: the world is another:\n{}", difference(expected, &world));
    }
}

/// Replicas asked for and ready, and how often each workload was changed.
fn workloads(state: &Value) -> Value {
    let all = state["workloads"].as_object().expect("workloads");
    let kept = |facts: &Value| json!({ "replicas": facts["replicas"], "ready": facts["ready"] });
    Value::Object(all.iter().map(|(name, facts)| (name.clone(), kept(facts))).collect())
}

fn databases(state: &Value) -> Value {
    let all = state["databases"].as_object().expect("databases");
    let kept = |facts: &Value| {
        json!({
            "running": facts["running"],
            "in_recovery": facts["in_recovery"],
            "application_may_log_in": facts["application_may_log_in"],
        })
    };
    Value::Object(all.iter().map(|(name, facts)| (name.clone(), kept(facts))).collect())
}

/// How many pods of each application run and which database each is connected to.
fn pods(state: &Value) -> Value {
    let mut counted = Map::new();
    for pod in state["pods"].as_array().expect("pods") {
        let database = &pod["database"];
        let connected = match database["target"].as_str().and_then(|at| at.rsplit_once(':')) {
            None => "none".to_owned(),
            Some((host, port)) => {
                let at = instance_at(state, &json!(host), &json!(port));
                format!("{} connected {}", at.as_str().unwrap_or("?"), database["connected"])
            }
        };
        let key = format!("{} {connected}", pod["app"].as_str().unwrap_or("?"));
        let count = counted.get(&key).and_then(Value::as_u64).unwrap_or(0) + 1;
        counted.insert(key, json!(count));
    }
    Value::Object(counted)
}

/// The instance at an address; the lost primary is known to the application by another one.
fn instance_at(state: &Value, host: &Value, port: &Value) -> Value {
    let all = state["databases"].as_object().expect("databases");
    let port: Option<u64> = port.as_u64().or_else(|| port.as_str()?.parse().ok());
    let at = |facts: &Value| facts["host"] == *host && facts["port"].as_u64() == port;
    let found = all.iter().find(|(_, facts)| at(facts));
    found.map_or_else(|| json!("elsewhere"), |(name, _)| json!(name))
}

/// What differs between two worlds, a line each.
pub(crate) fn difference(expected: &Value, found: &Value) -> String {
    let mut text = String::new();
    let empty = Map::new();
    let (left, right) = (expected.as_object(), found.as_object());
    if left.is_none() && right.is_none() {
        return if expected == found { text } else { format!(" {expected} became {found}\n") };
    }
    let (left, right) = (left.unwrap_or(&empty), right.unwrap_or(&empty));
    let mut keys: Vec<&String> = left.keys().chain(right.keys()).collect();
    keys.sort();
    keys.dedup();
    for key in keys {
        let (one, other) = (left.get(key), right.get(key));
        let (one, other) = (one.unwrap_or(&Value::Null), other.unwrap_or(&Value::Null));
        for line in difference(one, other).lines() {
            writeln!(text, "{key}.{line}").expect("writes to a string");
        }
    }
    text
}
