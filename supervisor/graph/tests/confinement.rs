//! What the kernel says of a graph host.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod common;

use common::Host;
use common::Outcome;
use common::assignment;
use common::models;
use edgeguard_wire::graph::Load;

#[test]
fn a_host_is_confined_before_it_reads_its_model_and_stays_so() {
    let model = models::add();
    let host = Host::start();
    let report = host.load(&model, &Load { computes: 2, threads: 2, ..assignment(&model) });
    let before = edgeguard_sandbox::inspect(host.child.pid()).unwrap();
    assert!(before.no_new_privs);
    assert_eq!(before.seccomp_mode, 2);
    assert_eq!(before.threads, report.threads);
    assert_eq!(report.granted, 0);
    assert!(report.landlock_abi >= 1 && report.no_new_privs && !report.dumpable, "{report:?}");

    let Outcome::Loaded(_) = host.go() else { panic!("refused") };
    let mut worker = host.worker();
    worker.compute(&[common::Blob::fp32(&[2], &[1.0, 2.0]), common::Blob::fp32(&[2], &[3.0, 4.0])]).unwrap();
    let serving = edgeguard_sandbox::inspect(host.child.pid()).unwrap();
    assert_eq!((serving.threads, serving.seccomp_mode), (before.threads, 2), "no thread starts after the lock");
}

#[test]
fn a_host_keeps_no_descriptor_that_it_does_not_use() {
    let (host, _) = Host::serving(&models::add());
    let Ok(fds) = std::fs::read_dir(format!("/proc/{}/fd", host.child.pid())) else {
        assert!(std::env::var_os("CI").is_none(), "CI must be able to look at the descriptors of a child");
        eprintln!("skipped: the descriptors of an undumpable child are root's to see");
        return;
    };
    let mut kinds: Vec<String> =
        fds.map(|fd| std::fs::read_link(fd.unwrap().path()).unwrap().to_string_lossy().split(':').next().unwrap().to_owned()).collect();
    kinds.sort();
    // Standard input is the control socket; the second is its close-on-exec copy.
    assert_eq!(kinds, ["/dev/null", "anon_inode", "pipe", "socket", "socket"]);
}

#[test]
fn a_host_that_is_not_the_daemons_child_refuses() {
    let output = std::process::Command::new(env!("CARGO_BIN_EXE_edgeguard-graph")).arg("1").output().unwrap();
    assert_eq!(output.status.code(), Some(4));
    let log = String::from_utf8(output.stderr).unwrap();
    assert!(log.starts_with("cannot confine this process: expected to be a child of process 1"), "{log}");

    let output = std::process::Command::new(env!("CARGO_BIN_EXE_edgeguard-graph")).output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(output.stderr.starts_with(b"usage: edgeguard-graph PARENT"));
}
