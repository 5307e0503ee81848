//! The life of a graph host, in order.
//!
//! Runs in: graph host.
//! Invariant: the process is locked before it reads a byte of the model, and has told the daemon so.
//! Still possible after the lock: reading the one model file, computing, answering on channels that the daemon sends, ending.

use std::os::fd::AsFd as _;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::Barrier;
use std::sync::OnceLock;
use std::time::Instant;

use edgeguard_sandbox::Confined;
use edgeguard_sandbox::FilesystemUse;
use edgeguard_sandbox::Profile;
use edgeguard_sandbox::Role;
use edgeguard_wire::Channel;
use edgeguard_wire::ChannelError;
use edgeguard_wire::graph::FromGraph;
use edgeguard_wire::graph::Load;
use edgeguard_wire::graph::Loaded;
use edgeguard_wire::graph::ToGraph;

use crate::engine::LoadError;
use crate::engine::Seat;
use crate::engines;
use crate::error::GraphError;
use crate::error::chain;
use crate::load::load;
use crate::log;
use crate::peers::Peers;
use crate::serve::Host;

/// The most computes at once.
const MAX_COMPUTES: u32 = 64;

/// The most engine threads of one compute.
const MAX_THREADS: u32 = 64;

/// The longest reason in [`FromGraph::Failed`], in bytes.
const MAX_REASON: usize = 4096;

/// Is a graph host until the daemon closes the control socket, which stands at descriptor 0.
///
/// # Errors
/// [`GraphError`]: the process must end.
pub fn run(expected_parent: u32) -> Result<(), GraphError> {
    let hardened = edgeguard_sandbox::harden(Role::Graph, expected_parent)?;
    let control = rustix::stdio::stdin().try_clone_to_owned().map_err(GraphError::Control)?;
    let control = Channel::from_fd(control);

    let (assignment, model) = receive_load(&control)?;

    // Before there is a second thread: the kernel's rules are inherited by threads, not spread to them.
    let restricted = hardened.restrict_filesystem(&[], assignment.landlock_floor)?;

    // Every thread of this process, and everything that the allocator, the engine and the event queue make at first use.
    let host = start(&assignment)?;

    let profile = Profile { role: Role::Graph, filesystem: FilesystemUse::None };
    let mut confined = restricted.confine(&profile, host)?;
    control.send(&FromGraph::Confined(Box::new(confined.report().clone())), &[])?;

    match control.recv()? {
        (ToGraph::Run, _) => {}
        (other, _) => return Err(GraphError::OutOfPhase { expected: "run", found: name(&other) }),
    }
    serve_model(&mut confined, &control, &assignment, model)
}

fn receive_load(control: &Channel) -> Result<(Load, OwnedFd), GraphError> {
    let (frame, fds) = control.recv()?;
    let load = match frame {
        ToGraph::Load(load) => *load,
        other => return Err(GraphError::OutOfPhase { expected: "load", found: name(&other) }),
    };
    let Ok([model]) = <[OwnedFd; 1]>::try_from(fds) else {
        return Err(GraphError::OutOfPhase { expected: "load with one descriptor", found: "load with another number" });
    };
    Ok((load, model))
}

/// Starts the engine and the threads that serve, and waits until all of them have come as far as they can without a model.
fn start(assignment: &Load) -> Result<Arc<Host>, GraphError> {
    let computes = bounded("computes", assignment.computes, MAX_COMPUTES)?;
    let threads = bounded("threads", assignment.threads, MAX_THREADS)?;
    let engine = engines::start(assignment.encoding, assignment.target, computes, threads).map_err(GraphError::Engine)?;
    let peers = Peers::new().map_err(GraphError::Threads)?;
    let host = Arc::new(Host { engine, graph: OnceLock::new(), tried: OnceLock::new(), peers });
    let ready = Arc::new(Barrier::new(computes + 1));
    for seat in 0..computes {
        let host = Arc::clone(&host);
        let ready = Arc::clone(&ready);
        let serve = move || {
            host.engine.enter(Seat(seat), &|| {
                ready.wait();
                let error = host.serve(Seat(seat));
                log(&format!("serving thread ends: {error}"));
            });
            // With a seat lost, workers would wait for nobody. The daemon starts another host.
            std::process::exit(1);
        };
        std::thread::Builder::new().name(format!("seat-{seat}")).spawn(serve).map_err(GraphError::Threads)?;
    }
    ready.wait();
    Ok(host)
}

/// Loads the model, tells the daemon, and then takes up channels as they come.
fn serve_model(host: &mut Confined<Arc<Host>>, control: &Channel, assignment: &Load, model: OwnedFd) -> Result<(), GraphError> {
    let host = host.get();
    let begun = Instant::now();
    let graph = match load(&*host.engine, model.as_fd(), &assignment.sha256) {
        Ok(graph) => graph,
        Err(error) => {
            let mut reason = chain(&error);
            reason.truncate(reason.floor_char_boundary(MAX_REASON));
            control.send(&FromGraph::Failed { reason }, &[])?;
            return Err(GraphError::Model(error));
        }
    };
    drop(model);
    let load_ns = begun.elapsed().as_nanos().try_into().unwrap_or(u64::MAX);
    let loaded = Loaded { model: graph.info().clone(), language: None, engine: host.engine.version(), load_ns };
    if host.graph.set(graph).is_err() {
        return Err(GraphError::OutOfPhase { expected: "one model", found: "a second" });
    }
    host.tried.wait();
    control.send(&FromGraph::Loaded(loaded), &[])?;
    loop {
        match control.recv() {
            Ok((ToGraph::Channel { region }, fds)) => take_up(host, fds, region),
            Ok((other, _)) => return Err(GraphError::OutOfPhase { expected: "channel", found: name(&other) }),
            Err(ChannelError::Closed) => return Ok(()),
            Err(error) => return Err(error.into()),
        }
    }
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

fn bounded(field: &'static str, found: u32, max: u32) -> Result<usize, GraphError> {
    if found == 0 || found > max {
        return Err(GraphError::Bounds { field, found, max });
    }
    usize::try_from(found).map_err(|_| GraphError::Engine(LoadError::Unservable(format!("`{field}` does not fit this machine"))))
}

fn name(frame: &ToGraph) -> &'static str {
    match frame {
        ToGraph::Library { .. } => "library",
        ToGraph::Load(_) => "load",
        ToGraph::Run => "run",
        ToGraph::Channel { .. } => "channel",
    }
}
