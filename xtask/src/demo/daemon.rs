//! A running `edgeguardd`: started, heard to be ready, stopped.

use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::path::PathBuf;
use std::process::Child;
use std::process::Stdio;
use std::time::Duration;
use std::time::Instant;

use rustix::event::PollFd;
use rustix::event::PollFlags;
use rustix::event::Timespec;
use rustix::process::Pid;
use rustix::process::PidfdFlags;
use rustix::process::Signal;

use super::house::House;
use super::house::Said;
use crate::failure::Failure;
use crate::failure::Result;

/// The daemon, with its own state, policies and socket under `FOLDER/` of the house. Dropping it ends it.
#[derive(Debug)]
pub struct Daemon {
    child: Child,
    pidfd: OwnedFd,
    log: PathBuf,
    socket: PathBuf,
    folder: &'static str,
}

impl Daemon {
    /// Makes its folders and its host file, `FOLDER/edgeguard.toml`. Its children's programs lie in `libexec`; with
    /// `standby` it keeps a hardened worker ready for the next cold start.
    pub fn configure(house: &House, folder: &str, libexec: &str, standby: bool) -> Result<()> {
        for name in ["", "policy.d", "state", "run"] {
            house.folder(&format!("{folder}/{name}"))?;
        }
        house.write(&format!("{folder}/edgeguard.toml"), host_file(house, folder, libexec, standby).as_bytes()).map(drop)
    }

    /// Starts it as configured, and waits until it says that it is ready.
    pub fn start(house: &House, folder: &'static str) -> Result<Daemon> {
        let config = house.path(&format!("{folder}/edgeguard.toml"));
        let notices = house.path(&format!("{folder}/notify.sock"));
        let heard = UnixDatagram::bind(&notices).map_err(Failure::at("bind the socket", &notices))?;
        house.own(&notices, 0o600)?;
        let log = house.path(&format!("{folder}/edgeguardd.log"));
        let log_file = File::create(&log).map_err(Failure::at("make", &log))?;
        let mut command = house.program("edgeguardd");
        command.arg("--config").arg(config).env("NOTIFY_SOCKET", &notices).stdout(Stdio::null()).stderr(log_file);
        if let Some(level) = std::env::var_os("EDGEGUARD_LOG") {
            command.env("EDGEGUARD_LOG", level);
        }
        let mut child = command.spawn().map_err(|error| Failure::of("cannot start `edgeguardd`", error))?;
        let pidfd = match rustix::process::pidfd_open(Pid::from_child(&child), PidfdFlags::empty()) {
            Ok(pidfd) => pidfd,
            Err(error) => {
                let _ = child.kill();
                return Err(Failure::of("cannot watch `edgeguardd`", error));
            }
        };
        let socket = house.path(&format!("{folder}/run/control.sock"));
        let daemon = Daemon { child, pidfd, log, socket, folder };
        daemon.until_ready(&heard)?;
        Ok(daemon)
    }

    /// Runs a command of `edgeguard` against it.
    pub fn ask(&self, house: &House, words: &[&str], input: &str) -> Result<Said> {
        house.edgeguard(&self.socket, words, input)
    }

    /// Its status.
    pub fn status(&self, house: &House) -> Result<serde_json::Value> {
        self.ask(house, &["status", "--json"], "")?.exits(0)?.json()
    }

    /// Its journal's folder, as a path from the house.
    pub fn journal(&self) -> String {
        format!("{}/state/audit", self.folder)
    }

    /// What its journal says of a module: the last `lines` entries of that kind (`--deny`, `--events`). All that was noted before now is in it.
    pub fn record(&self, house: &House, kind: &str, module: &str, lines: &str) -> Result<Said> {
        // The status waits for the journal's thread, which works in order.
        self.status(house)?;
        let journal = self.journal();
        self.ask(house, &["audit", "tail", "--dir", &journal, kind, "--module", module, "-n", lines], "")?.exits(0)
    }

    /// Where it listens.
    pub fn socket(&self) -> &Path {
        &self.socket
    }

    /// Tells it to stop, and waits until it has.
    pub fn stop(mut self) -> Result<()> {
        rustix::process::pidfd_send_signal(&self.pidfd, Signal::TERM).map_err(|error| Failure::of("cannot stop `edgeguardd`", error))?;
        if !wait(&[PollFd::new(&self.pidfd, PollFlags::IN)], STOPPING)? {
            return Err(self.failure(&format!("did not stop within {STOPPING:?}")));
        }
        let status = self.child.wait().map_err(|error| Failure::of("cannot wait for `edgeguardd`", error))?;
        if status.success() { Ok(()) } else { Err(self.failure(&format!("ended with {status}"))) }
    }

    fn until_ready(&self, heard: &UnixDatagram) -> Result<()> {
        let deadline = Instant::now() + STARTING;
        let mut text = [0; 4096];
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let mut fds = [PollFd::new(heard, PollFlags::IN), PollFd::new(&self.pidfd, PollFlags::IN)];
            if !wait_on(&mut fds, left)? {
                return Err(self.failure(&format!("was not ready within {STARTING:?}")));
            }
            let [notice, gone] = &fds;
            if notice.revents().contains(PollFlags::IN) {
                let len = heard.recv(&mut text).map_err(|error| Failure::of("cannot hear `edgeguardd`", error))?;
                if text.get(..len).unwrap_or_default().split(|byte| *byte == b'\n').any(|line| line == b"READY=1") {
                    return Ok(());
                }
            } else if !gone.revents().is_empty() {
                return Err(self.failure("ended before it was ready"));
            }
        }
    }

    /// A failure with the end of its log.
    fn failure(&self, what: &str) -> Failure {
        let log = std::fs::read_to_string(&self.log).unwrap_or_default();
        let lines: Vec<&str> = log.lines().collect();
        let last = lines.get(lines.len().saturating_sub(LOG_LINES)..).unwrap_or_default().join("\n");
        Failure::new(format!("`edgeguardd` {what}; its log ends:\n{last}"))
    }

    /// Its log's end, for failures elsewhere.
    pub fn explain(&self, failure: Failure) -> Failure {
        self.failure(&format!("was running when this happened: {failure}\n"))
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        // Its children die with it.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn wait(fds: &[PollFd<'_>], limit: Duration) -> Result<bool> {
    wait_on(&mut fds.to_vec(), limit)
}

/// Whether one of them has something to say within the limit.
fn wait_on(fds: &mut [PollFd<'_>], limit: Duration) -> Result<bool> {
    let limit = Timespec { tv_sec: limit.as_secs().try_into().unwrap_or(i64::MAX), tv_nsec: limit.subsec_nanos().into() };
    let ready = rustix::io::retry_on_intr(|| rustix::event::poll(fds, Some(&limit)));
    Ok(ready.map_err(|error| Failure::of("cannot wait", io::Error::from(error)))? > 0)
}

fn host_file(house: &House, folder: &str, libexec: &str, standby: bool) -> String {
    let path = |name: &str| house.path(name).display().to_string();
    format!(
        "version = 1\n\n[paths]\npolicy = {:?}\nstate = {:?}\nruntime = {:?}\nlibexec = {:?}\n\n[workers]\nstandby = {standby}\n",
        path(&format!("{folder}/policy.d")),
        path(&format!("{folder}/state")),
        path(&format!("{folder}/run")),
        path(libexec)
    )
}

const STARTING: Duration = Duration::from_secs(60);
const STOPPING: Duration = Duration::from_secs(10);
const LOG_LINES: usize = 25;
