//! Passphrases: from the terminal without an echo, or from a file.
//!
//! Runs in: command line.
//! Does not: take one from an argument or a variable, where others could read it, or keep it longer than it is used.

use std::io;
use std::path::Path;

use zeroize::Zeroizing;

use crate::files;
use crate::files::FileError;

/// The longest passphrase, in bytes.
const MAX: u64 = 1024;
/// The shortest passphrase for a new key, in bytes.
const MIN_NEW: usize = 8;

/// Why there is no passphrase.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PassphraseError {
    #[error("cannot ask for its passphrase on a terminal; pass `--passphrase-file FILE`")]
    Terminal(#[source] io::Error),
    #[error("cannot read the passphrase")]
    File(#[source] FileError),
    #[error("expected a passphrase in UTF-8 on one line in `{0}`, found something else")]
    NotText(String),
    #[error("expected a passphrase, found none")]
    Empty,
    #[error("expected the same passphrase twice, found two")]
    Differ,
    #[error("expected a passphrase of at least {MIN_NEW} bytes, found {0}")]
    Short(usize),
}

/// The passphrase of an existing key.
pub(super) fn of(key: &str, file: Option<&Path>) -> Result<Zeroizing<String>, PassphraseError> {
    let passphrase = match file {
        Some(path) => from_file(path)?,
        None => ask(&format!("Passphrase of the key {}: ", edgeguard_policy::escape(key)))?,
    };
    if passphrase.is_empty() { Err(PassphraseError::Empty) } else { Ok(passphrase) }
}

/// The passphrase of a new key, asked for twice.
pub(super) fn new(file: Option<&Path>) -> Result<Zeroizing<String>, PassphraseError> {
    let passphrase = match file {
        Some(path) => from_file(path)?,
        None => {
            let first = ask("Passphrase for the new key: ")?;
            if first.as_str() != ask("The same again: ")?.as_str() {
                return Err(PassphraseError::Differ);
            }
            first
        }
    };
    if passphrase.len() < MIN_NEW { Err(PassphraseError::Short(passphrase.len())) } else { Ok(passphrase) }
}

fn ask(prompt: &str) -> Result<Zeroizing<String>, PassphraseError> {
    rpassword::prompt_password(prompt).map(Zeroizing::new).map_err(PassphraseError::Terminal)
}

/// The whole file but for one line end, so that what an editor or `echo` wrote is what was typed.
fn from_file(path: &Path) -> Result<Zeroizing<String>, PassphraseError> {
    let bytes = Zeroizing::new(files::read(path, MAX).map_err(PassphraseError::File)?);
    let not_text = || PassphraseError::NotText(path.display().to_string());
    let text = std::str::from_utf8(&bytes).map_err(|_| not_text())?;
    let text = text.strip_suffix('\n').map_or(text, |text| text.strip_suffix('\r').unwrap_or(text));
    if text.contains(['\n', '\r', '\0']) {
        return Err(not_text());
    }
    Ok(Zeroizing::new(text.to_owned()))
}
