//! What a policy says once it is understood.
//!
//! Runs in: daemon and command line.
//! Invariant: only [`crate::parse`] makes a [`Policy`], so every value here is within `bounds`.

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::PathBuf;
use std::time::Duration;

use crate::admission::Requirement;
use crate::admission::Signer;
use crate::bounds::DEFAULT_LANDLOCK;
use crate::codes::Code;
use crate::diagnostic::Diagnostic;
use crate::diagnostic::Diagnostics;
use crate::host::HostConfig;
use crate::http::Http;
use crate::names::GraphName;
use crate::names::ModuleName;
use crate::privacy::Privacy;
use crate::privacy::Spots;
use crate::source::Source;
use crate::terms::GraphTerms;
use crate::units::show_size;

/// One module's policy: everything it may have, and nothing that is not written here.
#[derive(Debug, Clone)]
pub struct Policy {
    /// How the module is called on this host.
    pub name: ModuleName,
    /// The `.wasm` file; its bundle lies beside it.
    pub path: PathBuf,
    /// How the module is run.
    pub mode: Mode,
    /// The number of this text among its predecessors, which hosts that accept signed policies only hold against the highest they have seen.
    pub revision: Option<u64>,
    /// Releases below this version are refused.
    pub min_version: Option<u64>,
    /// Whose signatures count: at least one.
    pub signers: Vec<Signer>,
    /// All of these must be met, and there is at least one: without `[[module.require]]`, a [`Statement::Any`](crate::Statement::Any) of every signer.
    pub requirements: Vec<Requirement>,
    /// Granted directories, in the order of the file.
    pub dirs: Vec<DirGrant>,
    /// Granted graphs, in the order of the file.
    pub graphs: Vec<GraphGrant>,
    /// Where it serves, and whom; of every module in [`Mode::Http`], and of no other.
    pub http: Option<Http>,
    /// The limits of one instance, and how many there may be at once.
    pub limits: Limits,
    /// The guest's environment.
    pub env: BTreeMap<String, String>,
    /// The guest's arguments after its own name.
    pub args: Vec<String>,
    /// What the kernel must be able to enforce for this module.
    pub floor: Floor,
    /// What the kernel should be able to enforce besides: below it the module runs, and the host says so.
    pub preferred: Option<Floor>,
    /// In which form the journal keeps what the module names.
    pub privacy: Privacy,
    /// The profiles that it names, in its order.
    pub profiles: Vec<String>,
    /// SHA-256 of the text; of one that names profiles, of the text with these written out.
    pub digest: [u8; 32],
    /// What is not wrong but worth a look.
    pub warnings: Diagnostics,
    pub(crate) source: Source,
    pub(crate) places: Places,
}

/// How a module is run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// `_start` or `wasi:cli/run`, a fresh instance for every invocation.
    Command,
    /// `wasi:http/incoming-handler`, a fresh instance for every request.
    Http,
}

/// A directory that a module may use.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DirGrant {
    /// Where the guest sees it: absolute.
    pub guest: String,
    /// Where it is: absolute.
    pub host: PathBuf,
    /// What may be done in it.
    pub access: Access,
    /// How much may be in it, where it may be written.
    pub quota: Quota,
}

/// How much a module may have below a directory, all its instances together. Without a number there is no bound.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Quota {
    /// Names: files, directories and symbolic links.
    pub files: Option<u32>,
    /// Of the disk, as `du` counts.
    pub bytes: Option<u64>,
}

impl Quota {
    /// Whether whoever has this has the other's room too: no bound is more than any.
    #[must_use]
    pub fn covers(self, other: Self) -> bool {
        let covers = |mine: Option<u64>, wanted: Option<u64>| mine.is_none_or(|mine| wanted.is_some_and(|wanted| wanted <= mine));
        covers(self.files.map(u64::from), other.files.map(u64::from)) && covers(self.bytes, other.bytes)
    }

    /// In words, to be put behind what may be done; empty where nothing is bounded.
    #[must_use]
    pub fn words(self) -> String {
        match (self.files, self.bytes.map(show_size)) {
            (None, None) => String::new(),
            (Some(files), None) => format!(", up to {files} files there"),
            (None, Some(bytes)) => format!(", up to {bytes} there"),
            (Some(files), Some(bytes)) => format!(", up to {files} files and {bytes} there"),
        }
    }
}

/// What may be done in a granted directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// List it and read its files.
    Read,
    /// Besides, create, write, rename and remove in it.
    ReadWrite,
}

