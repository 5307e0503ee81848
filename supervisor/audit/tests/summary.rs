//! Counts of calls: exact, complete, and there when the calls are not any more.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod common;

use std::collections::BTreeMap;
use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use common::*;
use edgeguard_audit::Event;
use edgeguard_audit::Journal;
use edgeguard_audit::Keys;
use edgeguard_audit::Options;
use edgeguard_audit::Outcome;
use edgeguard_audit::Record;
use edgeguard_audit::Trust;
use edgeguard_audit::Verdict;
use edgeguard_audit::Verification;
use edgeguard_audit::call_id;
use edgeguard_audit::encode::Gap;
use edgeguard_audit::encode::Why;
use edgeguard_audit::frame::FrameType;
use edgeguard_audit::read::Content;
use edgeguard_audit::read::Counts;
use edgeguard_audit::read::Reader;
use edgeguard_audit::read::Summary;
use edgeguard_audit::scan::Counted;
use edgeguard_audit::scan::counts;
use edgeguard_audit::verify_with;

type Calls = Vec<(Record, Option<Vec<u8>>)>;
/// Module, second since boot, call, outcome, errno, rule, text.
type Key = (String, u64, u16, Outcome, u16, u16, Option<Vec<u8>>);

const SECOND: u64 = 1_000_000_000;

/// Calls of ten seconds that have passed: three in four have no text, one in seven is refused.
fn calls(from: u64, count: u64) -> Calls {
    // As the journal keeps times: in steps of 64 ns.
    let base = (edgeguard_audit::boottime_ns() - 10 * SECOND) / 64 * 64;
    let names = ["fd_read", "path_open", "clock_time_get", "fd_write", "fd_close"];
    (from..from + count)
        .map(|n| {
            let noise = n.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 20;
            let denied = n.is_multiple_of(7);
            let record = Record {
                time_ns: base + noise % (10 * SECOND) / 64 * 64,
                call: call_id("wasi_snapshot_preview1", names[noise as usize % names.len()]).unwrap(),
                outcome: if denied { Outcome::Denied } else { Outcome::Ok },
                flags: 0,
                errno: if denied { 76 } else { 0 },
                rule: (n % 3) as u16,
                handle: n as u32,
                took_ns: (noise % 100_000 / 64 * 64) as u32,
                // Flags of opens are no bytes.
                n_in: (n as u32 % 256) | (((n % 2) as u32) << 31),
                n_out: u32::MAX - n as u32,
            };
            (record, n.is_multiple_of(4).then(|| format!("/audio/{}.wav", n % 5).into_bytes()))
        })
        .collect()
}

/// What calls come to, in the plainest way.
fn expected(sets: &[(&str, &Calls)]) -> BTreeMap<Key, (u64, u64, u64, u64, u32)> {
    let mut rows = BTreeMap::new();
    for (module, calls) in sets {
        for (record, text) in *calls {
            let key =
                (module.to_string(), record.time_ns / SECOND, record.call.raw(), record.outcome, record.errno, record.rule, text.clone());
            let row: &mut (u64, u64, u64, u64, u32) = rows.entry(key).or_default();
            row.0 += 1;
            let flags = record.call.function() == "path_open" && record.n_in >> 31 == 1;
            row.1 += if flags { 0 } else { u64::from(record.n_in) };
            row.2 += u64::from(record.n_out);
            row.3 += u64::from(record.took_ns);
            row.4 = row.4.max(record.took_ns);
        }
    }
    for row in rows.values_mut() {
        // The longest is kept to eight significant bits, rounded up.
        let unit = 1 << (32 - row.4.leading_zeros()).saturating_sub(8);
        row.4 = row.4.next_multiple_of(unit);
    }
    rows
}

/// What the journal counts, rows that a frame's end has cut put together.
fn found(journal: &Path) -> (BTreeMap<Key, (u64, u64, u64, u64, u32)>, Counted) {
    let mut rows = BTreeMap::new();
    let counted = counts(
        journal,
        &mut |row| {
            let text = row.text.as_ref().map(|text| text.to_vec());
            let module = row.source.module().to_owned();
            let key = (module, row.window_boot / SECOND, row.call.raw(), row.outcome, row.errno, row.rule, text);
            let sum: &mut (u64, u64, u64, u64, u32) = rows.entry(key).or_default();
            let Counts { calls, n_in, n_out, took_ns, took_max_ns, .. } = row.counts;
            *sum = (sum.0 + calls, sum.1 + n_in, sum.2 + n_out, sum.3 + took_ns, sum.4.max(took_max_ns));
        },
        &mut |_| {},
    );
    (rows, counted.unwrap())
}

