//! Guests that do one thing many times.

use std::fmt::Write as _;

use serde_json::Value;

use crate::failure::Failure;
use crate::failure::Result;

/// Nothing at all.
pub const EMPTY: &str = r#"(module (memory (export "memory") 1) (func (export "_start")))"#;

/// The service of the tests, as a component.
pub fn service() -> Result<Vec<u8>> {
    let guests = crate::place::root().join("tests/guests");
    let (text, interface) = (guests.join("service.wat"), guests.join("service.wit"));
    let failed = |error| Failure::of("cannot make the service a component", std::io::Error::other(format!("{error:#}")));
    let mut core = wat::parse_file(&text).map_err(Failure::at("assemble", &text))?;
    let mut resolve = wit_parser::Resolve::default();
    let source = std::fs::read_to_string(&interface).map_err(Failure::at("read", &interface))?;
    let package = resolve.push_str(&interface, &source).map_err(failed)?;
    let world = resolve.select_world(&[package], Some("service")).map_err(failed)?;
    wit_component::embed_component_metadata(&mut core, &resolve, world, wit_component::StringEncoding::UTF8, false).map_err(failed)?;
    wit_component::ComponentEncoder::default().module(&core).and_then(|encoder| encoder.encode()).map_err(failed)
}

/// Asks for the time, `times` times.
pub fn clock(times: u32) -> String {
    format!(
        r#"(module
  (import "wasi_snapshot_preview1" "clock_time_get" (func $time (param i32 i64 i32) (result i32)))
  (memory (export "memory") 1)
  (func (export "_start") (local $left i32)
    (local.set $left (i32.const {times}))
    (loop $again
      (if (call $time (i32.const 1) (i64.const 0) (i32.const 0)) (then (unreachable)))
      (br_if $again (local.tee $left (i32.sub (local.get $left) (i32.const 1)))))))"#
    )
}

