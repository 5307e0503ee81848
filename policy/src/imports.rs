//! What a wasm file asks of its host, read from its import and export sections alone.
//!
//! Runs in: daemon (before a module is handed to the compiler) and command line (`policy check --module`).
//! Does not: validate function bodies, compile, or run anything. Bounded: at most [`MAX_IMPORTS`] imports, nesting by the parser.

use std::collections::BTreeSet;

use thiserror::Error;
use wasmparser::ComponentExternalKind;
use wasmparser::ComponentTypeRef;
use wasmparser::ExternalKind;
use wasmparser::MemoryType;
use wasmparser::Parser;
use wasmparser::Payload;
use wasmparser::TypeRef;

/// Most imports that are read from one file, those of nested modules included.
pub const MAX_IMPORTS: usize = 10_000;

/// Longest name of an import, in bytes.
pub const MAX_NAME: usize = 1024;

/// Deepest nesting of components in components.
const MAX_DEPTH: usize = 32;

/// The two kinds of wasm binary.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A core module; WASI preview 1.
    Core,
    /// A component; WASI 0.2.
    Component,
}

/// What a module asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ModuleImports {
    /// Core module or component.
    pub kind: Kind,
    /// Functions of `wasi_snapshot_preview1`.
    pub wasi_p1: Vec<String>,
    /// Interfaces of WASI 0.2, as they stand in the file: `wasi:filesystem/types@0.2.6`.
    pub wasi_p2: Vec<String>,
    /// Interfaces of `wasi:sockets`. Workers have them, and every call of them is denied.
    pub sockets: Vec<String>,
    /// Whether it asks for wasi-nn, by either ABI.
    pub nn: bool,
    /// Everything that this version does not offer: (module or interface, name; the name is empty for an interface).
    pub other: Vec<(String, String)>,
    /// Whether it exports `_start` or `wasi:cli/run`.
    pub command: bool,
    /// Whether it exports `wasi:http/incoming-handler`.
    pub serves: bool,
    /// Interfaces of wasi:http that workers offer to modules that serve: `wasi:http/types@0.2.6`.
    pub http: Vec<String>,
    /// Bytes of the largest memory it starts with.
    pub memory: u64,
    /// Elements of all tables it starts with, those of a component's nested modules together.
    pub table_elements: u64,
}

/// Why the imports of a file could not be read.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum ImportsError {
    /// It does not begin as a wasm binary does.
    #[error("begins with none of the two wasm headers (`\\0asm`, then version 1 for a module or 13 for a component)")]
    Header,
    /// It breaks off, or a section is malformed.
    #[error("is malformed at byte {offset}: {message}")]
    Malformed {
        /// Where.
        offset: u64,
        /// The parser's words.
        message: String,
    },
    /// It has more imports, longer names or deeper nesting than are read.
    #[error("has {0}")]
    TooMuch(&'static str),
}

impl From<wasmparser::BinaryReaderError> for ImportsError {
    fn from(e: wasmparser::BinaryReaderError) -> Self {
        Self::Malformed { offset: e.offset(), message: e.message().chars().take(200).collect() }
    }
}

/// Reads the imports of a core module or a component.
///
/// # Errors
/// The bytes are no wasm binary, or ask for more than is read. Never panics, whatever the bytes.
pub fn read(bytes: &[u8]) -> Result<ModuleImports, ImportsError> {
    let kind = match bytes.get(..8) {
        Some(b"\0asm\x01\0\0\0") => Kind::Core,
        Some(b"\0asm\x0d\0\x01\0") => Kind::Component,
        _ => return Err(ImportsError::Header),
    };
    let mut reading = Reading { depth: 0, count: 0, seen: BTreeSet::new(), imports: ModuleImports::new(kind) };
    for payload in Parser::new(0).parse_all(bytes) {
        reading.payload(payload?)?;
    }
    Ok(reading.imports)
}

impl ModuleImports {
    fn new(kind: Kind) -> Self {
        Self {
            kind,
            wasi_p1: vec![],
            wasi_p2: vec![],
            sockets: vec![],
            nn: false,
            other: vec![],
            command: false,
            serves: false,
            http: vec![],
            memory: 0,
            table_elements: 0,
        }
    }

