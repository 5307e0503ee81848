//! Attempts on the daemon, over what a worker shares with it: the control socket, the audit ring, the log.
//!
//! Runs in: `edgeguard-redteam`. The test watches the daemon; what is done here always succeeds.

use std::io::IoSlice;
use std::mem::MaybeUninit;
use std::os::fd::AsFd as _;
use std::os::fd::BorrowedFd;
use std::sync::atomic::Ordering;
use std::time::Duration;
use std::time::Instant;

use edgeguard_wire::worker::Finished;
use edgeguard_wire::worker::FromWorker;
use edgeguard_wire::worker::Outcome;
use edgeguard_wire::worker::Timing;
use edgeguard_worker::Lane;
use rustix::net::SendAncillaryBuffer;
use rustix::net::SendAncillaryMessage;
use rustix::net::SendFlags;

/// As many descriptors as the kernel passes at once (`SCM_MAX_FD`).
const MAX_FDS: usize = 253;

/// How long a flood lasts.
const FLOOD: Duration = Duration::from_millis(1500);

/// Words of the ring's header that the attacker writes: where the head stands, and the first record.
const HEAD: usize = 0;
const FIRST_SLOT: usize = 512;

/// Makes the attempt of this name; `None` when it is not one of these. Whatever the daemon answers, the worker goes on as if nothing was.
pub fn attempt(name: &str, lane: &Lane) -> Option<()> {
    let control = lane.control.as_fd();
    match name {
        "garbage-frame" => raw(control, &[0xff; 100]),
        "unknown-tag" => raw(control, &[99, 0, 0]),
        "trailing-bytes" => raw(control, &[0, 0, 0]),
        "oversized-frame" => raw(control, &vec![0; edgeguard_wire::channel::MAX_FRAME + 1]),
        "length-bomb" => raw(control, &[2, 0xff, 0xff, 0xff, 0xff, 0x0f]),
        "empty-frame" => raw(control, &[]),
        "standby-again" => frame(lane, &FromWorker::Standby),
        "refused-late" => frame(lane, &FromWorker::Refused { reason: "\u{1b}[2J".repeat(1000) }),
        "finished-unknown" => frame(lane, &finished(u64::MAX - 1)),
        // A fresh worker's first invocation is number 1: its end on its own ring, with every other number as large as it can be, while it still runs.
        "finished-forged" => frame(lane, &finished(1)),
        "finished-flood" => flood(|| frame(lane, &finished(u64::MAX))),
        "stalled-unknown" => frame(lane, &FromWorker::GraphStalled { graph: u16::MAX }),
        "stalled-flood" => flood(|| frame(lane, &FromWorker::GraphStalled { graph: u16::MAX })),
        "descriptors-garbage" => descriptors(lane, MAX_FDS, &[0xff]),
        // A frame that is right but for what lies beside it: variant 4, graph 9.
        "descriptors-beside-frame" => descriptors(lane, 4, &[4, 9]),
        "descriptors-flood" => flood(|| descriptors(lane, 150, &[4, 9])),
        "ring-head-ahead" => lane.ring.words()[HEAD].store(u64::MAX, Ordering::Release),
        "ring-no-record" => {
            for word in &lane.ring.words()[FIRST_SLOT..FIRST_SLOT + 4] {
                word.store(u64::MAX, Ordering::Relaxed);
            }
            lane.ring.words()[HEAD].store(1, Ordering::Release);
        }
        "log-flood" => {
            let page = "\u{1b}[31mred\u{7}\n".repeat(1 << 12);
            for _ in 0..1024 {
                let _ = rustix::io::write(std::io::stderr(), page.as_bytes());
            }
        }
        // The daemon's journal wakes for every one of these.
        "doorbell-flood" => flood(|| {
            let _ = rustix::io::write(&lane.doorbell, &1_u64.to_ne_bytes());
        }),
        "never-ends" => std::thread::sleep(Duration::from_secs(3600)),
        _ => return None,
    }
    Some(())
}

fn finished(id: u64) -> FromWorker {
    let most = Timing { instantiate_ns: u64::MAX, run_ns: u64::MAX, compute_ns: u64::MAX, engine_ns: u64::MAX, memory: u64::MAX };
    let outcome = Outcome::Trapped("\u{1b}[2J\n{{\"".repeat(2000));
    FromWorker::Finished(Finished { id, ring: 0, outcome, produced: u64::MAX, timing: most })
}

fn frame(lane: &Lane, frame: &FromWorker) {
    let _ = lane.control.send(frame, &[]);
}

fn raw(control: BorrowedFd<'_>, bytes: &[u8]) {
    let _ = rustix::net::send(control, bytes, SendFlags::NOSIGNAL);
}

fn descriptors(lane: &Lane, count: usize, bytes: &[u8]) {
    let copies = vec![lane.doorbell.as_fd(); count];
    let mut space = vec![MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_FDS))];
    let mut ancillary = SendAncillaryBuffer::new(&mut space);
    ancillary.push(SendAncillaryMessage::ScmRights(&copies));
    let _ = rustix::net::sendmsg(lane.control.as_fd(), &[IoSlice::new(bytes)], &mut ancillary, SendFlags::NOSIGNAL);
}

fn flood(mut once: impl FnMut()) {
    let began = Instant::now();
    while began.elapsed() < FLOOD {
        once();
    }
}