fn summaries(journal: &Path) -> Vec<Summary> {
    let mut reader = Reader::open(journal).unwrap();
    let mut found = Vec::new();
    while let Some(frame) = reader.next_frame().unwrap() {
        if let Content::Summary(summary) = reader.decode(&frame).unwrap() {
            found.push(summary);
        }
    }
    found
}

fn verified(journal: &Path) -> Verification {
    let found = verify_with(journal, &Trust { contents: true, ..Trust::default() }, |_, _| {});
    assert_eq!(found.verdict, Verdict::Ok);
    found
}

/// A copy of a house whose daemon is killed at this moment.
fn killed(house: &House, journal: Journal) -> House {
    std::mem::forget(journal);
    let other = House::new();
    copy_dir(&house.journal(), &other.journal());
    copy_dir(&house.keys(), &other.keys());
    other
}

#[test]
fn counts_are_those_of_the_calls() {
    let house = House::new();
    let (mut journal, _) = house.open();
    let (one, two) = (calls(0, 9000), calls(9000, 3000));
    journal.calls(&source("one"), &one).unwrap();
    journal.calls(&source("two").on_ring(3), &two).unwrap();
    journal.event(&started("1")).unwrap();
    let (live, counted) = found(&house.journal());
    assert_eq!((counted.calls, counted.open), (0..12_000, 12_000), "no frame of counts is due");
    assert_eq!(live, expected(&[("one", &one), ("two", &two)]));
    journal.close().unwrap();
    let (rows, counted) = found(&house.journal());
    assert_eq!((counted.calls, counted.open), (0..12_000, 0));
    assert_eq!(rows, expected(&[("one", &one), ("two", &two)]));
    let found = verified(&house.journal());
    assert_eq!((found.records, found.counted, found.recounted), (12_000, 12_000, 12_000));
    let first = summaries(&house.journal()).remove(0);
    for row in &first.rows {
        assert!(row.counts.first_ms <= row.counts.last_ms && row.counts.last_ms < 1000, "{row:?}");
        assert!(row.window_real > 1_700_000_000 * SECOND, "{row:?}");
    }
}

#[test]
fn a_sum_of_many_durations_is_kept_to_thirteen_bits() {
    let house = House::new();
    let (mut journal, _) = house.open();
    let record = Record { took_ns: 320, ..record(1) };
    journal.calls(&source("m"), &vec![(record, None::<Vec<u8>>); 999]).unwrap();
    journal.calls(&source("n"), &vec![(record, None::<Vec<u8>>); 1000]).unwrap();
    journal.close().unwrap();
    let took: Vec<u64> = found(&house.journal()).0.values().map(|row| row.3).collect();
    assert_eq!(took, [999 * 320, 320_000 / 64 * 64]);
    verified(&house.journal());
}

#[test]
fn calls_of_many_names_are_counted_in_many_frames() {
    let house = House::new();
    let (mut journal, _) = house.open();
    let all: Calls = (0..20).flat_map(|round| bulky(round * 500)).collect();
    journal.calls(&source("m"), &all).unwrap();
    journal.close().unwrap();
    assert_eq!(found(&house.journal()).0, expected(&[("m", &all)]));
    assert!(summaries(&house.journal()).len() > 20);
    assert!(fs::read_dir(house.journal().join("sum")).unwrap().count() > 1, "each segment has names of its own");
    verified(&house.journal());
}

#[test]
fn counts_stay_when_calls_are_deleted() {
    let house = House::new();
    let (mut journal, _) = house.open();
    let mut all = Calls::new();
    while fs::read_dir(house.journal().join("d")).unwrap().count() < 3 {
        let some = bulky(all.len() as u64);
        journal.calls(&source("m"), &some).unwrap();
        all.extend(some);
    }
    assert!(journal.retire_detail(0).unwrap() > 0);
    journal.calls(&source("m"), &calls(0, 5)).unwrap();
    all.extend(calls(0, 0));
    journal.close().unwrap();
    let (rows, counted) = found(&house.journal());
    assert_eq!(counted.calls.end, all.len() as u64 + 5);
    assert_eq!(rows.values().map(|row| row.0).sum::<u64>(), all.len() as u64 + 5);
    assert!(expected(&[("m", &all)]).iter().all(|(key, row)| rows.get(key) == Some(row)));
    let found = verified(&house.journal());
    assert!(found.retired > 0 && found.recounted < found.counted, "{found:?}");
}

