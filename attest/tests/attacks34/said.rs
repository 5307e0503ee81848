//! Attacks with what was truly signed: for another module, by a builder who may not, an older version, for fewer grants.

use std::collections::BTreeMap;

use edgeguard_attest::Access;
use edgeguard_attest::Capabilities;
use edgeguard_attest::Code;
use edgeguard_attest::ModuleDigest;
use edgeguard_attest::PROVENANCE_V1;
use edgeguard_attest::RELEASE_V1;
use edgeguard_attest::Release;
use edgeguard_attest::Rules;
use edgeguard_attest::Wanted;
use serde_json::json;

use crate::Row;
use crate::refused;
use crate::support::*;
use crate::tried;
use crate::who::ops;
use crate::who::plain;
use crate::world::*;

pub const ROWS: &[Row] = &[
    refused("20a", "brings the trusted builder's provenance of another module", Code::Digest, || {
        let mut other = statement();
        other["subject"][0]["digest"]["sha256"] = json!(hex::encode([7; 32]));
        other["predicateType"] = json!(PROVENANCE_V1);
        other["predicate"] = json!({
            "buildDefinition": { "buildType": TYPE, "externalParameters": { "ref": "refs/tags/v8" } },
            "runDetails": { "builder": { "id": BUILDER } },
        });
        tried(built_by_ci().admit(&[built()]), built_by_ci().admit(&[signed(&other).to_string()]))
    }),
    refused("20b", "puts a vendor's genuine module in the place of another of the same vendor", Code::NameNotSlot, || {
        let other = Release { name: "door-camera".into(), ..release(8) };
        tried(plain().admit(&[released(&p256(), &release(8))]), plain().admit(&[released(&p256(), &other)]))
    }),
    refused("21a", "builds with a parameter more", Code::BuildParameters, || {
        let more = provenance(BUILDER, TYPE, json!({ "ref": "refs/tags/v8", "debug": "true" }));
        tried(built_by_ci().admit(&[built()]), built_by_ci().admit(&[more]))
    }),
    refused("21b", "builds from another branch", Code::BuildParameters, || {
        let branch = provenance(BUILDER, TYPE, json!({ "ref": "refs/heads/mine" }));
        tried(built_by_ci().admit(&[built()]), built_by_ci().admit(&[branch]))
    }),
    refused("21c", "builds with a builder whom the policy does not name", Code::Builder, || {
        let own = provenance("https://ci.example/builder/mine", TYPE, json!({ "ref": "refs/tags/v8" }));
        tried(built_by_ci().admit(&[built()]), built_by_ci().admit(&[own]))
    }),
    refused("21d", "signs provenance in the builder's name with a vendor's key", Code::UnwantedStatement, || {
        // The key whose statements `provenance` signs is the vendor here, and somebody else is the builder.
        let signers = vec![signer("vendor", &ed25519()), signer("ci", &ops())];
        let requirements = vec![require(RELEASE, &["vendor"], 1), require(built_by(BUILDER), &["ci"], 1)];
        let world = World::of(Rules { slot: SLOT.into(), signers, requirements, min_version: None });
        tried(built_by_ci().admit(&[built()]), world.admit(&[released(&ed25519(), &release(8)), built()]))
    }),
    refused("22a", "installs an old release with a known hole", Code::VersionBelowFloor, || {
        let mut world = plain();
        world.known = Some(known(Some(8), OTHER));
        tried(world.admit(&[released(&p256(), &release(9))]), world.admit(&[released(&p256(), &release(7))]))
    }),
    refused("22b", "installs another build under the version that is known", Code::VersionReused, || {
        let mut world = plain();
        world.known = Some(known(Some(8), OTHER));
        tried(world.admit(&[released(&p256(), &release(9))]), world.admit(&[released(&p256(), &release(8))]))
    }),
    refused("22c", "installs an old module with its vendor's bare signature, which names no version", Code::VersionBelowFloor, || {
        let mut world = plain();
        world.known = Some(known(Some(8), OTHER));
        tried(world.admit(&[released(&p256(), &release(9))]), world.admit(&[p256().sign(&module()).unwrap()]))
    }),
    refused("30a", "has the policy grant a graph that the release does not list", Code::Capabilities, || {
        let listed = [released(&p256(), &Release { capabilities: Some(reads_in()), ..release(8) })];
        let mut world = plain();
        world.capabilities = reads_in();
        let honest = world.admit(&listed);
        world.capabilities.graphs.insert("yolo".into());
        tried(honest, world.admit(&listed))
    }),
    refused("30b", "has it grant writing where the release lists reading", Code::Capabilities, || {
        let listed = [released(&p256(), &Release { capabilities: Some(reads_in()), ..release(8) })];
        let mut world = plain();
        world.capabilities = reads_in();
        let honest = world.admit(&listed);
        world.capabilities.directories.insert("/in".into(), Access::ReadWrite);
        tried(honest, world.admit(&listed))
    }),
    refused("30c", "grants otherwise than by the digest that was signed", Code::Capabilities, || {
        let listed = [released(&p256(), &Release { capabilities_sha256: Some(reads_in().sha256()), ..release(8) })];
        let mut world = plain();
        world.capabilities = reads_in();
        let honest = world.admit(&listed);
        world.capabilities.environment.insert("DEBUG".into());
        tried(honest, world.admit(&listed))
    }),
    refused("30d", "lists grants under the digest of others", Code::Malformed, || {
        let of = |list: &Capabilities| {
            let mut text = statement();
            text["predicateType"] = json!(RELEASE_V1);
            text["predicate"] = json!({
                "name": SLOT,
                "version": 8,
                "capabilities": { "directories": [{ "path": "/in", "access": "read" }] },
                "capabilitiesSha256": hex::encode(list.sha256()),
            });
            World::plain(vec![signer("acme", &ed25519())], 1).admit(&[signed(&text).to_string()])
        };
        tried(of(&reads_in()), of(&Capabilities::default()))
    }),
];

const BUILDER: &str = "https://ci.example/builder";
const TYPE: &str = "https://ci.example/type/v1";

/// Another module, which this host knows.
const OTHER: ModuleDigest = ModuleDigest([9; 32]);

/// A policy that wants provenance: of one builder, one type, one parameter.
fn built_by_ci() -> World {
    let wanted = Wanted::Provenance {
        builders: vec![BUILDER.into()],
        build_types: vec![TYPE.into()],
        parameters: Some(BTreeMap::from([("ref".into(), "refs/tags/v8".into())])),
    };
    let requirements = vec![require(wanted, &["ci"], 1)];
    World::of(Rules { slot: SLOT.into(), signers: vec![signer("ci", &ed25519())], requirements, min_version: None })
}

fn reads_in() -> Capabilities {
    let mut list = Capabilities::default();
    list.directories.insert("/in".into(), Access::Read);
    list
}
