//! The JSON Schema says what the parser says, as far as a schema can: held against the parser's own words, a validator and a TOML language server's.
#![cfg(feature = "tools")]
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod common;
mod tools;

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::path::PathBuf;
use std::process::Command;

use common::BASE;
use common::with;
use edgeguard_policy::json_schema::Format;
use edgeguard_policy::json_schema::json_schema;
use serde_json::Value;
use serde_json::json;
use tools::ran;
use tools::tempfile;
use tools::tools;

const REFERENCE: &str = include_str!("../../docs/policy-reference.md");

/// The fenced blocks of one kind on the reference page.
fn examples(kind: &str) -> Vec<&'static str> {
    REFERENCE.split(&format!("```{kind}\n")).skip(1).map(|rest| rest.split("```").next().unwrap()).collect()
}

/// Policies that the parser takes.
fn good() -> Vec<String> {
    let mut all = vec![BASE.to_owned(), BASE.replace("\"64 MiB\"", "\"64MiB\""), BASE.replace("\"500 ms\"", "\"500000 µs\"")];
    all.extend(examples("toml policy").into_iter().map(str::to_owned));
    all.extend(examples("toml section").into_iter().map(with));
    all.extend(examples("toml top").into_iter().map(|text| format!("{text}{BASE}")));
    for text in &all {
        edgeguard_policy::parse("good.toml", text).unwrap_or_else(|found| panic!("{found}\n{text}"));
    }
    all
}

/// Policies that leave to profiles what these may say.
fn partly() -> Vec<String> {
    let mut all: Vec<String> = examples("toml using").into_iter().map(str::to_owned).collect();
    let using = |text: &str| text.replace("version = 1", "version = 1\nprofiles = [\"base-vision\"]");
    all.push(using(BASE));
    all.push(using(BASE.split("[limits]").next().unwrap()));
    all.push(using(&BASE.replace("output = \"1 MiB\"\n", "")));
    all
}

/// Policies with one mistake that can be seen at one place.
fn bad() -> Vec<String> {
    let change = |from: &str, to: &str| {
        assert!(BASE.contains(from), "{from}");
        BASE.replace(from, to)
    };
    let all = vec![
        change("version = 1", "version = 2"),
        change("memory", "memroy"),
        change("[limits]", "[limit]"),
        change("[[dir]]", "[dir]"),
        change("\"64 MiB\"", "\"64 MB\""),
        change("\"64 MiB\"", "67108864"),
        change("\"500 ms\"", "\"5 m\""),
        change("instances = 4", "instances = 17"),
        change("instances = 4", "instances = \"4\""),
        change("output = \"1 MiB\"\n", ""),
        change("\"/audio\"", "\"audio\""),
        change("\"/var/lib/gateway/audio\"", "\"/var/lib//gateway/audio\""),
        change("access = \"read\"", "access = \"write\""),
        change("\"voice-gate\"", "\"Voice Gate\""),
        change("\"vad\"", "\"-vad\""),
        change("9f86d081884c", "9f86"),
        change("MODE = \"prod\"", "MODE = 1"),
        change("key = \"/etc/edgeguard/keys/acme.pub\"", "id = \"nobody\""),
        change("key = \"/etc/edgeguard/keys/acme.pub\"", "key = \"/a.pub\"\nissuer = \"https://i\"\nidentity = \"a@b\""),
        change("[[module.signer]]\nkey = \"/etc/edgeguard/keys/acme.pub\"\n", ""),
        change("mode = \"command\"", "mode = \"command\"\nargs = [1]"),
    ];
    for text in &all {
        assert!(edgeguard_policy::parse("bad.toml", text).is_err(), "{text}");
    }
    all
}

