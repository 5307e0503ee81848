//! `wasi:nn@0.2.0-rc-2024-10-28`: wasi-nn for components.
//!
//! Runs in: worker, on guest threads.
//! Invariant: tensors that a component holds count against its memory limit, for they lie in the host.

use edgeguard_audit::CallId;
use edgeguard_audit::Outcome;
use edgeguard_audit::call_id;
use edgeguard_wire::tensor::NnCode;
use edgeguard_wire::tensor::NnError;
use edgeguard_wire::worker::Limit;
use wasmtime::Result;
use wasmtime::component::HasSelf;
use wasmtime::component::Linker;
use wasmtime::component::Resource;

use self::bindings::wasi::nn::errors;
use self::bindings::wasi::nn::graph;
use self::bindings::wasi::nn::inference;
use self::bindings::wasi::nn::tensor;
use crate::guest::Guest;
use crate::limits::Stop;
use crate::nn::Failure;
use crate::nn::Nn;
use crate::nn::Output;
use crate::nn::error;
use crate::record::Pending;

mod bindings {
    #![allow(missing_docs, reason = "generated from the standard's own text, which is its documentation")]
    wasmtime::component::bindgen!({
        path: "../../guest-sdk/wit/wasi-nn.wit",
        world: "wasi:nn/ml",
        imports: { default: trappable },
        with: {
            "wasi:nn/tensor.tensor": super::Tensor,
            "wasi:nn/graph.graph": super::Graph,
            "wasi:nn/inference.graph-execution-context": super::Context,
            "wasi:nn/errors.error": super::Error,
        },
    });
}

/// A tensor that a component holds.
pub struct Tensor {
    dims: Vec<u32>,
    ty: tensor::TensorType,
    data: Vec<u8>,
}

/// A granted graph.
pub struct Graph(usize);

/// An execution context, by its number in [`Nn`].
pub struct Context(usize);

/// An error, for the guest to ask about.
pub struct Error(NnError);

/// Adds the four interfaces.
pub fn add_to_linker(linker: &mut Linker<Guest>) -> Result<()> {
    tensor::add_to_linker::<_, HasSelf<Guest>>(linker, |guest| guest)?;
    errors::add_to_linker::<_, HasSelf<Guest>>(linker, |guest| guest)?;
    graph::add_to_linker::<_, HasSelf<Guest>>(linker, |guest| guest)?;
    inference::add_to_linker::<_, HasSelf<Guest>>(linker, |guest| guest)
}

/// A call begins: its number is looked up by name, once.
fn begin(interface: &str, function: &str) -> Result<Pending> {
    number(interface, function).map(Pending::begin)
}

/// Records that the guest gave a handle up.
fn dropped(interface: &str, function: &str, handle: u32) -> Result<()> {
    let mut pending = begin(interface, function)?;
    pending.handle = handle;
    pending.end(Outcome::Ok, 0);
    Ok(())
}

fn number(interface: &str, function: &str) -> Result<CallId> {
    call_id(interface, function).ok_or_else(|| wasmtime::Error::msg(format!("the call `{interface}.{function}` has no number")))
}

impl Guest {
    /// Ends a call with what the guest gets, or with the guest's end.
    fn answer<T: 'static>(
        &mut self,
        pending: Pending,
        answer: std::result::Result<T, Failure>,
    ) -> Result<std::result::Result<T, Resource<Error>>> {
        match answer {
            Ok(value) => {
                pending.end(Outcome::Ok, 0);
                Ok(Ok(value))
            }
            Err(Failure::Nn(error)) => {
                let denied = matches!(error.code, NnCode::Security | NnCode::NotFound);
                pending.end(if denied { Outcome::Denied } else { Outcome::Error }, errno(error.code));
                Ok(Err(self.table().push(Error(error))?))
            }
            Err(Failure::Ending(_) | Failure::Denied(_)) => {
                // What only language models do, and these functions refuse them.
                let error = error(NnCode::UnsupportedOperation, "language models are used by another interface");
                pending.end(Outcome::Error, errno(error.code));
                Ok(Err(self.table().push(Error(error))?))
            }
            Err(Failure::Stop(stop)) => {
                pending.end(Outcome::Limit, 0);
                Err(stop.into())
            }
        }
    }

    /// Takes a tensor into the host's memory, for as long as it lives.
    fn hold(&mut self, tensor: Tensor) -> Result<Resource<Tensor>> {
        self.tensor_bytes = self.tensor_bytes.saturating_add(tensor.weight());
        if self.tensor_bytes > self.budget.host_memory() {
            return Err(Stop(Limit::Memory).into());
        }
        Ok(self.table().push(tensor)?)
    }
}

impl Tensor {
    /// Bytes that the host holds for it.
    fn weight(&self) -> u64 {
        (self.data.len() as u64).saturating_add(self.dims.len() as u64 * 4)
    }
}

impl tensor::Host for Guest {}

