//! Profiles: what they add, what they may not, and that a policy with them says what its expanded text says.
//!
//! `INSTA_UPDATE=always cargo test` writes the snapshots anew; read the difference before it is committed.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod common;

use edgeguard_policy::Class;
use edgeguard_policy::Code;
use edgeguard_policy::Code::*;
use edgeguard_policy::Diagnostics;
use edgeguard_policy::HostConfig;
use edgeguard_policy::Place;
use edgeguard_policy::Policy;
use edgeguard_policy::Profiles;
use edgeguard_policy::expand;
use edgeguard_policy::parse;
use edgeguard_policy::parse_host;
use edgeguard_policy::parse_with;
use proptest::prelude::*;
use sha2::Digest as _;

const MODULE: &str = r#"[module]
name = "voice-gate"
path = "/var/lib/edgeguard/modules/voice-gate.wasm"
mode = "command"

[[module.signer]]
key = "/etc/edgeguard/keys/acme.pub"
"#;

const SMALL: &str = "# What every small module of ours gets.
version = 1

[limits]
memory = \"64 MiB\"   # enough for all of them
deadline = \"500 ms\"
instances = 4
output = \"1 MiB\"

[require]
landlock = 4
";

const VISION: &str = r#"version = 1

[[dir]]
guest = "/frames"
host = "/var/lib/gateway/frames"
access = "read"

[[graph]]
name = "vad"
model = "/var/lib/edgeguard/models/silero_vad.onnx"
sha256 = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"
encoding = "onnx"
target = "cpu"

[env]
MODE = "prod"
"A key" = 'of ours'

[audit]
paths = "hmac"
"#;

/// A policy of these profiles and whatever else stands in it.
fn using(names: &str, more: &str) -> String {
    format!("version = 1\nprofiles = [{names}]\n\n{MODULE}\n{more}")
}

fn profiles(list: &[(&str, &str)]) -> Profiles {
    let mut all = Profiles::of("/etc/edgeguard/profiles.d");
    list.iter().for_each(|(name, text)| all.add(name, &format!("/etc/edgeguard/profiles.d/{name}.toml"), text.as_bytes()));
    all
}

fn ours() -> Profiles {
    profiles(&[("base-small", SMALL), ("base-vision", VISION)])
}

#[track_caller]
fn good(text: &str, profiles: &Profiles) -> Policy {
    parse_with("voice-gate.toml", text, profiles).unwrap_or_else(|found| panic!("{found}\n{text}"))
}

fn codes(found: &Diagnostics) -> Vec<Code> {
    found.iter().map(|d| d.code()).collect()
}

/// What is wrong with this policy and with these profiles beside ours: the codes in their order, and what a person reads.
fn wrong(name: &str, text: &str, more: &[(&str, &str)], expected: &[Code]) {
    let mut profiles = ours();
    more.iter().for_each(|(name, text)| profiles.add(name, &format!("/etc/edgeguard/profiles.d/{name}.toml"), text.as_bytes()));
    let found = parse_with("voice-gate.toml", text, &profiles).unwrap_err();
    assert_eq!(codes(&found), expected, "{name}:\n{found}");
    insta::assert_snapshot!(name, found.to_string());
}

