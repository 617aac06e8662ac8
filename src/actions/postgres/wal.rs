//! Archived WAL: which segments are there, how far they reach without a gap, and which are missing.
//!
//! Only names and lengths are looked at. A timeline that began in one of another is followed where its history says so,
//! as the server does.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use jiff::{SignedDuration, Timestamp};
use serde::{Serialize, Serializer};

use super::bucket::Version;
use super::copies;
use super::shelf::{Needed, Shelf};
use super::told::Told;
use crate::clients::Clients;
use crate::outcome::ActionError;

/// Length of a segment where no archived one says it.
const SEGMENT_DEFAULT: u64 = 16 << 20;
/// How far the clocks of the server and of S3 may be apart.
const SKEW: SignedDuration = SignedDuration::from_mins(10);
/// Longest history read.
const HISTORY_MAX: u64 = 1 << 20;
/// What every page of WAL begins with, by major version: `XLOG_PAGE_MAGIC` in PostgreSQL's `access/xlog_internal.h`, in the order
/// of bytes of the processors it is mostly run on.
const PAGE_MAGIC: [(u32, u16); 6] =
    [(13, 0xD106), (14, 0xD10D), (15, 0xD110), (16, 0xD113), (17, 0xD116), (18, 0xD118)];
/// Segments of one gap that are named.
const NAMED_MAX: usize = 5;

/// A position in the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Lsn(pub u64);

impl fmt::Display for Lsn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:X}/{:X}", self.0 >> 32, self.0 & 0xFFFF_FFFF)
    }
}

/// The text is no position in the log.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no position in the log; write it like 0/3000148")]
pub(crate) struct NoLsn(String);

impl FromStr for Lsn {
    type Err = NoLsn;

    fn from_str(text: &str) -> Result<Self, NoLsn> {
        let half = |part: &str| {
            let digits = part.bytes().all(|b| b.is_ascii_hexdigit());
            let sound = digits && (1..=8).contains(&part.len());
            sound.then(|| u64::from_str_radix(part, 16).ok()).flatten()
        };
        let found = text.split_once('/').and_then(|(high, low)| Some((half(high)?, half(low)?)));
        found.map(|(high, low)| Self(high << 32 | low)).ok_or_else(|| NoLsn(text.to_owned()))
    }
}

impl Serialize for Lsn {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// One file of the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Segment {
    pub timeline: u32,
    pub number: u64,
}

impl Segment {
    /// Reads a file's name, e.g. `00000001000000000000002A`.
    pub(super) fn parse(name: &str, size: u64) -> Option<Self> {
        let hex = name.len() == 24
            && name.bytes().all(|b| b.is_ascii_digit() || (b'A'..=b'F').contains(&b));
        let part = |range: std::ops::Range<usize>| u64::from_str_radix(name.get(range)?, 16).ok();
        hex.then_some(())?;
        let (timeline, high, low) = (part(0..8)?, part(8..16)?, part(16..24)?);
        let number = high.checked_mul(per_file(size))?.checked_add(low)?;
        Some(Self { timeline: timeline.try_into().ok()?, number })
    }

    /// Returns the file's name.
    pub(super) fn name(self, size: u64) -> String {
        let per = per_file(size);
        format!("{:08X}{:08X}{:08X}", self.timeline, self.number / per, self.number % per)
    }
}

/// Segments that share the middle part of their name.
const fn per_file(size: u64) -> u64 {
    (1 << 32) / size
}

/// What a base backup needs of the log to begin with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Needs {
    pub timeline: u32,
    pub start: Lsn,
    /// The position from which on what is restored is consistent
    pub end: Lsn,
    /// Segments that came with the backup itself
    pub own: Own,
}

/// Segments of the log that came with a base backup.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Own {
    None,
    /// Files with these names, and their length
    Named {
        names: BTreeSet<String>,
        size: Option<u64>,
    },
    /// All it needs itself
    Needed,
}

