//! Guests that cause events without end: what repeats is counted exactly, and whoever wants more of the journal than its share is ended, at nobody else's cost.
//!
//! Runs in: tests, with the real daemon.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]
#![forbid(unsafe_code)]

use edgeguard_tests::guest::guest;
use edgeguard_tests::house::House;
use edgeguard_tests::policy::Policy;
use serde_json::Value;

/// Asks for a file outside its directory, this often: for another one each time, or always for the same.
fn asks(times: u32, another: bool) -> Vec<u8> {
    let name = format!("../aaaa{}", "x".repeat(150));
    let (len, step) = (name.len(), u32::from(another));
    guest(&format!(
        r#"(data (i32.const 1024) "{name}")
        (func $digit (param $at i32) (param $n i32)
          (i32.store8 (local.get $at) (i32.add (i32.const 97) (i32.and (local.get $n) (i32.const 15)))))
        (func (export "_start") (local $n i32) (local $left i32) (local.set $left (i32.const {times}))
          (loop $again
            (call $digit (i32.const 1027) (local.get $n))
            (call $digit (i32.const 1028) (i32.shr_u (local.get $n) (i32.const 4)))
            (call $digit (i32.const 1029) (i32.shr_u (local.get $n) (i32.const 8)))
            (call $digit (i32.const 1030) (i32.shr_u (local.get $n) (i32.const 12)))
            (drop (call $open (i32.const 3) (i32.const 1024) (i32.const {len}) (i32.const 0) (i64.const 2)))
            (local.set $n (i32.add (local.get $n) (i32.const {step})))
            (local.set $left (i32.sub (local.get $left) (i32.const 1)))
            (br_if $again (local.get $left))))"#
    ))
}

fn of<'e>(events: &'e [Value], module: &'e str) -> impl Iterator<Item = &'e Value> {
    events.iter().filter(move |event| event["module"] == module)
}

/// Denials of a module by its `denied` and `denials-counted` events, and by the accounts of its invocations.
#[track_caller]
fn adds_up(house: &House, module: &str) -> (u64, usize) {
    let (denied, counted, ended) = (house.events("denied"), house.events("denials-counted"), house.events("invocation-ended"));
    let told = of(&denied, module).chain(of(&counted, module)).map(|event| event["count"].as_u64().unwrap_or(1)).sum::<u64>();
    let accounts = of(&ended, module).map(|event| event["denied"].as_u64().unwrap()).sum::<u64>();
    assert_eq!(told, accounts, "{module}");
    (told, of(&denied, module).count())
}

/// Bytes of the journal that are not calls or their counts.
fn security_bytes(house: &House) -> u64 {
    let stats = &house.status()["journal"]["stats"];
    let of = |name: &str| stats[name].as_u64().unwrap();
    of("bytes") - of("detail_bytes") - of("summary_bytes")
}

#[test]
fn what_is_denied_in_the_same_words_is_counted_exactly_and_takes_little_room() {
    const TIMES: u32 = 20_000;
    let mut house = House::new();
    let dir = house.dir("data");
    house.install(&Policy::new("asks").read("/data", &dir), &asks(TIMES, false));
    house.start();
    for _ in 0..2 {
        let invoked = house.invoke("asks");
        let records = &invoked.ending["records"];
        assert_eq!((&invoked.ending["outcome"], records["denied"].as_u64()), (&"exited".into(), Some(TIMES.into())), "{invoked:?}");
        assert_eq!(records["produced"], records["recorded"], "each of them is among the calls");
    }
    assert!(house.stop().success());
    let (told, events) = adds_up(&house, "asks");
    assert_eq!(told, 2 * u64::from(TIMES));
    assert!(events < 100, "{events} events");
    // Whoever reads the journal is told of it.
    let tail = house.cli(&["audit", "tail", "-n", "1000", "--dir"]).arg(house.state().join("audit")).output().unwrap();
    let words = String::from_utf8_lossy(&tail.stdout).into_owned();
    assert!(words.contains(&format!("{TIMES} denied")) && words.contains(" times"), "{words}");
}

#[test]
fn a_flood_is_ended_within_its_budget_suspended_and_costs_another_module_nothing() {
    const BUDGET: u64 = 1 << 20;
    let mut house = House::new();
    let dir = house.dir("data");
    house.install(&Policy::new("flood").read("/data", &dir), &asks(60_000, true));
    house.install(&Policy::new("other").read("/data", &dir), &asks(500, false));
    house.start();
    house.run("other");
    let before = security_bytes(&house);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for _ in 0..10 {
                let records = &house.invoke("other").ending["records"];
                let of = |name: &str| records[name].as_u64();
                assert_eq!((of("recorded"), of("denied")), (of("produced"), Some(500)), "{records}");
            }
        });
        let ended = house.invoke("flood");
        assert_eq!((ended.code, &ended.ending["outcome"]), (Some(5), &"killed".into()), "{ended:?}");
    });
    // It is not begun again, and whoever asks hears why; the other one is.
    let refused = house.request("POST", "/v1/modules/flood/invoke", &[], b"");
    assert_eq!((refused.status, refused.json()["error"]["code"].as_str()), (429, Some("module-suspended")), "{}", refused.text());
    assert!(house.module_status("flood")["suspended_s"].as_u64().is_some_and(|left| left <= 11));
    assert_eq!(house.module_status("other")["suspended_s"], Value::Null);
    let status = house.cli(&["status"]).output().unwrap();
    assert!(String::from_utf8_lossy(&status.stdout).contains("SUSPENDED for"), "{status:?}");
    house.run("other");
    // Beside its budget: what the other one caused, seals' epochs, beginnings and ends.
    let grown = security_bytes(&house) - before;
    assert!(grown > BUDGET / 2 && grown < BUDGET + 128 * 1024, "{grown}");
    // An operator who reloads says that it may.
    house.reload();
    assert_eq!(house.module_status("flood")["suspended_s"], Value::Null);
    assert_eq!(house.invoke("flood").code, Some(5));
    assert!(house.stop().success());
    let suspended = house.events("instance-suspended");
    assert_eq!(suspended.len(), 2, "{suspended:?}");
    assert!(suspended.iter().all(|event| event["came_bytes"].as_u64() > Some(BUDGET) && event["burst_bytes"] == BUDGET), "{suspended:?}");
    assert!(adds_up(&house, "flood").0 > 4000);
    assert_eq!(adds_up(&house, "other").0, 12 * 500);
    let (code, found) = house.verify();
    assert_eq!((code, found["verdict"].as_str()), (Some(0), Some("ok")), "{found}");
}
