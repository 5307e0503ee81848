//! Names that can be erased: paths and names of graphs, as guests gave them.
//!
//! Runs in: daemon (writes), CLI (reads).
//! Invariant: a frame's digest covers a name's hash and not the name. So a name can be overwritten later, and every seal and every proof still holds; and no
//! name can be changed, for another one has another hash.
//!
//! An entry of a `Dict` frame is `kind u8 | length LEB128 | body`. A name's body is `SHA-256(domain 0x00 salt text), 32 bytes | salt, 16 bytes | text`. The
//! salt is random, so that nobody finds an erased name by hashing names that it might have been. An erased name is zeros from the salt on. What is hashed for
//! the frame's leaf and its checksum has zeros there, whether the name is erased or not.

use std::borrow::Cow;
use std::ops::Range;

use crate::columns::BadPayload;
use crate::columns::get;
use crate::columns::put;
use crate::frame::COMPRESSED;
use crate::frame::FrameType;
use crate::frame::HEADER_LEN;
use crate::tree::sha256;

/// An entry that is a source, in JSON.
pub(crate) const KIND_SOURCE: u8 = 2;
/// An entry that is a name.
pub(crate) const KIND_NAME: u8 = 3;

/// What stands for an erased name wherever names are shown.
pub const ERASED: &str = "(erased)";

/// Salt in front of a name.
pub(crate) const SALT_LEN: usize = 16;
const HASH_LEN: usize = 32;
/// What a name costs beside its text: kind, length, hash and salt.
pub(crate) const NAME_LEN: usize = 3 + HASH_LEN + SALT_LEN;
const DOMAIN: &[u8] = b"edgeguard.dev/journal-name/v1\0";
/// Where a frame says what it holds, and how.
const KIND_AT: usize = 4;
const FLAGS_AT: usize = 5;

/// A name as it stands in a frame.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Name<'a> {
    hash: &'a [u8; HASH_LEN],
    salt: &'a [u8; SALT_LEN],
    text: &'a [u8],
}

/// Whether a name is the one that was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum State {
    Whole,
    Erased,
    Another,
}

impl<'a> Name<'a> {
    pub fn parse(body: &'a [u8]) -> Result<Self, BadPayload> {
        let (hash, rest) = body.split_first_chunk().ok_or(BadPayload::Length)?;
        let (salt, text) = rest.split_first_chunk().ok_or(BadPayload::Length)?;
        Ok(Self { hash, salt, text })
    }

    pub fn state(&self) -> State {
        if self.is_erased() {
            State::Erased
        } else if sha256(&[DOMAIN, self.salt, self.text]) == *self.hash {
            State::Whole
        } else {
            State::Another
        }
    }

    /// Whether its salt is gone. What a crash left of the text is erased at the next start.
    fn is_erased(&self) -> bool {
        self.salt.iter().all(|byte| *byte == 0)
    }

    /// Whether nothing is left of it but its hash.
    pub fn is_blank(&self) -> bool {
        self.salt.iter().chain(self.text).all(|byte| *byte == 0)
    }

    /// What is shown of a name whose state was looked at before.
    pub fn shown_as_held(&self) -> &'a [u8] {
        if self.is_erased() { ERASED.as_bytes() } else { self.text }
    }

    /// What is shown.
    ///
    /// # Errors
    /// [`BadPayload::Name`]
    pub fn shown(&self) -> Result<&'a [u8], BadPayload> {
        match self.state() {
            State::Whole => Ok(self.text),
            State::Erased => Ok(ERASED.as_bytes()),
            State::Another => Err(BadPayload::Name),
        }
    }
}

/// Appends an entry.
pub(crate) fn put_entry(payload: &mut Vec<u8>, kind: u8, body: &[&[u8]]) {
    payload.push(kind);
    put(payload, body.iter().map(|part| part.len() as u64).sum());
    payload.extend(body.iter().copied().flatten());
}

/// Appends a name.
pub(crate) fn put_name(payload: &mut Vec<u8>, salt: &[u8; SALT_LEN], text: &[u8]) {
    let hash = sha256(&[DOMAIN, salt, text]);
    put_entry(payload, KIND_NAME, &[&hash, salt, text]);
}

