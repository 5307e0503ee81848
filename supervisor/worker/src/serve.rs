//! The life of a worker, step by step.
//!
//! Runs in: worker.
//! Invariant: `Confined` is the only way to [`Pool::obey`], so nothing of a module runs before every step of [`serve`] succeeded.
//!
//! Still possible after the lock: what the final filter allows, on the granted directories and the channels that came with the
//! assignment. See [`edgeguard_sandbox::rules`].

use std::os::fd::AsFd;
use std::os::fd::OwnedFd;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::mpsc;
use std::sync::mpsc::TrySendError;
use std::thread;

use edgeguard_audit::RING_LEN;
use edgeguard_sandbox::Confined;
use edgeguard_sandbox::Role;
use edgeguard_sandbox::SharedMemory;
use edgeguard_wire::Channel;
use edgeguard_wire::ChannelError;
use edgeguard_wire::worker::Assignment;
use edgeguard_wire::worker::Finished;
use edgeguard_wire::worker::FromWorker;
use edgeguard_wire::worker::Invocation;
use edgeguard_wire::worker::Outcome;
use edgeguard_wire::worker::Timing;
use edgeguard_wire::worker::ToWorker;

use crate::assignment;
use crate::assignment::Grants;
use crate::assignment::LaneFds;
use crate::deadline::Clock;
use crate::deadline::Deadline;
use crate::fault::Fault;
use crate::fault::Refusal;
use crate::fault::chain;
use crate::nn::Link;
use crate::nn::Slot;
use crate::stdio::Stdio;

/// What runs an invocation. The product has one, [`crate::GuestRunner`]; the red team has its own, to do in this sandbox what a
/// guest that broke out of the engine would.
pub trait Runner: Send + Sync + Sized + 'static {
    /// What can be made before the assignment is known, in a standby worker.
    type Ready;
    /// What one guest thread keeps from invocation to invocation. Made and used on that thread.
    type Thread;

    /// Makes what needs no assignment. Single-threaded, hardened, files can still be opened.
    ///
    /// # Errors
    /// [`Refusal`]; the process then exits.
    fn ready() -> Result<Self::Ready, Refusal>;

    /// Loads the module. Single-threaded, and already without any file but the granted directories.
    ///
    /// # Errors
    /// [`Refusal`]; the daemon is told, the process then exits.
    fn load(ready: Self::Ready, grants: &Grants) -> Result<Self, Refusal>;

    /// The beginning of a guest thread. Threads can still be started, and memory made executable; neither is possible later.
    ///
    /// # Errors
    /// As [`Runner::load`].
    fn begin(&self, lane: Lane) -> Result<Self::Thread, Refusal>;

    /// Runs one invocation, locked.
    fn invoke(&self, thread: &mut Self::Thread, stdio: Stdio, deadline: Deadline) -> Ended;

    /// A deadline has passed: interrupt whoever it belongs to. Called on the clock's thread.
    fn tick(&self) {}
}

/// What a guest thread begins with.
pub struct Lane {
    /// Its audit ring.
    pub ring: SharedMemory,
    /// Written to when the ring fills.
    pub doorbell: Arc<OwnedFd>,
    /// Where it reports a graph host that does not answer.
    pub control: Arc<Channel>,
    /// Its channels to graph hosts.
    pub(crate) links: Vec<Link>,
}

/// How an invocation ended.
#[derive(Debug)]
pub struct Ended {
    /// As the daemon is told.
    pub outcome: Outcome,
    /// Where the time went.
    pub timing: Timing,
    /// Records produced on this thread's ring since the worker began.
    pub produced: u64,
}

/// A worker's `main`.
#[must_use]
pub fn main<R: Runner>() -> ExitCode {
    match serve::<R>() {
        Ok(()) => ExitCode::SUCCESS,
        Err(fault) => {
            eprintln!("edgeguard-worker: {}", chain(&fault));
            fault.exit_code()
        }
    }
}

