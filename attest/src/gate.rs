//! The strict gate: bytes in, a bundle that can mean only one thing out.
//!
//! Runs in: daemon, CLI; before any key is looked up and any cryptography is done.
//! Invariant: every field of the bundle is understood or the bundle is refused. The libraries of the field accept bundles
//! with two kinds of evidence, repeated keys, unknown fields and relabelled versions; this gate is what refuses them.

use crate::json::Fields;
use crate::json::Json;
use crate::rejection::Code;
use crate::rejection::Rejection;
use crate::rejection::shown;

/// The largest bundle that is accepted, in bytes: 256 KiB.
pub const MAX_BUNDLE: u64 = 262_144;

/// The media type of the bundles we write, and its older spelling in the same version (sigstore protobuf-specs, `sigstore_bundle.proto`).
pub(crate) const MEDIA_TYPE: &str = "application/vnd.dev.sigstore.bundle.v0.3+json";
const MEDIA_TYPE_PARAMETER: &str = "application/vnd.dev.sigstore.bundle+json;version=0.3";

/// The `payloadType` of an in-toto statement in a DSSE envelope.
pub(crate) const IN_TOTO: &str = "application/vnd.in-toto+json";

/// The largest DSSE payload, in bytes.
const MAX_STATEMENT: usize = 131_072;
/// The largest signature, in bytes: DER of a P-384 signature has at most 104.
const MAX_SIGNATURE: usize = 256;

/// A bundle of a key's signature, whole and unambiguous. Nothing in it is proved yet.
#[derive(Debug)]
pub(crate) struct GatedBundle {
    /// Names a key. For looking up only.
    pub(crate) hint: String,
    pub(crate) content: Content,
}

/// What the bundle says was signed.
#[derive(Debug)]
pub(crate) enum Content {
    Message {
        algorithm: DigestAlgorithm,
        digest: Vec<u8>,
        signature: Vec<u8>,
    },
    /// `payload` is of type [`IN_TOTO`]; it is not looked into before its signature is verified.
    Dsse {
        payload: Vec<u8>,
        signature: Vec<u8>,
    },
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
pub(crate) fn parse(bytes: &[u8]) -> Result<GatedBundle, Rejection> {
    if bytes.len() as u64 > MAX_BUNDLE {
        return Err(too_big(bytes.len() as u64));
    }
    let mut bundle = Fields::of(Json::parse(bytes, "bundle")?, "bundle")?;

    let media_type = bundle.string("mediaType")?;
    if media_type != MEDIA_TYPE && media_type != MEDIA_TYPE_PARAMETER {
        return Err(Rejection::new(Code::BundleVersion, format!("mediaType `{MEDIA_TYPE}`"), shown(&media_type)));
    }
    exactly_one(&bundle, "bundle", &["messageSignature", "dsseEnvelope"])?;
    let material = bundle.object("verificationMaterial")?;
    let (content, envelope_key) = if bundle.has("messageSignature") {
        (message(bundle.object("messageSignature")?)?, None)
    } else {
        envelope(bundle.object("dsseEnvelope")?)?
    };
    bundle.finish()?;

    let hint = key_hint(material)?;
    match envelope_key {
        Some(keyid) if !keyid.is_empty() && keyid != hint => {
            Err(Rejection::new(Code::UnknownKey, format!("keyid of the envelope as the bundle's hint {}", shown(&hint)), shown(&keyid))
                .next("sign the module again; the bundle names two keys"))
        }
        _ => Ok(GatedBundle { hint, content }),
    }
}

pub(crate) fn too_big(found: u64) -> Rejection {
    Rejection::new(Code::TooBig, format!("a bundle of at most {MAX_BUNDLE} bytes"), format!("{found} bytes"))
}

/// `verificationMaterial`: one public key hint, and no evidence that would go unchecked.
fn key_hint(mut material: Fields) -> Result<String, Rejection> {
    exactly_one(&material, "bundle.verificationMaterial", &["publicKey", "certificate", "x509CertificateChain"])?;
    if material.take("x509CertificateChain").is_some() {
        return Err(Rejection::new(
            Code::BundleVersion,
            "`publicKey` or `certificate`",
            "`x509CertificateChain`, which v0.3 does not have",
        ));
    }
    if material.has("tlogEntries") {
        no_log_entries(&material.array("tlogEntries")?)?;
    }
    if material.has("timestampVerificationData") {
        let mut data = material.object("timestampVerificationData")?;
        if data.has("rfc3161Timestamps") && !data.array("rfc3161Timestamps")?.is_empty() {
            return Err(unchecked("an RFC 3161 timestamp"));
        }
        data.finish()?;
    }
    if material.take("certificate").is_some() {
        return Err(unchecked("a signing certificate"));
    }
    let mut key = material.object("publicKey")?;
    let hint = key.string("hint")?;
    key.finish()?;
    material.finish()?;
    Ok(hint)
}

fn no_log_entries(entries: &[Json]) -> Result<(), Rejection> {
    for (place, entry) in entries.iter().enumerate() {
        if entries.iter().skip(place + 1).any(|other| other == entry) {
            return Err(Rejection::new(Code::RepeatedEntry, "each log entry once", format!("entry {place} again")));
        }
    }
    if entries.is_empty() { Ok(()) } else { Err(unchecked("a transparency log entry")) }
}

fn unchecked(found: &str) -> Rejection {
    Rejection::new(Code::UncheckedEvidence, "a key's signature without a log, certificate or timestamp", found)
}

fn message(mut fields: Fields) -> Result<Content, Rejection> {
    let mut digest_fields = fields.object("messageDigest")?;
    let algorithm = match digest_fields.string("algorithm")?.as_str() {
        "SHA2_256" => DigestAlgorithm::Sha256,
        "SHA2_384" => DigestAlgorithm::Sha384,
        other => return Err(Rejection::new(Code::Algorithm, "digest `SHA2_256`, or `SHA2_384` with a P-384 key", shown(other))),
    };
    let digest = digest_fields.base64("digest", 64)?;
    digest_fields.finish()?;
    let signature = fields.base64("signature", MAX_SIGNATURE)?;
    fields.finish()?;
    Ok(Content::Message { algorithm, digest, signature })
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
    let keyid = if signature.has("keyid") { Some(signature.string("keyid")?) } else { None };
    let sig = signature.base64("sig", MAX_SIGNATURE)?;
    signature.finish()?;
    Ok((Content::Dsse { payload, signature: sig }, keyid))
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
