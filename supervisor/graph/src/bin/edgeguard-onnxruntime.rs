//! `edgeguard-onnxruntime PARENT`: the graph host on ONNX Runtime, started by the daemon, never by hand.
//!
//! Runs in: graph host. Descriptors: 0 the control socket, 1 `/dev/null`, 2 the log. The argument is the daemon's process id.
//! Maps the operator's library first, from the descriptor that the daemon sends, and is hardened then: afterwards no file becomes code any more.
#![forbid(unsafe_code)]

use std::process::ExitCode;

fn main() -> ExitCode {
    edgeguard_graph::main("edgeguard-onnxruntime", edgeguard_graph::run_onnxruntime)
}
