//! One `swtpm` on a Unix socket, which ends with its test.

use std::path::Path;
use std::path::PathBuf;
use std::process::Child;
use std::process::Command;
use std::process::Stdio;
use std::time::Duration;
use std::time::Instant;

pub struct Emulator {
    dir: tempfile::TempDir,
    child: Option<Child>,
}

impl Emulator {
    /// `None`, with a printed reason, where the tools are not installed; in CI that is a failure.
    pub fn new() -> Option<Self> {
        for tool in ["swtpm", "tpm2_quote"] {
            if !Command::new(tool).arg("--version").output().is_ok_and(|out| out.status.success()) {
                assert!(std::env::var_os("CI").is_none(), "`{tool}` is not installed, and CI must not skip");
                eprintln!("skipped: `{tool}` is not installed (packages swtpm, tpm2-tools and the tcti library for swtpm)");
                return None;
            }
        }
        // A socket's path has at most 107 bytes, so not below a deep temporary directory.
        let mut emulator = Self { dir: tempfile::Builder::new().prefix("eg-tpm").tempdir_in("/tmp").unwrap(), child: None };
        std::fs::create_dir(emulator.path("nv")).unwrap();
        emulator.start();
        Some(emulator)
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub fn socket(&self) -> PathBuf {
        self.path("tpm")
    }

    pub fn start(&mut self) {
        let at = |path: &Path| format!("type=unixio,path={}", path.display());
        let child = Command::new("swtpm")
            .args(["socket", "--tpm2", "--flags", "not-need-init,startup-clear"])
            .args(["--tpmstate", &format!("dir={}", self.path("nv").display())])
            .args(["--server", &at(&self.socket()), "--ctrl", &at(&self.path("tpm.ctrl"))])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        self.child = Some(child);
        // It has no way to say that it listens but to listen.
        let until = Instant::now() + Duration::from_secs(10);
        while std::os::unix::net::UnixStream::connect(self.path("tpm.ctrl")).is_err() {
            assert!(Instant::now() < until, "swtpm does not listen");
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// As a power cut: nothing is said to the TPM before.
    pub fn stop(&mut self) {
        let Some(mut child) = self.child.take() else { return };
        child.kill().unwrap();
        child.wait().unwrap();
        let _ = std::fs::remove_file(self.socket());
        let _ = std::fs::remove_file(self.path("tpm.ctrl"));
    }

    /// One of the `tpm2-tools`, in the emulator's directory, which has no other client meanwhile.
    #[track_caller]
    pub fn tool(&self, command: &str) -> String {
        let mut words = command.split_whitespace();
        let out = Command::new(words.next().unwrap())
            .args(words)
            .env("TPM2TOOLS_TCTI", format!("swtpm:path={}", self.socket().display()))
            .current_dir(self.dir.path())
            .output()
            .unwrap();
        assert!(out.status.success(), "{command}: {}", String::from_utf8_lossy(&out.stderr));
        String::from_utf8_lossy(&out.stdout).into_owned()
    }
}

impl Drop for Emulator {
    fn drop(&mut self) {
        self.stop();
    }
}
