//! A container that boots the host's own distribution with real systemd, installs what was built, and runs the service as an operator would.
//!
//! Runs as root on the developer's machine and in CI. The bare system is made once, in `target/systemd-root`.

use std::ffi::OsStr;
use std::fs;
use std::path::Path;
use std::path::PathBuf;
use std::process::Command;

use crate::place;

/// What the container's own script found out: see `check.sh`.
pub struct Report {
    root: PathBuf,
    /// Why the container did not come to its end, where it did not.
    pub broken: Option<String>,
}

impl Report {
    /// Standard output of a step.
    pub fn text(&self, step: &str) -> String {
        fs::read_to_string(self.file(step)).unwrap_or_default()
    }

    /// Standard error of a step.
    pub fn errors(&self, step: &str) -> String {
        self.text(&format!("{step}.err"))
    }

    /// Exit code of a step; `None` when it was never reached.
    pub fn code(&self, step: &str) -> Option<i32> {
        self.text(&format!("{step}.rc")).trim().parse().ok()
    }

    /// A property of the unit, as `systemctl show` had it in this step.
    pub fn property(&self, step: &str, name: &str) -> String {
        let text = self.text(step);
        text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix('=')).unwrap_or_default().to_owned()
    }

    /// All that one needs to see when a step failed.
    pub fn everything(&self) -> String {
        let mut names: Vec<_> =
            fs::read_dir(self.file("")).into_iter().flatten().flatten().map(|entry| entry.path()).filter(|path| path.is_file()).collect();
        names.sort();
        let wanted = names
            .iter()
            .filter(|path| path.file_name() != Some(OsStr::new("show")) && path.file_name() != Some(OsStr::new("show-after-stop")));
        let texts: String =
            wanted.map(|path| format!("--- {}\n{}", path.display(), fs::read_to_string(path).unwrap_or_default())).collect();
        format!("{}\n{texts}", self.broken.as_deref().unwrap_or_default())
    }

    fn file(&self, name: &str) -> PathBuf {
        self.root.join("report").join(name)
    }
}

/// Boots, runs, and reports; or says what is missing on this machine. What goes wrong once nothing is missing is in the report.
pub fn boot() -> Result<Report, String> {
    let programs = place::programs();
    for program in [
        "edgeguard",
        "edgeguardd",
        "edgeguard-compile",
        "edgeguard-worker",
        "edgeguard-graph",
        "edgeguard-language",
        "edgeguard-onnxruntime",
        "edgeguard-openvino",
        "edgeguard-export",
    ] {
        if !programs.join(program).exists() {
            return Err(format!("`{program}` is not built: cargo build --release --workspace --bins"));
        }
    }
    if !voice_gate().exists() || !model().exists() {
        return Err("`voice-gate.wasm` is not built: cargo xtask guests".into());
    }
    let base = base()?;
    let mut report = Report { root: base.with_file_name(format!("systemd-run-{}", std::process::id())), broken: None };
    // The folder's content, so that it may be a link.
    let copied = ok(Command::new("cp").args(["-a", "--reflink=auto"]).arg(base.join(".")).arg(&report.root));
    report.broken = copied.and_then(|()| furnish(&report.root, &programs)).and_then(|()| run(&report.root)).err();
    Ok(report)
}

/// The guest with a directory and a graph.
fn voice_gate() -> PathBuf {
    place::programs().with_file_name("guests").join("voice-gate.wasm")
}

/// The project's own model: it is always there.
fn model() -> PathBuf {
    place::root().join("models/tiny-vad.onnx")
}

impl Drop for Report {
    fn drop(&mut self) {
        // The next run has a folder of its own, so what stays behind here costs only space.
        let _ = fs::remove_dir_all(&self.root);
    }
}

