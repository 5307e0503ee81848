//! What a policy grants, by the names under which the guest sees it: what a release is compared with.
//!
//! Runs in: daemon, command line.

use edgeguard_attest::Access;
use edgeguard_attest::Capabilities;
use edgeguard_policy::Policy;

/// The directories, graphs and variables that `policy` grants. The host's side of a grant (which folder, which model file) is not in it.
#[must_use]
pub fn capabilities(policy: &Policy) -> Capabilities {
    let access = |access| match access {
        edgeguard_policy::Access::Read => Access::Read,
        edgeguard_policy::Access::ReadWrite => Access::ReadWrite,
    };
    Capabilities {
        directories: policy.dirs.iter().map(|dir| (dir.guest.clone(), access(dir.access))).collect(),
        graphs: policy.graphs.iter().map(|graph| graph.name.to_string()).collect(),
        environment: policy.env.keys().cloned().collect(),
    }
}
