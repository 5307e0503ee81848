//! The rings of one worker, and what is taken out of them.
//!
//! Runs in: daemon, on the journal's thread and on the loop that answers.
//! Invariant: every record is handed over once and counted once; of a ring's denials, those that are told one by one, those told with a count, and those
//! that are only counted add up to [`Records::denied`].
//! Does not: believe a word of what a worker wrote.

use std::borrow::Cow;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering;
use std::sync::mpsc;
use std::time::Instant;

use edgeguard_audit::Consumer;
use edgeguard_audit::Event;
use edgeguard_audit::Outcome;
use edgeguard_audit::Record;
use edgeguard_audit::Source;
use rustix::process::Signal;

use super::Command;
use super::budget;
use super::budget::Budget;
use super::denials::Denial;
use super::denials::Denials;
use super::lock;
use super::privacy::Wording;
use crate::invoke::Records;

/// The rings of one worker.
#[derive(Debug)]
pub(super) struct Rings {
    source: Source,
    wording: Wording,
    rings: Vec<Mutex<Ring>>,
    pub(super) doorbell: OwnedFd,
    process: OwnedFd,
    budget: Arc<Mutex<Budget>>,
    /// It caused more events than its module's budget, and is being ended: what it is still denied is counted and not told.
    over: AtomicBool,
}

#[derive(Debug)]
struct Ring {
    consumer: Consumer,
    /// Records taken.
    taken: u64,
    /// Counts at the end of the last invocation on it.
    settled: u64,
    stalls: u64,
    /// It did not parse: what comes after is not believed.
    corrupt: bool,
    /// Denials since it was settled last.
    denied: u64,
    denials: Denials,
    /// Those of them that are only counted.
    untold: Option<Untold>,
}

/// Denials that are only counted: how many, and when the first and the last were.
#[derive(Debug, Clone, Copy)]
struct Untold {
    count: u64,
    first_ns: u64,
    last_ns: u64,
}

/// What was taken out of one ring, on its way into the journal.
pub(super) struct Taken {
    pub source: Source,
    pub records: Vec<(Record, Option<Vec<u8>>)>,
    /// Denials among them, and the end of a ring that does not parse.
    pub events: Vec<Event>,
}

impl Rings {
    pub fn new(
        source: Source,
        wording: Wording,
        rings: Vec<Consumer>,
        doorbell: OwnedFd,
        process: OwnedFd,
        budget: Arc<Mutex<Budget>>,
    ) -> Self {
        let rings = rings.into_iter().map(|consumer| Mutex::new(Ring::new(consumer))).collect();
        Self { source, wording, rings, doorbell, process, budget, over: AtomicBool::new(false) }
    }

    pub const fn len(&self) -> usize {
        self.rings.len()
    }

    /// Takes all that is in a ring at the end of an invocation, of which the worker says that it `produced` so many records since the ring began.
    pub fn settle(&self, index: usize, journal: &mpsc::Sender<Command>, produced: impl FnOnce(u64) -> u64) -> Records {
        let end = |ring: &mut Ring| {
            let produced = produced(ring.taken);
            ring.settle(produced)
        };
        self.drain(index, journal, true, end).unwrap_or_default()
    }

    /// Takes all that is in the rings. True while denials wait to be told.
    pub fn drain_all(&self, journal: &mpsc::Sender<Command>) -> bool {
        (0..self.rings.len()).fold(false, |waits, index| {
            let waiting = self.drain(index, journal, false, |ring| ring.denials.waits());
            waits | waiting.unwrap_or_default()
        })
    }

