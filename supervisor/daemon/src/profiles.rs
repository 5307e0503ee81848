//! The profiles that policies may name, read anew for each load: all policies of one load see the same ones.
//!
//! Runs in: daemon.
//! Does not: judge a profile. One that cannot be read, or has mistakes, refuses the policies that name it, and no others.

use std::path::Path;

use edgeguard_policy::Profiles;

use crate::handle;

/// Reads the directory; one that is not there holds none.
pub fn read(dir: &Path) -> Profiles {
    let place = dir.display().to_string();
    let entries = match std::fs::read_dir(dir) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Profiles::of(&place),
        Err(error) => return Profiles::failed(&place, &error.to_string()),
    };
    let mut profiles = Profiles::of(&place);
    for (count, entry) in entries.enumerate() {
        let path = match entry {
            Ok(entry) => entry.path(),
            Err(error) => return Profiles::failed(&place, &error.to_string()),
        };
        if count >= MAX_FILES {
            return Profiles::failed(&place, &format!("it holds more than {MAX_FILES} files"));
        }
        let Some(name) = path.extension().filter(|ext| *ext == "toml").and(path.file_stem()).and_then(|stem| stem.to_str()) else {
            continue;
        };
        match bytes(&path) {
            Ok(bytes) => profiles.add(name, &path.display().to_string(), &bytes),
            Err(reason) => profiles.unreadable(name, &reason),
        }
    }
    profiles
}

/// The file, to one byte beyond what a profile may have: the longer one is refused as such.
fn bytes(path: &Path) -> Result<Vec<u8>, String> {
    use std::io::Read as _;
    let file = handle::file("profile", path).map_err(|error| crate::chain(&error))?;
    let mut bytes = Vec::new();
    file.take(edgeguard_policy::MAX_TEXT as u64 + 1).read_to_end(&mut bytes).map_err(|error| format!("cannot read it: {error}"))?;
    Ok(bytes)
}

/// Most files that the directory may hold.
const MAX_FILES: usize = 256;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]
    use std::fs;
    use std::os::unix::fs::symlink;

    use super::*;

    const POLICY: &str = "version = 1\nprofiles = [\"small\"]\n[module]\nname = \"m\"\npath = \"/m.wasm\"\nmode = \"command\"\n[[module.signer]]\nkey = \"/k.pub\"\n";
    const SMALL: &str = "version = 1\n[limits]\nmemory = \"1 MiB\"\ndeadline = \"1 s\"\ninstances = 1\noutput = \"0 B\"\n";

    fn judged(dir: &Path) -> Result<u64, String> {
        edgeguard_policy::parse_with("m.toml", POLICY, &read(dir)).map(|policy| policy.limits.memory).map_err(|found| found.to_string())
    }

    #[test]
    fn a_profile_is_a_plain_file_of_its_name_in_the_directory() {
        let dir = tempfile::tempdir().unwrap();
        assert!(judged(&dir.path().join("nowhere")).unwrap_err().contains("EG090"));
        assert!(judged(dir.path()).unwrap_err().contains("EG090"));
        let file = dir.path().join("small.toml");
        fs::write(&file, SMALL).unwrap();
        fs::write(dir.path().join("other.toml"), "no profile at all").unwrap();
        assert_eq!(judged(dir.path()).unwrap(), 1 << 20, "one that nobody names is nobody's mistake");
        fs::rename(&file, dir.path().join("elsewhere")).unwrap();
        symlink(dir.path().join("elsewhere"), &file).unwrap();
        assert!(judged(dir.path()).unwrap_err().contains("EG091"), "a link is not followed");
        fs::remove_file(&file).unwrap();
        fs::create_dir(&file).unwrap();
        assert!(judged(dir.path()).unwrap_err().contains("EG091"));
        fs::remove_dir(&file).unwrap();
        fs::write(&file, format!("{SMALL}#{}", "x".repeat(edgeguard_policy::MAX_TEXT))).unwrap();
        assert!(judged(dir.path()).unwrap_err().contains("EG091"), "and one that is too long is not cut");
    }

    #[test]
    fn a_directory_that_cannot_be_listed_is_not_an_empty_one() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("file");
        fs::write(&file, "").unwrap();
        assert!(judged(&file).unwrap_err().contains("EG091"));
        for n in 0..=MAX_FILES {
            fs::write(dir.path().join(format!("{n}.toml")), "").unwrap();
        }
        assert!(judged(dir.path()).unwrap_err().contains("EG091"));
    }
}
