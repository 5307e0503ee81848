//! An engine called natively, in a plain process that stays and takes its turns: `edgeguard-bench`, a line for each.

use std::io::BufRead as _;
use std::io::BufReader;
use std::io::Write as _;
use std::process::Child;
use std::process::ChildStdin;
use std::process::ChildStdout;
use std::process::Command;
use std::process::Stdio;

use serde_json::Value;

use crate::failure::Failure;
use crate::failure::Result;
use crate::place;

/// The process. Dropping it ends it.
#[derive(Debug)]
pub struct Native {
    child: Child,
    asked: Option<ChildStdin>,
    said: BufReader<ChildStdout>,
    command: String,
}

impl Native {
    /// Starts it; the first turn waits until its model is loaded.
    pub fn start(words: &[&str]) -> Result<Native> {
        let command = format!("edgeguard-bench {}", words.first().unwrap_or(&""));
        let mut program = Command::new(place::root().join("target/release/edgeguard-bench"));
        program.args(words).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = program.spawn().map_err(|error| Failure::of(format_args!("cannot start `{command}`"), error))?;
        let (Some(asked), Some(said)) = (child.stdin.take(), child.stdout.take()) else {
            return Err(Failure::new(format!("`{command}` has no input and output")));
        };
        Ok(Native { child, asked: Some(asked), said: BufReader::new(said), command })
    }

    /// Has it measure once.
    pub fn turn(&mut self) -> Result<Value> {
        let broke = |error: std::io::Error| Failure::of(format_args!("`{}` ended early", self.command), error);
        if let Some(asked) = &mut self.asked {
            asked.write_all(b"\n").and_then(|()| asked.flush()).map_err(broke)?;
        }
        let mut line = String::new();
        self.said.read_line(&mut line).map_err(broke)?;
        serde_json::from_str(&line).map_err(|error| Failure::of(format_args!("`{}` says no JSON: {line:?}", self.command), error))
    }
}

impl Drop for Native {
    fn drop(&mut self) {
        // Without a line to wait for it ends by itself.
        drop(self.asked.take());
        let _ = self.child.wait();
    }
}
