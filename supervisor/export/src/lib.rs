//! The exporter: reads the journal and hands it to a SIEM, entry by entry, until the receiver has said that it has it.
//!
//! Runs in: `edgeguard-export`, a service of its own, started by nobody but its unit and off unless it is configured.
//! Invariant: a sink's cursor is never past an entry that its receiver did not acknowledge, in the sense that [`sinks`] gives the word for each kind.
//! Does not: write to the journal, speak to the daemon, accept a connection, start a process. It is the only process of the product with an
//! outgoing network right, and has it for the ports of its configuration alone.

#![forbid(unsafe_code)]

pub mod anchors;
pub mod backoff;
pub mod config;
pub mod cursor;
pub mod error;
pub mod http;
pub mod lock;
pub mod net;
pub mod notify;
pub mod otlp;
pub mod pump;
pub mod sinks;
pub mod source;
pub mod status;
pub mod syslog;
