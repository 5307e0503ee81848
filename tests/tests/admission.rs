//! Admission, from the outside: what is in the modules' folder, what the daemon says of it, what it runs, and what the journal remembers.
//!
//! Runs in: tests, with the real daemon.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]
#![forbid(unsafe_code)]

use std::fs;
use std::fs::File;
use std::io::Write as _;

use edgeguard_tests::guest;
use edgeguard_tests::house::House;
use edgeguard_tests::policy::Policy;

/// The module is refused with this code and these words: in `status`, to whoever invokes it, and on record.
#[track_caller]
fn refused(house: &mut House, name: &str, code: &str, words: &[&str]) {
    let status = house.module_status(name);
    assert_eq!(status["state"], "refused", "{status}");
    assert_eq!(status["detail"]["code"], code, "{status}");
    let invoked = house.invoke(name);
    assert_eq!(invoked.code, Some(1), "{invoked:?}");
    assert!(invoked.ending.is_null(), "it ran: {invoked:?}");
    assert!(invoked.stderr.contains(code), "{invoked:?}");
    let record = house.wait_for_event("module-refused", |event| event["module"] == name);
    assert_eq!(record["code"], code);
    for word in words {
        assert!(invoked.stderr.contains(word), "`{word}` is not in: {}", invoked.stderr);
        assert!(record["reason"].as_str().unwrap().contains(word), "`{word}` is not in: {record}");
    }
    let explained = house.cli(&["explain", code]).output().unwrap();
    assert!(explained.status.success(), "`edgeguard explain {code}` knows nothing of it");
    assert!(house.events("invocation-started").is_empty(), "an invocation of a refused module was begun");
    assert!(house.is_up());
}

fn house_with(name: &str, change: impl FnOnce(&House)) -> House {
    let mut house = House::new();
    house.install(&Policy::new(name), &guest::empty());
    change(&house);
    house.start();
    house
}

#[test]
fn a_signed_module_is_admitted_runs_and_is_on_record() {
    let house = house_with("plain", |_| {});
    let status = house.module_status("plain");
    assert_eq!(status["state"], "admitted", "{status}");
    let invoked = house.invoke("plain");
    assert_eq!((invoked.code, invoked.ending["outcome"].as_str()), (Some(0), Some("exited")), "{invoked:?}");
    let admitted = house.events("module-admitted");
    assert_eq!(admitted.len(), 1);
    assert_eq!(admitted[0]["module"], "plain");
    assert_eq!(admitted[0]["digest"], status["detail"]["digest"]);
}

#[test]
fn an_unsigned_module_is_refused() {
    let mut house = house_with("plain", |house| fs::remove_file(house.path("modules/plain.wasm.sigstore.json")).unwrap());
    refused(&mut house, "plain", "EG1010", &["plain.wasm.sigstore.json", "no file there"]);
}

#[test]
fn a_module_with_one_byte_changed_is_refused() {
    let mut house = house_with("plain", |house| {
        let mut wasm = fs::read(house.module("plain")).unwrap();
        let last = wasm.len() - 1;
        wasm[last] ^= 1;
        fs::write(house.module("plain"), wasm).unwrap();
    });
    refused(&mut house, "plain", "EG2002", &["sha256"]);
}

#[test]
fn a_module_signed_with_a_key_that_its_policy_does_not_name_is_refused() {
    let mut house = house_with("plain", |house| {
        house.keygen("other");
        fs::remove_file(house.bundle("plain")).unwrap();
        house.sign(&house.module("plain"), "other");
    });
    refused(&mut house, "plain", "EG3004", &["key"]);
}

#[test]
fn a_bundle_of_24_mb_is_refused_unread() {
    let mut house = house_with("plain", |house| {
        let bundle = File::create(house.path("modules/plain.wasm.sigstore.json")).unwrap();
        bundle.set_len(24 << 20).unwrap();
    });
    refused(&mut house, "plain", "EG1001", &["25165824"]);
}

#[test]
fn an_empty_module_is_refused() {
    let mut house = house_with("plain", |house| drop(house.put_module("plain", b"")));
    refused(&mut house, "plain", "EG1006", &["wasm"]);
}

#[test]
fn a_file_that_is_no_module_is_refused() {
    let mut house = house_with("plain", |house| drop(house.put_module("plain", b"\x7fELF\x02\x01\x01\0 a native library")));
    refused(&mut house, "plain", "EG1006", &["wasm"]);
}

#[test]
fn a_module_of_500_mb_is_refused_by_its_size_alone() {
    let mut house =
        house_with("plain", |house| File::options().write(true).open(house.module("plain")).unwrap().set_len(500 << 20).unwrap());
    refused(&mut house, "plain", "EG1001", &["524288000"]);
    let resident = house.status()["process"]["resident"].as_u64().unwrap();
    assert!(resident < 64 << 20, "the daemon holds {resident} bytes");
}

