//! The plain signature in statement form: `I sign this`, with nothing else said.
//!
//! Runs in: daemon, CLI; on a payload whose signature has been verified.

use crate::json::Fields;
use crate::rejection::Rejection;

/// What cosign writes for a plain signature: its predicate is empty.
pub const SIGNATURE_V1: &str = "https://sigstore.dev/cosign/sign/v1";

/// The predicate must be empty: whatever stands in it would be said by the signer and heard by nobody.
pub(super) fn read(predicate: Option<Fields>) -> Result<(), Rejection> {
    predicate.map_or(Ok(()), Fields::finish)
}
