//! Refusals as somebody sees them who has never seen one: the first line of `edgeguard verify`, for what really happens.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod common;

use std::fs;
use std::path::Path;

use common::edgeguard;

const WASM: &[u8] = b"\0asm\x01\0\0\0";

fn policy(module: &str, require: &str) -> String {
    format!(
        r#"version = 1
[module]
name = "peak"
path = "/var/lib/edgeguard/modules/peak.wasm"
mode = "command"
{module}
[[module.signer]]
id = "acme"
key = "DIR/acme.pub"
[[module.signer]]
id = "ops"
key = "DIR/ops.pub"
{require}
[[dir]]
guest = "/audio"
host = "/var/lib/gateway/audio"
access = "read-write"
[limits]
memory = "16 MiB"
deadline = "500 ms"
instances = 1
output = "64 KiB"
"#
    )
}

const RELEASE: &str = "[[module.require]]\nstatement = \"release\"\nsigners = [\"acme\"]\nthreshold = 1\n";
const TWO: &str = "[[module.require]]\nstatement = \"release\"\nsigners = [\"acme\"]\nthreshold = 1\n[[module.require]]\nstatement = \"approval\"\nsigners = [\"ops\"]\nthreshold = 1\n";

struct Desk {
    dir: tempfile::TempDir,
}

impl Desk {
    /// A vendor `acme`, an operator `ops`, a stranger, a module, and a policy.
    fn new(text: &str) -> Self {
        let desk = Self { dir: tempfile::tempdir().unwrap() };
        fs::write(desk.path().join("peak.wasm"), WASM).unwrap();
        let text = text.replace("DIR", &desk.path().display().to_string());
        fs::write(desk.path().join("peak.toml"), text).unwrap();
        for name in ["acme", "ops", "stranger"] {
            desk.run(&format!("keygen --out {name}"));
        }
        desk
    }

    fn path(&self) -> &Path {
        self.dir.path()
    }

    #[track_caller]
    fn run(&self, arguments: &str) {
        edgeguard(self.path(), &arguments.split_whitespace().collect::<Vec<_>>()).done();
    }

    /// The first line of the refusal, with what differs from run to run replaced.
    #[track_caller]
    fn refused(&self, arguments: &str) -> String {
        let ran = edgeguard(self.path(), &format!("verify {arguments}").split_whitespace().collect::<Vec<_>>());
        assert_eq!(ran.code, 3, "{}{}", ran.out, ran.err);
        assert_eq!(ran.err.lines().count(), 1, "{}", ran.err);
        assert!(ran.out.contains("  FAILED  ") && ran.out.contains("\nrejected: `edgeguard explain EG"), "{}", ran.out);
        // Key hints are random, and the digest is the same each time.
        let line = ran.err.trim_end().replace(&self.path().display().to_string(), "DIR");
        let words: Vec<&str> = line.split(' ').collect();
        let now = |place: usize| place.checked_sub(2).is_some_and(|at| words.get(at..place) == Some(&["it", "is"][..]));
        let shown = words.iter().enumerate().map(|(place, word)| {
            if is_hint(word) {
                "HINT"
            } else if now(place) {
                "NOW"
            } else {
                word
            }
        });
        shown.collect::<Vec<_>>().join(" ")
    }
}

fn is_hint(word: &str) -> bool {
    word.trim_matches(|c: char| !c.is_ascii_alphanumeric() && !"+/=".contains(c)).len() == 44 && word.contains('=')
}

#[test]
fn not_signed() {
    let desk = Desk::new(&policy("", ""));
    insta::assert_snapshot!(desk.refused("--policy peak.toml peak.wasm"));
}

#[test]
fn changed_after_it_was_signed() {
    let desk = Desk::new(&policy("", ""));
    desk.run("sign --key acme.key peak.wasm");
    fs::write(desk.path().join("peak.wasm"), [WASM, b"\0"].concat()).unwrap();
    insta::assert_snapshot!(desk.refused("--policy peak.toml peak.wasm"));
}

#[test]
fn signed_by_a_stranger() {
    let desk = Desk::new(&policy("", ""));
    desk.run("sign --key stranger.key peak.wasm");
    insta::assert_snapshot!(desk.refused("--policy peak.toml peak.wasm"));
}

#[test]
fn a_signature_where_a_release_is_required() {
    let desk = Desk::new(&policy("", RELEASE));
    desk.run("sign --key acme.key peak.wasm");
    insta::assert_snapshot!(desk.refused("--policy peak.toml peak.wasm"));
}

#[test]
fn an_approval_that_is_missing() {
    let desk = Desk::new(&policy("", TWO));
    desk.run("sign --key acme.key --statement release --name peak --version 7 peak.wasm");
    insta::assert_snapshot!(desk.refused("--policy peak.toml peak.wasm"));
}

#[test]
fn one_signature_where_two_are_required() {
    let desk = Desk::new(&policy("threshold = 2", ""));
    desk.run("sign --key acme.key peak.wasm");
    insta::assert_snapshot!(desk.refused("--policy peak.toml peak.wasm"));
}

#[test]
fn a_release_of_another_module() {
    let desk = Desk::new(&policy("", ""));
    desk.run("sign --key acme.key --statement release --name voice-gate --version 7 peak.wasm");
    insta::assert_snapshot!(desk.refused("--policy peak.toml peak.wasm"));
}

#[test]
fn a_version_below_the_floor() {
    let desk = Desk::new(&policy("min-version = 9", RELEASE));
    desk.run("sign --key acme.key --statement release --name peak --version 7 peak.wasm");
    insta::assert_snapshot!(desk.refused("--policy peak.toml peak.wasm"));
}

#[test]
fn a_release_that_has_expired() {
    let desk = Desk::new(&policy("", ""));
    desk.run("sign --key acme.key --statement release --name peak --version 7 --expires 2026-01-01T00:00:00Z peak.wasm");
    insta::assert_snapshot!(desk.refused("--policy peak.toml peak.wasm"));
}

#[test]
fn a_policy_that_grants_more_than_was_signed() {
    let desk = Desk::new(&policy("", ""));
    let smaller = fs::read_to_string(desk.path().join("peak.toml")).unwrap().replace("read-write", "read");
    fs::write(desk.path().join("example.toml"), smaller).unwrap();
    desk.run("sign --key acme.key --statement release --name peak --version 7 --capabilities example.toml peak.wasm");
    insta::assert_snapshot!(desk.refused("--policy peak.toml peak.wasm"));
}

#[test]
fn a_key_that_is_retired() {
    let desk = Desk::new(&policy("", "").replacen("key = \"DIR/acme.pub\"", "key = \"DIR/acme.pub\"\nretire-at = 2026-01-01T00:00:00Z", 1));
    desk.run("sign --key acme.key peak.wasm");
    insta::assert_snapshot!(desk.refused("--policy peak.toml peak.wasm"));
}

#[test]
fn a_certificate_where_only_a_key_counts() {
    let desk = Desk::new(&policy("", ""));
    desk.run("sign --key acme.key peak.wasm");
    insta::assert_snapshot!(desk.refused(
        "--issuer https://issuer.example --identity https://example.com/acme/peak/.github/workflows/release.yml@refs/tags/* peak.wasm"
    ));
}
