//! What the daemon and a worker say to each other.
//!
//! Runs in: daemon and worker.
//!
//! Life of a worker: `Standby` → (`Assign`) → `Confined` → (`Run`) → any number of (`Invoke`) → `Finished`.

use std::time::Duration;

use edgeguard_sandbox::Access;
use edgeguard_sandbox::Report;
use serde::Deserialize;
use serde::Serialize;

use crate::dialogue::Phase;
use crate::dialogue::Request;
use crate::dialogue::Row;
use crate::graph::ModelInfo;
use crate::language::LanguageModel;

/// Daemon to worker.
#[derive(Debug, Serialize, Deserialize)]
pub enum ToWorker {
    /// Become this module's worker. Descriptors: see [`Assignment`].
    Assign(Box<Assignment>),
    /// The daemon looked at the process and found it confined: invocations may follow.
    Run,
    /// Run one fresh instance. Descriptors: standard input (read end), output and error (write ends). Of a module that serves, the connection of one client
    /// stands in place of standard input, which is then empty.
    Invoke(Invocation),
    /// A graph host was replaced. Descriptors: for each instance the new socket and the new region.
    RenewGraph {
        /// Index into [`Assignment::graphs`].
        graph: u16,
    },
}

/// Everything that one worker may ever have.
///
/// Descriptors beside it, in this order: native code (sealed memfd), doorbell (eventfd); one directory for each of `dirs`;
/// then for each instance its audit ring (sealed memfd), followed for each of `graphs` by the socket and the tensor region.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Assignment {
    /// The module's name in its policy.
    pub module: String,
    /// What the native code was made from.
    pub kind: ModuleKind,
    /// Granted directories.
    pub dirs: Vec<Dir>,
    /// Granted graphs.
    pub graphs: Vec<Graph>,
    /// The module's limits.
    pub limits: Limits,
    /// `argv`, the module's name first.
    pub args: Vec<String>,
    /// The guest's environment.
    pub env: Vec<(String, String)>,
    /// The Landlock ABI below which the worker must refuse.
    pub landlock_floor: u32,
    /// It serves HTTP, one request an invocation; `None`: it is a command.
    pub http: Option<Http>,
}

/// What a client of a module that serves may ask, and get.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Http {
    /// Bytes of a request's head.
    pub request_head: u64,
    /// Bytes of a request's body.
    pub request_body: u64,
    /// Bytes of an answer's body.
    pub response_body: u64,
    /// How long the head of a request may take to come.
    pub read_timeout: Duration,
}

impl Assignment {
    /// How many descriptors belong beside this frame.
    #[must_use]
    pub fn descriptors(&self) -> usize {
        2 + self.dirs.len() + self.limits.instances as usize * (1 + 2 * self.graphs.len())
    }
}

/// The two kinds of wasm binary.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum ModuleKind {
    /// A core module with WASI preview 1.
    Core,
    /// A component with WASI 0.2.
    Component,
}

/// One granted directory.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Dir {
    /// Where the guest sees it.
    pub guest: String,
    /// Read, or read and write.
    pub access: Access,
    /// How much may be in it, of a directory to write.
    pub quota: Option<Quota>,
}

/// How much may be in a directory, as `du` counts it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Quota {
    /// Bytes on the disk.
    pub bytes: Option<u64>,
    /// Files, directories and links.
    pub files: Option<u64>,
}

/// One granted graph.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Graph {
    /// The name that `load-by-name` takes.
    pub name: String,
    /// What the graph host said of the model.
    pub model: ModelInfo,
    /// It is a language model: its channel speaks [`crate::language`].
    pub language: Option<LanguageModel>,
    /// Length of the tensor region in bytes; the first half carries inputs, the second outputs.
    pub region: u64,
    /// How long one compute may take, if it is less than the invocation has left.
    pub deadline: Option<Duration>,
}

/// The limits of one instance, and how many there may be at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Limits {
    /// Linear memory, in bytes.
    pub memory: u64,
    /// Elements in all tables.
    pub table_elements: u32,
    /// Instances at once.
    pub instances: u32,
    /// Wall time of one invocation.
    pub deadline: Duration,
    /// Bytes on standard output and standard error together.
    pub output: u64,
    /// Files open at once, preopened directories not counted.
    pub open_files: u32,
    /// The steps that its clocks go in; zero: as fine as the host's.
    pub clock_resolution: Duration,
}

