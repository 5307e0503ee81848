//! The journal's keys: one that stays, by which others know this journal, and one for each epoch, which is erased when the epoch ends.
//!
//! Runs in: daemon.
//! Invariant: on the disk there are never more keys than the current epoch's and the next one's; an older one is overwritten in its place. Whoever
//! takes both can sign for what comes, and not for what was. What a flash chip keeps of an overwritten block is beyond this.
//! Does not: leave the machine; the public half is what `Journal` writes down.

use std::fs::DirBuilder;
use std::fs::File;
use std::io;
use std::io::Read as _;
use std::os::unix::fs::DirBuilderExt as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::path::PathBuf;

use aws_lc_rs::encoding::AsBigEndian as _;
use aws_lc_rs::signature::Ed25519KeyPair;
use aws_lc_rs::signature::KeyPair as _;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use zeroize::Zeroizing;

use crate::disk::Disk;
use crate::disk::DiskFile;
use crate::note::NoteKey;
use crate::note::VerifierKey;
use crate::statement::EpochStart;

/// The name of the identity key among systemd's credentials.
pub const CREDENTIAL: &str = "edgeguard-journal.key";
/// The identity key's file, where no credential is given.
const IDENTITY: &str = "identity.key";
/// The epoch keys' file.
const EPOCH: &str = "epoch.key";

/// Why there are no keys to sign with.
#[derive(Debug, thiserror::Error)]
pub enum KeysError {
    /// A file cannot be used.
    #[error("cannot use the journal's key file `{}`", .path.display())]
    Io {
        /// Which.
        path: PathBuf,
        /// What the kernel said.
        source: io::Error,
    },
    /// Others may read a private key.
    #[error("the journal's key file `{}` has mode {mode:04o}, expected 0400: others may have read it; make a new key, or `chmod 400` it if you know better", .path.display())]
    Mode {
        /// Which.
        path: PathBuf,
        /// Its mode.
        mode: u32,
    },
    /// Not an Ed25519 key.
    #[error("`{}` does not hold one Ed25519 key as PKCS#8 in PEM; make one with `openssl genpkey -algorithm ed25519`", .0.display())]
    NotAKey(PathBuf),
    /// Not a key for codes.
    #[error("`{}` does not hold the 32 bytes of the key that texts are coded with; give the right file back, or remove it: codes are others from then on", .0.display())]
    NotACode(PathBuf),
    /// The epoch keys do not parse.
    #[error("the epoch keys in `{}` are damaged; restore nothing, but move them and the journal aside together: what was written stays verifiable, and a new journal begins", .0.display())]
    Damaged(PathBuf),
    /// The epoch keys belong to another identity key.
    #[error("the epoch keys in `{}` belong to another identity key; give that one back, or move them and the journal aside together, so that a new journal begins", .0.display())]
    OtherIdentity(PathBuf),
    /// The kernel gives no random bytes.
    #[error("the kernel gives no random bytes for a key")]
    Random,
}

pub(crate) type Seed = Zeroizing<[u8; 32]>;

/// The journal's private keys.
pub struct Keys {
    identity: Seed,
    file: Option<DiskFile>,
    path: PathBuf,
    state: State,
}

/// The epoch keys, as they are on the disk.
struct State {
    /// The current epoch; 0 before the first.
    epoch: u32,
    current: Seed,
    next: Seed,
}

impl Keys {
    /// Loads the keys from this folder, making folder and keys when they are not there. With `credentials`, the folder in systemd's
    /// `$CREDENTIALS_DIRECTORY`, the identity key is taken from there if it holds [`CREDENTIAL`].
    ///
    /// # Errors
    /// [`KeysError`]; a key that is there and cannot be used is never replaced.
    pub fn load(dir: &Path, credentials: Option<&Path>) -> Result<Self, KeysError> {
        DirBuilder::new().recursive(true).mode(0o700).create(dir).map_err(io_error(dir))?;
        let identity = identity(dir, credentials)?;
        let path = dir.join(EPOCH);
        let state = match read(&path, FILE_LEN)? {
            Some(bytes) => State::parse(&bytes, &public_of(&identity)?, &path)?,
            None => State { epoch: 0, current: seed()?, next: seed()? },
        };
        Ok(Self { identity, file: None, path, state })
    }

    /// The public half of the identity key.
    ///
    /// # Errors
    /// [`KeysError::NotAKey`]
    pub fn public(&self) -> Result<[u8; 32], KeysError> {
        public_of(&self.identity)
    }

    /// The current epoch; 0 before the first.
    pub(crate) const fn epoch(&self) -> u32 {
        self.state.epoch
    }

