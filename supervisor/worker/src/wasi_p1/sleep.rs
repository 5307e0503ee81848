//! A `poll_oneoff` that is nothing but a sleep.
//!
//! Runs in: worker, on guest threads.
//! Why: wasmtime-wasi would sleep where no deadline reaches it.

use std::time::Duration;

use wiggle::GuestMemory;

use super::window;

/// A `poll_oneoff` on one clock, relative: a sleep.
pub(super) struct Sleep {
    userdata: [u8; 8],
    duration: Duration,
}

/// Byte sizes of `subscription` and `event`.
const SUBSCRIPTION: usize = 48;
const EVENT: usize = 32;

/// Reads one subscription: `{userdata u64, tag u8 at 8, clock u32 at 16, timeout u64 at 24, precision u64 at 32, flags u16 at 40}`. Anything
/// that is not a relative sleep, or does not lie within the memory, is left to the real function.
pub(super) fn sleep_of(memory: &[u8], subscriptions: i32, events: i32, count: i32, stored: i32) -> Option<Sleep> {
    if count != 1 {
        return None;
    }
    let subscription = window(memory, subscriptions, SUBSCRIPTION)?;
    window(memory, events, EVENT)?;
    window(memory, stored, 4)?;
    let tag = *subscription.get(8)?;
    let flags = u16::from_le_bytes(*subscription.get(40..)?.first_chunk()?);
    if tag != 0 || flags & 1 != 0 {
        return None;
    }
    let timeout = u64::from_le_bytes(*subscription.get(24..)?.first_chunk()?);
    Some(Sleep { userdata: *subscription.first_chunk()?, duration: Duration::from_nanos(timeout) })
}

impl Sleep {
    /// Sleeps where the deadline reaches it, then stores the one event.
    pub(super) async fn run(self, memory: &mut GuestMemory<'_>, _: i32, events: i32, _: i32, stored: i32) -> wasmtime::Result<i32> {
        tokio::time::sleep(self.duration).await;
        let GuestMemory::Unshared(memory) = memory else { return Ok(INVAL) };
        // `{userdata u64, error u16, type u8, fd_readwrite {u64, u16}}`: success, a clock, nothing else.
        let mut event = [0; EVENT];
        if let Some(userdata) = event.first_chunk_mut() {
            *userdata = self.userdata;
        }
        for (at, value) in [(events, event.as_slice()), (stored, 1u32.to_le_bytes().as_slice())] {
            let Some(window) = window_mut(memory, at, value.len()) else { return Ok(INVAL) };
            window.copy_from_slice(value);
        }
        Ok(0)
    }
}

fn window_mut(memory: &mut [u8], at: i32, len: usize) -> Option<&mut [u8]> {
    let at = usize::try_from(at.cast_unsigned()).ok()?;
    memory.get_mut(at..at.checked_add(len)?)
}

/// `errno` of preview 1.
const INVAL: i32 = 28;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
    use super::*;

    #[test]
    fn only_a_relative_sleep_is_a_sleep() {
        let mut memory = vec![0; 256];
        memory[24..32].copy_from_slice(&7u64.to_le_bytes());
        assert_eq!(sleep_of(&memory, 0, 64, 1, 128).unwrap().duration, Duration::from_nanos(7));
        assert!(sleep_of(&memory, 0, 64, 2, 128).is_none());
        assert!(sleep_of(&memory, 0, 240, 1, 128).is_none());
        assert!(sleep_of(&memory, -1, 64, 1, 128).is_none());
        memory[40] = 1;
        assert!(sleep_of(&memory, 0, 64, 1, 128).is_none());
        memory[40] = 0;
        memory[8] = 1;
        assert!(sleep_of(&memory, 0, 64, 1, 128).is_none());
    }
}
