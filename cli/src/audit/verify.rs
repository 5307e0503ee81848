//! `audit verify`: is the journal whole and unchanged?
//!
//! Runs in: command line.

use std::path::Path;
use std::path::PathBuf;

use clap::Args;
use clap::ValueEnum;
use edgeguard_attest::StampAuthority;
use edgeguard_audit::Assurance;
use edgeguard_audit::Note;
use edgeguard_audit::Trust;
use edgeguard_audit::Verdict;
use edgeguard_audit::Verification;
use edgeguard_audit::VerifierKey;
use edgeguard_audit::printable;
use edgeguard_audit::rfc3339;

use super::Place;
use super::Progress;
use super::attest;
use super::checkpoint;
use super::received;
use super::stamp;
use super::stamp::Stamped;
use super::tpm;
use crate::ExitCode;
use crate::control::Socket;
use crate::output;

#[derive(Debug, Args)]
#[command(after_long_help = EXAMPLES)]
pub(crate) struct VerifyArgs {
    #[command(flatten)]
    place: Place,
    /// The journal's identity key, as `audit checkpoint --key` prints it, or a file with it; kept elsewhere, of course.
    #[arg(long, value_name = "KEY|FILE", value_parser = checkpoint::key)]
    key: Option<VerifierKey>,
    /// Checkpoints of this journal that were kept elsewhere: what they are over cannot have changed since. Signed notes as `audit checkpoint` prints them,
    /// or a receiver's copy of what the exporter sent, line by line, with whatever else the receiver got; `-` for standard input.
    #[arg(long, value_name = "FILE")]
    anchors: Option<PathBuf>,
    /// A witness whose signature below a checkpoint counts (c2sp.org/tlog-cosignature); may be repeated. A checkpoint that too few of them have signed
    /// anchors nothing.
    #[arg(long, value_name = "KEY|FILE", value_parser = checkpoint::key)]
    witness: Vec<VerifierKey>,
    /// How many of the witnesses must have signed a checkpoint before it anchors anything [default: 1 where `--witness` is given].
    #[arg(long, value_name = "N", requires = "witness")]
    witnesses: Option<usize>,
    /// A timestamp authority (RFC 3161): a checkpoint of `--anchors` anchors only if one of these has stamped it. A file with its certificates in PEM,
    /// its own first, its root last; may be repeated.
    #[arg(long, value_name = "FILE", requires = "anchors", value_parser = stamp::authority)]
    tsa: Vec<StampAuthority>,
    /// What the running daemon answered when it was asked with a nonce.
    #[arg(long, value_name = "FILE", requires = "nonce")]
    attest: Option<PathBuf>,
    /// The nonce it was asked with, in hex.
    #[arg(long, value_name = "HEX", requires = "attest", value_parser = nonce)]
    nonce: Option<Nonce>,
    /// Ask the running daemon now, with a nonce of this moment, and hold the journal against its answer.
    #[arg(long, conflicts_with = "attest")]
    live: bool,
    #[command(flatten)]
    socket: Socket,
    /// Also ask this machine's TPM whether the journal is the newest: for journals with `audit.counter = "tpm"`. Another device: `--tpm=PATH`.
    #[arg(long, value_name = "PATH", num_args = 0..=1, require_equals = true, default_missing_value = edgeguard_attest::TPM_DEVICE)]
    tpm: Option<PathBuf>,
    /// Read every call too, also those that a seal covers.
    #[arg(long)]
    contents: bool,
    /// What the journal must be to pass. Without this: anchored where `--anchors`, `--attest` or `--live` is given, sealed where `--key` is.
    #[arg(long, value_enum)]
    require: Option<Require>,
    /// The result as one JSON object.
    #[arg(long)]
    json: bool,
}

const EXAMPLES: &str = "\
Examples:
  edgeguard audit verify                                            the files alone
  edgeguard audit verify --key gw-7.key --anchors gw-7.checkpoints  against what was kept elsewhere
  edgeguard audit verify --key gw-7.key --anchors received.jsonl    against what the SIEM received
  edgeguard audit verify --anchors gw-7.cosigned --witness a.key --witness b.key --witness c.key --witnesses 2
  edgeguard audit verify --anchors gw-7.anchor --tsa authority.pem  and what a timestamp authority saw
  edgeguard audit verify --tpm                                      and this machine's TPM: the disk was not set back
  edgeguard audit verify --live --key gw-7.key                      and against the running daemon: nothing is cut off its end

