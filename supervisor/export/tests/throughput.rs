//! How many entries a second the exporter hands over, beside how many the journal takes. Measures and prints; fails only if something is missing afterwards.
//!
//! Runs in: nothing by itself. `cargo test --release -p edgeguard-export --test throughput -- --ignored --nocapture`, with the real exporter and the real
//! rsyslog on this machine.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]
#![forbid(unsafe_code)]

mod house;

use std::time::Duration;
use std::time::Instant;

use edgeguard_audit::encode::Form;
use house::Certificates;
use house::House;
use house::install;
use house::lines_of;
use house::listens;
use house::port;
use house::rsyslog;
use house::until;

const CALLS: u64 = 200_000;

fn say(what: &str, entries: usize, took: Duration) {
    let seconds = took.as_secs_f64();
    println!("{what:<44} {:>9.0} entries/s  ({entries} entries in {seconds:.2} s)", entries as f64 / seconds);
}

#[test]
#[ignore = "it measures, for as long as that takes"]
fn entries_a_second_to_a_file_and_by_relp() {
    let mut house = House::sealed();
    let begun = Instant::now();
    house.write(CALLS);
    house.close();
    let took = begun.elapsed();
    let load = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    println!("{} processors, load {}", std::thread::available_parallelism().unwrap(), load.split(' ').next().unwrap_or("?"));
    let begun = Instant::now();
    let lines = house.lines(Form::default());
    let entries = lines.len();
    println!("{entries} lines, {} bytes each", lines.iter().map(String::len).sum::<usize>() / entries);
    say("the journal takes and seals", entries, took);
    say("decoded and encoded as OCSF 1.8, one thread", entries, begun.elapsed());

    house.configure(&format!("[[file]]\nname = \"file\"\npath = \"{}\"\n", house.path("out").display()));
    let begun = Instant::now();
    house.drain();
    say("[[file]], on the disk", entries, begun.elapsed());
    assert!(lines_of(&house.path("out")).len() > entries);

    install::root().unwrap();
    let port = port();
    Certificates::write(house.dir.path());
    let _rsyslog = rsyslog::start(&house, &rsyslog::configuration(&house, "relp.conf", port));
    listens(port);
    house.configure(&rsyslog::remote(&house, "relp", port));
    let begun = Instant::now();
    house.drain();
    say("[[relp]] over TLS to rsyslog on this machine", entries, begun.elapsed());
    until("all entries", || (lines_of(&house.path("received")).len() > entries).then_some(()));
}
