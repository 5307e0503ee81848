//! A full disk: old calls go, events go on, and what is left says what went.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod common;

use std::collections::HashMap;
use std::fs;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering;

use common::*;
use edgeguard_audit::Event;
use edgeguard_audit::Journal;
use edgeguard_audit::JournalError;
use edgeguard_audit::Keys;
use edgeguard_audit::Observer;
use edgeguard_audit::Op;
use edgeguard_audit::Options;
use edgeguard_audit::Record;
use edgeguard_audit::Verdict;
use edgeguard_audit::read::Content;
use edgeguard_audit::read::Reader;
use edgeguard_audit::verify;

/// A disk of this many bytes.
#[derive(Debug)]
struct SmallDisk {
    size: AtomicU64,
    files: Mutex<HashMap<PathBuf, u64>>,
}

impl SmallDisk {
    fn new(size: u64) -> Arc<Self> {
        Arc::new(Self { size: AtomicU64::new(size), files: Mutex::default() })
    }

    fn used(&self) -> u64 {
        self.files.lock().unwrap().values().sum()
    }
}

impl Observer for SmallDisk {
    fn before(&self, op: Op<'_>) -> io::Result<()> {
        let mut files = self.files.lock().unwrap();
        match op {
            Op::Allocate { path, len } => {
                let others = files.iter().filter(|(other, _)| *other != path).map(|(_, len)| len).sum::<u64>();
                if others + len > self.size.load(Ordering::Relaxed) {
                    return Err(io::Error::from(io::ErrorKind::StorageFull));
                }
                files.insert(path.to_owned(), len);
            }
            Op::SetLen { path, len } => drop(files.insert(path.to_owned(), len)),
            Op::Remove(path) => drop(files.remove(path)),
            _ => {}
        }
        Ok(())
    }
}

const RESERVE: u64 = 8 << 20;
const MIB: u64 = 1 << 20;

const CALLS: u64 = 20_000;

