//! The known attacks on bundles with certificates, logs and timestamps, each through the one door that admits: `UnverifiedModule::admit`.
//!
//! Every refusal is expected with its own code, so that a bundle which is refused for another reason than the lie in it fails the test.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod bundle;
mod certificate;
mod count;
mod identity;
mod keyed;
mod log;
mod time;
mod world;
