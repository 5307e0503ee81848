//! The suite's command line, and the one option of ours.
//!
//! Runs in: the conformance client.

use std::ffi::OsString;
use std::path::PathBuf;

pub(crate) const HELP: &str = "\
edgeguard-conformance: edgeguard's verification behind the command line of sigstore's conformance suite

Usage:
  edgeguard-conformance verify-bundle [--staging] --bundle FILE
      (--certificate-identity IDENTITY --certificate-oidc-issuer URL | --key FILE)
      [--trusted-root FILE] [--accept-old-bundles] FILE_OR_DIGEST

Options:
  --accept-old-bundles  also read bundles of v0.1 and v0.2 and judge as other clients do;
                        without it a bundle is judged as strictly as for an admission

FILE_OR_DIGEST is a file, or `sha256:` and 64 hex digits that name no file. The environment variable
EDGEGUARD_ACCEPT_OLD_BUNDLES=1 does what the option does, for a suite that passes none.

Exit codes: 0 verified; 2 usage; 3 not verified.
";

/// What to do.
pub(crate) enum Command {
    Verify(Arguments),
    Help,
}

/// One verification.
pub(crate) struct Arguments {
    pub(crate) bundle: PathBuf,
    pub(crate) by: By,
    pub(crate) trusted_root: Option<PathBuf>,
    pub(crate) staging: bool,
    pub(crate) old_bundles: bool,
    pub(crate) what: What,
}

/// Who is to have signed.
pub(crate) enum By {
    Key(PathBuf),
    Identity { identity: String, issuer: String },
}

/// What is to have been signed.
pub(crate) enum What {
    File(PathBuf),
    Digest([u8; 32]),
}

pub(crate) fn parse(mut parser: lexopt::Parser) -> Result<Command, lexopt::Error> {
    let (mut bundle, mut identity, mut issuer, mut key, mut trusted_root, mut what) = (None, None, None, None, None, None);
    let mut staging = false;
    let mut old_bundles = std::env::var_os("EDGEGUARD_ACCEPT_OLD_BUNDLES").is_some_and(|value| value == "1");

    match parser.next()? {
        Some(lexopt::Arg::Value(command)) if command == "verify-bundle" => {}
        Some(lexopt::Arg::Long("help") | lexopt::Arg::Short('h')) => return Ok(Command::Help),
        Some(lexopt::Arg::Value(command)) if command == "sign-bundle" => {
            return Err("`sign-bundle` needs a network, which this product does not use; only `verify-bundle` is offered".into());
        }
        _ => return Err("expected `verify-bundle`".into()),
    }
    while let Some(argument) = parser.next()? {
        match argument {
            lexopt::Arg::Long("staging") => staging = true,
            lexopt::Arg::Long("accept-old-bundles") => old_bundles = true,
            lexopt::Arg::Long("bundle") => once(&mut bundle, "--bundle", parser.value()?)?,
            lexopt::Arg::Long("certificate-identity") => once(&mut identity, "--certificate-identity", parser.value()?)?,
            lexopt::Arg::Long("certificate-oidc-issuer") => once(&mut issuer, "--certificate-oidc-issuer", parser.value()?)?,
            lexopt::Arg::Long("key") => once(&mut key, "--key", parser.value()?)?,
            lexopt::Arg::Long("trusted-root") => once(&mut trusted_root, "--trusted-root", parser.value()?)?,
            lexopt::Arg::Long("help") | lexopt::Arg::Short('h') => return Ok(Command::Help),
            lexopt::Arg::Value(value) => once(&mut what, "FILE_OR_DIGEST", value)?,
            other => return Err(other.unexpected()),
        }
    }
    let by = match (key, identity, issuer) {
        (Some(key), None, None) => By::Key(key.into()),
        (None, Some(identity), Some(issuer)) => By::Identity { identity: text(identity)?, issuer: text(issuer)? },
        _ => return Err("expected either `--key`, or `--certificate-identity` and `--certificate-oidc-issuer`".into()),
    };
    Ok(Command::Verify(Arguments {
        bundle: bundle.ok_or("expected `--bundle`")?.into(),
        by,
        trusted_root: trusted_root.map(PathBuf::from),
        staging,
        old_bundles,
        what: file_or_digest(what.ok_or("expected a file or a digest")?),
    }))
}

fn once(place: &mut Option<OsString>, name: &str, value: OsString) -> Result<(), lexopt::Error> {
    match place.replace(value) {
        None => Ok(()),
        Some(_) => Err(format!("`{name}` is given twice").into()),
    }
}

fn text(value: OsString) -> Result<String, lexopt::Error> {
    value.into_string().map_err(lexopt::Error::NonUnicodeValue)
}

/// As the protocol has it: the prefix, the right length, and no file of that name. Anything else is a path.
fn file_or_digest(value: OsString) -> What {
    let path = PathBuf::from(&value);
    let digest = value.to_str().and_then(|text| text.strip_prefix("sha256:")).and_then(|digits| {
        let mut out = [0; 32];
        hex::decode_to_slice(digits, &mut out).is_ok().then_some(out)
    });
    match digest {
        Some(digest) if !path.exists() => What::Digest(digest),
        _ => What::File(path),
    }
}
