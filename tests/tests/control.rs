//! The control socket, byte by byte: what it answers to wrong, slow, large and hostile requests, and who may ask.
//!
//! Runs in: tests, with the real daemon.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]
#![forbid(unsafe_code)]

use std::io::Read as _;
use std::io::Write as _;
use std::net::Shutdown;
use std::process::Command;
use std::process::Stdio;
use std::time::Duration;
use std::time::Instant;

use edgeguard_tests::answer::Answer;
use edgeguard_tests::guest;
use edgeguard_tests::house::DAEMON_UID;
use edgeguard_tests::house::House;
use edgeguard_tests::house::Plan;
use edgeguard_tests::house::STRANGER_UID;
use edgeguard_tests::house::as_user;
use edgeguard_tests::house::skip;
use edgeguard_tests::house::until;
use edgeguard_tests::policy::Policy;

fn serving() -> House {
    let mut house = House::new();
    house.install(&Policy::new("cat").with(|policy| policy.output = "64 MiB".into()), &guest::cat());
    house.start();
    house
}

/// It still answers, and at once.
#[track_caller]
fn answers(house: &mut House) {
    assert_eq!(house.request("GET", "/v1/status", &[], b"").status, 200);
    assert!(house.is_up());
}

fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

#[test]
fn a_wrong_method_is_told_the_right_one() {
    let house = serving();
    for (method, path, allow) in
        [("POST", "/v1/status", "GET"), ("GET", "/v1/reload", "POST"), ("DELETE", "/v1/modules/cat/invoke", "POST")]
    {
        let answer = house.request(method, path, &[], b"");
        assert_eq!((answer.status, answer.header("allow")), (405, Some(allow)), "{method} {path}");
        assert_eq!(answer.json()["error"]["code"], "wrong-method");
    }
}

#[test]
fn an_unknown_path_is_told_what_there_is() {
    let house = serving();
    for path in ["/", "/v2/status", "/v1/modules/cat", "/v1/modules//invoke", "/v1/modules/a/b/invoke"] {
        let answer = house.request("GET", path, &[], b"");
        assert_eq!(answer.status, 404, "{path}: {}", answer.text());
        assert!(answer.text().contains("/v1/status"), "{}", answer.text());
    }
    let answer = house.request("POST", "/v1/modules/nobody/invoke", &[], b"");
    assert_eq!((answer.status, answer.json()["error"]["code"].as_str()), (404, Some("no-such-module")));
}

#[test]
fn a_huge_body_is_refused_and_not_kept() {
    let mut house = serving();
    let answer = house.request("POST", "/v1/reload", &[], &vec![b'x'; 8 << 20]);
    assert_eq!(answer.status, 413, "{}", answer.text());
    answers(&mut house);
}

#[test]
fn huge_headers_are_refused() {
    let mut house = serving();
    let long = "x".repeat(512 * 1024);
    let answer = house.request("GET", "/v1/status", &[("x-long", &long)], b"");
    assert_eq!(answer.status, 431);
    answers(&mut house);
}

#[test]
fn a_half_sent_request_ends_in_time_and_others_are_served_meanwhile() {
    let mut house = serving();
    let mut half = house.connect();
    half.write_all(b"GET /v1/status HTTP/1.1\r\nHost: edge").unwrap();
    let began = Instant::now();
    answers(&mut house);
    assert!(began.elapsed() < Duration::from_secs(2), "others waited {:?}", began.elapsed());
    let mut rest = Vec::new();
    half.read_to_end(&mut rest).unwrap();
    assert!(began.elapsed() < Duration::from_secs(15));
    assert!(rest.is_empty() || Answer::parse(&rest).status == 408, "{}", String::from_utf8_lossy(&rest));
}

#[test]
fn a_body_that_never_ends_is_not_waited_for() {
    let mut house = serving();
    let mut slow = house.connect();
    slow.write_all(b"POST /v1/reload HTTP/1.1\r\nHost: edgeguard\r\nConnection: close\r\nContent-Length: 10\r\n\r\nabc").unwrap();
    answers(&mut house);
    let mut rest = Vec::new();
    slow.read_to_end(&mut rest).unwrap();
    assert_eq!(Answer::parse(&rest).status, 408);
}

