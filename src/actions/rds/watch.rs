//! Waiting for an instance: looks again and again, tells what it sees, and survives a few reads that fail.

use std::time::Duration;

use jiff::Timestamp;

use super::instance::{self, Instance};
use crate::clients::Clients;
use crate::clock::since;
use crate::engine::ports::Call;
use crate::outcome::{ActionError, FailureClass};
use crate::span::Span;

/// RDS changes state in minutes; sooner looks only at first, where errors show.
const PAUSE_FIRST: Duration = Duration::from_secs(3);
const PAUSE: Duration = Duration::from_secs(10);
const SOON: Duration = Duration::from_secs(60);

/// Time left at the end of an attempt to say how far it came.
const RESERVE: Duration = Duration::from_secs(5);

/// Reads in a row that may fail before the wait gives up.
const FAILURES_MAX: u32 = 10;

/// One wait for one instance.
pub(super) struct Watch<'a> {
    clients: &'a Clients,
    call: &'a Call,
    region: &'a str,
    id: &'a str,
    began: Timestamp,
    /// Longest wait, where it is not to take all of the attempt's time
    limit: Option<Duration>,
    looks: u32,
    failures: u32,
    /// State seen last
    state: String,
}

impl<'a> Watch<'a> {
    pub(super) fn new(clients: &'a Clients, call: &'a Call, region: &'a str, id: &'a str) -> Self {
        let began = clients.clock.now();
        let (limit, state) = (None, String::new());
        Self { clients, call, region, id, began, limit, looks: 0, failures: 0, state }
    }

    /// Waits no longer than this, however much time the attempt has left.
    pub(super) fn at_most(mut self, limit: Duration) -> Self {
        self.limit = Some(limit);
        self
    }

    /// Returns how long the wait has been.
    pub(super) fn waited(&self) -> Duration {
        since(self.began, self.clients.clock.now())
    }

    /// Looks at the instance; pauses before every look but the first.
    pub(super) async fn look(&mut self) -> Result<Option<Instance>, ActionError> {
        let (clients, region, id) = (self.clients, self.region, self.id);
        let look = || instance::find(clients, region, id);
        self.look_for(look, |found| found.status.as_str()).await
    }

    /// Looks at whatever is waited for, as [`Self::look`] does.
    pub(super) async fn look_for<T, F>(
        &mut self,
        look: impl Fn() -> F,
        state: impl Fn(&T) -> &str,
    ) -> Result<Option<T>, ActionError>
    where
        F: Future<Output = Result<Option<T>, ActionError>>,
    {
        loop {
            if self.looks > 0 {
                let pause = self.pause();
                self.in_time(pause)?;
                self.clients.clock.sleep(pause).await;
            }
            self.looks += 1;
            // Each SDK call is a large future, and whatever waits would carry it.
            match Box::pin(look()).await {
                Ok(found) => {
                    self.failures = 0;
                    let state = found.as_ref().map_or("not there", &state);
                    state.clone_into(&mut self.state);
                    return Ok(found);
                }
                Err(error) if error.class.retryable() && self.failures < FAILURES_MAX => {
                    self.failures += 1;
                    self.tell(&format!("cannot be read: {error}"));
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// Says what is waited for before it can be there.
    pub(super) fn waits_for(&mut self, state: String) {
        self.tell(&state);
        self.state = state;
    }

    /// Says whether there is time for another look.
    pub(super) fn goes_on(&self) -> bool {
        self.in_time(self.pause()).is_ok()
    }

    fn pause(&self) -> Duration {
        if self.waited() < SOON { PAUSE_FIRST } else { PAUSE }
    }

    /// Fails where another pause would outlast the wait or the attempt: an attempt that is cut off cannot say why.
    fn in_time(&self, pause: Duration) -> Result<(), ActionError> {
        let end = self.call.progress.deadline();
        let attempt = end.is_none_or(|end| self.clients.clock.now() + pause + RESERVE < end);
        if attempt && self.limit.is_none_or(|limit| self.waited() + pause <= limit) {
            return Ok(());
        }
        let waited = Span::seconds(self.waited().as_secs());
        let message = format!("{} is still `{}` after {waited}", self.id, self.state);
        Err(ActionError::unchanged(FailureClass::Overdue, message)
            .hint("RDS goes on with it: a retry waits on"))
    }

    /// Tells the state seen last and how long the wait has been.
    pub(super) fn tell(&self, state: &str) {
        let waited = Span::seconds(self.waited().as_secs());
        self.call.progress.tell(format!("{} {state}, {waited}", self.id), None);
    }
}
