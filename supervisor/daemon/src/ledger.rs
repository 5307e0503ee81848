//! The thread that owns the journal: it appends events, and the records of the workers' rings.
//!
//! Runs in: daemon, on a thread of its own, so that a slow disk never delays the control socket's loop.
//! Invariant: commands are carried out in the order they were given; a ring is drained before the end of its invocation is answered. Whoever drains a ring
//! (this thread, or the loop that answers) hands over what it took while it still holds the ring, so records stay in their order.
//! Invariant: while the disk takes nothing, no new work begins, what nobody waits for is kept, and rings stay full, so that guests wait. The ledger opens
//! again by itself.
//! Invariant: what a module's guests are denied takes no more of the journal than its budget; whoever wants more is ended, and not started for a while.
//! Does not: decide anything. It only remembers.

mod budget;
mod closed;
mod denials;
mod privacy;
mod rings;

use std::collections::HashMap;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::MutexGuard;
use std::sync::PoisonError;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering;
use std::sync::mpsc;
use std::time::Duration;
use std::time::Instant;

use edgeguard_audit::Consumer;
use edgeguard_audit::Erase;
use edgeguard_audit::Erased;
use edgeguard_audit::Event;
use edgeguard_audit::Journal;
use edgeguard_audit::JournalError;
use edgeguard_audit::PrivacyKey;
use edgeguard_audit::Source;
use edgeguard_policy::Privacy;
use rustix::event::EventfdFlags;
use rustix::event::PollFd;
use rustix::event::PollFlags;
use rustix::event::Timespec;
use tokio::sync::Notify;
use tokio::sync::oneshot;

use crate::counted::Bound;
use crate::counted::Raised;
use crate::invoke::Records;
use crate::ledger::budget::Budget;
use crate::ledger::closed::Closed;
use crate::ledger::privacy::Wording;
use crate::ledger::rings::Rings;
use crate::ledger::rings::Taken;

/// Why an event is not in the journal.
#[derive(Debug, Clone, thiserror::Error)]
pub enum LedgerError {
    /// The journal's thread is gone, or its disk does not take more. Nothing new may begin.
    #[error("the journal does not take records: {0}")]
    Closed(String),
}

/// A worker's number in the ledger.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct SourceId(u64);

/// The daemon's hand on the journal's thread.
#[derive(Debug)]
pub struct Ledger {
    commands: mpsc::Sender<Command>,
    shared: Arc<Shared>,
    next: AtomicU64,
    privacy: Arc<PrivacyKey>,
}

#[derive(Debug)]
struct Shared {
    wake: OwnedFd,
    /// Invocations under way: while there are any, rings are drained by the clock too.
    active: AtomicUsize,
    failed: AtomicBool,
    /// Told at the moment when it fails.
    closed: Notify,
    /// So many calls wait for the disk that rings are left full.
    parked: AtomicBool,
    /// Times that guests waited for room in a ring.
    stalls: AtomicU64,
    sources: Mutex<HashMap<SourceId, Arc<Rings>>>,
    /// What each module's guests may still write, by its name. They stay when a worker goes: a new one does not begin with a new budget.
    budgets: Mutex<HashMap<String, Arc<Mutex<Budget>>>>,
}

enum Command {
    Event(Box<Event>, Option<oneshot::Sender<Result<(), LedgerError>>>),
    Taken(Box<Taken>),
    Stats(oneshot::Sender<edgeguard_audit::Stats>),
    Attest { nonce: Vec<u8>, reply: oneshot::Sender<Result<String, LedgerError>> },
    Erase(Box<Erasing>, oneshot::Sender<Result<Erased, LedgerError>>),
    Raised(Raised),
    Stop,
}

/// Names that are to be erased, and on whose word.
#[derive(Debug)]
pub struct Erasing {
    /// Which.
    pub what: Erase,
    /// Why, for the journal.
    pub reason: String,
    /// The user who asks.
    pub by: u32,
    /// Only say how many there are.
    pub dry_run: bool,
}

