//! What the bodies of a world's objects may say: for each kind of object its fields, with type, range and words.
//!
//! One table a kind, of which the check and the schema in `docs/` are made. AWS's bodies have more fields than the
//! simulation looks at, and those are taken as they are; the simulation's own kinds have no others.

mod databases;
mod routing;
mod storage;
#[cfg(test)]
mod tests;

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::LazyLock;

use schemars::JsonSchema;
use serde_json::{Map, Value, json};

use super::world::{Endpoint, Kind, Postgres};
use crate::runbook::shape::{self, Finding, Schema};

/// What the value of a field may be.
enum Of {
    Text,
    /// One of these words
    Words(&'static [&'static str]),
    /// A whole number from one to another
    Whole(i64, i64),
    Flag,
    Instant,
    /// A list of texts
    Texts,
    /// A mapping with these fields
    Inside(&'static [Field]),
    /// A list of such mappings
    Each(&'static [Field]),
    /// A mapping of names to texts
    Named,
}

/// A field of a body.
struct Field {
    name: &'static str,
    of: Of,
    /// It may not be left out
    must: bool,
    /// What it is, where no documentation but this program's own has it
    about: &'static str,
}

const fn may(name: &'static str, of: Of) -> Field {
    Field { name, of, must: false, about: "" }
}

const fn must(name: &'static str, of: Of) -> Field {
    Field { name, of, must: true, about: "" }
}

const fn own(name: &'static str, of: Of, about: &'static str) -> Field {
    Field { name, of, must: false, about }
}

/// The fields of a kind's body.
enum Fields {
    /// AWS's: these, in one list or several, and others that nothing here looks at
    Known(&'static [&'static [Field]]),
    /// The simulation's own: these alone
    All(&'static [Field]),
    /// A type of the simulation's
    Typed(fn() -> Schema),
    /// A manifest, which its API server's types are for
    Manifest,
}

const fn fields(kind: Kind) -> Fields {
    match kind {
        Kind::RdsInstance => Fields::Known(&[databases::SERVER, databases::INSTANCE]),
        Kind::RdsSnapshot => Fields::Known(&[databases::SNAPSHOT]),
        Kind::RdsBackup => Fields::Known(&[databases::BACKUP]),
        Kind::RdsSubnetGroup => Fields::Known(&[databases::SUBNET_GROUP]),
        Kind::RdsParameterGroup => Fields::Known(&[databases::PARAMETER_GROUP]),
        Kind::RdsCluster => Fields::Known(&[databases::SERVER, databases::CLUSTER]),
        Kind::RdsGlobal => Fields::Known(&[databases::GLOBAL]),
        Kind::SecurityGroup => Fields::Known(&[databases::SECURITY_GROUP]),
        Kind::Zone => Fields::Known(&[routing::ZONE]),
        Kind::HealthCheck => Fields::Known(&[routing::HEALTH_CHECK]),
        Kind::Change => Fields::Known(&[routing::CHANGE]),
        Kind::HealthEvent => Fields::Known(&[routing::EVENT]),
        Kind::Bucket => Fields::All(storage::BUCKET),
        Kind::S3Object | Kind::S3Version | Kind::S3Upload | Kind::S3Underway => {
            Fields::Known(&[storage::OBJECT])
        }
        Kind::Program => Fields::All(storage::PROGRAM),
        Kind::Endpoint => Fields::Typed(Schema::of::<Endpoint>),
        Kind::Postgres => Fields::Typed(Schema::of::<Postgres>),
        Kind::Kubernetes => Fields::Manifest,
    }
}

/// Every kind that has a table or a type.
const KINDS: [Kind; 20] = [
    Kind::RdsInstance,
    Kind::RdsSnapshot,
    Kind::RdsBackup,
    Kind::RdsSubnetGroup,
    Kind::RdsParameterGroup,
    Kind::RdsCluster,
    Kind::RdsGlobal,
    Kind::SecurityGroup,
    Kind::Zone,
    Kind::HealthCheck,
    Kind::Change,
    Kind::HealthEvent,
    Kind::Bucket,
    Kind::S3Object,
    Kind::S3Version,
    Kind::S3Upload,
    Kind::S3Underway,
    Kind::Program,
    Kind::Endpoint,
    Kind::Postgres,
];

/// How much of a body is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Part {
    Whole,
    /// What of it changes: nothing has to be there
    Change,
}

