//! The in-toto statement inside a DSSE envelope: what it must say to mean `I sign this module`.
//!
//! Runs in: daemon, CLI; on a payload whose signature has been verified.
//! Does not: accept other statements by the same key. A key may also sign what a scanner found, or that a module must not be run.

use crate::gate::IN_TOTO;
use crate::json::Fields;
use crate::json::Json;
use crate::module::ModuleDigest;
use crate::rejection::Check;
use crate::rejection::Code;
use crate::rejection::Rejection;
use crate::rejection::shown;

/// in-toto attestation framework, `spec/v1/statement.md`.
pub(crate) const STATEMENT_V1: &str = "https://in-toto.io/Statement/v1";
/// What cosign writes for a plain signature: its predicate is empty.
pub(crate) const COSIGN_SIGN: &str = "https://sigstore.dev/cosign/sign/v1";

/// DSSE's pre-authentication encoding (secure-systems-lab/dsse, `protocol.md`): what is really signed.
pub(crate) fn pre_authentication_encoding(payload: &[u8]) -> Vec<u8> {
    let mut out = format!("DSSEv1 {} {IN_TOTO} {} ", IN_TOTO.len(), payload.len()).into_bytes();
    out.extend_from_slice(payload);
    out
}

/// Checks that `payload` says that exactly `module` is signed.
pub(crate) fn check(payload: &[u8], module: ModuleDigest) -> Result<(), Rejection> {
    signs(payload, module).map_err(|mut rejection| {
        // The reader of JSON is the bundle's; what it finds here is wrong with the statement.
        if rejection.check == Check::Bundle {
            rejection.check = Check::Statement;
        }
        rejection
    })
}

fn signs(payload: &[u8], module: ModuleDigest) -> Result<(), Rejection> {
    let mut statement = Fields::of(Json::parse(payload, "statement")?, "statement")?;
    let kind = statement.string("_type")?;
    if kind != STATEMENT_V1 {
        return Err(Rejection::new(Code::StatementType, format!("`_type` `{STATEMENT_V1}`"), shown(&kind)));
    }
    let predicate_type = statement.string("predicateType")?;
    if predicate_type != COSIGN_SIGN {
        return Err(Rejection::new(Code::PredicateType, format!("`predicateType` `{COSIGN_SIGN}`"), shown(&predicate_type)));
    }
    if statement.has("predicate") {
        statement.object("predicate")?.finish()?;
    }
    let subjects = statement.array("subject")?;
    statement.finish()?;
    let count = subjects.len();
    let Ok([subject]) = <[Json; 1]>::try_from(subjects) else {
        return Err(Rejection::new(Code::Subject, "one subject", count.to_string()));
    };
    same_module(&subject_digest(subject)?, module)
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
