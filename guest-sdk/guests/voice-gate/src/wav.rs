//! WAV files, 16-bit PCM, any rate and number of channels, as a stream of mono samples.
//!
//! Runs in: the guest, on bytes from anybody. Invariant: no header makes it allocate more than one block, and every file ends in
//! samples or an error.
//!
//! A WAV that was written to a pipe does not know its own length and says 0 or 2^32-1; the end of the stream then ends the data.

use std::fmt;
use std::io;
use std::io::Read;

/// Samples of a WAV, mixed down to one channel, in -1.0..=1.0.
#[derive(Debug)]
pub struct WavReader<R> {
    source: R,
    rate: u32,
    channels: u16,
    /// Bytes of the data chunk not yet read; `None` where only the end of the stream tells.
    remaining: Option<u64>,
    bytes: Vec<u8>,
}

/// Why a file is not a WAV that this module reads.
#[derive(Debug)]
pub enum WavError {
    /// The source failed.
    Read(io::Error),
    /// The file ends before its first sample.
    Truncated,
    /// It does not begin with `RIFF`, a length and `WAVE`.
    NotWav,
    /// Another sample format than 16-bit PCM.
    Format {
        /// The format tag; 1 is PCM.
        tag: u16,
        /// Bits for each sample.
        bits: u16,
    },
    /// The rate lies outside [`RATES`].
    Rate(u32),
    /// The number of channels lies outside 1..=[`MAX_CHANNELS`].
    Channels(u16),
    /// There is no data chunk among the first [`MAX_CHUNKS`], or it stands before the format chunk.
    NoData,
}

/// The rates that are read, in samples a second.
pub const RATES: std::ops::RangeInclusive<u32> = 4_000..=192_000;
/// The most channels that are read.
pub const MAX_CHANNELS: u16 = 32;
/// The most chunks before the samples.
pub const MAX_CHUNKS: usize = 64;

impl<R: Read> WavReader<R> {
    /// Reads the header up to the first sample.
    ///
    /// # Errors
    /// [`WavError`]; nothing of the file is trusted.
    pub fn new(mut source: R) -> Result<WavReader<R>, WavError> {
        let [riff @ .., _, _, _, _] = array::<8>(&mut source)?;
        let wave = array::<4>(&mut source)?;
        if &riff != b"RIFF" || &wave != b"WAVE" {
            return Err(WavError::NotWav);
        }
        let mut format = None;
        for _ in 0..MAX_CHUNKS {
            let [id @ .., a, b, c, d] = array::<8>(&mut source)?;
            let length = u32::from_le_bytes([a, b, c, d]);
            match (&id, format) {
                (b"fmt ", _) => format = Some(Format::read(&mut source, length)?),
                (b"data", Some(Format { rate, channels })) => {
                    let remaining = (length != 0 && length != u32::MAX).then_some(u64::from(length));
                    return Ok(WavReader { source, rate, channels, remaining, bytes: Vec::new() });
                }
                (b"data", None) => return Err(WavError::NoData),
                _ => skip(&mut source, padded(length))?,
            }
        }
        Err(WavError::NoData)
    }

    /// Samples a second.
    #[must_use]
    pub fn rate(&self) -> u32 {
        self.rate
    }

    /// Puts the next block of samples in place of what `block` held, and says whether there was one. A half frame at the end
    /// is left out.
    ///
    /// # Errors
    /// [`WavError::Read`].
    pub fn read_block(&mut self, block: &mut Vec<f32>) -> Result<bool, WavError> {
        let frame = usize::from(self.channels) * 2;
        let wanted = (BLOCK_FRAMES * frame) as u64;
        let wanted = self.remaining.map_or(wanted, |remaining| remaining.min(wanted));
        self.bytes.clear();
        let read = (&mut self.source).take(wanted).read_to_end(&mut self.bytes).map_err(WavError::Read)?;
        self.remaining = self.remaining.map(|remaining| remaining.saturating_sub(read as u64));

        block.clear();
        let scale = 1.0 / (32768.0 * f32::from(self.channels));
        block.extend(self.bytes.chunks_exact(frame).map(|frame| {
            let sum: i32 = frame.as_chunks::<2>().0.iter().map(|sample| i32::from(i16::from_le_bytes(*sample))).sum();
            sum as f32 * scale
        }));
        Ok(!block.is_empty())
    }
}

/// What the format chunk says and this module needs.
#[derive(Debug, Clone, Copy)]
struct Format {
    rate: u32,
    channels: u16,
}

impl Format {
    fn read(source: &mut impl Read, length: u32) -> Result<Format, WavError> {
        let [t0, t1, c0, c1, r0, r1, r2, r3, _, _, _, _, _, _, b0, b1] = array::<16>(source)?;
        let bits = u16::from_le_bytes([b0, b1]);
        let mut tag = u16::from_le_bytes([t0, t1]);
        let mut rest = padded(length).saturating_sub(16);
        // An extensible format carries its true tag in the first bytes of a GUID, after 8 bytes of this and that.
        if tag == EXTENSIBLE && rest >= 10 {
            let [.., e0, e1] = array::<10>(source)?;
            tag = u16::from_le_bytes([e0, e1]);
            rest -= 10;
        }
        skip(source, rest)?;
        if (tag, bits) != (PCM, 16) {
            return Err(WavError::Format { tag, bits });
        }
        let rate = u32::from_le_bytes([r0, r1, r2, r3]);
        if !RATES.contains(&rate) {
            return Err(WavError::Rate(rate));
        }
        let channels = u16::from_le_bytes([c0, c1]);
        if !(1..=MAX_CHANNELS).contains(&channels) {
            return Err(WavError::Channels(channels));
        }
        Ok(Format { rate, channels })
    }
}

