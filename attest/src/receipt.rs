//! The receipt of an admission: an in-toto statement by this gateway, one line, for the journal and whoever asks later.
//!
//! Runs in: daemon, CLI.
//! Invariant: at most [`MAX_RECEIPT`] bytes, whatever was proved; what was left out is counted in it. The same admission at the same second gives the same line.
//! Does not: sign itself. The journal that holds it is what makes it hard to change.

use std::collections::BTreeMap;
use std::collections::BTreeSet;
use std::fmt;

use serde::Serialize;

use crate::admit::Admission;
use crate::admit::Met;
use crate::evidence::LogEntry;
use crate::evidence::Proof;
use crate::evidence::ProvedTime;
use crate::module::ModuleDigest;
use crate::module::VerifiedModule;
use crate::statement::STATEMENT_V1;
use crate::time::Time;

/// The longest receipt, in bytes.
pub const MAX_RECEIPT: usize = 8192;

/// Its `predicateType`: Simple Verification Result (in-toto attestation framework, `spec/predicates/svr.md`).
pub const RECEIPT_V1: &str = "https://in-toto.io/attestation/svr/v0.1";

/// Who wrote it. The number rises when what is checked changes materially.
const VERIFIER: &str = "https://edgeguard.dev/verifier/v1";

/// The longest text of a vendor's that is repeated, in characters.
const MAX_TEXT: usize = 256;

/// One line of JSON, without its newline.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Receipt {
    json: String,
}

impl Receipt {
    /// The line.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.json
    }
}

impl fmt::Display for Receipt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.json)
    }
}

impl VerifiedModule {
    /// What was admitted, on whose word, under which policy (the SHA-256 of its text), and when.
    ///
    /// `admitted_at` is what this host believes, such as [`Clock::now_at_least`](crate::Clock::now_at_least).
    #[must_use]
    pub fn receipt(&self, policy_sha256: [u8; 32], admitted_at: Time) -> Receipt {
        let admission = self.admission();
        // Claims are what vendors make long; times and log entries what evidence is made of. What goes first is what is missed least.
        [Detail::All, Detail::NoClaims, Detail::NoTimes, Detail::First(4), Detail::First(1)]
            .into_iter()
            .filter_map(|detail| serde_json::to_string(&statement(self.digest(), admission, policy_sha256, admitted_at, detail)).ok())
            .find(|json| json.len() <= MAX_RECEIPT)
            .map_or_else(|| least(self.digest(), policy_sha256, admitted_at), |json| Receipt { json })
    }
}

/// How much is told.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Detail {
    All,
    NoClaims,
    NoTimes,
    First(usize),
}

/// Digests and time alone: what remains true and fits, were everything else too long.
fn least(digest: ModuleDigest, policy_sha256: [u8; 32], admitted_at: Time) -> Receipt {
    let policy = hex::encode(policy_sha256);
    let json = format!(
        r#"{{"_type":"{STATEMENT_V1}","subject":[{{"digest":{{"sha256":"{digest}"}}}}],"predicateType":"{RECEIPT_V1}","predicate":{{"verifier":{{"id":"{VERIFIER}","policy":{{"digest":{{"sha256":"{policy}"}}}}}},"timeCreated":"{admitted_at}","properties":["EDGEGUARD_ADMITTED"],"edgeguard_admission":{{"omitted":"all"}}}}}}"#
    );
    Receipt { json }
}

fn statement(digest: ModuleDigest, admission: &Admission, policy: [u8; 32], at: Time, detail: Detail) -> Statement<'_> {
    let listed = match detail {
        Detail::First(count) => count,
        _ => usize::MAX,
    };
    let met: BTreeSet<String> =
        admission.met.iter().map(|met| format!("EDGEGUARD_{}", met.statement.to_uppercase().replace('-', "_"))).collect();
    let properties = std::iter::once("EDGEGUARD_ADMITTED".to_owned()).chain(met).collect();
    Statement {
        kind: STATEMENT_V1,
        subject: [Subject { name: cut(&admission.slot), digest: Digest { sha256: digest.to_string() } }],
        predicate_type: RECEIPT_V1,
        predicate: Predicate {
            verifier: Verifier {
                id: VERIFIER,
                version: BTreeMap::from([("edgeguard", env!("CARGO_PKG_VERSION"))]),
                policy: Policy { digest: Digest { sha256: hex::encode(policy) } },
            },
            time_created: at,
            properties,
            admission: Details {
                admitted_before: !admission.new,
                version: admission.release.as_ref().map(|release| release.version),
                trust_material: hex::encode(admission.trust),
                revocation_list: admission.revocation_list,
                requirements: admission.met.iter().take(listed).map(requirement).collect(),
                requirements_omitted: admission.met.len().saturating_sub(listed),
                bundles: bundles(admission, detail).take(listed).collect(),
                bundles_omitted: admission.bundles.len().saturating_sub(listed),
            },
        },
    }
}

