//! `policy check` as people run it: the built binary, real files, exit codes, what stands on which stream.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod common;

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::fs::symlink;
use std::path::Path;

use common::Ran;
use common::edgeguard;
use common::fifo;
use sha2::Digest as _;

const MODEL: &[u8] = b"a model";
const COMMAND: &str = "(module (import \"wasi_snapshot_preview1\" \"path_open\" (func)) (memory 1) (func (export \"_start\")))";

/// A policy whose every path lies in `dir`.
fn policy(dir: &Path, name: &str) -> String {
    let at = dir.display();
    let digest = hex::encode(sha2::Sha256::digest(MODEL));
    format!(
        "version = 1\n\n[module]\nname = \"{name}\"\npath = \"{at}/{name}.wasm\"\nmode = \"command\"\n\n[[module.signer]]\nkey = \"{at}/acme.pub\"\n\n\
         [[dir]]\nguest = \"/audio\"\nhost = \"{at}/audio\"\naccess = \"read\"\n\n\
         [[graph]]\nname = \"vad\"\nmodel = \"{at}/vad.onnx\"\nsha256 = \"{digest}\"\nencoding = \"onnx\"\ntarget = \"cpu\"\n\n\
         [limits]\nmemory = \"64 MiB\"\ndeadline = \"500 ms\"\ninstances = 4\noutput = \"1 MiB\"\n"
    )
}

/// A gateway on which nothing is wrong: policy, module, bundle, key, directory and model.
fn gateway() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    let at = dir.path();
    fs::write(at.join("m.toml"), policy(at, "m")).unwrap();
    fs::write(at.join("m.wasm"), wat::parse_str(COMMAND).unwrap()).unwrap();
    fs::write(at.join("vad.onnx"), MODEL).unwrap();
    fs::create_dir(at.join("audio")).unwrap();
    edgeguard(at, &["keygen", "--out", "acme"]).done();
    edgeguard(at, &["sign", "--key", "acme.key", "m.wasm"]).done();
    dir
}

fn edit(file: &Path, from: &str, to: &str) {
    let text = fs::read_to_string(file).unwrap();
    assert!(text.contains(from), "{from}");
    fs::write(file, text.replace(from, to)).unwrap();
}

fn mode(file: &Path, mode: u32) {
    fs::set_permissions(file, fs::Permissions::from_mode(mode)).unwrap();
}

/// The host's own file, with the state directory elsewhere than the default.
fn host(at: &Path) -> Ran {
    edgeguard(at, &["policy", "check", "m.toml", "--host", "--config", "no-such.toml"])
}

#[test]
fn a_policy_without_mistakes_is_ok() {
    let dir = gateway();
    let ran = edgeguard(dir.path(), &["policy", "check", "m.toml"]);
    assert_eq!((ran.code, ran.out.as_str(), ran.err.as_str()), (0, "m.toml: ok\n", ""));
}

