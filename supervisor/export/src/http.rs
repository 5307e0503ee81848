//! As much of HTTP/1.1 as it takes to post something and hear the answer, over a connection that somebody else made.
//!
//! Runs in: exporter.
//! Does not: follow redirects, decompress, keep cookies, or read more than [`MAX_BODY`] of an answer.
//!
//! A whole client would bring its own resolver, sockets and TLS, and each would have to be told what this process may do.

use std::io;
use std::io::Read;
use std::io::Write;

use crate::error::SinkError;
use crate::error::shown;

/// What a server answered.
#[derive(Debug, PartialEq, Eq)]
pub struct Answer {
    /// The status.
    pub status: u16,
    /// `Retry-After`, if it is a number of seconds.
    pub retry_after: Option<u64>,
    /// Whether the connection can be used again.
    pub keep: bool,
    /// The body, at most [`MAX_BODY`].
    pub body: Vec<u8>,
}

/// Posts a body and reads the answer. `headers` is lines that each end with CR LF.
///
/// # Errors
/// [`SinkError`]
pub fn post(stream: &mut (impl Read + Write), authority: &str, path: &str, headers: &str, body: &[u8]) -> Result<Answer, SinkError> {
    let head = format!("POST {path} HTTP/1.1\r\nhost: {authority}\r\ncontent-length: {}\r\n{headers}\r\n", body.len());
    stream.write_all(head.as_bytes())?;
    stream.write_all(body)?;
    stream.flush()?;
    loop {
        let answer = answer(stream)?;
        // An interim answer is followed by the one that counts.
        if answer.status >= 200 {
            return Ok(answer);
        }
    }
}

fn answer(stream: &mut impl Read) -> Result<Answer, SinkError> {
    let mut got = Vec::new();
    let (head, mut rest) = loop {
        if let Some(end) = got.windows(4).position(|window| window == b"\r\n\r\n") {
            let rest = got.split_off(end + 4);
            break (got, rest);
        }
        if got.len() > MAX_HEAD {
            return Err(protocol(&got));
        }
        more(stream, &mut got)?;
    };
    let mut headers = [httparse::EMPTY_HEADER; 64];
    let mut response = httparse::Response::new(&mut headers);
    if !response.parse(&head).is_ok_and(|status| status.is_complete()) {
        return Err(protocol(&head));
    }
    let status = response.code.ok_or_else(|| protocol(&head))?;
    let header = |name: &str| {
        let found = response.headers.iter().find(|header| header.name.eq_ignore_ascii_case(name));
        found.and_then(|header| std::str::from_utf8(header.value).ok()).map(str::trim)
    };
    let retry_after = header("retry-after").and_then(|seconds| seconds.parse().ok());
    let mut keep = response.version == Some(1) && !header("connection").is_some_and(|value| value.eq_ignore_ascii_case("close"));
    let chunked = header("transfer-encoding").is_some_and(|value| value.eq_ignore_ascii_case("chunked"));
    let length = header("content-length").map(|length| length.parse::<usize>().map_err(|_| protocol(&head))).transpose()?;
    let body = if status < 200 || status == 204 || status == 304 {
        Vec::new()
    } else if chunked {
        chunks(stream, &mut rest)?
    } else if let Some(length) = length {
        if length > MAX_BODY {
            return Err(protocol(&head));
        }
        while rest.len() < length {
            more(stream, &mut rest)?;
        }
        rest.truncate(length);
        rest
    } else {
        keep = false;
        stream.take((MAX_BODY - rest.len().min(MAX_BODY)) as u64).read_to_end(&mut rest)?;
        rest
    };
    Ok(Answer { status, retry_after, keep, body })
}

