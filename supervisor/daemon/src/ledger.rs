//! The thread that owns the journal: it appends events, and drains the workers' rings.
//!
//! Runs in: daemon, on a thread of its own, so that a slow disk never delays the control socket's loop.
//! Invariant: commands are carried out in the order they were given; a ring is drained before the end of its invocation is answered.
//! Does not: decide anything. It only remembers.

use std::collections::HashMap;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering;
use std::sync::mpsc;
use std::time::Duration;

use edgeguard_audit::Consumer;
use edgeguard_audit::Event;
use edgeguard_audit::Journal;
use edgeguard_audit::JournalError;
use edgeguard_audit::Outcome;
use edgeguard_audit::Source;
use rustix::event::EventfdFlags;
use rustix::event::PollFd;
use rustix::event::PollFlags;
use rustix::event::Timespec;
use rustix::process::Signal;
use tokio::sync::oneshot;

use crate::invoke::Records;

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
    next: std::sync::atomic::AtomicU64,
}

#[derive(Debug)]
struct Shared {
    wake: OwnedFd,
    /// Invocations under way: while there are any, rings are drained by the clock too.
    active: AtomicUsize,
    failed: AtomicBool,
}

enum Command {
    Event(Box<Event>, Option<oneshot::Sender<Result<(), LedgerError>>>),
    Attach { id: SourceId, source: Source, rings: Vec<Consumer>, doorbell: OwnedFd, process: OwnedFd },
    Settle { id: SourceId, ring: usize, produced: u64, reply: oneshot::Sender<Records> },
    Detach { id: SourceId, reply: oneshot::Sender<()> },
    Stats(oneshot::Sender<edgeguard_audit::Stats>),
    Stop,
}

