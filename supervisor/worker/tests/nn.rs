//! `wasi_ephemeral_nn` from a guest to a graph host that the test plays, with what hostile guests and hosts do.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod common;

use std::time::Duration;

use common::Plan;
use common::Run;
use common::Worker;
use common::compile;
use edgeguard_audit::Outcome as Recorded;
use edgeguard_sandbox::SharedMemory;
use edgeguard_wire::graph::ModelInfo;
use edgeguard_wire::graph::TensorInfo;
use edgeguard_wire::tensor::Compute;
use edgeguard_wire::tensor::NnCode;
use edgeguard_wire::tensor::NnError;
use edgeguard_wire::tensor::Placed;
use edgeguard_wire::tensor::Reply;
use edgeguard_wire::tensor::TensorType;
use edgeguard_wire::worker::Limit;
use edgeguard_wire::worker::Outcome;

const REGION: u64 = 64 << 10;

/// FP32 [1, 4] in, FP32 [1, 4] out; a second input, I64, with a free dimension.
fn model() -> ModelInfo {
    let tensor = |name: &str, ty, dims: &[Option<u32>]| TensorInfo { name: name.into(), ty: Some(ty), dims: Some(dims.to_vec()) };
    ModelInfo {
        inputs: vec![tensor("x", TensorType::Fp32, &[Some(1), Some(4)]), tensor("n", TensorType::I64, &[None])],
        outputs: vec![tensor("y", TensorType::Fp32, &[Some(1), Some(4)])],
    }
}

const IMPORTS: &str = r#"
    (import "wasi_ephemeral_nn" "load" (func $load (param i32 i32 i32 i32 i32) (result i32)))
    (import "wasi_ephemeral_nn" "load_by_name" (func $by_name (param i32 i32 i32) (result i32)))
    (import "wasi_ephemeral_nn" "init_execution_context" (func $init (param i32 i32) (result i32)))
    (import "wasi_ephemeral_nn" "set_input" (func $set (param i32 i32 i32) (result i32)))
    (import "wasi_ephemeral_nn" "compute" (func $compute (param i32) (result i32)))
    (import "wasi_ephemeral_nn" "get_output" (func $get (param i32 i32 i32 i32 i32) (result i32)))
    (import "wasi_ephemeral_nn" "finalize_execution_context" (func $fini (param i32) (result i32)))
    (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))"#;

/// The name at 100; dims [1, 4] at 200; data at 300 (1, 2, 3, 4); the tensor at 400.
const DATA: &str = r#"
    (data (i32.const 100) "vad")
    (data (i32.const 200) "\01\00\00\00\04\00\00\00")
    (data (i32.const 300) "\00\00\80\3f\00\00\00\40\00\00\40\40\00\00\80\40")
    (data (i32.const 400) "\c8\00\00\00\02\00\00\00\01\00\00\00\2c\01\00\00\10\00\00\00")"#;

/// Opens the graph (handle at 8) and a context (handle at 12).
const OPENED: &str =
    "(drop (call $by_name (i32.const 100) (i32.const 3) (i32.const 8))) (drop (call $init (i32.load (i32.const 8)) (i32.const 12)))";

