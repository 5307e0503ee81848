//! `wasi_ephemeral_nn`: wasi-nn for core modules, with WasmEdge's functions for language models and its two that give things back.
//!
//! Runs in: worker, on guest threads.
//! Invariant: every pointer and length is a guest's wish. One that does not lie within the guest's memory is its mistake, and
//! answered with an errno; no count is used before it is bounded.
//!
//! Numbers: the witx of wasi-nn (errno, tensor types), <https://github.com/WebAssembly/wasi-nn>; from 100 up those of WasmEdge's
//! `plugins/wasi_nn/wasinntypes.h`. A language model's input 0 is its prompt and input 1 a configuration, whatever shape and type they are given; its output 0
//! is the answer and output 1 metadata.

use edgeguard_audit::CallId;
use edgeguard_audit::Outcome;
use edgeguard_audit::call_id;
use edgeguard_wire::tensor::MAX_DIMS;
use edgeguard_wire::tensor::NnCode;
use edgeguard_wire::tensor::TensorType;
use wasmtime::Caller;
use wasmtime::Linker;

use crate::guest::Guest;
use crate::nn::Failure;
use crate::nn::Nn;
use crate::nn::error;
use crate::nn::invalid;
use crate::nn::language::Ending;
use crate::record::Pending;

/// The import module.
pub const MODULE: &str = "wasi_ephemeral_nn";

/// `nn_errno`: the module exports no memory.
const MISSING_MEMORY: u16 = 3;

/// A language model's inputs.
const PROMPT: u32 = 0;
const CONFIG: u32 = 1;

/// A language model's outputs.
const ANSWER: u32 = 0;
const METADATA: u32 = 1;

/// Defines one function: its name, its body, its arguments.
macro_rules! define {
    ($linker:ident, $body:ident, $($arg:ident),*) => {{
        let call = call_id(MODULE, stringify!($body)).ok_or_else(|| wasmtime::Error::msg("a call without a number"))?;
        $linker.func_wrap(MODULE, stringify!($body), move |mut caller: Caller<'_, Guest>, $($arg: u32),*| {
            run(&mut caller, call, |nn, memory, pending| $body(nn, memory, pending, [$($arg),*]))
        })?;
    }};
}

/// Adds all functions.
pub fn add_to_linker(linker: &mut Linker<Guest>) -> wasmtime::Result<()> {
    define!(linker, load, builders, builders_len, encoding, target, graph);
    define!(linker, load_by_name, name, name_len, graph);
    define!(linker, init_execution_context, graph, context);
    define!(linker, set_input, context, index, tensor);
    define!(linker, compute, context);
    define!(linker, get_output, context, index, buffer, buffer_len, written);
    define!(linker, load_by_name_with_config, name, name_len, config, config_len, graph);
    define!(linker, compute_single, context);
    define!(linker, get_output_single, context, index, buffer, buffer_len, written);
    define!(linker, fini_single, context);
    define!(linker, unload, graph);
    define!(linker, finalize_execution_context, context);
    Ok(())
}

/// One call, from its beginning to its record.
fn run(
    caller: &mut Caller<'_, Guest>,
    call: CallId,
    body: impl FnOnce(&mut Nn, &mut [u8], &mut Pending) -> Result<(), Failure>,
) -> wasmtime::Result<u32> {
    let mut pending = Pending::begin(call);
    let Some(memory) = Guest::memory(caller) else {
        pending.end(Outcome::Error, MISSING_MEMORY);
        return Ok(MISSING_MEMORY.into());
    };
    let (memory, guest) = memory.data_and_store_mut(caller);
    match body(&mut guest.nn, memory, &mut pending) {
        Ok(()) => {
            pending.end(Outcome::Ok, 0);
            Ok(0)
        }
        Err(Failure::Nn(error)) => {
            // A name that the policy does not have is not found, and that is the denial.
            let denied = matches!(error.code, NnCode::Security | NnCode::NotFound);
            let errno = errno(error.code);
            pending.end(if denied { Outcome::Denied } else { Outcome::Error }, errno);
            Ok(errno.into())
        }
        Err(Failure::Ending(ending)) => {
            let (outcome, errno) = ending_errno(ending);
            pending.end(outcome, errno);
            Ok(errno.into())
        }
        Err(Failure::Denied(key)) => {
            pending.text(key.as_bytes());
            let errno = errno(NnCode::Security);
            pending.end(Outcome::Denied, errno);
            Ok(errno.into())
        }
        Err(Failure::Stop(stop)) => {
            pending.end(Outcome::Limit, 0);
            Err(stop.into())
        }
    }
}

