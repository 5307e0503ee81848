//! Figures of what works without the daemon: verifying, checking policies, the journal's pipeline.

use std::fs;
use std::hint::black_box;
use std::process::Command;
use std::time::Instant;

use super::guests;
use super::row::Row;
use super::row::Samples;
use super::row::Target::AtLeast;
use super::row::Target::AtMost;
use crate::demo::House;
use crate::demo::Policy;
use crate::failure::Failure;
use crate::failure::Result;
use crate::place;
use crate::shell;

const ROUNDS: usize = 30;

/// Verifying a signed module of 10 MB, as the command line does it: process, files, signature, digest.
pub fn verify(house: &House) -> Result<Row> {
    let module = guests::large(10_000_000)?;
    house.write("modules/large.wasm", &module)?;
    crate::demo::sign(house, "modules/large.wasm")?;
    let samples = timed(house, &["verify", "--key", "keys/acme.pub", "modules/large.wasm"])?;
    let mut hash = Samples::default();
    for _ in 0..ROUNDS {
        let begun = Instant::now();
        black_box(place::sha256(black_box(&module)));
        hash.push(begun.elapsed().as_secs_f64() * 1e3);
    }
    Ok(Row::of("verifying a signed module of 10 MB, offline", "ms", AtMost(25.0), &samples)
        .beside("SHA-256 of the same bytes alone (crate sha2)", hash.median()))
}

/// Verifying one bundle of each kind, without process, files and hashing.
pub fn evidence() -> Result<Vec<Row>> {
    let said = shell::output(&mut Command::new(place::root().join("target/release/examples/evidence")))?;
    let row = |(kind, what, target): &(&str, &str, f64)| {
        let line = said.lines().find(|line| line.split_whitespace().next() == Some(kind));
        let median = line.and_then(|line| line.split_whitespace().nth(1)?.parse().ok());
        let median = median.ok_or_else(|| Failure::new(format!("the benchmark of evidence says nothing of `{kind}`:\n{said}")))?;
        Ok(Row::new(format!("verifying a bundle: {what}"), "ms", AtMost(*target), median))
    };
    KINDS.iter().map(row).collect()
}

/// Bundles as the benchmark names them, and what each may cost in milliseconds.
const KINDS: &[(&str, &str, f64)] = &[
    ("key", "a key", 3.0),
    ("key-log-stamp", "a key, log and timestamp", 3.0),
    ("keyless", "an identity, Rekor v1", 5.0),
    ("keyless-rekor2-stamp", "an identity, Rekor v2 and timestamp", 5.0),
    ("keyless-statement", "an identity, statement", 5.0),
];

/// Checking a policy, as the command line does it.
pub fn policy_check(house: &House) -> Result<Row> {
    let samples = timed(house, &["policy", "check", "ten/policy.d/module-0.toml"])?;
    let nothing = timed(house, &["--version"])?;
    Ok(Row::of("`edgeguard policy check`", "ms", AtMost(20.0), &samples)
        .beside("`edgeguard --version`, which is the process alone", nothing.median()))
}

/// Checking a directory of 200 policies, and each against the others.
pub fn policy_directory(house: &House) -> Result<Row> {
    let text = Policy { name: "module", audio: true, graph: None }.text(house);
    let dir = house.path("many/policy.d");
    fs::create_dir_all(&dir).map_err(Failure::at("make", &dir))?;
    for i in 0..200 {
        let own = text.replace("\"module\"", &format!("\"module-{i}\"")).replace("module.wasm", &format!("module-{i}.wasm"));
        house.write(&format!("many/policy.d/module-{i}.toml"), own.as_bytes())?;
    }
    let samples = timed(house, &["policy", "check", "many/policy.d"])?;
    Ok(Row::of("  of a directory of 200", "ms", AtMost(300.0), &samples))
}

/// The journal's own benchmark: everything from the ring to the file, on one core.
pub fn pipeline() -> Result<Vec<Row>> {
    let said = shell::output(&mut Command::new(place::root().join("target/release/examples/pipeline")))?;
    // The same traces follow once more, only counted.
    let before = |trace: &str, unit: &str| -> Result<f64> {
        let line = said.lines().find(|line| line.starts_with(trace));
        let line = line.ok_or_else(|| Failure::new(format!("the pipeline says nothing of `{trace}`:\n{said}")))?;
        let words: Vec<&str> = line.split_whitespace().collect();
        let at = words.iter().position(|word| *word == unit).and_then(|at| at.checked_sub(1));
        at.and_then(|at| words.get(at)?.parse().ok()).ok_or_else(|| Failure::new(format!("expected a number of `{unit}` in `{line}`")))
    };
    let seals = said.split_once("by its seals at ").and_then(|(_, rest)| rest.split_whitespace().next()?.parse().ok());
    let seals = seals.ok_or_else(|| Failure::new(format!("the pipeline says nothing of seals:\n{said}")))?;
    Ok(vec![
        Row::new("journal pipeline on one core, mixed calls", "M/s", AtLeast(2.0), before("mixed", "M/s")?),
        Row::new("  bytes of journal for each call", "B", AtMost(4.5), before("mixed", "bytes")?),
        Row::new("  and of one call over and over", "B", AtMost(2.0), before("loop", "bytes")?),
        Row::new("verifying a sealed journal, all processors", "GB/s", AtLeast(1.0), seals),
    ])
}

/// A command of `edgeguard` from its start to its end, in milliseconds.
fn timed(house: &House, words: &[&str]) -> Result<Samples> {
    let mut samples = Samples::default();
    for _ in 0..ROUNDS {
        let begun = Instant::now();
        let said = house.edgeguard(&house.path("-"), words, "")?;
        samples.push(begun.elapsed().as_secs_f64() * 1e3);
        said.exits(0)?;
    }
    Ok(samples)
}
