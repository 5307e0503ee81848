//! `cargo xtask test`: everything that the tests need, then all tests, then how many there were. CI runs the same.
//!
//! One profile and one feature set throughout (`--release --workspace`), so that the wasm engine is compiled once, and so that what is tested is what ships.

use std::env;
use std::io::BufRead;
use std::io::BufReader;
use std::path::Path;
use std::process::Command;
use std::process::Stdio;
use std::time::Instant;

use crate::failure::Failure;
use crate::failure::Result;
use crate::guests;
use crate::models;
use crate::place;
use crate::shell;
use crate::speech;

#[derive(clap::Args, Default)]
pub struct Arguments {
    /// Only what needs no built guest, model or container: unit tests and the rules of the house
    #[arg(long)]
    fast: bool,
    /// Only tests whose name contains this
    filter: Option<String>,
}

/// What the runners counted.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
struct Counts {
    passed: u64,
    failed: u64,
    skipped: u64,
}

/// Builds, tests, and says how many passed. A failing test fails the task, but not before all others ran.
pub fn run(arguments: &Arguments) -> Result<()> {
    let started = Instant::now();
    let mut counts = Counts::default();
    let mut failed = Vec::new();
    if !arguments.fast {
        prepare()?;
    }

    let mut workspace = cargo(&place::root());
    workspace.args(["test", "--release", "--workspace", "--no-fail-fast"]).args(features());
    if arguments.fast {
        workspace.args(["--lib", "--bins", "--test", "house", "--test", "packaging"]);
    }
    let mut sdk = cargo(&place::root().join("guest-sdk"));
    sdk.args(["test", "--workspace", "--no-fail-fast"]);
    for (name, command) in [("the workspace", &mut workspace), ("guest-sdk", &mut sdk)] {
        if let Some(filter) = &arguments.filter {
            command.arg("--").arg(filter);
        }
        eprintln!("• testing {name}");
        let began = Instant::now();
        let (found, ok) = count(command)?;
        counts.passed += found.passed;
        counts.failed += found.failed;
        counts.skipped += found.skipped;
        shell::note(format!("{} passed, {} failed in {:.0} s", found.passed, found.failed, began.elapsed().as_secs_f32()));
        if !ok {
            failed.push(name);
        }
    }

    eprintln!("• all tests, {:.0} s", started.elapsed().as_secs_f32());
    println!("tests: {} passed, {} failed, {} skipped", counts.passed, counts.failed, counts.skipped);
    match failed.as_slice() {
        [] if counts.passed == 0 => Err(Failure::new("no test ran: the filter matches none")),
        [] => Ok(()),
        names => Err(Failure::new(format!("tests failed in {}", names.join(" and ")))),
    }
}

/// What end-to-end tests run: all programs side by side, the guests, a model, speech.
fn prepare() -> Result<()> {
    guests::run(&guests::Arguments { examples: true, ..guests::Arguments::default() })?;
    models::run(&models::Arguments::default())?;
    let fetched = [
        ("language model", models::language(&models::Arguments::default()).map(drop)),
        ("ONNX Runtime", models::engines()),
        ("models of the examples", models::examples()),
    ];
    for (what, found) in fetched {
        if let Err(failure) = found {
            shell::note(format!("no {what}: {failure}; tests that need it say so, and fail in CI"));
        }
    }
    speech::run(&speech::Arguments::default())?;
    shell::step("building the programs", || {
        shell::show(cargo(&place::root()).args(["build", "--release", "--workspace", "--bins"]).args(features()))
    })
}

/// What is built besides: the daemon for lab machines, which is in no package, and where this machine has what it takes the host on libtorch.
fn features() -> &'static [&'static str] {
    if env::var_os("LIBTORCH").is_some() || Path::new("/usr/include/torch/csrc/api/include").exists() {
        &["--features", "edgeguardd/learning,edgeguard-torch/libtorch"]
    } else {
        shell::note("no libtorch (Debian: `libtorch-dev`): its engine is not built");
        &["--features", "edgeguardd/learning"]
    }
}

/// The cargo that runs us, without what it told us about ourselves.
fn cargo(folder: &Path) -> Command {
    let mut cargo = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.current_dir(folder).env("EDGEGUARD_TEST_MODELS", place::root().join("target/models"));
    for (name, _) in
        env::vars_os().filter(|(name, _)| name.to_str().is_some_and(|name| name.starts_with("CARGO_PKG_") || name == "CARGO_MANIFEST_DIR"))
    {
        cargo.env_remove(name);
    }
    cargo
}

/// Runs a test command, shows what it says, and adds up the results.
fn count(command: &mut Command) -> Result<(Counts, bool)> {
    let mut child =
        command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().map_err(|error| Failure::of("cannot start cargo", error))?;
    let mut counts = Counts::default();
    if let Some(stdout) = child.stdout.take() {
        for line in BufReader::new(stdout).lines() {
            let line = line.map_err(|error| Failure::of("cannot read what the tests say", error))?;
            println!("{line}");
            counts.add(&line);
        }
    }
    let status = child.wait().map_err(|error| Failure::of("cannot wait for cargo", error))?;
    Ok((counts, status.success()))
}

impl Counts {
    /// `test result: ok. 12 passed; 0 failed; 1 ignored; …`
    fn add(&mut self, line: &str) {
        let Some((_, rest)) = line.trim().strip_prefix("test result: ").and_then(|rest| rest.split_once(". ")) else { return };
        for part in rest.split(';') {
            let mut words = part.split_whitespace();
            let (Some(Ok(number)), Some(word)) = (words.next().map(str::parse::<u64>), words.next()) else { continue };
            match word {
                "passed" => self.passed += number,
                "failed" => self.failed += number,
                "ignored" => self.skipped += number,
                _ => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Counts;

    #[test]
    fn results_of_several_runners_add_up() {
        let mut counts = Counts::default();
        counts.add("test result: ok. 12 passed; 0 failed; 1 ignored; 0 measured; 0 filtered out; finished in 0.01s");
        counts.add("test result: FAILED. 3 passed; 2 failed; 0 ignored; 0 measured; 4 filtered out");
        counts.add("test something::else ... ok");
        assert_eq!(counts, Counts { passed: 15, failed: 2, skipped: 1 });
    }
}
