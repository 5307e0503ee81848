//! What a policy says of admission, as the rules that `edgeguard-attest` holds a module against.
//!
//! Runs in: daemon, and command line (`verify`, `sign`), so that both ask the same question.
//! Invariant: nothing of the policy is left out, and nothing is added; what one side knows and the other does not is an error.
//! Does not: open a file (the caller reads keys and trusted roots), look at a clock, or verify anything.
#![forbid(unsafe_code)]

mod capabilities;

pub use capabilities::capabilities;
