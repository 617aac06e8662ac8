//! One session that reads relations: what a statement's end means, limits of time, what is told on the way.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use jiff::Timestamp;
use tokio_postgres::Row;

use super::relations::Relation;
use super::report::size;
use super::scan::Depth;
use super::server::{Callable, Facts};
use super::verdict::Unread;
use crate::clients::Clients;
use crate::clients::postgres::Session;
use crate::clients::postgres::long::{NoRows, Refusal, STATEMENT_LIMIT, Statement};
use crate::clock::since;
use crate::engine::ports::Progress;
use crate::outcome::{ActionError, FailureClass};
use crate::runbook::catalogue::actions::AssessTier;
use crate::span::Span;

/// A conflict with another session, or with a replica's replay, may pass: so often a statement is tried.
const TRIES_MAX: u32 = 3;
/// With less time than this left nothing more is begun.
const LEAST: Duration = Duration::from_secs(1);

/// How far all sessions together are.
#[derive(Debug)]
pub(super) struct Tally {
    bytes: u64,
    done: AtomicU64,
    read: AtomicU64,
    damaged: AtomicU64,
    told: AtomicU64,
}

impl Tally {
    pub(super) const fn of(bytes: u64) -> Self {
        Self {
            bytes,
            done: AtomicU64::new(0),
            read: AtomicU64::new(0),
            damaged: AtomicU64::new(0),
            told: AtomicU64::new(u64::MAX),
        }
    }

    /// Returns the bytes that were read.
    pub(super) fn read(&self) -> u64 {
        self.read.load(Ordering::Relaxed)
    }

    pub(super) fn found_damage(&self) {
        self.damaged.fetch_add(1, Ordering::Relaxed);
    }

    /// Notes bytes that are done with, `read` of them because they were read; tells it once a percent.
    fn note(&self, progress: &Progress, done: u64, read: u64, now_at: &str) {
        self.read.fetch_add(read, Ordering::Relaxed);
        let done = done + self.done.fetch_add(done, Ordering::Relaxed);
        let percent = done.min(self.bytes) * 100 / self.bytes.max(1);
        if self.told.swap(percent, Ordering::Relaxed) == percent {
            return;
        }
        let damaged = match self.damaged.load(Ordering::Relaxed) {
            0 => String::new(),
            damaged => format!(", {damaged} relations damaged so far"),
        };
        let said = format!(
            "{} of {} assessed{damaged}; {now_at}",
            size(done.min(self.bytes)),
            size(self.bytes)
        );
        let hundredths = u8::try_from(percent).unwrap_or(100);
        progress.tell(said, Some(f32::from(hundredths) / 100.0));
    }
}

/// When reading ends, whatever is left.
#[derive(Debug, Clone, Copy)]
pub(super) struct Until {
    pub at: Option<Timestamp>,
    /// The budget that is spent then; else the step's own time
    pub budget: Option<Span>,
}

/// What the sessions of one assessment share.
#[derive(Clone, Copy)]
pub(super) struct Shared<'a> {
    pub clients: &'a Clients,
    pub progress: &'a Progress,
    pub instance: &'a str,
    pub tier: AssessTier,
    /// Every table is compared with its indexes as well
    pub compares: bool,
    pub facts: &'a Facts,
    pub until: Until,
    pub tally: &'a Tally,
}

impl Shared<'_> {
    /// Returns how much of a row must be understood.
    pub(super) fn depth(&self) -> Depth {
        depth(self.tier, self.facts)
    }
}

/// Returns how much of a row a tier must understand on a server: all of it where neither checksums nor, for the deep
/// tier, amcheck vouch for the rest.
pub(super) fn depth(tier: AssessTier, facts: &Facts) -> Depth {
    match (facts.checksums, tier, &facts.heap_check) {
        (true, AssessTier::Quick, _) | (true, AssessTier::Deep, Callable::Yes(_)) => Depth::Large,
        (true, AssessTier::Deep, Callable::No(_)) | (false, _, _) => Depth::Every,
    }
}

/// One session and what it shares with the others.
pub(super) struct Reader<'a> {
    pub shared: Shared<'a>,
    pub session: Session,
}

/// Why a statement over a relation gave nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Trouble {
    /// The relation, or what it stands on, is damaged
    Damaged(Refusal),
    /// Either damage, or a value that is sound and cannot be read like this: a closer look tells
    Doubtful(Refusal),
    /// It took longer than it may: less of it at a time may do
    TooLong(Refusal),
    /// Nothing is known of it
    Unread(Unread),
}

impl Trouble {
    /// Returns it as the reason why something is not known.
    pub(super) fn unread(self) -> Unread {
        match self {
            Self::Damaged(refusal) | Self::Doubtful(refusal) | Self::TooLong(refusal) => {
                words(&refusal).into()
            }
            Self::Unread(why) => why,
        }
    }
}

