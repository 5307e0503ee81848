//! A policy that is begun says what was asked for and nothing else, whatever the words are that it was asked with.
#![cfg(feature = "tools")]
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use std::path::Path;

use edgeguard_policy::Access;
use edgeguard_policy::DirGrant;
use edgeguard_policy::ModuleName;
use edgeguard_policy::Quota;
use edgeguard_policy::SignerKind;
use edgeguard_policy::format::format;
use edgeguard_policy::imports;
use edgeguard_policy::new::BLANK;
use edgeguard_policy::new::Begun;
use edgeguard_policy::new::Draft;
use edgeguard_policy::new::begin;
use edgeguard_policy::parse;
use proptest::prelude::*;

const ASKS: &str = "(module (import \"wasi_snapshot_preview1\" \"path_open\" (func)) (import \"wasi_ephemeral_nn\" \"load\" (func)) (func (export \"_start\")))";

fn draft(file: &str, path: &str, key: (&str, &str), dir: (&str, &str)) -> Draft {
    let imports = imports::read(&wat::parse_str(ASKS).unwrap()).unwrap();
    Draft {
        name: ModuleName::new("gate").unwrap(),
        path: path.to_owned(),
        module: Some((imports, file.to_owned(), [7; 32])),
        key: Some((key.0.to_owned(), key.1.to_owned())),
        dirs: vec![DirGrant { guest: dir.0.to_owned(), host: dir.1.into(), access: Access::Read, quota: Quota::default() }],
        graphs: Vec::new(),
    }
}

#[test]
fn a_module_that_serves_is_begun_as_a_service() {
    let serves = "(component (import \"wasi:http/types@0.2.3\" (instance)) (instance $h) (export \"wasi:http/incoming-handler@0.2.3\" (instance $h)))";
    let mut draft = draft("gate.wasm", "/gate.wasm", ("/k.pub", "a key"), ("/in", "/srv/in"));
    draft.module = Some((imports::read(&wat::parse_str(serves).unwrap()).unwrap(), "gate.wasm".into(), [7; 32]));
    let Begun { text, blanks } = begin(&draft).unwrap();
    let policy = parse("gate.toml", &text).unwrap();
    assert_eq!(policy.http.unwrap().listen.to_string(), "unix:/run/edgeguard/http/gate.sock");
    assert!(text.contains("serves HTTP") && blanks.is_empty(), "{text}");
}

/// Words that end a string, a comment or a line, and begin a section.
fn words() -> impl Strategy<Value = String> {
    prop_oneof![
        "[ -~]{0,20}",
        "(\n|\r|\"|'|#|\\\\|\\[\\[dir\\]\\]|host = \"/\"|/|a|\u{202e}|\u{1b}|é| ){0,12}",
        "/[a-z]{1,8}(/[a-z]{1,8}){0,2}",
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn no_word_that_was_given_becomes_a_grant_of_its_own(file in words(), path in words(), key in words(), about in words(), guest in words(), host in words()) {
        let draft = draft(&file, &path, (&key, &about), (&guest, &host));
        if let Ok(Begun { text, .. }) = begin(&draft) {
            prop_assert_eq!(&format("gate.toml", &text).unwrap(), &text, "canonical");
            if let Ok(policy) = parse("gate.toml", &text) {
                prop_assert_eq!(&policy.dirs, &draft.dirs);
                prop_assert_eq!(policy.path.as_path(), Path::new(&path));
                prop_assert!(policy.graphs.is_empty() && policy.signers.len() == 1 && policy.env.is_empty() && policy.args.is_empty());
                let SignerKind::Key { path } = &policy.signers[0].kind else { panic!("{text}") };
                prop_assert_eq!(path.as_path(), Path::new(&key));
            }
        }
    }
}

#[test]
fn no_key_takes_the_words_of_a_blank() {
    let whole = Draft { key: None, dirs: Vec::new(), ..draft("gate.wasm", "/srv/gate.wasm", ("", ""), ("", "")) };
    let begun = begin(&whole).unwrap();
    assert_eq!(begun.blanks.iter().map(|blank| blank.section).collect::<Vec<_>>(), ["[[module.signer]]", "[[dir]]", "[[graph]]"]);
    let blank = |line: &&str| line.contains(BLANK);
    let blanks = begun.text.lines().filter(blank).count();
    // With the sections opened and nothing filled in, each blank is a mistake of its own.
    let opened: String = begun
        .text
        .lines()
        .map(|line| line.strip_prefix("# ").filter(|rest| rest.contains(" = ") || rest.starts_with('[')).unwrap_or(line).to_owned() + "\n")
        .collect();
    let found = parse("gate.toml", &opened).unwrap_err();
    assert_eq!(found.errors(), blanks, "{found}");
}
