//! The journal on a real file system: what is written reads back, a crash is survived and stated, and no change goes unnoticed.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::path::PathBuf;

use edgeguard_audit::Event;
use edgeguard_audit::Journal;
use edgeguard_audit::JournalError;
use edgeguard_audit::Outcome;
use edgeguard_audit::Record;
use edgeguard_audit::Recovery;
use edgeguard_audit::Source;
use edgeguard_audit::Verdict;
use edgeguard_audit::call_id;
use edgeguard_audit::frame;
use edgeguard_audit::read::Content;
use edgeguard_audit::read::ReadError;
use edgeguard_audit::read::Reader;
use edgeguard_audit::verify;
use tempfile::TempDir;

const ORIGIN: &str = "gateway-7.example";

fn source(module: &str) -> Source {
    Source::new(module, uuid::Uuid::from_u128(7), [1; 32], [2; 32])
}

fn record(n: u64) -> Record {
    Record {
        // As the journal keeps times: in steps of 64 ns.
        time_ns: edgeguard_audit::boottime_ns() / 64 * 64,
        call: call_id("wasi_snapshot_preview1", if n.is_multiple_of(3) { "path_open" } else { "fd_read" }).unwrap(),
        outcome: Outcome::Ok,
        flags: 0,
        errno: 0,
        rule: 1,
        handle: 4,
        took_ns: 64 * (14 + n as u32),
        n_in: 0,
        n_out: n as u32,
    }
}

fn batch(from: u64, count: u64) -> Vec<(Record, Option<Vec<u8>>)> {
    (from..from + count).map(|n| (record(n), n.is_multiple_of(3).then(|| format!("/audio/{}.wav", n % 50).into_bytes()))).collect()
}

fn admitted(module: &str) -> Event {
    Event::GrantsGiven { module: module.into(), dirs: Vec::new(), graphs: Vec::new() }
}

fn started(id: &str) -> Event {
    Event::InvocationStarted {
        id: id.into(),
        module: "m".into(),
        instance: "i".into(),
        peer_uid: Some(7),
        listener: None,
        client: None,
        ring: Some(0),
    }
}

fn open(dir: &Path) -> (Journal, Recovery) {
    Journal::open(dir, ORIGIN).unwrap()
}

fn verdict(dir: &Path) -> Verdict {
    verify(dir, |_, _| {}).verdict
}

fn is_tampered(verdict: &Verdict) -> bool {
    matches!(verdict, Verdict::Tampered { .. })
}

/// A closed journal of a few small frames: each of every kind.
fn small() -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    let (mut journal, _) = open(dir.path());
    journal.event(&admitted("m")).unwrap();
    journal.event(&started("1")).unwrap();
    journal.calls(&source("m"), &batch(0, 10)).unwrap();
    journal.flush().unwrap();
    journal.calls(&source("m"), &batch(10, 5)).unwrap();
    journal.event(&started("2")).unwrap();
    journal.close().unwrap();
    dir
}

/// All files of a journal, without most of the zeros that segments are preallocated with.
fn files(dir: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut files = BTreeMap::new();
    for folder in [dir.to_owned(), dir.join("s"), dir.join("d"), dir.join("sum")] {
        for entry in fs::read_dir(folder).unwrap().map(Result::unwrap).filter(|entry| entry.file_type().unwrap().is_file()) {
            let mut bytes = fs::read(entry.path()).unwrap();
            let used = bytes.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
            bytes.truncate(used.next_multiple_of(32) + 64);
            files.insert(entry.path(), bytes);
        }
    }
    files
}

/// Copies a journal, so that each attempt begins with the same one.
fn copy(files: &BTreeMap<PathBuf, Vec<u8>>, from: &Path) -> TempDir {
    let to = tempfile::tempdir().unwrap();
    for tier in ["s", "d", "sum"] {
        fs::create_dir(to.path().join(tier)).unwrap();
    }
    for (path, bytes) in files {
        fs::write(to.path().join(path.strip_prefix(from).unwrap()), bytes).unwrap();
    }
    to
}

