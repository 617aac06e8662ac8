//! What is in WAL, by `pg_waldump`: instants of commits, named restore points, the last position.

use std::path::{Path, PathBuf};
use std::time::Duration;

use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;

use super::base::BaseBackup;
use super::shelf::Needed;
use super::told::Told;
use super::wal::{Archive, Lsn, Reach, Segment};
use crate::clients::Clients;
use crate::clients::postgres::tools::{Found, Tool, find_exact};
use crate::clients::process::{self, Program, Scrub};
use crate::outcome::{ActionError, FailureClass};
use crate::sandbox::programs::Purpose;

/// Time to read one segment.
const SEGMENT_LIMIT: Duration = Duration::from_secs(60);
/// Time to read all of them, for the name of a restore point.
const ALL_LIMIT: Duration = Duration::from_secs(60 * 60);
/// Segments looked through, from the last one back, for a commit.
pub(super) const BACK_MAX: usize = 64;

/// Where the log ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct End {
    /// Position of its last record
    pub lsn: Lsn,
    /// Instant of the last commit; `None` where none was found
    pub time: Option<Timestamp>,
}

/// A named restore point.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Named {
    pub name: String,
    pub lsn: Lsn,
}

/// Segments of one timeline that follow on each other in one folder.
struct Stretch {
    folder: PathBuf,
    first: Segment,
    last: u64,
}

/// Reads segments of one archive.
pub(super) struct Reader<'a> {
    clients: &'a Clients,
    archive: &'a Archive,
    tool: Found,
    /// Length of its segments
    size: u64,
    /// The backup, for segments that came with it and are not in the archive
    backup: &'a BaseBackup,
}

impl<'a> Reader<'a> {
    /// Returns a reader of the log of a major version behind a backup, in segments of a length.
    pub(super) async fn new(
        clients: &'a Clients,
        archive: &'a Archive,
        backup: &'a BaseBackup,
        (major, size): (u32, u64),
    ) -> Result<Self, ActionError> {
        let tool = find_exact(clients, Tool::WalDump, major).await?;
        Ok(Self { clients, archive, tool, size, backup })
    }

    /// Returns where the whole part of the log ends.
    pub(super) async fn end(&self, reach: &Reach) -> Result<Option<End>, ActionError> {
        let Some(last) = reach.whole.last() else { return Ok(None) };
        let Some(lsn) = self.last_record(*last).await? else { return Ok(None) };
        for segment in reach.whole.iter().rev().take(BACK_MAX) {
            if let Some(time) = self.last_commit(*segment).await? {
                return Ok(Some(End { lsn, time: Some(time) }));
            }
        }
        Ok(Some(End { lsn, time: None }))
    }

    /// Returns the last commit before a backup was complete: what is restored must go at least so far. It is looked for from the end
    /// of the backup back.
    pub(super) async fn last_commit_between(
        &self,
        timeline: u32,
        start: Lsn,
        end: Lsn,
    ) -> Result<Option<Timestamp>, ActionError> {
        let (first, last) = (start.0 / self.size, end.0.saturating_sub(1) / self.size);
        for number in (first..=last.max(first)).rev().take(BACK_MAX) {
            let segment = Segment { timeline, number };
            for stretch in self.stretches(std::iter::once(segment)).await? {
                let said = self.stretch(&stretch, (start, end), ("Transaction", " UTC")).await?;
                if let Some(time) = said.last.lines().filter_map(commit).max() {
                    return Ok(Some(time));
                }
            }
        }
        Ok(None)
    }

    /// Returns the restore points whose name begins so, from a position on: the first 500 and the last.
    pub(super) async fn restore_points(
        &self,
        reach: &Reach,
        from: Lsn,
        begins: &str,
    ) -> Result<Vec<Named>, ActionError> {
        let (mut found, words) = (Vec::new(), format!("RESTORE_POINT {begins}"));
        for stretch in self.stretches(reach.whole.iter().copied()).await? {
            let said = self.stretch(&stretch, (from, Lsn(u64::MAX)), ("XLOG", &words)).await?;
            let lines = said.stdout.lines().chain(said.last.lines());
            found.extend(lines.filter_map(restore_point));
        }
        found.sort_by_key(|point| point.lsn);
        found.dedup();
        Ok(found)
    }

