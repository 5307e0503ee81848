//! The exporter with rsyslog: what it wrote is read back and is equal, and a receiver that is killed in the middle misses nothing where the protocol
//! acknowledges.
//!
//! Runs in: tests, with the real exporter and the real rsyslog, which the tests unpack for themselves.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]
#![forbid(unsafe_code)]

mod house;

use std::collections::BTreeSet;

use edgeguard_audit::encode::Form;
use house::Certificates;
use house::House;
use house::install;
use house::lines_of;
use house::listens;
use house::port;
use house::rsyslog::configuration;
use house::rsyslog::remote;
use house::rsyslog::start as rsyslog;
use house::skip;
use house::uid;
use house::until;

/// Whether the receivers can be had.
fn can() -> bool {
    match install::root() {
        Ok(_) => true,
        Err(reason) => {
            skip(&reason);
            false
        }
    }
}

#[test]
fn by_tls_every_entry_is_read_back_equal() {
    if !can() {
        return;
    }
    let (mut house, port) = (House::new(), port());
    Certificates::write(house.dir.path());
    house.write(300);
    let _rsyslog = rsyslog(&house, &configuration(&house, "tls.conf", port));
    listens(port);
    house.configure(&remote(&house, "syslog", port));
    house.drain();
    let expected = house.lines(Form::default());
    until("all entries", || (lines_of(&house.path("received")).len() == expected.len()).then_some(()));
    assert_eq!(lines_of(&house.path("received")), expected);
}

#[test]
fn by_relp_every_entry_is_read_back_equal() {
    if !can() {
        return;
    }
    let (mut house, port) = (House::new(), port());
    Certificates::write(house.dir.path());
    house.write(2000);
    let _rsyslog = rsyslog(&house, &configuration(&house, "relp.conf", port));
    listens(port);
    house.configure(&remote(&house, "relp", port));
    house.drain();
    let expected = house.lines(Form::default());
    until("all entries", || (lines_of(&house.path("received")).len() == expected.len()).then_some(()));
    assert_eq!(lines_of(&house.path("received")), expected);
}

#[test]
fn by_relp_a_receiver_killed_in_mid_stream_misses_nothing() {
    if !can() {
        return;
    }
    let (mut house, port) = (House::new(), port());
    Certificates::write(house.dir.path());
    let configuration = configuration(&house, "relp.conf", port);
    house.configure(&remote(&house, "relp", port));
    let mut receiver = rsyslog(&house, &configuration);
    listens(port);
    let mut exporter = house.start();
    for _ in 0..3 {
        let before = lines_of(&house.path("received")).len();
        house.write(4000);
        until("entries", || (lines_of(&house.path("received")).len() > before + 100).then_some(()));
        receiver.kill();
        receiver = rsyslog(&house, &configuration);
    }
    let expected = house.uids();
    let received = || -> BTreeSet<String> {
        lines_of(&house.path("received")).iter().filter(|line| line.ends_with('}')).map(|line| uid(line)).collect()
    };
    until("everything acknowledged", || {
        Some(house.status()).filter(|status| status["sinks"][0]["acknowledged"].as_u64() == Some(expected.len() as u64))
    });
    until("the set of uids to be complete", || (received() == expected).then_some(()));
    assert!(house.status()["sinks"][0]["failures"].as_u64() > Some(0), "the receiver was killed and nobody noticed: {}", house.status());
    exporter.kill();
}

#[test]
fn a_receiver_whose_certificate_is_of_nobody_known_gets_nothing() {
    if !can() {
        return;
    }
    let (mut house, port) = (House::new(), port());
    Certificates::write(house.dir.path());
    house.write(10);
    let _rsyslog = rsyslog(&house, &configuration(&house, "relp.conf", port));
    listens(port);
    // The exporter now believes another authority than the one that the receiver's certificate comes from.
    let other = tempfile::tempdir().unwrap();
    Certificates::write(other.path());
    std::fs::copy(other.path().join("ca.pem"), house.path("ca.pem")).unwrap();
    house.configure(&remote(&house, "relp", port));
    let _exporter = house.start();
    let status = until("a failure", || Some(house.status()).filter(|status| status["sinks"][0]["failures"].as_u64() > Some(0)));
    assert!(status["sinks"][0]["problem"].as_str().unwrap().contains("certificate"), "{status}");
    assert!(lines_of(&house.path("received")).is_empty());
}

#[test]
fn by_local_socket_every_entry_is_read_back_equal() {
    if !can() {
        return;
    }
    let mut house = House::new();
    house.write(300);
    let _rsyslog = rsyslog(&house, &configuration(&house, "unix.conf", 0));
    until("the socket", || house.path("log.sock").exists().then_some(()));
    house.configure(&format!("[[unix]]\nname = \"log\"\npath = \"{}\"\ndatagram = true\n", house.path("log.sock").display()));
    house.drain();
    let expected = house.lines(Form::default());
    until("all entries", || (lines_of(&house.path("received")).len() == expected.len()).then_some(()));
    assert_eq!(lines_of(&house.path("received")), expected);
}

#[test]
fn by_file_every_entry_is_read_back_equal() {
    if !can() {
        return;
    }
    let mut house = House::new();
    house.write(300);
    house.configure(&format!("[[file]]\nname = \"out\"\npath = \"{}\"\n", house.path("out").display()));
    house.drain();
    let _rsyslog = rsyslog(&house, &configuration(&house, "file.conf", 0));
    let expected = house.lines(Form::default());
    until("all entries", || (lines_of(&house.path("received")).len() == expected.len()).then_some(()));
    assert_eq!(lines_of(&house.path("received")), expected);
}