/// A model from bytes: never. What a model does is decided by whoever names it in a policy.
fn load(_: &mut Nn, _: &mut [u8], pending: &mut Pending, [_, builders_len, ..]: [u32; 5]) -> Result<(), Failure> {
    pending.n_in = builders_len;
    Err(error(NnCode::Security, "models are loaded by name").into())
}

fn load_by_name(nn: &mut Nn, memory: &mut [u8], pending: &mut Pending, [name, name_len, graph]: [u32; 3]) -> Result<(), Failure> {
    let name = slice(memory, name, name_len)?;
    pending.text(name);
    let handle = nn.graph(name)?;
    pending.rule = Nn::rule(handle);
    pending.handle = narrow(handle)?;
    nn.load_with(handle, b"")?;
    put(memory, graph, pending.handle)
}

fn load_by_name_with_config(nn: &mut Nn, memory: &mut [u8], pending: &mut Pending, args: [u32; 5]) -> Result<(), Failure> {
    let [name, name_len, config, config_len, graph] = args;
    let name = slice(memory, name, name_len)?;
    pending.text(name);
    let handle = nn.graph(name)?;
    pending.rule = Nn::rule(handle);
    pending.handle = narrow(handle)?;
    pending.n_in = config_len;
    slice(memory, graph, 4)?;
    nn.load_with(handle, slice(memory, config, config_len)?)?;
    put(memory, graph, pending.handle)
}

fn init_execution_context(nn: &mut Nn, memory: &mut [u8], pending: &mut Pending, [graph, context]: [u32; 2]) -> Result<(), Failure> {
    pending.handle = graph;
    // Before anything is opened: what cannot be told to the guest must not exist.
    slice(memory, context, 4)?;
    let graph = wide(graph);
    let handle = nn.open(graph)?;
    pending.rule = Nn::rule(graph);
    put(memory, context, narrow(handle)?)
}

/// `tensor` points at `{dims *u32, dims_len u32, type u8, data *u8, data_len u32}`.
fn set_input(nn: &mut Nn, memory: &mut [u8], pending: &mut Pending, [context, index, tensor]: [u32; 3]) -> Result<(), Failure> {
    about(nn, pending, context);
    let tensor = slice(memory, tensor, 20)?;
    let (dims, dims_len, data, data_len) = (get(tensor, 0)?, get(tensor, 4)?, get(tensor, 12)?, get(tensor, 16)?);
    pending.n_in = data_len;
    if nn.talks(wide(context)) {
        // Older guests give their texts shapes of all kinds.
        let data = slice(memory, data, data_len)?;
        return match index {
            PROMPT => nn.set_prompt(wide(context), data),
            CONFIG => nn.configure(wide(context), data),
            _ => Err(invalid("a language model has input 0, its prompt, and input 1, its configuration").into()),
        };
    }
    let ty = tensor.get(8).copied().and_then(tensor_type).ok_or_else(|| invalid("no such tensor type"))?;
    if wide(dims_len) > MAX_DIMS {
        return Err(invalid("too many dimensions").into());
    }
    let dims = slice(memory, dims, dims_len.saturating_mul(4))?;
    let dims: Vec<u32> = dims.as_chunks::<4>().0.iter().map(|dim| u32::from_le_bytes(*dim)).collect();
    let data = slice(memory, data, data_len)?;
    nn.set_input(wide(context), index, ty, &dims, data)?;
    Ok(())
}

