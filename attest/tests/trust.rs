//! Trust packs from a directory: what is put in force, and every way in which one is not.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

#[path = "support/tuf.rs"]
mod tuf;

use std::path::Path;
use std::path::PathBuf;
use std::time::Duration;

use edgeguard_attest::Clock;
use edgeguard_attest::ClockLimits;
use edgeguard_attest::Code;
use edgeguard_attest::NoCounter;
use edgeguard_attest::Staleness;
use edgeguard_attest::State;
use edgeguard_attest::Time;
use edgeguard_attest::trust;
use edgeguard_attest::trust::FreshnessLimits;
use edgeguard_attest::trust::ImportError;
use edgeguard_attest::trust::Imported;
use edgeguard_attest::trust::Pack;
use sigstore_verify::trust_root::SIGSTORE_PRODUCTION_TRUSTED_ROOT;
use tempfile::TempDir;
use tuf::FAR;
use tuf::Key;
use tuf::Tuf;

const KEY: &str = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08";

fn time(text: &str) -> Time {
    text.parse().unwrap()
}

fn list(number: u64, issued: &str) -> String {
    format!(
        r#"{{"version":1,"list":{number},"issued":"{issued}","expires":"2028-01-01T00:00:00Z","revoked":[{{"key":"{KEY}","reason":"stolen"}}]}}"#
    )
}

/// Metadata with a list, a root and a key.
fn full() -> Tuf {
    let key = edgeguard_attest::sign::SigningKey::generate(edgeguard_attest::Algorithm::EcdsaP256).unwrap().public_pem();
    Tuf::new()
        .target("revocations.json", list(5, "2026-11-20T00:00:00Z"))
        .target("trusted_root.json", SIGSTORE_PRODUCTION_TRUSTED_ROOT)
        .target("keys/acme.pub", key.as_bytes())
        .target("README", "for people")
}

/// A host: its state, its clock, and the stick that is plugged in.
struct Host {
    home: TempDir,
    state: State,
    now: Time,
    first_root: Option<Vec<u8>>,
}

impl Host {
    fn new(tuf: &Tuf) -> Self {
        let home = tempfile::tempdir().unwrap();
        let state = State::open(&home.path().join("trust"), Box::new(NoCounter)).unwrap();
        Self { home, state, now: time("2026-12-01T00:00:00Z"), first_root: Some(tuf.root().to_vec()) }
    }

    fn clock(&self) -> Clock {
        Clock::new(self.state.floor_time(), self.now, ClockLimits::default())
    }

    fn stick(&self, tuf: &Tuf) -> PathBuf {
        let dir = self.home.path().join("stick");
        std::fs::remove_dir_all(&dir).ok();
        tuf.write(&dir);
        dir
    }

    fn import(&mut self, tuf: &Tuf) -> Result<Imported, ImportError> {
        let dir = self.stick(tuf);
        self.import_dir(&dir)
    }

    fn import_dir(&mut self, dir: &Path) -> Result<Imported, ImportError> {
        let clock = self.clock();
        trust::import(dir, &mut self.state, self.first_root.as_deref(), &clock)
    }

    /// The import is refused with this code, and what was in force still is.
    fn refuses(&mut self, tuf: &Tuf, code: Code) -> String {
        let dir = self.stick(tuf);
        self.refuses_dir(&dir, code)
    }

    fn refuses_dir(&mut self, dir: &Path, code: Code) -> String {
        let before = Pack::of(&self.state).unwrap().map(|pack| pack.versions());
        let writes = self.state.remembered().writes();
        let error = self.import_dir(dir).unwrap_err();
        assert_eq!(error.code(), Some(code), "{error}");
        self.state.reload().unwrap();
        assert_eq!(Pack::of(&self.state).unwrap().map(|pack| pack.versions()), before);
        assert_eq!(self.state.remembered().writes(), writes);
        error.rejection().unwrap().to_string()
    }
}

