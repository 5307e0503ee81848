//! The beginning of a policy: from a module's imports and what its operator has said so far, the narrowest text that can become one.
//!
//! Runs in: command line (`edgeguard policy new`).
//! Does not: open a file, or guess a grant. What a module needs and nobody has said stands in the text as a comment, with words in it that no check accepts.
//! Invariant: what comes out is in canonical form, and without its comments grants no more than was asked for.

mod limits;

use thiserror::Error;

use crate::format::FormatError;
use crate::format::format;
use crate::imports::Kind;
use crate::imports::ModuleImports;
use crate::names::GraphName;
use crate::names::ModuleName;
use crate::policy::Access;
use crate::policy::DirGrant;
use crate::policy::Encoding;
use crate::source::escape;

/// What stands where something is to be filled in. No key of a policy takes it.
pub const BLANK: &str = "FILL IN";

/// What is known of a module before there is a policy.
#[derive(Debug, Clone)]
pub struct Draft {
    /// How the module is to be called.
    pub name: ModuleName,
    /// Where it is to lie on the gateway: absolute.
    pub path: String,
    /// What it asks for, where its file was read, with that file's name and SHA-256.
    pub module: Option<(ModuleImports, String, [u8; 32])>,
    /// The public key of its vendor on the gateway, and what to say about it.
    pub key: Option<(String, String)>,
    /// Directories that were asked for.
    pub dirs: Vec<DirGrant>,
    /// Models that were asked for.
    pub graphs: Vec<Model>,
}

/// A model whose file was read.
#[derive(Debug, Clone)]
pub struct Model {
    /// What the module loads it by.
    pub name: GraphName,
    /// Where it is on the gateway: absolute.
    pub path: String,
    /// SHA-256 of the file.
    pub sha256: [u8; 32],
    /// Where its weights are on the gateway, and their SHA-256, of formats that keep them apart.
    pub weights: Option<(String, [u8; 32])>,
    /// Its format.
    pub encoding: Encoding,
}

/// A policy begun.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Begun {
    /// The text, in canonical form.
    pub text: String,
    /// What is left to fill in: the section, and what is to be said in it.
    pub blanks: Vec<Blank>,
}

/// Something that is left to fill in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Blank {
    /// As in `[[dir]]`.
    pub section: &'static str,
    /// What it is for.
    pub what: &'static str,
    /// Line of its header in the text, from 1.
    pub line: usize,
    /// Whether the policy is none, or the module cannot work, without it.
    pub required: bool,
}

