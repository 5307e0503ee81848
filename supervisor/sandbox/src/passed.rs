//! Sockets that the service manager opened for this program (sd_listen_fds(3)).
//!
//! Runs in: daemon, as the first thing it does.

use std::io;
use std::os::fd::OwnedFd;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering;

use crate::sys;

/// They were taken.
static TAKEN: AtomicBool = AtomicBool::new(false);

/// The descriptors after standard error that this process was started with by a service manager: none unless `LISTEN_PID` is this process. They are not
/// inherited by its children.
///
/// # Errors
/// `LISTEN_FDS` is no number, or one too large; one of the descriptors is not open; or they were taken already.
pub fn passed_by_the_service_manager() -> io::Result<Vec<OwnedFd>> {
    let number = |name: &str| std::env::var(name).ok().map(|text| text.parse::<i32>());
    let own = rustix::process::getpid().as_raw_nonzero().get();
    if number("LISTEN_PID") != Some(Ok(own)) {
        return Ok(Vec::new());
    }
    let count = match number("LISTEN_FDS") {
        None => return Ok(Vec::new()),
        Some(Ok(count @ 0..=MOST)) => count,
        Some(_) => return Err(io::Error::other("`LISTEN_FDS` is not a number from 0 to 64")),
    };
    if TAKEN.swap(true, Ordering::AcqRel) {
        return Err(io::Error::other("they were taken already"));
    }
    (FIRST..FIRST + count).map(sys::process::take_descriptor).collect()
}

/// `SD_LISTEN_FDS_START`
const FIRST: i32 = 3;

/// More than any unit of ours has.
const MOST: i32 = 64;
