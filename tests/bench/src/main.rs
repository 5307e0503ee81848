//! `edgeguard-bench`: the same work as the product's, without the product: no sandbox, no other process, no record.
//!
//! Runs on the developer's machine, started by `cargo xtask bench`; prints one JSON object. Does not: ship.
//!
//! ```text
//! edgeguard-bench guest MODULE.wasm ROUNDS          instantiate and run a guest in the bare wasm engine, over and over
//! edgeguard-bench precompile MODULE.wasm OUT        its native code
//! edgeguard-bench process NATIVE                    a whole process for one run of it
//! edgeguard-bench model MODEL.onnx BATCH ROUNDS     compute in the model engine, over and over
//! edgeguard-bench describe MODEL.onnx               what the model takes
//! ```
#![forbid(unsafe_code)]

mod guest;
mod model;

use std::error::Error;
use std::process::ExitCode;
use std::time::Duration;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let done = match words.as_slice() {
        ["guest", module, rounds] => guest::rounds(module, rounds),
        ["precompile", module, out] => guest::precompile(module, out),
        ["process", native] => guest::process(native),
        ["model", model, batch, rounds] => model::rounds(model, batch, rounds),
        ["describe", model] => model::describe(model),
        _ => Err("usage: edgeguard-bench guest|precompile|process|model|describe ...; `cargo xtask bench` runs it".into()),
    };
    match done {
        Ok(result) => {
            println!("{result}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

/// What each part gives: JSON, or why there is none.
type Measured = Result<serde_json::Value, Box<dyn Error>>;

/// Nanoseconds.
fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}
