//! Descriptions: what there is, by name and by filter, in pages.

use serde_json::{Value, json};

use super::super::codec::{AwsError, Params, filters};
use super::{Desk, get, instance, invalid_value, region_of, short, snapshot, tagged, window};
use crate::sandbox::objects::text;
use crate::sandbox::world::Kind;

/// Records of a page, at least and at most; the most where a request names no number.
const PAGE: std::ops::RangeInclusive<usize> = 20..=100;

pub(super) fn instances(desk: &Desk<'_>, params: &Params) -> Result<Value, AwsError> {
    let id = get(params, "DBInstanceIdentifier");
    let elsewhere = region_of(id).is_some_and(|region| region != desk.region);
    if elsewhere {
        return Err(super::no_instance(id));
    }
    let id = short(id);
    if !id.is_empty() {
        instance(desk, id)?;
    }
    let known = [
        ("db-instance-id", "DBInstanceIdentifier"),
        ("db-cluster-id", "DBClusterIdentifier"),
        ("dbi-resource-id", "DbiResourceId"),
        ("engine", "Engine"),
    ];
    let filters = known_filters(params, &known)?;
    let all = desk.objects.of_kind(Kind::RdsInstance, desk.region);
    let found = all
        .filter(|(known, body)| (id.is_empty() || *known == id) && passes(&filters, body))
        .map(|(id, body)| (id.to_owned(), window::shown(desk, body)));
    page(found.collect(), "DBInstances", params)
}

pub(super) fn snapshots(desk: &Desk<'_>, params: &Params) -> Result<Value, AwsError> {
    let (id, of) = (get(params, "DBSnapshotIdentifier"), get(params, "DBInstanceIdentifier"));
    let kind = get(params, "SnapshotType");
    if !id.is_empty() {
        snapshot(desk, id)?;
    }
    let known = [
        ("db-instance-id", "DBInstanceIdentifier"),
        ("db-snapshot-id", "DBSnapshotIdentifier"),
        ("dbi-resource-id", "DbiResourceId"),
        ("snapshot-type", "SnapshotType"),
        ("engine", "Engine"),
    ];
    let filters = known_filters(params, &known)?;
    let wanted = |body: &Value| {
        (id.is_empty() || text(body, "DBSnapshotIdentifier") == short(id))
            && (of.is_empty() || text(body, "DBInstanceIdentifier") == short(of))
            && (kind.is_empty() || text(body, "SnapshotType") == kind)
            && passes(&filters, body)
    };
    let all = desk.objects.of_kind(Kind::RdsSnapshot, desk.region);
    let found =
        all.filter(|(_, body)| wanted(body)).map(|(id, body)| (id.to_owned(), body.clone()));
    page(found.collect(), "DBSnapshots", params)
}

pub(super) fn groups(
    desk: &Desk<'_>,
    params: &Params,
    kind: Kind,
    list: &str,
    field: &str,
    fault: &'static str,
) -> Result<Value, AwsError> {
    let name = get(params, field);
    if !name.is_empty() && desk.objects.get(kind, desk.region, name).is_none() {
        let message = match kind {
            Kind::RdsSubnetGroup => format!("DB subnet group '{name}' does not exist."),
            _ => format!("DBParameterGroup not found: {name}"),
        };
        return Err(AwsError::new(404, fault, message));
    }
    let all = desk.objects.of_kind(kind, desk.region);
    let found = all.filter(|(_, body)| name.is_empty() || text(body, field) == name);
    page(found.map(|(id, body)| (id.to_owned(), body.clone())).collect(), list, params)
}

pub(super) fn tags(desk: &Desk<'_>, params: &Params) -> Result<Value, AwsError> {
    let (kind, id, field) = tagged(desk, get(params, "ResourceName"))?;
    let body = desk.objects.get(kind, desk.region, &id);
    let tags = body.and_then(|body| body.get(field)).cloned();
    Ok(json!({ "TagList": tags.unwrap_or_else(|| json!([])) }))
}

/// A filter of a request: the field it looks at, and the values it lets through.
pub(super) type Filter = (String, Vec<String>);

/// Returns the filters of a request by their fields; one RDS does not know is refused.
pub(super) fn known_filters(
    params: &Params,
    known: &[(&str, &str)],
) -> Result<Vec<Filter>, AwsError> {
    let field = |(name, values): Filter| match known.iter().find(|(known, _)| *known == name) {
        Some((_, field)) => Ok(((*field).to_owned(), values)),
        None => Err(invalid_value(format!("Unrecognized filter name: {name}"))),
    };
    filters(params).into_iter().map(field).collect()
}

pub(super) fn passes(filters: &[Filter], body: &Value) -> bool {
    filters.iter().all(|(field, values)| {
        values.iter().any(|value| short(value).eq_ignore_ascii_case(text(body, field)))
    })
}

/// Returns a page of what was found, in the order of ids.
pub(super) fn page(
    mut found: Vec<(String, Value)>,
    list: &str,
    params: &Params,
) -> Result<Value, AwsError> {
    let most = match params.get("MaxRecords").map(|most| most.parse::<usize>()) {
        None => *PAGE.end(),
        Some(Ok(most)) if PAGE.contains(&most) => most,
        Some(_) => {
            let (least, most) = (PAGE.start(), PAGE.end());
            let given = get(params, "MaxRecords");
            return Err(invalid_value(format!(
                "Invalid value {given} for MaxRecords. Must be between {least} and {most}"
            )));
        }
    };
    let after = get(params, "Marker");
    found.sort_by(|(left, _), (right, _)| left.cmp(right));
    found.retain(|(id, _)| id.as_str() > after);
    let more = found.len() > most;
    found.truncate(most);
    let marker = found.last().filter(|_| more).map(|(id, _)| id.clone());
    let bodies: Vec<Value> = found.into_iter().map(|(_, body)| body).collect();
    let mut answer = json!({ list: bodies });
    if let Some(marker) = marker {
        answer["Marker"] = json!(marker);
    }
    Ok(answer)
}
