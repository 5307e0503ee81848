//! What an operator and vendors do around admission: releases, trust packs on a stick, the host's file.
//!
//! Runs in: tests. All by the real command line, as in a house of its own.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use std::fs::File;
use std::io::Write as _;
use std::path::Path;
use std::process::Output;

use serde_json::Value;

use crate::house::House;

impl House {
    /// Adds lines to the host's file. They count from the next start on.
    pub fn host_adds(&self, lines: &str) {
        File::options().append(true).open(self.path("edgeguard.toml")).unwrap().write_all(lines.as_bytes()).unwrap();
    }

    /// `edgeguard sign` with a key of the house and any options; the bundle must not be there yet.
    ///
    /// # Panics
    /// It is not signed.
    pub fn sign_with(&self, key: &str, options: &[&str], module: &Path) {
        let output = self.cli(&["sign", "--key"]).arg(self.path(key).with_extension("key")).args(options).arg(module).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }

    /// Signs a policy file, for hosts where only signed ones count.
    ///
    /// # Panics
    /// It is not signed.
    pub fn sign_policy(&self, key: &str, policy: &Path) {
        let output = self.cli(&["sign", "--key"]).arg(self.path(key).with_extension("key")).arg("--policy").arg(policy).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }

    /// Writes a module and signs it as a release of this version.
    pub fn release(&self, name: &str, version: u64, wasm: &[u8]) {
        let module = self.put_module(name, wasm);
        // Somebody who ships a release replaces the bundle of the one before.
        let _ = std::fs::remove_file(self.release_bundle(name));
        self.sign_with("acme", &["--statement", "release", "--name", name, "--version", &version.to_string()], &module);
    }

    /// The bundle beside a module in which its release is.
    #[must_use]
    pub fn release_bundle(&self, name: &str) -> std::path::PathBuf {
        self.path("modules").join(format!("{name}.wasm.release.sigstore.json"))
    }

    /// The bundle beside a module.
    #[must_use]
    pub fn bundle(&self, name: &str) -> std::path::PathBuf {
        self.path("modules").join(format!("{name}.wasm.sigstore.json"))
    }

    /// `edgeguard trust import`: a stick, and the first root if it is the first time.
    pub fn import(&self, stick: &Path, first_root: Option<&Path>) -> Output {
        let mut command = self.cli(&["trust", "import", "--config"]);
        command.arg(self.path("edgeguard.toml")).arg(stick);
        if let Some(root) = first_root {
            command.arg("--tuf-root").arg(root);
        }
        command.output().unwrap()
    }

    /// `edgeguard trust status --json`: its exit code, and what it says.
    #[must_use]
    pub fn trust_status(&self) -> (Option<i32>, Value) {
        let output = self.cli(&["trust", "status", "--json", "--config"]).arg(self.path("edgeguard.toml")).output().unwrap();
        (output.status.code(), serde_json::from_slice(&output.stdout).unwrap_or_default())
    }

    /// The module is refused with this code and these words: in `status`, to whoever invokes it, and on record.
    ///
    /// # Panics
    /// It is not.
    #[track_caller]
    pub fn refuses(&self, name: &str, code: &str, words: &[&str]) {
        let status = self.module_status(name);
        assert_eq!((&status["state"], &status["detail"]["code"]), (&Value::from("refused"), &Value::from(code)), "{status}");
        let invoked = self.invoke(name);
        assert!(invoked.code == Some(1) && invoked.ending.is_null(), "it ran: {invoked:?}");
        let says = |text: &Value| words.iter().all(|word| text.as_str().is_some_and(|text| text.contains(word)));
        assert!(says(&status["detail"]["reason"]), "{words:?} are not in {status}");
        self.wait_for_event("module-refused", |event| event["module"] == name && event["code"] == code && says(&event["reason"]));
        let explained = self.cli(&["explain", code]).output().unwrap();
        assert!(explained.status.success(), "`edgeguard explain {code}` knows nothing of it");
    }

    /// The module is admitted, and runs.
    ///
    /// # Panics
    /// It does not.
    #[track_caller]
    pub fn admits(&self, name: &str) -> Value {
        let status = self.module_status(name);
        assert_eq!(status["state"], "admitted", "{status}");
        self.run(name);
        status
    }
}
