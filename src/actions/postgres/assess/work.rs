//! Families of relations, assessed by several sessions side by side: each takes the next until none is left.
//!
//! What is damaged may end the server process that reads it, and all sessions of the server with that. Families in whose middle a
//! connection was lost are read once more, one at a time: then it is known at which one it happens.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures::future::try_join_all;

use super::large::Large;
use super::plain::Counted;
use super::reader::{Reader, Shared};
use super::relations::{Family, Kind, Relation};
use super::report::Entry;
use super::verdict::Verdict;
use super::{Wanted, open};
use crate::clients::postgres::Session;
use crate::clients::postgres::long::STATEMENT_LIMIT;
use crate::outcome::{ActionError, FailureClass};

/// A server whose process was ended by damage begins anew by itself: so often it is tried, and what is waited between.
const OPENINGS: u32 = 60;
const BETWEEN_OPENINGS: Duration = Duration::from_secs(1);
/// Families that may end a session a second time; with each of them all sessions of the server may end.
const ENDED_MAX: usize = 3;

/// What became of the families.
#[derive(Debug, Default)]
pub(super) struct Assessed {
    pub entries: Vec<Entry>,
    /// Names of relations that were dropped while this went on
    pub gone: Vec<String>,
}

impl Assessed {
    fn extend(&mut self, other: Self) {
        self.entries.extend(other.entries);
        self.gone.extend(other.gone);
    }
}

/// Assesses families in their order by as many sessions as there are, and returns these, or one that was opened for those that were
/// lost. A server that does not come back ends all of it.
pub(super) async fn assess_all(
    shared: Shared<'_>,
    sessions: Vec<Session>,
    families: &[Family],
    wanted: &Wanted<'_>,
) -> Result<(Assessed, Vec<Session>), ActionError> {
    let next = AtomicUsize::new(0);
    let workers = sessions.into_iter().map(|session| {
        let (mut reader, next) = (Reader { shared, session }, &next);
        async move {
            let mut assessed = Assessed::default();
            while let Some(family) = families.get(next.fetch_add(1, Ordering::Relaxed)) {
                match reader.family(family).await {
                    Ok(found) => assessed.extend(found),
                    Err(error) if is_lost(&error) => return Ok((assessed, Err(family))),
                    Err(error) => return Err(error),
                }
            }
            Ok::<_, ActionError>((assessed, Ok(reader.session)))
        }
    });
    // When one fails the others are dropped: their connections close, and the server ends their statements.
    let found = try_join_all(workers).await?;
    let (mut all, mut sessions, mut again) = (Assessed::default(), Vec::new(), Vec::new());
    for (assessed, ended) in found {
        all.extend(assessed);
        match ended {
            Ok(session) => sessions.push(session),
            Err(family) => again.push(family),
        }
    }
    if again.is_empty() {
        return Ok((all, sessions));
    }
    again.extend(families.iter().skip(next.into_inner()));
    let session = one_by_one(shared, &again, &mut all, wanted).await?;
    Ok((all, vec![session]))
}

/// Assesses families one at a time, each by a session that was there before it: one that ends it is known by that.
async fn one_by_one(
    shared: Shared<'_>,
    families: &[&Family],
    all: &mut Assessed,
    wanted: &Wanted<'_>,
) -> Result<Session, ActionError> {
    let mut reader = Reader { shared, session: opened(shared, wanted).await? };
    let mut ended = 0;
    for family in families {
        if ended == ENDED_MAX {
            let why = format!(
                "not read, for the server had ended {ENDED_MAX} sessions at others before it"
            );
            all.entries.extend(unread(family, &why));
            continue;
        }
        match reader.family(family).await {
            Ok(found) => all.extend(found),
            Err(error) if is_lost(&error) => {
                let why = format!(
                    "the connection was lost twice while it was read: see the server's log, for damage can end a server process ({})",
                    error.message
                );
                all.entries.extend(unread(family, &why));
                ended += 1;
                reader.session = opened(shared, wanted).await?;
            }
            Err(error) => return Err(error),
        }
    }
    Ok(reader.session)
}

fn unread(family: &Family, why: &str) -> impl Iterator<Item = Entry> {
    family.members().map(move |relation| Entry::new(family, relation, Verdict::Unread(why.into())))
}

