//! Rules of the house that no compiler checks: who may depend on what, where `unsafe` may stand, what every file says of itself, and that what the documents
//! name is there.
//!
//! Runs on the developer's machine and in CI, on the sources; builds nothing.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]
#![forbid(unsafe_code)]

mod place;

use std::collections::BTreeMap;
use std::collections::BTreeSet;
use std::path::Path;
use std::path::PathBuf;
use std::process::Command;

/// Who may name a dependency that carries a privilege or a risk. `deny.toml` says the same to `cargo deny`.
const WRAPPERS: &[(&str, &[&str])] = &[
    ("wasmtime", &["edgeguard-engine", "edgeguard-compile", "edgeguard-worker", "edgeguard-bench"]),
    ("wasmtime-wasi", &["edgeguard-engine", "edgeguard-compile", "edgeguard-worker", "edgeguard-bench"]),
    ("wiggle", &["edgeguard-worker"]),
    ("rten", &["edgeguard-graph", "edgeguard-bench"]),
    ("rten-tensor", &["edgeguard-graph", "edgeguard-bench"]),
    // The second for its tests, which are played by the first one's.
    ("rten-onnx", &["edgeguard-graph", "edgeguard-torch"]),
    ("openvino", &["edgeguard-graph"]),
    ("openvino-sys", &["edgeguard-graph"]),
    ("llama-cpp-sys-2", &["edgeguard-language"]),
    ("landlock", &["edgeguard-sandbox"]),
    ("seccompiler", &["edgeguard-sandbox"]),
    ("sigstore-verify", &["edgeguard-attest"]),
    ("sigstore-crypto", &["edgeguard-attest"]),
    ("sigstore-types", &["edgeguard-attest"]),
    ("sigstore-tuf", &["edgeguard-attest"]),
    ("rustls", &["edgeguard-export"]),
    ("prost", &["edgeguard-export"]),
    ("hyper", &["edgeguardd", "edgeguard", "edgeguard-worker"]),
    ("hyper-util", &["edgeguardd", "edgeguard"]),
    ("wasmtime-wasi-http", &["edgeguard-worker"]),
];

/// Clients for a network, and what they are built of.
const CLIENTS: &[&str] =
    &["reqwest", "ureq*", "curl*", "isahc", "attohttpc", "tonic", "rustls", "native-tls", "openssl", "openssl-sys", "hickory*"];

/// Loops that wait for many things at once, and what speaks HTTP on them.
const RUNTIMES: &[&str] = &["tokio*", "async-std", "smol", "async-io", "mio", "hyper*"];