/// Every enumeration in a schema, by its dotted path.
fn enumerations(schema: &Value, path: &str, found: &mut BTreeMap<String, Vec<String>>) {
    if let Some(words) = schema.get("enum").and_then(Value::as_array) {
        found.insert(path.to_owned(), words.iter().map(|word| word.as_str().unwrap().to_owned()).collect());
    }
    if let Some(items) = schema.get("items") {
        enumerations(items, path, found);
    }
    for (name, inner) in schema.get("properties").and_then(Value::as_object).into_iter().flatten() {
        let path = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
        enumerations(inner, &path, found);
    }
}

/// The words that the parser allows, as it says when it finds another.
fn allowed(found: &edgeguard_policy::Diagnostics) -> Vec<String> {
    let helps: Vec<&String> = found.iter().flat_map(|d| d.helps()).filter(|help| help.starts_with("allowed here: ")).collect();
    assert_eq!(helps.len(), 1, "{found}");
    helps[0].trim_start_matches("allowed here: ").split(", ").map(|word| word.trim_matches('`').to_owned()).collect()
}

#[test]
fn every_enumeration_has_the_words_that_the_parser_allows_and_no_others() {
    let require = "[[module.require]]\nstatement = \"?\"\nsigners = [\"acme\"]\n";
    let policies = [
        ("module.mode", BASE.replace("\"command\"", "\"?\"")),
        ("module.signer.evidence", BASE.replace("acme.pub\"", "acme.pub\"\nevidence = \"?\"")),
        ("module.require.statement", with(require)),
        ("dir.access", BASE.replace("\"read\"", "\"?\"")),
        ("graph.encoding", BASE.replace("\"onnx\"", "\"?\"")),
        ("graph.engine", BASE.replace("\"cpu\"", "\"cpu\"\nengine = \"?\"")),
        ("graph.load", BASE.replace("\"cpu\"", "\"cpu\"\nload = \"?\"")),
        ("audit.paths", with("[audit]\npaths = \"?\"\n")),
        ("audit.graphs", with("[audit]\ngraphs = \"?\"\n")),
        ("graph.target", BASE.replace("\"cpu\"", "\"?\"")),
    ];
    let hosts = [
        ("trust.revocations", "version = 1\n[trust]\nrevocations = \"?\"\n".to_owned()),
        ("trust.counter", "version = 1\n[trust]\ncounter = \"?\"\n".to_owned()),
        ("audit.paths", "version = 1\n[audit]\npaths = \"?\"\n".to_owned()),
        ("audit.graphs", "version = 1\n[audit]\ngraphs = \"?\"\n".to_owned()),
        ("audit.counter", "version = 1\n[audit]\ncounter = \"?\"\n".to_owned()),
        ("audit.on-full", "version = 1\n[audit]\non-full = \"?\"\n".to_owned()),
    ];
    let mut of_policy = BTreeMap::new();
    enumerations(&json_schema(Format::Policy), "", &mut of_policy);
    let mut of_host = BTreeMap::new();
    enumerations(&json_schema(Format::Host), "", &mut of_host);
    let said = |list: &[(&str, String)], parse: &dyn Fn(&str) -> edgeguard_policy::Diagnostics| -> BTreeMap<String, Vec<String>> {
        list.iter().map(|(path, text)| ((*path).to_owned(), allowed(&parse(text)))).collect()
    };
    assert_eq!(of_policy, said(&policies, &|text| edgeguard_policy::parse("x.toml", text).unwrap_err()));
    assert_eq!(of_host, said(&hosts, &|text| edgeguard_policy::parse_host("x.toml", text).unwrap_err()));
}

/// Reads `{schema, texts}` and prints, for each text, whether it fits.
const VALIDATE: &str = r#"
import datetime, json, sys, tomllib, jsonschema
task = json.load(open(sys.argv[1]))
jsonschema.Draft7Validator.check_schema(task["schema"])
validator = jsonschema.Draft7Validator(task["schema"])
def plain(value):
    if isinstance(value, dict): return {k: plain(v) for k, v in value.items()}
    if isinstance(value, list): return [plain(v) for v in value]
    if isinstance(value, (datetime.date, datetime.time)): return value.isoformat()
    return value
