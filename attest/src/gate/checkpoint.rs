//! A log's checkpoint as a signed note, read strictly (C2SP `tlog-checkpoint` and `signed-note`).
//!
//! Runs in: daemon, CLI; on what a vendor wrote. Its signature is verified afterwards, over the same text.
//! Does not: trim, skip or ignore. The library reads past blanks and past a second blank line; here there is one spelling.

use std::collections::BTreeSet;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::rejection::Code;
use crate::rejection::Rejection;

/// The longest checkpoint, in bytes. One with ten witnesses has about 1,500.
const MAX_NOTE: usize = 8192;
/// The most signatures: the log's own, and its witnesses'.
const MAX_SIGNATURES: usize = 32;

/// What a checkpoint says about the tree. Not yet proved.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Checkpoint {
    pub(super) size: u64,
    pub(super) root: [u8; 32],
}

impl Checkpoint {
    pub(super) fn parse(note: &str) -> Result<Self, Rejection> {
        if note.len() > MAX_NOTE {
            return Err(refuse(format!("at most {MAX_NOTE} bytes"), format!("{} bytes", note.len())));
        }
        Self::read(note).ok_or_else(|| {
            refuse("origin, size and root hash, a blank line, and lines of signatures".into(), "a note of another form".into())
        })
    }

    fn read(note: &str) -> Option<Self> {
        let (text, signatures) = note.split_once("\n\n")?;
        let mut lines = text.split('\n');
        let (origin, size, root) = (lines.next()?, lines.next()?, lines.next()?);
        if !plain(origin) || !lines.all(plain) {
            return None;
        }
        let signatures = signatures.strip_suffix('\n')?;
        let signatures: Vec<&str> = signatures.split('\n').collect();
        let distinct: BTreeSet<&str> = signatures.iter().copied().collect();
        if signatures.len() > MAX_SIGNATURES || distinct.len() != signatures.len() || !signatures.into_iter().all(signature) {
            return None;
        }
        Some(Self { size: decimal(size)?, root: STANDARD.decode(root).ok()?.try_into().ok()? })
    }
}

fn refuse(expected: String, found: String) -> Rejection {
    Rejection::new(Code::Checkpoint, format!("a checkpoint of {expected}"), found)
}

/// A line that is not empty and has no blank at its ends and no control character.
fn plain(line: &str) -> bool {
    !line.is_empty() && line.trim() == line && !line.chars().any(char::is_control)
}

fn decimal(text: &str) -> Option<u64> {
    let plain = text.bytes().all(|c| c.is_ascii_digit()) && (text == "0" || !text.starts_with('0'));
    if plain { text.parse().ok() } else { None }
}

/// `— name base64`, where the base64 is a 4-byte key hint and a signature.
fn signature(line: &str) -> bool {
    let mut parts = line.split(' ');
    let (dash, name, data, rest) = (parts.next(), parts.next(), parts.next(), parts.next());
    dash == Some("\u{2014}")
        && name.is_some_and(plain)
        && data.and_then(|data| STANDARD.decode(data).ok()).is_some_and(|data| data.len() > 4)
        && rest.is_none()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]
    use super::*;

    const ROOT: &str = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=";

    fn note() -> String {
        format!("rekor.example - 1\n17\n{ROOT}\n\n\u{2014} rekor.example AAAAAAE=\n")
    }

    #[test]
    fn checkpoint_is_read_with_its_size_and_root() {
        assert_eq!(Checkpoint::parse(&note()).unwrap(), Checkpoint { size: 17, root: [0; 32] });
        assert!(Checkpoint::parse(&note().replace("=\n\n", "=\nTimestamp: 1\n\n")).is_ok());
        let witness = format!("{}\u{2014} witness.example AAAAAAI=\n", note());
        assert!(Checkpoint::parse(&witness).is_ok());
    }

    #[test]
    fn note_of_any_other_spelling_is_refused() {
        let good = note();
        for bad in [
            String::new(),
            good.trim_end().to_owned(),
            good.replace("\n\n", "\n"),
            good.replace("\n\n", "\n\n\n"),
            format!("{good}\nmore\n"),
            good.replace("17", " 17"),
            good.replace("17", "017"),
            good.replace("17", "+17"),
            good.replace("17", "18446744073709551616"),
            good.replace("AAA=\n\n", "AAA\n\n"),
            good.replace('\u{2014}', "-"),
            good.replace("AAAAAAE=", "AAAA"),
            good.replace("AAAAAAE=", "AAAAAAE= x"),
            good.replace(" - 1", "\r"),
            format!("{good}\u{2014} rekor.example AAAAAAE=\n"),
            format!("{good}{}", (0..MAX_SIGNATURES).map(|n| format!("\u{2014} w{n} AAAAAAE=\n")).collect::<String>()),
            good.replace(" - 1", &"x".repeat(MAX_NOTE)),
        ] {
            let rejection = Checkpoint::parse(&bad).unwrap_err();
            assert_eq!(rejection.code, Code::Checkpoint, "{bad:?}");
        }
    }
}
