//! Trying a system call against a set of filters without ever making it.
//!
//! Runs in: throw-away processes of the tests, behind the feature `trial`.
//! How: of several filters the kernel takes the most severe answer, and among equally severe ones that of the newest. A first
//! filter that answers "error" to everything therefore leaves kills and other errors of the filters under test visible, and keeps
//! whatever they let through from running.

use std::convert::Infallible;

use seccompiler::BpfProgram;

use crate::Unconfinable;
use crate::filter::compile;
use crate::rules::Effect;
use crate::rules::Rule;
use crate::rules::Table;
use crate::rules::arg;
use crate::rules::call;

/// Exit code of a process whose call was let through.
pub const LET_THROUGH: i32 = 100;

/// Exit code of a process whose call was, impossibly, made.
pub const MADE: i32 = 101;

/// `EUCLEAN`: an error that no system call in any table gives by itself.
const HELD_BACK: i32 = libc::EUCLEAN;

/// Loads `tables`, tries one call and ends the process: by `SIGSYS`, with [`LET_THROUGH`], or with the error number that a table
/// gave as its exit code. Only for a process made for this.
///
/// # Errors
/// [`Unconfinable`] when a table does not compile or load.
pub fn attempt(tables: &[Table], syscall: i64, arguments: [u64; 6]) -> Result<Infallible, Unconfinable> {
    let mut programs = vec![compile(&hold_back(), 0)?];
    for table in tables {
        programs.push(compile(table, std::process::id())?);
    }
    for program in &programs {
        load(program)?;
    }
    // From here on the process can neither allocate nor write.
    let [a, b, c, d, e, f] = arguments;
    // SAFETY: the first filter answers every call with an error before the kernel looks at it, except the ones of `hold_back`,
    // of which none reads or writes memory of this process beyond what it is given by `load`: with other arguments they fail.
    let result = unsafe { libc::syscall(syscall, a, b, c, d, e, f) };
    let code = match std::io::Error::last_os_error().raw_os_error() {
        _ if result != -1 => MADE,
        Some(HELD_BACK) => LET_THROUGH,
        Some(errno) => errno,
        None => MADE,
    };
    // SAFETY: ends the process at once; nothing of it is needed any more.
    unsafe { libc::_exit(code) }
}

/// Answers everything with an error, except what loading further filters and leaving take.
fn hold_back() -> Table {
    Table { name: "hold back", effect: Effect::AllowElseFail(HELD_BACK), rules: STILL_MADE.to_vec() }
}

const STILL_MADE: &[Rule] = &[
    call!(SYS_prctl, [arg(0).is(libc::PR_SET_NO_NEW_PRIVS), arg(1).is(1)], "the next filter"),
    call!(SYS_seccomp, [arg(0).is(libc::SECCOMP_SET_MODE_FILTER as i32), arg(1).is(0), arg(2).not_null()], "the next filter"),
    call!(SYS_exit_group, "the result"),
];

fn load(program: &BpfProgram) -> Result<(), Unconfinable> {
    seccompiler::apply_filter(program).map_err(|source| Unconfinable::Filter { filter: "trial", source: source.into() })
}
