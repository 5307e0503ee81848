//! `audit stats`: the journal in numbers.
//!
//! Runs in: command line.
//! Does not: prove them, which is `audit verify`'s work; read calls that are counted, whose counts stand in a tier of their own.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;

use clap::Args;
use edgeguard_audit::Event;
use edgeguard_audit::Tier;
use edgeguard_audit::frame::Header;
use edgeguard_audit::printable;
use edgeguard_audit::proof;
use edgeguard_audit::read::Content;
use edgeguard_audit::read::Count;
use edgeguard_audit::read::ReadError;
use edgeguard_audit::realtime_ns;
use edgeguard_audit::rfc3339;
use edgeguard_audit::scan::Counted;
use edgeguard_audit::scan::Wanted;
use edgeguard_audit::scan::counts;
use edgeguard_audit::scan::scan;
use serde::Serialize;

use super::Place;
use super::Progress;
use super::unreadable;
use crate::ExitCode;
use crate::output;

#[derive(Debug, Args)]
#[command(after_long_help = EXAMPLES)]
pub(crate) struct StatsArgs {
    #[command(flatten)]
    place: Place,
    /// As one JSON object.
    #[arg(long)]
    json: bool,
}

const EXAMPLES: &str = "\
`produced` is what guest threads say they called, `recorded` what was taken from their rings, over all invocations that have ended; a
worker that was killed says nothing. `missing` is the difference, and should be 0.

The last table is of all calls since the journal began, those that were deleted included, unless it says since when. Its numbers are counts,
not estimates.

Examples:
  edgeguard audit stats
  edgeguard audit stats --json | jq '.counted.calls[] | select(.outcome == \"denied\")'
  edgeguard audit stats --json | jq .accounts.missing";

/// The journal in numbers.
#[derive(Debug, Default, Serialize)]
struct Stats {
    origin: String,
    frames: u64,
    /// RFC 3339; absent for an empty journal.
    first: Option<String>,
    last: Option<String>,
    events: TierStats,
    calls: TierStats,
    counts: TierStats,
    /// Calls that were deleted in order, with their segments.
    deleted: Deleted,
    accounts: Accounts,
    seals: Seals,
    opens: u64,
    unclean_opens: u64,
    frames_cut: u64,
    denials: u64,
    modules: BTreeMap<String, Module>,
    counted: Totals,
    /// Places that could not be read.
    damaged: u64,
}

#[derive(Debug, Default, Serialize)]
struct TierStats {
    entries: u64,
    frames: u64,
    bytes: u64,
}

/// All calls by who made which, and how they ended.
#[derive(Debug, Default, Serialize)]
struct Totals {
    /// The first call that is counted; those before it were deleted with their counts.
    from: u64,
    /// The call behind the last one.
    to: u64,
    /// Calls among them that are in no summary yet, and were counted one by one.
    open: u64,
    calls: Vec<Total>,
}

#[derive(Debug, Default, Serialize)]
struct Total {
    module: String,
    interface: &'static str,
    call: &'static str,
    outcome: &'static str,
    count: u64,
    n_in: u64,
    n_out: u64,
    took_ns: u64,
    took_max_ns: u32,
    /// RFC 3339.
    first: String,
    last: String,
    #[serde(skip)]
    times: (u64, u64),
}

#[derive(Debug, Default, Serialize)]
struct Deleted {
    segments: u64,
    calls: u64,
    bytes: u64,
}

/// Over the invocations that have ended.
#[derive(Debug, Default, Serialize)]
struct Accounts {
    invocations: u64,
    produced: u64,
    recorded: u64,
    missing: u64,
    /// Times that a guest waited for room in its ring.
    stalls: u64,
    /// Calls that the disk did not take for so long that memory did not either.
    lost: u64,
}

#[derive(Debug, Default, Serialize)]
struct Seals {
    key: Option<String>,
    epoch: u32,
    sealed_frames: u64,
    open_frames: u64,
    anchors: u64,
    /// Frames below this are under a checkpoint that somebody else has signed too.
    anchored_frames: u64,
    /// Since the last anchor, or since the journal's beginning.
    unanchored_age_s: Option<u64>,
}

