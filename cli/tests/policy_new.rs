//! `policy new` as people run it: what it writes is canonical, narrow, refused while it has blanks, and stands once they are filled.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod common;

use std::fs;
use std::path::Path;

use common::Ran;
use common::edgeguard;
use sha2::Digest as _;

const ASKS: &str = "(module (import \"wasi_snapshot_preview1\" \"path_open\" (func)) (import \"wasi_ephemeral_nn\" \"load_by_name\" (func)) \
    (memory 40) (func (export \"_start\")))";
const PLAIN: &str =
    "(module (import \"wasi_snapshot_preview1\" \"fd_write\" (func)) (memory 1) (table 20000 funcref) (func (export \"_start\")))";

/// A place with two modules, a model and a vendor's key.
fn place() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    let at = dir.path();
    fs::write(at.join("Voice Gate.wasm"), wat::parse_str(ASKS).unwrap()).unwrap();
    fs::write(at.join("plain.wasm"), wat::parse_str(PLAIN).unwrap()).unwrap();
    fs::write(at.join("vad.onnx"), "a model").unwrap();
    fs::write(at.join("chat.gguf"), "GGUF and so on").unwrap();
    edgeguard(at, &["keygen", "--out", "acme"]).done();
    dir
}

fn new(at: &Path, arguments: &[&str]) -> Ran {
    edgeguard(at, &[&["policy", "new"], arguments].concat())
}

#[test]
fn a_new_policy_says_what_the_module_asks_for_and_grants_none_of_it() {
    let dir = place();
    let ran = new(dir.path(), &["--module", "Voice Gate.wasm", "-o", "voice-gate.toml"]).done();
    let text = fs::read_to_string(dir.path().join("voice-gate.toml")).unwrap();
    insta::assert_snapshot!("begun", text);
    insta::assert_snapshot!("begun_said", ran.err);
    assert_eq!(ran.out, "");
    edgeguard(dir.path(), &["policy", "fmt", "--check", "voice-gate.toml"]).done();
    // What it still needs is said by the check too, and the blanks grant nothing.
    let check = edgeguard(dir.path(), &["policy", "check", "voice-gate.toml"]);
    assert_eq!((check.code, check.codes()), (2, vec!["EG007"]));
    for blank in ran.err.lines().filter_map(|line| line.trim().strip_prefix("line ")) {
        let (line, section) = (blank.split(',').next().unwrap().trim(), blank.split('`').nth(1).unwrap());
        assert_eq!(text.lines().nth(line.parse::<usize>().unwrap() - 1), Some(format!("# {section}").as_str()));
    }
}

#[test]
fn blanks_are_refused_until_they_are_filled_and_then_the_policy_stands() {
    let dir = place();
    let at = dir.path();
    new(at, &["--module", "Voice Gate.wasm", "--out", "voice-gate.toml"]).done();
    let text = fs::read_to_string(at.join("voice-gate.toml")).unwrap();
    // As a person does who reads the comments: the sections lose their `# `, the sentences stay.
    let sentence = |line: &str| line.ends_with('.') || line.starts_with("# Begun") || line.starts_with("# Fill");
    let open: String =
        text.lines().map(|line| line.strip_prefix("# ").filter(|_| !sentence(line)).unwrap_or(line).to_owned() + "\n").collect();
    fs::write(at.join("voice-gate.toml"), &open).unwrap();
    let ran = edgeguard(at, &["policy", "check", "voice-gate.toml"]);
    assert_eq!((ran.code, ran.codes()), (2, vec!["EG012", "EG013", "EG013", "EG013", "EG013", "EG026"]), "{}", ran.err);
    let digest = hex::encode(sha2::Sha256::digest("a model"));
    let filled = ["/etc/edgeguard/keys/acme.pub", "/audio", "/var/lib/gateway/audio", "vad", "/var/lib/edgeguard/models/vad.onnx", &digest];
    let filled = filled.iter().fold(open, |text, word| text.replacen("FILL IN", word, 1));
    assert!(!filled.contains("FILL IN"));
    fs::write(at.join("voice-gate.toml"), filled).unwrap();
    let ran = edgeguard(at, &["policy", "check", "voice-gate.toml", "--module", "Voice Gate.wasm"]);
    assert_eq!((ran.code, ran.out.as_str(), ran.err.as_str()), (0, "voice-gate.toml: ok\n", ""));
    edgeguard(at, &["policy", "explain", "voice-gate.toml"]).done();
}

#[test]
fn a_policy_with_all_that_it_needs_has_no_blank() {
    let dir = place();
    let at = dir.path();
    let grants = [
        "--read",
        "/audio=/srv/audio",
        "--write",
        "/out=/srv/out",
        "--graph",
        "vad=vad.onnx",
        "--graph",
        "chat=chat.gguf",
        "--graph",
        "ir=ir.xml",
    ];
    fs::write(at.join("ir.xml"), "<net/>").unwrap();
    let alone = new(at, &["--module", "Voice Gate.wasm", "--name", "gate", "--graph", "ir=ir.xml", "-o", "gate.toml", "--yes"]);
    assert!(alone.code == 2 && alone.err.contains("ir.bin") && !at.join("gate.toml").exists(), "{}", alone.err);
    fs::write(at.join("ir.bin"), "weights").unwrap();
    let all = [&["--module", "Voice Gate.wasm", "--name", "gate", "--key", "acme.pub", "-o", "gate.toml", "--yes"], &grants[..]].concat();
    let ran = new(at, &all).done();
    assert!(!ran.err.contains("fill in"), "{}", ran.err);
    let text = fs::read_to_string(at.join("gate.toml")).unwrap();
    assert!(text.contains(&format!("sha256 = \"{}\"\nencoding = \"onnx\"", hex::encode(sha2::Sha256::digest("a model")))), "{text}");
    assert!(text.contains("encoding = \"gguf\"") && text.contains("# key id sha256:"), "{text}");
    let weights = format!("weights-sha256 = \"{}\"\nencoding = \"openvino\"", hex::encode(sha2::Sha256::digest("weights")));
    assert!(text.contains("/ir.bin\"\n") && text.contains(&weights), "{text}");
    let key = fs::canonicalize(at.join("acme.pub")).unwrap();
    assert!(text.contains(&format!("key = \"{}\"", key.display())), "{text}");
    edgeguard(at, &["policy", "fmt", "--check", "gate.toml"]).done();
    let ran = edgeguard(at, &["policy", "check", "gate.toml", "--module", "Voice Gate.wasm"]);
    assert_eq!((ran.code, ran.err.as_str()), (0, ""));
}

