//! What a worker and a graph host say to each other over one channel, and the tensors between them.
//!
//! Runs in: worker and graph host.
//! Invariant: a channel carries one request at a time. Offsets, lengths, types and shapes from the other side are checked before use, on both sides.
//!
//! Tensor bytes lie in the channel's shared region: the worker writes inputs into its first half, the host outputs into its second.
//! Bytes are little-endian and row-major, as wasi-nn has them.

use serde::Deserialize;
use serde::Serialize;

/// The tensor types of wasi-nn 0.2.0-rc-2024-10-28.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum TensorType {
    /// IEEE 754 half precision.
    Fp16,
    /// IEEE 754 single precision.
    Fp32,
    /// IEEE 754 double precision.
    Fp64,
    /// bfloat16.
    Bf16,
    /// Unsigned byte.
    U8,
    /// 32-bit integer.
    I32,
    /// 64-bit integer.
    I64,
}

impl TensorType {
    /// Bytes of one element.
    #[must_use]
    pub fn size(self) -> u64 {
        match self {
            Self::U8 => 1,
            Self::Fp16 | Self::Bf16 => 2,
            Self::Fp32 | Self::I32 => 4,
            Self::Fp64 | Self::I64 => 8,
        }
    }

    /// The name in the wasi-nn standard.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Fp16 => "FP16",
            Self::Fp32 => "FP32",
            Self::Fp64 => "FP64",
            Self::Bf16 => "BF16",
            Self::U8 => "U8",
            Self::I32 => "I32",
            Self::I64 => "I64",
        }
    }

    /// Bytes of a tensor of this type and shape; `None` when the product does not fit 64 bits.
    ///
    /// ```
    /// use edgeguard_wire::tensor::TensorType;
    /// assert_eq!(TensorType::Fp32.bytes(&[1, 576]), Some(2304));
    /// assert_eq!(TensorType::Fp32.bytes(&[]), Some(4)); // a scalar
    /// assert_eq!(TensorType::I64.bytes(&[u32::MAX, u32::MAX, 2]), None);
    /// ```
    #[must_use]
    pub fn bytes(self, dims: &[u32]) -> Option<u64> {
        dims.iter().try_fold(self.size(), |bytes, dim| bytes.checked_mul(u64::from(*dim)))
    }
}

/// The most dimensions of a tensor.
pub const MAX_DIMS: usize = 16;

/// The most tensors in one compute, inputs or outputs.
pub const MAX_TENSORS: usize = 64;

/// Now, on the one clock that all processes of a machine have alike and that nobody sets (`CLOCK_MONOTONIC`), in nanoseconds.
#[must_use]
pub fn now_ns() -> u64 {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    // Neither is negative.
    let (seconds, rest) = (u64::try_from(now.tv_sec).unwrap_or(0), u64::try_from(now.tv_nsec).unwrap_or(0));
    seconds.saturating_mul(1_000_000_000).saturating_add(rest)
}

/// Worker to graph host: compute with these inputs.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Compute {
    /// Chosen by the worker; the reply repeats it, so that the reply to an abandoned compute is known for what it is.
    pub seq: u64,
    /// When nobody waits for it any more, on the clock of [`now_ns`]; `u64::MAX` is never. A host does not begin it after that, and ends it where its engine
    /// can be told.
    pub deadline_ns: u64,
    /// The inputs, each at most once.
    pub inputs: Vec<Placed>,
}

/// A tensor in the shared region.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Placed {
    /// Index among the model's inputs or outputs.
    pub index: u32,
    /// Its type.
    pub ty: TensorType,
    /// Its shape; empty for a scalar.
    pub dims: Vec<u32>,
    /// Where it begins in the region.
    pub offset: u64,
    /// Its length in bytes: the type's size times the shape's product.
    pub len: u64,
}

/// Graph host to worker.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub enum Reply {
    /// Done: all outputs, in the model's order.
    Computed {
        /// As in [`Compute`].
        seq: u64,
        /// The outputs, in the region's second half.
        outputs: Vec<Placed>,
        /// Time inside the engine, in nanoseconds.
        engine_ns: u64,
    },
    /// Not done.
    Failed {
        /// As in [`Compute`].
        seq: u64,
        /// Why.
        error: NnError,
    },
}

/// An error as wasi-nn sees it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("{message}")]
pub struct NnError {
    /// The standard's code.
    pub code: NnCode,
    /// What was expected and what was found, at most 1 KiB.
    pub message: String,
}

/// The error codes of wasi-nn 0.2.0-rc-2024-10-28, in its order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum NnCode {
    /// Caller module passed an invalid argument.
    InvalidArgument,
    /// Invalid encoding.
    InvalidEncoding,
    /// The operation timed out.
    Timeout,
    /// Runtime error.
    RuntimeError,
    /// Unsupported operation.
    UnsupportedOperation,
    /// Graph or tensor is too large.
    TooLarge,
    /// Graph not found.
    NotFound,
    /// The operation is insecure, or not permitted.
    Security,
    /// The operation failed for an unspecified reason.
    Unknown,
}
