//! The ledger on a disk that is full for a while.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use std::fs::File;
use std::io::Write as _;
use std::os::fd::AsFd as _;
use std::path::Path;
use std::process::Command;
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;
use std::time::Instant;

use edgeguard_audit::Consumer;
use edgeguard_audit::Event;
use edgeguard_audit::Journal;
use edgeguard_audit::Keys;
use edgeguard_audit::Options;
use edgeguard_audit::Outcome;
use edgeguard_audit::PrivacyKey;
use edgeguard_audit::Producer;
use edgeguard_audit::RING_LEN;
use edgeguard_audit::Record;
use edgeguard_audit::Source;
use edgeguard_audit::TextClass;
use edgeguard_audit::Verdict;
use edgeguard_audit::read::Content;
use edgeguard_audit::read::Reader;
use edgeguard_policy::Class;
use edgeguard_policy::Privacy;
use edgeguard_sandbox::SharedMemory;
use edgeguardd::ledger::Ledger;
use edgeguardd::ledger::SourceId;

fn event(n: u32) -> Event {
    Event::ControlRefused { peer_uid: n, what: "x".repeat(600) }
}

/// Writes until nothing more fits.
fn fill(path: &Path) {
    let mut file = File::create(path).unwrap();
    while file.write_all(&[1; 4096]).is_ok() {}
}

#[test]
fn a_full_disk_refuses_new_work_keeps_what_happens_and_opens_again_by_itself() {
    let (disk, keys) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let mount =
        Command::new("mount").args(["-t", "tmpfs", "-o", "size=16m", "edgeguard-test"]).arg(disk.path()).stderr(Stdio::null()).status();
    if !mount.is_ok_and(|status| status.success()) {
        assert!(std::env::var_os("CI").is_none(), "a tmpfs cannot be mounted here");
        eprintln!("skipped: a tmpfs cannot be mounted here");
        return;
    }
    let outcome = std::panic::catch_unwind(|| full_for_a_while(disk.path(), keys.path()));
    assert!(Command::new("umount").arg(disk.path()).status().unwrap().success());
    outcome.unwrap();
}

fn full_for_a_while(disk: &Path, keys: &Path) {
    let journal = disk.join("audit");
    let options = Options::sealed(Keys::load(keys, None).unwrap());
    let (ledger, clerk) = Ledger::start(Journal::open_with(&journal, "test", options).unwrap().0, PrivacyKey::load(keys).unwrap()).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    fill(&disk.join("filler"));
    // 1. Nobody waits for these; at some point the disk takes no more, and says so.
    let mut sent = 0;
    let began = Instant::now();
    while ledger.usable().is_ok() {
        assert!(began.elapsed() < Duration::from_secs(60), "the disk is full and nobody noticed");
        ledger.note(event(sent));
        sent += 1;
        if sent % 500 == 0 {
            runtime.block_on(ledger.stats()).unwrap();
        }
    }
    runtime.block_on(async { tokio::time::timeout(Duration::from_secs(1), ledger.closed()).await }).unwrap();
    // 2. What allows something is refused; what merely happens is kept.
    assert!(runtime.block_on(ledger.record(event(u32::MAX))).is_err());
    for _ in 0..100 {
        ledger.note(event(sent));
        sent += 1;
    }
    assert!(ledger.usable().is_err());
    // 3. There is space again.
    std::fs::remove_file(disk.join("filler")).unwrap();
    let freed = Instant::now();
    while ledger.usable().is_err() {
        assert!(freed.elapsed() < Duration::from_secs(10), "it does not open again");
        std::thread::sleep(Duration::from_millis(20));
    }
    runtime.block_on(ledger.record(event(sent))).unwrap();
    sent += 1;
    ledger.stop();
    clerk.join().unwrap();

    let found = edgeguard_audit::verify(&journal, |_, _| {});
    assert_eq!(found.verdict, Verdict::Ok, "{found:?}");
    let (mut numbers, mut resumed) = (Vec::new(), Vec::new());
    let mut reader = Reader::open(&journal).unwrap();
    while let Some(frame) = reader.next_frame().unwrap() {
        if let Content::Events(items) = reader.decode(&frame).unwrap() {
            for item in items {
                match item.what {
                    Event::ControlRefused { peer_uid, .. } => numbers.push(peer_uid),
                    Event::JournalResumed { kept, unkept, lost, reason, .. } => {
                        resumed.push((kept >= 100, unkept, lost, reason.contains("full")))
                    }
                    other => panic!("{other:?}"),
                }
            }
        }
    }
    assert_eq!(numbers, (0..sent).collect::<Vec<_>>(), "each event once, in its order");
    assert_eq!(resumed, [(true, 0, 0, true)]);
}

