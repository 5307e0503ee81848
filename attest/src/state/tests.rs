//! What the state must never do: forget, fall, or believe what was not the last thing written.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use std::os::unix::fs::PermissionsExt as _;
use std::sync::Arc;
use std::sync::Mutex;

use super::storage::faulty::Disk;
use super::*;

/// A counter as a TPM has one: it survives everything, and may lose its power as well.
#[derive(Clone, Default)]
struct Chip(Arc<Mutex<ChipInner>>);

#[derive(Default)]
struct ChipInner {
    value: Option<u64>,
    /// The next increment fails: before it counted, or after.
    fails: Option<bool>,
}

impl Counter for Chip {
    fn kind(&self) -> CounterKind {
        CounterKind::Tpm
    }

    fn get(&self) -> Result<u64, CounterError> {
        self.0.lock().unwrap().value.ok_or(CounterError::Unused)
    }

    fn increment(&mut self) -> Result<u64, CounterError> {
        let mut inner = self.0.lock().unwrap();
        let counted = inner.fails.take();
        if counted != Some(false) {
            // A counter index begins above every counter that the chip ever had.
            inner.value = Some(inner.value.map_or(41, |value| value + 1));
        }
        match counted {
            None => Ok(inner.value.unwrap()),
            Some(_) => Err(CounterError::Device("power cut".into())),
        }
    }
}

const A: ModuleDigest = ModuleDigest([0xaa; 32]);
const B: ModuleDigest = ModuleDigest([0xbb; 32]);

fn later(seconds: i64) -> Time {
    Time(Time::BUILT.0 + seconds)
}

fn none() -> Box<dyn Counter> {
    Box::new(NoCounter)
}

fn code(error: StateError) -> Code {
    Rejection::from(error).code
}

/// A state on a disk that can lose its power.
fn on_disk(counter: Option<&Chip>) -> (Disk, State) {
    let secret = [7; 32];
    let key = hmac::Key::new(hmac::HMAC_SHA256, &secret);
    let mut remembered = Remembered::new();
    remembered.counter = counter.and_then(|chip| bind(&mut chip.clone(), Beginning::First).unwrap());
    let mut disk = Disk::default();
    disk.put(KEY, &secret).unwrap();
    disk.put(FLOORS, &remembered.to_text(&key).unwrap()).unwrap();
    disk.sync().unwrap();
    let state = State::existing(Box::new(disk.clone()), counter_or_none(counter)).unwrap();
    (disk, state)
}

fn counter_or_none(counter: Option<&Chip>) -> Box<dyn Counter> {
    counter.map_or_else(none, |chip| Box::new(chip.clone()))
}

#[test]
fn what_was_remembered_is_there_after_a_restart() {
    let home = tempfile::tempdir().unwrap();
    let dir = home.path().join("trust");
    let mut state = State::open(&dir, none()).unwrap();
    assert_eq!(state.floor_time(), Time::BUILT);
    assert_eq!(state.known("voice"), None);
    state.admitted("voice", Some(7), A, later(10), Some(later(5))).unwrap();
    state.admitted("plain", None, B, later(11), None).unwrap();
    state.raise_policy_revision("voice", 42, &[1; 32]).unwrap();
    state.raise_time(later(20)).unwrap();
    drop(state);

    let state = State::open(&dir, none()).unwrap();
    assert_eq!(state.known("voice"), Some(Known { version: Some(7), digest: A, admitted_at: later(10) }));
    assert_eq!(state.known("plain"), Some(Known { version: None, digest: B, admitted_at: later(11) }));
    assert_eq!((state.policy_revision("voice"), state.floor_time()), (Some(42), later(20)));
    assert_eq!(State::look(&dir).unwrap().unwrap().remembered(), state.remembered());

    let mode = |name: &str| std::fs::metadata(dir.join(name)).unwrap().permissions().mode() & 0o7777;
    assert_eq!((mode(""), mode("key"), mode("floors"), mode("lock")), (0o700, 0o400, 0o600, 0o600));
    assert!(!home.path().join("trust.new").exists());
}

