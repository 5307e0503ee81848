//! What a sealed journal does beside recording: it answers who asks whether it is alive, keeps others' signatures, and lets old calls and counts go.
//!
//! Runs in: daemon, on the journal's thread.
//! Does not: delete a segment before the frame that says so is sealed, nor one that is damaged.

use std::collections::VecDeque;
use std::path::PathBuf;

use crate::clock::realtime_ns;
use crate::error::JournalError;
use crate::event::Event;
use crate::frame::FrameType;
use crate::frame::HEADER_LEN;
use crate::journal::Journal;
use crate::leaves::LEAF_LEN;
use crate::note::Note;
use crate::note::Signed;
use crate::note::VerifierKey;
use crate::payload::Retention;
use crate::seal::Sealer;
use crate::segment;
use crate::segment::Stop;
use crate::segment::Tier;
use crate::statement::Checkpoint;
use crate::statement::NONCE_LEN;
use crate::summary::Coverage;
use crate::summary::Window;
use crate::tree::Tree;

impl Journal {
    /// The public half of the identity key as `NAME+HASH+BASE64` (c2sp.org/signed-note); nothing without keys.
    ///
    /// # Errors
    /// [`JournalError::Keys`]
    pub fn verifier_key(&self) -> Result<Option<VerifierKey>, JournalError> {
        self.sealer.as_ref().map(Sealer::verifier).transpose()
    }

    /// The answer to who asks whether this journal is alive: everything is on the disk, and the journal's state is signed together with `nonce`
    /// (16 to 64 bytes that the asker has chosen), with the identity key and the current epoch's. A copy of an older journal cannot give it.
    ///
    /// # Errors
    /// [`JournalError::Unsealed`], [`JournalError::Statement`] for a nonce of another length, and those of [`Journal::sync`].
    pub fn attest(&mut self, nonce: &[u8]) -> Result<String, JournalError> {
        if !NONCE_LEN.contains(&nonce.len()) {
            return Err(JournalError::Statement("a nonce has 16 to 64 bytes"));
        }
        self.sync()?;
        let sealer = self.sealer.as_ref().ok_or(JournalError::Unsealed)?;
        Ok(sealer.answer(nonce, realtime_ns())?.to_string())
    }

    /// Keeps a checkpoint of this journal that somebody else has signed too: a witness, or whoever received it.
    ///
    /// # Errors
    /// [`JournalError::Statement`] when it is not a checkpoint of this journal as it is; [`JournalError::Unsealed`], and those of
    /// [`Journal::append`].
    pub fn anchor(&mut self, note: &str) -> Result<(), JournalError> {
        let key = self.verifier_key()?.ok_or(JournalError::Unsealed)?;
        let parsed = Note::parse(note).map_err(|_| JournalError::Statement("the anchor is not a signed note"))?;
        let checkpoint =
            Checkpoint::parse(parsed.text()).map_err(|_| JournalError::Statement("the anchor is not a checkpoint of three lines"))?;
        if checkpoint.origin != key.name() || parsed.signed_by(&key) != Signed::Good(None) {
            return Err(JournalError::Statement("the anchor is not signed with this journal's identity key"));
        }
        let mut tree = Tree::default();
        if checkpoint.size <= self.next_frame {
            self.leaves.each(checkpoint.size, |leaf| tree.push(leaf)).map_err(JournalError::io("read the leaves", &self.dir))?;
        }
        if tree.size() != checkpoint.size || tree.root() != checkpoint.root {
            return Err(JournalError::Statement("the anchor is of another history than this journal's"));
        }
        self.own_bytes(FrameType::Anchor, parsed.to_string().as_bytes())
    }

    /// Bytes of calls that the budgets leave; nothing without a budget.
    pub(super) fn detail_keep(&self) -> Result<Option<u64>, JournalError> {
        let Some(budget) = self.budget else { return Ok(self.detail_budget) };
        let mut others = self.next_frame.saturating_mul(LEAF_LEN).saturating_add(self.reserve.bytes());
        for tier in [Tier::Security, Tier::Summary] {
            others = self.segments(tier)?.iter().map(|(_, _, len)| len).fold(others, |sum, len| sum.saturating_add(*len));
        }
        // Who causes many events does not get the calls deleted by it.
        let keep = budget.saturating_sub(others).max(budget / 2);
        Ok(Some(self.detail_budget.map_or(keep, |detail| detail.min(keep))))
    }

    /// The segments of a tier: first frame, path and length.
    fn segments(&self, tier: Tier) -> Result<VecDeque<(u64, PathBuf, u64)>, JournalError> {
        let io = |what| JournalError::io(what, &self.dir);
        let mut segments = VecDeque::new();
        for (first, path) in segment::list(&self.dir, tier).map_err(io("list segments"))? {
            let len = std::fs::metadata(&path).map_err(io("read a segment"))?.len();
            segments.push_back((first, path, len));
        }
        Ok(segments)
    }

