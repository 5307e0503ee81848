//! Admission: `file → UnverifiedModule → VerifiedModule → grants → native code → Admitted`.
//!
//! Runs in: daemon.
//! Invariant: an [`Admitted`] value exists only for a module whose bundles met every requirement of its policy, and its native code was made from
//! the very bytes that were verified. Nothing here touches a network.

use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::PoisonError;
use std::time::Duration;

use cap_std::fs::Dir;
use edgeguard_attest::Clock;
use edgeguard_attest::ModuleDigest;
use edgeguard_attest::NamedBundle;
use edgeguard_attest::Proof;
use edgeguard_attest::Reached;
use edgeguard_attest::Rejection;
use edgeguard_attest::Time;
use edgeguard_attest::UnverifiedModule;
use edgeguard_attest::VerifiedModule;
use edgeguard_policy::Diagnostics;
use edgeguard_policy::Http;
use edgeguard_policy::Policy;
use edgeguard_policy::Privacy;
use edgeguard_policy::Severity;
use edgeguard_wire::worker;
use edgeguard_wire::worker::ModuleKind;

use crate::cache::Cache;
use crate::compiler::CompileError;
use crate::compiler::Compiled;
use crate::compiler::Compiler;
use crate::control::Rights;
use crate::events;
use crate::graphs::GraphError;
use crate::graphs::GraphHost;
use crate::graphs::Graphs;
use crate::graphs::REGION;
use crate::handle;
use crate::handle::HandleError;
use crate::ledger::Ledger;
use crate::ledger::LedgerError;
use crate::trust;
use crate::trust::Now;
use crate::trust::Trust;
use crate::trust::TrustError;

