//! Graph hosts: one process for one model, shared by every module that was granted the same digest.
//!
//! Runs in: daemon.
//! Invariant: a host is connected to a worker only by a channel that the daemon made for exactly that pair.
//! A host that dies or hangs is replaced within a budget; beyond it the graph stays down, and says so.

use std::collections::HashMap;
use std::collections::VecDeque;
use std::os::fd::AsFd;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::OnceLock;
use std::sync::PoisonError;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering;
use std::time::Duration;
use std::time::Instant;

use cap_std::fs::File;
use edgeguard_policy::Engines;
use edgeguard_policy::GraphGrant;
use edgeguard_policy::GraphLoad;
use edgeguard_sandbox::Role;
use edgeguard_sandbox::SharedMemory;
use edgeguard_wire::Channel;
use edgeguard_wire::Dialogue;
use edgeguard_wire::graph::Encoding;
use edgeguard_wire::graph::Engine;
use edgeguard_wire::graph::FromGraph;
use edgeguard_wire::graph::Load;
use edgeguard_wire::graph::Loaded;
use edgeguard_wire::graph::Target;
use edgeguard_wire::graph::ToGraph;
use edgeguard_wire::language::Bounds;
use tokio::sync::watch;

use crate::child::Child;
use crate::child::ChildError;
use crate::child::Exit;
use crate::compiler::STARTUP;
use crate::events;
use crate::handle;
use crate::ledger::Ledger;
use crate::ledger::LedgerError;
use crate::libraries::Libraries;
use crate::libraries::LibrariesError;

