//! Language models from a guest to a host that the test plays, by the functions that existing guests call; and what hostile guests and hosts do.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod common;

use std::time::Duration;
use std::time::Instant;

use common::Plan;
use common::Run;
use common::Worker;
use common::compile;
use common::parrot;
use common::parrot::Parrot;
use edgeguard_audit::Outcome as Recorded;
use edgeguard_wire::language::Answer;
use edgeguard_wire::language::Ask;
use edgeguard_wire::language::End;
use edgeguard_wire::language::Request;
use edgeguard_wire::language::Said;
use edgeguard_wire::worker::Limit;
use edgeguard_wire::worker::Outcome;

const REGION: u64 = 64 << 10;
const HALF: u64 = REGION / 2;

/// `$say` writes what lies at 2000, as long as 16 says, to standard output. `$want` exits with its first argument if its second is not its third.
/// `$text` makes the tensor at 400 one over a text, with one dimension of 1 and type 2, as older guests do.
const BEGIN: &str = r#"(module
    (import "wasi_ephemeral_nn" "load_by_name" (func $by_name (param i32 i32 i32) (result i32)))
    (import "wasi_ephemeral_nn" "load_by_name_with_config" (func $with (param i32 i32 i32 i32 i32) (result i32)))
    (import "wasi_ephemeral_nn" "init_execution_context" (func $init (param i32 i32) (result i32)))
    (import "wasi_ephemeral_nn" "set_input" (func $set_input (param i32 i32 i32) (result i32)))
    (import "wasi_ephemeral_nn" "compute" (func $compute (param i32) (result i32)))
    (import "wasi_ephemeral_nn" "compute_single" (func $single (param i32) (result i32)))
    (import "wasi_ephemeral_nn" "get_output" (func $get_output (param i32 i32 i32 i32 i32) (result i32)))
    (import "wasi_ephemeral_nn" "get_output_single" (func $get_single (param i32 i32 i32 i32 i32) (result i32)))
    (import "wasi_ephemeral_nn" "fini_single" (func $fini (param i32) (result i32)))
    (import "wasi_ephemeral_nn" "unload" (func $unload (param i32) (result i32)))
    (import "wasi_ephemeral_nn" "finalize_execution_context" (func $close (param i32) (result i32)))
    (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
    (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))
    (memory (export "memory") 1)
    (data (i32.const 100) "chat") (data (i32.const 200) "\01\00\00\00")
    (func $want (param $code i32) (param $found i32) (param $wanted i32)
        (if (i32.ne (local.get $found) (local.get $wanted)) (then (call $exit (i32.add (i32.mul (local.get $code) (i32.const 1000)) (local.get $found))))))
    (func $text (param $at i32) (param $len i32)
        (i32.store (i32.const 400) (i32.const 200)) (i32.store (i32.const 404) (i32.const 1)) (i32.store8 (i32.const 408) (i32.const 77))
        (i32.store (i32.const 412) (local.get $at)) (i32.store (i32.const 416) (local.get $len)))
    (func $set (param $context i32) (param $index i32) (param $at i32) (param $len i32) (result i32)
        (call $text (local.get $at) (local.get $len))
        (call $set_input (local.get $context) (local.get $index) (i32.const 400)))
    (func $get (param $context i32) (param $index i32) (result i32)
        (call $get_output (local.get $context) (local.get $index) (i32.const 2000) (i32.const 8000) (i32.const 16)))
    (func $get1 (param $context i32) (param $index i32) (result i32)
        (call $get_single (local.get $context) (local.get $index) (i32.const 2000) (i32.const 8000) (i32.const 16)))
    (func $say (i32.store (i32.const 20) (i32.const 2000)) (i32.store (i32.const 24) (i32.load (i32.const 16)))
        (drop (call $write (i32.const 1) (i32.const 20) (i32.const 1) (i32.const 28))))
"#;

/// A guest with these texts: the configuration at 10000, the prompt at 20000.
fn guest(config: &str, prompt: &str, start: &str) -> String {
    let hex = |text: &str| text.bytes().map(|byte| format!("\\{byte:02x}")).collect::<String>();
    format!(
        r#"{BEGIN} (global $config i32 (i32.const {})) (global $prompt i32 (i32.const {}))
        (data (i32.const 10000) "{}") (data (i32.const 20000) "{}") (func (export "_start") {start}))"#,
        config.len(),
        prompt.len(),
        hex(config),
        hex(prompt)
    )
}

