//! Events made readable, for people and programs. Nothing here can alter a run.

pub(crate) mod audit;
