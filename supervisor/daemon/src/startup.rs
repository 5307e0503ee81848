//! From nothing to serving, and back.
//!
//! Runs in: daemon, on its main thread, which lives as long as it does.

use std::os::unix::fs::DirBuilderExt as _;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use edgeguard_attest::Counter;
use edgeguard_attest::TPM_DEVICE;
use edgeguard_attest::TpmCounter;
use edgeguard_audit::Journal;
use edgeguard_audit::Keys;
use edgeguard_audit::Options;
use edgeguard_audit::PrivacyKey;
use edgeguard_policy::HostConfig;
use edgeguard_policy::OnFull;
use rustix::process::DumpableBehavior;
use sd_notify::NotifyState;
use tokio::signal::unix::Signal;
use tokio::signal::unix::SignalKind;
use tokio::signal::unix::signal;

use crate::admit::Gate;
use crate::cache::Cache;
use crate::compiler::CompileError;
use crate::compiler::Compiler;
use crate::control;
use crate::control::Control;
use crate::counted;
use crate::counted::Bound;
use crate::counted::CountedError;
use crate::events;
use crate::graphs::Graphs;
use crate::http::Sockets;
use crate::ledger::Ledger;
use crate::ledger::LedgerError;
use crate::modules::Modules;
use crate::trust::Trust;