fn guest(start: &str) -> String {
    format!(r#"(module {IMPORTS} (memory (export "memory") 1) {DATA} (func (export "_start") {start}))"#)
}

/// Exits with the errno of one call, after a context was opened.
fn exits(call: &str) -> String {
    guest(&format!("{OPENED} (call $exit {call})"))
}

const SET: &str = "(drop (call $set (i32.load (i32.const 12)) (i32.const 0) (i32.const 400)))";

/// A whole inference; exits with 10 times the second output, read as f32.
fn inference() -> String {
    guest(&format!(
        "{OPENED} {SET} (if (call $compute (i32.load (i32.const 12))) (then (call $exit (i32.const 1)))) \
         (if (call $get (i32.load (i32.const 12)) (i32.const 0) (i32.const 500) (i32.const 16) (i32.const 16)) (then (call $exit (i32.const 2)))) \
         (call $exit (i32.trunc_f32_s (f32.mul (f32.load (i32.const 504)) (f32.const 10))))"
    ))
}

fn plan(text: &str) -> Plan {
    Plan::new(compile(text)).graph("vad", model(), REGION)
}

/// A host that doubles.
fn doubling(compute: &Compute, region: &SharedMemory) -> Option<Reply> {
    let input = compute.inputs.iter().find(|placed| placed.index == 0).unwrap();
    let mut bytes = vec![0; input.len as usize];
    region.read(input.offset as usize, &mut bytes).unwrap();
    let doubled: Vec<u8> = bytes.chunks(4).flat_map(|four| (f32::from_le_bytes(four.try_into().unwrap()) * 2.0).to_le_bytes()).collect();
    region.write((REGION / 2) as usize, &doubled).unwrap();
    let outputs = vec![Placed { index: 0, ty: TensorType::Fp32, dims: input.dims.clone(), offset: REGION / 2, len: input.len }];
    Some(Reply::Computed { seq: compute.seq, outputs, engine_ns: 1234 })
}

/// One invocation against a host that answers so.
fn run_against(text: &str, answer: impl FnMut(&Compute, &SharedMemory) -> Option<Reply> + Send + 'static) -> (Run, Worker) {
    let mut worker = plan(text).start();
    worker.hosts.remove(0).serve(answer);
    (worker.run(), worker)
}

#[test]
fn an_inference_goes_there_and_back() {
    let (run, mut worker) = run_against(&inference(), doubling);
    assert_eq!(run.outcome(), &Outcome::Exited(40));
    assert_eq!(run.finished.timing.engine_ns, 1234);
    assert!(run.finished.timing.compute_ns > 0);
    let names: Vec<String> = run.records.iter().map(common::Seen::call).collect();
    let expected =
        ["load_by_name", "init_execution_context", "set_input", "compute", "get_output"].map(|name| format!("wasi_ephemeral_nn.{name}"));
    assert_eq!(names[..5], expected);
    assert!(run.records[..5].iter().all(|seen| seen.record.rule == 0x100 && seen.record.outcome == Recorded::Ok));
    assert_eq!(run.records[0].text.as_deref(), Some("vad"));
    assert_eq!((run.records[2].record.n_in, run.records[3].record.n_out, run.records[4].record.n_out), (16, 16, 16));
    // The next invocation begins anew, over the same channel.
    assert_eq!(worker.run().outcome(), &Outcome::Exited(40));
}

#[test]
fn a_model_from_bytes_is_denied() {
    let run = plan(&exits("(call $load (i32.const 0) (i32.const 1) (i32.const 1) (i32.const 0) (i32.const 16))")).start().run();
    assert_eq!(run.outcome(), &Outcome::Exited(6));
    assert_eq!(run.calls("load")[0].record.outcome, Recorded::Denied);
}

#[test]
fn a_graph_that_is_not_granted_is_denied_with_its_name() {
    let text = guest("(call $exit (call $by_name (i32.const 100) (i32.const 2) (i32.const 8)))");
    let run = plan(&text).start().run();
    assert_eq!(run.outcome(), &Outcome::Exited(8));
    let load = run.calls("load_by_name")[0];
    assert_eq!((load.record.outcome, load.text.as_deref(), load.record.rule), (Recorded::Denied, Some("va"), 0));
}

/// Guests that crashed other hosts: each gets an errno, and nothing reaches the graph host.
#[test]
fn hostile_tensors_are_refused() {
    // Store a 32-bit value at 400 + offset, then set.
    let with = |offset: u32, value: &str| {
        exits(&format!(
            "(block (result i32) (i32.store (i32.const {}) (i32.const {value})) (call $set (i32.load (i32.const 12)) (i32.const 0) (i32.const 400)))",
            400 + offset
        ))
    };
    let cases = [
        ("dims pointer out of bounds", with(0, "0xfffffff0"), 1),
        ("as many dims as there are numbers", with(4, "-1"), 1),
        ("more dims than fit", with(4, "0x10000"), 1),
        ("no dims", with(4, "0"), 1),
        ("a type that does not exist", with(8, "9"), 1),
        ("another type than the model wants", with(8, "4"), 1),
        ("data pointer out of bounds", with(12, "0xfffffff0"), 1),
        ("length that is not the shape's", with(16, "12"), 1),
        ("length that is no multiple of the element", with(16, "15"), 1),
        ("length out of bounds", with(16, "-1"), 1),
        ("no length", with(16, "0"), 1),
        ("tensor pointer out of bounds", exits("(call $set (i32.load (i32.const 12)) (i32.const 0) (i32.const 65530))"), 1),
        ("tensor pointer that wraps", exits("(call $set (i32.load (i32.const 12)) (i32.const 0) (i32.const -4))"), 1),
        ("input that the model has not", exits("(call $set (i32.load (i32.const 12)) (i32.const 7) (i32.const 400))"), 1),
        ("input beyond all numbers", exits("(call $set (i32.load (i32.const 12)) (i32.const -1) (i32.const 400))"), 1),
        ("context that does not exist", exits("(call $set (i32.const 5) (i32.const 0) (i32.const 400))"), 1),
        ("context beyond all numbers", exits("(call $set (i32.const -1) (i32.const 0) (i32.const 400))"), 1),
        ("name out of bounds", exits("(call $by_name (i32.const -1) (i32.const 3) (i32.const 8))"), 1),
        ("name of four gigabytes", exits("(call $by_name (i32.const 100) (i32.const -1) (i32.const 8))"), 1),
        ("handle stored out of bounds", exits("(call $by_name (i32.const 100) (i32.const 3) (i32.const 65534))"), 1),
        ("context stored out of bounds", exits("(call $init (i32.const 0) (i32.const -1))"), 1),
        ("graph that does not exist", exits("(call $init (i32.const 1) (i32.const 12))"), 1),
        ("compute without a context", exits("(call $compute (i32.const -1))"), 1),
        (
            "output before a compute",
            exits("(call $get (i32.load (i32.const 12)) (i32.const 0) (i32.const 500) (i32.const 16) (i32.const 16))"),
            1,
        ),
        (
            "output buffer out of bounds",
            exits("(call $get (i32.load (i32.const 12)) (i32.const 0) (i32.const 500) (i32.const -1) (i32.const 16))"),
            1,
        ),
        ("builders out of bounds", exits("(call $load (i32.const -1) (i32.const -1) (i32.const 99) (i32.const 2) (i32.const -1))"), 6),
        ("closed twice", exits("(i32.add (call $fini (i32.load (i32.const 12))) (call $fini (i32.load (i32.const 12))))"), 1),
    ];
    for (what, text, errno) in cases {
        let mut worker = plan(&text).start();
        let run = worker.run();
        assert_eq!(run.outcome(), &Outcome::Exited(errno), "{what}");
        assert!(worker.hosts[0].channel.try_recv::<Compute>().unwrap().is_none(), "{what}");
        assert_eq!(worker.run().outcome(), &Outcome::Exited(errno), "{what}, again");
    }
}

#[test]
fn a_shape_whose_product_overflows_is_too_large() {
    // 16 free dimensions of 2^32 - 1.
    let mut info = model();
    info.inputs[0].dims = None;
    let dims = "\\ff".repeat(64);
    let text = format!(
        r#"(module {IMPORTS} (memory (export "memory") 1) {DATA} (data (i32.const 1000) "{dims}")
        (func (export "_start") {OPENED} (i32.store (i32.const 400) (i32.const 1000)) (i32.store (i32.const 404) (i32.const 16))
        (call $exit (call $set (i32.load (i32.const 12)) (i32.const 0) (i32.const 400)))))"#
    );
    let run = Plan::new(compile(&text)).graph("vad", info, REGION).start().run();
    assert_eq!(run.outcome(), &Outcome::Exited(7));
}

