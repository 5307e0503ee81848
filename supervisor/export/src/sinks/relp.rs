//! RELP over TLS: syslog messages, each of which the receiver acknowledges by number.
//!
//! Runs in: exporter.
//! Invariant: an entry counts as arrived when its own number came back with `200`, and all before it did.
//!
//! Source: <https://github.com/rsyslog/librelp/blob/master/doc/relp.html>. A frame is `TXNR SP COMMAND SP LENGTH [SP DATA] LF`; numbers follow each other
//! without a gap, and begin with 1 in each session.

use std::io;
use std::io::Read;
use std::io::Write;

use edgeguard_audit::encode::Encoded;

use super::Delivery;
use super::Sink;
use crate::error::SinkError;
use crate::error::shown;
use crate::net::Remote;
use crate::net::Stream;
use crate::syslog;

pub(super) struct Relp {
    remote: Remote,
    open: Option<Session<Stream>>,
}

impl Relp {
    pub(super) const fn new(remote: Remote) -> Self {
        Self { remote, open: None }
    }

    fn session(&mut self) -> Result<&mut Session<Stream>, SinkError> {
        let session = match self.open.take() {
            Some(session) => session,
            None => Session::begin(self.remote.connect()?)?,
        };
        Ok(self.open.insert(session))
    }
}

impl Sink for Relp {
    fn window(&self) -> usize {
        WINDOW
    }

    fn deliver(&mut self, host: &str, batch: &[Encoded]) -> Delivery {
        let messages: Vec<String> = batch.iter().map(|entry| syslog::rfc5424(entry, host)).collect();
        match self.session() {
            Ok(session) => session.send(&messages),
            Err(problem) => Delivery { acknowledged: 0, problem: Some(problem) },
        }
    }

    fn disconnect(&mut self) {
        self.open = None;
    }
}

/// One session, from `open` to whatever ends it.
struct Session<S> {
    stream: S,
    /// The number of the next frame.
    next: u32,
    /// Bytes that came and are not looked at.
    got: Vec<u8>,
}

impl<S: Read + Write> Session<S> {
    fn begin(stream: S) -> Result<Self, SinkError> {
        let mut session = Self { stream, next: 1, got: Vec::new() };
        let offer = concat!("relp_version=0\nrelp_software=edgeguard-export,", env!("CARGO_PKG_VERSION"), "\ncommands=syslog");
        let number = session.put("open", offer)?;
        session.stream.flush()?;
        let (answered, answer) = session.answer()?;
        if answered != number {
            return Err(protocol("the answer to `open`", &answer));
        }
        accepted(&answer)?;
        // It says what it takes; without `syslog` there is nothing to say to it.
        let commands = answer.split(|byte| *byte == b'\n').find_map(|line| line.strip_prefix(b"commands="));
        let takes = |commands: &[u8]| commands.split(|byte| *byte == b',').any(|command| command == b"syslog");
        if !commands.is_some_and(takes) {
            return Err(protocol("an offer of `syslog`", &answer));
        }
        Ok(session)
    }

    /// Sends messages, then reads as many answers. The answers are small, so that neither side waits for the other to read.
    fn send(&mut self, messages: &[String]) -> Delivery {
        let mut acknowledged = 0;
        let problem = self.exchange(messages, &mut acknowledged).err();
        Delivery { acknowledged, problem }
    }

    fn exchange(&mut self, messages: &[String], acknowledged: &mut usize) -> Result<(), SinkError> {
        let first = self.next;
        for message in messages {
            self.put("syslog", message)?;
        }
        self.stream.flush()?;
        // Answers may come in any order; only those without a gap before them count.
        let mut answered = vec![false; messages.len()];
        while *acknowledged < messages.len() {
            let (number, answer) = self.answer()?;
            accepted(&answer)?;
            let place = usize::try_from(distance(first, number)).unwrap_or(usize::MAX);
            let seen = answered.get_mut(place).ok_or_else(|| protocol("an answer to a message that was sent", &answer))?;
            if std::mem::replace(seen, true) {
                return Err(protocol("one answer to each message", &answer));
            }
            *acknowledged = answered.iter().take_while(|seen| **seen).count();
        }
        Ok(())
    }

    fn put(&mut self, command: &str, data: &str) -> Result<u32, SinkError> {
        let number = self.next;
        self.stream.write_all(format!("{number} {command} {} {data}\n", data.len()).as_bytes())?;
        self.next = if number == LAST_NUMBER { 1 } else { number + 1 };
        Ok(number)
    }

    /// The next answer: which message it is for, and what it says.
    fn answer(&mut self) -> Result<(u32, Vec<u8>), SinkError> {
        loop {
            if let Some((number, command, data, end)) = frame(&self.got)? {
                self.got.drain(..end);
                match command.as_slice() {
                    b"rsp" => return Ok((number, data)),
                    // The peer says good-bye. What it has not answered, it does not have.
                    b"serverclose" => {
                        return Err(io::Error::new(io::ErrorKind::ConnectionAborted, "the receiver closed the session").into());
                    }
                    _ => return Err(protocol("`rsp`", &command)),
                }
            }
            let mut buffer = [0; 4096];
            let read = self.stream.read(&mut buffer)?;
            if read == 0 {
                return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into());
            }
            self.got.extend(buffer.get(..read).unwrap_or_default());
        }
    }
}

