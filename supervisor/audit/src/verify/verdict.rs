//! What is asked of a verification, and what it answers.
//!
//! Runs in: CLI.

use serde::Serialize;

use crate::note::Note;
use crate::note::VerifierKey;

/// What can be said of the journal.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case", tag = "verdict")]
pub enum Verdict {
    /// Every frame is there or was deleted in order, stands in its place, and is the one that was written, as far as [`Verification::assurance`] goes.
    Ok,
    /// A crash has left an unfinished end. The next start of the daemon cuts it off and says so.
    Incomplete {
        /// What is unfinished.
        why: String,
    },
    /// Something was changed, removed or added, or the disk has lost it.
    Tampered {
        /// Where: a frame, or a file.
        place: String,
        /// What is not as it was written.
        why: String,
        /// The first frame that is not proven because of it.
        from: u64,
        /// The frame behind the last such frame.
        to: u64,
    },
    /// It cannot be read, or it is of another format.
    Unreadable {
        /// What cannot be read.
        why: String,
    },
}

/// How much a verdict of `ok` means.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Assurance {
    /// Nothing is signed: whoever can write the files can have made them.
    Unsealed,
    /// Signed with the journal's keys. Whoever has taken over the machine can have cut off its end, or changed what is younger than the epoch.
    Unanchored,
    /// And somebody else knows the state: what is anchored cannot have been changed since, by anybody.
    Anchored,
}

/// What is known of the journal from elsewhere.
#[derive(Debug, Clone, Default)]
pub struct Trust {
    /// The identity key it must be sealed with. Without it, the key that the journal names is believed.
    pub identity: Option<VerifierKey>,
    /// Checkpoints of it that were kept elsewhere.
    pub anchors: Vec<Note>,
    /// Checkpoints of it that are held against it, and prove nothing to whoever asks: not stamped by a timestamp authority that is trusted, say.
    pub doubted: Vec<Note>,
    /// Witnesses whose signatures below a checkpoint count.
    pub witnesses: Vec<VerifierKey>,
    /// How many of them must have signed a checkpoint before it anchors anything; one that stands in the journal itself needs at least one.
    pub threshold: usize,
    /// What the running daemon has answered, and what it was asked with.
    pub liveness: Option<(Note, Vec<u8>)>,
    /// Reads every call, also those that a seal covers.
    pub contents: bool,
}

/// A checkpoint that was held against the journal and is of its history.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Anchored {
    /// How many frames it is over.
    pub frames: u64,
    /// Whether it anchors them, by what was asked for.
    pub counts: bool,
    /// The trusted witnesses that have signed it, and when they say they did, in seconds since 1970.
    pub witnesses: Vec<(String, u64)>,
}

/// The verdict, and what was counted up to it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Verification {
    /// The verdict.
    #[serde(flatten)]
    pub verdict: Verdict,
    /// What the verdict rests on.
    pub assurance: Assurance,
    /// Who writes the journal.
    pub origin: String,
    /// The identity key it is sealed with, `NAME+HASH+BASE64`; empty for none.
    pub identity: String,
    /// Whether it is being written now.
    pub live: bool,
    /// Frames that are as they were written, deleted ones included.
    pub frames: u64,
    /// Frames below this are known elsewhere.
    pub anchored: u64,
    /// What vouches for that, one entry for each checkpoint that was held against the journal.
    pub anchors: Vec<Anchored>,
    /// Frames below this are signed for; those from here on are open.
    pub sealed: u64,
    /// Frames that were deleted in order.
    pub retired: u64,
    /// The signing epoch.
    pub epoch: u32,
    /// Bytes of these frames.
    pub bytes: u64,
    /// Security events in them.
    pub events: u64,
    /// Calls in them.
    pub records: u64,
    /// Calls that are counted in summaries, those included that are deleted.
    pub counted: u64,
    /// Calls whose counts were held against them; only with [`Trust::contents`].
    pub recounted: u64,
    /// Names that were erased, each as a frame says.
    pub erased: u64,
    /// Denials among the security events.
    pub denials: u64,
    /// How often the journal was opened.
    pub opens: u64,
    /// How often it was found not closed in order.
    pub unclean_opens: u64,
    /// Frames that were cut off an unfinished end then.
    pub frames_cut: u64,
    /// The first frame's time, nanoseconds since the Unix epoch; 0 for none.
    pub first_time: u64,
    /// The last frame's.
    pub last_time: u64,
    /// Leaf of the last frame, in hex.
    pub head: String,
}
