//! Worker processes: from a standby that knows nothing to the confined process of one module.
//!
//! Runs in: daemon.
//! The order is in the types: [`Standby`] → [`Standby::assign`] → [`Worker`]; only a `Worker` can [`Worker::invoke`], and there is one only after the daemon
//! looked at the process itself and wrote what it found to the journal.

use std::collections::HashMap;
use std::os::fd::AsFd as _;
use std::os::fd::BorrowedFd;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::PoisonError;
use std::sync::Weak;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering;
use std::time::Instant;

use edgeguard_audit::Consumer;
use edgeguard_audit::Source;
use edgeguard_sandbox::Report;
use edgeguard_sandbox::Role;
use edgeguard_sandbox::SharedMemory;
use edgeguard_wire::Dialogue;
use edgeguard_wire::worker::Assignment;
use edgeguard_wire::worker::Finished;
use edgeguard_wire::worker::FromWorker;
use edgeguard_wire::worker::Http;
use edgeguard_wire::worker::Invocation;
use edgeguard_wire::worker::ToWorker;
use rustix::event::EventfdFlags;
use tokio::sync::oneshot;
use tokio::sync::watch;

use crate::admit::Admitted;
use crate::admit::GrantedGraph;
use crate::child::Child;
use crate::child::ChildError;
use crate::child::Exit;
use crate::compiler::STARTUP;
use crate::events;
use crate::graphs::GraphError;
use crate::graphs::GraphHost;
use crate::graphs::InUse;
use crate::invoke::Records;
use crate::ledger::Ledger;
use crate::ledger::LedgerError;
use crate::ledger::SourceId;

