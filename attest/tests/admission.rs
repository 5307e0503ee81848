//! Admission by rules: which statements of whom admit a module, and what keeps one out although its signatures are good.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod support;
#[path = "support/world.rs"]
mod world;

use std::collections::BTreeMap;
use std::time::Duration;

use edgeguard_attest::*;
use proptest::prelude::*;
use serde_json::Value;
use serde_json::json;
use sign::SigningKey;
use support::*;
use world::*;

// Statements and thresholds.

#[test]
fn module_with_all_that_is_required_is_admitted_and_says_on_whose_word() {
    let keys = Keys::new();
    let mut passed = Vec::new();
    let module = World::full(&keys).admit_explained(&full_set(&keys), &mut passed).unwrap();
    assert_eq!(module.proofs().len(), 4);
    assert_eq!(module.proof().signer, "vendor");
    assert_eq!(module.release().unwrap().version, 8);
    let met: Vec<(&str, &[String])> = module.met().iter().map(|met| (met.statement, &met.signers[..])).collect();
    assert_eq!(
        met,
        [("release", &ids(&["vendor"])[..]), ("slsa-provenance", &ids(&["builder"])[..]), ("approval", &ids(&["ops-0", "ops-1"])[..])]
    );
    let told: std::collections::BTreeSet<&str> = passed.iter().map(|one| one.check.as_str()).collect();
    for check in ["module", "bundle", "key", "signature", "statement", "threshold", "version", "validity", "freshness", "capabilities"] {
        assert!(told.contains(check), "{check} is told");
    }
    assert!(passed.iter().any(|one| one.found.ends_with("in `m.wasm.3.sigstore.json`")), "several bundles are told apart");
}

#[test]
fn each_missing_statement_is_named_with_who_can_still_give_it() {
    let keys = Keys::new();
    let world = World::full(&keys);
    for (missing, expected, found) in [
        (0, "1 of `release` from `vendor`", "none"),
        (1, "1 of `slsa-provenance` from `builder`", "none"),
        (2, "2 of `approval` from `ops-0`, `ops-1`, `ops-2`", "1: `ops-1`"),
        (3, "2 of `approval` from `ops-0`, `ops-1`, `ops-2`", "1: `ops-0`"),
    ] {
        let mut bundles = full_set(&keys);
        bundles.remove(missing);
        let rejection = world.refuses(&bundles);
        assert_eq!((rejection.code, rejection.expected.as_str(), rejection.found.as_str()), (Code::Threshold, expected, found));
    }
    let mut bundles = full_set(&keys);
    bundles.pop();
    assert_eq!(world.refuses(&bundles).next, "get 1 more of `approval` from `ops-1`, `ops-2`");
    assert_eq!(world.refuses(&[]).code, Code::Unsigned);
}

#[test]
fn same_signer_twice_counts_once() {
    let keys = Keys::new();
    let world = World::full(&keys);
    let mut bundles = full_set(&keys);
    // Another approval by the same key: a new signature, another comment, the same person.
    bundles[3] = approved(&keys.ops[0], &Approval { comment: Some("again".into()), ..approval() });
    let rejection = world.refuses(&bundles);
    assert_eq!((rejection.code, rejection.found.as_str()), (Code::Threshold, "1: `ops-0`"));
    assert!(rejection.next.ends_with("a signer counts once, however many bundles it made"), "{}", rejection.next);
    bundles[3] = bundles[2].clone();
    assert_eq!(world.refuses(&bundles).code, Code::Threshold, "nor does a copy of the bundle");
}

#[test]
fn same_key_under_two_ids_counts_once() {
    let keys = Keys::new();
    let key = &keys.ops[0];
    let two = || vec![signer("a", key), signer("b", key)];
    let bundles = [key.sign(&module()).unwrap(), released(key, &release(1))];
    // Such rules cannot be met at all, and say so.
    let rejection = World::plain(two(), 2).refuses(&bundles);
    assert_eq!((rejection.code, rejection.next.as_str()), (Code::Threshold, "correct the policy"));
    // With a third signer they can, but not by the first two.
    let world = World::plain([two(), vec![signer("c", &keys.ops[1])]].concat(), 2);
    assert_eq!(world.refuses(&bundles).code, Code::Threshold);
    world.admit(&[bundles[0].clone(), keys.ops[1].sign(&module()).unwrap()]).unwrap();
    // Whichever id a requirement names, the key may meet it.
    World::plain(two(), 1).admit(&bundles[..1]).unwrap();
    let mut named = World::plain(two(), 1);
    named.rules.requirements = vec![require(Wanted::Signature, &["b"], 1)];
    named.admit(&bundles[..1]).unwrap();
}

