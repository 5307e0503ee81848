//! A worker whose native code has been taken over: the kernel must end it, and the daemon must live on and say so.
//!
//! The red-team program of the tests stands in for the worker. It goes through a worker's whole life up to the last lock, by the same code; where the engine would
//! run the guest, it makes the system call that it is told on standard input.

use serde_json::Value;

use super::daemon::Daemon;
use super::house::House;
use super::policy::Policy;
use super::screen::Screen;
use crate::failure::Failure;
use crate::failure::Result;
use crate::place;

/// Rows of the red-team table, with what each does.
const ATTACKS: &[(&str, &str)] =
    &[("execve", "execve(2): become another program"), ("tcp-connect", "socket(2): open a connection of its own")];

/// Starts a second daemon with that worker, and shows what becomes of it.
pub fn show(screen: &Screen, house: &House) -> Result<()> {
    screen.say("a program stands in for the worker: it locks itself in as a worker does, and then calls the kernel directly");
    Daemon::configure(house, FOLDER, LIBEXEC, true)?;
    house.folder(LIBEXEC)?;
    for program in ["edgeguard-compile", "edgeguard-graph"] {
        house.bring(&house.path("bin").join(program), &format!("{LIBEXEC}/{program}"), 0o755)?;
    }
    house.bring(&place::root().join("target/release/edgeguard-redteam"), &format!("{LIBEXEC}/edgeguard-worker"), 0o755)?;
    house.bring(&house.path("modules/hello.wasm"), "modules/escapee.wasm", 0o644)?;
    super::sign(house, "modules/escapee.wasm")?;
    Policy { name: MODULE, audio: true, graph: None }.write(house, FOLDER)?;
    let daemon = Daemon::start(house, FOLDER)?;
    attack(screen, house, &daemon).map_err(|failure| daemon.explain(failure))?;
    daemon.stop()
}

fn attack(screen: &Screen, house: &House, daemon: &Daemon) -> Result<()> {
    // Where nothing worked, it would not say much that these do not.
    screen.part("first something that a worker may: getpid(2)");
    let said = daemon.ask(house, &["invoke", MODULE], "row=own-process-id\nstay=1\n")?.exits(0)?.says("ok ")?;
    screen.answer(&said.stdout);
    screen.shown("the program runs, and the kernel answers it");

    for (row, what) in ATTACKS {
        screen.part(what);
        let said = daemon.ask(house, &["invoke", MODULE], &format!("row={row}\n"))?.exits(5)?.says("SIGSYS")?;
        screen.answer(&said.stderr);
        let record = daemon.record(house, "--events", MODULE, "2")?.says("SIGSYS")?;
        screen.say("in the journal:");
        screen.answer(&record.stdout);
        screen.shown("the kernel ended the worker in that very call");
    }
    let status = daemon.status(house)?;
    let killed = status.pointer("/modules/0/invocations/killed").and_then(Value::as_u64);
    if killed != Some(ATTACKS.len() as u64) {
        return Err(Failure::new(format!("expected {} workers killed, the daemon counts {killed:?}", ATTACKS.len())));
    }
    let journal = daemon.journal();
    house.edgeguard(daemon.socket(), &["audit", "verify", "--dir", &journal], "")?.exits(0)?;
    screen
        .shown(&format!("the daemon lives: it lost {} workers, and started a new one each time, and its journal verifies", ATTACKS.len()));
    Ok(())
}

const MODULE: &str = "escapee";
/// The second daemon's folder, and its programs.
const FOLDER: &str = "escape";
const LIBEXEC: &str = "escape/libexec";