/// From the first line to the end of the daemon's channel.
///
/// # Errors
/// [`Fault`]; the process must exit.
pub fn serve<R: Runner>() -> Result<(), Fault> {
    // 1. Forget what was inherited, give up what is not needed: a signal when the daemon dies, limits, no new privileges, no
    //    dumps, no memory that is written and executable, the coarse Landlock ruleset, the first filter.
    let hardened = edgeguard_sandbox::harden(Role::Worker, expected_parent()?)?;
    let control = Arc::new(Channel::from_fd(std::io::stdin().as_fd().try_clone_to_owned().map_err(Fault::Control)?));

    // 2. What is the same for every module. The engine looks at the processor, which it cannot do later.
    let ready = R::ready()?;
    control.send(&FromWorker::Standby, &[])?;

    // 3. A standby worker waits here.
    let (assignment, fds) = match control.recv()? {
        (ToWorker::Assign(assignment), fds) => (*assignment, fds),
        (other, _) => return Err(out_of_phase("an assignment", &other)),
    };

    // 4. Everything of the assignment, up to the lock. A refusal is for the daemon to know; there is no way back.
    let prepared = Grants::new(assignment, fds).and_then(|grants| {
        // 4a. Exactly the granted directories, while there is one thread: Landlock binds the thread that asks for it.
        let restricted = hardened.restrict_filesystem(&grants.filesystem(), grants.assignment.landlock_floor)?;
        let profile = grants.profile();
        // 4b. Native code is mapped, directories are opened, imports are resolved.
        let runner = R::load(ready, &grants)?;
        // 4c. All threads there will ever be.
        let pool = Pool::start(runner, grants, &control)?;
        // 4d. The lock, on all of them, and the self-test.
        Ok(restricted.confine(&profile, pool)?)
    });
    let mut confined = match prepared {
        Ok(confined) => confined,
        Err(refusal) => {
            control.send(&FromWorker::Refused { reason: chain(&refusal) }, &[])?;
            return Err(refusal.into());
        }
    };
    control.send(&FromWorker::Confined(Box::new(confined.report().clone())), &[])?;

    // 5. The daemon looks for itself, and only then says run.
    match control.recv()? {
        (ToWorker::Run, _) => Pool::obey(&mut confined),
        (other, _) => Err(out_of_phase("`run`", &other)),
    }
}

/// The only argument: the process that started this one.
fn expected_parent() -> Result<u32, Fault> {
    let mut args = std::env::args().skip(1);
    let parent = args.next().and_then(|arg| arg.parse().ok());
    parent.filter(|_| args.next().is_none()).ok_or(Fault::Usage)
}

/// One invocation on its way to a guest thread.
struct Job {
    invocation: Invocation,
    stdio: Stdio,
}

/// The guest threads, as the main thread sees them.
struct Pool {
    control: Arc<Channel>,
    jobs: Vec<mpsc::SyncSender<Job>>,
    /// By instance, then by graph.
    slots: Vec<Vec<Arc<Slot>>>,
    graphs: usize,
}

/// Guest code runs on stacks of its own; these carry the host's part.
const STACK: usize = 512 << 10;

impl Pool {
    /// Starts the clock and the guest threads, and waits until each has everything it will need.
    fn start<R: Runner>(runner: R, grants: Grants, control: &Arc<Channel>) -> Result<Self, Refusal> {
        let Grants { assignment, doorbell, lanes, .. } = grants;
        let runner = Arc::new(runner);
        let doorbell = Arc::new(doorbell);
        let assignment = Arc::new(assignment);
        let clock = Clock::new(lanes.len());
        let (ready, all_ready) = mpsc::sync_channel(lanes.len() + 1);
        let graphs = assignment.graphs.len();
        let mut pool = Self { control: Arc::clone(control), jobs: Vec::new(), slots: Vec::new(), graphs };

        let count = lanes.len();
        for (index, fds) in lanes.into_iter().enumerate() {
            let slots: Vec<Arc<Slot>> = (0..graphs).map(|_| Arc::default()).collect();
            let lane = lane(fds, &doorbell, &assignment, &slots, control)?;
            let (sender, jobs) = mpsc::sync_channel(1);
            let thread = GuestThread {
                index,
                runner: Arc::clone(&runner),
                clock: Arc::clone(&clock),
                control: Arc::clone(control),
                assignment: Arc::clone(&assignment),
            };
            let ready = ready.clone();
            spawn(format!("guest-{index}"), move || thread.run(lane, &ready, &jobs))?;
            pool.jobs.push(sender);
            pool.slots.push(slots);
        }
        // It says when it has begun, like the guest threads: what a thread does to come into being is not possible after the lock.
        let begun = ready.clone();
        spawn("clock".into(), move || {
            let _ = begun.send(Ok(()));
            clock.run(|| runner.tick(), stuck);
        })?;
        drop(ready);
        for _ in 0..=count {
            all_ready.recv().map_err(|_| Refusal::Thread(std::io::Error::other("a guest thread ended")))??;
        }
        Ok(pool)
    }

