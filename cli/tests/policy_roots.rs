//! No policy that `policy check --host` accepts lets a worker open a path outside its roots: random trees with links and dots, random policies over
//! them, the real command line to judge them, and the real confinement with native code in it to try.
//!
//! Runs in: tests. The child is this program again: with a process id as its only argument it is the worker.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod common;

use std::collections::BTreeMap;
use std::collections::BTreeSet;
use std::fs;
use std::mem::MaybeUninit;
use std::os::fd::AsFd;
use std::os::fd::BorrowedFd;
use std::os::fd::OwnedFd;
use std::os::unix::fs::MetadataExt as _;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::path::PathBuf;

use edgeguard_policy::Policy;
use edgeguard_sandbox::Access;
use edgeguard_sandbox::FilesystemUse;
use edgeguard_sandbox::FsGrant;
use edgeguard_sandbox::Profile;
use edgeguard_sandbox::Role;
use edgeguard_sandbox::harden;
use libtest_mimic::Arguments;
use libtest_mimic::Failed;
use libtest_mimic::Trial;
use rustix::fs::Mode;
use rustix::fs::OFlags;
use rustix::fs::ResolveFlags;
use rustix::net::RecvAncillaryBuffer;
use rustix::net::RecvAncillaryMessage;
use rustix::net::RecvFlags;
use rustix::net::SendAncillaryBuffer;
use rustix::net::SendAncillaryMessage;
use rustix::net::SendFlags;
use rustix::net::SocketFlags;

/// Policies that are made; about a third of them is accepted.
const POLICIES: u64 = 250;

/// The name of every file that a worker makes.
const MADE: &str = "made-by-the-worker";

fn main() {
    let words: Vec<String> = std::env::args().collect();
    if let [_, parent] = &words[..]
        && let Ok(parent) = parent.parse()
    {
        return child(parent);
    }
    if !edgeguard_sandbox::host::probe(3).can_confine() && std::env::var_os("CI").is_none() {
        println!("skipped: this host cannot confine; see `edgeguard doctor`");
        return;
    }
    let trials = vec![
        Trial::test("no_accepted_policy_lets_a_worker_open_a_path_outside_its_roots", no_accepted_policy_opens_more),
        Trial::test("a_grant_that_is_wider_than_its_policy_is_noticed", a_wider_grant_is_noticed),
    ];
    libtest_mimic::run(&Arguments::from_args(), trials).exit();
}

// The worker ----------------------------------------------------------------------------------------------------------------

/// Confines itself to the directories that it receives, and opens every path that it is told, below each of them, in every way.
fn child(parent: u32) {
    let control = std::io::stdin();
    let hardened = harden(Role::Worker, parent).unwrap();
    let (order, directories) = receive(control.as_fd());
    let (access, paths) = order.split_once('\n').unwrap();
    let access: Vec<Access> = access.chars().map(|c| if c == 'w' { Access::ReadWrite } else { Access::Read }).collect();
    let grants: Vec<_> = directories.iter().zip(&access).map(|(dir, access)| FsGrant { dir: dir.as_fd(), access: *access }).collect();
    let restricted = hardened.restrict_filesystem(&grants, 3).unwrap();
    let filesystem = FilesystemUse::of(access.iter().copied());
    let _confined = restricted.confine(&Profile { role: Role::Worker, filesystem }, ()).unwrap();
    let mut found = String::new();
    for (g, dir) in directories.iter().enumerate() {
        for (p, path) in paths.lines().enumerate() {
            let made = format!("{path}/{MADE}-{g}-{p}");
            let create = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL;
            for (how, path, flags) in [('r', path, OFlags::RDONLY), ('w', path, OFlags::WRONLY), ('c', made.as_str(), create)] {
                let flags = flags | OFlags::CLOEXEC | OFlags::NONBLOCK | OFlags::NOCTTY;
                let Ok(file) = rustix::fs::openat(dir, path, flags, Mode::RUSR | Mode::WUSR) else { continue };
                let stat = rustix::fs::fstat(&file).unwrap();
                found.push_str(&format!("{g} {p} {how} {}:{}\n", stat.st_dev, stat.st_ino));
            }
            if found.len() > 16 * 1024 {
                send(control.as_fd(), &std::mem::take(&mut found), &[]);
            }
        }
    }
    found.push_str("end");
    send(control.as_fd(), &found, &[]);
}

// The judge -----------------------------------------------------------------------------------------------------------------

/// A device and an inode.
type Id = String;

