//! A signing certificate: one name, one issuer, no contradiction; and which of the policy's signers it is of.
//!
//! Runs in: daemon, CLI; the chain, the time and the log of the certificate were verified before its names are believed.
//! Invariant: a certificate with two names, none, or one of another kind than an e-mail address or a URI is nobody's.

use std::collections::BTreeSet;

use sigstore_crypto::CertificateInfo;
use sigstore_crypto::KeyAlgorithm;
use sigstore_types::DerCertificate;
use x509_cert::Certificate;
use x509_cert::der::Decode as _;
use x509_cert::der::asn1::Utf8StringRef;
use x509_cert::ext::Extension;
use x509_cert::ext::pkix::SubjectAltName;
use x509_cert::ext::pkix::name::GeneralName;

use super::KeylessProof;
use crate::claims::Claim;
use crate::keys::Algorithm;
use crate::module::sha256;
use crate::rejection::Code;
use crate::rejection::Rejection;
use crate::rejection::shown;
use crate::signer::Keyless;
use crate::signer::Signer;
use crate::signer::SignerKind;

/// Fulcio's issuer as bare text, which it has deprecated and still writes (sigstore/fulcio, `docs/oid-info.md`).
const ISSUER_V1: &str = "1.3.6.1.4.1.57264.1.1";
/// Fulcio's issuer as a DER `UTF8String`.
const ISSUER_V2: &str = "1.3.6.1.4.1.57264.1.8";
/// X.509's subject alternative name (RFC 5280 §4.2.1.6).
const SUBJECT_ALT_NAME: &str = "2.5.29.17";

/// The algorithm of the certificate's key. Looked at before the certificate is believed, to know what its signature is over.
pub(crate) fn algorithm(der: &[u8]) -> Result<Algorithm, Rejection> {
    let info =
        sigstore_crypto::parse_certificate_info(&DerCertificate::new(der.to_vec())).map_err(|error| unreadable(&error.to_string()))?;
    match info.key_algorithm {
        KeyAlgorithm::EcdsaP256 => Ok(Algorithm::EcdsaP256),
        KeyAlgorithm::EcdsaP384 => Ok(Algorithm::EcdsaP384),
        KeyAlgorithm::Ed25519 => Ok(Algorithm::Ed25519),
        other => Err(Rejection::new(Code::Algorithm, "a certificate for an ECDSA P-256, P-384 or Ed25519 key", format!("`{other:?}`"))),
    }
}

fn unreadable(found: &str) -> Rejection {
    Rejection::new(Code::CertificateChain, "a certificate (RFC 5280) as Fulcio issues them", shown(found))
}

/// What a verified certificate says, if it says it once.
pub(super) fn names(der: &[u8], info: &CertificateInfo) -> Result<KeylessProof, Rejection> {
    let certificate = Certificate::from_der(der).map_err(|error| unreadable(&error.to_string()))?;
    let extensions = certificate.tbs_certificate.extensions.unwrap_or_default();
    each_once(&extensions)?;
    let identity = one_name(&extensions)?;
    let issuer = one_issuer(&extensions)?;
    // What the library has matched times and keys with must be what is matched with the policy here.
    if info.identity.as_ref().map(|name| name.as_str()) != Some(identity.as_str()) || info.issuer.as_deref() != Some(issuer.as_str()) {
        return Err(Rejection::new(Code::CertificateChain, "one identity and one issuer", "a certificate that can be read in two ways"));
    }
    Ok(KeylessProof { identity, issuer, claims: Claim::all_of(&info.ci_claims), certificate_sha256: hex::encode(sha256(der)) })
}

/// RFC 5280 §4.2: a certificate must not include more than one instance of an extension.
fn each_once(extensions: &[Extension]) -> Result<(), Rejection> {
    let mut seen = BTreeSet::new();
    match extensions.iter().find(|extension| !seen.insert(extension.extn_id)) {
        None => Ok(()),
        Some(twice) => Err(Rejection::new(Code::CertificateChain, "each extension once", format!("`{}` twice", twice.extn_id))),
    }
}

fn extension<'a>(extensions: &'a [Extension], oid: &str) -> Option<&'a [u8]> {
    extensions.iter().find(|extension| extension.extn_id.to_string() == oid).map(|extension| extension.extn_value.as_bytes())
}

