//! The modules that the policies name, and the worker of each.
//!
//! Runs in: daemon.
//! Invariant: a module runs under the policy that admitted it. A policy file that does not parse, or that changed, never leaves an older grant in force
//! for new invocations; those under way end as they began.

use std::collections::BTreeMap;
use std::path::Path;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::PoisonError;
use std::sync::Weak;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::AtomicUsize;
use std::time::Duration;
use std::time::Instant;

use edgeguard_policy::Listen;
use edgeguard_policy::Policy;
use edgeguard_policy::Profiles;
use tokio::sync::Semaphore;

use crate::admit::Admitted;
use crate::admit::Gate;
use crate::events;
use crate::http::Ready;
use crate::http::Services;
use crate::http::Sockets;
use crate::profiles;
use crate::signed_policy;
use crate::trust::Said;
use crate::worker::Standby;
use crate::worker::Worker;
use crate::worker::WorkerError;

/// All modules, as last loaded.
#[derive(Debug)]
pub struct Modules {
    gate: Gate,
    table: Mutex<Table>,
    standby: tokio::sync::Mutex<Option<Standby>>,
    loading: tokio::sync::Mutex<()>,
    /// What modules that serve listen at.
    services: Services,
    /// Modules that are no longer in the table, and may still run what they began: what is taken back with the word to stop ends here, too.
    leaving: Mutex<Vec<Weak<Module>>>,
}

#[derive(Debug, Default, Clone)]
struct Table {
    modules: BTreeMap<String, Arc<Module>>,
    refused_files: Vec<RefusedFile>,
}

/// A policy file that says nothing valid.
#[derive(Debug, Clone)]
pub struct RefusedFile {
    /// The file.
    pub file: String,
    /// All its mistakes, as `edgeguard policy check` prints them.
    pub reason: String,
}

/// One module.
#[derive(Debug)]
pub struct Module {
    /// Its name.
    pub name: String,
    /// Admitted, or why not.
    pub state: Result<Arc<Admitted>, Refused>,
    /// One permit an instance.
    pub permits: Arc<Semaphore>,
    /// Invocations that wait for a permit.
    pub waiting: AtomicUsize,
    /// What has happened so far.
    pub counters: Counters,
    worker: tokio::sync::Mutex<Option<Arc<Worker>>>,
}

/// Why a module is not admitted, in words.
#[derive(Debug, Clone)]
pub struct Refused {
    /// Its code.
    pub code: String,
    /// The whole reason.
    pub reason: String,
}

/// Counts of one module since it was loaded.
#[derive(Debug, Default)]
pub struct Counters {
    /// Invocations that ended with code 0.
    pub succeeded: AtomicU64,
    /// Invocations that ended otherwise.
    pub failed: AtomicU64,
    /// Clients of a module that serves who sent no request.
    pub refused: AtomicU64,
    /// Of those that failed, stopped at a limit.
    pub limited: AtomicU64,
    /// Of those that failed, ended by the death of the worker.
    pub killed: AtomicU64,
    /// Workers started.
    pub cold_starts: AtomicU64,
    /// Records taken from its rings.
    pub records: AtomicU64,
    /// Time inside model engines, in nanoseconds.
    pub engine_ns: AtomicU64,
}

/// A worker, and whether it had to be started.
#[derive(Debug)]
pub struct Start {
    /// The worker.
    pub worker: Arc<Worker>,
    /// How long its start took; `None` when it was there.
    pub cold: Option<Duration>,
}

/// What a load found.
#[derive(Debug, Clone, Default, serde::Serialize)]
pub struct LoadReport {
    /// Admitted modules.
    pub admitted: Vec<String>,
    /// Refused modules or files, with their reasons.
    pub refused: Vec<(String, String)>,
}

impl Modules {
    /// Nothing loaded yet.
    #[must_use]
    pub fn new(gate: Gate, sockets: Sockets) -> Self {
        Self {
            gate,
            services: Services::new(sockets),
            table: Mutex::default(),
            standby: tokio::sync::Mutex::new(None),
            loading: tokio::sync::Mutex::new(()),
            leaving: Mutex::default(),
        }
    }

