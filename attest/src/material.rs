//! Trust material: the certificate authorities, logs and timestamp authorities whose word counts, and from when to when.
//!
//! Runs in: daemon, CLI.
//! Invariant: material that exists is whole: every window has a start and does not end before it, no log stands in it twice,
//! every key is understood, and it is the one that was pinned.
//! Does not: fetch anything. Its bytes come from a file of the operator, an imported trust pack, or this program.

use std::fmt;
use std::sync::Arc;

use serde::Serialize;
use sigstore_types::HashAlgorithm;
use sigstore_verify::Verifier;
use sigstore_verify::trust_root::SIGSTORE_PRODUCTION_TRUSTED_ROOT;
use sigstore_verify::trust_root::TimeRange;
use sigstore_verify::trust_root::TrustedRoot;

use crate::json::Json;
use crate::keys;
use crate::keys::KeyError;
use crate::keys::TrustedKey;
use crate::module::sha256;
use crate::rejection::Code;
use crate::rejection::Rejection;
use crate::rejection::shown;
use crate::signer::Window;
use crate::time::Time;

/// The largest `trusted_root.json`, in bytes: 1 MiB.
pub const MAX_MATERIAL: usize = 1 << 20;

/// The media types of the versions that are understood (sigstore protobuf-specs, `sigstore_trustroot.proto`).
const MEDIA_TYPES: [&str; 2] =
    ["application/vnd.dev.sigstore.trustedroot+json;version=0.1", "application/vnd.dev.sigstore.trustedroot.v0.2+json"];

/// Why a trusted root cannot be used. As a [`Rejection`] it has the code `EG2015`.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum MaterialError {
    /// Larger than [`MAX_MATERIAL`].
    #[error("trusted root has {found} bytes, at most {MAX_MATERIAL} are accepted")]
    TooBig {
        /// Its size in bytes.
        found: usize,
    },
    /// Not the one that is pinned.
    #[error("trusted root is not the pinned one: expected sha256 `{}`, found `{}`", hex::encode(expected), hex::encode(found))]
    Pin {
        /// The SHA-256 that was pinned.
        expected: [u8; 32],
        /// Its own.
        found: [u8; 32],
    },
    /// Not strict JSON: repeated keys, too deep, not UTF-8.
    #[error("trusted root is not strict JSON")]
    Json(#[source] Box<Rejection>),
    /// Not a trusted root of a version that is understood.
    #[error("expected a trusted root with mediaType `{}`, found {found}", MEDIA_TYPES[0])]
    MediaType {
        /// What it says, escaped.
        found: String,
    },
    /// It does not have the fields of a trusted root.
    #[error("trusted root cannot be read: {found}")]
    Malformed {
        /// What the reader found, escaped.
        found: String,
    },
    /// It names nobody.
    #[error("trusted root names no authority and no log")]
    Empty,
    /// An authority without a start would have been trusted at any time in the past.
    #[error("{who} has no `validFor` with a `start`")]
    NoStart {
        /// Which authority.
        who: String,
    },
    /// A log over another hash than SHA-256 is not understood.
    #[error("{who} uses another hash than `SHA2_256`")]
    Hash {
        /// Which log.
        who: String,
    },
    /// A log twice, a window that ends before it starts, a key or certificate that is not understood.
    #[error("trusted root is not usable: {found}")]
    Unusable {
        /// What the library found, escaped.
        found: String,
    },
    /// Another part of the process has installed another cryptographic library.
    #[error("the cryptographic library cannot be used")]
    Provider(#[source] KeyError),
}

impl From<MaterialError> for Rejection {
    fn from(error: MaterialError) -> Self {
        let found = match &error {
            MaterialError::Json(inner) => format!("{error}: {}, {}", inner.expected, inner.found),
            _ => error.to_string(),
        };
        Rejection::new(Code::TrustMaterial, "a whole sigstore trusted root", found)
    }
}

/// Whose word counts. Cheap to clone.
#[derive(Clone)]
pub struct TrustMaterial {
    loaded: Option<Arc<Loaded>>,
}

struct Loaded {
    digest: [u8; 32],
    authorities: Vec<Authority>,
    /// One verifier for each log, which knows no other log: what it accepts was signed by exactly the log that the entry names.
    logs: Vec<Log>,
    /// Knows no log at all, for bundles that carry only timestamps.
    no_log: Verifier,
    /// Knows all, for conformance runs.
    whole: Verifier,
}

/// A log of the trusted root, and what verifies its entries.
pub(crate) struct Log {
    pub(crate) id: Vec<u8>,
    pub(crate) name: String,
    pub(crate) window: Window,
    pub(crate) verifier: Verifier,
}

/// One authority of a trusted root.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Authority {
    /// What it vouches for.
    pub kind: AuthorityKind,
    /// Its address or name, as the trusted root has it; foreign text.
    pub name: String,
    /// The log's id, or the SHA-256 of the authority's first certificate; lower-case hex.
    pub id: String,
    /// The first second at which its word counts.
    pub from: Option<Time>,
    /// The last.
    pub until: Option<Time>,
}

