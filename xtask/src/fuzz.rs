//! `cargo xtask fuzz`: coverage-guided search for inputs that make a parser panic, hang or take more memory than its bound.
//!
//! The stable compiler can insert the coverage counters itself; libFuzzer does the search. What it finds lies under `target/fuzz/findings`,
//! and what it learned under `target/fuzz/corpus`, from where the next run goes on.

use std::path::Path;
use std::path::PathBuf;
use std::process::Command;

use crate::failure::Failure;
use crate::failure::Result;
use crate::place;
use crate::shell;

#[derive(clap::Args)]
pub struct Arguments {
    /// Only these targets; all of them if none is given
    targets: Vec<String>,
    /// How long each target is searched
    #[arg(long, default_value_t = 300, value_name = "SECONDS")]
    seconds: u64,
    /// How many processes search one target
    #[arg(long, default_value_t = 1, value_name = "N")]
    jobs: u32,
    /// Run this input once instead of searching: a finding, say
    #[arg(long, value_name = "FILE", conflicts_with_all = ["seconds", "jobs"])]
    input: Option<PathBuf>,
}

pub fn run(arguments: &Arguments) -> Result<()> {
    let fuzzer = shell::step("building the fuzzer with coverage counters", build)?;
    let names = if arguments.targets.is_empty() { list(&fuzzer)? } else { arguments.targets.clone() };
    let mut found = Vec::new();
    for name in &names {
        let searched = match &arguments.input {
            Some(input) => shell::show(fuzz(&fuzzer, name).arg(input)),
            None => shell::step(&format!("{name}, {} s", arguments.seconds), || search(&fuzzer, name, arguments)),
        };
        if let Err(failure) = searched {
            shell::note(failure.to_string());
            found.push(name.as_str());
        }
    }
    if found.is_empty() {
        return Ok(());
    }
    let findings = place::shown(&place::target("fuzz/findings")?);
    Err(Failure::new(format!(
        "findings in {}; they lie in {findings}, and `cargo xtask fuzz TARGET --input FILE` runs one again",
        found.join(", ")
    )))
}

/// Builds in a folder of its own: the counters are compiled into every crate, so nothing can be shared with other builds.
fn build() -> Result<PathBuf> {
    let folder = place::target("fuzz")?;
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.current_dir(place::root()).env_remove("CARGO_MANIFEST_DIR");
    // The target is named so that build scripts, which run on their own, are not given counters.
    let triple = format!("{}-unknown-linux-gnu", std::env::consts::ARCH);
    cargo.args(["build", "--quiet", "--release", "--package", "edgeguard-fuzz", "--features", "libfuzzer", "--target", &triple]);
    shell::show(cargo.env("CARGO_TARGET_DIR", &folder).env("RUSTFLAGS", COUNTERS.join(" ")))?;
    Ok(folder.join(triple).join("release/edgeguard-fuzz"))
}

fn search(fuzzer: &Path, name: &str, arguments: &Arguments) -> Result<()> {
    let corpus = place::target(&format!("fuzz/corpus/{name}"))?;
    let seeds = place::scratch("fuzz-seeds")?;
    let _ended_after_writing = fuzz(fuzzer, name).env("EDGEGUARD_FUZZ_SEEDS", &seeds).output();
    let findings = place::target(&format!("fuzz/findings/{name}"))?;
    let limits = [
        format!("-max_total_time={}", arguments.seconds),
        format!("-fork={}", arguments.jobs),
        "-timeout=5".to_owned(),
        "-rss_limit_mb=512".to_owned(),
        "-max_len=65536".to_owned(),
        format!("-artifact_prefix={}/", findings.display()),
    ];
    shell::output(fuzz(fuzzer, name).args(limits).arg(corpus).arg(seeds)).map(drop)
}

/// The names of all targets, as the fuzzer itself lists them.
fn list(fuzzer: &Path) -> Result<Vec<String>> {
    Ok(shell::output(&mut fuzz(fuzzer, "list"))?.split_whitespace().map(str::to_owned).collect())
}

fn fuzz(fuzzer: &Path, name: &str) -> Command {
    let mut command = Command::new(fuzzer);
    command.env("EDGEGUARD_FUZZ_TARGET", name);
    command
}

/// What rustc itself offers: LLVM's coverage pass with the counters that libFuzzer reads.
const COUNTERS: &[&str] = &[
    "-Cpasses=sancov-module",
    "-Cllvm-args=-sanitizer-coverage-level=4",
    "-Cllvm-args=-sanitizer-coverage-inline-8bit-counters",
    "-Cllvm-args=-sanitizer-coverage-pc-table",
    "-Cllvm-args=-sanitizer-coverage-trace-compares",
    "-Ccodegen-units=1",
    "-Cdebug-assertions=on",
];
