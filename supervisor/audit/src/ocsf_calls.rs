//! Which OCSF class and activity each call is, and what else it says that has no field there.
//!
//! Runs in: CLI.

use serde_json::Value;

use crate::calls::CallId;
use crate::describe;
use crate::record::Record;

/// What a call is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Files: the activity of class 1001, with its name.
    File(u32, &'static str),
    /// It reads something that is no file: clocks, random bytes, arguments.
    Read,
    /// It is about a graph.
    Graph,
    /// Anything else.
    Other,
}

const CREATE: Kind = Kind::File(1, "Create");
const READ: Kind = Kind::File(2, "Read");
const UPDATE: Kind = Kind::File(3, "Update");
const DELETE: Kind = Kind::File(4, "Delete");
const RENAME: Kind = Kind::File(5, "Rename");
const SET: Kind = Kind::File(6, "Set Attributes");
const GET: Kind = Kind::File(8, "Get Attributes");
const OPEN: Kind = Kind::File(14, "Open");
const OTHER: Kind = Kind::File(99, "Other");

/// The kind of a call.
pub(crate) fn kind(call: CallId) -> Kind {
    match call.interface() {
        "wasi_snapshot_preview1" => preview1(call.function()),
        "wasi:filesystem/types" => descriptor(call.function()),
        "wasi_ephemeral_nn" => Kind::Graph,
        interface if interface.starts_with("wasi:nn/") || interface.starts_with("edgeguard:language/") => Kind::Graph,
        interface if interface.starts_with("wasi:clocks/") || interface.starts_with("wasi:random/") => Kind::Read,
        "wasi:cli/environment" | "wasi:filesystem/preopens" => Kind::Read,
        _ => Kind::Other,
    }
}

/// With which flags a file was opened, into which directory something was moved, with which code the guest ended, by their names under `unmapped`: OCSF has
/// words for the flags of Windows alone.
pub(crate) fn asked(record: &Record) -> impl Iterator<Item = (&'static str, Value)> {
    let flags = record.opened_with().map(|flags| ("open_flags", flags.names().collect::<Vec<_>>().into()));
    let rule_name = |rule| if rule == 0 { Value::Null } else { describe::rule_name(rule).into() };
    let to = record.rule_to().map(|rule| ("rule_to", rule_name(rule)));
    let code = record.exit_code().map(|code| ("exit_code", code.cast_signed().into()));
    flags.into_iter().chain(to).chain(code)
}

fn preview1(function: &str) -> Kind {
    match function {
        "path_open" => OPEN,
        "path_create_directory" | "path_link" | "path_symlink" => CREATE,
        "fd_read" | "fd_pread" | "fd_readdir" | "path_readlink" => READ,
        "fd_write" | "fd_pwrite" | "fd_allocate" | "fd_filestat_set_size" => UPDATE,
        "path_unlink_file" | "path_remove_directory" => DELETE,
        "path_rename" => RENAME,
        "fd_filestat_set_times" | "path_filestat_set_times" | "fd_fdstat_set_flags" | "fd_fdstat_set_rights" => SET,
        "fd_filestat_get" | "path_filestat_get" | "fd_fdstat_get" => GET,
        "fd_advise" | "fd_close" | "fd_datasync" | "fd_renumber" | "fd_seek" | "fd_sync" | "fd_tell" => OTHER,
        "args_get"
        | "args_sizes_get"
        | "environ_get"
        | "environ_sizes_get"
        | "clock_res_get"
        | "clock_time_get"
        | "random_get"
        | "fd_prestat_get"
        | "fd_prestat_dir_name" => Kind::Read,
        _ => Kind::Other,
    }
}

fn descriptor(function: &str) -> Kind {
    match function.rsplit('.').next().unwrap_or(function) {
        "open-at" => OPEN,
        "create-directory-at" | "link-at" | "symlink-at" => CREATE,
        "read" | "read-via-stream" | "read-directory" | "read-directory-entry" | "readlink-at" => READ,
        "write" | "write-via-stream" | "append-via-stream" | "set-size" => UPDATE,
        "unlink-file-at" | "remove-directory-at" => DELETE,
        "rename-at" => RENAME,
        "set-times" | "set-times-at" => SET,
        "stat" | "stat-at" | "get-flags" | "get-type" | "metadata-hash" | "metadata-hash-at" | "is-same-object" => GET,
        _ => OTHER,
    }
}
