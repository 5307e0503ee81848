//! The language host: one process for one GGUF model, with llama.cpp inside.
//!
//! Runs in: language host.
//! Invariant: whatever the model's author, a worker or a guest wrote, the worst that comes of it is an error to that worker or the end of this process.
//! Does not: open files, see a guest's directories, reach a network. It is the only program of the product that is built with C++ in it.
//!
//! [`host`] is the life of the process in order; [`gguf`] looks at a model before the engine does; [`session`] is one context's way from prompt to answer;
//! [`lane`] computes for all of them; [`sys`] is the engine.
#![deny(unsafe_code)]

pub mod gguf;
pub mod host;
pub mod lane;
pub mod sampling;
pub mod session;
pub mod sys;

mod error;
mod load;
mod peers;
mod serve;

pub use error::HostError;
pub use error::ModelError;
pub use error::chain;
pub use host::run;

/// Writes one line to the log, which stands at descriptor 2. A log that nobody reads any more is no reason to stop.
pub fn log(line: &str) {
    use std::io::Write as _;
    let _ = writeln!(std::io::stderr(), "{line}");
}