#[test]
fn a_users_silent_connections_are_bounded_and_no_other_user_notices() {
    if !is_root() {
        return skip("another user's part can only be taken by root");
    }
    let mut house = House::with(Plan { invokers: vec![format!("uid:{STRANGER_UID}")], ..Plan::default() });
    house.start();
    let silent: Vec<_> = (0..200).map(|_| house.connect()).collect();
    // Beyond its share, the user is told so.
    let answer = house.request("GET", "/v1/status", &[], b"");
    assert_eq!((answer.status, answer.json()["error"]["code"].as_str()), (503, Some("too-many-connections")));
    let mut other = house.cli(&["status"]);
    as_user(&mut other, STRANGER_UID);
    assert_eq!(other.output().unwrap().status.code(), Some(0));
    drop(silent);
    until("the connections to be forgotten", || (house.request("GET", "/v1/status", &[], b"").status == 200).then_some(()));
}

#[test]
fn bytes_that_are_no_request_end_the_connection_and_nothing_else() {
    let mut house = serving();
    let mut seed = 0x2545_f491_4f6c_dd1du64;
    for round in 0..64 {
        let mut stream = house.connect();
        let noise: Vec<u8> = (0..1 + round * 61)
            .map(|_| {
                seed ^= seed << 13;
                seed ^= seed >> 7;
                seed ^= seed << 17;
                (seed >> 32) as u8
            })
            .collect();
        let _ = stream.write_all(&noise);
        let _ = stream.shutdown(Shutdown::Write);
        let mut rest = Vec::new();
        let _ = stream.read_to_end(&mut rest);
        assert!(rest.is_empty() || Answer::parse(&rest).status == 400, "{}", String::from_utf8_lossy(&rest));
    }
    answers(&mut house);
}

#[test]
fn a_stranger_is_refused_everything_and_it_is_on_record() {
    if !is_root() {
        return skip("another user's part can only be taken by root");
    }
    let mut house = serving();
    for args in [&["status"][..], &["reload"], &["invoke", "cat"]] {
        let mut command = house.cli(args);
        as_user(&mut command, STRANGER_UID);
        let output = command.output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(1), "{args:?}: {said}");
        assert!(said.contains(&format!("user {STRANGER_UID} may not")), "{said}");
    }
    house.wait_for_event("control-refused", |event| event["peer_uid"] == STRANGER_UID && event["what"] == "POST /v1/modules/cat/invoke");
    house.wait_for_event("control-refused", |event| event["peer_uid"] == STRANGER_UID && event["what"] == "POST /v1/reload");
    assert!(house.events("invocation-started").is_empty());
    answers(&mut house);
}

#[test]
fn who_is_named_to_invoke_invokes_and_does_not_administer() {
    if !is_root() {
        return skip("another user's part can only be taken by root");
    }
    let mut house = House::with(Plan { invokers: vec![format!("uid:{STRANGER_UID}")], ..Plan::default() });
    house.install(&Policy::new("cat"), &guest::cat());
    house.start();
    let code = |args: &[&str]| {
        let mut command = house.cli(args);
        as_user(&mut command, STRANGER_UID);
        command.output().unwrap().status.code()
    };
    assert_eq!(code(&["invoke", "cat"]), Some(0));
    assert_eq!(code(&["status"]), Some(0));
    assert_eq!(code(&["reload"]), Some(1));
}

#[test]
fn fifty_megabytes_go_through_a_guest_and_come_back_the_same() {
    let house = serving();
    let input: Vec<u8> = (0..50u32 << 20).map(|n| (n ^ (n >> 7) ^ (n >> 15)) as u8).collect();
    let mut process = house.cli(&["invoke", "cat"]).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut stdin = process.stdin.take().unwrap();
    let sent = input.clone();
    let feeding = std::thread::spawn(move || stdin.write_all(&sent));
    let output = process.wait_with_output().unwrap();
    feeding.join().unwrap().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(output.stdout == input, "{} of {} bytes came back", output.stdout.len(), input.len());
    let resident = house.status()["process"]["resident"].as_u64().unwrap();
    assert!(resident < 32 << 20, "the daemon holds {resident} bytes: it gathers what it should pass on");
}

