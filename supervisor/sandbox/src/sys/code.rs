//! Publishing native code without any page that was ever writable and executable.
//!
//! Runs in: worker.
//! Why: memory-deny-write-execute (`PR_SET_MDWE`, Linux 6.3) forbids turning written memory executable. A sealed file may still
//! be mapped executable, so the code goes through one. Still possible afterwards: mapping some other file executable, which the
//! final seccomp filter forbids.

use std::ffi::c_void;
use std::io;

use rustix::mm::MapFlags;
use rustix::mm::ProtFlags;

/// Replaces the pages at `ptr..ptr + len` by an executable, read-only private mapping of a sealed copy of the same bytes.
///
/// # Errors
/// `InvalidInput` for a range that is not whole pages; otherwise what the kernel said, with the pages as they were.
///
/// # Safety
/// `ptr..ptr + len` must be a mapping that the caller owns and may read, which nobody writes during the call or later, and to
/// which no `&mut` exists.
pub unsafe fn publish_code(ptr: *const u8, len: usize) -> io::Result<()> {
    check_pages(ptr, len)?;
    // SAFETY: the caller owns these bytes, may read them, and nobody writes them during the call.
    let bytes = unsafe { std::slice::from_raw_parts(ptr, len) };
    let file = crate::memory::sealed_memfd("edgeguard-code", bytes)?;
    // SAFETY: the fixed mapping replaces exactly the pages that the caller owns, with the same bytes.
    unsafe { replace_pages(ptr, len, ProtFlags::READ | ProtFlags::EXEC, MapFlags::PRIVATE, Some(&file)) }
}

/// Takes execution away again: the pages become anonymous, zeroed, readable and writable memory.
///
/// # Errors
/// `InvalidInput` for a range that is not whole pages; otherwise what the kernel said, with the pages as they were.
///
/// # Safety
/// As [`publish_code`]; moreover no thread may be executing, or return into, the range.
pub unsafe fn unpublish_code(ptr: *const u8, len: usize) -> io::Result<()> {
    check_pages(ptr, len)?;
    // SAFETY: the fixed mapping replaces exactly the pages that the caller owns and no longer uses.
    unsafe { replace_pages(ptr, len, ProtFlags::READ | ProtFlags::WRITE, MapFlags::PRIVATE, None) }
}

fn check_pages(ptr: *const u8, len: usize) -> io::Result<()> {
    let page = rustix::param::page_size();
    if len == 0 || !len.is_multiple_of(page) || !ptr.addr().is_multiple_of(page) {
        let message = format!("expected whole pages of {page} bytes, found {len} bytes at {ptr:p}");
        return Err(io::Error::new(io::ErrorKind::InvalidInput, message));
    }
    Ok(())
}

/// # Safety
/// The caller owns the pages at `ptr..ptr + len` and nothing depends on what they held, unless `file` holds the same.
unsafe fn replace_pages(
    ptr: *const u8,
    len: usize,
    prot: ProtFlags,
    flags: MapFlags,
    file: Option<&std::os::fd::OwnedFd>,
) -> io::Result<()> {
    let at: *mut c_void = ptr.cast_mut().cast();
    let flags = flags | MapFlags::FIXED;
    // SAFETY: the caller's promise; `check_pages` saw that the range is whole pages, so no neighbour is touched.
    let mapped = unsafe {
        match file {
            Some(file) => rustix::mm::mmap(at, len, prot, flags, file, 0),
            None => rustix::mm::mmap_anonymous(at, len, prot, flags),
        }
    }?;
    debug_assert_eq!(mapped, at);
    Ok(())
}

#[cfg(all(test, target_arch = "x86_64"))]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

    use super::*;

    /// `mov eax, 42; ret`
    const FORTY_TWO: [u8; 6] = [0xb8, 42, 0, 0, 0, 0xc3];

    #[test]
    fn code_runs_under_memory_deny_write_execute_only_when_published() {
        let len = rustix::param::page_size();
        assert!(crate::sys::process::deny_write_execute().unwrap() || std::env::var_os("CI").is_none());
        // SAFETY: a new anonymous mapping, used by this test alone, of which the first bytes are written before it is published.
        let page = unsafe {
            let page = rustix::mm::mmap_anonymous(std::ptr::null_mut(), len, ProtFlags::READ | ProtFlags::WRITE, MapFlags::PRIVATE)
                .unwrap()
                .cast::<u8>();
            page.copy_from_nonoverlapping(FORTY_TWO.as_ptr(), FORTY_TWO.len());
            page
        };
        // SAFETY: changes the protection of that page only, and must fail.
        let direct = unsafe { rustix::mm::mprotect(page.cast(), len, rustix::mm::MprotectFlags::READ | rustix::mm::MprotectFlags::EXEC) };
        assert_eq!(direct, Err(rustix::io::Errno::ACCESS));
        // SAFETY: the page is this test's, holds a whole function of this signature, and is not written any more.
        let answer = unsafe {
            publish_code(page, len).unwrap();
            let function: extern "C" fn() -> u32 = std::mem::transmute(page);
            function()
        };
        assert_eq!(answer, 42);
        // SAFETY: the function has returned, and the page is not used as code again.
        unsafe {
            unpublish_code(page, len).unwrap();
            page.write(1);
            assert_eq!(page.read(), 1);
        }
    }

    #[test]
    fn range_that_is_not_whole_pages_is_refused() {
        let bytes = [0_u8; 16];
        // SAFETY: refused before anything is mapped.
        assert_eq!(unsafe { publish_code(bytes.as_ptr(), 16) }.unwrap_err().kind(), io::ErrorKind::InvalidInput);
    }
}
