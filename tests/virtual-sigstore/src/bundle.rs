//! Signing: certificate, signature, stamps and log entry, in the order in which a client makes them.
//!
//! Runs in: tests.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::Map;
use serde_json::Value;
use serde_json::json;

use crate::instance::Instance;
use crate::keys::Key;
use crate::keys::pem;
use crate::keys::sha256;
use crate::rekor::Entry;
use crate::rekor::flip;
use crate::spec::By;
use crate::spec::Content;
use crate::spec::Format;
use crate::spec::IN_TOTO;
use crate::spec::Logged;
use crate::spec::Spec;
use crate::tamper::Tamper;

impl Instance {
    /// A bundle for `artifact`, as `spec` wants it. Two calls give two signatures, by two keys if keyless.
    #[must_use]
    pub fn sign(&self, artifact: &[u8], spec: &Spec) -> Value {
        let (key, certificate) = self.signer(artifact, spec);
        let payload_type =
            spec.lies.iter().find_map(|lie| if let Tamper::PayloadType(kind) = lie { Some(*kind) } else { None }).unwrap_or(IN_TOTO);
        let signed = match &spec.content {
            Content::Message => artifact.to_vec(),
            Content::Statement(payload) => pre_authentication_encoding(payload_type, payload),
        };
        let signer = if spec.lies_about(&Tamper::SignedByAnotherKey) { &self.stranger.key } else { &key };
        let signature = signer.sign(&signed);

        let mut material = Map::new();
        match &certificate {
            Some(leaf) => self.put_certificate(&mut material, leaf, spec),
            None => drop(material.insert("publicKey".to_owned(), json!({ "hint": key.hint() }))),
        }
        let entry = self.entry(&signed, &signature, &key, certificate.as_deref(), payload_type, spec);
        let entries = match entry {
            None => Vec::new(),
            Some(entry) if spec.lies_about(&Tamper::EntryTwice) => vec![entry.clone(), entry],
            Some(entry) => vec![entry],
        };
        material.insert("tlogEntries".to_owned(), json!(entries));
        if !spec.stamps.is_empty() {
            material.insert("timestampVerificationData".to_owned(), json!({ "rfc3161Timestamps": self.stamps(&signature, spec) }));
        }
        let mut bundle = json!({ "mediaType": media_type(spec.format), "verificationMaterial": material });
        match &spec.content {
            Content::Message => bundle["messageSignature"] = message_signature(artifact, &signature, spec),
            Content::Statement(payload) => {
                bundle["dsseEnvelope"] = json!({
                    "payload": STANDARD.encode(payload),
                    "payloadType": payload_type,
                    "signatures": [{ "sig": STANDARD.encode(&signature) }],
                });
            }
        }
        for lie in &spec.lies {
            bend(&mut bundle, lie, artifact, &key);
        }
        bundle
    }

    fn signer(&self, artifact: &[u8], spec: &Spec) -> (Key, Option<Vec<u8>>) {
        match &spec.by {
            By::Key(key) => (key.clone(), None),
            By::Keyless(leaf) => {
                let key = Key::p256(&format!("{} {} {leaf:?}", self.seed, hex::encode(sha256(artifact))));
                let fulcio = if spec.lies_about(&Tamper::CertificateByStranger) {
                    &self.stranger.fulcio
                } else if spec.lies_about(&Tamper::CertificateBySibling) {
                    &self.sibling
                } else {
                    &self.fulcio
                };
                let certificate = fulcio.issue(&key, leaf, &self.ct, &self.stranger.ct, &spec.lies);
                (key, Some(certificate))
            }
        }
    }

    fn put_certificate(&self, material: &mut Map<String, Value>, leaf: &[u8], spec: &Spec) {
        let raw = |der: &[u8]| json!({ "rawBytes": STANDARD.encode(der) });
        if matches!(spec.format, Format::V01 | Format::V02) {
            let chain: Vec<Value> = std::iter::once(raw(leaf)).chain(spec.chain.iter().map(|der| raw(der))).collect();
            material.insert("x509CertificateChain".to_owned(), json!({ "certificates": chain }));
        } else {
            material.insert("certificate".to_owned(), raw(leaf));
        }
    }

