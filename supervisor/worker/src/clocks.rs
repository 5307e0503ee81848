//! Clocks that go in steps, for modules whose policy has `clock-resolution`.
//!
//! Runs in: worker, on guest threads.
//! Does not: change how long a guest waits. It hides from what it reads, not from what it counts: a guest that counts its own loops between two steps has a
//! finer clock, though one that others on the machine disturb.

use std::time::Duration;

use wasmtime_wasi::HostMonotonicClock;
use wasmtime_wasi::HostWallClock;
use wasmtime_wasi::WasiCtxBuilder;
use wasmtime_wasi::clocks;

/// Both clocks, down to the last whole step.
pub(crate) fn in_steps(builder: &mut WasiCtxBuilder, step: Duration) {
    let step = u64::try_from(step.as_nanos()).unwrap_or(u64::MAX);
    if step > 1 {
        builder
            .wall_clock(Wall { inner: clocks::WallClock::new(), step })
            .monotonic_clock(Monotonic { inner: clocks::MonotonicClock::new(), step });
    }
}

struct Wall {
    inner: clocks::WallClock,
    step: u64,
}

impl HostWallClock for Wall {
    fn resolution(&self) -> Duration {
        self.inner.resolution().max(Duration::from_nanos(self.step))
    }

    fn now(&self) -> Duration {
        let now = u64::try_from(self.inner.now().as_nanos()).unwrap_or(u64::MAX);
        Duration::from_nanos(down(now, self.step))
    }
}

struct Monotonic {
    inner: clocks::MonotonicClock,
    step: u64,
}

impl HostMonotonicClock for Monotonic {
    fn resolution(&self) -> u64 {
        self.inner.resolution().max(self.step)
    }

    fn now(&self) -> u64 {
        down(self.inner.now(), self.step)
    }
}

fn down(now: u64, step: u64) -> u64 {
    now - now.checked_rem(step).unwrap_or(0)
}