/// A worker's rings with the ends of both sides, and a process that stands for the worker.
struct Rings {
    producers: Vec<Producer>,
    id: SourceId,
    process: std::process::Child,
}

impl Rings {
    fn new(ledger: &Ledger, rings: usize) -> Self {
        Self::of("m", ledger, rings)
    }

    fn of(module: &str, ledger: &Ledger, rings: usize) -> Self {
        Self::kept(module, Privacy::default(), ledger, rings)
    }

    fn kept(module: &str, privacy: Privacy, ledger: &Ledger, rings: usize) -> Self {
        let flags = rustix::event::EventfdFlags::CLOEXEC | rustix::event::EventfdFlags::NONBLOCK;
        let doorbell = rustix::event::eventfd(0, flags).unwrap();
        let bell = Arc::new(doorbell.try_clone().unwrap());
        let (mut producers, mut consumers) = (Vec::new(), Vec::new());
        for _ in 0..rings {
            let (memory, fd) = SharedMemory::create("audit-ring", RING_LEN).unwrap();
            consumers.push(Consumer::new(memory));
            producers.push(Producer::new(SharedMemory::map(fd.as_fd(), RING_LEN).unwrap(), Arc::clone(&bell)).unwrap());
        }
        let process = Command::new("sleep").arg("600").spawn().unwrap();
        let pid = rustix::process::Pid::from_raw(process.id().try_into().unwrap()).unwrap();
        let pidfd = rustix::process::pidfd_open(pid, rustix::process::PidfdFlags::empty()).unwrap();
        let source = Source::new(module, uuid::Uuid::from_u128(7), [1; 32], [2; 32]);
        let id = ledger.attach(source, privacy, consumers, doorbell, pidfd);
        Self { producers, id, process }
    }

    fn push(&mut self, ring: usize, outcome: Outcome, text: Option<&str>) {
        let call = edgeguard_audit::call_id("wasi_snapshot_preview1", "path_open").unwrap();
        let time_ns = edgeguard_audit::boottime_ns();
        let record = Record { time_ns, call, outcome, flags: 0, errno: 76, rule: 0, handle: 3, took_ns: 1, n_in: 0, n_out: 0 };
        self.producers[ring].push(&record, text.map(str::as_bytes));
    }

    fn produced(&self, ring: usize) -> u64 {
        self.producers[ring].produced()
    }
}

