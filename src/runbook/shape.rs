//! Values against JSON Schemas of our own types: every misfit at once, with what was probably meant.
//!
//! Knows the part of JSON Schema that schemars writes for the types of this crate, no more.

use std::sync::LazyLock;

use serde_json::{Map, Value};

use super::expression::template;
use super::near;
use super::path::Path;

/// Words that are all said where one of them is probably meant; of more, that one is enough.
const WORDS_MAX: usize = 12;

/// A schema with the definitions it refers to.
#[derive(Debug, Clone)]
pub(crate) struct Schema {
    root: Value,
}

impl Schema {
    /// Returns the schema of a type.
    pub(crate) fn of<T: schemars::JsonSchema>() -> Self {
        Self { root: schemars::schema_for!(T).to_value() }
    }

    /// Returns the schema in a value that schemars wrote.
    pub(crate) const fn from_value(root: Value) -> Self {
        Self { root }
    }

    /// Returns the whole schema.
    pub(crate) const fn root(&self) -> &Value {
        &self.root
    }

    /// Follows `$ref` to what it stands for.
    pub(crate) fn resolve<'a>(&'a self, mut node: &'a Value) -> &'a Value {
        // Each hop is a definition; a chain longer than their number would be a circle.
        for _ in 0..64 {
            let Some(name) = node.get("$ref").and_then(Value::as_str) else { return node };
            let Some(target) = name.strip_prefix('#').and_then(|name| self.root.pointer(name))
            else {
                return node;
            };
            node = target;
        }
        node
    }

    /// Returns the alternatives a node allows; the node itself where there is one way only.
    pub(crate) fn alternatives<'a>(&'a self, node: &'a Value) -> Vec<&'a Value> {
        let node = self.resolve(node);
        let list = node.get("anyOf").or_else(|| node.get("oneOf")).and_then(Value::as_array);
        match list {
            None => vec![node],
            Some(list) => list.iter().flat_map(|node| self.alternatives(node)).collect(),
        }
    }
}

/// Whether texts may hold `${{ … }}`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Texts {
    Literal,
    /// A text that is one expression may become anything; one that holds an expression stays a text
    Templates,
}

/// What of a path a finding is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Place {
    Key,
    Value,
}

/// One misfit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Finding {
    pub path: Path,
    pub place: Place,
    pub message: String,
    pub help: Option<String>,
}

/// Returns everything in which the fields of a mapping differ from what the schema allows.
pub(crate) fn check_fields(schema: &Schema, fields: &Map<String, Value>) -> Vec<Finding> {
    let mut walk = Walk { schema, texts: Texts::Literal, found: Vec::new(), wholes: Vec::new() };
    walk.object(schema.resolve(schema.root()), fields, &Path::root());
    walk.found
}

/// A text that is one expression, with the schema of what is wanted in its place.
#[derive(Debug)]
pub(crate) struct Whole<'a> {
    pub path: Path,
    pub text: &'a str,
    pub wanted: &'a Value,
}

/// Returns everything in which a value differs from what the schema allows.
pub(crate) fn check(schema: &Schema, value: &Value, texts: Texts) -> Vec<Finding> {
    let mut walk = Walk { schema, texts, found: Vec::new(), wholes: Vec::new() };
    walk.value(schema.root(), value, &Path::root());
    walk.found
}

/// Returns everything in which arguments differ from their schema, and the expressions whose values are
/// arguments.
pub(crate) fn check_arguments<'a>(
    schema: &'a Schema,
    with: &'a Map<String, Value>,
) -> (Vec<Finding>, Vec<Whole<'a>>) {
    let mut walk = Walk { schema, texts: Texts::Templates, found: Vec::new(), wholes: Vec::new() };
    let way = schema.resolve(schema.root());
    walk.object(way, with, &Path::root());
    (walk.found, walk.wholes)
}

struct Walk<'a> {
    schema: &'a Schema,
    texts: Texts,
    found: Vec<Finding>,
    wholes: Vec<Whole<'a>>,
}

impl<'a> Walk<'a> {
    fn value(&mut self, node: &'a Value, value: &'a Value, path: &Path) {
        if let Value::String(text) = value
            && self.texts == Texts::Templates
            && template::holds_expression(text)
        {
            self.template(node, text, path);
            return;
        }
        let schema = self.schema;
        let ways = schema.alternatives(node);
        if ways.iter().any(|way| way.as_object().is_none_or(Map::is_empty)) {
            return;
        }
        let Some(way) = self.best(&ways, value) else {
            self.say(path, misfit(&ways, value), help_for(&ways, value));
            return;
        };
        match value {
            Value::Object(entries) => self.object(way, entries, path),
            Value::Array(items) => {
                if let Some(node) = way.get("items") {
                    for (i, item) in items.iter().enumerate() {
                        self.value(node, item, &path.item(i));
                    }
                }
            }
            Value::Number(_) => {
                if let Some(message) = out_of_range(way, value) {
                    self.say(path, message, None);
                }
            }
            Value::Null | Value::Bool(_) | Value::String(_) => {}
        }
    }