#[test]
fn a_short_buffer_gets_the_length_that_would_do() {
    let text = guest(&format!(
        "{OPENED} {SET} (drop (call $compute (i32.load (i32.const 12)))) \
         (drop (call $get (i32.load (i32.const 12)) (i32.const 0) (i32.const 500) (i32.const 15) (i32.const 16))) \
         (call $exit (i32.add (i32.mul (i32.const 100) (call $get (i32.load (i32.const 12)) (i32.const 0) (i32.const 500) (i32.const 15) (i32.const 16))) (i32.load (i32.const 16))))"
    ));
    assert_eq!(run_against(&text, doubling).0.outcome(), &Outcome::Exited(716));
}

#[test]
fn what_the_host_refuses_the_guest_is_told() {
    let refuse = |compute: &Compute, _: &SharedMemory| {
        Some(Reply::Failed { seq: compute.seq, error: NnError { code: NnCode::InvalidArgument, message: "input 1 is missing".into() } })
    };
    let run = run_against(&exits("(call $compute (i32.load (i32.const 12)))"), refuse).0;
    assert_eq!(run.outcome(), &Outcome::Exited(1));
    assert_eq!(run.calls("compute")[0].record.outcome, Recorded::Error);
}

/// What a host that was taken over may answer: each costs the guest one error and leaks nothing.
#[test]
fn impossible_answers_of_a_host_are_refused() {
    let answer = |change: fn(&mut Placed)| {
        move |compute: &Compute, _: &SharedMemory| {
            let mut placed = Placed { index: 0, ty: TensorType::Fp32, dims: vec![1, 4], offset: REGION / 2, len: 16 };
            change(&mut placed);
            Some(Reply::Computed { seq: compute.seq, outputs: vec![placed], engine_ns: 0 })
        }
    };
    let cases: [(&str, fn(&mut Placed)); 7] = [
        ("in the half of the inputs", |placed| placed.offset = 0),
        ("across the halves", |placed| placed.offset = REGION / 2 - 1),
        ("beyond the region", |placed| placed.offset = REGION - 8),
        ("an offset that overflows", |placed| placed.offset = u64::MAX - 4),
        ("a length that is not the shape's", |placed| placed.len = 32),
        ("a shape that overflows", |placed| placed.dims = vec![u32::MAX; 8]),
        ("too many dimensions", |placed| placed.dims = vec![1; 17]),
    ];
    for (what, change) in cases {
        let run = run_against(&exits("(call $compute (i32.load (i32.const 12)))"), answer(change)).0;
        assert_eq!(run.outcome(), &Outcome::Exited(5), "{what}");
    }
    let many = |compute: &Compute, _: &SharedMemory| {
        let placed = Placed { index: 0, ty: TensorType::U8, dims: vec![1], offset: REGION / 2, len: 1 };
        Some(Reply::Computed { seq: compute.seq, outputs: vec![placed; 65], engine_ns: 0 })
    };
    assert_eq!(run_against(&exits("(call $compute (i32.load (i32.const 12)))"), many).0.outcome(), &Outcome::Exited(5));
}