impl tensor::HostTensor for Guest {
    fn new(&mut self, dims: Vec<u32>, ty: tensor::TensorType, data: Vec<u8>) -> Result<Resource<Tensor>> {
        let mut pending = begin("wasi:nn/tensor", "[constructor]tensor")?;
        pending.n_in = u32::try_from(data.len()).unwrap_or(u32::MAX);
        let held = self.hold(Tensor { dims, ty, data })?;
        pending.handle = held.rep();
        pending.end(Outcome::Ok, 0);
        Ok(held)
    }

    fn dimensions(&mut self, this: Resource<Tensor>) -> Result<Vec<u32>> {
        let mut pending = begin("wasi:nn/tensor", "[method]tensor.dimensions")?;
        pending.handle = this.rep();
        let dims = self.table().get(&this)?.dims.clone();
        pending.end(Outcome::Ok, 0);
        Ok(dims)
    }

    fn ty(&mut self, this: Resource<Tensor>) -> Result<tensor::TensorType> {
        let mut pending = begin("wasi:nn/tensor", "[method]tensor.ty")?;
        pending.handle = this.rep();
        let ty = self.table().get(&this)?.ty;
        pending.end(Outcome::Ok, 0);
        Ok(ty)
    }

    fn data(&mut self, this: Resource<Tensor>) -> Result<Vec<u8>> {
        let mut pending = begin("wasi:nn/tensor", "[method]tensor.data")?;
        pending.handle = this.rep();
        let data = self.table().get(&this)?.data.clone();
        pending.n_out = u32::try_from(data.len()).unwrap_or(u32::MAX);
        pending.end(Outcome::Ok, 0);
        Ok(data)
    }

    fn drop(&mut self, this: Resource<Tensor>) -> Result<()> {
        dropped("wasi:nn/tensor", "[resource-drop]tensor", this.rep())?;
        let tensor = self.table().delete(this)?;
        self.tensor_bytes = self.tensor_bytes.saturating_sub(tensor.weight());
        Ok(())
    }
}

impl graph::Host for Guest {
    fn load(
        &mut self,
        builders: Vec<Vec<u8>>,
        _: graph::GraphEncoding,
        _: graph::ExecutionTarget,
    ) -> Result<std::result::Result<Resource<Graph>, Resource<Error>>> {
        let mut pending = begin("wasi:nn/graph", "load")?;
        pending.n_in = u32::try_from(builders.iter().map(Vec::len).sum::<usize>()).unwrap_or(u32::MAX);
        self.answer(pending, Err(error(NnCode::Security, "models are loaded by name").into()))
    }

    fn load_by_name(&mut self, name: String) -> Result<std::result::Result<Resource<Graph>, Resource<Error>>> {
        let mut pending = begin("wasi:nn/graph", "load-by-name")?;
        pending.text(name.as_bytes());
        match self.nn.graph(name.as_bytes()) {
            Ok(index) => {
                pending.rule = Nn::rule(index);
                let graph = self.table().push(Graph(index))?;
                pending.handle = graph.rep();
                self.answer(pending, Ok(graph))
            }
            Err(error) => self.answer(pending, Err(error.into())),
        }
    }
}

impl graph::HostGraph for Guest {
    fn init_execution_context(&mut self, this: Resource<Graph>) -> Result<std::result::Result<Resource<Context>, Resource<Error>>> {
        let mut pending = begin("wasi:nn/graph", "[method]graph.init-execution-context")?;
        pending.handle = this.rep();
        let graph = self.table().get(&this)?.0;
        pending.rule = Nn::rule(graph);
        match self.nn.open(graph) {
            Ok(handle) => {
                let context = self.table().push(Context(handle))?;
                self.answer(pending, Ok(context))
            }
            Err(error) => self.answer(pending, Err(error.into())),
        }
    }

    fn drop(&mut self, this: Resource<Graph>) -> Result<()> {
        dropped("wasi:nn/graph", "[resource-drop]graph", this.rep())?;
        self.table().delete(this)?;
        Ok(())
    }
}

impl inference::Host for Guest {}

