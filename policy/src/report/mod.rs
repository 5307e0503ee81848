//! Diagnostics in the forms that other programs read: SARIF 2.1.0, and the workflow commands of GitHub Actions.
//!
//! Runs in: command line.
//! Does not: open a file, or leave out what was counted and not kept; that is said in a line of its own.

use std::collections::BTreeMap;

use serde_json::Value;
use serde_json::json;

use crate::codes;
use crate::codes::Code;
use crate::codes::Severity;
use crate::diagnostic::Diagnostic;
use crate::diagnostic::Diagnostics;
use crate::diagnostic::Spot;

/// One log of one run, by the OASIS standard SARIF 2.1.0. `version` is that of the program.
///
/// Columns are counted in Unicode code points, which the run says. A path from the root becomes a `file` address; any other stays relative.
#[must_use]
pub fn sarif<'d>(all: impl IntoIterator<Item = &'d Diagnostics>, version: &str) -> Value {
    let (list, omitted) = gather(all);
    let mut used: BTreeMap<Code, usize> = list.iter().map(|d| (d.code(), 0)).collect();
    used.values_mut().enumerate().for_each(|(i, index)| *index = i);
    let rules: Vec<Value> = used.keys().filter_map(|code| rule(*code)).collect();
    let results: Vec<Value> = list.iter().map(|d| result(d, used.get(&d.code()).copied().unwrap_or_default())).collect();
    let mut invocation = json!({ "executionSuccessful": true });
    if let (Some(text), Value::Object(map)) = (more(omitted), &mut invocation) {
        map.insert("toolExecutionNotifications".into(), json!([{ "level": "error", "message": { "text": text } }]));
    }
    json!({
        "$schema": "https://json.schemastore.org/sarif-2.1.0.json",
        "version": "2.1.0",
        "runs": [{
            "tool": { "driver": { "name": "edgeguard", "version": version, "rules": rules } },
            "columnKind": "unicodeCodePoints",
            "invocations": [invocation],
            "results": results,
        }],
    })
}

/// One workflow command for each diagnostic, as GitHub Actions reads them from a step's standard output.
#[must_use]
pub fn github<'d>(all: impl IntoIterator<Item = &'d Diagnostics>) -> String {
    let (list, omitted) = gather(all);
    let mut out: String = list.iter().map(|d| command(d)).collect();
    if let Some(text) = more(omitted) {
        out.push_str(&github_command(Severity::Error, None, "edgeguard", &text));
    }
    out
}

/// One workflow command: `::error file=F,line=1::…`. The place is a file, and a line from 1.
#[must_use]
pub fn github_command(severity: Severity, place: Option<(&str, usize)>, title: &str, message: &str) -> String {
    let at = place.map(|(file, line)| format!("file={},line={line},", property(file))).unwrap_or_default();
    format!("::{} {at}title={}::{}\n", severity.as_str(), property(title), data(message))
}

fn gather<'d>(all: impl IntoIterator<Item = &'d Diagnostics>) -> (Vec<&'d Diagnostic>, usize) {
    let mut list = Vec::new();
    let mut omitted = 0;
    for found in all {
        list.extend(found.iter());
        omitted += found.omitted();
    }
    (list, omitted)
}

fn more(omitted: usize) -> Option<String> {
    (omitted > 0).then(|| format!("and {omitted} more like these, not shown"))
}

/// The message, and below it what to do.
fn text(d: &Diagnostic) -> String {
    let label = d.place().map(|spot| spot.label.as_str()).filter(|label| !label.is_empty());
    let mut text = d.message().to_owned();
    label.iter().for_each(|label| text.push_str(&format!(": {label}")));
    d.helps().iter().for_each(|help| text.push_str(&format!("\nhelp: {help}")));
    text
}

fn rule(code: Code) -> Option<Value> {
    let row = codes::TABLE.iter().find(|row| row.code == code)?;
    Some(json!({
        "id": row.id,
        "shortDescription": { "text": row.title },
        "fullDescription": { "text": row.why },
        "help": { "text": format!("`edgeguard explain {}` says more, with the wrong and the right", row.id) },
        "defaultConfiguration": { "level": row.severity.as_str() },
    }))
}

fn result(d: &Diagnostic, index: usize) -> Value {
    let mut value = json!({
        "ruleId": d.code().id(),
        "ruleIndex": index,
        "level": d.severity().as_str(),
        "message": { "text": text(d) },
    });
    let location = d.place().map(location).or_else(|| {
        let file = d.file()?;
        Some(json!({ "physicalLocation": { "artifactLocation": { "uri": uri(file) } } }))
    });
    if let Value::Object(map) = &mut value {
        map.insert("locations".into(), location.into_iter().collect());
        let related: Vec<Value> = d.others().iter().map(related).collect();
        if !related.is_empty() {
            map.insert("relatedLocations".into(), related.into());
        }
    }
    value
}

