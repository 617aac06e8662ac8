//! An experiment's state, and what each event makes of it.

use jiff::Timestamp;

use super::change::{Change, Kind};
use super::finding::{Reason, Wrong};

/// What an experiment is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum State {
    Draft,
    Running,
    Paused,
    Completed,
    Failed,
    Cancelled,
}

impl State {
    /// Returns the state as the row has it.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Draft => "draft",
            Self::Running => "running",
            Self::Paused => "paused",
            Self::Completed => "completed",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
        }
    }

    /// Says whether nothing may follow.
    const fn is_final(self) -> bool {
        match self {
            Self::Completed | Self::Failed | Self::Cancelled => true,
            Self::Draft | Self::Running | Self::Paused => false,
        }
    }

    /// Returns the state an event leads to; `None` where there is no such way.
    const fn after(self, kind: Kind) -> Option<Self> {
        match (self, kind) {
            (Self::Draft | Self::Paused, Kind::Configured) => Some(self),
            (Self::Draft, Kind::Started) | (Self::Paused, Kind::Resumed) => Some(Self::Running),
            (Self::Running, Kind::Progressed) => Some(self),
            (Self::Running, Kind::Paused) => Some(Self::Paused),
            (Self::Running, Kind::Completed) => Some(Self::Completed),
            (Self::Draft | Self::Running | Self::Paused, Kind::Failed) => Some(Self::Failed),
            (Self::Draft | Self::Running | Self::Paused, Kind::Cancelled) => Some(Self::Cancelled),
            _ => None,
        }
    }
}

/// An experiment as its events say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Experiment {
    pub id: String,
    pub title: String,
    pub state: State,
    /// JSON, as the server wrote it
    pub config: Option<String>,
    pub progress: Option<String>,
    /// JSON, as the server wrote it
    pub result: Option<String>,
    pub error: Option<String>,
    pub started_at: Option<Timestamp>,
    pub ended_at: Option<Timestamp>,
    pub updated_at: Timestamp,
    /// Sequence of the last event that is part of it
    pub version: i64,
    /// Sequence of the last event there is, sound or not
    pub last: i64,
}

impl Experiment {
    /// Begins with the event that creates it.
    pub(super) fn created(
        id: &str,
        change: Change,
        at: Timestamp,
        sequence: i64,
    ) -> Result<Self, Wrong> {
        let Change::Created { title, config } = change else {
            let said = format!("`{}` before the experiment was created", change.kind().name());
            return Err(Wrong::new(Reason::NotCreated, said));
        };
        Ok(Self {
            id: id.to_owned(),
            title,
            state: State::Draft,
            config,
            progress: None,
            result: None,
            error: None,
            started_at: None,
            ended_at: None,
            updated_at: at,
            version: sequence,
            last: sequence,
        })
    }

    /// Makes an event part of it, or says why it cannot be; then nothing has changed.
    pub(super) fn apply(
        &mut self,
        change: Change,
        at: Timestamp,
        sequence: i64,
    ) -> Result<(), Wrong> {
        let kind = change.kind();
        let (event, state) = (kind.name(), self.state.name());
        if self.state.is_final() {
            let said = format!("`{event}` after the experiment was {state}");
            return Err(Wrong::new(Reason::AfterEnd, said));
        }
        if kind == Kind::Created {
            let said = format!("`{event}` a second time, while the experiment was {state}");
            return Err(Wrong::new(Reason::CreatedAgain, said));
        }
        let Some(next) = self.state.after(kind) else {
            let said = format!("`{event}` while the experiment was {state}");
            return Err(Wrong::new(Reason::NotAllowed, said));
        };
        match change {
            Change::Configured { config } => self.config = Some(config),
            Change::Progressed { progress } => self.progress = Some(progress),
            Change::Completed { result } => self.result = result,
            Change::Failed { error } => self.error = Some(error),
            Change::Started => self.started_at = Some(at),
            Change::Created { .. } | Change::Paused | Change::Resumed | Change::Cancelled => {}
        }
        self.state = next;
        self.ended_at = next.is_final().then_some(at);
        self.updated_at = at;
        self.version = sequence;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp::UNIX_EPOCH;

    fn change(kind: Kind) -> Change {
        let payload = r#"{"name": "a", "config": {}, "progress": 5, "error": "e"}"#;
        Change::read(kind, payload).expect("a payload for all")
    }

    fn draft() -> Experiment {
        Experiment::created("1", change(Kind::Created), NOW, 1).expect("created")
    }

    /// Every way there is from a draft, by the events that lead there.
    fn ways() -> Vec<(Vec<Kind>, State)> {
        vec![
            (vec![], State::Draft),
            (vec![Kind::Started], State::Running),
            (vec![Kind::Started, Kind::Paused], State::Paused),
            (vec![Kind::Started, Kind::Completed], State::Completed),
            (vec![Kind::Failed], State::Failed),
            (vec![Kind::Cancelled], State::Cancelled),
        ]
    }

    #[test]
    fn each_state_takes_its_events_and_no_others() {
        let mut taken = Vec::new();
        for (way, state) in ways() {
            for kind in Kind::ALL {
                let mut experiment = draft();
                for (step, kind) in way.iter().enumerate() {
                    let sequence = i64::try_from(step).expect("few") + 2;
                    experiment.apply(change(*kind), NOW, sequence).expect("the way there");
                }
                assert_eq!(experiment.state, state);
                let before = experiment.clone();
                match experiment.apply(change(kind), NOW, 9) {
                    Ok(()) => {
                        taken.push(format!(
                            "{} {} {}",
                            state.name(),
                            kind.name(),
                            experiment.state.name()
                        ));
                        assert_eq!(experiment.version, 9);
                        assert_eq!(experiment.ended_at.is_some(), experiment.state.is_final());
                    }
                    Err(wrong) => {
                        assert_eq!(experiment, before, "nothing has changed: {}", wrong.said);
                        assert_eq!(wrong.reason == Reason::AfterEnd, state.is_final());
                    }
                }
            }
        }
        assert_eq!(
            taken,
            [
                "draft configured draft",
                "draft started running",
                "draft failed failed",
                "draft cancelled cancelled",
                "running progressed running",
                "running paused paused",
                "running completed completed",
                "running failed failed",
                "running cancelled cancelled",
                "paused configured paused",
                "paused resumed running",
                "paused failed failed",
                "paused cancelled cancelled",
            ]
        );
    }

    #[test]
    fn only_what_creates_it_can_be_first() {
        for kind in Kind::ALL.into_iter().filter(|kind| *kind != Kind::Created) {
            let wrong = Experiment::created("1", change(kind), NOW, 1).expect_err("too early");
            assert_eq!(wrong.reason, Reason::NotCreated);
        }
    }
}
