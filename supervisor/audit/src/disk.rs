//! Every change that the journal makes to the disk passes through here, so that a test can stop it at each one.
//!
//! Runs in: daemon.
//! Does not: buffer, reorder or retry anything.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::path::PathBuf;
use std::sync::Arc;

use rustix::fs::FallocateFlags;
use rustix::io::Errno;

/// One change, before it is made.
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub enum Op<'a> {
    /// A file is made.
    Create(&'a Path),
    /// Bytes are written.
    Write {
        /// Where.
        path: &'a Path,
        /// At which byte.
        at: u64,
        /// What.
        bytes: &'a [u8],
    },
    /// The file gets this length; bytes that are new are zeros.
    SetLen {
        /// Which.
        path: &'a Path,
        /// Its length from now on.
        len: u64,
    },
    /// Space is allocated up to this length, which the file has from now on.
    Allocate {
        /// Which.
        path: &'a Path,
        /// Its length from now on.
        len: u64,
    },
    /// The file's bytes are on the disk when this is done.
    Sync(&'a Path),
    /// The folder's names are on the disk when this is done.
    SyncDir(&'a Path),
    /// A file takes the place of another.
    Rename {
        /// The file.
        from: &'a Path,
        /// Its new name.
        to: &'a Path,
    },
    /// A file's name goes.
    Remove(&'a Path),
}

/// Who is told of every change before it is made, and may keep it from happening: for tests of what a crash or a bad disk leaves behind.
pub trait Observer: Send + Sync + std::fmt::Debug {
    /// Told of a change.
    ///
    /// # Errors
    /// The change fails with this error.
    fn before(&self, op: Op<'_>) -> io::Result<()>;
}

/// The disk, with or without somebody who watches.
#[derive(Debug, Clone, Default)]
pub(crate) struct Disk(Option<Arc<dyn Observer>>);

impl Disk {
    pub fn watched(observer: Option<Arc<dyn Observer>>) -> Self {
        Self(observer)
    }

    fn before(&self, op: Op<'_>) -> io::Result<()> {
        self.0.as_ref().map_or(Ok(()), |observer| observer.before(op))
    }

    /// Opens a file for reading and writing.
    pub fn open(&self, path: &Path) -> io::Result<DiskFile> {
        let file = File::options().read(true).write(true).open(path)?;
        Ok(DiskFile { file, path: path.to_owned(), disk: self.clone() })
    }

    /// Makes a file, which must not be there, with this mode.
    pub fn create(&self, path: &Path, mode: u32) -> io::Result<DiskFile> {
        self.before(Op::Create(path))?;
        let file = File::options().read(true).write(true).create_new(true).mode(mode).open(path)?;
        Ok(DiskFile { file, path: path.to_owned(), disk: self.clone() })
    }

    /// Opens a file, or makes it.
    pub fn open_or_create(&self, path: &Path, mode: u32) -> io::Result<DiskFile> {
        match self.open(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => self.create(path, mode),
            other => other,
        }
    }

    /// Brings the names in a folder to the disk.
    pub fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        self.before(Op::SyncDir(dir))?;
        File::open(dir)?.sync_all()
    }

    pub fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.before(Op::Rename { from, to })?;
        std::fs::rename(from, to)
    }

    pub fn remove(&self, path: &Path) -> io::Result<()> {
        self.before(Op::Remove(path))?;
        std::fs::remove_file(path)
    }
}

/// A file of the journal.
#[derive(Debug)]
pub(crate) struct DiskFile {
    file: File,
    path: PathBuf,
    disk: Disk,
}

impl DiskFile {
    pub fn write_all_at(&self, bytes: &[u8], at: u64) -> io::Result<()> {
        self.disk.before(Op::Write { path: &self.path, at, bytes })?;
        self.file.write_all_at(bytes, at)
    }

    pub fn set_len(&self, len: u64) -> io::Result<()> {
        self.disk.before(Op::SetLen { path: &self.path, len })?;
        self.file.set_len(len)
    }

    /// Allocates space for what will be written, where the file system can; the file has this length then.
    pub fn allocate(&self, len: u64) -> io::Result<()> {
        self.disk.before(Op::Allocate { path: &self.path, len })?;
        loop {
            match rustix::fs::fallocate(&self.file, FallocateFlags::empty(), 0, len) {
                Err(Errno::INTR) => {}
                // Then the space is only promised, and a full disk shows when a frame is written.
                Err(Errno::OPNOTSUPP | Errno::NOSYS) => return self.file.set_len(len),
                other => return Ok(other?),
            }
        }
    }

    /// Allocates space behind the end of the file, whose length stays; says whether to ask again.
    pub fn allocate_behind(&self, from: u64, len: u64) -> io::Result<()> {
        loop {
            match rustix::fs::fallocate(&self.file, FallocateFlags::KEEP_SIZE, from, len) {
                Err(Errno::INTR) => {}
                Ok(()) | Err(Errno::OPNOTSUPP | Errno::NOSYS) => return Ok(()),
                Err(error) => return Err(error.into()),
            }
        }
    }

    pub fn len(&self) -> io::Result<u64> {
        Ok(self.file.metadata()?.len())
    }

    pub fn read_exact_at(&self, bytes: &mut [u8], at: u64) -> io::Result<()> {
        self.file.read_exact_at(bytes, at)
    }

    /// Brings bytes and length to the disk.
    pub fn sync(&self) -> io::Result<()> {
        self.disk.before(Op::Sync(&self.path))?;
        Ok(rustix::fs::fdatasync(&self.file)?)
    }
}
