//! What is asked of a module: rules and situation, from a policy or from the command line.
//!
//! Runs in: command line.

use std::collections::BTreeMap;
use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::path::Path;
use std::path::PathBuf;
use std::time::SystemTime;

use edgeguard_attest::Capabilities;
use edgeguard_attest::Clock;
use edgeguard_attest::ClockLimits;
use edgeguard_attest::FreshnessLimits;
use edgeguard_attest::Keyless;
use edgeguard_attest::Known;
use edgeguard_attest::MAX_MATERIAL;
use edgeguard_attest::Rejection;
use edgeguard_attest::Requirement;
use edgeguard_attest::Revocations;
use edgeguard_attest::Rules;
use edgeguard_attest::Signer;
use edgeguard_attest::Situation;
use edgeguard_attest::Staleness;
use edgeguard_attest::State;
use edgeguard_attest::Time;
use edgeguard_attest::TrustMaterial;
use edgeguard_attest::TrustedKey;
use edgeguard_attest::Wanted;
use edgeguard_attest::bundle_path;
use edgeguard_attest::bundles_beside;
use edgeguard_attest::trust::Pack;
use edgeguard_policy::HostConfig;

use super::Asked;
use super::Failed;
use super::VerifyArgs;
use crate::files;
use crate::policy::shelf::Shelf;

/// Everything that an answer depends on, read.
pub(super) struct Question {
    /// The module or the signed policy.
    pub(super) file: PathBuf,
    pub(super) rules: Rules,
    bundles: Vec<PathBuf>,
    material: TrustMaterial,
    capabilities: Option<Capabilities>,
    clock: Clock,
    memory: Option<Memory>,
    /// This host takes nobody's word but that of keys: an imported root changes nothing.
    keys_alone: bool,
    /// This host accepts signed policies only.
    signed_policies: bool,
    /// This host's file binds what is remembered to a counter.
    asks_counter: bool,
}

/// What a host remembers.
struct Memory {
    known: Option<Known>,
    revocations: Option<Revocations>,
    stale: Staleness,
    /// What is remembered is bound to a counter in a TPM, or should be; `verify` reads files only.
    counter: bool,
}

impl Question {
    pub(super) fn of(args: &VerifyArgs) -> Result<Self, Failed> {
        match &args.policy {
            Some(policy) => Self::by_policy(args, policy),
            None => Self::by_hand(args),
        }
    }

    fn by_policy(args: &VerifyArgs, path: &Path) -> Result<Self, Failed> {
        let text = files::read(path, edgeguard_policy::MAX_TEXT as u64)?;
        let profiles = Shelf::at(args.profiles.clone()).for_policy(path, &text);
        let policy =
            edgeguard_policy::parse_bytes_with(&path.display().to_string(), &text, &profiles).map_err(|found| wrong(path, &found))?;
        let host = match &args.config {
            Some(path) => {
                let text = files::read(path, edgeguard_policy::MAX_TEXT as u64)?;
                edgeguard_policy::parse_host_bytes(&path.display().to_string(), &text).map_err(|found| wrong(path, &found))?
            }
            None => HostConfig::default(),
        };
        let against = policy.check_host(&host);
        if against.errors() > 0 {
            return Err(wrong(path, &against));
        }
        let rules = edgeguard_admission::rules(&policy, read_key).map_err(|source| Failed::Rules(path.to_owned(), Box::new(source)))?;
        let file = args.module.clone().unwrap_or_else(|| policy.path.clone());
        let material = match &args.trusted_root {
            Some(path) => root(path)?,
            None => edgeguard_admission::trust_material(&host.trust, |path| Ok::<_, Failed>(files::read(path, MAX_MATERIAL as u64)?))?,
        };
        let capabilities = Some(edgeguard_admission::capabilities(&policy));
        let limits = (edgeguard_admission::clock_limits(&host.trust), edgeguard_admission::freshness_limits(&host.trust));
        let keys_alone = host.trust.root == edgeguard_policy::TrustedRoot::Nobody;
        let signed_policies = host.policy_signing.is_some();
        let asks_counter = host.trust.counter == edgeguard_policy::Counter::Tpm;
        let bundles = args.bundle.clone();
        Self { file, rules, bundles, material, capabilities, clock: now(limits.0), memory: None, keys_alone, signed_policies, asks_counter }
            .remembering(args, limits)
    }

    fn by_hand(args: &VerifyArgs) -> Result<Self, Failed> {
        // Clap asks for a module where there is no policy.
        let file = args.module.clone().unwrap_or_default();
        let mut signers: Vec<Signer> = Vec::new();
        for path in &args.key {
            let key = read_key(path)?.named(path.display().to_string());
            let id = format!("sha256:{}", key.id());
            if signers.iter().any(|signer| signer.id == id) {
                return Err(Failed::KeyTwice(key.id().to_string()));
            }
            signers.push(Signer::of_key(id, key));
        }
        if let (Some(identity), Some(issuer)) = (&args.identity, &args.issuer) {
            let identity = identity.parse().map_err(Failed::Identity)?;
            signers.push(Signer::keyless("identity", Keyless { issuer: issuer.clone(), identity, claims: Vec::new() }));
        }
        let statement = match args.statement {
            Asked::Any => Wanted::Any,
            Asked::Signature => Wanted::Signature,
            Asked::Release => Wanted::Release { max_age: None },
            Asked::Approval => Wanted::Approval { max_age: None },
        };
        let ids = signers.iter().map(|signer| signer.id.clone()).collect();
        let slot = args.name.clone().unwrap_or_else(|| file.file_stem().unwrap_or_default().to_string_lossy().into_owned());
        let rules = Rules { slot, signers, requirements: vec![Requirement { statement, signers: ids, threshold: 1 }], min_version: None };
        let material = match &args.trusted_root {
            Some(path) => root(path)?,
            None => TrustMaterial::public_good()?,
        };
        let limits = (ClockLimits::default(), FreshnessLimits::default());
        let (bundles, clock) = (args.bundle.clone(), now(limits.0));
        Self {
            file,
            rules,
            bundles,
            material,
            capabilities: None,
            clock,
            memory: None,
            keys_alone: false,
            signed_policies: false,
            asks_counter: false,
        }
        .remembering(args, limits)
    }

