//! Components with WASI 0.2 and `wasi:nn`, in real processes. The components are made as toolchains make them: a core module and the
//! standard adapter.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod common;

use std::path::Path;
use std::time::Duration;

use common::Native;
use common::Plan;
use common::try_compile;
use edgeguard_audit::Outcome as Recorded;
use edgeguard_sandbox::Access;
use edgeguard_sandbox::SharedMemory;
use edgeguard_wire::graph::ModelInfo;
use edgeguard_wire::graph::TensorInfo;
use edgeguard_wire::tensor::Compute;
use edgeguard_wire::tensor::Placed;
use edgeguard_wire::tensor::Reply;
use edgeguard_wire::tensor::TensorType;
use edgeguard_wire::worker::Limit;
use edgeguard_wire::worker::ModuleKind;
use edgeguard_wire::worker::Outcome;
use wasi_preview1_component_adapter_provider::WASI_SNAPSHOT_PREVIEW1_ADAPTER_NAME;
use wasi_preview1_component_adapter_provider::WASI_SNAPSHOT_PREVIEW1_COMMAND_ADAPTER;

fn component(core: &[u8]) -> Native {
    let wasm = wit_component::ComponentEncoder::default()
        .module(core)
        .and_then(|encoder| encoder.adapter(WASI_SNAPSHOT_PREVIEW1_ADAPTER_NAME, WASI_SNAPSHOT_PREVIEW1_COMMAND_ADAPTER))
        .and_then(|encoder| encoder.encode())
        .unwrap();
    let native = try_compile(&wasm).unwrap();
    assert_eq!(native.kind, ModuleKind::Component);
    native
}

