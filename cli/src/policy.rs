//! `edgeguard policy`: policies checked, compared, asked and put in form, before they reach a gateway.
//!
//! Runs in: command line.
//! Does not: need the daemon, or change anything.

mod can;
mod diff;
mod engines;
mod expand;
mod explain;
mod files;
mod fmt;
mod host;
mod inside;
mod learn;
mod new;
mod read;
mod rewrite;
mod schema;
pub(crate) mod shelf;

use std::path::Path;
use std::path::PathBuf;

use clap::Args;
use clap::Subcommand;
use clap::ValueEnum;
use edgeguard_policy::Code;
use edgeguard_policy::Diagnostic;
use edgeguard_policy::Diagnostics;
use edgeguard_policy::Policy;
use edgeguard_policy::imports;
use serde_json::json;

use self::shelf::ProfilesArg;
use self::shelf::Shelf;
use crate::ExitCode;
use crate::output;

/// Check policy files, compare them, and ask them.
#[derive(Debug, Subcommand)]
pub(crate) enum PolicyCommand {
    /// Ask whether a module may read or write a path or use a graph, and hear the rule that decides.
    Can(can::CanArgs),
    /// Report every mistake in policy files, with its place, its code and what to do.
    Check(CheckArgs),
    /// Say what a change of policies allows and no longer allows: powers, not lines.
    Diff(diff::DiffArgs),
    /// Print a policy with its profiles written out, as the daemon reads it.
    Expand(expand::ExpandArgs),
    /// Say what a policy lets its module do, the kernel rule that each grant becomes, and what it could reach at worst.
    Explain(explain::ExplainArgs),
    /// Put policy files into their canonical form.
    Fmt(fmt::FmtArgs),
    /// Narrow a policy to what its module really did, out of the journal, with the evidence for each grant.
    Learn(learn::LearnArgs),
    /// Begin a policy: from a module's imports and a few answers, the narrowest that it can start with.
    New(new::NewArgs),
    /// Print the format as a JSON Schema, for editors.
    Schema(schema::SchemaArgs),
}

/// Arguments of `policy check`.
#[derive(Debug, Args)]
#[command(after_long_help = AFTER)]
pub(crate) struct CheckArgs {
    /// Policy files, or directories of them (*.toml, not deeper). What lies in the directory of profiles is judged as a profile.
    #[arg(required = true, value_name = "FILE|DIR")]
    paths: Vec<PathBuf>,

    /// Read this module's imports too: which grant is missing, and which is not used. Among several policies, for the one whose `path` ends with this file's name.
    #[arg(long, value_name = "FILE")]
    module: Option<PathBuf>,

    /// Look at this host too: that each path exists and is of the right kind and mode, that models have the digests named, that no path goes through a symbolic link, that nobody else may write there, what in a granted directory lies elsewhere, that signers are within their window.
    #[arg(long)]
    host: bool,

    /// The host's own file, for `--host`; where it is absent, its defaults count.
    #[arg(long, value_name = "FILE", default_value = "/etc/edgeguard/edgeguard.toml", requires = "host")]
    config: PathBuf,

    #[command(flatten)]
    profiles: ProfilesArg,

    /// `human`: diagnostics on standard error, a line for each file on standard output. `json`, `sarif` (2.1.0) and `github` (workflow commands): everything on standard output.
    #[arg(long, value_enum, default_value = "human")]
    format: Format,
}

const AFTER: &str = "\
Exit code 0: no errors (there may be warnings). 2: errors, or a file that cannot be read.

Examples:
  edgeguard policy check voice-gate.toml                            the text alone
  edgeguard policy check policy.d                                   and against each other
  edgeguard policy check voice-gate.toml --module voice-gate.wasm   and what the module asks for
  edgeguard policy check /etc/edgeguard/policy.d --host             and what this host has
  edgeguard policy check policy.d --format json                     for machines
  edgeguard policy check policy.d --format github                   annotations in a pull request
  edgeguard policy check policy.d --format sarif > check.sarif      for code scanning
  edgeguard explain EG014                                           what a code means";

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    Human,
    Json,
    Sarif,
    Github,
}

