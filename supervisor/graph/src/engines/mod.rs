//! The engines, one file each.
//!
//! Runs in: graph host.

pub mod onnx;
pub mod onnxruntime;
pub mod openvino;
pub mod rten;

use edgeguard_wire::graph::Encoding;
use edgeguard_wire::graph::Target;

use crate::engine::Engine;
use crate::engine::LoadError;

/// Starts the engine for this format and target, with `threads` threads for each of `seats` computes at once.
///
/// # Errors
/// [`LoadError::Threads`].
pub fn start(encoding: Encoding, target: Target, seats: usize, threads: usize) -> Result<Box<dyn Engine>, LoadError> {
    match (encoding, target) {
        (Encoding::Onnx, Target::Cpu) => Ok(Box::new(rten::Rten::start(seats, threads)?)),
        (Encoding::Gguf, Target::Cpu) => Err(LoadError::Unservable("a language model has a host of its own".into())),
        (Encoding::PyTorch, Target::Cpu) => Err(LoadError::Unservable("TorchScript has a host of its own".into())),
        (Encoding::OpenVino, Target::Cpu) => Err(LoadError::Unservable("OpenVINO's own format has a host of its own".into())),
    }
}