    /// The identity key, for a journal of this name.
    pub(crate) fn identity(&self, origin: &str) -> Result<NoteKey, KeysError> {
        NoteKey::from_seed(origin, &self.identity).map_err(|_| KeysError::NotAKey(self.path.clone()))
    }

    /// The current epoch's key; nothing before the first.
    pub(crate) fn current(&self, origin: &str) -> Result<Option<NoteKey>, KeysError> {
        if self.state.epoch == 0 {
            return Ok(None);
        }
        self.epoch_key(origin, self.state.epoch, &self.state.current).map(Some)
    }

    /// The next epoch's key, of which only the public half is used.
    pub(crate) fn next(&self, origin: &str) -> Result<VerifierKey, KeysError> {
        let key = self.epoch_key(origin, self.state.epoch.saturating_add(1), &self.state.next)?;
        Ok(key.verifier().clone())
    }

    fn epoch_key(&self, origin: &str, epoch: u32, seed: &Seed) -> Result<NoteKey, KeysError> {
        NoteKey::from_seed(&EpochStart::key_name(origin, epoch), seed).map_err(|_| KeysError::Damaged(self.path.clone()))
    }

    /// Has the epoch keys on the disk before anything is signed with them.
    pub(crate) fn persist(&mut self, disk: &Disk) -> Result<(), KeysError> {
        let path = self.path.clone();
        let io = io_error(&path);
        let made = || -> io::Result<DiskFile> {
            match disk.open(&path) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => {
                    // Under another name until it is whole: half a file would stop every later start.
                    let beside = path.with_extension("new");
                    if beside.symlink_metadata().is_ok() {
                        disk.remove(&beside)?;
                    }
                    let file = disk.create(&beside, 0o600)?;
                    file.allocate(FILE_LEN as u64)?;
                    file.write_all_at(self.state.slot(&public_io(&self.identity)?).as_slice(), slot_at(self.state.epoch))?;
                    file.sync()?;
                    disk.rename(&beside, &path)?;
                    if let Some(dir) = path.parent() {
                        disk.sync_dir(dir)?;
                    }
                    disk.open(&path)
                }
                other => other,
            }
        };
        self.file = Some(made().map_err(io)?);
        // A crash may have left the slot of the epoch before.
        self.erase(self.state.epoch.wrapping_add(1))
    }

    /// The next epoch is the current one from here on: on the disk first its keys, then nothing of the one before.
    pub(crate) fn advance(&mut self) -> Result<(), KeysError> {
        let state = State { epoch: self.state.epoch.saturating_add(1), current: self.state.next.clone(), next: seed()? };
        let slot = state.slot(&self.public()?);
        let file = self.file()?;
        let written = file.write_all_at(slot.as_slice(), slot_at(state.epoch)).and_then(|()| file.sync());
        written.map_err(io_error(&self.path))?;
        self.erase(state.epoch.wrapping_add(1))?;
        self.state = state;
        Ok(())
    }

    /// Overwrites the slot that this epoch would be in.
    fn erase(&self, epoch: u32) -> Result<(), KeysError> {
        let file = self.file()?;
        file.write_all_at(&[0; SLOT], slot_at(epoch)).and_then(|()| file.sync()).map_err(io_error(&self.path))
    }

    fn file(&self) -> Result<&DiskFile, KeysError> {
        self.file.as_ref().ok_or_else(|| KeysError::Damaged(self.path.clone()))
    }
}

impl std::fmt::Debug for Keys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Keys").field("path", &self.path).field("epoch", &self.state.epoch).finish_non_exhaustive()
    }
}

impl State {
    /// `"EGK1" | identity's public key | epoch u32 | current | next | crc32c`, then zeros.
    fn slot(&self, identity: &[u8; 32]) -> Zeroizing<Vec<u8>> {
        let mut slot = Zeroizing::new(Vec::with_capacity(SLOT));
        slot.extend_from_slice(MAGIC);
        slot.extend_from_slice(identity);
        slot.extend_from_slice(&self.epoch.to_le_bytes());
        slot.extend_from_slice(self.current.as_slice());
        slot.extend_from_slice(self.next.as_slice());
        let crc = crc32c::crc32c(&slot);
        slot.extend_from_slice(&crc.to_le_bytes());
        slot.resize(SLOT, 0);
        slot
    }

