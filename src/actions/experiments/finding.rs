//! What is wrong with an event, or missing between two.

use serde::{Deserialize, Serialize};

/// Why an event did not become part of its experiment's state, or what is missing there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Reason {
    /// It names no experiment
    NoExperiment,
    /// There is neither a row of that experiment nor an event that creates it
    UnknownExperiment,
    NoSequence,
    /// Its sequence is below the first there can be
    SequenceTooLow,
    /// An event with this sequence is part of the state already
    Duplicate,
    /// Events are missing before it; the event itself is none of them
    Gap,
    NoTime,
    /// Infinite, or before there were computers' clocks
    ImpossibleTime,
    /// Later than the look at it
    FutureTime,
    /// Before an event of a lower sequence
    TimeBackwards,
    NoType,
    UnknownType,
    NoPayload,
    /// The payload cannot be read
    UnreadablePayload,
    /// The payload is no object
    PayloadNoObject,
    MissingField,
    WrongField,
    /// Before any event that creates the experiment
    NotCreated,
    /// A second event that creates it
    CreatedAgain,
    /// Not in the state the experiment is in
    NotAllowed,
    /// The experiment had ended
    AfterEnd,
    /// The stored row knows of events that are missing at the end
    MissingAtEnd,
    /// Said of an experiment as a whole, beside what is wrong with its events: it stays as it was
    NotRebuilt,
}

impl Reason {
    /// All, in the order they are told in.
    pub(super) const ALL: [Self; 23] = [
        Self::NoExperiment,
        Self::UnknownExperiment,
        Self::NoSequence,
        Self::SequenceTooLow,
        Self::Duplicate,
        Self::Gap,
        Self::NoTime,
        Self::ImpossibleTime,
        Self::FutureTime,
        Self::TimeBackwards,
        Self::NoType,
        Self::UnknownType,
        Self::NoPayload,
        Self::UnreadablePayload,
        Self::PayloadNoObject,
        Self::MissingField,
        Self::WrongField,
        Self::NotCreated,
        Self::CreatedAgain,
        Self::NotAllowed,
        Self::AfterEnd,
        Self::MissingAtEnd,
        Self::NotRebuilt,
    ];

    /// Returns its name in reports and in this program's own table.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::NoExperiment => "no_experiment",
            Self::UnknownExperiment => "unknown_experiment",
            Self::NoSequence => "no_sequence",
            Self::SequenceTooLow => "sequence_too_low",
            Self::Duplicate => "duplicate",
            Self::Gap => "gap",
            Self::NoTime => "no_time",
            Self::ImpossibleTime => "impossible_time",
            Self::FutureTime => "future_time",
            Self::TimeBackwards => "time_backwards",
            Self::NoType => "no_type",
            Self::UnknownType => "unknown_type",
            Self::NoPayload => "no_payload",
            Self::UnreadablePayload => "unreadable_payload",
            Self::PayloadNoObject => "payload_no_object",
            Self::MissingField => "missing_field",
            Self::WrongField => "wrong_field",
            Self::NotCreated => "not_created",
            Self::CreatedAgain => "created_again",
            Self::NotAllowed => "not_allowed",
            Self::AfterEnd => "after_end",
            Self::MissingAtEnd => "missing_at_end",
            Self::NotRebuilt => "not_rebuilt",
        }
    }

    /// Says whether it stands for a corrupt event, or for events that are missing.
    pub(super) fn counts(self) -> bool {
        self != Self::NotRebuilt
    }

    /// Returns the reason of that name.
    pub(super) fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|reason| reason.name() == name)
    }
}

/// A reason with what was seen, for a person.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Wrong {
    pub reason: Reason,
    pub said: String,
}

impl Wrong {
    pub(super) fn new(reason: Reason, said: impl Into<String>) -> Self {
        Self { reason, said: said.into() }
    }
}

/// One corrupt event, or one place where events are missing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Finding {
    pub experiment: Option<String>,
    /// The event's own id; `None` where events are missing
    pub event: Option<String>,
    pub sequence: Option<i64>,
    pub reason: Reason,
    pub said: String,
}

impl Finding {
    /// Returns it as a line for people.
    pub(super) fn line(&self) -> String {
        let experiment = self.experiment.as_deref().unwrap_or("(none)");
        let sequence =
            self.sequence.map(|number| format!(" sequence {number}")).unwrap_or_default();
        let event = self.event.as_ref().map(|id| format!(" event {id}")).unwrap_or_default();
        format!("{experiment}{sequence}{event}: {}: {}", self.reason.name(), self.said)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_reason_is_read_as_it_is_written() {
        for reason in Reason::ALL {
            assert_eq!(Reason::parse(reason.name()), Some(reason));
            let json = serde_json::to_value(reason).expect("JSON");
            assert_eq!(json, reason.name());
        }
    }
}