#[test]
fn calls_of_a_killed_daemon_are_counted_by_the_next() {
    let house = House::new();
    let (mut journal, _) = house.open();
    let (one, two, three) = (calls(0, 700), calls(700, 6000), calls(6700, 10));
    journal.calls(&source("m"), &one).unwrap();
    journal.close().unwrap();
    let (mut journal, _) = house.open();
    journal.calls(&source("m"), &two).unwrap();
    journal.sync().unwrap();
    let house = killed(&house, journal);
    assert_eq!(summaries(&house.journal()).len(), 1);
    // And once more, before anything could be counted.
    let (journal, recovery) = house.open();
    assert!(recovery.unclean && recovery.damage.is_empty(), "{recovery:?}");
    let house = killed(&house, journal);
    let (mut journal, _) = house.open();
    journal.calls(&source("m"), &three).unwrap();
    journal.close().unwrap();
    assert_eq!(found(&house.journal()).0, expected(&[("m", &one), ("m", &two), ("m", &three)]));
    let coverage: Vec<_> = summaries(&house.journal()).into_iter().map(|summary| summary.coverage.calls).collect();
    assert_eq!(coverage, [0..700, 700..6700, 6700..6710]);
    assert_eq!(verified(&house.journal()).recounted, 6710);
}

#[test]
fn calls_that_are_only_counted_have_numbers_and_no_frames() {
    let house = House::new();
    let (mut journal, _) = house.open();
    let (one, two, three) = (calls(0, 500), calls(500, 8000), calls(8500, 40));
    journal.calls(&source("m"), &one).unwrap();
    journal.flush().unwrap();
    journal.set_detail(false);
    assert!(!journal.detail());
    let bytes = journal.stats().detail_bytes;
    journal.calls(&source("m"), &two).unwrap();
    journal.event(&started("1")).unwrap();
    assert_eq!(journal.stats().detail_bytes, bytes);
    journal.set_detail(true);
    journal.calls(&source("m"), &three).unwrap();
    journal.close().unwrap();
    assert_eq!(found(&house.journal()).0, expected(&[("m", &one), ("m", &two), ("m", &three)]));
    let kinds: Vec<_> = summaries(&house.journal()).into_iter().map(|summary| (summary.coverage.calls, summary.coverage.detail)).collect();
    assert_eq!(kinds, [(0..500, true), (500..8500, false), (8500..8540, true)]);
    let found = verified(&house.journal());
    assert_eq!((found.records, found.counted, found.recounted), (540, 8540, 540));
    let gap = |first, next| Gap::of_calls(&house.journal(), first, next).unwrap().why;
    assert_eq!((gap(500, 8500), gap(600, 8500), gap(400, 8500), gap(500, 8501)), (Why::Counted, Why::Counted, Why::Damaged, Why::Damaged));
    // The numbers go on behind them also where nothing else says so.
    let (mut journal, _) = house.open();
    journal.set_detail(false);
    journal.calls(&source("m"), &one).unwrap();
    journal.close().unwrap();
    let (mut journal, _) = house.open();
    journal.calls(&source("m"), &one).unwrap();
    journal.close().unwrap();
    assert_eq!(verified(&house.journal()).counted, 9540);
}

#[test]
fn a_kill_takes_at_most_the_last_second_of_what_is_only_counted() {
    let house = House::new();
    let (mut journal, _) = house.open();
    journal.set_detail(false);
    journal.calls(&source("m"), &calls(0, 100)).unwrap();
    journal.flush().unwrap();
    assert!(journal.sync_due().unwrap() <= edgeguard_audit::SYNC_WITHIN);
    std::thread::sleep(edgeguard_audit::SYNC_WITHIN);
    journal.flush().unwrap();
    journal.calls(&source("m"), &calls(100, 100)).unwrap();
    journal.flush().unwrap();
    let house = killed(&house, journal);
    let (mut journal, _) = house.open();
    journal.calls(&source("m"), &calls(200, 100)).unwrap();
    journal.close().unwrap();
    assert_eq!(verified(&house.journal()).counted, 200);
}