/// What a worker opened: below which grant, which path, how, and what it was.
struct Opened {
    grant: usize,
    path: String,
    how: char,
    id: Id,
}

fn work(policy: &Policy, paths: &BTreeSet<String>, open: impl Fn(&Path) -> OwnedFd) -> Vec<Opened> {
    let (control, childs) =
        rustix::net::socketpair(rustix::net::AddressFamily::UNIX, rustix::net::SocketType::SEQPACKET, SocketFlags::CLOEXEC, None).unwrap();
    let (log, childs_log) = std::io::pipe().unwrap();
    let mut worker = edgeguard_sandbox::spawn(&std::env::current_exe().unwrap(), childs, childs_log.into()).unwrap();
    let directories: Vec<OwnedFd> = policy.dirs.iter().map(|dir| open(&dir.host)).collect();
    let access: String = policy.dirs.iter().map(|dir| if dir.access == edgeguard_policy::Access::ReadWrite { 'w' } else { 'r' }).collect();
    let list: Vec<&str> = paths.iter().map(String::as_str).collect();
    let fds: Vec<BorrowedFd<'_>> = directories.iter().map(AsFd::as_fd).collect();
    send(control.as_fd(), &format!("{access}\n{}", list.join("\n")), &fds);
    let mut opened = Vec::new();
    loop {
        let text = receive(control.as_fd()).0;
        if text.is_empty() {
            let said = std::io::read_to_string(log).unwrap();
            panic!("the worker ended by {:?}: {said}", worker.wait());
        }
        for line in text.lines().filter(|line| *line != "end") {
            let words: Vec<&str> = line.split(' ').collect();
            let path = list[words[1].parse::<usize>().unwrap()].to_owned();
            opened.push(Opened { grant: words[0].parse().unwrap(), path, how: words[2].chars().next().unwrap(), id: words[3].to_owned() });
        }
        if text.ends_with("end") {
            worker.wait().unwrap();
            return opened;
        }
    }
}

/// As the daemon opens a granted directory: what is before the last component as it is, and that one inside of it.
fn as_the_daemon(host: &Path) -> OwnedFd {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let parent = rustix::fs::open(host.parent().unwrap(), flags, Mode::empty()).unwrap();
    rustix::fs::openat2(&parent, host.file_name().unwrap(), flags, Mode::empty(), ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS)
        .unwrap()
}

/// Everything at and below a path, no link followed.
fn below(path: &Path, into: &mut BTreeMap<PathBuf, fs::Metadata>) {
    let meta = fs::symlink_metadata(path).unwrap();
    let is_dir = meta.is_dir();
    into.insert(path.to_owned(), meta);
    if is_dir {
        fs::read_dir(path).unwrap().for_each(|entry| below(&entry.unwrap().path(), into));
    }
}

fn ids(roots: &[&Path]) -> BTreeSet<Id> {
    let mut all = BTreeMap::new();
    roots.iter().for_each(|root| below(root, &mut all));
    all.values().filter(|meta| !meta.is_symlink()).map(|meta| format!("{}:{}", meta.dev(), meta.ino())).collect()
}

/// What a worker opened that its policy does not grant, or did not open though it does.
fn violations(scene: &Scene, policy: &Policy, open: impl Fn(&Path) -> OwnedFd) -> Vec<String> {
    let all: Vec<&Path> = policy.dirs.iter().map(|dir| dir.host.as_path()).collect();
    let writable = policy.dirs.iter().filter(|dir| dir.access == edgeguard_policy::Access::ReadWrite);
    let writable: Vec<&Path> = writable.map(|dir| dir.host.as_path()).collect();
    let (may_read, may_write) = (ids(&all), ids(&writable));
    let mut inside = BTreeMap::new();
    all.iter().for_each(|root| below(root, &mut inside));
    let opened = work(policy, &scene.paths(), open);
    let mut wrong = Vec::new();
    for one in opened.iter().filter(|one| one.how != 'c') {
        let may = if one.how == 'r' { &may_read } else { &may_write };
        if !may.contains(&one.id) {
            wrong.push(format!("opened what no grant holds, for `{}`: `{}` below grant {}", one.how, one.path, one.grant));
        }
    }
    for (path, meta) in inside.iter().filter(|(_, meta)| meta.is_file()) {
        let id = format!("{}:{}", meta.dev(), meta.ino());
        for how in ['r', 'w'] {
            let granted = if how == 'r' { &may_read } else { &may_write }.contains(&id);
            if granted && !opened.iter().any(|one| one.how == how && one.id == id) {
                wrong.push(format!("did not open what is granted, for `{how}`: {}", path.display()));
            }
        }
    }
    // What was made is found by its name, wherever it is; and taken away, for the next policy.
    let mut everything = BTreeMap::new();
    below(&scene.base, &mut everything);
    let is_made = |path: &&PathBuf| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with(MADE));
    let made: Vec<&PathBuf> = everything.keys().filter(is_made).collect();
    if made.is_empty() && !writable.is_empty() {
        wrong.push("nothing could be made below a grant to write".to_owned());
    }
    for path in made {
        if !writable.iter().any(|root| path.starts_with(root)) {
            wrong.push(format!("made what no grant holds: {}", path.display()));
        }
        fs::remove_file(path).unwrap();
    }
    wrong
}

