//! wasi-nn from the guest's call to the graph host and back: what is granted, what is refused, and what becomes of a host that dies.
//!
//! Runs in: tests, with the real daemon and real graph hosts.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]
#![forbid(unsafe_code)]

mod onnx;

use std::collections::BTreeSet;
use std::fs;
use std::io::Read as _;
use std::io::Write as _;
use std::path::PathBuf;

use edgeguard_tests::answer::Answer;
use edgeguard_tests::guest::nn_guest;
use edgeguard_tests::house::House;
use edgeguard_tests::house::built;
use edgeguard_tests::house::skip;
use edgeguard_tests::house::until;
use edgeguard_tests::policy::Policy;
use rustix::process::Pid;
use rustix::process::Signal;

/// The graph's name at 1024, a tensor of two `f32` at 200 with its dimensions at 300 and its data at 400. `$ready` opens the graph and a context, whose
/// numbers lie at 100 and 104.
const TENSOR: &str = r#"
    (data (i32.const 1024) "model") (data (i32.const 1040) "other")
    (data (i32.const 200) "\2c\01\00\00\01\00\00\00\01\00\00\00\90\01\00\00\08\00\00\00")
    (data (i32.const 300) "\02\00\00\00") (data (i32.const 400) "abcdefgh")
    (func $ready
      (if (call $load_by_name (i32.const 1024) (i32.const 5) (i32.const 100)) (then (call $proc_exit (i32.const 21))))
      (if (call $init (i32.load (i32.const 100)) (i32.const 104)) (then (call $proc_exit (i32.const 22)))))
    (func $compute_now (result i32) (call $compute (i32.load (i32.const 104))))
    (func $set (result i32) (call $set_input (i32.load (i32.const 104)) (i32.const 0) (i32.const 200)))
    (func $get (result i32) (call $get_output (i32.load (i32.const 104)) (i32.const 0) (i32.const 500) (i32.const 8) (i32.const 112)))
"#;

/// Sets, computes, gets, and prints the eight bytes that came back.
const ROUND_TRIP: &str = r#"(func (export "_start") (call $ready)
    (if (call $set) (then (call $proc_exit (i32.const 23))))
    (if (call $compute_now) (then (call $proc_exit (i32.const 24))))
    (if (call $get) (then (call $proc_exit (i32.const 25))))
    (call $print (i32.const 500) (i32.load (i32.const 112))))"#;

fn model(house: &House, bytes: &[u8]) -> PathBuf {
    let path = house.path("models/model.onnx");
    fs::write(&path, bytes).unwrap();
    path
}

/// A house with one module that was granted a small model, which gives back what it gets.
fn house(body: &str) -> House {
    let mut house = House::new();
    let model = model(&house, &onnx::identity(2));
    house.install(&Policy::new("guest").graph("model", &model), &nn_guest(&format!("{TENSOR} {body}")));
    house.start();
    house
}

fn kill(pid: u32) {
    rustix::process::kill_process(Pid::from_raw(pid.try_into().unwrap()).unwrap(), Signal::KILL).unwrap();
}

fn graph_pid(house: &House) -> u32 {
    let hosts = house.children_named("edgeguard-graph");
    assert_eq!(hosts.len(), 1, "{hosts:?}");
    hosts[0]
}

#[test]
fn what_a_guest_computes_comes_back_and_every_call_is_on_record() {
    let house = house(ROUND_TRIP);
    assert_eq!(house.run("guest"), "abcdefgh");
    assert_eq!(house.run("guest"), "abcdefgh");
    for function in ["load_by_name", "init_execution_context", "set_input", "compute", "get_output"] {
        let calls = house.calls(function);
        assert_eq!(calls.len(), 2, "{function}");
        assert!(calls.iter().all(|call| call["outcome"] == "ok" && call["interface"] == "wasi_ephemeral_nn"), "{calls:?}");
    }
    assert_eq!(house.calls("load_by_name")[0]["text"], "model");
}

