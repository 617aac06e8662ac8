//! AWS's wire formats between a request and JSON in the AWS CLI's shape: query forms, and XML both ways.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use serde_json::{Map, Value};
use xmlparser::{ElementEnd, Token, Tokenizer};

/// Parameters of a query request or of a URL.
pub(in crate::sandbox) type Params = BTreeMap<String, String>;

/// What an operation answers when it cannot be done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct AwsError {
    pub status: u16,
    pub code: &'static str,
    pub message: String,
    /// Headers that say more
    pub headers: Vec<(String, String)>,
}

impl AwsError {
    pub(super) fn new(status: u16, code: &'static str, message: impl Into<String>) -> Self {
        Self { status, code, message: message.into(), headers: Vec::new() }
    }

    /// Says more in a header.
    #[must_use]
    pub(super) fn header(mut self, name: &str, value: impl Into<String>) -> Self {
        self.headers.push((name.to_owned(), value.into()));
        self
    }
}

/// Reads a form body or a URL's query.
pub(in crate::sandbox) fn form(text: &str) -> Params {
    let pairs = text.split('&').filter(|pair| !pair.is_empty());
    pairs
        .map(|pair| {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            (decode(name), decode(value))
        })
        .collect()
}

/// Undoes URL encoding.
pub(super) fn decode(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut plain = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while let Some(byte) = bytes.get(at) {
        let hex = (*byte == b'%').then(|| text.get(at + 1..at + 3)).flatten();
        match hex.and_then(|digits| u8::from_str_radix(digits, 16).ok()) {
            Some(value) => {
                plain.push(value);
                at += 3;
            }
            None => {
                plain.push(if *byte == b'+' { b' ' } else { *byte });
                at += 1;
            }
        }
    }
    String::from_utf8_lossy(&plain).into_owned()
}

/// Returns a list parameter's members, e.g. of `VpcSecurityGroupIds.VpcSecurityGroupId`.
pub(super) fn list(params: &Params, prefix: &str) -> Vec<String> {
    (1..).map_while(|i| params.get(&format!("{prefix}.{i}")).cloned()).collect()
}

/// Returns the filters of a query request: each name with its values.
pub(super) fn filters(params: &Params) -> Vec<(String, Vec<String>)> {
    let filter = |i: usize| {
        let name = params.get(&format!("Filters.Filter.{i}.Name"))?.clone();
        Some((name, list(params, &format!("Filters.Filter.{i}.Values.Value"))))
    };
    (1..).map_while(filter).collect()
}

/// Returns the tags of a query request.
pub(super) fn tags(params: &Params) -> Vec<(String, String)> {
    let tag = |i: usize| {
        let key = params.get(&format!("Tags.Tag.{i}.Key"))?.clone();
        let value = params.get(&format!("Tags.Tag.{i}.Value")).cloned().unwrap_or_default();
        Some((key, value))
    };
    (1..).map_while(tag).collect()
}

/// Element of each list's members, where it is not `member`.
const MEMBERS: [(&str, &str); 31] = [
    ("DBInstances", "DBInstance"),
    ("DBSnapshots", "DBSnapshot"),
    ("DBInstanceAutomatedBackups", "DBInstanceAutomatedBackup"),
    ("DBInstanceAutomatedBackupsReplications", "DBInstanceAutomatedBackupsReplication"),
    ("DBSubnetGroups", "DBSubnetGroup"),
    ("DBParameterGroups", "DBParameterGroup"),
    ("DBSecurityGroups", "DBSecurityGroup"),
    ("OptionGroupMemberships", "OptionGroupMembership"),
    ("DomainMemberships", "DomainMembership"),
    ("AssociatedRoles", "DBInstanceRole"),
    ("VpcSecurityGroups", "VpcSecurityGroupMembership"),
    ("Subnets", "Subnet"),
    ("StatusInfos", "DBInstanceStatusInfo"),
    ("ReadReplicaDBInstanceIdentifiers", "ReadReplicaDBInstanceIdentifier"),
    ("TagList", "Tag"),
    ("ResourceRecordSets", "ResourceRecordSet"),
    ("ResourceRecords", "ResourceRecord"),
    ("HostedZones", "HostedZone"),
    ("HealthCheckObservations", "HealthCheckObservation"),
    ("RecordData", "RecordDataEntry"),
    ("Changes", "Change"),
    ("AvailabilityZones", "AvailabilityZone"),
    ("DBClusters", "DBCluster"),
    ("DBClusterMembers", "DBClusterMember"),
    ("GlobalClusters", "GlobalClusterMember"),
    ("GlobalClusterMembers", "GlobalClusterMember"),
    ("ReadReplicaIdentifiers", "ReadReplicaIdentifier"),
    ("HealthChecks", "HealthCheck"),
    ("ChildHealthChecks", "ChildHealthCheck"),
    ("Regions", "Region"),
    ("NameServers", "NameServer"),
];

