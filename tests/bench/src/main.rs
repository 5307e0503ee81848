//! `edgeguard-bench`: the same work as the product's, without the product: no sandbox, no other process, no record.
//!
//! Runs on the developer's machine, started by `cargo xtask bench`; prints one JSON object. Does not: ship.
//!
//! ```text
//! edgeguard-bench guest MODULE.wasm ROUNDS [DIR]    instantiate and run a guest in the bare wasm engine, over and over; it may read the folder as `/audio`
//! edgeguard-bench precompile MODULE.wasm OUT        its native code
//! edgeguard-bench process NATIVE                    a whole process for one run of it
//! edgeguard-bench describe MODEL.onnx DIMS          what the model takes, with these numbers where its shapes are free (`1,16`)
//! edgeguard-bench model ENGINE MODEL.onnx DIMS THREADS BATCH
//!                                                   a batch of computes for each line of standard input, and a line for each;
//!                                                   ENGINE is `rten` or the path of ONNX Runtime's library
//! edgeguard-bench language MODEL.gguf THREADS TOKENS PROMPT
//!                                                   the same with a prompt and an answer of so many tokens
//! ```
#![forbid(unsafe_code)]

mod guest;
mod language;
mod model;

use std::error::Error;
use std::io::BufRead as _;
use std::io::Write as _;
use std::process::ExitCode;
use std::time::Duration;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let done = match words.as_slice() {
        ["guest", module, rounds] => guest::rounds(module, rounds, None),
        ["guest", module, rounds, dir] => guest::rounds(module, rounds, Some(dir)),
        ["precompile", module, out] => guest::precompile(module, out),
        ["process", native] => guest::process(native),
        ["describe", model, dims] => model::describe(model, dims),
        ["model", engine, model, dims, threads, batch] => model::turns(engine, model, dims, threads, batch),
        ["language", model, threads, tokens, prompt] => language::turns(model, threads, tokens, prompt),
        _ => Err("usage: edgeguard-bench guest|precompile|process|describe|model|language ...; `cargo xtask bench` runs it".into()),
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

/// Measures once for each line that comes, and answers each with a line, until there are no more: whoever asks takes turns with it.
fn turns(mut measure: impl FnMut() -> Measured) -> Measured {
    let mut taken = 0;
    for line in std::io::stdin().lock().lines() {
        line?;
        println!("{}", measure()?);
        std::io::stdout().flush()?;
        taken += 1;
    }
    Ok(serde_json::json!({ "turns": taken }))
}

/// Nanoseconds.
fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}
