//! The life of graphs that modules share: loaded when somebody wants them, gone when nobody does, fair under a storm, and there for the neighbours of whoever
//! overstays a deadline.
//!
//! Runs in: tests, with the real daemon and real graph hosts.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]
#![forbid(unsafe_code)]

mod onnx;

use std::fs;
use std::path::PathBuf;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering;

use edgeguard_tests::guest::nn_guest;
use edgeguard_tests::house::House;
use edgeguard_tests::house::Plan;
use edgeguard_tests::house::built;
use edgeguard_tests::house::skip;
use edgeguard_tests::house::until;
use edgeguard_tests::policy::Policy;

/// Computes with a square matrix of zeros, `times` times, and prints the errno of the last.
fn computes(side: u32, times: u32) -> Vec<u8> {
    let words = |words: &[u32]| words.iter().flat_map(|word| word.to_le_bytes()).map(|byte| format!("\\{byte:02x}")).collect::<String>();
    nn_guest(&format!(
        r#"(data (i32.const 1024) "model") (data (i32.const 200) "{}") (data (i32.const 300) "{}")
        (func (export "_start") (local $left i32) (local $errno i32)
          (drop (memory.grow (i32.const 80)))
          (if (call $load_by_name (i32.const 1024) (i32.const 5) (i32.const 100)) (then (call $proc_exit (i32.const 21))))
          (if (call $init (i32.load (i32.const 100)) (i32.const 104)) (then (call $proc_exit (i32.const 22))))
          (if (call $set_input (i32.load (i32.const 104)) (i32.const 0) (i32.const 200)) (then (call $proc_exit (i32.const 23))))
          (local.set $left (i32.const {times}))
          (loop $next
            (local.set $errno (call $compute (i32.load (i32.const 104))))
            (if (local.get $errno) (then (call $proc_exit (i32.add (i32.const 30) (local.get $errno)))))
            (br_if $next (local.tee $left (i32.sub (local.get $left) (i32.const 1)))))
          (call $say (local.get $errno)))"#,
        words(&[300, 2, 1, 65536, side * side * 4]),
        words(&[side, side]),
    ))
}

/// Puts a model into the house.
fn model(house: &House, bytes: &[u8]) -> PathBuf {
    let path = house.path("model.onnx");
    fs::write(&path, bytes).unwrap();
    house.give_to_daemon(&path);
    path
}

fn graph(house: &House) -> serde_json::Value {
    house.status()["graphs"][0].clone()
}

#[test]
fn a_graph_that_waits_for_its_first_use_is_loaded_by_it_and_goes_when_nobody_uses_it() {
    let mut house = House::new();
    let path = model(&house, &onnx::long(2));
    let policy = Policy::new("guest").graph_by("model", &path, "encoding = \"onnx\"\nload = \"first-use\"\nidle-unload = \"1 s\"\n");
    house.install(&policy, &computes(4, 1));
    house.start();
    assert_eq!((house.children_named("edgeguard-graph").len(), &graph(&house)["state"]), (0, &"standing-by".into()), "ready without it");
    for round in 1..=2 {
        assert_eq!(house.run("guest"), "0\n");
        assert_eq!(house.events("graph-loaded").len(), round);
        let gone = house.children_named("edgeguard-graph");
        until("the graph to be let go", || house.children_named("edgeguard-graph").is_empty().then_some(()));
        let end = house.wait_for_event("process-exited", |event| gone.iter().any(|pid| event["pid"] == *pid));
        assert!(end["how"].as_str().unwrap().contains("nobody used it"), "{end}");
        assert_eq!(graph(&house)["state"], "standing-by");
    }
    assert!(house.events("graph-restarted").is_empty(), "it did not die, it was let go");
    assert!(house.is_up());
}

#[test]
fn a_graph_that_is_loaded_at_first_use_and_is_not_what_the_policy_names_fails_that_use_and_is_not_tried_without_end() {
    let mut house = House::new();
    let path = model(&house, &onnx::long(2));
    let policy = Policy::new("guest").graph_by("model", &path, "encoding = \"onnx\"\nload = \"first-use\"\n");
    house.install(&policy, &computes(4, 1));
    model(&house, &onnx::identity(2));
    house.start();
    for _ in 0..8 {
        let refused = house.invoke("guest");
        assert!(refused.ending.is_null() && refused.code != Some(0), "{refused:?}");
    }
    assert_eq!(house.events("graph-failed").len(), 5, "as often as any graph may fail within a minute");
    assert!(house.invoke("guest").stderr.contains("stays down"));
    assert_eq!(graph(&house)["state"], "down");
}

