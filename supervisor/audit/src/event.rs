//! Security events: what the product did, one by one, never aggregated, never overwritten first.
//!
//! Runs in: daemon (made), CLI (read).
//! Does not: hold payload bytes. Reasons and paths are text for people, with control bytes escaped by whoever shows them.

use serde::Deserialize;
use serde::Serialize;

use crate::dict::Source;
use crate::frame::HEADER_LEN;
use crate::frame::MAX_PAYLOAD;
use crate::leaves::LEAF_LEN;
use crate::names::NAME_LEN;
use crate::payload::event_json;
use crate::record::Record;
use crate::record::TextClass;
use crate::ring::RingCorrupt;
use crate::text::printable;

/// One security event. Digests are hex, times are the frame's.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum Event {
    /// The daemon began.
    DaemonStarted {
        /// Its release.
        version: String,
        /// Its process.
        pid: u32,
    },
    /// The daemon ends in order.
    DaemonStopped {
        /// Why: a signal's name.
        reason: String,
    },
    /// A policy is in force.
    PolicyLoaded {
        /// Where it stands.
        file: String,
        /// Which module it is for.
        module: String,
        /// SHA-256 of its text.
        digest: String,
    },
    /// A policy is not in force.
    PolicyRefused {
        /// Where it stands.
        file: String,
        /// What is wrong with it.
        reason: String,
    },
    /// A module may run.
    ModuleAdmitted {
        /// Its name.
        module: String,
        /// SHA-256 of its bytes.
        digest: String,
        /// Who signed it: a key's fingerprint, or an identity.
        key: String,
        /// The signature's algorithm.
        algorithm: String,
        /// SHA-256 of the policy's text.
        policy_digest: String,
        /// Whether its native code was in the cache.
        cached: bool,
        /// What was proved, as an in-toto statement: whose bundles met which requirement, under which policy, when. Absent in journals of older releases.
        #[serde(default, skip_serializing_if = "serde_json::Value::is_null")]
        receipt: serde_json::Value,
    },
    /// What admission goes by is another than before: an import, a list that runs out, a clock that is doubted.
    TrustChanged {
        /// SHA-256 of the trusted root in force; empty if nothing can be trusted.
        trusted_root: String,
        /// The number of the revocation list in force.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        revocation_list: Option<u64>,
        /// Whether the material is young enough, or why there is none.
        freshness: String,
        /// Whether modules that were not admitted before are refused for it.
        new_modules_refused: bool,
        /// What is believed of the clock.
        clock: String,
    },
    /// A module may not run.
    ModuleRefused {
        /// Its name.
        module: String,
        /// The check that failed.
        code: String,
        /// What was expected and what was found.
        reason: String,
        /// SHA-256 of its bytes, if they could be read.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        digest: Option<String>,
    },
    /// Native code was made.
    CompileFinished {
        /// The module.
        module: String,
        /// SHA-256 of its bytes.
        digest: String,
        /// Length of the native code in bytes.
        code_bytes: u64,
        /// How long it took, in nanoseconds.
        took_ns: u64,
    },
    /// Native code was not made.
    CompileFailed {
        /// The module.
        module: String,
        /// SHA-256 of its bytes.
        digest: String,
        /// What the compiler said.
        reason: String,
    },
    /// A child process is confined; this is written before it may run anything. What it may do is [`Event::GrantsGiven`], which is durable.
    ProcessStarted {
        /// Its process id.
        pid: u32,
        /// `compile`, `worker` or `graph`.
        role: String,
        /// The module or graph it is for; empty for none.
        subject: String,
        /// What it says of its confinement.
        report: serde_json::Value,
    },
    /// A child process is gone.
    ProcessExited {
        /// Its process id.
        pid: u32,
        /// `compile`, `worker` or `graph`.
        role: String,
        /// The module or graph it was for; empty for none.
        subject: String,
        /// Exit code or signal, in words.
        how: String,
        /// Exit code, if it exited.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        exit_code: Option<i32>,
        /// The signal that ended it, if one did.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        signal: Option<i32>,
    },
    /// A fresh instance of a module begins.
    InvocationStarted {
        /// The invocation.
        id: String,
        /// The module.
        module: String,
        /// The worker's id; see [`Source::instance`].
        instance: String,
        /// Who asked; none where it came over TCP.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        peer_uid: Option<u32>,
        /// The address that its module listens at; none where it came over the control socket.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        listener: Option<String>,
        /// The client's address and port, where it came over TCP.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        client: Option<String>,
        /// The guest thread that it runs on, and with it the ring that its calls come from, until the next invocation on that ring begins; none where it
        /// never came to run.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        ring: Option<u32>,
    },
    /// The instance is gone, and all its records are in the journal.
    InvocationEnded {
        /// The invocation.
        id: String,
        /// The module.
        module: String,
        /// The worker's id.
        instance: String,
        /// `exited`, `trapped`, `limit`, `worker-gone`, or `refused`: what a client sent was no request, and no guest ran.
        outcome: String,
        /// Exit code, if it exited.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        exit_code: Option<i32>,
        /// The trap or the limit.
        #[serde(default, skip_serializing_if = "String::is_empty")]
        detail: String,
        /// Records that the guest thread says it produced in this invocation.
        records_produced: u64,
        /// Records that were taken from its ring.
        records_recorded: u64,
        /// Of those recorded, calls that were denied: the sum of the counts of its [`Event::Denied`] and [`Event::DenialsCounted`].
        #[serde(default)]
        denied: u64,
        /// How often the guest waited for room in its ring.
        stalls: u64,
        /// How long it ran, in nanoseconds.
        run_ns: u64,
    },
    /// What a worker is about to be given.
    GrantsGiven {
        /// The module.
        module: String,
        /// Directories, each `guest: host (access)`.
        dirs: Vec<String>,
        /// Graphs, each `name: digest (target)`.
        graphs: Vec<String>,
    },
    /// A model is ready.
    GraphLoaded {
        /// Its name in the policy.
        name: String,
        /// SHA-256 of the model.
        sha256: String,
        /// The engine that runs it, with its version.
        engine: String,
        /// `cpu`, `gpu`, `npu`.
        target: String,
        /// How long loading took, in nanoseconds.
        load_ns: u64,
    },
    /// A model is not ready.
    GraphFailed {
        /// Its name in the policy.
        name: String,
        /// SHA-256 of the model, as the policy names it.
        sha256: String,
        /// What went wrong.
        reason: String,
    },
    /// A graph host is replaced.
    GraphRestarted {
        /// Its name in the policy.
        name: String,
        /// SHA-256 of the model.
        sha256: String,
        /// How the one before ended.
        reason: String,
    },
    /// A guest asked for something it was not granted: once, or so many times in the same words, which stand in one event.
    Denied {
        /// The module.
        module: String,
        /// The worker's id.
        instance: String,
        /// The guest thread.
        ring: u32,
        /// `interface#function`.
        call: String,
        /// The path or name it asked for.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        text: Option<String>,
        /// In which form that is there, if it is not as the guest wrote it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        text_class: Option<TextClass>,
        /// What it was told.
        errno: u16,
        /// When it asked, for the first of these times, `CLOCK_BOOTTIME` in nanoseconds.
        call_ns: u64,
        /// How often it asked.
        #[serde(default = "once", skip_serializing_if = "is_once")]
        count: u64,
        /// When it asked for the last of these times, if it was more than once.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        last_ns: Option<u64>,
    },
    /// Denied calls of a worker whose module is over its budget of security events: counted, and told apart only among the calls.
    DenialsCounted {
        /// The module.
        module: String,
        /// The worker's id.
        instance: String,
        /// The guest thread.
        ring: u32,
        /// How many.
        count: u64,
        /// When the first was asked, `CLOCK_BOOTTIME` in nanoseconds.
        first_ns: u64,
        /// When the last was asked, `CLOCK_BOOTTIME` in nanoseconds.
        last_ns: u64,
    },
    /// A module caused more security events than its budget has room for: its worker is ended, and it is not started again for a while.
    InstanceSuspended {
        /// The module.
        module: String,
        /// The worker's id.
        instance: String,
        /// The guest thread whose denial was one too many.
        ring: u32,
        /// What the budget holds when it is full, in bytes.
        burst_bytes: u64,
        /// What it regains in a second, in bytes.
        refill_bytes: u64,
        /// What it regains with each invocation, in bytes.
        invocation_bytes: u64,
        /// Bytes of events that came since it was last full, or since it was suspended last.
        came_bytes: u64,
        /// How many events these are.
        came_events: u64,
        /// For how long the module is not started, in nanoseconds.
        pause_ns: u64,
    },
    /// A worker's ring does not parse; the worker is no longer believed.
    RingCorrupt {
        /// The module.
        module: String,
        /// The worker's id.
        instance: String,
        /// The guest thread.
        ring: u32,
        /// What is wrong with it.
        reason: String,
    },
    /// A request on the control socket was refused for who asked.
    ControlRefused {
        /// Who asked.
        peer_uid: u32,
        /// What for.
        what: String,
    },
    /// The journal's disk was full, and the oldest calls were deleted so that events go on. Each segment stands in a `Retention` frame, too.
    JournalRoomMade {
        /// What the disk said.
        reason: String,
        /// Segments of calls that were deleted.
        segments: u64,
        /// Calls in them.
        calls: u64,
        /// Their bytes.
        bytes: u64,
        /// Bytes that are held in reserve after that; none if the disk had no room for it any more.
        reserve_bytes: u64,
    },
    /// The disk has room again, and the reserve that was given up for deleting is there again.
    JournalReserveRemade {
        /// Its bytes.
        bytes: u64,
    },
    /// The journal's disk takes records again. What nobody waited for was kept in memory meanwhile, and stands right before this, with the time at
    /// which it was written; what would have allowed something was refused and did not happen.
    JournalResumed {
        /// Why it took none.
        reason: String,
        /// For how long, in nanoseconds.
        closed_ns: u64,
        /// Events that were kept and are written now.
        kept: u64,
        /// Events that were not, because too many came.
        unkept: u64,
        /// Calls lost since the journal was opened.
        lost: u64,
    },
    /// The journal's disk is full, and there are no older calls to delete: from here on calls are only counted, exactly, so that events go on.
    CallsOnlyCounted {
        /// What the disk said.
        reason: String,
        /// The number of the first call of which only counts are kept.
        from: u64,
    },
    /// The disk has room again, and every call is written again.
    CallsKeptAgain {
        /// The number of the first call that is written again.
        from: u64,
        /// How many were only counted.
        only_counted: u64,
    },
    /// The journal's state gets a number outside its disk: a counter in the TPM is raised to this value as soon as this is on the disk and sealed. An older
    /// copy of the disk does not know the number.
    JournalCounted {
        /// The value; none when the counter is about to be raised for the first time, and its value is not known before.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        value: Option<u64>,
        /// Why the journal goes on though the counter says that it is not the newest: an operator's word.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        accepted: Option<String>,
    },
    /// Counts of calls fill their share of the journal's budget: from here on, they are of longer times. They stay exact.
    AuditDegraded {
        /// How long a time each count is of, in seconds.
        window_s: u64,
        /// Bytes of counts.
        bytes: u64,
        /// Their share of the budget, in bytes.
        share: u64,
    },
    /// Counts of calls are of shorter times again.
    AuditRestored {
        /// How long a time each count is of, in seconds.
        window_s: u64,
        /// Bytes of counts.
        bytes: u64,
        /// Their share of the budget, in bytes.
        share: u64,
    },
}

