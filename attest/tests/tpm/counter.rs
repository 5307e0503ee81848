//! What the counter sees: a restored state, a removed index, an index that is none, a TPM that went away.

use std::fs;
use std::path::Path;

use edgeguard_attest::Code;
use edgeguard_attest::Counter as _;
use edgeguard_attest::CounterError;
use edgeguard_attest::CounterKind;
use edgeguard_attest::ModuleDigest;
use edgeguard_attest::Rejection;
use edgeguard_attest::State;
use edgeguard_attest::StateError;
use edgeguard_attest::Time;
use edgeguard_attest::TpmCounter;
use edgeguard_attest::TpmError;

use crate::emulator::Emulator;

const INDEX: &str = "0x01804547";

/// One client at a time: the emulator serves the next when this one is dropped.
fn counter(tpm: &Emulator) -> TpmCounter {
    TpmCounter::open(&tpm.socket()).unwrap()
}

fn state(tpm: &Emulator) -> Result<State, StateError> {
    State::open(&tpm.path("trust"), Box::new(counter(tpm)))
}

fn admit(state: &mut State, version: u64) -> Result<(), StateError> {
    state.admitted("voice", Some(version), ModuleDigest([version as u8; 32]), Time::BUILT, None)
}

/// Refused with the state's code; what was found.
#[track_caller]
fn refused<T>(result: Result<T, StateError>) -> String {
    let Err(error) = result else { panic!("expected a refusal") };
    let rejection = Rejection::from(error);
    assert_eq!(rejection.code, Code::StateDamaged, "{rejection}");
    rejection.found
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
    }
}

#[test]
fn counter_rises_by_one_and_survives_a_power_cut() {
    let Some(mut tpm) = Emulator::new() else { return };
    let mut used = counter(&tpm);
    assert!(matches!(used.get(), Err(CounterError::Unused)));
    let first = used.increment().unwrap();
    assert_eq!((used.increment().unwrap(), used.increment().unwrap()), (first + 1, first + 2));
    tpm.stop();
    tpm.start();
    assert!(matches!(used.get(), Err(CounterError::Device(_))), "the link that broke is said, not hidden");
    assert_eq!(used.get().unwrap(), first + 2, "then it connects anew");
    drop(used);
    assert_eq!(counter(&tpm).get().unwrap(), first + 2);
}

#[test]
fn bound_state_goes_on_after_a_restart() {
    let Some(mut tpm) = Emulator::new() else { return };
    admit(&mut state(&tpm).unwrap(), 1).unwrap();
    tpm.stop();
    tpm.start();
    let mut again = state(&tpm).unwrap();
    admit(&mut again, 2).unwrap();
    assert_eq!((again.known("voice").unwrap().version, again.counter_kind()), (Some(2), CounterKind::Tpm));
}

#[test]
fn restored_backup_is_refused() {
    let Some(tpm) = Emulator::new() else { return };
    let mut running = state(&tpm).unwrap();
    admit(&mut running, 1).unwrap();
    copy(&tpm.path("trust"), &tpm.path("backup"));
    admit(&mut running, 2).unwrap();
    drop(running);
    fs::remove_dir_all(tpm.path("trust")).unwrap();
    fs::rename(tpm.path("backup"), tpm.path("trust")).unwrap();
    assert!(refused(state(&tpm)).contains("set back"));
}

#[test]
fn deleted_state_is_refused() {
    let Some(tpm) = Emulator::new() else { return };
    admit(&mut state(&tpm).unwrap(), 1).unwrap();
    fs::remove_dir_all(tpm.path("trust")).unwrap();
    assert!(refused(state(&tpm)).contains("there was a state bound to it"));
}

#[test]
fn removed_index_is_refused() {
    let Some(tpm) = Emulator::new() else { return };
    admit(&mut state(&tpm).unwrap(), 1).unwrap();
    tpm.tool(&format!("tpm2_nvundefine -C o {INDEX}"));
    refused(state(&tpm));
}

