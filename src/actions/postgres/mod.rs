//! Actions on PostgreSQL databases.

pub(crate) mod assess;
pub(crate) mod fence;
mod grants;
mod holds;
mod ladder;
mod state;
mod writers;
