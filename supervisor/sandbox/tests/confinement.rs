//! Real children, started by the real launcher, that try what confinement must stop.
//!
//! Runs in: tests. The child is this program again: with a process id as its only argument it does what its control socket says.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::Read as _;
use std::io::Write as _;
use std::mem::MaybeUninit;
use std::os::fd::AsFd;
use std::os::fd::BorrowedFd;
use std::os::fd::OwnedFd;
use std::os::unix::process::ExitStatusExt as _;
use std::path::Path;
use std::process::ExitStatus;
use std::sync::mpsc;

use edgeguard_sandbox::Access;
use edgeguard_sandbox::Child;
use edgeguard_sandbox::FilesystemUse;
use edgeguard_sandbox::FsGrant;
use edgeguard_sandbox::Profile;
use edgeguard_sandbox::Report;
use edgeguard_sandbox::Role;
use edgeguard_sandbox::SharedMemory;
use edgeguard_sandbox::Unconfinable;
use edgeguard_sandbox::harden;
use edgeguard_sandbox::harden_in_host_root;
use edgeguard_sandbox::inspect;
use libtest_mimic::Arguments;
use libtest_mimic::Failed;
use libtest_mimic::Trial;
use rustix::fs::AtFlags;
use rustix::fs::CWD;
use rustix::fs::Mode;
use rustix::fs::OFlags;
use rustix::io::Errno;
use rustix::net::RecvAncillaryBuffer;
use rustix::net::RecvAncillaryMessage;
use rustix::net::RecvFlags;
use rustix::net::SendAncillaryBuffer;
use rustix::net::SendAncillaryMessage;
use rustix::net::SendFlags;
use rustix::net::SocketFlags;

type Test = fn() -> Result<(), Failed>;

fn main() {
    let words: Vec<String> = std::env::args().collect();
    match &words[1..] {
        [parent] if parent.parse::<u32>().is_ok() => return child(parent.parse().unwrap()),
        [word] if word == "middle" => return middle(),
        _ => {}
    }
    let host = edgeguard_sandbox::host::probe(3);
    if !host.can_confine() && std::env::var_os("CI").is_none() {
        println!("skipped: this host cannot confine; see `edgeguard doctor`");
        return;
    }
    let tests: &[(&str, Test)] = &[
        ("worker_reaches_its_grants_and_nothing_else", worker_reaches_its_grants_and_nothing_else),
        ("landlock_and_seccomp_alone_hold_the_worker_to_its_grants", landlock_and_seccomp_alone_hold_the_worker_to_its_grants),
        ("read_write_grant_can_be_written", read_write_grant_can_be_written),
        ("worker_without_directories_dies_on_a_path", worker_without_directories_dies_on_a_path),
        ("worker_dies_on_socket", || dies_on("socket")),
        ("worker_dies_on_new_thread", || dies_on("thread")),
        ("worker_dies_when_it_starts_a_program", || dies_on("exec")),
        ("worker_dies_on_unix_socket", || dies_on("connect")),
        ("thread_from_before_the_lock_is_locked_too", thread_from_before_the_lock_is_locked_too),
        ("compiler_and_graph_host_work_confined", compiler_and_graph_host_work_confined),
        ("inherited_descriptor_is_closed", inherited_descriptor_is_closed),
        ("supervisor_sees_the_confinement_from_outside", supervisor_sees_the_confinement_from_outside),
        ("child_of_another_parent_is_refused", child_of_another_parent_is_refused),
        ("hardening_with_two_threads_is_refused", hardening_with_two_threads_is_refused),
        ("kernel_below_the_floor_is_refused", kernel_below_the_floor_is_refused),
        ("profile_of_another_role_is_refused", profile_of_another_role_is_refused),
        ("child_dies_with_its_supervisor", child_dies_with_its_supervisor),
        ("child_has_no_environment", child_has_no_environment),
    ];
    let trials = tests.iter().map(|(name, test)| Trial::test(*name, *test)).collect();
    libtest_mimic::run(&Arguments::from_args(), trials).exit();
}

