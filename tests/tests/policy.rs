//! Policies in force: what a reload changes and for whom, and what a directory grant gives, however a guest asks.
//!
//! Runs in: tests, with the real daemon.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]
#![forbid(unsafe_code)]

use std::fs;
use std::io::Write as _;
use std::os::unix::fs::MetadataExt as _;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Stdio;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering;

use edgeguard_tests::guest::guest;
use edgeguard_tests::house::House;
use edgeguard_tests::house::until;
use edgeguard_tests::policy::Policy;
use rustix::fs::CWD;
use rustix::fs::RenameFlags;

/// Reads its input to the end, then creates `new` in its first directory and says how that went.
const CREATES: &str = r#"(data (i32.const 1024) "new")
    (func (export "_start")
      (loop $next
        (i32.store (i32.const 0) (i32.const 4096)) (i32.store (i32.const 4) (i32.const 16))
        (drop (call $fd_read (i32.const 0) (i32.const 0) (i32.const 1) (i32.const 8)))
        (br_if $next (i32.load (i32.const 8))))
      (call $say (call $open (i32.const 3) (i32.const 1024) (i32.const 3) (i32.const 1) (i64.const 66))))"#;

#[test]
fn a_narrowed_policy_is_in_force_for_the_next_invocation_and_spares_the_one_under_way() {
    let mut house = House::new();
    let dir = house.writable_dir("data");
    house.install(&Policy::new("creates").read_write("/data", &dir), &guest(CREATES));
    house.start();
    // Under way, and waiting for its input.
    let mut process = house.cli(&["invoke", "creates"]).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    until("the invocation to begin", || (!house.events("invocation-started").is_empty()).then_some(()));
    house.put_policy(&Policy::new("creates").read("/data", &dir));
    assert_eq!(house.reload()["admitted"][0], "creates");
    let denied = house.invoke("creates");
    assert_ne!(denied.stdout, "0\n", "{denied:?}");
    assert!(!dir.join("new").exists());
    process.stdin.take().unwrap().write_all(b"go").unwrap();
    let output = process.wait_with_output().unwrap();
    assert_eq!((output.status.code(), output.stdout.as_slice()), (Some(0), &b"0\n"[..]));
    assert!(dir.join("new").exists());
    assert!(house.events("denied").iter().any(|event| event["text"] == "new"), "{:?}", house.events("denied"));
    // Its worker goes with its policy.
    until("the old worker to go", || (house.children_named("edgeguard-worker").len() == 1).then_some(()));
}

#[test]
fn an_invocation_that_waits_while_its_policy_changes_does_not_begin_under_the_old_one() {
    let mut house = House::new();
    let dir = house.writable_dir("data");
    house.install(&Policy::new("creates").read_write("/data", &dir), &guest(CREATES));
    house.start();
    let mut first = house.cli(&["invoke", "creates"]).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    until("the first to begin", || (!house.events("invocation-started").is_empty()).then_some(()));
    let second = std::thread::scope(|scope| {
        let second = scope.spawn(|| house.invoke("creates"));
        until("the second to wait", || (house.module_status("creates")["waiting"] == 1).then_some(()));
        house.put_policy(&Policy::new("creates").read("/data", &dir));
        house.reload();
        drop(first.stdin.take());
        second.join().unwrap()
    });
    assert!(second.code == Some(1) && second.stderr.contains("changed while this invocation waited"), "{second:?}");
    assert_eq!(first.wait_with_output().unwrap().stdout, b"0\n");
    assert_eq!(house.events("invocation-started").len(), 1);
}

