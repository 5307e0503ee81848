//! X.509 certificates (RFC 5280), as far as Fulcio and timestamp authorities make them.
//!
//! Runs in: tests.

use crate::der;
use crate::keys::Key;
use crate::keys::sha256;

pub(crate) const CODE_SIGNING: &str = "1.3.6.1.5.5.7.3.3";
pub(crate) const SERVER_AUTH: &str = "1.3.6.1.5.5.7.3.1";
pub(crate) const TIME_STAMPING: &str = "1.3.6.1.5.5.7.3.8";

/// From when to when, in seconds since 1970; both belong to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Validity {
    /// The first second.
    pub from: i64,
    /// The last.
    pub until: i64,
}

/// A certificate before it is signed.
pub(crate) struct Template<'a> {
    pub(crate) issuer: &'a [u8],
    pub(crate) subject: &'a [u8],
    pub(crate) serial: &'a [u8],
    pub(crate) validity: Validity,
    pub(crate) spki: &'a [u8],
    pub(crate) extensions: Vec<Vec<u8>>,
}

impl Template<'_> {
    /// The part that is signed.
    pub(crate) fn tbs(&self, signer: &Key) -> Vec<u8> {
        der::sequence(&[
            der::context(0, &der::integer(&[2])),
            der::integer(self.serial),
            signer.signature_algorithm(),
            self.issuer.to_vec(),
            der::sequence(&[der::utc_time(self.validity.from), der::utc_time(self.validity.until)]),
            self.subject.to_vec(),
            self.spki.to_vec(),
            der::context(3, &der::sequence(&self.extensions)),
        ])
    }

    pub(crate) fn signed_by(&self, signer: &Key) -> Vec<u8> {
        let tbs = self.tbs(signer);
        let signature = signer.sign(&tbs);
        der::sequence(&[tbs, signer.signature_algorithm(), der::bits(&signature)])
    }
}

/// A distinguished name of an organisation and a common name; empty without both.
pub(crate) fn name(organization: &str, common_name: &str) -> Vec<u8> {
    let one = |kind: &str, value: &str| der::set_of(vec![der::sequence(&[der::oid(kind), der::utf8(value)])]);
    if common_name.is_empty() {
        return der::sequence::<Vec<u8>>(&[]);
    }
    der::sequence(&[one("2.5.4.10", organization), one("2.5.4.3", common_name)])
}

pub(crate) fn extension(id: &str, critical: bool, value: &[u8]) -> Vec<u8> {
    let mut parts = vec![der::oid(id)];
    if critical {
        parts.push(der::boolean_true());
    }
    parts.push(der::octets(value));
    der::sequence(&parts)
}

/// The extensions of a certificate authority.
pub(crate) fn authority_extensions(key: &Key, usage: Option<&str>) -> Vec<Vec<u8>> {
    let mut out = vec![
        extension("2.5.29.15", true, &der::named_bits(1, &[0b0000_0110])),
        extension("2.5.29.19", true, &der::sequence(&[der::boolean_true()])),
        extension("2.5.29.14", false, &der::octets(&key_identifier(key))),
    ];
    out.extend(usage.map(|usage| extended_usage(usage, false)));
    out
}

/// `digitalSignature`, and nothing else.
pub(crate) fn signature_usage() -> Vec<u8> {
    extension("2.5.29.15", true, &der::named_bits(7, &[0x80]))
}

pub(crate) fn extended_usage(usage: &str, critical: bool) -> Vec<u8> {
    extension("2.5.29.37", critical, &der::sequence(&[der::oid(usage)]))
}

pub(crate) fn subject_key(key: &Key) -> Vec<u8> {
    extension("2.5.29.14", false, &der::octets(&key_identifier(key)))
}

pub(crate) fn authority_key(key: &Key) -> Vec<u8> {
    extension("2.5.29.35", false, &der::sequence(&[der::primitive(0, &key_identifier(key))]))
}

fn key_identifier(key: &Key) -> Vec<u8> {
    sha256(&key.raw())[..20].to_vec()
}