    /// Takes all that is in a ring, and hands it over before the ring is let go. A ring that does not parse is closed: the worker is no longer believed.
    fn drain<T>(&self, index: usize, journal: &mpsc::Sender<Command>, ends: bool, then: impl FnOnce(&mut Ring) -> T) -> Option<T> {
        let mut ring = lock(self.rings.get(index)?);
        let ring = &mut *ring;
        let source = self.source.on_ring(u32::try_from(index).unwrap_or(u32::MAX));
        let mut taken = Taken { source, records: Vec::new(), events: Vec::new() };
        let mut denials = Vec::new();
        if !ring.corrupt {
            let drained = ring.consumer.drain(|mut record, text| {
                // The text as the guest wrote it goes no further than this line.
                let text = self.wording.apply(&mut record, text);
                if record.outcome == Outcome::Denied {
                    ring.denied += 1;
                    ring.denials.take(&record, text.as_deref(), &mut denials);
                }
                taken.records.push((record, text.map(Cow::into_owned)));
            });
            ring.taken += taken.records.len() as u64;
            if let Err(error) = drained {
                self.end();
                tracing::error!(module = self.source.module(), ring = index, error = crate::chain(&error), "audit ring does not parse");
                taken.events.push(Event::ring_corrupt(&taken.source, taken.source.ring(), &error));
                ring.corrupt = true;
            }
        }
        if ends {
            ring.denials.end(&mut denials);
        } else {
            ring.denials.tell(Instant::now(), &mut denials);
        }
        denials.into_iter().for_each(|denial| self.tell(&denial, ring, &mut taken));
        if ends && let Some(Untold { count, first_ns, last_ns }) = ring.untold.take() {
            let (module, instance) = (taken.source.module().to_owned(), taken.source.instance().to_string());
            taken.events.push(Event::DenialsCounted { module, instance, ring: taken.source.ring(), count, first_ns, last_ns });
        }
        if !taken.records.is_empty() || !taken.events.is_empty() {
            // Its end is the end of the journal's thread, which every other command notices.
            let _ = journal.send(Command::Taken(Box::new(taken)));
        }
        Some(then(ring))
    }

    /// A denial becomes an event, if the module has room for it. If not, that is what becomes one, and the worker is ended.
    fn tell(&self, denial: &Denial, ring: &mut Ring, taken: &mut Taken) {
        if !self.over.load(Ordering::Acquire) {
            let event = Event::denied(&taken.source, taken.source.ring(), &denial.record, denial.text.as_deref());
            let event = event.repeated(denial.count, denial.last_ns);
            let now = Instant::now();
            let mut budget = lock(&self.budget);
            if budget.spend(event.disk_len(), now) {
                taken.events.push(event);
                return;
            }
            let came = budget.suspend(now);
            drop(budget);
            self.end();
            // Two of its rings may come here at once: it is said once.
            if !self.over.swap(true, Ordering::AcqRel) {
                let module = self.source.module();
                tracing::error!(module, bytes = came.bytes, events = came.events, pause = ?came.pause, "more security events than its budget; it is suspended");
                taken.events.push(Event::InstanceSuspended {
                    module: module.to_owned(),
                    instance: taken.source.instance().to_string(),
                    ring: taken.source.ring(),
                    burst_bytes: budget::BURST,
                    refill_bytes: budget::REFILL,
                    invocation_bytes: budget::INVOCATION,
                    came_bytes: came.bytes,
                    came_events: came.events,
                    pause_ns: u64::try_from(came.pause.as_nanos()).unwrap_or(u64::MAX),
                });
            }
        }
        let (first_ns, count) = (denial.record.time_ns, denial.count);
        let untold = ring.untold.get_or_insert(Untold { count: 0, first_ns, last_ns: first_ns });
        untold.count += count;
        untold.first_ns = untold.first_ns.min(first_ns);
        untold.last_ns = untold.last_ns.max(denial.last_ns);
    }

    /// Ends the worker. One that is gone already has nothing more to hide.
    fn end(&self) {
        let _ = rustix::process::pidfd_send_signal(&self.process, Signal::KILL);
    }
}

impl Ring {
    fn new(consumer: Consumer) -> Self {
        Self { consumer, taken: 0, settled: 0, stalls: 0, corrupt: false, denied: 0, denials: Denials::new(), untold: None }
    }

    /// The account of the invocation that ended on this ring.
    fn settle(&mut self, produced: u64) -> Records {
        let stalls = self.consumer.stalls();
        let records = Records {
            produced: produced.saturating_sub(self.settled),
            recorded: self.taken.saturating_sub(self.settled),
            stalls: stalls.saturating_sub(self.stalls),
            denied: std::mem::take(&mut self.denied),
        };
        // What was taken, not what was claimed: a worker that lies shows it in the account of this invocation, and in no other.
        self.settled = self.taken;
        self.stalls = stalls;
        records
    }
}
