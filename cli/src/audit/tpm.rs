//! `audit verify --tpm`: whether the journal is the newest that this machine's TPM knows of.
//!
//! Runs in: command line, with a user's right to open the TPM.
//! Does not: raise the counter, nor verify the journal.

use std::path::Path;

use edgeguard_attest::Counter as _;
use edgeguard_attest::CounterError;
use edgeguard_attest::TpmCounter;
use edgeguard_audit::anchor::counted;
use edgeguard_audit::anchor::counted::Counted;
use serde_json::Value;
use serde_json::json;

/// What the two say.
pub(super) struct Asked {
    journal: Counted,
    counter: u64,
}

/// Asks both.
///
/// # Errors
/// The TPM cannot be asked, or the journal is not bound to one: in words.
pub(super) fn ask(device: &Path, journal: &Path) -> Result<Asked, String> {
    let unbound = || {
        "this journal is not bound to a counter: `counter = \"tpm\"` in `[audit]` of the host's file binds it at the next start".to_owned()
    };
    let known = counted::last(journal).map_err(|error| format!("cannot read the journal's last number: {error}"))?.ok_or_else(unbound)?;
    let counter = TpmCounter::open_for_journal(device).map_err(|error| super::chain(&error))?.get();
    match counter {
        Ok(counter) => Ok(Asked { journal: known, counter }),
        Err(CounterError::Unused) => {
            Err(format!("`{}` has no counter for a journal: it was removed, or this is another machine's TPM", device.display()))
        }
        Err(error) => Err(super::chain(&error)),
    }
}

impl Asked {
    /// Equal; or the counter is one behind, as a crash or a running daemon leaves it for a moment.
    pub(super) fn is_newest(&self) -> bool {
        self.journal.value.is_none_or(|known| known == self.counter || self.counter.checked_add(1) == Some(known))
    }

    pub(super) fn to_json(&self) -> Value {
        json!({ "tpm": self.counter, "journal": self.journal.value, "frame": self.journal.frame, "newest": self.is_newest() })
    }

    pub(super) fn words(&self) -> String {
        let Self { journal: Counted { value, frame }, counter } = self;
        let Some(value) = value else { return format!("the journal was about to be bound, by frame {frame}; the TPM says {counter}") };
        if self.is_newest() {
            return format!("{counter} in the TPM, {value} in frame {frame}: no newer journal is known");
        }
        format!("TAMPERED: {counter} in the TPM, {value} in frame {frame}: the disk was set back or copied, or somebody raised the counter")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(value: Option<u64>, counter: u64) -> Asked {
        Asked { journal: Counted { value, frame: 7 }, counter }
    }

    #[test]
    fn a_journal_is_the_newest_where_the_counter_is_at_its_number_or_one_behind() {
        assert!(asked(Some(5), 5).is_newest() && asked(Some(6), 5).is_newest() && asked(None, 5).is_newest());
        assert!(!asked(Some(4), 5).is_newest() && !asked(Some(7), 5).is_newest());
        assert!(asked(Some(4), 5).words().starts_with("TAMPERED") && !asked(Some(5), 5).words().contains("TAMPERED"));
    }
}