/// Loads with the configuration, opens context 0, sets the prompt.
const OPENED: &str = "\
    (call $want (i32.const 1) (call $with (i32.const 100) (i32.const 4) (i32.const 10000) (global.get $config) (i32.const 8)) (i32.const 0)) \
    (call $want (i32.const 2) (call $init (i32.load (i32.const 8)) (i32.const 12)) (i32.const 0)) \
    (call $want (i32.const 3) (call $set (i32.const 0) (i32.const 0) (i32.const 20000) (global.get $prompt)) (i32.const 0))";

/// Computes, wants this errno, and says the answer.
fn computes(errno: u32) -> String {
    format!(
        "{OPENED} (call $want (i32.const 4) (call $compute (i32.const 0)) (i32.const {errno})) \
        (call $want (i32.const 5) (call $get (i32.const 0) (i32.const 0)) (i32.const 0)) (call $say)"
    )
}

fn plan(text: &str) -> Plan {
    Plan::new(compile(text)).language("chat", parrot::model(), REGION)
}

fn run_with(parrot: Parrot, text: &str) -> (Run, Worker, std::sync::Arc<std::sync::Mutex<parrot::Diary>>) {
    let mut worker = plan(text).start();
    let diary = parrot.serve(worker.hosts.remove(0), HALF);
    (worker.run(), worker, diary)
}

/// Runs it to its good end, and gives what it said.
fn says(text: &str) -> String {
    let (run, _, diary) = run_with(Parrot::default(), text);
    assert_eq!(run.outcome(), &Outcome::Exited(0), "{:?}", run.records.iter().map(common::Seen::call).collect::<Vec<_>>());
    settled(&diary);
    String::from_utf8(run.output).unwrap()
}

/// The host has no context left: they end with the invocation.
fn settled(diary: &std::sync::Mutex<parrot::Diary>) {
    let until = Instant::now() + common::PATIENCE;
    while diary.lock().unwrap().open > 0 {
        assert!(Instant::now() < until, "contexts stay open: {:?}", diary.lock().unwrap().asked);
        std::thread::yield_now();
    }
}

#[test]
fn a_prompt_is_answered_and_every_call_recorded() {
    let (run, mut worker, diary) = run_with(Parrot::default(), &guest("{\"temp\":0}", "one two three", &computes(0)));
    assert_eq!((run.outcome(), run.output.as_slice()), (&Outcome::Exited(0), b"one two three".as_slice()));
    let names: Vec<String> = run.records.iter().take(5).map(common::Seen::call).collect();
    let expected = ["load_by_name_with_config", "init_execution_context", "set_input", "compute", "get_output"];
    assert_eq!(names, expected.map(|name| format!("wasi_ephemeral_nn.{name}")));
    assert!(run.records[..5].iter().all(|seen| seen.record.rule == 0x100 && seen.record.outcome == Recorded::Ok));
    assert_eq!((run.records[2].record.n_in, run.records[3].record.n_out, run.records[4].record.n_out), (13, 13, 13));
    assert!(run.finished.timing.engine_ns >= 60, "{:?}", run.finished.timing);
    settled(&diary);
    let asked = diary.lock().unwrap().asked.len();
    assert_eq!(asked, 7, "open, prompt, one step to read, three words, close: {:?}", diary.lock().unwrap().asked);
    // The next invocation opens its own context, over the same channel.
    assert_eq!(worker.run().output, b"one two three");
}

#[test]
fn n_predict_and_reverse_prompt_end_an_answer() {
    assert_eq!(says(&guest("{\"n-predict\":2}", "one two three", &computes(0))), "one two ");
    assert_eq!(says(&guest("{\"n-predict\":0}", "one two three", &computes(0))), "");
    assert_eq!(says(&guest("{\"n-predict\":-1}", "one two three", &computes(0))), "one two three");
    // It begins in one piece and ends in the next.
    assert_eq!(says(&guest("{\"reverse-prompt\":\"e tw\"}", "one two three", &computes(0))), "one two ");
}