/// What an authority vouches for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum AuthorityKind {
    /// Who asked for a certificate.
    Fulcio,
    /// That a signature is listed.
    Rekor,
    /// That a certificate is listed.
    Ct,
    /// When something existed.
    Tsa,
}

impl AuthorityKind {
    /// Its name in text and JSON.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Fulcio => "fulcio",
            Self::Rekor => "rekor",
            Self::Ct => "ct",
            Self::Tsa => "tsa",
        }
    }
}

impl fmt::Display for AuthorityKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl TrustMaterial {
    /// Nobody: only keys without evidence can be verified.
    #[must_use]
    pub fn none() -> Self {
        Self { loaded: None }
    }

    /// The public-good instance's root, as it was when this program was built.
    ///
    /// # Errors
    /// [`MaterialError`], if the built-in copy is damaged.
    pub fn public_good() -> Result<Self, MaterialError> {
        Self::from_json(SIGSTORE_PRODUCTION_TRUSTED_ROOT.as_bytes(), None)
    }

    /// Reads a `trusted_root.json`. If `pin` is given, exactly the bytes with that SHA-256 are accepted.
    ///
    /// # Errors
    /// [`MaterialError`]; nothing of it is used then.
    pub fn from_json(bytes: &[u8], pin: Option<[u8; 32]>) -> Result<Self, MaterialError> {
        if bytes.len() > MAX_MATERIAL {
            return Err(MaterialError::TooBig { found: bytes.len() });
        }
        let digest = sha256(bytes);
        match pin {
            Some(expected) if expected != digest => return Err(MaterialError::Pin { expected, found: digest }),
            _ => {}
        }
        keys::install_provider().map_err(MaterialError::Provider)?;
        let root = read(bytes)?;
        let authorities = authorities(&root)?;
        if authorities.is_empty() {
            return Err(MaterialError::Empty);
        }
        let whole = verifier(&root)?;
        let logs = root.tlogs.iter().map(|log| one_log(&root, log)).collect::<Result<_, _>>()?;
        let no_log = verifier(&with_logs(&root, Vec::new()))?;
        Ok(Self { loaded: Some(Arc::new(Loaded { digest, authorities, logs, no_log, whole })) })
    }

    /// SHA-256 of the bytes it was read from; zeros for [`none`](Self::none).
    #[must_use]
    pub fn digest(&self) -> [u8; 32] {
        self.loaded.as_ref().map_or([0; 32], |loaded| loaded.digest)
    }

    /// Everybody whose word counts, in the order of the trusted root.
    #[must_use]
    pub fn authorities(&self) -> Vec<Authority> {
        self.loaded.as_ref().map_or_else(Vec::new, |loaded| loaded.authorities.clone())
    }

    pub(crate) fn is_none(&self) -> bool {
        self.loaded.is_none()
    }

    /// The log with exactly this id.
    pub(crate) fn log(&self, id: &[u8]) -> Option<&Log> {
        self.loaded.as_ref()?.logs.iter().find(|log| log.id == id)
    }

    /// What verifies a bundle without a log entry.
    pub(crate) fn no_log(&self) -> Option<&Verifier> {
        Some(&self.loaded.as_ref()?.no_log)
    }

    /// What verifies with every log at once.
    pub(crate) fn whole(&self) -> Option<&Verifier> {
        Some(&self.loaded.as_ref()?.whole)
    }

    /// The latest start of any authority: a clock before it makes the library overlook that authority.
    pub(crate) fn newest_start(&self) -> Option<Time> {
        self.loaded.as_ref()?.authorities.iter().filter_map(|authority| authority.from).max()
    }
}