/// A model that a module may compute with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GraphGrant {
    /// The name that `load-by-name` takes.
    pub name: GraphName,
    /// The model file.
    pub model: PathBuf,
    /// SHA-256 of the model file.
    pub sha256: [u8; 32],
    /// The file with the model's weights; of every model whose format keeps them apart, and of no other.
    pub weights: Option<Weights>,
    /// The model's format.
    pub encoding: Encoding,
    /// Where it is computed.
    pub target: Target,
    /// What computes it: as the policy says, or the default for the format. Never another in its place.
    pub engine: Engine,
    /// Computes at once; without it the daemon's choice.
    pub computes: Option<u32>,
    /// Threads for one compute.
    pub threads: u32,
    /// The most memory for the model and its computes, in bytes.
    pub memory: Option<u64>,
    /// When its process is started.
    pub load: GraphLoad,
    /// On which terms this module has it.
    pub terms: GraphTerms,
    /// What a language model's contexts may cost; of every language model, and of no other.
    pub language: Option<LanguageBounds>,
}

/// The weights of a model, where they lie in a file of their own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Weights {
    /// `weights`
    pub path: PathBuf,
    /// `weights-sha256`
    pub sha256: [u8; 32],
}

/// When a model is loaded, and how long it stays.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum GraphLoad {
    /// When its module is admitted; it stays.
    Start,
    /// When a worker of its module is started. Where `idle` is written, it goes when it was not used for so long.
    FirstUse {
        /// `idle-unload`
        idle: Option<Duration>,
    },
}

impl GraphLoad {
    /// For sentences: "is loaded …".
    #[must_use]
    pub fn words(self) -> String {
        match self {
            Self::Start => "when its module is admitted".to_owned(),
            Self::FirstUse { idle: None } => "on first use".to_owned(),
            Self::FirstUse { idle: Some(idle) } => format!("on first use, and goes after {} without", crate::units::show_duration(idle)),
        }
    }
}

/// What a language model's contexts may cost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LanguageBounds {
    /// `context`: tokens of one, prompt and answer together.
    pub context: u32,
    /// `contexts`: how many at once, of all modules together.
    pub contexts: u32,
}

/// Formats of models.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Encoding {
    /// ONNX.
    Onnx,
    /// A language model in GGUF; wasi-nn calls the format `ggml`.
    Gguf,
    /// TorchScript.
    PyTorch,
    /// OpenVINO's own (IR): a description in XML, and [`Weights`].
    OpenVino,
}

/// What computes a model.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Engine {
    /// ONNX, built in.
    Rten,
    /// ONNX, by the library that the host's file names.
    OnnxRuntime,
    /// GGUF.
    LlamaCpp,
    /// TorchScript, where the product was built with libtorch.
    PyTorch,
    /// ONNX and OpenVINO's own format, by the folder of libraries that the host's file names; it makes machine code of a model.
    OpenVino,
}

/// Where a model is computed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Target {
    /// On the CPU.
    Cpu,
}

/// The limits of one instance, and how many there may be at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Linear memory, in bytes.
    pub memory: u64,
    /// Wall time of one invocation.
    pub deadline: Duration,
    /// Instances at once.
    pub instances: u32,
    /// Bytes on standard output and standard error together.
    pub output: u64,
    /// Files open at once, preopened directories not counted.
    pub open_files: u32,
    /// Elements in all tables.
    pub table_elements: u32,
    /// The steps that its clocks go in; zero: as fine as the host's.
    pub clock_resolution: Duration,
}

/// What the kernel must be able to enforce, below which a module is not run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Floor {
    /// The Landlock ABI.
    pub landlock: u32,
}

impl Default for Floor {
    fn default() -> Self {
        Self { landlock: DEFAULT_LANDLOCK }
    }
}

/// A value in the policy's text, for diagnostics about what it names (a file that is not there, say).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// `module.name`
    Name,
    /// `module.path`
    Path,
    /// `key` or `identity` of the signer with this index.
    Signer(usize),
    /// `usable-from` of the signer with this index, or [`Place::Signer`] where it has none.
    UsableFrom(usize),
    /// `retire-at` of the signer with this index, or [`Place::Signer`] where it has none.
    RetireAt(usize),
    /// `threshold` of the requirement with this index, or its section where the key is absent.
    Requirement(usize),
    /// `host` of the directory with this index.
    Dir(usize),
    /// `model` of the graph with this index.
    Model(usize),
    /// `sha256` of the graph with this index.
    Digest(usize),
    /// `weights` of the graph with this index, or [`Place::Model`] where it has none.
    Weights(usize),
    /// `weights-sha256` of the graph with this index, or [`Place::Digest`] where it has none.
    WeightsDigest(usize),
    /// `http.listen`; the module's name where it does not serve.
    Listen,
    /// `limits.memory`
    Memory,
    /// `limits.deadline`
    Deadline,
    /// `limits.table-elements`, or the section where the key is absent.
    TableElements,
    /// `prefer.landlock`; the module's name where the policy is silent.
    Preferred,
    /// `require.landlock`; the module's name where the policy is silent.
    Landlock,
}

