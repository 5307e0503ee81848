//! The frame: 64 bytes of header and a payload, the unit of writing, hashing and checking.
//!
//! Runs in: daemon (writes), CLI (reads).
//! Does not: know what a payload means.
//!
//! Header, little-endian:
//! `magic "EGJ" | version u8 | type u8 | flags u8 | n u16 | frame_no u64 | first_seq u64 | t0_boot u64 | t0_real u64 | span_us u32 |
//! epoch u32 | unsynced u32 | payload_len u32 | crc32c(payload) u32 | crc32c(the 60 bytes before) u32`.
//!
//! `unsynced` says how many of the frames just before this one were not yet known to be on the disk when it was written. It is what
//! tells a power failure, which takes frames from there, from somebody who removes older ones.
//!
//! In a `Dict` frame, checksum and leaf cover the hashes of names and not the names (`names.rs`).

use crate::names;

/// Length of the header in bytes.
pub const HEADER_LEN: usize = 64;
/// Longest payload as stored.
pub const MAX_PAYLOAD: usize = 1 << 20;
/// Longest payload after decompression.
pub const MAX_RAW: usize = 1 << 20;
/// Most events in one frame.
pub const MAX_EVENTS: usize = 4096;

/// What a frame holds. The number 11 is kept for clock steps.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum FrameType {
    /// The first frame of a journal: who writes it, since when.
    Genesis = 1,
    /// The journal was opened: boot id, how it was closed before, what was cut.
    Boot = 2,
    /// Security events.
    Events = 3,
    /// Calls.
    Detail = 4,
    /// Exact counts of calls.
    Summary = 5,
    /// Names and sources that following frames of the same segment name by number. Never compressed: names in it can be erased.
    Dict = 6,
    /// A signing epoch began: its key, certified by the identity key and by the key of the epoch before.
    Epoch = 7,
    /// Counts at a point in time; the last frame of a journal that was closed in order.
    Account = 8,
    /// A segment of calls is deleted when this is sealed.
    Retention = 9,
    /// A checkpoint that somebody else has signed too.
    Anchor = 10,
    /// Names are erased when this is sealed.
    Erasure = 12,
}

impl FrameType {
    fn from_raw(raw: u8) -> Option<Self> {
        Some(match raw {
            1 => Self::Genesis,
            2 => Self::Boot,
            3 => Self::Events,
            4 => Self::Detail,
            5 => Self::Summary,
            6 => Self::Dict,
            7 => Self::Epoch,
            8 => Self::Account,
            9 => Self::Retention,
            10 => Self::Anchor,
            12 => Self::Erasure,
            _ => return None,
        })
    }
}

/// Flag: the payload is compressed with zstd.
pub const COMPRESSED: u8 = 1;

/// Everything in the header but magic, version and checksums.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header {
    /// What the payload is.
    pub kind: FrameType,
    /// [`COMPRESSED`] or 0.
    pub flags: u8,
    /// Events in the payload; 0 in frames that hold none.
    pub n: u16,
    /// Place in the whole journal, from 0.
    pub frame_no: u64,
    /// Place of the first event among all events of its tier.
    pub first_seq: u64,
    /// Time of the first event, `CLOCK_BOOTTIME` in nanoseconds.
    pub t0_boot: u64,
    /// The same moment on `CLOCK_REALTIME`.
    pub t0_real: u64,
    /// From the first event to the last, microseconds.
    pub span_us: u32,
    /// Signing epoch: the one that an `Epoch` frame begins, or else the one begun last; 0 before the first.
    pub epoch: u32,
    /// Frames before this one that were not yet known to be on the disk.
    pub unsynced: u32,
    /// Length of the payload as stored.
    pub payload_len: u32,
}

/// Bytes that are not a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BadFrame {
    /// The bytes end before the frame does.
    #[error("the frame is cut off")]
    Short,
    /// No frame begins here.
    #[error("no frame begins here")]
    Magic,
    /// A format that this release does not read.
    #[error("the format version is {0}, expected {VERSION}")]
    Version(u8),
    /// The header's checksum does not match.
    #[error("the header's checksum does not match")]
    HeaderCrc,
    /// The payload's checksum does not match.
    #[error("the payload's checksum does not match")]
    PayloadCrc,
    /// A type that this release does not read.
    #[error("frame type {0} is not known")]
    Type(u8),
    /// A number out of its bounds.
    #[error("the header names an impossible size")]
    Size,
}

impl Header {
    /// The whole frame: header with checksums, then `payload`, whose length replaces [`Header::payload_len`].
    ///
    /// # Errors
    /// [`BadFrame::Size`] for a payload above [`MAX_PAYLOAD`].
    pub fn seal(&self, payload: &[u8], frame: &mut Vec<u8>) -> Result<(), BadFrame> {
        let payload_len = u32::try_from(payload.len()).ok().filter(|_| payload.len() <= MAX_PAYLOAD).ok_or(BadFrame::Size)?;
        frame.clear();
        frame.extend_from_slice(MAGIC);
        frame.extend_from_slice(&[VERSION, self.kind as u8, self.flags]);
        frame.extend_from_slice(&self.n.to_le_bytes());
        for word in [self.frame_no, self.first_seq, self.t0_boot, self.t0_real] {
            frame.extend_from_slice(&word.to_le_bytes());
        }
        let checksum = crc32c::crc32c(&names::covered(self.kind as u8, self.flags, payload));
        for word in [self.span_us, self.epoch, self.unsynced, payload_len, checksum] {
            frame.extend_from_slice(&word.to_le_bytes());
        }
        let crc = crc32c::crc32c(frame);
        frame.extend_from_slice(&crc.to_le_bytes());
        frame.extend_from_slice(payload);
        Ok(())
    }

