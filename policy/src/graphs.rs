//! `[[graph]]` of a policy and `[engines]` of the host's file: which model, computed where, by what, and what it may cost.
//!
//! Runs in: daemon and command line.
//! Does not: put one engine in another's place. A word that this version does not serve is refused by name.

use std::ops::Range;
use std::path::PathBuf;

use crate::bounds;
use crate::codes::Code;
use crate::diagnostic::Diagnostic;
use crate::document::Found;
use crate::document::Table;
use crate::names::GraphName;
use crate::policy::Encoding;
use crate::policy::Engine;
use crate::policy::GraphGrant;
use crate::policy::GraphLoad;
use crate::policy::LanguageBounds;
use crate::policy::Target;
use crate::policy::Weights;
use crate::resolve::FEWER;
use crate::resolve::Resolver;

/// `[engines]`: what the operator installed beside what is built in.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Engines {
    /// `engines.onnxruntime`
    pub onnxruntime: Option<Library>,
    /// `engines.openvino`
    pub openvino: Option<Libraries>,
}

/// Shared libraries in one folder, each pinned.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Libraries {
    /// `folder`: the folder itself, not a link to it.
    pub folder: PathBuf,
    /// `files`: the name of each that may be used, and its digest.
    pub files: Vec<(String, [u8; 32])>,
}

/// A shared library, pinned.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Library {
    /// `library`: the file itself, not a link to it.
    pub path: PathBuf,
    /// `sha256`
    pub sha256: [u8; 32],
}

/// A graph grant and where its parts stand.
pub(crate) struct PlacedGraph {
    pub(crate) grant: GraphGrant,
    pub(crate) name: Range<usize>,
    pub(crate) model: Range<usize>,
    pub(crate) digest: Range<usize>,
    /// Of `weights` and `weights-sha256`.
    pub(crate) weights: Option<(Range<usize>, Range<usize>)>,
}

