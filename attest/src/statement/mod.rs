//! The in-toto statement inside a DSSE envelope: one subject, which is the module, and one of the four things that may be said about it.
//!
//! Runs in: daemon, CLI; on a payload whose signature has been verified.
//! Invariant: every field was read or the statement is refused. Does not: decide whether anybody asked for the statement.

mod approval;
mod provenance;
mod release;
mod signature;

use std::fmt;

use serde::Serialize;

use crate::gate::IN_TOTO;
use crate::json::Fields;
use crate::json::Json;
use crate::module::ModuleDigest;
use crate::rejection::Check;
use crate::rejection::Code;
use crate::rejection::Rejection;
use crate::rejection::shown;
use crate::time::Time;

pub use self::approval::APPROVAL_V1;
pub use self::approval::Approval;
pub use self::provenance::PROVENANCE_V1;
pub use self::provenance::Provenance;
pub use self::release::RELEASE_V1;
pub use self::release::Release;
pub use self::signature::SIGNATURE_V1;

/// in-toto attestation framework, `spec/v1/statement.md`.
pub const STATEMENT_V1: &str = "https://in-toto.io/Statement/v1";

/// The highest version of a release: 2^53 - 1, the largest integer that every reader of JSON holds exactly (RFC 8259 §6).
pub const MAX_VERSION: u64 = (1 << 53) - 1;

/// The longest module name in a statement, in bytes.
const MAX_NAME: usize = 128;

/// What a signer said about a module.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Statement {
    /// `I sign this.` Also what a message signature says.
    Signature,
    /// `I release this under this name and version.`
    Release(Release),
    /// `I built this, in this way.`
    Provenance(Provenance),
    /// `I approve this.`
    Approval(Approval),
}

impl Statement {
    /// Which of the four it is.
    #[must_use]
    pub fn kind(&self) -> StatementKind {
        match self {
            Self::Signature => StatementKind::Signature,
            Self::Release(_) => StatementKind::Release,
            Self::Provenance(_) => StatementKind::Provenance,
            Self::Approval(_) => StatementKind::Approval,
        }
    }

    /// The module name that it states, if its kind states one.
    pub(crate) fn name(&self) -> Option<&str> {
        match self {
            Self::Signature | Self::Provenance(_) => None,
            Self::Release(release) => Some(&release.name),
            Self::Approval(approval) => Some(&approval.name),
        }
    }

    /// The version that it states, if it states one.
    pub(crate) fn version(&self) -> Option<u64> {
        match self {
            Self::Signature | Self::Provenance(_) => None,
            Self::Release(release) => Some(release.version),
            Self::Approval(approval) => approval.version,
        }
    }

    /// From when until when it says that it holds.
    pub(crate) fn validity(&self) -> Validity {
        let (not_before, expires) = match self {
            Self::Signature | Self::Provenance(_) => (None, None),
            Self::Release(release) => (release.not_before, release.expires),
            Self::Approval(approval) => (approval.not_before, approval.expires),
        };
        Validity { not_before, expires }
    }
}

/// The kinds of statements, by what they say.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum StatementKind {
    /// [`SIGNATURE_V1`], or a message signature.
    Signature,
    /// [`RELEASE_V1`].
    Release,
    /// [`PROVENANCE_V1`].
    #[serde(rename = "slsa-provenance")]
    Provenance,
    /// [`APPROVAL_V1`].
    Approval,
}

impl StatementKind {
    /// Every kind.
    pub const ALL: [Self; 4] = [Self::Signature, Self::Release, Self::Provenance, Self::Approval];

    /// Its name in policies, text and JSON.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Signature => "signature",
            Self::Release => "release",
            Self::Provenance => "slsa-provenance",
            Self::Approval => "approval",
        }
    }

    /// Its `predicateType`.
    #[must_use]
    pub fn predicate_type(self) -> &'static str {
        match self {
            Self::Signature => SIGNATURE_V1,
            Self::Release => RELEASE_V1,
            Self::Provenance => PROVENANCE_V1,
            Self::Approval => APPROVAL_V1,
        }
    }
}

impl fmt::Display for StatementKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// DSSE's pre-authentication encoding (secure-systems-lab/dsse, `protocol.md`): what is really signed.
pub(crate) fn pre_authentication_encoding(payload: &[u8]) -> Vec<u8> {
    let mut out = format!("DSSEv1 {} {IN_TOTO} {} ", IN_TOTO.len(), payload.len()).into_bytes();
    out.extend_from_slice(payload);
    out
}

/// Reads a statement about exactly `module`.
pub(crate) fn parse(payload: &[u8], module: ModuleDigest) -> Result<Statement, Rejection> {
    read(payload, module).map_err(|mut rejection| {
        // The reader of JSON is the bundle's; what it finds here is wrong with the statement.
        if rejection.check == Check::Bundle {
            rejection.check = Check::Statement;
        }
        rejection
    })
}

