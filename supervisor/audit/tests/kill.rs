//! A writer that is killed in the middle of a burst, again and again, on the same journal.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use std::io::BufRead as _;
use std::io::BufReader;
use std::path::Path;
use std::process::Command;
use std::process::Stdio;

use edgeguard_audit::Event;
use edgeguard_audit::Journal;
use edgeguard_audit::Keys;
use edgeguard_audit::Options;
use edgeguard_audit::Outcome;
use edgeguard_audit::Record;
use edgeguard_audit::Recovery;
use edgeguard_audit::Source;
use edgeguard_audit::Verdict;
use edgeguard_audit::boottime_ns;
use edgeguard_audit::call_id;
use edgeguard_audit::read::Content;
use edgeguard_audit::read::Reader;
use edgeguard_audit::verify;

const WRITER: &str = "EDGEGUARD_TEST_JOURNAL";

fn started(pid: u32) -> Event {
    Event::DaemonStarted { version: "0.1.0".into(), pid }
}

/// The sealed journal in this folder.
fn open(dir: &Path) -> (Journal, Recovery) {
    let keys = Keys::load(&dir.join("keys"), None).unwrap();
    Journal::open_with(&dir.join("audit"), "gateway-7", Options::sealed(keys)).unwrap()
}

/// Writes until it is killed; says each event that the journal has taken.
fn write(dir: &Path) {
    let (mut journal, _) = open(dir);
    let source = Source::new("m", uuid::Uuid::from_u128(7), [1; 32], [2; 32]);
    for n in 0.. {
        let record = Record {
            time_ns: boottime_ns(),
            call: call_id("wasi_snapshot_preview1", "path_open").unwrap(),
            outcome: Outcome::Ok,
            flags: 0,
            errno: 0,
            rule: 1,
            handle: n,
            took_ns: 1,
            n_in: 0,
            n_out: 0,
        };
        journal.calls(&source, &vec![(record, Some(format!("{n}/{}", "x".repeat(300)))); 200]).unwrap();
        journal.append(&started(n)).unwrap();
        println!("\ntaken {n}");
        if n.is_multiple_of(50) {
            journal.commit().unwrap();
            journal.flush().unwrap();
        }
    }
}

/// Not a test of its own: what [`a_killed_daemon_loses_no_event_that_was_taken`] starts and kills.
#[test]
fn writer() {
    if let Some(dir) = std::env::var_os(WRITER) {
        write(Path::new(&dir));
    }
}

fn events(dir: &Path) -> Vec<u32> {
    let mut reader = Reader::open(&dir.join("audit")).unwrap();
    let mut pids = Vec::new();
    while let Some(frame) = reader.next_frame().unwrap() {
        if let Content::Events(items) = reader.decode(&frame).unwrap() {
            pids.extend(items.into_iter().filter_map(|item| match item.what {
                Event::DaemonStarted { pid, .. } => Some(pid),
                _ => None,
            }));
        }
    }
    pids
}

#[test]
fn a_killed_daemon_loses_no_event_that_was_taken() {
    let dir = tempfile::tempdir().unwrap();
    let mut expected = 0;
    for round in 1..=12u64 {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "writer", "--nocapture"])
            .env(WRITER, dir.path())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok);
        let mut taken: Vec<u32> = Vec::new();
        for number in lines.filter_map(|line| line.strip_prefix("taken ").and_then(|number| number.parse().ok())) {
            taken.push(number);
            if taken.len() as u64 == round * 17 {
                child.kill().unwrap();
            }
        }
        child.wait().unwrap();

        // The next start finds it unclean, and everything that was said to be taken is there.
        let (journal, recovery) = open(dir.path());
        assert!(recovery.unclean && recovery.damage.is_empty(), "{recovery:?}");
        drop(journal);
        let found = verify(&dir.path().join("audit"), |_, _| {});
        assert_eq!(found.verdict, Verdict::Ok, "round {round}");
        assert_eq!(found.sealed, found.frames, "round {round}");
        let written = events(dir.path());
        let of_this_round = &written[expected..];
        assert!(of_this_round.len() >= taken.len(), "{} written, {} taken", of_this_round.len(), taken.len());
        assert_eq!(&of_this_round[..taken.len()], taken);
        // The calls before an event are there with it; a kill between the two leaves calls without their event.
        let calls = 200 * written.len() as u64;
        assert!((calls..=calls + 200 * round).contains(&found.records), "{} calls for {} events", found.records, written.len());
        expected = written.len();
    }
}
