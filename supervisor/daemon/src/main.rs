//! `edgeguardd`: the supervisor daemon.
//!
//! Runs in: daemon.
#![forbid(unsafe_code)]

use std::process::ExitCode;

use edgeguardd::startup::Learning;

fn main() -> ExitCode {
    edgeguardd::program::main(Learning::Refused)
}
