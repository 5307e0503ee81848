//! The release statement: which module this is, which version of it, from when until when, and what it needs.
//!
//! Runs in: daemon, CLI; on a payload whose signature has been verified.
//! Does not: compare anything with a policy or a clock.

use serde::Serialize;
use serde::Serializer;

use crate::capabilities::Capabilities;
use crate::json::Fields;
use crate::rejection::Code;
use crate::rejection::Rejection;
use crate::rejection::shown;
use crate::statement::Validity;
use crate::statement::hex_sha256;
use crate::statement::name;
use crate::statement::version;
use crate::time::Time;

/// The `predicateType` of a release.
pub const RELEASE_V1: &str = "https://edgeguard.dev/module-release/v1";

/// `I release this module under this name and version.` Its JSON form is the predicate.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Release {
    /// The module's name, which must be the name in the policy that it runs under.
    pub name: String,
    /// Rises with each release; at most [`MAX_VERSION`](crate::MAX_VERSION).
    pub version: u64,
    /// The release does not hold before.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub not_before: Option<Time>,
    /// The release does not hold after.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expires: Option<Time>,
    /// The most that a policy may grant. `None`: the vendor says nothing about it, unless `capabilities_sha256` does.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub capabilities: Option<Capabilities>,
    /// [`Capabilities::sha256`] of the list. Alone, without the list, it means: grant exactly that, or nothing.
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "as_hex")]
    pub capabilities_sha256: Option<[u8; 32]>,
}

impl Release {
    pub(super) fn read(mut fields: Fields) -> Result<Self, Rejection> {
        let name = name(&mut fields)?;
        let version = version(&mut fields)?;
        let Validity { not_before, expires } = Validity::read(&mut fields)?;
        let capabilities = if fields.has("capabilities") { Some(Capabilities::read(fields.object("capabilities")?)?) } else { None };
        let capabilities_sha256 =
            if fields.has("capabilitiesSha256") { Some(hex_sha256(&mut fields, "capabilitiesSha256")?) } else { None };
        fields.finish()?;
        match (&capabilities, capabilities_sha256) {
            (Some(list), Some(stated)) if list.sha256() != stated => Err(Rejection::new(
                Code::Malformed,
                format!("`statement.predicate.capabilitiesSha256` of the canonical list, `{}`", hex::encode(list.sha256())),
                shown(&hex::encode(stated)),
            )),
            _ => Ok(Self { name, version, not_before, expires, capabilities, capabilities_sha256 }),
        }
    }

    /// Whether it says anything about what may be granted.
    #[must_use]
    pub fn lists_capabilities(&self) -> bool {
        self.capabilities.is_some() || self.capabilities_sha256.is_some()
    }

    /// What of `granted` this release does not allow, in words; `None` if it allows all of it.
    #[must_use]
    pub fn forbids(&self, granted: &Capabilities) -> Option<String> {
        match (&self.capabilities, self.capabilities_sha256) {
            (Some(list), _) => granted.wider_than(list),
            (None, Some(digest)) if granted.is_empty() || granted.sha256() == digest => None,
            (None, Some(_)) => Some(format!("grants with sha256 `{}`", hex::encode(granted.sha256()))),
            (None, None) => None,
        }
    }
}

#[expect(clippy::ref_option, reason = "the signature is serde's")]
fn as_hex<S: Serializer>(digest: &Option<[u8; 32]>, serializer: S) -> Result<S::Ok, S::Error> {
    match digest {
        Some(digest) => serializer.serialize_str(&hex::encode(digest)),
        None => serializer.serialize_none(),
    }
}