#[test]
fn a_client_that_leaves_takes_only_its_own_invocation_along() {
    let mut house = House::new();
    house.install(&Policy::new("cat").with(|policy| policy.instances = 2), &guest::cat());
    house.start();
    // One that stays, and waits for its input meanwhile.
    let mut stays = house.cli(&["invoke", "cat"]).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    until("the one that stays", || (house.events("invocation-started").len() == 1).then_some(()));
    let mut leaves = house.connect();
    leaves
        .write_all(b"POST /v1/modules/cat/invoke HTTP/1.1\r\nHost: edgeguard\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nabcd\r\n")
        .unwrap();
    let mut head = [0; 16];
    leaves.read_exact(&mut head).unwrap();
    drop(leaves);
    house.wait_for_event("invocation-ended", |_| true);
    assert_eq!(house.events("invocation-ended").len(), 1, "the other one ended too");
    stays.stdin.take().unwrap().write_all(b"still here").unwrap();
    let output = stays.wait_with_output().unwrap();
    assert_eq!((output.status.code(), output.stdout.as_slice()), (Some(0), &b"still here"[..]));
    answers(&mut house);
}

#[test]
fn the_plain_form_is_usable_with_curl() {
    let house = serving();
    let curl = |args: &[&str]| {
        let mut command = Command::new("curl");
        command.args(["--silent", "--show-error", "--max-time", "20", "--unix-socket"]).arg(house.socket()).args(args).stdin(Stdio::null());
        command.output()
    };
    let Ok(output) = curl(&["--data-binary", "through curl", "http://edgeguard/v1/modules/cat/invoke"]) else {
        return skip("no curl here");
    };
    assert_eq!((output.status.code(), String::from_utf8_lossy(&output.stdout).as_ref()), (Some(0), "through curl"));
    let output = curl(&["http://edgeguard/v1/status"]).unwrap();
    assert!(String::from_utf8_lossy(&output.stdout).contains("\"cat\""));
}

#[test]
fn the_plain_form_ends_with_the_outcome() {
    let house = serving();
    let answer = house.request("POST", "/v1/modules/cat/invoke", &[("TE", "trailers")], b"abc");
    assert_eq!((answer.status, answer.text().as_str(), answer.whole), (200, "abc", true));
    assert_eq!(answer.trailers, [("edgeguard-outcome".to_owned(), "exited 0".to_owned())]);
}

#[test]
fn invocations_beyond_the_instances_wait_and_beyond_the_queue_are_refused() {
    let house = serving();
    let begin = || {
        let mut stream = house.connect();
        stream
            .write_all(
                b"POST /v1/modules/cat/invoke HTTP/1.1\r\nHost: edgeguard\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n",
            )
            .unwrap();
        stream
    };
    let mut all = vec![begin()];
    until("the first to run", || (house.events("invocation-started").len() == 1).then_some(()));
    all.extend((0..64).map(|_| begin()));
    until("the others to wait", || (house.module_status("cat")["waiting"] == 64).then_some(()));
    let refused = house.request("POST", "/v1/modules/cat/invoke", &[], b"");
    assert_eq!((refused.status, refused.json()["error"]["code"].as_str()), (503, Some("busy")));
    for stream in &mut all {
        stream.write_all(b"2\r\nhi\r\n0\r\n\r\n").unwrap();
    }
    for mut stream in all {
        let mut bytes = Vec::new();
        stream.read_to_end(&mut bytes).unwrap();
        let answer = Answer::parse(&bytes);
        assert_eq!((answer.status, answer.text().as_str()), (200, "hi"));
    }
    assert_eq!(house.module_status("cat")["waiting"], 0);
    assert_eq!(house.invoke("cat").code, Some(0));
}

