//! A policy explained: what the module may do, the kernel rule that each grant becomes, what it could reach at worst, and what nobody limits.
//!
//! Runs in: command line (`edgeguard policy explain`).
//! Does not: know the kernel's rules. They are given to it by whoever links the crate that makes them, so that they cannot drift from what is enforced.
//! Does not: look at the host. What is said holds on every host that meets the floor.

mod paragraph;
mod worst;

use std::cmp::Reverse;

use serde_json::Value;
use serde_json::json;

use crate::host::HostConfig;
use crate::policy::Access;
use crate::policy::Encoding;
use crate::policy::Engine;
use crate::policy::Place;
use crate::policy::Policy;
use crate::policy::Quota;
use crate::powers::Limit;
use crate::powers::Power;
use crate::powers::Powers;
use crate::source::escape;

/// What Landlock makes of a grant.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Rights {
    /// Allowed below the directory, as in `fs:read-file`.
    pub allowed: Vec<String>,
    /// Denied there, as everywhere else.
    pub denied: Vec<String>,
    /// Not known to a kernel of the floor; denied by other layers.
    pub unknown: Vec<String>,
}

/// One table of system calls.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Filter {
    /// As errors and reports call it.
    pub name: String,
    /// What the table does with the calls in it, and with all others.
    pub effect: String,
    /// Rows, one for each call and form of its arguments.
    pub rows: usize,
}

/// The tables of one process, once it is locked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Process {
    /// The program, as `ps` shows it.
    pub program: String,
    /// Why it has another form, such as `in a root of its own`; empty where there is one form.
    pub form: String,
    /// The tables, in the order of loading.
    pub filters: Vec<Filter>,
    /// SHA-256 of all instructions, in hexadecimal digits, as the journal's record of the confined process has it.
    pub digest: String,
}

/// The kernel's rules for one policy, from the crate that enforces them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rules {
    /// The Landlock ABI that they are for: [`Policy::effective_floor`].
    pub abi: u32,
    /// Of a grant to read.
    pub read: Rights,
    /// Of a grant to read and write.
    pub write: Rights,
    /// The worker, and the host of each granted graph's engine.
    pub processes: Vec<Process>,
}

/// One grant, and what holds the module to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    /// As [`Power::class`] has it.
    pub class: &'static str,
    /// What is allowed, in words.
    pub words: String,
    /// What holds the module to it, in words.
    pub rule: String,
    /// For a directory, what Landlock makes of it.
    pub rights: Option<Rights>,
    /// The file of the profile that says so; none where the policy itself does.
    pub file: Option<String>,
    /// Line in that file, from 1; none where the policy is silent or has several lines about it.
    pub line: Option<usize>,
}

/// What could be reached if something fails.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Worst {
    /// What has failed, as in "with the engine broken".
    pub when: &'static str,
    /// What an attacker then has.
    pub can: Vec<String>,
    /// What still holds.
    pub cannot: Vec<String>,
}

/// A policy explained. All text is fit for a terminal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Explanation {
    /// The module's name.
    pub module: String,
    /// The policy's file.
    pub file: String,
    /// SHA-256 of the policy's text, in hexadecimal digits.
    pub sha256: String,
    /// The Landlock ABI that is meant everywhere.
    pub abi: u32,
    /// All of it in sentences.
    pub paragraph: String,
    /// Each grant, in the order of the policy.
    pub grants: Vec<Row>,
    /// The tables of system calls.
    pub processes: Vec<Process>,
    /// From the least that fails to the most.
    pub worst: Vec<Worst>,
    /// What this policy puts no bound to.
    pub unlimited: Vec<String>,
}

/// Explains a policy under a host's file.
#[must_use]
pub fn explain(policy: &Policy, host: &HostConfig, rules: Rules) -> Explanation {
    Explanation {
        module: policy.name.as_str().to_owned(),
        file: policy.file_name().to_owned(),
        sha256: hex::encode(policy.digest),
        abi: rules.abi,
        paragraph: escape(&paragraph::of(policy, policy.effective_floor(host).landlock, policy.effective_privacy(host))),
        grants: grants(policy, &rules),
        worst: worst::of(policy),
        unlimited: worst::unlimited(policy).iter().map(|text| escape(text)).collect(),
        processes: rules.processes,
    }
}

impl Explanation {
    /// For machines: `{module, file, sha256, landlock_abi, paragraph, grants, processes, worst, unlimited}`.
    #[must_use]
    pub fn to_json(&self) -> Value {
        let grants: Vec<Value> = self.grants.iter().map(Row::to_json).collect();
        let processes: Vec<Value> = self.processes.iter().map(Process::to_json).collect();
        let worst: Vec<Value> = self.worst.iter().map(|w| json!({ "when": w.when, "can": w.can, "cannot": w.cannot })).collect();
        json!({
            "module": self.module, "file": self.file, "sha256": self.sha256, "landlock_abi": self.abi, "paragraph": self.paragraph,
            "grants": grants, "processes": processes, "worst": worst, "unlimited": self.unlimited,
        })
    }
}

impl Row {
    fn to_json(&self) -> Value {
        let rights = self.rights.as_ref().map(|r| json!({ "allowed": r.allowed, "denied": r.denied, "unknown": r.unknown }));
        json!({ "class": self.class, "words": self.words, "rule": self.rule, "landlock": rights, "file": self.file, "line": self.line })
    }
}