#[test]
fn good_bundle_beside_a_bad_or_foreign_one_admits_nothing() {
    let keys = Keys::new();
    let world = World::full(&keys);
    let stranger = SigningKey::generate(Algorithm::EcdsaP256).unwrap();
    let with = |more: String| {
        let mut bundles = full_set(&keys);
        bundles.push(more);
        world.refuses(&bundles)
    };
    let foreign = with(approved(&stranger, &approval()));
    assert_eq!(foreign.code, Code::UnknownKey);
    assert!(foreign.found.ends_with("in `m.wasm.4.sigstore.json`"), "{}", foreign.found);
    assert_eq!(with("{}".into()).code, Code::Malformed);
    assert_eq!(with(keys.ops[2].sign_approval(b"\0asm\x01\0\0\0", &approval()).unwrap()).code, Code::Digest);
    assert_eq!(world.refuses(&vec![full_set(&keys)[0].clone(); 9]).code, Code::TooMany);
}

#[test]
fn statement_that_nobody_asked_this_signer_for_is_refused() {
    let keys = Keys::new();
    let world = World::full(&keys);
    let cases = [
        (approved(&keys.vendor, &approval()), "`release` from `vendor`", "`approval` in"),
        (released(&keys.ops[2], &release(8)), "`approval` from `ops-2`", "`release` in"),
        (keys.vendor.sign(&module()).unwrap(), "`release` from `vendor`", "`signature` in"),
    ];
    for (more, expected, found) in cases {
        let mut bundles = full_set(&keys);
        bundles.push(more);
        let rejection = world.refuses(&bundles);
        assert_eq!((rejection.code, rejection.expected.as_str()), (Code::UnwantedStatement, expected));
        assert!(rejection.found.starts_with(found), "{}", rejection.found);
    }
    // A plain policy takes a signature or a release, and nothing else.
    let plain = World::plain(vec![signer("vendor", &keys.vendor)], 1);
    plain.admit(&[keys.vendor.sign(&module()).unwrap()]).unwrap();
    plain.admit(&[released(&keys.vendor, &release(1))]).unwrap();
    assert_eq!(plain.refuses(&[approved(&keys.vendor, &approval())]).code, Code::UnwantedStatement);
}

