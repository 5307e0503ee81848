//! What operators write, and what a module's import section says.

use edgeguard_policy::Access;
use edgeguard_policy::DirGrant;
use edgeguard_policy::Policy;
use edgeguard_policy::learn;
use edgeguard_policy::learn::DirUse;
use edgeguard_policy::learn::LearnError;
use edgeguard_policy::learn::Observed;
use edgeguard_policy::learn::Opens;
use edgeguard_policy::learn::Refused;
use edgeguard_policy::learn::Seen;
use edgeguard_policy::learn::Wants;

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

pub(crate) const LEARN: Target = Target {
    name: "learn",
    reads: "a policy as a person wrote it, which `policy learn` changes in place, by three observations",
    memory: 32 * MIB,
    longest: 16 << 10,
    run: |input| {
        let Ok(text) = std::str::from_utf8(input) else { return };
        let Ok(base) = edgeguard_policy::parse("voice-gate.toml", text) else { return };
        for how in [Use::None, Use::Read, Use::Written] {
            let observed = observed(&base, how);
            match learn::learn(&base, "voice-gate.toml", text, &observed) {
                // What was learned can be learned from again, and grants nothing that was not granted.
                Ok(learned) => {
                    let again = edgeguard_policy::parse("voice-gate.toml", &learned);
                    assert!(again.is_ok(), "what was learned is a policy");
                    let Ok(again) = again else { return };
                    let had = |dir: &DirGrant| base.dirs.iter().any(|other| other.guest == dir.guest && other.host == dir.host);
                    assert!(again.dirs.iter().all(had) && again.graphs.iter().all(|graph| base.graphs.contains(graph)));
                    assert!(how != Use::None || again.dirs.is_empty() && again.graphs.is_empty());
                }
                Err(error) => assert!(!matches!(error, LearnError::Changed), "the text would not say what was learned"),
            }
        }
    },
    seeds: || {
        let examples: [&[u8]; 2] =
            [include_bytes!("../../../packaging/examples/voice-gate.toml"), b"version = 1\r\n[module]\r\nname = \"m\"\r\npath = \"/m\"\r\nmode = \"command\"\r\nargs = [\r\n \"-v\", # loud\r\n]\r\n[[module.signer]]\r\nkey = \"/k\"\r\n[limits]\r\nmemory = \"1 MiB\"\r\ndeadline = \"1 s\"\r\ninstances = 1\r\noutput = \"1 MiB\"\r\n[[dir]] # a\r\nguest = '/a'\r\nhost = '''/a'''\r\naccess = \"read-write\"\r\n# learned: x\r\n[[dir]]\r\naccess = \"read\"\r\nhost = \"/b\"\r\nguest = \"/b\"\r\n[env]\r\nA = \"b\"\r\n"];
        examples.map(<[u8]>::to_vec).into()
    },
};

/// How all that was granted was used.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Use {
    None,
    Read,
    Written,
}

fn observed(policy: &Policy, how: Use) -> Observed {
    let seen = || Seen { runs: 2, first: "2026-11-22T10:00:00Z".into(), last: "2026-11-22T11:00:00Z".into(), uid: "uid".into() };
    let if_used = || (how != Use::None).then(seen);
    let dir = DirUse { used: if_used(), written: (how == Use::Written).then(seen), unclear: None, opens: Opens { all: 3, to_read: 2 } };
    Observed {
        header: vec!["from 3 runs".into()],
        runs: 3,
        dirs: vec![dir; policy.dirs.len()],
        graphs: vec![if_used(); policy.graphs.len()],
        environment: if_used(),
        arguments: if_used(),
        refused: vec![Refused { what: "`load_by_name` of `asr`".into(), wants: Wants::Graph("asr\"\n[x]".into()), seen: seen() }],
    }
}

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
