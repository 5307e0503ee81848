//! The closing table: what was measured on the way, and what this kernel enforced.

use std::path::Path;
use std::time::Duration;

use serde_json::Value;

use super::screen::Screen;
use crate::failure::Failure;
use crate::failure::Result;
use crate::place;

/// What the demo measured.
#[derive(Debug)]
pub struct Measured {
    /// Ending of the first invocation of the voice module: its worker had to be started.
    pub cold: Value,
    /// Endings of later ones.
    pub warm: Vec<Value>,
    /// Endings of a guest that does next to nothing, in a running worker.
    pub empty: Vec<Value>,
    /// The daemon's status, while all of it ran.
    pub status: Value,
    /// How much speech the module heard in one invocation.
    pub heard: Duration,
}

impl Measured {
    /// Prints the table.
    pub fn show(&self, screen: &Screen) -> Result<()> {
        let voice = self.module("voice-gate")?;
        let confinement = voice.pointer("/worker/confinement").ok_or_else(|| Failure::new("the status shows no confined `voice-gate`"))?;

        screen.part("time");
        let us = |ending: &Value, key: &str| ending[key].as_u64().unwrap_or_default();
        let warm = |key: &str| median(self.warm.iter().map(|ending| us(ending, key)));
        screen.row("cold start: worker confined and running", &time(us(&self.cold, "cold_start_us")));
        screen.row("  a new instance in it", &time(us(&self.cold, "instantiate_us")));
        screen.row(
            "warm invocation of an empty guest",
            &format!("{}, median of {}", time(median(self.empty.iter().map(|e| us(e, "total_us")))), self.empty.len()),
        );
        screen
            .row("warm invocation of `voice-gate`", &format!("{} for {:.1} s of sound", time(warm("total_us")), self.heard.as_secs_f32()));
        screen.row("  of which in the model", &time(warm("engine_us")));
        screen.row("  of which on the way to the model and back", &time(warm("compute_us").saturating_sub(warm("engine_us"))));
        let records = self.warm.first().map_or(0, |ending| ending["records"]["recorded"].as_u64().unwrap_or_default());
        screen.row(
            "  calls on record, of calls made",
            &format!("{records} of {}", self.warm.first().map_or(0, |e| e["records"]["produced"].as_u64().unwrap_or_default())),
        );

        screen.part("memory: resident, of which nobody else's");
        let memory = |process: &Value| format!("{:>6.1} MiB   {:>6.1} MiB", mib(&process["resident"]), mib(&process["private"]));
        screen.row("edgeguardd", &memory(&self.status["process"]));
        for module in self.list("modules").filter(|module| module["worker"].is_object()) {
            screen.row(&format!("edgeguard-worker, {}", word(&module["name"])), &memory(&module["worker"]["process"]));
        }
        for graph in self.list("graphs") {
            screen.row(&format!("edgeguard-graph, {} ({})", word(&graph["name"]), word(&graph["engine"])), &memory(&graph["process"]));
        }

        screen.part("what this kernel enforced on `voice-gate`, as its worker reports and the daemon saw");
        enforced(screen, confinement)
    }

    fn module(&self, name: &str) -> Result<&Value> {
        self.list("modules").find(|module| module["name"] == name).ok_or_else(|| Failure::new(format!("the status does not name `{name}`")))
    }

    fn list(&self, key: &str) -> impl Iterator<Item = &Value> {
        self.status[key].as_array().into_iter().flatten()
    }
}

fn enforced(screen: &Screen, report: &Value) -> Result<()> {
    let yes = |key: &str| if report[key] == true { "yes" } else { "NO" };
    let names = |key: &str| report[key].as_array().into_iter().flatten().filter_map(Value::as_str).collect::<Vec<_>>();
    let (rights, missing) = (names("rights_enforced"), names("rights_missing"));
    screen.row(
        "Landlock",
        &format!("ABI {}, {} rights handled, {} directories granted", report["landlock_abi"], rights.len(), report["granted"]),
    );
    screen.row("  rights this kernel does not know", &if missing.is_empty() { "none".to_owned() } else { missing.join(", ") });
    screen.row("seccomp", &format!("{} rows, on {} threads", report["seccomp_rules"], report["threads"]));
    let own_root = if report["own_root"] == true { "yes".to_owned() } else { format!("no: {}", word(&report["own_root_missing"])) };
    screen.row("a file system of its own", &own_root);
    screen.row("no new privileges", yes("no_new_privs"));
    screen.row("memory never writable, then executable", yes("mdwe"));
    let tests: Vec<&Value> = report["self_test"].as_array().into_iter().flatten().collect();
    for test in &tests {
        screen.row(&format!("  tried after the lock: {}", word(&test["check"])), &word(&test["found"]));
    }
    if rights.is_empty() || tests.is_empty() || report["no_new_privs"] != true {
        return Err(Failure::new(format!("the worker's report shows no confinement: {report}")));
    }
    Ok(())
}

/// How long the recordings of a folder are, by their own headers (RIFF WAVE: bytes 28 to 31 are bytes per second).
pub fn duration(folder: &Path) -> Result<Duration> {
    let mut total = Duration::ZERO;
    let entries = std::fs::read_dir(folder).map_err(Failure::at("list", folder))?;
    for path in entries.filter_map(|entry| entry.ok().map(|entry| entry.path())) {
        if path.extension().is_some_and(|extension| extension == "wav") {
            let bytes = place::get(&path)?;
            let rate = bytes.get(28..32).and_then(|bytes| bytes.try_into().ok()).map_or(0, u32::from_le_bytes);
            if rate > 0 {
                total += Duration::from_secs_f64((bytes.len().saturating_sub(44)) as f64 / f64::from(rate));
            }
        }
    }
    Ok(total)
}

/// The middle one; 0 of none.
pub fn median(values: impl Iterator<Item = u64>) -> u64 {
    let mut values: Vec<u64> = values.collect();
    values.sort_unstable();
    values.get(values.len() / 2).copied().unwrap_or_default()
}

fn time(us: u64) -> String {
    match us {
        0..1_000 => format!("{us} µs"),
        1_000..100_000 => format!("{:.2} ms", us as f64 / 1000.0),
        _ => format!("{:.1} ms", us as f64 / 1000.0),
    }
}

fn mib(bytes: &Value) -> f64 {
    bytes.as_u64().unwrap_or_default() as f64 / f64::from(1 << 20)
}

fn word(value: &Value) -> String {
    value.as_str().unwrap_or("-").to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_the_middle_one() {
        assert_eq!(median([9, 1, 5].into_iter()), 5);
        assert_eq!(median(std::iter::empty()), 0);
    }

    #[test]
    fn times_are_readable() {
        assert_eq!(time(950), "950 µs");
        assert_eq!(time(9_400), "9.40 ms");
        assert_eq!(time(123_456), "123.5 ms");
    }
}
