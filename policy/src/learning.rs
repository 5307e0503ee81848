//! `[learning]` of the host's file: one module that is given more than its policy on a lab machine, so that the journal shows what it wants.
//!
//! Runs in: daemon and command line.
//! Invariant: what a module is given so is a text, parsed and checked as every policy is; its digest is in the journal, and `policy learn` reads that text.
//! Does not: widen limits, signers or requirements. A module that nobody signed is not learned from either.

use std::path::PathBuf;

use crate::bounds::MAX_DIRS;
use crate::bounds::MAX_GRAPHS;
use crate::diagnostic::Diagnostics;
use crate::document::Document;
use crate::document::Reading;
use crate::document::Table;
use crate::names::GraphName;
use crate::names::ModuleName;
use crate::paths::within;
use crate::policy::Policy;
use crate::resolve::Resolver;
use crate::schema;
use crate::source::Source;

/// Which module is learned from, and what lies ready for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Learning {
    /// `learning.module`
    pub module: ModuleName,
    /// `learning.directory`: each directory in it is granted, to read and write, under its own name: `/srv/lab/in` as `/in`.
    pub directory: Option<PathBuf>,
}

impl Resolver<'_> {
    /// `[learning]`, where it is.
    pub(crate) fn learning(&mut self, root: &Table<'_>) -> Option<Option<Learning>> {
        let Some(table) = root.section("learning") else { return Some(None) };
        let directory = if table.has("directory") { self.path(&table, "directory").map(|found| Some(found.value)) } else { Some(None) };
        let module = table.text("module").and_then(|name| self.name(name, "module", ModuleName::new));
        Some(Some(Learning { module: module?.value, directory: directory? }))
    }
}

impl Learning {
    /// The policy of the module as a text in which more is granted: the `directories` that lie in [`Learning::directory`], each by its name, and every graph
    /// that one of the `others`, which are whole texts as [`crate::expand`] gives them, names. What the policy grants itself stays as it is, and goes first.
    #[must_use]
    pub fn widen(&self, own: &Policy, text: &str, directories: &[String], others: &[&str]) -> String {
        let mut out = format!("# Learning mode: the policy of `{}`, and behind it what it is given besides.\n{text}", own.name);
        if !out.ends_with('\n') {
            out.push('\n');
        }
        let mut dirs = own.dirs.len();
        for name in directories.iter().filter(|name| is_plain(name)) {
            let Some(host) = self.directory.as_deref().and_then(|dir| dir.to_str()).map(|dir| format!("{dir}/{name}")) else { continue };
            let guest = format!("/{name}");
            let meets = |a: &str, b: &str| within(a, b) || within(b, a);
            let granted = own.dirs.iter().any(|dir| meets(&guest, &dir.guest) || dir.host.to_str().is_some_and(|own| meets(&host, own)));
            if granted || dirs == MAX_DIRS {
                continue;
            }
            dirs += 1;
            out.push_str(&format!("\n[[dir]] # learning mode\nguest = \"{guest}\"\nhost = {}\naccess = \"read-write\"\n", quoted(&host)));
        }
        let mut names: Vec<String> = own.graphs.iter().map(|graph| graph.name.to_string()).collect();
        for text in others {
            let source = Source::new("", text);
            let mut mistakes = Diagnostics::default();
            let document = Document::read(&source, &schema::POLICY, Reading::Whole, &mut mistakes);
            for graph in document.root().sections("graph") {
                let Some(name) = graph.text("name").filter(|name| GraphName::new(name.value).is_ok()) else { continue };
                if names.len() < MAX_GRAPHS && !names.iter().any(|known| known == name.value) {
                    names.push(name.value.to_owned());
                    out.push_str("\n[[graph]] # learning mode\n");
                    copy(&graph, &source, &mut out);
                }
            }
        }
        out
    }
}

/// Every key of a graph, letter by letter.
fn copy(graph: &Table<'_>, source: &Source, out: &mut String) {
    for key in schema::GRAPH.keys {
        if let Some(value) = graph.plain(key).and_then(|span| source.text().get(span)) {
            out.push_str(&format!("{} = {value}\n", key.name));
        }
    }
}

/// A name that is a name of a directory everywhere, and means nothing in TOML.
fn is_plain(name: &str) -> bool {
    !name.is_empty() && !name.starts_with('.') && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte))
}