#[test]
fn a_module_that_asks_for_nothing_is_given_nothing() {
    let dir = place();
    let ran = new(dir.path(), &["--module", "plain.wasm", "--key", "/etc/edgeguard/keys/acme.pub"]).done();
    fs::write(dir.path().join("plain.toml"), &ran.out).unwrap();
    assert!(ran.out.contains("open-files = 0") && ran.out.contains("table-elements = 20000"), "{}", ran.out);
    assert!(!ran.out.contains("[[dir]]") && !ran.out.contains("[[graph]]") && !ran.out.contains("FILL IN"), "{}", ran.out);
    assert!(ran.out.contains("was not there when this was written"), "{}", ran.out);
    let check = edgeguard(dir.path(), &["policy", "check", "plain.toml", "--module", "plain.wasm"]);
    assert_eq!((check.code, check.err.as_str()), (0, ""));
    // A grant that the module cannot use is warned of where it is asked for.
    let wide = new(dir.path(), &["--module", "plain.wasm", "--read", "/a=/srv/a", "--key", "acme.pub"]).done();
    assert_eq!(wide.codes(), ["EG043"]);
}

#[test]
fn without_a_module_there_is_a_name() {
    let dir = place();
    let ran = new(dir.path(), &["--name", "hello", "--path", "/srv/hello.wasm"]).done();
    assert!(ran.out.contains("path = \"/srv/hello.wasm\"") && ran.out.contains("# [[module.signer]]"), "{}", ran.out);
    assert_eq!(new(dir.path(), &[]).code, 2);
}

#[test]
fn what_makes_no_policy_is_refused_and_nothing_is_written() {
    let dir = place();
    let at = dir.path();
    fs::write(at.join("env.wasm"), wat::parse_str("(module (import \"env\" \"f\" (func)) (func (export \"_start\")))").unwrap()).unwrap();
    fs::write(at.join("library.wasm"), wat::parse_str("(module)").unwrap()).unwrap();
    fs::write(at.join("there.toml"), "mine").unwrap();
    let refused: &[(&[&str], &str)] = &[
        (&["--module", "env.wasm"], "EG044"),
        (&["--module", "library.wasm"], "EG046"),
        (&["--module", "vad.onnx"], "EG045"),
        (&["--module", "gone.wasm"], "EG050"),
        (&["--name", "Voice Gate"], "no name of a module"),
        (&["--name", "m", "--path", "m.wasm"], "EG013"),
        (&["--name", "m", "--key", "acme.key"], "not a public key"),
        (&["--name", "m", "--key", "gone.pub"], "EG050"),
        (&["--name", "m", "--read", "/audio"], "expected GUEST=HOST"),
        (&["--name", "m", "--read", "/p=/proc"], "EG018"),
        (&["--name", "m", "--read", "/a=/srv/../etc"], "EG014"),
        (&["--name", "m", "--write", "/a=/srv", "--read", "/b=/srv/x"], "EG017"),
        (&["--name", "m", "--graph", "vad=gone.onnx"], "cannot read the model"),
        (&["--name", "m", "--graph", "vad=/dev/zero"], "not a regular file"),
        (&["--name", "m", "--graph", "my vad=vad.onnx"], "no name of a model"),
    ];
    for (arguments, why) in refused {
        let ran = new(at, &[arguments, &["-o", "new.toml"][..]].concat());
        assert_eq!((ran.code, ran.out.as_str()), (2, ""), "{arguments:?}");
        assert!(ran.err.contains(why), "{arguments:?}: {}", ran.err);
        assert!(!at.join("new.toml").exists(), "{arguments:?}");
    }
    let ran = new(at, &["--name", "m", "-o", "there.toml"]);
    assert!(ran.code == 2 && ran.err.contains("exists already"), "{}", ran.err);
    assert_eq!(fs::read_to_string(at.join("there.toml")).unwrap(), "mine");
}

#[test]
fn a_module_file_with_a_hostile_name_steers_nothing() {
    let dir = place();
    let name = "\u{1b}[2Kx\n# [[dir]].wasm";
    fs::copy(dir.path().join("plain.wasm"), dir.path().join(name)).unwrap();
    let ran = new(dir.path(), &["--module", name, "--name", "x", "--key", "acme.pub"]).done();
    assert!(!ran.err.contains('\u{1b}') && !ran.out.contains('\u{1b}'), "{}", ran.out);
    assert!(!ran.out.contains("\n# [[dir]]"), "{}", ran.out);
}