/// The entries of a `Dict` payload: the kind of each, and where its body is.
pub(crate) fn entries(payload: &[u8]) -> impl Iterator<Item = Result<(u8, Range<usize>), BadPayload>> {
    let mut at = 0;
    std::iter::from_fn(move || {
        let (kind, mut rest) = payload.get(at..)?.split_first()?;
        let body = get(&mut rest).and_then(|len| {
            let start = payload.len() - rest.len();
            let end = usize::try_from(len).ok().and_then(|len| start.checked_add(len)).filter(|end| *end <= payload.len());
            end.map(|end| start..end).ok_or(BadPayload::Length)
        });
        at = body.as_ref().map_or(payload.len(), |body| body.end);
        Some(body.map(|body| (*kind, body)))
    })
}

/// Where the names of a `Dict` payload are.
///
/// # Errors
/// [`BadPayload`]
pub(crate) fn names(payload: &[u8]) -> Result<Vec<Range<usize>>, BadPayload> {
    entries(payload).filter_map(|entry| entry.map(|(kind, body)| (kind == KIND_NAME).then_some(body)).transpose()).collect()
}

/// The part of a name's body that is overwritten when it is erased.
pub(crate) fn erasable(body: &Range<usize>) -> Range<usize> {
    (body.start + HASH_LEN).min(body.end)..body.end
}

/// A payload as checksums and digests cover it: without what stands behind the hashes of its names. Of any other kind of frame, and of one that does not
/// parse, the payload as it is. Two payloads of one length, which the header tells, come to the same only if they differ in names alone: the lengths of the
/// names are covered.
pub(crate) fn covered(kind: u8, flags: u8, payload: &[u8]) -> Cow<'_, [u8]> {
    if kind != FrameType::Dict as u8 || flags & COMPRESSED != 0 {
        return Cow::Borrowed(payload);
    }
    let Ok(names) = names(payload) else { return Cow::Borrowed(payload) };
    let mut covered = Vec::new();
    let mut from = 0;
    for name in names {
        let without = erasable(&name);
        covered.extend_from_slice(payload.get(from..without.start).unwrap_or_default());
        from = without.end;
    }
    covered.extend_from_slice(payload.get(from..).unwrap_or_default());
    Cow::Owned(covered)
}

/// The same of a whole frame, whatever its bytes are.
pub(crate) fn covered_frame(frame: &[u8]) -> (&[u8], Cow<'_, [u8]>) {
    let (header, payload) = frame.split_at(frame.len().min(HEADER_LEN));
    let byte = |at: usize| header.get(at).copied().unwrap_or_default();
    (header, covered(byte(KIND_AT), byte(FLAGS_AT), payload))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
    use proptest::prelude::*;

    use super::*;

    fn payload(texts: &[Vec<u8>]) -> Vec<u8> {
        let mut payload = Vec::new();
        put_entry(&mut payload, KIND_SOURCE, &[b"{}"]);
        texts.iter().for_each(|text| put_name(&mut payload, &[7; SALT_LEN], text));
        payload
    }

    proptest! {
        #[test]
        fn a_name_reads_back_and_erasing_it_changes_nothing_that_is_covered(texts in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 1..90), 1..5)) {
            let whole = payload(&texts);
            let mut erased = whole.clone();
            for (body, text) in names(&whole).unwrap().into_iter().zip(&texts) {
                let name = Name::parse(&whole[body.clone()]).unwrap();
                prop_assert_eq!((name.state(), name.shown().unwrap()), (State::Whole, &text[..]));
                erased[erasable(&body)].fill(0);
                prop_assert_eq!(Name::parse(&erased[body]).unwrap().shown().unwrap(), ERASED.as_bytes());
            }
            prop_assert_eq!(covered(6, 0, &whole), covered(6, 0, &erased));
            prop_assert!(texts.iter().all(|text| text.len() < 4 || !erased.windows(text.len()).any(|part| part == text)));
        }

        #[test]
        fn another_name_is_noticed_and_what_is_covered_stays(at in 0usize..100, bit in 0u8..8) {
            let whole = payload(&[b"/var/lib/patients/meier.txt".to_vec()]);
            let body = names(&whole).unwrap().remove(0);
            let mut other = whole.clone();
            let range = erasable(&body);
            let at = range.start + at % range.len();
            other[at] ^= 1 << bit;
            prop_assert_eq!(Name::parse(&other[body]).unwrap().state(), State::Another);
            prop_assert_eq!(covered(6, 0, &whole), covered(6, 0, &other));
        }

        #[test]
        fn noise_is_refused_or_read_and_never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            for entry in entries(&bytes).flatten() {
                let _ = Name::parse(&bytes[entry.1]).map(|name| name.state());
            }
            prop_assert!(covered(6, 0, &bytes).len() <= bytes.len());
        }
    }
}
