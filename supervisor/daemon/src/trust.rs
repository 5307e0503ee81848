//! What this host trusts, remembers and believes of the time, whenever somebody is about to be admitted.
//!
//! Runs in: daemon.
//! Invariant: no floor falls. Where the state cannot be read, or a pack that is in force cannot be used, nothing is admitted; an older one never takes its place.
//! Does not: verify anything. It gives `edgeguard-attest` what to verify with.

use std::path::Path;
use std::path::PathBuf;
use std::sync::Mutex;
use std::sync::PoisonError;

use edgeguard_attest::Capabilities;
use edgeguard_attest::Clock;
use edgeguard_attest::ClockState;
use edgeguard_attest::Known;
use edgeguard_attest::MaterialError;
use edgeguard_attest::Proof;
use edgeguard_attest::Rejection;
use edgeguard_attest::Revocations;
use edgeguard_attest::RisingFloor;
use edgeguard_attest::Signer;
use edgeguard_attest::Situation;
use edgeguard_attest::Staleness;
use edgeguard_attest::State;
use edgeguard_attest::StateError;
use edgeguard_attest::Time;
use edgeguard_attest::TrustMaterial;
use edgeguard_attest::TrustedKey;
use edgeguard_attest::VerifiedModule;
use edgeguard_attest::boot_time;
use edgeguard_policy::HostConfig;

use crate::admit::Admitted;
use crate::handle;
use crate::handle::HandleError;

