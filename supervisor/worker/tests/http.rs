//! Modules that serve HTTP, in real processes: one connection an invocation, one fresh instance for its request.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod common;

use std::io::Read as _;
use std::io::Write as _;
use std::path::Path;
use std::time::Duration;
use std::time::Instant;

use common::Native;
use common::Plan;
use common::Run;
use common::Worker;
use common::try_compile;
use edgeguard_audit::Outcome as Recorded;
use edgeguard_wire::worker::Http;
use edgeguard_wire::worker::Limit;
use edgeguard_wire::worker::Limits;
use edgeguard_wire::worker::Outcome;

const LIMITS: Http =
    Http { request_head: 8 << 10, request_body: 256 << 10, response_body: 1 << 20, read_timeout: Duration::from_millis(500) };

/// The guest of `tests/guests/service.wat`, made a component as toolchains do it.
fn service() -> Native {
    let guests = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/guests");
    let mut core = wat::parse_file(guests.join("service.wat")).unwrap();
    let mut resolve = wit_parser::Resolve::default();
    let path = guests.join("service.wit");
    let package = resolve.push_str(&path, &std::fs::read_to_string(&path).unwrap()).unwrap();
    let world = resolve.select_world(&[package], Some("service")).unwrap();
    wit_component::embed_component_metadata(&mut core, &resolve, world, wit_component::StringEncoding::UTF8, false).unwrap();
    let wasm = wit_component::ComponentEncoder::default().module(&core).and_then(|encoder| encoder.encode()).unwrap();
    try_compile(&wasm).unwrap()
}

fn worker_with(change: impl FnOnce(&mut Limits)) -> Worker {
    let mut plan = Plan::new(service()).limits(change);
    plan.http = Some(LIMITS);
    plan.start()
}

fn worker() -> Worker {
    worker_with(|_| ())
}

/// What a client got, until its connection had nothing more; and the invocation.
fn answered(worker: &mut Worker, request: &[u8]) -> (String, Run) {
    let (client, started) = worker.begin_with_client();
    let mut writer = client.try_clone().unwrap();
    let request = request.to_vec();
    let writing = std::thread::spawn(move || {
        let _ = writer.write_all(&request);
    });
    let reading = std::thread::spawn(move || {
        let mut bytes = Vec::new();
        let _ = (&client).read_to_end(&mut bytes);
        String::from_utf8_lossy(&bytes).into_owned()
    });
    let run = worker.end(started);
    let answer = reading.join().unwrap();
    writing.join().unwrap();
    (answer, run)
}

fn get(worker: &mut Worker, path: &str) -> (String, Run) {
    answered(worker, format!("GET {path} HTTP/1.1\r\nHost: gate\r\n\r\n").as_bytes())
}

fn status(answer: &str) -> u16 {
    answer.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or(0)
}

fn body(answer: &str) -> &str {
    answer.split_once("\r\n\r\n").map_or("", |(_, body)| body)
}

/// The record of the request: text, status, bytes in, bytes out, outcome.
fn request_of(run: &Run) -> (String, u32, u32, u32, Recorded) {
    let [seen] = run.calls("handle")[..] else { panic!("expected one record of the request, got {:?}", run.records) };
    assert_eq!(seen.call(), "wasi:http/incoming-handler.handle");
    let record = &seen.record;
    (seen.text.clone().unwrap(), record.handle, record.n_in, record.n_out, record.outcome)
}

#[test]
fn a_request_is_answered_by_a_fresh_instance_and_every_call_of_it_is_recorded() {
    let mut worker = worker();
    for _ in 0..2 {
        let (answer, run) = get(&mut worker, "/greet?name=a");
        assert_eq!(run.outcome(), &Outcome::Exited(0), "{answer}");
        assert!(answer.starts_with("HTTP/1.1 201 Created\r\n"), "{answer}");
        assert!(answer.contains("x-guest: yes\r\n") && answer.contains("connection: close\r\n"), "{answer}");
        assert!(body(&answer).contains("hello from the guest\n"), "{answer}");
        assert_eq!(request_of(&run), ("GET /greet?name=a".into(), 201, 0, 21, Recorded::Ok));
        let calls: Vec<_> = run.records.iter().map(common::Seen::call).collect();
        for name in [
            "wasi:http/types.[method]incoming-request.path-with-query",
            "wasi:http/types.[resource-drop]incoming-request",
            "wasi:http/types.[constructor]fields",
            "wasi:http/types.[method]fields.append",
            "wasi:http/types.[constructor]outgoing-response",
            "wasi:http/types.[static]response-outparam.set",
            "wasi:http/types.[static]outgoing-body.finish",
            "wasi:io/streams.[method]output-stream.blocking-write-and-flush",
        ] {
            assert!(calls.iter().any(|call| call == name), "{name} is not among {calls:#?}");
        }
        assert!(run.records.iter().all(|seen| seen.record.outcome == Recorded::Ok), "{:?}", run.records);
    }
}

