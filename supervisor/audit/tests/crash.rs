//! Crash points: a journal is written while every change to its disk is noted, then what a power failure at each of them can leave behind is put
//! together, and opened. Bytes that were not synced are there, or not, or in part, sector by sector; names likewise.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod common;

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering;

use common::*;
use edgeguard_audit::Erase;
use edgeguard_audit::Event;
use edgeguard_audit::Journal;
use edgeguard_audit::Keys;
use edgeguard_audit::Observer;
use edgeguard_audit::Op;
use edgeguard_audit::Options;
use edgeguard_audit::Verdict;
use edgeguard_audit::frame::FrameType;
use edgeguard_audit::read::Content;
use edgeguard_audit::read::Reader;
use edgeguard_audit::verify;

/// A change, and the events that had been acknowledged as durable before it.
#[derive(Debug, Clone)]
enum Change {
    Create(PathBuf),
    Write(PathBuf, u64, Vec<u8>),
    SetLen(PathBuf, u64),
    Sync(PathBuf),
    SyncDir(PathBuf),
    Rename(PathBuf, PathBuf),
    Remove(PathBuf),
}

#[derive(Debug, Default)]
struct Recorder {
    changes: Mutex<Vec<(Change, usize)>>,
    durable: AtomicUsize,
    /// From this change on, nothing works any more.
    fails_at: Option<usize>,
    /// The disk has no room for another file, until a segment of calls is gone.
    full: AtomicBool,
}

impl Observer for Recorder {
    fn before(&self, op: Op<'_>) -> io::Result<()> {
        if self.full.load(Ordering::Relaxed) {
            match op {
                Op::Allocate { .. } => return Err(io::Error::from(io::ErrorKind::StorageFull)),
                Op::Remove(path) if path.parent().is_some_and(|folder| folder.ends_with("d")) => self.full.store(false, Ordering::Relaxed),
                _ => {}
            }
        }
        let change = match op {
            Op::Create(path) => Change::Create(path.into()),
            Op::Write { path, at, bytes } => Change::Write(path.into(), at, bytes.into()),
            Op::SetLen { path, len } | Op::Allocate { path, len } => Change::SetLen(path.into(), len),
            Op::Sync(path) => Change::Sync(path.into()),
            Op::SyncDir(path) => Change::SyncDir(path.into()),
            Op::Rename { from, to } => Change::Rename(from.into(), to.into()),
            Op::Remove(path) => Change::Remove(path.into()),
            _ => panic!("a change that this test does not know"),
        };
        let mut changes = self.changes.lock().unwrap();
        if self.fails_at.is_some_and(|at| changes.len() >= at) {
            return Err(io::Error::from(io::ErrorKind::StorageFull));
        }
        changes.push((change, self.durable.load(Ordering::Relaxed)));
        Ok(())
    }
}

/// A file as the kernel has it and as the disk has it.
#[derive(Debug, Clone, Default)]
struct File {
    now: Vec<u8>,
    synced: Vec<u8>,
}

/// Files by number, and names as the kernel and as the disk have them.
#[derive(Debug, Clone, Default)]
struct Machine {
    files: Vec<File>,
    names: BTreeMap<PathBuf, usize>,
    synced_names: BTreeMap<PathBuf, usize>,
}

impl Machine {
    fn of(root: &Path) -> Self {
        let mut machine = Self::default();
        machine.load(root);
        machine.synced_names = machine.names.clone();
        machine
    }

    fn load(&mut self, dir: &Path) {
        for entry in fs::read_dir(dir).unwrap().map(Result::unwrap) {
            if entry.file_type().unwrap().is_dir() {
                self.load(&entry.path());
            } else {
                let bytes = fs::read(entry.path()).unwrap();
                self.names.insert(entry.path(), self.files.len());
                self.files.push(File { now: bytes.clone(), synced: bytes });
            }
        }
    }

    fn apply(&mut self, change: &Change) {
        let file = |machine: &Self, path: &PathBuf| machine.names[path];
        match change {
            Change::Create(path) => {
                self.names.insert(path.clone(), self.files.len());
                self.files.push(File::default());
            }
            Change::Write(path, at, bytes) => {
                let number = file(self, path);
                let now = &mut self.files[number].now;
                let end = *at as usize + bytes.len();
                now.resize(now.len().max(end), 0);
                now[*at as usize..end].copy_from_slice(bytes);
            }
            Change::SetLen(path, len) => {
                let number = file(self, path);
                let now = &mut self.files[number].now;
                // Most of a segment is zeros that tell nothing.
                now.resize(now.len().min(*len as usize).max((*len as usize).min(64 << 10)), 0);
            }
            Change::Sync(path) => {
                let number = file(self, path);
                self.files[number].synced = self.files[number].now.clone();
            }
            Change::SyncDir(dir) => {
                self.synced_names.retain(|path, _| path.parent() != Some(dir));
                let here = self.names.iter().filter(|(path, _)| path.parent() == Some(dir)).map(|(path, number)| (path.clone(), *number));
                let here: Vec<_> = here.collect();
                self.synced_names.extend(here);
            }
            Change::Rename(from, to) => {
                let number = self.names.remove(from).unwrap();
                self.names.insert(to.clone(), number);
            }
            Change::Remove(path) => {
                self.names.remove(path);
            }
        }
    }

