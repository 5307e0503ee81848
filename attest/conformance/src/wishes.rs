//! What the suite wants of a bundle beyond that it verifies: no root in its chain, and no statement of an unknown type.
//!
//! Runs in: the conformance client, after verification. Admission needs neither: it reads no chains, and reads statements itself.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use edgeguard_attest::Code;
use edgeguard_attest::STATEMENT_V1;
use serde_json::Value;
use x509_cert::Certificate;
use x509_cert::der::Decode as _;

/// The statement type before v1, which is what old bundles hold.
const STATEMENT_V01: &str = "https://in-toto.io/Statement/v0.1";

/// Why a bundle that verifies is refused nevertheless.
#[derive(Debug, thiserror::Error)]
pub(crate) enum WishError {
    #[error("bundle cannot be read again")]
    Json(#[source] serde_json::Error),
    #[error("{} expected a statement of type `{STATEMENT_V1}`, found `{}`", Code::StatementType.as_str(), found.escape_debug())]
    Type { found: String },
    #[error("{} expected a chain that ends below its root, found a root in it", Code::CertificateChain.as_str())]
    Root,
}

/// Looks at a bundle that was verified.
pub(crate) fn check(bundle: &[u8], old_bundles: bool) -> Result<(), WishError> {
    let bundle: Value = serde_json::from_slice(bundle).map_err(WishError::Json)?;
    let chain = &bundle["verificationMaterial"]["x509CertificateChain"]["certificates"];
    if chain.as_array().is_some_and(|chain| chain.iter().any(is_root)) {
        return Err(WishError::Root);
    }
    let Some(payload) = bundle["dsseEnvelope"]["payload"].as_str() else { return Ok(()) };
    let statement: Value = serde_json::from_slice(&STANDARD.decode(payload).unwrap_or_default()).map_err(WishError::Json)?;
    match statement["_type"].as_str() {
        Some(STATEMENT_V1) => Ok(()),
        Some(STATEMENT_V01) if old_bundles => Ok(()),
        other => Err(WishError::Type { found: other.unwrap_or("none").chars().take(100).collect() }),
    }
}

/// Its own issuer, or no certificate at all.
fn is_root(certificate: &Value) -> bool {
    let der = certificate["rawBytes"].as_str().and_then(|text| STANDARD.decode(text).ok()).unwrap_or_default();
    Certificate::from_der(&der).map_or(true, |certificate| certificate.tbs_certificate.issuer == certificate.tbs_certificate.subject)
}