/// A body in chunks, with what of it has come already.
fn chunks(stream: &mut impl Read, got: &mut Vec<u8>) -> Result<Vec<u8>, SinkError> {
    let mut body = Vec::new();
    loop {
        let (at, size) = match httparse::parse_chunk_size(got) {
            Ok(httparse::Status::Complete((at, size))) => (at, size),
            Ok(httparse::Status::Partial) if got.len() <= MAX_HEAD => {
                more(stream, got)?;
                continue;
            }
            _ => return Err(protocol(got)),
        };
        let size = usize::try_from(size).ok().filter(|size| body.len().saturating_add(*size) <= MAX_BODY).ok_or_else(|| protocol(got))?;
        // The chunk, and the end of line behind it. Trailers are not asked for and not sent.
        while got.len() < at + size + 2 {
            more(stream, got)?;
        }
        body.extend(got.get(at..at + size).unwrap_or_default());
        got.drain(..at + size + 2);
        if size == 0 {
            return Ok(body);
        }
    }
}

fn more(stream: &mut impl Read, into: &mut Vec<u8>) -> Result<(), SinkError> {
    let mut buffer = [0; 4096];
    let read = stream.read(&mut buffer)?;
    if read == 0 {
        return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into());
    }
    into.extend(buffer.get(..read).unwrap_or_default());
    Ok(())
}

fn protocol(found: &[u8]) -> SinkError {
    SinkError::Protocol { expected: "HTTP/1.1", found: shown(found) }
}

const MAX_HEAD: usize = 16 << 10;
/// The longest body of an answer.
pub const MAX_BODY: usize = 64 << 10;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]
    use super::*;

    /// Gives what it holds a few bytes at a time, and keeps what it is given.
    struct Peer(Vec<u8>, Vec<u8>, usize);

    impl Read for Peer {
        fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
            let count = self.2.min(self.0.len()).min(into.len());
            into[..count].copy_from_slice(&self.0[..count]);
            self.0.drain(..count);
            Ok(count)
        }
    }

    impl Write for Peer {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.1.extend(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn ask(answer: &str, step: usize) -> Result<Answer, SinkError> {
        post(&mut Peer(answer.into(), Vec::new(), step), "h:1", "/v1/logs", "a: b\r\n", b"xyz")
    }

    #[test]
    fn an_answer_is_read_however_it_comes() {
        let expected = |body: &str, keep| Answer { status: 200, retry_after: None, keep, body: body.into() };
        for step in [1, 3, 4096] {
            assert_eq!(ask("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi", step).unwrap(), expected("hi", true));
            let chunked = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nh\r\n1\r\ni\r\n0\r\n\r\n";
            assert_eq!(ask(chunked, step).unwrap(), expected("hi", true));
            assert_eq!(ask("HTTP/1.0 200 OK\r\n\r\nhi", step).unwrap(), expected("hi", false));
            assert_eq!(ask("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", 1).unwrap(), expected("", true));
        }
    }

    #[test]
    fn what_a_server_asks_for_is_heard() {
        let answer = ask("HTTP/1.1 429 Slow\r\nRetry-After: 7\r\nConnection: close\r\nContent-Length: 0\r\n\r\n", 9).unwrap();
        assert_eq!((answer.status, answer.retry_after, answer.keep), (429, Some(7), false));
    }

    #[test]
    fn nonsense_is_an_error_and_never_a_success() {
        let endless = format!("HTTP/1.1 200 OK\r\nx: {}", "y".repeat(20_000));
        for text in [
            "",
            "HTTP/1.1 200 OK\r\n",
            "SMTP ready\r\n\r\n",
            "HTTP/1.1 200 OK\r\nContent-Length: 99999999\r\n\r\n",
            "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhi",
            "HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\nhi",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nffffffffff\r\n",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
            endless.as_str(),
        ] {
            assert!(ask(text, 7).is_err(), "{text:.40}");
        }
    }

    #[test]
    fn the_request_says_how_long_it_is() {
        let mut peer = Peer(b"HTTP/1.1 204 None\r\n\r\n".to_vec(), Vec::new(), 9);
        post(&mut peer, "h:1", "/v1/logs", "a: b\r\n", b"xyz").unwrap();
        assert_eq!(peer.1, b"POST /v1/logs HTTP/1.1\r\nhost: h:1\r\ncontent-length: 3\r\na: b\r\n\r\nxyz");
    }
}
