//! What the exporter says of itself: one small file, and the line that `systemctl status` shows.
//!
//! Runs in: exporter; read by `edgeguard-export --status` and by whoever may read the file.

use std::fs;
use std::io;
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::sync::Mutex;
use std::sync::PoisonError;

use serde::Deserialize;
use serde::Serialize;

/// All sinks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Status {
    /// When this was written, RFC 3339.
    pub written: String,
    /// The same in milliseconds of `CLOCK_BOOTTIME`, which nobody sets.
    #[serde(default)]
    pub written_boot_ms: u64,
    /// One for each sink, in the order of the configuration.
    pub sinks: Vec<SinkStatus>,
}

/// One sink.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SinkStatus {
    /// Its name.
    pub name: String,
    /// Its kind.
    pub kind: String,
    /// Whether the last delivery succeeded.
    pub delivering: bool,
    /// Frames of the journal that are finished and not acknowledged.
    pub frames_behind: u64,
    /// Entries that were ever acknowledged.
    pub acknowledged: u64,
    /// Failed deliveries since the start.
    pub failures: u64,
    /// Damaged places that were passed over since the start.
    pub damaged: u64,
    /// Entries that were gone before they could be handed over: deleted for the journal's budget, or damaged. The receiver was told how many.
    #[serde(default)]
    pub gone: u64,
    /// How many frames the last checkpoint is over that the receiver has acknowledged; 0 before the first.
    #[serde(default)]
    pub checkpoint_frames: u64,
    /// What the last failure was; empty once a delivery has succeeded.
    pub problem: String,
}

/// The status that threads share.
#[derive(Debug)]
pub struct Board(Mutex<Vec<SinkStatus>>);

impl Board {
    /// With these sinks.
    #[must_use]
    pub fn new(sinks: Vec<SinkStatus>) -> Self {
        Self(Mutex::new(sinks))
    }

    /// Changes one of them.
    pub fn update(&self, sink: usize, change: impl FnOnce(&mut SinkStatus)) {
        // A thread that died while it wrote numbers leaves numbers.
        let mut sinks = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(status) = sinks.get_mut(sink) {
            change(status);
        }
    }

    /// As it is now.
    #[must_use]
    pub fn get(&self) -> Vec<SinkStatus> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Status {
    /// As it is now.
    #[must_use]
    pub fn now(sinks: Vec<SinkStatus>) -> Self {
        Self {
            written: edgeguard_audit::rfc3339(edgeguard_audit::realtime_ns()),
            written_boot_ms: edgeguard_audit::boottime_ns() / 1_000_000,
            sinks,
        }
    }

    /// Replaces the file in this folder, with this mode.
    ///
    /// # Errors
    /// What the kernel said.
    pub fn write(&self, folder: &Path, mode: u32) -> io::Result<()> {
        let temporary = folder.join(".status.json");
        let mut file = fs::OpenOptions::new().write(true).create(true).truncate(true).mode(mode).open(&temporary)?;
        file.write_all(&serde_json::to_vec(self)?)?;
        fs::rename(&temporary, folder.join("status.json"))
    }

    /// Reads the file in this folder.
    ///
    /// # Errors
    /// What the kernel said, or that it is no status.
    pub fn read(state: &Path) -> io::Result<Self> {
        Ok(serde_json::from_slice(&fs::read(state.join("status.json"))?)?)
    }

    /// One line for each sink.
    #[must_use]
    pub fn words(&self) -> String {
        let mut text = format!("as of {}\n", edgeguard_audit::printable(self.written.as_bytes()));
        for sink in &self.sinks {
            text.push_str(&format!("{}\n", sink.words()));
        }
        text
    }
}

impl SinkStatus {
    /// Its state in words, on one line.
    #[must_use]
    pub fn words(&self) -> String {
        let problem = if self.problem.is_empty() { String::new() } else { format!(": {}", self.problem) };
        let state = if self.delivering { "delivering" } else { "waiting" };
        let damaged = if self.damaged == 0 { String::new() } else { format!(", {} damaged places passed over", self.damaged) };
        let gone = if self.gone == 0 { String::new() } else { format!(", {} entries gone before they could be handed over", self.gone) };
        let anchored =
            if self.checkpoint_frames == 0 { String::new() } else { format!(", a checkpoint over {} frames", self.checkpoint_frames) };
        let text = format!(
            "{} ({}) {state}, {} frames behind, {} entries acknowledged{anchored}, {} failures{gone}{damaged}{problem}",
            self.name, self.kind, self.frames_behind, self.acknowledged, self.failures
        );
        edgeguard_audit::printable(text.as_bytes())
    }
}
