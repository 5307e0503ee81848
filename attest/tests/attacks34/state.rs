//! Attacks on what a host remembers and on the trust that is brought to it: floors set back, packs that are old, kept back or changed.

use std::fs;
use std::path::Path;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering;

use edgeguard_attest::Clock;
use edgeguard_attest::ClockLimits;
use edgeguard_attest::Code;
use edgeguard_attest::Counter;
use edgeguard_attest::CounterError;
use edgeguard_attest::CounterKind;
use edgeguard_attest::NoCounter;
use edgeguard_attest::Rejection;
use edgeguard_attest::State;
use edgeguard_attest::StateError;
use edgeguard_attest::Time;
use edgeguard_attest::trust;
use tempfile::TempDir;

use crate::End;
use crate::Row;
use crate::Tried;
use crate::refused;
use crate::tried;
use crate::tuf::Key;
use crate::tuf::Tuf;
use crate::world::this_module;

pub const ROWS: &[Row] = &[
    refused("23a", "deletes the file that holds the floors", Code::StateDamaged, || {
        memory(|dir| fs::remove_file(dir.join("floors")).unwrap())
    }),
    refused("23b", "deletes all that the host remembers, on a host with a counter", Code::StateDamaged, || {
        memory(|dir| fs::remove_dir_all(dir).unwrap())
    }),
    refused("23c", "restores a backup of it, on a host with a counter", Code::StateDamaged, || {
        let backup = tempfile::tempdir().unwrap();
        let kept = backup.path().to_owned();
        remembers(
            |dir| fs::copy(dir.join("floors"), kept.join("floors")).map(drop).unwrap(),
            |dir| fs::copy(kept.join("floors"), dir.join("floors")).map(drop).unwrap(),
        )
    }),
    refused("23d", "changes a floor in the file", Code::StateDamaged, || {
        memory(|dir| {
            let path = dir.join("floors");
            let text = fs::read_to_string(&path).unwrap();
            assert!(text.contains("8"));
            fs::write(path, text.replacen('8', "7", 1)).unwrap();
        })
    }),
    Row {
        case: "23e",
        does: "does so where the counter is in a TPM, and removes and defines it anew",
        end: End::At(&[
            "restored_backup_is_refused",
            "deleted_state_is_refused",
            "removed_index_is_refused",
            "index_defined_again_never_fits_an_older_state",
        ]),
    },
    refused("24d", "sets the clock back to bring a trust pack that ran out", Code::Stale, || {
        let mut tuf = pack();
        tuf.timestamp_expires = "2026-12-24T00:00:00Z".into();
        let mut gateway = Gateway::new(&tuf);
        let honest = gateway.import(&tuf);
        gateway.state.raise_time(time("2026-12-27T00:00:00Z")).unwrap();
        gateway.now = time("2026-12-05T00:00:00Z");
        tried(honest, gateway.import(&tuf))
    }),
    refused("25a", "brings an older trust pack (rollback)", Code::Rollback, || {
        let mut tuf = pack();
        let mut gateway = Gateway::new(&tuf);
        let old = gateway.stick(&tuf, "old");
        tuf.bump();
        let honest = gateway.import(&tuf);
        tried(honest, gateway.import_from(&old))
    }),
    refused("25b", "brings the same trust pack again and again, and keeps the newer ones back (freeze)", Code::Stale, || {
        let mut tuf = pack();
        tuf.timestamp_expires = "2026-12-24T00:00:00Z".into();
        let mut gateway = Gateway::new(&tuf);
        let honest = gateway.import(&tuf);
        gateway.now = time("2026-12-25T00:00:00Z");
        tried(honest, gateway.import(&tuf))
    }),
    refused("25c", "changes the revocation list in a trust pack", Code::TrustMaterial, || {
        let tuf = pack();
        let mut gateway = Gateway::new(&tuf);
        let honest = gateway.import(&tuf);
        let mut gateway = Gateway::new(&tuf);
        let stick = gateway.stick(&tuf, "changed");
        let target = fs::read_dir(stick.join("targets")).unwrap().next().unwrap().unwrap().path();
        fs::write(&target, fs::read_to_string(&target).unwrap().replace("stolen", "STOLEN")).unwrap();
        tried(honest, gateway.import_from(&stick))
    }),
    refused("25d", "signs a trust pack with keys of his own", Code::TrustMaterial, || {
        let mut tuf = pack();
        let mut gateway = Gateway::new(&tuf);
        let honest = gateway.import(&tuf);
        tuf.bump();
        tuf.online = Key::p256();
        tried(honest, gateway.import(&tuf))
    }),
    refused("26d", "puts an older revocation list into a newer trust pack", Code::Rollback, || {
        let mut tuf = pack();
        let mut gateway = Gateway::new(&tuf);
        let honest = gateway.import(&tuf);
        tuf.bump();
        tuf.targets.insert("revocations.json".into(), list(4));
        tried(honest, gateway.import(&tuf))
    }),
    refused("27d", "puts a policy back in force that was replaced", Code::Rollback, || {
        let home = tempfile::tempdir().unwrap();
        let mut state = State::open(&home.path().join("trust"), Box::new(NoCounter)).unwrap();
        let honest = state.raise_policy_revision("voice-gate", 42, &[1; 32]);
        tried(honest.map_err(Rejection::from), state.raise_policy_revision("voice-gate", 41, &[2; 32]).map_err(Rejection::from))
    }),
    refused("27e", "puts another policy in force under a revision that was used", Code::Rollback, || {
        let home = tempfile::tempdir().unwrap();
        let mut state = State::open(&home.path().join("trust"), Box::new(NoCounter)).unwrap();
        let honest = state.raise_policy_revision("voice-gate", 42, &[1; 32]);
        tried(honest.map_err(Rejection::from), state.raise_policy_revision("voice-gate", 42, &[2; 32]).map_err(Rejection::from))
    }),
    Row {
        case: "28c",
        does: "has a file be shorter than it says when it is read",
        end: End::At(&["file_that_is_shorter_than_it_says_is_refused"]),
    },
    Row {
        case: "34a",
        does: "shows an old quote",
        end: End::At(&["old_nonce_is_refused", "quote_of_a_tpm_verifies_and_each_attack_is_refused"]),
    },
    Row { case: "34b", does: "shows a quote of another machine", end: End::At(&["quote_by_another_key_is_refused"]) },
    Row {
        case: "34c",
        does: "shows a quote of no registers, or of others",
        end: End::At(&["quote_over_no_register_is_refused", "quote_over_other_registers_is_refused"]),
    },
];

