//! A module's bytes before and after the proof: `UnverifiedModule` → `VerifiedModule`, by one function.
//!
//! Runs in: daemon, CLI.
//! Invariant: the bytes are hashed once, when they enter; they are private until a signature over that hash was verified,
//! and the bytes that come out are the bytes that went in. Nothing is read from a path again.

use std::fmt;

use aws_lc_rs::digest;
use serde::Serialize;
use serde::Serializer;

use crate::admit;
use crate::admit::Admission;
use crate::admit::Met;
use crate::admit::NamedBundle;
use crate::admit::Situation;
use crate::capabilities::Capabilities;
use crate::clock::Clock;
use crate::clock::ClockLimits;
use crate::evidence::Proof;
use crate::keys::TrustRoot;
use crate::material::TrustMaterial;
use crate::rejection::Check;
use crate::rejection::Code;
use crate::rejection::Passed;
use crate::rejection::Rejection;
use crate::rules::Requirement;
use crate::rules::Rules;
use crate::rules::Wanted;
use crate::signer::Signer;
use crate::statement::Release;
use crate::time::Time;
use crate::trust::Staleness;

/// The largest module that is accepted, in bytes: 256 MiB.
pub const MAX_MODULE: u64 = 256 << 20;

/// SHA-256 of a whole module file. `Display` is lower-case hex.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ModuleDigest(pub [u8; 32]);

impl ModuleDigest {
    /// The digest of `bytes`.
    #[must_use]
    pub fn of(bytes: &[u8]) -> Self {
        Self(sha256(bytes))
    }
}

impl fmt::Display for ModuleDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

impl fmt::Debug for ModuleDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "sha256:{self}")
    }
}

impl Serialize for ModuleDigest {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// What a wasm preamble announces (core specification §5.5.16; component-model `Binary.md`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum WasmKind {
    /// A core module: version 1.
    Core,
    /// A component: version 0x0d, layer 1.
    Component,
}

impl fmt::Display for WasmKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Core => "core module",
            Self::Component => "component",
        })
    }
}

/// A wasm binary that nobody has vouched for. Its bytes cannot be reached.
///
/// ```compile_fail,E0599
/// let module = edgeguard_attest::UnverifiedModule::from_bytes(vec![]).unwrap();
/// module.bytes(); // only a VerifiedModule gives its bytes away
/// ```
pub struct UnverifiedModule {
    bytes: Vec<u8>,
    digest: ModuleDigest,
    kind: WasmKind,
}

impl UnverifiedModule {
    /// Takes the bytes, checks size and preamble, and hashes them: the only time they are hashed.
    ///
    /// # Errors
    /// [`Code::NotWasm`], [`Code::TooBig`].
    pub fn from_bytes(bytes: Vec<u8>) -> Result<Self, Rejection> {
        let kind = kind_of(&bytes)?;
        let digest = ModuleDigest::of(&bytes);
        Ok(Self { bytes, digest, kind })
    }

    /// The digest of the bytes, for the journal: it exists whether or not the module is admitted.
    #[must_use]
    pub fn digest(&self) -> ModuleDigest {
        self.digest
    }

    /// Core module or component, by the preamble alone.
    #[must_use]
    pub fn kind(&self) -> WasmKind {
        self.kind
    }

    /// Holds every bundle beside the module against `rules` and `situation`, and notes in `passed` each check that held.
    /// Offline and deterministic: looks at nothing but its arguments. All bundles must be good, and all requirements met.
    ///
    /// # Errors
    /// The first check that fails, as a [`Rejection`].
    pub fn admit(
        self,
        bundles: &[NamedBundle<'_>],
        rules: &Rules,
        situation: &Situation<'_>,
        passed: &mut Vec<Passed>,
    ) -> Result<VerifiedModule, Rejection> {
        passed.push(Passed {
            check: Check::Module,
            expected: "a wasm module or component".into(),
            found: format!("{} of {} bytes, sha256:{}", self.kind, self.bytes.len(), self.digest),
        });
        let admission = admit::every_check(&self.bytes, self.digest, bundles, rules, situation, passed)?;
        Ok(VerifiedModule { bytes: self.bytes, digest: self.digest, kind: self.kind, admission })
    }

    /// [`admit`](Self::admit) by the least of rules: a plain signature by one key of `trust`, with no log, state or clock.
    ///
    /// # Errors
    /// The first check that fails, as a [`Rejection`].
    pub fn verify(self, bundle: &[u8], trust: &TrustRoot) -> Result<VerifiedModule, Rejection> {
        self.verify_explained(bundle, trust, &mut Vec::new())
    }

    /// [`verify`](Self::verify), noting in `passed` each check that held before the end or the first failure.
    ///
    /// # Errors
    /// As [`verify`](Self::verify).
    pub fn verify_explained(self, bundle: &[u8], trust: &TrustRoot, passed: &mut Vec<Passed>) -> Result<VerifiedModule, Rejection> {
        // A key's own id in place of a signer's: names of keys need not differ.
        let signers: Vec<Signer> = trust.keys().iter().map(|key| Signer::of_key(format!("sha256:{}", key.id()), key.clone())).collect();
        let ids = signers.iter().map(|signer| signer.id.clone()).collect();
        let requirements = vec![Requirement { statement: Wanted::Signature, signers: ids, threshold: 1 }];
        let rules = Rules { slot: String::new(), signers, requirements, min_version: None };
        let situation = Situation {
            material: &TrustMaterial::none(),
            revocations: None,
            clock: &Clock::new(Time::BUILT, Time::BUILT, ClockLimits::default()),
            known: None,
            capabilities: &Capabilities::default(),
            stale: Staleness::Fresh,
        };
        self.admit(&[NamedBundle { name: "bundle", bytes: bundle }], &rules, &situation, passed)
    }
}

impl fmt::Debug for UnverifiedModule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("UnverifiedModule").field("digest", &self.digest).field("len", &self.bytes.len()).finish_non_exhaustive()
    }
}