#[test]
fn a_graph_that_no_policy_names_any_more_ends_and_one_that_a_policy_names_stays() {
    let mut house = House::new();
    let path = model(&house, &onnx::long(2));
    house.install(&Policy::new("guest").graph("model", &path), &computes(4, 1));
    house.install(&Policy::new("waiting").graph_by("model", &path, "encoding = \"onnx\"\nload = \"first-use\"\n"), &computes(4, 1));
    house.start();
    let first = house.children_named("edgeguard-graph");
    assert_eq!((first.len(), house.status()["graphs"].as_array().unwrap().len()), (1, 2));
    assert_eq!(house.run("guest"), "0\n");
    // A reload that changes nothing ends nothing, not even after the time in which one that is not named goes.
    house.reload();
    std::thread::sleep(std::time::Duration::from_millis(2500));
    assert_eq!(house.children_named("edgeguard-graph"), first);
    // The same model, and other bounds: another graph, and nobody wants the first.
    house.put_policy(&Policy::new("guest").graph_by("model", &path, "encoding = \"onnx\"\nthreads = 2\n"));
    house.reload();
    let end = house.wait_for_event("process-exited", |event| event["pid"] == first[0]);
    assert!(end["how"].as_str().unwrap().contains("no policy names it any more"), "{end}");
    assert_eq!(house.run("guest"), "0\n");
    let second = house.children_named("edgeguard-graph");
    assert_eq!((second.len(), house.status()["graphs"].as_array().unwrap().len()), (1, 2), "the one in use, and the one that stands by");
    assert!(house.events("graph-restarted").is_empty(), "it did not die, it was let go");
    fs::remove_file(house.path("policy.d").join("guest.toml")).unwrap();
    house.reload();
    let end = house.wait_for_event("process-exited", |event| event["pid"] == second[0]);
    assert!(end["how"].as_str().unwrap().contains("no policy names it any more"), "{end}");
    until("the graph to go from the status", || (house.status()["graphs"].as_array().unwrap().len() == 1).then_some(()));
    assert_eq!(house.run("waiting"), "0\n");
    assert!(house.is_up());
}

#[test]
fn a_private_graph_has_a_process_of_its_own_and_the_others_share_one() {
    let mut house = House::new();
    let path = model(&house, &onnx::long(2));
    for (name, lines) in [("a", ""), ("b", "tensors = \"1 MiB\"\n"), ("c", "private = true\n"), ("d", "private = true\n")] {
        let policy = Policy::new(name).graph_by("model", &path, &format!("encoding = \"onnx\"\n{lines}"));
        house.install(&policy, &computes(4, 1));
    }
    house.start();
    assert_eq!(house.children_named("edgeguard-graph").len(), 3);
    for name in ["a", "b", "c", "d"] {
        assert_eq!(house.run(name), "0\n", "{name}");
    }
    // One that dies takes nobody else's computes with it.
    for pid in house.children_named("edgeguard-graph") {
        rustix::process::kill_process(rustix::process::Pid::from_raw(i32::try_from(pid).unwrap()).unwrap(), rustix::process::Signal::KILL)
            .unwrap();
    }
    until("three new hosts", || (house.events("graph-restarted").len() == 3).then_some(()));
    until("all of them to serve", || ["a", "b", "c", "d"].iter().all(|name| house.invoke(name).stdout == "0\n").then_some(()));
}

#[test]
fn a_compute_beyond_the_terms_of_its_graph_is_an_error_that_the_module_sees() {
    let mut house = House::new();
    let path = model(&house, &onnx::long(4000));
    let policy = |name: &str, lines: &str| Policy::new(name).graph_by("model", &path, &format!("encoding = \"onnx\"\n{lines}"));
    // 128 times 128 numbers of four bytes each.
    house.install(&policy("large", "tensors = \"32 KiB\"\nprivate = true\n"), &computes(128, 1));
    house.install(&policy("fits", "tensors = \"64 KiB\"\nprivate = true\n"), &computes(128, 1));
    house.install(&policy("long", "deadline = \"300 ms\"\nprivate = true\n"), &computes(1024, 1));
    house.start();
    assert_eq!(house.run("fits"), "0\n");
    let large = house.invoke("large");
    assert_ne!(large.code, Some(0), "{large:?}");
    assert_eq!(large.ending["outcome"], "exited", "an error, not a limit: {large:?}");
    let began = std::time::Instant::now();
    let long = house.invoke("long");
    assert_eq!((&long.ending["code"], &long.ending["outcome"]), (&35.into(), &"exited".into()), "{long:?}");
    assert!(began.elapsed() < std::time::Duration::from_secs(15), "it waited for the invocation's own deadline");
}

