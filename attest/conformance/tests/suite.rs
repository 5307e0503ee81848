//! The cases of sigstore's conformance suite, made anew: each bears the name of the suite's directory, is wrong in the way its
//! README says, and must get the suite's verdict of the client, by path and by digest. `_fail` in a name means that verification must fail.
//!
//! Not the suite's own files: those are of the public instances, whose real bundles are in `real.rs`.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use std::path::Path;
use std::process::Command;

use edgeguard_attest::Code;
use edgeguard_virtual_sigstore::Format;
use edgeguard_virtual_sigstore::Instance;
use edgeguard_virtual_sigstore::Key;
use edgeguard_virtual_sigstore::Logged;
use edgeguard_virtual_sigstore::SIGNED_AT;
use edgeguard_virtual_sigstore::Spec;
use edgeguard_virtual_sigstore::Stamp;
use edgeguard_virtual_sigstore::Tamper;
use edgeguard_virtual_sigstore::Validity;
use edgeguard_virtual_sigstore::rfc3339;
use edgeguard_virtual_sigstore::sha256;
use serde_json::Value;
use serde_json::json;

const ARTIFACT: &[u8] = b"DO NOT MODIFY ME!\n\nthis is \"a.txt\", a sample input\n";
const IDENTITY: &str = "https://ci.example/beacon/.github/workflows/beacon.yml@refs/heads/main";
const ISSUER: &str = "https://token.actions.example";

/// What one case gives to the client.
struct Trial {
    sigstore: Instance,
    bundle: Vec<u8>,
    root: Value,
    artifact: Vec<u8>,
    key: Option<Key>,
}

impl Trial {
    /// Of a bundle that the instance of the suite makes, under that instance's root.
    fn of(spec: Spec) -> Self {
        Self::by(Instance::new("conformance"), spec)
    }

    fn by(sigstore: Instance, spec: Spec) -> Self {
        let bundle = sigstore.sign(ARTIFACT, &spec);
        let root = sigstore.trusted_root();
        Self { sigstore, bundle: bundle.to_string().into_bytes(), root, artifact: ARTIFACT.to_vec(), key: None }
    }

    fn root(mut self, change: impl FnOnce(&mut Value)) -> Self {
        change(&mut self.root);
        self
    }

    fn bundle(mut self, change: impl FnOnce(&mut Value)) -> Self {
        let mut bundle = serde_json::from_slice(&self.bundle).unwrap();
        change(&mut bundle);
        self.bundle = bundle.to_string().into_bytes();
        self
    }

    fn key(mut self, name: &str) -> Self {
        self.key = Some(Key::p256(name));
        self
    }

    fn artifact(mut self, other: &[u8]) -> Self {
        self.artifact = other.to_vec();
        self
    }

    /// By path and by digest: the suite runs each case both ways.
    fn verdicts(&self, options: &[&str]) -> [Verdict; 2] {
        let folder = tempfile::tempdir().unwrap();
        let file = |name: &str, bytes: &[u8]| {
            let path = folder.path().join(name);
            std::fs::write(&path, bytes).unwrap();
            path.to_str().unwrap().to_owned()
        };
        let bundle = file("bundle.sigstore.json", &self.bundle);
        let root = file("trusted_root.json", self.root.to_string().as_bytes());
        let by = match &self.key {
            Some(key) => vec!["--key".to_owned(), file("key.pub", key.public_pem().as_bytes())],
            None => ["--certificate-identity", IDENTITY, "--certificate-oidc-issuer", ISSUER].map(str::to_owned).to_vec(),
        };
        let what = [file("artifact", &self.artifact), format!("sha256:{}", hex::encode(sha256(&self.artifact)))];
        what.map(|what| {
            let mut client = Command::new(Path::new(env!("CARGO_BIN_EXE_edgeguard-conformance")));
            client
                .env_clear()
                .args(["verify-bundle", "--bundle", &bundle])
                .args(&by)
                .args(["--trusted-root", &root])
                .args(options)
                .arg(what);
            let output = client.output().unwrap();
            let error = String::from_utf8(output.stderr).unwrap();
            match output.status.code() {
                Some(0) => Ok(()),
                Some(3) => Err(error),
                other => panic!("the client ended with {other:?}: {error}"),
            }
        })
    }
}

/// Verified, or the client's words.
type Verdict = Result<(), String>;

/// What the strict client says; the other one must say what the name says.
#[derive(Clone, Copy)]
enum Strict {
    Verified,
    Refused(Code),
}

use Strict::Refused;
use Strict::Verified;

