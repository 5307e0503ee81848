//! Guests as text, with what most of them need around what each is about.
//!
//! Runs in: tests; what it makes runs in workers.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

/// A command for WASI preview 1. `body` holds data from 1024 on, functions, and the export `_start`; `$say` prints a number and a newline,
/// `$open` opens a path below a directory and leaves the descriptor at 96.
///
/// # Panics
/// The text is no module.
#[must_use]
pub fn guest(body: &str) -> Vec<u8> {
    assemble(&format!("(module {WASI} {TOOLS} {body})"))
}

/// The same, with wasi-nn.
///
/// # Panics
/// The text is no module.
#[must_use]
pub fn nn_guest(body: &str) -> Vec<u8> {
    assemble(&format!("(module {WASI} {NN} {TOOLS} {body})"))
}

/// A guest that does nothing.
#[must_use]
pub fn empty() -> Vec<u8> {
    guest(r#"(func (export "_start"))"#)
}

/// A guest that copies its standard input to its standard output.
#[must_use]
pub fn cat() -> Vec<u8> {
    guest(
        r#"(func (export "_start") (local $left i32) (local $at i32)
          (loop $next
            (i32.store (i32.const 0) (i32.const 4096)) (i32.store (i32.const 4) (i32.const 32768))
            (if (call $fd_read (i32.const 0) (i32.const 0) (i32.const 1) (i32.const 8)) (then (call $proc_exit (i32.const 11))))
            (local.set $left (i32.load (i32.const 8)))
            (local.set $at (i32.const 4096))
            (if (local.get $left) (then
              (loop $more
                (i32.store (i32.const 0) (local.get $at)) (i32.store (i32.const 4) (local.get $left))
                (if (call $fd_write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 8)) (then (call $proc_exit (i32.const 12))))
                (local.set $at (i32.add (local.get $at) (i32.load (i32.const 8))))
                (local.set $left (i32.sub (local.get $left) (i32.load (i32.const 8))))
                (br_if $more (local.get $left)))
              (br $next)))))"#,
    )
}

/// The service of `tests/guests/service.wat`, made a component as toolchains do it.
///
/// # Panics
/// The text is no module.
#[must_use]
pub fn service() -> Vec<u8> {
    let guests = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("guests");
    let mut core = wat::parse_file(guests.join("service.wat")).unwrap_or_else(|error| panic!("{error}"));
    let mut resolve = wit_parser::Resolve::default();
    let path = guests.join("service.wit");
    let package = resolve.push_str(&path, &std::fs::read_to_string(&path).unwrap()).unwrap();
    let world = resolve.select_world(&[package], Some("service")).unwrap();
    wit_component::embed_component_metadata(&mut core, &resolve, world, wit_component::StringEncoding::UTF8, false).unwrap();
    wit_component::ComponentEncoder::default().module(&core).and_then(|encoder| encoder.encode()).unwrap()
}

/// Any module.
///
/// # Panics
/// The text is no module.
#[must_use]
pub fn assemble(text: &str) -> Vec<u8> {
    wat::parse_str(text).unwrap_or_else(|error| panic!("{error}"))
}

const WASI: &str = r#"
(import "wasi_snapshot_preview1" "fd_read" (func $fd_read (param i32 i32 i32 i32) (result i32)))
(import "wasi_snapshot_preview1" "fd_write" (func $fd_write (param i32 i32 i32 i32) (result i32)))
(import "wasi_snapshot_preview1" "fd_close" (func $fd_close (param i32) (result i32)))
(import "wasi_snapshot_preview1" "fd_filestat_set_size" (func $fd_filestat_set_size (param i32 i64) (result i32)))
(import "wasi_snapshot_preview1" "fd_allocate" (func $fd_allocate (param i32 i64 i64) (result i32)))
(import "wasi_snapshot_preview1" "fd_readdir" (func $fd_readdir (param i32 i32 i32 i64 i32) (result i32)))
(import "wasi_snapshot_preview1" "path_open" (func $path_open (param i32 i32 i32 i32 i32 i64 i64 i32 i32) (result i32)))
(import "wasi_snapshot_preview1" "path_link" (func $path_link (param i32 i32 i32 i32 i32 i32 i32) (result i32)))
(import "wasi_snapshot_preview1" "path_rename" (func $path_rename (param i32 i32 i32 i32 i32 i32) (result i32)))
(import "wasi_snapshot_preview1" "path_symlink" (func $path_symlink (param i32 i32 i32 i32 i32) (result i32)))
(import "wasi_snapshot_preview1" "path_readlink" (func $path_readlink (param i32 i32 i32 i32 i32 i32) (result i32)))
(import "wasi_snapshot_preview1" "path_unlink_file" (func $path_unlink_file (param i32 i32 i32) (result i32)))
(import "wasi_snapshot_preview1" "path_create_directory" (func $path_create_directory (param i32 i32 i32) (result i32)))
(import "wasi_snapshot_preview1" "path_filestat_get" (func $path_filestat_get (param i32 i32 i32 i32 i32) (result i32)))
(import "wasi_snapshot_preview1" "path_filestat_set_times" (func $path_filestat_set_times (param i32 i32 i32 i32 i64 i64 i32) (result i32)))
(import "wasi_snapshot_preview1" "poll_oneoff" (func $poll_oneoff (param i32 i32 i32 i32) (result i32)))
(import "wasi_snapshot_preview1" "clock_time_get" (func $clock_time_get (param i32 i64 i32) (result i32)))
(import "wasi_snapshot_preview1" "sched_yield" (func $sched_yield (result i32)))
(import "wasi_snapshot_preview1" "proc_exit" (func $proc_exit (param i32)))
"#;

const NN: &str = r#"
(import "wasi_ephemeral_nn" "load" (func $load (param i32 i32 i32 i32 i32) (result i32)))
(import "wasi_ephemeral_nn" "load_by_name" (func $load_by_name (param i32 i32 i32) (result i32)))
(import "wasi_ephemeral_nn" "init_execution_context" (func $init (param i32 i32) (result i32)))
(import "wasi_ephemeral_nn" "set_input" (func $set_input (param i32 i32 i32) (result i32)))
(import "wasi_ephemeral_nn" "compute" (func $compute (param i32) (result i32)))
(import "wasi_ephemeral_nn" "get_output" (func $get_output (param i32 i32 i32 i32 i32) (result i32)))
"#;

const TOOLS: &str = r#"
(memory (export "memory") 4)
(func $print (param $text i32) (param $length i32)
  (i32.store (i32.const 0) (local.get $text))
  (i32.store (i32.const 4) (local.get $length))
  (drop (call $fd_write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 8))))
(func $say (param $number i32) (local $at i32)
  (i32.store8 (i32.const 63) (i32.const 10))
  (local.set $at (i32.const 63))
  (loop $digit
    (local.set $at (i32.sub (local.get $at) (i32.const 1)))
    (i32.store8 (local.get $at) (i32.add (i32.const 48) (i32.rem_u (local.get $number) (i32.const 10))))
    (local.set $number (i32.div_u (local.get $number) (i32.const 10)))
    (br_if $digit (local.get $number)))
  (call $print (local.get $at) (i32.sub (i32.const 64) (local.get $at))))
(func $open (param $dir i32) (param $path i32) (param $length i32) (param $oflags i32) (param $rights i64) (result i32)
  (call $path_open (local.get $dir) (i32.const 1) (local.get $path) (local.get $length) (local.get $oflags)
    (local.get $rights) (local.get $rights) (i32.const 0) (i32.const 96)))
"#;
