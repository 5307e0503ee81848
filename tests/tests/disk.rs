//! The journal's disk: what happens while it fills up, and what a copy of it taken in mid-work is worth.
//!
//! Runs in: tests, with the real daemon, on file systems of its own (tmpfs, ext4 on a loop device); only root can mount them.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]
#![forbid(unsafe_code)]

use std::fs;
use std::fs::File;
use std::path::Path;
use std::path::PathBuf;
use std::process::Command;
use std::process::Stdio;
use std::time::Duration;

use edgeguard_tests::guest::assemble;
use edgeguard_tests::house::House;
use edgeguard_tests::house::Plan;
use edgeguard_tests::house::skip;
use edgeguard_tests::policy::Policy;
use rustix::process::Pid;
use rustix::process::Signal;
use serde_json::Value;

/// A file system, mounted for one test.
struct Disk(tempfile::TempDir);

impl Disk {
    fn tmpfs(size: &str) -> Option<Self> {
        Self::mount(&["-t", "tmpfs", "-o", &format!("size={size},mode=0700"), "tmpfs"])
    }

    fn image(image: &Path) -> Option<Self> {
        Self::mount(&["-t", "ext4", "-o", "loop", image.to_str().unwrap()])
    }

    fn mount(args: &[&str]) -> Option<Self> {
        let dir = tempfile::tempdir().unwrap();
        let mounted = Command::new("mount").args(args).arg(dir.path()).stderr(Stdio::null()).status();
        mounted.is_ok_and(|status| status.success()).then_some(Self(dir))
    }

    fn path(&self) -> &Path {
        self.0.path()
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("--lazy").arg(self.path()).status();
    }
}

/// So many calls, whose sizes differ without end and hardly compress.
fn noisy(calls: u32) -> Vec<u8> {
    assemble(&format!(
        r#"(module (import "wasi_snapshot_preview1" "random_get" (func $random_get (param i32 i32) (result i32)))
        (memory (export "memory") 1)
        (func (export "_start") (local $left i32) (local $noise i32)
          (local.set $left (i32.const {calls})) (local.set $noise (i32.const 7))
          (loop $again
            (local.set $noise (i32.add (i32.mul (local.get $noise) (i32.const 1664525)) (i32.const 1013904223)))
            (drop (call $random_get (i32.const 8192) (i32.shr_u (local.get $noise) (i32.const 22))))
            (local.set $left (i32.sub (local.get $left) (i32.const 1)))
            (br_if $again (local.get $left)))))"#
    ))
}

const CALLS: u32 = 300_000;

fn house(disk: &Path, on_full: &str) -> House {
    let house = House::with(Plan { state: Some(disk.to_owned()), ..Plan::default() });
    house.host_adds(&format!("[audit]\non-full = \"{on_full}\"\n"));
    house.install(&Policy::new("noisy").with(|policy| policy.deadline = "30 s".into()), &noisy(CALLS));
    house
}

/// The events of a kind. Searched for: of the calls around them there are millions.
fn events(house: &House, kind: &str) -> usize {
    let out = house.cli(&["audit", "search", "--json", "event", "--dir"]).arg(house.state().join("audit")).output().unwrap();
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    String::from_utf8_lossy(&out.stdout).lines().filter(|line| line.contains(&format!("\"{kind}\""))).count()
}

/// An invocation whose calls are all in the journal; how many.
fn ran(house: &House) -> u64 {
    let invoked = house.invoke("noisy");
    assert_eq!(invoked.code, Some(0), "{invoked:?}");
    let records = &invoked.ending["records"];
    assert_eq!(records["produced"], records["recorded"]);
    records["recorded"].as_u64().unwrap()
}

fn segments(disk: &Path, tier: &str) -> usize {
    fs::read_dir(disk.join("audit").join(tier)).unwrap().count()
}

/// Whole, by the tools and by the second verifier; and every call counted.
fn whole(house: &House, calls: u64) -> Value {
    let (code, found) = house.verify();
    assert_eq!((code, found["counted"].as_u64()), (Some(0), Some(calls)), "{found}");
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/independent/verify_journal.py");
    let key = found["identity"].as_str().unwrap();
    let said = Command::new("python3").arg(script).arg(house.state().join("audit")).arg(key).output().unwrap();
    let said = String::from_utf8_lossy(&said.stdout).into_owned();
    assert!(said.starts_with("ok "), "{said}");
    found
}

#[test]
fn on_a_disk_that_fills_up_the_oldest_calls_go_and_every_one_stays_counted() {
    let Some(disk) = Disk::tmpfs("36m") else { return skip("only root can mount a small disk") };
    let mut house = house(disk.path(), "refuse");
    house.start();
    let mut calls = 0;
    while events(&house, "journal-room-made") == 0 {
        calls += ran(&house);
        assert!(calls < 100 * u64::from(CALLS), "a disk without end");
    }
    // It goes on like this.
    calls += ran(&house) + ran(&house);
    assert!(segments(disk.path(), "d") > 1);
    house.stop();
    let found = whole(&house, calls);
    assert!(found["retired"].as_u64().unwrap() > 0, "{found}");
}

