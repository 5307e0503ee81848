//! The Sigma rules that ship, over lines that the exporter writes: each finds its entry, and no other.
//!
//! Runs in: tests, with pySigma and DuckDB where Python has them.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]
#![forbid(unsafe_code)]

mod house;

use std::path::Path;
use std::process::Command;
use std::process::Stdio;

use edgeguard_audit::encode::Form;
use house::House;
use house::skip;

/// Converts every rule, runs it over the lines, and prints which kinds of entries it found, and how many.
const RUN: &str = r#"
import json, pathlib, sys
import duckdb
from sigma.collection import SigmaCollection
from sigma_backend_duckdb import *
import sigma_backend_duckdb as package
backend = next(getattr(package, n) for n in dir(package) if n.lower() == "duckdbbackend")
def flat(value, name=""):
    if isinstance(value, dict):
        for key, inner in value.items(): yield from flat(inner, f"{name}.{key}" if name else key)
    else: yield name, value
lines = [dict(flat(json.loads(l))) for l in open(sys.argv[1])]
columns = sorted({name for line in lines for name in line})
db = duckdb.connect()
quoted = ", ".join(f'"{c}" VARCHAR' for c in columns)
db.execute(f"CREATE TABLE logs ({quoted})")
rows = [[None if line.get(c) is None else str(line[c]) for c in columns] for line in lines]
db.executemany(f"INSERT INTO logs VALUES ({', '.join('?' * len(columns))})", rows)
found = {}
for path in sorted(pathlib.Path(sys.argv[2]).glob("*.yml")):
    query = backend().convert(SigmaCollection.from_yaml(path.read_text()))[0]
    result = db.execute(query)
    at = [d[0] for d in result.description].index("metadata.event_code")
    rows = [row[at] for row in result.fetchall()]
    found[path.stem] = {code: rows.count(code) for code in set(rows)}
print(json.dumps(found, sort_keys=True))
"#;

#[test]
fn every_rule_finds_its_entry_and_no_other() {
    let python = std::env::var_os("EDGEGUARD_TEST_PYTHON").unwrap_or_else(|| "python3".into());
    let imports = Command::new(&python).args(["-c", "import duckdb, sigma_backend_duckdb"]).stderr(Stdio::null()).status();
    if !imports.is_ok_and(|status| status.success()) {
        return skip("needs `pip install duckdb pysigma-backend-duckdb` (EDGEGUARD_TEST_PYTHON names the Python)");
    }
    let mut house = House::new();
    house.write(50);
    house.write(50);
    std::fs::write(house.path("lines"), house.lines(Form::default()).join("\n")).unwrap();
    let rules = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../packaging/siem/sigma");
    let output = Command::new(&python).args(["-c", RUN]).arg(house.path("lines")).arg(rules).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let found: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let expected = serde_json::json!({
        "audit-degraded": { "invocation-ended": 2 },
        "deny-burst": { "denied": 2 },
        "sandbox-kill": { "process-exited": 2 },
        "signature-reject": { "module-refused": 2 },
        "tamper": { "ring-corrupt": 2 },
    });
    assert_eq!(found, expected);
}
