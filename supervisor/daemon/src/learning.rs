//! Learning mode: the policy of one module, widened by what lies ready on a lab machine.
//!
//! Runs in: daemon, in the program `edgeguardd-learning` alone.
//! Invariant: what the module is given stands as a text under `STATE/learning`, and its digest in the journal: `policy learn` reads both.

use std::fs;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::path::PathBuf;

use edgeguard_policy::Learning;
use edgeguard_policy::MAX_DIRS;
use edgeguard_policy::Policy;
use edgeguard_policy::Profiles;

/// The policy that the module runs under instead of its own.
///
/// # Errors
/// Why it cannot, in words; the module is refused then.
pub fn widen(
    learning: &Learning,
    state: &Path,
    own: &Policy,
    text: &str,
    profiles: &Profiles,
    others: &[String],
) -> Result<Policy, String> {
    let directories = learning.directory.as_deref().map_or_else(|| Ok(Vec::new()), directories)?;
    let whole = |name: &str, text: &str| edgeguard_policy::expand(name, text.as_bytes(), profiles).map(|expanded| expanded.text);
    let own_text = whole(own.file_name(), text).map_err(|mistakes| mistakes.to_string())?;
    // Policies with mistakes are refused by themselves.
    let others: Vec<String> = others.iter().filter_map(|text| whole("", text).ok()).collect();
    let others: Vec<&str> = others.iter().map(String::as_str).collect();
    let wide = learning.widen(own, &own_text, &directories, &others);
    let path = keep(state, own, &wide).map_err(|error| format!("learning mode cannot write what it grants: {error}"))?;
    tracing::warn!(module = own.name.as_str(), policy = %path.display(), "LEARNING MODE: this module is given more than its policy");
    edgeguard_policy::parse(&path.display().to_string(), &wide).map_err(|mistakes| mistakes.to_string())
}

/// The names of the directories that lie ready, the first of them by name.
fn directories(dir: &Path) -> Result<Vec<String>, String> {
    // As every granted path: nobody leads it elsewhere.
    let handle = crate::handle::dir("learning directory", dir).map_err(|error| crate::chain(&error))?;
    let unreadable = |error| format!("cannot list the learning directory: {error}");
    let mut names = Vec::new();
    for entry in handle.entries().map_err(unreadable)?.take(MAX_ENTRIES) {
        let entry = entry.map_err(unreadable)?;
        if entry.file_type().map_err(unreadable)?.is_dir() {
            names.extend(entry.file_name().into_string());
        }
    }
    names.sort();
    names.truncate(MAX_DIRS);
    Ok(names)
}

fn keep(state: &Path, own: &Policy, text: &str) -> std::io::Result<PathBuf> {
    use std::io::Write as _;
    let dir = state.join("learning");
    fs::create_dir_all(&dir)?;
    let (path, new) = (dir.join(format!("{}.toml", own.name)), dir.join(format!("{}.toml.new", own.name)));
    let mut file = fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&new)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    fs::rename(&new, &path)?;
    Ok(path)
}

/// Most entries of the learning directory that are looked at.
const MAX_ENTRIES: usize = 1024;
