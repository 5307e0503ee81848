//! System calls by number, as code that broke out of the engine would make them, and what the attacker knows of its surroundings.
//!
//! Runs in: `edgeguard-redteam`, in the place of a guest. The only file of the tests with `unsafe`.
//! Does not: protect itself. The process was made to be attacked from within, is confined, and ends after one attempt.

use std::ffi::CString;
use std::os::fd::AsRawFd as _;
use std::os::fd::OwnedFd;

use edgeguard_tests::redteam::Order;

/// What a system call gave: its result, or an error number.
pub type Gave = Result<i64, i32>;

/// A system call with these arguments.
pub fn call<const N: usize>(number: i64, arguments: [u64; N]) -> Gave {
    let mut all = [0; 6];
    all[..N].copy_from_slice(&arguments);
    let [a, b, c, d, e, f] = all;
    // SAFETY: not sound for every number and argument, and not meant to be: the callers in this program pass pointers to their own
    // live buffers, or calls of which the kernel must refuse every use. What else it does, it does to this throw-away process.
    let result = unsafe { libc::syscall(number, a, b, c, d, e, f) };
    if result == -1 { Err(std::io::Error::last_os_error().raw_os_error().unwrap_or_default()) } else { Ok(result) }
}

/// `getpid` by the 32-bit door.
#[cfg(target_arch = "x86_64")]
pub fn int80_getpid() -> Gave {
    let result: i64;
    // SAFETY: call 20 of that interface is getpid, which takes nothing and touches no memory; the kernel may clear r8 to r11.
    unsafe {
        std::arch::asm!("int 0x80", inlateout("rax") 20_i64 => result, out("r8") _, out("r9") _, out("r10") _, out("r11") _);
    }
    if result < 0 { Err(i32::try_from(-result).unwrap_or_default()) } else { Ok(result) }
}

/// Where the attacker stands.
pub struct Field {
    /// What it was told.
    pub order: Order,
    /// Its granted directories: read-write, then read-only.
    pub directories: Vec<OwnedFd>,
    /// Its audit ring's descriptor, which a worker lets go of before the lock; kept here to try its seals.
    pub ring: Option<OwnedFd>,
}

impl Field {
    /// The directory it may write in, or what stands at that place where there is none.
    pub fn data(&self) -> u64 {
        self.directory(0)
    }

    /// The directory it may only read.
    pub fn fixed(&self) -> u64 {
        self.directory(1)
    }

    fn directory(&self, index: usize) -> u64 {
        number(self.directories.get(index).map_or(0, |fd| fd.as_raw_fd()))
    }

    /// Its audit ring.
    pub fn ring(&self) -> u64 {
        number(self.ring.as_ref().map_or(-1, |fd| fd.as_raw_fd()))
    }

    /// The daemon.
    pub fn supervisor(&self) -> u64 {
        self.order.number("supervisor")
    }

    /// A path in the house.
    pub fn path(&self, key: &str) -> Text {
        text(self.order.get(key))
    }

    /// A path of the daemon's in `/proc`.
    pub fn of_supervisor(&self, name: &str) -> Text {
        text(&format!("/proc/{}/{name}", self.supervisor()))
    }

    /// Opens, reads a byte and closes.
    pub fn read_at(&self, directory: u64, path: &Text, flags: i32) -> Gave {
        let file = open_at(directory, path, flags)?;
        let mut byte = [0_u8; 1];
        // An empty file, or one whose beginning cannot be read, was opened all the same.
        let _ = call(libc::SYS_pread64, [file, byte.as_mut_ptr() as u64, 1, 0]);
        Ok(i64::try_from(file).unwrap_or_default())
    }
}

/// A path for the kernel.
pub struct Text(CString);

impl Text {
    pub fn at(&self) -> u64 {
        self.0.as_ptr() as u64
    }
}

/// What cannot be a C string becomes an empty one, with which no row comes out right.
pub fn text(path: &str) -> Text {
    Text(CString::new(path).unwrap_or_default())
}

/// `openat`, with read and write for the owner where a file is made.
pub fn open_at(directory: u64, path: &Text, flags: i32) -> Result<u64, i32> {
    open_with_mode(directory, path, flags, 0o600)
}

/// `openat` with this mode.
pub fn open_with_mode(directory: u64, path: &Text, flags: i32, mode: u64) -> Result<u64, i32> {
    call(libc::SYS_openat, [directory, path.at(), number(flags), mode]).map(|fd| fd.unsigned_abs())
}

/// `openat2` without any restriction on how the path is walked.
pub fn open_at_2(directory: u64, path: &Text, flags: i32, mode: u64) -> Gave {
    let how: [u64; 3] = [number(flags), mode, 0];
    call(libc::SYS_openat2, [directory, path.at(), how.as_ptr() as u64, size_of_val(&how) as u64])
}

/// A C `int` as the kernel takes it from a register.
pub fn number(value: i32) -> u64 {
    i64::from(value).cast_unsigned()
}

/// `AT_FDCWD`.
pub fn cwd() -> u64 {
    number(libc::AT_FDCWD)
}
