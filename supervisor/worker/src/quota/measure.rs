//! How much lies below a directory.
//!
//! Runs in: worker.
//! Invariant: by descriptors alone, and no link is followed. What cannot be measured whole is not measured.

use std::collections::HashSet;
use std::io;
use std::os::fd::OwnedFd;

use rustix::fs::AtFlags;
use rustix::fs::Dir;
use rustix::fs::FileType;
use rustix::fs::Mode;
use rustix::fs::OFlags;
use rustix::fs::Stat;
use rustix::io::Errno;

use super::Amount;

/// Most names that are counted. A directory with more has no room.
const MAX_NAMES: u64 = 1_000_000;

/// Directories within each other; each is open while what is in it is counted.
const MAX_DEPTH: usize = 64;

/// Counts everything below `root`, which counts for its own blocks.
///
/// # Errors
/// It cannot be read, or holds more, or deeper, than is counted.
pub(super) fn measure(root: &OwnedFd) -> io::Result<Amount> {
    let mut found = Amount { bytes: bytes(&rustix::fs::fstat(root)?), names: 0 };
    // A file with several names has its blocks once.
    let mut seen = HashSet::new();
    let mut open = vec![Dir::read_from(root)?];
    while let Some(dir) = open.last_mut() {
        let Some(entry) = dir.read() else {
            open.pop();
            continue;
        };
        let entry = entry?;
        let name = entry.file_name();
        if matches!(name.to_bytes(), b"." | b"..") {
            continue;
        }
        let stat = match rustix::fs::statat(dir.fd()?, name, AtFlags::SYMLINK_NOFOLLOW) {
            // Another instance deleted it meanwhile.
            Err(Errno::NOENT) => continue,
            stat => stat?,
        };
        found.names += 1;
        if found.names > MAX_NAMES {
            return Err(Errno::NOSPC.into());
        }
        let is_dir = FileType::from_raw_mode(stat.st_mode) == FileType::Directory;
        if is_dir || stat.st_nlink == 1 || seen.insert((stat.st_dev, stat.st_ino)) {
            found.bytes = found.bytes.saturating_add(bytes(&stat));
        }
        if is_dir {
            if open.len() == MAX_DEPTH {
                return Err(Errno::NOSPC.into());
            }
            let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            match open.last().map(Dir::fd).transpose()?.map(|dir| rustix::fs::openat(dir, name, flags, Mode::empty())) {
                // Deleted meanwhile, or a link now.
                None | Some(Err(Errno::NOENT | Errno::LOOP | Errno::NOTDIR)) => {}
                Some(inner) => open.push(Dir::new(inner?)?),
            }
        }
    }
    Ok(found)
}

/// What it takes on the disk. The kernel counts in units of 512 bytes, whatever the file system does.
fn bytes(stat: &Stat) -> u64 {
    u64::try_from(stat.st_blocks).unwrap_or(0).saturating_mul(512)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
    use std::fs;
    use std::fs::File;
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn it_counts_as_du_does_and_follows_no_link() {
        let (dir, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        fs::write(other.path().join("large"), vec![1; 1 << 20]).unwrap();
        fs::create_dir_all(dir.path().join("a/b")).unwrap();
        fs::write(dir.path().join("a/b/file"), vec![1; 100_000]).unwrap();
        fs::hard_link(dir.path().join("a/b/file"), dir.path().join("again")).unwrap();
        symlink(other.path(), dir.path().join("out")).unwrap();
        let sparse = File::create(dir.path().join("sparse")).unwrap();
        sparse.set_len(1 << 30).unwrap();
        let found = measure(&File::open(dir.path()).unwrap().into()).unwrap();
        let du = std::process::Command::new("du").args(["-s", "-B", "1"]).arg(dir.path()).output().unwrap();
        let du: u64 = String::from_utf8(du.stdout).unwrap().split_whitespace().next().unwrap().parse().unwrap();
        assert_eq!((found.bytes, found.names), (du, 6));
    }

    #[test]
    fn what_is_too_deep_is_not_measured() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir_all(dir.path().join("d/".repeat(MAX_DEPTH + 1))).unwrap();
        assert!(measure(&File::open(dir.path()).unwrap().into()).is_err());
    }
}
