//! A policy held against what a host can prove, and against a moment: signers whom nothing can check, and windows that are closed.
//!
//! Runs in: daemon and command line.
//! Does not: ask what time it is; whoever calls gives the moment.

use crate::admission::Evidence;
use crate::admission::Signer;
use crate::admission::SignerKind;
use crate::codes::Code;
use crate::diagnostic::Diagnostic;
use crate::diagnostic::Diagnostics;
use crate::host::HostConfig;
use crate::moment::show_moment;
use crate::policy::Place;
use crate::policy::Policy;
use crate::trust::TrustedRoot;

/// What the host lacks that this policy's signers or the host's own rule ask for.
pub(crate) fn check(policy: &Policy, host: &HostConfig, found: &mut Diagnostics) {
    if host.policy_signing.is_some() && policy.revision.is_none() {
        let help = "add `revision = 1` before the first section, and raise it with every change";
        let label = "an older text of this policy would not be told from it";
        found.push(policy.diagnostic(Code::NoRevision, "policy has no `revision`, and the host wants one", Place::Name, label).help(help));
    }
    if let Some((source, span)) = policy.places.profiles.as_ref().filter(|_| host.policy_signing.is_some()) {
        let message = "policy names profiles, and the host wants it signed";
        let label = "nobody signs what these say with it";
        let help = "write the profiles out with `edgeguard policy expand`, and sign what it prints";
        found.push(Diagnostic::new(Code::SignedProfiles, message).at(source, span.clone(), label).help(help));
    }
    if host.trust.root != TrustedRoot::Nobody {
        return;
    }
    for (i, signer) in policy.signers.iter().enumerate() {
        let label = match (&signer.kind, signer.evidence) {
            (SignerKind::Keyless { .. }, _) => "an identity is vouched for by certificates",
            (SignerKind::Key { .. }, Evidence::Log | Evidence::Timestamp | Evidence::Both) => {
                "its `evidence` is given by a log or an authority"
            }
            (SignerKind::Key { .. }, Evidence::None) => continue,
        };
        let help = "remove `keyless = false` from the host's `[trust]`, or sign with a key and ask for no evidence";
        found.push(policy.diagnostic(Code::NoTrustRoot, "host has no trusted root for this signer", Place::Signer(i), label).help(help));
    }
}

impl Policy {
    /// What is closed at a moment, in seconds since 1970: signers outside their window, and requirements that too few signers are left for.
    ///
    /// The moment is a hint for whoever reads: admission judges windows by proven time.
    #[must_use]
    pub fn check_time(&self, now: i64) -> Diagnostics {
        let mut found = Diagnostics::default();
        for (i, signer) in self.signers.iter().enumerate() {
            let (place, label) = match closed(signer, now) {
                Some(Closed::Retired(since)) => (Place::RetireAt(i), format!("retired since {}", show_moment(since))),
                Some(Closed::Early(until)) => (Place::UsableFrom(i), format!("not usable until {}", show_moment(until))),
                None => continue,
            };
            let help = "nothing to do while others may sign; a signer who is retired for good can be removed";
            found.push(self.diagnostic(Code::Retired, "signer's window is closed now", place, label).help(help));
        }
        for (i, requirement) in self.requirements.iter().enumerate() {
            let open = |id: &&String| self.signers.iter().any(|signer| signer.id == **id && closed(signer, now).is_none());
            let left = requirement.signers.iter().filter(open).count();
            if u32::try_from(left).unwrap_or(u32::MAX) < requirement.threshold {
                let label = format!("{left} of these signers may sign now, and {} must", requirement.threshold);
                let help = "add a signer whose window is open, or move a window";
                found.push(self.diagnostic(Code::NobodyNow, "requirement cannot be met now", Place::Requirement(i), label).help(help));
            }
        }
        found
    }
}

/// Why a signer does not count at a moment.
enum Closed {
    Retired(i64),
    Early(i64),
}

fn closed(signer: &Signer, now: i64) -> Option<Closed> {
    let retired = signer.retire_at.filter(|at| now > *at).map(Closed::Retired);
    retired.or_else(|| signer.usable_from.filter(|at| now < *at).map(Closed::Early))
}