/// Returns everything in which a body, its instants resolved, differs from what its kind allows.
pub(super) fn check(kind: Kind, part: Part, body: &Map<String, Value>) -> Vec<Finding> {
    static WHOLE: LazyLock<BTreeMap<Kind, Schema>> = LazyLock::new(|| schemas(Part::Whole));
    static CHANGE: LazyLock<BTreeMap<Kind, Schema>> = LazyLock::new(|| schemas(Part::Change));
    let all = match part {
        Part::Whole => &WHOLE,
        Part::Change => &CHANGE,
    };
    all.get(&kind).map(|schema| shape::check_fields(schema, body)).unwrap_or_default()
}

fn schemas(part: Part) -> BTreeMap<Kind, Schema> {
    let of = |kind: Kind| {
        let mut root = root(kind)?;
        if part == Part::Change
            && let Some(root) = root.as_object_mut()
        {
            root.remove("required");
        }
        Some((kind, Schema::from_value(root)))
    };
    KINDS.into_iter().filter_map(of).collect()
}

/// Returns the schema of a kind's body.
fn root(kind: Kind) -> Option<Value> {
    match fields(kind) {
        Fields::Known(fields) => Some(mapping(fields, true)),
        Fields::All(fields) => Some(mapping(&[fields], false)),
        Fields::Typed(schema) => Some(schema().root().clone()),
        Fields::Manifest => None,
    }
}

fn mapping(lists: &[&[Field]], others: bool) -> Value {
    let fields = || lists.iter().copied().flatten();
    let properties: Map<String, Value> =
        fields().map(|field| (field.name.to_owned(), field.schema())).collect();
    let required: Vec<&str> = fields().filter(|field| field.must).map(|field| field.name).collect();
    let mut schema = json!({ "type": "object", "properties": properties });
    if !required.is_empty() {
        schema["required"] = json!(required);
    }
    if !others {
        schema["additionalProperties"] = json!(false);
    }
    schema
}

impl Field {
    fn schema(&self) -> Value {
        let mut schema = match &self.of {
            Of::Text => json!({ "type": "string" }),
            Of::Words(words) => json!({ "type": "string", "enum": words }),
            Of::Whole(least, most) => {
                json!({ "type": "integer", "minimum": least, "maximum": most })
            }
            Of::Flag => json!({ "type": "boolean" }),
            Of::Instant => instant(),
            Of::Texts => json!({ "type": "array", "items": { "type": "string" } }),
            Of::Inside(fields) => mapping(&[fields], true),
            Of::Each(fields) => json!({ "type": "array", "items": mapping(&[fields], true) }),
            Of::Named => json!({ "type": "object", "additionalProperties": { "type": "string" } }),
        };
        if !self.about.is_empty() {
            schema["description"] = json!(self.about);
        }
        schema
    }
}

/// An instant as worlds have it, for schemas.
pub(super) struct Instant;

impl JsonSchema for Instant {
    fn schema_name() -> Cow<'static, str> {
        "Instant".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::Schema::try_from(instant()).expect("a schema is a mapping, and this is one")
    }
}

fn instant() -> Value {
    json!({
        "type": "string",
        "format": "instant",
        "pattern": "^(now([-+]([0-9]+d)?([0-9]+h)?([0-9]+m)?([0-9]+s)?([0-9]+ms)?)?|[0-9]{4}-[0-9]{2}-[0-9]{2}[T ].+)$",
    })
}

/// Adds the schemas of the bodies to that of world files: which one holds is said by an object's `type`.
#[cfg(test)]
pub(super) fn document(schema: &mut Value) {
    let mut ways = Vec::new();
    for kind in KINDS {
        let Some(mut root) = root(kind) else { continue };
        let body = root.as_object_mut().expect("a body is a mapping");
        body.remove("$schema");
        for (name, definition) in
            body.remove("$defs").and_then(|all| all.as_object().cloned()).into_iter().flatten()
        {
            schema["$defs"][name] = definition;
        }
        let name = kind.name();
        schema["$defs"][name] = root;
        ways.push(json!({
            "if": { "properties": { "type": { "const": name } } },
            "then": { "properties": { "body": { "$ref": format!("#/$defs/{name}") } } },
        }));
    }
    schema["$defs"]["WorldObject"]["allOf"] = json!(ways);
}
