//! What `trust` says to people. What a vendor or a list wrote is escaped.
//!
//! Runs in: command line.

use std::fmt::Write as _;

use edgeguard_attest::Revoked;
use edgeguard_attest::Time;
use edgeguard_attest::trust::Expiries;
use edgeguard_attest::trust::Imported;
use edgeguard_attest::trust::RootSource;
use edgeguard_attest::trust::TrustStatus;
use edgeguard_attest::trust::Versions;
use edgeguard_policy::escape;

/// The answer of `trust status`; `now` is the time that is believed.
pub(super) fn status(status: &TrustStatus, now: Time) -> String {
    let mut text = Rows(String::new());
    let source = match status.root.source {
        RootSource::BuiltIn => "sigstore's public-good instance, built in",
        RootSource::File => "the operator's file",
        RootSource::Pack => "the trust pack",
        RootSource::Nobody => "none: keys alone admit (`trust.keyless = false`)",
    };
    text.row("trusted root", source);
    if status.root.source != RootSource::Nobody {
        text.row("", &format!("sha256:{}", status.root.sha256));
    }
    for authority in &status.root.authorities {
        let from = authority.from.map_or("ever".to_owned(), day);
        let until = authority.until.map_or(String::new(), |until| format!(" until {}", day(until)));
        text.row("", &format!("{:7} {} from {from}{until}", authority.kind, escape(&authority.name)));
    }
    match &status.pack {
        None => text.row("trust pack", "none was imported"),
        Some(pack) => {
            let imported = pack.imported.map_or(String::new(), |at| format!(", imported {at} ({} ago)", span(at, now)));
            text.row("trust pack", &format!("{}{imported}", versions(pack.versions)));
            ends(&mut text, pack.expires, now);
            for key in &pack.keys {
                text.row("", &format!("{}  {}  sha256:{}", escape(&key.name), key.algorithm, key.id));
            }
            if !pack.keys.is_empty() {
                text.row("", KEYS_ARE_CARRIED);
            }
        }
    }
    match &status.revocations {
        None => text.row("revocations", "no list"),
        Some(list) => {
            text.row("revocations", &format!("list {} of {}, {}", list.list, list.issued, runs_out(list.expires, now)));
            list.revoked.iter().for_each(|entry| text.row("", &revoked(entry)));
        }
    }
    text.row("freshness", &status.freshness.to_string());
    text.row("clock", &format!("{}, {}", status.clock.wall, status.clock.state));
    text.row("", &format!("proved: {}", status.clock.floor));
    match &status.state {
        None => text.row("state", "none yet; the daemon's first start or the first import makes it"),
        Some(state) => {
            let counter = match state.counter {
                edgeguard_attest::CounterKind::None => "no counter: a backup that is restored is not seen",
                edgeguard_attest::CounterKind::Tpm => "bound to a TPM counter",
            };
            text.row("state", &format!("written {} times, {counter}", state.writes));
            for module in &state.modules {
                let version = module.version.map_or("no version".to_owned(), |version| format!("version {version}"));
                text.row("floor", &format!("{}  {version}  sha256:{}  since {}", escape(&module.name), module.digest, module.admitted));
            }
            for policy in &state.policies {
                text.row("floor", &format!("policy of {}  revision {}", escape(&policy.name), policy.revision));
            }
        }
    }
    text.0
}

/// What `trust import` did.
pub(super) fn imported(imported: &Imported, now: Time) -> String {
    let mut text = Rows(String::new());
    let what = if imported.changed { "in force" } else { "unchanged" };
    text.row(what, &versions(imported.pack.versions()));
    if let Some(before) = imported.before.filter(|_| imported.changed) {
        text.row("before", &versions(before));
    }
    ends(&mut text, imported.pack.expires(), now);
    if let Some(material) = imported.pack.material() {
        text.row("trusted root", &format!("{} authorities", material.authorities().len()));
    }
    if let Some(list) = imported.pack.revocations() {
        text.row(
            "revocations",
            &format!("list {} of {}, {} entries, {}", list.list(), list.issued(), list.entries().len(), runs_out(list.expires(), now)),
        );
    }
    for key in imported.pack.keys() {
        text.row("key", &format!("{}  {}  sha256:{}", escape(key.name()), key.algorithm(), key.id()));
    }
    if !imported.pack.keys().is_empty() {
        text.row("warning", KEYS_ARE_CARRIED);
    }
    for name in &imported.unused {
        text.row("not used", name);
    }
    if imported.clock != edgeguard_attest::ClockState::Steady {
        text.row("clock", &format!("{}: until it is set, nothing new is admitted on what runs out", imported.clock));
    }
    text.0
}

/// A pack's keys are checked, kept and shown. Whom a policy trusts stays in the policy.
const KEYS_ARE_CARRIED: &str =
    "no signature counts by the pack's keys: a policy trusts the key files that it names, and those stay as they are";

/// Two columns, the first of which names the second.
struct Rows(String);

impl Rows {
    fn row(&mut self, name: &str, value: &str) {
        let _ = writeln!(self.0, "{name:13} {value}");
    }
}

fn versions(versions: Versions) -> String {
    let Versions { root, timestamp, snapshot, targets } = versions;
    format!("root {root}, timestamp {timestamp}, snapshot {snapshot}, targets {targets}")
}

fn ends(text: &mut Rows, expires: Expiries, now: Time) {
    let Expiries { root, timestamp, snapshot, targets } = expires;
    for (name, end) in [("timestamp", timestamp), ("snapshot", snapshot), ("targets", targets), ("root", root)] {
        text.row("", &format!("{name:9} {}", runs_out(end, now)));
    }
}

fn runs_out(end: Time, now: Time) -> String {
    if end <= now { format!("ran out {end} ({} ago)", span(end, now)) } else { format!("runs out {end} (in {})", span(now, end)) }
}

fn span(from: Time, to: Time) -> String {
    match to.since(from).as_secs() {
        seconds if seconds >= 86_400 => format!("{} d", seconds / 86_400),
        seconds if seconds >= 3600 => format!("{} h", seconds / 3600),
        seconds => format!("{} min", seconds / 60),
    }
}

fn day(time: Time) -> String {
    time.to_string().chars().take(10).collect()
}

fn revoked(entry: &Revoked) -> String {
    let since = entry.since.map_or(String::new(), |since| format!(", unless proved before {since}"));
    let stop = if entry.stop { ", and what runs is stopped" } else { "" };
    format!("{}: {}{since}{stop}", entry.what, escape(&entry.reason))
}
