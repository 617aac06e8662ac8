//! Facts on disk: append-only JSON Lines, a SHA-256 chain, synced before anything depends on them.

pub(crate) mod record;

/// Format of the records this version writes and reads.
pub(crate) const FORMAT: u32 = 1;
