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
    /// One model, on OpenVINO, whose libraries are mapped before the process is hardened, and which makes machine code of a model.
    #[serde(rename = "openvino")]
    OpenVino,
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
            Self::OpenVino => "openvino",
        }
    }
}

impl Role {
    /// Whether its engine makes machine code of a model, which takes memory that is written and then executed. Such a process parses its model in a phase of
    /// its own, [`crate::rules::stage2`], and is locked as far as the others by [`crate::Confined::seal`] once the model is loaded.
    pub const fn makes_code(self) -> bool {
        matches!(self, Self::OpenVino)
    }

    /// What it may do that other locked processes may not, in words for reports.
    pub fn exceptions(self) -> Vec<String> {
        let exceptions: &[&str] = if self.makes_code() {
            &["makes machine code", "starts threads and reads the folder of its libraries until its model is loaded"]
        } else {
            &[]
        };
        exceptions.iter().map(|exception| (*exception).to_owned()).collect()
    }
}

/// What remains to a process that makes code, once its model is loaded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sealed {
    /// It makes no more code.
    NoCode,
    /// It goes on to make code: a model with free dimensions has some made for each new shape.
    MakesCode,
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