    /// Does what the daemon says, until it says no more.
    fn obey(confined: &mut Confined<Self>) -> Result<(), Fault> {
        let pool = confined.get_mut();
        loop {
            match pool.control.recv() {
                Ok((ToWorker::Invoke(invocation), fds)) => pool.dispatch(invocation, fds)?,
                Ok((ToWorker::RenewGraph { graph }, fds)) => pool.renew(graph, fds)?,
                Ok((other, _)) => return Err(out_of_phase("an invocation", &other)),
                Err(ChannelError::Closed) => return Ok(()),
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// Hands an invocation to the thread that the daemon chose. It waits for one, or is about to: it has said that it has finished the one before.
    fn dispatch(&self, invocation: Invocation, fds: Vec<OwnedFd>) -> Result<(), Fault> {
        let [input, output, error] = <[OwnedFd; 3]>::try_from(fds)
            .map_err(|_| Fault::OutOfPhase { expected: "three descriptors", found: "another number of them" })?;
        let job = Job { invocation, stdio: Stdio { input, output, error } };
        let jobs = self.jobs.get(invocation.ring as usize);
        let jobs = jobs.ok_or(Fault::OutOfPhase { expected: "a guest thread that there is", found: "another number" })?;
        jobs.try_send(job).map_err(|error| match error {
            TrySendError::Full(_) => Fault::OutOfPhase { expected: "a guest thread that waits", found: "one that has something to do" },
            TrySendError::Disconnected(_) => Fault::Thread(std::io::Error::other("a guest thread ended")),
        })
    }

    /// Leaves a renewed channel where each guest thread looks before its next call to that graph.
    fn renew(&self, graph: u16, fds: Vec<OwnedFd>) -> Result<(), Fault> {
        let wrong = || Fault::OutOfPhase { expected: "a socket and a region for each instance", found: "something else" };
        let graph = usize::from(graph);
        let renewed = assignment::renewed(self.slots.len(), fds).filter(|_| graph < self.graphs).ok_or_else(wrong)?;
        for (slots, fds) in self.slots.iter().zip(renewed) {
            slots.get(graph).ok_or_else(wrong)?.fill(fds);
        }
        Ok(())
    }
}

/// Maps what one guest thread was given.
fn lane(
    fds: LaneFds,
    doorbell: &Arc<OwnedFd>,
    assignment: &Assignment,
    slots: &[Arc<Slot>],
    control: &Arc<Channel>,
) -> Result<Lane, Refusal> {
    let ring = SharedMemory::map(fds.ring.as_fd(), RING_LEN).map_err(|source| Refusal::Descriptor { what: "audit ring", source })?;
    let links = assignment.graphs.iter().zip(fds.graphs).zip(slots).map(|((graph, fds), slot)| Link::new(graph, fds, Arc::clone(slot)));
    Ok(Lane { ring, doorbell: Arc::clone(doorbell), control: Arc::clone(control), links: links.collect::<Result<_, _>>()? })
}

fn spawn(name: String, body: impl FnOnce() + Send + 'static) -> Result<(), Refusal> {
    thread::Builder::new().name(name).stack_size(STACK).spawn(body).map(drop).map_err(Refusal::Thread)
}

/// One guest thread.
struct GuestThread<R> {
    index: usize,
    runner: Arc<R>,
    clock: Arc<Clock>,
    control: Arc<Channel>,
    assignment: Arc<Assignment>,
}

impl<R: Runner> GuestThread<R> {
    fn run(self, lane: Lane, ready: &mpsc::SyncSender<Result<(), Refusal>>, jobs: &mpsc::Receiver<Job>) {
        let mut state = match self.runner.begin(lane) {
            Ok(state) => state,
            Err(refusal) => {
                // If nobody listens, the main thread has given up already.
                let _ = ready.send(Err(refusal));
                return;
            }
        };
        if ready.send(Ok(())).is_err() {
            return;
        }
        while let Ok(Job { invocation, stdio }) = jobs.recv() {
            let deadline = Deadline::after(self.assignment.limits.deadline);
            self.clock.start(self.index, deadline);
            let ended = self.runner.invoke(&mut state, stdio, deadline);
            self.clock.stop(self.index);
            let Ended { outcome, timing, produced } = ended;
            let finished = Finished { id: invocation.id, ring: invocation.ring, outcome, produced, timing };
            if self.control.send(&FromWorker::Finished(finished), &[]).is_err() {
                return;
            }
        }
    }
}

/// An invocation does not end: a system call holds it that nobody can interrupt, such as the opening of a pipe in a granted
/// directory. The process goes, and the daemon starts another.
fn stuck(lane: usize) {
    eprintln!("edgeguard-worker: the invocation on thread guest-{lane} did not end at its deadline; giving up");
    std::process::exit(STUCK);
}

/// Exit code of a worker that gave up on an invocation.
const STUCK: i32 = 3;

fn out_of_phase(expected: &'static str, found: &ToWorker) -> Fault {
    let found = match found {
        ToWorker::Assign(_) => "an assignment",
        ToWorker::Run => "`run`",
        ToWorker::Invoke(_) => "an invocation",
        ToWorker::RenewGraph { .. } => "a renewed graph",
    };
    Fault::OutOfPhase { expected, found }
}
