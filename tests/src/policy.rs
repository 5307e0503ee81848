//! A module's policy, as a test writes it.
//!
//! Runs in: tests.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use std::fmt::Write as _;
use std::path::Path;
use std::path::PathBuf;

use sha2::Digest as _;

use crate::house::House;

/// A policy file. Every public field is a line in it.
#[derive(Debug, Clone)]
pub struct Policy {
    /// `module.name`; the files of module and policy have it too.
    pub name: String,
    /// The signer's key, by its name in the house.
    pub key: String,
    /// `revision`
    pub revision: Option<u64>,
    /// `module.min-version`
    pub min_version: Option<u64>,
    /// All signers and requirements as they stand in the file, in place of the one key.
    pub signers: Option<String>,
    /// `limits.memory`
    pub memory: String,
    /// `limits.deadline`
    pub deadline: String,
    /// `limits.instances`
    pub instances: u32,
    /// `limits.output`
    pub output: String,
    /// `limits.open-files`
    pub open_files: u32,
    /// `limits.table-elements`
    pub table_elements: u32,
    /// It serves: the lines of `[http]`.
    pub http: Option<String>,
    dirs: Vec<(String, PathBuf, &'static str)>,
    graphs: Vec<(String, PathBuf, String, String)>,
}

impl Policy {
    /// No directory, no graph, one instance, generous limits.
    #[must_use]
    pub fn new(name: &str) -> Self {
        Self {
            name: name.into(),
            key: "acme".into(),
            revision: None,
            min_version: None,
            signers: None,
            memory: "16 MiB".into(),
            deadline: "20 s".into(),
            instances: 1,
            output: "1 MiB".into(),
            open_files: 16,
            table_elements: 1000,
            http: None,
            dirs: Vec::new(),
            graphs: Vec::new(),
        }
    }

    /// Changes a field.
    #[must_use]
    pub fn with(mut self, change: impl FnOnce(&mut Self)) -> Self {
        change(&mut self);
        self
    }

    /// Grants a directory for reading.
    #[must_use]
    pub fn read(mut self, guest: &str, host: &Path) -> Self {
        self.dirs.push((guest.into(), host.into(), "read"));
        self
    }

    /// Grants a directory for reading and writing.
    #[must_use]
    pub fn read_write(mut self, guest: &str, host: &Path) -> Self {
        self.dirs.push((guest.into(), host.into(), "read-write"));
        self
    }

    /// Grants a graph, by the digest that the file has now.
    #[must_use]
    pub fn graph(self, name: &str, model: &Path) -> Self {
        let digest = sha2::Sha256::digest(std::fs::read(model).unwrap());
        self.graph_of(name, model, &hex::encode(digest))
    }

    /// Grants a graph by any digest.
    #[must_use]
    pub fn graph_of(mut self, name: &str, model: &Path, sha256: &str) -> Self {
        self.graphs.push((name.into(), model.into(), sha256.into(), "encoding = \"onnx\"\n".into()));
        self
    }

    /// Grants a graph with its encoding, its engine and so on as they stand in the file.
    #[must_use]
    pub fn graph_by(self, name: &str, model: &Path, lines: &str) -> Self {
        let mut policy = self.graph(name, model);
        if let Some((.., last)) = policy.graphs.last_mut() {
            *last = lines.into();
        }
        policy
    }

    /// The file.
    #[must_use]
    pub fn text(&self, house: &House) -> String {
        let mut text = String::from("version = 1\n");
        if let Some(revision) = self.revision {
            let _ = writeln!(text, "revision = {revision}");
        }
        let mode = if self.http.is_some() { "http" } else { "command" };
        let _ = write!(text, "[module]\nname = {:?}\npath = {:?}\nmode = {mode:?}\n", self.name, house.module(&self.name));
        if let Some(version) = self.min_version {
            let _ = writeln!(text, "min-version = {version}");
        }
        match &self.signers {
            Some(signers) => text.push_str(signers),
            None => {
                let _ = write!(text, "[[module.signer]]\nkey = {:?}\n", house.path(&self.key).with_extension("pub"));
            }
        }
        for (guest, host, access) in &self.dirs {
            let _ = write!(text, "[[dir]]\nguest = {guest:?}\nhost = {host:?}\naccess = {access:?}\n");
        }
        for (name, model, sha256, lines) in &self.graphs {
            let _ = write!(text, "[[graph]]\nname = {name:?}\nmodel = {model:?}\nsha256 = {sha256:?}\ntarget = \"cpu\"\n{lines}");
        }
        if let Some(lines) = &self.http {
            let _ = write!(text, "[http]\n{lines}");
        }
        let _ = write!(
            text,
            "[limits]\nmemory = {:?}\ndeadline = {:?}\ninstances = {}\noutput = {:?}\nopen-files = {}\ntable-elements = {}\n",
            self.memory, self.deadline, self.instances, self.output, self.open_files, self.table_elements
        );
        text
    }
}
