//! `audit export`: the journal for a SIEM.
//!
//! Runs in: command line.
//! Does not: send anything. That is `edgeguard-export`, which also remembers how far it is.

use std::io::Write as _;

use clap::Args;
use clap::ValueEnum;
use edgeguard_audit::Ocsf;
use edgeguard_audit::encode::Encoded;
use edgeguard_audit::encode::Encoder;
use edgeguard_audit::encode::Form;
use edgeguard_audit::encode::OcsfVersion;
use edgeguard_audit::encode::export_json;
use edgeguard_audit::parse_since;
use edgeguard_audit::read::Content;
use edgeguard_audit::read::Frame;
use edgeguard_audit::read::Item;
use edgeguard_audit::read::ReadError;
use edgeguard_audit::read::Reader;
use rustix::fs::inotify;

use super::Place;
use super::line;
use super::unreadable;
use crate::ExitCode;
use crate::output;

#[derive(Debug, Args)]
pub(crate) struct ExportArgs {
    #[command(flatten)]
    place: Place,
    /// The form.
    #[arg(long, value_enum, default_value_t = Format::Ocsf, conflicts_with_all = ["ecs", "otlp"])]
    format: Format,
    /// The same as `--format ecs`.
    #[arg(long, conflicts_with = "otlp")]
    ecs: bool,
    /// The same as `--format otlp`.
    #[arg(long)]
    otlp: bool,
    /// For receivers that lag: `1.1`, `1.3`, `1.5` or `1.8`. What a version has no field for stands under `unmapped`.
    #[arg(long, value_name = "VERSION", default_value_t)]
    ocsf_version: OcsfVersion,
    /// Only what happened since then: `2026-11-22T16:00:00Z`, or `2h` ago.
    #[arg(long, value_name = "TIME", value_parser = parse_since)]
    since: Option<u64>,
    /// Only security events, not calls.
    #[arg(long)]
    events: bool,
    /// Go on with what is written from now on.
    #[arg(short, long)]
    follow: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    /// OCSF, one JSON object a line, at most 7 KiB each.
    Ocsf,
    /// Elastic Common Schema 9, one JSON object a line.
    Ecs,
    /// OpenTelemetry's JSON, one `LogsData` a line.
    Otlp,
}

impl ExportArgs {
    fn format(&self) -> Format {
        match (self.ecs, self.otlp) {
            (true, _) => Format::Ecs,
            (_, true) => Format::Otlp,
            _ => self.format,
        }
    }
}

pub(crate) fn run(args: &ExportArgs) -> ExitCode {
    if args.format() == Format::Ecs && args.ocsf_version != OcsfVersion::default() {
        output::error("`--ocsf-version` is for OCSF, and ECS was asked for");
        return ExitCode::Usage;
    }
    match export(args) {
        Ok(code) => code,
        Err(error) => unreadable(&error),
    }
}

fn export(args: &ExportArgs) -> Result<ExitCode, ReadError> {
    // The watch comes before the reading, so that nothing falls between them.
    let watch = if args.follow { watch(args) } else { None };
    if args.follow && watch.is_none() {
        return Ok(ExitCode::Unreadable);
    }
    let mut reader = Reader::open(&args.place.dir)?;
    loop {
        while let Some(frame) = reader.next_frame()? {
            if !entries(args, &mut reader, &frame)? {
                return Ok(ExitCode::Ok);
            }
        }
        let Some(watch) = &watch else { return Ok(ExitCode::Ok) };
        if std::io::stdout().flush().is_err() {
            return Ok(ExitCode::Ok);
        }
        // Every frame ends with its leaf; the bytes of the notice do not matter.
        if let Err(error) = rustix::io::retry_on_intr(|| rustix::io::read(watch, &mut [0u8; 4096])) {
            output::error(&format!("cannot watch the journal any longer: {error}"));
            return Ok(ExitCode::Unreadable);
        }
    }
}

fn watch(args: &ExportArgs) -> Option<rustix::fd::OwnedFd> {
    let open = || {
        let watch = inotify::init(inotify::CreateFlags::CLOEXEC)?;
        inotify::add_watch(&watch, args.place.dir.join("leaves"), inotify::WatchFlags::MODIFY)?;
        Ok::<_, rustix::io::Errno>(watch)
    };
    open().inspect_err(|error| output::error(&format!("cannot watch `{}`: {error}", args.place.dir.display()))).ok()
}

/// Writes what a frame holds; says whether somebody still reads.
fn entries(args: &ExportArgs, reader: &mut Reader, frame: &Frame) -> Result<bool, ReadError> {
    let content = reader.decode(frame)?;
    let form = if args.format() == Format::Ecs { Form::Ecs } else { Form::Ocsf(args.ocsf_version) };
    let origin = reader.origin();
    let encoder = Encoder::new(Ocsf { origin: origin.to_owned(), boot_id: reader.boot_id().to_owned() }, form);
    let since = args.since.unwrap_or(0);
    let write = |entry: Encoded| line(&if args.format() == Format::Otlp { export_json(origin, &entry) } else { entry.line });
    Ok(match content {
        Content::Events(items) => items.iter().filter(|item| is_since(item, since)).all(|item| write(encoder.event(item))),
        Content::Calls(items) if !args.events => {
            items.iter().filter(|item| is_since(item, since)).filter_map(|item| encoder.call(item)).all(write)
        }
        _ => true,
    })
}

fn is_since<T>(item: &Item<T>, since: u64) -> bool {
    item.time_real >= since
}