    /// Whether it imports a call that opens files or directories.
    #[must_use]
    pub fn opens_files(&self) -> bool {
        let p1 = self.wasi_p1.iter().any(|name| name.starts_with("path_"));
        p1 || self.wasi_p2.iter().any(|name| name.starts_with("wasi:filesystem/"))
    }
}

struct Reading {
    /// How many modules and components we are inside of, the outermost not counted.
    depth: usize,
    count: usize,
    seen: BTreeSet<(String, String)>,
    imports: ModuleImports,
}

impl Reading {
    fn payload(&mut self, payload: Payload<'_>) -> Result<(), ImportsError> {
        match payload {
            Payload::ModuleSection { .. } | Payload::ComponentSection { .. } => {
                self.depth += 1;
                if self.depth > MAX_DEPTH {
                    return Err(ImportsError::TooMuch("components nested more than 32 deep"));
                }
            }
            Payload::End(_) => self.depth = self.depth.saturating_sub(1),
            // A nested module imports from its component; only the outermost asks the host.
            Payload::ImportSection(section) if self.outermost(Kind::Core) => {
                for import in section.into_imports() {
                    let import = import?;
                    self.ask(import.module, import.name)?;
                    self.start(import.ty);
                }
            }
            Payload::ComponentImportSection(section) if self.outermost(Kind::Component) => {
                for import in section {
                    let import = import?;
                    // An imported type alone asks for nothing that runs.
                    if !matches!(import.ty, ComponentTypeRef::Type(_)) {
                        self.ask(import.name.name, "")?;
                    }
                }
            }
            Payload::ExportSection(section) if self.outermost(Kind::Core) => {
                for export in section {
                    let export = export?;
                    self.imports.command |= export.name == "_start" && export.kind == ExternalKind::Func;
                }
            }
            Payload::ComponentExportSection(section) if self.outermost(Kind::Component) => {
                for export in section {
                    let export = export?;
                    let run = export.name.name.split('@').next() == Some("wasi:cli/run");
                    self.imports.command |= run && export.kind == ComponentExternalKind::Instance;
                    let serves = version_fits(export.name.name, |name| name == "wasi:http/incoming-handler");
                    self.imports.serves |= serves && export.kind == ComponentExternalKind::Instance;
                }
            }
            Payload::MemorySection(section) => {
                for memory in section {
                    self.memory(memory?);
                }
            }
            Payload::TableSection(section) => {
                for table in section {
                    self.imports.table_elements = self.imports.table_elements.saturating_add(table?.ty.initial);
                }
            }
            _ => {}
        }
        Ok(())
    }

    fn outermost(&self, kind: Kind) -> bool {
        self.depth == 0 && self.imports.kind == kind
    }

    fn start(&mut self, ty: TypeRef) {
        if let TypeRef::Memory(memory) = ty {
            self.memory(memory);
        }
    }

    fn memory(&mut self, memory: MemoryType) {
        let page = 1_u64.checked_shl(memory.page_size_log2.unwrap_or(16)).unwrap_or(u64::MAX);
        self.imports.memory = self.imports.memory.max(memory.initial.saturating_mul(page));
    }

    /// Puts one import where it belongs.
    fn ask(&mut self, module: &str, name: &str) -> Result<(), ImportsError> {
        self.count += 1;
        if self.count > MAX_IMPORTS {
            return Err(ImportsError::TooMuch("more than 10000 imports"));
        }
        if module.len() > MAX_NAME || name.len() > MAX_NAME {
            return Err(ImportsError::TooMuch("an import with a name longer than 1024 bytes"));
        }
        if !self.seen.insert((module.to_owned(), name.to_owned())) {
            return Ok(());
        }
        let imports = &mut self.imports;
        match (imports.kind, module) {
            (Kind::Core, "wasi_snapshot_preview1") if P1.contains(&name) => imports.wasi_p1.push(name.to_owned()),
            (Kind::Core, "wasi_ephemeral_nn") if NN_P1.contains(&name) => imports.nn = true,
            (Kind::Component, interface) if offered_nn(interface) => imports.nn = true,
            (Kind::Component, interface) if version_fits(interface, |name| name.starts_with("wasi:sockets/")) => {
                imports.sockets.push(interface.to_owned())
            }
            (Kind::Component, interface) if version_fits(interface, |name| P2.contains(&name)) => {
                imports.wasi_p2.push(interface.to_owned())
            }
            (Kind::Component, interface) if version_fits(interface, |name| name == "wasi:http/types") => {
                imports.http.push(interface.to_owned())
            }
            _ => imports.other.push((module.to_owned(), name.to_owned())),
        }
        Ok(())
    }
}

