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
use Kind::Words;
use Need::Optional;
use Need::Required;

const fn key(name: &'static str, kind: Kind, need: Need, example: &'static str) -> Key {
    Key { name, kind, need, example }
}

/// What the outermost table is called.
pub(crate) const TOP: &str = "the file";

/// A module's policy.
pub(crate) const POLICY: Section = Section {
    title: TOP,
    keys: &[
        key("version", Integer, Required, "1"),
        key("module", One(&MODULE), Required, "[module]"),
        key("dir", Many(&DIR), Optional, "[[dir]]"),
        key("graph", Many(&GRAPH), Optional, "[[graph]]"),
        key("limits", One(&LIMITS), Required, "[limits]"),
        key("env", Words, Optional, "[env]"),
        key("require", One(&REQUIRE), Optional, "[require]"),
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
        key("signer", Many(&SIGNER), Required, "[[module.signer]]"),
    ],
};

const SIGNER: Section = Section {
    title: "[[module.signer]]",
    keys: &[
        key("key", Text, Optional, "\"/etc/edgeguard/keys/acme.pub\""),
        key("issuer", Text, Optional, "\"https://token.actions.githubusercontent.com\""),
        key("identity", Text, Optional, "\"https://github.com/acme/voice/.github/workflows/release.yml@refs/tags/*\""),
    ],
};

const DIR: Section = Section {
    title: "[[dir]]",
    keys: &[
        key("guest", Text, Required, "\"/audio\""),
        key("host", Text, Required, "\"/var/lib/gateway/audio\""),
        key("access", Text, Required, "\"read\""),
    ],
};

const GRAPH: Section = Section {
    title: "[[graph]]",
    keys: &[
        key("name", Text, Required, "\"vad\""),
        key("model", Text, Required, "\"/var/lib/edgeguard/models/silero_vad.onnx\""),
        key("sha256", Text, Required, "\"9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08\""),
        key("encoding", Text, Required, "\"onnx\""),
        key("target", Text, Required, "\"cpu\""),
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
    ],
};

const REQUIRE: Section = Section { title: "[require]", keys: &[key("landlock", Integer, Required, "3")] };

/// The host's own file.
pub(crate) const HOST: Section = Section {
    title: TOP,
    keys: &[
        key("version", Integer, Required, "1"),
        key("paths", One(&PATHS), Optional, "[paths]"),
        key("control", One(&CONTROL), Optional, "[control]"),
        key("require", One(&REQUIRE), Optional, "[require]"),
        key("workers", One(&WORKERS), Optional, "[workers]"),
    ],
};

const PATHS: Section = Section {
    title: "[paths]",
    keys: &[
        key("policy", Text, Optional, "\"/etc/edgeguard/policy.d\""),
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

const WORKERS: Section = Section { title: "[workers]", keys: &[key("standby", Boolean, Optional, "true")] };