#[test]
fn with_summarize_calls_are_only_counted_on_a_full_disk_and_written_again_when_there_is_room() {
    let Some(disk) = Disk::tmpfs("36m") else { return skip("only root can mount a small disk") };
    let mut house = house(disk.path(), "summarize");
    house.start();
    let mut calls = ran(&house);
    let ballast = disk.path().join("ballast");
    // The kernel writes what fits, and says that the rest does not.
    fs::write(&ballast, vec![0xa5; 48 << 20]).unwrap_err();
    while events(&house, "calls-only-counted") == 0 {
        calls += ran(&house);
        assert!(calls < 100 * u64::from(CALLS), "a disk without end");
    }
    calls += ran(&house);
    assert!(house.is_up());
    fs::remove_file(&ballast).unwrap();
    while events(&house, "calls-kept-again") == 0 {
        std::thread::sleep(Duration::from_secs(1));
        calls += ran(&house);
        assert!(calls < 200 * u64::from(CALLS), "there is room, and calls are still only counted");
    }
    let again = ran(&house);
    calls += again;
    house.stop();
    let found = whole(&house, calls);
    assert!(found["records"].as_u64().unwrap() >= again, "written one by one: {found}");
}

/// A formatted image of this size.
fn ext4(dir: &Path, mib: u64) -> Option<PathBuf> {
    let image = dir.join("disk.img");
    File::create(&image).unwrap().set_len(mib << 20).unwrap();
    let made = Command::new("mkfs.ext4").args(["-q", "-F"]).arg(&image).stderr(Stdio::null()).status();
    made.is_ok_and(|status| status.success()).then_some(image)
}

/// What the disk holds at this moment, as a power failure would leave it: nobody writes meanwhile, and nothing is synced for it.
fn copy(house: &House, image: &Path, to: &Path) {
    let daemon = Pid::from_raw(house.pid().try_into().unwrap()).unwrap();
    rustix::process::kill_process(daemon, Signal::STOP).unwrap();
    fs::copy(image, to).unwrap();
    rustix::process::kill_process(daemon, Signal::CONT).unwrap();
}

#[test]
fn a_copy_of_the_disk_taken_in_mid_work_opens_says_what_is_missing_and_is_whole() {
    let folder = tempfile::tempdir().unwrap();
    let Some(image) = ext4(folder.path(), 96) else { return skip("no `mkfs.ext4`") };
    let Some(disk) = Disk::image(&image) else { return skip("only root can mount a loop device") };
    let mut original = house(disk.path(), "refuse");
    original.start();
    for round in 0..4u64 {
        // A short run that is over and answered, so that its grants are on the disk; then a longer one that is cut.
        let mut cut = original.cli(&["invoke", "noisy"]).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        std::thread::sleep(Duration::from_millis(150 + 170 * round));
        let acknowledged = events(&original, "grants-given");
        let copied = folder.path().join(format!("copy-{round}.img"));
        copy(&original, &image, &copied);
        assert!(cut.wait().unwrap().success());

        let other = Disk::image(&copied).unwrap();
        let (code, found) = {
            let mut house = house(other.path(), "refuse");
            house.start();
            house.run("noisy");
            assert!(house.stop().success());
            assert!(events(&house, "grants-given") > acknowledged, "what was acknowledged is there");
            house.verify()
        };
        assert_eq!(code, Some(0), "round {round}: {found}");
        assert_eq!(found["unclean_opens"].as_u64(), Some(1), "{found}");
        fs::remove_file(copied).unwrap();
    }
    assert!(original.stop().success());
    assert_eq!(original.verify().0, Some(0));
}

#[test]
fn a_disk_that_was_rolled_back_with_its_keys_is_whole_alone_and_tampered_with_by_what_was_kept_elsewhere() {
    let folder = tempfile::tempdir().unwrap();
    let Some(image) = ext4(folder.path(), 96) else { return skip("no `mkfs.ext4`") };
    let Some(disk) = Disk::image(&image) else { return skip("only root can mount a loop device") };
    let mut original = house(disk.path(), "refuse");
    original.start();
    ran(&original);
    original.stop();
    assert!(Command::new("sync").arg("-f").arg(disk.path()).status().unwrap().success());
    let copied = folder.path().join("old.img");
    fs::copy(&image, &copied).unwrap();
    original.start();
    ran(&original);
    original.stop();
    let kept = folder.path().join("kept.note");
    let note = original.cli(&["audit", "checkpoint", "--dir"]).arg(disk.path().join("audit")).output().unwrap();
    fs::write(&kept, note.stdout).unwrap();

    let old = Disk::image(&copied).unwrap();
    let mut back = house(old.path(), "refuse");
    back.start();
    ran(&back);
    back.stop();
    assert_eq!(back.verify().0, Some(0), "nothing on this disk says that there was another future");
    let held =
        back.cli(&["audit", "verify", "--json", "--anchors"]).arg(&kept).arg("--dir").arg(old.path().join("audit")).output().unwrap();
    assert_eq!(held.status.code(), Some(7), "{}", String::from_utf8_lossy(&held.stdout));
}