/// A counter as a TPM has one: it is not on the disk, and only rises.
#[derive(Clone, Default)]
struct Chip(Arc<AtomicU64>);

impl Counter for Chip {
    fn kind(&self) -> CounterKind {
        CounterKind::Tpm
    }

    fn get(&self) -> Result<u64, CounterError> {
        match self.0.load(Ordering::SeqCst) {
            0 => Err(CounterError::Unused),
            value => Ok(value),
        }
    }

    fn increment(&mut self) -> Result<u64, CounterError> {
        Ok(self.0.fetch_add(1, Ordering::SeqCst) + 1)
    }
}

/// A host that has admitted version 8 stops; the attacker does something; the host starts again.
fn memory(attack: impl Fn(&Path)) -> Tried {
    remembers(|_| (), attack)
}

/// The same, where the attacker comes a first time before the host learns of version 8.
fn remembers(before: impl Fn(&Path), attack: impl Fn(&Path)) -> Tried {
    let judge = |attack: &dyn Fn(&Path)| -> Result<(), Rejection> {
        let home = tempfile::tempdir().unwrap();
        let dir = home.path().join("trust");
        let chip = Chip::default();
        let mut state = State::open(&dir, Box::new(chip.clone()))?;
        before(&dir);
        state.admitted("voice-gate", Some(8), this_module(), time("2026-12-01T00:00:00Z"), None)?;
        drop(state);
        attack(&dir);
        let opened: Result<State, StateError> = State::open(&dir, Box::new(chip));
        assert_eq!(opened?.known("voice-gate").unwrap().version, Some(8));
        Ok(())
    };
    tried(judge(&|_| ()), judge(&attack))
}

fn time(text: &str) -> Time {
    text.parse().unwrap()
}

/// What a trust pack has at least.
fn pack() -> Tuf {
    Tuf::new().target("revocations.json", list(5))
}

fn list(number: u64) -> Vec<u8> {
    let key = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08";
    let times = r#""issued":"2026-11-20T00:00:00Z","expires":"2032-01-01T00:00:00Z""#;
    format!(r#"{{"version":1,"list":{number},{times},"revoked":[{{"key":"{key}","reason":"stolen"}}]}}"#).into_bytes()
}

/// A host in the year 2026 that learns by packs.
struct Gateway {
    home: TempDir,
    state: State,
    root: Vec<u8>,
    now: Time,
}

impl Gateway {
    fn new(tuf: &Tuf) -> Self {
        let home = tempfile::tempdir().unwrap();
        let state = State::open(&home.path().join("trust"), Box::new(NoCounter)).unwrap();
        Self { home, state, root: tuf.root().to_vec(), now: time("2026-12-01T00:00:00Z") }
    }

    fn stick(&self, tuf: &Tuf, name: &str) -> PathBuf {
        let dir = self.home.path().join(name);
        fs::remove_dir_all(&dir).ok();
        tuf.write(&dir);
        dir
    }

    fn import(&mut self, tuf: &Tuf) -> Result<(), Rejection> {
        let dir = self.stick(tuf, "stick");
        self.import_from(&dir)
    }

    fn import_from(&mut self, dir: &Path) -> Result<(), Rejection> {
        let clock = Clock::new(self.state.floor_time(), self.now, ClockLimits::default());
        match trust::import(dir, &mut self.state, Some(&self.root), &clock) {
            Ok(_) => Ok(()),
            Err(error) => Err(error.rejection().unwrap_or_else(|| panic!("{error}")).clone()),
        }
    }
}
