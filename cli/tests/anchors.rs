//! `edgeguard audit checkpoint` and `verify --anchors` with those who vouch: a timestamp authority, played by `openssl ts`, and witnesses.
//!
//! Runs in: tests, with the real command line.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use std::fs;
use std::path::Path;
use std::path::PathBuf;
use std::process::Command;
use std::process::Output;

use edgeguard_audit::Event;
use edgeguard_audit::Journal;
use edgeguard_audit::Keys;
use edgeguard_audit::Options;
use tempfile::TempDir;

/// A sealed journal, and a folder for files.
struct Place(TempDir);

impl Place {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let place = Self(dir);
        place.write(3);
        place
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// Opens the journal, writes so many events, and closes it.
    fn write(&self, events: u32) {
        let keys = Keys::load(&self.path("keys"), None).unwrap();
        let (mut journal, _) = Journal::open_with(&self.path("audit"), "gateway-7", Options::sealed(keys)).unwrap();
        for n in 0..events {
            journal.event(&Event::DaemonStarted { version: "0.1.0".into(), pid: n }).unwrap();
        }
        journal.close().unwrap();
    }

    fn audit(&self, args: &[&str]) -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_edgeguard"));
        command.current_dir(self.0.path()).arg("audit").args(args).args(["--dir", "audit"]).output().unwrap()
    }

    /// What it prints goes into a file.
    #[track_caller]
    fn keep(&self, file: &str, args: &[&str]) {
        let output = self.audit(args);
        assert!(output.status.success(), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
        fs::write(self.path(file), output.stdout).unwrap();
    }

    fn code(&self, args: &[&str]) -> Option<i32> {
        self.audit(args).status.code()
    }
}

fn openssl(dir: &Path, words: &str) {
    let output = Command::new("openssl").current_dir(dir).args(words.split_whitespace()).output().unwrap();
    assert!(output.status.success(), "openssl {words}: {}", String::from_utf8_lossy(&output.stderr));
}

/// A timestamp authority of this name: `NAME.pem` holds its certificate and its root's.
fn authority(dir: &Path, name: &str) {
    let key = "-newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes";
    openssl(dir, &format!("req -x509 {key} -keyout {name}-ca.key -out {name}-ca.pem -subj /CN={name}-root -days 30"));
    openssl(dir, &format!("req {key} -keyout {name}.key -out {name}.csr -subj /CN={name}"));
    fs::write(dir.join("extensions"), "extendedKeyUsage=critical,timeStamping\nkeyUsage=critical,digitalSignature\n").unwrap();
    let signer = format!("-CA {name}-ca.pem -CAkey {name}-ca.key -CAcreateserial -out {name}-own.pem -days 30 -extfile extensions");
    openssl(dir, &format!("x509 -req -in {name}.csr {signer}"));
    let chain = [format!("{name}-own.pem"), format!("{name}-ca.pem")].map(|file| fs::read_to_string(dir.join(file)).unwrap());
    fs::write(dir.join(format!("{name}.pem")), chain.concat()).unwrap();
    let config = format!(
        "[tsa]\ndefault_tsa=own\n[own]\nserial={name}.serial\nsigner_digest=sha256\ndefault_policy=1.2.3.4.1\ndigests=sha256\ness_cert_id_alg=sha256\n"
    );
    fs::write(dir.join(format!("{name}.cnf")), config).unwrap();
}

fn answer(dir: &Path, name: &str, question: &str, answer: &str) {
    openssl(dir, &format!("ts -reply -config {name}.cnf -queryfile {question} -signer {name}-own.pem -inkey {name}.key -out {answer}"));
}

/// Whether there is an `openssl`; says so if not, and fails where nothing may be missing.
fn has_openssl() -> bool {
    let there = Command::new("openssl").arg("version").output().is_ok_and(|output| output.status.success());
    if !there {
        assert!(std::env::var_os("CI").is_none(), "`openssl` is needed");
        eprintln!("skipped: needs `openssl`");
    }
    there
}

