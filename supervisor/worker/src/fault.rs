//! Why a worker gives up.
//!
//! Runs in: worker. None of these is a guest's doing: what a guest does ends its invocation, not the process.

use std::error::Error;
use std::io;
use std::process::ExitCode;

use edgeguard_sandbox::Unconfinable;
use edgeguard_wire::ChannelError;

/// Ends the process. The text goes to the log; the daemon sees the exit code.
#[derive(Debug, thiserror::Error)]
pub enum Fault {
    /// Not started by the daemon.
    #[error("expected one argument, the process id of `edgeguardd`; this program is started by it")]
    Usage,
    /// The host cannot confine, or the launcher made a mistake.
    #[error("cannot confine this process")]
    Unconfinable(#[from] Unconfinable),
    /// The control socket could not be taken.
    #[error("cannot take the control socket")]
    Control(#[source] io::Error),
    /// The daemon's channel failed, or what came over it does not parse.
    #[error("the daemon's channel failed")]
    Channel(#[from] ChannelError),
    /// The daemon said something that does not belong here.
    #[error("expected {expected}, the daemon sent {found}")]
    OutOfPhase {
        /// What may come now.
        expected: &'static str,
        /// What came.
        found: &'static str,
    },
    /// The assignment cannot be put in force.
    #[error("the assignment is refused")]
    Refused(#[from] Refusal),
    /// The kernel gives no thread.
    #[error("cannot start a thread")]
    Thread(#[source] io::Error),
}

impl Fault {
    /// 4: the host cannot confine. 2: anything else.
    #[must_use]
    pub fn exit_code(&self) -> ExitCode {
        ExitCode::from(match self {
            Self::Unconfinable(_) => 4,
            _ => 2,
        })
    }
}

/// Why an assignment cannot be put in force. The daemon gets the text.
#[derive(Debug, thiserror::Error)]
pub enum Refusal {
    /// The frame's descriptors are not those that the assignment needs.
    #[error("expected {expected} descriptors beside the assignment, got {found}")]
    Descriptors {
        /// By [`edgeguard_wire::worker::Assignment::descriptors`].
        expected: usize,
        /// Beside the frame.
        found: usize,
    },
    /// A limit that this worker cannot keep.
    #[error("expected {limit} between {least} and {most}, got {found}")]
    Limit {
        /// Its policy key.
        limit: &'static str,
        /// The least that is possible.
        least: u64,
        /// The most that is possible.
        most: u64,
        /// What the assignment has.
        found: u64,
    },
    /// A descriptor is not what it should be.
    #[error("cannot use the {what}")]
    Descriptor {
        /// Which.
        what: &'static str,
        /// What the kernel said.
        #[source]
        source: io::Error,
    },
    /// The native code cannot be loaded.
    #[error("cannot load the module")]
    Load(#[from] edgeguard_engine::LoadError),
    /// The engine cannot be made, or the module cannot be linked: it wants an import that is not WASI or wasi-nn.
    #[error("cannot {step}: {reason}")]
    Engine {
        /// What was being done.
        step: &'static str,
        /// The engine's words, bounded and escaped.
        reason: String,
    },
    /// A granted directory cannot be opened.
    #[error("cannot open the granted directory `{0}`")]
    Directory(String, #[source] io::Error),
    /// The kernel did not give what a guest thread needs.
    #[error("cannot set up a guest thread")]
    Thread(#[source] io::Error),
    /// The host cannot confine.
    #[error("cannot confine this process")]
    Unconfinable(#[from] Unconfinable),
}

impl Refusal {
    /// For an error of the engine.
    pub(crate) fn engine(step: &'static str) -> impl FnOnce(wasmtime::Error) -> Self {
        move |error| Self::Engine { step, reason: edgeguard_engine::describe(&error) }
    }
}

/// The error and its causes on one line, bounded, control characters escaped.
#[must_use]
pub(crate) fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    edgeguard_engine::bounded(&text)
}