#[test]
fn wrong_uses_of_profiles_are_explained_where_they_stand() {
    let small = |more: &str| using("\"base-small\"", more);
    wrong("profile_misspelt", &using("\"base-smal\"", ""), &[], &[UnknownProfile]);
    wrong("profile_named_badly", &using("\"../base-small\", \"\"", ""), &[], &[BadName, BadName]);
    wrong("profile_twice", &using("\"base-small\", \"base-small\"", ""), &[], &[ProfileTwice]);
    let nine: Vec<String> = (0..9).map(|i| format!("\"p{i}\"")).collect();
    let many: Vec<(String, String)> = (0..9).map(|i| (format!("p{i}"), SMALL.to_owned())).collect();
    let many: Vec<(&str, &str)> = many.iter().map(|(name, text)| (name.as_str(), text.as_str())).collect();
    wrong("too_many_profiles", &using(&nine.join(", "), ""), &many, &[TooMany]);
    wrong(
        "profiles_of_another_type",
        "version = 1\nprofiles = \"base-small\"\n[module]\n",
        &[],
        &[WrongType, MissingKey, MissingKey, MissingKey, MissingSection],
    );
    let clash = "version = 1\n[limits]\nmemory = \"32 MiB\"\ndeadline = \"500 ms\"\n[env]\nMODE = \"test\"\n";
    wrong("profiles_clash", &using("\"base-small\", \"other\", \"base-vision\"", ""), &[("other", clash)], &[ProfileClash, ProfileClash]);
    wrong(
        "profile_uses_profiles",
        &small("").replace("-small", "-deep"),
        &[("base-deep", "version = 1\nrevision = 2\nprofiles = [\"base-small\"]\n[module]\nname = \"x\"\n")],
        &[ProfileKey, ProfileKey, ProfileKey],
    );
    let broken =
        "version = 2\n[limits]\nmemroy = \"1 MiB\"\nmemory = \"1 MB\"\n[network]\n[[dir]]\nguest = \"/a\"\nhost = \"/srv/../etc\"\n";
    wrong(
        "profile_with_mistakes",
        &using("\"broken\"", "[[dir]]\nguest = \"b\"\nhost = \"/b\"\naccess = \"read\"\n"),
        &[("broken", broken)],
        &[Version, UnknownKey, Size, UnknownKey, MissingKey, LeavesRoot, RelativePath],
    );
    let same = "[[dir]]\nguest = \"/frames\"\nhost = \"/srv/frames\"\naccess = \"read-write\"\n";
    wrong("guest_path_of_a_profile_again", &using("\"base-small\", \"base-vision\"", same), &[], &[Overlap]);
    let graph = VISION.split("[[graph]]").nth(1).unwrap().split("[env]").next().unwrap();
    wrong("graph_of_a_profile_again", &using("\"base-small\", \"base-vision\"", &format!("[[graph]]{graph}")), &[], &[DuplicateGraph]);
    wrong(
        "limits_in_none_of_the_two",
        &using("\"base-vision\"", "[limits]\nmemory = \"1 MiB\"\n"),
        &[],
        &[MissingKey, MissingKey, MissingKey],
    );
    wrong("limits_nowhere", &using("\"base-vision\"", ""), &[], &[MissingSection]);
    wrong("value_out_of_bounds_in_a_profile", &using("\"wide\"", ""), &[("wide", &SMALL.replace("64 MiB", "64 GiB"))], &[OutOfBounds]);
}

#[test]
fn profiles_that_cannot_be_read_are_errors_at_their_names() {
    let named = |profiles: &Profiles| {
        let found = parse_with("voice-gate.toml", &using("\"base-small\", \"base-vision\"", ""), profiles).unwrap_err();
        assert!(
            found.iter().all(|d| d.location().is_some_and(|(file, at)| file == "voice-gate.toml" && at.is_some_and(|(line, _)| line == 2)))
        );
        found
    };
    let mut half = profiles(&[("base-small", SMALL)]);
    half.unreadable("base-vision", "permission denied\u{1b}[2K");
    let found = named(&half);
    assert_eq!(codes(&found), [BadProfile]);
    insta::assert_snapshot!("profile_unreadable", found.to_string());
    let mut latin = profiles(&[("base-small", SMALL)]);
    latin.add("base-vision", "base-vision.toml", b"version = 1 # \xff");
    assert_eq!(codes(&named(&latin)), [BadProfile]);
    let mut large = profiles(&[("base-small", SMALL)]);
    large.add("base-vision", "base-vision.toml", "#".repeat(edgeguard_policy::MAX_TEXT + 1).as_bytes());
    assert_eq!(codes(&named(&large)), [BadProfile]);
    assert_eq!(codes(&named(&Profiles::failed("/etc/edgeguard/profiles.d", "permission denied"))), [BadProfile, BadProfile]);
    assert_eq!(
        codes(&named(&Profiles::default())),
        [UnknownProfile, UnknownProfile],
        "a caller without profiles refuses, and does not leave them out"
    );
}

