//! What the daemon and a compiler say to each other.
//!
//! Runs in: daemon and compiler.
//!
//! Life of a compiler: `Confined` → (`Describe` | `Compile`) → one answer → gone.

use edgeguard_sandbox::Report;
use serde::Deserialize;
use serde::Serialize;

use crate::dialogue::Phase;
use crate::dialogue::Request;
use crate::dialogue::Row;
use crate::worker::ModuleKind;

/// Daemon to compiler.
#[derive(Debug, Serialize, Deserialize)]
pub enum ToCompile {
    /// Say which engine, version and configuration you are.
    Describe,
    /// Compile. Descriptors: the module (sealed memfd) and an empty memfd for the native code.
    Compile,
}

/// Compiler to daemon.
#[derive(Debug, Serialize, Deserialize)]
pub enum FromCompile {
    /// Confined; nothing read yet.
    Confined(Box<Report>),
    /// The engine's fingerprint: native code is good only for the same one.
    Described {
        /// SHA-256 over the engine's version and configuration.
        fingerprint: [u8; 32],
    },
    /// The native code lies in the memfd.
    Compiled {
        /// What it was made from.
        kind: ModuleKind,
        /// Its length in bytes.
        len: u64,
    },
    /// The module does not validate or does not compile.
    Failed {
        /// What the engine says, at most 4 KiB.
        reason: String,
    },
}

/// Nothing said yet.
pub const STARTING: Phase = Phase(0);
/// Confined, waiting for its one request.
pub const READY: Phase = Phase(1);
/// It has answered.
pub const DONE: Phase = Phase(2);

/// Which frame a compiler may send when.
pub const FROM_COMPILE: &[Row] = &[
    Row { name: "confined", phase: STARTING, once: true, next: READY },
    Row { name: "described", phase: READY, once: true, next: DONE },
    Row { name: "compiled", phase: READY, once: true, next: DONE },
    Row { name: "failed", phase: READY, once: true, next: DONE },
];

impl Request for FromCompile {
    const TABLE: &'static [Row] = FROM_COMPILE;

    fn row(&self) -> usize {
        match self {
            Self::Confined(_) => 0,
            Self::Described { .. } => 1,
            Self::Compiled { .. } => 2,
            Self::Failed { .. } => 3,
        }
    }
}
