//! A house for tests: a scratch directory with keys, policies, signed modules and state, the real daemon that runs in it, and the real
//! command line.
//!
//! Runs in: tests, on the developer's machine and in CI. Started as root, it runs the daemon as an unprivileged user.
//! Invariant: nothing here is played. What a test sees, the processes, their sandbox, the journal, is what an operator would see.
//! Does not: outlive its test. The daemon is killed when the house is dropped, and its log is shown if the test failed.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use std::collections::BTreeMap;
use std::fs;
use std::fs::File;
use std::io::Read as _;
use std::io::Write as _;
use std::os::fd::OwnedFd;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::UnixDatagram;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::path::PathBuf;
use std::process::Command;
use std::process::ExitStatus;
use std::process::Stdio;
use std::time::Duration;
use std::time::Instant;

use rustix::event::PollFd;
use rustix::event::PollFlags;
use rustix::event::Timespec;
use rustix::process::Pid;
use rustix::process::PidfdFlags;
use rustix::process::Signal;
use serde_json::Value;
use sha2::Digest as _;
use tempfile::TempDir;

pub use crate::answer::Answer;
pub use crate::policy::Policy;
use crate::process::children_of;

/// Long enough for a loaded machine; reached only by a test that fails.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// The daemon's user when the tests run as root: `nobody`.
pub const DAEMON_UID: u32 = 65534;

/// A user whom no file names.
pub const STRANGER_UID: u32 = 54321;

/// What a house is built with. Whatever is not set is as an operator would have it who writes nothing.
#[derive(Debug, Default)]
pub struct Plan {
    /// Programs in place of the product's, by their names in the libexec folder.
    pub programs: BTreeMap<String, PathBuf>,
    /// Whether a hardened worker waits for the next cold start. Off, so that a test knows which processes there are.
    pub standby: bool,
    /// `control.invokers`
    pub invokers: Vec<String>,
    /// ONNX Runtime's library, which the host's file names and pins.
    pub onnxruntime: Option<PathBuf>,
    /// `[engines.openvino]`: the folder, all of whose files are pinned.
    pub openvino: Option<PathBuf>,
    /// Where the state is, if not in the house.
    pub state: Option<PathBuf>,
}

/// A scratch directory, and the daemon that runs in it.
pub struct House {
    root: TempDir,
    state: PathBuf,
    daemon: Option<Daemon>,
}

struct Daemon {
    process: std::process::Child,
    pidfd: OwnedFd,
    /// Where it says what a service manager wants to hear.
    notify: (TempDir, UnixDatagram),
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// A daemon that did not come up.
#[derive(Debug)]
pub struct NotUp {
    /// Its exit code; `None` for a signal.
    pub code: Option<i32>,
    /// All that it said.
    pub log: String,
}

/// One invocation by the command line.
#[derive(Debug)]
pub struct Invoked {
    /// The exit code of `edgeguard invoke`.
    pub code: Option<i32>,
    /// The guest's standard output.
    pub stdout: String,
    /// The guest's standard error; where the invocation did not begin, what the command line said.
    pub stderr: String,
    /// The settled account; null where the invocation did not begin.
    pub ending: Value,
}

impl Default for House {
    fn default() -> Self {
        Self::new()
    }
}

impl House {
    /// A house as an operator would have it, with a vendor's key and nothing in it. No daemon runs yet.
    #[must_use]
    pub fn new() -> Self {
        Self::with(Plan::default())
    }

    /// The same, built otherwise.
    #[must_use]
    pub fn with(plan: Plan) -> Self {
        let root = tempfile::Builder::new().prefix("edgeguard-").tempdir().unwrap();
        fs::set_permissions(root.path(), fs::Permissions::from_mode(0o755)).unwrap();
        for dir in ["libexec", "modules", "models", "policy.d", "run", "state"] {
            fs::create_dir(root.path().join(dir)).unwrap();
        }
        for program in [
            "edgeguardd",
            "edgeguard-compile",
            "edgeguard-worker",
            "edgeguard-graph",
            "edgeguard-onnxruntime",
            "edgeguard-openvino",
            "edgeguard-language",
            "edgeguard-torch",
            "edgeguard",
        ] {
            // Built only where libtorch is; a test that wants it says so.
            if program == "edgeguard-torch" && !plan.programs.contains_key(program) && !built_program(program).exists() {
                continue;
            }
            let from = plan.programs.get(program).cloned().unwrap_or_else(|| self::program(program));
            let to = root.path().join("libexec").join(program);
            // The daemon's user may not reach the build folder; the programs lie in the house.
            fs::hard_link(&from, &to)
                .or_else(|_| fs::copy(&from, &to).map(drop))
                .unwrap_or_else(|error| panic!("{}: {error}", from.display()));
        }
        let state = plan.state.clone().unwrap_or_else(|| root.path().join("state"));
        let house = Self { root, state, daemon: None };
        house.give_to_daemon(&house.path("run"));
        house.give_to_daemon(&house.state);
        fs::write(house.path("edgeguard.toml"), house.host_file(&plan)).unwrap();
        house.keygen("acme");
        house
    }