#[test]
fn a_pack_is_put_in_force_and_is_there_after_a_restart() {
    for consistent in [true, false] {
        let mut tuf = full();
        tuf.consistent = consistent;
        tuf.sign_root(None);
        let mut host = Host::new(&tuf);
        let imported = host.import(&tuf).unwrap();
        assert!(imported.changed);
        assert_eq!((imported.before, imported.unused), (None, vec!["`README`".to_owned()]));
        assert_eq!((host.state.revocation_list_floor(), host.state.floor_time()), (Some(5), time("2026-11-22T00:00:00Z").max(Time::BUILT)));

        let state = State::open(&host.home.path().join("trust"), Box::new(NoCounter)).unwrap();
        let pack = Pack::of(&state).unwrap().unwrap();
        assert_eq!(pack.revocations().unwrap().entries().len(), 1);
        assert_eq!(pack.material().unwrap().digest(), edgeguard_attest::TrustMaterial::public_good().unwrap().digest());
        assert_eq!(pack.keys().iter().map(|key| key.name()).collect::<Vec<_>>(), ["keys/acme.pub"]);
        assert_eq!(pack.expires().timestamp, time(FAR));
        assert!(!host.import(&tuf).unwrap().changed, "the same once more changes nothing");
    }
}

#[test]
fn newer_packs_follow_also_over_rotated_roots() {
    let mut tuf = full();
    let mut host = Host::new(&tuf);
    host.import(&tuf).unwrap();
    host.first_root = None;
    for number in 6..9 {
        tuf.bump();
        tuf.rotate();
        tuf.rotate();
        tuf.targets.insert("revocations.json".into(), list(number, "2026-11-28T00:00:00Z").into());
        let imported = host.import(&tuf).unwrap();
        assert!(imported.changed && imported.before.is_some());
        assert_eq!(
            (host.state.revocation_list_floor(), host.state.floor_time()),
            (Some(number), time("2026-11-28T00:00:00Z")),
            "its time is proved"
        );
    }
    let names: Vec<_> = std::fs::read_dir(host.home.path().join("trust")).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(names.iter().filter(|name| name.to_string_lossy().starts_with("pack-")).count(), 2, "{names:?}");
}

#[test]
fn the_first_root_is_needed_once_and_comes_another_way() {
    let tuf = full();
    let mut host = Host::new(&tuf);
    host.first_root = None;
    assert!(matches!(host.import(&tuf), Err(ImportError::NoRoot)));
    host.first_root = Some(b"{}".to_vec());
    host.refuses(&tuf, Code::TrustMaterial);
    // Another's root does not open this pack, and another's pack is not opened by this root.
    host.first_root = Some(Tuf::new().root().to_vec());
    host.refuses(&tuf, Code::TrustMaterial);
    host.first_root = Some(tuf.root().to_vec());
    host.import(&tuf).unwrap();
    host.first_root = Some(Tuf::new().root().to_vec());
    assert!(!host.import(&tuf).unwrap().changed, "it counts only the first time");
}

#[test]
fn an_older_pack_is_refused() {
    let mut tuf = full();
    let mut host = Host::new(&tuf);
    let old = host.home.path().join("old");
    tuf.write(&old);
    tuf.bump();
    tuf.targets.insert("revocations.json".into(), list(6, "2026-11-21T00:00:00Z").into());
    host.import(&tuf).unwrap();
    insta::assert_snapshot!(host.refuses_dir(&old, Code::Rollback));

    tuf.timestamp_version += 1;
    tuf.snapshot_version = 1;
    host.refuses(&tuf, Code::Rollback);
}

#[test]
fn a_pack_that_ran_out_is_refused_when_it_is_brought_and_stale_when_it_is_there() {
    let mut tuf = full();
    tuf.timestamp_expires = "2026-12-24T00:00:00Z".into();
    let mut host = Host::new(&tuf);
    host.import(&tuf).unwrap();
    host.now = time("2026-12-23T00:00:00Z");
    host.import(&tuf).unwrap();
    let staleness = |host: &Host| Pack::of(&host.state).unwrap().unwrap().staleness(&host.clock(), FreshnessLimits::default());
    assert!(matches!(staleness(&host), Staleness::Warn { .. }));
    host.now = time("2026-12-25T00:00:00Z");
    insta::assert_snapshot!(host.refuses(&tuf, Code::Stale));
    assert!(matches!(staleness(&host), Staleness::Stale { .. }));
    // A clock that is set back does not make it young again: it came to be later than the floor says.
    host.state.raise_time(time("2026-12-25T00:00:00Z")).unwrap();
    host.now = time("2026-12-01T00:00:00Z");
    host.refuses(&tuf, Code::Stale);
    assert!(matches!(staleness(&host), Staleness::Stale { .. }));
}

