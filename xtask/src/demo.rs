//! `cargo xtask demo`: the whole path on real speech (sign, admit, confine, infer, record), five refusals, and an attempt to break out.
//!
//! It builds what it needs, works in a folder of its own under the system's place for temporary files, and removes it. No root is needed; under root everything
//! it starts runs as an unprivileged user. Each thing it says was shown has been checked: where one does not come out as it should, the demo fails.

mod daemon;
mod escape;
mod house;
mod policy;
mod refusals;
mod screen;
mod table;

use std::process::Command;
use std::time::Instant;

use serde_json::Value;

use crate::failure::Failure;
use crate::failure::Result;
use crate::guests;
use crate::models;
use crate::models::Model;
use crate::place;
use crate::shell;
use crate::speech;
use crate::speech::Recordings;

pub use daemon::Daemon;
pub use house::House;
pub use policy::Policy;
pub use policy::model_name;
use screen::Screen;
use table::Measured;

#[derive(clap::Args, Default)]
pub struct Arguments {
    /// Download nothing: the project's own small model, and a synthetic signal where no recordings of speech are there yet
    #[arg(long)]
    offline: bool,
    /// Take the programs as they lie in target/release
    #[arg(long)]
    no_build: bool,
}

/// Shows everything, in the order in which a vendor, an operator and an attacker would come by.
pub fn run(arguments: &Arguments) -> Result<()> {
    let mut screen = Screen::new();
    screen.chapter("What it takes: programs, guests, a model, speech");
    let (model, speech) = prepare(arguments)?;
    let began = Instant::now();
    let house = House::new("demo", PROGRAMS)?;
    if house.user().is_some() {
        screen.say("started by root: the daemon and everything it touches belong to the user `nobody`");
    }

    screen.chapter("The vendor makes a key, and signs the module `voice-gate`");
    vendor(&screen, &house)?;
    screen.chapter("The operator writes its policy, and has it checked");
    operator(&screen, &house, &model, &speech)?;
    screen.chapter("The daemon starts: it admits the module, and loads the model in a process of its own");
    let daemon = Daemon::start(&house, FOLDER)?;
    let shown = with_daemon(&mut screen, &house, &daemon, &model, &speech).map_err(|failure| daemon.explain(failure))?;

    screen.chapter("A worker whose native code was taken over tries to break out");
    escape::show(&screen, &house)?;

    screen.chapter("The journal");
    journal(&screen, &house, &daemon)?;
    screen.chapter("In figures");
    shown.show(&screen)?;
    daemon.stop()?;
    println!();
    screen.shown(&format!("everything came out as it should, in {:.1} s; nothing is left behind", began.elapsed().as_secs_f32()));
    Ok(())
}

/// Programs, guests, model and recordings, built or fetched where they are not there yet.
fn prepare(arguments: &Arguments) -> Result<(Model, Recordings)> {
    if !arguments.no_build {
        shell::step("building the programs (the first time this compiles a WebAssembly engine, and takes minutes)", || {
            let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
            shell::show(cargo.current_dir(place::root()).args(["build", "--release", "--workspace", "--bins"]))
        })?;
        guests::run(&guests::Arguments::default())?;
    }
    let model = models::run(&models::Arguments { offline: arguments.offline, ..models::Arguments::default() })?;
    let speech = speech::run(&speech::Arguments { offline: arguments.offline })?;
    Ok((model, speech))
}

fn vendor(screen: &Screen, house: &House) -> Result<()> {
    for guest in ["voice-gate", "hello"] {
        house.bring(&place::root().join("target/guests").join(guest).with_extension("wasm"), &format!("modules/{guest}.wasm"), 0o644)?;
    }
    let words = ["keygen", "--out", "keys/acme"];
    screen.command(&words);
    screen.answer(&house.edgeguard(&house.path("-"), &words, "")?.exits(0)?.stdout);
    let words = ["sign", "--key", "keys/acme.key", "modules/voice-gate.wasm"];
    screen.command(&words);
    screen.answer(&house.edgeguard(&house.path("-"), &words, "")?.exits(0)?.stdout);
    sign(house, "modules/hello.wasm")
}

/// Signs a module with the vendor's key.
pub fn sign(house: &House, module: &str) -> Result<()> {
    house.edgeguard(&house.path("-"), &["sign", "--key", "keys/acme.key", module], "")?.exits(0).map(drop)
}

fn operator(screen: &Screen, house: &House, model: &Model, speech: &Recordings) -> Result<()> {
    house.bring(&model.path, &model_name(&model.path), 0o644)?;
    house.folder("audio")?;
    for path in speech::wavs(&speech.folder)? {
        house.bring(&path, &format!("audio/{}", path.file_name().unwrap_or_default().to_string_lossy()), 0o644)?;
    }
    Daemon::configure(house, FOLDER, "bin", true)?;
    let policy = Policy { name: "voice-gate", audio: true, graph: Some(model) };
    policy.write(house, FOLDER)?;
    screen.say(&format!("{FOLDER}/policy.d/voice-gate.toml:"));
    screen.answer(&policy.text(house));
    let words = [
        "policy",
        "check",
        &format!("{FOLDER}/policy.d"),
        "--module",
        "modules/voice-gate.wasm",
        "--host",
        "--config",
        &format!("{FOLDER}/edgeguard.toml"),
    ];
    screen.command(&words);
    screen.answer(&house.edgeguard(&house.path("-"), &words, "")?.exits(0)?.says("ok")?.stdout);
    // For the figures at the end: a guest that does next to nothing.
    Policy { name: "hello", audio: false, graph: None }.write(house, FOLDER).map(drop)
}

