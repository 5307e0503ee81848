//! Journals to try things on: small ones, sealed ones, and images of them that can be changed.
#![allow(dead_code, reason = "each test program uses what it needs")]
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::path::PathBuf;

use base64::Engine as _;
use edgeguard_audit::Event;
use edgeguard_audit::Journal;
use edgeguard_audit::Keys;
use edgeguard_audit::Options;
use edgeguard_audit::Outcome;
use edgeguard_audit::Record;
use edgeguard_audit::Recovery;
use edgeguard_audit::Source;
use edgeguard_audit::call_id;
use edgeguard_audit::frame;
use edgeguard_audit::frame::Header;
use tempfile::TempDir;

pub const ORIGIN: &str = "gateway-7.example";

pub fn source(module: &str) -> Source {
    Source::new(module, uuid::Uuid::from_u128(7), [1; 32], [2; 32])
}

pub fn record(n: u64) -> Record {
    Record {
        // As the journal keeps times: in steps of 64 ns.
        time_ns: edgeguard_audit::boottime_ns() / 64 * 64,
        call: call_id("wasi_snapshot_preview1", if n.is_multiple_of(3) { "path_open" } else { "fd_read" }).unwrap(),
        outcome: Outcome::Ok,
        flags: 0,
        errno: 0,
        rule: 1,
        handle: 4,
        took_ns: 64 * (14 + n as u32),
        n_in: 0,
        n_out: n as u32,
    }
}

pub fn batch(from: u64, count: u64) -> Vec<(Record, Option<Vec<u8>>)> {
    (from..from + count).map(|n| (record(n), n.is_multiple_of(3).then(|| format!("/audio/{}.wav", n % 50).into_bytes()))).collect()
}

