//! What a disk, or somebody who may write to it, made of the journal; and proofs that come from elsewhere.

use std::fs;
use std::path::PathBuf;
use std::sync::LazyLock;

use edgeguard_audit::frame;
use edgeguard_audit::read::Reader;

use crate::MIB;
use crate::Target;

pub(crate) const SEGMENT: Target = Target {
    name: "segment",
    reads: "the first segment of a journal, whose frames have their checksums and leaves right",
    memory: 64 * MIB,
    longest: 64 << 10,
    run: |input| {
        let segment = mended(input);
        let dir = &*DIR;
        let wrote =
            fs::write(dir.join("s/seg-0000000000000000.egl"), &segment).and_then(|()| fs::write(dir.join("leaves"), leaves(&segment)));
        let Ok(mut reader) = wrote.map_err(drop).and_then(|()| Reader::open(dir).map_err(drop)) else { return };
        while let Ok(Some(frame)) = reader.next_frame() {
            if reader.decode(&frame).is_err() {
                return;
            }
        }
    },
    seeds: || {
        let journal = std::env::temp_dir().join(format!("edgeguard-fuzz-seed-{}", std::process::id()));
        let _ = fs::remove_dir_all(&journal);
        let made = edgeguard_audit::Journal::open(&journal, "edgeguard/fuzz").ok().and_then(|(mut journal, _)| {
            journal.event(&edgeguard_audit::Event::DaemonStarted { version: "1".into(), pid: 1 }).ok()?;
            journal.event(&edgeguard_audit::Event::DaemonStopped { reason: "told to".into() }).ok()?;
            journal.close().ok()
        });
        let segment = made.and_then(|_| fs::read(journal.join("s/seg-0000000000000000.egl")).ok()).unwrap_or_default();
        let _ = fs::remove_dir_all(&journal);
        let end = segment.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
        vec![segment.get(..end).unwrap_or_default().to_vec()]
    },
};

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
    for tier in ["s", "d"] {
        // Where it cannot be made, nothing opens, and the test of the seeds says so.
        let _ = fs::create_dir_all(dir.join(tier));
    }
    dir
});

/// The input as frames with right checksums: a mutation inside a payload would otherwise end at the first one.
fn mended(input: &[u8]) -> Vec<u8> {
    let mut rest = input;
    let mut out = Vec::with_capacity(input.len());
    while let Some(header) = rest.first_chunk::<{ frame::HEADER_LEN }>() {
        let (body, _) = header.split_at(frame::HEADER_LEN - 4);
        let mut header = [0; frame::HEADER_LEN];
        header[..body.len()].copy_from_slice(body);
        header[body.len()..].copy_from_slice(&crc32c::crc32c(body).to_le_bytes());
        let Ok(mended) = frame::Header::parse(&header) else { break };
        let len = usize::try_from(mended.payload_len).unwrap_or(usize::MAX);
        let Some(payload) = rest.get(frame::HEADER_LEN..frame::HEADER_LEN.saturating_add(len)) else { break };
        if mended.seal(payload, &mut out).is_err() {
            break;
        }
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