/// The frames in a segment: where each begins, and its number.
fn frames_of(bytes: &[u8]) -> Vec<(usize, usize, u64)> {
    let mut at = 0;
    let mut frames = Vec::new();
    while let Ok(header) = frame::check(&bytes[at..]) {
        frames.push((at, header.len(), header.frame_no));
        at += header.len();
    }
    frames
}

fn only_segment(dir: &Path, tier: &str) -> PathBuf {
    let mut segments: Vec<_> = fs::read_dir(dir.join(tier)).unwrap().map(|entry| entry.unwrap().path()).collect();
    segments.sort();
    assert_eq!(segments.len(), 1);
    segments.remove(0)
}

#[test]
fn what_was_written_reads_back_in_its_order() {
    let dir = tempfile::tempdir().unwrap();
    let (mut journal, recovery) = open(dir.path());
    assert!(recovery.first_open);
    let mut written = Vec::new();
    for round in 0..5 {
        let position = journal.event(&started(&round.to_string())).unwrap();
        let module = format!("m{round}");
        let batch = batch(round * 3000, 3000);
        journal.calls(&source(&module), &batch).unwrap();
        written.extend(batch.into_iter().map(|(record, text)| (module.clone(), record, text)));
        assert_eq!(position.index, 0);
    }
    let stats = journal.stats();
    assert_eq!((stats.records, stats.events, stats.lost), (15_000, 5, 0));
    journal.close().unwrap();

    let mut reader = Reader::open(dir.path()).unwrap();
    let (mut events, mut calls) = (Vec::new(), Vec::new());
    while let Some(frame) = reader.next_frame().unwrap() {
        match reader.decode(&frame).unwrap() {
            Content::Events(items) => events.extend(items.into_iter().map(|item| item.what)),
            Content::Calls(items) => {
                for item in items {
                    let text = item.what.text.as_ref().map(|text| text.to_vec());
                    assert_eq!(item.seq, calls.len() as u64);
                    calls.push((item.what.source.module().to_owned(), item.what.record, text));
                }
            }
            _ => {}
        }
    }
    assert_eq!(events, (0..5).map(|round| started(&round.to_string())).collect::<Vec<_>>());
    assert_eq!(calls, written);
    assert_eq!(reader.origin(), ORIGIN);
    let found = verify(dir.path(), |_, _| {});
    assert_eq!(found.verdict, Verdict::Ok);
    assert_eq!((found.records, found.events, found.opens, found.unclean_opens), (15_000, 5, 1, 0));
}

#[test]
fn it_reopens_and_goes_on_and_says_how_it_was_closed() {
    let dir = small();
    let (mut journal, recovery) = open(dir.path());
    assert_eq!(recovery, Recovery::default());
    journal.calls(&source("m"), &batch(0, 10)).unwrap();
    drop(journal);
    let (journal, recovery) = open(dir.path());
    assert_eq!(recovery, Recovery::default(), "a dropped journal is closed in order");
    // As a process that is killed: nothing of it runs any more.
    std::mem::forget(journal);
    let unlocked = copy(&files(dir.path()), dir.path());
    let (_, recovery) = open(unlocked.path());
    assert_eq!(recovery, Recovery { unclean: true, ..Recovery::default() });
    let found = verify(unlocked.path(), |_, _| {});
    assert_eq!(found.verdict, Verdict::Ok);
    assert_eq!((found.records, found.opens, found.unclean_opens), (25, 4, 1));
}

#[test]
fn a_second_daemon_is_told_that_there_is_a_first() {
    let dir = small();
    let (_first, _) = open(dir.path());
    let error = Journal::open(dir.path(), ORIGIN).unwrap_err();
    assert!(matches!(error, JournalError::Locked(_)));
    assert!(error.to_string().contains("stop the other daemon"), "{error}");
}

