//! Whether the journal is whole and unchanged, as far as its files can say.
//!
//! Runs in: CLI, with the rights of whoever calls it; the daemon may be writing meanwhile.
//! Does not: believe more than the files, and what is known from elsewhere, can prove; [`Assurance`] says how much that is.

mod ahead;
mod names;
mod retired;
mod seals;
mod summary;
mod verdict;

use std::fs::File;
use std::path::Path;

use rustix::fs::FlockOperation;

use crate::frame::FrameType;
use crate::frame::Header;
use crate::leaves::LEAF_LEN;
use crate::note::Note;
use crate::read::BadContent;
use crate::read::Content;
use crate::read::Frame;
use crate::read::ReadError;
use crate::read::Reader;
use crate::read::calls::Part;
use crate::seal::MAX_OPEN;
use crate::segment::Stop;
use crate::segment::Tier;
use crate::tree::Tree;
use crate::verify::ahead::Seen;
use crate::verify::ahead::Step;
use crate::verify::names::Names;
pub(crate) use crate::verify::retired::Retired;
use crate::verify::seals::Broken;
use crate::verify::seals::Chain;
use crate::verify::seals::Checkpoints;
pub(crate) use crate::verify::seals::roots;
use crate::verify::summary::Counting;
pub use crate::verify::verdict::Anchored;
pub use crate::verify::verdict::Assurance;
pub use crate::verify::verdict::Trust;
pub use crate::verify::verdict::Verdict;
pub use crate::verify::verdict::Verification;

/// Checks the whole journal with nothing but its files. `progress` is told now and then how many frames of how many were checked.
pub fn verify(dir: &Path, progress: impl FnMut(u64, u64)) -> Verification {
    verify_with(dir, &Trust::default(), progress)
}

/// Checks the whole journal against what is known of it.
pub fn verify_with(dir: &Path, trust: &Trust, mut progress: impl FnMut(u64, u64)) -> Verification {
    let mut found = Verification {
        verdict: Verdict::Ok,
        assurance: Assurance::Unsealed,
        origin: String::new(),
        identity: String::new(),
        live: is_live(dir),
        frames: 0,
        anchored: 0,
        anchors: Vec::new(),
        sealed: 0,
        retired: 0,
        epoch: 0,
        bytes: 0,
        events: 0,
        records: 0,
        counted: 0,
        recounted: 0,
        erased: 0,
        denials: 0,
        opens: 0,
        unclean_opens: 0,
        frames_cut: 0,
        first_time: 0,
        last_time: 0,
        head: String::new(),
    };
    found.verdict = match check(dir, trust, &mut found, &mut progress) {
        Ok(()) => Verdict::Ok,
        Err(verdict) => verdict,
    };
    found.assurance = match (found.sealed, found.anchored) {
        (0, _) => Assurance::Unsealed,
        (_, 0) => Assurance::Unanchored,
        _ => Assurance::Anchored,
    };
    found
}

fn check(dir: &Path, trust: &Trust, found: &mut Verification, progress: &mut impl FnMut(u64, u64)) -> Result<(), Verdict> {
    let mut reader = Reader::open(dir).map_err(unreadable)?;
    // It reads contents and leaves, and stays at its beginning: another thread is ahead with the first one.
    let mut decoder = Reader::open(dir).map_err(unreadable)?;
    // By the threads that hash frames.
    decoder.names_are_held();
    let mut state = State::new(dir, trust);
    if trust.contents {
        state.counting.recount(dir).map_err(|error| Verdict::Unreadable { why: format!("`sum`: {error}") })?;
    }
    let mut checkpoints = state.checkpoints()?;
    state.claimed = checkpoints.sizes().max().unwrap_or(0);
    let mut rounds = 0;
    loop {
        state.frames(&mut reader, &mut decoder, found, progress)?;
        checkpoints = if found.live { state.checkpoints()? } else { checkpoints };
        // While it is written, a new epoch may have begun behind the last frame that was read, and its file with it.
        rounds += 1;
        if !found.live || rounds > MAX_ROUNDS || checkpoints.sizes().min().is_none_or(|size| size <= found.frames) {
            break;
        }
    }
    progress(found.frames, found.frames);
    if found.frames == 0 && !found.live {
        return Err(Verdict::Incomplete { why: "there is no frame, not even the first one".into() });
    }
    found.erased = state.names.erased();
    state.names.explained()?;
    state.seals(&reader, &checkpoints, found)?;
    state.names.sealed(found.sealed)?;
    if !found.live {
        unfinished_end(&mut reader, found.frames)?;
        if checkpoints.torn {
            return Err(Verdict::Incomplete { why: "`checkpoints` ends with half a checkpoint".into() });
        }
    }
    Ok(())
}

