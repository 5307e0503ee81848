//! What operators write, and what a module's import section says.

use edgeguard_policy::Access;

use crate::MIB;
use crate::Target;

pub(crate) const POLICY: Target = Target {
    name: "policy",
    reads: "a module's policy, as `policy check` and the daemon read it",
    memory: 16 * MIB,
    longest: 16 << 10,
    run: |input| match edgeguard_policy::parse_bytes("voice-gate.toml", input) {
        // What is accepted grants nothing outside of what can be written down: absolute, without `..`.
        Ok(policy) => {
            for grant in &policy.dirs {
                assert!(grant.host.is_absolute() && matches!(grant.access, Access::Read | Access::ReadWrite));
                assert!(grant.host.components().all(|part| !matches!(part, std::path::Component::ParentDir)));
            }
        }
        // All mistakes can be shown.
        Err(mistakes) => drop(mistakes.to_string()),
    },
    seeds: || vec![include_bytes!("../../../packaging/examples/voice-gate.toml").to_vec()],
};

pub(crate) const HOST: Target = Target {
    name: "host",
    reads: "the host's own file",
    memory: 16 * MIB,
    longest: 16 << 10,
    run: |input| {
        if let Err(mistakes) = edgeguard_policy::parse_host_bytes("edgeguard.toml", input) {
            drop(mistakes.to_string());
        }
    },
    seeds: || vec![include_bytes!("../../../packaging/examples/edgeguard.toml").to_vec()],
};

pub(crate) const IMPORTS: Target = Target {
    name: "imports",
    reads: "the sections of a signed module, as admission reads them",
    memory: 64 * MIB,
    longest: 64 << 10,
    run: |input| drop(edgeguard_policy::imports::read(input)),
    seeds: || {
        vec![
            b"\0asm\x01\0\0\0\x01\x04\x01\x60\0\0\x02\x23\x01\x16wasi_snapshot_preview1\x08fd_write\0\0".to_vec(),
            b"\0asm\x0d\0\x01\0".to_vec(),
        ]
    },
};
