//! How much of what goes between a bucket and this host has come, as far as somebody is told.

use std::sync::atomic::{AtomicU64, Ordering};

use super::drafts::bytes;
use crate::engine::ports::Call;

/// What is told of something on its way.
pub(super) struct Told<'a> {
    /// The step that is told it, and how what was done is called, e.g. `fetched`
    to: Option<(&'a Call, &'static str)>,
    done: AtomicU64,
    all: u64,
    /// How much of it was told, in thousandths
    told: AtomicU64,
}

impl<'a> Told<'a> {
    /// Tells a step of so many bytes.
    pub(super) const fn step(call: &'a Call, word: &'static str, all: u64) -> Self {
        let (done, told) = (AtomicU64::new(0), AtomicU64::new(0));
        Self { to: Some((call, word)), done, all, told }
    }

    pub(super) const fn nobody() -> Self {
        Self { to: None, done: AtomicU64::new(0), all: 0, told: AtomicU64::new(0) }
    }

    /// Takes back what was lost on its way.
    pub(super) fn less(&self, bytes: u64) {
        self.done.fetch_sub(bytes, Ordering::Relaxed);
    }

    pub(super) fn more(&self, more: u64) {
        let done = self.done.fetch_add(more, Ordering::Relaxed).saturating_add(more);
        let Some((call, word)) = self.to else { return };
        // Bytes come in small pieces.
        let told = done.saturating_mul(1000) / self.all.max(1);
        if self.told.swap(told, Ordering::Relaxed) != told {
            let said = format!("{word} {} of {}", bytes(done), bytes(self.all));
            call.progress.tell(said, Some(part(done, self.all)));
        }
    }
}

/// Returns which part of all is done, from 0 to 1.
#[expect(clippy::cast_precision_loss, reason = "it is shown as whole percents")]
fn part(done: u64, all: u64) -> f32 {
    (done as f32 / all.max(1) as f32).min(1.0)
}