#[test]
fn a_body_comes_back_as_it_was_sent_by_length_and_in_chunks() {
    let mut worker = worker();
    let sent: Vec<u8> = (0..200_000u32).map(|i| b'a' + (i % 23) as u8).collect();
    let mut whole = format!("POST /echo HTTP/1.1\r\nHost: gate\r\nContent-Length: {}\r\n\r\n", sent.len()).into_bytes();
    whole.extend_from_slice(&sent);
    let mut chunks = b"POST /echo HTTP/1.1\r\nHost: gate\r\nTransfer-Encoding: chunked\r\n\r\n".to_vec();
    for chunk in sent.chunks(7_001) {
        chunks.extend_from_slice(format!("{:x}\r\n", chunk.len()).as_bytes());
        chunks.extend_from_slice(chunk);
        chunks.extend_from_slice(b"\r\n");
    }
    chunks.extend_from_slice(b"0\r\n\r\n");
    for request in [whole, chunks] {
        let (answer, run) = answered(&mut worker, &request);
        assert_eq!(run.outcome(), &Outcome::Exited(0));
        assert_eq!(unchunked(body(&answer)).as_bytes(), sent);
        assert_eq!(request_of(&run), ("POST /echo".into(), 200, 200_000, 200_000, Recorded::Ok));
    }
}

/// What a chunked body says, if it is whole.
fn unchunked(mut body: &str) -> String {
    let mut said = String::new();
    loop {
        let (size, rest) = body.split_once("\r\n").unwrap();
        let size = usize::from_str_radix(size, 16).unwrap();
        if size == 0 {
            assert_eq!(rest, "\r\n");
            return said;
        }
        said.push_str(&rest[..size]);
        body = rest[size..].strip_prefix("\r\n").unwrap();
    }
}

#[test]
fn a_guest_that_fails_before_it_answers_leaves_a_status_and_no_detail() {
    let mut worker = worker_with(|limits| limits.deadline = Duration::from_millis(300));
    for (path, expected, outcome) in [
        ("/none", 500, Some(Outcome::Exited(1))),
        ("/fail", 500, Some(Outcome::Exited(1))),
        ("/trap", 500, None),
        ("/loop", 504, Some(Outcome::Limit(Limit::Deadline))),
        ("/keep", 503, Some(Outcome::Limit(Limit::OpenFiles))),
    ] {
        let (answer, run) = get(&mut worker, path);
        assert_eq!((status(&answer), body(&answer)), (expected, ""), "{path}: {answer}");
        match outcome {
            Some(outcome) => assert_eq!(run.outcome(), &outcome, "{path}"),
            None => assert!(matches!(run.outcome(), Outcome::Trapped(_)), "{path}: {:?}", run.outcome()),
        }
        assert_eq!(request_of(&run).1, u32::from(expected), "{path}");
        assert_ne!(request_of(&run).4, Recorded::Ok, "{path}");
    }
    assert_eq!(status(&get(&mut worker, "/greet").0), 201);
}

#[test]
fn an_answer_that_was_begun_and_not_finished_never_looks_whole() {
    let mut worker = worker();
    for path in ["/break", "/unfinished"] {
        let (answer, run) = get(&mut worker, path);
        assert_eq!(status(&answer), 200);
        assert!(answer.contains("hello from the guest") && !answer.ends_with("0\r\n\r\n"), "{path}: {answer:?}");
        assert_ne!(run.outcome(), &Outcome::Exited(0), "{path}");
    }
}

#[test]
fn a_guest_that_answers_more_than_it_may_is_stopped() {
    let mut worker = worker();
    let (answer, run) = get(&mut worker, "/many");
    assert_eq!(run.outcome(), &Outcome::Limit(Limit::ResponseBody));
    assert!(answer.len() <= (1 << 20) + 8192 && !answer.ends_with("0\r\n\r\n"));
    assert_eq!(request_of(&run).4, Recorded::Limit);
}

