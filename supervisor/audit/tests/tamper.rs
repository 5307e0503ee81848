//! What somebody who can write the files may try, case by case: the verdict, and the frames that are not proven because of it. A verifier in another
//! language, written from `docs/journal.md` alone, must say the same of each.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod common;

use std::fs;
use std::path::Path;
use std::process::Command;

use aws_lc_rs::signature::Ed25519KeyPair;
use aws_lc_rs::signature::KeyPair as _;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use common::*;
use edgeguard_audit::Erase;
use edgeguard_audit::Journal;
use edgeguard_audit::Keys;
use edgeguard_audit::Note;
use edgeguard_audit::Options;
use edgeguard_audit::Trust;
use edgeguard_audit::Verdict;
use edgeguard_audit::VerifierKey;
use edgeguard_audit::frame::FrameType;
use edgeguard_audit::verify_with;

/// What must be said: a verdict and, for `tampered`, the frames that are not proven.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Said {
    Ok,
    Incomplete,
    Unreadable,
    Tampered(u64, u64),
}

struct Case {
    name: String,
    image: Image,
    said: Said,
    /// Checkpoints kept elsewhere.
    anchors: Vec<String>,
    /// The identity key is another.
    key: Option<String>,
}

struct Cases {
    /// Two runs: frames 0 to 12 in epoch 1, 13 to 24 in epoch 2, all sealed.
    base: Image,
    key: String,
    cases: Vec<Case>,
}

impl Cases {
    fn add(&mut self, name: &str, said: Said, change: impl FnOnce(&mut Image)) -> &mut Case {
        let mut image = self.base.clone();
        change(&mut image);
        self.case(name, said, image)
    }

    fn case(&mut self, name: &str, said: Said, image: Image) -> &mut Case {
        self.cases.push(Case { name: name.into(), image, said, anchors: Vec::new(), key: None });
        self.cases.last_mut().unwrap()
    }
}

fn said(verdict: &Verdict) -> Said {
    match verdict {
        Verdict::Ok => Said::Ok,
        Verdict::Incomplete { .. } => Said::Incomplete,
        Verdict::Unreadable { .. } => Said::Unreadable,
        Verdict::Tampered { from, to, .. } => Said::Tampered(*from, *to),
    }
}

fn number_of(image: &Image, kind: FrameType, which: usize) -> u64 {
    image.frames().iter().filter(|(_, _, header)| header.kind == kind).nth(which).unwrap().2.frame_no
}

