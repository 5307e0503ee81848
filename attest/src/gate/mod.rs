//! The strict gate: bytes in, a bundle that can mean only one thing out.
//!
//! Runs in: daemon, CLI; before any key is looked up and any cryptography is done.
//! Invariant: every field of the bundle is understood or the bundle is refused. The libraries of the field accept bundles
//! with two kinds of evidence, repeated keys, unknown fields and relabelled versions; this gate is what refuses them.

mod checkpoint;
mod log;

use crate::json::Fields;
use crate::json::Json;
use crate::rejection::Code;
use crate::rejection::Rejection;
use crate::rejection::shown;

pub(crate) use self::log::EntryKind;
pub(crate) use self::log::GatedEntry;

/// The largest bundle that is accepted, in bytes: 256 KiB.
pub const MAX_BUNDLE: u64 = 262_144;

/// The most RFC 3161 timestamps of one bundle.
pub(crate) const MAX_STAMPS: usize = 4;

/// The media type of the bundles we write, and its older spelling in the same version (sigstore protobuf-specs, `sigstore_bundle.proto`).
pub(crate) const MEDIA_TYPE: &str = "application/vnd.dev.sigstore.bundle.v0.3+json";
const MEDIA_TYPE_PARAMETER: &str = "application/vnd.dev.sigstore.bundle+json;version=0.3";
/// The versions before, which ask for less. Only a conformance run reads them.
const OLD_MEDIA_TYPES: [&str; 2] =
    ["application/vnd.dev.sigstore.bundle+json;version=0.1", "application/vnd.dev.sigstore.bundle+json;version=0.2"];

/// The `payloadType` of an in-toto statement in a DSSE envelope.
pub(crate) const IN_TOTO: &str = "application/vnd.in-toto+json";

/// The largest DSSE payload, in bytes.
const MAX_STATEMENT: usize = 131_072;
/// The largest signature, in bytes: DER of a P-384 signature has at most 104.
const MAX_SIGNATURE: usize = 256;
/// The largest certificate, in bytes; Fulcio's have about 800.
const MAX_CERTIFICATE: usize = 16_384;
/// The largest timestamp, in bytes; one with its authority's whole chain has about 5,000.
const MAX_STAMP: usize = 32_768;
/// The longest key hint or key id, in bytes.
const MAX_HINT: usize = 256;

/// Which bundles are read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BundleVersions {
    /// v0.3, with everything that admission wants to see in it.
    Strict,
    /// Also v0.1 and v0.2, and what other clients accept in v0.3. For conformance runs; nothing is admitted by it.
    Conformance,
}

impl BundleVersions {
    fn strict(self) -> bool {
        self == Self::Strict
    }
}

/// A bundle, whole and unambiguous. Nothing in it is proved yet.
#[derive(Debug)]
pub(crate) struct GatedBundle {
    pub(crate) signed_by: SignedBy,
    pub(crate) content: Content,
    pub(crate) entries: Vec<GatedEntry>,
    /// RFC 3161 timestamps in DER.
    pub(crate) stamps: Vec<Vec<u8>>,
}

impl GatedBundle {
    /// Whether the bundle carries anything that needs trust material.
    pub(crate) fn has_evidence(&self) -> bool {
        !self.entries.is_empty() || !self.stamps.is_empty()
    }
}

/// Who the bundle says signed.
#[derive(Debug)]
pub(crate) enum SignedBy {
    /// The holder of a key that the hint names. For looking up only.
    Key { hint: String },
    /// The holder of a certificate, in DER; in bundles before v0.3 the first of a chain.
    Certificate(Vec<u8>),
}

/// What the bundle says was signed.
#[derive(Debug)]
pub(crate) enum Content {
    Message {
        /// Missing only where a conformance run allows it.
        digest: Option<(DigestAlgorithm, Vec<u8>)>,
        signature: Vec<u8>,
    },
    /// `payload` is of type [`IN_TOTO`]; it is not looked into before its signature is verified.
    Dsse { payload: Vec<u8>, signature: Vec<u8> },
}

/// `messageDigest.algorithm`, of those that can be accepted with some key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum DigestAlgorithm {
    Sha256,
    Sha384,
}

impl DigestAlgorithm {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Sha256 => "SHA2_256",
            Self::Sha384 => "SHA2_384",
        }
    }
}

