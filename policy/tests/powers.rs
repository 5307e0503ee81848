//! Powers are ordered, a difference of policies says what that order says, and no answer goes beyond a grant.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod common;

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::path::Path;

use edgeguard_policy::Policy;
use edgeguard_policy::Quota;
use edgeguard_policy::powers::Deed;
use edgeguard_policy::powers::Kind;
use edgeguard_policy::powers::Limit;
use edgeguard_policy::powers::Power;
use edgeguard_policy::powers::Powers;
use edgeguard_policy::powers::Stated;
use edgeguard_policy::powers::Wanted;
use edgeguard_policy::powers::Who;
use edgeguard_policy::powers::can_graph;
use edgeguard_policy::powers::can_path;
use edgeguard_policy::powers::diff;
use proptest::prelude::*;

fn parse(text: &str) -> Policy {
    edgeguard_policy::parse("m.toml", text).unwrap_or_else(|e| panic!("{e}\n{text}"))
}

fn base(from: &str, to: &str) -> Policy {
    assert!(common::BASE.contains(from), "{from}");
    parse(&common::BASE.replace(from, to))
}

fn who() -> impl Strategy<Value = Who> {
    let identity =
        prop::sample::select(vec!["a@x", "*@x", "a@*", "b@x"]).prop_map(|i| (None, Some(("https://i".to_owned(), i.to_owned()))));
    let key = prop::sample::select(vec!["/a", "/b"]).prop_map(|k| (Some(k.to_owned()), None));
    let claims = prop::sample::select(vec![vec![], vec![("ref", "t/*")], vec![("ref", "t/1")]]);
    let moment = || prop::option::of(0..2_i64);
    (prop_oneof![identity, key], claims, moment(), moment(), any::<(bool, bool)>()).prop_map(
        |((key, identity), claims, from, until, evidence)| Who {
            key,
            identity,
            claims: claims.into_iter().map(|(k, v)| (k.to_owned(), v.to_owned())).collect(),
            from,
            until,
            evidence,
        },
    )
}

fn stated() -> impl Strategy<Value = Stated> {
    let age = prop::sample::select(vec![None, Some(std::time::Duration::from_secs(1)), Some(std::time::Duration::from_secs(2))]);
    let words = || prop::collection::btree_set(prop::sample::select(vec!["x".to_owned(), "y".to_owned()]), 0..3);
    let parameters = prop::sample::select(vec![None, Some(BTreeMap::new()), Some(BTreeMap::from([("a".to_owned(), "b".to_owned())]))]);
    prop_oneof![
        Just(Stated::Any),
        Just(Stated::Signature),
        age.clone().prop_map(Stated::Release),
        age.prop_map(Stated::Approval),
        (words(), words(), parameters).prop_map(|(builders, types, parameters)| Stated::Provenance(builders, types, parameters)),
    ]
}

fn power() -> impl Strategy<Value = Power> {
    let wanted = (stated(), 1..3_u32, prop::collection::btree_set(who(), 1..4)).prop_map(|(stated, threshold, signers)| Wanted {
        stated,
        threshold: threshold.min(u32::try_from(signers.len()).unwrap()),
        signers,
    });
    let host = prop::sample::select(vec!["/a", "/a/b", "/ab", "/a/b/c", "/d"]);
    prop_oneof![
        3 => (host, any::<bool>(), prop::option::of(1..3_u32), prop::option::of(0..2_u64)).prop_map(|(host, write, files, bytes)| {
            let quota = if write { Quota { files, bytes } } else { Quota::default() };
            Power::Dir { host: host.to_owned(), write, quota }
        }),
        3 => prop::collection::vec(wanted, 1..3).prop_map(|all| Power::Signing(all.into_iter().collect())),
        1 => (0..3_u64).prop_map(|most| Power::Limit { of: Limit::Memory, most }),
        1 => (0..3_u32).prop_map(|abi| Power::Landlock(Reverse(abi))),
        1 => (0..3_u64).prop_map(|n| Power::MinVersion(Reverse(n))),
        1 => prop::sample::select(vec!["1", "2"]).prop_map(|v| Power::Env { name: "A".to_owned(), value: v.to_owned() }),
    ]
}

fn powers() -> impl Strategy<Value = Powers> {
    prop::collection::vec(power(), 0..5).prop_map(|all| all.into_iter().collect())
}