    fn stamps(&self, signature: &[u8], spec: &Spec) -> Vec<Value> {
        let one = |stamp: &crate::spec::Stamp| {
            let authority = if stamp.by_stranger { &self.stranger.tsa } else { &self.tsa };
            let bytes = if stamp.over_another { b"another signature" } else { signature };
            json!({ "signedTimestamp": STANDARD.encode(authority.stamp(bytes, stamp.at, stamp.with_certificates)) })
        };
        spec.stamps.iter().map(one).collect()
    }

    fn entry(
        &self,
        signed: &[u8],
        signature: &[u8],
        key: &Key,
        certificate: Option<&[u8]>,
        payload_type: &str,
        spec: &Spec,
    ) -> Option<Value> {
        let digest = if spec.lies_about(&Tamper::LoggedDigest) { sha256(b"another artifact") } else { sha256(signed) };
        let logged_signature = if spec.lies_about(&Tamper::LoggedSignature) { self.stranger.key.sign(signed) } else { signature.to_vec() };
        let another = spec.lies_about(&Tamper::LoggedVerifier);
        let verifier = match certificate {
            Some(_) if another => Verifier::Certificate(&self.fulcio.intermediate),
            Some(leaf) => Verifier::Certificate(leaf),
            None if another => Verifier::Key(&self.stranger.key),
            None => Verifier::Key(key),
        };
        let (kind, version, body) = match (spec.logged, &spec.content) {
            (Logged::No, _) => return None,
            (Logged::V1, Content::Message) => ("hashedrekord", "0.0.1", hashedrekord_v1(digest, &logged_signature, &verifier)),
            (Logged::V1, Content::Statement(payload)) => ("dsse", "0.0.1", dsse_v1(payload, &logged_signature, &verifier, spec)),
            (Logged::V1Intoto, Content::Statement(payload)) => {
                ("intoto", "0.0.2", intoto_v2(payload, payload_type, &logged_signature, &verifier, spec))
            }
            (Logged::V1Intoto, Content::Message) => {
                ("intoto", "0.0.2", intoto_v2(signed, payload_type, &logged_signature, &verifier, spec))
            }
            (Logged::V2, _) => ("hashedrekord", "0.0.2", hashedrekord_v2(digest, &logged_signature, &verifier)),
        };
        let strange = spec.lies_about(&Tamper::LoggedByStranger);
        let (log, stranger) = match spec.logged {
            Logged::V2 if strange => (&self.stranger.rekor2, &self.rekor2),
            Logged::V2 => (&self.rekor2, &self.stranger.rekor2),
            _ if strange => (&self.stranger.rekor1, &self.rekor1),
            _ => (&self.rekor1, &self.stranger.rekor1),
        };
        let entry = Entry { kind, version, body: body.to_string().into_bytes(), integrated: spec.integrated };
        Some(log.add(&entry, stranger, &spec.lies))
    }
}

/// What an entry says the signature verifies with.
enum Verifier<'a> {
    Certificate(&'a [u8]),
    Key(&'a Key),
}

impl Verifier<'_> {
    /// PEM in base64, as Rekor v1 has it.
    fn pem(&self) -> String {
        STANDARD.encode(match self {
            Self::Certificate(der) => pem("CERTIFICATE", der),
            Self::Key(key) => key.public_pem(),
        })
    }
}

fn hashedrekord_v1(digest: [u8; 32], signature: &[u8], verifier: &Verifier<'_>) -> Value {
    json!({
        "apiVersion": "0.0.1",
        "kind": "hashedrekord",
        "spec": {
            "data": { "hash": { "algorithm": "sha256", "value": hex::encode(digest) } },
            "signature": { "content": STANDARD.encode(signature), "publicKey": { "content": verifier.pem() } },
        },
    })
}

fn hashedrekord_v2(digest: [u8; 32], signature: &[u8], verifier: &Verifier<'_>) -> Value {
    let verifier = match verifier {
        Verifier::Certificate(der) => {
            json!({ "keyDetails": "PKIX_ECDSA_P256_SHA_256", "x509Certificate": { "rawBytes": STANDARD.encode(der) } })
        }
        Verifier::Key(key) => json!({ "keyDetails": key.details(), "publicKey": { "rawBytes": STANDARD.encode(key.spki()) } }),
    };
    json!({
        "apiVersion": "0.0.2",
        "kind": "hashedrekord",
        "spec": { "hashedRekordV002": {
            "data": { "algorithm": "SHA2_256", "digest": STANDARD.encode(digest) },
            "signature": { "content": STANDARD.encode(signature), "verifier": verifier },
        } },
    })
}

