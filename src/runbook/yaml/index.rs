//! Where every value of a YAML text is written, and the limits a text must keep.

use std::collections::HashMap;
use std::ops::Range;

use granit_parser::{Event, Parser, ScalarStyle, ScanError, Span, Tag};

use crate::runbook::path::{Path, Segment};
use crate::runbook::problem::Problem;

/// Deepest nesting, aliases followed.
const DEPTH_MAX: usize = 64;
/// Most values of a file, aliases counted as often as they are used.
const NODES_MAX: usize = 1_000_000;
/// Most bytes of text a file stands for, aliases counted as often as they are used.
const EXPANDED_MAX: usize = 32 << 20;
/// Duplicate keys and the like are reported up to this many: the file is hopeless beyond.
const PROBLEMS_MAX: usize = 200;

/// Places of all values of a file.
#[derive(Debug, Default)]
pub(crate) struct Index {
    nodes: Vec<Node>,
}

#[derive(Debug)]
struct Node {
    key: Option<Range<usize>>,
    value: Range<usize>,
    kind: Kind,
}

#[derive(Debug)]
enum Kind {
    Leaf,
    Map(Vec<(String, usize)>),
    List(Vec<usize>),
    /// The node an alias stands for
    Alias(usize),
}

impl Index {
    /// Reads the places of a text; problems found on the way come beside them.
    pub(super) fn build(source: &str) -> Result<(Self, Vec<Problem>), Problem> {
        let mut builder = Builder::default();
        let mut parser = Parser::new_from_str(source);
        while let Some(event) = parser.next_event() {
            let (event, span) = event.map_err(|error| syntax(source, &error))?;
            builder.event(event, range(&span))?;
        }
        Ok((Self { nodes: builder.nodes }, builder.problems))
    }

    /// Returns where the value of that exact path is written.
    pub(crate) fn value(&self, path: &Path) -> Option<Range<usize>> {
        self.find(&path.0).map(|node| self.nodes[node].value.clone())
    }

    /// Returns where the key of that exact path is written; none for a list's item.
    pub(crate) fn key(&self, path: &Path) -> Option<Range<usize>> {
        self.find(&path.0).and_then(|node| self.nodes[node].key.clone())
    }

    /// Returns the value's place, or the key of the nearest thing above that is written.
    pub(crate) fn at(&self, path: &Path) -> Range<usize> {
        self.value(path).unwrap_or_else(|| self.near(path))
    }

    /// Returns the key's place where the path ends with one, else what [`Self::at`] returns.
    pub(crate) fn key_or(&self, path: &Path) -> Range<usize> {
        self.key(path).unwrap_or_else(|| self.at(path))
    }

    /// Returns the path of the value, or the key, that is written exactly there.
    pub(crate) fn path_of(&self, range: &Range<usize>) -> Option<Path> {
        let mut open = vec![(Path::root(), 0)];
        while let Some((path, at)) = open.pop() {
            let node = self.nodes.get(at)?;
            if node.value == *range || node.key.as_ref() == Some(range) {
                return Some(path);
            }
            match &node.kind {
                Kind::Map(entries) => {
                    open.extend(entries.iter().map(|(key, node)| (path.key(key), *node)));
                }
                Kind::List(items) => {
                    open.extend(items.iter().enumerate().map(|(i, node)| (path.item(i), *node)));
                }
                Kind::Leaf | Kind::Alias(_) => {}
            }
        }
        None
    }

    fn near(&self, path: &Path) -> Range<usize> {
        for length in (0..path.0.len()).rev() {
            if let Some(node) = self.find(&path.0[..length]) {
                let node = &self.nodes[node];
                return node.key.clone().unwrap_or_else(|| node.value.clone());
            }
        }
        0..0
    }

    fn find(&self, path: &[Segment]) -> Option<usize> {
        let mut at = 0;
        if self.nodes.is_empty() {
            return None;
        }
        for segment in path {
            at = self.child(at, segment)?;
        }
        Some(at)
    }

    fn child(&self, at: usize, segment: &Segment) -> Option<usize> {
        match (&self.nodes[at].kind, segment) {
            (Kind::Alias(target), _) => self.child(*target, segment),
            (Kind::List(items), Segment::Item(item)) => items.get(*item).copied(),
            (Kind::Map(entries), Segment::Key(key)) => entries
                .iter()
                .find(|(name, _)| name == key)
                .map(|(_, node)| *node)
                .or_else(|| self.merged(entries, segment)),
            (Kind::Leaf | Kind::List(_) | Kind::Map(_), _) => None,
        }
    }

    /// Looks a key up in what `<<` merges in.
    fn merged(&self, entries: &[(String, usize)], segment: &Segment) -> Option<usize> {
        let (_, merge) = entries.iter().find(|(name, _)| name == "<<")?;
        let mut source = *merge;
        while let Kind::Alias(target) = self.nodes[source].kind {
            source = target;
        }
        match &self.nodes[source].kind {
            Kind::Map(_) => self.child(source, segment),
            Kind::List(items) => items.iter().find_map(|item| self.child(*item, segment)),
            Kind::Leaf | Kind::Alias(_) => None,
        }
    }

