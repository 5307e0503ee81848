//! From a configuration to threads that deliver, with the lock in between.
//!
//! Runs in: exporter, on its main thread.
//! Invariant: nothing is read from the journal and nothing is sent before the lock. Keys, certificates, names and files come before it.

use std::fs::File;
use std::os::fd::AsFd as _;
use std::path::Path;
use std::sync::Arc;
use std::sync::Barrier;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

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

    let mut made = Vec::new();
    for (common, kind) in &config.sinks {
        made.push(sinks::make(&common.name, kind)?);
    }
    // Libraries that make themselves ready at first use do it now.
    crate::net::warm_up();

    let mut reach = Reach { read: vec![journal.as_fd()], write: vec![state.as_fd()], ..Reach::default() };
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
    watch(config, &results, count, &board, &notify)
}

/// Keeps the status while the sinks work.
fn watch(
    config: &Config,
    results: &mpsc::Receiver<Result<(), ExportError>>,
    mut running: usize,
    board: &Board,
    notify: &Notify,
) -> Result<(), ExportError> {
    let mut last = Vec::new();
    loop {
        let result = results.recv_timeout(STATUS_EVERY);
        let now = board.get();
        if now != last {
            let failed = |source| ExportError::State { step: "write the status in", path: config.state.clone(), source };
            Status::now(now.clone()).write(&config.state).map_err(failed)?;
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