pub(crate) fn run(command: &PolicyCommand) -> ExitCode {
    match command {
        PolicyCommand::Can(args) => can::run(args),
        PolicyCommand::Check(args) => run_check(args),
        PolicyCommand::Diff(args) => diff::run(args),
        PolicyCommand::Expand(args) => expand::run(args),
        PolicyCommand::Explain(args) => explain::run(args),
        PolicyCommand::Fmt(args) => fmt::run(args),
        PolicyCommand::Learn(args) => learn::run(args),
        PolicyCommand::New(args) => new::run(args),
        PolicyCommand::Schema(args) => schema::run(args),
    }
}

fn run_check(args: &CheckArgs) -> ExitCode {
    let report = check(args);
    match args.format {
        Format::Human => report.print_human(),
        Format::Json => report.print_json(),
        Format::Sarif => output::data(&format!("{:#}\n", edgeguard_policy::report::sarif(report.all(), env!("CARGO_PKG_VERSION")))),
        Format::Github => {
            output::data(&edgeguard_policy::report::github(report.all()));
            report.print_summary();
        }
    }
    if report.errors() == 0 { ExitCode::Ok } else { ExitCode::Usage }
}

/// What was found in one file.
struct Checked {
    file: String,
    policy: Option<Policy>,
    found: Diagnostics,
}

/// What was found in all files, and in them as a set.
#[derive(Default)]
struct Report {
    files: Vec<Checked>,
    general: Diagnostics,
}

fn check(args: &CheckArgs) -> Report {
    let mut report = Report::default();
    let shelf = args.profiles.shelf();
    for path in &args.paths {
        match files::policies(path) {
            Ok(list) => report.files.extend(list.into_iter().map(|(file, in_dir)| check_file(&file, in_dir, &shelf))),
            Err(diagnostic) => report.general.push(diagnostic),
        }
    }
    report.general.extend(edgeguard_policy::check_set(report.policies()));
    if let Some(module) = &args.module {
        check_module(module, &mut report);
    }
    if args.host {
        check_host(&args.config, &mut report);
    }
    report
}

fn check_file(path: &Path, in_dir: bool, shelf: &Shelf) -> Checked {
    let file = path.display().to_string();
    let parsed = files::read(path, edgeguard_policy::MAX_TEXT as u64).map_err(Diagnostics::from);
    if shelf.holds(path) {
        let found = parsed.map_or_else(|found| found, |bytes| edgeguard_policy::check_profile(&file, &bytes));
        return Checked { file, policy: None, found };
    }
    let parsed = parsed.and_then(|bytes| edgeguard_policy::parse_bytes_with(&file, &bytes, &shelf.for_policy(path, &bytes)));
    match parsed {
        Ok(policy) => {
            let mut found = policy.warnings.clone();
            if in_dir {
                found.extend(policy.check_file_name());
            }
            Checked { file, policy: Some(policy), found }
        }
        Err(found) => Checked { file, policy: None, found },
    }
}

fn check_module(path: &Path, report: &mut Report) {
    let name = path.display().to_string();
    let bytes = match files::read(path, edgeguard_attest::MAX_MODULE) {
        Ok(bytes) => bytes,
        Err(diagnostic) => return report.general.push(diagnostic),
    };
    let imports = match imports::read(&bytes) {
        Ok(imports) => imports,
        Err(why) => {
            let help = "give the `.wasm` file that the vendor delivered, unpacked";
            return report
                .general
                .push(Diagnostic::new(Code::NotWasm, format!("file is not a wasm module: it {why}")).in_file(&name).help(help));
        }
    };
    match report.policy_of(path) {
        // A policy with mistakes grants nothing yet; they come first.
        Ok(checked) => checked.found.extend(checked.policy.as_ref().map(|p| p.compare(&imports)).unwrap_or_default()),
        Err(count) => {
            let message = format!("module belongs to {count} of the policies, and one is expected");
            let help = "name the module's own policy file alone, or correct its `path`";
            report.general.push(Diagnostic::new(Code::WhichPolicy, message).in_file(&name).help(help));
        }
    }
}

