//! A policy as powers: what a module may do, apart from how it is written, and which of two policies allows more.
//!
//! Runs in: command line (`policy diff`, `policy explain`, `policy can`).
//! Does not: open a file or look at the host.
//! Invariant: [`Powers`] holds no power that another one in it covers, so that `covers` is a partial order: two sets that cover each other are equal.

mod can;
mod diff;
mod signing;
mod words;

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::collections::BTreeSet;

pub use can::Answer;
pub use can::Deed;
pub use can::can_graph;
pub use can::can_path;
pub use diff::Change;
pub use diff::Diff;
pub use diff::Kind;
pub use diff::diff;
pub use diff::diff_sets;
pub use signing::Signing;
pub use signing::Stated;
pub use signing::Wanted;
pub use signing::Who;

use crate::http::Http;
use crate::paths::within;
use crate::policy::Access;
use crate::policy::DirGrant;
use crate::policy::Encoding;
use crate::policy::Engine;
use crate::policy::GraphGrant;
use crate::policy::Policy;
use crate::policy::Quota;
use crate::policy::Target;

/// One thing that a policy allows.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Power {
    /// Everything at and below a directory of the host.
    Dir {
        /// Absolute, in plain form.
        host: String,
        /// Whether it may be changed too.
        write: bool,
        /// How much may be in it then.
        quota: Quota,
    },
    /// Computing with a model.
    Graph(Graph),
    /// An environment variable with its value.
    Env {
        /// The name.
        name: String,
        /// The value.
        value: String,
    },
    /// The arguments, all of them and in this order.
    Args(Vec<String>),
    /// Answering whoever connects.
    Serve(Serve),
    /// A number up to which something may be used.
    Limit {
        /// The key in `[limits]`.
        of: Limit,
        /// In the unit of the key.
        most: u64,
    },
    /// Reading clocks in steps of so many microseconds; 0 where they are as fine as the host's.
    Clocks(Reverse<u64>),
    /// Being run when the kernel enforces no more than this Landlock ABI.
    Landlock(Reverse<u32>),
    /// Being run in a release as old as this; 0 where any will do.
    MinVersion(Reverse<u64>),
    /// Being run on the word of these.
    Signing(Signing),
}

/// A model that may be computed with, and what that may cost. The name that the module calls it by and the path of the file are not part of the power.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Graph {
    /// SHA-256 of the model, in hexadecimal digits.
    pub sha256: String,
    /// The same of its weights, where they lie in a file of their own.
    pub weights: Option<String>,
    /// Format, target and engine, as a policy writes them.
    pub computed: [&'static str; 3],
    /// Computes at once; without a number the daemon decides, which is neither more nor less than any number.
    pub computes: Option<u32>,
    /// Threads for one compute.
    pub threads: u32,
    /// Bytes; none is no bound.
    pub memory: Option<u64>,
    /// Tokens of a context, and contexts, of a language model.
    pub language: Option<(u32, u32)>,
    /// Whether it has a process of its own, which is neither more nor less than sharing one; microseconds of one compute and bytes of its tensors, where a
    /// number is less than none.
    pub terms: (bool, Option<u64>, Option<u64>),
}

/// Where a module serves, and what its clients may ask. What is not written in `words` is not part of the power.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Serve {
    /// The address, as a policy writes it.
    pub listen: String,
    /// Who may connect to a Unix socket; without a list whoever may invoke modules, which is neither more nor less than any list.
    pub clients: Option<BTreeSet<String>>,
    /// Connections at once; requests in a minute; bytes of a request's head, of its body, and of an answer's; and how long a head may take, in microseconds.
    pub most: [u64; 6],
    words: String,
}

impl Serve {
    fn of(http: &Http) -> Self {
        let micros = u64::try_from(http.read_timeout.as_micros()).unwrap_or(u64::MAX);
        let most =
            [http.connections.into(), http.requests_per_minute.into(), http.request_head, http.request_body, http.response_body, micros];
        let clients = http.clients.as_ref().map(|list| list.iter().map(ToString::to_string).collect());
        Self { listen: http.listen.to_string(), clients, most, words: http.words() }
    }

    fn covers(&self, other: &Self) -> bool {
        let clients = match (&self.clients, &other.clients) {
            (Some(mine), Some(wanted)) => mine.is_superset(wanted),
            (mine, wanted) => mine == wanted,
        };
        self.listen == other.listen && clients && self.most.iter().zip(&other.most).all(|(mine, wanted)| mine >= wanted)
    }
}

/// The keys of `[limits]`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Limit {
    /// `memory`, in bytes.
    Memory,
    /// `deadline`, in microseconds.
    Deadline,
    /// `instances`
    Instances,
    /// `output`, in bytes.
    Output,
    /// `open-files`
    OpenFiles,
    /// `table-elements`
    TableElements,
}

impl Power {
    /// What a grant of a directory allows.
    pub(crate) fn of_dir(dir: &DirGrant) -> Self {
        Self::Dir { host: dir.host.to_string_lossy().into_owned(), write: dir.access == Access::ReadWrite, quota: dir.quota }
    }

