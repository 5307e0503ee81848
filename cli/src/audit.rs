//! `edgeguard audit`: read, check, prove and export the journal, and have the daemon erase names in it.
//!
//! Runs in: command line, with the rights of whoever calls it. The daemon may be writing the journal meanwhile.
//! Does not: change a byte of the journal.

mod attest;
mod checkpoint;
mod erase;
mod export;
mod received;
mod search;
mod show;
mod stamp;
mod stats;
mod tail;
mod tpm;
mod verify;

use std::io::IsTerminal as _;
use std::io::Write as _;
use std::path::Path;
use std::path::PathBuf;
use std::time::Duration;
use std::time::Instant;

use clap::Args;
use clap::Subcommand;
use edgeguard_audit::read::ReadError;
use edgeguard_audit::read::Reader;

use crate::ExitCode;
use crate::output;

/// Read, check and export the journal.
#[derive(Debug, Subcommand)]
pub(crate) enum AuditCommand {
    /// Print the last entries of the journal, one a line.
    Tail(tail::TailArgs),
    /// Find entries: what was denied, which call of which module, when.
    Search(search::SearchArgs),
    /// Check that the journal is whole and unchanged.
    ///
    /// Every frame is compared with its digest and its neighbours, and every seal with the key. Exit codes: 0 all that was asked for holds, 6 an
    /// unfinished end, 7 tampered with, 8 unreadable, 10 whole and sealed but not anchored though that was asked for, 11 not sealed though that was.
    Verify(verify::VerifyArgs),
    /// Print the journal's last checkpoint: keep it elsewhere, and `verify --anchors` shows whether anything before it was changed.
    Checkpoint(checkpoint::CheckpointArgs),
    /// Ask the running daemon for its journal's state: a signed note with your nonce in it, which nobody could have made before.
    Attest(attest::AttestArgs),
    /// Have the daemon erase names: paths and names of models that guests gave. Everything else stays, and stays proven.
    Erase(erase::EraseArgs),
    /// Count: calls produced and recorded, bytes, waits, what is sealed and anchored, module by module.
    Stats(stats::StatsArgs),
    /// Print one entry, and write the proof that it is in the journal.
    Show(show::ShowArgs),
    /// Check such a proof, without the journal.
    VerifyProof(show::VerifyProofArgs),
    /// Write the journal in another form.
    Export(export::ExportArgs),
}

/// Where the journal is.
#[derive(Debug, Args)]
struct Place {
    /// The journal's folder.
    #[arg(long, default_value = "/var/lib/edgeguard/audit")]
    dir: PathBuf,
}

pub(crate) fn run(command: AuditCommand) -> ExitCode {
    match command {
        AuditCommand::Tail(args) => tail::run(&args),
        AuditCommand::Search(args) => search::run(&args),
        AuditCommand::Verify(args) => verify::run(&args),
        AuditCommand::Checkpoint(args) => checkpoint::run(&args),
        AuditCommand::Attest(args) => attest::run(&args),
        AuditCommand::Erase(args) => erase::run(&args),
        AuditCommand::Stats(args) => stats::run(&args),
        AuditCommand::Show(args) => show::run(&args),
        AuditCommand::VerifyProof(args) => show::verify(&args),
        AuditCommand::Export(args) => export::run(&args),
    }
}

/// Says why the journal cannot be read on, and which exit code that is.
fn unreadable(error: &ReadError) -> ExitCode {
    output::error(&chain(error));
    match error {
        ReadError::Io { .. } => ExitCode::Unreadable,
        _ => ExitCode::Tampered,
    }
}

/// An error and what caused it, on one line.
fn chain(error: &dyn std::error::Error) -> String {
    let mut message = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        message = format!("{message}: {error}");
        source = error.source();
    }
    message
}

/// Who writes the journal, by its first frame; empty if that is damaged.
fn origin(dir: &Path) -> Result<String, ReadError> {
    let mut reader = Reader::open(dir)?;
    let first = reader.next_frame().and_then(|frame| frame.map_or(Ok(()), |frame| reader.decode(&frame).map(drop)));
    match first {
        Err(error @ ReadError::Io { .. }) => Err(error),
        _ => Ok(reader.origin().to_owned()),
    }
}

/// How far something long is, on a terminal, in a line that is overwritten.
struct Progress {
    terminal: bool,
    shown: Instant,
    there: bool,
}

impl Progress {
    fn new() -> Self {
        Self { terminal: std::io::stderr().is_terminal(), shown: Instant::now(), there: false }
    }

    fn show(&mut self, words: impl FnOnce() -> String) {
        if self.terminal && self.shown.elapsed() > EVERY {
            output::say(&format!("\r{}", words()));
            (self.shown, self.there) = (Instant::now(), true);
        }
    }

    /// Takes the line away.
    fn end(self) {
        if self.there {
            output::say("\r\x1b[K");
        }
    }
}

const EVERY: Duration = Duration::from_millis(200);

/// Writes a line to standard output; says whether somebody still reads.
fn line(text: &str) -> bool {
    let mut out = std::io::stdout().lock();
    out.write_all(text.as_bytes()).and_then(|()| out.write_all(b"\n")).is_ok()
}
