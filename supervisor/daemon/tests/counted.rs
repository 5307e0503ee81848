//! The journal beside a real TPM's counter (`swtpm`): what is the newest goes on, and what was set back does not, unless somebody answers for it.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]
#![forbid(unsafe_code)]

#[path = "../../../attest/tests/tpm/emulator.rs"]
#[allow(dead_code, reason = "attest's own tests use all of it")]
mod emulator;

use std::fs;
use std::path::Path;

use edgeguard_attest::Counter;
use edgeguard_attest::CounterError;
use edgeguard_attest::CounterKind;
use edgeguard_attest::TpmCounter;
use edgeguard_audit::Event;
use edgeguard_audit::Journal;
use edgeguard_audit::Keys;
use edgeguard_audit::Options;
use edgeguard_audit::PrivacyKey;
use edgeguard_audit::anchor::counted;
use edgeguard_audit::read::Content;
use edgeguard_audit::read::Reader;
use edgeguardd::counted::Bound;
use edgeguardd::counted::CountedError;
use edgeguardd::counted::begin;
use edgeguardd::ledger::Ledger;
use emulator::Emulator;

fn counter(tpm: &Emulator) -> TpmCounter {
    TpmCounter::open_for_journal(&tpm.socket()).unwrap()
}

fn journal(tpm: &Emulator) -> Journal {
    let options = Options::sealed(Keys::load(&tpm.path("state/keys"), None).unwrap());
    Journal::open_with(&tpm.path("state/audit"), "gateway-7.example", options).unwrap().0
}

/// A start of the daemon, and an orderly end of the journal.
fn start(tpm: &Emulator, accepted: Option<&str>) -> Result<u64, CountedError> {
    let mut journal = journal(tpm);
    let begun = begin(&mut journal, &tpm.path("state/audit"), &mut counter(tpm), accepted);
    journal.close().unwrap();
    begun
}

fn emulator() -> Option<Emulator> {
    let tpm = Emulator::new()?;
    fs::create_dir(tpm.path("state")).unwrap();
    Some(tpm)
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir(to).unwrap();
    for entry in fs::read_dir(from).unwrap().map(Result::unwrap) {
        let to = to.join(entry.file_name());
        if entry.path().is_dir() { copy(&entry.path(), &to) } else { assert!(fs::copy(entry.path(), to).is_ok()) }
    }
}

fn set_back(tpm: &Emulator) {
    fs::remove_dir_all(tpm.path("state")).unwrap();
    fs::rename(tpm.path("backup"), tpm.path("state")).unwrap();
}

fn known(tpm: &Emulator) -> Option<u64> {
    counted::last(&tpm.path("state/audit")).unwrap().unwrap().value
}

#[track_caller]
fn older(begun: Result<u64, CountedError>) -> String {
    match begun {
        Err(error @ CountedError::Older { .. }) => error.to_string(),
        other => panic!("expected a journal that is not the newest, found {other:?}"),
    }
}

#[test]
fn each_start_raises_the_counter_to_the_number_that_the_journal_says() {
    let Some(tpm) = emulator() else { return };
    let first = start(&tpm, None).unwrap();
    for n in 1..4 {
        assert_eq!(start(&tpm, None).unwrap(), first + n);
        assert_eq!((known(&tpm), counter(&tpm).get().unwrap()), (Some(first + n), first + n));
    }
}

#[test]
fn a_state_that_was_set_back_with_its_keys_is_refused_until_somebody_answers_for_it() {
    let Some(tpm) = emulator() else { return };
    start(&tpm, None).unwrap();
    copy(&tpm.path("state"), &tpm.path("backup"));
    start(&tpm, None).unwrap();
    set_back(&tpm);
    let said = older(start(&tpm, None));
    assert!(said.contains("--accept-journal"), "{said}");
    older(start(&tpm, None));
    start(&tpm, Some("restored from the backup of Monday")).unwrap();
    start(&tpm, None).unwrap();
    let mut reader = Reader::open(&tpm.path("state/audit")).unwrap();
    let mut accepted = Vec::new();
    while let Some(frame) = reader.next_frame().unwrap() {
        if let Content::Events(items) = reader.decode(&frame).unwrap() {
            accepted.extend(items.into_iter().filter_map(|item| match item.what {
                Event::JournalCounted { accepted, .. } => accepted,
                _ => None,
            }));
        }
    }
    assert_eq!(accepted, ["restored from the backup of Monday"]);
}

#[test]
fn a_journal_that_was_deleted_and_one_of_another_machine_are_refused() {
    let Some(tpm) = emulator() else { return };
    start(&tpm, None).unwrap();
    start(&tpm, None).unwrap();
    copy(&tpm.path("state"), &tpm.path("backup"));
    fs::remove_dir_all(tpm.path("state/audit")).unwrap();
    older(start(&tpm, None));
    set_back(&tpm);
    tpm.tool("tpm2_nvundefine -C o 0x01804548");
    assert!(older(start(&tpm, None)).contains("the TPM's counter is at none"));
}

/// A power cut at the counter: it is not raised, or it is and nobody hears of it.
struct Cut {
    tpm: TpmCounter,
    raised: bool,
}

impl Counter for Cut {
    fn kind(&self) -> CounterKind {
        self.tpm.kind()
    }

    fn get(&self) -> Result<u64, CounterError> {
        self.tpm.get()
    }

    fn increment(&mut self) -> Result<u64, CounterError> {
        if self.raised {
            self.tpm.increment()?;
        }
        Err(CounterError::Device("the power is gone".into()))
    }
}

#[test]
fn a_power_cut_around_the_raise_is_not_taken_for_a_set_back_state() {
    let Some(tpm) = emulator() else { return };
    for raised in [false, true] {
        for _ in 0..2 {
            let mut journal = journal(&tpm);
            let mut cut = Cut { tpm: counter(&tpm), raised };
            // The first of all is the binding itself.
            assert!(matches!(begin(&mut journal, &tpm.path("state/audit"), &mut cut, None), Err(CountedError::Counter(_))));
            drop((journal, cut));
            start(&tpm, None).unwrap();
            assert_eq!(known(&tpm), Some(counter(&tpm).get().unwrap()));
        }
    }
}

#[test]
fn an_orderly_end_raises_the_counter_once_more() {
    let Some(tpm) = emulator() else { return };
    let mut journal = journal(&tpm);
    let mut counter: Box<dyn Counter> = Box::new(counter(&tpm));
    let value = begin(&mut journal, &tpm.path("state/audit"), &mut *counter, None).unwrap();
    let privacy = PrivacyKey::load(&tpm.path("state/keys")).unwrap();
    let (ledger, clerk) = Ledger::start_bound(journal, privacy, Some(Bound::new(counter, value))).unwrap();
    ledger.stop();
    clerk.join().unwrap();
    assert_eq!((known(&tpm), self::counter(&tpm).get().unwrap()), (Some(value + 1), value + 1));
    assert_eq!(start(&tpm, None).unwrap(), value + 2);
}
