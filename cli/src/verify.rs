//! `verify`: what admission would say of a module, check by check. Offline.
//!
//! Runs in: command line.
//! Does not: hold a second opinion. What it says is what the daemon would say, for both ask `edgeguard-attest`.

use std::fmt::Write as _;
use std::fs::File;
use std::path::PathBuf;

use clap::Args;
use edgeguard_attest::KeyError;
use edgeguard_attest::ModuleDigest;
use edgeguard_attest::Passed;
use edgeguard_attest::Proof;
use edgeguard_attest::Rejection;
use edgeguard_attest::TrustError;
use edgeguard_attest::TrustRoot;
use edgeguard_attest::TrustedKey;
use edgeguard_attest::bundle_path;
use edgeguard_attest::read_bundle;
use edgeguard_attest::read_module;
use serde::Serialize;

use crate::ExitCode;
use crate::files;
use crate::files::FileError;
use crate::output;

/// Arguments of `verify`.
#[derive(Debug, Args)]
pub(crate) struct VerifyArgs {
    /// A trusted public key; may be repeated, and any one of them suffices.
    #[arg(long, required = true, value_name = "PUB")]
    key: Vec<PathBuf>,
    /// The module.
    module: PathBuf,
    /// The bundle, if it does not lie beside the module as MODULE.sigstore.json.
    #[arg(long)]
    bundle: Option<PathBuf>,
    /// Write the checks as JSON.
    #[arg(long)]
    json: bool,
}

/// What keeps `verify` from doing its work. That a module is rejected is no failure of the command.
#[derive(Debug, thiserror::Error)]
enum Failed {
    #[error("cannot use the key `{}`", .0.display())]
    Key(PathBuf, #[source] KeyError),
    #[error("cannot use the keys that `--key` names")]
    Trust(#[source] TrustError),
    #[error("cannot write JSON")]
    Json(#[source] serde_json::Error),
    #[error(transparent)]
    File(#[from] FileError),
}

pub(crate) fn verify(args: VerifyArgs) -> ExitCode {
    match check_module(&args) {
        Ok((text, exit)) => {
            output::data(&text);
            exit
        }
        Err(failed) => {
            output::error(&files::chain(&failed));
            ExitCode::Usage
        }
    }
}

fn check_module(args: &VerifyArgs) -> Result<(String, ExitCode), Failed> {
    let mut keys = Vec::new();
    for path in &args.key {
        let key = TrustedKey::read(&files::open(path)?).map_err(|source| Failed::Key(path.clone(), source))?;
        keys.push(key.named(path.display().to_string()));
    }
    let trust = TrustRoot::new(keys).map_err(Failed::Trust)?;
    let bundle = args.bundle.clone().unwrap_or_else(|| bundle_path(&args.module));
    let module_file = files::open(&args.module)?;
    let mut checked =
        Checked { module: args.module.clone(), bundle, verified: false, digest: None, passed: Vec::new(), proof: None, rejection: None };
    let bundle_file = match files::open(&checked.bundle) {
        Ok(file) => Some(file),
        Err(error) if error.is_absence() => None,
        Err(error) => return Err(error.into()),
    };
    let outcome = prove(&module_file, bundle_file.as_ref(), &trust, &mut checked);
    match outcome {
        Ok(proof) => {
            checked.verified = true;
            checked.proof = Some(proof);
        }
        Err(rejection) => {
            output::error(&rejection.to_string());
            checked.rejection = Some(rejection);
        }
    }
    let exit = if checked.verified { ExitCode::Ok } else { ExitCode::Rejected };
    let text = if args.json { checked.json()? } else { checked.text() };
    Ok((text, exit))
}

/// What admission does, with each check noted.
fn prove(module: &File, bundle: Option<&File>, trust: &TrustRoot, checked: &mut Checked) -> Result<Proof, Rejection> {
    let module = read_module(module)?;
    checked.digest = Some(module.digest());
    let bundle = read_bundle(bundle.ok_or_else(|| Rejection::unsigned(&checked.bundle))?)?;
    Ok(module.verify_explained(&bundle, trust, &mut checked.passed)?.proof().clone())
}

/// The outcome of `verify`, as its JSON has it.
#[derive(Serialize)]
struct Checked {
    module: PathBuf,
    bundle: PathBuf,
    verified: bool,
    /// SHA-256 of the module in lower-case hex; absent if the file is no module.
    digest: Option<ModuleDigest>,
    passed: Vec<Passed>,
    proof: Option<Proof>,
    rejection: Option<Rejection>,
}

impl Checked {
    fn json(&self) -> Result<String, Failed> {
        let mut text = serde_json::to_string_pretty(self).map_err(Failed::Json)?;
        text.push('\n');
        Ok(text)
    }

    fn text(&self) -> String {
        let mut out = format!("{}\n", edgeguard_policy::escape(&self.module.to_string_lossy()));
        for Passed { check, expected, found } in &self.passed {
            let _ = writeln!(out, "  passed  {check:10} expected {expected}\n{:20} found {found}", "");
        }
        if let Some(Rejection { check, expected, found, .. }) = &self.rejection {
            let _ = writeln!(out, "  FAILED  {check:10} expected {expected}\n{:20} found {found}", "");
        }
        let _ = match &self.proof {
            Some(proof) => writeln!(out, "verified: signed with `{}` ({}, {})", proof.key_name, proof.algorithm, proof.form),
            None => writeln!(out, "rejected"),
        };
        out
    }
}
