//! The format as data: which keys each section knows, what they take, and which may be left out.
//!
//! Runs in: daemon and command line.
//!
//! Not serde structs: serde stops at the first mistake, and all of them are to be reported at once.

/// One table: its keys, and how it is called in messages.
#[derive(Debug)]
pub(crate) struct Section {
    /// `[limits]`, or `the file` for the outermost.
    pub(crate) title: &'static str,
    /// What it may hold.
    pub(crate) keys: &'static [Key],
}

/// One key.
#[derive(Debug)]
pub(crate) struct Key {
    pub(crate) name: &'static str,
    pub(crate) kind: Kind,
    pub(crate) need: Need,
    /// A value as it may stand in a file, for help texts.
    pub(crate) example: &'static str,
}

/// What a key takes.
#[derive(Debug)]
pub(crate) enum Kind {
    Text,
    Integer,
    Boolean,
    /// A date and time; whether it has an offset is looked at later.
    Time,
    /// A list of strings.
    Texts,
    /// `[name]`
    One(&'static Section),
    /// `[[name]]`, any number of times.
    Many(&'static Section),
    /// `[name]` with keys of the operator's own and strings for values.
    Words,
}

/// Whether a key may be left out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Need {
    Required,
    Optional,
}

use Kind::Boolean;
use Kind::Integer;
use Kind::Many;
use Kind::One;
use Kind::Text;
use Kind::Texts;
use Kind::Time;
use Kind::Words;
use Need::Optional;
use Need::Required;

const fn key(name: &'static str, kind: Kind, need: Need, example: &'static str) -> Key {
    Key { name, kind, need, example }
}

/// What profiles may hold, of the top of a policy.
const SHARED: &[&str] = &["dir", "graph", "limits", "env", "require", "prefer", "audit"];

/// A profile: whatever of [`SHARED`] it likes.
pub(crate) const PROFILE: Section = Section {
    title: TOP,
    keys: &[
        key("version", Integer, Required, "1"),
        key("dir", Many(&DIR), Optional, "[[dir]]"),
        key("graph", Many(&GRAPH), Optional, "[[graph]]"),
        key("limits", One(&LIMITS), Optional, "[limits]"),
        key("env", Words, Optional, "[env]"),
        key("require", One(&REQUIRE), Optional, "[require]"),
        key("prefer", One(&PREFER), Optional, "[prefer]"),
        key("audit", One(&PRIVACY), Optional, "[audit]"),
    ],
};

/// Whether a key of a policy may stand in a profile instead: a section of its own, or a key of one. Entries of lists stand whole in one of the two.
pub(crate) fn may_be_shared(section: &Section, key: &Key) -> bool {
    let inner = |name: &&str| section.title.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) == Some(*name);
    if section.title == TOP { SHARED.contains(&key.name) } else { SHARED.iter().any(inner) }
}

/// Keys that name their section, and so stand first in it, wherever the format lists them.
pub(crate) fn is_head(section: &Section, key: &Key) -> bool {
    section.title == SIGNER.title && key.name == "id"
}

/// What the outermost table is called.
pub(crate) const TOP: &str = "the file";

/// A module's policy.
pub(crate) const POLICY: Section = Section {
    title: TOP,
    keys: &[
        key("version", Integer, Required, "1"),
        key("revision", Integer, Optional, "42"),
        key("profiles", Texts, Optional, "[\"base-vision\"]"),
        key("module", One(&MODULE), Required, "[module]"),
        key("dir", Many(&DIR), Optional, "[[dir]]"),
        key("graph", Many(&GRAPH), Optional, "[[graph]]"),
        key("http", One(&HTTP), Optional, "[http]"),
        key("limits", One(&LIMITS), Required, "[limits]"),
        key("env", Words, Optional, "[env]"),
        key("require", One(&REQUIRE), Optional, "[require]"),
        key("prefer", One(&PREFER), Optional, "[prefer]"),
        key("audit", One(&PRIVACY), Optional, "[audit]"),
    ],
};

