//! Memory that two processes share, and sealed files that carry bytes between them.
//!
//! Runs in: every process of the product.
//! Invariant: a [`SharedMemory`] maps a memfd that can neither shrink nor grow, so no access through it can fault, whatever the
//! peer does to its own descriptor.
//! Does not: trust a byte of what it maps. The peer may change any byte at any time, so all access is atomic and copied out.

use std::io;
use std::io::Read as _;
use std::os::fd::AsFd;
use std::os::fd::BorrowedFd;
use std::os::fd::OwnedFd;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;

use rustix::fs::MemfdFlags;
use rustix::fs::SealFlags;

use crate::sys::map::Mapping;

/// Seals of a region that both sides write: its size is fixed, its bytes are not.
const FIXED_SIZE: SealFlags = SealFlags::SHRINK.union(SealFlags::GROW).union(SealFlags::SEAL);

/// Seals of a file whose bytes are final.
const FINAL: SealFlags = FIXED_SIZE.union(SealFlags::WRITE);

/// Bytes in one word of a region.
const WORD: usize = size_of::<u64>();

/// A region of memory shared with another process, unmapped on drop.
///
/// All access is by atomic words or by copies made of them, which stays sound when the peer is hostile. A peer can still make the
/// bytes change between two reads: copy first, then check the copy.
#[derive(Debug)]
pub struct SharedMemory {
    mapping: Mapping,
}

/// A range that does not lie within a [`SharedMemory`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{len} bytes at offset {offset} do not lie within a shared region of {size} bytes")]
pub struct OutOfRange {
    /// First byte asked for.
    pub offset: usize,
    /// Number of bytes asked for.
    pub len: usize,
    /// Size of the region in bytes.
    pub size: usize,
}

impl SharedMemory {
    /// Creates a zeroed region of `len` bytes (a non-zero multiple of 8) whose size can never change, and the descriptor to hand
    /// to the peer. `name` is seen in `/proc/PID/maps` only.
    ///
    /// # Errors
    /// `InvalidInput` for a `len` that is zero or not a multiple of 8; otherwise what the kernel said.
    pub fn create(name: &str, len: usize) -> io::Result<(Self, OwnedFd)> {
        check_len(len)?;
        let fd = memfd(name)?;
        let size = u64::try_from(len).map_err(|_| invalid(format!("a shared region of {len} bytes is too large")))?;
        rustix::fs::ftruncate(&fd, size)?;
        rustix::fs::fcntl_add_seals(&fd, FIXED_SIZE)?;
        let memory = Self::map(fd.as_fd(), len)?;
        Ok((memory, fd))
    }

    /// Maps the region behind `fd`, which the peer sent and said to be `len` bytes long.
    ///
    /// # Errors
    /// `InvalidInput` when `fd` is not a memfd sealed against shrinking, growing and further seals, or when its size is not `len`;
    /// otherwise what the kernel said.
    pub fn map(fd: BorrowedFd<'_>, len: usize) -> io::Result<Self> {
        check_len(len)?;
        require_seals(fd, FIXED_SIZE)?;
        let size = size_of_file(fd)?;
        if usize::try_from(size) != Ok(len) {
            return Err(invalid(format!("expected a shared region of {len} bytes, found {size}")));
        }
        Ok(Self { mapping: Mapping::shared(fd, len)? })
    }

    /// Size in bytes; never zero.
    #[expect(clippy::len_without_is_empty, reason = "a region is never empty")]
    pub fn len(&self) -> usize {
        self.mapping.len()
    }

    /// The region as words. Sound against a hostile peer, because every access through it is atomic.
    pub fn words(&self) -> &[AtomicU64] {
        self.mapping.words()
    }

    /// Copies `into.len()` bytes out of the region, starting at byte `offset`.
    ///
    /// # Errors
    /// [`OutOfRange`] when the range does not lie within the region; nothing is copied.
    pub fn read(&self, offset: usize, into: &mut [u8]) -> Result<(), OutOfRange> {
        let (words, skip) = self.span(offset, into.len())?;
        let head = into.len().min((WORD - skip) % WORD);
        let (first, rest) = into.split_at_mut(head);
        let mut words = words.iter();
        if !first.is_empty()
            && let Some(word) = words.next()
        {
            let bytes = word.load(Relaxed).to_ne_bytes();
            first.copy_from_slice(&bytes[skip..skip + first.len()]);
        }
        let (whole, last) = rest.as_chunks_mut::<WORD>();
        for (chunk, word) in whole.iter_mut().zip(words.by_ref()) {
            *chunk = word.load(Relaxed).to_ne_bytes();
        }
        if !last.is_empty()
            && let Some(word) = words.next()
        {
            let bytes = word.load(Relaxed).to_ne_bytes();
            last.copy_from_slice(&bytes[..last.len()]);
        }
        Ok(())
    }