    /// Reads a header.
    ///
    /// # Errors
    /// [`BadFrame`]; the checksum is looked at before any field is believed.
    pub fn parse(bytes: &[u8; HEADER_LEN]) -> Result<Self, BadFrame> {
        let mut rest = bytes.as_slice();
        if take::<3>(&mut rest)? != *MAGIC {
            return Err(BadFrame::Magic);
        }
        let (body, crc) = bytes.split_at(HEADER_LEN - 4);
        if crc32c::crc32c(body).to_le_bytes() != crc {
            return Err(BadFrame::HeaderCrc);
        }
        let [version, kind, flags] = take(&mut rest)?;
        if version != VERSION {
            return Err(BadFrame::Version(version));
        }
        let header = Self {
            kind: FrameType::from_raw(kind).ok_or(BadFrame::Type(kind))?,
            flags,
            n: u16::from_le_bytes(take(&mut rest)?),
            frame_no: u64::from_le_bytes(take(&mut rest)?),
            first_seq: u64::from_le_bytes(take(&mut rest)?),
            t0_boot: u64::from_le_bytes(take(&mut rest)?),
            t0_real: u64::from_le_bytes(take(&mut rest)?),
            span_us: u32::from_le_bytes(take(&mut rest)?),
            epoch: u32::from_le_bytes(take(&mut rest)?),
            unsynced: u32::from_le_bytes(take(&mut rest)?),
            payload_len: u32::from_le_bytes(take(&mut rest)?),
        };
        let sane = header.len() <= HEADER_LEN + MAX_PAYLOAD && usize::from(header.n) <= MAX_EVENTS && flags & !COMPRESSED == 0;
        if sane { Ok(header) } else { Err(BadFrame::Size) }
    }

    /// Length of the whole frame in bytes.
    #[must_use]
    #[expect(clippy::len_without_is_empty, reason = "a frame is never empty")]
    pub const fn len(&self) -> usize {
        HEADER_LEN + self.payload_len as usize
    }

    /// How many frames were known to be on the disk when this one was written.
    #[must_use]
    pub const fn synced(&self) -> u64 {
        self.frame_no.saturating_sub(self.unsynced as u64)
    }

    /// The real time of a moment in this frame.
    #[must_use]
    pub const fn real_time(&self, time_boot: u64) -> u64 {
        self.t0_real.wrapping_add(time_boot.wrapping_sub(self.t0_boot))
    }
}

/// The whole frame that begins with these bytes, checked: its header and its length.
///
/// # Errors
/// [`BadFrame`]
pub fn check(bytes: &[u8]) -> Result<Header, BadFrame> {
    let header = Header::parse(bytes.first_chunk().ok_or(BadFrame::Short)?)?;
    let payload = bytes.get(HEADER_LEN..header.len()).ok_or(BadFrame::Short)?;
    check_payload(bytes, &names::covered(header.kind as u8, header.flags, payload))?;
    Ok(header)
}

fn check_payload(frame: &[u8], payload: &[u8]) -> Result<(), BadFrame> {
    let expected = frame.get(PAYLOAD_CRC..PAYLOAD_CRC + 4).ok_or(BadFrame::Short)?;
    if crc32c::crc32c(payload).to_le_bytes() == expected { Ok(()) } else { Err(BadFrame::PayloadCrc) }
}

/// Where the next valid frame begins, if there is one at or after the first byte.
#[must_use]
pub fn find(bytes: &[u8]) -> Option<(usize, Header)> {
    let starts = bytes.windows(MAGIC.len()).enumerate().filter(|(_, window)| *window == MAGIC);
    starts.into_iter().find_map(|(at, _)| check(bytes.get(at..)?).ok().map(|header| (at, header)))
}

/// The frame's leaf in the journal's tree (RFC 6962): SHA-256 of a zero byte and the frame, in which names are zeros behind their hashes.
#[must_use]
pub fn leaf(frame: &[u8]) -> [u8; 32] {
    let (header, payload) = names::covered_frame(frame);
    crate::tree::sha256(&[&[0], header, &payload])
}

fn take<const N: usize>(rest: &mut &[u8]) -> Result<[u8; N], BadFrame> {
    let (first, after) = rest.split_first_chunk().ok_or(BadFrame::Short)?;
    *rest = after;
    Ok(*first)
}

const MAGIC: &[u8; 3] = b"EGJ";
const VERSION: u8 = 1;
const PAYLOAD_CRC: usize = 56;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]
    use proptest::prelude::*;

    use super::*;

    fn header() -> Header {
        Header {
            kind: FrameType::Events,
            flags: 0,
            n: 1,
            frame_no: 7,
            first_seq: 3,
            t0_boot: 5,
            t0_real: 6,
            span_us: 8,
            epoch: 9,
            unsynced: 2,
            payload_len: 5,
        }
    }

    #[test]
    fn a_sealed_frame_reads_back() {
        let mut frame = Vec::new();
        header().seal(b"hello", &mut frame).unwrap();
        assert_eq!(check(&frame), Ok(header()));
        assert_eq!(frame.len(), header().len());
        let at_three = [b"EGJ".as_slice(), &frame].concat();
        assert_eq!(find(&at_three), Some((3, header())));
    }

    #[test]
    fn every_changed_bit_is_noticed() {
        let mut frame = Vec::new();
        header().seal(b"hello", &mut frame).unwrap();
        for bit in 0..frame.len() * 8 {
            frame[bit / 8] ^= 1 << (bit % 8);
            assert!(check(&frame).is_err(), "bit {bit}");
            frame[bit / 8] ^= 1 << (bit % 8);
        }
    }

    proptest! {
        #[test]
        fn noise_is_refused_without_a_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            prop_assert!(check(&bytes).is_err());
            prop_assert!(find(&bytes).is_none());
        }
    }
}
