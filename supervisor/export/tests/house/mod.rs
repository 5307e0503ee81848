//! A journal, an exporter, certificates, and receivers that are somebody else's programs.
//!
//! Runs in: tests.
#![allow(dead_code, reason = "each test file uses what it needs")]

use std::collections::BTreeSet;
use std::path::Path;
use std::path::PathBuf;
use std::process::Child;
use std::process::Command;
use std::process::Stdio;
use std::time::Duration;
use std::time::Instant;

use edgeguard_audit::Event;
use edgeguard_audit::Journal;
use edgeguard_audit::Keys;
use edgeguard_audit::Ocsf;
use edgeguard_audit::Options;
use edgeguard_audit::Outcome;
use edgeguard_audit::Record;
use edgeguard_audit::Source;
use edgeguard_audit::call_id;
use edgeguard_audit::encode::Encoder;
use edgeguard_audit::encode::Form;
use edgeguard_audit::read::Content;
use edgeguard_audit::read::Reader;
use tempfile::TempDir;

pub mod install;
pub mod rsyslog;

/// How many events [`House::write`] adds to the calls.
pub const EVENTS: usize = 6;

pub const ORIGIN: &str = "gateway-7.example";

/// A folder with a journal that is being written, and a place for the exporter's state.
pub struct House {
    pub dir: TempDir,
    journal: Option<Journal>,
    count: u64,
}

impl House {
    pub fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join("state")).unwrap();
        let (journal, _) = Journal::open(&dir.path().join("audit"), ORIGIN).unwrap();
        Self { dir, journal: Some(journal), count: 0 }
    }

    /// With a journal that is sealed, and so may delete calls.
    pub fn sealed() -> Self {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join("state")).unwrap();
        let keys = Keys::load(&dir.path().join("keys"), None).unwrap();
        let (journal, _) = Journal::open_with(&dir.path().join("audit"), ORIGIN, Options::sealed(keys)).unwrap();
        Self { dir, journal: Some(journal), count: 0 }
    }

    /// Deletes calls in order until so many bytes are left; says how many segments went.
    pub fn retire(&mut self, keep: u64) -> usize {
        self.journal.as_mut().unwrap().retire_detail(keep).unwrap()
    }

    /// Calls with names that no other has, until there are so many segments of calls; returns how many.
    pub fn fill(&mut self, segments: usize) -> u64 {
        let source = Source::new("voice-gate", uuid::Uuid::from_u128(7), [1; 32], [2; 32]);
        let from = self.count;
        let folder = self.path("audit/d");
        while std::fs::read_dir(&folder).unwrap().count() < segments {
            let name = |n: u64| (0..12).map(|part| noise(n * 12 + part)).collect::<String>();
            let batch: Vec<(Record, Option<String>)> = (self.count..self.count + 500).map(|n| (record(n), Some(name(n)))).collect();
            self.count += 500;
            let journal = self.journal.as_mut().unwrap();
            journal.calls(&source, &batch).unwrap();
            journal.flush().unwrap();
        }
        self.journal.as_mut().unwrap().sync().unwrap();
        self.count - from
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// So many calls, and a few events of kinds that matter to a SIEM.
    pub fn write(&mut self, calls: u64) {
        let source = Source::new("voice-gate", uuid::Uuid::from_u128(7), [1; 32], [2; 32]);
        let journal = self.journal.as_mut().unwrap();
        let from = self.count;
        self.count += calls;
        let batch: Vec<(Record, Option<String>)> =
            (from..self.count).map(|n| (record(n), n.is_multiple_of(3).then(|| format!("/audio/tür {} \"x\".wav", n % 50)))).collect();
        for part in batch.chunks(1000) {
            journal.calls(&source, part).unwrap();
        }
        for event in events(from) {
            journal.event(&event).unwrap();
        }
        journal.flush().unwrap();
        journal.sync().unwrap();
    }

    /// Ends the journal in order, and opens it again.
    pub fn reopen(&mut self) {
        self.journal.take().unwrap().close().unwrap();
        self.journal = Some(Journal::open(&self.path("audit"), ORIGIN).unwrap().0);
    }

    /// Ends the journal in order.
    pub fn close(&mut self) {
        self.journal.take().unwrap().close().unwrap();
    }

    /// Opens a sealed journal that was closed.
    pub fn reopen_sealed(&mut self) {
        let keys = Keys::load(&self.path("keys"), None).unwrap();
        self.journal = Some(Journal::open_with(&self.path("audit"), ORIGIN, Options::sealed(keys)).unwrap().0);
    }

    /// What the exporter should have sent, in its order.
    pub fn lines(&self, form: Form) -> Vec<String> {
        let mut reader = Reader::open(&self.path("audit")).unwrap();
        let mut lines = Vec::new();
        while let Some(frame) = reader.next_frame().unwrap() {
            let content = reader.decode(&frame).unwrap();
            let encoder = Encoder::new(Ocsf { origin: reader.origin().to_owned(), boot_id: reader.boot_id().to_owned() }, form);
            match content {
                Content::Events(items) => lines.extend(items.iter().map(|item| encoder.event(item).line)),
                Content::Calls(items) => lines.extend(items.iter().filter_map(|item| encoder.call(item)).map(|entry| entry.line)),
                _ => {}
            }
        }
        lines
    }

    pub fn uids(&self) -> BTreeSet<String> {
        self.lines(Form::default()).iter().map(|line| uid(line)).collect()
    }

    /// Writes the exporter's file: this, and where things are.
    pub fn configure(&self, sinks: &str) -> PathBuf {
        let path = self.path("export.toml");
        let text =
            format!("version = 1\njournal = \"{}\"\nstate = \"{}\"\n{sinks}\n", self.path("audit").display(), self.path("state").display());
        std::fs::write(&path, text).unwrap();
        path
    }

    pub fn exporter(&self) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_edgeguard-export"));
        command.arg("--config").arg(self.path("export.toml"));
        command
    }

    /// Runs the exporter until every sink has acknowledged everything.
    pub fn drain(&self) {
        let output = self.exporter().arg("--drain").output().unwrap();
        assert!(output.status.success(), "{}: {}", output.status, String::from_utf8_lossy(&output.stderr));
    }

    pub fn start(&self) -> Running {
        Running(self.exporter().stderr(Stdio::inherit()).spawn().unwrap())
    }

    pub fn status(&self) -> serde_json::Value {
        serde_json::from_slice(&std::fs::read(self.path("state/status.json")).unwrap_or_default()).unwrap_or_default()
    }
}

