//! rten: ONNX on the processor, in pure Rust.
//!
//! Runs in: graph host. Started before the lock, because its threads are; used after it.
//! Invariant: every thread that this engine ever uses has run something before [`Rten::start`] returns.
//! Does not: open files. Models with weights in other files are refused.
//!
//! Each seat has a pool of its own, and its serving thread is a member of it: a compute then starts without waking anybody, and
//! computes of different seats share no lock but the engine's cached plan, which is held for a look-up.
//! The engine knows neither 64-bit integers nor booleans and takes 32-bit integers in their place. What the model declares is
//! what a guest sees: I64 in and out, with out-of-range values refused instead of saturated, and booleans as U8 of 0 and 1.

use std::collections::BTreeMap;
use std::sync::Arc;

use edgeguard_wire::graph::ModelInfo;
use edgeguard_wire::graph::TensorInfo;
use edgeguard_wire::tensor::MAX_DIMS;
use edgeguard_wire::tensor::MAX_TENSORS;
use edgeguard_wire::tensor::NnCode;
use edgeguard_wire::tensor::NnError;
use edgeguard_wire::tensor::TensorType;
use rten::DataType;
use rten::Dimension;
use rten::Model;
use rten::NodeId;
use rten::NodeInfo;
use rten::RunOptions;
use rten::ThreadPool;
use rten::Value;
use rten::ValueOrView;
use rten::ValueType;
use rten_onnx::onnx;
use rten_tensor::Layout as _;
use rten_tensor::Tensor as RtenTensor;

use super::onnx::declared_types;
use crate::engine::Data;
use crate::engine::Engine;
use crate::engine::Graph;
use crate::engine::LoadError;
use crate::engine::Seat;
use crate::engine::Tensor;
use crate::error::nn_error;

/// As in the workspace's `Cargo.toml`; a test compares.
const VERSION: &str = "rten 0.27.0";

/// The longest name of an input or output.
const MAX_NAME: usize = 256;

/// The engine: its thread pools.
#[derive(Debug)]
pub struct Rten {
    seats: Vec<Arc<ThreadPool>>,
}

impl Rten {
    /// Starts `threads` threads for each of `seats`, and the engine's global pool, which it insists on having.
    ///
    /// # Errors
    /// [`LoadError::Threads`] when one did not start.
    pub fn start(seats: usize, threads: usize) -> Result<Self, LoadError> {
        warm(rten::thread_pool(), None)?;
        let seats = (0..seats)
            .map(|_| {
                let pool = ThreadPool::with_num_threads(threads);
                warm(&pool, Some(threads))?;
                Ok(Arc::new(pool))
            })
            .collect::<Result<_, LoadError>>()?;
        Ok(Self { seats })
    }
}

impl Engine for Rten {
    fn version(&self) -> String {
        VERSION.into()
    }

    fn types(&self) -> &'static [TensorType] {
        &[TensorType::Fp32, TensorType::I32, TensorType::I64, TensorType::U8]
    }

    fn enter(&self, seat: Seat, work: &(dyn Fn() + Sync)) {
        match self.seats.get(seat.0) {
            Some(pool) => pool.run(work),
            None => work(),
        }
    }

    fn load(&self, model: Vec<u8>) -> Result<Box<dyn Graph>, LoadError> {
        let declared = declared_types(&model)?;
        let model = Model::load(model).map_err(|error| LoadError::Refused { engine: "rten", reason: error.to_string() })?;
        let (inputs, input_info) = slots("input", model.input_ids(), &model, &declared)?;
        let (outputs, output_info) = slots("output", model.output_ids(), &model, &declared)?;
        let outputs_ids = outputs.iter().map(|slot| slot.node).collect();
        let info = ModelInfo { inputs: input_info, outputs: output_info };
        Ok(Box::new(RtenGraph { model, info, inputs, outputs, outputs_ids, seats: self.seats.clone() }))
    }
}

/// A loaded model.
struct RtenGraph {
    model: Model,
    info: ModelInfo,
    inputs: Vec<Slot>,
    outputs: Vec<Slot>,
    outputs_ids: Vec<NodeId>,
    seats: Vec<Arc<ThreadPool>>,
}

