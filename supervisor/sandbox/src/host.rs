//! What this host can enforce, asked without changing anything: no child, no filter, no namespace.
//!
//! Runs in: command line (`edgeguard doctor`), daemon (at start, for its log).
//! Does not: promise. A row says what the kernel offers to a process like this one; what a worker really got is in its
//! [`crate::Report`].

use std::path::Path;

use rustix::process::Resource;
use serde::Serialize;

use crate::landlock;
use crate::sys::process;

/// Whether one thing can be enforced.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum State {
    /// Yes.
    Enforced,
    /// Not wholly, or not for sure.
    Partial,
    /// No.
    Missing,
}

/// Whether workers start without it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Need {
    /// No worker starts without it.
    Required,
    /// Workers start without it, and say so in their report.
    Preferred,
}

/// One line of the diagnosis.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Row {
    /// What it is called.
    pub name: &'static str,
    /// What it is for.
    pub needed_for: &'static str,
    /// Whether it must be there.
    pub need: Need,
    /// Whether it is.
    pub state: State,
    /// What was found.
    pub found: String,
    /// What to do about it; empty when there is nothing to do.
    pub advice: String,
}

/// The diagnosis of this host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct HostSupport {
    /// One row for each thing that confinement uses.
    pub rows: Vec<Row>,
}

impl HostSupport {
    /// Whether workers start here: nothing that is required is missing.
    pub fn can_confine(&self) -> bool {
        self.rows.iter().all(|row| row.need == Need::Preferred || row.state != State::Missing)
    }
}

/// The Landlock ABI of this kernel; 0 without Landlock.
#[must_use]
pub fn landlock_abi() -> u32 {
    process::landlock_abi().unwrap_or(0)
}

/// Asks this host; workers require at least Landlock ABI `floor`.
pub fn probe(floor: u32) -> HostSupport {
    let mut rows = vec![kernel()];
    rows.extend(landlock_rows(floor.max(1)));
    rows.extend(seccomp_rows());
    rows.extend(process_rows());
    rows.extend(host_rows());
    HostSupport { rows }
}

/// Fills a row; the advice is kept only where there is a gap.
fn row(name: &'static str, needed_for: &'static str, need: Need, state: State, found: impl Into<String>, advice: impl Into<String>) -> Row {
    let advice = if state == State::Enforced { String::new() } else { advice.into() };
    Row { name, needed_for, need, state, found: found.into(), advice }
}

fn yes_or_missing(there: bool) -> State {
    if there { State::Enforced } else { State::Missing }
}

fn yes_or_partial(there: bool) -> State {
    if there { State::Enforced } else { State::Partial }
}

fn kernel() -> Row {
    let name = rustix::system::uname();
    let release = name.release().to_string_lossy().into_owned();
    let found = format!("Linux {release}, {}", name.machine().to_string_lossy());
    let mut numbers = release.split(|letter: char| !letter.is_ascii_digit()).map_while(|number| number.parse::<u32>().ok());
    let version = (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0));
    let state = if version >= (6, 12) { State::Enforced } else { State::Partial };
    row(
        "kernel",
        "everything below",
        Need::Preferred,
        state,
        found,
        "Linux 6.12 or later has all that workers use, except the newest Landlock rights",
    )
}

