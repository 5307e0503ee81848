//! The red team: native attack code inside a real worker's sandbox, started by the real daemon, attempt by attempt.
//!
//! Runs in: tests. `edgeguard-redteam` is installed in the place of `edgeguard-worker`; everything else is the product.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]
#![forbid(unsafe_code)]

use std::fs;
use std::io::Write as _;
use std::os::fd::AsRawFd as _;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::time::Duration;
use std::time::Instant;

use edgeguard_tests::house::House;
use edgeguard_tests::house::Invoked;
use edgeguard_tests::house::Plan;
use edgeguard_tests::house::Policy;
use edgeguard_tests::house::skip;
use edgeguard_tests::house::until;
use edgeguard_tests::redteam::Found;
use edgeguard_tests::redteam::Order;
use edgeguard_tests::redteam::Profile;
use edgeguard_tests::redteam::ROWS;
use serde_json::Value;

/// The module that has directories, and the one that has none. Both are admitted as real modules; what runs in their place attacks.
const WITH: &str = "with-directories";
const WITHOUT: &str = "without-directories";

/// The deadline of both.
const DEADLINE: Duration = Duration::from_secs(3);

/// A house under attack.
struct Siege {
    house: House,
    order: Order,
    /// Open without `FD_CLOEXEC`, as a careless parent of the daemon would leave it.
    _leaked: Vec<OwnedFd>,
}

impl Siege {
    /// A house with its daemon running; `canary` names the layer to leave out. Nothing where this host cannot confine at all.
    fn begin(canary: Option<&str>) -> Option<Self> {
        if !edgeguard_sandbox::host::probe(3).can_confine() {
            skip("this host cannot confine; see `edgeguard doctor`");
            return None;
        }
        let programs = [("edgeguard-worker".to_owned(), env!("CARGO_BIN_EXE_edgeguard-redteam").into())];
        let mut house = House::with(Plan { programs: programs.into(), standby: true, ..Plan::default() });
        if let Some(canary) = canary {
            fs::write(house.path("libexec/canary"), canary).unwrap();
        }
        let [data, fixed, outside] = ["data", "fixed", "outside"].map(|name| house.writable_dir(name));
        let secret = outside.join("secret");
        for file in [data.join("granted"), data.join("other"), fixed.join("fixed"), secret.clone()] {
            fs::write(&file, "x").unwrap();
            house.give_to_daemon(&file);
        }
        for link in [data.join("link"), outside.join("foreign-link")] {
            std::os::unix::fs::symlink(&secret, link).unwrap();
        }
        let wasm = wat::parse_str("(module (memory (export \"memory\") 1) (func (export \"_start\")))").unwrap();
        let policy = |name| Policy::new(name).with(|policy| policy.deadline = format!("{} s", DEADLINE.as_secs()));
        house.install(&policy(WITH).read_write("/data", &data).read("/fixed", &fixed), &wasm);
        house.install(&policy(WITHOUT), &wasm);

        let leaked = leak(&secret);
        house.start();
        let order = Order::new()
            .with("secret", secret.display())
            .with("outside", outside.display())
            .with("foreign-link", outside.join("foreign-link").display())
            .with("control", house.socket().display())
            .with("journal-key", a_file_in(&house.state().join("audit"), "key"))
            .with("code-cache", house.state().join("cache").display())
            .with("cgroup", first_of(&["/sys/fs/cgroup/cgroup.procs", "/sys/fs/cgroup/memory/cgroup.procs", "/proc/cgroups"]))
            .with("device", first_of(&["/dev/vda", "/dev/sda", "/dev/zero"]))
            .with("leaked", leaked.last().unwrap().as_raw_fd())
            .with("supervisor", house.pid());
        Some(Self { house, order, _leaked: leaked })
    }

    /// Makes one attempt in a fresh worker.
    fn attempt(&self, module: &str, row: &str) -> (Found, Invoked) {
        let invoked = self.house.invoke_with(module, self.order.clone().with("row", row).text().as_bytes());
        (found(&invoked), invoked)
    }

