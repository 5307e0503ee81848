//! Native code, from a sealed file to something that can be instantiated.
//!
//! Runs in: worker.
//! Invariant: native code comes from a memfd whose bytes are final, made by `edgeguard-compile` and kept by the daemon with its
//! digest. The engine checks version and configuration; it cannot check the code.

use std::io;
use std::os::fd::AsFd;

use edgeguard_wire::worker::ModuleKind;
use wasmtime::Engine;
use wasmtime::Module;
use wasmtime::component::Component;

/// The most bytes of native code, 512 MiB.
pub const MAX_CODE: u64 = 512 << 20;

/// Loaded native code.
#[derive(Clone)]
pub enum Code {
    /// Of a core module.
    Core(Module),
    /// Of a component.
    Component(Component),
}

/// Why native code was not loaded.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// The descriptor is not a sealed file of bounded size.
    #[error("native code is refused")]
    Read(#[source] io::Error),
    /// The code is of another engine, or damaged.
    #[error("native code does not fit this engine: {0}")]
    Engine(String),
}

/// Loads native code, and makes the image that instances' memories are copied from, so that nothing is left for the first
/// instance to do that a locked process may not.
///
/// # Errors
/// [`LoadError`]
#[allow(unsafe_code, reason = "native code is code: the engine cannot check it, so it wants to hear that we vouch for it")]
pub fn load(engine: &Engine, kind: ModuleKind, code: impl AsFd) -> Result<Code, LoadError> {
    let bytes = edgeguard_sandbox::read_sealed(code, MAX_CODE).map_err(LoadError::Read)?;
    let engine_error = |error: wasmtime::Error| LoadError::Engine(crate::describe(&error));
    match kind {
        ModuleKind::Core => {
            // SAFETY: the daemon sends only what `edgeguard-compile` made, whose digest it has checked, in a file that it sealed.
            let module = unsafe { Module::deserialize(engine, &bytes) }.map_err(engine_error)?;
            module.initialize_copy_on_write_image().map_err(engine_error)?;
            Ok(Code::Core(module))
        }
        ModuleKind::Component => {
            // SAFETY: as above.
            let component = unsafe { Component::deserialize(engine, &bytes) }.map_err(engine_error)?;
            component.initialize_copy_on_write_image().map_err(engine_error)?;
            Ok(Code::Component(component))
        }
    }
}
