//! The journal's account: as many records as there were calls, whoever dies in between, and no new work without one.
//!
//! Runs in: tests, with the real daemon.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]
#![forbid(unsafe_code)]

use std::fs;
use std::path::Path;
use std::process::Command;
use std::process::Stdio;

use edgeguard_tests::guest;
use edgeguard_tests::guest::guest;
use edgeguard_tests::house::House;
use edgeguard_tests::house::Plan;
use edgeguard_tests::house::skip;
use edgeguard_tests::house::until;
use edgeguard_tests::policy::Policy;
use rustix::process::Pid;
use rustix::process::Signal;

/// Calls `sched_yield` this often.
fn yields(times: u32) -> Vec<u8> {
    guest(&format!(
        r#"(func (export "_start") (local $left i32) (local.set $left (i32.const {times}))
          (loop $again
            (drop (call $sched_yield))
            (local.set $left (i32.sub (local.get $left) (i32.const 1)))
            (br_if $again (local.get $left))))"#
    ))
}

/// Without end.
fn yields_for_ever() -> Vec<u8> {
    guest(r#"(func (export "_start") (loop $again (drop (call $sched_yield)) (br $again)))"#)
}

#[track_caller]
fn verifies(house: &House) {
    let (code, found) = house.verify();
    assert_eq!((code, found["verdict"].as_str()), (Some(0), Some("ok")), "{found}");
}

#[test]
fn as_many_calls_as_were_made_are_recorded_with_one_to_eight_instances_at_once() {
    const CALLS: u32 = 3000;
    for instances in [1, 2, 8] {
        let mut house = House::new();
        house.install(&Policy::new("yields").with(|policy| policy.instances = instances), &yields(CALLS));
        house.start();
        std::thread::scope(|scope| {
            for _ in 0..instances {
                scope.spawn(|| {
                    for _ in 0..5 {
                        let invoked = house.invoke("yields");
                        let records = &invoked.ending["records"];
                        assert_eq!(
                            (records["produced"].as_u64(), records["recorded"].as_u64()),
                            (Some(CALLS.into()), Some(CALLS.into())),
                            "{invoked:?}"
                        );
                    }
                });
            }
        });
        verifies(&house);
        assert!(house.stop().success());
        assert_eq!(house.calls("sched_yield").len(), 5 * instances as usize * CALLS as usize);
        let ended = house.events("invocation-ended");
        assert_eq!(ended.len(), 5 * instances as usize);
        assert!(ended.iter().all(|event| event["records_produced"] == CALLS && event["records_recorded"] == CALLS), "{ended:?}");
        verifies(&house);
    }
}

#[test]
fn a_worker_that_is_killed_in_a_burst_leaves_whole_records_and_the_next_one_works() {
    let mut house = House::new();
    house.install(&Policy::new("burst"), &yields_for_ever());
    house.install(&Policy::new("neighbour"), &guest::empty());
    house.start();
    for _ in 0..2 {
        let process = house.cli(&["invoke", "burst"]).stderr(Stdio::piped()).spawn().unwrap();
        let worker = until("a worker", || house.module_status("burst")["worker"]["process"]["pid"].as_u64());
        let recorded = || house.status()["journal"]["stats"]["records"].as_u64().unwrap();
        let before = recorded();
        until("records of it", || (recorded() > before).then_some(()));
        rustix::process::kill_process(Pid::from_raw(worker.try_into().unwrap()).unwrap(), Signal::KILL).unwrap();
        let output = process.wait_with_output().unwrap();
        assert_eq!(output.status.code(), Some(5), "{}", String::from_utf8_lossy(&output.stderr));
        assert!(String::from_utf8_lossy(&output.stderr).contains("signal 9"));
        house.run("neighbour");
    }
    let killed: Vec<_> =
        house.events("process-exited").into_iter().filter(|event| event["subject"] == "burst" && event["role"] == "worker").collect();
    assert_eq!(killed.len(), 2, "{killed:?}");
    assert!(killed.iter().all(|event| event["signal"] == 9));
    assert!(house.events("ring-corrupt").is_empty());
    assert!(house.stop().success());
    verifies(&house);
}

#[test]
fn a_call_is_told_with_its_path_handle_and_errno() {
    let mut house = House::new();
    let dir = house.dir("data");
    fs::write(dir.join("file"), "0123456789").unwrap();
    let body = r#"(data (i32.const 1024) "file") (data (i32.const 1040) "none\1b[31m")
        (func (export "_start")
          (drop (call $open (i32.const 3) (i32.const 1024) (i32.const 4) (i32.const 0) (i64.const 2)))
          (i32.store (i32.const 0) (i32.const 4096)) (i32.store (i32.const 4) (i32.const 100))
          (drop (call $fd_read (i32.load (i32.const 96)) (i32.const 0) (i32.const 1) (i32.const 8)))
          (drop (call $open (i32.const 3) (i32.const 1040) (i32.const 9) (i32.const 0) (i64.const 2))))"#;
    house.install(&Policy::new("reads").read("/data", &dir), &guest(body));
    house.start();
    house.run("reads");
    assert!(house.stop().success());
    let opens = house.calls("path_open");
    assert_eq!((opens[0]["text"].as_str(), opens[0]["outcome"].as_str(), opens[0]["rule"].as_u64()), (Some("file"), Some("ok"), Some(1)));
    assert_eq!((opens[1]["outcome"].as_str(), opens[1]["errno"].as_u64()), (Some("error"), Some(44)));
    let read = &house.calls("fd_read")[0];
    assert_eq!((&read["handle"], read["out"].as_u64()), (&opens[0]["handle"], Some(10)));
    assert!(read["module_sha256"] == opens[0]["module_sha256"] && read["policy_sha256"].as_str().unwrap().len() == 64);
    // What the guest wrote does not reach a terminal as it is.
    let tail = house.cli(&["audit", "tail", "--dir"]).arg(house.state().join("audit")).output().unwrap();
    let words = String::from_utf8_lossy(&tail.stdout).into_owned();
    assert!(words.contains("none") && !words.contains('\u{1b}'), "{words}");
}

#[test]
fn a_journal_that_was_edited_is_called_tampered_with() {
    let mut house = House::new();
    house.install(&Policy::new("yields"), &yields(10));
    house.start();
    house.run("yields");
    assert!(house.stop().success());
    verifies(&house);
    let segment = largest(&house.state().join("audit/s"));
    let mut bytes = fs::read(&segment).unwrap();
    // Well within the first frames; behind the last one is room that nobody has written to.
    bytes[600] ^= 1;
    fs::write(&segment, bytes).unwrap();
    let (code, found) = house.verify();
    assert_eq!((code, found["verdict"].as_str()), (Some(7), Some("tampered")), "{found}");
}

fn largest(dir: &Path) -> std::path::PathBuf {
    let mut files = Vec::new();
    let mut dirs = vec![dir.to_path_buf()];
    while let Some(dir) = dirs.pop() {
        for entry in fs::read_dir(dir).unwrap().map(Result::unwrap) {
            if entry.file_type().unwrap().is_dir() { dirs.push(entry.path()) } else { files.push(entry.path()) }
        }
    }
    files
        .into_iter()
        .filter(|path| path.file_name().is_some_and(|name| name != "leaves"))
        .max_by_key(|path| path.metadata().unwrap().len())
        .unwrap()
}

/// A file system of a few megabytes, mounted for one test.
struct SmallDisk(tempfile::TempDir);

impl SmallDisk {
    fn new(size: &str) -> Option<Self> {
        let dir = tempfile::tempdir().unwrap();
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", &format!("size={size},mode=0700"), "tmpfs"]).arg(dir.path()).stderr(Stdio::null());
        mount.status().is_ok_and(|status| status.success()).then_some(Self(dir))
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("--lazy").arg(self.0.path()).status();
    }
}

#[test]
fn on_a_full_disk_nothing_new_begins_the_daemon_stays_and_the_journal_holds() {
    let Some(disk) = SmallDisk::new("24m") else { return skip("only root can mount a small disk") };
    let mut house = House::with(Plan { state: Some(disk.0.path().to_owned()), ..Plan::default() });
    house.install(&Policy::new("yields"), &yields(2000));
    house.start();
    house.run("yields");
    let ballast = disk.0.path().join("ballast");
    // The kernel writes what fits, and says that the rest does not.
    fs::write(&ballast, vec![0xa5; 48 << 20]).unwrap_err();
    let refused = until("a refusal", || Some(house.invoke("yields")).filter(|invoked| invoked.ending.is_null()));
    assert_eq!(refused.code, Some(1), "{refused:?}");
    assert!(refused.stderr.contains("journal does not take records"), "{refused:?}");
    // It says so wherever it is asked, and goes on answering.
    assert_eq!(house.status()["journal"]["usable"], false);
    let metrics = house.request("GET", "/metrics", &[], b"");
    assert!(metrics.text().contains("edgeguard_journal_usable 0\n"), "{}", metrics.text());
    let answer = house.request("POST", "/v1/modules/yields/invoke", &[], b"");
    assert_eq!((answer.status, answer.json()["error"]["code"].as_str()), (507, Some("journal-closed")));
    assert!(house.is_up());
    // Space alone does not make it believe again: what could not be written is missing. A restart says so and goes on.
    fs::remove_file(&ballast).unwrap();
    assert!(house.invoke("yields").ending.is_null());
    let (code, found) = house.verify();
    assert!(matches!(code, Some(0 | 6)), "{found}");
    house.stop();
    house.start();
    house.run("yields");
    verifies(&house);
}

#[test]
fn with_halt_a_full_disk_ends_the_daemon_with_an_error_and_a_start_with_space_goes_on() {
    let Some(disk) = SmallDisk::new("24m") else { return skip("only root can mount a small disk") };
    let mut house = House::with(Plan { state: Some(disk.0.path().to_owned()), ..Plan::default() });
    house.host_adds("[audit]\non-full = \"halt\"\n");
    house.install(&Policy::new("yields"), &yields(2000));
    house.start();
    house.run("yields");
    let ballast = disk.0.path().join("ballast");
    fs::write(&ballast, vec![0xa5; 48 << 20]).unwrap_err();
    let stat = format!("/proc/{}/stat", house.pid());
    until("its end", || {
        let mut invoke = house.cli(&["invoke", "yields"]);
        invoke.stdout(Stdio::null()).stderr(Stdio::null()).status().unwrap();
        // It is not reaped yet.
        fs::read_to_string(&stat).unwrap().contains(") Z").then_some(())
    });
    let ended = house.kill();
    assert_eq!(ended.code(), Some(1), "by itself, with an error: {ended}");
    assert!(house.log().contains("`audit.on-full` is `halt`"), "{}", house.log());
    fs::remove_file(&ballast).unwrap();
    house.start();
    house.run("yields");
    assert!(house.stop().success());
    verifies(&house);
}
