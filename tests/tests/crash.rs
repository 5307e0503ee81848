//! Sudden ends: of the daemon, of its children, and a second daemon that comes too early.
//!
//! Runs in: tests, with the real daemon.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]
#![forbid(unsafe_code)]

mod onnx;

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;
use std::time::Instant;

use edgeguard_tests::guest;
use edgeguard_tests::guest::nn_guest;
use edgeguard_tests::house::House;
use edgeguard_tests::house::Plan;
use edgeguard_tests::house::until;
use edgeguard_tests::policy::Policy;
use rustix::process::Pid;
use rustix::process::Signal;

const BURST: &str = r#"(func (export "_start") (loop $again (drop (call $sched_yield)) (br $again)))"#;

fn alive(pid: u32) -> bool {
    // A zombie that nobody has reaped yet runs no more.
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    status.lines().any(|line| line.starts_with("State:") && !line.contains('Z') && !line.contains('X'))
}

/// A daemon with every kind of child that lives: a worker that runs, a standby, a graph host.
fn busy() -> House {
    let mut house = House::with(Plan { standby: true, ..Plan::default() });
    let model = house.path("models/model.onnx");
    std::fs::write(&model, onnx::identity(2)).unwrap();
    house.install(&Policy::new("burst"), &guest::guest(BURST));
    house.install(&Policy::new("asks").graph("model", &model), &nn_guest(r#"(func (export "_start"))"#));
    house.start();
    house
}

#[test]
fn a_killed_daemon_leaves_no_child_for_a_second_and_a_journal_that_a_restart_puts_right() {
    let mut house = busy();
    for _ in 0..3 {
        house.run("asks");
        let invocation = house.cli(&["invoke", "burst"]).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        until("records of the burst", || (house.status()["journal"]["stats"]["records"].as_u64() > Some(1000)).then_some(()));
        let children = house.children();
        for program in ["edgeguard-worker", "edgeguard-graph"] {
            assert!(!house.children_named(program).is_empty(), "{children:?}");
        }
        house.kill();
        let began = Instant::now();
        let left = || children.iter().filter(|(pid, _)| alive(*pid)).collect::<Vec<_>>();
        while !left().is_empty() {
            assert!(began.elapsed() < Duration::from_secs(1), "still there: {:?}", left());
            std::thread::sleep(Duration::from_millis(5));
        }
        // The caller is told, and does not wait for ever.
        let told = invocation.wait_with_output().unwrap();
        assert_eq!(told.status.code(), Some(2), "{}", String::from_utf8_lossy(&told.stderr));
        let (code, found) = house.verify();
        assert!(matches!(code, Some(0 | 6)), "a crash is not tampering: {found}");
        house.start();
        let (code, found) = house.verify();
        assert_eq!(code, Some(0), "{found}");
    }
    assert_eq!(house.verify().1["unclean_opens"], 3);
}

#[test]
fn an_orderly_stop_leaves_nothing_running_and_a_journal_that_was_closed() {
    let mut house = busy();
    house.run("asks");
    let children = house.children();
    assert!(children.len() >= 2, "{children:?}");
    assert!(house.stop().success());
    assert!(children.iter().all(|(pid, _)| !alive(*pid)), "{children:?}");
    assert_eq!(house.events("daemon-stopped").len(), 1);
    let (code, found) = house.verify();
    assert_eq!((code, found["unclean_opens"].as_u64()), (Some(0), Some(0)), "{found}");
}

#[test]
fn a_stop_in_the_middle_of_an_invocation_is_orderly_too() {
    let mut house = busy();
    let invocation = house.cli(&["invoke", "burst"]).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    until("the burst to begin", || (!house.events("invocation-started").is_empty()).then_some(()));
    let began = Instant::now();
    assert!(house.stop().success());
    assert!(began.elapsed() < Duration::from_secs(10), "{:?}", began.elapsed());
    assert_ne!(invocation.wait_with_output().unwrap().status.code(), Some(0));
    let (code, found) = house.verify();
    assert_eq!((code, found["unclean_opens"].as_u64()), (Some(0), Some(0)), "{found}");
}

#[test]
fn a_second_daemon_on_the_same_state_is_told_so_and_the_first_goes_on() {
    let mut house = busy();
    let gone = house.try_start_second().unwrap_err();
    assert_eq!(gone.code, Some(1), "{}", gone.log);
    assert!(gone.log.contains("another") || gone.log.contains("already"), "{}", gone.log);
    assert!(gone.log.contains(Path::new("state/audit").to_str().unwrap()), "it does not say where: {}", gone.log);
    house.run("asks");
    assert_eq!(house.events("daemon-started").len(), 1);
    assert!(house.stop().success());
}

#[test]
fn a_standby_that_is_killed_is_not_missed() {
    let mut house = busy();
    let standby = until("a standby", || house.children_named("edgeguard-worker").first().copied());
    rustix::process::kill_process(Pid::from_raw(standby.try_into().unwrap()).unwrap(), Signal::KILL).unwrap();
    until("it to be gone", || (!alive(standby)).then_some(()));
    house.run("asks");
    assert!(house.is_up());
}

#[test]
fn a_worker_that_is_killed_between_invocations_is_not_missed() {
    let house = busy();
    house.run("asks");
    let worker = house.module_status("asks")["worker"]["process"]["pid"].as_u64().unwrap();
    rustix::process::kill_process(Pid::from_raw(worker.try_into().unwrap()).unwrap(), Signal::KILL).unwrap();
    house.wait_for_event("process-exited", |event| event["pid"] == worker);
    house.run("asks");
    assert_eq!(house.module_status("asks")["invocations"]["killed"], 0);
}