impl Resolver<'_> {
    pub(crate) fn graphs(&mut self, tables: &[Table<'_>]) -> Vec<PlacedGraph> {
        self.at_most(tables, bounds::MAX_GRAPHS, "[[graph]]", FEWER);
        let mut graphs: Vec<PlacedGraph> = Vec::new();
        for table in tables.iter().take(bounds::MAX_GRAPHS) {
            let name = table.text("name").and_then(|n| self.name(n, "graph", GraphName::new));
            if let Some((name, first)) = name.as_ref().and_then(|n| Some((n, graphs.iter().find(|g| g.grant.name == n.value)?))) {
                self.found.push(
                    Diagnostic::new(Code::DuplicateGraph, format!("graph `{}` is granted twice", name.value))
                        .at(self.source, name.span.clone(), "the same name again")
                        .also(self.source, first.name.clone(), "granted here")
                        .help("give each graph a name of its own"),
                );
            }
            graphs.extend(self.graph(table, name));
        }
        graphs
    }

    fn graph(&mut self, table: &Table<'_>, name: Option<Found<GraphName>>) -> Option<PlacedGraph> {
        let model = self.path(table, "model");
        let digest = table.text("sha256").and_then(|d| self.sha256(d));
        let encoding = table.text("encoding").and_then(|w| self.word(&w, ENCODINGS));
        let target = table.text("target").and_then(|w| self.word(&w, TARGETS));
        let weights = encoding.and_then(|encoding| self.weights(table, encoding));
        let engine = encoding.and_then(|encoding| self.engine(table, encoding));
        let computes = if table.has("computes") { self.count(table, "computes", bounds::COMPUTES, None).map(Some) } else { Some(None) };
        let threads = self.count(table, "threads", bounds::COMPUTES, Some(1));
        self.one_at_a_time(table, engine, computes.as_ref().and_then(Option::as_ref));
        let memory = if table.has("memory") { self.size(table, "memory", bounds::GRAPH_MEMORY).map(Some) } else { Some(None) };
        let load = self.load(table);
        let terms = self.terms(table, encoding);
        let language = encoding.and_then(|encoding| self.language(table, encoding));
        let (name, model, digest, weights) = (name?, model?, digest?, weights?);
        let (weights, places) = weights.map_or((None, None), |(path, digest)| {
            (Some(Weights { path: path.value, sha256: digest.value }), Some((path.span, digest.span)))
        });
        let grant = GraphGrant {
            name: name.value,
            model: model.value,
            sha256: digest.value,
            weights,
            encoding: encoding?,
            target: target?,
            engine: engine?,
            computes: computes?.map(|found| found.value),
            threads: threads?.value,
            memory: memory?.map(|found| found.value),
            load: load?,
            terms: terms?,
            language: language?,
        };
        Some(PlacedGraph { grant, name: name.span, model: model.span, digest: digest.span, weights: places })
    }

    /// What only formats with a second file have, and they must.
    fn weights(&mut self, table: &Table<'_>, encoding: Encoding) -> Option<Option<(Found<PathBuf>, Found<[u8; 32]>)>> {
        let keys = ["weights", "weights-sha256"];
        if encoding == Encoding::OpenVino {
            for key in keys.into_iter().filter(|key| !table.has(key)) {
                let help = "name the `.bin` file beside the model's `.xml` as `weights`, and what `sha256sum FILE` prints of it as `weights-sha256`";
                let (message, label) = (format!("`[[graph]]` in `openvino` has no `{key}`"), format!("`{key}` is missing here"));
                self.report(Code::MissingKey, message, &table.span, label, help);
            }
            let path = self.path(table, "weights");
            let digest = table.text("weights-sha256").and_then(|d| self.sha256(d));
            return Some(Some((path?, digest?)));
        }
        let mut good = true;
        for key in keys {
            if let Some(span) = table.span_of(key) {
                let message = format!("`{key}` is for models in `openvino`");
                self.report(Code::Misplaced, message, &span, "the model is of another format, and one file", "leave the key out");
                good = false;
            }
        }
        good.then_some(None)
    }

    /// The engine that is written, if it reads the format; else the format's default.
    fn engine(&mut self, table: &Table<'_>, encoding: Encoding) -> Option<Engine> {
        let (format, default) = match encoding {
            Encoding::Onnx => ("onnx", Engine::Rten),
            Encoding::Gguf => ("gguf", Engine::LlamaCpp),
            Encoding::PyTorch => ("pytorch", Engine::PyTorch),
            Encoding::OpenVino => ("openvino", Engine::OpenVino),
        };
        if !table.has("engine") {
            return Some(default);
        }
        let written = table.text("engine")?;
        let engine = self.word(&written, ENGINES)?;
        let reads: &[Encoding] = match engine {
            Engine::Rten | Engine::OnnxRuntime => &[Encoding::Onnx],
            Engine::OpenVino => &[Encoding::Onnx, Encoding::OpenVino],
            Engine::LlamaCpp => &[Encoding::Gguf],
            Engine::PyTorch => &[Encoding::PyTorch],
        };
        if reads.contains(&encoding) {
            return Some(engine);
        }
        let message = format!("engine `{}` does not read `{format}`", written.value);
        let help = match encoding {
            Encoding::Onnx => "write `rten`, `onnxruntime` or `openvino`, or leave the key out for `rten`",
            Encoding::Gguf => "write `llama.cpp`, or leave the key out",
            Encoding::PyTorch => "write `pytorch`, or leave the key out",
            Encoding::OpenVino => "write `openvino`, or leave the key out",
        };
        self.report(Code::Misplaced, message, &written.span, "reads another format", help);
        None
    }

    /// OpenVINO is served with one compute at a time.
    fn one_at_a_time(&mut self, table: &Table<'_>, engine: Option<Engine>, computes: Option<&Found<u32>>) {
        if engine == Some(Engine::OpenVino)
            && let (Some(computes), Some(span)) = (computes.filter(|computes| computes.value > 1), table.span_of("computes"))
        {
            let message = format!("engine `openvino` computes one at a time, not {}", computes.value);
            self.report(Code::Misplaced, message, &span, "more than one", "leave the key out, or take another engine");
        }
    }

    /// When it is loaded. What stays for good has no time to go after.
    fn load(&mut self, table: &Table<'_>) -> Option<GraphLoad> {
        let first_use = if table.has("load") { table.text("load").and_then(|w| self.word(&w, LOADS))? } else { false };
        let Some(span) = table.span_of("idle-unload") else {
            return Some(if first_use { GraphLoad::FirstUse { idle: None } } else { GraphLoad::Start });
        };
        let idle = self.duration(table, "idle-unload", bounds::IDLE_UNLOAD)?.value;
        if first_use {
            return Some(GraphLoad::FirstUse { idle: Some(idle) });
        }
        let message = "`idle-unload` is for graphs that are loaded on first use".to_owned();
        self.report(
            Code::Misplaced,
            message,
            &span,
            "this graph is loaded when the service starts",
            "write `load = \"first-use\"` besides, or leave the key out",
        );
        None
    }

    /// What only language models have.
    fn language(&mut self, table: &Table<'_>, encoding: Encoding) -> Option<Option<LanguageBounds>> {
        if encoding == Encoding::Gguf {
            let context = self.count(table, "context", bounds::CONTEXT, Some(bounds::DEFAULT_CONTEXT));
            let contexts = self.count(table, "contexts", bounds::CONTEXTS, Some(bounds::DEFAULT_CONTEXTS));
            return Some(Some(LanguageBounds { context: context?.value, contexts: contexts?.value }));
        }
        let mut good = true;
        for key in ["context", "contexts"] {
            if let Some(span) = table.span_of(key) {
                let message = format!("`{key}` is for language models");
                self.report(Code::Misplaced, message, &span, "the model is of another format", "leave the key out");
                good = false;
            }
        }
        good.then_some(None)
    }

    pub(crate) fn engines(&mut self, root: &Table<'_>) -> Option<Engines> {
        let Some(engines) = root.section("engines") else { return Some(Engines::default()) };
        let onnxruntime = match engines.section("onnxruntime") {
            Some(table) => {
                let path = self.path(&table, "library");
                let sha256 = table.text("sha256").and_then(|d| self.sha256(d));
                Some(Library { path: path?.value, sha256: sha256?.value })
            }
            None => None,
        };
        let openvino = match engines.section("openvino") {
            Some(table) => Some(self.libraries(&table)?),
            None => None,
        };
        Some(Engines { onnxruntime, openvino })
    }

    fn libraries(&mut self, table: &Table<'_>) -> Option<Libraries> {
        let folder = self.path(table, "folder");
        let listed = table.words("files");
        if listed.is_empty() || listed.len() > bounds::MAX_LIBRARIES {
            let message = format!("{} libraries, expected 1 to {}", listed.len(), bounds::MAX_LIBRARIES);
            let span = table.span_of("files")?;
            self.report(
                Code::TooMany,
                message,
                &span,
                "here",
                "name each library that the engine maps, with what `sha256sum` prints of it",
            );
            return None;
        }
        let mut files = Some(Vec::with_capacity(listed.len()));
        for (name, digest) in listed {
            let plain = name.value.len() <= bounds::MAX_LIBRARY_NAME
                && name.value.starts_with("lib")
                && name.value.chars().all(|c| c.is_ascii_alphanumeric() || "._+-".contains(c));
            if !plain {
                let message = "name of a library is malformed";
                self.report(
                    Code::BadName,
                    message.to_owned(),
                    &name.span,
                    "no such name",
                    "write the file's name alone, such as `libtbb.so.12`",
                );
            }
            let digest = self.sha256(digest);
            files = match (plain, digest, files) {
                (true, Some(digest), Some(mut files)) => {
                    files.push((name.value.to_owned(), digest.value));
                    Some(files)
                }
                _ => None,
            };
        }
        Some(Libraries { folder: folder?.value, files: files? })
    }
}

