//! Older versions of OCSF, for receivers that lag: what a version has no field for moves to `unmapped`, under the name it has in 1.8.
//!
//! Runs in: CLI, exporter.
//! Invariant: nothing is lost by a downgrade but names of activities; a denied event keeps `status_id` 2, whatever else has no place.
//!
//! The tables come from the schemas themselves (<https://schema.ocsf.io/>); a test validates every class in every version.

use std::fmt;
use std::str::FromStr;

use serde_json::Value;
use serde_json::json;

use crate::ocsf::MAX_LINE;
use crate::ocsf::set;
use crate::ocsf::shorten;

/// A version of the schema that lines can be written in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub enum OcsfVersion {
    /// 1.1.0, as Amazon Security Lake takes it.
    V1_1,
    /// 1.3.0, the newest that common add-ons map.
    V1_3,
    /// 1.5.0.
    V1_5,
    /// 1.8.0, in which everything has its place.
    #[default]
    V1_8,
}

/// `version` is not one that lines can be written in.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("expected an OCSF version of `1.1`, `1.3`, `1.5` and `1.8`, found `{0}`")]
pub struct UnknownVersion(String);

impl FromStr for OcsfVersion {
    type Err = UnknownVersion;

    fn from_str(text: &str) -> Result<Self, UnknownVersion> {
        let found = Self::ALL.into_iter().find(|version| text == version.number() || version.number().strip_suffix(".0") == Some(text));
        found.ok_or_else(|| UnknownVersion(crate::printable(text.as_bytes())))
    }
}

impl fmt::Display for OcsfVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.number())
    }
}

/// What a version lacks, and where.
struct Lack {
    /// Up to and including this version.
    until: OcsfVersion,
    /// The classes; none named for all.
    classes: &'static [u64],
    /// The object that holds the field, as a JSON pointer.
    object: &'static str,
    /// The field.
    field: &'static str,
}

const fn lack(until: OcsfVersion, classes: &'static [u64], object: &'static str, field: &'static str) -> Lack {
    Lack { until, classes, object, field }
}

use OcsfVersion::V1_1;
use OcsfVersion::V1_3;
use OcsfVersion::V1_5;

/// Classes that had no `security_control` profile.
const UNCONTROLLED: &[u64] = &[3004, 6002, 6003];

const LACKS: &[Lack] = &[
    lack(V1_5, &[], "/metadata", "original_event_uid"),
    lack(V1_5, &[6003], "", "ai_model"),
    lack(V1_3, &[], "/device", "boot_uid"),
    lack(V1_3, &[], "", "policy"),
    lack(V1_3, &[], "", "is_alert"),
    lack(V1_3, UNCONTROLLED, "", "action_id"),
    lack(V1_3, UNCONTROLLED, "", "action"),
    lack(V1_3, UNCONTROLLED, "", "disposition_id"),
    lack(V1_3, UNCONTROLLED, "", "disposition"),
    lack(V1_3, UNCONTROLLED, "", "firewall_rule"),
    lack(V1_3, &[6003], "", "device"),
    lack(V1_1, &[], "/actor", "app_name"),
    lack(V1_1, &[], "/actor", "app_uid"),
    lack(V1_1, &[3004], "/entity", "type_id"),
];

/// Activities that came later: class and activity; they become 99, and keep their name.
const LATER_ACTIVITIES: &[(OcsfVersion, u64, &[u64])] = &[(V1_1, 3004, &[5, 6, 7, 8, 9, 10, 11, 12, 13]), (V1_1, 6002, &[5, 6, 7, 8])];

/// Profiles that a version has at all, and those of its classes that do not have them.
const PROFILES: &[(&str, OcsfVersion, &[u64])] =
    &[("ai_operation", V1_5, &[]), ("security_control", V1_3, UNCONTROLLED), ("host", V1_3, &[6003]), ("trace", V1_3, &[])];

impl OcsfVersion {
    /// All of them, oldest first.
    pub const ALL: [Self; 4] = [Self::V1_1, Self::V1_3, Self::V1_5, Self::V1_8];

