//! `policy learn`: the narrowest policy that covers what a module did, out of the journal.
//!
//! Runs in: command line, with the rights of whoever calls it.
//! Does not: need the daemon, or believe a journal that it has not verified. Writes nothing unless told to.

mod runs;
mod uses;

use std::path::Path;
use std::path::PathBuf;

use clap::Args;
use edgeguard_audit::Assurance;
use edgeguard_audit::Trust;
use edgeguard_audit::Verdict;
use edgeguard_audit::Verification;
use edgeguard_audit::VerifierKey;
use edgeguard_audit::parse_since;
use edgeguard_audit::proof;
use edgeguard_audit::rfc3339;
use edgeguard_policy::Diagnostics;
use edgeguard_policy::MAX_TEXT;
use edgeguard_policy::Policy;
use edgeguard_policy::Source;
use edgeguard_policy::format::FormatError;
use edgeguard_policy::learn::LearnError;

use super::files;
use super::rewrite::rewrite;
use super::shelf::ProfilesArg;
use crate::ExitCode;
use crate::files::chain;
use crate::output;

/// Arguments of `policy learn`.
#[derive(Debug, Args)]
#[command(after_long_help = AFTER)]
pub(crate) struct LearnArgs {
    /// The module, by its name in the policy.
    #[arg(long, value_name = "NAME")]
    module: String,

    /// The policy that was in force, to the byte; default: /etc/edgeguard/policy.d/NAME.toml.
    #[arg(long, value_name = "FILE")]
    policy: Option<PathBuf>,

    /// The journal's folder.
    #[arg(long, default_value = "/var/lib/edgeguard/audit")]
    dir: PathBuf,

    /// Only runs that began since then: `2026-11-22T16:00:00Z`, or `2h` ago.
    #[arg(long, value_name = "TIME", value_parser = parse_since)]
    from: Option<u64>,

    /// Only runs that ended before then.
    #[arg(long, value_name = "TIME", value_parser = parse_since)]
    to: Option<u64>,

    /// The journal must be sealed with this key, as `audit checkpoint --key` prints it, or with the one in this file.
    #[arg(long, value_name = "KEY|FILE", value_parser = key)]
    key: Option<VerifierKey>,

    #[command(flatten)]
    profiles: ProfilesArg,

    /// Change this policy instead of the one that was in force; its comments and its layout stay.
    #[arg(long, value_name = "FILE")]
    merge: Option<PathBuf>,

    /// Write the result into the file of `--merge` instead of to standard output.
    #[arg(long, requires = "merge")]
    write: bool,
}

const AFTER: &str = "\
The journal is verified first, and a range in which anything is missing is refused. Each grant carries its evidence as a comment: in how many runs it was used, when first and last, and the record that shows it. \
Grants that no run used become comments. What was refused stands at the end, as comments; whether to grant it is yours to say. \
Limits stay as they are: the journal does not say how much memory was used.

A record does not say with which flags a file was opened. Where a writable directory may have been written by an open alone, it stays writable, and the comment says so. So: learn, then `policy check`, then run the module under what was learned before you rely on it.

Exit code 0: done. 2: nothing to learn from, a policy with mistakes, or one that was not in force. 6, 7, 8: the journal has a gap in that range, was tampered with, or cannot be read. 11: it is not sealed with the key.

Examples:
  edgeguard policy learn --module voice-gate --from 7days > voice-gate.learned.toml
  edgeguard policy learn --module voice-gate --from 7days --merge voice-gate.toml --write
  edgeguard policy check voice-gate.toml --module voice-gate.wasm";

/// A key as an argument: itself, or a file that holds it.
fn key(text: &str) -> Result<VerifierKey, String> {
    if let Ok(key) = text.parse() {
        return Ok(key);
    }
    let bytes = crate::files::read(Path::new(text), 64 << 10).map_err(|error| chain(&error))?;
    let file = String::from_utf8(bytes).map_err(|_| format!("`{text}` is not text"))?;
    let line = file.lines().find(|line| !line.trim().is_empty()).unwrap_or_default();
    line.trim().parse().map_err(|error| format!("`{text}` {error}"))
}

pub(crate) fn run(args: &LearnArgs) -> ExitCode {
    match learn(args) {
        Ok(text) => deliver(args, &text),
        Err(code) => code,
    }
}