#[test]
fn a_model_from_bytes_is_refused_and_on_record() {
    let house = house(
        r#"(data (i32.const 128) "\90\01\00\00\08\00\00\00")
        (func (export "_start") (call $say (call $load (i32.const 128) (i32.const 1) (i32.const 1) (i32.const 0) (i32.const 100))))"#,
    );
    assert_eq!(house.run("guest"), "6\n", "`unsupported-operation`, for it has no number for what is not permitted");
    let denied = house.wait_for_event("denied", |_| true);
    assert_eq!((denied["module"].as_str(), denied["call"].as_str()), (Some("guest"), Some("wasi_ephemeral_nn#load")), "{denied}");
}

#[test]
fn a_graph_of_another_name_is_not_found_and_on_record() {
    let house = house(
        r#"(func (export "_start")
        (call $say (call $load_by_name (i32.const 1040) (i32.const 5) (i32.const 100)))
        (call $say (call $load_by_name (i32.const 1024) (i32.const 4) (i32.const 100)))
        (call $say (call $load_by_name (i32.const 1024) (i32.const 0) (i32.const 100)))
        (call $say (call $load_by_name (i32.const 1024) (i32.const 6) (i32.const 100))))"#,
    );
    assert_eq!(house.run("guest"), "8\n8\n8\n8\n");
    let names: Vec<_> = house.events("denied").iter().map(|event| event["text"].clone()).collect();
    assert_eq!(names.len(), 4, "{names:?}");
    assert_eq!((names[0].as_str(), names[1].as_str()), (Some("other"), Some("mode")));
}

#[test]
fn tensors_that_do_not_fit_the_model_are_errors_and_the_right_one_still_works() {
    let house = house(
        r#"(func (export "_start") (call $ready)
        ;; no such input; no such type; another type; another shape; more dimensions; data too short; data too long
        (call $say (call $set_input (i32.load (i32.const 104)) (i32.const 1) (i32.const 200)))
        (i32.store8 (i32.const 208) (i32.const 9)) (call $say (call $set))
        (i32.store8 (i32.const 208) (i32.const 4)) (call $say (call $set))
        (i32.store8 (i32.const 208) (i32.const 1))
        (i32.store (i32.const 300) (i32.const 3)) (call $say (call $set))
        (i32.store (i32.const 300) (i32.const -1)) (call $say (call $set))
        (i32.store (i32.const 300) (i32.const 2))
        (i32.store (i32.const 204) (i32.const 2)) (call $say (call $set))
        (i32.store (i32.const 204) (i32.const 0)) (call $say (call $set))
        (i32.store (i32.const 204) (i32.const 1))
        (i32.store (i32.const 216) (i32.const 4)) (call $say (call $set))
        (i32.store (i32.const 216) (i32.const 12)) (call $say (call $set))
        (i32.store (i32.const 216) (i32.const 8))
        ;; a compute without its input; no such context; no such graph; no such output
        (if (i32.eqz (call $compute_now)) (then (call $proc_exit (i32.const 31))))
        (call $say (call $compute (i32.const 77)))
        (call $say (call $init (i32.const 77) (i32.const 104)))
        ;; and then as it should be
        (call $say (call $set)) (call $say (call $compute_now))
        (call $say (call $get_output (i32.load (i32.const 104)) (i32.const 9) (i32.const 500) (i32.const 8) (i32.const 112)))
        (call $say (call $get_output (i32.load (i32.const 104)) (i32.const 0) (i32.const 500) (i32.const 7) (i32.const 112)))
        (call $say (call $get)))"#,
    );
    let said = house.run("guest");
    let errnos: Vec<&str> = said.lines().collect();
    // 1 is `invalid-argument`, 7 `too-large`.
    assert_eq!(errnos[..11], ["1"; 11], "{errnos:?}");
    assert_eq!(errnos[11..], ["0", "0", "1", "7", "0"], "{errnos:?}");
}