/// What must not be anywhere below a crate of ours, and why; a star stands for any ending.
const ABSENT: &[(&str, &[&str], &str)] = &[
    (
        "edgeguardd",
        &["wasmtime*", "cranelift*", "rten*", "ort", "openvino", "tract*", "candle*", "llama-cpp*"],
        "the daemon runs no module and parses no model",
    ),
    ("edgeguardd", CLIENTS, "nothing in admission touches a network"),
    ("edgeguardd", &["edgeguard-export", "edgeguard-virtual-sigstore", "prost", "swtpm*"], "the daemon sends nothing, and plays nothing"),
    (
        "edgeguard-worker",
        &["edgeguard-attest", "edgeguard-policy", "sigstore*", "toml", "edgeguardd", "hyper-util", "rten*"],
        "a worker is given what it has",
    ),
    // hyper comes whole with the engine's wasi:http, its client's half too; what would open a connection for it is in crates beside it.
    ("edgeguard-worker", CLIENTS, "a worker sends no request"),
    (
        "edgeguard-compile",
        &["edgeguard-attest", "edgeguard-policy", "sigstore*", "edgeguardd", "hyper", "rten*"],
        "a compiler sees one module",
    ),
    (
        "edgeguard-graph",
        &["edgeguard-attest", "edgeguard-policy", "sigstore*", "edgeguardd", "hyper", "wasmtime*"],
        "a graph host sees one model",
    ),
    (
        "edgeguard-language",
        &["edgeguard-attest", "edgeguard-policy", "sigstore*", "edgeguardd", "edgeguard-graph", "rten*", "hyper", "wasmtime*"],
        "a language host sees one model, and no other process has its engine",
    ),
    ("edgeguard-graph", &["llama-cpp*"], "the engine of language models has a process of its own"),
    ("edgeguard-attest", CLIENTS, "verification is offline"),
    ("edgeguard-attest", RUNTIMES, "verification waits for nobody"),
    ("edgeguard-attest", &["edgeguard-policy"], "it proves; what is required is told to it"),
    ("edgeguard-admission", CLIENTS, "it translates"),
    ("edgeguard-admission", RUNTIMES, "it translates"),
    ("edgeguard-audit", CLIENTS, "the journal is on this machine"),
    ("edgeguard-audit", RUNTIMES, "the journal has a thread, and no loop"),
    (
        "edgeguard-export",
        &[
            "wasmtime*",
            "rten*",
            "edgeguardd",
            "edgeguard-attest",
            "edgeguard-policy",
            "edgeguard-worker",
            "reqwest",
            "openssl*",
            "native-tls",
        ],
        "the exporter reads the journal and sends it on",
    ),
    ("edgeguard-policy", &["tokio", "hyper", "rustix", "cap-std", "edgeguard-attest"], "policies are text; reading files is the caller's"),
    ("edgeguard-sandbox", &["edgeguard*", "tokio", "wasmtime*"], "the sandbox depends on nothing of ours"),
    (
        "edgeguard",
        &["wasmtime*", "cranelift*", "rten*", "edgeguardd", "edgeguard-worker", "edgeguard-graph"],
        "the command line is a tool of its own",
    ),
];

/// Words that a crate's own code may not hold, and why. `#[cfg(test)]` code comes after the product's in a file, and is not looked at.
const NO_IO: &[(&str, &[&str], &str)] = &[
    ("policy/src/", &["std::fs", "std::net", "std::process", "std::env"], "policies are text; reading files is the caller's"),
    ("attest/src/", &["std::net", "std::process", "std::env"], "verification is offline"),
    ("supervisor/wire/src/", &["std::fs", "std::net", "std::process", "std::env"], "it carries and opens nothing"),
    ("supervisor/engine/src/", &["std::fs", "std::net", "std::process"], "it configures"),
    ("supervisor/compile/src/", &["std::fs", "std::net", "process::Command"], "a compiler opens nothing"),
    ("supervisor/worker/src/", &["std::fs", "std::net", "process::Command"], "a worker has what it is given"),
    ("supervisor/graph/src/", &["std::fs", "std::net", "process::Command"], "a graph host has what it is given"),
    ("supervisor/language/src/", &["std::fs", "std::net", "process::Command"], "a language host has what it is given"),
    ("supervisor/torch/src/", &["std::fs", "std::net", "process::Command"], "a graph host has what it is given"),
];

/// Where `unsafe` may stand: folders, and single files with the number of times.
const UNSAFE_FOLDERS: &[&str] =
    &["supervisor/sandbox/src/sys/", "supervisor/language/src/sys/", "supervisor/torch/src/sys/", "guest-sdk/src/sys/"];
const UNSAFE_FILES: &[(&str, usize)] = &[
    // The wasm engine's own interface asks for these: native code is vouched for, and its pages are handed over.
    ("supervisor/engine/src/load.rs", 2),
    ("supervisor/engine/src/publish.rs", 2),
    // Names of the C library for a guest: it runs in the sandbox, and can do there what every guest can.
    ("guest-sdk/examples/own-engine/src/threads.rs", 5),
    // The red team's attack code makes system calls by number. It is never shipped.
    ("tests/src/redteam/attack.rs", 2),
];

