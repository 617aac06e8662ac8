//! How a run is stopped, and what is left when it is: parked steps, signals, rollbacks that end without ending the run.

use std::time::Duration;

use super::dispatcher::{Dispatcher, Shown};
use super::driver::{Halt, Park};
use super::state::{RunPhase, RunState};
use crate::clock::within;
use crate::event::{Event, RollbackScope};
use crate::exit::Exit;

/// The lease is given back within this long, or runs out by itself.
const RELEASE_LIMIT: Duration = Duration::from_secs(20);

/// The same after a second interrupt.
const RELEASE_LIMIT_HARD: Duration = Duration::from_secs(2);

impl Dispatcher {
    pub(super) fn park(&mut self, park: Park) {
        match park {
            Park::Halted | Park::Journal => {}
            Park::Declined(why) | Park::Nobody(why) => self.stop_for(why, Exit::Stopped),
            Park::Missing(flag) => {
                self.stop_for(format!("an answer is needed: {flag}"), Exit::NeedsAnswer);
            }
            Park::NotMet(why) => {
                let exit = if self.state.changed() { Exit::ChangesLeft } else { Exit::NotMet };
                self.stop_for(why, exit);
            }
            Park::Lease(holder) => {
                (self.disarm)();
                self.stop_for(format!("the lease is held by {holder}"), Exit::Held);
            }
            Park::Kept => {
                // In a rollback it was a revert that failed: somebody must act, whoever stopped it.
                let exit = match &self.state.phase {
                    RunPhase::RollingBack { .. } => Exit::NeedsOperator,
                    RunPhase::Running
                    | RunPhase::Stopped { .. }
                    | RunPhase::Finished { .. }
                    | RunPhase::Abandoned { .. } => self.left_or_unchanged(),
                };
                self.stop_for("an operator stopped the run here".to_owned(), exit);
            }
            Park::RollBack(why) => self.rollback_wanted = Some((why, RollbackScope::Run)),
            Park::Another { step, why } => self.want_another(step, why),
        }
    }

    /// Lets nothing new start; what runs reaches a safe point.
    pub(super) fn stop_for(&mut self, why: String, exit: Exit) {
        if self.stopping.is_none() && !self.running.is_empty() {
            // What follows may take minutes: a person must not think that nothing happened.
            let running = self.running.iter().map(|i| self.state.plan.steps[*i].id.clone());
            let running = running.collect();
            drop(self.shown.send(Shown::Stopping { why: why.clone(), running }));
        }
        self.stopping.get_or_insert((why, exit));
        // A question that is open when the run is stopped is left unanswered; it is put again on resume.
        self.questions.clear();
        self.open_question = None;
        self.halt.send_if_modified(|halt| {
            let raised = *halt < Halt::Soft;
            *halt = (*halt).max(Halt::Soft);
            raised
        });
    }

    pub(super) fn signal(&mut self, wanted: Halt) {
        match wanted {
            Halt::No => {}
            Halt::Soft => self.stop_for("interrupted".to_owned(), Exit::Stopped),
            Halt::Hard => {
                self.stopping = Some(("interrupted twice".to_owned(), Exit::Interrupted));
                self.questions.clear();
                self.open_question = None;
                self.halt.send_replace(Halt::Hard);
                (self.disarm)();
            }
        }
    }

    /// Has another method chosen once what runs has ended, where that is still possible.
    fn want_another(&mut self, step: usize, why: String) {
        match self.state.another(step) {
            Some(choosing) => {
                let choosing = self.state.plan.steps[choosing].id.clone();
                self.rollback_wanted = Some((why, RollbackScope::Another { choosing }));
            }
            None => self.stop_for(
                "another method cannot be chosen any more".to_owned(),
                self.left_or_unchanged(),
            ),
        }
    }

    /// Begins the rollback a person chose, now that nothing runs.
    pub(super) fn begin_wanted_rollback(&mut self) {
        if let Some((why, scope)) = self.rollback_wanted.take() {
            self.record(vec![Event::RollbackStarted { why, scope }]);
        }
    }

    /// Ends a rollback after which the run can go on: at once by another method, else by `resume`.
    pub(super) fn end_rollback(&mut self, why: String) {
        let goes_on = matches!(
            self.state.phase,
            RunPhase::RollingBack { scope: RollbackScope::Another { .. }, .. }
        );
        self.record(vec![Event::RollbackEnded { why: why.clone() }]);
        if !goes_on {
            self.stop_for(why, self.left_or_unchanged());
        }
    }

    fn left_or_unchanged(&self) -> Exit {
        if self.state.changed() { Exit::ChangesLeft } else { Exit::FailedUnchanged }
    }

    pub(super) async fn close(mut self, exit: Exit) -> (Exit, RunState) {
        self.sync();
        (self.at_step)(None);
        if self.state.lease_taken {
            let hard = *self.halt.borrow() == Halt::Hard;
            let limit = if hard { RELEASE_LIMIT_HARD } else { RELEASE_LIMIT };
            // A lease that is not given back in time ends by itself.
            within(&*self.ports.clock, limit, self.ports.lease.release()).await.ok();
        }
        // Giving the lease back is itself a write: the guard closes only now.
        (self.disarm)();
        let exit = if self.journal_dead { Exit::Journal } else { exit };
        (exit, self.state)
    }
}