// The scene -----------------------------------------------------------------------------------------------------------------

/// Random numbers that a failed test names the seed of (xorshift64*).
struct Random(u64);

impl Random {
    fn below(&mut self, n: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        usize::try_from(self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33).unwrap() % n
    }

    fn one_of<'a, T: ?Sized>(&mut self, all: &[&'a T]) -> &'a T {
        all[self.below(all.len())]
    }
}

/// A module and its key, a secret, and a tree of directories, files and links beside them.
struct Scene {
    _dir: tempfile::TempDir,
    base: PathBuf,
    /// Every path in the tree, whatever it leads to, and some that go through links.
    ways: Vec<PathBuf>,
    /// The directories among them, by no link.
    plain: Vec<PathBuf>,
}

const NAMES: &[&str] = &["a", "b", "a-b", "ab", "..x", "...", ".h", "x y", "é"];

impl Scene {
    fn new(random: &mut Random) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let base = fs::canonicalize(dir.path()).unwrap();
        common::edgeguard(&base, &["keygen", "--out", "acme"]).done();
        fs::write(base.join("m.wasm"), "").unwrap();
        fs::create_dir(base.join("secret")).unwrap();
        fs::write(base.join("secret/file"), "secret").unwrap();
        let mut scene = Self { _dir: dir, ways: Vec::new(), plain: Vec::new(), base };
        let tree = scene.base.join("tree");
        fs::create_dir(&tree).unwrap();
        scene.grow(&tree, 3, random);
        let mut all = BTreeMap::new();
        below(&tree, &mut all);
        for (path, meta) in &all {
            scene.ways.push(path.clone());
            if meta.is_dir() && *path != tree {
                scene.plain.push(path.clone());
            }
            if meta.is_symlink() && path.is_dir() {
                scene.ways.extend(fs::read_dir(path).unwrap().take(2).map(|entry| entry.unwrap().path()));
            }
        }
        scene
    }

    fn grow(&self, dir: &Path, depth: usize, random: &mut Random) {
        for _ in 0..2 + random.below(4) {
            let path = dir.join(random.one_of(NAMES));
            if path.symlink_metadata().is_ok() {
                continue;
            }
            match random.below(5) {
                0 | 1 if depth > 0 => {
                    fs::create_dir(&path).unwrap();
                    self.grow(&path, depth - 1, random);
                }
                2 => {
                    let (secret, tree) = (self.base.join("secret"), self.base.join("tree"));
                    let to: &[&Path] =
                        &[&secret, &tree, Path::new("a"), Path::new("../b"), Path::new("../../../secret"), Path::new("/etc")];
                    symlink(random.one_of(to), &path).unwrap();
                }
                _ => fs::write(&path, "data").unwrap(),
            }
        }
    }

    /// A policy whose grants are near what is in the tree: the paths themselves, ways through links and dots, one in another.
    fn policy(&self, random: &mut Random) -> String {
        let at = self.base.display();
        let mut text = format!(
            "version = 1\n[module]\nname = \"m\"\npath = \"{at}/m.wasm\"\nmode = \"command\"\n[[module.signer]]\nkey = \"{at}/acme.pub\"\n\
             [limits]\nmemory = \"1 MiB\"\ndeadline = \"1 s\"\ninstances = 1\noutput = \"1 KiB\"\n"
        );
        for i in 0..1 + random.below(3) {
            let from = if random.below(4) > 0 && !self.plain.is_empty() { &self.plain } else { &self.ways };
            let mut host = from[random.below(from.len())].display().to_string();
            let near = self.ways[random.below(self.ways.len())].file_name().unwrap().to_string_lossy().into_owned();
            match random.below(24) {
                0 => host = format!("{host}/../{near}"),
                1 => host = format!("{host}/./{near}"),
                2 => host = host.replacen("/tree/", "/tree//", 1),
                3 => host.push('/'),
                4 => host = format!("{host}/{near}"),
                _ => {}
            }
            let access = random.one_of(&["read", "read-write"]);
            text.push_str(&format!("[[dir]]\nguest = \"/g{i}\"\nhost = \"{host}\"\naccess = \"{access}\"\n"));
        }
        text
    }

    /// What is tried below each grant: everything in the tree and beside it, from there, from the top, and by dots.
    fn paths(&self) -> BTreeSet<String> {
        let mut all = BTreeMap::new();
        below(&self.base, &mut all);
        let mut paths: BTreeSet<String> =
            ["/", "..", "../..", "/etc/hostname", "/proc/self/root", "/proc/self/cwd"].map(str::to_owned).into();
        for path in all.keys() {
            paths.insert(path.display().to_string());
            let inside: Vec<String> =
                path.strip_prefix(&self.base).unwrap().components().map(|part| part.as_os_str().to_string_lossy().into_owned()).collect();
            for from in 0..=inside.len() {
                let tail = inside[from..].join("/");
                paths.insert(if tail.is_empty() { ".".to_owned() } else { tail.clone() });
                paths.insert(format!("../{tail}"));
            }
            paths.insert(format!("../../{}", inside.join("/")));
        }
        paths
    }
}

