//! Names that are erased: they are gone from the disk, everything else reads as before, and what was proven stays proven.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod common;

use std::path::Path;

use common::*;
use edgeguard_audit::ERASED;
use edgeguard_audit::Erase;
use edgeguard_audit::Event;
use edgeguard_audit::Journal;
use edgeguard_audit::JournalError;
use edgeguard_audit::Trust;
use edgeguard_audit::Verdict;
use edgeguard_audit::frame::FrameType;
use edgeguard_audit::frame::Header;
use edgeguard_audit::proof::Proof;
use edgeguard_audit::read::Content;
use edgeguard_audit::read::Frame;
use edgeguard_audit::read::Reader;
use edgeguard_audit::verify_with;

/// Every text of a guest's in the journal, those of calls, of counts and of denials; and every frame.
fn read(journal: &Path) -> (Vec<String>, Vec<Frame>) {
    let mut reader = Reader::open(journal).unwrap();
    let (mut texts, mut frames) = (Vec::new(), Vec::new());
    while let Some(frame) = reader.next_frame().unwrap() {
        let found: Vec<Option<String>> = match reader.decode(&frame).unwrap() {
            Content::Calls(items) => {
                items.iter().map(|item| item.what.text.as_ref().map(|text| String::from_utf8_lossy(text).into_owned())).collect()
            }
            Content::Summary(summary) => {
                summary.rows.iter().map(|row| row.text.as_ref().map(|text| String::from_utf8_lossy(text).into_owned())).collect()
            }
            Content::Events(items) => {
                items.into_iter().map(|item| if let Event::Denied { text, .. } = item.what { text } else { None }).collect()
            }
            _ => Vec::new(),
        };
        texts.extend(found.into_iter().flatten());
        frames.push(frame);
    }
    (texts, frames)
}

fn holds(journal: &Path, text: &str) -> bool {
    Image::of(journal).0.values().any(|file| file.windows(text.len()).any(|part| part == text.as_bytes()))
}

/// Two runs, and a denial in each.
fn house() -> House {
    let house = House::sealed();
    for text in ["/audio/0.wav", "/patients/meier.txt"] {
        let (mut journal, _) = house.open();
        journal.calls(&source("m"), &batch(0, 10)).unwrap();
        journal.event(&Event::denied(&source("m"), 0, &record(0), Some(text.as_bytes()))).unwrap();
        journal.close().unwrap();
    }
    house
}

fn erase(names: &[&str], under: &[&str]) -> Erase {
    let owned = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect();
    Erase { names: owned(names), under: owned(under) }
}

#[test]
fn an_erased_name_is_gone_from_the_disk_and_all_else_reads_and_proves_as_before() {
    let house = house();
    let journal = house.journal();
    let (before, frames) = read(&journal);
    let proofs: Vec<Proof> = frames.iter().map(|frame| Proof::of(&journal, frame).unwrap()).collect();
    let (mut open, _) = house.open();
    let key = open.verifier_key().unwrap().unwrap();
    let erased = open.erase(&erase(&["/audio/0.wav"], &["/patients/"]), "asked for by the patient", 0, false).unwrap();
    // Of three runs, in calls and in counts; of the two denials.
    assert_eq!((erased.names, erased.segments), (8, 7));
    open.calls(&source("m"), &batch(0, 10)).unwrap();
    open.close().unwrap();
    let (after, later) = read(&journal);
    for (before, after) in before.iter().zip(&after) {
        let gone = before == "/audio/0.wav" || before == "/patients/meier.txt";
        assert_eq!(after, if gone { ERASED } else { before });
    }
    assert!(!holds(&journal, "meier.txt"));
    assert!(after.iter().any(|text| text == "/audio/0.wav"), "what is written later is there as before");
    for ((frame, later), proof) in frames.iter().zip(&later).zip(&proofs) {
        assert_eq!(frame.leaf(), later.leaf());
        proof.verify(&key).unwrap();
        Proof::of(&journal, later).unwrap().verify(&key).unwrap();
    }
    let found = verify_with(&journal, &Trust { contents: true, ..Trust::default() }, |_, _| {});
    assert_eq!((found.verdict, found.erased), (Verdict::Ok, 8));
    assert_eq!(found.recounted, 45, "the counts were held against the calls, without their names");
}

