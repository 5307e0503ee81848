//! Five modules that do not get what they want: what each is told, and what the journal says of it.

use super::daemon::Daemon;
use super::house::House;
use super::policy::Policy;
use super::screen::Screen;
use crate::failure::Failure;
use crate::failure::Result;
use crate::models::Model;
use crate::place;

/// A module that is up to something.
struct Case {
    /// Its name in this demo.
    name: &'static str,
    /// What it is up to, numbered.
    title: &'static str,
    /// The guest in `target/guests`.
    guest: &'static str,
    /// What happens to it after it was signed.
    signature: Signature,
    audio: bool,
    graph: bool,
    end: End,
}

enum Signature {
    Whole,
    Absent,
    /// One byte of the module changes after it was signed.
    Broken,
}

/// Where it must end.
enum End {
    /// It is not admitted, for this reason.
    NotAdmitted(&'static str),
    /// It runs, and the call is denied; its journal names the call and this.
    Denied(&'static str),
}

const CASES: &[Case] = &[
    Case {
        name: "unsigned",
        title: "1: a module that nobody signed",
        guest: "voice-gate",
        signature: Signature::Absent,
        audio: true,
        graph: true,
        end: End::NotAdmitted("module is not signed"),
    },
    Case {
        name: "altered",
        title: "2: a signed module with one byte changed",
        guest: "voice-gate",
        signature: Signature::Broken,
        audio: true,
        graph: true,
        end: End::NotAdmitted("not the one that was signed"),
    },
    Case {
        name: "no-graph",
        title: "3: a module whose policy lacks the graph it asks for: it is granted none at all",
        guest: "voice-gate",
        signature: Signature::Whole,
        audio: true,
        graph: false,
        end: End::NotAdmitted("EG7002"),
    },
    Case {
        name: "other-graph",
        title: "   and one that is granted `vad`, and asks for the `wakeword` of somebody else",
        guest: "ask_other_graph",
        signature: Signature::Whole,
        audio: false,
        graph: true,
        end: End::Denied("wakeword"),
    },
    Case {
        name: "wanderer",
        title: "4: a guest that opens paths outside its grant",
        guest: "open_outside",
        signature: Signature::Whole,
        audio: true,
        graph: false,
        end: End::Denied("/etc/passwd"),
    },
    Case {
        name: "smuggler",
        title: "5: a guest that asks to load a model from bytes of its own",
        guest: "load_bytes",
        signature: Signature::Whole,
        audio: false,
        graph: true,
        end: End::Denied("load"),
    },
];

/// Shows all of them; fails at the first that gets what it wants, or that leaves no trace.
pub fn show(screen: &Screen, house: &House, daemon: &Daemon, model: &Model) -> Result<()> {
    for case in CASES {
        screen.part(case.title);
        case.deliver(house)?;
        Policy { name: case.name, audio: case.audio, graph: case.graph.then_some(model) }.write(house, super::FOLDER)?;
        case.try_it(screen, house, daemon)?;
    }
    Ok(())
}

impl Case {
    /// The vendor's part: the module, and its signature or what is left of it.
    fn deliver(&self, house: &House) -> Result<()> {
        let name = format!("modules/{}.wasm", self.name);
        let path = house.bring(&place::root().join("target/guests").join(self.guest).with_extension("wasm"), &name, 0o644)?;
        if let Signature::Absent = self.signature {
            return Ok(());
        }
        super::sign(house, &name)?;
        if let Signature::Broken = self.signature {
            let mut module = place::get(&path)?;
            match module.last_mut() {
                Some(byte) => *byte ^= 1,
                None => return Err(Failure::new(format!("`{}` is empty", path.display()))),
            }
            house.write(&name, &module)?;
        }
        Ok(())
    }

    fn try_it(&self, screen: &Screen, house: &House, daemon: &Daemon) -> Result<()> {
        // Those before this one are still there and still refused, so the code says nothing about this one.
        let reload = daemon.ask(house, &["reload"], "")?;
        let words = ["invoke", self.name];
        screen.command(&words);
        let said = daemon.ask(house, &words, "")?;
        let said = match self.end {
            End::NotAdmitted(why) => {
                if !reload.stdout.contains(&format!("refused  {}:", self.name)) {
                    return Err(reload.failure(&format!("expected `{}` to be refused", self.name)));
                }
                let said = said.exits(1)?.says("is refused")?.says(why)?;
                screen.answer(&said.stderr);
                said
            }
            End::Denied(_) => {
                // The guests end with 0 where all was refused, and with 42 where anything was given.
                let said = said.exits(0)?.says("errno")?;
                screen.answer(&said.stdout);
                said
            }
        };
        let record = daemon.record(house, "--deny", self.name, "3")?;
        screen.say("in the journal:");
        screen.answer(&record.stdout);
        match self.end {
            End::NotAdmitted(_) => {
                record.says("refused")?;
                screen.shown("not admitted: none of its code ran, and the refusal is on record");
            }
            End::Denied(what) => {
                record.says("was denied")?.says(what)?;
                if said.stdout.lines().any(|line| line.trim_end().ends_with("errno 0")) {
                    return Err(said.failure("a call succeeded"));
                }
                screen.shown("denied: the guest got an errno and nothing else, and each try is on record");
            }
        }
        Ok(())
    }
}