    /// Keeps the counts within their share of the budget, an eighth: windows become longer when half of it is used, and once more at three quarters; the
    /// oldest counts go when all of it is.
    pub(super) fn fit_summaries(&mut self) -> Result<(), JournalError> {
        let Some(share) = self.budget.map(|budget| budget / SUMMARY_SHARE).filter(|_| self.counter.grew) else { return Ok(()) };
        let mut segments = self.segments(Tier::Summary)?;
        // Of the one that is being written, what is used of it.
        if let (Some(last), Some(segment)) = (segments.back_mut(), &self.counter.writer.segment) {
            last.2 = segment.used();
        }
        let bytes = segments.iter().map(|(_, _, len)| len).sum::<u64>();
        let window = match bytes.saturating_mul(4) / share.max(1) {
            0..2 => Window::Second,
            2 => Window::TenSeconds,
            _ => Window::Minute,
        };
        let before = self.counter.window();
        // Not at every segment that goes: where one is a large part of the share, windows would change all the time, and say so each time.
        let window = if window < before && self.counter.is_young() { before } else { window };
        let window_s = window.seconds();
        if window > before {
            self.event(&Event::AuditDegraded { window_s, bytes, share })?;
        } else if window < before {
            self.event(&Event::AuditRestored { window_s, bytes, share })?;
        }
        self.counter.set_window(window);
        self.retire(Tier::Summary, segments, share)?;
        self.counter.grew = false;
        Ok(())
    }

    /// Deletes the oldest segments of calls until they take at most `keep` bytes; the one being written stays. For each, a frame that lists what
    /// was in it is on the disk and sealed before it goes; its leaves stay. Returns how many went. A damaged segment is evidence, and ends this.
    ///
    /// # Errors
    /// [`JournalError::Unsealed`] without keys; [`JournalError`].
    pub fn retire_detail(&mut self, keep: u64) -> Result<usize, JournalError> {
        if self.sealer.is_none() {
            return Err(JournalError::Unsealed);
        }
        let segments = self.segments(Tier::Detail)?;
        // What is deleted is counted before.
        if segments.iter().map(|(_, _, len)| len).sum::<u64>() > keep {
            self.write_summaries()?;
        }
        self.retire(Tier::Detail, segments, keep)
    }

    fn retire(&mut self, tier: Tier, mut segments: VecDeque<(u64, PathBuf, u64)>, keep: u64) -> Result<usize, JournalError> {
        let mut gone = 0;
        // The last counts say how far counting has come.
        let all = tier == Tier::Detail && self.detail.segment.is_none();
        while segments.iter().map(|(_, _, len)| len).sum::<u64>() > keep && (segments.len() > 1 || all) {
            let Some((first, path, _)) = segments.pop_front() else { break };
            let bytes = segment::read(&path).map_err(JournalError::io("read a segment", &self.dir))?;
            let Some(retention) = retention(tier, &bytes, first) else { break };
            self.own_frame(FrameType::Retention, &retention)?;
            self.sync_files()?;
            let removed = self.disk.remove(&path).and_then(|()| self.disk.sync_dir(&self.dir.join(tier.folder())));
            removed.map_err(JournalError::io("delete a segment", &self.dir))?;
            gone += 1;
        }
        Ok(gone)
    }
}

/// What a whole segment holds, for the frame that says that it goes; nothing for one that is damaged or empty.
fn retention(tier: Tier, bytes: &[u8], first: u64) -> Option<Retention> {
    let scan = segment::scan(bytes);
    let mut frames: Vec<(u64, u64)> = Vec::new();
    for (_, header) in &scan.frames {
        match frames.last_mut() {
            Some((start, count)) if *start + *count == header.frame_no => *count += 1,
            _ => frames.push((header.frame_no, 1)),
        }
    }
    let (_, head) = scan.frames.first()?;
    let (_, last) = scan.frames.last()?;
    let next_seq = last.first_seq.saturating_add(last.n.into());
    let mut counted: Option<(u64, u64)> = None;
    let mut only_counted: Vec<(u64, u64)> = Vec::new();
    for (at, _) in scan.frames.iter().filter(|(_, header)| header.kind == FrameType::Summary) {
        let Coverage { calls, detail, .. } = Coverage::get(&mut bytes.get(at + HEADER_LEN..)?).ok()?;
        counted = Some((counted.map_or(calls.start, |(from, _)| from), calls.end));
        match only_counted.last_mut() {
            _ if detail => {}
            Some((_, next)) if *next == calls.start => *next = calls.end,
            _ => only_counted.push((calls.start, calls.end)),
        }
    }
    let segment = crate::cursor::segment_name(tier, first);
    (scan.stop == Stop::Clean).then_some(Retention {
        segment,
        frames,
        first_seq: head.first_seq,
        next_seq,
        bytes: bytes.len() as u64,
        counted,
        only_counted,
    })
}

/// Counts may take this part of the budget.
const SUMMARY_SHARE: u64 = 8;