    fn host_file(&self, plan: &Plan) -> String {
        let path = |name: &str| self.path(name).display().to_string();
        let mut text = format!(
            "version = 1\n[paths]\npolicy = {:?}\nstate = {:?}\nruntime = {:?}\nlibexec = {:?}\n[control]\ninvokers = {:?}\n[workers]\nstandby = {}\n",
            path("policy.d"),
            self.state.display().to_string(),
            path("run"),
            path("libexec"),
            plan.invokers,
            plan.standby
        );
        if let Some(library) = &plan.onnxruntime {
            let digest = hex::encode(sha2::Sha256::digest(fs::read(library).unwrap()));
            text.push_str(&format!("[engines.onnxruntime]\nlibrary = {:?}\nsha256 = {digest:?}\n", library.display().to_string()));
        }
        if let Some(folder) = &plan.openvino {
            let folder = folder.canonicalize().unwrap();
            text.push_str(&format!("[engines.openvino]\nfolder = {:?}\n[engines.openvino.files]\n", folder.display().to_string()));
            for file in fs::read_dir(&folder).unwrap().map(Result::unwrap) {
                let digest = hex::encode(sha2::Sha256::digest(fs::read(file.path()).unwrap()));
                text.push_str(&format!("{:?} = {digest:?}\n", file.file_name().into_string().unwrap()));
            }
        }
        text
    }

    /// A path in the house.
    #[must_use]
    pub fn path(&self, name: &str) -> PathBuf {
        self.root.path().join(name)
    }

    /// The state directory.
    #[must_use]
    pub fn state(&self) -> &Path {
        &self.state
    }

    /// Makes a path the daemon's own.
    pub fn give_to_daemon(&self, path: &Path) {
        if rustix::process::geteuid().is_root() {
            std::os::unix::fs::chown(path, Some(DAEMON_UID), Some(DAEMON_UID)).unwrap();
        }
    }

    /// A directory of the operator's, readable for all.
    pub fn dir(&self, name: &str) -> PathBuf {
        let path = self.path(name);
        fs::create_dir_all(&path).unwrap();
        path
    }

    /// A directory that the daemon's user, and so a module with the grant, may write to.
    pub fn writable_dir(&self, name: &str) -> PathBuf {
        let path = self.dir(name);
        self.give_to_daemon(&path);
        path
    }

    /// Makes a key pair `NAME.key`, `NAME.pub`, and gives the public key's path.
    pub fn keygen(&self, name: &str) -> PathBuf {
        let out = self.path(name);
        self.must(self.cli(&["keygen", "--out"]).arg(&out));
        out.with_extension("pub")
    }

    /// Writes a module, signs it with the key `acme`, and writes its policy.
    pub fn install(&self, policy: &Policy, wasm: &[u8]) {
        let module = self.put_module(&policy.name, wasm);
        self.sign(&module, "acme");
        self.put_policy(policy);
    }

    /// Writes a module, unsigned.
    pub fn put_module(&self, name: &str, wasm: &[u8]) -> PathBuf {
        let path = self.module(name);
        fs::write(&path, wasm).unwrap();
        path
    }

    /// Where a module lies.
    #[must_use]
    pub fn module(&self, name: &str) -> PathBuf {
        self.path("modules").join(name).with_extension("wasm")
    }

    /// Signs a module as a vendor does.
    pub fn sign(&self, module: &Path, key: &str) {
        let key = self.path(key).with_extension("key");
        self.must(self.cli(&["sign", "--key"]).arg(key).arg(module));
    }

    /// Writes a policy file, as a whole or not at all.
    pub fn put_policy(&self, policy: &Policy) {
        self.put_policy_text(&policy.name, &policy.text(self));
    }

