//! Figures of the running system: cold and warm invocations, computes, records, memory.

use std::io::Read as _;
use std::io::Write as _;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::Command;
use std::time::Duration;
use std::time::Instant;

use rustix::event::PollFd;
use rustix::event::PollFlags;
use rustix::event::Timespec;
use rustix::process::Pid;
use rustix::process::PidfdFlags;
use rustix::process::Signal;
use serde_json::Value;

use super::client::Client;
use super::guests;
use super::row::Row;
use super::row::Samples;
use super::row::Target::AtMost;
use crate::demo::Daemon;
use crate::demo::House;
use crate::demo::Policy;
use crate::failure::Failure;
use crate::failure::Result;
use crate::models::Model;
use crate::place;
use crate::shell;

/// Rounds of everything, and how long a standby worker gets to be ready.
const COLD: usize = 30;
const WARM: usize = 500;
const STANDBY: Duration = Duration::from_millis(50);

/// Signs a module made from text and writes its policy.
pub fn install(house: &House, folder: &str, name: &str, wat: &str, model: Option<&Model>) -> Result<()> {
    let module = wat::parse_str(wat).map_err(|error| Failure::of(format_args!("cannot assemble `{name}`"), error))?;
    let path = format!("modules/{name}.wasm");
    house.write(&path, &module)?;
    crate::demo::sign(house, &path)?;
    Policy { name, audio: false, graph: model }.write(house, folder).map(drop)
}

/// Cold starts: to the guest's first instruction, in milliseconds.
pub fn cold(house: &House, standby: bool) -> Result<Row> {
    let folder = if standby { "standby" } else { "cold" };
    Daemon::configure(house, folder, "bin", standby)?;
    install(house, folder, "empty", guests::EMPTY, None)?;
    let daemon = Daemon::start(house, folder)?;
    let mut client = Client::connect(daemon.socket())?;
    let mut samples = Samples::default();
    for _ in 0..COLD {
        if standby {
            // It is made in the background after the one before was taken; the daemon does not say when it is ready.
            std::thread::sleep(STANDBY);
        }
        let (ending, _) = client.invoke("empty")?;
        let cold = ending["cold_start_us"].as_f64().ok_or_else(|| Failure::new(format!("expected a cold start, found {ending}")))?;
        samples.push((cold + ending["instantiate_us"].as_f64().unwrap_or_default()) / 1000.0);
        end_worker(house, &daemon)?;
    }
    daemon.stop()?;
    if standby {
        return Ok(Row::of("cold start, with a standby worker, to the first instruction", "ms", AtMost(2.0), &samples));
    }
    let native = house.path("empty.native");
    bare(&["precompile", &text(&house.path("modules/empty.wasm")), &text(&native)])?;
    let mut process = Samples::default();
    for _ in 0..COLD {
        let begun = Instant::now();
        bare(&["process", &text(&native)])?;
        process.push(begun.elapsed().as_secs_f64() * 1e3);
    }
    Ok(Row::of("cold start, no process yet, to the first instruction", "ms", AtMost(5.0), &samples)
        .beside("a whole process of the bare wasm engine, from exec to exit", process.median()))
}

/// Warm invocations: the round trip, and the new instance in it.
pub fn warm(house: &House) -> Result<Vec<Row>> {
    Daemon::configure(house, "warm", "bin", true)?;
    install(house, "warm", "empty", guests::EMPTY, None)?;
    let daemon = Daemon::start(house, "warm")?;
    let mut client = Client::connect(daemon.socket())?;
    client.invoke("empty")?;
    let (mut trip, mut instance) = (Samples::default(), Samples::default());
    for _ in 0..WARM {
        let (ending, took) = client.invoke("empty")?;
        trip.push(took.as_secs_f64() * 1e6);
        instance.push(ending["instantiate_us"].as_f64().unwrap_or_default());
    }
    let worker = worker(&daemon.status(house)?)?;
    daemon.stop()?;
    let bare = bare(&["guest", &text(&house.path("modules/empty.wasm")), &WARM.to_string()])?;
    let (made, ran) = (samples(&bare["instantiate_ns"], 1e3), samples(&bare["run_ns"], 1e3));
    Ok(vec![
        Row::of("a new instance in a running worker", "µs", AtMost(50.0), &instance).beside("the bare wasm engine", made.median()),
        Row::of("invocation round trip, warm, empty guest", "µs", AtMost(200.0), &trip)
            .beside("the bare wasm engine in one process: instance and run", made.median() + ran.median())
            .note("client, daemon and worker are three processes; the answer waits until the journal's thread has taken all records"),
        Row::new("a worker's private memory beyond its guest's", "MiB", AtMost(8.0), mib(&worker["process"]["private"]))
            .note(format!("idle; resident with files and shared memory: {:.1} MiB", mib(&worker["process"]["resident"]))),
    ])
}