impl Event {
    /// The event for a record whose outcome is [`crate::Outcome::Denied`].
    #[must_use]
    pub fn denied(source: &Source, ring: u32, record: &Record, text: Option<&[u8]>) -> Self {
        Self::Denied {
            module: source.module().to_owned(),
            instance: source.instance().to_string(),
            ring,
            call: record.call.to_string(),
            text: text.map(printable),
            text_class: record.text_class(),
            errno: record.errno,
            call_ns: record.time_ns,
            count: 1,
            last_ns: None,
        }
    }

    /// A denial that came this often, and last at this time. Other events stay as they are.
    #[must_use]
    pub fn repeated(mut self, times: u64, last: u64) -> Self {
        if let Self::Denied { count, last_ns, .. } = &mut self
            && times > 1
        {
            (*count, *last_ns) = (times, Some(last));
        }
        self
    }

    /// The event for a ring that does not parse.
    #[must_use]
    pub fn ring_corrupt(source: &Source, ring: u32, error: &RingCorrupt) -> Self {
        let reason = match error {
            RingCorrupt::Record { source, .. } => format!("{error}: {source}"),
            _ => error.to_string(),
        };
        Self::RingCorrupt { module: source.module().to_owned(), instance: source.instance().to_string(), ring, reason }
    }

