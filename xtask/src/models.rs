//! `cargo xtask models`: the models that demo and tests use, into `target/models`.
//!
//! The real one is Silero's, fetched by pip and held against the digests below. Where that is not possible the project's own small
//! model takes its place, with the same inputs and outputs: worse at its work, but always there.

use std::fs;
use std::path::Path;
use std::path::PathBuf;
use std::process::Command;

use crate::failure::Failure;
use crate::failure::Result;
use crate::place;
use crate::shell;

#[derive(clap::Args, Default)]
pub struct Arguments {
    /// Use the project's own model without trying to fetch the real one
    #[arg(long)]
    pub offline: bool,
}

/// The voice activity model for graph `vad`.
#[derive(Debug)]
pub struct Model {
    /// Where it lies.
    pub path: PathBuf,
    /// SHA-256, as a policy names it.
    pub sha256: String,
    /// Whether it is Silero's, not the project's own.
    pub real: bool,
}

/// Finds, fetches or replaces the model, and says which it was.
pub fn run(arguments: &Arguments) -> Result<Model> {
    let silero = place::target("models")?.join(SILERO_MEMBER);
    let model = if let Some(model) = kept(&silero) {
        model
    } else if arguments.offline {
        own()?
    } else {
        match shell::step(&format!("fetching the Silero voice activity model, package {SILERO_PACKAGE}"), || fetch(&silero)) {
            Ok(model) => model,
            Err(failure) => {
                shell::note(format!("not fetched: {failure}"));
                own()?
            }
        }
    };
    let whose = if model.real { "Silero's" } else { "the project's own" };
    println!("{}  {:>8} bytes  {}, {whose}", model.sha256, place::get(&model.path)?.len(), place::shown(&model.path));
    Ok(model)
}

/// What an earlier run fetched, if it is still what it was.
fn kept(path: &Path) -> Option<Model> {
    let sha256 = place::sha256(&fs::read(path).ok()?);
    (sha256 == SILERO_SHA256).then(|| Model { path: path.to_path_buf(), sha256, real: true })
}

/// Has pip fetch the package, checked against its digest, and takes the one file out of it.
fn fetch(into: &Path) -> Result<Model> {
    let scratch = place::scratch("silero")?;
    let requirements = scratch.join("requirements.txt");
    place::put(&requirements, format!("{SILERO_PACKAGE} --hash=sha256:{WHEEL_SHA256}\n").as_bytes())?;
    let unpacked = scratch.join("unpacked");
    let arguments = ["install", "--quiet", "--disable-pip-version-check", "--no-input", "--no-deps", "--no-compile", "--only-binary=:all:"];
    shell::output(pip()?.args(arguments).arg("--require-hashes").arg("--target").arg(&unpacked).arg("--requirement").arg(&requirements))?;
    let bytes = place::get(&unpacked.join("silero_vad/data").join(SILERO_MEMBER))?;
    let sha256 = place::sha256(&bytes);
    if sha256 != SILERO_SHA256 {
        return Err(Failure::new(format!("`{SILERO_MEMBER}` has SHA-256 {sha256}; expected {SILERO_SHA256}")));
    }
    place::put(into, &bytes)?;
    // A scratch folder that stays does no harm.
    let _ = fs::remove_dir_all(scratch);
    Ok(Model { path: into.to_path_buf(), sha256, real: true })
}

/// The first way to call pip that answers.
fn pip() -> Result<Command> {
    for words in [&["python3", "-m", "pip"][..], &["pip3"], &["pip"]] {
        let command = || {
            let mut words = words.iter();
            let mut command = Command::new(words.next().unwrap_or(&"pip"));
            command.args(words);
            command
        };
        if shell::output(command().arg("--version")).is_ok() {
            return Ok(command());
        }
    }
    Err(Failure::new("Python's pip is not installed (Debian: `sudo apt-get install python3-pip`)"))
}

/// The model that `cargo xtask train-vad` made.
fn own() -> Result<Model> {
    let path = place::root().join(crate::train::MODEL);
    let sha256 = place::sha256(&place::get(&path)?);
    shell::note(format!("using the project's own small model instead, `{}`, made by `cargo xtask train-vad`", place::shown(&path)));
    Ok(Model { path, sha256, real: false })
}

const SILERO_PACKAGE: &str = "silero-vad==6.2.3";
const WHEEL_SHA256: &str = "7b7f5436cfcb02fae583a05b512ea96467fd449fe54cb49a5e4f06c51a1e43b8";
/// 16 kHz only, which leaves out the model's control flow: every engine runs it, and runs it fastest.
const SILERO_MEMBER: &str = "silero_vad_openvino_16k.onnx";
const SILERO_SHA256: &str = "7776b81ad1b0350c15d7f1555943b9232eb53e9ca5d989c6d0cea9ebc8664d87";