    /// Writes any text in a policy's place.
    pub fn put_policy_text(&self, name: &str, text: &str) {
        let path = self.path("policy.d").join(name).with_extension("toml");
        let draft = path.with_extension("draft");
        fs::write(&draft, text).unwrap();
        fs::rename(draft, path).unwrap();
    }

    /// Starts the daemon, and waits until it says that it serves.
    ///
    /// # Panics
    /// It does not come up.
    pub fn start(&mut self) {
        if let Err(error) = self.try_start() {
            panic!("the daemon did not come up: {error:?}");
        }
    }

    /// Starts the daemon, and waits until it says that it serves or is gone.
    ///
    /// # Errors
    /// It is gone.
    pub fn try_start(&mut self) -> Result<(), NotUp> {
        assert!(self.daemon.is_none(), "a daemon runs already");
        let daemon = self.spawn()?;
        self.daemon = Some(daemon);
        Ok(())
    }

    /// Starts one more daemon in the same house.
    ///
    /// # Errors
    /// It is gone before it serves, as it should.
    pub fn try_start_second(&self) -> Result<(), NotUp> {
        self.spawn().map(drop)
    }

    fn spawn(&self) -> Result<Daemon, NotUp> {
        let notify = tempfile::Builder::new().prefix("notify").tempdir_in(self.root.path()).unwrap();
        fs::set_permissions(notify.path(), fs::Permissions::from_mode(0o755)).unwrap();
        let address = notify.path().join("socket");
        let ready = UnixDatagram::bind(&address).unwrap();
        fs::set_permissions(&address, fs::Permissions::from_mode(0o666)).unwrap();
        let log = File::options().create(true).append(true).open(self.path("log")).unwrap();
        let log_begins = log.metadata().unwrap().len();
        let mut command = Command::new(self.path("libexec/edgeguardd"));
        command.arg("--config").arg(self.path("edgeguard.toml")).env_clear().env("NOTIFY_SOCKET", &address);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
        as_daemon(&mut command);
        let process = command.spawn().unwrap();
        let pidfd = rustix::process::pidfd_open(Pid::from_child(&process), PidfdFlags::empty()).unwrap();
        let mut daemon = Daemon { process, pidfd, notify: (notify, ready) };

        let began = Instant::now();
        loop {
            let mut fds = [PollFd::new(&daemon.notify.1, PollFlags::IN), PollFd::new(&daemon.pidfd, PollFlags::IN)];
            wait_for(&mut fds, PATIENCE.saturating_sub(began.elapsed()));
            let [said, gone] = fds.map(|fd| fd.revents().contains(PollFlags::IN));
            if said {
                let mut text = [0; 512];
                let len = daemon.notify.1.recv(&mut text).unwrap();
                if text[..len].split(|byte| *byte == b'\n').any(|line| line == b"READY=1") {
                    return Ok(daemon);
                }
            } else if gone || began.elapsed() >= PATIENCE {
                let _ = daemon.process.kill();
                let code = daemon.process.wait().unwrap().code();
                let log = fs::read(self.path("log")).unwrap();
                let log = String::from_utf8_lossy(&log[usize::try_from(log_begins).unwrap()..]).into_owned();
                return Err(NotUp { code, log });
            }
        }
    }

    /// Stops the daemon as systemd does, and waits for its end.
    pub fn stop(&mut self) -> ExitStatus {
        self.end(Signal::TERM)
    }

    /// Kills the daemon.
    pub fn kill(&mut self) -> ExitStatus {
        self.end(Signal::KILL)
    }

    fn end(&mut self, signal: Signal) -> ExitStatus {
        let mut daemon = self.daemon.take().expect("a daemon runs");
        rustix::process::pidfd_send_signal(&daemon.pidfd, signal).unwrap();
        assert!(wait_for(&mut [PollFd::new(&daemon.pidfd, PollFlags::IN)], PATIENCE), "the daemon did not end at {signal:?}");
        daemon.process.wait().unwrap()
    }

    /// The daemon's process id.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.daemon.as_ref().expect("a daemon runs").process.id()
    }

    /// Whether the daemon still runs.
    pub fn is_up(&mut self) -> bool {
        self.daemon.as_mut().is_some_and(|daemon| daemon.process.try_wait().unwrap().is_none())
    }

    /// The daemon's children: `(pid, program)`.
    #[must_use]
    pub fn children(&self) -> Vec<(u32, String)> {
        children_of(self.pid())
    }

