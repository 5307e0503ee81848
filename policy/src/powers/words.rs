//! Powers in plain words.
//!
//! Runs in: command line.

use std::time::Duration;

use serde_json::Value;
use serde_json::json;

use super::Graph;
use super::Limit;
use super::Power;
use super::Signing;
use super::signing::Stated;
use super::signing::Wanted;
use super::signing::Who;
use crate::moment::show_moment;
use crate::source::escape;

impl Power {
    /// What it allows, as the end of "the module may …" or, of limits and rules, as a statement. Fit for a terminal.
    #[must_use]
    pub fn words(&self) -> String {
        let text = match self {
            Self::Dir { host, write: false, .. } => format!("list and read everything below `{host}`"),
            Self::Dir { host, write: true, quota } => {
                format!("read, create, change, rename and remove everything below `{host}`{}", quota.words())
            }
            Self::Graph(graph) => format!("compute with the model {}", graph.words()),
            Self::Env { name, value } => format!("see the variable `{name}` with the value `{value}`"),
            Self::Serve(serve) => format!("answer {}", serve.words),
            Self::Args(args) => format!("be given the arguments `{}`", args.join("` `")),
            Self::Limit { of, most } => format!("{} up to {}", of.words(), of.show(*most)),
            Self::Clocks(steps) if steps.0 == 0 => "read clocks as fine as the host's".to_owned(),
            Self::Clocks(steps) => format!("read clocks in steps of {}", time(Duration::from_micros(steps.0))),
            Self::Landlock(least) => format!("run where the kernel has Landlock ABI {} or newer", least.0),
            Self::MinVersion(least) if least.0 == 0 => "run in any release".to_owned(),
            Self::MinVersion(least) => format!("run in release {} or newer", least.0),
            Self::Signing(signing) => format!("run on {}", signing.words()),
        };
        escape(&text)
    }

    /// What it is about, in a word: `dir`, `graph`, `env`, `serve`, `args`, `limit`, `clocks`, `landlock`, `min-version`, `signing`.
    #[must_use]
    pub fn class(&self) -> &'static str {
        match self {
            Self::Dir { .. } => "dir",
            Self::Graph(_) => "graph",
            Self::Env { .. } => "env",
            Self::Serve(_) => "serve",
            Self::Args(_) => "args",
            Self::Limit { .. } => "limit",
            Self::Clocks(_) => "clocks",
            Self::Landlock(_) => "landlock",
            Self::MinVersion(_) => "min-version",
            Self::Signing(_) => "signing",
        }
    }

    /// What it is about, so that two powers over one thing can be laid beside each other.
    pub(super) fn subject(&self) -> (&'static str, String) {
        let of = match self {
            Self::Dir { host, .. } => host.clone(),
            Self::Graph(graph) => graph.sha256.clone(),
            Self::Env { name, .. } => name.clone(),
            Self::Limit { of, .. } => of.key().to_owned(),
            Self::Serve(serve) => serve.listen.clone(),
            Self::Args(_) | Self::Clocks(_) | Self::Landlock(_) | Self::MinVersion(_) | Self::Signing(_) => String::new(),
        };
        (self.class(), of)
    }

    /// For machines: `{class, words}` and, by class, `host`, `write`, `files` and `bytes`, `sha256`, `name` and `value`, `limit` and `most`, `listen`
    /// with `clients`, `connections`, `requests_per_minute`, `request_head`, `request_body`, `response_body` and `read_timeout_us`, `steps_us`, or `least`.
    #[must_use]
    pub fn to_json(&self) -> Value {
        let mut value = match self {
            Self::Dir { host, write, quota } => json!({ "host": host, "write": write, "files": quota.files, "bytes": quota.bytes }),
            Self::Graph(graph) => json!({
                "sha256": graph.sha256, "weights": graph.weights, "encoding": graph.computed[0], "target": graph.computed[1], "engine": graph.computed[2],
                "computes": graph.computes, "threads": graph.threads, "memory": graph.memory,
                "context": graph.language.map(|l| l.0), "contexts": graph.language.map(|l| l.1),
                "private": graph.terms.0, "deadline_us": graph.terms.1, "tensors": graph.terms.2,
            }),
            Self::Env { name, value } => json!({ "name": name, "value": value }),
            Self::Serve(serve) => {
                let [connections, requests_per_minute, request_head, request_body, response_body, read_timeout_us] = serve.most;
                json!({
                    "listen": serve.listen, "clients": serve.clients, "connections": connections, "requests_per_minute": requests_per_minute, "request_head": request_head, "request_body": request_body,
                    "response_body": response_body, "read_timeout_us": read_timeout_us,
                })
            }
            Self::Args(args) => json!({ "args": args }),
            Self::Limit { of, most } => json!({ "limit": of.key(), "most": most }),
            Self::Clocks(steps) => json!({ "steps_us": steps.0 }),
            Self::Landlock(least) => json!({ "least": least.0 }),
            Self::MinVersion(least) => json!({ "least": least.0 }),
            Self::Signing(_) => json!({}),
        };
        if let Value::Object(map) = &mut value {
            map.insert("class".into(), json!(self.class()));
            map.insert("words".into(), json!(self.words()));
        }
        value
    }
}