const MODULE: Section = Section {
    title: "[module]",
    keys: &[
        key("name", Text, Required, "\"voice-gate\""),
        key("path", Text, Required, "\"/var/lib/edgeguard/modules/voice-gate.wasm\""),
        key("mode", Text, Required, "\"command\""),
        key("args", Texts, Optional, "[\"--format\", \"json\"]"),
        key("threshold", Integer, Optional, "1"),
        key("min-version", Integer, Optional, "7"),
        key("signer", Many(&SIGNER), Required, "[[module.signer]]"),
        key("require", Many(&REQUIREMENT), Optional, "[[module.require]]"),
    ],
};

const SIGNER: Section = Section {
    title: "[[module.signer]]",
    keys: &[
        key("key", Text, Optional, "\"/etc/edgeguard/keys/acme.pub\""),
        key("issuer", Text, Optional, "\"https://token.actions.githubusercontent.com\""),
        key("identity", Text, Optional, "\"https://github.com/acme/voice/.github/workflows/release.yml@refs/tags/*\""),
        key("claims", One(&CLAIMS), Optional, "[module.signer.claims]"),
        key("id", Text, Optional, "\"acme-2026\""),
        key("usable-from", Time, Optional, "2026-01-01T00:00:00Z"),
        key("retire-at", Time, Optional, "2027-01-01T00:00:00Z"),
        key("evidence", Text, Optional, "\"none\""),
    ],
};

/// What a certificate of Fulcio's may say besides the identity: its extensions 1.3.6.1.4.1.57264.1.9 to .24, each under its name in Fulcio's
/// `docs/oid-info.md`, shortened where the source is always meant.
pub(crate) const CLAIMS: Section = Section {
    title: "claims",
    keys: &[
        key("repository-id", Text, Optional, "\"1234\""),
        key("repository-uri", Text, Optional, "\"https://github.com/acme/voice\""),
        key("repository-ref", Text, Optional, "\"refs/tags/*\""),
        key("repository-digest", Text, Optional, "\"4a709ad4a709ad4a709ad4a709ad4a709ad4a709\""),
        key("owner-id", Text, Optional, "\"1234\""),
        key("owner-uri", Text, Optional, "\"https://github.com/acme\""),
        key("workflow-ref", Text, Optional, "\"https://github.com/acme/voice/.github/workflows/release.yml@refs/tags/*\""),
        key("workflow-digest", Text, Optional, "\"4a709ad4a709ad4a709ad4a709ad4a709ad4a709\""),
        key("build-signer-uri", Text, Optional, "\"https://github.com/acme/voice/.github/workflows/release.yml@refs/tags/*\""),
        key("build-signer-digest", Text, Optional, "\"4a709ad4a709ad4a709ad4a709ad4a709ad4a709\""),
        key("runner-environment", Text, Optional, "\"github-hosted\""),
        key("build-trigger", Text, Optional, "\"push\""),
        key("run-uri", Text, Optional, "\"https://github.com/acme/voice/actions/runs/*/attempts/*\""),
        key("visibility", Text, Optional, "\"public\""),
        key("deployment-environment", Text, Optional, "\"production\""),
        key("token-subject", Text, Optional, "\"repo:acme/voice:environment:production\""),
    ],
};

const REQUIREMENT: Section = Section {
    title: "[[module.require]]",
    keys: &[
        key("statement", Text, Required, "\"release\""),
        key("signers", Texts, Required, "[\"acme-2026\"]"),
        key("threshold", Integer, Optional, "1"),
        key("max-age", Text, Optional, "\"365 d\""),
        key("builder", Texts, Optional, "[\"https://github.com/actions/runner/github-hosted\"]"),
        key("build-type", Texts, Optional, "[\"https://actions.github.io/buildtypes/workflow/v1\"]"),
        key("parameters", Words, Optional, "[module.require.parameters]"),
    ],
};