/// Opens a session, as soon as the server lets one in again.
async fn opened(shared: Shared<'_>, wanted: &Wanted<'_>) -> Result<Session, ActionError> {
    for _ in 1..OPENINGS {
        match open(shared.clients, wanted).await.map_err(ActionError::from) {
            Err(error) if is_lost(&error) => shared.clients.clock.sleep(BETWEEN_OPENINGS).await,
            opened => return opened,
        }
    }
    Ok(open(shared.clients, wanted).await?)
}

/// Says whether a session was lost, which says nothing of what it read.
fn is_lost(error: &ActionError) -> bool {
    error.class == FailureClass::Transient
}

impl Reader<'_> {
    /// Assesses a table with its large values and indexes, or a sequence.
    pub(super) async fn family(&mut self, family: &Family) -> Result<Assessed, ActionError> {
        let (verdicts, rows) = match family.head.kind {
            Kind::Sequence => (vec![(&family.head, self.sequence(&family.head).await?)], None),
            Kind::Table | Kind::MaterializedView | Kind::Toast | Kind::Index => {
                self.verdicts(family).await?
            }
        };
        let gone = self.gone(family, &verdicts).await?;
        let mut assessed = Assessed::default();
        for (relation, verdict) in verdicts {
            if gone.contains(&relation.oid) {
                assessed.gone.push(relation.name.clone());
            } else {
                let whole = relation.oid == family.head.oid && verdict == Verdict::Sound;
                let rows = rows.as_ref().filter(|_| whole).map(|counted| counted.rows);
                assessed.entries.push(Entry { rows, ..Entry::new(family, relation, verdict) });
            }
        }
        Ok(assessed)
    }

    /// Assesses all of a family, the table first; returns how many rows that has, where they were counted.
    async fn verdicts<'a>(
        &mut self,
        family: &'a Family,
    ) -> Result<(Vec<(&'a Relation, Verdict)>, Option<Counted>), ActionError> {
        let head = &family.head;
        // Read in their own order first they are in memory when the table's rows ask for them one by one.
        let mut of_toast = None;
        if let Some(toast) = &family.toast {
            of_toast = Some((toast, self.table(family, toast).await?.0));
        }
        let (mut of_head, rows) = self.table(family, head).await?;
        if let Some((toast, verdict)) = &mut of_toast
            && toast.barred.is_some()
            && of_head == Verdict::Sound
        {
            // Every large value that belongs to a row was read through its row.
            *verdict = Verdict::Sound;
        }
        let mut of_indexes = Vec::new();
        for index in &family.indexes {
            let (table, of) = match &of_toast {
                Some((toast, verdict)) if index.parent == Some(toast.oid) => (*toast, verdict),
                Some(_) | None => (head, &of_head),
            };
            let mut verdict = self.index(index, table, of).await?;
            if let Some((toast, values)) = &of_toast
                && index.parent == Some(toast.oid)
            {
                Large { toast, index, values }.settle(&mut of_head, &mut verdict);
            }
            of_indexes.push((index, verdict));
        }
        // Only an index that was proved is a witness.
        let own = || of_indexes.iter().filter(|(index, _)| index.parent == Some(head.oid));
        if self.shared.compares
            && of_head == Verdict::Sound
            && own().next().is_some()
            && own().all(|(_, verdict)| *verdict == Verdict::Sound)
        {
            of_head = self.rows(head, rows.as_ref()).await?;
        }
        Ok((std::iter::once((head, of_head)).chain(of_toast).chain(of_indexes).collect(), rows))
    }

    /// Returns which relations that are not sound were dropped since they were listed: nothing is wrong with them.
    async fn gone(
        &mut self,
        family: &Family,
        verdicts: &[(&Relation, Verdict)],
    ) -> Result<BTreeSet<u32>, ActionError> {
        let unsound = verdicts
            .iter()
            .filter(|(relation, verdict)| *verdict != Verdict::Sound && !relation.is_catalog());
        let unsound: Vec<u32> = unsound.map(|(relation, _)| relation.oid).collect();
        if unsound.is_empty() {
            return Ok(BTreeSet::new());
        }
        let list = unsound.iter().map(u32::to_string).collect::<Vec<_>>().join(", ");
        let sql = format!("select oid from pg_class where oid in ({list})");
        // Where the catalog cannot be read, what was found stands.
        let Ok(rows) = self.ask(&family.head, &[], &sql, STATEMENT_LIMIT).await? else {
            return Ok(BTreeSet::new());
        };
        let there: BTreeSet<u32> = rows.iter().filter_map(|row| row.try_get(0).ok()).collect();
        Ok(unsound.into_iter().filter(|oid| !there.contains(oid)).collect())
    }
}
