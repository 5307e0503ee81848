//! One child process: its control channel, its log, its end.
//!
//! Runs in: daemon, on the main thread only: a child dies with the *thread* that made it (`PR_SET_PDEATHSIG`), so that thread must live as long as the daemon.
//! Invariant: a child that is dropped is killed and reaped.

use std::os::fd::BorrowedFd;
use std::os::fd::OwnedFd;
use std::os::unix::process::ExitStatusExt as _;
use std::path::Path;
use std::sync::Mutex;
use std::sync::MutexGuard;
use std::sync::PoisonError;
use std::time::Duration;

use edgeguard_sandbox::Role;
use edgeguard_wire::Channel;
use edgeguard_wire::ChannelError;
use edgeguard_wire::Dialogue;
use edgeguard_wire::PeerMisbehaved;
use edgeguard_wire::dialogue::Request;
use rustix::fs::OFlags;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::io::AsyncBufReadExt as _;
use tokio::io::AsyncReadExt as _;
use tokio::io::BufReader;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::net::unix::pipe;

/// A child said something it may not say, or nothing at all, or could not be started.
#[derive(Debug, thiserror::Error)]
pub enum ChildError {
    /// The program does not start.
    #[error("cannot start `{program}`")]
    Spawn {
        /// The program's path.
        program: String,
        /// What the kernel said.
        #[source]
        source: std::io::Error,
    },
    /// The channel broke.
    #[error("the {role} process {pid} left the dialogue")]
    Channel {
        /// Which kind of child.
        role: &'static str,
        /// Its process id.
        pid: u32,
        /// What broke.
        #[source]
        source: ChannelError,
    },
    /// It said what no honest child says.
    #[error("the {role} process {pid} misbehaved: {what}")]
    Dishonest {
        /// Which kind of child.
        role: &'static str,
        /// Its process id.
        pid: u32,
        /// What it did.
        what: &'static str,
    },
    /// It ended.
    #[error("the {role} process {pid} ended: {exit}")]
    Gone {
        /// Which kind of child.
        role: &'static str,
        /// Its process id.
        pid: u32,
        /// How.
        exit: Exit,
    },
    /// It broke the order of the dialogue.
    #[error("the {role} process {pid} misbehaved")]
    Misbehaved {
        /// Which kind of child.
        role: &'static str,
        /// Its process id.
        pid: u32,
        /// What it did.
        #[source]
        source: PeerMisbehaved,
    },
    /// It said nothing in time.
    #[error("the {role} process {pid} did not answer within {limit:?}")]
    Silent {
        /// Which kind of child.
        role: &'static str,
        /// Its process id.
        pid: u32,
        /// How long the daemon waited.
        limit: Duration,
    },
    /// It refused, and said why.
    #[error("the {role} process {pid} refused: {reason}")]
    Refused {
        /// Which kind of child.
        role: &'static str,
        /// Its process id.
        pid: u32,
        /// Its own words, escaped.
        reason: String,
    },
    /// The daemon looked at the process and it is not confined as it must be.
    #[error("the {role} process {pid} is not confined: {found}")]
    NotConfined {
        /// Which kind of child.
        role: &'static str,
        /// Its process id.
        pid: u32,
        /// What `/proc/PID/status` shows.
        found: String,
    },
}

/// A running child.
#[derive(Debug)]
pub struct Child {
    role: &'static str,
    pid: u32,
    channel: AsyncFd<Channel>,
    /// Readable when the process has ended.
    pidfd: AsyncFd<OwnedFd>,
    process: Mutex<Process>,
}

#[derive(Debug)]
enum Process {
    Running(edgeguard_sandbox::Child),
    Reaped(Exit),
}

/// How a child ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// It returned this code.
    Code(i32),
    /// This signal killed it; 31 is `SIGSYS`, the seccomp filter's answer.
    Signal(i32),
}

impl std::fmt::Display for Exit {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Code(code) => write!(f, "exit code {code}"),
            Self::Signal(31) => f.write_str("signal 31 (SIGSYS: a system call outside its filter)"),
            Self::Signal(signal) => write!(f, "signal {signal}"),
        }
    }
}