#[test]
fn a_full_context_and_a_prompt_that_is_too_long_have_their_numbers() {
    // 8 tokens, 4 of which are the prompt's: three more fit, then the fourth fills it.
    assert_eq!(says(&guest("{\"ctx-size\":8}", "a b c d", &computes(101))), "a b c d");
    let long = "a ".repeat(61);
    let start = format!(
        "{OPENED} (call $want (i32.const 4) (call $compute (i32.const 0)) (i32.const 102)) (call $want (i32.const 6) (call $single (i32.const 0)) (i32.const 102)) \
        (call $want (i32.const 5) (call $get (i32.const 0) (i32.const 1)) (i32.const 0)) (call $say)"
    );
    assert!(says(&guest("{}", &long, &start)).contains("\"input_tokens\":61"));
    // A wish beyond what the policy allows gets what it allows, and is told.
    assert!(says(&guest("{\"ctx-size\":100000}", &long, &start)).contains("\"n_ctx\":64"));
}

#[test]
fn with_stream_stdout_an_answer_is_written_as_it_comes_and_can_be_had_besides() {
    assert_eq!(says(&guest("{\"stream-stdout\":true}", "one two three", &computes(0))), "one two threeone two three");
    assert_eq!(says(&guest("{\"stream-stdout\":true,\"n-predict\":2}", "one two three", &computes(0))), "one two one two ");
    assert_eq!(says(&guest("{\"stream-stdout\":false}", "one two three", &computes(0))), "one two three");
}

#[test]
fn what_an_answer_writes_counts_as_the_guests_own_output() {
    let text = guest("{\"stream-stdout\":true}", "one two three", &computes(0));
    let mut worker = plan(&text).limits(|limits| limits.output = 6).start();
    let _diary = Parrot::default().serve(worker.hosts.remove(0), HALF);
    let run = worker.run();
    assert_eq!((run.outcome(), run.output.as_slice()), (&Outcome::Limit(Limit::Output), b"one tw".as_slice()));
}

#[test]
fn a_schema_reaches_the_host_as_a_grammar() {
    let config = r#"{"json-schema":"{\"type\":\"boolean\"}"}"#;
    let (run, _, diary) = run_with(Parrot::default(), &guest(config, "one", &computes(0)));
    assert_eq!(run.outcome(), &Outcome::Exited(0));
    let asked = format!("{:?}", diary.lock().unwrap().asked);
    assert!(asked.contains("root ::= boolean"), "{asked}");
}

#[test]
fn an_answer_streams_token_by_token() {
    let start = format!(
        "(local $errno i32) {OPENED} (loop $next (local.set $errno (call $single (i32.const 0))) \
        (call $want (i32.const 5) (call $get1 (i32.const 0) (i32.const 0)) (i32.const 0)) (call $say) (br_if $next (i32.eqz (local.get $errno)))) \
        (call $want (i32.const 6) (local.get $errno) (i32.const 100)) \
        (call $want (i32.const 7) (call $get1 (i32.const 0) (i32.const 1)) (i32.const 0)) (call $say) \
        (call $want (i32.const 8) (call $fini (i32.const 0)) (i32.const 0)) \
        (call $want (i32.const 9) (call $get1 (i32.const 0) (i32.const 0)) (i32.const 1)) \
        (call $want (i32.const 10) (call $single (i32.const 0)) (i32.const 0)) \
        (call $want (i32.const 11) (call $get1 (i32.const 0) (i32.const 0)) (i32.const 0)) (call $say)"
    );
    let (run, _, diary) = run_with(Parrot::default(), &guest("{}", "one two three", &start));
    assert_eq!(run.outcome(), &Outcome::Exited(0));
    let said = String::from_utf8(run.output.clone()).unwrap();
    let metadata = said.strip_prefix("one two three").and_then(|rest| rest.strip_suffix("one ")).unwrap();
    let metadata: serde_json::Value = serde_json::from_str(metadata).unwrap();
    let expected =
        serde_json::json!({"input_tokens": 3, "output_tokens": 3, "llama_build_number": 4242, "llama_commit": "c0ffee\"", "n_ctx": 64});
    assert_eq!(metadata, expected);
    let singles: Vec<_> = run.calls("compute_single").iter().map(|seen| (seen.record.outcome, seen.record.errno)).collect();
    assert_eq!(singles, [(Recorded::Ok, 0), (Recorded::Ok, 0), (Recorded::Ok, 100), (Recorded::Ok, 0)]);
    settled(&diary);
}