#[test]
fn what_is_no_request_never_reaches_a_guest() {
    let mut worker = worker();
    let long = format!("GET /{} HTTP/1.1\r\nHost: a\r\n\r\n", "a".repeat(9 << 10));
    for (request, expected) in [
        ("GET / HTTP/1.1\nHost: a\n\n", 400),
        ("POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400),
        ("POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello", 400),
        ("POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 300000\r\n\r\n", 413),
        ("GET / HTTP/2.0\r\n\r\n", 505),
        (&long, 431),
        ("hello?", 408),
    ] {
        let (answer, run) = answered(&mut worker, request.as_bytes());
        assert_eq!((status(&answer), run.outcome()), (expected, &Outcome::Refused(expected)), "{request:?}: {answer}");
        assert!(run.records.is_empty(), "{:?}", run.records);
    }
}

#[test]
fn a_chunked_body_that_is_too_long_or_no_chunks_fails_in_the_guest_and_is_not_echoed_whole() {
    let mut worker = worker();
    let head = "POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n";
    let long = format!("{head}{:x}\r\n{}\r\n0\r\n\r\n", 300_000, "a".repeat(300_000));
    for request in [long, format!("{head}5\nhello\n0\n\n"), format!("{head}5\r\nhelloX"), format!("{head}-5\r\nhello\r\n0\r\n\r\n")] {
        let (answer, run) = answered(&mut worker, request.as_bytes());
        assert!(matches!(run.outcome(), Outcome::Trapped(_)), "{:?}", run.outcome());
        assert!(!answer.ends_with("0\r\n\r\n"), "{answer:?}");
    }
}

#[test]
fn a_client_that_says_nothing_or_leaves_costs_its_time_and_nothing_else() {
    let mut worker = worker();
    let (client, started) = worker.begin_with_client();
    let began = Instant::now();
    assert_eq!(worker.end(started).outcome(), &Outcome::Refused(408));
    assert!(began.elapsed() < Duration::from_secs(3));
    drop(client);
    let (client, started) = worker.begin_with_client();
    drop(client);
    assert_eq!(worker.end(started).outcome(), &Outcome::Refused(0));
    // One that leaves while it is answered does not end the guest's work.
    let (mut client, started) = worker.begin_with_client();
    client.write_all(b"GET /greet HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
    drop(client);
    assert!(matches!(worker.end(started).outcome(), Outcome::Exited(_) | Outcome::Trapped(_)));
    assert_eq!(status(&get(&mut worker, "/greet").0), 201);
}

#[test]
fn what_a_guest_flushes_goes_out_while_it_computes() {
    let mut worker = worker_with(|limits| limits.deadline = Duration::from_secs(3));
    let (mut client, started) = worker.begin_with_client();
    client.write_all(b"GET /spin HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
    let began = Instant::now();
    let mut heard = Vec::new();
    while !heard.ends_with(b"hello from the guest\n\r\n") {
        let mut byte = [0];
        client.read_exact(&mut byte).unwrap();
        heard.push(byte[0]);
    }
    assert!(began.elapsed() < Duration::from_secs(2), "it came with the guest's end");
    assert_eq!(worker.end(started).outcome(), &Outcome::Limit(Limit::Deadline));
}

#[test]
fn fields_of_the_connection_are_not_the_guests_to_set() {
    let mut worker = worker();
    let (answer, run) = get(&mut worker, "/x");
    assert_eq!(status(&answer), 201, "{answer}");
    assert_eq!(run.calls("[method]fields.append")[0].record.outcome, Recorded::Denied);
}

#[test]
fn what_a_guest_prints_goes_where_output_goes_and_not_to_its_client() {
    let mut worker = worker();
    let (answer, run) = get(&mut worker, "/write");
    assert_eq!((run.output.as_slice(), run.outcome()), (b"hello from the guest\n".as_slice(), &Outcome::Exited(0)));
    assert_eq!(answer.matches("hello").count(), 1);
}

#[test]
fn a_command_does_not_serve_and_a_service_is_no_command() {
    let mut plan = Plan::new(common::compile(r#"(module (memory (export "memory") 1) (func (export "_start")))"#));
    plan.http = Some(LIMITS);
    let refused = plan.try_start().err().unwrap();
    assert!(refused.contains("expected a component that exports `wasi:http/incoming-handler`"), "{refused}");
    let refused = Plan::new(service()).try_start().err().unwrap();
    assert!(refused.contains("wasi:http/types"), "{refused}");
}
