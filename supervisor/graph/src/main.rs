//! `edgeguard-graph PARENT`: started by the daemon, never by hand.
//!
//! Runs in: graph host. Descriptors: 0 the control socket, 1 `/dev/null`, 2 the log. The argument is the daemon's process id.
#![forbid(unsafe_code)]

use std::process::ExitCode;

fn main() -> ExitCode {
    edgeguard_graph::main("edgeguard-graph", edgeguard_graph::run)
}
