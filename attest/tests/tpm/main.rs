//! The counter and the quote against `swtpm`, the reference implementation of the TPM 2.0 Library as an emulator, with `tpm2-tools` on the other side.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod counter;
mod emulator;
mod quote;