/// A core module by the names of preview 1, made a component.
fn adapted(imports: &str, rest: &str, start: &str) -> Native {
    let text = format!(r#"(module {imports} (memory (export "memory") 1) {rest} (func (export "_start") {start}))"#);
    component(&wat::parse_str(text).unwrap())
}

const WRITE: &str = r#"(import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))"#;
const READ: &str = r#"(import "wasi_snapshot_preview1" "fd_read" (func $read (param i32 i32 i32 i32) (result i32)))"#;
const OPEN: &str = r#"(import "wasi_snapshot_preview1" "path_open" (func $open (param i32 i32 i32 i32 i32 i64 i64 i32 i32) (result i32)))"#;
const CLOSE: &str = r#"(import "wasi_snapshot_preview1" "fd_close" (func $close (param i32) (result i32)))"#;
const EXIT: &str = r#"(import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))"#;
const POLL: &str = r#"(import "wasi_snapshot_preview1" "poll_oneoff" (func $poll (param i32 i32 i32 i32) (result i32)))"#;

#[test]
fn a_component_writes_and_its_calls_are_recorded() {
    let data = r#"(data (i32.const 0) "\10\00\00\00\06\00\00\00") (data (i32.const 16) "hello\n")"#;
    let start = "(drop (call $write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 8)))";
    let mut worker = Plan::new(adapted(WRITE, data, start)).start();
    for _ in 0..2 {
        let run = worker.run();
        assert_eq!((run.outcome(), run.output.as_slice()), (&Outcome::Exited(0), b"hello\n".as_slice()));
        let writes = run.calls("[method]output-stream.blocking-write-and-flush");
        assert_eq!(writes.iter().map(|seen| seen.record.n_in).collect::<Vec<_>>(), [6]);
        // From the recorder, not from a definition of ours.
        assert_eq!(run.calls("get-stdout").len(), 1);
        assert_eq!(run.calls("get-stdout")[0].record.outcome, Recorded::Ok);
    }
}

#[test]
fn a_component_reads_its_input() {
    let data = r#"(data (i32.const 0) "\00\01\00\00\00\10\00\00")"#;
    let start = "(loop $again \
        (drop (call $read (i32.const 0) (i32.const 0) (i32.const 1) (i32.const 8))) \
        (if (i32.load (i32.const 8)) (then \
            (i32.store (i32.const 16) (i32.const 256)) (i32.store (i32.const 20) (i32.load (i32.const 8))) \
            (drop (call $write (i32.const 1) (i32.const 16) (i32.const 1) (i32.const 12))) (br $again))))";
    let mut worker = Plan::new(adapted(&format!("{WRITE}{READ}"), data, start)).start();
    let input: Vec<u8> = (0..100_000u32).map(|i| (i % 251) as u8).collect();
    let run = worker.run_with(&input);
    assert_eq!((run.outcome(), run.output == input), (&Outcome::Exited(0), true));
    let read: u64 = run.calls("[method]input-stream.blocking-read").iter().map(|seen| u64::from(seen.record.n_out)).sum();
    assert_eq!(read, 100_000);
}

#[test]
fn exit_codes_and_traps_are_outcomes() {
    assert_eq!(Plan::new(adapted(EXIT, "", "(call $exit (i32.const 0))")).start().run().outcome(), &Outcome::Exited(0));
    assert_eq!(Plan::new(adapted(EXIT, "", "(call $exit (i32.const 1))")).start().run().outcome(), &Outcome::Exited(1));
    assert!(matches!(Plan::new(adapted("", "", "unreachable")).start().run().outcome(), Outcome::Trapped(_)));
}

/// Opens `path` below the first directory and exits with 0 or 1.
fn opens(path: &str, flags: &str) -> Native {
    let len = path.len();
    let call = format!(
        "(call $open (i32.const 3) (i32.const 1) (i32.const 100) (i32.const {len}) (i32.const {flags}) (i64.const 2) (i64.const 0) (i32.const 0) (i32.const 8))"
    );
    adapted(
        &format!("{OPEN}{EXIT}"),
        &format!(r#"(data (i32.const 100) "{path}")"#),
        &format!("(call $exit (i32.ne {call} (i32.const 0)))"),
    )
}

#[test]
fn a_granted_file_opens_and_its_record_names_rule_and_path() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("in.txt"), "content").unwrap();
    let run = Plan::new(opens("in.txt", "0")).dir(dir.path(), "/data", Access::Read).start().run();
    assert_eq!(run.outcome(), &Outcome::Exited(0));
    let open = run.calls("[method]descriptor.open-at")[0];
    assert_eq!((open.text.as_deref(), open.record.rule, open.record.outcome), (Some("in.txt"), 1, Recorded::Ok));
    assert!(run.records.iter().any(|seen| seen.call() == "wasi:filesystem/preopens.get-directories"));
}

#[test]
fn a_path_outside_the_grant_is_denied_and_recorded() {
    let dir = tempfile::tempdir().unwrap();
    let run = Plan::new(opens("../outside", "0")).dir(dir.path(), "/data", Access::Read).start().run();
    assert_eq!(run.outcome(), &Outcome::Exited(1));
    let open = run.calls("[method]descriptor.open-at")[0];
    assert_eq!((open.text.as_deref(), open.record.rule, open.record.outcome), (Some("../outside"), 1, Recorded::Denied));
}