// The child -----------------------------------------------------------------------------------------------------------------

/// What the child writes back: one `key=value` line for each thing it tried.
type Findings = String;

/// What a child that is about to die says before.
const CONFINED: &str = "confined";

fn child(parent: u32) {
    let control = std::io::stdin();
    let order = receive(control.as_fd()).0;
    let answer = match scenario(&order, parent, control.as_fd()) {
        Ok(findings) => findings,
        Err(error) => format!("refused={error}\n"),
    };
    send(control.as_fd(), &answer, &[]);
    // Stays until the parent has looked at it and hangs up.
    receive(control.as_fd());
}

fn scenario(order: &str, parent: u32, control: BorrowedFd<'_>) -> Result<Findings, Unconfinable> {
    let mut words = order.split(' ');
    match (words.next().unwrap(), words.next()) {
        ("worker", Some(filesystem)) => worker(filesystem, words.next(), parent, control),
        ("role", Some(role)) => plain(if role == "compile" { Role::Compile } else { Role::Graph }, parent, control),
        ("leak", Some(number)) => {
            harden(Role::Worker, parent)?;
            // The control socket, /dev/null, the log, and what hardening keeps of /proc and of its root.
            Ok(format!("leaked={}\n", Path::new("/proc/self/fd").join(number).exists()))
        }
        ("wrong-parent", _) => harden(Role::Worker, parent + 1).map(|_| String::new()),
        ("two-threads", _) => {
            let (_stop, wait) = mpsc::channel::<()>();
            std::thread::spawn(move || wait.recv());
            harden(Role::Worker, parent).map(|_| String::new())
        }
        ("floor", Some(floor)) => harden(Role::Worker, parent)?.restrict_filesystem(&[], floor.parse().unwrap()).map(|_| String::new()),
        ("wrong-role", _) => {
            let restricted = harden(Role::Worker, parent)?.restrict_filesystem(&[], 1)?;
            restricted.confine(&Profile { role: Role::Graph, filesystem: FilesystemUse::None }, ()).map(|_| String::new())
        }
        ("environment", _) => Ok(format!("environment={}\narguments={}\n", std::env::vars_os().count(), std::env::args().count())),
        other => panic!("unknown order {other:?}"),
    }
}

/// A compiler or a graph host, and the one thing with memory that it must be able to do after the lock.
fn plain(role: Role, parent: u32, control: BorrowedFd<'_>) -> Result<Findings, Unconfinable> {
    let restricted = harden(role, parent)?.restrict_filesystem(&[], 1)?;
    let confined = restricted.confine(&Profile { role, filesystem: FilesystemUse::None }, ())?;
    let mut found = describe(confined.report());
    if role == Role::Compile {
        let sealed = edgeguard_sandbox::sealed_memfd("code", &[7; 100_000]);
        note(&mut found, "seal", sealed.and_then(|fd| edgeguard_sandbox::read_sealed(fd, 100_000)).map(|bytes| bytes.len().to_string()));
    } else {
        let (_, regions) = receive(control);
        let mapped = SharedMemory::map(regions[0].as_fd(), 4096);
        note(&mut found, "map", mapped.map(|memory| memory.write(0, b"seen").unwrap()).map(|()| String::new()));
    }
    Ok(found)
}

