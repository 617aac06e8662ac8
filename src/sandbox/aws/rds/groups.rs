//! Security groups of an instance: a change shows as `adding` and `removing` for a while, then as `active`.

use serde_json::{Value, json};

use super::super::codec::{Params, list};
use crate::sandbox::objects::text;

/// Puts an instance into the groups a request names; `None` when it is in no others.
pub(super) fn change(body: &mut Value, params: &Params) -> Option<Value> {
    let wanted = list(params, "VpcSecurityGroupIds.VpcSecurityGroupId");
    if !wanted.is_empty() {
        let known = body["VpcSecurityGroups"].as_array().cloned().unwrap_or_default();
        let is = |group: &Value, id: &str| text(group, "VpcSecurityGroupId") == id;
        let state = |id: &str| {
            let found = known.iter().find(|group| is(group, id));
            let stays = found.is_some_and(|group| text(group, "Status") == "active");
            if stays { "active" } else { "adding" }
        };
        let mut groups: Vec<Value> = wanted.iter().map(|id| membership(id, state(id))).collect();
        let gone = known.iter().filter(|group| !wanted.iter().any(|id| is(group, id)));
        groups.extend(gone.map(|group| membership(text(group, "VpcSecurityGroupId"), "removing")));
        body["VpcSecurityGroups"] = json!(groups);
    }
    settled(body)
}

/// Returns the groups once what is under way has ended; `None` when nothing is.
pub(super) fn settled(body: &Value) -> Option<Value> {
    let groups = body["VpcSecurityGroups"].as_array()?;
    if groups.iter().all(|group| text(group, "Status") == "active") {
        return None;
    }
    let stay = groups.iter().filter(|group| text(group, "Status") != "removing");
    Some(stay.map(|group| membership(text(group, "VpcSecurityGroupId"), "active")).collect())
}

fn membership(id: &str, state: &str) -> Value {
    json!({ "VpcSecurityGroupId": id, "Status": state })
}
