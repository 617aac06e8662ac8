//! YAML files: text to values, with a place for every value. The only module that knows a YAML crate.
//!
//! granit-parser reads first: it gives the places, finds duplicate keys and holds the limits, so that
//! serde_yaml, which gives the data, is only fed what is known to be small and sound.

mod index;
mod read;
#[cfg(test)]
mod tests;

pub(crate) use index::Index;
pub(crate) use read::{parse, read, read_leniently, too_large};

/// Longest file that is read.
pub(crate) const BYTES_MAX: usize = 8 << 20;