/// What an SQLSTATE says of the relation that was read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Meaning {
    Damaged,
    Doubtful,
    TooLong,
    Locked,
    Again,
    Unread,
}

fn meaning(code: &str) -> Meaning {
    match code {
        // Data or index corrupted, or the disk does not give it.
        "XX001" | "XX002" | "58030" => Meaning::Damaged,
        // An internal error is what a damaged length gives, and a value too large for its text as well. A file that is
        // not there may be the relation's, or the library of a type.
        "XX000" | "58P01" | "54000" => Meaning::Doubtful,
        "57014" => Meaning::TooLong,
        "55P03" => Meaning::Locked,
        "40001" | "40P01" => Meaning::Again,
        // A value that its own type cannot put into words.
        code if code.starts_with("22") => Meaning::Doubtful,
        _ => Meaning::Unread,
    }
}

impl Reader<'_> {
    /// Returns how long the next statement may take; `Err` says that there is no time left.
    pub(super) fn time_for(&self, wanted: Duration) -> Result<Duration, Unread> {
        let Some(at) = self.shared.until.at else { return Ok(wanted) };
        let left = since(self.shared.clients.clock.now(), at);
        if left >= LEAST {
            return Ok(wanted.min(left));
        }
        Err(Unread::for_time(match self.shared.until.budget {
            Some(budget) => format!("the budget of {budget} was spent"),
            None => "the step's time was over".to_owned(),
        }))
    }

    /// Tells that bytes of a relation were read.
    pub(super) fn read(&self, relation: &Relation, bytes: u64) {
        let Shared { tally, progress, .. } = self.shared;
        tally.note(progress, bytes, bytes, &relation.name);
    }

    /// Tells that bytes of a relation are done with, although nobody read them.
    pub(super) fn passed(&self, relation: &Relation, bytes: u64) {
        let Shared { tally, progress, .. } = self.shared;
        tally.note(progress, bytes, 0, &relation.name);
    }

    /// Asks for rows of a relation. Only a connection that is gone is an error.
    pub(super) async fn ask(
        &mut self,
        relation: &Relation,
        settings: &[&str],
        sql: &str,
        wanted: Duration,
    ) -> Result<Result<Vec<Row>, Trouble>, ActionError> {
        let asked = self.ask_at_once(relation, &[(settings, sql)], wanted).await?;
        Ok(asked.map(|rows| rows.into_iter().flatten().collect()))
    }

    /// Asks for rows of a relation by statements that see the same instant.
    pub(super) async fn ask_at_once(
        &mut self,
        relation: &Relation,
        statements: &[Statement<'_>],
        wanted: Duration,
    ) -> Result<Result<Vec<Vec<Row>>, Trouble>, ActionError> {
        let what = format!("read {} on {}", relation.name, self.shared.instance);
        let mut tries = 1;
        loop {
            let limit = match self.time_for(wanted) {
                Ok(limit) => limit,
                Err(why) => return Ok(Err(Trouble::Unread(why))),
            };
            let clients = self.shared.clients;
            let asked = self.session.read_at_once(clients, &what, statements, limit).await;
            let refusal = match asked {
                Ok(rows) => return Ok(Ok(rows)),
                Err(NoRows::Lost(error)) => return Err(lost(error, relation)),
                Err(NoRows::Refused(refusal)) => refusal,
            };
            let trouble = match meaning(&refusal.code) {
                Meaning::Damaged => Trouble::Damaged(refusal),
                Meaning::Doubtful => Trouble::Doubtful(refusal),
                // It is the time of the whole that was over, not the statement's own.
                Meaning::TooLong => match self.time_for(wanted) {
                    Ok(_) => Trouble::TooLong(refusal),
                    Err(why) => Trouble::Unread(why),
                },
                Meaning::Locked => Trouble::Unread(self.held(relation).await?.into()),
                Meaning::Again if tries < TRIES_MAX => {
                    tries += 1;
                    continue;
                }
                Meaning::Again | Meaning::Unread => Trouble::Unread(
                    withheld(relation, &refusal).unwrap_or_else(|| words(&refusal).into()),
                ),
            };
            return Ok(Err(trouble));
        }
    }

    /// Says who holds a relation.
    async fn held(&mut self, relation: &Relation) -> Result<String, ActionError> {
        let sql = format!(
            "select a.pid, coalesce(a.usename::text, 'nobody'), coalesce(a.application_name, ''), \
                 coalesce(extract(epoch from clock_timestamp() - a.xact_start), 0)::int8 \
             from pg_locks l join pg_stat_activity a on a.pid = l.pid \
             where l.relation = {} and l.mode = 'AccessExclusiveLock' order by l.granted desc, 1",
            relation.oid
        );
        let what = format!("read who holds {} on {}", relation.name, self.shared.instance);
        let asked = self.session.read_long(self.shared.clients, &what, &sql, STATEMENT_LIMIT).await;
        let rows = match asked {
            Ok(rows) => rows,
            Err(NoRows::Lost(error)) => return Err(error),
            Err(NoRows::Refused(refusal)) => {
                return Ok(format!("it is locked: {}", words(&refusal)));
            }
        };
        Ok(rows.first().and_then(holder).unwrap_or_else(|| {
            "it was locked by a session that is gone by now: assess it again".to_owned()
        }))
    }
}

