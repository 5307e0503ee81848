//! What a worker costs, printed: `cargo bench -p edgeguard-worker`. Real processes, in their sandbox; the engine alone is measured
//! beside them in the same run.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a figure that cannot be taken is no figure")]

#[path = "../tests/common/mod.rs"]
mod common;

use std::time::Duration;
use std::time::Instant;

use common::Native;
use common::Plan;
use common::Process;
use common::binary;
use common::compile;
use edgeguard_sandbox::Access;
use edgeguard_wire::worker::Outcome;

const EMPTY: &str = r#"(module (memory (export "memory") 1) (func (export "_start")))"#;

/// Calls the cheapest WASI function that there is, a hundred thousand times.
const YIELDS: &str = r#"(module (import "wasi_snapshot_preview1" "sched_yield" (func $y (result i32))) (memory (export "memory") 1)
    (func (export "_start") (local $n i32)
        (loop $l (drop (call $y)) (local.set $n (i32.add (local.get $n) (i32.const 1))) (br_if $l (i32.lt_u (local.get $n) (i32.const 100000))))))"#;

fn main() {
    cold_start();
    warm();
    records();
}

fn share(native: &Native) -> Native {
    Native { kind: native.kind, code: native.code.try_clone().unwrap() }
}

fn cold_start() {
    let native = compile(EMPTY);
    let dir = tempfile::tempdir().unwrap();
    let mut steps: [Vec<Duration>; 4] = Default::default();
    for _ in 0..60 {
        let began = Instant::now();
        let process = Process::start(&binary("edgeguard-worker"));
        process.control.wait_readable(common::PATIENCE).unwrap();
        let standby = Instant::now();
        let mut worker = Plan::new(share(&native)).dir(dir.path(), "/data", Access::Read).try_start_with(process).unwrap();
        let confined = Instant::now();
        let run = worker.run();
        assert_eq!(run.outcome(), &Outcome::Exited(0));
        let done = Instant::now();
        for (step, took) in steps.iter_mut().zip([standby - began, confined - standby, done - confined, done - began]) {
            step.push(took);
        }
    }
    for (step, name) in steps.iter_mut().zip(["process to standby", "assignment to confined", "first invocation", "cold start, whole"]) {
        print("cold", name, step);
    }
}

fn warm() {
    let mut worker = Plan::new(compile(EMPTY)).start();
    let (mut trips, mut instances): (Vec<Duration>, Vec<Duration>) = Default::default();
    for _ in 0..2000 {
        let began = Instant::now();
        let started = worker.begin();
        let run = worker.end_at_once(started);
        trips.push(began.elapsed());
        instances.push(Duration::from_nanos(run.timing.instantiate_ns));
    }
    print("warm", "round trip", &mut trips);
    print("warm", "new instance", &mut instances);
    println!("warm  private memory             {:>10} KiB", worker.private_kib());
}

fn records() {
    let mut worker = Plan::new(compile(YIELDS)).start();
    let mut recorded: Vec<Duration> = (0..20).map(|_| Duration::from_nanos(worker.run().finished.timing.run_ns / 100_000)).collect();
    let mut bare: Vec<Duration> = bare();
    print("call", "sched_yield, recorded", &mut recorded);
    print("call", "sched_yield, engine alone", &mut bare);
}

/// The same calls in the engine alone, with its own WASI.
fn bare() -> Vec<Duration> {
    let engine = edgeguard_engine::compiler().unwrap();
    let module = wasmtime::Module::new(&engine, wat::parse_str(YIELDS).unwrap()).unwrap();
    let mut linker = wasmtime::Linker::<wasmtime_wasi::p1::WasiP1Ctx>::new(&engine);
    wasmtime_wasi::p1::add_to_linker_async(&mut linker, |guest| guest).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    let once = || {
        let mut store = wasmtime::Store::new(&engine, wasmtime_wasi::WasiCtxBuilder::new().build_p1());
        store.set_epoch_deadline(u64::MAX / 2);
        runtime.block_on(async {
            let instance = linker.instantiate_async(&mut store, &module).await.unwrap();
            let start = instance.get_typed_func::<(), ()>(&mut store, "_start").unwrap();
            let began = Instant::now();
            start.call_async(&mut store, ()).await.unwrap();
            began.elapsed() / 100_000
        })
    };
    (0..20).map(|_| once()).collect()
}

fn print(kind: &str, what: &str, times: &mut [Duration]) {
    times.sort_unstable();
    let at = |share: usize| times[(times.len() * share / 100).min(times.len() - 1)];
    println!("{kind:<5} {what:<26} {:>10.1?} p50 {:>10.1?} p95 {:>10.1?} least", at(50), at(95), at(0));
}
