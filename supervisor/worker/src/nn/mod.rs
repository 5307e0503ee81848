//! wasi-nn without an engine: what a guest may ask, checked, and passed to a graph host.
//!
//! Runs in: worker.
//! Invariant: a guest reaches the graphs that its policy names, by name, and no other. Index, type, shape and length of a tensor
//! are checked against the model before a byte is copied. Nothing a guest or a host sends can panic.
//! Does not: parse a model, or compute.
//!
//! Both interfaces end here: [`p1`] is `wasi_ephemeral_nn`, [`p2`] is `wasi:nn`. Handles belong to one invocation, [`Link`]s to the
//! guest thread. A link's region has room for the tensors of one context; when a guest uses several on one graph, those of the
//! context that waits are kept in the worker, within the guest's memory limit.

pub mod language;
mod link;
pub mod p1;
pub mod p2;

use std::sync::Arc;
use std::time::Instant;

use edgeguard_audit::RULE_GRAPHS;
use edgeguard_wire::Channel;
use edgeguard_wire::graph::TensorInfo;
use edgeguard_wire::tensor::MAX_DIMS;
use edgeguard_wire::tensor::NnCode;
use edgeguard_wire::tensor::NnError;
use edgeguard_wire::tensor::Placed;
use edgeguard_wire::tensor::TensorType;
use edgeguard_wire::worker::FromWorker;
use edgeguard_wire::worker::Limit;

use self::language::Config;
use self::language::Ending;
use self::language::Talk;
pub use self::link::Link;
pub use self::link::Slot;
use crate::deadline::Deadline;
use crate::limits::Stop;
use crate::nn::link::CallError;
use crate::stdio;

/// Contexts at once in one instance.
const MAX_CONTEXTS: usize = 32;

/// Inputs begin at multiples of this, so that no element straddles a cache line for want of care.
const ALIGN: u64 = 64;

/// wasi-nn as one instance sees it.
pub struct Nn {
    links: Vec<Link>,
    /// Which context's tensors lie in each link's region.
    owners: Vec<Option<usize>>,
    contexts: Vec<Option<GraphContext>>,
    /// By graph: the configuration it was loaded with, while it is loaded.
    configs: Vec<Option<Config>>,
    control: Arc<Channel>,
    deadline: Deadline,
    /// The guest's standard output, for answers that are written there as they come.
    pub stdout: Option<stdio::Output>,
    /// Bytes that may be kept for contexts that wait.
    room: u64,
    /// Time spent waiting for graph hosts, and of that inside their engines, in nanoseconds.
    pub waited_ns: u64,
    /// See [`Self::waited_ns`].
    pub engine_ns: u64,
}

/// An execution context: a graph, and the tensors of its next and last compute.
struct GraphContext {
    graph: usize,
    inputs: Vec<Tensor>,
    outputs: Vec<Tensor>,
    /// In place of tensors, for a language model.
    talk: Option<Box<Talk>>,
}

/// One tensor of a context.
struct Tensor {
    index: u32,
    ty: TensorType,
    dims: Vec<u32>,
    len: u64,
    place: Place,
}

enum Place {
    /// In the link's region, from this offset.
    Region(u64),
    /// Here.
    Kept(Vec<u8>),
}

/// What a call ends with, other than success.
#[derive(Debug)]
pub enum Failure {
    /// The guest gets this.
    Nn(NnError),
    /// A language model's own way to end a call.
    Ending(Ending),
    /// The guest set an option that no guest may set. It is told, and it is on record under the option's name.
    Denied(&'static str),
    /// The guest ends here.
    Stop(Stop),
}

impl From<NnError> for Failure {
    fn from(error: NnError) -> Self {
        Self::Nn(error)
    }
}

/// An output, copied out of the shared region.
pub struct Output {
    /// Index among the model's outputs.
    pub index: u32,
    /// Its type.
    pub ty: TensorType,
    /// Its shape.
    pub dims: Vec<u32>,
    /// Its bytes.
    pub data: Vec<u8>,
}

impl Nn {
    /// For one invocation, with the thread's links. `room` is how many bytes of tensors may be kept outside their regions.
    pub fn new(links: Vec<Link>, control: Arc<Channel>, deadline: Deadline, room: u64) -> Self {
        let owners = vec![None; links.len()];
        let configs = vec![None; links.len()];
        Self { links, owners, contexts: Vec::new(), configs, control, deadline, stdout: None, room, waited_ns: 0, engine_ns: 0 }
    }