impl inference::HostGraphExecutionContext for Guest {
    fn compute(
        &mut self,
        this: Resource<Context>,
        inputs: Vec<(String, Resource<Tensor>)>,
    ) -> Result<std::result::Result<Vec<(String, Resource<Tensor>)>, Resource<Error>>> {
        let mut pending = begin("wasi:nn/inference", "[method]graph-execution-context.compute")?;
        pending.handle = this.rep();
        let context = self.table().get(&this)?.0;
        pending.rule = self.nn.graph_of(context).map_or(0, Nn::rule);
        for (name, tensor) in &inputs {
            // The tensors lie in the same table as everything else of the guest, so the bytes are taken out for the moment.
            let Tensor { dims, ty, data } = take(self.table().get_mut(tensor)?);
            pending.n_in = pending.n_in.saturating_add(u32::try_from(data.len()).unwrap_or(u32::MAX));
            let set = self.nn.input_named(context, name).and_then(|index| self.nn.set_input(context, index, wire_type(ty), &dims, &data));
            *self.table().get_mut(tensor)? = Tensor { dims, ty, data };
            if let Err(error) = set {
                return self.answer(pending, Err(error.into()));
            }
        }
        let outputs = match self.nn.compute(context).and_then(|()| Ok(self.nn.outputs(context)?)) {
            Ok(outputs) => outputs,
            Err(failure) => return self.answer(pending, Err(failure)),
        };
        let mut named = Vec::with_capacity(outputs.len());
        for Output { index, ty, dims, data } in outputs {
            pending.n_out = pending.n_out.saturating_add(u32::try_from(data.len()).unwrap_or(u32::MAX));
            let name = self.nn.output_name(context, index);
            named.push((name, self.hold(Tensor { dims, ty: guest_type(ty), data })?));
        }
        self.answer(pending, Ok(named))
    }

    fn drop(&mut self, this: Resource<Context>) -> Result<()> {
        dropped("wasi:nn/inference", "[resource-drop]graph-execution-context", this.rep())?;
        let context = self.table().delete(this)?;
        // It was open: handles are made by `init-execution-context` alone.
        let _ = self.nn.close(context.0);
        Ok(())
    }
}

impl errors::Host for Guest {}

impl errors::HostError for Guest {
    fn code(&mut self, this: Resource<Error>) -> Result<errors::ErrorCode> {
        let pending = begin("wasi:nn/errors", "[method]error.code")?;
        let code = self.table().get(&this)?.0.code;
        pending.end(Outcome::Ok, 0);
        Ok(guest_code(code))
    }

    fn data(&mut self, this: Resource<Error>) -> Result<String> {
        let pending = begin("wasi:nn/errors", "[method]error.data")?;
        let message = self.table().get(&this)?.0.message.clone();
        pending.end(Outcome::Ok, 0);
        Ok(message)
    }

    fn drop(&mut self, this: Resource<Error>) -> Result<()> {
        dropped("wasi:nn/errors", "[resource-drop]error", this.rep())?;
        self.table().delete(this)?;
        Ok(())
    }
}

/// Leaves an empty tensor behind.
fn take(tensor: &mut Tensor) -> Tensor {
    Tensor { dims: std::mem::take(&mut tensor.dims), ty: tensor.ty, data: std::mem::take(&mut tensor.data) }
}

fn wire_type(ty: tensor::TensorType) -> edgeguard_wire::tensor::TensorType {
    use edgeguard_wire::tensor::TensorType as Wire;
    match ty {
        tensor::TensorType::Fp16 => Wire::Fp16,
        tensor::TensorType::Fp32 => Wire::Fp32,
        tensor::TensorType::Fp64 => Wire::Fp64,
        tensor::TensorType::Bf16 => Wire::Bf16,
        tensor::TensorType::U8 => Wire::U8,
        tensor::TensorType::I32 => Wire::I32,
        tensor::TensorType::I64 => Wire::I64,
    }
}

fn guest_type(ty: edgeguard_wire::tensor::TensorType) -> tensor::TensorType {
    use edgeguard_wire::tensor::TensorType as Wire;
    match ty {
        Wire::Fp16 => tensor::TensorType::Fp16,
        Wire::Fp32 => tensor::TensorType::Fp32,
        Wire::Fp64 => tensor::TensorType::Fp64,
        Wire::Bf16 => tensor::TensorType::Bf16,
        Wire::U8 => tensor::TensorType::U8,
        Wire::I32 => tensor::TensorType::I32,
        Wire::I64 => tensor::TensorType::I64,
    }
}

fn guest_code(code: NnCode) -> errors::ErrorCode {
    match code {
        NnCode::InvalidArgument => errors::ErrorCode::InvalidArgument,
        NnCode::InvalidEncoding => errors::ErrorCode::InvalidEncoding,
        NnCode::Timeout => errors::ErrorCode::Timeout,
        NnCode::RuntimeError => errors::ErrorCode::RuntimeError,
        NnCode::UnsupportedOperation => errors::ErrorCode::UnsupportedOperation,
        NnCode::TooLarge => errors::ErrorCode::TooLarge,
        NnCode::NotFound => errors::ErrorCode::NotFound,
        NnCode::Security => errors::ErrorCode::Security,
        NnCode::Unknown => errors::ErrorCode::Unknown,
    }
}

/// The code's place in the standard's enumeration, from 1, so that 0 means success in records.
fn errno(code: NnCode) -> u16 {
    match code {
        NnCode::InvalidArgument => 1,
        NnCode::InvalidEncoding => 2,
        NnCode::Timeout => 3,
        NnCode::RuntimeError => 4,
        NnCode::UnsupportedOperation => 5,
        NnCode::TooLarge => 6,
        NnCode::NotFound => 7,
        NnCode::Security => 8,
        NnCode::Unknown => 9,
    }
}
