//! Why a module is refused: stable codes, the check that failed, what was expected and what was found.
//!
//! Runs in: daemon (admission), CLI (`verify`, `explain`).
//! Does not: decide anything. Everything a vendor wrote is escaped and cut before it is stored here.

use std::fmt;

use serde::Serialize;
use serde::Serializer;

/// One refusal. Its `Display` is one line: `code · what · expected …, found … · next step`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{code} · {} · expected {expected}, found {found} · {next}", code.what())]
pub struct Rejection {
    /// Stable code, listed by `edgeguard explain`.
    pub code: Code,
    /// The check that failed; later checks did not run.
    pub check: Check,
    /// What the check wanted.
    pub expected: String,
    /// What it saw, escaped and cut to [`SHOWN`] characters.
    pub found: String,
    /// What the reader should do next.
    pub next: String,
}

impl Rejection {
    pub(crate) fn new(code: Code, expected: impl Into<String>, found: impl Into<String>) -> Self {
        Self { code, check: code.check(), expected: expected.into(), found: found.into(), next: code.next().to_owned() }
    }

    pub(crate) fn next(mut self, next: impl Into<String>) -> Self {
        self.next = next.into();
        self
    }

    /// The refusal of a module that has no bundle at all; `bundle` is where one was looked for.
    #[must_use]
    pub fn unsigned(bundle: &std::path::Path) -> Self {
        Self::new(Code::Unsigned, format!("a sigstore bundle at {}", shown(&bundle.to_string_lossy())), "no file there")
    }
}

impl Serialize for Rejection {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        use serde::ser::SerializeStruct as _;
        let mut out = serializer.serialize_struct("Rejection", 6)?;
        out.serialize_field("code", &self.code)?;
        out.serialize_field("what", self.code.what())?;
        out.serialize_field("check", &self.check)?;
        out.serialize_field("expected", &self.expected)?;
        out.serialize_field("found", &self.found)?;
        out.serialize_field("next", &self.next)?;
        out.end()
    }
}

/// The checks of admission, in the order in which a message-signature bundle meets them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Check {
    /// The file is a wasm binary of a size that is accepted.
    Module,
    /// The bundle is small, strict JSON of the v0.3 shape.
    Bundle,
    /// The bundle carries only evidence that is really checked here.
    Evidence,
    /// The key that the bundle names is one the trust root holds.
    Key,
    /// The key, the digest and the form of the signature belong together.
    Algorithm,
    /// The digest that was signed is the module's.
    Digest,
    /// The signature verifies with that key.
    Signature,
    /// The signed statement says what a module signature must say.
    Statement,
}

impl Check {
    /// Its name in text and JSON.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Module => "module",
            Self::Bundle => "bundle",
            Self::Evidence => "evidence",
            Self::Key => "key",
            Self::Algorithm => "algorithm",
            Self::Digest => "digest",
            Self::Signature => "signature",
            Self::Statement => "statement",
        }
    }
}

impl fmt::Display for Check {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// A check that passed, for people who ask why a module was admitted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Passed {
    /// Which check.
    pub check: Check,
    /// What it wanted.
    pub expected: String,
    /// What it saw.
    pub found: String,
}

