//! A policy in sentences that can be pasted into a report.
//!
//! Runs in: command line.

use crate::policy::Access;
use crate::policy::Policy;
use crate::powers::Power;
use crate::powers::Signing;
use crate::privacy::Class;
use crate::privacy::Privacy;
use crate::units::show_duration;
use crate::units::show_size;

/// Everything that a policy allows, and on which kernel; not escaped.
pub(super) fn of(policy: &Policy, floor: u32, privacy: Privacy) -> String {
    let mut text = format!("The module `{}` is the file `{}`. ", policy.name, policy.path.display());
    if !policy.profiles.is_empty() {
        text.push_str(&format!("Its policy is written out with the profiles `{}`. ", policy.profiles.join("`, `")));
    }
    text.push_str(&format!("It may {}", Power::Signing(Signing::of(policy)).words()));
    text.push_str(&policy.min_version.map(|least| format!(", in release {least} or newer")).unwrap_or_default());
    text.push_str(&format!(", and only where the kernel has Landlock ABI {floor} or newer. "));
    text.push_str(&policy.preferred.map(|floor| format!("ABI {} is preferred. ", floor.landlock)).unwrap_or_default());
    if !policy.limits.clock_resolution.is_zero() {
        text.push_str(&format!("Its clocks go in steps of {}. ", show_duration(policy.limits.clock_resolution)));
    }
    text.push_str(&limits(policy));
    text.push_str(&files(policy));
    text.push_str(&graphs(policy));
    text.push_str(&words(policy));
    text.push_str(&named(privacy));
    match &policy.http {
        None => text.push_str("It reads the standard input that it is given, the clocks, and random numbers. It has no network, starts"),
        Some(http) => {
            let slow = show_duration(http.read_timeout);
            text.push_str(&format!("It answers {}; a client has {slow} for the head of its request. ", http.words()));
            text.push_str("It reads the clocks and random numbers. It makes no connection itself, starts");
        }
    }
    text.push_str(" no program and no thread, and opens nothing that is not named here.");
    text
}

fn limits(policy: &Policy) -> String {
    let limits = &policy.limits;
    let at_once = if limits.instances == 1 { "one at a time".to_owned() } else { format!("up to {} at once", limits.instances) };
    format!(
        "Each invocation is a fresh instance, {at_once}, that ends after {} at the latest, and has {} of memory, {} of output, {} open at once and {}. ",
        show_duration(limits.deadline),
        show_size(limits.memory),
        show_size(limits.output),
        count(limits.open_files, "file"),
        count(limits.table_elements, "table element"),
    )
}

fn files(policy: &Policy) -> String {
    if policy.dirs.is_empty() {
        return "It opens no file. ".to_owned();
    }
    let one = |dir: &crate::policy::DirGrant| {
        let may = match dir.access {
            Access::Read => "list and read",
            Access::ReadWrite => "list, read, create, change, rename and remove",
        };
        let quota = dir.quota.words();
        format!("It may {may} what is below `{}`{quota}, which it sees as `{}`. ", dir.host.display(), dir.guest)
    };
    policy.dirs.iter().map(one).collect()
}

fn graphs(policy: &Policy) -> String {
    if policy.graphs.is_empty() {
        return "It computes with no model. ".to_owned();
    }
    let one = |graph: &crate::policy::GraphGrant| {
        let kind = graph.encoding.kind();
        let mut text = format!("It may compute with the {kind} `{}`, whose SHA-256 is `{}`", graph.name, hex::encode(graph.sha256));
        let weights = graph.weights.as_ref().map(|w| format!(", with weights whose SHA-256 is `{}`", hex::encode(w.sha256)));
        text.push_str(&weights.unwrap_or_default());
        text.push_str(&format!(", by {} on the CPU with {}", graph.engine.word(), count(graph.threads, "thread")));
        text.push_str(&graph.computes.map(|n| format!(", {n} computes at once")).unwrap_or_default());
        text.push_str(&graph.memory.map(|n| format!(", in at most {} of memory", show_size(n))).unwrap_or_default());
        text.push_str(
            &graph.language.map(|l| format!(", in {} of {} tokens", count(l.contexts, "context"), l.context)).unwrap_or_default(),
        );
        text.push_str(&graph.terms.words());
        text.push_str(". ");
        text
    };
    policy.graphs.iter().map(one).collect()
}

fn words(policy: &Policy) -> String {
    let mut text = String::new();
    if !policy.args.is_empty() {
        text.push_str(&format!("Its arguments are `{}`. ", policy.args.join("` `")));
    }
    if !policy.env.is_empty() {
        let all: Vec<String> = policy.env.iter().map(|(name, value)| format!("`{name}={value}`")).collect();
        text.push_str(&format!("It sees the variable{} {}. ", if all.len() == 1 { "" } else { "s" }, all.join(", ")));
    }
    text
}

/// What the journal does not keep as the module writes it.
fn named(privacy: Privacy) -> String {
    let kept = [("paths", privacy.paths), ("graphs", privacy.graphs)].into_iter().filter(|(_, class)| *class != Class::Plain);
    let all: Vec<String> = kept.map(|(what, class)| format!("the {what} that it names {}", class.words())).collect();
    if all.is_empty() { String::new() } else { format!("The journal keeps {}. ", all.join(", and ")) }
}

pub(super) fn count(n: u32, what: &str) -> String {
    format!("{n} {what}{}", if n == 1 { "" } else { "s" })
}
