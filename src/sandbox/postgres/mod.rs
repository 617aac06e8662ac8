//! PostgreSQL behind the simulated instances: a server that speaks the protocol over a stream in memory and knows the
//! statements this program sends, and no others.

mod rows;
mod session;
mod statement;
mod wire;

pub(super) use session::serve;