/// Writes a value as an element.
pub(super) fn xml(name: &str, value: &Value, out: &mut String) {
    match value {
        Value::Null => {}
        Value::Object(fields) => {
            let _ = write!(out, "<{name}>");
            // What begins with `_` is the simulation's own.
            let shown = fields.iter().filter(|(name, _)| !name.starts_with('_'));
            shown.for_each(|(name, value)| xml(name, value, out));
            let _ = write!(out, "</{name}>");
        }
        Value::Array(items) => {
            let known = MEMBERS.iter().find(|(list, _)| *list == name);
            let member = known.map_or("member", |(_, member)| member);
            let _ = write!(out, "<{name}>");
            items.iter().for_each(|item| xml(member, item, out));
            let _ = write!(out, "</{name}>");
        }
        Value::String(text) => {
            let _ = write!(out, "<{name}>{}</{name}>", escaped(text));
        }
        Value::Bool(_) | Value::Number(_) => {
            let _ = write!(out, "<{name}>{value}</{name}>");
        }
    }
}

pub(super) fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

/// Reads an XML body: elements with children become objects, lists become lists, the rest are texts.
pub(super) fn read_xml(text: &str) -> Result<Value, AwsError> {
    let invalid =
        |why: String| AwsError::new(400, "MalformedXML", format!("the body is no XML: {why}"));
    let mut open: Vec<Element> = Vec::new();
    let mut root = None;
    for token in Tokenizer::from(text) {
        match token.map_err(|error| invalid(error.to_string()))? {
            Token::ElementStart { local, .. } => {
                open.push(Element { name: local.as_str().to_owned(), ..Element::default() });
            }
            Token::Text { text } | Token::Cdata { text, .. } => {
                if let Some(inner) = open.last_mut() {
                    inner.text.push_str(text.as_str());
                }
            }
            Token::ElementEnd { end: ElementEnd::Close(..) | ElementEnd::Empty, .. } => {
                let closed = open.pop().ok_or_else(|| invalid("it closes too much".to_owned()))?;
                let (name, value) = closed.read();
                match open.last_mut() {
                    Some(parent) => parent.children.push((name, value)),
                    None => root = Some(value),
                }
            }
            _ => {}
        }
    }
    root.ok_or_else(|| invalid("it holds no element".to_owned()))
}

/// An element while it is read.
#[derive(Default)]
struct Element {
    name: String,
    children: Vec<(String, Value)>,
    text: String,
}

impl Element {
    /// Returns its name and what it holds.
    fn read(self) -> (String, Value) {
        let Self { name, children, text } = self;
        if children.is_empty() {
            let text = text
                .replace("&lt;", "<")
                .replace("&gt;", ">")
                .replace("&quot;", "\"")
                .replace("&apos;", "'")
                .replace("&amp;", "&");
            return (name, Value::String(text));
        }
        if MEMBERS.iter().any(|(list, _)| *list == name) {
            return (name, children.into_iter().map(|(_, value)| value).collect());
        }
        let mut fields = Map::new();
        for (name, value) in children {
            match fields.get_mut(&name) {
                None => {
                    fields.insert(name, value);
                }
                // A list without an element around it.
                Some(Value::Array(known)) => known.push(value),
                Some(known) => *known = Value::Array(vec![known.take(), value]),
            }
        }
        (name, Value::Object(fields))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_is_written_is_read_back() {
        let value = json!({ "ChangeBatch": { "Comment": "a < b & \"c\"", "Changes": [
            { "Action": "UPSERT", "ResourceRecordSet": { "Name": "a.example.", "TTL": "60",
              "ResourceRecords": [{ "Value": "x" }, { "Value": "y" }] } },
        ] } });
        let mut text = "<?xml version=\"1.0\"?>".to_owned();
        xml("ChangeResourceRecordSetsRequest", &value, &mut text);
        assert_eq!(read_xml(&text), Ok(value));
        assert!(read_xml("<a>").is_err());
        assert!(read_xml("not xml").is_err());
    }

    #[test]
    fn forms_are_decoded() {
        let params = form("Action=A&Tags.Tag.1.Key=phoenix-dr%3Arun&Tags.Tag.1.Value=a+b&G.Id.1=x");
        assert_eq!(tags(&params), [("phoenix-dr:run".to_owned(), "a b".to_owned())]);
        assert_eq!(list(&params, "G.Id"), ["x"]);
        assert_eq!(decode("%zz%4"), "%zz%4");
    }
}
