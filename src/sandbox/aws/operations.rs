//! The operations that services have here: tables from which requests are answered, faults are checked and
//! `docs/simulation.md` is held. What stands in no table is not answered.

/// An operation: its name, as its service's documentation has it, and what answers it.
pub(super) struct Operation<Answers> {
    pub name: &'static str,
    pub answers: Answers,
}

/// Returns the names of a table.
pub(super) const fn names<Answers, const LENGTH: usize>(
    table: &[Operation<Answers>; LENGTH],
) -> [&'static str; LENGTH] {
    let mut names = [""; LENGTH];
    let mut at = 0;
    // A constant function has no iterators.
    while at < LENGTH {
        names[at] = table[at].name;
        at += 1;
    }
    names
}

/// Returns what answers an operation; `None` where it is not simulated.
pub(super) fn find<'a, Answers>(
    table: &'a [Operation<Answers>],
    name: &str,
) -> Option<&'a Answers> {
    table.iter().find(|operation| operation.name == name).map(|operation| &operation.answers)
}