impl Child {
    /// Starts `program` with the fd table `{0: control, 1: /dev/null, 2: log}` and an empty environment.
    ///
    /// # Errors
    /// [`ChildError::Spawn`]
    #[allow(
        deprecated,
        reason = "the replacement is an unsafe fn, for descriptors that may be closed while registered; these two are owned by what registers them"
    )]
    pub fn spawn(role: Role, program: &Path) -> Result<Self, ChildError> {
        let spawn = || -> std::io::Result<Self> {
            let (ours, theirs) = Channel::pair().map_err(std::io::Error::other)?;
            rustix::fs::fcntl_setfl(&ours, rustix::fs::fcntl_getfl(&ours)? | OFlags::NONBLOCK)?;
            let (log, log_end) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC)?;
            let process = edgeguard_sandbox::spawn(program, theirs.into_fd(), log_end)?;
            let (role, pid) = (role_name(role), process.pid());
            follow_log(role, pid, log)?;
            let pidfd = AsyncFd::with_interest(process.pidfd().try_clone_to_owned()?, Interest::READABLE)?;
            Ok(Self { role, pid, channel: AsyncFd::new(ours)?, pidfd, process: Mutex::new(Process::Running(process)) })
        };
        spawn().map_err(|source| ChildError::Spawn { program: program.display().to_string(), source })
    }

    /// Its process id.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// Sends a frame. A child that does not empty its socket is as good as dead, so this never waits.
    ///
    /// # Errors
    /// [`ChildError::Channel`]
    pub fn send<T: Serialize>(&self, frame: &T, fds: &[BorrowedFd<'_>]) -> Result<(), ChildError> {
        self.channel.get_ref().send(frame, fds).map_err(|source| self.broke(source))
    }

    /// Waits for a frame and holds it against the dialogue.
    ///
    /// # Errors
    /// [`ChildError::Channel`], [`ChildError::Misbehaved`]
    pub async fn recv<T: DeserializeOwned + Request>(&self, dialogue: &mut Dialogue) -> Result<T, ChildError> {
        loop {
            let mut ready = self.channel.readable().await.map_err(|_| self.broke(ChannelError::Closed))?;
            match ready.get_inner().try_recv::<T>() {
                Ok(Some((frame, fds))) => {
                    // They are closed here. No child has any to give.
                    if !fds.is_empty() {
                        return Err(self.dishonest("it sent descriptors"));
                    }
                    dialogue.admit(&frame).map_err(|source| ChildError::Misbehaved { role: self.role, pid: self.pid(), source })?;
                    return Ok(frame);
                }
                Ok(None) => ready.clear_ready(),
                Err(ChannelError::Closed) => return Err(self.gone().await),
                Err(source) => return Err(self.broke(source)),
            }
        }
    }

    /// As [`Child::recv`], for `limit` at most.
    ///
    /// # Errors
    /// [`ChildError::Silent`], and as [`Child::recv`].
    pub async fn recv_within<T: DeserializeOwned + Request>(&self, dialogue: &mut Dialogue, limit: Duration) -> Result<T, ChildError> {
        match tokio::time::timeout(limit, self.recv(dialogue)).await {
            Ok(frame) => frame,
            Err(_) => Err(ChildError::Silent { role: self.role, pid: self.pid(), limit }),
        }
    }

    /// The daemon's own look at the process, which its report cannot lie about.
    ///
    /// # Errors
    /// [`ChildError::NotConfined`] unless the kernel says: no new privileges, a seccomp filter, and not our root.
    pub fn look(&self) -> Result<edgeguard_sandbox::ProcessStatus, ChildError> {
        let refuse = |found: String| ChildError::NotConfined { role: self.role, pid: self.pid(), found };
        let status = edgeguard_sandbox::inspect(self.pid()).map_err(|error| refuse(error.to_string()))?;
        if !status.no_new_privs || status.seccomp_mode != 2 || status.seccomp_filters < FILTERS {
            return Err(refuse(format!(
                "expected NoNewPrivs 1, Seccomp 2, at least {FILTERS} filters; found NoNewPrivs {}, Seccomp {}, {} filters",
                u8::from(status.no_new_privs),
                status.seccomp_mode,
                status.seccomp_filters
            )));
        }
        Ok(status)
    }

    /// For what its frames say beyond their form.
    #[must_use]
    pub fn dishonest(&self, what: &'static str) -> ChildError {
        ChildError::Dishonest { role: self.role, pid: self.pid(), what }
    }

    /// A handle by which another thread may end it.
    ///
    /// # Errors
    /// What the kernel said.
    pub fn pidfd(&self) -> std::io::Result<OwnedFd> {
        self.pidfd.get_ref().try_clone()
    }

    /// Its own words for a refusal.
    #[must_use]
    pub fn refused(&self, reason: &str) -> ChildError {
        ChildError::Refused { role: self.role, pid: self.pid(), reason: escape(reason) }
    }

    /// Whether it still runs, as far as anybody can know.
    #[must_use]
    pub fn alive(&self) -> bool {
        let at_once = rustix::event::Timespec { tv_sec: 0, tv_nsec: 0 };
        let mut ended = [rustix::event::PollFd::new(self.pidfd.get_ref(), rustix::event::PollFlags::IN)];
        matches!(rustix::event::poll(&mut ended, Some(&at_once)), Ok(0) | Err(rustix::io::Errno::INTR))
    }

    /// Ends it.
    pub fn kill(&self) {
        if let Process::Running(process) = &*self.process()
            && let Err(error) = process.kill()
        {
            tracing::error!(role = self.role, pid = self.pid, %error, "cannot kill");
        }
    }

    /// Waits until it is gone, and reaps it.
    pub async fn reap(&self) -> Exit {
        // An error here means that the runtime is going down; the wait below then does the waiting.
        let _gone = self.pidfd.readable().await;
        self.wait()
    }

    fn wait(&self) -> Exit {
        let mut process = self.process();
        if let Process::Running(running) = &mut *process {
            let exit = match running.wait() {
                Ok(status) => status.code().map_or(Exit::Signal(status.signal().unwrap_or(9)), Exit::Code),
                Err(_) => Exit::Signal(9),
            };
            *process = Process::Reaped(exit);
        }
        match &*process {
            Process::Reaped(exit) => *exit,
            Process::Running(_) => Exit::Signal(9),
        }
    }

    fn process(&self) -> MutexGuard<'_, Process> {
        self.process.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// It closed its end: its process is gone, or will be now.
    async fn gone(&self) -> ChildError {
        let exit = match tokio::time::timeout(DYING, self.reap()).await {
            Ok(exit) => exit,
            Err(_) => {
                self.kill();
                self.reap().await
            }
        };
        ChildError::Gone { role: self.role, pid: self.pid, exit }
    }

    fn broke(&self, source: ChannelError) -> ChildError {
        ChildError::Channel { role: self.role, pid: self.pid(), source }
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        self.kill();
        self.wait();
    }
}

