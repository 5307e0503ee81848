//! The journal is complete: guests that know every call they made are held against it, one by one, whoever is killed in between.
//!
//! Runs in: tests, with the real daemon. The guests count for themselves, and where one is killed, a file says how far it came, to the call.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]
#![forbid(unsafe_code)]

mod onnx;

use std::collections::BTreeMap;
use std::collections::BTreeSet;
use std::fs;
use std::io::Write as _;
use std::path::PathBuf;
use std::process::Child;
use std::process::ChildStdin;
use std::process::Stdio;
use std::time::Duration;

use edgeguard_audit::CallId;
use edgeguard_audit::INTERFACES;
use edgeguard_audit::Recovery;
use edgeguard_audit::Tier;
use edgeguard_audit::read::Content;
use edgeguard_audit::read::Reader;
use edgeguard_tests::guest::assemble;
use edgeguard_tests::house::House;
use edgeguard_tests::house::until;
use edgeguard_tests::oracle::FUNCTIONS;
use edgeguard_tests::oracle::Function;
use edgeguard_tests::oracle::NN;
use edgeguard_tests::oracle::Oracle;
use edgeguard_tests::oracle::WASI;
use edgeguard_tests::policy::Policy;
use rustix::process::Pid;
use rustix::process::Signal;
use serde_json::Value;

/// The letters that end the names of marks, one for each instance.
const LETTERS: &str = "ABCDEFGHIJKLMNOP";

/// A house with the guest as the module `oracle`, with all that its calls are about.
fn house(oracle: &Oracle, instances: u32) -> House {
    let mut house = House::new();
    let dir = house.writable_dir("data");
    let mut files = vec![dir.join("there")];
    files.extend(LETTERS.chars().map(|letter| dir.join(format!("mark{letter}"))));
    for file in files {
        fs::write(&file, [0; 8]).unwrap();
        house.give_to_daemon(&file);
    }
    let model = house.path("models/model.onnx");
    fs::write(&model, onnx::identity(2)).unwrap();
    let policy = Policy::new("oracle").read_write("/data", &dir).graph("model", &model);
    let policy = policy.with(|policy| {
        policy.instances = instances;
        policy.deadline = "120 s".into();
    });
    house.install(&policy, &oracle.module());
    house.start();
    house
}

/// The files in which guests say how far they came.
fn mark(house: &House, letter: char) -> PathBuf {
    house.path("data").join(format!("mark{letter}"))
}

/// How many calls a guest had begun when it last said so.
fn came_to(house: &House, letter: char) -> usize {
    let bytes = fs::read(mark(house, letter)).unwrap();
    u32::from_le_bytes(*bytes.first_chunk().unwrap()) as usize
}

/// Starts so many invocations, and lets them go once all of them run.
fn at_once(house: &House, instances: u32, rounds: impl Fn(u32) -> u32) -> Vec<Child> {
    let running = || events(house, "invocation-started").len();
    let before = running();
    let mut started: Vec<(Child, ChildStdin)> = Vec::new();
    for _ in 0..instances {
        let mut command = house.cli(&["invoke", "oracle", "--json"]);
        let mut process = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let stdin = process.stdin.take().unwrap();
        started.push((process, stdin));
    }
    until("all of them to run", || (running() == before + instances as usize).then_some(()));
    let mut processes = Vec::new();
    for ((number, letter), (process, mut stdin)) in (0..).zip(LETTERS.chars()).zip(started) {
        stdin.write_all(&Oracle::input(rounds(number), letter)).unwrap();
        processes.push(process);
    }
    processes
}

