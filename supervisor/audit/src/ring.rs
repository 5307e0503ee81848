//! The ring between one guest thread and the daemon: 16 Ki slots of 32 bytes in shared memory, one writer, one reader.
//!
//! Runs in: worker ([`Producer`]), daemon ([`Consumer`]).
//! Invariant: nothing is dropped. A full ring makes the guest wait; and a call's record is in the ring before the call returns.
//! Does not: trust the other side. To the daemon every word here is the word of a process that runs vendor code: a position that
//! jumps, a number without meaning or half a text is [`RingCorrupt`], and one call looks at no more slots than the ring has.
//!
//! Positions count slots from the beginning of time and never wrap. A record with text is followed by text slots, of which the first
//! begins with a word that holds a tag and the length; all of them are published together.

use std::os::fd::AsFd as _;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Acquire;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::atomic::Ordering::Release;

use edgeguard_sandbox::SharedMemory;
use rustix::event::PollFd;
use rustix::event::PollFlags;
use rustix::event::Timespec;

use crate::record::BadRecord;
use crate::record::Record;
use crate::record::TEXT;
use crate::record::TRUNCATED;

/// Bytes of shared memory in one ring.
pub const RING_LEN: usize = HEADER_LEN + SLOTS as usize * SLOT_LEN;
/// Longest text beside one record, in bytes; what is longer is cut and flagged.
pub const MAX_TEXT: usize = 4096;

/// The guest thread's end.
#[derive(Debug)]
pub struct Producer {
    memory: SharedMemory,
    doorbell: Arc<OwnedFd>,
    head: u64,
    /// As last seen: the real one is never behind it.
    tail: u64,
    produced: u64,
    rung_at: u64,
}

/// The memory is not a ring.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("expected a ring of {RING_LEN} bytes, found {0}")]
pub struct NotARing(usize);

impl Producer {
    /// Takes the writing end. `doorbell` is an eventfd that the consumer polls and that does not block (`EFD_NONBLOCK`); all rings of a
    /// worker share it.
    ///
    /// # Errors
    /// The memory is not [`RING_LEN`] bytes long.
    pub fn new(memory: SharedMemory, doorbell: Arc<OwnedFd>) -> Result<Self, NotARing> {
        if memory.len() != RING_LEN {
            return Err(NotARing(memory.len()));
        }
        let (head, tail) = (memory.words()[HEAD].load(Relaxed), memory.words()[TAIL].load(Acquire));
        memory.words()[CAPACITY].store(SLOTS, Relaxed);
        Ok(Self { memory, doorbell, head, tail, produced: 0, rung_at: head })
    }

    /// Puts a record in, with the text that belongs to it (cut after [`MAX_TEXT`] bytes). Waits while the ring is full. No allocation, and no
    /// system call unless the ring is half full or more.
    pub fn push(&mut self, record: &Record, text: Option<&[u8]>) {
        let mut record = Record { flags: 0, ..*record };
        let text = text.filter(|text| !text.is_empty()).map(|text| {
            record.flags = if text.len() > MAX_TEXT { TEXT | TRUNCATED } else { TEXT };
            &text[..text.len().min(MAX_TEXT)]
        });
        let need = 1 + text.map_or(0, |text| text_slots(text.len()));
        if self.head + need - self.tail > SLOTS / 2 {
            self.make_room(need);
        }
        let words = self.memory.words();
        store(words, self.head, record.to_words());
        if let Some(text) = text {
            store_text(words, self.head + 1, text);
        }
        self.head += need;
        self.produced += 1;
        words[HEAD].store(self.head, Release);
    }

    /// Records put in so far.
    #[must_use]
    pub const fn produced(&self) -> u64 {
        self.produced
    }