#[test]
fn provenance_must_be_of_a_builder_type_and_parameters_that_the_policy_names() {
    let keys = Keys::new();
    let builder = "https://ci.example/builder";
    let kind = "https://ci.example/type/v1";
    let parameters = BTreeMap::from([("ref".to_owned(), "refs/tags/v8".to_owned()), ("opt".to_owned(), r#"{"level": 3}"#.to_owned())]);
    let mut world = World::plain(vec![signer("builder", &keys.builder)], 1);
    let wanted = Wanted::Provenance { builders: vec![builder.into()], build_types: vec![kind.into()], parameters: Some(parameters) };
    world.rules.requirements = vec![require(wanted, &["builder"], 1)];
    let good = json!({ "ref": "refs/tags/v8", "opt": { "level": 3 } });
    world.admit(&[provenance(builder, kind, good.clone())]).unwrap();

    let refused = |builder: &str, kind: &str, parameters: Value| world.refuses(&[provenance(builder, kind, parameters)]);
    assert_eq!(refused("https://ci.example/builder/", kind, good.clone()).code, Code::Builder);
    assert_eq!(refused(builder, "https://ci.example/type/v2", good).code, Code::BuildParameters);
    for other in [
        json!({ "ref": "refs/tags/v8", "opt": { "level": 3 }, "debug": true }),
        json!({ "ref": "refs/tags/v8" }),
        json!({ "ref": "refs/heads/main", "opt": { "level": 3 } }),
        json!({ "ref": "refs/tags/v8", "opt": { "level": 3, "x": null } }),
        json!({ "ref": ["refs/tags/v8"], "opt": { "level": 3 } }),
        json!({}),
    ] {
        assert_eq!(refused(builder, kind, other.clone()).code, Code::BuildParameters, "{other}");
    }
}

// Name, version, digest.

#[test]
fn release_of_another_module_is_refused_even_when_others_have_said_enough() {
    let keys = Keys::new();
    let mut world = World::plain(vec![signer("vendor", &keys.vendor), signer("ops", &keys.ops[0])], 1);
    let other = Release { name: "voice-gate-debug".into(), ..release(8) };
    let bundles = [keys.ops[0].sign(&module()).unwrap(), released(&keys.vendor, &other)];
    let rejection = world.refuses(&bundles);
    assert_eq!((rejection.code, rejection.expected.as_str()), (Code::NameNotSlot, "`voice-gate`, the name in the policy"));
    world.rules.requirements.push(require(APPROVAL, &["ops"], 1));
    let foreign = approved(&keys.ops[0], &Approval { name: "Voice-Gate".into(), ..approval() });
    assert_eq!(world.refuses(&[released(&keys.vendor, &release(8)), foreign]).code, Code::NameNotSlot);
}

#[test]
fn version_below_the_floor_is_refused_whoever_keeps_the_floor() {
    let keys = Keys::new();
    let other = ModuleDigest([9; 32]);
    let cases = [
        (7, Some(8), None, Some(Code::VersionBelowFloor)),
        (8, Some(8), None, None),
        (7, None, Some(known(Some(8), other)), Some(Code::VersionBelowFloor)),
        (7, Some(3), Some(known(Some(8), this_module())), Some(Code::VersionBelowFloor)),
        (8, None, Some(known(Some(8), other)), Some(Code::VersionReused)),
        (8, None, Some(known(Some(8), this_module())), None),
        (9, Some(9), Some(known(Some(8), other)), None),
        (1, None, Some(known(None, other)), None),
    ];
    for (version, min, known, code) in cases {
        let mut world = World::plain(vec![signer("vendor", &keys.vendor)], 1);
        world.rules.min_version = min;
        world.known = known.clone();
        let result = world.admit(&[released(&keys.vendor, &release(version))]);
        assert_eq!(result.err().map(|rejection| rejection.code), code, "version {version}, min {min:?}, known {known:?}");
    }
}

#[test]
fn bare_signature_does_not_get_round_a_floor() {
    let keys = Keys::new();
    let bare = [keys.vendor.sign(&module()).unwrap()];
    let mut world = World::plain(vec![signer("vendor", &keys.vendor)], 1);
    world.known = Some(known(Some(8), ModuleDigest([9; 32])));
    assert_eq!(world.refuses(&bare).code, Code::VersionBelowFloor);
    world.known = Some(known(Some(8), this_module()));
    world.admit(&bare).unwrap();
    world.known = None;
    world.rules.min_version = Some(1);
    assert_eq!(world.refuses(&bare).code, Code::VersionBelowFloor);
}

#[test]
fn statements_of_two_versions_admit_neither() {
    let keys = Keys::new();
    let world = World::full(&keys);
    let mut bundles = full_set(&keys);
    bundles[2] = approved(&keys.ops[0], &Approval { version: Some(7), ..approval() });
    let rejection = world.refuses(&bundles);
    assert_eq!((rejection.code, rejection.found.as_str()), (Code::Disagreement, "version 7 in the `approval` by `ops-0`"));
    bundles[2] = approved(&keys.ops[0], &Approval { version: Some(8), ..approval() });
    world.admit(&bundles).unwrap();
}

// Time.

#[test]
fn statement_counts_from_not_before_until_expires() {
    let keys = Keys::new();
    let world = World::plain(vec![signer("vendor", &keys.vendor)], 1);
    for (from, until, good) in [(-1, 1, true), (0, 0, true), (-2, -1, false), (1, 2, false)] {
        let release = Release { not_before: Some(at(from)), expires: Some(at(until)), ..release(8) };
        let result = world.admit(&[released(&keys.vendor, &release)]);
        assert_eq!(result.is_ok(), good, "{from} to {until}");
        if let Err(rejection) = result {
            assert_eq!((rejection.code, rejection.check), (Code::OutsideValidity, Check::Validity));
        }
    }
}

#[test]
fn clock_that_cannot_be_trusted_admits_nothing_that_depends_on_it_but_what_was_admitted_before() {
    let keys = Keys::new();
    let bundles = [released(&keys.vendor, &Release { expires: Some(at(1)), ..release(8) })];
    let mut world = World::plain(vec![signer("vendor", &keys.vendor)], 1);
    for wall in [Time(0), at(-30), at(4000)] {
        world.clock = Clock::new(now(), wall, ClockLimits::default());
        world.known = None;
        assert_eq!(world.refuses(&bundles).code, Code::Clock, "{wall}");
        world.admit(&[released(&keys.vendor, &release(8))]).unwrap();
        world.known = Some(known(Some(8), this_module()));
        world.admit(&bundles).unwrap();
    }
    // What has ended for sure has ended for the known too.
    world.clock = Clock::new(at(2), Time(0), ClockLimits::default());
    assert_eq!(world.refuses(&bundles).code, Code::OutsideValidity);
}

#[test]
fn key_counts_only_within_its_window_and_a_clock_set_back_does_not_revive_it() {
    let keys = Keys::new();
    let bare = [keys.vendor.sign(&module()).unwrap()];
    let window = |from: Option<i64>, until: Option<i64>| {
        let window = Window { usable_from: from.map(at), retire_at: until.map(at) };
        World::plain(vec![Signer { window, ..signer("vendor", &keys.vendor) }], 1)
    };
    window(Some(-1), Some(1)).admit(&bare).unwrap();
    assert_eq!(window(None, Some(-1)).refuses(&bare).code, Code::KeyWindow);
    assert_eq!(window(Some(1), None).refuses(&bare).code, Code::KeyWindow);
    let mut set_back = window(None, Some(-1));
    set_back.clock = Clock::new(now(), at(-5), ClockLimits::default());
    assert_eq!(set_back.refuses(&bare).code, Code::KeyWindow, "the floor has passed its end");
    let mut unknown = window(None, Some(5));
    unknown.clock = Clock::new(now(), at(-5), ClockLimits::default());
    assert_eq!(unknown.refuses(&bare).code, Code::Clock);
}

#[test]
fn retired_id_does_not_take_its_keys_other_id_with_it() {
    let keys = Keys::new();
    let old = Signer { window: Window { usable_from: None, retire_at: Some(at(-1)) }, ..signer("old", &keys.vendor) };
    let world = World::plain(vec![old, signer("new", &keys.vendor)], 1);
    let module = world.admit(&[keys.vendor.sign(&module()).unwrap()]).unwrap();
    assert_eq!((module.proof().signer.as_str(), &module.met()[0].signers[..]), ("new", &ids(&["new"])[..]));
}

#[test]
fn statement_older_than_the_policy_allows_is_refused_and_one_of_unknown_age_too() {
    let keys = Keys::new();
    let mut world = World::plain(vec![signer("vendor", &keys.vendor)], 1);
    let max_age = Some(Duration::from_secs(86_400 * 30));
    world.rules.requirements = vec![require(Wanted::Release { max_age }, &["vendor"], 1)];
    let of = |days: Option<i64>| [released(&keys.vendor, &Release { not_before: days.map(at), ..release(8) })];
    world.admit(&of(Some(-29))).unwrap();
    assert_eq!(world.refuses(&of(Some(-31))).code, Code::OutsideValidity);
    assert_eq!(world.refuses(&of(None)).code, Code::NoTrustedTime);
}

#[test]
fn stale_trust_keeps_out_what_is_new_and_lets_the_known_go_on() {
    let keys = Keys::new();
    let bundles = [keys.vendor.sign(&module()).unwrap()];
    let mut world = World::plain(vec![signer("vendor", &keys.vendor)], 1);
    world.stale = Staleness::Stale { what: "revocation list 7".into(), since: at(-1) };
    assert_eq!(world.refuses(&bundles).code, Code::Stale);
    world.known = Some(known(None, ModuleDigest([9; 32])));
    assert_eq!(world.refuses(&bundles).code, Code::Stale, "another module of the same name is new");
    world.known = Some(known(None, this_module()));
    assert!(!world.admit(&bundles).unwrap().is_new());
    world.known = None;
    world.stale = Staleness::Warn { what: "revocation list 7".into(), since: at(1) };
    let mut passed = Vec::new();
    assert!(world.admit_explained(&bundles, &mut passed).unwrap().is_new());
    assert!(passed.iter().any(|one| one.check == Check::Freshness && one.found.contains("revocation list 7")), "the warning is told");
}

// Revocation.

#[test]
fn what_was_revoked_is_refused_though_it_was_admitted_before() {
    let keys = Keys::new();
    let mut world = World::full(&keys);
    let bundles = full_set(&keys);
    let list = |entry: Value| {
        let text = json!({ "version": 1, "list": 7, "issued": at(-1).to_string(), "expires": at(30).to_string(), "revoked": [entry] });
        Some(Revocations::from_json(text.to_string().as_bytes()).unwrap())
    };
    let revoked = [
        json!({ "digest": this_module().to_string(), "reason": "crashes" }),
        json!({ "key": keys.vendor.public().id().to_string(), "reason": "stolen" }),
        json!({ "key": keys.ops[1].public().id().to_string(), "reason": "left", "since": at(5).to_string() }),
        json!({ "module": SLOT, "belowVersion": 9, "reason": "hole" }),
    ];
    for known in [None, Some(known(Some(8), this_module()))] {
        world.known = known;
        for entry in &revoked {
            world.revocations = list(entry.clone());
            let rejection = world.refuses(&bundles);
            assert_eq!((rejection.code, rejection.check), (Code::Revoked, Check::Revocation), "{entry}");
        }
        for entry in [
            json!({ "module": SLOT, "belowVersion": 8, "reason": "hole" }),
            json!({ "module": "other", "belowVersion": 99, "reason": "hole" }),
        ] {
            world.revocations = list(entry);
            world.admit(&bundles).unwrap();
        }
    }
}

// Grants.

#[test]
fn policy_may_grant_less_than_was_signed_and_never_more() {
    let keys = Keys::new();
    let mut signed = Capabilities::default();
    signed.directories.insert("/in".into(), Access::Read);
    signed.graphs.insert("yolo".into());
    let mut world = World::plain(vec![signer("vendor", &keys.vendor), signer("second", &keys.ops[0])], 1);
    let listed = Release { capabilities: Some(signed.clone()), ..release(8) };
    let bundles = [released(&keys.vendor, &listed)];
    world.admit(&bundles).unwrap();
    world.capabilities = signed;
    world.admit(&bundles).unwrap();
    world.capabilities.directories.insert("/in".into(), Access::ReadWrite);
    let rejection = world.refuses(&bundles);
    assert_eq!((rejection.code, rejection.found.as_str()), (Code::Capabilities, "directory `/in` with `read-write`, not `read`"));
    // A second release that allows more does not widen the first.
    let wide = Release { capabilities: Some(world.capabilities.clone()), ..release(8) };
    assert_eq!(world.refuses(&[released(&keys.ops[0], &wide), bundles[0].clone()]).code, Code::Capabilities);
    world.admit(&[released(&keys.ops[0], &wide)]).unwrap();
}

// Rules that are none.

#[test]
fn rules_that_ask_for_nothing_or_for_nobody_admit_nothing() {
    let keys = Keys::new();
    let bundles = [keys.vendor.sign(&module()).unwrap()];
    let bent = |change: &dyn Fn(&mut Rules)| {
        let mut world = World::plain(vec![signer("vendor", &keys.vendor)], 1);
        change(&mut world.rules);
        let rejection = world.refuses(&bundles);
        assert_eq!((rejection.code, rejection.next.as_str()), (Code::Threshold, "correct the policy"), "{rejection}");
        world.rules.check().unwrap_err()
    };
    assert_eq!(bent(&|rules| rules.requirements.clear()), RulesError::NoRequirement);
    assert_eq!(bent(&|rules| rules.signers.clear()), RulesError::NoSigner);
    assert!(matches!(bent(&|rules| rules.requirements[0].threshold = 0), RulesError::Threshold { threshold: 0, .. }));
    assert!(matches!(bent(&|rules| rules.requirements[0].threshold = 2), RulesError::Threshold { of: 1, .. }));
    assert!(matches!(bent(&|rules| rules.requirements[0].signers.clear()), RulesError::Threshold { of: 0, .. }));
    assert!(matches!(bent(&|rules| rules.requirements[0].signers.push("nobody".into())), RulesError::UnknownSigner { .. }));
    assert!(matches!(bent(&|rules| rules.signers.push(rules.signers[0].clone())), RulesError::SignerTwice { .. }));
    let anybody = Wanted::Provenance { builders: vec![], build_types: vec![], parameters: None };
    assert_eq!(bent(&|rules| rules.requirements[0].statement = anybody.clone()), RulesError::NoBuilder);
    assert!(matches!(
        bent(&|rules| rules.requirements = vec![rules.requirements[0].clone(); 17]),
        RulesError::TooManyRequirements { found: 17 }
    ));
}

// Policies that are signed, and receipts.

#[test]
fn policy_text_is_proved_by_a_signature_over_exactly_its_bytes() {
    let keys = Keys::new();
    let text = b"version = 1\n";
    let bundle = keys.vendor.sign_policy(text).unwrap();
    let clock = Clock::new(now(), now(), ClockLimits::default());
    let prove = |text: &[u8], bundle: &str, signers: &[Signer]| {
        verify_policy_text(text, bundle.as_bytes(), signers, &TrustMaterial::none(), None, &clock, &mut Vec::new())
    };
    let signers = [signer("vendor", &keys.vendor)];
    assert_eq!(prove(text, &bundle, &signers).unwrap().signer, "vendor");
    assert_eq!(prove(b"version = 2\n", &bundle, &signers).unwrap_err().code, Code::Digest);
    assert_eq!(prove(text, &bundle, &[signer("ops", &keys.ops[0])]).unwrap_err().code, Code::UnknownKey);
    let retired = Signer { window: Window { usable_from: None, retire_at: Some(at(-1)) }, ..signer("vendor", &keys.vendor) };
    assert_eq!(prove(text, &bundle, &[retired]).unwrap_err().code, Code::KeyWindow);
    let statement = released(&keys.vendor, &release(8));
    assert_eq!(prove(&module(), &statement, &signers).unwrap_err().code, Code::UnwantedStatement);
}

#[test]
fn receipt_names_module_policy_bundles_and_on_whose_word() {
    let keys = Keys::new();
    let bundles = full_set(&keys);
    let module = World::full(&keys).admit(&bundles).unwrap();
    let receipt = module.receipt([7; 32], now());
    let json: Value = serde_json::from_str(receipt.as_str()).unwrap();
    assert_eq!(json["subject"], json!([{ "name": SLOT, "digest": { "sha256": this_module().to_string() } }]));
    assert_eq!(json["predicateType"], RECEIPT_V1);
    assert_eq!(json["predicate"]["timeCreated"], now().to_string());
    assert_eq!(
        json["predicate"]["properties"],
        json!(["EDGEGUARD_ADMITTED", "EDGEGUARD_APPROVAL", "EDGEGUARD_RELEASE", "EDGEGUARD_SLSA_PROVENANCE"])
    );
    let details = &json["predicate"]["edgeguard_admission"];
    assert_eq!(details["version"], 8);
    for (place, bundle) in bundles.iter().enumerate() {
        assert_eq!(details["bundles"][place]["sha256"], hex::encode(sha256(bundle.as_bytes())));
    }
    assert_eq!(details["bundles"][2]["evidence"]["key"], keys.ops[0].public().id().to_string());
    assert_eq!(details["requirements"][2], json!({ "statement": "approval", "threshold": 2, "signers": ["ops-0", "ops-1"] }));
    assert_eq!(module.receipt([7; 32], now()), receipt, "one admission has one receipt");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    /// Whatever subset of bundles is there, removing one never admits what was refused for too few signers.
    #[test]
    fn fewer_bundles_never_make_up_for_too_few_signers(chosen in prop::collection::vec(0..7_usize, 1..7), drop in any::<prop::sample::Index>()) {
        let keys = Keys::new();
        let all = [full_set(&keys), vec![
            approved(&keys.ops[2], &approval()),
            approved(&keys.ops[0], &Approval { comment: Some("again".into()), ..approval() }),
            released(&keys.vendor, &Release { expires: Some(at(9)), ..release(8) }),
        ]].concat();
        let world = World::full(&keys);
        let bundles: Vec<String> = chosen.iter().map(|place| all[*place].clone()).collect();
        let mut fewer = bundles.clone();
        fewer.remove(drop.index(fewer.len()));
        let result = world.admit(&bundles);
        if let Err(rejection) = &result {
            prop_assert_eq!(rejection.code, Code::Threshold);
            prop_assert!(world.admit(&fewer).is_err());
        }
        // And it is admitted exactly if the set has what the policy requires, by the plainest way of counting.
        let approvers: std::collections::BTreeSet<usize> = chosen.iter().filter_map(|place| match place { 2 | 5 => Some(0), 3 => Some(1), 4 => Some(2), _ => None }).collect();
        let enough = chosen.iter().any(|place| [0, 6].contains(place)) && chosen.contains(&1) && approvers.len() >= 2;
        prop_assert_eq!(result.is_ok(), enough);
    }
}
