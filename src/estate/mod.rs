//! The estate: the systems a runbook acts on, read from `phoenix-dr.yaml`.

pub(crate) mod defaults;
pub(crate) mod dumps;
pub(crate) mod essentials;
pub(crate) mod experiments;
pub(crate) mod init;
pub(crate) mod load;
pub(crate) mod own_server;
mod people;
mod redact;
pub(crate) mod secrets;
#[cfg(test)]
mod tests;
pub(crate) mod types;
mod validate;

pub(crate) use validate::doubts;