fn read(payload: &[u8], module: ModuleDigest) -> Result<Statement, Rejection> {
    let mut fields = Fields::of(Json::parse(payload, "statement")?, "statement")?;
    let kind = fields.string("_type")?;
    if kind != STATEMENT_V1 {
        return Err(Rejection::new(Code::StatementType, format!("`_type` `{STATEMENT_V1}`"), shown(&kind)));
    }
    let predicate_type = fields.string("predicateType")?;
    let Some(kind) = StatementKind::ALL.into_iter().find(|kind| kind.predicate_type() == predicate_type) else {
        let known: Vec<String> = StatementKind::ALL.iter().map(|kind| format!("`{}`", kind.predicate_type())).collect();
        return Err(Rejection::new(Code::PredicateType, format!("`predicateType` {}", known.join(" or ")), shown(&predicate_type)));
    };
    let statement = match kind {
        StatementKind::Signature => {
            let predicate = if fields.has("predicate") { Some(fields.object("predicate")?) } else { None };
            signature::read(predicate)?;
            Statement::Signature
        }
        StatementKind::Release => Statement::Release(Release::read(fields.object("predicate")?)?),
        StatementKind::Approval => Statement::Approval(Approval::read(fields.object("predicate")?)?),
        StatementKind::Provenance => {
            let predicate = fields.take("predicate");
            let missing = || Rejection::new(Code::Malformed, "field `statement.predicate`", "none");
            Statement::Provenance(Provenance::read(predicate.ok_or_else(missing)?)?)
        }
    };
    let subjects = fields.array("subject")?;
    fields.finish()?;
    let count = subjects.len();
    let Ok([subject]) = <[Json; 1]>::try_from(subjects) else {
        return Err(Rejection::new(Code::Subject, "one subject", count.to_string()));
    };
    same_module(&subject_digest(subject)?, module)?;
    Ok(statement)
}

/// The lower-case hex of the one subject's sha256. Its name is the signer's affair; its annotations must be empty, for nothing checks them.
fn subject_digest(subject: Json) -> Result<String, Rejection> {
    let mut subject = Fields::of(subject, "statement.subject.0")?;
    if subject.has("name") {
        subject.string("name")?;
    }
    if subject.has("annotations") {
        subject.object("annotations")?.finish()?;
    }
    let mut digest = subject.object("digest")?;
    subject.finish()?;
    if !digest.has("sha256") {
        return Err(Rejection::new(Code::Subject, "a `sha256` in `statement.subject.0.digest`", "none"));
    }
    let sha256 = digest.string("sha256")?;
    digest
        .finish()
        .map_err(|other| Rejection::new(Code::Subject, "only `sha256` in `statement.subject.0.digest`", format!("also {}", other.found)))?;
    Ok(sha256)
}

fn same_module(stated: &str, module: ModuleDigest) -> Result<(), Rejection> {
    if stated == module.to_string() {
        return Ok(());
    }
    Err(wrong_module(module, &shown(stated)))
}

/// The refusal of a module that is not the one that was signed; `signed` is the digest that was, already fit to be shown.
pub(crate) fn wrong_module(module: ModuleDigest, signed: &str) -> Rejection {
    Rejection::new(Code::Digest, format!("sha256 {signed}, which was signed"), format!("`{module}`"))
}

/// From when until when a statement says that it holds, both inclusive.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Validity {
    pub(crate) not_before: Option<Time>,
    pub(crate) expires: Option<Time>,
}

impl Validity {
    fn read(fields: &mut Fields) -> Result<Self, Rejection> {
        let not_before = time(fields, "notBefore")?;
        let expires = time(fields, "expires")?;
        match (not_before, expires) {
            (Some(from), Some(until)) if until < from => Err(Rejection::new(
                Code::Malformed,
                format!("`{}` after `{from}`, which is `notBefore`", fields.path_of("expires")),
                format!("`{until}`"),
            )),
            _ => Ok(Self { not_before, expires }),
        }
    }
}

fn time(fields: &mut Fields, key: &'static str) -> Result<Option<Time>, Rejection> {
    if !fields.has(key) {
        return Ok(None);
    }
    let text = fields.string(key)?;
    let wanted = || format!("a time such as `2026-11-22T20:50:00Z` in `{}`", fields.path_of(key));
    text.parse().map(Some).map_err(|_| Rejection::new(Code::Malformed, wanted(), shown(&text)))
}

fn name(fields: &mut Fields) -> Result<String, Rejection> {
    let name = fields.string("name")?;
    if name.is_empty() || name.len() > MAX_NAME {
        let expected = format!("1 to {MAX_NAME} bytes in `{}`", fields.path_of("name"));
        return Err(Rejection::new(Code::Malformed, expected, format!("{} bytes", name.len())));
    }
    Ok(name)
}

fn version(fields: &mut Fields) -> Result<u64, Rejection> {
    let path = fields.path_of("version");
    let wanted = || format!("a whole number from 0 to {MAX_VERSION} in `{path}`");
    match fields.take("version") {
        Some(Json::Number(number)) => match number.as_u64() {
            Some(version) if version <= MAX_VERSION => Ok(version),
            _ => Err(Rejection::new(Code::Malformed, wanted(), format!("`{number}`"))),
        },
        Some(_) => Err(Rejection::new(Code::Malformed, wanted(), "something else")),
        None => Err(Rejection::new(Code::Malformed, format!("field `{path}`"), "none")),
    }
}

fn hex_sha256(fields: &mut Fields, key: &'static str) -> Result<[u8; 32], Rejection> {
    let text = fields.string(key)?;
    let mut out = [0; 32];
    // The library reads upper case too; one digest has one spelling here.
    if text.bytes().any(|c| c.is_ascii_uppercase()) || hex::decode_to_slice(&text, &mut out).is_err() {
        return Err(Rejection::new(Code::Malformed, format!("64 lower-case hex digits in `{}`", fields.path_of(key)), shown(&text)));
    }
    Ok(out)
}

#[cfg(test)]
mod tests;
