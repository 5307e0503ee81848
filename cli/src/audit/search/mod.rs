//! `audit search`: the entries that an expression describes.
//!
//! Runs in: command line.
//! Does not: prove anything, nor show a denied call twice; it is a security event, and is found as one.

mod grammar;
mod matching;

use std::io::IsTerminal as _;
use std::time::Instant;

use clap::Args;
use edgeguard_audit::read::Content;
use edgeguard_audit::read::ReadError;
use edgeguard_audit::rfc3339;
use edgeguard_audit::scan::CallView;
use edgeguard_audit::scan::Wanted;
use edgeguard_audit::scan::Wants;
use edgeguard_audit::scan::scan;

use self::grammar::Expr;
use self::matching::Subject;
use self::matching::matches;
use super::Place;
use super::Progress;
use super::line;
use super::tail;
use super::unreadable;
use crate::ExitCode;
use crate::output;

#[derive(Debug, Args)]
#[command(after_long_help = after())]
pub(crate) struct SearchArgs {
    #[command(flatten)]
    place: Place,
    /// What is looked for. Quote it where the shell would read `<`, `>`, `(` or `*`.
    #[arg(required = true, value_name = "EXPRESSION")]
    expression: Vec<String>,
    /// One JSON object a line.
    #[arg(long)]
    json: bool,
    /// Print only how many there are.
    #[arg(long, conflicts_with = "json")]
    count: bool,
    /// Stop after so many.
    #[arg(short = 'n', long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    limit: Option<u64>,
}

fn after() -> String {
    format!("Terms are joined by `and`, which may be left out, `or` and `not`; brackets group them.\n\n{}\n{EXAMPLES}", grammar::words())
}

const EXAMPLES: &str = "\
Examples:
  edgeguard audit search deny and since=2h
  edgeguard audit search deny module=voice-gate call=path_open since=2026-11-22T08:00:00Z
  edgeguard audit search 'text=*.wav and took>5ms and not module=camera'
  edgeguard audit search '(kind=module-refused or kind=policy-refused) since=7days' --json
  edgeguard audit search nn module=voice-gate --count

A search reads, and proves nothing; `edgeguard audit verify` says whether what it reads is what was written.
Exit codes: 0 searched, found or not; 2 no such expression; 7 some of the journal is damaged and was left out; 8 unreadable.";

pub(crate) fn run(args: &SearchArgs) -> ExitCode {
    let text = args.expression.join(" ");
    let expr = match grammar::parse(&text) {
        Ok(expr) => expr,
        Err(error) => {
            output::say(&format!("error: {}\n\nhint: `edgeguard audit search --help` lists words and fields\n", error.shown(&text)));
            return ExitCode::Usage;
        }
    };
    search(args, &expr).unwrap_or_else(|error| unreadable(&error))
}

fn search(args: &SearchArgs, expr: &Expr) -> Result<ExitCode, ReadError> {
    let began = Instant::now();
    let (since, until) = matching::bounds(expr);
    let wants_call = |call: &CallView<'_>| {
        // It stands in the journal as an event too.
        if call.record.outcome == edgeguard_audit::Outcome::Denied { Some(false) } else { matches(expr, Subject::Call(call)) }
    };
    let calls = matches(expr, Subject::AnyCall) != Some(false);
    let wanted =
        Wanted { since, until, events: matches(expr, Subject::AnyEvent) != Some(false), call: calls.then_some(&wants_call as &Wants<'_>) };
    let origin = super::origin(&args.place.dir)?;
    let limit = args.limit.unwrap_or(u64::MAX);
    let mut found = 0u64;
    let mut gone = false;
    let mut progress = Progress::new();
    let terminal = std::io::stdout().is_terminal();
    let mut take = |text: &dyn Fn() -> String| {
        found += u64::from(found < limit);
        if !args.count && !gone {
            gone = !line(&text());
        }
        found < limit && !gone
    };
    let scanned = scan(
        &args.place.dir,
        &wanted,
        &mut |_, header, content| match content {
            None | Some(Content::Dictionary) => true,
            Some(Content::Calls(items)) => items.iter().all(|item| take(&|| tail::call(item, args.json))),
            Some(Content::Events(items)) => items.iter().all(|item| {
                let json = serde_json::to_value(&item.what).unwrap_or_default();
                let fits = matches(expr, Subject::Event(&item.what, &json, item.time_real)) == Some(true);
                !fits || take(&|| tail::event(item, args.json))
            }),
            Some(content) => match tail::own(&content, &origin) {
                Some(words) if matches(expr, Subject::Journal(header.t0_real)) == Some(true) => {
                    take(&|| tail::own_line(header, &words, args.json))
                }
                _ => true,
            },
        },
        // Where entries go to the terminal as well, they are what shows that it goes on.
        &mut |done| {
            if args.count || !terminal {
                progress.show(|| format!("searched {} of {} frames", done.frames, done.of));
            }
        },
    )?;
    progress.end();
    if args.count {
        output::data(&format!("{found}\n"));
    }
    if std::io::stderr().is_terminal() {
        let mb = scanned.bytes as f64 / 1e6;
        let since = if since > 0 { format!(" since {}", rfc3339(since)) } else { String::new() };
        let entries = if found == 1 { "entry" } else { "entries" };
        output::say(&format!("{found} {entries}{since}; read {mb:.1} MB in {:.2} s\n", began.elapsed().as_secs_f64()));
    }
    if scanned.damaged > 0 {
        output::say(&format!(
            "the journal is damaged at {} places, and what is behind them was left out; `edgeguard audit verify` says more\n",
            scanned.damaged
        ));
        return Ok(ExitCode::Tampered);
    }
    Ok(ExitCode::Ok)
}