#[test]
fn looking_makes_nothing() {
    let home = tempfile::tempdir().unwrap();
    assert!(State::look(&home.path().join("trust")).unwrap().is_none());
    assert_eq!(std::fs::read_dir(home.path()).unwrap().count(), 0);
}

#[test]
fn no_floor_falls() {
    let (_disk, mut state) = on_disk(None);
    state.admitted("voice", Some(7), A, later(0), None).unwrap();
    assert_eq!(code(state.admitted("voice", Some(6), B, later(0), None).unwrap_err()), Code::Rollback);
    assert_eq!(code(state.admitted("voice", None, B, later(0), None).unwrap_err()), Code::Rollback);
    assert_eq!(state.known("voice").unwrap().version, Some(7));
    state.raise_policy_revision("voice", 3, &[1; 32]).unwrap();
    assert_eq!(code(state.raise_policy_revision("voice", 2, &[2; 32]).unwrap_err()), Code::Rollback);
    state.raise_time(later(9)).unwrap();
    state.raise_time(later(8)).unwrap();
    assert_eq!(state.floor_time(), later(9));
    state.set_pack(None, b"pack 1", Some(5), later(9), None).unwrap();
    assert_eq!(code(state.set_pack(Some(b"pack 1"), b"pack 0", Some(4), later(9), None).unwrap_err()), Code::Rollback);
    assert_eq!(code(state.set_pack(Some(b"pack 1"), b"pack 0", None, later(9), None).unwrap_err()), Code::Rollback);
    assert_eq!(state.pack().unwrap().unwrap(), b"pack 1");
}

#[test]
fn a_revision_stands_for_one_text() {
    let home = tempfile::tempdir().unwrap();
    let dir = home.path().join("trust");
    let mut state = State::open(&dir, none()).unwrap();
    state.raise_policy_revision("voice", 3, &[1; 32]).unwrap();
    state.raise_policy_revision("voice", 3, &[1; 32]).unwrap();
    let refused = |state: &mut State| Rejection::from(state.raise_policy_revision("voice", 3, &[2; 32]).unwrap_err());
    let rejection = refused(&mut state);
    assert_eq!(rejection.code, Code::Rollback);
    assert!(rejection.to_string().contains(&"01".repeat(32)) && rejection.to_string().contains(&"02".repeat(32)), "{rejection}");
    drop(state);
    let mut state = State::open(&dir, none()).unwrap();
    assert_eq!(refused(&mut state).code, Code::Rollback, "it is forgotten over a restart");
    state.raise_policy_revision("voice", 4, &[2; 32]).unwrap();
    state.raise_policy_revision("other", 3, &[2; 32]).unwrap();
}

/// States of earlier versions name no text: the first that is shown under their revision is the one.
#[test]
fn a_revision_without_a_text_takes_the_first() {
    let (_disk, mut state) = on_disk(None);
    let mut before = state.remembered.clone();
    before.policies.insert("voice".into(), 3);
    state.write(before).unwrap();
    state.raise_policy_revision("voice", 3, &[1; 32]).unwrap();
    assert_eq!(code(state.raise_policy_revision("voice", 3, &[2; 32]).unwrap_err()), Code::Rollback);
}

#[test]
fn what_changes_nothing_is_not_written() {
    let (_disk, mut state) = on_disk(None);
    state.admitted("voice", Some(7), A, later(3), Some(later(1))).unwrap();
    let writes = state.remembered().writes();
    state.admitted("voice", Some(7), A, later(5), Some(later(1))).unwrap();
    state.raise_time(later(1)).unwrap();
    assert_eq!(state.remembered().writes(), writes);
    assert_eq!(state.known("voice").unwrap().admitted_at, later(3), "the first admission counts");
}

#[test]
fn two_processes_see_each_others_floors() {
    let home = tempfile::tempdir().unwrap();
    let dir = home.path().join("trust");
    let (mut daemon, mut cli) = (State::open(&dir, none()).unwrap(), State::open(&dir, none()).unwrap());
    daemon.admitted("voice", Some(7), A, later(0), None).unwrap();
    cli.raise_time(later(50)).unwrap();
    assert_eq!(cli.known("voice").unwrap().version, Some(7));
    assert_eq!(code(cli.admitted("voice", Some(6), B, later(0), None).unwrap_err()), Code::Rollback);
    daemon.reload().unwrap();
    assert_eq!(daemon.floor_time(), later(50));
}

