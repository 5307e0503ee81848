//! What each model engine needs besides [`super::common`]: one table for its setup, one for the locked phase.
//!
//! Runs in: graph hosts.
//! Invariant: no row gives an engine a page that can be executed, a thread after the lock, a name or a socket. An engine whose code is a library has it
//! mapped before the process is hardened, so that no table needs an exception for that.
//! Empty tables are findings: those engines were run over all test models under the common rows alone, which kill for anything else.

use super::Rule;
use crate::Role;

/// rten: its threads exist before the lock, and it computes.
pub const RTEN: &[Rule] = &[];

/// ONNX Runtime on the processor: sessions are made after the lock, by threads that exist before it.
pub const ONNX_RUNTIME: &[Rule] = &[];

/// While ONNX Runtime's environment is made.
pub const ONNX_RUNTIME_SETUP: &[Rule] = &[];

/// A language model's engine.
pub const LANGUAGE: &[Rule] = &[];

/// While the language engine's threads start.
pub const LANGUAGE_SETUP: &[Rule] = &[];

/// The engine's rows of the locked phase.
pub(super) fn locked(role: Role) -> &'static [Rule] {
    match role {
        Role::Graph => RTEN,
        Role::OnnxRuntime => ONNX_RUNTIME,
        Role::Language => LANGUAGE,
        Role::Compile | Role::Worker => &[],
    }
}

/// The engine's rows of the setup phase.
pub(super) fn setup(role: Role) -> &'static [Rule] {
    match role {
        Role::OnnxRuntime => ONNX_RUNTIME_SETUP,
        Role::Language => LANGUAGE_SETUP,
        Role::Graph | Role::Compile | Role::Worker => &[],
    }
}