    /// Bytes that the event takes of the journal's disk: its frame, and the frame's leaf.
    #[must_use]
    pub fn disk_len(&self) -> u64 {
        // One that cannot be written takes nothing, which nobody is to rely on.
        let payload = event_json(u64::MAX, self).map_or(MAX_PAYLOAD, |payload| payload.len());
        let frame = |payload: usize| (HEADER_LEN + payload) as u64 + LEAF_LEN;
        // What a guest named stands in a frame of its own, behind a hash and a salt.
        let name = matches!(self, Self::Denied { text: Some(_), .. });
        frame(payload) + if name { frame(NAME_LEN) } else { 0 }
    }

    /// Whether the event is on the disk before [`crate::Journal::event`] returns: everything that allows something, and everything about the
    /// product itself. The others, of which a guest or a local user can cause any number, reach the disk within [`crate::SYNC_WITHIN`]; only
    /// a power failure can take them before.
    #[must_use]
    pub const fn durable(&self) -> bool {
        match self {
            Self::DaemonStarted { .. }
            | Self::DaemonStopped { .. }
            | Self::PolicyLoaded { .. }
            | Self::PolicyRefused { .. }
            | Self::ModuleAdmitted { .. }
            | Self::ModuleRefused { .. }
            | Self::TrustChanged { .. }
            | Self::GrantsGiven { .. }
            | Self::GraphLoaded { .. }
            | Self::GraphFailed { .. }
            | Self::JournalRoomMade { .. }
            | Self::JournalReserveRemade { .. }
            | Self::JournalResumed { .. }
            | Self::CallsOnlyCounted { .. }
            | Self::JournalCounted { .. }
            | Self::CallsKeptAgain { .. }
            | Self::AuditDegraded { .. }
            | Self::AuditRestored { .. }
            | Self::InstanceSuspended { .. }
            | Self::RingCorrupt { .. } => true,
            Self::CompileFinished { .. }
            | Self::CompileFailed { .. }
            | Self::ProcessStarted { .. }
            | Self::ProcessExited { .. }
            | Self::InvocationStarted { .. }
            | Self::InvocationEnded { .. }
            | Self::GraphRestarted { .. }
            | Self::Denied { .. }
            | Self::DenialsCounted { .. }
            | Self::ControlRefused { .. } => false,
        }
    }

