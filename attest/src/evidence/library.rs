//! Certificates, logs and timestamps, verified by sigstore-verify behind the strict gate.
//!
//! Runs in: daemon, CLI.
//! Invariant: the library judges exactly what the gate has read, with the one log that the entry names and no other; and whatever
//! it accepts, it says so of every part: chain, certificate log, entry, time.
//! Does not: pass on what the library did not verify, such as a Rekor v2 entry's own time.

use sigstore_crypto::CertificateInfo;
use sigstore_types::Artifact as LibraryArtifact;
use sigstore_types::Bundle;
use sigstore_types::Sha256Hash;
use sigstore_types::SignatureContent;
use sigstore_types::bundle::VerificationMaterialContent;
use sigstore_verify::Policy;
use sigstore_verify::PublicKeyVerificationPolicy;
use sigstore_verify::VerificationPolicy;
use sigstore_verify::VerificationResult;
use sigstore_verify::Verifier;

use super::Artifact;
use super::LogEntry;
use super::ProvedTime;
use super::TimeSource;
use super::fault;
use super::note;
use crate::gate::Content;
use crate::gate::EntryKind;
use crate::gate::GatedBundle;
use crate::gate::GatedEntry;
use crate::gate::SignedBy;
use crate::keys::Algorithm;
use crate::keys::TrustedKey;
use crate::material::Log;
use crate::material::TrustMaterial;
use crate::rejection::Check;
use crate::rejection::Code;
use crate::rejection::Passed;
use crate::rejection::Rejection;
use crate::time::Time;

/// Whose signature it is to be.
#[derive(Clone, Copy)]
pub(crate) enum Who<'a> {
    Key(&'a TrustedKey),
    /// Anybody's with a certificate; who it is, is matched afterwards.
    Certificate {
        algorithm: Algorithm,
    },
}

/// Which logs may have made the bundle's entries.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Logs {
    /// The one that the entry names.
    TheNamed,
    /// Any of the trusted root. For conformance runs, whose old bundles may name several.
    Any,
}

/// What the evidence of a bundle proves.
#[derive(Debug, Default)]
pub(crate) struct Facts {
    pub(crate) times: Vec<ProvedTime>,
    pub(crate) log: Option<LogEntry>,
    pub(crate) certificate: Option<Box<CertificateInfo>>,
}

impl Facts {
    /// Says what was proved, if anything was.
    pub(crate) fn note(&self, passed: &mut Vec<Passed>) {
        if let Some(log) = &self.log {
            note(
                passed,
                Check::Log,
                "an entry that is in its log, and this bundle's",
                format!("entry {} of log {}", log.index, log.log_id),
            );
        }
        if !self.times.is_empty() {
            let times: Vec<String> = self.times.iter().map(|proved| format!("{} by {}", proved.time, proved.source.as_str())).collect();
            note(passed, Check::Time, "proved times within every window", times.join(", "));
        }
    }

    /// What was brought, in a few words.
    pub(crate) fn kinds(&self) -> String {
        let mut kinds = vec!["a signature"];
        if self.certificate.is_some() {
            kinds.push("a certificate");
        }
        if self.log.is_some() {
            kinds.push("a log entry");
        }
        if self.times.iter().any(|proved| proved.source == TimeSource::Timestamp) {
            kinds.push("a timestamp");
        }
        kinds.join(", ")
    }
}

/// Verifies the evidence of `gated`, which was read from the same `bytes`.
pub(crate) fn verify(
    bytes: &[u8],
    gated: &GatedBundle,
    artifact: Artifact<'_>,
    who: Who<'_>,
    material: &TrustMaterial,
    logs: Logs,
) -> Result<Facts, Rejection> {
    if material.is_none() {
        return Err(Rejection::new(Code::UncheckedEvidence, "a key's signature alone, as no trusted root is loaded", evidence_of(gated))
            .next("give a trusted root in the host's file, or sign with a key and without log and timestamp"));
    }
    let bundle = read_again(bytes, gated)?;
    let log = match (logs, gated.entries.first()) {
        (Logs::TheNamed, Some(entry)) => Some(named_log(entry, material)?),
        _ => None,
    };
    let verifier = match (logs, log) {
        (Logs::Any, _) => material.whole(),
        (Logs::TheNamed, Some(log)) => Some(&log.verifier),
        (Logs::TheNamed, None) => material.no_log(),
    };
    let verifier = verifier.ok_or_else(|| Rejection::new(Code::UncheckedEvidence, "trust material", "none"))?;
    let result = judge(verifier, &bundle, gated, artifact, who, material)?;
    let facts = facts(gated, result, who)?;
    if let Some(log) = log {
        log_spoke_in_its_time(log, &facts)?;
    }
    Ok(facts)
}