impl Process {
    fn to_json(&self) -> Value {
        let filters: Vec<Value> = self.filters.iter().map(|f| json!({ "name": f.name, "effect": f.effect, "rows": f.rows })).collect();
        json!({ "program": self.program, "form": self.form, "filters": filters, "sha256": self.digest })
    }
}

/// The program that computes with an engine.
#[must_use]
pub fn program_of(engine: Engine) -> &'static str {
    match engine {
        Engine::Rten => "edgeguard-graph",
        Engine::OnnxRuntime => "edgeguard-onnxruntime",
        Engine::LlamaCpp => "edgeguard-language",
        Engine::PyTorch => "edgeguard-torch",
        Engine::OpenVino => "edgeguard-openvino",
    }
}

fn grants(policy: &Policy, rules: &Rules) -> Vec<Row> {
    let at = |place: Option<Place>| {
        place.map_or((None, None), |place| {
            let (file, line) = policy.line(place);
            (file, Some(line))
        })
    };
    let mut rows = Vec::new();
    for (i, dir) in policy.dirs.iter().enumerate() {
        let rights = if dir.access == Access::Read { &rules.read } else { &rules.write };
        let power = Power::of_dir(dir);
        let words = format!("{}, as `{}`", power.words(), escape(&dir.guest));
        let mut rule = format!("Landlock: {}", rights.allowed.join(" "));
        if dir.quota != Quota::default() {
            rule.push_str("; the quota: the worker");
        }
        let (file, line) = at(Some(Place::Dir(i)));
        rows.push(Row { class: "dir", words, rule, rights: Some(rights.clone()), file, line });
    }
    if policy.dirs.is_empty() {
        let rule = "Landlock: no right at all; seccomp: no call that takes a path".to_owned();
        rows.push(Row { class: "dir", words: "open no file".to_owned(), rule, rights: Some(Rights::default()), file: None, line: None });
    }
    for (i, graph) in policy.graphs.iter().enumerate() {
        let weights = graph.weights.as_ref().map(|w| format!(" with the weights `{}`", hex::encode(w.sha256))).unwrap_or_default();
        let (model, engine) = (hex::encode(graph.sha256), graph.engine.word());
        let words = format!("compute with `{}`, the model `{model}`{weights}, by {engine}", graph.name);
        let rule = format!("the model in a process of its own, {}; between the two a socket and shared memory", program_of(graph.engine));
        let (file, line) = at(Some(Place::Model(i)));
        rows.push(Row { class: "graph", words, rule, rights: None, file, line });
    }
    for power in Powers::of(policy).iter().filter(|power| !matches!(power, Power::Dir { .. } | Power::Graph(_))) {
        let (rule, place) = match power {
            Power::Limit { of, .. } => (limit(*of), placed(*of)),
            Power::Landlock(_) => (
                "seen to before the worker sees the module; below it nothing runs",
                policy.places.landlock.is_some().then_some(Place::Landlock),
            ),
            Power::Serve(_) => (
                "the daemon listens and accepts; the worker reads requests, has nothing but the connections that it is given, and no call that makes one",
                Some(Place::Listen),
            ),
            Power::Clocks(_) => ("the worker", None),
            Power::Env { .. } | Power::Args(_) => ("given as memory; the process's own environment is empty", None),
            Power::MinVersion(_) | Power::Signing(_) => ("seen to by the daemon, before a byte of the module is compiled", None),
            Power::Dir { .. } | Power::Graph(_) => continue,
        };
        // The stricter of the two floors is the one that counts.
        let words = if let Power::Landlock(_) = power { Power::Landlock(Reverse(rules.abi)).words() } else { power.words() };
        let (file, line) = at(place);
        rows.push(Row { class: power.class(), words, rule: rule.to_owned(), rights: None, file, line });
    }
    rows
}

/// Where a limit stands, of those whose place is known.
fn placed(of: Limit) -> Option<Place> {
    match of {
        Limit::Memory => Some(Place::Memory),
        Limit::Deadline => Some(Place::Deadline),
        Limit::Instances | Limit::Output | Limit::OpenFiles | Limit::TableElements => None,
    }
}

/// What keeps a limit.
fn limit(of: Limit) -> &'static str {
    match of {
        Limit::Memory | Limit::TableElements => "the wasm engine, in the worker",
        Limit::Deadline => "the wasm engine, in the worker; 1 s later the daemon, which kills the worker",
        Limit::Instances => "a thread for each, made before the lock; then RLIMIT_NPROC 0, and no call that makes one",
        Limit::Output => "the worker",
        Limit::OpenFiles => "the worker; RLIMIT_NOFILE 4096 for all of it",
    }
}

impl Engine {
    /// As a policy writes it.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Rten => "rten",
            Self::OnnxRuntime => "onnxruntime",
            Self::LlamaCpp => "llama.cpp",
            Self::PyTorch => "pytorch",
            Self::OpenVino => "openvino",
        }
    }
}

impl Encoding {
    /// What a person calls a model of this format.
    fn kind(self) -> &'static str {
        match self {
            Self::Onnx | Self::PyTorch | Self::OpenVino => "model",
            Self::Gguf => "language model",
        }
    }
}
