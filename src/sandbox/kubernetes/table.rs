//! Objects as rows of a table, which is what kubectl asks for.

use jiff::Timestamp;
use serde_json::{Value, json};

use super::kinds::Kind;
use super::selector::Selector;
use super::store::{Store, instant, text};
use crate::clock::since;

/// Turns an object or a list into a table.
pub(super) fn of(store: &Store, kind: &Kind, value: Value) -> Value {
    let is_list = value.get("items").is_some_and(Value::is_array);
    if !is_list && text(&value, "/kind") != kind.kind {
        // A Status or a Scale is told as it is.
        return value;
    }
    let items: Vec<Value> = match value["items"].as_array() {
        Some(items) if is_list => items.clone(),
        _ => vec![value.clone()],
    };
    let columns = columns(kind);
    let definition = |(name, _): &(&str, Cell)| {
        json!({
            "name": name, "type": "string", "format": if *name == "Name" { "name" } else { "" },
            "description": "", "priority": 0,
        })
    };
    let rows: Vec<Value> = items
        .iter()
        .map(|item| {
            let cells: Vec<Value> =
                columns.iter().map(|(_, cell)| json!(cell.of(item, store.now))).collect();
            let part = json!({
                "kind": "PartialObjectMetadata",
                "apiVersion": "meta.k8s.io/v1",
                "metadata": item["metadata"],
            });
            json!({ "cells": cells, "object": part })
        })
        .collect();
    let version = value["metadata"]["resourceVersion"].clone();
    let mut metadata = json!({ "resourceVersion": version });
    for field in ["continue", "remainingItemCount"] {
        if let Some(value) = value["metadata"].get(field).filter(|_| is_list) {
            metadata[field] = value.clone();
        }
    }
    json!({
        "kind": "Table",
        "apiVersion": "meta.k8s.io/v1",
        "metadata": metadata,
        "columnDefinitions": columns.iter().map(definition).collect::<Vec<_>>(),
        "rows": rows,
    })
}