    /// Makes every attempt, prints what came of each, and gives the rows that came out wrong.
    fn storm(&self, profile: Profile) -> Vec<String> {
        let module = if profile == Profile::NoDirectory { WITHOUT } else { WITH };
        let mut table = format!("{:>3}  {:<36} {:<14} {}\n", "", "attempt", profile.name(), "stopped by");
        let mut wrong = Vec::new();
        for row in ROWS {
            let (found, invoked) = self.attempt(module, row.name);
            let right = row.stop(profile).is(found);
            let mark = if right { ' ' } else { '!' };
            table += &format!("{:>3}{mark} {:<36} {:<14} {}\n", row.threat, row.name, words(found), row.by);
            if !right {
                wrong.push(format!("{}: expected {:?}, found {}; {:?}", row.name, row.stop(profile), words(found), invoked));
            }
        }
        // Whole, for tests run beside each other.
        let _ = std::io::stdout().write_all(table.as_bytes());
        wrong
    }

    /// Whether the worker of this module says that it has a root of its own.
    fn has_own_root(&self, module: &str) -> bool {
        let order = self.order.clone().with("row", "own-process-id").with("stay", 1);
        let invoked = self.house.invoke_with(module, order.text().as_bytes());
        assert_eq!(invoked.ending["outcome"], "exited", "{invoked:?}");
        let status = self.house.module_status(module);
        status["worker"]["confinement"]["own_root"].as_bool().unwrap_or_else(|| panic!("no confinement in {status}"))
    }

    /// Whether the daemon still serves this module, with a fresh and honest worker.
    fn still_serves(&mut self) {
        assert!(self.house.is_up(), "the daemon is gone");
        let (found, invoked) = self.attempt(WITHOUT, "own-process-id");
        assert!(matches!(found, Found::Ok(_)), "{invoked:?}");
    }

    /// How the workers of this module ended, by the journal.
    fn exits(&self, module: &str) -> Vec<Value> {
        let exits = self.house.events("process-exited");
        exits.into_iter().filter(|exit| exit["subject"] == module).collect()
    }
}

fn found(invoked: &Invoked) -> Found {
    let said = invoked.stdout.trim();
    let number = |text: &str| text.parse().ok();
    if let Some(errno) = said.strip_prefix("errno ").and_then(number) {
        return Found::Errno(i32::try_from(errno).unwrap_or_default());
    }
    if let Some(result) = said.strip_prefix("ok ").and_then(number) {
        return Found::Ok(result);
    }
    let detail = invoked.ending["detail"].as_str().unwrap_or_default();
    let signal = detail.strip_prefix("signal ").and_then(|rest| rest.split(' ').next()).and_then(number);
    match signal {
        Some(signal) if invoked.ending["outcome"] == "killed" => Found::Signal(i32::try_from(signal).unwrap_or_default()),
        _ => Found::Nothing,
    }
}

fn words(found: Found) -> String {
    match found {
        Found::Signal(libc::SIGSYS) => "SIGSYS".into(),
        Found::Signal(signal) => format!("signal {signal}"),
        Found::Errno(errno) => {
            NAMES.iter().find(|(number, _)| *number == errno).map_or_else(|| format!("errno {errno}"), |(_, name)| (*name).into())
        }
        Found::Ok(_) => "ok".into(),
        Found::Nothing => "nothing".into(),
    }
}

/// Names of the error numbers in the table.
const NAMES: &[(i32, &str)] = &[
    (libc::EPERM, "EPERM"),
    (libc::ENOENT, "ENOENT"),
    (libc::EBADF, "EBADF"),
    (libc::EACCES, "EACCES"),
    (libc::EXDEV, "EXDEV"),
    (libc::EROFS, "EROFS"),
    (libc::ENOSYS, "ENOSYS"),
];

/// A descriptor that is inherited, with a number that no worker uses by itself.
fn leak(secret: &Path) -> Vec<OwnedFd> {
    let file = fs::File::open(secret).unwrap();
    let mut leaked = Vec::new();
    while leaked.last().is_none_or(|fd: &OwnedFd| fd.as_raw_fd() < 200) {
        leaked.push(rustix::io::dup(&file).unwrap());
    }
    leaked.drain(..leaked.len() - 1);
    leaked
}

