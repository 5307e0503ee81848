//! How fast calls pass from a guest thread into the journal, and how small they become.
//!
//! Run with `cargo run --release -p edgeguard-audit --example pipeline [FOLDER]`. One thread does everything in turn, so the rates are those of one core.
#![allow(clippy::unwrap_used, reason = "a benchmark fails by panicking")]

use std::os::fd::AsFd as _;
use std::sync::Arc;
use std::time::Instant;

use edgeguard_audit::Consumer;
use edgeguard_audit::Event;
use edgeguard_audit::Journal;
use edgeguard_audit::Keys;
use edgeguard_audit::Options;
use edgeguard_audit::Outcome;
use edgeguard_audit::Producer;
use edgeguard_audit::RING_LEN;
use edgeguard_audit::Record;
use edgeguard_audit::Source;
use edgeguard_audit::Trust;
use edgeguard_audit::boottime_ns;
use edgeguard_audit::call_id;
use edgeguard_sandbox::SharedMemory;
use rustix::event::EventfdFlags;

/// A generator of noise (splitmix64), so that every run sees the same trace.
struct Noise(u64);

impl Noise {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ z >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ z >> 31
    }

    /// Log-normal around `median`: `sigma` 0.25 is what a warm system call does.
    fn time(&mut self, median: f64, sigma: f64) -> u64 {
        let uniform = |bits: u64| ((bits >> 11) as f64 + 1.0) / 9_007_199_254_740_993.0;
        let (u, v) = (uniform(self.next()), uniform(self.next()));
        (median * (sigma * (-2.0 * u.ln()).sqrt() * (std::f64::consts::TAU * v).cos()).exp()) as u64
    }
}

type Trace = Vec<(Record, Option<Vec<u8>>)>;

struct Guest {
    noise: Noise,
    now: u64,
    trace: Trace,
}

impl Guest {
    fn call(&mut self, function: &str, median_ns: f64, handle: u32, rule: u16, n_out: u32, text: Option<String>) {
        let interface =
            if matches!(function, "set_input" | "compute" | "get_output") { "wasi_ephemeral_nn" } else { "wasi_snapshot_preview1" };
        let took = self.noise.time(median_ns, 0.25);
        self.now += self.noise.time(600.0, 0.4);
        let record = Record {
            time_ns: self.now,
            call: call_id(interface, function).unwrap(),
            outcome: Outcome::Ok,
            flags: 0,
            errno: 0,
            rule,
            handle,
            took_ns: took.try_into().unwrap_or(u32::MAX),
            n_in: 0,
            n_out,
        };
        self.now += took;
        self.trace.push((record, text.map(String::into_bytes)));
    }
}

/// One call over and over, as a guest that reads a stream.
fn looping(count: usize) -> Trace {
    let mut guest = Guest { noise: Noise(1), now: boottime_ns(), trace: Vec::new() };
    while guest.trace.len() < count {
        guest.call("fd_read", 450.0, 4, 1, 4096, None);
    }
    guest.trace
}

/// What an inference module does: files opened by name, read in blocks, a clock, a graph, a line of output.
fn mixed(count: usize) -> Trace {
    let mut guest = Guest { noise: Noise(2), now: boottime_ns(), trace: Vec::new() };
    let mut file = 0;
    while guest.trace.len() < count {
        file += 1;
        guest.call("path_open", 6000.0, 3, 1, 0, Some(format!("recordings/2026-11/camera-{}/{file:06}.wav", file % 7)));
        guest.call("fd_filestat_get", 700.0, 5, 1, 64, None);
        for _ in 0..8 + guest.noise.next() % 24 {
            guest.call("fd_read", 450.0, 5, 1, 4096, None);
            guest.call("clock_time_get", 60.0, 0, 0, 8, None);
            guest.call("set_input", 900.0, 0, 0x100, 0, None);
            guest.call("compute", 180_000.0, 0, 0x100, 0, None);
            guest.call("get_output", 500.0, 0, 0x100, 4, None);
        }
        let last = (guest.noise.next() % 4096) as u32;
        guest.call("fd_read", 450.0, 5, 1, last, None);
        guest.call("fd_close", 300.0, 5, 1, 0, None);
        let line = 20 + (guest.noise.next() % 40) as u32;
        guest.call("fd_write", 800.0, 1, 0, line, None);
    }
    guest.trace
}

