//! Grants that reach each other, or reach what no module may reach.
//!
//! Runs in: daemon and command line.
//! Does not: know of symbolic or hard links; the daemon opens each granted directory without following links.

use std::ops::Range;
use std::path::Path;

use crate::codes::Code;
use crate::diagnostic::Diagnostic;
use crate::diagnostic::Diagnostics;
use crate::host::HostConfig;
use crate::paths::within;
use crate::policy::Access;
use crate::policy::DirGrant;
use crate::policy::Place;
use crate::policy::Policy;
use crate::source::Source;
use crate::trust::TrustedRoot;

/// A directory grant and where its two paths stand.
pub(crate) struct Placed {
    pub(crate) grant: DirGrant,
    pub(crate) guest: Range<usize>,
    pub(crate) host: Range<usize>,
}

impl Placed {
    fn host_text(&self) -> &str {
        self.grant.host.to_str().unwrap_or_default()
    }
}

/// Every pair of grants that overlap, on the host's side or the guest's.
pub(crate) fn check_pairs(dirs: &[Placed], source: &Source, found: &mut Diagnostics) {
    for (i, later) in dirs.iter().enumerate() {
        for earlier in dirs.iter().take(i) {
            let hosts = (later.host_text(), &later.host, earlier.host_text(), &earlier.host);
            let guests = (later.grant.guest.as_str(), &later.guest, earlier.grant.guest.as_str(), &earlier.guest);
            for (mine, here, other, there) in [hosts, guests] {
                let message = if mine == other {
                    "directory is granted twice"
                } else if within(mine, other) || within(other, mine) {
                    "directory grants overlap"
                } else {
                    continue;
                };
                let label = if mine == other { "the same directory again" } else { "one lies inside the other" };
                let diagnostic = Diagnostic::new(Code::Overlap, message).at(source, here.clone(), label);
                found.push(
                    diagnostic
                        .also(source, there.clone(), "granted here")
                        .help("keep one of the two, or grant directories that lie beside each other"),
                );
            }
        }
    }
}

/// A directory that is one of the kernel's doors.
pub(crate) fn check_system(dir: &Placed, source: &Source, found: &mut Diagnostics) {
    let host = dir.host_text();
    if host == "/" || KERNEL.iter().any(|door| within(host, door)) {
        found.push(
            Diagnostic::new(Code::SystemDir, format!("`{host}` may not be granted"))
                .at(source, dir.host.clone(), "no module is given this")
                .help("grant the directory that holds the module's own data"),
        );
    }
}

/// A directory that holds what admission depends on: to be changed by the module, or read by it.
pub(crate) fn check_self(dir: &Placed, holds: &[(&str, &str, Range<usize>)], source: &Source, found: &mut Diagnostics) {
    if dir.host_text() == "/" {
        return;
    }
    for (what, path, span) in holds.iter().filter(|(_, path, _)| within(path, dir.host_text())) {
        let (code, message, label, help) = match dir.grant.access {
            Access::ReadWrite => (
                Code::SelfGrant,
                format!("module could change {what}"),
                "granted with `read-write`",
                "grant another directory, or this one with `access = \"read\"`",
            ),
            Access::Read => (
                Code::Holds,
                format!("module could read {what}"),
                "granted with `read`",
                "grant a directory that holds the module's own data alone; a model is computed with without one",
            ),
        };
        let diagnostic = Diagnostic::new(code, message).at(source, dir.host.clone(), label);
        found.push(diagnostic.also(source, span.clone(), format!("`{path}` lies in it")).help(help));
    }
}

/// Grants that reach the supervisor's own directories, or that hold them.
pub(crate) fn check_own_dirs(policy: &Policy, host: &HostConfig, found: &mut Diagnostics) {
    let modules = host.state_dir.join("modules");
    let models = host.state_dir.join("models");
    let own = [&host.policy_dir, &host.profiles_dir, &host.state_dir, &host.runtime_dir, &host.libexec_dir];
    for (i, dir) in policy.dirs.iter().enumerate() {
        let public = [&modules, &models].into_iter().any(|p| inside(&dir.host, p)) && dir.access == Access::Read;
        let Some(reached) = own.iter().find(|o| inside(&dir.host, o) || inside(o, &dir.host)).filter(|_| !public) else { continue };
        let message = format!("`{}` may not be granted", dir.host.display());
        let label = format!("`{}` is the supervisor's own", reached.display());
        found.push(
            policy.diagnostic(Code::SystemDir, message, Place::Dir(i), label).help("grant the directory that holds the module's own data"),
        );
    }
    check_trusted(policy, host, found);
}

/// A writable directory that holds what the host's file trusts.
fn check_trusted(policy: &Policy, host: &HostConfig, found: &mut Diagnostics) {
    let root = match &host.trust.root {
        TrustedRoot::File { path, .. } => Some(path),
        TrustedRoot::PublicGood | TrustedRoot::Nobody => None,
    };
    let keys = host.policy_signing.iter().flat_map(|signing| &signing.keys);
    let trusted: Vec<_> = root.into_iter().chain(&host.trust.tuf_root).chain(keys).collect();
    for (i, dir) in policy.dirs.iter().enumerate().filter(|(_, dir)| dir.access == Access::ReadWrite) {
        if let Some(held) = trusted.iter().find(|path| inside(path, &dir.host)) {
            let label = format!("`{}` lies in it, which the host's file trusts", held.display());
            let help = "grant another directory, or this one with `access = \"read\"`";
            found.push(policy.diagnostic(Code::SelfGrant, "module could change whom the host trusts", Place::Dir(i), label).help(help));
        }
    }
}

fn inside(inner: &Path, outer: &Path) -> bool {
    inner.starts_with(outer)
}

/// Directories through which the kernel is steered or other processes are seen.
const KERNEL: &[&str] = &["/proc", "/sys", "/dev"];