#[test]
fn a_segment_of_counts_never_needs_the_names_of_another() {
    let house = House::new();
    for _ in 0..3 {
        let (mut journal, _) = house.open();
        journal.calls(&source("m"), &calls(0, 100)).unwrap();
        journal.close().unwrap();
    }
    let image = Image::of(&house.journal());
    assert_eq!(image.segments("sum").len(), 3);
    let last = image.frames().into_iter().rfind(|(_, _, header)| header.kind == FrameType::Summary).unwrap().2.frame_no;
    let mut reader = Reader::open_at(&house.journal(), last).unwrap();
    let frame = reader.next_frame().unwrap().unwrap();
    assert!(matches!(reader.decode(&frame).unwrap(), Content::Summary(summary) if summary.coverage.calls == (200..300)));
    // Twice is the same.
    assert!(matches!(reader.decode(&frame).unwrap(), Content::Summary(summary) if summary.coverage.calls == (200..300)));
}

#[test]
fn a_journal_without_keys_counts_too() {
    let dir = tempfile::tempdir().unwrap();
    let (mut journal, _) = Journal::open_with(dir.path(), ORIGIN, Options::default()).unwrap();
    journal.calls(&source("m"), &batch(0, 10)).unwrap();
    journal.close().unwrap();
    assert_eq!(verified(dir.path()).counted, 10);
}

/// A house whose counts have outgrown their share, over and over, and the calls that were given to it, in order.
fn outgrown() -> (House, u64) {
    let house = House::new();
    let mut given = 0;
    for round in 0..40 {
        let keys = Keys::load(&house.keys(), None).unwrap();
        let options = Options { budget: Some(256 << 10), ..Options::sealed(keys) };
        let (mut journal, _) = Journal::open_with(&house.journal(), ORIGIN, options).unwrap();
        // Some are only counted, so that nothing but the counts has them.
        journal.set_detail(round % 3 != 1);
        for _ in 0..2 {
            journal.calls(&source("m"), &calls(given, 500)).unwrap();
            given += 500;
            journal.flush().unwrap();
        }
        journal.close().unwrap();
    }
    (house, given)
}

fn events(journal: &Path) -> Vec<Event> {
    let mut reader = Reader::open(journal).unwrap();
    let mut found = Vec::new();
    while let Some(frame) = reader.next_frame().unwrap() {
        if let Content::Events(items) = reader.decode(&frame).unwrap() {
            found.extend(items.into_iter().map(|item| item.what));
        }
    }
    found
}

#[test]
fn counts_that_outgrow_their_share_become_coarser_and_then_the_oldest_go() {
    let (house, given) = outgrown();
    let degraded =
        |window| events(&house.journal()).iter().any(|event| matches!(event, Event::AuditDegraded { window_s, .. } if *window_s == window));
    assert!(degraded(10) && degraded(60));
    let summaries = summaries(&house.journal());
    let windows: BTreeSet<u64> = summaries.iter().map(|summary| summary.coverage.window.seconds()).collect();
    assert!(windows.contains(&60), "{windows:?}");
    // The last one is preallocated, and not cut before the next start.
    let image = Image::of(&house.journal());
    let bytes: usize = image.segments("sum").iter().map(|name| image.0[name].len()).sum();
    assert!(bytes <= (256 << 10) / 8 + 8192, "{bytes}");
    let (rows, counted) = found(&house.journal());
    assert!(counted.calls.start > 0 && counted.calls.end == given, "{counted:?}");
    assert_eq!(rows.values().map(|row| row.0).sum::<u64>(), given - counted.calls.start);
    let found = verified(&house.journal());
    assert_eq!(found.counted, given);
    assert!(found.retired > 0);
}

#[test]
fn finer_counts_come_back_with_a_larger_share() {
    let (house, _) = outgrown();
    let said = events(&house.journal()).len();
    for (budget, restored) in [(256 << 10, false), (64 << 20, true)] {
        let keys = Keys::load(&house.keys(), None).unwrap();
        let options = Options { budget: Some(budget), ..Options::sealed(keys) };
        let (mut journal, _) = Journal::open_with(&house.journal(), ORIGIN, options).unwrap();
        journal.flush().unwrap();
        journal.calls(&source("m"), &calls(0, 10)).unwrap();
        journal.close().unwrap();
        let window = summaries(&house.journal()).pop().unwrap().coverage.window.seconds();
        let now = events(&house.journal()).split_off(said);
        assert_eq!((window, now.len()), if restored { (1, 1) } else { (60, 0) }, "a start alone changes nothing: {now:?}");
        assert!(now.iter().all(|event| matches!(event, Event::AuditRestored { window_s: 1, .. })), "{now:?}");
    }
}
