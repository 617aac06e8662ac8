//! The binary from outside: files, a throw-away estate of real servers, signals, SIGKILL.

mod chain;
mod commands;
mod databases;
mod dr001;
mod estate;
mod failover;
mod faults;
mod files;
mod harness;
mod held;
mod killed;
mod lease;
mod network;
mod refused;
mod traffic;
mod world;
