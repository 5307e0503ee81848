//! The two clocks of the journal.
//!
//! Runs in: worker, daemon.

use rustix::time::ClockId;

/// Nanoseconds since boot, time asleep included (`CLOCK_BOOTTIME`): the clock of [`crate::Record::time_ns`]. No system call on x86-64 and
/// aarch64.
#[must_use]
pub fn boottime_ns() -> u64 {
    now(ClockId::Boottime)
}

/// Nanoseconds since the Unix epoch (`CLOCK_REALTIME`).
#[must_use]
pub fn realtime_ns() -> u64 {
    now(ClockId::Realtime)
}

fn now(clock: ClockId) -> u64 {
    let time = rustix::time::clock_gettime(clock);
    let seconds = u64::try_from(time.tv_sec).unwrap_or(0);
    let nanos = u64::try_from(time.tv_nsec).unwrap_or(0);
    seconds.saturating_mul(1_000_000_000).saturating_add(nanos)
}