/// Whoever gives up while it waits leaves no trace in the queue.
#[test]
fn clients_that_leave_the_queue_make_room() {
    let house = serving();
    let begin = || {
        let mut stream = house.connect();
        stream.write_all(b"POST /v1/modules/cat/invoke HTTP/1.1\r\nHost: edgeguard\r\nTransfer-Encoding: chunked\r\n\r\n").unwrap();
        stream
    };
    let first = begin();
    until("the first to run", || (house.events("invocation-started").len() == 1).then_some(()));
    let wait = || {
        let mut stream = house.connect();
        stream.write_all(b"POST /v1/modules/cat/invoke HTTP/1.1\r\nHost: edgeguard\r\nContent-Length: 0\r\n\r\n").unwrap();
        stream
    };
    let waiting: Vec<_> = (0..8).map(|_| wait()).collect();
    until("the others to wait", || (house.module_status("cat")["waiting"] == 8).then_some(()));
    drop(waiting);
    until("the queue to be empty", || (house.module_status("cat")["waiting"] == 0).then_some(()));
    drop(first);
    assert_eq!(house.invoke_with("cat", b"next").stdout, "next");
}

/// The whole text format: comments, names, labels, values.
#[test]
fn the_metrics_are_what_prometheus_reads_and_count_what_happened() {
    let house = serving();
    assert_eq!(house.invoke("cat").code, Some(0));
    let answer = house.request("GET", "/metrics", &[], b"");
    assert_eq!(answer.header("content-type"), Some("text/plain; version=0.0.4"));
    let page = answer.text();
    let mut typed = Vec::new();
    for line in page.lines() {
        if let Some(comment) = line.strip_prefix("# ") {
            let mut words = comment.splitn(3, ' ');
            let (kind, name) = (words.next().unwrap(), words.next().unwrap());
            assert!(matches!(kind, "HELP" | "TYPE") && words.next().is_some_and(|rest| !rest.is_empty()), "{line}");
            typed.push(name.to_owned());
            continue;
        }
        let (series, value) = line.rsplit_once(' ').unwrap();
        value.parse::<f64>().unwrap_or_else(|error| panic!("{line}: {error}"));
        let name = series.split('{').next().unwrap();
        assert!(typed.iter().any(|known| known == name), "{line} has no HELP");
        assert!(name.chars().all(|c| c.is_ascii_lowercase() || c == '_'), "{line}");
    }
    assert!(page.contains("edgeguard_invocations_succeeded_total{module=\"cat\"} 1\n"), "{page}");
    assert!(page.contains("edgeguard_journal_usable 1\n"), "{page}");
}

#[test]
fn one_connection_may_ask_more_than_once() {
    let house = serving();
    let mut stream = house.connect();
    for last in [false, true] {
        let close = if last { "Connection: close\r\n" } else { "" };
        stream.write_all(format!("GET /metrics HTTP/1.1\r\nHost: edgeguard\r\n{close}\r\n").as_bytes()).unwrap();
    }
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes).unwrap();
    let text = String::from_utf8_lossy(&bytes);
    assert_eq!(text.matches("HTTP/1.1 200 OK").count(), 2);
}

#[test]
fn a_socket_that_a_dead_daemon_left_behind_is_taken_over() {
    let mut house = serving();
    house.kill();
    assert!(house.socket().exists(), "a killed daemon cannot clean up");
    house.start();
    answers(&mut house);
    assert!(house.stop().success());
    assert!(!house.socket().exists(), "an orderly stop cleans up");
}

#[test]
fn what_is_no_socket_in_the_sockets_place_is_left_alone() {
    let mut house = House::new();
    std::fs::write(house.socket(), "an operator's file").unwrap();
    let gone = house.try_start().unwrap_err();
    assert_eq!(gone.code, Some(1));
    assert!(gone.log.contains("control.sock") && gone.log.contains("no socket"), "{}", gone.log);
    assert_eq!(std::fs::read_to_string(house.socket()).unwrap(), "an operator's file");
}

#[test]
fn the_daemon_does_not_run_as_root() {
    if !is_root() {
        return skip("only root can try");
    }
    let house = House::new();
    let output = Command::new(house.path("libexec/edgeguardd")).arg("--config").arg(house.path("edgeguard.toml")).output().unwrap();
    assert_eq!(output.status.code(), Some(4));
    assert!(String::from_utf8_lossy(&output.stderr).contains("does not run as root"));
    assert_ne!(DAEMON_UID, 0);
}
