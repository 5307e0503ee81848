//! What the two sizes of a record hold where a call has none: the flags of an open, the directory that a rename or a link ends in, an exit code.
//!
//! Runs in: worker (made), daemon (left out of sums), CLI and exporter (read).
//! Does not: guess. A number without its mark, or with a bit that means nothing, is not read as flags or as a directory.

use crate::calls::CallId;
use crate::record::Record;

/// Bit 31: the number holds what this module says it does. Workers of releases before there were flags have written 0.
const HERE: u32 = 1 << 31;

/// `path_open` and `[method]descriptor.open-at`.
const OPENS: [u16; 2] = [0x011f, 0x1d13];
/// `path_rename`, `path_link`, `[method]descriptor.rename-at`, `[method]descriptor.link-at`.
const MOVES: [u16; 4] = [0x0122, 0x011e, 0x1d16, 0x1d12];
/// `proc_exit`.
const EXIT: u16 = 0x0126;

/// `wasi:http/incoming-handler#handle`: made by the host in the guest, and recorded when it is over.
const REQUEST: u16 = 0x5100;

/// With what a file or directory was opened, as the guest asked for it, whether it got it or not.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct OpenFlags(u32);

impl OpenFlags {
    /// To read it: `fd_read` among the rights that the guest asks for (preview 1), `read` among the descriptor's flags (WASI 0.2).
    pub const READ: Self = Self(1);
    /// To write it: `fd_write` among the rights, `write` among the flags.
    pub const WRITE: Self = Self(2);
    /// To make it if it is not there.
    pub const CREATE: Self = Self(4);
    /// To empty it.
    pub const TRUNCATE: Self = Self(8);
    /// Only if it is not there.
    pub const EXCLUSIVE: Self = Self(16);
    /// Only if it is a directory.
    pub const DIRECTORY: Self = Self(32);
    /// To write at its end; preview 1 alone.
    pub const APPEND: Self = Self(64);
    /// To change the entries of a directory; WASI 0.2 alone.
    pub const MUTATE: Self = Self(128);

    const NAMES: [(Self, &'static str); 8] = [
        (Self::READ, "read"),
        (Self::WRITE, "write"),
        (Self::CREATE, "create"),
        (Self::TRUNCATE, "truncate"),
        (Self::EXCLUSIVE, "exclusive"),
        (Self::DIRECTORY, "directory"),
        (Self::APPEND, "append"),
        (Self::MUTATE, "mutate-directory"),
    ];
    const ALL: u32 = 0xff;

    /// These, and `other` if `asked`.
    #[must_use]
    pub const fn with(self, other: Self, asked: bool) -> Self {
        if asked { Self(self.0 | other.0) } else { self }
    }

    /// Whether all of `other` are among these.
    #[must_use]
    pub const fn has(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// Whether an open like this changes something, or gives a descriptor that can: it writes, creates, truncates or appends. A directory that is granted for
    /// reading only refuses it. What changes entries of a directory is a call of its own, with a record of its own.
    #[must_use]
    pub const fn changes(self) -> bool {
        self.0 & (Self::WRITE.0 | Self::CREATE.0 | Self::TRUNCATE.0 | Self::APPEND.0) != 0
    }

    /// In words, in the order of the bits.
    pub fn names(self) -> impl Iterator<Item = &'static str> {
        Self::NAMES.into_iter().filter(move |(flag, _)| self.has(*flag)).map(|(_, name)| name)
    }

    /// As [`Record::n_in`] holds them.
    #[must_use]
    pub const fn to_number(self) -> u32 {
        self.0 | HERE
    }
}

/// The rule of the directory that a rename or a link ends in, as [`Record::n_out`] holds it; 0 for none.
#[must_use]
pub const fn rule_to_number(rule: u16) -> u32 {
    rule as u32 | HERE
}

impl Record {
    /// With which flags something was opened; nothing for other calls, and where the record does not say.
    #[must_use]
    pub const fn opened_with(&self) -> Option<OpenFlags> {
        let bits = self.n_in & !HERE;
        if self.has_flags() && bits & !OpenFlags::ALL == 0 { Some(OpenFlags(bits)) } else { None }
    }

    /// The rule of the directory that a rename or a link ends in, 0 if it is no granted one; nothing for other calls, and where the record does not say.
    #[must_use]
    pub const fn rule_to(&self) -> Option<u16> {
        let rule = self.n_out & !HERE;
        if self.has_rule_to() && rule <= u16::MAX as u32 { Some(rule as u16) } else { None }
    }

    /// The code that a guest of preview 1 ended with.
    #[must_use]
    pub const fn exit_code(&self) -> Option<u32> {
        if self.call.raw() == EXIT { Some(self.n_in) } else { None }
    }

    /// The status that a client was answered, of a request; 0 where it was answered nothing.
    #[must_use]
    pub const fn status(&self) -> Option<u32> {
        if self.call.raw() == REQUEST { Some(self.handle) } else { None }
    }