    /// Has a segment on this host; returns where it is.
    async fn here(&self, segment: Segment) -> Result<PathBuf, ActionError> {
        let name = segment.name(self.size);
        if !self.archive.has(segment) && self.backup.has_segment(&name) {
            return self.backup.own_segment(self.clients, &name).await;
        }
        if self.archive.has(segment) {
            let needed = [self.archive.needed_of(segment, self.size)];
            self.archive.bring(self.clients, &needed, &Told::nobody()).await?;
        }
        Ok(self.archive.folder().join(name))
    }

    /// Has segments that follow on each other on this host; returns them by the timeline and the folder they are in: the program
    /// reads on one timeline, in one folder.
    async fn stretches(
        &self,
        segments: impl Iterator<Item = Segment>,
    ) -> Result<Vec<Stretch>, ActionError> {
        let segments: Vec<Segment> = segments.collect();
        let archived = segments.iter().filter(|segment| self.archive.has(**segment));
        let needed: Vec<Needed> =
            archived.map(|segment| self.archive.needed_of(*segment, self.size)).collect();
        self.archive.bring(self.clients, &needed, &Told::nobody()).await?;
        let mut stretches: Vec<Stretch> = Vec::new();
        for segment in segments {
            let folder = match self.archive.has(segment) {
                true => self.archive.folder().to_owned(),
                false => {
                    let path = self.here(segment).await?;
                    path.parent().map(Path::to_owned).unwrap_or_default()
                }
            };
            match stretches.last_mut() {
                Some(stretch)
                    if stretch.first.timeline == segment.timeline && stretch.folder == folder =>
                {
                    stretch.last = segment.number;
                }
                _ => stretches.push(Stretch { folder, first: segment, last: segment.number }),
            }
        }
        Ok(stretches)
    }

    /// Reads records of a kind in a stretch, between two positions.
    async fn stretch(
        &self,
        stretch: &Stretch,
        (start, end): (Lsn, Lsn),
        (kind, words): (&str, &str),
    ) -> Result<process::Ended, ActionError> {
        let begin = Lsn(stretch.first.number * self.size).max(start);
        let end = Lsn((stretch.last + 1) * self.size).min(end);
        let arguments = [
            format!("--path={}", stretch.folder.display()),
            format!("--rmgr={kind}"),
            format!("--timeline={}", stretch.first.timeline),
            format!("--start={begin}"),
            format!("--end={end}"),
        ];
        self.run(&arguments, words, ALL_LIMIT).await
    }

    /// Returns the number of a segment with a commit later than an instant: the first one, where few are to be read for that, and
    /// otherwise one that was archived so much later that it must have one. `None` where none was found.
    pub(super) async fn first_later(
        &self,
        reach: &Reach,
        time: Timestamp,
        most: usize,
    ) -> Result<Option<u64>, ActionError> {
        let name = |segment: &Segment| segment.name(self.size);
        let may_be =
            reach.whole.iter().skip_while(|&s| self.archive.is_from_before(&name(s), time));
        let must_be = reach.whole.iter().filter(|&s| self.archive.is_from_after(&name(s), time));
        for segment in may_be.take(most).chain(must_be.take(most)) {
            if self.last_commit(*segment).await?.is_some_and(|commit| commit > time) {
                return Ok(Some(segment.number));
            }
        }
        Ok(None)
    }

    async fn last_record(&self, segment: Segment) -> Result<Option<Lsn>, ActionError> {
        let said = self.read_segment(segment, &[], "lsn: ").await?;
        Ok(said.lines().filter_map(lsn).max())
    }

    async fn last_commit(&self, segment: Segment) -> Result<Option<Timestamp>, ActionError> {
        let more = ["--rmgr=Transaction".to_owned()];
        let said = self.read_segment(segment, &more, " UTC").await?;
        Ok(said.lines().filter_map(commit).max())
    }