    /// The module the event is about, if it is about one.
    #[must_use]
    pub fn module(&self) -> Option<&str> {
        match self {
            Self::PolicyLoaded { module, .. }
            | Self::ModuleAdmitted { module, .. }
            | Self::ModuleRefused { module, .. }
            | Self::CompileFinished { module, .. }
            | Self::CompileFailed { module, .. }
            | Self::InvocationStarted { module, .. }
            | Self::InvocationEnded { module, .. }
            | Self::GrantsGiven { module, .. }
            | Self::Denied { module, .. }
            | Self::DenialsCounted { module, .. }
            | Self::InstanceSuspended { module, .. }
            | Self::RingCorrupt { module, .. } => Some(module),
            Self::ProcessStarted { role, subject, .. } | Self::ProcessExited { role, subject, .. } => {
                (role != "graph").then_some(subject.as_str())
            }
            _ => None,
        }
    }

    /// Whether something was refused or stopped.
    #[must_use]
    pub const fn is_denial(&self) -> bool {
        matches!(
            self,
            Self::Denied { .. }
                | Self::DenialsCounted { .. }
                | Self::InstanceSuspended { .. }
                | Self::ModuleRefused { .. }
                | Self::PolicyRefused { .. }
                | Self::ControlRefused { .. }
                | Self::RingCorrupt { .. }
        )
    }
}

const fn once() -> u64 {
    1
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes what it looks at by reference")]
const fn is_once(count: &u64) -> bool {
    *count == 1
}