/// Time of the processor that this thread has used: what else the machine does is not the journal's doing.
fn processor() -> std::time::Duration {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    std::time::Duration::new(now.tv_sec.unsigned_abs(), now.tv_nsec as u32)
}

/// How many calls a second one core takes, one by one or only counted.
fn pipeline(name: &str, trace: &Trace, detail: bool) {
    let dir = tempfile::tempdir().unwrap();
    let (mut journal, _) = Journal::open(dir.path(), "bench").unwrap();
    let (memory, fd) = SharedMemory::create("ring", RING_LEN).unwrap();
    let doorbell = Arc::new(rustix::event::eventfd(0, EventfdFlags::NONBLOCK | EventfdFlags::CLOEXEC).unwrap());
    let mut producer = Producer::new(SharedMemory::map(fd.as_fd(), RING_LEN).unwrap(), doorbell).unwrap();
    let mut consumer = Consumer::new(memory);
    let source = Source::new("voice-gate", uuid::Uuid::from_u128(1), [1; 32], [2; 32]);
    journal.set_detail(detail);
    let before = journal.stats();
    let mut spent = std::time::Duration::ZERO;
    let mut batch = Vec::new();
    for chunk in trace.chunks(4000) {
        for (record, text) in chunk {
            producer.push(record, text.as_deref());
        }
        let start = processor();
        batch.clear();
        consumer.drain(|record, text| batch.push((record, text.map(<[u8]>::to_vec)))).unwrap();
        journal.calls(&source, &batch).unwrap();
        spent += processor() - start;
    }
    let start = processor();
    journal.flush().unwrap();
    spent += processor() - start;
    let stats = journal.stats();
    assert_eq!(stats.records - before.records, producer.produced());
    let records = trace.len() as f64;
    println!(
        "{name:8} {:>9} calls   {:5.1} M/s through drain, {} and write   {:.2} bytes a call",
        trace.len(),
        records / spent.as_secs_f64() / 1e6,
        if detail { "columns, counts, zstd, SHA-256" } else { "counts" },
        (stats.detail_bytes - before.detail_bytes) as f64 / records
    );
    if !detail {
        return;
    }
    let start = Instant::now();
    drop(journal);
    let found = edgeguard_audit::verify(dir.path(), |_, _| {});
    assert_eq!(found.verdict, edgeguard_audit::Verdict::Ok);
    assert_eq!(found.records, producer.produced());
    println!(
        "{:8} verified in {:.1} ms, {:.1} M calls/s",
        "",
        start.elapsed().as_secs_f64() * 1e3,
        records / start.elapsed().as_secs_f64() / 1e6
    );
}

/// The cost of one push as the guest thread sees it, with and without reading the clock.
fn push() {
    let (memory, fd) = SharedMemory::create("ring", RING_LEN).unwrap();
    let doorbell = Arc::new(rustix::event::eventfd(0, EventfdFlags::NONBLOCK | EventfdFlags::CLOEXEC).unwrap());
    let mut producer = Producer::new(SharedMemory::map(fd.as_fd(), RING_LEN).unwrap(), doorbell).unwrap();
    let mut consumer = Consumer::new(memory);
    let (record, _) = looping(1).remove(0);
    for (name, text, clock) in [
        ("record alone", None, false),
        ("record with a path of 40 bytes", Some([b'p'; 40]), false),
        ("record with its time of begin and end", None, true),
    ] {
        const BATCH: u32 = 64;
        let mut times = Vec::new();
        for round in 0..100_000 {
            let start = Instant::now();
            for _ in 0..BATCH {
                let time_ns = if clock { boottime_ns() } else { record.time_ns };
                let took_ns = if clock { (boottime_ns() - time_ns) as u32 } else { record.took_ns };
                producer.push(&Record { time_ns, took_ns, ..record }, text.as_ref().map(<[u8; 40]>::as_slice));
            }
            times.push(start.elapsed().as_nanos() as f64 / f64::from(BATCH));
            if round % 25 == 0 {
                consumer.drain(|_, _| {}).unwrap();
            }
        }
        times.sort_by(f64::total_cmp);
        println!("push     {name:40} p50 {:5.1} ns   p99 {:5.1} ns", times[times.len() / 2], times[times.len() * 99 / 100]);
    }
}