#[test]
fn a_live_journal_verifies_while_it_is_written() {
    let dir = tempfile::tempdir().unwrap();
    let (mut journal, _) = open(dir.path());
    let writer = std::thread::spawn(move || {
        for round in 0..300 {
            journal.calls(&source("m"), &batch(round * 1000, 1000)).unwrap();
            journal.event(&started("x")).unwrap();
        }
        journal
    });
    let mut seen = 0;
    while !writer.is_finished() {
        let found = verify(dir.path(), |_, _| {});
        assert_eq!(found.verdict, Verdict::Ok);
        assert!(found.live);
        seen += 1;
    }
    writer.join().unwrap().close().unwrap();
    assert!(seen > 0);
    assert_eq!(verify(dir.path(), |_, _| {}).records, 300_000);
}

#[test]
fn a_torn_tail_is_cut_at_every_byte_and_stated() {
    let dir = small();
    let files = files(dir.path());
    let segment = only_segment(dir.path(), "s");
    let bytes = &files[&segment];
    let (at, len, number) = *frames_of(bytes).last().unwrap();
    for kept in 0..len {
        // The frame was being written when the process died: it has no leaf yet.
        let torn = copy(&files, dir.path());
        let segment = torn.path().join(segment.strip_prefix(dir.path()).unwrap());
        let mut bytes = bytes.clone();
        bytes[at + kept..].fill(0);
        fs::write(&segment, &bytes).unwrap();
        fs::OpenOptions::new().write(true).open(torn.path().join("leaves")).unwrap().set_len(number * 32).unwrap();
        let before = verdict(torn.path());
        // The last bytes of a frame may be zeros that nobody misses.
        let whole = bytes[at..at + len] == files[&only_segment(dir.path(), "s")][at..at + len];
        match kept {
            0 => assert_eq!(before, Verdict::Ok),
            _ => assert!(matches!(before, Verdict::Incomplete { .. }), "{kept}: {before:?}"),
        }
        let (journal, recovery) = open(torn.path());
        assert!(recovery.damage.is_empty(), "{kept}: {recovery:?}");
        if !whole {
            assert!(recovery.unclean);
            assert_eq!(recovery.bytes_cut, bytes[at..].iter().rposition(|byte| *byte != 0).map_or(0, |last| last as u64 + 1), "{kept}");
        }
        drop(journal);
        let after = verify(torn.path(), |_, _| {});
        assert_eq!(after.verdict, Verdict::Ok, "{kept}");
        assert_eq!(after.records, 15);
    }
}

#[test]
fn frames_that_power_took_are_cut_and_stated_not_called_tampering() {
    let dir = tempfile::tempdir().unwrap();
    let (mut journal, _) = open(dir.path());
    journal.event(&admitted("m")).unwrap();
    // Written, not synced: the calls, then an event that the disk got to first.
    journal.calls(&source("m"), &batch(0, 10)).unwrap();
    journal.event(&started("1")).unwrap();
    std::mem::forget(journal);
    let crashed = copy(&files(dir.path()), dir.path());
    fs::write(only_segment(crashed.path(), "d"), []).unwrap();
    let (journal, recovery) = open(crashed.path());
    assert!(recovery.unclean && recovery.damage.is_empty(), "{recovery:?}");
    assert_eq!(recovery.frames_cut, 3, "dictionary, calls, event");
    drop(journal);
    let found = verify(crashed.path(), |_, _| {});
    assert_eq!((found.verdict, found.events, found.records, found.frames_cut), (Verdict::Ok, 1, 0, 3));
}

#[test]
fn what_had_reached_the_disk_is_not_cut_but_called_damage() {
    let dir = small();
    let files = files(dir.path());
    let segment = only_segment(dir.path(), "s");
    let (at, ..) = frames_of(&files[&segment])[2];
    let hurt = copy(&files, dir.path());
    let path = hurt.path().join(segment.strip_prefix(dir.path()).unwrap());
    let mut bytes = files[&segment].clone();
    bytes[at + 70] ^= 1;
    fs::write(&path, &bytes).unwrap();
    let (mut journal, recovery) = open(hurt.path());
    assert!(recovery.damage.contains("frame 2"), "{recovery:?}");
    journal.event(&started("later")).unwrap();
    drop(journal);
    assert_eq!(fs::read(&path).unwrap(), bytes, "evidence stays");
    assert!(is_tampered(&verdict(hurt.path())));
    // What came after the damage can still be read.
    let mut reader = Reader::open(hurt.path()).unwrap();
    let mut last = None;
    loop {
        match reader.next_frame() {
            Ok(Some(frame)) => {
                if let Ok(Content::Events(items)) = reader.decode(&frame) {
                    last = items.into_iter().next_back().map(|item| item.what);
                }
            }
            Ok(None) => break,
            Err(_) => assert!(reader.skip_damage().unwrap()),
        }
    }
    assert_eq!(last, Some(started("later")));
}

