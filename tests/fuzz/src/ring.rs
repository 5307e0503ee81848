//! What a worker that runs a vendor's code leaves in the memory that it shares with the daemon, and what becomes of it in every form it is shown in.

use std::sync::Arc;

use edgeguard_audit::Consumer;
use edgeguard_audit::MAX_LINE;
use edgeguard_audit::MAX_TEXT;
use edgeguard_audit::Ocsf;
use edgeguard_audit::OpenFlags;
use edgeguard_audit::Outcome;
use edgeguard_audit::Position;
use edgeguard_audit::Producer;
use edgeguard_audit::RING_LEN;
use edgeguard_audit::Record;
use edgeguard_audit::Source;
use edgeguard_audit::call_id;
use edgeguard_audit::describe;
use edgeguard_audit::encode::Encoder;
use edgeguard_audit::encode::Form;
use edgeguard_audit::encode::OcsfVersion;
use edgeguard_audit::read::Call;
use edgeguard_audit::read::Item;
use edgeguard_audit::rule_to_number;
use edgeguard_sandbox::SharedMemory;

use crate::MIB;
use crate::Target;

/// Where the slots begin: behind one page.
const SLOTS_AT: usize = 4096;

pub(crate) const RING: Target = Target {
    name: "ring",
    reads: "a ring: two positions of its head, of 8 bytes each, then its slots from the first on; its records in words, as OCSF and as ECS",
    memory: 16 * MIB,
    longest: 32 << 10,
    run: |input| {
        let (Some((heads, slots)), Ok((memory, fd))) = (input.split_first_chunk::<16>(), SharedMemory::create("ring", RING_LEN)) else {
            return;
        };
        // The writer maps it for itself; the consumer's own is what the daemon has.
        let Ok(theirs) = SharedMemory::map(std::os::fd::AsFd::as_fd(&fd), RING_LEN) else { return };
        let mut consumer = Consumer::new(memory);
        let room = slots.len().min(RING_LEN - SLOTS_AT);
        let mut filled = theirs.write(SLOTS_AT, slots.get(..room).unwrap_or_default()).is_ok();
        let mut handed = 0;
        for head in heads.chunks_exact(8) {
            filled &= theirs.write(0, head).is_ok();
            let drained = consumer.drain(|record, text| {
                handed += 1;
                // Nobody reads more of a ring than it has, and a record of it is no code and was not dropped.
                assert!(text.is_none_or(|text| !text.is_empty() && text.len() <= MAX_TEXT) && record.text_class().is_none());
                if handed <= 64 {
                    shown(record, text);
                }
            });
            assert!(consumer.taken() == handed, "what was handed over was counted");
            if drained.is_err() {
                break;
            }
        }
        assert!(filled, "the memory takes what fits");
    },
    seeds: || [seed()].into_iter().flatten().collect(),
};

/// In each form that anybody reads.
fn shown(record: Record, text: Option<&[u8]>) {
    let source = Source::new("voice-gate", uuid::Uuid::from_u128(7), [1; 32], [2; 32]);
    let what = Call { record, source: Arc::new(source), text: text.map(Arc::from) };
    let words = describe::call(&what);
    assert!(words.chars().all(|c| !c.is_control()), "a line has no control characters: {words:?}");
    let position = Position { epoch: 0, frame: 1, index: 0 };
    let item = Item { position, seq: 1, time_real: 1, time_boot: 1, what };
    for form in [Form::Ocsf(OcsfVersion::V1_1), Form::Ecs] {
        let ocsf = Ocsf { origin: "gateway".into(), boot_id: String::new() };
        let line = Encoder::new(ocsf, form).call(&item).map(|entry| entry.line);
        assert!(line.is_none_or(|line| line.len() <= MAX_LINE && !line.contains('\n')), "a line is one line, and not too long");
    }
    // What is no size is in no sum.
    assert!(record.opened_with().is_none() || record.bytes_in() == 0);
    assert!(record.rule_to().is_none() || record.bytes_out() == 0);
}

/// A ring with calls of each kind, made by the worker's end of it.
fn seed() -> Option<Vec<u8>> {
    let (memory, fd) = SharedMemory::create("ring", RING_LEN).ok()?;
    let ours = SharedMemory::map(std::os::fd::AsFd::as_fd(&fd), RING_LEN).ok()?;
    // It is rung only when the ring fills.
    let mut producer = Producer::new(memory, Arc::new(fd)).ok()?;
    let flags = OpenFlags::READ.with(OpenFlags::CREATE, true).to_number();
    let long = vec![b'x'; MAX_TEXT + 1];
    let calls: [(&str, u32, u32, Option<&[u8]>); 6] = [
        ("path_open", flags, 0, Some(b"audio/1.wav")),
        ("fd_read", 0, 16, None),
        ("path_rename", 0, rule_to_number(2), Some(b"a\0b")),
        ("path_open", 0, 0, Some(&long)),
        ("fd_write", 5, 0, None),
        ("proc_exit", 3, 0, None),
    ];
    for (function, n_in, n_out, text) in calls {
        let call = call_id("wasi_snapshot_preview1", function)?;
        let record =
            Record { time_ns: 1 << 40, call, outcome: Outcome::Ok, flags: 0, errno: 0, rule: 1, handle: 4, took_ns: 64, n_in, n_out };
        producer.push(&record, text);
    }
    let mut head = [0; 8];
    ours.read(0, &mut head).ok()?;
    let mut slots = vec![0; usize::try_from(u64::from_le_bytes(head)).ok()?.checked_mul(32)?];
    ours.read(SLOTS_AT, &mut slots).ok()?;
    Some([head.as_slice(), &head, &slots].concat())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
    use super::*;

    #[test]
    fn the_seed_is_a_ring_that_the_daemon_takes_whole() {
        let _alone = crate::tests::ALONE.lock();
        let seed = seed().unwrap();
        let (memory, fd) = SharedMemory::create("ring", RING_LEN).unwrap();
        let theirs = SharedMemory::map(std::os::fd::AsFd::as_fd(&fd), RING_LEN).unwrap();
        theirs.write(0, &seed[..8]).unwrap();
        theirs.write(SLOTS_AT, &seed[16..]).unwrap();
        let mut flags = Vec::new();
        assert_eq!(Consumer::new(memory).drain(|record, _| flags.push(record.opened_with().is_some())), Ok(6));
        assert_eq!(flags, [true, false, false, false, false, false]);
    }
}
