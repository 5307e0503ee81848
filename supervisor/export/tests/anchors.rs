//! Checkpoints at a receiver: what the exporter hands over is in the receiver's copy, and tells of a journal that was cut, where the journal itself does not.
//!
//! Runs in: tests, with the real exporter and the real rsyslog, which the tests unpack for themselves.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]
#![forbid(unsafe_code)]

mod house;

use std::path::Path;

use edgeguard_audit::Checkpoint;
use edgeguard_audit::Note;
use edgeguard_audit::Trust;
use edgeguard_audit::Verdict;
use edgeguard_audit::Verification;
use edgeguard_audit::anchor;
use edgeguard_audit::anchor::Line;
use edgeguard_audit::verify_with;
use house::Certificates;
use house::House;
use house::install;
use house::lines_of;
use house::listens;
use house::port;
use house::rsyslog;
use house::skip;
use house::until;

/// The checkpoints among these lines.
fn checkpoints(lines: &[String]) -> Vec<(Checkpoint, Note)> {
    let one = |line: &String| match anchor::line(line) {
        Line::Checkpoint(checkpoint, note) => Some((checkpoint, note)),
        Line::Other => None,
        Line::Broken => panic!("not whole: {line}"),
    };
    lines.iter().filter_map(one).collect()
}

fn judged(journal: &Path, anchors: &[(Checkpoint, Note)]) -> Verification {
    let anchors = anchors.iter().map(|(_, note)| note.clone()).collect();
    verify_with(journal, &Trust { anchors, ..Trust::default() }, |_, _| {})
}

fn copy(from: &Path, to: &Path) {
    assert!(std::process::Command::new("cp").arg("-r").args([from, to]).status().unwrap().success());
}

fn out(house: &House) -> String {
    format!("[[file]]\nname = \"out\"\npath = \"{}\"\n", house.path("out").display())
}

#[test]
fn by_relp_the_receivers_copy_tells_of_a_journal_that_was_rolled_back() {
    if let Err(reason) = install::root() {
        return skip(&reason);
    }
    let (mut house, port) = (House::sealed(), port());
    Certificates::write(house.dir.path());
    house.write(300);
    house.close();
    copy(&house.path("audit"), &house.path("before"));
    house.reopen_sealed();
    house.write(300);
    house.close();
    let _rsyslog = rsyslog::start(&house, &rsyslog::configuration(&house, "relp.conf", port));
    listens(port);
    house.configure(&rsyslog::remote(&house, "relp", port));
    house.drain();
    let found = until("a checkpoint", || Some(checkpoints(&lines_of(&house.path("received")))).filter(|found| !found.is_empty()));
    let whole = judged(&house.path("audit"), &found);
    let (last, note) = found.last().unwrap();
    assert_eq!((&whole.verdict, whole.anchored), (&Verdict::Ok, last.size), "{whole:?}");
    // What was acknowledged is kept, as it was signed.
    assert_eq!(std::fs::read_to_string(house.path("state/siem.anchor")).unwrap(), note.to_string());
    assert_eq!(house.status()["sinks"][0]["checkpoint_frames"], last.size);
    // The journal of before: whole, sealed, and without what came after.
    std::fs::remove_dir_all(house.path("audit")).unwrap();
    copy(&house.path("before"), &house.path("audit"));
    assert_eq!(judged(&house.path("audit"), &[]).verdict, Verdict::Ok);
    let cut = judged(&house.path("audit"), &found);
    assert!(matches!(&cut.verdict, Verdict::Tampered { why, .. } if why.contains("the end is gone")), "{cut:?}");
}

#[test]
fn an_exporter_does_not_go_on_with_a_journal_that_its_receiver_knows_better() {
    let mut house = House::sealed();
    house.write(50);
    house.close();
    copy(&house.path("audit"), &house.path("before"));
    house.reopen_sealed();
    house.write(50);
    house.close();
    house.configure(&out(&house));
    house.drain();
    std::fs::remove_dir_all(house.path("audit")).unwrap();
    copy(&house.path("before"), &house.path("audit"));
    // The cursor is gone, as if the sink were new to this journal; what the receiver acknowledged is not.
    std::fs::remove_file(house.path("state/out.cursor")).unwrap();
    let output = house.exporter().arg("--drain").output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(7), "{said}");
    assert!(said.contains("the receiver has a checkpoint over"), "{said}");
    // Neither does it when the journal has grown on from there to more than it was.
    house.reopen_sealed();
    house.write(5000);
    house.close();
    assert_eq!(house.exporter().arg("--drain").output().unwrap().status.code(), Some(7));
}

#[test]
fn a_checkpoint_that_a_receiver_has_is_not_handed_over_again() {
    let mut house = House::sealed();
    house.write(50);
    house.close();
    house.configure(&out(&house));
    for _ in 0..3 {
        house.drain();
    }
    assert_eq!(checkpoints(&lines_of(&house.path("out"))).len(), 1);
    house.reopen_sealed();
    house.write(50);
    house.close();
    house.drain();
    let found = checkpoints(&lines_of(&house.path("out")));
    assert!(found.len() == 2 && found[0].0.size < found[1].0.size, "{found:?}");
    // A file of ours that is none is an error, and not a beginning.
    std::fs::write(house.path("state/out.anchor"), "gw\n1\n").unwrap();
    assert_eq!(house.exporter().arg("--drain").output().unwrap().status.code(), Some(1));
}
