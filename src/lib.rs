//! phoenix-dr carries out disaster-recovery runbooks.
//!
//! The map: `cli` is what the operator typed, `commands` composes everything, `runbook` is the language,
//! `estate` the systems, `plan` both resolved, `engine` carries a plan out through its ports, `journal` makes
//! facts durable, `actions` and `checks` touch the world through `clients`, `operator` is the human, `report`
//! shows events. `docs/architecture.md` has the invariants.

mod actions;
mod by_hand;
mod capture;
mod checks;
mod cli;
mod clients;
mod clock;
mod commands;
mod engine;
mod error;
mod estate;
mod event;
mod exit;
mod ids;
mod journal;
mod mask;
mod operator;
mod outcome;
mod parts;
mod plan;
mod report;
mod runbook;
mod sandbox;
mod shell;
mod signals;
mod span;

use std::ffi::OsString;
use std::process::ExitCode;

/// Runs the program with its arguments, the first being its own name, and returns how it ended.
pub fn run(arguments: Vec<OsString>) -> ExitCode {
    // One TLS provider for everything; a second one would make the first connection panic. It fails only where an
    // embedding process has installed one before, which is as good as ours.
    rustls::crypto::ring::default_provider().install_default().ok();
    ExitCode::from(commands::run(&arguments).code())
}