/// The policies that the command line accepts on this host, out of those that are made.
fn accepted(scene: &Scene, text: &str) -> Option<Policy> {
    fs::write(scene.base.join("m.toml"), text).unwrap();
    let ran = common::edgeguard(&scene.base, &["policy", "check", "m.toml", "--host", "--config", "none.toml"]);
    (ran.code == 0).then(|| edgeguard_policy::parse("m.toml", text).unwrap())
}

fn no_accepted_policy_opens_more() -> Result<(), Failed> {
    let (mut stood, mut fell) = (0, 0);
    for seed in 0..POLICIES / 10 {
        let mut random = Random(0x9e37_79b9_7f4a_7c15 ^ (seed + 1));
        let scene = Scene::new(&mut random);
        for _ in 0..10 {
            let text = scene.policy(&mut random);
            let Some(policy) = accepted(&scene, &text) else {
                fell += 1;
                continue;
            };
            stood += 1;
            let wrong = violations(&scene, &policy, as_the_daemon);
            if !wrong.is_empty() {
                return Err(format!("seed {seed}:\n{}\n{text}", wrong.join("\n")).into());
            }
        }
    }
    // With none on one side, nothing was compared.
    if stood < 20 || fell < 20 {
        return Err(format!("{stood} policies stood and {fell} fell").into());
    }
    println!("{stood} policies stood and {fell} fell");
    Ok(())
}

fn a_wider_grant_is_noticed() -> Result<(), Failed> {
    let mut random = Random(7);
    let scene = Scene::new(&mut random);
    let inner = scene.base.join("tree/granted");
    fs::create_dir(&inner)?;
    fs::write(inner.join("file"), "data")?;
    let text = scene.policy(&mut random);
    let (head, _) = text.split_once("[[dir]]").unwrap();
    let text = format!("{head}[[dir]]\nguest = \"/g\"\nhost = \"{}\"\naccess = \"read\"\n", inner.display());
    let policy = accepted(&scene, &text).ok_or("the plain grant was not accepted")?;
    let right = violations(&scene, &policy, as_the_daemon);
    let wider = violations(&scene, &policy, |host| as_the_daemon(host.parent().unwrap()));
    if right.is_empty() && !wider.is_empty() { Ok(()) } else { Err(format!("right: {right:?}, wider: {wider:?}").into()) }
}

// Frames --------------------------------------------------------------------------------------------------------------------

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
    let mut bytes = vec![0; 128 * 1024];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(4))];
    let mut ancillary = RecvAncillaryBuffer::new(&mut space);
    let Ok(received) = rustix::net::recvmsg(socket, &mut [std::io::IoSliceMut::new(&mut bytes)], &mut ancillary, RecvFlags::CMSG_CLOEXEC)
    else {
        return Default::default();
    };
    let rights = ancillary.drain().filter_map(|message| match message {
        RecvAncillaryMessage::ScmRights(fds) => Some(fds),
        _ => None,
    });
    let fds = rights.flatten().collect();
    bytes.truncate(received.bytes);
    (String::from_utf8(bytes).unwrap(), fds)
}
