//! An answer of the control socket, taken apart by hand: what goes over the wire is tested, not what a client library makes of it.
//!
//! Runs in: tests.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use serde_json::Value;

/// One HTTP answer.
#[derive(Debug, Clone)]
pub struct Answer {
    /// The status code.
    pub status: u16,
    /// Headers, names in lower case.
    pub headers: Vec<(String, String)>,
    /// The body, chunks joined.
    pub body: Vec<u8>,
    /// What came behind the last chunk.
    pub trailers: Vec<(String, String)>,
    /// Whether the body came to its end.
    pub whole: bool,
}

impl Answer {
    /// Reads an answer from all that came over a connection.
    ///
    /// # Panics
    /// It is no HTTP answer.
    #[must_use]
    pub fn parse(bytes: &[u8]) -> Self {
        let end = find(bytes, b"\r\n\r\n").unwrap_or_else(|| panic!("no HTTP answer: {:?}", String::from_utf8_lossy(bytes)));
        let head = String::from_utf8_lossy(&bytes[..end]).into_owned();
        let (line, headers) = head.split_once("\r\n").unwrap_or((&head, ""));
        let status = line.split(' ').nth(1).and_then(|code| code.parse().ok()).unwrap_or_else(|| panic!("no status: {line}"));
        let mut answer = Self { status, headers: fields(headers), body: Vec::new(), trailers: Vec::new(), whole: true };
        let rest = &bytes[end + 4..];
        if answer.header("transfer-encoding") == Some("chunked") {
            answer.whole = answer.chunks(rest);
        } else {
            answer.body = rest.to_vec();
            let length = answer.header("content-length").and_then(|length| length.parse::<usize>().ok());
            answer.whole = length.is_none_or(|length| length == rest.len());
        }
        answer
    }

    /// True if the last chunk is there.
    fn chunks(&mut self, mut rest: &[u8]) -> bool {
        while let Some(end) = find(rest, b"\r\n") {
            let Ok(length) = usize::from_str_radix(&String::from_utf8_lossy(&rest[..end]), 16) else { return false };
            rest = &rest[end + 2..];
            if length == 0 {
                self.trailers = fields(&String::from_utf8_lossy(rest));
                return true;
            }
            let Some(chunk) = rest.get(..length) else { return false };
            self.body.extend_from_slice(chunk);
            rest = rest.get(length + 2..).unwrap_or_default();
        }
        false
    }

    /// A header's value.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(found, _)| found == name).map(|(_, value)| value.as_str())
    }

    /// The body as text.
    #[must_use]
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The body as JSON.
    ///
    /// # Panics
    /// It is none.
    #[must_use]
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {}", self.text()))
    }
}

fn fields(text: &str) -> Vec<(String, String)> {
    let pairs = text.split("\r\n").filter_map(|line| line.split_once(':'));
    pairs.map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned())).collect()
}

fn find(bytes: &[u8], what: &[u8]) -> Option<usize> {
    bytes.windows(what.len()).position(|window| window == what)
}
