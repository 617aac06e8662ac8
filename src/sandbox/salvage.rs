//! What can be read of a world although something in it has the wrong shape: so that everything else that is wrong is
//! told with it.
//!
//! Owns leaving out what does not fit, and knowing where what is left was written. What follows from a part that was
//! left out is for [`super::validate`].

use std::collections::{BTreeSet, HashMap};

use schemars::JsonSchema;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::world::FORMAT;
use crate::runbook::path::{Path, Segment};
use crate::runbook::shape::{self, Finding, Place, Schema, Texts};

/// Times a file is gone over: what only a type can say of its values comes one at a time.
const ROUNDS_MAX: usize = 100;

/// What of a file was left out.
#[derive(Debug, Default)]
pub(super) struct Lost {
    /// Items that each list is without
    items: HashMap<Path, BTreeSet<usize>>,
    /// Everything that was left out, and what something else stands in for, as it was written
    paths: Vec<Path>,
}

impl Lost {
    pub(super) fn is_empty(&self) -> bool {
        self.paths.is_empty()
    }

    pub(super) fn paths(&self) -> &[Path] {
        &self.paths
    }

    /// Returns where something of what was read is written.
    pub(super) fn written(&self, path: &Path) -> Path {
        let mut written = Path::root();
        for segment in &path.0 {
            let segment = match (segment, self.items.get(&written)) {
                (Segment::Item(item), Some(gone)) => {
                    // The set is in order: each item that is gone before it moves it by one.
                    let moved = |item: usize, gone: &usize| item + usize::from(*gone <= item);
                    Segment::Item(gone.iter().fold(*item, moved))
                }
                (segment, _) => segment.clone(),
            };
            written.0.push(segment);
        }
        written
    }

    /// Says whether something at a place, or below it, was left out.
    pub(super) fn lacks(&self, path: &Path) -> bool {
        !self.is_empty() && {
            let written = self.written(path);
            self.paths.iter().any(|lost| lost.is_within(&written))
        }
    }

    /// Says whether a place lies in what was left out, or is where it was.
    pub(super) fn touches(&self, path: &Path) -> bool {
        self.lacks(path) || {
            let written = self.written(path);
            self.paths.iter().any(|lost| written.is_within(lost))
        }
    }
}

/// A value as far as it could be read.
pub(super) struct Salvaged<T> {
    /// None where nothing is left
    pub value: Option<T>,
    pub lost: Lost,
    /// What does not fit, as it was written
    pub findings: Vec<Finding>,
}

impl<T> Salvaged<T> {
    /// Returns a value in which everything fits.
    pub(super) fn whole(value: T) -> Self {
        Self { value: Some(value), lost: Lost::default(), findings: Vec::new() }
    }
}

/// Reads what can be read of a value. `stand_in` gives what a required value is taken to be where it cannot be read.
pub(super) fn salvage<T: DeserializeOwned + JsonSchema>(
    written: &Value,
    stand_in: impl Fn(&[Segment]) -> Option<Value>,
) -> Salvaged<T> {
    let schema = Schema::of::<T>();
    let mut kept = written.clone();
    let mut findings = shape::check(&schema, written, Texts::Literal);
    let mut lost = Lost::default();
    let mut misfits: Vec<Path> = findings.iter().map(|finding| finding.path.clone()).collect();
    for _ in 0..ROUNDS_MAX {
        if misfits.is_empty() {
            // What a schema cannot say is left to serde, which stops at the first.
            match serde_path_to_error::deserialize::<_, T>(&kept) {
                Ok(value) => return Salvaged { value: Some(value), lost, findings },
                Err(error) => {
                    let (path, message) = (Path::from(error.path()), error.inner().to_string());
                    let place = lost.written(&path);
                    findings.push(Finding {
                        path: place,
                        place: Place::Value,
                        message,
                        help: None,
                    });
                    misfits.push(path);
                }
            }
        }
        if !leave_out(&mut kept, misfits, &mut lost, &stand_in) {
            break;
        }
        // What is missing now is missing because it was left out, and nothing more is said of it.
        let further = shape::check(&schema, &kept, Texts::Literal);
        misfits = further.into_iter().map(|finding| finding.path).collect();
    }
    Salvaged { value: None, lost, findings }
}

/// Leaves values out; says whether anything is left.
fn leave_out(
    kept: &mut Value,
    mut misfits: Vec<Path>,
    lost: &mut Lost,
    stand_in: &impl Fn(&[Segment]) -> Option<Value>,
) -> bool {
    misfits.sort();
    misfits.dedup();
    let written: Vec<Path> = misfits.iter().map(|path| lost.written(path)).collect();
    // From the last to the first: no place that is still to come moves.
    for (path, written) in misfits.iter().zip(written).rev() {
        if let Some(bare) = stand_in(&written.0) {
            let Some(value) = find(kept, &path.0) else { continue };
            complete(value, bare, written, lost);
            continue;
        }
        let (Some((last, above)), Some((last_written, above_written))) =
            (path.0.split_last(), written.0.split_last())
        else {
            return false;
        };
        match (find(kept, above), last) {
            (Some(Value::Object(entries)), Segment::Key(key)) => {
                entries.remove(key);
            }
            (Some(Value::Array(items)), Segment::Item(item)) if *item < items.len() => {
                items.remove(*item);
                if let Segment::Item(item) = last_written {
                    lost.items.entry(Path(above_written.to_vec())).or_default().insert(*item);
                }
            }
            _ => return false,
        }
        lost.paths.push(written);
    }
    true
}

