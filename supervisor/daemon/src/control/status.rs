//! `GET /v1/status`: the daemon in one JSON object.
//!
//! Runs in: daemon.

use std::sync::atomic::Ordering;

use serde_json::Value;
use serde_json::json;

use super::Control;
use super::sinks::Exporter;
use crate::graphs::Standing;
use crate::ledger::Ledger;
use crate::modules::Module;
use crate::trust::Trust;

/// Everything an operator asks about first: which modules are in force and why others are not, which processes run, what they hold, what is recorded.
pub async fn status(control: &Control) -> Value {
    let modules: Vec<Value> = control.modules.list().iter().map(|module| module_status(module, &control.modules.gate().ledger)).collect();
    let refused_files: Vec<Value> =
        control.modules.refused_files().iter().map(|refused| json!({ "file": refused.file, "reason": refused.reason })).collect();
    let mut graphs = Vec::new();
    for host in control.modules.gate().graphs.list().await {
        let loaded = host.loaded();
        graphs.push(json!({
            "name": host.name,
            "sha256": hex::encode(host.sha256),
            "state": match host.standing() {
                Standing::Serving => "serving",
                Standing::StandingBy => "standing-by",
                Standing::Down => "down",
            },
            "restarts": host.restarts(),
            "engine": loaded.as_ref().map(|loaded| crate::child::escape(&loaded.engine)),
            "load_us": loaded.map(|loaded| loaded.load_ns / 1000),
            "process": host.pid().map(process),
        }));
    }
    let ledger = &control.modules.gate().ledger;
    json!({
        "version": env!("CARGO_PKG_VERSION"),
        "uptime_s": control.started.elapsed().as_secs(),
        "process": process(std::process::id()),
        "modules": modules,
        "refused_policy_files": refused_files,
        "graphs": graphs,
        "trust": trust(&control.modules.gate().trust),
        "journal": { "usable": ledger.usable().is_ok(), "stats": ledger.stats().await },
        "export": Exporter::of(&control.modules.gate().host.runtime_dir).status(),
    })
}

/// What admission goes by, and how long it still may.
fn trust(trust: &Trust) -> Value {
    match trust.now() {
        Ok(now) => {
            let said = now.said();
            json!({
                "trusted_root_sha256": said.root,
                "revocation_list": said.list,
                "revocations_until": now.revocations.as_ref().map(|list| list.expires().to_string()),
                "freshness": said.freshness,
                "new_modules_refused": said.stale,
                "clock": said.clock,
                "time_floor": now.clock.floor().to_string(),
            })
        }
        Err(error) => json!({ "error": { "code": error.code(), "reason": crate::chain(&error) } }),
    }
}

fn module_status(module: &Module, ledger: &Ledger) -> Value {
    let counters = &module.counters;
    let worker = module.running_worker();
    let (state, detail) = match &module.state {
        Ok(admitted) => ("admitted", {
            let vouched = admitted.vouched();
            json!({
                "digest": admitted.digest.to_string(),
                "policy": hex::encode(admitted.policy_digest),
                "signers": vouched.signers,
                "version": vouched.version,
                "dirs": admitted.dirs_in_words(),
                "graphs": admitted.graphs_in_words(),
                "instances": admitted.limits.instances,
                "landlock": {
                    "required": admitted.landlock_floor,
                    "preferred": admitted.landlock_wish,
                    "found": edgeguard_sandbox::host::landlock_abi(),
                },
                "listen": admitted.http.as_ref().map(|http| http.listen.to_string()),
            })
        }),
        Err(refused) => ("refused", json!({ "code": refused.code, "reason": refused.reason })),
    };
    json!({
        "name": module.name,
        "state": state,
        "detail": detail,
        "worker": worker.map(|worker| json!({
            "instance": worker.uuid.to_string(),
            "process": process(worker.pid()),
            "idle_s": worker.idle_since().map(|since| since.elapsed().as_secs()),
            "confinement": worker.report,
        })),
        "suspended_s": ledger.suspended(&module.name).map(|left| left.as_secs() + 1),
        "waiting": module.waiting.load(Ordering::Relaxed),
        "invocations": {
            "succeeded": counters.succeeded.load(Ordering::Relaxed),
            "failed": counters.failed.load(Ordering::Relaxed),
            "refused": counters.refused.load(Ordering::Relaxed),
            "limited": counters.limited.load(Ordering::Relaxed),
            "killed": counters.killed.load(Ordering::Relaxed),
        },
        "cold_starts": counters.cold_starts.load(Ordering::Relaxed),
    })
}

/// Memory of a process as the kernel counts it, in bytes.
pub fn process(pid: u32) -> Value {
    match edgeguard_sandbox::inspect(pid) {
        Ok(status) => {
            json!({ "pid": pid, "resident": status.resident, "private": status.private, "threads": status.threads, "seccomp_filters": status.seccomp_filters })
        }
        Err(_) => json!({ "pid": pid }),
    }
}