    /// Whether whoever has this power has the other one too.
    #[must_use]
    pub fn covers(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Dir { host, write, quota }, Self::Dir { host: inner, write: wanted, quota: room }) => {
                within(inner, host) && write >= wanted && (!wanted || quota.covers(*room))
            }
            (Self::Graph(mine), Self::Graph(wanted)) => mine.covers(wanted),
            (Self::Serve(mine), Self::Serve(wanted)) => mine.covers(wanted),
            (Self::Limit { of, most }, Self::Limit { of: same, most: wanted }) => of == same && most >= wanted,
            (Self::Clocks(Reverse(mine)), Self::Clocks(Reverse(wanted))) => mine <= wanted,
            (Self::Landlock(Reverse(mine)), Self::Landlock(Reverse(wanted))) => mine <= wanted,
            (Self::MinVersion(Reverse(mine)), Self::MinVersion(Reverse(wanted))) => mine <= wanted,
            (Self::Signing(mine), Self::Signing(wanted)) => mine.covers(wanted),
            (Self::Env { .. }, Self::Env { .. }) | (Self::Args(_), Self::Args(_)) => self == other,
            _ => false,
        }
    }
}

impl Graph {
    fn of(grant: &GraphGrant) -> Self {
        let encoding = match grant.encoding {
            Encoding::Onnx => "onnx",
            Encoding::Gguf => "gguf",
            Encoding::PyTorch => "pytorch",
            Encoding::OpenVino => "openvino",
        };
        let target = match grant.target {
            Target::Cpu => "cpu",
        };
        let engine = match grant.engine {
            Engine::Rten => "rten",
            Engine::OnnxRuntime => "onnxruntime",
            Engine::LlamaCpp => "llama.cpp",
            Engine::PyTorch => "pytorch",
            Engine::OpenVino => "openvino",
        };
        Self {
            sha256: hex::encode(grant.sha256),
            weights: grant.weights.as_ref().map(|weights| hex::encode(weights.sha256)),
            computed: [encoding, target, engine],
            computes: grant.computes,
            threads: grant.threads,
            memory: grant.memory,
            language: grant.language.map(|language| (language.context, language.contexts)),
            terms: {
                let micros = |most: std::time::Duration| u64::try_from(most.as_micros()).unwrap_or(u64::MAX);
                (grant.terms.private, grant.terms.deadline.map(micros), grant.terms.tensors)
            },
        }
    }

    fn covers(&self, other: &Self) -> bool {
        let computes = match (self.computes, other.computes) {
            (Some(mine), Some(wanted)) => mine >= wanted,
            (mine, wanted) => mine == wanted,
        };
        let memory = self.memory.is_none_or(|mine| other.memory.is_some_and(|wanted| mine >= wanted));
        let language = match (self.language, other.language) {
            (Some(mine), Some(wanted)) => mine.0 >= wanted.0 && mine.1 >= wanted.1,
            (mine, wanted) => mine == wanted,
        };
        let at_least = |mine: Option<u64>, wanted: Option<u64>| mine.is_none_or(|mine| wanted.is_some_and(|wanted| mine >= wanted));
        let (mine, wanted) = (self.terms, other.terms);
        let terms = mine.0 == wanted.0 && at_least(mine.1, wanted.1) && at_least(mine.2, wanted.2);
        let same = terms && self.sha256 == other.sha256 && self.weights == other.weights && self.computed == other.computed;
        same && computes && memory && language && self.threads >= other.threads
    }
}

/// What a policy allows.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Powers(BTreeSet<Power>);

impl Powers {
    /// Those of a policy.
    #[must_use]
    pub fn of(policy: &Policy) -> Self {
        let limits = &policy.limits;
        let micros = u64::try_from(limits.deadline.as_micros()).unwrap_or(u64::MAX);
        let mut all: Vec<Power> = [
            (Limit::Memory, limits.memory),
            (Limit::Deadline, micros),
            (Limit::Instances, limits.instances.into()),
            (Limit::Output, limits.output),
            (Limit::OpenFiles, limits.open_files.into()),
            (Limit::TableElements, limits.table_elements.into()),
        ]
        .map(|(of, most)| Power::Limit { of, most })
        .into();
        all.extend(policy.dirs.iter().map(Power::of_dir));
        all.extend(policy.graphs.iter().map(|grant| Power::Graph(Graph::of(grant))));
        all.extend(policy.env.iter().map(|(name, value)| Power::Env { name: name.clone(), value: value.clone() }));
        all.extend(policy.http.as_ref().map(|http| Power::Serve(Serve::of(http))));
        if !policy.args.is_empty() {
            all.push(Power::Args(policy.args.clone()));
        }
        all.push(Power::Clocks(Reverse(u64::try_from(limits.clock_resolution.as_micros()).unwrap_or(u64::MAX))));
        all.push(Power::Landlock(Reverse(policy.floor.landlock)));
        all.push(Power::MinVersion(Reverse(policy.min_version.unwrap_or(0))));
        all.push(Power::Signing(Signing::of(policy)));
        all.into_iter().collect()
    }

    /// Whether everything that the other allows is allowed here.
    #[must_use]
    pub fn covers(&self, other: &Self) -> bool {
        other.0.iter().all(|power| self.cover(power))
    }

    /// Whether one of these powers covers this one.
    #[must_use]
    pub fn cover(&self, power: &Power) -> bool {
        self.0.iter().any(|mine| mine.covers(power))
    }

    /// Each power, in a fixed order.
    pub fn iter(&self) -> impl Iterator<Item = &Power> {
        self.0.iter()
    }
}

impl FromIterator<Power> for Powers {
    /// Keeps what no other one covers.
    fn from_iter<I: IntoIterator<Item = Power>>(all: I) -> Self {
        let all: BTreeSet<Power> = all.into_iter().collect();
        let widest = |power: &&Power| !all.iter().any(|other| other != *power && other.covers(power));
        Self(all.iter().filter(widest).cloned().collect())
    }
}

/// The policies of one side, by the module that each names.
pub type Side<'p> = BTreeMap<&'p str, &'p Policy>;
