//! Other people's tools that the tests hold this crate's output against, fetched once into `target/editor-tools`.

use std::fs;
use std::path::Path;
use std::path::PathBuf;
use std::process::Command;
use std::sync::LazyLock;

/// Somebody else's validator and somebody else's language server, in a folder of their own.
static TOOLS: LazyLock<Result<PathBuf, String>> = LazyLock::new(|| {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/editor-tools");
    let python = dir.join("bin/python");
    let there = |python: &Path| ran(Command::new(python).args(["-c", "import jsonschema"])).is_ok() && dir.join("bin/taplo").exists();
    if !there(&python) {
        ran(Command::new("python3").args(["-m", "venv"]).arg(&dir))?;
        let pip = ["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "jsonschema==4.26.0", "taplo==0.9.3"];
        ran(Command::new(&python).args(pip))?;
    }
    Ok(dir.join("bin"))
});

/// What a program printed; what it complained of where it failed.
pub fn ran(command: &mut Command) -> Result<String, String> {
    let program = command.get_program().to_string_lossy().into_owned();
    let out = command.output().map_err(|error| format!("cannot run `{program}`: {error}"))?;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim().to_owned();
    if out.status.success() { Ok(text(&out.stdout)) } else { Err(format!("`{program}`: {}{}", text(&out.stdout), text(&out.stderr))) }
}

/// The folder of the tools; where they cannot be had, none on a developer's machine, and a failure in CI.
pub fn tools() -> Option<&'static PathBuf> {
    match &*TOOLS {
        Ok(bin) => Some(bin),
        Err(why) if std::env::var_os("CI").is_some() => panic!("jsonschema and taplo are needed: {why}"),
        Err(why) => {
            eprintln!("skipped: {why}");
            None
        }
    }
}

/// A new folder below the system's, named after this process and a count.
pub fn tempfile() -> PathBuf {
    static COUNT: std::sync::atomic::AtomicU32 = std::sync::atomic::AtomicU32::new(0);
    let n = COUNT.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
    let dir = std::env::temp_dir().join(format!("edgeguard-schema-{}-{n}", std::process::id()));
    fs::create_dir_all(&dir).unwrap();
    dir
}
