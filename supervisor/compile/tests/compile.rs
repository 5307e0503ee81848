//! A real compiler process: what it compiles, what it refuses, and what it may not do.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use std::os::fd::AsFd;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::time::Duration;

use edgeguard_sandbox::Child;
use edgeguard_wire::Channel;
use edgeguard_wire::ChannelError;
use edgeguard_wire::compile::FromCompile;
use edgeguard_wire::compile::ToCompile;
use edgeguard_wire::worker::ModuleKind;

const PATIENCE: Duration = Duration::from_secs(60);

/// A confined compiler. Its log goes where the test's goes.
struct Compiler {
    child: Child,
    control: Channel,
}

impl Compiler {
    fn start() -> Self {
        let (control, theirs) = Channel::pair().unwrap();
        let log = std::io::stderr().as_fd().try_clone_to_owned().unwrap();
        let child = edgeguard_sandbox::spawn(Path::new(env!("CARGO_BIN_EXE_edgeguard-compile")), theirs.into_fd(), log).unwrap();
        let (first, _) = control.recv_within(PATIENCE).unwrap();
        assert!(matches!(first, FromCompile::Confined(_)));
        Self { child, control }
    }

    fn compile(&self, module: &OwnedFd, code: &OwnedFd) -> FromCompile {
        self.control.send(&ToCompile::Compile, &[module.as_fd(), code.as_fd()]).unwrap();
        self.control.recv_within(PATIENCE).unwrap().0
    }
}

