//! Where exactly something cannot be read: ranges of blocks or of rows are cut until what fails stands alone.
//!
//! Pure: whoever searches does the reading. What an error names is only where to look first, for its text is in the
//! server's language; a block counts as damaged once it alone could not be read.

use std::ops::Range;

/// Ranges that are still to be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Search {
    /// The last is the next
    pending: Vec<Range<u32>>,
}

impl Search {
    /// Begins with all of a range.
    pub(super) fn over(range: Range<u32>) -> Self {
        let mut search = Self { pending: Vec::new() };
        search.push(range);
        search
    }

    /// Returns what is to be read next.
    pub(super) fn next(&mut self) -> Option<Range<u32>> {
        self.pending.pop()
    }

    /// Cuts a range that could not be read; returns the block or row that stands alone.
    ///
    /// Of the hints, the first in the range is read by itself at once. Each cut leaves shorter ranges, so that wrong
    /// hints cost time and never an end.
    pub(super) fn failed(&mut self, range: Range<u32>, hints: &[u32]) -> Option<u32> {
        if range.len() <= 1 {
            return range.into_iter().next();
        }
        let middle = range.start + (range.end - range.start) / 2;
        match hints.iter().find(|hint| range.contains(hint)) {
            Some(&hint) => {
                self.push(hint + 1..range.end);
                self.push(range.start..hint);
                self.push(hint..hint + 1);
            }
            None => {
                self.push(middle..range.end);
                self.push(range.start..middle);
            }
        }
        None
    }

    fn push(&mut self, range: Range<u32>) {
        if !range.is_empty() {
            self.pending.push(range);
        }
    }
}

/// Returns the numbers an error names beside the file: one of them may be the block.
///
/// An error that does not name the file is about another relation, whose blocks mean nothing here.
pub(super) fn hints(message: &str, file: &str) -> Vec<u32> {
    if file.is_empty() || !names(message, file) {
        return Vec::new();
    }
    let rest = message.replace(file, " ");
    let numbers = rest.split(|c: char| !c.is_ascii_digit());
    numbers.filter_map(|number| number.parse().ok()).collect()
}

/// Says whether a message names a file: `base/5/16` is not in `base/5/161`.
pub(super) fn names(message: &str, file: &str) -> bool {
    message.match_indices(file).any(|(at, _)| {
        let after = message.get(at + file.len()..).and_then(|rest| rest.chars().next());
        !after.is_some_and(|next| next.is_ascii_digit())
    })
}

/// Returns the ranges of `whole` that none of the blocks is in.
pub(super) fn gaps(whole: Range<u32>, blocks: &[u32]) -> Vec<Range<u32>> {
    let mut inside: Vec<u32> =
        blocks.iter().copied().filter(|block| whole.contains(block)).collect();
    inside.sort_unstable();
    let mut found = Vec::new();
    let mut start = whole.start;
    for block in inside {
        if start < block {
            found.push(start..block);
        }
        start = block + 1;
    }
    if start < whole.end {
        found.push(start..whole.end);
    }
    found
}

