//! Codes in the place of what a guest named: equal texts have equal codes, and nobody without the host's key can say of which text.
//!
//! Runs in: daemon.
//! Invariant: a key that is there and cannot be used is never replaced: codes would silently no longer be equal to those before.
//! Does not: protect from whoever has the key, which can code every text that it guesses and compare.

use std::path::Path;

use aws_lc_rs::hmac;
use zeroize::Zeroizing;

use crate::disk::Disk;
use crate::keys::KeysError;
use crate::keys::io_error;
use crate::keys::read;
use crate::keys::seed;

/// The key's file, beside the journal's other keys.
const FILE: &str = "privacy.key";
/// Bytes of the key.
const LEN: usize = 32;
/// Bytes of a code, of the 32 that HMAC-SHA-256 gives (RFC 2104, section 5): two texts share one with a chance of 2^-128.
const CODE: usize = 16;
/// What a code begins with.
const PREFIX: &str = "hmac:";

/// What a text names, so that a path and a graph of the same name have different codes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Named {
    /// A path, or anything else that is no graph.
    Path,
    /// A graph, or an option of one.
    Graph,
}

/// The key that only this host has.
pub struct PrivacyKey(hmac::Key);

impl PrivacyKey {
    /// Loads the key from the folder of the journal's keys, making it (mode 0400) when it is not there. The folder must be.
    ///
    /// # Errors
    /// [`KeysError`]: a file that others may read, or that is not a key, among them.
    pub fn load(dir: &Path) -> Result<Self, KeysError> {
        let path = dir.join(FILE);
        if let Some(key) =
            read(&path, LEN).map_err(|error| if let KeysError::NotAKey(path) = error { KeysError::NotACode(path) } else { error })?
        {
            let mode = mode(&path)?;
            return match key.len() {
                _ if mode & 0o077 != 0 => Err(KeysError::Mode { path, mode }),
                LEN => Ok(Self::of(&key)),
                _ => Err(KeysError::NotACode(path)),
            };
        }
        let key: Zeroizing<[u8; LEN]> = seed()?;
        let disk = Disk::default();
        // Under another name until it is whole: half a key would stop every later start.
        let beside = path.with_extension("new");
        let made = || -> std::io::Result<()> {
            if beside.symlink_metadata().is_ok() {
                disk.remove(&beside)?;
            }
            let file = disk.create(&beside, 0o400)?;
            file.write_all_at(key.as_slice(), 0)?;
            file.sync()?;
            disk.rename(&beside, &path)?;
            disk.sync_dir(dir)
        };
        made().map_err(io_error(&path))?;
        Ok(Self::of(key.as_slice()))
    }

    fn of(key: &[u8]) -> Self {
        Self(hmac::Key::new(hmac::HMAC_SHA256, key))
    }

    /// `hmac:` and 32 hexadecimal digits in the place of a text. A text of two names, as that of a renaming, has a code for each, with a zero byte between
    /// them as in the text.
    #[must_use]
    pub fn code(&self, named: Named, text: &[u8]) -> Vec<u8> {
        let mut out = Vec::with_capacity(2 * (PREFIX.len() + 2 * CODE) + 1);
        // Two at most, whatever a guest writes: what is written instead of 4 KiB of zero bytes is not many times as long.
        for part in text.splitn(2, |byte| *byte == 0) {
            if !out.is_empty() {
                out.push(0);
            }
            let mut context = hmac::Context::with_key(&self.0);
            context.update(named.domain());
            context.update(part);
            let tag = context.sign();
            out.extend_from_slice(PREFIX.as_bytes());
            out.extend_from_slice(hex::encode(tag.as_ref().get(..CODE).unwrap_or_default()).as_bytes());
        }
        out
    }
}

impl std::fmt::Debug for PrivacyKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("PrivacyKey").finish_non_exhaustive()
    }
}

impl Named {
    /// What stands before a text in what is coded. No text begins in the middle of another's.
    const fn domain(self) -> &'static [u8] {
        match self {
            Self::Path => b"edgeguard journal path\0",
            Self::Graph => b"edgeguard journal graph\0",
        }
    }
}

fn mode(path: &Path) -> Result<u32, KeysError> {
    use std::os::unix::fs::PermissionsExt as _;
    Ok(std::fs::metadata(path).map_err(io_error(path))?.permissions().mode() & 0o777)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    fn text(code: &[u8]) -> &str {
        std::str::from_utf8(code).unwrap()
    }

    #[test]
    fn a_code_is_the_same_for_the_same_text_under_the_same_key_and_for_no_other() {
        let (here, there) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let key = PrivacyKey::load(here.path()).unwrap();
        let code = key.code(Named::Path, b"/etc/shadow");
        assert_eq!(PrivacyKey::load(here.path()).unwrap().code(Named::Path, b"/etc/shadow"), code, "after a restart");
        assert_ne!(PrivacyKey::load(there.path()).unwrap().code(Named::Path, b"/etc/shadow"), code, "on another host");
        assert_ne!(key.code(Named::Graph, b"/etc/shadow"), code);
        assert_ne!(key.code(Named::Path, b"/etc/shadoW"), code);
        let digits = text(&code).strip_prefix("hmac:").unwrap();
        assert!(digits.len() == 32 && digits.bytes().all(|b| b.is_ascii_hexdigit()), "{digits}");
    }

    #[test]
    fn the_two_names_of_one_call_can_be_found_by_themselves_and_a_text_of_zeros_does_not_grow() {
        let dir = tempfile::tempdir().unwrap();
        let key = PrivacyKey::load(dir.path()).unwrap();
        let both = [key.code(Named::Path, b"old"), key.code(Named::Path, b"new")].join(&0);
        assert_eq!(key.code(Named::Path, b"old\0new"), both);
        assert_eq!(key.code(Named::Path, &[0; 4096]).len(), both.len());
    }

    #[test]
    fn a_key_that_others_may_read_or_that_is_cut_is_refused_and_not_replaced() {
        let dir = tempfile::tempdir().unwrap();
        PrivacyKey::load(dir.path()).unwrap();
        let path = dir.path().join(FILE);
        let bytes = std::fs::read(&path).unwrap();
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o400);
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o440)).unwrap();
        assert!(matches!(PrivacyKey::load(dir.path()), Err(KeysError::Mode { mode: 0o440, .. })));
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
        for bad in [&bytes[..31], &[bytes.as_slice(), b"\n"].concat(), b""] {
            std::fs::write(&path, bad).unwrap();
            assert!(matches!(PrivacyKey::load(dir.path()), Err(KeysError::NotACode(_))), "{}", bad.len());
            assert_eq!(std::fs::read(&path).unwrap(), bad);
        }
    }
}
