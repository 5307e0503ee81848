//! Neural-network inference for WASI guests: granted graphs, typed tensors, typed errors.
//!
//! Runs in: the guest, inside the worker's sandbox.
//! Does not: load models. A guest names a graph that its operator granted; it never sees the model's bytes, its path or the
//! device it runs on.
//!
//! # One call from end to end
//!
//! ```no_run
//! use edgeguard_guest::{Graph, Port, Tensor};
//!
//! /// What the model calls its inputs and outputs, and where it puts them.
//! const SAMPLES: Port = Port::new(0, "input");
//! const STATE: Port = Port::new(1, "state");
//! const PROBABILITY: Port = Port::new(0, "output");
//!
//! fn main() -> Result<(), edgeguard_guest::Error> {
//!     let graph = Graph::open("vad")?;
//!     let mut context = graph.context()?;
//!
//!     context.set_input(SAMPLES, &Tensor::new(&[1, 576], &[0.0_f32; 576])?)?;
//!     context.set_input(STATE, &Tensor::new(&[2, 1, 128], &[0.0_f32; 256])?)?;
//!     context.compute()?;
//!
//!     let speech = context.output::<f32>(PROBABILITY)?;
//!     println!("p = {:?}", speech.first());
//!     Ok(())
//! }
//! ```
//!
//! # Two ABIs, one source
//!
//! A core module (`wasm32-wasip1`) imports `wasi_ephemeral_nn`, which knows tensors by index; a component imports
//! `wasi:nn@0.2.0-rc-2024-10-28`, which knows them by name. Feature `component` chooses the second. A [`Port`] carries both,
//! so the same guest builds either way. On any other target every call answers [`Code::UnsupportedOperation`], so that a
//! guest's own unit tests build and run on the machine they are written on.
//!
//! # What a refusal looks like
//!
//! ```no_run
//! use edgeguard_guest::{Code, Error, Graph};
//!
//! match Graph::open("wakeword") {
//!     Ok(_) => println!("granted"),
//!     Err(Error::Host { code: Code::NotFound, .. }) => eprintln!("the policy of this module grants no graph `wakeword`"),
//!     Err(other) => eprintln!("{other}"),
//! }
//! ```

mod error;
mod graph;
pub mod language;
mod sys;
mod tensor;

pub use error::Call;
pub use error::Code;
pub use error::Error;
pub use error::Result;
pub use graph::Context;
pub use graph::Graph;
pub use graph::Port;
pub use tensor::Bf16;
pub use tensor::Element;
pub use tensor::ElementType;
pub use tensor::F16;
pub use tensor::Tensor;
