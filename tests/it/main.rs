//! The binary from outside: files, a throw-away estate of real servers, signals, SIGKILL.

mod chain;
mod commands;
mod dr001;
mod estate;
mod failover;
mod faults;
mod files;
mod harness;
mod killed;
mod lease;
mod network;
mod traffic;
mod world;