#[test]
fn garbage_from_a_host_costs_one_error() {
    let mut worker = plan(&exits("(call $compute (i32.load (i32.const 12)))")).start();
    let host = worker.hosts.remove(0);
    std::thread::spawn(move || {
        while host.channel.recv::<Compute>().is_ok() {
            rustix::net::send(&host.channel, &[0xff; 900], rustix::net::SendFlags::NOSIGNAL).unwrap();
        }
    });
    assert_eq!(worker.run().outcome(), &Outcome::Exited(5));
}

#[test]
fn a_host_that_dies_costs_one_error_until_it_is_renewed() {
    let (run, mut worker) = run_against(&inference(), |_, _| None);
    assert_eq!(run.outcome(), &Outcome::Exited(1));
    assert_eq!(run.calls("compute")[0].record.errno, 5);
    assert_eq!(worker.run().outcome(), &Outcome::Exited(1));
    worker.renew(0, REGION).remove(0).serve(doubling);
    assert_eq!(worker.run().outcome(), &Outcome::Exited(40));
}

#[test]
fn a_host_that_is_silent_at_a_deadline_ends_the_guest_and_is_left_to_its_neighbours() {
    let mut worker = plan(&inference()).limits(|limits| limits.deadline = Duration::from_millis(150)).start();
    let host = worker.hosts.remove(0);
    let run = worker.run();
    assert_eq!((run.outcome(), run.stalled.as_slice()), (&Outcome::Limit(Limit::Deadline), [].as_slice()));
    assert_eq!(run.calls("compute")[0].record.outcome, Recorded::Limit);
    drop(host);
    worker.renew(0, REGION).remove(0).serve(doubling);
    assert_eq!(worker.run().outcome(), &Outcome::Exited(40));
}

#[test]
fn a_compute_beyond_the_graph_s_own_deadline_is_an_error_that_the_guest_goes_on_with() {
    // Exits with the errno of its first compute, after a second one that is in time.
    let text = guest(&format!(
        "{OPENED} {SET} (i32.store (i32.const 600) (call $compute (i32.load (i32.const 12)))) \
         (if (call $compute (i32.load (i32.const 12))) (then (call $exit (i32.const 99)))) (call $exit (i32.load (i32.const 600)))"
    ));
    let mut plan = plan(&text);
    plan.compute_deadline = Some(Duration::from_millis(100));
    let mut worker = plan.start();
    let mut first = true;
    worker.hosts.remove(0).serve(move |compute, region| {
        if std::mem::take(&mut first) {
            std::thread::sleep(Duration::from_millis(150));
        }
        doubling(compute, region)
    });
    let run = worker.run();
    // `runtime-error`: wasi-nn for core modules has no number for a timeout.
    assert_eq!((run.outcome(), run.stalled.as_slice()), (&Outcome::Exited(5), [].as_slice()), "{:?}", run.records);
}