fn deliver(args: &LearnArgs, text: &str) -> ExitCode {
    let Some(path) = args.merge.as_deref().filter(|_| args.write) else {
        output::data(text);
        return ExitCode::Ok;
    };
    match rewrite(path, text.as_bytes()) {
        Ok(()) => {
            output::data(&format!("{}: learned\n", edgeguard_policy::escape(&path.display().to_string())));
            ExitCode::Ok
        }
        Err(error) => fail(&chain(&error), ExitCode::Usage),
    }
}

fn learn(args: &LearnArgs) -> Result<String, ExitCode> {
    let default = || Path::new("/etc/edgeguard/policy.d").join(format!("{}.toml", args.module));
    let named = args.policy.clone().unwrap_or_else(default);
    let (path, source) = text(&named)?;
    // With its profiles written out: what was in force is what is narrowed.
    let profiles = args.profiles.shelf().for_policy(&named, source.text().as_bytes());
    let policy = edgeguard_policy::parse_with(&path, source.text(), &profiles).map_err(|found| refused(&found))?;
    let in_force = if policy.profiles.is_empty() {
        source.text().to_owned()
    } else {
        edgeguard_policy::expand(&path, source.text().as_bytes(), &profiles).map_err(|found| refused(&found))?.text
    };
    if policy.name.as_str() != args.module {
        return Err(fail(&format!("`{path}` is the policy of `{}`, and `{}` was asked for", policy.name, args.module), ExitCode::Usage));
    }
    let (name, target) = match &args.merge {
        Some(path) => merged_into(args, path)?,
        None => (path.clone(), canonical(&path, &in_force)?),
    };

    let verified = verify(args)?;
    let (from, to) = (args.from.unwrap_or(0), args.to.unwrap_or(u64::MAX));
    let range = runs::Range { dir: &args.dir, frames: verified.frames, module: &args.module, from, to };
    let found = runs::read(&range).map_err(|gap| fail(&chain(&gap), gap_code(&gap)))?;
    under_this_policy(&found.runs, &policy, &path)?;
    let header = header(args, &verified, &policy, &found);
    let observed = uses::observe(&verified.origin, header, &policy, &found.runs);
    edgeguard_policy::learn::learn(&policy, &name, &target, &observed).map_err(|error| match error {
        LearnError::Text(found) => refused(&found),
        LearnError::NoRuns => fail(
            &format!("journal has no whole run of `{}` in that range; `edgeguard audit stats` says what it has", args.module),
            ExitCode::Usage,
        ),
        error => fail(&format!("`{name}`: {error}"), ExitCode::Usage),
    })
}

/// The text to change: one whose words are all its own.
fn merged_into(args: &LearnArgs, path: &Path) -> Result<(String, String), ExitCode> {
    let (name, source) = text(path)?;
    let profiles = args.profiles.shelf().for_policy(path, source.text().as_bytes());
    let policy = edgeguard_policy::parse_with(&name, source.text(), &profiles).map_err(|found| refused(&found))?;
    if policy.profiles.is_empty() {
        return Ok((name, source.text().to_owned()));
    }
    let message = format!(
        "`{name}` names profiles, and what these grant cannot be narrowed in it alone; learn without `--merge`, or merge into what `edgeguard policy expand {name}` prints"
    );
    Err(fail(&message, ExitCode::Usage))
}

fn canonical(path: &str, text: &str) -> Result<String, ExitCode> {
    edgeguard_policy::format::format(path, text).map_err(|error| match error {
        FormatError::Text(found) => refused(&found),
        error @ FormatError::Changed => fail(&format!("`{path}`: {error}"), ExitCode::Usage),
    })
}

/// A policy's text, with its name.
fn text(path: &Path) -> Result<(String, Source), ExitCode> {
    let name = path.display().to_string();
    let bytes = files::read(path, MAX_TEXT as u64).map_err(|diagnostic| refused(&diagnostic.into()))?;
    let source = Source::from_bytes(&name, &bytes).map_err(|found| refused(&found))?;
    Ok((name, source))
}

/// The journal, which must be whole.
fn verify(args: &LearnArgs) -> Result<Verification, ExitCode> {
    let trust = Trust { identity: args.key.clone(), contents: true, ..Trust::default() };
    let found = edgeguard_audit::verify_with(&args.dir, &trust, |_, _| {});
    let code = match &found.verdict {
        Verdict::Ok if args.key.is_some() && found.assurance == Assurance::Unsealed => ExitCode::Unsealed,
        Verdict::Ok => return Ok(found),
        Verdict::Incomplete { .. } => ExitCode::Incomplete,
        Verdict::Tampered { .. } => ExitCode::Tampered,
        Verdict::Unreadable { .. } => ExitCode::Unreadable,
    };
    let why = match &found.verdict {
        Verdict::Ok => "is not sealed",
        Verdict::Incomplete { .. } => "has an unfinished end",
        Verdict::Tampered { .. } => "was tampered with",
        Verdict::Unreadable { .. } => "cannot be read",
    };
    let dir = args.dir.display();
    Err(fail(&format!("journal in `{dir}` {why}, and nothing is learned from it; `edgeguard audit verify --dir {dir}` says more"), code))
}

