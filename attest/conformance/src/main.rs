//! A client for the conformance suite of sigstore's clients (sigstore-conformance, `docs/cli_protocol.md`).
//!
//! Runs in: nothing of the product. The suite starts it once for each case and looks at the exit code.
//! Does not: sign, use a network, or admit anything. `sign-bundle` is refused: this product signs with keys alone.
#![forbid(unsafe_code)]

mod arguments;
mod files;
mod wishes;

use std::error::Error;
use std::process::ExitCode;

use edgeguard_attest::Artifact;
use edgeguard_attest::Code;
use edgeguard_attest::EvidenceWanted;
use edgeguard_attest::Keyless;
use edgeguard_attest::MAX_BUNDLE;
use edgeguard_attest::MAX_MATERIAL;
use edgeguard_attest::MaterialError;
use edgeguard_attest::PatternError;
use edgeguard_attest::Rejection;
use edgeguard_attest::Signer;
use edgeguard_attest::TrustMaterial;
use edgeguard_attest::TrustedKey;
use edgeguard_attest::conformance;
use edgeguard_attest::conformance::BundleVersions;
use sigstore_trust_root::SIGSTORE_STAGING_TRUSTED_ROOT;

use crate::arguments::Arguments;
use crate::arguments::By;
use crate::arguments::Command;
use crate::arguments::What;
use crate::files::FileError;
use crate::wishes::WishError;

/// Why a bundle was not verified.
#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error(transparent)]
    File(#[from] FileError),
    #[error("key cannot be used")]
    Key(#[source] edgeguard_attest::KeyError),
    #[error("identity cannot be compared")]
    Identity(#[source] PatternError),
    /// The suite has identities, not patterns.
    #[error("expected an identity without `*`, found one that is a pattern")]
    Pattern,
    #[error("{} trusted root cannot be used", Code::TrustMaterial.as_str())]
    Material(#[source] MaterialError),
    #[error("{0}")]
    Rejected(Box<Rejection>),
    #[error(transparent)]
    Wish(#[from] WishError),
}

fn main() -> ExitCode {
    let arguments = match arguments::parse(lexopt::Parser::from_env()) {
        Ok(Command::Verify(arguments)) => arguments,
        Ok(Command::Help) => {
            print!("{}", arguments::HELP);
            return ExitCode::SUCCESS;
        }
        Err(error) => {
            eprintln!("edgeguard-conformance: {error}\n\n{}", arguments::HELP);
            return ExitCode::from(2);
        }
    };
    match verify(&arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("edgeguard-conformance: {}", chain(&failure));
            ExitCode::from(3)
        }
    }
}

fn verify(arguments: &Arguments) -> Result<(), Failure> {
    let signer = signer(&arguments.by)?;
    let material = material(arguments)?;
    let bundle = files::read(&arguments.bundle, MAX_BUNDLE)?;
    let versions = if arguments.old_bundles { BundleVersions::Conformance } else { BundleVersions::Strict };
    let judge = |artifact| {
        conformance::verify_bundle(&bundle, artifact, &signer, &material, versions)
            .map_err(|rejection| Failure::Rejected(Box::new(rejection)))
    };
    match &arguments.what {
        What::Digest(digest) => judge(Artifact::Digest(*digest))?,
        What::File(path) => {
            let bytes = files::read(path, files::MAX_ARTIFACT)?;
            judge(Artifact::Bytes { bytes: &bytes, sha256: files::sha256(&bytes) })?;
        }
    }
    Ok(wishes::check(&bundle, arguments.old_bundles)?)
}

fn signer(by: &By) -> Result<Signer, Failure> {
    match by {
        By::Key(path) => {
            let file = files::open(path)?;
            let key = TrustedKey::read(&file).map_err(Failure::Key)?;
            let mut signer = Signer::of_key("key", key);
            // What the suite expects of a key's bundle: that it was logged.
            signer.evidence = EvidenceWanted::Log;
            Ok(signer)
        }
        By::Identity { identity, issuer } => {
            let identity: edgeguard_attest::Pattern = identity.parse().map_err(Failure::Identity)?;
            if !identity.is_literal() {
                return Err(Failure::Pattern);
            }
            Ok(Signer::keyless("identity", Keyless { issuer: issuer.clone(), identity, claims: Vec::new() }))
        }
    }
}

/// A trusted root of one's own goes before the two instances.
fn material(arguments: &Arguments) -> Result<TrustMaterial, Failure> {
    let material = match &arguments.trusted_root {
        Some(path) => TrustMaterial::from_json(&files::read(path, MAX_MATERIAL as u64)?, None),
        None if arguments.staging => TrustMaterial::from_json(SIGSTORE_STAGING_TRUSTED_ROOT.as_bytes(), None),
        None => TrustMaterial::public_good(),
    };
    material.map_err(Failure::Material)
}

/// An error and all its causes, on one line.
fn chain(error: &dyn Error) -> String {
    let mut out = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        out = format!("{out}: {error}");
        cause = error.source();
    }
    out
}