impl fmt::Debug for TrustMaterial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TrustMaterial(sha256:{})", hex::encode(self.digest()))
    }
}

/// Strict JSON first, so that the library's reader sees nothing that can be read in two ways.
fn read(bytes: &[u8]) -> Result<TrustedRoot, MaterialError> {
    Json::parse(bytes, "trusted root").map_err(|rejection| MaterialError::Json(Box::new(rejection)))?;
    let malformed = |error: &dyn fmt::Display| MaterialError::Malformed { found: shown(&error.to_string()) };
    let text = std::str::from_utf8(bytes).map_err(|error| malformed(&error))?;
    let root = TrustedRoot::from_json(text).map_err(|error| malformed(&error))?;
    if MEDIA_TYPES.contains(&root.media_type.as_str()) {
        Ok(root)
    } else {
        Err(MaterialError::MediaType { found: shown(&root.media_type) })
    }
}

fn verifier(root: &TrustedRoot) -> Result<Verifier, MaterialError> {
    Verifier::new(root).map_err(|error| MaterialError::Unusable { found: shown(&error.to_string()) })
}

fn with_logs(root: &TrustedRoot, logs: Vec<sigstore_verify::trust_root::TransparencyLog>) -> TrustedRoot {
    let mut out = root.clone();
    out.tlogs = logs;
    out
}

fn one_log(root: &TrustedRoot, log: &sigstore_verify::trust_root::TransparencyLog) -> Result<Log, MaterialError> {
    let (from, until) = window("log", &log.base_url, log.public_key.valid_for)?;
    // The library looks at a point only when it verifies with it; an operator wants to know before.
    if let Err(error @ KeyError::Point { .. }) = TrustedKey::from_spki(log.public_key.raw_bytes.as_bytes()) {
        return Err(MaterialError::Unusable { found: format!("log {}: {error}", shown(&log.base_url)) });
    }
    Ok(Log {
        id: log.log_id.key_id.as_bytes().to_vec(),
        name: log.base_url.clone(),
        window: Window { usable_from: from, retire_at: until },
        verifier: verifier(&with_logs(root, vec![log.clone()]))?,
    })
}

fn authorities(root: &TrustedRoot) -> Result<Vec<Authority>, MaterialError> {
    let mut out = Vec::new();
    let mut add = |kind, what: &str, name: &str, id: String, range| {
        let (from, until) = window(what, name, range)?;
        out.push(Authority { kind, name: name.to_owned(), id, from, until });
        Ok::<(), MaterialError>(())
    };
    for ca in &root.certificate_authorities {
        add(AuthorityKind::Fulcio, "certificate authority", &ca.uri, first(&ca.cert_chain.certificates), ca.valid_for)?;
    }
    for log in &root.tlogs {
        if log.hash_algorithm != HashAlgorithm::Sha2256 {
            return Err(MaterialError::Hash { who: format!("log {}", shown(&log.base_url)) });
        }
        add(AuthorityKind::Rekor, "log", &log.base_url, hex::encode(log.log_id.key_id.as_bytes()), log.public_key.valid_for)?;
    }
    for log in &root.ctlogs {
        add(AuthorityKind::Ct, "certificate log", &log.base_url, hex::encode(log.log_id.key_id.as_bytes()), log.public_key.valid_for)?;
    }
    for tsa in &root.timestamp_authorities {
        let name = tsa.uri.as_deref().or(tsa.subject.common_name.as_deref()).unwrap_or("unnamed");
        add(AuthorityKind::Tsa, "timestamp authority", name, first(&tsa.cert_chain.certificates), tsa.valid_for)?;
    }
    Ok(out)
}

/// SHA-256 of the first certificate; the verifier refuses an empty chain.
fn first(chain: &[sigstore_verify::trust_root::trusted_root::CertificateEntry]) -> String {
    chain.first().map_or_else(String::new, |certificate| hex::encode(sha256(certificate.raw_bytes.as_bytes())))
}

fn window(what: &str, name: &str, range: Option<TimeRange>) -> Result<(Option<Time>, Option<Time>), MaterialError> {
    let range = range.ok_or_else(|| MaterialError::NoStart { who: format!("{what} {}", shown(name)) })?;
    Ok((Some(Time(range.start.as_second())), range.end.map(|end| Time(end.as_second()))))
}
