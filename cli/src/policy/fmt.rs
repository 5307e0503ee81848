//! `policy fmt`: policies in their canonical form.
//!
//! Runs in: command line, with the rights of whoever calls it.
//! Does not: write a file that cannot be read, that is in its form already, or whose meaning would change.

use std::io::Read as _;
use std::path::Path;
use std::path::PathBuf;

use clap::Args;
use edgeguard_policy::Diagnostic;
use edgeguard_policy::Diagnostics;
use edgeguard_policy::MAX_TEXT;
use edgeguard_policy::Source;
use edgeguard_policy::format::FormatError;
use edgeguard_policy::format::format;
use similar::TextDiff;

use super::files;
use super::rewrite::rewrite;
use crate::ExitCode;
use crate::output;

/// Arguments of `policy fmt`.
#[derive(Debug, Args)]
#[command(after_long_help = AFTER)]
pub(crate) struct FmtArgs {
    /// Policy files, or directories of them (*.toml, not deeper); `-` for standard input, which goes to standard output.
    #[arg(required = true, value_name = "FILE|DIR|-")]
    paths: Vec<PathBuf>,

    /// Write nothing; name the files that are not in canonical form.
    #[arg(long)]
    check: bool,

    /// Write nothing; print what would change, as a unified diff.
    #[arg(long)]
    diff: bool,
}

const AFTER: &str = "\
Sections and keys come in the order of the policy reference, comments stay where they belong, and what the file says does not change.

Exit code 0: done, or with `--check` and `--diff` nothing to do. 1: with `--check` and `--diff`, a file is not in canonical form. 2: a file that is not TOML, or cannot be read or written.

Examples:
  edgeguard policy fmt policy.d                       rewrite what needs it
  edgeguard policy fmt --check --diff policy.d        for a pull request
  edgeguard policy fmt - < voice-gate.toml            print it";

pub(crate) fn run(args: &FmtArgs) -> ExitCode {
    let mut ended = ExitCode::Ok;
    for path in &args.paths {
        let code = if path == Path::new("-") { stdin(args) } else { all(path, args) };
        ended = worse(ended, code);
    }
    ended
}

/// A mistake counts for more than a difference.
fn worse(a: ExitCode, b: ExitCode) -> ExitCode {
    match (a, b) {
        (ExitCode::Usage, _) | (_, ExitCode::Usage) => ExitCode::Usage,
        (ExitCode::Ok, other) | (other, _) => other,
    }
}

fn all(path: &Path, args: &FmtArgs) -> ExitCode {
    match files::policies(path) {
        Ok(list) => list.iter().map(|(file, _)| one(file, args)).fold(ExitCode::Ok, worse),
        Err(diagnostic) => refused(&diagnostic.into()),
    }
}

fn stdin(args: &FmtArgs) -> ExitCode {
    let mut bytes = Vec::new();
    // One byte more than is taken, so that too much is seen as such.
    if let Err(error) = std::io::stdin().lock().take(MAX_TEXT as u64 + 1).read_to_end(&mut bytes) {
        output::error(&format!("cannot read standard input: {error}"));
        return ExitCode::Usage;
    }
    match formatted("<stdin>", &bytes) {
        Ok((text, out)) if args.check || args.diff => judge("<stdin>", &text, &out, args),
        Ok((_, out)) => {
            output::data(&out);
            ExitCode::Ok
        }
        Err(code) => code,
    }
}

fn one(path: &Path, args: &FmtArgs) -> ExitCode {
    let name = path.display().to_string();
    let bytes = match files::read(path, MAX_TEXT as u64) {
        Ok(bytes) => bytes,
        Err(diagnostic) => return refused(&diagnostic.into()),
    };
    match formatted(&name, &bytes) {
        Ok((text, out)) if args.check || args.diff => judge(&name, &text, &out, args),
        Ok((text, out)) if text == out => ExitCode::Ok,
        Ok((_, out)) => match rewrite(path, out.as_bytes()) {
            Ok(()) => {
                output::data(&format!("{}: formatted\n", edgeguard_policy::escape(&name)));
                ExitCode::Ok
            }
            Err(error) => {
                output::error(&crate::files::chain(&error));
                ExitCode::Usage
            }
        },
        Err(code) => code,
    }
}

/// The text, and its canonical form.
fn formatted(name: &str, bytes: &[u8]) -> Result<(String, String), ExitCode> {
    let source = Source::from_bytes(name, bytes).map_err(|found| refused(&found))?;
    let text = source.text().to_owned();
    match format(name, &text) {
        Ok(out) => Ok((text, out)),
        Err(FormatError::Text(found)) => Err(refused(&found)),
        Err(error @ FormatError::Changed) => {
            output::error(&format!("`{name}`: {error}; nothing was written, and this is a defect worth a report"));
            Err(ExitCode::Usage)
        }
    }
}

/// Says whether a text is in its form, and what is not.
fn judge(name: &str, text: &str, out: &str, args: &FmtArgs) -> ExitCode {
    if text == out {
        return ExitCode::Ok;
    }
    let name = edgeguard_policy::escape(name);
    if args.diff {
        let diff = TextDiff::from_lines(text, out);
        let diff = diff.unified_diff().context_radius(3).header(&name, &format!("{name} (formatted)")).to_string();
        output::data(&diff.split_inclusive('\n').map(visible).collect::<String>());
    }
    if args.check {
        output::say(&format!("{name}: not in canonical form; `edgeguard policy fmt` puts it there\n"));
    }
    ExitCode::Refused
}

/// A line of a file for a terminal.
fn visible(line: &str) -> String {
    match line.strip_suffix('\n') {
        Some(line) => format!("{}\n", edgeguard_policy::escape(line)),
        None => edgeguard_policy::escape(line),
    }
}

fn refused(found: &Diagnostics) -> ExitCode {
    output::say(&found.render(output::colour()));
    let first = found.iter().next().map(Diagnostic::code);
    output::say(&first.map(|code| format!("\n`edgeguard explain {code}` says more\n")).unwrap_or_default());
    ExitCode::Usage
}
