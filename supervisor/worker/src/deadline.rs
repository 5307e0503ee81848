//! The wall clock of invocations: one thread that sleeps until the next deadline.
//!
//! Runs in: worker, on a thread of its own.
//! Invariant: while no invocation runs, it does not wake up. When a deadline passes it ticks the engine, so that the guest's
//! next loop head looks at the clock; host calls that wait have the same deadline themselves. An invocation that has not ended
//! some time later hangs in a system call that nobody can interrupt, and takes the process with it.

use std::sync::Arc;
use std::sync::Condvar;
use std::sync::Mutex;
use std::sync::MutexGuard;
use std::sync::PoisonError;
use std::time::Duration;
use std::time::Instant;

/// When an invocation ends at the latest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Deadline(pub Instant);

impl Deadline {
    /// `limit` from now. A limit beyond what the clock can say means a year.
    #[must_use]
    pub fn after(limit: Duration) -> Self {
        let now = Instant::now();
        Self(now.checked_add(limit).unwrap_or(now + Duration::from_secs(365 * 24 * 3600)))
    }

    /// Whether it has passed.
    #[must_use]
    pub fn passed(self) -> bool {
        Instant::now() >= self.0
    }

    /// The time left.
    #[must_use]
    pub fn left(self) -> Duration {
        self.0.saturating_duration_since(Instant::now())
    }
}

/// After the deadline, time for host calls to notice, for the guest to unwind and for its last records.
const GRACE: Duration = Duration::from_secs(2);

/// Between two ticks while something is overdue.
const TICK: Duration = Duration::from_millis(5);

/// Which invocations run, and until when.
#[derive(Debug)]
pub struct Clock {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug)]
struct State {
    /// By guest thread.
    running: Vec<Option<Deadline>>,
    /// When the thread wakes up by itself; `None` when it sleeps for good.
    wakes: Option<Instant>,
}

impl Clock {
    /// For so many guest threads, none of which runs.
    #[must_use]
    pub fn new(lanes: usize) -> Arc<Self> {
        Arc::new(Self { state: Mutex::new(State { running: vec![None; lanes], wakes: None }), changed: Condvar::new() })
    }

    /// An invocation begins on guest thread `lane`.
    pub fn start(&self, lane: usize, deadline: Deadline) {
        let mut state = self.lock();
        if let Some(slot) = state.running.get_mut(lane) {
            *slot = Some(deadline);
        }
        // The thread is woken only if it would sleep through this deadline.
        if state.wakes.is_none_or(|wakes| wakes > deadline.0) {
            drop(state);
            self.changed.notify_one();
        }
    }

    /// The invocation on guest thread `lane` has ended.
    pub fn stop(&self, lane: usize) {
        if let Some(slot) = self.lock().running.get_mut(lane) {
            *slot = None;
        }
    }

    /// The thread. `tick` is called while a deadline has passed, `stuck` when an invocation does not end.
    pub fn run(&self, tick: impl Fn(), stuck: impl Fn(usize)) {
        let mut state = self.lock();
        loop {
            let now = Instant::now();
            let next = state.running.iter().flatten().map(|deadline| deadline.0).min();
            state.wakes = match next {
                None => None,
                Some(next) if next > now => Some(next),
                Some(_) => {
                    tick();
                    if let Some(lane) = state.running.iter().position(|slot| slot.is_some_and(|deadline| now > deadline.0 + GRACE)) {
                        stuck(lane);
                    }
                    Some(now + TICK)
                }
            };
            state = match state.wakes {
                None => self.changed.wait(state).unwrap_or_else(PoisonError::into_inner),
                Some(wakes) => {
                    self.changed.wait_timeout(state, wakes.saturating_duration_since(now)).unwrap_or_else(PoisonError::into_inner).0
                }
            };
        }
    }

    /// A poisoned lock means that a thread panicked while it held two plain values; they are still good.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
