//! Actions on PostgreSQL databases.

pub(crate) mod assess;
mod content;
mod drafts;
pub(crate) mod dump;
pub(crate) mod evidence;
pub(crate) mod fence;
mod grants;
mod holds;
mod ladder;
mod manifest;
mod properties;
pub(crate) mod prove;
pub(crate) mod restore;
mod server;
mod state;
mod writers;
