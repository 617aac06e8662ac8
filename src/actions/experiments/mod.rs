//! Experiments, rebuilt from their events.

mod change;
mod experiment;
mod finding;
mod fold;
mod layout;
mod moment;
mod own;
mod pass;
mod raw;
pub(crate) mod rebuild;
mod report;
mod restore;
mod source;
mod stored;
