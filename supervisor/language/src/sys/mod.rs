//! llama.cpp, by its C interface.
//!
//! Runs in: language host. The only place of this crate with `unsafe`: llama.cpp is C++, and everything said to it is.
//! Invariant: what is handed out cannot be used after what it hangs on is freed: a [`Context`] and a [`Sampler`] hold their [`Model`], and a context the
//! [`Pool`] that computes for it. No length, index or token reaches llama.cpp unchecked.
//! Still possible: llama.cpp ends the process where it finds itself in a state that should not be, and an exception that leaves it does. The daemon sees a
//! host that died.
#![allow(unsafe_code, reason = "a C interface; each call stands beside its reason")]

mod context;
mod engine;
mod model;
mod pool;
mod sampler;

pub use context::Context;
pub use context::Decoded;
pub use context::Entry;
pub use context::Wanted;
pub use engine::Backend;
pub use engine::layout;
pub use engine::missing_instructions;
pub use engine::no_debugger;
pub use engine::version;
pub use engine::words;
pub use model::Model;
pub use model::Token;
pub use pool::Pool;
pub use sampler::Chain;
pub use sampler::Sampler;
