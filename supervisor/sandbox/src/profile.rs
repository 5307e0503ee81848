//! Who is being confined, and what its module was granted: the input from which the filters are derived.
//!
//! Runs in: worker, graph host, compiler.

use serde::Deserialize;
use serde::Serialize;

/// Which child process this is. Each has tables of its own in [`crate::rules`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Role {
    /// Wasm in, native code out, once.
    Compile,
    /// One module and its instances.
    Worker,
    /// One model, on the engine that is built in.
    Graph,
    /// One model, on ONNX Runtime, whose library is mapped before the process is hardened.
    OnnxRuntime,
    /// One language model.
    Language,
    /// One TorchScript model, on libtorch, which the system's loader maps before the first line.
    Torch,
}

impl Role {
    /// The name in logs, reports and errors.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Compile => "compile",
            Self::Worker => "worker",
            Self::Graph => "graph",
            Self::OnnxRuntime => "onnx-runtime",
            Self::Language => "language",
            Self::Torch => "torch",
        }
    }
}

/// What the module may do below a granted directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Access {
    /// Read files and list directories.
    Read,
    /// Also write, create, rename and remove.
    ReadWrite,
}

/// How much of the file system interface the locked process keeps.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum FilesystemUse {
    /// No system call that takes a path.
    None,
    /// Open for reading, list, look at metadata.
    ReadOnly,
    /// Everything that wasi:filesystem has.
    ReadWrite,
}

impl FilesystemUse {
    /// The least that serves these grants.
    pub fn of(grants: impl IntoIterator<Item = Access>) -> Self {
        grants.into_iter().map(Self::from).max().unwrap_or(Self::None)
    }
}

impl From<Access> for FilesystemUse {
    fn from(access: Access) -> Self {
        match access {
            Access::Read => Self::ReadOnly,
            Access::ReadWrite => Self::ReadWrite,
        }
    }
}

/// What [`crate::Restricted::confine`] derives the final filter from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Profile {
    /// Must be the role that the process was hardened as.
    pub role: Role,
    /// Must be no wider than the grants; see [`FilesystemUse::of`].
    pub filesystem: FilesystemUse,
}