/// How far the log leads on from a base backup.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Reach {
    /// The timeline the restore ends on
    pub timeline: u32,
    /// Segments without a gap, from the backup's first; archived ones and its own
    pub whole: Vec<Segment>,
    /// Segments that are missing while later ones are there
    pub missing: Vec<Segment>,
    pub size: u64,
}

impl Reach {
    /// Returns what is missing, in words; `None` where there is no gap.
    pub(super) fn gap(&self) -> Option<String> {
        let names: Vec<String> =
            self.missing.iter().take(NAMED_MAX).map(|segment| segment.name(self.size)).collect();
        let more = self.missing.len().saturating_sub(NAMED_MAX);
        let more = if more > 0 { format!(" and {more} more") } else { String::new() };
        (!names.is_empty()).then(|| format!("{}{more}", names.join(", ")))
    }
}

/// Archived WAL.
#[derive(Debug, Clone)]
pub(super) struct Archive {
    shelf: Shelf,
    /// Where segments are read on this host
    folder: PathBuf,
    /// Length of every whole segment, where there is any
    size: Option<u64>,
    segments: BTreeSet<Segment>,
    /// Which versions of objects they are; of files nothing
    versions: BTreeMap<String, Version>,
    histories: BTreeMap<u32, Vec<(u32, Lsn)>>,
    /// The files the histories are in
    history_files: Vec<Needed>,
    /// What is there that cannot be used, a line each
    pub remarks: Vec<String>,
}

impl Archive {
    /// Looks at what is there.
    pub(super) async fn read(clients: &Clients, shelf: &Shelf) -> Result<Self, ActionError> {
        let inside = shelf.inside(clients, "").await?;
        let (mut files, mut histories, mut packed) = (BTreeMap::new(), BTreeMap::new(), 0);
        let (mut remarks, mut history_files) = (Vec::new(), Vec::new());
        for (name, bytes) in inside.files {
            let stem = name.split('.').next().unwrap_or_default();
            if Segment::parse(&name, SEGMENT_DEFAULT).is_some() {
                files.insert(name, bytes);
            } else if let Some(stem) = name.strip_suffix(".history") {
                let Ok(timeline) = u32::from_str_radix(stem, 16) else { continue };
                let text = shelf.text(clients, &name, HISTORY_MAX).await?.unwrap_or_default();
                histories.insert(timeline, history(&text));
                let version = inside.versions.get(&name).cloned();
                history_files.push(Needed { at: name.clone(), name, bytes, version });
            } else if Segment::parse(stem, SEGMENT_DEFAULT).is_some() && !name.ends_with(".backup")
            {
                packed += 1;
            }
        }
        // A file that is being copied is shorter than the others.
        let size = segment_size(files.values().copied());
        let mut segments = BTreeSet::new();
        for (name, length) in files {
            match size.filter(|size| length == *size).and_then(|size| Segment::parse(&name, size)) {
                Some(segment) => drop(segments.insert(segment)),
                None => {
                    let size = size.unwrap_or(SEGMENT_DEFAULT);
                    remarks.push(format!("{name} has {length} bytes instead of {size}"));
                }
            }
        }
        if packed > 0 {
            remarks.push(format!(
                "{packed} files are compressed or partial, and count for nothing: unpack them"
            ));
        }
        let (shelf, folder) = (shelf.clone(), shelf.wal(copies::LOOKS));
        let versions = inside.versions;
        Ok(Self { shelf, folder, size, segments, versions, histories, history_files, remarks })
    }

    /// Returns the folder of this host that segments are read in.
    pub(super) fn folder(&self) -> &Path {
        &self.folder
    }

    /// Has segments read where those of a restore are, and no more where looks have theirs.
    pub(super) fn for_restore(self) -> Self {
        Self { folder: self.shelf.wal(copies::FETCHED), ..self }
    }

    /// Returns the folder the estate names.
    pub(super) fn above(&self) -> &Path {
        self.shelf.folder()
    }