fn check_host(config: &Path, report: &mut Report) {
    let host = match host::config(config) {
        Ok(host) => host,
        Err(found) => return report.general.extend(found),
    };
    report.general.extend(host::check_trust(&host));
    for checked in &mut report.files {
        if let Some(policy) = &checked.policy {
            checked.found.extend(host::check(policy, &host));
        }
        checked.found.extend(host::check_policy_file(Path::new(&checked.file)));
        for profile in checked.policy.iter().flat_map(Policy::profile_files) {
            checked.found.extend(host::check_policy_file(Path::new(profile)));
        }
    }
}

impl Report {
    fn policies(&self) -> impl Iterator<Item = &Policy> {
        self.files.iter().filter_map(|c| c.policy.as_ref())
    }

    /// The only policy, or the only one whose module is called like this file; otherwise how many are.
    fn policy_of(&mut self, module: &Path) -> Result<&mut Checked, usize> {
        if self.files.len() > 1 {
            let named = |c: &Checked| c.policy.as_ref().is_some_and(|p| p.path.file_name() == module.file_name());
            let mut indices = self.files.iter().enumerate().filter(|(_, c)| named(c)).map(|(i, _)| i);
            let (first, rest) = (indices.next(), indices.count());
            return first.filter(|_| rest == 0).and_then(|i| self.files.get_mut(i)).ok_or(first.map_or(0, |_| rest + 1));
        }
        self.files.first_mut().ok_or(0)
    }

    fn all(&self) -> impl Iterator<Item = &Diagnostics> {
        self.files.iter().map(|c| &c.found).chain(std::iter::once(&self.general))
    }

    fn errors(&self) -> usize {
        self.all().map(Diagnostics::errors).sum()
    }

    fn warnings(&self) -> usize {
        self.all().map(Diagnostics::warnings).sum()
    }

    fn print_human(&self) {
        let colour = output::colour();
        for found in self.all().filter(|d| !d.is_empty()) {
            output::say(&found.render(colour));
            output::say("\n");
        }
        let lines: Vec<String> = self.files.iter().map(Checked::line).collect();
        output::data(&lines.concat());
        self.print_summary();
        if self.errors() > 0 {
            let first = self.all().flat_map(Diagnostics::iter).find(|d| d.severity() == edgeguard_policy::Severity::Error);
            let hint = first.map(|d| format!("; `edgeguard explain {}` says more", d.code())).unwrap_or_default();
            output::say(&format!("{}{hint}\n", count(self.errors(), self.warnings())));
        }
    }

    /// Of more than one file, how many stand; nothing where all do.
    fn print_summary(&self) {
        let bad = self.files.iter().filter(|c| c.found.errors() > 0).count();
        if self.files.len() > 1 && bad > 0 {
            let good = self.files.len() - bad;
            output::say(&format!("{} files: {good} stand, {bad} with errors\n", self.files.len()));
        }
    }

    fn print_json(&self) {
        let files: Vec<_> = self.files.iter().map(Checked::json).collect();
        let diagnostics: Vec<_> = self.all().flat_map(Diagnostics::iter).map(Diagnostic::to_json).collect();
        let value = json!({ "files": files, "diagnostics": diagnostics, "errors": self.errors(), "warnings": self.warnings() });
        output::data(&format!("{value:#}\n"));
    }
}

impl Checked {
    fn line(&self) -> String {
        let verdict = if self.found.is_empty() { "ok".to_owned() } else { count(self.found.errors(), self.found.warnings()) };
        format!("{}: {verdict}\n", edgeguard_policy::escape(&self.file))
    }

    fn json(&self) -> serde_json::Value {
        let module = self.policy.as_ref().map(|p| p.name.as_str());
        let digest = self.policy.as_ref().map(|p| hex::encode(p.digest));
        json!({ "file": self.file, "module": module, "sha256": digest, "errors": self.found.errors(), "warnings": self.found.warnings() })
    }
}

fn count(errors: usize, warnings: usize) -> String {
    let some = |n: usize, what: &str| (n > 0).then(|| format!("{n} {what}{}", if n == 1 { "" } else { "s" }));
    [some(errors, "error"), some(warnings, "warning")].into_iter().flatten().collect::<Vec<_>>().join(", ")
}
