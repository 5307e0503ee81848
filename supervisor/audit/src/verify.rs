//! Whether the journal is whole and unchanged, as far as its files can say.
//!
//! Runs in: CLI, with the rights of whoever calls it; the daemon may be writing meanwhile.
//! Does not: prove who wrote the journal. Whoever can write the files and knows the format can write another journal; what holds against that is
//! a signature over the leaves, or a copy of the last leaf kept elsewhere.

use std::fs::File;
use std::path::Path;

use rustix::fs::FlockOperation;
use serde::Serialize;

use crate::frame::FrameType;
use crate::leaves::LEAF_LEN;
use crate::read::BadContent;
use crate::read::Content;
use crate::read::Frame;
use crate::read::ReadError;
use crate::read::Reader;
use crate::segment::Stop;
use crate::segment::Tier;

/// What can be said of the journal.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case", tag = "verdict")]
pub enum Verdict {
    /// Every frame is there, in its order, and is the one that was written.
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
    },
    /// It cannot be read, or it is of another format.
    Unreadable {
        /// What cannot be read.
        why: String,
    },
}

/// The verdict, and what was counted up to it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Verification {
    /// The verdict.
    #[serde(flatten)]
    pub verdict: Verdict,
    /// Who writes the journal.
    pub origin: String,
    /// Whether it is being written now.
    pub live: bool,
    /// Frames that are as they were written.
    pub frames: u64,
    /// Bytes of these frames.
    pub bytes: u64,
    /// Security events in them.
    pub events: u64,
    /// Calls in them.
    pub records: u64,
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

/// Checks the whole journal. `progress` is told now and then how many frames of how many were checked.
pub fn verify(dir: &Path, mut progress: impl FnMut(u64, u64)) -> Verification {
    let mut found = Verification {
        verdict: Verdict::Ok,
        origin: String::new(),
        live: is_live(dir),
        frames: 0,
        bytes: 0,
        events: 0,
        records: 0,
        denials: 0,
        opens: 0,
        unclean_opens: 0,
        frames_cut: 0,
        first_time: 0,
        last_time: 0,
        head: String::new(),
    };
    found.verdict = match check(dir, &mut found, &mut progress) {
        Ok(()) => Verdict::Ok,
        Err(verdict) => verdict,
    };
    found
}

fn check(dir: &Path, found: &mut Verification, progress: &mut impl FnMut(u64, u64)) -> Result<(), Verdict> {
    let mut reader = Reader::open(dir).map_err(unreadable)?;
    let mut state = State::default();
    loop {
        let frames = reader.frames().map_err(unreadable)?;
        if found.frames.is_multiple_of(PROGRESS_EVERY) {
            progress(found.frames, frames);
        }
        let Some(frame) = reader.next_frame().map_err(judge)? else { break };
        state.check(&frame, &mut reader, found)?;
        found.origin = reader.origin().to_owned();
    }
    progress(found.frames, found.frames);
    if found.frames == 0 && !found.live {
        return Err(Verdict::Incomplete { why: "there is no frame, not even the first one".into() });
    }
    if !found.live {
        unfinished_end(&mut reader, found.frames)?;
    }
    Ok(())
}

/// What the frames before say about the next one.
#[derive(Default)]
struct State {
    next_seq: [u64; 2],
    leaf: Option<[u8; 32]>,
}

impl State {
    fn check(&mut self, frame: &Frame, reader: &mut Reader, found: &mut Verification) -> Result<(), Verdict> {
        let header = &frame.header;
        let number = header.frame_no;
        let tampered = |why: String| Verdict::Tampered { place: format!("frame {number} in `{}`", frame.segment_name()), why };
        let leaf = frame.leaf();
        if reader.leaf(number).map_err(unreadable)? != Some(leaf) {
            return Err(tampered("it is not the frame that was written: its digest is not the one in `leaves`".into()));
        }
        let (tier, home) = match header.kind {
            FrameType::Detail | FrameType::Dict => (1, Tier::Detail),
            _ => (0, Tier::Security),
        };
        if frame.tier != home {
            return Err(tampered(format!("a frame of type {:?} is not written to this tier", header.kind)));
        }
        if (number == 0) != (header.kind == FrameType::Genesis) {
            return Err(tampered("a journal has one first frame, and it is frame 0".into()));
        }
        let next_seq = self.next_seq.get_mut(tier).ok_or_else(|| tampered("its tier does not exist".into()))?;
        if header.first_seq != *next_seq {
            return Err(tampered(format!("it begins with event {}, expected {next_seq}", header.first_seq)));
        }
        *next_seq = next_seq.saturating_add(header.n.into());
        match reader.decode(frame).map_err(judge)? {
            Content::Boot(opened) => {
                if opened.head != self.leaf.map(hex::encode).unwrap_or_default() {
                    return Err(tampered("it was written behind another frame than the one before it".into()));
                }
                if !opened.recovery.damage.is_empty() {
                    return Err(tampered(format!(
                        "when the journal was opened, it was damaged: {}",
                        crate::printable(opened.recovery.damage.as_bytes())
                    )));
                }
                found.opens += 1;
                found.unclean_opens += u64::from(opened.recovery.unclean);
                found.frames_cut = found.frames_cut.saturating_add(opened.recovery.frames_cut);
            }
            Content::Events(items) => {
                found.events += items.len() as u64;
                found.denials += items.iter().filter(|item| item.what.is_denial()).count() as u64;
            }
            Content::Calls(items) => found.records += items.len() as u64,
            Content::Genesis | Content::Dictionary | Content::Account(_) => {}
        }
        if number == 0 {
            found.first_time = header.t0_real;
        }
        found.last_time = found.last_time.max(header.t0_real.saturating_add(u64::from(header.span_us) * 1000));
        found.frames += 1;
        found.bytes += frame.bytes().len() as u64;
        found.head = hex::encode(leaf);
        self.leaf = Some(leaf);
        Ok(())
    }
}