/// Calls whose texts do not compress.
pub fn bulky(from: u64) -> Vec<(Record, Option<Vec<u8>>)> {
    let text = |n: u64| {
        (0..120u64).flat_map(|at| (n * 120 + at + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(at as u32).to_le_bytes()).collect()
    };
    (from..from + 500).map(|n| (record(n), Some(text(n)))).collect()
}

/// A decision: on the disk before it is acted on.
pub fn admitted(module: &str) -> Event {
    Event::GrantsGiven { module: module.into(), dirs: Vec::new(), graphs: Vec::new() }
}

pub fn started(id: &str) -> Event {
    Event::InvocationStarted {
        id: id.into(),
        module: "m".into(),
        instance: "i".into(),
        peer_uid: Some(7),
        listener: None,
        client: None,
        ring: Some(0),
    }
}

/// A gateway's state: a journal and its keys.
pub struct House(TempDir);

impl House {
    pub fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    /// With a closed journal of a few small frames of every kind.
    pub fn sealed() -> Self {
        let house = Self::new();
        house.fill();
        house
    }

    pub fn journal(&self) -> PathBuf {
        self.0.path().join("audit")
    }

    pub fn keys(&self) -> PathBuf {
        self.0.path().join("keys")
    }

    pub fn open(&self) -> (Journal, Recovery) {
        Journal::open_with(&self.journal(), ORIGIN, Options::sealed(Keys::load(&self.keys(), None).unwrap())).unwrap()
    }

    /// One more run of a daemon.
    pub fn fill(&self) {
        let (mut journal, _) = self.open();
        journal.event(&admitted("m")).unwrap();
        journal.event(&started("1")).unwrap();
        journal.calls(&source("m"), &batch(0, 10)).unwrap();
        journal.flush().unwrap();
        journal.calls(&source("m"), &batch(10, 5)).unwrap();
        journal.event(&started("2")).unwrap();
        journal.close().unwrap();
    }

    /// The signed notes in `checkpoints`.
    pub fn checkpoints(&self) -> Vec<String> {
        notes(&fs::read_to_string(self.journal().join("checkpoints")).unwrap())
    }
}

/// The notes of a file, each with its last line feed.
pub fn notes(text: &str) -> Vec<String> {
    let parts: Vec<&str> = text.split("\n\n").filter(|part| !part.is_empty()).collect();
    parts.chunks(2).map(|pair| format!("{}\n\n{}\n", pair[0], pair[1])).collect()
}

pub fn copy_dir(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap().map(Result::unwrap) {
        if entry.file_type().unwrap().is_dir() {
            copy_dir(&entry.path(), &to.join(entry.file_name()));
        } else {
            fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
        }
    }
}

/// All files of a journal, by their path in it, without most of the zeros that segments are preallocated with.
#[derive(Clone)]
pub struct Image(pub BTreeMap<String, Vec<u8>>);

impl Image {
    pub fn of(journal: &Path) -> Self {
        let mut files = BTreeMap::new();
        for folder in ["", "s/", "d/", "sum/"] {
            for entry in
                fs::read_dir(journal.join(folder)).unwrap().map(Result::unwrap).filter(|entry| entry.file_type().unwrap().is_file())
            {
                let mut bytes = fs::read(entry.path()).unwrap();
                if !folder.is_empty() {
                    let used = bytes.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
                    bytes.truncate(used + 64);
                }
                files.insert(format!("{folder}{}", entry.file_name().to_str().unwrap()), bytes);
            }
        }
        Self(files)
    }

    pub fn restore(&self) -> TempDir {
        let to = tempfile::tempdir().unwrap();
        for tier in ["s", "d", "sum"] {
            fs::create_dir(to.path().join(tier)).unwrap();
        }
        for (path, bytes) in &self.0 {
            fs::write(to.path().join(path), bytes).unwrap();
        }
        to
    }

    /// The names of a tier's segments.
    pub fn segments(&self, tier: &str) -> Vec<String> {
        self.0.keys().filter(|name| name.starts_with(&format!("{tier}/"))).cloned().collect()
    }

    /// The whole frames of all segments: file, place, header.
    pub fn frames(&self) -> Vec<(String, usize, Header)> {
        let mut frames = Vec::new();
        for name in ["s", "d", "sum"].into_iter().flat_map(|tier| self.segments(tier)) {
            let mut at = 0;
            while let Ok(header) = frame::check(&self.0[&name][at..]) {
                frames.push((name.clone(), at, header));
                at += header.len();
            }
        }
        frames.sort_by_key(|(_, _, header)| header.frame_no);
        frames
    }

    pub fn frame(&self, number: u64) -> (String, usize, Header) {
        self.frames().into_iter().find(|(_, _, header)| header.frame_no == number).unwrap()
    }

    /// The bytes of a frame.
    pub fn bytes(&self, number: u64) -> Vec<u8> {
        let (name, at, header) = self.frame(number);
        self.0[&name][at..at + header.len()].to_vec()
    }

    /// Puts other bytes in a frame's place.
    pub fn splice(&mut self, number: u64, bytes: &[u8]) {
        let (name, at, header) = self.frame(number);
        self.0.get_mut(&name).unwrap().splice(at..at + header.len(), bytes.iter().copied());
    }

    /// Changes a frame's header and payload, with right checksums.
    pub fn reseal(&mut self, number: u64, change: impl FnOnce(&mut Header, &mut Vec<u8>)) {
        let bytes = self.bytes(number);
        let mut header = frame::check(&bytes).unwrap();
        let mut payload = bytes[frame::HEADER_LEN..].to_vec();
        change(&mut header, &mut payload);
        let mut out = Vec::new();
        header.seal(&payload, &mut out).unwrap();
        self.splice(number, &out);
    }

    /// Makes the leaf of a frame fit what is there.
    pub fn releaf(&mut self, number: u64) {
        let leaf = frame::leaf(&self.bytes(number));
        self.0.get_mut("leaves").unwrap()[number as usize * 32..][..32].copy_from_slice(&leaf);
    }

    /// The root over the first leaves, in base64: RFC 6962, section 2.1, word for word.
    pub fn root(&self, size: u64) -> String {
        fn tree(leaves: &[u8]) -> Vec<u8> {
            let count = leaves.len() / 32;
            if count == 1 {
                return leaves.to_vec();
            }
            let left = (1usize << (count - 1).ilog2()) * 32;
            let mut node = aws_lc_rs::digest::Context::new(&aws_lc_rs::digest::SHA256);
            [&[1], &*tree(&leaves[..left]), &tree(&leaves[left..])].iter().for_each(|part| node.update(part));
            node.finish().as_ref().to_vec()
        }
        base64::engine::general_purpose::STANDARD.encode(tree(&self.0["leaves"][..size as usize * 32]))
    }

    /// How many frames have leaves.
    pub fn count(&self) -> u64 {
        self.0["leaves"].len() as u64 / 32
    }

    /// Cuts everything from this frame on, leaves included.
    pub fn truncate(&mut self, number: u64) {
        for (name, at, header) in self.frames().into_iter().rev() {
            if header.frame_no >= number {
                self.0.get_mut(&name).unwrap().truncate(at);
            }
        }
        self.0.retain(|name, bytes| !name.starts_with(['s', 'd']) || !bytes.is_empty());
        self.0.get_mut("leaves").unwrap().truncate(number as usize * 32);
    }

    /// Keeps these checkpoints.
    pub fn keep_checkpoints(&mut self, keep: impl Fn(u64) -> bool) {
        let text = String::from_utf8(self.0["checkpoints"].clone()).unwrap();
        let size = |note: &str| note.lines().nth(1).unwrap().parse().unwrap();
        let kept: String = notes(&text).into_iter().filter(|note| keep(size(note))).map(|note| format!("{note}\n")).collect();
        self.0.insert("checkpoints".into(), kept.into_bytes());
    }
}