#[test]
fn every_flipped_bit_is_noticed() {
    let dir = small();
    let files = files(dir.path());
    let work = copy(&files, dir.path());
    for (path, bytes) in &files {
        let target = work.path().join(path.strip_prefix(dir.path()).unwrap());
        // Segments are preallocated: behind the last frame there is a page of zeros to try, not four million bytes.
        let used = bytes.iter().rposition(|byte| *byte != 0).map_or(0, |last| (last + 64).min(bytes.len()));
        for at in 0..used {
            let mut changed = bytes.clone();
            changed[at] ^= 1 << (at % 8);
            fs::write(&target, &changed[..used]).unwrap();
            let verdict = verdict(work.path());
            assert!(
                matches!(verdict, Verdict::Tampered { .. } | Verdict::Unreadable { .. } | Verdict::Incomplete { .. }),
                "byte {at} of {}: {verdict:?}",
                path.display()
            );
            let behind = frames_of(bytes).last().is_some_and(|(start, len, _)| at >= start + len);
            assert!(behind || !matches!(verdict, Verdict::Incomplete { .. }), "byte {at} of {}: {verdict:?}", path.display());
        }
        fs::write(&target, bytes).unwrap();
    }
    assert_eq!(verdict(work.path()), Verdict::Ok);
}

#[test]
fn damage_of_any_kind_neither_stops_a_start_nor_a_check() {
    let dir = small();
    let files = files(dir.path());
    let mut noise = 7u64;
    let mut random = move |below: usize| {
        noise = noise.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (noise >> 33) as usize % below.max(1)
    };
    for round in 0..200 {
        let hurt = copy(&files, dir.path());
        for (path, bytes) in &files {
            let mut bytes = bytes.clone();
            for _ in 0..random(4) {
                let at = random(bytes.len());
                match random(4) {
                    _ if bytes.is_empty() => {}
                    0 => bytes.truncate(at),
                    1 => bytes[at..].fill(0),
                    2 => bytes.insert(at, random(256) as u8),
                    _ => bytes[at] = random(256) as u8,
                }
            }
            fs::write(hurt.path().join(path.strip_prefix(dir.path()).unwrap()), bytes).unwrap();
        }
        let before = verdict(hurt.path());
        let (mut journal, _) = open(hurt.path());
        journal.event(&started("after")).unwrap();
        journal.close().unwrap();
        let after = verify(hurt.path(), |_, _| {});
        // What was whole stays whole; nothing that was damaged below the end becomes whole by a start.
        assert!(before != Verdict::Ok || after.verdict == Verdict::Ok, "{round}: {before:?} then {after:?}");
        let _again = open(hurt.path());
    }
}

#[test]
fn a_frame_that_is_deleted_swapped_doubled_or_replaced_is_noticed() {
    let dir = small();
    let files = files(dir.path());
    for (tier, segments) in [("s", 5), ("d", 3), ("sum", 2)] {
        let segment = only_segment(dir.path(), tier);
        let bytes = &files[&segment];
        let frames = frames_of(bytes);
        assert!(frames.len() >= segments, "{tier}: {}", frames.len());
        let parts: Vec<&[u8]> = frames.iter().map(|(at, len, _)| &bytes[*at..at + len]).collect();
        let mut cases: Vec<(String, Vec<&[u8]>)> = Vec::new();
        for one in 0..parts.len() {
            let mut without = parts.clone();
            without.remove(one);
            cases.push((format!("delete {one}"), without));
            let mut doubled = parts.clone();
            doubled.insert(one, parts[one]);
            cases.push((format!("double {one}"), doubled));
            for two in 0..one {
                let mut swapped = parts.clone();
                swapped.swap(one, two);
                cases.push((format!("swap {one} {two}"), swapped));
            }
        }
        for (what, parts) in cases {
            let changed = copy(&files, dir.path());
            fs::write(changed.path().join(segment.strip_prefix(dir.path()).unwrap()), parts.concat()).unwrap();
            let verdict = verdict(changed.path());
            assert!(is_tampered(&verdict), "{tier}: {what}: {verdict:?}");
        }
    }
}