fn compute(nn: &mut Nn, _: &mut [u8], pending: &mut Pending, [context]: [u32; 1]) -> Result<(), Failure> {
    about(nn, pending, context);
    if nn.talks(wide(context)) {
        let answered = nn.answer(wide(context));
        let length = nn.talk(wide(context)).ok().and_then(|talk| talk.output()).map_or(0, <[u8]>::len);
        pending.n_out = u32::try_from(length).unwrap_or(u32::MAX);
        return answered;
    }
    nn.compute(wide(context))?;
    pending.n_out = u32::try_from(nn.output_bytes(wide(context))).unwrap_or(u32::MAX);
    Ok(())
}

/// A buffer that is too short gets nothing but the length that would do.
fn get_output(nn: &mut Nn, memory: &mut [u8], pending: &mut Pending, args: [u32; 5]) -> Result<(), Failure> {
    let [context, index, buffer, buffer_len, written] = args;
    about(nn, pending, context);
    slice(memory, written, 4)?;
    if nn.talks(wide(context)) {
        let metadata;
        let text = match index {
            ANSWER => nn.talk(wide(context))?.output().ok_or_else(|| invalid("nothing was computed"))?,
            METADATA => {
                metadata = nn.metadata(wide(context))?;
                metadata.as_bytes()
            }
            _ => return Err(no_output()),
        };
        return hand_over(memory, pending, text, [buffer, buffer_len, written]);
    }
    let into = slice_mut(memory, buffer, buffer_len)?;
    let needed = nn.output(wide(context), index, into)?;
    let fits = needed <= u64::from(buffer_len);
    let needed = u32::try_from(needed).map_err(|_| invalid("the output is beyond 32 bits"))?;
    put(memory, written, needed)?;
    if fits {
        pending.n_out = needed;
        Ok(())
    } else {
        Err(error(NnCode::TooLarge, "the buffer is too short").into())
    }
}

/// One token of the answer. The end is told by an errno, after the piece it comes with.
fn compute_single(nn: &mut Nn, _: &mut [u8], pending: &mut Pending, [context]: [u32; 1]) -> Result<(), Failure> {
    about(nn, pending, context);
    let token = nn.answer_single(wide(context))?;
    pending.n_out = u32::try_from(token.piece.len()).unwrap_or(u32::MAX);
    token.ending.map_or(Ok(()), |ending| Err(Failure::Ending(ending)))
}

fn get_output_single(nn: &mut Nn, memory: &mut [u8], pending: &mut Pending, args: [u32; 5]) -> Result<(), Failure> {
    let [context, index, buffer, buffer_len, written] = args;
    about(nn, pending, context);
    slice(memory, written, 4)?;
    let metadata;
    let text = match index {
        ANSWER => nn.talk(wide(context))?.piece().ok_or_else(|| invalid("no token was computed"))?,
        METADATA => {
            metadata = nn.metadata(wide(context))?;
            metadata.as_bytes()
        }
        _ => return Err(no_output()),
    };
    hand_over(memory, pending, text, [buffer, buffer_len, written])
}

fn fini_single(nn: &mut Nn, _: &mut [u8], pending: &mut Pending, [context]: [u32; 1]) -> Result<(), Failure> {
    about(nn, pending, context);
    nn.fini_single(wide(context))
}

/// Copies a text into the guest's buffer, as a whole or not at all; its length is told in any case.
fn hand_over(memory: &mut [u8], pending: &mut Pending, text: &[u8], [buffer, buffer_len, written]: [u32; 3]) -> Result<(), Failure> {
    let needed = u32::try_from(text.len()).map_err(|_| invalid("the output is beyond 32 bits"))?;
    let into = slice_mut(memory, buffer, buffer_len)?;
    let fits = into.get_mut(..text.len()).map(|into| into.copy_from_slice(text)).is_some();
    put(memory, written, needed)?;
    if fits {
        pending.n_out = needed;
        Ok(())
    } else {
        Err(error(NnCode::TooLarge, "the buffer is too short").into())
    }
}

