//! A policy that stands, and a way to change parts of it.

use std::collections::BTreeMap;

/// A policy without a mistake, with every section.
pub const BASE: &str = r#"version = 1

[module]
name = "voice-gate"
path = "/var/lib/edgeguard/modules/voice-gate.wasm"
mode = "command"

[[module.signer]]
key = "/etc/edgeguard/keys/acme.pub"

[[dir]]
guest = "/audio"
host = "/var/lib/gateway/audio"
access = "read"

[[graph]]
name = "vad"
model = "/var/lib/edgeguard/models/silero_vad.onnx"
sha256 = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"
encoding = "onnx"
target = "cpu"

[limits]
memory = "64 MiB"
deadline = "500 ms"
instances = 4
output = "1 MiB"

[env]
MODE = "prod"
"#;

/// [`BASE`] with the sections of `fragment` in place of those of the same name.
#[allow(dead_code, reason = "each test file uses its part of this module")]
pub fn with(fragment: &str) -> String {
    let mut sections = split(BASE);
    sections.extend(split(fragment));
    // `[[module.signer]]` belongs behind `[module]`; a map sorted by name would have it before.
    let order = |header: &str| match header {
        "" => 0,
        "[module]" => 1,
        "[[module.signer]]" => 2,
        _ => 3,
    };
    let mut list: Vec<_> = sections.into_iter().collect();
    list.sort_by_key(|(header, _)| order(header));
    list.into_iter().map(|(_, text)| text).collect::<Vec<_>>().join("\n")
}

/// [`BASE`] without a section.
#[allow(dead_code, reason = "each test file uses its part of this module")]
pub fn without(header: &str) -> String {
    let sections = split(BASE);
    assert!(sections.contains_key(header), "{header}");
    with_sections(sections.into_iter().filter(|(h, _)| h != header))
}

#[allow(dead_code, reason = "each test file uses its part of this module")]
fn with_sections(sections: impl Iterator<Item = (String, String)>) -> String {
    let mut list: Vec<_> = sections.collect();
    list.sort_by_key(|(header, _)| header != "[module]" && !header.is_empty());
    list.into_iter().map(|(_, text)| text).collect::<Vec<_>>().join("\n")
}

/// Sections by header; repeated ones together, the keys before the first header under the empty name.
fn split(text: &str) -> BTreeMap<String, String> {
    let mut sections: BTreeMap<String, String> = BTreeMap::new();
    let mut header = String::new();
    for line in text.lines().filter(|l| !l.trim().is_empty()) {
        if line.starts_with('[') {
            header = line.split_inclusive(']').take_while(|p| *p != " ").collect::<String>().trim().to_owned();
        }
        let section = sections.entry(header.clone()).or_default();
        section.push_str(line);
        section.push('\n');
    }
    sections
}