#[test]
fn every_changed_byte_and_every_cut_is_refused() {
    let (disk, mut state) = on_disk(None);
    state.admitted("voice", Some(7), A, later(0), None).unwrap();
    let good = disk.0.lock().unwrap().files[FLOORS].clone();
    let reopened = |text: &[u8]| {
        disk.0.lock().unwrap().files.insert(FLOORS.into(), text.to_vec());
        State::existing(Box::new(disk.clone()), none())
    };
    for at in 0..good.len() {
        assert_eq!(code(reopened(&good[..at]).unwrap_err()), Code::StateDamaged, "cut at {at}");
        for bit in [1, 0x20, 0x80] {
            let mut text = good.clone();
            text[at] ^= bit;
            match reopened(&text) {
                Err(error) => assert_eq!(code(error), Code::StateDamaged, "byte {at}"),
                // A MAC in capital letters is the same MAC.
                Ok(state) => assert_eq!(state.known("voice").unwrap().version, Some(7), "byte {at}"),
            }
        }
    }
    assert!(reopened(&[&good[..], b"\n"].concat()).is_err());
    assert!(reopened(&good).is_ok());
}

#[test]
fn a_part_that_is_gone_is_never_a_first_start() {
    for part in ["floors", "key"] {
        let home = tempfile::tempdir().unwrap();
        let dir = home.path().join("trust");
        drop(State::open(&dir, none()).unwrap());
        std::fs::remove_file(dir.join(part)).unwrap();
        assert_eq!(code(State::open(&dir, none()).unwrap_err()), Code::StateDamaged, "{part}");
    }
    // An empty directory is not one that does not exist.
    let home = tempfile::tempdir().unwrap();
    let dir = home.path().join("trust");
    std::fs::create_dir(&dir).unwrap();
    assert_eq!(code(State::open(&dir, none()).unwrap_err()), Code::StateDamaged);
}

#[test]
fn a_link_in_the_states_place_is_not_followed() {
    let home = tempfile::tempdir().unwrap();
    let (dir, link) = (home.path().join("trust"), home.path().join("link"));
    drop(State::open(&dir, none()).unwrap());
    std::os::unix::fs::symlink(&dir, &link).unwrap();
    assert_eq!(code(State::open(&link, none()).unwrap_err()), Code::StateDamaged);
    std::fs::rename(dir.join("floors"), home.path().join("elsewhere")).unwrap();
    std::os::unix::fs::symlink(home.path().join("elsewhere"), dir.join("floors")).unwrap();
    assert_eq!(code(State::open(&dir, none()).unwrap_err()), Code::StateDamaged);
}

#[test]
fn an_older_file_put_back_while_the_daemon_runs_is_seen_without_a_counter() {
    let home = tempfile::tempdir().unwrap();
    let dir = home.path().join("trust");
    let mut state = State::open(&dir, none()).unwrap();
    state.admitted("voice", Some(7), A, later(0), None).unwrap();
    let old = std::fs::read(dir.join("floors")).unwrap();
    state.admitted("voice", Some(8), B, later(0), None).unwrap();
    std::fs::write(dir.join("floors"), old).unwrap();
    assert!(matches!(state.reload(), Err(StateError::SetBack { .. })));
    assert!(state.admitted("voice", Some(9), A, later(0), None).is_err());
}