/// Speech, then refusals, and the status while it all runs.
fn with_daemon(screen: &mut Screen, house: &House, daemon: &Daemon, model: &Model, speech: &Recordings) -> Result<Measured> {
    screen.command(&["status"]);
    screen.answer(&daemon.ask(house, &["status"], "")?.exits(0)?.says("voice-gate  admitted")?.says("serving by")?.stdout);

    screen.chapter("The module listens");
    let whose = if model.real {
        "the Silero voice activity model"
    } else {
        "the project's own small voice activity model (Silero's could not be had)"
    };
    screen.say(&format!("{whose}; {}", speech.source));
    let cold = invoke(screen, house, daemon, model, speech)?;
    let mut measured = Measured { cold, warm: Vec::new(), empty: Vec::new(), status: Value::Null, heard: table::duration(&speech.folder)? };
    for _ in 0..WARM {
        measured.warm.push(ending(daemon, house, "voice-gate")?);
    }
    for _ in 0..=EMPTY {
        measured.empty.push(ending(daemon, house, "hello")?);
    }
    // The first one started a worker.
    measured.empty.remove(0);
    measured.status = daemon.status(house)?;

    screen.chapter("Five that are refused");
    refusals::show(screen, house, daemon, model)?;
    Ok(measured)
}

/// The first invocation: what it found, and how it ended.
fn invoke(screen: &Screen, house: &House, daemon: &Daemon, model: &Model, speech: &Recordings) -> Result<Value> {
    screen.command(&["invoke", "voice-gate"]);
    let said = daemon.ask(house, &["invoke", "voice-gate", "--json"], "")?.exits(0)?;
    let answer = said.json()?;
    let segments = answer["stdout"].as_str().unwrap_or_default();
    screen.answer(segments);
    let found = |file: &str| segments.lines().filter(|line| line.starts_with(file)).count();
    let files: Vec<String> =
        speech::wavs(&speech.folder)?.iter().filter_map(|path| path.file_name()).map(|name| name.to_string_lossy().into_owned()).collect();
    // The folder has one recording in which nobody speaks.
    let spoken: Vec<&String> = files.iter().filter(|name| *name != NOISE).collect();
    let heard = spoken.iter().filter(|name| found(name) > 0).count();
    // The small model is worse at its work, and may miss some.
    let wanted = if model.real { spoken.len() } else { spoken.len() / 2 + 1 };
    if heard < wanted {
        return Err(said.failure(&format!("expected speech in {wanted} recordings, found it in {heard}")));
    }
    if model.real && found(NOISE) > 0 {
        return Err(said.failure(&format!("expected no speech in `{NOISE}`")));
    }
    let noise = if files.iter().any(|name| name == NOISE) && found(NOISE) == 0 { ", and none in the one of noise" } else { "" };
    screen.shown(&format!("speech in {heard} of {} recordings of speech{noise}", spoken.len()));
    settled(&answer["ending"])
}

/// One more invocation: how it ended.
fn ending(daemon: &Daemon, house: &House, module: &str) -> Result<Value> {
    let answer = daemon.ask(house, &["invoke", module, "--json"], "")?.exits(0)?.json()?;
    settled(&answer["ending"])
}

/// Holds an ending against what it says of its own records.
fn settled(ending: &Value) -> Result<Value> {
    let records = &ending["records"];
    if records["produced"] != records["recorded"] || records["produced"].as_u64().unwrap_or_default() == 0 {
        return Err(Failure::new(format!("expected as many records as calls, and found {records}")));
    }
    Ok(ending.clone())
}

fn journal(screen: &Screen, house: &House, daemon: &Daemon) -> Result<()> {
    daemon.status(house)?;
    let journal = daemon.journal();
    let tail = ["audit", "tail", "--dir", &journal, "-n", "12"];
    screen.command(&tail);
    screen.answer(&house.edgeguard(daemon.socket(), &tail, "")?.exits(0)?.says("event")?.stdout);
    let verify = ["audit", "verify", "--dir", &journal];
    screen.command(&verify);
    screen.answer(&house.edgeguard(daemon.socket(), &verify, "")?.exits(0)?.stdout);
    screen.shown("every frame is whole, in its place, and what it was when it was written");
    Ok(())
}

/// What is run.
const PROGRAMS: &[&str] = &["edgeguard", "edgeguardd", "edgeguard-compile", "edgeguard-worker", "edgeguard-graph"];
/// The first daemon's folder in the house.
const FOLDER: &str = "gateway";
/// The recording of `alsa-utils` in which nobody speaks.
const NOISE: &str = "Noise.wav";
const WARM: usize = 3;
const EMPTY: usize = 30;
