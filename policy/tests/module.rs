//! A module's imports held against its policy.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod common;

use common::with;
use common::without;
use edgeguard_policy::Code;
use edgeguard_policy::Code::*;
use edgeguard_policy::Colour;
use edgeguard_policy::Policy;
use edgeguard_policy::imports;
use edgeguard_policy::imports::ImportsError;
use edgeguard_policy::imports::Kind;

const COMMAND: &str = include_str!("modules/command.wat");
const COMPONENT: &str = include_str!("modules/component.wat");

fn module(wat: &str) -> imports::ModuleImports {
    imports::read(&wat::parse_str(wat).unwrap()).unwrap()
}

fn policy(text: &str) -> Policy {
    edgeguard_policy::parse("voice-gate.toml", text).unwrap_or_else(|e| panic!("{e}"))
}

fn compared(text: &str, wat: &str) -> Vec<Code> {
    policy(text).compare(&module(wat)).iter().map(|d| d.code()).collect()
}

#[test]
fn imports_of_a_core_module_are_read() {
    let found = module(COMMAND);
    assert_eq!(found.kind, Kind::Core);
    assert_eq!(found.wasi_p1, ["fd_write", "path_open", "proc_exit"]);
    assert!(found.nn && found.command && found.opens_files());
    assert_eq!((found.memory, found.table_elements), (2 << 16, 10));
    assert!(found.other.is_empty() && found.wasi_p2.is_empty());
}

#[test]
fn imports_of_a_component_are_read_and_those_of_its_insides_are_not() {
    let found = module(COMPONENT);
    assert_eq!(found.kind, Kind::Component);
    assert_eq!(found.wasi_p2, ["wasi:cli/stdout@0.2.6", "wasi:filesystem/types@0.2.0"]);
    assert_eq!(found.sockets, ["wasi:sockets/tcp@0.2.6"]);
    assert_eq!(found.other, [("host-func".to_owned(), String::new())]);
    assert!(found.nn && found.command && found.opens_files());
    assert_eq!((found.memory, found.table_elements), (3 << 16, 7));
}

#[test]
fn a_policy_that_fits_its_module_has_nothing_to_say() {
    assert_eq!(compared(common::BASE, COMMAND), []);
}

#[test]
fn a_module_that_wants_a_graph_needs_one() {
    assert_eq!(compared(&without("[[graph]]"), COMMAND), [NoGraph]);
}

#[test]
fn a_module_that_opens_files_without_a_directory_is_a_warning() {
    let found = policy(&without("[[dir]]")).compare(&module(COMMAND));
    assert_eq!(found.iter().map(|d| d.code()).collect::<Vec<_>>(), [NoDir]);
    assert_eq!(found.errors(), 0);
}

#[test]
fn grants_that_nobody_uses_are_warnings() {
    let found = policy(common::BASE).compare(&module("(module (memory 1) (func (export \"_start\")))"));
    assert_eq!(found.iter().map(|d| d.code()).collect::<Vec<_>>(), [UnusedDir, UnusedGraph]);
    assert_eq!(found.errors(), 0);
    insta::assert_snapshot!("unused_grants", found.render(Colour::Never));
}

#[test]
fn imports_that_nobody_offers_are_errors() {
    let wat = r#"(module
        (import "env" "\1b[2Kemscripten" (func))
        (import "wasi_snapshot_preview1" "sock_open" (func))
        (import "wasi_unstable" "fd_write" (func))
        (import "wasi_ephemeral_nn" "load_by_url" (func))
        (func (export "_start")))"#;
    let found = policy(&without("[[dir]]")).compare(&module(wat));
    assert_eq!(found.errors(), 4);
    insta::assert_snapshot!("unknown_imports", found.render(Colour::Never));
}

#[test]
fn an_interface_of_another_version_is_not_offered() {
    let offered = |import: &str| module(&format!("(component (import \"{import}\" (instance)))")).other.is_empty();
    assert!(offered("wasi:io/streams@0.2.0") && offered("wasi:io/streams@0.2.99"));
    for import in [
        "wasi:io/streams@0.3.0",
        "wasi:io/streams@0.2.0-rc",
        "wasi:http/types@0.3.0",
        "wasi:http/outgoing-handler@0.2.0",
        "wasi:nn/graph@0.2.0",
        "wasi:io/streams",
    ] {
        assert!(!offered(import), "{import}");
    }
}

