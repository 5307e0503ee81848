//! rsyslog, with the configurations that ship.
//!
//! Runs in: tests.

use std::path::Path;
use std::path::PathBuf;
use std::process::Stdio;

use super::House;
use super::Running;
use super::install;
use super::tls;

/// The configuration that ships, with this test's places in it.
pub fn configuration(house: &House, name: &str, port: u16) -> PathBuf {
    let shipped = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../packaging/siem/rsyslog").join(name);
    let text = std::fs::read_to_string(shipped).unwrap();
    let here = |name: &str| house.path(name).display().to_string();
    let text = text
        .replace("/etc/rsyslog.d/tls/ca.pem", &here("ca.pem"))
        .replace("/etc/rsyslog.d/tls/server.pem", &here("server.pem"))
        .replace("/etc/rsyslog.d/tls/server.key", &here("server.key"))
        .replace("/var/log/edgeguard.jsonl", &here("received"))
        .replace("/var/log/edgeguard/export.jsonl", &here("out"))
        .replace("/run/edgeguard-log.sock", &here("log.sock"))
        .replace("\"6514\"", &format!("\"{port}\""))
        .replace("\"2514\"", &format!("\"{port}\""));
    let path = house.path("rsyslog.conf");
    let work = house.path("work");
    std::fs::create_dir_all(&work).unwrap();
    std::fs::write(&path, format!("global(workDirectory=\"{}\")\n{text}", work.display())).unwrap();
    path
}

/// Starts it.
pub fn start(house: &House, configuration: &Path) -> Running {
    let root = install::root().unwrap();
    let modules = install::find(root, &["usr/lib/x86_64-linux-gnu/rsyslog", "usr/lib/aarch64-linux-gnu/rsyslog"]);
    let mut command = install::program(root, "usr/sbin/rsyslogd");
    command
        .env("RSYSLOG_MODDIR", &modules)
        .arg("-n")
        .arg("-f")
        .arg(configuration)
        .arg("-i")
        .arg(house.path("rsyslog.pid"))
        .arg("-M")
        .arg(&modules);
    Running(command.stdin(Stdio::null()).spawn().unwrap())
}

/// A sink of the exporter that speaks to it.
pub fn remote(house: &House, kind: &str, port: u16) -> String {
    format!("[[{kind}]]\nname = \"siem\"\naddress = \"localhost:{port}\"\n{}", tls(house.dir.path()))
}
