//! Selectors of labels and of fields.

use serde_json::{Map, Value};

use super::failure::Failure;
use super::store::text;

/// What a list or a watch is narrowed to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Selector {
    labels: Vec<Term>,
    fields: Vec<(String, String, bool)>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Term {
    label: String,
    values: Vec<String>,
    test: Test,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Test {
    In,
    NotIn,
    Exists,
    Missing,
}

/// Fields besides name and namespace that lists may be narrowed by.
const FIELDS: [(&str, &[&str]); 4] = [
    (
        "Pod",
        &[
            "spec.nodeName",
            "spec.restartPolicy",
            "spec.schedulerName",
            "spec.serviceAccountName",
            "status.phase",
            "status.podIP",
            "status.nominatedNodeName",
        ],
    ),
    (
        "Event",
        &[
            "involvedObject.kind",
            "involvedObject.namespace",
            "involvedObject.name",
            "involvedObject.uid",
            "involvedObject.apiVersion",
            "involvedObject.resourceVersion",
            "involvedObject.fieldPath",
            "reason",
            "reportingComponent",
            "source",
            "type",
        ],
    ),
    ("Secret", &["type"]),
    ("Node", &["spec.unschedulable"]),
];

impl Selector {
    pub(super) fn parse(labels: &str, fields: &str, kind: &str) -> Result<Self, Failure> {
        Ok(Self { labels: labels_of(labels)?, fields: fields_of(fields, kind)? })
    }

    /// Returns the selector that a LabelSelector object says; `None` where it selects nothing.
    pub(super) fn of(object: &Value) -> Option<Self> {
        let mut labels = Vec::new();
        for (label, value) in object["matchLabels"].as_object().into_iter().flatten() {
            let values = vec![value.as_str()?.to_owned()];
            labels.push(Term { label: label.clone(), values, test: Test::In });
        }
        for term in object["matchExpressions"].as_array().into_iter().flatten() {
            let test = match text(term, "/operator") {
                "In" => Test::In,
                "NotIn" => Test::NotIn,
                "Exists" => Test::Exists,
                "DoesNotExist" => Test::Missing,
                _ => return None,
            };
            let values = term["values"].as_array().into_iter().flatten();
            let values = values.filter_map(Value::as_str).map(str::to_owned).collect();
            labels.push(Term { label: text(term, "/key").to_owned(), values, test });
        }
        Some(Self { labels, fields: Vec::new() })
    }

    pub(super) fn is_empty(&self) -> bool {
        self.labels.is_empty() && self.fields.is_empty()
    }

    pub(super) fn matches(&self, object: &Value) -> bool {
        self.has_labels(&object["metadata"]["labels"])
            && self.fields.iter().all(|(path, value, same)| {
                let found = object.pointer(path);
                let found = match found {
                    Some(Value::Bool(found)) => found.to_string(),
                    found => found.and_then(Value::as_str).unwrap_or_default().to_owned(),
                };
                (found == *value) == *same
            })
    }

    pub(super) fn has_labels(&self, labels: &Value) -> bool {
        self.labels.iter().all(|term| {
            let found = labels.get(&term.label).and_then(Value::as_str);
            let is_in =
                || found.is_some_and(|found| term.values.iter().any(|value| value == found));
            match term.test {
                Test::In => is_in(),
                Test::NotIn => !is_in(),
                Test::Exists => found.is_some(),
                Test::Missing => found.is_none(),
            }
        })
    }

    /// Returns labels it holds for, as far as it wants any.
    pub(super) fn example(&self) -> Map<String, Value> {
        let wanted = self.labels.iter().filter_map(|term| match term.test {
            Test::In => Some((term.label.clone(), Value::from(term.values.first()?.as_str()))),
            Test::Exists => Some((term.label.clone(), Value::from("true"))),
            Test::NotIn | Test::Missing => None,
        });
        wanted.collect()
    }

    /// Writes the labels' part as text.
    pub(super) fn text(&self) -> String {
        let term = |term: &Term| match (term.test, term.values.as_slice()) {
            (Test::In, [one]) => format!("{}={one}", term.label),
            (Test::In, many) => format!("{} in ({})", term.label, many.join(",")),
            (Test::NotIn, many) => format!("{} notin ({})", term.label, many.join(",")),
            (Test::Exists, _) => term.label.clone(),
            (Test::Missing, _) => format!("!{}", term.label),
        };
        self.labels.iter().map(term).collect::<Vec<_>>().join(",")
    }
}

/// Splits at commas that are in no parentheses.
fn terms(selector: &str) -> Vec<&str> {
    let mut depth = 0_i32;
    let parts = selector.split(|letter| {
        match letter {
            '(' => depth += 1,
            ')' => depth -= 1,
            _ => {}
        }
        letter == ',' && depth == 0
    });
    parts.map(str::trim).filter(|term| !term.is_empty()).collect()
}

fn labels_of(selector: &str) -> Result<Vec<Term>, Failure> {
    let mut found = Vec::new();
    for term in terms(selector) {
        let one = |label: &str, value: &str, test| Term {
            label: label.trim().to_owned(),
            values: vec![value.trim().to_owned()],
            test,
        };
        let many = |label: &str, values: &str, test| {
            let inner = values.trim().strip_prefix('(')?.strip_suffix(')')?;
            let values = inner.split(',').map(|value| value.trim().to_owned()).collect();
            Some(Term { label: label.trim().to_owned(), values, test })
        };
        let parsed = if let Some((label, values)) = term.split_once(" notin ") {
            many(label, values, Test::NotIn)
        } else if let Some((label, values)) = term.split_once(" in ") {
            many(label, values, Test::In)
        } else if let Some((label, value)) = term.split_once("!=") {
            Some(one(label, value, Test::NotIn))
        } else if let Some((label, value)) = term.split_once("==").or(term.split_once('=')) {
            Some(one(label, value, Test::In))
        } else if let Some(label) = term.strip_prefix('!') {
            Some(Term { label: label.trim().to_owned(), values: Vec::new(), test: Test::Missing })
        } else {
            Some(Term { label: term.to_owned(), values: Vec::new(), test: Test::Exists })
        };
        let fits = |parsed: &Term| {
            let letter = |letter: char| letter.is_ascii_alphanumeric() || "-_./".contains(letter);
            !parsed.label.is_empty()
                && parsed.label.chars().all(letter)
                && parsed.values.iter().all(|value| value.chars().all(letter))
        };
        match parsed.filter(fits) {
            Some(parsed) => found.push(parsed),
            None => {
                let said = format!("unable to parse requirement: found '{term}'");
                return Err(Failure::bad(said));
            }
        }
    }
    Ok(found)
}

fn fields_of(selector: &str, kind: &str) -> Result<Vec<(String, String, bool)>, Failure> {
    let known = FIELDS.iter().find(|(known, _)| *known == kind).map_or(&[][..], |known| known.1);
    let mut found = Vec::new();
    for term in selector.split(',').map(str::trim).filter(|term| !term.is_empty()) {
        let (path, value, same) = match (term.split_once("!="), term.split_once('=')) {
            (Some((path, value)), _) => (path, value, false),
            (None, Some((path, value))) => (path, value.trim_start_matches('='), true),
            (None, None) => {
                let said = format!("invalid selector: '{selector}'; can't understand '{term}'");
                return Err(Failure::bad(said));
            }
        };
        let (path, value) = (path.trim(), value.trim());
        if !["metadata.name", "metadata.namespace"].contains(&path) && !known.contains(&path) {
            let said = match FIELDS.iter().any(|(known, _)| *known == kind) {
                true => format!("field label not supported: {path}"),
                false => format!(
                    "\"{path}\" is not a known field selector: only \"metadata.name\", \"metadata.namespace\""
                ),
            };
            return Err(Failure::bad(said));
        }
        found.push((format!("/{}", path.replace('.', "/")), value.to_owned(), same));
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn labels_are_matched_as_selectors_say() {
        let object = json!({ "metadata": { "labels": { "app": "api", "tier": "front" } } });
        let table = [
            ("app=api", true),
            ("app==api,tier=front", true),
            ("app!=api", false),
            ("none!=x", true),
            ("app in (api, web)", true),
            ("app notin (api,web)", false),
            ("app in (web),tier=front", false),
            ("app", true),
            ("!app", false),
            ("!none", true),
            ("", true),
        ];
        for (selector, matches) in table {
            let parsed = Selector::parse(selector, "", "Pod").expect(selector);
            assert_eq!(parsed.matches(&object), matches, "{selector}");
        }
        assert!(Selector::parse("app in api", "", "Pod").is_err());
        assert!(Selector::parse("=x", "", "Pod").is_err());
    }

    #[test]
    fn fields_a_kind_does_not_offer_are_refused() {
        let pod = json!({ "metadata": { "name": "a" }, "status": { "phase": "Running" } });
        let parsed = Selector::parse("", "metadata.name=a,status.phase!=Failed", "Pod");
        assert!(parsed.expect("fields of pods").matches(&pod));
        assert!(Selector::parse("", "status.phase=Running", "ConfigMap").is_err());
        assert!(Selector::parse("", "spec.replicas=1", "Pod").is_err());
    }
}
