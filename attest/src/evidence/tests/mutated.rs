//! Real bundles with bytes changed at random: nothing panics, and nothing is believed that is not the same bundle.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use proptest::prelude::*;

use super::*;

fn cases() -> &'static [(Vec<u8>, Case, TrustMaterial)] {
    static CASES: OnceLock<Vec<(Vec<u8>, Case, TrustMaterial)>> = OnceLock::new();
    CASES.get_or_init(|| {
        let cases = [Case::cosign(), Case::conda_v2(), Case::conda(), Case::managed_key()];
        let whole = |case: Case| {
            let material = TrustMaterial::from_json(case.root.to_string().as_bytes(), None).unwrap();
            (case.bundle.to_string().into_bytes(), case, material)
        };
        cases.into_iter().flatten().map(whole).collect()
    })
}

/// What stays the same however a bundle is spelled. Left out is what the format has and nothing proves: which of two names the same
/// media type has, who else than the log has signed its checkpoint, and the certificates that a timestamp brings along and nobody trusts.
fn meaning(bundle: &[u8]) -> Value {
    let mut bundle: Value = serde_json::from_slice(bundle).unwrap();
    bundle["mediaType"] = Value::Null;
    let material = &mut bundle["verificationMaterial"];
    if let Some(stamps) = material["timestampVerificationData"]["rfc3161Timestamps"].as_array_mut() {
        stamps.fill(Value::Null);
    }
    let note = &mut bundle["verificationMaterial"]["tlogEntries"][0]["inclusionProof"]["checkpoint"]["envelope"];
    *note = note.as_str().unwrap().split_once("\n\n").unwrap().0.into();
    bundle
}

/// Where two bundles begin to differ.
fn around(bent: &[u8], whole: &[u8]) -> String {
    let place = bent.iter().zip(whole).take_while(|(a, b)| a == b).count();
    let from = place.saturating_sub(60);
    String::from_utf8_lossy(&bent[from..(place + 30).min(bent.len())]).into_owned()
}

fn judged(bundle: &[u8], case: &Case, material: &TrustMaterial) -> Result<Evidence, Rejection> {
    verify(bundle, Artifact::Digest(case.sha256), std::slice::from_ref(&case.signer), material, &mut Vec::new())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn changed_bytes_are_refused_or_mean_the_same(which in 0_usize..4, changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4)) {
        if let Some((bundle, case, material)) = cases().get(which) {
            let mut bent = bundle.clone();
            for (place, byte) in changes {
                let place = place.index(bent.len());
                bent[place] = byte;
            }
            if let Ok(evidence) = judged(&bent, case, material) {
                prop_assert_eq!(&evidence.proof, &judged(bundle, case, material).unwrap().proof);
                prop_assert!(meaning(&bent) == meaning(bundle), "accepted: {}", around(&bent, bundle));
            }
        }
    }

    #[test]
    fn cut_and_doubled_bundles_are_refused(which in 0_usize..4, at in any::<prop::sample::Index>(), length in 1_usize..400) {
        if let Some((bundle, case, material)) = cases().get(which) {
            let from = at.index(bundle.len());
            let until = (from + length).min(bundle.len());
            let cut = [&bundle[..from], &bundle[until..]].concat();
            let doubled = [&bundle[..until], &bundle[from..]].concat();
            for bent in [cut, doubled] {
                if let Ok(evidence) = judged(&bent, case, material) {
                prop_assert_eq!(&evidence.proof, &judged(bundle, case, material).unwrap().proof);
                    prop_assert!(meaning(&bent) == meaning(bundle), "accepted: {}", around(&bent, bundle));
                }
            }
        }
    }
}
