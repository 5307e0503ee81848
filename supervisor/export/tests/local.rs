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

/// Lines of a sink but for checkpoints, of which there is another whenever the journal was sealed.
fn entries_of(house: &House, sink: &str) -> Vec<String> {
    lines_of(&house.path(sink)).into_iter().filter(|line| !line.contains("\"journal-checkpoint\"")).collect()
}

/// What a receiver was told is gone: why, how many, from which call on.
fn gaps(lines: &[String]) -> Vec<(String, u64, u64)> {
    let values = lines.iter().map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap());
    let gap = |value: serde_json::Value| {
        let data = &value["entity"]["data"];
        let number = |name: &str| data[name].as_u64().unwrap();
        (value["status"].as_str().unwrap().to_owned(), number("count"), number("first"))
    };
    values.filter(|value| value["metadata"]["event_code"] == "journal-gap").map(gap).collect()
}

/// The numbers of the calls that came, and of those that a gap stands for, in order.
fn accounted(lines: &[String]) -> Vec<u64> {
    let mut numbers = Vec::new();
    for line in lines {
        let value: serde_json::Value = serde_json::from_str(line).unwrap();
        let sequence = value["metadata"]["sequence"].as_u64().unwrap();
        if value["metadata"]["log_name"] != "d" {
            continue;
        }
        let count = value["entity"]["data"]["count"].as_u64().unwrap_or(1);
        numbers.extend(sequence..sequence + count);
    }
    numbers
}

#[test]
fn calls_that_were_deleted_in_order_are_no_damage_and_the_receiver_is_told_how_many() {
    let mut house = House::sealed();
    house.configure(&[file_sink(&house, "out", ""), file_sink(&house, "few", "calls = false")].concat());
    house.write(500);
    house.drain();
    let more = house.fill(4);
    assert!(house.retire(9 << 20) >= 2);
    house.write(10);
    house.drain();
    let lines = entries_of(&house, "out");
    let found = gaps(&lines);
    assert!(found.len() == 1 && found[0].0 == "Success" && found[0].2 == 500, "{found:?}");
    assert_eq!(accounted(&lines), (0..500 + more + 10).collect::<Vec<_>>(), "every call came, or is counted");
    assert_eq!(entries_of(&house, "few").len(), 2 * EVENTS, "who takes no calls misses none");
    let status = house.status();
    assert_eq!((&status["sinks"][0]["damaged"], &status["sinks"][0]["gone"]), (&0.into(), &found[0].1.into()), "{status}");
    assert_eq!((&status["sinks"][1]["damaged"], &status["sinks"][1]["gone"]), (&0.into(), &0.into()), "{status}");
    // A second run says it no second time.
    house.drain();
    assert_eq!(entries_of(&house, "out"), lines);
}

#[test]
fn calls_that_somebody_deleted_are_damage() {
    let mut house = House::sealed();
    house.configure(&file_sink(&house, "out", ""));
    let more = house.fill(4);
    let mut segments: Vec<_> = std::fs::read_dir(house.path("audit/d")).unwrap().map(|entry| entry.unwrap().path()).collect();
    segments.sort();
    std::fs::remove_file(&segments[0]).unwrap();
    std::fs::remove_file(&segments[2]).unwrap();
    house.drain();
    let lines = lines_of(&house.path("out"));
    let found = gaps(&lines);
    assert!(found.len() == 2 && found.iter().all(|gap| gap.0 == "Failure"), "{found:?}");
    assert_eq!(accounted(&lines), (0..more).collect::<Vec<_>>());
    // What is gone of a tier is damage once for each stretch that frames of another tier divide it into.
    assert!(house.status()["sinks"][0]["damaged"].as_u64() >= Some(2), "{}", house.status());
}

#[test]
fn a_journal_that_deletes_while_it_is_read_is_accounted_for_to_the_call() {
    let mut house = House::sealed();
    house.configure(&file_sink(&house, "out", ""));
    let mut exporter = house.start();
    let mut written = 0;
    for round in 0..4 {
        written += house.fill(3);
        house.retire(4 << 20);
        if round % 2 == 1 {
            exporter.kill();
            exporter = house.start();
        }
    }
    exporter.kill();
    house.drain();
    // Some came twice because the exporter was killed, and a gap may stand for calls that came in the second before; none is missing.
    let numbers: BTreeSet<u64> = accounted(&lines_of(&house.path("out"))).into_iter().collect();
    assert_eq!(numbers, (0..written).collect());
    assert_eq!(house.status()["sinks"][0]["damaged"], 0);
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

/// What the service manager gives beside the state: a folder that others may look into.
#[test]
fn the_status_is_for_everybody_where_it_is_shared_and_nothing_else_is() {
    use std::os::unix::fs::PermissionsExt as _;
    let mut house = House::sealed();
    house.write(20);
    house.close();
    house.configure(&file_sink(&house, "out", ""));
    let shared = house.path("shared");
    std::fs::create_dir(&shared).unwrap();
    let output = house.exporter().arg("--drain").env("RUNTIME_DIRECTORY", &shared).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let status: serde_json::Value = serde_json::from_slice(&std::fs::read(shared.join("status.json")).unwrap()).unwrap();
    assert_eq!(status["sinks"][0]["name"], "out");
    assert!(status["written_boot_ms"].as_u64() > Some(0) && status["sinks"][0]["checkpoint_frames"].as_u64() > Some(0), "{status}");
    let mode = |path: &std::path::Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&shared.join("status.json")), 0o644);
    for name in ["state/status.json", "state/out.cursor", "state/out.anchor"] {
        assert_eq!(mode(&house.path(name)), 0o600, "{name}");
    }
}