/// Why a graph is not there.
#[derive(Debug, thiserror::Error)]
pub enum GraphError {
    /// The model file.
    #[error(transparent)]
    Model(#[from] handle::HandleError),
    /// The process.
    #[error("the graph host did not come up")]
    Child(#[from] ChildError),
    /// It died more often than its budget allows.
    #[error("the graph host died {BUDGET} times within {BUDGET_WINDOW:?} and stays down; `edgeguard reload` tries again")]
    Exhausted,
    /// It is being replaced.
    #[error("the graph host is being replaced; try again")]
    Down,
    /// The engine's libraries.
    #[error(transparent)]
    Libraries(#[from] LibrariesError),
    /// No memory for tensors.
    #[error("cannot make a tensor region")]
    Region(#[source] std::io::Error),
    /// The journal takes no records.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
}

/// What makes two grants the same graph.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct GraphKey {
    sha256: [u8; 32],
    weights: Option<[u8; 32]>,
    encoding: Encoding,
    target: Target,
    engine: Engine,
    computes: u32,
    threads: u32,
    memory: Option<u64>,
    language: Option<Bounds>,
    load: GraphLoad,
    /// The one module that has it, of one that is private.
    owner: Option<String>,
}

/// All graph hosts.
#[derive(Debug)]
pub struct Graphs {
    libexec: PathBuf,
    engines: Engines,
    landlock_floor: u32,
    ledger: Arc<Ledger>,
    hosts: tokio::sync::Mutex<HashMap<GraphKey, Arc<GraphHost>>>,
}

/// One graph, whichever process hosts it at the moment.
#[derive(Debug)]
pub struct GraphHost {
    /// The name of the first grant that asked for it, for logs and records.
    pub name: String,
    /// The model's digest.
    pub sha256: [u8; 32],
    key: GraphKey,
    /// Opened when its module was admitted last.
    files: Mutex<Arc<ModelFiles>>,
    /// Held by whoever starts the process, so that it is started once.
    starting: tokio::sync::Mutex<()>,
    /// Workers that have channels to it, or are about to.
    users: AtomicUsize,
    /// When the last of them was last used.
    last_used: Mutex<Instant>,
    /// Processes started in another's place.
    restarts: AtomicU64,
    present: Mutex<Option<Present>>,
    deaths: Mutex<VecDeque<Instant>>,
    /// Counts replacements; workers renew their channels when it moves.
    generation: watch::Sender<u64>,
}

/// The files of a model, open.
#[derive(Debug)]
struct ModelFiles {
    model: File,
    /// Of formats that keep them apart.
    weights: Option<File>,
}

impl ModelFiles {
    fn open(grant: &GraphGrant) -> Result<Arc<Self>, handle::HandleError> {
        let weights = grant.weights.as_ref().map(|weights| handle::file("weights", &weights.path)).transpose()?;
        Ok(Arc::new(Self { model: handle::file("model", &grant.model)?, weights }))
    }
}

#[derive(Debug, Clone)]
struct Present {
    child: Arc<Child>,
    loaded: Arc<Loaded>,
    /// Why it was let go, if it was: nothing is to take its place.
    let_go: Arc<OnceLock<&'static str>>,
}

impl Present {
    /// Ends the process for good.
    fn let_go(&self, why: &'static str) {
        // Said twice, the first counts.
        let _ = self.let_go.set(why);
        self.child.kill();
    }
}

/// Where a graph stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// Its process computes.
    Serving,
    /// It is loaded on first use, and not loaded.
    StandingBy,
    /// It should serve, and does not.
    Down,
}

/// Keeps a graph loaded.
#[derive(Debug)]
pub struct InUse(Arc<GraphHost>);

impl InUse {
    /// It was used then.
    pub fn at(&self, when: Instant) {
        let mut last = lock(&self.0.last_used);
        *last = when.max(*last);
    }
}

impl Drop for InUse {
    fn drop(&mut self) {
        self.0.users.fetch_sub(1, Ordering::AcqRel);
    }
}

/// One new connection to a host: what a worker is given.
#[derive(Debug)]
pub struct Connection {
    /// The worker's end of the channel.
    pub socket: OwnedFd,
    /// The tensor region.
    pub region: OwnedFd,
}

impl Graphs {
    /// No hosts yet.
    #[must_use]
    pub fn new(libexec: &std::path::Path, engines: Engines, landlock_floor: u32, ledger: Arc<Ledger>) -> Arc<Self> {
        Arc::new(Self { libexec: libexec.to_owned(), engines, landlock_floor, ledger, hosts: tokio::sync::Mutex::default() })
    }

    /// The host of this module's grant's model: the one that runs, or a new one. One that is loaded on first use is not started here.
    ///
    /// # Errors
    /// The model is absent, or its engine is; where it is loaded now, it is of another digest, or does not load.
    pub async fn host(self: &Arc<Self>, module: &str, grant: &GraphGrant) -> Result<Arc<GraphHost>, GraphError> {
        let key = GraphKey::of(module, grant);
        let mut hosts = self.hosts.lock().await;
        // What is not there is said now, whenever the graph is loaded.
        Libraries::of(key.engine, key.encoding, &self.engines)?;
        if let Some(host) = hosts.get(&key) {
            if host.loaded().is_some() {
                return Ok(Arc::clone(host));
            }
            if host.waits() {
                *lock(&host.files) = ModelFiles::open(grant)?;
                return Ok(Arc::clone(host));
            }
        }
        let host = Arc::new(GraphHost {
            name: grant.name.to_string(),
            sha256: grant.sha256,
            key: key.clone(),
            files: Mutex::new(ModelFiles::open(grant)?),
            starting: tokio::sync::Mutex::new(()),
            users: AtomicUsize::new(0),
            last_used: Mutex::new(Instant::now()),
            restarts: AtomicU64::new(0),
            present: Mutex::new(None),
            deaths: Mutex::default(),
            generation: watch::Sender::new(0),
        });
        if !host.waits() {
            self.start_and_keep(&host).await?;
        }
        hosts.insert(key, Arc::clone(&host));
        Ok(host)
    }

    async fn start_and_keep(self: &Arc<Self>, host: &Arc<GraphHost>) -> Result<(), GraphError> {
        if let Err(error) = self.start(host).await {
            self.ledger.record(events::graph_failed(host, &crate::chain(&error))).await?;
            return Err(error);
        }
        tokio::spawn(Arc::clone(self).keep(Arc::clone(host)));
        Ok(())
    }

    /// Has the graphs of a module loaded that wait for their first use, and keeps them so.
    ///
    /// # Errors
    /// One does not load, or died too often of late. Those that are loaded when the service starts are not waited for.
    pub async fn ready(self: &Arc<Self>, hosts: impl Iterator<Item = &Arc<GraphHost>>) -> Result<Vec<InUse>, GraphError> {
        let mut used = Vec::new();
        for host in hosts {
            // First, so that it does not go between here and its use.
            used.push(host.in_use());
            if !host.waits() || host.loaded().is_some() {
                continue;
            }
            let _once = host.starting.lock().await;
            if host.loaded().is_some() {
                continue;
            }
            if host.recent_deaths() >= BUDGET {
                return Err(GraphError::Exhausted);
            }
            self.start_and_keep(host).await.inspect_err(|_| host.died())?;
            // Workers that had channels to one before get channels to this one.
            host.generation.send_modify(|generation| *generation += 1);
        }
        Ok(used)
    }

    /// Lets graphs go that nobody used for as long as their policies say, and those that no policy names any more.
    pub async fn unload_idle(&self) {
        self.hosts.lock().await.retain(|_, host| {
            let mut present = lock(&host.present);
            // Whoever else may come to want it holds it: a module in force, or one that is replaced and has not ended, or a worker. What is left is this
            // table and, while there is a process, the task that waits for its end. Nobody gets another while the table is locked.
            if Arc::strong_count(host) > 1 + usize::from(present.is_some()) {
                return true;
            }
            if let Some(present) = present.take() {
                tracing::info!(graph = host.name, pid = present.child.pid(), "graph unloaded: no policy names it any more");
                present.let_go("no policy names it any more");
            }
            false
        });
        for host in self.list().await {
            let GraphLoad::FirstUse { idle: Some(idle) } = host.key.load else { continue };
            if host.users.load(Ordering::Acquire) == 0
                && lock(&host.last_used).elapsed() >= idle
                && let Some(present) = lock(&host.present).take()
            {
                tracing::info!(graph = host.name, pid = present.child.pid(), "graph unloaded: nobody uses it");
                present.let_go("nobody used it");
            }
        }
    }

    /// All hosts, always in the same order, for `status` and `/metrics`.
    pub async fn list(&self) -> Vec<Arc<GraphHost>> {
        let mut hosts: Vec<_> = self.hosts.lock().await.values().cloned().collect();
        hosts.sort_by_cached_key(|host| (host.name.clone(), host.sha256, format!("{:?}", host.key)));
        hosts
    }

    /// Starts the process, has it confined before it reads the model, and waits until it is ready.
    async fn start(&self, host: &Arc<GraphHost>) -> Result<(), GraphError> {
        let key = &host.key;
        let library = Libraries::of(key.engine, key.encoding, &self.engines)?;
        let (role, program) = program(key.engine);
        let child = Child::spawn(role, &self.libexec.join(program))?;
        let mut dialogue = Dialogue::new();
        library.send(&child)?;
        let load = Load {
            sha256: key.sha256,
            weights: key.weights,
            encoding: key.encoding,
            target: key.target,
            engine: key.engine,
            computes: key.computes,
            threads: key.threads,
            language: key.language,
            memory: key.memory,
            landlock_floor: self.landlock_floor,
        };
        let files = Arc::clone(&lock(&host.files));
        let fds: Vec<_> = std::iter::once(&files.model).chain(&files.weights).map(AsFd::as_fd).collect();
        child.send(&ToGraph::Load(Box::new(load)), &fds)?;
        let report = match child.recv_within(&mut dialogue, STARTUP).await? {
            FromGraph::Confined(report) => report,
            FromGraph::Unusable { reason } | FromGraph::Failed { reason } => return Err(child.refused(&reason).into()),
            FromGraph::Loaded(_) => return Err(child.refused("it loaded before it was told to").into()),
        };
        child.look()?;
        self.ledger.record(events::process_started(child.pid(), "graph", &host.name, &report)).await?;
        child.send(&ToGraph::Run, &[])?;
        let loaded = match child.recv_within(&mut dialogue, LOADING).await? {
            FromGraph::Loaded(loaded) => loaded,
            FromGraph::Unusable { reason } | FromGraph::Failed { reason } => return Err(child.refused(&reason).into()),
            FromGraph::Confined(_) => return Err(child.refused("it confined itself twice").into()),
        };
        self.ledger.record(events::graph_loaded(host, &crate::child::escape(&loaded.engine), loaded.load_ns)).await?;
        tracing::info!(graph = host.name, pid = child.pid(), ms = loaded.load_ns / 1_000_000, "graph loaded");
        *lock(&host.last_used) = Instant::now();
        *lock(&host.present) = Some(Present { child: Arc::new(child), loaded: Arc::new(loaded), let_go: Arc::default() });
        Ok(())
    }

    /// Waits for the process's end, and replaces it while the budget lasts.
    async fn keep(self: Arc<Self>, host: Arc<GraphHost>) {
        loop {
            let Some(present) = lock(&host.present).clone() else { return };
            let (exit, cause) = watch_until_gone(&present.child).await;
            if let Some(why) = present.let_go.get() {
                self.ledger.note(events::process_exited(present.child.pid(), "graph", &host.name, exit, Some(why)));
                return;
            }
            // Whoever wants it now waits for the one that takes its place.
            let _once = host.starting.lock().await;
            *lock(&host.present) = None;
            drop(present.loaded);
            self.ledger.note(events::process_exited(present.child.pid(), "graph", &host.name, exit, cause));
            tracing::warn!(graph = host.name, %exit, cause, "graph host is gone");
            if !self.restart(&host, exit).await {
                return;
            }
        }
    }

    /// Starts the process anew, as often as the budget allows: one that dies on its way up has died too.
    async fn restart(&self, host: &Arc<GraphHost>, exit: Exit) -> bool {
        while host.may_restart() {
            match self.start(host).await {
                Ok(()) => {
                    self.ledger.note(events::graph_restarted(host, &exit.to_string()));
                    host.restarts.fetch_add(1, Ordering::Relaxed);
                    host.generation.send_modify(|generation| *generation += 1);
                    return true;
                }
                Err(error) => {
                    let error = crate::chain(&error);
                    tracing::error!(graph = host.name, error, "graph host does not come back");
                    self.ledger.note(events::graph_failed(host, &error));
                }
            }
        }
        self.ledger.note(events::graph_failed(host, &GraphError::Exhausted.to_string()));
        tracing::error!(graph = host.name, "{}", GraphError::Exhausted);
        false
    }
}

impl GraphHost {
    /// What the host said of the model, while it runs.
    #[must_use]
    pub fn loaded(&self) -> Option<Arc<Loaded>> {
        lock(&self.present).as_ref().map(|present| Arc::clone(&present.loaded))
    }

    /// The digest of its weights, where they lie in a file of their own.
    #[must_use]
    pub fn weights(&self) -> Option<[u8; 32]> {
        self.key.weights
    }

    /// The host's process id, while it runs.
    #[must_use]
    pub fn pid(&self) -> Option<u32> {
        lock(&self.present).as_ref().map(|present| present.child.pid())
    }

    /// Follows replacements.
    #[must_use]
    pub fn generations(&self) -> watch::Receiver<u64> {
        self.generation.subscribe()
    }

    /// Makes a channel and a region, gives the host its ends, and returns the worker's.
    ///
    /// # Errors
    /// The host is down, or memory is.
    pub fn connect(&self, region: u64) -> Result<Connection, GraphError> {
        let present = lock(&self.present).clone().ok_or(GraphError::Down)?;
        let len = usize::try_from(region).unwrap_or(usize::MAX);
        let (_unmapped_at_once, memory) = SharedMemory::create("tensors", len).map_err(GraphError::Region)?;
        let (theirs, ours) = Channel::pair().map_err(|error| GraphError::Region(std::io::Error::other(error)))?;
        present.child.send(&ToGraph::Channel { region }, &[theirs.as_fd(), memory.as_fd()])?;
        Ok(Connection { socket: ours.into_fd(), region: memory })
    }

    /// A compute did not end: the process is killed, and the task that waits for its end replaces it.
    pub fn replace(&self) {
        if let Some(present) = lock(&self.present).clone() {
            present.child.kill();
        }
    }

    /// Where it stands.
    #[must_use]
    pub fn standing(&self) -> Standing {
        match (self.loaded().is_some(), self.waits() && self.recent_deaths() == 0) {
            (true, _) => Standing::Serving,
            (false, true) => Standing::StandingBy,
            (false, false) => Standing::Down,
        }
    }

    /// How often its process was replaced.
    #[must_use]
    pub fn restarts(&self) -> u64 {
        self.restarts.load(Ordering::Relaxed)
    }

    /// Whether it is loaded on first use.
    fn waits(&self) -> bool {
        matches!(self.key.load, GraphLoad::FirstUse { .. })
    }

    fn in_use(self: &Arc<Self>) -> InUse {
        self.users.fetch_add(1, Ordering::AcqRel);
        InUse(Arc::clone(self))
    }

    /// How long a worker that is granted it may keep it loaded without using it.
    #[must_use]
    pub fn idle(&self) -> Option<Duration> {
        match self.key.load {
            GraphLoad::FirstUse { idle } => idle,
            GraphLoad::Start => None,
        }
    }

    fn may_restart(&self) -> bool {
        self.died();
        self.recent_deaths() < BUDGET
    }

    fn died(&self) {
        lock(&self.deaths).push_back(Instant::now());
    }

    fn recent_deaths(&self) -> usize {
        let mut deaths = lock(&self.deaths);
        while deaths.front().is_some_and(|death| death.elapsed() > BUDGET_WINDOW) {
            deaths.pop_front();
        }
        deaths.len()
    }
}

/// A host says nothing once it has loaded; whatever it says then ends it.
async fn watch_until_gone(child: &Child) -> (Exit, Option<&'static str>) {
    let mut dialogue = Dialogue::new();
    tokio::select! {
        exit = child.reap() => (exit, None),
        said = child.recv::<FromGraph>(&mut dialogue) => {
            child.kill();
            let spoke = !matches!(said, Err(ChildError::Gone { .. }));
            (child.reap().await, spoke.then_some("it spoke out of turn"))
        }
    }
}

impl GraphKey {
    /// Grants that differ in what the model may cost are different graphs: none may use up another's.
    fn of(module: &str, grant: &GraphGrant) -> Self {
        let engine = match grant.engine {
            edgeguard_policy::Engine::Rten => Engine::Rten,
            edgeguard_policy::Engine::OnnxRuntime => Engine::OnnxRuntime,
            edgeguard_policy::Engine::LlamaCpp => Engine::LlamaCpp,
            edgeguard_policy::Engine::PyTorch => Engine::PyTorch,
            edgeguard_policy::Engine::OpenVino => Engine::OpenVino,
        };
        let processors = std::thread::available_parallelism().map_or(1, |count| u32::try_from(count.get()).unwrap_or(1));
        let computes = match engine {
            Engine::Rten => processors.clamp(1, 4),
            // Each is a session with weights of its own.
            Engine::OnnxRuntime => 1,
            // Contexts that wait are computed together.
            Engine::LlamaCpp => 1,
            // Each has helpers of its own.
            Engine::PyTorch => 1,
            // Its host takes no more.
            Engine::OpenVino => 1,
        };
        Self {
            sha256: grant.sha256,
            weights: grant.weights.as_ref().map(|weights| weights.sha256),
            encoding: match grant.encoding {
                edgeguard_policy::Encoding::Onnx => Encoding::Onnx,
                edgeguard_policy::Encoding::Gguf => Encoding::Gguf,
                edgeguard_policy::Encoding::PyTorch => Encoding::PyTorch,
                edgeguard_policy::Encoding::OpenVino => Encoding::OpenVino,
            },
            target: match grant.target {
                edgeguard_policy::Target::Cpu => Target::Cpu,
            },
            engine,
            computes: grant.computes.unwrap_or(computes),
            threads: grant.threads,
            memory: grant.memory,
            load: grant.load,
            owner: grant.terms.private.then(|| module.to_owned()),
            language: grant.language.map(|bounds| Bounds { context: bounds.context, contexts: bounds.contexts }),
        }
    }
}

/// Each engine has a program of its own, so that none is mapped beside another.
fn program(engine: Engine) -> (Role, &'static str) {
    match engine {
        Engine::Rten => (Role::Graph, "edgeguard-graph"),
        Engine::OnnxRuntime => (Role::OnnxRuntime, "edgeguard-onnxruntime"),
        Engine::LlamaCpp => (Role::Language, "edgeguard-language"),
        Engine::PyTorch => (Role::Torch, "edgeguard-torch"),
        Engine::OpenVino => (Role::OpenVino, "edgeguard-openvino"),
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Length of a tensor region where the policy does not say it. It is memory only where tensors have been.
pub const REGION: u64 = 32 << 20;

/// How long a model may take to load.
const LOADING: Duration = Duration::from_secs(300);

/// Deaths that a graph is forgiven within [`BUDGET_WINDOW`].
const BUDGET: usize = 5;
const BUDGET_WINDOW: Duration = Duration::from_secs(60);