    /// Whether the file is a policy text, by its name.
    pub(super) fn is_policy(&self) -> bool {
        self.file.extension() == Some(OsStr::new("toml"))
    }

    pub(super) fn situation(&self) -> Situation<'_> {
        const NOTHING: &Capabilities =
            &Capabilities { directories: BTreeMap::new(), graphs: BTreeSet::new(), environment: BTreeSet::new() };
        let memory = self.memory.as_ref();
        Situation {
            material: &self.material,
            revocations: memory.and_then(|memory| memory.revocations.as_ref()),
            clock: &self.clock,
            known: memory.and_then(|memory| memory.known.as_ref()),
            // No signed list is too short for a grant of nothing.
            capabilities: self.capabilities.as_ref().unwrap_or(NOTHING),
            stale: memory.map_or(Staleness::Fresh, |memory| memory.stale.clone()),
        }
    }

    /// The bundles that were named, or those that lie beside the file.
    ///
    /// # Errors
    /// As [`bundles_beside`].
    pub(super) fn bundles(&self) -> Result<Vec<PathBuf>, Rejection> {
        if !self.bundles.is_empty() {
            return Ok(self.bundles.clone());
        }
        let plain = bundle_path(&self.file);
        match self.is_policy() {
            true if plain.exists() => Ok(vec![plain]),
            true => Err(Rejection::unsigned(&plain)),
            false => bundles_beside(&self.file),
        }
    }

    /// What a host would check besides.
    pub(super) fn not_checked(&self) -> Vec<&'static str> {
        let mut out = Vec::new();
        if self.memory.as_ref().is_some_and(|memory| memory.counter) {
            out.push(
                "the counter in the TPM, so that floors which were set back as a whole would not be seen: only the daemon and \
                 `edgeguard trust import`, which may use the TPM, ask it",
            );
        }
        if self.is_policy() {
            return out;
        }
        if self.capabilities.is_none() {
            out.push("whether a policy grants no more than was signed; pass `--policy`");
        } else {
            out.push("whether the policy grants what the module imports, and what it grants is there; `edgeguard policy check --host --module MODULE.wasm`");
        }
        if self.signed_policies {
            out.push("the policy's own signature and revision, which this host asks for; `edgeguard verify --key OPS.pub POLICY.toml`");
        }
        if self.memory.is_none() {
            out.push("revocations, version floors and proved time of a host; pass `--trust-dir`");
        }
        out
    }
}

impl Question {
    /// The same, on a host with a memory: its list, its floors, its imported authorities, and the time that was proved to it.
    fn remembering(self, args: &VerifyArgs, (clock, fresh): (ClockLimits, FreshnessLimits)) -> Result<Self, Failed> {
        let Some(dir) = &args.trust_dir else { return Ok(self) };
        let failed = |source| Failed::State(dir.clone(), source);
        let state = State::look(dir).map_err(failed)?.ok_or_else(|| Failed::NoState(dir.clone()))?;
        let clock = Clock::new(state.floor_time().max(Time::BUILT), self.clock.wall(), clock);
        let known = state.known(&self.rules.slot);
        let pack = Pack::of(&state).map_err(|source| Failed::Pack(dir.clone(), source))?;
        let stale = Staleness::in_force(pack.as_ref(), state.revocation_list_floor(), &clock, fresh);
        // What was imported last is what the host believes, unless the user names something else.
        let imported = pack.as_ref().and_then(Pack::material).filter(|_| args.trusted_root.is_none() && !self.keys_alone);
        let material = imported.cloned().unwrap_or(self.material);
        let counter = self.asks_counter || state.remembered().counter().is_some();
        let memory = Memory { known, revocations: pack.as_ref().and_then(Pack::revocations).cloned(), stale, counter };
        Ok(Self { material, clock, memory: Some(memory), ..self })
    }
}

/// This machine's clock, believed unless it is behind the day this program was built.
fn now(limits: ClockLimits) -> Clock {
    let wall = Time::from(SystemTime::now());
    Clock::new(wall.max(Time::BUILT), wall, limits)
}

fn read_key(path: &Path) -> Result<TrustedKey, Failed> {
    TrustedKey::read(&files::open(path)?).map_err(|source| Failed::Key(path.to_owned(), source))
}

fn root(path: &Path) -> Result<TrustMaterial, Failed> {
    Ok(TrustMaterial::from_json(&files::read(path, MAX_MATERIAL as u64)?, None)?)
}

/// A policy or a host's file with mistakes: how many.
fn wrong(path: &Path, found: &edgeguard_policy::Diagnostics) -> Failed {
    let errors = found.errors();
    Failed::Text { path: path.to_owned(), errors: format!("{errors} error{}", if errors == 1 { "" } else { "s" }) }
}
