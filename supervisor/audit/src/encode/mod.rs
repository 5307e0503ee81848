//! The journal in the words of a SIEM: one line for each entry, in the form that the receiver takes.
//!
//! Runs in: CLI, exporter.
//! Invariant: whatever the form, the same place in the journal gives the same `uid`, and a line is at most [`crate::MAX_LINE`] bytes.
//! Does not: send anything, nor write a denied call twice (see [`Ocsf`]).

mod ecs;
mod gap;
mod otlp;
mod versions;

pub use gap::Gap;
pub use gap::Why;
pub use otlp::LogRecord;
pub use otlp::Scalar;
pub use otlp::export_json;
pub use versions::OcsfVersion;

use serde_json::Value;

use crate::Checkpoint;
use crate::Event;
use crate::Note;
use crate::Ocsf;
use crate::Position;
use crate::frame::Header;
use crate::ocsf::bounded;
use crate::read::Call;
use crate::read::Item;

/// A form that lines come in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// OCSF of one version.
    Ocsf(OcsfVersion),
    /// Elastic Common Schema 9.
    Ecs,
}

impl Default for Form {
    fn default() -> Self {
        Self::Ocsf(OcsfVersion::default())
    }
}

/// One entry, encoded.
#[derive(Debug, Clone, PartialEq)]
pub struct Encoded {
    /// Which entry: the same in every form and at every time.
    pub uid: String,
    /// Its kind, such as `denied` or `call`.
    pub code: String,
    /// When, nanoseconds since the Unix epoch.
    pub time_ns: u64,
    /// How bad.
    pub level: Level,
    /// One JSON object, without an end of line.
    pub line: String,
}

/// How bad an entry is. OCSF's severities, of which the journal uses three.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// Nothing is wrong.
    Informational,
    /// Something was refused, or failed.
    Medium,
    /// Somebody should look.
    High,
}

impl Level {
    fn of(event: &Value) -> Self {
        match event.get("severity_id").and_then(Value::as_u64) {
            Some(0..3) => Self::Informational,
            Some(3) => Self::Medium,
            // What is not known to be harmless is not called harmless.
            _ => Self::High,
        }
    }

    /// RFC 5424's severity: 6 informational, 4 warning, 2 critical.
    #[must_use]
    pub const fn syslog(self) -> u8 {
        match self {
            Self::Informational => 6,
            Self::Medium => 4,
            Self::High => 2,
        }
    }
}

/// Turns items of one journal into lines of one form.
#[derive(Debug, Clone)]
pub struct Encoder {
    ocsf: Ocsf,
    form: Form,
}

impl Encoder {
    /// For the journal of this origin, as it is since this boot.
    #[must_use]
    pub const fn new(ocsf: Ocsf, form: Form) -> Self {
        Self { ocsf, form }
    }

    /// A security event.
    #[must_use]
    pub fn event(&self, item: &Item<Event>) -> Encoded {
        self.encode(item.time_real, self.ocsf.event_value(item))
    }

    /// A call; nothing for a denied one, which is exported as the security event that it is too.
    #[must_use]
    pub fn call(&self, item: &Item<Call>) -> Option<Encoded> {
        self.ocsf.call_value(item).map(|value| self.encode(item.time_real, value))
    }

    /// Entries that are not there any more, at the place of the frame behind them. The index is one that no entry has.
    #[must_use]
    pub fn gap(&self, gap: &Gap, behind: &Header) -> Encoded {
        let item = Item {
            position: Position { epoch: behind.epoch, frame: behind.frame_no, index: u32::MAX },
            seq: gap.first,
            time_real: behind.t0_real,
            time_boot: behind.t0_boot,
            what: *gap,
        };
        self.encode(item.time_real, self.ocsf.gap_value(&item))
    }

    /// A checkpoint of the journal, as an entry of its own at the time of this moment: what a receiver has of it, nobody on this machine can take back.
    /// Nothing for a note that a line cannot hold whole.
    #[must_use]
    pub fn checkpoint(&self, checkpoint: &Checkpoint, note: &Note) -> Option<Encoded> {
        let note = note.to_string();
        let item = Item {
            position: Position { epoch: 0, frame: checkpoint.size, index: u32::MAX },
            seq: checkpoint.size,
            time_real: crate::realtime_ns(),
            time_boot: crate::boottime_ns(),
            what: checkpoint,
        };
        (note.len() <= crate::MAX_LINE / 2).then(|| self.encode(item.time_real, self.ocsf.checkpoint_value(&item, &note)))
    }

    fn encode(&self, time_ns: u64, event: Value) -> Encoded {
        let text = |at: &str| event.pointer(at).and_then(Value::as_str).unwrap_or_default().to_owned();
        let (uid, code, level) = (text("/metadata/uid"), text("/metadata/event_code"), Level::of(&event));
        let line = match self.form {
            Form::Ocsf(OcsfVersion::V1_8) => bounded(event),
            Form::Ocsf(version) => version.line(event),
            Form::Ecs => ecs::line(&event, time_ns),
        };
        Encoded { uid, code, time_ns, level, line }
    }
}