The verdict stands on the first line and in the exit code: 0 all that was asked for holds, 6 an unfinished end, 7 tampered with,
8 unreadable, 10 not anchored though that was asked for, 11 not sealed though that was asked for.";

#[derive(Debug, Clone)]
pub(super) struct Nonce(pub(super) Vec<u8>);

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Require {
    /// Whole, whoever made it.
    Whole,
    /// Signed with the journal's keys.
    Sealed,
    /// Known elsewhere.
    Anchored,
}

pub(crate) fn run(args: &VerifyArgs) -> ExitCode {
    let mut trust = match trust(args) {
        Ok(trust) => trust,
        Err(error) => {
            output::error(&error);
            return ExitCode::Usage;
        }
    };
    if args.live {
        // Before the journal is read: whatever the answer is over must be there then.
        trust.liveness = match attest::ask(&args.socket) {
            Ok(answer) => Some(answer),
            Err(code) => return code,
        };
    }
    let stamped = stamp::sort(&mut trust, &args.tsa);
    let mut progress = Progress::new();
    let found = edgeguard_audit::verify_with(&args.place.dir, &trust, |done, of| {
        progress.show(|| format!("checked {done} of {of} frames"));
    });
    progress.end();
    let counter = match args.tpm.as_deref().map(|device| tpm::ask(device, &args.place.dir)).transpose() {
        Ok(counter) => counter,
        Err(error) => {
            output::error(&error);
            return ExitCode::Usage;
        }
    };
    if args.json {
        let mut json = serde_json::to_value(&found).unwrap_or_default();
        if let Some(fields) = json.as_object_mut() {
            let stamps = good(&found, &stamped)
                .map(|stamp| serde_json::json!({ "frames": stamp.frames, "time": stamp.time.to_string(), "authority": stamp.authority }));
            fields.insert("stamps".to_owned(), stamps.collect());
            if let Some(counter) = &counter {
                fields.insert("counter".to_owned(), counter.to_json());
            }
        }
        output::data(&format!("{json}\n"));
    } else {
        output::data(&words(&found, &stamped, args.key.is_some()));
        if let Some(counter) = &counter {
            output::data(&format!("counter  {}\n", counter.words()));
        }
    }
    match found.verdict {
        Verdict::Ok if counter.as_ref().is_some_and(|counter| !counter.is_newest()) => ExitCode::Tampered,
        Verdict::Ok => code(found.assurance, required(args)),
        Verdict::Incomplete { .. } => ExitCode::Incomplete,
        Verdict::Tampered { .. } => ExitCode::Tampered,
        Verdict::Unreadable { .. } => ExitCode::Unreadable,
    }
}

/// What is known of the journal from elsewhere.
fn trust(args: &VerifyArgs) -> Result<Trust, String> {
    let anchors =
        args.anchors.as_deref().map(|path| received::anchors(path, &args.place.dir, args.key.as_ref())).transpose()?.unwrap_or_default();
    let answer = args.attest.as_deref().map(answer).transpose()?;
    let liveness = answer.zip(args.nonce.clone().map(|Nonce(nonce)| nonce));
    let threshold = args.witnesses.unwrap_or(usize::from(!args.witness.is_empty()));
    let mut keys: Vec<&[u8; 32]> = args.witness.iter().map(VerifierKey::public).collect();
    keys.sort_unstable();
    keys.dedup();
    if args.witnesses == Some(0) || threshold > keys.len() {
        return Err(format!(
            "`--witnesses {threshold}`: expected 1 to {}, as so many different keys are given with `--witness`",
            keys.len()
        ));
    }
    Ok(Trust {
        identity: args.key.clone(),
        anchors,
        doubted: Vec::new(),
        witnesses: args.witness.clone(),
        threshold,
        liveness,
        contents: args.contents,
    })
}

fn answer(path: &Path) -> Result<Note, String> {
    Note::parse(&checkpoint::read(path)?).map_err(|error| format!("`{}` {error}", path.display()))
}

pub(super) fn nonce(text: &str) -> Result<Nonce, String> {
    let bytes = hex::decode(text).map_err(|_| "expected hexadecimal digits")?;
    if edgeguard_audit::NONCE_LEN.contains(&bytes.len()) { Ok(Nonce(bytes)) } else { Err("expected 16 to 64 bytes in hex".into()) }
}

