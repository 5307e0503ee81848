//! The file `leaves`: for every frame of the journal its leaf hash, 32 bytes, at 32 × frame number.
//!
//! Runs in: daemon (writes), CLI (reads).
//! Invariant: a leaf is written after its frame, so a frame without a leaf was not finished, and a leaf without its frame is a loss.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::Path;

use crate::disk::Disk;
use crate::disk::DiskFile;
use crate::tree::Hash;

/// Length of one leaf.
pub(crate) const LEAF_LEN: u64 = 32;
/// Name of the file in the journal's folder.
const NAME: &str = "leaves";
/// Space is allocated for this many leaves at a time.
const CHUNK: u64 = 2048;

/// The leaves, for writing.
#[derive(Debug)]
pub(crate) struct Leaves {
    file: DiskFile,
    allocated: u64,
}

impl Leaves {
    /// Opens or makes the file.
    pub fn open(disk: &Disk, journal: &Path) -> io::Result<Self> {
        Ok(Self { file: disk.open_or_create(&journal.join(NAME), 0o600)?, allocated: 0 })
    }

    /// How many whole leaves there are.
    pub fn count(&self) -> io::Result<u64> {
        Ok(self.file.len()? / LEAF_LEN)
    }

    /// Keeps the first `count` leaves.
    pub fn truncate(&self, count: u64) -> io::Result<()> {
        self.file.set_len(count * LEAF_LEN)
    }

    /// The leaf of a frame.
    pub fn get(&self, frame_no: u64) -> io::Result<Hash> {
        let mut leaf = [0; 32];
        self.file.read_exact_at(&mut leaf, frame_no * LEAF_LEN)?;
        Ok(leaf)
    }

    /// Hands over the leaves of the first `count` frames, in their order.
    pub fn each(&self, count: u64, mut take: impl FnMut(Hash)) -> io::Result<()> {
        let mut buffer = vec![0; (CHUNK * LEAF_LEN) as usize];
        let mut done = 0;
        while done < count {
            let now = CHUNK.min(count - done);
            let bytes = buffer.get_mut(..(now * LEAF_LEN) as usize).unwrap_or_default();
            self.file.read_exact_at(bytes, done * LEAF_LEN)?;
            bytes.as_chunks().0.iter().for_each(|leaf| take(*leaf));
            done += now;
        }
        Ok(())
    }

    /// Makes sure that the leaf of this frame will find space.
    pub fn reserve(&mut self, frame_no: u64) -> io::Result<()> {
        if frame_no < self.allocated {
            return Ok(());
        }
        // Allocated beyond the end of the file: its length keeps saying how many leaves there are.
        self.file.allocate_behind(frame_no * LEAF_LEN, CHUNK * LEAF_LEN)?;
        self.allocated = frame_no + CHUNK;
        Ok(())
    }

    /// Writes the leaf of a frame.
    pub fn put(&self, frame_no: u64, leaf: &Hash) -> io::Result<()> {
        self.file.write_all_at(leaf, frame_no * LEAF_LEN)
    }

    /// Brings them to the disk.
    pub fn sync(&self) -> io::Result<()> {
        self.file.sync()
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

    /// Hands over the leaves of the first `count` frames, in their order, as far as there are so many.
    pub fn each(&self, count: u64, mut take: impl FnMut(Hash)) -> io::Result<()> {
        let mut buffer = vec![0; (CHUNK * LEAF_LEN) as usize];
        let mut done = 0;
        let count = count.min(self.len()? / LEAF_LEN);
        while done < count {
            let now = CHUNK.min(count - done);
            let bytes = buffer.get_mut(..(now * LEAF_LEN) as usize).unwrap_or_default();
            self.file.read_exact_at(bytes, done * LEAF_LEN)?;
            bytes.as_chunks().0.iter().for_each(|leaf| take(*leaf));
            done += now;
        }
        Ok(())
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
