//! TorchScript on libtorch, behind the wall.
//!
//! Runs in: graph host for TorchScript (`edgeguard-torch`), which is built only with the feature `libtorch`. Without the feature this crate is empty.
//! Everything but the engine is `edgeguard_graph`'s: the order of steps, the lock, the channels.
#![deny(unsafe_code)]
#![cfg(feature = "libtorch")]

pub mod engine;
pub mod sys;

use edgeguard_graph::GraphError;
use edgeguard_graph::engine::LoadError;
use edgeguard_sandbox::Role;
use edgeguard_wire::graph::Encoding;
use edgeguard_wire::graph::Engine;
use edgeguard_wire::graph::Target;

/// Is a graph host until the daemon closes the control socket.
///
/// # Errors
/// [`GraphError`]: the process must end.
pub fn run(expected_parent: u32) -> Result<(), GraphError> {
    // Nothing of a vendor or a guest is read before the process is hardened; this is the library and its machine.
    sys::prepare().map_err(|reason| GraphError::Engine(LoadError::Start { engine: engine::NAME, reason }))?;
    edgeguard_graph::host(expected_parent, Role::Torch, |load, computes, threads| match (load.engine, load.encoding, load.target) {
        (Engine::PyTorch, Encoding::PyTorch, Target::Cpu) => Ok(Box::new(engine::Torch::start(computes, threads)?)),
        _ => Err(LoadError::Unservable("this host runs TorchScript on libtorch and nothing else".into())),
    })
}
