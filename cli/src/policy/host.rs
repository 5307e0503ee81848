//! What a policy names, looked up on this host.
//!
//! Runs in: command line.
//! Does not: follow symbolic links but those that none but root could have made, and says where there is one; the daemon opens these paths in the same way.

use std::collections::BTreeMap;
use std::fs::File;
use std::fs::Metadata;
use std::io::Read as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::path::PathBuf;
use std::time::Duration;

use edgeguard_attest::KeyId;
use edgeguard_attest::TrustedKey;
use edgeguard_policy::Code;
use edgeguard_policy::Diagnostic;
use edgeguard_policy::Diagnostics;
use edgeguard_policy::HostConfig;
use edgeguard_policy::Place;
use edgeguard_policy::Policy;
use edgeguard_policy::SignerKind;
use edgeguard_policy::Trail;
use edgeguard_policy::TrustedRoot;
use rustix::fs::Mode;
use rustix::fs::OFlags;
use sha2::Digest as _;
use sha2::Sha256;

use super::engines;
use super::files;
use super::inside;

/// The host's own file; its defaults where there is none.
pub(crate) fn config(path: &Path) -> Result<HostConfig, Diagnostics> {
    match path.try_exists() {
        Ok(false) => Ok(HostConfig::default()),
        Ok(true) => {
            let bytes = files::read(path, edgeguard_policy::MAX_TEXT as u64)?;
            edgeguard_policy::parse_host_bytes(&path.display().to_string(), &bytes)
        }
        Err(e) => Err(files::unreadable(path, &e).into()),
    }
}

/// A host's own file that somebody named: it must be there.
pub(crate) fn given(path: &Path) -> Result<HostConfig, Diagnostics> {
    let bytes = files::read(path, edgeguard_policy::MAX_TEXT as u64)?;
    edgeguard_policy::parse_host_bytes(&path.display().to_string(), &bytes)
}

/// Everything that this host has against a policy.
pub(crate) fn check(policy: &Policy, host: &HostConfig) -> Diagnostics {
    let mut found = policy.check_host(host);
    found.extend(policy.check_time(now()));
    // What no module is given is not walked through either.
    let refused = found.iter().any(|d| d.code() == Code::SystemDir);
    let mut look = Look { of: Named::In(policy), found: &mut found };
    look.module(&policy.path);
    look.keys(policy);
    for (i, dir) in policy.dirs.iter().enumerate() {
        if look.entry(&dir.host, Place::Dir(i), Want::Directory).is_some() && !refused {
            inside::check(policy, i, dir, look.found);
        }
    }
    look.deadline(policy);
    look.kernel(policy, host);
    for (i, graph) in policy.graphs.iter().enumerate() {
        look.model("model", &graph.model, &graph.sha256, (Place::Model(i), Place::Digest(i)));
        if let Some(weights) = &graph.weights {
            look.model("weights", &weights.path, &weights.sha256, (Place::Weights(i), Place::WeightsDigest(i)));
        }
    }
    found.extend(engines::check(policy, host));
    found
}

/// What the host's file trusts: its root, the root of its updates, and the keys that sign policies.
pub(crate) fn check_trust(host: &HostConfig) -> Diagnostics {
    let mut found = Diagnostics::default();
    // There is no policy to point into, so the place is not looked at.
    let place = Place::Name;
    if let TrustedRoot::File { path, sha256 } = &host.trust.root {
        Look { of: Named::Alone(path), found: &mut found }.root(path, sha256);
    }
    if let Some(path) = &host.trust.tuf_root {
        Look { of: Named::Alone(path), found: &mut found }.entry(path, place, Want::File);
    }
    let mut first: BTreeMap<KeyId, &Path> = BTreeMap::new();
    for path in host.policy_signing.iter().flat_map(|signing| &signing.keys) {
        let mut look = Look { of: Named::Alone(path), found: &mut found };
        if let Some(other) = look.key(path, place).and_then(|id| first.insert(id, path)) {
            look.same_key(path, place, other);
        }
    }
    found
}

