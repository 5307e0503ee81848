//! `edgeguard-redteam`: a worker whose guest is native attack code, in exactly the sandbox of a real one.
//!
//! Runs in: worker, installed as `edgeguard-worker` in a house of the tests. Each invocation makes one attempt and says what came of
//! it, `ok N` or `errno N`, if it is still there to say so; then the process ends, so that every attempt has a fresh worker.
//! With a file `canary` beside the program, one layer is left out on purpose: see [`canary`].

mod attack;
mod canary;
mod kernel;
mod paths;
mod peer;

use std::os::fd::OwnedFd;
use std::process::ExitCode;

use edgeguard_tests::redteam::Order;
use edgeguard_wire::worker::Outcome;
use edgeguard_wire::worker::Timing;
use edgeguard_worker::Deadline;
use edgeguard_worker::Ended;
use edgeguard_worker::Grants;
use edgeguard_worker::Lane;
use edgeguard_worker::Refusal;
use edgeguard_worker::Runner;
use edgeguard_worker::Stdio;

use attack::Field;
use attack::Gave;

fn main() -> ExitCode {
    match canary::found() {
        None => edgeguard_worker::main::<Attacker>(),
        Some(canary::Weakness::HostRoot) => {
            canary::give_up_namespaces();
            edgeguard_worker::main::<Attacker>()
        }
        Some(weakness) => canary::main(weakness),
    }
}

/// Takes the place of the engine.
struct Attacker {
    directories: Vec<OwnedFd>,
    rings: Vec<OwnedFd>,
}

impl Runner for Attacker {
    type Ready = ();
    type Thread = (Lane, Field);

    fn ready() -> Result<(), Refusal> {
        Ok(())
    }

    fn load((): (), grants: &Grants) -> Result<Self, Refusal> {
        let directories = copies(&grants.dirs)?;
        let rings = grants.lanes.iter().map(|lane| lane.ring.try_clone().map_err(Refusal::Thread)).collect::<Result<_, _>>()?;
        Ok(Self { directories, rings })
    }

    fn begin(&self, lane: Lane) -> Result<Self::Thread, Refusal> {
        let ring = copies(&self.rings)?.into_iter().next();
        Ok((lane, Field { order: Order::new(), directories: copies(&self.directories)?, ring }))
    }

    fn invoke(&self, (lane, field): &mut Self::Thread, stdio: Stdio, _: Deadline) -> Ended {
        field.order = read_order(&stdio);
        match peer::attempt(field.order.get("row"), lane) {
            // It stays, as an attacker would: whoever ends it is not itself.
            Some(()) => say(&stdio, Ok(0)),
            None => attack(field, &stdio),
        }
        Ended { outcome: Outcome::Exited(0), timing: Timing::default(), produced: 0 }
    }
}

/// Makes the attempt that the order names, says what came of it, and ends the process unless it is to stay.
pub fn attack(field: &Field, stdio: &Stdio) {
    let name = field.order.get("row");
    if let Some(gave) = paths::attempt(name, field).or_else(|| kernel::attempt(name, field)) {
        say(stdio, gave);
    }
    if field.order.get("stay").is_empty() {
        let _ = attack::call(libc::SYS_exit_group, [0]);
    }
}

/// The order, from the invocation's standard input. By plain reads: what the standard library does besides is not in every filter.
pub fn read_order(stdio: &Stdio) -> Order {
    let mut text = Vec::new();
    let mut chunk = [0; 4096];
    while let Ok(len @ 1..) = rustix::io::read(&stdio.input, &mut chunk) {
        text.extend_from_slice(&chunk[..len]);
    }
    Order::parse(&String::from_utf8_lossy(&text))
}

fn say(stdio: &Stdio, gave: Gave) {
    let text = match gave {
        Ok(result) => format!("ok {result}\n"),
        Err(errno) => format!("errno {errno}\n"),
    };
    // Without it the test sees that nothing was said, which is never right.
    let _ = rustix::io::write(&stdio.output, text.as_bytes());
}

fn copies(fds: &[OwnedFd]) -> Result<Vec<OwnedFd>, Refusal> {
    fds.iter().map(|fd| fd.try_clone().map_err(Refusal::Thread)).collect()
}