/// What the frames before say about the next one.
struct State<'a> {
    dir: &'a Path,
    trust: &'a Trust,
    next_seq: [u64; 3],
    leaf: Option<[u8; 32]>,
    tree: Tree,
    chain: Chain,
    retired: Option<Retired>,
    counting: Counting,
    names: Names,
    /// Dictionaries of the current segment of calls that nobody has needed yet.
    unread: Vec<Frame>,
    /// What the journal holds of checkpoints that others have signed.
    anchors: Vec<Note>,
    /// Frames below this are said to be sealed, which is found out at the end.
    claimed: u64,
    /// Since the last seal that a frame holds: the first and the last time of one that was written at once.
    open_times: Option<(u64, u64)>,
}

impl<'a> State<'a> {
    fn new(dir: &'a Path, trust: &'a Trust) -> Self {
        Self {
            dir,
            trust,
            next_seq: [0; 3],
            leaf: None,
            tree: Tree::default(),
            chain: Chain::default(),
            retired: None,
            counting: Counting::default(),
            names: Names::default(),
            unread: Vec::new(),
            anchors: Vec::new(),
            claimed: 0,
            open_times: None,
        }
    }

    fn checkpoints(&self) -> Result<Checkpoints, Verdict> {
        Checkpoints::read(self.dir).map_err(|error| Verdict::Unreadable { why: format!("`checkpoints`: {error}") })
    }

    /// Every frame up to the end.
    fn frames(
        &mut self,
        reader: &mut Reader,
        decoder: &mut Reader,
        found: &mut Verification,
        progress: &mut impl FnMut(u64, u64),
    ) -> Result<(), Verdict> {
        let calls_from = if self.trust.contents { 0 } else { self.claimed };
        let checked = ahead::ahead(reader, calls_from, |steps| {
            for step in steps {
                if found.frames.is_multiple_of(PROGRESS_EVERY) {
                    progress(found.frames, decoder.frames().map_err(unreadable)?);
                }
                match step {
                    Step::Frame(seen) => {
                        self.gap(seen.frame.header.frame_no, decoder, found)?;
                        self.frame(*seen, decoder, found)?;
                        decoder.origin().clone_into(&mut found.origin);
                    }
                    Step::End(upto) => return self.gap(upto, decoder, found),
                    Step::Bad(error) => return Err(judge(error, found.frames)),
                }
            }
            // Every run of steps ends with one of the other two.
            Err(Verdict::Unreadable { why: "reading stopped before the journal's end".into() })
        });
        checked.unwrap_or_else(|error| Err(Verdict::Unreadable { why: format!("cannot start a thread: {error}") }))
    }

    /// Frames that are not there: each must have been in a segment that a frame says was deleted.
    fn gap(&mut self, upto: u64, reader: &Reader, found: &mut Verification) -> Result<(), Verdict> {
        let from = found.frames;
        if from >= upto {
            return Ok(());
        }
        let mut retired = match self.retired.take() {
            Some(retired) => retired,
            None => self.look()?,
        };
        let mut unexplained = retired.unexplained(from, upto);
        if unexplained.is_some() && found.live {
            // It may have been deleted since.
            retired = self.look()?;
            unexplained = retired.unexplained(from, upto);
        }
        if let Some(frame) = unexplained {
            self.retired = Some(retired);
            return Err(judge(ReadError::Missing(frame), frame));
        }
        for gone in retired.passed(from, upto) {
            let next_seq = self.next_seq.get_mut(if gone.tier == Tier::Summary { 2 } else { 1 });
            if let Some(next_seq) = next_seq.filter(|next_seq| **next_seq == gone.first_seq) {
                *next_seq = gone.next_seq;
            }
            if let Some((first, next)) = gone.counted {
                self.counting.passed(first, next);
            }
        }
        self.retired = Some(retired);
        for number in from..upto {
            let leaf = reader.leaf(number).map_err(unreadable)?;
            self.leaf = leaf;
            self.tree.push(leaf.unwrap_or_default());
        }
        found.frames = upto;
        found.retired += upto - from;
        Ok(())
    }

