//! `edgeguard-language PARENT`: started by the daemon, never by hand.
//!
//! Runs in: language host. Descriptors: 0 the control socket, 1 `/dev/null`, 2 the log. The argument is the daemon's process id.
#![forbid(unsafe_code)]

use std::process::ExitCode;

use edgeguard_language::HostError;

fn main() -> ExitCode {
    let Some(parent) = std::env::args().nth(1).and_then(|parent| parent.parse().ok()) else {
        edgeguard_language::log("usage: edgeguard-language PARENT, started by edgeguardd with a control socket at descriptor 0");
        return ExitCode::from(2);
    };
    match edgeguard_language::run(parent) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            edgeguard_language::log(&edgeguard_language::chain(&error));
            // As the command line tool has it: 4 means that the host cannot confine.
            ExitCode::from(if matches!(error, HostError::Unconfinable(_)) { 4 } else { 1 })
        }
    }
}