/// The backup's number is the one before the last, so the index is removed, defined again, and raised to what would fit if it began anew.
#[test]
fn index_defined_again_never_fits_an_older_state() {
    let Some(tpm) = Emulator::new() else { return };
    let mut running = state(&tpm).unwrap();
    admit(&mut running, 1).unwrap();
    copy(&tpm.path("trust"), &tpm.path("backup"));
    admit(&mut running, 2).unwrap();
    drop(running);
    let highest = counter(&tpm).get().unwrap();
    fs::remove_dir_all(tpm.path("trust")).unwrap();
    fs::rename(tpm.path("backup"), tpm.path("trust")).unwrap();
    tpm.tool(&format!("tpm2_nvundefine -C o {INDEX}"));
    tpm.tool(&format!("tpm2_nvdefine -C o -g sha256 -s 8 -a authwrite|authread|no_da|nt=counter {INDEX}"));
    refused(state(&tpm));
    let mut anew = counter(&tpm);
    assert!(anew.increment().unwrap() > highest, "a TPM does not begin anew");
    drop(anew);
    assert!(refused(state(&tpm)).contains("set back"));
}

#[test]
fn current_state_is_refused_after_the_index_was_defined_again() {
    let Some(tpm) = Emulator::new() else { return };
    admit(&mut state(&tpm).unwrap(), 1).unwrap();
    tpm.tool(&format!("tpm2_nvundefine -C o {INDEX}"));
    tpm.tool(&format!("tpm2_nvdefine -C o -g sha256 -s 8 -a authwrite|authread|no_da|nt=counter {INDEX}"));
    tpm.tool(&format!("tpm2_nvincrement -C {INDEX} {INDEX}"));
    assert!(refused(state(&tpm)).contains("set back"));
}

/// An ordinary index holds whatever is written to it, so it could be made to fit any backup.
#[test]
fn ordinary_index_in_the_counters_place_is_refused() {
    let Some(tpm) = Emulator::new() else { return };
    admit(&mut state(&tpm).unwrap(), 1).unwrap();
    tpm.tool(&format!("tpm2_nvundefine -C o {INDEX}"));
    tpm.tool(&format!("tpm2_nvdefine -C o -g sha256 -s 8 -a authwrite|authread|no_da {INDEX}"));
    fs::write(tpm.path("value"), 1_u64.to_be_bytes()).unwrap();
    tpm.tool(&format!("tpm2_nvwrite -C {INDEX} -i value {INDEX}"));
    assert!(matches!(TpmCounter::open(&tpm.socket()), Err(TpmError::Foreign { .. })));
}

#[test]
fn tpm_that_went_away_is_refused_and_comes_back() {
    let Some(mut tpm) = Emulator::new() else { return };
    let mut running = state(&tpm).unwrap();
    admit(&mut running, 1).unwrap();
    tpm.stop();
    let found = refused(admit(&mut running, 2));
    assert!(found.contains("cannot use the TPM at"), "{found}");
    tpm.start();
    admit(&mut running, 2).unwrap();
    assert_eq!(running.known("voice").unwrap().version, Some(2));
}

#[test]
fn index_that_disappears_while_the_daemon_runs_is_not_defined_again() {
    let Some(mut tpm) = Emulator::new() else { return };
    let mut used = counter(&tpm);
    used.increment().unwrap();
    // The emulator serves one client at a time, so this one's link is broken first.
    tpm.stop();
    tpm.start();
    assert!(used.get().is_err());
    tpm.tool(&format!("tpm2_nvundefine -C o {INDEX}"));
    let Err(CounterError::Device(error)) = used.increment() else { panic!("expected a refusal") };
    assert!(error.to_string().contains("is gone"), "{error}");
}

#[test]
fn owner_authorization_is_used_and_a_wrong_one_is_named() {
    let Some(tpm) = Emulator::new() else { return };
    tpm.tool("tpm2_changeauth -c o secret");
    let Err(CounterError::Device(error)) = counter(&tpm).increment() else { panic!("expected a refusal") };
    assert!(error.to_string().contains("the owner hierarchy has an authorization"), "{error}");
    let mut used = counter(&tpm).with_owner_auth(b"secret").unwrap();
    used.increment().unwrap();
}

#[test]
fn file_that_is_no_tpm_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("tpm");
    assert!(matches!(TpmCounter::open(&path), Err(TpmError::Link { .. })), "nothing there");
    fs::write(&path, [0; 64]).unwrap();
    assert!(matches!(TpmCounter::open(&path), Err(TpmError::Link { .. })), "a file");
    assert!(TpmCounter::open(Path::new("/dev/zero")).is_err(), "a device that is no TPM");
    assert!(TpmCounter::open(Path::new("/dev/null")).is_err(), "a device that says nothing");
}
