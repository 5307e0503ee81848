//! The bundle that is written: sigstore protobuf-specs `sigstore_bundle.proto` in its JSON form, DSSE `envelope.md`.
//!
//! Runs in: CLI. Written only; what is read goes through the strict gate.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Serialize;

use crate::gate::IN_TOTO;
use crate::gate::MEDIA_TYPE;

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Bundle {
    media_type: &'static str,
    verification_material: Material,
    #[serde(skip_serializing_if = "Option::is_none")]
    message_signature: Option<MessageSignature>,
    #[serde(skip_serializing_if = "Option::is_none")]
    dsse_envelope: Option<Envelope>,
}

impl Bundle {
    /// A signature over a message whose digest is stated; other clients want it present.
    pub(super) fn message(hint: String, algorithm: &'static str, digest: &[u8], signature: &[u8]) -> Self {
        let message_digest = MessageDigest { algorithm, digest: STANDARD.encode(digest) };
        Self { message_signature: Some(MessageSignature { message_digest, signature: STANDARD.encode(signature) }), ..Self::empty(hint) }
    }

    /// A signature over an in-toto statement. The envelope's key id equals the hint, as the protobuf wants it.
    pub(super) fn statement(hint: String, payload: &[u8], signature: &[u8]) -> Self {
        let signatures = [EnvelopeSignature { sig: STANDARD.encode(signature), keyid: hint.clone() }];
        Self { dsse_envelope: Some(Envelope { payload: STANDARD.encode(payload), payload_type: IN_TOTO, signatures }), ..Self::empty(hint) }
    }

    fn empty(hint: String) -> Self {
        let verification_material = Material { public_key: PublicKey { hint }, tlog_entries: [] };
        Self { media_type: MEDIA_TYPE, verification_material, message_signature: None, dsse_envelope: None }
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Material {
    public_key: PublicKey,
    /// Always empty, and always there: `sigstore-python` reads no bundle without it.
    tlog_entries: [(); 0],
}

#[derive(Serialize)]
struct PublicKey {
    hint: String,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct MessageSignature {
    message_digest: MessageDigest,
    signature: String,
}

#[derive(Serialize)]
struct MessageDigest {
    algorithm: &'static str,
    digest: String,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Envelope {
    payload: String,
    payload_type: &'static str,
    signatures: [EnvelopeSignature; 1],
}

#[derive(Serialize)]
struct EnvelopeSignature {
    sig: String,
    keyid: String,
}
