//! Sealed journals: what the keys sign, what is deleted in order, what a running daemon answers.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod common;

use std::fs;

use common::*;
use edgeguard_audit::Assurance;
use edgeguard_audit::Event;
use edgeguard_audit::Journal;
use edgeguard_audit::JournalError;
use edgeguard_audit::Keys;
use edgeguard_audit::Note;
use edgeguard_audit::Options;
use edgeguard_audit::Trust;
use edgeguard_audit::Verdict;
use edgeguard_audit::verify;
use edgeguard_audit::verify_with;

#[test]
fn a_sealed_journal_is_whole_with_its_key_and_refused_with_another() {
    let house = House::sealed();
    let found = verify(&house.journal(), |_, _| {});
    assert_eq!((&found.verdict, found.assurance), (&Verdict::Ok, Assurance::Unanchored), "{found:?}");
    assert_eq!((found.sealed, found.epoch, found.records), (found.frames, 1, 15));
    let identity = Some(found.identity.parse().unwrap());
    assert_eq!(verify_with(&house.journal(), &Trust { identity, ..Trust::default() }, |_, _| {}).verdict, Verdict::Ok);
    let other = House::sealed();
    let identity = Some(verify(&other.journal(), |_, _| {}).identity.parse().unwrap());
    let found = verify_with(&house.journal(), &Trust { identity, ..Trust::default() }, |_, _| {});
    assert!(matches!(found.verdict, Verdict::Tampered { .. }), "{found:?}");
}

#[test]
fn each_start_begins_an_epoch_and_all_stay_provable() {
    let house = House::sealed();
    for epoch in 2..6 {
        let (mut journal, recovery) = house.open();
        assert!(recovery.damage.is_empty() && !recovery.unclean, "{recovery:?}");
        journal.event(&started("again")).unwrap();
        journal.close().unwrap();
        let found = verify(&house.journal(), |_, _| {});
        assert_eq!((&found.verdict, found.epoch, found.sealed), (&Verdict::Ok, epoch, found.frames), "{found:?}");
    }
}

#[test]
fn a_journal_begun_without_keys_is_sealed_from_its_first_frame_on() {
    let house = House::new();
    let (mut journal, _) = Journal::open(&house.journal(), ORIGIN).unwrap();
    journal.event(&started("before")).unwrap();
    journal.close().unwrap();
    let found = verify(&house.journal(), |_, _| {});
    assert_eq!((found.verdict, found.assurance, found.sealed), (Verdict::Ok, Assurance::Unsealed, 0));
    house.fill();
    let found = verify(&house.journal(), |_, _| {});
    assert_eq!((&found.verdict, found.assurance, found.sealed), (&Verdict::Ok, Assurance::Unanchored, found.frames), "{found:?}");
}

#[test]
fn a_sealed_journal_is_not_written_on_without_its_keys() {
    let house = House::sealed();
    assert!(matches!(Journal::open(&house.journal(), ORIGIN), Err(JournalError::Unsealed)));
    let other = House::new();
    let keys = Keys::load(&other.keys(), None).unwrap();
    let error = Journal::open_with(&house.journal(), ORIGIN, Options::sealed(keys)).unwrap_err();
    assert!(matches!(error, JournalError::OtherKeys { journal: 1, keys: 0, .. }), "{error:?}");
}

#[test]
fn a_journal_that_is_older_than_its_keys_is_called_damaged() {
    let house = House::sealed();
    let before = Image::of(&house.journal());
    house.fill();
    let old = before.restore();
    fs::remove_dir_all(house.journal()).unwrap();
    copy_dir(old.path(), &house.journal());
    let (journal, recovery) = house.open();
    assert!(recovery.damage.contains("its end is gone"), "{recovery:?}");
    drop(journal);
    let found = verify(&house.journal(), |_, _| {});
    assert!(matches!(&found.verdict, Verdict::Tampered { from: 13, why, .. } if why.contains("of epoch 2")), "{found:?}");
    fs::remove_dir_all(house.journal()).unwrap();
    let (_, recovery) = house.open();
    assert!(recovery.damage.contains("its end is gone"), "a journal that is gone: {recovery:?}");
}

