//! Where the parts of a world are written, of which some may have been left out.

use std::collections::BTreeMap;
use std::ops::Range;

use crate::runbook::path::{Path, Segment};
use crate::runbook::yaml::Index;
use crate::sandbox::lines;
use crate::sandbox::salvage::Lost;

/// Where the parts of a world are written.
pub(in crate::sandbox) struct Places<'a> {
    /// The document; of a file of lines, its head
    pub index: &'a Index,
    pub text: &'a str,
    /// What could not be read of it
    pub lost: Lost,
    pub rows: Option<Rows>,
}

/// The lines behind a head: one for each object but the first `before`, which the head has.
pub(in crate::sandbox) struct Rows {
    pub before: usize,
    pub ranges: Vec<Range<usize>>,
    /// What could not be read of a line, where the rest of it could
    pub partly: BTreeMap<usize, Lost>,
    /// Lines of which nothing could be read
    pub unread: Vec<Range<usize>>,
}

impl<'a> Places<'a> {
    /// Returns where a value is written, or what is nearest above it.
    pub(super) fn at(&self, path: &Path) -> Range<usize> {
        match self.row(path) {
            Some((row, line, inside)) => {
                let lost = self.rows.as_ref().and_then(|rows| rows.partly.get(&row));
                let inside = lost.map_or_else(|| inside.clone(), |lost| lost.written(&inside));
                lines::place(self.text, line, &inside)
            }
            None => self.index.at(&self.lost.written(path)),
        }
    }

    /// Returns where a key is written; inside of a line, its value.
    pub(super) fn key(&self, path: &Path) -> Range<usize> {
        match self.rows {
            Some(_) => self.at(path),
            None => self.index.key_or(&self.lost.written(path)),
        }
    }

    /// Says whether all that is written could be read.
    pub(super) fn is_whole(&self) -> bool {
        let read = |rows: &Rows| rows.partly.is_empty() && rows.unread.is_empty();
        self.lost.is_empty() && self.rows.as_ref().is_none_or(read)
    }

    /// Says whether something at a place, or below it, could not be read.
    pub(super) fn lacks(&self, path: &Path) -> bool {
        match self.row(path) {
            Some((row, _, inside)) => {
                let rows = self.rows.as_ref();
                let lost = rows.and_then(|rows| rows.partly.get(&row));
                lost.is_some_and(|lost| lost.lacks(&inside))
            }
            None => self.lost.lacks(path),
        }
    }

    /// Returns the text of a part.
    pub(super) fn text(&self, path: &Path) -> &'a str {
        let range = match self.row(path) {
            Some((_, line, inside)) if inside.0.is_empty() => line.clone(),
            _ => self.at(path),
        };
        self.text.get(range).unwrap_or_default()
    }

    /// Returns the texts of what could not be read, wholly or in part, but for the estate: a whole object, line or
    /// manifest each.
    pub(super) fn unread(&self) -> impl Iterator<Item = &'a str> + '_ {
        let parts = self.lost.paths().iter().filter_map(|lost| {
            let (Segment::Key(first), rest) = lost.0.split_first()? else { return None };
            let length = match (first.as_str(), rest) {
                ("estate", _) => return None,
                ("objects" | "unseen" | "faults", [Segment::Item(_), ..]) => 2,
                ("clusters", [_, Segment::Key(key), Segment::Item(_), ..]) if key == "objects" => 4,
                _ => lost.0.len(),
            };
            Some(self.index.at(&Path(lost.0[..length].to_vec())))
        });
        let rows = self.rows.iter().flat_map(|rows| &rows.unread).cloned();
        parts.chain(rows).filter_map(|range| self.text.get(range))
    }

    /// Returns the line an object is in, with its number and the place inside it.
    fn row(&self, path: &Path) -> Option<(usize, &Range<usize>, Path)> {
        let rows = self.rows.as_ref()?;
        let [Segment::Key(key), Segment::Item(item), inside @ ..] = path.0.as_slice() else {
            return None;
        };
        let row = item.checked_sub(rows.before)?;
        let line = rows.ranges.get(row)?;
        (key == "objects").then(|| (row, line, Path(inside.to_vec())))
    }
}
