//! What the schema says of each key: one sentence for the person who hovers over it, and what its value must look like.
//!
//! Runs in: command line.
//! Invariant: patterns are laxer than the checks of [`crate::parse`], never stricter, and written so that ECMA 262, Python and Rust read them alike.

use serde_json::Value;
use serde_json::json;

use crate::bounds;
use crate::schema;

/// One key's words.
#[derive(Debug)]
pub(super) struct Row {
    /// The key with the sections it stands in, dotted.
    pub(super) path: &'static str,
    /// What it is, in one line.
    pub(super) says: &'static str,
    /// What a value looks like; of a list or a table of words, each entry.
    pub(super) takes: Takes,
    /// Most entries of a list or a table.
    pub(super) most: Option<usize>,
    /// Whether a list that is there has at least one entry.
    pub(super) some: bool,
}

/// What a value looks like.
#[derive(Debug, Clone, Copy)]
pub(super) enum Takes {
    /// Whatever its type takes.
    Anything,
    /// One of these.
    OneOf(&'static [&'static str]),
    /// This number.
    Exactly(u64),
    /// Within these.
    Number(u64, u64),
    /// A number and a unit of bytes.
    Size,
    /// A number and a unit of time.
    Duration,
    /// Absolute, in plain form.
    Path,
    /// 64 hexadecimal digits.
    Sha256,
    /// Text that matches.
    Matches(&'static str),
    /// Text of at least one and at most so many characters.
    Within(usize),
    /// Text of at most so many characters.
    AtMost(usize),
}

use Takes::Anything;
use Takes::AtMost;
use Takes::Duration;
use Takes::Exactly;
use Takes::Matches;
use Takes::Number;
use Takes::OneOf;
use Takes::Path;
use Takes::Sha256;
use Takes::Size;
use Takes::Within;

impl Takes {
    pub(super) fn as_json(self) -> Vec<(&'static str, Value)> {
        let matches = |pattern: &str| vec![("pattern", json!(pattern))];
        match self {
            Anything => vec![],
            OneOf(words) => vec![("enum", json!(words))],
            Exactly(number) => vec![("const", json!(number))],
            Number(least, most) => vec![("minimum", json!(least)), ("maximum", json!(most))],
            Size => matches("^[0-9]+ ?(B|KiB|MiB|GiB)$"),
            Duration => matches("^[0-9]+ ?(us|µs|μs|ms|s|min|h|d)$"),
            Path => matches("^/([^/]+(/[^/]+)*)?$"),
            Sha256 => matches("^[0-9A-Fa-f]{64}$"),
            Matches(pattern) => matches(pattern),
            Within(most) => vec![("minLength", json!(1)), ("maxLength", json!(most))],
            AtMost(most) => vec![("maxLength", json!(most))],
        }
    }
}

const fn row(path: &'static str, takes: Takes, says: &'static str) -> Row {
    Row { path, says, takes, most: None, some: false }
}

impl Row {
    const fn most(mut self, most: usize) -> Self {
        self.most = Some(most);
        self
    }

    const fn some(mut self) -> Self {
        self.some = true;
        self
    }
}

/// What a section asks for beyond its required keys.
pub(super) fn choice(path: &str, may_name_profiles: bool) -> Vec<(&'static str, Value)> {
    let none_of = |keys: &[&str]| json!({ "not": { "anyOf": keys.iter().map(|key| json!({ "required": [key] })).collect::<Vec<_>>() } });
    match path {
        "module.signer" => {
            let key = json!({ "required": ["key"], "allOf": [none_of(&["issuer", "identity", "claims"])] });
            let identity = json!({ "required": ["issuer", "identity"], "allOf": [none_of(&["key", "evidence"])] });
            vec![("oneOf", json!([key, identity]))]
        }
        // What profiles may say need not be in a policy that names some.
        "" if may_name_profiles => {
            let limits: Vec<&str> = required(&schema::POLICY, "limits");
            let require: Vec<&str> = required(&schema::POLICY, "require");
            let whole = json!({
                "required": ["limits"], "properties": { "limits": { "required": limits }, "require": { "required": require } },
            });
            vec![("if", json!({ "not": { "required": ["profiles"] } })), ("then", whole)]
        }
        "trust" => vec![("dependencies", json!({ "root": ["root-sha256"], "root-sha256": ["root"] }))],
        _ => vec![],
    }
}

