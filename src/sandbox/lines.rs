//! Worlds as lines of JSON, the form of captures: the first line is the world without its objects, each further line
//! one object. A line's body is checked for its form and left as text until somebody asks for it.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use serde::de::{Deserializer, IgnoredAny, MapAccess, Visitor};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::salvage::{self, Lost, Salvaged, salvage};
use super::validate::{self, Depth, Places, Rows};
use super::world::{Body, Kind, World, WorldCluster, WorldDue, WorldObject};
use crate::parts::in_parts;
use crate::runbook::decode;
use crate::runbook::path::Path;
use crate::runbook::problem::{Problem, Problems};
use crate::runbook::yaml;

/// Longest file of lines that is read.
pub(crate) const BYTES_MAX: usize = 256 << 20;

/// Lines that are worth a thread of their own.
const PART_LINES: usize = 4_096;

/// How every file of lines begins that this program wrote.
const BEGINNING: &str = "{\"world\":";

/// One line of a file.
#[derive(Clone)]
pub(crate) struct Line {
    text: Arc<str>,
    range: Range<usize>,
}

impl fmt::Debug for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.text())
    }
}

impl Line {
    fn text(&self) -> &str {
        self.text.get(self.range.clone()).unwrap_or_default()
    }

    /// Returns the body of the object the line is.
    pub(super) fn body(&self) -> Map<String, Value> {
        #[derive(Deserialize)]
        struct Whole {
            body: Map<String, Value>,
        }
        let whole: Result<Whole, _> = serde_json::from_str(self.text());
        // Its form was checked when the file was read; a number out of range is all that can be left.
        whole.map(|whole| whole.body).unwrap_or_default()
    }
}

/// A line but for its body.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Outline {
    #[serde(rename = "type")]
    kind: Kind,
    #[serde(default)]
    region: Option<String>,
    id: String,
    #[serde(rename = "body")]
    _body: Skipped,
    #[serde(default)]
    then: Vec<WorldDue>,
}

/// An object of JSON that is read over.
struct Skipped;

impl<'de> Deserialize<'de> for Skipped {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Over;
        impl<'de> Visitor<'de> for Over {
            type Value = Skipped;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a mapping")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Skipped, A::Error> {
                while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
                Ok(Skipped)
            }
        }
        deserializer.deserialize_map(Over)
    }
}

/// Reads the text of a world's file.
pub(crate) fn read_text(path: &std::path::Path) -> std::io::Result<String> {
    use std::io::Read as _;
    let mut bytes = Vec::new();
    let most = u64::try_from(BYTES_MAX).unwrap_or(u64::MAX);
    let read = std::fs::File::open(path)?.take(most + 1).read_to_end(&mut bytes)?;
    if read > BYTES_MAX {
        let message = format!("it has more than {} MiB", BYTES_MAX >> 20);
        return Err(std::io::Error::new(std::io::ErrorKind::InvalidData, message));
    }
    decode::text(bytes)
}

/// Says whether a text is a file of lines.
pub(super) fn are(text: &str) -> bool {
    let first = text.lines().next().unwrap_or_default();
    text.starts_with(BEGINNING)
        || (first.starts_with('{') && serde_json::from_str::<IgnoredAny>(first).is_ok())
}

/// Reads a file of lines; reports everything that is wrong at once.
pub(super) fn read(name: &str, shared: Arc<str>, depth: Depth) -> Result<World, Problems> {
    let text = &*shared;
    let failed = |problems: Vec<Problem>| Problems::new(name, Arc::clone(&shared), problems);
    let end = text.find('\n').unwrap_or(text.len());
    let Found { mut objects, mut rows, mut problems } = rows(name, &shared, end + 1);
    let (document, wrong) = match yaml::read_leniently(name, &text[..end]) {
        Ok(read) => read,
        Err(wrong) => {
            problems.extend(wrong.items);
            return Err(failed(problems));
        }
    };
    problems.extend(wrong);
    let Salvaged { value, lost, findings } = match World::deserialize(&document.value) {
        Ok(world) => Salvaged::whole(world),
        Err(_) => salvage(&document.value, salvage::of_world),
    };
    problems.extend(findings.into_iter().map(|finding| document.problem(finding)));
    let Some(mut world) = value else { return Err(failed(problems)) };
    let found = u64::try_from(objects.len()).unwrap_or(u64::MAX);
    if let Some(wanted) = world.lines.filter(|wanted| *wanted != found && problems.is_empty()) {
        let message = format!("{wanted} lines are to follow and {found} do");
        problems.push(Problem::at(document.index.at(&Path::root().key("lines")), message));
    }
    rows.before = world.objects.len();
    world.objects.append(&mut objects);
    world.text = Some(Arc::clone(&shared));
    let places = Places { index: &document.index, text, lost, rows: Some(rows) };
    problems.extend(validate::check(&world, &places, depth));
    if !problems.is_empty() {
        return Err(failed(problems));
    }
    completed(world)
}

