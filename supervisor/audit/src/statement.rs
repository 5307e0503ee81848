//! What the journal's keys sign: the state of the tree, the next epoch's key, and the answer to who asks whether the journal is alive.
//!
//! Runs in: daemon (makes), CLI (reads).
//! Invariant: the three texts begin differently, so that none can be taken for another: the others with a fixed line, and a checkpoint with any
//! other line than those.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::note::BadNote;
use crate::tree::Hash;

/// The first line of an epoch's certificate.
pub(crate) const EPOCH: &str = "edgeguard.dev/journal-epoch/v1";
/// The first line of a liveness answer.
pub(crate) const LIVENESS: &str = "edgeguard.dev/journal-liveness/v1";

/// The state of the tree (c2sp.org/tlog-checkpoint): three lines.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checkpoint {
    /// The journal's name, which is also its identity key's.
    pub origin: String,
    /// How many frames there are.
    pub size: u64,
    /// The root over their leaves.
    pub root: Hash,
}

impl Checkpoint {
    /// As text.
    #[must_use]
    pub fn text(&self) -> String {
        format!("{}\n{}\n{}\n", self.origin, self.size, STANDARD.encode(self.root))
    }

    /// Reads one.
    ///
    /// # Errors
    /// [`BadNote::Form`]
    pub fn parse(text: &str) -> Result<Self, BadNote> {
        let [origin, size, root] = lines(text)?;
        if [EPOCH, LIVENESS].contains(&origin) {
            return Err(BadNote::Form);
        }
        Ok(Self { origin: origin.to_owned(), size: number(size)?, root: hash(root)? })
    }
}

/// The certificate of an epoch: its key, signed with the identity key and with the key of the epoch before; and what the tree was, which closes
/// that epoch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EpochStart {
    /// The journal's name.
    pub origin: String,
    /// The epoch that begins; the first is 1.
    pub epoch: u32,
    /// Its public key, Ed25519.
    pub key: [u8; 32],
    /// The journal's identity key, which signs here and stays.
    pub identity: [u8; 32],
    /// The frames before.
    pub size: u64,
    /// The root over their leaves.
    pub root: Hash,
}

impl EpochStart {
    pub(crate) fn text(&self) -> String {
        let Self { origin, epoch, key, identity, size, root } = self;
        let [key, identity, root] = [key, identity, root].map(|bytes| STANDARD.encode(bytes));
        format!("{EPOCH}\n{origin}\n{epoch}\n{key}\n{identity}\n{size}\n{root}\n")
    }

    pub(crate) fn parse(text: &str) -> Result<Self, BadNote> {
        let [first, origin, epoch, key, identity, size, root] = lines(text)?;
        let epoch = u32::try_from(number(epoch)?).map_err(|_| BadNote::Form)?;
        if first != EPOCH || epoch == 0 {
            return Err(BadNote::Form);
        }
        Ok(Self { origin: origin.to_owned(), epoch, key: hash(key)?, identity: hash(identity)?, size: number(size)?, root: hash(root)? })
    }

    /// The name of the epoch's key.
    pub(crate) fn key_name(origin: &str, epoch: u32) -> String {
        format!("{origin}/e{epoch}")
    }
}

/// The answer of a running daemon: its journal's state, with the number that was asked with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Liveness {
    /// The journal's name.
    pub origin: String,
    /// What the question held: 16 to 64 bytes that nobody could know before.
    pub nonce: Vec<u8>,
    /// The epoch whose key signs.
    pub epoch: u32,
    /// How many frames there are.
    pub size: u64,
    /// The root over their leaves.
    pub root: Hash,
    /// The daemon's clock, nanoseconds since the Unix epoch.
    pub time: u64,
}

impl Liveness {
    pub(crate) fn text(&self) -> String {
        let Self { origin, nonce, epoch, size, root, time } = self;
        format!("{LIVENESS}\n{origin}\n{}\n{epoch}\n{size}\n{}\n{time}\n", hex::encode(nonce), STANDARD.encode(root))
    }

    pub(crate) fn parse(text: &str) -> Result<Self, BadNote> {
        let [first, origin, nonce, epoch, size, root, time] = lines(text)?;
        let nonce = hex::decode(nonce).map_err(|_| BadNote::Form)?;
        let epoch = u32::try_from(number(epoch)?).map_err(|_| BadNote::Form)?;
        if first != LIVENESS || !NONCE_LEN.contains(&nonce.len()) {
            return Err(BadNote::Form);
        }
        Ok(Self { origin: origin.to_owned(), nonce, epoch, size: number(size)?, root: hash(root)?, time: number(time)? })
    }
}

/// Bytes of a nonce.
pub const NONCE_LEN: std::ops::RangeInclusive<usize> = 16..=64;

/// Exactly this many lines, each ended, none empty.
fn lines<const N: usize>(text: &str) -> Result<[&str; N], BadNote> {
    let lines: Vec<&str> = text.strip_suffix('\n').ok_or(BadNote::Form)?.split('\n').collect();
    if lines.iter().any(|line| line.is_empty()) {
        return Err(BadNote::Form);
    }
    lines.try_into().map_err(|_| BadNote::Form)
}

/// A decimal number in its one form.
fn number(text: &str) -> Result<u64, BadNote> {
    let number: u64 = text.parse().map_err(|_| BadNote::Form)?;
    if number.to_string() == text { Ok(number) } else { Err(BadNote::Form) }
}

fn hash(text: &str) -> Result<Hash, BadNote> {
    STANDARD.decode(text).ok().and_then(|bytes| bytes.try_into().ok()).ok_or(BadNote::Form)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]
    use super::*;

    #[test]
    fn statements_read_back_and_none_reads_as_another() {
        let checkpoint = Checkpoint { origin: "a/b".into(), size: 7, root: [1; 32] };
        let epoch = EpochStart { origin: "a/b".into(), epoch: 3, key: [2; 32], identity: [5; 32], size: 9, root: [3; 32] };
        let alive = Liveness { origin: "a/b".into(), nonce: vec![4; 16], epoch: 3, size: 9, root: [3; 32], time: 1 };
        assert_eq!(Checkpoint::parse(&checkpoint.text()), Ok(checkpoint.clone()));
        assert_eq!(EpochStart::parse(&epoch.text()), Ok(epoch.clone()));
        assert_eq!(Liveness::parse(&alive.text()), Ok(alive.clone()));
        for text in [epoch.text(), alive.text()] {
            assert!(Checkpoint::parse(&text).is_err());
        }
        assert!(EpochStart::parse(&alive.text()).is_err() && EpochStart::parse(&checkpoint.text()).is_err());
        assert!(Liveness::parse(&epoch.text()).is_err() && Liveness::parse(&checkpoint.text()).is_err());
        for bad in [
            "a\n07\nAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE=\n",
            "a\n+7\nAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE=\n",
            "a\n7\nAQEB\n",
            "a\n7\n",
            "",
        ] {
            assert!(Checkpoint::parse(bad).is_err(), "{bad}");
        }
    }
}