/// A worker with the first received directory to read and the second to write (or, for `read-write-both`, both to write).
fn worker(filesystem: &str, deadly: Option<&str>, parent: u32, control: BorrowedFd<'_>) -> Result<Findings, Unconfinable> {
    let start = if filesystem == "read-in-host-root" { harden_in_host_root } else { harden };
    let hardened = start(Role::Worker, parent)?;
    let (_, directories) = receive(control);
    let first = if filesystem == "read-write-both" { Access::ReadWrite } else { Access::Read };
    let grants: Vec<_> =
        directories.iter().zip([first, Access::ReadWrite]).map(|(dir, access)| FsGrant { dir: dir.as_fd(), access }).collect();
    let use_of_it = FilesystemUse::of(grants.iter().map(|grant| grant.access));
    let restricted = hardened.restrict_filesystem(&grants, 3)?;

    let mut found = String::new();
    for (index, directory) in directories.iter().enumerate() {
        let path = format!("/proc/self/fd/{}", std::os::fd::AsRawFd::as_raw_fd(directory));
        note(&mut found, &format!("reopen-{index}"), std::fs::read_dir(path).map(|entries| entries.count().to_string()));
    }

    let (go, wait) = mpsc::channel::<()>();
    let (ready, is_ready) = mpsc::channel::<()>();
    let early = std::thread::spawn(move || {
        ready.send(()).unwrap();
        wait.recv().unwrap();
        open(CWD, "/etc/hostname", OFlags::RDONLY)
    });
    is_ready.recv().unwrap();
    let confined = restricted.confine(&Profile { role: Role::Worker, filesystem: use_of_it }, ())?;
    found.push_str(&describe(confined.report()));

    if deadly.is_some() {
        send(control, CONFINED, &[]);
    }
    match deadly {
        Some("socket") => drop(rustix::net::socket(rustix::net::AddressFamily::INET, rustix::net::SocketType::STREAM, None)),
        Some("connect") => drop(std::os::unix::net::UnixStream::connect("/run/edgeguard/control.sock")),
        Some("thread") => drop(std::thread::Builder::new().spawn(|| ())),
        Some("exec") => drop(std::process::Command::new("/bin/true").status()),
        Some("path") => drop(rustix::fs::statat(directories_or_control(&directories, control), "/etc/hostname", AtFlags::empty())),
        Some(other) => panic!("unknown call {other}"),
        None => {}
    }
    go.send(()).unwrap();
    note(&mut found, "open-in-early-thread", early.join().unwrap().map(|_| String::new()));
    note(&mut found, "open-outside", open(CWD, "/etc/hostname", OFlags::RDONLY).map(|_| String::new()));
    if let [one, two, ..] = &directories[..] {
        try_directories(&mut found, one.as_fd(), two.as_fd());
    }
    Ok(found)
}

fn directories_or_control<'a>(directories: &'a [OwnedFd], control: BorrowedFd<'a>) -> BorrowedFd<'a> {
    directories.first().map_or(control, AsFd::as_fd)
}

fn try_directories(found: &mut Findings, one: BorrowedFd<'_>, two: BorrowedFd<'_>) {
    let create = OFlags::WRONLY | OFlags::CREATE;
    note(found, "read-in-one", read(one, "file"));
    note(found, "write-in-one", open(one, "file", OFlags::WRONLY).map(|_| String::new()));
    note(found, "truncate-in-one", open(one, "file", OFlags::RDONLY | OFlags::TRUNC).map(|_| String::new()));
    note(found, "create-in-one", open(one, "new", create).map(|_| String::new()));
    note(found, "mkdir-in-one", rustix::fs::mkdirat(one, "new-dir", Mode::RWXU).map(|()| String::new()));
    note(found, "unlink-in-one", rustix::fs::unlinkat(one, "other", AtFlags::empty()).map(|()| String::new()));
    note(found, "create-in-two", open(two, "new", create).map(|_| String::new()));
    note(found, "rename-two-to-one", rustix::fs::renameat(two, "file", one, "moved").map(|()| String::new()));
    note(found, "link-one-to-two", rustix::fs::linkat(one, "file", two, "linked", AtFlags::empty()).map(|()| String::new()));
    note(found, "rename-in-two", rustix::fs::renameat(two, "file", two, "moved").map(|()| String::new()));
    note(found, "symlink-in-two", rustix::fs::symlinkat("/etc/hostname", two, "out").map(|()| String::new()));
    note(found, "follow-symlink", open(two, "out", OFlags::RDONLY).map(|_| String::new()));
    note(found, "open-absolute-by-directory", open(one, "/etc/hostname", OFlags::RDONLY).map(|_| String::new()));
    note(found, "open-dotdot", open(one, "../secret", OFlags::RDONLY).map(|_| String::new()));
    note(found, "stat-absolute-by-directory", rustix::fs::statat(one, "/etc/hostname", AtFlags::empty()).map(|_| String::new()));
    note(found, "stat-dotdot", rustix::fs::statat(one, "../secret", AtFlags::empty()).map(|_| String::new()));
    note(found, "readlink-outside", rustix::fs::readlinkat(one, "../link", Vec::new()).map(|_| String::new()));
    let times = rustix::fs::Timestamps {
        last_access: rustix::fs::Timespec { tv_sec: 1, tv_nsec: 0 },
        last_modification: rustix::fs::Timespec { tv_sec: 1, tv_nsec: 0 },
    };
    note(found, "utimens-outside", rustix::fs::utimensat(one, "../secret", &times, AtFlags::empty()).map(|()| String::new()));
    note(found, "mkdir-in-two", rustix::fs::mkdirat(two, "sub", Mode::RWXU).map(|()| String::new()));
}

