//! The head of a request, read strictly: what two readers could understand differently is refused before any of it is used.
//!
//! Runs in: worker, on guest threads.
//! Does not: read a body, or anything but the bytes that it is given.
//! Invariant: a [`Head`] is a request as RFC 9112 writes it, and no longer than its limit. A line ends with CR LF and nothing else, no line is continued on
//! the next, and at most one field says how long the body is. hyper, which reads the same bytes again, would take more than that: a bare LF, or a
//! `Content-Length` beside a `Transfer-Encoding`, which a proxy before this program may have understood the other way.
#![forbid(unsafe_code)]

/// Fields of one request.
pub const MAX_FIELDS: usize = 64;

/// The longest `Host`.
const MAX_HOST: usize = 255;

/// What of a request has to be known before its body is read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Head {
    /// Its length in bytes, the empty line included.
    pub len: usize,
    /// `GET`.
    pub method: String,
    /// As the client wrote it: `/path?query`.
    pub target: String,
}

/// Why a request is refused, by the status that says so.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Refused(pub u16);

const BAD: Refused = Refused(400);
const TOO_LONG: Refused = Refused(431);

/// Looks for a whole head at the beginning of `bytes`. `None`: it has not come to its end, and there is room for more of it.
///
/// # Errors
/// It is not one, or it or its body is longer than it may be.
pub fn read(bytes: &[u8], most: usize, most_body: u64) -> Result<Option<Head>, Refused> {
    let mut lines = Vec::new();
    let mut rest = bytes;
    loop {
        let Some((line, behind)) = line(rest)? else {
            return if bytes.len() >= most { Err(TOO_LONG) } else { Ok(None) };
        };
        rest = behind;
        if line.is_empty() {
            break;
        }
        if lines.len() > MAX_FIELDS {
            return Err(TOO_LONG);
        }
        lines.push(line);
    }
    let len = bytes.len() - rest.len();
    if len > most {
        return Err(TOO_LONG);
    }
    let (first, fields) = lines.split_first().ok_or(BAD)?;
    let (method, target, version) = request_line(first)?;
    let fields = fields.iter().map(|line| field(line)).collect::<Result<Vec<_>, _>>()?;
    let host = host(&fields)?;
    framing(&fields, version, most_body)?;
    if !only(&fields, "expect")?.is_none_or(|value| value.eq_ignore_ascii_case(b"100-continue")) {
        return Err(Refused(417));
    }
    let target = for_host(target, method, host)?;
    Ok(Some(Head { len, method: text(method), target: text(target) }))
}

/// The first line and what is behind it; `None` if its end has not come.
fn line(bytes: &[u8]) -> Result<Option<(&[u8], &[u8])>, Refused> {
    // Whatever controls something but a tab has no place in a head; a CR only before its LF.
    let end = bytes.iter().position(|byte| (*byte < b' ' && *byte != b'\t') || *byte == 0x7f);
    let Some((line, behind)) = end.and_then(|end| bytes.split_at_checked(end)) else { return Ok(None) };
    match behind {
        [b'\r', b'\n', behind @ ..] => Ok(Some((line, behind))),
        [b'\r'] => Ok(None),
        _ => Err(BAD),
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Version {
    Http10,
    Http11,
}

/// RFC 9112, section 3: three parts, one space between them.
fn request_line(line: &[u8]) -> Result<(&[u8], &[u8], Version), Refused> {
    let mut parts = line.split(|byte| *byte == b' ');
    let (Some(method), Some(target), Some(version), None) = (parts.next(), parts.next(), parts.next(), parts.next()) else {
        return Err(BAD);
    };
    let version = match version {
        b"HTTP/1.1" => Version::Http11,
        b"HTTP/1.0" => Version::Http10,
        other if other.starts_with(b"HTTP/") => return Err(Refused(505)),
        _ => return Err(BAD),
    };
    if !is_token(method) || method.len() > 32 || target.is_empty() || !target.iter().all(u8::is_ascii_graphic) || target.contains(&b'#') {
        return Err(BAD);
    }
    // A tunnel: there is nowhere that it could lead.
    if method == b"CONNECT" {
        return Err(Refused(501));
    }
    Ok((method, target, version))
}

type Field<'b> = (&'b [u8], &'b [u8]);

/// RFC 9112, section 5: a name, a colon right behind it, and a value.
fn field(line: &[u8]) -> Result<Field<'_>, Refused> {
    let colon = line.iter().position(|byte| *byte == b':').ok_or(BAD)?;
    let (name, value) = line.split_at(colon);
    if !is_token(name) {
        return Err(BAD);
    }
    Ok((name, value.get(1..).unwrap_or_default().trim_ascii()))
}

/// RFC 9110, section 5.6.2.
fn is_token(bytes: &[u8]) -> bool {
    !bytes.is_empty() && bytes.iter().all(|byte| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(byte))
}

/// The value of a field that may be there once.
fn only<'b>(fields: &[Field<'b>], name: &str) -> Result<Option<&'b [u8]>, Refused> {
    let mut values = fields.iter().filter(|(other, _)| other.eq_ignore_ascii_case(name.as_bytes())).map(|(_, value)| *value);
    let first = values.next();
    if values.next().is_some() { Err(BAD) } else { Ok(first) }
}

