//! The life of a graph host, in order.
//!
//! Runs in: graph host.
//! Invariant: the process is locked before it reads a byte of the model, and has told the daemon so.
//! Still possible after the lock: reading the one model's files, computing, answering on channels that the daemon sends, ending.

use std::os::fd::AsFd as _;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::Barrier;
use std::sync::OnceLock;
use std::time::Instant;

use edgeguard_sandbox::Access;
use edgeguard_sandbox::Confined;
use edgeguard_sandbox::FilesystemUse;
use edgeguard_sandbox::FsGrant;
use edgeguard_sandbox::Profile;
use edgeguard_sandbox::Role;
use edgeguard_sandbox::Sealed;
use edgeguard_wire::Channel;
use edgeguard_wire::ChannelError;
use edgeguard_wire::graph::Encoding;
use edgeguard_wire::graph::Engine as EngineName;
use edgeguard_wire::graph::FromGraph;
use edgeguard_wire::graph::Load;
use edgeguard_wire::graph::Loaded;
use edgeguard_wire::graph::Target;
use edgeguard_wire::graph::ToGraph;
use rustix::fs::Mode;
use rustix::fs::OFlags;
use rustix::process::Resource;
use rustix::process::Rlimit;

use crate::engine::Engine;
use crate::engine::LoadError;
use crate::engine::Seat;
use crate::engines;
use crate::engines::onnxruntime::Library;
use crate::engines::onnxruntime::OnnxRuntime;
use crate::engines::openvino::Libraries;
use crate::engines::openvino::LibraryFile;
use crate::engines::openvino::OpenVino;
use crate::error::GraphError;
use crate::error::LibraryError;
use crate::error::chain;
use crate::load::Pinned;
use crate::load::load;
use crate::log;
use crate::peers::Peers;
use crate::serve::Host;
use crate::watch::Watch;

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
    host(expected_parent, Role::Graph, |load, computes, threads| engines::start(load.encoding, load.target, computes, threads))
}

/// As [`run`], on ONNX Runtime: the library that the daemon sends first is mapped before the process is hardened.
///
/// # Errors
/// As [`run`]; besides [`GraphError::Library`].
pub fn run_onnxruntime(expected_parent: u32) -> Result<(), GraphError> {
    // The library reports on its host to its maker unless it is told not to, from the first line on. Told not to, it opens no socket; told otherwise,
    // the filter would kill the process for it.
    edgeguard_sandbox::set_variable(c"ORT_DISABLE_TELEMETRY", c"1")?;
    let library = receive_library(&control()?)?;
    host(expected_parent, Role::OnnxRuntime, move |load, computes, threads| match (load.engine, load.encoding, load.target) {
        (EngineName::OnnxRuntime, Encoding::Onnx, Target::Cpu) => Ok(Box::new(OnnxRuntime::start(library, computes, threads)?)),
        _ => Err(LoadError::Unservable("this host runs ONNX on ONNX Runtime and nothing else".into())),
    })
}

/// As [`run`], on OpenVINO: the libraries that the daemon names first are mapped before the process is hardened.
///
/// # Errors
/// As [`run`]; besides [`GraphError::Library`].
pub fn run_openvino(expected_parent: u32) -> Result<(), GraphError> {
    let (folder, libraries) = receive_libraries(&control()?)?;
    // The library lists its folder for each model, so this host may read it until the model is loaded.
    host_with(expected_parent, Role::OpenVino, Some(&folder), move |load, computes, threads| {
        match (load.engine, load.encoding, load.target) {
            (EngineName::OpenVino, Encoding::Onnx | Encoding::OpenVino, Target::Cpu) => {
                Ok(Box::new(OpenVino::start(libraries, computes, threads)?))
            }
            _ => Err(LoadError::Unservable("this host runs ONNX and OpenVINO's own format on OpenVINO and nothing else".into())),
        }
    })
}

fn control() -> Result<Channel, GraphError> {
    Ok(Channel::from_fd(rustix::stdio::stdin().try_clone_to_owned().map_err(GraphError::Control)?))
}

