//! How a frame gets into its tier's segment, its leaf into the tree, and all of it onto the disk.
//!
//! Runs in: daemon, on the journal's thread.
//! Invariant: a frame and its leaf are both written, or the journal takes nothing more. Calls are synced before events, events before seals.

use std::time::Instant;

use serde::Serialize;

use crate::clock::boottime_ns;
use crate::clock::realtime_ns;
use crate::dict::Interner;
use crate::error::JournalError;
use crate::frame;
use crate::frame::FrameType;
use crate::frame::Header;
use crate::journal::Journal;
use crate::journal::Writer;
use crate::seal::Sealer;
use crate::segment::Segment;
use crate::segment::Tier;

impl Journal {
    /// A frame of the journal itself.
    pub(super) fn own_frame(&mut self, kind: FrameType, payload: &impl Serialize) -> Result<(), JournalError> {
        let payload = serde_json::to_vec(payload).map_err(|error| JournalError::Compress(error.into()))?;
        self.own_bytes(kind, &payload)
    }

    pub(super) fn own_bytes(&mut self, kind: FrameType, payload: &[u8]) -> Result<(), JournalError> {
        let header = self.header(kind, 0, self.security.next_seq, boottime_ns());
        self.write(Tier::Security, header, payload).map(drop)
    }

    pub(super) fn header(&self, kind: FrameType, n: u16, first_seq: u64, t0_boot: u64) -> Header {
        let t0_real = realtime_ns().wrapping_sub(boottime_ns().wrapping_sub(t0_boot));
        let unsynced = u32::try_from(self.next_frame.saturating_sub(self.synced)).unwrap_or(u32::MAX);
        let epoch = self.sealer.as_ref().map_or(0, Sealer::epoch);
        Header { kind, flags: 0, n, frame_no: self.next_frame, first_seq, t0_boot, t0_real, span_us: 0, epoch, unsynced, payload_len: 0 }
    }

    /// Writes one frame and its leaf; returns its number.
    pub(super) fn write(&mut self, tier: Tier, header: Header, payload: &[u8]) -> Result<u64, JournalError> {
        if self.broken {
            return Err(JournalError::Broken(self.dir.clone()));
        }
        if self.sealer.as_ref().is_some_and(Sealer::must_seal) {
            self.sync_files()?;
        }
        // A segment is begun before the header's checksums are: it brings all before it to the disk, which the header says.
        let room = frame::HEADER_LEN + payload.len();
        if !self.writer(tier).segment.as_ref().is_some_and(|segment| segment.fits(room)) {
            self.begin_segment(tier)?;
        }
        let unsynced = u32::try_from(self.next_frame.saturating_sub(self.synced)).unwrap_or(u32::MAX);
        let mut frame = std::mem::take(&mut self.frame);
        let sealed = Header { unsynced, ..header }.seal(payload, &mut frame);
        let written = sealed.map_err(|_| JournalError::TooLarge(payload.len())).and_then(|()| self.append_frame(tier, &frame));
        let len = frame.len() as u64;
        self.frame = frame;
        written?;
        let number = self.next_frame;
        self.next_frame += 1;
        self.writer(tier).next_seq += u64::from(header.n);
        self.unsynced_since.get_or_insert_with(Instant::now);
        self.stats.frames += 1;
        self.stats.bytes += len;
        match tier {
            Tier::Security => {}
            Tier::Detail => self.stats.detail_bytes += len,
            Tier::Summary => self.stats.summary_bytes += len,
        }
        Ok(number)
    }

    fn append_frame(&mut self, tier: Tier, frame: &[u8]) -> Result<(), JournalError> {
        let dir = self.dir.clone();
        let number = self.next_frame;
        self.leaves.reserve(number).map_err(JournalError::io("allocate a leaf", &dir))?;
        let segment = match tier {
            Tier::Security => self.security.segment.as_mut(),
            Tier::Detail => self.detail.segment.as_mut(),
            Tier::Summary => self.counter.writer.segment.as_mut(),
        };
        let Some(segment) = segment else { return Err(JournalError::Broken(dir)) };
        let leaf = frame::leaf(frame);
        let written = segment.append(frame).and_then(|()| self.leaves.put(number, &leaf));
        if let (Ok(()), Some(sealer)) = (&written, &mut self.sealer) {
            sealer.push(leaf);
        }
        // Half a frame may be in the file now, or a frame without a leaf: nothing may follow it.
        self.broken = written.is_err();
        written.map_err(JournalError::io("write a frame", &dir))
    }

    /// Ends the tier's segment and begins another. Everything written so far is on the disk then, in all tiers.
    pub(super) fn begin_segment(&mut self, tier: Tier) -> Result<(), JournalError> {
        self.sync_files()?;
        // Made first: on a full disk the old segment stays in use as it is.
        let segment =
            Segment::create(&self.disk, &self.dir, tier, self.next_frame).map_err(JournalError::io("begin a segment", &self.dir))?;
        self.close_segment(tier)?;
        self.writer(tier).segment = Some(segment);
        self.detail_grew |= tier != Tier::Security;
        self.counter.gap &= tier != Tier::Detail;
        Ok(())
    }

    pub(super) fn close_segment(&mut self, tier: Tier) -> Result<(), JournalError> {
        match tier {
            Tier::Security => self.denied = Interner::default(),
            Tier::Detail => self.interner = Interner::default(),
            Tier::Summary => self.counter.forget(),
        }
        match self.writer(tier).segment.take() {
            Some(segment) => segment.close().map_err(JournalError::io("end a segment", &self.dir)),
            None => Ok(()),
        }
    }

    /// Everything on the disk, and sealed.
    pub(super) fn sync_files(&mut self) -> Result<(), JournalError> {
        self.sync_unsealed()?;
        self.sealer.as_mut().map_or(Ok(()), |sealer| sealer.seal().and_then(|()| sealer.sync()))
    }

    pub(super) fn sync_unsealed(&mut self) -> Result<(), JournalError> {
        self.sync_tiers()?;
        self.leaves.sync().map_err(JournalError::io("sync the leaves", &self.dir))?;
        self.unsynced_since = None;
        Ok(())
    }

    pub(super) fn sync_tiers(&mut self) -> Result<(), JournalError> {
        if self.broken {
            return Err(JournalError::Broken(self.dir.clone()));
        }
        // Calls and counts first, because an event counts only if all before it is there. The leaves can wait: a start after a crash computes them
        // from the frames.
        self.sync_tier(Tier::Detail)?;
        self.sync_tier(Tier::Summary)?;
        self.sync_tier(Tier::Security)?;
        self.synced = self.next_frame;
        self.stats.syncs += 1;
        Ok(())
    }

    fn sync_tier(&mut self, tier: Tier) -> Result<(), JournalError> {
        let Some(segment) = self.writer(tier).segment.as_mut() else { return Ok(()) };
        let synced = segment.sync();
        // After a failed sync the kernel may have dropped what was written, and says so only once.
        self.broken |= synced.is_err();
        synced.map_err(JournalError::io("sync a segment", &self.dir))
    }

    pub(super) fn writer(&mut self, tier: Tier) -> &mut Writer {
        match tier {
            Tier::Security => &mut self.security,
            Tier::Detail => &mut self.detail,
            Tier::Summary => &mut self.counter.writer,
        }
    }

    /// The leaf of the last frame, in hex; empty for none.
    pub(super) fn head(&self) -> Result<String, JournalError> {
        let Some(last) = self.next_frame.checked_sub(1) else { return Ok(String::new()) };
        self.leaves.get(last).map(hex::encode).map_err(JournalError::io("read the last leaf", &self.dir))
    }
}
