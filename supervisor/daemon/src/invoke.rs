//! One invocation, from the request to its settled account.
//!
//! Runs in: daemon.
//! Invariant: the answer is given only after every record of the invocation has been taken from its ring.

use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering;
use std::time::Duration;
use std::time::Instant;

use edgeguard_wire::worker::Limit;
use edgeguard_wire::worker::Outcome;
use edgeguard_wire::worker::Timing;
use rustix::pipe::PipeFlags;
use serde::Serialize;
use tokio::net::unix::pipe;
use tokio::sync::OwnedSemaphorePermit;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use crate::admit::Admitted;
use crate::child::ChildError;
use crate::child::Exit;
use crate::events;
use crate::events::Origin;
use crate::ledger::Ledger;
use crate::ledger::LedgerError;
use crate::modules::Module;
use crate::modules::Modules;
use crate::modules::Start;
use crate::worker::Ended;
use crate::worker::WorkerError;

/// Why an invocation did not begin.
#[derive(Debug, thiserror::Error)]
pub enum InvokeError {
    /// No policy names it.
    #[error("no policy names a module `{0}`; `edgeguard status` lists those that there are")]
    Unknown(String),
    /// It is not admitted.
    #[error("module `{name}` is refused ({code}): {reason}")]
    Refused {
        /// The module.
        name: String,
        /// The refusal's code.
        code: String,
        /// The refusal in words.
        reason: String,
    },
    /// It has clients of its own.
    #[error("module `{name}` serves HTTP, and is asked at `{listen}`; `invoke` is for commands")]
    Serves {
        /// The module.
        name: String,
        /// Where it listens.
        listen: String,
    },
    /// It is no service.
    #[error("module `{0}` does not serve")]
    NoService(String),
    /// Too many wait already.
    #[error("module `{0}` is busy: all its instances run and {MAX_WAITING} invocations wait; try again later")]
    Busy(String),
    /// The policy was replaced while this invocation waited.
    #[error("the policy of `{0}` changed while this invocation waited; try again")]
    Replaced(String),
    /// No worker.
    #[error("module `{name}` has no worker")]
    Worker {
        /// The module.
        name: String,
        /// Why not.
        #[source]
        source: WorkerError,
    },
    /// The worker took no frame.
    #[error("the worker of `{name}` takes no invocation")]
    Child {
        /// The module.
        name: String,
        /// Why not.
        #[source]
        source: ChildError,
    },
    /// No pipes.
    #[error("cannot make pipes")]
    Pipes(#[source] std::io::Error),
    /// Its guests caused more security events than their budget.
    #[error(
        "module `{name}` is suspended for {left_s} s more: its guests were denied so much that it would fill the journal; `edgeguard audit search kind=instance-suspended` says when, and a reload ends it"
    )]
    Suspended {
        /// The module.
        name: String,
        /// For how long it still is, in seconds, rounded up.
        left_s: u64,
    },
    /// Nothing new begins while records cannot be written.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
}

/// A running invocation: its three streams, and its end.
#[derive(Debug)]
pub struct Running {
    /// To the guest.
    pub stdin: pipe::Sender,
    /// From the guest.
    pub stdout: pipe::Receiver,
    /// From the guest.
    pub stderr: pipe::Receiver,
    /// Its settled account.
    pub ending: JoinHandle<Ending>,
}

/// A request that is being answered.
#[derive(Debug)]
pub struct Served {
    /// What the guest prints.
    pub stdout: pipe::Receiver,
    /// The same.
    pub stderr: pipe::Receiver,
    /// Its settled account.
    pub ending: JoinHandle<Ending>,
}

