//! The bundle that already lies where a new one is to go: whether the new one may take its place.
//!
//! Runs in: command line.
//! Does not: verify it. A bundle that is in doubt stays where it is until somebody says `--force`.

use std::fmt;
use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use edgeguard_attest::APPROVAL_V1;
use edgeguard_attest::Approval;
use edgeguard_attest::MAX_BUNDLE;
use edgeguard_attest::RELEASE_V1;
use edgeguard_attest::Release;
use edgeguard_attest::SIGNATURE_V1;
use edgeguard_attest::sign::SigningKey;
use serde_json::Value;

use crate::files;
use crate::files::FileError;

/// What a new bundle says.
#[derive(Clone, Debug)]
pub(super) enum Says {
    Signature,
    Release(Release),
    Approval(Approval),
    Policy,
}

impl Says {
    /// The predicate type, and the name it is about, if it says one.
    fn about(&self) -> (&'static str, Option<&str>) {
        match self {
            Self::Signature | Self::Policy => (SIGNATURE_V1, None),
            Self::Release(release) => (RELEASE_V1, Some(&release.name)),
            Self::Approval(approval) => (APPROVAL_V1, Some(&approval.name)),
        }
    }
}

impl fmt::Display for Says {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (name, version, not_before, expires) = match self {
            Self::Signature | Self::Policy => return f.write_str("signature"),
            Self::Release(release) => (&release.name, Some(release.version), release.not_before, release.expires),
            Self::Approval(approval) => (&approval.name, approval.version, approval.not_before, approval.expires),
        };
        f.write_str(if matches!(self, Self::Release(_)) { "release of" } else { "approval of" })?;
        write!(f, " `{}`", edgeguard_policy::escape(name))?;
        version.map_or(Ok(()), |version| write!(f, ", version {version}"))?;
        not_before.map_or(Ok(()), |time| write!(f, ", from {time}"))?;
        expires.map_or(Ok(()), |time| write!(f, ", until {time}"))?;
        match self {
            Self::Release(Release { capabilities: Some(list), .. }) => write!(f, ", with at most {}", in_words(list)),
            _ => Ok(()),
        }
    }
}

fn in_words(list: &edgeguard_attest::Capabilities) -> String {
    let many = |count: usize, one: &str, more: &str| format!("{count} {}", if count == 1 { one } else { more });
    format!(
        "{}, {} and {}",
        many(list.directories.len(), "directory", "directories"),
        many(list.graphs.len(), "graph", "graphs"),
        many(list.environment.len(), "variable", "variables")
    )
}

/// What the bundle at `path` is, in words, if it is not an earlier one of the same kind, about the same name, by the same key.
pub(super) fn other(path: &Path, says: &Says, key: &SigningKey) -> Result<Option<String>, FileError> {
    let text = match files::read(path, MAX_BUNDLE) {
        Ok(text) => text,
        Err(error) if error.is_absence() => return Ok(None),
        Err(error) => return Err(error),
    };
    let Some(found) = Found::read(&text) else {
        return Ok(Some("no bundle that is understood".to_owned()));
    };
    let (kind, name) = says.about();
    if found.kind != kind {
        return Ok(Some(found.in_words()));
    }
    if found.name.as_deref() != name {
        return Ok(Some(found.in_words()));
    }
    if found.hint.as_deref() != Some(key.public().id().hint().as_str()) {
        return Ok(Some(format!("{} by another key", found.in_words())));
    }
    Ok(None)
}

/// What is looked at in a bundle, unverified.
struct Found {
    hint: Option<String>,
    kind: String,
    name: Option<String>,
}

impl Found {
    fn read(text: &[u8]) -> Option<Self> {
        let bundle: Value = serde_json::from_slice(text).ok()?;
        let hint = bundle.pointer("/verificationMaterial/publicKey/hint").and_then(Value::as_str).map(str::to_owned);
        if bundle.get("messageSignature").is_some() {
            return Some(Self { hint, kind: SIGNATURE_V1.to_owned(), name: None });
        }
        let payload = STANDARD.decode(bundle.pointer("/dsseEnvelope/payload")?.as_str()?).ok()?;
        let statement: Value = serde_json::from_slice(&payload).ok()?;
        let kind = statement.get("predicateType")?.as_str()?.to_owned();
        let name = statement.pointer("/predicate/name").and_then(Value::as_str).map(str::to_owned);
        Some(Self { hint, kind, name })
    }

    fn in_words(&self) -> String {
        let kind = match self.kind.as_str() {
            SIGNATURE_V1 => "a signature".to_owned(),
            RELEASE_V1 => "a release".to_owned(),
            APPROVAL_V1 => "an approval".to_owned(),
            other => format!("a statement `{}`", edgeguard_policy::escape(&other.chars().take(120).collect::<String>())),
        };
        match &self.name {
            Some(name) => format!("{kind} of `{}`", edgeguard_policy::escape(&name.chars().take(120).collect::<String>())),
            None => kind,
        }
    }
}
