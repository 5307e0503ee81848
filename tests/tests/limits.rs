//! Every limit of a policy, and every way in which a guest ends: each has its outcome, its exit code, its record, and costs nobody else anything.
//!
//! Runs in: tests, with the real daemon.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]
#![forbid(unsafe_code)]

use std::process::Stdio;
use std::time::Duration;
use std::time::Instant;

use edgeguard_tests::guest;
use edgeguard_tests::house::House;
use edgeguard_tests::house::Invoked;
use edgeguard_tests::policy::Policy;

/// A house in which this guest runs under this policy, and a second module beside it.
fn house(policy: Policy, wasm: &[u8]) -> House {
    let mut house = House::new();
    house.install(&policy, wasm);
    house.install(&Policy::new("neighbour"), &guest::empty());
    house.start();
    house
}

fn policy() -> Policy {
    Policy::new("guest").with(|policy| policy.deadline = "5 s".into())
}

/// It ended like this: for the caller, by exit code, and on record; the worker lives, and so does the neighbour.
#[track_caller]
fn ended(house: &House, invoked: &Invoked, outcome: &str, detail: Option<&str>) {
    assert_eq!(invoked.ending["outcome"], outcome, "{invoked:?}");
    assert_eq!(invoked.code, Some(9), "{invoked:?}");
    if let Some(detail) = detail {
        assert!(invoked.ending["detail"].as_str().unwrap().contains(detail), "{invoked:?}");
    }
    let record = house.wait_for_event("invocation-ended", |event| event["module"] == "guest");
    assert_eq!((&record["outcome"], &record["records_produced"]), (&invoked.ending["outcome"], &record["records_recorded"]), "{record}");
    assert_eq!(house.module_status("guest")["invocations"]["killed"], 0);
    house.run("neighbour");
    // The same worker takes the next invocation.
    let worker = house.module_status("guest")["worker"]["process"]["pid"].clone();
    house.invoke("guest");
    assert_eq!(house.module_status("guest")["worker"]["process"]["pid"], worker);
}

fn limited(policy: Policy, body: &str, limit: &str) -> Invoked {
    let house = house(policy, &guest::guest(body));
    let invoked = house.invoke("guest");
    ended(&house, &invoked, "limit", None);
    assert_eq!(invoked.ending["detail"], limit, "{invoked:?}");
    invoked
}

fn trapped(body: &str, how: &str) {
    let house = house(policy(), &guest::guest(body));
    let invoked = house.invoke("guest");
    ended(&house, &invoked, "trapped", Some(how));
}

#[test]
fn memory_beyond_its_limit() {
    let body = r#"(func (export "_start") (loop $more (drop (memory.grow (i32.const 16))) (br $more)))"#;
    let invoked = limited(policy().with(|policy| policy.memory = "4 MiB".into()), body, "memory");
    assert!(invoked.ending["memory"].as_u64().unwrap() <= 4 << 20);
}

#[test]
fn a_module_that_declares_more_memory_than_its_limit() {
    let wasm = guest::assemble(r#"(module (memory (export "memory") 1024) (func (export "_start")))"#);
    let house = house(policy().with(|policy| policy.memory = "4 MiB".into()), &wasm);
    // Its policy cannot work, which `policy check --module` says too: it is not even admitted.
    let invoked = house.invoke("guest");
    assert!(invoked.ending.is_null() && invoked.stderr.contains("EG047"), "{invoked:?}");
    assert_eq!(house.module_status("guest")["state"], "refused");
    house.run("neighbour");
}

#[test]
fn a_table_beyond_its_limit() {
    let body = r#"(table $t 1 funcref)
        (func (export "_start") (loop $more (drop (table.grow $t (ref.null func) (i32.const 100))) (br $more)))"#;
    limited(policy().with(|policy| policy.table_elements = 500), body, "table-elements");
}

#[test]
fn time_spent_in_a_loop() {
    let began = Instant::now();
    limited(
        policy().with(|policy| policy.deadline = "300 ms".into()),
        r#"(func (export "_start") (loop $for_ever (br $for_ever)))"#,
        "deadline",
    );
    assert!(began.elapsed() < Duration::from_secs(15));
}

#[test]
fn time_spent_asleep() {
    // One clock subscription, ten minutes, relative.
    let body = r#"(func (export "_start")
        (i32.store (i32.const 1040) (i32.const 1)) (i64.store (i32.const 1048) (i64.const 600000000000))
        (drop (call $poll_oneoff (i32.const 1024) (i32.const 2048) (i32.const 1) (i32.const 96))))"#;
    limited(policy().with(|policy| policy.deadline = "300 ms".into()), body, "deadline");
}

#[test]
fn time_spent_asleep_among_other_subscriptions() {
    // The same sleep, and standard input, which is open and silent.
    let body = r#"(func (export "_start")
        (i32.store (i32.const 1040) (i32.const 1)) (i64.store (i32.const 1048) (i64.const 600000000000))
        (i32.store8 (i32.const 1080) (i32.const 1)) (i32.store (i32.const 1088) (i32.const 0))
        (drop (call $poll_oneoff (i32.const 1024) (i32.const 2048) (i32.const 2) (i32.const 96))))"#;
    silent_input(body);
}

#[test]
fn time_spent_waiting_for_input() {
    silent_input(
        r#"(func (export "_start")
        (i32.store (i32.const 0) (i32.const 4096)) (i32.store (i32.const 4) (i32.const 16))
        (drop (call $fd_read (i32.const 0) (i32.const 0) (i32.const 1) (i32.const 8))))"#,
    );
}