fn open(directory: BorrowedFd<'_>, path: &str, flags: OFlags) -> rustix::io::Result<OwnedFd> {
    rustix::fs::openat(directory, path, flags | OFlags::CLOEXEC, Mode::RUSR | Mode::WUSR)
}

fn read(directory: BorrowedFd<'_>, path: &str) -> rustix::io::Result<String> {
    let mut text = String::new();
    let file = std::fs::File::from(open(directory, path, OFlags::RDONLY)?);
    (&file).take(64).read_to_string(&mut text).map_err(|error| Errno::from_io_error(&error).unwrap())?;
    Ok(text)
}

fn note<E: std::fmt::Debug>(found: &mut Findings, key: &str, result: Result<String, E>) {
    match result {
        Ok(text) => writeln!(found, "{key}=ok {text}"),
        Err(error) => writeln!(found, "{key}={error:?}"),
    }
    .unwrap();
}

fn describe(report: &Report) -> Findings {
    format!(
        "abi={}\nmdwe={}\nown-root={}\nown-root-missing={}\nthreads={}\nstage2={}\nenforced={}\nmissing={}\n",
        report.landlock_abi,
        report.mdwe,
        report.own_root,
        report.own_root_missing,
        report.threads,
        report.seccomp_stage2,
        report.rights_enforced.join(","),
        report.rights_missing.join(","),
    )
}

// The parent ----------------------------------------------------------------------------------------------------------------

/// A started child, its control socket and the read end of its log.
struct Started {
    child: Child,
    control: OwnedFd,
    log: std::io::PipeReader,
}

impl Started {
    fn new(order: &str) -> Self {
        let (control, childs) = pair();
        let (log, childs_log) = std::io::pipe().unwrap();
        let child = edgeguard_sandbox::spawn(&std::env::current_exe().unwrap(), childs, childs_log.into()).unwrap();
        send(control.as_fd(), order, &[]);
        Self { child, control, log }
    }

    /// What it found, or how it ended instead.
    fn findings(&mut self) -> Result<BTreeMap<String, String>, ExitStatus> {
        let text = receive(self.control.as_fd()).0;
        if text.is_empty() {
            return Err(self.child.wait().unwrap());
        }
        Ok(text.lines().map(|line| line.split_once('=').unwrap()).map(|(key, value)| (key.into(), value.into())).collect())
    }

    fn found(mut self) -> BTreeMap<String, String> {
        let found = self.findings();
        drop(self.control);
        let mut log = String::new();
        self.log.read_to_string(&mut log).unwrap();
        found.unwrap_or_else(|status| panic!("the child ended by {status}: {log}"))
    }
}

