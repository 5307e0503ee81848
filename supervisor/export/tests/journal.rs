//! The exporter with systemd's journal: the native protocol's datagrams, and their fields.
//!
//! Runs in: tests, with the real exporter. The socket is the test's own: a machine's journal is not for tests to write into.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]
#![forbid(unsafe_code)]

mod house;

use std::collections::BTreeMap;
use std::io::Write as _;
use std::os::unix::net::UnixDatagram;
use std::process::Command;
use std::process::Stdio;

use edgeguard_audit::encode::Form;
use house::EVENTS;
use house::House;
use house::install;
use house::skip;
use house::uid;

/// Every datagram as its fields.
fn received(house: &mut House, calls: u64) -> Vec<BTreeMap<String, String>> {
    let path = house.path("journal.sock");
    let socket = UnixDatagram::bind(&path).unwrap();
    socket.set_read_timeout(Some(std::time::Duration::from_secs(20))).unwrap();
    house.write(calls);
    house.configure(&format!("[[journald]]\nname = \"journal\"\npath = \"{}\"\n", path.display()));
    let _exporter = house.start();
    let mut buffer = vec![0; 64 << 10];
    let mut entries = Vec::new();
    for _ in 0..calls as usize + EVENTS {
        let length = socket.recv(&mut buffer).unwrap();
        let text = std::str::from_utf8(&buffer[..length]).unwrap();
        entries.push(
            text.lines().map(|line| line.split_once('=').unwrap()).map(|(name, value)| (name.to_owned(), value.to_owned())).collect(),
        );
    }
    entries
}

#[test]
fn every_entry_arrives_with_its_fields() {
    let mut house = House::new();
    let entries = received(&mut house, 500);
    let expected = house.lines(Form::default());
    assert_eq!(entries.iter().map(|fields| fields["MESSAGE"].clone()).collect::<Vec<_>>(), expected);
    for (fields, line) in entries.iter().zip(&expected) {
        assert_eq!((fields["EDGEGUARD_UID"].clone(), fields["SYSLOG_IDENTIFIER"].as_str()), (uid(line), "edgeguard"));
        assert!(["6", "4", "2"].contains(&fields["PRIORITY"].as_str()), "{fields:?}");
    }
}

/// The same fields, through the program that stores journals, and out again by `journalctl`.
#[test]
fn journalctl_reads_every_entry_back_equal() {
    let root = match install::root() {
        Ok(root) => root,
        Err(reason) => return skip(&reason),
    };
    if Command::new("journalctl").arg("--version").stdout(Stdio::null()).status().is_err() {
        return skip("needs `journalctl`");
    }
    let mut house = House::new();
    let mut text = String::new();
    for (fields, n) in received(&mut house, 200).iter().zip(1_700_000_000_000_000_u64..) {
        text.push_str(&format!("__REALTIME_TIMESTAMP={n}\n__MONOTONIC_TIMESTAMP={n}\n_BOOT_ID=6f1c1f6e000040008000000000000001\n"));
        fields.iter().for_each(|(name, value)| text.push_str(&format!("{name}={value}\n")));
        text.push('\n');
    }
    let stored = house.path("stored.journal");
    let mut command = install::program(root, "lib/systemd/systemd-journal-remote");
    let mut remote = command.arg("--output").arg(&stored).arg("-").stdin(Stdio::piped()).spawn().unwrap();
    remote.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
    assert!(remote.wait().unwrap().success());
    let output = Command::new("journalctl")
        .arg("--file")
        .arg(&stored)
        .args(["--output=cat", "--all", "SYSLOG_IDENTIFIER=edgeguard"])
        .output()
        .unwrap();
    let found: Vec<&str> = std::str::from_utf8(&output.stdout).unwrap().lines().collect();
    assert_eq!(found, house.lines(Form::default()));
}