#[test]
fn metadata_are_there_before_a_compute_and_a_short_buffer_gets_the_length() {
    let start = format!(
        "{OPENED} (call $want (i32.const 4) (call $get (i32.const 0) (i32.const 1)) (i32.const 0)) (call $say) \
        (call $want (i32.const 5) (call $get (i32.const 0) (i32.const 0)) (i32.const 1)) \
        (call $want (i32.const 6) (call $get_output (i32.const 0) (i32.const 1) (i32.const 2000) (i32.const 4) (i32.const 16)) (i32.const 7)) \
        (call $want (i32.const 7) (i32.gt_u (i32.load (i32.const 16)) (i32.const 80)) (i32.const 1)) \
        (call $want (i32.const 8) (call $get (i32.const 0) (i32.const 2)) (i32.const 1))"
    );
    let said = says(&guest("{}", "one two", &start));
    assert!(said.contains("\"input_tokens\":2") && said.contains("\"output_tokens\":0"), "{said}");
}

#[test]
fn a_text_is_embedded() {
    let said = says(&guest("{\"embedding\":true}", "abracadabra", &computes(0)));
    assert_eq!(said, r#"{"n_embedding": 3, "embedding": [5.0000000000,2.0000000000,1.0000000000]}"#);
    let start = format!("{OPENED} (call $want (i32.const 4) (call $single (i32.const 0)) (i32.const 1))");
    assert_eq!(says(&guest("{\"embedding\":true}", "a", &start)), "");
}

#[test]
fn a_later_configuration_is_input_1_and_begins_anew() {
    // Configuration set again: first a bound, then embeddings, then back.
    let start = format!(
        "{OPENED} (call $want (i32.const 4) (call $set (i32.const 0) (i32.const 1) (i32.const 10000) (global.get $config)) (i32.const 0)) \
        (call $want (i32.const 5) (call $compute (i32.const 0)) (i32.const 0)) (drop (call $get (i32.const 0) (i32.const 0))) (call $say) \
        (call $want (i32.const 6) (call $compute (i32.const 0)) (i32.const 0)) (drop (call $get (i32.const 0) (i32.const 0))) (call $say)"
    );
    assert_eq!(says(&guest("{\"n-predict\":1}", "one two", &start)), "one one ");
    let start = "(drop (call $by_name (i32.const 100) (i32.const 4) (i32.const 8))) (drop (call $init (i32.load (i32.const 8)) (i32.const 12))) \
        (drop (call $set (i32.const 0) (i32.const 0) (i32.const 20000) (global.get $prompt))) \
        (call $want (i32.const 4) (call $set (i32.const 0) (i32.const 1) (i32.const 10000) (global.get $config)) (i32.const 0)) \
        (call $want (i32.const 5) (call $compute (i32.const 0)) (i32.const 0)) (drop (call $get (i32.const 0) (i32.const 0))) (call $say)";
    assert!(says(&guest("{\"embedding\":true}", "abc", start)).starts_with("{\"n_embedding\": 3"));
}

#[test]
fn one_name_is_one_handle_with_its_first_configuration_until_it_is_unloaded() {
    // Loaded twice, the second time without a bound: the same handle, the first bound. After `unload` the new one holds, and the old context goes on.
    let start = "(drop (call $with (i32.const 100) (i32.const 4) (i32.const 10000) (global.get $config) (i32.const 8))) \
        (call $want (i32.const 1) (call $by_name (i32.const 100) (i32.const 4) (i32.const 40)) (i32.const 0)) \
        (call $want (i32.const 2) (i32.load (i32.const 40)) (i32.load (i32.const 8))) \
        (drop (call $init (i32.load (i32.const 40)) (i32.const 12))) \
        (drop (call $set (i32.const 0) (i32.const 0) (i32.const 20000) (global.get $prompt))) \
        (drop (call $compute (i32.const 0))) \
        (call $want (i32.const 3) (call $unload (i32.load (i32.const 8))) (i32.const 0)) \
        (drop (call $get (i32.const 0) (i32.const 0))) (call $say) \
        (call $want (i32.const 4) (call $by_name (i32.const 100) (i32.const 4) (i32.const 8)) (i32.const 0)) \
        (drop (call $init (i32.load (i32.const 8)) (i32.const 12))) \
        (drop (call $set (i32.const 1) (i32.const 0) (i32.const 20000) (global.get $prompt))) \
        (drop (call $compute (i32.const 1))) (drop (call $get (i32.const 1) (i32.const 0))) (call $say) \
        (drop (call $compute (i32.const 0))) (drop (call $get (i32.const 0) (i32.const 0))) (call $say)";
    assert_eq!(says(&guest("{\"n-predict\":1}", "one two", start)), "one one twoone ");
}

#[test]
fn an_option_that_names_something_of_the_host_is_denied_and_recorded_by_its_name() {
    for (config, key) in [("{\"mmproj\":\"/etc/shadow\"}", "mmproj"), ("{\"n-predict\":1,\"hf-token\":\"x\"}", "hf-token")] {
        let load = "(call $exit (call $with (i32.const 100) (i32.const 4) (i32.const 10000) (global.get $config) (i32.const 8)))";
        let (run, ..) = run_with(Parrot::default(), &guest(config, "", load));
        assert_eq!(run.outcome(), &Outcome::Exited(6));
        let seen = run.calls("load_by_name_with_config")[0];
        assert_eq!((seen.record.outcome, seen.text.clone().unwrap()), (Recorded::Denied, format!("chat\0{key}")));

        let set = "(drop (call $by_name (i32.const 100) (i32.const 4) (i32.const 8))) (drop (call $init (i32.load (i32.const 8)) (i32.const 12))) \
            (call $exit (call $set (i32.const 0) (i32.const 1) (i32.const 10000) (global.get $config)))";
        let (run, _, diary) = run_with(Parrot::default(), &guest(config, "", set));
        assert_eq!(run.outcome(), &Outcome::Exited(6));
        let seen = run.calls("set_input")[0];
        assert_eq!((seen.record.outcome, seen.text.as_deref(), seen.record.rule), (Recorded::Denied, Some(key), 0x100));
        assert!(diary.lock().unwrap().asked.is_empty());
    }
}

#[test]
fn wrong_calls_get_an_errno_and_reach_no_host() {
    let opened =
        "(drop (call $by_name (i32.const 100) (i32.const 4) (i32.const 8))) (drop (call $init (i32.load (i32.const 8)) (i32.const 12)))";
    let cases = [
        ("no prompt", "(call $compute (i32.const 0))", 1),
        ("no prompt, single", "(call $single (i32.const 0))", 1),
        ("no context", "(call $single (i32.const 7))", 1),
        ("no context, fini", "(call $fini (i32.const -1))", 1),
        ("no context, output", "(call $get1 (i32.const -1) (i32.const 0))", 1),
        ("no token yet", "(call $get1 (i32.const 0) (i32.const 0))", 1),
        ("no such input", "(call $set (i32.const 0) (i32.const 2) (i32.const 20000) (i32.const 1))", 1),
        ("a prompt out of bounds", "(call $set (i32.const 0) (i32.const 0) (i32.const 20000) (i32.const -1))", 1),
        ("a prompt that is not UTF-8", "(call $set (i32.const 0) (i32.const 0) (i32.const 10000) (i32.const 1))", 1),
        ("a prompt beyond the region", "(call $set (i32.const 0) (i32.const 0) (i32.const 20000) (i32.const 40000))", 7),
        ("no configuration", "(call $set (i32.const 0) (i32.const 1) (i32.const 20000) (i32.const 1))", 1),
        ("a buffer out of bounds", "(call $get_output (i32.const 0) (i32.const 1) (i32.const 60000) (i32.const 60000) (i32.const 16))", 1),
        ("a length out of bounds", "(call $get_single (i32.const 0) (i32.const 1) (i32.const 2000) (i32.const 10) (i32.const -2))", 1),
        ("a configuration out of bounds", "(call $with (i32.const 100) (i32.const 4) (i32.const -1) (i32.const 2) (i32.const 8))", 1),
        ("a handle out of bounds", "(call $with (i32.const 100) (i32.const 4) (i32.const 0) (i32.const 0) (i32.const -1))", 1),
        ("another name", "(call $with (i32.const 100) (i32.const 3) (i32.const 0) (i32.const 0) (i32.const 8))", 8),
    ];
    for (what, call, errno) in cases {
        // The configuration's first byte is no character by itself.
        let (run, _, diary) = run_with(Parrot::default(), &guest("\u{ff}", "x", &format!("{opened} (call $exit {call})")));
        assert_eq!(run.outcome(), &Outcome::Exited(errno), "{what}");
        assert!(diary.lock().unwrap().asked.is_empty(), "{what}: {:?}", diary.lock().unwrap().asked);
    }
}

#[test]
fn contexts_that_the_policy_does_not_allow_are_busy_until_one_is_closed() {
    let init = |number: u32| {
        format!(
            "(drop (call $init (i32.load (i32.const 8)) (i32.const 12))) (call $want (i32.const {number}) (call $set (i32.const {number}) (i32.const 0) (i32.const 20000) (global.get $prompt))"
        )
    };
    let start = format!(
        "(drop (call $by_name (i32.const 100) (i32.const 4) (i32.const 8))) {} (i32.const 0)) {} (i32.const 4)) (drop (call $close (i32.const 0))) \
        (call $want (i32.const 3) (call $compute (i32.const 1)) (i32.const 0)) (drop (call $get (i32.const 1) (i32.const 0))) (call $say)",
        init(0),
        init(1)
    );
    let (run, _, diary) = run_with(Parrot { contexts: 1, ..Parrot::default() }, &guest("", "one two", &start));
    assert_eq!((run.outcome(), run.output.as_slice()), (&Outcome::Exited(0), b"one two".as_slice()));
    settled(&diary);
}

#[test]
fn a_deadline_ends_a_guest_between_two_tokens_and_the_host_lives_on() {
    let parrot = Parrot { endless: true, step: Duration::from_millis(20), ..Parrot::default() };
    let mut worker = plan(&guest("{}", "on and on ", &computes(0))).limits(|limits| limits.deadline = Duration::from_millis(200)).start();
    let diary = parrot.serve(worker.hosts.remove(0), HALF);
    for _ in 0..3 {
        let began = Instant::now();
        let run = worker.run();
        assert_eq!((run.outcome(), run.stalled.as_slice()), (&Outcome::Limit(Limit::Deadline), [].as_slice()));
        assert_eq!(run.calls("compute")[0].record.outcome, Recorded::Limit);
        assert!(began.elapsed() < Duration::from_secs(2), "{:?}", began.elapsed());
        settled(&diary);
    }
    // Each time one context, closed before the next was opened.
    let asked = std::mem::take(&mut diary.lock().unwrap().asked);
    let opens = asked.iter().filter(|what| matches!(what, Request::Open(_))).count();
    let closes = asked.iter().filter(|what| matches!(what, Request::Close { .. })).count();
    assert_eq!((opens, closes), (3, 3));
}

#[test]
fn a_context_that_opens_after_its_guest_is_gone_is_closed() {
    let mut worker = plan(&guest("{}", "x", &computes(0))).limits(|limits| limits.deadline = Duration::from_millis(100)).start();
    let host = worker.hosts.remove(0);
    let (closed, wait) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        let (ask, _) = host.channel.recv::<Ask>().unwrap();
        std::thread::sleep(Duration::from_millis(300));
        host.channel.send(&Answer { seq: ask.seq, what: Said::Opened { context: 5 }, engine_ns: 0 }, &[]).unwrap();
        let (ask, _) = host.channel.recv::<Ask>().unwrap();
        closed.send(ask.what).unwrap();
    });
    assert_eq!(worker.run().outcome(), &Outcome::Limit(Limit::Deadline));
    let what = wait.recv_timeout(common::PATIENCE).unwrap();
    assert!(matches!(what, Request::Close { context: 5 }), "{what:?}");
}

