//! From a call to its record in the ring.
//!
//! Runs in: worker, on guest threads.
//! Invariant: a call that began has a record, whatever ends it. A [`Pending`] that is dropped, because the deadline took the
//! guest away in the middle of a call, records that. A full ring makes the guest wait; no record is ever dropped.
//! Does not: allocate, after a thread's first call with a text.

use std::cell::RefCell;

use edgeguard_audit::CallId;
use edgeguard_audit::MAX_TEXT;
use edgeguard_audit::Outcome;
use edgeguard_audit::Producer;
use edgeguard_audit::Record;
use edgeguard_audit::boottime_ns;

thread_local! {
    static RECORDER: RefCell<Option<Recorder>> = const { RefCell::new(None) };
}

/// A guest thread's end of its ring.
struct Recorder {
    producer: Producer,
    /// The text of the call under way, if it has one.
    text: Vec<u8>,
}

/// Gives this thread its ring.
pub fn install(producer: Producer) {
    RECORDER.with_borrow_mut(|slot| *slot = Some(Recorder { producer, text: Vec::with_capacity(MAX_TEXT) }));
}

/// Records produced by this thread so far.
pub fn produced() -> u64 {
    RECORDER.with_borrow(|slot| slot.as_ref().map_or(0, |recorder| recorder.producer.produced()))
}

/// A call that has begun and has no record yet. One at a time on a thread: host calls do not nest.
#[derive(Debug)]
pub struct Pending {
    began: u64,
    call: CallId,
    /// Descriptor or handle that the call is about.
    pub handle: u32,
    /// Which grant it goes back to; 0 for none.
    pub rule: u16,
    /// Bytes that the guest gave, or with which flags it opens something.
    pub n_in: u32,
    /// Bytes that the guest got, or the directory that a rename or a link ends in.
    pub n_out: u32,
    has_text: bool,
    done: bool,
}

impl Pending {
    /// The call begins now.
    pub fn begin(call: CallId) -> Self {
        Self::begun(call, boottime_ns())
    }

    /// It began at this time, and is over now: other calls were made within it.
    pub fn begun(call: CallId, began: u64) -> Self {
        Self { began, call, handle: 0, rule: 0, n_in: 0, n_out: 0, has_text: false, done: false }
    }

    /// Notes what the call names: a path, or a graph. Called twice (a rename), it notes both, with a NUL between them.
    pub fn text(&mut self, bytes: &[u8]) {
        RECORDER.with_borrow_mut(|slot| {
            let Some(recorder) = slot else { return };
            if self.has_text {
                add_second(&mut recorder.text, bytes);
            } else {
                recorder.text.clear();
                // One byte too many says that it was cut.
                recorder.text.extend_from_slice(bytes.get(..=MAX_TEXT).unwrap_or(bytes));
                self.has_text = true;
            }
        });
    }

    /// The call has ended.
    pub fn end(mut self, outcome: Outcome, errno: u16) {
        self.push(outcome, errno);
    }

    fn push(&mut self, outcome: Outcome, errno: u16) {
        self.done = true;
        RECORDER.with_borrow_mut(|slot| {
            let Some(recorder) = slot else { return };
            let record = Record {
                time_ns: self.began,
                call: self.call,
                outcome,
                flags: 0,
                errno,
                rule: self.rule,
                handle: self.handle,
                took_ns: u32::try_from(boottime_ns().saturating_sub(self.began)).unwrap_or(u32::MAX),
                n_in: self.n_in,
                n_out: self.n_out,
            };
            recorder.producer.push(&record, self.has_text.then_some(recorder.text.as_slice()));
        });
    }
}

impl Drop for Pending {
    fn drop(&mut self) {
        if !self.done {
            self.push(Outcome::Limit, 0);
        }
    }
}

/// A second text behind the first, with a NUL between them. Where there is no room for both, each keeps at least half of it: a long first path must not push
/// the second out of the record. One byte too many says that something was cut.
fn add_second(text: &mut Vec<u8>, second: &[u8]) {
    let whole = text.len().saturating_add(1).saturating_add(second.len());
    if whole > MAX_TEXT {
        text.truncate(MAX_TEXT - 1 - second.len().min(MAX_TEXT / 2));
    }
    text.push(0);
    let room = MAX_TEXT.saturating_sub(text.len());
    text.extend_from_slice(second.get(..room).unwrap_or(second));
    if whole > MAX_TEXT {
        text.push(0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_first_path_pushes_a_second_out_of_the_record_and_what_is_cut_shows() {
        let text = |first: usize, second: usize| {
            let mut text = vec![b'a'; first.min(MAX_TEXT + 1)];
            add_second(&mut text, &vec![b'b'; second]);
            let count = |byte: u8| text.iter().filter(|other| **other == byte).count();
            (count(b'a'), count(b'b'), text.len() > MAX_TEXT)
        };
        assert_eq!(text(10, 20), (10, 20, false));
        assert_eq!(text(2000, 2095), (2000, 2095, false));
        assert_eq!(text(MAX_TEXT, 20), (MAX_TEXT - 21, 20, true));
        assert_eq!(text(10, 5000), (10, MAX_TEXT - 11, true));
        assert_eq!(text(5000, 5000), (MAX_TEXT / 2 - 1, MAX_TEXT / 2, true));
    }
}