fn first_of(paths: &[&str]) -> String {
    paths.iter().find(|path| Path::new(path).exists()).unwrap_or_else(|| panic!("none of {paths:?} exists")).to_string()
}

/// A file in this folder, if there is one with this word in its name.
fn a_file_in(folder: &Path, word: &str) -> String {
    let files = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let mut files: Vec<_> = files.filter(|path| path.is_file()).collect();
    files.sort_by_key(|path| !path.to_string_lossy().contains(word));
    files.first().unwrap_or_else(|| panic!("{} has no files", folder.display())).display().to_string()
}

fn none_wrong(wrong: &[String]) {
    assert!(wrong.is_empty(), "{} rows came out wrong:\n{}", wrong.len(), wrong.join("\n"));
}

#[test]
fn native_code_with_directories_in_its_own_root_is_stopped() {
    let Some(siege) = Siege::begin(None) else { return };
    if siege.has_own_root(WITH) {
        none_wrong(&siege.storm(Profile::OwnRoot));
    } else {
        skip("this host gives workers no root of their own");
    }
}

#[test]
fn native_code_with_directories_in_the_hosts_root_is_stopped() {
    let Some(siege) = Siege::begin(Some("host-root")) else { return };
    assert!(!siege.has_own_root(WITH), "the worker should have been refused its namespaces");
    none_wrong(&siege.storm(Profile::HostRoot));
}

#[test]
fn native_code_without_a_directory_is_stopped() {
    let Some(siege) = Siege::begin(None) else { return };
    none_wrong(&siege.storm(Profile::NoDirectory));
}

/// The table can fail: one condition of the final filter left out, one access too many in Landlock and in the mounts.
#[test]
fn a_layer_left_out_turns_its_rows_red() {
    for (canary, red) in [
        ("map-code", &["mmap-memory-execute"][..]),
        ("write-everywhere", &["write-in-read-only", "truncate-in-read-only", "create-in-read-only", "unlink-in-read-only"][..]),
    ] {
        let Some(siege) = Siege::begin(Some(canary)) else { return };
        for name in red {
            let row = ROWS.iter().find(|row| row.name == *name).unwrap();
            let (found, invoked) = siege.attempt(WITH, name);
            assert!(matches!(found, Found::Ok(_)), "without its layer `{name}` should succeed: {invoked:?}");
            assert!(!row.stop(Profile::OwnRoot).is(found), "the table does not see it");
            println!("without {canary}: {name} is {}, and the table says so", words(found));
        }
    }
}

/// What a worker may send to the daemon that owns it, and why the daemon then ends it, in the words of the journal.
const FRAMES: &[(u8, &str, &str)] = &[
    (65, "garbage-frame", "does not parse"),
    (65, "unknown-tag", "does not parse"),
    (65, "trailing-bytes", "does not parse"),
    (65, "length-bomb", "does not parse"),
    (65, "oversized-frame", "longer than"),
    (65, "standby-again", "came a second time"),
    (65, "refused-late", "`refused` came in phase 2"),
    (65, "finished-unknown", "it finished what nobody asked for"),
    (65, "finished-flood", "it finished what nobody asked for"),
    (65, "stalled-unknown", "it has no such graph"),
    (65, "stalled-flood", "it has no such graph"),
    (68, "descriptors-garbage", "more than"),
    (68, "descriptors-beside-frame", "it sent descriptors"),
    (68, "descriptors-flood", "it sent descriptors"),
];

#[test]
fn a_worker_that_sends_what_it_may_not_is_ended_and_only_it() {
    let Some(mut siege) = Siege::begin(None) else { return };
    let mut wrong = Vec::new();
    for (threat, name, why) in FRAMES {
        let before = siege.exits(WITHOUT).len();
        let (_, invoked) = siege.attempt(WITHOUT, name);
        // What comes after the last frame that the daemon looks at is the worker's own end.
        siege.still_serves();
        let exits = until("the ends of two workers", || Some(siege.exits(WITHOUT)).filter(|exits| exits.len() >= before + 2));
        let exit = &exits[before];
        let how = exit["how"].as_str().unwrap_or_default();
        let right = invoked.ending["outcome"] == "killed" && exit["signal"] == libc::SIGKILL && how.contains(why);
        println!("{threat:>3}{} {name:<28} {how}", if right { ' ' } else { '!' });
        if !right {
            wrong.push(format!("{name}: expected `{why}`, found `{how}`; {invoked:?}"));
        }
    }
    none_wrong(&wrong);
}