const DIR: Section = Section {
    title: "[[dir]]",
    keys: &[
        key("guest", Text, Required, "\"/audio\""),
        key("host", Text, Required, "\"/var/lib/gateway/audio\""),
        key("access", Text, Required, "\"read\""),
        key("files", Integer, Optional, "1000"),
        key("bytes", Text, Optional, "\"64 MiB\""),
    ],
};

pub(crate) const GRAPH: Section = Section {
    title: "[[graph]]",
    keys: &[
        key("name", Text, Required, "\"vad\""),
        key("model", Text, Required, "\"/var/lib/edgeguard/models/silero_vad.onnx\""),
        key("sha256", Text, Required, "\"9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08\""),
        key("weights", Text, Optional, "\"/var/lib/edgeguard/models/silero_vad.bin\""),
        key("weights-sha256", Text, Optional, "\"9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08\""),
        key("encoding", Text, Required, "\"onnx\""),
        key("target", Text, Required, "\"cpu\""),
        key("engine", Text, Optional, "\"rten\""),
        key("computes", Integer, Optional, "1"),
        key("threads", Integer, Optional, "1"),
        key("memory", Text, Optional, "\"512 MiB\""),
        key("load", Text, Optional, "\"first-use\""),
        key("idle-unload", Text, Optional, "\"10 min\""),
        key("context", Integer, Optional, "2048"),
        key("contexts", Integer, Optional, "1"),
        key("private", Boolean, Optional, "true"),
        key("deadline", Text, Optional, "\"200 ms\""),
        key("tensors", Text, Optional, "\"16 MiB\""),
    ],
};

const HTTP: Section = Section {
    title: "[http]",
    keys: &[
        key("listen", Text, Required, "\"unix:/run/edgeguard/http/classify.sock\""),
        key("clients", Texts, Optional, "[\"user:www-data\"]"),
        key("connections", Integer, Optional, "64"),
        key("requests-per-minute", Integer, Optional, "600"),
        key("request-head", Text, Optional, "\"16 KiB\""),
        key("request-body", Text, Optional, "\"1 MiB\""),
        key("response-body", Text, Optional, "\"16 MiB\""),
        key("read-timeout", Text, Optional, "\"5 s\""),
    ],
};

const LIMITS: Section = Section {
    title: "[limits]",
    keys: &[
        key("memory", Text, Required, "\"64 MiB\""),
        key("deadline", Text, Required, "\"500 ms\""),
        key("instances", Integer, Required, "4"),
        key("output", Text, Required, "\"1 MiB\""),
        key("open-files", Integer, Optional, "16"),
        key("table-elements", Integer, Optional, "10000"),
        key("clock-resolution", Text, Optional, "\"1 ms\""),
    ],
};

const REQUIRE: Section = Section { title: "[require]", keys: &[key("landlock", Integer, Required, "3")] };

const PREFER: Section = Section { title: "[prefer]", keys: &[key("landlock", Integer, Required, "6")] };

/// What a policy says of the journal.
const PRIVACY: Section = Section { title: "[audit]", keys: &[PATHS_CLASS, GRAPHS_CLASS] };
const PATHS_CLASS: Key = key("paths", Text, Optional, "\"hmac\"");
const GRAPHS_CLASS: Key = key("graphs", Text, Optional, "\"plain\"");

/// The host's own file.
pub(crate) const HOST: Section = Section {
    title: TOP,
    keys: &[
        key("version", Integer, Required, "1"),
        key("paths", One(&PATHS), Optional, "[paths]"),
        key("control", One(&CONTROL), Optional, "[control]"),
        key("require", One(&REQUIRE), Optional, "[require]"),
        key("workers", One(&WORKERS), Optional, "[workers]"),
        key("trust", One(&TRUST), Optional, "[trust]"),
        key("policy-signing", One(&POLICY_SIGNING), Optional, "[policy-signing]"),
        key("audit", One(&AUDIT), Optional, "[audit]"),
        key("engines", One(&ENGINES), Optional, "[engines]"),
        key("learning", One(&LEARNING), Optional, "[learning]"),
    ],
};