#[derive(Debug, Default, Serialize)]
struct Module {
    invocations: u64,
    /// Those that did not exit with code 0.
    failed: u64,
    calls: u64,
    stalls: u64,
    denials: u64,
}

pub(crate) fn run(args: &StatsArgs) -> ExitCode {
    let stats = match count(args) {
        Ok(stats) => stats,
        Err(error) => return unreadable(&error),
    };
    if args.json {
        output::data(&format!("{}\n", serde_json::to_string(&stats).unwrap_or_default()));
    } else {
        output::data(&words(&stats));
    }
    if stats.damaged > 0 {
        output::say(&format!(
            "the journal is damaged at {} places, and what is behind them was not counted; `edgeguard audit verify` says more\n",
            stats.damaged
        ));
        return ExitCode::Tampered;
    }
    ExitCode::Ok
}

fn count(args: &StatsArgs) -> Result<Stats, ReadError> {
    let dir = &args.place.dir;
    let mut stats = Stats { origin: super::origin(dir)?, ..Stats::default() };
    let wanted = Wanted { since: 0, until: u64::MAX, events: true, call: None };
    let mut progress = Progress::new();
    let mut times: Option<(u64, u64)> = None;
    let mut anchored_at = None;
    let scanned = scan(
        dir,
        &wanted,
        &mut |tier, header, content| {
            stats.frame(tier, header);
            let (from, to) = times.unwrap_or((header.t0_real, header.t0_real));
            times = Some((from.min(header.t0_real), to.max(header.t0_real.saturating_add(u64::from(header.span_us) * 1000))));
            if let Some(content) = content {
                if matches!(content, Content::Anchor(_)) {
                    anchored_at = Some(header.t0_real);
                }
                stats.content(content);
            }
            true
        },
        &mut |done| progress.show(|| format!("counted {} of {} frames", done.frames, done.of)),
    )?;
    progress.end();
    (stats.frames, stats.damaged) = (scanned.of, scanned.damaged);
    if let Some((first, last)) = times {
        (stats.first, stats.last) = (Some(rfc3339(first)), Some(rfc3339(last)));
        stats.seals.unanchored_age_s = Some(realtime_ns().saturating_sub(anchored_at.unwrap_or(first)) / 1_000_000_000);
    }
    let unread = |source| ReadError::Io { path: dir.clone(), source };
    stats.seals.key = proof::identity(dir).map_err(unread)?.map(|key| key.to_string());
    let latest = proof::latest(dir).map_err(unread)?;
    stats.seals.sealed_frames = latest.map_or(0, |(checkpoint, _)| checkpoint.size.min(stats.frames)).max(stats.seals.sealed_frames);
    stats.seals.open_frames = stats.frames.saturating_sub(stats.seals.sealed_frames);
    let (counted, damaged) = totals(dir)?;
    (stats.counted, stats.damaged) = (counted, stats.damaged.max(damaged));
    let Accounts { produced, recorded, .. } = stats.accounts;
    stats.accounts.missing = produced.saturating_sub(recorded);
    Ok(stats)
}

/// What the summaries come to, and how many places could not be read.
fn totals(dir: &Path) -> Result<(Totals, u64), ReadError> {
    let mut totals: BTreeMap<(String, u16, u8), Total> = BTreeMap::new();
    let mut progress = Progress::new();
    let Counted { scanned, calls, open } = counts(
        dir,
        &mut |count: &Count| {
            let key = (count.source.module().to_owned(), count.call.raw(), count.outcome as u8);
            let at = |ms: u32| count.window_real.saturating_add(u64::from(ms) * 1_000_000);
            let (first, last) = (at(count.counts.first_ms), at(count.counts.last_ms));
            let total = totals.entry(key).or_insert_with_key(|(module, ..)| Total {
                module: module.clone(),
                interface: count.call.interface(),
                call: count.call.function(),
                outcome: count.outcome.name(),
                times: (first, last),
                ..Total::default()
            });
            total.count = total.count.saturating_add(count.counts.calls);
            total.n_in = total.n_in.saturating_add(count.counts.n_in);
            total.n_out = total.n_out.saturating_add(count.counts.n_out);
            total.took_ns = total.took_ns.saturating_add(count.counts.took_ns);
            total.took_max_ns = total.took_max_ns.max(count.counts.took_max_ns);
            total.times = (total.times.0.min(first), total.times.1.max(last));
        },
        &mut |done| progress.show(|| format!("counted {} of {} frames", done.frames, done.of)),
    )?;
    progress.end();
    let mut rows: Vec<Total> = totals.into_values().collect();
    for row in &mut rows {
        (row.first, row.last) = (rfc3339(row.times.0), rfc3339(row.times.1));
    }
    rows.sort_by(|one, other| one.module.cmp(&other.module).then(other.count.cmp(&one.count)));
    Ok((Totals { from: calls.start, to: calls.end, open, calls: rows }, scanned.damaged))
}

