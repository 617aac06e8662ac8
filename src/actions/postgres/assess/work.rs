//! Families of relations, assessed by several sessions side by side: each takes the next until none is left.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicUsize, Ordering};

use futures::future::try_join_all;

use super::large::Large;
use super::plain::Counted;
use super::reader::{Reader, Shared};
use super::relations::{Family, Kind, Relation};
use super::report::Entry;
use super::verdict::Verdict;
use crate::clients::postgres::Session;
use crate::clients::postgres::long::STATEMENT_LIMIT;
use crate::outcome::ActionError;

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

/// Assesses families in their order by as many sessions as there are, and returns these. A connection that is lost ends
/// all of it.
pub(super) async fn assess_all(
    shared: Shared<'_>,
    sessions: Vec<Session>,
    families: &[Family],
) -> Result<(Assessed, Vec<Session>), ActionError> {
    let next = AtomicUsize::new(0);
    let workers = sessions.into_iter().map(|session| {
        let (mut reader, next) = (Reader { shared, session }, &next);
        async move {
            let mut assessed = Assessed::default();
            while let Some(family) = families.get(next.fetch_add(1, Ordering::Relaxed)) {
                assessed.extend(reader.family(family).await?);
            }
            Ok::<_, ActionError>((assessed, reader.session))
        }
    });
    // When one fails the others are dropped: their connections close, and the server ends their statements.
    let found = try_join_all(workers).await?;
    let (mut all, mut sessions) = (Assessed::default(), Vec::new());
    for (assessed, session) in found {
        all.extend(assessed);
        sessions.push(session);
    }
    Ok((all, sessions))
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
