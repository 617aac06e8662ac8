//! Actions on PostgreSQL databases.

pub(crate) mod fence;
mod grants;
mod holds;
mod ladder;
mod state;
mod writers;
