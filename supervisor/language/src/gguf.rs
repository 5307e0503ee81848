//! The outline of a GGUF file, walked before the engine's own parser sees it.
//!
//! Runs in: language host, after the lock.
//! Invariant: what passes has lengths and counts that lie within the file, no more entries than any real model, and tensors that lie within the file. What the
//! entries mean is the engine's to judge, behind the same wall.
//! The format is in <https://github.com/ggml-org/ggml/blob/master/docs/gguf.md>; versions 2 and 3, little-endian.

use std::os::fd::BorrowedFd;

use rustix::io::Errno;

use crate::sys;

/// The longest header: all before the weights. A vocabulary of a million tokens has half of it.
const MAX_HEADER: u64 = 256 << 20;
/// The most metadata entries, and the most tensors.
const MAX_ENTRIES: u64 = 1 << 16;
/// The longest key, as the format has it.
const MAX_KEY: u64 = (1 << 16) - 1;
/// The longest single text: chat templates are long.
const MAX_TEXT: u64 = 4 << 20;
/// The most elements of an array: a vocabulary is one.
const MAX_ELEMENTS: u64 = 4 << 20;
/// The longest name of a tensor, as llama.cpp has it.
const MAX_NAME: u64 = 63;
/// The most dimensions, as llama.cpp has it.
const MAX_DIMS: u32 = 4;
/// The largest alignment of weights that makes sense: a large page.
const MAX_ALIGNMENT: u32 = 2 << 20;
/// Alignment where the file says nothing.
const ALIGNMENT: u32 = 32;
/// Bytes read at a time.
const BLOCK: usize = 64 * 1024;

/// Why a file is no model that can be handed to the engine.
#[derive(Debug, thiserror::Error)]
pub enum Outline {
    /// It could not be read.
    #[error("cannot read the header")]
    Read(#[source] std::io::Error),
    /// The file ends where more was announced.
    #[error("the file ends at byte {0}, within its header")]
    Ends(u64),
    /// Something is not as the format has it.
    #[error("at byte {at}: {what} is {found}, expected {expected}")]
    Wrong {
        /// Offset in the file.
        at: u64,
        /// Which part.
        what: &'static str,
        /// What stands there.
        found: u64,
        /// What may.
        expected: String,
    },
    /// The header is longer than any real one.
    #[error("the header is longer than {MAX_HEADER} bytes")]
    TooLong,
}

/// Walks the header of the model in `file`, which is `size` bytes long.
///
/// # Errors
/// [`Outline`]: the first thing that is wrong.
pub fn walk(file: BorrowedFd<'_>, size: u64) -> Result<(), Outline> {
    let mut reader = Reader { file, size, at: 0, block: Vec::new(), begins: 0 };
    let magic = reader.u32()?;
    reader.require("the magic number", magic.into(), magic == u32::from_le_bytes(*b"GGUF"), || "`GGUF`".into())?;
    let version = reader.u32()?;
    reader.require("the version", version.into(), (2..=3).contains(&version), || "2 or 3".into())?;
    let tensors = reader.u64()?;
    reader.at_most("the number of tensors", tensors, MAX_ENTRIES)?;
    let entries = reader.u64()?;
    reader.at_most("the number of metadata entries", entries, MAX_ENTRIES)?;
    let mut alignment = ALIGNMENT;
    for _ in 0..entries {
        if let Some(found) = reader.entry()? {
            alignment = found;
        }
    }
    // Where weights begin is known only after the last tensor, so what was said of each is kept until then: 64 Ki pairs at most.
    let mut ranges = Vec::new();
    for _ in 0..tensors {
        ranges.push(reader.tensor(alignment)?);
    }
    let data = reader.at.next_multiple_of(alignment.into());
    for (at, offset, len) in ranges {
        let end = data.checked_add(offset).and_then(|begin| begin.checked_add(len));
        if end.is_none_or(|end| end > size) {
            let expected = format!("weights within the {size} bytes of the file");
            return Err(Outline::Wrong { at, what: "a tensor's offset", found: offset, expected });
        }
    }
    Ok(())
}

struct Reader<'a> {
    file: BorrowedFd<'a>,
    size: u64,
    /// The next byte.
    at: u64,
    /// What was read ahead, and where it begins.
    block: Vec<u8>,
    begins: u64,
}