#[test]
fn a_risky_dependency_is_named_only_by_the_crates_that_wrap_it() {
    let metadata = metadata();
    let mut wrong = Vec::new();
    for package in members(&metadata) {
        for dependency in package["dependencies"].as_array().unwrap() {
            let (owner, name) = (package["name"].as_str().unwrap(), dependency["name"].as_str().unwrap());
            let in_tests_only = dependency["kind"].as_str() == Some("dev");
            let wrappers = WRAPPERS.iter().find(|(risky, _)| *risky == name).map(|(_, wrappers)| *wrappers);
            if wrappers.is_some_and(|wrappers| !wrappers.contains(&owner)) && !in_tests_only {
                wrong.push(format!("`{owner}` names `{name}`, which only {} may", wrappers.unwrap().join(", ")));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn no_process_links_what_belongs_to_another() {
    let mut wrong = Vec::new();
    for (owner, names, reason) in ABSENT {
        for line in tree(owner).lines().skip(1) {
            let name = line.split_whitespace().next().unwrap_or("");
            if names.iter().any(|absent| absent.strip_suffix('*').map_or(name == *absent, |start| name.starts_with(start))) {
                wrong.push(format!("`{owner}` depends on `{name}`: {reason}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn the_daemon_has_no_http_client() {
    let text = place::stdout(cargo().args(["tree", "-p", "edgeguardd", "-e", "normal", "--prefix", "none", "--format", "{p} [{f}]"]));
    for line in text.lines().filter(|line| line.starts_with("hyper ") || line.starts_with("hyper-util ")) {
        assert!(!line.contains("client"), "a client came in: {line}");
    }
    assert!(text.lines().any(|line| line.starts_with("hyper ")), "this test looks for something that is no longer there");
}

#[test]
fn the_deny_file_says_the_same_of_wrappers() {
    let deny = std::fs::read_to_string(place::root().join("deny.toml")).unwrap();
    for (name, wrappers) in WRAPPERS {
        let line = deny
            .lines()
            .find(|line| line.contains(&format!("crate = \"{name}\"")))
            .unwrap_or_else(|| panic!("deny.toml does not ban `{name}`"));
        for wrapper in *wrappers {
            assert!(line.contains(&format!("\"{wrapper}\"")), "deny.toml does not let `{wrapper}` name `{name}`");
        }
    }
}

/// What `cargo deny` would say, for a machine that does not have it.
#[test]
fn what_the_deny_file_bans_is_named_by_its_wrappers_and_by_nobody_else() {
    let deny = std::fs::read_to_string(place::root().join("deny.toml")).unwrap();
    let lock = std::fs::read_to_string(place::root().join("Cargo.lock")).unwrap();
    let mut wrong = Vec::new();
    let mut rows = 0;
    for line in deny.lines().filter_map(|line| line.trim().strip_prefix("{ crate = \"")) {
        rows += 1;
        let name = line.split('"').next().unwrap();
        if !lock.contains(&format!("name = \"{name}\"\n")) {
            continue;
        }
        let wrappers = line.split_once("wrappers = [").map_or("", |(_, rest)| rest.split(']').next().unwrap());
        let edges = ["tree", "--offline", "--workspace", "-e", "normal,build,dev", "--prefix", "depth", "--depth", "1", "-i", name];
        // A crate that is in the lock file and in no tree is there for a feature or a target that nobody has.
        let tree = place::run(cargo().args(edges)).unwrap().stdout;
        for owner in String::from_utf8_lossy(&tree).lines().filter_map(|line| line.strip_prefix('1')) {
            let owner = owner.split_whitespace().next().unwrap_or_default();
            if !wrappers.contains(&format!("\"{owner}\"")) {
                wrong.push(format!("`{owner}` names `{name}`, which deny.toml lets nobody but [{wrappers}]"));
            }
        }
    }
    assert!(rows >= 20, "only {rows} rows found: has the file changed its form?");
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn a_crate_without_input_and_output_names_none() {
    let mut wrong = Vec::new();
    for (name, text) in sources() {
        let Some((_, banned, reason)) = NO_IO.iter().find(|(folder, _, _)| name.starts_with(folder)) else { continue };
        // A module of tests in a file or folder of its own.
        if name.ends_with("/tests.rs") || name.contains("/src/tests/") || name.contains("/tests/") {
            continue;
        }
        let code = code_only(text.split("#[cfg(test)]").next().unwrap_or(""));
        wrong.extend(banned.iter().filter(|word| code.contains(**word)).map(|word| format!("{name}: `{word}`, but {reason}")));
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn unsafe_stands_only_where_it_may() {
    let mut wrong = Vec::new();
    for (name, text) in sources() {
        let allowed = UNSAFE_FILES.iter().find(|(file, _)| *file == name).map_or(0, |(_, times)| *times);
        let found = words(&text, "unsafe");
        if found > allowed && !UNSAFE_FOLDERS.iter().any(|folder| name.starts_with(folder)) {
            wrong.push(format!("{name}: {found} times, {allowed} allowed"));
        }
    }
    assert!(wrong.is_empty(), "`unsafe` outside its place:\n{}", wrong.join("\n"));
}

#[test]
fn every_crate_forbids_unsafe_but_those_that_hold_it() {
    // The folders' own crates, and the one whose few lines are counted above; all but the first deny it everywhere else.
    let holds = [
        ("supervisor/sandbox/src/lib.rs", ""),
        ("supervisor/engine/src/lib.rs", "#![deny(unsafe_code)]"),
        ("supervisor/language/src/lib.rs", "#![deny(unsafe_code)]"),
        ("supervisor/torch/src/lib.rs", "#![deny(unsafe_code)]"),
    ];
    let mut wrong = Vec::new();
    // The guests' workspace says it once for all its crates.
    let guests = std::fs::read_to_string(place::root().join("guest-sdk/Cargo.toml")).unwrap();
    assert!(guests.contains("unsafe_code = \"deny\""), "guest-sdk/Cargo.toml no longer denies unsafe code");
    for (name, text) in sources() {
        let root = name.ends_with("src/lib.rs") || name.ends_with("src/main.rs");
        let wanted = holds.iter().find(|(holder, _)| *holder == name).map_or("#![forbid(unsafe_code)]", |(_, wanted)| *wanted);
        if root && !name.starts_with("guest-sdk/") && !text.contains(wanted) {
            wrong.push(format!("{name}: expected `{wanted}`"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn every_source_file_says_what_it_is_and_stays_readable() {
    let mut wrong = Vec::new();
    for (name, text) in sources() {
        if !text.starts_with("//!") {
            wrong.push(format!("{name}: does not open with `//!`"));
        }
        let lines = text.lines().count();
        if lines > MAX_LINES {
            wrong.push(format!("{name}: {lines} lines, at most {MAX_LINES}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn nothing_is_left_unfinished() {
    // Put together here, so that this file does not find itself.
    let joined = |pairs: &[(&str, &str)]| pairs.iter().map(|(a, b)| format!("{a}{b}")).collect::<Vec<_>>();
    let in_text = joined(&[("TO", "DO"), ("FIX", "ME"), ("(being", " built)")]);
    let in_code = joined(&[("todo", "!("), ("unimpl", "emented!(")]);
    let mut found = Vec::new();
    for (name, text) in sources() {
        let code = code_only(&text);
        found.extend(in_text.iter().filter(|mark| text.contains(mark.as_str())).map(|mark| format!("{name}: `{mark}`")));
        found.extend(in_code.iter().filter(|mark| code.contains(mark.as_str())).map(|mark| format!("{name}: `{mark}`")));
    }
    assert!(found.is_empty(), "{}", found.join("\n"));
}

#[test]
fn an_ignored_test_says_why() {
    let found: Vec<String> = sources()
        .into_iter()
        .filter(|(_, text)| text.lines().any(|line| line.trim() == concat!("#[ig", "nore]")))
        .map(|(name, _)| name)
        .collect();
    assert!(found.is_empty(), "`ignore` without a reason: {found:?}");
}

#[test]
fn no_file_names_the_machine_it_was_written_on() {
    let marks: Vec<String> = [("/wo", "rk/"), ("/ro", "ot/"), ("/tmp/", "brief")].iter().map(|(a, b)| format!("{a}{b}")).collect();
    let mut found = Vec::new();
    for name in tracked() {
        let Ok(text) = std::fs::read_to_string(place::root().join(&name)) else { continue };
        found.extend(marks.iter().filter(|mark| text.contains(mark.as_str())).map(|mark| format!("{name}: `{mark}`")));
    }
    assert!(found.is_empty(), "{}", found.join("\n"));
}

#[test]
fn every_test_that_the_security_document_names_exists() {
    let known = tests();
    let missing: Vec<String> =
        named_tests().into_iter().filter(|(_, name)| !known.has(name)).map(|(line, name)| format!("line {line}: `{name}`")).collect();
    assert!(missing.is_empty(), "SECURITY.md names tests that do not exist:\n{}", missing.join("\n"));
}

#[test]
fn every_threat_names_a_test() {
    let text = std::fs::read_to_string(place::root().join("SECURITY.md")).unwrap();
    let rows: Vec<_> = threat_rows(&text).collect();
    assert!(rows.len() >= 30, "only {} rows found: has the table changed its form?", rows.len());
    let without: Vec<String> =
        rows.iter().filter(|(_, row)| test_names(row).next().is_none()).map(|(line, row)| format!("line {line}: {row}")).collect();
    assert!(without.is_empty(), "{}", without.join("\n"));
}

#[test]
fn links_between_documents_lead_somewhere() {
    let mut broken = Vec::new();
    for name in tracked().into_iter().filter(|name| name.ends_with(".md")) {
        let path = place::root().join(&name);
        let text = std::fs::read_to_string(&path).unwrap();
        for target in text.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            let file = target.split('#').next().unwrap_or("");
            if !file.is_empty() && !file.contains("://") && !file.starts_with("mailto:") && !path.parent().unwrap().join(file).exists() {
                broken.push(format!("{name}: {target}"));
            }
        }
    }
    assert!(broken.is_empty(), "{}", broken.join("\n"));
}

/// `(line, name)` of each test that a threat row names.
fn named_tests() -> Vec<(usize, String)> {
    let text = std::fs::read_to_string(place::root().join("SECURITY.md")).unwrap();
    let named: Vec<_> = threat_rows(&text).flat_map(|(line, row)| test_names(row).map(move |name| (line, name.to_owned()))).collect();
    assert!(named.len() >= 30, "only {} names found: has the table changed its form?", named.len());
    named
}

/// Table rows whose table's last heading is "test that proves it".
fn threat_rows(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let mut inside = false;
    text.lines().enumerate().filter_map(move |(index, line)| {
        let heading = line.starts_with('|') && line.contains("test that proves it");
        inside = line.starts_with('|') && (inside || heading);
        (inside && !heading && !line.starts_with("|---")).then_some((index + 1, line))
    })
}

/// The names in backticks in a row's last cell.
fn test_names(row: &str) -> impl Iterator<Item = &str> {
    let cell = row.trim_end().trim_end_matches('|').rsplit('|').next().unwrap_or("");
    cell.split('`').skip(1).step_by(2)
}

/// Names of all tests in the tree.
#[derive(Default)]
struct Known {
    /// Functions marked as tests, and names in files whose tests come from a table.
    whole: BTreeSet<String>,
    /// Of names that such a file puts together: what follows the part that changes.
    endings: Vec<String>,
}

impl Known {
    fn has(&self, name: &str) -> bool {
        self.whole.contains(name)
            || self.endings.iter().any(|ending| name.strip_suffix(ending.as_str()).is_some_and(|start| self.whole.contains(start)))
    }
}

fn tests() -> Known {
    let mut known = Known::default();
    for (_, text) in sources() {
        let mut marked = false;
        for line in text.lines().map(str::trim) {
            marked |= line.starts_with("#[test]") || line.starts_with("#[tokio::test");
            if let Some(rest) = line.strip_prefix("fn ").or_else(|| line.strip_prefix("async fn "))
                && std::mem::take(&mut marked)
            {
                known.whole.insert(rest.chars().take_while(|c| is_name(*c)).collect());
            }
        }
        // libtest-mimic: the names are strings, whole or with one part that changes at their beginning.
        if text.contains("use libtest_mimic::Trial") {
            for literal in text.split('"').skip(1).step_by(2) {
                match literal.split_once('}') {
                    None if literal.chars().all(is_name) => drop(known.whole.insert(literal.to_owned())),
                    Some((part, ending)) if part.starts_with('{') && ending.starts_with('_') && ending.chars().all(is_name) => {
                        known.endings.push(ending.to_owned())
                    }
                    _ => {}
                }
            }
        }
    }
    known
}

fn is_name(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == '_'
}

fn cargo() -> Command {
    let mut cargo = Command::new(env!("CARGO"));
    cargo.current_dir(place::root()).env_remove("CARGO_TARGET_DIR");
    cargo
}

fn tree(package: &str) -> String {
    place::stdout(cargo().args(["tree", "--offline", "-p", package, "-e", "normal", "--prefix", "none"]))
}

fn metadata() -> serde_json::Value {
    serde_json::from_str(&place::stdout(cargo().args(["metadata", "--offline", "--no-deps", "--format-version", "1"]))).unwrap()
}

fn members(metadata: &serde_json::Value) -> impl Iterator<Item = &serde_json::Value> {
    metadata["packages"].as_array().unwrap().iter()
}

/// Every tracked Rust file with its text.
fn sources() -> BTreeMap<String, String> {
    let files = tracked().into_iter().filter(|name| name.ends_with(".rs"));
    files.filter_map(|name| std::fs::read_to_string(place::root().join(&name)).ok().map(|text| (name, text))).collect()
}

/// All files that belong to the tree, by their paths from its top. Without git (an unpacked archive): all but what is built.
fn tracked() -> Vec<String> {
    let listed =
        place::run(Command::new("git").args(["ls-files", "--cached", "--others", "--exclude-standard"]).current_dir(place::root()));
    match listed {
        Ok(output) if output.status.success() => String::from_utf8_lossy(&output.stdout).lines().map(str::to_owned).collect(),
        _ => {
            let mut found = Vec::new();
            walk(&place::root(), &mut found);
            found
        }
    }
}

fn walk(dir: &Path, found: &mut Vec<String>) {
    for path in std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path()) {
        let name = path.file_name().unwrap_or_default();
        if path.is_dir() && name != "target" && name != ".git" {
            walk(&path, found);
        } else if path.is_file() {
            found.push(path.strip_prefix(place::root()).map(PathBuf::from).unwrap().display().to_string());
        }
    }
}

/// How often a keyword stands in code: comments and strings are passed over.
fn words(text: &str, keyword: &str) -> usize {
    code_only(text).split(|c: char| !c.is_ascii_alphanumeric() && c != '_').filter(|word| *word == keyword).count()
}

/// Rust text without its comments and strings.
fn code_only(text: &str) -> String {
    let mut code = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(next) = rest.chars().next() {
        let skipped = match next {
            '/' if rest.starts_with("//") => rest.find('\n').unwrap_or(rest.len()),
            '/' if rest.starts_with("/*") => rest.find("*/").map_or(rest.len(), |end| end + 2),
            'r' if rest.starts_with("r#\"") => rest.find("\"#").map_or(rest.len(), |end| end + 2),
            '\'' if rest.starts_with("'\"'") => 3,
            '"' => string_end(rest),
            _ => 0,
        };
        if skipped == 0 {
            code.push(next);
            rest = rest.get(next.len_utf8()..).unwrap_or("");
        } else {
            code.push(' ');
            rest = rest.get(skipped..).unwrap_or("");
        }
    }
    code
}

/// Where the string that opens `text` ends.
fn string_end(text: &str) -> usize {
    let mut escaped = false;
    for (index, c) in text.char_indices().skip(1) {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '"' => return index + 1,
            _ => {}
        }
    }
    text.len()
}

#[test]
fn comments_and_strings_are_no_code() {
    let text = "// unsafe\nlet a = \"unsafe \\\" unsafe\"; /* unsafe */ unsafe { b('\"') }; r#\"unsafe\"#; unsafe_code";
    assert_eq!(words(text, "unsafe"), 1);
}

const MAX_LINES: usize = 600;