#[test]
fn what_an_authority_has_stamped_is_anchored_and_says_since_when() {
    if !has_openssl() {
        return;
    }
    let place = Place::new();
    let dir = place.0.path();
    authority(dir, "tsa");
    place.keep("gw.note", &["checkpoint", "--rfc3161-request", "gw.tsq"]);
    answer(dir, "tsa", "gw.tsq", "gw.tsr");
    place.keep("gw.anchor", &["checkpoint", "--rfc3161-answer", "gw.tsr", "--of", "gw.note", "--tsa", "tsa.pem"]);
    place.write(2);
    let verify = ["verify", "--anchors", "gw.anchor", "--tsa", "tsa.pem"];
    let output = place.audit(&verify);
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success() && text.starts_with("ok: ") && text.contains("frames existed at 20"), "{text}");
    let json = place.audit(&[&verify[..], &["--json"]].concat());
    let json: serde_json::Value = serde_json::from_slice(&json.stdout).unwrap();
    let now = edgeguard_attest::Time::from(std::time::SystemTime::now());
    let time: edgeguard_attest::Time = json["stamps"][0]["time"].as_str().unwrap().parse().unwrap();
    assert!(now.since(time).as_secs() < 300 && time <= now, "{json}");
    assert_eq!((&json["stamps"][0]["frames"], &json["assurance"]), (&json["anchored"], &"anchored".into()), "{json}");
    // The note stays one that every reader of notes reads.
    assert_eq!(place.code(&["verify", "--anchors", "gw.anchor"]), Some(0));
    // A question is not written over another's.
    assert_eq!(place.code(&["checkpoint", "--rfc3161-request", "gw.tsq"]), Some(2));
}

#[test]
fn a_stamp_of_somebody_else_or_of_something_else_anchors_nothing() {
    if !has_openssl() {
        return;
    }
    let place = Place::new();
    let dir = place.0.path();
    authority(dir, "tsa");
    authority(dir, "other");
    place.keep("first.note", &["checkpoint", "--rfc3161-request", "first.tsq"]);
    answer(dir, "other", "first.tsq", "other.tsr");
    answer(dir, "tsa", "first.tsq", "first.tsr");
    place.write(2);
    place.keep("second.note", &["checkpoint"]);
    // An answer of nobody who is trusted, and one that is over an older checkpoint, are not taken with `--tsa`, and prove nothing without.
    for (tsr, note) in [("other.tsr", "first.note"), ("first.tsr", "second.note")] {
        assert_eq!(place.code(&["checkpoint", "--rfc3161-answer", tsr, "--of", note, "--tsa", "tsa.pem"]), Some(2), "{tsr}");
        place.keep("bad.anchor", &["checkpoint", "--rfc3161-answer", tsr, "--of", note]);
        let output = place.audit(&["verify", "--anchors", "bad.anchor", "--tsa", "tsa.pem"]);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(10), "{tsr}: {said}");
        assert!(said.contains("anchors nothing: the timestamp does not verify"), "{said}");
    }
    // A changed byte of the answer, and none at all.
    let mut bytes = fs::read(place.path("first.tsr")).unwrap();
    let last = bytes.len() - 1;
    bytes[last] ^= 1;
    fs::write(place.path("changed.tsr"), bytes).unwrap();
    place.keep("bad.anchor", &["checkpoint", "--rfc3161-answer", "changed.tsr", "--of", "first.note"]);
    assert_eq!(place.code(&["verify", "--anchors", "bad.anchor", "--tsa", "tsa.pem"]), Some(10));
    assert_eq!(place.code(&["verify", "--anchors", "first.note", "--tsa", "tsa.pem"]), Some(10));
    // Not stamped, but of another history: that is tampering still.
    let foreign = Place::new();
    foreign.keep("foreign.note", &["checkpoint"]);
    fs::copy(foreign.path("foreign.note"), place.path("foreign.note")).unwrap();
    assert_eq!(place.code(&["verify", "--anchors", "foreign.note", "--tsa", "tsa.pem"]), Some(7));
    // One certificate is no authority.
    assert_eq!(place.code(&["verify", "--anchors", "first.note", "--tsa", "tsa-own.pem"]), Some(2));
}

#[test]
fn witnesses_are_counted_and_cannot_be_more_than_are_given() {
    let place = Place::new();
    place.keep("gw.note", &["checkpoint"]);
    // Somebody who has signed nothing here.
    let key = edgeguard_audit::VerifierKey::new("w.example", [7; 32]).unwrap().to_string();
    let anchors = ["verify", "--anchors", "gw.note"];
    assert_eq!(place.code(&anchors), Some(0), "what was kept elsewhere anchors by itself where no witness is asked for");
    assert_eq!(place.code(&[&anchors[..], &["--witness", &key]].concat()), Some(10));
    assert_eq!(place.code(&[&anchors[..], &["--witness", &key, "--witnesses", "2"]].concat()), Some(2));
    assert_eq!(place.code(&[&anchors[..], &["--witness", &key, "--witness", &key, "--witnesses", "2"]].concat()), Some(2));
    assert_eq!(place.code(&[&anchors[..], &["--witness", &key, "--witnesses", "0"]].concat()), Some(2));
}