impl Ledger {
    /// Starts the thread.
    ///
    /// # Errors
    /// The kernel gives no thread or no eventfd.
    pub fn start(journal: Journal) -> std::io::Result<(Self, std::thread::JoinHandle<()>)> {
        let wake = rustix::event::eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
        let shared = Arc::new(Shared { wake, active: AtomicUsize::new(0), failed: AtomicBool::new(false) });
        let (commands, inbox) = mpsc::channel();
        let clerk = Clerk { journal, inbox, shared: Arc::clone(&shared), sources: HashMap::new(), dirty: false };
        let thread = std::thread::Builder::new().name("journal".into()).spawn(move || clerk.run())?;
        Ok((Self { commands, shared, next: std::sync::atomic::AtomicU64::new(1) }, thread))
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
            return Err(LedgerError::Closed("an earlier record could not be written; free space on its disk, then restart".into()));
        }
        Ok(())
    }

    /// Takes over a worker's rings. They are the daemon's own mappings, so they outlive the worker. `process` is its pidfd: a worker whose ring does
    /// not parse is ended, because what it does from then on would not be on record.
    pub fn attach(&self, source: Source, rings: Vec<Consumer>, doorbell: OwnedFd, process: OwnedFd) -> SourceId {
        let id = SourceId(self.next.fetch_add(1, Ordering::Relaxed));
        self.command(Command::Attach { id, source, rings, doorbell, process });
        id
    }

    /// An invocation begins or ends: rings are drained by the clock meanwhile.
    pub fn invocation_begins(&self) {
        self.shared.active.fetch_add(1, Ordering::AcqRel);
        self.wake();
    }

    /// See [`Ledger::invocation_begins`].
    pub fn invocation_ends(&self) {
        self.shared.active.fetch_sub(1, Ordering::AcqRel);
    }

    /// Drains the ring of an invocation that ended, and accounts for it. `produced` is what the worker says of the ring since it began.
    pub async fn settle(&self, id: SourceId, ring: usize, produced: u64) -> Records {
        let (reply, answer) = oneshot::channel();
        self.command(Command::Settle { id, ring, produced, reply });
        answer.await.unwrap_or_default()
    }

    /// Drains all rings of a worker that is gone, and forgets it.
    pub async fn detach(&self, id: SourceId) {
        let (reply, answer) = oneshot::channel();
        self.command(Command::Detach { id, reply });
        let _ = answer.await;
    }

    /// The journal's own counts.
    pub async fn stats(&self) -> Option<edgeguard_audit::Stats> {
        let (reply, answer) = oneshot::channel();
        self.command(Command::Stats(reply));
        answer.await.ok()
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

struct Rings {
    source: Source,
    rings: Vec<Ring>,
    doorbell: OwnedFd,
    process: OwnedFd,
}

struct Ring {
    consumer: Consumer,
    /// Records taken.
    taken: u64,
    /// Counts at the end of the last invocation on it.
    settled: u64,
    stalls: u64,
    /// It did not parse: what comes after is not believed.
    corrupt: bool,
}

struct Clerk {
    journal: Journal,
    inbox: mpsc::Receiver<Command>,
    shared: Arc<Shared>,
    sources: HashMap<SourceId, Rings>,
    dirty: bool,
}

impl Clerk {
    fn run(mut self) {
        loop {
            self.wait();
            while let Ok(command) = self.inbox.try_recv() {
                if let Command::Stop = command {
                    self.drain_all();
                    self.keep(Journal::sync);
                    if let Err(error) = self.journal.close() {
                        tracing::error!(error = crate::chain(&error), "the journal does not close in order");
                    }
                    return;
                }
                self.obey(command);
            }
            self.drain_all();
            if self.dirty || self.journal.sync_due().is_some_and(|due| due.is_zero()) {
                self.dirty = false;
                self.keep(Journal::flush);
            }
        }
    }

    /// Sleeps until a command, a doorbell, the time to write to the disk, or, while guests run, the clock.
    fn wait(&self) {
        let mut fds = vec![PollFd::new(&self.shared.wake, PollFlags::IN)];
        fds.extend(self.sources.values().map(|rings| PollFd::new(&rings.doorbell, PollFlags::IN)));
        let busy = self.shared.active.load(Ordering::Acquire) > 0;
        let limit = busy.then_some(TICK).into_iter().chain(self.journal.sync_due()).min();
        let limit = limit.map(|limit| Timespec { tv_sec: limit.as_secs().try_into().unwrap_or(1), tv_nsec: limit.subsec_nanos().into() });
        let _ = rustix::event::poll(&mut fds, limit.as_ref());
        let mut count = [0; 8];
        let _ = rustix::io::read(&self.shared.wake, &mut count);
        for rings in self.sources.values() {
            let _ = rustix::io::read(&rings.doorbell, &mut count);
        }
    }

    fn obey(&mut self, command: Command) {
        match command {
            Command::Event(event, reply) => {
                let result = self.check(|journal| journal.event(&event).map(drop));
                if let Some(reply) = reply {
                    let _ = reply.send(result);
                }
            }
            Command::Attach { id, source, rings, doorbell, process } => {
                let ring = |consumer| Ring { consumer, taken: 0, settled: 0, stalls: 0, corrupt: false };
                self.sources.insert(id, Rings { source, rings: rings.into_iter().map(ring).collect(), doorbell, process });
            }
            Command::Settle { id, ring, produced, reply } => {
                self.drain(id);
                let ring = self.sources.get_mut(&id).and_then(|rings| rings.rings.get_mut(ring));
                let _ = reply.send(ring.map_or_else(Records::default, |ring| ring.settle(produced)));
            }
            Command::Detach { id, reply } => {
                self.drain(id);
                self.sources.remove(&id);
                let _ = reply.send(());
            }
            Command::Stats(reply) => {
                let _ = reply.send(self.journal.stats());
            }
            Command::Stop => {}
        }
    }

    fn drain_all(&mut self) {
        for id in self.sources.keys().copied().collect::<Vec<_>>() {
            self.drain(id);
        }
    }

    /// Takes all that is in the rings of one worker. A ring that does not parse is closed: the worker is no longer believed.
    fn drain(&mut self, id: SourceId) {
        let Some(mut rings) = self.sources.remove(&id) else { return };
        for (index, ring) in rings.rings.iter_mut().enumerate().filter(|(_, ring)| !ring.corrupt) {
            let source = rings.source.on_ring(u32::try_from(index).unwrap_or(u32::MAX));
            let mut batch = Vec::new();
            let mut events = Vec::new();
            let drained = ring.consumer.drain(|record, text| {
                if record.outcome == Outcome::Denied {
                    events.push(Event::denied(&source, source.ring(), &record, text));
                }
                batch.push((record, text.map(<[u8]>::to_vec)));
            });
            ring.taken += batch.len() as u64;
            if let Err(error) = drained {
                ring.corrupt = true;
                // One that is gone already has nothing more to hide.
                let _ = rustix::process::pidfd_send_signal(&rings.process, Signal::KILL);
                tracing::error!(module = source.module(), ring = index, error = crate::chain(&error), "audit ring does not parse");
                events.push(Event::ring_corrupt(&source, source.ring(), &error));
            }
            if !batch.is_empty() {
                self.dirty = true;
                self.keep(|journal| journal.calls(&source, &batch));
            }
            for event in events {
                self.keep(|journal| journal.event(&event).map(drop));
            }
        }
        self.sources.insert(id, rings);
    }

    /// Writes what nobody waits for; a failure closes the ledger all the same.
    fn keep(&mut self, write: impl FnOnce(&mut Journal) -> Result<(), JournalError>) {
        let _ = self.check(write);
    }

    fn check(&mut self, write: impl FnOnce(&mut Journal) -> Result<(), JournalError>) -> Result<(), LedgerError> {
        write(&mut self.journal).map_err(|error| {
            if !self.shared.failed.swap(true, Ordering::AcqRel) {
                tracing::error!(error = %crate::chain(&error), "the journal does not take records; no new work is admitted");
            }
            LedgerError::Closed(crate::chain(&error))
        })
    }
}

impl Ring {
    /// The account of the invocation that ended on this ring. One that follows may have begun already: its records are not counted here.
    fn settle(&mut self, produced: u64) -> Records {
        let stalls = self.consumer.stalls();
        let records = Records {
            produced: produced.saturating_sub(self.settled),
            recorded: self.taken.min(produced).saturating_sub(self.settled),
            stalls: stalls.saturating_sub(self.stalls),
        };
        self.settled = produced.max(self.settled);
        self.stalls = stalls;
        records
    }
}

/// While guests run, rings are drained this often; it bounds what a power failure can take.
const TICK: Duration = Duration::from_millis(50);
