//! How fast a journal is searched, checked and looked into.
//!
//! Run with `cargo run --release -p edgeguard-audit --example scan [FOLDER [MIB]]`: writes a journal of that size (256 MiB) of what an inference module
//! does, with an event every hundred thousand calls, and looks for things in it. With a folder, the journal stays there for `edgeguard audit search`, and one that is there is read and not written.
#![allow(clippy::unwrap_used, reason = "a benchmark fails by panicking")]

use std::path::Path;
use std::time::Instant;

use edgeguard_audit::CallId;
use edgeguard_audit::Event;
use edgeguard_audit::Journal;
use edgeguard_audit::Outcome;
use edgeguard_audit::Position;
use edgeguard_audit::Record;
use edgeguard_audit::Sought;
use edgeguard_audit::Source;
use edgeguard_audit::boottime_ns;
use edgeguard_audit::call_id;
use edgeguard_audit::read::Content;
use edgeguard_audit::read::Reader;
use edgeguard_audit::scan::Wanted;
use edgeguard_audit::scan::Wants;
use edgeguard_audit::scan::scan;

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
}

/// Seconds since then, by the clock and of processor time of all threads: what else the machine does shows in the difference.
struct Took(Instant, f64);

impl Took {
    fn processor() -> f64 {
        let now = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
        now.tv_sec as f64 + now.tv_nsec as f64 / 1e9
    }

    fn begin() -> Self {
        Self(Instant::now(), Self::processor())
    }

    fn end(&self) -> (f64, f64) {
        (self.0.elapsed().as_secs_f64(), Self::processor() - self.1)
    }
}

fn id(function: &str) -> CallId {
    call_id("wasi_snapshot_preview1", function).or_else(|| call_id("wasi_ephemeral_nn", function)).unwrap()
}

fn write(dir: &Path, bytes: u64) {
    let began = Instant::now();
    let (mut journal, _) = Journal::open(dir, "bench").unwrap();
    let source = Source::new("voice-gate", uuid::Uuid::from_u128(1), [1; 32], [2; 32]);
    let block = ["fd_read", "clock_time_get", "set_input", "compute", "get_output"].map(id);
    let (open, close) = (id("path_open"), id("fd_close"));
    let (mut noise, mut now, mut file) = (Noise(2), boottime_ns().saturating_sub(AN_HOUR), 0u64);
    let mut calls = 0u64;
    while journal.stats().bytes < bytes {
        let mut batch: Vec<(Record, Option<Vec<u8>>)> = Vec::new();
        while batch.len() < 100_000 {
            file += 1;
            let mut call = |call, median: u64, n_out, text| {
                let took_ns = (median + noise.next() % (median / 2)) as u32;
                now += u64::from(took_ns) + 400 + noise.next() % 400;
                let record =
                    Record { time_ns: now, call, outcome: Outcome::Ok, flags: 0, errno: 0, rule: 1, handle: 5, took_ns, n_in: 0, n_out };
                batch.push((record, text));
            };
            call(open, 6000, 0, Some(format!("recordings/2026-11/camera-{}/{file:06}.wav", file % 7).into_bytes()));
            for _ in 0..20 {
                for (function, median) in block.iter().zip([450, 60, 900, 180_000, 500]) {
                    call(*function, median, 4096, None);
                }
            }
            call(close, 300, 0, None);
        }
        calls += batch.len() as u64;
        journal.calls(&source, &batch).unwrap();
        journal
            .event(&Event::InvocationStarted {
                id: "i".into(),
                module: "voice-gate".into(),
                instance: "w".into(),
                peer_uid: Some(7),
                listener: None,
                client: None,
                ring: Some(0),
            })
            .unwrap();
    }
    let stats = journal.close().unwrap();
    println!(
        "journal  {:.0} MiB, {:.1} M calls in {} frames, written in {:.1} s",
        stats.bytes as f64 / 1_048_576.0,
        calls as f64 / 1e6,
        stats.frames,
        began.elapsed().as_secs_f64()
    );
}

