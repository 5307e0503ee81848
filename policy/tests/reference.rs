//! The policy reference says what the program does.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod common;

use edgeguard_policy::HostConfig;
use edgeguard_policy::Principal;
use edgeguard_policy::Profiles;
use edgeguard_policy::codes::TABLE;

const REFERENCE: &str = include_str!("../../docs/policy-reference.md");

/// The fenced blocks of one kind.
fn examples(kind: &str) -> Vec<&'static str> {
    let open = format!("```{kind}\n");
    let found: Vec<_> = REFERENCE.split(&open).skip(1).map(|rest| rest.split("```").next().unwrap()).collect();
    assert!(!found.is_empty(), "{kind}");
    found
}

#[test]
fn every_example_of_a_policy_stands() {
    for text in examples("toml policy") {
        let policy = edgeguard_policy::parse("example.toml", text).unwrap_or_else(|e| panic!("{e}\n{text}"));
        assert!(policy.warnings.is_empty());
    }
}

/// A profile's name is in its first line, which says where it lies.
#[test]
fn every_example_of_profiles_stands() {
    let mut profiles = Profiles::of("/etc/edgeguard/profiles.d");
    for text in examples("toml profile") {
        let file = text.lines().next().unwrap().trim_start_matches("# ");
        let name = file.rsplit('/').next().unwrap().trim_end_matches(".toml");
        profiles.add(name, file, text.as_bytes());
    }
    for text in examples("toml using") {
        let policy = edgeguard_policy::parse_with("counter.toml", text, &profiles).unwrap_or_else(|e| panic!("{e}\n{text}"));
        assert_eq!((policy.limits.instances, policy.limits.memory, policy.floor.landlock), (1, 256 << 20, 4), "as the page says");
        let shown = examples("").into_iter().find(|block| block.contains("$ edgeguard policy expand")).unwrap();
        let lines: Vec<&str> = shown.lines().skip(1).filter(|line| *line != "...").collect();
        let expanded = edgeguard_policy::expand("counter.toml", text.as_bytes(), &profiles).unwrap().text;
        assert!(lines.len() == 4 && expanded.contains(&lines.join("\n")), "{expanded}");
    }
}

#[test]
fn every_example_of_a_section_stands() {
    for text in examples("toml section") {
        edgeguard_policy::parse("example.toml", &common::with(text)).unwrap_or_else(|e| panic!("{e}\n{text}"));
    }
}

#[test]
fn every_example_of_the_top_stands() {
    for text in examples("toml top") {
        edgeguard_policy::parse("example.toml", &format!("{text}{}", common::BASE)).unwrap_or_else(|e| panic!("{e}\n{text}"));
    }
}

/// Whatever the format knows is on the page with its name, and stands in an example that is parsed.
#[test]
fn every_key_is_described_and_has_an_example() {
    let all = ["toml policy", "toml section", "toml top", "toml using", "toml profile", "toml host"].map(examples).concat().join("\n");
    for key in edgeguard_policy::keys() {
        assert!(
            REFERENCE.contains(&format!("`{key}`")) || REFERENCE.contains(&format!(".{key}`")) || REFERENCE.contains(&format!("{key}]")),
            "{key} is not described"
        );
        let told = edgeguard_policy::claims().any(|claim| claim == key);
        let shown =
            [format!("\n{key} = "), format!("{{ {key} = "), format!("[{key}]"), format!(".{key}]")].iter().any(|form| all.contains(form));
        assert!(told || shown, "{key} stands in no example");
    }
}

#[test]
fn every_example_of_the_host_file_stands_and_the_first_is_the_default() {
    let hosts: Vec<HostConfig> = examples("toml host")
        .into_iter()
        .map(|t| edgeguard_policy::parse_host("edgeguard.toml", t).unwrap_or_else(|e| panic!("{e}\n{t}")))
        .collect();
    assert_eq!(hosts[0], HostConfig::default());
    assert_eq!(hosts[1].admins, [Principal::User("ops".into())]);
    assert_eq!(hosts[2].learning.as_ref().map(|learning| learning.module.as_str()), Some("voice-gate"));
    assert_eq!(hosts[3].policy_signing.as_ref().map(|signing| signing.keys.len()), Some(2));
}

