//! Bundles before v0.3: refused by admission, and judged as other clients judge them in a conformance run.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use super::*;
use crate::conformance::verify_bundle;
use crate::gate::BundleVersions;

impl Case {
    fn conforms(&self, versions: BundleVersions) -> Result<(), Rejection> {
        let material = TrustMaterial::from_json(self.root.to_string().as_bytes(), None)?;
        verify_bundle(self.bundle.to_string().as_bytes(), Artifact::Digest(self.sha256), &self.signer, &material, versions)
    }
}

#[test]
fn old_bundles_are_refused_unless_a_conformance_run_reads_them() {
    let npm = "https://github.com/sigstore/sigstore-js/.github/workflows/release.yml@refs/heads/main";
    let Some(mut case) = Case::load("bundles/sigstore.js@2.0.0-provenance.sigstore.json", None, ACTIONS, npm) else { return };
    // The statement names its subject by sha512 only.
    let payload = STANDARD.decode(case.bundle["dsseEnvelope"]["payload"].as_str().unwrap()).unwrap();
    assert!(String::from_utf8(payload).unwrap().contains("sha512"));
    expect(&case.conforms(BundleVersions::Strict).unwrap_err(), Code::BundleVersion);
    expect(&case.conforms(BundleVersions::Conformance).unwrap_err(), Code::Digest);

    let wheel = "https://github.com/trailofbits/rfc8785.py/.github/workflows/release.yml@refs/tags/v0.1.2";
    case = Case::load("bundles/bundle_v3_github.whl.sigstore", None, ACTIONS, wheel).unwrap();
    expect(&case.conforms(BundleVersions::Strict).unwrap_err(), Code::BundleVersion);
    case.conforms(BundleVersions::Conformance).unwrap();
    // The old formats ask for less, and what they ask for is verified all the same.
    for (code, bend) in [
        (Code::InclusionPromise, (|case| flip(&mut case.entry()["inclusionPromise"]["signedEntryTimestamp"])) as fn(&mut Case)),
        (Code::InclusionProof, |case| flip(&mut case.proof()["hashes"][0])),
        (Code::Checkpoint, |case| flip(&mut case.proof()["rootHash"])),
        (Code::NoInclusionProof, |case| remove(case.entry(), "inclusionProof")),
        (Code::Digest, |case| case.sha256[0] ^= 1),
        (Code::Identity, |case| case.keyless().identity = "eve@evil.example".parse().unwrap()),
        (Code::Issuer, |case| case.keyless().issuer = GITHUB.into()),
        (Code::UnknownField, |case| case.entry()["note"] = "x".into()),
    ] {
        let mut bent = case.clone();
        bend(&mut bent);
        expect(&bent.conforms(BundleVersions::Conformance).unwrap_err(), code);
    }
}

#[test]
fn current_bundles_conform_both_ways() {
    let cases = [Case::cosign(), Case::conda_v2(), Case::conda(), Case::managed_key()];
    for case in cases.into_iter().flatten() {
        case.conforms(BundleVersions::Strict).unwrap();
        case.conforms(BundleVersions::Conformance).unwrap();
        let mut other = case.clone();
        other.sha256[31] ^= 1;
        expect(&other.conforms(BundleVersions::Strict).unwrap_err(), Code::Digest);
        assert!(other.conforms(BundleVersions::Conformance).is_err());
    }
}
