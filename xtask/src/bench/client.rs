//! The daemon's control socket, spoken to over one connection that stays open, so that a round trip is a round trip and no program's start.

use std::io::BufRead as _;
use std::io::BufReader;
use std::io::Read as _;
use std::io::Write as _;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;
use std::time::Instant;

use serde_json::Value;

use crate::failure::Failure;
use crate::failure::Result;

/// A connection.
#[derive(Debug)]
pub struct Client {
    stream: BufReader<UnixStream>,
}

impl Client {
    /// Connects.
    pub fn connect(socket: &Path) -> Result<Client> {
        let stream = UnixStream::connect(socket).map_err(Failure::at("connect to", socket))?;
        stream.set_read_timeout(Some(PATIENCE)).map_err(Failure::at("set up", socket))?;
        Ok(Client { stream: BufReader::new(stream) })
    }

    /// Runs a module once, without input. Gives its ending, and the time from the request's first byte to the answer's last.
    pub fn invoke(&mut self, module: &str) -> Result<(Value, Duration)> {
        self.invoke_for_output(module).map(|(ending, took, _)| (ending, took))
    }

    /// The same, and what the module wrote to its standard output.
    pub fn invoke_for_output(&mut self, module: &str) -> Result<(Value, Duration, Vec<u8>)> {
        let request = format!(
            "POST /v1/modules/{module}/invoke HTTP/1.1\r\nHost: edgeguard\r\nAccept: application/vnd.edgeguard.stream\r\nContent-Length: 0\r\n\r\n"
        );
        let begun = Instant::now();
        let body = self.ask(&request)?;
        let took = begun.elapsed();
        let ending = last_frame(&body).ok_or_else(|| Failure::new(format!("the answer of `{module}` has no ending")))?;
        let ending: Value = serde_json::from_slice(ending).map_err(|error| Failure::of("the ending is not JSON", error))?;
        if ending["code"] != 0 || ending["records"]["produced"] != ending["records"]["recorded"] {
            return Err(Failure::new(format!("expected `{module}` to end well, with all its calls on record; found {ending}")));
        }
        Ok((ending, took, output(&body)))
    }

    fn ask(&mut self, request: &str) -> Result<Vec<u8>> {
        let broke = |error: std::io::Error| Failure::of("the control connection broke", error);
        self.stream.get_mut().write_all(request.as_bytes()).map_err(broke)?;
        let mut line = String::new();
        self.stream.read_line(&mut line).map_err(broke)?;
        let ok = line.starts_with("HTTP/1.1 200");
        let (status, mut length, mut chunked) = (line.trim().to_owned(), 0, false);
        loop {
            line.clear();
            self.stream.read_line(&mut line).map_err(broke)?;
            let header = line.trim().to_ascii_lowercase();
            match header.split_once(':') {
                None => break,
                Some(("content-length", value)) => length = value.trim().parse().unwrap_or(0),
                Some(("transfer-encoding", value)) => chunked = value.trim() == "chunked",
                Some(_) => {}
            }
        }
        let mut body = Vec::new();
        loop {
            if chunked {
                line.clear();
                self.stream.read_line(&mut line).map_err(broke)?;
                length = usize::from_str_radix(line.trim(), 16).map_err(|error| Failure::of("a chunk has no length", error))?;
            }
            let from = body.len();
            body.resize(from + length, 0);
            self.stream.read_exact(body.get_mut(from..).unwrap_or_default()).map_err(broke)?;
            if chunked {
                line.clear();
                self.stream.read_line(&mut line).map_err(broke)?;
            }
            if !chunked || length == 0 {
                break;
            }
        }
        if ok { Ok(body) } else { Err(Failure::new(format!("the daemon answered {status}: {}", String::from_utf8_lossy(&body)))) }
    }
}

/// The payload of the frame of kind 3, which is the last.
fn last_frame(body: &[u8]) -> Option<&[u8]> {
    frames(body).find(|(kind, _)| *kind == 3).map(|(_, payload)| payload)
}

/// All payloads of kind 1.
fn output(body: &[u8]) -> Vec<u8> {
    frames(body).filter(|(kind, _)| *kind == 1).flat_map(|(_, payload)| payload).copied().collect()
}

/// Kind and payload of each frame that is whole.
fn frames(mut body: &[u8]) -> impl Iterator<Item = (u8, &[u8])> {
    std::iter::from_fn(move || {
        let ([kind, length @ ..], rest) = body.split_first_chunk::<5>()?;
        let (payload, rest) = rest.split_at_checked(u32::from_be_bytes(*length) as usize)?;
        body = rest;
        Some((*kind, payload))
    })
}

const PATIENCE: Duration = Duration::from_secs(300);

#[cfg(test)]
mod tests {
    use super::last_frame;
    use super::output;

    #[test]
    fn the_ending_is_found_behind_the_output() {
        assert_eq!(last_frame(b"\x01\0\0\0\x02hi\x03\0\0\0\x02{}"), Some(&b"{}"[..]));
        assert_eq!(output(b"\x01\0\0\0\x02hi\x01\0\0\0\x01!\x03\0\0\0\x02{}"), b"hi!");
        assert_eq!(last_frame(b"\x01\0\0\0\x02hi"), None);
        assert_eq!(last_frame(b"\x01\xff\xff\xff\xffhi"), None);
    }
}
