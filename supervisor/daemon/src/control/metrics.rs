//! `GET /metrics`: Prometheus text format 0.0.4.
//!
//! Runs in: daemon.

use std::fmt::Write as _;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering;

use edgeguard_sandbox::ProcessStatus;

use super::Control;
use super::sinks::Exporter;
use crate::graphs::GraphHost;
use crate::graphs::Standing;
use crate::modules::Counters;

type Read = fn(&Counters) -> &AtomicU64;

/// One counter for each module: name, help, where it stands.
const COUNTERS: &[(&str, &str, Read)] = &[
    ("edgeguard_invocations_succeeded_total", "Invocations that ended with exit code 0.", |counters| &counters.succeeded),
    ("edgeguard_invocations_failed_total", "Invocations that ended otherwise.", |counters| &counters.failed),
    ("edgeguard_requests_refused_total", "Clients of modules that serve who sent no request.", |counters| &counters.refused),
    ("edgeguard_invocations_limited_total", "Invocations stopped at a limit.", |counters| &counters.limited),
    ("edgeguard_invocations_killed_total", "Invocations ended by the death of their worker.", |counters| &counters.killed),
    ("edgeguard_records_total", "Calls recorded in invocations that ended.", |counters| &counters.records),
    ("edgeguard_cold_starts_total", "Worker processes started.", |counters| &counters.cold_starts),
];

/// The whole page.
pub async fn render(control: &Control) -> String {
    let mut page = String::new();
    let modules = control.modules.list();
    for (name, help, read) in COUNTERS {
        head(&mut page, name, help, "counter");
        for module in &modules {
            let _ = writeln!(page, "{name}{{module=\"{}\"}} {}", module.name, read(&module.counters).load(Ordering::Relaxed));
        }
    }
    head(&mut page, "edgeguard_engine_seconds_total", "Time inside model engines.", "counter");
    for module in &modules {
        let seconds = std::time::Duration::from_nanos(module.counters.engine_ns.load(Ordering::Relaxed)).as_secs_f64();
        let _ = writeln!(page, "edgeguard_engine_seconds_total{{module=\"{}\"}} {seconds}", module.name);
    }
    head(&mut page, "edgeguard_module_admitted", "1 while the module is admitted, 0 while it is refused.", "gauge");
    for module in &modules {
        let _ = writeln!(page, "edgeguard_module_admitted{{module=\"{}\"}} {}", module.name, u8::from(module.state.is_ok()));
    }
    graphs(&mut page, &control.modules.gate().graphs.list().await);
    head(&mut page, "edgeguard_policy_files_refused", "Policy files that say nothing valid.", "gauge");
    let _ = writeln!(page, "edgeguard_policy_files_refused {}", control.modules.refused_files().len());
    let now = control.modules.gate().trust.now();
    head(&mut page, "edgeguard_trust_fresh", "1 while trust material is young enough to admit new modules.", "gauge");
    let _ = writeln!(page, "edgeguard_trust_fresh {}", u8::from(now.as_ref().is_ok_and(|now| !now.said().stale)));
    if let Some(list) = now.as_ref().ok().and_then(|now| now.revocations.as_ref()) {
        head(&mut page, "edgeguard_revocations_expire_seconds", "When the revocation list expires, in seconds since 1970.", "gauge");
        let _ = writeln!(page, "edgeguard_revocations_expire_seconds {}", list.expires().0);
    }
    head(&mut page, "edgeguard_journal_usable", "1 while the journal takes records; nothing new begins while it is 0.", "gauge");
    let _ = writeln!(page, "edgeguard_journal_usable {}", u8::from(control.modules.gate().ledger.usable().is_ok()));
    let ledger = &control.modules.gate().ledger;
    head(&mut page, "edgeguard_ring_stalls_total", "Times that guests waited for room in an audit ring.", "counter");
    let _ = writeln!(page, "edgeguard_ring_stalls_total {}", ledger.stalls());
    if let Some(stats) = ledger.stats().await {
        head(&mut page, "edgeguard_journal_calls_total", "Calls taken into the journal since the daemon began.", "counter");
        let _ = writeln!(page, "edgeguard_journal_calls_total {}", stats.records);
        head(
            &mut page,
            "edgeguard_journal_lost_total",
            "Calls that the journal lost since the daemon began; anything but 0 is a gap.",
            "counter",
        );
        let _ = writeln!(page, "edgeguard_journal_lost_total {}", stats.lost);
    }
    Exporter::of(&control.modules.gate().host.runtime_dir).metrics(&mut page);
    page
}

/// Name, help, type, and the value where there is one.
type Gauge = (&'static str, &'static str, &'static str, fn(&GraphHost) -> Option<u64>);

/// One graph host each, by the name of its first grant, its model and its place in the list: two grants may share the first two.
fn graphs(page: &mut String, hosts: &[Arc<GraphHost>]) {
    let gauges: &[Gauge] = &[
        ("edgeguard_graph_serving", "1 while the graph's process computes.", "gauge", |host| {
            Some(u64::from(host.standing() == Standing::Serving))
        }),
        ("edgeguard_graph_restarts_total", "Graph hosts started in another's place.", "counter", |host| Some(host.restarts())),
        (
            "edgeguard_graph_resident_bytes",
            "Memory of the graph's process: weights, contexts, and tensors in shared regions.",
            "gauge",
            |host| memory(host).map(|status| status.resident),
        ),
        ("edgeguard_graph_private_bytes", "The same without what is a mapped file or shared.", "gauge", |host| {
            memory(host).map(|status| status.private)
        }),
    ];
    for (name, help, kind, read) in gauges {
        head(page, name, help, kind);
        for (at, host) in hosts.iter().enumerate() {
            if let Some(value) = read(host) {
                let _ = writeln!(page, "{name}{{graph=\"{}\",sha256=\"{}\",host=\"{at}\"}} {value}", host.name, hex::encode(host.sha256));
            }
        }
    }
}

/// As the kernel counts it.
fn memory(host: &GraphHost) -> Option<ProcessStatus> {
    edgeguard_sandbox::inspect(host.pid()?).ok()
}

fn head(page: &mut String, name: &str, help: &str, kind: &str) {
    let _ = writeln!(page, "# HELP {name} {help}\n# TYPE {name} {kind}");
}
