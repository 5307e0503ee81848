//! A writer of DER (X.690), as much as certificates and timestamps need.
//!
//! Runs in: tests.
//! Does not: read DER, or check that what it writes makes sense: a forger needs to write nonsense too.

use jiff::Timestamp;
use jiff::tz::TimeZone;

pub(crate) const UTF8_STRING: u8 = 0x0c;
pub(crate) const OCTET_STRING: u8 = 0x04;
const INTEGER: u8 = 0x02;
const BIT_STRING: u8 = 0x03;
const OID: u8 = 0x06;
const UTC_TIME: u8 = 0x17;
const GENERALIZED_TIME: u8 = 0x18;
const SEQUENCE: u8 = 0x30;
const SET: u8 = 0x31;

/// Tag, length, value.
pub(crate) fn tlv(tag: u8, value: &[u8]) -> Vec<u8> {
    let mut out = vec![tag];
    let length = value.len().to_be_bytes();
    if value.len() < 0x80 {
        out.push(length[length.len() - 1]);
    } else {
        let significant = &length[length.iter().position(|byte| *byte != 0).unwrap_or(length.len() - 1)..];
        out.push(0x80 | u8::try_from(significant.len()).unwrap());
        out.extend_from_slice(significant);
    }
    out.extend_from_slice(value);
    out
}

pub(crate) fn sequence<B: AsRef<[u8]>>(parts: &[B]) -> Vec<u8> {
    tlv(SEQUENCE, &concat(parts))
}

/// A SET OF: DER wants its members in the order of their encodings.
pub(crate) fn set_of(mut parts: Vec<Vec<u8>>) -> Vec<u8> {
    parts.sort();
    tlv(SET, &concat(&parts))
}

/// `[number]` around a whole value (EXPLICIT) or in place of a constructed value's tag (IMPLICIT): the bytes are the same.
pub(crate) fn context(number: u8, value: &[u8]) -> Vec<u8> {
    tlv(0xa0 | number, value)
}

/// `[number] IMPLICIT` of a primitive.
pub(crate) fn primitive(number: u8, value: &[u8]) -> Vec<u8> {
    tlv(0x80 | number, value)
}

/// A number that is not negative, from its big-endian bytes.
pub(crate) fn integer(bytes: &[u8]) -> Vec<u8> {
    let start = bytes.iter().position(|byte| *byte != 0).unwrap_or(bytes.len().saturating_sub(1));
    let mut value = bytes[start..].to_vec();
    if value.first().is_none_or(|first| *first >= 0x80) {
        value.insert(0, 0);
    }
    tlv(INTEGER, &value)
}

pub(crate) fn boolean_true() -> Vec<u8> {
    vec![0x01, 0x01, 0xff]
}

pub(crate) fn octets(value: &[u8]) -> Vec<u8> {
    tlv(OCTET_STRING, value)
}

/// A BIT STRING of whole bytes.
pub(crate) fn bits(value: &[u8]) -> Vec<u8> {
    named_bits(0, value)
}

/// A BIT STRING whose last `unused` bits do not count.
pub(crate) fn named_bits(unused: u8, value: &[u8]) -> Vec<u8> {
    tlv(BIT_STRING, &[&[unused], value].concat())
}

pub(crate) fn utf8(value: &str) -> Vec<u8> {
    tlv(UTF8_STRING, value.as_bytes())
}

/// An object identifier from its dotted text.
pub(crate) fn oid(text: &str) -> Vec<u8> {
    let arcs: Vec<u64> = text.split('.').map(|arc| arc.parse().unwrap()).collect();
    let mut value = Vec::new();
    base128(&mut value, arcs[0] * 40 + arcs[1]);
    for arc in &arcs[2..] {
        base128(&mut value, *arc);
    }
    tlv(OID, &value)
}

fn base128(out: &mut Vec<u8>, number: u64) {
    let mut groups = vec![(number & 0x7f) as u8];
    let mut rest = number >> 7;
    while rest > 0 {
        groups.push((rest & 0x7f) as u8 | 0x80);
        rest >>= 7;
    }
    out.extend(groups.iter().rev());
}

/// The time of a certificate before 2050.
pub(crate) fn utc_time(seconds: i64) -> Vec<u8> {
    tlv(UTC_TIME, calendar(seconds, "%y%m%d%H%M%SZ").as_bytes())
}

/// The time of a stamp, in whole seconds.
pub(crate) fn generalized_time(seconds: i64) -> Vec<u8> {
    tlv(GENERALIZED_TIME, calendar(seconds, "%Y%m%d%H%M%SZ").as_bytes())
}

fn calendar(seconds: i64, format: &str) -> String {
    Timestamp::from_second(seconds).unwrap().to_zoned(TimeZone::UTC).strftime(format).to_string()
}

fn concat<B: AsRef<[u8]>>(parts: &[B]) -> Vec<u8> {
    parts.iter().flat_map(|part| part.as_ref().iter().copied()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_and_numbers_are_minimal() {
        assert_eq!(tlv(4, &[7; 127])[..2], [4, 127]);
        assert_eq!(tlv(4, &[7; 128])[..3], [4, 0x81, 128]);
        assert_eq!(tlv(4, &[7; 256])[..4], [4, 0x82, 1, 0]);
        assert_eq!(integer(&[0, 0, 5]), [2, 1, 5]);
        assert_eq!(integer(&[0x80]), [2, 2, 0, 0x80]);
        assert_eq!(integer(&[0]), [2, 1, 0]);
        assert_eq!(oid("1.2.840.113549.1.9.16.1.4"), [6, 11, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 9, 16, 1, 4]);
        assert_eq!(utc_time(0)[2..], *b"700101000000Z");
    }
}
