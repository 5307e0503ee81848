//! `doctor`: what this host can enforce, what it is needed for, and what to do about each gap.
//!
//! Runs in: command line.
//! Does not: change anything, or ask the daemon. What a running worker really got is in its journal record.

use std::fmt::Write as _;

use clap::Args;
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
}

pub(crate) fn run(args: DoctorArgs) -> ExitCode {
    let support = host::probe(args.landlock);
    if args.json {
        match serde_json::to_string_pretty(&Json { can_confine: support.can_confine(), rows: &support.rows }) {
            Ok(text) => output::data(&format!("{text}\n")),
            Err(error) => {
                output::error(&format!("cannot write JSON: {error}"));
                return ExitCode::Usage;
            }
        }
    } else {
        output::data(&table(&support));
    }
    if support.can_confine() { ExitCode::Ok } else { ExitCode::Unconfinable }
}

#[derive(serde::Serialize)]
struct Json<'a> {
    can_confine: bool,
    rows: &'a [host::Row],
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
        assert_eq!(run(DoctorArgs { json: true, landlock: u32::MAX }), ExitCode::Unconfinable);
    }
}
