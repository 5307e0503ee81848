//! `edgeguardd-learning`: the supervisor daemon for a lab machine, with learning mode. It is in no package.
//!
//! Runs in: daemon.
#![forbid(unsafe_code)]

use std::process::ExitCode;

use edgeguardd::startup::Learning;

fn main() -> ExitCode {
    edgeguardd::program::main(Learning::Allowed)
}
