//! A counter outside the disk that only rises: what sees a restored backup.
//!
//! Runs in: daemon, CLI.
//! Does not: say what the state is. The state carries the number of its last write; the counter says whether there was a later one.

use std::fmt;

use serde::Deserialize;
use serde::Serialize;

/// Which counter a state is bound to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum CounterKind {
    /// None: a restored backup, or a deleted state directory, is not seen.
    None,
    /// A counter index in the non-volatile memory of a TPM.
    Tpm,
}

impl CounterKind {
    /// Its name in text and JSON.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Tpm => "tpm",
        }
    }
}

impl fmt::Display for CounterKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// Why a counter gives no number.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CounterError {
    /// It was never incremented: no state was ever bound to it. Only a first start accepts this.
    #[error("the counter was never used")]
    Unused,
    /// The device said no.
    #[error("the counter cannot be reached")]
    Device(#[source] Box<dyn std::error::Error + Send + Sync>),
}

/// A number that rises by exactly one at a time, survives a power cut, and can never be made lower, also not by removing and defining it again
/// (TPM 2.0 Library, Part 1, §37.2.4: a counter index starts at the highest value that any counter of the TPM has had).
pub trait Counter: Send {
    /// What it is.
    fn kind(&self) -> CounterKind;

    /// Its value.
    ///
    /// # Errors
    /// [`CounterError::Unused`] before the first increment, [`CounterError::Device`] if it cannot be asked.
    fn get(&self) -> Result<u64, CounterError>;

    /// Raises it by one and gives the new value.
    ///
    /// # Errors
    /// [`CounterError::Device`]; it may then have risen or not.
    fn increment(&mut self) -> Result<u64, CounterError>;
}

/// No counter. The state is checked against damage, not against being set back as a whole.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoCounter;

impl Counter for NoCounter {
    fn kind(&self) -> CounterKind {
        CounterKind::None
    }

    fn get(&self) -> Result<u64, CounterError> {
        Err(CounterError::Unused)
    }

    fn increment(&mut self) -> Result<u64, CounterError> {
        Err(CounterError::Unused)
    }
}