impl Ledger {
    /// Starts the thread. `privacy` is the key of codes that stand for what guests named.
    ///
    /// # Errors
    /// The kernel gives no thread or no eventfd.
    pub fn start(journal: Journal, privacy: PrivacyKey) -> std::io::Result<(Self, std::thread::JoinHandle<()>)> {
        Self::start_bound(journal, privacy, None)
    }

    /// The same, with the counter that the journal is bound to.
    ///
    /// # Errors
    /// As [`Ledger::start`].
    pub fn start_bound(
        journal: Journal,
        privacy: PrivacyKey,
        bound: Option<Bound>,
    ) -> std::io::Result<(Self, std::thread::JoinHandle<()>)> {
        let wake = rustix::event::eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
        let shared = Arc::new(Shared {
            wake,
            active: AtomicUsize::new(0),
            failed: AtomicBool::new(false),
            closed: Notify::new(),
            parked: AtomicBool::new(false),
            stalls: AtomicU64::new(0),
            sources: Mutex::default(),
            budgets: Mutex::default(),
        });
        let (commands, inbox) = mpsc::channel();
        let (own, to) = (commands.clone(), Arc::clone(&shared));
        let clerk = Clerk { journal, inbox, own, shared: to, dirty: false, repeats: false, closed: None, bound };
        let thread = std::thread::Builder::new().name("journal".into()).spawn(move || clerk.run())?;
        Ok((Self { commands, shared, next: AtomicU64::new(1), privacy: Arc::new(privacy) }, thread))
    }

    /// Queues an event at once; the future says when it is there: on the disk, for those that must be ([`Event::durable`]).
    ///
    /// # Errors
    /// [`LedgerError::Closed`]: what the event would have allowed must not happen.
    pub fn record(&self, event: Event) -> impl Future<Output = Result<(), LedgerError>> + use<> {
        let (reply, answer) = oneshot::channel();
        self.command(Command::Event(Box::new(event), Some(reply)));
        async move { answer.await.unwrap_or_else(|_| Err(LedgerError::Closed("its thread is gone".into()))) }
    }

    /// Appends an event in its turn, without waiting. A failure shows in [`Ledger::usable`].
    pub fn note(&self, event: Event) {
        self.command(Command::Event(Box::new(event), None));
    }

    /// Whether new work may begin.
    ///
    /// # Errors
    /// An earlier record could not be written.
    pub fn usable(&self) -> Result<(), LedgerError> {
        if self.shared.failed.load(Ordering::Acquire) {
            return Err(LedgerError::Closed(
                "an earlier record could not be written; free space on its disk, and new work begins again by itself".into(),
            ));
        }
        Ok(())
    }

    /// Ends when the journal takes no more records, or has taken none since somebody waited here last.
    pub async fn closed(&self) {
        self.shared.closed.notified().await;
    }

    /// Times that guests waited for room in a ring, in all invocations that ended.
    #[must_use]
    pub fn stalls(&self) -> u64 {
        self.shared.stalls.load(Ordering::Relaxed)
    }

    /// Takes over a worker's rings. They are the daemon's own mappings, so they outlive the worker. `process` is its pidfd: a worker whose ring does
    /// not parse is ended, because what it does from then on would not be on record. What its guests name is kept as `privacy` says.
    pub fn attach(&self, source: Source, privacy: Privacy, rings: Vec<Consumer>, doorbell: OwnedFd, process: OwnedFd) -> SourceId {
        let id = SourceId(self.next.fetch_add(1, Ordering::Relaxed));
        let budget = self.shared.budget(source.module());
        let wording = Wording::new(privacy, Arc::clone(&self.privacy));
        let rings = Arc::new(Rings::new(source, wording, rings, doorbell, process, budget));
        lock(&self.shared.sources).insert(id, rings);
        // It sleeps on the doorbells it knows.
        self.wake();
        id
    }

    /// Whether the module may begin an invocation now: one whose guests caused more events than their budget is suspended for a while. To be asked once
    /// for each invocation, which earns the module a little.
    ///
    /// # Errors
    /// For how long it still is.
    pub fn admits(&self, module: &str) -> Result<(), Duration> {
        lock(&self.shared.budget(module)).begin(Instant::now())
    }

