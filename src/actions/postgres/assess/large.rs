//! Rows whose large values cannot be fetched because the index of these is damaged: the values are there, and are lost no
//! more than a table's rows are with one of its indexes.

use std::collections::BTreeSet;

use super::relations::Relation;
use super::scan::at;
use super::search::{hints, names};
use super::verdict::{Findings, Means, Place, Unread, Verdict};

/// Large values of a table, and the index they are fetched by.
pub(super) struct Large<'a> {
    pub toast: &'a Relation,
    pub index: &'a Relation,
    /// What is known of the values, read in their own order and not by the index
    pub values: &'a Verdict,
}

impl Large<'_> {
    /// Takes from a table's damage what is the index's, and says of the rows that nothing is known of them.
    pub(super) fn settle(&self, table: &mut Verdict, of_index: &mut Verdict) {
        let Verdict::Damaged { places, unread, more } = table else { return };
        let damaged = matches!(of_index, Verdict::Damaged { .. });
        let (by_index, others): (Vec<Place>, Vec<Place>) =
            places.drain(..).partition(|place| self.is_by_index(place, damaged));
        let rows: BTreeSet<_> = by_index.iter().map(|place| (place.block, place.offset)).collect();
        let unread = std::mem::take(unread).into_iter().map(Unread::from).collect();
        let mut found = Findings { places: others, unread, more: *more, rows: 0 };
        if let Some(first) = by_index.first() {
            let why = format!(
                "{} rows were not read: their large values are fetched by {}, which is damaged: reindex it, then assess \
                 this again",
                rows.len(),
                self.index.name
            );
            found.unread.push(why.into());
            if !damaged {
                *of_index = self.witnessed(first);
            }
        }
        *table = found.verdict();
    }

    /// Says whether a row could not be read for the index alone: the error names it; or it names the values, of which all
    /// are sound, while the index is known to be damaged.
    fn is_by_index(&self, place: &Place, index_is_damaged: bool) -> bool {
        if place.offset.is_none() || place.means != Means::Read {
            return false;
        }
        let named = |relation: &Relation| {
            names(&place.said, &relation.file) || names_relation(&place.said, &relation.name)
        };
        named(self.index)
            || (index_is_damaged && *self.values == Verdict::Sound && named(self.toast))
    }

    /// Returns what is known of an index that nothing checked and that kept a row from being read.
    fn witnessed(&self, place: &Place) -> Verdict {
        let block = match hints(&place.said, &self.index.file).as_slice() {
            [only] => Some(*only),
            _ => None,
        };
        let place =
            Place { code: place.code.clone(), said: place.said.clone(), ..at(block, Means::Read) };
        Verdict::Damaged { places: vec![place], unread: Vec::new(), more: 0 }
    }
}

/// Says whether a message names a relation as errors do, without its schema: `pg_toast_16` is not in `pg_toast_16_index`.
fn names_relation(message: &str, name: &str) -> bool {
    let name = name.rsplit('.').next().unwrap_or(name);
    message.match_indices(name).any(|(at, _)| {
        let after = message.get(at + name.len()..).and_then(|rest| rest.chars().next());
        !after.is_some_and(|next| next == '_' || next.is_ascii_alphanumeric())
    })
}

#[cfg(test)]
mod tests {
    use super::super::relations::Kind;
    use super::super::relations::tests::relation;
    use super::*;

    fn row(offset: u32, said: &str) -> Place {
        let place = Place { offset: Some(offset), ..at(Some(4), Means::Read) };
        Place { code: Some("XX001".to_owned()), said: said.to_owned(), ..place }
    }

    fn damaged(places: Vec<Place>) -> Verdict {
        Verdict::Damaged { places, unread: Vec::new(), more: 0 }
    }

    /// Settles a table's damage; returns what is left of it, and what is known of the index then.
    fn settled(places: Vec<Place>, values: &Verdict, of_index: Verdict) -> (Verdict, Verdict) {
        let toast = relation(7, "pg_toast.pg_toast_1", Kind::Toast, Some(1), 0);
        let index = relation(8, "pg_toast.pg_toast_1_index", Kind::Index, Some(7), 0);
        let (mut table, mut of_index) = (damaged(places), of_index);
        Large { toast: &toast, index: &index, values }.settle(&mut table, &mut of_index);
        (table, of_index)
    }

    const OF_INDEX: &str = "invalid page in block 3 of relation base/5/8";
    const OF_VALUES: &str = "missing chunk number 0 for toast value 99 in pg_toast_1";

    #[test]
    fn an_error_that_names_the_index_is_the_indexs() {
        let (table, index) = settled(
            vec![row(1, OF_INDEX), row(2, OF_INDEX)],
            &Verdict::Sound,
            Verdict::unread("no amcheck"),
        );
        let Verdict::Unread(Unread { why, .. }) = table else { panic!("{table:?}") };
        assert!(
            why.starts_with("2 rows were not read") && why.contains("pg_toast_1_index"),
            "{why}"
        );
        let Verdict::Damaged { places, .. } = index else { panic!("{index:?}") };
        assert_eq!((places.len(), places[0].block), (1, Some(3)));
    }

    #[test]
    fn a_value_that_is_missing_is_the_indexs_only_where_that_is_damaged_and_all_values_are_sound() {
        let broken = || damaged(vec![at(Some(3), Means::IndexCheck)]);
        for (values, of_index, lost) in [
            (Verdict::Sound, broken(), false),
            (Verdict::Sound, Verdict::Sound, true),
            (Verdict::Sound, Verdict::unread("no amcheck"), true),
            (broken(), broken(), true),
            (Verdict::unread("no grant"), broken(), true),
        ] {
            let (table, index) = settled(vec![row(1, OF_VALUES)], &values, of_index.clone());
            assert_eq!(matches!(table, Verdict::Damaged { .. }), lost, "{values:?}, {of_index:?}");
            assert_eq!(index, of_index, "what was known of the index stays");
        }
    }

    #[test]
    fn what_is_damaged_in_the_table_itself_stays() {
        let page = Place {
            said: "invalid page in block 9 of relation base/5/1".to_owned(),
            ..at(Some(9), Means::Read)
        };
        let (table, _) =
            settled(vec![page.clone(), row(1, OF_INDEX)], &Verdict::Sound, Verdict::Sound);
        let Verdict::Damaged { places, unread, .. } = table else { panic!("{table:?}") };
        assert_eq!((places, unread.len()), (vec![page], 1));
        assert!(!names_relation(
            "index \"pg_toast_1_index\" is not a btree",
            "pg_toast.pg_toast_1"
        ));
    }
}