fn location(spot: &Spot) -> Value {
    let (line, column) = spot.source.line_column(spot.span.start);
    let (end_line, end_column) = spot.source.line_column(spot.span.end);
    json!({ "physicalLocation": {
        "artifactLocation": { "uri": uri(spot.source.name()) },
        "region": { "startLine": line, "startColumn": column, "endLine": end_line, "endColumn": end_column },
    } })
}

fn related(spot: &Spot) -> Value {
    let mut value = location(spot);
    if let Value::Object(map) = &mut value {
        map.insert("message".into(), json!({ "text": spot.label }));
    }
    value
}

/// A path as a reference by RFC 3986: whatever is not unreserved is given by its bytes.
fn uri(path: &str) -> String {
    let mut out = String::new();
    if path.starts_with('/') {
        out.push_str("file://");
    }
    for byte in path.strip_prefix("./").unwrap_or(path).bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' | b'/' => out.push(char::from(byte)),
            _ => out.push_str(&format!("%{byte:02X}")),
        }
    }
    out
}

fn command(d: &Diagnostic) -> String {
    let mut properties = String::new();
    match (d.place(), d.file()) {
        (Some(spot), _) => {
            let (line, column) = spot.source.line_column(spot.span.start);
            let (end_line, end_column) = spot.source.line_column(spot.span.end);
            properties = format!("file={},line={line},endLine={end_line},", property(spot.source.name()));
            // GitHub takes columns for one line only.
            if line == end_line {
                properties.push_str(&format!("col={column},endColumn={end_column},"));
            }
        }
        (None, Some(file)) => properties = format!("file={},", property(file)),
        (None, None) => {}
    }
    format!("::{} {properties}title={}::{}\n", d.severity().as_str(), property(d.code().id()), data(&text(d)))
}

/// As the runner's `escapeData`: nothing in a message begins another command.
fn data(text: &str) -> String {
    text.replace('%', "%25").replace('\r', "%0D").replace('\n', "%0A")
}

/// As the runner's `escapeProperty`.
fn property(text: &str) -> String {
    data(text).replace(':', "%3A").replace(',', "%2C")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

    use super::*;

    fn found(name: &str) -> Diagnostics {
        crate::parse(name, "version = 1\n[limits]\nmemory = \"64 MB\"\nacess = 1\n").unwrap_err()
    }

    #[test]
    fn no_file_name_and_no_message_begins_a_command_of_its_own() {
        let out = github([&found("a,b::c\n::error::x%.toml")]);
        assert!(out.lines().all(|line| line.starts_with("::error file=a%2Cb%3A%3Ac\\n%3A%3Aerror%3A%3Ax%25.toml,")), "{out}");
        assert!(out.contains("line=3,endLine=3,col=10,endColumn=17,title=EG027::"), "{out}");
        assert!(out.contains("%0Ahelp: "), "{out}");
    }

    #[test]
    fn every_result_names_its_rule_and_its_place() {
        let found = found("policy.d/a b#é.toml");
        let log = sarif([&found], "1.0");
        let run = &log["runs"][0];
        assert_eq!(run["results"].as_array().unwrap().len(), found.errors());
        for result in run["results"].as_array().unwrap() {
            let index = usize::try_from(result["ruleIndex"].as_u64().unwrap()).unwrap();
            assert_eq!(run["tool"]["driver"]["rules"][index]["id"], result["ruleId"]);
            let place = &result["locations"][0]["physicalLocation"];
            assert_eq!(place["artifactLocation"]["uri"], "policy.d/a%20b%23%C3%A9.toml");
            // A section that is missing has a file and no line.
            assert!(result["ruleId"] == "EG007" || place["region"]["startLine"].as_u64().unwrap() >= 1, "{result}");
        }
        assert_eq!(uri("/etc/a.toml"), "file:///etc/a.toml");
    }

    #[test]
    fn what_was_not_kept_is_said() {
        let text: String = (0..400).map(|i| format!("k{i} = 1\n")).collect();
        let found = crate::parse("x.toml", &text).unwrap_err();
        assert!(found.omitted() > 0);
        let text = format!("and {} more like these, not shown", found.omitted());
        assert_eq!(sarif([&found], "1")["runs"][0]["invocations"][0]["toolExecutionNotifications"][0]["message"]["text"], text);
        assert!(github([&found]).ends_with(&format!("::{text}\n")));
    }
}
