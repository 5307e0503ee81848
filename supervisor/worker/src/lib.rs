//! One module's process: the guest in its wasm engine, WASI, and the wasi-nn stub.
//!
//! Runs in: worker.
//! Invariant: nothing of the module is mapped before the process is hardened, and nothing of it runs before the process is
//! confined, has said so, and was told to run.
//! Does not: open sockets, start processes, or decide policy. It is *given* descriptors and an assignment.
//!
//! [`serve()`] is the life of a worker, generic over what runs an invocation: the product's binary gives it [`GuestRunner`], the
//! red team gives it native attack code, in exactly the same sandbox.
#![forbid(unsafe_code)]

mod assignment;
mod clocks;
mod deadline;
mod fault;
mod guest;
mod http;
mod limits;
mod nn;
mod quota;
mod record;
mod recorder;
mod serve;
mod stdio;
mod wasi_p1;
mod wasi_p2;

pub use assignment::Grants;
pub use assignment::GraphFds;
pub use assignment::LaneFds;
pub use deadline::Deadline;
pub use fault::Fault;
pub use fault::Refusal;
pub use guest::GuestRunner;
pub use serve::Ended;
pub use serve::Lane;
pub use serve::Runner;
pub use serve::main;
pub use serve::serve;
pub use stdio::Stdio;