/// The name of a role in logs and records.
#[must_use]
pub fn role_name(role: Role) -> &'static str {
    role.name()
}

/// Control bytes made visible: what a child says goes to terminals.
#[must_use]
pub fn escape(text: &str) -> String {
    text.chars().take(MAX_REASON).flat_map(|c| if c.is_control() { c.escape_default().collect::<Vec<_>>() } else { vec![c] }).collect()
}

/// Copies a child's standard error to our log: [`MAX_LOG`] bytes at most, so that a child cannot flood it. What exceeds that is read and thrown away, and said so once.
fn follow_log(role: &'static str, pid: u32, log: OwnedFd) -> std::io::Result<()> {
    rustix::fs::fcntl_setfl(&log, rustix::fs::fcntl_getfl(&log)? | OFlags::NONBLOCK)?;
    let log = pipe::Receiver::from_owned_fd(log)?;
    tokio::spawn(async move {
        let mut lines = BufReader::new(log.take(MAX_LOG));
        let mut line = Vec::new();
        while matches!(lines.read_until(b'\n', &mut line).await, Ok(n) if n > 0) {
            tracing::warn!(role, pid, "{}", escape(String::from_utf8_lossy(&line).trim_end()));
            line.clear();
        }
        let mut rest = lines.into_inner().into_inner();
        if tokio::io::copy(&mut rest, &mut tokio::io::sink()).await.is_ok_and(|thrown| thrown > 0) {
            tracing::warn!(role, pid, "its log went beyond {MAX_LOG} bytes; the rest was dropped");
        }
    });
    Ok(())
}

/// Two of the setup and two of the lock, at the least: a child that has said it is confined and has fewer has not locked itself.
const FILTERS: u32 = 4;

/// How long a child that closed its channel may take to end.
const DYING: Duration = Duration::from_millis(500);

/// Bytes of standard error kept from one child.
const MAX_LOG: u64 = 64 * 1024;

/// Characters kept from one refusal.
const MAX_REASON: usize = 2048;
