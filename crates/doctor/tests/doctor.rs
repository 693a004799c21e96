//! The catalogue against its own pages: each is a manual, a rule and a test at once.

#![expect(clippy::panic, reason = "a page that cannot be read is a failed test")]

#[path = "doctor/confusion.rs"]
mod confusion;
#[path = "doctor/faults.rs"]
mod faults;
#[path = "doctor/input.rs"]
mod input;
#[path = "doctor/pages.rs"]
mod pages;
#[path = "doctor/words.rs"]
mod words;