/// What stands behind the last frame that has a leaf, when nobody is writing.
fn unfinished_end(reader: &mut Reader, frames: u64) -> Result<(), Verdict> {
    let rests = reader.rest().map_err(unreadable)?;
    let mut without_leaf: Vec<u64> = rests.iter().flat_map(|(_, scan)| &scan.frames).map(|(_, header)| header.frame_no).collect();
    without_leaf.sort_unstable();
    for (segment, scan) in &rests {
        if let Stop::Hole(bad) = scan.stop {
            return Err(Verdict::Tampered {
                place: format!("`{segment}`"),
                why: format!("valid frames stand behind bytes that are none: {bad}"),
            });
        }
    }
    if without_leaf.iter().zip(frames..).any(|(number, expected)| *number != expected) {
        let number = without_leaf.first().copied().unwrap_or_default();
        let place = rests.first().map_or_else(String::new, |(segment, _)| format!("`{segment}`"));
        return Err(Verdict::Tampered { place, why: format!("frame {number} stands where frame {frames} should follow") });
    }
    if let Some((segment, _)) = rests.iter().find(|(_, scan)| scan.stop != Stop::Clean) {
        return Err(Verdict::Incomplete { why: format!("`{segment}` ends with half a frame") });
    }
    if !without_leaf.is_empty() {
        return Err(Verdict::Incomplete { why: format!("{} frames at the end have no leaf", without_leaf.len()) });
    }
    if !reader.leaves_len().map_err(unreadable)?.is_multiple_of(LEAF_LEN) {
        return Err(Verdict::Incomplete { why: "`leaves` ends with half a leaf".into() });
    }
    Ok(())
}

/// A frame with a leaf was once whole, so one that is not there or does not parse has been changed since.
fn judge(error: ReadError) -> Verdict {
    match &error {
        ReadError::Io { .. } => unreadable(error),
        ReadError::Bad { source: crate::frame::BadFrame::Version(_) | crate::frame::BadFrame::Type(_), .. } => unreadable(error),
        ReadError::Bad { segment, offset, source, .. } => {
            Verdict::Tampered { place: format!("`{segment}`, byte {offset}"), why: format!("no valid frame: {source}; {CRASH}") }
        }
        ReadError::Missing(frame) => {
            Verdict::Tampered { place: format!("frame {frame}"), why: format!("it was written and is not there; {CRASH}") }
        }
        ReadError::Payload { frame, source } => {
            let why = match source {
                BadContent::Columns(source) => source.to_string(),
                other => other.to_string(),
            };
            Verdict::Tampered { place: format!("frame {frame}"), why: format!("its payload {why}") }
        }
    }
}

fn unreadable(error: ReadError) -> Verdict {
    let mut why = error.to_string();
    let mut source = std::error::Error::source(&error);
    while let Some(error) = source {
        why = format!("{why}: {error}");
        source = error.source();
    }
    Verdict::Unreadable { why }
}

/// Whether a daemon holds the journal's lock.
fn is_live(dir: &Path) -> bool {
    let Ok(lock) = File::open(dir.join("lock")) else { return false };
    matches!(rustix::fs::flock(&lock, FlockOperation::NonBlockingLockShared), Err(rustix::io::Errno::WOULDBLOCK))
}

const CRASH: &str =
    "if power failed and the daemon has not been started since, start it first: it cuts off what had not reached the disk, and says so";
const PROGRESS_EVERY: u64 = 256;