#[test]
fn every_file_that_is_changed_or_gone_refuses_the_pack() {
    let tuf = full();
    let mut host = Host::new(&tuf);
    let dir = host.stick(&tuf);
    let mut files = Vec::new();
    for folder in ["metadata", "targets", "targets/keys"] {
        files.extend(std::fs::read_dir(dir.join(folder)).unwrap().map(|entry| entry.unwrap().path()).filter(|path| path.is_file()));
    }
    let mut tried = 0;
    for path in &files {
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        // The first root is the one that is trusted already, and a file that nobody uses is not read.
        if name == "1.root.json" || name.ends_with("README") {
            continue;
        }
        let good = std::fs::read(path).unwrap();
        for at in [0, good.len() / 3, good.len() / 2, good.len() - 2] {
            let mut bytes = good.clone();
            bytes[at] ^= 1;
            std::fs::write(path, bytes).unwrap();
            host.refuses_dir(&dir, Code::TrustMaterial);
            std::fs::write(path, &good[..at]).unwrap();
            host.refuses_dir(&dir, Code::TrustMaterial);
        }
        std::fs::remove_file(path).unwrap();
        assert!(matches!(host.import_dir(&dir), Err(ImportError::Read { .. })), "{name}");
        std::fs::write(path, good).unwrap();
        tried += 1;
    }
    assert_eq!(tried, 6);
    assert!(host.import_dir(&dir).unwrap().changed);
}

#[test]
fn metadata_of_other_keys_is_refused() {
    let mut tuf = full();
    let mut host = Host::new(&tuf);
    host.import(&tuf).unwrap();
    tuf.bump();
    let right = std::mem::replace(&mut tuf.online, Key::p256());
    insta::assert_snapshot!(host.refuses(&tuf, Code::TrustMaterial));
    // A root that only the new keys signed.
    tuf.online = right;
    tuf.root_keys = vec![Key::ed25519(), Key::p256()];
    tuf.root_version += 1;
    tuf.sign_root(None);
    host.refuses(&tuf, Code::TrustMaterial);
}

#[test]
fn what_the_pack_in_force_has_the_next_one_has_too() {
    for gone in ["revocations.json", "trusted_root.json"] {
        let mut tuf = full();
        let mut host = Host::new(&tuf);
        host.import(&tuf).unwrap();
        tuf.bump();
        tuf.targets.remove(gone);
        assert!(host.refuses(&tuf, Code::Rollback).contains(gone));
    }
}

#[test]
fn a_revocation_list_with_a_lower_number_or_the_same_and_other_content_is_refused_though_it_is_signed() {
    let mut tuf = full();
    let mut host = Host::new(&tuf);
    host.import(&tuf).unwrap();
    for wrong in [list(4, "2026-11-21T00:00:00Z"), list(5, "2026-11-21T00:00:00Z")] {
        tuf.bump();
        tuf.targets.insert("revocations.json".into(), wrong.into());
        host.refuses(&tuf, Code::Rollback);
    }
}

#[test]
fn one_file_that_cannot_be_used_keeps_the_whole_pack_out() {
    for (name, bytes) in [
        ("revocations.json", "{}".to_owned()),
        ("revocations.json", list(6, "2026-11-21T00:00:00Z").replace("\"reason\"", "\"note\":1,\"reason\"")),
        ("trusted_root.json", "{}".to_owned()),
        ("keys/acme.pub", "no key".to_owned()),
        ("keys/../../x.pub", "no key".to_owned()),
        ("keys/\u{1b}[2J.pub", "no key".to_owned()),
    ] {
        let mut tuf = full();
        let mut host = Host::new(&tuf);
        host.import(&tuf).unwrap();
        tuf.bump();
        tuf.targets.insert("revocations.json".into(), list(6, "2026-11-21T00:00:00Z").into());
        if name.contains("..") || name.contains('\u{1b}') {
            // Listed, and never looked for.
            let dir = host.home.path().join("stick");
            std::fs::create_dir_all(dir.join("targets/keys")).unwrap();
        }
        tuf.targets.insert(name.into(), bytes.into());
        let message = host.refuses(&tuf, Code::TrustMaterial);
        assert!(!message.contains('\u{1b}'), "{message}");
    }
    let tuf = Tuf::new().target("README", "nothing of use");
    Host::new(&tuf).refuses(&tuf, Code::TrustMaterial);
}