    /// The daemon's children of one kind.
    #[must_use]
    pub fn children_named(&self, program: &str) -> Vec<u32> {
        // The kernel keeps fifteen bytes of a program's name.
        let short: String = program.chars().take(15).collect();
        self.children().into_iter().filter(|(_, name)| *name == short).map(|(pid, _)| pid).collect()
    }

    /// All that the daemon has said.
    #[must_use]
    pub fn log(&self) -> String {
        fs::read(self.path("log")).map(|log| String::from_utf8_lossy(&log).into_owned()).unwrap_or_default()
    }

    /// The command line, with the house's socket.
    #[must_use]
    pub fn cli(&self, args: &[&str]) -> Command {
        let mut command = Command::new(self.path("libexec/edgeguard"));
        command.args(args).env("EDGEGUARD_SOCKET", self.socket()).env_remove("CI").stdin(Stdio::null());
        command
    }

    fn must(&self, command: &mut Command) -> Vec<u8> {
        let output = command.output().unwrap();
        assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
        output.stdout
    }

    /// Invokes a module with nothing on standard input.
    pub fn invoke(&self, name: &str) -> Invoked {
        self.invoke_with(name, b"")
    }

    /// Invokes a module that must end well, and gives what it printed.
    ///
    /// # Panics
    /// It does not begin, or ends otherwise than with exit code 0.
    #[track_caller]
    pub fn run(&self, name: &str) -> String {
        let invoked = self.invoke(name);
        assert_eq!(invoked.code, Some(0), "{invoked:?}");
        invoked.stdout
    }

    /// Invokes a module.
    pub fn invoke_with(&self, name: &str, input: &[u8]) -> Invoked {
        let mut command = self.cli(&["invoke", name, "--json"]);
        let mut process = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let mut stdin = process.stdin.take().unwrap();
        let input = input.to_vec();
        // A guest need not read what it is sent.
        let feeding = std::thread::spawn(move || drop(stdin.write_all(&input)));
        let output = process.wait_with_output().unwrap();
        feeding.join().unwrap();
        let json: Value = serde_json::from_slice(&output.stdout).unwrap_or_default();
        let text = |key: &str| json[key].as_str().unwrap_or_default().to_owned();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        let stderr = if json.is_null() { said } else { text("stderr") };
        Invoked { code: output.status.code(), stdout: text("stdout"), stderr, ending: json["ending"].clone() }
    }

    /// `edgeguard reload --json`.
    pub fn reload(&self) -> Value {
        serde_json::from_slice(&self.cli(&["reload", "--json"]).output().unwrap().stdout).unwrap_or_default()
    }

    /// `edgeguard status --json`.
    #[must_use]
    pub fn status(&self) -> Value {
        serde_json::from_slice(&self.must(&mut self.cli(&["status", "--json"]))).unwrap()
    }

    /// What `status` says of one module.
    #[must_use]
    pub fn module_status(&self, name: &str) -> Value {
        let status = self.status();
        let modules = status["modules"].as_array().unwrap();
        modules.iter().find(|module| module["name"] == name).cloned().unwrap_or_default()
    }

    /// All of the journal: security events as `{"time", "position", "event"}`, calls as `{"time", "position", "call"}`.
    #[must_use]
    pub fn journal(&self) -> Vec<Value> {
        let mut command = self.cli(&["audit", "tail", "--json", "-n", "10000000", "--dir"]);
        let output = command.arg(self.state.join("audit")).output().unwrap();
        output.stdout.split(|byte| *byte == b'\n').filter_map(|line| serde_json::from_slice(line).ok()).collect()
    }

    /// The security events of one kind, each with its fields.
    #[must_use]
    pub fn events(&self, kind: &str) -> Vec<Value> {
        self.journal().iter().filter_map(|entry| event(entry, kind).cloned()).collect()
    }

    /// Has a daemon that runs write what it has taken so far: calls wait a little for company before they go to the disk.
    pub fn write_down(&self) {
        if self.daemon.is_some() {
            // What it answers is a signed state of the journal on the disk. One that cannot answer has nothing more to write either.
            let _ = self.cli(&["audit", "attest"]).output().unwrap();
        }
    }

    /// The calls of one function, `path_open`.
    #[must_use]
    pub fn calls(&self, function: &str) -> Vec<Value> {
        self.write_down();
        let calls = self.journal();
        calls.iter().map(|entry| &entry["call"]).filter(|call| call["function"] == function).cloned().collect()
    }

