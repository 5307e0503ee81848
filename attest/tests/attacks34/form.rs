//! Attacks on the module and on the form of a bundle: another module, two of what must be one, too much of anything.

use std::fs::File;
use std::io::Write as _;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use edgeguard_attest::Algorithm;
use edgeguard_attest::Code;
use edgeguard_attest::Rejection;
use edgeguard_attest::TrustedKey;
use edgeguard_attest::UnverifiedModule;
use edgeguard_attest::VerifiedModule;
use edgeguard_attest::read_module;
use edgeguard_attest::sign::SigningKey;
use edgeguard_virtual_sigstore::Tamper;
use serde_json::Value;
use serde_json::json;

use crate::End;
use crate::Row;
use crate::Tried;
use crate::gateway;
use crate::gateway::Gateway;
use crate::proof::lie;
use crate::refused;
use crate::support::*;
use crate::tried;
use crate::world;

pub const ROWS: &[Row] = &[
    refused("1a", "adds a byte to a module that a key signed", Code::Digest, || {
        let longer = [module(), vec![0]].concat();
        tried(verify(&message()), UnverifiedModule::from_bytes(longer).unwrap().verify(message().to_string().as_bytes(), &trust()))
    }),
    refused("1b", "adds a byte to a module that a workflow signed", Code::Digest, || {
        let bundle = gateway::sigstore().sign(&module(), &gateway::workflow());
        let longer = Gateway { module: [module(), vec![0]].concat(), ..Gateway::default() };
        tried(Gateway::default().admit(&bundle), longer.admit(&bundle))
    }),
    refused("2a", "flips a bit of a key's signature", Code::Signature, || {
        let flipped = with_signature(|signature| *signature.last_mut().unwrap() ^= 1);
        tried(verify(&message()), verify(&flipped))
    }),
    refused("3", "signs with a key of his own and copies the vendor's hint", Code::Signature, || {
        let own: Value = serde_json::from_str(&SigningKey::generate(Algorithm::EcdsaP256).unwrap().sign(&module()).unwrap()).unwrap();
        let posing = bent(message(), |bundle| bundle["messageSignature"] = own["messageSignature"].clone());
        tried(verify(&message()), verify(&posing))
    }),
    refused("8a", "relabels a bundle as v0.1, which needs no inclusion proof, and drops the proof", Code::BundleVersion, || {
        let relabelled =
            gateway::workflow().lie(Tamper::ProofMissing).lie(Tamper::MediaType("application/vnd.dev.sigstore.bundle+json;version=0.1"));
        let sigstore = gateway::sigstore();
        tried(
            Gateway::default().admit(&sigstore.sign(&module(), &gateway::workflow())),
            Gateway::default().admit(&sigstore.sign(&module(), &relabelled)),
        )
    }),
    refused("9a", "puts a certificate beside the key's hint", Code::OneOf, || {
        tried(verify(&message()), verify(&bent(message(), |b| b["verificationMaterial"]["certificate"] = json!({ "rawBytes": "AAAA" }))))
    }),
    refused("9b", "puts a key's hint beside the certificate", Code::OneOf, || lie(gateway::workflow(), Tamper::KeyBesideCertificate)),
    refused("10a", "puts a statement beside the message signature", Code::OneOf, || {
        tried(verify(&message()), verify(&bent(message(), |b| b["dsseEnvelope"] = dsse()["dsseEnvelope"].clone())))
    }),
    refused("10b", "puts a message signature beside the statement", Code::OneOf, || {
        lie(gateway::workflow().statement(gateway::statement()), Tamper::MessageBesideEnvelope)
    }),
    refused("11a", "writes the signature twice, the vendor's first and his own last", Code::DuplicateKey, || {
        let good = message().to_string();
        let twice = format!("{},\"messageSignature\":{}}}", good.strip_suffix('}').unwrap(), message()["messageSignature"]);
        tried(verify(&message()), verify_text(twice.as_bytes()))
    }),
    refused("11b", "writes the signature twice, his own first and the vendor's last", Code::DuplicateKey, || {
        let twice = message().to_string().replacen('{', "{\"messageSignature\":{},", 1);
        tried(verify(&message()), verify_text(twice.as_bytes()))
    }),
    refused("12a", "pads a bundle to 24 MB", Code::TooBig, || {
        tried(verify(&message()), verify_text(format!("{}{}", message(), " ".repeat(24 << 20)).as_bytes()))
    }),
    refused("12b", "fills a list of a bundle", Code::Shape, || {
        tried(verify(&message()), verify(&bent(message(), |b| b["verificationMaterial"]["tlogEntries"] = json!(vec![0; 60_000]))))
    }),
    refused("12c", "nests a bundle a hundred deep", Code::Shape, || {
        let deep = (0..100).fold(json!([]), |inner, _| json!([inner]));
        tried(verify(&message()), verify(&bent(message(), |b| b["verificationMaterial"]["tlogEntries"] = deep)))
    }),
    refused("12d", "lays nine bundles beside a module", Code::TooMany, || {
        let world = world::World::plain(vec![world::signer("acme", &p256())], 1);
        let bundle = p256().sign(&module()).unwrap();
        tried(world.admit(std::slice::from_ref(&bundle)), world.admit(&vec![bundle; 9]))
    }),
    refused("17a", "signs a document that is no statement, and gets it taken for one", Code::PayloadType, || {
        let text = statement().to_string();
        tried(verify(&dsse()), verify(&envelope(text.as_bytes(), "text/plain")))
    }),
    refused("17b", "leaves the signature out of the envelope", Code::OneOf, || {
        tried(verify(&dsse()), verify(&bent(dsse(), |b| b["dsseEnvelope"]["signatures"] = json!([]))))
    }),
    refused("17c", "puts a second signature into the envelope", Code::OneOf, || {
        let one = dsse()["dsseEnvelope"]["signatures"][0].clone();
        tried(verify(&dsse()), verify(&bent(dsse(), |b| b["dsseEnvelope"]["signatures"] = json!([one, one]))))
    }),
    refused("18a", "uses a signed statement of another format", Code::StatementType, || {
        said(|s| s["_type"] = json!("https://in-toto.io/Statement/v0.1"))
    }),
    refused("18b", "uses what a scanner signed about the module as if it were the vendor's word", Code::PredicateType, || {
        said(|s| s["predicateType"] = json!("https://in-toto.io/attestation/vulns/v0.1"))
    }),
    refused("19a", "names another file's sha256 beside the right sha512", Code::Subject, || {
        let sha512 = hex::encode(aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA512, &module()));
        said(|s| s["subject"][0]["digest"] = json!({ "sha256": hex::encode([7; 32]), "sha512": sha512 }))
    }),
    refused("19b", "hides the module as the second of several subjects", Code::Subject, || {
        said(|s| {
            let right = s["subject"][0].clone();
            s["subject"] = json!([{ "name": "_", "digest": { "sha256": hex::encode([7; 32]) } }, right]);
        })
    }),
    refused("28a", "puts a device that never ends in the module's place", Code::Unreadable, || {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(&module()).unwrap();
        tried(read_module(&File::open(file.path()).unwrap()), read_module(&File::open("/dev/zero").unwrap()))
    }),
    Row {
        case: "28b",
        does: "swaps the module, or a link to it, between the check and the start",
        end: End::At(&[
            "a_module_that_is_replaced_after_admission_runs_as_it_was_admitted_until_a_reload",
            "a_module_behind_a_link_that_leaves_its_folder_is_refused",
            "sealed_bytes_are_read_back_and_cannot_change",
        ]),
    },
    refused("29a", "appends a section behind an embedded signature, which covers what stands before it", Code::Digest, || {
        let embedded = embedded_signature();
        let bundle = p256().sign(&embedded).unwrap();
        let appended = [embedded.clone(), b"\0\x06\x04evil\x2a".to_vec()].concat();
        let admit = |bytes: Vec<u8>| UnverifiedModule::from_bytes(bytes).unwrap().verify(bundle.as_bytes(), &trust());
        tried(admit(embedded), admit(appended))
    }),
    refused("29b", "brings a module with an embedded signature and no bundle", Code::Unsigned, || {
        let world = world::World::plain(vec![world::signer("acme", &p256())], 1);
        tried(world.admit(&[p256().sign(&module()).unwrap()]), world.admit(&[]))
    }),
    Row {
        case: "31a",
        does: "makes a second valid signature of the vendor's (r, n - s) to be counted twice",
        end: End::At(&["high_s_signature_proves_nothing_else", "malleated_signature_is_no_second_one"]),
    },
    refused("31b", "adds a byte behind the signature's DER", Code::Signature, || {
        tried(verify(&message()), verify(&with_signature(|signature| signature.push(0))))
    }),
    refused("32a", "names SHA-384 for a P-256 key", Code::Algorithm, || {
        tried(verify(&message()), verify(&bent(message(), |b| b["messageSignature"]["messageDigest"]["algorithm"] = json!("SHA2_384"))))
    }),
    refused("32b", "signs the digest with Ed25519 where the bytes are to be signed", Code::Signature, || {
        let of = |signed: &[u8]| message_of(ED25519_PUB, "SHA2_256", &sha256(&module()), ed25519_pair().sign(signed).as_ref());
        let sha512 = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA512, &module());
        tried(verify(&of(&module())), verify(&of(sha512.as_ref())))
    }),
    Row {
        case: "32c",
        does: "gets an RSA key into a policy",
        end: End::NoKey(|| TrustedKey::from_pem(include_bytes!("../data/rsa.pub")).unwrap_err()),
    },
];

/// `bundle` with `change` made to it.
fn bent(mut bundle: Value, change: impl FnOnce(&mut Value)) -> Value {
    change(&mut bundle);
    bundle
}

/// The vendor's bundle with its signature changed.
fn with_signature(change: impl FnOnce(&mut Vec<u8>)) -> Value {
    bent(message(), |bundle| {
        let mut signature = STANDARD.decode(bundle["messageSignature"]["signature"].as_str().unwrap()).unwrap();
        change(&mut signature);
        bundle["messageSignature"]["signature"] = json!(STANDARD.encode(signature));
    })
}

/// A statement that a trusted key signed, with a change made before it signed.
fn said(change: impl FnOnce(&mut Value)) -> Tried {
    let judge = |statement: &Value| -> Result<VerifiedModule, Rejection> { verify(&signed(statement)) };
    tried(judge(&statement()), judge(&bent(statement(), change)))
}

/// A module with a section called `signature`, as tool conventions for embedded signatures have it.
fn embedded_signature() -> Vec<u8> {
    [module(), b"\0\x0e\x09signature\x01\x01\x01\0".to_vec()].concat()
}