#[test]
fn a_profile_is_judged_by_itself_as_far_as_it_goes() {
    let judged = |text: &str| codes(&edgeguard_policy::check_profile("base.toml", text.as_bytes()));
    assert_eq!((judged(SMALL), judged(VISION), judged("version = 1\n")), (vec![], vec![], vec![]));
    assert_eq!(judged("version = 1\n[limits]\ninstances = 4\n"), [], "what it leaves to policies is not missing");
    assert_eq!(judged(&SMALL.replace("64 MiB", "64 MB").replace("landlock = 4", "landlock = 40")), [Size, OutOfBounds]);
    assert_eq!(judged(&VISION.replace("/var/lib/gateway/frames", "frames").replace("\"hmac\"", "\"hash\"")), [RelativePath, UnknownWord]);
    assert_eq!(judged("[module]\nname = \"x\"\n"), [MissingKey, ProfileKey]);
    assert_eq!(codes(&edgeguard_policy::check_profile("base.toml", b"\xff")), [NotUtf8]);
}

#[test]
fn profiles_add_and_the_policys_own_word_counts() {
    let more = "[limits]\nmemory = \"8 MiB\"\n[env]\nMODE = \"test\"\n[[dir]]\nguest = \"/own\"\nhost = \"/srv/own\"\naccess = \"read\"\n";
    let policy = good(&using("\"base-small\", \"base-vision\"", more), &ours());
    assert_eq!((policy.limits.memory, policy.limits.instances, policy.floor.landlock), (8 << 20, 4, 4));
    assert_eq!((policy.env["MODE"].as_str(), policy.env["A key"].as_str()), ("test", "of ours"));
    assert_eq!(policy.dirs.iter().map(|dir| dir.guest.as_str()).collect::<Vec<_>>(), ["/own", "/frames"]);
    assert_eq!((policy.graphs.len(), policy.privacy.paths, policy.privacy.graphs), (1, Class::Hmac, Class::Plain));
    assert_eq!(policy.profiles, ["base-small", "base-vision"]);
    // Each value is known by the file and line that it was written in.
    let vision = Some("/etc/edgeguard/profiles.d/base-vision.toml".to_owned());
    assert_eq!((policy.line(Place::Dir(0)), policy.line(Place::Dir(1))), ((None, 18), (vision, 5)));
    assert_eq!((policy.line(Place::Memory).1, policy.line(Place::Deadline).1), (13, 6));
    assert_eq!(policy.profile_files(), ["/etc/edgeguard/profiles.d/base-small.toml", "/etc/edgeguard/profiles.d/base-vision.toml"]);
    // A laxer class or floor of the policy's own counts before a profile's, as every word of it does: only the host's are floors.
    let laxer = good(&using("\"base-small\", \"base-vision\"", "[audit]\npaths = \"plain\"\n"), &ours());
    assert_eq!(laxer.privacy.paths, Class::Plain);
}

#[test]
fn an_expanded_policy_is_one_without_profiles_that_says_the_same() {
    let text = using("\"base-small\", \"base-vision\"", "[limits]\nmemory = \"8 MiB\"\n[env]\nMODE = \"test\"\n");
    let expanded = expand("voice-gate.toml", text.as_bytes(), &ours()).unwrap();
    insta::assert_snapshot!("expanded", expanded.text);
    let (policy, again) = (good(&text, &ours()), parse("voice-gate.toml", &expanded.text).unwrap());
    assert_eq!(policy.digest, again.digest, "what is expanded already has the same digest");
    assert_eq!(policy.digest, <[u8; 32]>::from(sha2::Sha256::digest(&expanded.text)));
    assert_eq!(
        (&policy.dirs, &policy.graphs, &policy.env, policy.limits, policy.floor, policy.privacy),
        (&again.dirs, &again.graphs, &again.env, again.limits, again.floor, again.privacy)
    );
    assert_eq!((&policy.signers, &policy.path, policy.revision), (&again.signers, &again.path, again.revision));
    assert!(again.profiles.is_empty());
    // A policy that names none is its own expansion, comments and all.
    let plain = format!("# ours\n{}", common::BASE);
    assert_eq!(expand("voice-gate.toml", plain.as_bytes(), &ours()).unwrap().text, plain);
}