/// Why there is nothing to judge by.
#[derive(Debug, thiserror::Error)]
pub enum TrustError {
    /// What the host remembers.
    #[error(transparent)]
    State(Rejection),
    /// The trust pack that was imported.
    #[error("the trust pack in force cannot be used")]
    Pack(#[source] edgeguard_attest::trust::PackError),
    /// The trusted root of the host's file, or the built-in one.
    #[error("the trusted root cannot be used")]
    Material(#[from] MaterialError),
    /// A file that the host's file names.
    #[error(transparent)]
    Handle(#[from] HandleError),
    /// It does not read, or is too large.
    #[error("cannot read {what} `{path}`")]
    Read {
        /// What it is for.
        what: &'static str,
        /// Where it is.
        path: String,
        /// Why not.
        #[source]
        source: edgeguard_attest::ReadError,
    },
    /// A key file.
    #[error("key `{path}` is not usable")]
    Key {
        /// The key's path.
        path: String,
        /// Why not.
        #[source]
        source: edgeguard_attest::KeyError,
    },
    /// The host's file asks for a counter in the TPM, and it is not done without.
    #[error("the host's file binds what is remembered to a counter in the TPM, and that cannot be asked")]
    Tpm(#[source] edgeguard_attest::TpmError),
    /// Those who may sign policies.
    #[error("the keys of `[policy-signing]` cannot be used")]
    PolicySigners(#[source] Box<edgeguard_admission::RulesError<TrustError>>),
}

impl TrustError {
    /// The code under which it is explained.
    #[must_use]
    pub fn code(&self) -> String {
        match self {
            Self::State(rejection) => rejection.code.to_string(),
            Self::Pack(_) | Self::Material(_) => edgeguard_attest::Code::TrustMaterial.to_string(),
            Self::Tpm(_) => edgeguard_attest::Code::StateDamaged.to_string(),
            Self::Handle(_) | Self::Read { .. } | Self::Key { .. } | Self::PolicySigners(_) => "EG7001".into(),
        }
    }
}

impl From<StateError> for TrustError {
    fn from(error: StateError) -> Self {
        Self::State(error.into())
    }
}

/// The host's memory, and its clock.
#[derive(Debug)]
pub struct Trust {
    config: edgeguard_policy::Trust,
    signing: Option<edgeguard_policy::PolicySigning>,
    dir: PathBuf,
    inner: Mutex<Inner>,
}

struct Inner {
    /// Why it did not open is asked again each time: what was damaged may have been put right.
    state: Option<State>,
    floor: RisingFloor,
    /// What was said last of the material and the clock, so that it is said once.
    said: Option<Said>,
}

impl std::fmt::Debug for Inner {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Inner").field("floor", &self.floor).field("said", &self.said).finish_non_exhaustive()
    }
}

/// What the journal hears of trust when it changes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Said {
    /// SHA-256 of the trusted root in force.
    pub root: String,
    /// The number of the revocation list in force.
    pub list: Option<u64>,
    /// Whether the material is young enough, in words.
    pub freshness: String,
    /// Whether new modules are refused for its age.
    pub stale: bool,
    /// What is believed of the clock, in words.
    pub clock: String,
}

/// What holds at one moment.
#[derive(Debug)]
pub struct Now {
    /// What may be believed of the time.
    pub clock: Clock,
    /// Whose certificates, logs and timestamps count.
    pub material: TrustMaterial,
    /// What was taken back.
    pub revocations: Option<Revocations>,
    /// Whether this is young enough for something new.
    pub stale: Staleness,
}

impl Said {
    /// When there is nothing to judge by.
    #[must_use]
    pub fn nothing(error: &TrustError) -> Self {
        let why = format!("{}: {}; nothing is admitted", error.code(), crate::chain(error));
        Self { root: String::new(), list: None, freshness: why, stale: true, clock: String::new() }
    }
}

impl Now {
    /// For one admission.
    #[must_use]
    pub fn situation<'a>(&'a self, known: Option<&'a Known>, capabilities: &'a Capabilities) -> Situation<'a> {
        let (material, revocations, clock) = (&self.material, self.revocations.as_ref(), &self.clock);
        Situation { material, revocations, clock, known, capabilities, stale: self.stale.clone() }
    }

    /// Whether somebody took this module, or one of its signers, back and asked for it to be stopped at once.
    #[must_use]
    pub fn stops(&self, name: &str, admitted: &Admitted) -> bool {
        let Some(list) = &self.revocations else { return false };
        let signer = |proof: &Proof| {
            let keyless = proof.keyless.as_ref().map(|keyless| (keyless.issuer.as_str(), keyless.identity.as_str()));
            let proved: Vec<Time> = proof.times.iter().map(|proved| proved.time).collect();
            list.revoked_signer(proof.key.as_ref(), keyless, &proved)
        };
        let vouched = admitted.vouched();
        let module = list.revoked_module(admitted.digest, name, vouched.version);
        module.into_iter().chain(vouched.proofs.iter().filter_map(signer)).any(|revoked| revoked.stop)
    }

    /// In the words of the journal.
    #[must_use]
    pub fn said(&self) -> Said {
        Said {
            root: hex::encode(self.material.digest()),
            list: self.revocations.as_ref().map(Revocations::list),
            freshness: self.stale.to_string(),
            stale: matches!(self.stale, Staleness::Stale { .. } | Staleness::Absent { .. }),
            // Without by how much: that changes all the time, and is no news.
            clock: match self.clock.state() {
                ClockState::Steady => "steady",
                ClockState::Behind { .. } => "behind the last proven time",
                ClockState::Ahead { .. } => "too far ahead of the last proven time",
            }
            .to_owned(),
        }
    }
}

impl Trust {
    /// Opens what the host remembers. A state that does not open is no reason not to start: it is one to admit nothing, and to say so.
    #[must_use]
    pub fn new(host: &HostConfig) -> Self {
        let inner = Inner { state: None, floor: RisingFloor::new(Time::BUILT, boot_time()), said: None };
        let dir = host.state_dir.join("trust");
        Self { config: host.trust.clone(), signing: host.policy_signing.clone(), dir, inner: Mutex::new(inner) }
    }

    /// What holds now, after reading again what an import or another process may have changed.
    ///
    /// # Errors
    /// [`TrustError`]: nothing may be admitted.
    pub fn now(&self) -> Result<Now, TrustError> {
        let mut inner = self.inner();
        let state = self.state(&mut inner)?;
        let proved = state.floor_time();
        let pack = edgeguard_attest::trust::Pack::of(state).map_err(TrustError::Pack)?;
        let list_floor = state.revocation_list_floor();
        inner.floor.raise(proved, boot_time());
        let clock = inner.floor.clock(edgeguard_admission::clock_limits(&self.config));

        let revocations = pack.as_ref().and_then(|pack| pack.revocations()).cloned();
        let stale = Staleness::in_force(pack.as_ref(), list_floor, &clock, edgeguard_admission::freshness_limits(&self.config));
        let own = || edgeguard_admission::trust_material(&self.config, |path| bytes("the trusted root", path, MAX_ROOT));
        let nobody = self.config.root == edgeguard_policy::TrustedRoot::Nobody;
        let material = match pack.as_ref().and_then(|pack| pack.material()).filter(|_| !nobody) {
            Some(material) => material.clone(),
            None => own()?,
        };
        Ok(Now { clock, material, revocations, stale })
    }