    /// Waits until the journal holds such an event: those that nobody waits for reach it a little later.
    ///
    /// # Panics
    /// It does not come.
    pub fn wait_for_event(&self, kind: &str, wanted: impl Fn(&Value) -> bool) -> Value {
        until(&format!("an event `{kind}`"), || self.events(kind).into_iter().find(|event| wanted(event)))
    }

    /// `edgeguard audit verify`: its exit code and what it says.
    #[must_use]
    pub fn verify(&self) -> (Option<i32>, Value) {
        let output = self.cli(&["audit", "verify", "--json", "--dir"]).arg(self.state.join("audit")).output().unwrap();
        (output.status.code(), serde_json::from_slice(&output.stdout).unwrap_or_default())
    }

    /// The control socket.
    #[must_use]
    pub fn socket(&self) -> PathBuf {
        self.path("run/control.sock")
    }

    /// A connection to the control socket.
    #[must_use]
    pub fn connect(&self) -> UnixStream {
        let stream = UnixStream::connect(self.socket()).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_write_timeout(Some(PATIENCE)).unwrap();
        stream
    }

    /// One request by hand; the answer to the end of the connection.
    pub fn request(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Answer {
        let mut stream = self.connect();
        let mut head = format!("{method} {path} HTTP/1.1\r\nHost: edgeguard\r\nConnection: close\r\nContent-Length: {}\r\n", body.len());
        headers.iter().for_each(|(name, value)| head.push_str(&format!("{name}: {value}\r\n")));
        // The daemon may have answered, and closed, before it has read everything.
        let _ = stream.write_all(format!("{head}\r\n").as_bytes()).and_then(|()| stream.write_all(body));
        let mut bytes = Vec::new();
        let _ = stream.read_to_end(&mut bytes);
        Answer::parse(&bytes)
    }
}

impl Drop for House {
    fn drop(&mut self) {
        drop(self.daemon.take());
        if std::thread::panicking() {
            eprintln!("--- the daemon's log\n{}---", self.log());
        }
    }
}

/// The fields of an entry's event, if it is of this kind.
#[must_use]
pub fn event<'e>(entry: &'e Value, kind: &str) -> Option<&'e Value> {
    entry.get("event")?.get(kind)
}

/// Has a command run as the daemon's user.
pub fn as_daemon(command: &mut Command) {
    as_user(command, DAEMON_UID);
}

/// Has a command run as another user, if this one is root.
pub fn as_user(command: &mut Command, uid: u32) {
    if rustix::process::geteuid().is_root() {
        command.uid(uid).gid(uid);
    }
}

/// Looks again until there is something, for [`PATIENCE`] at most.
///
/// # Panics
/// There never is.
pub fn until<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let began = Instant::now();
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(began.elapsed() < PATIENCE, "waited {PATIENCE:?} for {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Says why a test did not run; under CI that is a failure.
#[track_caller]
pub fn skip(reason: &str) {
    assert!(std::env::var_os("CI").is_none(), "under CI nothing is skipped: {reason}");
    // Not `eprintln!`, which the test runner keeps to itself when a test passes.
    let _ = writeln!(std::io::stderr(), "skipped: {reason}");
}

/// What `cargo xtask` has made: `guests/voice-gate.wasm`, `models/…`. It may not be there.
#[must_use]
pub fn built(name: &str) -> PathBuf {
    std::env::current_exe().unwrap().ancestors().nth(3).unwrap().join(name)
}

/// A program of the workspace. They lie side by side, above the tests.
///
/// # Panics
/// It was not built.
#[must_use]
pub fn program(name: &str) -> PathBuf {
    let path = built_program(name);
    assert!(path.exists(), "`{}` is missing; run `cargo build --release --workspace --bins` first", path.display());
    path
}

/// Where a program of this build lies, if it was built.
fn built_program(name: &str) -> PathBuf {
    let own = std::env::current_exe().unwrap();
    own.ancestors().nth(2).unwrap().join(name)
}

fn wait_for(fds: &mut [PollFd<'_>], limit: Duration) -> bool {
    let limit = Timespec { tv_sec: limit.as_secs().try_into().unwrap(), tv_nsec: limit.subsec_nanos().into() };
    rustix::io::retry_on_intr(|| rustix::event::poll(fds, Some(&limit))).unwrap() > 0
}
