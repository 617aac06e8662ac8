//! Aurora global databases: one writer among the clusters of several regions, and its move to another one.

use jiff::Timestamp;
use serde_json::{Value, json};

use super::super::codec::{AwsError, Params};
use super::clusters::{cluster, invalid, missing};
use super::describe::page;
use super::{Desk, get, invalid_combination, region_of, short};
use crate::sandbox::objects::{Due, text};
use crate::sandbox::world::Kind;

/// The way a writer moves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    /// Nothing is lost, and both must be there
    Switchover,
    /// The old writer may be gone, with what had not been copied from it
    Failover,
}

impl Way {
    const fn status(self) -> &'static str {
        match self {
            Self::Switchover => "switching-over",
            Self::Failover => "failing-over",
        }
    }
}

fn global(desk: &Desk<'_>, id: &str) -> Result<Value, AwsError> {
    desk.objects.get(Kind::RdsGlobal, "", id).cloned().ok_or_else(|| {
        let message = format!("Global cluster {id} not found");
        AwsError::new(404, "GlobalClusterNotFoundFault", message)
    })
}

pub(super) fn describe(desk: &Desk<'_>, params: &Params) -> Result<Value, AwsError> {
    let id = get(params, "GlobalClusterIdentifier");
    if !id.is_empty() {
        global(desk, id)?;
    }
    let all = desk.objects.of_kind(Kind::RdsGlobal, "");
    let found = all
        .filter(|(known, _)| id.is_empty() || *known == id)
        .map(|(id, body)| (id.to_owned(), body.clone()));
    page(found.collect(), "GlobalClusters", params)
}

/// Answers FailoverGlobalCluster: a switchover, unless data may be lost.
pub(super) fn failover(desk: &mut Desk<'_>, params: &Params) -> Result<Value, AwsError> {
    let loss = get(params, "AllowDataLoss") == "true";
    if loss && get(params, "Switchover") == "true" {
        let message = "AllowDataLoss and Switchover cannot be specified together.";
        return Err(invalid_combination(message));
    }
    moved(desk, params, if loss { Way::Failover } else { Way::Switchover })
}

/// Answers SwitchoverGlobalCluster.
pub(super) fn switchover(desk: &mut Desk<'_>, params: &Params) -> Result<Value, AwsError> {
    moved(desk, params, Way::Switchover)
}

fn moved(desk: &mut Desk<'_>, params: &Params, way: Way) -> Result<Value, AwsError> {
    let id = get(params, "GlobalClusterIdentifier");
    let mut body = global(desk, id)?;
    let target = get(params, "TargetDbClusterIdentifier");
    let members = members(&body);
    let named = |member: &&Value| {
        let arn = text(member, "DBClusterArn");
        arn == target || (!target.starts_with("arn:") && short(arn) == target)
    };
    let writer = members.iter().find(|member| member["IsWriter"] == true);
    let from = writer.map_or("", |writer| text(writer, "DBClusterArn")).to_owned();
    if text(&body, "Status") != "available" {
        let message =
            format!("Global cluster {id} is not in an allowed state: {}", text(&body, "Status"));
        return Err(AwsError::new(400, "InvalidGlobalClusterStateFault", message));
    }
    let Some(to) = members.iter().find(named).map(|to| text(to, "DBClusterArn").to_owned()) else {
        return Err(match cluster(desk, target) {
            Ok(_) => invalid(format!("{target} is not a member of the global cluster {id}.")),
            Err(_) => missing(target),
        });
    };
    if to == from {
        return Err(invalid(format!(
            "{target} is already the primary of the global cluster {id}."
        )));
    }
    let lost = region_of(&from).is_some_and(|region| desk.dark.contains_key(region));
    if lost && way == Way::Switchover {
        let message =
            "A switchover needs a healthy primary cluster; a failover with AllowDataLoss does not.";
        return Err(AwsError::new(400, "InvalidGlobalClusterStateFault", message));
    }
    let state = |status: &str| {
        json!({
            "Status": status,
            "FromDbClusterArn": from,
            "ToDbClusterArn": to,
            "IsDataLossAllowed": way == Way::Failover,
        })
    };
    let (now, length) = (desk.objects.now(), desk.durations.global_failover.0);
    let flipped: Vec<Value> = members.iter().map(|member| turned(member, &to, lost)).collect();
    body["Status"] = json!(way.status());
    body["FailoverState"] = state("pending");
    let done = json!({
        "Status": "available",
        "FailoverState": null,
        "GlobalClusterMembers": flipped,
    });
    let then = vec![
        Due::set(now + length / 10, json!({ "FailoverState": state(way.status()) })),
        Due::set(now + length, done),
    ];
    desk.objects.put(Kind::RdsGlobal, "", id, body.clone(), then);
    parts(desk, &from, &to, way, now + length);
    Ok(json!({ "GlobalCluster": body }))
}

fn members(body: &Value) -> Vec<Value> {
    body.get("GlobalClusterMembers").and_then(Value::as_array).cloned().unwrap_or_default()
}

/// Returns a member as it is once another one writes.
fn turned(member: &Value, writer: &str, lost: bool) -> Value {
    let mut member = member.clone();
    let writes = text(&member, "DBClusterArn") == writer;
    let gone = lost && member["IsWriter"] == true;
    member["IsWriter"] = json!(writes);
    member["SynchronizationStatus"] = json!(if gone { "pending-resync" } else { "connected" });
    member
}

/// Lets both clusters go through the move as well.
fn parts(desk: &mut Desk<'_>, from: &str, to: &str, way: Way, end: Timestamp) {
    for (arn, source) in [(from, json!(to)), (to, Value::Null)] {
        let region = region_of(arn).unwrap_or(desk.region).to_owned();
        let Ok(mut body) = cluster(desk, arn) else { continue };
        body["Status"] = json!(way.status());
        let done = json!({ "Status": "available", "ReplicationSourceIdentifier": source });
        let then = vec![Due::set(end, done)];
        desk.objects.put(Kind::RdsCluster, &region, short(arn), body, then);
    }
}

/// Answers RemoveFromGlobalCluster: a cluster that is taken out stands alone and writes.
pub(super) fn remove(desk: &mut Desk<'_>, params: &Params) -> Result<Value, AwsError> {
    let id = get(params, "GlobalClusterIdentifier");
    let mut body = global(desk, id)?;
    let target = get(params, "DbClusterIdentifier");
    let all = members(&body);
    let (out, left): (Vec<Value>, Vec<Value>) =
        all.into_iter().partition(|member| text(member, "DBClusterArn") == target);
    let Some(out) = out.first() else { return Err(missing(target)) };
    if out["IsWriter"] == true && !left.is_empty() {
        let message = format!("{target} is the primary of {id}, which has other members.");
        return Err(AwsError::new(400, "InvalidGlobalClusterStateFault", message));
    }
    body["GlobalClusterMembers"] = json!(left);
    desk.objects.put(Kind::RdsGlobal, "", id, body.clone(), Vec::new());
    let region = region_of(target).unwrap_or(desk.region).to_owned();
    if let Ok(mut cluster) = cluster(desk, target) {
        cluster["Status"] = json!("promoting");
        let done = json!({ "Status": "available", "ReplicationSourceIdentifier": null });
        let then = vec![Due::set(desk.objects.now() + desk.durations.global_failover.0, done)];
        desk.objects.put(Kind::RdsCluster, &region, short(target), cluster, then);
    }
    Ok(json!({ "GlobalCluster": body }))
}
