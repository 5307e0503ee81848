//! How far the journal has come to its receivers: what the exporter says of its sinks, in a file of its runtime folder.
//!
//! Runs in: daemon, when somebody asks for the status or the metrics.
//! Does not: believe it. The exporter is another user and the one process with a network: what it wrote may be a pipe, a link, endless, or a lie in the form
//! of a label, so all of it is bounded and checked, and what is old is said to be.

use std::fmt::Write as _;
use std::fs::File;
use std::io::Read as _;
use std::path::Path;
use std::time::Duration;

use rustix::fs::Mode;
use rustix::fs::OFlags;
use serde::Deserialize;
use serde_json::Value;
use serde_json::json;

use crate::child::escape;

/// What the exporter says.
#[derive(Debug)]
pub enum Exporter {
    /// There is no file: nothing is exported from this host, or not since it started.
    Absent,
    /// There is one, and it is not what an exporter writes.
    Unreadable(String),
    /// What it wrote so long ago.
    Known(Duration, Vec<Sink>),
}

/// One sink, as the exporter describes it.
#[derive(Debug, Deserialize)]
pub struct Sink {
    name: String,
    kind: String,
    delivering: bool,
    frames_behind: u64,
    acknowledged: u64,
    failures: u64,
    gone: u64,
    checkpoint_frames: u64,
    problem: String,
}

#[derive(Deserialize)]
struct Written {
    written_boot_ms: u64,
    sinks: Vec<Sink>,
}

impl Exporter {
    /// Reads the file beside this runtime folder of the daemon's: `/run/edgeguard-export/status.json`.
    #[must_use]
    pub fn of(runtime_dir: &Path) -> Self {
        let path = runtime_dir.parent().unwrap_or(Path::new("/run")).join("edgeguard-export/status.json");
        Self::read(&path, edgeguard_audit::boottime_ns() / 1_000_000)
    }

    fn read(path: &Path, now_boot_ms: u64) -> Self {
        // Neither through a link at its end, nor waiting for the other end of a pipe.
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC | OFlags::NOCTTY;
        let file = match rustix::fs::open(path, flags, Mode::empty()) {
            Ok(file) => File::from(file),
            Err(rustix::io::Errno::NOENT) => return Self::Absent,
            Err(error) => return Self::Unreadable(error.to_string()),
        };
        let mut text = Vec::new();
        let read = match file.metadata() {
            Ok(meta) if meta.is_file() => file.take(MAX_FILE + 1).read_to_end(&mut text),
            Ok(_) => return Self::Unreadable("expected a regular file".into()),
            Err(error) => Err(error),
        };
        match read {
            Err(error) => return Self::Unreadable(error.to_string()),
            Ok(length) if length as u64 > MAX_FILE => return Self::Unreadable(format!("expected at most {MAX_FILE} bytes")),
            Ok(_) => {}
        }
        let Ok(Written { written_boot_ms, sinks }) = serde_json::from_slice(&text) else {
            return Self::Unreadable("expected what an exporter of this release writes".into());
        };
        if sinks.len() > MAX_SINKS || !sinks.iter().all(Sink::is_plain) {
            return Self::Unreadable(format!("expected at most {MAX_SINKS} sinks with names of `a`-`z`, `0`-`9`, `-`"));
        }
        // One that was written later than now was not written since this boot.
        let age = now_boot_ms.checked_sub(written_boot_ms).map_or(Duration::MAX, Duration::from_millis);
        Self::Known(age, sinks)
    }

    /// For the status: `state` is `none`, `unreadable`, `stale` or `running`.
    #[must_use]
    pub fn status(&self) -> Value {
        match self {
            Self::Absent => json!({ "state": "none", "sinks": [] }),
            Self::Unreadable(why) => json!({ "state": "unreadable", "problem": escape(why), "sinks": [] }),
            Self::Known(age, sinks) => {
                let state = if *age > STALE { "stale" } else { "running" };
                let age = (*age != Duration::MAX).then_some(age.as_secs());
                json!({ "state": state, "age_s": age, "sinks": sinks.iter().map(Sink::status).collect::<Vec<_>>() })
            }
        }
    }

    /// For the metrics; without an exporter there are none.
    pub fn metrics(&self, page: &mut String) {
        let fresh = match self {
            Self::Absent => return,
            Self::Unreadable(_) => false,
            Self::Known(age, _) => *age <= STALE,
        };
        let _ = writeln!(
            page,
            "# HELP edgeguard_export_fresh 1 while the exporter says how it goes; the other numbers of it are old while it is 0."
        );
        let _ = writeln!(page, "# TYPE edgeguard_export_fresh gauge\nedgeguard_export_fresh {}", u8::from(fresh));
        let Self::Known(_, sinks) = self else { return };
        for (name, kind, help, read) in NUMBERS {
            let _ = writeln!(page, "# HELP {name} {help}\n# TYPE {name} {kind}");
            for sink in sinks {
                let _ = writeln!(page, "{name}{{sink=\"{}\",kind=\"{}\"}} {}", sink.name, sink.kind, read(sink));
            }
        }
    }
}

