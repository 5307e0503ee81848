//! Whether the engines that a policy's graphs want are on this host, as its own file names them.
//!
//! Runs in: command line.
//! Does not: load a library. The daemon compares the same digests, from the bytes that it maps.

use std::path::Path;

use edgeguard_policy::Code;
use edgeguard_policy::Diagnostics;
use edgeguard_policy::Encoding;
use edgeguard_policy::Engine;
use edgeguard_policy::GraphGrant;
use edgeguard_policy::HostConfig;
use edgeguard_policy::Place;
use edgeguard_policy::Policy;

use super::host::digest_of;

/// Every graph whose engine is not there, or is another than is pinned.
pub(super) fn check(policy: &Policy, host: &HostConfig) -> Diagnostics {
    let mut found = Diagnostics::default();
    for (i, graph) in policy.graphs.iter().enumerate() {
        if let Some((label, help)) = missing(graph, host) {
            let message = format!("the engine of graph `{}` is not on this host", graph.name);
            found.push(policy.diagnostic(Code::NoEngine, message, Place::Model(i), label).help(help));
        }
    }
    found
}

/// What is missing, and what to do about it.
fn missing(graph: &GraphGrant, host: &HostConfig) -> Option<(String, &'static str)> {
    let engines = &host.engines;
    match graph.engine {
        // Part of the product. A build without libtorch says so itself.
        Engine::Rten | Engine::LlamaCpp | Engine::PyTorch => None,
        Engine::OnnxRuntime => match &engines.onnxruntime {
            None => Some(("the host's file has no `[engines.onnxruntime]`".into(), INSTALL)),
            Some(library) => differs(&library.path, &library.sha256).map(|label| (label, PIN)),
        },
        Engine::OpenVino => match &engines.openvino {
            None => Some(("the host's file has no `[engines.openvino]`".into(), INSTALL)),
            Some(libraries) => {
                if graph.encoding == Encoding::OpenVino && !libraries.files.iter().any(|(name, _)| name.starts_with(IR_READER)) {
                    return Some((format!("`{IR_READER}…` is not among the files of `[engines.openvino]`"), INSTALL));
                }
                let mut files = libraries.files.iter().map(|(name, sha256)| (libraries.folder.join(name), sha256));
                files.find_map(|(path, sha256)| differs(&path, sha256)).map(|label| (label, PIN))
            }
        },
    }
}

/// Why a library is not the one that is pinned.
fn differs(path: &Path, sha256: &[u8; 32]) -> Option<String> {
    let shown = path.display();
    match digest_of(path) {
        Ok(found) if found == *sha256 => None,
        Ok(found) => Some(format!("`{shown}` has the digest `{}`, and another is pinned", hex::encode(found))),
        Err(error) => Some(format!("`{shown}` cannot be read: {error}")),
    }
}

/// The library that reads OpenVINO's own format, whatever its version.
const IR_READER: &str = "libopenvino_ir_frontend.so";

const INSTALL: &str = "install it and name it in the host's file, as docs/engines.md says, or choose another engine";
const PIN: &str = "put back what was pinned, or pin what is there if it is meant; `edgeguard doctor` shows each";