/// This host's clock, in seconds since 1970.
fn now() -> i64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
}

/// The policy file's own mode: whoever may write it decides what is granted.
pub(crate) fn check_policy_file(path: &Path) -> Option<Diagnostic> {
    let meta = std::fs::metadata(path).ok()?;
    let help = format!("run `chmod o-w {}`", path.display());
    let loose = || Diagnostic::new(Code::LooseMode, "policy can be changed by anybody").in_file(&path.display().to_string()).help(help);
    (meta.mode() & WORLD_WRITABLE != 0).then(loose)
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Want {
    File,
    Directory,
}

/// Where a path is named.
enum Named<'a> {
    /// In a policy, at a place that diagnostics point to.
    In(&'a Policy),
    /// In the host's file; diagnostics stand at the path itself.
    Alone(&'a Path),
}

struct Look<'a> {
    of: Named<'a>,
    found: &'a mut Diagnostics,
}

impl Look<'_> {
    fn module(&mut self, path: &Path) {
        if self.entry(path, Place::Path, Want::File).is_none() {
            return;
        }
        if let Err(rejection) = edgeguard_attest::bundles_beside(path) {
            let (message, label) = match rejection.code {
                edgeguard_attest::Code::Unsigned => {
                    let plain = edgeguard_attest::bundle_path(path);
                    (format!("module has no bundle beside it: `{}` does not exist", plain.display()), "this module".to_owned())
                }
                _ => (
                    "module has no bundles that could be read".to_owned(),
                    format!("expected {}, found {}", rejection.expected, rejection.found),
                ),
            };
            let help = "copy the bundles that the vendor delivered with the module to there";
            self.report(Code::NoBundle, message, Place::Path, label, help);
        }
    }

    /// The keys of a policy, and whether two files hold one.
    fn keys(&mut self, policy: &Policy) {
        let mut first: BTreeMap<KeyId, &Path> = BTreeMap::new();
        for (i, signer) in policy.signers.iter().enumerate() {
            let SignerKind::Key { path } = &signer.kind else { continue };
            if let Some(other) = self.key(path, Place::Signer(i)).and_then(|id| first.insert(id, path)) {
                self.same_key(path, Place::Signer(i), other);
            }
        }
    }

    fn same_key(&mut self, path: &Path, place: Place, other: &Path) {
        let label = format!("the key of `{}`", other.display());
        let help = format!("name the other signer's own key, or remove one of the two; `cmp {} {}`", other.display(), path.display());
        self.report(Code::SameKey, "two key files hold one key", place, label, help);
    }

    fn key(&mut self, path: &Path, place: Place) -> Option<KeyId> {
        let real = self.entry(path, place, Want::File)?;
        match files::read(&real, edgeguard_attest::MAX_KEY_FILE) {
            Ok(pem) => match TrustedKey::from_pem(&pem) {
                Ok(key) => return Some(key.id()),
                Err(why) => {
                    let help = "name the NAME.pub that `edgeguard keygen` wrote, or another public key in PEM";
                    self.report(Code::BadKey, format!("file is not a public key: {why}"), place, "this file", help);
                }
            },
            Err(diagnostic) => self.found.push(diagnostic),
        }
        None
    }

    fn root(&mut self, path: &Path, wanted: &[u8; 32]) {
        let place = Place::Name;
        let Some(real) = self.entry(path, place, Want::File) else { return };
        match open(&real).and_then(digest) {
            Ok(actual) if actual == *wanted => {}
            Ok(actual) => {
                let label = format!("expected `{}`, found `{}`", hex::encode(wanted), hex::encode(actual));
                let help =
                    "write the file's digest into `root-sha256` if this is the root that is meant; otherwise find out who changed it";
                self.report(Code::RootDigest, "trusted root is not the one that is pinned", place, label, help);
            }
            Err(e) => self.unreadable(path, place, &e),
        }
    }

    /// A file of a model: `what` it is, and where its path and its digest stand.
    fn model(&mut self, what: &str, path: &Path, wanted: &[u8; 32], (place, digest_place): (Place, Place)) {
        let Some(real) = self.entry(path, place, Want::File) else { return };
        match open(&real).and_then(digest) {
            Ok(actual) if actual == *wanted => {}
            Ok(actual) => {
                let label = format!("the file's is `{}`", hex::encode(actual));
                let help = format!("write the file's digest if this is the {what} that is meant; otherwise find out who changed it");
                let message = format!("{what} {} not the one the policy names", if what == "model" { "is" } else { "file is" });
                self.report(Code::DigestMismatch, message, digest_place, label, help);
            }
            Err(e) => self.unreadable(path, place, &e),
        }
    }

    /// Looks at a path, and at every directory on the way to it. Returns the path without links.
    fn entry(&mut self, path: &Path, place: Place, want: Want) -> Option<PathBuf> {
        let (here, meta) = self.walk(path, place, want)?;
        if want == Want::File && meta.is_file() && meta.mode() & WORLD_WRITABLE != 0 {
            self.loose(Code::LooseMode, path, place, "file can be changed by anybody");
        }
        if want == Want::Directory && meta.is_dir() && meta.mode() & WORLD_WRITABLE != 0 {
            self.loose(Code::LooseDir, path, place, "directory can be changed by anybody");
        }
        let good = match want {
            Want::File => meta.is_file(),
            Want::Directory => meta.is_dir(),
        };
        if !good {
            let wanted = if want == Want::File { "a regular file" } else { "a directory" };
            let label = format!("expected {wanted}, found {}", kind(&meta));
            self.report(Code::WrongKind, "path is of the wrong kind", place, label, "name the right path");
        }
        good.then_some(here)
    }

    /// The way to a path, by the rule of the daemon: a link is followed only where none but root could have made it or led the way to it.
    fn walk(&mut self, path: &Path, place: Place, want: Want) -> Option<(PathBuf, Metadata)> {
        let mut here = PathBuf::new();
        let mut last: Option<Metadata> = None;
        let mut trail = Trail::begin(path.is_absolute());
        let mut ahead = Vec::new();
        push(&mut ahead, path);
        while let Some(part) = ahead.pop() {
            if let Some(dir) = &last {
                trail.through(dir.uid(), dir.mode());
            }
            if part == Path::new("..") {
                here.pop();
            } else {
                here.push(&part);
            }
            let meta = std::fs::symlink_metadata(&here).map_err(|e| self.unreadable(&here, place, &e)).ok()?;
            if meta.is_symlink() {
                if !trail.follows(meta.uid()) {
                    let to =
                        std::fs::canonicalize(path).map_or_else(|_| "the path it leads to".to_owned(), |p| format!("`{}`", p.display()));
                    let label = format!("`{}` is a symbolic link", here.display());
                    self.report(Code::Symlink, "path goes through a symbolic link", place, label, format!("write {to}"));
                    return None;
                }
                let target = std::fs::read_link(&here).map_err(|e| self.unreadable(&here, place, &e)).ok()?;
                push(&mut ahead, &target);
                here.pop();
                continue;
            }
            // A directory with the sticky bit lets nobody replace what is another's.
            let on_the_way = here != Path::new("/") && meta.is_dir() && !ahead.is_empty();
            if on_the_way && meta.mode() & (WORLD_WRITABLE | STICKY) == WORLD_WRITABLE {
                match want {
                    Want::File => self.loose(Code::LooseMode, &here, place, "file could be replaced by anybody"),
                    Want::Directory => self.loose(Code::LooseDir, &here, place, "directory could be replaced by anybody"),
                }
            }
            last = Some(meta);
        }
        last.map(|meta| (here, meta))
    }

    /// A guest that hangs is left alone for longer than a daemon would be.
    fn deadline(&mut self, policy: &Policy) {
        let deadline = policy.limits.deadline;
        if deadline > WATCHDOG {
            let label = format!("a daemon that hangs is ended after {} s, a guest only here", WATCHDOG.as_secs());
            let help = "shorten it, unless the module's work is that long";
            self.report(Code::LongDeadline, "deadline is longer than the watchdog", Place::Deadline, label, help);
        }
    }

    fn kernel(&mut self, policy: &Policy, host: &HostConfig) {
        let abi = edgeguard_sandbox::host::landlock_abi();
        let help = "`edgeguard doctor` says what this kernel has";
        let floor = policy.effective_floor(host).landlock;
        if abi < floor {
            let message = format!("this kernel cannot enforce Landlock ABI {floor}, which the policy or the host requires");
            self.report(Code::KernelFloor, message, Place::Landlock, "the module would not run here", help);
        }
        if let Some(wish) = policy.preferred.map(|wish| wish.landlock).filter(|wish| abi < *wish) {
            let message = format!("this kernel cannot enforce Landlock ABI {wish}, which the policy prefers");
            self.report(Code::KernelWish, message, Place::Preferred, "the module runs without it", help);
        }
    }

    fn loose(&mut self, code: Code, path: &Path, place: Place, message: &str) {
        let label = format!("`{}` is writable for everybody", path.display());
        self.report(code, message, place, label, format!("run `chmod o-w {}`", path.display()));
    }

    fn unreadable(&mut self, path: &Path, place: Place, e: &std::io::Error) {
        let shown = path.display();
        match e.kind() {
            std::io::ErrorKind::NotFound | std::io::ErrorKind::NotADirectory => {
                self.report(
                    Code::Absent,
                    "path does not exist",
                    place,
                    format!("there is no `{shown}`"),
                    "check the spelling, or create it",
                );
            }
            _ => {
                let help = "run the check as the user who runs the service";
                self.report(Code::Unreadable, "path cannot be read", place, format!("`{shown}`: {e}"), help);
            }
        }
    }

    fn report(&mut self, code: Code, message: impl Into<String>, place: Place, label: impl Into<String>, help: impl Into<String>) {
        let diagnostic = match self.of {
            Named::In(policy) => policy.diagnostic(code, message, place, label),
            Named::Alone(path) => {
                Diagnostic::new(code, format!("{}: {}", message.into(), label.into())).in_file(&path.display().to_string())
            }
        };
        self.found.push(diagnostic.help(help));
    }
}

