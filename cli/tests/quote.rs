//! `quote verify`, on a quote that `tpm2_quote` made with an emulated TPM: registers 0, 7 and 16, all zero.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod common;

use std::fs;
use std::path::Path;

use common::Ran;
use common::edgeguard;

const AK: &str = "-----BEGIN PUBLIC KEY-----
MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEVNbKtSJEVqdTwpkO47XAhyJsFbDM
6VRkOrShfgai2OaESdFb5HiCFo1RxWg2QrDB/O2Ye3Grv9r23t8S6NqMqg==
-----END PUBLIC KEY-----
";
const MESSAGE: &str = "ff54434780180022000bec6808b0665a7800940475b904f7cc6e2374463fb22dd691252a102fbb3e0ad4001000112233445566778899aabbccddeeff\
000000000000003a000000010000000001201910230016363600000001000b0381000100202ea9ab9198d1638007400cd2c3bef1cc745b864b76011a0e1bc52180ac6452d4";
const SIGNATURE: &str = "0018000b0020aad67c7b5cb7b5f39d401c7253efad18349de0d7f43242928ed1a5e5b88e96e50020\
d2846260215fd063a8762b5498100920cd36a6a3913ea3d432ba6ca4e0833692";
const NONCE: &str = "00112233445566778899aabbccddeeff";

fn given() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("ak.pub"), AK).unwrap();
    fs::write(dir.path().join("q.msg"), hex::decode(MESSAGE).unwrap()).unwrap();
    fs::write(dir.path().join("q.sig"), hex::decode(SIGNATURE).unwrap()).unwrap();
    dir
}

fn ask(dir: &Path, nonce: &str, pcrs: &[u8], more: &[&str]) -> Ran {
    let zero = "00".repeat(32);
    let pcrs: Vec<String> = pcrs.iter().map(|number| format!("--pcr={number}={zero}")).collect();
    let mut arguments = vec!["quote", "verify", "--ak", "ak.pub", "--nonce", nonce, "--message", "q.msg", "--signature", "q.sig"];
    arguments.extend(pcrs.iter().map(String::as_str));
    arguments.extend(more);
    edgeguard(dir, &arguments)
}

#[test]
fn quote_of_a_tpm_verifies() {
    let dir = given();
    let ran = ask(dir.path(), NONCE, &[0, 7, 16], &[]).done();
    assert_eq!(ran.out.matches("  passed  quote").count(), 3, "{}", ran.out);
    assert!(ran.out.ends_with("verified: TPM reset 1 times, resumed 0, powered for 0 s\n"), "{}", ran.out);
    let json = ask(dir.path(), NONCE, &[0, 7, 16], &["--json"]).done();
    let json: serde_json::Value = serde_json::from_str(&json.out).unwrap();
    assert_eq!((&json["verified"], &json["quote"]["resetCount"]), (&true.into(), &1.into()));
    assert_eq!(json["quote"]["pcrs"]["16"], "00".repeat(32));
}

#[test]
fn quote_that_is_not_the_answer_is_rejected_and_says_why() {
    let dir = given();
    for (nonce, pcrs, why) in [
        (&"11".repeat(16) as &str, &[0, 7, 16][..], "an old quote"),
        (NONCE, &[0, 7], "those of `0,7,16`"),
        (NONCE, &[0, 7, 16, 23], "those of `0,7,16`"),
    ] {
        let ran = ask(dir.path(), nonce, pcrs, &["--json"]);
        assert_eq!(ran.code, 3, "{why}");
        assert!(ran.err.starts_with("error: EG5008 ·") && ran.err.contains(why), "{}", ran.err);
        let json: serde_json::Value = serde_json::from_str(&ran.out).unwrap();
        assert_eq!((&json["verified"], &json["rejection"]["code"]), (&false.into(), &"EG5008".into()));
    }
    let mut message = fs::read(dir.path().join("q.msg")).unwrap();
    message.push(0);
    fs::write(dir.path().join("q.msg"), message).unwrap();
    let ran = ask(dir.path(), NONCE, &[0, 7, 16], &[]);
    assert_eq!(ran.code, 3);
    assert!(ran.out.contains("FAILED  quote") && ran.out.contains("edgeguard explain EG5008"), "{}", ran.out);
}

#[test]
fn wrong_question_is_usage() {
    let dir = given();
    for (nonce, pcrs, why) in [
        ("zz", "--pcr=0=00", "hex"),
        ("0011", PCR, "16 to 48 bytes"),
        (NONCE, "--pcr=0=00", "64 hex digits"),
        (NONCE, "--pcr=24=", "64 hex"),
    ] {
        let pcr = if pcrs == PCR { format!("{PCR}{}", "00".repeat(32)) } else { pcrs.to_owned() };
        let ran = ask(dir.path(), nonce, &[], &[&pcr]);
        assert_eq!(ran.code, 2, "{}", ran.err);
        assert!(ran.err.contains(why), "{}", ran.err);
    }
    let twice = format!("--pcr=7={}", "00".repeat(32));
    assert!(ask(dir.path(), NONCE, &[7], &[&twice]).err.contains("given twice"));
}

const PCR: &str = "--pcr=0=";
