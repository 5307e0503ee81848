//! The exporter with receivers on this machine: nothing lost, nothing out of order, nothing reached that is not its own.
//!
//! Runs in: tests, with the real exporter, confined.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]
#![forbid(unsafe_code)]

mod house;

use std::collections::BTreeSet;
use std::io::BufRead as _;
use std::io::BufReader;
use std::os::unix::net::UnixDatagram;
use std::os::unix::net::UnixListener;

use edgeguard_audit::encode::Form;
use edgeguard_audit::encode::OcsfVersion;
use house::EVENTS;
use house::House;
use house::lines_of;
use house::uid;
use house::until;

fn file_sink(house: &House, name: &str, more: &str) -> String {
    format!("[[file]]\nname = \"{name}\"\npath = \"{}\"\n{more}\n", house.path(name).display())
}

#[test]
fn a_file_holds_every_entry_once_and_in_order() {
    let mut house = House::new();
    house.write(5000);
    house.configure(
        &[
            file_sink(&house, "out", ""),
            file_sink(&house, "ecs", "format = \"ecs\""),
            file_sink(&house, "old", "ocsf-version = \"1.1\""),
            file_sink(&house, "few", "calls = false"),
        ]
        .concat(),
    );
    house.drain();
    assert_eq!(lines_of(&house.path("out")), house.lines(Form::default()));
    assert_eq!(lines_of(&house.path("ecs")), house.lines(Form::Ecs));
    assert_eq!(lines_of(&house.path("old")), house.lines(Form::Ocsf(OcsfVersion::V1_1)));
    assert_eq!(lines_of(&house.path("few")).len(), EVENTS);
    // What is new comes behind it, also from a journal that was closed and opened again, with the same ids as in an export of the whole.
    house.write(100);
    house.reopen();
    house.write(100);
    house.drain();
    assert_eq!(lines_of(&house.path("out")), house.lines(Form::default()));
    assert_eq!(lines_of(&house.path("few")).len(), 3 * EVENTS);
    let status = house.status();
    assert_eq!(
        (&status["sinks"][0]["frames_behind"], &status["sinks"][0]["acknowledged"]),
        (&0.into(), &(5200 + 3 * EVENTS).into()),
        "{status}"
    );
}

#[test]
fn an_exporter_that_is_killed_again_and_again_loses_nothing() {
    let mut house = House::new();
    house.configure(&file_sink(&house, "out", ""));
    for _ in 0..6 {
        house.write(3000);
        let before = lines_of(&house.path("out")).len();
        let mut exporter = house.start();
        until("entries in the file", || (lines_of(&house.path("out")).len() > before).then_some(()));
        exporter.kill();
    }
    house.drain();
    let lines = lines_of(&house.path("out"));
    let found: BTreeSet<String> = lines.iter().map(|line| uid(line)).collect();
    assert_eq!(found, house.uids());
    // Some come twice, as they must; each repetition is the same, to the byte.
    let distinct: BTreeSet<&String> = lines.iter().collect();
    assert_eq!(distinct.len(), found.len());
}

#[test]
fn what_is_written_while_it_runs_arrives() {
    let mut house = House::new();
    house.configure(&file_sink(&house, "out", ""));
    let _exporter = house.start();
    for round in 1..4 {
        house.write(50);
        let expected = house.lines(Form::default());
        assert_eq!(expected.len(), round * (50 + EVENTS));
        until("all entries", || (lines_of(&house.path("out")) == expected).then_some(()));
    }
}