/// What was read of the lines behind a head.
struct Found {
    objects: Vec<WorldObject>,
    rows: Rows,
    problems: Vec<Problem>,
}

/// Reads the lines behind a head, each as far as it can be read.
fn rows(name: &str, shared: &Arc<str>, from: usize) -> Found {
    let mut ranges = Vec::new();
    let mut from = from;
    while let Some(rest) = shared.get(from..).filter(|rest| !rest.is_empty()) {
        let length = rest.find('\n').unwrap_or(rest.len());
        ranges.push(from..from + length);
        from += length + 1;
    }
    let parts = in_parts(&ranges, PART_LINES, |_, ranges| part(name, shared, ranges));
    let rows = Rows { before: 0, ranges: Vec::new(), partly: BTreeMap::new(), unread: Vec::new() };
    let mut all = Found { objects: Vec::new(), rows, problems: Vec::new() };
    for mut found in parts {
        let before = all.objects.len();
        let partly = found.rows.partly.into_iter().map(|(row, lost)| (before + row, lost));
        all.rows.partly.extend(partly);
        all.rows.ranges.append(&mut found.rows.ranges);
        all.rows.unread.append(&mut found.rows.unread);
        all.objects.append(&mut found.objects);
        all.problems.append(&mut found.problems);
    }
    all
}

/// Reads some of the lines.
fn part(name: &str, shared: &Arc<str>, ranges: &[Range<usize>]) -> Found {
    let (mut objects, mut problems) = (Vec::new(), Vec::new());
    let mut rows =
        Rows { before: 0, ranges: Vec::new(), partly: BTreeMap::new(), unread: Vec::new() };
    for range in ranges.iter().cloned() {
        let line = &shared[range.clone()];
        if line.trim().is_empty() {
            continue;
        }
        let error = match serde_json::from_str::<Outline>(line) {
            Ok(Outline { kind, region, id, then, .. }) => {
                let body = Body::Line(Line { text: Arc::clone(shared), range: range.clone() });
                objects.push(WorldObject { kind, region, id, body, then });
                rows.ranges.push(range);
                continue;
            }
            Err(error) => error,
        };
        let (read, wrong) = misfit(name, line, &error);
        problems.extend(wrong.into_iter().map(|problem| shifted(problem, range.start)));
        match read {
            Some((object, lost)) => {
                rows.partly.insert(objects.len(), lost);
                objects.push(object);
                rows.ranges.push(range);
            }
            None => rows.unread.push(range),
        }
    }
    Found { objects, rows, problems }
}

/// Reads what can be read of a line that is no object; returns it, and all its mistakes with their places.
fn misfit(
    name: &str,
    line: &str,
    error: &serde_json::Error,
) -> (Option<(WorldObject, Lost)>, Vec<Problem>) {
    if error.is_data()
        && let Ok((document, mut problems)) = yaml::read_leniently(name, line)
    {
        let Salvaged { value, lost, findings } = salvage::<WorldObject>(&document.value, |_| None);
        problems.extend(findings.into_iter().map(|finding| document.problem(finding)));
        if !problems.is_empty() {
            return (value.map(|object| (object, lost)), problems);
        }
    }
    let at = error.column().saturating_sub(1).min(line.len());
    let at = (0..=at).rev().find(|at| line.is_char_boundary(*at)).unwrap_or(0);
    let message = format!("not a line of JSON: {error}");
    (None, vec![Problem::at(at..line.len().min(at + 1), message)])
}

/// Returns a problem of a line as one of the file.
fn shifted(mut problem: Problem, start: usize) -> Problem {
    let moved = |range: Range<usize>| range.start + start..range.end + start;
    problem.range = problem.range.map(moved);
    for (range, _) in &mut problem.also {
        *range = moved(range.clone());
    }
    problem
}

/// Returns where a place inside a line is, for a problem that is told.
pub(super) fn place(text: &str, line: &Range<usize>, inside: &Path) -> Range<usize> {
    let written = text.get(line.clone()).unwrap_or_default();
    let Ok(document) = yaml::read("", written) else { return line.clone() };
    let found = document.index.at(inside);
    found.start + line.start..found.end + line.start
}

