//! The state directory as five operations, so that a test can stop between any two of them.
//!
//! Runs in: daemon, CLI, with the rights of the service's user or of root.
//! Invariant: everything is reached from one directory handle and no link is followed, so that whoever owns the directory cannot lead root elsewhere.
//! Does not: interpret what is stored.

use std::fs::File;
use std::io;
use std::io::Write as _;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::time::Duration;

use rustix::fs::AtFlags;
use rustix::fs::CWD;
use rustix::fs::FlockOperation;
use rustix::fs::Mode;
use rustix::fs::OFlags;
use rustix::fs::RenameFlags;
use rustix::io::Errno;

use crate::read::ReadError;
use crate::read::read_bounded;

/// What keeps the state. The order of the steps, and what a crash between them leaves, is [`super::State`]'s affair.
pub(super) trait Storage: Send {
    /// The file of that name, or `None` if there is none. More than `max` bytes are an error.
    fn read(&self, name: &str, max: u64) -> io::Result<Option<Vec<u8>>>;
    /// Makes or replaces a file, and waits until its bytes are on the disk. A crash leaves any part of them.
    fn put(&mut self, name: &str, bytes: &[u8]) -> io::Result<()>;
    /// Gives a file another's name; the other is gone. A crash leaves the one or the other until [`sync`](Self::sync) returns.
    fn rename(&mut self, from: &str, to: &str) -> io::Result<()>;
    /// Waits until all renames are on the disk.
    fn sync(&mut self) -> io::Result<()>;
    /// Removes a file; one that is not there is removed already.
    fn remove(&mut self, name: &str) -> io::Result<()>;
    /// The names of all files.
    fn names(&self) -> io::Result<Vec<String>>;
    /// Keeps other writers out until the guard is dropped.
    fn lock(&self) -> io::Result<Guard>;
}

/// Holds the lock of a state directory.
pub(super) struct Guard(#[allow(dead_code, reason = "the lock lives as long as its descriptor")] Option<OwnedFd>);

/// A real directory.
pub(super) struct Directory {
    fd: OwnedFd,
    owner: Option<(u32, u32)>,
}

const LOCK: &str = "lock";
/// How often and how long another writer is waited for: an import holds the lock for as long as a few small files take to reach the disk.
const LOCK_TRIES: u32 = 100;
const LOCK_PAUSE: Duration = Duration::from_millis(20);
/// More names than this are no state directory.
const MAX_NAMES: usize = 1024;

impl Directory {
    /// Opens the directory. `None` if it does not exist.
    pub(super) fn open(path: &Path) -> io::Result<Option<Self>> {
        match rustix::fs::openat(CWD, path, DIRECTORY | OFlags::NOFOLLOW, Mode::empty()) {
            Ok(fd) => Self::of(fd).map(Some),
            Err(Errno::NOENT) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// Makes the directory with `files` in it, all at once: it is filled under another name first. `Ok(None)` if it is there already.
    pub(super) fn create(path: &Path, files: &[(&str, &[u8], u32)]) -> io::Result<Option<Self>> {
        let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "the state directory needs a name"));
        };
        let parent = if parent.as_os_str().is_empty() { Path::new(".") } else { parent };
        let outside = rustix::fs::openat(CWD, parent, DIRECTORY, Mode::empty())?;
        let owner = owner_of(&outside)?;
        lock(&outside)?;
        let mut beside = name.to_owned();
        beside.push(".new");
        remove_tree(&outside, &beside)?;
        rustix::fs::mkdirat(&outside, &beside, Mode::from_raw_mode(0o700))?;
        let mut directory = Self::of(rustix::fs::openat(&outside, &beside, DIRECTORY | OFlags::NOFOLLOW, Mode::empty())?)?;
        if let Some((user, group)) = owner {
            chown(&directory.fd, user, group)?;
            directory.owner = owner;
        }
        for (name, bytes, mode) in files {
            directory.put_with(name, bytes, Mode::from_raw_mode(*mode))?;
        }
        directory.put_with(LOCK, b"", Mode::from_raw_mode(0o600))?;
        directory.sync()?;
        match rustix::fs::renameat_with(&outside, &beside, &outside, name, RenameFlags::NOREPLACE) {
            Ok(()) => {
                rustix::fs::fsync(&outside)?;
                Ok(Some(directory))
            }
            Err(Errno::EXIST) => {
                remove_tree(&outside, &beside)?;
                Ok(None)
            }
            Err(error) => Err(error.into()),
        }
    }

    fn of(fd: OwnedFd) -> io::Result<Self> {
        let owner = owner_of(&fd)?;
        Ok(Self { fd, owner })
    }

    fn put_with(&mut self, name: &str, bytes: &[u8], mode: Mode) -> io::Result<()> {
        let name = plain(name)?;
        // What a crash left behind is in the way, and may have another's mode or owner.
        self.remove(name)?;
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let mut file = File::from(rustix::fs::openat(&self.fd, name, flags, mode)?);
        if let Some((user, group)) = self.owner {
            chown(&file, user, group)?;
        }
        file.write_all(bytes)?;
        file.sync_all()
    }
}