    /// What was admitted under this name before.
    ///
    /// # Errors
    /// [`TrustError`]
    pub fn known(&self, name: &str) -> Result<Option<Known>, TrustError> {
        Ok(self.state(&mut self.inner())?.known(name))
    }

    /// Remembers an admission, on the disk, before anything of it runs.
    ///
    /// # Errors
    /// [`TrustError`]: it must not run.
    pub fn remember(&self, name: &str, module: &VerifiedModule, at: Time) -> Result<(), TrustError> {
        let proved = module.proofs().iter().flat_map(|proof| &proof.times).map(|proved| proved.time).max();
        let version = module.release().map(|release| release.version);
        let mut inner = self.inner();
        self.state(&mut inner)?.admitted(name, version, module.digest(), at, proved)?;
        if let Some(proved) = proved {
            inner.floor.raise(proved, boot_time());
        }
        Ok(())
    }

    /// Whether only signed policies count here, and if so, whose.
    ///
    /// # Errors
    /// [`TrustError`]
    pub fn policy_signers(&self) -> Result<Option<Vec<Signer>>, TrustError> {
        let Some(signing) = &self.signing else { return Ok(None) };
        let signers = edgeguard_admission::policy_signers(signing, key).map_err(|error| TrustError::PolicySigners(Box::new(error)))?;
        Ok(Some(signers))
    }

    /// Holds a signed policy's revision against the highest that was in force, and remembers it with its text.
    ///
    /// # Errors
    /// [`TrustError::State`] with EG5004 for a lower one, and for the same one of another text.
    pub fn raise_revision(&self, name: &str, revision: u64, text: &[u8; 32]) -> Result<(), TrustError> {
        Ok(self.state(&mut self.inner())?.raise_policy_revision(name, revision, text)?)
    }

    /// Puts the time that has passed for sure on the disk.
    ///
    /// # Errors
    /// [`TrustError`]
    pub fn keep_time(&self) -> Result<(), TrustError> {
        let mut inner = self.inner();
        let floor = inner.floor.at(boot_time());
        Ok(self.state(&mut inner)?.raise_time(floor)?)
    }

    /// What is to be said of trust, if it is not what was said last.
    pub fn news(&self, said: Said) -> Option<Said> {
        let mut inner = self.inner();
        (inner.said.as_ref() != Some(&said)).then(|| {
            inner.said = Some(said.clone());
            said
        })
    }

    /// The state, read again.
    fn state<'a>(&self, inner: &'a mut Inner) -> Result<&'a mut State, TrustError> {
        if let Some(state) = &mut inner.state {
            state.reload()?;
        } else {
            inner.state = Some(State::open(&self.dir, counter(&self.config)?)?);
        }
        inner.state.as_mut().ok_or_else(|| TrustError::State(StateError::Missing { what: "state" }.into()))
    }

    fn inner(&self) -> std::sync::MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A public key in a file, named by its path.
///
/// # Errors
/// [`TrustError`]
pub fn key(path: &Path) -> Result<TrustedKey, TrustError> {
    let name = path.display().to_string();
    let key = TrustedKey::read(&handle::file("a signer's key", path)?.into_std());
    Ok(key.map_err(|source| TrustError::Key { path: name.clone(), source })?.named(name))
}

fn bytes(what: &'static str, path: &Path, max: u64) -> Result<Vec<u8>, TrustError> {
    let file = handle::file(what, path)?.into_std();
    edgeguard_attest::read_bounded(&file, max).map_err(|source| TrustError::Read { what, path: path.display().to_string(), source })
}

fn counter(trust: &edgeguard_policy::Trust) -> Result<Box<dyn edgeguard_attest::Counter>, TrustError> {
    match trust.counter {
        edgeguard_policy::Counter::None => Ok(Box::new(edgeguard_attest::NoCounter)),
        edgeguard_policy::Counter::Tpm => {
            Ok(Box::new(edgeguard_attest::TpmCounter::open(Path::new(edgeguard_attest::TPM_DEVICE)).map_err(TrustError::Tpm)?))
        }
    }
}

/// The largest trusted root, in bytes.
const MAX_ROOT: u64 = 1 << 20;