    /// Reads every policy, admits every module, and puts the result in force as a whole.
    pub async fn load(self: &Arc<Self>) -> LoadReport {
        let _one_at_a_time = self.loading.lock().await;
        let before = self.snapshot();
        let mut table = Table::default();
        self.say_trust();
        let profiles = profiles::read(&self.gate.host.profiles_dir);
        let files = policy_files(&self.gate.host.policy_dir);
        for (path, text) in &files {
            let file = path.display().to_string();
            match text.as_ref().map_err(Clone::clone).and_then(|text| self.policy(path, text, &profiles, &files)) {
                Ok(policy) => self.admit(&file, &policy, &before, &mut table).await,
                Err(reason) => self.refuse_file(file, reason, &mut table),
            }
        }
        let wanted = self.listeners(&mut table);
        let report = report(&table);
        let after = table.modules.clone();
        *lock(&self.table) = table;
        self.services.serve(self, wanted);
        for (name, old) in before.modules {
            if !after.get(&name).is_some_and(|new| Arc::ptr_eq(new, &old)) {
                lock(&self.leaving).push(Arc::downgrade(&old));
                tokio::spawn(retire(old));
            }
        }
        self.stop_what_leaves_if_told().await;
        report
    }

    /// What the table's modules listen at, each open. A module whose address cannot be had is refused.
    fn listeners(&self, table: &mut Table) -> BTreeMap<Listen, (String, Ready)> {
        let mut wanted: BTreeMap<Listen, (String, Ready)> = BTreeMap::new();
        for (name, module) in &mut table.modules {
            let Some(http) = module.state.as_ref().ok().and_then(|admitted| admitted.http.clone()) else { continue };
            let reason = match (wanted.get(&http.listen), self.services.prepare(&http.listen)) {
                (Some((other, _)), _) => format!("the module `{other}` listens at `{}` already", http.listen),
                (None, Ok(ready)) => {
                    wanted.insert(http.listen, (name.clone(), ready));
                    continue;
                }
                (None, Err(error)) => crate::chain(&error),
            };
            tracing::error!(module = name, code = NOT_LISTENING, "refused: {reason}");
            self.gate.ledger.note(events::module_refused(name, NOT_LISTENING, &reason, None));
            *module = Arc::new(Module::refused(name.clone(), Refused { code: NOT_LISTENING.into(), reason }));
        }
        wanted
    }

    /// A policy that counts: on a host that accepts signed ones only, its signature and revision come before its words.
    fn policy(&self, path: &Path, text: &str, profiles: &Profiles, files: &[PolicyFile]) -> Result<Policy, String> {
        let signed = signed_policy::check(&self.gate.trust, path, text.as_bytes()).map_err(|refusal| refusal.to_string())?;
        let policy = edgeguard_policy::parse_with(&path.display().to_string(), text, profiles).map_err(|mistakes| mistakes.to_string())?;
        signed.in_force(&self.gate.trust, &policy).map_err(|refusal| refusal.to_string())?;
        self.as_learned_from(policy, text, profiles, files)
    }

    /// In learning mode, of the one module that is learned from: what it runs under instead.
    #[cfg(feature = "learning")]
    fn as_learned_from(&self, policy: Policy, text: &str, profiles: &Profiles, files: &[PolicyFile]) -> Result<Policy, String> {
        match &self.gate.host.learning {
            Some(learning) if learning.module == policy.name => {
                let others: Vec<String> = files.iter().filter_map(|(_, text)| text.clone().ok()).collect();
                crate::learning::widen(learning, &self.gate.host.state_dir, &policy, text, profiles, &others)
            }
            _ => Ok(policy),
        }
    }