/// Calls whose numbers do not compress, and which are counted in few rows.
fn many(n: u64) -> Vec<(Record, Option<Vec<u8>>)> {
    let noise = |at: u64| (n * CALLS + at + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(at as u32 % 64) as u32;
    let call = |at| Record { took_ns: noise(at), n_in: noise(at + 77), n_out: noise(at + 777), ..record(1) };
    (0..CALLS).map(|at| (call(at), None)).collect()
}

fn open(house: &House, disk: &Arc<SmallDisk>) -> Journal {
    open_and(house, disk, false)
}

fn open_and(house: &House, disk: &Arc<SmallDisk>, summarize: bool) -> Journal {
    let keys = Keys::load(&house.keys(), None).unwrap();
    let observer = Some(Arc::clone(disk) as Arc<dyn Observer>);
    let options = Options { reserve: Some(RESERVE), summarize, observer, ..Options::sealed(keys) };
    Journal::open_with(&house.journal(), ORIGIN, options).unwrap().0
}

fn long_event(n: u32) -> Event {
    Event::ControlRefused { peer_uid: n, what: "x".repeat(3000) }
}

fn events(house: &House) -> Vec<Event> {
    let mut reader = Reader::open(&house.journal()).unwrap();
    let mut events = Vec::new();
    while let Some(frame) = reader.next_frame().unwrap() {
        if let Content::Events(items) = reader.decode(&frame).unwrap() {
            events.extend(items.into_iter().map(|item| item.what));
        }
    }
    events
}

fn calls(house: &House) -> u64 {
    let mut reader = Reader::open(&house.journal()).unwrap();
    let mut calls = 0;
    while let Some(frame) = reader.next_frame().unwrap() {
        if let Content::Calls(items) = reader.decode(&frame).unwrap() {
            calls += items.len() as u64;
        }
    }
    calls
}

fn segments(house: &House, tier: &str) -> usize {
    fs::read_dir(house.journal().join(tier)).unwrap().count()
}

#[test]
fn the_oldest_calls_go_events_go_on_and_only_then_is_the_disk_full() {
    let house = House::sealed();
    let (before, disk) = (calls(&house), SmallDisk::new(36 * MIB));
    let mut journal = open(&house, &disk);
    assert_eq!(fs::metadata(house.journal().join("reserve")).unwrap().len(), RESERVE);
    // 1. Calls without end: the oldest go, and nobody hears of a full disk.
    let mut n = 0;
    while n < 100 {
        let taken = journal.calls(&source("m"), &many(n)).and_then(|()| journal.flush());
        taken.unwrap_or_else(|error| panic!("at {n}: {error:?}, {:?}", disk.files.lock().unwrap()));
        assert!(disk.used() <= 36 * MIB);
        n += 1;
    }
    assert!(segments(&house, "d") > 2 && house.journal().join("reserve").exists(), "{:?}", disk.files.lock().unwrap());
    // 2. Events without end, each of which is kept: calls make room for them, until one segment is left.
    let mut kept = 0;
    let full = loop {
        match journal.event(&long_event(kept)) {
            Ok(_) => kept += 1,
            Err(error) => break error,
        }
    };
    assert!(matches!(full, JournalError::Full { .. }), "{full:?}");
    assert_eq!(segments(&house, "d"), 1);
    assert!(house.journal().join("reserve").exists(), "what nothing can be deleted with is not given up");
    // 3. It says so every time, deletes nothing more, and takes events again once there is room.
    assert!(matches!(journal.event(&long_event(kept)), Err(JournalError::Full { .. })));
    disk.size.store(80 * MIB, Ordering::Relaxed);
    journal.event(&long_event(kept)).unwrap();
    journal.close().unwrap();

    let found = verify(&house.journal(), |_, _| {});
    assert_eq!((&found.verdict, found.sealed), (&Verdict::Ok, found.frames), "{found:?}");
    let events = events(&house);
    let numbers: Vec<_> =
        events.iter().filter_map(|event| if let Event::ControlRefused { peer_uid, .. } = event { Some(*peer_uid) } else { None }).collect();
    assert_eq!(numbers, (0..=kept).collect::<Vec<_>>());
    let mut gone = (0, 0);
    for event in &events {
        if let Event::JournalRoomMade { segments, calls, bytes, reason, .. } = event {
            assert!(*bytes > 3 * MIB && !reason.is_empty(), "{event:?}");
            gone = (gone.0 + segments, gone.1 + calls);
        }
    }
    assert!(gone.0 > 4, "{gone:?}");
    // What is left and what went are all.
    assert_eq!(calls(&house) + gone.1, before + 100 * CALLS);
    // It goes on where it ended.
    let mut journal = open(&house, &SmallDisk::new(200 * MIB));
    journal.calls(&source("m"), &many(0)).unwrap();
    journal.close().unwrap();
    assert_eq!(verify(&house.journal(), |_, _| {}).verdict, Verdict::Ok);
}

#[test]
fn where_that_is_wished_calls_are_only_counted_before_the_disk_is_full_and_every_one_is() {
    let house = House::sealed();
    let (before, disk) = (calls(&house), SmallDisk::new(36 * MIB));
    let mut journal = open_and(&house, &disk, true);
    let mut n = 0;
    let mut work = |journal: &mut Journal| {
        journal.calls(&source("m"), &many(n)).and_then(|()| journal.flush()).unwrap();
        n += 1;
    };
    (0..40).for_each(|_| work(&mut journal));
    let mut kept = 0;
    let full = loop {
        match journal.event(&long_event(kept)) {
            Ok(_) => kept += 1,
            Err(error) => break error,
        }
        if !journal.detail() && kept % 50 == 0 {
            work(&mut journal);
        }
    };
    assert!(matches!(full, JournalError::Full { .. }), "{full:?}");
    assert!(!journal.detail());
    assert_eq!(segments(&house, "d"), 0, "the last calls went, too, so that events go on");
    disk.size.store(200 * MIB, Ordering::Relaxed);
    journal.event(&long_event(kept)).unwrap();
    work(&mut journal);
    journal.close().unwrap();

    let found = verify(&house.journal(), |_, _| {});
    assert_eq!((&found.verdict, found.sealed), (&Verdict::Ok, found.frames), "{found:?}");
    assert_eq!(found.counted, before + n * CALLS, "every call is counted");
    let events = events(&house);
    let steps: Vec<u64> =
        events.iter().filter_map(|event| if let Event::CallsOnlyCounted { from, .. } = event { Some(*from) } else { None }).collect();
    assert_eq!(steps, [before + 40 * CALLS]);
    // The next start writes calls again.
    let mut journal = open(&house, &SmallDisk::new(200 * MIB));
    journal.calls(&source("m"), &many(0)).unwrap();
    journal.close().unwrap();
    assert_eq!((verify(&house.journal(), |_, _| {}).verdict, calls(&house)), (Verdict::Ok, CALLS));
}

#[test]
fn a_journal_without_keys_deletes_nothing() {
    let house = House::sealed();
    let (disk, dir) = (SmallDisk::new(22 * MIB), tempfile::tempdir().unwrap());
    let options = Options { observer: Some(Arc::clone(&disk) as Arc<dyn Observer>), ..Options::default() };
    let mut journal = Journal::open_with(&dir.path().join("audit"), ORIGIN, options).unwrap().0;
    let mut n = 0;
    let full = loop {
        if let Err(error) = journal.calls(&source("m"), &many(n)).and_then(|()| journal.flush()) {
            break error;
        }
        n += 1;
    };
    assert!(matches!(full, JournalError::Full { .. }), "{full:?}");
    drop((journal, house));
    assert!(fs::read_dir(dir.path().join("audit/d")).unwrap().count() > 1);
}
