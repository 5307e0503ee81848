//! Modules that serve HTTP, from the policy to the client: real connections, the real daemon, the journal that is left.
//!
//! Runs in: tests. What a worker does with one connection is in its own tests; here is what the daemon adds: addresses, places, rates, reloads, accounts.
#![allow(clippy::unwrap_used, clippy::panic, clippy::disallowed_methods, reason = "a test fails by panicking, and is a client of ports")]
#![forbid(unsafe_code)]

use std::collections::BTreeSet;
use std::io::Read;
use std::io::Write;
use std::net::TcpListener;
use std::net::TcpStream;
use std::os::unix::fs::MetadataExt as _;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering;
use std::time::Duration;
use std::time::Instant;

use edgeguard_tests::answer::Answer;
use edgeguard_tests::guest;
use edgeguard_tests::guest::service;
use edgeguard_tests::house::House;
use edgeguard_tests::house::PATIENCE;
use edgeguard_tests::house::STRANGER_UID;
use edgeguard_tests::house::until;
use edgeguard_tests::policy::Policy;
use rustix::process::Pid;
use rustix::process::Signal;

/// A policy of the service, at `run/http/NAME.sock` of the house.
fn at_socket(house: &House, name: &str) -> Policy {
    let listen = socket(house, name);
    Policy::new(name).with(|policy| {
        policy.http = Some(format!("listen = \"unix:{}\"\n", listen.display()));
        policy.deadline = "5 s".into();
    })
}

fn socket(house: &House, name: &str) -> PathBuf {
    house.path(&format!("run/http/{name}.sock"))
}

/// The house with one service, which runs.
fn serving(change: impl FnOnce(&mut Policy)) -> House {
    let mut house = House::new();
    let policy = at_socket(&house, "svc").with(change);
    house.install(&policy, &service());
    house.start();
    house
}

/// A line more of `[http]`.
fn also(policy: &mut Policy, line: &str) {
    policy.http.as_mut().unwrap().push_str(&format!("{line}\n"));
}

/// What a client gets who asks for this and waits for the end.
fn answer(stream: impl Read + Write, request: &[u8]) -> Vec<u8> {
    let mut stream = stream;
    // One that is told "no" before it has said everything still reads that.
    let _ = stream.write_all(request);
    let mut bytes = Vec::new();
    let _ = stream.read_to_end(&mut bytes);
    bytes
}

fn request(path: &str) -> Vec<u8> {
    format!("GET {path} HTTP/1.1\r\nHost: gate\r\n\r\n").into_bytes()
}

fn connect(house: &House) -> UnixStream {
    let stream = UnixStream::connect(socket(house, "svc")).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream
}

fn get(house: &House, path: &str) -> Answer {
    Answer::parse(&answer(connect(house), &request(path)))
}

#[test]
fn a_client_is_answered_and_the_journal_says_who_asked_what_and_how_it_ended() {
    let house = serving(|_| ());
    for path in ["/greet?who=me", "/none", "/trap"] {
        let answer = get(&house, path);
        let expected = if path.starts_with("/greet") { (201, b"hello from the guest\n".as_slice()) } else { (500, b"".as_slice()) };
        assert_eq!((answer.status, answer.body.as_slice(), answer.whole), (expected.0, expected.1, true), "{path}");
    }
    let ended = until("three ends", || Some(house.events("invocation-ended")).filter(|ended| ended.len() == 3));
    let started = house.events("invocation-started");
    let own = rustix::process::geteuid().as_raw();
    for event in &started {
        assert_eq!((event["peer_uid"].as_u64(), event["client"].is_null()), (Some(own.into()), true), "{event}");
        assert_eq!(event["listener"], format!("unix:{}", socket(&house, "svc").display()));
    }
    let outcomes: Vec<_> = ended.iter().map(|event| event["outcome"].as_str().unwrap()).collect();
    assert_eq!(outcomes, ["exited", "exited", "trapped"]);
    assert!(ended.iter().all(|event| event["records_produced"] == event["records_recorded"]), "{ended:?}");
    let requests = house.calls("handle");
    let said: Vec<_> = requests.iter().map(|call| (call["text"].as_str().unwrap(), call["status"].as_u64().unwrap())).collect();
    assert_eq!(said, [("GET /greet?who=me", 201), ("GET /none", 500), ("GET /trap", 500)]);
    let recorded: u64 = ended.iter().map(|event| event["records_recorded"].as_u64().unwrap()).sum();
    assert_eq!(house.journal().iter().filter(|entry| entry["call"].is_object()).count() as u64, recorded);
    let counts = &house.module_status("svc")["invocations"];
    assert_eq!((counts["succeeded"].as_u64(), counts["failed"].as_u64(), counts["refused"].as_u64()), (Some(1), Some(2), Some(0)));
    assert_eq!(house.module_status("svc")["detail"]["listen"], started[0]["listener"]);
    assert_eq!(house.verify().0, Some(0));
}

