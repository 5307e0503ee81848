//! `edgeguard trust`, as an operator meets it: packs on a stick, what is refused, what is said.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod common;
#[path = "../../attest/tests/support/tuf.rs"]
mod tuf;

use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::path::PathBuf;

use common::Ran;
use common::edgeguard;
use tempfile::TempDir;
use tuf::Tuf;

const VENDOR: &str = "-----BEGIN PUBLIC KEY-----\nMCowBQYDK2VwAyEA11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=\n-----END PUBLIC KEY-----\n";

fn list(number: u64) -> String {
    format!(
        r#"{{"version":1,"list":{number},"issued":"2026-11-22T00:00:00Z","expires":"2099-01-01T00:00:00Z","revoked":[
            {{"module":"voice-gate","belowVersion":9,"reason":"reads past its input\u001b[2J","stop":true}},
            {{"identity":"https://ci.example/acme/*@refs/heads/main","issuer":"https://issuer.example","since":"2026-11-01T00:00:00Z","reason":"branch was open to all"}}]}}"#
    )
}

/// A gateway without a configuration of its own, and a stick.
struct Gateway {
    home: TempDir,
    tuf: Tuf,
}

impl Gateway {
    fn new() -> Self {
        let home = tempfile::tempdir().unwrap();
        std::fs::create_dir(home.path().join("state")).unwrap();
        let tuf = Tuf::new().target("revocations.json", list(5)).target("keys/acme.pub", VENDOR);
        let gateway = Self { home, tuf };
        std::fs::write(gateway.path("root.json"), gateway.tuf.root()).unwrap();
        gateway.plug_in();
        gateway
    }

    fn path(&self, name: &str) -> PathBuf {
        self.home.path().join(name)
    }

    fn plug_in(&self) {
        std::fs::remove_dir_all(self.path("usb")).ok();
        self.tuf.write(&self.path("usb"));
    }

    fn trust(&self, arguments: &[&str]) -> Ran {
        let mut all = vec!["trust"];
        all.extend(arguments);
        all.extend(["--config", "edgeguard.toml", "--state", "state"]);
        edgeguard(self.home.path(), &all)
    }
}

/// What differs from day to day and from key to key, made alike.
fn alike(text: &str) -> String {
    let mut out = String::new();
    for line in text.lines() {
        let line = match line.split_once("imported ") {
            Some((before, _)) => format!("{before}imported TIME"),
            None if line.starts_with("clock") => "clock         TIME, steady".into(),
            None => line.to_owned(),
        };
        let line = match line.rsplit_once(" (in ") {
            Some((before, _)) => format!("{before} (in N d)"),
            None => line,
        };
        out.push_str(&line);
        out.push('\n');
    }
    out
}

#[test]
fn a_pack_is_imported_and_the_status_says_what_is_in_force() {
    let gateway = Gateway::new();
    insta::assert_snapshot!("status_before", without_authorities(&gateway.trust(&["status"]).done().out));
    insta::assert_snapshot!("import_first", alike(&gateway.trust(&["import", "usb", "--tuf-root", "root.json"]).done().out));
    insta::assert_snapshot!("status_after", without_authorities(&gateway.trust(&["status"]).done().out));
    assert!(gateway.trust(&["import", "usb"]).done().out.starts_with("unchanged"));
    let json: serde_json::Value = serde_json::from_str(&gateway.trust(&["status", "--json"]).done().out).unwrap();
    assert_eq!(
        (&json["revocations"]["list"], &json["freshness"]["state"], &json["state"]["counter"]),
        (&5.into(), &"fresh".into(), &"none".into())
    );
}

fn without_authorities(text: &str) -> String {
    let own = |line: &&str| {
        !["fulcio", "rekor", "ct ", "tsa"].iter().any(|kind| line.trim_start().starts_with(kind))
            && !line.starts_with("              sha256:")
    };
    alike(&text.lines().filter(own).collect::<Vec<_>>().join("\n"))
}

#[test]
fn what_is_refused_is_said_in_one_line_and_ends_with_code_3() {
    let mut gateway = Gateway::new();
    gateway.trust(&["import", "usb", "--tuf-root", "root.json"]).done();
    std::fs::rename(gateway.path("usb"), gateway.path("old")).unwrap();
    gateway.tuf.bump();
    gateway.tuf.targets.insert("revocations.json".into(), list(6).into());
    gateway.plug_in();
    gateway.trust(&["import", "usb"]).done();

    let old = gateway.trust(&["import", "old"]);
    assert_eq!((old.code, old.out.as_str()), (3, ""));
    insta::assert_snapshot!("refused_old", old.err);

    gateway.tuf.bump();
    // Its list of files names another key than the one that lies there.
    gateway.tuf.targets.insert("keys/acme.pub".into(), VENDOR.replace('\n', "\r\n").into());
    gateway.plug_in();
    for entry in std::fs::read_dir(gateway.path("usb/targets/keys")).unwrap() {
        std::fs::write(entry.unwrap().path(), VENDOR).unwrap();
    }
    let changed = gateway.trust(&["import", "usb"]);
    assert_eq!(changed.code, 3);
    insta::assert_snapshot!("refused_changed", changed.err);
    assert!(gateway.trust(&["status"]).done().out.contains("list 6 of"), "what was in force still is");
}