#[test]
fn a_late_answer_is_not_taken_for_another() {
    // The first compute is answered after its invocation is over, and with a poisoned value.
    let mut first = true;
    let slow = move |compute: &Compute, region: &SharedMemory| {
        if std::mem::take(&mut first) {
            std::thread::sleep(Duration::from_millis(400));
            let outputs = vec![Placed { index: 0, ty: TensorType::Fp32, dims: vec![1, 4], offset: REGION / 2, len: 16 }];
            return Some(Reply::Computed { seq: compute.seq, outputs, engine_ns: 0 });
        }
        doubling(compute, region)
    };
    let mut worker = plan(&inference()).limits(|limits| limits.deadline = Duration::from_millis(300)).start();
    worker.hosts.remove(0).serve(slow);
    assert_eq!(worker.run().outcome(), &Outcome::Limit(Limit::Deadline));
    assert_eq!(worker.run().outcome(), &Outcome::Exited(40));
}

#[test]
fn contexts_of_one_graph_keep_their_tensors_apart() {
    // Two contexts, inputs 1.. and 2..; computes with the first after the second was set, then reads both.
    let start = "(drop (call $by_name (i32.const 100) (i32.const 3) (i32.const 8))) \
        (drop (call $init (i32.const 0) (i32.const 12))) (drop (call $init (i32.const 0) (i32.const 20))) \
        (drop (call $set (i32.load (i32.const 12)) (i32.const 0) (i32.const 400))) \
        (f32.store (i32.const 300) (f32.const 3)) \
        (drop (call $set (i32.load (i32.const 20)) (i32.const 0) (i32.const 400))) \
        (drop (call $compute (i32.load (i32.const 12)))) \
        (drop (call $compute (i32.load (i32.const 20)))) \
        (drop (call $get (i32.load (i32.const 12)) (i32.const 0) (i32.const 500) (i32.const 16) (i32.const 16))) \
        (drop (call $get (i32.load (i32.const 20)) (i32.const 0) (i32.const 600) (i32.const 16) (i32.const 16))) \
        (call $exit (i32.trunc_f32_s (f32.add (f32.mul (f32.load (i32.const 500)) (f32.const 10)) (f32.load (i32.const 600)))))";
    assert_eq!(run_against(&guest(start), doubling).0.outcome(), &Outcome::Exited(26));
}

#[test]
fn contexts_without_end_are_refused() {
    let start = "(drop (call $by_name (i32.const 100) (i32.const 3) (i32.const 8))) \
        (loop $l (br_if $l (i32.eqz (call $init (i32.const 0) (i32.const 12))))) (call $exit (i32.load (i32.const 12)))";
    assert_eq!(plan(&guest(start)).start().run().outcome(), &Outcome::Exited(31));
}

#[test]
fn inputs_of_changing_size_fit_as_long_as_they_fit_together() {
    // Input 1 has a free dimension: it grows from 8 bytes by 8 until it no longer fits the region's half; exits with the errno.
    let text = format!(
        r#"(module {IMPORTS} (memory (export "memory") 2) {DATA} (func (export "_start") (local $n i32) {OPENED} {SET}
        (i32.store (i32.const 404) (i32.const 1)) (i32.store8 (i32.const 408) (i32.const 5))
        (loop $l (local.set $n (i32.add (local.get $n) (i32.const 100)))
            (i32.store (i32.const 200) (local.get $n)) (i32.store (i32.const 416) (i32.mul (local.get $n) (i32.const 8)))
            (br_if $l (i32.eqz (call $set (i32.load (i32.const 12)) (i32.const 1) (i32.const 400)))))
        (call $exit (local.get $n))))"#
    );
    // 32 KiB less the first input's 64 bytes: 4088 elements fit.
    assert_eq!(plan(&text).start().run().outcome(), &Outcome::Exited(4100));
}
