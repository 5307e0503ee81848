//! WASI 0.2 for components: wasmtime-wasi's own functions, recorded by [`crate::recorder`].
//!
//! Runs in: worker, on guest threads.
//! Invariant: every function and every drop of a handle has a record. Where the bindings do not say what a record needs, or a limit
//! is to be kept, the definition is replaced by one of ours around theirs.

use wasmtime::component::Linker;

use crate::guest::Guest;

/// Adds all interfaces.
pub fn add_to_linker(linker: &mut Linker<Guest>) -> wasmtime::Result<()> {
    wasmtime_wasi::p2::add_to_linker_async(linker)
}
