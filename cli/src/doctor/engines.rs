//! `doctor`, second part: which model engines this host has.
//!
//! Runs in: command line.
//! Does not: load a library. That one opens and has the pinned digest is what can be said from here; whether it runs is for its graph host, in which it is
//! locked.

use std::fs::File;
use std::io::Read as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use edgeguard_policy::HostConfig;
use edgeguard_policy::Libraries;
use edgeguard_policy::Library;
use sha2::Digest as _;
use sha2::Sha256;

/// One engine.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub(super) struct Engine {
    /// As policies name it.
    pub(super) name: &'static str,
    /// What it reads.
    pub(super) encoding: &'static str,
    /// Where it computes.
    pub(super) targets: &'static [&'static str],
    /// Whether a policy may name it on this host.
    pub(super) usable: bool,
    /// What was found.
    pub(super) found: String,
    /// What to do about it; empty when there is nothing to do.
    pub(super) advice: String,
}

/// All engines that policies may name.
pub(super) fn probe(host: &HostConfig) -> Vec<Engine> {
    let engine = |name, encoding, program: &str, library: Option<Result<String, (String, String)>>| {
        let path = host.libexec_dir.join(program);
        let (usable, found, advice) = match library {
            _ if !path.is_file() => {
                (false, format!("no `{}`", path.display()), "install it, or name its folder in `paths.libexec`".to_owned())
            }
            None => (true, format!("`{}`", path.display()), String::new()),
            Some(Ok(found)) => (true, found, String::new()),
            Some(Err((found, advice))) => (false, found, advice),
        };
        Engine { name, encoding, targets: &["cpu"], usable, found, advice }
    };
    // The library reads its own format by a part of its own, which need not be there.
    let reader = |libraries: &Libraries| libraries.files.iter().any(|(name, _)| name.starts_with("libopenvino_ir_frontend.so"));
    let openvino = if host.engines.openvino.as_ref().is_some_and(reader) { "onnx,openvino" } else { "onnx" };
    vec![
        engine("rten", "onnx", "edgeguard-graph", None),
        engine("onnxruntime", "onnx", "edgeguard-onnxruntime", Some(library(host.engines.onnxruntime.as_ref()))),
        engine("llama.cpp", "gguf", "edgeguard-language", None),
        engine("openvino", openvino, "edgeguard-openvino", Some(libraries(host.engines.openvino.as_ref()))),
        engine("pytorch", "pytorch", "edgeguard-torch", None),
    ]
}

/// What can be said of the operator's library without mapping it: what was found, or besides what to do.
fn library(library: Option<&Library>) -> Result<String, (String, String)> {
    let Some(library) = library else {
        let advice = "name one in the host's file: `[engines.onnxruntime]` with `library` and `sha256`; nothing else needs it";
        return Err(("no library is named".into(), advice.into()));
    };
    pinned(&library.path, &library.sha256)
}

/// The same of a folder of them. That this engine makes code is said of it here, for no other does.
fn libraries(libraries: Option<&Libraries>) -> Result<String, (String, String)> {
    let Some(libraries) = libraries else {
        let advice = "name a folder in the host's file: `[engines.openvino]` with `folder` and `files`; nothing else needs it";
        return Err(("no folder of libraries is named".into(), advice.into()));
    };
    let folder = &libraries.folder;
    let shown = folder.display();
    let stat = std::fs::symlink_metadata(folder)
        .map_err(|error| (format!("`{shown}`: {error}"), "name the folder itself, readable for the daemon's user".to_owned()))?;
    if !stat.is_dir() || stat.mode() & 0o022 != 0 {
        let found = format!("`{shown}` is no folder, or others may write it (mode {:o})", stat.mode() & 0o7777);
        return Err((found, "name the folder itself, and `chmod go-w` it".into()));
    }
    for (name, sha256) in &libraries.files {
        pinned(&folder.join(name), sha256)?;
    }
    Ok(format!("`{shown}`, {} libraries, sha256 as pinned; makes machine code of models", libraries.files.len()))
}