impl Graph {
    fn words(&self) -> String {
        let [encoding, target, engine] = self.computed;
        let weights = self.weights.as_ref().map(|weights| format!(" with the weights `{weights}`")).unwrap_or_default();
        let mut text = format!("`{}`{weights} ({encoding}, on the {target}, by {engine}", self.sha256);
        text.push_str(&self.computes.map(|n| format!(", {n} at once")).unwrap_or_default());
        text.push_str(&format!(", {} for one compute", count(self.threads, "thread")));
        text.push_str(&self.memory.map(|n| format!(", {} of memory", size(n))).unwrap_or_default());
        text.push_str(&self.language.map(|(tokens, n)| format!(", {} of {tokens} tokens", count(n, "context"))).unwrap_or_default());
        let (private, deadline, tensors) = self.terms;
        text.push_str(if private { ", in a process of its own" } else { "" });
        text.push_str(&deadline.map(|most| format!(", each compute within {}", time(Duration::from_micros(most)))).unwrap_or_default());
        text.push_str(&tensors.map(|most| format!(", with tensors of up to {}", size(most))).unwrap_or_default());
        text.push(')');
        text
    }
}

impl Limit {
    /// The key in `[limits]`.
    #[must_use]
    pub fn key(self) -> &'static str {
        match self {
            Self::Memory => "memory",
            Self::Deadline => "deadline",
            Self::Instances => "instances",
            Self::Output => "output",
            Self::OpenFiles => "open-files",
            Self::TableElements => "table-elements",
        }
    }

    fn words(self) -> &'static str {
        match self {
            Self::Memory => "use memory in one instance",
            Self::Deadline => "run, in one invocation,",
            Self::Instances => "run at once in instances",
            Self::Output => "write output in one invocation",
            Self::OpenFiles => "have files open at once",
            Self::TableElements => "hold elements in tables",
        }
    }

    /// A value as a policy writes it.
    #[must_use]
    pub fn show(self, value: u64) -> String {
        match self {
            Self::Memory | Self::Output => size(value),
            Self::Deadline => time(Duration::from_micros(value)),
            Self::Instances | Self::OpenFiles | Self::TableElements => value.to_string(),
        }
    }
}

impl Signing {
    pub(super) fn words(&self) -> String {
        self.iter().map(Wanted::words).collect::<Vec<_>>().join("; and on ")
    }
}

impl Wanted {
    /// As in "a release by 1 of: `/keys/acme.pub`".
    #[must_use]
    pub fn words(&self) -> String {
        let young = |age: &Option<Duration>| age.map(|age| format!(" at most {} old", time(age))).unwrap_or_default();
        let stated = match &self.stated {
            Stated::Any => "a signature or a release".to_owned(),
            Stated::Signature => "a signature".to_owned(),
            Stated::Release(age) => format!("a release{}", young(age)),
            Stated::Approval(age) => format!("an approval{}", young(age)),
            Stated::Provenance(builders, types, parameters) => {
                let mut text = format!("provenance from a build by {}", list(builders.iter()));
                if !types.is_empty() {
                    text.push_str(&format!(" of type {}", list(types.iter())));
                }
                if let Some(parameters) = parameters {
                    let shown: Vec<String> = parameters.iter().map(|(name, value)| format!("{name}={value}")).collect();
                    text.push_str(&format!(" with the parameters {}", list(shown.iter())));
                }
                text
            }
        };
        let who: Vec<String> = self.signers.iter().map(Who::words).collect();
        escape(&format!("{stated} by {} of: {}", self.threshold, who.join(", ")))
    }
}

impl Who {
    fn words(&self) -> String {
        let mut text = match (&self.key, &self.identity) {
            (Some(path), _) => format!("the key `{path}`"),
            (None, Some((issuer, identity))) => format!("`{identity}` as {issuer} says"),
            (None, None) => "nobody".to_owned(),
        };
        for (name, value) in &self.claims {
            text.push_str(&format!(", {name} `{value}`"));
        }
        text.push_str(&self.from.map(|at| format!(", from {}", show_moment(at))).unwrap_or_default());
        text.push_str(&self.until.map(|at| format!(", until {}", show_moment(at))).unwrap_or_default());
        text.push_str(match self.evidence {
            (false, false) => "",
            (true, false) => ", with a log entry",
            (false, true) => ", with a timestamp",
            (true, true) => ", with a log entry and a timestamp",
        });
        text
    }
}

fn list<'a>(words: impl Iterator<Item = &'a String>) -> String {
    words.map(|word| format!("`{word}`")).collect::<Vec<_>>().join(" or ")
}

fn count(n: u32, what: &str) -> String {
    format!("{n} {what}{}", if n == 1 { "" } else { "s" })
}

/// Bytes, in the largest unit that they are a whole number of.
fn size(bytes: u64) -> String {
    let units = [("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)];
    let whole = units.iter().find(|(_, factor)| bytes > 0 && bytes.is_multiple_of(*factor));
    whole.map_or_else(|| format!("{bytes} B"), |(unit, factor)| format!("{} {unit}", bytes / factor))
}

fn time(span: Duration) -> String {
    let micros = span.as_micros();
    let units = [("d", 86_400_000_000), ("h", 3_600_000_000), ("min", 60_000_000), ("s", 1_000_000), ("ms", 1_000)];
    let whole = units.iter().find(|(_, factor)| micros > 0 && micros.is_multiple_of(*factor));
    whole.map_or_else(|| format!("{micros} us"), |(unit, factor)| format!("{} {unit}", micros / factor))
}