    /// What is on the disk after a power failure: `luck` says of each sector, length and folder whether it made it.
    fn crash(&self, from: &Path, to: &Path, luck: &mut impl FnMut() -> bool) {
        let names = if luck() { &self.names } else { &self.synced_names };
        for folder in ["audit/s", "audit/d", "audit/sum", "keys"] {
            fs::create_dir_all(to.join(folder)).unwrap();
        }
        for (path, number) in names {
            let File { now, synced } = &self.files[*number];
            let mut bytes = if luck() { now.clone() } else { synced.clone() };
            for (at, sector) in bytes.chunks_mut(512).enumerate() {
                let other = if luck() { now } else { synced };
                let range = at * 512..at * 512 + sector.len();
                for (place, byte) in range.zip(sector) {
                    *byte = other.get(place).copied().unwrap_or(0);
                }
            }
            let path = to.join(path.strip_prefix(from).unwrap());
            fs::write(&path, bytes).unwrap();
            fs::set_permissions(path, fs::Permissions::from_mode(0o400 | 0o200)).unwrap();
        }
    }
}

fn options(root: &Path, observer: Option<Arc<Recorder>>) -> Options {
    let keys = Keys::load(&root.join("keys"), None).unwrap();
    let observer = observer.map(|observer| observer as Arc<dyn Observer>);
    Options { keys: Some(keys), detail_budget: None, budget: None, reserve: Some(RESERVE), summarize: false, observer }
}

/// What a daemon does in a short life: events and calls, epochs that end, and an orderly end.
fn work(root: &Path, recorder: &Arc<Recorder>) -> Result<(), edgeguard_audit::JournalError> {
    let (mut journal, _) = Journal::open_with(&root.join("audit"), ORIGIN, options(root, Some(Arc::clone(recorder))))?;
    for n in 0..2 {
        journal.calls(&source("m"), &batch(n * 10, 10))?;
        journal.flush()?;
        journal.event(&started(&n.to_string()))?;
        journal.event(&admitted(&n.to_string()))?;
        recorder.durable.fetch_add(1, Ordering::Relaxed);
        std::thread::sleep(std::time::Duration::from_millis(101));
        journal.flush()?;
    }
    journal.close().map(drop)
}

fn durable_events(journal: &Path) -> usize {
    let mut reader = Reader::open(journal).unwrap();
    let mut count = 0;
    while let Some(frame) = reader.next_frame().unwrap() {
        if let Content::Events(items) = reader.decode(&frame).unwrap() {
            count += items.iter().filter(|item| matches!(item.what, Event::GrantsGiven { .. })).count();
        }
    }
    count
}

/// Opens what a crash has left: nothing is damaged, nothing acknowledged is gone, and what was signed is still true.
fn survives(root: &Path, acknowledged: usize, what: &str) {
    let journal = root.join("audit");
    let opened = Journal::open_with(&journal, ORIGIN, options(root, None));
    let (mut open, recovery) = opened.unwrap_or_else(|error| panic!("{what}: {error:?}"));
    assert!(recovery.damage.is_empty(), "{what}: {recovery:?}");
    open.event(&started("after")).unwrap();
    open.close().unwrap();
    let found = verify(&journal, |_, _| {});
    assert_eq!(found.verdict, Verdict::Ok, "{what}");
    assert_eq!(found.sealed, found.frames, "{what}");
    assert!(durable_events(&journal) >= acknowledged, "{what}: {} of {acknowledged} events", durable_events(&journal));
}

#[test]
fn power_may_fail_at_every_change() {
    let house = House::sealed();
    let root = house.journal().parent().unwrap().to_owned();
    let mut machine = Machine::of(&root);
    let recorder = Arc::new(Recorder::default());
    work(&root, &recorder).unwrap();
    let changes = recorder.changes.lock().unwrap().clone();
    assert!(changes.len() > 60, "{}", changes.len());
    let before = 1;
    let mut noise = 7u64;
    for (number, (change, durable)) in changes.iter().enumerate() {
        for round in 0..4 {
            let work = tempfile::tempdir().unwrap();
            let mut luck = || {
                noise = noise.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                match round {
                    0 => false,
                    1 => true,
                    _ => noise >> 63 == 0,
                }
            };
            machine.crash(&root, work.path(), &mut luck);
            survives(work.path(), before + durable, &format!("before change {number} ({change:.60?}), round {round}"));
        }
        machine.apply(change);
    }
}