#[test]
fn a_stream_and_a_datagram_socket_receive_every_entry() {
    let mut house = House::new();
    house.write(500);
    let (stream, log) = (house.path("stream.sock"), house.path("log.sock"));
    let listener = UnixListener::bind(&stream).unwrap();
    let socket = UnixDatagram::bind(&log).unwrap();
    socket.set_read_timeout(Some(std::time::Duration::from_secs(20))).unwrap();
    house.configure(&format!(
        "[[unix]]\nname = \"stream\"\npath = \"{}\"\n[[unix]]\nname = \"log\"\npath = \"{}\"\ndatagram = true\n",
        stream.display(),
        log.display()
    ));
    let expected = house.lines(Form::default());
    let count = expected.len();
    let _exporter = house.start();
    let reader = BufReader::new(listener.accept().unwrap().0);
    let streamed: Vec<String> = reader.lines().take(count).map(Result::unwrap).collect();
    assert_eq!(streamed, expected);
    let mut buffer = vec![0; 64 << 10];
    for line in &expected {
        let length = socket.recv(&mut buffer).unwrap();
        let text = std::str::from_utf8(&buffer[..length]).unwrap();
        let (priority, found) = text.split_once(">edgeguard: ").unwrap();
        assert!(["<110", "<108", "<106"].contains(&priority), "{text:.40}");
        assert_eq!(found, line);
    }
}

#[test]
fn a_receiver_that_is_not_there_is_waited_for_and_holds_up_no_other() {
    let mut house = House::new();
    house.write(100);
    let socket = house.path("later.sock");
    house.configure(&format!("{}[[unix]]\nname = \"later\"\npath = \"{}\"\n", file_sink(&house, "out", ""), socket.display()));
    let _exporter = house.start();
    until("the file", || (lines_of(&house.path("out")).len() == 100 + EVENTS).then_some(()));
    let status = until("the status", || Some(house.status()).filter(|status| status["sinks"][1]["failures"].as_u64() > Some(0)));
    assert_eq!(status["sinks"][1]["delivering"], false);
    assert!(status["sinks"][1]["problem"].as_str().unwrap().contains("cannot reach"), "{status}");
    assert!(status["sinks"][1]["frames_behind"].as_u64() > Some(0), "{status}");
    let words = house.exporter().arg("--status").output().unwrap();
    assert!(String::from_utf8_lossy(&words.stdout).contains("later (unix) waiting"), "{words:?}");
    let listener = UnixListener::bind(&socket).unwrap();
    let reader = BufReader::new(listener.accept().unwrap().0);
    assert_eq!(reader.lines().take(100 + EVENTS).map(Result::unwrap).collect::<Vec<_>>(), house.lines(Form::default()));
}

#[test]
fn another_journal_in_the_same_place_is_not_exported_as_if_it_were_the_old_one() {
    let mut house = House::new();
    house.write(100);
    house.configure(&file_sink(&house, "out", ""));
    house.drain();
    let other = House::new();
    std::fs::rename(house.path("audit"), house.path("gone")).unwrap();
    std::fs::rename(other.path("audit"), house.path("audit")).unwrap();
    let output = house.exporter().arg("--drain").output().unwrap();
    assert_eq!(output.status.code(), Some(7));
    assert!(String::from_utf8_lossy(&output.stderr).contains("edgeguard audit verify"), "{output:?}");
}

#[test]
fn it_is_held_by_the_kernel_and_says_so() {
    let mut house = House::new();
    house.write(10);
    house.configure(&file_sink(&house, "out", ""));
    let exporter = house.start();
    until("the file", || (lines_of(&house.path("out")).len() == 10 + EVENTS).then_some(()));
    let status = std::fs::read_to_string(format!("/proc/{}/status", exporter.0.id())).unwrap();
    for line in ["Seccomp:\t2", "NoNewPrivs:\t1"] {
        assert!(status.contains(line), "{status}");
    }
}

#[test]
fn a_landlock_that_no_kernel_has_is_a_refusal_and_not_a_downgrade() {
    let mut house = House::new();
    house.write(10);
    house.configure(&format!("require-landlock = 99\n{}", file_sink(&house, "out", "")));
    let output = house.exporter().arg("--drain").output().unwrap();
    assert_eq!(output.status.code(), Some(4), "{output:?}");
    assert!(lines_of(&house.path("out")).is_empty());
}
