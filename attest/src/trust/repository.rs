//! A TUF repository as a plain directory, such as a stick that was plugged in: bounded reads below one handle.
//!
//! Runs in: CLI (`trust import`).
//! Invariant: no name leads out of the directory, and no link is followed, also not one inside: the names come from metadata, some before its signature is checked.
//! Does not: verify anything. What it gives out is bytes that somebody put on the stick.

use std::fs::File;
use std::future::Future;
use std::io;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::pin::pin;
use std::task::Context;
use std::task::Poll;
use std::task::Waker;

use rustix::fs::CWD;
use rustix::fs::Mode;
use rustix::fs::OFlags;
use rustix::fs::ResolveFlags;
use rustix::io::Errno;
use sigstore_tuf::Error;
use sigstore_tuf::Repository;
use sigstore_tuf::transport::FetchFuture;

use crate::read::read_bounded;

/// A directory with TUF metadata in it, or in `metadata`, and with targets in `targets`.
pub(super) struct Stick {
    metadata: OwnedFd,
    targets: Option<OwnedFd>,
}

impl Stick {
    /// Opens the directory. The layouts of the sigstore repositories and of python-tuf are both understood.
    pub(super) fn open(path: &Path) -> io::Result<Self> {
        let dir = rustix::fs::openat(CWD, path, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
        let inside = |name: &str| match open_below(&dir, name, OFlags::DIRECTORY) {
            Ok(fd) => Ok(Some(fd)),
            Err(Errno::NOENT) => Ok(None),
            Err(error) => Err(io::Error::from(error)),
        };
        let (metadata, targets) = (inside("metadata")?, inside("targets")?);
        Ok(Self { metadata: metadata.unwrap_or(dir), targets })
    }
}

impl Repository for Stick {
    fn fetch_metadata<'a>(&'a self, name: &'a str, max_length: u64) -> FetchFuture<'a> {
        ready(fetch(&self.metadata, name, max_length))
    }

    fn fetch_target<'a>(&'a self, path: &'a str, max_length: u64) -> FetchFuture<'a> {
        ready(self.targets.as_ref().map_or(Ok(None), |targets| fetch(targets, path, max_length)))
    }
}

fn fetch(dir: &OwnedFd, name: &str, max: u64) -> sigstore_tuf::Result<Option<Vec<u8>>> {
    let failed = |source: Box<dyn std::error::Error + Send + Sync>| {
        Error::transport_with_source(format!("cannot read `{}`", name.escape_debug()), source)
    };
    match open_below(dir, name, OFlags::NONBLOCK) {
        Ok(fd) => read_bounded(&File::from(fd), max).map(Some).map_err(|error| failed(error.into())),
        Err(Errno::NOENT) => Ok(None),
        Err(error) => Err(failed(io::Error::from(error).into())),
    }
}

fn open_below(dir: &OwnedFd, name: &str, flags: OFlags) -> rustix::io::Result<OwnedFd> {
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
    rustix::fs::openat2(dir, name, OFlags::RDONLY | OFlags::CLOEXEC | flags, Mode::empty(), resolve)
}

fn ready<'a>(result: sigstore_tuf::Result<Option<Vec<u8>>>) -> FetchFuture<'a> {
    Box::pin(std::future::ready(result))
}

/// The value of a future that never waits. The library's interface is asynchronous for repositories behind a network; a directory is ready at once.
pub(super) fn at_once<T>(future: impl Future<Output = sigstore_tuf::Result<T>>) -> sigstore_tuf::Result<T> {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(result) => result,
        Poll::Pending => Err(Error::transport("a directory was not ready")),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]
    use super::*;

    #[test]
    fn no_name_and_no_link_leads_out_of_the_directory() {
        let home = tempfile::tempdir().unwrap();
        let dir = home.path().join("stick");
        std::fs::create_dir_all(dir.join("targets/keys")).unwrap();
        std::fs::write(home.path().join("secret"), b"secret").unwrap();
        std::fs::write(dir.join("targets/keys/a.pub"), b"key").unwrap();
        std::os::unix::fs::symlink("../../secret", dir.join("targets/link")).unwrap();
        std::os::unix::fs::symlink("keys", dir.join("targets/inner")).unwrap();
        let stick = Stick::open(&dir).unwrap();
        let target = |name: &str| at_once(stick.fetch_target(name, 100));
        assert_eq!(target("keys/a.pub").unwrap().unwrap(), b"key");
        assert_eq!(target("keys/b.pub").unwrap(), None);
        let absolute = home.path().join("secret");
        for name in
            ["../secret", "../../secret", "keys/../../../secret", absolute.to_str().unwrap(), "link", "inner/a.pub", "keys", ".", ""]
        {
            assert!(!matches!(target(name), Ok(Some(_))), "{name}");
        }
    }

    #[test]
    fn a_file_beyond_its_bound_and_a_pipe_are_not_read() {
        let home = tempfile::tempdir().unwrap();
        std::fs::write(home.path().join("timestamp.json"), [b' '; 101]).unwrap();
        rustix::fs::mknodat(CWD, home.path().join("root.json"), rustix::fs::FileType::Fifo, Mode::from_raw_mode(0o600), 0).unwrap();
        let stick = Stick::open(home.path()).unwrap();
        assert!(at_once(stick.fetch_metadata("timestamp.json", 100)).is_err());
        assert!(at_once(stick.fetch_metadata("timestamp.json", 101)).unwrap().is_some());
        assert!(at_once(stick.fetch_metadata("root.json", 100)).is_err());
    }
}