    /// Returns every path that is written, in any order, for tests that compare it with the data.
    #[cfg(test)]
    pub(super) fn paths(&self) -> Vec<Path> {
        let mut found = Vec::new();
        let mut open = vec![(Path::root(), 0)];
        while let Some((path, node)) = open.pop() {
            let mut node = node;
            while let Kind::Alias(target) = self.nodes[node].kind {
                node = target;
            }
            match &self.nodes[node].kind {
                Kind::Map(entries) => {
                    open.extend(entries.iter().map(|(key, node)| (path.key(key), *node)));
                }
                Kind::List(items) => {
                    open.extend(items.iter().enumerate().map(|(i, node)| (path.item(i), *node)));
                }
                Kind::Leaf | Kind::Alias(_) => {}
            }
            found.push(path);
        }
        found
    }
}

/// What a node costs when an alias repeats it.
#[derive(Debug, Clone, Copy, Default)]
struct Weight {
    nodes: usize,
    bytes: usize,
    depth: usize,
}

#[derive(Debug)]
struct Frame {
    node: usize,
    anchor: usize,
    /// Key that waits for its value; mappings only
    key: Option<(String, Range<usize>)>,
    /// Keys seen so far and where; mappings only
    seen: HashMap<String, Range<usize>>,
    weight: Weight,
}

#[derive(Debug, Default)]
struct Builder {
    nodes: Vec<Node>,
    open: Vec<Frame>,
    /// Finished anchors: node and weight
    anchors: HashMap<usize, (usize, Weight)>,
    total: Weight,
    documents: usize,
    problems: Vec<Problem>,
}

impl Builder {
    fn event(&mut self, event: Event<'_>, range: Range<usize>) -> Result<(), Problem> {
        match event {
            Event::DocumentStart(..) => {
                self.documents += 1;
                if self.documents > 1 {
                    return Err(Problem::at(range, "a file holds one document")
                        .help("write each runbook or estate in a file of its own"));
                }
            }
            Event::Scalar(text, style, anchor, tag) => {
                self.refuse_tag(tag.as_deref(), &range);
                return self.scalar(&text, style, anchor, range);
            }
            Event::SequenceStart(_, anchor, tag) => {
                self.refuse_tag(tag.as_deref(), &range);
                self.begin(Kind::List(Vec::new()), anchor, range)?;
            }
            Event::MappingStart(_, anchor, tag) => {
                self.refuse_tag(tag.as_deref(), &range);
                self.begin(Kind::Map(Vec::new()), anchor, range)?;
            }
            Event::SequenceEnd | Event::MappingEnd => self.end(&range),
            Event::Alias(anchor) => return self.alias(anchor, range),
            _ => {}
        }
        Ok(())
    }

    fn scalar(
        &mut self,
        text: &str,
        style: ScalarStyle,
        anchor: usize,
        range: Range<usize>,
    ) -> Result<(), Problem> {
        if self.takes_key(text, &range) {
            return Ok(());
        }
        if style == ScalarStyle::Plain && no_number(text) {
            self.report(
                Problem::at(range.clone(), format!("`{text}` is not a number"))
                    .help("quote it where it is meant as text"),
            );
        }
        let weight = Weight { nodes: 1, bytes: text.len(), depth: 1 };
        self.count(weight, &range)?;
        self.charge(weight);
        let node = self.add(Kind::Leaf, range);
        if anchor != 0 {
            self.anchors.insert(anchor, (node, weight));
        }
        Ok(())
    }

    /// Takes a scalar as the key it is, where one is due.
    fn takes_key(&mut self, text: &str, range: &Range<usize>) -> bool {
        if !self.due_key() {
            return false;
        }
        let Some(frame) = self.open.last_mut() else { return false };
        frame.key = Some((text.to_owned(), range.clone()));
        frame.weight.bytes += text.len();
        self.total.bytes += text.len();
        if let Some(first) = frame.seen.insert(text.to_owned(), range.clone()) {
            self.report(
                Problem::at(range.clone(), format!("duplicate key `{text}`"))
                    .also(first, "first given here")
                    .help("keep one of the two"),
            );
        }
        true
    }

    fn alias(&mut self, anchor: usize, range: Range<usize>) -> Result<(), Problem> {
        let Some((target, weight)) = self.anchors.get(&anchor).copied() else {
            return Err(Problem::at(range, "an alias cannot stand inside what it repeats")
                .help("write out what is meant here"));
        };
        if self.due_key() {
            return Err(Problem::at(range, "an alias cannot be a key").help("write the key out"));
        }
        self.count(weight, &range)?;
        self.charge(weight);
        self.add(Kind::Alias(target), range);
        Ok(())
    }