const PATHS: Section = Section {
    title: "[paths]",
    keys: &[
        key("policy", Text, Optional, "\"/etc/edgeguard/policy.d\""),
        key("profiles", Text, Optional, "\"/etc/edgeguard/profiles.d\""),
        key("state", Text, Optional, "\"/var/lib/edgeguard\""),
        key("runtime", Text, Optional, "\"/run/edgeguard\""),
        key("libexec", Text, Optional, "\"/usr/libexec/edgeguard\""),
    ],
};

const CONTROL: Section = Section {
    title: "[control]",
    keys: &[
        key("socket", Text, Optional, "\"/run/edgeguard/control.sock\""),
        key("admins", Texts, Optional, "[\"uid:0\"]"),
        key("invokers", Texts, Optional, "[\"group:edgeguard\"]"),
    ],
};

const LEARNING: Section = Section {
    title: "[learning]",
    keys: &[key("module", Text, Required, "\"voice-gate\""), key("directory", Text, Optional, "\"/srv/lab\"")],
};

const WORKERS: Section = Section { title: "[workers]", keys: &[key("standby", Boolean, Optional, "true")] };

const TRUST: Section = Section {
    title: "[trust]",
    keys: &[
        key("root", Text, Optional, "\"/etc/edgeguard/trusted_root.json\""),
        key("root-sha256", Text, Optional, "\"6494e21ea73fa7ee769f85f57d5a3e6a08725eae1e38c755fc3517c9e6bc0b66\""),
        key("tuf-root", Text, Optional, "\"/etc/edgeguard/tuf-root.json\""),
        key("keyless", Boolean, Optional, "true"),
        key("warn", Text, Optional, "\"7 d\""),
        key("grace", Text, Optional, "\"0 s\""),
        key("revocations", Text, Optional, "\"optional\""),
        key("max-skew", Text, Optional, "\"10 min\""),
        key("max-jump", Text, Optional, "\"400 d\""),
        key("counter", Text, Optional, "\"none\""),
    ],
};

const POLICY_SIGNING: Section =
    Section { title: "[policy-signing]", keys: &[key("key", Texts, Required, "[\"/etc/edgeguard/keys/ops.pub\"]")] };

const AUDIT: Section = Section {
    title: "[audit]",
    keys: &[
        key("budget", Text, Optional, "\"256 MiB\""),
        key("on-full", Text, Optional, "\"refuse\""),
        key("counter", Text, Optional, "\"none\""),
        PATHS_CLASS,
        GRAPHS_CLASS,
    ],
};

const ENGINES: Section = Section {
    title: "[engines]",
    keys: &[
        key("onnxruntime", One(&LIBRARY), Optional, "[engines.onnxruntime]"),
        key("openvino", One(&LIBRARIES), Optional, "[engines.openvino]"),
    ],
};

const LIBRARIES: Section = Section {
    title: "[engines.openvino]",
    keys: &[key("folder", Text, Required, "\"/usr/lib/edgeguard/openvino\""), key("files", Words, Required, "[engines.openvino.files]")],
};

const LIBRARY: Section = Section {
    title: "[engines.onnxruntime]",
    keys: &[
        key("library", Text, Required, "\"/usr/lib/edgeguard/libonnxruntime.so.1.32.0\""),
        key("sha256", Text, Required, "\"9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08\""),
    ],
};

/// The names of all keys and sections of both files, those inside first; some stand in several sections.
pub(crate) fn names(section: &'static Section) -> Vec<&'static str> {
    let inner = |key: &'static Key| match key.kind {
        One(section) | Many(section) => names(section),
        _ => Vec::new(),
    };
    section.keys.iter().flat_map(|key| inner(key).into_iter().chain([key.name])).collect()
}