fn one_name(extensions: &[Extension]) -> Result<String, Rejection> {
    let refuse =
        |found: String| Err(Rejection::new(Code::CertificateChain, "an e-mail address or a URI as the certificate's only name", found));
    let Some(der) = extension(extensions, SUBJECT_ALT_NAME) else {
        return refuse("no name".into());
    };
    let names = SubjectAltName::from_der(der).map_err(|error| unreadable(&error.to_string()))?.0;
    let text = match names.as_slice() {
        [GeneralName::Rfc822Name(email)] => email.as_str(),
        [GeneralName::UniformResourceIdentifier(uri)] => uri.as_str(),
        [_] => return refuse("a name of another kind".into()),
        several => return refuse(format!("{} names", several.len())),
    };
    if text.is_empty() || text.chars().any(char::is_control) {
        return refuse(shown(text));
    }
    Ok(text.to_owned())
}

/// The issuer, which a certificate may give in the old and in the new extension. If it does, they must agree.
fn one_issuer(extensions: &[Extension]) -> Result<String, Rejection> {
    let new = match extension(extensions, ISSUER_V2) {
        Some(der) => Some(Utf8StringRef::from_der(der).map_err(|error| unreadable(&error.to_string()))?.as_str().to_owned()),
        None => None,
    };
    let old = match extension(extensions, ISSUER_V1) {
        Some(bytes) => {
            let text = Utf8StringRef::from_der(bytes).map(|text| text.as_str().to_owned()).ok();
            match text.or_else(|| String::from_utf8(bytes.to_vec()).ok()) {
                Some(text) => Some(text),
                None => return Err(unreadable("an issuer that is not UTF-8")),
            }
        }
        None => None,
    };
    match (new, old) {
        (Some(new), Some(old)) if new != old => Err(Rejection::new(
            Code::CertificateChain,
            "the same issuer in both issuer extensions",
            format!("{} and {}", shown(&new), shown(&old)),
        )),
        (Some(issuer), _) | (None, Some(issuer)) => Ok(issuer),
        (None, None) => Err(Rejection::new(Code::Issuer, "an issuer in the certificate", "none")),
    }
}

/// The places of all signers that the certificate is of, or why it is nobody's. Of all near misses the nearest is told.
pub(super) fn matching(said: &KeylessProof, signers: &[Signer]) -> Result<Vec<usize>, Rejection> {
    let mut places = Vec::new();
    let (mut other_claim, mut other_issuer) = (None, None);
    for (place, signer) in signers.iter().enumerate() {
        let SignerKind::Keyless(wanted) = &signer.kind else { continue };
        if !wanted.identity.matches(&said.identity) {
            continue;
        }
        if wanted.issuer != said.issuer {
            other_issuer.get_or_insert_with(|| issuer(wanted, said));
            continue;
        }
        match wanted.claims.iter().find(|(claim, pattern)| !said.claims.get(claim.as_str()).is_some_and(|value| pattern.matches(value))) {
            None => places.push(place),
            Some((name, pattern)) => {
                let found = said.claims.get(name.as_str()).map_or_else(|| "no such claim".to_owned(), |value| shown(value));
                other_claim.get_or_insert_with(|| {
                    Rejection::new(Code::Claim, format!("`{name}` of signer `{}` as `{pattern}`", signer.id), found)
                });
            }
        }
    }
    if !places.is_empty() {
        return Ok(places);
    }
    Err(other_claim.or(other_issuer).unwrap_or_else(|| {
        Rejection::new(Code::Identity, known(signers), format!("{} from {}", shown(&said.identity), shown(&said.issuer)))
    }))
}

fn issuer(wanted: &Keyless, said: &KeylessProof) -> Rejection {
    Rejection::new(Code::Issuer, format!("`{}` from `{}`", wanted.identity, wanted.issuer), shown(&said.issuer))
}