impl Drop for Compiler {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn sealed(bytes: &[u8]) -> OwnedFd {
    edgeguard_sandbox::sealed_memfd("module", bytes).unwrap()
}

fn empty() -> OwnedFd {
    edgeguard_sandbox::memfd("code").unwrap()
}

fn refusal(wasm: &[u8]) -> String {
    match Compiler::start().compile(&sealed(wasm), &empty()) {
        FromCompile::Failed { reason } => reason,
        other => panic!("expected a refusal, got {other:?}"),
    }
}

fn refusal_of(wat: &str) -> String {
    refusal(&wat::parse_str(wat).unwrap())
}

#[test]
fn a_module_and_a_component_are_compiled() {
    for (wat, expected) in [("(module (func (export \"_start\")))", ModuleKind::Core), ("(component)", ModuleKind::Component)] {
        let code = empty();
        let answer = Compiler::start().compile(&sealed(&wat::parse_str(wat).unwrap()), &code);
        let FromCompile::Compiled { kind, len } = answer else { panic!("{answer:?}") };
        edgeguard_sandbox::seal(&code).unwrap();
        assert_eq!((kind, len), (expected, edgeguard_sandbox::read_sealed(&code, u64::MAX).unwrap().len() as u64));
    }
}

#[test]
fn the_same_module_gives_the_same_code() {
    let wasm = wat::parse_str("(module (func (export \"_start\") (loop $l (br $l))))").unwrap();
    let code = || {
        let code = empty();
        assert!(matches!(Compiler::start().compile(&sealed(&wasm), &code), FromCompile::Compiled { .. }));
        edgeguard_sandbox::seal(&code).unwrap();
        edgeguard_sandbox::read_sealed(&code, u64::MAX).unwrap()
    };
    assert_eq!(code(), code());
}

#[test]
fn the_fingerprint_is_the_same_in_every_process() {
    let ask = || {
        let compiler = Compiler::start();
        compiler.control.send(&ToCompile::Describe, &[]).unwrap();
        match compiler.control.recv_within(PATIENCE).unwrap().0 {
            FromCompile::Described { fingerprint } => fingerprint,
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(ask(), ask());
}

#[test]
fn what_is_not_wasm_is_refused() {
    for bytes in [&b""[..], b"\0asm", b"\0asm\x02\0\0\0", b"\x7fELF\x02\x01\x01\0\0\0\0\0", b"(module)", &[0xff; 4096]] {
        let reason = refusal(bytes);
        assert!(reason.contains("expected a wasm module or component"), "{reason}");
    }
}

#[test]
fn a_truncated_module_is_refused() {
    let wasm = wat::parse_str("(module (func (export \"_start\") (drop (i32.const 1))) (memory 1) (data (i32.const 0) \"abc\"))").unwrap();
    for len in 8..wasm.len() {
        let reason = match Compiler::start().compile(&sealed(&wasm[..len]), &empty()) {
            FromCompile::Failed { reason } => reason,
            // Sections are optional: a cut between two of them may leave a smaller module that is whole.
            FromCompile::Compiled { .. } => continue,
            other => panic!("{other:?}"),
        };
        assert!(!reason.is_empty());
    }
}

#[test]
fn features_that_guests_do_not_need_are_refused() {
    let cases = [
        ("shared memory", "(module (memory 1 1 shared))"),
        ("imported shared memory", "(module (import \"env\" \"memory\" (memory 1 1 shared)))"),
        ("64-bit memory", "(module (memory i64 1))"),
        ("two memories", "(module (memory 1) (memory 1))"),
        ("exceptions", "(module (tag))"),
        ("tail calls", "(module (func $f (return_call $f)))"),
        ("garbage collection", "(module (type (struct)))"),
        ("relaxed vectors", "(module (func (param v128 v128 v128) (result v128) local.get 0 local.get 1 local.get 2 f32x4.relaxed_madd))"),
    ];
    for (what, wat) in cases {
        assert!(!refusal_of(wat).is_empty(), "{what}");
    }
}

#[test]
fn what_toolchains_emit_by_default_is_compiled() {
    // Bulk memory, sign extension, saturating conversions, several results, several tables, vectors.
    let wat = r#"(module (memory 1) (table $a 1 funcref) (table $b 1 funcref) (type $t (func (result i32 i32)))
        (func (export "_start")
            (memory.fill (i32.const 0) (i32.const 1) (i32.const 2)) (memory.copy (i32.const 0) (i32.const 1) (i32.const 2))
            (drop (i32.extend8_s (i32.const 255))) (drop (i32.trunc_sat_f32_s (f32.const 1)))
            (call_indirect $b (type $t) (i32.const 0)) (drop) (drop)
            (drop (i32x4.splat (i32.const 1)))))"#;
    let answer = Compiler::start().compile(&sealed(&wat::parse_str(wat).unwrap()), &empty());
    assert!(matches!(answer, FromCompile::Compiled { .. }), "{answer:?}");
}

#[test]
fn a_name_with_control_characters_cannot_write_to_a_terminal() {
    let reason = refusal_of(r#"(module (func (export "\1b[2J\0a\07")) (func (export "\1b[2J\0a\07")))"#);
    assert!(reason.contains("[2J"), "the name is quoted: {reason:?}");
    assert!(reason.chars().all(|c| !c.is_control()), "{reason:?}");
}

#[test]
fn a_module_that_could_still_change_is_refused() {
    let module = edgeguard_sandbox::memfd("module").unwrap();
    rustix::io::write(&module, b"\0asm\x01\0\0\0").unwrap();
    let answer = Compiler::start().compile(&module, &empty());
    assert!(matches!(&answer, FromCompile::Failed { reason } if reason.contains("cannot read the module")), "{answer:?}");
}

#[test]
fn a_module_beyond_all_measure_is_refused_before_it_is_read() {
    let module = edgeguard_sandbox::memfd("module").unwrap();
    rustix::fs::ftruncate(&module, 500 << 20).unwrap();
    edgeguard_sandbox::seal(&module).unwrap();
    let answer = Compiler::start().compile(&module, &empty());
    assert!(matches!(&answer, FromCompile::Failed { reason } if reason.contains("at most")), "{answer:?}");
}

#[test]
fn a_compiler_without_its_two_descriptors_says_so() {
    let compiler = Compiler::start();
    compiler.control.send(&ToCompile::Compile, &[]).unwrap();
    let (answer, _) = compiler.control.recv_within(PATIENCE).unwrap();
    assert!(matches!(&answer, FromCompile::Failed { reason } if reason.contains("two descriptors")), "{answer:?}");
}

#[test]
fn a_compiler_answers_once_and_is_gone() {
    let mut compiler = Compiler::start();
    compiler.control.send(&ToCompile::Describe, &[]).unwrap();
    let _ = compiler.control.recv_within::<FromCompile>(PATIENCE).unwrap();
    assert!(matches!(compiler.control.recv_within::<FromCompile>(PATIENCE), Err(ChannelError::Closed)));
    assert!(compiler.child.wait().unwrap().success());
}

#[test]
fn a_compiler_is_confined() {
    let compiler = Compiler::start();
    let status = edgeguard_sandbox::inspect(compiler.child.pid()).unwrap();
    assert!(status.no_new_privs);
    assert_eq!((status.seccomp_mode, status.threads), (2, 1));
}

#[test]
fn a_compiler_that_somebody_else_started_ends() {
    let (_control, theirs) = Channel::pair().unwrap();
    let output = std::process::Command::new(env!("CARGO_BIN_EXE_edgeguard-compile")).arg("1").stdin(theirs.into_fd()).output().unwrap();
    assert_eq!(output.status.code(), Some(4));
    let output = std::process::Command::new(env!("CARGO_BIN_EXE_edgeguard-compile")).output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8(output.stderr).unwrap().contains("expected one argument"));
}