macro_rules! codes {
    ($($(#[doc = $doc:literal])+ $name:ident = $id:literal in $check:ident : $what:literal, next $next:literal, explain $explain:literal;)+) => {
        /// The stable codes of refusals. The first digit says whose evidence failed:
        /// 1 the input, 2 the signature, 3 the signer, 4 the statement.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[non_exhaustive]
        pub enum Code { $($(#[doc = $doc])+ $name,)+ }

        impl Code {
            /// Every code, in order.
            pub const ALL: &'static [Code] = &[$(Code::$name,)+];

            /// `EGnnnn`.
            #[must_use]
            pub fn as_str(self) -> &'static str { match self { $(Self::$name => $id,)+ } }

            /// What went wrong, in a few words.
            #[must_use]
            pub fn what(self) -> &'static str { match self { $(Self::$name => $what,)+ } }

            /// The long explanation: what the check protects, and how to pass it.
            #[must_use]
            pub fn explain(self) -> &'static str { match self { $(Self::$name => $explain,)+ } }

            /// The check this code belongs to.
            #[must_use]
            pub fn check(self) -> Check { match self { $(Self::$name => Check::$check,)+ } }

            fn next(self) -> &'static str { match self { $(Self::$name => $next,)+ } }
        }
    };
}

codes! {
    /// Module or bundle larger than its bound.
    TooBig = "EG1001" in Bundle: "file is larger than its bound",
        next "check that this is the right file; a bundle is a few kilobytes",
        explain "A bundle may have 256 KiB and a module 256 MiB. The size is checked before the file is read, so a huge file costs no memory. \
A real bundle has 1 to 8 KiB: one that is larger is padded, or is another file.";
    /// A JSON object names a key twice.
    DuplicateKey = "EG1002" in Bundle: "a field stands twice",
        next "sign the module again; do not edit bundles by hand",
        explain "Two parsers may pick different ones of two equal keys, so that what was checked is not what is used. A document with a repeated key is refused wherever in it the key stands.";
    /// Not exactly one of several alternatives.
    OneOf = "EG1003" in Bundle: "bundle must hold exactly one of several things",
        next "sign the module again with `edgeguard sign` or `cosign sign-blob`",
        explain "A bundle has exactly one of `certificate` and `publicKey`, exactly one of `messageSignature` and `dsseEnvelope`, and a DSSE envelope has exactly one signature. \
With two, it would be open which of them was checked.";
    /// A field outside the format.
    UnknownField = "EG1004" in Bundle: "a field is not part of the format",
        next "remove the field, or sign the module again",
        explain "Every field of a bundle is either checked or refused. A field that this version does not know might change the meaning of those it knows.";
    /// Not a v0.3 bundle.
    BundleVersion = "EG1005" in Bundle: "bundle is not of format v0.3",
        next "sign again; with cosign 2 add `--new-bundle-format`",
        explain "Only `application/vnd.dev.sigstore.bundle.v0.3+json` is accepted. The older formats ask less of a bundle, so a relabelled one could drop evidence that v0.3 requires.";
    /// Not a wasm binary.
    NotWasm = "EG1006" in Module: "file is not a wasm module",
        next "build the module for a wasm target, and check that the file was copied whole",
        explain "A module starts with `\\0asm` and version 1 (a core module) or 0x0d with layer 1 (a component). Text (`.wat`), an empty file and native libraries are refused before anything else looks at them.";
    /// Not JSON, or a field of the wrong kind.
    Malformed = "EG1007" in Bundle: "bundle or statement cannot be read",
        next "sign the module again, and check that the bundle was copied whole",
        explain "The bundle, or the statement in it, is not JSON, lacks a required field, or has one of the wrong type, length or base64 alphabet (standard, padded). The message names the field.";
    /// Nesting or item counts beyond what a bundle needs.
    Shape = "EG1008" in Bundle: "nested too deep, or too many items",
        next "sign the module again",
        explain "A bundle needs at most 8 levels and a dozen items a level; 16 levels and 64 items are accepted. More is an attempt to make the parser work.";
    /// An input could not be read.
    Unreadable = "EG1009" in Module: "file cannot be read",
        next "check the path and its permissions",
        explain "The module or the bundle could not be read, is not a regular file, or changed its size while it was read. Nothing is admitted from a file that moves.";
    /// No bundle beside the module.
    Unsigned = "EG1010" in Bundle: "module is not signed",
        next "sign it with `edgeguard sign --key VENDOR.key MODULE.wasm` and ship the bundle beside it",
        explain "A module is admitted only with a sigstore bundle. It lies beside the module and has its name with `.sigstore.json` appended: `voice-gate.wasm.sigstore.json`.";
    /// The same transparency log entry twice.
    RepeatedEntry = "EG1011" in Bundle: "bundle repeats a log entry",
        next "sign the module again",
        explain "One log entry given twice could be counted as two proofs.";
    /// The signature does not verify.
    Signature = "EG2001" in Signature: "signature does not verify",
        next "get module and bundle from the vendor again; if it persists, the key or the bundle is not the vendor's",
        explain "The bundle names a trusted key, but the signature was not made with that key over this content: it was damaged, or made by somebody who copied the key's hint. The hint only selects a key and is never itself trusted.";
    /// The signed digest is not the module's.
    Digest = "EG2002" in Digest: "module is not the one that was signed",
        next "ship the module and the bundle of the same build, or sign this module",
        explain "The SHA-256 of the module differs from the one the bundle was made for: the module was changed after signing, or module and bundle are of different builds. One changed byte suffices.";
    /// An algorithm that is not accepted for this key or form.
    Algorithm = "EG2012" in Algorithm: "algorithm is not accepted",
        next "sign with an ECDSA P-256 key (SHA-256), or with an Ed25519 key",
        explain "Accepted are ECDSA P-256 with SHA-256, ECDSA P-384 with SHA-384, and Ed25519 (pure). Another digest than the key's own is refused, so that nobody can choose a weaker one.";
    /// Evidence that this version does not check.
    UncheckedEvidence = "EG2013" in Evidence: "bundle carries evidence that this version does not check",
        next "sign with a key and without a log: `edgeguard sign`, or `cosign sign-blob` with a signing configuration that names no log",
        explain "This version checks signatures by a key, without a transparency log, certificate or timestamp. A bundle that carries one of those is refused rather than admitted with the evidence ignored: \
a reader of the journal must be able to take every part of an admitted bundle as checked.";
    /// The bundle names a key that is not trusted.
    UnknownKey = "EG3004" in Key: "bundle was signed with a key that is not trusted",
        next "if the signer is right, add its public key as a `[[module.signer]]` of the policy",
        explain "The bundle's hint, which is base64(sha256(SubjectPublicKeyInfo)), names none of the keys the policy trusts for this module. Only the key that the hint names is tried. \
`edgeguard verify --key KEY.pub MODULE.wasm` shows whether a key is the right one.";
    /// A DSSE envelope that is not an in-toto statement.
    PayloadType = "EG4001" in Statement: "envelope does not hold an in-toto statement",
        next "sign with `edgeguard sign`",
        explain "The `payloadType` of a DSSE envelope must be `application/vnd.in-toto+json`. It is part of what is signed, so a document of another type cannot be passed off as a statement.";
    /// Not an in-toto Statement v1.
    StatementType = "EG4002" in Statement: "statement is not an in-toto Statement v1",
        next "sign with `edgeguard sign`",
        explain "`_type` must be `https://in-toto.io/Statement/v1`.";
    /// A statement about something else than a signature.
    PredicateType = "EG4003" in Statement: "statement says something else than `signed`",
        next "sign with `edgeguard sign`",
        explain "A key may sign many kinds of statements about a module: how it was built, what a scanner found, even that it must not be run. Only `https://sigstore.dev/cosign/sign/v1` with an empty predicate means `I sign this`, and only that admits.";
    /// Not exactly one subject with exactly one sha256.
    Subject = "EG4004" in Statement: "statement must have the module as its only subject",
        next "sign each module by itself",
        explain "A statement has exactly one subject, with exactly one digest, its sha256. With several, a module could be admitted by a digest that the signer did not mean for it, or by a weaker one beside the right one.";
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Serialize for Code {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

/// The long explanation of a code, for `edgeguard explain EGnnnn`. `None` for a code that is not ours.
#[must_use]
pub fn explain(code: &str) -> Option<&'static str> {
    Code::ALL.iter().find(|known| known.as_str().eq_ignore_ascii_case(code)).map(|known| known.explain())
}

/// The most characters of foreign text that a message repeats.
pub const SHOWN: usize = 96;

/// Foreign text made safe for a terminal and a log line: in backticks, on one line, escaped, cut to [`SHOWN`] characters.
pub(crate) fn shown(text: &str) -> String {
    let mut out = String::from("`");
    for (count, c) in text.chars().enumerate() {
        if count == SHOWN {
            out.push('…');
            break;
        }
        match c {
            '`' => out.push_str("\\u{60}"),
            '"' | '\'' => out.push(c),
            _ => out.extend(c.escape_debug()),
        }
    }
    out.push('`');
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_unique_and_explained() {
        let mut seen = std::collections::HashSet::new();
        for code in Code::ALL {
            assert!(seen.insert(code.as_str()), "{code} twice");
            assert_eq!(explain(code.as_str()), Some(code.explain()));
            assert!(code.explain().ends_with('.'), "{code}: an explanation is whole sentences");
            assert!(!code.what().ends_with('.') && !code.next().ends_with('.'), "{code}: a message has no full stop");
        }
        assert_eq!(explain("eg1001"), Some(Code::TooBig.explain()));
        assert_eq!(explain("EG9999"), None);
    }

    #[test]
    fn foreign_text_cannot_steer_a_terminal() {
        assert_eq!(shown("a\x1b[2Jb\n`\u{202e}"), "`a\\u{1b}[2Jb\\n\\u{60}\\u{202e}`");
        assert_eq!(shown(&"é".repeat(500)).chars().count(), SHOWN + 3);
    }
}
