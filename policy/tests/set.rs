//! Policies of one directory held against each other: what one module's grants reach of another's.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod common;

use edgeguard_policy::Code;
use edgeguard_policy::Code::*;
use edgeguard_policy::Policy;
use edgeguard_policy::check_names;
use edgeguard_policy::check_set;
use edgeguard_policy::parse;

/// A module with files of its own, and these directories.
fn module(name: &str, dirs: &[(&str, &str)]) -> Policy {
    let own = |text: &str| text.replace("voice-gate", name).replace("acme", name).replace("silero_vad", name);
    let base = own(common::BASE).replace("[[dir]]\nguest = \"/audio\"\nhost = \"/var/lib/gateway/audio\"\naccess = \"read\"\n", "");
    let grants: String = dirs
        .iter()
        .enumerate()
        .map(|(i, (host, access))| format!("[[dir]]\nguest = \"/d{i}\"\nhost = \"{host}\"\naccess = \"{access}\"\n\n"))
        .collect();
    let text = base.replace("[limits]", &format!("{grants}[limits]"));
    parse(&format!("{name}.toml"), &text).unwrap_or_else(|e| panic!("{e}"))
}

fn codes(policies: &[Policy]) -> Vec<Code> {
    check_set(policies).iter().map(|d| d.code()).collect()
}

#[test]
fn two_modules_at_one_address_are_an_error() {
    let at = |name: &str, listen: &str| {
        let text = common::BASE.replace("voice-gate", name).replace("acme", name).replace("\"command\"", "\"http\"");
        parse(name, &format!("{text}\n[http]\nlisten = \"{listen}\"\n")).unwrap()
    };
    let found = check_set([&at("a", "127.0.0.1:80"), &at("b", "127.0.0.1:80"), &at("c", "127.0.0.1:81"), &module("d", &[])]);
    let codes: Vec<_> = found.iter().map(|d| d.code()).filter(|code| *code == SameListener).collect();
    assert_eq!((codes, found.errors()), (vec![SameListener], 1), "{found}");
    let said = found.iter().find(|d| d.code() == SameListener).unwrap();
    insta::assert_snapshot!("same_listener", edgeguard_policy::Diagnostics::from(said.clone()).to_string());
}

#[test]
fn modules_that_keep_apart_or_hand_on_what_they_wrote_are_not_warned_of() {
    let (apart, beside) = (module("a", &[("/srv/a", "read-write")]), module("b", &[("/srv/a-b", "read-write")]));
    assert_eq!(codes(&[apart, beside]), []);
    // One writes and the other reads exactly there: that is what a directory between two modules is for.
    assert_eq!(codes(&[module("a", &[("/srv/queue", "read-write")]), module("b", &[("/srv/queue", "read")])]), []);
    assert_eq!(codes(&[module("a", &[("/srv/x", "read")]), module("b", &[("/srv/x", "read")])]), []);
}

#[test]
fn a_module_that_could_change_what_another_is_admitted_by_is_an_error() {
    // Its own file, key and model lie elsewhere; what it would change of its own is another mistake.
    let far = common::BASE.replace("/var/lib/edgeguard", "/far").replace("/etc/edgeguard", "/far").replace("voice-gate", "far");
    let writes = |place: &str| {
        let text = far.replace("/var/lib/gateway/audio", place).replace("access = \"read\"", "access = \"read-write\"");
        parse("far.toml", &text).unwrap()
    };
    for (place, what) in [("/etc/edgeguard/keys", "key"), ("/var/lib/edgeguard/models", "model"), ("/var/lib/edgeguard/modules", "file")] {
        let found = check_set([&writes(place), &module("b", &[])]);
        assert_eq!((found.iter().map(|d| d.code()).collect::<Vec<_>>(), found.errors()), (vec![OtherSelf], 1), "{place}");
        assert!(found.iter().next().unwrap().message().contains(what), "{found}");
        if what == "key" {
            insta::assert_snapshot!("other_key", found.to_string());
        }
    }
    assert_eq!(codes(&[writes("/srv/elsewhere"), module("b", &[])]), []);
}

#[test]
fn a_directory_that_holds_another_modules_is_warned_of() {
    let inner = |access| module("b", &[("/srv/x/deep", access)]);
    for (outer, inside) in [("read-write", "read"), ("read", "read-write"), ("read-write", "read-write"), ("read", "read")] {
        assert_eq!(codes(&[module("a", &[("/srv/x", outer)]), inner(inside)]), [OtherDir], "{outer} {inside}");
        assert_eq!(codes(&[inner(inside), module("a", &[("/srv/x", outer)])]), [OtherDir], "{outer} {inside}");
    }
    insta::assert_snapshot!("other_dir", check_set([&module("a", &[("/srv/x", "read")]), &inner("read-write")]).to_string());
}

#[test]
fn two_modules_that_write_in_one_directory_are_warned_of_once_each() {
    let all: Vec<Policy> = (0..5).map(|i| module(&format!("m{i}"), &[("/srv/x", "read-write")])).collect();
    assert_eq!(codes(&all), [OtherDir; 4]);
    insta::assert_snapshot!("two_writers", check_set(&all[..2]).to_string());
}

#[test]
fn a_module_that_can_read_anothers_model_is_warned_of() {
    let reader =
        parse("a.toml", &common::BASE.replace("voice-gate", "a").replace("/var/lib/gateway/audio", "/srv/models").replace("acme", "a"))
            .unwrap();
    let owner = parse("b.toml", &common::BASE.replace("voice-gate", "b").replace("/var/lib/edgeguard/models", "/srv/models")).unwrap();
    assert_eq!(codes(&[reader, owner]), [Holds]);
}

#[test]
fn two_policies_of_one_module_are_one_mistake() {
    let twice = [module("a", &[("/srv/x", "read-write")]), module("a", &[("/srv/x", "read-write")])];
    assert_eq!(codes(&twice), [SameModule]);
    assert_eq!(check_names(&twice).errors(), 1);
}

#[test]
fn two_thousand_policies_are_held_against_each_other_in_time_that_grows_with_their_number() {
    let many: Vec<Policy> = (0..2_000).map(|i| module(&format!("m{i}"), &[("/srv/x", "read-write"), ("/srv/y", "read")])).collect();
    let began = std::time::Instant::now();
    let found = check_set(&many);
    assert_eq!(found.warnings(), 1_999);
    // Pairs would be four million; on a slow machine this takes a tenth of a second.
    assert!(began.elapsed() < std::time::Duration::from_secs(5), "{:?}", began.elapsed());
}
