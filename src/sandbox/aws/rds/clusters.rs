//! Aurora clusters of a region, and the writer that changes within one.

use std::time::Duration;

use serde_json::{Value, json};

use super::super::codec::{AwsError, Params};
use super::describe::{known_filters, page, passes};
use super::{Desk, get, region_of, short};
use crate::sandbox::objects::{Due, text};
use crate::sandbox::world::Kind;

/// How long a reader of the same region takes to become the writer.
const FAILOVER: Duration = Duration::from_secs(40);

pub(super) fn missing(id: &str) -> AwsError {
    AwsError::new(404, "DBClusterNotFoundFault", format!("DBCluster {id} not found."))
}

pub(super) fn invalid(message: impl Into<String>) -> AwsError {
    AwsError::new(400, "InvalidDBClusterStateFault", message)
}

/// Returns a cluster, of another region where it is named by ARN.
pub(super) fn cluster(desk: &Desk<'_>, id: &str) -> Result<Value, AwsError> {
    let region = region_of(id).unwrap_or(desk.region);
    let found = desk.objects.get(Kind::RdsCluster, region, short(id));
    found.cloned().ok_or_else(|| missing(id))
}

pub(super) fn describe(desk: &Desk<'_>, params: &Params) -> Result<Value, AwsError> {
    let id = get(params, "DBClusterIdentifier");
    if !id.is_empty() && desk.objects.get(Kind::RdsCluster, desk.region, short(id)).is_none() {
        return Err(missing(id));
    }
    let known = [
        ("db-cluster-id", "DBClusterIdentifier"),
        ("db-cluster-resource-id", "DbClusterResourceId"),
        ("engine", "Engine"),
    ];
    let filters = known_filters(params, &known)?;
    let all = desk.objects.of_kind(Kind::RdsCluster, desk.region);
    let found = all
        .filter(|(known, body)| (id.is_empty() || *known == short(id)) && passes(&filters, body))
        .map(|(id, body)| (id.to_owned(), body.clone()));
    page(found.collect(), "DBClusters", params)
}

/// Answers FailoverDBCluster.
pub(super) fn failover(desk: &mut Desk<'_>, params: &Params) -> Result<Value, AwsError> {
    let id = get(params, "DBClusterIdentifier");
    let mut body = cluster(desk, id)?;
    if text(&body, "Status") != "available" {
        let message =
            format!("DB cluster {id} is not in an allowed state: {}", text(&body, "Status"));
        return Err(invalid(message));
    }
    let members = body.get("DBClusterMembers").and_then(Value::as_array);
    let members = members.cloned().unwrap_or_default();
    let writer = |member: &&Value| member["IsClusterWriter"] == true;
    let wanted = get(params, "TargetDBInstanceIdentifier");
    let target = match wanted {
        "" => members
            .iter()
            .filter(|member| !writer(member))
            .min_by_key(|member| member.get("PromotionTier").and_then(Value::as_u64).unwrap_or(1)),
        id => members.iter().find(|member| text(member, "DBInstanceIdentifier") == id),
    };
    let Some(target) = target.filter(|target| !writer(target)) else {
        let message = match wanted {
            "" => format!("DB cluster {id} has no reader to fail over to."),
            wanted => format!("{wanted} is not a reader of DB cluster {id}."),
        };
        return Err(AwsError::new(400, "InvalidDBInstanceState", message));
    };
    let target = text(target, "DBInstanceIdentifier").to_owned();
    let flipped: Vec<Value> = members
        .into_iter()
        .map(|mut member| {
            member["IsClusterWriter"] = json!(text(&member, "DBInstanceIdentifier") == target);
            member
        })
        .collect();
    body["Status"] = json!("failing-over");
    let done = json!({ "Status": "available", "DBClusterMembers": flipped });
    let then = vec![Due::set(desk.objects.now() + FAILOVER, done)];
    desk.objects.put(Kind::RdsCluster, desk.region, short(id), body.clone(), then);
    Ok(json!({ "DBCluster": body }))
}