/// An input or output: its node, and what the model declares where the engine has something narrower.
#[derive(Debug, Clone, Copy)]
struct Slot {
    node: NodeId,
    widened: Option<Widened>,
}

/// Declared types that the engine replaces by 32-bit integers.
#[derive(Debug, Clone, Copy)]
enum Widened {
    I64,
    Bool,
}

impl Graph for RtenGraph {
    fn info(&self) -> &ModelInfo {
        &self.info
    }

    fn compute(&self, seat: Seat, inputs: Vec<Tensor>) -> Result<Vec<Tensor>, NnError> {
        let inputs = self
            .inputs
            .iter()
            .zip(inputs)
            .enumerate()
            .map(|(index, (slot, tensor))| Ok((slot.node, ValueOrView::Value(to_value(index, tensor, slot.widened)?))))
            .collect::<Result<Vec<_>, NnError>>()?;
        let options = RunOptions::default().with_thread_pool(self.seats.get(seat.0).cloned());
        let outputs = self
            .model
            .run(inputs, &self.outputs_ids, Some(options))
            .map_err(|error| nn_error(NnCode::RuntimeError, format!("rten: {error}")))?;
        outputs.into_iter().zip(&self.outputs).enumerate().map(|(index, (value, slot))| from_value(index, value, slot.widened)).collect()
    }
}

/// Waits until every thread of `pool` has run something, so that none has its beginning still before it at the lock.
fn warm(pool: &ThreadPool, threads: Option<usize>) -> Result<(), LoadError> {
    let found = pool.run(|| match rayon::current_thread_index() {
        // Each thread also takes its first memory, for which the allocator makes an arena.
        Some(_) => rayon::broadcast(|_| std::hint::black_box(vec![0u8; 64]).len()).len(),
        None => 0,
    });
    match threads {
        Some(wanted) if wanted != found => Err(LoadError::Threads { wanted, found }),
        None if found == 0 => Err(LoadError::Threads { wanted: 1, found }),
        _ => Ok(()),
    }
}

/// Describes the inputs or the outputs, or says why wasi-nn cannot have them.
fn slots(
    what: &str,
    nodes: &[NodeId],
    model: &Model,
    declared: &BTreeMap<String, onnx::DataType>,
) -> Result<(Vec<Slot>, Vec<TensorInfo>), LoadError> {
    if nodes.len() > MAX_TENSORS {
        return Err(LoadError::Unservable(format!("{} {what}s, at most {MAX_TENSORS} are served", nodes.len())));
    }
    let mut slots = Vec::with_capacity(nodes.len());
    let mut infos = Vec::with_capacity(nodes.len());
    for (index, node) in nodes.iter().enumerate() {
        let refuse = |why: String| LoadError::Unservable(format!("{what} {index} {why}"));
        let info = model.node_info(*node).ok_or_else(|| refuse("has no description".into()))?;
        let name = info.name().unwrap_or_default();
        if name.len() > MAX_NAME {
            return Err(refuse(format!("has a name of {} bytes, expected at most {MAX_NAME}", name.len())));
        }
        let refuse = |why: String| refuse(format!("`{}` {why}", name.escape_debug()));
        let (ty, widened) = served_type(&info, declared.get(name).copied()).map_err(refuse)?;
        let dims = info.shape().map(served_shape).transpose().map_err(refuse)?;
        slots.push(Slot { node: *node, widened });
        infos.push(TensorInfo { name: name.to_owned(), ty, dims });
    }
    Ok((slots, infos))
}

/// The type that a guest sees.
fn served_type(node: &NodeInfo<'_>, declared: Option<onnx::DataType>) -> Result<(Option<TensorType>, Option<Widened>), String> {
    match (node.dtype(), declared) {
        (None | Some(ValueType::Tensor(DataType::Int32)), Some(onnx::DataType::INT64)) => Ok((Some(TensorType::I64), Some(Widened::I64))),
        (None | Some(ValueType::Tensor(DataType::Int32)), Some(onnx::DataType::BOOL)) => Ok((Some(TensorType::U8), Some(Widened::Bool))),
        (Some(ValueType::Tensor(DataType::Float)), _) => Ok((Some(TensorType::Fp32), None)),
        (Some(ValueType::Tensor(DataType::Int32)), _) => Ok((Some(TensorType::I32), None)),
        (Some(ValueType::Tensor(DataType::UInt8)), _) => Ok((Some(TensorType::U8), None)),
        (None, None) => Ok((None, None)),
        (Some(other), _) => Err(format!("is `{other}`, for which wasi-nn has no type")),
        (None, Some(other)) => Err(format!("is `{other}`, which rten does not have")),
    }
}