fn evidence_of(gated: &GatedBundle) -> &'static str {
    match (&gated.signed_by, gated.entries.is_empty()) {
        (SignedBy::Certificate(_), _) => "a signing certificate",
        (SignedBy::Key { .. }, false) => "a transparency log entry",
        (SignedBy::Key { .. }, true) => "an RFC 3161 timestamp",
    }
}

fn named_log<'a>(entry: &GatedEntry, material: &'a TrustMaterial) -> Result<&'a Log, Rejection> {
    material.log(&entry.log_id).ok_or_else(|| {
        Rejection::new(Code::Checkpoint, "an entry of a log that the trusted root names", format!("log `{}`", hex::encode(&entry.log_id)))
    })
}

fn judge(
    verifier: &Verifier,
    bundle: &Bundle,
    gated: &GatedBundle,
    artifact: Artifact<'_>,
    who: Who<'_>,
    material: &TrustMaterial,
) -> Result<VerificationResult, Rejection> {
    let (policy, algorithm): (Box<dyn Policy>, Algorithm) = match who {
        Who::Key(key) => {
            let policy = PublicKeyVerificationPolicy::new(key.der().clone());
            // Without an entry the library would ask for one; with one it is never skipped.
            let policy = if gated.entries.is_empty() && !gated.stamps.is_empty() { policy.skip_tlog_unsafe() } else { policy };
            (Box::new(policy), key.algorithm())
        }
        Who::Certificate { algorithm } => (Box::new(VerificationPolicy::any_identity()), algorithm),
    };
    // A P-256 signature and a statement need only the digest that exists already; the others are over the bytes.
    let needs_bytes = matches!(gated.content, Content::Message { .. }) && algorithm != Algorithm::EcdsaP256;
    let subject = match artifact {
        Artifact::Bytes { bytes, .. } if needs_bytes => LibraryArtifact::from(bytes),
        _ => LibraryArtifact::from(Sha256Hash::new(artifact.sha256())),
    };
    verifier.verify(subject, bundle, &*policy).map_err(|error| fault::explain(&error, gated, artifact, material))
}

/// What the library says it has verified, held against what must be verified.
fn facts(gated: &GatedBundle, result: VerificationResult, who: Who<'_>) -> Result<Facts, Rejection> {
    let by_certificate = matches!(who, Who::Certificate { .. });
    if by_certificate && !(result.certificate_verified() && result.sct_verified()) {
        return Err(Rejection::new(Code::CertificateChain, "a verified certificate", "one that was not verified"));
    }
    if !gated.entries.is_empty() && !result.tlog_verified() {
        return Err(Rejection::new(Code::InclusionProof, "a verified log entry", "one that was not verified"));
    }
    let mut logged = result.integrated_time().map(|time| Time(time.as_second()));
    let mut times = Vec::new();
    for time in result.verified_timestamps() {
        let time = Time(time.as_second());
        // The library gives all times in one list: the log's, if the log gave one, and each timestamp's.
        let source = if logged == Some(time) { TimeSource::Log } else { TimeSource::Timestamp };
        if source == TimeSource::Log {
            logged = None;
        }
        times.push(ProvedTime { time, source });
    }
    if by_certificate && times.is_empty() {
        return Err(Rejection::new(Code::NoTrustedTime, "a proved time, as a keyless bundle needs one", "none"));
    }
    let stamped = times.iter().filter(|proved| proved.source == TimeSource::Timestamp).count();
    if stamped < gated.stamps.len() {
        return Err(Rejection::new(Code::Timestamp, format!("{} verified timestamps", gated.stamps.len()), stamped.to_string()));
    }
    let log = gated.entries.first().map(|entry| LogEntry { log_id: hex::encode(&entry.log_id), index: entry.index });
    Ok(Facts { times, log, certificate: result.certificate().cloned().map(Box::new) })
}

