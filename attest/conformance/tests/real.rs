//! Real bundles of the public instances, as the sigstore crates ship them for their own tests, each judged by the client.
//!
//! They are read where cargo has unpacked the crates; none of them is kept here. Among them are seven of the suite's own cases.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::Command;

use serde_json::Value;

const GITHUB_ACTIONS: &str = "https://token.actions.githubusercontent.com";
const GITHUB_LOGIN: &str = "https://github.com/login/oauth";
const BEACON: &str = "https://github.com/sigstore-conformance/extremely-dangerous-public-oidc-beacon/.github/workflows/extremely-dangerous-oidc-beacon.yml@refs/heads/main";
/// SHA-256 of the suite's `a.txt`.
const A_TXT: &str = "sha256:a0cfc71271d6e278e57cd332ff957c3f7043fdda354c4cbb190a30d56efa01bf";
const CONDA: &str = "sigstore-verify:bundles/signed-package-2.1.0-hb0f4dca_0.conda";

enum By {
    Identity(&'static str, &'static str),
    Key(&'static str),
}

use By::Identity;

enum Root {
    Production,
    Staging,
    Own(&'static str),
}

use Root::Own;
use Root::Production;
use Root::Staging;

/// The code that a refusal bears; none if the bundle verifies.
type Verdict = Option<&'static str>;

struct Case {
    bundle: &'static str,
    root: Root,
    by: By,
    what: &'static str,
    strict: Verdict,
    old: Verdict,
}

const fn case(bundle: &'static str, root: Root, by: By, what: &'static str, strict: Verdict, old: Verdict) -> Case {
    Case { bundle, root, by, what, strict, old }
}

const KEY: By = By::Key("sigstore-verify:managed-key/key.pub");
const BEACON_CI: By = Identity(BEACON, GITHUB_ACTIONS);
const YOSSARIAN: By = Identity("william@yossarian.net", GITHUB_LOGIN);
const DOTCOM: By = Identity("https://dotcom.releases.github.com", "https://token.actions.githubusercontent.com");

const CASES: &[Case] = &[
    // The suite's own.
    case("sigstore-bundle:happy-path.json", Production, BEACON_CI, A_TXT, None, None),
    case("sigstore-verify:managed-key/bundle.sigstore.json", Production, KEY, "sigstore-verify:managed-key/artifact.txt", None, None),
    case("sigstore-verify:managed-key/bundle.sigstore.json", Production, KEY, A_TXT, None, None),
    case("sigstore-verify:managed-key/bundle.sigstore.json", Production, BEACON_CI, A_TXT, Some("EG3004"), Some("EG3001")),
    case(
        "sigstore-verify:invalid-ct-key_fail/bundle.sigstore.json",
        Own("sigstore-verify:invalid-ct-key_fail/trusted_root.json"),
        BEACON_CI,
        A_TXT,
        Some("EG1005"),
        Some("EG2004"),
    ),
    case("sigstore-tsa:timestamps/valid_bundle.json", Own("sigstore-tsa:timestamps/valid_trusted_root.json"), BEACON_CI, A_TXT, None, None),
    case(
        "sigstore-tsa:timestamps/payload_mismatch_bundle.json",
        Own("sigstore-tsa:timestamps/valid_trusted_root.json"),
        BEACON_CI,
        A_TXT,
        Some("EG2014"),
        Some("EG2014"),
    ),
    case("sigstore-verify:upstream/sigstore-python/a.dsse.staging-rekor-v2.txt.sigstore.json", Staging, BEACON_CI, A_TXT, None, None),
    // Made by cosign, sigstore-python, conda and GitHub.
    case(
        "sigstore-verify:bundles/cosign-v3-blob.sigstore.json",
        Production,
        Identity("w.vollprecht@gmail.com", GITHUB_LOGIN),
        "sigstore-verify:bundles/cosign-v3-blob.txt",
        None,
        None,
    ),
    case(
        "sigstore-verify:bundles/conda-attestation.sigstore.json",
        Production,
        Identity("https://github.com/prefix-dev/sigstore-example/.github/workflows/action.yaml@refs/heads/main", GITHUB_ACTIONS),
        CONDA,
        None,
        None,
    ),
    case(
        "sigstore-verify:bundles/conda-attestation-rekor2.sigstore.json",
        Staging,
        Identity("jku@goto.fi", GITHUB_LOGIN),
        CONDA,
        None,
        None,
    ),
    case(
        "sigstore-verify:upstream/sigstore-python/staging-rekor-v2.txt.sigstore.json",
        Staging,
        Identity("jku@goto.fi", GITHUB_LOGIN),
        "sigstore-verify:upstream/sigstore-python/staging-rekor-v2.txt",
        None,
        None,
    ),
    case(
        "sigstore-verify:sct-multi-intermediate/staging_bundle.sigstore.json",
        Own("sigstore-verify:sct-multi-intermediate/staging_trusted_root.json"),
        Identity("https://github.com/sigstore/root-signing-staging/.github/workflows/custom-test.yml@refs/heads/main", GITHUB_ACTIONS),
        "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
        None,
        None,
    ),
    case(
        "sigstore-bundle:bundle_v3.json",
        Staging,
        YOSSARIAN,
        "sha256:5e6ae9de58c1177bea615b4fcbfb2fd688e8c4b51c2e56b6a38e817833ec24a2",
        None,
        None,
    ),
    case(
        "sigstore-verify:bundles/bundle_v3_github.whl.sigstore",
        Production,
        Identity("https://github.com/trailofbits/rfc8785.py/.github/workflows/release.yml@refs/tags/v0.1.2", GITHUB_ACTIONS),
        "sha256:c4e92e9ecc828bef2aa7dba1de8ac983511f7532a0df11c770d39099a25cf201",
        Some("EG1005"),
        None,
    ),
    // Good, and for somebody or something else.
    case(
        "sigstore-verify:bundles/cosign-v3-blob.sigstore.json",
        Production,
        Identity("W.vollprecht@gmail.com", GITHUB_LOGIN),
        "sigstore-verify:bundles/cosign-v3-blob.txt",
        Some("EG3001"),
        Some("EG3001"),
    ),
    case(
        "sigstore-verify:bundles/cosign-v3-blob.sigstore.json",
        Production,
        Identity("w.vollprecht@gmail.com", "https://github.com/login/oauth/"),
        "sigstore-verify:bundles/cosign-v3-blob.txt",
        Some("EG3002"),
        Some("EG3002"),
    ),
    case(
        "sigstore-verify:bundles/cosign-v3-blob.sigstore.json",
        Production,
        Identity("w.vollprecht@gmail.com", GITHUB_LOGIN),
        CONDA,
        Some("EG2002"),
        Some("EG2002"),
    ),
    case(
        "sigstore-verify:bundles/cosign-v3-blob.sigstore.json",
        Staging,
        Identity("w.vollprecht@gmail.com", GITHUB_LOGIN),
        "sigstore-verify:bundles/cosign-v3-blob.txt",
        Some("EG2008"),
        Some("EG2014"),
    ),
    case(
        "sigstore-verify:upstream/sigstore-python/staging-rekor-v2.txt.sigstore.json",
        Production,
        Identity("jku@goto.fi", GITHUB_LOGIN),
        "sigstore-verify:upstream/sigstore-python/staging-rekor-v2.txt",
        Some("EG2008"),
        Some("EG2014"),
    ),
    case(
        "sigstore-verify:bundles/sigstore.js@2.0.0-provenance.sigstore.json",
        Production,
        Identity("https://github.com/sigstore/sigstore-js/.github/workflows/release.yml@refs/heads/main", GITHUB_ACTIONS),
        A_TXT,
        Some("EG1005"),
        Some("EG2002"),
    ),
    // Broken, or with less than the suite or an admission asks for.
    case(
        "sigstore-verify:bundles/bundle_cve_2022_36056.txt.sigstore",
        Staging,
        YOSSARIAN,
        "sha256:c87b5b213ab08b32970c106d0c7e4423e67f5449c2fd2d1e9b4ea6cc43b6ee7c",
        Some("EG2009"),
        Some("EG2009"),
    ),
    case("sigstore-verify:bundles/bundle_invalid_version.txt.sigstore", Production, YOSSARIAN, A_TXT, Some("EG1005"), Some("EG1005")),
    case("sigstore-verify:bundles/bundle_no_cert_v1.txt.sigstore", Production, YOSSARIAN, A_TXT, Some("EG1005"), Some("EG1007")),
    case("sigstore-verify:bundles/bundle_no_checkpoint.txt.sigstore", Production, YOSSARIAN, A_TXT, Some("EG1005"), Some("EG2008")),
    case("sigstore-verify:bundles/bundle_no_log_entry.txt.sigstore", Production, YOSSARIAN, A_TXT, Some("EG1005"), Some("EG2005")),
    case(
        "sigstore-verify:bundles/bundle_v3_no_signed_time.txt.sigstore.json",
        Staging,
        YOSSARIAN,
        "sha256:ca6de99a11d3d38056d838c7dc9a23a11a0c81bcace0d11eaa301a2ffb482c42",
        Some("EG2005"),
        Some("EG2010"),
    ),
    case(
        "sigstore-verify:bundles/dsse-2sigs.sigstore.json",
        Production,
        Identity("brian@dehamer.com", GITHUB_LOGIN),
        A_TXT,
        Some("EG1005"),
        Some("EG1003"),
    ),
    case(
        "sigstore-verify:bundles/dsse.sigstore.json",
        Production,
        Identity("brian@dehamer.com", GITHUB_LOGIN),
        A_TXT,
        Some("EG1005"),
        Some("EG2002"),
    ),
    case(
        "sigstore-verify:bundles/othername.sigstore.json",
        Own("sigstore-verify:trusted_roots/scaffolding.json"),
        Identity("foo!oidc.local", "http://oidc.local:8080"),
        "sha256:bc103b4a84971ef6459b294a2b98568a2bfb72cded09d4acd1e16366a401f95b",
        Some("EG2003"),
        Some("EG2003"),
    ),
    case(
        "sigstore-verify:bundles/github-private-attestation.sigstore.json",
        Own("sigstore-tsa:timestamps/github_trusted_root.json"),
        DOTCOM,
        "sha256:76f1fe8593bf227cca2c089e3c16dc95014a8d3e89c5dd220530469ca043c428",
        Some("EG2007"),
        Some("EG2007"),
    ),
    case("sigstore-types:cosign_v3_missing_fields.json", Production, YOSSARIAN, A_TXT, Some("EG2003"), Some("EG2003")),
];

/// Where the test data of each sigstore crate lies.
fn test_data() -> BTreeMap<String, PathBuf> {
    let mut cargo = Command::new(env!("CARGO"));
    cargo.args(["metadata", "--format-version", "1", "--offline", "--manifest-path", concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml")]);
    let output = cargo.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let metadata: Value = serde_json::from_slice(&output.stdout).unwrap();
    let packages = metadata["packages"].as_array().unwrap().iter();
    let found = packages.filter_map(|package| {
        let name = package["name"].as_str()?;
        let folder = PathBuf::from(package["manifest_path"].as_str()?).parent()?.to_owned();
        let data = match name {
            "sigstore-verify" | "sigstore-tsa" | "sigstore-types" => folder.join("test_data"),
            "sigstore-bundle" => folder.join("tests/fixtures"),
            _ => return None,
        };
        Some((name.to_owned(), data))
    });
    found.collect()
}

#[test]
fn real_bundles_get_the_verdicts_that_they_deserve() {
    let data = test_data();
    // `crate:path` as a file, and a digest as it is.
    let file = |named: &str| match named.split_once(':') {
        Some(("sha256", _)) | None => named.to_owned(),
        Some((name, path)) => {
            let file = data[name].join(path);
            assert!(file.exists(), "{}", file.display());
            file.to_str().unwrap().to_owned()
        }
    };
    let mut wrong = Vec::new();
    for case in CASES {
        for (options, wanted) in [(&[][..], case.strict), (&["--accept-old-bundles"][..], case.old)] {
            let mut client = Command::new(env!("CARGO_BIN_EXE_edgeguard-conformance"));
            client.env_clear().arg("verify-bundle");
            if matches!(case.root, Staging) {
                client.arg("--staging");
            }
            client.args(["--bundle", &file(case.bundle)]);
            match case.by {
                Identity(identity, issuer) => client.args(["--certificate-identity", identity, "--certificate-oidc-issuer", issuer]),
                By::Key(key) => client.args(["--key", &file(key)]),
            };
            if let Own(root) = case.root {
                client.args(["--trusted-root", &file(root)]);
            }
            let output = client.args(options).arg(file(case.what)).output().unwrap();
            let said = String::from_utf8(output.stderr).unwrap();
            let right = match (output.status.code(), wanted) {
                (Some(0), None) => true,
                (Some(3), Some(code)) => said.contains(code),
                _ => false,
            };
            if !right {
                wrong.push(format!(
                    "{} {options:?}: wanted {}, got {:?} {said}",
                    case.bundle,
                    wanted.unwrap_or("verified"),
                    output.status.code()
                ));
            }
        }
    }
    assert!(wrong.is_empty(), "{} wrong:\n{}", wrong.len(), wrong.join(""));
}
