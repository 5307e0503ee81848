//! Running the built binary.

use std::path::Path;
use std::process::Command;

/// What a run left behind.
#[derive(Debug)]
#[allow(dead_code, reason = "each test file uses its part of this module")]
pub struct Ran {
    pub code: i32,
    pub out: String,
    pub err: String,
}

/// Runs `edgeguard` in a directory.
pub fn edgeguard(dir: &Path, arguments: &[&str]) -> Ran {
    let output = Command::new(env!("CARGO_BIN_EXE_edgeguard")).args(arguments).current_dir(dir).output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    Ran { code: output.status.code().unwrap(), out: text(output.stdout), err: text(output.stderr) }
}

#[allow(dead_code, reason = "each test file uses its part of this module")]
impl Ran {
    /// The run must have succeeded.
    #[track_caller]
    pub fn done(self) -> Self {
        assert_eq!(self.code, 0, "{}", self.err);
        self
    }

    /// The codes on standard error, sorted.
    pub fn codes(&self) -> Vec<&str> {
        let heads = self.err.lines().filter_map(|line| line.strip_prefix("error[").or_else(|| line.strip_prefix("warning[")));
        let mut codes: Vec<&str> = heads.filter_map(|rest| rest.split(']').next()).collect();
        codes.sort_unstable();
        codes
    }
}

/// Makes a named pipe.
#[allow(dead_code, reason = "each test file uses its part of this module")]
pub fn fifo(path: &Path) {
    let made = Command::new("mkfifo").arg(path).status().unwrap();
    assert!(made.success());
}