/// The required keys of a section at the top.
fn required(top: &'static schema::Section, name: &str) -> Vec<&'static str> {
    let inner = top.keys.iter().find(|key| key.name == name).map(|key| &key.kind);
    let Some(schema::Kind::One(section)) = inner else { return Vec::new() };
    section.keys.iter().filter(|key| key.need == schema::Need::Required).map(|key| key.name).collect()
}

const MODULE_NAME: &str = "^[a-z0-9][a-z0-9_-]{0,62}$";
const GRAPH_NAME: &str = "^[A-Za-z0-9][A-Za-z0-9._:/-]{0,127}$";
const SIGNER_ID: &str = "^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$";
const PRINCIPAL: &str = "^(user:|group:|uid:[0-9]+$|gid:[0-9]+$)";
const PATTERN: Takes = Within(bounds::MAX_PATTERN);
const WORD: Takes = AtMost(bounds::MAX_WORD);
const VERSION: Takes = Number(bounds::VERSION.0, bounds::VERSION.1);

const CLASSES: Takes = OneOf(&["plain", "hmac", "drop"]);

const fn number(bounds: (u32, u32)) -> Takes {
    Number(bounds.0 as u64, bounds.1 as u64)
}

/// A policy's keys.
#[rustfmt::skip]
pub(super) const POLICY: &[Row] = &[
    row("version", Exactly(1), "The format of this file: 1."),
    row("revision", VERSION, "The number of this text among its predecessors, raised with every change. Required on hosts that accept signed policies only."),
    row("profiles", Matches(MODULE_NAME), "Profiles that are written out into this policy. What it says itself counts before what they say.").most(bounds::MAX_PROFILES),
    row("module", Anything, "Which file it is, how it runs, and who must have signed it."),
    row("module.name", Matches(MODULE_NAME), "How the module is invoked, and how the journal calls it. The file should be called NAME.toml."),
    row("module.path", Path, "The .wasm file. Its bundle lies beside it, PATH.sigstore.json."),
    row("module.mode", OneOf(&["command", "http"]), "`command`: `_start` or `wasi:cli/run`, a fresh instance for every invocation. `http`: `wasi:http/incoming-handler`, a fresh instance for every request; needs [http]."),
    row("module.args", WORD, "The guest's arguments after its own name. Default: none.").most(bounds::MAX_ARGS),
    row("module.threshold", Number(1, bounds::MAX_BUNDLES as u64), "How many different signers must have signed. Default: 1. Only without [[module.require]]."),
    row("module.min-version", VERSION, "Releases below this version are refused. Needs a [[module.require]] for a release statement."),
    row("module.signer", Anything, "Somebody whose signature counts: the holder of a key, or an identity that a certificate vouches for.").most(bounds::MAX_SIGNERS),
    row("module.signer.key", Path, "A public key in PEM, as `edgeguard keygen` writes it."),
    row("module.signer.issuer", Matches("^https://[^/*]"), "Who vouches for the identity, character for character."),
    row("module.signer.identity", PATTERN, "The certificate's subject: a workflow's address or a mailbox. `*` stands for one whole segment between `/` and `@`."),
    row("module.signer.claims", Anything, "What else the certificate must say: a table of patterns."),
    row("module.signer.claims.repository-id", PATTERN, "The repository's number: it survives a change of name, and is never given to another."),
    row("module.signer.claims.repository-uri", PATTERN, "The repository's address."),
    row("module.signer.claims.repository-ref", PATTERN, "The branch or tag that was built."),
    row("module.signer.claims.repository-digest", PATTERN, "The commit that was built."),
    row("module.signer.claims.owner-id", PATTERN, "The number of the repository's owner."),
    row("module.signer.claims.owner-uri", PATTERN, "The address of the repository's owner."),
    row("module.signer.claims.workflow-ref", PATTERN, "The workflow that was started, with its reference."),
    row("module.signer.claims.workflow-digest", PATTERN, "The commit of that workflow."),
    row("module.signer.claims.build-signer-uri", PATTERN, "The workflow that signed, with its reference: another if it was called by the one that was started."),
    row("module.signer.claims.build-signer-digest", PATTERN, "The commit of the workflow that signed."),
    row("module.signer.claims.runner-environment", PATTERN, "Where it was built, such as `github-hosted`."),
    row("module.signer.claims.build-trigger", PATTERN, "What started the build, such as `push`."),
    row("module.signer.claims.run-uri", PATTERN, "The run."),
    row("module.signer.claims.visibility", PATTERN, "Whether the repository is `public`."),
    row("module.signer.claims.deployment-environment", PATTERN, "The environment whose protection rules the build has passed."),
    row("module.signer.claims.token-subject", PATTERN, "The subject as the issuer wrote it."),
    row("module.signer.id", Matches(SIGNER_ID), "What requirements and messages call the signer. Default: the key file's name without its ending, or the identity."),
    row("module.signer.usable-from", Anything, "The first second in which the signer counts."),
    row("module.signer.retire-at", Anything, "The last second in which the signer counts."),
    row("module.signer.evidence", OneOf(&["none", "log", "timestamp", "both"]), "What proof of time the bundle of this key must carry. Default: none. Not with `issuer`."),
    row("module.require", Anything, "What must be stated of the module, and by whom. All must be met.").most(bounds::MAX_REQUIREMENTS),
    row("module.require.statement", OneOf(&["signature", "release", "slsa-provenance", "approval"]), "What must have been stated."),
    row("module.require.signers", Anything, "Who may state it: ids of this policy's signers.").most(bounds::MAX_SIGNERS),
    row("module.require.threshold", Number(1, bounds::MAX_BUNDLES as u64), "How many different signers must state it. Default: 1."),
    row("module.require.max-age", Duration, "For release and approval: how old the statement may be. Default: any age."),
    row("module.require.builder", Within(bounds::MAX_WORD), "For slsa-provenance, required: who may have built it, `runDetails.builder.id`.").most(bounds::MAX_BUILD_WORDS).some(),
    row("module.require.build-type", Within(bounds::MAX_WORD), "For slsa-provenance: how it may have been built, `buildDefinition.buildType`. Default: in any way.").most(bounds::MAX_BUILD_WORDS).some(),
    row("module.require.parameters", WORD, "For slsa-provenance: the external parameters of the build, exactly these. Default: any.").most(bounds::MAX_BUILD_WORDS),
    row("dir", Anything, "A directory that the module may use.").most(bounds::MAX_DIRS),
    row("dir.guest", Path, "Where the module sees the directory."),
    row("dir.host", Path, "Where the directory is."),
    row("dir.access", OneOf(&["read", "read-write"]), "`read`: list it and read its files. `read-write`: besides, create, write, rename and remove in it."),
    row("dir.files", Number(bounds::DIR_FILES.0 as u64, bounds::DIR_FILES.1 as u64), "With `read-write`: how many files, directories and links there may be below it. Default: any number."),
    row("dir.bytes", Size, "With `read-write`: how much of the disk everything below it may take, as `du` counts. Default: all."),
    row("graph", Anything, "A model that the module may compute with.").most(bounds::MAX_GRAPHS),
    row("graph.name", Matches(GRAPH_NAME), "What the module gives to wasi-nn's `load-by-name`."),
    row("graph.model", Path, "The model file."),
    row("graph.sha256", Sha256, "What `sha256sum FILE` prints. The file is checked before a byte of it is parsed."),
    row("graph.weights", Path, "The file with the model's weights. Required for `openvino`, whose model is the `.xml` and whose weights are the `.bin`; no other format has one."),
    row("graph.weights-sha256", Sha256, "What `sha256sum FILE` prints of the weights. Both files are checked before a byte of either is parsed."),
    row("graph.encoding", OneOf(&["onnx", "gguf", "ggml", "openvino", "pytorch"]), "The model's format. `ggml` is wasi-nn's name for `gguf`; `openvino` is OpenVINO's own, in two files."),
    row("graph.target", OneOf(&["cpu"]), "Where the model is computed. No target ever falls back to another."),
    row("graph.engine", OneOf(&["rten", "onnxruntime", "llama.cpp", "openvino", "pytorch"]), "What computes it; no engine ever takes another's place. Default: rten for onnx, llama.cpp for gguf, openvino for openvino, pytorch for pytorch."),
    row("graph.computes", number(bounds::COMPUTES), "Computes at once. Default: for rten as many as there are processors, at most 4; for the others 1."),
    row("graph.threads", number(bounds::COMPUTES), "Threads for one compute. Default: 1."),
    row("graph.memory", Size, "The most memory for the model and its computes, 64 MiB to 1024 GiB. Default: what the machine has."),
    row("graph.load", OneOf(&["start", "first-use"]), "When the model is loaded: when its module is admitted, or when a worker of it starts. Default: start."),
    row("graph.idle-unload", Duration, "With `load = \"first-use\"`: after how long without use the model goes again, 1 s to 7 d. Default: it stays."),
    row("graph.context", number(bounds::CONTEXT), "For language models: tokens of one context, prompt and answer together. Default: 2048."),
    row("graph.contexts", number(bounds::CONTEXTS), "For language models: contexts at once, of all modules together. Default: 1."),
    row("http", Anything, "With `mode = \"http\"`: where the module is reached, and what its clients may ask."),
    row("http.listen", Matches("^(unix:/|[0-9]+[.]|\\[)"), "`unix:` and the path of a socket, or an IP address and a port. There is no TLS: let a proxy stand before what other machines reach."),
    row("http.clients", Matches(PRINCIPAL), "With a Unix socket: who may connect, besides root and the daemon's own user. Default: whoever the host's file lets invoke modules.").most(bounds::MAX_PRINCIPALS),
    row("http.connections", number(bounds::CONNECTIONS), "Clients at once, those that wait for an instance included. Default: 64."),
    row("http.requests-per-minute", number(bounds::REQUESTS_PER_MINUTE), "Requests in any minute, after as many at once; each leaves two events in the journal. Default: 600."),
    row("http.request-head", Size, "A request before its body, 1 KiB to 64 KiB. Default: 16 KiB."),
    row("http.request-body", Size, "A request's body, 0 B to 1 GiB. Default: 1 MiB."),
    row("http.response-body", Size, "An answer's body, 0 B to 1 GiB; a module that writes more is stopped. Default: 16 MiB."),
    row("http.read-timeout", Duration, "How long a client may take for the head of its request, 10 ms to 1 min. Default: 5 s."),
    row("graph.private", Anything, "true: the model is computed in a process for this module alone. Default: modules with the same terms share one."),
    row("graph.deadline", Duration, "For tensors: how long one compute may take, 1 ms to 1 h; the module sees an error. Default: the invocation's deadline."),
    row("graph.tensors", Size, "For tensors: all inputs of one compute, and as much for all outputs, 4 KiB to 1 GiB. Default: 16 MiB."),
    row("limits", Anything, "What one instance may use, and how many there may be at once. A module at a limit is stopped."),
    row("limits.memory", Size, "Linear memory of one instance, 64 KiB to 4 GiB."),
    row("limits.deadline", Duration, "Wall time of one invocation, 1 ms to 1 h."),
    row("limits.instances", number(bounds::INSTANCES), "Invocations at once."),
    row("limits.output", Size, "Standard output and standard error of one invocation together, 0 B to 1 GiB."),
    row("limits.open-files", number(bounds::OPEN_FILES), "Files open at once in one instance, granted directories not counted. Default: 16."),
    row("limits.table-elements", number(bounds::TABLE_ELEMENTS), "Elements in all tables of one instance. Default: 10000."),
    row("limits.clock-resolution", Duration, "The steps that the module's clocks go in, 1 us to 1 s. Default: as fine as the host's."),
    row("env", WORD, "Environment variables: the module sees these and no others.").most(bounds::MAX_ENV),
    row("require", Anything, "What the kernel must be able to enforce."),
    row("require.landlock", number(bounds::LANDLOCK), "The Landlock ABI below which the module is not run. Default: the host's."),
    row("prefer", Anything, "What the kernel should be able to enforce besides; where it is not, the module runs, and the host says so."),
    row("prefer.landlock", number(bounds::LANDLOCK), "A Landlock ABI above the required one."),
    row("audit", Anything, "In which form the journal keeps what the module names. No power."),
    row("audit.paths", CLASSES, "Paths of files: as they are, as codes under a key of this host, or not at all. Default: the host's."),
    row("audit.graphs", CLASSES, "Names of graphs. Default: the host's."),
];

/// The host file's keys.
#[rustfmt::skip]
pub(super) const HOST: &[Row] = &[
    row("version", Exactly(1), "The format of this file: 1."),
    row("paths", Anything, "Where things are."),
    row("paths.policy", Path, "Policies, one file for each module. Default: /etc/edgeguard/policy.d"),
    row("paths.profiles", Path, "Profiles that policies may name. Default: profiles.d beside the directory of policies"),
    row("paths.state", Path, "The journal, and the cache of native code. Default: /var/lib/edgeguard"),
    row("paths.runtime", Path, "Sockets. Default: /run/edgeguard"),
    row("paths.libexec", Path, "The programs that the daemon starts. Default: /usr/libexec/edgeguard"),
    row("control", Anything, "Who may ask the daemon."),
    row("control.socket", Path, "Default: control.sock in the runtime directory."),
    row("control.admins", Matches(PRINCIPAL), "Who may reload, see everything and invoke: user:NAME, uid:NUMBER, group:NAME or gid:NUMBER.").most(bounds::MAX_PRINCIPALS),
    row("control.invokers", Matches(PRINCIPAL), "Who may invoke modules and ask for their status.").most(bounds::MAX_PRINCIPALS),
    row("require", Anything, "The floor for all modules."),
    row("require.landlock", number(bounds::LANDLOCK), "The Landlock ABI below which nothing is run; 3 is Linux 6.2."),
    row("workers", Anything, "How workers are kept."),
    row("workers.standby", Anything, "Keep one hardened process ready for the next cold start. Default: true."),
    row("learning", Anything, "One module that is given more than its policy, so that the journal shows what it wants. For lab machines: only the program edgeguardd-learning starts with it."),
    row("learning.module", Matches(MODULE_NAME), "The module's name."),
    row("learning.directory", Path, "Each directory in it is granted under its own name, to read and write."),
    row("trust", Anything, "What evidence is judged by."),
    row("trust.root", Path, "A trusted_root.json: which authorities and logs count. Default: those of sigstore's public-good instance."),
    row("trust.root-sha256", Sha256, "What `sha256sum FILE` prints of the root."),
    row("trust.tuf-root", Path, "The root of the operator's own trust updates. Default: none."),
    row("trust.keyless", Anything, "false: no trusted root at all; keys alone admit. Default: true."),
    row("trust.warn", Duration, "How long before trust material expires a warning is given. Default: 7 d."),
    row("trust.grace", Duration, "How long after it has expired new modules are still admitted. Default: 0 s."),
    row("trust.revocations", OneOf(&["optional", "required"]), "`required`: nothing new is admitted without a revocation list. Default: optional."),
    row("trust.max-skew", Duration, "How far the clock may be wrong without being doubted. Default: 10 min."),
    row("trust.max-jump", Duration, "How far ahead of the last proven moment the clock is believed. Default: 400 d."),
    row("trust.counter", OneOf(&["none", "tpm"]), "`tpm`: a counter in the TPM shows that the daemon's state was restored from a backup. Default: none."),
    row("policy-signing", Anything, "If it is there, only policies signed by one of these keys count."),
    row("policy-signing.key", Path, "Public keys in PEM.").most(bounds::MAX_POLICY_KEYS),
    row("audit", Anything, "How much journal is kept, and in which form."),
    row("audit.budget", Size, "Bytes of journal; recorded calls are deleted for it, the oldest first. Default: 256 MiB."),
    row("audit.counter", OneOf(&["none", "tpm"]), "What says outside the disk how new the journal is, so that an older copy of the disk shows. Default: none."),
    row("audit.on-full", OneOf(&["refuse", "halt", "summarize"]), "What happens when the journal's disk takes no more. Default: refuse."),
    row("audit.paths", CLASSES, "The laxest form in which a policy may have the journal keep paths. Default: plain."),
    row("audit.graphs", CLASSES, "The same of names of graphs. Default: plain."),
    row("engines", Anything, "Engines that are no part of this product."),
    row("engines.onnxruntime", Anything, "ONNX Runtime, for graphs with `engine = \"onnxruntime\"`."),
    row("engines.onnxruntime.library", Path, "The shared library itself, not a link to it; only root and the daemon's user may be able to change it."),
    row("engines.onnxruntime.sha256", Sha256, "What `sha256sum FILE` prints of the library."),
    row("engines.openvino", Anything, "OpenVINO, for graphs with `engine = \"openvino\"` or `encoding = \"openvino\"`, which makes machine code of models."),
    row("engines.openvino.folder", Path, "The folder of its shared libraries, not a link to it; only root and the daemon's user may be able to change it or what is in it."),
    row("engines.openvino.files", Anything, "The name of each library that may be mapped, and what `sha256sum FILE` prints of it."),
];