#[test]
fn every_code_is_listed_with_its_title() {
    for row in TABLE {
        let line = format!("| {} | {} | {} |", row.id, row.severity.as_str(), row.title);
        assert!(REFERENCE.contains(&line), "{line}");
    }
    assert_eq!(REFERENCE.lines().filter(|l| l.starts_with("| EG")).count(), TABLE.len());
}

#[test]
fn the_bounds_in_the_text_are_those_of_the_program() {
    use edgeguard_policy::*;
    let numbers = [
        (format!("`[[dir]]`, 0 to {MAX_DIRS} times"), "directories"),
        (format!("`[[graph]]`, 0 to {MAX_GRAPHS} times"), "graphs"),
        (format!("`[[module.signer]]`, 1 to {MAX_SIGNERS} times"), "signers"),
        (format!("`[[module.require]]`, 0 to {MAX_REQUIREMENTS} times"), "requirements"),
        (format!("At most {MAX_BUNDLES} are read, and each must be good"), "bundles"),
        (format!("At most {MAX_PATTERN} bytes."), "patterns"),
        (format!("| `revision` | {} to {} |", VERSION.0, VERSION.1), "revisions"),
        (format!("| `min-version` | {} to {} |", VERSION.0, VERSION.1), "versions"),
        (format!("At most {MAX_BUILD_WORDS} entries in each of"), "build words"),
        (format!("| `profiles` | list of names, at most {MAX_PROFILES} |"), "profiles"),
        (format!("1 to {MAX_POLICY_KEYS} public keys"), "keys of policies"),
        (
            format!("| {} to {} | required; invocations at once. At most {MAX_CHANNELS} instances × graphs", INSTANCES.0, INSTANCES.1),
            "instances",
        ),
        (format!("| {} to {} | files open at once", OPEN_FILES.0, OPEN_FILES.1), "open files"),
        (format!("granted directories not counted. Default: {DEFAULT_OPEN_FILES} |"), "default of open files"),
        (
            format!(
                "| {} to {} | elements in all tables of one instance. Default: {DEFAULT_TABLE_ELEMENTS} |",
                TABLE_ELEMENTS.0, TABLE_ELEMENTS.1
            ),
            "tables",
        ),
        (format!("| `landlock` | {} to {} |", LANDLOCK.0, LANDLOCK.1), "Landlock"),
        (format!("at most {} KiB large", MAX_TEXT / 1024), "text"),
        (format!("at most {MAX_PATH} bytes"), "paths"),
        (format!("Environment variables, at most {MAX_ENV}, names and values at most {MAX_WORD} bytes"), "environment"),
        (format!("at most {MAX_ARGS}, each at most {MAX_WORD} bytes"), "arguments"),
        (format!("at most {MAX_PRINCIPALS} in a list"), "principals"),
    ];
    for (text, what) in numbers {
        assert!(REFERENCE.contains(&text), "{what}: `{text}`");
    }
    assert_eq!((MEMORY, OUTPUT), ((64 << 10, 4 << 30), (0, 1 << 30)), "as the reference has them");
    let days = |(least, most): (std::time::Duration, std::time::Duration)| (least.as_secs(), most.as_secs() / 86_400);
    assert_eq!((days(MAX_AGE), days(WARN), days(GRACE)), ((1, 36_500), (0, 365), (0, 365)), "as the reference has them");
    assert_eq!((days(MAX_SKEW), days(MAX_JUMP)), ((0, 1), (86_400, 3_650)), "as the reference has them");
    assert_eq!(AUDIT_BUDGET, (32 << 20, 1 << 40), "as the reference has them");
    assert_eq!((DEADLINE.0.as_millis(), DEADLINE.1.as_secs()), (1, 3600), "as the reference has them");
}
