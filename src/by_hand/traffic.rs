//! The public record's answers: the failover object, and Route 53's record sets.

use serde_json::{Value, json};

use crate::estate::types::{CnameRecord, Dns, Estate, FailoverObject, RecordShape};
use crate::shell;

/// Where the record sets are kept as they were.
const BEFORE: &str = "RECORDS.json";
/// Where the changes are written.
const CHANGES: &str = "CHANGES.json";

const NO_NAME: &str = "# the estate names no public record";

/// Returns the command that changes record sets.
pub(crate) fn change(zone: &str, batch: &str) -> String {
    format!(
        "aws route53 change-resource-record-sets --hosted-zone-id {zone} --change-batch {}",
        shell::word(batch)
    )
}

/// Returns the command that writes a private record.
pub(crate) fn cname(record: &CnameRecord, target: &Value, ttl: &Value) -> String {
    let batch = json!({ "Changes": [{ "Action": "UPSERT", "ResourceRecordSet": {
        "Name": record.name, "Type": "CNAME", "TTL": ttl, "ResourceRecords": [{ "Value": target }],
    } }] });
    change(&record.zone, &batch.to_string())
}

/// Returns the command that puts the failover object in place, or takes it away.
pub(crate) fn failover_object(object: &FailoverObject, wanted: bool) -> String {
    let verb = if wanted { "put-object" } else { "delete-object" };
    format!(
        "aws s3api {verb} --region {} --bucket {} --key {}",
        object.region,
        object.bucket,
        shell::word(&object.key)
    )
}

/// The object moves traffic away from the primary region while it is there.
pub(super) fn object(estate: &Estate, to: &str) -> Vec<String> {
    match estate.dns.as_ref().and_then(|dns| dns.failover_object.as_ref()) {
        Some(object) => vec![failover_object(object, to != estate.primary.region)],
        None => vec!["# the estate has no failover object".to_owned()],
    }
}

/// Writes the batch out of what is there: TTL, targets and health checks stay as they are.
fn batch(dns: &Dns, edit: &str) -> String {
    let filter = format!("{{Changes: [.[]{edit} | {{Action: \"UPSERT\", ResourceRecordSet: .}}]}}");
    let file = if edit.is_empty() { "UNDO.json" } else { CHANGES };
    let made = format!("jq {} {BEFORE} > {file}", shell::word(&filter));
    format!("{made}\n{}", change(&dns.zone, &format!("file://{file}")))
}

/// Returns the command that shows the record sets of the public name.
pub(crate) fn record_sets(dns: &Dns) -> String {
    let (zone, name) = (&dns.zone, dns.name.trim_end_matches('.'));
    let query = format!("ResourceRecordSets[?Name=='{name}.' && Type=='{}']", dns.record_type);
    let query = shell::word(&query);
    format!("aws route53 list-resource-record-sets --hosted-zone-id {zone} --query {query}")
}

/// Returns the commands that move the record sets, written out of what is there.
pub(crate) fn records(estate: &Estate, to: &str) -> Vec<String> {
    let Some(dns) = &estate.dns else { return vec![NO_NAME.to_owned()] };
    let own = dns.records.get(to).map_or("SET_IDENTIFIER", String::as_str);
    let edit = match dns.shape {
        RecordShape::Weighted => format!(
            " | .Weight = (if .SetIdentifier != \"{own}\" then 0 elif .Weight > 0 then .Weight else 100 end)"
        ),
        RecordShape::Failover => format!(
            " | .Failover = (if .SetIdentifier == \"{own}\" then \"PRIMARY\" else \"SECONDARY\" end)"
        ),
    };
    let mut lines = vec![format!("{} > {BEFORE}", record_sets(dns))];
    lines.extend(batch(dns, &edit).lines().map(str::to_owned));
    lines.push("aws route53 wait resource-record-sets-changed --id CHANGE_ID".to_owned());
    lines
}

pub(super) fn records_back(estate: &Estate) -> Vec<String> {
    let Some(dns) = &estate.dns else { return vec![NO_NAME.to_owned()] };
    batch(dns, "").lines().map(str::to_owned).collect()
}

/// Every way the estate has, the one that needs no control plane first.
pub(super) fn shift(estate: &Estate, to: &str) -> Vec<String> {
    let mut lines = Vec::new();
    if estate.dns.as_ref().is_some_and(|dns| dns.failover_object.is_some()) {
        lines.push("# works while Route 53 takes no changes:".to_owned());
        lines.extend(object(estate, to));
        lines.push("# and once it takes them, the record sets:".to_owned());
    }
    lines.extend(records(estate, to));
    lines
}

pub(super) fn shift_back(estate: &Estate, from: &str) -> Vec<String> {
    let mut lines = records_back(estate);
    if estate.dns.as_ref().is_some_and(|dns| dns.failover_object.is_some()) {
        lines.extend(object(estate, from));
    }
    lines
}