    /// The links, for the next invocation. Every context that is still open is closed, in the hosts too.
    pub fn into_links(mut self) -> Vec<Link> {
        (0..self.contexts.len()).for_each(|handle| self.hang_up(handle));
        self.links.iter_mut().for_each(Link::finish);
        self.links
    }

    /// The graph of this name, if the policy grants it.
    pub fn graph(&self, name: &[u8]) -> Result<usize, NnError> {
        self.links
            .iter()
            .position(|link| link.name.as_bytes() == name)
            .ok_or_else(|| error(NnCode::NotFound, "no graph of this name is granted"))
    }

    /// The rule number of a graph in records.
    pub fn rule(graph: usize) -> u16 {
        u16::try_from(graph).map_or(0, |graph| RULE_GRAPHS.saturating_add(graph))
    }

    /// The graph of a context.
    pub fn graph_of(&self, context: usize) -> Option<usize> {
        self.contexts.get(context)?.as_ref().map(|context| context.graph)
    }

    /// Opens a context.
    pub fn open(&mut self, graph: usize) -> Result<usize, NnError> {
        if graph >= self.links.len() {
            return Err(invalid("no such graph"));
        }
        let free = self.contexts.iter().position(Option::is_none);
        let handle = free.unwrap_or(self.contexts.len());
        if handle >= MAX_CONTEXTS {
            return Err(error(NnCode::TooLarge, "too many execution contexts at once"));
        }
        let context = GraphContext { graph, inputs: Vec::new(), outputs: Vec::new(), talk: self.new_talk(graph) };
        match self.contexts.get_mut(handle) {
            Some(slot) => *slot = Some(context),
            None => self.contexts.push(Some(context)),
        }
        Ok(handle)
    }

    /// Closes a context.
    pub fn close(&mut self, handle: usize) -> Result<(), NnError> {
        self.hang_up(handle);
        self.contexts.get_mut(handle).and_then(Option::take).ok_or_else(no_context)?;
        for owner in self.owners.iter_mut().filter(|owner| **owner == Some(handle)) {
            *owner = None;
        }
        Ok(())
    }

    /// The index of the model's input of this name.
    pub fn input_named(&self, handle: usize, name: &str) -> Result<u32, NnError> {
        let inputs = self.inputs_of(handle)?;
        let found = inputs.iter().position(|input| input.name == name).and_then(|index| u32::try_from(index).ok());
        found.ok_or_else(|| {
            let names: Vec<&str> = inputs.iter().map(|input| input.name.as_str()).collect();
            invalid(&format!("the model has no input of this name; it has {}", names.join(", ")))
        })
    }

    fn inputs_of(&self, handle: usize) -> Result<&[TensorInfo], NnError> {
        let graph = self.graph_of(handle).ok_or_else(no_context)?;
        self.links.get(graph).map(|link| link.model.inputs.as_slice()).ok_or_else(no_context)
    }

    /// The name of the model's output, or its number where the model has none.
    pub fn output_name(&self, handle: usize, index: u32) -> String {
        let link = self.graph_of(handle).and_then(|graph| self.links.get(graph));
        let info = link.and_then(|link| link.model.outputs.get(usize::try_from(index).ok()?));
        info.map_or_else(|| index.to_string(), |info| info.name.clone())
    }

    /// Sets an input: checks it against the model, then copies it straight into the region.
    pub fn set_input(&mut self, handle: usize, index: u32, ty: TensorType, dims: &[u32], data: &[u8]) -> Result<(), NnError> {
        let info = self.inputs_of(handle)?.get(usize::try_from(index).unwrap_or(usize::MAX));
        check(info, index, ty, dims, data.len() as u64)?;
        let graph = self.own(handle)?;
        let (Some(Some(context)), Some(link)) = (self.contexts.get_mut(handle), self.links.get(graph)) else { return Err(no_context()) };
        context.place(link, index, ty, dims, data)
    }