/// What a host that was taken over may answer to a step.
#[test]
fn impossible_answers_of_a_host_cost_one_error_and_no_more() {
    let cases: [(&str, fn() -> Said); 6] = [
        ("a context", || Said::Opened { context: 0 }),
        ("a piece as long as no token", || Said::Piece { piece: vec![b'a'; 1025], end: None }),
        ("an embedding that nobody wanted", || Said::Embedded { numbers: 3 }),
        ("an embedding of another size", || Said::Embedded { numbers: u32::MAX }),
        ("done", || Said::Done),
        ("a prompt", || Said::Prompted { tokens: 1 }),
    ];
    for (what, said) in cases {
        let mut worker = plan(&guest("{}", "x", &computes(5))).start();
        let host = worker.hosts.remove(0);
        std::thread::spawn(move || {
            while let Ok((Ask { seq, what }, _)) = host.channel.recv::<Ask>() {
                let said = match what {
                    Request::Open(_) => Said::Opened { context: 3 },
                    Request::Prompt { .. } => Said::Prompted { tokens: 1 },
                    _ => said(),
                };
                let _ = host.channel.send(&Answer { seq, what: said, engine_ns: u64::MAX }, &[]);
            }
        });
        // The output is empty, and there: `compute` began.
        assert_eq!(worker.run().outcome(), &Outcome::Exited(0), "{what}");
        // After it the host is spoken to again only when it was replaced.
        assert_eq!(worker.run().outcome(), &Outcome::Exited(3005), "{what}");
        Parrot::default().serve(worker.renew(0, REGION).remove(0), HALF);
        assert_eq!(worker.run().outcome(), &Outcome::Exited(4000), "{what}: {:?}", worker.report);
    }
}

