//! The order of a runbook's steps: dependencies, who comes before whom, and the longest way through.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use super::schema::{Runbook, Step};

/// A runbook's steps as a graph; steps are their positions in the file.
#[derive(Debug, Clone)]
pub(crate) struct Graph {
    /// Direct dependencies of each step
    pub needs: Vec<Vec<usize>>,
    /// Every step after everything it needs; shorter than the steps where there is a cycle
    pub order: Vec<usize>,
}

impl Graph {
    /// Returns the graph of a runbook; names that are no step are left out.
    pub(crate) fn of(runbook: &Runbook) -> Self {
        Self::over(needs(&runbook.steps))
    }

    /// Returns the graph over given dependencies.
    pub(crate) fn over(needs: Vec<Vec<usize>>) -> Self {
        let mut dependents = vec![Vec::new(); needs.len()];
        let mut missing: Vec<usize> = Vec::with_capacity(needs.len());
        for (step, before) in needs.iter().enumerate() {
            missing.push(before.len());
            for needed in before {
                dependents[*needed].push(step);
            }
        }
        let mut order: Vec<usize> = (0..needs.len()).filter(|step| missing[*step] == 0).collect();
        let mut next = 0;
        while next < order.len() {
            for dependent in &dependents[order[next]] {
                missing[*dependent] -= 1;
                if missing[*dependent] == 0 {
                    order.push(*dependent);
                }
            }
            next += 1;
        }
        Self { needs, order }
    }

    /// Says whether every step can be reached.
    #[cfg(test)]
    fn is_acyclic(&self) -> bool {
        self.order.len() == self.needs.len()
    }

    /// Returns a cycle, each step needing the next and the last the first.
    pub(crate) fn cycle(&self) -> Option<Vec<usize>> {
        let mut done = vec![false; self.needs.len()];
        for step in &self.order {
            done[*step] = true;
        }
        let mut at = done.iter().position(|done| !done)?;
        let mut seen: HashMap<usize, usize> = HashMap::new();
        let mut way = Vec::new();
        loop {
            if let Some(start) = seen.get(&at) {
                return Some(way.split_off(*start));
            }
            seen.insert(at, way.len());
            way.push(at);
            // Whatever is not in the order still waits for something that is not either.
            at = *self.needs[at].iter().find(|needed| !done[**needed])?;
        }
    }

    /// Returns every step before a step, in no order.
    pub(crate) fn ancestors(&self, step: usize) -> Vec<usize> {
        reach(&self.needs, step)
    }

    /// Returns when each step ends at the earliest, from the start, by the steps' durations.
    pub(crate) fn finish(&self, lengths: &[Duration]) -> Vec<Duration> {
        let mut finish = vec![Duration::ZERO; self.needs.len()];
        for step in &self.order {
            let start = self.needs[*step].iter().map(|needed| finish[*needed]).max();
            finish[*step] = start.unwrap_or_default() + lengths[*step];
        }
        finish
    }

    /// Returns the chain of steps that decides when a step ends, the step last.
    pub(crate) fn way_to(&self, step: usize, lengths: &[Duration]) -> Vec<usize> {
        let finish = self.finish(lengths);
        let mut way = vec![step];
        let mut at = step;
        while let Some(before) = self.needs[at].iter().copied().max_by_key(|step| finish[*step]) {
            way.push(before);
            at = before;
        }
        way.reverse();
        way
    }

    /// Returns which of the marked steps are upstream of each step.
    ///
    /// Only marked steps take room, so that ten thousand steps that use no outputs cost nothing.
    pub(crate) fn upstream_of(&self, marked: &[usize]) -> Upstream {
        let words = marked.len().div_ceil(64);
        let column: HashMap<usize, usize> =
            marked.iter().enumerate().map(|(column, step)| (*step, column)).collect();
        let mut rows: Vec<Box<[u64]>> = vec![Box::default(); self.needs.len()];
        for step in &self.order {
            let mut row = vec![0_u64; words];
            for needed in &self.needs[*step] {
                for (word, upstream) in row.iter_mut().zip(rows[*needed].iter()) {
                    *word |= upstream;
                }
                if let Some(column) = column.get(needed) {
                    row[column / 64] |= 1 << (column % 64);
                }
            }
            rows[*step] = row.into();
        }
        Upstream { column, rows }
    }
}

/// Which steps are upstream of which, for a chosen set of steps.
#[derive(Debug)]
pub(crate) struct Upstream {
    column: HashMap<usize, usize>,
    rows: Vec<Box<[u64]>>,
}

impl Upstream {
    /// Says whether a marked step comes before another step; `None` where that one is part of a cycle or behind one.
    pub(crate) fn is(&self, marked: usize, of: usize) -> Option<bool> {
        let column = self.column.get(&marked)?;
        self.rows[of].get(column / 64).map(|word| word & (1 << (column % 64)) != 0)
    }
}

