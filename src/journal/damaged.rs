//! A run whose journal is damaged and that a person gave up: its journal stays as it is, as evidence, so the fact is kept
//! beside it.

use std::io;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::durable;
use super::store::RunDir;

/// Longest file read.
const SIZE_MAX: u64 = 64 * 1024;

/// That a run was given up although nobody can read all of its journal.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct GivenUp {
    pub reason: String,
    /// user@host
    pub who: String,
    pub at: Timestamp,
    /// What was wrong with the journal
    pub damage: String,
}

/// Keeps it, durably. What was said first stays.
pub(crate) fn give_up(dir: &RunDir, given_up: &GivenUp) -> io::Result<()> {
    if read(dir).is_some() {
        return Ok(());
    }
    durable::replace(&dir.given_up(), &serde_json::to_vec(given_up)?)
}

/// Returns what was kept; what cannot be read was never given up.
pub(crate) fn read(dir: &RunDir) -> Option<GivenUp> {
    let path = dir.given_up();
    if path.metadata().ok()?.len() > SIZE_MAX {
        return None;
    }
    serde_json::from_slice(&std::fs::read(path).ok()?).ok()
}