#[test]
fn a_broken_policy_file_is_loud_and_leaves_no_older_grant_in_force() {
    let mut house = House::new();
    house.install(&Policy::new("plain"), &edgeguard_tests::guest::empty());
    house.install(&Policy::new("other"), &edgeguard_tests::guest::empty());
    house.start();
    house.run("plain");
    house.put_policy_text("plain", "version = 1\n[module]\nname = \"plain\"\npaht = \"/x\"\n");
    let output = house.cli(&["reload"]).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stdout).contains("paht"), "{}", String::from_utf8_lossy(&output.stdout));
    let invoked = house.invoke("plain");
    assert_eq!((invoked.code, invoked.ending.is_null()), (Some(1), true), "{invoked:?}");
    let refused = &house.status()["refused_policy_files"][0];
    assert!(refused["file"].as_str().unwrap().ends_with("plain.toml") && refused["reason"].as_str().unwrap().contains("paht"), "{refused}");
    assert!(house.events("policy-refused")[0]["reason"].as_str().unwrap().contains("paht"));
    assert!(house.log().contains("policy refused"));
    assert!(house.request("GET", "/metrics", &[], b"").text().contains("edgeguard_policy_files_refused 1\n"));
    house.run("other");
    // Put right, it is in force again.
    house.put_policy(&Policy::new("plain"));
    house.reload();
    house.run("plain");
}

#[test]
fn a_policy_file_that_is_half_written_refuses_its_module_alone_until_it_is_whole() {
    let mut house = House::new();
    let audio = house.dir("audio");
    let policy = Policy::new("plain").read("/audio", &audio);
    house.install(&policy, &edgeguard_tests::guest::empty());
    house.install(&Policy::new("other"), &edgeguard_tests::guest::empty());
    house.start();
    let whole = policy.text(&house);
    let (mut refused, lines) = (0, whole.lines().count());
    for len in (0..whole.len()).step_by(whole.len() / 7).chain([whole.len() - 2]) {
        // In place, as an editor does that knows no better.
        fs::write(house.path("policy.d/plain.toml"), &whole[..len]).unwrap();
        let reload = house.cli(&["reload"]).output().unwrap();
        let invoked = house.invoke("plain");
        // What is refused is refused loudly.
        assert_eq!(reload.status.code() == Some(1), invoked.code == Some(1), "{len} bytes: {invoked:?}");
        refused += u32::from(invoked.code == Some(1));
        house.run("other");
    }
    assert!(refused >= 6, "{refused} of 8 parts of {lines} lines were refused");
    fs::write(house.path("policy.d/plain.toml"), &whole).unwrap();
    house.reload();
    house.run("plain");
}

#[test]
fn a_directory_of_policies_that_cannot_be_read_is_loud_leaves_no_grant_and_ends_nothing() {
    use std::os::unix::fs::PermissionsExt as _;
    let mut house = House::new();
    house.install(&Policy::new("plain"), &edgeguard_tests::guest::empty());
    house.start();
    house.run("plain");
    let policies = house.path("policy.d");
    let mode = |mode| fs::set_permissions(&policies, fs::Permissions::from_mode(mode)).unwrap();
    mode(0o000);
    let reload = house.cli(&["reload"]).output().unwrap();
    assert_eq!(reload.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&reload.stdout).contains("cannot list the policy directory"), "{reload:?}");
    assert_eq!(house.invoke("plain").code, Some(1));
    assert!(house.log().contains("cannot list the policy directory"));
    mode(0o755);
    house.reload();
    house.run("plain");
}

/// The check on a pull request and the daemon judge a path alike.
#[test]
fn a_link_that_the_check_refuses_is_refused_by_the_daemon_and_one_that_it_follows_is_followed() {
    if !rustix::process::geteuid().is_root() {
        return edgeguard_tests::house::skip("only root makes a link that nobody else could have made");
    }
    let roots = tempfile::Builder::new().prefix("edgeguard-test-").tempdir_in("/var/lib").unwrap();
    let mut house = House::new();
    // In a place of root's alone, and in one where others may write.
    for (name, place, followed) in [("trusted", roots.path().to_owned(), true), ("loose", house.dir("links"), false)] {
        use std::os::unix::fs::PermissionsExt as _;
        fs::create_dir(place.join("real")).unwrap();
        fs::set_permissions(&place, fs::Permissions::from_mode(0o755)).unwrap();
        std::os::unix::fs::symlink("real", place.join("current")).unwrap();
        house.install(&Policy::new(name).read("/audio", &place.join("current")), &edgeguard_tests::guest::empty());
        let checked = house.cli(&["policy", "check", "--host"]).arg(house.path(&format!("policy.d/{name}.toml"))).output().unwrap();
        let said = String::from_utf8_lossy(&checked.stdout).into_owned() + &String::from_utf8_lossy(&checked.stderr);
        assert_eq!(said.contains("EG052"), !followed, "{name}: {said}");
    }
    house.start();
    house.run("trusted");
    let refused = house.module_status("loose");
    assert!(refused["state"] == "refused" && refused.to_string().contains("EG052"), "{refused}");
}