impl World {
    /// Returns the manifests of a region's cluster.
    pub(crate) fn manifests(&self, region: &str) -> Vec<Value> {
        self.manifests_where(region, |_, _| true).collect()
    }

    /// Returns the manifests of a region's cluster that have a kind and a name, in whatever namespaces.
    pub(super) fn manifests_called<'a>(
        &'a self,
        region: &'a str,
        kind: &'a str,
        name: &'a str,
    ) -> impl Iterator<Item = Value> + 'a {
        self.manifests_where(region, move |of, called| of == kind && called == name)
    }

    /// Returns those manifests of a region's cluster whose kind and name are wanted; no other is decoded.
    fn manifests_where<'a>(
        &'a self,
        region: &'a str,
        wanted: impl Fn(&str, &str) -> bool + Copy + 'a,
    ) -> impl Iterator<Item = Value> + 'a {
        let text = |value: Option<&'a Value>| value.and_then(Value::as_str).unwrap_or_default();
        let cluster = self.clusters.get(region).into_iter();
        let own = cluster.flat_map(|cluster| &cluster.objects).filter(move |manifest| {
            let name = manifest.get("metadata").and_then(|known| known.get("name"));
            wanted(text(manifest.get("kind")), text(name))
        });
        let here = move |object: &&WorldObject| {
            // A manifest's id, `Kind/namespace/name`, was held against the manifest when the world was read.
            let (kind, rest) = object.id.split_once('/').unwrap_or_default();
            object.kind == Kind::Kubernetes
                && object.region.as_deref() == Some(region)
                && wanted(kind, rest.rsplit('/').next().unwrap_or_default())
        };
        let lines = self.objects.iter().filter(here).map(|object| object.body.decode());
        own.cloned().chain(lines.map(Cow::into_owned)).map(Value::Object)
    }

    /// Returns it without its objects: what the first line of a file of lines says.
    pub(crate) fn head(&self) -> Self {
        let clusters = self.clusters.iter().map(|(region, cluster)| {
            let broken = cluster.broken.clone();
            (region.clone(), WorldCluster { objects: Vec::new(), broken, ..*cluster })
        });
        Self {
            world: self.world.clone(),
            format: self.format,
            about: self.about.clone(),
            captured: self.captured,
            made_from: self.made_from.clone(),
            pseudonyms: self.pseudonyms,
            unseen: self.unseen.clone(),
            lines: self.lines,
            account: self.account.clone(),
            estate: self.estate.clone(),
            durations: self.durations.clone(),
            faults: self.faults.clone(),
            objects: Vec::new(),
            clusters: clusters.collect(),
            text: None,
        }
    }
}

/// Fills in what follows from the rest of an estate, as reading one does.
pub(super) fn completed(world: World) -> Result<World, Problems> {
    let text = serde_json::to_string(&world.estate).unwrap_or_default();
    let estate = crate::estate::load::parse("estate", &text)?;
    Ok(World { estate, ..world })
}

/// Writes a world as lines.
pub(crate) fn write(world: &World) -> String {
    let mut head = world.head();
    let manifests = world.clusters.iter().flat_map(|(region, cluster)| {
        cluster.objects.iter().map(move |manifest| WorldObject {
            kind: Kind::Kubernetes,
            region: Some(region.clone()),
            id: manifest_id(manifest),
            body: Body::Known(manifest.clone()),
            then: Vec::new(),
        })
    });
    let lines: Vec<String> =
        world.objects.iter().map(line_of).chain(manifests.map(|object| line_of(&object))).collect();
    head.lines = u64::try_from(lines.len()).ok();
    let mut text = line_of(&head);
    for line in lines {
        text.push('\n');
        text += &line;
    }
    text.push('\n');
    text
}

fn line_of(value: &impl Serialize) -> String {
    serde_json::to_string(value)
        .expect("every map of a world has text keys, and nothing else can fail")
}

/// Returns the id of a manifest: `Kind/namespace/name`, without a namespace where it has none.
pub(crate) fn manifest_id(manifest: &Map<String, Value>) -> String {
    let metadata = manifest.get("metadata");
    let text = |value: Option<&Value>| value.and_then(Value::as_str).unwrap_or_default().to_owned();
    let (kind, name) =
        (text(manifest.get("kind")), text(metadata.and_then(|known| known.get("name"))));
    match metadata.and_then(|known| known.get("namespace")).and_then(Value::as_str) {
        Some(namespace) => format!("{kind}/{namespace}/{name}"),
        None => format!("{kind}/{name}"),
    }
}

#[cfg(test)]
#[path = "lines_tests.rs"]
mod tests;