/// A request that a module answers: connection, fresh instance, answer, end of the connection.
pub fn served(house: &House) -> Result<Row> {
    Daemon::configure(house, "served", "bin", true)?;
    house.write("modules/service.wasm", &guests::service()?)?;
    crate::demo::sign(house, "modules/service.wasm")?;
    let policy = Policy { name: "service", audio: false, graph: None }.write(house, "served")?;
    let socket = house.path("served/run/served.sock");
    let text = std::fs::read_to_string(&policy).map_err(Failure::at("read", &policy))?.replace("\"command\"", "\"http\"");
    let http = format!("\n[http]\nlisten = \"unix:{}\"\nrequests-per-minute = 600000\n", socket.display());
    std::fs::write(&policy, text + &http).map_err(Failure::at("write", &policy))?;
    let daemon = Daemon::start(house, "served")?;
    let ask = || -> Result<Duration> {
        let broke = |error: std::io::Error| Failure::of("the module's connection broke", error);
        let begun = Instant::now();
        let mut stream = UnixStream::connect(&socket).map_err(broke)?;
        stream.write_all(b"GET /greet HTTP/1.1\r\nHost: bench\r\n\r\n").map_err(broke)?;
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).map_err(broke)?;
        if answer.starts_with(b"HTTP/1.1 201") && answer.ends_with(b"0\r\n\r\n") {
            Ok(begun.elapsed())
        } else {
            Err(Failure::new(format!("expected a greeting, found {}", String::from_utf8_lossy(&answer))))
        }
    };
    ask()?;
    let mut trip = Samples::default();
    for _ in 0..WARM {
        trip.push(ask()?.as_secs_f64() * 1e6);
    }
    daemon.stop()?;
    Ok(Row::of("a request to a module that serves, warm, a small answer", "µs", AtMost(1000.0), &trip)
        .note("a connection of its own, a fresh instance of a component, its calls on record, and the end of the connection"))
}

/// The daemon's memory with ten modules, each with a worker.
pub fn ten(house: &House, model: &Model) -> Result<Row> {
    Daemon::configure(house, "ten", "bin", true)?;
    let guest = place::root().join("target/guests/voice-gate.wasm");
    let names: Vec<String> = (0..10).map(|number| format!("module-{number}")).collect();
    for name in &names {
        let path = format!("modules/{name}.wasm");
        house.bring(&guest, &path, 0o644)?;
        crate::demo::sign(house, &path)?;
        Policy { name, audio: true, graph: Some(model) }.write(house, "ten")?;
    }
    let daemon = Daemon::start(house, "ten")?;
    let mut client = Client::connect(daemon.socket())?;
    for name in &names {
        client.invoke(name)?;
    }
    let status = daemon.status(house)?;
    daemon.stop()?;
    let running = status["modules"].as_array().into_iter().flatten().filter(|module| module["worker"].is_object()).count();
    Ok(Row::new("the daemon's resident memory with ten modules", "MiB", AtMost(16.0), mib(&status["process"]["resident"]))
        .note(format!("{:.1} MiB of it private; {running} workers running", mib(&status["process"]["private"]))))
}

/// What recording a call costs the guest: a cheap call over and over, here and in the bare engine.
pub fn recording(house: &House) -> Result<Row> {
    Daemon::configure(house, "clock", "bin", true)?;
    install(house, "clock", "clock", &guests::clock(CALLS), None)?;
    let daemon = Daemon::start(house, "clock")?;
    let mut client = Client::connect(daemon.socket())?;
    client.invoke("clock")?;
    let (mut recorded, mut plain, mut stalls) = (Samples::default(), Samples::default(), 0);
    for _ in 0..TURNS {
        let bare = bare(&["guest", &text(&house.path("modules/clock.wasm")), &BATCHES.to_string()])?;
        plain.extend(numbers(&bare["run_ns"]).skip(1).map(|ns| ns / f64::from(CALLS)));
        for _ in 1..BATCHES {
            let (ending, _) = client.invoke("clock")?;
            stalls += ending["records"]["stalls"].as_u64().unwrap_or_default();
            recorded.push(ending["run_us"].as_f64().unwrap_or_default() * 1000.0 / f64::from(CALLS));
        }
    }
    daemon.stop()?;
    Ok(Row::new("recording a call, as the guest sees it", "ns", AtMost(60.0), recorded.median() - plain.median()).note(format!(
        "`clock_time_get`: {:.1} ns recorded, {:.1} ns in the bare wasm engine; means of {CALLS} calls, {} each; waits for the journal: {stalls}",
        recorded.median(),
        plain.median(),
        recorded.len()
    )))
}