impl Drop for Rings {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// A ledger over a fresh journal; hands both to the body, then every event of the journal to who asks.
fn with_ledger(body: impl FnOnce(&Ledger)) -> (Vec<Event>, u64) {
    let root = tempfile::tempdir().unwrap();
    let dir = root.path().join("audit");
    let (ledger, clerk) = Ledger::start(Journal::open(&dir, "test").unwrap().0, PrivacyKey::load(root.path()).unwrap()).unwrap();
    body(&ledger);
    ledger.stop();
    clerk.join().unwrap();
    let (mut events, mut calls) = (Vec::new(), 0);
    let mut reader = Reader::open(&dir).unwrap();
    while let Some(frame) = reader.next_frame().unwrap() {
        match reader.decode(&frame).unwrap() {
            Content::Events(items) => events.extend(items.into_iter().map(|item| item.what)),
            Content::Calls(items) => calls += items.len() as u64,
            _ => {}
        }
    }
    (events, calls)
}

#[test]
fn invocations_that_follow_each_other_on_a_ring_have_each_its_own_account() {
    let (_, calls) = with_ledger(|ledger| {
        let mut rings = Rings::new(ledger, 2);
        for count in [5, 0, 20_000, 7] {
            // More than a ring holds: the journal's thread takes from it meanwhile, as for a guest that runs.
            ledger.invocation_begins();
            (0..count).for_each(|_| rings.push(1, Outcome::Ok, None));
            let records = ledger.settle(rings.id, 1, rings.produced(1));
            ledger.invocation_ends();
            assert_eq!((records.produced, records.recorded), (count, count));
        }
        // One that says too little, and one that says too much: it shows, and the next is not touched by it.
        for claim in [1_u64, 1_000_000] {
            (0..3).for_each(|_| rings.push(1, Outcome::Ok, None));
            assert_eq!(ledger.settle(rings.id, 1, claim).recorded, 3);
        }
        rings.push(1, Outcome::Ok, None);
        let records = ledger.settle(rings.id, 1, rings.produced(1));
        assert_eq!((records.produced, records.recorded), (1, 1));
    });
    assert_eq!(calls, 20_000 + 5 + 7 + 3 + 3 + 1);
}

#[test]
fn a_worker_that_is_gone_leaves_each_of_its_invocations_its_own_account() {
    with_ledger(|ledger| {
        let mut rings = Rings::new(ledger, 3);
        rings.push(0, Outcome::Ok, None);
        assert_eq!(ledger.settle(rings.id, 0, 1).recorded, 1);
        (0..4).for_each(|_| rings.push(0, Outcome::Ok, None));
        (0..9).for_each(|_| rings.push(2, Outcome::Ok, None));
        let left: Vec<_> = ledger.detach(rings.id).iter().map(|records| (records.produced, records.recorded)).collect();
        assert_eq!(left, [(4, 4), (0, 0), (9, 9)]);
        assert!(ledger.detach(rings.id).is_empty());
    });
}

/// How many denials of a module the journal tells of, and in how many bytes.
fn told(events: &[Event], of: &str) -> (u64, u64) {
    events.iter().filter(|event| event.module() == Some(of)).fold((0, 0), |(told, bytes), event| match event {
        Event::Denied { count, .. } | Event::DenialsCounted { count, .. } => (told + count, bytes + event.disk_len()),
        other => (told, bytes + other.disk_len()),
    })
}

#[test]
fn denials_in_the_same_words_are_told_once_and_then_with_their_number() {
    let (events, calls) = with_ledger(|ledger| {
        let mut rings = Rings::new(ledger, 1);
        for _ in 0..2 {
            ledger.invocation_begins();
            (0..3000).for_each(|_| rings.push(0, Outcome::Denied, Some("/etc/shadow")));
            rings.push(0, Outcome::Denied, None);
            let records = ledger.settle(rings.id, 0, rings.produced(0));
            ledger.invocation_ends();
            assert_eq!((records.recorded, records.denied), (3001, 3001));
        }
    });
    assert_eq!((told(&events, "m").0, calls), (6002, 6002));
    let counts: Vec<_> = events.iter().map(|event| if let Event::Denied { count, .. } = event { *count } else { 0 }).collect();
    // Twice: the first of each at once, then the rest of the one that came again, in as many events as it took seconds.
    assert_eq!(counts.iter().filter(|count| **count == 1).count(), 4, "{counts:?}");
    assert!(counts.len() <= 12 && counts.iter().any(|count| *count > 1000), "{counts:?}");
    let spans = events.iter().filter_map(|event| match event {
        Event::Denied { call_ns, last_ns: Some(last), .. } => Some(last - call_ns),
        _ => None,
    });
    assert!(spans.min().is_some_and(|span| span > 0));
}

#[test]
fn a_repeat_is_told_within_about_a_second_while_the_invocation_goes_on() {
    with_ledger(|ledger| {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let events = || runtime.block_on(ledger.stats()).unwrap().events;
        let mut rings = Rings::new(ledger, 1);
        ledger.invocation_begins();
        (0..5).for_each(|_| rings.push(0, Outcome::Denied, Some("/x")));
        let began = Instant::now();
        while events() < 2 {
            assert!(began.elapsed() < Duration::from_secs(5), "the repeats are not told");
            std::thread::sleep(Duration::from_millis(20));
        }
        assert_eq!(events(), 2);
        let records = ledger.settle(rings.id, 0, 5);
        ledger.invocation_ends();
        assert_eq!((records.denied, events()), (5, 2));
    });
}

#[test]
fn who_floods_the_journal_is_ended_within_its_budget_counted_exactly_and_costs_nobody_else_a_record() {
    const BUDGET: u64 = 1 << 20;
    let mut denied = 0;
    let (events, calls) = with_ledger(|ledger| {
        let (mut flood, mut other) = (Rings::of("flood", ledger, 2), Rings::of("other", ledger, 1));
        assert!(ledger.admits("flood").is_ok() && ledger.suspended("flood").is_none());
        ledger.invocation_begins();
        for n in 0..6000 {
            flood.push(n % 2, Outcome::Denied, Some(&format!("/{n}/{}", "x".repeat(200))));
            other.push(0, if n % 100 == 0 { Outcome::Denied } else { Outcome::Ok }, Some("/y"));
        }
        let settled = ledger.settle(other.id, 0, other.produced(0));
        assert_eq!((settled.produced, settled.recorded, settled.denied), (6000, 6000, 60));
        // The worker is ended: it is gone before anybody reaps it, and until then what it writes is counted.
        denied = ledger.settle(flood.id, 0, 3000).denied;
        let began = Instant::now();
        let ended = loop {
            if let Some(ended) = flood.process.try_wait().unwrap() {
                break ended;
            }
            assert!(began.elapsed() < Duration::from_secs(10), "it is not ended");
            std::thread::sleep(Duration::from_millis(10));
        };
        assert_eq!(std::os::unix::process::ExitStatusExt::signal(&ended), Some(9));
        flood.push(1, Outcome::Denied, Some("/last"));
        denied += ledger.detach(flood.id).iter().map(|records| records.denied).sum::<u64>();
        ledger.invocation_ends();
        assert!(ledger.admits("flood").is_err_and(|left| left > Duration::from_secs(5)) && ledger.suspended("flood").is_some());
        // A new worker of it has no new budget, and the other module is not touched.
        assert!(ledger.admits("other").is_ok() && other.process.try_wait().unwrap().is_none());
        ledger.lift_suspensions();
        assert!(ledger.admits("flood").is_ok() && ledger.suspended("flood").is_none());
    });
    assert_eq!((denied, calls), (6001, 12_001));
    let (told_of_flood, bytes) = told(&events, "flood");
    assert_eq!((told_of_flood, told(&events, "other").0), (denied, 60));
    let suspended: Vec<_> = events.iter().filter(|event| matches!(event, Event::InstanceSuspended { .. })).collect();
    let [Event::InstanceSuspended { came_bytes, came_events, burst_bytes: BUDGET, .. }] = suspended[..] else { panic!("{suspended:?}") };
    assert!(*came_bytes > BUDGET && *came_events > 1000, "{came_bytes} {came_events}");
    // Beside the budget: that it is suspended, for each ring how much was not told, and what a minute earns.
    assert!(bytes > BUDGET / 2 && bytes < BUDGET + 3 * 1024 + 60 * 2048, "{bytes}");
}

#[test]
fn a_worker_that_forges_denials_outside_of_invocations_is_counted_and_held_to_the_same_budget() {
    let mut denied = 0;
    let (events, calls) = with_ledger(|ledger| {
        let mut rings = Rings::new(ledger, 1);
        let began = Instant::now();
        while rings.process.try_wait().unwrap().is_none() {
            assert!(began.elapsed() < Duration::from_secs(60), "it is not ended");
            // No invocation is under way; only the doorbell wakes the journal.
            (0..500).for_each(|n| rings.push(0, Outcome::Denied, Some(&format!("/{n}/{:?}", began.elapsed()))));
        }
        denied = ledger.detach(rings.id)[0].denied;
    });
    assert_eq!((told(&events, "m").0, calls), (denied, denied));
    assert!(denied > 1000 && events.iter().any(|event| matches!(event, Event::InstanceSuspended { .. })));
}

/// Denials of one module in three batches, so that the first, the repeated and the counted ones are there: what is told of each, and how many.
fn named_by(privacy: Privacy) -> Vec<(Option<String>, Option<TextClass>, u64)> {
    let (events, calls) = with_ledger(|ledger| {
        let mut rings = Rings::kept("m", privacy, ledger, 1);
        for name in ["/secret/a", "/secret/b", "/secret/a", "/secret/a"] {
            rings.push(0, Outcome::Denied, Some(name));
        }
        rings.push(0, Outcome::Ok, Some("/secret/a"));
        rings.push(0, Outcome::Denied, None);
        let records = ledger.settle(rings.id, 0, rings.produced(0));
        assert_eq!((records.produced, records.recorded, records.denied), (6, 6, 5));
    });
    assert_eq!(calls, 6);
    let denied = |event: Event| match event {
        Event::Denied { text, text_class, count, .. } => Some((text, text_class, count)),
        _ => None,
    };
    events.into_iter().filter_map(denied).collect()
}

#[test]
fn denials_are_told_apart_by_what_is_kept_of_their_texts_and_by_no_more() {
    let classes = |paths| Privacy { paths, graphs: Class::Plain };
    let plain = named_by(classes(Class::Plain));
    let text = |name: &str| Some(name.to_owned());
    assert_eq!(plain, [(text("/secret/a"), None, 1), (text("/secret/b"), None, 1), (None, None, 1), (text("/secret/a"), None, 2)]);

    let coded = named_by(classes(Class::Hmac));
    let [(Some(a), ..), (Some(b), ..), none, (Some(again), ..)] = coded.as_slice() else { panic!("{coded:?}") };
    assert!(a == again && a != b && a.starts_with("hmac:") && !a.contains("secret"), "{coded:?}");
    assert_eq!(
        coded.iter().map(|(_, class, _)| *class).collect::<Vec<_>>(),
        [Some(TextClass::Hmac), Some(TextClass::Hmac), None, Some(TextClass::Hmac)]
    );
    assert_eq!(*none, (None, None, 1));

    let dropped = named_by(classes(Class::Drop));
    // Whether something was named is still said, and what was named is in one heap.
    assert_eq!(dropped.iter().map(|(text, _, count)| (text.as_deref(), *count)).collect::<Vec<_>>(), [(None, 1), (None, 1), (None, 3)]);
    assert_eq!(dropped.iter().filter(|(_, class, _)| *class == Some(TextClass::Drop)).map(|(.., count)| count).sum::<u64>(), 4);
}
