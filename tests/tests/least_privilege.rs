//! `docs/least-privilege.md`, command by command, as it stands there.
//!
//! Runs in: tests, with the real daemon and the real command line.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]
#![forbid(unsafe_code)]

use std::fs;
use std::process::Command;

use edgeguard_tests::guest::guest;
use edgeguard_tests::house::House;

const PAGE: &str = include_str!("../../docs/least-privilege.md");

/// Opens `greeting` in its first directory and says how that went.
const READS: &str = r#"(data (i32.const 1024) "greeting")
    (func (export "_start") (call $say (call $open (i32.const 3) (i32.const 1024) (i32.const 8) (i32.const 0) (i64.const 2))))"#;

/// The lines of the page's blocks, each with the exit code that it promises.
fn commands() -> Vec<(&'static str, i32)> {
    let blocks = PAGE.split("```").skip(1).step_by(2);
    let line = |line: &'static str| {
        let code = line.split_once("# exit code ").map_or(0, |(_, code)| code.trim().parse().unwrap());
        (line, code)
    };
    blocks.flat_map(str::lines).filter(|line| !line.is_empty()).map(line).collect()
}

#[test]
fn the_way_to_least_privilege_can_be_gone_as_it_is_described() {
    let mut house = House::new();
    let module = house.put_module("greeter", &guest(READS));
    house.sign(&module, "acme");
    fs::write(house.dir("audio").join("greeting"), "hello").unwrap();
    house.writable_dir("spool");
    fs::create_dir(house.path("main")).unwrap();
    fs::create_dir(house.path("main/policy.d")).unwrap();
    house.start();
    let root = house.path("").display().to_string();
    let root = root.trim_end_matches('/');
    // The places of an installation, as they are in this house.
    let here = [
        ("/var/lib/edgeguard/modules", "modules"),
        ("/etc/edgeguard/keys/acme.pub", "acme.pub"),
        ("/etc/edgeguard/policy.d", "policy.d"),
        ("/srv/audio", "audio"),
        ("/srv/spool", "spool"),
        ("--module greeter.wasm", "--module modules/greeter.wasm"),
    ];
    let mut ran = 0;
    for (line, code) in commands() {
        if line.starts_with("edgeguard policy check policy.d") {
            // The pull request: what was learned is the main branch's, and somebody wants the wide one back.
            let learned = fs::read_to_string(house.path("policy.d/greeter.toml")).unwrap();
            fs::write(house.path("main/policy.d/greeter.toml"), &learned).unwrap();
            fs::write(house.path("policy.d/greeter.toml"), fs::read_to_string(house.path("wide.toml")).unwrap()).unwrap();
        }
        let mut command = here.iter().fold(line.to_owned(), |line, (there, here)| {
            let here = if there.starts_with('/') { format!("{root}/{here}") } else { here.replace("modules", &format!("{root}/modules")) };
            line.replace(there, &here)
        });
        command = command.replace(
            "policy learn --module greeter",
            &format!("policy learn --module greeter --policy {root}/policy.d/greeter.toml --dir {}", house.state().join("audit").display()),
        );
        command = command.replace("audit search", &format!("audit search --dir {}", house.state().join("audit").display()));
        if line.contains("policy learn") || line.contains("audit search") {
            house.write_down();
        }
        let path = format!("{root}/libexec:{}", std::env::var("PATH").unwrap());
        let out = Command::new("sh")
            .args(["-c", &command])
            .current_dir(root)
            .env("PATH", path)
            .env("EDGEGUARD_SOCKET", house.socket())
            .env_remove("CI")
            .output()
            .unwrap();
        let said = format!("{}{}", String::from_utf8_lossy(&out.stdout), String::from_utf8_lossy(&out.stderr));
        assert_eq!(out.status.code(), Some(code), "{command}\n{said}");
        if line.contains("policy new") {
            fs::copy(house.path("policy.d/greeter.toml"), house.path("wide.toml")).unwrap();
        }
        if line.contains("policy diff /etc") {
            assert!(said.contains("lost"), "{said}");
        }
        ran += 1;
    }
    assert_eq!(ran, 15, "every line of the page");
}