#[test]
fn a_restored_backup_is_seen_by_the_counter() {
    let chip = Chip::default();
    let home = tempfile::tempdir().unwrap();
    let (dir, backup) = (home.path().join("trust"), home.path().join("backup"));
    let mut state = State::open(&dir, Box::new(chip.clone())).unwrap();
    state.admitted("voice", Some(7), A, later(0), None).unwrap();
    assert!(std::process::Command::new("cp").arg("-a").args([&dir, &backup]).status().unwrap().success());
    state.admitted("voice", Some(8), B, later(0), None).unwrap();
    state.admitted("voice", Some(9), A, later(0), None).unwrap();
    drop(state);
    assert_eq!(State::open(&dir, Box::new(chip.clone())).unwrap().known("voice").unwrap().version, Some(9));

    std::fs::remove_dir_all(&dir).unwrap();
    std::fs::rename(&backup, &dir).unwrap();
    let refused = State::open(&dir, Box::new(chip.clone())).unwrap_err();
    assert!(matches!(refused, StateError::SetBack { expected: 44, found: 42 }), "{refused}");

    // Deleting it all does not help either.
    std::fs::remove_dir_all(&dir).unwrap();
    assert!(matches!(State::open(&dir, Box::new(chip.clone())), Err(StateError::Foreign { counter: 44 })));
    // Only the administrator's word does.
    let (state, aside) = State::reset(&dir, Box::new(chip.clone())).unwrap();
    assert_eq!((state.known("voice"), aside), (None, None));
    drop(state);
    assert!(State::open(&dir, Box::new(chip)).is_ok());
}

#[test]
fn a_counter_is_not_left_out_once_it_was_bound() {
    let chip = Chip::default();
    let home = tempfile::tempdir().unwrap();
    let dir = home.path().join("trust");
    drop(State::open(&dir, Box::new(chip.clone())).unwrap());
    assert!(matches!(State::open(&dir, none()), Err(StateError::CounterGone)));
}

#[test]
fn a_counter_is_bound_to_a_state_that_had_none_and_keeps_its_floors() {
    let (disk, mut state) = on_disk(None);
    state.admitted("voice", Some(7), A, later(0), None).unwrap();
    let chip = Chip::default();
    let mut state = State::existing(Box::new(disk.clone()), Box::new(chip.clone())).unwrap();
    assert_eq!((state.known("voice").unwrap().version, state.counter_kind()), (Some(7), CounterKind::Tpm));
    state.admitted("voice", Some(8), B, later(0), None).unwrap();
    drop(state);
    let state = State::existing(Box::new(disk), Box::new(chip)).unwrap();
    assert_eq!(state.known("voice").unwrap().version, Some(8));
}

#[test]
fn another_hosts_counter_is_not_taken() {
    let (disk, _state) = on_disk(Some(&Chip::default()));
    let other = Chip::default();
    other.0.lock().unwrap().value = Some(1000);
    assert!(matches!(State::existing(Box::new(disk), Box::new(other)), Err(StateError::SetBack { .. })));
}

/// The power goes at every step of every write, and in the middle of it, and comes back with and without the renames that were not synced.
#[test]
fn a_power_cut_at_any_step_leaves_the_state_before_or_after_and_never_an_older_one() {
    let steps = |state: &mut State| {
        let first = state.admitted("voice", Some(8), B, later(0), Some(later(4)));
        let second = state.raise_policy_revision("voice", 2, &[2; 32]);
        let third = state.set_pack(None, b"a pack", Some(3), later(0), Some(later(9)));
        [first.is_ok(), second.is_ok(), third.is_ok()]
    };
    let mut cuts = 0;
    for with_chip in [false, true] {
        for at in 1.. {
            for arrived in [0, 1, 40, 100, usize::MAX] {
                for kept in [false, true] {
                    let chip = with_chip.then(Chip::default);
                    let (disk, mut state) = on_disk(chip.as_ref());
                    state.admitted("voice", Some(7), A, later(0), None).unwrap();
                    {
                        let mut inner = disk.0.lock().unwrap();
                        inner.fails_at = Some((inner.steps + at, arrived));
                    }
                    let done = steps(&mut state);
                    drop(state);
                    disk.restart(kept);
                    let context = format!("chip {with_chip}, step {at}, {arrived} bytes, renames kept {kept}: {done:?}");

                    let mut state = State::existing(Box::new(disk.clone()), counter_or_none(chip.as_ref()))
                        .unwrap_or_else(|error| panic!("{context}: {error}"));
                    let version = state.known("voice").unwrap().version;
                    assert!(version == Some(8) || (version == Some(7) && !done[0]), "{context}");
                    assert!(state.policy_revision("voice") == Some(2) || !done[1], "{context}");
                    match state.pack().unwrap_or_else(|error| panic!("{context}: {error}")) {
                        Some(pack) => assert_eq!((pack.as_slice(), state.revocation_list_floor()), (&b"a pack"[..], Some(3)), "{context}"),
                        None => assert!(!done[2], "{context}"),
                    }
                    // And it goes on as if nothing had happened.
                    let before = state.pack().unwrap();
                    state.admitted("voice", Some(9), A, later(0), None).unwrap();
                    state.set_pack(before.as_deref(), b"another", Some(4), later(0), None).unwrap();
                    cuts += 1;
                    if done == [true; 3] && kept && arrived == usize::MAX {
                        break;
                    }
                }
            }
            if at > 40 {
                break;
            }
        }
    }
    assert!(cuts > 500, "{cuts}");
}