/// Returns the direct dependencies of every step.
///
/// A step without `needs` depends on every step before it. Depending on those of them that nothing else
/// depends on yet says the same, and keeps ten thousand steps from having fifty million dependencies.
fn needs(steps: &[Step]) -> Vec<Vec<usize>> {
    let positions: HashMap<&str, usize> =
        steps.iter().enumerate().rev().map(|(i, step)| (step.id.as_str(), i)).collect();
    let mut last: Vec<usize> = Vec::new();
    let mut is_last = vec![false; steps.len()];
    let mut all = Vec::with_capacity(steps.len());
    for (i, step) in steps.iter().enumerate() {
        let before = match &step.needs {
            Some(names) => {
                let mut before: Vec<usize> = Vec::with_capacity(names.len());
                let mut taken = HashSet::with_capacity(names.len());
                for name in names {
                    if let Some(needed) = positions.get(name.as_str())
                        && taken.insert(*needed)
                    {
                        before.push(*needed);
                        is_last[*needed] = false;
                    }
                }
                before
            }
            None => {
                let before: Vec<usize> = last.drain(..).filter(|step| is_last[*step]).collect();
                for step in &before {
                    is_last[*step] = false;
                }
                before
            }
        };
        all.push(before);
        last.push(i);
        is_last[i] = true;
    }
    all
}

fn reach(edges: &[Vec<usize>], from: usize) -> Vec<usize> {
    let mut seen = vec![false; edges.len()];
    let mut open = edges[from].clone();
    let mut found = Vec::new();
    while let Some(step) = open.pop() {
        if !std::mem::replace(&mut seen[step], true) {
            found.push(step);
            open.extend(&edges[step]);
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    /// Steps with the given needs, by position; `None` is the order written.
    fn steps(needs: &[Option<Vec<usize>>]) -> Vec<Step> {
        let step = |(i, needs): (usize, &Option<Vec<usize>>)| {
            let mut step = serde_json::json!({"id": format!("s{i}")});
            if let Some(needs) = needs {
                step["needs"] = needs.iter().map(|needed| format!("s{needed}")).collect();
            }
            serde_json::from_value(step).expect("is a step")
        };
        needs.iter().enumerate().map(step).collect()
    }

    /// What the words of the language say: explicit needs, else every step before.
    fn literal(needs: &[Option<Vec<usize>>]) -> Vec<BTreeSet<usize>> {
        let direct: Vec<Vec<usize>> = needs
            .iter()
            .enumerate()
            .map(|(i, needs)| needs.clone().unwrap_or_else(|| (0..i).collect()))
            .collect();
        (0..needs.len()).map(|step| reach(&direct, step).into_iter().collect()).collect()
    }

    fn any_needs() -> impl Strategy<Value = Vec<Option<Vec<usize>>>> {
        let step = |i: usize| prop::option::of(prop::collection::vec(0..i.max(1), 0..4.min(i + 1)));
        (1_usize..14).prop_flat_map(move |count| (0..count).map(step).collect::<Vec<_>>()).prop_map(
            |mut needs| {
                // The first step can need nothing.
                if let Some(Some(first)) = needs.first_mut() {
                    first.clear();
                }
                needs
            },
        )
    }

    proptest! {
        #[test]
        fn few_edges_mean_the_same_order(needs in any_needs()) {
            let graph = Graph::over(super::needs(&steps(&needs)));
            let expected = literal(&needs);
            for (step, expected) in expected.iter().enumerate() {
                let found: BTreeSet<usize> = graph.ancestors(step).into_iter().collect();
                prop_assert_eq!(&found, expected);
            }
            prop_assert!(graph.is_acyclic());
            let marked: Vec<usize> = (0..needs.len()).step_by(2).collect();
            let upstream = graph.upstream_of(&marked);
            for (step, before) in expected.iter().enumerate() {
                for mark in &marked {
                    prop_assert_eq!(upstream.is(*mark, step), Some(before.contains(mark)));
                }
            }
            let place = |step: usize| graph.order.iter().position(|at| *at == step);
            for (step, needs) in graph.needs.iter().enumerate() {
                for needed in needs {
                    prop_assert!(place(*needed) < place(step));
                }
            }
        }

        #[test]
        fn a_cycle_is_one(edges in prop::collection::vec(prop::collection::vec(0_usize..8, 0..3), 8)) {
            let graph = Graph::over(edges);
            match graph.cycle() {
                None => prop_assert!(graph.is_acyclic()),
                Some(cycle) => {
                    prop_assert!(!graph.is_acyclic());
                    for (at, step) in cycle.iter().enumerate() {
                        let next = cycle[(at + 1) % cycle.len()];
                        prop_assert!(graph.needs[*step].contains(&next), "{:?}", cycle);
                    }
                }
            }
        }
    }

    #[test]
    fn the_longest_way_through() {
        let graph = Graph::over(vec![vec![], vec![0], vec![0], vec![1, 2], vec![]]);
        let lengths = [1, 5, 2, 1, 4].map(Duration::from_secs);
        assert_eq!(graph.finish(&lengths), [1, 6, 3, 7, 4].map(Duration::from_secs));
    }
}