#[test]
fn a_port_is_served_like_a_socket_and_the_client_s_address_is_on_record() {
    let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let house = serving(|policy| policy.http = Some(format!("listen = \"{free}\"\n")));
    let client = TcpStream::connect(free).unwrap();
    client.set_read_timeout(Some(PATIENCE)).unwrap();
    let address = client.local_addr().unwrap().to_string();
    let body = vec![b'x'; 200_000];
    let mut sent = format!("POST /echo HTTP/1.1\r\nHost: gate\r\nContent-Length: {}\r\n\r\n", body.len()).into_bytes();
    sent.extend_from_slice(&body);
    let writer = client.try_clone().unwrap();
    let writing = std::thread::spawn(move || (&writer).write_all(&sent));
    let answer = Answer::parse(&answer(client, b""));
    writing.join().unwrap().unwrap();
    assert_eq!((answer.status, answer.whole, answer.body == body), (200, true, true));
    let started = house.wait_for_event("invocation-started", |_| true);
    assert_eq!((started["client"].as_str(), started["peer_uid"].is_null()), (Some(address.as_str()), true), "{started}");
    assert_eq!(started["listener"], free.to_string());
}

#[test]
fn sixty_four_clients_at_once_are_all_answered_by_four_instances() {
    let house = Arc::new(serving(|policy| policy.instances = 4));
    let clients: Vec<_> = (0..64)
        .map(|i| {
            let house = Arc::clone(&house);
            std::thread::spawn(move || {
                let body = format!("client {i}");
                let request = format!("POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: {}\r\n\r\n{body}", body.len());
                let answer = Answer::parse(&answer(connect(&house), request.as_bytes()));
                (answer.status, String::from_utf8(answer.body).unwrap() == body)
            })
        })
        .collect();
    for client in clients {
        assert_eq!(client.join().unwrap(), (200, true));
    }
    let ended = until("64 ends", || Some(house.events("invocation-ended")).filter(|ended| ended.len() == 64));
    assert!(ended.iter().all(|event| event["exit_code"] == 0 && event["records_produced"] == event["records_recorded"]), "{ended:?}");
    let ids: BTreeSet<_> = ended.iter().map(|event| event["id"].to_string()).collect();
    assert_eq!(ids.len(), 64);
}

#[test]
fn silent_clients_hold_no_instance_and_are_sent_away() {
    let house = serving(|policy| also(policy, "read-timeout = \"1 s\""));
    let silent: Vec<_> = (0..20).map(|_| connect(&house)).collect();
    let began = Instant::now();
    assert_eq!(get(&house, "/greet").status, 201);
    assert!(began.elapsed() < Duration::from_millis(900), "it waited for those who said nothing: {:?}", began.elapsed());
    for mut client in silent {
        let mut told = Vec::new();
        client.read_to_end(&mut told).unwrap();
        assert_eq!(Answer::parse(&told).status, 408);
    }
    assert_eq!(until("its end", || Some(house.events("invocation-ended")).filter(|ended| !ended.is_empty())).len(), 1);
}

#[test]
fn what_is_no_request_is_refused_in_the_worker_and_no_guest_runs() {
    let house = serving(|policy| also(policy, "request-body = \"1 KiB\""));
    let smuggled = b"POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nGET /greet HTTP/1.1\r\nHost: a\r\n\r\n";
    let long = format!("GET /{} HTTP/1.1\r\nHost: a\r\n\r\n", "a".repeat(17 << 10));
    for (request, expected) in [
        (smuggled.as_slice(), 400),
        (b"GET /greet HTTP/1.1\nHost: a\n\n", 400),
        (b"POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 2000\r\n\r\n", 413),
        (long.as_bytes(), 431),
    ] {
        let answer = Answer::parse(&answer(connect(&house), request));
        assert_eq!((answer.status, answer.body.as_slice()), (expected, b"".as_slice()));
    }
    let ended = until("four ends", || Some(house.events("invocation-ended")).filter(|ended| ended.len() == 4));
    let said: Vec<_> = ended.iter().map(|event| (event["outcome"].as_str().unwrap(), event["detail"].as_str().unwrap())).collect();
    assert_eq!(said, [("refused", "400"), ("refused", "400"), ("refused", "413"), ("refused", "431")]);
    assert_eq!(house.calls("handle").len(), 0);
    let counts = &house.module_status("svc")["invocations"];
    assert_eq!((counts["refused"].as_u64(), counts["failed"].as_u64()), (Some(4), Some(0)));
    // The second request of the smuggled one was never read.
    assert_eq!(get(&house, "/greet").status, 201);
}

