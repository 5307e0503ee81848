//! A certificate authority like Fulcio: a root, an intermediate, and certificates for one signature each.
//!
//! Runs in: tests.
//! The leaf is as Fulcio's certificate specification has it: empty subject, one critical name, code signing, the issuer
//! and the claims of the build as extensions under 1.3.6.1.4.1.57264.1, and one embedded certificate timestamp.

use crate::certificate::CODE_SIGNING;
use crate::certificate::SERVER_AUTH;
use crate::certificate::Template;
use crate::certificate::Validity;
use crate::certificate::authority_extensions;
use crate::certificate::authority_key;
use crate::certificate::extended_usage;
use crate::certificate::extension;
use crate::certificate::name;
use crate::certificate::signature_usage;
use crate::certificate::subject_key;
use crate::ct::CtLog;
use crate::der;
use crate::keys::Key;
use crate::keys::sha256;
use crate::tamper::Tamper;

const CLAIMS: &str = "1.3.6.1.4.1.57264.1";

/// A name in a certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum San {
    /// A workload's address.
    Uri(String),
    /// A person's.
    Email(String),
    /// A host's, which Fulcio never writes.
    Dns(String),
    /// Fulcio's form of a user name (1.3.6.1.4.1.57264.1.7).
    OtherName(String),
}

/// What somebody asks a certificate for.
#[derive(Clone, Debug)]
pub struct Leaf {
    /// The names. An honest one has exactly one.
    pub names: Vec<San>,
    /// The OIDC issuer; written in the old and in the new form.
    pub issuer: Option<String>,
    /// Claims by the last number of their object identifier, such as 15 for the repository's id.
    pub claims: Vec<(u8, String)>,
    /// When the certificate is good.
    pub validity: Validity,
}

/// The authority.
pub struct Fulcio {
    organization: String,
    root_key: Key,
    key: Key,
    /// Its self-signed certificate.
    pub root: Vec<u8>,
    /// The one that signs leaves.
    pub intermediate: Vec<u8>,
}

impl Fulcio {
    pub(crate) fn new(seed: &str, organization: &str, validity: Validity) -> Self {
        let root_key = Key::p256(&format!("{seed} fulcio root"));
        let key = Key::p256(&format!("{seed} fulcio intermediate"));
        let (root_name, own_name) = names(organization);
        let root = Template {
            issuer: &root_name,
            subject: &root_name,
            serial: &[1],
            validity,
            spki: root_key.spki(),
            extensions: authority_extensions(&root_key, None),
        }
        .signed_by(&root_key);
        let mut extensions = authority_extensions(&key, Some(CODE_SIGNING));
        extensions.push(authority_key(&root_key));
        let intermediate =
            Template { issuer: &root_name, subject: &own_name, serial: &[2], validity, spki: key.spki(), extensions }.signed_by(&root_key);
        Self { organization: organization.to_owned(), root_key, key, root, intermediate }
    }

    /// Another intermediate of the same name with another key.
    pub(crate) fn sibling(&self, seed: &str, validity: Validity) -> Self {
        let key = Key::p256(&format!("{seed} fulcio sibling"));
        let (root_name, own_name) = names(&self.organization);
        let mut extensions = authority_extensions(&key, Some(CODE_SIGNING));
        extensions.push(authority_key(&self.root_key));
        let intermediate = Template { issuer: &root_name, subject: &own_name, serial: &[3], validity, spki: key.spki(), extensions }
            .signed_by(&self.root_key);
        Self { organization: self.organization.clone(), root_key: self.root_key.clone(), key, root: self.root.clone(), intermediate }
    }