impl Stats {
    fn frame(&mut self, tier: Tier, header: &Header) {
        let counts = match tier {
            Tier::Security => &mut self.events,
            Tier::Detail => &mut self.calls,
            Tier::Summary => &mut self.counts,
        };
        counts.frames += 1;
        counts.entries = counts.entries.saturating_add(header.n.into());
        counts.bytes = counts.bytes.saturating_add(header.len() as u64);
    }

    fn content(&mut self, content: Content) {
        match content {
            Content::Boot(opened) => {
                self.opens += 1;
                self.unclean_opens += u64::from(opened.recovery.unclean);
                self.frames_cut = self.frames_cut.saturating_add(opened.recovery.frames_cut);
            }
            Content::Account(account) => self.accounts.lost = self.accounts.lost.saturating_add(account.lost),
            Content::Retention(gone) if gone.tier() == Tier::Detail => {
                self.deleted.segments += 1;
                self.deleted.calls = self.deleted.calls.saturating_add(gone.next_seq.saturating_sub(gone.first_seq));
                self.deleted.bytes = self.deleted.bytes.saturating_add(gone.bytes);
            }
            Content::Epoch(start, _) => {
                self.seals.epoch = start.epoch;
                self.seals.sealed_frames = start.size;
            }
            Content::Anchor(note) => {
                self.seals.anchors += 1;
                // The second line of a checkpoint is its size (c2sp.org/tlog-checkpoint).
                let size = note.text().lines().nth(1).and_then(|size| size.parse().ok()).unwrap_or(0);
                self.seals.anchored_frames = self.seals.anchored_frames.max(size);
            }
            Content::Events(items) => items.iter().for_each(|item| self.event(&item.what)),
            _ => {}
        }
    }

    fn event(&mut self, event: &Event) {
        // One event may tell of many.
        let denials = match event {
            Event::Denied { count, .. } | Event::DenialsCounted { count, .. } => *count,
            event => u64::from(event.is_denial()),
        };
        self.denials = self.denials.saturating_add(denials);
        if let Some(name) = event.module().filter(|_| denials > 0) {
            let module = self.modules.entry(name.to_owned()).or_default();
            module.denials = module.denials.saturating_add(denials);
        }
        if let Event::InvocationEnded { module, exit_code, records_produced, records_recorded, stalls, .. } = event {
            let accounts = &mut self.accounts;
            accounts.invocations += 1;
            accounts.produced = accounts.produced.saturating_add(*records_produced);
            accounts.recorded = accounts.recorded.saturating_add(*records_recorded);
            accounts.stalls = accounts.stalls.saturating_add(*stalls);
            let module = self.modules.entry(module.clone()).or_default();
            module.invocations += 1;
            module.failed += u64::from(*exit_code != Some(0));
            module.calls = module.calls.saturating_add(*records_recorded);
            module.stalls = module.stalls.saturating_add(*stalls);
        }
    }
}