/// The settled account of one invocation; also the JSON that ends a framed answer.
#[derive(Debug, Clone, Serialize)]
pub struct Ending {
    /// `exited`, `trapped`, `limit`, `killed`, or of a client that sent no request `refused`.
    pub outcome: &'static str,
    /// The guest's own exit code, where it had one.
    pub code: Option<i32>,
    /// Which trap, which limit, or which signal.
    pub detail: Option<String>,
    /// Time to start a worker, in microseconds; absent when one ran.
    pub cold_start_us: Option<u64>,
    /// Time from the request to the end, in microseconds.
    pub total_us: u64,
    /// Making the instance, in microseconds.
    pub instantiate_us: u64,
    /// Running it, in microseconds.
    pub run_us: u64,
    /// Waiting for graph hosts, in microseconds.
    pub compute_us: u64,
    /// Inside model engines, in microseconds.
    pub engine_us: u64,
    /// Linear memory at its end, in bytes.
    pub memory: u64,
    /// Records the guest's calls produced, and those that are in the journal.
    pub records: Records,
}

/// Exact accounting: the two are equal, or something is wrong and says so.
#[derive(Debug, Clone, Copy, Default, Serialize)]
pub struct Records {
    /// Produced by the worker.
    pub produced: u64,
    /// Taken into the journal.
    pub recorded: u64,
    /// Times the guest waited for room in its ring.
    pub stalls: u64,
    /// Of those recorded, calls that were denied.
    pub denied: u64,
}

/// Begins an invocation of the module for this peer.
///
/// # Errors
/// [`InvokeError`]
pub async fn begin(modules: &Arc<Modules>, name: &str, peer_uid: u32) -> Result<Running, InvokeError> {
    let admission = admit(modules, name).await?;
    if let Some(http) = &admission.admitted.http {
        return Err(InvokeError::Serves { name: name.into(), listen: http.listen.to_string() });
    }
    // Everything that can fail comes before the guest may begin: from then on somebody must wait for its end.
    let (stdin_guest, stdin) = pipe()?;
    let (stdout, stdout_guest) = pipe()?;
    let (stderr, stderr_guest) = pipe()?;
    let stdin = pipe::Sender::from_owned_fd(stdin).map_err(InvokeError::Pipes)?;
    let stdout = pipe::Receiver::from_owned_fd(stdout).map_err(InvokeError::Pipes)?;
    let stderr = pipe::Receiver::from_owned_fd(stderr).map_err(InvokeError::Pipes)?;
    let ending = admission.start([stdin_guest, stdout_guest, stderr_guest], &Origin::control(peer_uid))?;
    Ok(Running { stdin, stdout, stderr, ending })
}

/// Has the module answer one client, whose connection this is.
///
/// # Errors
/// [`InvokeError`]
pub async fn serve(modules: &Arc<Modules>, name: &str, connection: OwnedFd, origin: Origin) -> Result<Served, InvokeError> {
    let admission = admit(modules, name).await?;
    if admission.admitted.http.is_none() {
        return Err(InvokeError::NoService(name.into()));
    }
    let (stdout, stdout_guest) = pipe()?;
    let (stderr, stderr_guest) = pipe()?;
    let stdout = pipe::Receiver::from_owned_fd(stdout).map_err(InvokeError::Pipes)?;
    let stderr = pipe::Receiver::from_owned_fd(stderr).map_err(InvokeError::Pipes)?;
    let ending = admission.start([connection, stdout_guest, stderr_guest], &origin)?;
    Ok(Served { stdout, stderr, ending })
}

/// A module whose instance may begin.
struct Admission {
    ledger: Arc<Ledger>,
    module: Arc<Module>,
    admitted: Arc<Admitted>,
    permit: OwnedSemaphorePermit,
    start: Start,
    began: Instant,
}