#[test]
fn the_digest_follows_the_profile_and_not_the_place_it_lies_in() {
    let text = using("\"base-small\"", "");
    let digest = |profiles: &Profiles| good(&text, profiles).digest;
    let mut elsewhere = Profiles::of("/srv/profiles");
    elsewhere.add("base-small", "/srv/profiles/base-small.toml", SMALL.as_bytes());
    assert_eq!(digest(&ours()), digest(&elsewhere));
    assert_ne!(digest(&ours()), digest(&profiles(&[("base-small", &SMALL.replace("instances = 4", "instances = 5"))])));
}

#[test]
fn a_host_of_signed_policies_takes_none_that_names_profiles() {
    let host = parse_host("edgeguard.toml", "version = 1\n[policy-signing]\nkey = [\"/etc/edgeguard/keys/ops.pub\"]\n").unwrap();
    let text = using("\"base-small\"", "").replace("version = 1\n", "version = 1\nrevision = 3\n");
    let policy = good(&text, &ours());
    assert!(policy.check_host(&HostConfig::default()).is_empty());
    let found = policy.check_host(&host);
    assert_eq!(codes(&found), [SignedProfiles]);
    insta::assert_snapshot!("profiles_of_a_signed_policy", found.to_string());
    let expanded = expand("voice-gate.toml", text.as_bytes(), &ours()).unwrap().text;
    assert!(parse("voice-gate.toml", &expanded).unwrap().check_host(&host).is_empty());
}

#[test]
fn the_directory_of_profiles_lies_beside_that_of_policies_and_is_granted_to_nobody() {
    let host = parse_host("edgeguard.toml", "version = 1\n[paths]\npolicy = \"/srv/eg/policy.d\"\n").unwrap();
    assert_eq!(host.profiles_dir, std::path::Path::new("/srv/eg/profiles.d"));
    let own = parse_host("edgeguard.toml", "version = 1\n[paths]\nprofiles = \"/srv/p\"\n").unwrap();
    assert_eq!(own.profiles_dir, std::path::Path::new("/srv/p"));
    let grant = common::with("[[dir]]\nguest = \"/d\"\nhost = \"/srv/p/x\"\naccess = \"read\"\n");
    assert_eq!(codes(&parse("voice-gate.toml", &grant).unwrap().check_host(&own)), [SystemDir]);
}

/// Everything that profiles may say, one line or one section each.
const PARTS: [(&str, &str); 9] = [
    ("limits", "memory = \"64 MiB\""),
    ("limits", "deadline = \"500 ms\""),
    ("limits", "instances = 4"),
    ("limits", "output = \"1 MiB\""),
    ("env", "MODE = \"prod\""),
    ("env", "\"B.C\" = '''it's'''"),
    ("require", "landlock = 5"),
    ("audit", "paths = \"drop\""),
    ("audit", "graphs = \"hmac\""),
];