fn pinned(path: &Path, sha256: &[u8; 32]) -> Result<String, (String, String)> {
    let shown = path.display();
    let file = |error: std::io::Error| (format!("`{shown}`: {error}"), "name the file itself, readable for the daemon's user".to_owned());
    let stat = std::fs::symlink_metadata(path).map_err(file)?;
    if !stat.is_file() || stat.mode() & 0o022 != 0 {
        let found = format!("`{shown}` is no regular file, or others may write it (mode {:o})", stat.mode() & 0o7777);
        return Err((found, "name the file itself, and `chmod go-w` it".into()));
    }
    let found = digest(path).map_err(file)?;
    if found != *sha256 {
        let advice = "put back the library that was pinned, or pin this one if you know where it is from";
        return Err((format!("`{shown}` has sha256 {}, which is not the one that is pinned", hex::encode(found)), advice.into()));
    }
    Ok(format!("`{shown}`, sha256 as pinned"))
}

pub(super) fn digest(path: &Path) -> std::io::Result<[u8; 32]> {
    let mut file = File::open(path)?;
    let (mut digest, mut block) = (Sha256::new(), vec![0; 1 << 16]);
    loop {
        match file.read(&mut block)? {
            0 => return Ok(digest.finalize().into()),
            read => digest.update(block.get(..read).unwrap_or_default()),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
    use super::*;

    fn named(host: &HostConfig, name: &str) -> Engine {
        probe(host).into_iter().find(|engine| engine.name == name).unwrap()
    }

    #[test]
    fn an_engine_is_usable_once_its_program_and_its_pinned_library_are_there() {
        let root = tempfile::tempdir().unwrap();
        let mut host = HostConfig { libexec_dir: root.path().into(), ..HostConfig::default() };
        assert!(!named(&host, "rten").usable);
        for program in ["edgeguard-graph", "edgeguard-onnxruntime"] {
            std::fs::write(root.path().join(program), "").unwrap();
        }
        assert!(named(&host, "rten").usable);
        assert!(named(&host, "onnxruntime").found.contains("no library is named"));
        let path = root.path().join("libonnxruntime.so");
        std::fs::write(&path, "library").unwrap();
        host.engines.onnxruntime = Some(Library { path: path.clone(), sha256: [7; 32] });
        assert!(named(&host, "onnxruntime").found.contains("not the one that is pinned"));
        host.engines.onnxruntime = Some(Library { path: path.clone(), sha256: Sha256::digest("library").into() });
        assert!(named(&host, "onnxruntime").usable);
        std::fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o666)).unwrap();
        let loose = named(&host, "onnxruntime");
        assert!(!loose.usable && loose.advice.contains("go-w"), "{loose:?}");
    }

    #[test]
    fn a_folder_of_libraries_is_usable_once_each_of_them_is_the_one_that_is_pinned() {
        let root = tempfile::tempdir().unwrap();
        std::fs::write(root.path().join("edgeguard-openvino"), "").unwrap();
        let mut host = HostConfig { libexec_dir: root.path().into(), ..HostConfig::default() };
        assert!(named(&host, "openvino").found.contains("no folder of libraries"));
        let pin = |sha256| Some(Libraries { folder: root.path().into(), files: vec![("libx.so".into(), sha256)] });
        host.engines.openvino = pin(Sha256::digest("library").into());
        assert!(!named(&host, "openvino").usable, "the library is not there yet");
        std::fs::write(root.path().join("libx.so"), "library").unwrap();
        let there = named(&host, "openvino");
        assert!(there.usable && there.found.contains("makes machine code") && there.encoding == "onnx", "{there:?}");
        host.engines.openvino = pin([7; 32]);
        assert!(!named(&host, "openvino").usable);
        if let Some(libraries) = &mut host.engines.openvino {
            libraries.files = vec![("libopenvino_ir_frontend.so.2641".into(), [7; 32])];
        }
        assert_eq!(named(&host, "openvino").encoding, "onnx,openvino");
    }
}