/// Every argument of every function, with numbers that lie outside the memory, wrap around, or are huge.
#[test]
fn no_number_that_a_guest_passes_harms_worker_or_host() {
    let wild = ["-1", "-4", "262144", "262141", "2147483647", "-2147483648", "65536"];
    let functions = [("load", 5), ("load_by_name", 3), ("init", 2), ("set_input", 3), ("compute", 1), ("get_output", 5)];
    let mut body = String::from("(func (export \"_start\") (call $ready)");
    for (function, count) in functions {
        for position in 0..count {
            for number in wild {
                let arguments: String =
                    (0..count).map(|at| if at == position { format!("(i32.const {number})") } else { "(i32.const 0)".into() }).collect();
                body.push_str(&format!("(drop (call ${function} {arguments}))"));
            }
        }
        for number in wild {
            body.push_str(&format!("(drop (call ${function} {}))", format!("(i32.const {number})").repeat(count)));
        }
    }
    // A tensor whose own numbers are wild.
    for at in [200, 204, 212, 216] {
        for number in wild {
            body.push_str(&format!(
                "(i32.store (i32.const 120) (i32.load (i32.const {at}))) (i32.store (i32.const {at}) (i32.const {number})) (drop (call $set))
                 (i32.store (i32.const {at}) (i32.load (i32.const 120)))"
            ));
        }
    }
    body.push_str(
        "(call $ready) (call $say (call $set)) (call $say (call $compute_now)) (call $say (call $get)) (call $print (i32.const 500) (i32.const 8)))",
    );
    let house = house(&body);
    let host = graph_pid(&house);
    assert_eq!(house.run("guest"), "0\n0\n0\nabcdefgh");
    let worker = house.children_named("edgeguard-worker");
    assert_eq!(house.run("guest"), "0\n0\n0\nabcdefgh");
    assert_eq!((house.children_named("edgeguard-worker"), graph_pid(&house)), (worker, host));
    assert!(house.events("graph-restarted").is_empty());
}

#[test]
fn a_host_that_is_killed_in_the_middle_costs_one_error_and_the_next_invocation_works() {
    let mut house = House::new();
    let path = model(&house, &onnx::long(400));
    // Says that it begins, computes for long, and says how that went.
    let body = r#"(data (i32.const 1024) "model")
        (data (i32.const 200) "\2c\01\00\00\02\00\00\00\01\00\00\00\00\00\01\00\00\00\40\00")
        (data (i32.const 300) "\00\04\00\00\00\04\00\00")
        (func (export "_start")
          (drop (memory.grow (i32.const 80)))
          (if (call $load_by_name (i32.const 1024) (i32.const 5) (i32.const 100)) (then (call $proc_exit (i32.const 21))))
          (if (call $init (i32.load (i32.const 100)) (i32.const 104)) (then (call $proc_exit (i32.const 22))))
          (if (call $set_input (i32.load (i32.const 104)) (i32.const 0) (i32.const 200)) (then (call $proc_exit (i32.const 23))))
          (call $say (i32.const 7))
          (call $say (call $compute (i32.load (i32.const 104)))))"#;
    house.install(&Policy::new("long").graph("model", &path).with(|policy| policy.deadline = "60 s".into()), &nn_guest(body));
    house.install(
        &Policy::new("short").graph("model", &path),
        &nn_guest(
            r#"(data (i32.const 1024) "model")
        (func (export "_start") (call $say (call $load_by_name (i32.const 1024) (i32.const 5) (i32.const 100))))"#,
        ),
    );
    house.start();
    let host = graph_pid(&house);
    let before = processor_ticks(host);
    let mut stream = house.connect();
    stream
        .write_all(
            b"POST /v1/modules/long/invoke HTTP/1.1\r\nHost: edgeguard\r\nTE: trailers\r\nConnection: close\r\nContent-Length: 0\r\n\r\n",
        )
        .unwrap();
    let mut bytes = Vec::new();
    while !bytes.ends_with(b"7\n\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte).unwrap();
        bytes.push(byte[0]);
    }
    // The call itself has begun once the host has used processor time for it.
    until("the host to compute", || (processor_ticks(host) > before + 10).then_some(()));
    kill(host);
    stream.read_to_end(&mut bytes).unwrap();
    let answer = Answer::parse(&bytes);
    assert_eq!((answer.text().as_str(), answer.trailers[0].1.as_str()), ("7\n5\n", "exited 0"), "`runtime-error`, and nothing worse");
    house.wait_for_event("graph-restarted", |_| true);
    assert_eq!(house.run("short"), "0\n");
    assert_ne!(graph_pid(&house), host);
    assert!(house.is_up());
}

