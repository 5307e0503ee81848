//! A guest, a worker and the real language host with a real model: what a guest asks for by the functions that existing guests call is what the model says.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod common;

use std::os::fd::AsFd;
use std::path::Path;
use std::path::PathBuf;
use std::time::Duration;
use std::time::Instant;

use common::Plan;
use common::Process;
use common::Worker;
use common::compile;
use edgeguard_sandbox::SharedMemory;
use edgeguard_wire::Channel;
use edgeguard_wire::graph::Encoding;
use edgeguard_wire::graph::Engine;
use edgeguard_wire::graph::FromGraph;
use edgeguard_wire::graph::Load;
use edgeguard_wire::graph::Loaded;
use edgeguard_wire::graph::Target;
use edgeguard_wire::graph::ToGraph;
use edgeguard_wire::language::Bounds;
use edgeguard_wire::worker::Limit;
use edgeguard_wire::worker::Outcome;

const REGION: u64 = 1 << 20;

/// The model with which `cargo xtask models --language` fills `target/models`, and its digest as its publisher states it.
const MODEL: &str = "gemma-3-270m-q4_k_m.gguf";
const SHA256: [u8; 32] = [
    0xa5, 0xfd, 0x3b, 0x62, 0x23, 0x0a, 0xa5, 0xec, 0x60, 0x21, 0x22, 0x97, 0xdc, 0x9d, 0x20, 0xea, 0xa7, 0x05, 0x78, 0xac, 0x51, 0x9e,
    0x00, 0xd9, 0x3a, 0x17, 0xe4, 0x4c, 0x08, 0x7a, 0x68, 0x18,
];

/// The program and the model, or a reason why one is missing.
fn parts() -> Option<(PathBuf, PathBuf)> {
    let program = Path::new(env!("CARGO_BIN_EXE_edgeguard-worker")).with_file_name("edgeguard-language");
    let folder = std::env::var_os("EDGEGUARD_TEST_MODELS")
        .map_or_else(|| PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../target/models")), PathBuf::from);
    let model = folder.join(MODEL);
    let missing = [&program, &model].into_iter().find(|path| !path.exists());
    if let Some(missing) = missing {
        assert!(std::env::var_os("CI").is_none(), "CI must have `{}`", missing.display());
        eprintln!("skipped: `{}` is not there", missing.display());
        return None;
    }
    Some((program, model))
}

/// A language host that serves, and what it says of its model.
fn host(program: &Path, model: &Path, bounds: Bounds) -> (Process, Loaded) {
    let host = Process::start(program);
    let load = Load {
        sha256: SHA256,
        weights: None,
        encoding: Encoding::Gguf,
        target: Target::Cpu,
        engine: Engine::LlamaCpp,
        computes: 1,
        threads: 1,
        language: Some(bounds),
        memory: None,
        landlock_floor: 1,
    };
    let file = std::fs::File::open(model).unwrap();
    host.control.send(&ToGraph::Load(Box::new(load)), &[file.as_fd()]).unwrap();
    let (FromGraph::Confined(_), _) = host.control.recv_within(common::PATIENCE).unwrap() else { panic!("expected `confined`") };
    host.control.send(&ToGraph::Run, &[]).unwrap();
    match host.control.recv_within(4 * common::PATIENCE).unwrap() {
        (FromGraph::Loaded(loaded), _) => (host, loaded),
        (other, _) => panic!("expected `loaded`, found {other:?}"),
    }
}

/// A worker whose channel goes to that host.
fn worker(host: &Process, loaded: &Loaded, text: &str, deadline: Duration) -> Worker {
    let plan = Plan::new(compile(text)).language("chat", loaded.language.clone().unwrap(), REGION);
    let mut worker = plan.limits(|limits| limits.deadline = deadline).start();
    // The channel that the worker began with has nobody behind it: it is renewed, as after a host's end.
    worker.hosts.clear();
    let (ours, theirs) = Channel::pair().unwrap();
    let (_, region) = SharedMemory::create("tensors", usize::try_from(REGION).unwrap()).unwrap();
    host.control.send(&ToGraph::Channel { region: REGION }, &[ours.as_fd(), region.as_fd()]).unwrap();
    worker.renew_with(0, &[theirs.into_fd(), region]);
    worker
}

/// Loads with `config`, gives the prompt, streams or computes, and writes what comes.
fn guest(config: &str, prompt: &str, body: &str) -> String {
    let hex = |text: &str| text.bytes().map(|byte| format!("\\{byte:02x}")).collect::<String>();
    format!(
        r#"(module
    (import "wasi_ephemeral_nn" "load_by_name_with_config" (func $with (param i32 i32 i32 i32 i32) (result i32)))
    (import "wasi_ephemeral_nn" "init_execution_context" (func $init (param i32 i32) (result i32)))
    (import "wasi_ephemeral_nn" "set_input" (func $set (param i32 i32 i32) (result i32)))
    (import "wasi_ephemeral_nn" "compute" (func $compute (param i32) (result i32)))
    (import "wasi_ephemeral_nn" "compute_single" (func $single (param i32) (result i32)))
    (import "wasi_ephemeral_nn" "get_output" (func $get (param i32 i32 i32 i32 i32) (result i32)))
    (import "wasi_ephemeral_nn" "get_output_single" (func $get1 (param i32 i32 i32 i32 i32) (result i32)))
    (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
    (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))
    (memory (export "memory") 2)
    (data (i32.const 100) "chat") (data (i32.const 200) "\01\00\00\00")
    (data (i32.const 400) "\c8\00\00\00\01\00\00\00\03\00\00\00\20\4e\00\00")
    (data (i32.const 10000) "{}") (data (i32.const 20000) "{}")
    (func $want (param i32) (param i32) (if (local.get 1) (then (call $exit (i32.add (i32.mul (local.get 0) (i32.const 1000)) (local.get 1))))))
    (func $say (i32.store (i32.const 20) (i32.const 30000)) (i32.store (i32.const 24) (i32.load (i32.const 16)))
        (drop (call $write (i32.const 1) (i32.const 20) (i32.const 1) (i32.const 28))))
    (func (export "_start") (local $n i32)
        (call $want (i32.const 1) (call $with (i32.const 100) (i32.const 4) (i32.const 10000) (i32.const {}) (i32.const 8)))
        (call $want (i32.const 2) (call $init (i32.load (i32.const 8)) (i32.const 12)))
        (i32.store (i32.const 416) (i32.const {}))
        (call $want (i32.const 3) (call $set (i32.const 0) (i32.const 0) (i32.const 400)))
        {body}))"#,
        hex(config),
        hex(prompt),
        config.len(),
        prompt.len()
    )
}

