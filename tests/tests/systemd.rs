//! The installed service under real systemd: it boots in a container, serves, is reloaded, killed, frozen and stopped.
//!
//! Runs as root, on a machine with systemd-nspawn and debootstrap or the means to install them. One boot, many questions.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]
#![forbid(unsafe_code)]

mod container;
mod place;

use std::collections::BTreeSet;
use std::sync::OnceLock;

use container::Report;
use edgeguard_tests::house::skip;

static REPORT: OnceLock<Result<Report, String>> = OnceLock::new();

/// The one boot; `None`, with the reason said, where this machine cannot.
#[track_caller]
fn report() -> Option<&'static Report> {
    match REPORT.get_or_init(container::boot) {
        Ok(report) => {
            assert!(report.broken.is_none(), "the container did not come to its end\n{}", report.everything());
            Some(report)
        }
        Err(reason) => {
            skip(reason);
            None
        }
    }
}

#[track_caller]
fn succeeded(report: &Report, step: &str) {
    assert_eq!(report.code(step), Some(0), "step `{step}` failed\n{}", report.everything());
}

#[test]
fn the_service_comes_up_and_says_so_itself() {
    let Some(report) = report() else { return };
    assert_eq!(report.text("active").trim(), "active", "{}", report.everything());
    assert_eq!(report.property("show", "Type"), "notify");
    assert_eq!(report.property("show", "WatchdogUSec"), "20s");
    assert_ne!(report.property("show", "WatchdogTimestampMonotonic"), "0", "it never fed the watchdog");
    assert_eq!(report.property("show", "NRestarts"), "0");
}

#[test]
fn a_module_is_invoked_as_installed() {
    let Some(report) = report() else { return };
    succeeded(report, "invoke");
    assert_eq!(report.text("invoke"), "hello from a box\n");
}

#[test]
fn a_module_with_a_directory_and_a_graph_runs_under_the_unit() {
    let Some(report) = report() else { return };
    succeeded(report, "voice");
    let status = report.text("status");
    assert!(status.contains("\"serving\""), "no graph host serves:\n{status}");
}

#[test]
fn every_process_of_the_service_is_confined_and_has_no_capability() {
    let Some(report) = report() else { return };
    let text = report.text("processes");
    for program in ["edgeguardd", "edgeguard-worker", "edgeguard-graph"] {
        assert!(text.lines().any(|line| line.starts_with("process ") && line.contains(program)), "no `{program}` in:\n{text}");
    }
    let fields = |name: &str| {
        text.lines().filter_map(|line| line.strip_prefix(name)?.strip_prefix(':')).map(|rest| rest.trim().to_owned()).collect::<Vec<_>>()
    };
    let processes = text.lines().filter(|line| line.starts_with("process ")).count();
    for (name, wanted) in [("CapEff", "0000000000000000"), ("CapBnd", "0000000000000000"), ("NoNewPrivs", "1"), ("Seccomp", "2")] {
        assert_eq!(fields(name), vec![wanted.to_owned(); processes], "{name} in:\n{text}");
    }
    assert!(fields("Uid").iter().all(|ids| !ids.split_whitespace().any(|id| id == "0")), "a process runs as root:\n{text}");
}

#[test]
fn a_named_invoker_may_invoke_and_a_stranger_may_not() {
    let Some(report) = report() else { return };
    succeeded(report, "invoker");
    assert_eq!(report.text("invoker"), "hello from a box\n");
    assert_ne!(report.code("stranger"), Some(0), "a stranger invoked a module");
    assert!(report.errors("stranger").contains("may not"), "{}", report.errors("stranger"));
}

#[test]
fn modules_serve_at_a_socket_of_the_daemon_s_and_at_a_port_of_systemd_s() {
    let Some(report) = report() else { return };
    for step in ["served-at-a-socket", "served-at-a-port"] {
        let answer = report.text(step);
        let good = answer.starts_with("HTTP/1.1 201 Created\r\n") && answer.contains("hello from the guest");
        assert!(good, "{step}: {answer}\n{}", report.everything());
    }
    let modes = report.text("http-modes");
    assert_eq!(modes, "755 /run/edgeguard\n755 /run/edgeguard/http\n666 /run/edgeguard/http/socket.sock\n");
}

#[test]
fn a_reload_leaves_the_service_active() {
    let Some(report) = report() else { return };
    succeeded(report, "reload");
    assert_eq!(report.text("active-after-reload").trim(), "active");
}

#[test]
fn a_killed_daemon_leaves_no_orphan_and_comes_back() {
    let Some(report) = report() else { return };
    assert_eq!(report.text("orphans"), "", "children outlived the daemon");
    succeeded(report, "comes-back");
    succeeded(report, "invoke-after-kill");
}

#[test]
fn a_frozen_daemon_is_ended_by_the_watchdog() {
    let Some(report) = report() else { return };
    succeeded(report, "watchdog");
    assert!(report.text("watchdog-result").contains("atchdog"), "systemd names no watchdog:\n{}", report.text("watchdog-result"));
}

#[test]
fn the_exporter_runs_as_its_own_user_with_the_one_capability_to_read() {
    let Some(report) = report() else { return };
    succeeded(report, "export-start");
    assert_eq!(report.text("export-active").trim(), "active", "{}", report.everything());
    let text = report.text("export-process");
    let field = |name: &str| text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':')).map(str::trim).unwrap_or_default();
    // CAP_DAC_READ_SEARCH is capability 2.
    assert_eq!((field("CapEff"), field("NoNewPrivs"), field("Seccomp")), ("0000000000000004", "1", "2"), "{text}");
    let uid = field("Uid").split_whitespace().next().unwrap_or_default();
    let daemons = report.text("processes");
    let daemon = daemons.lines().find_map(|line| line.strip_prefix("Uid:")).and_then(|ids| ids.split_whitespace().next());
    assert!(!uid.is_empty() && uid != "0" && Some(uid) != daemon, "{text}\n{daemons}");
}

#[test]
fn the_exporter_outlives_the_daemons_deaths_and_has_every_entry() {
    let Some(report) = report() else { return };
    succeeded(report, "export-wanted");
    succeeded(report, "exported");
    let uids = |step: &str| -> BTreeSet<String> {
        let lines = report.text(step);
        let entries =
            lines.lines().map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap_or_else(|error| panic!("{error}: {line}")));
        // Checkpoints are the exporter's own: the journal has no entry for each.
        let entries = entries.filter(|entry| entry["metadata"]["event_code"] != "journal-checkpoint");
        entries.map(|entry| entry["metadata"]["uid"].as_str().unwrap_or_default().to_owned()).collect()
    };
    let (wanted, found) = (uids("export-wanted"), uids("exported"));
    assert!(wanted.len() > 50, "{} entries: has the service done nothing?", wanted.len());
    assert_eq!(found, wanted, "{}", report.everything());
    assert_eq!(report.property("export-after-stop", "NRestarts"), "0", "{}", report.text("export-journal"));
    assert_eq!(report.property("export-after-stop", "Result"), "success", "{}", report.text("export-journal"));
}

#[test]
fn a_stop_is_clean_and_the_journal_verifies() {
    let Some(report) = report() else { return };
    succeeded(report, "stop");
    assert_eq!(report.property("show-after-stop", "Result"), "success");
    assert_eq!(report.property("show-after-stop", "ActiveState"), "inactive");
    succeeded(report, "verify");
}
