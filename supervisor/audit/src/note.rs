//! Signed notes (c2sp.org/signed-note): a few lines of text, and signatures over exactly those bytes.
//!
//! Runs in: daemon (signs), CLI (checks).
//! Does not: know what a note says. Names and texts are bounded before they are looked at.

use std::fmt;
use std::str::FromStr;

use aws_lc_rs::signature;
use aws_lc_rs::signature::Ed25519KeyPair;
use aws_lc_rs::signature::KeyPair as _;
use aws_lc_rs::signature::UnparsedPublicKey;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::tree::sha256;

/// A note is at most this long, in bytes.
pub const MAX_NOTE: usize = 64 << 10;
/// Signatures of one note that are looked at.
const MAX_SIGNATURES: usize = 32;
/// A timestamp authority's answer is at most this long, in bytes.
const MAX_STAMP: usize = 16 << 10;
/// The name that such an answer stands behind. Who gave it is in the answer.
const STAMP: &str = "rfc3161";
/// A key's name is at most this long, in bytes.
const MAX_NAME: usize = 200;

/// Text that is not a note, or not a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BadNote {
    /// Longer than 64 KiB.
    #[error("is longer than {MAX_NOTE} bytes")]
    Long,
    /// Not text, an empty line, and signature lines.
    #[error("is not text, an empty line, and lines `— NAME BASE64`")]
    Form,
    /// Not `NAME+HASH+BASE64` of an Ed25519 key.
    #[error("is not a key of the form `NAME+HASH+BASE64` for Ed25519 (type 1 or 4)")]
    Key,
    /// A name with a space, a plus sign or nothing in it.
    #[error("holds a name that a note's key cannot have")]
    Name,
}

/// What a key signs with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum KeyKind {
    /// Ed25519 over the text.
    Ed25519 = 1,
    /// Ed25519 over the text and a time: a witness (c2sp.org/tlog-cosignature).
    Cosignature = 4,
}

/// A public key with its name, written `NAME+HASH+BASE64`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VerifierKey {
    name: String,
    kind: KeyKind,
    public: [u8; 32],
}

impl VerifierKey {
    /// A key that signs texts.
    ///
    /// # Errors
    /// [`BadNote::Name`]
    pub fn new(name: &str, public: [u8; 32]) -> Result<Self, BadNote> {
        Self::of_kind(name, KeyKind::Ed25519, public)
    }

    fn of_kind(name: &str, kind: KeyKind, public: [u8; 32]) -> Result<Self, BadNote> {
        if !is_name(name) {
            return Err(BadNote::Name);
        }
        Ok(Self { name: name.to_owned(), kind, public })
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its 32 bytes.
    #[must_use]
    pub const fn public(&self) -> &[u8; 32] {
        &self.public
    }

    /// What tells it from other keys of its name: four bytes of SHA-256 over name, line feed, kind and key.
    #[must_use]
    pub fn id(&self) -> [u8; 4] {
        let digest = sha256(&[self.name.as_bytes(), b"\n", &[self.kind as u8], &self.public]);
        digest.first_chunk().copied().unwrap_or_default()
    }

    fn checks(&self, message: &[u8], signature: &[u8]) -> bool {
        UnparsedPublicKey::new(&signature::ED25519, &self.public).verify(message, signature).is_ok()
    }
}

impl fmt::Display for VerifierKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut key = vec![self.kind as u8];
        key.extend_from_slice(&self.public);
        write!(f, "{}+{}+{}", self.name, hex::encode(self.id()), STANDARD.encode(key))
    }
}

impl FromStr for VerifierKey {
    type Err = BadNote;

    fn from_str(text: &str) -> Result<Self, BadNote> {
        if text.len() > MAX_NAME + 64 {
            return Err(BadNote::Key);
        }
        let (name, rest) = text.trim_ascii().split_once('+').ok_or(BadNote::Key)?;
        let (id, key) = rest.split_once('+').ok_or(BadNote::Key)?;
        let key = STANDARD.decode(key).map_err(|_| BadNote::Key)?;
        let (kind, public) = key.split_first().ok_or(BadNote::Key)?;
        let kind = match kind {
            1 => KeyKind::Ed25519,
            4 => KeyKind::Cosignature,
            _ => return Err(BadNote::Key),
        };
        let key = Self::of_kind(name, kind, public.try_into().map_err(|_| BadNote::Key)?)?;
        if hex::encode(key.id()) == id { Ok(key) } else { Err(BadNote::Key) }
    }
}

/// What a note says of a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub enum Signed {
    /// Signed with it; a witness says when, in seconds since 1970.
    Good(Option<u64>),
    /// Not signed with it.
    Absent,
    /// It says so, and it is not true.
    Bad,
}

/// A text with signatures.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Note {
    text: String,
    signatures: Vec<(String, Vec<u8>)>,
}

