//! A module's imports held against its policy's grants.
//!
//! Runs in: daemon (at admission) and command line (`policy check --module`).

use crate::codes::Code;
use crate::diagnostic::Diagnostics;
use crate::imports::ModuleImports;
use crate::policy::Mode;
use crate::policy::Place;
use crate::policy::Policy;
use crate::units::show_size;

impl Policy {
    /// Which grant is missing, and which is not used.
    #[must_use]
    pub fn compare(&self, module: &ModuleImports) -> Diagnostics {
        let mut found = Diagnostics::default();
        self.compare_graphs(module, &mut found);
        self.compare_dirs(module, &mut found);
        self.compare_limits(module, &mut found);
        for (from, name) in &module.other {
            let what = if name.is_empty() { format!("`{from}`") } else { format!("`{name}` from `{from}`") };
            let diagnostic =
                self.diagnostic(Code::UnknownImport, format!("module imports {what}, which nobody offers"), Place::Path, "this module");
            found.push(diagnostic.help(
                "ask the vendor for a module that needs WASI preview 1, or WASI 0.2 without outgoing HTTP requests, and wasi-nn at most",
            ));
        }
        for interface in &module.sockets {
            let message = format!("module imports `{interface}`, and no module is given the network");
            let diagnostic = self.diagnostic(Code::Sockets, message, Place::Path, "this module");
            found.push(diagnostic.help("no change is needed if the module works without; every such call fails with a code that it sees"));
        }
        self.compare_mode(module, &mut found);
        found.sort();
        found
    }

    fn compare_mode(&self, module: &ModuleImports, found: &mut Diagnostics) {
        let mut say =
            |code, message: String, label: &str, help: &str| found.push(self.diagnostic(code, message, Place::Path, label).help(help));
        match self.mode {
            Mode::Command if !module.command && module.serves => {
                let label = "exports `wasi:http/incoming-handler`";
                say(
                    Code::NotACommand,
                    "module serves, and is no command".into(),
                    label,
                    "write `mode = \"http\"`, and `[http]` with `listen`",
                );
            }
            Mode::Command if !module.command => {
                let label = "exports neither `_start` nor `wasi:cli/run`";
                say(Code::NotACommand, "module has nothing to run".into(), label, "ask the vendor for a command, not a library");
            }
            Mode::Command => {
                for interface in &module.http {
                    let help = "ask the vendor for a command without HTTP";
                    say(Code::UnknownImport, format!("module imports `{interface}`, which no command is given"), "this module", help);
                }
            }
            Mode::Http if !module.serves => {
                let label = "does not export `wasi:http/incoming-handler@0.2`";
                let help = if module.command {
                    "write `mode = \"command\"` and remove `[http]`"
                } else {
                    "ask the vendor for a component that serves"
                };
                say(Code::NotACommand, "module does not serve".into(), label, help);
            }
            Mode::Http => {}
        }
    }

    fn compare_graphs(&self, module: &ModuleImports, found: &mut Diagnostics) {
        if module.nn && self.graphs.is_empty() {
            let diagnostic =
                self.diagnostic(Code::NoGraph, "module asks for graphs, and the policy grants none", Place::Path, "imports wasi-nn");
            found.push(diagnostic.help("add a `[[graph]]` with `name`, `model`, `sha256`, `encoding` and `target`"));
        }
        for (i, graph) in self.graphs.iter().enumerate().filter(|_| !module.nn) {
            let message = format!("graph `{}` is granted, and the module never asks for one", graph.name);
            found.push(self.diagnostic(Code::UnusedGraph, message, Place::Model(i), "not used").help("remove this `[[graph]]`"));
        }
    }

    fn compare_dirs(&self, module: &ModuleImports, found: &mut Diagnostics) {
        let opens = module.opens_files();
        if opens && self.dirs.is_empty() {
            let diagnostic = self.diagnostic(
                Code::NoDir,
                "module opens files, and the policy grants no directory",
                Place::Path,
                "imports calls that open files",
            );
            found.push(diagnostic.help("add a `[[dir]]` if the module needs files to do its work; many never open one"));
        }
        for (i, dir) in self.dirs.iter().enumerate().filter(|_| !opens) {
            let message = format!("directory `{}` is granted, and the module never opens one", dir.guest);
            found.push(self.diagnostic(Code::UnusedDir, message, Place::Dir(i), "not used").help("remove this `[[dir]]`"));
        }
    }

    fn compare_limits(&self, module: &ModuleImports, found: &mut Diagnostics) {
        if module.memory > self.limits.memory {
            let needs = show_size(module.memory);
            let diagnostic = self.diagnostic(
                Code::MemoryTooSmall,
                format!("module starts with {needs} of memory, which is more than its limit"),
                Place::Memory,
                "less than it starts with",
            );
            found.push(diagnostic.help(format!("write `memory = \"{needs}\"` or more")));
        }
        if module.table_elements > u64::from(self.limits.table_elements) {
            let needs = module.table_elements;
            let limit = self.limits.table_elements;
            let message = format!("module starts with {needs} table elements, and its limit is {limit}");
            let diagnostic =
                self.diagnostic(Code::TablesTooSmall, message, Place::TableElements, "the limit stands here, or is left to its default");
            found.push(diagnostic.help(format!("write `table-elements = {needs}` or more")));
        }
    }
}