    /// Computes with the inputs that were set.
    pub fn compute(&mut self, handle: usize) -> Result<(), Failure> {
        if self.talks(handle) {
            return Err(error(NnCode::UnsupportedOperation, "a language model computes no tensors").into());
        }
        let graph = self.own(handle)?;
        let (Some(Some(context)), Some(link)) = (self.contexts.get_mut(handle), self.links.get_mut(graph)) else {
            return Err(no_context().into());
        };
        context.outputs.clear();
        let began = Instant::now();
        let answer = link.compute(context.placed(), link.within(self.deadline));
        self.waited_ns = self.waited_ns.saturating_add(u64::try_from(began.elapsed().as_nanos()).unwrap_or(u64::MAX));
        match answer {
            Ok((outputs, engine_ns)) => {
                self.engine_ns = self.engine_ns.saturating_add(engine_ns);
                let tensor = |placed: Placed| {
                    let place = Place::Region(placed.offset);
                    Tensor { index: placed.index, ty: placed.ty, dims: placed.dims, len: placed.len, place }
                };
                context.outputs = outputs.into_iter().map(tensor).collect();
                Ok(())
            }
            // The host was the first to see the deadline.
            Err(CallError::Nn(error)) if error.code == NnCode::Timeout && self.deadline.passed() => {
                Err(Failure::Stop(Stop(Limit::Deadline)))
            }
            Err(CallError::Nn(error)) => Err(Failure::Nn(error)),
            Err(CallError::Stalled) => {
                // The host keeps deadlines by itself, and computes of other modules lie in it. One that does not is no longer to be trusted with any.
                if link.deaf() {
                    let graph = u16::try_from(graph).unwrap_or(u16::MAX);
                    // If the daemon does not hear this, it is gone, and so is this process.
                    let _ = self.control.send(&FromWorker::GraphStalled { graph }, &[]);
                }
                if self.deadline.passed() {
                    Err(Failure::Stop(Stop(Limit::Deadline)))
                } else {
                    Err(error(NnCode::Timeout, "the compute took longer than the policy gives it").into())
                }
            }
        }
    }

    /// Every output of the last compute, as a component gets them.
    pub fn outputs(&self, handle: usize) -> Result<Vec<Output>, NnError> {
        let (context, link) = self.context(handle)?;
        let copy = |tensor: &Tensor| {
            let mut data = vec![0; usize::try_from(tensor.len).map_err(|_| too_large())?];
            tensor.read(link, &mut data)?;
            Ok(Output { index: tensor.index, ty: tensor.ty, dims: tensor.dims.clone(), data })
        };
        context.outputs.iter().map(copy).collect()
    }

    /// Length in bytes of all outputs of the last compute.
    pub fn output_bytes(&self, handle: usize) -> u64 {
        self.context(handle).map_or(0, |(context, _)| context.outputs.iter().fold(0, |sum, tensor| tensor.len.saturating_add(sum)))
    }

    /// Copies an output of the last compute; the result is its length. Nothing is copied when `into` is too short.
    pub fn output(&self, handle: usize, index: u32, into: &mut [u8]) -> Result<u64, NnError> {
        let (context, link) = self.context(handle)?;
        let tensor = context.outputs.iter().find(|tensor| tensor.index == index);
        let tensor = tensor.ok_or_else(|| invalid("no such output: nothing was computed, or the model has fewer"))?;
        if let Some(into) = usize::try_from(tensor.len).ok().and_then(|len| into.get_mut(..len)) {
            tensor.read(link, into)?;
        }
        Ok(tensor.len)
    }

    fn context(&self, handle: usize) -> Result<(&GraphContext, &Link), NnError> {
        let context = self.contexts.get(handle).and_then(Option::as_ref).ok_or_else(no_context)?;
        let link = self.links.get(context.graph).ok_or_else(no_context)?;
        Ok((context, link))
    }

