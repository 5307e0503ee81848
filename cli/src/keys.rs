//! `keygen`, `sign` and `verify`: the vendor's key and signature, and the operator's check of them.
//!
//! Runs in: command line, offline.
//! Does not: overwrite a key unless told to, leave half a file behind, or hold a second opinion: what `verify` says is what the
//! daemon would say, for both ask `edgeguard-attest`.

use std::error::Error;
use std::fmt::Write as _;
use std::fs::File;
use std::fs::OpenOptions;
use std::io;
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::path::PathBuf;

use clap::Args;
use clap::ValueEnum;
use edgeguard_attest::Algorithm;
use edgeguard_attest::MAX_MODULE;
use edgeguard_attest::ModuleDigest;
use edgeguard_attest::Passed;
use edgeguard_attest::Proof;
use edgeguard_attest::Rejection;
use edgeguard_attest::TrustRoot;
use edgeguard_attest::TrustedKey;
use edgeguard_attest::bundle_path;
use edgeguard_attest::read_bounded;
use edgeguard_attest::read_bundle;
use edgeguard_attest::read_module;
use edgeguard_attest::sign::SigningKey;
use rustix::fs::CWD;
use rustix::fs::OFlags;
use rustix::fs::RenameFlags;
use serde::Serialize;

use crate::ExitCode;
use crate::output;

/// Arguments of `keygen`.
#[derive(Debug, Args)]
pub(crate) struct KeygenArgs {
    /// Where to write: DIR/NAME makes DIR/NAME.key (mode 0600) and DIR/NAME.pub.
    #[arg(long, value_name = "DIR/NAME")]
    out: PathBuf,
    /// P-256 is what cosign reads; Ed25519 signs an in-toto statement.
    #[arg(long, value_enum, default_value = "ecdsa-p256")]
    algorithm: KeygenAlgorithm,
    /// Replace files that are there. The old private key is then lost.
    #[arg(long)]
    force: bool,
}

/// The algorithms for which keys are made.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum KeygenAlgorithm {
    EcdsaP256,
    Ed25519,
}

/// Arguments of `sign`.
#[derive(Debug, Args)]
pub(crate) struct SignArgs {
    /// The private key: PKCS#8 in PEM, as `keygen` or `openssl genpkey` writes it.
    #[arg(long)]
    key: PathBuf,
    /// The module. Its bundle, MODULE.sigstore.json, is replaced if it is there.
    module: PathBuf,
}

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

pub(crate) fn keygen(args: KeygenArgs) -> ExitCode {
    finish(make_keys(&args).map(|text| (text, ExitCode::Ok)))
}

pub(crate) fn sign(args: SignArgs) -> ExitCode {
    finish(sign_module(&args).map(|text| (text, ExitCode::Ok)))
}

pub(crate) fn verify(args: VerifyArgs) -> ExitCode {
    finish(check_module(&args))
}

/// Data to standard output, a failure to standard error. Whatever fails here is usage or a file: a rejection is not a failure of the command.
fn finish(result: Result<(String, ExitCode), Failed>) -> ExitCode {
    match result {
        Ok((text, exit)) => {
            output::data(&text);
            exit
        }
        Err(failed) => {
            output::error(&chain(&failed));
            ExitCode::Usage
        }
    }
}

