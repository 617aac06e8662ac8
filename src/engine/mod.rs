//! Carries a plan out: journal, apply, decide. Knows the world only through [`ports`].

pub(crate) mod asking;
mod attempt;
pub(crate) mod compare;
pub(crate) mod decide;
pub(crate) mod dispatcher;
pub(crate) mod driver;
mod ending;
pub(crate) mod gates;
mod going;
pub(crate) mod ports;
mod recording;
mod rollback;
pub(crate) mod scheduler;
pub(crate) mod state;
pub(crate) mod step;
mod stopping;
pub(crate) mod verify;

#[cfg(test)]
mod tests;
