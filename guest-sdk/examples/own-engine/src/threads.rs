//! Threads for a C library that has not even the names: every try to start one says that there are none, and the engine computes on the one there is.
//!
//! Runs in: the guest. Debian's `wasi-libc` is such a library; that of rustup's target says the same by itself.
#![allow(unsafe_code, reason = "the names are the C library's")]

use std::ffi::c_int;
use std::ffi::c_void;

// SAFETY (of all five): with feature `threadless-libc` nothing else in the program defines the name; no pointer is looked at.
#[unsafe(no_mangle)]
extern "C" fn pthread_attr_init(_: *mut c_void) -> c_int {
    0
}

#[unsafe(no_mangle)]
extern "C" fn pthread_attr_setstacksize(_: *mut c_void, _: usize) -> c_int {
    0
}

#[unsafe(no_mangle)]
extern "C" fn pthread_attr_destroy(_: *mut c_void) -> c_int {
    0
}

#[unsafe(no_mangle)]
extern "C" fn pthread_create(_: *mut c_void, _: *const c_void, _: *mut c_void, _: *mut c_void) -> c_int {
    ENOSYS
}

#[unsafe(no_mangle)]
extern "C" fn pthread_detach(_: *mut c_void) -> c_int {
    ENOSYS
}

/// As WASI numbers it: the function is not there.
const ENOSYS: c_int = 52;