/// A Rekor v2 log dates nothing itself, so the library does not ask whether it was still trusted at the time a timestamp proves.
fn log_spoke_in_its_time(log: &Log, facts: &Facts) -> Result<(), Rejection> {
    match facts.times.iter().find(|proved| !log.window.contains(proved.time)) {
        None => Ok(()),
        Some(outside) => Err(Rejection::new(
            Code::TimeOutside,
            format!("an entry that log `{}` made {}", log.name, log.window),
            format!("one for a signature that existed at {}", outside.time),
        )),
    }
}

/// The library's own reading of the bundle. The gate leaves nothing that could be read in two ways; this holds it to that.
fn read_again(bytes: &[u8], gated: &GatedBundle) -> Result<Bundle, Rejection> {
    let unreadable = |found: String| Rejection::new(Code::Malformed, "a bundle that the verifying library reads", found);
    let text = std::str::from_utf8(bytes).map_err(|error| unreadable(error.to_string()))?;
    let bundle = Bundle::from_json(text).map_err(|error| unreadable(crate::rejection::shown(&error.to_string())))?;
    if same(&bundle, gated) { Ok(bundle) } else { Err(unreadable("one that it reads in another way".into())) }
}

fn same(bundle: &Bundle, gated: &GatedBundle) -> bool {
    let material = &bundle.verification_material;
    let signer = match (&gated.signed_by, &material.content) {
        (SignedBy::Key { hint }, VerificationMaterialContent::PublicKey(key)) => key.hint == *hint,
        (SignedBy::Certificate(der), _) => bundle.signing_certificate().is_some_and(|certificate| certificate.as_bytes() == der),
        (SignedBy::Key { .. }, _) => false,
    };
    let content = match (&gated.content, &bundle.content) {
        (Content::Message { digest, signature }, SignatureContent::MessageSignature(message)) => {
            message.signature.as_bytes() == signature
                && message.message_digest.as_ref().map(|digest| digest.digest.as_bytes())
                    == digest.as_ref().map(|(_, bytes)| bytes.as_slice())
        }
        (Content::Dsse { payload, signature }, SignatureContent::DsseEnvelope(envelope)) => {
            envelope.payload.as_bytes() == payload && envelope.signature.sig.as_bytes() == signature
        }
        _ => false,
    };
    let stamps = &material.timestamp_verification_data.rfc3161_timestamps;
    signer
        && content
        && material.tlog_entries.len() == gated.entries.len()
        && material.tlog_entries.iter().zip(&gated.entries).all(|(read, gated)| same_entry(read, gated))
        && stamps.len() == gated.stamps.len()
        && stamps.iter().zip(&gated.stamps).all(|(read, gated)| read.signed_timestamp.as_bytes() == gated)
}

fn same_entry(read: &sigstore_types::TransparencyLogEntry, gated: &GatedEntry) -> bool {
    let kind = match gated.kind {
        EntryKind::HashedRekordV1 => sigstore_types::KindVersion::HashedRekordV001,
        EntryKind::DsseV1 => sigstore_types::KindVersion::DsseV001,
        EntryKind::IntotoV1 => sigstore_types::KindVersion::IntotoV002,
        EntryKind::HashedRekordV2 => sigstore_types::KindVersion::HashedRekordV002,
    };
    read.log_id.key_id.as_bytes() == gated.log_id
        && read.log_index.get() == gated.index
        && read.kind_version == kind
        && read.integrated_time.and_then(|time| u64::try_from(time.as_second()).ok()) == gated.integrated_time
        && read.inclusion_promise.is_some() == gated.promised
        && read.inclusion_proof.is_some() == gated.proved
        && read.canonicalized_body.as_bytes() == gated.body
}