fn requirement(met: &Met) -> Requirement<'_> {
    const LISTED: usize = 8;
    Requirement {
        statement: met.statement,
        threshold: met.threshold,
        signers: met.signers.iter().take(LISTED).map(|id| cut(id)).collect(),
        signers_omitted: met.signers.len().saturating_sub(LISTED),
    }
}

fn bundles(admission: &Admission, detail: Detail) -> impl Iterator<Item = Bundle<'_>> {
    admission.bundles.iter().zip(&admission.proofs).zip(&admission.kinds).map(move |(((name, sha256), proof), kind)| Bundle {
        name: cut(name),
        sha256: hex::encode(sha256),
        statement: kind.as_str(),
        evidence: evidence(proof, detail),
    })
}

fn evidence(proof: &Proof, detail: Detail) -> Evidence<'_> {
    let claims = proof.keyless.as_ref().map(|keyless| &keyless.claims);
    let told = claims.filter(|_| detail < Detail::NoClaims);
    let times: &[ProvedTime] = if detail < Detail::NoTimes { &proof.times } else { &[] };
    Evidence {
        signer: cut(&proof.signer),
        key: proof.key.map(|key| key.to_string()),
        algorithm: proof.algorithm.as_str(),
        identity: proof.keyless.as_ref().map(|keyless| cut(&keyless.identity)),
        issuer: proof.keyless.as_ref().map(|keyless| cut(&keyless.issuer)),
        certificate_sha256: proof.keyless.as_ref().map(|keyless| keyless.certificate_sha256.as_str()),
        claims: told.map(|claims| claims.iter().map(|(name, value)| (name.as_str(), cut(value))).collect()).unwrap_or_default(),
        claims_omitted: claims.map_or(0, BTreeMap::len).saturating_sub(told.map_or(0, BTreeMap::len)),
        times,
        times_omitted: proof.times.len().saturating_sub(times.len()),
        log: proof.log.as_ref(),
    }
}

/// A vendor's text, cut with a mark where it was longer.
fn cut(text: &str) -> String {
    if text.chars().count() <= MAX_TEXT {
        return text.to_owned();
    }
    text.chars().take(MAX_TEXT).chain(['…']).collect()
}

// The wire shape. Fields beyond the specification stand under one name of our own, as in-toto's rules for extensions have it.

#[derive(Serialize)]
struct Statement<'a> {
    #[serde(rename = "_type")]
    kind: &'static str,
    subject: [Subject; 1],
    #[serde(rename = "predicateType")]
    predicate_type: &'static str,
    predicate: Predicate<'a>,
}

#[derive(Serialize)]
struct Subject {
    name: String,
    digest: Digest,
}

#[derive(Serialize)]
struct Digest {
    sha256: String,
}

#[derive(Serialize)]
struct Predicate<'a> {
    verifier: Verifier,
    #[serde(rename = "timeCreated")]
    time_created: Time,
    properties: Vec<String>,
    #[serde(rename = "edgeguard_admission")]
    admission: Details<'a>,
}

#[derive(Serialize)]
struct Verifier {
    id: &'static str,
    version: BTreeMap<&'static str, &'static str>,
    policy: Policy,
}

#[derive(Serialize)]
struct Policy {
    digest: Digest,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Details<'a> {
    admitted_before: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    version: Option<u64>,
    trust_material: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    revocation_list: Option<u64>,
    requirements: Vec<Requirement<'a>>,
    #[serde(skip_serializing_if = "none")]
    requirements_omitted: usize,
    bundles: Vec<Bundle<'a>>,
    #[serde(skip_serializing_if = "none")]
    bundles_omitted: usize,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Requirement<'a> {
    statement: &'a str,
    threshold: u32,
    signers: Vec<String>,
    #[serde(skip_serializing_if = "none")]
    signers_omitted: usize,
}

