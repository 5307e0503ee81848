//! `edgeguard-worker`: started by the daemon, one for each module.
#![forbid(unsafe_code)]

fn main() -> std::process::ExitCode {
    edgeguard_worker::main::<edgeguard_worker::GuestRunner>()
}
