//! `audit tail`: the last entries, and on request those that follow.
//!
//! Runs in: command line.
//! Does not: show a denied call twice; it is a security event, and is shown as one.

use std::collections::VecDeque;
use std::io::Write as _;
use std::path::Path;

use clap::Args;
use edgeguard_audit::Event;
use edgeguard_audit::Outcome;
use edgeguard_audit::Tier;
use edgeguard_audit::describe;
use edgeguard_audit::frame::Header;
use edgeguard_audit::printable;
use edgeguard_audit::read::Call;
use edgeguard_audit::read::Content;
use edgeguard_audit::read::Frame;
use edgeguard_audit::read::Item;
use edgeguard_audit::read::ReadError;
use edgeguard_audit::read::Reader;
use edgeguard_audit::rfc3339;
use rustix::fs::inotify;
use serde_json::json;

use super::Place;
use super::line;
use super::unreadable;
use crate::ExitCode;
use crate::output;

#[derive(Debug, Args)]
pub(crate) struct TailArgs {
    #[command(flatten)]
    place: Place,
    /// How many entries.
    #[arg(short = 'n', long = "lines", default_value_t = 20, value_name = "N")]
    lines: usize,
    /// Go on with what is written from now on.
    #[arg(short, long)]
    follow: bool,
    /// One JSON object a line.
    #[arg(long)]
    json: bool,
    /// Only what was denied or refused.
    #[arg(long)]
    deny: bool,
    /// Only security events, not calls.
    #[arg(long)]
    events: bool,
    /// Only what is about this module.
    #[arg(long, value_name = "NAME")]
    module: Option<String>,
    /// Only what this worker did: its id, or the beginning of it.
    #[arg(long, value_name = "ID")]
    instance: Option<String>,
}

pub(crate) fn run(args: &TailArgs) -> ExitCode {
    match tail(args) {
        Ok(code) => code,
        Err(error) => unreadable(&error),
    }
}

fn tail(args: &TailArgs) -> Result<ExitCode, ReadError> {
    // The watch comes before the reading, so that nothing falls between them.
    let watch = if args.follow {
        match watch(&args.place.dir) {
            Ok(watch) => Some(watch),
            Err(error) => {
                output::error(&format!("cannot watch `{}`: {error}", args.place.dir.display()));
                return Ok(ExitCode::Unreadable);
            }
        }
    } else {
        None
    };
    let (mut reader, last, mut code) = last(args)?;
    if !last.iter().all(|text| line(text)) {
        return Ok(ExitCode::Ok);
    }
    let Some(watch) = watch else { return Ok(code) };
    loop {
        let mut gone = false;
        let now = entries(&mut reader, args, u64::MAX, &mut |text| gone |= !line(&text))?;
        code = if now == ExitCode::Ok { code } else { now };
        if gone || std::io::stdout().flush().is_err() {
            return Ok(code);
        }
        // Every frame ends with its leaf; the bytes of the notice do not matter.
        if let Err(error) = rustix::io::retry_on_intr(|| rustix::io::read(&watch, &mut [0u8; 4096])) {
            output::error(&format!("cannot watch the journal any longer: {error}"));
            return Ok(ExitCode::Unreadable);
        }
    }
}

fn watch(dir: &Path) -> rustix::io::Result<rustix::fd::OwnedFd> {
    let watch = inotify::init(inotify::CreateFlags::CLOEXEC)?;
    inotify::add_watch(&watch, dir.join("leaves"), inotify::WatchFlags::MODIFY)?;
    Ok(watch)
}

/// The last entries that are wanted: from a few frames before the end, then from ever farther back.
fn last(args: &TailArgs) -> Result<(Reader, VecDeque<String>, ExitCode), ReadError> {
    let frames = Reader::open(&args.place.dir)?.frames()?;
    let mut back = (args.lines as u64).max(64);
    loop {
        let from = frames.saturating_sub(back);
        let mut reader = Reader::open_at(&args.place.dir, from)?;
        let mut last = VecDeque::new();
        // To the end as it was: a journal may be written faster than it is read.
        let code = entries(&mut reader, args, frames, &mut |text| {
            last.push_back(text);
            if last.len() > args.lines {
                last.pop_front();
            }
        })?;
        if last.len() >= args.lines || from == 0 {
            if code != ExitCode::Ok {
                output::say("some frames are damaged and are left out; `edgeguard audit verify` says more\n");
            }
            return Ok((reader, last, code));
        }
        back = back.saturating_mul(4);
    }
}

/// Hands over every wanted entry from here to the end, or to the frame `until`; goes on behind damage.
fn entries(reader: &mut Reader, args: &TailArgs, until: u64, take: &mut impl FnMut(String)) -> Result<ExitCode, ReadError> {
    let mut code = ExitCode::Ok;
    loop {
        let result = reader.next_frame().and_then(|frame| match frame {
            Some(frame) => {
                let more = frame.header.frame_no.saturating_add(1) < until;
                entry(reader, &frame, args, take).map(|()| more)
            }
            None => Ok(false),
        });
        match result {
            Ok(true) => {}
            Ok(false) => return Ok(code),
            Err(error @ ReadError::Io { .. }) => return Err(error),
            // A frame whose payload does not parse is behind the reader already.
            Err(ReadError::Payload { .. }) => code = ExitCode::Tampered,
            Err(_) => {
                code = ExitCode::Tampered;
                if !reader.skip_damage()? {
                    return Ok(code);
                }
            }
        }
    }
}