#[test]
fn a_path_operation_that_only_the_bindings_announce_has_its_path() {
    let dir = tempfile::tempdir().unwrap();
    let import = r#"(import "wasi_snapshot_preview1" "path_create_directory" (func $mkdir (param i32 i32 i32) (result i32)))"#;
    let make = |path: &str| {
        let start = format!("(call $exit (i32.ne (call $mkdir (i32.const 3) (i32.const 100) (i32.const {})) (i32.const 0)))", path.len());
        adapted(&format!("{import}{EXIT}"), &format!(r#"(data (i32.const 100) "{path}")"#), &start)
    };
    let run = Plan::new(make("new")).dir(dir.path(), "/data", Access::ReadWrite).start().run();
    assert_eq!(run.outcome(), &Outcome::Exited(0));
    let record = run.calls("[method]descriptor.create-directory-at")[0];
    assert_eq!((record.text.as_deref(), record.record.rule, record.record.outcome), (Some("new"), 1, Recorded::Ok));
    assert!(dir.path().join("new").is_dir());

    let run = Plan::new(make("../new")).dir(dir.path(), "/data", Access::Read).start().run();
    let record = run.calls("[method]descriptor.create-directory-at")[0];
    assert_eq!((record.text.as_deref(), record.record.outcome), (Some("../new"), Recorded::Denied));
}

#[test]
fn open_files_beyond_their_limit_end_the_component() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("f"), "").unwrap();
    let open = "(drop (call $open (i32.const 3) (i32.const 1) (i32.const 100) (i32.const 1) (i32.const 0) (i64.const 2) (i64.const 0) (i32.const 0) (i32.const 8)))";
    let data = r#"(data (i32.const 100) "f")"#;
    let run = Plan::new(adapted(OPEN, data, &format!("(loop $l {open} (br $l))"))).dir(dir.path(), "/d", Access::Read).start().run();
    assert_eq!(run.outcome(), &Outcome::Limit(Limit::OpenFiles));

    let closing = format!(
        "(local $n i32) (loop $l {open} (drop (call $close (i32.load (i32.const 8)))) (local.set $n (i32.add (local.get $n) (i32.const 1))) (br_if $l (i32.lt_u (local.get $n) (i32.const 50))))"
    );
    let run = Plan::new(adapted(&format!("{OPEN}{CLOSE}"), data, &closing)).dir(dir.path(), "/d", Access::Read).start().run();
    assert_eq!(run.outcome(), &Outcome::Exited(0));
    assert_eq!(run.calls("[resource-drop]descriptor").len(), 50);
}

#[test]
fn a_file_is_read_and_polled_through_its_stream() {
    // Polls a file for reading, which makes WASI read ahead on its helper thread, then reads it.
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("f"), "content").unwrap();
    let start = "(drop (call $open (i32.const 3) (i32.const 1) (i32.const 100) (i32.const 1) (i32.const 0) (i64.const 2) (i64.const 0) (i32.const 0) (i32.const 8))) \
        (i32.store8 (i32.const 208) (i32.const 1)) (i32.store (i32.const 216) (i32.load (i32.const 8))) \
        (drop (call $poll (i32.const 200) (i32.const 300) (i32.const 1) (i32.const 400))) \
        (i32.store (i32.const 0) (i32.const 500)) (i32.store (i32.const 4) (i32.const 64)) \
        (drop (call $read (i32.load (i32.const 8)) (i32.const 0) (i32.const 1) (i32.const 12))) \
        (call $exit (i32.ne (i32.load (i32.const 12)) (i32.const 7)))";
    let imports = format!("{OPEN}{POLL}{READ}{EXIT}");
    let native = adapted(&imports, r#"(data (i32.const 100) "f")"#, start);
    let run = Plan::new(native).dir(dir.path(), "/d", Access::Read).start().run();
    assert_eq!(run.outcome(), &Outcome::Exited(0), "{:?}", run.records.iter().map(common::Seen::call).collect::<Vec<_>>());
}

#[test]
fn a_component_ends_at_its_deadline_wherever_it_is() {
    let deadline = Duration::from_millis(100);
    let reads = "(drop (call $read (i32.const 0) (i32.const 0) (i32.const 1) (i32.const 8)))";
    let data = r#"(data (i32.const 0) "\00\01\00\00\00\10\00\00")"#;
    let sleeps = "(drop (call $poll (i32.const 200) (i32.const 300) (i32.const 1) (i32.const 400)))";
    let hour = r#"(data (i32.const 224) "\00\00\c1\6f\f2\86\23\00")"#;
    for native in [adapted("", "", "(loop $l (br $l))"), adapted(READ, data, reads), adapted(POLL, hour, sleeps)] {
        let mut worker = Plan::new(native).limits(|limits| limits.deadline = deadline).start();
        let started = worker.begin();
        assert_eq!(worker.end(started).outcome(), &Outcome::Limit(Limit::Deadline));
        let started = worker.begin();
        let again = worker.end(started);
        assert_eq!(again.outcome(), &Outcome::Limit(Limit::Deadline));
    }
}