    /// Says whether a segment was archived before an instant, as far as that is known: then no commit in it is later.
    pub(super) fn is_from_before(&self, segment: &str, time: Timestamp) -> bool {
        self.versions.get(segment).is_some_and(|version| version.written + SKEW < time)
    }

    /// Says whether a segment was archived after an instant, as far as that is known: then the last commit in it is likely to be
    /// later.
    pub(super) fn is_from_after(&self, segment: &str, time: Timestamp) -> bool {
        self.versions.get(segment).is_some_and(|version| version.written > time + SKEW)
    }

    pub(super) fn has(&self, segment: Segment) -> bool {
        self.segments.contains(&segment)
    }

    /// Returns what of it a restore reads: the segments of a reach up to a number, where there is one, and all histories.
    pub(super) fn needed(&self, reach: &Reach, until: Option<u64>) -> Vec<Needed> {
        let last = until.unwrap_or(u64::MAX);
        let segments = reach.whole.iter().filter(|segment| segment.number <= last);
        let segments = segments.filter(|segment| self.has(**segment));
        let segments = segments.map(|segment| self.needed_of(*segment, reach.size));
        segments.chain(self.history_files.iter().cloned()).collect()
    }

    /// Returns what is needed of it for a segment.
    pub(super) fn needed_of(&self, segment: Segment, size: u64) -> Needed {
        let name = segment.name(size);
        let version = self.versions.get(&name).cloned();
        Needed { at: name.clone(), name, bytes: size, version }
    }

    /// Has some of it on this host.
    pub(super) async fn bring(
        &self,
        clients: &Clients,
        needed: &[Needed],
        told: &Told<'_>,
    ) -> Result<(), ActionError> {
        self.shelf.bring(clients, &self.folder, needed, told).await
    }

    /// Has some of it fetched anew by the next attempt.
    pub(super) fn doubt(&self, needed: &[Needed]) {
        self.shelf.doubt(&self.folder, needed);
    }

    /// Returns the bytes of it that are not on this host yet.
    pub(super) fn lacking(&self, needed: &[Needed]) -> u64 {
        self.shelf.lacking(&self.folder, needed)
    }

    /// Returns the major version of the server that wrote an archived segment, by the first bytes of it; `None` where there is
    /// none in the bucket, or its version is not known.
    pub(super) async fn major(
        &self,
        clients: &Clients,
        reach: &Reach,
    ) -> Result<Option<u32>, ActionError> {
        let Some(segment) = reach.whole.iter().find(|segment| self.has(**segment)) else {
            return Ok(None);
        };
        let first = self.shelf.begins(clients, &segment.name(reach.size), 2).await?;
        let magic = <[u8; 2]>::try_from(first.as_slice()).ok().map(u16::from_le_bytes);
        Ok(PAGE_MAGIC.iter().find(|(_, known)| Some(*known) == magic).map(|(major, _)| *major))
    }

    /// Returns how far a base backup can be carried on.
    pub(super) fn reach(&self, needs: &Needs) -> Reach {
        let own_size = match &needs.own {
            Own::Named { size, .. } => *size,
            Own::None | Own::Needed => None,
        };
        let size = self.size.or(own_size).unwrap_or(SEGMENT_DEFAULT);
        let chain = self.chain(needs);
        let timeline_of = |number: u64| {
            let begun = chain.iter().take_while(|(_, begin)| begin.0 / size <= number);
            begun.last().map_or(needs.timeline, |(timeline, _)| *timeline)
        };
        let (first, needed) = (needs.start.0 / size, needs.end.0.saturating_sub(1) / size);
        let own: BTreeSet<Segment> = match &needs.own {
            Own::None => BTreeSet::new(),
            Own::Named { names, .. } => {
                names.iter().filter_map(|name| Segment::parse(name, size)).collect()
            }
            Own::Needed => (first..=needed)
                .map(|number| Segment { timeline: needs.timeline, number })
                .collect(),
        };
        let at = |number| Segment { timeline: timeline_of(number), number };
        let there = |segment: &Segment| self.has(*segment) || own.contains(segment);
        let archived =
            self.segments.iter().chain(&own).filter(|segment| **segment == at(segment.number));
        let last = archived.map(|segment| segment.number).max();
        // What the backup needs itself is missing even where nothing later is there.
        let last = last.unwrap_or(first).max(needed);
        let (mut whole, mut missing) = (Vec::new(), Vec::new());
        for segment in (first..=last).map(at) {
            if !there(&segment) {
                missing.push(segment);
            } else if missing.is_empty() {
                whole.push(segment);
            }
        }
        let timeline = chain.last().map_or(needs.timeline, |(timeline, _)| *timeline);
        Reach { timeline, whole, missing, size }
    }

