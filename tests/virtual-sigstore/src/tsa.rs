//! A timestamp authority (RFC 3161): tokens in CMS (RFC 5652), with the attributes of RFC 5816.
//!
//! Runs in: tests.

use crate::certificate::TIME_STAMPING;
use crate::certificate::Template;
use crate::certificate::Validity;
use crate::certificate::authority_extensions;
use crate::certificate::authority_key;
use crate::certificate::extended_usage;
use crate::certificate::name;
use crate::certificate::signature_usage;
use crate::certificate::subject_key;
use crate::der;
use crate::keys::Key;
use crate::keys::sha256;

const SHA_256: &str = "2.16.840.1.101.3.4.2.1";
const SIGNED_DATA: &str = "1.2.840.113549.1.7.2";
const TST_INFO: &str = "1.2.840.113549.1.9.16.1.4";
const CONTENT_TYPE: &str = "1.2.840.113549.1.9.3";
const MESSAGE_DIGEST: &str = "1.2.840.113549.1.9.4";
const SIGNING_CERTIFICATE_V2: &str = "1.2.840.113549.1.9.16.2.47";
const SERIAL: &[u8] = &[0x5a];

/// The authority.
pub struct Tsa {
    key: Key,
    root_name: Vec<u8>,
    /// Its self-signed certificate.
    pub root: Vec<u8>,
    /// The one whose key signs stamps.
    pub leaf: Vec<u8>,
}

impl Tsa {
    pub(crate) fn new(seed: &str, organization: &str, validity: Validity) -> Self {
        Self::with_leaf(seed, organization, validity, validity)
    }

    /// Whose own certificate is good for less time than its root's.
    pub(crate) fn with_leaf(seed: &str, organization: &str, validity: Validity, leaf_validity: Validity) -> Self {
        let root_key = Key::p256(&format!("{seed} tsa root"));
        let key = Key::p256(&format!("{seed} tsa"));
        let root_name = name(organization, "virtual-tsa-root");
        let leaf_name = name(organization, "virtual-tsa");
        let root = Template {
            issuer: &root_name,
            subject: &root_name,
            serial: &[1],
            validity,
            spki: root_key.spki(),
            extensions: authority_extensions(&root_key, None),
        }
        .signed_by(&root_key);
        let extensions = vec![signature_usage(), extended_usage(TIME_STAMPING, true), subject_key(&key), authority_key(&root_key)];
        let leaf =
            Template { issuer: &root_name, subject: &leaf_name, serial: SERIAL, validity: leaf_validity, spki: key.spki(), extensions }
                .signed_by(&root_key);
        Self { key, root_name, root, leaf }
    }

    /// A whole response (TimeStampResp) that says: these bytes existed at this time.
    pub(crate) fn stamp(&self, bytes: &[u8], at: i64, embed_certificates: bool) -> Vec<u8> {
        let sha256_algorithm = der::sequence(&[der::oid(SHA_256)]);
        let imprint = der::sequence(&[sha256_algorithm.clone(), der::octets(&sha256(bytes))]);
        let info = der::sequence(&[
            der::integer(&[1]),
            der::oid("1.3.6.1.4.1.57264.2"),
            imprint,
            der::integer(&sha256(&[bytes, &at.to_be_bytes()].concat())[..8]),
            der::generalized_time(at),
        ]);

        let certificate_id = der::sequence(&[der::sequence(&[der::sequence(&[der::octets(&sha256(&self.leaf))])])]);
        let attributes = vec![
            attribute(CONTENT_TYPE, der::oid(TST_INFO)),
            attribute(MESSAGE_DIGEST, der::octets(&sha256(&info))),
            attribute(SIGNING_CERTIFICATE_V2, certificate_id),
        ];
        // Signed as a SET, written as [0]: RFC 5652 §5.4.
        let signed = der::set_of(attributes);
        let mut written = signed.clone();
        written[0] = 0xa0;

        let signer = der::sequence(&[
            der::integer(&[1]),
            der::sequence(&[self.root_name.clone(), der::integer(SERIAL)]),
            sha256_algorithm.clone(),
            written,
            self.key.signature_algorithm(),
            der::octets(&self.key.sign(&signed)),
        ]);
        let mut data = vec![
            der::integer(&[3]),
            der::set_of(vec![sha256_algorithm]),
            der::sequence(&[der::oid(TST_INFO), der::context(0, &der::octets(&info))]),
        ];
        if embed_certificates {
            data.push(der::context(0, &[self.leaf.clone(), self.root.clone()].concat()));
        }
        data.push(der::set_of(vec![signer]));
        let token = der::sequence(&[der::oid(SIGNED_DATA), der::context(0, &der::sequence(&data))]);
        der::sequence(&[der::sequence(&[der::integer(&[0])]), token])
    }
}

fn attribute(kind: &str, value: Vec<u8>) -> Vec<u8> {
    der::sequence(&[der::oid(kind), der::set_of(vec![value])])
}
