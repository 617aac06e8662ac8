//! Actions on PostgreSQL itself.

pub(crate) mod fence;
mod grants;