#[derive(Serialize)]
struct Bundle<'a> {
    name: String,
    sha256: String,
    statement: &'static str,
    evidence: Evidence<'a>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Evidence<'a> {
    signer: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    key: Option<String>,
    algorithm: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    identity: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    issuer: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    certificate_sha256: Option<&'a str>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    claims: BTreeMap<&'a str, String>,
    #[serde(skip_serializing_if = "none")]
    claims_omitted: usize,
    #[serde(skip_serializing_if = "<[ProvedTime]>::is_empty")]
    times: &'a [ProvedTime],
    #[serde(skip_serializing_if = "none")]
    times_omitted: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    log: Option<&'a LogEntry>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "the signature is serde's")]
fn none(count: &usize) -> bool {
    *count == 0
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]
    use super::*;
    use crate::evidence::KeylessProof;
    use crate::evidence::TimeSource;
    use crate::keys::Algorithm;
    use crate::module::Form;
    use crate::statement::StatementKind;

    fn proof(bytes_of_claims: usize) -> Proof {
        let claims = (0..14).map(|place| (format!("claim-{place}"), "x".repeat(bytes_of_claims))).collect();
        Proof {
            signer: "ci".into(),
            key: None,
            key_name: "ci".into(),
            algorithm: Algorithm::EcdsaP256,
            form: Form::Dsse,
            keyless: Some(KeylessProof {
                identity: "i".repeat(1000),
                issuer: "u".repeat(1000),
                claims,
                certificate_sha256: "00".repeat(32),
            }),
            times: vec![ProvedTime { time: Time(1_795_380_600), source: TimeSource::Timestamp }; 4],
            log: None,
        }
    }

    #[test]
    fn the_longest_admission_has_a_receipt_within_the_bound_that_counts_what_it_leaves_out() {
        let signers: Vec<String> = (0..64).map(|place| format!("{place}-{}", "\u{1}".repeat(400))).collect();
        for (bundles, requirements, claims) in [(1, 1, 10), (8, 1, 40), (8, 2, 1000), (8, 16, 1000)] {
            let met =
                Met { statement: "release", threshold: 1, signers: if requirements > 2 { signers.clone() } else { vec!["ci".into()] } };
            let admission = Admission::for_receipts(proof(claims), bundles, vec![met; requirements]);
            let levels: Vec<usize> = [Detail::All, Detail::NoClaims, Detail::NoTimes, Detail::First(4), Detail::First(1)]
                .into_iter()
                .map(|detail| serde_json::to_string(&statement(ModuleDigest([1; 32]), &admission, [2; 32], Time(0), detail)).unwrap().len())
                .collect();
            assert!(levels.is_sorted_by(|more, less| more >= less), "each level tells less: {levels:?}");
            let module = VerifiedModule::for_receipts(admission);
            let receipt = module.receipt([2; 32], Time(1_795_380_600));
            assert!(receipt.as_str().len() <= MAX_RECEIPT);
            assert!(!receipt.as_str().contains('\n'));
            let json: serde_json::Value = serde_json::from_str(receipt.as_str()).unwrap();
            assert_eq!(json["predicate"]["verifier"]["policy"]["digest"]["sha256"], "02".repeat(32));
            let details = &json["predicate"]["edgeguard_admission"];
            if levels[0] > MAX_RECEIPT {
                assert!(receipt.as_str().contains("mitted\":"), "it says that something is missing: {details}");
                assert!(["claimsOmitted", "bundlesOmitted", "omitted"].iter().any(|word| receipt.as_str().contains(word)));
            } else {
                assert_eq!(details["bundles"].as_array().unwrap().len(), bundles);
                assert!(!receipt.as_str().contains("mitted\":{") && !receipt.as_str().contains("Omitted"));
            }
        }
    }

    #[test]
    fn one_admission_has_one_receipt() {
        let line = || {
            let admission = Admission::for_receipts(proof(3), 2, vec![Met { statement: "any", threshold: 1, signers: vec!["ci".into()] }]);
            VerifiedModule::for_receipts(admission).receipt([2; 32], Time(1_795_380_600))
        };
        assert_eq!(line(), line());
        assert!(
            line()
                .as_str()
                .starts_with(r#"{"_type":"https://in-toto.io/Statement/v1","subject":[{"name":"voice-gate","digest":{"sha256":""#)
        );
        assert_eq!(StatementKind::Signature.as_str(), "signature");
    }
}