const WHOLE: &str = "(call $want (i32.const 4) (call $compute (i32.const 0))) \
    (call $want (i32.const 5) (call $get (i32.const 0) (i32.const 0) (i32.const 30000) (i32.const 60000) (i32.const 16))) (call $say)";

/// Eight tokens, one at a time.
const STREAM: &str = "(loop $next (call $want (i32.const 4) (call $single (i32.const 0))) \
    (call $want (i32.const 5) (call $get1 (i32.const 0) (i32.const 0) (i32.const 30000) (i32.const 60000) (i32.const 16))) (call $say) \
    (local.set $n (i32.add (local.get $n) (i32.const 1))) (br_if $next (i32.lt_u (local.get $n) (i32.const 8))))";

#[test]
fn a_real_model_answers_the_same_whole_and_streamed_and_a_deadline_disturbs_nobody() {
    let Some((program, model)) = parts() else { return };
    let (host, loaded) = host(&program, &model, Bounds { context: 256, contexts: 1 });
    let long = Duration::from_secs(60);
    let config = r#"{"temp":0,"n-predict":8,"enable-log":false,"n-gpu-layers":0}"#;
    let prompt = "The capital of France is Paris. The capital of Italy is Rome. The capital of Spain is";
    let whole = worker(&host, &loaded, &guest(config, prompt, WHOLE), long).run();
    assert_eq!(whole.outcome(), &Outcome::Exited(0));
    let text = String::from_utf8_lossy(&whole.output);
    assert!(text.contains("Madrid"), "{text}");
    let streamed = worker(&host, &loaded, &guest(config, prompt, STREAM), long).run();
    assert_eq!((streamed.outcome(), &streamed.output), (&Outcome::Exited(0), &whole.output));

    // A guest that never stops is ended at its deadline; the one context that the policy allows is free again for the next.
    let endless = guest(r#"{"temp":0,"grammar":"root ::= \"a\" root"}"#, prompt, WHOLE);
    let mut worker_of_endless = worker(&host, &loaded, &endless, Duration::from_millis(500));
    let ended = worker_of_endless.run();
    assert_eq!((ended.outcome(), ended.stalled.as_slice()), (&Outcome::Limit(Limit::Deadline), [].as_slice()));
    // Until the token under way is done, it is in use.
    let until = Instant::now() + common::PATIENCE;
    let mut last = worker(&host, &loaded, &guest(config, prompt, WHOLE), long);
    let after = loop {
        let run = last.run();
        if run.outcome() != &Outcome::Exited(3004) || Instant::now() > until {
            break run;
        }
    };
    assert_eq!((after.outcome(), &after.output), (&Outcome::Exited(0), &whole.output));
}