/// What keeps a command from doing its work.
#[derive(Debug, thiserror::Error)]
enum Failed {
    #[error("`--out` must end in a name, `DIR/NAME`, found `{}`", .0.display())]
    NoName(PathBuf),
    #[error("`{}` exists already; pass another `--out`, or `--force` to replace both files and lose the old key", .0.display())]
    Exists(PathBuf),
    #[error("cannot open `{}`", .0.display())]
    Open(PathBuf, #[source] io::Error),
    #[error("cannot write `{}`", .0.display())]
    Write(PathBuf, #[source] io::Error),
    #[error("cannot use the key `{}`", .0.display())]
    Key(PathBuf, #[source] edgeguard_attest::KeyError),
    #[error("cannot make a key")]
    Generate(#[source] edgeguard_attest::KeyError),
    #[error("cannot read `{}`", .0.display())]
    Read(PathBuf, #[source] edgeguard_attest::ReadError),
    #[error("cannot sign `{}`", .0.display())]
    Sign(PathBuf, #[source] edgeguard_attest::sign::SignError),
    #[error("cannot use the keys that `--key` names")]
    Trust(#[source] edgeguard_attest::TrustError),
    #[error("cannot write JSON")]
    Json(#[source] serde_json::Error),
}

fn make_keys(args: &KeygenArgs) -> Result<String, Failed> {
    // "keys/" has a file name by std's reading, and would become "keys.key".
    let ends_in_name = args.out.file_name().is_some() && !args.out.as_os_str().as_encoded_bytes().ends_with(b"/");
    if !ends_in_name {
        return Err(Failed::NoName(args.out.clone()));
    }
    let (private, public) = (with_suffix(&args.out, ".key"), with_suffix(&args.out, ".pub"));
    if !args.force {
        // Both are looked at before either is written; the rename below still refuses, should one appear meanwhile.
        for path in [&private, &public] {
            if path.symlink_metadata().is_ok() {
                return Err(Failed::Exists(path.clone()));
            }
        }
    }
    let key = SigningKey::generate(match args.algorithm {
        KeygenAlgorithm::EcdsaP256 => Algorithm::EcdsaP256,
        KeygenAlgorithm::Ed25519 => Algorithm::Ed25519,
    })
    .map_err(Failed::Generate)?;
    if let Some(parent) = private.parent().filter(|parent| !parent.as_os_str().is_empty()) {
        std::fs::create_dir_all(parent).map_err(|source| Failed::Write(parent.to_owned(), source))?;
    }
    let existing = if args.force { Existing::Replace } else { Existing::Refuse };
    put(&private, key.to_pem().as_bytes(), 0o600, existing)?;
    put(&public, key.public_pem().as_bytes(), 0o644, existing)?;
    Ok(format!(
        "private key  {}  (mode 0600; stays with the signer)\npublic key   {}  (goes to the operator)\nalgorithm    {}\nkey id       sha256:{}\n",
        private.display(),
        public.display(),
        key.public().algorithm(),
        key.public().id(),
    ))
}

fn sign_module(args: &SignArgs) -> Result<String, Failed> {
    let key_file = open(&args.key)?;
    let key = SigningKey::read(&key_file).map_err(|source| Failed::Key(args.key.clone(), source))?;
    warn_if_shared(&args.key, &key_file);
    let module = read_bounded(&open(&args.module)?, MAX_MODULE).map_err(|source| Failed::Read(args.module.clone(), source))?;
    let bundle = key.sign(&module).map_err(|source| Failed::Sign(args.module.clone(), source))?;
    let path = bundle_path(&args.module);
    put(&path, bundle.as_bytes(), 0o644, Existing::Replace)?;
    Ok(format!(
        "bundle  {}\nmodule  sha256:{}\nkey     sha256:{} ({})\n",
        path.display(),
        ModuleDigest::of(&module),
        key.public().id(),
        key.public().algorithm(),
    ))
}

fn check_module(args: &VerifyArgs) -> Result<(String, ExitCode), Failed> {
    let mut keys = Vec::new();
    for path in &args.key {
        let key = TrustedKey::read(&open(path)?).map_err(|source| Failed::Key(path.clone(), source))?;
        keys.push(key.named(path.display().to_string()));
    }
    let trust = TrustRoot::new(keys).map_err(Failed::Trust)?;
    let bundle = args.bundle.clone().unwrap_or_else(|| bundle_path(&args.module));
    let module_file = open(&args.module)?;
    let mut checked =
        Checked { module: args.module.clone(), bundle, verified: false, digest: None, passed: Vec::new(), proof: None, rejection: None };
    let bundle_file = match open(&checked.bundle) {
        Ok(file) => Some(file),
        Err(Failed::Open(_, error)) if error.kind() == io::ErrorKind::NotFound => None,
        Err(failed) => return Err(failed),
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

/// Opens a file for reading. Without `O_NONBLOCK`, a pipe in its place would make the open itself wait.
fn open(path: &Path) -> Result<File, Failed> {
    let flags = i32::try_from(OFlags::NONBLOCK.bits()).unwrap_or(0);
    OpenOptions::new().read(true).custom_flags(flags).open(path).map_err(|source| Failed::Open(path.to_owned(), source))
}

fn warn_if_shared(path: &Path, file: &File) {
    if let Ok(mode) = file.metadata().map(|metadata| metadata.permissions().mode() & 0o777)
        && mode & 0o077 != 0
    {
        let path = edgeguard_policy::escape(&path.to_string_lossy());
        output::say(&format!("warning: private key `{path}` has mode {mode:04o}, expected 0600; others may read it\n"));
    }
}

#[derive(Clone, Copy)]
enum Existing {
    Refuse,
    Replace,
}

/// Writes a file whole or not at all: a new file beside it, synced, then renamed into place.
fn put(path: &Path, bytes: &[u8], mode: u32, existing: Existing) -> Result<(), Failed> {
    let fail = |source: io::Error| Failed::Write(path.to_owned(), source);
    let beside = with_suffix(path, &format!(".new-{}", std::process::id()));
    let mut file = OpenOptions::new().write(true).create_new(true).mode(mode).open(&beside).map_err(fail)?;
    let renamed = file.write_all(bytes).and_then(|()| file.sync_all()).and_then(|()| match existing {
        Existing::Replace => std::fs::rename(&beside, path),
        Existing::Refuse => rustix::fs::renameat_with(CWD, &beside, CWD, path, RenameFlags::NOREPLACE).map_err(io::Error::from),
    });
    if let Err(error) = renamed {
        let _ = std::fs::remove_file(&beside);
        return Err(if error.kind() == io::ErrorKind::AlreadyExists { Failed::Exists(path.to_owned()) } else { fail(error) });
    }
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    File::open(parent).and_then(|directory| directory.sync_all()).map_err(fail)
}

fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut path = path.as_os_str().to_owned();
    path.push(suffix);
    PathBuf::from(path)
}

/// An error and what caused it, on one line.
fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let _ = write!(text, ": {cause}");
        source = cause.source();
    }
    text
}
