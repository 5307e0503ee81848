//! The journal: what a guest, an operator and the product itself did, on record.
//!
//! Runs in: worker (records into its ring), daemon (drains rings, writes the journal), CLI (reads, verifies, exports).
//! Does not: store a byte of any payload, nor decide anything.

#![forbid(unsafe_code)]

mod buffer;
mod call_table;
mod calls;
mod clock;
mod columns;
mod cursor;
pub mod describe;
mod dict;
mod error;
mod event;
pub mod frame;
mod journal;
mod leaves;
mod ocsf;
mod ocsf_calls;
mod payload;
mod position;
pub mod read;
mod record;
mod recover;
mod ring;
mod segment;
mod text;
mod time;
mod verify;

pub use calls::CallId;
pub use calls::INTERFACES;
pub use calls::Interface;
pub use calls::call_id;
pub use clock::boottime_ns;
pub use clock::realtime_ns;
pub use columns::BadPayload;
pub use dict::Source;
pub use error::JournalError;
pub use event::Event;
pub use journal::Journal;
pub use journal::SYNC_WITHIN;
pub use journal::Stats;
pub use ocsf::MAX_LINE;
pub use ocsf::Ocsf;
pub use position::Position;
pub use record::BadRecord;
pub use record::Outcome;
pub use record::RULE_GRAPHS;
pub use record::Record;
pub use record::TEXT;
pub use record::TRUNCATED;
pub use recover::Recovery;
pub use ring::Consumer;
pub use ring::MAX_TEXT;
pub use ring::NotARing;
pub use ring::Producer;
pub use ring::RING_LEN;
pub use ring::RingCorrupt;
pub use segment::Tier;
pub use text::printable;
pub use time::parse_since;
pub use time::rfc3339;
pub use verify::Verdict;
pub use verify::Verification;
pub use verify::verify;