#[test]
fn what_is_not_there_is_usage() {
    let gateway = Gateway::new();
    let no_root = gateway.trust(&["import", "usb"]);
    assert_eq!(no_root.code, 2);
    insta::assert_snapshot!(no_root.err, @"error: no trust pack was imported before, so the first root is needed: pass `--tuf-root FILE` with a root that came another way than the pack");
    let no_stick = gateway.trust(&["import", "elsewhere", "--tuf-root", "root.json"]);
    assert_eq!(no_stick.code, 2);
    insta::assert_snapshot!(no_stick.err, @"error: cannot open the trust pack: No such file or directory (os error 2)");
    std::fs::write(gateway.path("edgeguard.toml"), "version = 1\n[trust]\nwarm = \"7 d\"\n").unwrap();
    assert_eq!(gateway.trust(&["status"]).code, 2);
}

#[test]
fn a_damaged_state_is_refused_until_it_is_reset_on_the_operators_word() {
    let gateway = Gateway::new();
    gateway.trust(&["import", "usb", "--tuf-root", "root.json"]).done();
    let floors = gateway.path("state/trust/floors");
    let text = std::fs::read_to_string(&floors).unwrap();
    std::fs::write(&floors, text.replace("\"revocationList\":5", "\"revocationList\":1")).unwrap();
    for command in [&["status"][..], &["import", "usb"]] {
        let refused = gateway.trust(command);
        assert_eq!(refused.code, 3, "{}", refused.err);
        assert!(refused.err.contains("EG5005") && refused.err.contains("MAC does not verify"), "{}", refused.err);
    }
    assert_eq!(gateway.trust(&["reset"]).code, 2, "not without the word");
    let reset = gateway.trust(&["reset", "--i-understand-that-old-releases-count-again"]).done();
    assert!(reset.out.contains("trust.old-1"), "{}", reset.out);
    assert_eq!(gateway.trust(&["import", "usb"]).code, 2, "the first root is needed again");
    gateway.trust(&["import", "usb", "--tuf-root", "root.json"]).done();
}

#[test]
fn a_host_that_asks_for_a_counter_does_not_get_a_state_without_one() {
    let gateway = Gateway::new();
    std::fs::write(gateway.path("edgeguard.toml"), "version = 1\n[trust]\ncounter = \"tpm\"\n").unwrap();
    let refused = gateway.trust(&["import", "usb", "--tuf-root", "root.json"]);
    assert_ne!(refused.code, 0);
    assert!(refused.err.contains("TPM"), "{}", refused.err);
    assert!(!gateway.path("state/trust").exists());
}

#[test]
fn what_root_imports_belongs_to_the_services_user() {
    if !rustix::process::geteuid().is_root() {
        eprintln!("skipped: needs root, to give files away");
        return;
    }
    let gateway = Gateway::new();
    std::os::unix::fs::chown(gateway.path("state"), Some(1234), Some(2345)).unwrap();
    gateway.trust(&["import", "usb", "--tuf-root", "root.json"]).done();
    let owner = |path: &Path| std::fs::metadata(path).map(|found| (found.uid(), found.gid())).unwrap();
    let mut seen = 0;
    for entry in std::fs::read_dir(gateway.path("state/trust")).unwrap() {
        let path = entry.unwrap().path();
        assert_eq!(owner(&path), (1234, 2345), "{}", path.display());
        seen += 1;
    }
    assert_eq!((seen, owner(&gateway.path("state/trust"))), (4, (1234, 2345)));
}

/// The operator's page, as it stands: its script makes a pack of its list, and the gateway takes it.
#[test]
fn what_the_operators_page_says_makes_a_pack() {
    let python = std::env::var_os("EDGEGUARD_TEST_PYTHON").unwrap_or_else(|| "python3".into());
    let there = std::process::Command::new(&python).args(["-c", "import tuf.api.metadata, securesystemslib.signer, cryptography"]).output();
    if !there.is_ok_and(|output| output.status.success()) {
        assert!(std::env::var_os("CI").is_none(), "needs `pip install tuf==6.0.0 cryptography`");
        eprintln!("skipped: needs `pip install tuf==6.0.0 cryptography` (EDGEGUARD_TEST_PYTHON names the Python)");
        return;
    }
    let page = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/trust.md")).unwrap();
    let block = |fence: &str| page.split_once(fence).unwrap().1.split_once("```").unwrap().0.to_owned();
    let gateway = Gateway::new();
    std::fs::create_dir(gateway.path("files")).unwrap();
    std::fs::write(gateway.path("make-pack.py"), block("```python\n")).unwrap();
    for number in ["6", "7"] {
        let list = block("```json\n").replace("\"list\": 6", &format!("\"list\": {number}"));
        std::fs::write(gateway.path("files/revocations.json"), list).unwrap();
        let made =
            std::process::Command::new(&python).args(["make-pack.py", "pack", "files"]).current_dir(gateway.home.path()).output().unwrap();
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        let imported = gateway.trust(&["import", "pack", "--tuf-root", "pack/metadata/1.root.json"]).done();
        assert!(imported.out.contains(&format!("list {number} of 2026-11-22T00:00:00Z, 4 entries")), "{}", imported.out);
    }
}
