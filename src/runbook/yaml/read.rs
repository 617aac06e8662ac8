//! Text to data: a value with its places, and typed values with every problem at once.

use std::ops::Range;
use std::sync::Arc;

use schemars::JsonSchema;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use super::index::NOT_YAML;
use super::{BYTES_MAX, Index};
use crate::runbook::path::Path;
use crate::runbook::problem::{Problem, Problems};
use crate::runbook::shape::{self, Place, Schema, Texts};

/// A file's data with the place of every value.
#[derive(Debug)]
pub(crate) struct Document {
    /// Name as the operator knows it
    pub file: String,
    pub source: Arc<str>,
    pub value: Value,
    pub index: Index,
}

impl Document {
    /// Returns problems of this file.
    pub(crate) fn problems(&self, items: Vec<Problem>) -> Problems {
        Problems::new(self.file.as_str(), Arc::clone(&self.source), items)
    }

    /// Returns a finding about the data's shape as a problem of this file.
    pub(crate) fn problem(&self, finding: shape::Finding) -> Problem {
        Problem::at(self.locate(&finding), finding.message).maybe_help(finding.help)
    }

    /// Returns where a finding about the data's shape is written.
    fn locate(&self, finding: &shape::Finding) -> Range<usize> {
        match finding.place {
            Place::Key => self.index.key_or(&finding.path),
            Place::Value => self.index.at(&finding.path),
        }
    }
}

/// A typed file.
#[derive(Debug)]
pub(crate) struct Parsed<T> {
    pub value: T,
    pub document: Document,
}

/// Reads a text as YAML, within the limits and without duplicate keys.
pub(crate) fn read(file: &str, text: &str) -> Result<Document, Problems> {
    let (document, problems) = read_leniently(file, text)?;
    if problems.is_empty() { Ok(document) } else { Err(document.problems(problems)) }
}

/// Reads a text as YAML into a type; reports everything that does not fit at once.
pub(crate) fn parse<T>(file: &str, text: &str) -> Result<Parsed<T>, Problems>
where
    T: DeserializeOwned + JsonSchema,
{
    let (document, mut problems) = read_leniently(file, text)?;
    if document.value.is_null() && problems.is_empty() {
        return Err(document.problems(vec![empty()]));
    }
    match T::deserialize(&document.value) {
        Ok(value) if problems.is_empty() => Ok(Parsed { value, document }),
        Ok(_) => Err(document.problems(problems)),
        Err(_) => {
            problems.extend(misfits::<T>(&document));
            Err(document.problems(problems))
        }
    }
}

/// Says that a file says nothing, which is worth more words than that nothing is no mapping.
fn empty() -> Problem {
    let message = "the file is empty: there is nothing in it but blanks and comments";
    Problem::at(0..0, message).help(
        "an estate file is written by `phoenix-dr init`; a runbook begins with `runbook:`, `title:`, `command:` and \
         `steps:`",
    )
}

/// Says what keeps a document from being a `T`.
///
/// serde stops at the first misfit, so the type's own schema is asked for all of them; what the schema cannot
/// say is left to serde.
fn misfits<T: DeserializeOwned + JsonSchema>(document: &Document) -> Vec<Problem> {
    let schema = Schema::of::<T>();
    let findings = shape::check(&schema, &document.value, Texts::Literal);
    if !findings.is_empty() {
        return findings.into_iter().map(|finding| document.problem(finding)).collect();
    }
    match serde_path_to_error::deserialize::<_, T>(&document.value) {
        Ok(_) => Vec::new(),
        Err(error) => {
            let range = document.index.at(&Path::from(error.path()));
            vec![Problem::at(range, error.inner().to_string())]
        }
    }
}

/// Refuses a file for its size, in bytes.
pub(crate) fn too_large(file: &str, bytes: u64) -> Problems {
    let message = format!(
        "`{file}` has {:.1} MiB; at most {} MiB are read",
        bytes as f64 / f64::from(1 << 20),
        BYTES_MAX >> 20
    );
    let problem = Problem::nowhere(crate::runbook::problem::Origin::File, message);
    let help =
        "is it the file that was meant? 10,000 steps, the most there can be, take 2 to 4 MiB";
    // The text is left out: nothing of it will be printed.
    Problems::new(file, "".into(), vec![problem.help(help)])
}

/// Reads a text as YAML; what is wrong with it besides its syntax comes beside the data.
pub(crate) fn read_leniently(file: &str, text: &str) -> Result<(Document, Vec<Problem>), Problems> {
    let source: Arc<str> = text.into();
    let fail = |problem: Problem| Problems::new(file, Arc::clone(&source), vec![problem]);
    if text.len() > BYTES_MAX {
        return Err(too_large(file, text.len() as u64));
    }
    let (index, mut problems) = Index::build(text).map_err(&fail)?;
    let mut value: Value = serde_yaml::from_str(text).map_err(|error| {
        if !problems.is_empty() {
            // What serde_yaml stumbles over is what was found already, in better words.
            return Problems::new(file, Arc::clone(&source), std::mem::take(&mut problems));
        }
        let at = error.location().map_or(0, |location| location.index());
        fail(Problem::at(at..at + 1, format!("not readable as YAML: {error}")).help(NOT_YAML))
    })?;
    // Most files merge nothing; the walk is only worth it where the two characters appear at all.
    if text.contains("<<") {
        merge(&mut value, &Path::root(), &index, &mut problems);
    }
    let document = Document { file: file.to_owned(), source, value, index };
    Ok((document, problems))
}

/// Applies `<<` keys, innermost first; what is written beside one wins over what it brings.
fn merge(value: &mut Value, path: &Path, index: &Index, problems: &mut Vec<Problem>) {
    match value {
        Value::Array(items) => {
            for (i, item) in items.iter_mut().enumerate() {
                merge(item, &path.item(i), index, problems);
            }
        }
        Value::Object(entries) => {
            for (key, entry) in entries.iter_mut() {
                merge(entry, &path.key(key), index, problems);
            }
            if let Some(source) = entries.remove("<<")
                && !merge_into(entries, source)
            {
                let range = index.at(&path.key("<<"));
                let problem = Problem::at(range, "`<<` merges a mapping, or a list of them");
                problems.push(
                    problem.help("write `<<: *anchor`, where `&anchor` stands before a mapping"),
                );
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

fn merge_into(entries: &mut Map<String, Value>, source: Value) -> bool {
    match source {
        Value::Object(source) => {
            for (key, value) in source {
                entries.entry(key).or_insert(value);
            }
            true
        }
        Value::Array(sources) => sources
            .into_iter()
            .all(|source| matches!(source, Value::Object(_)) && merge_into(entries, source)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => false,
    }
}