/// Waits until an instance of the module may begin, and has its worker ready.
async fn admit(modules: &Arc<Modules>, name: &str) -> Result<Admission, InvokeError> {
    let began = Instant::now();
    let ledger = Arc::clone(&modules.gate().ledger);
    ledger.usable()?;
    let module = modules.get(name).ok_or_else(|| InvokeError::Unknown(name.into()))?;
    let admitted = match &module.state {
        Ok(admitted) => Arc::clone(admitted),
        Err(refused) => {
            return Err(InvokeError::Refused { name: name.into(), code: refused.code.clone(), reason: refused.reason.clone() });
        }
    };
    let permit = permit(&module).await?;
    // Whoever waited while the policies were loaded has not begun, and does not begin under grants that are no longer given.
    if !modules.get(name).is_some_and(|current| Arc::ptr_eq(&current, &module)) {
        return Err(InvokeError::Replaced(name.into()));
    }
    // Not before: who is refused a place has earned the module nothing.
    ledger.admits(name).map_err(|left| InvokeError::Suspended { name: name.into(), left_s: left.as_secs() + 1 })?;
    let start = modules.worker(&module, &admitted).await.map_err(|source| InvokeError::Worker { name: name.into(), source })?;
    Ok(Admission { ledger, module, admitted, permit, start, began })
}

impl Admission {
    /// Begins it with these descriptors, and sees to it that it has an end.
    fn start(self, passed: [OwnedFd; 3], origin: &Origin) -> Result<JoinHandle<Ending>, InvokeError> {
        let Self { ledger, module, admitted, permit, start, began } = self;
        let name = module.name.as_str();
        let invocation = uuid::Uuid::now_v7();
        ledger.invocation_begins();
        // Before the guest may begin, so that in the journal its calls stand behind this.
        let begins = |ring| ledger.note(events::invocation_started(invocation, name, start.worker.uuid, origin, ring));
        let sent = start.worker.invoke(passed, begins);
        let end = match sent {
            Ok(end) => end,
            Err(source) => {
                ledger.invocation_ends();
                // What has a beginning has an end, though it never came to run.
                let ending = Ending::killed(crate::chain(&source), Records::default(), &start, began);
                ledger.note(events::invocation_ended(invocation, name, start.worker.uuid, &ending));
                return Err(InvokeError::Child { name: name.into(), source });
            }
        };
        let deadline = admitted.limits.deadline;
        Ok(tokio::spawn(async move {
            let ended = ended(&start, end, deadline).await;
            let ending = settle(&ledger, &start, ended, began).await;
            ledger.invocation_ends();
            ledger.note(events::invocation_ended(invocation, &module.name, start.worker.uuid, &ending));
            count(&module, &ending);
            drop(permit);
            ending
        }))
    }
}

/// Waits for the guest's end, or ends it with its worker.
async fn ended(start: &Start, mut end: oneshot::Receiver<Ended>, deadline: Duration) -> Ended {
    match tokio::time::timeout(deadline + GRACE, &mut end).await {
        Ok(Ok(ended)) => ended,
        // The worker did not keep its own deadline: it is no longer believed.
        late => {
            start.worker.kill();
            // Once it is gone, its rings say what it recorded. A channel that is closed has nothing more to say.
            let last = if late.is_err() { tokio::time::timeout(LAST_WORDS, end).await.ok().and_then(Result::ok) } else { None };
            match last {
                Some(Ended::Finished(_, records)) => Ended::WorkerGone(Exit::Signal(9), records),
                Some(gone) => gone,
                None => Ended::WorkerGone(Exit::Signal(9), Records::default()),
            }
        }
    }
}

/// Waits for an instance, in a queue of bounded length.
async fn permit(module: &Arc<Module>) -> Result<OwnedSemaphorePermit, InvokeError> {
    if let Ok(permit) = Arc::clone(&module.permits).try_acquire_owned() {
        return Ok(permit);
    }
    let Some(_waiting) = Waiting::begin(&module.waiting) else { return Err(InvokeError::Busy(module.name.clone())) };
    Arc::clone(&module.permits).acquire_owned().await.map_err(|_closed| InvokeError::Replaced(module.name.clone()))
}

/// A place in the queue. A client that leaves takes its place with it: the future that waits is dropped then, and this with it.
struct Waiting<'m>(&'m AtomicUsize);