/// What a receiver got: a line of another program, the exporter's entries, and a checkpoint of another gateway.
fn received(checkpoints: &[&str]) -> String {
    let line = |note: &str| {
        let note = edgeguard_audit::Note::parse(note).unwrap();
        let checkpoint = edgeguard_audit::Checkpoint::parse(note.text()).unwrap();
        let ocsf = edgeguard_audit::Ocsf { origin: checkpoint.origin.clone(), boot_id: String::new() };
        edgeguard_audit::encode::Encoder::new(ocsf, Default::default()).checkpoint(&checkpoint, &note).unwrap().line
    };
    let lines: String = checkpoints.iter().map(|note| format!("Nov 23 04:00:00 gateway-7 edgeguard: {}\n", line(note))).collect();
    let foreign = line(&checkpoints[0].replace("gateway-7", "gateway-8"));
    format!(
        "Nov 23 04:00:00 gateway-7 cron: a line of no JSON\nNov 23 04:00:00 gateway-7 sshd: {{no json\n{foreign}\n{lines}{}",
        &lines[..lines.len() - 20]
    )
}

#[test]
fn a_receivers_copy_anchors_what_it_has_and_tells_of_every_history_in_it() {
    let place = Place::new();
    place.keep("gw.key", &["checkpoint", "--key"]);
    place.keep("first.note", &["checkpoint"]);
    // Whoever puts back the journal puts back its keys too, or it would be called damaged.
    let copy =
        |from: &str, to: &str| assert!(Command::new("cp").args(["-r", from, to]).current_dir(place.0.path()).status().unwrap().success());
    let note = |name: &str| fs::read_to_string(place.path(name)).unwrap();
    copy("audit", "before");
    copy("keys", "keys-before");
    place.write(2);
    place.keep("second.note", &["checkpoint"]);
    fs::write(place.path("received"), received(&[&note("first.note"), &note("second.note")])).unwrap();
    let output = place.audit(&["verify", "--anchors", "received", "--key", "gw.key", "--json"]);
    let json: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let frames = note("second.note").lines().nth(1).unwrap().parse::<u64>().unwrap();
    assert_eq!((output.status.code(), &json["anchored"]), (Some(0), &frames.into()), "{json}");
    assert!(String::from_utf8_lossy(&output.stderr).contains("1 lines call themselves checkpoints and cannot be read"));
    // The journal goes back to what it was, and on from there to more than there was: its last checkpoint is at the receiver too.
    fs::remove_dir_all(place.path("audit")).unwrap();
    fs::rename(place.path("before"), place.path("audit")).unwrap();
    fs::remove_dir_all(place.path("keys")).unwrap();
    fs::rename(place.path("keys-before"), place.path("keys")).unwrap();
    assert_eq!(place.code(&["verify", "--key", "gw.key"]), Some(0), "by itself it is whole");
    assert_eq!(place.code(&["verify", "--anchors", "received", "--key", "gw.key"]), Some(7));
    place.write(40);
    place.keep("third.note", &["checkpoint"]);
    fs::write(place.path("received"), received(&[&note("first.note"), &note("second.note"), &note("third.note")])).unwrap();
    assert_eq!(place.code(&["verify", "--anchors", "received", "--key", "gw.key"]), Some(7));
    assert_eq!(place.code(&["verify", "--anchors", "third.note", "--key", "gw.key"]), Some(0));
}

#[test]
fn a_receivers_copy_without_a_checkpoint_of_this_journal_is_no_anchor() {
    let place = Place::new();
    place.keep("gw.note", &["checkpoint"]);
    let note = fs::read_to_string(place.path("gw.note")).unwrap();
    fs::write(place.path("received"), received(&[&note.replace("gateway-7", "gateway-9")])).unwrap();
    let output = place.audit(&["verify", "--anchors", "received"]);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(2), "{said}");
    assert!(said.contains("expected checkpoints of `gateway-7` among the lines, found those of `gateway-9`"), "{said}");
    // One that somebody else made up: with the key it is passed over, without the key it is told.
    let made_up = note
        .replacen("\n\n", "\n\n\u{2014} x AAAAAAAAAAAA\n", 1)
        .lines()
        .take(5)
        .fold(String::new(), |text, line| format!("{text}{line}\n"));
    fs::write(place.path("received"), received(&[&made_up])).unwrap();
    place.keep("gw.key", &["checkpoint", "--key"]);
    assert_eq!(place.code(&["verify", "--anchors", "received", "--key", "gw.key"]), Some(2));
    assert_eq!(place.code(&["verify", "--anchors", "received"]), Some(7));
}
