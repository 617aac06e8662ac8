//! Record sets: their order, their pages, and the types their fields have.

use serde_json::{Map, Value, json};

use super::super::codec::{AwsError, Params};
use super::{Desk, page, zone};
use crate::sandbox::objects::text;

/// Records of a page, at most.
const PAGE: usize = 300;

pub(super) fn records(zone: &Value) -> Vec<Value> {
    zone.get("ResourceRecordSets").and_then(Value::as_array).cloned().unwrap_or_default()
}

/// Route 53 sorts by the labels of a name from the last to the first, then by type and set.
pub(super) fn order(record: &Value) -> (Vec<String>, String, String) {
    (
        reversed(text(record, "Name")),
        text(record, "Type").to_owned(),
        text(record, "SetIdentifier").to_owned(),
    )
}

pub(super) fn reversed(name: &str) -> Vec<String> {
    let name = plain_name(name);
    let labels = name.trim_end_matches('.').rsplit('.');
    labels.map(str::to_owned).collect()
}

/// Returns a name in the form Route 53 keeps.
pub(super) fn plain_name(name: &str) -> String {
    let plain = name.to_ascii_lowercase().replace('*', "\\052");
    format!("{}.", plain.trim_end_matches('.'))
}

pub(super) fn list(desk: &Desk<'_>, id: &str, query: &Params) -> Result<Value, AwsError> {
    let mut sets = records(zone(desk, id)?);
    sets.sort_by_key(order);
    if query.contains_key("type") && !query.contains_key("name") {
        let message = "The resource record set name must be specified when the type is.";
        return Err(AwsError::new(400, "InvalidInput", message));
    }
    if let Some(name) = query.get("name") {
        let part = |name: &str| query.get(name).cloned().unwrap_or_default();
        let start = (reversed(name), part("type"), part("identifier"));
        sets.retain(|set| order(set) >= start);
    }
    let (sets, next, most) = page(sets, query, PAGE);
    let mut answer = json!({
        "ResourceRecordSets": sets,
        "IsTruncated": next.is_some(),
        "MaxItems": most.to_string(),
    });
    if let Some(next) = next {
        answer["NextRecordName"] = next["Name"].clone();
        answer["NextRecordType"] = next["Type"].clone();
        answer["NextRecordIdentifier"] = next["SetIdentifier"].clone();
    }
    Ok(answer)
}

/// Gives a set that came as texts its types, and its name the form Route 53 keeps.
pub(super) fn typed(set: Value) -> Value {
    let Value::Object(fields) = set else { return set };
    let mut typed = Map::new();
    for (name, value) in fields {
        let said = value.as_str().unwrap_or_default();
        let value = match name.as_str() {
            "TTL" | "Weight" => said.parse::<i64>().map_or(value.clone(), |number| json!(number)),
            "MultiValueAnswer" => json!(said == "true"),
            "Name" => json!(plain_name(said)),
            "AliasTarget" => {
                let mut alias = value.clone();
                alias["EvaluateTargetHealth"] = json!(alias["EvaluateTargetHealth"] == "true");
                alias["DNSName"] = json!(plain_name(text(&value, "DNSName")));
                alias
            }
            "GeoProximityLocation" => {
                let mut place = value.clone();
                if let Ok(bias) = text(&value, "Bias").parse::<i64>() {
                    place["Bias"] = json!(bias);
                }
                place
            }
            _ => value,
        };
        typed.insert(name, value);
    }
    Value::Object(typed)
}
