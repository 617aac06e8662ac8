//! Carries a plan out: journal, apply, decide. Knows the world only through [`ports`].

pub(crate) mod ports;
