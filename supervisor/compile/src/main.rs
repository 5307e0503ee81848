//! `edgeguard-compile`: wasm in, native code out, once, in a process that can do nothing else.
//!
//! Runs in: a process of its own, started by the daemon for one module.
//! Invariant: not a byte of the module is read before the process is confined; after one answer it is gone.
//! Does not: open anything, map or run what it compiled. That compiling never ends is the daemon's to notice: it holds the clock.
#![forbid(unsafe_code)]

mod answer;

use std::os::fd::AsFd;
use std::process::ExitCode;

use edgeguard_sandbox::Confined;
use edgeguard_sandbox::FilesystemUse;
use edgeguard_sandbox::Profile;
use edgeguard_sandbox::Role;
use edgeguard_sandbox::Unconfinable;
use edgeguard_wire::Channel;
use edgeguard_wire::ChannelError;
use edgeguard_wire::compile::FromCompile;
use edgeguard_wire::compile::ToCompile;
use wasmtime::Engine;

/// Why the compiler gave up without an answer. It goes to the log; the daemon sees the process end.
#[derive(Debug, thiserror::Error)]
enum Fault {
    #[error("expected one argument, the process id of `edgeguardd`; this program is started by it")]
    Usage,
    #[error("cannot confine this process")]
    Unconfinable(#[from] Unconfinable),
    #[error("cannot take the control socket")]
    Control(#[source] std::io::Error),
    #[error("cannot make the engine: {0}")]
    Engine(String),
    #[error("the daemon's channel failed")]
    Channel(#[from] ChannelError),
}

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(fault) => {
            eprintln!("edgeguard-compile: {}", chain(&fault));
            // 4: the host cannot confine. Anything else is a fault of whoever started this.
            ExitCode::from(if matches!(fault, Fault::Unconfinable(_)) { 4 } else { 2 })
        }
    }
}

fn run() -> Result<(), Fault> {
    // Forget what was inherited; give up what is not needed.
    let mut args = std::env::args();
    let parent = args.nth(1).filter(|_| args.next().is_none()).and_then(|arg| arg.parse().ok()).ok_or(Fault::Usage)?;
    let hardened = edgeguard_sandbox::harden(Role::Compile, parent)?;
    let control = Channel::from_fd(std::io::stdin().as_fd().try_clone_to_owned().map_err(Fault::Control)?);

    // The engine looks at the processor, so it is made before the lock. No file is granted, whatever the kernel's Landlock.
    let engine = edgeguard_engine::compiler().map_err(|error| Fault::Engine(edgeguard_engine::describe(&error)))?;
    let restricted = hardened.restrict_filesystem(&[], LANDLOCK_FLOOR)?;
    let confined = restricted.confine(&Profile { role: Role::Compile, filesystem: FilesystemUse::None }, Compiler { engine, control })?;
    serve(confined)
}

/// The Landlock ABI that a compiler needs: it is granted nothing, so the first one suffices.
const LANDLOCK_FLOOR: u32 = 1;

struct Compiler {
    engine: Engine,
    control: Channel,
}

/// One request, one answer.
fn serve(confined: Confined<Compiler>) -> Result<(), Fault> {
    let Compiler { engine, control } = confined.get();
    control.send(&FromCompile::Confined(Box::new(confined.report().clone())), &[])?;
    let (request, fds) = control.recv::<ToCompile>()?;
    let answer = match request {
        ToCompile::Describe => FromCompile::Described { fingerprint: edgeguard_engine::fingerprint(engine) },
        ToCompile::Compile => answer::compile(engine, fds),
    };
    control.send(&answer, &[])?;
    Ok(())
}

fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    edgeguard_engine::bounded(&text)
}