/// User and system time of a process, in clock ticks.
fn processor_ticks(pid: u32) -> u64 {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let fields: Vec<&str> = stat[stat.rfind(')').unwrap() + 2..].split(' ').collect();
    fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap()
}

#[test]
fn a_running_worker_reaches_the_host_that_replaced_a_dead_one() {
    let house = house(ROUND_TRIP);
    assert_eq!(house.run("guest"), "abcdefgh");
    let worker = house.children_named("edgeguard-worker");
    kill(graph_pid(&house));
    house.wait_for_event("graph-restarted", |_| true);
    assert_eq!(house.run("guest"), "abcdefgh");
    assert_eq!(house.children_named("edgeguard-worker"), worker, "the worker did not need to go");
}

#[test]
fn a_host_that_dies_again_and_again_stays_down_until_a_reload() {
    let house = house(ROUND_TRIP);
    assert_eq!(house.run("guest"), "abcdefgh");
    let mut killed = BTreeSet::new();
    until("the host to be given up", || {
        for host in house.children_named("edgeguard-graph") {
            kill(host);
            killed.insert(host);
        }
        house.events("graph-failed").into_iter().find(|event| event["reason"].as_str().unwrap().contains("stays down"))
    });
    assert_eq!(killed.len(), 5, "{killed:?}");
    assert!(house.children_named("edgeguard-graph").is_empty());
    let invoked = house.invoke("guest");
    assert_ne!(invoked.code, Some(0), "{invoked:?}");
    assert_eq!(house.status()["graphs"][0]["state"], "down");
    house.reload();
    assert_eq!(house.run("guest"), "abcdefgh");
    assert_eq!(house.status()["graphs"].as_array().unwrap().len(), 1, "{}", house.status()["graphs"]);
}

/// The module is refused for its graph, with these words.
#[track_caller]
fn refused(house: &mut House, words: &[&str]) {
    house.start();
    let status = house.module_status("guest");
    assert_eq!((status["state"].as_str(), status["detail"]["code"].as_str()), (Some("refused"), Some("EG7004")), "{status}");
    let invoked = house.invoke("guest");
    assert_eq!(invoked.code, Some(1), "{invoked:?}");
    for word in words {
        assert!(invoked.stderr.contains(word), "`{word}` is not in: {}", invoked.stderr);
    }
    assert!(house.events("module-refused")[0]["reason"].as_str().unwrap().contains(words[0]));
    assert!(house.children_named("edgeguard-graph").is_empty());
    assert!(house.is_up());
}