type Read = fn(&Sink) -> u64;

/// Name, type, help, where it stands.
const NUMBERS: &[(&str, &str, &str, Read)] = &[
    ("edgeguard_export_delivering", "gauge", "1 while the last delivery to the sink succeeded.", |sink| u64::from(sink.delivering)),
    ("edgeguard_export_frames_behind", "gauge", "Finished frames of the journal that the receiver has not acknowledged.", |sink| {
        sink.frames_behind
    }),
    ("edgeguard_export_acknowledged_total", "counter", "Entries that the receiver ever acknowledged.", |sink| sink.acknowledged),
    ("edgeguard_export_failures_total", "counter", "Failed deliveries since the exporter started.", |sink| sink.failures),
    ("edgeguard_export_gone_total", "counter", "Entries that were gone before they could be handed over.", |sink| sink.gone),
    ("edgeguard_export_checkpoint_frames", "gauge", "Frames under the last checkpoint that the receiver acknowledged.", |sink| {
        sink.checkpoint_frames
    }),
];

impl Sink {
    /// Whether its name and kind are of the letters that they have: they become labels.
    fn is_plain(&self) -> bool {
        let good = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
        [&self.name, &self.kind].iter().all(|word| (1..=32).contains(&word.len()) && word.bytes().all(good))
    }

    fn status(&self) -> Value {
        json!({
            "name": self.name, "kind": self.kind, "delivering": self.delivering, "frames_behind": self.frames_behind,
            "acknowledged": self.acknowledged, "failures": self.failures, "gone": self.gone, "checkpoint_frames": self.checkpoint_frames,
            "problem": escape(&self.problem),
        })
    }
}

/// The exporter writes four times as often.
const STALE: Duration = Duration::from_secs(60);
const MAX_FILE: u64 = 64 << 10;
/// As many as an exporter may have.
const MAX_SINKS: usize = 16;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]
    use super::*;

    const SINK: &str = r#"{"name":"siem","kind":"relp","delivering":false,"frames_behind":7,"acknowledged":9,"failures":1,"damaged":0,"gone":2,
        "checkpoint_frames":5,"problem":"cannot reach `siem:1`\u001b[2J"}"#;

    fn said(text: &str, now: u64) -> Exporter {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("status.json"), text).unwrap();
        Exporter::read(&dir.path().join("status.json"), now)
    }

    fn file(sinks: &str) -> String {
        format!("{{\"written\":\"x\",\"written_boot_ms\":1000,\"sinks\":[{sinks}]}}")
    }

    #[test]
    fn a_sink_is_told_with_its_problem_and_how_far_it_is() {
        let found = said(&file(SINK), 3000);
        let status = found.status();
        assert_eq!((&status["state"], &status["age_s"]), (&"running".into(), &2.into()), "{status}");
        assert_eq!((&status["sinks"][0]["frames_behind"], &status["sinks"][0]["checkpoint_frames"]), (&7.into(), &5.into()));
        assert!(!status["sinks"][0]["problem"].as_str().unwrap().contains('\u{1b}'), "{status}");
        let mut page = String::new();
        found.metrics(&mut page);
        assert!(page.contains("edgeguard_export_fresh 1\n"), "{page}");
        assert!(page.contains("edgeguard_export_frames_behind{sink=\"siem\",kind=\"relp\"} 7\n"), "{page}");
    }

    #[test]
    fn what_is_old_or_of_another_boot_is_said_to_be() {
        for now in [61_001, 999] {
            let found = said(&file(SINK), now);
            assert_eq!(found.status()["state"], "stale", "{now}");
            let mut page = String::new();
            found.metrics(&mut page);
            assert!(page.contains("edgeguard_export_fresh 0\n"), "{page}");
        }
        assert_eq!(said(&file(SINK), 61_000).status()["state"], "running");
    }

    #[test]
    fn what_no_exporter_writes_is_not_shown() {
        let many = vec![SINK; MAX_SINKS + 1].join(",");
        let label = SINK.replace("\"siem\"", "\"a\\\"} 1\"");
        for text in ["", "{}", "[]", &file(&many), &file(&label), &file(&SINK.replace("\"relp\"", "\"\"")), &file(&" ".repeat(70_000))] {
            let found = said(text, 3000);
            assert!(matches!(found, Exporter::Unreadable(_)), "{text:.60}");
            assert_eq!(found.status()["sinks"], json!([]));
        }
    }

    #[test]
    fn a_pipe_and_a_link_are_not_followed_and_nothing_waits() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("status.json");
        assert!(matches!(Exporter::read(&path, 1), Exporter::Absent));
        std::os::unix::fs::symlink("/dev/zero", &path).unwrap();
        assert!(matches!(Exporter::read(&path, 1), Exporter::Unreadable(_)));
        std::fs::remove_file(&path).unwrap();
        assert!(std::process::Command::new("mkfifo").arg(&path).status().unwrap().success());
        assert!(matches!(Exporter::read(&path, 1), Exporter::Unreadable(_)));
    }
}
