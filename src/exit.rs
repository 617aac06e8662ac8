//! Exit codes: documented in the manual, never reused for another meaning.

/// How the process ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
pub(crate) enum Exit {
    /// Ended well and verified
    Ok = 0,
    /// A defect in phoenix-dr
    Internal = 1,
    /// Wrong usage, estate file or inputs
    Usage = 2,
    /// The runbook has errors
    RunbookInvalid = 3,
    /// Failed, nothing was changed
    FailedUnchanged = 4,
    /// Failed, everything was rolled back and verified
    RolledBack = 5,
    /// A revert failed: an operator must act
    NeedsOperator = 6,
    /// Completed with exceptions
    WithExceptions = 7,
    /// An answer is needed that may not be assumed
    NeedsAnswer = 8,
    /// Another run holds the lease, or one is unfinished
    Held = 9,
    /// Preflight or a gate was not met; nothing was changed
    NotMet = 10,
    /// Finished, but rto_max or rpo_max was exceeded
    ObjectiveMissed = 11,
    /// The journal cannot be written, or is damaged
    Journal = 12,
    /// Stopped by a person or a signal; resumable
    Stopped = 13,
    /// Failed, changes left in place; resumable
    ChangesLeft = 14,
    /// A dry run found changes (`--detailed-exitcode`), or a comparison of worlds differences
    DryRunChanges = 20,
    /// Second interrupt
    Interrupted = 130,
}

impl Exit {
    /// All, by their numbers.
    pub(crate) const ALL: [Self; 17] = [
        Self::Ok,
        Self::Internal,
        Self::Usage,
        Self::RunbookInvalid,
        Self::FailedUnchanged,
        Self::RolledBack,
        Self::NeedsOperator,
        Self::WithExceptions,
        Self::NeedsAnswer,
        Self::Held,
        Self::NotMet,
        Self::ObjectiveMissed,
        Self::Journal,
        Self::Stopped,
        Self::ChangesLeft,
        Self::DryRunChanges,
        Self::Interrupted,
    ];

    /// Returns what it means, in a line.
    pub(crate) const fn say(self) -> &'static str {
        match self {
            Self::Ok => "ended well and verified",
            Self::Internal => "a defect in phoenix-dr",
            Self::Usage => "wrong usage, estate file or inputs; nothing was done",
            Self::RunbookInvalid => "the runbook has errors; nothing was done",
            Self::FailedUnchanged => "failed, nothing was changed",
            Self::RolledBack => "failed, everything was rolled back and that was verified",
            Self::NeedsOperator => "a revert failed: an operator must act",
            Self::WithExceptions => {
                "completed with exceptions: a step failed or was skipped, or \"restored\" was not proved"
            }
            Self::NeedsAnswer => "an answer is needed that may not be assumed",
            Self::Held => "another run holds the estate, or one is unfinished",
            Self::NotMet => "preflight or a gate was not met; nothing was changed",
            Self::ObjectiveMissed => "finished, but rto_max or rpo_max was exceeded",
            Self::Journal => "the journal cannot be written, or is damaged",
            Self::Stopped => "stopped by a person or a signal; can be resumed",
            Self::ChangesLeft => "failed, changes left in place; can be resumed",
            Self::DryRunChanges => "a dry run found changes (only with --detailed-exitcode)",
            Self::Interrupted => "interrupted a second time: nothing was waited for",
        }
    }

    /// Returns the number the process ends with.
    pub(crate) const fn code(self) -> u8 {
        self as u8
    }

    /// Returns the graver of two ends, by the documented order 12, 6, 14, 5, 4, 7, 11, 0.
    pub(crate) fn graver(self, other: Self) -> Self {
        if other.rank() > self.rank() { other } else { self }
    }

    const fn rank(self) -> u8 {
        match self {
            Self::Ok => 0,
            Self::DryRunChanges => 1,
            Self::ObjectiveMissed => 2,
            Self::WithExceptions => 3,
            Self::FailedUnchanged => 4,
            Self::RolledBack => 5,
            Self::ChangesLeft => 6,
            Self::NeedsOperator => 7,
            // These end a command before a run exists or instead of one; they do not compete with the above.
            Self::Usage
            | Self::RunbookInvalid
            | Self::NeedsAnswer
            | Self::Held
            | Self::NotMet
            | Self::Stopped => 8,
            Self::Interrupted => 9,
            Self::Internal => 10,
            Self::Journal => 11,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_is_documented_once() {
        let documented = include_str!("../docs/exit-codes.md");
        let rows: Vec<u8> = documented
            .lines()
            .filter_map(|line| line.strip_prefix("| ")?.split(' ').next()?.parse().ok())
            .collect();
        assert_eq!(rows, Exit::ALL.map(Exit::code));
    }

    #[test]
    fn graver_follows_the_documented_order() {
        let order = [
            Exit::Journal,
            Exit::NeedsOperator,
            Exit::ChangesLeft,
            Exit::RolledBack,
            Exit::FailedUnchanged,
            Exit::WithExceptions,
            Exit::ObjectiveMissed,
            Exit::Ok,
        ];
        for (i, graver) in order.iter().enumerate() {
            for lesser in &order[i..] {
                assert_eq!(graver.graver(*lesser), *graver);
                assert_eq!(lesser.graver(*graver), *graver);
            }
        }
    }
}