    fn look(&self) -> Result<Retired, Verdict> {
        Retired::look(self.dir).map_err(|error| Verdict::Unreadable { why: format!("the journal's own frames: {error}") })
    }

    /// The next frame, with what was made of it.
    fn frame(&mut self, seen: Seen, reader: &mut Reader, found: &mut Verification) -> Result<(), Verdict> {
        let Seen { frame, leaf, names, calls } = seen;
        let header = frame.header;
        let number = header.frame_no;
        let place = || format!("frame {number} in `{}`", frame.segment_name());
        let tampered = |why: String| Verdict::Tampered { place: place(), why, from: number, to: number.saturating_add(1) };
        if reader.leaf(number).map_err(unreadable)? != Some(leaf) {
            return Err(tampered("it is not the frame that was written: its digest is not the one in `leaves`".into()));
        }
        let (tier, home) = match header.kind {
            FrameType::Detail => (1, Tier::Detail),
            FrameType::Summary => (2, Tier::Summary),
            FrameType::Dict => match frame.tier {
                Tier::Security => (0, Tier::Security),
                Tier::Detail => (1, Tier::Detail),
                Tier::Summary => (2, Tier::Summary),
            },
            _ => (0, Tier::Security),
        };
        if frame.tier != home {
            return Err(tampered(format!("a frame of type {:?} is not written to this tier", header.kind)));
        }
        if (number == 0) != (header.kind == FrameType::Genesis) {
            return Err(tampered("a journal has one first frame, and it is frame 0".into()));
        }
        let begins = u32::from(header.kind == FrameType::Epoch);
        if header.epoch != self.chain.epoch().saturating_add(begins) {
            return Err(tampered(format!("it is of epoch {}, and the journal is in epoch {}", header.epoch, self.chain.epoch())));
        }
        let next_seq = self.next_seq.get_mut(tier).ok_or_else(|| tampered("its tier does not exist".into()))?;
        let deleted = tier == 1 && self.retired.as_ref().is_some_and(|retired| retired.held(*next_seq, header.first_seq));
        if header.first_seq != *next_seq && !deleted {
            return Err(tampered(format!("it begins with event {}, expected {next_seq}", header.first_seq)));
        }
        *next_seq = header.first_seq.saturating_add(header.n.into());
        let kind = header.kind;
        if let Some(names) = names {
            self.names.dict(number, names.map_err(tampered)?);
        }
        if tier == 1 && number < self.claimed && !self.trust.contents {
            // What is in a frame that is signed for was written so. That it is will be shown at the end.
            found.records += u64::from(header.n);
        } else {
            self.content(&frame, calls, reader, found, tampered)?;
        }
        if number < self.claimed {
            self.open_times = None;
        } else if tier == 0 {
            let first = self.open_times.filter(|_| header.kind != FrameType::Boot).map_or(header.t0_boot, |(first, _)| first);
            self.open_times = Some((first, header.t0_boot));
        }
        if number == 0 {
            found.first_time = header.t0_real;
        }
        found.last_time = found.last_time.max(header.t0_real.saturating_add(u64::from(header.span_us) * 1000));
        found.frames += 1;
        found.bytes += frame.bytes().len() as u64;
        found.head = hex::encode(leaf);
        self.leaf = Some(leaf);
        self.tree.push(leaf);
        if kind == FrameType::Dict && tier == 1 && number < self.claimed && !self.trust.contents {
            self.unread.retain(|before| before.segment == frame.segment);
            self.unread.push(frame);
        }
        Ok(())
    }

