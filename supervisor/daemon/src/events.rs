//! What the daemon puts on record, in the journal's own words.
//!
//! Runs in: daemon.
//! Does not: hold payload. What children and guests said is escaped before it comes here.

use edgeguard_attest::Proof;
use edgeguard_attest::Receipt;
use edgeguard_attest::VerifiedModule;
use edgeguard_audit::Event;
use edgeguard_sandbox::Report;

use crate::admit::Admitted;
use crate::child::Exit;
use crate::graphs::GraphHost;
use crate::invoke::Ending;
use crate::trust::Said;

/// Who asked for an invocation, and where.
#[derive(Debug, Clone, Default)]
pub struct Origin {
    /// The user; none where it came over TCP.
    pub peer_uid: Option<u32>,
    /// The address that the module listens at; none for the control socket.
    pub listener: Option<String>,
    /// The client's own address, where it came over TCP.
    pub client: Option<String>,
}

impl Origin {
    /// Over the control socket.
    #[must_use]
    pub fn control(peer_uid: u32) -> Self {
        Self { peer_uid: Some(peer_uid), ..Self::default() }
    }
}

/// The daemon began.
#[must_use]
pub fn daemon_started() -> Event {
    Event::DaemonStarted { version: env!("CARGO_PKG_VERSION").into(), pid: std::process::id() }
}

/// The daemon ends in order.
#[must_use]
pub fn daemon_stopped(reason: &str) -> Event {
    Event::DaemonStopped { reason: reason.into() }
}

/// A policy file parsed.
#[must_use]
pub fn policy_loaded(file: &str, module: &str, digest: &[u8; 32]) -> Event {
    Event::PolicyLoaded { file: file.into(), module: module.into(), digest: hex::encode(digest) }
}

/// A policy file says nothing valid.
#[must_use]
pub fn policy_refused(file: &str, reason: &str) -> Event {
    Event::PolicyRefused { file: file.into(), reason: reason.into() }
}

/// A module may run.
#[must_use]
pub fn module_admitted(name: &str, module: &VerifiedModule, receipt: &Receipt, policy: &[u8; 32], cached: bool) -> Event {
    let proof = module.proof();
    Event::ModuleAdmitted {
        module: name.into(),
        digest: module.digest().to_string(),
        key: signer_of(proof),
        algorithm: proof.algorithm.as_str().into(),
        policy_digest: hex::encode(policy),
        cached,
        receipt: serde_json::from_str(receipt.as_str()).unwrap_or_default(),
    }
}

/// Who signed: a key's fingerprint, or the identity and who vouches for it.
fn signer_of(proof: &Proof) -> String {
    match (&proof.key, &proof.keyless) {
        (Some(key), _) => key.to_string(),
        (None, Some(keyless)) => format!("{} by {}", keyless.identity, keyless.issuer),
        (None, None) => String::new(),
    }
}

/// What admission goes by is another than before.
#[must_use]
pub fn trust_changed(said: &Said) -> Event {
    Event::TrustChanged {
        trusted_root: said.root.clone(),
        revocation_list: said.list,
        freshness: said.freshness.clone(),
        new_modules_refused: said.stale,
        clock: said.clock.clone(),
    }
}

/// A module may not run.
#[must_use]
pub fn module_refused(module: &str, code: &str, reason: &str, digest: Option<String>) -> Event {
    Event::ModuleRefused { module: module.into(), code: code.into(), reason: reason.into(), digest }
}

/// Native code was made.
#[must_use]
pub fn compile_finished(module: &str, digest: &str, code_bytes: usize, took: std::time::Duration) -> Event {
    Event::CompileFinished { module: module.into(), digest: digest.into(), code_bytes: code_bytes as u64, took_ns: nanos(took) }
}

/// Native code was not made.
#[must_use]
pub fn compile_failed(module: &str, digest: &str, reason: &str) -> Event {
    Event::CompileFailed { module: module.into(), digest: digest.into(), reason: reason.into() }
}

/// A child is confined, and the daemon saw it.
#[must_use]
pub fn process_started(pid: u32, role: &str, subject: &str, report: &Report) -> Event {
    let report = serde_json::to_value(report).unwrap_or_default();
    Event::ProcessStarted { pid, role: role.into(), subject: subject.into(), report }
}

/// A child is gone. `cause` is what made the daemon end it, if anything did.
#[must_use]
pub fn process_exited(pid: u32, role: &str, subject: &str, exit: Exit, cause: Option<&str>) -> Event {
    let how = cause.map_or_else(|| exit.to_string(), |cause| format!("{exit}; {cause}"));
    let (exit_code, signal) = match exit {
        Exit::Code(code) => (Some(code), None),
        Exit::Signal(signal) => (None, Some(signal)),
    };
    Event::ProcessExited { pid, role: role.into(), subject: subject.into(), how, exit_code, signal }
}

/// A fresh instance begins, on this guest thread.
#[must_use]
pub fn invocation_started(id: uuid::Uuid, module: &str, instance: uuid::Uuid, origin: &Origin, ring: Option<u32>) -> Event {
    let Origin { peer_uid, listener, client } = origin.clone();
    Event::InvocationStarted { id: id.to_string(), module: module.into(), instance: instance.to_string(), peer_uid, listener, client, ring }
}

/// The instance is gone and accounted for.
#[must_use]
pub fn invocation_ended(id: uuid::Uuid, module: &str, instance: uuid::Uuid, ending: &Ending) -> Event {
    Event::InvocationEnded {
        id: id.to_string(),
        module: module.into(),
        instance: instance.to_string(),
        outcome: ending.outcome.into(),
        exit_code: ending.code,
        detail: ending.detail.clone().unwrap_or_default(),
        records_produced: ending.records.produced,
        records_recorded: ending.records.recorded,
        denied: ending.records.denied,
        stalls: ending.records.stalls,
        run_ns: ending.run_us.saturating_mul(1000),
    }
}

/// What a worker is about to be given.
#[must_use]
pub fn grants_given(module: &Admitted) -> Event {
    Event::GrantsGiven { module: module.name.clone(), dirs: module.dirs_in_words(), graphs: module.graphs_in_words() }
}

/// A model is ready.
#[must_use]
pub fn graph_loaded(host: &GraphHost, engine: &str, load_ns: u64) -> Event {
    Event::GraphLoaded { name: host.name.clone(), sha256: hex::encode(host.sha256), engine: engine.into(), target: "cpu".into(), load_ns }
}

/// A model is not ready.
#[must_use]
pub fn graph_failed(host: &GraphHost, reason: &str) -> Event {
    Event::GraphFailed { name: host.name.clone(), sha256: hex::encode(host.sha256), reason: reason.into() }
}

/// A graph host is replaced.
#[must_use]
pub fn graph_restarted(host: &GraphHost, reason: &str) -> Event {
    Event::GraphRestarted { name: host.name.clone(), sha256: hex::encode(host.sha256), reason: reason.into() }
}

/// A request was refused for who asked.
#[must_use]
pub fn control_refused(peer_uid: u32, what: &str) -> Event {
    Event::ControlRefused { peer_uid, what: what.into() }
}

fn nanos(duration: std::time::Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}
