//! A folder in which the demo lives: programs, keys, modules, policies, state. It is nobody else's, and it is gone afterwards.
//!
//! Under root everything in it belongs to an unprivileged user, and everything that is run there runs as that user.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::path::PathBuf;
use std::process::Command;
use std::process::Stdio;

use crate::failure::Failure;
use crate::failure::Result;
use crate::place;
use crate::shell;

/// The folder. Dropping it removes it.
#[derive(Debug)]
pub struct House {
    root: PathBuf,
    /// Whom everything belongs to, where it is not whoever started the demo.
    user: Option<u32>,
}

/// What a program said, and how it ended.
#[derive(Debug)]
pub struct Said {
    /// The command, for failures.
    pub command: String,
    /// Its exit code; `None` when a signal ended it.
    pub code: Option<i32>,
    /// Standard output.
    pub stdout: String,
    /// Standard error.
    pub stderr: String,
}

impl House {
    /// Makes the folder in the system's place for temporary files, and puts the programs into it.
    pub fn new(name: &str, programs: &[&str]) -> Result<House> {
        let prefix = format!("edgeguard-{name}-");
        sweep(&prefix);
        let root = std::env::temp_dir().join(format!("{prefix}{}", std::process::id()));
        // Fails if it is there: nobody can have put anything into it beforehand.
        fs::create_dir(&root).map_err(Failure::at("make the folder", &root))?;
        let house = House { root, user: shell::is_root().then_some(UNPRIVILEGED) };
        house.own(&house.root, 0o755)?;
        for folder in ["bin", "keys", "modules", "models"] {
            house.folder(folder)?;
        }
        for program in programs {
            house.bring(&place::root().join("target/release").join(program), &format!("bin/{program}"), 0o755)?;
        }
        Ok(house)
    }

    /// A path in the folder.
    pub fn path(&self, name: &str) -> PathBuf {
        self.root.join(name)
    }

    /// Makes a folder in it.
    pub fn folder(&self, name: &str) -> Result<PathBuf> {
        let path = self.path(name);
        fs::create_dir_all(&path).map_err(Failure::at("make the folder", &path))?;
        self.own(&path, 0o755)?;
        Ok(path)
    }

    /// Copies a file into it.
    pub fn bring(&self, from: &Path, name: &str, mode: u32) -> Result<PathBuf> {
        let path = self.path(name);
        fs::copy(from, &path).map_err(Failure::at("copy", from))?;
        self.own(&path, mode)?;
        Ok(path)
    }

    /// Writes a file into it.
    pub fn write(&self, name: &str, bytes: &[u8]) -> Result<PathBuf> {
        let path = self.path(name);
        fs::write(&path, bytes).map_err(Failure::at("write", &path))?;
        self.own(&path, 0o644)?;
        Ok(path)
    }

    /// Gives a file to the unprivileged user.
    pub fn own(&self, path: &Path, mode: u32) -> Result<()> {
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).map_err(Failure::at("set the mode of", path))?;
        std::os::unix::fs::chown(path, self.user, self.user).map_err(Failure::at("give away", path))
    }

    /// A program of the folder, about to run in it as the unprivileged user, with an environment of its own.
    pub fn program(&self, name: &str) -> Command {
        let mut command = Command::new(self.path("bin").join(name));
        command.current_dir(&self.root).env_clear().env("PATH", "/usr/bin:/bin").stdin(Stdio::null());
        if let Some(user) = self.user {
            command.uid(user).gid(user);
        }
        command
    }

    /// Runs `edgeguard` to its end. `input` is its standard input.
    pub fn edgeguard(&self, socket: &Path, words: &[&str], input: &str) -> Result<Said> {
        let mut command = self.program("edgeguard");
        command.args(words).env("EDGEGUARD_SOCKET", socket);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let name = format!("edgeguard {}", words.join(" "));
        let mut run = || -> io::Result<std::process::Output> {
            let mut child = command.spawn()?;
            if let Some(mut stdin) = child.stdin.take() {
                // A program that did not read its input has its reasons; its answer says them.
                let _ = io::Write::write_all(&mut stdin, input.as_bytes());
            }
            child.wait_with_output()
        };
        let output = run().map_err(|error| Failure::of(format_args!("cannot run `{name}`"), error))?;
        let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
        Ok(Said { command: name, code: output.status.code(), stdout: text(output.stdout), stderr: text(output.stderr) })
    }

    /// The user's number, where it is not whoever started the demo.
    pub fn user(&self) -> Option<u32> {
        self.user
    }
}

impl Drop for House {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_dir_all(&self.root) {
            eprintln!("warning: cannot remove `{}`: {error}", self.root.display());
        }
    }
}

impl Said {
    /// Fails unless it ended with this code.
    pub fn exits(self, code: i32) -> Result<Said> {
        if self.code == Some(code) {
            return Ok(self);
        }
        let found = self.code.map_or("a signal".to_owned(), |code| format!("exit code {code}"));
        Err(self.failure(&format!("expected exit code {code}, found {found}")))
    }

    /// Fails unless it said this.
    pub fn says(self, words: &str) -> Result<Said> {
        if self.stdout.contains(words) || self.stderr.contains(words) {
            return Ok(self);
        }
        Err(self.failure(&format!("expected it to say `{words}`")))
    }

    /// Standard output as JSON.
    pub fn json(&self) -> Result<serde_json::Value> {
        serde_json::from_str(&self.stdout).map_err(|error| self.failure(&format!("expected JSON: {error}")))
    }

    /// A failure that shows what was said.
    pub fn failure(&self, what: &str) -> Failure {
        Failure::new(format!("`{}`: {what}\n--- standard output\n{}--- standard error\n{}---", self.command, self.stdout, self.stderr))
    }
}

/// Removes what an interrupted demo left behind: folders of ours whose process is gone.
fn sweep(prefix: &str) {
    let own = rustix::process::geteuid().as_raw();
    let entries = fs::read_dir(std::env::temp_dir()).into_iter().flatten().flatten();
    for entry in entries {
        let name = entry.file_name();
        let Some(pid) = name.to_str().and_then(|name| name.strip_prefix(prefix)).and_then(|pid| pid.parse::<i32>().ok()) else { continue };
        let gone = rustix::process::Pid::from_raw(pid).is_some_and(|pid| rustix::process::test_kill_process(pid).is_err());
        let ours = entry.metadata().is_ok_and(|found| found.is_dir() && (found.uid() == own || (own == 0 && found.uid() == UNPRIVILEGED)));
        if gone && ours {
            // One that stays is in nobody's way.
            let _ = fs::remove_dir_all(entry.path());
        }
    }
}

/// `nobody` on every Linux.
const UNPRIVILEGED: u32 = 65534;
