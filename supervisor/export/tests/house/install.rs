//! Receivers that the tests install by themselves: Debian packages, unpacked into a folder of the build and not into the system.
//!
//! Runs in: tests.

use std::path::Path;
use std::path::PathBuf;
use std::process::Command;
use std::sync::OnceLock;

/// What a receiver needs, beside what any Debian has.
const PACKAGES: &[&str] = &[
    "rsyslog",
    "rsyslog-openssl",
    "rsyslog-relp",
    "librelp0",
    "libestr0",
    "libfastjson4",
    "syslog-ng-core",
    "libivykis0",
    "libnet1",
    "libpcre3",
    "libwrap0",
    "libdbi1",
    "systemd-journal-remote",
    "libmicrohttpd12",
];

/// Where the packages are unpacked: `usr/sbin/rsyslogd` and so on. Nothing, with the reason, where they cannot be had.
pub fn root() -> Result<&'static Path, String> {
    static ROOT: OnceLock<Result<PathBuf, String>> = OnceLock::new();
    ROOT.get_or_init(unpack).as_deref().map_err(Clone::clone)
}

fn unpack() -> Result<PathBuf, String> {
    let dir = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("receivers");
    let done = dir.join("done");
    if std::fs::read_to_string(&done).is_ok_and(|packages| packages == PACKAGES.join(" ")) {
        return Ok(dir);
    }
    // Each test file is a process; whoever comes second waits for the first.
    std::fs::create_dir_all(&dir).map_err(|error| error.to_string())?;
    let lock = std::fs::File::create(dir.join("lock")).map_err(|error| error.to_string())?;
    lock.lock().map_err(|error| error.to_string())?;
    if std::fs::read_to_string(&done).is_ok_and(|packages| packages == PACKAGES.join(" ")) {
        return Ok(dir);
    }
    for package in PACKAGES {
        let fetched = Command::new("apt-get").args(["download", "-qq", package]).current_dir(&dir).output();
        if !fetched.is_ok_and(|output| output.status.success()) {
            return Err(format!("`apt-get download {package}` failed; run `apt-get update`, or use a Debian with a network"));
        }
    }
    for file in std::fs::read_dir(&dir).map_err(|error| error.to_string())?.filter_map(Result::ok) {
        if file.path().extension().is_some_and(|extension| extension == "deb") {
            let unpacked = Command::new("dpkg").arg("-x").arg(file.path()).arg(&dir).status();
            if !unpacked.is_ok_and(|status| status.success()) {
                return Err(format!("`dpkg -x` of `{}` failed", file.path().display()));
            }
        }
    }
    std::fs::write(&done, PACKAGES.join(" ")).map_err(|error| error.to_string())?;
    Ok(dir)
}

/// A program of an unpacked package, with its libraries.
pub fn program(root: &Path, name: &str) -> Command {
    let mut command = Command::new(root.join(name));
    let libraries = ["usr/lib/x86_64-linux-gnu", "usr/lib/aarch64-linux-gnu", "usr/lib/syslog-ng", "lib/x86_64-linux-gnu"];
    let libraries: Vec<String> = libraries.iter().map(|folder| root.join(folder).display().to_string()).collect();
    command.env("LD_LIBRARY_PATH", libraries.join(":"));
    command
}

/// A folder of an unpacked package whose name depends on the machine or the release.
pub fn find(root: &Path, folders: &[&str]) -> PathBuf {
    folders.iter().map(|folder| root.join(folder)).find(|folder| folder.is_dir()).unwrap_or_else(|| root.join(folders[0]))
}