/// These parts as one text.
fn sections(parts: &[(&str, &str)]) -> String {
    ["limits", "env", "require", "audit"]
        .into_iter()
        .filter_map(|section| {
            let lines: String = parts.iter().filter(|(of, _)| *of == section).map(|(_, line)| format!("{line}\n")).collect();
            (!lines.is_empty()).then(|| format!("[{section}]\n{lines}"))
        })
        .collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

    /// However a policy is cut into its own words and profiles, it says what it says in one file.
    #[test]
    fn where_a_word_stands_does_not_change_what_a_policy_says(places in proptest::collection::vec(0..3_usize, PARTS.len()), repeat in any::<bool>()) {
        let of = |place: usize| -> String {
            let parts: Vec<(&str, &str)> = PARTS.iter().zip(&places).filter(|(_, at)| **at == place).map(|(part, _)| *part).collect();
            sections(&parts)
        };
        // What two profiles agree on is no clash.
        let more = if repeat { sections(&PARTS) } else { of(2) };
        let (one, two) = (format!("version = 1\n{}", of(1)), format!("version = 1\n{more}"));
        let cut = good(&using("\"one\", \"two\"", &of(0)), &profiles(&[("one", &one), ("two", &two)]));
        let whole = parse("voice-gate.toml", &format!("version = 1\n{MODULE}\n{}", sections(&PARTS))).unwrap();
        prop_assert_eq!((&cut.env, cut.limits, cut.floor, cut.privacy), (&whole.env, whole.limits, whole.floor, whole.privacy));
        let expanded = expand("voice-gate.toml", using("\"one\", \"two\"", &of(0)).as_bytes(), &profiles(&[("one", &one), ("two", &two)])).unwrap();
        let again = parse("voice-gate.toml", &expanded.text).unwrap();
        prop_assert_eq!((&again.env, again.limits, again.digest), (&whole.env, whole.limits, cut.digest));
    }

    /// Whatever a profile holds, the answer is a policy, or mistakes that have a place.
    #[test]
    fn no_profile_is_a_panic(text in "(\\[limits\\]|\\[\\[dir\\]\\]|\\[env\\]|version = 1|memory = |guest\\.x = |\\{|\\}|\"|'''|#|\\n|=|a|é|\\.|\\[|\\]|1){0,24}") {
        let policy = using("\"p\"", "[limits]\nmemory = \"1 MiB\"\ndeadline = \"1 s\"\ninstances = 1\noutput = \"0 B\"\n");
        if let Err(found) = parse_with("voice-gate.toml", &policy, &profiles(&[("p", &text)])) {
            prop_assert!(found.errors() > 0);
            prop_assert!(found.to_json().as_array().is_some_and(|all| !all.is_empty()));
        }
    }
}

#[cfg(feature = "tools")]
#[test]
fn what_is_expanded_is_in_canonical_form() {
    let text = using("\"base-small\", \"base-vision\"", "[limits]\nmemory = \"8 MiB\"\n");
    let expanded = expand("voice-gate.toml", text.as_bytes(), &ours()).unwrap().text;
    assert_eq!(edgeguard_policy::format::format("x.toml", &expanded).unwrap(), expanded);
    // A profile has a form too.
    assert!(edgeguard_policy::format::format("x.toml", SMALL).unwrap().contains("memory = \"64 MiB\" # enough"));
}

#[cfg(feature = "tools")]
#[test]
fn a_difference_names_the_profile_that_grants_more() {
    let (old, new) = (good(&using("\"base-small\"", ""), &ours()), good(&using("\"base-small\", \"base-vision\"", ""), &ours()));
    let diff = edgeguard_policy::powers::diff("voice-gate", Some(&old), Some(&new));
    let words: Vec<&str> = diff.changes.iter().map(|change| change.words.as_str()).collect();
    assert!(diff.grants_more() && words.iter().any(|w| w.ends_with("(/etc/edgeguard/profiles.d/base-vision.toml:5)")), "{words:?}");
    assert!(words.iter().any(|w| w.contains("profiles that it names are `base-small`, `base-vision`, before `base-small`")), "{words:?}");
    assert!(words.iter().any(|w| w.contains("no power: `audit.paths`")), "{words:?}");
    let same = good(&using("\"base-small\"", ""), &profiles(&[("base-small", &SMALL.replace("500 ms", "900 ms"))]));
    assert!(
        edgeguard_policy::powers::diff("voice-gate", Some(&old), Some(&same)).grants_more(),
        "a profile that changed changes what is granted"
    );
}