    /// A program without learning mode does not start where one is asked for, so there is nothing to do.
    #[cfg(not(feature = "learning"))]
    #[expect(clippy::unused_self, clippy::unnecessary_wraps, reason = "as the one above")]
    fn as_learned_from(&self, policy: Policy, _: &str, _: &Profiles, _: &[PolicyFile]) -> Result<Policy, String> {
        Ok(policy)
    }

    /// Loads again when the trust material is no longer what it was at the last load, or a date has passed by which a module was judged: an import needs
    /// no `reload`, and a list, a release or a key that runs out is seen.
    /// Floors that cannot be believed any more are put on record, and nothing is loaded by them: what runs goes on as it was admitted.
    pub async fn follow_trust(self: &Arc<Self>) {
        let news = self.say_trust();
        let Ok(now) = self.gate.trust.now() else { return };
        let ended = |module: &Arc<Module>| module.state.as_ref().is_ok_and(|admitted| admitted.vouched().has_ended(&now.clock));
        if news || self.list().iter().any(ended) {
            self.load().await;
        }
    }

    /// Puts on record what is trusted, if that has changed.
    fn say_trust(&self) -> bool {
        let said = match self.gate.trust.now() {
            Ok(now) => self.gate.trust.news(now.said()),
            Err(error) => self.gate.trust.news(Said::nothing(&error)),
        };
        if let Some(said) = &said {
            if said.stale {
                tracing::warn!(freshness = said.freshness, clock = said.clock, "trust: new modules are refused");
            }
            self.gate.ledger.note(events::trust_changed(said));
        }
        said.is_some()
    }

    async fn admit(&self, file: &str, policy: &Policy, before: &Table, table: &mut Table) {
        let name = policy.name.to_string();
        if table.modules.contains_key(&name) {
            return self.refuse_file(file.into(), format!("another policy file already names the module `{name}`"), table);
        }
        self.gate.ledger.note(events::policy_loaded(file, &name, &policy.digest));
        let module = match self.gate.admit(policy).await {
            Ok(admitted) => match before.modules.get(&name) {
                // Nothing changed but, perhaps, who vouches for it: the module, and its running worker, stay.
                Some(old) if old.is_the_same(&admitted) => {
                    old.take_word_of(&admitted);
                    Arc::clone(old)
                }
                _ => Arc::new(Module::admitted(name.clone(), admitted)),
            },
            Err(refusal) => {
                if let Some(old) = before.modules.get(&name) {
                    self.stop_if_told(old).await;
                }
                let refused = Refused { code: refusal.code(), reason: refusal.reason() };
                tracing::error!(module = name, code = refused.code, "refused: {}", refused.reason);
                Arc::new(Module::refused(name.clone(), refused))
            }
        };
        table.modules.insert(name, module);
    }

    /// Ends the worker of a module that was taken back with the word to stop it: what it runs is not waited for, and what waits for it does not begin.
    async fn stop_if_told(&self, module: &Module) {
        let (Ok(admitted), Ok(now)) = (&module.state, self.gate.trust.now()) else { return };
        if now.stops(&module.name, admitted) {
            module.permits.close();
            if let Some(worker) = module.worker.lock().await.take() {
                tracing::error!(module = module.name, "stopped: it was taken back");
                worker.kill();
            }
        }
    }

    /// The same for what is no longer in the table, whether its policy is gone, cannot be read, or names another module: at this load, or at an earlier one.
    async fn stop_what_leaves_if_told(&self) {
        let leaving: Vec<Arc<Module>> = {
            let mut leaving = lock(&self.leaving);
            leaving.retain(|module| module.strong_count() > 0);
            leaving.iter().filter_map(Weak::upgrade).collect()
        };
        for module in leaving {
            self.stop_if_told(&module).await;
        }
    }

    fn refuse_file(&self, file: String, reason: String, table: &mut Table) {
        tracing::error!(file, "policy refused:\n{reason}");
        self.gate.ledger.note(events::policy_refused(&file, &reason));
        table.refused_files.push(RefusedFile { file, reason });
    }