#[test]
fn a_module_whose_policy_is_gone_is_gone() {
    let mut house = House::new();
    house.install(&Policy::new("plain"), &edgeguard_tests::guest::empty());
    house.start();
    house.run("plain");
    fs::remove_file(house.path("policy.d/plain.toml")).unwrap();
    house.reload();
    let invoked = house.invoke("plain");
    assert!(invoked.code == Some(1) && invoked.stderr.contains("no policy names a module `plain`"), "{invoked:?}");
    until("its worker to go", || house.children_named("edgeguard-worker").is_empty().then_some(()));
}

#[test]
fn of_two_policies_for_one_name_the_second_is_refused() {
    let mut house = House::new();
    house.install(&Policy::new("plain"), &edgeguard_tests::guest::empty());
    let text = Policy::new("plain").text(&house);
    house.put_policy_text("zz-again", &text);
    house.start();
    house.run("plain");
    let refused = &house.status()["refused_policy_files"][0];
    assert!(refused["file"].as_str().unwrap().ends_with("zz-again.toml"), "{refused}");
}

#[test]
fn a_reload_that_changes_nothing_leaves_the_worker_where_it_is() {
    let mut house = House::new();
    house.install(&Policy::new("plain"), &edgeguard_tests::guest::empty());
    house.start();
    house.run("plain");
    let worker = house.children_named("edgeguard-worker");
    house.reload();
    house.run("plain");
    assert_eq!(house.children_named("edgeguard-worker"), worker);
    assert_eq!(house.module_status("plain")["cold_starts"], 1);
}

#[test]
fn a_hangup_loads_the_policies_anew() {
    let mut house = House::new();
    house.start();
    house.install(&Policy::new("late"), &edgeguard_tests::guest::empty());
    let pid = rustix::process::Pid::from_raw(house.pid().try_into().unwrap()).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::HUP).unwrap();
    house.wait_for_event("module-admitted", |event| event["module"] == "late");
    until("the module to be served", || (house.module_status("late")["state"] == "admitted").then_some(()));
    house.run("late");
}

#[test]
fn environment_and_name_are_the_policys_and_nothing_of_the_daemons_comes_through() {
    let mut house = House::new();
    let body = r#"(import "wasi_snapshot_preview1" "environ_sizes_get" (func $sizes (param i32 i32) (result i32)))
        (import "wasi_snapshot_preview1" "environ_get" (func $get (param i32 i32) (result i32)))
        (import "wasi_snapshot_preview1" "fd_write" (func $fd_write (param i32 i32 i32 i32) (result i32)))
        (memory (export "memory") 1)
        (func (export "_start")
          (drop (call $sizes (i32.const 16) (i32.const 20)))
          (drop (call $get (i32.const 1024) (i32.const 4096)))
          (i32.store (i32.const 0) (i32.const 4096)) (i32.store (i32.const 4) (i32.load (i32.const 20)))
          (drop (call $fd_write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 8))))"#;
    house.install(&Policy::new("plain"), &edgeguard_tests::guest::assemble(&format!("(module {body})")));
    let text = Policy::new("plain").text(&house);
    house.put_policy_text("plain", &format!("{text}[env]\nMODE = \"prod\"\n"));
    house.start();
    assert_eq!(house.run("plain"), "MODE=prod\0");
}

