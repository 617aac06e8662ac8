//! Waiting for an instance: looks again and again, tells what it sees, and survives a few reads that fail.

use std::time::Duration;

use jiff::Timestamp;

use super::instance::{self, Instance};
use crate::clients::Clients;
use crate::clock::since;
use crate::engine::ports::Call;
use crate::outcome::ActionError;
use crate::span::Span;

/// RDS changes state in minutes; sooner looks only at first, where errors show.
const PAUSE_FIRST: Duration = Duration::from_secs(3);
const PAUSE: Duration = Duration::from_secs(10);
const SOON: Duration = Duration::from_secs(60);

/// Reads in a row that may fail before the wait gives up.
const FAILURES_MAX: u32 = 10;

/// One wait for one instance.
pub(super) struct Watch<'a> {
    clients: &'a Clients,
    call: &'a Call,
    region: &'a str,
    id: &'a str,
    began: Timestamp,
    looks: u32,
    failures: u32,
}

impl<'a> Watch<'a> {
    pub(super) fn new(clients: &'a Clients, call: &'a Call, region: &'a str, id: &'a str) -> Self {
        let began = clients.clock.now();
        Self { clients, call, region, id, began, looks: 0, failures: 0 }
    }

    /// Returns how long the wait has been.
    pub(super) fn waited(&self) -> Duration {
        since(self.began, self.clients.clock.now())
    }

    /// Looks at the instance; pauses before every look but the first.
    pub(super) async fn look(&mut self) -> Result<Option<Instance>, ActionError> {
        loop {
            if self.looks > 0 {
                let pause = if self.waited() < SOON { PAUSE_FIRST } else { PAUSE };
                self.clients.clock.sleep(pause).await;
            }
            self.looks += 1;
            match instance::find(self.clients, self.region, self.id).await {
                Ok(found) => {
                    self.failures = 0;
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

    /// Tells the state seen last and how long the wait has been.
    pub(super) fn tell(&self, state: &str) {
        let waited = Span::seconds(self.waited().as_secs());
        self.call.progress.tell(format!("{} {state}, {waited}", self.id), None);
    }
}
