//! What a disk, or somebody who may write to it, made of the journal; and proofs that come from elsewhere.

use std::fs;
use std::path::Path;
use std::path::PathBuf;
use std::sync::LazyLock;

use edgeguard_audit::Event;
use edgeguard_audit::Journal;
use edgeguard_audit::Keys;
use edgeguard_audit::Options;
use edgeguard_audit::Outcome;
use edgeguard_audit::Record;
use edgeguard_audit::Source;
use edgeguard_audit::Tier;
use edgeguard_audit::boottime_ns;
use edgeguard_audit::call_id;
use edgeguard_audit::frame;
use edgeguard_audit::read::Reader;
use edgeguard_audit::scan::Wanted;
use edgeguard_audit::scan::counts;
use edgeguard_audit::scan::scan;

use crate::MIB;
use crate::Target;

pub(crate) const SEGMENT: Target = Target {
    name: "segment",
    reads: "the first segment of a journal, whose frames have their checksums and leaves right",
    memory: 64 * MIB,
    longest: 64 << 10,
    run: |input| read("s", input),
    seeds: || vec![seed("s")],
};

pub(crate) const CALLS: Target = Target {
    name: "calls",
    reads: "a segment of calls with its names, read and searched",
    memory: 64 * MIB,
    longest: 64 << 10,
    run: |input| read("d", input),
    seeds: || vec![seed("d")],
};

pub(crate) const COUNTS: Target = Target {
    name: "counts",
    reads: "a segment of counts with its names, read and added up",
    memory: 64 * MIB,
    longest: 64 << 10,
    run: |input| read("sum", input),
    seeds: || vec![seed("sum")],
};

/// Reads a journal that has this one segment, in each way there is.
fn read(tier: &str, input: &[u8]) {
    let segment = mended(input);
    let dir = &*DIR;
    let path = dir.join(tier).join("seg-0000000000000000.egl");
    let wrote = fs::write(&path, &segment).and_then(|()| fs::write(dir.join("leaves"), leaves(&segment)));
    if let Ok(mut reader) = wrote.map_err(drop).and_then(|()| Reader::open(dir).map_err(drop)) {
        while let Ok(Some(frame)) = reader.next_frame() {
            if reader.decode(&frame).is_err() {
                break;
            }
        }
        let wanted =
            Wanted { since: 0, until: u64::MAX, events: true, call: Some(&|call| call.whole.then_some(call.record.n_out % 2 == 0)) };
        // What cannot be read is an error of theirs, and no finding.
        let _ = scan(dir, &wanted, &mut |_, _, _| true, &mut |_| {});
        let _ = counts(dir, &mut |_| {}, &mut |_| {});
    }
    // The targets share the folder.
    let _ = fs::remove_file(path);
}

/// The first segment of this tier of a small sealed journal, its frames numbered from 0.
fn seed(tier: &str) -> Vec<u8> {
    let root = std::env::temp_dir().join(format!("edgeguard-fuzz-seed-{tier}-{}", std::process::id()));
    let _ = fs::remove_dir_all(&root);
    let segment = journal(&root).and_then(|()| {
        let mut segments: Vec<_> = fs::read_dir(root.join("audit").join(tier)).ok()?.filter_map(|entry| Some(entry.ok()?.path())).collect();
        segments.sort();
        fs::read(segments.first()?).ok()
    });
    let _ = fs::remove_dir_all(&root);
    let segment = segment.unwrap_or_default();
    let (mut rest, mut out, mut frame) = (segment.as_slice(), Vec::new(), Vec::new());
    let mut number = 0;
    while let Ok(mut header) = frame::check(rest) {
        let (bytes, after) = rest.split_at(header.len());
        header.frame_no = number;
        if header.seal(bytes.get(frame::HEADER_LEN..).unwrap_or_default(), &mut frame).is_err() {
            break;
        }
        out.extend_from_slice(&frame);
        (rest, number) = (after, number + 1);
    }
    out
}

/// A journal with frames of every kind that a small one has.
fn journal(root: &Path) -> Option<()> {
    let keys = Keys::load(&root.join("keys"), None).ok()?;
    let (mut journal, _) = Journal::open_with(&root.join("audit"), "edgeguard/fuzz", Options::sealed(keys)).ok()?;
    journal.event(&Event::DaemonStarted { version: "1".into(), pid: 1 }).ok()?;
    let source = Source::new("voice-gate", "0199f1d2-7c00-7000-8000-000000000001".parse().ok()?, [1; 32], [2; 32]);
    let call = |function: &str, n_out| {
        let call = call_id("wasi_snapshot_preview1", function)?;
        let outcome = Outcome::from_raw(u8::try_from(n_out % 5).ok()?)?;
        Some(Record { time_ns: boottime_ns(), call, outcome, flags: 0, errno: 0, rule: 1, handle: 4, took_ns: 700, n_in: 0, n_out })
    };
    let mut batch = Vec::new();
    for n in 0..40 {
        batch.push((
            call(if n % 4 == 0 { "path_open" } else { "fd_read" }, n)?,
            (n % 4 == 0).then(|| format!("audio/{n}.wav").into_bytes()),
        ));
    }
    journal.calls(&source, &batch).ok()?;
    journal.event(&Event::DaemonStopped { reason: "told to".into() }).ok()?;
    journal.close().ok().map(drop)
}

