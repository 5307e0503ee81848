//! The libraries of engines that are no part of this product: opened, looked at, and handed to the graph host that maps them.
//!
//! Runs in: daemon.
//! Invariant: what is handed over belongs to root or this user and nobody else may write it, nor put another in its place where it lies.
//! Does not: read them. The graph host compares their digests before it maps them.

use std::os::fd::AsFd;
use std::path::Path;

use cap_std::fs::File;
use edgeguard_policy::Engines;
use edgeguard_wire::graph::Encoding;
use edgeguard_wire::graph::Engine;
use edgeguard_wire::graph::ToGraph;

use crate::child::Child;
use crate::child::ChildError;
use crate::handle;

/// The library that reads OpenVINO's own format, whatever its version. The others that engines map, each needs for every model.
const READER: &str = "libopenvino_ir_frontend.so";

/// Why an engine has no libraries.
#[derive(Debug, thiserror::Error)]
pub enum LibrariesError {
    /// One cannot be opened.
    #[error(transparent)]
    Open(#[from] handle::HandleError),
    /// The host's file does not say where they are.
    #[error("engine `{engine}` has no library; name one in the host's file: `[engines.{engine}]` with {keys}")]
    None {
        /// As policies name it.
        engine: &'static str,
        /// What the section wants.
        keys: &'static str,
    },
    /// The engine is there, and what reads this format is not.
    #[error(
        "engine `openvino` has no reader of `openvino`; put `{READER}…` into its folder and under `[engines.openvino.files]` of the host's file"
    )]
    Reader,
    /// Somebody else could change one.
    #[error("{what} `{path}` {found}; expected one of root's or of this user's that nobody else may write")]
    Loose {
        /// A library, or a folder of them.
        what: &'static str,
        /// Where it is.
        path: String,
        /// Whose it is, and its mode.
        found: String,
    },
    /// The folder's name is no text.
    #[error("folder `{0}` of libraries has a name that is no UTF-8")]
    Name(String),
}

/// What an engine's graph host is handed first.
#[derive(Debug)]
pub enum Libraries {
    /// The engine is built in, or the system's loader maps it.
    None,
    /// One library, and its digest.
    One(File, [u8; 32]),
    /// Several, in one folder.
    Folder {
        /// The folder.
        path: String,
        /// Names and digests.
        files: Vec<(String, [u8; 32])>,
        /// In the same order.
        open: Vec<File>,
    },
}

impl Libraries {
    /// Opens the libraries of an engine, which must be able to read this format.
    ///
    /// # Errors
    /// [`LibrariesError`]; no other engine takes its place.
    pub fn of(engine: Engine, encoding: Encoding, engines: &Engines) -> Result<Self, LibrariesError> {
        match engine {
            Engine::Rten | Engine::LlamaCpp | Engine::PyTorch => Ok(Self::None),
            Engine::OnnxRuntime => {
                let none = LibrariesError::None { engine: "onnxruntime", keys: "`library` and `sha256`" };
                let library = engines.onnxruntime.as_ref().ok_or(none)?;
                Ok(Self::One(file(&library.path)?, library.sha256))
            }
            Engine::OpenVino => {
                let none = LibrariesError::None { engine: "openvino", keys: "`folder` and `files`" };
                let libraries = engines.openvino.as_ref().ok_or(none)?;
                if encoding == Encoding::OpenVino && !libraries.files.iter().any(|(name, _)| name.starts_with(READER)) {
                    return Err(LibrariesError::Reader);
                }
                let shown = || libraries.folder.display().to_string();
                let path = libraries.folder.to_str().ok_or_else(|| LibrariesError::Name(shown()))?.to_owned();
                own("folder", &libraries.folder, handle::dir("folder", &libraries.folder)?)?;
                let open = libraries.files.iter().map(|(name, _)| file(&libraries.folder.join(name))).collect::<Result<_, _>>()?;
                Ok(Self::Folder { path, files: libraries.files.clone(), open })
            }
        }
    }

    /// Hands them to the host, as its first frame.
    ///
    /// # Errors
    /// The host is gone.
    pub fn send(self, child: &Child) -> Result<(), ChildError> {
        match self {
            Self::None => Ok(()),
            Self::One(file, sha256) => child.send(&ToGraph::Library { sha256 }, &[file.as_fd()]),
            Self::Folder { path, files, open } => {
                let fds: Vec<_> = open.iter().map(AsFd::as_fd).collect();
                child.send(&ToGraph::Libraries { folder: path, files }, &fds)
            }
        }
    }
}

fn file(path: &Path) -> Result<File, LibrariesError> {
    own("library", path, handle::file("library", path)?)
}

/// What is given, if nobody but root and this user may change it.
fn own<T: AsFd>(what: &'static str, path: &Path, open: T) -> Result<T, LibrariesError> {
    let loose = |found| LibrariesError::Loose { what, path: path.display().to_string(), found };
    let stat = rustix::fs::fstat(&open).map_err(|errno| loose(format!("cannot be looked at: {errno}")))?;
    let own = [0, rustix::process::geteuid().as_raw()].contains(&stat.st_uid);
    if !own || stat.st_mode & 0o022 != 0 {
        return Err(loose(format!("is of user {} with mode {:o}", stat.st_uid, stat.st_mode & 0o7777)));
    }
    Ok(open)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn a_folder_without_the_reader_of_openvinos_own_format_is_refused_for_that_format_alone() {
        let root = tempfile::tempdir().unwrap();
        let of = |encoding, names: &[&str]| {
            for name in names {
                std::fs::write(root.path().join(name), "x").unwrap();
            }
            let files = names.iter().map(|name| ((*name).to_owned(), [0; 32])).collect();
            let openvino = Some(edgeguard_policy::Libraries { folder: root.path().into(), files });
            Libraries::of(Engine::OpenVino, encoding, &Engines { openvino, ..Engines::default() })
        };
        assert!(matches!(of(Encoding::Onnx, &["libx.so"]), Ok(Libraries::Folder { .. })));
        assert!(matches!(of(Encoding::OpenVino, &["libx.so"]), Err(LibrariesError::Reader)));
        assert!(matches!(of(Encoding::OpenVino, &["libx.so", "libopenvino_ir_frontend.so.1"]), Ok(Libraries::Folder { .. })));
    }

    #[test]
    fn a_folder_or_a_library_that_others_may_write_is_refused_and_so_is_an_engine_without_any() {
        let root = tempfile::tempdir().unwrap();
        let library = root.path().join("libx.so");
        std::fs::write(&library, "x").unwrap();
        let files = vec![("libx.so".to_owned(), [0; 32])];
        let openvino = Some(edgeguard_policy::Libraries { folder: root.path().into(), files });
        let engines = Engines { openvino, ..Engines::default() };
        let of = |path: &Path, mode| {
            std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
            Libraries::of(Engine::OpenVino, Encoding::Onnx, &engines)
        };
        assert!(matches!(of(&library, 0o644), Ok(Libraries::Folder { .. })));
        assert!(matches!(of(&library, 0o664), Err(LibrariesError::Loose { what: "library", .. })));
        of(&library, 0o644).unwrap();
        assert!(matches!(of(root.path(), 0o777), Err(LibrariesError::Loose { what: "folder", .. })));
        assert!(matches!(
            Libraries::of(Engine::OnnxRuntime, Encoding::Onnx, &engines),
            Err(LibrariesError::None { engine: "onnxruntime", .. })
        ));
    }
}