#[test]
fn one_client_too_many_is_told_so_and_so_is_one_request_too_many() {
    let house = serving(|policy| {
        also(policy, "connections = 2");
        also(policy, "requests-per-minute = 3");
    });
    let waiting = [connect(&house), connect(&house)];
    until("a refusal", || (get(&house, "/greet").status == 503).then_some(()));
    drop(waiting);
    let statuses = until("a place", || {
        let status = get(&house, "/greet").status;
        (status != 503).then_some(status)
    });
    assert_eq!(statuses, 201);
    assert_eq!([get(&house, "/greet").status, get(&house, "/greet").status, get(&house, "/greet").status], [201, 201, 429]);
    assert_eq!(until("three ends", || Some(house.events("invocation-ended")).filter(|ended| ended.len() >= 3)).len(), 3);
}

#[test]
fn only_users_whom_the_policy_names_may_connect_to_a_socket() {
    if !rustix::process::geteuid().is_root() {
        return edgeguard_tests::house::skip("another user is needed to be one");
    }
    let as_stranger = |house: &House| {
        let mut perl = std::process::Command::new("perl");
        let text = r#"use IO::Socket::UNIX; my $s = IO::Socket::UNIX->new(Peer => $ARGV[0]) or die "$!"; print $s "GET /greet HTTP/1.1\r\nHost: a\r\n\r\n"; print <$s>;"#;
        edgeguard_tests::house::as_user(perl.args(["-e", text]).arg(socket(house, "svc")), STRANGER_UID);
        let output = perl.output().unwrap();
        assert!(output.status.success(), "{output:?}");
        Answer::parse(&output.stdout).status
    };
    let house = serving(|policy| also(policy, "connections = 1"));
    let waiting = connect(&house);
    assert_eq!(as_stranger(&house), 403, "whoever may not connect takes no client's place, and needs none");
    drop(waiting);
    house.wait_for_event("control-refused", |event| {
        event["peer_uid"] == STRANGER_UID && event["what"].as_str().unwrap().starts_with("connect at unix:")
    });
    house.put_policy(&at_socket(&house, "svc").with(|policy| also(policy, &format!("clients = [\"uid:{STRANGER_UID}\"]"))));
    house.reload();
    assert_eq!(as_stranger(&house), 201);
    assert_eq!(get(&house, "/greet").status, 201);
}

#[test]
fn a_killed_worker_costs_its_client_the_answer_and_the_next_is_served() {
    let house = serving(|_| ());
    let mut client = connect(&house);
    client.write_all(&request("/spin")).unwrap();
    let mut begun = [0; 12];
    client.read_exact(&mut begun).unwrap();
    assert_eq!(&begun, b"HTTP/1.1 200");
    let [worker] = house.children_named("edgeguard-worker")[..] else { panic!("one worker") };
    rustix::process::kill_process(Pid::from_raw(i32::try_from(worker).unwrap()).unwrap(), Signal::KILL).unwrap();
    let mut rest = Vec::new();
    let _ = client.read_to_end(&mut rest);
    assert!(!rest.ends_with(b"0\r\n\r\n"), "it looks whole: {:?}", String::from_utf8_lossy(&rest));
    assert_eq!(get(&house, "/greet").status, 201);
    let ended = house.wait_for_event("invocation-ended", |event| event["outcome"] == "killed");
    assert_eq!(ended["records_produced"], ended["records_recorded"]);
}

#[test]
fn a_guest_that_does_not_end_is_ended_and_its_client_told() {
    let house = serving(|policy| policy.deadline = "300 ms".into());
    assert_eq!(get(&house, "/loop").status, 504);
    let answer = get(&house, "/spin");
    assert_eq!((answer.status, answer.whole), (200, false));
    assert_eq!(get(&house, "/greet").status, 201);
}

#[test]
fn what_a_service_prints_is_in_the_daemon_s_log_and_not_in_its_answer() {
    let house = serving(|_| ());
    let answer = get(&house, "/write");
    assert_eq!(answer.body, b"hello from the guest\n");
    until("the line in the log", || house.log().contains("hello from the guest").then_some(()));
}