#[test]
fn an_answer_without_end_meets_the_memory_limit_or_the_deadline() {
    let mut worker = plan(&guest("{}", &"a".repeat(1000), &computes(7))).limits(|limits| limits.memory = 1 << 20).start();
    let diary = Parrot { endless: true, ..Parrot::default() }.serve(worker.hosts.remove(0), HALF);
    let run = worker.run();
    let kept = run.calls("compute")[0].record.n_out;
    assert!(kept > 900_000 && kept <= 1 << 20, "{kept}");
    assert_eq!(run.calls("compute")[0].record.errno, 7);
    settled(&diary);
    // Reading without end, and never a token.
    let mut worker = plan(&guest("{}", "x", &computes(0))).limits(|limits| limits.deadline = Duration::from_millis(200)).start();
    let host = worker.hosts.remove(0);
    std::thread::spawn(move || {
        while let Ok((Ask { seq, what }, _)) = host.channel.recv::<Ask>() {
            let said = match what {
                Request::Open(_) => Said::Opened { context: 0 },
                Request::Prompt { .. } => Said::Prompted { tokens: 1 },
                _ => Said::Reading { left: 1 },
            };
            let _ = host.channel.send(&Answer { seq, what: said, engine_ns: 0 }, &[]);
        }
    });
    assert_eq!(worker.run().outcome(), &Outcome::Limit(Limit::Deadline));
}