impl Storage for Directory {
    fn read(&self, name: &str, max: u64) -> io::Result<Option<Vec<u8>>> {
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let file = match rustix::fs::openat(&self.fd, plain(name)?, flags, Mode::empty()) {
            Ok(fd) => File::from(fd),
            Err(Errno::NOENT) => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        match read_bounded(&file, max) {
            Ok(bytes) => Ok(Some(bytes)),
            Err(ReadError::Io(error)) => Err(error),
            Err(other) => Err(io::Error::new(io::ErrorKind::InvalidData, other)),
        }
    }

    fn put(&mut self, name: &str, bytes: &[u8]) -> io::Result<()> {
        self.put_with(name, bytes, Mode::from_raw_mode(0o600))
    }

    fn rename(&mut self, from: &str, to: &str) -> io::Result<()> {
        Ok(rustix::fs::renameat(&self.fd, plain(from)?, &self.fd, plain(to)?)?)
    }

    fn sync(&mut self) -> io::Result<()> {
        Ok(rustix::fs::fsync(&self.fd)?)
    }

    fn remove(&mut self, name: &str) -> io::Result<()> {
        match rustix::fs::unlinkat(&self.fd, plain(name)?, AtFlags::empty()) {
            Ok(()) | Err(Errno::NOENT) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    fn names(&self) -> io::Result<Vec<String>> {
        names_in(&self.fd)
    }

    fn lock(&self) -> io::Result<Guard> {
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let fd = rustix::fs::openat(&self.fd, LOCK, flags, Mode::from_raw_mode(0o600))?;
        // Another file's second name would be given away below, and root may give away anything.
        let stat = rustix::fs::fstat(&fd)?;
        if stat.st_nlink != 1 || rustix::fs::FileType::from_raw_mode(stat.st_mode) != rustix::fs::FileType::RegularFile {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "`lock` is not a file of its own; remove it"));
        }
        if let Some((user, group)) = self.owner.filter(|(user, _)| *user != stat.st_uid) {
            chown(&fd, user, group)?;
        }
        lock(&fd)?;
        Ok(Guard(Some(fd)))
    }
}

const DIRECTORY: OFlags = OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::CLOEXEC);

/// One name, not a path.
fn plain(name: &str) -> io::Result<&str> {
    if name.is_empty() || name == "." || name == ".." || name.contains('/') {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "expected one file name"));
    }
    Ok(name)
}

/// Who new files are given to: the directory's owner, where root works in another's directory; nobody else can give files away.
fn owner_of(fd: &OwnedFd) -> io::Result<Option<(u32, u32)>> {
    let stat = rustix::fs::fstat(fd)?;
    let root = rustix::process::geteuid().is_root();
    Ok((root && stat.st_uid != 0).then_some((stat.st_uid, stat.st_gid)))
}

fn chown(fd: impl std::os::fd::AsFd, user: u32, group: u32) -> io::Result<()> {
    Ok(rustix::fs::fchown(fd, Some(rustix::fs::Uid::from_raw(user)), Some(rustix::fs::Gid::from_raw(group)))?)
}

/// Waits a little for another writer. A blocking `flock(2)` would let whoever holds the lock hold the daemon as well.
fn lock(fd: &OwnedFd) -> io::Result<()> {
    for _ in 0..LOCK_TRIES {
        match rustix::fs::flock(fd, FlockOperation::NonBlockingLockExclusive) {
            Err(Errno::WOULDBLOCK) => std::thread::sleep(LOCK_PAUSE),
            other => return Ok(other?),
        }
    }
    Err(io::Error::new(io::ErrorKind::WouldBlock, "another process holds its lock"))
}

fn names_in(fd: &OwnedFd) -> io::Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in rustix::fs::Dir::read_from(fd)? {
        let entry = entry?;
        let Ok(name) = entry.file_name().to_str() else { continue };
        if name == "." || name == ".." {
            continue;
        }
        if names.len() == MAX_NAMES {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "too many files"));
        }
        names.push(name.to_owned());
    }
    Ok(names)
}