/// Where the values stand, as byte ranges of the text.
#[derive(Debug, Clone, Default)]
pub(crate) struct Places {
    pub(crate) name: Range<usize>,
    pub(crate) path: Range<usize>,
    pub(crate) signers: Vec<Range<usize>>,
    pub(crate) windows: Vec<(Range<usize>, Range<usize>)>,
    pub(crate) requirements: Vec<Range<usize>>,
    pub(crate) dirs: Vec<Range<usize>>,
    pub(crate) models: Vec<Range<usize>>,
    pub(crate) digests: Vec<Range<usize>>,
    /// `weights` and `weights-sha256`.
    pub(crate) weights: Vec<Option<(Range<usize>, Range<usize>)>>,
    pub(crate) listen: Option<Range<usize>>,
    pub(crate) memory: Range<usize>,
    pub(crate) deadline: Range<usize>,
    pub(crate) table_elements: Range<usize>,
    pub(crate) landlock: Option<Range<usize>>,
    pub(crate) preferred: Option<Range<usize>>,
    pub(crate) privacy: Spots,
    /// In the policy's own text, not in the expanded one.
    pub(crate) profiles: Option<(Source, Range<usize>)>,
}

impl Policy {
    /// The stricter of the policy's floor and the host's, never laxer than either.
    #[must_use]
    pub fn effective_floor(&self, host: &HostConfig) -> Floor {
        Floor { landlock: self.floor.landlock.max(host.floor.landlock) }
    }

    /// What the host's own file has against this policy: a floor below the host's, a grant of what is the supervisor's own, a signer whom the host has no
    /// means to check, or no revision where only signed policies count.
    #[must_use]
    pub fn check_host(&self, host: &HostConfig) -> Diagnostics {
        let mut found = Diagnostics::default();
        if let Some(written) = &self.places.landlock
            && self.floor.landlock < host.floor.landlock
        {
            let (mine, hosts) = (self.floor.landlock, host.floor.landlock);
            found.push(
                Diagnostic::new(
                    Code::BelowFloor,
                    format!("policy asks for less than the host's floor: Landlock ABI {mine} where the host requires {hosts}"),
                )
                .at(&self.source, written.clone(), format!("the host requires at least {hosts}"))
                .help(format!("write `landlock = {hosts}` or more, or leave the key out: the host's floor then applies")),
            );
        }
        crate::overlap::check_own_dirs(self, host, &mut found);
        crate::means::check(self, host, &mut found);
        crate::privacy::check(self, host, &mut found);
        found
    }

    /// The file name that the policy was parsed under.
    #[must_use]
    pub fn file_name(&self) -> &str {
        self.source.name()
    }

    /// Where a value was written: the line, and the file if that is a profile's.
    #[must_use]
    pub fn line(&self, place: Place) -> (Option<String>, usize) {
        let (source, span) = self.source.origin(&self.span(place));
        let file = (source.name() != self.file_name()).then(|| source.name().to_owned());
        (file, source.line(span.start))
    }

    /// The files of the profiles that had a part in it, each once.
    #[must_use]
    pub fn profile_files(&self) -> Vec<&str> {
        self.source.origins().into_iter().filter(|name| *name != self.file_name()).collect()
    }

    /// A diagnostic that stands at one of this policy's values.
    #[must_use]
    pub fn diagnostic(&self, code: Code, message: impl Into<String>, place: Place, label: impl Into<String>) -> Diagnostic {
        Diagnostic::new(code, message).at(&self.source, self.span(place), label)
    }

    pub(crate) fn span(&self, place: Place) -> Range<usize> {
        let p = &self.places;
        let weights = |i: usize| p.weights.get(i).and_then(Option::as_ref);
        let of = |list: &[Range<usize>], i: usize| list.get(i).cloned().unwrap_or_else(|| p.name.clone());
        match place {
            Place::Name => p.name.clone(),
            Place::Path => p.path.clone(),
            Place::Signer(i) => of(&p.signers, i),
            Place::UsableFrom(i) => p.windows.get(i).map_or_else(|| p.name.clone(), |(from, _)| from.clone()),
            Place::RetireAt(i) => p.windows.get(i).map_or_else(|| p.name.clone(), |(_, until)| until.clone()),
            Place::Requirement(i) => of(&p.requirements, i),
            Place::Dir(i) => of(&p.dirs, i),
            Place::Model(i) => of(&p.models, i),
            Place::Digest(i) => of(&p.digests, i),
            Place::Weights(i) => weights(i).map_or_else(|| of(&p.models, i), |(path, _)| path.clone()),
            Place::WeightsDigest(i) => weights(i).map_or_else(|| of(&p.digests, i), |(_, digest)| digest.clone()),
            Place::Listen => p.listen.clone().unwrap_or_else(|| p.name.clone()),
            Place::Memory => p.memory.clone(),
            Place::Deadline => p.deadline.clone(),
            Place::TableElements => p.table_elements.clone(),
            Place::Preferred => p.preferred.clone().unwrap_or_else(|| p.name.clone()),
            Place::Landlock => p.landlock.clone().unwrap_or_else(|| p.name.clone()),
        }
    }
}