impl Reader<'_> {
    /// One metadata entry; the alignment, if it is that.
    fn entry(&mut self) -> Result<Option<u32>, Outline> {
        let len = self.u64()?;
        self.require("the length of a key", len, (1..=MAX_KEY).contains(&len), || format!("1 to {MAX_KEY}"))?;
        let is_alignment = len == ALIGNMENT_KEY.len() as u64 && self.bytes::<{ ALIGNMENT_KEY.len() }>()? == *ALIGNMENT_KEY;
        if len != ALIGNMENT_KEY.len() as u64 {
            self.skip(len)?;
        }
        let ty = self.u32()?;
        if is_alignment {
            self.require("the type of `general.alignment`", ty.into(), ty == U32, || U32.to_string())?;
            let alignment = self.u32()?;
            let good = alignment.is_power_of_two() && alignment <= MAX_ALIGNMENT;
            self.require("`general.alignment`", alignment.into(), good, || format!("a power of two, at most {MAX_ALIGNMENT}"))?;
            return Ok(Some(alignment));
        }
        if ty == ARRAY {
            let element = self.u32()?;
            let count = self.u64()?;
            self.at_most("the number of elements in an array", count, MAX_ELEMENTS)?;
            match (element, width(element)) {
                (_, Some(width)) => self.skip(count.saturating_mul(width))?,
                (TEXT, _) => {
                    for _ in 0..count {
                        self.text()?;
                    }
                }
                _ => self.require("the type of an array's elements", element.into(), false, || "a number, a boolean or a text".into())?,
            }
        } else if ty == TEXT {
            self.text()?;
        } else if let Some(width) = width(ty) {
            self.skip(width)?;
        } else {
            self.require("the type of a metadata entry", ty.into(), false, || "0 to 12".into())?;
        }
        Ok(None)
    }

    /// One tensor: where it is described, where its weights begin after the header, and how many bytes they are.
    fn tensor(&mut self, alignment: u32) -> Result<(u64, u64, u64), Outline> {
        let begins = self.at;
        let len = self.u64()?;
        self.at_most("the length of a tensor's name", len, MAX_NAME)?;
        self.skip(len)?;
        let dims = self.u32()?;
        self.at_most("the number of dimensions", dims.into(), MAX_DIMS.into())?;
        let mut elements = Some(1_u64);
        let mut row = 1;
        for dim in 0..dims {
            let length = self.u64()?;
            if dim == 0 {
                row = length;
            }
            elements = elements.and_then(|elements| elements.checked_mul(length));
        }
        let ty = self.u32()?;
        let layout = sys::layout(ty);
        self.require("a tensor's type", ty.into(), layout.is_some(), || "one that llama.cpp has".into())?;
        let (block, bytes) = layout.unwrap_or((1, 1));
        self.require("the length of a tensor's row", row, row.is_multiple_of(block), || format!("a multiple of {block}"))?;
        let len = elements.and_then(|elements| (elements / block).checked_mul(bytes)).filter(|len| *len <= self.size);
        self.require("a tensor's size", elements.unwrap_or(u64::MAX), len.is_some(), || format!("one within {} bytes", self.size))?;
        let offset = self.u64()?;
        self.require("a tensor's offset", offset, offset.is_multiple_of(alignment.into()), || format!("a multiple of {alignment}"))?;
        Ok((begins, offset, len.unwrap_or(0)))
    }

    fn text(&mut self) -> Result<(), Outline> {
        let len = self.u64()?;
        self.at_most("the length of a text", len, MAX_TEXT)?;
        self.skip(len)
    }

    fn u32(&mut self) -> Result<u32, Outline> {
        Ok(u32::from_le_bytes(self.bytes()?))
    }

    fn u64(&mut self) -> Result<u64, Outline> {
        Ok(u64::from_le_bytes(self.bytes()?))
    }

    fn bytes<const N: usize>(&mut self) -> Result<[u8; N], Outline> {
        let begin = self.at;
        self.skip(N as u64)?;
        let found = |reader: &Self| {
            let from = usize::try_from(begin.checked_sub(reader.begins)?).ok()?;
            reader.block.get(from..from.checked_add(N)?)?.try_into().ok()
        };
        if let Some(bytes) = found(self) {
            return Ok(bytes);
        }
        self.fill(begin)?;
        found(self).ok_or(Outline::Ends(self.size))
    }

    /// Steps over bytes that the file must have.
    fn skip(&mut self, len: u64) -> Result<(), Outline> {
        let end = self.at.checked_add(len).filter(|end| *end <= self.size).ok_or(Outline::Ends(self.size))?;
        if end > MAX_HEADER {
            return Err(Outline::TooLong);
        }
        self.at = end;
        Ok(())
    }

    /// Reads ahead from `at`.
    fn fill(&mut self, at: u64) -> Result<(), Outline> {
        self.block.resize(BLOCK, 0);
        self.begins = at;
        let mut filled = 0;
        while let Some(rest) = self.block.get_mut(filled..).filter(|rest| !rest.is_empty()) {
            match rustix::io::pread(self.file, rest, at.saturating_add(filled as u64)) {
                Ok(0) => break,
                Ok(read) => filled += read,
                Err(Errno::INTR) => {}
                Err(errno) => return Err(Outline::Read(errno.into())),
            }
        }
        self.block.truncate(filled);
        Ok(())
    }

    fn at_most(&self, what: &'static str, found: u64, max: u64) -> Result<(), Outline> {
        self.require(what, found, found <= max, || format!("at most {max}"))
    }

    fn require(&self, what: &'static str, found: u64, holds: bool, expected: impl FnOnce() -> String) -> Result<(), Outline> {
        if holds { Ok(()) } else { Err(Outline::Wrong { at: self.at, what, found, expected: expected() }) }
    }
}