    fn due_key(&self) -> bool {
        self.open.last().is_some_and(|frame| {
            frame.key.is_none() && matches!(self.nodes[frame.node].kind, Kind::Map(_))
        })
    }

    fn begin(&mut self, kind: Kind, anchor: usize, range: Range<usize>) -> Result<(), Problem> {
        if self.due_key() {
            return Err(Problem::at(range, "a key must be plain text")
                .help("a value that begins with `{` or `[` is quoted where it is meant as text"));
        }
        let weight = Weight { nodes: 1, bytes: 0, depth: 1 };
        self.count(weight, &range)?;
        let node = self.add(kind, range);
        self.open.push(Frame { node, anchor, key: None, seen: HashMap::new(), weight });
        Ok(())
    }

    fn end(&mut self, range: &Range<usize>) {
        let Some(frame) = self.open.pop() else { return };
        let value = &mut self.nodes[frame.node].value;
        value.end = range.end.max(value.end);
        if frame.anchor != 0 {
            self.anchors.insert(frame.anchor, (frame.node, frame.weight));
        }
        self.charge(frame.weight);
    }

    /// Adds a node below the innermost open one.
    fn add(&mut self, kind: Kind, value: Range<usize>) -> usize {
        let node = self.nodes.len();
        let open = self.open.last_mut();
        let (name, key) = match open.and_then(|frame| frame.key.take().map(|key| (frame.node, key)))
        {
            Some((_, (name, range))) => (Some(name), Some(range)),
            None => (None, None),
        };
        self.nodes.push(Node { key, value, kind });
        if let Some(above) = self.open.last().map(|frame| frame.node) {
            match (&mut self.nodes[above].kind, name) {
                (Kind::Map(entries), Some(name)) => entries.push((name, node)),
                (Kind::List(items), _) => items.push(node),
                // A mapping's value always has its key; leaves and aliases hold nothing.
                (Kind::Map(_) | Kind::Leaf | Kind::Alias(_), _) => {}
            }
        }
        node
    }

    /// Adds to what the innermost open collection stands for.
    fn charge(&mut self, weight: Weight) {
        if let Some(frame) = self.open.last_mut() {
            frame.weight.nodes += weight.nodes;
            frame.weight.bytes += weight.bytes;
            frame.weight.depth = frame.weight.depth.max(weight.depth + 1);
        }
    }

    /// Holds a leaf, an alias or the start of a collection against the limits.
    fn count(&mut self, weight: Weight, range: &Range<usize>) -> Result<(), Problem> {
        self.total.nodes += weight.nodes;
        self.total.bytes += weight.bytes;
        let depth = self.open.len() + weight.depth;
        let aliases = "write out what the aliases stand for: they are for a few repeated lines, and each counts as \
                       often as it is used";
        let (message, help) = if depth > DEPTH_MAX {
            let help = "write it with fewer levels; no runbook, estate or world needs as many";
            (format!("nested deeper than {DEPTH_MAX} levels"), help)
        } else if self.total.nodes > NODES_MAX {
            (format!("stands for more than {NODES_MAX} values, aliases counted"), aliases)
        } else if self.total.bytes > EXPANDED_MAX {
            let most = EXPANDED_MAX >> 20;
            (format!("stands for more than {most} MiB of text, aliases counted"), aliases)
        } else {
            return Ok(());
        };
        Err(Problem::at(range.clone(), message).help(help))
    }

    fn refuse_tag(&mut self, tag: Option<&Tag>, range: &Range<usize>) {
        if let Some(tag) = tag
            && !tag.is_yaml_core_schema()
        {
            let message = format!("the tag `{}` means nothing here", tag.original());
            self.report(Problem::at(range.clone(), message).help("leave the tag out"));
        }
    }

    fn report(&mut self, problem: Problem) {
        if self.problems.len() < PROBLEMS_MAX {
            self.problems.push(problem);
        }
    }
}

/// Says whether a plain scalar is one of YAML's values that no program can calculate with.
fn no_number(text: &str) -> bool {
    let text = text.trim_start_matches(['+', '-']);
    text.len() == 4 && [".nan", ".inf"].iter().any(|word| text.eq_ignore_ascii_case(word))
}

fn range(span: &Span) -> Range<usize> {
    span.byte_range().unwrap_or(0..0)
}

/// What is wrong where a text is no YAML, more often than not.
pub(super) const NOT_YAML: &str = "here or a line above: indent with blanks, put a blank behind each `:`, close quotes and \
     brackets, quote a text with `: ` or ` #` in it";

fn syntax(source: &str, error: &ScanError) -> Problem {
    let at = error.marker().byte_offset().unwrap_or(source.len()).min(source.len());
    Problem::at(at..at + 1, format!("not YAML: {}", error.info())).help(NOT_YAML)
}