fn served_shape(shape: Vec<Dimension>) -> Result<Vec<Option<u32>>, String> {
    if shape.len() > MAX_DIMS {
        return Err(format!("has {} dimensions, expected at most {MAX_DIMS}", shape.len()));
    }
    shape
        .into_iter()
        .map(|dim| match dim {
            Dimension::Fixed(size) => u32::try_from(size).map(Some).map_err(|_| format!("has a dimension of {size}, which is too large")),
            Dimension::Symbolic(_) => Ok(None),
        })
        .collect()
}

/// Hands a tensor to the engine. `index` is for the error.
fn to_value(index: usize, tensor: Tensor, widened: Option<Widened>) -> Result<Value, NnError> {
    let shape: Vec<usize> = tensor.dims.iter().map(|dim| *dim as usize).collect();
    match (tensor.data, widened) {
        (Data::Fp32(data), _) => value(&shape, data),
        (Data::I32(data), _) => value(&shape, data),
        (Data::U8(data), Some(Widened::Bool)) => value(&shape, data.into_iter().map(|byte| i32::from(byte != 0)).collect::<Vec<i32>>()),
        (Data::U8(data), _) => value(&shape, data),
        (Data::I64(data), _) => value(&shape, narrow(index, &data)?),
        (other, _) => Err(nn_error(NnCode::UnsupportedOperation, format!("input {index}: rten does not take {}", other.ty().name()))),
    }
}

fn narrow(index: usize, data: &[i64]) -> Result<Vec<i32>, NnError> {
    let mut narrowed = Vec::with_capacity(data.len());
    for (position, element) in data.iter().enumerate() {
        narrowed.push(i32::try_from(*element).map_err(|_| {
            let message = format!("input {index}: element {position} is {element}, and rten computes with 32-bit integers");
            nn_error(NnCode::InvalidArgument, message)
        })?);
    }
    Ok(narrowed)
}

fn value<T>(shape: &[usize], data: Vec<T>) -> Result<Value, NnError>
where
    Value: From<RtenTensor<T>>,
{
    Value::from_shape(shape, data).map_err(|error| nn_error(NnCode::InvalidArgument, error.to_string()))
}

/// Takes a tensor from the engine. What it really is counts, not what the model declared.
fn from_value(index: usize, value: Value, widened: Option<Widened>) -> Result<Tensor, NnError> {
    let too_large = |_| nn_error(NnCode::TooLarge, format!("output {index} has a dimension beyond 32 bits"));
    let dims = value.shape().iter().map(|dim| u32::try_from(*dim)).collect::<Result<Vec<u32>, _>>().map_err(too_large)?;
    let data = match (value, widened) {
        (Value::FloatTensor(tensor), _) => Data::Fp32(tensor.into_data()),
        (Value::UInt8Tensor(tensor), _) => Data::U8(tensor.into_data()),
        (Value::Int32Tensor(tensor), None) => Data::I32(tensor.into_data()),
        (Value::Int32Tensor(tensor), Some(Widened::I64)) => Data::I64(tensor.into_data().into_iter().map(i64::from).collect()),
        (Value::Int32Tensor(tensor), Some(Widened::Bool)) => {
            Data::U8(tensor.into_data().into_iter().map(|bit| u8::from(bit != 0)).collect())
        }
        (other, _) => {
            let message = format!("output {index} is `{}`, for which wasi-nn has no type", other.dtype());
            return Err(nn_error(NnCode::UnsupportedOperation, message));
        }
    };
    Ok(Tensor { dims, data })
}

#[cfg(test)]
mod tests {
    use super::VERSION;

    #[test]
    fn the_version_is_the_one_that_is_built_in() {
        let lock = include_str!("../../../../Cargo.lock");
        let (name, version) = VERSION.split_once(' ').unwrap_or_default();
        assert!(lock.contains(&format!("name = \"{name}\"\nversion = \"{version}\"\n")), "`{VERSION}` is not in `Cargo.lock`");
    }
}
