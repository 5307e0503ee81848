//! SARIF held against the schema of the standard, by somebody else's validator.
//!
//! The schema is OASIS's `sarif-schema-2.1.0.json`, taken from the crate that generates its types from it, and pinned here by its digest.
#![cfg(feature = "tools")]
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod common;
mod tools;

use std::fs;
use std::path::Path;
use std::path::PathBuf;
use std::process::Command;
use std::sync::LazyLock;

use edgeguard_policy::Diagnostics;
use edgeguard_policy::codes::TABLE;
use edgeguard_policy::report::sarif;
use serde_json::Value;
use serde_json::json;
use sha2::Digest as _;
use tools::ran;
use tools::tempfile;
use tools::tools;

/// SHA-256 of the schema.
const SCHEMA: &str = "af47e7b67f24efe74076621fd3a5fbe7398add9e84fe820c971219a385895cea";

/// A package that depends on nothing but the crate with the schema in it; cargo fetches that, and says where it put it.
const MANIFEST: &str = "[package]\nname = \"schema\"\nversion = \"0.0.0\"\nedition = \"2024\"\n[lib]\npath = \"lib.rs\"\n[workspace]\n[dependencies]\nserde-sarif = \"=0.8.0\"\n";

static FETCHED: LazyLock<Result<PathBuf, String>> = LazyLock::new(|| {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/editor-tools/sarif");
    let kept = dir.join("sarif-schema-2.1.0.json");
    let is_it = |bytes: &[u8]| hex::encode(sha2::Sha256::digest(bytes)) == SCHEMA;
    if fs::read(&kept).is_ok_and(|bytes| is_it(&bytes)) {
        return Ok(kept);
    }
    let broken = |error: std::io::Error| format!("cannot keep the schema: {error}");
    fs::create_dir_all(&dir)
        .and_then(|()| fs::write(dir.join("lib.rs"), ""))
        .and_then(|()| fs::write(dir.join("Cargo.toml"), MANIFEST))
        .map_err(broken)?;
    let metadata = ran(Command::new(env!("CARGO")).args(["metadata", "--format-version", "1"]).current_dir(&dir))?;
    let metadata: Value = serde_json::from_str(&metadata).map_err(|error| error.to_string())?;
    let package = metadata["packages"].as_array().into_iter().flatten().find(|package| package["name"] == "serde-sarif");
    let manifest = package.and_then(|package| package["manifest_path"].as_str()).ok_or("cargo fetched no `serde-sarif`")?;
    let bytes = fs::read(Path::new(manifest).with_file_name("src").join("schema.json")).map_err(broken)?;
    assert!(is_it(&bytes), "the schema that was fetched is another one");
    fs::write(&kept, bytes).map_err(broken)?;
    Ok(kept)
});

/// The schema; where it cannot be had, none on a developer's machine, and a failure in CI.
fn schema() -> Option<&'static PathBuf> {
    match &*FETCHED {
        Ok(schema) => Some(schema),
        Err(why) if std::env::var_os("CI").is_some() => panic!("the schema of SARIF is needed: {why}"),
        Err(why) => {
            eprintln!("skipped: {why}");
            None
        }
    }
}

/// Reads the schema and a list of logs, and prints what is wrong with each; nothing where all is well.
const VALIDATE: &str = r#"
import json, sys, jsonschema
schema = json.load(open(sys.argv[1]))
jsonschema.Draft7Validator.check_schema(schema)
validator = jsonschema.Draft7Validator(schema)
print(json.dumps(["; ".join(e.message for e in validator.iter_errors(log)) for log in json.load(open(sys.argv[2]))]))
"#;

fn mistakes(logs: &[Value]) -> Option<Vec<String>> {
    let (bin, schema) = (tools()?, schema()?);
    let dir = tempfile();
    let file = dir.join("logs.json");
    fs::write(&file, json!(logs).to_string()).unwrap();
    let said = ran(Command::new(bin.join("python")).args(["-c", VALIDATE]).arg(schema).arg(&file)).unwrap();
    fs::remove_dir_all(dir).unwrap();
    Some(serde_json::from_str(&said).unwrap())
}

fn found(name: &str, text: &str) -> Diagnostics {
    match edgeguard_policy::parse(name, text) {
        Ok(policy) => policy.warnings,
        Err(found) => found,
    }
}

#[test]
fn every_log_fits_the_standards_own_schema() {
    let mut all: Vec<Diagnostics> =
        TABLE.iter().filter(|row| !row.wrong.is_empty()).map(|row| found("policy.d/a b#é.toml", &common::with(row.wrong))).collect();
    assert!(all.len() > 30 && all.iter().all(|found| !found.is_empty()));
    // No place, a path from the root, more than are kept, two places in two files, and nothing at all.
    all.push(found("/etc/edgeguard/policy.d/x.toml", ""));
    all.push(found("many.toml", &(0..400).map(|i| format!("k{i} = 1\n")).collect::<String>()));
    all.push(edgeguard_policy::parse_bytes("latin1.toml", b"\xe9").unwrap_err());
    let policy = |file: &str| edgeguard_policy::parse(file, common::BASE).unwrap();
    all.push(edgeguard_policy::check_set(&[policy("a.toml"), policy("b.toml")]));
    all.push(Diagnostics::default());
    let mut logs: Vec<Value> = all.iter().map(|found| sarif([found], "1.2.3")).collect();
    logs.push(sarif(&all, "1.2.3"));
    let Some(mistakes) = mistakes(&logs) else { return };
    for (log, mistake) in logs.iter().zip(mistakes) {
        assert!(mistake.is_empty(), "{mistake}\n{log:#}");
    }
}

#[test]
fn a_log_that_breaks_the_standard_is_noticed() {
    let good = sarif([&found("x.toml", &common::with("[limits]\nmemory = 1\n"))], "1");
    let broken: [fn(&mut Value); 5] = [
        |log| log["version"] = json!("2.0.0"),
        |log| log["runs"][0]["results"][0]["level"] = json!("fatal"),
        |log| log["runs"][0]["results"][0]["message"] = json!("in a string"),
        |log| log["runs"][0]["results"][0]["locations"][0]["physicalLocation"]["region"]["startLine"] = json!(0),
        |log| log["runs"][0]["tool"] = json!({}),
    ];
    let mut logs: Vec<Value> = broken
        .iter()
        .map(|damage| {
            let mut log = good.clone();
            damage(&mut log);
            log
        })
        .collect();
    logs.push(good);
    let Some(mistakes) = mistakes(&logs) else { return };
    let seen: Vec<bool> = mistakes.iter().map(|mistake| !mistake.is_empty()).collect();
    assert_eq!(seen, [true, true, true, true, true, false], "{mistakes:?}");
}
