//! What a model engine is to this process.
//!
//! Runs in: graph host.
//! Invariant: tensors reach a [`Graph`] only after they were checked against its [`ModelInfo`]. What an engine gives back, panics
//! included, is an answer and never the end of the process.
//! Does not: see a descriptor, a region or a peer.

use edgeguard_wire::graph::ModelInfo;
use edgeguard_wire::tensor::NnError;
use edgeguard_wire::tensor::TensorType;

/// A model engine whose threads exist, and that can load one model.
///
/// Everything that needs a system call which the lock takes away, threads above all, happens when an engine is made.
pub trait Engine: Send + Sync {
    /// Name and version, for the journal.
    fn version(&self) -> String;

    /// The tensor types that it takes and gives.
    fn types(&self) -> &'static [TensorType];

    /// Runs `work` where computes of `seat` need no hand-over between threads, and returns when `work` does. Each seat is entered
    /// by one thread at most.
    fn enter(&self, seat: Seat, work: &(dyn Fn() + Sync));

    /// Parses and prepares a model from the bytes whose digest was checked.
    ///
    /// # Errors
    /// [`LoadError`]; the engine is not used again.
    fn load(&self, model: Vec<u8>) -> Result<Box<dyn Graph>, LoadError>;

    /// As [`Engine::load`], of a model whose weights lie in a file of their own. Both digests were checked.
    ///
    /// # Errors
    /// As [`Engine::load`]; [`LoadError::Unservable`] from an engine that reads no such format.
    fn load_with_weights(&self, _model: Vec<u8>, _weights: Vec<u8>) -> Result<Box<dyn Graph>, LoadError> {
        Err(LoadError::Unservable("this engine reads no model that has its weights in a second file".into()))
    }
}

/// A model, ready to compute.
pub trait Graph: Send + Sync {
    /// Its inputs and outputs.
    fn info(&self) -> &ModelInfo;

    /// Computes all outputs, in the order of [`ModelInfo::outputs`]. `inputs` has one tensor for each of [`ModelInfo::inputs`], in that
    /// order and of a type and shape that it says.
    ///
    /// # Errors
    /// What the engine says; `RuntimeError` unless it is known better.
    fn compute(&self, seat: Seat, inputs: Vec<Tensor>) -> Result<Vec<Tensor>, NnError>;

    /// Whether computing it may take machine code that is not made yet. Only of engines whose role may make code at all.
    fn makes_code(&self) -> bool {
        false
    }

    /// Makes `seat` forget that a compute of it was cancelled. Called before each, when nobody cancels.
    fn renew(&self, _seat: Seat) {}

    /// Tells the compute of `seat` that nobody waits for it any more, and whether this engine can be told; then it ends soon, as an error. Called from
    /// another thread while that compute is under way, or about to begin, or has just ended; returns at once.
    fn cancel(&self, _seat: Seat) -> bool {
        false
    }
}

/// One of the computes that may run at once, counted from 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Seat(pub usize);

/// Why an engine could not be made, or a model not loaded.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// The engine's threads could not be started.
    #[error("cannot start {wanted} engine threads: {found} started")]
    Threads {
        /// As the assignment says.
        wanted: usize,
        /// What there is.
        found: usize,
    },
    /// The engine could not be made.
    #[error("{engine} does not start: {reason}")]
    Start {
        /// The engine's name.
        engine: &'static str,
        /// In the engine's words.
        reason: String,
    },
    /// The bytes are no model of this format.
    #[error("model does not parse: {0}")]
    Malformed(String),
    /// The engine refuses the model.
    #[error("{engine} refuses the model: {reason}")]
    Refused {
        /// The engine's name.
        engine: &'static str,
        /// In the engine's words.
        reason: String,
    },
    /// The model has an interface that wasi-nn cannot express.
    #[error("model cannot be served: {0}")]
    Unservable(String),
}

/// A tensor of this process's own: row-major, contiguous. The shape's product is the number of elements.
#[derive(Debug, Clone, PartialEq)]
pub struct Tensor {
    /// Empty for a scalar.
    pub dims: Vec<u32>,
    /// The elements.
    pub data: Data,
}

/// Elements of a tensor.
#[derive(Debug, Clone, PartialEq)]
pub enum Data {
    /// Bits of IEEE 754 half precision.
    Fp16(Vec<u16>),
    /// IEEE 754 single precision.
    Fp32(Vec<f32>),
    /// IEEE 754 double precision.
    Fp64(Vec<f64>),
    /// Bits of bfloat16.
    Bf16(Vec<u16>),
    /// Unsigned bytes.
    U8(Vec<u8>),
    /// 32-bit integers.
    I32(Vec<i32>),
    /// 64-bit integers.
    I64(Vec<i64>),
}

/// Does the same with the elements of any type.
#[macro_export]
#[doc(hidden)]
macro_rules! each_type {
    ($data:expr, $elements:ident => $body:expr) => {
        match $data {
            $crate::engine::Data::Fp16($elements) => $body,
            $crate::engine::Data::Fp32($elements) => $body,
            $crate::engine::Data::Fp64($elements) => $body,
            $crate::engine::Data::Bf16($elements) => $body,
            $crate::engine::Data::U8($elements) => $body,
            $crate::engine::Data::I32($elements) => $body,
            $crate::engine::Data::I64($elements) => $body,
        }
    };
}

impl Data {
    /// The type of the elements.
    #[must_use]
    pub fn ty(&self) -> TensorType {
        match self {
            Self::Fp16(_) => TensorType::Fp16,
            Self::Fp32(_) => TensorType::Fp32,
            Self::Fp64(_) => TensorType::Fp64,
            Self::Bf16(_) => TensorType::Bf16,
            Self::U8(_) => TensorType::U8,
            Self::I32(_) => TensorType::I32,
            Self::I64(_) => TensorType::I64,
        }
    }

    /// Number of elements.
    #[must_use]
    pub fn len(&self) -> usize {
        each_type!(self, elements => elements.len())
    }

    /// Whether there are none: a dimension of the shape is zero.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// `len` elements, all zero.
    #[must_use]
    pub fn zeroed(ty: TensorType, len: usize) -> Self {
        match ty {
            TensorType::Fp16 => Self::Fp16(vec![0; len]),
            TensorType::Fp32 => Self::Fp32(vec![0.0; len]),
            TensorType::Fp64 => Self::Fp64(vec![0.0; len]),
            TensorType::Bf16 => Self::Bf16(vec![0; len]),
            TensorType::U8 => Self::U8(vec![0; len]),
            TensorType::I32 => Self::I32(vec![0; len]),
            TensorType::I64 => Self::I64(vec![0; len]),
        }
    }
}