/// A wasm binary with a proof that those whom the rules name said of exactly these bytes what the rules require.
/// [`UnverifiedModule::admit`] is the only way to get one; it is not `Clone`.
///
/// ```compile_fail,E0451
/// # fn forge() {
/// use edgeguard_attest::{ModuleDigest, VerifiedModule, WasmKind};
/// let bytes = vec![];
/// VerifiedModule { bytes, digest: ModuleDigest([0; 32]), kind: WasmKind::Core, admission: todo!() };
/// # }
/// ```
/// ```compile_fail,E0639
/// # fn forge(key: edgeguard_attest::KeyId) {
/// use edgeguard_attest::{Algorithm, Form, Proof};
/// Proof { key, key_name: "mine".into(), algorithm: Algorithm::EcdsaP256, form: Form::MessageSignature };
/// # }
/// ```
/// ```compile_fail,E0382
/// # fn twice(module: edgeguard_attest::UnverifiedModule, trust: &edgeguard_attest::TrustRoot) {
/// module.verify(b"{}", trust).ok();
/// module.verify(b"{}", trust).ok(); // a refused module is gone; nothing can be tried until it fits
/// # }
/// ```
pub struct VerifiedModule {
    bytes: Vec<u8>,
    digest: ModuleDigest,
    kind: WasmKind,
    admission: Admission,
}

impl VerifiedModule {
    /// The bytes that were hashed and verified.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Their SHA-256.
    #[must_use]
    pub fn digest(&self) -> ModuleDigest {
        self.digest
    }

    /// Core module or component, by the preamble alone.
    #[must_use]
    pub fn kind(&self) -> WasmKind {
        self.kind
    }

    /// Who signed the first bundle, and how. There is always one.
    #[must_use]
    pub fn proof(&self) -> &Proof {
        &self.admission.first
    }

    /// Who signed each bundle, and how, in the order of the bundles.
    #[must_use]
    pub fn proofs(&self) -> &[Proof] {
        &self.admission.proofs
    }

    /// What was released, if a release is among the bundles. All releases state one name and version.
    #[must_use]
    pub fn release(&self) -> Option<&Release> {
        self.admission.release.as_ref()
    }

    /// The requirements of the policy, in its order, and whose word met each.
    #[must_use]
    pub fn met(&self) -> &[Met] {
        &self.admission.met
    }

    /// Whether nothing of this digest was admitted under this name before, as far as the host remembers.
    #[must_use]
    pub fn is_new(&self) -> bool {
        self.admission.new
    }

    /// The last second for which this admission was judged: the earliest end of a statement's validity, of the age that the policy allows it, or of a
    /// signer's time of use. When it has passed, ask again. `None`: nothing in it ends by itself.
    #[must_use]
    pub fn until(&self) -> Option<Time> {
        self.admission.until
    }

    pub(crate) fn admission(&self) -> &Admission {
        &self.admission
    }

    #[cfg(test)]
    pub(crate) fn for_receipts(admission: Admission) -> Self {
        Self { bytes: Vec::new(), digest: ModuleDigest([1; 32]), kind: WasmKind::Core, admission }
    }

    /// Gives the bytes away, and with them the proof.
    #[must_use]
    pub fn into_bytes(self) -> Vec<u8> {
        self.bytes
    }
}

impl fmt::Debug for VerifiedModule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("VerifiedModule").field("digest", &self.digest).field("proofs", &self.admission.proofs).finish_non_exhaustive()
    }
}

/// What the signature is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Form {
    /// The module's own bytes (cosign's `sign-blob`).
    MessageSignature,
    /// An in-toto statement with the module as its only subject, in a DSSE envelope.
    Dsse,
}

impl Form {
    /// Its name in text and JSON.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::MessageSignature => "message-signature",
            Self::Dsse => "dsse",
        }
    }
}

impl fmt::Display for Form {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

pub(crate) fn sha256(bytes: &[u8]) -> [u8; 32] {
    let mut out = [0; 32];
    out.copy_from_slice(digest::digest(&digest::SHA256, bytes).as_ref());
    out
}

/// Reads the preamble; refuses what is no wasm binary or is larger than [`MAX_MODULE`].
pub(crate) fn kind_of(bytes: &[u8]) -> Result<WasmKind, Rejection> {
    if bytes.len() as u64 > MAX_MODULE {
        return Err(too_big_module(bytes.len() as u64));
    }
    match bytes.first_chunk::<8>() {
        Some([0, b'a', b's', b'm', 1, 0, 0, 0]) => Ok(WasmKind::Core),
        Some([0, b'a', b's', b'm', 0x0d, 0, 1, 0]) => Ok(WasmKind::Component),
        Some(other) => Err(Rejection::new(Code::NotWasm, PREAMBLE, format!("a file that starts with `{}`", other.escape_ascii()))),
        None => Err(Rejection::new(Code::NotWasm, PREAMBLE, format!("a file of {} bytes", bytes.len()))),
    }
}

pub(crate) fn too_big_module(found: u64) -> Rejection {
    let mut rejection = Rejection::new(Code::TooBig, format!("a module of at most {MAX_MODULE} bytes"), format!("{found} bytes"));
    rejection.check = Check::Module;
    rejection.next("check that this is the right file, or move large data out of the module into a granted directory")
}

const PREAMBLE: &str = "`\\0asm` and version 1 (module) or 0x0d (component)";
