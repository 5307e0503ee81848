//! Language models for components: `edgeguard:language@0.1.0` from a guest to a host that the test plays, in real processes.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod common;

use std::path::Path;

use common::Native;
use common::Plan;
use common::Run;
use common::parrot;
use common::parrot::Parrot;
use common::try_compile;
use edgeguard_audit::Outcome as Recorded;
use edgeguard_wire::worker::Outcome;
use wasi_preview1_component_adapter_provider::WASI_SNAPSHOT_PREVIEW1_ADAPTER_NAME;
use wasi_preview1_component_adapter_provider::WASI_SNAPSHOT_PREVIEW1_COMMAND_ADAPTER;

const REGION: u64 = 64 << 10;
const HALF: u64 = REGION / 2;

/// A core module with the interface's types embedded as `wit-bindgen` would. Its name lies at 100, its options at 10000, its prompt at 20000; what a call
/// gives lies at 16: whether it failed, then at 20 the value, or the error's code (and its message at 24). `$want` traps unless its two arguments are the same.
fn guest(name: &str, options: &str, prompt: &str, start: &str) -> Native {
    let hex = |text: &str| text.bytes().map(|byte| format!("\\{byte:02x}")).collect::<String>();
    let text = format!(
        r#"(module
        (import "edgeguard:language/models@0.1.0" "[static]model.open" (func $open (param i32 i32 i32 i32 i32)))
        (import "edgeguard:language/models@0.1.0" "[method]model.prompt" (func $prompt (param i32 i32 i32 i32)))
        (import "edgeguard:language/models@0.1.0" "[method]model.next-piece" (func $next (param i32 i32)))
        (import "edgeguard:language/models@0.1.0" "[method]model.embedding" (func $embedding (param i32 i32)))
        (import "edgeguard:language/models@0.1.0" "[method]model.usage" (func $usage (param i32 i32)))
        (import "edgeguard:language/models@0.1.0" "[resource-drop]model" (func $drop (param i32)))
        (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
        (memory (export "memory") 8)
        (global $at (mut i32) (i32.const 40000))
        (func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32)
            (local $here i32)
            (local.set $here (global.get $at))
            (global.set $at (i32.and (i32.add (i32.add (local.get $here) (local.get 3)) (i32.const 15)) (i32.const -16)))
            (local.get $here))
        (data (i32.const 100) "{}") (data (i32.const 10000) "{}") (data (i32.const 20000) "{}")
        (func $want (param i32 i32) (if (i32.ne (local.get 0) (local.get 1)) (then unreachable)))
        (func $opens (call $open (i32.const 100) (i32.const {}) (i32.const 10000) (i32.const {}) (i32.const 16)))
        (func $asks (call $prompt (i32.const 1) (i32.const 20000) (i32.const {}) (i32.const 16)))
        (func $ok (call $want (i32.load8_u (i32.const 16)) (i32.const 0)))
        (func $fails (param $code i32)
            (call $want (i32.load8_u (i32.const 16)) (i32.const 1)) (call $want (i32.load8_u (i32.const 20)) (local.get $code)))
        (func $say (param i32 i32) (i32.store (i32.const 60) (local.get 0)) (i32.store (i32.const 64) (local.get 1))
            (drop (call $write (i32.const 1) (i32.const 60) (i32.const 1) (i32.const 68))))
        (func $stream (loop $more
            (call $next (i32.const 1) (i32.const 16)) (call $ok)
            (if (i32.load8_u (i32.const 20)) (then (call $say (i32.load (i32.const 24)) (i32.load (i32.const 28))) (br $more)))))
        (func (export "_start") {start}))"#,
        hex(name),
        hex(options),
        hex(prompt),
        name.len(),
        options.len(),
        prompt.len(),
    );
    let mut core = wat::parse_str(text).unwrap();
    let mut resolve = wit_parser::Resolve::default();
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../guest-sdk/wit/language.wit");
    let package = resolve.push_str(&path, &std::fs::read_to_string(&path).unwrap()).unwrap();
    let world = resolve.select_world(&[package], Some("guest")).unwrap();
    wit_component::embed_component_metadata(&mut core, &resolve, world, wit_component::StringEncoding::UTF8, false).unwrap();
    let wasm = wit_component::ComponentEncoder::default()
        .module(&core)
        .and_then(|encoder| encoder.adapter(WASI_SNAPSHOT_PREVIEW1_ADAPTER_NAME, WASI_SNAPSHOT_PREVIEW1_COMMAND_ADAPTER))
        .and_then(|encoder| encoder.encode())
        .unwrap();
    try_compile(&wasm).unwrap()
}

/// Runs it with a parrot to its good end.
#[track_caller]
fn run(parrot: Parrot, native: Native) -> Run {
    let mut worker = Plan::new(native).language("chat", parrot::model(), REGION).start();
    parrot.serve(worker.hosts.remove(0), HALF);
    let run = worker.run();
    assert_eq!(run.outcome(), &Outcome::Exited(0), "{:?}", run.records.iter().map(common::Seen::call).collect::<Vec<_>>());
    run
}