#[test]
fn a_component_that_imports_sockets_is_a_warning() {
    assert_eq!(compared(common::BASE, COMPONENT), [UnknownImport, Sockets]);
}

const SERVICE: &str = r#"(component
    (import "wasi:http/types@0.2.3" (instance))
    (instance $handler)
    (export "wasi:http/incoming-handler@0.2.3" (instance $handler)))"#;

/// The base policy in the other mode, without grants.
fn serving() -> String {
    let text = without("[[graph]]").replace("mode = \"command\"", "mode = \"http\"");
    format!("{text}\n[http]\nlisten = \"127.0.0.1:8080\"\n")
}

#[test]
fn a_service_is_run_in_the_mode_that_it_is_made_for() {
    let found = module(SERVICE);
    assert!(found.serves && !found.command && found.other.is_empty());
    assert_eq!(found.http, ["wasi:http/types@0.2.3"]);
    assert_eq!(compared(&serving(), SERVICE), [UnusedDir]);
    assert_eq!(compared(&without("[[graph]]"), SERVICE), [NotACommand, UnusedDir]);
    assert_eq!(compared(&serving(), "(module (memory 1) (func (export \"_start\")))"), [NotACommand, UnusedDir]);
}

#[test]
fn nobody_is_given_the_way_out() {
    let sends = SERVICE.replace("(instance $handler)\n", "(import \"wasi:http/outgoing-handler@0.2.3\" (instance)) (instance $handler)\n");
    assert_eq!(module(&sends).other, [("wasi:http/outgoing-handler@0.2.3".to_owned(), String::new())]);
    assert_eq!(compared(&serving(), &sends), [UnknownImport, UnusedDir]);
}

#[test]
fn a_library_is_no_command() {
    assert_eq!(compared(&with(""), &COMMAND.replace("_start", "start")), [NotACommand]);
    assert_eq!(
        compared(&with(""), &COMMAND.replace("(func (export \"_start\"))", "(global (export \"_start\") i32 (i32.const 0))")),
        [NotACommand]
    );
}

#[test]
fn a_module_larger_than_its_limits_could_never_start() {
    let small = with("[limits]\nmemory = \"64 KiB\"\ndeadline = \"1 s\"\ninstances = 1\noutput = \"1 KiB\"\ntable-elements = 9\n");
    let found = policy(&small).compare(&module(COMMAND));
    assert_eq!(found.iter().map(|d| d.code()).collect::<Vec<_>>(), [MemoryTooSmall, TablesTooSmall]);
    insta::assert_snapshot!("limits_too_small", found.render(Colour::Never));
}

#[test]
fn what_is_no_wasm_is_said_so() {
    for bytes in [&b""[..], b"\0asm", b"\x7fELF\x02\x01\x01\0", b"\0asm\x02\0\0\0"] {
        assert_eq!(imports::read(bytes), Err(ImportsError::Header));
    }
    let whole = wat::parse_str(COMMAND).unwrap();
    assert!(matches!(imports::read(&whole[..whole.len() - 3]), Err(ImportsError::Malformed { .. })));
}

#[test]
fn a_module_of_more_imports_than_are_read_is_refused() {
    let imports: String = (0..=imports::MAX_IMPORTS).map(|i| format!("(import \"m\" \"{i}\" (func))")).collect();
    let bytes = wat::parse_str(format!("(module {imports})")).unwrap();
    assert!(matches!(imports::read(&bytes), Err(ImportsError::TooMuch(_))));
    let long = format!("(module (import \"m\" \"{}\" (func)))", "n".repeat(imports::MAX_NAME + 1));
    assert!(matches!(imports::read(&wat::parse_str(long).unwrap()), Err(ImportsError::TooMuch(_))));
}

/// The codes of this file; `every_code_of_policy_text_is_reached` has the rest below EG050, and the command line's tests those from there on.
#[test]
fn every_code_of_a_module_is_reached() {
    let here = [NoGraph, UnusedGraph, NoDir, UnusedDir, UnknownImport, NotACommand, MemoryTooSmall, TablesTooSmall, Sockets];
    for row in edgeguard_policy::codes::TABLE.iter().filter(|row| ("EG040".."EG050").contains(&row.id)) {
        assert!(here.contains(&row.code) || row.code == NotWasm, "{}", row.id);
    }
}