#[test]
fn a_model_of_another_digest_is_refused() {
    let mut house = House::new();
    let model = model(&house, &onnx::identity(2));
    house.install(&Policy::new("guest").graph_of("model", &model, &"ab".repeat(32)), &nn_guest(r#"(func (export "_start"))"#));
    refused(&mut house, &["sha256", &"ab".repeat(32)]);
}

#[test]
fn a_model_that_is_cut_short_is_refused() {
    let mut house = House::new();
    let bytes = onnx::identity(2);
    let model = model(&house, &bytes[..bytes.len() / 2]);
    house.install(&Policy::new("guest").graph("model", &model), &nn_guest(r#"(func (export "_start"))"#));
    refused(&mut house, &["graph `model` is not available"]);
}

#[test]
fn a_model_that_is_noise_or_empty_is_refused() {
    for bytes in [&b""[..], b"no model at all", &[0xff; 4096]] {
        let mut house = House::new();
        let model = model(&house, bytes);
        house.install(&Policy::new("guest").graph("model", &model), &nn_guest(r#"(func (export "_start"))"#));
        refused(&mut house, &["graph `model` is not available"]);
    }
}

#[test]
fn two_modules_with_one_digest_share_a_host_and_not_their_names() {
    let mut house = House::new();
    let path = model(&house, &onnx::identity(2));
    let wasm = nn_guest(&format!("{TENSOR} {ROUND_TRIP}"));
    house.install(&Policy::new("first").graph("model", &path), &wasm);
    house.install(&Policy::new("second").graph("model", &path), &wasm);
    house.install(&Policy::new("third").graph("other", &path), &wasm);
    house.start();
    assert_eq!(house.run("first"), "abcdefgh");
    assert_eq!(house.run("second"), "abcdefgh");
    assert_eq!(house.invoke("third").ending["code"], 21, "its graph has another name");
    graph_pid(&house);
    assert_eq!(house.events("graph-loaded").len(), 1);
}

#[test]
fn a_graph_that_a_reload_takes_away_is_gone_for_the_next_invocation() {
    let mut house = House::new();
    let path = model(&house, &onnx::identity(2));
    house.install(&Policy::new("guest").graph("model", &path), &nn_guest(&format!("{TENSOR} {ROUND_TRIP}")));
    house.start();
    assert_eq!(house.run("guest"), "abcdefgh");
    house.put_policy(&Policy::new("guest").graph("another", &path));
    house.reload();
    assert_eq!(house.invoke("guest").ending["code"], 21);
    house.put_policy(&Policy::new("guest"));
    house.reload();
    assert_eq!(house.module_status("guest")["detail"]["code"], "EG7002");
}

/// The product's own guest, built both ways, on the same recording.
#[test]
fn a_component_finds_the_same_as_the_core_module() {
    let [core, component, model] =
        ["guests/voice-gate.wasm", "guests/voice-gate.component.wasm", "models/silero_vad_openvino_16k.onnx"].map(built);
    for path in [&core, &component, &model] {
        if !path.exists() {
            return skip(&format!("`{}` is not there; `cargo xtask test` makes it", path.display()));
        }
    }
    let mut house = House::new();
    let audio = house.dir("audio");
    fs::write(audio.join("hum.wav"), hum()).unwrap();
    let found = house.path("models/vad.onnx");
    fs::copy(model, &found).unwrap();
    for (name, wasm) in [("core", core), ("component", component)] {
        let policy = Policy::new(name).read("/audio", &audio).graph("vad", &found).with(|policy| policy.memory = "64 MiB".into());
        house.install(&policy, &fs::read(wasm).unwrap());
    }
    house.start();
    let said = ["core", "component"].map(|name| {
        let invoked = house.invoke(name);
        assert_eq!(invoked.code, Some(0), "{name}: {invoked:?}");
        assert_eq!(invoked.ending["records"]["produced"], invoked.ending["records"]["recorded"], "{name}: {invoked:?}");
        invoked.stdout
    });
    assert!(said[0].contains("hum.wav"), "{}", said[0]);
    assert_eq!(said[0], said[1]);
    graph_pid(&house);
    let computes =
        |interface: &str| house.calls(if interface == "core" { "compute" } else { "[method]graph-execution-context.compute" }).len();
    assert!(computes("core") > 10, "{}", computes("core"));
    assert_eq!(computes("core"), computes("component"));
}

/// Two seconds of a hum that rises and falls, 16 kHz, 16 bits, one channel.
fn hum() -> Vec<u8> {
    let samples: Vec<u8> = (0..32000u32)
        .flat_map(|n| {
            let time = f64::from(n) / 16000.0;
            let tone: f64 =
                (1..8).map(|harmonic| (std::f64::consts::TAU * 130.0 * f64::from(harmonic) * time).sin() / f64::from(harmonic)).sum();
            ((tone * (std::f64::consts::TAU * 3.0 * time).sin() * 8000.0) as i16).to_le_bytes()
        })
        .collect();
    let len = u32::try_from(samples.len()).unwrap();
    let mut wav = b"RIFF".to_vec();
    wav.extend((36 + len).to_le_bytes());
    wav.extend(b"WAVEfmt \x10\0\0\0\x01\0\x01\0");
    wav.extend(16000u32.to_le_bytes());
    wav.extend(32000u32.to_le_bytes());
    wav.extend(b"\x02\0\x10\0data");
    wav.extend(len.to_le_bytes());
    wav.extend(samples);
    wav
}
