//! Core modules: the imports of `wasi_ephemeral_nn`, as `wasi-nn.witx` lays them out.
//!
//! The ABI has no call that gives a handle back; the host frees them with the instance.

use crate::error::Call;
use crate::error::Code;
use crate::error::Error;
use crate::error::Result;
use crate::graph::Port;
use crate::sys::Reading;
use crate::tensor::ElementType;

/// `$tensor` in linear memory: 20 bytes.
#[repr(C)]
struct RawTensor {
    dimensions: *const u32,
    dimensions_len: usize,
    /// `$tensor_type` is one byte and three of padding; hosts exist that read all four, so all four are written.
    element: u32,
    data: *const u8,
    data_len: usize,
}

#[link(wasm_import_module = "wasi_ephemeral_nn")]
unsafe extern "C" {
    fn load_by_name(name: *const u8, name_len: usize, graph: *mut u32) -> u32;
    fn init_execution_context(graph: u32, context: *mut u32) -> u32;
    fn set_input(context: u32, index: u32, tensor: *const RawTensor) -> u32;
    safe fn compute(context: u32) -> u32;
    fn get_output(context: u32, index: u32, into: *mut u8, into_len: usize, written: *mut u32) -> u32;
}

/// A number in the host's table of graphs.
#[derive(Debug)]
pub(crate) struct Graph(pub(super) u32);

/// A number in the host's table of contexts.
#[derive(Debug)]
pub(crate) struct Context(pub(super) u32);

impl Graph {
    pub(crate) fn load_by_name(name: &str) -> Result<Graph> {
        let mut graph = 0;
        // SAFETY: `name` is borrowed for the call and the host only reads it; `graph` is a live `u32` that the host may write.
        let errno = unsafe { load_by_name(name.as_ptr(), name.len(), &raw mut graph) };
        answer(Call::LoadByName, errno).map(|()| Graph(graph))
    }

    pub(crate) fn context(&self) -> Result<Context> {
        let mut context = 0;
        // SAFETY: `context` is a live `u32` that the host may write.
        let errno = unsafe { init_execution_context(self.0, &raw mut context) };
        answer(Call::InitExecutionContext, errno).map(|()| Context(context))
    }
}

impl Context {
    pub(crate) fn set_input(&mut self, port: Port, element: ElementType, dimensions: &[u32], data: &[u8]) -> Result<()> {
        let Some(element) = element.witx() else {
            return Err(Error::Host { call: Call::SetInput, code: Code::UnsupportedOperation, detail: None });
        };
        let tensor = RawTensor {
            dimensions: dimensions.as_ptr(),
            dimensions_len: dimensions.len(),
            element: u32::from(element),
            data: data.as_ptr(),
            data_len: data.len(),
        };
        // SAFETY: `tensor` and the two slices it points into are borrowed for the call; the host only reads them, and has
        // copied what it needs when it returns.
        let errno = unsafe { set_input(self.0, index(port)?, &raw const tensor) };
        answer(Call::SetInput, errno)
    }

    pub(crate) fn compute(&mut self) -> Result<()> {
        answer(Call::Compute, compute(self.0))
    }

    pub(crate) fn output(&self, port: Port, _element: ElementType, into: &mut [u8]) -> Result<Reading> {
        let mut written = 0;
        // SAFETY: `into` is exclusively borrowed for the call and the host writes at most `into.len()` bytes of it;
        // `written` is a live `u32` that the host may write.
        let errno = unsafe { get_output(self.0, index(port)?, into.as_mut_ptr(), into.len(), &raw mut written) };
        reading(errno, written, into.len())
    }
}

pub(super) fn reading(errno: u32, written: u32, room: usize) -> Result<Reading> {
    // Some hosts leave the size that was wanted in `written`, others leave it alone: only a larger one says anything.
    let written = written as usize;
    match Code::from_errno(errno) {
        None if written <= room => Ok(Reading::All(written)),
        None | Some(Code::TooLarge) => Ok(Reading::Needs((written > room).then_some(written))),
        Some(code) => Err(Error::Host { call: Call::GetOutput, code, detail: None }),
    }
}

fn index(port: Port) -> Result<u32> {
    match (port.index, port.name) {
        (Some(index), _) => Ok(index),
        (None, name) => Err(Error::PortNeedsIndex { name: name.unwrap_or_default() }),
    }
}

pub(super) fn answer(call: Call, errno: u32) -> Result<()> {
    match Code::from_errno(errno) {
        None => Ok(()),
        Some(code) => Err(Error::Host { call, code, detail: None }),
    }
}