#[test]
fn memory_and_output_of_a_component_are_limited() {
    let run = Plan::new(adapted("", "", "(drop (memory.grow (i32.const 5000)))")).start().run();
    assert_eq!(run.outcome(), &Outcome::Limit(Limit::Memory));
    let data = r#"(data (i32.const 0) "\10\00\00\00\00\10\00\00")"#;
    let start = "(loop $l (drop (call $write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 8))) (br $l))";
    let run = Plan::new(adapted(WRITE, data, start)).limits(|limits| limits.output = 10_000).start().run();
    assert_eq!((run.outcome(), run.output.len()), (&Outcome::Limit(Limit::Output), 10_000));
}

// wasi:nn, by the canonical ABI.

const REGION: u64 = 64 << 10;

fn model() -> ModelInfo {
    let tensor = |name: &str| TensorInfo { name: name.into(), ty: Some(TensorType::Fp32), dims: Some(vec![Some(1), Some(4)]) };
    ModelInfo { inputs: vec![tensor("x")], outputs: vec![tensor("y")] }
}

fn doubling(compute: &Compute, region: &SharedMemory) -> Option<Reply> {
    let input = &compute.inputs[0];
    let mut bytes = vec![0; input.len as usize];
    region.read(input.offset as usize, &mut bytes).unwrap();
    let doubled: Vec<u8> = bytes.chunks(4).flat_map(|four| (f32::from_le_bytes(four.try_into().unwrap()) * 2.0).to_le_bytes()).collect();
    region.write((REGION / 2) as usize, &doubled).unwrap();
    let outputs = vec![Placed { index: 0, ty: TensorType::Fp32, dims: input.dims.clone(), offset: REGION / 2, len: input.len }];
    Some(Reply::Computed { seq: compute.seq, outputs, engine_ns: 1234 })
}

/// A core module that imports `wasi:nn`, with the interface's types embedded as `wit-bindgen` would.
fn nn(start: &str) -> Native {
    let text = format!(
        r#"(module
        (import "wasi:nn/graph@0.2.0-rc-2024-10-28" "load-by-name" (func $by_name (param i32 i32 i32)))
        (import "wasi:nn/graph@0.2.0-rc-2024-10-28" "load" (func $load (param i32 i32 i32 i32 i32)))
        (import "wasi:nn/graph@0.2.0-rc-2024-10-28" "[method]graph.init-execution-context" (func $init (param i32 i32)))
        (import "wasi:nn/tensor@0.2.0-rc-2024-10-28" "[constructor]tensor" (func $tensor (param i32 i32 i32 i32 i32) (result i32)))
        (import "wasi:nn/tensor@0.2.0-rc-2024-10-28" "[method]tensor.data" (func $data (param i32 i32)))
        (import "wasi:nn/inference@0.2.0-rc-2024-10-28" "[method]graph-execution-context.compute" (func $compute (param i32 i32 i32 i32)))
        (import "wasi:nn/errors@0.2.0-rc-2024-10-28" "[method]error.code" (func $code (param i32) (result i32)))
        (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))
        (memory (export "memory") 2)
        (global $next (mut i32) (i32.const 4096))
        (func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32)
            (local $at i32)
            (local.set $at (global.get $next))
            (global.set $next (i32.and (i32.add (i32.add (local.get $at) (local.get 3)) (i32.const 15)) (i32.const -16)))
            (local.get $at))
        (data (i32.const 100) "vad") (data (i32.const 110) "x")
        (data (i32.const 200) "\01\00\00\00\04\00\00\00")
        (data (i32.const 300) "\00\00\80\3f\00\00\00\40\00\00\40\40\00\00\80\40")
        (func $fail (param i32) (if (local.get 0) (then unreachable)))
        (func (export "_start") {start}))"#
    );
    let mut core = wat::parse_str(text).unwrap();
    let mut resolve = wit_parser::Resolve::default();
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../guest-sdk/wit/wasi-nn.wit");
    let package = resolve.push_str(&path, &std::fs::read_to_string(&path).unwrap()).unwrap();
    let world = resolve.select_world(&[package], Some("ml")).unwrap();
    wit_component::embed_component_metadata(&mut core, &resolve, world, wit_component::StringEncoding::UTF8, false).unwrap();
    component(&core)
}