    /// For how long the module is still suspended, if it is.
    #[must_use]
    pub fn suspended(&self, module: &str) -> Option<Duration> {
        let budget = lock(&self.shared.budgets).get(module).cloned()?;
        lock(&budget).pause(Instant::now())
    }

    /// All modules have their whole budgets again, and none is suspended: somebody who may decide this has.
    pub fn lift_suspensions(&self) {
        lock(&self.shared.budgets).values().for_each(|budget| lock(budget).lift(Instant::now()));
    }

    /// An invocation begins or ends: rings are drained by the clock meanwhile. To be called before the event that says so, which wakes the thread.
    pub fn invocation_begins(&self) {
        self.shared.active.fetch_add(1, Ordering::AcqRel);
    }

    /// See [`Ledger::invocation_begins`].
    pub fn invocation_ends(&self) {
        self.shared.active.fetch_sub(1, Ordering::AcqRel);
    }

    /// Drains the ring of an invocation that ended, and accounts for it. `produced` is what the worker says of the ring since it began.
    /// To be called where the end is heard, before anything else can begin on that ring: accounts then stand in the order of the invocations.
    /// The ring is drained here and now: to have the other thread do it would cost its waking and ours.
    #[must_use]
    pub fn settle(&self, id: SourceId, ring: u32, produced: u64) -> Records {
        let rings = lock(&self.shared.sources).get(&id).cloned();
        let settled = rings.map(|rings| rings.settle(ring as usize, &self.commands, |_| produced));
        self.counted(settled.unwrap_or_default())
    }

    /// Drains all rings of a worker that is gone, and forgets it. Returns for each ring what it left behind: the records of the invocation that had
    /// not ended on it. The process must be gone: what it still wrote would not be taken.
    #[must_use]
    pub fn detach(&self, id: SourceId) -> Vec<Records> {
        let rings = lock(&self.shared.sources).remove(&id);
        // What it says itself, nobody can ask any more.
        let settle = |rings: &Rings, ring| rings.settle(ring, &self.commands, |taken| taken);
        let left = rings.map(|rings| (0..rings.len()).map(|ring| self.counted(settle(&rings, ring))).collect());
        // It sleeps on the doorbells it knows.
        self.wake();
        left.unwrap_or_default()
    }

    fn counted(&self, records: Records) -> Records {
        self.shared.stalls.fetch_add(records.stalls, Ordering::Relaxed);
        records
    }

    /// Waits until what was said so far is written, as far as the disk takes it. Whoever hears the answer to an invocation finds its denials in the journal.
    pub async fn written(&self) {
        // Commands are carried out in their order: an answer to this one means that all before it were.
        let _ = self.stats().await;
    }

    /// The journal's own counts.
    pub async fn stats(&self) -> Option<edgeguard_audit::Stats> {
        let (reply, answer) = oneshot::channel();
        self.command(Command::Stats(reply));
        answer.await.ok()
    }

    /// The journal's state now, signed by its current key together with `nonce`: nobody who holds only the files can answer this.
    ///
    /// # Errors
    /// [`LedgerError::Closed`], also for a nonce that is too short or too long.
    pub async fn attest(&self, nonce: Vec<u8>) -> Result<String, LedgerError> {
        let (reply, answer) = oneshot::channel();
        self.command(Command::Attest { nonce, reply });
        answer.await.unwrap_or_else(|_| Err(LedgerError::Closed("its thread is gone".into())))
    }

    /// Erases names from the journal, and says how many.
    ///
    /// # Errors
    /// [`LedgerError::Closed`]: what a sealed frame says already is finished at the next start.
    pub async fn erase(&self, erasing: Erasing) -> Result<Erased, LedgerError> {
        let (reply, answer) = oneshot::channel();
        self.command(Command::Erase(Box::new(erasing), reply));
        answer.await.unwrap_or_else(|_| Err(LedgerError::Closed("its thread is gone".into())))
    }