fn landlock_rows(floor: u32) -> Vec<Row> {
    let abi = landlock_abi();
    let found = if abi == 0 { "none".to_owned() } else { format!("ABI {abi}") };
    let enable = "boot with `landlock` in the `lsm=` list, on a kernel built with CONFIG_SECURITY_LANDLOCK";
    let mut rows = vec![row(
        "landlock",
        "a worker reaches its granted directories and nothing else",
        Need::Required,
        yes_or_missing(abi >= floor),
        format!("{found}, {floor} required"),
        if abi == 0 { enable.to_owned() } else { format!("boot a kernel with Landlock ABI {floor}, or lower `require.landlock`") },
    )];
    // The ABI that brought each group, and what stands in for it where it is missing.
    let groups = [
        ("landlock refer", 2, "moving files between granted directories", "older kernels deny all such moves"),
        ("landlock truncate", 3, "read-only grants also against truncation", "seccomp denies `truncate`; Linux 6.2 has it"),
        ("landlock tcp", 4, "no TCP, a second time", "seccomp denies sockets; Linux 6.7 has it"),
        ("landlock ioctl", 5, "no device control, a second time", "seccomp denies it; Linux 6.10 has it"),
        ("landlock scopes", 6, "no signals or abstract sockets to others", "seccomp denies them; Linux 6.12 has it"),
        ("landlock unix sockets", 9, "no connection to a socket file, a second time", "seccomp denies sockets; Linux 7.1 has it"),
        ("landlock udp", 10, "no UDP, a second time", "seccomp denies sockets; Linux 7.2 has it"),
    ];
    rows.extend(groups.map(|(name, since, needed_for, instead)| {
        row(name, needed_for, Need::Preferred, yes_or_missing(abi >= since), format!("since ABI {since}"), instead)
    }));
    let errata = landlock::errata();
    rows.push(row(
        "landlock errata",
        "known mistakes of the kernel's Landlock",
        Need::Preferred,
        yes_or_partial(errata != 0),
        format!("fixed: mask {errata:#x}"),
        "this kernel does not say which it has fixed; keep it up to date",
    ));
    rows
}

fn seccomp_rows() -> Vec<Row> {
    let actions = read("/proc/sys/kernel/seccomp/actions_avail");
    let kills = actions.split_whitespace().any(|action| action == "kill_process");
    let all_threads = process::seccomp_all_threads();
    vec![
        row(
            "seccomp filter",
            "a worker makes no system call but those in its table",
            Need::Required,
            yes_or_missing(kills),
            if actions.is_empty() { "none".into() } else { actions },
            "a kernel built with CONFIG_SECCOMP_FILTER, and a container runtime that allows `seccomp`",
        ),
        row(
            "seccomp all threads",
            "the last filter covers every thread at once",
            Need::Required,
            yes_or_missing(all_threads),
            if all_threads { "SECCOMP_FILTER_FLAG_TSYNC" } else { "none" },
            "a container runtime or service manager that allows `seccomp`",
        ),
    ]
}

fn process_rows() -> Vec<Row> {
    let close_range = process::has_close_range();
    let no_new_privs = rustix::thread::no_new_privs().is_ok();
    let mdwe = process::has_deny_write_execute();
    let sealed = crate::sealed_memfd("edgeguard-probe", b"probe").and_then(|fd| crate::read_sealed(&fd, 5));
    let core = rustix::process::getrlimit(Resource::Core);
    let unprivileged = !rustix::process::geteuid().is_root();
    let user = rustix::process::geteuid().as_raw();
    vec![
        row(
            "no new privileges",
            "no program with more rights can be started",
            Need::Required,
            yes_or_missing(no_new_privs),
            "prctl",
            "Linux 3.5 has it",
        ),
        row(
            "memory deny-write-execute",
            "no written page is ever executed",
            Need::Preferred,
            yes_or_missing(mdwe),
            if mdwe { "PR_SET_MDWE" } else { "none" },
            "seccomp denies executable memory after set-up; Linux 6.3 has it from the first line on",
        ),
        row(
            "close_range",
            "no inherited descriptor survives",
            Need::Required,
            yes_or_missing(close_range),
            "system call",
            "Linux 5.9 has it",
        ),
        row(
            "sealed memory",
            "native code, tensors and records between processes",
            Need::Required,
            yes_or_missing(sealed.is_ok()),
            sealed.map_or_else(|error| error.to_string(), |_| "memfd with seals".into()),
            "a kernel built with CONFIG_MEMFD_CREATE",
        ),
        row(
            "core dumps",
            "no model or tensor ends up in a dump",
            Need::Preferred,
            State::Enforced,
            format!("off in every child; here {}", core.current.map_or_else(|| "unlimited".into(), |limit| format!("{limit} bytes"))),
            "",
        ),
        row(
            "unprivileged user",
            "an escaped worker is nobody",
            Need::Preferred,
            yes_or_partial(unprivileged),
            format!("user id {user}"),
            "run the daemon as a user of its own, as the packaged unit does",
        ),
    ]
}