const ALIGNMENT_KEY: &[u8; 17] = b"general.alignment";

const U32: u32 = 4;
const TEXT: u32 = 8;
const ARRAY: u32 = 9;

/// Bytes of a value of this type, for types that have a fixed width.
const fn width(ty: u32) -> Option<u64> {
    match ty {
        0 | 1 | 7 => Some(1),
        2 | 3 => Some(2),
        4..=6 => Some(4),
        10..=12 => Some(8),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]
    use std::os::fd::AsFd as _;

    use super::*;

    fn text(text: &[u8]) -> Vec<u8> {
        [&(text.len() as u64).to_le_bytes()[..], text].concat()
    }

    fn header(tensors: u64, entries: u64) -> Vec<u8> {
        [&b"GGUF\x03\0\0\0"[..], &tensors.to_le_bytes(), &entries.to_le_bytes()].concat()
    }

    fn tensor(name: &[u8], dims: &[u64], ty: u32, offset: u64) -> Vec<u8> {
        let mut bytes = text(name);
        bytes.extend(u32::try_from(dims.len()).unwrap().to_le_bytes());
        dims.iter().for_each(|dim| bytes.extend(dim.to_le_bytes()));
        bytes.extend(ty.to_le_bytes());
        bytes.extend(offset.to_le_bytes());
        bytes
    }

    fn walked(bytes: &[u8]) -> Result<(), String> {
        let mut file = tempfile::tempfile().unwrap();
        std::io::Write::write_all(&mut file, bytes).unwrap();
        walk(file.as_fd(), bytes.len() as u64).map_err(|error| error.to_string())
    }

    fn small() -> Vec<u8> {
        let mut bytes = header(1, 3);
        bytes.extend([text(b"general.alignment"), 4_u32.to_le_bytes().into(), 64_u32.to_le_bytes().into()].concat());
        bytes.extend([text(b"general.name"), 8_u32.to_le_bytes().into(), text(b"small")].concat());
        bytes.extend([text(b"tokens"), 9_u32.to_le_bytes().into(), 8_u32.to_le_bytes().into(), 2_u64.to_le_bytes().into()].concat());
        bytes.extend([text(b"a"), text(b"b")].concat());
        bytes.extend(tensor(b"w", &[8, 2], 0, 0));
        bytes.resize(bytes.len().next_multiple_of(64) + 64, 0);
        bytes
    }

    #[test]
    fn an_outline_that_is_whole_passes_and_every_part_of_it_is_refused() {
        let whole = small();
        walked(&whole).unwrap();
        for len in 0..whole.len() {
            assert!(walked(&whole[..len]).is_err(), "accepted at {len} of {} bytes", whole.len());
        }
    }

    #[test]
    fn what_no_model_has_is_refused_by_name() {
        let refused = |bytes: &[u8]| walked(bytes).unwrap_err();
        assert!(refused(b"GGML\x03\0\0\0").contains("the magic number"));
        assert!(refused(b"GGUF\x01\0\0\0").contains("the version is 1, expected 2 or 3"));
        assert!(refused(b"GGUF\0\0\0\x03").contains("the version"));
        assert!(refused(&header(u64::MAX, 0)).contains("the number of tensors is 18446744073709551615, expected at most 65536"));
        assert!(refused(&header(0, 1 << 40)).contains("the number of metadata entries"));
        let entry = |parts: &[&[u8]]| [header(0, 1), parts.concat(), vec![0; 64]].concat();
        let (key, array, many) = (text(b"k"), 9_u32.to_le_bytes(), u64::MAX.to_le_bytes());
        assert!(refused(&entry(&[&0_u64.to_le_bytes()])).contains("the length of a key is 0"));
        assert!(refused(&entry(&[&many])).contains("the length of a key"));
        assert!(refused(&entry(&[&key, &13_u32.to_le_bytes()])).contains("the type of a metadata entry is 13"));
        assert!(refused(&entry(&[&key, &8_u32.to_le_bytes(), &many])).contains("the length of a text"));
        assert!(refused(&entry(&[&key, &array, &0_u32.to_le_bytes(), &many])).contains("the number of elements"));
        assert!(refused(&entry(&[&key, &array, &array, &1_u64.to_le_bytes()])).contains("the type of an array's elements is 9"));
        assert!(refused(&entry(&[&key, &array, &12_u32.to_le_bytes(), &4096_u64.to_le_bytes()])).contains("the file ends"));
        let alignment = |value: u32| entry(&[&text(b"general.alignment"), &4_u32.to_le_bytes(), &value.to_le_bytes()]);
        for value in [0, 3, 4 << 20] {
            assert!(refused(&alignment(value)).contains("`general.alignment` is"), "{value}");
        }
    }

    #[test]
    fn tensors_lie_within_the_file() {
        let refused = |one: Vec<u8>| walked(&[header(1, 0), one, vec![0; 256]].concat()).unwrap_err();
        assert!(refused(tensor(&[b'n'; 64], &[1], 0, 0)).contains("the length of a tensor's name is 64, expected at most 63"));
        assert!(refused(tensor(b"w", &[1; 5], 0, 0)).contains("the number of dimensions is 5, expected at most 4"));
        assert!(refused(tensor(b"w", &[1 << 32, 1 << 32], 0, 0)).contains("a tensor's size"));
        assert!(refused(tensor(b"w", &[1 << 20], 0, 0)).contains("a tensor's size is 1048576"));
        assert!(refused(tensor(b"w", &[1], 4, 0)).contains("a tensor's type is 4"));
        assert!(refused(tensor(b"w", &[1], u32::MAX, 0)).contains("a tensor's type"));
        assert!(refused(tensor(b"w", &[31], 8, 0)).contains("the length of a tensor's row is 31, expected a multiple of 32"));
        assert!(refused(tensor(b"w", &[1], 0, 1)).contains("a tensor's offset is 1, expected a multiple of 32"));
        assert!(refused(tensor(b"w", &[1], 0, 1 << 20)).contains("expected weights within the"));
        assert!(refused(tensor(b"w", &[1], 0, u64::MAX - 31)).contains("expected weights within the"));
    }
}