/// One invocation.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub struct Invocation {
    /// Chosen by the daemon, unique in the life of the worker.
    pub id: u64,
    /// The guest thread that runs it: the index of its audit ring. The daemon gives a thread nothing before it has heard the end of what it ran.
    pub ring: u32,
}

/// Worker to daemon.
#[derive(Debug, Serialize, Deserialize)]
pub enum FromWorker {
    /// Hardened, engine ready, waiting for an assignment.
    Standby,
    /// The assignment is in force.
    Confined(Box<Report>),
    /// The assignment could not be put in force; the worker exits.
    Refused {
        /// Which step failed, and why.
        reason: String,
    },
    /// An invocation ended.
    Finished(Finished),
    /// A compute did not answer before the invocation's deadline.
    GraphStalled {
        /// Index into [`Assignment::graphs`].
        graph: u16,
    },
}

/// How an invocation ended, and what it cost.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Finished {
    /// As in [`Invocation`].
    pub id: u64,
    /// Which guest thread ran it, as in [`Invocation::ring`].
    pub ring: u32,
    /// How it ended.
    pub outcome: Outcome,
    /// Records produced on this ring since the worker began.
    pub produced: u64,
    /// Where the time went.
    pub timing: Timing,
}

/// How a guest ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Outcome {
    /// It returned, or called `proc_exit`.
    Exited(i32),
    /// It trapped; the text is the engine's name for the trap.
    Trapped(String),
    /// It was stopped at a limit.
    Limit(Limit),
    /// No guest ran: what a client sent is no request. With the status that it was answered; 0 when it left without a word.
    Refused(u16),
}

/// The limits that stop a guest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Limit {
    /// `limits.memory`
    Memory,
    /// `limits.table-elements`
    Table,
    /// More instances, memories or tables in one store than the engine grants.
    Instances,
    /// `limits.deadline`
    Deadline,
    /// `limits.output`
    Output,
    /// `limits.open-files`
    OpenFiles,
    /// `http.response-body`
    ResponseBody,
}

impl Limit {
    /// The policy key that sets this limit.
    #[must_use]
    pub fn key(self) -> &'static str {
        match self {
            Self::Memory => "memory",
            Self::Table => "table-elements",
            Self::Instances => "instances",
            Self::Deadline => "deadline",
            Self::Output => "output",
            Self::OpenFiles => "open-files",
            Self::ResponseBody => "response-body",
        }
    }
}

/// Where the time of one invocation went, in nanoseconds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Timing {
    /// Making the instance.
    pub instantiate_ns: u64,
    /// Running it, host calls included.
    pub run_ns: u64,
    /// Of that, waiting for graph hosts.
    pub compute_ns: u64,
    /// Of that, inside the model engine, as the graph host measured it.
    pub engine_ns: u64,
    /// Linear memory at the end, in bytes.
    pub memory: u64,
}

/// A worker has said nothing yet.
pub const STARTING: Phase = Phase(0);
/// It waits for an assignment.
pub const STANDBY: Phase = Phase(1);
/// It is confined.
pub const RUNNING: Phase = Phase(2);

/// Which frame a worker may send when.
pub const FROM_WORKER: &[Row] = &[
    Row { name: "standby", phase: STARTING, once: true, next: STANDBY },
    Row { name: "confined", phase: STANDBY, once: true, next: RUNNING },
    Row { name: "refused", phase: STANDBY, once: true, next: STANDBY },
    Row { name: "finished", phase: RUNNING, once: false, next: RUNNING },
    Row { name: "graph-stalled", phase: RUNNING, once: false, next: RUNNING },
];

impl Request for FromWorker {
    const TABLE: &'static [Row] = FROM_WORKER;

    fn row(&self) -> usize {
        match self {
            Self::Standby => 0,
            Self::Confined(_) => 1,
            Self::Refused { .. } => 2,
            Self::Finished(_) => 3,
            Self::GraphStalled { .. } => 4,
        }
    }
}