fn dsse_v1(payload: &[u8], signature: &[u8], verifier: &Verifier<'_>, spec: &Spec) -> Value {
    let payload_hash = if spec.lies_about(&Tamper::LoggedDigest) { sha256(b"another statement") } else { sha256(payload) };
    let envelope = if spec.lies_about(&Tamper::LoggedEnvelope) { &b"another envelope"[..] } else { payload };
    json!({
        "apiVersion": "0.0.1",
        "kind": "dsse",
        "spec": {
            "envelopeHash": { "algorithm": "sha256", "value": hex::encode(sha256(envelope)) },
            "payloadHash": { "algorithm": "sha256", "value": hex::encode(payload_hash) },
            "signatures": [{ "signature": STANDARD.encode(signature), "verifier": verifier.pem() }],
        },
    })
}

fn intoto_v2(payload: &[u8], payload_type: &str, signature: &[u8], verifier: &Verifier<'_>, spec: &Spec) -> Value {
    let payload_hash = if spec.lies_about(&Tamper::LoggedDigest) { sha256(b"another statement") } else { sha256(payload) };
    json!({
        "apiVersion": "0.0.2",
        "kind": "intoto",
        "spec": { "content": {
            "envelope": {
                "payloadType": payload_type,
                // Rekor encodes what was base64 already.
                "signatures": [{ "publicKey": verifier.pem(), "sig": STANDARD.encode(STANDARD.encode(signature)) }],
            },
            "hash": { "algorithm": "sha256", "value": hex::encode(sha256(b"the envelope as it was submitted")) },
            "payloadHash": { "algorithm": "sha256", "value": hex::encode(payload_hash) },
        } },
    })
}

fn message_signature(artifact: &[u8], signature: &[u8], spec: &Spec) -> Value {
    let digest = if spec.lies_about(&Tamper::DigestOfAnother) { sha256(b"another artifact") } else { sha256(artifact) };
    json!({
        "messageDigest": { "algorithm": "SHA2_256", "digest": STANDARD.encode(digest) },
        "signature": STANDARD.encode(signature),
    })
}

fn media_type(format: Format) -> &'static str {
    match format {
        Format::V01 => "application/vnd.dev.sigstore.bundle+json;version=0.1",
        Format::V02 => "application/vnd.dev.sigstore.bundle+json;version=0.2",
        Format::V03Parameter => "application/vnd.dev.sigstore.bundle+json;version=0.3",
        Format::V03 => "application/vnd.dev.sigstore.bundle.v0.3+json",
    }
}

/// What a DSSE signature is over (DSSE protocol, `PAE`).
#[must_use]
pub fn pre_authentication_encoding(payload_type: &str, payload: &[u8]) -> Vec<u8> {
    let mut out = format!("DSSEv1 {} {payload_type} {} ", payload_type.len(), payload.len()).into_bytes();
    out.extend_from_slice(payload);
    out
}

/// Lies that anybody can tell about a finished bundle.
fn bend(bundle: &mut Value, lie: &Tamper, artifact: &[u8], key: &Key) {
    match lie {
        Tamper::SignatureFlipped if bundle.get("messageSignature").is_some() => flip(&mut bundle["messageSignature"]["signature"]),
        Tamper::SignatureFlipped => flip(&mut bundle["dsseEnvelope"]["signatures"][0]["sig"]),
        Tamper::MediaType(other) => bundle["mediaType"] = json!(other),
        Tamper::KeyBesideCertificate => bundle["verificationMaterial"]["publicKey"] = json!({ "hint": key.hint() }),
        Tamper::MessageBesideEnvelope => {
            bundle["messageSignature"] = json!({
                "messageDigest": { "algorithm": "SHA2_256", "digest": STANDARD.encode(sha256(artifact)) },
                "signature": STANDARD.encode(key.sign(artifact)),
            });
        }
        Tamper::TwoSignatures => {
            let signatures = bundle["dsseEnvelope"]["signatures"].as_array_mut().unwrap();
            signatures.extend(signatures.clone());
        }
        Tamper::NoSignature => bundle["dsseEnvelope"]["signatures"] = json!([]),
        Tamper::UnknownField => bundle["verificationMaterial"]["comment"] = json!("trust me"),
        _ => {}
    }
}