#[test]
fn no_frame_waits_long_for_its_seal() {
    let house = House::new();
    let (mut journal, _) = house.open();
    for n in 0..5000 {
        journal.event(&started(&n.to_string())).unwrap();
        if n % 700 == 0 {
            let found = verify(&house.journal(), |_, _| {});
            assert_eq!(found.verdict, Verdict::Ok, "{found:?}");
            assert!(found.live && found.frames - found.sealed <= 1024, "{found:?}");
        }
    }
    journal.event(&admitted("m")).unwrap();
    std::thread::sleep(std::time::Duration::from_millis(110));
    journal.event(&admitted("m")).unwrap();
    let found = verify(&house.journal(), |_, _| {});
    assert_eq!(found.sealed, found.frames, "a decision is sealed when it is on the disk");
    assert!(journal.sync_due().unwrap() <= std::time::Duration::from_millis(100), "and its epoch ends soon");
    let syncs = journal.stats().syncs;
    assert!(syncs < 40, "{syncs}");
    std::thread::sleep(std::time::Duration::from_millis(100));
    journal.flush().unwrap();
    assert_eq!(verify(&house.journal(), |_, _| {}).epoch, 2);
    journal.flush().unwrap();
    assert_eq!((journal.sync_due(), verify(&house.journal(), |_, _| {}).epoch), (None, 2), "nothing new, nothing to do");
}

#[test]
fn calls_over_their_budget_go_and_the_proofs_stay() {
    let house = House::new();
    let (mut journal, _) = house.open();
    let mut written = 0;
    while fs::read_dir(house.journal().join("d")).unwrap().count() < 4 {
        journal.calls(&source("m"), &bulky(written)).unwrap();
        journal.event(&started("x")).unwrap();
        written += 500;
    }
    let before = verify(&house.journal(), |_, _| {});
    assert_eq!((&before.verdict, before.retired, before.records), (&Verdict::Ok, 0, written));
    assert_eq!(journal.retire_detail(9 << 20).unwrap(), 2);
    let live = verify(&house.journal(), |_, _| {});
    assert_eq!(live.verdict, Verdict::Ok, "{live:?}");
    journal.close().unwrap();
    let found = verify(&house.journal(), |_, _| {});
    assert_eq!((&found.verdict, found.sealed), (&Verdict::Ok, found.frames), "{found:?}");
    assert!(found.retired > 100 && found.records < written, "{found:?}");
    assert_eq!(found.events, before.events, "no event goes with the calls");
    // The next start is not confused by it, and the next segment cannot go by itself.
    let (journal, recovery) = house.open();
    assert!(recovery.damage.is_empty() && !recovery.unclean, "{recovery:?}");
    drop(journal);
    assert_eq!(verify(&house.journal(), |_, _| {}).verdict, Verdict::Ok);
    let mut segments: Vec<_> = fs::read_dir(house.journal().join("d")).unwrap().map(|entry| entry.unwrap().path()).collect();
    segments.sort();
    fs::remove_file(&segments[0]).unwrap();
    assert!(matches!(verify(&house.journal(), |_, _| {}).verdict, Verdict::Tampered { why, .. } if why.contains("is not there")));
}

#[test]
fn a_budget_is_kept_while_calls_come() {
    let house = House::new();
    let options = Options { detail_budget: Some(8 << 20), ..Options::sealed(Keys::load(&house.keys(), None).unwrap()) };
    let (mut journal, _) = Journal::open_with(&house.journal(), ORIGIN, options).unwrap();
    for n in 0..60 {
        journal.calls(&source("m"), &bulky(n * 500)).unwrap();
        journal.flush().unwrap();
        let bytes: u64 = fs::read_dir(house.journal().join("d")).unwrap().map(|entry| entry.unwrap().metadata().unwrap().len()).sum();
        assert!(bytes <= 8 << 20, "{bytes}");
    }
    journal.close().unwrap();
    let found = verify(&house.journal(), |_, _| {});
    assert!(found.verdict == Verdict::Ok && found.retired > 0, "{found:?}");
}

