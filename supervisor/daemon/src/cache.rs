//! Native code kept between runs.
//!
//! Runs in: daemon.
//! Invariant: what is taken out is byte for byte what was put in by a daemon that held the same key. The file is native code, so a file that somebody else wrote
//! would be somebody else's program: each entry carries an HMAC-SHA-256 over its key, kind and code, under a key that only the daemon's user reads.
//! Does not: share entries between engines. The entry's name is made of module digest, engine version and engine configuration.

use std::io::Read as _;
use std::io::Write as _;

use aws_lc_rs::digest;
use aws_lc_rs::hmac;
use cap_std::ambient_authority;
use cap_std::fs::Dir;
use cap_std::fs::DirBuilder;
use cap_std::fs::DirBuilderExt as _;
use cap_std::fs::OpenOptions;
use cap_std::fs::OpenOptionsExt as _;
use edgeguard_attest::ModuleDigest;
use edgeguard_wire::worker::ModuleKind;
use std::path::Path;

use crate::compiler::Compiled;

/// The cache's directory and its key.
#[derive(Debug)]
pub struct Cache {
    dir: Dir,
    key: hmac::Key,
}

impl Cache {
    /// Opens, or makes, `STATE/cache` (0700) and `STATE/cache.key` (0400).
    ///
    /// # Errors
    /// What the filesystem says, or a key file of the wrong length.
    pub fn open(state: &Path) -> std::io::Result<Self> {
        let state = Dir::open_ambient_dir(state, ambient_authority())?;
        let secret = match read_key(&state) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => write_key(&state)?,
            other => other?,
        };
        if !state.is_dir("cache") {
            state.create_dir_with("cache", DirBuilder::new().mode(0o700))?;
        }
        Ok(Self { dir: state.open_dir("cache")?, key: hmac::Key::new(hmac::HMAC_SHA256, &secret) })
    }

    /// The entry for this module and engine, if it is there and whole.
    #[must_use]
    pub fn get(&self, module: ModuleDigest, engine: &[u8; 32]) -> Option<Compiled> {
        let name = entry_name(module, engine);
        let mut entry = Vec::new();
        self.dir.open(&name).ok()?.take(MAX_ENTRY).read_to_end(&mut entry).ok()?;
        let (tag, signed) = entry.split_at_checked(TAG)?;
        if hmac::verify(&self.key, &[name.as_bytes(), signed].concat(), tag).is_err() {
            tracing::warn!(entry = name, "cached native code is not what this daemon stored; it is compiled anew");
            return None;
        }
        let (kind, code) = signed.split_first()?;
        let kind = match kind {
            0 => ModuleKind::Core,
            1 => ModuleKind::Component,
            _ => return None,
        };
        Some(Compiled { kind, code: code.to_vec() })
    }

    /// Stores an entry: whole or not at all.
    ///
    /// # Errors
    /// What the filesystem says. The caller goes on without a cache.
    pub fn put(&self, module: ModuleDigest, engine: &[u8; 32], compiled: &Compiled) -> std::io::Result<()> {
        let name = entry_name(module, engine);
        let mut signed = vec![match compiled.kind {
            ModuleKind::Core => 0,
            ModuleKind::Component => 1,
        }];
        signed.extend_from_slice(&compiled.code);
        let tag = hmac::sign(&self.key, &[name.as_bytes(), &signed].concat());
        let draft = format!("{name}.new");
        let mut file = self.dir.open_with(&draft, OpenOptions::new().write(true).create(true).truncate(true).mode(0o600))?;
        file.write_all(tag.as_ref())?;
        file.write_all(&signed)?;
        file.sync_data()?;
        self.dir.rename(&draft, &self.dir, &name)
    }
}

fn entry_name(module: ModuleDigest, engine: &[u8; 32]) -> String {
    let name = digest::digest(&digest::SHA256, &[&module.0[..], engine].concat());
    format!("{}.code", hex::encode(name))
}

fn read_key(state: &Dir) -> std::io::Result<Vec<u8>> {
    let mut secret = Vec::new();
    state.open("cache.key")?.take(1024).read_to_end(&mut secret)?;
    if secret.len() == KEY {
        return Ok(secret);
    }
    Err(std::io::Error::new(
        std::io::ErrorKind::InvalidData,
        "`cache.key` is damaged: remove it, and the folder `cache` beside it, and start again",
    ))
}

fn write_key(state: &Dir) -> std::io::Result<Vec<u8>> {
    let mut secret = vec![0; KEY];
    aws_lc_rs::rand::fill(&mut secret).map_err(|_| std::io::Error::other("no randomness"))?;
    let mut file = state.open_with("cache.key", OpenOptions::new().write(true).create_new(true).mode(0o400))?;
    file.write_all(&secret)?;
    file.sync_all()?;
    Ok(secret)
}

const TAG: usize = 32;
const KEY: usize = 32;
const MAX_ENTRY: u64 = 1 << 30;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
    use super::*;
    use std::os::unix::fs::PermissionsExt as _;

    const ENGINE: [u8; 32] = [7; 32];

    fn entry() -> Compiled {
        Compiled { kind: ModuleKind::Component, code: b"native code".to_vec() }
    }

    fn stored() -> (tempfile::TempDir, Cache) {
        let state = tempfile::tempdir().unwrap();
        let cache = Cache::open(state.path()).unwrap();
        cache.put(ModuleDigest([1; 32]), &ENGINE, &entry()).unwrap();
        (state, cache)
    }

    fn file(state: &tempfile::TempDir) -> std::path::PathBuf {
        std::fs::read_dir(state.path().join("cache")).unwrap().next().unwrap().unwrap().path()
    }

    #[test]
    fn an_entry_survives_a_restart() {
        let (state, _) = stored();
        let found = Cache::open(state.path()).unwrap().get(ModuleDigest([1; 32]), &ENGINE).unwrap();
        assert_eq!((found.kind, found.code), (ModuleKind::Component, b"native code".to_vec()));
    }

    #[test]
    fn another_module_or_another_engine_finds_nothing() {
        let (_state, cache) = stored();
        assert!(cache.get(ModuleDigest([2; 32]), &ENGINE).is_none());
        assert!(cache.get(ModuleDigest([1; 32]), &[8; 32]).is_none());
    }

    #[test]
    fn an_entry_with_any_bit_changed_is_not_used() {
        let (state, cache) = stored();
        let good = std::fs::read(file(&state)).unwrap();
        for at in 0..good.len() {
            let mut bad = good.clone();
            bad[at] ^= 1;
            std::fs::write(file(&state), &bad).unwrap();
            assert!(cache.get(ModuleDigest([1; 32]), &ENGINE).is_none(), "byte {at}");
        }
    }

    #[test]
    fn an_entry_moved_to_another_modules_name_is_not_used() {
        let (state, cache) = stored();
        let name = entry_name(ModuleDigest([2; 32]), &ENGINE);
        std::fs::rename(file(&state), state.path().join("cache").join(name)).unwrap();
        assert!(cache.get(ModuleDigest([2; 32]), &ENGINE).is_none());
    }

    #[test]
    fn the_key_is_for_the_daemons_user_alone() {
        let (state, _) = stored();
        let mode = std::fs::metadata(state.path().join("cache.key")).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o400);
    }

    #[test]
    fn a_damaged_key_is_an_error_and_not_a_new_key() {
        let (state, _) = stored();
        let key = state.path().join("cache.key");
        std::fs::remove_file(&key).unwrap();
        std::fs::write(&key, b"short").unwrap();
        assert!(Cache::open(state.path()).is_err());
    }
}
