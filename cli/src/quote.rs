//! `quote verify`: what a remote host's TPM says that the host booted, held against what it should have.
//!
//! Runs in: command line, on the auditor's machine. Offline.
//! Does not: ask a TPM, or remember nonces. Whoever asks makes a new one for each question and takes one answer.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::PathBuf;

use clap::Args;
use clap::Subcommand;
use edgeguard_attest::KeyError;
use edgeguard_attest::Passed;
use edgeguard_attest::Rejection;
use edgeguard_attest::TrustedKey;
use edgeguard_attest::quote;
use edgeguard_attest::quote::Expected;
use edgeguard_attest::quote::ExpectedError;
use edgeguard_attest::quote::Pcrs;
use edgeguard_attest::quote::Quote;
use serde::Serialize;

use crate::ExitCode;
use crate::files;
use crate::files::FileError;
use crate::output;

/// Commands about quotes.
#[derive(Debug, Subcommand)]
pub(crate) enum QuoteCommand {
    /// Check a TPM's quote against its key, your nonce and the expected registers.
    Verify(VerifyArgs),
}

/// Arguments of `quote verify`.
#[derive(Debug, Args)]
#[command(after_long_help = AFTER)]
pub(crate) struct VerifyArgs {
    /// The host's attestation key, PEM, as `tpm2_createak -f pem -u` writes it; enrolled before, from a source that you trust.
    #[arg(long, value_name = "PUB")]
    ak: PathBuf,
    /// The nonce that you sent: 16 to 48 bytes in hex, random and new.
    #[arg(long, value_name = "HEX")]
    nonce: String,
    /// The quoted message, as `tpm2_quote -m` writes it.
    #[arg(long, value_name = "FILE")]
    message: PathBuf,
    /// Its signature, as `tpm2_quote -s` writes it.
    #[arg(long, value_name = "FILE")]
    signature: PathBuf,
    /// A register and its expected value, SHA-256 bank; repeat for each. Quoted must be exactly these.
    #[arg(long, value_name = "N=HEX", required = true)]
    pcr: Vec<String>,
    /// Write the answer as JSON.
    #[arg(long)]
    json: bool,
}

const AFTER: &str = "\
Exit code 0: the host is in the expected state. 3: refused, with the reason in the first line. 2: a file or an option is wrong.

Example:
  NONCE=$(openssl rand -hex 32)                                               on your machine
  tpm2_quote -c ak.ctx -l sha256:0,7 -q $NONCE -m q.msg -s q.sig -g sha256     on the host, with your nonce
  edgeguard quote verify --ak host.pub --nonce $NONCE --message q.msg --signature q.sig --pcr 0=HEX --pcr 7=HEX";

/// What keeps `quote verify` from doing its work. That a quote is refused is no failure of the command.
#[derive(Debug, thiserror::Error)]
enum Failed {
    #[error("cannot use the attestation key `{}`", .0.display())]
    Key(PathBuf, #[source] KeyError),
    #[error("expected `--nonce` in hex, found another character or an odd number of them")]
    Nonce,
    #[error("expected `--pcr` as a number from 0 to 23, `=`, and 64 hex digits; found `{0}`")]
    Pcr(String),
    #[error("register {0} is given twice; remove one `--pcr`")]
    PcrTwice(u8),
    #[error("cannot ask for such a quote")]
    Expected(#[from] ExpectedError),
    #[error("cannot write JSON")]
    Json(#[source] serde_json::Error),
    #[error(transparent)]
    File(#[from] FileError),
}

/// The outcome, as its JSON has it.
#[derive(Serialize)]
struct Report {
    verified: bool,
    passed: Vec<Passed>,
    quote: Option<Quote>,
    rejection: Option<Rejection>,
}

pub(crate) fn run(command: QuoteCommand) -> ExitCode {
    let QuoteCommand::Verify(args) = command;
    match answer(&args) {
        Ok((text, exit)) => {
            output::data(&text);
            exit
        }
        Err(failed) => {
            output::error(&files::chain(&failed));
            ExitCode::Usage
        }
    }
}

fn answer(args: &VerifyArgs) -> Result<(String, ExitCode), Failed> {
    let key = TrustedKey::read(&files::open(&args.ak)?).map_err(|source| Failed::Key(args.ak.clone(), source))?;
    let key = key.named(args.ak.display().to_string());
    let nonce = hex::decode(&args.nonce).map_err(|_| Failed::Nonce)?;
    let pcrs = pcrs(&args.pcr)?;
    let expected = Expected::new(&key, &nonce, &pcrs)?;
    let message = files::read(&args.message, quote::MAX_QUOTE)?;
    let signature = files::read(&args.signature, quote::MAX_QUOTE)?;
    let mut report = Report { verified: false, passed: Vec::new(), quote: None, rejection: None };
    match quote::verify(&message, &signature, &expected, &mut report.passed) {
        Ok(quote) => (report.verified, report.quote) = (true, Some(quote)),
        Err(rejection) => {
            output::error(&rejection.to_string());
            report.rejection = Some(rejection);
        }
    }
    let exit = if report.verified { ExitCode::Ok } else { ExitCode::Rejected };
    Ok((if args.json { json(&report)? } else { text(&report) }, exit))
}

fn pcrs(given: &[String]) -> Result<Pcrs, Failed> {
    let mut values = BTreeMap::new();
    for text in given {
        let wrong = || Failed::Pcr(text.clone());
        let (number, value) = text.split_once('=').ok_or_else(wrong)?;
        let number: u8 = number.parse().map_err(|_| wrong())?;
        let mut register = [0; 32];
        hex::decode_to_slice(value, &mut register).map_err(|_| wrong())?;
        if values.insert(number, register).is_some() {
            return Err(Failed::PcrTwice(number));
        }
    }
    Ok(Pcrs::new(values)?)
}

fn json(report: &Report) -> Result<String, Failed> {
    let mut text = serde_json::to_string_pretty(report).map_err(Failed::Json)?;
    text.push('\n');
    Ok(text)
}

fn text(report: &Report) -> String {
    let mut out = String::new();
    for Passed { check, expected, found } in &report.passed {
        let _ = writeln!(out, "  passed  {check:12} expected {expected}\n{:22} found {found}", "");
    }
    if let Some(Rejection { code, check, expected, found, .. }) = &report.rejection {
        let _ = writeln!(out, "  FAILED  {check:12} expected {expected}\n{:22} found {found}", "");
        let _ = writeln!(out, "rejected: `edgeguard explain {code}` says more");
    }
    if let Some(quote) = &report.quote {
        let safe = if quote.clock_safe { "" } else { ", a clock that may have been set back by a power cut" };
        let _ = writeln!(
            out,
            "verified: TPM reset {} times, resumed {}, powered for {} s{safe}",
            quote.reset_count,
            quote.restart_count,
            quote.clock_ms / 1000
        );
    }
    out
}