/// RFC 9112, section 3.2: there is one, and it is a name or an address, perhaps with a port.
fn host<'b>(fields: &[Field<'b>]) -> Result<&'b [u8], Refused> {
    let host = only(fields, "host")?.filter(|host| !host.is_empty() && host.len() <= MAX_HOST).ok_or(BAD)?;
    let name = host.iter().all(|byte| byte.is_ascii_alphanumeric() || b"-._~:[]".contains(byte));
    if name { Ok(host) } else { Err(BAD) }
}

/// RFC 9112, section 6: how long the body is, said in one way.
fn framing(fields: &[Field<'_>], version: Version, most: u64) -> Result<(), Refused> {
    match (only(fields, "content-length")?, only(fields, "transfer-encoding")?) {
        (None, None) => Ok(()),
        (Some(length), None) => {
            if length.is_empty() || length.len() > 19 || !length.iter().all(u8::is_ascii_digit) {
                return Err(BAD);
            }
            let length: u64 = text(length).parse().map_err(|_| BAD)?;
            if length > most { Err(Refused(413)) } else { Ok(()) }
        }
        // HTTP/1.0 has no chunks.
        (None, Some(coding)) if coding.eq_ignore_ascii_case(b"chunked") && version == Version::Http11 => Ok(()),
        (None, Some(_)) if version == Version::Http11 => Err(Refused(501)),
        (_, Some(_)) => Err(BAD),
    }
}

/// The path and query of a target. One that names a host, as for a proxy, must name the one of `Host`: nobody is to choose between two.
fn for_host<'b>(target: &'b [u8], method: &[u8], host: &[u8]) -> Result<&'b [u8], Refused> {
    if target.first() == Some(&b'/') || (target == b"*" && method == b"OPTIONS") {
        return Ok(target);
    }
    let scheme = target.get(..7).filter(|scheme| scheme.eq_ignore_ascii_case(b"http://")).ok_or(BAD)?;
    let rest = target.get(scheme.len()..).unwrap_or_default();
    let (named, path) = rest.split_at(rest.iter().position(|byte| b"/?".contains(byte)).unwrap_or(rest.len()));
    if named.eq_ignore_ascii_case(host) { Ok(path) } else { Err(BAD) }
}