/// The library is the daemon's word and the operator's file: nothing of a vendor or a guest is read here.
fn receive_library(control: &Channel) -> Result<Library, GraphError> {
    let (frame, fds) = control.recv()?;
    let ToGraph::Library { sha256 } = frame else {
        return Err(GraphError::OutOfPhase { expected: "library", found: name(&frame) });
    };
    let Ok([file]) = <[OwnedFd; 1]>::try_from(fds) else {
        return Err(GraphError::OutOfPhase { expected: "library with one descriptor", found: "library with another number" });
    };
    Library::load(file.as_fd(), &sha256).or_else(|error| {
        control.send(&FromGraph::Unusable { reason: reason(&error) }, &[])?;
        Err(GraphError::Library(error))
    })
}

/// As [`receive_library`].
fn receive_libraries(control: &Channel) -> Result<(String, Libraries), GraphError> {
    let (frame, fds) = control.recv()?;
    let ToGraph::Libraries { folder, files } = frame else {
        return Err(GraphError::OutOfPhase { expected: "libraries", found: name(&frame) });
    };
    if files.len() != fds.len() {
        return Err(GraphError::OutOfPhase { expected: "libraries with a descriptor each", found: "libraries with another number" });
    }
    let files: Vec<LibraryFile> = files.into_iter().zip(fds).map(|((name, sha256), file)| LibraryFile { name, sha256, file }).collect();
    match Libraries::load(&folder, &files) {
        Ok(libraries) => Ok((folder, libraries)),
        Err(error) => {
            control.send(&FromGraph::Unusable { reason: reason(&error) }, &[])?;
            Err(GraphError::Library(error))
        }
    }
}

/// How a host makes its engine.
type Start<'a> = dyn FnOnce(&Load, usize, usize) -> Result<Box<dyn Engine>, LoadError> + 'a;

/// As [`run`], with the sandbox's tables of this role and the engine that `engine` makes of the assignment: for hosts in other crates.
///
/// # Errors
/// As [`run`].
pub fn host(
    expected_parent: u32,
    role: Role,
    engine: impl FnOnce(&Load, usize, usize) -> Result<Box<dyn Engine>, LoadError>,
) -> Result<(), GraphError> {
    host_with(expected_parent, role, None, engine)
}

/// As [`host`], with one folder that the engine may read while it loads its model.
fn host_with(
    expected_parent: u32,
    role: Role,
    folder: Option<&str>,
    engine: impl FnOnce(&Load, usize, usize) -> Result<Box<dyn Engine>, LoadError>,
) -> Result<(), GraphError> {
    let hardened = edgeguard_sandbox::harden(role, expected_parent)?;
    let control = control()?;

    let assigned = receive_load(&control)?;
    let assignment = &assigned.load;

    // Before there is a second thread: the kernel's rules are inherited by threads, not spread to them.
    let restricted = {
        let folder = folder.map(|folder| rustix::fs::open(folder, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty()));
        let folder = folder.transpose().map_err(|errno| GraphError::Library(LibraryError::Read(errno.into())))?;
        let grants: Vec<FsGrant<'_>> = folder.iter().map(|dir| FsGrant { dir: dir.as_fd(), access: Access::Read }).collect();
        hardened.restrict_filesystem(&grants, assignment.landlock_floor)?
    };

    // Every thread of this process, and everything that the allocator, the engine and the event queue make at first use.
    let host = start(assignment, Box::new(engine))?;

    let profile = Profile { role, filesystem: FilesystemUse::None };
    let mut confined = restricted.confine(&profile, host)?;
    control.send(&FromGraph::Confined(Box::new(confined.report().clone())), &[])?;

    match control.recv()? {
        (ToGraph::Run, _) => {}
        (other, _) => return Err(GraphError::OutOfPhase { expected: "run", found: name(&other) }),
    }
    serve_model(&mut confined, &control, assigned)
}

/// The assignment, and the model's files.
struct Assigned {
    load: Load,
    model: OwnedFd,
    weights: Option<OwnedFd>,
}

/// Descriptors and digests belong together, and a format has the files that it has: OpenVINO's own two, all others one.
fn receive_load(control: &Channel) -> Result<Assigned, GraphError> {
    let (frame, fds) = control.recv()?;
    let load = match frame {
        ToGraph::Load(load) => *load,
        other => return Err(GraphError::OutOfPhase { expected: "load", found: name(&other) }),
    };
    if load.weights.is_some() != (load.encoding == Encoding::OpenVino) {
        return Err(GraphError::OutOfPhase { expected: "weights with OpenVINO's own format alone", found: "load of another kind" });
    }
    let mut fds = fds.into_iter();
    match (fds.next(), fds.next(), fds.next(), load.weights) {
        (Some(model), None, None, None) => Ok(Assigned { load, model, weights: None }),
        (Some(model), Some(weights), None, Some(_)) => Ok(Assigned { load, model, weights: Some(weights) }),
        _ => Err(GraphError::OutOfPhase { expected: "load with a descriptor for each file", found: "load with another number" }),
    }
}