#[test]
fn a_budget_for_all_leaves_calls_at_least_half_and_events_untouched() {
    let house = House::new();
    let options = Options { budget: Some(32 << 20), ..Options::sealed(Keys::load(&house.keys(), None).unwrap()) };
    let (mut journal, _) = Journal::open_with(&house.journal(), ORIGIN, options).unwrap();
    let bytes = |tier: &str| -> u64 {
        fs::read_dir(house.journal().join(tier)).unwrap().map(|entry| entry.unwrap().metadata().unwrap().len()).sum()
    };
    for n in 0..200 {
        journal.calls(&source("m"), &bulky(n * 500)).unwrap();
        journal.flush().unwrap();
        assert!(bytes("d") + bytes("s") <= 32 << 20, "{} {}", bytes("d"), bytes("s"));
    }
    assert!(bytes("d") > 16 << 20, "events leave more than half: {}", bytes("d"));
    let reason = "x".repeat(1000);
    for _ in 0..18_000 {
        journal.append(&Event::PolicyRefused { file: "p".into(), reason: reason.clone() }).unwrap();
    }
    for n in 0..60 {
        journal.calls(&source("m"), &bulky(n * 500)).unwrap();
        journal.flush().unwrap();
    }
    assert!(bytes("s") > 16 << 20 && bytes("d") <= 16 << 20 && bytes("d") > 8 << 20, "{} {}", bytes("s"), bytes("d"));
    journal.close().unwrap();
    let found = verify(&house.journal(), |_, _| {});
    assert!(found.verdict == Verdict::Ok && found.retired > 0 && found.denials == 18_000, "{found:?}");
    assert_eq!(found.events, 18_002, "windows of counts became longer twice, and did not go back and forth");
}

/// A disk that can be full.
#[derive(Debug, Default)]
struct Fillable(std::sync::atomic::AtomicBool);

impl edgeguard_audit::Observer for Fillable {
    fn before(&self, op: edgeguard_audit::Op<'_>) -> std::io::Result<()> {
        use edgeguard_audit::Op;
        let needs_space = matches!(op, Op::Create(_) | Op::Allocate { .. });
        if needs_space && self.0.load(std::sync::atomic::Ordering::Relaxed) {
            return Err(std::io::ErrorKind::StorageFull.into());
        }
        Ok(())
    }
}

#[test]
fn a_full_disk_at_the_end_of_an_epoch_breaks_nothing() {
    let house = House::new();
    let disk = std::sync::Arc::new(Fillable::default());
    let options = Options { observer: Some(disk.clone()), ..Options::sealed(Keys::load(&house.keys(), None).unwrap()) };
    let (mut journal, _) = Journal::open_with(&house.journal(), ORIGIN, options).unwrap();
    journal.event(&Event::DaemonStopped { reason: "test".into() }).unwrap();
    disk.0.store(true, std::sync::atomic::Ordering::Relaxed);
    std::thread::sleep(std::time::Duration::from_millis(200));
    assert!(matches!(journal.flush(), Err(JournalError::Full { .. })), "the epoch would end now");
    disk.0.store(false, std::sync::atomic::Ordering::Relaxed);
    journal.flush().unwrap();
    journal.event(&started("2")).unwrap();
    journal.close().unwrap();
    let found = verify(&house.journal(), |_, _| {});
    assert!(found.verdict == Verdict::Ok && found.events == 2, "{found:?}");
}

#[test]
fn a_running_daemon_proves_that_it_is_the_one() {
    let house = House::sealed();
    let (mut journal, _) = house.open();
    journal.event(&started("now")).unwrap();
    let nonce = [7; 32];
    let answer = Note::parse(&journal.attest(&nonce).unwrap()).unwrap();
    let trust = |nonce: [u8; 32]| Trust { liveness: Some((answer.clone(), nonce.to_vec())), ..Trust::default() };
    let found = verify_with(&house.journal(), &trust(nonce), |_, _| {});
    assert_eq!((&found.verdict, found.assurance, found.anchored), (&Verdict::Ok, Assurance::Anchored, found.frames), "{found:?}");
    let stale = verify_with(&house.journal(), &trust([8; 32]), |_, _| {});
    assert!(matches!(&stale.verdict, Verdict::Tampered { why, .. } if why.contains("nonce")), "{stale:?}");
    assert!(matches!(journal.attest(&[1; 3]), Err(JournalError::Statement(_))));
}

#[test]
fn only_a_checkpoint_of_this_history_becomes_an_anchor() {
    let house = House::sealed();
    let (mut journal, _) = house.open();
    let own = house.checkpoints().pop().unwrap();
    journal.anchor(&own).unwrap();
    let other = House::sealed().checkpoints().pop().unwrap();
    assert!(matches!(journal.anchor(&other), Err(JournalError::Statement(_))));
    assert!(matches!(journal.anchor("no note"), Err(JournalError::Statement(_))));
    journal.close().unwrap();
    assert_eq!(verify(&house.journal(), |_, _| {}).verdict, Verdict::Ok);
}