/// Whether a component's import is an interface that `known` says yes to, in any version 0.2.x: WASI's minor versions only add.
fn version_fits(import: &str, known: impl Fn(&str) -> bool) -> bool {
    let Some((interface, version)) = import.split_once('@') else { return false };
    let patch = version.strip_prefix("0.2.").is_some_and(|p| !p.is_empty() && p.bytes().all(|b| b.is_ascii_digit()));
    patch && known(interface)
}

/// Whether a component's import is an interface of the one wasi-nn that workers offer, or that of language models.
fn offered_nn(import: &str) -> bool {
    let Some((interface, version)) = import.split_once('@') else { return false };
    match version {
        "0.2.0-rc-2024-10-28" => NN_P2.contains(&interface),
        "0.1.0" => interface == LANGUAGE,
        _ => false,
    }
}

/// Every function of WASI preview 1, as its witx has them.
pub const P1: &[&str] = &[
    "args_get",
    "args_sizes_get",
    "clock_res_get",
    "clock_time_get",
    "environ_get",
    "environ_sizes_get",
    "fd_advise",
    "fd_allocate",
    "fd_close",
    "fd_datasync",
    "fd_fdstat_get",
    "fd_fdstat_set_flags",
    "fd_fdstat_set_rights",
    "fd_filestat_get",
    "fd_filestat_set_size",
    "fd_filestat_set_times",
    "fd_pread",
    "fd_prestat_dir_name",
    "fd_prestat_get",
    "fd_pwrite",
    "fd_read",
    "fd_readdir",
    "fd_renumber",
    "fd_seek",
    "fd_sync",
    "fd_tell",
    "fd_write",
    "path_create_directory",
    "path_filestat_get",
    "path_filestat_set_times",
    "path_link",
    "path_open",
    "path_readlink",
    "path_remove_directory",
    "path_rename",
    "path_symlink",
    "path_unlink_file",
    "poll_oneoff",
    "proc_exit",
    "proc_raise",
    "random_get",
    "sched_yield",
    "sock_accept",
    "sock_recv",
    "sock_send",
    "sock_shutdown",
];

/// wasi-nn for preview 1, with the names that WasmEdge's guests use.
pub const NN_P1: &[&str] = &[
    "load",
    "load_by_name",
    "load_by_name_with_config",
    "init_execution_context",
    "set_input",
    "compute",
    "compute_single",
    "get_output",
    "get_output_single",
    "fini_single",
    "unload",
    "finalize_execution_context",
];

/// Interfaces of WASI 0.2 that workers offer in command mode.
pub const P2: &[&str] = &[
    "wasi:cli/environment",
    "wasi:cli/exit",
    "wasi:cli/stderr",
    "wasi:cli/stdin",
    "wasi:cli/stdout",
    "wasi:cli/terminal-input",
    "wasi:cli/terminal-output",
    "wasi:cli/terminal-stderr",
    "wasi:cli/terminal-stdin",
    "wasi:cli/terminal-stdout",
    "wasi:clocks/monotonic-clock",
    "wasi:clocks/wall-clock",
    "wasi:filesystem/preopens",
    "wasi:filesystem/types",
    "wasi:io/error",
    "wasi:io/poll",
    "wasi:io/streams",
    "wasi:random/insecure",
    "wasi:random/insecure-seed",
    "wasi:random/random",
];

/// Interfaces of wasi-nn for components.
pub const NN_P2: &[&str] = &["wasi:nn/errors", "wasi:nn/graph", "wasi:nn/inference", "wasi:nn/tensor"];

/// The interface of language models for components, version 0.1.0.
pub const LANGUAGE: &str = "edgeguard:language/models";
