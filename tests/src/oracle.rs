//! A guest that knows what it did: it makes calls in an order that is known beforehand, and counts each before it makes it.
//!
//! Runs in: tests; what it makes runs in workers.
//! Invariant: the guest is made from one table, [`FUNCTIONS`], so the order that is expected and the order that is made are the same rows.
//!
//! It reads five bytes from its standard input before anything else: how many rounds to make (`u32`, little-endian), and a letter, which is the last of its
//! mark's name. So several can be started, wait, and begin together.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use std::fmt::Write as _;

use edgeguard_audit::CallId;
use edgeguard_audit::call_id;

use crate::guest::assemble;

/// Preview 1's import module.
pub const WASI: &str = "wasi_snapshot_preview1";
/// wasi-nn's.
pub const NN: &str = "wasi_ephemeral_nn";

/// One function: import module, name, and the arguments of the call, as words.
///
/// `D` is the granted directory, `F` a file in it that is open, `X` a descriptor that nobody has, `O` and `Q` room for what is stored, `G` the graph, `C` its
/// context, `M` the mark; `4` is an `i32` and `4L` an `i64`; `there` and `gone` are a pointer and a length: a file that is there, and one that is not; `made`
/// is a name that may be made, and `mark` that of the mark.
pub type Function = (&'static str, &'static str, &'static str);

/// Every function that a core module can import and come back from: all but `proc_exit`. Some succeed and some fail, as their arguments have it.
pub const FUNCTIONS: &[Function] = &[
    (WASI, "args_get", "O Q"),
    (WASI, "args_sizes_get", "O Q"),
    (WASI, "environ_get", "O Q"),
    (WASI, "environ_sizes_get", "O Q"),
    (WASI, "clock_res_get", "1 O"),
    (WASI, "clock_time_get", "1 0L O"),
    (WASI, "fd_advise", "F 0L 0L 0"),
    (WASI, "fd_allocate", "F 0L 8L"),
    (WASI, "fd_close", "X"),
    (WASI, "fd_datasync", "X"),
    (WASI, "fd_fdstat_get", "F O"),
    (WASI, "fd_fdstat_set_flags", "F 0"),
    (WASI, "fd_fdstat_set_rights", "F 0L 0L"),
    (WASI, "fd_filestat_get", "F O"),
    (WASI, "fd_filestat_set_size", "F 64L"),
    (WASI, "fd_filestat_set_times", "F 0L 0L 0"),
    (WASI, "fd_pread", "F 0 1 0L 32"),
    (WASI, "fd_prestat_get", "D O"),
    (WASI, "fd_prestat_dir_name", "D O 5"),
    (WASI, "fd_pwrite", "F 0 1 0L 32"),
    (WASI, "fd_read", "F 0 1 32"),
    (WASI, "fd_readdir", "D O 512 0L 32"),
    (WASI, "fd_renumber", "X X"),
    (WASI, "fd_seek", "F 0L 0 O"),
    (WASI, "fd_sync", "X"),
    (WASI, "fd_tell", "F O"),
    (WASI, "fd_write", "F 0 1 32"),
    (WASI, "path_create_directory", "D made"),
    (WASI, "path_filestat_get", "D 0 there O"),
    (WASI, "path_filestat_set_times", "D 0 there 0L 0L 0"),
    (WASI, "path_link", "D 0 there D made"),
    (WASI, "path_open", "D 0 gone 0 2L 2L 0 112"),
    (WASI, "path_readlink", "D there O 64 32"),
    (WASI, "path_remove_directory", "D gone"),
    (WASI, "path_rename", "D gone D gone"),
    (WASI, "path_symlink", "there D made"),
    (WASI, "path_unlink_file", "D gone"),
    (WASI, "poll_oneoff", "O Q 0 32"),
    (WASI, "proc_raise", "0"),
    (WASI, "sched_yield", ""),
    (WASI, "random_get", "O 16"),
    (WASI, "sock_accept", "X 0 O"),
    (WASI, "sock_recv", "X 0 1 0 32 36"),
    (WASI, "sock_send", "X 0 1 0 32"),
    (WASI, "sock_shutdown", "X 0"),
    (NN, "load", "128 1 1 0 100"),
    (NN, "load_by_name", "1072 5 100"),
    (NN, "init_execution_context", "G 104"),
    (NN, "set_input", "C 0 200"),
    (NN, "compute", "C"),
    (NN, "get_output", "C 0 500 8 112"),
    (NN, "load_by_name_with_config", "1072 5 128 0 100"),
    (NN, "compute_single", "C"),
    (NN, "get_output_single", "C 0 500 8 112"),
    (NN, "fini_single", "C"),
    (NN, "unload", "G"),
    (NN, "finalize_execution_context", "C"),
];

/// What the guest calls in each round.
#[derive(Debug, Clone)]
pub struct Oracle {
    round: Vec<Function>,
    marks: bool,
}

impl Oracle {
    /// Rounds of these functions. At its end the guest prints its own counts, as [`Oracle::counts`] reads them.
    #[must_use]
    pub fn new(round: Vec<Function>) -> Self {
        Self { round, marks: false }
    }

    /// After each call, one more: `fd_pwrite` of how many calls were begun so far, its own among them, to the file `markZ` of the directory, where Z is the
    /// letter from standard input. However the guest ends, the file says how far it came, to the call.
    #[must_use]
    pub fn with_marks(self) -> Self {
        Self { marks: true, ..self }
    }

    /// What a guest is to be fed, to begin.
    #[must_use]
    pub fn input(rounds: u32, letter: char) -> Vec<u8> {
        let mut input = rounds.to_le_bytes().to_vec();
        input.push(u8::try_from(letter).unwrap());
        input
    }

    /// The calls that it makes, in their order, without end.
    pub fn sequence(&self) -> impl Iterator<Item = CallId> + '_ {
        let marks = if self.marks { &["path_open"][..] } else { &[] };
        let before = ["fd_read", "path_open"].iter().chain(marks).map(|name| (WASI, *name));
        let call = |(interface, name, _): &Function| (*interface, *name);
        let mark = self.marks.then_some((WASI, "fd_pwrite"));
        let rounds = self.round.iter().flat_map(move |function| std::iter::once(call(function)).chain(mark)).collect::<Vec<_>>();
        before.chain(rounds.into_iter().cycle()).map(|(interface, name)| call_id(interface, name).unwrap())
    }

    /// How many calls a guest that makes so many rounds makes in all, of each function: what it should print.
    #[must_use]
    pub fn expected(&self, rounds: u32) -> Vec<(CallId, u64)> {
        let before = if self.marks { 3 } else { 2 };
        let calls = before + rounds as usize * self.round.len() * if self.marks { 2 } else { 1 };
        let mut counts: Vec<_> = numbered().map(|call| (call, 0)).collect();
        let end = [(WASI, "fd_write"), (WASI, "proc_exit")].map(|(interface, name)| call_id(interface, name).unwrap());
        for made in self.sequence().take(calls).chain(end) {
            counts.iter_mut().find(|(call, _)| *call == made).unwrap().1 += 1;
        }
        counts
    }

    /// The counts that a guest printed.
    #[must_use]
    pub fn counts(printed: &str) -> Vec<(CallId, u64)> {
        let numbers: Vec<u64> = printed.lines().map(|line| line.parse().unwrap()).collect();
        assert_eq!(numbers.len(), numbered().count(), "{printed}");
        numbered().zip(numbers).collect()
    }

    /// The guest.
    #[must_use]
    pub fn module(&self) -> Vec<u8> {
        let nn = self.round.iter().any(|(interface, ..)| *interface == NN);
        let all: Vec<Function> = FUNCTIONS.iter().copied().filter(|(interface, ..)| nn || *interface == WASI).collect();
        let mut text = format!("(module (import {WASI:?} \"proc_exit\" (func $proc_exit (param i32)))\n");
        for (interface, name, args) in &all {
            let params: Vec<&str> = words(args).map(|(ty, _)| ty).collect();
            let _ = writeln!(text, "(import {interface:?} {name:?} (func ${name} (param {}) (result i32)))", params.join(" "));
        }
        text.push_str(DATA);
        let _ = writeln!(text, "(func $made (param $at i32) {BUMP})");
        let _ = writeln!(text, "(func (export \"_start\") (local $left i32)\n{}", made((WASI, "fd_read", "0 24 1 32")));
        // The letter ends the mark's name.
        text.push_str("(i32.store8 (i32.const 1092) (i32.load8_u (i32.const 92)))\n");
        text.push_str(&made((WASI, "path_open", "D 0 there 0 66L 66L 0 96")));
        if self.marks {
            text.push_str(&made((WASI, "path_open", "D 0 mark 0 66L 66L 0 116")));
        }
        text.push_str("(local.set $left (i32.load (i32.const 88)))\n(loop $round (if (local.get $left) (then\n");
        for function in &self.round {
            text.push_str(&made(*function));
            if self.marks {
                text.push_str(&made((WASI, "fd_pwrite", "M 16 1 0L 32")));
            }
        }
        text.push_str("(local.set $left (i32.sub (local.get $left) (i32.const 1))) (br $round))))\n");
        text.push_str(&self.end());
        text.push_str("))");
        assemble(&text)
    }

    /// Counts the last two calls, prints all counts by the one, and ends by the other.
    fn end(&self) -> String {
        let count = numbered().count();
        let number = |name| position((WASI, name));
        let mut text = format!("(call $made (i32.const {})) (call $made (i32.const {}))\n", number("fd_write"), number("proc_exit"));
        let _ = writeln!(text, "(local.set $left (i32.const 0)) (loop $next (call $print (local.get $left))");
        let _ = writeln!(text, "(local.set $left (i32.add (local.get $left) (i32.const 1)))");
        let _ = writeln!(text, "(br_if $next (i32.lt_u (local.get $left) (i32.const {count}))))");
        let _ = writeln!(text, "(i32.store (i32.const 12) (i32.const {}))", count * LINE);
        text.push_str("(drop (call $fd_write (i32.const 1) (i32.const 8) (i32.const 1) (i32.const 32))) (call $proc_exit (i32.const 0))\n");
        text
    }
}

