//! What `verify` prints: for people, each check with what was expected and found; for machines, the same as JSON.
//!
//! Runs in: command line.

use std::fmt::Write as _;
use std::path::PathBuf;

use edgeguard_attest::Met;
use edgeguard_attest::ModuleDigest;
use edgeguard_attest::Passed;
use edgeguard_attest::Proof;
use edgeguard_attest::Rejection;
use edgeguard_attest::Release;
use serde::Serialize;

use super::question::Question;

/// Who said what, of a module or policy that every check passed.
#[derive(Serialize)]
pub(super) struct Outcome {
    pub(super) proofs: Vec<Proof>,
    pub(super) met: Vec<Met>,
    pub(super) release: Option<Release>,
}

/// The outcome of `verify`, as its JSON has it.
#[derive(Serialize)]
pub(super) struct Report {
    file: PathBuf,
    /// The name that statements are held against; absent for a policy.
    name: Option<String>,
    verified: bool,
    /// SHA-256 of the module in lower-case hex; absent if the file is no module.
    pub(super) digest: Option<ModuleDigest>,
    /// The bundles that were read, in order.
    pub(super) bundles: Vec<PathBuf>,
    pub(super) passed: Vec<Passed>,
    proofs: Vec<Proof>,
    met: Vec<Met>,
    release: Option<Release>,
    rejection: Option<Rejection>,
    /// What would be checked on a host, and was not here, for want of what it is checked against.
    not_checked: Vec<&'static str>,
}

impl Report {
    pub(super) fn new(question: &Question) -> Self {
        Self {
            file: question.file.clone(),
            name: (!question.is_policy()).then(|| question.rules.slot.clone()),
            verified: false,
            digest: None,
            bundles: Vec::new(),
            passed: Vec::new(),
            proofs: Vec::new(),
            met: Vec::new(),
            release: None,
            rejection: None,
            not_checked: question.not_checked(),
        }
    }

    pub(super) fn outcome(&mut self, outcome: Result<Outcome, Rejection>) {
        match outcome {
            Ok(Outcome { proofs, met, release }) => {
                self.verified = true;
                (self.proofs, self.met, self.release) = (proofs, met, release);
            }
            Err(rejection) => self.rejection = Some(rejection),
        }
    }

    pub(super) fn json(&self) -> Result<String, serde_json::Error> {
        let mut text = serde_json::to_string_pretty(self)?;
        text.push('\n');
        Ok(text)
    }

    pub(super) fn text(&self) -> String {
        let mut out = format!("{}\n", edgeguard_policy::escape(&self.file.to_string_lossy()));
        for Passed { check, expected, found } in &self.passed {
            let _ = writeln!(out, "  passed  {check:12} expected {expected}\n{:22} found {found}", "");
        }
        if let Some(Rejection { check, expected, found, .. }) = &self.rejection {
            let _ = writeln!(out, "  FAILED  {check:12} expected {expected}\n{:22} found {found}", "");
        }
        match &self.rejection {
            None => {
                for what in &self.not_checked {
                    let _ = writeln!(out, "  not checked: {what}");
                }
                self.verified(&mut out);
            }
            Some(Rejection { code, .. }) => {
                let _ = writeln!(out, "rejected: `edgeguard explain {code}` says more");
            }
        }
        out
    }

    fn verified(&self, out: &mut String) {
        if let Some(Release { name, version, .. }) = &self.release {
            let _ = writeln!(out, "release of `{}`, version {version}", edgeguard_policy::escape(name));
        }
        for proof in &self.proofs {
            let who = proof.keyless.as_ref().map_or(&proof.key_name, |keyless| &keyless.identity);
            let by = format!("`{}` ({}, {})", edgeguard_policy::escape(who), proof.algorithm, proof.form);
            let when = proof.times.first().map(|proved| format!(", no later than {}", proved.time)).unwrap_or_default();
            let _ = writeln!(out, "verified: signed with {by}{when}");
        }
    }
}