    /// Makes the region of the context's graph hold this context's tensors, after a renewed channel was taken; gives the graph.
    fn own(&mut self, handle: usize) -> Result<usize, NnError> {
        let graph = self.graph_of(handle).ok_or_else(no_context)?;
        if let Some(fds) = self.links.get(graph).and_then(Link::renewed) {
            self.release(graph)?;
            if let Some(link) = self.links.get_mut(graph) {
                link.replace(fds);
            }
        }
        if self.owners.get(graph).copied().flatten() == Some(handle) {
            return Ok(graph);
        }
        self.release(graph)?;
        let (Some(Some(context)), Some(link)) = (self.contexts.get_mut(handle), self.links.get(graph)) else { return Err(no_context()) };
        context.restore(link)?;
        if let Some(owner) = self.owners.get_mut(graph) {
            *owner = Some(handle);
        }
        Ok(graph)
    }

    /// Keeps the tensors of the context that owns a graph's region, so that the region is free.
    fn release(&mut self, graph: usize) -> Result<(), NnError> {
        let Some(owner) = self.owners.get(graph).copied().flatten() else { return Ok(()) };
        let kept = self.contexts.iter().flatten().fold(0u64, |sum, context| sum.saturating_add(context.kept()));
        let (Some(Some(context)), Some(link)) = (self.contexts.get_mut(owner), self.links.get(graph)) else { return Ok(()) };
        let more = context.tensors().fold(0u64, |sum, tensor| sum.saturating_add(tensor.len));
        if kept.saturating_add(more) > self.room {
            return Err(error(NnCode::TooLarge, "the tensors of all execution contexts exceed the memory limit"));
        }
        for tensor in context.inputs.iter_mut().chain(&mut context.outputs) {
            tensor.keep(link)?;
        }
        if let Some(owner) = self.owners.get_mut(graph) {
            *owner = None;
        }
        Ok(())
    }
}

impl GraphContext {
    /// Bytes that are kept for it in the worker.
    fn kept(&self) -> u64 {
        let talk = self.talk.as_deref().map_or(0, Talk::kept);
        self.tensors().fold(talk, |sum, tensor| sum.saturating_add(tensor.kept()))
    }

    fn tensors(&self) -> impl Iterator<Item = &Tensor> {
        self.inputs.iter().chain(&self.outputs)
    }

    /// Where the inputs lie, for the host.
    fn placed(&self) -> Vec<Placed> {
        let placed = |tensor: &Tensor| match tensor.place {
            Place::Region(offset) => {
                Some(Placed { index: tensor.index, ty: tensor.ty, dims: tensor.dims.clone(), offset, len: tensor.len })
            }
            Place::Kept(_) => None,
        };
        self.inputs.iter().filter_map(placed).collect()
    }

    /// Puts an input into the region, over the one it replaces if that has the same length.
    fn place(&mut self, link: &Link, index: u32, ty: TensorType, dims: &[u32], data: &[u8]) -> Result<(), NnError> {
        let len = data.len() as u64;
        if let Some(tensor) = self.inputs.iter_mut().find(|tensor| tensor.index == index)
            && let Place::Region(offset) = tensor.place
            && tensor.len == len
        {
            link.write(offset, data)?;
            tensor.ty = ty;
            tensor.dims.clear();
            tensor.dims.extend_from_slice(dims);
            return Ok(());
        }
        self.inputs.retain(|tensor| tensor.index != index);
        let offset = match self.next(link.half, len) {
            Some(offset) => offset,
            None => {
                // Replaced inputs have left holes: close them.
                self.repack(link)?;
                self.next(link.half, len).ok_or_else(too_large)?
            }
        };
        link.write(offset, data)?;
        self.inputs.push(Tensor { index, ty, dims: dims.to_vec(), len, place: Place::Region(offset) });
        Ok(())
    }

