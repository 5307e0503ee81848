//! What can go wrong in a graph host, by fault.
//!
//! Runs in: graph host.

use std::io;

use edgeguard_sandbox::Unconfinable;
use edgeguard_wire::ChannelError;
use edgeguard_wire::tensor::NnCode;
use edgeguard_wire::tensor::NnError;

use crate::engine::LoadError;

/// The longest message in an [`NnError`], in bytes.
const MAX_MESSAGE: usize = 1024;

/// Why a graph host ends.
#[derive(Debug, thiserror::Error)]
pub enum GraphError {
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
    /// The engine's library was refused; the daemon has been told why.
    #[error("engine's library refused")]
    Library(#[source] LibraryError),
    /// The cap on memory could not be set.
    #[error("cannot limit memory")]
    Memory(#[source] io::Error),
    /// The engine could not be started.
    #[error("cannot start the engine")]
    Engine(#[source] LoadError),
    /// The serving threads could not be started.
    #[error("cannot start the threads that serve")]
    Threads(#[source] io::Error),
    /// The model was refused; the daemon has been told why.
    #[error("model refused")]
    Model(#[source] ModelError),
}

/// Why an engine's library is refused.
#[derive(Debug, thiserror::Error)]
pub enum LibraryError {
    /// The file could not be read.
    #[error("cannot read the library")]
    Read(#[source] io::Error),
    /// Its bytes are not those that the operator names.
    #[error("library digest differs from the host's file: expected sha256 `{expected}`, found `{found}`")]
    Digest {
        /// The operator's, in hex.
        expected: String,
        /// The file's, in hex.
        found: String,
    },
    /// It is no library, or one that this program cannot use.
    #[error("cannot use the library: {0}")]
    Load(String),
}

/// A file of a model.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// The model, or of formats with two files its description.
    Model,
    /// The weights, of formats that keep them apart.
    Weights,
}

impl Part {
    fn one(self) -> &'static str {
        match self {
            Self::Model => "a model",
            Self::Weights => "weights",
        }
    }
}

impl std::fmt::Display for Part {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str(match self {
            Self::Model => "model",
            Self::Weights => "weights",
        })
    }
}

/// Why a model is refused.
#[derive(Debug, thiserror::Error)]
pub enum ModelError {
    /// The file could not be read.
    #[error("cannot read the {0}")]
    Read(Part, #[source] io::Error),
    /// The descriptor is no file with bytes to read.
    #[error("expected {one} in a regular file, found {1}", one = .0.one())]
    NotAFile(Part, String),
    /// The file's size is out of bounds.
    #[error("expected {one} of 1 to {max} bytes, found {found}", one = .part.one())]
    Size {
        /// Which file.
        part: Part,
        /// The bound.
        max: u64,
        /// The file's size.
        found: u64,
    },
    /// Its bytes are not those that the policy names.
    #[error("{part} digest differs from the policy: expected sha256 `{expected}`, found `{found}`")]
    Digest {
        /// Which file.
        part: Part,
        /// The policy's, in hex.
        expected: String,
        /// The file's, in hex.
        found: String,
    },
    /// The engine refused it.
    #[error("cannot load the model")]
    Load(#[from] LoadError),
    /// The engine panicked.
    #[error("engine panicked while it loaded the model: {0}")]
    Panic(String),
}

/// An error as the guest will see it; the message is cut to what a frame carries.
pub(crate) fn nn_error(code: NnCode, mut message: String) -> NnError {
    message.truncate(message.floor_char_boundary(MAX_MESSAGE));
    NnError { code, message }
}

/// What a panic said.
pub(crate) fn panic_message(payload: &(dyn std::any::Any + Send)) -> String {
    let text = payload.downcast_ref::<String>().map(String::as_str).or_else(|| payload.downcast_ref::<&str>().copied());
    text.unwrap_or("no message").to_owned()
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
