//! The host's own file, and policies held against it and against each other.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod common;

use std::path::Path;
use std::time::Duration;

use common::with;
use edgeguard_policy::Audit;
use edgeguard_policy::Class;
use edgeguard_policy::Code;
use edgeguard_policy::Code::*;
use edgeguard_policy::Counter;
use edgeguard_policy::Diagnostics;
use edgeguard_policy::HostConfig;
use edgeguard_policy::OnFull;
use edgeguard_policy::Policy;
use edgeguard_policy::Principal;
use edgeguard_policy::Privacy;
use edgeguard_policy::Requirement;
use edgeguard_policy::Revocations;
use edgeguard_policy::Statement;
use edgeguard_policy::TrustedRoot;
use edgeguard_policy::check_set;
use edgeguard_policy::parse;
use edgeguard_policy::parse_host;

fn policy(text: &str) -> Policy {
    parse("voice-gate.toml", text).unwrap_or_else(|e| panic!("{e}"))
}

fn codes(found: &Diagnostics) -> Vec<Code> {
    found.iter().map(|d| d.code()).collect()
}

fn dir(host: &str, access: &str) -> String {
    with(&format!("[[dir]]\nguest = \"/d\"\nhost = \"{host}\"\naccess = \"{access}\"\n"))
}

#[test]
fn an_empty_host_file_means_the_defaults() {
    assert_eq!(parse_host("edgeguard.toml", "version = 1\n").unwrap(), HostConfig::default());
}

#[test]
fn every_key_of_the_host_file_is_heard() {
    let text = r#"
        version = 1
        [paths]
        policy = "/p"
        state = "/s"
        runtime = "/r"
        libexec = "/l"
        [control]
        admins = ["user:ops", "gid:27"]
        invokers = ["group:gateway", "uid:1000"]
        [require]
        landlock = 5
        [workers]
        standby = false
        [trust]
        root = "/root.json"
        root-sha256 = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"
        tuf-root = "/tuf.json"
        keyless = true
        warn = "14 d"
        grace = "2 h"
        revocations = "required"
        max-skew = "5 min"
        max-jump = "90 d"
        counter = "tpm"
        [policy-signing]
        key = ["/ops.pub", "/lab.pub"]
        [audit]
        budget = "1 GiB"
        on-full = "halt"
        paths = "drop"
        graphs = "hmac"
    "#;
    let host = parse_host("edgeguard.toml", text).unwrap();
    assert_eq!(
        [&host.policy_dir, &host.state_dir, &host.runtime_dir, &host.libexec_dir],
        [Path::new("/p"), Path::new("/s"), Path::new("/r"), Path::new("/l")]
    );
    assert_eq!(host.control, Path::new("/r/control.sock"));
    assert_eq!(host.admins, [Principal::User("ops".into()), Principal::Gid(27)]);
    assert_eq!(host.invokers, [Principal::Group("gateway".into()), Principal::Uid(1000)]);
    let day = |n: u64| Duration::from_secs(n * 86_400);
    let trust = &host.trust;
    let TrustedRoot::File { path, sha256 } = &trust.root else { panic!("{:?}", trust.root) };
    assert_eq!((path.as_path(), sha256[0], trust.tuf_root.as_deref()), (Path::new("/root.json"), 0x9f, Some(Path::new("/tuf.json"))));
    assert_eq!((trust.warn, trust.grace), (day(14), Duration::from_secs(7200)));
    assert_eq!((trust.max_skew, trust.max_jump), (Duration::from_secs(300), day(90)));
    assert_eq!((trust.revocations, trust.counter), (Revocations::Required, Counter::Tpm));
    assert_eq!(host.policy_signing.unwrap().keys, [Path::new("/ops.pub"), Path::new("/lab.pub")]);
    assert_eq!((host.floor.landlock, host.standby), (5, false));
    assert_eq!(
        host.audit,
        Audit {
            budget: 1 << 30,
            on_full: OnFull::Halt,
            counter: Counter::None,
            privacy: Privacy { paths: Class::Drop, graphs: Class::Hmac }
        }
    );
    let own = parse_host("edgeguard.toml", "version = 1\n[control]\nsocket = \"/x.sock\"\n").unwrap();
    assert_eq!(own.control, Path::new("/x.sock"));
}

#[test]
fn a_journal_cannot_be_given_less_than_it_needs_nor_a_way_out_that_there_is_not() {
    let found = |line: &str| codes(&parse_host("edgeguard.toml", &format!("version = 1\n[audit]\n{line}\n")).unwrap_err());
    assert_eq!(found("budget = \"31 MiB\""), [OutOfBounds]);
    assert_eq!(found("budget = \"2048 GiB\""), [OutOfBounds]);
    assert_eq!(found("budget = \"256\""), [Size]);
    assert_eq!(found("on-full = \"drop\""), [UnknownWord]);
}

#[test]
fn the_stricter_floor_counts() {
    let host = parse_host("edgeguard.toml", "version = 1\n[require]\nlandlock = 4\n").unwrap();
    let floor = |text: &str| policy(text).effective_floor(&host).landlock;
    assert_eq!(floor(common::BASE), 4, "a silent policy has the host's");
    assert_eq!(floor(&with("[require]\nlandlock = 6\n")), 6);
    assert_eq!(floor(&with("[require]\nlandlock = 1\n")), 4, "never laxer");
}

