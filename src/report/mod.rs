//! Events made readable, for people and programs. Nothing here can alter a run.

pub(crate) mod audit;
pub(crate) mod debrief;
#[cfg(test)]
pub(crate) mod fixtures;
pub(crate) mod forecast;
pub(crate) mod human;
pub(crate) mod incident;
pub(crate) mod json;
pub(crate) mod lines;
pub(crate) mod plan_view;
pub(crate) mod points;
pub(crate) mod progress;
pub(crate) mod prompt;
pub(crate) mod runs;
pub(crate) mod screens;
mod spent;
pub(crate) mod summary;
pub(crate) mod terminal;
pub(crate) mod text;
pub(crate) mod view;
pub(crate) mod words;
pub(crate) mod world;