/// The bare system, made once.
fn base() -> Result<PathBuf, String> {
    let uid = place::stdout(Command::new("id").arg("-u"));
    if uid.trim() != "0" {
        return Err("it takes root to boot a container".into());
    }
    for (program, package) in [("systemd-nspawn", "systemd-container"), ("debootstrap", "debootstrap")] {
        if place::run(Command::new(program).arg("--version")).is_err() {
            ok(Command::new("apt-get")
                .args(["install", "-y", "--no-install-recommends", package])
                .env("DEBIAN_FRONTEND", "noninteractive"))?;
        }
    }
    let target = place::programs().parent().map(Path::to_path_buf).unwrap_or_default();
    let base = target.join("systemd-root");
    if base.is_dir() {
        return Ok(base);
    }
    // The host's own suite: the programs were linked against its C library.
    let release = fs::read_to_string("/etc/os-release").unwrap_or_default();
    let suite = release
        .lines()
        .find_map(|line| line.strip_prefix("VERSION_CODENAME="))
        .ok_or("`/etc/os-release` names no suite; Debian and Ubuntu do")?;
    let draft = target.join(format!("systemd-root-{}", std::process::id()));
    eprintln!("making a bare {suite} system in {}: about a minute and 250 MB, once", base.display());
    ok(Command::new("debootstrap").args(["--variant=minbase", "--include=systemd,systemd-sysv,dbus", suite]).arg(&draft))?;
    for spare in ["var/cache/apt/archives", "var/lib/apt/lists", "usr/share/locale", "usr/share/doc"] {
        // They only make the copy longer.
        let _ = fs::remove_dir_all(draft.join(spare));
    }
    fs::rename(&draft, &base).map_err(|error| error.to_string())?;
    Ok(base)
}

/// Puts in what an operator would: the programs, a key, two signed modules with their policies, and local users.
fn furnish(root: &Path, programs: &Path) -> Result<(), String> {
    ok(Command::new(place::root().join("packaging/install.sh")).arg(root).env("FROM", programs))?;
    let write = |name: &str, text: &str| {
        let path = root.join(name);
        fs::create_dir_all(path.parent().unwrap_or(root)).and_then(|()| fs::write(&path, text)).map_err(|error| format!("{name}: {error}"))
    };

    let state = root.join("var/lib/edgeguard/modules");
    fs::create_dir_all(&state).map_err(|error| error.to_string())?;
    let key = root.join("vendor/acme");
    let edgeguard = programs.join("edgeguard");
    ok(Command::new(&edgeguard).args(["keygen", "--out"]).arg(&key))?;
    ok(Command::new("install").args(["-m", "0644"]).arg(key.with_extension("pub")).arg(root.join("etc/edgeguard/keys/acme.pub")))?;

    let hello = wat::parse_file(place::root().join("tests/guests/hello.wat")).map_err(|error| error.to_string())?;
    fs::write(state.join("hello.wasm"), hello).map_err(|error| error.to_string())?;
    ok(Command::new(&edgeguard).args(["sign", "--key"]).arg(key.with_extension("key")).arg(state.join("hello.wasm")))?;
    write("etc/edgeguard/policy.d/hello.toml", HELLO)?;
    furnish_voice_gate(root, &edgeguard, &key, &write)?;
    furnish_services(root, &edgeguard, &key, &write)?;
    write("etc/edgeguard/export.toml", EXPORT)?;

    let own = fs::read_to_string(root.join("etc/edgeguard/edgeguard.toml")).map_err(|error| error.to_string())?;
    if !own.contains("invokers = [\"user:gateway\"]") {
        return Err("the example host file no longer names the user `gateway`".into());
    }
    for user in ["gateway", "stranger"] {
        ok(Command::new("chroot").arg(root).args(["useradd", "--no-create-home", "--shell", "/bin/sh", user]))?;
    }

    write("check.sh", include_str!("check.sh"))?;
    ok(Command::new("chmod").arg("0755").arg(root.join("check.sh")))?;
    write("etc/systemd/system/check.service", CHECK)?;
    write("etc/systemd/system/check.target", TARGET)
}

/// One module that serves at a Unix socket, which the daemon makes, and one at a port, which systemd opens by the example's unit.
fn furnish_services(root: &Path, edgeguard: &Path, key: &Path, write: &dyn Fn(&str, &str) -> Result<(), String>) -> Result<(), String> {
    let wasm = edgeguard_tests::guest::service();
    for (name, listen) in [("socket", "unix:/run/edgeguard/http/socket.sock"), ("port", "127.0.0.1:8080")] {
        let path = root.join("var/lib/edgeguard/modules").join(name).with_extension("wasm");
        fs::write(&path, &wasm).map_err(|error| error.to_string())?;
        ok(Command::new(edgeguard).args(["sign", "--key"]).arg(key.with_extension("key")).arg(&path))?;
        let policy = HELLO.replace("hello", name).replace("\"command\"", "\"http\"");
        write(&format!("etc/edgeguard/policy.d/{name}.toml"), &format!("{policy}\n[http]\nlisten = \"{listen}\"\n"))?;
    }
    write("etc/systemd/system/edgeguardd-http.socket", include_str!("../../../packaging/systemd/edgeguardd-http.socket.example"))
}