fn gap_code(gap: &runs::Gap) -> ExitCode {
    match gap {
        runs::Gap::Read(_) => ExitCode::Unreadable,
        runs::Gap::TooMany => ExitCode::Usage,
        _ => ExitCode::Incomplete,
    }
}

/// The numbers in records mean grants of one text; those of another would be read as something else.
fn under_this_policy(runs: &[runs::Run], policy: &Policy, path: &str) -> Result<(), ExitCode> {
    let in_force = hex::encode(policy.digest);
    for run in runs {
        if let Some(call) = run.calls.iter().find(|call| call.policy != in_force) {
            let message = format!(
                "run of {} was under a policy with SHA-256 {}, and `{path}` is another text ({}); name the one that was in force with `--policy`, \
                 or take a range without that run, with `--from` and `--to`",
                rfc3339(run.began),
                call.policy,
                in_force
            );
            return Err(fail(&message, ExitCode::Usage));
        }
    }
    Ok(())
}

/// What the result rests on.
fn header(args: &LearnArgs, verified: &Verification, policy: &Policy, found: &runs::Runs) -> Vec<String> {
    let runs = &found.runs;
    let good = runs.iter().filter(|run| run.good).count();
    let span = |ns: Option<u64>| ns.map(rfc3339).unwrap_or_default();
    let first = span(runs.iter().map(|run| run.began).min());
    let last = span(runs.iter().map(|run| run.ended).max());
    let mut modules: Vec<String> = runs.iter().flat_map(|run| &run.calls).map(|call| call.module.clone()).collect();
    modules.sort_unstable();
    modules.dedup();
    let origin = edgeguard_policy::escape(&verified.origin);
    let mut lines = vec![
        format!("from {} runs of `{}`, {first} to {last}, {good} of which ended well", runs.len(), args.module),
        format!("under the policy with SHA-256 {}", hex::encode(policy.digest)),
    ];
    lines.extend(modules.iter().map(|module| format!("of the module with SHA-256 {module}")));
    if found.partly > 0 {
        lines.push(format!("{} more lie only partly in the range, or had not ended, and were left out", found.partly));
    }
    lines.push(match proof::latest(&args.dir) {
        Ok(Some((checkpoint, _))) if verified.assurance != Assurance::Unsealed => {
            use base64::Engine as _;
            let root = base64::engine::general_purpose::STANDARD.encode(checkpoint.root);
            format!(
                "journal `{origin}`, whole; checkpoint of {} frames, root {root}, of {} frames looked at",
                checkpoint.size, verified.frames
            )
        }
        _ => format!("journal `{origin}`, whole, NOT SEALED; {} frames, last leaf {}", verified.frames, verified.head),
    });
    let kept_otherwise = |run: &&runs::Run| run.calls.iter().any(|call| call.record.text_class().is_some());
    let without = runs.iter().filter(kept_otherwise).count();
    if without > 0 {
        lines.push(format!(
            "in {without} of them the journal does not keep what the module named as it wrote it (`[audit]`): what was used is known by its grant, \
             what was refused is not"
        ));
    }
    let longest = runs.iter().map(|run| run.took).max().unwrap_or(0);
    lines.push(format!(
        "limits are not learned; the longest run took {} ms, and at most {} ran at once",
        longest.div_ceil(1_000_000),
        at_once(runs)
    ));
    lines
}

/// The most runs at one time.
fn at_once(runs: &[runs::Run]) -> usize {
    let mut edges: Vec<(u64, i32)> = runs.iter().flat_map(|run| [(run.began, 1), (run.ended, -1)]).collect();
    edges.sort_unstable();
    let mut now: i32 = 0;
    let most = edges.iter().map(|(_, step)| {
        now += step;
        now
    });
    usize::try_from(most.max().unwrap_or(0)).unwrap_or(0)
}

fn refused(found: &Diagnostics) -> ExitCode {
    output::say(&found.render(output::colour()));
    ExitCode::Usage
}

fn fail(message: &str, code: ExitCode) -> ExitCode {
    output::error(message);
    code
}