    /// The module of this name.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<Arc<Module>> {
        lock(&self.table).modules.get(name).cloned()
    }

    /// All modules, by name.
    #[must_use]
    pub fn list(&self) -> Vec<Arc<Module>> {
        self.snapshot().modules.into_values().collect()
    }

    /// The policy files that say nothing valid.
    #[must_use]
    pub fn refused_files(&self) -> Vec<RefusedFile> {
        self.snapshot().refused_files
    }

    /// The gate, for what else needs its parts.
    #[must_use]
    pub fn gate(&self) -> &Gate {
        &self.gate
    }

    /// The module's worker: the one that runs, or the standby, or a new one.
    ///
    /// # Errors
    /// [`WorkerError`]
    pub async fn worker(self: &Arc<Self>, module: &Module, admitted: &Arc<Admitted>) -> Result<Start, WorkerError> {
        // Before the slot is taken: a model may take long to load, and others look into the slot.
        let hosts = admitted.graphs.iter().map(|graph| &graph.host);
        let used = self.gate.graphs.ready(hosts).await?;
        let mut slot = module.worker.lock().await;
        if let Some(worker) = slot.as_ref().filter(|worker| worker.alive()) {
            return Ok(Start { worker: Arc::clone(worker), cold: None });
        }
        let began = Instant::now();
        // One that died while it waited is nobody's loss.
        let standby = match self.standby.lock().await.take().filter(Standby::alive) {
            Some(standby) => standby,
            None => Standby::spawn(&self.gate.host.libexec_dir).await?,
        };
        let worker = standby.assign(admitted, used, &self.gate.ledger).await?;
        *slot = Some(Arc::clone(&worker));
        module.counters.cold_starts.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let cold = began.elapsed();
        tracing::info!(module = module.name, pid = worker.pid(), us = cold.as_micros(), "worker confined and running");
        let modules = Arc::clone(self);
        tokio::spawn(async move {
            tokio::time::sleep(STANDBY_PAUSE).await;
            modules.prepare_standby().await;
        });
        Ok(Start { worker, cold: Some(cold) })
    }

    /// Has one hardened worker wait for whichever module comes next.
    pub async fn prepare_standby(self: Arc<Self>) {
        if !self.gate.host.standby {
            return;
        }
        let mut slot = self.standby.lock().await;
        if slot.is_none() {
            match Standby::spawn(&self.gate.host.libexec_dir).await {
                Ok(standby) => *slot = Some(standby),
                Err(error) => tracing::error!(error = crate::chain(&error), "no standby worker"),
            }
        }
    }

    /// Ends workers that had nothing to do for a while.
    pub async fn end_idle_workers(&self) {
        for module in self.list() {
            let mut slot = module.worker.lock().await;
            if slot.as_ref().and_then(|worker| worker.idle_since()).is_some_and(|since| since.elapsed() > IDLE)
                && let Some(worker) = slot.take()
            {
                worker.kill();
            }
        }
    }

    /// Ends workers that keep a graph loaded and have had nothing to do for longer than its policy says, and lets such graphs go.
    pub async fn unload_idle_graphs(&self) {
        for module in self.list() {
            let Some(idle) = module.state.iter().flat_map(|admitted| &admitted.graphs).filter_map(|graph| graph.host.idle()).min() else {
                continue;
            };
            let mut slot = module.worker.lock().await;
            if slot.as_ref().and_then(|worker| worker.idle_since()).is_some_and(|since| since.elapsed() >= idle)
                && let Some(worker) = slot.take()
            {
                worker.kill();
            }
        }
        self.gate.graphs.unload_idle().await;
    }

    /// Ends everything.
    pub async fn shut_down(&self) {
        self.services.close();
        *self.standby.lock().await = None;
        for module in self.list() {
            if let Some(worker) = module.worker.lock().await.take() {
                worker.kill();
            }
        }
    }

    fn snapshot(&self) -> Table {
        lock(&self.table).clone()
    }
}

