//! How long to wait before a receiver is tried again.
//!
//! Runs in: exporter.

use std::time::Duration;

/// Doubles from a quarter of a second to a minute; a success begins anew.
#[derive(Debug, Clone, Copy)]
pub struct Backoff {
    next: Duration,
}

impl Default for Backoff {
    fn default() -> Self {
        Self { next: FIRST }
    }
}

impl Backoff {
    /// How long to wait now; at least as long as the receiver asked for, at most [`LONGEST`].
    pub fn wait(&mut self, asked: Option<u64>) -> Duration {
        let wait = self.next.max(Duration::from_secs(asked.unwrap_or(0))).min(LONGEST);
        self.next = (self.next * 2).min(LONGEST);
        wait
    }

    /// The receiver took something.
    pub fn reset(&mut self) {
        self.next = FIRST;
    }
}

const FIRST: Duration = Duration::from_millis(250);
/// The longest wait.
pub const LONGEST: Duration = Duration::from_secs(60);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_wait_doubles_is_bounded_and_begins_anew() {
        let mut backoff = Backoff::default();
        assert_eq!(backoff.wait(None), FIRST);
        assert_eq!(backoff.wait(None), FIRST * 2);
        assert_eq!(backoff.wait(Some(5)), Duration::from_secs(5));
        assert_eq!(backoff.wait(Some(1 << 60)), LONGEST);
        for _ in 0..20 {
            backoff.wait(None);
        }
        assert_eq!(backoff.wait(None), LONGEST);
        backoff.reset();
        assert_eq!(backoff.wait(None), FIRST);
    }
}
