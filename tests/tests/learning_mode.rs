//! Learning mode: the packaged daemon refuses it; the one for lab machines gives one module what lies ready, and `policy learn` narrows it again.
//!
//! Runs in: tests, with both daemons and the real command line.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]
#![forbid(unsafe_code)]

use std::collections::BTreeMap;
use std::fs;

use edgeguard_tests::guest::guest;
use edgeguard_tests::house::House;
use edgeguard_tests::house::Plan;
use edgeguard_tests::house::program;
use edgeguard_tests::policy::Policy;

/// Opens `wish` in its first directory and says how that went.
const READS: &str = r#"(data (i32.const 1024) "wish")
    (func (export "_start") (call $say (call $open (i32.const 3) (i32.const 1024) (i32.const 4) (i32.const 0) (i64.const 2))))"#;

/// A house with two modules, and a lab: directories `in` and `out`, and in the first what the modules look for.
fn house(daemon: &str, more: &str) -> House {
    let programs = BTreeMap::from([("edgeguardd".to_owned(), program(daemon))]);
    let house = House::with(Plan { programs, ..Plan::default() });
    house.dir("lab");
    house.writable_dir("lab/in");
    house.writable_dir("lab/out");
    fs::write(house.path("lab/in/wish"), "x").unwrap();
    let learning = format!("{more}[learning]\nmodule = \"wisher\"\ndirectory = {:?}\n", house.path("lab").display().to_string());
    let host = fs::read_to_string(house.path("edgeguard.toml")).unwrap();
    fs::write(house.path("edgeguard.toml"), host + &learning).unwrap();
    for name in ["wisher", "other"] {
        house.install(&Policy::new(name), &guest(READS));
    }
    house
}

#[test]
fn the_packaged_daemon_does_not_start_where_learning_is_asked_for() {
    let mut house = house("edgeguardd", "");
    let refused = house.try_start().unwrap_err();
    assert_eq!(refused.code, Some(2), "{}", refused.log);
    assert!(refused.log.contains("run `edgeguardd-learning`"), "{}", refused.log);
}

#[test]
fn learning_and_signed_policies_do_not_go_together() {
    let mut house = house("edgeguardd-learning", "[policy-signing]\nkey = [\"/etc/edgeguard/keys/ops.pub\"]\n");
    let refused = house.try_start().unwrap_err();
    assert_eq!(refused.code, Some(2), "{}", refused.log);
    assert!(refused.log.contains("signed by nobody"), "{}", refused.log);
}

#[test]
fn the_one_module_is_given_what_lies_ready_and_what_it_used_is_learned_from_that() {
    let mut house = house("edgeguardd-learning", "");
    house.start();
    assert_eq!(house.run("wisher"), "0\n", "what lies ready is not given");
    assert_ne!(house.run("other"), "0\n", "another module is given it, too");
    assert!(house.log().contains("LEARNING MODE"), "{}", house.log());
    let wide = house.state().join("learning/wisher.toml");
    let learned = house
        .cli(&["policy", "learn", "--module", "wisher", "--dir"])
        .arg(house.state().join("audit"))
        .arg("--policy")
        .arg(&wide)
        .output()
        .unwrap();
    assert_eq!(learned.status.code(), Some(0), "{}", String::from_utf8_lossy(&learned.stderr));
    let learned = String::from_utf8(learned.stdout).unwrap();
    let granted: Vec<&str> = learned.lines().filter(|line| line.starts_with("guest = ") || line.starts_with("access = ")).collect();
    assert_eq!(granted.first(), Some(&"guest = \"/in\""), "{learned}");
    assert!(!granted.contains(&"guest = \"/out\""), "what was not used stays:\n{learned}");
    // What was learned is a policy: it is enough for the packaged daemon.
    house.stop();
    let text = fs::read_to_string(house.path("edgeguard.toml")).unwrap();
    fs::write(house.path("edgeguard.toml"), text.split("[learning]").next().unwrap()).unwrap();
    fs::remove_file(house.path("libexec/edgeguardd")).unwrap();
    fs::copy(program("edgeguardd"), house.path("libexec/edgeguardd")).unwrap();
    house.put_policy_text("wisher", &learned);
    house.start();
    assert_eq!(house.run("wisher"), "0\n");
}