#[test]
fn what_would_be_erased_is_said_and_nothing_is_changed() {
    let house = house();
    let (mut open, _) = house.open();
    let before = Image::of(&house.journal());
    let would = open.erase(&erase(&[], &["/audio"]), "", 0, true).unwrap();
    assert!(would.names > 8, "{would:?}");
    assert_eq!(open.erase(&erase(&["/audio"], &["/aud"]), "", 0, false).unwrap().names, 0, "whole names, and whole parts of paths");
    let after = Image::of(&house.journal());
    assert_eq!(before.0, after.0);
}

#[test]
fn denials_of_a_later_run_stand_in_the_same_segment_with_names_of_their_own() {
    let house = house();
    let denials: Vec<String> =
        read(&house.journal()).0.into_iter().filter(|text| text.starts_with("/patients") || text == "/audio/0.wav").collect();
    assert!(denials.contains(&"/patients/meier.txt".to_owned()));
    assert_eq!(Image::of(&house.journal()).segments("s").len(), 1);
}

/// An image with an `Erasure` frame behind the last seal that says that names of the first `Dict` frame are erased.
fn forged(house: &House) -> Image {
    let mut image = Image::of(&house.journal());
    let dict = image.frames().iter().find(|(_, _, header)| header.kind == FrameType::Dict).unwrap().2.frame_no;
    let payload = format!(r#"{{"reason":"mine","by":0,"names":[[{dict},[0,1,2,3]]]}}"#);
    let (name, at, last) =
        image.frames().into_iter().filter(|(name, ..)| name.starts_with("s/")).max_by_key(|(_, _, header)| header.frame_no).unwrap();
    let number = image.count();
    let mut frame = Vec::new();
    Header { kind: FrameType::Erasure, flags: 0, n: 0, frame_no: number, first_seq: last.first_seq + u64::from(last.n), ..last }
        .seal(payload.as_bytes(), &mut frame)
        .unwrap();
    let segment = image.0.get_mut(&name).unwrap();
    segment.truncate(at + last.len());
    segment.extend_from_slice(&frame);
    image.0.get_mut("leaves").unwrap().extend_from_slice(&edgeguard_audit::frame::leaf(&frame));
    image
}

/// Whoever can write the files, and has no keys, adds an honest-looking frame behind the last seal while the daemon is away.
#[test]
fn a_frame_that_nobody_sealed_has_no_name_erased_at_the_next_start() {
    let house = house();
    let image = forged(&house);
    let forged = image.restore();
    for (file, bytes) in Image::of(forged.path()).0 {
        std::fs::write(house.journal().join(file), bytes).unwrap();
    }
    // At the first start nobody sealed it, at the second everything before it is.
    for _ in 0..2 {
        house.open().0.close().unwrap();
        let found = verify_with(&house.journal(), &Trust::default(), |_, _| {});
        assert_eq!((found.verdict, found.erased), (Verdict::Ok, 0));
    }
    assert!(!read(&house.journal()).0.contains(&ERASED.to_owned()));
}

#[test]
fn a_journal_without_keys_erases_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let (mut journal, _) = Journal::open(&folder.path().join("audit"), ORIGIN).unwrap();
    assert!(matches!(journal.erase(&erase(&["x"], &[]), "", 0, false), Err(JournalError::Unsealed)));
}

/// The same, and the names are gone already: the next start seals the frame with all else, and it still says nothing.
#[test]
fn names_that_somebody_without_keys_took_stay_tampering_after_the_next_start() {
    let house = house();
    let mut image = forged(&house);
    let dict = image.frames().iter().find(|(_, _, header)| header.kind == FrameType::Dict).unwrap().2.frame_no;
    let mut bytes = image.bytes(dict);
    let name = bytes.windows(12).rposition(|part| part == b"/audio/0.wav").unwrap();
    bytes[name - 16..name + 12].fill(0);
    image.splice(dict, &bytes);
    for (file, bytes) in image.0 {
        std::fs::write(house.journal().join(file), bytes).unwrap();
    }
    for _ in 0..2 {
        house.open().0.close().unwrap();
        let found = verify_with(&house.journal(), &Trust::default(), |_, _| {});
        assert!(matches!(found.verdict, Verdict::Tampered { from, .. } if from == dict), "{found:?}");
    }
}