/// Why there is no worker.
#[derive(Debug, thiserror::Error)]
pub enum WorkerError {
    /// The process.
    #[error("the worker did not come up")]
    Child(#[from] ChildError),
    /// A graph it needs.
    #[error("a granted graph is not there")]
    Graph(#[from] GraphError),
    /// Shared memory.
    #[error("cannot make an audit ring")]
    Ring(#[source] std::io::Error),
    /// The journal takes no records.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
}

/// A hardened process with a running engine and nothing granted.
#[derive(Debug)]
pub struct Standby {
    child: Child,
    dialogue: Dialogue,
}

/// How an invocation ended, as the daemon knows it.
#[derive(Debug)]
pub enum Ended {
    /// The worker said so; and its account.
    Finished(Finished, Records),
    /// The worker is gone, and this is what it had recorded of this invocation.
    WorkerGone(Exit, Records),
}

/// A confined worker of one module.
#[derive(Debug)]
pub struct Worker {
    /// Sorts by time; names the worker in records.
    pub uuid: uuid::Uuid,
    /// What the worker reported of its confinement, and the daemon checked.
    pub report: Report,
    /// Where the module's rings are known in the ledger.
    pub source: SourceId,
    child: Child,
    pending: Mutex<Pending>,
    gone: Mutex<Option<Exit>>,
    /// It was ended, and is not gone yet: nobody may give it anything to do.
    ended: AtomicBool,
    next: AtomicU64,
    last_used: Mutex<Instant>,
    /// Keeps its graphs loaded.
    graphs: Vec<InUse>,
}

impl Drop for Worker {
    fn drop(&mut self) {
        let last = *lock(&self.last_used);
        self.graphs.iter().for_each(|graph| graph.at(last));
    }
}

/// Who waits for what. A guest thread runs one invocation, and gets the next when the end of that one is accounted for.
#[derive(Debug, Default)]
struct Pending {
    waiting: HashMap<u64, Waiting>,
    /// Guest threads that have nothing to do.
    idle: Vec<u32>,
}

#[derive(Debug)]
struct Waiting {
    ring: u32,
    ended: oneshot::Sender<Ended>,
}

impl Standby {
    /// Starts a worker process and waits until it has hardened itself.
    ///
    /// # Errors
    /// It does not start, or this host lacks what it needs.
    pub async fn spawn(libexec: &Path) -> Result<Self, WorkerError> {
        let child = Child::spawn(Role::Worker, &libexec.join("edgeguard-worker"))?;
        let mut dialogue = Dialogue::new();
        match child.recv_within(&mut dialogue, STARTUP).await? {
            FromWorker::Standby => Ok(Self { child, dialogue }),
            _ => Err(child.refused("it spoke out of turn").into()),
        }
    }

    /// Whether its process still waits.
    #[must_use]
    pub fn alive(&self) -> bool {
        self.child.alive()
    }

    /// Gives it everything it may ever have, watches it lock itself in, looks, records, and only then lets it run.
    ///
    /// # Errors
    /// It refuses, or is not confined as the policy wants.
    pub async fn assign(mut self, module: &Arc<Admitted>, graphs: Vec<InUse>, ledger: &Arc<Ledger>) -> Result<Arc<Worker>, WorkerError> {
        // On its way to the disk before the grant is in the worker's hands, and there before the worker may run: the disk and the worker work at the same time.
        let granted = ledger.record(events::grants_given(module));
        let uuid = uuid::Uuid::now_v7();
        let (assignment, fds, rings) = provisions(module)?;
        let doorbell = eventfd()?;
        let mut passed: Vec<BorrowedFd<'_>> = vec![module.code.as_fd(), doorbell.as_fd()];
        passed.extend(module.dirs.iter().map(|dir| dir.dir.as_fd()));
        passed.extend(fds.iter().map(OwnedFd::as_fd));
        self.child.send(&ToWorker::Assign(Box::new(assignment)), &passed)?;
        drop(passed);

        let report = match self.child.recv_within(&mut self.dialogue, STARTUP).await? {
            FromWorker::Confined(report) => *report,
            FromWorker::Refused { reason } => return Err(self.child.refused(&reason).into()),
            _ => return Err(self.child.refused("it spoke out of turn").into()),
        };
        self.child.look()?;
        if let Some(wish) = module.landlock_wish.filter(|wish| report.landlock_abi < *wish) {
            tracing::warn!(
                module = module.name,
                preferred = wish,
                found = report.landlock_abi,
                "this kernel has less of Landlock than the policy prefers"
            );
        }
        granted.await?;
        ledger.record(events::process_started(self.child.pid(), "worker", &module.name, &report)).await?;
        let source = Source::new(&module.name, uuid, module.digest.0, module.policy_digest);
        let process = self.child.pidfd().map_err(WorkerError::Ring)?;
        let source = ledger.attach(source, module.privacy, rings, doorbell, process);
        self.child.send(&ToWorker::Run, &[])?;

        let worker = Arc::new(Worker {
            uuid,
            report,
            source,
            child: self.child,
            pending: Mutex::new(Pending { waiting: HashMap::new(), idle: (0..module.limits.instances).rev().collect() }),
            gone: Mutex::new(None),
            ended: AtomicBool::new(false),
            next: AtomicU64::new(1),
            last_used: Mutex::new(Instant::now()),
            graphs,
        });
        tokio::spawn(listen(Arc::clone(&worker), self.dialogue, Arc::clone(module), Arc::clone(ledger)));
        for (index, graph) in module.graphs.iter().enumerate() {
            let wanted = (index, graph.region, module.limits.instances);
            tokio::spawn(renew(Arc::downgrade(&worker), wanted, graph.host.generations(), Arc::downgrade(&graph.host)));
        }
        Ok(worker)
    }
}

impl Worker {
    /// Its process id.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.pid()
    }

    /// Whether it still runs, and may go on.
    #[must_use]
    pub fn alive(&self) -> bool {
        !self.ended.load(Ordering::Acquire) && lock(&self.gone).is_none()
    }

    /// Since when it has had nothing to do; `None` while it has.
    #[must_use]
    pub fn idle_since(&self) -> Option<Instant> {
        lock(&self.pending).waiting.is_empty().then(|| *lock(&self.last_used))
    }

    /// Runs one fresh instance with these descriptors: input or, of one that serves, its client; output; error. `begins` is told on which ring, before the worker is.
    ///
    /// # Errors
    /// The worker takes no frame, or has no guest thread left, which the module's permits exclude. It is then killed.
    pub fn invoke(&self, pipes: [OwnedFd; 3], begins: impl FnOnce(Option<u32>)) -> Result<oneshot::Receiver<Ended>, ChildError> {
        let id = self.next.fetch_add(1, Ordering::Relaxed);
        let (ended, end) = oneshot::channel();
        // Held over the look at `gone`, so that the listener either sees this entry or has said that the worker is gone.
        let mut pending = lock(&self.pending);
        if let Some(exit) = *lock(&self.gone) {
            begins(None);
            let _ = ended.send(Ended::WorkerGone(exit, Records::default()));
            return Ok(end);
        }
        let Some(ring) = pending.idle.pop() else {
            drop(pending);
            begins(None);
            self.kill();
            return Err(self.child.dishonest("all its guest threads have something to do"));
        };
        pending.waiting.insert(id, Waiting { ring, ended });
        drop(pending);
        begins(Some(ring));
        let frame = ToWorker::Invoke(Invocation { id, ring });
        self.child.send(&frame, &pipes.each_ref().map(|pipe| pipe.as_fd())).inspect_err(|_| self.kill())?;
        Ok(end)
    }

    /// Takes who waits for what has ended. Nothing if nobody asked for it, or for it there.
    fn heard(&self, finished: &Finished) -> Option<oneshot::Sender<Ended>> {
        let mut pending = lock(&self.pending);
        pending.waiting.get(&finished.id).filter(|waiting| waiting.ring == finished.ring)?;
        pending.waiting.remove(&finished.id).map(|waiting| waiting.ended)
    }

    /// Ends it; whatever runs in it ends with it.
    pub fn kill(&self) {
        self.ended.store(true, Ordering::Release);
        self.child.kill();
    }
}

/// Everything beside the code and the directories: for each instance a ring, and for each of its graphs a channel.
fn provisions(module: &Admitted) -> Result<(Assignment, Vec<OwnedFd>, Vec<Consumer>), WorkerError> {
    let mut fds = Vec::new();
    let mut rings = Vec::new();
    for _ in 0..module.limits.instances {
        let (memory, fd) = SharedMemory::create("audit-ring", edgeguard_audit::RING_LEN).map_err(WorkerError::Ring)?;
        rings.push(Consumer::new(memory));
        fds.push(fd);
        for graph in &module.graphs {
            let connection = graph.host.connect(graph.region)?;
            fds.push(connection.socket);
            fds.push(connection.region);
        }
    }
    let graph = |graph: &GrantedGraph| {
        let loaded = graph.host.loaded().ok_or(GraphError::Down)?;
        let (model, language) = (loaded.model.clone(), loaded.language.clone());
        Ok(edgeguard_wire::worker::Graph { name: graph.name.clone(), model, language, region: graph.region, deadline: graph.deadline })
    };
    let assignment = Assignment {
        module: module.name.clone(),
        kind: module.kind,
        dirs: module.dirs.iter().map(|dir| dir.grant.clone()).collect(),
        graphs: module.graphs.iter().map(graph).collect::<Result<_, GraphError>>()?,
        limits: module.limits,
        args: module.args.clone(),
        env: module.env.clone(),
        landlock_floor: module.landlock_floor,
        http: module.http.as_ref().map(|http| Http {
            request_head: http.request_head,
            request_body: http.request_body,
            response_body: http.response_body,
            read_timeout: http.read_timeout,
        }),
    };
    Ok((assignment, fds, rings))
}

/// Hears what the worker says until it is gone, then accounts for what it left behind.
async fn listen(worker: Arc<Worker>, mut dialogue: Dialogue, module: Arc<Admitted>, ledger: Arc<Ledger>) {
    let cause = loop {
        match worker.child.recv(&mut dialogue).await {
            Ok(FromWorker::Finished(finished)) => {
                *lock(&worker.last_used) = Instant::now();
                let Some(ended) = worker.heard(&finished) else {
                    break Some(crate::chain(&worker.child.dishonest("it finished what nobody asked for")));
                };
                // Here, because ends are heard one after the other, and whoever waits for them runs when it likes.
                let records = ledger.settle(worker.source, finished.ring, finished.produced);
                lock(&worker.pending).idle.push(finished.ring);
                let _ = ended.send(Ended::Finished(finished, records));
            }
            Ok(FromWorker::GraphStalled { graph }) => {
                let Some(GrantedGraph { name, host, .. }) = module.graphs.get(usize::from(graph)) else {
                    break Some(crate::chain(&worker.child.dishonest("it has no such graph")));
                };
                tracing::warn!(module = module.name, graph = name, "compute did not end before the deadline; its host is replaced");
                host.replace();
            }
            Ok(_) => break None,
            Err(ChildError::Gone { .. }) => break None,
            Err(error) => break Some(crate::chain(&error)),
        }
    };
    worker.kill();
    let exit = worker.child.reap().await;
    *lock(&worker.gone) = Some(exit);
    let left = ledger.detach(worker.source);
    ledger.note(events::process_exited(worker.pid(), "worker", &module.name, exit, cause.as_deref()));
    tracing::info!(module = module.name, pid = worker.pid(), %exit, cause, "worker is gone");
    for (_, Waiting { ring, ended }) in lock(&worker.pending).waiting.drain() {
        let _ = ended.send(Ended::WorkerGone(exit, left.get(ring as usize).copied().unwrap_or_default()));
    }
}

/// Gives the worker new channels each time a graph host was replaced. It keeps neither of the two: a graph that nobody else holds goes.
async fn renew(
    worker: Weak<Worker>,
    (index, region, instances): (usize, u64, u32),
    mut generations: watch::Receiver<u64>,
    host: Weak<GraphHost>,
) {
    while generations.changed().await.is_ok() {
        let Some((worker, host)) = worker.upgrade().filter(|worker| worker.alive()).zip(host.upgrade()) else { return };
        let connect = || -> Result<(), WorkerError> {
            let connections = (0..instances).map(|_| host.connect(region)).collect::<Result<Vec<_>, _>>()?;
            let fds: Vec<BorrowedFd<'_>> =
                connections.iter().flat_map(|connection| [connection.socket.as_fd(), connection.region.as_fd()]).collect();
            worker.child.send(&ToWorker::RenewGraph { graph: u16::try_from(index).unwrap_or(u16::MAX) }, &fds)?;
            Ok(())
        };
        if let Err(error) = connect() {
            tracing::error!(graph = host.name, error = crate::chain(&error), "a worker keeps its broken channel");
        }
    }
}

fn eventfd() -> Result<OwnedFd, WorkerError> {
    rustix::event::eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK).map_err(|errno| WorkerError::Ring(errno.into()))
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
