//! `edgeguard-export`: the journal to a SIEM.
//!
//! Runs as: a service of its own; see [`edgeguard_export`] for what it may not do.

#![forbid(unsafe_code)]

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;

use edgeguard_export::config::Config;
use edgeguard_export::error::ExportError;
use edgeguard_export::error::chain;
use edgeguard_export::lock;
use edgeguard_export::status::Status;

const HELP: &str = "\
Hands the journal to a SIEM, entry by entry, until the receiver has said that it has it.

Usage: edgeguard-export [--config FILE] [--drain | --check | --status]

      --config FILE  the configuration [default: /etc/edgeguard/export.toml]
      --drain        end when every sink has acknowledged what the journal holds
      --check        read the configuration and say what is wrong with it
      --status       say how far each sink is
  -h, --help         this text
  -V, --version      the release

Exit codes: 0 ok, 1 a sink or the journal ended it, 2 usage or configuration, 4 this host cannot confine it, 7 the journal is not the one that was exported.
";

enum What {
    Run { drain: bool },
    Check,
    Status,
    Say(&'static str),
}

fn main() -> ExitCode {
    let (path, what) = match arguments(std::env::args_os().skip(1)) {
        Ok(found) => found,
        Err(error) => {
            eprintln!("error: {}\n\n{HELP}", edgeguard_audit::printable(error.to_string().as_bytes()));
            return ExitCode::from(USAGE);
        }
    };
    if let What::Say(text) = what {
        print!("{text}");
        return ExitCode::SUCCESS;
    }
    match Config::read(&path).map_err(ExportError::from).and_then(|config| act(&config, &what)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {}", chain(&error));
            ExitCode::from(match error {
                ExportError::Config(_) => USAGE,
                ExportError::Unconfinable(_) => UNCONFINABLE,
                ExportError::OtherJournal { .. } | ExportError::RolledBack { .. } => OTHER_JOURNAL,
                _ => 1,
            })
        }
    }
}

fn act(config: &Config, what: &What) -> Result<(), ExportError> {
    match what {
        What::Run { drain } => lock::run(config, *drain),
        What::Check => {
            println!("{} sinks", config.sinks.len());
            Ok(())
        }
        What::Status => {
            let failed = |source| ExportError::State { step: "read the status in", path: config.state.clone(), source };
            print!("{}", Status::read(&config.state).map_err(failed)?.words());
            Ok(())
        }
        What::Say(_) => Ok(()),
    }
}

fn arguments(words: impl IntoIterator<Item = OsString>) -> Result<(PathBuf, What), lexopt::Error> {
    use lexopt::prelude::*;
    let mut parser = lexopt::Parser::from_args(words);
    let mut path = PathBuf::from("/etc/edgeguard/export.toml");
    let mut what = What::Run { drain: false };
    while let Some(argument) = parser.next()? {
        match argument {
            Long("config") => path = parser.value()?.into(),
            Long("drain") => what = What::Run { drain: true },
            Long("check") => what = What::Check,
            Long("status") => what = What::Status,
            Short('h') | Long("help") => what = What::Say(HELP),
            Short('V') | Long("version") => what = What::Say(concat!("edgeguard-export ", env!("CARGO_PKG_VERSION"), "\n")),
            _ => return Err(argument.unexpected()),
        }
    }
    Ok((path, what))
}

const USAGE: u8 = 2;
const UNCONFINABLE: u8 = 4;
const OTHER_JOURNAL: u8 = 7;
