//! The one thing a compiler does.
//!
//! Runs in: compiler, confined. The module may be hostile in every way; the worst it can do here is to cost time and memory.

use std::io;
use std::os::fd::OwnedFd;

use edgeguard_wire::compile::FromCompile;
use edgeguard_wire::worker::ModuleKind;
use wasmtime::Engine;

/// The most bytes of a module, 128 MiB.
const MAX_MODULE: u64 = 128 << 20;

/// Why there is no native code.
#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error("expected two descriptors, the module and a file for its native code; got {0}")]
    Descriptors(usize),
    #[error("cannot read the module: {0}")]
    Read(#[source] io::Error),
    #[error("expected a wasm module or component in binary form; found {0}")]
    NotWasm(&'static str),
    #[error("{0}")]
    Refused(String),
    #[error("cannot write the native code: {0}")]
    Write(#[source] io::Error),
}

/// Compiles the module behind the first descriptor into the second.
pub fn compile(engine: &Engine, fds: Vec<OwnedFd>) -> FromCompile {
    match try_compile(engine, fds) {
        Ok((kind, len)) => FromCompile::Compiled { kind, len },
        Err(failure) => FromCompile::Failed { reason: edgeguard_engine::bounded(&failure.to_string()) },
    }
}

fn try_compile(engine: &Engine, fds: Vec<OwnedFd>) -> Result<(ModuleKind, u64), Failure> {
    let [module, code] = <[OwnedFd; 2]>::try_from(fds).map_err(|fds| Failure::Descriptors(fds.len()))?;
    let wasm = edgeguard_sandbox::read_sealed(&module, MAX_MODULE).map_err(Failure::Read)?;
    let kind = kind_of(&wasm)?;
    let native = match kind {
        ModuleKind::Core => engine.precompile_module(&wasm),
        ModuleKind::Component => engine.precompile_component(&wasm),
    }
    .map_err(|error| Failure::Refused(edgeguard_engine::describe(&error)))?;
    write_all(&code, &native).map_err(Failure::Write)?;
    Ok((kind, native.len() as u64))
}

/// By the eight bytes that every wasm binary begins with: magic number, version, layer.
fn kind_of(wasm: &[u8]) -> Result<ModuleKind, Failure> {
    match wasm.first_chunk::<8>() {
        Some(b"\0asm\x01\0\0\0") => Ok(ModuleKind::Core),
        Some(b"\0asm\x0d\0\x01\0") => Ok(ModuleKind::Component),
        Some([b'\0', b'a', b's', b'm', ..]) => Err(Failure::NotWasm("a wasm binary of another version")),
        Some(_) => Err(Failure::NotWasm("something else")),
        None => Err(Failure::NotWasm("less than eight bytes")),
    }
}

fn write_all(file: &OwnedFd, bytes: &[u8]) -> io::Result<()> {
    let mut done = 0;
    while let Some(rest) = bytes.get(done..).filter(|rest| !rest.is_empty()) {
        match rustix::io::pwrite(file, rest, done as u64) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(written) => done += written,
            Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}