/// Starts the engine and the threads that serve, and waits until all of them have come as far as they can without a model.
fn start(assignment: &Load, engine: Box<Start<'_>>) -> Result<Arc<Host>, GraphError> {
    let computes = bounded("computes", assignment.computes, MAX_COMPUTES)?;
    let threads = bounded("threads", assignment.threads, MAX_THREADS)?;
    if let Some(memory) = assignment.memory {
        // Private memory that can be written: heap, stacks, and what engines map for themselves. Tensor regions are shared, and the daemon's.
        rustix::process::setrlimit(Resource::Data, Rlimit { current: Some(memory), maximum: Some(memory) })
            .map_err(|errno| GraphError::Memory(errno.into()))?;
    }
    let engine = engine(assignment, computes, threads).map_err(GraphError::Engine)?;
    let peers = Peers::new().map_err(GraphError::Threads)?;
    let host = Arc::new(Host { engine, graph: OnceLock::new(), tried: OnceLock::new(), peers, watch: Watch::new(computes) });
    let ready = Arc::new(Barrier::new(computes + 2));
    let (own, begun) = (Arc::clone(&host), Arc::clone(&ready));
    let watch = move || -> () {
        begun.wait();
        own.watch.run(&|seat| own.graph.get().is_some_and(|graph| graph.cancel(seat)))
    };
    std::thread::Builder::new().name("deadlines".into()).spawn(watch).map_err(GraphError::Threads)?;
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
fn serve_model(confined: &mut Confined<Arc<Host>>, control: &Channel, assigned: Assigned) -> Result<(), GraphError> {
    let host = Arc::clone(confined.get());
    let begun = Instant::now();
    let Assigned { load: assignment, model, weights } = assigned;
    let pinned = weights.as_ref().zip(assignment.weights.as_ref()).map(|(file, sha256)| Pinned { file: file.as_fd(), sha256 });
    let graph = match load(&*host.engine, Pinned { file: model.as_fd(), sha256: &assignment.sha256 }, pinned) {
        Ok(graph) => graph,
        Err(error) => {
            control.send(&FromGraph::Failed { reason: reason(&error) }, &[])?;
            return Err(GraphError::Model(error));
        }
    };
    drop((model, weights));
    let load_ns = begun.elapsed().as_nanos().try_into().unwrap_or(u64::MAX);
    let sealed = if graph.makes_code() { Sealed::MakesCode } else { Sealed::NoCode };
    let engine = version(&*host.engine, confined.report().role, sealed);
    let loaded = Loaded { model: graph.info().clone(), language: None, engine, load_ns };
    if host.graph.set(graph).is_err() {
        return Err(GraphError::OutOfPhase { expected: "one model", found: "a second" });
    }
    host.tried.wait();
    // What an engine that makes code had for loading goes before the first peer comes.
    confined.seal(sealed)?;
    control.send(&FromGraph::Loaded(loaded), &[])?;
    loop {
        match control.recv() {
            Ok((ToGraph::Channel { region }, fds)) => take_up(&host, fds, region),
            Ok((other, _)) => return Err(GraphError::OutOfPhase { expected: "channel", found: name(&other) }),
            Err(ChannelError::Closed) => return Ok(()),
            Err(error) => return Err(error.into()),
        }
    }
}

/// The engine's version, for the journal; of one that makes code, whether it still may.
fn version(engine: &dyn Engine, role: Role, sealed: Sealed) -> String {
    let version = engine.version();
    match (role.makes_code(), sealed) {
        (false, _) => version,
        (true, Sealed::NoCode) => format!("{version}, sealed without code"),
        (true, Sealed::MakesCode) => format!("{version}, making code for new shapes"),
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

/// An error and its causes, as a frame carries it.
fn reason(error: &dyn std::error::Error) -> String {
    let mut reason = chain(error);
    reason.truncate(reason.floor_char_boundary(MAX_REASON));
    reason
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
        ToGraph::Libraries { .. } => "libraries",
        ToGraph::Load(_) => "load",
        ToGraph::Run => "run",
        ToGraph::Channel { .. } => "channel",
    }
}