fn required(args: &VerifyArgs) -> Require {
    let known = args.anchors.is_some() || args.attest.is_some() || args.live;
    args.require.unwrap_or(match (known, args.key.is_some()) {
        (true, _) => Require::Anchored,
        (false, true) => Require::Sealed,
        (false, false) => Require::Whole,
    })
}

fn code(found: Assurance, required: Require) -> ExitCode {
    match (found, required) {
        (_, Require::Whole) | (Assurance::Anchored, _) | (Assurance::Unanchored, Require::Sealed) => ExitCode::Ok,
        (Assurance::Unanchored, Require::Anchored) => ExitCode::Unanchored,
        (Assurance::Unsealed, Require::Sealed | Require::Anchored) => ExitCode::Unsealed,
    }
}

/// The stamps of checkpoints that were held against the journal and are of its history.
fn good<'a>(found: &'a Verification, stamped: &'a [Stamped]) -> impl Iterator<Item = &'a Stamped> {
    stamped.iter().filter(|stamp| stamp.frames <= found.anchored && found.verdict == Verdict::Ok)
}

fn words(found: &Verification, stamped: &[Stamped], key_given: bool) -> String {
    let verdict = match &found.verdict {
        Verdict::Ok => match found.assurance {
            Assurance::Anchored => "ok: every frame is there, in its order, as it was written and sealed, and anchored",
            Assurance::Unanchored => {
                "ok-unanchored: every frame is there, in its order, as it was written and sealed; nobody else was asked"
            }
            Assurance::Unsealed => "ok-unsealed: every frame is there, in its order, and fits its digest; nothing is signed",
        }
        .to_owned(),
        Verdict::Incomplete { why } => {
            format!("incomplete: {}; the next start of the daemon cuts this off and says so", printable(why.as_bytes()))
        }
        Verdict::Tampered { place, why, from, to } => {
            let place = printable(place.as_bytes());
            format!(
                "TAMPERED: {place}: {}\nframes {from} to {} are not proven because of it",
                printable(why.as_bytes()),
                to.saturating_sub(1)
            )
        }
        Verdict::Unreadable { why } => format!("unreadable: {}", printable(why.as_bytes())),
    };
    let mut text = format!("{verdict}\n");
    if found.frames == 0 {
        return text;
    }
    let live = if found.live { ", being written now" } else { "" };
    let upto = if found.verdict == Verdict::Ok { "" } else { " (counted up to there)" };
    let retired = if found.retired == 0 { String::new() } else { format!(", {} of them deleted in order", found.retired) };
    let erased = if found.erased == 0 { String::new() } else { format!(", {} names in them erased in order", found.erased) };
    let own = if key_given { "" } else { " (as the journal names it; `--key` makes sure)" };
    let range = |from: u64, to: u64| if from >= to { "none".to_owned() } else { format!("frames {from} to {}", to - 1) };
    let mut rows = vec![
        ("origin", format!("{}{live}", printable(found.origin.as_bytes()))),
        ("frames", format!("{} in {} bytes{retired}{erased}{upto}", found.frames, found.bytes)),
    ];
    if !found.identity.is_empty() {
        rows.extend([
            ("key", format!("{}{own}, epoch {}", printable(found.identity.as_bytes()), found.epoch)),
            ("anchored", range(0, found.anchored)),
            ("sealed", range(found.anchored, found.sealed)),
            ("open", range(found.sealed, found.frames)),
        ]);
    }
    rows.extend([
        ("events", format!("{}, {} of them denials", found.events, found.denials)),
        ("calls", found.records.to_string()),
        (
            "opened",
            format!(
                "{} times, {} of them not after an orderly close, {} frames cut off then",
                found.opens, found.unclean_opens, found.frames_cut
            ),
        ),
        ("from", rfc3339(found.first_time)),
        ("to", rfc3339(found.last_time)),
        ("head", found.head.clone()),
    ]);
    for anchor in &found.anchors {
        for (witness, time) in &anchor.witnesses {
            let time = rfc3339(time.saturating_mul(1_000_000_000));
            rows.push(("witness", format!("`{}` signed the first {} frames at {time}", printable(witness.as_bytes()), anchor.frames)));
        }
    }
    for stamp in good(found, stamped) {
        rows.push(("stamp", format!("the first {} frames existed at {}, by sha256:{}", stamp.frames, stamp.time, stamp.authority)));
    }
    for (name, value) in rows {
        text.push_str(&format!("{name:8} {value}\n"));
    }
    text
}