fn quoted(path: &str) -> String {
    format!("\"{}\"", path.replace('\\', "\\\\").replace('"', "\\\""))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
    use super::*;
    use crate::policy::Access;

    const HEAD: &str =
        "version = 1\n[module]\nname = \"NAME\"\npath = \"/m.wasm\"\nmode = \"command\"\n[[module.signer]]\nkey = \"/k.pub\"\n";
    const TAIL: &str = "[limits]\nmemory = \"64 MiB\"\ndeadline = \"1 s\"\ninstances = 1\noutput = \"1 MiB\"\n";

    fn policy(name: &str, grants: &str) -> (Policy, String) {
        let text = format!("{}{grants}{TAIL}", HEAD.replace("NAME", name));
        (crate::parse("p.toml", &text).unwrap(), text)
    }

    fn graph(name: &str, model: &str) -> String {
        let digest = "ab".repeat(32);
        format!(
            "[[graph]]\nname = \"{name}\"\nmodel = \"{model}\"\nsha256 = \"{digest}\"\nencoding = \"onnx\"\ntarget = \"cpu\"\nthreads = 2\n"
        )
    }

    #[test]
    fn what_lies_ready_is_granted_and_the_policy_s_own_grants_stay() {
        let own = "[[dir]]\nguest = \"/in\"\nhost = \"/srv/in\"\naccess = \"read\"\n".to_owned() + &graph("vad", "/vad.onnx");
        let (own, text) = policy("voice", &own);
        let (_, other) = policy("other", &(graph("vad", "/else.onnx") + &graph("type", "/type.onnx")));
        let learning = Learning { module: ModuleName::new("voice").unwrap(), directory: Some("/srv/lab".into()) };
        let directories = ["in", "spool", "..", "a b", "\"x", ".hidden"].map(str::to_owned);
        let wide = crate::parse("wide.toml", &learning.widen(&own, &text, &directories, &[&other])).unwrap();
        let dirs: Vec<_> = wide.dirs.iter().map(|dir| (dir.guest.as_str(), dir.host.to_str().unwrap(), dir.access)).collect();
        assert_eq!(dirs, [("/in", "/srv/in", Access::Read), ("/spool", "/srv/lab/spool", Access::ReadWrite)]);
        let graphs: Vec<_> =
            wide.graphs.iter().map(|graph| (graph.name.to_string(), graph.model.to_str().unwrap().to_owned(), graph.threads)).collect();
        assert_eq!(graphs, [("vad".into(), "/vad.onnx".into(), 2), ("type".into(), "/type.onnx".into(), 2)]);
        assert_eq!((wide.limits, &wide.signers, &wide.requirements), (own.limits, &own.signers, &own.requirements));
        assert_ne!(wide.digest, own.digest);
    }

    #[test]
    fn more_than_a_policy_may_have_is_left_out() {
        let (own, text) = policy("voice", "");
        let learning = Learning { module: ModuleName::new("voice").unwrap(), directory: Some("/srv/lab".into()) };
        let directories: Vec<String> = (0..1000).map(|i| format!("d{i}")).collect();
        let graphs: String = (0..MAX_GRAPHS).map(|i| graph(&format!("g{i}"), "/g.onnx")).collect();
        let (_, a) = policy("a", &graphs);
        let (_, b) = policy("b", &graph("late", "/g.onnx"));
        let wide = crate::parse("wide.toml", &learning.widen(&own, &text, &directories, &[&a, &b])).unwrap();
        assert_eq!((wide.dirs.len(), wide.graphs.len()), (MAX_DIRS, MAX_GRAPHS));
    }

    #[test]
    fn the_section_names_a_module() {
        let host = |text: &str| crate::parse_host("edgeguard.toml", &format!("version = 1\n{text}"));
        assert_eq!(host("").unwrap().learning, None);
        let read = host("[learning]\nmodule = \"voice\"\ndirectory = \"/srv/lab\"\n").unwrap().learning.unwrap();
        assert_eq!((read.module.as_str(), read.directory.as_deref()), ("voice", Some("/srv/lab".as_ref())));
        assert!(host("[learning]\ndirectory = \"/srv/lab\"\n").is_err());
        assert!(host("[learning]\nmodule = \"voice\"\ndirectory = \"lab\"\n").is_err());
        assert!(host("[learning]\nmodule = \"Voice!\"\n").is_err());
    }
}