    /// Copies `from` into the region, starting at byte `offset`.
    ///
    /// # Errors
    /// [`OutOfRange`] when the range does not lie within the region; nothing is copied.
    pub fn write(&self, offset: usize, from: &[u8]) -> Result<(), OutOfRange> {
        let (words, skip) = self.span(offset, from.len())?;
        let head = from.len().min((WORD - skip) % WORD);
        let (first, rest) = from.split_at(head);
        let mut words = words.iter();
        if !first.is_empty()
            && let Some(word) = words.next()
        {
            replace(word, skip, first);
        }
        let (whole, last) = rest.as_chunks::<WORD>();
        for (chunk, word) in whole.iter().zip(words.by_ref()) {
            word.store(u64::from_ne_bytes(*chunk), Relaxed);
        }
        if !last.is_empty()
            && let Some(word) = words.next()
        {
            replace(word, 0, last);
        }
        Ok(())
    }

    /// The words that hold the range, and how many bytes of the first one come before it.
    fn span(&self, offset: usize, len: usize) -> Result<(&[AtomicU64], usize), OutOfRange> {
        let size = self.len();
        let out_of_range = OutOfRange { offset, len, size };
        let end = offset.checked_add(len).filter(|end| *end <= size).ok_or(out_of_range)?;
        let words = self.words().get(offset / WORD..end.div_ceil(WORD).max(offset / WORD)).ok_or(out_of_range)?;
        Ok((words, offset % WORD))
    }
}

/// Puts `bytes` into `word` at byte `skip`, and leaves its other bytes as another thread may be writing them.
fn replace(word: &AtomicU64, skip: usize, bytes: &[u8]) {
    let mut seen = word.load(Relaxed);
    loop {
        let mut new = seen.to_ne_bytes();
        new[skip..skip + bytes.len()].copy_from_slice(bytes);
        match word.compare_exchange_weak(seen, u64::from_ne_bytes(new), Relaxed, Relaxed) {
            Ok(_) => return,
            Err(now) => seen = now,
        }
    }
}

/// An empty memfd that accepts seals, closes on exec, and can never be executed where the kernel knows how to promise that
/// (Linux 6.3 and later).
///
/// # Errors
/// What the kernel said.
pub fn memfd(name: &str) -> io::Result<OwnedFd> {
    let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
    match rustix::fs::memfd_create(name, flags | MemfdFlags::NOEXEC_SEAL) {
        Err(rustix::io::Errno::INVAL) => Ok(rustix::fs::memfd_create(name, flags)?),
        other => Ok(other?),
    }
}

/// Makes the bytes of a memfd final: nobody, through any descriptor, can write, shrink, grow or unseal it afterwards.
///
/// # Errors
/// What the kernel said; `EBUSY` while a writable shared mapping of it exists.
pub fn seal(fd: impl AsFd) -> io::Result<()> {
    Ok(rustix::fs::fcntl_add_seals(fd, FINAL)?)
}

/// A memfd that holds `bytes` for good.
///
/// # Errors
/// What the kernel said.
pub fn sealed_memfd(name: &str, bytes: &[u8]) -> io::Result<OwnedFd> {
    let mut file = std::fs::File::from(memfd(name)?);
    io::Write::write_all(&mut file, bytes)?;
    seal(&file)?;
    Ok(file.into())
}