    /// A certificate for `key`, listed by `ct`; `stranger` is a log that nobody trusts.
    pub(crate) fn issue(&self, key: &Key, leaf: &Leaf, ct: &CtLog, stranger: &CtLog, lies: &[Tamper]) -> Vec<u8> {
        let (_, own_name) = names(&self.organization);
        let usage = if lies.contains(&Tamper::CertificateForServers) { SERVER_AUTH } else { CODE_SIGNING };
        let mut extensions = vec![signature_usage(), extended_usage(usage, false), subject_key(key), authority_key(&self.key)];
        if !leaf.names.is_empty() {
            let names: Vec<Vec<u8>> = leaf.names.iter().map(general_name).collect();
            extensions.push(extension("2.5.29.17", true, &der::sequence(&names)));
        }
        if let Some(issuer) = &leaf.issuer {
            extensions.push(extension(&format!("{CLAIMS}.1"), false, issuer.as_bytes()));
            extensions.push(extension(&format!("{CLAIMS}.8"), false, &der::utf8(issuer)));
        }
        for (number, value) in &leaf.claims {
            extensions.push(extension(&format!("{CLAIMS}.{number}"), false, &der::utf8(value)));
        }
        let serial = sha256(&[key.spki(), &leaf.validity.from.to_be_bytes()].concat());
        let empty = name("", "");
        let mut template =
            Template { issuer: &own_name, subject: &empty, serial: &serial[..16], validity: leaf.validity, spki: key.spki(), extensions };

        let precertificate = template.tbs(&self.key);
        let timestamps = timestamps(&precertificate, sha256(self.key.spki()), leaf.validity.from, ct, stranger, lies);
        if !timestamps.is_empty() {
            template.extensions.push(extension("1.3.6.1.4.1.11129.2.4.2", false, &der::octets(&crate::ct::list(&timestamps))));
        }
        let mut certificate = template.signed_by(&self.key);
        if lies.contains(&Tamper::CertificateFlipped)
            && let Some(last) = certificate.last_mut()
        {
            *last ^= 1;
        }
        certificate
    }
}

/// The timestamps to embed: one by the trusted log, unless a lie is wanted.
fn timestamps(precertificate: &[u8], issuer: [u8; 32], at: i64, ct: &CtLog, stranger: &CtLog, lies: &[Tamper]) -> Vec<Vec<u8>> {
    let honest = || ct.timestamp(precertificate, issuer, at, &[]);
    let mut out = Vec::new();
    for lie in lies {
        match lie {
            Tamper::SctMissing => return Vec::new(),
            Tamper::SctByStranger => out.push(stranger.timestamp(precertificate, issuer, at, &[])),
            Tamper::SctByStrangerAsTrusted => out.push(stranger.timestamp_as(ct, precertificate, issuer, at)),
            Tamper::SctOfAnotherIssuer => out.push(ct.timestamp(precertificate, [0; 32], at, &[])),
            Tamper::SctOfAnotherCertificate => out.push(ct.timestamp(&[precertificate, b"."].concat(), issuer, at, &[])),
            Tamper::SctAt(other) => out.push(ct.timestamp(precertificate, issuer, *other, &[])),
            Tamper::SctWithExtensions => out.push(ct.timestamp(precertificate, issuer, at, b"extension")),
            Tamper::SctTwice => out.extend([honest(), honest()]),
            Tamper::SctFlipped => {
                let mut flipped = honest();
                if let Some(last) = flipped.last_mut() {
                    *last ^= 1;
                }
                out.push(flipped);
            }
            _ => {}
        }
    }
    if out.is_empty() { vec![honest()] } else { out }
}

fn names(organization: &str) -> (Vec<u8>, Vec<u8>) {
    (name(organization, "virtual-root"), name(organization, "virtual-intermediate"))
}

fn general_name(san: &San) -> Vec<u8> {
    match san {
        San::Email(address) => der::primitive(1, address.as_bytes()),
        San::Dns(host) => der::primitive(2, host.as_bytes()),
        San::Uri(uri) => der::primitive(6, uri.as_bytes()),
        San::OtherName(user) => der::context(0, &[der::oid(&format!("{CLAIMS}.7")), der::context(0, &der::utf8(user))].concat()),
    }
}