/// All functions that the guest counts: [`FUNCTIONS`], then `proc_exit`.
fn numbered() -> impl Iterator<Item = CallId> {
    let all = FUNCTIONS.iter().map(|(interface, name, _)| (*interface, *name));
    all.chain([(WASI, "proc_exit")]).map(|(interface, name)| call_id(interface, name).unwrap())
}

fn position((interface, name): (&str, &str)) -> usize {
    let call = call_id(interface, name).unwrap();
    numbered().position(|other| other == call).unwrap()
}

/// One call, counted before it is made.
fn made((interface, name, args): Function) -> String {
    let args: Vec<String> = words(args).map(|(_, arg)| arg).collect();
    format!("(call $made (i32.const {})) (drop (call ${name} {}))\n", position((interface, name)), args.join(" "))
}

/// Types and texts of arguments.
fn words(args: &str) -> impl Iterator<Item = (&'static str, String)> {
    args.split_whitespace().flat_map(|word| {
        let constant = |number: &str| ("i32", format!("(i32.const {number})"));
        let stored = |at: u32| ("i32", format!("(i32.load (i32.const {at}))"));
        match word {
            "D" => vec![constant("3")],
            "F" => vec![stored(96)],
            "G" => vec![stored(100)],
            "C" => vec![stored(104)],
            "M" => vec![stored(116)],
            "X" => vec![constant("99")],
            "O" => vec![constant("32768")],
            "Q" => vec![constant("40960")],
            "there" => vec![constant("1024"), constant("5")],
            "gone" => vec![constant("1040"), constant("4")],
            "made" => vec![constant("1056"), constant("4")],
            "mark" => vec![constant("1088"), constant("5")],
            _ => match word.strip_suffix('L') {
                Some(number) => vec![("i64", format!("(i64.const {number})"))],
                None => vec![constant(word)],
            },
        }
    })
}

