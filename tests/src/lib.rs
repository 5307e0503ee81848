//! What the tests of the whole have in common.
//!
//! Runs in: tests, on the developer's machine and in CI. Never shipped.
//! Does not: stand in for any part of the product. Daemon, children and command line are the built programs.
#![forbid(unsafe_code)]

pub mod admission;
pub mod answer;
pub mod guest;
pub mod house;
pub mod oracle;
pub mod policy;
pub mod process;
pub mod redteam;