/// Two granted directories beside a secret, in a directory that is none.
struct Scene {
    root: tempfile::TempDir,
}

impl Scene {
    fn new() -> Self {
        let root = tempfile::tempdir().unwrap();
        for file in ["one/file", "one/other", "two/file", "secret"] {
            let path = root.path().join(file);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, file).unwrap();
        }
        std::os::unix::fs::symlink("secret", root.path().join("link")).unwrap();
        Self { root }
    }

    fn directories(&self) -> [OwnedFd; 2] {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        ["one", "two"].map(|name| rustix::fs::open(self.root.path().join(name), flags, Mode::empty()).unwrap())
    }

    fn worker(&self, order: &str) -> Started {
        let started = Started::new(order);
        let directories = self.directories();
        send(started.control.as_fd(), "directories", &directories.each_ref().map(AsFd::as_fd));
        started
    }
}

fn expect(found: &BTreeMap<String, String>, key: &str, wanted: &[&str]) -> Result<(), Failed> {
    let value = found.get(key).map_or("nothing", String::as_str);
    if !wanted.iter().any(|wanted| value.starts_with(wanted)) {
        return Err(format!("`{key}`: expected one of {wanted:?}, found `{value}`; all: {found:#?}").into());
    }
    Ok(())
}

/// The kernel's ways to say no to a file operation: Landlock, Landlock across directories, a read-only mount.
const DENIED: &[&str] = &[ACCES, "Os { code: 18,", "Os { code: 30,", NOENT];
const ACCES: &str = "Os { code: 13,";
const NOENT: &str = "Os { code: 2,";

fn worker_reaches_its_grants_and_nothing_else() -> Result<(), Failed> {
    reaches_its_grants_and_nothing_else("worker read")
}

fn landlock_and_seccomp_alone_hold_the_worker_to_its_grants() -> Result<(), Failed> {
    reaches_its_grants_and_nothing_else("worker read-in-host-root")
}

fn reaches_its_grants_and_nothing_else(order: &str) -> Result<(), Failed> {
    let scene = Scene::new();
    let found = scene.worker(order).found();
    for key in ["reopen-0", "reopen-1", "read-in-one", "create-in-two", "mkdir-in-two", "rename-in-two", "symlink-in-two"] {
        expect(&found, key, &["ok"])?;
    }
    expect(&found, "read-in-one", &["ok one/file"])?;
    for key in [
        "open-outside",
        "write-in-one",
        "truncate-in-one",
        "create-in-one",
        "mkdir-in-one",
        "unlink-in-one",
        "rename-two-to-one",
        "link-one-to-two",
        "follow-symlink",
        "open-absolute-by-directory",
        "open-dotdot",
        "utimens-outside",
    ] {
        expect(&found, key, DENIED)?;
    }
    if found["own-root"] == "true" {
        for key in ["stat-absolute-by-directory", "stat-dotdot", "readlink-outside", "utimens-outside"] {
            expect(&found, key, &[NOENT])?;
        }
    } else if order == "worker read" && std::env::var_os("CI").is_some() {
        return Err(format!("a worker should have a root of its own here: {}", found["own-root-missing"]).into());
    } else {
        println!("no own root ({}), so foreign metadata stays visible", found["own-root-missing"]);
    }
    assert_eq!(std::fs::read_to_string(scene.root.path().join("one/file")).unwrap(), "one/file");
    assert!(scene.root.path().join("two/new").exists(), "what the worker wrote is in the granted directory");
    Ok(())
}

/// The counterpart of the test above: with the right granted, each of the denied operations succeeds.
fn read_write_grant_can_be_written() -> Result<(), Failed> {
    let scene = Scene::new();
    let found = scene.worker("worker read-write-both").found();
    for key in ["write-in-one", "truncate-in-one", "create-in-one", "mkdir-in-one", "unlink-in-one"] {
        expect(&found, key, &["ok"])?;
    }
    Ok(())
}