/// Reads a bundle.
pub(crate) fn parse(bytes: &[u8], versions: BundleVersions) -> Result<GatedBundle, Rejection> {
    if bytes.len() as u64 > MAX_BUNDLE {
        return Err(too_big(bytes.len() as u64));
    }
    let mut bundle = Fields::of(Json::parse(bytes, "bundle")?, "bundle")?;

    let media_type = bundle.string("mediaType")?;
    let current = media_type == MEDIA_TYPE || media_type == MEDIA_TYPE_PARAMETER;
    let old = !versions.strict() && OLD_MEDIA_TYPES.contains(&media_type.as_str());
    if !current && !old {
        return Err(Rejection::new(Code::BundleVersion, format!("mediaType `{MEDIA_TYPE}`"), shown(&media_type)));
    }
    exactly_one(&bundle, "bundle", &["messageSignature", "dsseEnvelope"])?;
    let material = bundle.object("verificationMaterial")?;
    let (content, envelope_key) = if bundle.has("messageSignature") {
        (message(bundle.object("messageSignature")?, versions)?, None)
    } else {
        envelope(bundle.object("dsseEnvelope")?)?
    };
    bundle.finish()?;

    let (signed_by, entries, stamps) = read_material(material, old, versions)?;
    match (&signed_by, envelope_key) {
        (SignedBy::Key { hint }, Some(keyid)) if !keyid.is_empty() && keyid != *hint => {
            return Err(Rejection::new(
                Code::UnknownKey,
                format!("keyid of the envelope as the bundle's hint {}", shown(hint)),
                shown(&keyid),
            )
            .next("sign the module again; the bundle names two keys"));
        }
        _ => {}
    }
    let gated = GatedBundle { signed_by, content, entries, stamps };
    log::fit(&gated, versions)?;
    Ok(gated)
}

pub(crate) fn too_big(found: u64) -> Rejection {
    Rejection::new(Code::TooBig, format!("a bundle of at most {MAX_BUNDLE} bytes"), format!("{found} bytes"))
}

/// `verificationMaterial`: one key or certificate, the log entries, the timestamps.
fn read_material(
    mut material: Fields,
    old: bool,
    versions: BundleVersions,
) -> Result<(SignedBy, Vec<GatedEntry>, Vec<Vec<u8>>), Rejection> {
    exactly_one(&material, "bundle.verificationMaterial", &["publicKey", "certificate", "x509CertificateChain"])?;
    if material.has("x509CertificateChain") && !old {
        return Err(Rejection::new(
            Code::BundleVersion,
            "`publicKey` or `certificate`",
            "`x509CertificateChain`, which v0.3 does not have",
        ));
    }
    let signed_by = if material.has("publicKey") {
        let mut key = material.object("publicKey")?;
        let hint = key.string("hint")?;
        key.finish()?;
        SignedBy::Key { hint: bounded(hint, "bundle.verificationMaterial.publicKey.hint")? }
    } else if material.has("certificate") {
        let mut certificate = material.object("certificate")?;
        let der = certificate.base64("rawBytes", MAX_CERTIFICATE)?;
        certificate.finish()?;
        SignedBy::Certificate(der)
    } else {
        SignedBy::Certificate(first_of_chain(material.object("x509CertificateChain")?)?)
    };
    let entries = log::entries(material.array_or_empty("tlogEntries")?, versions)?;
    let stamps = stamps(&mut material)?;
    material.finish()?;
    Ok((signed_by, entries, stamps))
}

fn first_of_chain(mut chain: Fields) -> Result<Vec<u8>, Rejection> {
    let mut first = None;
    for (place, certificate) in chain.array("certificates")?.into_iter().enumerate() {
        let mut certificate = Fields::of(certificate, &format!("bundle.verificationMaterial.x509CertificateChain.certificates.{place}"))?;
        let der = certificate.base64("rawBytes", MAX_CERTIFICATE)?;
        certificate.finish()?;
        first.get_or_insert(der);
    }
    chain.finish()?;
    first.ok_or_else(|| Rejection::new(Code::Malformed, "a certificate in `bundle.verificationMaterial.x509CertificateChain`", "none"))
}

