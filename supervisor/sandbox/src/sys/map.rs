//! A shared mapping of a memfd, seen as atomic words.
//!
//! Runs in: every process of the product.
//! Invariant: the mapping lives exactly as long as the [`Mapping`], and the file behind it cannot shrink.

use std::io;
use std::os::fd::BorrowedFd;
use std::ptr::NonNull;
use std::sync::atomic::AtomicU64;

use rustix::mm::MapFlags;
use rustix::mm::ProtFlags;

/// A read-write shared mapping.
#[derive(Debug)]
pub(crate) struct Mapping {
    start: NonNull<AtomicU64>,
    len: usize,
}

// SAFETY: the mapping is plain memory that no thread owns; it is reached through atomics only, and unmapped once, on drop.
unsafe impl Send for Mapping {}
// SAFETY: as above; `&Mapping` gives out nothing but `&[AtomicU64]`.
unsafe impl Sync for Mapping {}

impl Mapping {
    /// Maps the first `len` bytes of `fd`, which the caller has seen to be sealed against shrinking and to hold `len` bytes
    /// (`SharedMemory::map` is the only caller).
    pub(crate) fn shared(fd: BorrowedFd<'_>, len: usize) -> io::Result<Self> {
        // SAFETY: a new mapping at an address of the kernel's choosing overlaps nothing that Rust knows of.
        let start = unsafe { rustix::mm::mmap(std::ptr::null_mut(), len, ProtFlags::READ | ProtFlags::WRITE, MapFlags::SHARED, fd, 0)? };
        let start = NonNull::new(start.cast()).ok_or(io::ErrorKind::InvalidInput)?;
        Ok(Self { start, len })
    }

    pub(crate) fn len(&self) -> usize {
        self.len
    }

    pub(crate) fn words(&self) -> &[AtomicU64] {
        // SAFETY: `start` is page-aligned and maps `len` bytes for as long as `self` lives; the size seal, which `SharedMemory`
        // checked, keeps every page present in the file. The memory is only ever reached as atomics in this process, and any bit
        // pattern another process stores is a valid `u64`.
        unsafe { std::slice::from_raw_parts(self.start.as_ptr(), self.len / size_of::<AtomicU64>()) }
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: this is the mapping that `shared` made, and no borrow of it outlives `self`.
        let unmapped = unsafe { rustix::mm::munmap(self.start.as_ptr().cast(), self.len) };
        // It fails for a range that was never mapped, which `shared` excludes; there would be nothing to undo.
        debug_assert!(unmapped.is_ok());
    }
}
