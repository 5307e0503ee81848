//! Where in the journal something stands, and the id that follows from it.
//!
//! Runs in: daemon, CLI.

use std::fmt;

use uuid::Uuid;

/// A place in one journal: `epoch/frame/index`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Position {
    /// Signing epoch; 0 while there is no signing key.
    pub epoch: u32,
    /// Frame number.
    pub frame: u64,
    /// Place in the frame.
    pub index: u32,
}

impl Position {
    /// The same id for the same place in the same journal, always. Whoever receives an export twice can tell by it.
    ///
    /// A UUID of version 8 (RFC 9562): 48 bits of the frame's number, 12 bits of the place in the frame, which is what a frame holds at most, and 62
    /// bits of SHA-256 over `origin/epoch/frame/index`. So ids sort as their entries do, and [`Position::place_of`] says where to look.
    #[must_use]
    pub fn uid(&self, origin: &str) -> Uuid {
        let digest = crate::tree::sha256(&[format!("{origin}/{self}").as_bytes()]);
        let [_, _, f0, f1, f2, f3, f4, f5] = self.frame.to_be_bytes();
        let [_, _, i0, i1] = self.index.to_be_bytes();
        let mut bytes = [f0, f1, f2, f3, f4, f5, i0 & 0x0f, i1, 0, 0, 0, 0, 0, 0, 0, 0];
        for (to, from) in bytes.iter_mut().skip(8).zip(digest) {
            *to = from;
        }
        uuid::Builder::from_custom_bytes(bytes).into_uuid()
    }

    /// The frame and the place in it that an id says it is of; nothing for one that no journal gives. Whether it is of that place in a certain journal,
    /// [`Position::uid`] shows.
    #[must_use]
    pub fn place_of(uid: &Uuid) -> Option<(u64, u32)> {
        if uid.get_version_num() != 8 || uid.get_variant() != uuid::Variant::RFC4122 {
            return None;
        }
        let [f0, f1, f2, f3, f4, f5, i0, i1, ..] = *uid.as_bytes();
        Some((u64::from_be_bytes([0, 0, f0, f1, f2, f3, f4, f5]), u32::from(u16::from_be_bytes([i0 & 0x0f, i1]))))
    }
}

/// An entry that is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sought(What);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum What {
    Position(Position),
    /// An id, and the place that it says it is of.
    Uid(Uuid, u64, u32),
}

impl Sought {
    /// An id as an export has it, or a position, `EPOCH/FRAME/INDEX`; nothing if it is neither.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        if let Ok(uid) = text.parse::<Uuid>() {
            return Position::place_of(&uid).map(|(frame, index)| Self(What::Uid(uid, frame, index)));
        }
        let mut parts = text.split('/');
        let position =
            Position { epoch: parts.next()?.parse().ok()?, frame: parts.next()?.parse().ok()?, index: parts.next()?.parse().ok()? };
        parts.next().is_none().then_some(Self(What::Position(position)))
    }

    /// Whether it is an id, which is of one journal.
    #[must_use]
    pub const fn is_uid(&self) -> bool {
        matches!(self.0, What::Uid(..))
    }

    /// The frame that would hold it.
    #[must_use]
    pub const fn frame(&self) -> u64 {
        match self.0 {
            What::Position(position) => position.frame,
            What::Uid(_, frame, _) => frame,
        }
    }

    /// Whether it is the entry at this place in the journal with this name.
    #[must_use]
    pub fn is(&self, position: &Position, origin: &str) -> bool {
        match &self.0 {
            What::Position(wanted) => wanted == position,
            What::Uid(uid, frame, index) => (*frame, *index) == (position.frame, position.index) && *uid == position.uid(origin),
        }
    }
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}/{}", self.epoch, self.frame, self.index)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
    use super::*;
    use crate::frame::MAX_EVENTS;

    #[test]
    fn an_id_says_where_to_look_and_ids_sort_as_their_entries_do() {
        let mut before = Uuid::nil();
        for frame in [0, 1, 255, 256, 0x1234_5678_9abc, (1 << 48) - 1] {
            for index in [0, 1, 255, 256, MAX_EVENTS as u32 - 1] {
                let uid = Position { epoch: 3, frame, index }.uid("gateway-7");
                assert_eq!(Position::place_of(&uid), Some((frame, index)));
                assert!(uid > before, "{uid} {before}");
                before = uid;
            }
        }
        assert_eq!(Position::place_of(&Uuid::nil()), None);
        assert_eq!(Position::place_of(&"6fa459ea-ee8a-4ca4-894e-db77e160355e".parse().unwrap()), None);
    }

    #[test]
    fn an_id_or_a_position_finds_its_entry_and_no_other() {
        let place = Position { epoch: 1, frame: 7, index: 2 };
        let by_id = Sought::parse(&place.uid("a").to_string()).unwrap();
        let by_place = Sought::parse("1/7/2").unwrap();
        for sought in [by_id, by_place] {
            assert_eq!(sought.frame(), 7);
            assert!(sought.is(&place, "a"));
            for other in [Position { epoch: 2, ..place }, Position { frame: 8, ..place }, Position { index: 3, ..place }] {
                assert!(!sought.is(&other, "a"), "{other}");
            }
        }
        assert!(!by_id.is(&place, "b"), "an id is of one journal");
        for nonsense in ["", "1/2", "1/2/3/4", "1/2/-3", "a/b/c", "6fa459ea-ee8a-4ca4-894e-db77e160355e"] {
            assert_eq!(Sought::parse(nonsense), None, "{nonsense}");
        }
    }

    #[test]
    fn an_id_is_of_one_journal_one_epoch_and_one_place() {
        let place = Position { epoch: 1, frame: 7, index: 2 };
        let ids = [
            place.uid("a"),
            place.uid("b"),
            Position { epoch: 2, ..place }.uid("a"),
            Position { frame: 8, ..place }.uid("a"),
            // No entry has such an index; what says that entries are missing does.
            Position { index: 2 + 4096, ..place }.uid("a"),
        ];
        for (n, id) in ids.iter().enumerate() {
            assert!(!ids.iter().skip(n + 1).any(|other| other == id), "{id}");
        }
    }
}
