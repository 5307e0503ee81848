//! What a component can call has a number, so it can have a record: the interfaces that the engine's WASI offers are read from its own definition of them.
//!
//! Runs on the developer's machine and in CI, on the sources of the dependency that `cargo metadata` names.
//! For core modules no such look is needed: their linker is made from one table, and refuses to link a function without a number.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]
#![forbid(unsafe_code)]

mod place;

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::process::Command;

use edgeguard_audit::INTERFACES;
use edgeguard_audit::call_id;
use wit_parser::Resolve;
use wit_parser::TypeDefKind;

/// The packages that `wasmtime-wasi` offers, each behind those that it uses.
const PACKAGES: &[&str] = &["io", "clocks", "random", "filesystem", "sockets", "cli"];

/// What no guest can call: what a command exports, and what sends requests, which no linker of ours has.
const NOT_OFFERED: &[&str] = &["wasi:cli/run", "wasi:http/outgoing-handler"];

/// Where the sources of a dependency are.
fn sources(dependency: &str) -> PathBuf {
    let mut cargo = Command::new(env!("CARGO"));
    cargo.current_dir(place::root()).args(["metadata", "--offline", "--format-version", "1"]);
    let metadata: serde_json::Value = serde_json::from_str(&place::stdout(&mut cargo)).unwrap();
    let package = metadata["packages"].as_array().unwrap().iter().find(|package| package["name"] == dependency).unwrap();
    PathBuf::from(package["manifest_path"].as_str().unwrap()).parent().unwrap().to_owned()
}

/// Every function, and every drop of a handle, that a component can import: interface and name.
fn offered() -> BTreeSet<(String, String)> {
    let deps = sources("wasmtime-wasi").join("src/p2/wit/deps");
    // What is not stable has numbers too, for it may be switched on.
    let mut resolve = Resolve { all_features: true, ..Resolve::default() };
    for package in PACKAGES {
        let path = deps.join(package).with_extension("wit");
        resolve.push_source(package, &std::fs::read_to_string(path).unwrap()).unwrap();
    }
    let known = std::fs::read_dir(&deps).unwrap().count();
    assert_eq!(known, PACKAGES.len(), "`wasmtime-wasi` has another package: {}", deps.display());
    let http = sources("wasmtime-wasi-http").join("wit/deps/http.wit");
    resolve.push_source("http", &std::fs::read_to_string(http).unwrap()).unwrap();
    imported(&resolve)
}

/// The same of the interfaces that are our own code: wasi-nn, and language models.
fn offered_by_us() -> BTreeSet<(String, String)> {
    let mut resolve = Resolve::default();
    for name in ["wasi-nn", "language"] {
        let text = std::fs::read_to_string(place::root().join(format!("guest-sdk/wit/{name}.wit"))).unwrap();
        resolve.push_source(name, &text).unwrap();
    }
    imported(&resolve)
}

/// Interface and name of all functions, and of the drops of all handles.
fn imported(resolve: &Resolve) -> BTreeSet<(String, String)> {
    let mut found = BTreeSet::new();
    for (id, interface) in resolve.interfaces.iter() {
        let whole = resolve.id_of(id).unwrap();
        let name = whole.split('@').next().unwrap();
        if NOT_OFFERED.contains(&name) {
            continue;
        }
        found.extend(interface.functions.keys().map(|function| (name.to_owned(), function.clone())));
        let resources = interface.types.iter().filter(|(_, id)| matches!(resolve.types[**id].kind, TypeDefKind::Resource));
        found.extend(resources.map(|(resource, _)| (name.to_owned(), format!("[resource-drop]{resource}"))));
    }
    found
}

#[test]
fn every_function_that_a_component_can_import_has_a_number() {
    let offered = offered();
    assert!(offered.len() > 130, "only {} functions found: has the definition moved?", offered.len());
    let without: Vec<_> = offered.iter().filter(|(interface, name)| call_id(interface, name).is_none()).collect();
    assert!(without.is_empty(), "no record type for {without:#?}");
}

#[test]
fn every_function_of_wasi_nn_and_of_language_models_has_a_number_and_every_number_is_one() {
    let offered = offered_by_us();
    let ours = |name: &str| name.starts_with("wasi:nn/") || name.starts_with("edgeguard:");
    let numbered = INTERFACES.iter().filter(|interface| ours(interface.name));
    let numbered: BTreeSet<_> =
        numbered.flat_map(|interface| interface.functions.iter().map(|name| (interface.name.to_owned(), (*name).to_owned()))).collect();
    assert_eq!(offered, numbered);
}

#[test]
fn every_number_of_wasi_0_2_is_a_function_that_a_component_can_import() {
    let offered = offered();
    let numbered = INTERFACES.iter().filter(|interface| interface.name.starts_with("wasi:") && !interface.name.starts_with("wasi:nn/"));
    let names = numbered.flat_map(|interface| interface.functions.iter().map(|name| (interface.name.to_owned(), (*name).to_owned())));
    let gone: Vec<_> = names.filter(|name| !offered.contains(name)).collect();
    assert!(gone.is_empty(), "numbered, and offered by nobody: {gone:#?}");
}
