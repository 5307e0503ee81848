//! What an attacker has when a layer fails, and what nothing limits.
//!
//! Runs in: command line.
//! The layers are those of the architecture page; each sentence follows from what the named layer is alone in holding.

use super::Worst;
use super::paragraph::count;
use super::program_of;
use crate::policy::Access;
use crate::policy::GraphGrant;
use crate::policy::Policy;
use crate::policy::Quota;
use crate::source::escape;
use crate::units::show_size;

/// From the least that fails to the most.
pub(super) fn of(policy: &Policy) -> Vec<Worst> {
    let mut all = vec![module(policy), engine(policy)];
    if !policy.graphs.is_empty() {
        all.push(model(policy));
    }
    for worst in &mut all {
        worst.can.iter_mut().chain(&mut worst.cannot).for_each(|text| *text = escape(text));
    }
    all
}

/// The module is the attacker's, and every layer holds.
fn module(policy: &Policy) -> Worst {
    let mut can = vec!["all that the grants above say, in any order, and nothing else".to_owned()];
    let reader = if policy.http.is_some() { "its answers, for whoever asks it" } else { "its output, for whoever invoked it" };
    can.push(format!("put what it reads into {reader}"));
    let writable: Vec<String> = writable(policy);
    if !writable.is_empty() {
        can.push(format!(
            "leave in {} what it is to find in the next invocation, or another program is to read there",
            writable.join(", ")
        ));
    }
    let cannot = vec![
        "keep anything in memory from one invocation to the next: each is a fresh instance".to_owned(),
        "make a call of which the journal knows nothing".to_owned(),
    ];
    Worst { when: "with the module hostile and the engine sound", can, cannot }
}

/// The guest runs native code in its worker.
fn engine(policy: &Policy) -> Worst {
    let mut can = Vec::new();
    for dir in &policy.dirs {
        can.push(match dir.access {
            Access::Read => format!("read what the service's user can read below `{}`", dir.host.display()),
            Access::ReadWrite => {
                let quota = if dir.quota == Quota::default() { "" } else { ", whatever its quota" };
                format!(
                    "read, create, overwrite, rename and remove what the service's user can below `{}`, until its file system is full{quota}",
                    dir.host.display()
                )
            }
        });
    }
    can.push(match policy.limits.instances {
        1 => "stay in the worker, and see and change every later invocation of this module until the worker ends".to_owned(),
        n => format!("see and change what the {} other instances hold, and stay for every later invocation until the worker ends", n - 1),
    });
    can.push(
        "go beyond `memory`, `output`, `open-files` and `table-elements`, which its own process keeps: then the service's limits count; the daemon still keeps `deadline`, 1 s late"
            .to_owned(),
    );
    can.push("write false records of its own calls, under its own name".to_owned());
    for graph in &policy.graphs {
        can.push(format!("send any bytes as tensors to the host of `{}`, to keep it busy or to attack its engine", graph.name));
    }
    if !policy.dirs.is_empty() {
        can.push("where the host refuses it a root of its own: learn that any path exists, and its metadata".to_owned());
    }
    let mut cannot = vec![
        if policy.dirs.is_empty() { "open any file" } else { "open any file elsewhere" }.to_owned(),
        "open a socket, start a program or a thread, or turn memory into code".to_owned(),
        "signal, trace or read another process, or reach the keys, policies or journal of the supervisor".to_owned(),
        "change what was recorded, or speak for another module".to_owned(),
    ];
    if policy.dirs.iter().any(|dir| dir.access == Access::ReadWrite) {
        cannot.push("leave a program that runs with the service's user for whoever starts it, a device, a pipe or a socket".to_owned());
    }
    Worst { when: "with the engine broken: native code in the worker", can, cannot }
}

/// A model is the attacker's, and took over its engine.
fn model(policy: &Policy) -> Worst {
    let mut can = Vec::new();
    for graph in &policy.graphs {
        let name = &graph.name;
        can.push(format!("answer `{name}` with anything: what the module makes of an answer is not looked at"));
        let what = if graph.language.is_some() { "prompts and answers" } else { "tensors" };
        can.push(match graph.terms.private {
            true => format!("see and change the {what} of this module, and of no other: its process is this module's alone"),
            false => format!("see and change the {what} of every module that is granted the model of `{name}` on the same terms"),
        });
        can.push(format!("take {}, in {}", cost(graph), program_of(graph.engine)));
    }
    let cannot = vec![
        "open any file, its own model's included: it has a descriptor, and no call that takes a path".to_owned(),
        "see a directory of the module, a socket, or a module with another model".to_owned(),
        "start a program or a thread, or turn memory into code".to_owned(),
    ];
    Worst { when: "with a model hostile and its engine broken", can, cannot }
}

/// What an engine may use.
fn cost(graph: &GraphGrant) -> String {
    let threads = match graph.computes {
        Some(computes) => count(graph.threads.saturating_mul(computes), "thread"),
        None => format!("{} for each compute at once", count(graph.threads, "thread")),
    };
    let memory = graph.memory.map_or_else(|| "all memory that the service has".to_owned(), show_size);
    format!("{memory} and {threads}")
}

/// What this policy puts no bound to.
pub(super) fn unlimited(policy: &Policy) -> Vec<String> {
    let mut all = Vec::new();
    for dir in policy.dirs.iter().filter(|dir| dir.access == Access::ReadWrite) {
        let (what, keys) = match (dir.quota.bytes, dir.quota.files) {
            (Some(_), Some(_)) => continue,
            (None, Some(_)) => ("how many bytes", "`bytes` in its `[[dir]]`"),
            (Some(_), None) => ("how many files", "`files` in its `[[dir]]`"),
            (None, None) => ("how many bytes and files", "`bytes` and `files` in its `[[dir]]`"),
        };
        all.push(format!("{what} it writes below `{}`: {keys}, or a quota of that file system does", dir.host.display()));
    }
    for dir in &policy.dirs {
        all.push(format!("who else reads or writes below `{}`", dir.host.display()));
    }
    for graph in policy.graphs.iter().filter(|graph| graph.memory.is_none()) {
        all.push(format!("how much memory the model of `{}` takes: `memory` in its `[[graph]]` does", graph.name));
    }
    all.push(match &policy.http {
        None => "how often it is invoked, and how much it is given on standard input: those in `control.invokers` decide".to_owned(),
        Some(http) => format!("how often it is asked, and by whom: whoever may reach `{}` decides", http.listen),
    });
    let most = policy.limits.memory.saturating_mul(policy.limits.instances.into());
    let threads = count(policy.limits.instances, "processor");
    all.push(format!(
        "processor time within the deadline, of up to {threads}; its instances together take up to {} of memory",
        show_size(most)
    ));
    all.push("what its output says".to_owned());
    all.push(match policy.limits.clock_resolution.is_zero() {
        true => {
            "what it learns from time: its clocks are as fine as the host's (`clock-resolution` makes them coarse), and caches are shared"
                .to_owned()
        }
        false => "what it learns from time: by counting its own steps between those of its clocks, and caches are shared".to_owned(),
    });
    all
}

fn writable(policy: &Policy) -> Vec<String> {
    let dirs = policy.dirs.iter().filter(|dir| dir.access == Access::ReadWrite);
    dirs.map(|dir| format!("`{}`", dir.host.display())).collect()
}
