//! Checkpoints that witnesses have signed too (c2sp.org/tlog-cosignature): how many of whom, and when.
//!
//! Runs in: tests. The witnesses sign here by the written format alone.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod common;

use aws_lc_rs::digest;
use aws_lc_rs::signature::Ed25519KeyPair;
use aws_lc_rs::signature::KeyPair as _;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use common::*;
use edgeguard_audit::Assurance;
use edgeguard_audit::Note;
use edgeguard_audit::Trust;
use edgeguard_audit::Verdict;
use edgeguard_audit::Verification;
use edgeguard_audit::VerifierKey;
use edgeguard_audit::verify_with;

struct Witness {
    name: &'static str,
    pair: Ed25519KeyPair,
}

impl Witness {
    fn new(name: &'static str, seed: u8) -> Self {
        Self { name, pair: Ed25519KeyPair::from_seed_unchecked(&[seed; 32]).unwrap() }
    }

    fn id(&self) -> Vec<u8> {
        let bytes = [self.name.as_bytes(), b"\n\x04", self.pair.public_key().as_ref()].concat();
        digest::digest(&digest::SHA256, &bytes).as_ref()[..4].to_vec()
    }

    fn key(&self) -> VerifierKey {
        let key = STANDARD.encode([&[4], self.pair.public_key().as_ref()].concat());
        format!("{}+{}+{key}", self.name, hex::encode(self.id())).parse().unwrap()
    }

    /// The line that a witness answers with.
    fn line(&self, note: &str, time: u64) -> String {
        let text = note.split_inclusive("\n\n").next().unwrap().strip_suffix('\n').unwrap();
        let signature = self.pair.sign(format!("cosignature/v1\ntime {time}\n{text}").as_bytes());
        let bytes = [&self.id()[..], &time.to_be_bytes(), signature.as_ref()].concat();
        format!("— {} {}\n", self.name, STANDARD.encode(bytes))
    }
}

fn held(house: &House, note: &str, witnesses: &[&Witness], threshold: usize) -> Verification {
    let witnesses = witnesses.iter().map(|witness| witness.key()).collect();
    let trust = Trust { anchors: vec![Note::parse(note).unwrap()], witnesses, threshold, ..Trust::default() };
    verify_with(&house.journal(), &trust, |_, _| {})
}

#[test]
fn a_checkpoint_anchors_only_when_enough_different_witnesses_have_signed_it() {
    let house = House::sealed();
    let note = house.checkpoints().pop().unwrap();
    let [a, b, c] = [Witness::new("a.example", 1), Witness::new("b.example", 2), Witness::new("c.example", 3)];
    let by_one = format!("{note}{}", a.line(&note, 1_760_000_000));
    let by_two = format!("{by_one}{}", b.line(&note, 1_760_000_100));
    for (note, threshold, expected) in [
        (&note, 0, Assurance::Anchored),
        (&note, 1, Assurance::Unanchored),
        (&by_one, 1, Assurance::Anchored),
        (&by_one, 2, Assurance::Unanchored),
        (&by_two, 2, Assurance::Anchored),
        (&by_two, 3, Assurance::Unanchored),
    ] {
        let found = held(&house, note, &[&a, &b, &c], threshold);
        assert_eq!((&found.verdict, found.assurance), (&Verdict::Ok, expected), "{threshold}: {found:?}");
    }
    let found = held(&house, &by_two, &[&a, &b, &c], 2);
    let names = [("a.example".to_owned(), 1_760_000_000), ("b.example".to_owned(), 1_760_000_100)];
    assert_eq!((found.anchors.len(), &found.anchors[0].witnesses[..], found.anchors[0].frames), (1, &names[..], found.anchored));
    // The same key by two names is one witness, and who is not trusted is none.
    let again = Witness::new("again.example", 1);
    let twice = format!("{by_one}{}", again.line(&note, 1_760_000_000));
    assert_eq!(held(&house, &twice, &[&a, &again], 2).assurance, Assurance::Unanchored);
    assert_eq!(held(&house, &by_two, &[&c], 1).assurance, Assurance::Unanchored);
}

#[test]
fn a_witness_that_did_not_sign_this_is_tampering() {
    let house = House::sealed();
    let notes = house.checkpoints();
    let [first, last] = [notes.first().unwrap(), notes.last().unwrap()];
    let a = Witness::new("a.example", 1);
    // The line of another text, and a time that is not the one that was signed.
    let of_another = if first == last { first.replace('\n', "x\n") } else { first.clone() };
    let borrowed = format!("{last}{}", a.line(&of_another, 1));
    let found = held(&house, &borrowed, &[&a], 1);
    assert!(
        matches!(&found.verdict, Verdict::Tampered { place, why, .. } if place == "the anchor" && why.contains("a.example")),
        "{found:?}"
    );
    // Another history, however many have signed it.
    let other = House::sealed();
    let foreign = other.checkpoints().pop().unwrap();
    let signed = format!("{foreign}{}", a.line(&foreign, 1));
    assert!(matches!(held(&house, &signed, &[&a], 1).verdict, Verdict::Tampered { .. }));
}

#[test]
fn a_checkpoint_in_the_journal_itself_needs_a_witness_always() {
    let house = House::sealed();
    let note = house.checkpoints().pop().unwrap();
    let a = Witness::new("a.example", 1);
    let (mut journal, _) = house.open();
    journal.anchor(&format!("{note}{}", a.line(&note, 7))).unwrap();
    journal.close().unwrap();
    let found = |witnesses: Vec<VerifierKey>, threshold| {
        verify_with(&house.journal(), &Trust { witnesses, threshold, ..Trust::default() }, |_, _| {}).assurance
    };
    assert_eq!(found(Vec::new(), 0), Assurance::Unanchored);
    assert_eq!(found(vec![a.key()], 0), Assurance::Anchored);
    assert_eq!(found(vec![a.key()], 2), Assurance::Unanchored);
}
