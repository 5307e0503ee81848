//! What can go wrong, by whose fault it is.
//!
//! Runs in: exporter.

use std::io;
use std::path::PathBuf;

use edgeguard_audit::read::ReadError;

/// The configuration cannot be used. The operator's to mend.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// A file that it names, or itself, cannot be read.
    #[error("cannot read `{}`", .path.display())]
    Read {
        /// Which.
        path: PathBuf,
        /// What the kernel said.
        #[source]
        source: io::Error,
    },
    /// It is longer than any configuration is.
    #[error("`{}` is longer than {limit} bytes", .path.display())]
    TooLong {
        /// Which.
        path: PathBuf,
        /// How long it may be.
        limit: u64,
    },
    /// It is not the TOML that belongs there.
    #[error("`{}` is not a configuration of the exporter", .path.display())]
    Syntax {
        /// Which.
        path: PathBuf,
        /// Where and what.
        #[source]
        source: Box<toml::de::Error>,
    },
    /// A value that means nothing.
    #[error("sink `{sink}`: {what}")]
    Sink {
        /// Its name.
        sink: String,
        /// What was expected, what was found.
        what: String,
    },
    /// Something about the whole.
    #[error("{0}")]
    Whole(String),
    /// A private key that others can read.
    #[error("`{}` can be read by others (mode {mode:04o}); make it `chmod 0400`", .path.display())]
    KeyMode {
        /// Which.
        path: PathBuf,
        /// Its mode.
        mode: u32,
    },
    /// A certificate or key that is none.
    #[error("`{}` holds no {what}", .path.display())]
    Pem {
        /// Which.
        path: PathBuf,
        /// What should be in it.
        what: &'static str,
    },
    /// Certificate and key do not belong together, or the library wants neither.
    #[error("sink `{sink}`: TLS cannot be set up")]
    Tls {
        /// The sink.
        sink: String,
        /// Why.
        #[source]
        source: rustls::Error,
    },
}

/// A receiver did not take what it was given. The sink waits and tries again; nothing is lost.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SinkError {
    /// No connection.
    #[error("cannot reach `{address}`")]
    Connect {
        /// Where to.
        address: String,
        /// What the kernel said.
        #[source]
        source: io::Error,
    },
    /// The connection broke, or was silent for too long.
    #[error("the connection broke")]
    Io(#[from] io::Error),
    /// The peer does not speak the protocol.
    #[error("the receiver's answer is not {expected}: found `{found}`")]
    Protocol {
        /// What belongs there.
        expected: &'static str,
        /// What came, escaped and cut.
        found: String,
    },
    /// The peer understood, and said no.
    #[error("the receiver refused: `{answer}`")]
    Refused {
        /// In its words, escaped and cut.
        answer: String,
        /// When it wants to be asked again, in seconds.
        retry_after: Option<u64>,
    },
}

/// Why the exporter ends.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ExportError {
    /// Its configuration.
    #[error("the configuration cannot be used")]
    Config(#[from] ConfigError),
    /// A name that stands for no address now.
    #[error("sink `{sink}`: `{host}` has no address")]
    Resolve {
        /// The sink.
        sink: String,
        /// The name.
        host: String,
        /// What the resolver said.
        #[source]
        source: io::Error,
    },
    /// The journal.
    #[error("the journal cannot be read")]
    Journal(#[from] ReadError),
    /// The journal is not the one that was exported so far.
    #[error("sink `{sink}`: frame {frame} of the journal is not the one that was exported; it was replaced or changed. Run `edgeguard audit verify`, and remove `{}` to export the journal from its beginning", .cursor.display())]
    OtherJournal {
        /// The sink.
        sink: String,
        /// The last frame that was acknowledged.
        frame: u64,
        /// Where the cursor is.
        cursor: PathBuf,
    },
    /// The journal does not have the history that a receiver has acknowledged a checkpoint over.
    #[error("sink `{sink}`: the receiver has a checkpoint over {frames} frames that the journal no longer leads to; it was cut, replaced or changed. Run `edgeguard audit verify --anchors` with the receiver's copy, and remove `{}` to go on all the same", .anchor.display())]
    RolledBack {
        /// The sink.
        sink: String,
        /// How many frames the checkpoint is over.
        frames: u64,
        /// Where the checkpoint is.
        anchor: PathBuf,
    },
    /// Its own files.
    #[error("cannot {step} `{}`", .path.display())]
    State {
        /// What was being done.
        step: &'static str,
        /// To which file.
        path: PathBuf,
        /// What the kernel said.
        #[source]
        source: io::Error,
    },
    /// The host cannot confine it.
    #[error("the exporter cannot be confined")]
    Unconfinable(#[from] edgeguard_sandbox::Unconfinable),
    /// A thread of its own is gone.
    #[error("the thread of sink `{0}` ended")]
    Thread(String),
    /// Names are looked up at the start only; a receiver that cannot be reached for long may have moved.
    #[error(
        "sink `{sink}`: not reached for {minutes} minutes; ending, so that the service manager starts the exporter anew and names are looked up again"
    )]
    Unreachable {
        /// The sink.
        sink: String,
        /// For how long.
        minutes: u64,
    },
}

/// An error and what is behind it, on one line, fit for a terminal.
#[must_use]
pub fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        text = format!("{text}: {error}");
        source = error.source();
    }
    edgeguard_audit::printable(text.as_bytes())
}

/// The beginning of what a peer wrote, fit for a terminal.
#[must_use]
pub fn shown(bytes: &[u8]) -> String {
    let mut text = edgeguard_audit::printable(bytes.get(..SHOWN.min(bytes.len())).unwrap_or_default());
    if bytes.len() > SHOWN {
        text.push('…');
    }
    text
}

const SHOWN: usize = 160;