#[test]
fn mistakes_go_to_standard_error_and_the_verdict_to_standard_output() {
    let dir = gateway();
    edit(&dir.path().join("m.toml"), "\"64 MiB\"", "\"64 MB\"");
    edit(&dir.path().join("m.toml"), "access", "acess");
    let ran = edgeguard(dir.path(), &["policy", "check", "m.toml"]);
    assert_eq!((ran.code, ran.out.as_str()), (2, "m.toml: 2 errors\n"));
    insta::assert_snapshot!(ran.err, @r#"
    error[EG004]: unknown key `acess` in `[[dir]]`
      --> m.toml:14:1
       |
    14 | acess = "read"
       | ^^^^^ did you mean `access`?

    error[EG027]: `memory` is no size
      --> m.toml:24:10
       |
    24 | memory = "64 MB"
       |          ^^^^^^^ has the ambiguous unit `MB`
       |
       = help: write a whole number and one of `B`, `KiB`, `MiB`, `GiB`, as in `"64 MiB"`

    2 errors; `edgeguard explain EG004` says more
    "#);
}

#[test]
fn two_hundred_files_are_checked_together() {
    let dir = tempfile::tempdir().unwrap();
    for i in 0..200 {
        let name = format!("module-{i:03}");
        fs::write(dir.path().join(format!("{name}.toml")), policy(Path::new("/srv"), &name)).unwrap();
    }
    fs::write(dir.path().join("README.md"), "not a policy").unwrap();
    let ran = edgeguard(dir.path(), &["policy", "check", "."]);
    assert_eq!((ran.code, ran.err.as_str()), (0, ""));
    assert_eq!(ran.out.lines().filter(|l| l.ends_with(": ok")).count(), 200);

    edit(&dir.path().join("module-077.toml"), "instances = 4", "instances = 99");
    edit(&dir.path().join("module-150.toml"), "\"module-150\"", "\"module-151\"");
    let ran = edgeguard(dir.path(), &["policy", "check", "."]);
    assert_eq!((ran.code, ran.codes()), (2, vec!["EG029", "EG034", "EG035"]));
    assert_eq!(ran.out.lines().filter(|l| l.ends_with(": ok")).count(), 198);
}

#[test]
fn what_cannot_be_read_is_said_and_the_rest_is_checked() {
    let dir = gateway();
    let at = dir.path();
    fs::create_dir(at.join("empty")).unwrap();
    fs::write(at.join("large.toml"), vec![b'#'; edgeguard_policy::MAX_TEXT + 1]).unwrap();
    fs::write(at.join("latin1.toml"), b"# caf\xe9\n").unwrap();
    fifo(&at.join("pipe.toml"));
    let ran = edgeguard(at, &["policy", "check", "m.toml", "gone.toml", "empty", "large.toml", "latin1.toml", "pipe.toml"]);
    assert_eq!((ran.code, ran.codes()), (2, vec!["EG002", "EG003", "EG050", "EG050", "EG051"]));
    assert!(ran.out.starts_with("m.toml: ok\n"), "{}", ran.out);
}

#[test]
fn a_module_is_held_against_its_policy() {
    let dir = gateway();
    let at = dir.path();
    let ran = edgeguard(at, &["policy", "check", "m.toml", "--module", "m.wasm"]);
    assert_eq!((ran.code, ran.codes()), (0, vec!["EG041"]));
    assert_eq!(ran.out, "m.toml: 1 warning\n");

    let nn = "(module (import \"wasi_ephemeral_nn\" \"load_by_name\" (func)) (import \"env\" \"f\" (func)) (func (export \"_start\")))";
    fs::write(at.join("m.wasm"), wat::parse_str(nn).unwrap()).unwrap();
    let ran = edgeguard(at, &["policy", "check", "m.toml", "--module", "m.wasm"]);
    assert_eq!((ran.code, ran.codes()), (2, vec!["EG043", "EG044"]));

    fs::write(at.join("m.wasm"), b"\x7fELF").unwrap();
    assert_eq!(edgeguard(at, &["policy", "check", "m.toml", "--module", "m.wasm"]).codes(), ["EG045"]);
    assert_eq!(edgeguard(at, &["policy", "check", "m.toml", "--module", "gone.wasm"]).codes(), ["EG050"]);
}

#[test]
fn among_several_policies_the_module_finds_its_own() {
    let dir = gateway();
    let at = dir.path();
    fs::write(at.join("n.toml"), policy(at, "n").replace("/audio", "/speech")).unwrap();
    let ran = edgeguard(at, &["policy", "check", ".", "--module", "m.wasm"]);
    assert_eq!((ran.code, ran.out.as_str()), (0, "./m.toml: 1 warning\n./n.toml: ok\n"));
    edit(&at.join("n.toml"), "n.wasm", "elsewhere/m.wasm");
    let ran = edgeguard(at, &["policy", "check", ".", "--module", "m.wasm"]);
    assert_eq!((ran.code, ran.codes()), (2, vec!["EG058"]));
}

#[test]
fn json_is_all_on_standard_output() {
    let dir = gateway();
    edit(&dir.path().join("m.toml"), "\"64 MiB\"", "\"64 MB\"");
    let ran = edgeguard(dir.path(), &["policy", "check", "m.toml", "gone.toml", "--format", "json"]);
    assert_eq!((ran.code, ran.err.as_str()), (2, ""));
    let value: serde_json::Value = serde_json::from_str(&ran.out).unwrap();
    assert_eq!((&value["errors"], &value["warnings"]), (&2.into(), &0.into()));
    assert_eq!((&value["files"][0]["file"], &value["files"][0]["errors"]), (&"m.toml".into(), &1.into()));
    let found = &value["diagnostics"][0];
    assert_eq!((&found["code"], &found["line"], &found["column"]), (&"EG027".into(), &24.into(), &10.into()));
    assert_eq!(value["diagnostics"][1]["file"], "gone.toml");
}

#[test]
fn a_host_on_which_all_is_well_has_nothing_to_say() {
    let dir = gateway();
    let ran = host(dir.path());
    assert_eq!((ran.code, ran.out.as_str(), ran.err.as_str()), (0, "m.toml: ok\n", ""));
}

/// What is done to a gateway, and the codes that must come of it.
type Damage = (&'static str, fn(&Path), &'static [&'static str]);

/// Every code of the host is here.
const DAMAGE: &[Damage] = &[
    (
        "everything gone",
        |at| ["m.wasm", "acme.pub", "vad.onnx"].iter().for_each(|f| fs::remove_file(at.join(f)).unwrap()),
        &["EG050", "EG050", "EG050"],
    ),
    ("directory gone", |at| fs::remove_dir(at.join("audio")).unwrap(), &["EG050"]),
    ("file for a directory", |at| edit(&at.join("m.toml"), "/audio\"\naccess", "/m.toml\"\naccess"), &["EG051"]),
    (
        "directory for a model",
        |at| fs::create_dir(at.join("dir")).map(|()| edit(&at.join("m.toml"), "vad.onnx", "dir")).unwrap(),
        &["EG051"],
    ),
    ("pipe for a model", |at| fs::remove_file(at.join("vad.onnx")).map(|()| fifo(&at.join("vad.onnx"))).unwrap(), &["EG051"]),
    ("link for a directory", |at| fs::remove_dir(at.join("audio")).and_then(|()| symlink("/etc", at.join("audio"))).unwrap(), &["EG052"]),
    (
        "link on the way",
        |at| symlink(at, at.join("way")).map(|()| edit(&at.join("m.toml"), "/vad.onnx", "/way/vad.onnx")).unwrap(),
        &["EG052"],
    ),
    ("module writable for all", |at| mode(&at.join("m.wasm"), 0o666), &["EG053"]),
    ("key writable for all", |at| mode(&at.join("acme.pub"), 0o646), &["EG053"]),
    ("policy writable for all", |at| mode(&at.join("m.toml"), 0o666), &["EG053"]),
    ("parent writable for all", |at| mode(at, 0o777), &["EG053", "EG053", "EG053", "EG080"]),
    ("directory writable for all", |at| mode(&at.join("audio"), 0o777), &["EG080"]),
    ("link out of a directory", |at| symlink("/etc/hostname", at.join("audio/name")).unwrap(), &["EG081"]),
    (
        "file with a second name",
        |at| {
            fs::hard_link(at.join("vad.onnx"), at.join("audio/model")).unwrap();
            edit(&at.join("m.toml"), "access = \"read\"", "access = \"read-write\"");
        },
        &["EG081"],
    ),
    // Linux 7.2 has ABI 10; where these tests run on it or a newer one, what they look for is not there.
    ("kernel below the floor", |at| edit(&at.join("m.toml"), "[limits]", "[require]\nlandlock = 10\n\n[limits]"), &["EG083"]),
    ("kernel below the wish", |at| edit(&at.join("m.toml"), "[limits]", "[prefer]\nlandlock = 10\n\n[limits]"), &["EG084"]),
    (
        "engine that the host does not name",
        |at| edit(&at.join("m.toml"), "target = \"cpu\"", "target = \"cpu\"\nengine = \"onnxruntime\""),
        &["EG085"],
    ),
    ("deadline beyond the watchdog", |at| edit(&at.join("m.toml"), "500 ms", "21 s"), &["EG082"]),
    (
        "model unreadable",
        |at| edit(&at.join("m.toml"), &format!("{}/vad.onnx", at.display()), &format!("/proc/{}/mem", std::process::id())),
        &["EG054"],
    ),
    ("another model", |at| fs::write(at.join("vad.onnx"), "another model").unwrap(), &["EG055"]),
    ("private key for a public one", |at| fs::copy(at.join("acme.key"), at.join("acme.pub")).map(drop).unwrap(), &["EG056"]),
    ("no bundle", |at| fs::remove_file(at.join("m.wasm.sigstore.json")).unwrap(), &["EG057"]),
    (
        "two signers, one key",
        |at| {
            fs::copy(at.join("acme.pub"), at.join("lab.pub")).unwrap();
            edit(&at.join("m.toml"), "[[dir]]", &format!("[[module.signer]]\nkey = \"{}/lab.pub\"\n\n[[dir]]", at.display()));
        },
        &["EG073"],
    ),
    (
        "the only key retired",
        |at| edit(&at.join("m.toml"), "acme.pub\"\n", "acme.pub\"\nretire-at = 2020-01-01T00:00:00Z\nevidence = \"log\"\n"),
        &["EG071", "EG072"],
    ),
    ("directory of the supervisor", |at| edit(&at.join("m.toml"), &format!("{}/audio", at.display()), "/var/lib"), &["EG018"]),
];

#[test]
fn every_kind_of_damage_on_a_host_is_found() {
    for (what, damage, codes) in DAMAGE {
        let dir = gateway();
        damage(dir.path());
        let ran = host(dir.path());
        assert_eq!(ran.codes(), *codes, "{what}:\n{}", ran.err);
        let error = |code: &&str| edgeguard_policy::codes::find(code).unwrap().severity == edgeguard_policy::Severity::Error;
        assert_eq!(ran.code, if codes.iter().any(error) { 2 } else { 0 }, "{what}");
        insta::assert_snapshot!(format!("host_{}", what.replace([' ', ','], "_")), stable(&ran.err, dir.path()));
    }
}

/// What is asked of a check besides, what is there for it, and the codes that must come of it.
type Asked = (&'static str, fn(&Path), &'static [&'static str], &'static [&'static str]);

const WITH_MODULE: &[&str] = &["policy", "check", "m.toml", "--module", "m.wasm"];
const WITH_HOST: &[&str] = &["policy", "check", "m.toml", "--host", "--config", "edgeguard.conf"];

/// Every code of a module held against its policy, of a directory, and of the host's own file is here.
const ASKED: &[Asked] = &[
    (
        "module that asks for graphs and gets none",
        |at| module(at, "(import \"wasi_ephemeral_nn\" \"load_by_name\" (func))", "_start").map(|()| cut(at, "[[graph]]")).unwrap(),
        WITH_MODULE,
        &["EG040", "EG043"],
    ),
    (
        "module that opens files and has no directory",
        |at| module(at, "(import \"wasi_snapshot_preview1\" \"path_open\" (func))", "_start").map(|()| cut(at, "[[dir]]")).unwrap(),
        WITH_MODULE,
        &["EG041", "EG042"],
    ),
    ("file that is no module", |at| fs::write(at.join("m.wasm"), "ELF").unwrap(), WITH_MODULE, &["EG045"]),
    ("library", |at| module(at, "", "run").unwrap(), WITH_MODULE, &["EG041", "EG043", "EG046"]),
    (
        "component that asks for the network",
        |at| {
            let text = "(component (import \"wasi:sockets/tcp@0.2.6\" (instance)) (import \"wasi:cli/stdin@0.2.6\" (instance)) \
                (instance $run) (export \"wasi:cli/run@0.2.6\" (instance $run)))";
            fs::write(at.join("m.wasm"), wat::parse_str(text).unwrap()).unwrap();
        },
        WITH_MODULE,
        &["EG041", "EG043", "EG049"],
    ),
    (
        "module of two policies",
        |at| fs::write(at.join("n.toml"), policy(at, "n").replace("n.wasm", "elsewhere/m.wasm").replace("/audio", "/speech")).unwrap(),
        &["policy", "check", "m.toml", "n.toml", "--module", "m.wasm"],
        &["EG058"],
    ),
    (
        "file that is called otherwise",
        |at| {
            fs::create_dir(at.join("policy.d")).and_then(|()| fs::copy(at.join("m.toml"), at.join("policy.d/gate.toml"))).map(drop).unwrap()
        },
        &["policy", "check", "policy.d"],
        &["EG035"],
    ),
    (
        "policy without a revision where only signed ones count",
        |at| {
            let conf = format!("version = 1\n[policy-signing]\nkey = [\"{}/acme.pub\"]\n", at.display());
            fs::write(at.join("edgeguard.conf"), conf).unwrap();
        },
        WITH_HOST,
        &["EG075"],
    ),
    (
        "trusted root that was changed",
        |at| {
            fs::write(at.join("root.json"), "{}").unwrap();
            let conf = format!("version = 1\n[trust]\nroot = \"{}/root.json\"\nroot-sha256 = \"{}\"\n", at.display(), "0".repeat(64));
            fs::write(at.join("edgeguard.conf"), conf).unwrap();
        },
        WITH_HOST,
        &["EG076"],
    ),
];

/// Puts a module with this import and this export in the place of the gateway's.
fn module(at: &Path, import: &str, export: &str) -> std::io::Result<()> {
    fs::write(at.join("m.wasm"), wat::parse_str(format!("(module {import} (memory 1) (func (export \"{export}\")))")).unwrap())
}

/// Takes a section out of the gateway's policy.
fn cut(at: &Path, header: &str) {
    let text = fs::read_to_string(at.join("m.toml")).unwrap();
    let (before, rest) = text.split_once(header).unwrap();
    let after = rest.find("\n[").map_or("", |i| &rest[i + 1..]);
    fs::write(at.join("m.toml"), format!("{before}{after}")).unwrap();
}

#[test]
fn whatever_else_a_check_is_asked_is_answered() {
    for (what, prepare, arguments, codes) in ASKED {
        let dir = gateway();
        prepare(dir.path());
        let ran = edgeguard(dir.path(), arguments);
        assert_eq!(ran.codes(), *codes, "{what}:\n{}", ran.err);
        insta::assert_snapshot!(format!("host_{}", what.replace(' ', "_")), stable(&ran.err, dir.path()));
    }
}

/// What is said, whatever the gateway's directory is called and however long its name is.
fn stable(text: &str, at: &Path) -> String {
    let text = text.replace(&at.display().to_string(), "/gateway").replace(&format!("/proc/{}/", std::process::id()), "/proc/PID/");
    let mut out = String::new();
    for c in text.chars() {
        if !(matches!(c, '^' | '-') && out.ends_with(c)) {
            out.push(c);
        }
    }
    out
}

#[test]
fn every_code_of_the_host_is_reached() {
    // Of `--module`; of the host's own file, below; of a host's file held against a policy, by the policy crate.
    let elsewhere = ["EG058", "EG074", "EG075", "EG076", "EG077", "EG078", "EG079"];
    let of_text = |id: &str| ("EG059".."EG071").contains(&id) || ("EG090".."EG096").contains(&id);
    for row in edgeguard_policy::codes::TABLE.iter().filter(|row| row.id >= "EG050" && !of_text(row.id) && !elsewhere.contains(&row.id)) {
        assert!(DAMAGE.iter().any(|(_, _, codes)| codes.contains(&row.id)), "{}", row.id);
    }
}

#[test]
fn the_hosts_floor_is_read_from_its_own_file() {
    let dir = gateway();
    let at = dir.path();
    fs::write(at.join("edgeguard.conf"), "version = 1\n[require]\nlandlock = 4\n").unwrap();
    fs::write(at.join("m.toml"), policy(at, "m") + "[require]\nlandlock = 3\n").unwrap();
    let check = ["policy", "check", "m.toml", "--host", "--config", "edgeguard.conf"];
    assert_eq!(edgeguard(at, &check).codes(), ["EG033"]);
    fs::write(at.join("edgeguard.conf"), "version = 1\n[require]\nlandlok = 4\n").unwrap();
    let ran = edgeguard(at, &check);
    assert_eq!((ran.code, ran.codes()), (2, vec!["EG004"]));
}

/// What the host's file trusts, and what is done to it.
#[test]
fn what_the_host_trusts_is_looked_at() {
    let dir = gateway();
    let at = dir.path();
    fs::write(at.join("root.json"), "{}").unwrap();
    fs::copy(at.join("acme.pub"), at.join("ops.pub")).unwrap();
    let here = at.display();
    let config = format!(
        "version = 1\n[trust]\nroot = \"{here}/root.json\"\nroot-sha256 = \"{}\"\ntuf-root = \"{here}/root.json\"\n[policy-signing]\nkey = [\"{here}/ops.pub\"]\n",
        hex::encode(sha2::Sha256::digest("{}"))
    );
    fs::write(at.join("edgeguard.conf"), &config).unwrap();
    edit(&at.join("m.toml"), "version = 1\n", "version = 1\nrevision = 3\n");
    let check = || edgeguard(at, &["policy", "check", "m.toml", "--host", "--config", "edgeguard.conf"]);
    let ran = check();
    assert_eq!((ran.code, ran.err.as_str()), (0, ""));

    fs::write(at.join("root.json"), "{ }").unwrap();
    let ran = check();
    assert_eq!((ran.code, ran.codes()), (2, vec!["EG076"]));
    assert!(ran.err.contains("root.json") && ran.err.contains("expected `44136fa3"), "{}", ran.err);

    fs::write(at.join("root.json"), "{}").unwrap();
    mode(&at.join("ops.pub"), 0o666);
    assert_eq!(check().codes(), ["EG053"]);
    fs::copy(at.join("acme.key"), at.join("ops.pub")).unwrap();
    mode(&at.join("ops.pub"), 0o600);
    assert_eq!(check().codes(), ["EG056"]);
    fs::remove_file(at.join("ops.pub")).unwrap();
    assert_eq!(check().codes(), ["EG050"]);

    fs::write(at.join("edgeguard.conf"), config.replace("/ops.pub\"", &format!("/acme.pub\", \"{here}/lab.pub\""))).unwrap();
    fs::copy(at.join("acme.pub"), at.join("lab.pub")).unwrap();
    assert_eq!(check().codes(), ["EG073"]);
}

#[test]
fn a_file_name_cannot_steer_the_terminal() {
    let dir = tempfile::tempdir().unwrap();
    let name = "\u{1b}[2Kx.toml";
    fs::write(dir.path().join(name), "version = 2\n").unwrap();
    let ran = edgeguard(dir.path(), &["policy", "check", "."]);
    assert!(!ran.err.contains('\u{1b}') && !ran.out.contains('\u{1b}'), "{:?}", ran.out);
    assert!(ran.err.contains("\\u{1b}[2Kx.toml"));
}

#[test]
fn wrong_arguments_are_usage() {
    let dir = tempfile::tempdir().unwrap();
    for arguments in
        [&["policy", "check"][..], &["policy"], &["policy", "check", "x", "--fromat", "json"], &["policy", "check", "x", "--config", "y"]]
    {
        assert_eq!(edgeguard(dir.path(), arguments).code, 2, "{arguments:?}");
    }
}