fn open(path: &Path) -> std::io::Result<File> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC | OFlags::NOCTTY;
    Ok(rustix::fs::open(path, flags, Mode::empty())?.into())
}

/// SHA-256 of the file at a path that is no link.
pub(super) fn digest_of(path: &Path) -> std::io::Result<[u8; 32]> {
    open(path).and_then(digest)
}

/// SHA-256 of a file, read in pieces.
pub(super) fn digest(mut file: File) -> std::io::Result<[u8; 32]> {
    let mut hash = Sha256::new();
    let mut buffer = vec![0; 256 * 1024];
    loop {
        let n = file.read(&mut buffer)?;
        if n == 0 {
            return Ok(hash.finalize().into());
        }
        hash.update(buffer.get(..n).unwrap_or_default());
    }
}

fn kind(meta: &Metadata) -> &'static str {
    if meta.is_dir() {
        "a directory"
    } else if meta.is_file() {
        "a regular file"
    } else {
        "a device, pipe or socket"
    }
}

/// `WatchdogSec=` of the unit that is shipped.
const WATCHDOG: Duration = Duration::from_secs(20);

/// `S_IWOTH`
const WORLD_WRITABLE: u32 = 0o002;
/// `S_ISVTX`
const STICKY: u32 = 0o1000;

/// Puts the parts of `path` on top of those ahead, the first uppermost.
fn push(ahead: &mut Vec<PathBuf>, path: &Path) {
    ahead.extend(path.components().rev().map(|part| PathBuf::from(part.as_os_str())));
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

    use super::*;

    #[test]
    fn the_watchdog_is_that_of_the_unit() {
        let unit = include_str!("../../../packaging/systemd/edgeguardd.service");
        let line = unit.lines().find_map(|line| line.strip_prefix("WatchdogSec=")).unwrap();
        assert_eq!(line.parse(), Ok(WATCHDOG.as_secs()));
    }
}