/// Removes a directory that a crash left half-made. It holds plain files only; anything else keeps it there, and is an error.
fn remove_tree(outside: &OwnedFd, name: &std::ffi::OsStr) -> io::Result<()> {
    let inside = match rustix::fs::openat(outside, name, DIRECTORY | OFlags::NOFOLLOW, Mode::empty()) {
        Ok(inside) => inside,
        Err(Errno::NOENT) => return Ok(()),
        Err(error) => return Err(error.into()),
    };
    for file in names_in(&inside)? {
        rustix::fs::unlinkat(&inside, file, AtFlags::empty())?;
    }
    Ok(rustix::fs::unlinkat(outside, name, AtFlags::REMOVEDIR)?)
}

/// Moves the directory aside as `PATH.old-N` with the smallest free `N`; says where it went. `None` if it was not there.
pub(super) fn set_aside(path: &Path) -> io::Result<Option<std::path::PathBuf>> {
    for number in 1..=u32::from(u16::MAX) {
        let mut aside = path.as_os_str().to_owned();
        aside.push(format!(".old-{number}"));
        match rustix::fs::renameat_with(CWD, path, CWD, std::path::Path::new(&aside), RenameFlags::NOREPLACE) {
            Ok(()) => return Ok(Some(aside.into())),
            Err(Errno::EXIST | Errno::NOTEMPTY) => {}
            Err(Errno::NOENT) => return Ok(None),
            Err(error) => return Err(error.into()),
        }
    }
    Err(io::Error::new(io::ErrorKind::AlreadyExists, "no free name to move the old state to"))
}

#[cfg(test)]
pub(super) mod faulty {
    //! A disk that can lose its power between any two steps, and in the middle of a write.

    use std::collections::BTreeMap;
    use std::sync::Arc;
    use std::sync::Mutex;

    use super::Guard;
    use super::Storage;
    use super::io;

    /// What survives a power cut.
    #[derive(Clone, Default)]
    pub(in crate::state) struct Disk(pub(in crate::state) Arc<Mutex<Inner>>);

    #[derive(Default)]
    pub(in crate::state) struct Inner {
        /// What reads see.
        pub(in crate::state) files: BTreeMap<String, Vec<u8>>,
        /// What is under each name if the power goes before the next `sync`.
        pub(in crate::state) durable: BTreeMap<String, Vec<u8>>,
        /// Steps until the power goes, and how many bytes of a write in that step arrive.
        pub(in crate::state) fails_at: Option<(usize, usize)>,
        pub(in crate::state) steps: usize,
    }

    impl Disk {
        /// The power comes back. Renames that no `sync` followed have happened if `kept`.
        pub(in crate::state) fn restart(&self, kept: bool) {
            let mut inner = self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
            inner.fails_at = None;
            if kept {
                inner.durable = inner.files.clone();
            } else {
                inner.files = inner.durable.clone();
            }
        }

        fn step(&self) -> io::Result<std::sync::MutexGuard<'_, Inner>> {
            let mut inner = self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
            inner.steps += 1;
            match inner.fails_at {
                Some((at, _)) if inner.steps >= at => Err(io::Error::other("power cut")),
                _ => Ok(inner),
            }
        }
    }

    impl Storage for Disk {
        fn read(&self, name: &str, max: u64) -> io::Result<Option<Vec<u8>>> {
            let inner = self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
            Ok(inner.files.get(name).filter(|bytes| bytes.len() as u64 <= max).cloned())
        }

        fn put(&mut self, name: &str, bytes: &[u8]) -> io::Result<()> {
            match self.step() {
                Ok(mut inner) => {
                    inner.files.insert(name.to_owned(), bytes.to_vec());
                    inner.durable.insert(name.to_owned(), bytes.to_vec());
                    Ok(())
                }
                Err(error) => {
                    let mut inner = self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
                    if let Some((at, arrived)) = inner.fails_at
                        && inner.steps == at
                    {
                        let part: Vec<u8> = bytes.iter().copied().take(arrived).collect();
                        inner.files.insert(name.to_owned(), part.clone());
                        inner.durable.insert(name.to_owned(), part);
                    }
                    Err(error)
                }
            }
        }

        fn rename(&mut self, from: &str, to: &str) -> io::Result<()> {
            let mut inner = self.step()?;
            let bytes = inner.files.remove(from).ok_or_else(|| io::Error::from(io::ErrorKind::NotFound))?;
            inner.files.insert(to.to_owned(), bytes);
            Ok(())
        }

        fn sync(&mut self) -> io::Result<()> {
            let mut inner = self.step()?;
            inner.durable = inner.files.clone();
            Ok(())
        }

        fn remove(&mut self, name: &str) -> io::Result<()> {
            self.step()?.files.remove(name);
            Ok(())
        }

        fn names(&self) -> io::Result<Vec<String>> {
            let inner = self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
            Ok(inner.files.keys().cloned().collect())
        }

        fn lock(&self) -> io::Result<Guard> {
            Ok(Guard(None))
        }
    }
}
