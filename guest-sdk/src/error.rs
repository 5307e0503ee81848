//! What can go wrong, as the host says it or as this crate finds it before asking.
//!
//! Runs in: the guest. Does not: panic.

use std::fmt;

use crate::tensor::ElementType;

/// Shorthand for this crate's results.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why an inference call did not succeed.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Error {
    /// The host was asked and said no.
    Host {
        /// What was asked.
        call: Call,
        /// The host's answer.
        code: Code,
        /// The host's explanation; only components receive one.
        detail: Option<String>,
    },
    /// A tensor's dimensions multiply to something else than the number of its elements.
    Shape {
        /// The dimensions as given.
        dimensions: Vec<u32>,
        /// Their product, or `None` where it does not fit the address space.
        expected: Option<usize>,
        /// Elements in the data.
        found: usize,
    },
    /// A core module knows inputs and outputs by index; this [`Port`](crate::Port) has only a name.
    PortNeedsIndex {
        /// The name it has.
        name: &'static str,
    },
    /// A component knows inputs by name; this [`Port`](crate::Port) has only an index.
    PortNeedsName {
        /// The index it has.
        index: u32,
    },
    /// The graph gave no such output.
    NoSuchOutput {
        /// What was asked for, as the port prints.
        port: String,
    },
    /// The output holds elements of another type than the one asked for; only components can tell.
    WrongType {
        /// The type asked for.
        asked: ElementType,
        /// The type the graph gave.
        found: ElementType,
    },
    /// The output is larger than the buffer, or than [`Context::MAX_OUTPUT`](crate::Context::MAX_OUTPUT).
    OutputTooLarge {
        /// Bytes that there is room for.
        room: usize,
    },
    /// The output's length in bytes is no multiple of the element's.
    TornOutput {
        /// Bytes that the host wrote.
        bytes: usize,
        /// The type asked for.
        asked: ElementType,
    },
}

/// A call of the wasi-nn interface.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Call {
    /// `load_by_name` / `load-by-name`.
    LoadByName,
    /// `init_execution_context` / `graph.init-execution-context`.
    InitExecutionContext,
    /// `set_input`; in components part of `compute`.
    SetInput,
    /// `compute` / `graph-execution-context.compute`.
    Compute,
    /// `get_output`; in components part of `compute`.
    GetOutput,
}

/// The host's answer: the union of what both ABIs and the language-model extension can say.
///
/// Sources: `wasi-nn.witx` `$nn_errno`; `wasi:nn@0.2.0-rc-2024-10-28` `error-code`; numbers from 100 up are WasmEdge's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Code {
    /// The call's arguments do not fit the graph: its index, name, type or shape.
    InvalidArgument,
    /// The host has no engine for this encoding.
    InvalidEncoding,
    /// The module exports no memory, or a pointer leaves it.
    MissingMemory,
    /// The graph serves somebody else; ask again.
    Busy,
    /// The engine failed, or the process that ran it is gone.
    RuntimeError,
    /// The host does not offer this call, this type or this target.
    UnsupportedOperation,
    /// The data do not fit the host's limits, or the guest's buffer.
    TooLarge,
    /// No graph of this name is granted.
    NotFound,
    /// The deadline passed.
    Timeout,
    /// The policy forbids it.
    Security,
    /// A language model reached the end of its text.
    EndOfSequence,
    /// A language model's context is full.
    ContextFull,
    /// The prompt is longer than the model's context.
    PromptTooLong,
    /// The graph is granted, but its model file is missing.
    ModelNotFound,
    /// The host did not say why.
    Unknown,
    /// A number that neither standard names.
    Other(u32),
}

impl Code {
    /// The code of a core module's errno, `None` for success.
    #[cfg_attr(not(all(target_family = "wasm", not(feature = "component"))), allow(dead_code, reason = "used by core modules only"))]
    pub(crate) fn from_errno(errno: u32) -> Option<Code> {
        Some(match errno {
            0 => return None,
            1 => Code::InvalidArgument,
            2 => Code::InvalidEncoding,
            3 => Code::MissingMemory,
            4 => Code::Busy,
            5 => Code::RuntimeError,
            6 => Code::UnsupportedOperation,
            7 => Code::TooLarge,
            8 => Code::NotFound,
            100 => Code::EndOfSequence,
            101 => Code::ContextFull,
            102 => Code::PromptTooLong,
            103 => Code::ModelNotFound,
            other => Code::Other(other),
        })
    }
}

impl Error {
    /// The host's code, where it was the host that refused.
    #[must_use]
    pub fn code(&self) -> Option<Code> {
        match self {
            Error::Host { code, .. } => Some(*code),
            _ => None,
        }
    }
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Code::InvalidArgument => "invalid argument",
            Code::InvalidEncoding => "invalid encoding",
            Code::MissingMemory => "missing memory",
            Code::Busy => "busy",
            Code::RuntimeError => "runtime error",
            Code::UnsupportedOperation => "unsupported operation",
            Code::TooLarge => "too large",
            Code::NotFound => "not found",
            Code::Timeout => "timeout",
            Code::Security => "forbidden by policy",
            Code::EndOfSequence => "end of sequence",
            Code::ContextFull => "context full",
            Code::PromptTooLong => "prompt too long",
            Code::ModelNotFound => "model file not found",
            Code::Unknown => "unspecified failure",
            Code::Other(number) => return write!(f, "error number {number}"),
        })
    }
}

impl fmt::Display for Call {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Call::LoadByName => "load-by-name",
            Call::InitExecutionContext => "init-execution-context",
            Call::SetInput => "set-input",
            Call::Compute => "compute",
            Call::GetOutput => "get-output",
        })
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::Host { call, code, detail: None } => write!(f, "the host refused `{call}`: {code}"),
            Error::Host { call, code, detail: Some(detail) } => write!(f, "the host refused `{call}`: {code}: {detail}"),
            Error::Shape { dimensions, expected: Some(expected), found } => {
                write!(f, "a tensor of shape {dimensions:?} holds {expected} elements, but the data has {found}")
            }
            Error::Shape { dimensions, expected: None, .. } => write!(f, "a tensor of shape {dimensions:?} does not fit the address space"),
            Error::PortNeedsIndex { name } => write!(f, "core modules know tensors by index: give `{name}` one with `Port::new`"),
            Error::PortNeedsName { index } => write!(f, "components know inputs by name: give input {index} one with `Port::new`"),
            Error::NoSuchOutput { port } => write!(f, "the graph gave no output {port}; call `compute` first, and check its name"),
            Error::WrongType { asked, found } => write!(f, "the output holds {found}, but {asked} was asked for"),
            Error::OutputTooLarge { room } => write!(f, "the output is larger than the {room} bytes there is room for"),
            Error::TornOutput { bytes, asked } => write!(f, "the output has {bytes} bytes, which is no whole number of {asked}"),
        }
    }
}

impl std::error::Error for Error {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_errno_of_the_standard_has_its_own_code() {
        let codes: Vec<_> = (0..9).map(Code::from_errno).collect();
        assert_eq!(codes.first(), Some(&None));
        for (number, code) in codes.iter().enumerate().skip(1) {
            assert!(!matches!(code, None | Some(Code::Other(_))), "errno {number} is {code:?}");
            assert_eq!(codes.iter().filter(|other| *other == code).count(), 1, "errno {number} shares {code:?}");
        }
    }

    #[test]
    fn a_number_outside_the_standard_is_kept() {
        assert_eq!(Code::from_errno(77), Some(Code::Other(77)));
        assert_eq!(Code::from_errno(103), Some(Code::ModelNotFound));
    }
}
