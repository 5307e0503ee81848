//! What each model engine needs besides [`super::common`]: one table for its setup, one for the locked phase.
//!
//! Runs in: graph hosts.
//! Invariant: no row gives an engine a page that can be executed, a thread after the lock, a name or a socket. An engine whose code is a library has it
//! mapped before the process is hardened, so that no table needs an exception for that.
//! An empty table is a finding: its engine was run over all test models under the common rows alone, which kill for anything else.

use libc::*;

use super::Rule;
use super::arg;
use super::call;
use crate::Role;

/// rten: its threads exist before the lock, and it computes.
pub const RTEN: &[Rule] = &[];

/// ONNX Runtime on the processor: sessions are made after the lock, by threads that exist before it.
pub const ONNX_RUNTIME: &[Rule] = &[];

/// Calls of ONNX Runtime that it survives the failure of.
pub const ONNX_RUNTIME_REFUSED: &[Rule] = &[
    #[cfg(target_arch = "x86_64")]
    call!(SYS_stat, "it asks where a model's weights in another file would lie; no other file is served"),
];

/// While ONNX Runtime's environment is made.
pub const ONNX_RUNTIME_SETUP: &[Rule] = &[
    #[cfg(target_arch = "x86_64")]
    call!(SYS_stat, "the environment looks for devices below /sys; nothing untrusted was read yet"),
];

/// A language model's engine: llama.cpp reads a model's header through the C library's streams and maps its weights.
pub const LANGUAGE: &[Rule] = &[
    call!(SYS_lseek, "the parser finds its way in the model"),
    call!(SYS_fadvise64, "the model is about to be read"),
    call!(SYS_madvise, [arg(2).is(MADV_WILLNEED)], "the weights are about to be used"),
    call!(SYS_sysinfo, "how much memory the machine has"),
];

/// Calls of the language engine that it survives the failure of.
pub const LANGUAGE_REFUSED: &[Rule] = &[call!(
    SYS_newfstatat,
    "the C library asks for the size of a stream's file, by a call that could also name a path; it finds the size by seeking then"
)];

/// While the language engine's threads start.
pub const LANGUAGE_SETUP: &[Rule] = &[];

/// libtorch on the processor: its helpers exist before the lock, and what makes code is switched off.
pub const TORCH: &[Rule] = &[];

/// Calls of libtorch that it survives the failure of.
pub const TORCH_REFUSED: &[Rule] = &[];

/// While libtorch's threads start.
pub const TORCH_SETUP: &[Rule] = &[];

/// The engine's rows of the locked phase.
pub(super) fn locked(role: Role) -> &'static [Rule] {
    match role {
        Role::Graph => RTEN,
        Role::OnnxRuntime => ONNX_RUNTIME,
        Role::Language => LANGUAGE,
        Role::Torch => TORCH,
        Role::Compile | Role::Worker => &[],
    }
}

/// The engine's calls that fail instead of killing once the process is locked.
pub(super) fn refused(role: Role) -> &'static [Rule] {
    match role {
        Role::Language => LANGUAGE_REFUSED,
        Role::Torch => TORCH_REFUSED,
        Role::OnnxRuntime => ONNX_RUNTIME_REFUSED,
        Role::Graph | Role::Compile | Role::Worker => &[],
    }
}

/// The engine's rows of the setup phase.
pub(super) fn setup(role: Role) -> &'static [Rule] {
    match role {
        Role::OnnxRuntime => ONNX_RUNTIME_SETUP,
        Role::Language => LANGUAGE_SETUP,
        Role::Torch => TORCH_SETUP,
        Role::Graph | Role::Compile | Role::Worker => &[],
    }
}
