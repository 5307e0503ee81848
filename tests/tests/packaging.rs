//! What is shipped around the programs: units, examples, and the list of installed files.
//!
//! Runs on the developer's machine and in CI; needs systemd's own tools for the two tests that ask them, and built programs for one.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]
#![forbid(unsafe_code)]

mod place;

use std::collections::BTreeSet;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Command;

use edgeguard_tests::house::skip;

const UNIT: &str = include_str!("../../packaging/systemd/edgeguardd.service");

/// The highest exposure that `systemd-analyze security` may find, in its own unit: 0 is best, 10 worst.
const HIGHEST: f64 = 0.5;

/// The exporter's: what a network, a capability to read the journal, and limits that it lowers itself cost.
const HIGHEST_OF_THE_EXPORTER: f64 = 1.6;

#[test]
fn the_units_exposure_is_at_most_one_half() {
    is_exposed_at_most("edgeguardd.service", HIGHEST);
}

#[test]
fn the_exporters_exposure_is_at_most_one_and_six_tenths() {
    is_exposed_at_most("edgeguard-export.service", HIGHEST_OF_THE_EXPORTER);
}

#[track_caller]
fn is_exposed_at_most(name: &str, highest: f64) {
    let unit = place::root().join("packaging/systemd").join(name);
    let mut analyze = Command::new("systemd-analyze");
    let Ok(output) = place::run(analyze.args(["security", "--no-pager", "--offline=true"]).arg(&unit)) else {
        return skip("`systemd-analyze` is not installed");
    };
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let mark = format!("{name}: ");
    let found = text.lines().find_map(|line| line.split_once(&mark)).map(|(_, rest)| rest.split_whitespace().next().unwrap_or(""));
    let found: f64 = found.unwrap_or_else(|| panic!("no score in:\n{text}{}", String::from_utf8_lossy(&output.stderr))).parse().unwrap();
    assert!(found <= highest, "{name}: exposure {found}, at most {highest} is allowed:\n{text}");
}

#[test]
fn taking_a_line_out_of_the_unit_raises_its_exposure() {
    let dir = tempfile::tempdir().unwrap();
    let weaker = dir.path().join("edgeguardd.service");
    let mut text: Vec<&str> = UNIT.lines().collect();
    text.retain(|line| !line.starts_with("SystemCallFilter=~") && !line.starts_with("PrivateNetwork="));
    std::fs::write(&weaker, text.join("\n")).unwrap();
    let mut analyze = Command::new("systemd-analyze");
    let Ok(output) = place::run(analyze.args(["security", "--no-pager", "--offline=true", "--threshold=5"]).arg(&weaker)) else {
        return skip("`systemd-analyze` is not installed");
    };
    assert!(!output.status.success(), "a unit with the network and all system calls passed");
}

#[test]
fn the_unit_says_what_the_daemon_relies_on() {
    let settings: BTreeSet<&str> = UNIT.lines().collect();
    for line in [
        "Type=notify",
        "WatchdogSec=20",
        "DynamicUser=yes",
        "StateDirectory=edgeguard",
        "RuntimeDirectory=edgeguard",
        "ExecStart=/usr/libexec/edgeguard/edgeguardd",
        // Without these two the daemon can neither look at its children nor tell its peers apart.
        "ProtectProc=default",
        "PrivateUsers=no",
    ] {
        assert!(settings.contains(line), "`{line}` is missing");
    }
    for name in ["landlock_create_ruleset", "landlock_add_rule", "landlock_restrict_self", "seccomp"] {
        assert!(UNIT.lines().any(|line| line.starts_with("SystemCallFilter=@") && line.contains(name)), "children need `{name}`");
    }
}

#[test]
fn the_example_policy_is_valid() {
    let text = include_str!("../../packaging/examples/voice-gate.toml");
    let policy = edgeguard_policy::parse("voice-gate.toml", text).unwrap_or_else(|mistakes| panic!("{mistakes}"));
    assert_eq!(policy.name.as_str(), "voice-gate");
    assert_eq!((policy.dirs.len(), policy.graphs.len()), (1, 1));
}

#[test]
fn the_example_host_file_says_the_defaults() {
    let text = include_str!("../../packaging/examples/edgeguard.toml");
    let mut host = edgeguard_policy::parse_host("edgeguard.toml", text).unwrap_or_else(|mistakes| panic!("{mistakes}"));
    assert_eq!(host.invokers.len(), 1, "the one line of the example that is no default");
    host.invokers.clear();
    assert_eq!(host, edgeguard_policy::HostConfig::default());
}

#[test]
fn the_installer_installs_exactly_the_listed_files() {
    let programs = place::programs();
    if !programs.join("edgeguard").exists() || !programs.join("edgeguardd").exists() {
        return skip("the programs are not built: cargo build --release --workspace --bins");
    }
    let dest = tempfile::tempdir().unwrap();
    place::stdout(Command::new(place::root().join("packaging/install.sh")).arg(dest.path()).env("FROM", &programs));
    let mut found = BTreeSet::new();
    collect(dest.path(), dest.path(), &mut found);
    let listed: BTreeSet<String> =
        include_str!("../../packaging/files.txt").lines().filter(|line| !line.starts_with('#')).map(str::to_owned).collect();
    assert_eq!(found, listed);
}

#[test]
fn the_installer_leaves_a_configuration_alone() {
    let programs = place::programs();
    if !programs.join("edgeguard").exists() || !programs.join("edgeguardd").exists() {
        return skip("the programs are not built: cargo build --release --workspace --bins");
    }
    let dest = tempfile::tempdir().unwrap();
    let own = dest.path().join("etc/edgeguard/edgeguard.toml");
    std::fs::create_dir_all(own.parent().unwrap()).unwrap();
    std::fs::write(&own, "version = 1\n").unwrap();
    place::stdout(Command::new(place::root().join("packaging/install.sh")).arg(dest.path()).env("FROM", &programs));
    assert_eq!(std::fs::read_to_string(&own).unwrap(), "version = 1\n");
}

/// `MODE PATH` of every file below, man pages as one line.
fn collect(top: &Path, dir: &Path, found: &mut BTreeSet<String>) {
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            collect(top, &path, found);
            continue;
        }
        let mode = path.metadata().unwrap().permissions().mode() & 0o7777;
        let mut name = path.strip_prefix(top).unwrap().display().to_string();
        if name.starts_with("usr/share/man/man1/edgeguard") {
            name = "usr/share/man/man1/edgeguard*.1".into();
        }
        found.insert(format!("{mode:04o} /{name}"));
    }
}
