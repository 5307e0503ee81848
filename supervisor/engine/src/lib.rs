//! The one configuration of the wasm engine.
//!
//! Runs in: compiler (which makes native code and never maps it) and worker (which maps native code and never makes it).
//! Invariant: both build their engine from one `Config`, so code of one always fits the other, and [`fingerprint()`] changes when
//! anything that shapes native code does.
//! Does not: run a guest, or open anything.
//!
//! Two lines of this crate are unsafe, because the engine's interface is: native code is trusted when it is loaded
//! ([`load()`]), and its pages are handed over to be published.
#![deny(unsafe_code)]

mod config;
mod fingerprint;
mod load;
mod publish;
mod text;

pub use config::MAX_GUEST_STACK;
pub use config::compiler;
pub use config::worker;
pub use fingerprint::fingerprint;
pub use load::Code;
pub use load::LoadError;
pub use load::MAX_CODE;
pub use load::load;
pub use text::MAX_TEXT;
pub use text::bounded;
pub use text::describe;
