//! The graph host: one process for one model, the only one that parses a model or runs one.
//!
//! Runs in: graph host.
//! Invariant: whatever the model's author, a worker or a guest wrote, the worst that comes of it is an error to that worker or the end of
//! this process.
//! Does not: open files, see a guest's directories, reach a network.
//!
//! [`mod@host`] is the life of the process in order; [`engine`] says what an engine is, [`engines`] has them.
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
mod watch;

pub use error::GraphError;
pub use error::LibraryError;
pub use error::ModelError;
pub use error::Part;
pub use error::chain;
pub use host::host;
pub use host::run;
pub use host::run_onnxruntime;
pub use host::run_openvino;

/// A graph host's `main`: takes the daemon's process id from the command line, runs, and says how it went.
pub fn main(name: &str, run: fn(u32) -> Result<(), GraphError>) -> std::process::ExitCode {
    let Some(parent) = std::env::args().nth(1).and_then(|parent| parent.parse().ok()) else {
        log(&format!("usage: {name} PARENT, started by edgeguardd with a control socket at descriptor 0"));
        return std::process::ExitCode::from(2);
    };
    match run(parent) {
        Ok(()) => std::process::ExitCode::SUCCESS,
        Err(error) => {
            log(&chain(&error));
            // As the command line tool has it: 4 means that the host cannot confine.
            std::process::ExitCode::from(if matches!(error, GraphError::Unconfinable(_)) { 4 } else { 1 })
        }
    }
}

/// Writes one line to the log, which stands at descriptor 2. A log that nobody reads any more is no reason to stop.
pub fn log(line: &str) {
    use std::io::Write as _;
    let _ = writeln!(std::io::stderr(), "{line}");
}