/// What a finished invocation printed, and its settled account.
fn finished(process: Child) -> (String, Value) {
    let output = process.wait_with_output().unwrap();
    assert!(output.status.success(), "{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    let said: Value = serde_json::from_slice(&output.stdout).unwrap();
    (said["stdout"].as_str().unwrap().to_owned(), said["ending"]["records"].clone())
}

/// What the journal has of one ring.
#[derive(Debug, Default)]
struct Recorded {
    calls: Vec<CallId>,
    /// The letter of the guest's mark, where it opened one.
    letter: Option<char>,
}

impl Recorded {
    fn counts(&self) -> BTreeMap<CallId, u64> {
        let mut counts = BTreeMap::new();
        self.calls.iter().for_each(|call| *counts.entry(*call).or_default() += 1);
        counts
    }
}

/// All that is in the journal's files, by worker and ring: what was recorded, not what a tool shows of it.
fn recorded(house: &House) -> BTreeMap<(String, u32), Recorded> {
    let mut rings = BTreeMap::<_, Recorded>::new();
    contents(house, Tier::Detail, |content| {
        let Content::Calls(calls) = content else { return };
        for call in calls {
            let call = call.what;
            let ring = rings.entry((call.source.instance().to_string(), call.source.ring())).or_default();
            ring.calls.push(call.record.call);
            if let Some(letter) = call.text.as_deref().and_then(|text| text.strip_prefix(b"mark")) {
                ring.letter = letter.first().map(|letter| char::from(*letter));
            }
        }
    });
    rings
}

/// The security events of one kind, each with its fields. They lie apart from the calls, of which there are millions here.
fn events(house: &House, kind: &str) -> Vec<Value> {
    let mut found = Vec::new();
    contents(house, Tier::Security, |content| {
        let Content::Events(events) = content else { return };
        found.extend(events.into_iter().filter_map(|event| Some(serde_json::to_value(event.what).unwrap().get(kind)?.clone())));
    });
    found
}

/// How the journal was found, each time it was opened.
fn recoveries(house: &House) -> Vec<Recovery> {
    let mut found = Vec::new();
    contents(house, Tier::Security, |content| {
        if let Content::Boot(opened) = content {
            found.push(opened.recovery);
        }
    });
    found
}

fn contents(house: &House, tier: Tier, mut take: impl FnMut(Content)) {
    let mut reader = Reader::open(&house.state().join("audit")).unwrap();
    while let Some(frame) = reader.next_frame().unwrap() {
        if frame.tier == tier {
            take(reader.decode(&frame).unwrap());
        }
    }
}

#[track_caller]
fn verifies(house: &House) {
    let (code, found) = house.verify();
    assert_eq!((code, found["verdict"].as_str()), (Some(0), Some("ok")), "{found}");
}

fn made_at_all(counts: Vec<(CallId, u64)>) -> BTreeMap<CallId, u64> {
    counts.into_iter().filter(|(_, count)| *count > 0).collect()
}

/// Those of preview 1: nothing else has to be alive for them.
fn wasi() -> Vec<Function> {
    FUNCTIONS.iter().copied().filter(|(interface, ..)| *interface == WASI).collect()
}

#[test]
fn the_guests_make_every_call_that_has_a_number() {
    let listed = FUNCTIONS.iter().map(|(interface, name, _)| (*interface, *name)).chain([(WASI, "proc_exit")]);
    let listed: BTreeSet<_> = listed.collect();
    let core = INTERFACES.iter().filter(|interface| [WASI, NN].contains(&interface.name));
    let numbered: BTreeSet<_> = core.flat_map(|interface| interface.functions.iter().map(|name| (interface.name, *name))).collect();
    assert_eq!(listed, numbered);
}

#[test]
fn every_call_of_every_function_is_recorded_with_one_to_sixteen_instances_at_once() {
    let oracle = Oracle::new(FUNCTIONS.to_vec());
    for instances in [1, 4, 16] {
        let mut house = house(&oracle, instances);
        // Each instance makes another number of rounds, so that no two accounts can be mistaken for each other.
        let rounds = |number: u32| 10 + number;
        let mut told = Vec::new();
        for (number, process) in (0..).zip(at_once(&house, instances, rounds)) {
            let (printed, records) = finished(process);
            let counts = Oracle::counts(&printed);
            assert_eq!(counts, oracle.expected(rounds(number)), "the guest itself lost count");
            let all: u64 = counts.iter().map(|(_, count)| count).sum();
            assert_eq!((records["produced"].as_u64(), records["recorded"].as_u64()), (Some(all), Some(all)));
            told.push(made_at_all(counts));
        }
        assert!(house.stop().success());
        let mut written: Vec<_> = recorded(&house).values().map(Recorded::counts).collect();
        told.sort();
        written.sort();
        assert_eq!(told, written, "{instances} instances");
        verifies(&house);
    }
}

#[test]
fn a_guest_whose_ring_is_full_waits_and_nothing_is_missing() {
    // Three calls a round, in bursts that fill a ring of 16 Ki slots many times over.
    let burst = ["clock_time_get", "sched_yield", "random_get"];
    let oracle = Oracle::new(FUNCTIONS.iter().copied().filter(|(_, name, _)| burst.contains(name)).collect());
    let (instances, rounds) = (2, 300_000);
    let mut house = house(&oracle, instances);
    let processes = at_once(&house, instances, |_| rounds);
    until("records", || (house.status()["journal"]["stats"]["records"].as_u64() > Some(10_000)).then_some(()));
    // Nobody drains now.
    let daemon = Pid::from_raw(house.pid().try_into().unwrap()).unwrap();
    rustix::process::kill_process(daemon, Signal::STOP).unwrap();
    let worker = house.children_named("edgeguard-worker")[0];
    let mut before = 0;
    until("guests to stand still", || {
        std::thread::sleep(Duration::from_millis(200));
        let now = ticks(worker);
        (std::mem::replace(&mut before, now) == now).then_some(())
    });
    rustix::process::kill_process(daemon, Signal::CONT).unwrap();
    for process in processes {
        let (printed, records) = finished(process);
        let counts = Oracle::counts(&printed);
        assert_eq!(counts, oracle.expected(rounds));
        let all: u64 = counts.iter().map(|(_, count)| count).sum();
        assert_eq!((records["produced"].as_u64(), records["recorded"].as_u64()), (Some(all), Some(all)));
    }
    let stalls: Vec<_> = events(&house, "invocation-ended").iter().map(|event| event["stalls"].as_u64().unwrap()).collect();
    assert!(stalls.len() == 2 && stalls.iter().all(|stalls| *stalls > 0), "nobody waited: {stalls:?}");
    assert!(house.stop().success());
    let wanted = made_at_all(oracle.expected(rounds));
    let written = recorded(&house);
    assert_eq!(written.len(), 2);
    assert!(written.values().all(|ring| ring.counts() == wanted), "expected {wanted:?}");
    verifies(&house);
}

/// Processor time that a process has used, in ticks.
fn ticks(pid: u32) -> u64 {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let fields: Vec<&str> = stat[stat.rfind(')').unwrap() + 2..].split(' ').collect();
    fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap()
}

/// What the journal has of a guest is the beginning of what it did, without a gap.
#[track_caller]
fn is_a_beginning(oracle: &Oracle, ring: &Recorded) {
    let wrong = ring.calls.iter().zip(oracle.sequence()).position(|(recorded, made)| *recorded != made);
    assert_eq!(wrong, None, "of {} calls", ring.calls.len());
}

#[test]
fn a_worker_that_is_killed_in_a_burst_leaves_all_calls_but_the_one_under_way() {
    let oracle = Oracle::new(wasi()).with_marks();
    let instances = 4;
    let mut house = house(&oracle, instances);
    let mut seen = BTreeSet::new();
    for _ in 0..3 {
        let letters = || LETTERS.chars().take(instances as usize);
        letters().for_each(|letter| fs::write(mark(&house, letter), [0; 8]).unwrap());
        let processes = at_once(&house, instances, |_| u32::MAX);
        until("a burst of each", || letters().all(|letter| came_to(&house, letter) > 5000).then_some(()));
        let worker = house.children_named("edgeguard-worker")[0];
        rustix::process::kill_process(Pid::from_raw(worker.try_into().unwrap()).unwrap(), Signal::KILL).unwrap();
        for process in processes {
            assert_eq!(process.wait_with_output().unwrap().status.code(), Some(5));
        }
        let gone = |event: &Value| event["pid"] == worker && event["signal"] == 9;
        until("its end", || events(&house, "process-exited").iter().any(gone).then_some(()));
        let ended = || events(&house, "invocation-ended");
        until("their accounts", || (ended().len() == seen.len() + instances as usize).then_some(()));
        let fresh: Vec<_> = recorded(&house).into_iter().filter(|(ring, _)| seen.insert(ring.clone())).collect();
        assert_eq!(fresh.len(), instances as usize);
        let instance = &fresh[0].0.0;
        for (_, ring) in &fresh {
            is_a_beginning(&oracle, ring);
            let made = came_to(&house, ring.letter.unwrap());
            // A call has its record before the guest goes on: the last that the file knows of may have been under way, and one more may have ended.
            assert!((made - 1..=made + 1).contains(&ring.calls.len()), "{made} calls, {} recorded", ring.calls.len());
        }
        // Each invocation has the account of its own ring.
        let accounts: Vec<_> = ended().into_iter().filter(|event| event["instance"] == **instance).collect();
        let sorted = |mut counts: Vec<u64>| {
            counts.sort_unstable();
            counts
        };
        let told = |field: &str| sorted(accounts.iter().map(|event| event[field].as_u64().unwrap()).collect());
        let kept = sorted(fresh.iter().map(|(_, ring)| ring.calls.len() as u64).collect());
        assert_eq!((told("records_produced"), told("records_recorded")), (kept.clone(), kept), "{accounts:?}");
    }
    assert!(events(&house, "ring-corrupt").is_empty());
    assert!(house.stop().success());
    verifies(&house);
}

#[test]
fn a_daemon_that_is_killed_in_a_burst_leaves_all_calls_but_those_of_the_last_second() {
    let oracle = Oracle::new(wasi()).with_marks();
    let instances = 4;
    let mut house = house(&oracle, instances);
    let letters = || LETTERS.chars().take(instances as usize);
    let processes = at_once(&house, instances, |_| u32::MAX);
    until("a burst of each", || letters().all(|letter| came_to(&house, letter) > 5000).then_some(()));
    let before: BTreeMap<char, usize> = letters().map(|letter| (letter, came_to(&house, letter))).collect();
    // The bound that `docs/journal.md` states, and half of it for a loaded machine.
    std::thread::sleep(Duration::from_millis(1500));
    let workers = house.children_named("edgeguard-worker");
    house.kill();
    for process in processes {
        assert_ne!(process.wait_with_output().unwrap().status.code(), Some(0));
    }
    until("its children to be gone", || workers.iter().all(|pid| !std::path::Path::new(&format!("/proc/{pid}")).exists()).then_some(()));
    house.start();
    let rings = recorded(&house);
    assert_eq!(rings.len(), instances as usize);
    for ring in rings.values() {
        is_a_beginning(&oracle, ring);
        let letter = ring.letter.unwrap();
        let (before, made, kept) = (before[&letter], came_to(&house, letter), ring.calls.len());
        assert!((before..=made + 1).contains(&kept), "{before} calls a second and a half before its end, {made} at it, {kept} recorded");
    }
    // The journal says itself that it was cut short: it was not closed, nothing of it is damaged, and these invocations have no end.
    let found = recoveries(&house);
    assert_eq!(found.len(), 2);
    assert!(found[1].unclean && found[1].damage.is_empty(), "{found:?}");
    assert_eq!((events(&house, "invocation-started").len(), events(&house, "invocation-ended").len()), (4, 0));
    verifies(&house);
}

/// Calls of WASI 0.2 whose arguments and results are numbers: interface, function, result.
const NUMBERS: &[(&str, &str, &str)] = &[
    ("wasi:clocks/monotonic-clock", "now", "u64"),
    ("wasi:clocks/monotonic-clock", "resolution", "u64"),
    ("wasi:random/random", "get-random-u64", "u64"),
    ("wasi:random/insecure", "get-insecure-random-u64", "u64"),
];

/// A component that makes each of them in turn, so many times.
fn component(rounds: u32) -> Vec<u8> {
    let mut text = String::from("(component\n");
    let interfaces: BTreeSet<_> = NUMBERS.iter().map(|(interface, ..)| *interface).collect();
    for (number, interface) in interfaces.iter().enumerate() {
        let of = NUMBERS.iter().enumerate().filter(|(_, (other, ..))| other == interface);
        let exports: String = of.clone().map(|(_, (_, name, ty))| format!("(export {name:?} (func (result {ty})))")).collect();
        text.push_str(&format!("(import \"{interface}@0.2.0\" (instance $i{number} {exports}))\n"));
        for (index, (_, name, _)) in of {
            text.push_str(&format!("(core func $f{index} (canon lower (func $i{number} {name:?})))\n"));
        }
    }
    let list = |row: &dyn Fn(usize) -> String| (0..NUMBERS.len()).map(row).collect::<String>();
    text.push_str(&format!(
        r#"(core module $m {}
          (func (export "run") (result i32) (local $left i32) (local.set $left (i32.const {rounds}))
            (loop $again {} (local.set $left (i32.sub (local.get $left) (i32.const 1))) (br_if $again (local.get $left)))
            (i32.const 0)))
        (core instance $c (instantiate $m (with "h" (instance {}))))
        (func $run (result (result)) (canon lift (core func $c "run")))
        (instance $out (export "run" (func $run)))
        (export "wasi:cli/run@0.2.0" (instance $out)))"#,
        list(&|index| format!("(import \"h\" \"f{index}\" (func $f{index} (result i64)))")),
        list(&|index| format!("(drop (call $f{index}))")),
        list(&|index| format!("(export \"f{index}\" (func $f{index}))")),
    ));
    assemble(&text)
}

#[test]
fn every_call_of_a_component_is_recorded_with_one_to_sixteen_instances_at_once() {
    let rounds = 10_000;
    for instances in [1, 16] {
        let mut house = House::new();
        house.install(&Policy::new("component").with(|policy| policy.instances = instances), &component(rounds));
        house.start();
        std::thread::scope(|scope| {
            for _ in 0..instances {
                scope.spawn(|| {
                    let invoked = house.invoke("component");
                    let all = u64::from(rounds) * NUMBERS.len() as u64;
                    let records = &invoked.ending["records"];
                    assert_eq!((records["produced"].as_u64(), records["recorded"].as_u64()), (Some(all), Some(all)), "{invoked:?}");
                });
            }
        });
        assert!(house.stop().success());
        let mut counts = BTreeMap::<_, u64>::new();
        for ring in recorded(&house).values() {
            ring.counts().into_iter().for_each(|(call, count)| *counts.entry((call.interface(), call.function())).or_default() += count);
        }
        let wanted = NUMBERS.iter().map(|(interface, name, _)| ((*interface, *name), u64::from(instances * rounds)));
        assert_eq!(counts, wanted.collect());
        verifies(&house);
    }
}