fn no_output() -> Failure {
    invalid("a language model has output 0, its answer, and output 1, metadata").into()
}

/// A graph that is granted by name stays loaded; what a guest gives up is only its handle.
fn unload(nn: &mut Nn, _: &mut [u8], pending: &mut Pending, [graph]: [u32; 1]) -> Result<(), Failure> {
    pending.handle = graph;
    nn.unload(wide(graph))?;
    pending.rule = Nn::rule(wide(graph));
    Ok(())
}

fn finalize_execution_context(nn: &mut Nn, _: &mut [u8], pending: &mut Pending, [context]: [u32; 1]) -> Result<(), Failure> {
    about(nn, pending, context);
    nn.close(wide(context))?;
    Ok(())
}

/// Notes which context, and so which grant, a call is about.
fn about(nn: &Nn, pending: &mut Pending, context: u32) {
    pending.handle = context;
    pending.rule = nn.graph_of(wide(context)).map_or(0, Nn::rule);
}

fn tensor_type(number: u8) -> Option<TensorType> {
    Some(match number {
        0 => TensorType::Fp16,
        1 => TensorType::Fp32,
        2 => TensorType::Fp64,
        3 => TensorType::U8,
        4 => TensorType::I32,
        5 => TensorType::I64,
        _ => return None,
    })
}

/// `nn_errno`. It has no number for what is not permitted; not supported comes nearest.
fn errno(code: NnCode) -> u16 {
    match code {
        NnCode::InvalidArgument => 1,
        NnCode::InvalidEncoding => 2,
        NnCode::RuntimeError | NnCode::Timeout | NnCode::Unknown => 5,
        NnCode::UnsupportedOperation | NnCode::Security => 6,
        NnCode::TooLarge => 7,
        NnCode::NotFound => 8,
    }
}

/// The end of an answer is no failure, and yet the guest is told by a number.
fn ending_errno(ending: Ending) -> (Outcome, u16) {
    match ending {
        Ending::Busy(_) => (Outcome::Error, 4),
        Ending::EndOfSequence => (Outcome::Ok, 100),
        Ending::ContextFull => (Outcome::Error, 101),
        Ending::PromptTooLong { .. } => (Outcome::Error, 102),
    }
}

/// Never fails where pointers have 32 bits or more.
fn wide(number: u32) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}

fn narrow(handle: usize) -> Result<u32, Failure> {
    u32::try_from(handle).map_err(|_| invalid("no such handle").into())
}

fn outside() -> Failure {
    invalid("a pointer or a length leaves the guest's memory").into()
}

fn slice(memory: &[u8], at: u32, len: u32) -> Result<&[u8], Failure> {
    let end = wide(at).checked_add(wide(len)).ok_or_else(outside)?;
    memory.get(wide(at)..end).ok_or_else(outside)
}

fn slice_mut(memory: &mut [u8], at: u32, len: u32) -> Result<&mut [u8], Failure> {
    let end = wide(at).checked_add(wide(len)).ok_or_else(outside)?;
    memory.get_mut(wide(at)..end).ok_or_else(outside)
}

fn get(memory: &[u8], at: u32) -> Result<u32, Failure> {
    let bytes = slice(memory, at, 4)?.first_chunk::<4>().ok_or_else(outside)?;
    Ok(u32::from_le_bytes(*bytes))
}

fn put(memory: &mut [u8], at: u32, value: u32) -> Result<(), Failure> {
    slice_mut(memory, at, 4)?.copy_from_slice(&value.to_le_bytes());
    Ok(())
}
