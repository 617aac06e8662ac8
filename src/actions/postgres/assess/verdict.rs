//! What is known of a relation: that it is sound, where it is damaged, or why nothing is known.

use serde::Serialize;

/// How a place was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Means {
    /// It could not be read
    Read,
    /// `verify_heapam` of amcheck
    HeapCheck,
    /// `bt_index_check` of amcheck
    IndexCheck,
    /// The size of its file
    Size,
}

/// One place that is damaged.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub(super) struct Place {
    /// `None` where the server does not say
    pub block: Option<u32>,
    /// Row of the block; `None` where all of the block is meant
    pub offset: Option<u32>,
    pub column: Option<String>,
    pub means: Means,
    /// SQLSTATE, where it was an error
    pub code: Option<String>,
    /// The server's words
    pub said: String,
}

impl Place {
    pub(super) fn shown(&self) -> String {
        let block = self.block.map_or("somewhere".to_owned(), |block| format!("block {block}"));
        let row = self.offset.map(|offset| format!(" row {offset}")).unwrap_or_default();
        let column = self.column.as_ref().map(|name| format!(" column {name}")).unwrap_or_default();
        format!("{block}{row}{column}")
    }
}

/// What it would take to know more; of several the last counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Gap {
    /// Nothing would do: no check knows it, nothing uses it, or the server keeps it from every role that can be had
    ByNature,
    /// More time: nothing stood in the way
    Time,
    /// What stood in the way must go: a right, a lock, an extension that is missing, an error
    Obstacle,
}

/// Why nothing is known of something, or not enough.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct Unread {
    pub why: String,
    pub gap: Gap,
}

impl Unread {
    pub(super) const fn by_nature(why: String) -> Self {
        Self { why, gap: Gap::ByNature }
    }

    pub(super) const fn for_time(why: String) -> Self {
        Self { why, gap: Gap::Time }
    }

    /// Says first what it is that is not known.
    pub(super) fn of(self, what: &str) -> Self {
        Self { why: format!("{what}: {}", self.why), gap: self.gap }
    }

    /// Puts several together.
    fn joined(all: &[Self]) -> Self {
        let words: Vec<&str> = all.iter().map(|unread| unread.why.as_str()).collect();
        let gap = all.iter().map(|unread| unread.gap).max().unwrap_or(Gap::Obstacle);
        Self { why: words.join("; "), gap }
    }
}

/// What is not known to be harmless stands in the way.
impl From<String> for Unread {
    fn from(why: String) -> Self {
        Self { why, gap: Gap::Obstacle }
    }
}

impl From<&str> for Unread {
    fn from(why: &str) -> Self {
        why.to_owned().into()
    }
}

/// What is known of a relation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub(super) enum Verdict {
    Damaged {
        places: Vec<Place>,
        /// What of it was not looked at, and why
        #[serde(skip_serializing_if = "Vec::is_empty")]
        unread: Vec<String>,
        /// Damaged places beyond those that are named
        #[serde(skip_serializing_if = "is_none")]
        more: u64,
    },
    /// Nothing is known of it, or not enough
    Unread(Unread),
    /// All of it was read, and whatever else can be checked of it was
    Sound,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde hands it over like this")]
const fn is_none(count: &u64) -> bool {
    *count == 0
}

impl Verdict {
    pub(super) fn unread(why: impl Into<Unread>) -> Self {
        Self::Unread(why.into())
    }

    pub(super) const fn rank(&self) -> u8 {
        match self {
            Self::Damaged { .. } => 0,
            Self::Unread(_) => 1,
            Self::Sound => 2,
        }
    }

    pub(super) fn places(&self) -> &[Place] {
        match self {
            Self::Damaged { places, .. } => places,
            Self::Unread(_) | Self::Sound => &[],
        }
    }

    /// Returns what it would take to know more of it, where nothing is known.
    pub(super) const fn gap(&self) -> Option<Gap> {
        match self {
            Self::Unread(unread) => Some(unread.gap),
            Self::Damaged { .. } | Self::Sound => None,
        }
    }
}

/// What was found in one relation so far.
#[derive(Debug, Default)]
pub(super) struct Findings {
    pub places: Vec<Place>,
    /// What is not known of it, and why
    pub unread: Vec<Unread>,
    /// Damaged places beyond those that are named
    pub more: u64,
    /// Rows that were read
    pub rows: u64,
}

impl Findings {
    pub(super) fn verdict(mut self) -> Verdict {
        self.places.sort();
        self.places.dedup();
        match (self.places.is_empty(), self.unread.is_empty()) {
            (false, _) => Verdict::Damaged {
                places: self.places,
                unread: self.unread.into_iter().map(|unread| unread.why).collect(),
                more: self.more,
            },
            (true, false) => Verdict::Unread(Unread::joined(&self.unread)),
            (true, true) => Verdict::Sound,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_not_read_is_never_sound() {
        assert_eq!(Findings::default().verdict(), Verdict::Sound);
        let unread = Findings { unread: vec!["a".into(), "b".into()], ..Findings::default() };
        assert_eq!(unread.verdict(), Verdict::unread("a; b"));
        let place = Place {
            block: Some(7),
            offset: None,
            column: None,
            means: Means::Read,
            code: None,
            said: String::new(),
        };
        let places = vec![place.clone(), place.clone()];
        let damaged = Findings { places, unread: vec!["a".into()], more: 7, rows: 3 };
        let unread = vec!["a".to_owned()];
        let expected = Verdict::Damaged { places: vec![place], unread, more: 7 };
        assert_eq!(damaged.verdict(), expected);
    }

    #[test]
    fn of_several_reasons_the_gravest_counts() {
        let gap = |all: &[Unread]| Unread::joined(all).gap;
        let [nature, time] = [Unread::by_nature("a".to_owned()), Unread::for_time("b".to_owned())];
        assert_eq!(gap(std::slice::from_ref(&nature)), Gap::ByNature);
        assert_eq!(gap(&[time.clone(), nature.clone()]), Gap::Time);
        assert_eq!(gap(&[time.clone(), "c".into(), nature]), Gap::Obstacle);
        assert_eq!(time.of("from block 3 on"), Unread::for_time("from block 3 on: b".to_owned()));
    }
}
