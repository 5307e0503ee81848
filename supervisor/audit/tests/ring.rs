//! The ring against a model, against a hostile writer, and between two threads.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use std::collections::VecDeque;
use std::os::fd::AsFd as _;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering;

use edgeguard_audit::Consumer;
use edgeguard_audit::MAX_TEXT;
use edgeguard_audit::Outcome;
use edgeguard_audit::Producer;
use edgeguard_audit::RING_LEN;
use edgeguard_audit::Record;
use edgeguard_audit::RingCorrupt;
use edgeguard_audit::TEXT;
use edgeguard_audit::TRUNCATED;
use edgeguard_audit::call_id;
use edgeguard_sandbox::SharedMemory;
use proptest::prelude::*;
use rustix::event::EventfdFlags;
use rustix::event::PollFd;
use rustix::event::PollFlags;

fn doorbell() -> Arc<OwnedFd> {
    Arc::new(rustix::event::eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK).unwrap())
}

/// Both ends, and a third mapping with which a test plays a worker that has gone bad.
fn ring() -> (Producer, Consumer, SharedMemory, Arc<OwnedFd>) {
    let (memory, fd) = SharedMemory::create("ring", RING_LEN).unwrap();
    let map = || SharedMemory::map(fd.as_fd(), RING_LEN).unwrap();
    let doorbell = doorbell();
    (Producer::new(map(), Arc::clone(&doorbell)).unwrap(), Consumer::new(memory), map(), doorbell)
}

fn record(n: u64) -> Record {
    Record {
        time_ns: n,
        call: call_id("wasi_snapshot_preview1", "fd_read").unwrap(),
        outcome: Outcome::Ok,
        flags: 0,
        errno: 0,
        rule: 1,
        handle: 3,
        took_ns: 100,
        n_in: 0,
        n_out: n as u32,
    }
}

#[derive(Debug, Clone)]
enum Step {
    Push(Option<Vec<u8>>),
    Drain,
}

fn step() -> impl Strategy<Value = Step> {
    let text = prop_oneof![
        8 => Just(None),
        4 => proptest::collection::vec(any::<u8>(), 0..80).prop_map(Some),
        1 => proptest::collection::vec(any::<u8>(), MAX_TEXT - 2..MAX_TEXT + 3).prop_map(Some),
    ];
    prop_oneof![20 => text.prop_map(Step::Push), 1 => Just(Step::Drain)]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn what_comes_out_is_what_went_in(steps in proptest::collection::vec(step(), 0..600), start in 0u64..40_000) {
        let (mut producer, mut consumer, ..) = ring();
        // Begin anywhere in the ring, so that its end is crossed.
        for n in 0..start {
            producer.push(&record(n), None);
            if n % 10_000 == 9_999 {
                consumer.drain(|_, _| {}).unwrap();
            }
        }
        consumer.drain(|_, _| {}).unwrap();
        let mut model = VecDeque::new();
        let mut used = 0;
        let mut n = 0;
        for step in steps.into_iter().chain([Step::Drain]) {
            match step {
                // A push that does not fit would wait for a consumer that this thread is.
                Step::Push(text) if used < 16_000 => {
                    n += 1;
                    producer.push(&record(n), text.as_deref());
                    used += 1 + text.as_ref().map_or(0, |text| (8 + text.len()).div_ceil(32));
                    model.push_back((n, text));
                }
                _ => {
                    used = 0;
                    let count = consumer.drain(|found, text| {
                        let (n, expected) = model.pop_front().unwrap();
                        let expected = expected.filter(|text| !text.is_empty());
                        assert_eq!(text, expected.as_ref().map(|text| &text[..text.len().min(MAX_TEXT)]));
                        let flags = expected.map_or(0, |text| if text.len() > MAX_TEXT { TEXT | TRUNCATED } else { TEXT });
                        assert_eq!(found, Record { flags, ..record(n) });
                    }).unwrap();
                    prop_assert!(model.is_empty(), "{} left after {count}", model.len());
                }
            }
        }
        prop_assert_eq!(producer.produced(), consumer.taken());
    }

    #[test]
    fn a_hostile_writer_gets_an_error_and_bounded_work(
        head in prop_oneof![0u64..20_000, any::<u64>()],
        noise in proptest::collection::vec((0usize..RING_LEN / 8, any::<u64>()), 0..200),
        honest in 0u64..100,
    ) {
        let (mut producer, mut consumer, evil, _) = ring();
        for n in 0..honest {
            producer.push(&record(n), Some(b"/etc/hostname"));
        }
        for (at, word) in noise {
            evil.words()[at].store(word, Ordering::Relaxed);
        }
        evil.words()[0].store(head, Ordering::Relaxed);
        let mut seen = 0u64;
        let drained = consumer.drain(|_, text| {
            seen += 1;
            assert!(text.is_none_or(|text| text.len() <= MAX_TEXT));
        });
        prop_assert!(seen <= 16 * 1024);
        prop_assert_eq!(seen, consumer.taken());
        if head > 16 * 1024 {
            prop_assert_eq!(drained, Err(RingCorrupt::Head { head, tail: 0 }));
        }
    }
}