impl Note {
    /// A text that nobody has signed yet. It ends with a line feed, as notes do.
    #[must_use]
    pub(crate) const fn new(text: String) -> Self {
        Self { text, signatures: Vec::new() }
    }

    /// Reads a note.
    ///
    /// # Errors
    /// [`BadNote`]
    pub fn parse(note: &str) -> Result<Self, BadNote> {
        if note.len() > MAX_NOTE {
            return Err(BadNote::Long);
        }
        let end = note.rfind("\n\n").ok_or(BadNote::Form)?;
        let (text, lines) = (note.get(..=end).ok_or(BadNote::Form)?, note.get(end + 2..).ok_or(BadNote::Form)?);
        if note.chars().any(|c| c.is_control() && c != '\n') || text.trim_ascii().is_empty() {
            return Err(BadNote::Form);
        }
        let lines = lines.strip_suffix('\n').ok_or(BadNote::Form)?;
        let mut signatures = Vec::new();
        for line in lines.split('\n') {
            let (name, signature) = line.strip_prefix("— ").and_then(|line| line.split_once(' ')).ok_or(BadNote::Form)?;
            let signature = STANDARD.decode(signature).map_err(|_| BadNote::Form)?;
            if !is_name(name) || signature.len() < 5 || signatures.len() >= MAX_SIGNATURES {
                return Err(BadNote::Form);
            }
            signatures.push((name.to_owned(), signature));
        }
        Ok(Self { text: text.to_owned(), signatures })
    }

    /// What is signed.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Whether it is signed with this key.
    pub fn signed_by(&self, key: &VerifierKey) -> Signed {
        let id = key.id();
        let own = |(name, bytes): &&(String, Vec<u8>)| *name == key.name && bytes.starts_with(&id);
        let Some(bytes) = self.signatures.iter().find(own).and_then(|(_, bytes)| bytes.get(id.len()..)) else { return Signed::Absent };
        match key.kind {
            KeyKind::Ed25519 => {
                if key.checks(self.text.as_bytes(), bytes) {
                    return Signed::Good(None);
                }
            }
            KeyKind::Cosignature => {
                if let Some((time, signature)) = bytes.split_first_chunk() {
                    let time = u64::from_be_bytes(*time);
                    if key.checks(format!("cosignature/v1\ntime {time}\n{}", self.text).as_bytes(), signature) {
                        return Signed::Good(Some(time));
                    }
                }
            }
        }
        Signed::Bad
    }

    /// The RFC 3161 answers below it, DER: what a timestamp authority has signed over this text. Nothing of them is checked.
    pub fn stamps(&self) -> impl Iterator<Item = &[u8]> {
        let id = stamp_id();
        let own = move |(name, bytes): &&(String, Vec<u8>)| name == STAMP && bytes.starts_with(&id);
        self.signatures.iter().filter(own).filter_map(|(_, bytes)| bytes.get(4..))
    }

    /// Puts the answer of a timestamp authority below it.
    ///
    /// # Errors
    /// [`BadNote::Long`] if it is over 16 KiB or the note has no place for it; [`BadNote::Form`] if it is empty.
    pub fn add_stamp(&mut self, answer: &[u8]) -> Result<(), BadNote> {
        if answer.is_empty() {
            return Err(BadNote::Form);
        }
        if answer.len() > MAX_STAMP || self.signatures.len() >= MAX_SIGNATURES {
            return Err(BadNote::Long);
        }
        self.signatures.push((STAMP.to_owned(), [&stamp_id(), answer].concat()));
        if self.to_string().len() > MAX_NOTE { Err(BadNote::Long) } else { Ok(()) }
    }

    /// Signs it with one more key.
    pub(crate) fn sign(&mut self, key: &NoteKey) {
        let mut bytes = key.verifier.id().to_vec();
        bytes.extend_from_slice(key.pair.sign(self.text.as_bytes()).as_ref());
        self.signatures.push((key.verifier.name.clone(), bytes));
    }
}

impl fmt::Display for Note {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.text)?;
        self.signatures.iter().try_for_each(|(name, bytes)| writeln!(f, "— {name} {}", STANDARD.encode(bytes)))
    }
}

/// A private key with its name.
pub(crate) struct NoteKey {
    pair: Ed25519KeyPair,
    verifier: VerifierKey,
}

impl NoteKey {
    /// The key that this seed makes.
    pub fn from_seed(name: &str, seed: &[u8; 32]) -> Result<Self, BadNote> {
        Self::new(name, Ed25519KeyPair::from_seed_unchecked(seed).map_err(|_| BadNote::Key)?)
    }

    /// This key, by this name.
    pub fn new(name: &str, pair: Ed25519KeyPair) -> Result<Self, BadNote> {
        let public = pair.public_key().as_ref().try_into().map_err(|_| BadNote::Key)?;
        Ok(Self { pair, verifier: VerifierKey::new(name, public)? })
    }

