//! What lies in a granted directory and belongs elsewhere: links that lead out, files with a second name, other file systems.
//!
//! Runs in: command line.
//! Does not: follow a link, open a file, or look at more than [`MAX_ENTRIES`]; where it stops, it says so.

use std::collections::BTreeMap;
use std::fs::Metadata;
use std::os::unix::fs::MetadataExt as _;
use std::path::Component;
use std::path::Path;
use std::path::PathBuf;

use edgeguard_policy::Access;
use edgeguard_policy::Code;
use edgeguard_policy::Diagnostics;
use edgeguard_policy::DirGrant;
use edgeguard_policy::Place;
use edgeguard_policy::Policy;

/// Most entries that are looked at in one directory and all below it.
const MAX_ENTRIES: usize = 20_000;

/// What a walk has found: how many, and the first.
#[derive(Debug, Default)]
struct Found {
    links: (usize, String),
    mounts: (usize, String),
    /// Files with several names, by device and number: how many names they have, how many were met, and the first.
    names: BTreeMap<(u64, u64), (u64, u64, PathBuf)>,
    /// Why not all was looked at.
    cut: Option<String>,
}

/// Warns of what is in the directory with this index.
pub(super) fn check(policy: &Policy, index: usize, dir: &DirGrant, found: &mut Diagnostics) {
    let inside = walk(&dir.host);
    let mut report = |message: String, label: String, help: &str| {
        found.push(policy.diagnostic(Code::Elsewhere, message, Place::Dir(index), label).help(help));
    };
    let (links, first) = inside.links;
    if links > 0 {
        let help = "the module cannot follow them; put what it needs into the directory, or remove them";
        report(
            format!("directory holds {} out of it", several(links, "symbolic link that leads", "symbolic links that lead")),
            first,
            help,
        );
    }
    let (mounts, first) = inside.mounts;
    if mounts > 0 {
        let help = "the grant covers what is mounted there; grant the directory beside it, if that is not meant";
        report(format!("directory holds {}", several(mounts, "other file system", "other file systems")), first, help);
    }
    let shared: Vec<&(u64, u64, PathBuf)> = inside.names.values().filter(|(all, met, _)| met < all).collect();
    if let (Access::ReadWrite, Some((.., first))) = (dir.access, shared.first()) {
        let label = format!("`{}` is one of them, and the module may change it", first.display());
        let help = "find the other name with `find / -samefile FILE`, and give the module a copy";
        report(
            format!("directory holds {} elsewhere", several(shared.len(), "file with a second name", "files with a second name")),
            label,
            help,
        );
    }
    if let Some(why) = inside.cut {
        report("not all of the directory was looked at".to_owned(), why, "look for links out of it yourself: `find DIR -type l`");
    }
}

fn several(n: usize, one: &str, many: &str) -> String {
    format!("{n} {}", if n == 1 { one } else { many })
}

fn walk(root: &Path) -> Found {
    let mut found = Found::default();
    let Ok(device) = std::fs::metadata(root).map(|meta| meta.dev()) else { return found };
    let mut left = MAX_ENTRIES;
    let mut open = vec![root.to_owned()];
    while let Some(dir) = open.pop() {
        let entries = match std::fs::read_dir(&dir) {
            Ok(entries) => entries,
            Err(error) => {
                found.cut.get_or_insert_with(|| format!("`{}`: {error}", dir.display()));
                continue;
            }
        };
        for entry in entries {
            let Ok((path, meta)) = entry.and_then(|entry| Ok((entry.path(), entry.metadata()?))) else { continue };
            let Some(less) = left.checked_sub(1) else {
                found.cut = Some(format!("it holds more than {MAX_ENTRIES} entries"));
                return found;
            };
            left = less;
            if meta.is_dir() && meta.dev() == device {
                open.push(path);
            } else {
                found.note(root, path, &meta, device);
            }
        }
    }
    found
}

impl Found {
    fn note(&mut self, root: &Path, path: PathBuf, meta: &Metadata, device: u64) {
        if meta.dev() != device {
            note(&mut self.mounts, || format!("`{}` is one", path.display()));
        } else if meta.is_symlink() {
            let to = std::fs::read_link(&path).unwrap_or_default();
            if leads_out(root, &path, &to) {
                note(&mut self.links, || format!("`{}` leads to `{}`", path.display(), to.display()));
            }
        } else if meta.is_file() && meta.nlink() > 1 {
            let names = self.names.entry((meta.dev(), meta.ino())).or_insert((meta.nlink(), 0, path));
            names.1 += 1;
        }
    }
}

fn note(of: &mut (usize, String), first: impl FnOnce() -> String) {
    if of.0 == 0 {
        of.1 = first();
    }
    of.0 += 1;
}

/// Whether a link's own words lead above the directory. An absolute one does, wherever it points: the module has no root.
fn leads_out(root: &Path, link: &Path, to: &Path) -> bool {
    let inside = link.parent().and_then(|parent| parent.strip_prefix(root).ok()).unwrap_or(Path::new(""));
    let mut depth = inside.components().count();
    for part in to.components() {
        match part {
            Component::RootDir | Component::Prefix(_) => return true,
            Component::ParentDir if depth == 0 => return true,
            Component::ParentDir => depth -= 1,
            Component::Normal(_) => depth += 1,
            Component::CurDir => {}
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_is_judged_by_its_own_words() {
        let out = |link: &str, to: &str| leads_out(Path::new("/d"), Path::new(link), Path::new(to));
        for (link, to) in [("/d/a", "b"), ("/d/x/a", "../b"), ("/d/x/a", "./y/../../b"), ("/d/a", "x/..")] {
            assert!(!out(link, to), "{link} {to}");
        }
        for (link, to) in [("/d/a", "/d/b"), ("/d/a", ".."), ("/d/x/a", "../../d/b"), ("/d/a", "x/../../b")] {
            assert!(out(link, to), "{link} {to}");
        }
    }
}
