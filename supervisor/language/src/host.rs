//! The life of a language host, in order.
//!
//! Runs in: language host.
//! Invariant: the process is locked before it reads a byte of the model, and has told the daemon so.
//! Still possible after the lock: reading the one model file, computing, answering on channels that the daemon sends, ending.

use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::Barrier;
use std::sync::Mutex;
use std::sync::OnceLock;
use std::time::Instant;

use edgeguard_sandbox::Confined;
use edgeguard_sandbox::FilesystemUse;
use edgeguard_sandbox::Profile;
use edgeguard_sandbox::Role;
use edgeguard_wire::Channel;
use edgeguard_wire::ChannelError;
use edgeguard_wire::graph::Encoding;
use edgeguard_wire::graph::FromGraph;
use edgeguard_wire::graph::Load;
use edgeguard_wire::graph::Loaded;
use edgeguard_wire::graph::ModelInfo;
use edgeguard_wire::graph::TensorInfo;
use edgeguard_wire::graph::ToGraph;
use edgeguard_wire::language::Bounds;
use edgeguard_wire::language::LanguageModel;
use edgeguard_wire::tensor::TensorType;
use rustix::process::Resource;
use rustix::process::Rlimit;

use crate::error::HostError;
use crate::error::chain;
use crate::lane::Served;
use crate::lane::Width;
use crate::load::load;
use crate::log;
use crate::peers::Peers;
use crate::serve::Host;
use crate::sys;
use crate::sys::Backend;
use crate::sys::Pool;

/// The most steps at once.
const MAX_COMPUTES: u32 = 64;
/// The most engine threads of one context.
const MAX_THREADS: u32 = 64;
/// The most contexts.
const MAX_CONTEXTS: u32 = 256;
/// The most tokens of a context.
const MAX_TOKENS: u32 = 1 << 20;
/// Stack of a serving thread, in bytes: the engine's parser of grammars calls itself.
const STACK: usize = 16 << 20;
/// The longest reason in [`FromGraph::Failed`], in bytes.
const MAX_REASON: usize = 4096;

/// What exists before the lock.
struct Started {
    backend: Backend,
    host: Arc<Host>,
    /// What computes.
    pool: Arc<Pool>,
    width: Width,
    bounds: Bounds,
}

/// Is a language host until the daemon closes the control socket, which stands at descriptor 0.
///
/// # Errors
/// [`HostError`]: the process must end.
pub fn run(expected_parent: u32) -> Result<(), HostError> {
    let hardened = edgeguard_sandbox::harden(Role::Language, expected_parent)?;
    sys::no_debugger(&hardened);
    let control = rustix::stdio::stdin().try_clone_to_owned().map_err(HostError::Control)?;
    let control = Channel::from_fd(control);

    let (assignment, model) = receive_load(&control)?;
    if let Some(memory) = assignment.memory {
        limit_memory(memory)?;
    }

    // Before there is a second thread: the kernel's rules are inherited by threads, not spread to them.
    let restricted = hardened.restrict_filesystem(&[], assignment.landlock_floor)?;

    // Every thread of this process, and everything that the engine and the event queue make at first use.
    let started = start(&assignment)?;

    let profile = Profile { role: Role::Language, filesystem: FilesystemUse::None };
    let confined = restricted.confine(&profile, started)?;
    control.send(&FromGraph::Confined(Box::new(confined.report().clone())), &[])?;

    match control.recv()? {
        (ToGraph::Run, _) => {}
        (other, _) => return Err(HostError::OutOfPhase { expected: "run", found: name(&other) }),
    }
    serve_model(confined, &control, &assignment, model)
}

fn receive_load(control: &Channel) -> Result<(Load, OwnedFd), HostError> {
    let (frame, fds) = control.recv()?;
    let load = match frame {
        ToGraph::Load(load) => *load,
        other => return Err(HostError::OutOfPhase { expected: "load", found: name(&other) }),
    };
    if load.encoding != Encoding::Gguf || load.engine != edgeguard_wire::graph::Engine::LlamaCpp {
        return Err(HostError::OutOfPhase { expected: "load of a GGUF model by llama.cpp", found: "load of another" });
    }
    let Ok([model]) = <[OwnedFd; 1]>::try_from(fds) else {
        return Err(HostError::OutOfPhase { expected: "load with one descriptor", found: "load with another number" });
    };
    Ok((load, model))
}

/// What contexts and computes may take. The weights, which are mapped from their file and never written, do not count (`getrlimit(2)`, `RLIMIT_DATA`).
fn limit_memory(bytes: u64) -> Result<(), HostError> {
    let limit = Rlimit { current: Some(bytes), maximum: Some(bytes) };
    rustix::process::setrlimit(Resource::Data, limit).map_err(|errno| HostError::Memory(errno.into()))
}

