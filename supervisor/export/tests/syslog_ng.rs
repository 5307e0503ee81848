//! The exporter with syslog-ng: what it wrote is read back and is equal.
//!
//! Runs in: tests, with the real exporter and the real syslog-ng, which the test unpacks for itself.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]
#![forbid(unsafe_code)]

mod house;

use std::path::Path;

use edgeguard_audit::encode::Form;
use house::Certificates;
use house::House;
use house::Running;
use house::install;
use house::lines_of;
use house::port;
use house::skip;
use house::tls;
use house::until;

#[test]
fn by_tls_every_entry_is_read_back_equal() {
    let root = match install::root() {
        Ok(root) => root,
        Err(reason) => return skip(&reason),
    };
    let (mut house, port) = (House::new(), port());
    Certificates::write(house.dir.path());
    house.write(300);
    let shipped = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../packaging/siem/syslog-ng/tls.conf");
    let here = |name: &str| house.path(name).display().to_string();
    let text = std::fs::read_to_string(shipped).unwrap();
    let text = text
        .replace("/etc/syslog-ng/tls", &house.dir.path().display().to_string())
        .replace("/var/log/edgeguard.jsonl", &here("received"))
        .replace("port(6514)", &format!("port({port})"));
    std::fs::write(house.path("syslog-ng.conf"), text).unwrap();
    let modules = install::find(root, &["usr/lib/syslog-ng/3.38", "usr/lib/syslog-ng/4.8", "usr/lib/syslog-ng/4.3"]);
    let mut command = install::program(root, "usr/sbin/syslog-ng");
    command.args(["-F", "--no-caps"]).arg(format!("--module-path={}", modules.display()));
    command.arg("-f").arg(house.path("syslog-ng.conf")).arg("-p").arg(house.path("syslog-ng.pid"));
    command.arg("-R").arg(house.path("syslog-ng.persist")).arg("-c").arg(house.path("syslog-ng.ctl"));
    let _receiver = Running(command.spawn().unwrap());
    until("syslog-ng to listen", || {
        std::net::TcpStream::connect_timeout(&([127, 0, 0, 1], port).into(), std::time::Duration::from_secs(1)).ok()
    });
    house.configure(&format!("[[syslog]]\nname = \"siem\"\naddress = \"localhost:{port}\"\n{}", tls(house.dir.path())));
    house.drain();
    let expected = house.lines(Form::default());
    until("all entries", || (lines_of(&house.path("received")).len() == expected.len()).then_some(()));
    assert_eq!(lines_of(&house.path("received")), expected);
}