/// Sixty-four hexadecimal digits that do not compress.
fn noise(n: u64) -> String {
    let mut state = n.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    (0..4)
        .map(|_| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            format!("{state:016x}")
        })
        .collect()
}

fn record(n: u64) -> Record {
    let (outcome, errno) = if n % 7 == 6 { (Outcome::Error, 44) } else { (Outcome::Ok, 0) };
    Record {
        time_ns: edgeguard_audit::boottime_ns(),
        call: call_id("wasi_snapshot_preview1", if n.is_multiple_of(3) { "path_open" } else { "fd_read" }).unwrap(),
        outcome,
        flags: 0,
        errno,
        rule: 1,
        handle: 4,
        took_ns: 900,
        n_in: 0,
        n_out: n as u32,
    }
}

fn events(n: u64) -> Vec<Event> {
    let text = |text: &str| text.to_owned();
    vec![
        Event::InvocationStarted {
            id: format!("{n}"),
            module: text("voice-gate"),
            instance: text("i"),
            peer_uid: Some(7),
            listener: None,
            client: None,
            ring: Some(0),
        },
        Event::ModuleRefused {
            module: text("voice-gate"),
            code: text("EG2001"),
            reason: text("the signature does not verify"),
            digest: None,
        },
        Event::ProcessExited {
            pid: 9,
            role: text("worker"),
            subject: text("voice-gate"),
            how: text("killed by the sandbox (SIGSYS)"),
            exit_code: None,
            signal: Some(31),
        },
        Event::Denied {
            module: text("voice-gate"),
            instance: text("i"),
            ring: 0,
            call: text("wasi_snapshot_preview1#path_open"),
            text: Some(text("/etc/shadow")),
            text_class: None,
            errno: 76,
            call_ns: 5,
            count: 1,
            last_ns: None,
        },
        Event::InvocationEnded {
            id: format!("{n}"),
            module: text("voice-gate"),
            instance: text("i"),
            outcome: text("killed"),
            exit_code: None,
            detail: text("signal 9"),
            records_produced: 7,
            records_recorded: 7,
            denied: 0,
            stalls: 0,
            run_ns: 9,
        },
        Event::RingCorrupt { module: text("voice-gate"), instance: text("i"), ring: 0, reason: text("a position jumps\nback") },
    ]
}

