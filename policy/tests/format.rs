//! The canonical form keeps meaning and comments, and is its own canonical form.
#![cfg(feature = "tools")]
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod common;

use edgeguard_policy::Policy;
use edgeguard_policy::format::FormatError;
use edgeguard_policy::format::format;
use proptest::collection::vec;
use proptest::prelude::*;

const REFERENCE: &str = include_str!("../../docs/policy-reference.md");

/// What a policy says, without where it says it.
fn meaning(policy: &Policy) -> String {
    let p = policy;
    let who = (&p.name, &p.path, p.mode, p.revision, p.min_version, &p.signers, &p.requirements);
    format!("{who:?} {:?}", (&p.dirs, &p.graphs, p.limits, &p.env, &p.args, p.floor))
}

fn parsed(text: &str) -> Policy {
    edgeguard_policy::parse("x.toml", text).unwrap_or_else(|found| panic!("{found}\n{text}"))
}

#[test]
fn sections_and_keys_come_in_the_order_of_the_reference_with_their_comments() {
    let untidy = r#"#:schema ./edgeguard-policy.schema.json
# The night shift's module.
# Ask Anna.

# how much
[limits] # per instance
output="1 MiB"   # standard output

# the guest needs it
memory   = "64 MiB"


deadline = "500 ms"
instances=4


[[dir]]
access = "read"
host = "/var/lib/gateway/audio"
guest = "/audio"
[[module.signer]]
key = '/etc/edgeguard/keys/acme.pub' # theirs
[module]
args = [ "--format","json" ,]
mode = "command"
colour = "red"
path = "/var/lib/edgeguard/modules/voice-gate.wasm"
name = "voice-gate"
# the end
"#;
    // Keys before the first section cannot stand behind one, so the version is given in front.
    let untidy = untidy.replace("# how much\n", "version = 1\n# how much\n");
    let tidy = r#"#:schema ./edgeguard-policy.schema.json
# The night shift's module.
# Ask Anna.

version = 1

[module]
name = "voice-gate"
path = "/var/lib/edgeguard/modules/voice-gate.wasm"
mode = "command"
args = ["--format", "json"]
colour = "red"

[[module.signer]]
key = '/etc/edgeguard/keys/acme.pub' # theirs

[[dir]]
guest = "/audio"
host = "/var/lib/gateway/audio"
access = "read"

# how much
[limits] # per instance
# the guest needs it
memory = "64 MiB"

deadline = "500 ms"
instances = 4
output = "1 MiB" # standard output
# the end
"#;
    assert_eq!(format("x.toml", &untidy).unwrap(), tidy);
}

#[test]
fn long_lists_are_broken_and_lists_with_comments_are_left_alone() {
    let long = format!("args = [{}]", ["\"--an-argument-of-some-length\""; 5].join(","));
    let text = common::BASE.replace("mode = \"command\"", &format!("mode = \"command\"\n{long}"));
    let out = format("x.toml", &text).unwrap();
    assert!(out.contains("args = [\n    \"--an-argument-of-some-length\",\n"), "{out}");
    assert_eq!(meaning(&parsed(&out)), meaning(&parsed(&text)));
    let commented = "args = [\n  \"-v\", # loud\n  # and\n  \"-q\"\n]";
    let out = format("x.toml", &common::BASE.replace("mode = \"command\"", &format!("{commented}\nmode = \"command\""))).unwrap();
    assert!(out.contains(commented), "{out}");
}

#[test]
fn other_ways_to_write_a_section_become_sections() {
    let text = "limits.memory = \"1 MiB\" # small\nlimits.deadline = \"1 s\"\nlimits.instances = 1\nlimits.output = \"0 B\"\nversion = 1\n\
                module.name = \"a\"\nmodule.path = \"/a.wasm\"\nmodule.mode = \"command\"\nmodule.signer = [{ key = \"/k.pub\" }]\n";
    let out = format("x.toml", text).unwrap();
    assert!(out.starts_with("version = 1\n\n[module]\nname = \"a\"\n"), "{out}");
    assert!(out.contains("\n[limits]\nmemory = \"1 MiB\" # small\n"), "{out}");
    assert_eq!(meaning(&parsed(&out)), meaning(&parsed(text)));
}

/// The pages show policies as `fmt` writes them.
#[test]
fn the_examples_of_the_reference_are_in_canonical_form() {
    for kind in ["toml policy", "toml section", "toml top"] {
        for text in REFERENCE.split(&format!("```{kind}\n")).skip(1).map(|rest| rest.split("```").next().unwrap()) {
            assert_eq!(format("x.toml", text).unwrap(), text);
        }
    }
    assert_eq!(format("x.toml", common::BASE).unwrap(), common::BASE);
}

#[test]
fn what_is_not_toml_is_refused_with_its_places() {
    for text in ["memory = 64 MiB\n", "a = 1\na = 2\n", "[limits\n", "x = 99999999999999999999\n", "# \u{1b}\n"] {
        match format("x.toml", text) {
            Err(FormatError::Text(found)) => assert!(found.errors() > 0 && found.iter().all(|d| d.location().is_some()), "{text:?}"),
            other => panic!("{text:?}: {other:?}"),
        }
    }
    for text in [
        "",
        "\n\n",
        "# only\n",
        "# a\n\n\n# b\n\n",
        "[a]\n",
        "[a.b.c]\n[a]\n",
        "\"\" = 1\n",
        "a = \"\"\"\n#\n\n\n\"\"\"\n",
        "a = 1\r\n# b\r\n",
    ] {
        let once = format("x.toml", text).unwrap_or_else(|error| panic!("{text:?}: {error:?}"));
        assert_eq!(format("x.toml", &once).unwrap(), once, "{text:?}");
        assert!(!once.contains("\n\n\n") || text.contains("\"\"\""), "{once:?}");
    }
}