/// Adds what a mapping lacks; anything else, and a mapping that lacks nothing, becomes what stands in for it.
fn complete(value: &mut Value, bare: Value, written: Path, lost: &mut Lost) {
    if let (Value::Object(entries), Value::Object(bare)) = (&mut *value, &bare) {
        let before = lost.paths.len();
        for (key, stands) in bare {
            if !entries.contains_key(key) {
                entries.insert(key.clone(), stands.clone());
                lost.paths.push(written.key(key));
            }
        }
        if lost.paths.len() > before {
            return;
        }
    }
    *value = bare;
    lost.paths.push(written);
}

fn find<'v>(value: &'v mut Value, path: &[Segment]) -> Option<&'v mut Value> {
    path.iter().try_fold(value, |value, segment| match (value, segment) {
        (Value::Object(entries), Segment::Key(key)) => entries.get_mut(key),
        (Value::Array(items), Segment::Item(item)) => items.get_mut(*item),
        _ => None,
    })
}

/// Returns what is taken for a required part of a world that cannot be read; nothing in it can be meant by anybody.
pub(super) fn of_world(path: &[Segment]) -> Option<Value> {
    let keys: Vec<&str> = path
        .iter()
        .map(|segment| match segment {
            Segment::Key(key) => key.as_str(),
            Segment::Item(_) => "",
        })
        .collect();
    let estate = || json!({ "estate": "x", "primary": { "region": "" }, "regions": {} });
    match keys.as_slice() {
        [] => Some(json!({ "world": "x", "format": FORMAT, "estate": estate() })),
        ["estate"] => Some(estate()),
        ["estate", "primary"] => Some(json!({ "region": "" })),
        ["estate", "regions", _] => Some(json!({ "api": "https://unread.invalid" })),
        ["format"] => Some(json!(FORMAT)),
        ["world"] | ["estate", "estate"] => Some(json!("x")),
        ["estate", "regions"] => Some(json!({})),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sandbox::world::{World, WorldObject};

    fn nothing(_: &[Segment]) -> Option<Value> {
        None
    }

    fn told(findings: &[Finding]) -> Vec<String> {
        findings.iter().map(|finding| format!("{}: {}", finding.path, finding.message)).collect()
    }

    #[test]
    fn what_fits_is_read_and_keeps_its_place() {
        let object = |id: &str| json!({ "type": "s3.bucket", "region": "a", "id": id, "body": {} });
        let mut world = of_world(&[]).expect("a bare one");
        world["objects"] =
            json!([object("one"), 7, object("two"), { "type": "s3.bukket" }, object("three")]);
        world["objects"][4]["colour"] = json!("red");
        let salvaged = salvage::<World>(&world, of_world);
        let objects = salvaged.value.expect("a world").objects;
        let ids: Vec<&str> = objects.iter().map(|object| object.id.as_str()).collect();
        assert_eq!(ids, ["one", "two", "three"]);
        let place = |item: usize| salvaged.lost.written(&Path::root().key("objects").item(item));
        let places: Vec<String> = (0..3).map(|item| place(item).to_string()).collect();
        assert_eq!(places, ["objects[0]", "objects[2]", "objects[4]"]);
        let told = told(&salvaged.findings);
        assert!(told.iter().any(|said| said.starts_with("objects[1]: expected")), "{told:?}");
        assert!(told.iter().any(|said| said.starts_with("objects[3].type: ")), "{told:?}");
        assert!(told.iter().any(|said| said.contains("unknown key `colour`")), "{told:?}");
    }

    #[test]
    fn what_is_required_has_something_in_its_place_and_is_told_once() {
        let world = json!({
            "world": "w",
            "estate": { "estate": "e", "primary": { "regin": "a" }, "regions": { "a": { "api": 7 } } },
        });
        let salvaged = salvage::<World>(&world, of_world);
        let estate = salvaged.value.expect("a world").estate;
        assert_eq!((estate.primary.region.as_str(), estate.regions.len()), ("", 1));
        let told = told(&salvaged.findings);
        assert_eq!(told.len(), 4, "format, regin, region and api: {told:?}");
        let lost: Vec<String> = salvaged.lost.paths().iter().map(ToString::to_string).collect();
        for path in ["format", "estate.primary.region", "estate.regions.a.api"] {
            assert!(lost.contains(&path.to_owned()), "{path}: {lost:?}");
        }
    }

    #[test]
    fn of_what_has_nothing_that_fits_nothing_is_left() {
        for value in [json!({ "id": "x", "body": {} }), json!([]), json!(7)] {
            let salvaged = salvage::<WorldObject>(&value, nothing);
            assert!(salvaged.value.is_none(), "{value}");
            assert!(!salvaged.findings.is_empty(), "{value}");
        }
    }
}