    /// Holds a text with expressions against what is wanted: it stays a text unless it is one expression.
    fn template(&mut self, node: &'a Value, text: &'a str, path: &Path) {
        if template::is_whole(text) {
            self.wholes.push(Whole { path: path.clone(), text, wanted: node });
            return;
        }
        let ways = self.schema.alternatives(node);
        let fits = ways.iter().any(|way| {
            let free = way.as_object().is_none_or(Map::is_empty);
            free || (has_type(way, "string") && way.get("enum").is_none())
        });
        if !fits {
            let message =
                format!("expected {}, found text with an expression in it", wanted(&ways));
            self.say(path, message, None);
        }
    }

    fn object(&mut self, way: &'a Value, entries: &'a Map<String, Value>, path: &Path) {
        static EMPTY: LazyLock<Map<String, Value>> = LazyLock::new(Map::new);
        let known = way.get("properties").and_then(Value::as_object).unwrap_or(&EMPTY);
        let others = way.get("additionalProperties");
        for (key, value) in entries {
            match (known.get(key), others) {
                (Some(node), _) => self.value(node, value, &path.key(key)),
                (None, Some(Value::Bool(false))) => self.unknown(key, known, entries, path),
                (None, Some(node @ Value::Object(_))) => self.value(node, value, &path.key(key)),
                (None, _) => {}
            }
            if let Some(names) = way.get("propertyNames") {
                self.name(names, key, path);
            }
        }
        let required = way.get("required").and_then(Value::as_array);
        for key in required.into_iter().flatten().filter_map(Value::as_str) {
            if !entries.contains_key(key) {
                let help = known.get(key).and_then(description).map(|say| format!("{key}: {say}"));
                self.found.push(Finding {
                    path: path.clone(),
                    place: Place::Key,
                    message: format!("`{key}` is missing{}", inside(path)),
                    help,
                });
            }
        }
    }

    fn name(&mut self, names: &'a Value, key: &str, path: &Path) {
        let schema = self.schema;
        let words = words(&schema.alternatives(names));
        if !words.is_empty() && !words.iter().any(|word| word == key) {
            let help = near::hint(key, words.iter().map(String::as_str));
            self.found.push(Finding {
                path: path.key(key),
                place: Place::Key,
                message: format!("unknown name `{key}`{}", inside(path)),
                help,
            });
        }
    }

    fn unknown(
        &mut self,
        key: &str,
        known: &Map<String, Value>,
        entries: &Map<String, Value>,
        path: &Path,
    ) {
        // A key that is there already was not what was meant.
        let free = known.keys().map(String::as_str).filter(|name| !entries.contains_key(*name));
        let help = near::hint(key, free).or_else(|| {
            let all: Vec<&str> = known.keys().map(String::as_str).collect();
            (!all.is_empty()).then(|| format!("known here: {}", all.join(", ")))
        });
        self.found.push(Finding {
            path: path.key(key),
            place: Place::Key,
            message: format!("unknown key `{key}`{}", inside(path)),
            help,
        });
    }

    fn say(&mut self, path: &Path, message: String, help: Option<String>) {
        self.found.push(Finding { path: path.clone(), place: Place::Value, message, help });
    }