    /// Its public half.
    pub const fn verifier(&self) -> &VerifierKey {
        &self.verifier
    }
}

impl fmt::Debug for NoteKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("NoteKey").field(&self.verifier).finish()
    }
}

/// A journal's origin as the name of a key: what a name may not hold becomes a hyphen.
pub(crate) fn key_name(origin: &str) -> String {
    let name: String = origin.chars().map(|c| if c.is_whitespace() || c.is_control() || c == '+' { '-' } else { c }).collect();
    let (name, _) = crate::text::cut(&name, MAX_NAME - 16);
    if name.is_empty() { "journal".to_owned() } else { name.to_owned() }
}

/// The id of an answer's line: type 0xff, which is nobody's, and what kind of signature it is.
fn stamp_id() -> [u8; 4] {
    sha256(&[STAMP.as_bytes(), b"\n", &[0xff], b"rfc3161-timestamp"]).first_chunk().copied().unwrap_or_default()
}

fn is_name(name: &str) -> bool {
    !name.is_empty() && name.len() <= MAX_NAME && !name.chars().any(|c| c.is_whitespace() || c.is_control() || c == '+')
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]
    use proptest::prelude::*;

    use super::*;

    /// From the documentation of golang.org/x/mod/sumdb/note, whose notes these are.
    const GOLANG: &str = "If you think cryptography is the answer to your problem,\n\
        then you don't know what your problem is.\n\n\
        — PeterNeumann x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM=\n";

    #[test]
    fn a_note_of_another_implementation_verifies() {
        let key: VerifierKey = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW".parse().unwrap();
        let note = Note::parse(GOLANG).unwrap();
        assert_eq!(note.signed_by(&key), Signed::Good(None));
        assert_eq!(note.to_string(), GOLANG);
        assert_eq!(key.to_string(), "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW");
        let changed = Note::parse(&GOLANG.replace("answer", "reply")).unwrap();
        assert_eq!(changed.signed_by(&key), Signed::Bad);
    }

    #[test]
    fn a_key_signs_under_its_own_name_only() {
        let key = NoteKey::from_seed("a/e1", &[7; 32]).unwrap();
        let mut note = Note::new("a\n1\n".into());
        note.sign(&key);
        let note = Note::parse(&note.to_string()).unwrap();
        assert_eq!(note.signed_by(key.verifier()), Signed::Good(None));
        let other = NoteKey::from_seed("a/e2", &[7; 32]).unwrap();
        assert_eq!(note.signed_by(other.verifier()), Signed::Absent);
        assert!(NoteKey::from_seed("a b", &[7; 32]).is_err());
        assert_eq!(key_name("edge guard+\n"), "edge-guard--");
    }

    #[test]
    fn a_witness_signs_the_time_too() {
        let pair = Ed25519KeyPair::from_seed_unchecked(&[9; 32]).unwrap();
        let public = pair.public_key().as_ref().try_into().unwrap();
        let witness = VerifierKey::of_kind("w.example", KeyKind::Cosignature, public).unwrap();
        let text = "a\n1\n";
        let mut bytes = witness.id().to_vec();
        bytes.extend_from_slice(&77u64.to_be_bytes());
        bytes.extend_from_slice(pair.sign(format!("cosignature/v1\ntime 77\n{text}").as_bytes()).as_ref());
        let mut note = Note { text: text.into(), signatures: vec![("w.example".into(), bytes)] };
        assert_eq!(note.signed_by(&witness), Signed::Good(Some(77)));
        assert_eq!(witness.to_string().parse(), Ok(witness.clone()));
        note.signatures[0].1[11] ^= 1;
        assert_eq!(note.signed_by(&witness), Signed::Bad);
    }

    #[test]
    fn a_stamp_is_a_line_of_the_note_and_leaves_its_text_alone() {
        let key = NoteKey::from_seed("a", &[7; 32]).unwrap();
        let mut note = Note::new("a\n1\n".into());
        note.sign(&key);
        assert_eq!(note.stamps().count(), 0);
        note.add_stamp(&[0x30, 3, 1, 2, 3]).unwrap();
        let note = Note::parse(&note.to_string()).unwrap();
        assert_eq!(note.stamps().collect::<Vec<_>>(), [&[0x30, 3, 1, 2, 3]]);
        assert_eq!((note.text(), note.signed_by(key.verifier())), ("a\n1\n", Signed::Good(None)));
        assert_eq!(note.clone().add_stamp(&[0; MAX_STAMP + 1]), Err(BadNote::Long));
        assert_eq!(note.clone().add_stamp(&[]), Err(BadNote::Form));
    }

    proptest! {
        #[test]
        fn noise_is_refused_without_a_panic(text in "\\PC{0,80}(\n\n— [a+ ]{0,4} [a-zA-Z0-9=]{0,12}\n)?") {
            let _ = Note::parse(&text);
            let _ = text.parse::<VerifierKey>();
        }
    }
}