    async fn read_segment(
        &self,
        segment: Segment,
        more: &[String],
        words: &str,
    ) -> Result<String, ActionError> {
        let arguments = [more, &[self.here(segment).await?.display().to_string()]].concat();
        self.run(&arguments, words, SEGMENT_LIMIT).await.map(|ended| ended.last)
    }

    /// Runs it. It fails at the end of what it is given as well, so that its exit status says nothing: what it said of
    /// records is what counts.
    async fn run(
        &self,
        arguments: &[String],
        words: &str,
        limit: Duration,
    ) -> Result<process::Ended, ActionError> {
        let argv: Vec<String> =
            std::iter::once(self.tool.program.clone()).chain(arguments.iter().cloned()).collect();
        let program = Program {
            argv: &argv,
            env: &[("TZ".to_owned(), "UTC".to_owned())].into(),
            scrub: Scrub::Connection,
            cwd: None,
            limit,
            artifact: None,
            purpose: Purpose::Look,
        };
        let failed = |why: String| {
            ActionError::unchanged(FailureClass::Transient, format!("read the archived WAL: {why}"))
        };
        let ended = process::sift(self.clients, &program, words).await;
        let ended = ended.map_err(|error| failed(error.to_string()))?;
        match ended.end {
            process::ProgramEnd::Exit(_) => Ok(ended),
            process::ProgramEnd::Signal(_) | process::ProgramEnd::TimedOut => {
                Err(failed(ended.say(limit)))
            }
        }
    }
}

/// Reads the position of a record out of its line.
fn lsn(line: &str) -> Option<Lsn> {
    let (_, rest) = line.split_once("lsn: ")?;
    rest.split(',').next()?.trim().parse().ok()
}

/// Reads when a transaction ended out of its line, e.g. `… desc: COMMIT 2026-11-29 04:41:20.123456 UTC`.
fn commit(line: &str) -> Option<Timestamp> {
    let (_, rest) = line.split_once("desc: ")?;
    let (kind, rest) = rest.split_once(' ')?;
    if !matches!(kind, "COMMIT" | "ABORT" | "COMMIT_PREPARED" | "ABORT_PREPARED") {
        return None;
    }
    let (head, _) = rest.split_once(" UTC")?;
    // Of a prepared transaction its number and a colon come first.
    let head = head.rsplit(": ").next()?;
    let time: DateTime = head.parse().ok()?;
    Some(time.to_zoned(TimeZone::UTC).ok()?.timestamp())
}

fn restore_point(line: &str) -> Option<Named> {
    let (_, name) = line.split_once("desc: RESTORE_POINT ")?;
    Some(Named { name: name.trim_end().to_owned(), lsn: lsn(line)? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_the_log_are_read() {
        let line = "rmgr: Transaction len (rec/tot):     46/    46, tx:        735, lsn: 0/0401D4A8, prev 0/0401D460, \
             desc: COMMIT 2026-11-29 04:41:20.123456 UTC; inval msgs: catcache 76";
        assert_eq!(lsn(line), Some(Lsn(0x0401_D4A8)));
        let time: Timestamp = "2026-11-29T04:41:20.123456Z".parse().expect("an instant");
        assert_eq!(commit(line), Some(time));
        let prepared = line.replace("COMMIT 2026", "COMMIT_PREPARED 735: 2026");
        assert_eq!(commit(&prepared), Some(time));
        // What was only prepared is no commit yet.
        assert_eq!(commit(&line.replace("COMMIT 2026", "PREPARE gid a: 2026")), None);
        let point = "rmgr: XLOG len (rec/tot): 98/ 98, tx: 725, lsn: 0/040128D8, prev 0/04012898, desc: RESTORE_POINT a b";
        assert_eq!(
            restore_point(point),
            Some(Named { name: "a b".to_owned(), lsn: Lsn(0x0401_28D8) })
        );
    }
}