/// `/ro` is 3, `/rw` is 4. Every attempt to change what is below `/ro`, each with its errno; regression tests for RUSTSEC-2026-0149 (truncation
/// through a read-only directory) and RUSTSEC-2026-0188 (hard links and renames between directories of different rights).
const CHANGES: &str = r#"
    (data (i32.const 1024) "file") (data (i32.const 1040) "own") (data (i32.const 1056) "new") (data (i32.const 1072) "sub")
    (func $closed (param $errno i32) (call $say (local.get $errno))
      (if (i32.eqz (local.get $errno)) (then (drop (call $fd_close (i32.load (i32.const 96)))))))
    (func (export "_start")
      ;; truncate while opening, with no more than the right to read, and with the right to write
      (call $closed (call $open (i32.const 3) (i32.const 1024) (i32.const 4) (i32.const 8) (i64.const 2)))
      (call $closed (call $open (i32.const 3) (i32.const 1024) (i32.const 4) (i32.const 8) (i64.const 66)))
      ;; write, create, create a directory
      (call $closed (call $open (i32.const 3) (i32.const 1024) (i32.const 4) (i32.const 0) (i64.const 66)))
      (call $closed (call $open (i32.const 3) (i32.const 1056) (i32.const 3) (i32.const 1) (i64.const 2)))
      (call $say (call $path_create_directory (i32.const 3) (i32.const 1056) (i32.const 3)))
      ;; link and rename from the one to the other, and back
      (call $say (call $path_link (i32.const 3) (i32.const 0) (i32.const 1024) (i32.const 4) (i32.const 4) (i32.const 1056) (i32.const 3)))
      (call $say (call $path_link (i32.const 4) (i32.const 0) (i32.const 1040) (i32.const 3) (i32.const 3) (i32.const 1056) (i32.const 3)))
      (call $say (call $path_rename (i32.const 3) (i32.const 1024) (i32.const 4) (i32.const 4) (i32.const 1056) (i32.const 3)))
      (call $say (call $path_rename (i32.const 4) (i32.const 1040) (i32.const 3) (i32.const 3) (i32.const 1056) (i32.const 3)))
      (call $say (call $path_rename (i32.const 4) (i32.const 1040) (i32.const 3) (i32.const 3) (i32.const 1024) (i32.const 4)))
      ;; rename, unlink, link and date within it
      (call $say (call $path_rename (i32.const 3) (i32.const 1024) (i32.const 4) (i32.const 3) (i32.const 1056) (i32.const 3)))
      (call $say (call $path_unlink_file (i32.const 3) (i32.const 1024) (i32.const 4)))
      (call $say (call $path_symlink (i32.const 1024) (i32.const 4) (i32.const 3) (i32.const 1056) (i32.const 3)))
      (call $say (call $path_filestat_set_times (i32.const 3) (i32.const 0) (i32.const 1024) (i32.const 4) (i64.const 1) (i64.const 1) (i32.const 5)))
      ;; a file opened to read: resize and allocate
      (if (call $open (i32.const 3) (i32.const 1024) (i32.const 4) (i32.const 0) (i64.const 4194562)) (then (unreachable)))
      (call $say (call $fd_filestat_set_size (i32.load (i32.const 96)) (i64.const 0)))
      (call $say (call $fd_allocate (i32.load (i32.const 96)) (i64.const 0) (i64.const 100000)))
      (i32.store (i32.const 0) (i32.const 1024)) (i32.store (i32.const 4) (i32.const 4))
      (call $say (call $fd_write (i32.load (i32.const 96)) (i32.const 0) (i32.const 1) (i32.const 8))))"#;

#[test]
fn nothing_below_a_read_grant_changes_whatever_a_guest_tries() {
    let mut house = House::new();
    // The daemon's user may write to both: what holds is the grant, not the mode of the files.
    let (ro, rw) = (house.writable_dir("ro"), house.writable_dir("rw"));
    for path in [ro.join("file"), rw.join("own")] {
        fs::write(&path, "as it was").unwrap();
        house.give_to_daemon(&path);
    }
    house.install(&Policy::new("changes").read("/ro", &ro).read_write("/rw", &rw), &guest(CHANGES));
    house.start();
    let before = fs::metadata(ro.join("file")).unwrap();
    let said = house.run("changes");
    let errnos: Vec<&str> = said.lines().collect();
    assert_eq!(errnos.len(), 17, "{said}");
    assert!(errnos.iter().all(|errno| *errno != "0"), "one of the attempts succeeded: {errnos:?}");
    let names = |dir: &Path| fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().file_name()).collect::<Vec<_>>();
    assert_eq!((names(&ro), names(&rw)), (vec!["file".into()], vec!["own".into()]));
    let after = fs::metadata(ro.join("file")).unwrap();
    assert_eq!(
        (before.ino(), before.nlink(), before.mtime_nsec(), before.size()),
        (after.ino(), after.nlink(), after.mtime_nsec(), after.size())
    );
    assert_eq!(fs::read_to_string(ro.join("file")).unwrap(), "as it was");
    assert!(house.events("denied").len() >= 10, "{:?}", house.events("denied"));
}