#[test]
fn an_inference_goes_there_and_back() {
    // Results lie at 16 (graph), 32 (context), 48 (outputs), 64 (data). The input is ("x", tensor) at 80.
    let start = "(call $by_name (i32.const 100) (i32.const 3) (i32.const 16)) (call $fail (i32.load8_u (i32.const 16))) \
        (call $init (i32.load (i32.const 20)) (i32.const 32)) (call $fail (i32.load8_u (i32.const 32))) \
        (i32.store (i32.const 80) (i32.const 110)) (i32.store (i32.const 84) (i32.const 1)) \
        (i32.store (i32.const 88) (call $tensor (i32.const 200) (i32.const 2) (i32.const 1) (i32.const 300) (i32.const 16))) \
        (call $compute (i32.load (i32.const 36)) (i32.const 80) (i32.const 1) (i32.const 48)) (call $fail (i32.load8_u (i32.const 48))) \
        (call $data (i32.load offset=8 (i32.load (i32.const 52))) (i32.const 64)) \
        (call $fail (f32.ne (f32.load offset=4 (i32.load (i32.const 64))) (f32.const 4)))";
    let mut worker = Plan::new(nn(start)).graph("vad", model(), REGION).start();
    worker.hosts.remove(0).serve(doubling);
    for _ in 0..2 {
        let run = worker.run();
        assert_eq!(run.outcome(), &Outcome::Exited(0), "{:?}", run.records.iter().map(common::Seen::call).collect::<Vec<_>>());
        let compute = run.calls("[method]graph-execution-context.compute")[0];
        assert_eq!((compute.record.rule, compute.record.n_in, compute.record.n_out), (0x100, 16, 16));
        assert_eq!(run.finished.timing.engine_ns, 1234);
    }
}

#[test]
fn a_model_from_bytes_and_another_graph_are_denied() {
    // `security` is 7, `not-found` 6.
    let load = "(call $load (i32.const 0) (i32.const 0) (i32.const 1) (i32.const 0) (i32.const 16)) \
        (call $fail (i32.ne (i32.load8_u (i32.const 16)) (i32.const 1))) \
        (call $fail (i32.ne (call $code (i32.load (i32.const 20))) (i32.const 7)))";
    let run = Plan::new(nn(load)).graph("vad", model(), REGION).start().run();
    assert_eq!(run.outcome(), &Outcome::Exited(0));
    assert_eq!(run.calls("load")[0].record.outcome, Recorded::Denied);

    let other = "(call $by_name (i32.const 100) (i32.const 2) (i32.const 16)) \
        (call $fail (i32.ne (i32.load8_u (i32.const 16)) (i32.const 1))) \
        (call $fail (i32.ne (call $code (i32.load (i32.const 20))) (i32.const 6)))";
    let run = Plan::new(nn(other)).graph("vad", model(), REGION).start().run();
    assert_eq!(run.outcome(), &Outcome::Exited(0));
    let load = run.calls("load-by-name")[0];
    assert_eq!((load.record.outcome, load.text.as_deref()), (Recorded::Denied, Some("va")));
}

#[test]
fn tensors_in_the_host_count_as_memory() {
    let start = "(loop $l (drop (call $tensor (i32.const 200) (i32.const 2) (i32.const 1) (i32.const 0) (i32.const 65536))) (br $l))";
    let run = Plan::new(nn(start)).graph("vad", model(), REGION).start().run();
    assert_eq!(run.outcome(), &Outcome::Limit(Limit::Memory));
}