    fn content(
        &mut self,
        frame: &Frame,
        calls: Option<Result<Vec<Part>, BadContent>>,
        reader: &mut Reader,
        found: &mut Verification,
        tampered: impl Fn(String) -> Verdict,
    ) -> Result<(), Verdict> {
        let number = frame.header.frame_no;
        if frame.tier == Tier::Detail {
            // Calls behind the last seal name strings that stand before it in their segment.
            for before in std::mem::take(&mut self.unread).iter().filter(|before| before.segment == frame.segment) {
                reader.decode(before).map_err(|error| judge(error, before.header.frame_no))?;
            }
        }
        if let Some(parts) = calls {
            let parts = parts.map_err(|source| judge(ReadError::Payload { frame: number, source }, number))?;
            if self.calls(frame, &parts, reader)? {
                found.records += u64::from(frame.header.n);
                return Ok(());
            }
        }
        match reader.decode(frame).map_err(|error| judge(error, number))? {
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
                self.names.opened(opened.sealed.unwrap_or(number));
                found.opens += 1;
                found.unclean_opens += u64::from(opened.recovery.unclean);
                found.frames_cut = found.frames_cut.saturating_add(opened.recovery.frames_cut);
            }
            Content::Events(items) => {
                found.events += items.len() as u64;
                found.denials += items.iter().filter(|item| item.what.is_denial()).count() as u64;
            }
            Content::Calls(items) => {
                found.records += items.len() as u64;
                self.counting.calls(&items);
            }
            Content::Summary(summary) => {
                let next_call = self.next_seq.get_mut(1).ok_or_else(|| tampered("its tier does not exist".into()))?;
                *next_call = self.counting.summary(&summary, *next_call, self.retired.as_ref()).map_err(tampered)?;
                (found.counted, found.recounted) = (self.counting.counted, self.counting.held);
            }
            Content::Account(_) if !self.counting.is_complete(self.next_call(), self.retired.as_ref()) => {
                let why = format!("the journal was closed, and calls from number {} on are not counted", self.counting.counted);
                return Err(tampered(why));
            }
            Content::Retention(retention) if retention.tier() == Tier::Detail && retention.next_seq > self.counting.counted => {
                let why = format!("it deletes calls from number {} on that are not counted", self.counting.counted);
                return Err(tampered(why));
            }
            Content::Epoch(start, note) => {
                self.chain.begin(number, &note, &start, &self.tree, self.trust).map_err(Verdict::from)?;
                found.identity = self.chain.identity().map(ToString::to_string).unwrap_or_default();
                (found.sealed, found.epoch) = (self.chain.sealed, self.chain.epoch());
                self.open_times = None;
            }
            Content::Anchor(note) => self.anchors.push(note),
            Content::Erasure(erasure) => self.names.erasure(number, &erasure),
            Content::Genesis | Content::Dictionary | Content::Account(_) | Content::Retention(_) => {}
        }
        Ok(())
    }

    /// The calls of a frame, summed up; false if they must be looked at one by one, because what counts them ends within the frame.
    fn calls(&mut self, frame: &Frame, parts: &[Part], reader: &mut Reader) -> Result<bool, Verdict> {
        let Header { frame_no, first_seq, n, .. } = frame.header;
        let mut named = Vec::with_capacity(parts.len());
        for part in parts {
            named.push(reader.names_of(frame, part).map_err(|error| judge(error, frame_no))?);
        }
        let parts = parts.iter().zip(&named).map(|(part, (source, text))| (part, &**source, text.as_deref()));
        Ok(self.counting.parts(&(first_seq..first_seq.saturating_add(n.into())), parts))
    }

    /// The number of the call that comes next.
    fn next_call(&self) -> u64 {
        self.next_seq.get(1).copied().unwrap_or_default()
    }

    /// Every signature that is not in a frame, and what has none.
    fn seals(&mut self, reader: &Reader, checkpoints: &Checkpoints, found: &mut Verification) -> Result<(), Verdict> {
        let frames = found.frames;
        let whole = |why: &str| Verdict::Tampered { place: "the journal".into(), why: why.into(), from: 0, to: frames };
        let Some(began) = self.chain.began() else {
            let wanted = self.trust.identity.is_some()
                || !(self.trust.anchors.is_empty() && self.trust.doubted.is_empty())
                || self.trust.liveness.is_some();
            if wanted || checkpoints.there || found.retired > 0 {
                return Err(whole("it holds no seal, and should"));
            }
            return Ok(());
        };
        let known = self
            .trust
            .anchors
            .iter()
            .chain(&self.trust.doubted)
            .chain(self.trust.liveness.as_ref().map(|(note, _)| note))
            .chain(&self.anchors);
        let sizes = checkpoints.sizes().chain(known.filter_map(seals::size_of));
        let roots = seals::roots(reader.leaves(), sizes.filter(|size| *size <= frames));
        let roots = roots.map_err(|error| Verdict::Unreadable { why: format!("`leaves`: {error}") })?;
        for note in &checkpoints.notes {
            // One that was written while the frames were read is over frames that were not.
            let later = found.live && Note::parse(note).ok().as_ref().and_then(seals::size_of).is_some_and(|size| size > frames);
            if !later {
                self.chain.checkpoint(note, frames, &roots)?;
            }
            found.sealed = self.chain.sealed;
        }
        let open = |why: String| Verdict::Tampered { place: "the end".into(), why, from: self.chain.sealed, to: frames };
        if !found.live && checkpoints.notes.is_empty() && began + 1 < frames {
            return Err(open("`checkpoints` is gone or empty, and the journal does not end with the beginning of an epoch".into()));
        }
        if frames - self.chain.sealed > MAX_OPEN {
            let why = format!("{} frames have no seal, at most {MAX_OPEN} can be: seals were removed", frames - self.chain.sealed);
            return Err(open(why));
        }
        if let Some((first, last)) = self.open_times
            && last.saturating_sub(first) > MAX_OPEN_NS
        {
            return Err(open("frames of more than a minute have no seal: seals were removed".into()));
        }
        if let Some(retired) = self.retired.as_ref().filter(|_| found.retired > 0)
            && retired.said_by >= self.chain.sealed
        {
            let why = "segments are gone, and the frame that says so is not sealed".into();
            return Err(Verdict::Tampered { place: format!("frame {}", retired.said_by), why, from: 0, to: frames });
        }
        let kept = self.trust.anchors.iter().map(|note| (note, Some(self.trust.threshold)));
        let doubted = self.trust.doubted.iter().map(|note| (note, None));
        // The journal's own proves nothing by itself: who has its keys can have put it there.
        let own = self.anchors.iter().map(|note| (note, Some(self.trust.threshold.max(1))));
        for (note, needed) in kept.chain(doubted).chain(own) {
            let size = self.chain.anchor(note, frames, &roots, self.trust)?;
            let witnesses = seals::cosigned(note, frames, &self.trust.witnesses)?;
            let counts = needed.is_some_and(|needed| witnesses.len() >= needed);
            if counts {
                found.anchored = found.anchored.max(size);
            }
            found.anchors.push(Anchored { frames: size, counts, witnesses });
        }
        if let Some((note, nonce)) = &self.trust.liveness {
            found.anchored = found.anchored.max(self.chain.alive(note, nonce, frames, &roots)?);
        }
        Ok(())
    }
}