    /// Bytes or items that went in: [`Record::n_in`] where it is a size, else 0. This is what is summed.
    #[must_use]
    pub const fn bytes_in(&self) -> u32 {
        if self.has_flags() || self.call.raw() == EXIT { 0 } else { self.n_in }
    }

    /// Bytes or items that came out: [`Record::n_out`] where it is a size, else 0. This is what is summed.
    #[must_use]
    pub const fn bytes_out(&self) -> u32 {
        if self.has_rule_to() { 0 } else { self.n_out }
    }

    const fn has_flags(&self) -> bool {
        self.n_in & HERE != 0 && is_of(self.call, &OPENS)
    }

    const fn has_rule_to(&self) -> bool {
        self.n_out & HERE != 0 && is_of(self.call, &MOVES)
    }
}

const fn is_of(call: CallId, calls: &[u16]) -> bool {
    let mut place = 0;
    while place < calls.len() {
        if calls[place] == call.raw() {
            return true;
        }
        place += 1;
    }
    false
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]
    use super::*;
    use crate::calls::call_id;
    use crate::record::Outcome;

    fn record(function: &str, n_in: u32, n_out: u32) -> Record {
        let interface = if function.starts_with('[') { "wasi:filesystem/types" } else { "wasi_snapshot_preview1" };
        let call = call_id(interface, function).unwrap();
        Record { time_ns: 0, call, outcome: Outcome::Ok, flags: 0, errno: 0, rule: 1, handle: 3, took_ns: 0, n_in, n_out }
    }

    const OTHERS: [&str; 4] = ["fd_read", "fd_write", "path_symlink", "[method]descriptor.symlink-at"];

    #[test]
    fn flags_of_an_open_read_back_and_are_no_bytes() {
        for open in ["path_open", "[method]descriptor.open-at"] {
            for bits in 0..=OpenFlags::ALL {
                let record = record(open, OpenFlags(bits).to_number(), 7);
                assert_eq!((record.opened_with(), record.bytes_in(), record.bytes_out()), (Some(OpenFlags(bits)), 0, 7), "{open}");
            }
        }
        let flags = OpenFlags::READ.with(OpenFlags::CREATE, true).with(OpenFlags::WRITE, false);
        assert_eq!(flags.names().collect::<Vec<_>>(), ["read", "create"]);
        assert!(flags.changes() && flags.has(OpenFlags::CREATE) && !flags.has(OpenFlags::WRITE));
    }

    #[test]
    fn an_open_whose_flags_are_not_there_or_not_known_says_nothing_of_them() {
        assert_eq!(record("path_open", 0, 0).opened_with(), None);
        assert_eq!(record("path_open", OpenFlags::READ.0, 0).opened_with(), None);
        let unknown = record("path_open", HERE | 1 << 8, 0);
        assert_eq!((unknown.opened_with(), unknown.bytes_in()), (None, 0));
        // Without the mark it is a size, as it always was.
        assert_eq!(record("path_open", 5, 0).bytes_in(), 5);
        for other in OTHERS {
            let record = record(other, HERE | 1, 0);
            assert_eq!((record.opened_with(), record.bytes_in()), (None, HERE | 1), "{other}");
        }
    }

    #[test]
    fn where_a_rename_or_a_link_ends_reads_back_and_is_no_bytes() {
        for call in ["path_rename", "path_link", "[method]descriptor.rename-at", "[method]descriptor.link-at"] {
            for rule in [0, 1, 2, u16::MAX] {
                let record = record(call, 3, rule_to_number(rule));
                assert_eq!((record.rule_to(), record.bytes_in(), record.bytes_out()), (Some(rule), 3, 0), "{call}");
            }
            assert_eq!((record(call, 0, 0).rule_to(), record(call, 0, HERE | 1 << 16).rule_to()), (None, None), "{call}");
        }
        for other in OTHERS {
            let record = record(other, 0, HERE | 1);
            assert_eq!((record.rule_to(), record.bytes_out()), (None, HERE | 1), "{other}");
        }
    }

    #[test]
    fn only_calls_that_change_what_they_open_change_it() {
        let changing = [OpenFlags::WRITE, OpenFlags::CREATE, OpenFlags::TRUNCATE, OpenFlags::APPEND];
        for (flag, name) in OpenFlags::NAMES {
            assert_eq!(flag.changes(), changing.contains(&flag), "{name}");
        }
        assert_eq!(OpenFlags::NAMES.iter().fold(0, |all, (flag, _)| all | flag.0), OpenFlags::ALL);
    }

    #[test]
    fn a_request_s_handle_is_the_status_of_its_answer() {
        let call = crate::call_id("wasi:http/incoming-handler", "handle").unwrap();
        let request = Record { call, handle: 404, ..record("fd_write", 0, 0) };
        assert_eq!((request.status(), record("fd_write", 0, 0).status()), (Some(404), None));
    }

    #[test]
    fn an_exit_code_is_no_bytes() {
        let record = record("proc_exit", 21, 0);
        assert_eq!((record.exit_code(), record.bytes_in()), (Some(21), 0));
    }
}