impl Module {
    fn admitted(name: String, admitted: Arc<Admitted>) -> Self {
        let permits = Arc::new(Semaphore::new(admitted.limits.instances as usize));
        Self {
            name,
            state: Ok(admitted),
            permits,
            waiting: AtomicUsize::new(0),
            counters: Counters::default(),
            worker: tokio::sync::Mutex::new(None),
        }
    }

    fn refused(name: String, refused: Refused) -> Self {
        let permits = Arc::new(Semaphore::new(0));
        Self {
            name,
            state: Err(refused),
            permits,
            waiting: AtomicUsize::new(0),
            counters: Counters::default(),
            worker: tokio::sync::Mutex::new(None),
        }
    }

    /// Its worker, if one runs.
    #[must_use]
    pub fn running_worker(&self) -> Option<Arc<Worker>> {
        self.worker.try_lock().ok()?.as_ref().filter(|worker| worker.alive()).cloned()
    }

    fn take_word_of(&self, newer: &Admitted) {
        if let Ok(admitted) = &self.state {
            admitted.take_word_of(newer);
        }
    }

    fn is_the_same(&self, admitted: &Admitted) -> bool {
        self.state.as_ref().is_ok_and(|old| {
            old.digest == admitted.digest
                && old.policy_digest == admitted.policy_digest
                && old.graphs.iter().zip(&admitted.graphs).all(|(old, new)| Arc::ptr_eq(&old.host, &new.host))
        })
    }
}

/// Lets what runs under an old policy end, then ends its worker.
async fn retire(module: Arc<Module>) {
    let instances = module.state.as_ref().map_or(0, |admitted| admitted.limits.instances);
    let _all_ended = module.permits.acquire_many(instances).await;
    if let Some(worker) = module.worker.lock().await.take() {
        worker.kill();
    }
    module.permits.close();
}

/// The `*.toml` files of the directory in the order of their names, each with its text or why it has none.
/// A policy's file, and its text, or why there is none.
type PolicyFile = (PathBuf, Result<String, String>);

fn policy_files(dir: &Path) -> Vec<PolicyFile> {
    let entries = match std::fs::read_dir(dir) {
        Ok(entries) => entries,
        Err(error) => return vec![(dir.to_path_buf(), Err(format!("cannot list the policy directory: {error}")))],
    };
    let mut paths: Vec<_> =
        entries.filter_map(Result::ok).map(|entry| entry.path()).filter(|path| path.extension().is_some_and(|ext| ext == "toml")).collect();
    paths.sort();
    paths
        .into_iter()
        .map(|path| {
            let text = policy_text(&path);
            (path, text)
        })
        .collect()
}

fn policy_text(path: &Path) -> Result<String, String> {
    use std::io::Read as _;
    let file = crate::handle::file("policy", path).map_err(|error| crate::chain(&error))?;
    let mut text = String::new();
    file.take(MAX_POLICY + 1).read_to_string(&mut text).map_err(|error| format!("cannot read it: {error}"))?;
    if text.len() as u64 > MAX_POLICY {
        return Err(format!("it is longer than {MAX_POLICY} bytes"));
    }
    Ok(text)
}

fn report(table: &Table) -> LoadReport {
    let mut report = LoadReport::default();
    for module in table.modules.values() {
        match &module.state {
            Ok(_) => report.admitted.push(module.name.clone()),
            Err(refused) => report.refused.push((module.name.clone(), refused.reason.clone())),
        }
    }
    report.refused.extend(table.refused_files.iter().map(|refused| (refused.file.clone(), refused.reason.clone())));
    report
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// After a cold start, before the next standby is made. The start of a process holds up the daemon's loop and takes a processor, and both belong to the invocation
/// that somebody waits for, which most often is over by then.
const STANDBY_PAUSE: Duration = Duration::from_millis(5);

/// A module whose address cannot be had.
const NOT_LISTENING: &str = "EG7007";

/// How long a worker may have nothing to do.
const IDLE: Duration = Duration::from_secs(60);

/// The longest policy file.
const MAX_POLICY: u64 = 256 * 1024;