impl From<Broken> for Verdict {
    fn from(Broken { place, why, from, to }: Broken) -> Self {
        Self::Tampered { place, why, from, to }
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
                from: frames,
                to: scan.after.last().map_or(frames, |(_, header)| header.frame_no.saturating_add(1)),
            });
        }
    }
    if without_leaf.iter().zip(frames..).any(|(number, expected)| *number != expected) {
        let number = without_leaf.first().copied().unwrap_or_default();
        let place = rests.first().map_or_else(String::new, |(segment, _)| format!("`{segment}`"));
        let why = format!("frame {number} stands where frame {frames} should follow");
        let to = without_leaf.last().map_or(frames, |last| last.saturating_add(1));
        return Err(Verdict::Tampered { place, why, from: frames, to });
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
fn judge(error: ReadError, number: u64) -> Verdict {
    let tampered = |place: String, why: String| Verdict::Tampered { place, why, from: number, to: number.saturating_add(1) };
    match &error {
        ReadError::Io { .. } => unreadable(error),
        ReadError::Bad { source: crate::frame::BadFrame::Version(_) | crate::frame::BadFrame::Type(_), .. } => unreadable(error),
        ReadError::Bad { segment, offset, source, .. } => {
            tampered(format!("`{segment}`, byte {offset}"), format!("no valid frame: {source}; {CRASH}"))
        }
        ReadError::Missing(frame) => tampered(format!("frame {frame}"), format!("it was written and is not there; {CRASH}")),
        ReadError::Payload { frame, source } => {
            let why = match source {
                BadContent::Columns(source) => source.to_string(),
                other => other.to_string(),
            };
            tampered(format!("frame {frame}"), format!("its payload {why}"))
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
/// How often the end of a journal that is being written is looked for.
const MAX_ROUNDS: u32 = 16;
/// Frames of so many nanoseconds may be without a seal: the journal seals within a second, and a slow disk may keep it from that for a while.
const MAX_OPEN_NS: u64 = 60_000_000_000;
