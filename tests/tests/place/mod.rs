//! Where things lie, and other programs.
//!
//! Runs in: the house's own tests.

use std::path::Path;
use std::path::PathBuf;
use std::process::Command;
use std::process::Output;

/// The top of the tree.
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().map(Path::to_path_buf).unwrap_or_default()
}

/// The folder in which all programs lie side by side: the one above this test's own.
#[allow(dead_code, reason = "not every test file that shares this needs programs")]
pub fn programs() -> PathBuf {
    let own = std::env::current_exe().unwrap_or_default();
    own.ancestors().nth(2).map(Path::to_path_buf).unwrap_or_default()
}

/// What a command printed, or why it did not start.
pub fn run(command: &mut Command) -> Result<Output, String> {
    command.output().map_err(|error| format!("cannot start {command:?}: {error}"))
}

/// Standard output of a command that must succeed.
#[track_caller]
pub fn stdout(command: &mut Command) -> String {
    let output = run(command).unwrap_or_else(|error| unreachable!("{error}"));
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    assert!(output.status.success(), "{command:?}: {}\n{}{}", output.status, text(&output.stdout), text(&output.stderr));
    text(&output.stdout)
}