/// The frame at the beginning, if it is all there: number, command, data, and where it ends.
fn frame(got: &[u8]) -> Result<Option<(u32, Vec<u8>, Vec<u8>, usize)>, SinkError> {
    let bad = || protocol("a RELP frame", got);
    let mut at = 0;
    let mut word = |longest: usize| -> Result<Option<(&[u8], u8)>, SinkError> {
        let rest = got.get(at..).unwrap_or_default();
        let Some(length) = rest.iter().position(|byte| matches!(byte, b' ' | b'\n')) else {
            return if rest.len() > longest { Err(bad()) } else { Ok(None) };
        };
        at += length + 1;
        match (rest.get(..length), rest.get(length)) {
            (Some(word), Some(end)) if (1..=longest).contains(&length) => Ok(Some((word, *end))),
            _ => Err(bad()),
        }
    };
    let Some((number, b' ')) = word(9)? else { return Ok(None) };
    let Some((command, b' ')) = word(32)? else { return Ok(None) };
    let Some((length, end)) = word(9)? else { return Ok(None) };
    let parse = |digits: &[u8]| std::str::from_utf8(digits).ok().and_then(|digits| digits.parse::<u32>().ok()).ok_or_else(bad);
    let (number, length) = (parse(number)?, parse(length)? as usize);
    if length > MAX_ANSWER {
        return Err(bad());
    }
    if end == b'\n' {
        return if length == 0 { Ok(Some((number, command.to_vec(), Vec::new(), at))) } else { Err(bad()) };
    }
    match (got.get(at..at + length), got.get(at + length)) {
        (Some(data), Some(b'\n')) => Ok(Some((number, command.to_vec(), data.to_vec(), at + length + 1))),
        (Some(_), Some(_)) => Err(bad()),
        _ => Ok(None),
    }
}

/// `200`, and whatever follows.
fn accepted(answer: &[u8]) -> Result<(), SinkError> {
    let is_200 = answer.strip_prefix(b"200").is_some_and(|rest| rest.first().is_none_or(|byte| matches!(byte, b' ' | b'\n')));
    if is_200 { Ok(()) } else { Err(SinkError::Refused { answer: shown(answer), retry_after: None }) }
}

/// How far a number is behind another, around the end of the numbers.
const fn distance(from: u32, to: u32) -> u32 {
    if to >= from { to - from } else { to + (LAST_NUMBER - from) }
}

fn protocol(expected: &'static str, found: &[u8]) -> SinkError {
    SinkError::Protocol { expected, found: shown(found) }
}

/// librelp's own default.
const WINDOW: usize = 128;
const LAST_NUMBER: u32 = 999_999_999;
const MAX_ANSWER: usize = 16 << 10;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]
    use super::*;

    /// A peer whose answers are written already.
    struct Peer {
        answers: io::Cursor<Vec<u8>>,
        heard: Vec<u8>,
    }

    impl Read for Peer {
        fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
            let some = into.len().min(3);
            self.answers.read(&mut into[..some])
        }
    }

    impl Write for Peer {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.heard.extend(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    const OPENED: &str = "1 rsp 37 200 OK\nrelp_version=0\ncommands=syslog\n";

    fn begin(answers: &str) -> Result<Session<Peer>, SinkError> {
        Session::begin(Peer { answers: io::Cursor::new(answers.into()), heard: Vec::new() })
    }

    fn send(answers: &str, count: usize) -> Delivery {
        let mut session = begin(&format!("{OPENED}{answers}")).unwrap();
        session.send(&vec!["m".to_owned(); count])
    }

    #[test]
    fn numbers_follow_each_other_without_a_gap() {
        let mut session = begin(&format!("{OPENED}2 rsp 6 200 OK\n3 rsp 6 200 OK\n")).unwrap();
        assert_eq!(session.send(&["a".into(), "bc".into()]).acknowledged, 2);
        let heard = String::from_utf8(session.stream.heard).unwrap();
        assert!(heard.starts_with("1 open ") && heard.ends_with("\n2 syslog 1 a\n3 syslog 2 bc\n"), "{heard}");
    }

    #[test]
    fn what_comes_before_a_gap_counts_and_what_comes_behind_it_does_not() {
        let delivery = send("2 rsp 6 200 OK\n4 rsp 6 200 OK\n", 3);
        assert_eq!(delivery.acknowledged, 1);
        assert!(delivery.problem.is_some());
        assert_eq!(send("4 rsp 6 200 OK\n3 rsp 6 200 OK\n2 rsp 6 200 OK\n", 3).acknowledged, 3);
    }

    #[test]
    fn a_message_that_is_refused_does_not_count() {
        let delivery = send("2 rsp 6 200 OK\n3 rsp 9 500 full!\n", 2);
        assert_eq!(delivery.acknowledged, 1);
        assert!(matches!(delivery.problem, Some(SinkError::Refused { .. })), "{delivery:?}");
    }

    #[test]
    fn answers_that_nobody_asked_for_end_the_session() {
        for answers in
            ["9 rsp 6 200 OK\n", "2 rsp 6 200 OK\n2 rsp 6 200 OK\n", "2 syslog 1 x\n", "0 serverclose 0\n", "2 rsp 99999 x\n", "x"]
        {
            assert!(send(answers, 2).problem.is_some(), "{answers}");
        }
    }

    #[test]
    fn a_peer_that_does_not_take_syslog_is_refused() {
        assert!(begin("1 rsp 6 200 OK\n").is_err());
        assert!(begin("1 rsp 10 500 nobody\n").is_err());
        assert!(begin("2 rsp 37 200 OK\nrelp_version=0\ncommands=syslog\n").is_err());
    }

    #[test]
    fn after_the_last_number_comes_the_first() {
        assert_eq!(distance(LAST_NUMBER - 1, 1), 2);
        assert_eq!(distance(5, 7), 2);
    }
}