#[test]
fn a_disk_that_fails_at_any_change_leaves_a_journal_that_opens() {
    let mut at = 0;
    loop {
        let house = House::sealed();
        let root = house.journal().parent().unwrap().to_owned();
        let recorder = Arc::new(Recorder { fails_at: Some(at), ..Recorder::default() });
        let failed = work(&root, &recorder).is_err();
        let durable = recorder.durable.load(Ordering::Relaxed);
        survives(&root, 1 + durable, &format!("failed at {at}"));
        if !failed {
            return;
        }
        // Every change once, in steps, for each life takes its time.
        at += 7;
    }
}

#[test]
fn power_may_fail_at_every_change_while_calls_are_deleted_for_a_full_disk() {
    let house = House::sealed();
    let root = house.journal().parent().unwrap().to_owned();
    let mut machine = Machine::of(&root);
    let recorder = Arc::new(Recorder::default());
    let gone =
        || recorder.changes.lock().unwrap().iter().any(|(change, _)| matches!(change, Change::Remove(path) if is_call_segment(path)));
    let (mut journal, _) = Journal::open_with(&root.join("audit"), ORIGIN, options(&root, Some(Arc::clone(&recorder)))).unwrap();
    let segments = || fs::read_dir(root.join("audit/d")).unwrap().count();
    let mut n = 0;
    while segments() < 2 {
        journal.calls(&source("m"), &bulky(n * 500)).unwrap();
        journal.flush().unwrap();
        n += 1;
    }
    let from = recorder.changes.lock().unwrap().len();
    recorder.full.store(true, Ordering::Relaxed);
    while !gone() {
        journal.event(&admitted(&n.to_string())).unwrap();
        recorder.durable.fetch_add(1, Ordering::Relaxed);
        journal.calls(&source("m"), &bulky(n * 500)).unwrap();
        journal.flush().unwrap();
        n += 1;
    }
    journal.event(&admitted("last")).unwrap();
    recorder.durable.fetch_add(1, Ordering::Relaxed);
    journal.close().unwrap();
    let changes = recorder.changes.lock().unwrap().clone();
    let reserves = |change: &Change| matches!(change, Change::Remove(path) | Change::Create(path) if path.ends_with("reserve"));
    assert!(changes.iter().skip(from).filter(|(change, _)| reserves(change)).count() >= 2, "the reserve was given up and made again");
    let removed = changes.iter().position(|(change, _)| matches!(change, Change::Remove(path) if is_call_segment(path))).unwrap();
    for (number, (change, durable)) in changes.iter().enumerate() {
        // The reserve goes, the frame that says what will be deleted comes, the segment goes, the reserve comes, the event that says so comes.
        if number + 25 > removed && number < removed + 25 {
            for round in 0..2 {
                let work = tempfile::tempdir().unwrap();
                machine.crash(&root, work.path(), &mut || round == 1);
                survives(work.path(), 1 + durable, &format!("before change {number} ({change:.60?}), round {round}"));
            }
        }
        machine.apply(change);
    }
}

#[test]
fn power_may_fail_at_every_change_while_names_are_erased() {
    let house = House::sealed();
    let root = house.journal().parent().unwrap().to_owned();
    let mut machine = Machine::of(&root);
    let recorder = Arc::new(Recorder::default());
    let (mut journal, _) = Journal::open_with(&root.join("audit"), ORIGIN, options(&root, Some(Arc::clone(&recorder)))).unwrap();
    let what = Erase { names: vec![GONE.into()], under: Vec::new() };
    assert_eq!(journal.erase(&what, "asked for", 7, false).unwrap().names, 2);
    journal.close().unwrap();
    let changes = recorder.changes.lock().unwrap().clone();
    let mut noise = 7u64;
    let (mut before, mut after) = (0, 0);
    for (number, (change, durable)) in changes.iter().enumerate() {
        for round in 0..4 {
            let work = tempfile::tempdir().unwrap();
            machine.crash(&root, work.path(), &mut || {
                noise = noise.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                [false, true, noise >> 63 == 0, noise >> 63 == 0][round]
            });
            let what = format!("before change {number} ({change:.60?}), round {round}");
            survives(work.path(), 1 + durable, &what);
            // Each of the two is carried out whole, or not begun: its frame was not sealed.
            let image = Image::of(&work.path().join("audit"));
            let said = image.frames().iter().filter(|(_, _, header)| header.kind == FrameType::Erasure).count();
            let left = image.0.values().flat_map(|file| file.windows(GONE.len())).filter(|part| *part == GONE.as_bytes()).count();
            let erased = usize::try_from(verify(&work.path().join("audit"), |_, _| {}).erased).unwrap();
            assert_eq!(erased + left, 2, "{what}: the name is there {left} times, and {erased} times erased");
            assert!(said >= erased, "{what}");
            (before, after) = (before + left, after + erased);
        }
        machine.apply(change);
    }
    assert!(before > 0 && after > 0);
}

const GONE: &str = "/audio/0.wav";

fn is_call_segment(path: &Path) -> bool {
    path.parent().is_some_and(|folder| folder.ends_with("d"))
}

/// A small one: what it is made of does not matter here.
const RESERVE: u64 = 64 << 10;
