//! Processes, as the kernel lists them.
//!
//! Runs in: tests.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fs;

/// The children of a process: `(pid, program)`.
#[must_use]
pub fn children_of(parent: u32) -> Vec<(u32, String)> {
    let mut found = Vec::new();
    for entry in fs::read_dir("/proc").unwrap().filter_map(Result::ok) {
        let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse().ok()) else { continue };
        let Ok(stat) = fs::read_to_string(entry.path().join("stat")) else { continue };
        // `pid (program) state parent …`; the program may hold any character, brackets too.
        let (Some(open), Some(close)) = (stat.find('('), stat.rfind(')')) else { continue };
        let mut rest = stat[close + 2..].split(' ');
        let (state, of) = (rest.next(), rest.next().and_then(|of| of.parse().ok()));
        if of == Some(parent) && state != Some("Z") {
            found.push((pid, stat[open + 1..close].to_owned()));
        }
    }
    found
}