#[test]
fn an_edit_with_right_checksums_is_noticed_by_its_digest() {
    let dir = small();
    let files = files(dir.path());
    let segment = only_segment(dir.path(), "s");
    let mut bytes = files[&segment].clone();
    let (at, len, _) = frames_of(&bytes)[2];
    let header = frame::check(&bytes[at..]).unwrap();
    let payload = String::from_utf8(bytes[at + frame::HEADER_LEN..at + len].to_vec()).unwrap();
    let forged = payload.replace("\"module\":\"m\"", "\"module\":\"n\"");
    assert_ne!(forged, payload);
    let mut frame = Vec::new();
    header.seal(forged.as_bytes(), &mut frame).unwrap();
    bytes[at..at + len].copy_from_slice(&frame);
    fs::write(&segment, &bytes).unwrap();
    assert!(matches!(verdict(dir.path()), Verdict::Tampered { why, .. } if why.contains("digest")));
}

#[test]
fn a_truncated_or_missing_segment_is_noticed() {
    let dir = small();
    let files = files(dir.path());
    for tier in ["s", "d", "sum"] {
        let segment = only_segment(dir.path(), tier);
        let bytes = &files[&segment];
        for (at, ..) in frames_of(bytes) {
            let cut = copy(&files, dir.path());
            fs::write(cut.path().join(segment.strip_prefix(dir.path()).unwrap()), &bytes[..at]).unwrap();
            assert!(is_tampered(&verdict(cut.path())), "{tier} cut at {at}");
        }
        let gone = copy(&files, dir.path());
        fs::remove_file(gone.path().join(segment.strip_prefix(dir.path()).unwrap())).unwrap();
        assert!(is_tampered(&verdict(gone.path())), "{tier} gone");
    }
    let none = tempfile::tempdir().unwrap();
    assert!(matches!(verdict(none.path()), Verdict::Unreadable { .. }));
}

#[test]
fn a_payload_that_would_fill_the_memory_is_refused() {
    let dir = small();
    let segment = only_segment(dir.path(), "d");
    let mut bytes = fs::read(&segment).unwrap();
    let (at, len, number) = frames_of(&bytes)[1];
    let header = frame::check(&bytes[at..]).unwrap();
    let bomb = zstd::bulk::compress(&vec![0; 64 << 20], 1).unwrap();
    let mut frame = Vec::new();
    header.seal(&bomb, &mut frame).unwrap();
    bytes.splice(at..at + len, frame.iter().copied());
    fs::write(&segment, &bytes).unwrap();
    // The leaf fits too, so that only the bound is left to stop it.
    let mut leaves = fs::read(dir.path().join("leaves")).unwrap();
    leaves[number as usize * 32..][..32].copy_from_slice(&frame::leaf(&frame));
    fs::write(dir.path().join("leaves"), leaves).unwrap();
    let mut reader = Reader::open_at(dir.path(), number).unwrap();
    let frame = reader.next_frame().unwrap().unwrap();
    assert!(matches!(reader.decode(&frame), Err(ReadError::Payload { .. })));
    assert!(is_tampered(&verdict(dir.path())));
}

