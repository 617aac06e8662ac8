//! Paths into a file's values: what problems are reported at.

use std::fmt;

/// One step into a value.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Segment {
    Key(String),
    Item(usize),
}

/// A place inside a file, e.g. `steps[1].with.url`.
///
/// Segments, not text: keys may hold dots and brackets.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Path(pub(crate) Vec<Segment>);

impl Path {
    /// Returns the place of the whole file.
    pub(crate) const fn root() -> Self {
        Self(Vec::new())
    }

    /// Returns the place of a key below this one.
    #[must_use]
    pub(crate) fn key(&self, key: &str) -> Self {
        let mut segments = self.0.clone();
        segments.push(Segment::Key(key.to_owned()));
        Self(segments)
    }

    /// Returns the place of a list's item below this one.
    #[must_use]
    pub(crate) fn item(&self, item: usize) -> Self {
        let mut segments = self.0.clone();
        segments.push(Segment::Item(item));
        Self(segments)
    }

    /// Says whether it lies at another place or below it.
    pub(crate) fn is_within(&self, other: &Self) -> bool {
        self.0.starts_with(&other.0)
    }

    /// Returns the place reached by several keys.
    #[must_use]
    pub(crate) fn keys(&self, keys: &[&str]) -> Self {
        keys.iter().fold(self.clone(), |path, key| path.key(key))
    }
}

impl fmt::Display for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, segment) in self.0.iter().enumerate() {
            match segment {
                Segment::Key(key) if i == 0 => f.write_str(key)?,
                Segment::Key(key) => write!(f, ".{key}")?,
                Segment::Item(item) => write!(f, "[{item}]")?,
            }
        }
        Ok(())
    }
}

impl From<&serde_path_to_error::Path> for Path {
    fn from(path: &serde_path_to_error::Path) -> Self {
        use serde_path_to_error::Segment as Theirs;
        let segments = path.iter().filter_map(|segment| match segment {
            Theirs::Seq { index } => Some(Segment::Item(*index)),
            Theirs::Map { key } => Some(Segment::Key(key.clone())),
            Theirs::Enum { .. } | Theirs::Unknown => None,
        });
        Self(segments.collect())
    }
}