impl<'m> Waiting<'m> {
    fn begin(waiting: &'m AtomicUsize) -> Option<Self> {
        let before = waiting.fetch_add(1, Ordering::AcqRel);
        let place = Self(waiting);
        (before < MAX_WAITING).then_some(place)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}

async fn settle(ledger: &crate::ledger::Ledger, start: &Start, ended: Ended, began: Instant) -> Ending {
    let ending = match ended {
        Ended::Finished(finished, records) => {
            let (outcome, code, detail) = in_words(finished.outcome);
            Ending { outcome, code, detail, ..Ending::new(finished.timing, records, start, began) }
        }
        // Its rings were settled by the listener, to the last record that was whole.
        Ended::WorkerGone(exit, records) => Ending::killed(exit.to_string(), records, start, began),
    };
    let records = ending.records;
    if records.recorded != records.produced {
        let Records { produced, recorded, .. } = records;
        tracing::error!(produced, recorded, "a worker says that its guest made other calls than were recorded");
    }
    if records.denied > 0 {
        ledger.written().await;
    }
    Ending { total_us: micros(began.elapsed()), ..ending }
}

impl Ending {
    fn new(timing: Timing, records: Records, start: &Start, began: Instant) -> Self {
        Self {
            outcome: "exited",
            code: None,
            detail: None,
            cold_start_us: start.cold.map(micros),
            total_us: micros(began.elapsed()),
            instantiate_us: timing.instantiate_ns / 1000,
            run_us: timing.run_ns / 1000,
            compute_us: timing.compute_ns / 1000,
            engine_us: timing.engine_ns / 1000,
            memory: timing.memory,
            records,
        }
    }

    /// Of one that its worker did not live to see.
    fn killed(how: String, records: Records, start: &Start, began: Instant) -> Self {
        Self { outcome: "killed", detail: Some(how), ..Self::new(Timing::default(), records, start, began) }
    }
}

fn in_words(outcome: Outcome) -> (&'static str, Option<i32>, Option<String>) {
    match outcome {
        Outcome::Exited(code) => ("exited", Some(code), None),
        Outcome::Trapped(trap) => ("trapped", None, Some(crate::child::escape(&trap))),
        Outcome::Limit(limit) => ("limit", None, Some(Limit::key(limit).into())),
        Outcome::Refused(0) => ("refused", None, Some("the client left".into())),
        Outcome::Refused(status) => ("refused", None, Some(status.to_string())),
    }
}

fn count(module: &Module, ending: &Ending) {
    let counters = &module.counters;
    let counter = match (ending.outcome, ending.code) {
        // No guest ran: what was sent was no request.
        ("refused", _) => &counters.refused,
        (_, Some(0)) => &counters.succeeded,
        _ => &counters.failed,
    };
    counter.fetch_add(1, Ordering::Relaxed);
    match ending.outcome {
        "limit" => drop(counters.limited.fetch_add(1, Ordering::Relaxed)),
        "killed" => drop(counters.killed.fetch_add(1, Ordering::Relaxed)),
        _ => {}
    }
    counters.engine_ns.fetch_add(ending.engine_us.saturating_mul(1000), Ordering::Relaxed);
    counters.records.fetch_add(ending.records.recorded, Ordering::Relaxed);
}

fn pipe() -> Result<(OwnedFd, OwnedFd), InvokeError> {
    rustix::pipe::pipe_with(PipeFlags::CLOEXEC).map_err(|errno| InvokeError::Pipes(errno.into()))
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

/// How long after its deadline a guest's end may still be on its way before the worker is killed.
const GRACE: Duration = Duration::from_secs(1);

/// How long after it was killed a worker may take to be gone: a kernel that writes to a slow disk for it lets it go when that is done. Only then is it known
/// what it recorded.
const LAST_WORDS: Duration = Duration::from_secs(10);

/// Invocations of one module that may wait for an instance.
const MAX_WAITING: usize = 64;
