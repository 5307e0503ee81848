//! What each model engine needs besides [`super::common`]: one table for its setup, one for the locked phase.
//!
//! Runs in: graph hosts.
//! Invariant: no row gives an engine a page that can be executed, a thread after the lock, a name or a socket; but for OpenVINO, which makes code and starts
//! threads while it loads a model, and is sealed then. An engine whose code is a library has it mapped before the process is hardened, so that no table
//! needs an exception for that.
//! An empty table is a finding: its engine was run over all test models under the common rows alone, which kill for anything else.

use libc::*;

use super::Rule;
use super::arg;
use super::call;
use crate::Role;

/// rten: its threads exist before the lock, and it computes.
pub const RTEN: &[Rule] = &[];

/// ONNX Runtime on the processor: sessions are made after the lock, by threads that exist before it.
pub const ONNX_RUNTIME: &[Rule] = &[];

/// Calls of ONNX Runtime that it survives the failure of.
pub const ONNX_RUNTIME_REFUSED: &[Rule] = &[
    #[cfg(target_arch = "x86_64")]
    call!(SYS_stat, "it asks where a model's weights in another file would lie; no other file is served"),
];

/// While ONNX Runtime's environment is made.
pub const ONNX_RUNTIME_SETUP: &[Rule] = &[
    #[cfg(target_arch = "x86_64")]
    call!(SYS_stat, "the environment looks for devices below /sys; nothing untrusted was read yet"),
];

/// A language model's engine: llama.cpp reads a model's header through the C library's streams and maps its weights.
pub const LANGUAGE: &[Rule] = &[
    call!(SYS_lseek, "the parser finds its way in the model"),
    call!(SYS_fadvise64, "the model is about to be read"),
    call!(SYS_madvise, [arg(2).is(MADV_WILLNEED)], "the weights are about to be used"),
    call!(SYS_sysinfo, "how much memory the machine has"),
];

/// Calls of the language engine that it survives the failure of.
pub const LANGUAGE_REFUSED: &[Rule] = &[call!(
    SYS_newfstatat,
    "the C library asks for the size of a stream's file, by a call that could also name a path; it finds the size by seeking then"
)];

/// While the language engine's threads start.
pub const LANGUAGE_SETUP: &[Rule] = &[];

/// libtorch on the processor: its helpers exist before the lock, and what makes code is switched off.
pub const TORCH: &[Rule] = &[];

/// Calls of libtorch that it survives the failure of.
pub const TORCH_REFUSED: &[Rule] = &[];

/// While libtorch's threads start.
pub const TORCH_SETUP: &[Rule] = &[];

/// OpenVINO on the processor, from before it has read a byte of its model until that model is loaded: it makes machine code of it, lists the
/// folder of its libraries, and starts two threads, which end at once. `rules::sealed` takes these away.
pub const OPENVINO: &[Rule] = &[
    MAKES_CODE,
    call!(SYS_openat, "it lists the folder of its libraries for each model; Landlock gives it that folder, to read, and nothing else"),
    call!(SYS_getdents64, "it lists that folder"),
    call!(SYS_fcntl, [arg(1).is(F_SETFD)], "it lists that folder"),
    #[cfg(target_arch = "x86_64")]
    call!(SYS_stat, "it looks at what it listed"),
    call!(SYS_newfstatat, "it looks at what it listed"),
    call!(SYS_clone3, "passed on to the filter that says it does not exist"),
    call!(
        SYS_clone,
        [arg(0).masked(super::setup::CLONE_NEW | CLONE_THREAD as u32, CLONE_THREAD as u32)],
        "two threads for each model; never a process"
    ),
    call!(SYS_rseq, "thread start"),
    call!(SYS_set_robust_list, "thread start"),
    call!(SYS_seccomp, "the filter that seals"),
    call!(SYS_prctl, [arg(0).is(PR_SET_NO_NEW_PRIVS)], "the filter that seals sets it again"),
    call!(SYS_prlimit64, [arg(0).is(0)], "no more threads, once the model is loaded"),
];

/// In place of the row that denies code. Kept after loading where a model has free dimensions.
pub const MAKES_CODE: Rule = call!(SYS_mprotect, "it makes code of the model for this processor, in memory that is no file's");

/// Calls of OpenVINO that it survives the failure of.
pub const OPENVINO_REFUSED: &[Rule] = &[
    call!(SYS_mbind, "it would move weights to the nearest memory"),
    call!(SYS_getcwd, "it asks where a model's weights in another file would lie; no other file is served"),
];

/// While OpenVINO starts its threads and computes a model of our own.
pub const OPENVINO_SETUP: &[Rule] = &[
    call!(SYS_mprotect, "it makes code of our own model"),
    call!(SYS_mbind, "it moves memory to the nearest place"),
    call!(SYS_sched_setaffinity, "its threads find out which processors they may use"),
    #[cfg(target_arch = "x86_64")]
    call!(SYS_stat, "it looks for devices below /sys; nothing untrusted was read yet"),
];

/// The engine's rows of the locked phase.
pub(super) fn locked(role: Role) -> &'static [Rule] {
    match role {
        Role::Graph => RTEN,
        Role::OnnxRuntime => ONNX_RUNTIME,
        Role::Language => LANGUAGE,
        Role::Torch => TORCH,
        Role::OpenVino => OPENVINO,
        Role::Compile | Role::Worker => &[],
    }
}

/// The engine's calls that fail instead of killing once the process is locked.
pub(super) fn refused(role: Role) -> &'static [Rule] {
    match role {
        Role::Language => LANGUAGE_REFUSED,
        Role::Torch => TORCH_REFUSED,
        Role::OpenVino => OPENVINO_REFUSED,
        Role::OnnxRuntime => ONNX_RUNTIME_REFUSED,
        Role::Graph | Role::Compile | Role::Worker => &[],
    }
}

/// The engine's rows of the setup phase.
pub(super) fn setup(role: Role) -> &'static [Rule] {
    match role {
        Role::OnnxRuntime => ONNX_RUNTIME_SETUP,
        Role::Language => LANGUAGE_SETUP,
        Role::Torch => TORCH_SETUP,
        Role::OpenVino => OPENVINO_SETUP,
        Role::Graph | Role::Compile | Role::Worker => &[],
    }
}
