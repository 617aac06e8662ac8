//! Facts on disk: append-only JSON Lines, a SHA-256 chain, synced before anything depends on them.
//!
//! `record` is one line, `writer` appends, `reader` checks and reads, `store` is the state directory with its
//! runs, `damaged` what is kept of one that cannot be read, `lock` keeps two processes apart on one machine and `lease` on several, `facts` keeps what was last seen.

pub(crate) mod damaged;
mod durable;
pub(crate) mod facts;
pub(crate) mod inbox;
pub(crate) mod lease;
mod lines;
pub(crate) mod listed;
pub(crate) mod lock;
mod names;
pub(crate) mod reader;
pub(crate) mod record;
pub(crate) mod store;
pub(crate) mod summary;
pub(crate) mod who;
pub(crate) mod writer;

#[cfg(test)]
pub(crate) mod fixtures;
#[cfg(test)]
pub(crate) mod golden;

/// Format of the records this version writes and reads.
pub(crate) const FORMAT: u32 = 1;
