//! The deadlines of computes under way: one thread that sleeps until the next.
//!
//! Runs in: graph host, on a thread of its own, made before the lock.
//! Invariant: a compute is cancelled only while it is under way: who ends it and who cancels it hold the same lock.
//! Does not: judge deadlines. They are the workers' word; one that lies harms computes of its own.
//!
//! At a deadline the engine is told to give up, and the next compute begins. An engine that cannot be told, or that does not listen within
//! [`GRACE`], ends the process: the daemon replaces it, which costs each neighbour one error at most, where a stuck seat would cost them all their
//! deadlines.

use std::sync::Condvar;
use std::sync::Mutex;
use std::sync::MutexGuard;
use std::sync::PoisonError;
use std::time::Duration;

use edgeguard_wire::tensor::now_ns;

use crate::engine::Seat;
use crate::log;

/// After an engine was told to give up, how long it may take.
const GRACE: Duration = Duration::from_secs(1);

/// Which computes are under way, and until when.
#[derive(Debug)]
pub(crate) struct Watch {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug)]
struct State {
    /// By seat.
    running: Vec<Option<Running>>,
    /// When the thread wakes up by itself, on the clock of [`now_ns`]; `u64::MAX` when it sleeps for good.
    wakes: u64,
}

#[derive(Debug, Clone, Copy)]
struct Running {
    /// The worker's deadline; after the engine was told, the end of its grace.
    until: u64,
    told: bool,
}

/// What is to be done with computes beyond their deadline.
enum Overdue {
    /// Sleep until then.
    Nothing(u64),
    /// One was told, and did not listen.
    Deaf(usize),
    /// The engine cannot be told.
    Untold(usize),
}

impl Watch {
    /// For so many seats, of which none computes.
    pub(crate) fn new(seats: usize) -> Self {
        Self { state: Mutex::new(State { running: vec![None; seats], wakes: u64::MAX }), changed: Condvar::new() }
    }

    /// A compute of this seat begins.
    pub(crate) fn begin(&self, seat: Seat, until: u64) {
        let mut state = self.lock();
        if let Some(running) = state.running.get_mut(seat.0) {
            *running = Some(Running { until, told: false });
        }
        // The thread is woken only if it would sleep through this deadline.
        if state.wakes > until {
            drop(state);
            self.changed.notify_one();
        }
    }

    /// It has ended; whether it had been told to.
    pub(crate) fn end(&self, seat: Seat) -> bool {
        self.lock().running.get_mut(seat.0).and_then(Option::take).is_some_and(|running| running.told)
    }

    /// Watches, for as long as the process lives. `cancel` tells the engine that the compute of a seat is no longer wanted, and says whether it can be told;
    /// it returns at once.
    pub(crate) fn run(&self, cancel: &dyn Fn(Seat) -> bool) -> ! {
        let mut state = self.lock();
        loop {
            let until = match overdue(&mut state, now_ns(), cancel) {
                Overdue::Nothing(until) => until,
                Overdue::Deaf(seat) => end(&format!("the compute of seat {seat} does not end, {GRACE:?} after it was cancelled")),
                Overdue::Untold(seat) => end(&format!("the compute of seat {seat} is beyond its deadline, and this engine cannot be told")),
            };
            state.wakes = until;
            state = if until == u64::MAX {
                self.changed.wait(state).unwrap_or_else(PoisonError::into_inner)
            } else {
                let left = Duration::from_nanos(until.saturating_sub(now_ns()));
                self.changed.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0
            };
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Tells the engine of every compute beyond its deadline.
fn overdue(state: &mut State, now: u64, cancel: &dyn Fn(Seat) -> bool) -> Overdue {
    let mut next = u64::MAX;
    for (seat, running) in state.running.iter_mut().enumerate() {
        let Some(running) = running else { continue };
        if running.until <= now {
            if running.told {
                return Overdue::Deaf(seat);
            }
            if !cancel(Seat(seat)) {
                return Overdue::Untold(seat);
            }
            *running = Running { until: now.saturating_add(u64::try_from(GRACE.as_nanos()).unwrap_or(u64::MAX)), told: true };
        }
        next = next.min(running.until);
    }
    Overdue::Nothing(next)
}

/// The daemon sees the end, notes it, and starts another host.
fn end(why: &str) -> ! {
    log(why);
    std::process::exit(1)
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicUsize;
    use std::sync::atomic::Ordering;

    use super::*;

    fn state(running: &[Option<u64>]) -> State {
        let running = running.iter().map(|until| until.map(|until| Running { until, told: false })).collect();
        State { running, wakes: u64::MAX }
    }

    #[test]
    fn only_what_is_beyond_its_deadline_is_cancelled_and_once() {
        let told = AtomicUsize::new(0);
        let cancel = |seat: Seat| {
            assert_eq!(seat, Seat(1));
            told.fetch_add(1, Ordering::Relaxed);
            true
        };
        let mut state = state(&[Some(100), Some(50), None]);
        assert!(matches!(overdue(&mut state, 49, &cancel), Overdue::Nothing(50)));
        assert!(matches!(overdue(&mut state, 50, &cancel), Overdue::Nothing(100)));
        assert!(matches!(overdue(&mut state, 51, &cancel), Overdue::Nothing(100)));
        assert_eq!(told.load(Ordering::Relaxed), 1);
    }

    #[test]
    fn an_engine_that_does_not_listen_within_the_grace_or_cannot_be_told_ends_the_process() {
        let mut deaf = state(&[Some(50)]);
        assert!(matches!(overdue(&mut deaf, 50, &|_| true), Overdue::Nothing(1_000_000_050)));
        assert!(matches!(overdue(&mut deaf, 1_000_000_050, &|_| true), Overdue::Deaf(0)));
        assert!(matches!(overdue(&mut state(&[None, Some(50)]), 50, &|_| false), Overdue::Untold(1)));
    }
}
