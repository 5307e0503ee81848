//! What was seen becomes a policy that grants just that, in a text that is otherwise as it was.
#![cfg(feature = "tools")]
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use edgeguard_policy::Access;
use edgeguard_policy::Policy;
use edgeguard_policy::learn::DirUse;
use edgeguard_policy::learn::LearnError;
use edgeguard_policy::learn::Observed;
use edgeguard_policy::learn::Opens;
use edgeguard_policy::learn::Refused;
use edgeguard_policy::learn::Seen;
use edgeguard_policy::learn::Wants;
use edgeguard_policy::learn::learn;

const BASE: &str = r#"#:schema ./edgeguard-policy.schema.json
# The gate of hall 3.

version = 1

[module]
name = "gate"
path = "/m/gate.wasm"
mode = "command"
args = ["-v"] # loud

[[module.signer]]
key = "/k/acme.pub"

# recordings
[[dir]]
guest = "/in"
host = "/srv/in"
access   =   "read-write" # Ben wanted it

[[dir]]
guest = "/out"
host = "/srv/out"
access = "read-write"

[[dir]]
guest = "/spare"
host = "/srv/spare"
access = "read"

[[graph]]
name = "vad"
model = "/m/vad.onnx"
sha256 = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"
encoding = "onnx"
target = "cpu"
threads = 2

[limits]
memory   = "64 MiB"
deadline = "500 ms"
instances = 4
output = "1 MiB"

[env]
MODE = "prod"
"#;

fn policy(text: &str) -> Policy {
    edgeguard_policy::parse("gate.toml", text).unwrap_or_else(|found| panic!("{found}\n{text}"))
}

fn seen(runs: u64) -> Option<Seen> {
    Some(Seen { runs, first: "2026-11-22T10:00:00Z".into(), last: "2026-11-22T11:00:00Z".into(), uid: format!("uid-{runs}") })
}

/// `/in` was read, `/out` written, `/spare` and the environment left alone, the graph and the arguments used.
fn observed() -> Observed {
    Observed {
        header: vec!["from a journal".into(), "checkpoint of 9 frames".into()],
        runs: 5,
        dirs: vec![
            DirUse { used: seen(5), opens: Opens { all: 12, to_read: 12 }, ..DirUse::default() },
            DirUse { used: seen(4), written: seen(3), unclear: seen(1), ..DirUse::default() },
            DirUse::default(),
        ],
        graphs: vec![seen(5)],
        environment: None,
        arguments: seen(5),
        refused: vec![
            Refused { what: "`path_open` of `x\u{1b}[2K` below `/spare`".into(), wants: Wants::Write(2), seen: seen(2).unwrap() },
            Refused { what: "`load_by_name` of `asr`".into(), wants: Wants::Graph("asr\"\n[limits]".into()), seen: seen(1).unwrap() },
            Refused { what: "`sock_accept`".into(), wants: Wants::Nothing, seen: seen(1).unwrap() },
        ],
    }
}

#[test]
fn a_policy_is_narrowed_with_its_evidence_and_everything_else_stays() {
    let out = learn(&policy(BASE), "gate.toml", BASE, &observed()).unwrap();
    let expected = r#"#:schema ./edgeguard-policy.schema.json
# learned: from a journal
# learned: checkpoint of 9 frames

# The gate of hall 3.

version = 1

[module]
name = "gate"
path = "/m/gate.wasm"
mode = "command"
# learned: asked for in 5 of 5 runs, 2026-11-22T10:00:00Z to 2026-11-22T11:00:00Z, record uid-5
args = ["-v"] # loud

[[module.signer]]
key = "/k/acme.pub"

# recordings
# learned: used in 5 of 5 runs, 2026-11-22T10:00:00Z to 2026-11-22T11:00:00Z, record uid-5
# learned: opened for reading in 12 of 12 opens
[[dir]]
guest = "/in"
host = "/srv/in"
access   =   "read" # Ben wanted it

# learned: used in 4 of 5 runs, 2026-11-22T10:00:00Z to 2026-11-22T11:00:00Z, record uid-4
# learned: written in 3 of 5 runs, 2026-11-22T10:00:00Z to 2026-11-22T11:00:00Z, record uid-3
[[dir]]
guest = "/out"
host = "/srv/out"
access = "read-write"

# learned: not used in any of 5 runs, and so taken away
# learned:   [[dir]]
# learned:   guest = "/spare"
# learned:   host = "/srv/spare"
# learned:   access = "read"

# learned: used in 5 of 5 runs, 2026-11-22T10:00:00Z to 2026-11-22T11:00:00Z, record uid-5
[[graph]]
name = "vad"
model = "/m/vad.onnx"
sha256 = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"
encoding = "onnx"
target = "cpu"
threads = 2

[limits]
memory   = "64 MiB"
deadline = "500 ms"
instances = 4
output = "1 MiB"

# learned: not asked for in any of 5 runs, and so taken away
# learned:   [env]
# learned:   MODE = "prod"

# learned: refused: `path_open` of `x\u{1b}[2K` below `/spare` in 2 of 5 runs, 2026-11-22T10:00:00Z to 2026-11-22T11:00:00Z, record uid-2
# learned:   would be allowed by `access = "read-write"` for `/spare`, if that is what it is refused for
# learned: refused: `load_by_name` of `asr` in 1 of 5 runs, 2026-11-22T10:00:00Z to 2026-11-22T11:00:00Z, record uid-1
# learned:   would be allowed by
# learned:     [[graph]]
# learned:     name = "asr\"\\n[limits]"
# learned: refused: `sock_accept` in 1 of 5 runs, 2026-11-22T10:00:00Z to 2026-11-22T11:00:00Z, record uid-1
# learned:   no grant allows it
"#;
    assert_eq!(out, expected);
    assert_eq!(policy(&out).dirs.iter().map(|dir| dir.access).collect::<Vec<_>>(), [Access::Read, Access::ReadWrite]);
}

