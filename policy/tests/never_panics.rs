//! Whatever is given as a policy or a module, the answer is a value.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod common;

use edgeguard_policy::Colour;
use edgeguard_policy::Diagnostics;
use edgeguard_policy::imports;
use proptest::collection::vec;
use proptest::prelude::*;

fn judge<T>(result: Result<T, Diagnostics>) {
    if let Err(found) = result {
        assert!(found.errors() > 0, "refused without a reason");
        let rendered = found.render(Colour::Never);
        assert!(rendered.chars().all(|c| c == '\n' || !c.is_control()), "{rendered:?}");
        let _ = found.render(Colour::Always);
        let _ = found.to_json();
    }
}

fn both(text: &str) {
    judge(edgeguard_policy::parse("x.toml", text));
    judge(edgeguard_policy::parse_host("x.toml", text));
}

#[rustfmt::skip]
const WORDS: &[&str] = &["[module]\n", "[[module.signer]]\n", "[[dir]]\n", "[dir]\n", "[limits]\n", "[env]\n", "[[graph]]\n", "[require]\n", "[paths]\n", "[control]\n",
    "[[module.require]]\n", "[trust]\n", "[policy-signing]\n", "statement", "signers", "threshold", "issuer", "identity", "claims", "retire-at", "evidence", "builder", "parameters",
    "root", "root-sha256", "keyless", "max-age", "min-version", "revision", "\"release\"", "\"slsa-provenance\"", "\"https://x/*@*\"", "{ repository-id = \"*\" }", "[\"acme\"]",
    "2027-01-01T00:00:00Z", "2027-01-01", "0000-01-01T00:00:00+23:59", "9999-12-31T23:59:60-23:59", "\"7 d\"",
    "name", "path", "key", "host", "guest", "access", "memory", "instances", "sha256", "version", "admins", " = ", "\n", "\"", "'''", "\"\"\"", "{", "}", "[", "]", ",", ".",
    "\"/a/../b\"", "\"64 MiB\"", "1", "-0x7f", "1e400", "inf", "true", "1979-05-27T07:32:00Z", "\u{feff}", "\r\n", "\r", "\t", "\u{1b}[2K", "\u{9b}", "\u{202e}", "é", "日本", "\u{0}", "# "];

/// Pieces that mean something to the parser, and some that steer a terminal.
fn piece() -> impl Strategy<Value = String> {
    prop_oneof![9 => proptest::sample::select(WORDS).prop_map(str::to_owned), 1 => any::<String>()]
}

/// A policy in which every key of admission stands.
const ADMISSION: &str = r#"version = 1
revision = 42
[module]
name = "m"
path = "/m.wasm"
mode = "command"
min-version = 7
signer = [
    { id = "acme", key = "/acme.pub", usable-from = 2026-01-01T00:00:00Z, retire-at = 2027-01-01T01:00:00+01:00, evidence = "both" },
    { issuer = "https://i.example", identity = "https://g.example/a/b/w@refs/tags/*", claims = { repository-id = "1", run-uri = "a/*" } },
]
[[module.require]]
statement = "release"
signers = ["acme", "https://g.example/a/b/w@refs/tags/*"]
threshold = 2
max-age = "365 d"
[[module.require]]
statement = "slsa-provenance"
signers = ["acme"]
builder = ["https://b.example"]
build-type = ["https://t.example"]
parameters = { ref = "refs/tags/v1" }
[limits]
memory = "64 MiB"
deadline = "500 ms"
instances = 4
output = "1 MiB"
"#;