    /// Rings early, and waits if there is no room.
    ///
    /// Waiting needs no memory that both sides wait on: a rung doorbell is an eventfd at its maximum, to which nothing more can be written
    /// until the consumer has read it. So the ring is looked at again whenever the consumer comes by.
    #[cold]
    fn make_room(&mut self, need: u64) {
        self.look();
        if self.head + need - self.tail > SLOTS / 2 && self.head - self.rung_at >= SLOTS / 8 {
            self.ring();
        }
        if self.head + need - self.tail <= SLOTS {
            return;
        }
        let stalls = &self.memory.words()[STALLS];
        stalls.store(stalls.load(Relaxed).wrapping_add(1), Relaxed);
        while self.head + need - self.tail > SLOTS {
            self.ring();
            let mut doorbell = [PollFd::new(&*self.doorbell, PollFlags::OUT)];
            let timeout = Timespec { tv_sec: 0, tv_nsec: LOOK_AGAIN_NS };
            // Whatever it returns, the ring is looked at again.
            let _ = rustix::event::poll(&mut doorbell, Some(&timeout));
            self.look();
        }
    }

    fn look(&mut self) {
        // The consumer is the daemon. One that moves backwards or past the head is ignored rather than believed.
        let tail = self.memory.words()[TAIL].load(Acquire);
        if tail > self.tail && tail <= self.head {
            self.tail = tail;
        }
    }

    fn ring(&mut self) {
        self.rung_at = self.head;
        // It fails when it is rung already.
        let _ = rustix::io::write(self.doorbell.as_fd(), &RUNG.to_ne_bytes());
    }
}

/// The daemon's end.
#[derive(Debug)]
pub struct Consumer {
    memory: SharedMemory,
    tail: u64,
    taken: u64,
}

/// The other side does not keep to the format, so nothing it says is believed any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum RingCorrupt {
    /// The memory is not [`RING_LEN`] bytes long.
    #[error(transparent)]
    Length(#[from] NotARing),
    /// The head is behind what was taken, or further ahead than the ring is long.
    #[error("its head is at slot {head} while {tail} slots were taken")]
    Head {
        /// Where the head is said to be.
        head: u64,
        /// How many slots were taken.
        tail: u64,
    },
    /// A slot does not hold a record.
    #[error("slot {slot} does not hold a record")]
    Record {
        /// Position of the slot.
        slot: u64,
        /// What is wrong with it.
        source: BadRecord,
    },
    /// The text of a record has no tag, an impossible length, or goes beyond the head.
    #[error("the text of the record in slot {slot} is not whole")]
    Text {
        /// Position of the record's slot.
        slot: u64,
    },
}

impl Consumer {
    /// Takes the reading end of a ring that nobody has read from.
    #[must_use]
    pub fn new(memory: SharedMemory) -> Self {
        Self { memory, tail: 0, taken: 0 }
    }

    /// Hands over everything that is in the ring now, each record with its text, and returns how many records that were. Makes room as it goes.
    ///
    /// # Errors
    /// [`RingCorrupt`]; the records before the broken one were handed over, and [`Consumer::taken`] counts them.
    pub fn drain(&mut self, mut take: impl FnMut(Record, Option<&[u8]>)) -> Result<u64, RingCorrupt> {
        if self.memory.len() != RING_LEN {
            return Err(NotARing(self.memory.len()).into());
        }
        let words = self.memory.words();
        let head = words[HEAD].load(Acquire);
        if head.checked_sub(self.tail).is_none_or(|filled| filled > SLOTS) {
            return Err(RingCorrupt::Head { head, tail: self.tail });
        }
        let before = self.taken;
        let mut text = [0; TEXT_ROOM];
        while self.tail < head {
            let slot = self.tail;
            let record = Record::from_words(load(words, slot)).map_err(|source| RingCorrupt::Record { slot, source })?;
            if record.flags & TEXT == 0 {
                self.tail += 1;
                self.taken += 1;
                take(record, None);
            } else {
                let (text, slots) = load_text(words, slot + 1, head, &mut text).ok_or(RingCorrupt::Text { slot })?;
                self.tail += 1 + slots;
                self.taken += 1;
                take(record, Some(text));
            }
            if self.tail - slot > 1 || self.tail.is_multiple_of(SLOTS / 16) {
                words[TAIL].store(self.tail, Release);
            }
        }
        words[TAIL].store(self.tail, Release);
        Ok(self.taken - before)
    }

