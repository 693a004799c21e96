//! The command from outside: what a person types, and what they get back.

#![expect(clippy::unwrap_used, clippy::panic, reason = "an unexpected answer is a failed test")]

#[path = "clearway/check.rs"]
mod check;
#[path = "clearway/check_others.rs"]
mod check_others;
#[path = "clearway/commands.rs"]
mod commands;
#[path = "clearway/process.rs"]
mod process;
#[path = "clearway/start.rs"]
mod start;
#[path = "clearway/stuck.rs"]
mod stuck;