/// Reads the beginning of a file in its first directory, 32 KiB each time, `times` times.
pub fn reads(times: u32) -> String {
    format!(
        r#"(module
  (import "wasi_snapshot_preview1" "path_open" (func $open (param i32 i32 i32 i32 i32 i64 i64 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_pread" (func $read (param i32 i32 i32 i64 i32) (result i32)))
  (memory (export "memory") 2)
  (data (i32.const 16) "blob")
  (data (i32.const 32) "\00\80\00\00\00\80\00\00")
  (func (export "_start") (local $left i32)
    (if (call $open (i32.const 3) (i32.const 0) (i32.const 16) (i32.const 4) (i32.const 0) (i64.const 6) (i64.const 0) (i32.const 0) (i32.const 48))
      (then (unreachable)))
    (local.set $left (i32.const {times}))
    (loop $again
      (if (call $read (i32.load (i32.const 48)) (i32.const 32) (i32.const 1) (i64.const 0) (i32.const 52)) (then (unreachable)))
      (br_if $again (local.tee $left (i32.sub (local.get $left) (i32.const 1)))))))"#
    )
}

/// Computes with a graph, `times` times: inputs set, computed, first output fetched. `inputs` is what `edgeguard-bench describe` says of the model; 64-bit
/// integers are ones, all else is zero, as `edgeguard-bench model` has it.
pub fn compute(graph: &str, inputs: &Value, times: u32) -> Result<String> {
    let wrong = || Failure::new(format!("the model's inputs are not understood: {inputs}"));
    let (mut data, mut calls) = (String::new(), String::new());
    // Shapes and tensor records below 4096, the zeros behind; the output after them.
    let (mut small, mut large) = (256_u64, 4096_u64);
    for (index, input) in inputs["inputs"].as_array().ok_or_else(wrong)?.iter().enumerate() {
        let dims: Vec<u64> = input["dims"].as_array().ok_or_else(wrong)?.iter().filter_map(Value::as_u64).collect();
        let (ty, size) = (input["type"].as_u64().ok_or_else(wrong)?, input["size"].as_u64().ok_or_else(wrong)?);
        let bytes = dims.iter().product::<u64>() * size;
        let record = small + 64;
        let _ = writeln!(data, "  (data (i32.const {small}) \"{}\")", words(&dims));
        let _ = writeln!(data, "  (data (i32.const {record}) \"{}\")", words(&[small, dims.len() as u64, ty, large, bytes]));
        if (ty, size) == (I64, 8) {
            let ones: String = (0..bytes / 8).map(|_| "\\01\\00\\00\\00\\00\\00\\00\\00").collect();
            let _ = writeln!(data, "  (data (i32.const {large}) \"{ones}\")");
        }
        let _ = writeln!(calls, "      (call $check (call $set_input (local.get $context) (i32.const {index}) (i32.const {record})))");
        small += 128;
        large += bytes.next_multiple_of(16);
    }
    let pages = (large + OUTPUT).div_ceil(65536);
    Ok(format!(
        r#"(module
  (import "wasi_ephemeral_nn" "load_by_name" (func $load (param i32 i32 i32) (result i32)))
  (import "wasi_ephemeral_nn" "init_execution_context" (func $init (param i32 i32) (result i32)))
  (import "wasi_ephemeral_nn" "set_input" (func $set_input (param i32 i32 i32) (result i32)))
  (import "wasi_ephemeral_nn" "compute" (func $compute (param i32) (result i32)))
  (import "wasi_ephemeral_nn" "get_output" (func $get_output (param i32 i32 i32 i32 i32) (result i32)))
  (memory (export "memory") {pages})
  (data (i32.const 16) "{graph}")
{data}
  (func $check (param $errno i32) (if (local.get $errno) (then (unreachable))))
  (func (export "_start") (local $context i32) (local $left i32)
    (call $check (call $load (i32.const 16) (i32.const {name}) (i32.const 0)))
    (call $check (call $init (i32.load (i32.const 0)) (i32.const 4)))
    (local.set $context (i32.load (i32.const 4)))
    (local.set $left (i32.const {times}))
    (loop $again
{calls}      (call $check (call $compute (local.get $context)))
      (call $check (call $get_output (local.get $context) (i32.const 0) (i32.const {large}) (i32.const {OUTPUT}) (i32.const 8)))
      (br_if $again (local.tee $left (i32.sub (local.get $left) (i32.const 1)))))))"#,
        name = graph.len()
    ))
}

/// Asks a language model, token by token, and prints three 64-bit numbers: the time before the prompt, at the first token and at the last, in nanoseconds. A short
/// prompt before that opens the context, as the native engine has it open.
pub fn language(graph: &str, prompt: &str, tokens: u32) -> String {
    let text = |text: &str| text.bytes().fold(String::new(), |all, byte| format!("{all}\\{byte:02x}"));
    let options = r#"{"temp":0,"ctx-size":512}"#;
    format!(
        r#"(module
  (import "wasi_ephemeral_nn" "load_by_name_with_config" (func $load (param i32 i32 i32 i32 i32) (result i32)))
  (import "wasi_ephemeral_nn" "init_execution_context" (func $init (param i32 i32) (result i32)))
  (import "wasi_ephemeral_nn" "set_input" (func $set (param i32 i32 i32) (result i32)))
  (import "wasi_ephemeral_nn" "compute_single" (func $single (param i32) (result i32)))
  (import "wasi_ephemeral_nn" "get_output_single" (func $get (param i32 i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "clock_time_get" (func $time (param i32 i64 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
  (memory (export "memory") 2)
  (data (i32.const 16) "{graph}")
  (data (i32.const 200) "\01\00\00\00")
  (data (i32.const 400) "{short}") (data (i32.const 440) "{long}")
  (data (i32.const 900) "{where_times}")
  (data (i32.const 1000) "{config}")
  (data (i32.const 20000) "{prompt_bytes}")
  (func $check (param $errno i32) (if (local.get $errno) (then (unreachable))))
  (func $token
    (call $check (call $single (i32.load (i32.const 4))))
    (call $check (call $get (i32.load (i32.const 4)) (i32.const 0) (i32.const 30000) (i32.const 1024) (i32.const 8))))
  (func (export "_start") (local $left i32)
    (call $check (call $load (i32.const 16) (i32.const {name}) (i32.const 1000) (i32.const {config_len}) (i32.const 0)))
    (call $check (call $init (i32.load (i32.const 0)) (i32.const 4)))
    (call $check (call $set (i32.load (i32.const 4)) (i32.const 0) (i32.const 400)))
    (call $token)
    (call $check (call $time (i32.const 1) (i64.const 0) (i32.const 800)))
    (call $check (call $set (i32.load (i32.const 4)) (i32.const 0) (i32.const 440)))
    (call $token)
    (call $check (call $time (i32.const 1) (i64.const 0) (i32.const 808)))
    (local.set $left (i32.const {later}))
    (loop $again
      (call $token)
      (br_if $again (local.tee $left (i32.sub (local.get $left) (i32.const 1)))))
    (call $check (call $time (i32.const 1) (i64.const 0) (i32.const 816)))
    (call $check (call $write (i32.const 1) (i32.const 900) (i32.const 1) (i32.const 908)))))"#,
        short = words(&[200, 1, 3, 20000, 1]),
        long = words(&[200, 1, 3, 20000, prompt.len() as u64]),
        where_times = words(&[800, 24]),
        config = text(options),
        config_len = options.len(),
        prompt_bytes = text(prompt),
        name = graph.len(),
        later = tokens.saturating_sub(1).max(1),
    )
}

/// Little-endian 32-bit words, as a string of the text format.
fn words(words: &[u64]) -> String {
    let bytes = words.iter().flat_map(|word| u32::try_from(*word).unwrap_or(u32::MAX).to_le_bytes());
    bytes.fold(String::new(), |mut text, byte| {
        let _ = write!(text, "\\{byte:02x}");
        text
    })
}

/// Room for an output.
const OUTPUT: u64 = 1 << 20;

/// A tensor's type, as WASI numbers it.
const I64: u64 = 5;

/// A module of this many bytes: the empty one, and a section that nobody reads.
pub fn large(bytes: usize) -> Result<Vec<u8>> {
    let mut module = wat::parse_str(EMPTY).map_err(|error| Failure::of("cannot assemble the empty guest", error))?;
    // Section 0 is a custom one: its length as LEB128 in five bytes, a name of one byte, and bytes that do not repeat.
    let rest = bytes.saturating_sub(module.len() + 6);
    let length = u32::try_from(rest).unwrap_or(u32::MAX);
    module.push(0);
    module.extend((0..5).map(|at| ((length >> (7 * at)) & 0x7f) as u8 | if at < 4 { 0x80 } else { 0 }));
    module.extend([1, b'x']);
    let mut state = 1_u64;
    module.extend((2..rest).map(|_| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (state >> 56) as u8
    }));
    Ok(module)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
    use super::*;

    #[test]
    fn the_guests_assemble() {
        let inputs = serde_json::json!({ "inputs": [{ "type": 1, "size": 4, "dims": [1, 576] }, { "type": 4, "size": 4, "dims": [2] }, { "type": 5, "size": 8, "dims": [1, 16] }] });
        assert!(wat::parse_str(clock(10)).is_ok());
        assert!(wat::parse_str(compute("model", &inputs, 10).unwrap()).is_ok());
        assert!(wat::parse_str(language("chat", "A \"prompt\"\n", 8)).is_ok());
    }

    #[test]
    fn a_large_module_has_the_size_that_was_asked_for() {
        assert_eq!(large(100_000).unwrap().len(), 100_000);
    }
}