/// Policies with few values for everything, so that two of them often have something in common.
fn policy() -> impl Strategy<Value = Policy> {
    let dirs = prop::collection::btree_map(prop::sample::select(vec!["/srv/a", "/srv/ab", "/srv/b/x", "/srv/b/y"]), any::<bool>(), 0..4);
    let memory = prop::sample::select(vec!["1 MiB", "2 MiB"]);
    let signers = prop::sample::subsequence(vec!["/a.pub", "/b.pub", "/c.pub"], 1..=3);
    (dirs, memory, signers, 1..3_usize, 0..3_u32, prop::option::of(Just("X = \"1\""))).prop_map(
        |(dirs, memory, signers, threshold, computes, env)| {
            let mut text = format!(
                "version = 1\n[module]\nname = \"m\"\npath = \"/m.wasm\"\nmode = \"command\"\nthreshold = {}\n",
                threshold.min(signers.len())
            );
            signers.iter().for_each(|key| text.push_str(&format!("[[module.signer]]\nkey = \"{key}\"\n")));
            for (i, (host, write)) in dirs.iter().enumerate() {
                let access = if *write { "read-write" } else { "read" };
                text.push_str(&format!("[[dir]]\nguest = \"/d{i}\"\nhost = \"{host}\"\naccess = \"{access}\"\n"));
            }
            let digest = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08";
            text.push_str(&format!(
                "[[graph]]\nname = \"g\"\nmodel = \"/g.onnx\"\nsha256 = \"{digest}\"\nencoding = \"onnx\"\ntarget = \"cpu\"\n"
            ));
            if computes > 0 {
                text.push_str(&format!("computes = {computes}\n"));
            }
            text.push_str(&format!("[limits]\nmemory = \"{memory}\"\ndeadline = \"1 s\"\ninstances = 1\noutput = \"1 KiB\"\n"));
            text.push_str(&env.map(|line| format!("[env]\n{line}\n")).unwrap_or_default());
            parse(&text)
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 3000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn powers_that_cover_each_other_are_equal(a in powers(), b in powers()) {
        prop_assert!(a.covers(&a));
        prop_assert_eq!(a.covers(&b) && b.covers(&a), a == b);
    }

    #[test]
    fn what_covers_what_covers_a_third_covers_the_third(a in powers(), b in powers(), c in powers()) {
        prop_assert!(!(a.covers(&b) && b.covers(&c)) || a.covers(&c));
    }

    #[test]
    fn one_power_that_covers_another_is_ordered_too(a in power(), b in power(), c in power()) {
        prop_assert!(!(a.covers(&b) && b.covers(&a)) || a == b, "{:?} {:?}", a, b);
        prop_assert!(!(a.covers(&b) && b.covers(&c)) || a.covers(&c), "{:?} {:?} {:?}", a, b, c);
    }

    #[test]
    fn a_difference_grants_more_exactly_where_the_old_powers_do_not_cover_the_new(a in policy(), b in policy()) {
        let there = diff("m", Some(&a), Some(&b));
        let back = diff("m", Some(&b), Some(&a));
        prop_assert_eq!(there.grants_more(), !Powers::of(&a).covers(&Powers::of(&b)));
        let count = |diff: &edgeguard_policy::powers::Diff, kind| diff.changes.iter().filter(|c| c.kind == kind).count();
        for (one, other) in [(Kind::Gained, Kind::Lost), (Kind::Wider, Kind::Narrower), (Kind::Other, Kind::Other)] {
            prop_assert_eq!(count(&there, one), count(&back, other));
        }
    }

    #[test]
    fn no_path_is_allowed_that_lies_outside_the_granted_directories(policy in policy(), parts in prop::collection::vec(
        prop::sample::select(vec!["srv", "a", "ab", "b", "x", "y", "..", ".", "", "b2"]), 0..7), write in any::<bool>()) {
        let deed = if write { Deed::Write } else { Deed::Read };
        let asked = format!("/{}", parts.join("/"));
        let answer = can_path(&policy, deed, &asked).unwrap();
        // Judged once more by the components, which is how the kernel walks.
        let mut walked = std::path::PathBuf::from("/");
        for part in Path::new(&asked).components() {
            match part {
                std::path::Component::ParentDir => drop(walked.pop()),
                std::path::Component::Normal(name) => walked.push(name),
                _ => {}
            }
        }
        let held = policy.dirs.iter().any(|dir| walked.starts_with(&dir.host) && (!write || dir.access == edgeguard_policy::Access::ReadWrite));
        prop_assert_eq!(answer.allowed, held, "{} {:?}", asked, answer);
    }
}

fn kinds(old: &Policy, new: &Policy) -> Vec<(Kind, String)> {
    diff("voice-gate", Some(old), Some(new)).changes.into_iter().map(|c| (c.kind, c.words)).collect()
}

#[test]
fn a_policy_written_otherwise_has_the_same_powers() {
    let old = parse(common::BASE);
    let new =
        parse(&common::BASE.replace("500 ms", "500000 us").replace("64 MiB", "65536 KiB").replace("acme.pub\"", "acme.pub\"\nid = \"us\""));
    assert_eq!(kinds(&old, &new), []);
}

#[test]
fn every_way_to_grant_more_is_seen() {
    let old = parse(common::BASE);
    let signer = "key = \"/etc/edgeguard/keys/acme.pub\"";
    let wider = [
        ("access = \"read\"", "access = \"read-write\"", Kind::Wider),
        ("/var/lib/gateway/audio", "/var/lib/gateway", Kind::Gained),
        ("9f86d0", "0f86d0", Kind::Gained),
        ("target = \"cpu\"", "target = \"cpu\"\nengine = \"onnxruntime\"", Kind::Other),
        ("target = \"cpu\"", "target = \"cpu\"\nthreads = 2", Kind::Wider),
        ("target = \"cpu\"", "target = \"cpu\"\nprivate = true", Kind::Other),
        ("64 MiB", "65 MiB", Kind::Wider),
        ("500 ms", "501 ms", Kind::Wider),
        ("instances = 4", "instances = 5", Kind::Wider),
        ("1 MiB", "2 MiB", Kind::Wider),
        ("instances = 4", "instances = 4\nopen-files = 17", Kind::Wider),
        ("instances = 4", "instances = 4\ntable-elements = 10001", Kind::Wider),
        ("MODE = \"prod\"", "MODE = \"debug\"", Kind::Other),
        ("MODE = \"prod\"", "MODE = \"prod\"\nMORE = \"1\"", Kind::Gained),
        ("mode = \"command\"", "mode = \"command\"\nargs = [\"-v\"]", Kind::Gained),
        ("[env]", "[require]\nlandlock = 2\n[env]", Kind::Wider),
        (signer, "key = \"/etc/edgeguard/keys/acme.pub\"\n[[module.signer]]\nkey = \"/b.pub\"", Kind::Wider),
        (signer, "key = \"/b.pub\"", Kind::Other),
    ];
    for (from, to, kind) in wider {
        let new = base(from, to);
        assert!(kinds(&old, &new).iter().any(|(k, _)| *k == kind), "{from} -> {to}: {:?}", kinds(&old, &new));
        assert!(diff("m", Some(&old), Some(&new)).grants_more(), "{from} -> {to}");
    }
}

const SIGNED: &str = "\
[module]\nname = \"m\"\npath = \"/m.wasm\"\nmode = \"command\"\nmin-version = 7\n[[module.signer]]\nid = \"ci\"\nissuer = \"https://i.example\"\n\
identity = \"https://github.com/acme/voice/.github/workflows/r.yml@refs/tags/*\"\nclaims = { repository-id = \"1\" }\n\
[[module.signer]]\nid = \"anna\"\nkey = \"/anna.pub\"\nevidence = \"timestamp\"\nretire-at = 2030-01-01T00:00:00Z\n\
[[module.signer]]\nid = \"ben\"\nkey = \"/ben.pub\"\n\
[[module.require]]\nstatement = \"release\"\nsigners = [\"ci\"]\nmax-age = \"30 d\"\n\
[[module.require]]\nstatement = \"approval\"\nsigners = [\"anna\", \"ben\"]\nthreshold = 2\n";

#[test]
fn a_laxer_rule_of_signing_grants_more_and_a_stricter_one_does_not() {
    let text = common::with(SIGNED).replace("[[module.signer]]\nkey = \"/etc/edgeguard/keys/acme.pub\"\n", "");
    let old = parse(&text);
    for (from, to) in [
        ("threshold = 2", "threshold = 1"),
        ("max-age = \"30 d\"", "max-age = \"31 d\""),
        ("max-age = \"30 d\"\n", ""),
        ("min-version = 7", "min-version = 6"),
        ("claims = { repository-id = \"1\" }\n", ""),
        ("acme/voice/.github/workflows/r.yml@refs/tags/*", "acme/*/.github/workflows/r.yml@refs/tags/*"),
        ("evidence = \"timestamp\"\n", ""),
        ("2030-01-01", "2031-01-01"),
        ("key = \"/ben.pub\"", "key = \"/ben2.pub\""),
    ] {
        assert!(text.contains(from), "{from}");
        let other = parse(&text.replace(from, to));
        assert!(diff("m", Some(&old), Some(&other)).grants_more(), "{from} -> {to}");
        // Back again is stricter, unless one is not more than the other.
        assert_eq!(diff("m", Some(&other), Some(&old)).grants_more(), to.contains("ben2"), "{to} -> {from}");
    }
}

#[test]
fn a_sibling_with_a_longer_name_and_a_way_up_are_outside() {
    let policy = parse(common::BASE);
    let no = |deed, path: &str| {
        let answer = can_path(&policy, deed, path).unwrap();
        assert!(!answer.allowed, "{path}");
        answer.why
    };
    assert!(can_path(&policy, Deed::Read, "/var/lib/gateway/audio/x/../y").unwrap().allowed);
    assert!(no(Deed::Read, "/var/lib/gateway/audio2/x").contains("beside"));
    assert!(
        no(Deed::Read, "/var/lib/gateway/audio/../x").contains("holds")
            || no(Deed::Read, "/var/lib/gateway/audio/../x").contains("no `[[dir]]`")
    );
    assert!(no(Deed::Read, "/var/lib/gateway").contains("is not granted itself"));
    assert!(no(Deed::Write, "/var/lib/gateway/audio/x").contains("access = \"read\""));
    assert!(can_path(&policy, Deed::Read, "audio").is_err() && can_path(&policy, Deed::Read, "/a\nb").is_err());
    let closed = base("instances = 4", "instances = 4\nopen-files = 0");
    assert!(!can_path(&closed, Deed::Read, "/var/lib/gateway/audio/x").unwrap().allowed);
    // Removing a file opens none.
    let closed = parse(&common::BASE.replace("instances = 4", "instances = 4\nopen-files = 0").replace("\"read\"", "\"read-write\""));
    assert!(can_path(&closed, Deed::Write, "/var/lib/gateway/audio/x").unwrap().allowed);
}

#[test]
fn a_graph_is_found_by_its_name_and_by_its_digest_and_not_otherwise() {
    let policy = parse(common::BASE);
    let digest = "9F86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08";
    assert!(can_graph(&policy, "vad").unwrap().allowed && can_graph(&policy, digest).unwrap().allowed);
    assert!(!can_graph(&policy, "va").unwrap().allowed && !can_graph(&policy, "VAD").unwrap().allowed);
    assert!(can_graph(&policy, "../x y").is_err());
}

#[test]
fn other_weights_are_another_power_and_their_place_is_none() {
    let with = |path: &str, digest: &str| {
        base("\"onnx\"", &format!("\"openvino\"\nweights = \"{path}\"\nweights-sha256 = \"{}\"", digest.repeat(32)))
    };
    let (a, b, moved) = (with("/a.bin", "aa"), with("/a.bin", "bb"), with("/b.bin", "aa"));
    let found = kinds(&a, &b);
    let both = |said: &str| said.contains(&"bb".repeat(32)) && said.contains("before: ") && said.contains(&"aa".repeat(32));
    assert!(found.iter().any(|(kind, said)| *kind == Kind::Other && both(said)), "{found:?}");
    assert!(diff("m", Some(&a), Some(&b)).grants_more() && diff("m", Some(&b), Some(&a)).grants_more());
    assert!(found.iter().any(|(_, said)| said == "the graph `vad` has other weights"), "{found:?}");
    let found = kinds(&a, &moved);
    assert!(found.iter().all(|(kind, _)| *kind == Kind::Moved), "{found:?}");
    assert!(found.iter().any(|(_, said)| said == "the weights of `vad` are read from `/b.bin`, were `/a.bin`"), "{found:?}");
    let told = can_graph(&a, "vad").unwrap();
    assert!(told.allowed && told.why.contains(&format!("its weights `/a.bin` with the digest `{}`", "aa".repeat(32))), "{told:?}");
    assert_eq!(a.graphs[0].engine, edgeguard_policy::Engine::OpenVino);
}

#[test]
fn when_a_graph_is_loaded_is_no_power_and_a_reviewer_sees_it() {
    let start = parse(common::BASE);
    let later = base("target = \"cpu\"", "target = \"cpu\"\nload = \"first-use\"\nidle-unload = \"10 min\"");
    for (old, new, words) in [
        (&start, &later, "is loaded on first use, and goes after 10 min without, was when its module is admitted"),
        (&later, &start, "is loaded when its module is admitted, was on first use, and goes after 10 min without"),
    ] {
        let found = kinds(old, new);
        assert!(found.iter().all(|(kind, _)| *kind == Kind::Moved), "{found:?}");
        assert!(found.iter().any(|(_, said)| said.contains(words)), "{found:?}");
    }
}

#[test]
fn a_larger_quota_is_more_power_and_none_is_most() {
    let with = |quota: &str| base("access = \"read\"", &format!("access = \"read-write\"\n{quota}"));
    let (none, large, small) = (with(""), with("files = 9\nbytes = \"2 MiB\""), with("files = 9\nbytes = \"1 MiB\""));
    for (old, new, kind) in [
        (&small, &large, Kind::Wider),
        (&large, &none, Kind::Wider),
        (&small, &none, Kind::Wider),
        (&large, &small, Kind::Narrower),
        (&none, &small, Kind::Narrower),
    ] {
        let found = kinds(old, new);
        assert!(found.iter().any(|(found, _)| *found == kind), "{found:?}");
    }
    let found = kinds(&small, &with("files = 8\nbytes = \"2 MiB\""));
    assert!(found.iter().any(|(kind, said)| *kind == Kind::Other && said.contains("up to 8 files and 2 MiB there")), "{found:?}");
    // What may only be read cannot grow, so it is covered whatever the quota.
    assert!(kinds(&small, &base("", "")).iter().all(|(kind, _)| *kind == Kind::Narrower));
}

#[test]
fn longer_computes_and_larger_tensors_are_more_power() {
    let with = |lines: &str| base("target = \"cpu\"", &format!("target = \"cpu\"\n{lines}"));
    let some = with("deadline = \"1 s\"\ntensors = \"1 MiB\"");
    for more in [
        with("deadline = \"2 s\"\ntensors = \"1 MiB\""),
        with("deadline = \"1 s\"\ntensors = \"2 MiB\""),
        with("deadline = \"1 s\""),
        with(""),
    ] {
        assert!(diff("m", Some(&some), Some(&more)).grants_more() && !diff("m", Some(&more), Some(&some)).grants_more());
    }
}

#[test]
fn another_address_more_clients_and_finer_clocks_are_more_power() {
    let serving = |lines: &str, limits: &str| {
        let text =
            common::BASE.replace("mode = \"command\"", "mode = \"http\"").replace("instances = 4", &format!("instances = 4\n{limits}"));
        parse(&format!("{text}\n[http]\nlisten = \"unix:/run/a.sock\"\n{lines}"))
    };
    let (command, some) = (parse(common::BASE), serving("clients = [\"uid:7\"]\nconnections = 4\n", "clock-resolution = \"1 ms\""));
    assert!(diff("m", Some(&command), Some(&some)).grants_more());
    let other = |lines: &str| serving(lines, "clock-resolution = \"1 ms\"");
    for more in [
        other("clients = [\"uid:7\", \"uid:8\"]\nconnections = 4\n"),
        other("connections = 4\n"),
        other("clients = [\"uid:7\"]\nconnections = 5\n"),
        other("clients = [\"uid:7\"]\nconnections = 4\nrequest-body = \"2 MiB\"\n"),
        serving("clients = [\"uid:7\"]\nconnections = 4\n", "clock-resolution = \"1 us\""),
        serving("clients = [\"uid:7\"]\nconnections = 4\n", ""),
    ] {
        assert!(diff("m", Some(&some), Some(&more)).grants_more(), "{:?}", kinds(&some, &more));
    }
    for less in [other("clients = []\nconnections = 4\n"), other("clients = [\"uid:7\"]\nconnections = 3\nread-timeout = \"1 s\"\n")] {
        assert!(!diff("m", Some(&some), Some(&less)).grants_more(), "{:?}", kinds(&some, &less));
    }
}