#[test]
fn a_counter_that_loses_its_power_before_or_after_it_counted_is_made_up_for() {
    for counted in [false, true] {
        let chip = Chip::default();
        let (disk, mut state) = on_disk(Some(&chip));
        state.admitted("voice", Some(7), A, later(0), None).unwrap();
        chip.0.lock().unwrap().fails = Some(counted);
        assert!(matches!(state.admitted("voice", Some(8), B, later(0), None), Err(StateError::Counter(_))));
        // In the same process, and in the next one.
        state.admitted("voice", Some(8), B, later(0), None).unwrap();
        drop(state);
        let state = State::existing(Box::new(disk), Box::new(chip)).unwrap();
        assert_eq!(state.known("voice").unwrap().version, Some(8), "counted {counted}");
    }
}

#[test]
fn the_number_of_modules_and_the_length_of_names_are_bounded() {
    let (_disk, mut state) = on_disk(None);
    for name in ["", &"x".repeat(MAX_NAME + 1)] {
        assert!(matches!(state.admitted(name, None, A, later(0), None), Err(StateError::Name { .. })));
    }
    let mut next = state.remembered.clone();
    for number in 0..MAX_NAMES {
        next.modules.insert(format!("m{number}"), Module { version: Some(1), digest: A.to_string(), admitted: later(0) });
    }
    state.write(next).unwrap();
    assert!(matches!(state.admitted("one-more", None, A, later(0), None), Err(StateError::Full { .. })));
    state.admitted("m7", Some(2), B, later(0), None).unwrap();
}

#[test]
fn a_half_made_directory_of_a_first_start_that_was_cut_short_is_in_nobodys_way() {
    let home = tempfile::tempdir().unwrap();
    std::fs::create_dir(home.path().join("trust.new")).unwrap();
    std::fs::write(home.path().join("trust.new/key"), b"half").unwrap();
    drop(State::open(&home.path().join("trust"), none()).unwrap());
    assert!(!home.path().join("trust.new").exists());
}

#[test]
fn a_reset_keeps_the_old_state_aside() {
    let home = tempfile::tempdir().unwrap();
    let dir = home.path().join("trust");
    State::open(&dir, none()).unwrap().admitted("voice", Some(7), A, later(0), None).unwrap();
    let (state, aside) = State::reset(&dir, none()).unwrap();
    assert_eq!(state.known("voice"), None);
    let old = State::look(&aside.unwrap()).unwrap().unwrap();
    assert_eq!(old.known("voice").unwrap().version, Some(7));
}

#[test]
fn a_lock_that_is_held_is_waited_for_and_then_given_up() {
    let home = tempfile::tempdir().unwrap();
    let dir = home.path().join("trust");
    let mut state = State::open(&dir, none()).unwrap();
    let held = Directory::open(&dir).unwrap().unwrap().lock().unwrap();
    assert!(matches!(state.raise_time(later(5)), Err(StateError::Io { step: "lock", .. })));
    drop(held);
    state.raise_time(later(5)).unwrap();
}