    /// An offset behind all inputs with room for `len` bytes.
    fn next(&self, half: u64, len: u64) -> Option<u64> {
        let end = self.inputs.iter().filter_map(Tensor::end).max().unwrap_or(0);
        let offset = end.checked_next_multiple_of(ALIGN)?;
        (offset.checked_add(len)? <= half).then_some(offset)
    }

    fn repack(&mut self, link: &Link) -> Result<(), NnError> {
        for tensor in &mut self.inputs {
            tensor.keep(link)?;
        }
        self.restore(link)
    }

    /// Puts all inputs into the region, from its beginning. Outputs stay where they are: the next compute replaces them.
    fn restore(&mut self, link: &Link) -> Result<(), NnError> {
        let mut offset = 0u64;
        for tensor in &mut self.inputs {
            let Place::Kept(data) = &tensor.place else { continue };
            link.write(offset, data)?;
            tensor.place = Place::Region(offset);
            offset = offset.checked_add(tensor.len).and_then(|end| end.checked_next_multiple_of(ALIGN)).ok_or_else(too_large)?;
        }
        Ok(())
    }
}

impl Tensor {
    fn end(&self) -> Option<u64> {
        match self.place {
            Place::Region(offset) => offset.checked_add(self.len),
            Place::Kept(_) => None,
        }
    }

    fn kept(&self) -> u64 {
        if matches!(self.place, Place::Kept(_)) { self.len } else { 0 }
    }

    fn keep(&mut self, link: &Link) -> Result<(), NnError> {
        if let Place::Region(offset) = self.place {
            let mut data = vec![0; usize::try_from(self.len).map_err(|_| too_large())?];
            link.read(offset, &mut data)?;
            self.place = Place::Kept(data);
        }
        Ok(())
    }

    fn read(&self, link: &Link, into: &mut [u8]) -> Result<(), NnError> {
        match &self.place {
            Place::Region(offset) => link.read(*offset, into),
            Place::Kept(data) => {
                into.copy_from_slice(data.get(..into.len()).ok_or_else(too_large)?);
                Ok(())
            }
        }
    }
}

/// Whether a tensor is one that the model takes at this index.
fn check(info: Option<&TensorInfo>, index: u32, ty: TensorType, dims: &[u32], len: u64) -> Result<(), NnError> {
    let info = info.ok_or_else(|| invalid(&format!("the model has no input {index}")))?;
    let expected = || {
        invalid(&format!(
            "input {index} `{}` wants {}; got {} {:?}",
            info.name,
            shape(info),
            ty.name(),
            dims.get(..MAX_DIMS).unwrap_or(dims)
        ))
    };
    if info.ty.is_some_and(|wanted| wanted != ty) || dims.len() > MAX_DIMS {
        return Err(expected());
    }
    if let Some(wanted) = &info.dims {
        let same = wanted.len() == dims.len() && wanted.iter().zip(dims).all(|(wanted, dim)| wanted.is_none_or(|wanted| wanted == *dim));
        if !same {
            return Err(expected());
        }
    }
    match ty.bytes(dims) {
        Some(bytes) if bytes == len => Ok(()),
        Some(bytes) => Err(invalid(&format!("{} {dims:?} is {bytes} bytes; got {len}", ty.name()))),
        None => Err(too_large()),
    }
}

fn shape(info: &TensorInfo) -> String {
    let ty = info.ty.map_or("any type", TensorType::name);
    let Some(dims) = &info.dims else { return format!("{ty} of any shape") };
    let dims: Vec<String> = dims.iter().map(|dim| dim.map_or_else(|| "?".to_owned(), |dim| dim.to_string())).collect();
    format!("{ty} [{}]", dims.join(", "))
}

fn error(code: NnCode, message: &str) -> NnError {
    NnError { code, message: message.to_owned() }
}

fn invalid(message: &str) -> NnError {
    error(NnCode::InvalidArgument, message)
}

fn no_context() -> NnError {
    invalid("no such execution context")
}

fn too_large() -> NnError {
    error(NnCode::TooLarge, "the tensors do not fit the region shared with the graph host")
}
