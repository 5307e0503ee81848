//! The approval statement: somebody other than the builder says that this module may run under this name.
//!
//! Runs in: daemon, CLI; on a payload whose signature has been verified.
//! Does not: compare anything with a policy or a clock.

use serde::Serialize;

use crate::json::Fields;
use crate::rejection::Code;
use crate::rejection::Rejection;
use crate::statement::Validity;
use crate::statement::name;
use crate::statement::version;
use crate::time::Time;

/// The `predicateType` of an approval.
pub const APPROVAL_V1: &str = "https://edgeguard.dev/module-approval/v1";

/// The longest comment, in bytes.
const MAX_COMMENT: usize = 1024;

/// `I approve this module.` Its JSON form is the predicate.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Approval {
    /// The module's name, which must be the name in the policy that it runs under.
    pub name: String,
    /// The version that was approved; if a release states one too, it must be the same.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub version: Option<u64>,
    /// The approval does not hold before.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub not_before: Option<Time>,
    /// The approval does not hold after.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expires: Option<Time>,
    /// For people; nothing depends on it. At most 1024 bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub comment: Option<String>,
}

impl Approval {
    pub(super) fn read(mut fields: Fields) -> Result<Self, Rejection> {
        let name = name(&mut fields)?;
        let version = if fields.has("version") { Some(version(&mut fields)?) } else { None };
        let Validity { not_before, expires } = Validity::read(&mut fields)?;
        let comment = if fields.has("comment") { Some(fields.string("comment")?) } else { None };
        if let Some(text) = comment.as_ref().filter(|text| text.len() > MAX_COMMENT) {
            let expected = format!("at most {MAX_COMMENT} bytes in `{}`", fields.path_of("comment"));
            return Err(Rejection::new(Code::Malformed, expected, format!("{} bytes", text.len())));
        }
        fields.finish()?;
        Ok(Self { name, version, not_before, expires, comment })
    }
}