/// The codes of the interface, in its order.
const NOT_FOUND: u8 = 0;
const SECURITY: u8 = 1;
const INVALID_ARGUMENT: u8 = 2;
const BUSY: u8 = 4;
const PROMPT_TOO_LONG: u8 = 5;

#[test]
fn a_prompt_is_answered_piece_by_piece_and_every_call_recorded() {
    let start = "(call $opens) (call $ok) (call $asks) (call $ok) (call $stream) (call $usage (i32.const 1) (i32.const 16)) (call $ok) \
        (call $want (i32.load (i32.const 20)) (i32.const 3)) (call $want (i32.load (i32.const 28)) (i32.const 64)) (call $drop (i32.const 1))";
    let run = run(Parrot::default(), guest("chat", "{\"temp\":0}", "one two end", start));
    // The parrot's last word is the mark of its end.
    assert_eq!(run.output, b"one two ");
    let calls = run.records.iter().map(common::Seen::call).filter(|call| call.starts_with("edgeguard:")).collect::<Vec<_>>();
    let names = ["[static]model.open", "[method]model.prompt"].into_iter().chain(["[method]model.next-piece"; 3]);
    let names = names.chain(["[method]model.usage", "[resource-drop]model"]);
    assert_eq!(calls, names.map(|name| format!("edgeguard:language/models.{name}")).collect::<Vec<_>>());
    let ours = run.records.iter().filter(|seen| seen.call().starts_with("edgeguard:"));
    assert!(ours.clone().all(|seen| seen.record.rule == 0x100 && seen.record.outcome == Recorded::Ok));
    assert_eq!(ours.map(|seen| (seen.record.n_in, seen.record.n_out)).collect::<Vec<_>>()[..3], [(10, 0), (11, 0), (0, 4)]);
}

#[test]
fn a_full_context_gives_its_last_piece_and_then_the_end() {
    let start = "(call $opens) (call $ok) (call $asks) (call $ok) (call $stream)";
    // Five words of a prompt and four of the answer.
    let full = run(Parrot::default(), guest("chat", "{\"ctx-size\":9}", "a b c d e", start));
    assert_eq!(full.output, b"a b c d ");
}

#[test]
fn an_option_that_names_something_of_the_host_is_denied_to_a_component_too_and_recorded_by_its_name() {
    let start = format!("(call $opens) (call $fails (i32.const {SECURITY}))");
    let run = run(Parrot::default(), guest("chat", "{\"temp\":0,\"hf-token\":\"x\"}", "", &start));
    let denied = run.calls("[static]model.open")[0];
    assert_eq!((denied.record.outcome, denied.text.as_deref()), (Recorded::Denied, Some("chat\0hf-token")));
}

#[test]
fn a_language_model_that_is_not_granted_is_denied_to_a_component() {
    let start = format!("(call $opens) (call $fails (i32.const {NOT_FOUND}))");
    let other = run(Parrot::default(), guest("chatter", "", "", &start));
    let denied = other.calls("[static]model.open")[0];
    assert_eq!((denied.record.outcome, denied.text.as_deref()), (Recorded::Denied, Some("chatter")));
}

#[test]
fn an_embedding_comes_as_numbers_and_only_where_it_was_asked_for() {
    let start = "(call $opens) (call $ok) (call $asks) (call $ok) (call $embedding (i32.const 1) (i32.const 16)) (call $ok) \
        (call $want (i32.load (i32.const 24)) (i32.const 3)) \
        (call $want (i32.trunc_f32_s (f32.load (i32.load (i32.const 20)))) (i32.const 2))";
    run(Parrot::default(), guest("chat", "{\"embedding\":true}", "abca", start));
    let start = format!(
        "(call $opens) (call $ok) (call $asks) (call $ok) (call $embedding (i32.const 1) (i32.const 16)) (call $fails (i32.const {INVALID_ARGUMENT}))"
    );
    run(Parrot::default(), guest("chat", "", "abca", &start));
}

#[test]
fn full_models_and_long_prompts_are_told_by_codes_of_their_own() {
    let busy = format!("(call $opens) (call $ok) (call $asks) (call $fails (i32.const {BUSY}))");
    run(Parrot { contexts: 0, ..Parrot::default() }, guest("chat", "", "hello", &busy));
    let long = format!(
        "(call $opens) (call $ok) (call $asks) (call $ok) (call $next (i32.const 1) (i32.const 16)) (call $fails (i32.const {PROMPT_TOO_LONG}))"
    );
    run(Parrot::default(), guest("chat", "", &"word ".repeat(100), &long));
}

#[test]
fn a_piece_before_any_prompt_is_a_wrong_call() {
    let start = format!("(call $opens) (call $ok) (call $next (i32.const 1) (i32.const 16)) (call $fails (i32.const {INVALID_ARGUMENT}))");
    run(Parrot::default(), guest("chat", " ", "", &start));
}
