//! Other programs: run them, show what takes long, and keep what they said for when they fail.

use std::process::Command;
use std::process::Output;
use std::process::Stdio;
use std::time::Instant;

use crate::failure::Failure;
use crate::failure::Result;

/// Says what is going on, on standard error.
pub fn note(text: impl AsRef<str>) {
    eprintln!("  {}", text.as_ref());
}

/// Announces a step, does it, and says how long it took.
pub fn step<T>(what: &str, work: impl FnOnce() -> Result<T>) -> Result<T> {
    eprintln!("• {what}");
    let started = Instant::now();
    let done = work()?;
    note(format!("done in {:.1} s", started.elapsed().as_secs_f32()));
    Ok(done)
}

/// Runs a program whose own progress is worth seeing.
pub fn show(command: &mut Command) -> Result<()> {
    let status =
        command.stdin(Stdio::null()).status().map_err(|error| Failure::of(format_args!("cannot start {}", name(command)), error))?;
    if status.success() { Ok(()) } else { Err(Failure::new(format!("{} failed: {status}", name(command)))) }
}

/// Runs a program, and gives what it wrote to standard output; what it wrote to standard error belongs to the failure.
pub fn output(command: &mut Command) -> Result<String> {
    let started = command.stdin(Stdio::null()).output();
    let Output { status, stdout, stderr } = started.map_err(|error| Failure::of(format_args!("cannot start {}", name(command)), error))?;
    if status.success() {
        return Ok(String::from_utf8_lossy(&stdout).into_owned());
    }
    let said = String::from_utf8_lossy(&stderr);
    let last: Vec<&str> = said.lines().rev().filter(|line| !line.trim().is_empty()).take(LINES_OF_A_FAILURE).collect();
    let last: Vec<&str> = last.into_iter().rev().collect();
    Err(Failure::new(format!("{} failed: {status}\n    {}", name(command), last.join("\n    "))))
}

/// Whether this process may install packages.
pub fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

fn name(command: &Command) -> String {
    let arguments: Vec<_> = command.get_args().take(4).map(|argument| argument.to_string_lossy()).collect();
    format!("`{} {}`", command.get_program().to_string_lossy(), arguments.join(" "))
}

const LINES_OF_A_FAILURE: usize = 8;
