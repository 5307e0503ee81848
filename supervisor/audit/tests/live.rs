//! A journal that is read while it is written: whoever looks, at whatever moment, is never told of damage that is not there.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod common;

use std::fs;
use std::io;
use std::path::Path;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::Mutex;

use common::*;
use edgeguard_audit::Event;
use edgeguard_audit::Journal;
use edgeguard_audit::Keys;
use edgeguard_audit::Observer;
use edgeguard_audit::Op;
use edgeguard_audit::Options;
use edgeguard_audit::Verdict;
use edgeguard_audit::read::Reader;
use edgeguard_audit::verify;

/// Looks at the journal before each change to its disk.
#[derive(Debug)]
struct Looker {
    dir: PathBuf,
    wrong: Mutex<Vec<String>>,
    looks: Mutex<usize>,
}

impl Observer for Looker {
    fn before(&self, op: Op<'_>) -> io::Result<()> {
        if !self.dir.join("leaves").exists() {
            return Ok(());
        }
        *self.looks.lock().unwrap() += 1;
        let found = verify(&self.dir, |_, _| {});
        if found.live && found.verdict != Verdict::Ok {
            self.wrong.lock().unwrap().push(format!("before {}: {:?}", name(&op), found.verdict));
        }
        // What a daemon that is killed now leaves behind: nobody holds the lock of a copy.
        let copy = tempfile::tempdir().unwrap();
        copy_all(&self.dir, copy.path());
        let found = verify(copy.path(), |_, _| {});
        assert!(!found.live);
        if !matches!(found.verdict, Verdict::Ok | Verdict::Incomplete { .. }) {
            self.wrong.lock().unwrap().push(format!("killed before {}: {:?}", name(&op), found.verdict));
        }
        let mut reader = Reader::open(&self.dir).unwrap();
        loop {
            match reader.next_frame() {
                Ok(Some(frame)) => drop(reader.decode(&frame).unwrap()),
                Ok(None) => return Ok(()),
                Err(error) => {
                    self.wrong.lock().unwrap().push(format!("read before {}: {error}", name(&op)));
                    return Ok(());
                }
            }
        }
    }
}

/// The change without its bytes.
fn name(op: &Op<'_>) -> String {
    format!("{op:?}").chars().take(120).collect()
}

fn copy_all(from: &Path, to: &Path) {
    for entry in fs::read_dir(from).unwrap().map(Result::unwrap) {
        let to = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            fs::create_dir(&to).unwrap();
            copy_all(&entry.path(), &to);
        } else {
            fs::copy(entry.path(), to).unwrap();
        }
    }
}

#[test]
fn a_journal_that_is_being_written_is_whole_before_each_change_to_its_disk() {
    let (root, keys) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let dir = root.path().join("audit");
    let looker = Arc::new(Looker { dir: dir.clone(), wrong: Mutex::default(), looks: Mutex::default() });
    for _ in 0..2 {
        let observer: Option<Arc<dyn Observer>> = Some(Arc::clone(&looker) as Arc<dyn Observer>);
        let options = Options { observer, ..Options::sealed(Keys::load(keys.path(), None).unwrap()) };
        let (mut journal, _) = Journal::open_with(&dir, "test", options).unwrap();
        for round in 0..2_u64 {
            for n in 0..3 {
                journal.calls(&source("a"), &[(record(round * 10 + n), None::<Vec<u8>>)]).unwrap();
                journal.event(&Event::ControlRefused { peer_uid: 1, what: "x".into() }).unwrap();
                journal.commit().unwrap();
            }
            // Long enough for an epoch to end, which a denial hurries.
            std::thread::sleep(std::time::Duration::from_millis(110));
            journal.flush().unwrap();
        }
        journal.close().unwrap();
    }
    let wrong = looker.wrong.lock().unwrap();
    assert!(*looker.looks.lock().unwrap() > 30);
    assert!(wrong.is_empty(), "{} times: {:#?}", wrong.len(), wrong.iter().take(5).collect::<Vec<_>>());
}