/// Runs a guest with an input that says nothing and does not end.
fn silent_input(body: &str) {
    let house = house(policy().with(|policy| policy.deadline = "300 ms".into()), &guest::guest(body));
    let began = Instant::now();
    let mut process = house.cli(&["invoke", "guest"]).stdin(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let open = process.stdin.take();
    let output = process.wait_with_output().unwrap();
    drop(open);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(9), "{said}");
    assert!(said.contains("limit `deadline`"), "{said}");
    assert!(began.elapsed() < Duration::from_secs(10), "{:?}", began.elapsed());
    house.run("neighbour");
}

#[test]
fn time_spent_writing_to_a_reader_that_does_not_read() {
    let body = r#"(func (export "_start") (loop $more (call $print (i32.const 4096) (i32.const 60000)) (br $more)))"#;
    let policy = policy().with(|policy| (policy.deadline, policy.output) = ("300 ms".into(), "1 GiB".into()));
    let house = house(policy, &guest::guest(body));
    let mut deaf = house.connect();
    std::io::Write::write_all(&mut deaf, b"POST /v1/modules/guest/invoke HTTP/1.1\r\nHost: edgeguard\r\nContent-Length: 0\r\n\r\n")
        .unwrap();
    let record = house.wait_for_event("invocation-ended", |event| event["module"] == "guest");
    assert_eq!((record["outcome"].as_str(), record["detail"].as_str()), (Some("limit"), Some("deadline")), "{record}");
    house.run("neighbour");
}

#[test]
fn output_beyond_its_limit() {
    let body = r#"(func (export "_start") (loop $more (call $print (i32.const 4096) (i32.const 1000)) (br $more)))"#;
    let invoked = limited(policy().with(|policy| policy.output = "10 KiB".into()), body, "output");
    assert_eq!(invoked.stdout.len(), 10 * 1024, "what fits is delivered");
}

#[test]
fn no_output_at_all() {
    let body = r#"(func (export "_start") (call $print (i32.const 4096) (i32.const 1)))"#;
    assert_eq!(limited(policy().with(|policy| policy.output = "0 B".into()), body, "output").stdout, "");
}

#[test]
fn open_files_beyond_their_limit() {
    let body = r#"(data (i32.const 1024) "file")
        (func (export "_start") (loop $more
            (call $say (call $open (i32.const 3) (i32.const 1024) (i32.const 4) (i32.const 0) (i64.const 2))) (br $more)))"#;
    let mut house = House::new();
    let dir = house.dir("data");
    std::fs::write(dir.join("file"), "x").unwrap();
    house.install(&policy().read("/data", &dir).with(|policy| policy.open_files = 3), &guest::guest(body));
    house.install(&Policy::new("neighbour"), &guest::empty());
    house.start();
    let invoked = house.invoke("guest");
    ended(&house, &invoked, "limit", Some("open-files"));
    assert_eq!(invoked.stdout, "0\n0\n0\n");
}

#[test]
fn a_stack_without_end() {
    trapped(r#"(func $again (call $again)) (func (export "_start") (call $again))"#, "stack");
}

#[test]
fn an_instruction_that_cannot_be_reached() {
    trapped(r#"(func (export "_start") unreachable)"#, "unreachable");
}

#[test]
fn a_division_by_zero() {
    trapped(r#"(func (export "_start") (drop (i32.div_u (i32.const 1) (i32.load (i32.const 0)))))"#, "divide by zero");
}

#[test]
fn an_access_outside_the_memory() {
    trapped(r#"(func (export "_start") (drop (i32.load (i32.const -4))))"#, "out of bounds");
}

#[test]
fn an_exit_code_of_the_guests_own() {
    let house = house(policy(), &guest::guest(r#"(func (export "_start") (call $proc_exit (i32.const 3)))"#));
    let invoked = house.invoke("guest");
    assert_eq!((invoked.code, invoked.ending["outcome"].as_str(), invoked.ending["code"].as_i64()), (Some(9), Some("exited"), Some(3)));
    let record = house.wait_for_event("invocation-ended", |_| true);
    assert_eq!((record["outcome"].as_str(), record["exit_code"].as_i64()), (Some("exited"), Some(3)));
}

#[test]
fn an_exit_code_beyond_all_bounds_is_the_guests_own_too() {
    let house = house(policy(), &guest::guest(r#"(func (export "_start") (call $proc_exit (i32.const -1)))"#));
    let invoked = house.invoke("guest");
    assert_eq!((invoked.code, invoked.ending["outcome"].as_str(), invoked.ending["code"].as_i64()), (Some(9), Some("exited"), Some(-1)));
}

/// One instance at a limit, and another of the same module beside it.
#[test]
fn a_guest_at_its_limit_takes_no_other_instance_along() {
    let body = r#"(func (export "_start")
        (i32.store (i32.const 0) (i32.const 4096)) (i32.store (i32.const 4) (i32.const 1))
        (drop (call $fd_read (i32.const 0) (i32.const 0) (i32.const 1) (i32.const 8)))
        (if (i32.load (i32.const 8)) (then (loop $for_ever (br $for_ever)))))"#;
    let house = house(policy().with(|policy| (policy.instances, policy.deadline) = (2, "1 s".into())), &guest::guest(body));
    let (spins, ends) = std::thread::scope(|scope| {
        let spins = scope.spawn(|| house.invoke_with("guest", b"x"));
        let ends = scope.spawn(|| (0..5).map(|_| house.invoke("guest").code).collect::<Vec<_>>());
        (spins.join().unwrap(), ends.join().unwrap())
    });
    assert_eq!(spins.ending["detail"], "deadline");
    assert_eq!(ends, [Some(0); 5]);
}