proptest::proptest! {
    #[test]
    fn arbitrary_text_is_no_state_and_never_panics(text in proptest::collection::vec(proptest::num::u8::ANY, 0..300)) {
        let key = hmac::Key::new(hmac::HMAC_SHA256, &[7; 32]);
        proptest::prop_assert!(Remembered::from_text(&text, &key).is_err());
        let mut signed = b"edgeguard-state 1\n".to_vec();
        signed.extend_from_slice(hex::encode(hmac::sign(&key, &text).as_ref()).as_bytes());
        signed.push(b'\n');
        signed.extend_from_slice(&text);
        signed.push(b'\n');
        proptest::prop_assert!(Remembered::from_text(&signed, &key).is_err());
    }
}

#[test]
fn a_module_whose_release_is_gone_keeps_its_floor_and_is_no_rollback() {
    let (_disk, mut state) = on_disk(None);
    state.admitted("voice", Some(7), A, later(0), None).unwrap();
    // Admission lets the same bytes in by a plain signature; what is remembered of them must not be lost, nor stand in their way.
    state.admitted("voice", None, A, later(5), Some(later(9))).unwrap();
    assert_eq!(state.known("voice"), Some(Known { version: Some(7), digest: A, admitted_at: later(0) }));
    assert_eq!(state.floor_time(), later(9));
    assert_eq!(code(state.admitted("voice", None, B, later(5), None).unwrap_err()), Code::Rollback);
}

#[test]
fn a_file_that_no_longer_names_the_counter_is_not_believed_while_the_daemon_runs() {
    let chip = Chip::default();
    let (disk, mut state) = on_disk(Some(&chip));
    state.admitted("voice", Some(7), A, later(0), None).unwrap();
    // Whoever reads the key can write a file with a good MAC, a higher number and no counter.
    let mut forged = Remembered::new();
    forged.write = 1000;
    let text = forged.to_text(&hmac::Key::new(hmac::HMAC_SHA256, &[7; 32])).unwrap();
    disk.0.lock().unwrap().files.insert(FLOORS.into(), text);
    assert_eq!(code(state.reload().unwrap_err()), Code::StateDamaged);
    assert_eq!(code(state.admitted("voice", Some(1), B, later(0), None).unwrap_err()), Code::StateDamaged);
    assert_eq!(state.known("voice").unwrap().version, Some(7));
}

#[test]
fn a_lock_that_is_another_file_under_a_second_name_is_refused() {
    let home = tempfile::tempdir().unwrap();
    let dir = home.path().join("trust");
    let mut state = State::open(&dir, none()).unwrap();
    // Root gives the lock to the directory's owner, who must not thereby get a file that is not his.
    let precious = home.path().join("precious");
    std::fs::write(&precious, b"root's").unwrap();
    std::fs::remove_file(dir.join("lock")).unwrap();
    std::fs::hard_link(&precious, dir.join("lock")).unwrap();
    assert_eq!(code(state.reload().unwrap_err()), Code::StateDamaged);
    std::fs::remove_file(dir.join("lock")).unwrap();
    assert!(state.reload().is_ok(), "a lock that is gone is made again");
}

#[test]
fn a_pack_that_another_process_is_about_to_read_outlives_one_import_and_no_more() {
    let home = tempfile::tempdir().unwrap();
    let dir = home.path().join("trust");
    let mut cli = State::open(&dir, none()).unwrap();
    cli.set_pack(None, b"pack 1", None, later(0), None).unwrap();
    let daemon = State::open(&dir, none()).unwrap();
    cli.set_pack(Some(b"pack 1"), b"pack 2", None, later(0), None).unwrap();
    assert_eq!(daemon.pack().unwrap().as_deref(), Some(&b"pack 1"[..]), "what it was told a moment ago");
    cli.set_pack(Some(b"pack 2"), b"pack 3", None, later(0), None).unwrap();
    let packs =
        || std::fs::read_dir(&dir).unwrap().filter(|entry| entry.as_ref().unwrap().file_name().to_string_lossy().starts_with(PACK)).count();
    assert_eq!(packs(), 2);
    assert!(matches!(daemon.pack(), Err(StateError::Missing { .. })));
    assert_eq!(State::open(&dir, none()).unwrap().pack().unwrap().as_deref(), Some(&b"pack 3"[..]));
}