#[test]
fn a_token_for_which_there_was_no_room_is_given_when_there_is() {
    // Context 1 keeps an answer as long as the memory allows; then context 0 has no room for its first token until that is gone.
    let prompt = format!("{}{} {} ", "a".repeat(1000), "b".repeat(999), "c".repeat(999));
    let start = format!(
        "{OPENED} (call $want (i32.const 4) (call $set (i32.const 0) (i32.const 0) (i32.const 21000) (i32.const 2000)) (i32.const 0)) \
        (call $want (i32.const 5) (call $init (i32.load (i32.const 8)) (i32.const 12)) (i32.const 0)) \
        (call $want (i32.const 6) (call $set (i32.const 1) (i32.const 0) (i32.const 20000) (i32.const 1000)) (i32.const 0)) \
        (call $want (i32.const 7) (call $compute (i32.const 1)) (i32.const 7)) \
        (call $want (i32.const 8) (call $single (i32.const 0)) (i32.const 7)) \
        (call $want (i32.const 9) (call $get1 (i32.const 0) (i32.const 0)) (i32.const 1)) \
        (call $want (i32.const 10) (call $single (i32.const 0)) (i32.const 7)) \
        (call $want (i32.const 11) (call $close (i32.const 1)) (i32.const 0)) \
        (call $want (i32.const 12) (call $single (i32.const 0)) (i32.const 0)) \
        (call $want (i32.const 13) (call $get1 (i32.const 0) (i32.const 0)) (i32.const 0)) (call $say) \
        (call $want (i32.const 14) (call $single (i32.const 0)) (i32.const 0)) \
        (call $want (i32.const 15) (call $get1 (i32.const 0) (i32.const 0)) (i32.const 0)) (call $say)"
    );
    let mut worker = plan(&guest("{}", &prompt, &start)).limits(|limits| limits.memory = 1 << 20).start();
    let diary = Parrot { endless: true, ..Parrot::default() }.serve(worker.hosts.remove(0), HALF);
    let run = worker.run();
    assert_eq!(run.outcome(), &Outcome::Exited(0));
    let said = String::from_utf8(run.output).unwrap();
    assert_eq!(said, format!("{} {} ", "b".repeat(999), "c".repeat(999)), "no token is lost, and none comes twice");
    settled(&diary);
}