fn holder(row: &Row) -> Option<String> {
    let (pid, user): (i32, String) = (row.try_get(0).ok()?, row.try_get(1).ok()?);
    let (application, seconds): (String, i64) = (row.try_get(2).ok()?, row.try_get(3).ok()?);
    let application = match application.as_str() {
        "" => String::new(),
        name => format!(", {name}"),
    };
    let since = Span::seconds(u64::try_from(seconds).unwrap_or_default());
    Some(format!(
        "it is locked exclusively by process {pid} ({user}{application}), in a transaction for {since}: end that, then \
         assess it again"
    ))
}

/// Returns why a catalog is not read which the role may read by all its rights: the service that runs the server keeps it
/// to itself, and there is no grant that would change it.
fn withheld(relation: &Relation, refusal: &Refusal) -> Option<Unread> {
    let kept = relation.is_catalog() && relation.barred.is_none() && refusal.code == "42501";
    kept.then(|| {
        let said = words(refusal);
        Unread::by_nature(format!("the server keeps it from every role that can be had: {said}"))
    })
}

pub(super) fn words(refusal: &Refusal) -> String {
    format!("{} ({})", refusal.message, refusal.code)
}

/// A connection that is lost says nothing of the relation, but perhaps of the server: it may end on what is damaged.
fn lost(error: ActionError, relation: &Relation) -> ActionError {
    if error.class != FailureClass::Transient {
        return error;
    }
    let hint = format!(
        "nothing is concluded from it; where it happens again at {}, see the server's log: damage can end a server \
         process, and all sessions with it",
        relation.name
    );
    error.hint(hint)
}

#[cfg(test)]
mod tests {
    use super::super::relations::Kind;
    use super::super::relations::tests::relation;
    use super::super::verdict::Gap;
    use super::*;
    use crate::ids::StepId;

    #[test]
    fn only_a_catalog_that_all_rights_do_not_open_is_kept_by_nature() {
        let refused = |code: &str| Refusal { code: code.to_owned(), message: "denied".to_owned() };
        let gap = |relation: &Relation, code| withheld(relation, &refused(code)).map(|why| why.gap);
        let catalog = relation(1, "pg_catalog.pg_authid", Kind::Table, None, 1);
        assert_eq!(gap(&catalog, "42501"), Some(Gap::ByNature));
        assert_eq!(gap(&catalog, "53200"), None);
        let barred = Relation { barred: Some("no grant".to_owned()), ..catalog };
        assert_eq!(gap(&barred, "42501"), None, "there is a grant for it");
        assert_eq!(gap(&relation(2, "app.t", Kind::Table, None, 1), "42501"), None);
    }

    #[test]
    fn an_sqlstate_says_what_is_known_of_a_relation() {
        for (code, expected) in [
            ("XX001", Meaning::Damaged),
            ("XX002", Meaning::Damaged),
            ("58030", Meaning::Damaged),
            ("XX000", Meaning::Doubtful),
            ("58P01", Meaning::Doubtful),
            ("54000", Meaning::Doubtful),
            ("22008", Meaning::Doubtful),
            ("57014", Meaning::TooLong),
            ("55P03", Meaning::Locked),
            ("40001", Meaning::Again),
            ("42501", Meaning::Unread),
            ("42P01", Meaning::Unread),
            ("53200", Meaning::Unread),
        ] {
            assert_eq!(meaning(code), expected, "{code}");
        }
    }

    #[test]
    fn progress_is_told_by_bytes_and_not_for_every_read() {
        let (sink, mut told) = tokio::sync::mpsc::unbounded_channel();
        let progress = Progress::new(StepId::from("assess"), sink);
        let tally = Tally::of(2048);
        tally.note(&progress, 1024, 1024, "app.orders");
        tally.note(&progress, 1, 1, "app.orders");
        tally.found_damage();
        tally.note(&progress, 1023, 0, "app.items");
        let mut notes = Vec::new();
        while let Ok(note) = told.try_recv() {
            notes.push((note.said, note.fraction));
        }
        let expected = [
            ("1.0 KiB of 2.0 KiB assessed; app.orders".to_owned(), Some(0.5)),
            (
                "2.0 KiB of 2.0 KiB assessed, 1 relations damaged so far; app.items".to_owned(),
                Some(1.0),
            ),
        ];
        assert_eq!(notes, expected);
        assert_eq!(tally.read(), 1025, "what was passed over was not read");
    }
}
