//! The client's command line, as the suite and people meet it.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use std::process::Command;

use edgeguard_virtual_sigstore::Format;
use edgeguard_virtual_sigstore::Instance;
use edgeguard_virtual_sigstore::Spec;

const IDENTITY: &str = "https://ci.example/acme/voice/release.yml@refs/tags/v1";
const ISSUER: &str = "https://issuer.example";
const BY: [&str; 4] = ["--certificate-identity", IDENTITY, "--certificate-oidc-issuer", ISSUER];

/// A folder with a bundle of the given form, a trusted root and an artifact.
fn folder(format: Format) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let sigstore = Instance::new("command line");
    let write = |name: &str, text: &str| std::fs::write(folder.path().join(name), text).unwrap();
    write("bundle", &sigstore.sign(b"artifact", &Spec::workflow(IDENTITY, ISSUER).format(format)).to_string());
    write("root", &sigstore.trusted_root().to_string());
    write("artifact", "artifact");
    folder
}

fn client(folder: &tempfile::TempDir, arguments: &[&str]) -> (Option<i32>, String) {
    let mut client = Command::new(env!("CARGO_BIN_EXE_edgeguard-conformance"));
    let output = client.env_clear().current_dir(folder.path()).args(arguments).output().unwrap();
    (output.status.code(), String::from_utf8(output.stderr).unwrap())
}

fn verify(folder: &tempfile::TempDir, rest: &[&str]) -> (Option<i32>, String) {
    client(folder, &[&["verify-bundle", "--bundle", "bundle", "--trusted-root", "root"], rest].concat())
}

#[test]
fn a_digest_that_is_also_a_files_name_is_the_file() {
    let folder = folder(Format::V03);
    let right = "sha256:c7c5c1d70c5dec4416ab6158afd0b223ef40c29b1dc1f97ed9428b94d4cadb1c";
    assert_eq!(verify(&folder, &[&BY[..], &[right]].concat()).0, Some(0));
    std::fs::write(folder.path().join(right), "another artifact").unwrap();
    assert!(verify(&folder, &[&BY[..], &[right]].concat()).1.contains("EG2002"));
    // Too short for a digest: a path, and no such file.
    assert!(verify(&folder, &[&BY[..], &["sha256:c7c5"]].concat()).1.contains("cannot open"));
}

#[test]
fn old_bundles_are_read_only_when_asked_for() {
    let folder = folder(Format::V01);
    let (code, said) = verify(&folder, &[&BY[..], &["artifact"]].concat());
    assert_eq!((code, said.contains("EG1005")), (Some(3), true), "{said}");
    assert_eq!(verify(&folder, &[&BY[..], &["--accept-old-bundles", "artifact"]].concat()).0, Some(0));
}

/// The suite's `managed-key-and-client-identity_fail`.
#[test]
fn a_key_and_an_identity_together_are_refused() {
    let folder = folder(Format::V03);
    let (code, said) = verify(&folder, &[&BY[..], &["--key", "root", "artifact"]].concat());
    assert_eq!((code, said.contains("expected either `--key`")), (Some(2), true), "{said}");
    assert_eq!(verify(&folder, &["artifact"]).0, Some(2));
    assert_eq!(verify(&folder, &[&BY[..], &BY[..], &["artifact"]].concat()).0, Some(2));
}

#[test]
fn an_identity_is_no_pattern() {
    let folder = folder(Format::V03);
    let by = ["--certificate-identity", "https://ci.example/acme/voice/release.yml@refs/tags/*", "--certificate-oidc-issuer", ISSUER];
    let (code, said) = verify(&folder, &[&by[..], &["artifact"]].concat());
    assert_eq!((code, said.contains("pattern")), (Some(3), true), "{said}");
}

#[test]
fn signing_is_refused_with_the_reason() {
    let (code, said) = client(&folder(Format::V03), &["sign-bundle", "--identity-token", "x", "--bundle", "b", "artifact"]);
    assert_eq!((code, said.contains("needs a network")), (Some(2), true), "{said}");
}
