//! What a client sends a module that serves, before its body.

use edgeguard_http_head::MAX_FIELDS;
use edgeguard_http_head::Refused;
use edgeguard_http_head::read;

use crate::MIB;
use crate::Target;

pub(crate) const HEAD: Target = Target {
    name: "head",
    reads: "the head of an HTTP request",
    memory: MIB,
    longest: 2 * MOST,
    run: take,
    seeds: || {
        [
            "GET /a?b=c HTTP/1.1\r\nHost: gate:80\r\nAccept: */*\r\n\r\n",
            "POST http://[::1]/x HTTP/1.1\r\nhost: [::1]\r\nTransfer-Encoding: chunked\r\nExpect: 100-continue\r\n\r\n0\r\n\r\n",
            "PUT / HTTP/1.0\r\nHost: a\r\nContent-Length: 12\r\nX-Tab:\ta\tb \r\n\r\n",
            "OPTIONS * HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: h2c\r\n\r\n",
        ]
        .map(|head| head.as_bytes().to_vec())
        .into()
    },
};

const MOST: usize = 4096;

/// What is taken is what the server behind takes, byte for byte, with one length of its body at most.
fn take(input: &[u8]) {
    match read(input, MOST, 1 << 20) {
        Ok(Some(head)) => {
            let mut fields = [httparse::EMPTY_HEADER; MAX_FIELDS];
            let mut again = httparse::Request::new(&mut fields);
            assert_eq!(again.parse(input), Ok(httparse::Status::Complete(head.len)));
            assert_eq!(again.method, Some(head.method.as_str()));
            assert!(again.path.is_some_and(|path| path.ends_with(&head.target)) && head.len <= MOST);
            let named = |name: &str| again.headers.iter().filter(|field| field.name.eq_ignore_ascii_case(name)).count();
            assert!(named("content-length") + named("transfer-encoding") <= 1 && named("host") == 1);
            // A longer input begins with the same head, and a shorter one is no other.
            let end = head.len;
            assert_eq!(read(input.get(..end).unwrap_or_default(), MOST, 1 << 20), Ok(Some(head)));
            assert!(!matches!(read(input.get(..end - 1).unwrap_or_default(), MOST, 1 << 20), Ok(Some(_))));
        }
        Ok(None) => assert!(input.len() < MOST),
        Err(Refused(status)) => assert!((400..600).contains(&status)),
    }
}