    /// The newer of two slots; one of them may be half-written or erased.
    fn parse(bytes: &[u8], identity: &[u8; 32], path: &Path) -> Result<Self, KeysError> {
        let slots = [bytes.get(..SLOT), bytes.get(SLOT..FILE_LEN)].into_iter().flatten().filter_map(Self::slot_of);
        let (found, state) = slots.max_by_key(|(_, state)| state.epoch).ok_or_else(|| KeysError::Damaged(path.to_owned()))?;
        if found == *identity { Ok(state) } else { Err(KeysError::OtherIdentity(path.to_owned())) }
    }

    fn slot_of(slot: &[u8]) -> Option<([u8; 32], Self)> {
        let (body, rest) = slot.split_at_checked(SLOT_USED - 4)?;
        if rest.first_chunk()? != &crc32c::crc32c(body).to_le_bytes() {
            return None;
        }
        let body = body.strip_prefix(MAGIC)?;
        let (identity, body) = body.split_first_chunk()?;
        let (epoch, body) = body.split_first_chunk()?;
        let (current, body) = body.split_first_chunk()?;
        let (next, _) = body.split_first_chunk()?;
        Some((*identity, Self { epoch: u32::from_le_bytes(*epoch), current: Zeroizing::new(*current), next: Zeroizing::new(*next) }))
    }
}

/// The identity key: a credential, a file, or a new file.
fn identity(dir: &Path, credentials: Option<&Path>) -> Result<Seed, KeysError> {
    if let Some(path) = credentials.map(|folder| folder.join(CREDENTIAL))
        && let Some(pem) = read(&path, MAX_PEM)?
    {
        // Its folder is systemd's, and whoever can read there was given the right.
        return seed_of(&pem, &path);
    }
    let path = dir.join(IDENTITY);
    if let Some(pem) = read(&path, MAX_PEM)? {
        let mode = std::fs::metadata(&path).map_err(io_error(&path))?.permissions().mode() & 0o777;
        if mode & 0o077 != 0 {
            return Err(KeysError::Mode { path, mode });
        }
        return seed_of(&pem, &path);
    }
    let seed = seed()?;
    let mut der = Zeroizing::new(PKCS8.to_vec());
    der.extend_from_slice(seed.as_slice());
    let pem = Zeroizing::new(format!("{BEGIN}\n{}\n{END}\n", STANDARD.encode(der.as_slice())));
    let disk = Disk::default();
    let beside = path.with_extension("new");
    let made = || -> io::Result<()> {
        if beside.symlink_metadata().is_ok() {
            disk.remove(&beside)?;
        }
        let file = disk.create(&beside, 0o400)?;
        file.write_all_at(pem.as_bytes(), 0)?;
        file.sync()?;
        disk.rename(&beside, &path)?;
        disk.sync_dir(dir)
    };
    made().map_err(io_error(&path))?;
    Ok(seed)
}

/// The seed in a PEM block of PKCS#8.
fn seed_of(pem: &[u8], path: &Path) -> Result<Seed, KeysError> {
    let bad = || KeysError::NotAKey(path.to_owned());
    let text = std::str::from_utf8(pem).map_err(|_| bad())?.trim_ascii();
    let body = text.strip_prefix(BEGIN).and_then(|rest| rest.strip_suffix(END)).ok_or_else(bad)?;
    let body = Zeroizing::new(body.chars().filter(|c| !c.is_ascii_whitespace()).collect::<String>());
    let der = Zeroizing::new(STANDARD.decode(body.as_bytes()).map_err(|_| bad())?);
    let pair = Ed25519KeyPair::from_pkcs8_maybe_unchecked(&der).map_err(|_| bad())?;
    let seed = pair.seed().and_then(|seed| seed.as_be_bytes()).map_err(|_| bad())?;
    Ok(Zeroizing::new(seed.as_ref().try_into().map_err(|_| bad())?))
}

fn public_of(seed: &Seed) -> Result<[u8; 32], KeysError> {
    public_io(seed).map_err(|_| KeysError::Random)
}

fn public_io(seed: &Seed) -> io::Result<[u8; 32]> {
    let bad = || io::Error::from(io::ErrorKind::InvalidData);
    let pair = Ed25519KeyPair::from_seed_unchecked(seed.as_slice()).map_err(|_| bad())?;
    pair.public_key().as_ref().try_into().map_err(|_| bad())
}

pub(crate) fn seed() -> Result<Seed, KeysError> {
    let mut seed = Zeroizing::new([0; 32]);
    aws_lc_rs::rand::fill(seed.as_mut_slice()).map_err(|_| KeysError::Random)?;
    Ok(seed)
}

