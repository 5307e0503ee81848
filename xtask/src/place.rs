//! Where things lie in this tree, and how a file gets to its place whole or not at all.

use std::fs;
use std::io;
use std::path::Path;
use std::path::PathBuf;

use sha2::Digest;
use sha2::Sha256;

use crate::failure::Failure;
use crate::failure::Result;

/// The root of the tree.
pub fn root() -> PathBuf {
    // Cargo says it when it runs us; the path from the build serves a binary that was started by hand.
    let own = std::env::var_os("CARGO_MANIFEST_DIR").map_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")), PathBuf::from);
    own.parent().map_or(own.clone(), Path::to_path_buf)
}

/// A folder under `target/`, made if it is not there.
pub fn target(name: &str) -> Result<PathBuf> {
    let folder = root().join("target").join(name);
    fs::create_dir_all(&folder).map_err(Failure::at("make the folder", &folder))?;
    Ok(folder)
}

/// An empty folder under `target/`, for work that is thrown away.
pub fn scratch(name: &str) -> Result<PathBuf> {
    let folder = target("scratch")?.join(name);
    match fs::remove_dir_all(&folder) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(Failure::at("empty the folder", &folder)(error)),
        _ => {}
    }
    fs::create_dir_all(&folder).map_err(Failure::at("make the folder", &folder))?;
    Ok(folder)
}

/// Writes a file beside its place, then moves it there: a task that was interrupted leaves no half of one.
pub fn put(path: &Path, bytes: &[u8]) -> Result<()> {
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder).map_err(Failure::at("make the folder", folder))?;
    }
    let beside = path.with_extension("part");
    fs::write(&beside, bytes).map_err(Failure::at("write", &beside))?;
    fs::rename(&beside, path).map_err(Failure::at("put in its place", path))
}

/// A file's bytes.
pub fn get(path: &Path) -> Result<Vec<u8>> {
    fs::read(path).map_err(Failure::at("read", path))
}

/// SHA-256 in lower-case hexadecimal.
pub fn sha256(bytes: &[u8]) -> String {
    hex::encode(Sha256::digest(bytes))
}

/// The path as a developer would type it from the root of the tree.
pub fn shown(path: &Path) -> String {
    path.strip_prefix(root()).unwrap_or(path).display().to_string()
}