#[test]
fn a_reload_keeps_the_socket_of_an_address_that_stays_and_no_client_is_turned_away() {
    let house = Arc::new(serving(|policy| policy.instances = 2));
    let inode = std::fs::metadata(socket(&house, "svc")).unwrap().ino();
    let done = Arc::new(AtomicBool::new(false));
    let client = {
        let (house, done) = (Arc::clone(&house), Arc::clone(&done));
        std::thread::spawn(move || {
            let mut statuses = BTreeSet::new();
            while !done.load(Ordering::Relaxed) {
                statuses.insert(get(&house, "/greet").status);
                std::thread::sleep(Duration::from_millis(20));
            }
            statuses
        })
    };
    for round in 0..5 {
        // Another policy each time: the module is made anew, and its worker with it.
        house.put_policy(&at_socket(&house, "svc").with(|policy| {
            policy.instances = 2;
            policy.open_files = 10 + round;
        }));
        assert_eq!(house.reload()["admitted"], serde_json::json!(["svc"]));
    }
    done.store(true, Ordering::Relaxed);
    let statuses = client.join().unwrap();
    // Who waited while the policy changed is asked to try again; nobody's connection was refused or broken.
    assert!(statuses.is_subset(&BTreeSet::from([201, 503])) && statuses.contains(&201), "{statuses:?}");
    assert_eq!(std::fs::metadata(socket(&house, "svc")).unwrap().ino(), inode);
}

#[test]
fn an_address_that_changes_moves_and_one_that_is_gone_is_closed() {
    let house = serving(|_| ());
    assert_eq!(get(&house, "/greet").status, 201);
    let moved = house.path("run/http/other.sock");
    house.put_policy(&at_socket(&house, "svc").with(|policy| policy.http = Some(format!("listen = \"unix:{}\"\n", moved.display()))));
    house.reload();
    assert_eq!(Answer::parse(&answer(UnixStream::connect(&moved).unwrap(), &request("/greet"))).status, 201);
    until("the old socket's end", || (!socket(&house, "svc").exists()).then_some(()));
    std::fs::remove_file(house.path("policy.d/svc.toml")).unwrap();
    house.reload();
    until("the new socket's end", || (!moved.exists()).then_some(()));
}

#[test]
fn a_module_whose_address_cannot_be_had_is_refused_and_the_others_are_served() {
    let mut house = House::new();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let listen = format!("listen = \"{}\"\n", taken.local_addr().unwrap());
    house.install(&Policy::new("late").with(|policy| policy.http = Some(listen.clone())), &service());
    std::fs::create_dir_all(house.path("run/http")).unwrap();
    house.give_to_daemon(&house.path("run/http"));
    std::fs::write(socket(&house, "file"), "mine").unwrap();
    house.install(&at_socket(&house, "file"), &service());
    house.install(&at_socket(&house, "svc"), &service());
    house.install(
        &Policy::new("twin").with(|policy| policy.http = Some(format!("listen = \"unix:{}\"\n", socket(&house, "svc").display()))),
        &service(),
    );
    house.start();
    for (name, why) in
        [("late", "another program listens there"), ("file", "something that is no socket"), ("twin", "the module `svc` listens at")]
    {
        let status = house.module_status(name);
        assert_eq!((&status["state"], &status["detail"]["code"]), (&"refused".into(), &"EG7007".into()), "{status}");
        assert!(status["detail"]["reason"].as_str().unwrap().contains(why), "{status}");
    }
    assert_eq!(std::fs::read_to_string(socket(&house, "file")).unwrap(), "mine");
    assert_eq!(get(&house, "/greet").status, 201);
    // Once the address is free, a reload is enough.
    drop(taken);
    house.reload();
    assert_eq!(house.module_status("late")["state"], "admitted");
}

#[test]
fn a_socket_that_a_killed_daemon_left_behind_is_taken_over() {
    let mut house = serving(|_| ());
    house.kill();
    assert!(socket(&house, "svc").exists());
    house.start();
    assert_eq!(get(&house, "/greet").status, 201);
    house.stop();
    assert!(!socket(&house, "svc").exists());
}

#[test]
fn a_service_is_not_invoked_and_a_command_does_not_serve() {
    let mut house = serving(|_| ());
    let invoked = house.invoke("svc");
    assert_ne!(invoked.code, Some(0));
    assert!(invoked.stderr.contains("serves HTTP, and is asked at `unix:"), "{}", invoked.stderr);
    let policy = at_socket(&house, "command");
    house.install(&policy, &guest::empty());
    let report = house.reload();
    assert!(report["refused"].to_string().contains("EG046"), "{report}");
    let _ = house.stop();
}

#[test]
fn curl_gets_an_answer() {
    let house = serving(|_| ());
    let path = socket(&house, "svc");
    let curl = std::process::Command::new("curl")
        .args(["-sS", "-d", "a body", "--unix-socket"])
        .arg(&path)
        .arg("http://gate/echo")
        .stdout(Stdio::piped())
        .output();
    match curl {
        Ok(output) => assert_eq!((output.status.code(), output.stdout.as_slice()), (Some(0), b"a body".as_slice()), "{output:?}"),
        Err(error) => edgeguard_tests::house::skip(&format!("no curl: {error}")),
    }
}