/// What an event costs whoever waits for it: in the page cache, or on the disk that the temporary folder is on.
fn events() {
    let dir = tempfile::tempdir().unwrap();
    let (mut journal, _) = Journal::open(dir.path(), "bench").unwrap();
    let written = Event::InvocationStarted {
        id: "i".into(),
        module: "voice-gate".into(),
        instance: "w".into(),
        peer_uid: Some(1000),
        listener: None,
        client: None,
        ring: Some(0),
    };
    let durable = Event::DaemonStopped { reason: "bench".into() };
    for (name, event, count) in [("written", written, 20_000), ("durable", durable, 300)] {
        let mut times = Vec::new();
        for _ in 0..count {
            let start = Instant::now();
            journal.event(&event).unwrap();
            times.push(start.elapsed().as_nanos() as f64 / 1000.0);
        }
        times.sort_by(f64::total_cmp);
        println!("event    {name:40} p50 {:5.1} µs   p99 {:5.1} µs", times[times.len() / 2], times[times.len() * 99 / 100]);
    }
}

/// How fast a sealed journal is checked: large frames, and what a gateway writes. With an argument, the journal and its keys stay in that folder.
fn sealed(keep: Option<&std::path::Path>) {
    let dir = tempfile::tempdir().unwrap();
    let root = keep.unwrap_or(dir.path());
    let keys = Keys::load(&root.join("keys"), None).unwrap();
    let (mut journal, _) = Journal::open_with(&root.join("audit"), "bench", Options::sealed(keys)).unwrap();
    let source = Source::new("voice-gate", uuid::Uuid::from_u128(1), [1; 32], [2; 32]);
    let mut noise = Noise(3);
    let (record, _) = looping(1).remove(0);
    let start = Instant::now();
    for round in 0..2000 {
        let text = |noise: &mut Noise| -> Vec<u8> { (0..120).flat_map(|_| noise.next().to_le_bytes()).collect() };
        let batch: Vec<_> = (0..100).map(|_| (record, Some(text(&mut noise)))).collect();
        journal.calls(&source, &batch).unwrap();
        if round % 10 == 0 {
            journal.flush().unwrap();
            journal
                .event(&Event::InvocationStarted {
                    id: "i".into(),
                    module: "m".into(),
                    instance: "w".into(),
                    peer_uid: Some(7),
                    listener: None,
                    client: None,
                    ring: Some(0),
                })
                .unwrap();
        }
    }
    let stats = journal.close().unwrap();
    let mb = stats.bytes as f64 / 1e6;
    println!("sealed   {mb:.0} MB in {} frames written at {:.0} MB/s", stats.frames, mb / start.elapsed().as_secs_f64());
    for contents in [false, true] {
        let trust = Trust { contents, ..Trust::default() };
        // Processor time: what else the machine does is not the verifier's doing.
        let began = Instant::now();
        let start = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
        let found = edgeguard_audit::verify_with(&root.join("audit"), &trust, |_, _| {});
        assert_eq!((found.verdict, found.sealed), (edgeguard_audit::Verdict::Ok, found.frames));
        let what = if contents { "with every call read" } else { "by its seals" };
        let elapsed = began.elapsed().as_secs_f64();
        let end = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
        let seconds = (end.tv_sec - start.tv_sec) as f64 + (end.tv_nsec - start.tv_nsec) as f64 / 1e9;
        let gb = mb / 1e3;
        println!("{:8} verified {what} at {:.2} GB/s, {:.2} GB per second of processor time", "", gb / elapsed, gb / seconds);
    }
}