    /// Returns the alternative a value was probably meant to be; none where no one can hold it.
    fn best(&self, ways: &[&'a Value], value: &Value) -> Option<&'a Value> {
        let mut fitting = ways.iter().copied().filter(|way| holds(way, value));
        let first = fitting.next()?;
        let Value::Object(entries) = value else { return Some(first) };
        // Between several kinds of mapping, the one that knows most of the keys.
        let score = |way: &Value| {
            let known = way.get("properties").and_then(Value::as_object);
            known.map_or(0, |known| entries.keys().filter(|key| known.contains_key(*key)).count())
        };
        Some(fitting.fold(first, |best, way| if score(way) > score(best) { way } else { best }))
    }
}

/// Returns ` in PATH`, or nothing for the whole file.
fn inside(path: &Path) -> String {
    if path.0.is_empty() { String::new() } else { format!(" in {path}") }
}

fn description(node: &Value) -> Option<&str> {
    node.get("description").and_then(Value::as_str)
}

fn has_type(way: &Value, name: &str) -> bool {
    match way.get("type") {
        Some(Value::String(kind)) => kind == name,
        Some(Value::Array(kinds)) => kinds.iter().any(|kind| kind == name),
        _ => false,
    }
}

/// Says whether one alternative can hold a value, looking at it alone.
fn holds(way: &Value, value: &Value) -> bool {
    if let Some(word) = way.get("const") {
        return word == value;
    }
    if let Some(words) = way.get("enum").and_then(Value::as_array) {
        return words.contains(value);
    }
    if way.get("type").is_none() {
        return true;
    }
    match value {
        Value::Null => has_type(way, "null"),
        Value::Bool(_) => has_type(way, "boolean"),
        Value::Number(number) => {
            has_type(way, "number")
                || (has_type(way, "integer") && (number.is_i64() || number.is_u64()))
        }
        Value::String(text) => has_type(way, "string") && formatted(way, text),
        Value::Array(_) => has_type(way, "array"),
        Value::Object(_) => has_type(way, "object"),
    }
}

fn format(way: &Value) -> Option<&str> {
    way.get("format").and_then(Value::as_str)
}

fn formatted(way: &Value, text: &str) -> bool {
    match format(way) {
        Some("span") => text.parse::<crate::span::Span>().is_ok(),
        Some("instant") => text.parse::<jiff::Timestamp>().is_ok(),
        Some(_) | None => true,
    }
}

fn out_of_range(way: &Value, value: &Value) -> Option<String> {
    let number = value.as_f64()?;
    let limit = |key: &str| way.get(key).and_then(Value::as_f64);
    if let Some(least) = limit("minimum")
        && number < least
    {
        return Some(format!("{value} is too small; at least {least}"));
    }
    let largest = limit("maximum").or(match format(way) {
        Some("int32") => Some(f64::from(i32::MAX)),
        Some("uint32") => Some(f64::from(u32::MAX)),
        Some("uint16") => Some(f64::from(u16::MAX)),
        Some("uint8") => Some(f64::from(u8::MAX)),
        _ => None,
    });
    largest
        .filter(|largest| number > *largest)
        .map(|largest| format!("{value} is too large; at most {largest}"))
}

/// Returns the words alternatives name, for enumerations.
fn words(ways: &[&Value]) -> Vec<String> {
    let mut found = Vec::new();
    for way in ways {
        let single = way.get("const").into_iter();
        let several = way.get("enum").and_then(Value::as_array).into_iter().flatten();
        found.extend(single.chain(several).filter_map(Value::as_str).map(str::to_owned));
    }
    found
}

/// Returns what alternatives want, as a person says it.
fn wanted(ways: &[&Value]) -> String {
    let words = words(ways);
    if !words.is_empty() {
        let others = ways.iter().any(|way| {
            let word = way.get("const").is_some() || way.get("enum").is_some();
            let null = has_type(way, "null") && way.get("type").is_some_and(Value::is_string);
            !(word || null)
        });
        let list = words.join(", ");
        return if others { format!("{list} or another form") } else { format!("one of {list}") };
    }
    let mut kinds: Vec<&str> = Vec::new();
    for way in ways {
        let text = match format(way) {
            Some("span") => "a length of time such as 30s or 1h30m",
            Some("instant") => "an instant such as 2026-11-22T02:18:00Z or now-7s",
            Some(_) | None => "text",
        };
        for (name, say) in [
            ("string", text),
            ("integer", "a whole number"),
            ("number", "a number"),
            ("boolean", "true or false"),
            ("array", "a list"),
            ("object", "a mapping"),
        ] {
            if has_type(way, name) && !kinds.contains(&say) {
                kinds.push(say);
            }
        }
    }
    kinds.join(" or ")
}

/// Returns a value's kind, and the value where it is short, as a person says it.
pub(crate) fn found(value: &Value) -> String {
    match value {
        Value::Null => "nothing".to_owned(),
        Value::Bool(flag) => format!("`{flag}`"),
        Value::Number(number) => format!("the number {number}"),
        Value::String(text) if text.chars().count() <= 40 => format!("the text `{text}`"),
        Value::String(_) => "a long text".to_owned(),
        Value::Array(_) => "a list".to_owned(),
        Value::Object(_) => "a mapping".to_owned(),
    }
}

fn misfit(ways: &[&Value], value: &Value) -> String {
    let words = words(ways);
    if let Value::String(text) = value
        && words.len() > WORDS_MAX
        && near::nearest(text, words.iter().map(String::as_str)).is_some()
    {
        return format!("`{text}` is none of the {} words known here", words.len());
    }
    format!("expected {}, found {}", wanted(ways), found(value))
}

fn help_for(ways: &[&Value], value: &Value) -> Option<String> {
    let wants = |kind: &str| ways.iter().any(|way| has_type(way, kind));
    let text = wants("string");
    let help = match value {
        Value::String(text) => {
            let words = words(ways);
            if let Some(hint) = near::hint(text, words.iter().map(String::as_str)) {
                return Some(hint);
            }
            form(wants("array"), wants("object"))?
        }
        Value::Bool(_) | Value::Number(_) if text => "quote it where it is meant as text",
        Value::Object(_) if text => {
            "a text that begins with `{`, or with `: ` in it, is quoted: '…'"
        }
        Value::Array(_) if text => "a text that begins with `[` or `- ` is quoted: '…'",
        Value::Null if text => "write a value behind the colon, or leave the key out",
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_) => {
            form(wants("array"), wants("object"))?
        }
    };
    Some(help.to_owned())
}

/// Returns how a list or a mapping is written, where one is wanted.
fn form(list: bool, mapping: bool) -> Option<&'static str> {
    match (list, mapping) {
        (true, _) => Some("a list is `[a, b]`, or an item a line, each behind `- `"),
        (false, true) => {
            Some("a mapping is `key: value` lines, indented below its key, without `- `")
        }
        (false, false) => None,
    }
}