/// Of bytes that were all seen to be ASCII.
fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]
    use proptest::prelude::*;

    use super::*;

    const MOST: usize = 16 << 10;

    fn status(head: &str) -> u16 {
        match read(head.as_bytes(), MOST, 1000) {
            Ok(Some(_)) => 200,
            Ok(None) => 0,
            Err(Refused(status)) => status,
        }
    }

    #[test]
    fn a_request_is_known_by_its_method_and_target_and_its_body_is_left_alone() {
        let head = read(b"POST /v1/classify?x=1 HTTP/1.1\r\nHost: gate\r\nContent-Length: 3\r\n\r\nabc", MOST, 1000).unwrap().unwrap();
        assert_eq!((head.len, head.method.as_str(), head.target.as_str()), (65, "POST", "/v1/classify?x=1"));
    }

    #[test]
    fn a_head_is_whole_when_its_empty_line_has_come() {
        let whole = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";
        for len in 0..whole.len() {
            assert_eq!(status(&whole[..len]), 0, "{len}");
        }
        assert_eq!(status(whole), 200);
    }

    /// Each has been understood differently by two servers somewhere.
    #[test]
    fn what_two_readers_could_understand_differently_is_refused() {
        let with = |fields: &str| format!("POST / HTTP/1.1\r\nHost: a\r\n{fields}\r\n");
        for (head, expected) in [
            ("GET / HTTP/1.1\nHost: a\n\n".to_owned(), 400),
            ("GET / HTTP/1.1\r\nHost: a\n\r\n".to_owned(), 400),
            ("GET / HTTP/1.1\rHost: a\r\n\r\n".to_owned(), 400),
            ("GET / HTTP/1.1\r\nHost: a\0\r\n\r\n".to_owned(), 400),
            ("\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n".to_owned(), 400),
            ("GET  / HTTP/1.1\r\nHost: a\r\n\r\n".to_owned(), 400),
            ("GET / HTTP/1.1 \r\nHost: a\r\n\r\n".to_owned(), 400),
            ("GET /\tx HTTP/1.1\r\nHost: a\r\n\r\n".to_owned(), 400),
            ("GET / HTTP/1.2\r\nHost: a\r\n\r\n".to_owned(), 505),
            ("PRI * HTTP/2.0\r\n\r\n".to_owned(), 505),
            ("GET /\r\n\r\n".to_owned(), 400),
            ("GET / HTTP/1.1\r\n\r\n".to_owned(), 400),
            ("GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n".to_owned(), 400),
            ("GET / HTTP/1.1\r\nHost: a/b\r\n\r\n".to_owned(), 400),
            ("GET http://b/ HTTP/1.1\r\nHost: a\r\n\r\n".to_owned(), 400),
            ("GET a HTTP/1.1\r\nHost: a\r\n\r\n".to_owned(), 400),
            ("CONNECT a:1 HTTP/1.1\r\nHost: a\r\n\r\n".to_owned(), 501),
            (with("Content-Length: 3\r\nTransfer-Encoding: chunked\r\n"), 400),
            (with("Content-Length: 3\r\nContent-Length: 3\r\n"), 400),
            (with("Content-Length: 3, 3\r\n"), 400),
            (with("Content-Length: +3\r\n"), 400),
            (with("Content-Length: 0x3\r\n"), 400),
            (with("Content-Length: \r\n"), 400),
            (with("Content-Length : 3\r\n"), 400),
            (with("Content-Length: 99999999999999999999\r\n"), 400),
            (with("Content-Length: 1001\r\n"), 413),
            (with("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n"), 400),
            (with("Transfer-Encoding: identity, chunked\r\n"), 501),
            (with("Transfer-Encoding: \u{b}chunked\r\n"), 400),
            (with("X: a\r\n b\r\n"), 400),
            (with(" X: a\r\n"), 400),
            (with(": a\r\n"), 400),
            (with("X\r\n"), 400),
            (with("Expect: something\r\n"), 417),
            ("POST / HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n".to_owned(), 400),
        ] {
            assert_eq!(status(&head), expected, "{head:?}");
        }
    }

    #[test]
    fn usual_requests_are_taken() {
        for head in [
            "GET /a%20b?c=d&e HTTP/1.1\r\nhost: gate:8080\r\nAccept: */*\r\n\r\n",
            "GET / HTTP/1.0\r\nHost: [::1]:80\r\n\r\n",
            "OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n",
            "GET http://A/x HTTP/1.1\r\nHost: a\r\n\r\n",
            "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: Chunked\r\nExpect: 100-Continue\r\n\r\n",
            "PROPFIND / HTTP/1.1\r\nHost: a\r\nX-Empty:\r\nX-Tab:\ta\tb\t\r\nX-Obs: \u{e9}\r\nContent-Length: 1000\r\n\r\n",
        ] {
            assert_eq!(status(head), 200, "{head:?}");
        }
    }

    #[test]
    fn a_head_is_no_longer_than_its_limit_and_has_no_more_fields_than_that() {
        let of = |len: usize| format!("GET /{} HTTP/1.1\r\nHost: a\r\n\r\n", "a".repeat(len - 27));
        assert_eq!((status(&of(MOST)), status(&of(MOST + 1))), (200, 431));
        assert_eq!(status(&"a".repeat(MOST)), 431);
        let fields = |count: usize| format!("GET / HTTP/1.1\r\nHost: a\r\n{}\r\n", "X: y\r\n".repeat(count - 1));
        assert_eq!((status(&fields(MAX_FIELDS)), status(&fields(MAX_FIELDS + 1))), (200, 431));
    }

    proptest! {
        /// Bytes of the alphabet that heads are made of, so that many get far.
        #[test]
        fn whatever_comes_is_a_head_or_not_and_a_head_has_no_bare_line_end(
            parts in proptest::collection::vec(
                prop_oneof![
                    Just("GET / HTTP/1.1\r\n"), Just("Host: a\r\n"), Just("\r\n"), Just("\n"), Just("\r"), Just("Content-Length: 1\r\n"),
                    Just("Transfer-Encoding: chunked\r\n"), Just(" "), Just("x"), Just(":"), Just("\0"), Just("Expect: "),
                ],
                0..12,
            ),
        ) {
            let text = parts.concat();
            if let Ok(Some(head)) = read(text.as_bytes(), 200, 10) {
                let head = &text[..head.len];
                prop_assert!(head.len() <= 200 && head.ends_with("\r\n\r\n"));
                prop_assert_eq!(head.matches('\n').count(), head.matches("\r\n").count());
                prop_assert_eq!(head.matches('\r').count(), head.matches("\r\n").count());
                let lengths = head.matches("Content-Length: ").count() + head.matches("Transfer-Encoding: ").count();
                prop_assert!(lengths <= 1);
                // Who reads it again takes it for the same.
                let mut fields = [httparse::EMPTY_HEADER; MAX_FIELDS];
                let mut again = httparse::Request::new(&mut fields);
                prop_assert_eq!(again.parse(text.as_bytes()), Ok(httparse::Status::Complete(head.len())));
            }
        }
    }
}