type Case = (&'static str, Strict, fn() -> Trial);

fn message() -> Spec {
    Spec::workflow(IDENTITY, ISSUER)
}

fn statement_text(kind: Option<&str>) -> String {
    let mut statement = json!({
        "subject": [{ "name": "a.txt", "digest": { "sha256": hex::encode(sha256(ARTIFACT)) } }],
        "predicateType": "https://slsa.dev/provenance/v1",
        "predicate": {},
    });
    if let Some(kind) = kind {
        statement["_type"] = json!(kind);
    }
    statement.to_string()
}

fn dsse() -> Spec {
    message().statement(statement_text(Some("https://in-toto.io/Statement/v1")))
}

fn intoto() -> Spec {
    dsse().logged(Logged::V1Intoto).format(Format::V02)
}

/// A Rekor v2 bundle with this timestamp alone.
fn stamped(stamp: Stamp) -> Spec {
    message().logged(Logged::V2).stamp(stamp)
}

fn good() -> Stamp {
    Stamp::at(SIGNED_AT + 4)
}

fn lying(lie: Tamper) -> Trial {
    Trial::of(message().lie(lie))
}

fn lying2(lie: Tamper) -> Trial {
    Trial::of(message().rekor2().lie(lie))
}

fn by_key() -> Spec {
    Spec::key(Key::p256("managed"))
}

/// The log entry, and the promise with it, of a bundle that was honestly made otherwise.
fn with_entry_of(mut trial: Trial, other: &Value) -> Trial {
    let mut bundle: Value = serde_json::from_slice(&trial.bundle).unwrap();
    bundle["verificationMaterial"]["tlogEntries"] = other["verificationMaterial"]["tlogEntries"].clone();
    trial.bundle = bundle.to_string().into_bytes();
    trial
}

const CASES: &[Case] = &[
    ("bundle-empty-certificate-chain_fail", Refused(Code::BundleVersion), || {
        Trial::of(message().format(Format::V02))
            .bundle(|bundle| bundle["verificationMaterial"]["x509CertificateChain"]["certificates"] = json!([]))
    }),
    ("bundle-from-wrong-instance_fail", Refused(Code::Checkpoint), || {
        let mut trial = Trial::by(Instance::new("staging"), message());
        trial.root = Instance::new("conformance").trusted_root();
        trial
    }),
    ("bundle-invalid-base64-signature_fail", Refused(Code::Malformed), || {
        Trial::of(message()).bundle(|bundle| bundle["messageSignature"]["signature"] = json!("not base64!"))
    }),
    ("bundle-malformed-json_fail", Refused(Code::Malformed), || {
        let mut trial = Trial::of(message());
        trial.bundle.pop();
        trial
    }),
    ("bundle-negative-log-index_fail", Refused(Code::Malformed), || {
        Trial::of(message()).bundle(|bundle| bundle["verificationMaterial"]["tlogEntries"][0]["logIndex"] = json!("-1"))
    }),
    ("bundle-unknown-version_fail", Refused(Code::BundleVersion), || {
        lying(Tamper::MediaType("application/vnd.dev.sigstore.bundle+json;version=99.9"))
    }),
    ("bundle-with-root-cert_fail", Refused(Code::BundleVersion), || {
        let sigstore = Instance::new("conformance");
        let mut spec = message().format(Format::V02);
        spec.chain = vec![sigstore.fulcio.intermediate.clone(), sigstore.fulcio.root.clone()];
        Trial::by(sigstore, spec)
    }),
    ("bundle-with-sct-with-extensions", Verified, || lying(Tamper::SctWithExtensions)),
    ("checkpoint-bad-keyhint_fail", Refused(Code::Checkpoint), || lying(Tamper::CheckpointByStranger)),
    ("checkpoint-wrong-roothash_fail", Refused(Code::Checkpoint), || lying(Tamper::CheckpointOfAnotherTree)),
    ("cve-2022-36056-swapped-tlog-entry_fail", Refused(Code::EntryMismatch), || {
        let trial = Trial::of(message());
        let other = trial.sigstore.sign(b"another artifact", &message());
        with_entry_of(trial, &other)
    }),
    ("dsse-invalid-sig_fail", Refused(Code::Signature), || Trial::of(dsse().lie(Tamper::SignedByAnotherKey))),
    ("dsse-mismatch-envelope_fail", Refused(Code::EntryMismatch), || Trial::of(dsse().lie(Tamper::LoggedDigest))),
    ("dsse-mismatch-sig_fail", Refused(Code::EntryMismatch), || Trial::of(dsse().lie(Tamper::LoggedSignature))),
    ("dsse-statement-missing-type_fail", Refused(Code::Malformed), || {
        Trial::of(by_key().statement(statement_text(None)).rekor2()).key("managed")
    }),
    ("dsse-statement-unknown-type_fail", Refused(Code::StatementType), || {
        Trial::of(by_key().statement(statement_text(Some("https://in-toto.io/Statement/v2"))).rekor2()).key("managed")
    }),
    ("dsse-with-hashedrekord-happy-path", Verified, || Trial::of(dsse().rekor2())),
    ("dsse-with-hashedrekord-invalid-sig_fail", Refused(Code::Signature), || Trial::of(dsse().rekor2().lie(Tamper::SignedByAnotherKey))),
    ("dsse-with-hashedrekord-mismatch-envelope_fail", Refused(Code::EntryMismatch), || {
        Trial::of(dsse().rekor2().lie(Tamper::LoggedDigest))
    }),
    ("dsse-with-hashedrekord-mismatch-sig_fail", Refused(Code::EntryMismatch), || Trial::of(dsse().rekor2().lie(Tamper::LoggedSignature))),
    ("happy-path-intoto-in-dsse-v3", Verified, || Trial::of(dsse())),
    ("happy-path-v0.1", Refused(Code::BundleVersion), || Trial::of(message().format(Format::V01))),
    ("happy-path-v0.2", Refused(Code::BundleVersion), || Trial::of(message().format(Format::V02))),
    ("happy-path-v0.3", Verified, || Trial::of(message().format(Format::V03Parameter))),
    ("happy-path-v0.3-new-mediaType", Verified, || Trial::of(message())),
    ("inclusion-proof-corrupted-hash_fail", Refused(Code::InclusionProof), || lying(Tamper::ProofHashFlipped)),
    ("incorrect-public-key_fail", Refused(Code::EntryMismatch), || lying(Tamper::LoggedVerifier)),
    ("integrated-time-in-future_fail", Refused(Code::Clock), || {
        let mut spec = message();
        spec.integrated = 4_102_444_800;
        Trial::of(spec)
    }),
    ("intoto-canonical-log-entry", Verified, || {
        Trial::of(by_key().statement(statement_text(Some("https://in-toto.io/Statement/v1"))).logged(Logged::V1Intoto)).key("managed")
    }),
    ("intoto-expired-certificate_fail", Refused(Code::BundleVersion), || {
        Trial::of(intoto()).root(|root| root["certificateAuthorities"][0]["validFor"]["end"] = json!(rfc3339(SIGNED_AT - 1)))
    }),
    ("intoto-log-entry-mismatch_fail", Refused(Code::BundleVersion), || Trial::of(intoto().lie(Tamper::LoggedDigest))),
    ("intoto-missing-inclusion-proof_fail", Refused(Code::BundleVersion), || Trial::of(intoto().lie(Tamper::ProofMissing))),
    ("intoto-set-outside-signing-cert-validity_fail", Refused(Code::BundleVersion), || {
        let mut spec = intoto();
        spec.integrated = SIGNED_AT + 601;
        Trial::of(spec)
    }),
    ("intoto-tsa-timestamp-outside-cert-validity_fail", Refused(Code::BundleVersion), || {
        Trial::of(intoto().stamp(Stamp::at(SIGNED_AT + 601)))
    }),
    ("intoto-with-custom-trust-root", Refused(Code::BundleVersion), || Trial::of(intoto())),
    ("invalid-checkpoint-signature_fail", Refused(Code::Checkpoint), || lying(Tamper::CheckpointFlipped)),
    ("invalid-ct-key_fail", Refused(Code::Sct), || lying(Tamper::SctByStrangerAsTrusted)),
    ("invalid-inclusion-proof_fail", Refused(Code::InclusionProof), || {
        let trial = Trial::of(message());
        let other = trial.sigstore.sign(b"another artifact", &message());
        trial.bundle(|bundle| {
            bundle["verificationMaterial"]["tlogEntries"][0]["inclusionProof"] =
                other["verificationMaterial"]["tlogEntries"][0]["inclusionProof"].clone();
        })
    }),
    ("managed-key-and-trusted-root", Verified, || Trial::of(by_key().rekor2()).key("managed")),
    ("managed-key-happy-path", Verified, || Trial::of(by_key()).key("managed")),
    ("managed-key-no-key_fail", Refused(Code::UnknownKey), || Trial::of(by_key())),
    ("managed-key-wrong-key_fail", Refused(Code::UnknownKey), || Trial::of(by_key()).key("another")),
    ("message-digest-mismatch_fail", Refused(Code::Digest), || lying(Tamper::DigestOfAnother)),
    ("rekor2-checkpoint-cosigned", Verified, || lying2(Tamper::CheckpointCosigned)),
    ("rekor2-checkpoint-missing-log-signature_fail", Refused(Code::Checkpoint), || lying2(Tamper::CheckpointUnsigned)),
    ("rekor2-checkpoint-missing-origin_fail", Refused(Code::Checkpoint), || lying2(Tamper::CheckpointWithoutOrigin)),
    ("rekor2-checkpoint-missing-root-hash_fail", Refused(Code::Checkpoint), || lying2(Tamper::CheckpointWithoutRootHash)),
    ("rekor2-checkpoint-missing-size_fail", Refused(Code::Checkpoint), || lying2(Tamper::CheckpointWithoutSize)),
    ("rekor2-checkpoint-multiple-cosigs", Verified, || lying2(Tamper::CheckpointCosignedFirst)),
    ("rekor2-checkpoint-no-matching-signature_fail", Refused(Code::Checkpoint), || lying2(Tamper::CheckpointByStranger)),
    ("rekor2-checkpoint-origin-not-first", Verified, || lying2(Tamper::CheckpointCosignedFirst)),
    ("rekor2-checkpoint-two-sigs-cosigned", Verified, || Trial::of(message().rekor2().lie(Tamper::CheckpointCosigned))),
    ("rekor2-checkpoint-two-sigs-from-origin", Verified, || lying2(Tamper::CheckpointTwoByOrigin)),
    ("rekor2-dsse-happy-path", Verified, || Trial::of(dsse().rekor2())),
    ("rekor2-dsse-invalid-sig_fail", Refused(Code::Signature), || Trial::of(dsse().rekor2().lie(Tamper::SignedByAnotherKey))),
    ("rekor2-dsse-mismatch-envelope_fail", Refused(Code::EntryMismatch), || {
        let trial = Trial::of(dsse().rekor2());
        let other = trial.sigstore.sign(ARTIFACT, &message().statement(statement_text(Some("https://in-toto.io/Statement/v0.1"))).rekor2());
        with_entry_of(trial, &other)
    }),
    ("rekor2-dsse-mismatch-sig_fail", Refused(Code::EntryMismatch), || Trial::of(dsse().rekor2().lie(Tamper::LoggedSignature))),
    ("rekor2-happy-path", Verified, || Trial::of(message().rekor2())),
    ("rekor2-multiple-timestamps-one-outside-cert-validity_fail", Refused(Code::TimeOutside), || {
        Trial::of(stamped(good()).stamp(Stamp::at(SIGNED_AT + 601)))
    }),
    ("rekor2-no-inclusion-proof_fail", Refused(Code::NoInclusionProof), || lying2(Tamper::ProofMissing)),
    ("rekor2-no-timestamp_fail", Refused(Code::NoTrustedTime), || Trial::of(message().logged(Logged::V2))),
    ("rekor2-timestamp-outside-trust-root-tsa-validity_fail", Refused(Code::TimeOutside), || {
        Trial::of(stamped(good())).root(|root| root["timestampAuthorities"][0]["validFor"]["end"] = json!(rfc3339(SIGNED_AT)))
    }),
    ("rekor2-timestamp-outside-tsa-cert-validity_fail", Refused(Code::Timestamp), || {
        let short = Validity { from: SIGNED_AT - 600, until: SIGNED_AT };
        Trial::by(Instance::new("conformance").with_tsa_certificate(short), stamped(good()))
    }),
    ("rekor2-timestamp-payload-mismatch_fail", Refused(Code::Timestamp), || Trial::of(stamped(Stamp { over_another: true, ..good() }))),
    ("rekor2-timestamp-untrusted-tsa-with-embedded-cert_fail", Refused(Code::Timestamp), || {
        Trial::of(stamped(Stamp { by_stranger: true, with_certificates: true, ..good() }))
    }),
    ("rekor2-timestamp-untrusted-tsa-without-embedded-cert_fail", Refused(Code::Timestamp), || {
        Trial::of(stamped(Stamp { by_stranger: true, ..good() }))
    }),
    ("rekor2-timestamp-with-embedded-cert", Verified, || Trial::of(stamped(Stamp { with_certificates: true, ..good() }))),
    ("rekor2-timestamp-with-expired-cert-chain", Verified, || {
        // Expired today, and good when it stamped.
        let expired = Validity { from: SIGNED_AT - 600, until: SIGNED_AT + 600 };
        Trial::by(Instance::new("conformance").with_tsa_certificate(expired), stamped(Stamp { with_certificates: true, ..good() }))
    }),
    ("rekor2-timestamp-with-incorrect-time_fail", Refused(Code::TimeOutside), || Trial::of(stamped(Stamp::at(SIGNED_AT + 601)))),
    ("rekor2-timestamp-without-embedded-cert", Verified, || Trial::of(stamped(good()))),
    ("rekor2-timestamp-wrong-tsa-validity-borrow_fail", Refused(Code::TimeOutside), || {
        let another = Instance::new("another").trusted_root()["timestampAuthorities"][0].clone();
        Trial::of(stamped(good())).root(|root| {
            root["timestampAuthorities"][0]["validFor"]["end"] = json!(rfc3339(SIGNED_AT));
            root["timestampAuthorities"].as_array_mut().unwrap().push(another);
        })
    }),
    ("sct-duplicate-intermediate-name", Verified, || {
        let mut trial = Trial::of(message());
        trial.root = trial.sigstore.trusted_root_with_sibling();
        trial
    }),
    ("set-invalid-signature_fail", Refused(Code::InclusionPromise), || lying(Tamper::PromiseFlipped)),
    ("signature-mismatch_fail", Refused(Code::Signature), || lying(Tamper::SignatureFlipped)),
    ("trust-root-tlog-missing-validity-start_fail", Refused(Code::TrustMaterial), || {
        Trial::of(message()).root(|root| drop(root["tlogs"][0]["publicKey"]["validFor"].as_object_mut().unwrap().remove("start")))
    }),
    ("trust-root-tlog-validity-end-inclusive", Verified, || {
        Trial::of(message()).root(|root| root["tlogs"][0]["publicKey"]["validFor"]["end"] = json!(rfc3339(SIGNED_AT + 5)))
    }),
    ("trust-root-tsa-validity-end-inclusive", Verified, || {
        Trial::of(stamped(good())).root(|root| root["timestampAuthorities"][0]["validFor"]["end"] = json!(rfc3339(SIGNED_AT + 4)))
    }),
    ("wrong-hashedrekord-artifact_fail", Refused(Code::EntryMismatch), || lying(Tamper::LoggedDigest)),
    ("wrong-hashedrekord-cert-and-sig_fail", Refused(Code::EntryMismatch), || {
        Trial::of(message().lie(Tamper::LoggedVerifier).lie(Tamper::LoggedSignature))
    }),
    ("wrong-hashedrekord-entry_fail", Refused(Code::EntryMismatch), || {
        let trial = Trial::of(message());
        let other = trial.sigstore.sign(b"another artifact", &message());
        with_entry_of(trial, &other)
    }),
    ("wrong-material_fail", Refused(Code::Digest), || Trial::of(message()).artifact(b"another artifact")),
];

/// Every case in which `judge` finds fault, all at once.
fn all_cases(judge: impl Fn(&Case, &Trial) -> Vec<String>) {
    let wrong: Vec<String> = CASES.iter().flat_map(|case| judge(case, &(case.2)())).collect();
    assert!(wrong.is_empty(), "{} wrong:\n{}", wrong.len(), wrong.join("\n"));
}

fn said(verdict: &Verdict) -> &str {
    verdict.as_ref().map_or_else(String::as_str, |()| "verified")
}

#[test]
fn the_client_that_reads_old_bundles_gives_the_verdict_of_the_suite_in_every_case() {
    all_cases(|(name, _, _), trial| {
        let must_fail = name.ends_with("_fail");
        let wrong = trial.verdicts(&["--accept-old-bundles"]).into_iter().filter(|verdict| verdict.is_err() != must_fail);
        wrong.map(|verdict| format!("{name}: {}", said(&verdict))).collect()
    });
}

#[test]
fn the_strict_client_refuses_each_wrong_bundle_for_what_is_wrong_with_it() {
    all_cases(|(name, expected, _), trial| {
        let wrong = trial.verdicts(&[]).into_iter().filter(|verdict| match (verdict, expected) {
            (Ok(()), Verified) => false,
            (Err(words), Refused(code)) => !words.contains(code.as_str()),
            _ => true,
        });
        let wanted = match expected {
            Verified => "verified",
            Refused(code) => code.as_str(),
        };
        wrong.map(|verdict| format!("{name}: wanted {wanted}, got {}", said(&verdict))).collect()
    });
}

#[test]
fn the_strict_client_differs_from_the_suite_only_in_refusing_old_forms() {
    for (name, expected, _) in CASES {
        match expected {
            Verified => assert!(!name.ends_with("_fail"), "{name}"),
            Refused(code) => assert!(name.ends_with("_fail") || *code == Code::BundleVersion, "{name}"),
        }
    }
}

#[test]
fn each_name_stands_once_and_in_order() {
    assert!(CASES.windows(2).all(|pair| pair[0].0 < pair[1].0), "the table is sorted by name");
}