/// The trace is that long, and a frame does not begin after it was written.
const AN_HOUR: u64 = 3_600_000_000_000;

fn search(dir: &Path, what: &str, since: u64, call: Option<&Wants<'_>>) {
    let took = Took::begin();
    let mut found = 0;
    let wanted = Wanted { since, until: u64::MAX, events: true, call };
    let mut take = |_, _: &_, content| {
        found += match content {
            Some(Content::Calls(items)) => items.len(),
            Some(Content::Events(items)) => items.len(),
            _ => 0,
        };
        true
    };
    let done = scan(dir, &wanted, &mut take, &mut |_| {}).unwrap();
    let (seconds, processor) = took.end();
    println!(
        "search   {what:48} {seconds:6.2} s, {processor:6.2} s of processor   {found:>9} found, {:6.1} MB read",
        done.bytes as f64 / 1e6
    );
}

/// How fast it is checked, by its seals and with every call read.
fn verify(dir: &Path) {
    for contents in [false, true] {
        let trust = edgeguard_audit::Trust { contents, ..edgeguard_audit::Trust::default() };
        let took = Took::begin();
        let found = edgeguard_audit::verify_with(dir, &trust, |_, _| {});
        assert_eq!(found.verdict, edgeguard_audit::Verdict::Ok);
        let ((seconds, processor), gb) = (took.end(), found.bytes as f64 / 1e9);
        let what = if contents { "every call, and every count held against them" } else { "by its seals" };
        println!(
            "verify   {what:48} {seconds:6.2} s, {processor:6.2} s of processor   {:.2} GB/s, {:.1} M calls/s",
            gb / seconds,
            found.records as f64 / seconds / 1e6
        );
    }
}

/// How fast entries here and there are found by their ids.
fn show(dir: &Path) {
    let frames = Reader::open(dir).unwrap().frames().unwrap();
    let took = Took::begin();
    for part in 0..10 {
        let position = Position { epoch: 0, frame: frames * part / 10, index: 0 };
        let sought = Sought::parse(&position.uid("bench").to_string()).unwrap();
        let mut reader = Reader::open_at(dir, sought.frame()).unwrap();
        let frame = reader.next_frame().unwrap().unwrap();
        assert_eq!(frame.header.frame_no, position.frame);
        drop(reader.decode(&frame).unwrap());
    }
    let (seconds, processor) = took.end();
    println!("show     {:48} {:6.4} s, {:6.4} s of processor", "an entry by its id", seconds / 10.0, processor / 10.0);
}

fn main() {
    let scratch = tempfile::tempdir().unwrap();
    let dir = std::env::args_os().nth(1).map_or_else(|| scratch.path().to_owned(), Into::into);
    let mib: u64 = std::env::args().nth(2).map_or(256, |mib| mib.parse().unwrap());
    // Calls of a journal that is there already, and still there for the next measurement.
    if !dir.join("leaves").exists() {
        write(&dir, mib << 20);
    }
    let mut last = 0;
    let events = Wanted { since: 0, until: u64::MAX, events: false, call: None };
    scan(
        &dir,
        &events,
        &mut |_, header, _| {
            last = last.max(header.t0_real);
            true
        },
        &mut |_| {},
    )
    .unwrap();
    search(&dir, "events", 0, None);
    search(&dir, "calls of a module that made none", 0, Some(&|call| Some(call.source.module() == "camera")));
    search(&dir, "calls with a certain path", 0, Some(&|call| Some(call.text.is_some_and(|text| text.ends_with(b"camera-3/000997.wav")))));
    search(&dir, "calls that took long", 0, Some(&|call| call.whole.then_some(call.record.took_ns > 269_999)));
    search(&dir, "all calls of the last second", last - 1_000_000_000, Some(&|_| Some(true)));
    verify(&dir);
    show(&dir);
}