/// Why a module is not admitted.
#[derive(Debug, thiserror::Error)]
pub enum Refusal {
    /// A file that the policy names.
    #[error(transparent)]
    Handle(#[from] HandleError),
    /// What this host trusts and remembers.
    #[error(transparent)]
    Trust(#[from] TrustError),
    /// The policy does not make rules.
    #[error("the policy's signers cannot be used")]
    Rules(#[from] edgeguard_admission::RulesError<TrustError>),
    /// The signature, or the module itself.
    #[error(transparent)]
    Signature(#[from] Rejection),
    /// The module asks for what the policy does not grant.
    #[error("the module asks for what its policy does not grant: {0}")]
    NotGranted(String),
    /// What was signed is no valid module.
    #[error("the module, as it was signed, is not valid")]
    Malformed(#[source] edgeguard_policy::imports::ImportsError),
    /// It does not compile.
    #[error(transparent)]
    Compile(#[from] CompileError),
    /// A graph.
    #[error("graph `{name}` is not available")]
    Graph {
        /// The grant's name.
        name: String,
        /// Why not.
        #[source]
        source: GraphError,
    },
    /// Memory for the native code.
    #[error("cannot keep the native code in memory")]
    Memory(#[source] std::io::Error),
    /// The host's file forbids it.
    #[error("the policy goes beyond what the host's file allows: {0}")]
    Host(String),
    /// The journal takes no records.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
}

impl Refusal {
    /// The whole reason in one line, without the code, which stands beside it wherever it is shown.
    #[must_use]
    pub fn reason(&self) -> String {
        let reason = crate::chain(self);
        match reason.strip_prefix(&format!("{} · ", self.code())) {
            Some(rest) => rest.to_owned(),
            None => reason,
        }
    }

    /// The refusal's code, as `edgeguard explain` knows it.
    #[must_use]
    pub fn code(&self) -> String {
        match self {
            Self::Signature(rejection) => rejection.code.to_string(),
            Self::NotGranted(_) => "EG7002".into(),
            Self::Trust(error) => error.code(),
            Self::Handle(_) | Self::Rules(_) => "EG7001".into(),
            Self::Malformed(_) | Self::Compile(_) => "EG7003".into(),
            Self::Graph { .. } => "EG7004".into(),
            Self::Host(_) => "EG7005".into(),
            Self::Memory(_) | Self::Ledger(_) => "EG7006".into(),
        }
    }
}

/// Everything that admission needs.
#[derive(Debug)]
pub struct Gate {
    /// Makes native code.
    pub compiler: Compiler,
    /// Keeps it.
    pub cache: Cache,
    /// Hosts models.
    pub graphs: Arc<Graphs>,
    /// Remembers.
    pub ledger: Arc<Ledger>,
    /// What this host trusts and remembers.
    pub trust: Trust,
    /// The host's floor.
    pub host: edgeguard_policy::HostConfig,
}

/// An admitted module, with all that its policy grants it, opened.
#[derive(Debug)]
pub struct Admitted {
    /// The policy's name for it.
    pub name: String,
    /// The module's digest.
    pub digest: ModuleDigest,
    /// The policy text's digest.
    pub policy_digest: [u8; 32],
    /// Who vouches for it now: another signature over the same bytes needs no other worker.
    vouched: Mutex<Arc<Vouched>>,
    /// What it is.
    pub kind: ModuleKind,
    /// Native code, sealed.
    pub code: OwnedFd,
    /// Granted directories.
    pub dirs: Vec<GrantedDir>,
    /// Granted graphs.
    pub graphs: Vec<GrantedGraph>,
    /// How it serves, if it does.
    pub http: Option<Http>,
    /// Who may be its client at a Unix socket.
    pub clients: Option<Rights>,
    /// Its limits.
    pub limits: worker::Limits,
    /// `argv`.
    pub args: Vec<String>,
    /// Its environment.
    pub env: Vec<(String, String)>,
    /// The Landlock ABI below which its worker refuses.
    pub landlock_floor: u32,
    /// The Landlock ABI that its policy prefers; below it the worker runs, and this host says so.
    pub landlock_wish: Option<u32>,
    /// In which form the journal keeps what it names.
    pub privacy: Privacy,
}

/// Who vouches for an admitted module, by the bundles that lay beside it when it was judged last.
#[derive(Debug)]
pub struct Vouched {
    /// Whose signatures admitted it, by the policy's names for them.
    pub signers: Vec<String>,
    /// What was proved of them.
    pub proofs: Vec<Proof>,
    /// Its version, if a release states one.
    pub version: Option<u64>,
    /// The last second for which this was judged; `None` if nothing in it ends by itself.
    pub until: Option<Time>,
}

/// A granted graph.
#[derive(Debug)]
pub struct GrantedGraph {
    /// The name the module uses.
    pub name: String,
    /// Whoever computes it.
    pub host: Arc<GraphHost>,
    /// Length of each instance's tensor region: inputs, and as much for outputs.
    pub region: u64,
    /// How long one compute may take.
    pub deadline: Option<Duration>,
}

/// A granted directory, opened.
#[derive(Debug)]
pub struct GrantedDir {
    /// As the worker hears of it.
    pub grant: worker::Dir,
    /// Where it is, for records.
    pub host: String,
    /// The directory.
    pub dir: Dir,
}

impl Gate {
    /// Admits the module of a policy, or says why not. Either way the journal knows before the caller does.
    ///
    /// # Errors
    /// [`Refusal`]
    pub async fn admit(&self, policy: &Policy) -> Result<Arc<Admitted>, Refusal> {
        let mut digest = None;
        match self.try_admit(policy, &mut digest).await {
            Ok(admitted) => Ok(Arc::new(admitted)),
            Err(refusal) => {
                let reason = refusal.reason();
                let digest = digest.map(|digest: ModuleDigest| digest.to_string());
                self.ledger.record(events::module_refused(policy.name.as_str(), &refusal.code(), &reason, digest)).await?;
                Err(refusal)
            }
        }
    }

    async fn try_admit(&self, policy: &Policy, digest: &mut Option<ModuleDigest>) -> Result<Admitted, Refusal> {
        let name = policy.name.to_string();
        fail_on_errors(&policy.check_host(&self.host)).map_err(Refusal::Host)?;

        // Who vouches for it? The bytes are read once and hashed once; nothing below reads the file again.
        let now = self.trust.now()?;
        let module = edgeguard_attest::read_module(&handle::file("module", &policy.path)?.into_std())?;
        *digest = Some(module.digest());
        let module = self.verified(policy, module, &now)?;

        // Does the policy grant what it asks for?
        let imports = edgeguard_policy::imports::read(module.bytes()).map_err(Refusal::Malformed)?;
        fail_on_errors(&policy.compare(&imports)).map_err(Refusal::NotGranted)?;

        // What does it get?
        let dirs = policy.dirs.iter().map(open_dir).collect::<Result<_, _>>()?;
        let mut graphs = Vec::new();
        for grant in &policy.graphs {
            let host = self.graphs.host(&name, grant).await.map_err(|source| Refusal::Graph { name: grant.name.to_string(), source })?;
            let region = grant.terms.tensors.map_or(REGION, |most| most.next_multiple_of(PAGE).saturating_mul(2));
            graphs.push(GrantedGraph { name: grant.name.to_string(), host, region, deadline: grant.terms.deadline });
        }

        // Native code, from exactly these bytes.
        let (compiled, cached) = self.native_code(&name, &module).await?;
        let code = edgeguard_sandbox::sealed_memfd("native-code", &compiled.code).map_err(Refusal::Memory)?;

        // Remembered, and then on record, before anything of it can run. In this order a receipt is never for a floor that did not rise. A power cut
        // between the two leaves a floor without a receipt, which refuses nothing but older releases; the next start admits anew, and writes it.
        let at = now.clock.now_at_least();
        let vouched = Mutex::new(Arc::new(Vouched::of(&module)));
        self.trust.remember(&name, &module, at)?;
        self.ledger.record(events::module_admitted(&name, &module, &module.receipt(policy.digest, at), &policy.digest, cached)).await?;
        Ok(Admitted {
            digest: module.digest(),
            policy_digest: policy.digest,
            vouched,
            kind: compiled.kind,
            code,
            dirs,
            graphs,
            http: policy.http.clone(),
            clients: policy.http.as_ref().map(|http| Rights::for_clients(&self.host, http)),
            limits: limits(policy),
            args: std::iter::once(name.clone()).chain(policy.args.iter().cloned()).collect(),
            env: policy.env.iter().map(|(key, value)| (key.clone(), value.clone())).collect(),
            landlock_floor: policy.effective_floor(&self.host).landlock,
            landlock_wish: policy.preferred.map(|wish| wish.landlock),
            privacy: policy.effective_privacy(&self.host),
            name,
        })
    }

    fn verified(&self, policy: &Policy, module: UnverifiedModule, now: &Now) -> Result<VerifiedModule, Refusal> {
        let rules = edgeguard_admission::rules(policy, trust::key)?;
        let known = self.trust.known(policy.name.as_str())?;
        let capabilities = edgeguard_admission::capabilities(policy);
        let mut bundles = Vec::new();
        for path in edgeguard_attest::bundles_beside(&policy.path)? {
            let bytes = edgeguard_attest::read_bundle(&handle::file("bundle", &path)?.into_std())?;
            bundles.push((path.file_name().unwrap_or_default().to_string_lossy().into_owned(), bytes));
        }
        let named: Vec<NamedBundle<'_>> = bundles.iter().map(|(name, bytes)| NamedBundle { name, bytes }).collect();
        Ok(module.admit(&named, &rules, &now.situation(known.as_ref(), &capabilities), &mut Vec::new())?)
    }

    async fn native_code(&self, name: &str, module: &VerifiedModule) -> Result<(Compiled, bool), Refusal> {
        if let Some(compiled) = self.cache.get(module.digest(), &self.compiler.fingerprint) {
            return Ok((compiled, true));
        }
        let compiled = self.compiler.compile(name, module, &self.ledger).await?;
        if let Err(error) = self.cache.put(module.digest(), &self.compiler.fingerprint, &compiled) {
            tracing::warn!(module = name, %error, "native code is not cached; the next start compiles again");
        }
        Ok((compiled, false))
    }
}

impl Vouched {
    fn of(module: &VerifiedModule) -> Self {
        Self {
            signers: module.proofs().iter().map(|proof| proof.signer.clone()).collect(),
            proofs: module.proofs().to_vec(),
            version: module.release().map(|release| release.version),
            until: module.until(),
        }
    }

    /// Whether a date that this was judged by has passed for sure since.
    #[must_use]
    pub fn has_ended(&self, clock: &Clock) -> bool {
        self.until.is_some_and(|until| clock.reached(until.plus(Duration::from_secs(1))) == Reached::Yes)
    }
}

impl Admitted {
    /// Who vouches for it now.
    #[must_use]
    pub fn vouched(&self) -> Arc<Vouched> {
        Arc::clone(&self.vouched.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// The same module under the same policy was judged anew: from here on its word counts, and what runs goes on.
    pub(crate) fn take_word_of(&self, newer: &Self) {
        *self.vouched.lock().unwrap_or_else(PoisonError::into_inner) = newer.vouched();
    }

    /// The granted directories, each `guest: host (access)`.
    #[must_use]
    pub fn dirs_in_words(&self) -> Vec<String> {
        let access = |access| match access {
            edgeguard_sandbox::Access::Read => "read",
            edgeguard_sandbox::Access::ReadWrite => "read-write",
        };
        self.dirs.iter().map(|dir| format!("{}: {} ({})", dir.grant.guest, dir.host, access(dir.grant.access))).collect()
    }

    /// The granted graphs, each `name: digest (target)`, or where weights lie apart `name: digest, weights digest (target)`.
    #[must_use]
    pub fn graphs_in_words(&self) -> Vec<String> {
        let weights = |host: &GraphHost| host.weights().map(|sha256| format!(", weights {}", hex::encode(sha256))).unwrap_or_default();
        let words = |host: &GraphHost| format!("{}{} (cpu)", hex::encode(host.sha256), weights(host));
        self.graphs.iter().map(|graph| format!("{}: {}", graph.name, words(&graph.host))).collect()
    }
}

/// The errors among what was found, in one line.
fn fail_on_errors(found: &Diagnostics) -> Result<(), String> {
    if found.errors() == 0 {
        return Ok(());
    }
    let errors = found.iter().filter(|diagnostic| diagnostic.severity() == Severity::Error);
    Err(errors.map(|error| format!("{} {}", error.code(), error.message())).collect::<Vec<_>>().join("; "))
}

fn open_dir(grant: &edgeguard_policy::DirGrant) -> Result<GrantedDir, HandleError> {
    let dir = handle::dir("granted directory", &grant.host)?;
    let access = match grant.access {
        edgeguard_policy::Access::Read => edgeguard_sandbox::Access::Read,
        edgeguard_policy::Access::ReadWrite => edgeguard_sandbox::Access::ReadWrite,
    };
    let quota = (grant.quota != edgeguard_policy::Quota::default())
        .then(|| worker::Quota { bytes: grant.quota.bytes, files: grant.quota.files.map(u64::from) });
    Ok(GrantedDir { grant: worker::Dir { guest: grant.guest.clone(), access, quota }, host: grant.host.display().to_string(), dir })
}

fn limits(policy: &Policy) -> worker::Limits {
    worker::Limits {
        memory: policy.limits.memory,
        table_elements: policy.limits.table_elements,
        instances: policy.limits.instances,
        deadline: policy.limits.deadline,
        output: policy.limits.output,
        open_files: policy.limits.open_files,
        clock_resolution: policy.limits.clock_resolution,
    }
}

/// Regions are whole pages, in both halves.
const PAGE: u64 = 4096;