/// Starts the engine and all threads, and waits until all of them have come as far as they can without a model.
fn start(assignment: &Load) -> Result<Started, HostError> {
    let missing = sys::missing_instructions();
    if !missing.is_empty() {
        return Err(HostError::Processor(missing.join(", ")));
    }
    let Some(bounds) = assignment.language else {
        return Err(HostError::OutOfPhase { expected: "load with a language model's bounds", found: "load without" });
    };
    let computes = bounded("computes", assignment.computes, MAX_COMPUTES)?;
    let threads = bounded("threads", assignment.threads, MAX_THREADS)?;
    let contexts = bounded("contexts", bounds.contexts, MAX_CONTEXTS)?;
    bounded("context", bounds.context, MAX_TOKENS)?;

    let backend = Backend::start();
    // Threads of one pool wait for each other at every step of a compute: more of them than processors cost more than they bring, unless the policy says so.
    let processors = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let all = threads.saturating_mul(computes.min(contexts)).min(u32::try_from(processors).unwrap_or(u32::MAX)).max(threads);
    let pool = u8::try_from(all).ok().and_then(|all| Pool::start(backend, all)).ok_or(HostError::Pool)?;
    let width = Width { threads: i32::try_from(threads).map_err(|_| HostError::Pool)?, computes };

    let peers = Peers::new().map_err(HostError::Threads)?;
    let host = Arc::new(Host { served: OnceLock::new(), peers, queue: Mutex::default() });
    let ready = Arc::new(Barrier::new(computes as usize + 1));
    for seat in 0..computes {
        let host = Arc::clone(&host);
        let ready = Arc::clone(&ready);
        let serve = move || {
            ready.wait();
            let error = host.serve();
            log(&format!("serving thread ends: {error}"));
            // With a thread lost, workers would wait for nobody. The daemon starts another host.
            std::process::exit(1);
        };
        let thread = std::thread::Builder::new().name(format!("seat-{seat}")).stack_size(STACK);
        thread.spawn(serve).map_err(HostError::Threads)?;
    }
    ready.wait();
    Ok(Started { backend, host, pool: Arc::new(pool), width, bounds })
}

/// Loads the model, tells the daemon, and then takes up channels as they come.
fn serve_model(started: Confined<Started>, control: &Channel, assignment: &Load, model: OwnedFd) -> Result<(), HostError> {
    let (Started { backend, host, pool, width, bounds }, _) = started.into_parts();
    let begun = Instant::now();
    let model = load(backend, model, &assignment.sha256, &pool);
    let served = match model.and_then(|model| Served::new(model, pool, width, bounds)) {
        Ok(served) => Arc::new(served),
        Err(error) => {
            let mut reason = chain(&error);
            reason.truncate(reason.floor_char_boundary(MAX_REASON));
            control.send(&FromGraph::Failed { reason }, &[])?;
            return Err(HostError::Model(error));
        }
    };
    let load_ns = begun.elapsed().as_nanos().try_into().unwrap_or(u64::MAX);
    let language = LanguageModel {
        context: served.tokens(),
        embedding: served.model().embedding(),
        // What llama.cpp itself says where it is built from sources without their history, as it is here.
        build: 0,
        commit: sys::version(),
    };
    let engine = format!("llama.cpp {}", sys::version());
    if host.served.set(served).is_err() {
        return Err(HostError::OutOfPhase { expected: "one model", found: "a second" });
    }
    control.send(&FromGraph::Loaded(Loaded { model: interface(), language: Some(language), engine, load_ns }), &[])?;
    loop {
        match control.recv() {
            Ok((ToGraph::Channel { region }, fds)) => take_up(&host, fds, region),
            Ok((other, _)) => return Err(HostError::OutOfPhase { expected: "channel", found: name(&other) }),
            Err(ChannelError::Closed) => return Ok(()),
            Err(error) => return Err(error.into()),
        }
    }
}

/// The inputs and outputs that wasi-nn guests know of a language model: all are bytes of any number.
fn interface() -> ModelInfo {
    let text = |name: &str| TensorInfo { name: name.into(), ty: Some(TensorType::U8), dims: Some(vec![None]) };
    ModelInfo { inputs: vec![text("prompt"), text("configuration")], outputs: vec![text("answer"), text("metadata")] }
}

/// A channel that cannot be served is closed, which its worker notices; the others go on.
fn take_up(host: &Host, fds: Vec<OwnedFd>, region: u64) {
    let Ok([socket, memory]) = <[OwnedFd; 2]>::try_from(fds) else {
        log("channel refused: expected two descriptors, the socket and the region");
        return;
    };
    if let Err(error) = host.peers.add(socket, memory, region) {
        log(&format!("channel refused: {error}"));
    }
}

fn bounded(field: &'static str, found: u32, max: u32) -> Result<u32, HostError> {
    if found == 0 || found > max { Err(HostError::Bounds { field, found, max }) } else { Ok(found) }
}

fn name(frame: &ToGraph) -> &'static str {
    match frame {
        ToGraph::Library { .. } => "library",
        ToGraph::Libraries { .. } => "libraries",
        ToGraph::Load(_) => "load",
        ToGraph::Run => "run",
        ToGraph::Channel { .. } => "channel",
    }
}
