//! What `edgeguard explain` shows is true: each wrong example makes its mistake, each right one does not.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod common;

use edgeguard_policy::Code;
use edgeguard_policy::codes::TABLE;

fn found(fragment: &str) -> Vec<Code> {
    // The examples stand for themselves: what the base policy grants beside them is not to get in their way.
    let text = common::with(fragment);
    match edgeguard_policy::parse("example.toml", &text) {
        Ok(policy) => policy.warnings.iter().map(|d| d.code()).collect(),
        Err(found) => found.iter().map(|d| d.code()).collect(),
    }
}

#[test]
fn every_wrong_example_makes_its_mistake_and_no_other() {
    for row in TABLE.iter().filter(|row| !row.wrong.is_empty()) {
        let codes = found(row.wrong);
        assert!(!codes.is_empty() && codes.iter().all(|c| *c == row.code), "{}: {codes:?}", row.id);
    }
}

#[test]
fn every_right_example_stands() {
    for row in TABLE.iter().filter(|row| !row.right.is_empty()) {
        assert_eq!(found(row.right), [], "{}", row.id);
    }
}

#[test]
fn every_mistake_that_a_section_can_show_has_an_example() {
    let of_text = |id: &str| id < "EG032" || ("EG059".."EG071").contains(&id);
    let without = TABLE.iter().filter(|row| of_text(row.id) && row.wrong.is_empty()).map(|row| row.id);
    let known = ["EG002", "EG003", "EG007", "EG020"];
    assert_eq!(without.collect::<Vec<_>>(), known, "too large, not UTF-8, absent or too many to print");
}
