//! `edgeguard-torch PARENT`: started by the daemon, never by hand.
//!
//! Runs in: graph host for TorchScript. Descriptors: 0 the control socket, 1 `/dev/null`, 2 the log. The argument is the daemon's process id.
//! libtorch is mapped by the system's loader before the first line: afterwards the process is hardened, and no file becomes code any more.
#![forbid(unsafe_code)]

use std::process::ExitCode;

fn main() -> ExitCode {
    edgeguard_graph::main("edgeguard-torch", edgeguard_torch::run)
}
