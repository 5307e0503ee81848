//! The known attacks on the admission of signed modules, one table: what the attacker does, and the code that refuses it.
//!
//! Each attack is made with real keys, through the crate's public interface, and beside it the same thing without the lie: that one must be admitted, so that no row
//! passes for another reason than its own. The message of every refusal is kept as people see it (`INSTA_UPDATE=always` after a change).
//!
//! Rows that need a device, or the whole daemon, name the tests that make them.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod form;
#[path = "../keyless/world.rs"]
#[allow(dead_code, reason = "shared with the attacks on keyless bundles")]
mod gateway;
mod proof;
mod said;
mod state;
#[path = "../support/mod.rs"]
mod support;
#[path = "../support/tuf.rs"]
mod tuf;
mod who;
#[path = "../support/world.rs"]
mod world;

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::path::Path;

use edgeguard_attest::Code;
use edgeguard_attest::KeyError;
use edgeguard_attest::Rejection;
use edgeguard_attest::explain;

/// One attack.
#[derive(Clone, Copy)]
pub struct Row {
    /// The number of the attack, and a letter for each way of making it.
    pub case: &'static str,
    /// What the attacker does.
    pub does: &'static str,
    /// What comes of it.
    pub end: End,
}

/// What comes of an attack.
#[derive(Clone, Copy)]
pub enum End {
    /// Refused, with this code.
    Refused(Code, fn() -> Tried),
    /// The operator is told before anything can be verified with such a key.
    NoKey(fn() -> KeyError),
    /// Shown by these tests.
    At(&'static [&'static str]),
}

/// An attack, and the same without the lie.
pub struct Tried {
    honest: Result<(), Rejection>,
    attack: Result<(), Rejection>,
}

/// Whatever comes out of admission, but for the refusal, is of no interest here.
pub fn tried<H, A>(honest: Result<H, Rejection>, attack: Result<A, Rejection>) -> Tried {
    Tried { honest: honest.map(drop), attack: attack.map(drop) }
}

/// The row of an attack that is refused.
pub const fn refused(case: &'static str, does: &'static str, code: Code, by: fn() -> Tried) -> Row {
    Row { case, does, end: End::Refused(code, by) }
}

fn table() -> Vec<Row> {
    let mut rows: Vec<Row> = [form::ROWS, proof::ROWS, who::ROWS, said::ROWS, state::ROWS].into_iter().flatten().copied().collect();
    rows.sort_by_key(|row| (row.number(), row.case));
    rows
}

impl Row {
    fn number(&self) -> u32 {
        self.case.trim_end_matches(|letter: char| letter.is_ascii_lowercase()).parse().unwrap()
    }
}

#[test]
fn every_known_attack_is_refused_by_its_own_code_and_the_honest_bundle_beside_it_is_not() {
    let mut text = String::new();
    let mut wrong = Vec::new();
    for Row { case, does, end } in table() {
        writeln!(text, "{case} {does}").unwrap();
        match end {
            End::Refused(code, by) => {
                let Tried { honest, attack } = by();
                if let Err(rejection) = honest {
                    wrong.push(format!("{case}: without the lie it is refused too: {rejection}"));
                }
                match attack {
                    Ok(()) => wrong.push(format!("{case}: {does}: accepted, expected {code}")),
                    Err(rejection) if rejection.code != code => wrong.push(format!("{case}: expected {code}, refused by {rejection}")),
                    Err(rejection) => writeln!(text, "   {}\n", stable(&rejection.to_string())).unwrap(),
                }
            }
            End::NoKey(by) => writeln!(text, "   {}\n", by()).unwrap(),
            End::At(tests) => writeln!(text, "   shown by {}\n", tests.join(", ")).unwrap(),
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(!text.lines().any(|line| line.contains(char::is_control)), "a message could steer a terminal");
    insta::assert_snapshot!("table", text);
}

/// A message without what is new each time, because signatures are: root hashes, and where in a text a mistake stands.
fn stable(message: &str) -> String {
    let (roots, place) = (message.contains("root `") || message.contains("root hash"), message.contains("at line 1 column"));
    let words = message.split(' ').map(|word| {
        let number = word.trim_matches(|c: char| !c.is_ascii_hexdigit());
        let hash = roots && number.len() >= 30 && number.chars().all(|c| c.is_ascii_hexdigit());
        let column = place && number.len() == 4 && number.chars().all(|c| c.is_ascii_digit());
        if hash || column { word.replace(number, "NEW") } else { word.to_owned() }
    });
    words.collect::<Vec<_>>().join(" ")
}

#[test]
fn all_thirty_four_attacks_have_a_row_and_no_row_stands_twice() {
    let table = table();
    let numbers: BTreeSet<u32> = table.iter().map(Row::number).collect();
    assert_eq!(numbers, (1..=34).collect());
    let cases: BTreeSet<&str> = table.iter().map(|row| row.case).collect();
    assert_eq!(cases.len(), table.len());
}

#[test]
fn every_code_of_the_table_is_explained() {
    for row in table() {
        if let End::Refused(code, _) = row.end {
            assert!(explain(code.as_str()).is_some_and(|text| text.len() > 40), "{}: {code}", row.case);
        }
    }
}

#[test]
fn every_test_that_a_row_names_exists() {
    let top = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let mut sources = String::new();
    for folder in ["attest/src", "attest/tests", "tests/tests", "supervisor/sandbox/src", "supervisor/daemon/src", "cli/tests"] {
        read_all(&top.join(folder), &mut sources);
    }
    for row in table() {
        let End::At(tests) = row.end else { continue };
        assert!(!tests.is_empty(), "{}", row.case);
        for test in tests {
            assert!(sources.contains(&format!("fn {test}(")), "{}: there is no `{test}`", row.case);
        }
    }
}

fn read_all(folder: &Path, out: &mut String) {
    for entry in std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
        if entry.is_dir() {
            read_all(&entry, out);
        } else if entry.extension().is_some_and(|extension| extension == "rs") {
            out.push_str(&std::fs::read_to_string(entry).unwrap());
        }
    }
}
