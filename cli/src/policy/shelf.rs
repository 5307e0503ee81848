//! Where profiles are looked for, and reading them.
//!
//! Runs in: command line.
//! Does not: read a directory of profiles before a policy names one, or read one twice.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::path::Path;
use std::path::PathBuf;

use clap::Args;
use edgeguard_policy::MAX_TEXT;
use edgeguard_policy::Profiles;

use super::files;

/// The option that says where profiles lie.
#[derive(Debug, Args)]
pub(crate) struct ProfilesArg {
    /// The directory of the profiles that policies may name; default: `profiles.d` beside the directory that the policy lies in.
    #[arg(long = "profiles", value_name = "DIR")]
    dir: Option<PathBuf>,
}

impl ProfilesArg {
    /// A shelf of the directory that was named, if one was.
    pub(crate) fn shelf(&self) -> Shelf {
        Shelf::at(self.dir.clone())
    }
}

/// Directories of profiles, each read once.
#[derive(Debug, Default)]
pub(crate) struct Shelf {
    given: Option<PathBuf>,
    read: RefCell<BTreeMap<PathBuf, Profiles>>,
}

impl Shelf {
    /// Of this directory; without one, of the one that lies beside each policy's.
    pub(crate) fn at(given: Option<PathBuf>) -> Self {
        Self { given, read: RefCell::default() }
    }

    /// Whether a file is a profile: one of the directory that was named, or of one that is called as those of profiles are.
    pub(crate) fn holds(&self, path: &Path) -> bool {
        let dir = path.parent().unwrap_or(Path::new(""));
        match &self.given {
            Some(given) => {
                matches!((std::fs::canonicalize(dir_of(dir)), std::fs::canonicalize(given)), (Ok(dir), Ok(given)) if dir == given)
            }
            None if dir.file_name().is_some() => dir.ends_with(DIR),
            None => std::fs::canonicalize(dir_of(dir)).is_ok_and(|dir| dir.ends_with(DIR)),
        }
    }

    /// What a policy with this text may name.
    pub(crate) fn for_policy(&self, path: &Path, text: &[u8]) -> Profiles {
        // The key cannot be there without the word, unless it is written in escapes; then it is refused as a name that nobody knows.
        if !text.windows(KEY.len()).any(|window| window == KEY) {
            return Profiles::default();
        }
        let dir = self.given.clone().unwrap_or_else(|| beside(path));
        self.read.borrow_mut().entry(dir).or_insert_with_key(|dir| read(dir)).clone()
    }
}

/// `profiles.d` beside the policy's directory: `main/profiles.d` for `main/policy.d/m.toml`.
fn beside(policy: &Path) -> PathBuf {
    let dir = policy.parent().unwrap_or(Path::new(""));
    if dir.file_name().is_some() {
        return dir.with_file_name(DIR);
    }
    // The name of where one is, or of what `..` leads to.
    let dir = dir_of(dir);
    std::fs::canonicalize(dir).map_or_else(|_| dir.join("..").join(DIR), |real| real.parent().unwrap_or(&real).join(DIR))
}

/// A directory as the system takes it: that without a name is the one where one is.
fn dir_of(dir: &Path) -> &Path {
    if dir.as_os_str().is_empty() { Path::new(".") } else { dir }
}

fn read(dir: &Path) -> Profiles {
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
        match files::read(&path, MAX_TEXT as u64) {
            Ok(bytes) => profiles.add(name, &path.display().to_string(), &bytes),
            Err(why) => profiles.unreadable(name, why.message()),
        }
    }
    profiles
}

/// The key's name, as a policy that has it must hold it.
const KEY: &[u8] = b"profiles";

/// The directory's name.
const DIR: &str = "profiles.d";

/// Most files that a directory of profiles may hold.
const MAX_FILES: usize = 256;
