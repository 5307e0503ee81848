//! Every code that policies and hosts can be told, held against the corpus of wrong ones: each is reached, seen by a person in a snapshot, and documented.
//!
//! Runs on the sources: the snapshots are those that the tests of the policy crate and of the command line compare with.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::path::PathBuf;

use edgeguard_policy::Severity;
use edgeguard_policy::codes::TABLE;

/// The folders of tests whose snapshots are what people read about policies.
const FOLDERS: [&str; 2] = ["../policy/tests", "tests"];

fn crate_file(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

/// Each snapshot: the folder, the file of tests and the name that it is of, and its text.
fn snapshots() -> Vec<(&'static str, String, String, String)> {
    let mut all = Vec::new();
    for folder in FOLDERS {
        for entry in fs::read_dir(crate_file(folder).join("snapshots")).unwrap() {
            let path = entry.unwrap().path();
            let stem = path.file_name().unwrap().to_str().unwrap().strip_suffix(".snap").map(str::to_owned);
            let stem = stem.unwrap_or_else(|| panic!("`{}` waits to be looked at", path.display()));
            let (of, name) = stem.split_once("__").unwrap();
            all.push((folder, of.to_owned(), name.to_owned(), fs::read_to_string(&path).unwrap()));
        }
    }
    all
}

/// The codes that a text reports.
fn codes(text: &str) -> impl Iterator<Item = &str> {
    let heads = text.lines().filter_map(|line| line.strip_prefix("error[").or_else(|| line.strip_prefix("warning[")));
    heads.filter_map(|rest| rest.split(']').next())
}

#[test]
fn every_code_is_in_a_snapshot_that_a_person_can_read() {
    let mut seen: BTreeMap<String, usize> = BTreeMap::new();
    for (.., text) in snapshots() {
        codes(&text).for_each(|code| *seen.entry(code.to_owned()).or_default() += 1);
    }
    let missing: Vec<&str> = TABLE.iter().map(|row| row.id).filter(|id| !seen.contains_key(*id)).collect();
    assert!(missing.is_empty(), "reached by no case of the corpus: {missing:?}");
}

#[test]
fn every_snapshot_belongs_to_a_case() {
    for (folder, of, name, _) in snapshots() {
        let source = fs::read_to_string(crate_file(folder).join(format!("{of}.rs"))).unwrap();
        let case = name.strip_prefix("host_").filter(|_| of == "policy_check").map_or_else(|| name.clone(), |what| what.replace('_', " "));
        let known = source.replace(", ", "  ").contains(&format!("\"{case}\""))
            || source.contains(&format!("fn {name}("))
            || source.contains(&format!("{name:?}"));
        assert!(known, "{folder}/snapshots/{of}__{name}.snap is of no case");
    }
}

#[test]
fn every_code_is_documented_with_its_severity_and_title() {
    let page = fs::read_to_string(crate_file("../docs/policy-reference.md")).unwrap();
    for row in TABLE {
        assert!(page.contains(&format!("| {} | {} | {} |", row.id, row.severity.as_str(), row.title)), "{}", row.id);
    }
    let listed = page.lines().filter(|line| line.starts_with("| EG")).count();
    assert_eq!(listed, TABLE.len(), "the page lists a code that is gone");
}

#[test]
fn the_corpus_has_at_least_eighty_wrong_policies() {
    let wrong = snapshots().into_iter().filter(|(_, of, name, text)| {
        let is_error = |id: &str| TABLE.iter().any(|row| row.id == id && row.severity == Severity::Error);
        of == "wrong" && !name.starts_with("host_") && codes(text).any(is_error)
    });
    let count = wrong.count();
    assert!(count >= 80, "{count}");
}
