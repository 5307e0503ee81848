//! The journal and the TPM's counter: an older copy of the disk, keys and all, does not know the number.
//!
//! Runs in: daemon, at its start and its end, and every hour on a thread of its own.
//! Invariant: the next number is in the journal, on the disk and sealed, before the counter is raised to it. So after a crash between the two the counter is
//! one behind, and never one ahead: ahead is what a disk that was set back looks like.
//! Does not: say that nothing was changed. Whoever has the journal's keys can write any number; then only what was kept elsewhere shows it.

use std::time::Duration;
use std::time::Instant;

use edgeguard_attest::Counter;
use edgeguard_attest::CounterError;
use edgeguard_audit::Event;
use edgeguard_audit::Journal;
use edgeguard_audit::JournalError;
use edgeguard_audit::anchor::counted;

/// Why the journal is not taken for the newest.
#[derive(Debug, thiserror::Error)]
pub enum CountedError {
    /// The TPM.
    #[error("the host's file binds the journal to a counter in the TPM, and that cannot be asked")]
    Counter(#[from] CounterError),
    /// The journal.
    #[error("the journal does not take the counter's number")]
    Journal(#[from] JournalError),
    /// Its files.
    #[error("the journal's last number cannot be read")]
    Read(#[source] std::io::Error),
    /// The disk was set back, or is a copy.
    #[error(
        "the journal is not the newest: it ends with number {journal}, and the TPM's counter is at {counter}. Its disk was set back or copied, or somebody raised the counter. \
         Look at what was kept elsewhere (`edgeguard audit verify --anchors`); to go on with this journal all the same, start once with `--accept-journal \"REASON\"`"
    )]
    Older {
        /// What the journal knows.
        journal: String,
        /// What the TPM says.
        counter: String,
    },
}

/// Holds the journal against the counter, and raises it; gives the value. With `accepted`, a journal that is not the newest goes on, and says why.
///
/// # Errors
/// [`CountedError`]: nothing may be written to this journal as if it were the newest.
pub fn begin(journal: &mut Journal, dir: &std::path::Path, counter: &mut dyn Counter, accepted: Option<&str>) -> Result<u64, CountedError> {
    let known = counted::last(dir).map_err(CountedError::Read)?;
    let found = match counter.get() {
        Ok(value) => Some(value),
        Err(CounterError::Unused) => None,
        Err(error) => return Err(error.into()),
    };
    let fits = match (known.map(|known| known.value), found) {
        // Never bound, or not to the end.
        (None, None) | (Some(None), _) => true,
        // Equal; or the counter is the one step behind that a crash leaves.
        (Some(Some(known)), Some(found)) => known == found || found.checked_add(1) == Some(known),
        (None, Some(_)) | (Some(Some(_)), None) => false,
    };
    let accepted = match (fits, accepted) {
        (true, _) => None,
        (false, Some(why)) => Some(why.to_owned()),
        (false, None) => {
            let words = |value: Option<u64>| value.map_or("none".to_owned(), |value| value.to_string());
            return Err(CountedError::Older { journal: words(known.and_then(|known| known.value)), counter: words(found) });
        }
    };
    // A counter that is one behind gets there first.
    let found = match (known.and_then(|known| known.value), found) {
        (Some(known), Some(found)) if accepted.is_none() && found < known => Some(counter.increment()?),
        (_, found) => found,
    };
    match found {
        Some(value) => {
            let next = value.saturating_add(1);
            journal.event(&said(next, accepted))?;
            journal.sync()?;
            raise(counter, next)?;
            Ok(next)
        }
        None => {
            // Only the first raise shows the value.
            journal.event(&Event::JournalCounted { value: None, accepted })?;
            journal.sync()?;
            let value = counter.increment()?;
            journal.event(&said(value, None))?;
            journal.sync()?;
            Ok(value)
        }
    }
}

/// Raises the counter to the value that is in the journal, if it is not there yet.
///
/// # Errors
/// [`CountedError::Counter`]; [`CountedError::Older`] if it is anywhere else: somebody else raised it.
pub fn raise(counter: &mut dyn Counter, to: u64) -> Result<(), CountedError> {
    let mut value = counter.get()?;
    if value.checked_add(1) == Some(to) {
        value = counter.increment()?;
    }
    if value == to { Ok(()) } else { Err(CountedError::Older { journal: to.to_string(), counter: value.to_string() }) }
}

/// A journal that is bound to a counter.
pub struct Bound {
    /// Away while a thread raises it.
    counter: Option<Box<dyn Counter>>,
    /// What it is, or is to be, raised to.
    value: u64,
    since: Instant,
    /// It could not be raised to `value`, so far as is known.
    behind: bool,
}

impl std::fmt::Debug for Bound {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Bound to {}", self.value)
    }
}

impl Bound {
    /// After [`begin`], which gave this value.
    #[must_use]
    pub fn new(counter: Box<dyn Counter>, value: u64) -> Self {
        Self { counter: Some(counter), value, since: Instant::now(), behind: false }
    }

    /// After how long it is to be raised again.
    #[must_use]
    pub fn due(&self) -> Duration {
        EVERY.saturating_sub(self.since.elapsed())
    }

    /// Writes the next number, unless the last one is still to be reached.
    fn write(&mut self, journal: &mut Journal) -> Result<(), JournalError> {
        self.since = Instant::now();
        if !self.behind {
            journal.event(&said(self.value.saturating_add(1), None))?;
            journal.sync()?;
            self.value = self.value.saturating_add(1);
            self.behind = true;
        }
        Ok(())
    }

    /// Writes the next number and has a thread raise the counter to it, which may take a TPM a while; `back` is given the counter.
    ///
    /// # Errors
    /// The journal takes nothing: then nothing is raised.
    pub fn raise(&mut self, journal: &mut Journal, back: impl FnOnce(Raised) + Send + 'static) -> Result<(), JournalError> {
        self.write(journal)?;
        let Some(mut counter) = self.counter.take() else { return Ok(()) };
        let to = self.value;
        let raise = move || {
            let result = raise(&mut *counter, to);
            back(Raised { counter, result });
        };
        if let Err(error) = std::thread::Builder::new().name("counter".into()).spawn(raise) {
            // The counter went with the thread: the next start finds it one behind.
            tracing::error!(%error, "no thread to raise the journal's counter; it is raised at the next start");
        }
        Ok(())
    }

    /// The counter is back.
    pub fn returned(&mut self, raised: Raised) {
        self.counter = Some(raised.counter);
        match raised.result {
            Ok(()) => self.behind = false,
            Err(error) => tracing::error!(error = crate::chain(&error), "the journal's counter is not where it should be"),
        }
    }

    /// At an orderly end: raises it once more, and waits.
    ///
    /// # Errors
    /// [`CountedError`]
    pub fn end(mut self, journal: &mut Journal) -> Result<(), CountedError> {
        let Some(mut counter) = self.counter.take() else { return Ok(()) };
        self.write(journal)?;
        raise(&mut *counter, self.value)
    }
}

/// A counter that was raised, or not.
pub struct Raised {
    counter: Box<dyn Counter>,
    result: Result<(), CountedError>,
}

const fn said(value: u64, accepted: Option<String>) -> Event {
    Event::JournalCounted { value: Some(value), accepted }
}

/// How old a copy of the disk may be without the counter showing it; a TPM's memory wears out by writing.
pub const EVERY: Duration = Duration::from_secs(3600);