#[test]
fn what_was_learned_before_is_replaced_and_what_a_person_wrote_stays() {
    let base = policy(BASE);
    let once = learn(&base, "gate.toml", BASE, &observed()).unwrap();
    let edited = once.replace("# recordings\n", "# recordings, all of them\n");
    let again = learn(&base, "gate.toml", &edited, &observed()).unwrap();
    // What was taken away the first time is not there to be taken away the second; all else is the same.
    let without = |text: &str| -> Vec<String> {
        let gone = [
            "# learned:   [[dir]]",
            "# learned:   guest",
            "# learned:   host",
            "# learned:   access",
            "# learned: not",
            "# learned:   [env]",
            "# learned:   MODE",
        ];
        text.lines().filter(|line| !line.is_empty() && !gone.iter().any(|g| line.starts_with(g))).map(str::to_owned).collect()
    };
    assert_eq!(without(&again), without(&edited));
    assert_eq!(learn(&base, "gate.toml", &again, &observed()).unwrap(), again);
}

#[test]
fn a_text_that_lacks_what_was_used_gets_it_and_keeps_what_nobody_observed() {
    let text = BASE.replace(
        "[[dir]]\nguest = \"/out\"\nhost = \"/srv/out\"\naccess = \"read-write\"\n",
        "[[dir]]\nguest = \"/new\"\nhost = \"/srv/new\"\naccess = \"read-write\"\n",
    );
    let start = text.find("[[graph]]").unwrap();
    let text = format!("{}{}", &text[..start], &text[text.find("[limits]").unwrap()..]);
    let out = learn(&policy(BASE), "gate.toml", &text, &observed()).unwrap();
    let learned = policy(&out);
    let dirs: Vec<_> = learned.dirs.iter().map(|dir| (dir.guest.as_str(), dir.access)).collect();
    assert_eq!(dirs, [("/in", Access::Read), ("/new", Access::ReadWrite), ("/out", Access::ReadWrite)], "{out}");
    assert!(out.contains("# learned: no evidence: the policy that was observed did not have this\n[[dir]]\nguest = \"/new\""), "{out}");
    assert_eq!((learned.graphs.len(), learned.graphs[0].threads), (1, 2), "{out}");
}

#[test]
fn an_open_that_may_have_written_keeps_a_directory_writable_and_says_so() {
    let mut what = observed();
    what.dirs[0].unclear = seen(2);
    let out = learn(&policy(BASE), "gate.toml", BASE, &what).unwrap();
    assert_eq!(policy(&out).dirs[0].access, Access::ReadWrite);
    assert!(out.contains("whether that changed something its record does not say, so `read-write` stays\n# learned: opened for reading in 12 of 12 opens\n[[dir]]\nguest = \"/in\""), "{out}");
}

#[test]
fn what_cannot_be_changed_in_place_is_refused() {
    let base = policy(BASE);
    let nothing = Observed { runs: 0, ..observed() };
    assert!(matches!(learn(&base, "gate.toml", BASE, &nothing), Err(LearnError::NoRuns)));
    assert!(matches!(learn(&base, "gate.toml", &BASE.replace("\"gate\"", "\"door\""), &observed()), Err(LearnError::Module { .. })));
    assert!(matches!(learn(&base, "gate.toml", &BASE.replace("[limits]", "[limit]"), &observed()), Err(LearnError::Text(_))));
    let start = BASE.find("# recordings").unwrap();
    let inline =
        format!("dir = [{{ guest = \"/in\", host = \"/srv/in\", access = \"read\" }}]\n{}", &BASE[BASE.find("version").unwrap()..start]);
    let inline = format!("{inline}{}", &BASE[BASE.find("[[graph]]").unwrap()..]);
    assert!(matches!(learn(&base, "gate.toml", &inline, &observed()), Err(LearnError::Layout("dir"))));
    let dotted =
        BASE.replace("[env]\nMODE", "[x]\n").replace("[x]\n = \"prod\"\n", "").replace("version = 1", "env.MODE = \"prod\"\nversion = 1");
    assert!(matches!(learn(&base, "gate.toml", &dotted, &observed()), Err(LearnError::Layout("env"))));
}

#[test]
fn what_becomes_read_loses_its_quota_and_what_is_written_keeps_it() {
    let quota = "files = 10\nbytes = \"1 MiB\" # enough\n";
    let base = BASE
        .replace("\"read-write\" # Ben wanted it\n", &format!("\"read-write\" # Ben wanted it\n{quota}"))
        .replace("host = \"/srv/out\"\naccess = \"read-write\"\n", &format!("host = \"/srv/out\"\naccess = \"read-write\"\n{quota}"));
    let learned = learn(&policy(&base), "gate.toml", &base, &observed()).unwrap();
    let after = policy(&learned);
    let quotas: Vec<_> = after.dirs.iter().map(|dir| (dir.guest.as_str(), dir.access, dir.quota.files, dir.quota.bytes)).collect();
    assert_eq!(quotas, [("/in", Access::Read, None, None), ("/out", Access::ReadWrite, Some(10), Some(1 << 20))], "{learned}");
}
