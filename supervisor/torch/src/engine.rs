//! libtorch as an [`Engine`]: TorchScript models, on the processor.
//!
//! Runs in: graph host for TorchScript.
//! Invariant: every thread that libtorch ever uses exists before a seat serves: each seat's helpers are made in [`Engine::enter`].
//! Does not: compile. libtorch's own generators of code (oneDNN, the fuser) are off; a model that needs one all the same ends its host.
//!
//! TorchScript says how many tensors a method takes, and nothing of their types and shapes; a wrong one gets the interpreter's error.

use edgeguard_graph::engine::Data;
use edgeguard_graph::engine::Engine;
use edgeguard_graph::engine::Graph;
use edgeguard_graph::engine::LoadError;
use edgeguard_graph::engine::Seat;
use edgeguard_graph::engine::Tensor;
use edgeguard_wire::graph::ModelInfo;
use edgeguard_wire::graph::TensorInfo;
use edgeguard_wire::tensor::MAX_TENSORS;
use edgeguard_wire::tensor::NnCode;
use edgeguard_wire::tensor::NnError;
use edgeguard_wire::tensor::TensorType;

use crate::sys;
use crate::sys::View;

/// The engine's name in messages.
pub(crate) const NAME: &str = "pytorch";

/// The longest message that goes to a guest: the interpreter's say where in the model's own text they arose.
const MAX_MESSAGE: usize = 1024;

/// libtorch, with its threads.
#[derive(Debug)]
pub struct Torch {
    _private: (),
}

impl Torch {
    /// Sets libtorch up for computes of `threads` threads each.
    ///
    /// # Errors
    /// [`LoadError::Start`] in the library's words.
    pub fn start(_seats: usize, threads: usize) -> Result<Self, LoadError> {
        let threads = u16::try_from(threads).unwrap_or(u16::MAX);
        sys::start(threads).map_err(|reason| LoadError::Start { engine: NAME, reason })?;
        Ok(Self { _private: () })
    }
}

impl Engine for Torch {
    fn version(&self) -> String {
        format!("{NAME} {}", sys::version())
    }

    fn types(&self) -> &'static [TensorType] {
        &TYPES
    }

    fn enter(&self, _seat: Seat, work: &(dyn Fn() + Sync)) {
        // Without its helpers the first compute would make them, and the filter would end the process for that: it ends here, with words.
        if let Err(reason) = sys::warm_up() {
            edgeguard_graph::log(&format!("libtorch does not compute: {reason}"));
            return;
        }
        work();
    }

    fn load(&self, model: Vec<u8>) -> Result<Box<dyn Graph>, LoadError> {
        let model = sys::Model::load(&model).map_err(|reason| LoadError::Refused { engine: NAME, reason: short(reason) })?;
        let (inputs, outputs) = (model.inputs(), model.outputs());
        for (what, count) in [("inputs", inputs.len()), ("outputs", outputs)] {
            if count > MAX_TENSORS {
                return Err(LoadError::Unservable(format!("{count} {what}, at most {MAX_TENSORS} are served")));
            }
        }
        let open = |name: String| TensorInfo { name, ty: None, dims: None };
        let info = ModelInfo {
            inputs: inputs.into_iter().map(open).collect(),
            outputs: (0..outputs).map(|index| open(format!("output{index}"))).collect(),
        };
        Ok(Box::new(TorchGraph { info, model }))
    }
}

struct TorchGraph {
    info: ModelInfo,
    model: sys::Model,
}

impl Graph for TorchGraph {
    fn info(&self) -> &ModelInfo {
        &self.info
    }

    fn compute(&self, _seat: Seat, inputs: Vec<Tensor>) -> Result<Vec<Tensor>, NnError> {
        let views = inputs.iter().map(|tensor| View {
            ty: number(tensor.data.ty()),
            dims: tensor.dims.iter().map(|dim| i64::from(*dim)).collect(),
            bytes: sys::bytes_of(&tensor.data),
        });
        let failed = |reason: String| error(NnCode::RuntimeError, format!("{NAME}: {}", short(reason)));
        let outputs = self.model.compute(&views.collect::<Vec<_>>()).map_err(failed)?;
        let take =
            |index| outputs.get(index).map_err(|reason| error(NnCode::UnsupportedOperation, short(reason))).and_then(|view| tensor(&view));
        (0..self.info.outputs.len()).map(take).collect()
    }
}

/// In the order of `torch.cpp`.
const TYPES: [TensorType; 7] =
    [TensorType::Fp16, TensorType::Fp32, TensorType::Fp64, TensorType::Bf16, TensorType::U8, TensorType::I32, TensorType::I64];

fn number(ty: TensorType) -> i32 {
    // There are seven, and all stand in the list.
    TYPES.iter().position(|other| *other == ty).and_then(|index| i32::try_from(index).ok()).unwrap_or(-1)
}

/// Takes a tensor out of the library. What it really is counts.
fn tensor(view: &View<'_>) -> Result<Tensor, NnError> {
    macro_rules! elements {
        ($ty:ty) => {
            view.bytes.as_chunks::<{ size_of::<$ty>() }>().0.iter().map(|bytes| <$ty>::from_ne_bytes(*bytes)).collect()
        };
    }
    let ty = usize::try_from(view.ty).ok().and_then(|index| TYPES.get(index).copied());
    let data = match ty {
        Some(TensorType::Fp16) => Data::Fp16(elements!(u16)),
        Some(TensorType::Bf16) => Data::Bf16(elements!(u16)),
        Some(TensorType::Fp32) => Data::Fp32(elements!(f32)),
        Some(TensorType::Fp64) => Data::Fp64(elements!(f64)),
        Some(TensorType::U8) => Data::U8(view.bytes.to_vec()),
        Some(TensorType::I32) => Data::I32(elements!(i32)),
        Some(TensorType::I64) => Data::I64(elements!(i64)),
        None => return Err(error(NnCode::UnsupportedOperation, "an output of no type that wasi-nn has".into())),
    };
    let dims = view.dims.iter().map(|dim| u32::try_from(*dim)).collect::<Result<Vec<u32>, _>>();
    let dims = dims.map_err(|_| error(NnCode::TooLarge, "an output has a dimension beyond 32 bits".into()))?;
    Ok(Tensor { dims, data })
}

/// The first lines; what a guest gets has an end.
fn short(mut reason: String) -> String {
    reason.truncate(reason.floor_char_boundary(MAX_MESSAGE));
    reason
}

fn error(code: NnCode, message: String) -> NnError {
    NnError { code, message }
}
