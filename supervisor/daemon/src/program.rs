//! The daemon's entry: flags, log, exit code.
//!
//! Runs in: daemon. Two programs call it: `edgeguardd`, and `edgeguardd-learning` for lab machines.

use std::io::IsTerminal as _;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::process::ExitCode;

use lexopt::ValueExt as _;
use tracing_subscriber::EnvFilter;

use crate::http::Sockets;
use crate::startup;
use crate::startup::Learning;
use crate::startup::StartupError;

const HELP: &str = "\
edgeguardd: the Edgeguard supervisor daemon

Usage: edgeguardd [--config FILE] [--accept-journal REASON]

Options:
  --config FILE  the host's file [default: /etc/edgeguard/edgeguard.toml; absent means defaults]
  --accept-journal REASON
                 go on with a journal that the TPM's counter calls old, as after a restored backup; the reason stands in the
                 journal, and the flag is for one start by hand: `audit.counter` in the host's file
  --version      print the version
  --help         print this

It reads policies from the host file's `policy-dir`, serves its control socket (`edgeguard status`, `edgeguard invoke`),
and writes its journal to `STATE-DIR/audit` (`edgeguard audit tail`). SIGHUP or `edgeguard reload` loads the policies anew.
The environment variable EDGEGUARD_LOG sets the log level (error, warn, info, debug).

Exit codes: 0 stopped when told to; 2 usage, or a host file that is not valid; 4 this host cannot confine; 1 anything else.
";

/// Reads the command line, runs until told to stop, and says how it went.
#[must_use]
pub fn main(learning: Learning) -> ExitCode {
    // First, while nothing else can have these numbers.
    let passed = edgeguard_sandbox::passed_by_the_service_manager();
    let Arguments { config, accepted } = match arguments() {
        Ok(Some(arguments)) => arguments,
        Ok(None) => return ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("edgeguardd: {error}\n\n{HELP}");
            return ExitCode::from(2);
        }
    };
    start_log();
    let passed = passed.map_err(|error| StartupError::Kernel("the sockets that the service manager passed", error));
    match passed.and_then(|passed| serve(load(&config)?, accepted.as_deref(), learning, passed)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!("{}", crate::chain(&error));
            ExitCode::from(match error {
                StartupError::Config(_) | StartupError::Learning | StartupError::LearningSigned => 2,
                StartupError::Root | StartupError::Compiler(_) => 4,
                _ => 1,
            })
        }
    }
}

struct Arguments {
    config: PathBuf,
    accepted: Option<String>,
}

fn arguments() -> Result<Option<Arguments>, lexopt::Error> {
    let mut config = PathBuf::from("/etc/edgeguard/edgeguard.toml");
    let mut accepted = None;
    let mut parser = lexopt::Parser::from_env();
    while let Some(argument) = parser.next()? {
        match argument {
            lexopt::Arg::Long("config") => config = parser.value()?.into(),
            lexopt::Arg::Long("accept-journal") => accepted = Some(parser.value()?.parse_with(reason)?),
            lexopt::Arg::Long("version") => {
                println!("edgeguardd {}", env!("CARGO_PKG_VERSION"));
                return Ok(None);
            }
            lexopt::Arg::Long("help") | lexopt::Arg::Short('h') => {
                print!("{HELP}");
                return Ok(None);
            }
            other => return Err(other.unexpected()),
        }
    }
    Ok(Some(Arguments { config, accepted }))
}

fn reason(text: &str) -> Result<String, &'static str> {
    if text.trim().is_empty() { Err("expected a reason") } else { Ok(text.to_owned()) }
}

/// Under systemd the journal has its own clock and no colours.
fn start_log() {
    let filter = EnvFilter::try_from_env("EDGEGUARD_LOG").unwrap_or_else(|_| EnvFilter::new("info"));
    let log = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).with_target(false);
    if std::env::var_os("JOURNAL_STREAM").is_some() {
        log.with_ansi(false).without_time().init();
    } else {
        log.with_ansi(std::io::stderr().is_terminal()).init();
    }
}

fn load(config: &std::path::Path) -> Result<edgeguard_policy::HostConfig, StartupError> {
    let name = config.display().to_string();
    let text = match std::fs::read_to_string(config) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound && config == std::path::Path::new("/etc/edgeguard/edgeguard.toml") => {
            String::new()
        }
        Err(source) => return Err(StartupError::Path { what: "the host's file", path: name, source }),
    };
    edgeguard_policy::parse_host(&name, &text).map_err(|mistakes| StartupError::Config(mistakes.to_string()))
}

/// One thread for everything but the journal: children die with the thread that made them, so it is the main one.
fn serve(host: edgeguard_policy::HostConfig, accepted: Option<&str>, learning: Learning, passed: Vec<OwnedFd>) -> Result<(), StartupError> {
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(|error| StartupError::Kernel("the runtime", error))?;
    runtime.block_on(startup::run(host, accepted, learning, Sockets::new(passed)))
}