fn killed(mut started: Started) -> Result<(), Failed> {
    let first = receive(started.control.as_fd()).0;
    assert_eq!(first, CONFINED, "it must get as far as being confined; then {:?}", started.child.wait());
    let ended = started.findings().err().ok_or("expected death by SIGSYS, found an answer")?;
    if ended.signal() != Some(libc::SIGSYS) {
        let mut log = String::new();
        started.log.read_to_string(&mut log)?;
        return Err(format!("expected death by SIGSYS, found {ended}: {log}").into());
    }
    Ok(())
}

fn worker_without_directories_dies_on_a_path() -> Result<(), Failed> {
    let started = Started::new("worker none path");
    send(started.control.as_fd(), "directories", &[]);
    killed(started)
}

fn dies_on(call: &str) -> Result<(), Failed> {
    killed(Scene::new().worker(&format!("worker read {call}")))
}

fn thread_from_before_the_lock_is_locked_too() -> Result<(), Failed> {
    let mut started = Scene::new().worker("worker read");
    let found = started.findings().unwrap();
    expect(&found, "open-in-early-thread", DENIED)?;
    expect(&found, "threads", &["2"])
}

fn compiler_and_graph_host_work_confined() -> Result<(), Failed> {
    let (memory, fd) = SharedMemory::create("region", 4096)?;
    let graph = Started::new("role graph");
    send(graph.control.as_fd(), "region", &[fd.as_fd()]);
    let (graph, compile) = (graph.found(), Started::new("role compile").found());
    for found in [&graph, &compile] {
        assert_ne!(found["abi"], "0");
        expect(found, "enforced", &["fs:", "net:"])?;
    }
    expect(&compile, "seal", &["ok 100000"])?;
    expect(&graph, "map", &["ok"])?;
    let mut bytes = [0; 4];
    memory.read(0, &mut bytes)?;
    assert_eq!(&bytes, b"seen");
    Ok(())
}

fn inherited_descriptor_is_closed() -> Result<(), Failed> {
    let secret = std::fs::File::open("/etc/hostname")?;
    // Without FD_CLOEXEC, as a careless library would leave it; the last one at a number that the child itself does not use.
    let leaked = (0..64).map(|_| rustix::io::dup(&secret)).collect::<Result<Vec<_>, _>>()?;
    let number = std::os::fd::AsRawFd::as_raw_fd(leaked.last().unwrap());
    let found = Started::new(&format!("leak {number}")).found();
    expect(&found, "leaked", &["false"])
}

fn supervisor_sees_the_confinement_from_outside() -> Result<(), Failed> {
    let mut started = Scene::new().worker("worker read");
    let found = started.findings().unwrap();
    let status = inspect(started.child.pid())?;
    assert!(status.no_new_privs);
    assert_eq!(status.seccomp_mode, 2);
    assert!(status.seccomp_filters >= 4, "{status:?}");
    assert_eq!(status.capabilities, 0);
    assert!(status.private > 0 && status.private <= status.resident, "{status:?}");
    assert_eq!(found["stage2"].len(), 64);
    // Undumpable: its memory is not for others of the same user. Root may look.
    let open = std::fs::File::open(format!("/proc/{}/mem", started.child.pid()));
    assert!(open.is_err() || rustix::process::geteuid().is_root());
    started.child.kill()?;
    assert_eq!(started.child.wait()?.signal(), Some(libc::SIGKILL));
    Ok(())
}

fn child_of_another_parent_is_refused() -> Result<(), Failed> {
    expect(&Started::new("wrong-parent").found(), "refused", &["expected to be a child of process"])
}

fn hardening_with_two_threads_is_refused() -> Result<(), Failed> {
    expect(&Started::new("two-threads").found(), "refused", &["expected one thread before hardening, found 2"])
}

fn kernel_below_the_floor_is_refused() -> Result<(), Failed> {
    expect(&Started::new("floor 99").found(), "refused", &["policy requires Landlock ABI 99"])
}

