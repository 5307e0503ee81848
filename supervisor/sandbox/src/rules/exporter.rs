//! What the exporter keeps: files below its folders, and connections outward.
//!
//! Runs in: exporter. It is the only process whose table has `socket` and `connect`; which ports it reaches is Landlock's to say, for an address lies
//! behind a pointer.

use libc::*;

use super::Effect;
use super::Rule;
use super::Table;
use super::arg;
use super::call;

/// The kind of a socket, without its flags.
const KIND: u32 = 0xf;

const EXPORTER: &[Rule] = &[
    call!(SYS_socket, [arg(0).is(AF_INET), arg(1).masked(KIND, SOCK_STREAM as u32)], "a receiver by TCP; never UDP, never raw"),
    call!(SYS_socket, [arg(0).is(AF_INET6), arg(1).masked(KIND, SOCK_STREAM as u32)], "a receiver by TCP; never UDP, never raw"),
    call!(SYS_socket, [arg(0).is(AF_UNIX), arg(1).masked(KIND, SOCK_STREAM as u32)], "a receiver on this machine"),
    call!(SYS_socket, [arg(0).is(AF_UNIX), arg(1).masked(KIND, SOCK_DGRAM as u32)], "a receiver on this machine"),
    call!(SYS_connect, "a receiver; Landlock judges the port and the socket's name"),
    call!(SYS_getsockopt, "whether a connection came about"),
    call!(SYS_setsockopt, "how long to wait for a peer"),
    call!(SYS_shutdown, "a connection ends"),
    call!(SYS_openat, "the journal's segments, the own cursors; Landlock judges"),
    call!(SYS_statx, "length of a segment"),
    call!(SYS_newfstatat, "length of a segment"),
    call!(SYS_getdents64, "which segments there are"),
    call!(SYS_lseek, "files"),
    call!(SYS_fsync, "a cursor is on the disk before it counts"),
    call!(SYS_fdatasync, "a cursor is on the disk before it counts"),
    call!(SYS_ftruncate, "half a line is cut off"),
    #[cfg(target_arch = "x86_64")]
    call!(SYS_rename, "a cursor is replaced as a whole; Landlock judges"),
    call!(SYS_renameat, "a cursor is replaced as a whole; Landlock judges"),
    call!(SYS_renameat2, [arg(4).is(0)], "a cursor is replaced as a whole; Landlock judges"),
    call!(SYS_madvise, [arg(2).is(MADV_WIPEONFORK)], "the random number generator's state"),
];

/// The calls that fail instead of killing.
const REFUSED: &[Rule] = &[
    call!(SYS_sched_getaffinity, "the allocator and std count processors"),
    call!(SYS_ioctl, [arg(1).is(TCGETS as i32)], "std asks whether output is a terminal"),
];

/// The filters, in the order of loading.
pub fn exporter() -> Vec<Table> {
    let mut rules: Vec<Rule> = super::common::LOCKED.to_vec();
    rules.extend(EXPORTER);
    rules.extend(REFUSED);
    vec![
        Table { name: "exporter, errors", effect: Effect::FailElseAllow(EACCES), rules: REFUSED.to_vec() },
        Table { name: "exporter", effect: Effect::AllowElseKill, rules },
    ]
}