/// How much the counts take that stay when calls are deleted: eight kinds of calls, a hundred thousand a second for a minute. Their frames go by the clock,
/// so this takes its time.
fn counted() {
    const KINDS: [(&str, f64, u32); 8] = [
        ("fd_read", 450.0, 4096),
        ("clock_time_get", 60.0, 8),
        ("set_input", 900.0, 0),
        ("compute", 180_000.0, 0),
        ("get_output", 500.0, 4),
        ("fd_write", 800.0, 40),
        ("path_open", 6000.0, 0),
        ("fd_close", 300.0, 0),
    ];
    const TICK: u64 = 20_000_000;
    let dir = tempfile::tempdir().unwrap();
    let keys = Keys::load(&dir.path().join("keys"), None).unwrap();
    let (mut journal, _) = Journal::open_with(&dir.path().join("audit"), "bench", Options::sealed(keys)).unwrap();
    let source = Source::new("voice-gate", uuid::Uuid::from_u128(1), [1; 32], [2; 32]);
    let mut guest = Guest { noise: Noise(4), now: boottime_ns(), trace: Vec::new() };
    let (start, end) = (guest.now, guest.now + 65_000_000_000);
    let (mut calls, mut before, mut spent) = (0, None, std::time::Duration::ZERO);
    let (mut frames, mut bytes) = (0u64, 0);
    while guest.now < end {
        std::thread::sleep(std::time::Duration::from_nanos((guest.now + TICK).saturating_sub(boottime_ns())));
        let until = boottime_ns();
        // Calls come by chance, and overlap: each takes its place in time without what it took.
        while guest.now < until {
            let (name, median, most) = KINDS[(guest.noise.next() % 8) as usize];
            let size = if name == "fd_write" { 1 + (guest.noise.next() % u64::from(most)) as u32 } else { most };
            let at = guest.now;
            guest.call(name, median, 4, 1, size, None);
            let uniform = ((guest.noise.next() >> 11) as f64 + 1.0) / 9_007_199_254_740_993.0;
            guest.now = at + (-uniform.ln() * 10_000.0) as u64;
            if let Some((record, _)) = guest.trace.last_mut() {
                record.time_ns = at;
            }
        }
        calls += guest.trace.len();
        let began = Instant::now();
        journal.calls(&source, &guest.trace).unwrap();
        journal.flush().unwrap();
        spent += began.elapsed();
        guest.trace.clear();
        // The first frame brings names and keys, once for a segment.
        if journal.stats().summary_bytes > bytes {
            bytes = journal.stats().summary_bytes;
            match before {
                None => before = Some((until, bytes)),
                Some(_) => frames += 1,
            }
            if let Some((since, first)) = before.filter(|_| frames > 0) {
                let day = 86_400e9 / (until - since) as f64;
                let size = ((bytes - first) + 32 * frames) as f64;
                println!(
                    "counts   {:6.0} calls/s   {:.2} MB a day, leaves included",
                    calls as f64 / ((until - start) as f64 / 1e9),
                    size * day / 1e6
                );
            }
        }
    }
    println!("{:8} {:.1} % of a core for all of it", "", spent.as_secs_f64() / ((guest.now - start) as f64 / 1e9) * 100.0);
}

fn main() {
    if let Some(root) = std::env::args_os().nth(1) {
        return sealed(Some(root.as_ref()));
    }
    sealed(None);
    push();
    events();
    for detail in [true, false] {
        pipeline("mixed", &mixed(2_000_000), detail);
        pipeline("loop", &looping(2_000_000), detail);
    }
    counted();
}
