//! What the daemon and a graph host say to each other.
//!
//! Runs in: daemon and graph host.
//!
//! Life of a graph host: (`Library` or `Libraries`, for engines that are one) → (`Load`) → `Confined` → (`Run`) → `Loaded` or `Failed` → any number of (`Channel`).
//! It is confined before it has read a byte of the model.

use edgeguard_sandbox::Report;
use serde::Deserialize;
use serde::Serialize;

use crate::dialogue::Phase;
use crate::dialogue::Request;
use crate::dialogue::Row;
use crate::language::Bounds;
use crate::language::LanguageModel;
use crate::tensor::TensorType;

/// Daemon to graph host.
#[derive(Debug, Serialize, Deserialize)]
pub enum ToGraph {
    /// The first word to a host whose engine is a shared library, before it is hardened. Descriptor: the library, opened for reading.
    Library {
        /// The digest that the operator pins.
        sha256: [u8; 32],
    },
    /// The same for an engine that is several libraries in one folder. Descriptors: the libraries, opened for reading, in the order of `files`.
    Libraries {
        /// The folder, an absolute path.
        folder: String,
        /// Each library's name in it, and the digest that the operator pins.
        files: Vec<(String, [u8; 32])>,
    },
    /// Host this model. Descriptors: the model file, and where [`Load::weights`] has a digest the weights' file, both opened for reading.
    Load(Box<Load>),
    /// The daemon looked at the process and found it confined: the model may be parsed.
    Run,
    /// Serve one more peer. Descriptors: the socket and the tensor region.
    Channel {
        /// Length of the region in bytes.
        region: u64,
    },
}

/// The model, and how it is to be run.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Load {
    /// The digest the policy names; checked before a byte is parsed.
    pub sha256: [u8; 32],
    /// The same of the weights, of formats that keep them in a second file.
    pub weights: Option<[u8; 32]>,
    /// The model's format.
    pub encoding: Encoding,
    /// Where it runs.
    pub target: Target,
    /// What runs it.
    pub engine: Engine,
    /// Computes at once: threads that serve channels.
    pub computes: u32,
    /// Threads of the engine for one compute.
    pub threads: u32,
    /// What a language model's contexts may cost; for other models nothing.
    pub language: Option<Bounds>,
    /// The most memory for model and computes, in bytes (`RLIMIT_DATA`); without it, what the machine has.
    pub memory: Option<u64>,
    /// The Landlock ABI below which the host must refuse.
    pub landlock_floor: u32,
}

/// Model formats, as wasi-nn names them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Encoding {
    /// ONNX.
    Onnx,
    /// A language model in GGUF, which wasi-nn calls `ggml`.
    Gguf,
    /// TorchScript, which wasi-nn calls `pytorch`.
    PyTorch,
    /// OpenVINO's own (IR): a description in XML, and the weights in a second file.
    OpenVino,
}

/// What runs a model. One engine, one kind of process: nothing of another engine is mapped beside it unless it is built into the same program.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Engine {
    /// ONNX, in Rust, always built in.
    Rten,
    /// ONNX, by a shared library that the operator names.
    OnnxRuntime,
    /// GGUF.
    LlamaCpp,
    /// TorchScript, by libtorch; only in builds that ask for it.
    PyTorch,
    /// ONNX and OpenVINO's own format, by a folder of shared libraries that the operator names; it makes machine code of a model.
    OpenVino,
}

/// Where a graph runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Target {
    /// The processor.
    Cpu,
}

/// Graph host to daemon.
#[derive(Debug, Serialize, Deserialize)]
pub enum FromGraph {
    /// The engine's library is refused, before anything else was done; the host exits.
    Unusable {
        /// What was expected and what was found.
        reason: String,
    },
    /// Confined; nothing of the model read yet.
    Confined(Box<Report>),
    /// The model is ready to compute.
    Loaded(Loaded),
    /// The model is refused; the host exits.
    Failed {
        /// Which step failed, what was expected and what was found.
        reason: String,
    },
}

/// A model that is ready.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Loaded {
    /// Its inputs and outputs.
    pub model: ModelInfo,
    /// What a language host says besides; `None` from all others.
    pub language: Option<LanguageModel>,
    /// The engine that runs it, with its version.
    pub engine: String,
    /// Reading, checking and parsing, in nanoseconds.
    pub load_ns: u64,
}

/// A model's inputs and outputs, in the model's own order.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ModelInfo {
    /// What `set-input` takes.
    pub inputs: Vec<TensorInfo>,
    /// What `get-output` gives.
    pub outputs: Vec<TensorInfo>,
}

/// One input or output.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TensorInfo {
    /// Its name in the model, at most 256 bytes.
    pub name: String,
    /// Its type, where the model says.
    pub ty: Option<TensorType>,
    /// Its shape, where the model says; `None` for a dimension that is free.
    pub dims: Option<Vec<Option<u32>>>,
}

/// Nothing said yet.
pub const STARTING: Phase = Phase(0);
/// Confined, loading.
pub const LOADING: Phase = Phase(1);
/// Serving.
pub const SERVING: Phase = Phase(2);

/// Which frame a graph host may send when. A host that cannot confine itself exits without a word; its log says why.
pub const FROM_GRAPH: &[Row] = &[
    Row { name: "unusable", phase: STARTING, once: true, next: STARTING },
    Row { name: "confined", phase: STARTING, once: true, next: LOADING },
    Row { name: "loaded", phase: LOADING, once: true, next: SERVING },
    Row { name: "failed", phase: LOADING, once: true, next: LOADING },
];

impl Request for FromGraph {
    const TABLE: &'static [Row] = FROM_GRAPH;

    fn row(&self) -> usize {
        match self {
            Self::Unusable { .. } => 0,
            Self::Confined(_) => 1,
            Self::Loaded(_) => 2,
            Self::Failed { .. } => 3,
        }
    }
}
