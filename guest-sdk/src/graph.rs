//! A granted graph, and a context in which it computes.
//!
//! Runs in: the guest. Does not: hold a model; handles only, which mean nothing outside this instance.

use std::fmt;

use crate::error::Error;
use crate::error::Result;
use crate::sys;
use crate::sys::Reading;
use crate::tensor::Element;
use crate::tensor::Tensor;

/// A graph that the module's policy grants, by the name the policy gives it.
#[derive(Debug)]
pub struct Graph {
    handle: sys::Graph,
}

impl Graph {
    /// Opens a granted graph.
    ///
    /// # Errors
    /// [`Error::Host`]; its code is [`Code::NotFound`](crate::Code::NotFound) where the policy grants no such name.
    pub fn open(name: &str) -> Result<Graph> {
        Ok(Graph { handle: sys::Graph::load_by_name(name)? })
    }

    /// Makes a context: inputs and outputs of one computation at a time. Contexts of one graph do not see each other.
    ///
    /// # Errors
    /// [`Error::Host`].
    pub fn context(&self) -> Result<Context> {
        Ok(Context { handle: self.handle.context()? })
    }
}

/// Inputs, one computation, outputs; again and again.
#[derive(Debug)]
pub struct Context {
    handle: sys::Context,
}

impl Context {
    /// The most bytes that [`Context::output`] will take: 64 MiB.
    pub const MAX_OUTPUT: usize = 64 << 20;

    /// Gives the graph an input. Set every input before each [`compute`](Context::compute): components hand them over with it.
    ///
    /// # Errors
    /// [`Error::Host`] where the graph has no such input, or wants another type or shape; [`Error::PortNeedsIndex`] or
    /// [`Error::PortNeedsName`] where the port lacks what this ABI needs.
    pub fn set_input<T: Element>(&mut self, port: impl Into<Port>, tensor: &Tensor<'_, T>) -> Result<()> {
        self.handle.set_input(port.into(), T::TYPE, tensor.dimensions(), sys::bytes(tensor.data()))
    }

    /// Runs the graph on its inputs, and returns once the outputs are there.
    ///
    /// # Errors
    /// [`Error::Host`].
    pub fn compute(&mut self) -> Result<()> {
        self.handle.compute()
    }

    /// Takes an output of the last [`compute`](Context::compute), all of it, row-major.
    ///
    /// # Errors
    /// [`Error::Host`], [`Error::NoSuchOutput`], [`Error::WrongType`], [`Error::TornOutput`]; [`Error::OutputTooLarge`] beyond
    /// [`Context::MAX_OUTPUT`].
    pub fn output<T: Element>(&self, port: impl Into<Port>) -> Result<Vec<T>> {
        let port = port.into();
        let mut room = FIRST_ROOM;
        loop {
            let mut values = vec![T::default(); room.div_ceil(size_of::<T>())];
            match self.handle.output(port, T::TYPE, sys::bytes_mut(&mut values))? {
                Reading::All(bytes) => {
                    values.truncate(whole::<T>(bytes)?);
                    return Ok(values);
                }
                Reading::Needs(_) if room >= Self::MAX_OUTPUT => return Err(Error::OutputTooLarge { room: Self::MAX_OUTPUT }),
                Reading::Needs(bytes) => room = bytes.unwrap_or(0).max(room.saturating_mul(4)).min(Self::MAX_OUTPUT),
            }
        }
    }

    /// Takes an output into memory that the caller keeps, and says how many elements it filled: no allocation in core modules.
    ///
    /// # Errors
    /// As [`output`](Context::output); [`Error::OutputTooLarge`] where it does not fit.
    pub fn output_into<T: Element>(&self, port: impl Into<Port>, into: &mut [T]) -> Result<usize> {
        let room = size_of_val(into);
        match self.handle.output(port.into(), T::TYPE, sys::bytes_mut(into))? {
            Reading::All(bytes) => whole::<T>(bytes),
            Reading::Needs(_) => Err(Error::OutputTooLarge { room }),
        }
    }
}

/// Which input or output: by index for core modules, by name for components, by both for guests that are built as either.
///
/// ```
/// use edgeguard_guest::Port;
///
/// const SAMPLES: Port = Port::new(0, "input");
/// assert_eq!(SAMPLES.to_string(), "0 `input`");
/// assert_eq!(Port::from(3).to_string(), "3");
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Port {
    pub(crate) index: Option<u32>,
    pub(crate) name: Option<&'static str>,
}

impl Port {
    /// A port with its place in the model's list and its name in the model.
    #[must_use]
    pub const fn new(index: u32, name: &'static str) -> Port {
        Port { index: Some(index), name: Some(name) }
    }
}

impl From<u32> for Port {
    fn from(index: u32) -> Port {
        Port { index: Some(index), name: None }
    }
}

impl From<&'static str> for Port {
    fn from(name: &'static str) -> Port {
        Port { index: None, name: Some(name) }
    }
}

impl fmt::Display for Port {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.index, self.name) {
            (Some(index), Some(name)) => write!(f, "{index} `{name}`"),
            (Some(index), None) => write!(f, "{index}"),
            (None, Some(name)) => write!(f, "`{name}`"),
            (None, None) => f.write_str("(none)"),
        }
    }
}

/// Elements in so many bytes, if it is a whole number of them.
fn whole<T: Element>(bytes: usize) -> Result<usize> {
    if bytes.is_multiple_of(size_of::<T>()) { Ok(bytes / size_of::<T>()) } else { Err(Error::TornOutput { bytes, asked: T::TYPE }) }
}

/// Bytes that the first try of [`Context::output`] has room for; a core module learns the true size only by failing.
const FIRST_ROOM: usize = 4096;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn half_an_element_is_an_error() {
        assert_eq!(whole::<f32>(8), Ok(2));
        assert!(matches!(whole::<f32>(7), Err(Error::TornOutput { bytes: 7, .. })));
    }

    #[test]
    fn a_native_build_is_told_that_there_is_no_host() {
        let error = Graph::open("vad").err();
        assert_eq!(error.as_ref().and_then(Error::code), Some(crate::Code::UnsupportedOperation), "{error:?}");
    }
}
