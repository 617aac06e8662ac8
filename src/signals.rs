//! Signals: how much the operator, or the system, wants the run stopped.

use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

use crate::engine::driver::Halt;
use crate::exit::Exit;

/// What signals have said so far.
#[derive(Debug, Clone)]
pub(crate) struct Signals {
    pub halt: watch::Receiver<Halt>,
    /// The terminal is gone (SIGHUP): approved steps go on, the next question finds nobody
    pub hung_up: watch::Receiver<bool>,
}

/// Starts listening. The first SIGINT or SIGTERM stops softly, the second hard, the third ends the process.
/// SIGHUP, a dropped SSH session, never stops a run.
pub(crate) fn listen(restore_terminal: impl Fn() + Send + 'static) -> std::io::Result<Signals> {
    let (raise, halt) = watch::channel(Halt::No);
    let (hang_up, hung_up) = watch::channel(false);
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let mut hangup = signal(SignalKind::hangup())?;
    tokio::spawn(async move {
        loop {
            // Each arm only receives: a signal that comes meanwhile is received next time.
            tokio::select! {
                Some(()) = interrupt.recv() => {}
                Some(()) = terminate.recv() => {}
                Some(()) = hangup.recv() => {
                    hang_up.send_replace(true);
                    continue;
                }
                else => return,
            }
            restore_terminal();
            let next = match *raise.borrow() {
                Halt::No => Halt::Soft,
                Halt::Soft => Halt::Hard,
                Halt::Hard => end_now(),
            };
            raise.send_replace(next);
        }
    });
    Ok(Signals { halt, hung_up })
}

/// The third interrupt: the journal has everything that is known; nothing is waited for.
#[expect(clippy::exit, reason = "an operator who interrupts three times wants the process gone")]
fn end_now() -> ! {
    std::process::exit(i32::from(Exit::Interrupted.code()))
}