#[test]
fn a_list_from_the_future_is_refused_by_a_clock_that_is_right_and_sets_right_one_that_is_not() {
    let tuf = Tuf::new().target("revocations.json", list(5, "2027-03-01T00:00:00Z"));
    let mut host = Host::new(&tuf);
    insta::assert_snapshot!(host.refuses(&tuf, Code::Clock));
    // A clock that was never set.
    host.now = time("1970-01-01T00:00:00Z");
    host.import(&tuf).unwrap();
    assert_eq!(host.state.floor_time(), time("2027-03-01T00:00:00Z"));
}

#[test]
fn a_directory_that_is_no_pack_says_what_is_missing() {
    let mut host = Host::new(&Tuf::new());
    let dir = host.home.path().join("empty");
    assert!(matches!(host.import_dir(&dir), Err(ImportError::Open(_))));
    std::fs::create_dir(&dir).unwrap();
    let error = host.import_dir(&dir).unwrap_err();
    assert_eq!(error.code(), None);
    insta::assert_snapshot!(error, @"cannot read the trust pack: `transport error: timestamp.json not found`");
}

#[test]
fn the_status_says_what_is_in_force() {
    let tuf = full();
    let mut host = Host::new(&tuf);
    let own = edgeguard_attest::TrustMaterial::public_good().unwrap();
    let own = (trust::RootSource::BuiltIn, &own);
    let none = trust::status(None, own, &host.clock(), FreshnessLimits::default()).unwrap();
    assert_eq!((none.root.source, none.pack.is_none(), none.state.is_none()), (trust::RootSource::BuiltIn, true, true));
    host.import(&tuf).unwrap();
    let limits = FreshnessLimits { warn: Duration::ZERO, ..FreshnessLimits::default() };
    let status = trust::status(Some(&host.state), own, &host.clock(), limits).unwrap();
    assert_eq!(status.root.source, trust::RootSource::Pack);
    assert_eq!(status.revocations.as_ref().map(|list| list.list), Some(5));
    assert_eq!(status.freshness, Staleness::Fresh);
    let keys_only = edgeguard_attest::TrustMaterial::none();
    let nobody = trust::status(Some(&host.state), (trust::RootSource::Nobody, &keys_only), &host.clock(), limits).unwrap();
    assert_eq!(
        (nobody.root.source, nobody.root.authorities.len()),
        (trust::RootSource::Nobody, 0),
        "a pack does not bring authorities back"
    );
    assert!(serde_json::to_value(&status).unwrap()["pack"]["keys"][0]["name"] == "keys/acme.pub");
}

/// The reference implementation of TUF makes a repository, and we read it: also over a root that it rotated.
#[test]
fn a_repository_that_python_tuf_made_is_imported() {
    let python = std::env::var_os("EDGEGUARD_TEST_PYTHON").unwrap_or_else(|| "python3".into());
    let run = |arguments: &[&std::ffi::OsStr]| std::process::Command::new(&python).args(arguments).output();
    let there = run(&["-c".as_ref(), "import tuf.api.metadata, securesystemslib.signer, cryptography".as_ref()]);
    if !there.is_ok_and(|output| output.status.success()) {
        assert!(std::env::var_os("CI").is_none(), "needs `pip install tuf==6.0.0 cryptography`");
        eprintln!("skipped: needs `pip install tuf==6.0.0 cryptography` (EDGEGUARD_TEST_PYTHON names the Python)");
        return;
    }
    let home = tempfile::tempdir().unwrap();
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/support/python_tuf.py");
    let list = home.path().join("revocations.json");
    std::fs::write(&list, self::list(5, "2026-11-20T00:00:00Z")).unwrap();
    for number in ["1", "2"] {
        let made = run(&[script.as_os_str(), home.path().join("pack").as_os_str(), list.as_os_str(), number.as_ref()]).unwrap();
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    }
    let mut host = Host::new(&Tuf::new());
    for (pack, root) in [("1", 1), ("2", 2)] {
        let dir = home.path().join("pack").join(pack);
        host.first_root = std::fs::read(home.path().join("pack/1/metadata/1.root.json")).ok();
        let imported = host.import_dir(&dir).unwrap();
        assert!(imported.changed);
        assert_eq!((imported.pack.versions().root, imported.pack.revocations().unwrap().list()), (root, 5));
    }
    // The first pack's keys were rotated away.
    host.refuses_dir(&home.path().join("pack/1"), Code::TrustMaterial);
}
