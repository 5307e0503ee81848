//! `edgeguard-openvino PARENT`: the graph host on OpenVINO, started by the daemon, never by hand.
//!
//! Runs in: graph host. Descriptors: 0 the control socket, 1 `/dev/null`, 2 the log. The argument is the daemon's process id.
//! Maps the operator's libraries first, of which the daemon sends descriptors and the folder, and is hardened then: afterwards no file becomes code any more.
//! It may make code of its own of a model, which no other graph host may.
#![forbid(unsafe_code)]

use std::process::ExitCode;

fn main() -> ExitCode {
    edgeguard_graph::main("edgeguard-openvino", edgeguard_graph::run_openvino)
}
