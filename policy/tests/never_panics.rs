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
    "name", "path", "key", "host", "guest", "access", "memory", "instances", "sha256", "version", "admins", " = ", "\n", "\"", "'''", "\"\"\"", "{", "}", "[", "]", ",", ".",
    "\"/a/../b\"", "\"64 MiB\"", "1", "-0x7f", "1e400", "inf", "true", "1979-05-27T07:32:00Z", "\u{feff}", "\r\n", "\r", "\t", "\u{1b}[2K", "\u{9b}", "\u{202e}", "é", "日本", "\u{0}", "# "];

/// Pieces that mean something to the parser, and some that steer a terminal.
fn piece() -> impl Strategy<Value = String> {
    prop_oneof![9 => proptest::sample::select(WORDS).prop_map(str::to_owned), 1 => any::<String>()]
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
