//! Actions on PostgreSQL databases.

pub(crate) mod analyze;
pub(crate) mod assess;
mod base;
mod bucket;
pub(crate) mod choose;
mod compare;
mod content;
mod copies;
pub(crate) mod cut_over;
mod definition;
mod disproved;
pub(crate) mod drafts;
pub(crate) mod dump;
pub(crate) mod evidence;
mod extensions;
pub(crate) mod fence;
mod grants;
mod holds;
mod keep;
mod ladder;
#[cfg(test)]
mod lost_tests;
mod manifest;
mod objects;
mod origin;
pub(crate) mod point_in_time;
pub(crate) mod points;
mod proofs;
mod properties;
pub(crate) mod prove;
pub(crate) mod restore;
mod rights;
pub(super) mod roles;
mod server;
mod shelf;
mod state;
mod store;
pub(crate) mod target;
#[cfg(test)]
mod testing;
mod told;
mod wal;
mod waldump;
mod writers;

#[cfg(test)]
pub(super) use store::testing::Shop;