/// A signer or a requirement out of few words, so that they name and repeat each other.
fn signer_or_requirement() -> impl Strategy<Value = String> {
    let id = || proptest::sample::select(&["acme", "a", "b", "c"][..]);
    let signer = (id(), id()).prop_map(|(id, key)| format!("[[module.signer]]\nid = \"{id}\"\nkey = \"/{key}.pub\"\n"));
    let keyless = (id(), id()).prop_map(|(id, name)| {
        format!("[[module.signer]]\nid = \"{id}\"\nissuer = \"https://example.org\"\nidentity = \"{name}@example.org\"\n")
    });
    let require = (vec(id(), 0..3), 0..4)
        .prop_map(|(ids, threshold)| format!("[[module.require]]\nstatement = \"release\"\nsigners = {ids:?}\nthreshold = {threshold}\n"));
    prop_oneof![signer, keyless, require]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_text_gets_an_answer(text in any::<String>()) {
        both(&text);
    }

    #[test]
    fn any_text_of_the_parsers_own_pieces_gets_an_answer(pieces in vec(piece(), 0..60)) {
        both(&pieces.concat());
    }

    #[test]
    fn any_bytes_get_an_answer(bytes in vec(any::<u8>(), 0..300)) {
        judge(edgeguard_policy::parse_bytes("x.toml", &bytes));
    }

    #[test]
    fn a_good_policy_with_a_piece_replaced_gets_an_answer(at in 0..common::BASE.len(), len in 0_usize..40, piece in piece()) {
        let mut bytes = common::BASE.as_bytes().to_vec();
        let end = (at + len).min(bytes.len());
        bytes.splice(at..end, piece.bytes());
        judge(edgeguard_policy::parse_bytes("x.toml", &bytes));
    }

    #[test]
    fn a_policy_with_every_requirement_and_a_piece_replaced_gets_an_answer(at in 0..ADMISSION.len(), len in 0_usize..40, piece in piece()) {
        let mut bytes = ADMISSION.as_bytes().to_vec();
        let end = (at + len).min(bytes.len());
        bytes.splice(at..end, piece.bytes());
        judge(edgeguard_policy::parse_bytes("x.toml", &bytes).map(|policy| policy.check_time(0)));
        judge(edgeguard_policy::parse_host_bytes("x.toml", &bytes));
    }

    #[test]
    fn what_is_accepted_keeps_its_promises(pieces in vec(signer_or_requirement(), 0..6)) {
        let text = format!("{}{}", common::BASE, pieces.concat());
        if let Ok(policy) = edgeguard_policy::parse("x.toml", &text) {
            prop_assert!(!policy.requirements.is_empty());
            for requirement in &policy.requirements {
                prop_assert!((1..=requirement.signers.len()).contains(&(requirement.threshold as usize)));
                for (i, id) in requirement.signers.iter().enumerate() {
                    prop_assert_eq!(policy.signers.iter().filter(|s| s.id == *id).count(), 1);
                    prop_assert!(!requirement.signers[..i].contains(id));
                }
            }
        }
    }

    #[test]
    fn any_bytes_behind_a_wasm_header_get_an_answer(component: bool, bytes in vec(any::<u8>(), 0..300)) {
        let header: &[u8] = if component { b"\0asm\x0d\0\x01\0" } else { b"\0asm\x01\0\0\0" };
        let _ = imports::read(&[header, &bytes].concat());
        let _ = imports::read(&bytes);
    }

    #[test]
    fn a_good_module_with_bytes_changed_gets_an_answer(changes in vec((any::<prop::sample::Index>(), any::<u8>()), 1..8), cut in any::<prop::sample::Index>()) {
        let mut bytes = wat::parse_str(include_str!("modules/command.wat")).unwrap();
        for (at, byte) in changes {
            let len = bytes.len();
            bytes[at.index(len)] = byte;
        }
        let _ = imports::read(&bytes);
        bytes.truncate(cut.index(bytes.len()));
        let _ = imports::read(&bytes);
    }
}

#[test]
fn the_policy_that_is_changed_stands_unchanged() {
    assert_eq!(edgeguard_policy::parse("m.toml", ADMISSION).unwrap_or_else(|e| panic!("{e}")).requirements.len(), 2);
}

#[test]
fn deep_nesting_gets_an_answer() {
    for open in ["[", "{a=", "a.", "[["] {
        both(&format!("x = {}", open.repeat(50_000)));
        both(&open.repeat(50_000));
    }
}

/// The slowest text that fits: the time is bounded by the size, not by its square.
#[test]
fn the_largest_texts_are_answered_in_time() {
    let size = edgeguard_policy::MAX_TEXT - 100;
    let started = std::time::Instant::now();
    for line in ["a", "[[dir]]\n", "[[graph]]\nname = \"x\"\n", "x = 1\n", "\"\n", "= \n", "[a]\n", "a.b.c.d = \"", "[env]\n"] {
        both(&line.repeat(size / line.len()));
        println!("{line:?}: {:?} in all", started.elapsed());
    }
    let many: String = (0..size / 12).map(|i| format!("k{i:07} = 1\n")).collect();
    both(&many[..size.min(many.len())]);
    assert!(started.elapsed() < std::time::Duration::from_secs(30), "{:?}", started.elapsed());
}