/// So that the test above can fail: where the grant is to write, the same attempts succeed, but for those that an earlier one made impossible.
#[test]
fn the_same_attempts_succeed_below_a_grant_to_write() {
    let mut house = House::new();
    let (ro, rw) = (house.writable_dir("ro"), house.writable_dir("rw"));
    for path in [ro.join("file"), rw.join("own")] {
        fs::write(&path, "as it was").unwrap();
        house.give_to_daemon(&path);
    }
    house.install(&Policy::new("changes").read_write("/ro", &ro).read_write("/rw", &rw), &guest(CHANGES));
    house.start();
    let invoked = house.invoke("changes");
    let errnos: Vec<&str> = invoked.stdout.lines().collect();
    // Truncating, writing and creating; then, behind those that an earlier one has made impossible, renaming.
    assert_eq!((&errnos[..4], errnos[10]), (&["0"; 4][..], "0"), "{invoked:?}");
}

#[test]
fn no_path_and_no_link_leads_out_of_a_grant() {
    let mut house = House::new();
    let data = house.writable_dir("data");
    let secret = house.dir("secret");
    fs::write(secret.join("file"), "secret").unwrap();
    fs::create_dir(data.join("sub")).unwrap();
    symlink("../secret/file", data.join("relative")).unwrap();
    symlink(secret.join("file"), data.join("absolute")).unwrap();
    symlink("../secret", data.join("folder")).unwrap();
    symlink("/proc/self/fd/0", data.join("magic")).unwrap();
    symlink("/proc/self/root", data.join("root")).unwrap();
    let absolute = secret.join("file").display().to_string();
    let ways = [
        "relative",
        "absolute",
        "folder/file",
        "../secret/file",
        "sub/../../secret/file",
        "./././../secret/file",
        "..",
        "folder",
        "magic",
        "root/etc/passwd",
        "/etc/passwd",
        "/proc/self/mem",
        &absolute,
        "sub/../../../../../../../../etc/passwd",
    ];
    // Each way by opening, asking and linking; then by a link of the guest's own.
    let mut body = String::new();
    let mut tries = String::new();
    for (index, way) in ["sub"].iter().chain(&ways).enumerate() {
        let at = 2048 + index * 256;
        body.push_str(&format!("(data (i32.const {at}) {way:?})"));
        let len = way.len();
        tries.push_str(&format!(
            "(call $say (call $open (i32.const 3) (i32.const {at}) (i32.const {len}) (i32.const 0) (i64.const 2)))
             (call $say (call $open (i32.const 3) (i32.const {at}) (i32.const {len}) (i32.const 2) (i64.const 16384)))
             (call $say (call $path_filestat_get (i32.const 3) (i32.const 1) (i32.const {at}) (i32.const {len}) (i32.const 512)))
             (call $say (call $path_link (i32.const 3) (i32.const 1) (i32.const {at}) (i32.const {len}) (i32.const 3) (i32.const 1024) (i32.const 5)))\n"
        ));
    }
    body.push_str(&format!(
        r#"(data (i32.const 1024) "taken") (data (i32.const 1040) "mine") (data (i32.const 1056) "../secret/file") (func (export "_start") {tries}
          (drop (call $path_symlink (i32.const 1056) (i32.const 14) (i32.const 3) (i32.const 1040) (i32.const 4)))
          (call $say (call $open (i32.const 3) (i32.const 1040) (i32.const 4) (i32.const 0) (i64.const 2))))"#
    ));
    house.install(&Policy::new("ways").read_write("/data", &data).with(|policy| policy.open_files = 1000), &guest(&body));
    house.start();
    let said = house.run("ways");
    let mut found = said.lines();
    // So that this can fail: a folder that stays inside is opened and asked about.
    let inside: Vec<_> = found.by_ref().take(4).collect();
    assert_eq!(inside[1..3], ["0", "0"], "{inside:?}");
    for way in ways {
        for how in ["open", "open as a directory", "ask about", "link"] {
            assert_ne!(found.next(), Some("0"), "{how} `{way}` succeeded");
        }
    }
    assert_ne!(found.next(), Some("0"), "a link of the guest's own led out");
    assert!(!data.join("taken").exists());
    let denied = house.events("denied");
    for way in ["../secret/file", "/etc/passwd", "folder/file"] {
        assert!(denied.iter().any(|event| event["text"] == way), "`{way}` is not on record as denied");
    }
}