/// A small file; nothing if it is not there.
pub(crate) fn read(path: &Path, max: usize) -> Result<Option<Zeroizing<Vec<u8>>>, KeysError> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(io_error(path)(error)),
    };
    let mut bytes = Zeroizing::new(Vec::with_capacity(max + 1));
    file.take(max as u64 + 1).read_to_end(&mut bytes).map_err(io_error(path))?;
    if bytes.len() > max { Err(KeysError::NotAKey(path.to_owned())) } else { Ok(Some(bytes)) }
}

pub(crate) fn io_error(path: &Path) -> impl FnOnce(io::Error) -> KeysError + use<> {
    let path = path.to_owned();
    move |source| KeysError::Io { path, source }
}

/// Two slots in turn, so that one is whole at any moment; each is a sector, which a disk writes in one go.
const fn slot_at(epoch: u32) -> u64 {
    if epoch & 1 == 0 { 0 } else { SLOT as u64 }
}

const MAGIC: &[u8; 4] = b"EGK1";
const SLOT: usize = 512;
const SLOT_USED: usize = 4 + 32 + 4 + 32 + 32 + 4;
const FILE_LEN: usize = 2 * SLOT;
const MAX_PEM: usize = 4096;
const BEGIN: &str = "-----BEGIN PRIVATE KEY-----";
const END: &str = "-----END PRIVATE KEY-----";
/// What stands before the seed in an Ed25519 key as PKCS#8 (RFC 8410).
const PKCS8: [u8; 16] = [0x30, 0x2e, 0x02, 0x01, 0x00, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x04, 0x22, 0x04, 0x20];

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]
    use super::*;

    #[test]
    fn keys_are_made_once_and_only_their_owner_may_read_them() {
        let dir = tempfile::tempdir().unwrap();
        let keys = dir.path().join("keys");
        let first = Keys::load(&keys, None).unwrap().public().unwrap();
        assert_eq!(Keys::load(&keys, None).unwrap().public().unwrap(), first);
        let path = keys.join(IDENTITY);
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o400);
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o440)).unwrap();
        assert!(matches!(Keys::load(&keys, None), Err(KeysError::Mode { mode: 0o440, .. })));
    }

    #[test]
    fn a_credential_comes_before_the_file() {
        let dir = tempfile::tempdir().unwrap();
        let other = tempfile::tempdir().unwrap();
        let credential = Keys::load(other.path(), None).unwrap().public().unwrap();
        std::fs::copy(other.path().join(IDENTITY), dir.path().join(CREDENTIAL)).unwrap();
        let keys = Keys::load(&dir.path().join("keys"), Some(dir.path())).unwrap();
        assert_eq!(keys.public().unwrap(), credential);
        assert!(!dir.path().join("keys").join(IDENTITY).exists());
        std::fs::write(dir.path().join(CREDENTIAL), "no key").unwrap();
        assert!(matches!(Keys::load(&dir.path().join("keys"), Some(dir.path())), Err(KeysError::NotAKey(_))));
    }

    #[test]
    fn an_epoch_that_ended_leaves_no_key_on_the_disk() {
        let dir = tempfile::tempdir().unwrap();
        let mut keys = Keys::load(dir.path(), None).unwrap();
        keys.persist(&Disk::default()).unwrap();
        let mut old = Vec::new();
        for epoch in 1..6 {
            old.push(keys.state.current.clone());
            let next = keys.next("o").unwrap();
            keys.advance().unwrap();
            assert_eq!((keys.epoch(), keys.current("o").unwrap().unwrap().verifier()), (epoch, &next));
            let bytes = std::fs::read(dir.path().join(EPOCH)).unwrap();
            for seed in &old {
                assert!(!bytes.windows(32).any(|window| window == seed.as_slice()));
            }
            let again = Keys::load(dir.path(), None).unwrap();
            assert_eq!((again.epoch(), again.next("o").unwrap()), (epoch, keys.next("o").unwrap()));
        }
    }

    #[test]
    fn damaged_or_foreign_epoch_keys_are_not_replaced() {
        let dir = tempfile::tempdir().unwrap();
        let mut keys = Keys::load(dir.path(), None).unwrap();
        keys.persist(&Disk::default()).unwrap();
        let path = dir.path().join(EPOCH);
        let bytes = std::fs::read(&path).unwrap();
        let mut damaged = bytes.clone();
        damaged[50] ^= 1;
        std::fs::write(&path, damaged).unwrap();
        assert!(matches!(Keys::load(dir.path(), None), Err(KeysError::Damaged(_))));
        std::fs::write(&path, bytes).unwrap();
        std::fs::remove_file(dir.path().join(IDENTITY)).unwrap();
        assert!(matches!(Keys::load(dir.path(), None), Err(KeysError::OtherIdentity(_))));
    }
}