/// A process that ends with the test.
pub struct Running(pub Child);

impl Running {
    pub fn kill(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.kill();
    }
}

pub fn uid(line: &str) -> String {
    let value: serde_json::Value = serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
    value["metadata"]["uid"].as_str().unwrap().to_owned()
}

/// Waits for something that another process does.
#[track_caller]
pub fn until<T>(what: &str, mut found: impl FnMut() -> Option<T>) -> T {
    let begun = Instant::now();
    loop {
        if let Some(found) = found() {
            return found;
        }
        assert!(begun.elapsed() < Duration::from_secs(20), "waited 20 seconds for {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Lines of a file; none if it is not there.
pub fn lines_of(path: &Path) -> Vec<String> {
    String::from_utf8(std::fs::read(path).unwrap_or_default()).unwrap().lines().map(str::to_owned).collect()
}

/// The test cannot run here: says why, and fails where nothing may be missing.
pub fn skip(reason: &str) {
    assert!(std::env::var_os("CI").is_none(), "{reason}");
    eprintln!("skipped: {reason}");
}

/// A port that nobody listens on now.
pub fn port() -> u16 {
    #[allow(clippy::disallowed_methods, reason = "the test needs a free port, which only the kernel knows")]
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// Waits until somebody listens on a port. The kernel is asked: a connection made only to see is one that a receiver has to cope with, and rsyslog, where
/// it sees the end of one together with the next, loses what came by the next.
pub fn listens(port: u16) {
    let listening = |table: &str| {
        let table = std::fs::read_to_string(table).unwrap_or_default();
        // proc_net_tcp(5): the second field is the local address with the port in hexadecimal, the fourth the state, where 0A is LISTEN.
        table.lines().any(|line| {
            let fields: Vec<&str> = line.split_whitespace().collect();
            fields.get(1).is_some_and(|local| local.ends_with(&format!(":{port:04X}"))) && fields.get(3) == Some(&"0A")
        })
    };
    until("the receiver to listen", || ["/proc/net/tcp", "/proc/net/tcp6"].into_iter().any(listening).then_some(()));
}

/// An authority, a certificate for `localhost`, and one for the exporter; as files.
pub struct Certificates;

impl Certificates {
    pub fn write(dir: &Path) {
        use std::os::unix::fs::PermissionsExt as _;
        let authority_key = rcgen::KeyPair::generate().unwrap();
        let mut authority = rcgen::CertificateParams::new(Vec::<String>::new()).unwrap();
        authority.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        authority.key_usages = vec![rcgen::KeyUsagePurpose::KeyCertSign, rcgen::KeyUsagePurpose::CrlSign];
        authority.distinguished_name.push(rcgen::DnType::CommonName, "Test Authority");
        let certificate = authority.self_signed(&authority_key).unwrap();
        std::fs::write(dir.join("ca.pem"), certificate.pem()).unwrap();
        let issuer = rcgen::Issuer::from_params(&authority, &authority_key);
        let roles = [
            ("server", &["localhost", "127.0.0.1"][..], rcgen::ExtendedKeyUsagePurpose::ServerAuth),
            ("client", &["gateway.example"], rcgen::ExtendedKeyUsagePurpose::ClientAuth),
        ];
        for (name, hosts, usage) in roles {
            let key = rcgen::KeyPair::generate().unwrap();
            let mut params = rcgen::CertificateParams::new(hosts.iter().map(|host| (*host).to_owned()).collect::<Vec<_>>()).unwrap();
            params.distinguished_name.push(rcgen::DnType::CommonName, name);
            params.extended_key_usages = vec![usage];
            params.key_usages = vec![rcgen::KeyUsagePurpose::DigitalSignature];
            std::fs::write(dir.join(format!("{name}.pem")), params.signed_by(&key, &issuer).unwrap().pem()).unwrap();
            let path = dir.join(format!("{name}.key"));
            std::fs::write(&path, key.serialize_pem()).unwrap();
            std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o400)).unwrap();
        }
    }
}

/// The lines of a configuration that name the files of [`Certificates`].
pub fn tls(dir: &Path) -> String {
    let path = |name: &str| dir.join(name).display().to_string();
    format!("ca = \"{}\"\ncertificate = \"{}\"\nkey = \"{}\"\n", path("ca.pem"), path("client.pem"), path("client.key"))
}