/// Sections of a policy with everything in it: a header, and lines of keys that may stand in any order.
#[rustfmt::skip]
const SECTIONS: &[(&str, &[&str])] = &[
    ("[module]", &["name = \"m\"", "path='/m.wasm'", "mode = \"command\"", "args=[ \"-v\",\"#\" ]", "min-version = 7"]),
    ("[[module.signer]]", &["id = \"acme\"", "key=\"/acme.pub\"", "usable-from = 2026-01-01T00:00:00Z", "evidence = \"both\""]),
    ("[[module.signer]]", &["issuer = \"https://i.example\"", "identity = \"https://g.example/a/b/w@refs/tags/*\"", "claims = { repository-id=\"1\" }"]),
    ("[[module.signer]]", &["issuer = \"https://j.example\"", "identity = \"a@b.example\"", "claims.repository-id = \"2\"", "id = \"j\""]),
    ("[[module.require]]", &["statement = \"release\"", "signers = [\n\"acme\",\n \"j\"]", "threshold = 2", "max-age = \"365 d\""]),
    ("[[module.require]]", &["statement = \"slsa-provenance\"", "signers = [\"https://g.example/a/b/w@refs/tags/*\"]", "builder = [\"https://b.example\"]", "parameters = { ref = \"x\" }"]),
    ("[[dir]]", &["guest = \"/a\"", "host=\"/srv/a\"", "access = \"read\""]),
    ("[[dir]]", &["guest = \"/b\"", "host = \"/srv/b\"", "access = \"read-write\""]),
    ("[limits]", &["memory = \"64 MiB\"", "deadline = \"500 ms\"", "instances = 4", "output = \"\"\"1 MiB\"\"\"", "open-files = 3"]),
    ("[env]", &["MODE = \"prod\"", "\"A B\" = \"#\"", "EMPTY = ''"]),
    ("[require]", &["landlock = 6"]),
];

/// What may stand between two lines; `N` becomes a number, so that each comment is its own.
const BETWEEN: &[&str] = &["", "", "", "\n", "\n\n\n", "# cN\n", "  # cN\n", "\n# cN\n", "# cN\n\n", "# cN\n\n# dN\n"];
const BEHIND: &[&str] = &["", "", "", "   ", " # eN", "#eN", "\t# eN \t"];

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_policy_in_any_order_with_comments_anywhere_says_the_same_afterwards(
        order in Just((0..SECTIONS.len()).collect::<Vec<_>>()).prop_shuffle(),
        keys in vec(Just(vec![0, 1, 2, 3, 4]).prop_shuffle(), SECTIONS.len()),
        between in vec(proptest::sample::select(BETWEEN), 80),
        behind in vec(proptest::sample::select(BEHIND), 80),
        crlf: bool,
    ) {
        let mut n = 0;
        let mut text = String::new();
        let mut put = |line: &str, comments: bool| {
            let mark = |part: &str, n: usize| part.replace('N', &format!("{n}."));
            text.push_str(&mark(between[n % between.len()], n));
            text.push_str(line);
            if comments {
                text.push_str(&mark(behind[n % behind.len()], n));
            }
            text.push('\n');
            n += 1;
        };
        put("version=1", true);
        put("revision = 3", true);
        for section in &order {
            let (header, lines) = SECTIONS[*section];
            put(header, true);
            keys[*section].iter().filter_map(|key| lines.get(*key)).for_each(|line| put(line, true));
        }
        put("# the end", false);
        let text = if crlf { text.replace('\n', "\r\n") } else { text };
        let once = format("x.toml", &text).unwrap();
        prop_assert_eq!(meaning(&parsed(&once)), meaning(&parsed(&text)), "{}\n-----\n{}", text, once);
        prop_assert_eq!(&format("x.toml", &once).unwrap(), &once, "{}", text);
        prop_assert!(!once.contains("\n\n\n") && !once.contains('\r') && !once.contains(" \n"), "{once}");
        for mark in text.split(['#', '\n', '\r']).map(str::trim).filter(|part| part.starts_with(['c', 'd', 'e']) && part.ends_with('.')) {
            prop_assert_eq!(once.matches(mark).count(), text.matches(mark).count(), "{}\n{}", mark, once);
        }
    }

    #[test]
    fn any_text_gets_an_answer(pieces in vec(proptest::sample::select(&["[dir]", "[[dir]]", "a.b", "=", "1", "\n", "\r\n", "# x", "\"", "'''", "{", "}", "[", "]", ",", "limits", ".", " ", "memory", "\u{feff}"][..]), 0..30)) {
        if let Ok(once) = format("x.toml", &pieces.concat()) {
            prop_assert_eq!(&format("x.toml", &once).unwrap(), &once, "{:?}", pieces.concat());
        }
    }
}