    /// Records taken so far.
    #[must_use]
    pub const fn taken(&self) -> u64 {
        self.taken
    }

    /// How often the guest waited for room, as its own process counts it.
    #[must_use]
    pub fn stalls(&self) -> u64 {
        self.memory.words().get(STALLS).map_or(0, |stalls| stalls.load(Relaxed))
    }
}

const SLOTS: u64 = 16 * 1024;
const SLOT_LEN: usize = 32;
const SLOT_WORDS: usize = SLOT_LEN / 8;

/// One page. Each word has a cache line of its own, because the two sides write different ones.
const HEADER_LEN: usize = 4096;
const HEADER_WORDS: usize = HEADER_LEN / 8;
const HEAD: usize = 0;
const TAIL: usize = 8;
const STALLS: usize = 16;
const CAPACITY: usize = 24;

/// First word of a text, upper half; the lower half is the length.
const TEXT_TAG: u64 = 0x7478_6574;
/// The longest text with its first word, in whole slots.
const TEXT_ROOM: usize = (8 + MAX_TEXT).div_ceil(SLOT_LEN) * SLOT_LEN;

/// The largest value an eventfd holds: whoever would add to it has to wait.
const RUNG: u64 = u64::MAX - 1;
/// A waiting guest looks at the ring this often even if nothing wakes it.
const LOOK_AGAIN_NS: i64 = 100_000_000;

const fn text_slots(len: usize) -> u64 {
    (8 + len).div_ceil(SLOT_LEN) as u64
}

/// First word of the slot at `position`. The length was checked when the ring was made, so this lies within it.
const fn index(position: u64) -> usize {
    HEADER_WORDS + (position % SLOTS) as usize * SLOT_WORDS
}

fn store(words: &[AtomicU64], position: u64, slot: [u64; SLOT_WORDS]) {
    let at = index(position);
    for (word, value) in words[at..at + SLOT_WORDS].iter().zip(slot) {
        word.store(value, Relaxed);
    }
}

fn load(words: &[AtomicU64], position: u64) -> [u64; SLOT_WORDS] {
    let at = index(position);
    std::array::from_fn(|word| words[at + word].load(Relaxed))
}

fn store_text(words: &[AtomicU64], position: u64, text: &[u8]) {
    let mut values = std::iter::once(TEXT_TAG << 32 | text.len() as u64).chain(text.chunks(8).map(|chunk| {
        let mut word = [0; 8];
        word[..chunk.len()].copy_from_slice(chunk);
        u64::from_le_bytes(word)
    }));
    for slot in 0..text_slots(text.len()) {
        store(words, position + slot, std::array::from_fn(|_| values.next().unwrap_or(0)));
    }
}

/// The text at `position` and the number of its slots; nothing if it is not whole.
fn load_text<'a>(words: &[AtomicU64], position: u64, head: u64, room: &'a mut [u8; TEXT_ROOM]) -> Option<(&'a [u8], u64)> {
    if position >= head {
        return None;
    }
    let [first, ..] = load(words, position);
    let len = usize::try_from(first & 0xffff_ffff).ok()?;
    if first >> 32 != TEXT_TAG || len == 0 || len > MAX_TEXT {
        return None;
    }
    let slots = text_slots(len);
    if head - position < slots {
        return None;
    }
    for (slot, bytes) in (position..).zip(room.chunks_exact_mut(SLOT_LEN)).take(usize::try_from(slots).ok()?) {
        for (word, bytes) in load(words, slot).into_iter().zip(bytes.chunks_exact_mut(8)) {
            bytes.copy_from_slice(&word.to_le_bytes());
        }
    }
    // The length in the copy may have changed meanwhile; the one that was checked counts.
    room.get(8..8 + len).map(|text| (text, slots))
}
