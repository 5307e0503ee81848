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
use tokio::sync::oneshot;

/// Why an event is not in the journal.
#[derive(Debug, Clone, thiserror::Error)]
pub enum LedgerError {
    /// The journal's thread is gone, or its disk does not take more. Nothing new may begin.
    #[error("the journal does not take records: {0}")]
    Closed(String),
}

/// Counts of one ring, settled.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Settled {
    /// Records taken from this ring since the worker began.
    pub recorded: u64,
    /// Times the guest waited for room.
    pub stalls: u64,
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
    Attach { id: SourceId, source: Source, rings: Vec<Consumer>, doorbell: OwnedFd },
    Settle { id: SourceId, ring: usize, reply: oneshot::Sender<Settled> },
    Detach { id: SourceId, reply: oneshot::Sender<Settled> },
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

    /// Appends an event and waits until it is there: on the disk, for those that must be ([`Event::durable`]).
    ///
    /// # Errors
    /// [`LedgerError::Closed`]: what the event would have allowed must not happen.
    pub async fn record(&self, event: Event) -> Result<(), LedgerError> {
        let (reply, answer) = oneshot::channel();
        self.command(Command::Event(Box::new(event), Some(reply)));
        answer.await.unwrap_or_else(|_| Err(LedgerError::Closed("its thread is gone".into())))
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

    /// Takes over a worker's rings. They are the daemon's own mappings, so they outlive the worker.
    pub fn attach(&self, source: Source, rings: Vec<Consumer>, doorbell: OwnedFd) -> SourceId {
        let id = SourceId(self.next.fetch_add(1, Ordering::Relaxed));
        self.command(Command::Attach { id, source, rings, doorbell });
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

    /// Drains one ring to its end and says how many records came out of it in all.
    pub async fn settle(&self, id: SourceId, ring: usize) -> Settled {
        let (reply, answer) = oneshot::channel();
        self.command(Command::Settle { id, ring, reply });
        answer.await.unwrap_or_default()
    }

    /// Drains all rings of a worker that is gone, and forgets it.
    pub async fn detach(&self, id: SourceId) -> Settled {
        let (reply, answer) = oneshot::channel();
        self.command(Command::Detach { id, reply });
        answer.await.unwrap_or_default()
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
    rings: Vec<(Consumer, u64)>,
    doorbell: OwnedFd,
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
            for command in self.inbox.try_iter().collect::<Vec<_>>() {
                if let Command::Stop = command {
                    self.drain_all();
                    self.check(|journal| journal.sync());
                    return;
                }
                self.obey(command);
            }
            self.drain_all();
            if self.dirty {
                self.dirty = false;
                self.check(|journal| journal.flush());
            }
        }
    }

    /// Sleeps until a command, a doorbell, or, while guests run, the clock.
    fn wait(&self) {
        let mut fds = vec![PollFd::new(&self.shared.wake, PollFlags::IN)];
        fds.extend(self.sources.values().map(|rings| PollFd::new(&rings.doorbell, PollFlags::IN)));
        let tick = Timespec { tv_sec: 0, tv_nsec: TICK.subsec_nanos().into() };
        let busy = self.shared.active.load(Ordering::Acquire) > 0;
        let _ = rustix::event::poll(&mut fds, busy.then_some(&tick));
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
            Command::Attach { id, source, rings, doorbell } => {
                let rings = rings.into_iter().map(|ring| (ring, 0)).collect();
                self.sources.insert(id, Rings { source, rings, doorbell, corrupt: false });
            }
            Command::Settle { id, ring, reply } => {
                let _ = reply.send(self.settle(id, Some(ring)));
            }
            Command::Detach { id, reply } => {
                let _ = reply.send(self.settle(id, None));
                self.sources.remove(&id);
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

    fn settle(&mut self, id: SourceId, ring: Option<usize>) -> Settled {
        self.drain(id);
        let Some(rings) = self.sources.get(&id) else { return Settled::default() };
        let chosen = rings.rings.iter().enumerate().filter(|(index, _)| ring.is_none_or(|wanted| wanted == *index));
        chosen.fold(Settled::default(), |sum, (_, (consumer, recorded))| Settled {
            recorded: sum.recorded + recorded,
            stalls: sum.stalls + consumer.stalls(),
        })
    }

    /// Takes all that is in the rings of one worker. A ring that does not parse is closed: the worker is no longer believed.
    fn drain(&mut self, id: SourceId) {
        let Some(rings) = self.sources.get_mut(&id) else { return };
        let mut batch = Vec::new();
        let mut events = Vec::new();
        for (index, (consumer, recorded)) in rings.rings.iter_mut().enumerate() {
            if rings.corrupt {
                break;
            }
            let drained = consumer.drain(|record, text| {
                if record.outcome == Outcome::Denied {
                    events.push(Event::denied(&rings.source, index, &record, text));
                }
                batch.push((record, text.map(<[u8]>::to_vec)));
            });
            match drained {
                Ok(count) => *recorded += count,
                Err(error) => {
                    rings.corrupt = true;
                    tracing::error!(module = rings.source.module(), ring = index, %error, "audit ring does not parse");
                    events.push(Event::ring_corrupt(&rings.source, index, &error));
                }
            }
        }
        let source = rings.source.clone();
        if !batch.is_empty() {
            self.dirty = true;
            self.check(|journal| journal.calls(&source, &batch));
        }
        for event in events {
            self.check(|journal| journal.event(&event).map(drop));
        }
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

/// While guests run, rings are drained this often; it bounds what a power failure can take.
const TICK: Duration = Duration::from_millis(50);