/// Every case but those that need a journal of their own.
fn cases() -> Cases {
    let house = House::sealed();
    let first_run = Image::of(&house.journal());
    let first_checkpoint = house.checkpoints().pop().unwrap();
    house.fill();
    let base = Image::of(&house.journal());
    let last_checkpoint = house.checkpoints().pop().unwrap();
    let key = edgeguard_audit::verify(&house.journal(), |_, _| {}).identity;
    let end = base.count();
    let (one, two) = (first_run.count(), number_of(&base, FrameType::Epoch, 1));
    assert_eq!((one, end, two), (13, 25, 14), "the cases below name frames by number");
    let mut c = Cases { base: base.clone(), key, cases: Vec::new() };

    // Nothing, and what is no tampering.
    c.add("nothing", Said::Ok, |_| {});
    c.add("nothing, with anchors", Said::Ok, |_| {}).anchors = vec![first_checkpoint.clone(), last_checkpoint.clone()];
    c.add("zeros behind the last frame", Said::Ok, |image| image.0.get_mut("s/seg-0000000000000000.egl").unwrap().extend([0; 512]));

    // One frame.
    let bit = |image: &mut Image, number: u64, at: usize| {
        let mut bytes = image.bytes(number);
        bytes[at] ^= 1;
        image.splice(number, &bytes);
    };
    c.add("a bit of a payload", Said::Tampered(3, 4), |image| bit(image, 3, 70));
    c.add("a bit of a header", Said::Tampered(3, 4), |image| bit(image, 3, 30));
    c.add("a bit of calls", Said::Tampered(6, 7), |image| bit(image, 6, 70));
    let edit = |_: &mut edgeguard_audit::frame::Header, payload: &mut Vec<u8>| {
        let text = String::from_utf8(payload.clone()).unwrap();
        *payload = text.replace("\"module\":\"m\"", "\"module\":\"n\"").into_bytes();
        assert_ne!(*payload, text.as_bytes());
    };
    c.add("an edit with right checksums", Said::Tampered(3, 4), |image| image.reseal(3, edit));
    c.add("an edit with right checksums and leaf, before an epoch", Said::Tampered(2, 14), |image| {
        image.reseal(3, edit);
        image.releaf(3);
    });
    c.add("an edit with right checksums and leaf, in the last epoch", Said::Tampered(15, end), |image| {
        image.reseal(16, edit);
        image.releaf(16);
        image.keep_checkpoints(|size| size == 15 || size == end);
    });
    c.add("only a header, with right checksum", Said::Tampered(3, 4), |image| image.reseal(3, |header, _| header.t0_real += 1));
    c.add("only a header, with right checksum and leaf", Said::Tampered(2, 14), |image| {
        image.reseal(3, |header, _| header.t0_real += 1);
        image.releaf(3);
    });
    c.add("a leaf", Said::Tampered(4, 5), |image| image.0.get_mut("leaves").unwrap()[4 * 32] ^= 1);
    c.add("two leaves swapped", Said::Tampered(4, 5), |image| {
        let leaves = image.0.get_mut("leaves").unwrap();
        let (a, b): (Vec<u8>, Vec<u8>) = (leaves[128..160].into(), leaves[160..192].into());
        leaves[128..160].copy_from_slice(&b);
        leaves[160..192].copy_from_slice(&a);
    });
    c.add("a node in place of two leaves", Said::Tampered(0, 1), |image| {
        // The root over frames 0 and 1, where leaf 0 was: a tree without a difference between leaves and nodes would not notice.
        let leaves = image.0.get_mut("leaves").unwrap();
        let pair: Vec<u8> = leaves[..64].into();
        let mut node = aws_lc_rs::digest::Context::new(&aws_lc_rs::digest::SHA256);
        node.update(&[1]);
        node.update(&pair);
        let node = node.finish();
        leaves.splice(..64, node.as_ref().iter().copied());
    });

    // Frames and their order.
    let drop_frame = |image: &mut Image, number: u64| image.splice(number, &[]);
    c.add("a frame deleted", Said::Tampered(3, 4), |image| drop_frame(image, 3));
    c.add("a frame of calls deleted", Said::Tampered(6, 7), |image| drop_frame(image, 6));
    c.add("a frame doubled", Said::Tampered(4, 5), |image| {
        let bytes = image.bytes(3);
        image.splice(3, &[bytes.clone(), bytes].concat());
    });
    c.add("two frames swapped", Said::Tampered(2, 3), |image| {
        let (a, b) = (image.bytes(2), image.bytes(3));
        let (name, at, _) = image.frame(2);
        image.0.get_mut(&name).unwrap().splice(at..at + a.len() + b.len(), [b, a].concat());
    });
    c.add("a number changed", Said::Tampered(3, 4), |image| image.reseal(3, |header, _| header.frame_no = 40));
    c.add("a sequence number changed, with leaf", Said::Tampered(3, 4), |image| {
        image.reseal(3, |header, _| header.first_seq += 1);
        image.releaf(3);
    });
    c.add("a frame of a future epoch, with leaf", Said::Tampered(4, 5), |image| {
        image.reseal(4, |header, _| header.epoch = 9);
        image.releaf(4);
    });
    c.add("another first frame", Said::Tampered(0, 2), |image| {
        image.reseal(0, |_, payload| *payload = br#"{"origin":"other"}"#.to_vec());
        image.releaf(0);
        // The start refers to it, so that goes along.
        let head = hex::encode(&image.0["leaves"][..32]);
        image.reseal(1, |_, payload| {
            let text = String::from_utf8(payload.clone()).unwrap();
            let at = text.find("\"head\":\"").unwrap() + 8;
            *payload = format!("{}{head}{}", &text[..at], &text[at + 64..]).into_bytes();
        });
        image.releaf(1);
    });
    c.add("a start written behind another frame", Said::Tampered(13, 14), |image| {
        image.reseal(13, |_, payload| {
            let text = String::from_utf8(payload.clone()).unwrap();
            let at = text.find("\"head\":\"").unwrap() + 8;
            *payload = format!("{}{}{}", &text[..at], "0".repeat(64), &text[at + 64..]).into_bytes();
        });
        image.releaf(13);
    });
    c.add("the start removed from the end", Said::Tampered(13, 14), |image| drop_frame(image, 13));

    // Segments and files.
    c.add("the segment of calls deleted", Said::Tampered(5, 6), |image| {
        let name = image.segments("d").remove(0);
        image.0.remove(&name);
    });
    c.add("the segment of events deleted", Said::Tampered(0, 1), |image| {
        image.0.remove("s/seg-0000000000000000.egl");
    });
    c.add("two segments swapped", Said::Tampered(5, 6), |image| {
        let names = image.segments("d");
        let (a, b) = (image.0[&names[0]].clone(), image.0[&names[1]].clone());
        image.0.insert(names[0].clone(), b);
        image.0.insert(names[1].clone(), a);
    });
    c.add("no leaves", Said::Unreadable, |image| {
        image.0.remove("leaves");
    });
    c.add("everything emptied", Said::Incomplete, |image| {
        image.0.retain(|name, _| name == "leaves");
        image.0.get_mut("leaves").unwrap().clear();
    });

    // The end.
    c.add("the last frame torn, its leaf gone, its seal kept", Said::Tampered(end - 1, end), |image| {
        let (name, at, _) = image.frame(end - 1);
        image.0.get_mut(&name).unwrap().truncate(at + 20);
        image.0.get_mut("leaves").unwrap().truncate((end as usize - 1) * 32);
    });
    c.add("the last frame torn, leaf and seal gone", Said::Incomplete, |image| {
        let (name, at, _) = image.frame(end - 1);
        image.0.get_mut(&name).unwrap().truncate(at + 20);
        image.0.get_mut("leaves").unwrap().truncate((end as usize - 1) * 32);
        image.keep_checkpoints(|size| size < end);
    });
    c.add("half a checkpoint", Said::Incomplete, |image| {
        let checkpoints = image.0.get_mut("checkpoints").unwrap();
        checkpoints.truncate(checkpoints.len() - 30);
    });
    c.add("the end cut off, seals kept", Said::Tampered(20, end), |image| {
        image.truncate(20);
        image.keep_checkpoints(|size| size == end);
    });
    // The epoch that the checkpoint is of is not in the files any more.
    c.add("the end cut off at an epoch, seals kept", Said::Tampered(2, 13), |image| {
        image.truncate(13);
        image.keep_checkpoints(|size| size == end);
    });
    // From files alone, these cannot be told from a journal that ends there; what is known elsewhere can.
    c.case("an older copy of everything", Said::Ok, first_run.clone());
    c.case("an older copy of everything, with an anchor", Said::Tampered(13, end), first_run.clone()).anchors =
        vec![last_checkpoint.clone()];
    let cut_in_epoch = |image: &mut Image| {
        image.truncate(20);
        image.keep_checkpoints(|size| size <= 20);
    };
    c.add("the end cut off within the epoch, with its seals", Said::Ok, cut_in_epoch);
    c.add("the end cut off within the epoch, with its seals, with an anchor", Said::Tampered(20, end), cut_in_epoch).anchors =
        vec![last_checkpoint.clone()];

    // Seals.
    c.add("no checkpoints", Said::Tampered(14, end), |image| {
        image.0.remove("checkpoints");
    });
    c.add("checkpoints emptied", Said::Tampered(14, end), |image| image.0.get_mut("checkpoints").unwrap().clear());
    c.add("a signature of a checkpoint changed", Said::Tampered(15, end), |image| {
        image.keep_checkpoints(|size| size == 15 || size == end);
        let checkpoints = image.0.get_mut("checkpoints").unwrap();
        let at = checkpoints.len() - 20;
        checkpoints[at] = if checkpoints[at] == b'A' { b'B' } else { b'A' };
    });
    c.add("a checkpoint over another size", Said::Tampered(15, end), |image| {
        image.keep_checkpoints(|size| size == 15 || size == end);
        let text = String::from_utf8(image.0["checkpoints"].clone()).unwrap();
        image.0.insert("checkpoints".into(), text.replace("\n25\n", "\n24\n").into_bytes());
    });
    c.add("checkpoints in another order", Said::Tampered(end, end), |image| {
        image.keep_checkpoints(|size| size == 15 || size == end);
        let mut all = notes(&String::from_utf8(image.0["checkpoints"].clone()).unwrap());
        all.reverse();
        image.0.insert("checkpoints".into(), all.iter().map(|note| format!("{note}\n")).collect::<String>().into_bytes());
    });
    c.add("an older epoch's checkpoint behind the others", Said::Tampered(end, end), |image| {
        image.0.get_mut("checkpoints").unwrap().extend(format!("{first_checkpoint}\n").bytes());
    });
    c.add("a certificate with one letter changed, with leaf", Said::Tampered(2, 15), |image| {
        image.reseal(14, |_, payload| {
            let at = payload.len() - 20;
            payload[at] = if payload[at] == b'A' { b'B' } else { b'A' };
        });
        image.releaf(14);
    });

    // Other journals.
    let other = House::sealed();
    other.fill();
    let foreign = Image::of(&other.journal());
    let foreign_note = other.checkpoints().pop().unwrap();
    c.case("another journal in its place", Said::Tampered(0, 3), foreign.clone());
    c.case("another journal in its place, its own key", Said::Ok, foreign.clone()).key =
        Some(edgeguard_audit::verify(&other.journal(), |_, _| {}).identity);
    c.add("another journal's checkpoints", Said::Tampered(14, end), |image| {
        image.0.insert("checkpoints".into(), foreign.0["checkpoints"].clone());
    });
    c.add("another journal's anchor", Said::Tampered(0, end), |_| {}).anchors = vec![foreign_note];
    c.add("another journal's certificate", Said::Tampered(2, 15), |image| {
        let frame = foreign.bytes(14);
        image.splice(14, &frame);
        image.releaf(14);
    });
    c.add("another journal's calls", Said::Tampered(5, 6), |image| {
        let frame = foreign.bytes(5);
        image.splice(5, &frame);
    });

    // Whoever has taken the keys as they were in epoch 2.
    let thief = Thief::of(&house);
    c.add("the past rewritten, and certified with the epoch's key", Said::Tampered(2, 15), |image| {
        image.reseal(3, edit);
        image.releaf(3);
        let root = image.root(14);
        image.reseal(14, |_, payload| {
            let text = String::from_utf8(payload.clone()).unwrap();
            let lines: Vec<&str> = text.lines().take(6).collect();
            *payload = thief.sign(&format!("{}\n{root}\n", lines.join("\n")), 1).into_bytes();
        });
        image.releaf(14);
    });
    c.add("the next key exchanged, certified with the identity key and the epoch's own", Said::Tampered(2, 15), |image| {
        image.reseal(14, |_, payload| {
            let text = String::from_utf8(payload.clone()).unwrap();
            let (text, _) = text.split_once("\n\n").unwrap();
            let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
            lines[3] = lines[4].clone();
            *payload = thief.sign(&format!("{}\n", lines.join("\n")), 1).into_bytes();
        });
        image.releaf(14);
    });
    let rewrite = |image: &mut Image| {
        image.reseal(16, edit);
        image.releaf(16);
        let text = format!("{ORIGIN}\n{end}\n{}\n", image.root(end));
        image.0.insert("checkpoints".into(), format!("{}\n", thief.sign(&text, 2)).into_bytes());
    };
    // This is what the epoch's length stands for.
    c.add("the epoch rewritten with its own key", Said::Ok, rewrite);
    c.add("the epoch rewritten with its own key, with an anchor", Said::Tampered(0, end), rewrite).anchors = vec![last_checkpoint.clone()];

    // Deletion, bombs.
    c.add("a deletion that nobody signed", Said::Tampered(0, end + 1), |image| {
        let name = image.segments("d").remove(0);
        let payload = format!(r#"{{"segment":"{name}","frames":[[5,4]],"first_seq":0,"next_seq":15,"bytes":1}}"#);
        image.0.remove(&name);
        append(image, FrameType::Retention, payload.as_bytes());
    });
    c.add("a deletion that says too little", Said::Tampered(8, 9), |image| {
        let name = image.segments("d").remove(0);
        let payload = format!(r#"{{"segment":"{name}","frames":[[5,3]],"first_seq":0,"next_seq":15,"bytes":1}}"#);
        image.0.remove(&name);
        append(image, FrameType::Retention, payload.as_bytes());
    });
    // Counts. The second run's are frames 22 and 23: from call 15 on, 15 calls, of a second each, and one by one too.
    let counts = |image: &mut Image, at: usize, expected: u8, now: u8| {
        image.reseal(23, |_, payload| {
            assert_eq!(payload[at], expected);
            payload[at] = now;
        });
        image.releaf(23);
    };
    c.add("counts of calls that were counted before, with leaf", Said::Tampered(23, 24), |image| counts(image, 0, 15, 14));
    c.add("counts that leave calls out, with leaf", Said::Tampered(23, 24), |image| counts(image, 0, 15, 16));
    c.add("counts of more calls than there are, with leaf", Said::Tampered(23, 24), |image| counts(image, 1, 15, 16));
    c.add("counts of a time that no window has, with leaf", Said::Tampered(23, 24), |image| counts(image, 2, 1, 7));
    c.add("counts that say their calls are nowhere else, with leaf", Said::Tampered(23, 24), |image| counts(image, 3, 0, 1));
    c.add("a frame of counts deleted", Said::Tampered(23, 24), |image| drop_frame(image, 23));
    c.add("a frame of counts that counts nothing, with leaf", Said::Tampered(24, 25), |image| {
        image.reseal(23, |header, payload| {
            (header.kind, header.flags, header.n) = (FrameType::Dict, 0, 0);
            payload.clear();
        });
        image.releaf(23);
    });
    c.add("a segment of counts deleted", Said::Tampered(10, 11), |image| {
        let name = image.segments("sum").remove(0);
        image.0.remove(&name);
    });
    c.add("a deletion of counts that nobody signed", Said::Tampered(0, end + 1), |image| {
        let name = image.segments("sum").remove(0);
        let rows = image.frame(11).2.n;
        let payload = format!(r#"{{"segment":"{name}","frames":[[10,2]],"first_seq":0,"next_seq":{rows},"bytes":1,"counted":[0,15]}}"#);
        image.0.remove(&name);
        append(image, FrameType::Retention, payload.as_bytes());
    });
    c.add("a deletion of calls that are not counted", Said::Tampered(end, end + 1), |image| {
        let name = image.segments("d").remove(1);
        let payload = format!(r#"{{"segment":"{name}","frames":[[17,4]],"first_seq":15,"next_seq":31,"bytes":1}}"#);
        append(image, FrameType::Retention, payload.as_bytes());
    });
    let old = crowded();
    let (image, key) = (Image::of(&old.journal()), edgeguard_audit::verify(&old.journal(), |_, _| {}).identity);
    c.case("counts and calls deleted in order, some only counted", Said::Ok, image).key = Some(key);
    let foreign_anchor = other.checkpoints().pop().unwrap();
    c.add("an anchor of another journal among the frames", Said::Tampered(0, end + 1), |image| {
        append(image, FrameType::Anchor, foreign_anchor.as_bytes());
    });
    let own_anchor = first_checkpoint.clone();
    c.add("an anchor of its own among the frames", Said::Ok, |image| append(image, FrameType::Anchor, own_anchor.as_bytes()));
    c.add("strings exchanged", Said::Tampered(5, 6), |image| {
        image.reseal(5, |_, bytes| *bytes = b"\x02\x01x".to_vec());
    });
    // Names. Those of the first run's calls are in frame 5; neither its checksum nor its leaf covers them.
    c.add("a name changed", Said::Tampered(5, 6), |image| {
        let mut bytes = image.bytes(5);
        *bytes.last_mut().unwrap() ^= 1;
        assert!(edgeguard_audit::frame::check(&bytes).is_ok());
        image.splice(5, &bytes);
    });
    let blank = |image: &mut Image| {
        let mut bytes = image.bytes(5);
        let name = bytes.windows(12).rposition(|part| part == b"/audio/0.wav").unwrap();
        bytes[name - 16..name + 12].fill(0);
        image.splice(5, &bytes);
    };
    c.add("a name erased, and no frame says so", Said::Tampered(5, 6), blank);
    c.add("a name erased, as a frame says that nobody sealed", Said::Tampered(5, 6), |image| {
        blank(image);
        append(image, FrameType::Erasure, br#"{"reason":"","by":0,"names":[[5,[0,1,2,3,4,5,6,7,8,9]]]}"#);
    });
    c.add("a hash of a name changed, with leaf", Said::Tampered(5, 6), |image| {
        image.reseal(5, |_, bytes| {
            let name = bytes.windows(12).rposition(|part| part == b"/audio/0.wav").unwrap();
            bytes[name - 48] ^= 1;
        });
        image.releaf(5);
    });
    let erased = House::sealed();
    let (mut journal, _) = erased.open();
    let gone = journal.erase(&Erase { names: vec!["/audio/0.wav".into()], under: Vec::new() }, "asked for", 0, false).unwrap();
    assert_eq!((gone.names, gone.segments), (2, 2), "among the calls, and among the counts");
    journal.close().unwrap();
    let (image, key) = (Image::of(&erased.journal()), edgeguard_audit::verify(&erased.journal(), |_, _| {}).identity);
    assert!(!image.0.values().any(|file| file.windows(12).any(|part| part == b"/audio/0.wav")));
    c.case("a name erased in order", Said::Ok, image.clone()).key = Some(key.clone());
    let other_erased = number_of(&image, FrameType::Erasure, 0);
    let mut said_of_another = image;
    said_of_another.reseal(other_erased, |_, payload| *payload = br#"{"reason":"asked for","by":0,"names":[[5,[1]]]}"#.to_vec());
    said_of_another.releaf(other_erased);
    c.case("another name erased than was said", Said::Tampered(5, 6), said_of_another).key = Some(key);
    c.add("a payload that would fill the memory", Said::Tampered(6, 7), |image| {
        image.reseal(6, |_, bytes| *bytes = zstd::bulk::compress(&vec![0; 64 << 20], 1).unwrap());
    });
    c
}

/// A journal whose budget is much too small: calls and counts were deleted in order.
fn crowded() -> House {
    let house = House::new();
    for round in 0..30u64 {
        let keys = Keys::load(&house.keys(), None).unwrap();
        let options = Options { budget: Some(64 << 10), ..Options::sealed(keys) };
        let (mut journal, _) = Journal::open_with(&house.journal(), ORIGIN, options).unwrap();
        journal.set_detail(round % 3 != 1);
        for part in 0..4 {
            journal.calls(&source("m"), &batch(round * 400 + part * 100, 100)).unwrap();
        }
        journal.flush().unwrap();
        journal.close().unwrap();
    }
    house
}

/// Whoever has copied the key files.
struct Thief {
    identity: Ed25519KeyPair,
    epoch: Ed25519KeyPair,
}

impl Thief {
    fn of(house: &House) -> Self {
        let pem = fs::read_to_string(house.keys().join("identity.key")).unwrap();
        let der = STANDARD.decode(pem.lines().filter(|line| !line.starts_with('-')).collect::<String>()).unwrap();
        // Epoch 2 is in the first of two slots: magic, identity, epoch, then its seed.
        let slots = fs::read(house.keys().join("epoch.key")).unwrap();
        assert_eq!(slots[36..40], 2u32.to_le_bytes());
        Self { identity: Ed25519KeyPair::from_pkcs8(&der).unwrap(), epoch: Ed25519KeyPair::from_seed_unchecked(&slots[40..72]).unwrap() }
    }

    /// A note with both keys, the epoch's as that of the epoch that is named.
    fn sign(&self, text: &str, epoch: u32) -> String {
        let line = |name: &str, key: &Ed25519KeyPair| {
            let mut id = aws_lc_rs::digest::Context::new(&aws_lc_rs::digest::SHA256);
            [name.as_bytes(), b"\n\x01", key.public_key().as_ref()].iter().for_each(|part| id.update(part));
            let bytes = [&id.finish().as_ref()[..4], key.sign(text.as_bytes()).as_ref()].concat();
            format!("— {name} {}\n", STANDARD.encode(bytes))
        };
        format!("{text}\n{}{}", line(ORIGIN, &self.identity), line(&format!("{ORIGIN}/e{epoch}"), &self.epoch))
    }
}

/// Appends a frame to the events as whoever has no key can: with right checksums and its leaf.
fn append(image: &mut Image, kind: FrameType, payload: &[u8]) {
    let number = image.count();
    let last = image.frames().into_iter().rfind(|(name, ..)| name.starts_with('s')).unwrap();
    let mut header = last.2;
    header.frame_no = number;
    header.kind = kind;
    header.first_seq += u64::from(header.n);
    header.n = 0;
    let mut frame = Vec::new();
    header.seal(payload, &mut frame).unwrap();
    let end = last.1 + last.2.len();
    let bytes = image.0.get_mut(&last.0).unwrap();
    bytes.truncate(end);
    bytes.extend_from_slice(&frame);
    let leaf = edgeguard_audit::frame::leaf(&frame);
    image.0.get_mut("leaves").unwrap().extend_from_slice(&leaf);
}

#[test]
fn counts_that_were_signed_and_are_wrong_show_while_their_calls_are_there() {
    let house = House::sealed();
    house.fill();
    let thief = Thief::of(&house);
    let mut image = Image::of(&house.journal());
    let (end, number) = (image.count(), number_of(&image, FrameType::Summary, 1));
    image.reseal(number, |_, payload| {
        // The last byte is the last row's time of its last call.
        let mut columns = zstd::bulk::decompress(&payload[4..], 1 << 20).unwrap();
        *columns.last_mut().unwrap() += 1;
        payload.truncate(4);
        payload.extend(zstd::bulk::compress(&columns, 1).unwrap());
    });
    image.releaf(number);
    let text = format!("{ORIGIN}\n{end}\n{}\n", image.root(end));
    image.0.insert("checkpoints".into(), format!("{}\n", thief.sign(&text, 2)).into_bytes());
    let dir = image.restore();
    let verdict = |contents| said(&verify_with(dir.path(), &Trust { contents, ..Trust::default() }, |_, _| {}).verdict);
    assert_eq!((verdict(false), verdict(true)), (Said::Ok, Said::Tampered(number, number + 1)));
}

#[test]
fn every_case_gets_its_verdict_and_its_range() {
    let Cases { key, cases, .. } = cases();
    let mut wrong = Vec::new();
    for case in &cases {
        let dir = case.image.restore();
        let identity: VerifierKey = case.key.as_ref().unwrap_or(&key).parse().unwrap();
        let anchors = case.anchors.iter().map(|note| Note::parse(note).unwrap()).collect();
        let trust = Trust { identity: Some(identity), anchors, ..Trust::default() };
        // Whether seals are believed for what they are over, or every call is read: nobody here has signed what is wrong.
        for contents in [false, true] {
            let found = verify_with(dir.path(), &Trust { contents, ..trust.clone() }, |_, _| {});
            if said(&found.verdict) != case.said {
                wrong.push(format!("{} (contents: {contents}): expected {:?}, found {:?}", case.name, case.said, found.verdict));
            }
        }
    }
    assert!(wrong.is_empty(), "{} of {}:\n{}", wrong.len(), cases.len(), wrong.join("\n"));
    assert!(cases.len() >= 45, "{}", cases.len());
}

#[test]
fn a_second_verifier_says_the_same() {
    let python = std::env::var_os("EDGEGUARD_TEST_PYTHON").unwrap_or_else(|| "python3".into());
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/independent/verify_journal.py");
    if !Command::new(&python).arg("--version").output().is_ok_and(|output| output.status.success()) {
        assert!(std::env::var_os("CI").is_none(), "no Python");
        eprintln!("skipped: no Python; EDGEGUARD_TEST_PYTHON names one");
        return;
    }
    let Cases { key, cases, .. } = cases();
    let work = tempfile::tempdir().unwrap();
    let mut arguments = Vec::new();
    let mut dirs = Vec::new();
    for (at, case) in cases.iter().enumerate() {
        let dir = case.image.restore();
        let anchors = work.path().join(format!("{at}.anchors"));
        fs::write(&anchors, case.anchors.join("\n")).unwrap();
        arguments.push(format!("{}\t{}\t{}", dir.path().display(), case.key.as_ref().unwrap_or(&key), anchors.display()));
        dirs.push(dir);
    }
    let list = work.path().join("list");
    fs::write(&list, arguments.join("\n")).unwrap();
    let output = Command::new(&python).arg(script).arg("--list").arg(&list).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let lines: Vec<String> = String::from_utf8(output.stdout).unwrap().lines().map(str::to_owned).collect();
    assert_eq!(lines.len(), cases.len());
    let mut wrong = Vec::new();
    for (case, line) in cases.iter().zip(&lines) {
        let words: Vec<&str> = line.split(' ').collect();
        let number = |at: usize| words[at].parse().unwrap();
        let found = match words[0] {
            "ok" => Said::Ok,
            "incomplete" => Said::Incomplete,
            "unreadable" => Said::Unreadable,
            _ => Said::Tampered(number(1), number(2)),
        };
        if found != case.said {
            wrong.push(format!("{}: expected {:?}, found {line}", case.name, case.said));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
