//! `audit attest`: what the running daemon says of its journal's state, signed, with a nonce that nobody could know before.
//!
//! Runs in: command line.
//! Does not: check the answer against the journal, which is `audit verify --attest` or `--live`.

use std::fs::File;
use std::io::Read as _;

use clap::Args;
use edgeguard_audit::Note;

use super::verify::Nonce;
use super::verify::nonce;
use crate::ExitCode;
use crate::control;
use crate::control::Socket;
use crate::output;

#[derive(Debug, Args)]
#[command(after_long_help = EXAMPLES)]
pub(crate) struct AttestArgs {
    /// The nonce, 16 to 64 bytes in hex; without it, 32 bytes at random, printed on standard error.
    #[arg(long, value_name = "HEX", value_parser = nonce)]
    nonce: Option<Nonce>,
    #[command(flatten)]
    socket: Socket,
}

const EXAMPLES: &str = "\
An auditor chooses a nonce, has the gateway answer it, and holds the journal, or a copy made afterwards, against the answer. Whoever
cut off the journal's end, or put back an older copy of the disk, cannot answer.

Examples:
  edgeguard audit attest > answer.note                    ask; the nonce is printed on standard error
  edgeguard audit verify --attest answer.note --nonce 5f… hold the journal against it
  edgeguard audit verify --live                           both at once, on the gateway itself";

pub(crate) fn run(args: &AttestArgs) -> ExitCode {
    let given = args.nonce.is_some();
    let Some(Nonce(nonce)) = args.nonce.clone().or_else(random) else { return ExitCode::Usage };
    match control::attest(&args.socket, &nonce) {
        Ok(answer) => {
            // A terminal is not shown what is no note.
            if let Err(code) = parse(&answer) {
                return code;
            }
            output::data(&answer);
            if !given {
                let nonce = hex::encode(nonce);
                output::say(&format!("nonce {nonce}\nto verify: edgeguard audit verify --attest FILE --nonce {nonce}\n"));
            }
            ExitCode::Ok
        }
        Err(code) => code,
    }
}

/// Asks the daemon with a nonce of this moment: its answer, and the nonce.
pub(super) fn ask(socket: &Socket) -> Result<(Note, Vec<u8>), ExitCode> {
    let Some(Nonce(nonce)) = random() else { return Err(ExitCode::Usage) };
    let answer = parse(&control::attest(socket, &nonce)?)?;
    Ok((answer, nonce))
}

fn parse(answer: &str) -> Result<Note, ExitCode> {
    Note::parse(answer).map_err(|error| {
        output::error(&format!("expected a signed note from the daemon; the answer {error}"));
        ExitCode::Usage
    })
}

fn random() -> Option<Nonce> {
    let mut nonce = vec![0; 32];
    match File::open("/dev/urandom").and_then(|mut file| file.read_exact(&mut nonce)) {
        Ok(()) => Some(Nonce(nonce)),
        Err(error) => {
            output::error(&format!("cannot make a nonce from `/dev/urandom`: {error}"));
            None
        }
    }
}
