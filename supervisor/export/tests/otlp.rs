//! The exporter with an OpenTelemetry collector: what went in comes out, and a collector that is killed in the middle misses nothing.
//!
//! Runs in: tests, with the real exporter; the collector is rotel where Python has it, and what stands behind it is this test.
#![allow(clippy::unwrap_used, clippy::panic, clippy::disallowed_methods, reason = "a test fails by panicking, and listens")]
#![forbid(unsafe_code)]

mod house;

use std::io::BufRead as _;
use std::io::BufReader;
use std::io::Read as _;
use std::io::Write as _;
use std::net::TcpListener;
use std::net::TcpStream;
use std::process::Command;
use std::process::Stdio;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering;

use edgeguard_audit::encode::Form;
use edgeguard_export::otlp::Request;
use edgeguard_export::otlp::Response;
use edgeguard_export::otlp::Value;
use house::House;
use house::Running;
use house::listens;
use house::port;
use house::skip;
use house::uid;
use house::until;
use prost::Message as _;

/// Takes OTLP/HTTP, keeps the bodies of all records, and fails as often as it is told: busy, or gone before it answers.
struct Backend {
    port: u16,
    lines: Arc<Mutex<Vec<String>>>,
    failures: Arc<AtomicUsize>,
    deaths: Arc<AtomicUsize>,
}

impl Backend {
    fn new() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let (lines, failures, deaths) = (Arc::new(Mutex::new(Vec::new())), Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let (into, fail, die) = (Arc::clone(&lines), Arc::clone(&failures), Arc::clone(&deaths));
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (into, fail, die) = (Arc::clone(&into), Arc::clone(&fail), Arc::clone(&die));
                std::thread::spawn(move || serve(stream, &into, &fail, &die));
            }
        });
        Self { port, lines, failures, deaths }
    }

    fn lines(&self) -> Vec<String> {
        self.lines.lock().unwrap().clone()
    }
}

/// One less, if there is one.
fn one_of(count: &AtomicUsize) -> bool {
    count.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1)).is_ok()
}

fn serve(stream: TcpStream, into: &Mutex<Vec<String>>, fail: &AtomicUsize, die: &AtomicUsize) -> Option<()> {
    let mut reader = BufReader::new(stream.try_clone().ok()?);
    let mut stream = stream;
    loop {
        let (mut length, mut packed) = (0, false);
        let mut line = String::new();
        while {
            line.clear();
            reader.read_line(&mut line).ok()? > 2
        } {
            let lower = line.to_ascii_lowercase();
            packed |= lower.starts_with("content-encoding: gzip");
            if let Some(value) = lower.strip_prefix("content-length:") {
                length = value.trim().parse().ok()?;
            }
        }
        if length == 0 {
            return None;
        }
        let mut body = vec![0; length];
        reader.read_exact(&mut body).ok()?;
        if packed {
            body = unpacked(&body);
        }
        if one_of(fail) {
            stream.write_all(b"HTTP/1.1 503 Busy\r\nretry-after: 1\r\ncontent-length: 0\r\n\r\n").ok()?;
            continue;
        }
        let request = Request::decode(&*body).unwrap();
        for record in request.resource_logs.iter().flat_map(|logs| &logs.scope_logs).flat_map(|logs| &logs.log_records) {
            let Some(Value::Text(text)) = record.body.clone().and_then(|body| body.value) else { panic!("{record:?}") };
            let found =
                record.attributes.iter().find(|attribute| attribute.key == "log.record.uid").and_then(|attribute| attribute.value.clone());
            assert_eq!(found.and_then(|value| value.value), Some(Value::Text(uid(&text))));
            into.lock().unwrap().push(text);
        }
        if one_of(die) {
            return None;
        }
        let answer = Response::default().encode_to_vec();
        stream
            .write_all(
                format!("HTTP/1.1 200 OK\r\ncontent-type: application/x-protobuf\r\ncontent-length: {}\r\n\r\n", answer.len()).as_bytes(),
            )
            .ok()?;
        stream.write_all(&answer).ok()?;
    }
}