pub(crate) const PROOF: Target = Target {
    name: "proof",
    reads: "a `.tlog-proof` of one frame, with the signed note in it",
    memory: 16 * MIB,
    longest: 64 << 10,
    run: |input| {
        if let Ok(text) = std::str::from_utf8(input) {
            drop(edgeguard_audit::proof::Proof::parse(text));
        }
    },
    seeds: || {
        let note = "edgeguard/gateway\n3\nqTMk6bJ5zX2pTnqZ3o2e0cG1f5Yy8yqM0s3i3mYVfEo=\n\n\u{2014} edgeguard/gateway Az3grlgtzPICa5OS8npVmf1Myq/5IZniMp+ZJurmRDeOoRDe4URYN7u5/Zhcyv2q1gGzGku9nTo+zyWE+xeMcTOAYQ8=\n";
        let proof = format!("c2sp.org/tlog-proof@v1\nextra AAAA\nindex 1\nqTMk6bJ5zX2pTnqZ3o2e0cG1f5Yy8yqM0s3i3mYVfEo=\n\n{note}");
        vec![proof.into_bytes()]
    },
};

/// One folder for all inputs of this process: in memory where there is such a place.
static DIR: LazyLock<PathBuf> = LazyLock::new(|| {
    let shared = PathBuf::from("/dev/shm");
    let base = if shared.is_dir() { shared } else { std::env::temp_dir() };
    let dir = base.join(format!("edgeguard-fuzz-{}", std::process::id()));
    for tier in Tier::ALL.map(Tier::folder) {
        // Where it cannot be made, nothing opens, and the test of the seeds says so.
        let _ = fs::create_dir_all(dir.join(tier));
    }
    dir
});

/// The input as frames with right checksums: a mutation inside a payload would otherwise end at the first one.
fn mended(input: &[u8]) -> Vec<u8> {
    let mut rest = input;
    let mut out = Vec::with_capacity(input.len());
    let mut frame = Vec::new();
    while let Some(header) = rest.first_chunk::<{ frame::HEADER_LEN }>() {
        let (body, _) = header.split_at(frame::HEADER_LEN - 4);
        let mut header = [0; frame::HEADER_LEN];
        header[..body.len()].copy_from_slice(body);
        header[body.len()..].copy_from_slice(&crc32c::crc32c(body).to_le_bytes());
        let Ok(mended) = frame::Header::parse(&header) else { break };
        let len = usize::try_from(mended.payload_len).unwrap_or(usize::MAX);
        let Some(payload) = rest.get(frame::HEADER_LEN..frame::HEADER_LEN.saturating_add(len)) else { break };
        if mended.seal(payload, &mut frame).is_err() {
            break;
        }
        out.extend_from_slice(&frame);
        rest = rest.get(frame::HEADER_LEN + len..).unwrap_or_default();
    }
    out.extend_from_slice(rest);
    out
}

fn leaves(segment: &[u8]) -> Vec<u8> {
    let mut rest = segment;
    let mut out = Vec::new();
    while let Ok(header) = frame::check(rest) {
        let (frame, after) = rest.split_at(header.len());
        out.extend_from_slice(&frame::leaf(frame));
        rest = after;
    }
    out
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
    use edgeguard_audit::read::Content;

    use super::*;

    /// What the seed of a tier holds, frame by frame.
    fn held(tier: &str) -> Vec<Content> {
        let dir = std::env::temp_dir().join(format!("edgeguard-fuzz-held-{tier}-{}", std::process::id()));
        let segment = mended(&seed(tier));
        for folder in Tier::ALL.map(Tier::folder) {
            fs::create_dir_all(dir.join(folder)).unwrap();
        }
        fs::write(dir.join(tier).join("seg-0000000000000000.egl"), &segment).unwrap();
        fs::write(dir.join("leaves"), leaves(&segment)).unwrap();
        let mut reader = Reader::open(&dir).unwrap();
        let mut held = Vec::new();
        while let Some(frame) = reader.next_frame().unwrap() {
            held.push(reader.decode(&frame).unwrap());
        }
        fs::remove_dir_all(dir).unwrap();
        held
    }

    #[test]
    fn seeds_hold_what_their_targets_read() {
        let _alone = crate::tests::ALONE.lock();
        assert!(held("s").iter().any(|content| matches!(content, Content::Epoch(..))));
        assert!(held("s").iter().any(|content| matches!(content, Content::Events(_))));
        assert!(held("d").iter().any(|content| matches!(content, Content::Calls(items) if items.len() == 40)));
        assert!(held("sum").iter().any(|content| matches!(content, Content::Summary(summary) if !summary.rows.is_empty())));
    }
}