    /// Writes what is buffered and ends the thread.
    pub fn stop(&self) {
        self.command(Command::Stop);
    }

    fn command(&self, command: Command) {
        if self.commands.send(command).is_err() {
            self.shared.failed.store(true, Ordering::Release);
        }
        self.wake();
    }

    fn wake(&self) {
        // A full eventfd counter is awake already.
        let _ = rustix::io::write(&self.shared.wake, &1u64.to_ne_bytes());
    }
}

impl Shared {
    fn budget(&self, module: &str) -> Arc<Mutex<Budget>> {
        let mut budgets = lock(&self.budgets);
        if let Some(budget) = budgets.get(module) {
            return Arc::clone(budget);
        }
        let budget = Arc::new(Mutex::new(Budget::new(Instant::now())));
        budgets.insert(module.to_owned(), Arc::clone(&budget));
        budget
    }
}

struct Clerk {
    journal: Journal,
    inbox: mpsc::Receiver<Command>,
    /// What the clerk itself takes out of rings goes the same way as what others take.
    own: mpsc::Sender<Command>,
    shared: Arc<Shared>,
    dirty: bool,
    /// Denials that repeat are to be told when their second is over.
    repeats: bool,
    /// Since when and why the disk takes nothing.
    closed: Option<Closed>,
    /// The counter that says how new the journal is.
    bound: Option<Bound>,
}

impl Clerk {
    fn run(mut self) {
        let mut stop = false;
        while !stop {
            self.wait();
            stop = self.obey_all();
            self.drain_all();
            stop |= self.obey_all();
            self.try_again(stop);
            self.count();
            if self.closed.is_none() && (stop || self.dirty || self.journal.sync_due().is_some_and(|due| due.is_zero())) {
                self.dirty = false;
                self.keep(if stop { Journal::sync } else { Journal::flush });
            }
        }
        if let Some(closed) = &self.closed {
            closed.complain(&self.journal.stats());
        } else if let Some(bound) = self.bound.take()
            && let Err(error) = bound.end(&mut self.journal)
        {
            tracing::error!(error = crate::chain(&error), "the journal's counter was not raised at the end");
        }
        if let Err(error) = self.journal.close() {
            tracing::error!(error = crate::chain(&error), "the journal does not close in order");
        }
    }

    /// Raises the counter when its time has come.
    fn count(&mut self) {
        let Some(mut bound) = self.bound.take_if(|bound| bound.due().is_zero()) else { return };
        let own = self.own.clone();
        // Whoever has the other end is gone when the daemon ends.
        self.keep(|journal| bound.raise(journal, move |raised| drop(own.send(Command::Raised(raised)))));
        self.bound = Some(bound);
    }

    /// Sleeps until a command, a doorbell, the time to write to the disk, or, while guests run, the clock.
    fn wait(&self) {
        // While rings are left full, guests ring without end, and there is nothing to do for them.
        let sources = if self.shared.parked.load(Ordering::Acquire) { Vec::new() } else { self.sources() };
        let mut fds = vec![PollFd::new(&self.shared.wake, PollFlags::IN)];
        fds.extend(sources.iter().map(|rings| PollFd::new(&rings.doorbell, PollFlags::IN)));
        let busy = self.shared.active.load(Ordering::Acquire) > 0;
        let due = if self.closed.is_some() { Some(closed::TRY_AGAIN) } else { self.journal.sync_due() };
        let counts = self.bound.as_ref().map(Bound::due);
        let limit = busy.then_some(TICK).into_iter().chain(self.repeats.then_some(denials::EVERY)).chain(due).chain(counts).min();
        let limit = limit.map(|limit| Timespec { tv_sec: limit.as_secs().try_into().unwrap_or(1), tv_nsec: limit.subsec_nanos().into() });
        let _ = rustix::event::poll(&mut fds, limit.as_ref());
        let mut count = [0; 8];
        let _ = rustix::io::read(&self.shared.wake, &mut count);
        for rings in &sources {
            let _ = rustix::io::read(&rings.doorbell, &mut count);
        }
    }