#[test]
fn a_host_that_is_replaced_in_the_middle_costs_one_error_and_the_prompt_is_given_again() {
    // One token; then the guest reads its input, during which the host is replaced; then an error; then the answer from its beginning.
    let start = format!(
        "{OPENED} (call $want (i32.const 4) (call $single (i32.const 0)) (i32.const 0)) (call $wait) \
        (call $want (i32.const 5) (call $single (i32.const 0)) (i32.const 5)) \
        (call $want (i32.const 6) (call $compute (i32.const 0)) (i32.const 0)) (drop (call $get (i32.const 0) (i32.const 0))) (call $say)"
    );
    let text = guest("{}", "one two", &start).replace(
        "(memory (export",
        "(import \"wasi_snapshot_preview1\" \"fd_read\" (func $read (param i32 i32 i32 i32) (result i32))) (memory (export",
    );
    let text = text.replace(
        "(func (export \"_start\")",
        "(func $wait (i32.store (i32.const 20) (i32.const 2000)) (i32.store (i32.const 24) (i32.const 1)) \
        (drop (call $read (i32.const 0) (i32.const 20) (i32.const 1) (i32.const 28)))) (func (export \"_start\")",
    );
    let mut worker = plan(&text).start();
    let diary = Parrot::default().serve(worker.hosts.remove(0), HALF);
    let mut started = worker.begin();
    let until = Instant::now() + common::PATIENCE;
    while !diary.lock().unwrap().asked.iter().any(|what| matches!(what, Request::Step { .. })) {
        assert!(Instant::now() < until);
        std::thread::yield_now();
    }
    let second = Parrot::default().serve(worker.renew(0, REGION).remove(0), HALF);
    // The worker does not say that it has taken the frame. Too short a wait fails the test, and never passes it.
    std::thread::sleep(Duration::from_millis(200));
    rustix::io::write(started.input.take().unwrap(), b"x").unwrap();
    let run = worker.end(started);
    assert_eq!((run.outcome(), run.output.as_slice()), (&Outcome::Exited(0), b"one two".as_slice()));
    settled(&second);
}

#[test]
fn the_end_of_a_sequence_may_carry_no_text() {
    let mut worker = plan(&guest("{}", "x", &computes(0))).start();
    let host = worker.hosts.remove(0);
    std::thread::spawn(move || {
        while let Ok((Ask { seq, what }, _)) = host.channel.recv::<Ask>() {
            let said = match what {
                Request::Open(_) => Said::Opened { context: 0 },
                Request::Prompt { .. } => Said::Prompted { tokens: 1 },
                Request::Step { .. } => Said::Piece { piece: Vec::new(), end: Some(End::OfSequence) },
                _ => Said::Done,
            };
            let _ = host.channel.send(&Answer { seq, what: said, engine_ns: 0 }, &[]);
        }
    });
    let run = worker.run();
    assert_eq!((run.outcome(), run.output.len()), (&Outcome::Exited(0), 0));
}
