//! The exporter with `systemd-journal-remote`: what it was sent is read back by `journalctl` and is equal, and its files are whole by `journalctl --verify`.
//!
//! Runs in: tests, with the real exporter and the real receiver, which the tests unpack for themselves.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]
#![forbid(unsafe_code)]

mod house;

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::process::Command;
use std::process::Stdio;

use edgeguard_audit::anchor;
use edgeguard_audit::anchor::Line;
use edgeguard_audit::encode::Form;
use house::Certificates;
use house::House;
use house::Running;
use house::install;
use house::listens;
use house::port;
use house::skip;
use house::uid;
use house::until;

/// Whether receiver and reader can be had.
fn can() -> bool {
    if let Err(reason) = install::root() {
        skip(&reason);
        return false;
    }
    let there = Command::new("journalctl").arg("--version").stdout(Stdio::null()).status().is_ok();
    if !there {
        skip("needs `journalctl`");
    }
    there
}

fn receiver(house: &House, port: u16) -> Running {
    let folder = house.path("received");
    std::fs::create_dir_all(&folder).unwrap();
    let mut command = install::program(install::root().unwrap(), "lib/systemd/systemd-journal-remote");
    command
        .arg(format!("--listen-https=127.0.0.1:{port}"))
        .arg("--key")
        .arg(house.path("server.key"))
        .arg("--cert")
        .arg(house.path("server.pem"));
    command.arg("--split-mode=host").arg("--output").arg(&folder).stdin(Stdio::null());
    let running = Running(command.spawn().unwrap());
    listens(port);
    running
}

fn sink(house: &House, port: u16) -> String {
    format!("[[journal-remote]]\nname = \"siem\"\nendpoint = \"https://localhost:{port}\"\nca = \"{}\"\n", house.path("ca.pem").display())
}

/// The receiver's files; one that was being written when it was killed is set aside with `~` at its end of the name.
fn files(house: &House) -> Vec<PathBuf> {
    std::fs::read_dir(house.path("received")).unwrap().map(|entry| entry.unwrap().path()).collect()
}

fn journalctl(house: &House, args: &[&str]) -> String {
    let mut command = Command::new("journalctl");
    for file in files(house) {
        command.arg("--file").arg(file);
    }
    let output = command.args(args).stderr(Stdio::inherit()).output().unwrap();
    String::from_utf8(output.stdout).unwrap()
}

fn lines(house: &House) -> Vec<String> {
    journalctl(house, &["--output=cat", "--all", "SYSLOG_IDENTIFIER=edgeguard"]).lines().map(str::to_owned).collect()
}

#[test]
fn every_entry_is_read_back_equal_and_the_file_is_whole() {
    if !can() {
        return;
    }
    let (mut house, port) = (House::new(), port());
    Certificates::write(house.dir.path());
    house.write(1500);
    let mut receiver = receiver(&house, port);
    house.configure(&sink(&house, port));
    house.drain();
    assert_eq!(lines(&house), house.lines(Form::default()));
    let denied = journalctl(&house, &["--output=cat", "--all", "EDGEGUARD_CODE=denied", "PRIORITY=4"]);
    assert_eq!(denied.lines().count(), 1, "{denied}");
    // It closes its files when it ends in order.
    assert!(Command::new("kill").arg(receiver.0.id().to_string()).status().unwrap().success());
    receiver.0.wait().unwrap();
    for file in files(&house) {
        let output = Command::new("journalctl").arg("--verify").arg("--file").arg(&file).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success() && said.contains("PASS"), "{said}");
    }
}

#[test]
fn checkpoints_are_found_in_what_journalctl_prints_as_json() {
    if !can() {
        return;
    }
    let (mut house, port) = (House::sealed(), port());
    Certificates::write(house.dir.path());
    house.write(50);
    house.close();
    let _receiver = receiver(&house, port);
    house.configure(&sink(&house, port));
    house.drain();
    let printed = journalctl(&house, &["--output=json", "SYSLOG_IDENTIFIER=edgeguard"]);
    let found = |line: &str| match anchor::line(line) {
        Line::Checkpoint(checkpoint, _) => Some(checkpoint.size),
        Line::Other => None,
        Line::Broken => panic!("not whole: {line}"),
    };
    let found: Vec<u64> = printed.lines().filter_map(found).collect();
    assert_eq!(found, [house.status()["sinks"][0]["checkpoint_frames"].as_u64().unwrap()]);
}

#[test]
fn a_receiver_killed_in_mid_stream_misses_nothing() {
    if !can() {
        return;
    }
    let (mut house, port) = (House::new(), port());
    Certificates::write(house.dir.path());
    house.configure(&sink(&house, port));
    let mut running = receiver(&house, port);
    let mut exporter = house.start();
    let acknowledged = |house: &House| house.status()["sinks"][0]["acknowledged"].as_u64().unwrap_or(0);
    for _ in 0..3 {
        let before = acknowledged(&house);
        house.write(6000);
        until("entries", || (acknowledged(&house) > before + 100).then_some(()));
        running.kill();
        running = receiver(&house, port);
    }
    let expected = house.uids();
    until("everything acknowledged", || (acknowledged(&house) == expected.len() as u64).then_some(()));
    let received: BTreeSet<String> = lines(&house).iter().map(|line| uid(line)).collect();
    assert_eq!(received.len(), expected.len());
    assert_eq!(received, expected);
    exporter.kill();
}

#[test]
fn a_receiver_that_is_none_gets_no_acknowledgement_for_its_200() {
    if !can() {
        return;
    }
    // An HTTP server that is glad of everything, as a proxy in front of the receiver may be.
    #[allow(clippy::disallowed_methods, reason = "the test plays a server")]
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let served = std::thread::spawn(move || {
        use std::io::Read as _;
        use std::io::Write as _;
        let (mut stream, _) = listener.accept().unwrap();
        let _ = stream.read(&mut [0; 4096]).unwrap();
        stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").unwrap();
    });
    let mut house = House::new();
    house.write(1);
    house.configure(&format!("[[journal-remote]]\nname = \"siem\"\nendpoint = \"http://127.0.0.1:{port}\"\n"));
    let _exporter = house.start();
    let status = until("a failure", || Some(house.status()).filter(|status| status["sinks"][0]["failures"].as_u64() > Some(0)));
    assert_eq!(status["sinks"][0]["acknowledged"], 0, "{status}");
    served.join().unwrap();
}