/// `timestampVerificationData`. Some clients write `null` where they have none, which protobuf reads as missing.
fn stamps(material: &mut Fields) -> Result<Vec<Vec<u8>>, Rejection> {
    const PATH: &str = "bundle.verificationMaterial.timestampVerificationData";
    let mut data = match material.take("timestampVerificationData") {
        None | Some(Json::Null) => return Ok(Vec::new()),
        Some(data) => Fields::of(data, PATH)?,
    };
    let stamps = data.array_or_empty("rfc3161Timestamps")?;
    data.finish()?;
    each_once(&stamps, "timestamp")?;
    if stamps.len() > MAX_STAMPS {
        return Err(Rejection::new(Code::TooMany, format!("at most {MAX_STAMPS} timestamps"), stamps.len().to_string()));
    }
    let read = |(place, stamp)| {
        let mut stamp = Fields::of(stamp, &format!("{PATH}.rfc3161Timestamps.{place}"))?;
        let der = stamp.base64("signedTimestamp", MAX_STAMP)?;
        stamp.finish()?;
        Ok(der)
    };
    stamps.into_iter().enumerate().map(read).collect()
}

fn each_once(items: &[Json], what: &str) -> Result<(), Rejection> {
    for (place, item) in items.iter().enumerate() {
        if items.iter().skip(place + 1).any(|other| other == item) {
            return Err(Rejection::new(Code::RepeatedEntry, format!("each {what} once"), format!("{what} {place} again")));
        }
    }
    Ok(())
}

fn message(mut fields: Fields, versions: BundleVersions) -> Result<Content, Rejection> {
    let digest = if versions.strict() || fields.has("messageDigest") {
        let mut digest_fields = fields.object("messageDigest")?;
        let algorithm = match digest_fields.string("algorithm")?.as_str() {
            "SHA2_256" => DigestAlgorithm::Sha256,
            "SHA2_384" => DigestAlgorithm::Sha384,
            other => return Err(Rejection::new(Code::Algorithm, "digest `SHA2_256`, or `SHA2_384` with a P-384 key", shown(other))),
        };
        let digest = digest_fields.base64("digest", 64)?;
        digest_fields.finish()?;
        Some((algorithm, digest))
    } else {
        None
    };
    let signature = fields.base64("signature", MAX_SIGNATURE)?;
    fields.finish()?;
    Ok(Content::Message { digest, signature })
}

/// A DSSE envelope and the `keyid` of its one signature.
fn envelope(mut fields: Fields) -> Result<(Content, Option<String>), Rejection> {
    let payload_type = fields.string("payloadType")?;
    if payload_type != IN_TOTO {
        return Err(Rejection::new(Code::PayloadType, format!("payloadType `{IN_TOTO}`"), shown(&payload_type)));
    }
    let payload = fields.base64("payload", MAX_STATEMENT)?;
    let signatures = fields.array("signatures")?;
    fields.finish()?;
    let count = signatures.len();
    let Ok([signature]) = <[Json; 1]>::try_from(signatures) else {
        return Err(Rejection::new(Code::OneOf, "one signature in `bundle.dsseEnvelope.signatures`", count.to_string()));
    };
    let mut signature = Fields::of(signature, "bundle.dsseEnvelope.signatures.0")?;
    let keyid =
        if signature.has("keyid") { Some(bounded(signature.string("keyid")?, "bundle.dsseEnvelope.signatures.0.keyid")?) } else { None };
    let sig = signature.base64("sig", MAX_SIGNATURE)?;
    signature.finish()?;
    Ok((Content::Dsse { payload, signature: sig }, keyid))
}

fn bounded(text: String, path: &str) -> Result<String, Rejection> {
    if text.len() <= MAX_HINT {
        return Ok(text);
    }
    Err(Rejection::new(Code::Malformed, format!("at most {MAX_HINT} bytes in `{path}`"), format!("{} bytes", text.len())))
}

fn exactly_one(fields: &Fields, path: &str, names: &[&str]) -> Result<(), Rejection> {
    let present: Vec<String> = names.iter().filter(|name| fields.has(name)).map(|name| format!("`{name}`")).collect();
    if present.len() == 1 {
        return Ok(());
    }
    let wanted: Vec<String> = names.iter().map(|name| format!("`{name}`")).collect();
    let found = if present.is_empty() { "none".to_owned() } else { present.join(" and ") };
    Err(Rejection::new(Code::OneOf, format!("exactly one of {} in `{path}`", wanted.join(", ")), found))
}
