//! Families of relations, assessed by several sessions side by side: each takes the next until none is left.

use std::sync::atomic::{AtomicUsize, Ordering};

use futures::future::try_join_all;

use super::reader::{Reader, Shared};
use super::relations::{Family, Kind};
use super::report::{Entry, Verdict};
use crate::clients::postgres::Session;
use crate::outcome::ActionError;
use crate::runbook::catalogue::actions::AssessTier;

/// Assesses families in their order by as many sessions as there are. A connection that is lost ends all of it.
pub(super) async fn assess_all(
    shared: Shared<'_>,
    sessions: Vec<Session>,
    families: &[Family],
) -> Result<Vec<Entry>, ActionError> {
    let next = AtomicUsize::new(0);
    let workers = sessions.into_iter().map(|session| {
        let (mut reader, next) = (Reader { shared, session }, &next);
        async move {
            let mut entries = Vec::new();
            while let Some(family) = families.get(next.fetch_add(1, Ordering::Relaxed)) {
                entries.extend(reader.family(family).await?);
            }
            Ok::<_, ActionError>(entries)
        }
    });
    // When one fails the others are dropped: their connections close, and the server ends their statements.
    let found = try_join_all(workers).await?;
    Ok(found.into_iter().flatten().collect())
}

impl Reader<'_> {
    /// Assesses a table with its large values and indexes, or a sequence.
    async fn family(&mut self, family: &Family) -> Result<Vec<Entry>, ActionError> {
        let head = &family.head;
        if head.kind == Kind::Sequence {
            let verdict = self.sequence(head).await?;
            return Ok(vec![Entry::new(family, head, verdict)]);
        }
        // Read in their own order first they are in memory when the table's rows ask for them one by one.
        let mut of_toast = None;
        if let Some(toast) = &family.toast {
            of_toast = Some((toast, self.table(family, toast).await?));
        }
        let of_head = self.table(family, head).await?;
        let mut entries = vec![Entry::new(family, head, of_head.clone())];
        if let Some((toast, verdict)) = &mut of_toast {
            if toast.barred.is_some() && of_head == Verdict::Sound {
                // Every large value that belongs to a row was read through its row.
                *verdict = Verdict::Sound;
            }
            entries.push(Entry::new(family, toast, verdict.clone()));
        }
        let mut proved = 0;
        for index in &family.indexes {
            let (table, of) = match &of_toast {
                Some((toast, verdict)) if index.parent == Some(toast.oid) => (*toast, verdict),
                Some(_) | None => (head, &of_head),
            };
            let verdict = self.index(index, table, of).await?;
            proved += usize::from(table.oid == head.oid && verdict == Verdict::Sound);
            entries.push(Entry::new(family, index, verdict));
        }
        // Only an index that was proved is a witness.
        let own = family.indexes.iter().filter(|index| index.parent == Some(head.oid)).count();
        if self.shared.tier == AssessTier::Deep
            && of_head == Verdict::Sound
            && own > 0
            && own == proved
        {
            entries[0].verdict = self.rows(head).await?;
        }
        Ok(entries)
    }
}
