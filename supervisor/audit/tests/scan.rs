//! Scanning: what is out of bounds is not read, what is in them is found, and what is damaged is counted.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use std::cell::Cell;
use std::path::Path;

use edgeguard_audit::Journal;
use edgeguard_audit::Outcome;
use edgeguard_audit::Record;
use edgeguard_audit::Source;
use edgeguard_audit::boottime_ns;
use edgeguard_audit::call_id;
use edgeguard_audit::read::Content;
use edgeguard_audit::realtime_ns;
use edgeguard_audit::scan::CallView;
use edgeguard_audit::scan::Scanned;
use edgeguard_audit::scan::Wanted;
use edgeguard_audit::scan::scan;

const MODULES: [&str; 2] = ["old", "new"];

fn record(time_ns: u64, function: &str) -> Record {
    let call = call_id("wasi_snapshot_preview1", function).unwrap();
    Record { time_ns, call, outcome: Outcome::Ok, flags: 0, errno: 0, rule: 1, handle: 5, took_ns: 7, n_in: 0, n_out: 9 }
}

/// Calls of `old`, ten seconds ago, then calls of `new`, now: ten frames of each.
fn journal() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    let (mut journal, _) = Journal::open(dir.path(), "test").unwrap();
    for (module, ago) in MODULES.into_iter().zip([10_000_000_000, 0]) {
        let source = Source::new(module, uuid::Uuid::from_u128(1), [1; 32], [2; 32]);
        for _ in 0..10 {
            let time = boottime_ns() - ago;
            let batch: Vec<_> = ["path_open", "fd_read", "fd_close"].map(|function| (record(time, function), Some(b"a".as_slice()))).into();
            journal.calls(&source, &batch).unwrap();
            journal.flush().unwrap();
        }
    }
    journal.close().unwrap();
    dir
}

fn calls(dir: &Path, since: u64, until: u64, wants: &dyn Fn(&CallView<'_>) -> Option<bool>) -> (Vec<(String, String)>, Scanned) {
    let mut found = Vec::new();
    let wanted = Wanted { since, until, events: false, call: Some(wants) };
    let done = scan(
        dir,
        &wanted,
        &mut |_, _, content| {
            if let Some(Content::Calls(items)) = content {
                found.extend(items.iter().map(|item| (item.what.source.module().to_owned(), item.what.record.call.function().to_owned())));
            }
            true
        },
        &mut |_| {},
    );
    (found, done.unwrap())
}

#[test]
fn frames_out_of_the_bounds_are_not_read_and_none_within_is_left_out() {
    let dir = journal();
    let (all, read) = calls(dir.path(), 0, u64::MAX, &|_| Some(true));
    assert_eq!((all.len(), read.damaged, read.frames), (60, 0, read.of));
    let between = realtime_ns() - 5_000_000_000;
    let asked = Cell::new(0);
    let counted = |_: &CallView<'_>| {
        asked.set(asked.get() + 1);
        Some(true)
    };
    let (late, some) = calls(dir.path(), between, u64::MAX, &counted);
    assert_eq!((late.len(), late.iter().all(|(module, _)| module == "new")), (30, true));
    assert!(some.bytes < read.bytes, "{some:?} {read:?}");
    // Three shapes and three calls for each of ten frames.
    assert_eq!(asked.get(), 60);
    let (early, _) = calls(dir.path(), 0, between, &|_| Some(true));
    assert_eq!((early.len(), early.iter().all(|(module, _)| module == "old")), (30, true));
}

#[test]
fn what_calls_have_in_common_decides_before_they_are_looked_at() {
    let dir = journal();
    let whole = Cell::new(0);
    let (found, _) = calls(dir.path(), 0, u64::MAX, &|call| {
        whole.set(whole.get() + u32::from(call.whole));
        if call.record.call.function() == "fd_read" { call.whole.then_some(call.record.n_out == 9) } else { Some(false) }
    });
    assert_eq!((found.len(), whole.get()), (20, 20), "only calls that could be wanted are looked at");
    assert!(found.iter().all(|(_, function)| function == "fd_read"));
    let (none, _) = calls(dir.path(), 0, u64::MAX, &|call| call.whole.then_some(false));
    assert!(none.is_empty());
}

#[test]
fn a_frame_that_is_no_frame_hides_no_other_tier_and_is_counted() {
    let dir = journal();
    let segment = std::fs::read_dir(dir.path().join("s")).unwrap().next().unwrap().unwrap().path();
    let mut bytes = std::fs::read(&segment).unwrap();
    bytes[9] ^= 1;
    std::fs::write(&segment, bytes).unwrap();
    let (found, done) = calls(dir.path(), 0, u64::MAX, &|_| Some(true));
    assert_eq!((found.len(), done.damaged), (60, 1));
}