fn words(stats: &Stats) -> String {
    let mut text = String::new();
    let Stats { accounts, seals, deleted, .. } = stats;
    let mut row = |name: &str, value: String| {
        let _ = writeln!(text, "{name:11} {value}");
    };
    row("origin", printable(stats.origin.as_bytes()));
    row("from", stats.first.clone().unwrap_or_else(|| "nothing is recorded yet".into()));
    row("to", stats.last.clone().unwrap_or_else(|| "-".into()));
    row("events", format!("{} in {}, {} of them denials", stats.events.entries, bytes(stats.events.bytes), stats.denials));
    let each = match stats.calls.entries {
        0 => String::new(),
        entries => format!(", {:.2} bytes each", stats.calls.bytes as f64 / entries as f64),
    };
    row("calls", format!("{} in {}{each}", stats.calls.entries, bytes(stats.calls.bytes)));
    let since = match stats.counted.from {
        0 => "all".to_owned(),
        from => format!("those before number {from} deleted with their counts, all others"),
    };
    let of = stats.counted.to.saturating_sub(stats.counted.from);
    row("counted", format!("{of} calls, {since}, in {} rows and {}", stats.counts.entries, bytes(stats.counts.bytes)));
    if deleted.segments > 0 {
        row("deleted", format!("{} calls in {} segments, {}, in order", deleted.calls, deleted.segments, bytes(deleted.bytes)));
    }
    let missing = if accounts.missing == 0 { "none missing".to_owned() } else { format!("{} MISSING", accounts.missing) };
    row(
        "accounts",
        format!(
            "{} invocations: {} calls produced, {} recorded, {missing}; guests waited {} times; {} lost",
            accounts.invocations, accounts.produced, accounts.recorded, accounts.stalls, accounts.lost
        ),
    );
    row(
        "opened",
        format!("{} times, {} not after an orderly close, {} frames cut off then", stats.opens, stats.unclean_opens, stats.frames_cut),
    );
    match &seals.key {
        None => row("sealed", "no: the journal was written without keys".into()),
        Some(_) => row("sealed", format!("{} of {} frames, epoch {}", seals.sealed_frames, stats.frames, seals.epoch)),
    }
    let age = seals.unanchored_age_s.map(|age| format!(", for {}", duration(age))).unwrap_or_default();
    match seals.anchors {
        0 => row("anchored", format!("nothing in the journal says so{age}")),
        anchors => row("anchored", format!("{} frames, {anchors} times; nothing newer{age}", seals.anchored_frames)),
    }
    if !stats.modules.is_empty() {
        let _ = writeln!(text, "\n{:24} {:>11} {:>8} {:>12} {:>8} {:>8}", "module", "invocations", "failed", "calls", "waits", "denials");
    }
    for (name, module) in &stats.modules {
        let Module { invocations, failed, calls, stalls, denials } = module;
        let name = printable(name.as_bytes());
        let _ = writeln!(text, "{name:24} {invocations:>11} {failed:>8} {calls:>12} {stalls:>8} {denials:>8}");
    }
    if !stats.counted.calls.is_empty() {
        let _ = writeln!(text, "\n{:24} {:52} {:8} {:>12} {:>9} {:>9}  last", "module", "call", "outcome", "count", "mean", "longest");
    }
    for Total { module, interface, call, outcome, count, took_ns, took_max_ns, last, .. } in &stats.counted.calls {
        let (module, call) = (printable(module.as_bytes()), format!("{interface}#{call}"));
        let (mean, longest) = (took(took_ns / (*count).max(1)), took((*took_max_ns).into()));
        let _ = writeln!(text, "{module:24} {call:52} {outcome:8} {count:>12} {mean:>9} {longest:>9}  {last}");
    }
    text
}

fn bytes(count: u64) -> String {
    match count {
        0..10_000 => format!("{count} bytes"),
        10_000..10_000_000 => format!("{:.1} kB", count as f64 / 1e3),
        _ => format!("{:.1} MB", count as f64 / 1e6),
    }
}

fn took(nanos: u64) -> String {
    match nanos {
        0..10_000 => format!("{nanos} ns"),
        10_000..10_000_000 => format!("{:.1} µs", nanos as f64 / 1e3),
        10_000_000..10_000_000_000 => format!("{:.1} ms", nanos as f64 / 1e6),
        _ => format!("{:.1} s", nanos as f64 / 1e9),
    }
}

fn duration(seconds: u64) -> String {
    match seconds {
        0..120 => format!("{seconds} s"),
        120..7200 => format!("{} min", seconds / 60),
        7200..172_800 => format!("{} h", seconds / 3600),
        _ => format!("{} days", seconds / 86_400),
    }
}