    /// Returns the timelines a restore goes through, with where each begins: those of the newest one that goes back to the
    /// backup.
    fn chain(&self, needs: &Needs) -> Vec<(u32, Lsn)> {
        let own = vec![(needs.timeline, Lsn(0))];
        let newest = self.histories.iter().rev().find_map(|(newest, lines)| {
            let at = lines.iter().position(|(parent, _)| *parent == needs.timeline)?;
            // It left the backup's timeline before the backup was made.
            if *newest <= needs.timeline || lines[at].1 < needs.end {
                return None;
            }
            let mut chain = own.clone();
            for (i, (_, switched)) in lines.iter().enumerate().skip(at) {
                let next = lines.get(i + 1).map_or(*newest, |(timeline, _)| *timeline);
                chain.push((next, *switched));
            }
            Some(chain)
        });
        newest.unwrap_or(own)
    }
}

/// Returns how long whole segments are, of the lengths of some.
pub(super) fn segment_size(lengths: impl Iterator<Item = u64>) -> Option<u64> {
    let sound = |size: &u64| size.is_power_of_two() && (1 << 20..=1 << 30).contains(size);
    lengths.max().filter(sound)
}

/// Reads a timeline's history: its ancestors, each with where it was left.
fn history(text: &str) -> Vec<(u32, Lsn)> {
    let lines = text.lines().filter(|line| !line.trim_start().starts_with('#'));
    let entries = lines.filter_map(|line| {
        let mut words = line.split_whitespace();
        Some((words.next()?.parse().ok()?, words.next()?.parse().ok()?))
    });
    entries.collect()
}

#[cfg(test)]
mod tests {
    use futures::FutureExt as _;
    use serde_json::json;

    use super::super::shelf::Kind;
    use super::*;
    use crate::clients::testing;
    use crate::estate::own_server::BaseBackups;

    const SIZE: u64 = 1 << 20;

    fn read(directory: &Path) -> Archive {
        let at = json!({ "directory": "/nowhere", "wal": directory });
        let at: BaseBackups = serde_json::from_value(at).expect("what an estate says");
        let (clients, _armed) = testing::armed(json!({}));
        let read = Archive::read(&clients, &Shelf::of(&at, Kind::Wal)).now_or_never();
        read.expect("a directory makes nobody wait").expect("listed")
    }

    fn archive(names: &[&str]) -> (tempfile::TempDir, Archive) {
        let directory = tempfile::tempdir().expect("directory");
        for name in names {
            std::fs::write(directory.path().join(name), vec![0; 1 << 20]).expect("written");
        }
        let archive = read(directory.path());
        (directory, archive)
    }

    fn needs() -> Needs {
        let (start, end) = (Lsn(2 * SIZE + 40), Lsn(2 * SIZE + 400));
        Needs { timeline: 1, start, end, own: Own::None }
    }

    fn names(segments: &[Segment]) -> Vec<String> {
        segments.iter().map(|segment| segment.name(SIZE)).collect()
    }

