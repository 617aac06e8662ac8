//! The binary from outside: files, a throw-away estate of real servers, terminals, signals, SIGKILL.

mod capture;
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
mod language;
mod lease;
mod network;
mod person;
mod programs;
mod pty;
mod pty_failover;
mod pty_signals;
mod refused;
mod rehearse;
mod screen;
mod secrets;
mod traffic;
mod world;