/// Its vendor signed it as it is: the signature is good.
#[test]
fn a_signed_module_that_is_cut_short_is_refused_and_the_daemon_goes_on() {
    let mut house = house_with("plain", |house| {
        let wasm = guest::cat();
        house.put_module("plain", &wasm[..wasm.len() - 7]);
        house.sign(&house.module("plain"), "acme");
        house.install(&Policy::new("other"), &guest::empty());
    });
    refused(&mut house, "plain", "EG7003", &["not valid"]);
    house.run("other");
}

#[test]
fn a_module_that_asks_for_a_graph_is_refused_without_one() {
    let mut house = House::new();
    let wasm = guest::nn_guest(r#"(func (export "_start"))"#);
    house.install(&Policy::new("asks"), &wasm);
    house.start();
    refused(&mut house, "asks", "EG7002", &["graph"]);
}

#[test]
fn an_operators_slip_in_a_path_is_named() {
    let mut house = House::new();
    house.install(&Policy::new("plain").read("/data", &house.path("dtaa")), &guest::empty());
    house.start();
    refused(&mut house, "plain", "EG7001", &["dtaa", "does not exist"]);
}

#[test]
fn a_module_behind_a_link_that_leaves_its_folder_is_refused() {
    let mut house = house_with("plain", |house| {
        fs::rename(house.module("plain"), house.path("elsewhere.wasm")).unwrap();
        std::os::unix::fs::symlink(house.path("elsewhere.wasm"), house.module("plain")).unwrap();
    });
    refused(&mut house, "plain", "EG7001", &["link"]);
}

#[test]
fn a_pipe_in_a_modules_place_is_refused_and_holds_nobody_up() {
    let mut house = house_with("plain", |house| {
        fs::remove_file(house.module("plain")).unwrap();
        rustix::fs::mknodat(rustix::fs::CWD, house.module("plain"), rustix::fs::FileType::Fifo, rustix::fs::Mode::from(0o644), 0).unwrap();
    });
    refused(&mut house, "plain", "EG7001", &["not a regular file"]);
}

#[test]
fn a_second_start_takes_native_code_from_the_cache() {
    let mut house = house_with("plain", |_| {});
    house.wait_for_event("compile-finished", |event| event["module"] == "plain");
    assert!(house.stop().success());
    house.start();
    house.run("plain");
    let admitted = house.events("module-admitted");
    assert_eq!(admitted.iter().map(|event| event["cached"].as_bool().unwrap()).collect::<Vec<_>>(), [false, true]);
    assert_eq!(house.events("compile-finished").len(), 1);
}

#[test]
fn native_code_that_was_changed_in_the_cache_is_made_anew_and_never_run() {
    let mut house = house_with("plain", |_| {});
    assert!(house.stop().success());
    let entry = fs::read_dir(house.state().join("cache")).unwrap().next().unwrap().unwrap().path();
    let good = fs::read(&entry).unwrap();
    let mut bad = good.clone();
    let middle = bad.len() / 2;
    bad[middle] ^= 1;
    File::options().write(true).open(&entry).unwrap().write_all(&bad).unwrap();
    house.start();
    house.run("plain");
    let admitted = house.events("module-admitted");
    assert_eq!(admitted.iter().map(|event| event["cached"].as_bool().unwrap()).collect::<Vec<_>>(), [false, false]);
    assert_eq!(house.events("compile-finished").len(), 2);
    assert_eq!(fs::read(&entry).unwrap(), good, "the entry was not put right");
    assert!(house.log().contains("not what this daemon stored"));
}

#[test]
fn a_module_that_imports_what_nobody_offers_is_refused_by_the_imports_name() {
    let mut house = House::new();
    let wasm = guest::assemble(r#"(module (import "env" "launch" (func)) (memory (export "memory") 1) (func (export "_start")))"#);
    house.install(&Policy::new("odd"), &wasm);
    house.start();
    refused(&mut house, "odd", "EG7002", &["env"]);
}

#[test]
fn a_module_that_is_replaced_after_admission_runs_as_it_was_admitted_until_a_reload() {
    let mut house = House::new();
    let says = |number: u32| guest::guest(&format!(r#"(func (export "_start") (call $say (i32.const {number})))"#));
    house.install(&Policy::new("says"), &says(1));
    house.start();
    assert_eq!(house.run("says"), "1\n");
    house.put_module("says", &says(2));
    assert_eq!(house.run("says"), "1\n");
    // Not signed again: the reload refuses it.
    house.reload();
    assert_eq!(house.invoke("says").code, Some(1));
    house.sign(&house.module("says"), "acme");
    house.reload();
    assert_eq!(house.run("says"), "2\n");
}
