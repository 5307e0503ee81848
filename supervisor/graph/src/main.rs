//! `edgeguard-graph PARENT`: started by the daemon, never by hand.
//!
//! Runs in: graph host. Descriptors: 0 the control socket, 1 `/dev/null`, 2 the log. The argument is the daemon's process id.
#![forbid(unsafe_code)]

use std::process::ExitCode;

use edgeguard_graph::GraphError;

fn main() -> ExitCode {
    let Some(parent) = std::env::args().nth(1).and_then(|parent| parent.parse().ok()) else {
        edgeguard_graph::log("usage: edgeguard-graph PARENT, started by edgeguardd with a control socket at descriptor 0");
        return ExitCode::from(2);
    };
    match edgeguard_graph::run(parent) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            edgeguard_graph::log(&edgeguard_graph::chain(&error));
            // As the command line tool has it: 4 means that the host cannot confine.
            ExitCode::from(if matches!(error, GraphError::Unconfinable(_)) { 4 } else { 1 })
        }
    }
}
