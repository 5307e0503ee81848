//! Starting a child with nothing but three descriptors and one argument.
//!
//! Runs in: daemon, on one thread that lives as long as the daemon.
//! Invariant: the child inherits `{0: control socket, 1: /dev/null, 2: log}`, an empty environment, and the launcher's process
//! id as its only argument; it forgets whatever else leaked, by `close_range`.
//! Does not: run any code between fork and exec, so that the standard library may use `posix_spawn`.

use std::io;
use std::os::fd::AsFd;
use std::os::fd::BorrowedFd;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::path::PathBuf;
use std::process::Command;
use std::process::ExitStatus;
use std::process::Stdio;
use std::sync::mpsc;

use rustix::process::Pid;
use rustix::process::PidfdFlags;
use rustix::process::Signal;

/// A started child. Dropping it does not end it: the parent-death signal, or [`Child::kill`], does.
#[derive(Debug)]
pub struct Child {
    process: std::process::Child,
    pidfd: OwnedFd,
}

impl Child {
    /// Its process id; not reused before [`Child::wait`] or a successful [`Child::try_wait`].
    pub fn pid(&self) -> u32 {
        self.process.id()
    }

    /// Becomes readable when the child has ended.
    pub fn pidfd(&self) -> BorrowedFd<'_> {
        self.pidfd.as_fd()
    }

    /// Ends the child at once. Ending an ended child is no error.
    ///
    /// # Errors
    /// What the kernel said.
    pub fn kill(&self) -> io::Result<()> {
        match rustix::process::pidfd_send_signal(&self.pidfd, Signal::KILL) {
            Err(rustix::io::Errno::SRCH) => Ok(()),
            other => Ok(other?),
        }
    }

    /// How it ended, once it has.
    ///
    /// # Errors
    /// What the kernel said.
    pub fn try_wait(&mut self) -> io::Result<Option<ExitStatus>> {
        self.process.try_wait()
    }

    /// Waits until it has ended.
    ///
    /// # Errors
    /// What the kernel said.
    pub fn wait(&mut self) -> io::Result<ExitStatus> {
        self.process.wait()
    }
}

/// Starts `program` as a child of the calling *thread*: the parent-death signal comes when that thread ends, so call this from a
/// thread that lives as long as the process, or use a [`Launcher`].
///
/// # Errors
/// What the kernel said: no such program, no more processes.
pub fn spawn(program: &Path, control: OwnedFd, log: OwnedFd) -> io::Result<Child> {
    let mut process =
        Command::new(program).arg(std::process::id().to_string()).env_clear().stdin(control).stdout(Stdio::null()).stderr(log).spawn()?;
    let pid = Pid::from_child(&process);
    // The child is not reaped before `wait`, so its id cannot have been reused.
    match rustix::process::pidfd_open(pid, PidfdFlags::empty()) {
        Ok(pidfd) => Ok(Child { process, pidfd }),
        Err(error) => {
            process.kill()?;
            process.wait()?;
            Err(error.into())
        }
    }
}

/// A thread that starts children for all others and lives until the last [`Launcher`] is dropped.
#[derive(Debug, Clone)]
pub struct Launcher {
    orders: mpsc::Sender<Order>,
}

#[derive(Debug)]
struct Order {
    program: PathBuf,
    control: OwnedFd,
    log: OwnedFd,
    answer: mpsc::SyncSender<io::Result<Child>>,
}

impl Launcher {
    /// Starts the thread.
    ///
    /// # Errors
    /// What the kernel said.
    pub fn start() -> io::Result<Self> {
        let (orders, inbox) = mpsc::channel::<Order>();
        std::thread::Builder::new().name("launcher".into()).spawn(move || {
            for order in inbox {
                // The other side may have given up waiting; the child then sees its control socket closed.
                let _ = order.answer.send(spawn(&order.program, order.control, order.log));
            }
        })?;
        Ok(Self { orders })
    }

    /// As [`spawn`], from the long-lived thread. Blocks for the time of one `posix_spawn`.
    ///
    /// # Errors
    /// As [`spawn`]; `BrokenPipe` when the thread is gone.
    pub fn spawn(&self, program: &Path, control: OwnedFd, log: OwnedFd) -> io::Result<Child> {
        let (answer, inbox) = mpsc::sync_channel(1);
        let order = Order { program: program.into(), control, log, answer };
        self.orders.send(order).map_err(|_| io::ErrorKind::BrokenPipe)?;
        inbox.recv().map_err(|_| io::ErrorKind::BrokenPipe)?
    }
}