/// The collector compresses what it passes on, whatever it is told.
fn unpacked(body: &[u8]) -> Vec<u8> {
    let mut gzip = Command::new("gzip").arg("-dc").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let mut input = gzip.stdin.take().unwrap();
    let body = body.to_vec();
    let writer = std::thread::spawn(move || input.write_all(&body).unwrap());
    let output = gzip.wait_with_output().unwrap();
    writer.join().unwrap();
    output.stdout
}

fn configure(house: &House, port: u16) {
    house.configure(&format!("[[otlp]]\nname = \"otel\"\nendpoint = \"http://127.0.0.1:{port}/v1/logs\"\n"));
}

#[test]
fn a_collector_that_is_busy_for_a_while_misses_nothing() {
    let mut house = House::new();
    let backend = Backend::new();
    backend.failures.store(3, Ordering::SeqCst);
    house.write(3000);
    configure(&house, backend.port);
    house.drain();
    assert_eq!(backend.lines(), house.lines(Form::default()));
    assert_eq!(house.status()["sinks"][0]["failures"], 3);
}

#[test]
fn a_collector_that_dies_with_what_it_took_and_did_not_answer_gets_it_again() {
    let mut house = House::new();
    let backend = Backend::new();
    backend.deaths.store(4, Ordering::SeqCst);
    house.write(3000);
    configure(&house, backend.port);
    house.drain();
    let (lines, expected) = (backend.lines(), house.lines(Form::default()));
    assert!(lines.len() > expected.len(), "nothing came twice");
    let distinct: std::collections::BTreeSet<&String> = lines.iter().collect();
    assert_eq!(distinct, expected.iter().collect());
}

#[test]
fn without_tls_only_this_machine_is_spoken_to() {
    let house = House::new();
    house.configure("[[otlp]]\nname = \"otel\"\nendpoint = \"http://192.0.2.1:4318/v1/logs\"\n");
    let output = house.exporter().arg("--drain").output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&output.stderr).contains("is another machine"), "{output:?}");
}

fn collector(listen: u16, backend: u16) -> Option<Running> {
    let python = std::env::var_os("EDGEGUARD_TEST_PYTHON").unwrap_or_else(|| "python3".into());
    let found = Command::new(&python)
        .args(["-c", "import os, rotel; print(os.path.dirname(rotel.__file__))"])
        .stderr(Stdio::null())
        .output()
        .ok()?;
    let folder = String::from_utf8(found.stdout).ok().filter(|_| found.status.success())?;
    let program = std::path::Path::new(folder.trim()).join("rotel-agent");
    let free = port();
    Command::new(program)
        .arg("start")
        .args(["--otlp-http-endpoint", &format!("127.0.0.1:{listen}"), "--otlp-grpc-endpoint", &format!("127.0.0.1:{free}")])
        .args([
            "--exporter",
            "otlp",
            "--otlp-exporter-endpoint",
            &format!("http://127.0.0.1:{backend}"),
            "--otlp-exporter-protocol",
            "http",
        ])
        .stdout(Stdio::null())
        .spawn()
        .ok()
        .map(Running)
}

#[test]
fn through_a_collector_every_entry_comes_out_equal() {
    let (mut house, backend, port) = (House::new(), Backend::new(), port());
    let Some(_collector) = collector(port, backend.port) else {
        return skip("needs `pip install rotel` (EDGEGUARD_TEST_PYTHON names the Python)");
    };
    listens(port);
    house.write(2000);
    configure(&house, port);
    house.drain();
    let mut expected = house.lines(Form::default());
    let mut found = until("all entries", || Some(backend.lines()).filter(|lines| lines.len() >= expected.len()));
    // A collector may change the order of batches.
    expected.sort();
    found.sort();
    assert_eq!(found, expected);
}