/// The formats that wasi-nn names, and GGUF by its own name.
const ENCODINGS: &[(&str, Option<Encoding>)] = &[
    ("onnx", Some(Encoding::Onnx)),
    ("gguf", Some(Encoding::Gguf)),
    ("ggml", Some(Encoding::Gguf)),
    ("openvino", Some(Encoding::OpenVino)),
    ("tensorflow", None),
    ("pytorch", Some(Encoding::PyTorch)),
    ("tensorflowlite", None),
    ("autodetect", None),
];

/// The targets that wasi-nn names, and the one that hardware makers do.
const TARGETS: &[(&str, Option<Target>)] = &[("cpu", Some(Target::Cpu)), ("gpu", None), ("npu", None), ("tpu", None)];

/// Whether a graph waits for its first use.
const LOADS: &[(&str, Option<bool>)] = &[("start", Some(false)), ("first-use", Some(true))];

/// The engines that there are, and those that people ask for.
const ENGINES: &[(&str, Option<Engine>)] = &[
    ("rten", Some(Engine::Rten)),
    ("onnxruntime", Some(Engine::OnnxRuntime)),
    ("llama.cpp", Some(Engine::LlamaCpp)),
    ("openvino", Some(Engine::OpenVino)),
    ("pytorch", Some(Engine::PyTorch)),
    ("candle", None),
];