    /// The number as `metadata.version` has it.
    #[must_use]
    pub const fn number(self) -> &'static str {
        match self {
            Self::V1_1 => "1.1.0",
            Self::V1_3 => "1.3.0",
            Self::V1_5 => "1.5.0",
            Self::V1_8 => "1.8.0",
        }
    }

    /// An event of 1.8 as a line of this version.
    pub(crate) fn line(self, event: Value) -> String {
        let event = self.downgraded(event);
        let whole = event.to_string();
        if whole.len() <= MAX_LINE { whole } else { self.cut(event, whole.len()) }
    }

    fn downgraded(self, mut event: Value) -> Value {
        let class = event.get("class_uid").and_then(Value::as_u64).unwrap_or(0);
        set(&mut event, "/metadata", "version", self.number().into());
        for lack in LACKS.iter().filter(|lack| self <= lack.until && (lack.classes.is_empty() || lack.classes.contains(&class))) {
            let taken = event.pointer_mut(lack.object).and_then(Value::as_object_mut).and_then(|object| object.remove(lack.field));
            if let Some(taken) = taken {
                let name = match lack.object.trim_start_matches('/') {
                    "" => lack.field.to_owned(),
                    object => format!("{object}_{}", lack.field),
                };
                unmapped(&mut event, &name, taken);
            }
        }
        if let Some(profiles) = event.pointer_mut("/metadata/profiles").and_then(Value::as_array_mut) {
            let lacks = |profile: &Value| {
                let of = |(name, until, classes): &&(&str, Self, &[u64])| {
                    profile == *name && self <= *until && (classes.is_empty() || classes.contains(&class))
                };
                PROFILES.iter().find(of).is_some()
            };
            profiles.retain(|profile| !lacks(profile));
        }
        if self == Self::V1_1 && class == EVENT_LOG {
            a_log_is_an_entity(&mut event);
        }
        self.older_activity(&mut event, class);
        if self == Self::V1_1 {
            an_actor_is_somebody(&mut event);
        }
        event
    }

    fn older_activity(self, event: &mut Value, class: u64) {
        let activity = event.get("activity_id").and_then(Value::as_u64).unwrap_or(0);
        if LATER_ACTIVITIES.iter().any(|(until, of, later)| self <= *until && *of == class && later.contains(&activity)) {
            set(event, "", "activity_id", 99.into());
            set(event, "", "type_uid", (class * 100 + 99).into());
        }
    }

    /// A line that was too long, with its texts cut. Before 1.8 the schema has no place for saying so but `unmapped`.
    fn cut(self, mut event: Value, was: usize) -> String {
        for longest in [1024, 256, 96] {
            shorten(&mut event, longest);
            unmapped(&mut event, "is_truncated", true.into());
            unmapped(&mut event, "untruncated_size", was.into());
            let line = event.to_string();
            if line.len() <= MAX_LINE {
                return line;
            }
        }
        set(&mut event, "", "unmapped", json!({ "is_truncated": true, "untruncated_size": was }));
        if let Some(entity) = event.pointer_mut("/entity").and_then(Value::as_object_mut) {
            entity.remove("data");
        }
        event.to_string()
    }
}

/// 1.1 has no class for logs: there it is an entity, to which something is done that has no number.
fn a_log_is_an_entity(event: &mut Value) {
    let later = ["log_name", "log_provider", "log_type_id", "log_type", "action_id", "action", "disposition_id", "disposition"];
    for field in later {
        if let Some(taken) = event.as_object_mut().and_then(|object| object.remove(field)) {
            unmapped(event, field, taken);
        }
    }
    let named = [
        ("class_name", "Entity Management"),
        ("category_name", "Identity & Access Management"),
        ("type_name", "Entity Management: Export"),
    ];
    named.iter().for_each(|(field, name)| set(event, "", field, (*name).into()));
    let numbered = [("class_uid", 3004_u64), ("category_uid", 3), ("activity_id", 99), ("type_uid", 300_499)];
    numbered.iter().for_each(|(field, number)| set(event, "", field, (*number).into()));
    set(event, "", "entity", json!({ "name": "journal", "type": "Journal" }));
    if let Some(profiles) = event.pointer_mut("/metadata/profiles").and_then(Value::as_array_mut) {
        profiles.retain(|profile| profile != "security_control");
    }
}

/// Event Log Activity.
const EVENT_LOG: u64 = 1008;

/// In 1.1 an actor is a process, a user, a session or an invoking program; the name of a program alone is none.
fn an_actor_is_somebody(event: &mut Value) {
    let named = event.pointer("/unmapped/actor_app_name").cloned();
    if let Some(actor) = event.get_mut("actor").and_then(Value::as_object_mut)
        && !["process", "user", "invoked_by", "session"].iter().any(|field| actor.contains_key(*field))
    {
        actor.insert("invoked_by".to_owned(), named.unwrap_or_else(|| "edgeguardd".into()));
    }
}

fn unmapped(event: &mut Value, name: &str, field: Value) {
    if !event.get("unmapped").is_some_and(Value::is_object) {
        set(event, "", "unmapped", json!({}));
    }
    set(event, "/unmapped", name, field);
}
