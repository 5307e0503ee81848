//! The ledger on a disk that is full for a while.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use std::fs::File;
use std::io::Write as _;
use std::path::Path;
use std::process::Command;
use std::process::Stdio;
use std::time::Duration;
use std::time::Instant;

use edgeguard_audit::Event;
use edgeguard_audit::Journal;
use edgeguard_audit::Keys;
use edgeguard_audit::Options;
use edgeguard_audit::Verdict;
use edgeguard_audit::read::Content;
use edgeguard_audit::read::Reader;
use edgeguardd::ledger::Ledger;

fn event(n: u32) -> Event {
    Event::ControlRefused { peer_uid: n, what: "x".repeat(600) }
}

/// Writes until nothing more fits.
fn fill(path: &Path) {
    let mut file = File::create(path).unwrap();
    while file.write_all(&[1; 4096]).is_ok() {}
}

#[test]
fn a_full_disk_refuses_new_work_keeps_what_happens_and_opens_again_by_itself() {
    let (disk, keys) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let mount =
        Command::new("mount").args(["-t", "tmpfs", "-o", "size=16m", "edgeguard-test"]).arg(disk.path()).stderr(Stdio::null()).status();
    if !mount.is_ok_and(|status| status.success()) {
        assert!(std::env::var_os("CI").is_none(), "a tmpfs cannot be mounted here");
        eprintln!("skipped: a tmpfs cannot be mounted here");
        return;
    }
    let outcome = std::panic::catch_unwind(|| full_for_a_while(disk.path(), keys.path()));
    assert!(Command::new("umount").arg(disk.path()).status().unwrap().success());
    outcome.unwrap();
}

fn full_for_a_while(disk: &Path, keys: &Path) {
    let journal = disk.join("audit");
    let options = Options::sealed(Keys::load(keys, None).unwrap());
    let (ledger, clerk) = Ledger::start(Journal::open_with(&journal, "test", options).unwrap().0).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    fill(&disk.join("filler"));
    // 1. Nobody waits for these; at some point the disk takes no more, and says so.
    let mut sent = 0;
    let began = Instant::now();
    while ledger.usable().is_ok() {
        assert!(began.elapsed() < Duration::from_secs(60), "the disk is full and nobody noticed");
        ledger.note(event(sent));
        sent += 1;
        if sent % 500 == 0 {
            runtime.block_on(ledger.stats()).unwrap();
        }
    }
    runtime.block_on(async { tokio::time::timeout(Duration::from_secs(1), ledger.closed()).await }).unwrap();
    // 2. What allows something is refused; what merely happens is kept.
    assert!(runtime.block_on(ledger.record(event(u32::MAX))).is_err());
    for _ in 0..100 {
        ledger.note(event(sent));
        sent += 1;
    }
    assert!(ledger.usable().is_err());
    // 3. There is space again.
    std::fs::remove_file(disk.join("filler")).unwrap();
    let freed = Instant::now();
    while ledger.usable().is_err() {
        assert!(freed.elapsed() < Duration::from_secs(10), "it does not open again");
        std::thread::sleep(Duration::from_millis(20));
    }
    runtime.block_on(ledger.record(event(sent))).unwrap();
    sent += 1;
    ledger.stop();
    clerk.join().unwrap();

    let found = edgeguard_audit::verify(&journal, |_, _| {});
    assert_eq!(found.verdict, Verdict::Ok, "{found:?}");
    let (mut numbers, mut resumed) = (Vec::new(), Vec::new());
    let mut reader = Reader::open(&journal).unwrap();
    while let Some(frame) = reader.next_frame().unwrap() {
        if let Content::Events(items) = reader.decode(&frame).unwrap() {
            for item in items {
                match item.what {
                    Event::ControlRefused { peer_uid, .. } => numbers.push(peer_uid),
                    Event::JournalResumed { kept, unkept, lost, reason, .. } => {
                        resumed.push((kept >= 100, unkept, lost, reason.contains("full")))
                    }
                    other => panic!("{other:?}"),
                }
            }
        }
    }
    assert_eq!(numbers, (0..sent).collect::<Vec<_>>(), "each event once, in its order");
    assert_eq!(resumed, [(true, 0, 0, true)]);
}
