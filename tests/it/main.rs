//! The binary from outside: files, a throw-away estate of real servers, signals, SIGKILL.

mod chain;
mod commands;
mod estate;
mod failover;
mod files;
mod harness;