    #[test]
    fn positions_and_names_are_read_as_the_server_writes_them() {
        for (text, value) in [("0/3000148", 0x300_0148), ("16/B374D848", 0x16_B374_D848)] {
            let lsn: Lsn = text.parse().expect("a position");
            assert_eq!((lsn.0, lsn.to_string().as_str()), (value, text));
        }
        for text in ["", "0", "0/", "/0", "G/0", "0/123456789", "+1/0"] {
            assert!(text.parse::<Lsn>().is_err(), "{text}");
        }
        let name = "0000000200000001000000FF";
        let segment = Segment::parse(name, 16 << 20).expect("a segment");
        assert_eq!(segment, Segment { timeline: 2, number: 0x1FF });
        assert_eq!(segment.name(16 << 20), name);
        assert_eq!(Segment::parse("0000000200000001000000ff", 16 << 20), None);
    }

    #[test]
    fn a_gap_is_named_and_what_lies_behind_it_is_not_reached() {
        let (_directory, archive) = archive(&[
            "000000010000000000000002",
            "000000010000000000000003",
            "000000010000000000000005",
            "000000010000000000000007",
        ]);
        let reach = archive.reach(&needs());
        assert_eq!(names(&reach.whole), ["000000010000000000000002", "000000010000000000000003"]);
        assert_eq!(names(&reach.missing), ["000000010000000000000004", "000000010000000000000006"]);
        assert_eq!(
            reach.gap().as_deref(),
            Some("000000010000000000000004, 000000010000000000000006")
        );
    }

    #[test]
    fn what_the_backup_itself_needs_is_missing_although_nothing_follows() {
        let (_directory, empty) = archive(&[]);
        let needs = Needs { start: Lsn((32 << 20) + 40), end: Lsn((32 << 20) + 400), ..needs() };
        let reach = empty.reach(&needs);
        assert_eq!(reach.gap().as_deref(), Some("000000010000000000000002"));
        let names = BTreeSet::from(["000000010000000000000002".to_owned()]);
        let named = Own::Named { names, size: None };
        for own in [named, Own::Needed] {
            let reach = empty.reach(&Needs { own, ..needs.clone() });
            assert_eq!((reach.whole.len(), reach.gap()), (1, None));
        }
    }

    #[test]
    fn segments_of_another_length_are_known_by_the_backups_own() {
        let (_directory, empty) = archive(&[]);
        let names = BTreeSet::from(["000000010000000000000002".to_owned()]);
        let reach = empty.reach(&Needs { own: Own::Named { names, size: Some(SIZE) }, ..needs() });
        assert_eq!((reach.size, reach.whole.len(), reach.gap()), (SIZE, 1, None));
    }

    #[test]
    fn a_segment_that_is_shorter_than_the_others_is_missing() {
        let (directory, _) = archive(&["000000010000000000000002", "000000010000000000000004"]);
        std::fs::write(directory.path().join("000000010000000000000003"), b"half").expect("cut");
        std::fs::write(directory.path().join("000000010000000000000005.gz"), b"x").expect("packed");
        let archive = read(directory.path());
        let reach = archive.reach(&needs());
        assert_eq!(reach.gap().as_deref(), Some("000000010000000000000003"));
        assert!(archive.remarks[0].contains("has 4 bytes instead of"), "{:?}", archive.remarks);
        assert!(archive.remarks[1].contains("1 files are compressed"), "{:?}", archive.remarks);
    }

    #[test]
    fn a_later_timeline_is_followed_from_where_it_began() {
        let (directory, _) = archive(&[
            "000000010000000000000002",
            "000000010000000000000003",
            "000000020000000000000003",
            "000000020000000000000004",
            "000000030000000000000002",
        ]);
        let line = |name: &str, text: &str| {
            std::fs::write(directory.path().join(name), text).expect("written");
        };
        line("00000002.history", "1\t0/300500\tno recovery target specified\n");
        // This one left timeline 1 before the backup was made, and leads nowhere from it.
        line("00000003.history", "1\t0/200020\tbefore 2026-01-01\n");
        let archive = read(directory.path());
        let reach = archive.reach(&needs());
        assert_eq!((reach.timeline, reach.gap()), (2, None));
        assert_eq!(
            names(&reach.whole),
            ["000000010000000000000002", "000000020000000000000003", "000000020000000000000004"]
        );
    }
}
