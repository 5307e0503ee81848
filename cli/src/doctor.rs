//! `doctor`: what this host can enforce, what it is needed for, and what to do about each gap; and which model engines it has.
//!
//! Runs in: command line.
//! Does not: change anything, or ask the daemon. What a running worker really got is in its journal record.

mod engines;
mod pin;

use std::fmt::Write as _;
use std::path::Path;
use std::path::PathBuf;

use clap::Args;
use edgeguard_policy::HostConfig;
use edgeguard_sandbox::host;
use edgeguard_sandbox::host::HostSupport;
use edgeguard_sandbox::host::Need;
use edgeguard_sandbox::host::State;

use crate::ExitCode;
use crate::output;

/// Arguments of `doctor`.
#[derive(Debug, Args)]
pub(crate) struct DoctorArgs {
    /// Write JSON.
    #[arg(long)]
    json: bool,

    /// The Landlock ABI that workers require, as `require.landlock` in `edgeguard.toml`.
    #[arg(long, value_name = "ABI", default_value_t = 3)]
    landlock: u32,

    /// The host's file, which says where the engines are; where there is none, its defaults.
    #[arg(long, value_name = "FILE", default_value = "/etc/edgeguard/edgeguard.toml")]
    config: PathBuf,

    /// Only print the section of the host's file that pins the engine's libraries at PATH, a folder or one of them, ready to paste. It says what lies there,
    /// not whether it is to be trusted.
    #[arg(long, value_name = "PATH", conflicts_with_all = ["json", "landlock", "config"])]
    pin: Option<PathBuf>,
}

pub(crate) fn run(args: DoctorArgs) -> ExitCode {
    if let Some(place) = &args.pin {
        return match pin::section(place) {
            Ok(section) => {
                section.warnings.iter().for_each(|warning| output::say(&format!("warning: {}\n", edgeguard_policy::escape(warning))));
                output::data(&section.text);
                ExitCode::Ok
            }
            Err(error) => {
                output::error(&error);
                ExitCode::Usage
            }
        };
    }
    let support = host::probe(args.landlock);
    let config = match config(&args.config) {
        Ok(config) => config,
        Err(error) => {
            output::error(&error);
            return ExitCode::Usage;
        }
    };
    let engines = engines::probe(&config);
    if args.json {
        match serde_json::to_string_pretty(&Json { can_confine: support.can_confine(), rows: &support.rows, engines: &engines }) {
            Ok(text) => output::data(&format!("{text}\n")),
            Err(error) => {
                output::error(&format!("cannot write JSON: {error}"));
                return ExitCode::Usage;
            }
        }
    } else {
        output::data(&table(&support));
        output::data(&engine_table(&engines));
    }
    if support.can_confine() { ExitCode::Ok } else { ExitCode::Unconfinable }
}

#[derive(serde::Serialize)]
struct Json<'a> {
    can_confine: bool,
    rows: &'a [host::Row],
    engines: &'a [engines::Engine],
}

/// The host's file. A host without one has the defaults; one with a wrong one gets its mistakes.
fn config(path: &Path) -> Result<HostConfig, String> {
    match std::fs::read(path) {
        Ok(bytes) => edgeguard_policy::parse_host_bytes(&path.display().to_string(), &bytes).map_err(|found| found.to_string()),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(HostConfig::default()),
        Err(error) => Err(format!("cannot read `{}`: {error}", path.display())),
    }
}

/// One line for each engine, the advice under it. A missing engine stops nobody but the policies that name it.
fn engine_table(engines: &[engines::Engine]) -> String {
    let mut text = String::new();
    push(&mut text, "");
    push(&mut text, "engines");
    for engine in engines {
        let word = if engine.usable { "usable" } else { "missing" };
        push(&mut text, &format!("{word:<9} {:<12} {:<5} {:<4} {}", engine.name, engine.encoding, engine.targets.join(","), engine.found));
        if !engine.advice.is_empty() {
            push(&mut text, &format!("{:<9} {:<12} → {}", "", "", engine.advice));
        }
    }
    text
}

/// Aligned columns, the advice under its row, the verdict last.
fn table(support: &HostSupport) -> String {
    let width = |text: fn(&host::Row) -> &str| support.rows.iter().map(|row| text(row).chars().count()).max().unwrap_or(0);
    let (names, found) = (width(|row| row.name), width(|row| &row.found).min(FOUND_WIDTH));
    let mut text = String::new();
    for row in &support.rows {
        let line = format!("{:<9} {:<names$}  {:<found$}  {}", word(row), row.name, row.found, row.needed_for);
        push(&mut text, line.trim_end());
        if !row.advice.is_empty() {
            push(&mut text, &format!("{:<9} {:<names$}  → {}", "", "", row.advice));
        }
    }
    let verdict = if support.can_confine() {
        "workers start on this host; what is missing above is written into each worker's record"
    } else {
        "no worker starts on this host: something required is missing"
    };
    push(&mut text, "");
    push(&mut text, verdict);
    text
}

/// Longer findings push their row out instead of widening all others.
const FOUND_WIDTH: usize = 40;

fn word(row: &host::Row) -> &'static str {
    match (row.state, row.need) {
        (State::Enforced, _) => "enforced",
        (State::Partial, _) => "partial",
        (State::Missing, Need::Preferred) => "missing",
        (State::Missing, Need::Required) => "REQUIRED",
    }
}

fn push(text: &mut String, line: &str) {
    // Writing to a string cannot fail.
    let _ = writeln!(text, "{line}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_aligned_and_each_gap_has_its_advice() {
        let row = |name, need, state, advice: &str| host::Row {
            name,
            needed_for: "something",
            need,
            state,
            found: "found".into(),
            advice: advice.into(),
        };
        let support = HostSupport {
            rows: vec![
                row("a", Need::Required, State::Enforced, ""),
                row("long name", Need::Preferred, State::Missing, "install it"),
                row("b", Need::Required, State::Missing, "boot it"),
            ],
        };
        let expected = "\
enforced  a          found  something
missing   long name  found  something
                     → install it
REQUIRED  b          found  something
                     → boot it

no worker starts on this host: something required is missing
";
        assert_eq!(table(&support), expected);
    }

    #[test]
    fn host_that_cannot_confine_is_exit_code_four() {
        assert_eq!(
            run(DoctorArgs { json: true, landlock: u32::MAX, config: "/nonexistent/edgeguard.toml".into(), pin: None }),
            ExitCode::Unconfinable
        );
    }
}