#[test]
fn half_a_text_is_corrupt() {
    let (mut producer, mut consumer, evil, _) = ring();
    producer.push(&record(1), Some(&[b'a'; 100]));
    evil.words()[0].store(2, Ordering::Relaxed);
    assert_eq!(consumer.drain(|_, _| {}), Err(RingCorrupt::Text { slot: 0 }));
}

#[test]
fn a_head_that_goes_backwards_is_corrupt() {
    let (mut producer, mut consumer, evil, _) = ring();
    producer.push(&record(1), None);
    producer.push(&record(2), None);
    assert_eq!(consumer.drain(|_, _| {}), Ok(2));
    evil.words()[0].store(1, Ordering::Relaxed);
    assert_eq!(consumer.drain(|_, _| {}), Err(RingCorrupt::Head { head: 1, tail: 2 }));
}

#[test]
fn memory_of_another_size_is_no_ring() {
    let (small, _) = SharedMemory::create("small", 4096).unwrap();
    assert!(matches!(Consumer::new(small).drain(|_, _| {}), Err(RingCorrupt::Length(_))));
    let (small, _) = SharedMemory::create("small", 4096).unwrap();
    assert!(Producer::new(small, doorbell()).is_err());
}

#[test]
fn a_full_ring_makes_the_guest_wait_and_loses_nothing() {
    const RECORDS: u64 = 1_000_000;
    let (mut producer, mut consumer, _, doorbell) = ring();
    let done = Arc::new(AtomicBool::new(false));
    let daemon = std::thread::spawn({
        let done = Arc::clone(&done);
        move || {
            let (mut next, mut texts) = (0, 0);
            loop {
                let last = done.load(Ordering::Acquire);
                // As the daemon does: the doorbell is read before the ring is drained.
                let mut fds = [PollFd::new(&*doorbell, PollFlags::IN)];
                let timeout = rustix::event::Timespec { tv_sec: 0, tv_nsec: 5_000_000 };
                rustix::event::poll(&mut fds, Some(&timeout)).unwrap();
                let _ = rustix::io::read(&*doorbell, &mut [0u8; 8]);
                consumer
                    .drain(|record, text| {
                        assert_eq!(record.time_ns, next);
                        assert_eq!(text.is_some(), next.is_multiple_of(7));
                        texts += u64::from(text == Some(b"/audio/front-door.wav"));
                        next += 1;
                    })
                    .unwrap();
                if last {
                    return (next, texts, consumer.stalls());
                }
            }
        }
    });
    for n in 0..RECORDS {
        producer.push(&record(n), n.is_multiple_of(7).then_some(b"/audio/front-door.wav"));
    }
    done.store(true, Ordering::Release);
    let (taken, texts, stalls) = daemon.join().unwrap();
    assert_eq!((taken, texts), (RECORDS, RECORDS.div_ceil(7)));
    assert_eq!(producer.produced(), RECORDS);
    println!("{stalls} stalls");
}

#[test]
fn a_guest_waits_until_the_daemon_comes_by() {
    let (mut producer, mut consumer, _, doorbell) = ring();
    let guest = std::thread::spawn(move || {
        for n in 0..16 * 1024 + 1 {
            producer.push(&record(n), None);
        }
        producer.produced()
    });
    // Wait until the guest counts a stall: it is then at the doorbell, with a full ring.
    while consumer.stalls() == 0 {
        std::thread::yield_now();
    }
    assert!(!guest.is_finished());
    let mut taken = 0;
    while taken < 16 * 1024 + 1 {
        let mut fds = [PollFd::new(&*doorbell, PollFlags::IN)];
        rustix::event::poll(&mut fds, Some(&rustix::event::Timespec { tv_sec: 0, tv_nsec: 1_000_000 })).unwrap();
        let _ = rustix::io::read(&*doorbell, &mut [0u8; 8]);
        taken += consumer.drain(|_, _| {}).unwrap();
    }
    assert_eq!(guest.join().unwrap(), taken);
    assert_eq!(consumer.stalls(), 1);
}