/// Why the daemon does not come up.
#[derive(Debug, thiserror::Error)]
pub enum StartupError {
    /// It runs as root.
    #[error("edgeguardd does not run as root: its children share its user. Start it by its systemd unit, or as a user of its own")]
    Root,
    /// The host's file.
    #[error("the host's file is not valid:\n{0}")]
    Config(String),
    /// A file or directory.
    #[error("cannot use {what} `{path}`")]
    Path {
        /// What it is for.
        what: &'static str,
        /// The path.
        path: String,
        /// What the kernel said.
        #[source]
        source: std::io::Error,
    },
    /// The journal's keys.
    #[error("the journal's keys cannot be used")]
    JournalKeys(#[from] edgeguard_audit::KeysError),
    /// The journal.
    #[error("the journal does not open")]
    Journal(#[from] edgeguard_audit::JournalError),
    /// The counter that the journal is bound to.
    #[error("the journal cannot be gone on with")]
    Counted(#[from] CountedError),
    /// The compiler: the first child, so this is where a host that cannot confine shows.
    #[error("the compiler does not start: this host may not give what confinement needs; `edgeguard doctor` says which")]
    Compiler(#[from] CompileError),
    /// The journal takes no records.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    /// The journal's disk is full, and the host's file wants no service without it.
    #[error("the journal takes no more records, and `audit.on-full` is `halt`; free space on its disk, then start again")]
    Halted,
    /// The host's file asks for learning mode, which this program does not have.
    #[error(
        "the host's file has a section `[learning]`, and this is `edgeguardd`, which gives no module more than its policy; \
         take the section out, or on a lab machine run `edgeguardd-learning`"
    )]
    Learning,
    /// Both were asked for.
    #[error("the host's file has `[learning]` and `[policy-signing]`: what is learned with was signed by nobody; take one of the two out")]
    LearningSigned,
    /// A thread, a signal handler, a kernel facility.
    #[error("cannot set up {0}")]
    Kernel(&'static str, #[source] std::io::Error),
}

/// Whether this program gives a module more than its policy when the host's file says so.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Learning {
    /// `edgeguardd`: it does not start with such a file.
    Refused,
    /// `edgeguardd-learning`, which is in no package.
    #[cfg(feature = "learning")]
    Allowed,
}

impl Learning {
    fn allows(self, host: &HostConfig) -> Result<(), StartupError> {
        match (&host.learning, &host.policy_signing) {
            (None, _) => Ok(()),
            (Some(_), _) if self == Self::Refused => Err(StartupError::Learning),
            (Some(_), Some(_)) => Err(StartupError::LearningSigned),
            (Some(_), None) => Ok(()),
        }
    }
}

/// Runs until SIGTERM or SIGINT. `accepted` says why a journal that the TPM's counter calls old is gone on with all the same.
///
/// # Errors
/// [`StartupError`]: the daemon did not come up.
pub async fn run(host: HostConfig, accepted: Option<&str>, learning: Learning, sockets: Sockets) -> Result<(), StartupError> {
    learning.allows(&host)?;
    // 1. Ourselves: no root, nothing to gain by an exec, nothing to read for a process of the same user.
    if rustix::process::geteuid().is_root() {
        return Err(StartupError::Root);
    }
    harden().map_err(|errno| StartupError::Kernel("our own hardening", errno.into()))?;
    // Before anybody hears that we are here: a signal that comes early waits for its turn, and does not kill.
    let signals = Signals::new()?;

    // 2. The journal first: whatever follows is recorded. Its lock also says that no other daemon lives on this state.
    make_dir("the state directory", &host.state_dir)?;
    make_dir("the runtime directory", &host.runtime_dir)?;
    let keys = journal_keys(&host.state_dir)?;
    let audit = host.state_dir.join("audit");
    let (mut journal, recovery) = Journal::open_with(
        &audit,
        &origin(),
        Options {
            budget: Some(host.audit.budget),
            reserve: Some(RESERVE),
            summarize: host.audit.on_full == OnFull::Summarize,
            ..Options::sealed(keys)
        },
    )?;
    // Under the journal's lock, so that no two daemons make it.
    let privacy = PrivacyKey::load(&host.state_dir.join(JOURNAL_KEYS))?;
    let bound = match host.audit.counter {
        edgeguard_policy::Counter::None => None,
        edgeguard_policy::Counter::Tpm => {
            let counter = TpmCounter::open_for_journal(Path::new(TPM_DEVICE)).map_err(|error| CountedError::Counter(error.into()))?;
            let mut counter: Box<dyn Counter> = Box::new(counter);
            let value = counted::begin(&mut journal, &audit, &mut *counter, accepted)?;
            Some(Bound::new(counter, value))
        }
    };
    let (ledger, clerk) =
        Ledger::start_bound(journal, privacy, bound).map_err(|error| StartupError::Kernel("the journal's thread", error))?;
    let ledger = Arc::new(ledger);
    tracing::info!(?recovery, "journal open");
    ledger.record(events::daemon_started()).await?;

    // 3. The first child shows whether this host can confine.
    let cache = Cache::open(&host.state_dir).map_err(|source| StartupError::Path {
        what: "the native-code cache in",
        path: host.state_dir.display().to_string(),
        source,
    })?;
    let compiler = Compiler::new(&host.libexec_dir, &ledger).await?;
    let graphs = Graphs::new(&host.libexec_dir, host.engines.clone(), host.floor.landlock, Arc::clone(&ledger));

    // 4. Admit.
    let control_path = host.control.clone();
    let halts = host.audit.on_full == OnFull::Halt;
    let trust = Trust::new(&host);
    let modules = Arc::new(Modules::new(Gate { compiler, cache, graphs, ledger: Arc::clone(&ledger), trust, host }, sockets));
    let report = modules.load().await;
    tracing::info!(admitted = report.admitted.len(), refused = report.refused.len(), "policies loaded");
    tokio::spawn(Arc::clone(&modules).prepare_standby());

    // 5. Serve.
    let bound = control::bind(&control_path).map_err(|source| StartupError::Path {
        what: "the control socket",
        path: control_path.display().to_string(),
        source,
    })?;
    let serving = tokio::spawn(Control::new(Arc::clone(&modules)).serve(bound.listener));
    notify(&[NotifyState::Ready]);
    tracing::info!(socket = %bound.path.display(), "ready");
    let told = until_told(signals, &modules, &ledger, halts).await;

    // 6. Stop: no new requests, no children, nothing unwritten.
    notify(&[NotifyState::Stopping]);
    serving.abort();
    modules.shut_down().await;
    let reason = if told.is_ok() { "told to" } else { "the journal takes no records, and `audit.on-full` is `halt`" };
    let said = ledger.record(events::daemon_stopped(reason)).await;
    ledger.stop();
    let _ = tokio::task::spawn_blocking(move || clerk.join()).await;
    let _ = std::fs::remove_file(&bound.path);
    told?;
    Ok(said?)
}

/// What the daemon listens for.
struct Signals {
    term: Signal,
    int: Signal,
    hup: Signal,
}

impl Signals {
    fn new() -> Result<Self, StartupError> {
        let handler = |kind| signal(kind).map_err(|error| StartupError::Kernel("signal handlers", error));
        Ok(Self { term: handler(SignalKind::terminate())?, int: handler(SignalKind::interrupt())?, hup: handler(SignalKind::hangup())? })
    }
}

/// The daemon's own loop: signals, the watchdog, the clock.
async fn until_told(mut signals: Signals, modules: &Arc<Modules>, ledger: &Ledger, halts: bool) -> Result<(), StartupError> {
    let mut unloading = tokio::time::interval(Duration::from_secs(1));
    let mut janitor = tokio::time::interval(Duration::from_secs(10));
    let mut hourly = tokio::time::interval(Duration::from_secs(3600));
    let mut watchdog = tokio::time::interval(sd_notify::watchdog_enabled().map_or(Duration::from_secs(10), |limit| limit / 3));
    loop {
        tokio::select! {
            _ = signals.term.recv() => return Ok(()),
            _ = signals.int.recv() => return Ok(()),
            () = ledger.closed(), if halts => return Err(StartupError::Halted),
            _ = signals.hup.recv() => {
                notify(&[NotifyState::Reloading]);
                ledger.lift_suspensions();
                modules.load().await;
                notify(&[NotifyState::Ready]);
            }
            _ = janitor.tick() => {
                modules.end_idle_workers().await;
                modules.follow_trust().await;
            }
            _ = unloading.tick() => modules.unload_idle_graphs().await,
            _ = hourly.tick() => if let Err(error) = modules.gate().trust.keep_time() {
                tracing::error!(error = crate::chain(&error), "the time that has passed is not remembered");
            },
            // Fed by the loop that serves, and only while the journal's thread answers it.
            _ = watchdog.tick() => if ledger.stats().await.is_some() {
                notify(&[NotifyState::Watchdog]);
            }
        }
    }
}

fn harden() -> rustix::io::Result<()> {
    rustix::thread::set_no_new_privs(true)?;
    rustix::process::set_dumpable_behavior(DumpableBehavior::NotDumpable)?;
    let none = rustix::process::Rlimit { current: Some(0), maximum: Some(0) };
    rustix::process::setrlimit(rustix::process::Resource::Core, none)
}

/// The keys that seal the journal: the identity from the service manager's credentials where there is one, else from the state directory.
fn journal_keys(state: &Path) -> Result<Keys, StartupError> {
    let credentials = std::env::var_os("CREDENTIALS_DIRECTORY").map(std::path::PathBuf::from);
    let dir = state.join(JOURNAL_KEYS);
    make_dir("the journal's keys in", &dir)?;
    Ok(Keys::load(&dir, credentials.as_deref())?)
}

fn make_dir(what: &'static str, path: &Path) -> Result<(), StartupError> {
    let made = std::fs::DirBuilder::new().recursive(true).mode(0o700).create(path);
    made.map_err(|source| StartupError::Path { what, path: path.display().to_string(), source })
}

/// The log's origin: this machine's name, without what a name may not hold.
fn origin() -> String {
    let name = rustix::system::uname().nodename().to_string_lossy().into_owned();
    let clean: String = name.chars().filter(|c| c.is_ascii_alphanumeric() || ".-_".contains(*c)).take(64).collect();
    format!("edgeguard/{}", if clean.is_empty() { "host" } else { &clean })
}

/// The folder of the journal's keys, in the state directory.
const JOURNAL_KEYS: &str = "journal-keys";

/// Room that is kept for the journal on its disk: two segments, one for the frames that say which calls are deleted, one for the counts of those calls.
const RESERVE: u64 = 8 << 20;

fn notify(state: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(state) {
        tracing::warn!(%error, "the service manager does not hear us");
    }
}
