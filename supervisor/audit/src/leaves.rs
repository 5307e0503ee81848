//! The file `leaves`: for every frame of the journal its leaf hash, 32 bytes, at 32 × frame number.
//!
//! Runs in: daemon (writes), CLI (reads).
//! Invariant: a leaf is written after its frame, so a frame without a leaf was not finished, and a leaf without its frame is a loss.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use rustix::fs::FallocateFlags;
use rustix::io::Errno;

/// Length of one leaf.
pub(crate) const LEAF_LEN: u64 = 32;
/// Name of the file in the journal's folder.
const NAME: &str = "leaves";
/// Space is allocated for this many leaves at a time.
const CHUNK: u64 = 2048;

/// The leaves, for writing.
#[derive(Debug)]
pub(crate) struct Leaves {
    file: File,
    allocated: u64,
}

impl Leaves {
    /// Opens or makes the file.
    pub fn open(journal: &Path) -> io::Result<Self> {
        let file = File::options().read(true).write(true).create(true).truncate(false).mode(0o600).open(journal.join(NAME))?;
        Ok(Self { file, allocated: 0 })
    }

    /// How many whole leaves there are.
    pub fn count(&self) -> io::Result<u64> {
        Ok(self.file.metadata()?.len() / LEAF_LEN)
    }

    /// Keeps the first `count` leaves.
    pub fn truncate(&self, count: u64) -> io::Result<()> {
        self.file.set_len(count * LEAF_LEN)
    }

    /// The leaf of a frame.
    pub fn get(&self, frame_no: u64) -> io::Result<[u8; 32]> {
        let mut leaf = [0; 32];
        self.file.read_exact_at(&mut leaf, frame_no * LEAF_LEN)?;
        Ok(leaf)
    }

    /// Makes sure that the leaf of this frame will find space.
    pub fn reserve(&mut self, frame_no: u64) -> io::Result<()> {
        if frame_no < self.allocated {
            return Ok(());
        }
        // Allocated beyond the end of the file: its length keeps saying how many leaves there are.
        match rustix::fs::fallocate(&self.file, FallocateFlags::KEEP_SIZE, frame_no * LEAF_LEN, CHUNK * LEAF_LEN) {
            Ok(()) | Err(Errno::OPNOTSUPP | Errno::NOSYS) => self.allocated = frame_no + CHUNK,
            Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        Ok(())
    }

    /// Writes the leaf of a frame.
    pub fn put(&self, frame_no: u64, leaf: &[u8; 32]) -> io::Result<()> {
        self.file.write_all_at(leaf, frame_no * LEAF_LEN)
    }

    /// Brings them to the disk.
    pub fn sync(&self) -> io::Result<()> {
        Ok(rustix::fs::fdatasync(&self.file)?)
    }
}

/// The leaves, for reading.
#[derive(Debug)]
pub(crate) struct LeafReader {
    file: File,
}

impl LeafReader {
    /// Opens the file.
    pub fn open(journal: &Path) -> io::Result<Self> {
        Ok(Self { file: File::open(journal.join(NAME))? })
    }

    /// Length of the file in bytes.
    pub fn len(&self) -> io::Result<u64> {
        Ok(self.file.metadata()?.len())
    }

    /// The leaf of a frame, if there is one.
    pub fn get(&self, frame_no: u64) -> io::Result<Option<[u8; 32]>> {
        let mut leaf = [0; 32];
        match self.file.read_exact_at(&mut leaf, frame_no.saturating_mul(LEAF_LEN)) {
            Ok(()) => Ok(Some(leaf)),
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(None),
            Err(error) => Err(error),
        }
    }
}