/// The module with a directory and a graph, where it and its model are built.
fn furnish_voice_gate(root: &Path, edgeguard: &Path, key: &Path, write: &dyn Fn(&str, &str) -> Result<(), String>) -> Result<(), String> {
    let (module, model) = (voice_gate(), model());
    let state = root.join("var/lib/edgeguard/modules");
    for (from, to) in [(&module, state.join("voice-gate.wasm")), (&model, state.join("vad.onnx"))] {
        fs::copy(from, to).map_err(|error| error.to_string())?;
    }
    ok(Command::new(edgeguard).args(["sign", "--key"]).arg(key.with_extension("key")).arg(state.join("voice-gate.wasm")))?;
    let digest = place::stdout(Command::new("sha256sum").arg(&model));
    let digest = digest.split_whitespace().next().unwrap_or("");
    let example = include_str!("../../../packaging/examples/voice-gate.toml");
    let policy = example
        .replace(&"0".repeat(64), digest)
        .replace("/var/lib/edgeguard/models/silero_vad.onnx", "/var/lib/edgeguard/modules/vad.onnx");
    write("etc/edgeguard/policy.d/voice-gate.toml", &policy)?;

    // One second of a 200 Hz tone between two of silence, 16 kHz, 16 bit: whether the model takes it for speech is not the question here.
    let samples: Vec<u8> = (0..48_000u32)
        .flat_map(|n| (if (16_000..32_000).contains(&n) { i16::try_from(n % 80).unwrap_or(0) * 200 - 8000 } else { 0 }).to_le_bytes())
        .collect();
    let mut wav = Vec::from(*b"RIFF");
    wav.extend((36 + u32::try_from(samples.len()).unwrap_or(0)).to_le_bytes());
    wav.extend(b"WAVEfmt \x10\0\0\0\x01\0\x01\0");
    wav.extend(16_000u32.to_le_bytes());
    wav.extend(32_000u32.to_le_bytes());
    wav.extend(b"\x02\0\x10\0data");
    wav.extend(u32::try_from(samples.len()).unwrap_or(0).to_le_bytes());
    wav.extend(samples);
    let audio = root.join("var/lib/gateway/audio");
    fs::create_dir_all(&audio).and_then(|()| fs::write(audio.join("tone.wav"), wav)).map_err(|error| error.to_string())
}

fn run(root: &Path) -> Result<(), String> {
    let mut nspawn = Command::new("timeout");
    nspawn.args(["180", "systemd-nspawn", "--quiet", "--console=pipe"]).arg("-D").arg(root).env("SYSTEMD_NSPAWN_UNIFIED_HIERARCHY", "1");
    // nspawn's own filter does not know Landlock before systemd 255.
    nspawn.arg("--system-call-filter=landlock_create_ruleset landlock_add_rule landlock_restrict_self");
    if !Path::new("/run/systemd/system").exists() {
        // This machine was not booted by systemd: nobody is there to register with.
        nspawn.args(["--register=no", "--keep-unit"]);
    }
    nspawn.args(["-b", "systemd.show_status=0", "systemd.unit=check.target"]).stdin(std::process::Stdio::null());
    ok(&mut nspawn).map(drop)
}

fn ok(command: &mut Command) -> Result<(), String> {
    let output = place::run(command)?;
    if output.status.success() {
        return Ok(());
    }
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    Err(format!("{command:?}: {}\n{}{}", output.status, text(&output.stdout), text(&output.stderr)))
}

const HELLO: &str = r#"version = 1

[module]
name = "hello"
path = "/var/lib/edgeguard/modules/hello.wasm"
mode = "command"

[[module.signer]]
key = "/etc/edgeguard/keys/acme.pub"

[limits]
memory = "4 MiB"
deadline = "5 s"
instances = 2
output = "64 KiB"
"#;

/// Started by the script, once there is a journal.
const EXPORT: &str = r#"version = 1

[[file]]
name = "local"
path = "/var/log/edgeguard/export.jsonl"
"#;

const CHECK: &str = "[Unit]
After=edgeguardd.service

[Service]
Type=oneshot
ExecStart=/check.sh
ExecStopPost=/bin/systemctl --force exit 0
TimeoutStartSec=150
";

const TARGET: &str = "[Unit]
Requires=basic.target
Wants=edgeguardd-http.socket edgeguardd.service check.service
";