print(json.dumps([validator.is_valid(plain(tomllib.loads(text))) for text in task["texts"]]))
"#;

fn fits(bin: &Path, format: Format, texts: &[String]) -> Vec<bool> {
    let dir = tempfile();
    let task = dir.join("task.json");
    fs::write(&task, json!({ "schema": json_schema(format), "texts": texts }).to_string()).unwrap();
    let said = ran(Command::new(bin.join("python")).args(["-c", VALIDATE]).arg(&task)).unwrap();
    fs::remove_dir_all(dir).unwrap();
    serde_json::from_str(&said).unwrap()
}

#[test]
fn a_validator_takes_every_policy_that_stands_and_no_mistake_in_its_shape() {
    let Some(bin) = tools() else { return };
    let (good, bad) = (good(), bad());
    for (text, fits) in good.iter().zip(fits(bin, Format::Policy, &good)) {
        assert!(fits, "{text}");
    }
    for (text, fits) in bad.iter().zip(fits(bin, Format::Policy, &bad)) {
        assert!(!fits, "{text}");
    }
    let partly = partly();
    assert!(fits(bin, Format::Policy, &partly).iter().all(|fits| *fits), "{partly:?}");
    let without: Vec<String> = partly.iter().map(|text| text.replace("profiles = [\"base-vision\"]\n", "")).collect();
    assert_eq!(fits(bin, Format::Policy, &without), [false, true, false, false]);
    let profiles: Vec<String> = examples("toml profile").into_iter().map(str::to_owned).collect();
    assert!(!profiles.is_empty() && fits(bin, Format::Profile, &profiles).iter().all(|fits| *fits));
    let no_profiles = ["version = 1\n[module]\nname = \"x\"\n", "version = 1\nprofiles = [\"x\"]\n", "[limits]\nmemory = \"1 MiB\"\n"];
    assert!(fits(bin, Format::Profile, &no_profiles.map(str::to_owned)).iter().all(|fits| !fits));
    let hosts: Vec<String> = examples("toml host").into_iter().map(str::to_owned).collect();
    assert!(hosts.len() > 2 && fits(bin, Format::Host, &hosts).iter().all(|fits| *fits));
    let bad =
        ["version = 1\n[trust]\nroot = \"/r.json\"\n", "version = 1\n[control]\nadmins = [\"root\"]\n", "[paths]\n"].map(str::to_owned);
    assert!(fits(bin, Format::Host, &bad).iter().all(|fits| !fits));
}

#[test]
fn a_language_server_takes_every_policy_that_stands_and_marks_mistakes_in_its_shape() {
    let Some(bin) = tools() else { return };
    let dir = tempfile();
    let schema = dir.join("schema.json");
    fs::write(&schema, json_schema(Format::Policy).to_string()).unwrap();
    let taplo = |files: &[PathBuf]| {
        ran(Command::new(bin.join("taplo"))
            .args(["check", "--no-auto-config", "--schema"])
            .arg(format!("file://{}", schema.display()))
            .args(files))
    };
    let write = |name: String, text: &str| {
        let path = dir.join(name);
        fs::write(&path, text).unwrap();
        path
    };
    let good: Vec<PathBuf> = good().iter().chain(&partly()).enumerate().map(|(i, text)| write(format!("good-{i}.toml"), text)).collect();
    taplo(&good).unwrap_or_else(|why| panic!("{why}"));
    for (i, text) in bad().iter().enumerate() {
        let said = taplo(&[write(format!("bad-{i}.toml"), text)]);
        // Its log's last line is sometimes lost with its end; the marked mistake is not.
        assert!(said.is_err_and(|why| why.contains("error: ") && why.contains(&format!("bad-{i}.toml:"))), "{text}");
    }
    fs::remove_dir_all(dir).unwrap();
}
