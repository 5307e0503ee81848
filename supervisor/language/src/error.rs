//! What can go wrong in a language host, by fault.
//!
//! Runs in: language host.

use std::io;

use edgeguard_sandbox::Unconfinable;
use edgeguard_wire::ChannelError;
use edgeguard_wire::language::LanguageError;
use edgeguard_wire::tensor::NnCode;
use edgeguard_wire::tensor::NnError;

use crate::gguf::Outline;

/// The longest message in an [`NnError`], in bytes.
const MAX_MESSAGE: usize = 1024;

/// Why a language host ends.
#[derive(Debug, thiserror::Error)]
pub enum HostError {
    /// It was not started by the daemon.
    #[error("cannot use the control socket")]
    Control(#[source] io::Error),
    /// The daemon is gone, or the socket failed.
    #[error("dialogue with the daemon ended")]
    Dialogue(#[from] ChannelError),
    /// The daemon said something that does not belong here.
    #[error("daemon misbehaved: expected `{expected}`, found `{found}`")]
    OutOfPhase {
        /// The frame that belongs here.
        expected: &'static str,
        /// What came.
        found: &'static str,
    },
    /// The assignment is beyond all bounds.
    #[error("`{field}` is {found}, expected 1 to {max}")]
    Bounds {
        /// Field of the assignment.
        field: &'static str,
        /// As it says.
        found: u32,
        /// As it may say.
        max: u32,
    },
    /// This host cannot confine the process.
    #[error("cannot confine this process")]
    Unconfinable(#[from] Unconfinable),
    /// The processor is too old for this build of the engine.
    #[error("this build of llama.cpp needs a processor with {0}: build the program for this processor")]
    Processor(String),
    /// The engine's threads could not be started.
    #[error("cannot start the engine's threads")]
    Pool,
    /// The memory limit could not be set.
    #[error("cannot limit the memory")]
    Memory(#[source] io::Error),
    /// The serving threads could not be started.
    #[error("cannot start the threads that serve")]
    Threads(#[source] io::Error),
    /// The model was refused; the daemon has been told why.
    #[error("model refused")]
    Model(#[source] ModelError),
}

/// Why a model is refused.
#[derive(Debug, thiserror::Error)]
pub enum ModelError {
    /// The file could not be read.
    #[error("cannot read the model")]
    Read(#[source] io::Error),
    /// The descriptor is no file with bytes to read.
    #[error("expected a model in a regular file, found {0}")]
    NotAFile(String),
    /// The file's size is out of bounds.
    #[error("expected a model of 1 to {max} bytes, found {found}")]
    Size {
        /// The bound.
        max: u64,
        /// The file's size.
        found: u64,
    },
    /// Its bytes are not those that the policy names.
    #[error("model digest differs from the policy: expected sha256 `{expected}`, found `{found}`")]
    Digest {
        /// The policy's, in hex.
        expected: String,
        /// The file's, in hex.
        found: String,
    },
    /// The file is no GGUF, or one that no model has.
    #[error("model does not parse")]
    Outline(#[source] Outline),
    /// The engine refused it.
    #[error("llama.cpp refuses the model: {0}")]
    Refused(String),
    /// There is no memory for what the policy allows.
    #[error("no memory for {contexts} contexts of {tokens} tokens: lower `contexts` or `context`, or raise `memory`")]
    Memory {
        /// Contexts at once.
        contexts: u32,
        /// Tokens of each.
        tokens: u32,
    },
    /// It is no language model that can be served.
    #[error("model cannot be served: {0}")]
    Unservable(&'static str),
}

/// An error as the guest will see it; the message is cut to what a frame carries.
pub(crate) fn nn(code: NnCode, mut message: String) -> LanguageError {
    message.truncate(message.floor_char_boundary(MAX_MESSAGE));
    LanguageError::Nn(NnError { code, message })
}

/// An error and all that lies under it, on one line.
#[must_use]
pub fn chain(error: &dyn std::error::Error) -> String {
    let mut line = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        line.push_str(": ");
        line.push_str(&cause.to_string());
        source = cause.source();
    }
    line
}
