//! What the frames hold that are not columns: JSON.
//!
//! Runs in: daemon (writes), CLI (reads).

use serde::Deserialize;
use serde::Serialize;

use crate::error::JournalError;
use crate::event::Event;
use crate::frame::MAX_PAYLOAD;
use crate::recover::Recovery;
use crate::segment::Tier;
use crate::text::cut;

/// The payload of an `Events` frame is a JSON array of these.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Entry<E> {
    /// `CLOCK_BOOTTIME` in nanoseconds.
    pub time_ns: u64,
    pub event: E,
}

/// The payload of a `Genesis` frame.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Genesis {
    /// Who writes this journal.
    pub origin: String,
    /// The public half of its identity key; absent in a journal that was begun without keys.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub identity: Option<String>,
}

/// The payload of a `Retention` frame: a segment that is deleted when this frame is sealed, so that later nobody can delete one unnoticed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Retention {
    /// The segment, below the journal's folder.
    pub segment: String,
    /// Its frames, in runs: the first frame's number, and how many follow each other.
    pub frames: Vec<(u64, u64)>,
    /// The number of its first call; in a segment of counts, of its first row.
    pub first_seq: u64,
    /// The number of the first one after it.
    pub next_seq: u64,
    /// Its length.
    pub bytes: u64,
    /// In a segment of counts: the first call that they are of, and the call behind the last one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub counted: Option<(u64, u64)>,
    /// Those of them that were in no segment of calls, in runs like `counted`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub only_counted: Vec<(u64, u64)>,
}

impl Retention {
    /// What kind of segment it was.
    #[must_use]
    pub fn tier(&self) -> Tier {
        let of = |tier: &Tier| self.segment.split_once('/').is_some_and(|(folder, _)| folder == tier.folder());
        Tier::ALL.into_iter().find(of).unwrap_or(Tier::Detail)
    }
}

/// The payload of an `Erasure` frame: names that are overwritten when it is sealed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Erasure {
    /// Why, in the words of whoever asked.
    pub reason: String,
    /// The user who asked.
    pub by: u32,
    /// The names: the number of the frame that holds them, and which of its names, from 0.
    pub names: Vec<(u64, Vec<u32>)>,
}

/// The payload of a `Boot` frame.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Boot {
    /// Who writes from here on.
    pub origin: String,
    /// The kernel's id of this boot.
    pub boot_id: String,
    /// The leaf of the frame before, in hex.
    pub head: String,
    /// How the journal was found.
    pub recovery: Recovery,
    /// Frames below this were sealed then. Those from there up to this frame may be anybody's who could write the files.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sealed: Option<u64>,
}

/// The event as JSON. One whose texts are too long loses their ends rather than its place in the journal.
pub(crate) fn event_json(time_ns: u64, event: &Event) -> Result<Vec<u8>, JournalError> {
    value_json(time_ns, event_value(event)?)
}

/// The event as it is written, with all that it says in it.
pub(crate) fn event_value(event: &Event) -> Result<serde_json::Value, JournalError> {
    serde_json::to_value(event).map_err(|error| JournalError::Compress(error.into()))
}

/// The same as a payload.
pub(crate) fn value_json(time_ns: u64, event: serde_json::Value) -> Result<Vec<u8>, JournalError> {
    let json = |entry: &[Entry<serde_json::Value>; 1]| serde_json::to_vec(entry).map_err(|error| JournalError::Compress(error.into()));
    let mut entry = [Entry { time_ns, event }];
    let mut payload = json(&entry)?;
    if payload.len() > MAX_EVENT {
        for entry in &mut entry {
            shorten(&mut entry.event);
        }
        payload = json(&entry)?;
    }
    if payload.len() > MAX_PAYLOAD { Err(JournalError::TooLarge(payload.len())) } else { Ok(payload) }
}

fn shorten(value: &mut serde_json::Value) {
    match value {
        serde_json::Value::String(text) => {
            if let (short, true) = cut(text, MAX_STRING) {
                *text = format!("{short}…");
            }
        }
        serde_json::Value::Array(items) => {
            items.truncate(MAX_ITEMS);
            items.iter_mut().for_each(shorten);
        }
        serde_json::Value::Object(fields) => fields.values_mut().for_each(shorten),
        _ => {}
    }
}

/// What a guest named in an event, if it did: a text of its own, or a number in the segment's names.
pub(crate) fn guest_text(event: &mut serde_json::Value) -> Option<&mut serde_json::Value> {
    GUEST_TEXTS.iter().find(|(kind, _)| event.get(kind).is_some()).and_then(|(kind, field)| event.get_mut(kind)?.get_mut(field))
}

/// Events in which a text of a guest's stands, and its field. Such a text is a [name](crate::names), and the event holds `{"$name": NUMBER}`.
const GUEST_TEXTS: [(&str, &str); 1] = [("denied", "text")];
/// What no text of JSON can look like.
pub(crate) const NAME: &str = "$name";

/// An event longer than this has its texts cut.
const MAX_EVENT: usize = 64 << 10;
const MAX_STRING: usize = 1024;
const MAX_ITEMS: usize = 64;