/// Opens `a/f` for two seconds, as often as it can, and looks at the first byte: `i` for inside. Says how often it was that; any other ends it.
const LOOKS: &str = r#"(data (i32.const 1024) "a/f")
    (func $now (result i64) (drop (call $clock_time_get (i32.const 1) (i64.const 0) (i32.const 128))) (i64.load (i32.const 128)))
    (func (export "_start") (local $until i64) (local $seen i32)
      (local.set $until (i64.add (call $now) (i64.const 2000000000)))
      (loop $again
        (if (i32.eqz (call $open (i32.const 3) (i32.const 1024) (i32.const 3) (i32.const 0) (i64.const 2))) (then
          (i32.store (i32.const 0) (i32.const 4096)) (i32.store (i32.const 4) (i32.const 1))
          (if (i32.eqz (call $fd_read (i32.load (i32.const 96)) (i32.const 0) (i32.const 1) (i32.const 8))) (then
            (if (i32.ne (i32.load8_u (i32.const 4096)) (i32.const 105)) (then (call $proc_exit (i32.const 42))))
            (local.set $seen (i32.add (local.get $seen) (i32.const 1)))))
          (drop (call $fd_close (i32.load (i32.const 96))))))
        (br_if $again (i64.lt_u (call $now) (local.get $until))))
      (call $say (local.get $seen)))"#;

#[test]
fn a_folder_that_is_swapped_for_a_link_meanwhile_never_leads_out() {
    swapped(|policy, data| policy.read("/data", data));
}

/// The same where the grant is to write: its worker opens paths step by step, and not in one call of the kernel.
#[test]
fn a_folder_that_is_swapped_below_a_grant_to_write_never_leads_out() {
    swapped(|policy, data| policy.read_write("/data", data));
}

fn swapped(grant: impl FnOnce(Policy, &Path) -> Policy) {
    let mut house = House::new();
    let (data, secret) = (house.writable_dir("data"), house.dir("secret"));
    fs::create_dir(data.join("a")).unwrap();
    fs::write(data.join("a/f"), "inside").unwrap();
    fs::write(secret.join("f"), "outside").unwrap();
    symlink("../secret", data.join("b")).unwrap();
    house.install(&grant(Policy::new("looks"), &data), &guest(LOOKS));
    house.start();
    let done = AtomicBool::new(false);
    let (swaps, invoked) = std::thread::scope(|scope| {
        let swapping = scope.spawn(|| {
            let mut swaps = 0u32;
            while !done.load(Ordering::Relaxed) {
                rustix::fs::renameat_with(CWD, data.join("a"), CWD, data.join("b"), RenameFlags::EXCHANGE).unwrap();
                swaps += 1;
            }
            swaps
        });
        let invoked = house.invoke("looks");
        done.store(true, Ordering::Relaxed);
        (swapping.join().unwrap(), invoked)
    });
    assert_eq!(invoked.code, Some(0), "{invoked:?}");
    let seen: u32 = invoked.stdout.trim().parse().unwrap();
    assert!(swaps > 1000 && seen > 100, "no race took place: {swaps} swaps, {seen} looks");
}
