//! From a configuration to threads that deliver, with the lock in between.
//!
//! Runs in: exporter, on its main thread.
//! Invariant: nothing is read from the journal and nothing is sent before the lock. Keys, certificates, names and files come before it.

use std::fs::File;
use std::os::fd::AsFd as _;
use std::path::Path;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::Barrier;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;
use std::time::Instant;

use edgeguard_sandbox::ExporterReport;
use edgeguard_sandbox::Reach;
use edgeguard_sandbox::restrict_exporter;

use crate::anchors::Anchors;
use crate::config::Config;
use crate::cursor::CursorFile;
use crate::error::ExportError;
use crate::notify::Notify;
use crate::pump::Pump;
use crate::sinks;
use crate::source::Source;
use crate::status::Board;
use crate::status::SinkStatus;
use crate::status::Status;

/// Runs every sink. Returns when one of them cannot go on, or when all have caught up and `drain` is set.
///
/// # Errors
/// [`ExportError`]
pub fn run(config: &Config, drain: bool) -> Result<(), ExportError> {
    let notify = Notify::open();
    let state = open(&config.state, "open the state folder")?;
    let journal = open(&config.journal, "open the journal's folder")?;

    let shared = shared()?;
    let mut made = Vec::new();
    for (common, kind) in &config.sinks {
        made.push(sinks::make(&common.name, kind)?);
    }
    // Libraries that make themselves ready at first use do it now.
    crate::net::warm_up();

    let mut reach = Reach { read: vec![journal.as_fd()], write: vec![state.as_fd()], ..Reach::default() };
    reach.write.extend(shared.iter().map(|(_, folder)| folder.as_fd()));
    for (_, needs) in &made {
        reach.sockets.extend(needs.socket_folder.iter().map(|folder| folder.as_fd()));
        reach.ports.extend(needs.port);
    }
    let restricted = restrict_exporter(&reach, config.require_landlock)?;

    let statuses = config.sinks.iter().map(|(common, kind)| SinkStatus {
        name: common.name.clone(),
        kind: kind.name().to_owned(),
        ..SinkStatus::default()
    });
    let board = Arc::new(Board::new(statuses.collect()));
    let count = made.len();
    // Two meetings: all threads are there; the lock is on all of them.
    let barrier = Arc::new(Barrier::new(count + 1));
    let (done, results) = mpsc::channel();
    for (place, ((common, _), (sink, _))) in config.sinks.iter().zip(made).enumerate() {
        let cursor = CursorFile::open(&config.state, &common.name)?;
        let at = cursor.load()?;
        let source = Source::open(&config.journal, common, at, cursor.path())?;
        let anchors = Anchors::open(&config.journal, &config.state, common)?;
        let pump = Pump { name: common.name.clone(), place, source, sink, anchors, cursor, board: Arc::clone(&board), drain };
        let (barrier, done, name) = (Arc::clone(&barrier), done.clone(), common.name.clone());
        let started = thread::Builder::new().name(name.clone()).spawn(move || {
            barrier.wait();
            barrier.wait();
            let guard = Gone { name, done: done.clone() };
            let result = pump.run();
            std::mem::forget(guard);
            let _ = done.send(result);
        });
        started.map_err(|source| ExportError::State { step: "start a thread for", path: (&*common.name).into(), source })?;
    }
    barrier.wait();
    let report = restricted.lock()?;
    eprintln!("{}", words(&report));
    notify.ready();
    barrier.wait();
    watch(config, shared.as_ref().map(|(path, _)| path.as_path()), &results, count, &board, &notify)
}

/// Keeps the status while the sinks work.
fn watch(
    config: &Config,
    shared: Option<&Path>,
    results: &mpsc::Receiver<Result<(), ExportError>>,
    mut running: usize,
    board: &Board,
    notify: &Notify,
) -> Result<(), ExportError> {
    let mut last = Vec::new();
    let mut told = Instant::now();
    loop {
        let result = results.recv_timeout(STATUS_EVERY);
        let now = board.get();
        let failed = |path: &Path| {
            let path = path.to_owned();
            move |source| ExportError::State { step: "write the status in", path, source }
        };
        // Whoever reads it there must see that there is still somebody who writes it.
        if let Some(shared) = shared
            && (now != last || told.elapsed() >= TELL_EVERY)
        {
            Status::now(now.clone()).write(shared, 0o644).map_err(failed(shared))?;
            told = Instant::now();
        }
        if now != last {
            Status::now(now.clone()).write(&config.state, 0o600).map_err(failed(&config.state))?;
            notify.status(&now.iter().map(SinkStatus::words).collect::<Vec<_>>().join("; "));
            last = now;
        }
        match result {
            Ok(result) => {
                result?;
                running = running.saturating_sub(1);
                if running == 0 {
                    return Ok(());
                }
            }
            Err(mpsc::RecvTimeoutError::Timeout) => {}
            Err(mpsc::RecvTimeoutError::Disconnected) => return Err(ExportError::Thread("?".to_owned())),
        }
    }
}

/// The runtime folder that a service manager gave, in which the status stands for the daemon, which is another user: it holds what `systemctl status` shows to
/// everybody. What is not for others is written with a mode that says so.
fn shared() -> Result<Option<(PathBuf, File)>, ExportError> {
    let Some(path) = std::env::var_os("RUNTIME_DIRECTORY").map(PathBuf::from).filter(|path| path.is_absolute()) else { return Ok(None) };
    let folder = open(&path, "open the runtime folder")?;
    rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o022));
    Ok(Some((path, folder)))
}

/// Tells of a thread that ends by a defect, so that the process does not go on without it.
struct Gone {
    name: String,
    done: mpsc::Sender<Result<(), ExportError>>,
}

impl Drop for Gone {
    fn drop(&mut self) {
        let _ = self.done.send(Err(ExportError::Thread(self.name.clone())));
    }
}

fn open(path: &Path, step: &'static str) -> Result<File, ExportError> {
    File::open(path).map_err(|source| ExportError::State { step, path: path.to_owned(), source })
}

fn words(report: &ExporterReport) -> String {
    let ports: Vec<String> = report.ports.iter().map(u16::to_string).collect();
    let held = if report.ports_enforced { "held to" } else { "NOT held by the kernel to" };
    format!("confined: Landlock ABI {}, {held} ports [{}], {} threads", report.landlock_abi, ports.join(", "), report.threads)
}

const STATUS_EVERY: Duration = Duration::from_secs(1);
/// A quarter of the time after which the daemon calls it silent.
const TELL_EVERY: Duration = Duration::from_secs(15);