#[test]
fn memory_of_each_graph_is_in_the_status_and_in_the_metrics() {
    let mut house = House::new();
    let path = model(&house, &onnx::long(2));
    house.install(&Policy::new("guest").graph("model", &path), &computes(4, 1));
    house.start();
    let status = graph(&house);
    let resident = status["process"]["resident"].as_u64().unwrap();
    assert!(resident > 1 << 20 && status["process"]["private"].as_u64().unwrap() <= resident, "{status}");
    let page = house.request("GET", "/metrics", &[], b"").text();
    for name in
        ["edgeguard_graph_serving", "edgeguard_graph_resident_bytes", "edgeguard_graph_private_bytes", "edgeguard_graph_restarts_total"]
    {
        let line =
            page.lines().find(|line| line.starts_with(&format!("{name}{{graph=\"model\",sha256=\""))).unwrap_or_else(|| panic!("{page}"));
        let value: u64 = line.rsplit_once(' ').unwrap().1.parse().unwrap();
        assert_eq!(value > 0, !name.contains("restarts"), "{line}");
    }
}

#[test]
fn a_compute_beyond_its_deadline_is_ended_and_who_shares_the_graph_sees_nothing_of_it() {
    let library = built("engines/libonnxruntime.so.1.32.0");
    if !library.exists() {
        return skip(&format!("`{}` is not there; `cargo xtask models --engines` fetches it", library.display()));
    }
    let mut house = House::with(Plan { onnxruntime: Some(library), ..Plan::default() });
    let path = model(&house, &onnx::long(4000));
    let policy = |name: &str| Policy::new(name).graph_by("model", &path, "encoding = \"onnx\"\nengine = \"onnxruntime\"\n");
    house.install(&policy("long").with(|policy| policy.deadline = "700 ms".into()), &computes(1024, 1));
    house.install(&policy("short").with(|policy| policy.deadline = "60 s".into()), &computes(2, 20));
    house.start();
    let host = house.children_named("edgeguard-onnxruntime");
    let house = &house;
    std::thread::scope(|scope| {
        let late = scope.spawn(|| house.invoke("long"));
        let neighbour = scope.spawn(|| (0..5).map(|_| house.run("short")).collect::<Vec<_>>());
        let late = late.join().unwrap().ending;
        assert_eq!((&late["outcome"], &late["detail"]), (&"limit".into(), &"deadline".into()), "{late}");
        assert_eq!(neighbour.join().unwrap(), ["0\n"; 5]);
    });
    assert_eq!(house.run("short"), "0\n", "and the graph computes for others at once");
    assert_eq!(house.children_named("edgeguard-onnxruntime"), host, "the host was not replaced");
    assert!(house.events("graph-restarted").is_empty());
}

#[test]
fn a_storm_of_one_module_does_not_starve_another_on_the_same_graph() {
    let mut house = House::new();
    let path = model(&house, &onnx::long(20));
    let policy = |name: &str| {
        let policy = Policy::new(name).graph_by("model", &path, "encoding = \"onnx\"\ncomputes = 1\n");
        policy.with(|policy| (policy.deadline, policy.instances) = ("60 s".into(), 4))
    };
    house.install(&policy("storm"), &computes(96, 800));
    house.install(&policy("meek"), &computes(96, 20));
    house.start();
    assert_eq!(house.run("meek"), "0\n");
    let (house, ended) = (&house, AtomicUsize::new(0));
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                assert_eq!(house.run("storm"), "0\n");
                ended.fetch_add(1, Ordering::SeqCst);
            });
        }
        until("the storm to begin", || (house.events("invocation-started").len() >= 5).then_some(()));
        assert_eq!(house.run("meek"), "0\n");
        // Four thousand computes lay before it, and it took its turn between them.
        assert_eq!(ended.load(Ordering::SeqCst), 0, "the storm was over before it");
    });
    assert_eq!(house.children_named("edgeguard-graph").len(), 1);
    assert!(house.events("graph-restarted").is_empty());
}