/// What stands in a cell.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Cell {
    Text(&'static str),
    Number(&'static str),
    /// Of so many so many
    Share(&'static str, &'static str),
    Size(&'static str),
    Age(&'static str),
    PodReady,
    PodStatus,
    Restarts,
    Ready,
    Ports,
    About,
    Scaled,
    Selector,
}

fn columns(kind: &Kind) -> Vec<(&'static str, Cell)> {
    let age = ("Age", Cell::Age("/metadata/creationTimestamp"));
    let name = ("Name", Cell::Text("/metadata/name"));
    let mut all = vec![name];
    let more: &[(&str, Cell)] = match kind.kind.as_str() {
        _ if kind.custom => &[],
        "Pod" => {
            &[("Ready", Cell::PodReady), ("Status", Cell::PodStatus), ("Restarts", Cell::Restarts)]
        }
        "Deployment" => &[
            ("Ready", Cell::Share("/status/readyReplicas", "/spec/replicas")),
            ("Up-to-date", Cell::Number("/status/updatedReplicas")),
            ("Available", Cell::Number("/status/availableReplicas")),
        ],
        "ReplicaSet" => &[
            ("Desired", Cell::Number("/spec/replicas")),
            ("Current", Cell::Number("/status/replicas")),
            ("Ready", Cell::Number("/status/readyReplicas")),
        ],
        "StatefulSet" => &[("Ready", Cell::Share("/status/readyReplicas", "/spec/replicas"))],
        "Job" => &[("Completions", Cell::Share("/status/succeeded", "/spec/completions"))],
        "Namespace" | "PersistentVolumeClaim" => &[("Status", Cell::Text("/status/phase"))],
        "Node" => &[("Status", Cell::Ready)],
        "ConfigMap" => &[("Data", Cell::Size("/data"))],
        "Secret" => &[("Type", Cell::Text("/type")), ("Data", Cell::Size("/data"))],
        "Service" => &[
            ("Type", Cell::Text("/spec/type")),
            ("Cluster-IP", Cell::Text("/spec/clusterIP")),
            ("Port(s)", Cell::Ports),
            ("Selector", Cell::Selector),
        ],
        "HorizontalPodAutoscaler" => &[
            ("Reference", Cell::Scaled),
            ("MinPods", Cell::Number("/spec/minReplicas")),
            ("MaxPods", Cell::Number("/spec/maxReplicas")),
            ("Replicas", Cell::Number("/status/currentReplicas")),
        ],
        "Event" => {
            return vec![
                ("Last Seen", Cell::Age("/lastTimestamp")),
                ("Type", Cell::Text("/type")),
                ("Reason", Cell::Text("/reason")),
                ("Object", Cell::About),
                ("Message", Cell::Text("/message")),
            ];
        }
        _ => &[],
    };
    all.extend_from_slice(more);
    all.push(age);
    all
}

impl Cell {
    fn of(self, object: &Value, now: Timestamp) -> String {
        let number = |path: &str| object.pointer(path).and_then(Value::as_i64).unwrap_or(0);
        let said = |path: &str| match text(object, path) {
            "" => "<none>".to_owned(),
            text => text.to_owned(),
        };
        match self {
            Self::Text(path) => said(path),
            Self::Number(path) => number(path).to_string(),
            Self::Share(part, whole) => format!("{}/{}", number(part), number(whole)),
            Self::Size(path) => {
                let size =
                    object.pointer(path).and_then(Value::as_object).map_or(0, serde_json::Map::len);
                size.to_string()
            }
            Self::Age(path) => match instant(object, path) {
                Some(at) => age(since(at, now).as_secs()),
                None => "<unknown>".to_owned(),
            },
            Self::PodReady => {
                let all = object["status"]["containerStatuses"].as_array();
                let ready = all.into_iter().flatten().filter(|one| one["ready"] == true).count();
                let whole = object["spec"]["containers"].as_array().map_or(0, Vec::len);
                format!("{ready}/{whole}")
            }
            Self::PodStatus => pod_status(object),
            Self::Restarts => {
                let all = object["status"]["containerStatuses"].as_array();
                let count = |one: &Value| one["restartCount"].as_i64().unwrap_or(0);
                all.into_iter().flatten().map(count).sum::<i64>().to_string()
            }
            Self::Ready => {
                let mut all = object["status"]["conditions"].as_array().into_iter().flatten();
                let ready = all.any(|one| one["type"] == "Ready" && one["status"] == "True");
                let cordoned = object["spec"]["unschedulable"] == true;
                let mut said = if ready { "Ready" } else { "NotReady" }.to_owned();
                if cordoned {
                    said.push_str(",SchedulingDisabled");
                }
                said
            }
            Self::Ports => {
                let all = object["spec"]["ports"].as_array().into_iter().flatten();
                let port = |port: &Value| format!("{}/{}", port["port"], text(port, "/protocol"));
                all.map(port).collect::<Vec<_>>().join(",")
            }
            Self::About => format!(
                "{}/{}",
                text(object, "/involvedObject/kind").to_lowercase(),
                text(object, "/involvedObject/name")
            ),
            Self::Scaled => format!(
                "{}/{}",
                text(object, "/spec/scaleTargetRef/kind"),
                text(object, "/spec/scaleTargetRef/name")
            ),
            Self::Selector => {
                let labels = json!({ "matchLabels": object["spec"]["selector"] });
                Selector::of(&labels).map(|selector| selector.text()).unwrap_or_default()
            }
        }
    }
}

fn pod_status(pod: &Value) -> String {
    if pod["metadata"].get("deletionTimestamp").is_some() {
        return "Terminating".to_owned();
    }
    let all = pod["status"]["containerStatuses"].as_array();
    let mut reasons = all.into_iter().flatten().filter_map(|one| {
        let waiting = one.pointer("/state/waiting/reason");
        waiting.or_else(|| one.pointer("/state/terminated/reason"))?.as_str()
    });
    let reason = reasons.next_back().map(str::to_owned);
    reason.unwrap_or_else(|| text(pod, "/status/phase").to_owned())
}

/// Writes an age as kubectl does.
fn age(seconds: u64) -> String {
    let (minutes, hours, days) = (seconds / 60, seconds / 3600, seconds / 86_400);
    match seconds {
        0..120 => format!("{seconds}s"),
        120..600 if !seconds.is_multiple_of(60) => format!("{minutes}m{}s", seconds % 60),
        120..10_800 => format!("{minutes}m"),
        10_800..28_800 if !minutes.is_multiple_of(60) => format!("{hours}h{}m", minutes % 60),
        10_800..172_800 => format!("{hours}h"),
        _ => format!("{days}d"),
    }
}
