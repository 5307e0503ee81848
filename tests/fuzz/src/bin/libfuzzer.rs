//! libFuzzer's entry: `EDGEGUARD_FUZZ_TARGET=bundle edgeguard-fuzz CORPUS`. With `EDGEGUARD_FUZZ_SEEDS=DIR` it writes the target's seeds there and ends; the target
//! `list` prints the names of all others.
//!
//! Runs in: the fuzzer. `cargo xtask fuzz` builds it with coverage counters and runs it.
#![no_main]
#![forbid(unsafe_code)]

use std::path::Path;
use std::process::exit;
use std::sync::OnceLock;

use edgeguard_fuzz::TARGETS;
use edgeguard_fuzz::Target;

static TARGET: OnceLock<&'static Target> = OnceLock::new();

libfuzzer_sys::fuzz_target!(init: begin(), |input: &[u8]| {
    if let Some(target) = TARGET.get() {
        target.run(input);
    }
});

/// Chooses the target; ends the process where there is nothing to fuzz.
fn begin() {
    let name = std::env::var("EDGEGUARD_FUZZ_TARGET").unwrap_or_default();
    if name == "list" {
        TARGETS.iter().for_each(|target| println!("{}", target.name));
        exit(0);
    }
    let Some(target) = edgeguard_fuzz::target(&name) else {
        eprintln!("error: EDGEGUARD_FUZZ_TARGET names no target: `{name}`");
        exit(2);
    };
    if let Some(dir) = std::env::var_os("EDGEGUARD_FUZZ_SEEDS") {
        exit(write_seeds(target, Path::new(&dir)));
    }
    let _ = TARGET.set(target);
}

fn write_seeds(target: &Target, dir: &Path) -> i32 {
    for (number, seed) in (target.seeds)().iter().enumerate() {
        if let Err(error) = std::fs::write(dir.join(format!("seed-{number}")), seed) {
            eprintln!("error: cannot write seeds to `{}`: {error}", dir.display());
            return 2;
        }
    }
    0
}