/// What recording costs a guest that reads a file, some hundred thousand times a second: here and in the bare engine.
pub fn reading(house: &House) -> Result<Row> {
    Daemon::configure(house, "reads", "bin", true)?;
    let module = wat::parse_str(guests::reads(READS)).map_err(|error| Failure::of("cannot assemble `reads`", error))?;
    house.write("modules/reads.wasm", &module)?;
    crate::demo::sign(house, "modules/reads.wasm")?;
    house.folder("audio")?;
    house.write("audio/blob", &vec![7; 64 << 10])?;
    Policy { name: "reads", audio: true, graph: None }.write(house, "reads")?;
    let daemon = Daemon::start(house, "reads")?;
    let mut client = Client::connect(daemon.socket())?;
    client.invoke("reads")?;
    let (mut recorded, mut plain) = (Samples::default(), Samples::default());
    for _ in 0..TURNS {
        let (module, dir) = (text(&house.path("modules/reads.wasm")), text(&house.path("audio")));
        let bare = bare(&["guest", &module, &BATCHES.to_string(), &dir])?;
        plain.extend(numbers(&bare["run_ns"]).skip(1).map(|ns| ns / f64::from(READS)));
        for _ in 1..BATCHES {
            let (ending, _) = client.invoke("reads")?;
            recorded.push(ending["run_us"].as_f64().unwrap_or_default() * 1000.0 / f64::from(READS));
        }
    }
    daemon.stop()?;
    let (recorded, plain, count) = (recorded.undisturbed(), plain.undisturbed(), recorded.len());
    Ok(Row::new("a guest that reads a file, slower for being recorded", "%", AtMost(1.0), (recorded / plain - 1.0) * 100.0).note(format!(
        "`fd_pread` of 32 KiB: {recorded:.0} ns recorded, {plain:.0} ns in the bare wasm engine, {:.0} calls/s; means of {READS} calls, {count} each",
        1e9 / recorded
    )))
}

/// Ends the only worker, and waits until the daemon knows.
fn end_worker(house: &House, daemon: &Daemon) -> Result<()> {
    let pid = worker(&daemon.status(house)?)?["process"]["pid"].as_i64().and_then(|pid| i32::try_from(pid).ok()).and_then(Pid::from_raw);
    let pid = pid.ok_or_else(|| Failure::new("the status names no worker"))?;
    let failed = |error: rustix::io::Errno| Failure::of("cannot end the worker", error);
    let pidfd = rustix::process::pidfd_open(pid, PidfdFlags::empty()).map_err(failed)?;
    rustix::process::pidfd_send_signal(&pidfd, Signal::KILL).map_err(failed)?;
    let limit = Timespec { tv_sec: 10, tv_nsec: 0 };
    rustix::io::retry_on_intr(|| rustix::event::poll(&mut [PollFd::new(&pidfd, PollFlags::IN)], Some(&limit))).map_err(failed)?;
    for _ in 0..1000 {
        if worker(&daemon.status(house)?).is_err() {
            return Ok(());
        }
    }
    Err(Failure::new("the daemon does not notice that its worker is gone"))
}

/// The first module's worker, in a status.
fn worker(status: &Value) -> Result<Value> {
    let worker = &status["modules"][0]["worker"];
    if worker.is_object() { Ok(worker.clone()) } else { Err(Failure::new("no worker runs")) }
}

/// Runs the bare engines' program.
pub fn bare(words: &[&str]) -> Result<Value> {
    let said = shell::output(Command::new(place::root().join("target/release/edgeguard-bench")).args(words))?;
    serde_json::from_str(&said).map_err(|error| Failure::of(format_args!("`edgeguard-bench {}` says no JSON", words.join(" ")), error))
}

fn samples(values: &Value, unit_ns: f64) -> Samples {
    let mut samples = Samples::default();
    // The first finds nothing ready.
    samples.extend(numbers(values).skip(1).map(|ns| ns / unit_ns));
    samples
}

fn numbers(values: &Value) -> impl Iterator<Item = f64> {
    values.as_array().into_iter().flatten().filter_map(Value::as_f64)
}

fn mib(bytes: &Value) -> f64 {
    bytes.as_f64().unwrap_or_default() / f64::from(1 << 20)
}

fn text(path: &Path) -> String {
    path.display().to_string()
}

/// Turns of bare engine and product, and batches in each.
const TURNS: usize = 4;
const BATCHES: usize = 16;
/// Calls in a batch: fewer than a ring holds, so that nobody waits.
const CALLS: u32 = 10_000;
/// Reads of a file.
const READS: u32 = 5_000;