#[test]
fn a_policy_below_the_hosts_floor_is_an_error() {
    let host = parse_host("edgeguard.toml", "version = 1\n[require]\nlandlock = 4\n").unwrap();
    assert!(policy(common::BASE).check_host(&host).is_empty());
    assert!(policy(&with("[require]\nlandlock = 4\n")).check_host(&host).is_empty());
    let found = policy(&with("[require]\nlandlock = 3\n")).check_host(&host);
    assert_eq!(codes(&found), [BelowFloor]);
    insta::assert_snapshot!("below_floor", found.to_string());
}

#[test]
fn of_two_classes_the_stricter_counts_whoever_wrote_it() {
    let host = |lines: &str| parse_host("edgeguard.toml", &format!("version = 1\n[audit]\n{lines}\n")).unwrap();
    let both = |paths, graphs| Privacy { paths, graphs };
    let strict = host("paths = \"hmac\"");
    let kept = |lines: &str| policy(&with(&format!("[audit]\n{lines}\n"))).effective_privacy(&strict);
    assert_eq!(policy(common::BASE).effective_privacy(&HostConfig::default()), Privacy::default());
    assert_eq!(policy(common::BASE).effective_privacy(&strict), both(Class::Hmac, Class::Plain), "a silent policy has the host's");
    assert_eq!(kept("paths = \"drop\"\ngraphs = \"hmac\""), both(Class::Drop, Class::Hmac));
    assert_eq!(kept("paths = \"plain\""), both(Class::Hmac, Class::Plain), "never laxer");
}

#[test]
fn a_class_that_is_laxer_than_the_hosts_is_an_error() {
    let host = parse_host("edgeguard.toml", "version = 1\n[audit]\npaths = \"drop\"\ngraphs = \"hmac\"\n").unwrap();
    assert!(policy(common::BASE).check_host(&host).is_empty());
    assert!(policy(&with("[audit]\npaths = \"drop\"\ngraphs = \"drop\"\n")).check_host(&host).is_empty());
    let found = policy(&with("[audit]\npaths = \"hmac\"\ngraphs = \"plain\"\n")).check_host(&host);
    assert_eq!(codes(&found), [BelowFloor, BelowFloor]);
    insta::assert_snapshot!("class_below_floor", found.to_string());
}

#[test]
fn no_module_is_given_the_supervisors_own_directories() {
    let host = HostConfig::default();
    for path in ["/etc", "/etc/edgeguard/policy.d", "/var/lib/edgeguard/audit", "/var/lib", "/run/edgeguard", "/usr"] {
        assert_eq!(codes(&policy(&dir(path, "read")).check_host(&host)), [SystemDir], "{path}");
    }
    for path in ["/srv", "/var/lib/gateway", "/var/lib/edgeguard-data", "/var/lib/edgeguard/models"] {
        assert!(policy(&dir(path, "read")).check_host(&host).is_empty(), "{path}");
    }
}

#[test]
fn two_policies_of_one_module_are_an_error_in_both_texts() {
    let first = parse("a/voice-gate.toml", common::BASE).unwrap();
    let second = parse("b/voice-gate.toml", &with("[env]\nMODE = \"test\"\n")).unwrap();
    assert!(check_set([&first]).is_empty());
    let found = check_set([&first, &second]);
    assert_eq!(codes(&found), [SameModule]);
    insta::assert_snapshot!("same_module", found.to_string());
}

#[test]
fn a_file_not_called_after_its_module_is_a_warning() {
    assert!(policy(common::BASE).check_file_name().is_empty());
    let found = parse("etc/voice.toml", common::BASE).unwrap().check_file_name();
    assert_eq!((codes(&found), found.errors()), (vec![FileName], 0));
}

#[test]
fn the_digest_is_of_the_text_as_it_was_given() {
    use sha2::Digest as _;
    for text in [common::BASE.to_owned(), format!("\u{feff}{}", common::BASE), common::BASE.replace('\n', "\r\n")] {
        assert_eq!(policy(&text).digest, <[u8; 32]>::from(sha2::Sha256::digest(&text)));
    }
}

#[test]
fn what_is_left_out_has_its_documented_default() {
    let policy = policy(common::BASE);
    assert_eq!((policy.limits.open_files, policy.limits.table_elements, policy.floor.landlock), (16, 10_000, 3));
    assert_eq!(policy.requirements, [Requirement { statement: Statement::Any, signers: vec!["acme".into()], threshold: 1 }]);
    assert_eq!((policy.revision, policy.min_version), (None, None));
    assert!(policy.args.is_empty());
}

#[test]
fn everything_written_is_in_the_policy() {
    let text = with(
        "[module]\nname = \"m_2\"\npath = \"/m.wasm\"\nmode = \"command\"\nargs = [\"-v\", \"\"]\nthreshold = 2\n[[module.signer]]\nkey = \"/1\"\n[[module.signer]]\nkey = \"/2\"\n[limits]\nmemory = \"4 GiB\"\ndeadline = \"1 h\"\ninstances = 16\noutput = \"0 B\"\nopen-files = 0\ntable-elements = 0\n",
    );
    let policy = policy(&text);
    assert_eq!(
        (policy.name.as_str(), policy.path.as_path(), policy.args.as_slice()),
        ("m_2", Path::new("/m.wasm"), &["-v".to_owned(), String::new()][..])
    );
    assert_eq!((policy.signers.len(), policy.requirements[0].threshold), (2, 2));
    let limits = policy.limits;
    assert_eq!((limits.memory, limits.deadline.as_secs(), limits.instances, limits.output), (4 << 30, 3600, 16, 0));
    assert_eq!((limits.open_files, limits.table_elements), (0, 0));
    assert_eq!((policy.dirs.len(), policy.graphs.len(), policy.env["MODE"].as_str()), (1, 1, "prod"));
}