/// All bytes of a sealed memfd. Because they are final, what was checked is what is used.
///
/// # Errors
/// `InvalidInput` when `fd` is not a memfd sealed against writing, shrinking and growing, or holds more than `max` bytes;
/// otherwise what the kernel said.
pub fn read_sealed(fd: impl AsFd, max: u64) -> io::Result<Vec<u8>> {
    let fd = fd.as_fd();
    require_seals(fd, SealFlags::WRITE | SealFlags::SHRINK | SealFlags::GROW)?;
    let size = size_of_file(fd)?;
    if size > max {
        return Err(invalid(format!("expected at most {max} bytes, found {size}")));
    }
    let size = usize::try_from(size).map_err(|_| invalid(format!("{size} bytes do not fit this machine")))?;
    let mut bytes = vec![0; size];
    let mut done = 0;
    // By position, because the descriptor's offset is shared with whoever sent it.
    while let Some(rest) = bytes.get_mut(done..).filter(|rest| !rest.is_empty()) {
        match rustix::io::pread(fd, rest, done as u64) {
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(read) => done += read,
            Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(bytes)
}

/// Reads at most `max` bytes of an ordinary small file; for `/proc`, which lies about sizes.
pub(crate) fn read_small(path: &str, max: u64) -> io::Result<String> {
    let mut text = String::new();
    std::fs::File::open(path)?.take(max).read_to_string(&mut text)?;
    Ok(text)
}

fn check_len(len: usize) -> io::Result<()> {
    if len == 0 || !len.is_multiple_of(WORD) {
        return Err(invalid(format!("expected a region size that is a non-zero multiple of {WORD}, found {len}")));
    }
    Ok(())
}

fn require_seals(fd: BorrowedFd<'_>, required: SealFlags) -> io::Result<()> {
    let found = match rustix::fs::fcntl_get_seals(fd) {
        // What the kernel says of a file that cannot be sealed at all.
        Err(rustix::io::Errno::INVAL) => return Err(invalid("expected a sealed memfd, found another kind of file".into())),
        other => other?,
    };
    if !found.contains(required) {
        return Err(invalid(format!("expected a memfd with the seals {required:?}, found {found:?}")));
    }
    Ok(())
}

fn size_of_file(fd: BorrowedFd<'_>) -> io::Result<u64> {
    u64::try_from(rustix::fs::fstat(fd)?.st_size).map_err(|_| invalid("found a file of negative size".into()))
}

fn invalid(message: String) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, message)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

    use super::*;

    #[test]
    fn both_sides_see_the_same_bytes_at_any_offset() {
        let (ours, fd) = SharedMemory::create("test", 64).unwrap();
        let theirs = SharedMemory::map(fd.as_fd(), 64).unwrap();
        let all: Vec<u8> = (1..=64).collect();
        for offset in 0..64 {
            for len in 0..=64 - offset {
                ours.write(0, &[0xee; 64]).unwrap();
                ours.write(offset, &all[..len]).unwrap();
                let mut seen = vec![0; 64];
                theirs.read(0, &mut seen).unwrap();
                let mut expected = vec![0xee; 64];
                expected[offset..offset + len].copy_from_slice(&all[..len]);
                assert_eq!(seen, expected, "{len} bytes written at {offset}");
                let mut part = vec![0; len];
                theirs.read(offset, &mut part).unwrap();
                assert_eq!(part, all[..len], "{len} bytes read at {offset}");
            }
        }
        assert_eq!(ours.words().len(), 8);
    }

    #[test]
    fn range_outside_the_region_is_refused() {
        let (memory, _fd) = SharedMemory::create("test", 64).unwrap();
        for (offset, len) in [(64, 1), (0, 65), (63, 2), (usize::MAX, 1), (usize::MAX, 2), (65, 0)] {
            let expected = Err(OutOfRange { offset, len, size: 64 });
            assert_eq!(memory.read(offset, &mut vec![0; len]), expected);
            assert_eq!(memory.write(offset, &vec![0; len]), expected);
        }
        assert_eq!(memory.read(64, &mut []), Ok(()));
    }

    #[test]
    fn unsealed_or_foreign_file_is_not_mapped() {
        let unsealed = memfd("test").unwrap();
        rustix::fs::ftruncate(&unsealed, 64).unwrap();
        assert_eq!(SharedMemory::map(unsealed.as_fd(), 64).unwrap_err().kind(), io::ErrorKind::InvalidInput);
        // Only one of the three seals: the peer could still take the pages away.
        rustix::fs::fcntl_add_seals(&unsealed, SealFlags::GROW).unwrap();
        assert_eq!(SharedMemory::map(unsealed.as_fd(), 64).unwrap_err().kind(), io::ErrorKind::InvalidInput);
        let file = tempfile::tempfile().unwrap();
        file.set_len(64).unwrap();
        let refused = SharedMemory::map(file.as_fd(), 64).unwrap_err();
        assert!(refused.to_string().contains("seal"), "{refused}");
    }

    #[test]
    fn region_of_another_size_is_not_mapped() {
        let (_memory, fd) = SharedMemory::create("test", 64).unwrap();
        for len in [56, 72, 0, 63] {
            assert_eq!(SharedMemory::map(fd.as_fd(), len).unwrap_err().kind(), io::ErrorKind::InvalidInput);
        }
    }

    #[test]
    fn size_of_a_region_cannot_change() {
        let (_memory, fd) = SharedMemory::create("test", 64).unwrap();
        assert_eq!(rustix::fs::ftruncate(&fd, 0), Err(rustix::io::Errno::PERM));
        assert_eq!(rustix::fs::ftruncate(&fd, 128), Err(rustix::io::Errno::PERM));
    }

    #[test]
    fn sealed_bytes_are_read_back_and_cannot_change() {
        let fd = sealed_memfd("test", b"final").unwrap();
        assert_eq!(read_sealed(&fd, 5).unwrap(), b"final");
        assert_eq!(rustix::io::pwrite(&fd, b"x", 0), Err(rustix::io::Errno::PERM));
        assert_eq!(read_sealed(&fd, 4).unwrap_err().kind(), io::ErrorKind::InvalidInput);
    }

    #[test]
    fn unsealed_bytes_are_not_read() {
        let fd = memfd("test").unwrap();
        assert_eq!(read_sealed(&fd, 5).unwrap_err().kind(), io::ErrorKind::InvalidInput);
        let (_memory, shared) = SharedMemory::create("test", 64).unwrap();
        assert_eq!(read_sealed(&shared, 64).unwrap_err().kind(), io::ErrorKind::InvalidInput);
    }
}
