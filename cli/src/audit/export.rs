//! `audit export`: the journal for a SIEM.
//!
//! Runs in: command line.

use clap::Args;
use clap::ValueEnum;
use edgeguard_audit::Ocsf;
use edgeguard_audit::parse_since;
use edgeguard_audit::read::Content;
use edgeguard_audit::read::Item;
use edgeguard_audit::read::ReadError;
use edgeguard_audit::read::Reader;

use super::Place;
use super::line;
use super::unreadable;
use crate::ExitCode;

#[derive(Debug, Args)]
pub(crate) struct ExportArgs {
    #[command(flatten)]
    place: Place,
    /// The form.
    #[arg(long, value_enum, default_value_t = Format::Ocsf)]
    format: Format,
    /// Only what happened since then: `2026-11-22T16:00:00Z`, or `2h` ago.
    #[arg(long, value_name = "TIME", value_parser = parse_since)]
    since: Option<u64>,
    /// Only security events, not calls.
    #[arg(long)]
    events: bool,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Format {
    /// OCSF 1.8.0, one JSON object a line, at most 7 KiB each.
    Ocsf,
}

pub(crate) fn run(args: &ExportArgs) -> ExitCode {
    let Format::Ocsf = args.format;
    match export(args) {
        Ok(()) => ExitCode::Ok,
        Err(error) => unreadable(&error),
    }
}

fn export(args: &ExportArgs) -> Result<(), ReadError> {
    let mut reader = Reader::open(&args.place.dir)?;
    let since = args.since.unwrap_or(0);
    while let Some(frame) = reader.next_frame()? {
        let content = reader.decode(&frame)?;
        let ocsf = Ocsf { origin: reader.origin().to_owned(), boot_id: reader.boot_id().to_owned() };
        let going = match content {
            Content::Events(items) => items.iter().filter(|item| is_since(item, since)).all(|item| line(&ocsf.event(item))),
            Content::Calls(items) if !args.events => {
                let wanted = items.iter().filter(|item| is_since(item, since));
                wanted.filter_map(|item| ocsf.call(item)).all(|text| line(&text))
            }
            _ => true,
        };
        if !going {
            break;
        }
    }
    Ok(())
}

fn is_since<T>(item: &Item<T>, since: u64) -> bool {
    item.time_real >= since
}
