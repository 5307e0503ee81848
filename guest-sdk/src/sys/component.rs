//! Components: `wasi:nn@0.2.0-rc-2024-10-28`, through generated bindings.
//!
//! The interface takes all inputs with `compute` and gives all outputs back from it; this file keeps both, so that a guest
//! reads the same for either ABI.

use crate::error::Call;
use crate::error::Code;
use crate::error::Error;
use crate::error::Result;
use crate::graph::Port;
use crate::sys::Reading;
use crate::tensor::ElementType;

use bindings::edgeguard::language::models;
use bindings::wasi::nn::errors;
use bindings::wasi::nn::graph;
use bindings::wasi::nn::inference;
use bindings::wasi::nn::tensor;

#[allow(missing_docs, clippy::all, clippy::pedantic, clippy::undocumented_unsafe_blocks, reason = "generated from wit/wasi-nn.wit")]
mod bindings {
    wit_bindgen::generate!({
        path: ["wit/wasi-nn.wit", "wit/language.wit"],
        inline: "package edgeguard:kit; world kit { include wasi:nn/ml@0.2.0-rc-2024-10-28; include edgeguard:language/guest@0.1.0; }",
        world: "edgeguard:kit/kit",
        generate_all,
    });
}

/// The host's graph; given back when dropped.
pub(crate) struct Graph(graph::Graph);

/// The host's context, the inputs of the next computation and the outputs of the last.
pub(crate) struct Context {
    handle: inference::GraphExecutionContext,
    inputs: Vec<(&'static str, tensor::Tensor)>,
    outputs: Vec<(String, tensor::Tensor)>,
}

impl Graph {
    pub(crate) fn load_by_name(name: &str) -> Result<Graph> {
        graph::load_by_name(name).map(Graph).map_err(|error| refusal(Call::LoadByName, &error))
    }

    pub(crate) fn context(&self) -> Result<Context> {
        let handle = self.0.init_execution_context().map_err(|error| refusal(Call::InitExecutionContext, &error))?;
        Ok(Context { handle, inputs: Vec::new(), outputs: Vec::new() })
    }
}

impl Context {
    pub(crate) fn set_input(&mut self, port: Port, element: ElementType, dimensions: &[u32], data: &[u8]) -> Result<()> {
        let Some(name) = port.name else {
            return Err(Error::PortNeedsName { index: port.index.unwrap_or_default() });
        };
        let tensor = tensor::Tensor::new(dimensions, to_wit(element), data);
        self.inputs.retain(|(other, _)| *other != name);
        self.inputs.push((name, tensor));
        Ok(())
    }

    pub(crate) fn compute(&mut self) -> Result<()> {
        self.outputs.clear();
        let inputs: Vec<_> = self.inputs.drain(..).map(|(name, tensor)| (name.to_owned(), tensor)).collect();
        self.outputs = self.handle.compute(inputs).map_err(|error| refusal(Call::Compute, &error))?;
        Ok(())
    }

    pub(crate) fn output(&self, port: Port, element: ElementType, into: &mut [u8]) -> Result<Reading> {
        let found = match (port.name, port.index) {
            (Some(name), _) => self.outputs.iter().find(|(other, _)| other == name),
            (None, Some(index)) => usize::try_from(index).ok().and_then(|index| self.outputs.get(index)),
            (None, None) => None,
        };
        let Some((_, tensor)) = found else { return Err(Error::NoSuchOutput { port: port.to_string() }) };
        let found = from_wit(tensor.ty());
        if found != element {
            return Err(Error::WrongType { asked: element, found });
        }
        let data = tensor.data();
        match into.get_mut(..data.len()) {
            Some(room) => {
                room.copy_from_slice(&data);
                Ok(Reading::All(data.len()))
            }
            None => Ok(Reading::Needs(Some(data.len()))),
        }
    }
}

/// The host's context of a language model; given back when dropped.
pub(crate) struct Language(models::Model);

impl Language {
    pub(crate) fn open(name: &str, options: &str) -> Result<Language> {
        models::Model::open(name, options).map(Language).map_err(|error| language_refusal(Call::LoadByName, error))
    }

    pub(crate) fn prompt(&mut self, text: &str) -> Result<()> {
        self.0.prompt(text).map_err(|error| language_refusal(Call::SetInput, error))
    }

    pub(crate) fn next_piece(&mut self) -> Result<Option<Vec<u8>>> {
        self.0.next_piece().map_err(|error| language_refusal(Call::Compute, error))
    }
}

fn language_refusal(call: Call, error: models::Error) -> Error {
    let code = match error.code {
        models::ErrorCode::NotFound => Code::NotFound,
        models::ErrorCode::Security => Code::Security,
        models::ErrorCode::InvalidArgument => Code::InvalidArgument,
        models::ErrorCode::UnsupportedOperation => Code::UnsupportedOperation,
        models::ErrorCode::Busy => Code::Busy,
        models::ErrorCode::PromptTooLong => Code::PromptTooLong,
        models::ErrorCode::TooLarge => Code::TooLarge,
        models::ErrorCode::RuntimeError => Code::RuntimeError,
    };
    Error::Host { call, code, detail: Some(error.message).filter(|text| !text.is_empty()) }
}

fn refusal(call: Call, error: &errors::Error) -> Error {
    let code = match error.code() {
        errors::ErrorCode::InvalidArgument => Code::InvalidArgument,
        errors::ErrorCode::InvalidEncoding => Code::InvalidEncoding,
        errors::ErrorCode::Timeout => Code::Timeout,
        errors::ErrorCode::RuntimeError => Code::RuntimeError,
        errors::ErrorCode::UnsupportedOperation => Code::UnsupportedOperation,
        errors::ErrorCode::TooLarge => Code::TooLarge,
        errors::ErrorCode::NotFound => Code::NotFound,
        errors::ErrorCode::Security => Code::Security,
        errors::ErrorCode::Unknown => Code::Unknown,
    };
    Error::Host { call, code, detail: Some(error.data()).filter(|text| !text.is_empty()) }
}

fn to_wit(element: ElementType) -> tensor::TensorType {
    match element {
        ElementType::F16 => tensor::TensorType::Fp16,
        ElementType::F32 => tensor::TensorType::Fp32,
        ElementType::F64 => tensor::TensorType::Fp64,
        ElementType::Bf16 => tensor::TensorType::Bf16,
        ElementType::U8 => tensor::TensorType::U8,
        ElementType::I32 => tensor::TensorType::I32,
        ElementType::I64 => tensor::TensorType::I64,
    }
}

fn from_wit(element: tensor::TensorType) -> ElementType {
    match element {
        tensor::TensorType::Fp16 => ElementType::F16,
        tensor::TensorType::Fp32 => ElementType::F32,
        tensor::TensorType::Fp64 => ElementType::F64,
        tensor::TensorType::Bf16 => ElementType::Bf16,
        tensor::TensorType::U8 => ElementType::U8,
        tensor::TensorType::I32 => ElementType::I32,
        tensor::TensorType::I64 => ElementType::I64,
    }
}

impl std::fmt::Debug for Graph {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Graph").field(&self.0.handle()).finish()
    }
}

impl std::fmt::Debug for Context {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Context").field("handle", &self.handle.handle()).field("inputs", &self.inputs.len()).finish_non_exhaustive()
    }
}

impl std::fmt::Debug for Language {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Language").field(&self.0.handle()).finish()
    }
}