fn array<const N: usize>(source: &mut impl Read) -> Result<[u8; N], WavError> {
    let mut bytes = [0; N];
    source.read_exact(&mut bytes).map_err(|error| match error.kind() {
        io::ErrorKind::UnexpectedEof => WavError::Truncated,
        _ => WavError::Read(error),
    })?;
    Ok(bytes)
}

fn skip(source: &mut impl Read, bytes: u64) -> Result<(), WavError> {
    let skipped = io::copy(&mut source.take(bytes), &mut io::sink()).map_err(WavError::Read)?;
    if skipped == bytes { Ok(()) } else { Err(WavError::Truncated) }
}

/// Chunks begin on even offsets.
fn padded(length: u32) -> u64 {
    u64::from(length) + u64::from(length % 2)
}

impl fmt::Display for WavError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            WavError::Read(_) => f.write_str("cannot be read"),
            WavError::Truncated => f.write_str("ends before its first sample"),
            WavError::NotWav => f.write_str("is no WAV file: it does not begin with `RIFF` and `WAVE`"),
            WavError::Format { tag, bits } => write!(f, "holds {bits}-bit samples of format {tag}; 16-bit PCM (format 1) is read"),
            WavError::Rate(rate) => write!(f, "has {rate} samples a second; {} to {} are read", RATES.start(), RATES.end()),
            WavError::Channels(channels) => write!(f, "has {channels} channels; 1 to {MAX_CHANNELS} are read"),
            WavError::NoData => f.write_str("has no samples where they belong: after its format, among the first chunks"),
        }
    }
}

impl std::error::Error for WavError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            WavError::Read(source) => Some(source),
            _ => None,
        }
    }
}

/// Frames read at once.
const BLOCK_FRAMES: usize = 4096;
const PCM: u16 = 1;
const EXTENSIBLE: u16 = 0xFFFE;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
    use super::*;

    fn wav(tag: u16, channels: u16, rate: u32, bits: u16, length: u32, samples: &[i16]) -> Vec<u8> {
        let mut file = b"RIFF\0\0\0\0WAVEfmt \x10\0\0\0".to_vec();
        file.extend(tag.to_le_bytes().into_iter().chain(channels.to_le_bytes()).chain(rate.to_le_bytes()).chain([0; 6]));
        file.extend(bits.to_le_bytes().iter().chain(b"data").chain(&length.to_le_bytes()));
        file.extend(samples.iter().flat_map(|sample| sample.to_le_bytes()));
        file
    }

    fn all(file: &[u8]) -> Result<Vec<f32>, WavError> {
        let mut reader = WavReader::new(file)?;
        let (mut block, mut samples) = (Vec::new(), Vec::new());
        while reader.read_block(&mut block)? {
            samples.extend_from_slice(&block);
        }
        Ok(samples)
    }

    #[test]
    fn stereo_is_mixed_to_the_mean() {
        let file = wav(1, 2, 48_000, 16, 8, &[16384, 0, -32768, -32768]);
        assert_eq!(all(&file).unwrap(), [0.25, -1.0]);
    }

    #[test]
    fn a_length_that_lies_ends_with_the_stream() {
        for length in [0, u32::MAX, 1_000_000] {
            assert_eq!(all(&wav(1, 1, 8_000, 16, length, &[0, 16384])).unwrap(), [0.0, 0.5], "length {length}");
        }
    }

    #[test]
    fn bytes_after_the_data_are_not_samples() {
        assert_eq!(all(&wav(1, 1, 8_000, 16, 2, &[16384, 7, 7])).unwrap(), [0.5]);
    }

    #[test]
    fn other_formats_are_named_in_the_refusal() {
        assert!(matches!(all(&wav(3, 1, 16_000, 32, 4, &[])), Err(WavError::Format { tag: 3, bits: 32 })));
        assert!(matches!(all(&wav(1, 1, 3, 16, 4, &[])), Err(WavError::Rate(3))));
        assert!(matches!(all(&wav(1, 0, 16_000, 16, 4, &[])), Err(WavError::Channels(0))));
        assert!(matches!(all(&wav(1, 65_535, 16_000, 16, 4, &[])), Err(WavError::Channels(65_535))));
        assert!(matches!(all(b"OggS\0\0\0\0\0\0\0\0"), Err(WavError::NotWav)));
    }

    #[test]
    fn every_truncation_of_the_header_is_an_error() {
        let file = wav(1, 1, 16_000, 16, 4, &[1, 2]);
        let header = file.len() - 4;
        for length in 0..header {
            assert!(matches!(all(&file[..length]), Err(WavError::Truncated)), "{length} bytes");
        }
        assert_eq!(all(&file[..header + 3]).unwrap().len(), 1);
    }

    #[test]
    fn a_chunk_of_four_gigabytes_is_skipped_without_being_held() {
        let mut file = b"RIFF\0\0\0\0WAVEjunk\xFF\xFF\xFF\xFF".to_vec();
        file.extend([0; 100]);
        assert!(matches!(all(&file), Err(WavError::Truncated)));
    }
}