#[test]
fn the_daemon_answers_others_while_a_worker_floods_it() {
    let Some(mut siege) = Siege::begin(None) else { return };
    for flood in ["finished-flood", "stalled-flood", "descriptors-flood", "log-flood", "doorbell-flood"] {
        std::thread::scope(|scope| {
            let attack = scope.spawn(|| siege.attempt(WITHOUT, flood));
            let mut longest = Duration::ZERO;
            while !attack.is_finished() {
                let began = Instant::now();
                let _ = siege.house.status();
                longest = longest.max(began.elapsed());
            }
            println!("{flood}: longest answer {longest:?}");
            assert!(longest < Duration::from_millis(500), "{flood}: `status` took {longest:?}");
        });
        siege.still_serves();
    }
}

#[test]
fn a_worker_that_does_not_end_at_its_deadline_is_ended() {
    let Some(mut siege) = Siege::begin(None) else { return };
    let began = Instant::now();
    let (found, invoked) = siege.attempt(WITHOUT, "never-ends");
    assert_eq!(found, Found::Signal(libc::SIGKILL), "{invoked:?}");
    assert!((DEADLINE..DEADLINE * 2).contains(&began.elapsed()), "it took {:?}", began.elapsed());
    siege.still_serves();
}

#[test]
fn a_forged_end_is_settled_as_nothing_and_brings_nobody_down() {
    let Some(mut siege) = Siege::begin(None) else { return };
    let (_, invoked) = siege.attempt(WITHOUT, "finished-forged");
    assert_eq!(invoked.ending["outcome"], "trapped", "{invoked:?}");
    assert_eq!(invoked.ending["records"]["recorded"], 0, "{invoked:?}");
    let detail = invoked.ending["detail"].as_str().unwrap_or_default();
    assert!(!detail.contains('\u{1b}'), "what a worker says goes to terminals: {detail:?}");
    siege.still_serves();
}

#[test]
fn what_a_worker_says_in_its_log_is_bounded_and_escaped() {
    let Some(mut siege) = Siege::begin(None) else { return };
    let (_, invoked) = siege.attempt(WITHOUT, "log-flood");
    assert_eq!(invoked.stdout, "ok 0\n", "{invoked:?}");
    siege.still_serves();
    let log = siege.house.log();
    assert!(log.contains("the rest was dropped"), "what was dropped is said");
    // 64 KiB of its own bytes, escaped, each line with the daemon's own words before it.
    assert!(log.len() < 4 << 20, "the log has {} bytes", log.len());
    assert!(!log.contains("\u{1b}[31mred"), "control bytes reach the log");
}

#[test]
fn a_worker_whose_ring_does_not_parse_is_on_record_and_ended() {
    let Some(mut siege) = Siege::begin(None) else { return };
    for (count, row) in [(1, "ring-head-ahead"), (2, "ring-no-record")] {
        let _ = siege.attempt(WITHOUT, row);
        // It is to be ended, and not to end by itself: what this one does from here on would not be on record.
        until("the end of the worker", || Some(siege.exits(WITHOUT)).filter(|exits| exits.len() >= count * 2 - 1));
        siege.still_serves();
        until("the end of the next worker", || Some(siege.exits(WITHOUT)).filter(|exits| exits.len() >= count * 2));
        let exit = &siege.exits(WITHOUT)[count * 2 - 2];
        assert_eq!(exit["signal"], libc::SIGKILL, "{exit}");
        let corrupt = siege.house.events("ring-corrupt");
        assert_eq!(corrupt.len(), count, "{corrupt:?}");
        assert!(corrupt.iter().all(|event| event["module"] == WITHOUT), "{corrupt:?}");
    }
}
