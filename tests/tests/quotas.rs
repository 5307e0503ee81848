//! Quotas of directories, from the policy to the guest: what was granted is what is kept, and a reload changes it.
//!
//! Runs in: tests, with the real daemon and the real command line. What no sequence of calls can do is in the worker's own tests.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]
#![forbid(unsafe_code)]

use std::fs;

use edgeguard_tests::guest::guest;
use edgeguard_tests::house::House;
use edgeguard_tests::policy::Policy;

/// Creates `a`, `b` and `c` in its first directory, and says how each went.
const CREATES: &str = r#"(data (i32.const 1024) "abc")
    (func $create (param $name i32) (call $say (call $open (i32.const 3) (local.get $name) (i32.const 1) (i32.const 1) (i64.const 64))))
    (func (export "_start") (call $create (i32.const 1024)) (call $create (i32.const 1025)) (call $create (i32.const 1026)))"#;

#[test]
fn a_module_makes_as_many_files_as_its_policy_says_and_more_after_a_reload_that_says_more() {
    let mut house = House::new();
    let out = house.writable_dir("out");
    let policy = Policy::new("filler").read_write("/out", &out);
    house.install(&policy, &guest(CREATES));
    let text = policy.text(&house);
    let with = |files: u32| text.replace("access = \"read-write\"", &format!("access = \"read-write\"\nfiles = {files}"));
    house.put_policy_text("filler", &with(2));
    house.start();
    // `dquot`
    assert_eq!(house.run("filler"), "0\n0\n19\n");
    assert_eq!(fs::read_dir(&out).unwrap().count(), 2);
    let calls = house.calls("path_open");
    let refused: Vec<_> = calls.iter().filter(|call| call["outcome"] != "ok").collect();
    assert!(refused.len() == 1 && refused[0]["errno"] == 19 && refused[0]["text"] == "c", "{calls:?}");
    // What is there is opened though the directory is full.
    assert_eq!(house.run("filler"), "0\n0\n19\n");

    house.put_policy_text("filler", &with(3));
    house.reload();
    assert_eq!(house.run("filler"), "0\n0\n0\n");
    assert_eq!(fs::read_dir(&out).unwrap().count(), 3);
}