/// Returns the ranges in which a relation is read; one without a block is looked at all the same, for its file may be
/// gone.
pub(super) fn chunks(blocks: u32, step: u32) -> impl Iterator<Item = Range<u32>> {
    let (step, end) = (step.max(1), blocks.max(1));
    (0..end.div_ceil(step)).map(move |number| {
        let start = number * step;
        start..start.saturating_add(step).min(end)
    })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    /// The numbers an error names, of a block that cannot be read.
    type Say = fn(u32) -> Vec<u32>;

    /// Searches a range of which some blocks fail; each error names what `say` makes of the first of them. Returns what
    /// was found, and how many reads it took.
    fn search(
        range: Range<u32>,
        damaged: &[u32],
        say: impl Fn(u32) -> Vec<u32>,
    ) -> (BTreeSet<u32>, usize, BTreeSet<u32>) {
        let mut search = Search::over(range);
        let (mut found, mut reads, mut sound) = (BTreeSet::new(), 0, BTreeSet::new());
        while let Some(range) = search.next() {
            reads += 1;
            assert!(reads < 10_000, "it comes to no end");
            match damaged.iter().filter(|block| range.contains(block)).min() {
                Some(&first) => {
                    if let Some(alone) = search.failed(range, &say(first)) {
                        assert!(found.insert(alone), "{alone} was found before");
                    }
                }
                None => sound.extend(range),
            }
        }
        (found, reads, sound)
    }

    #[test]
    fn exactly_what_fails_is_found_whatever_the_errors_say() {
        let cases: [(&str, Range<u32>, &[u32]); 7] = [
            ("nothing", 0..4096, &[]),
            ("one", 0..4096, &[1234]),
            ("the first and the last", 0..4096, &[0, 4095]),
            ("neighbours", 100..200, &[150, 151, 152]),
            ("all", 7..15, &[7, 8, 9, 10, 11, 12, 13, 14]),
            ("a single block", 5..6, &[5]),
            ("one outside", 0..10, &[11]),
        ];
        for (case, range, damaged) in cases {
            let expected: BTreeSet<u32> =
                damaged.iter().copied().filter(|block| range.contains(block)).collect();
            let rest: BTreeSet<u32> = range.clone().filter(|b| !expected.contains(b)).collect();
            let says: [(&str, Say); 4] = [
                ("right", |block| vec![block]),
                ("right, after other numbers", |block| vec![8192, block, 0]),
                ("nothing", |_| Vec::new()),
                ("wrong", |block| vec![block ^ 1, 3, 9999]),
            ];
            for (told, say) in says {
                let (found, _, sound) = search(range.clone(), damaged, say);
                assert_eq!(found, expected, "{case}, told {told}");
                assert_eq!(sound, rest, "{case}, told {told}: what is sound was read");
            }
        }
    }

    #[test]
    fn a_block_that_is_named_is_found_by_few_reads() {
        let (_, named, _) = search(0..4096, &[1234], |block| vec![block]);
        let (_, unnamed, _) = search(0..4096, &[1234], |_| Vec::new());
        assert_eq!((named, unnamed), (4, 25));
    }

    #[test]
    fn an_empty_range_needs_no_read() {
        assert_eq!(Search::over(3..3).next(), None);
    }

    #[test]
    fn numbers_beside_the_file_are_hints_in_any_language() {
        let file = "base/16384/16386";
        for (message, expected) in [
            ("invalid page in block 10 of relation base/16384/16386", vec![10]),
            ("ungültige Seite in Block 10 von Relation base/16384/16386", vec![10]),
            (
                "could not read block 5 in file \"base/16384/16386\": read only 0 of 8192 bytes",
                vec![5, 0, 8192],
            ),
            ("could not read block 131077 in file \"base/16384/16386.1\"", vec![131_077, 1]),
            ("invalid page in block 10 of relation base/16384/163861", vec![]),
            ("missing chunk number 0 for toast value 16412 in pg_toast_16386", vec![]),
        ] {
            assert_eq!(hints(message, file), expected, "{message}");
        }
        assert!(hints("block 3", "").is_empty());
    }

    fn ends(ranges: impl IntoIterator<Item = Range<u32>>) -> Vec<(u32, u32)> {
        ranges.into_iter().map(|range| (range.start, range.end)).collect()
    }

    #[test]
    fn what_is_left_between_damaged_blocks_is_checked() {
        assert_eq!(ends(gaps(0..10, &[])), [(0, 10)]);
        assert_eq!(ends(gaps(0..10, &[0, 4, 5, 9, 40])), [(1, 4), (6, 9)]);
        assert_eq!(ends(gaps(3..6, &[5, 3, 4])), []);
    }

    #[test]
    fn chunks_cover_every_block_once() {
        assert_eq!(ends(chunks(0, 4)), [(0, 1)]);
        assert_eq!(ends(chunks(9, 4)), [(0, 4), (4, 8), (8, 9)]);
        assert_eq!(ends(chunks(4, 4)), [(0, 4)]);
        assert_eq!(ends(chunks(2, 0)), [(0, 1), (1, 2)]);
    }
}