#[test]
fn a_segment_never_needs_the_dictionary_of_another() {
    let dir = tempfile::tempdir().unwrap();
    let (mut journal, _) = open(dir.path());
    // Texts that do not compress fill several segments.
    let mut noise = 1u64;
    let mut written = 0;
    while fs::read_dir(dir.path().join("d")).unwrap().count() < 4 {
        let batch: Vec<_> = (0..500)
            .map(|n| {
                let text: Vec<u8> = (0..120)
                    .flat_map(|_| {
                        noise = noise.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                        (noise >> 32).to_le_bytes()
                    })
                    .collect();
                (record(n), Some(text))
            })
            .collect();
        journal.calls(&source("m"), &batch).unwrap();
        written += 500;
    }
    drop(journal);
    let found = verify(dir.path(), |_, _| {});
    assert_eq!((found.verdict, found.records), (Verdict::Ok, written));
    // From the third segment on, nothing before it is read.
    let mut segments: Vec<_> = fs::read_dir(dir.path().join("d")).unwrap().map(|entry| entry.unwrap().path()).collect();
    segments.sort();
    let first: u64 = segments[2].file_stem().unwrap().to_str().unwrap()[4..].parse().unwrap();
    fs::remove_file(&segments[0]).unwrap();
    fs::remove_file(&segments[1]).unwrap();
    let mut reader = Reader::open_at(dir.path(), first).unwrap();
    let mut calls = 0;
    while let Some(frame) = reader.next_frame().unwrap() {
        if let Content::Calls(items) = reader.decode(&frame).unwrap() {
            calls += items.len();
        }
    }
    assert!(calls > 0);
}

#[test]
fn an_event_with_endless_text_is_cut_not_lost() {
    let dir = tempfile::tempdir().unwrap();
    let (mut journal, _) = open(dir.path());
    journal.event(&Event::PolicyRefused { file: "x".into(), reason: "ä".repeat(3 << 20) }).unwrap();
    drop(journal);
    let mut reader = Reader::open(dir.path()).unwrap();
    let mut reasons = Vec::new();
    while let Some(frame) = reader.next_frame().unwrap() {
        if let Content::Events(items) = reader.decode(&frame).unwrap() {
            reasons.extend(items.into_iter().map(|item| item.what));
        }
    }
    assert!(matches!(&*reasons, [Event::PolicyRefused { reason, .. }] if reason.ends_with('…') && reason.len() < 2000));
}

#[test]
fn a_full_disk_is_an_error_and_leaves_a_journal_that_verifies() {
    let dir = tempfile::tempdir().unwrap();
    let mounted = std::process::Command::new("mount")
        .args(["-t", "tmpfs", "-o", "size=9m", "edgeguard-test"])
        .arg(dir.path())
        .stderr(std::process::Stdio::null())
        .status()
        .is_ok_and(|status| status.success());
    if !mounted {
        assert!(std::env::var_os("CI").is_none(), "a tmpfs cannot be mounted here");
        eprintln!("skipped: a tmpfs cannot be mounted here");
        return;
    }
    let outcome = std::panic::catch_unwind(|| full_disk(&dir.path().join("audit")));
    let unmounted = std::process::Command::new("umount").arg(dir.path()).status().unwrap();
    assert!(unmounted.success());
    outcome.unwrap();
}

fn full_disk(dir: &Path) {
    let (mut journal, _) = open(dir);
    let (mut taken, mut full) = (0u64, 0);
    while full < 3 {
        let texts: Vec<_> = (0..500u64)
            .map(|n| (record(n), Some(format!("{:x}", (taken + n).wrapping_mul(0x9e37_79b9_7f4a_7c15).wrapping_pow(3)).repeat(20))))
            .collect();
        match journal.calls(&source("m"), &texts) {
            Ok(()) => {}
            Err(JournalError::Full { .. }) => full += 1,
            Err(error) => panic!("{error:?}"),
        }
        taken += 500;
    }
    let stats = journal.stats();
    assert_eq!((stats.records, stats.lost), (taken, 0));
    // Events still find room in their own segment until that is full too.
    let _ = journal.event(&started("1"));
    drop(journal);
    assert_eq!(verdict(dir), Verdict::Ok);
    let found = verify(dir, |_, _| {});
    assert!(found.records > 0 && found.records < taken);
}
