//! `doctor --pin`: the section of the host's file that pins an engine's libraries, for a folder or file that somebody looked at.
//!
//! Runs in: command line.
//! Does not: decide whether a library is to be trusted, or change a file. It writes down what is there now.

use std::fmt::Write as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use edgeguard_policy::MAX_LIBRARIES;

use super::engines::digest;

/// The section, and what is to be put right before the daemon takes it.
pub(super) struct Section {
    pub(super) text: String,
    pub(super) warnings: Vec<String>,
}

/// Looks at what lies there.
///
/// # Errors
/// Neither engine is there, or its files cannot be read, in words.
pub(super) fn section(place: &Path) -> Result<Section, String> {
    let shown = place.display();
    let whole = std::fs::canonicalize(place).map_err(|error| format!("cannot use `{shown}`: {error}"))?;
    let mut warnings = Vec::new();
    let folder = if whole.is_dir() { whole.as_path() } else { whole.parent().unwrap_or(&whole) };
    loose(folder, &mut warnings)?;
    let names = libraries(folder, &mut warnings)?;
    if let Some(name) = names.iter().find(|name| name.starts_with("libonnxruntime.so")) {
        let path = folder.join(name);
        let text = format!("[engines.onnxruntime]\nlibrary = {}\nsha256 = \"{}\"\n", quoted(&path)?, sha256(&path)?);
        return Ok(Section { text, warnings });
    }
    if !names.iter().any(|name| name.starts_with("libopenvino_c.so")) {
        return Err(format!(
            "expected `libonnxruntime.so…` or `libopenvino_c.so…` in `{}`, found {} libraries",
            folder.display(),
            names.len()
        ));
    }
    if names.len() > MAX_LIBRARIES {
        let found = names.len();
        return Err(format!(
            "expected at most {MAX_LIBRARIES} libraries in `{}`, found {found}; leave those that docs/engines.md lists",
            folder.display()
        ));
    }
    let mut text = format!("[engines.openvino]\nfolder = {}\n\n[engines.openvino.files]\n", quoted(folder)?);
    for name in &names {
        // Writing to a string cannot fail.
        let _ = writeln!(text, "{} = \"{}\"", quoted(Path::new(name))?, sha256(&folder.join(name))?);
    }
    Ok(Section { text, warnings })
}

/// Shared libraries in the folder, by name. Links are left out: the daemon takes none.
fn libraries(folder: &Path, warnings: &mut Vec<String>) -> Result<Vec<String>, String> {
    let failed = |error: std::io::Error| format!("cannot list `{}`: {error}", folder.display());
    let mut names = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        let name = entry.file_name();
        let Some(name) = name.to_str().filter(|name| name.starts_with("lib") && name.contains(".so")) else { continue };
        let kind = entry.file_type().map_err(failed)?;
        if kind.is_symlink() {
            warnings.push(format!("`{}` is a link, and is left out: put the file itself there if it is needed", entry.path().display()));
        } else if kind.is_file() {
            loose(&entry.path(), warnings)?;
            names.push(name.to_owned());
        }
    }
    names.sort();
    Ok(names)
}

/// What the daemon would refuse: whoever may write a library is trusted with every model on it.
fn loose(path: &Path, warnings: &mut Vec<String>) -> Result<(), String> {
    let stat = std::fs::symlink_metadata(path).map_err(|error| format!("cannot look at `{}`: {error}", path.display()))?;
    if stat.mode() & 0o022 != 0 {
        warnings.push(format!(
            "others may write `{}`, and the daemon would refuse it: run `chmod go-w {}`",
            path.display(),
            path.display()
        ));
    }
    Ok(())
}

fn sha256(path: &Path) -> Result<String, String> {
    digest(path).map(hex::encode).map_err(|error| format!("cannot read `{}`: {error}", path.display()))
}

/// A path as TOML has it.
fn quoted(path: &Path) -> Result<String, String> {
    let text = path.to_str().filter(|text| !text.chars().any(|c| c.is_control() || c == '"' || c == '\\'));
    text.map(|text| format!("\"{text}\"")).ok_or_else(|| format!("`{}` cannot be written in the host's file", path.display()))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
    use std::os::unix::fs::PermissionsExt as _;

    use sha2::Digest as _;

    use super::*;

    /// A folder that only its owner writes, with these files.
    fn folder(names: &[&str]) -> tempfile::TempDir {
        let root = tempfile::tempdir().unwrap();
        for name in names {
            std::fs::write(root.path().join(name), name).unwrap();
            std::fs::set_permissions(root.path().join(name), std::fs::Permissions::from_mode(0o644)).unwrap();
        }
        root
    }

    #[test]
    fn what_is_printed_is_a_section_that_the_host_s_file_takes() {
        let root = folder(&["libopenvino_c.so.2641", "libtbb.so.12", "readme.txt"]);
        std::os::unix::fs::symlink("libtbb.so.12", root.path().join("libtbb.so")).unwrap();
        let section = section(root.path()).unwrap();
        assert_eq!(section.warnings.len(), 1, "the link: {:?}", section.warnings);
        let host = edgeguard_policy::parse_host("edgeguard.toml", &format!("version = 1\n{}", section.text)).unwrap();
        let libraries = host.engines.openvino.unwrap();
        assert_eq!(libraries.folder, root.path().canonicalize().unwrap());
        let digest = |name: &str| <[u8; 32]>::from(sha2::Sha256::digest(name));
        let wanted = ["libopenvino_c.so.2641", "libtbb.so.12"].map(|name| (name.to_owned(), digest(name)));
        assert_eq!(libraries.files, wanted);
    }

    #[test]
    fn one_library_is_pinned_by_its_own_path_and_a_loose_one_is_warned_of() {
        let root = folder(&["libonnxruntime.so.1.32.0"]);
        let path = root.path().join("libonnxruntime.so.1.32.0");
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o666)).unwrap();
        let section = section(&path).unwrap();
        assert!(section.warnings.len() == 1 && section.warnings[0].contains("chmod go-w"), "{:?}", section.warnings);
        let host = edgeguard_policy::parse_host("edgeguard.toml", &format!("version = 1\n{}", section.text)).unwrap();
        assert_eq!(host.engines.onnxruntime.unwrap().path, path.canonicalize().unwrap());
    }

    #[test]
    fn a_folder_without_an_engine_is_said_so() {
        let root = folder(&["libm.so.6"]);
        assert!(section(root.path()).err().unwrap().contains("found 1 libraries"));
        assert!(section(&root.path().join("gone")).err().unwrap().contains("cannot use"));
    }
}
