//! The graph host: one process for one model, the only one that parses a model or runs one.
//!
//! Runs in: graph host.
//! Invariant: whatever the model's author, a worker or a guest wrote, the worst that comes of it is an error to that worker or the end of
//! this process.
//! Does not: open files, see a guest's directories, reach a network.
//!
//! [`host`] is the life of the process in order; [`engine`] says what an engine is, [`engines`] has them.
#![forbid(unsafe_code)]

pub mod engine;
pub mod engines;
pub mod host;
pub mod load;

mod check;
mod copy;
mod error;
mod peers;
mod serve;

pub use error::GraphError;
pub use error::ModelError;
pub use error::chain;
pub use host::run;

/// Writes one line to the log, which stands at descriptor 2. A log that nobody reads any more is no reason to stop.
pub fn log(line: &str) {
    use std::io::Write as _;
    let _ = writeln!(std::io::stderr(), "{line}");
}
