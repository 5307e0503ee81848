//! Scanning: what is out of bounds is not read, what is in them is found, and what is damaged is counted.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use std::path::Path;
use std::sync::atomic::AtomicU32;
use std::sync::atomic::Ordering;

use edgeguard_audit::Event;
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
use edgeguard_audit::scan::Wants;
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

fn calls(dir: &Path, since: u64, until: u64, wants: &Wants<'_>) -> (Vec<(String, String)>, Scanned) {
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
    let asked = AtomicU32::new(0);
    let counted = |_: &CallView<'_>| {
        asked.fetch_add(1, Ordering::Relaxed);
        Some(true)
    };
    let (late, some) = calls(dir.path(), between, u64::MAX, &counted);
    assert_eq!((late.len(), late.iter().all(|(module, _)| module == "new")), (30, true));
    assert!(some.bytes < read.bytes, "{some:?} {read:?}");
    // Three shapes and three calls for each of ten frames.
    assert_eq!(asked.into_inner(), 60);
    let (early, _) = calls(dir.path(), 0, between, &|_| Some(true));
    assert_eq!((early.len(), early.iter().all(|(module, _)| module == "old")), (30, true));
}

#[test]
fn what_calls_have_in_common_decides_before_they_are_looked_at() {
    let dir = journal();
    let whole = AtomicU32::new(0);
    let (found, _) = calls(dir.path(), 0, u64::MAX, &|call| {
        whole.fetch_add(u32::from(call.whole), Ordering::Relaxed);
        if call.record.call.function() == "fd_read" { call.whole.then_some(call.record.n_out == 9) } else { Some(false) }
    });
    assert_eq!((found.len(), whole.into_inner()), (20, 20), "only calls that could be wanted are looked at");
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

/// A journal of several segments of calls: in each batch the same calls, with texts that do not compress, and an event behind it.
fn large() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    let (mut journal, _) = Journal::open(dir.path(), "test").unwrap();
    let source = Source::new("m", uuid::Uuid::from_u128(1), [1; 32], [2; 32]);
    let mut state = 1u64;
    for _ in 0..18 {
        let mut text = || -> Vec<u8> {
            let words = (0..100).map(|_| {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                state.rotate_left(17) ^ state >> 29
            });
            words.flat_map(u64::to_le_bytes).collect()
        };
        let batch: Vec<_> = (0..1000).map(|_| (record(boottime_ns(), "path_open"), Some(text()))).collect();
        journal.calls(&source, &batch).unwrap();
        journal.event(&Event::ControlRefused { peer_uid: 1, what: "x".into() }).unwrap();
    }
    journal.close().unwrap();
    assert!(segments(dir.path()).len() > 3, "the test needs several segments of calls");
    dir
}

fn segments(dir: &Path) -> Vec<std::path::PathBuf> {
    let mut segments: Vec<_> = std::fs::read_dir(dir.join("d")).unwrap().map(|entry| entry.unwrap().path()).collect();
    segments.sort();
    segments
}

/// Every frame's number, and the places of the calls.
fn order(dir: &Path) -> (Vec<u64>, Vec<u64>, Scanned) {
    let (mut frames, mut calls) = (Vec::new(), Vec::new());
    let wanted = Wanted { since: 0, until: u64::MAX, events: true, call: Some(&|_| Some(true)) };
    let done = scan(
        dir,
        &wanted,
        &mut |_, header, content| {
            frames.push(header.frame_no);
            if let Some(Content::Calls(items)) = content {
                calls.extend(items.iter().map(|item| item.seq));
            }
            true
        },
        &mut |_| {},
    );
    (frames, calls, done.unwrap())
}

#[test]
fn segments_that_are_read_at_once_are_handed_over_in_their_order() {
    let dir = large();
    let (frames, calls, done) = order(dir.path());
    assert_eq!((frames, done.damaged), ((0..done.of).collect(), 0));
    assert_eq!(calls, (0..18_000).collect::<Vec<_>>());
}

#[test]
fn whoever_has_enough_ends_the_search() {
    let dir = large();
    let mut taken = 0;
    let wanted = Wanted { since: 0, until: u64::MAX, events: true, call: Some(&|_| Some(true)) };
    let mut take = |_, _: &_, content: Option<Content>| {
        taken += u32::from(matches!(content, Some(Content::Calls(_))));
        taken < 2
    };
    let done = scan(dir.path(), &wanted, &mut take, &mut |_| {}).unwrap();
    assert!(taken == 2 && done.frames < done.of, "{done:?}");
}

#[test]
fn damage_in_one_segment_of_calls_hides_none_of_the_others() {
    let dir = large();
    let (_, whole, _) = order(dir.path());
    let segment = &segments(dir.path())[1];
    let mut bytes = std::fs::read(segment).unwrap();
    bytes[9] ^= 1;
    std::fs::write(segment, bytes).unwrap();
    let (frames, calls, done) = order(dir.path());
    assert!(frames.is_sorted() && calls.is_sorted());
    assert_eq!(done.damaged, 1);
    assert!(calls.len() < whole.len() && calls.last() == whole.last(), "{} of {}", calls.len(), whole.len());
}

#[test]
fn a_segment_that_stands_under_an_earlier_name_is_damage_and_changes_no_order() {
    let dir = large();
    let segments = segments(dir.path());
    // Its frames have the numbers of the one behind it.
    std::fs::copy(&segments[2], &segments[1]).unwrap();
    let (frames, calls, done) = order(dir.path());
    assert!(frames.is_sorted() && calls.is_sorted());
    assert_eq!(done.damaged, 1);
}