fn host_rows() -> Vec<Row> {
    let (namespaces, found) = user_namespaces();
    let (cgroup, cgroup_found) = cgroup();
    let yama = read("/proc/sys/kernel/yama/ptrace_scope");
    vec![
        row(
            "user namespaces",
            "a root of its own: a worker cannot see that other files exist",
            Need::Preferred,
            namespaces,
            found,
            "without it a worker's native code could read names and metadata outside its grants, not contents; allow unprivileged user namespaces to this service",
        ),
        row(
            "cgroup v2 delegation",
            "memory and process limits that cover the kernel's share",
            Need::Preferred,
            cgroup,
            cgroup_found,
            "not used by this version: the limits of the policy are held by the engine; to cap the whole service, give its unit `MemoryMax=` and `TasksMax=`",
        ),
        row(
            "yama",
            "processes of one user do not trace each other",
            Need::Preferred,
            yes_or_partial(!yama.is_empty() && yama != "0"),
            if yama.is_empty() { "none".into() } else { format!("ptrace_scope {yama}") },
            "children are undumpable, which stops it too; set `kernel.yama.ptrace_scope=1` or higher",
        ),
    ]
}

/// By the switches that distributions use; whether a namespace can be made is known for sure only by making one.
fn user_namespaces() -> (State, String) {
    let zero = |path: &str| read(path) == "0";
    if !Path::new("/proc/self/ns/user").exists() {
        return (State::Missing, "none in this kernel".into());
    }
    if zero("/proc/sys/user/max_user_namespaces") {
        return (State::Missing, "user.max_user_namespaces is 0".into());
    }
    if zero("/proc/sys/kernel/unprivileged_userns_clone") {
        return (State::Missing, "kernel.unprivileged_userns_clone is 0".into());
    }
    if read("/proc/sys/kernel/apparmor_restrict_unprivileged_userns") == "1" {
        return (State::Partial, "kernel.apparmor_restrict_unprivileged_userns is 1".into());
    }
    (State::Enforced, "allowed by every switch".into())
}

fn cgroup() -> (State, String) {
    let own = read("/proc/self/cgroup");
    let Some(path) = own.lines().find_map(|line| line.strip_prefix("0::")) else {
        return (State::Missing, "no cgroup v2 hierarchy".into());
    };
    let folder = Path::new("/sys/fs/cgroup").join(path.trim_start_matches('/'));
    let controllers = read(&folder.join("cgroup.controllers").to_string_lossy());
    let both = ["memory", "pids"].iter().all(|wanted| controllers.split_whitespace().any(|found| found == *wanted));
    let writable = rustix::fs::access(folder.join("cgroup.procs"), rustix::fs::Access::WRITE_OK).is_ok();
    let found = format!("`{path}`: controllers `{controllers}`, {}", if writable { "writable" } else { "not writable" });
    match (both, writable) {
        (true, true) => (State::Enforced, found),
        (true, false) | (false, true) => (State::Partial, found),
        (false, false) => (State::Missing, found),
    }
}

/// A small file of /proc or /sys without its last newline; empty when it cannot be read.
fn read(path: &str) -> String {
    crate::memory::read_small(path, 4096).unwrap_or_default().trim_end().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn host_below_the_floor_cannot_confine() {
        let low = probe(u32::MAX);
        assert!(!low.can_confine());
        let landlock = low.rows.iter().find(|row| row.name == "landlock").map(|row| row.state);
        assert_eq!(landlock, Some(State::Missing));
    }

    #[test]
    fn every_gap_comes_with_advice_and_nothing_else_does() {
        for row in probe(3).rows {
            assert_eq!(row.state == State::Enforced, row.advice.is_empty(), "{row:?}");
            assert!(!row.found.is_empty(), "{row:?}");
        }
    }

    #[test]
    fn missing_preference_does_not_stop_workers() {
        let gap = |need| row("x", "y", need, State::Missing, "none", "get it");
        assert!(HostSupport { rows: vec![gap(Need::Preferred)] }.can_confine());
        assert!(!HostSupport { rows: vec![gap(Need::Required)] }.can_confine());
    }
}