/// The identities that would be accepted.
pub(super) fn known(signers: &[Signer]) -> String {
    const LISTED: usize = 3;
    let all: Vec<String> = signers
        .iter()
        .filter_map(|signer| match &signer.kind {
            SignerKind::Keyless(keyless) => Some(keyless.to_string()),
            SignerKind::Key(_) => None,
        })
        .collect();
    let more = all.len().saturating_sub(LISTED);
    let more = if more == 0 { String::new() } else { format!(" or {more} more") };
    format!("{}{more}", all.into_iter().take(LISTED).collect::<Vec<_>>().join(" or "))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]
    use x509_cert::der::Encode as _;
    use x509_cert::der::asn1::Ia5String;
    use x509_cert::der::asn1::OctetString;

    use super::*;

    fn extension(oid: &str, value: &[u8]) -> Extension {
        Extension { extn_id: oid.parse().unwrap(), critical: false, extn_value: OctetString::new(value).unwrap() }
    }

    fn named(names: Vec<GeneralName>) -> Extension {
        extension(SUBJECT_ALT_NAME, &SubjectAltName(names).to_der().unwrap())
    }

    fn email(text: &str) -> GeneralName {
        GeneralName::Rfc822Name(Ia5String::new(text).unwrap())
    }

    fn uri(text: &str) -> GeneralName {
        GeneralName::UniformResourceIdentifier(Ia5String::new(text).unwrap())
    }

    #[test]
    fn certificate_has_exactly_one_name_of_a_kind_that_is_understood() {
        assert_eq!(one_name(&[named(vec![email("ann@acme.example")])]).unwrap(), "ann@acme.example");
        assert_eq!(one_name(&[named(vec![uri("https://acme.example")])]).unwrap(), "https://acme.example");
        let dns = GeneralName::DnsName(Ia5String::new("acme.example").unwrap());
        for (names, found) in [
            (vec![], "0 names"),
            (vec![email("ann@acme.example"), email("eve@evil.example")], "2 names"),
            (vec![email("ann@acme.example"), dns.clone()], "2 names"),
            (vec![dns], "a name of another kind"),
            (vec![email("")], "``"),
            (vec![email("ann@acme.example\u{7}")], "`ann@acme.example\\u{7}`"),
        ] {
            let rejection = one_name(&[named(names)]).unwrap_err();
            assert_eq!((rejection.code, rejection.found.as_str()), (Code::CertificateChain, found));
        }
        assert_eq!(one_name(&[]).unwrap_err().found, "no name");
        assert_eq!(one_name(&[extension(SUBJECT_ALT_NAME, b"\x30\x05")]).unwrap_err().code, Code::CertificateChain);
    }

    #[test]
    fn issuers_old_and_new_form_must_agree() {
        let new = |text: &str| extension(ISSUER_V2, &Utf8StringRef::new(text).unwrap().to_der().unwrap());
        let old = |text: &str| extension(ISSUER_V1, text.as_bytes());
        assert_eq!(one_issuer(&[new("https://a")]).unwrap(), "https://a");
        assert_eq!(one_issuer(&[old("https://a")]).unwrap(), "https://a");
        assert_eq!(one_issuer(&[old("https://a"), new("https://a")]).unwrap(), "https://a");
        assert_eq!(one_issuer(&[old("https://a"), new("https://b")]).unwrap_err().code, Code::CertificateChain);
        assert_eq!(one_issuer(&[extension(ISSUER_V2, b"https://a")]).unwrap_err().code, Code::CertificateChain);
        assert_eq!(one_issuer(&[extension(ISSUER_V1, b"\xff")]).unwrap_err().code, Code::CertificateChain);
        assert_eq!(one_issuer(&[]).unwrap_err().code, Code::Issuer);
    }

    #[test]
    fn extension_that_stands_twice_is_refused() {
        let twice = [extension(ISSUER_V1, b"a"), extension(ISSUER_V2, b""), extension(ISSUER_V1, b"b")];
        assert_eq!(each_once(&twice).unwrap_err().code, Code::CertificateChain);
        assert!(each_once(&twice[..2]).is_ok());
    }

    #[test]
    fn nearest_miss_is_told() {
        let said = |identity: &str, issuer: &str| KeylessProof {
            identity: identity.into(),
            issuer: issuer.into(),
            claims: [("repository-id".to_owned(), "1".to_owned())].into(),
            certificate_sha256: String::new(),
        };
        let signer = |id: &str, issuer: &str, claims| {
            Signer::keyless(id, Keyless { issuer: issuer.into(), identity: "https://ci/build@*".parse().unwrap(), claims })
        };
        let signers = [
            signer("other", "https://b", vec![]),
            signer("one", "https://a", vec![(Claim::RepositoryId, "1".parse().unwrap())]),
            signer("two", "https://a", vec![(Claim::RepositoryId, "2".parse().unwrap())]),
        ];
        assert_eq!(matching(&said("https://ci/build@v1", "https://a"), &signers).unwrap(), [1]);
        assert_eq!(matching(&said("https://ci/build@v1", "https://a"), &signers[2..]).unwrap_err().code, Code::Claim);
        assert_eq!(matching(&said("https://ci/build@v1", "https://a"), &signers[..1]).unwrap_err().code, Code::Issuer);
        assert_eq!(matching(&said("https://ci/build@v1", "https://c"), &signers).unwrap_err().code, Code::Issuer);
        assert_eq!(matching(&said("https://ci/other@v1", "https://a"), &signers).unwrap_err().code, Code::Identity);
    }
}