/// Bytes of a printed count: ten digits and a line feed.
const LINE: usize = 11;

/// A count goes up, and with it the number of all calls, which lies at 84.
const BUMP: &str = "(local $slot i32)
    (local.set $slot (i32.add (i32.const 8192) (i32.shl (local.get $at) (i32.const 2))))
    (i32.store (local.get $slot) (i32.add (i32.load (local.get $slot)) (i32.const 1)))
    (i32.store (i32.const 84) (i32.add (i32.load (i32.const 84)) (i32.const 1)))";

/// Vectors: at 0 eight bytes at 2048; at 8 what is printed; at 16 the number of all calls; at 24 the five bytes of input. A tensor of two `f32` at 200. `$print`
/// writes one count to its place behind 65536.
const DATA: &str = r#"
(memory (export "memory") 4)
(data (i32.const 0) "\00\08\00\00\08\00\00\00\00\00\01\00\00\00\00\00\54\00\00\00\04\00\00\00\58\00\00\00\05\00\00\00")
(data (i32.const 128) "\90\01\00\00\08\00\00\00")
(data (i32.const 200) "\2c\01\00\00\01\00\00\00\01\00\00\00\90\01\00\00\08\00\00\00")
(data (i32.const 300) "\02\00\00\00") (data (i32.const 400) "abcdefgh")
(data (i32.const 1024) "there") (data (i32.const 1040) "gone") (data (i32.const 1056) "made") (data (i32.const 1072) "model") (data (i32.const 1088) "markZ")
(func $print (param $index i32) (local $number i32) (local $at i32) (local $first i32)
  (local.set $number (i32.load (i32.add (i32.const 8192) (i32.shl (local.get $index) (i32.const 2)))))
  (local.set $first (i32.add (i32.const 65536) (i32.mul (local.get $index) (i32.const 11))))
  (local.set $at (i32.add (local.get $first) (i32.const 10)))
  (i32.store8 (local.get $at) (i32.const 10))
  (loop $digit
    (local.set $at (i32.sub (local.get $at) (i32.const 1)))
    (i32.store8 (local.get $at) (i32.add (i32.const 48) (i32.rem_u (local.get $number) (i32.const 10))))
    (local.set $number (i32.div_u (local.get $number) (i32.const 10)))
    (br_if $digit (i32.gt_u (local.get $at) (local.get $first)))))
"#;