    /// Carries out what has been said so far. True when the last of it was to stop.
    fn obey_all(&mut self) -> bool {
        while let Ok(command) = self.inbox.try_recv() {
            if let Command::Stop = command {
                return true;
            }
            self.obey(command);
        }
        false
    }

    fn obey(&mut self, command: Command) {
        match command {
            Command::Event(event, reply) => {
                match reply {
                    // Whoever waits is told, and what the event is about does not happen.
                    Some(reply) => drop(reply.send(self.check(|journal| journal.event(&event).map(drop)))),
                    None => self.put(*event),
                }
            }
            Command::Taken(taken) => self.take(*taken),
            Command::Stats(reply) => {
                let _ = reply.send(self.journal.stats());
            }
            Command::Attest { nonce, reply } => {
                let answer = self.journal.attest(&nonce).map_err(|error| LedgerError::Closed(crate::chain(&error)));
                let _ = reply.send(answer);
            }
            Command::Raised(raised) => {
                if let Some(bound) = &mut self.bound {
                    bound.returned(raised);
                }
            }
            Command::Erase(erasing, reply) => {
                let Erasing { what, reason, by, dry_run } = *erasing;
                let erased = self.journal.erase(&what, &reason, by, dry_run).map_err(|error| LedgerError::Closed(crate::chain(&error)));
                let _ = reply.send(erased);
            }
            Command::Stop => {}
        }
    }

    fn take(&mut self, taken: Taken) {
        let Taken { source, records, events } = taken;
        if !records.is_empty() {
            self.dirty = true;
            // They are taken in any case: what does not reach the disk waits in memory.
            let taken = self.journal.calls(&source, &records);
            if self.closed.is_none() {
                self.keep(|_| taken);
            }
            self.shared.parked.store(self.journal.is_behind(), Ordering::Release);
        }
        for event in events {
            self.put(event);
        }
    }

    fn drain_all(&mut self) {
        if self.shared.parked.load(Ordering::Acquire) {
            self.repeats = false;
            return;
        }
        // Each of them, whatever the one before it says.
        self.repeats = self.sources().iter().fold(false, |repeats, rings| rings.drain_all(&self.own) | repeats);
    }

    fn sources(&self) -> Vec<Arc<Rings>> {
        lock(&self.shared.sources).values().cloned().collect()
    }

    /// Writes what nobody waits for; a failure closes the ledger all the same.
    fn keep(&mut self, write: impl FnOnce(&mut Journal) -> Result<(), JournalError>) {
        let _ = self.check(write);
    }

    /// An event that nobody waits for: it is written now, or kept until it can be.
    fn put(&mut self, event: Event) {
        if self.check(|journal| journal.event(&event).map(drop)).is_err()
            && let Some(closed) = &mut self.closed
        {
            closed.keep(event);
        }
    }

    fn check(&mut self, write: impl FnOnce(&mut Journal) -> Result<(), JournalError>) -> Result<(), LedgerError> {
        if let Some(closed) = &self.closed {
            // What follows stands behind what is kept.
            return Err(LedgerError::Closed(closed.reason().to_owned()));
        }
        write(&mut self.journal).map_err(|error| {
            let reason = crate::chain(&error);
            tracing::error!(error = reason, "the journal does not take records; no new work is admitted");
            self.shared.failed.store(true, Ordering::Release);
            self.shared.closed.notify_one();
            self.closed = Some(Closed::new(reason.clone()));
            LedgerError::Closed(reason)
        })
    }

    /// While it is closed: writes what was kept, and opens again if all of it is on the disk. Not more often than [`closed::TRY_AGAIN`], but for `last`.
    fn try_again(&mut self, last: bool) {
        let Some(closed) = &mut self.closed else { return };
        if (last || closed.due()) && closed.write(&mut self.journal).is_ok() {
            tracing::info!("the journal takes records again");
            self.closed = None;
            self.shared.parked.store(false, Ordering::Release);
            self.shared.failed.store(false, Ordering::Release);
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// While guests run, rings are drained this often; it bounds what a power failure can take.
const TICK: Duration = Duration::from_millis(50);