fn entry(reader: &mut Reader, frame: &Frame, args: &TailArgs, take: &mut impl FnMut(String)) -> Result<(), ReadError> {
    match reader.decode(frame)? {
        Content::Events(items) => {
            let wanted = |item: &&Item<Event>| {
                let of_whom = wants_module(args, item.what.module()) && wants_instance(args, instance(&item.what));
                of_whom && (!args.deny || item.what.is_denial())
            };
            items.iter().filter(wanted).for_each(|item| take(event(item, args.json)));
        }
        Content::Calls(items) => {
            let wanted = |item: &&Item<Call>| {
                let source = &item.what.source;
                let denied = item.what.record.outcome == Outcome::Denied;
                let of_whom = wants_module(args, Some(source.module())) && wants_instance(args, Some(&source.instance().to_string()));
                !args.events && !args.deny && !denied && of_whom
            };
            items.iter().filter(wanted).for_each(|item| take(call(item, args.json)));
        }
        content if args.deny || args.module.is_some() || args.instance.is_some() => drop(content),
        content => {
            if let Some(words) = own(&content, reader.origin()) {
                take(own_line(&frame.header, &words, args.json));
            }
        }
    }
    Ok(())
}

fn wants_module(args: &TailArgs, module: Option<&str>) -> bool {
    args.module.as_deref().is_none_or(|wanted| module == Some(wanted))
}

/// The worker that an event is about, if it is about one.
fn instance(event: &Event) -> Option<&str> {
    match event {
        Event::InvocationStarted { instance, .. }
        | Event::InvocationEnded { instance, .. }
        | Event::Denied { instance, .. }
        | Event::DenialsCounted { instance, .. }
        | Event::InstanceSuspended { instance, .. }
        | Event::RingCorrupt { instance, .. } => Some(instance),
        _ => None,
    }
}

fn wants_instance(args: &TailArgs, instance: Option<&str>) -> bool {
    args.instance.as_deref().is_none_or(|wanted| instance.is_some_and(|instance| instance.starts_with(wanted)))
}

pub(super) fn event(item: &Item<Event>, as_json: bool) -> String {
    let time = rfc3339(item.time_real);
    if as_json {
        return json!({ "time": time, "position": item.position.to_string(), "event": item.what }).to_string();
    }
    let mark = if item.what.is_denial() { "DENIED " } else { "event  " };
    format!("{time}  {mark}  {}", describe::event(&item.what))
}

pub(super) fn call(item: &Item<Call>, as_json: bool) -> String {
    let time = rfc3339(item.time_real);
    if !as_json {
        return format!("{time}  call     {}", describe::call(&item.what));
    }
    let record = &item.what.record;
    let source = &item.what.source;
    let call = json!({
        "module": source.module(), "instance": source.instance().to_string(), "ring": source.ring(),
        "module_sha256": source.module_sha256(), "policy_sha256": source.policy_sha256(),
        "interface": record.call.interface(), "function": record.call.function(),
        "text": item.what.text.as_deref().map(printable), "text_class": record.text_class(), "outcome": record.outcome.name(), "errno": record.errno, "rule": record.rule,
        "handle": record.handle, "in": record.bytes_in(), "out": record.bytes_out(), "took_ns": record.took_ns,
        "open_flags": record.opened_with().map(|flags| flags.names().collect::<Vec<_>>()), "rule_to": record.rule_to(),
        "exit_code": record.exit_code().map(u32::cast_signed), "status": record.status(),
    });
    json!({ "time": time, "position": item.position.to_string(), "call": call }).to_string()
}

/// The same, on a line.
pub(super) fn own_line(header: &Header, words: &str, as_json: bool) -> String {
    let time = rfc3339(header.t0_real);
    if as_json {
        return json!({ "time": time, "frame": header.frame_no, "journal": words }).to_string();
    }
    format!("{time}  journal  {words}")
}

/// What the journal says about itself.
pub(super) fn own(content: &Content, origin: &str) -> Option<String> {
    match content {
        Content::Genesis => Some(format!("begun by `{}`", printable(origin.as_bytes()))),
        Content::Boot(opened) => {
            let recovery = &opened.recovery;
            let how = match (recovery.first_open, recovery.unclean, recovery.damage.is_empty()) {
                (_, _, false) => format!("damaged: {}", printable(recovery.damage.as_bytes())),
                (true, ..) => "for the first time".to_owned(),
                (_, true, _) => {
                    format!(
                        "it had not been closed in order; {} frames ({} bytes) of its end were cut off",
                        recovery.frames_cut, recovery.bytes_cut
                    )
                }
                _ => "it had been closed in order".to_owned(),
            };
            Some(format!("opened, boot {}: {how}", printable(opened.boot_id.as_bytes())))
        }
        Content::Account(stats) => {
            Some(format!("closed: {} events, {} calls, {} bytes since it was opened", stats.events, stats.records, stats.bytes))
        }
        Content::Epoch(start, _) => Some(format!("epoch {} of the signing key began", start.epoch)),
        Content::Retention(gone) => {
            let what = if gone.tier() == Tier::Summary { "counts" } else { "calls" };
            Some(format!("`{}` was deleted: {} bytes of {what}", printable(gone.segment.as_bytes()), gone.bytes))
        }
        Content::Erasure(erasure) => {
            let names: usize = erasure.names.iter().map(|(_, names)| names.len()).sum();
            Some(format!("{names} names were erased for user {}: {}", erasure.by, printable(erasure.reason.as_bytes())))
        }
        Content::Anchor(_) => Some("anchored: somebody else has signed a checkpoint".to_owned()),
        Content::Events(_) | Content::Calls(_) | Content::Summary(_) | Content::Dictionary => None,
    }
}