fn profile_of_another_role_is_refused() -> Result<(), Failed> {
    expect(&Started::new("wrong-role").found(), "refused", &["hardened as `worker`, but the profile is for `graph`"])
}

fn child_has_no_environment() -> Result<(), Failed> {
    let found = Started::new("environment").found();
    expect(&found, "environment", &["0"])?;
    expect(&found, "arguments", &["2"])
}

/// Between the test and the child stands a process that can be killed.
fn middle() {
    let control = std::io::stdin().as_fd().try_clone_to_owned().unwrap();
    let log = std::io::stderr().as_fd().try_clone_to_owned().unwrap();
    let child = edgeguard_sandbox::spawn(&std::env::current_exe().unwrap(), control, log).unwrap();
    println!("{}", child.pid());
    std::io::stdout().flush().unwrap();
    // Waits to be killed.
    std::thread::park();
}

fn child_dies_with_its_supervisor() -> Result<(), Failed> {
    // The test itself holds the other end, so that the child does not simply see its socket closed.
    let (control, childs) = pair();
    send(control.as_fd(), "worker none", &[]);
    send(control.as_fd(), "directories", &[]);
    let mut middle =
        std::process::Command::new(std::env::current_exe()?).arg("middle").stdin(childs).stdout(std::process::Stdio::piped()).spawn()?;
    let mut line = String::new();
    std::io::BufRead::read_line(&mut std::io::BufReader::new(middle.stdout.take().unwrap()), &mut line)?;
    let pid = rustix::process::Pid::from_raw(line.trim().parse()?).unwrap();
    let pidfd = rustix::process::pidfd_open(pid, rustix::process::PidfdFlags::empty())?;
    // Its findings: it is confined now, and stays.
    assert!(receive(control.as_fd()).0.contains("abi="));
    middle.kill()?;
    middle.wait()?;
    let mut ended = [rustix::event::PollFd::new(&pidfd, rustix::event::PollFlags::IN)];
    let within = rustix::event::Timespec { tv_sec: 1, tv_nsec: 0 };
    assert_eq!(rustix::event::poll(&mut ended, Some(&within))?, 1, "the child outlived its supervisor");
    Ok(())
}

// Frames --------------------------------------------------------------------------------------------------------------------

fn pair() -> (OwnedFd, OwnedFd) {
    rustix::net::socketpair(rustix::net::AddressFamily::UNIX, rustix::net::SocketType::SEQPACKET, SocketFlags::CLOEXEC, None).unwrap()
}

fn send(socket: BorrowedFd<'_>, text: &str, fds: &[BorrowedFd<'_>]) {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(4))];
    let mut ancillary = SendAncillaryBuffer::new(&mut space);
    if !fds.is_empty() {
        assert!(ancillary.push(SendAncillaryMessage::ScmRights(fds)));
    }
    rustix::net::sendmsg(socket, &[std::io::IoSlice::new(text.as_bytes())], &mut ancillary, SendFlags::NOSIGNAL).unwrap();
}

/// A frame and its descriptors; an empty one when the other side is gone.
fn receive(socket: BorrowedFd<'_>) -> (String, Vec<OwnedFd>) {
    let mut bytes = vec![0; 32 * 1024];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(4))];
    let mut ancillary = RecvAncillaryBuffer::new(&mut space);
    let flags = RecvFlags::CMSG_CLOEXEC;
    let Ok(received) = rustix::net::recvmsg(socket, &mut [std::io::IoSliceMut::new(&mut bytes)], &mut ancillary, flags) else {
        return Default::default();
    };
    let fds = ancillary
        .drain()
        .filter_map(|message| match message {
            RecvAncillaryMessage::ScmRights(fds) => Some(fds),
            _ => None,
        })
        .flatten()
        .collect();
    bytes.truncate(received.bytes);
    (String::from_utf8(bytes).unwrap(), fds)
}