/// Why a policy was not begun.
#[derive(Debug, Error)]
pub enum BeginError {
    /// What was said cannot be written in canonical form, such as a path with a control character.
    #[error("what was given makes no policy")]
    Format(#[source] FormatError),
}

/// A section that waits for its words.
struct Open {
    section: &'static str,
    what: &'static str,
    keys: &'static [(&'static str, &'static str)],
    required: bool,
}

const SIGNER: Open = Open {
    section: "[[module.signer]]",
    what: "whose signature counts: the path of the vendor's public key on the gateway",
    keys: &[("key", BLANK)],
    required: true,
};

const DIR: Open = Open {
    section: "[[dir]]",
    what: "the directory it may use, if it needs one to do its work: where it sees it, and where that is on the gateway",
    keys: &[("guest", BLANK), ("host", BLANK), ("access", "read")],
    required: false,
};

const GRAPH: Open = Open {
    section: "[[graph]]",
    what: "the model it may compute with: the name it loads it by, the file, and what `sha256sum FILE` prints",
    keys: &[("name", BLANK), ("model", BLANK), ("sha256", BLANK), ("encoding", "onnx"), ("target", "cpu")],
    required: true,
};

/// Begins a policy.
///
/// # Errors
/// As [`BeginError`].
pub fn begin(draft: &Draft) -> Result<Begun, BeginError> {
    let imports = draft.module.as_ref().map(|(imports, ..)| imports);
    let mut open = Vec::new();
    let mut out = header(draft);
    out.push_str(&format!("version = 1\n\n[module]\nname = {}\n", quoted(draft.name.as_str())));
    out.push_str(&format!(
        "path = {} # on the gateway; its bundle lies beside it, with `.sigstore.json` at the end\n",
        quoted(&draft.path)
    ));
    let serves = imports.is_some_and(|imports| imports.serves && !imports.command);
    out.push_str(match serves {
        true => "mode = \"http\" # a fresh instance for every request\n\n",
        false => "mode = \"command\" # a fresh instance for every invocation\n\n",
    });
    match &draft.key {
        Some((path, what)) => out.push_str(&format!("[[module.signer]]\nkey = {} # {}\n\n", quoted(path), escape(what))),
        None => open.push(&SIGNER),
    }
    for dir in &draft.dirs {
        let access = if dir.access == Access::Read { "read" } else { "read-write" };
        let (guest, host) = (quoted(&dir.guest), quoted(&dir.host.to_string_lossy()));
        out.push_str(&format!("[[dir]]\nguest = {guest}\nhost = {host}\naccess = \"{access}\"\n\n"));
    }
    if draft.dirs.is_empty() && imports.is_some_and(ModuleImports::opens_files) {
        open.push(&DIR);
    }
    for graph in &draft.graphs {
        let encoding = match graph.encoding {
            Encoding::Onnx => "onnx",
            Encoding::Gguf => "gguf",
            Encoding::PyTorch => "pytorch",
            Encoding::OpenVino => "openvino",
        };
        let weights = graph
            .weights
            .as_ref()
            .map(|(path, sha256)| format!("weights = {}\nweights-sha256 = \"{}\"\n", quoted(path), hex::encode(sha256)));
        let weights = weights.unwrap_or_default();
        let (name, model, sha256) = (quoted(graph.name.as_str()), quoted(&graph.path), hex::encode(graph.sha256));
        out.push_str(&format!(
            "[[graph]]\nname = {name}\nmodel = {model}\nsha256 = \"{sha256}\"\n{weights}encoding = \"{encoding}\"\ntarget = \"cpu\"\n\n"
        ));
    }
    if draft.graphs.is_empty() && imports.is_some_and(|imports| imports.nn) {
        open.push(&GRAPH);
    }
    open.iter().for_each(|section| out.push_str(&section.text()));
    if serves {
        out.push_str(
            "# Whoever may invoke modules may connect; with `clients = [\"user:www-data\"]` that user, a proxy's, and nobody else.\n",
        );
        out.push_str(&format!("[http]\nlisten = \"unix:/run/edgeguard/http/{}.sock\"\n\n", draft.name));
    }
    out.push_str(&limits::of(imports));
    let text = format(&format!("{}.toml", draft.name), &out).map_err(BeginError::Format)?;
    let blanks = open.iter().map(|open| open.blank(&text)).collect();
    Ok(Begun { text, blanks })
}

impl Open {
    /// The section behind `# `, and what is to be done with it.
    fn text(&self) -> String {
        let must = if self.required { "Fill in" } else { "Fill in, or remove," };
        let mut out = format!("# {must} {}.\n# Then take the `# ` away from the lines below.\n# {}\n", self.what, self.section);
        self.keys.iter().for_each(|(key, value)| out.push_str(&format!("# {key} = {}\n", quoted(value))));
        out.push('\n');
        out
    }

    fn blank(&self, text: &str) -> Blank {
        let header = format!("# {}", self.section);
        let line = text.lines().position(|line| line == header).map_or(0, |i| i + 1);
        Blank { section: self.section, what: self.what, line, required: self.required }
    }
}

/// What the file is, before its first line.
fn header(draft: &Draft) -> String {
    let mut out = format!("# What the module `{}` may do. Whatever is not written here is refused.\n", draft.name);
    if let Some((imports, file, sha256)) = &draft.module {
        let kind = match imports.kind {
            Kind::Core => "a core module",
            Kind::Component => "a component",
        };
        let asks: Vec<&str> =
            [(imports.opens_files(), "opens files"), (imports.nn, "computes with models"), (imports.serves, "serves HTTP")]
                .into_iter()
                .filter_map(|(does, words)| does.then_some(words))
                .collect();
        let asks = if asks.is_empty() { "asks for no file and no model".to_owned() } else { asks.join(" and ") };
        out.push_str(&format!("# Begun from `{}`, {kind} that {asks}; SHA-256 {}.\n", escape(file), hex::encode(sha256)));
    }
    out.push('\n');
    out
}

/// Text as TOML quotes it.
fn quoted(text: &str) -> String {
    toml_edit::Value::from(text).to_string()
}
